"""The ledger on the move: taken away whole, brought back, and brought along from elsewhere.

`lines.py` is the format, `walk.py` reads a ledger in its order, `jsonl.py` and `parquet.py` are the two forms it is
written in, `bring.py` puts records into a ledger, `foreign.py` reads the logs of others.
"""
