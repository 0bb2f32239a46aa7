"""A provider that misbehaves on purpose: part of the product, for tests, the demo and drills.

It speaks every dialect and does what the *model name* says: `ok` answers, `rate-limit` refuses, `cut:after=5` dies in
mid-stream. After TensorZero, where a dummy provider chooses its behaviour the same way: a test then needs nothing but
a name, and any client can be pointed at any failure. What it can do is `BEHAVIOURS`; `docs/reference/sim.md` lists it.
"""

from understudy.sim.behaviour import Behaviour, BehaviourError
from understudy.sim.server import Received, Sim
from understudy.sim.table import BEHAVIOURS

__all__ = ["BEHAVIOURS", "Behaviour", "BehaviourError", "Received", "Sim"]
