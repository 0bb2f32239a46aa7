"""A retry budget: retries are a small share of the work, or they make an outage worse.

Counted in prompt tokens, since that is what a retry costs a provider and its owner: one retry of a long document is no
small matter, a hundred of a greeting are. The numbers are estimates, handed in.

Where it comes from, and what was adapted:

- Finagle's RetryBudget: 20 % of the first attempts may be tried again, and a little more so that a quiet client may
  always retry. Ours counts tokens where Finagle counts requests.
- Envoy's `retry_budget` (`budget_percent`, `min_retry_concurrency`): the floor is a number of retries, not of tokens,
  so that at low traffic the longest prompt may be retried as well.
- Google, "Site Reliability Engineering", chapter "Handling Overload": a budget per client on top of one per request,
  because retries at several levels multiply; gRPC A6 throttles for the same reason.

One budget per target. Only retries on the *same* target are counted. A fail-over is not one: it brings the substitute a
call that it has not had yet, so it cannot grow into a storm there (the limiter's ramp bounds how fast it comes), and to
refuse it would take the answer from a client at the very moment that this gateway is for.
"""

from __future__ import annotations

RATIO = 0.2
"""Share of the tokens of first attempts that retries may have (Finagle's default)."""

FLOOR = 10
"""Retries in the window that are always allowed, whatever the traffic: one in six seconds."""

BUCKET = 10.0
"""Seconds in one bucket."""

BUCKETS = 6
"""Buckets in the window: it looks back 50 to 60 seconds."""


class RetryBudget:
    """What may still be spent on retries. `now` is `clock.monotonic` seconds, tokens are not negative."""

    __slots__ = ("_ends", "_floor", "_free", "_here", "_ratio", "_sent", "_spent")

    def __init__(self, ratio: float = RATIO, floor: int = FLOOR) -> None:
        self._ratio = ratio
        self._floor = floor
        self._sent = [0.0] * BUCKETS
        self._spent = [0.0] * BUCKETS
        self._free = [0] * BUCKETS
        self._here = 0
        self._ends = 0.0

    def sent(self, tokens: float, now: float) -> None:
        """A first attempt went out."""
        if now >= self._ends:
            self._turn(now)
        self._sent[self._here] += tokens

    def allows(self, tokens: float, now: float) -> bool:
        """Whether a retry of `tokens` may be sent. If it is, say so with `spent`."""
        if now >= self._ends:
            self._turn(now)
        return self._affords(tokens) or sum(self._free) < self._floor

    def spent(self, tokens: float, now: float) -> None:
        """A retry went out. It comes off the share while that lasts, else off the floor."""
        if now >= self._ends:
            self._turn(now)
        if self._affords(tokens):
            self._spent[self._here] += tokens
        else:
            self._free[self._here] += 1

    def _affords(self, tokens: float) -> bool:
        return sum(self._spent) + tokens <= self._ratio * sum(self._sent)

    def _turn(self, now: float) -> None:
        """Time has passed into another bucket: what is older than the window is forgotten."""
        passed = BUCKETS if self._ends == 0 else min(BUCKETS, int((now - self._ends) // BUCKET) + 1)
        for _ in range(passed):
            self._here = (self._here + 1) % BUCKETS
            self._sent[self._here] = self._spent[self._here] = 0.0
            self._free[self._here] = 0
        self._ends = (now // BUCKET + 1) * BUCKET
