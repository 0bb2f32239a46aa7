"""When a second attempt may start although the first has not failed, only kept silent.

Off by default: a hedge pays for two answers to have one, and with a model the second costs as much as the first. Where
it is on, it waits until the first attempt is later than 95 of 100 of the same target's answers, and never makes more
than one call in a hundred double.

Where it comes from, and what was adapted:

- Dean and Barroso, "The Tail at Scale" (2013): the deferred hedged request. There the delay alone bounds the extra load
  to about 5 %; but when a whole provider slows down, everything is later than the old p95, so here a cap holds besides.
- gRPC A6, the hedging policy: a fixed `hedgingDelay`, throttled along with retries; only for calls that are safe to
  process twice. Ours takes the delay from the target's own past, and is not for calls that run tools or change state at
  the provider.
"""

from __future__ import annotations

from understudy.resilience.budget import RetryBudget

SHARE = 0.01
"""Calls that may be doubled, of those in the window of `budget.py` (about a minute)."""

SHORTEST = 0.05
"""Seconds; a target that answers faster than this has no tail worth paying for."""


class Hedges:
    """Whether and when to hedge. One per gateway: the cap is on all its calls."""

    __slots__ = ("_calls", "_on")

    def __init__(self, *, on: bool = False, share: float = SHARE) -> None:
        self._on = on
        self._calls = RetryBudget(share, floor=0)

    def wait(self, p95: float | None, now: float, *, stateful: bool) -> float | None:
        """Called for every first attempt: the silence, in seconds, after which to ask `takes`; None for never.

        `stateful` says that the provider runs tools or keeps something for this call: doing it twice is not the same.
        """
        if not self._on:
            return None
        self._calls.sent(1, now)
        if stateful or p95 is None:
            return None
        return max(p95, SHORTEST)

    def takes(self, now: float) -> bool:
        """The silence is over and nothing came: whether the second attempt may start. A yes is counted."""
        if not self._on or not self._calls.allows(1, now):
            return False
        self._calls.spent(1, now)
        return True
