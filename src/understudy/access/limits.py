"""Rate limits of one key: requests and tokens per second, minute, hour or day, and calls at once. Pure.

A sliding window, cut into `SLOTS` slots, of which the one that is only partly over counts whole. So in *any* stretch of
time as long as the window no more than the limit is let through, and a client that always asks gets 99 % of it. The
usual ways do not keep that promise: a token bucket and GCRA (ITU-T I.371; as Brandur Leach describes it for APIs) with
a burst of the limit let through nearly twice the limit while the bucket that was full empties, and with a burst small
enough to keep it they refuse the second of two calls a second apart under "100 a minute". Fixed windows let through
twice the limit around a boundary. The window of weighted counters (Cloudflare, "How we built rate limiting capable of
scaling to millions of domains", 2017) is this one with a single slot and a guess in place of the promise. An exact log
of times would have to keep every call of a day.

Tokens are debited by estimate when a call is admitted, and corrected in the same slot when it has ended: they count as
used when the call began. A correction can carry a window above its limit; then nothing is admitted until it is below.
No waiting and no `await` happens inside, so within one event loop every decision is exact; `local.py` adds what threads
need.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

What = Literal["requests", "tokens", "parallel"]
Per = Literal["second", "minute", "hour", "day"]

SECONDS: dict[str, float] = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
SLOTS = 100
"""More of them: closer to the limit under full load, and more memory (900 bytes for each window in use)."""

ROUNDING = 1e-6
"""Seconds on top of a wait, so that who waited exactly as told is not sent back for the last bit of a float."""

LARGEST = 10**12
"""Of a limit: far from where the shared counters' floating-point numbers stop being exact (2**53)."""


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """`amount` of `what` in any window as long as `per`; `parallel` are calls under way at once, without a window."""

    what: What
    amount: int
    per: Per | None = None

    def __str__(self) -> str:
        return f"{self.what}={self.amount}" + (f"/{self.per}" if self.per else "")


class Left(msgspec.Struct, frozen=True):
    """What is left of a limit, and in how many seconds it is whole again (0 for calls at once: nobody knows)."""

    limit: Limit
    left: int
    full_in: float


def parse(text: str) -> Limit:
    """A limit as people write it: `requests=100/second`, `tokens=200000/minute`, `parallel=8`. Raises ValueError."""
    what, _, rest = text.replace(" ", "").partition("=")
    amount, _, per = rest.partition("/")
    windows = {name: name for name in SECONDS} | {"s": "second", "min": "minute", "h": "hour", "d": "day"}
    wrong = ""
    if what not in get_args(What):
        wrong = "it begins with `requests=`, `tokens=` or `parallel=`"
    elif not (amount.isascii() and amount.isdigit() and int(amount) <= LARGEST):
        wrong = "the amount is a whole number"
    elif what == "parallel" and per:
        wrong = "`parallel` has no window"
    elif what != "parallel" and per not in windows:
        wrong = f"the window is one of {', '.join(SECONDS)}"
    if wrong:
        raise ValueError(f"The limit {text!r} cannot be read: {wrong}. Write for instance `requests=100/second`.")
    return msgspec.convert({"what": what, "amount": int(amount), "per": windows.get(per)}, Limit)


class _Window:
    """Counts by slot. `last` is the newest slot seen; slot s is kept at s modulo the ring's length."""

    __slots__ = ("amount", "last", "limit", "of_tokens", "ring", "used", "width")

    def __init__(self, limit: Limit) -> None:
        assert limit.per is not None
        self.limit = limit
        self.amount = limit.amount
        self.of_tokens = limit.what == "tokens"
        self.width = SECONDS[limit.per] / SLOTS
        # Time since any instant spans at most SLOTS + 1 slots, the first of them only in part.
        self.ring = [0] * (SLOTS + 1)
        self.last = 0
        self.used = 0

    def advance(self, slot: int) -> None:
        ring, size = self.ring, SLOTS + 1
        if slot - self.last >= size:
            self.ring = [0] * size
            self.used = 0
        else:
            for passed in range(self.last + 1, slot + 1):
                self.used -= ring[passed % size]
                ring[passed % size] = 0
        self.last = slot

    def correct(self, slot: int, by: int) -> None:
        """Book `by` more, or less, where a call was booked; nothing if that is no longer in the window."""
        if self.last - slot <= SLOTS:
            place = slot % (SLOTS + 1)
            by = max(by, -self.ring[place])
            self.ring[place] += by
            self.used += by

    def wait(self, cost: int, now: float) -> float | None:
        """Seconds until `cost` fits; None if it never does."""
        if cost > self.amount:
            return None
        short = self.used + cost - self.amount
        for slot in range(self.last - SLOTS, self.last + 1):
            short -= self.ring[slot % (SLOTS + 1)]
            if short <= 0:
                return max(0.0, (slot + SLOTS + 1) * self.width - now) + ROUNDING
        return None  # unreachable while `used` is the ring's sum

    def full_in(self, now: float) -> float:
        for slot in range(self.last, self.last - SLOTS - 1, -1):
            if self.ring[slot % (SLOTS + 1)]:
                return max(0.0, (slot + SLOTS + 1) * self.width - now)
        return 0.0


