"""A second attempt beside a first that keeps silent: whoever has the first content answers, the other is dropped.

Off unless a route says `hedge = true`. When and how often is `resilience/hedge.py`'s decision. Each attempt writes to a
lane of its own; the first lane that wants to begin an answer becomes the client's, and nothing of the other goes out.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from understudy import clock
from understudy.canon import Request
from understudy.dialects.wire import Malformed
from understudy.gateway.client import Client
from understudy.gateway.record import Attempt, Exchange, Failure, Headers
from understudy.gateway.routing import Target

Trying = Callable[[Target, Exchange, Client], Coroutine[Any, Any, Failure | None]]
"""One try at a target, as `exchange.py` makes it."""

Another = Callable[[], Awaitable[tuple[Target, Attempt] | None]]
"""A further target that takes the call now, and its record; None if there is none."""


class Tried(msgspec.Struct, frozen=True):
    """How one attempt ended. `failure` None: it answered. `dropped`: it lost, which says nothing about its target."""

    target: Target
    record: Attempt
    failure: Failure | None = None
    dropped: bool = False


def silence(target: Target, exchange: Exchange) -> float | None:
    """Seconds of silence after which a second attempt may start; None for never."""
    if not exchange.route.hedge or exchange.attempts[1:] or exchange.splice is not None:
        return None
    try:
        stateful = _stateful(exchange.call.request())
    except Malformed:
        return None
    health = exchange.health
    return health.hedges.wait(health.latencies.p95(target.place), exchange.started, stateful=stateful)


def _stateful(request: Request) -> bool:
    """Whether doing it twice is not the same as doing it once: the provider runs tools, or keeps the answer."""
    return bool(request.store or request.previous) or any(tool.kind == "hosted" for tool in request.tools)


async def race(
    target: Target, exchange: Exchange, client: Client, trying: Trying, another: Another, *, wait: float
) -> list[Tried]:
    """Try `target`, whose record is the exchange's latest, and beside it another when it is silent for `wait` seconds.

    Returns how each attempt ended, the one that answered (or failed with the answer begun) last.
    """
    course = _Race(exchange, client, trying)
    try:
        course.enter(target, exchange.attempts[-1])
        if not await course.over(wait) and course.winner is None and exchange.health.hedges.takes(clock.monotonic()):
            second = await another()
            if second is not None:
                course.enter(*second)
        while not await course.over(None):
            pass
        return course.results()
    finally:
        await course.stop()


class _Race:
    def __init__(self, exchange: Exchange, client: Client, trying: Trying) -> None:
        self.exchange = exchange
        self.client = client
        self.winner: _Lane | None = None
        self._trying = trying
        self._lanes: list[_Lane] = []

    def enter(self, target: Target, record: Attempt) -> None:
        view = copy.copy(self.exchange)
        view.attempts = [record]
        lane = _Lane(self, target, record, view)
        lane.task = asyncio.create_task(self._trying(target, view, lane))
        self._lanes.append(lane)

    async def over(self, wait: float | None) -> bool:
        """Wait until something ends, at most `wait` seconds. Whether the race is decided and its answer is over."""
        running = [lane.task for lane in self._lanes if lane.task is not None and not lane.task.done()]
        if running:
            await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        lanes = self._lanes if self.winner is None else [self.winner]
        return all(lane.task is not None and lane.task.done() for lane in lanes)

    def won(self, lane: _Lane) -> None:
        """`lane` begins its answer: from now on it is the client's."""
        self.winner = lane
        for other in self._lanes:
            if other is not lane and other.task is not None:
                other.task.cancel()
        attempts = self.exchange.attempts
        attempts.sort(key=lambda record: record is lane.record)  # who answers stands last

    def results(self) -> list[Tried]:
        found = []
        for lane in self._lanes:
            assert lane.task is not None
            lane.record.ended = lane.record.ended or clock.monotonic()
            if lane.task.cancelled() or not lane.task.done():
                found.append(Tried(lane.target, lane.record, dropped=True))
            else:
                found.append(Tried(lane.target, lane.record, lane.task.result()))
        winner = self.winner
        if winner is not None:
            view = winner.view
            self.exchange.trail, self.exchange.encoder = view.trail, view.encoder
            found.sort(key=lambda tried: tried.record is winner.record)
        return found

    async def stop(self) -> None:
        running = [lane.task for lane in self._lanes if lane.task is not None and not lane.task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


class _Lane:
    """The client, as one of the attempts sees it."""

    def __init__(self, course: _Race, target: Target, record: Attempt, view: Exchange) -> None:
        self.target, self.record, self.view = target, record, view
        self.task: asyncio.Task[Failure | None] | None = None
        self._race = course
        self.exchange: Exchange | None = view

    @property
    def committed(self) -> bool:
        return self._race.winner is self and self._race.client.committed

    async def start(self, status: int, headers: Headers) -> None:
        self._take()
        await self._race.client.start(status, headers)

    async def write(self, data: bytes) -> None:
        await self._race.client.write(data)

    async def end(self, data: bytes = b"") -> None:
        await self._race.client.end(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._take()
        await self._race.client.whole(status, headers, body)

    def _take(self) -> None:
        if self._race.winner is None:
            self._race.won(self)
        elif self._race.winner is not self:
            raise asyncio.CancelledError  # lost by a moment
