"""One call on one connection, answered without ASGI: the way of every model call over HTTP.

ASGI costs a call more than relaying it does: an event, a coroutine and a dictionary for each message, and a check of
every header. Here a call is one task and one or two writes. `server.py` makes a `Turn` where uvicorn would make its own
request cycle; to uvicorn it looks like one (`more_body`, `response_complete`, `disconnected`, `keep_alive`,
`message_event`), so that keep-alive, pipelining, flow control and shutdown stay uvicorn's.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from understudy.access import Key
from understudy.gateway.app import Gateway
from understudy.gateway.client import marks, shown
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.refusing import RefusedError
from understudy.gateway.surface import Door

if TYPE_CHECKING:
    from understudy.gateway.server import Protocol

log = logging.getLogger("understudy")

_STATUS = {int(status): f"HTTP/1.1 {status:d} {status.phrase}\r\n".encode() for status in HTTPStatus}


class _Nobody:
    """What uvicorn would wake: a turn's task never waits for a message."""

    def set(self) -> None: ...


class Turn:
    """The client of one call (see `client.Client`), and uvicorn's request cycle for it."""

    __slots__ = (
        "_body",
        "_counted",
        "_gateway",
        "_head",
        "_key",
        "_protocol",
        "_size",
        "committed",
        "disconnected",
        "door",
        "exchange",
        "headers",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "task",
    )

    message_event = _Nobody()

    def __init__(
        self, protocol: Protocol, gateway: Gateway, headers: dict[bytes, bytes], door: Door, *, keep_alive: bool
    ) -> None:
        self._protocol = protocol
        self._gateway = gateway
        self._counted = False
        self._head = b""
        self._key: Key | None = None
        self._size = 0
        self.headers = headers
        self.door = door
        self._body: list[bytes] = []
        self.keep_alive = keep_alive
        self.more_body = True
        self.committed = False
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None

    # -- the request -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The head is here: refuse at once what need not be read."""
        try:
            self._key = self._gateway.admit(self.headers, self.door)
        except RefusedError as refused:
            self.refuse(refused)
        else:
            self._gateway.open += 1
            self._counted = True

    def receive(self, data: bytes) -> None:
        """Some of the body is here."""
        self._body.append(data)
        self._size += len(data)
        if self._size > self._gateway.routing.config.server.max_body:
            self._body.clear()
            self.refuse(self._gateway.too_large())

    async def run(self) -> None:
        """The body is here: answer it."""
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        try:
            await self._gateway.call(self.headers, body, self.door, self, self._key)
        except RefusedError as refused:
            self.refuse(refused)
        except Exception:
            log.exception("A call ended by a mistake of ours")
            if not self.committed:
                self.refuse(RefusedError(500, "internal", "The gateway failed. Its log says why."))
        finally:
            if not self.response_complete:  # the client left, or a mistake of ours: nobody waits for what won't come
                self.leave()
                self._protocol.transport.close()

    def leave(self) -> None:
        """The connection is gone, or the answer is out: the call is no longer open."""
        if self._counted:
            self._counted = False
            self._gateway.open -= 1

    def refuse(self, refused: RefusedError) -> None:
        """Answer with an error of ours."""
        status, headers, body = refused.answer(self.door.dialect)
        self._respond(status, headers, body)

    # -- the answer ------------------------------------------------------------------------------------------------

    async def start(self, status: int, headers: Headers) -> None:
        self.committed = True
        shown(self.exchange, status)
        # Goes out with the first of the body: one system call less.
        self._head = self._lines(status, [*headers, *marks(self.exchange), (b"transfer-encoding", b"chunked")])

    async def write(self, data: bytes) -> None:
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        head, self._head = self._head, b""
        self._write(b"%b%x\r\n%b\r\n" % (head, len(data), data))

    async def end(self, data: bytes = b"") -> None:
        head, self._head = self._head, b""
        if data:
            self._write(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(data), data))
        else:
            self._write(head + b"0\r\n\r\n")
        self._finish()

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.committed = True
        shown(self.exchange, status)
        self._respond(status, [*headers, *marks(self.exchange)], body)

    def _respond(self, status: int, headers: Headers, body: bytes) -> None:
        self._write(self._lines(status, [*headers, (b"content-length", b"%d" % len(body))]) + body)
        self._finish()

    def _lines(self, status: int, headers: Headers) -> bytes:
        """A response's head. Names and values have been through an HTTP parser, or are ours: none holds a line end."""
        self.response_started = True
        close = b"" if self.keep_alive else b"connection: close\r\n"
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        first = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
        return b"%b%b%b%b\r\n" % (first, self._protocol.date_line(), lines, close)

    def _write(self, data: bytes) -> None:
        if not self.disconnected:
            self._protocol.transport.write(data)

    def _finish(self) -> None:
        self.response_complete = True
        self.leave()
        if self.disconnected:
            return
        if not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()
