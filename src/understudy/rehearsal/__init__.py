"""Rehearsal: recorded exchanges replayed on a candidate, and what the answers say about it.

    suite (what is replayed) -> replay -> scores -> verdict -> gate

Pure but for `replay.py`, which is given what sends. Needs the extra `rehearse` (NumPy and a few libraries), so it is
imported only by the commands that rehearse.
"""
