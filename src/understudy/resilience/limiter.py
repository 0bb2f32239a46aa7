"""How many calls a target may have at once, and how fast their number may grow.

Three bounds, each absent until there is a reason for it:

- **Limit** (additive increase, multiplicative decrease, as TCP's congestion avoidance): none until a target says that
  it has too much. Then seven tenths of what was under way, one more for each round of answers while the limit is in
  use, and a cut for each further refusal, at most one a second: the refusals of one burst are one piece of news (RFC
  5681 cuts once per window of data). After ten minutes without a refusal it is gone. "In use" and the shape of the
  rule are those of Netflix's concurrency-limits (`AIMDLimit`); theirs always has a limit, ours must not slow down a
  target that never complained.
- **Ramp** (Google, "Site Reliability Engineering", chapter "Addressing Cascading Failures"; Envoy's slow start; TCP's
  slow start): when a target takes over another's load, or comes back, its calls start at its own recent rate and double
  every second. It begins with no less than ten a second: less would turn away the calls of small installations, which
  could not hurt anybody, and more could use up a small paid tier's minute at once. A thousand a second is reached in
  seven seconds.
- **Slow growth**: who says `slow_down` (OpenAI), or the like (Anthropic's acceleration limits), does not mean how much,
  but how fast. OpenAI's rule of thumb is at most 50 % in 15 minutes, so that is what holds for an hour, from seven
  tenths of the rate before.

Refusing here is not failing: the next target takes the call.
"""

from __future__ import annotations

import math
from typing import Literal

from understudy.resilience.cooldown import Place

Outcome = Literal["ok", "overload", "slow_down", "other"]
"""How a call ended, for the limit. `other` says nothing about load: the client left, its own mistake, a cut line."""

CUT = 0.7
CUT_EVERY = 1.0
FORGET = 600.0
"""A refusal leaves this share; refusals within this many seconds are one; after so many without any the limit goes."""

RAMP_FLOOR = 10.0
RAMP_SECONDS = 20.0
"""Calls a second that a ramp starts with, and how long it lasts: in 20 s it has grown a million times."""

GROWTH = 1.5
GROWTH_SECONDS = 900.0
SLOW_SECONDS = 3600.0
"""Slow growth: times 1.5 in 15 minutes, for an hour after the last `slow_down`."""

_RATE_SECONDS = 10.0
"""Own rate is measured over ten seconds: short enough to be recent, long enough not to be one burst."""

_MOST = 8192

_OVERLOAD = frozenset({"rate_limit", "token_rate_limit", "overloaded"})


def outcome(kind: str | None) -> Outcome:
    """What a fault of `kind` says about load; None is an answer. A used-up day or credit is no matter of load."""
    if kind is None:
        return "ok"
    if kind in _OVERLOAD:
        return "overload"
    return "slow_down" if kind == "ramp_too_fast" else "other"


class _Pace:
    """A rate that grows by `growth` every `every` seconds until `ends`, as a bucket that holds one second's worth."""

    __slots__ = ("at", "began", "ends", "every", "growth", "room", "start")

    def __init__(self, start: float, growth: float, every: float, now: float, lasts: float) -> None:
        self.start = start
        self.growth = growth
        self.every = every
        self.began = self.at = now
        self.ends = now + lasts
        self.room = max(1.0, start)

    def rate(self, now: float) -> float:
        return float(self.start * self.growth ** ((now - self.began) / self.every))

    def fill(self, now: float) -> bool:
        """Whether there is room for one call now. Taking it is `room -= 1`."""
        rate = self.rate(now)
        self.room = min(self.room + rate * (now - self.at), max(1.0, rate))
        self.at = now
        return self.room >= 1


