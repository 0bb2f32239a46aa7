"""The connections to one origin: kept alive, lent last-in first-out, limited in number, with a fair queue.

Last-in first-out keeps few connections warm and lets the rest age out. Waiting for a free connection is limited by the
connect clock, as HAProxy's `timeout queue` defaults to its `timeout connect`. The one transparent retry is gRPC's
(proposal A6): a kept connection that closed before any byte of the answer says nothing about the provider's health.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from understudy import clock
from understudy.upstream.connection import Connection
from understudy.upstream.dial import within
from understudy.upstream.fault import Clocks, TransportError
from understudy.upstream.response import Response

Dial = Callable[["Origin"], Coroutine[Any, Any, Connection]]
"""Opens a connection. Raises TransportError: "unreachable", "untrusted" or "exhausted"."""


class Limits(msgspec.Struct, frozen=True):
    """Of one pool: connections, waiting senders, seconds a connection is kept idle, bytes of an answer's head."""

    connections: int
    queue: int
    idle: float
    max_header_bytes: int


class Origin:
    """The pool of one scheme, host, port and proxy. Made by `Client.origin`."""

    def __init__(self, label: str, dial: Dial, limits: Limits, rewrite: Callable[[bytes], bytes] | None = None) -> None:
        self.label = label
        self.max_header_bytes = limits.max_header_bytes
        self._dial = dial
        self._limits = limits
        self._rewrite = rewrite
        self._idle: dict[Connection, None] = {}  # in the order they were given back
        self._lent_or_idle: set[Connection] = set()
        self._slots = 0  # connections, and those being opened
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._dialling: set[asyncio.Task[Connection]] = set()
        self._sweeper: clock.Timer | None = None
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Lent, idle, and being opened."""
        return self._slots

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Senders in the queue for a connection."""
        return len(self._waiters)

    async def send(self, head: bytes, body: bytes, clocks: Clocks, deadline: float = math.inf) -> Response:
        """Send a request; return when the head of its answer has arrived, whatever its status.

        `head` is the request line in origin form, every header (with `host` and `content-length`) and the blank line.
        `deadline` is in `clock.monotonic()` seconds, for the whole exchange, whoever is slow.

        Raises:
            TransportError: see its `kind`. Cancelling the task closes the connection and leaves nothing behind.
        """
        started = connected = clock.monotonic()
        if self._rewrite is not None:
            head = self._rewrite(head)
        idle = self._idle
        connection = idle.popitem()[0] if idle else None
        retried = False
        while True:
            if connection is None or connection.transport.is_closing():
                connection = await self._acquire(clocks, deadline, fresh=retried)
                connected = clock.monotonic()
            waiter = connection.begin(head, body, clocks, (started, connected, deadline))
            response = connection.response
            try:
                await waiter
            except asyncio.CancelledError:
                connection.abandon()
                raise
            if response.status:
                return response
            error = cast("TransportError", connection.error)
            if error.kind != "stale_connection" or retried or self._closed:
                raise error.again()
            connection, retried = None, True

    async def _acquire(self, clocks: Clocks, deadline: float = math.inf, *, fresh: bool = False) -> Connection:
        """An idle connection, a new one, or the next that comes free. `fresh`: not one that was idle."""
        if deadline - clock.monotonic() < 2 * clocks.connect:  # waiting and opening may take that long each
            try:
                async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
                    return await self._acquire(clocks, math.inf, fresh=fresh)
            except TimeoutError:
                raise TransportError("deadline", f"{self.label}: the deadline passed before a connection") from None
        while not self._closed:
            if self._idle and not fresh:
                connection = self._idle.popitem()[0]
            elif self._slots < self._limits.connections:
                self._slots += 1
                return await self._open(clocks)
            elif self._idle:
                next(iter(self._idle)).close()  # the oldest makes room
                continue
            else:
                waited = await self._wait(clocks)
                if waited is None:
                    return await self._open(clocks)
                connection = waited
            if not connection.closed and not connection.transport.is_closing():
                return connection
        raise RuntimeError(f"{self.label}: the client was closed")

    async def _open(self, clocks: Clocks) -> Connection:
        """Open a connection in a slot that is already ours."""
        connection = None
        try:
            connection = await within(clocks.connect, self._dial(self), self.label, self._dialling)
            if connection.closed:
                raise TransportError("unreachable", f"{self.label}: closed the connection as soon as it was made")
            self._lent_or_idle.add(connection)
        finally:
            if connection not in self._lent_or_idle:
                self._free_slot()
        return connection

    async def _wait(self, clocks: Clocks) -> Connection | None:
        """Queue for a connection, or for a slot to open one in (None)."""
        limits = self._limits
        if len(self._waiters) >= limits.queue:
            raise TransportError(
                "pool_full", f"{self.label}: {limits.connections} connections busy and {limits.queue} requests waiting"
            )
        future: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        timer = clock.call_later(clocks.connect, self._give_up, future, clocks.connect)
        try:
            return await future
        except asyncio.CancelledError:
            if (
                not future.cancelled() and future.exception() is None
            ):  # served in the very moment of the cancellation: pass it on
                connection = future.result()
                if connection is None:
                    self._free_slot()
                elif not connection.closed:
                    self.give(connection)
            raise
        finally:
            timer.cancel()
            self._waiters.remove(future)

    def _give_up(self, future: asyncio.Future[Connection | None], seconds: float) -> None:
        if not future.done():
            message = f"{self.label}: none of {self._limits.connections} connections came free within {seconds:g} s"
            future.set_exception(TransportError("pool_full", message))

    def _serve(self, connection: Connection | None) -> bool:
        """Hand a connection, or a slot, to whoever waits longest. False if nobody does."""
        for future in self._waiters:  # who was served or cancelled stays in it until its task runs
            if not future.done():
                future.set_result(connection)
                return True
        return False

    def _free_slot(self) -> None:
        if not self._serve(None):
            self._slots -= 1

    def give(self, connection: Connection) -> None:
        """Take back a connection that can serve another exchange."""
        if self._waiters and self._serve(connection):
            return
        self._idle[connection] = None
        if self._sweeper is None:
            self._sweeper = clock.call_later(self._limits.idle, self._sweep)

    def forget(self, connection: Connection) -> None:
        """A connection is closed, whoever closed it."""
        if connection in self._lent_or_idle:
            self._lent_or_idle.remove(connection)
            self._idle.pop(connection, None)
            self._free_slot()

    def doubt(self) -> None:
        """A connection was dead at its other end: those kept may lead to the same place, which is no more. Whoever
        comes next connects anew, to where the name leads then.
        """
        for connection in list(self._idle):
            connection.close()

    def _sweep(self) -> None:
        """Close what was idle too long; one timer for the whole pool."""
        self._sweeper = None
        now = clock.monotonic()
        for connection in list(self._idle):
            rest = connection.last_byte + self._limits.idle - now
            if rest > 0.001:
                self._sweeper = clock.call_later(rest, self._sweep)
                return
            connection.close()

    def close(self) -> None:
        """Close every connection now; whoever waits or reads gets a TransportError."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for future in self._waiters:
            if not future.done():
                future.set_exception(TransportError("pool_full", f"{self.label}: the client was closed"))
        for task in self._dialling:
            task.cancel()
        for connection in list(self._lent_or_idle):
            connection.fail("cut", "the client was closed")
