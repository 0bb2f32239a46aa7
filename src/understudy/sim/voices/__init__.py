"""The simulated provider's other dialects, one small file each; `routes.py` says which request is for which."""
