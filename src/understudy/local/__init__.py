"""The open model that needs nobody: an engine in a process of its own, and the models it can serve.

`embedded.py` is the engine as the gateway sees it, `engine.py` the process behind it, `models.py` what there is to
serve, `pull.py` how more of it comes from the Hugging Face hub. Nothing is imported here: the engine's process starts
through this package and wants none of the gateway's half, and the hub's library is slow to load.
"""
