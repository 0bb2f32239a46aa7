"""How long a target takes to its first content: a load figure for choosing, and a percentile for hedging.

Only answers are measured. A refusal that comes back at once would make the broken target look like the fastest.

Where it comes from, and what was adapted:

- Finagle's and Linkerd's "Peak EWMA": the average rises at once to a slow answer and falls slowly with good ones, and
  load is that average times the calls under way plus one. Theirs measures round trips; ours the time to the first
  content, which for a model is the part that tells of a queue. As there, a target that nobody uses is forgiven with
  time, else it would never be tried again; and one that is busy but has never answered counts as slow.
- The percentile is read from a small histogram with geometric buckets (the idea of HdrHistogram): a reading is at most
  a fifth too high, never too low. P-square needs less memory, but cannot forget; here all counts are halved every
  thousand answers.
"""

from __future__ import annotations

import math

from understudy.resilience.cooldown import Place

DECAY = 10.0
"""Seconds in which an old reading loses 63 % of its weight (Finagle's and Linkerd's default)."""

UNKNOWN = 60.0
"""Seconds assumed of a target that has calls under way and has never answered: the usual first-token timeout."""

ENOUGH = 20
"""Answers before a percentile means something: below that, p95 would be the slowest one."""

_FIRST, _STEPS, _BUCKETS = 0.001, 4, 84
"""The first bucket ends at 1 ms, each doubling has four, the last begins at half an hour."""

_FADE = 1000
_MOST = 8192


class _Target:
    __slots__ = ("at", "counts", "dirty", "ewma", "flying", "p95", "total")

    def __init__(self, now: float) -> None:
        self.flying = 0
        self.ewma = 0.0
        self.at = now
        self.counts: list[int] | None = None
        self.total = 0
        self.p95: float | None = None
        self.dirty = 0


class Latencies:
    """One reading for each target, and the calls under way."""

    def __init__(self) -> None:
        self._targets: dict[Place, _Target] = {}

    def started(self, place: Place, now: float) -> None:
        """An attempt is on its way."""
        target = self._targets.get(place)
        if target is None:
            if len(self._targets) >= _MOST:
                self._forget()
            target = self._targets[place] = _Target(now)
        target.flying += 1

    def answered(self, place: Place, seconds: float, now: float) -> None:
        """The first content came `seconds` after the attempt began. The attempt goes on."""
        target = self._targets.get(place)
        if target is None:
            return
        if seconds > target.ewma:
            target.ewma = seconds
        else:
            weight = math.exp((target.at - now) / DECAY)
            target.ewma = target.ewma * weight + seconds * (1 - weight)
        target.at = now
        if target.counts is None:
            target.counts = [0] * _BUCKETS
        target.counts[_bucket(seconds)] += 1
        target.total += 1
        target.dirty += 1
        if target.total >= _FADE:
            target.counts = [count >> 1 for count in target.counts]
            target.total = sum(target.counts)

    def ended(self, place: Place) -> None:
        """The attempt is over, whatever came of it."""
        target = self._targets.get(place)
        if target is not None and target.flying:
            target.flying -= 1

    def load(self, place: Place, now: float) -> float:
        """Seconds that a call more would have to expect, in a rough way that serves for comparing. 0 if unknown."""
        target = self._targets.get(place)
        if target is None:
            return 0.0
        if not target.ewma:
            return UNKNOWN * target.flying
        if target.flying:
            return target.ewma * (target.flying + 1)
        return target.ewma * math.exp((target.at - now) / DECAY)

    def p95(self, place: Place) -> float | None:
        """Seconds within which 95 of 100 answers begin; None until enough are known."""
        target = self._targets.get(place)
        if target is None or target.counts is None or target.total < ENOUGH:
            return None
        # It moves slowly: reading it anew for every answer would cost more than it tells.
        if target.p95 is None or target.dirty >= ENOUGH:
            target.p95 = _percentile(target.counts, target.total, 0.95)
            target.dirty = 0
        return target.p95

    def _forget(self) -> None:
        """Room for one more: the oldest that nobody uses; if all are in use, the oldest."""
        idle = (place for place, target in self._targets.items() if not target.flying)
        del self._targets[next(idle, next(iter(self._targets)))]


def _bucket(seconds: float) -> int:
    if seconds <= _FIRST:
        return 0
    return min(_BUCKETS - 1, math.ceil(math.log2(seconds / _FIRST) * _STEPS))


def _percentile(counts: list[int], total: int, share: float) -> float:
    """The upper edge of the bucket in which the percentile lies."""
    wanted = share * total
    for place, count in enumerate(counts):
        wanted -= count
        if wanted <= 0:
            return float(_FIRST * 2 ** (place / _STEPS))
    return float(_FIRST * 2 ** ((_BUCKETS - 1) / _STEPS))