class _Target:
    """`bound` is whether any of limit, ramp and slow growth holds: the one test that a healthy target's calls pay."""

    __slots__ = ("bound", "count", "cut", "flying", "limit", "ramp", "rate", "refused", "slow", "turn")

    def __init__(self, now: float) -> None:
        self.bound = False
        self.flying = 0
        self.limit = math.inf
        self.cut = self.refused = -math.inf
        self.ramp: _Pace | None = None
        self.slow: _Pace | None = None
        self.rate = 0.0
        self.count = 0
        self.turn = now + _RATE_SECONDS

    def measure(self, now: float) -> None:
        """Ten seconds are over: their count is the recent rate, unless nothing at all came after them."""
        self.rate = self.count / _RATE_SECONDS if now < self.turn + _RATE_SECONDS else 0.0
        self.count = 0
        self.turn = now + _RATE_SECONDS

    def recent(self, now: float) -> float:
        """Calls a second, lately."""
        if now >= self.turn:
            self.measure(now)
        return max(self.rate, self.count / _RATE_SECONDS)

    def free(self, now: float) -> bool:
        """Whether one more call fits all bounds; takes its place in them if so. Bounds that are over are removed."""
        if self.limit < math.inf and now - self.refused >= FORGET:
            self.limit = math.inf
        ramp, slow = self.ramp, self.slow
        if ramp is not None and now >= ramp.ends:
            ramp = self.ramp = None
        if slow is not None and now >= slow.ends:
            slow = self.slow = None
        self.bound = self.limit < math.inf or ramp is not None or slow is not None
        if self.flying + 1 > self.limit:
            return False
        if (ramp is not None and not ramp.fill(now)) or (slow is not None and not slow.fill(now)):
            return False
        if ramp is not None:
            ramp.room -= 1
        if slow is not None:
            slow.room -= 1
        return True


class Limiter:
    """The bounds of every target. Each `acquire` that says yes wants one `release`."""

    def __init__(self) -> None:
        self._targets: dict[Place, _Target] = {}

    def acquire(self, place: Place, now: float) -> bool:
        """Whether a call may go to `place` now; if so, it counts as under way."""
        target = self._targets.get(place)
        if target is None:
            target = self._add(place, now)
        if target.bound and not target.free(now):
            return False
        self._take(target, now)
        return True

    def count(self, place: Place, now: float) -> None:
        """A call goes to `place` whatever its bounds are."""
        target = self._targets.get(place)
        self._take(target if target is not None else self._add(place, now), now)

    def _take(self, target: _Target, now: float) -> None:
        if now >= target.turn:
            target.measure(now)
        target.count += 1
        target.flying += 1

    def release(self, place: Place, outcome: Outcome, now: float) -> None:
        """A call is over."""
        target = self._targets.get(place)
        if target is None:
            return
        flying = target.flying
        if flying:
            target.flying = flying - 1
        if outcome == "ok":
            if target.limit < math.inf and flying * 2 >= target.limit:
                target.limit += 1 / target.limit
        elif outcome != "other":
            self._refused(target, outcome, max(flying, 1), now)

    def ramp(self, place: Place, now: float) -> None:
        """`place` takes over another target's load, or has just come back. Asking again while it ramps changes nothing,
        so this may be called for every call that moves.
        """
        target = self._targets.get(place)
        if target is None:
            target = self._add(place, now)
        if target.ramp is None or now >= target.ramp.ends:
            target.ramp = _Pace(max(target.recent(now), RAMP_FLOOR), 2.0, 1.0, now, RAMP_SECONDS)
            target.bound = True

    def limit(self, place: Place, now: float) -> float:
        """For people: the calls that `place` may have at once; infinite if there is no limit."""
        target = self._targets.get(place)
        if target is None or now - target.refused >= FORGET:
            return math.inf
        return target.limit

    def rate(self, place: Place, now: float) -> float:
        """For people: the calls a second that `place` may start; infinite if there is no bound."""
        target = self._targets.get(place)
        paces = (target.ramp, target.slow) if target is not None else ()
        return min((pace.rate(now) for pace in paces if pace is not None and now < pace.ends), default=math.inf)

    def flying(self, place: Place) -> int:
        """Calls under way."""
        target = self._targets.get(place)
        return target.flying if target is not None else 0

    def _refused(self, target: _Target, outcome: Outcome, flying: int, now: float) -> None:
        limit = math.inf if now - target.refused >= FORGET else target.limit
        target.refused = now
        target.bound = True
        if now - target.cut >= CUT_EVERY:
            target.cut = now
            target.limit = max(1.0, min(limit, flying) * CUT)
        slow = target.slow
        if outcome == "slow_down" and (slow is None or now - slow.began >= CUT_EVERY):
            start = target.recent(now)
            if slow is not None and now < slow.ends:
                start = min(start, slow.rate(now))
            target.slow = _Pace(max(1.0, start * CUT), GROWTH, GROWTH_SECONDS, now, SLOW_SECONDS)

    def _add(self, place: Place, now: float) -> _Target:
        if len(self._targets) >= _MOST:
            idle = (other for other, target in self._targets.items() if not target.flying)
            del self._targets[next(idle, next(iter(self._targets)))]
        target = self._targets[place] = _Target(now)
        return target
