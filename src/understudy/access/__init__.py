"""Who may call, how often, and for how much: virtual keys, rate limits, budgets. The request path knows no database.

`keys.py` says who is calling, from memory; `store.py` fills that memory from a file or a PostgreSQL (`database.py`).
`local.py` decides for one process, `shared.py` for replicas, through Redis. Both give a `Verdict`; `headers.py` says it
to the client. `limits.py` and `budgets.py` are the decisions themselves, pure.
"""

from understudy.access.budgets import Budget, Crossed
from understudy.access.keys import Denied, Key, Ring, Role, Secret, may
from understudy.access.limits import Left, Limit
from understudy.access.local import Local
from understudy.access.verdict import Verdict

__all__ = ["Budget", "Crossed", "Denied", "Key", "Left", "Limit", "Local", "Ring", "Role", "Secret", "Verdict", "may"]
