"""Circuit breakers: a target that fails again and again is left alone, then tried with one call at a time.

A cooldown answers one fault that says how long it lasts; a breaker answers many faults that each look passing. One per
place (provider, key and model). Only faults whose row in the table says `counts` speak against a target.

Where it comes from, and what was adapted:

- Envoy, "Outlier detection": five consecutive failures eject a host, the time out grows with each ejection and shrinks
  while the host is healthy. Ours doubles (5 s to 5 min) instead of adding, since a provider's outage lasts minutes, not
  seconds; and failures fade, so that five in a week are not five in a row.
- Hystrix and the AWS Builders' Library ("Timeouts, retries, and backoff with jitter"): the half-open state. Ours lets
  exactly one probe through at a time, and the probe is a lease: a client that leaves in the middle of it must not keep
  the breaker waiting for a verdict that will never come.
- A success only halves the failures instead of clearing them: of a target that fails four calls in five, one good
  answer says little.

A healthy place is not in the table at all: its calls cost one look that finds nothing.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from understudy.resilience.cooldown import Place

THRESHOLD = 5
"""Failures that open a breaker (Envoy's consecutive_5xx). They fade, so half of one may be missing."""

HALF_LIFE = 300.0
"""Seconds after which a failure counts half: long enough that calls which each time out after a minute still add up."""

EASE = 30.0
"""Seconds of good answers that take back one doubling."""

FIRST_OPEN = 5.0
LONGEST_OPEN = 300.0
"""Seconds that a breaker stays open at first, and at most."""

LEASE = 60.0
"""Seconds after which a probe that has said nothing is given up: as long as the first token is waited for."""

_MOST = 8192
"""Places remembered. Clients can name models, so there must be an end to them; the oldest is forgotten."""


class BreakerState(msgspec.Struct, frozen=True):
    """For people. `until` is when an open breaker lets a probe through (`clock.monotonic` seconds), else 0."""

    name: Literal["closed", "open", "half-open"]
    until: float = 0.0
    failures: float = 0.0


_CLOSED = BreakerState("closed")


class _Breaker:
    """`until` is 0 while closed. `probe` is when the last probe was let through, minus infinity if none is out.
    `doublings` is how often the next open time will have been doubled.
    """

    __slots__ = ("changed", "doublings", "eased", "failures", "probe", "until")

    def __init__(self, now: float) -> None:
        self.failures = 0.0
        self.changed = now
        self.until = 0.0
        self.probe = -math.inf
        self.doublings = 0
        self.eased = now

    def faded(self, now: float) -> float:
        return self.failures * math.exp2((self.changed - now) / HALF_LIFE)


class Breakers:
    """The breakers of every place that has failed lately."""

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self._threshold = threshold
        self.troubled: dict[Place, _Breaker] = {}

    def admits(self, place: Place, now: float) -> bool:
        """Whether a call may go to `place`. A yes from a half-open breaker is the probe: report how it ends."""
        breaker = self.troubled.get(place)
        if breaker is None or not breaker.until:
            return True
        if now < breaker.until or now < breaker.probe + LEASE:
            return False
        breaker.probe = now
        return True

    def failed(self, place: Place, now: float, began: float = math.inf) -> None:
        """A fault that counts. A call that `began` before an open breaker's time was over does not prolong it."""
        breaker = self.troubled.get(place)
        if breaker is None:
            if len(self.troubled) >= _MOST:
                del self.troubled[next(iter(self.troubled))]
            breaker = self.troubled[place] = _Breaker(now)
        if now < breaker.until or began < breaker.until:
            return
        breaker.failures = min(breaker.faded(now) + 1, self._threshold)
        breaker.changed = now
        if breaker.until or breaker.failures >= self._threshold - 0.5:
            seconds = FIRST_OPEN * 2**breaker.doublings
            breaker.until = now + min(seconds, LONGEST_OPEN)
            breaker.probe = -math.inf
            breaker.doublings += seconds < LONGEST_OPEN

    def succeeded(self, place: Place, now: float) -> None:
        """An answer closes the breaker, whoever asked; failures and doublings are taken back step by step."""
        breaker = self.troubled.get(place)
        if breaker is None:
            return
        if breaker.until:
            breaker.until = breaker.failures = 0.0
            breaker.probe = -math.inf
            breaker.eased = now
        breaker.failures = breaker.faded(now) / 2
        breaker.changed = now
        if breaker.doublings and now - breaker.eased >= EASE:
            breaker.doublings -= 1
            breaker.eased = now
        if not breaker.doublings and breaker.failures < 0.5:
            del self.troubled[place]

    def released(self, place: Place, began: float = math.inf) -> None:
        """A call ended without a verdict (the client left, or the fault was its own). If it was the probe, the next
        may try. `began` is the `now` that `admits` was given; it tells the probe from calls that are older.
        """
        breaker = self.troubled.get(place)
        if breaker is not None and began >= breaker.probe:
            breaker.probe = -math.inf

    def open(self, place: Place, now: float, seconds: float) -> None:
        """Leave `place` alone for `seconds`: another replica has found it failing."""
        self.failed(place, now)
        breaker = self.troubled[place]
        breaker.failures = self._threshold
        breaker.until = max(breaker.until, now + seconds)

    def close(self, place: Place) -> None:
        """As if it had never failed."""
        self.troubled.pop(place, None)

    def state(self, place: Place, now: float) -> BreakerState:
        breaker = self.troubled.get(place)
        if breaker is None:
            return _CLOSED
        if not breaker.until:
            return BreakerState("closed", 0.0, breaker.faded(now))
        return BreakerState("open" if now < breaker.until else "half-open", breaker.until, breaker.faded(now))