class Taken(msgspec.Struct, gc=False):
    """What an admitted call took: hand it to `settle` once. `at` is when."""

    tokens: int
    at: float


class Short(msgspec.Struct, frozen=True):
    """Why a call does not fit: the limit, and the seconds after which it would; None if it never will."""

    limit: Limit
    wait: float | None


PARALLEL_WAIT = 1.0
"""Seconds after which to come back when too many calls are under way: nobody knows when one of them ends."""


class Limits:
    """The limits of one key, and what is used of them. Times are of one clock that never goes back."""

    __slots__ = ("_parallel", "_windows", "open")

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._windows: tuple[_Window, ...] = ()
        self._parallel: Limit | None = None
        self.open = 0
        self.adopt(limits)

    def adopt(self, limits: Iterable[Limit]) -> None:
        """Go on with other limits; what was used of those that stay, if with another amount, stays used."""
        kept = {(window.limit.what, window.limit.per): window for window in self._windows}
        windows = []
        self._parallel = None
        for limit in limits:
            if limit.per is None:
                if self._parallel is None or limit.amount < self._parallel.amount:
                    self._parallel = limit
                continue
            window = kept.pop((limit.what, limit.per), None) or _Window(limit)
            window.limit, window.amount = limit, limit.amount
            windows.append(window)
        self._windows = tuple(windows)

    def admit(self, tokens: int, now: float) -> Taken | Short:
        """Take one call of `tokens`, or nothing at all."""
        if self._parallel is not None and self.open >= self._parallel.amount:
            return Short(self._parallel, PARALLEL_WAIT)
        windows = self._windows
        for window in windows:
            slot = int(now / window.width)
            if slot > window.last:
                window.advance(slot)
            if window.used + (tokens if window.of_tokens else 1) > window.amount:
                return self._short(tokens, now)
        for window in windows:
            cost = tokens if window.of_tokens else 1
            window.used += cost
            window.ring[window.last % (SLOTS + 1)] += cost
        self.open += 1
        return Taken(tokens, now)

    def _short(self, tokens: int, now: float) -> Short:
        """The limit that takes longest to have room again."""
        worst: Short | None = None
        for window in self._windows:
            slot = int(now / window.width)
            if slot > window.last:
                window.advance(slot)
            cost = tokens if window.of_tokens else 1
            if window.used + cost > window.amount:
                wait = window.wait(cost, now)
                if wait is None:
                    return Short(window.limit, None)
                if worst is None or worst.wait is None or wait > worst.wait:
                    worst = Short(window.limit, wait)
        assert worst is not None
        return worst

    def settle(self, taken: Taken, tokens: int | None) -> None:
        """The call has ended and used `tokens`; None if nobody knows, and then the estimate stands."""
        self.open -= 1
        if tokens is not None and tokens != taken.tokens:
            for window in self._windows:
                if window.of_tokens:
                    window.correct(int(taken.at / window.width), tokens - taken.tokens)

    def give_back(self, taken: Taken) -> None:
        """The call was not made after all."""
        self.open -= 1
        for window in self._windows:
            window.correct(int(taken.at / window.width), -taken.tokens if window.of_tokens else -1)

    def left(self, now: float) -> list[Left]:
        """What is left of each limit."""
        lefts = []
        for window in self._windows:
            slot = int(now / window.width)
            if slot > window.last:
                window.advance(slot)
            lefts.append(Left(window.limit, max(0, window.amount - window.used), window.full_in(now)))
        if self._parallel is not None:
            lefts.append(Left(self._parallel, max(0, self._parallel.amount - self.open), 0.0))
        return lefts
