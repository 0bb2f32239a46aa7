"""How fast something is, at its best: other work on the machine can only make it slower."""

import sys
import time


def best(function, *, calls=200, rounds=20):
    """Seconds of one call. None where every line is being watched, as for coverage: then it says nothing."""
    if sys.gettrace() is not None or _monitored():
        return None
    found = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            function()
        found = min(found, (time.perf_counter() - began) / calls)
    return found


def _monitored():
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    return monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
