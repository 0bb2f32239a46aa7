"""Time and chance. The only module that touches either, so that a test can hold both still.

Callers write `clock.monotonic()` (never `from understudy.clock import monotonic`): `frozen()` swaps the functions of
this module, and a name imported by value would keep the real one. After Trio's mock clock, which jumps ahead so that
timing tests take no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random as _random
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


monotonic: Callable[[], float] = time.monotonic
"""Seconds that only ever grow; for durations."""

wall: Callable[[], float] = time.time
"""Unix seconds; for stamps that people and other machines read."""

random: Callable[[], float] = _random.random
"""A float in [0, 1); for jitter."""

token: Callable[[int], str] = secrets.token_hex
"""`token(n)` is n random bytes as hexadecimal; for ids and keys."""


def _call_later(delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
    return asyncio.get_running_loop().call_later(delay, callback, *args)


call_later: Callable[..., Timer] = _call_later
"""`call_later(seconds, callback, *args)` in the running loop; gives something with `cancel()`."""

sleep: Callable[[float], Any] = asyncio.sleep


class _FrozenTimer:
    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., Any] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None


class Frozen:
    """Time that stands still until `advance` moves it. Callbacks fire in order of their due time."""

    def __init__(self, start: float = 1_000_000.0, seed: int = 0) -> None:
        self.now = start
        self._due: list[tuple[float, int, _FrozenTimer]] = []
        self._order = itertools.count()
        self._chance = _random.Random(seed)

    def monotonic(self) -> float:
        return self.now

    def random(self) -> float:
        return self._chance.random()

    def token(self, n: int) -> str:
        return self._chance.randbytes(n).hex()

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Timer:
        timer = _FrozenTimer(callback, args)
        heapq.heappush(self._due, (self.now + delay, next(self._order), timer))
        return timer

    async def sleep(self, delay: float) -> None:
        woken = asyncio.Event()
        self.call_later(delay, woken.set)
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Move time by `seconds`, running every callback that falls due on the way."""
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            due, _, timer = heapq.heappop(self._due)
            self.now = max(self.now, due)
            if timer.callback is not None:
                timer.callback(*timer.args)
        self.now = end


@contextlib.contextmanager
def frozen(start: float = 1_000_000.0, seed: int = 0) -> Iterator[Frozen]:
    """Hold time still inside the block: `with clock.frozen() as time: ...; time.advance(10)`."""
    still = Frozen(start, seed)
    swapped = {
        "monotonic": still.monotonic,
        "wall": still.monotonic,
        "random": still.random,
        "token": still.token,
        "call_later": still.call_later,
        "sleep": still.sleep,
    }
    kept = {name: globals()[name] for name in swapped}
    globals().update(swapped)
    try:
        yield still
    finally:
        globals().update(kept)
