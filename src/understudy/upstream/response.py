"""What the caller holds of an exchange: the head, the bytes as they come, and the two things it may say about them."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from understudy import clock
from understudy.upstream.encoding import Inflate
from understudy.upstream.fault import Clocks

if TYPE_CHECKING:
    from understudy.upstream.connection import Connection

RESUME = 64 * 1024
"""Bytes unread below which a paused connection reads on."""


class Response:
    """One answer. `headers` are in wire order with lower-case names; times are `clock.monotonic()` seconds.

    One reader at a time. Every Response is either read to its end (`done`) or cancelled: nothing else gives the
    connection back.
    """

    __slots__ = (
        "clocks",
        "connected",
        "connection",
        "deadline",
        "done",
        "first_token_from",
        "head_at",
        "headers",
        "inflate",
        "progress_at",
        "reused",
        "started",
        "status",
    )

    def __init__(self, connection: Connection, clocks: Clocks, started: float, connected: float, reused: bool) -> None:
        self.connection = connection
        self.clocks = clocks
        self.deadline = math.inf
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.reused = reused
        self.started = started  # `send` was called
        self.connected = connected  # a connection was at hand
        self.first_token_from = connected
        self.head_at = 0.0  # the head was complete; 0 until then
        self.progress_at = 0.0  # content last seen; 0 until then
        self.done = False  # read to its end; the connection is no longer ours
        self.inflate: Inflate | None = None

    @property
    def connect_seconds(self) -> float:
        """What getting a connection took: about nothing for a pooled one."""
        return self.connected - self.started

    def progressed(self) -> None:
        """Content was seen: the first-token clock stops, the progress clock starts again."""
        self.progress_at = clock.monotonic()

    def hurry(self, seconds: float) -> None:
        """All that matters has been seen: what is still to come has `seconds` to come."""
        self.clocks = Clocks(self.clocks.connect, seconds, seconds, seconds)
        self.connection.look_in(seconds)

    def release(self) -> None:
        """The caller has all it wants. The connection is kept if the answer ends by itself in a moment, else closed."""
        if not self.done:
            self.done = True
            self.connection.drain()

    def cancel(self) -> None:
        """Close the connection at once, unless the answer was read to its end. May be called any number of times."""
        if not self.done:
            self.connection.abandon()

    async def read(self) -> bytes:
        """Whatever has arrived, at least a byte; b"" exactly at the clean end.

        Raises:
            TransportError: the answer will not end cleanly. What arrived before was returned first.
        """
        if self.done:
            return b""
        connection = self.connection
        chunks = connection.chunks
        if connection.held_at:
            connection.release_clocks()
        if self.inflate is not None:
            return await self._inflated(self.inflate)
        while not chunks and not connection.complete:
            try:
                await connection.listen()
            except asyncio.CancelledError:
                connection.abandon()
                raise
        return self._take()

    def _take(self) -> bytes:
        """Whatever is at hand."""
        connection = self.connection
        chunks = connection.chunks
        data = b"".join(chunks)
        chunks.clear()
        connection.unread = 0
        if connection.paused:
            connection.resume_reading()
        if connection.complete:
            self.done = True
            connection.finish()
        return data

    async def _inflated(self, inflate: Inflate) -> bytes:
        """As `read`, undoing the compression, at most 64 KiB at a time."""
        connection = self.connection
        chunks = connection.chunks
        while True:
            while inflate.hungry and not chunks and not connection.complete:
                try:
                    await connection.listen()
                except asyncio.CancelledError:
                    connection.abandon()
                    raise
            try:
                data = inflate.feed(b"".join(chunks))
                chunks.clear()
                ended = connection.complete and inflate.hungry
                if ended:
                    inflate.end()
            except ValueError as error:
                raise connection.fail("bad_response", str(error)).again() from None
            connection.unread = inflate.pending
            if connection.paused and connection.unread < RESUME:
                connection.resume_reading()
            if ended:
                self.done = True
                connection.finish()
            if data or ended:
                return data

    async def body(self, limit: int) -> bytes:
        """The rest of the answer, whole; every piece counts as progress.

        Raises:
            TransportError: as `read`, and "bad_response" for more than `limit` bytes.
        """
        at_hand = self.connection.complete and self.inflate is None and not self.done
        data = self._take() if at_hand else await self.read()
        if self.done and len(data) <= limit:
            return data
        pieces, size = [data], len(data)
        while size <= limit:
            self.progressed()
            data = await self.read()
            if not data:
                return b"".join(pieces)
            pieces.append(data)
            size += len(data)
        self.cancel()
        raise self.connection.fault("bad_response", f"the answer is longer than the {limit} bytes allowed")
