"""What operators ask of a gateway over HTTP: `table.py` lists it, `serving.py` answers it, `openapi.py` describes it.

A row of the table is all there is to say of an operation: path, method, who may, what is asked, what is answered, what
can go wrong. Dispatch, the OpenAPI document and docs/reference/admin-api.md are made from it, so they cannot disagree.
"""
