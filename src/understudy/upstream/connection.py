"""One socket speaking HTTP/1.1: an `asyncio.Protocol` around httptools' parser, serving one exchange after another.

This is the hottest code of the transport, so its shape is unusual. A piece of the answer costs one Python call
(`data_received`): the parser appends body bytes straight to a list. No task and no queue stand between socket and
reader, only a future while the reader waits. The parser lives as long as the connection. One timer watches all clocks;
it is not moved when bytes arrive, nor cancelled when an exchange ends, but looks at the time stamps when it fires, and
sets itself again.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn, Protocol, cast

import httptools

from understudy import clock
from understudy.upstream.encoding import ENCODINGS, Inflate
from understudy.upstream.fault import Clocks, Kind, TransportError
from understudy.upstream.response import Response

PAUSE = 256 * 1024
"""Bytes unread above which the socket is left alone, so that a slow reader slows the provider."""

PIECE = 256 * 1024
"""How much of a big request body is written at a time."""

BIG = 1024 * 1024
"""Request bodies above this are written in pieces; smaller ones at once, for one system call."""

DRAIN_SECONDS = 1.0
DRAIN_BYTES = 4096
"""What the end of an answer may still take after the caller has let go of it; else the connection is closed."""

HEADER_LINES = 256
INTERIM_ANSWERS = 16
TOLERANCE = 0.001  # event loops round timers to the millisecond, so one may fire that much early

_GONE: Any = None
"""In the place of what a closed connection has let go of."""

_FRAMING = frozenset((b"transfer-encoding", b"content-encoding"))
_LENGTHS = frozenset((b"transfer-encoding", b"content-length"))
_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Owner(Protocol):
    """Who lends the connection: an `Origin`."""

    label: str
    max_header_bytes: int

    def give(self, connection: Connection) -> None:
        """Take back a connection that can serve another exchange."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""

    def doubt(self) -> None:
        """A connection was dead at its other end."""


class _RejectedError(Exception):
    """Raised inside parser callbacks to stop the parser; never leaves this module."""


class Connection(asyncio.Protocol):
    """Opened by `dial.py`, lent by `pool.py`; callers see only the Response."""

    __slots__ = (
        "_due",
        "_feed",
        "_headers",
        "_interim",
        "_keep",
        "_no_body",
        "_owner",
        "_parser",
        "_timer",
        "_upload",
        "_writing_paused",
        "chunks",
        "closed",
        "complete",
        "draining",
        "error",
        "held_at",
        "last_byte",
        "lent",
        "loop",
        "on_body",
        "paused",
        "response",
        "reused",
        "transport",
        "unread",
        "waiter",
    )

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._owner = owner
        self.loop = loop
        self.chunks: list[bytes] = []
        self.on_body = self.chunks.append
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self.lent = False  # to an exchange that was not read to its end
        self.response: Response  # the current exchange, if lent
        self._headers: list[tuple[bytes, bytes]] = []
        self.waiter: asyncio.Future[None] | None = None
        self._timer: clock.Timer | None = None
        self._due = 0.0
        self._writing_paused = False
        self._upload: memoryview | None = None  # what is left of a big request body
        self._interim = 0
        self._keep = self._no_body = False
        self.closed = False
        self.complete = False  # the answer's last byte has arrived
        self.draining = False  # nobody reads what is still to come of the answer
        self.error: TransportError | None = None
        self.held_at = 0.0  # since when the clocks wait for the caller; 0: they do not
        self.last_byte = 0.0
        self.paused = False
        self.unread = 0  # bytes received since the caller last took any
        self.reused = False

    # --- an exchange -------------------------------------------------------------------------------------------

    def begin(
        self, head: bytes, body: bytes, clocks: Clocks, times: tuple[float, float, float]
    ) -> asyncio.Future[None]:
        """Send a request. What is returned is done when `error` is set, or `response` has its head.

        `times`: when `send` was called, when a connection was at hand, and the deadline.
        """
        started, connected, deadline = times
        response = self.response = Response(self, clocks, started, connected, self.reused)
        response.deadline = deadline
        self.lent = True
        self._headers = response.headers
        self._no_body = head[:5] == b"HEAD "
        self.complete = self._keep = False
        self.last_byte = 0.0
        self.unread = self._interim = 0
        due = min(connected + clocks.first_token, deadline)
        if self._timer is None or due < self._due:
            self._arm(due, connected)
        if len(body) <= BIG:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._upload = memoryview(body)
            self._pump()
        waiter = self.waiter = self.loop.create_future()
        return waiter

    def _pump(self) -> None:
        """Write what the provider takes of a big body, unless it answered already."""
        while self._upload and not self._writing_paused and not self.response.status:
            self.transport.write(self._upload[:PIECE])
            self._upload = self._upload[PIECE:]

    def listen(self) -> asyncio.Future[None]:
        """Wait for more of the answer, none being at hand. What is returned is done when there is something to see."""
        if self.error is not None:
            raise self.error.again()
        self.unread = 0
        if self.paused:
            self.resume_reading()
        waiter = self.waiter = self.loop.create_future()
        return waiter

    def finish(self) -> None:
        """The answer was read to its end: give the connection back, if it can serve another exchange."""
        self.lent = False
        self.reused = True
        if self._keep and not self.closed and not self._upload:
            self._owner.give(self)
        else:
            self.close()

    def drain(self) -> None:
        """The caller has let go of the answer before its end."""
        self.draining = True
        if self.paused:
            self.resume_reading()
        self._drained()
        if self.draining and not self.closed:
            self.look_in(DRAIN_SECONDS)

    def _drained(self) -> None:
        self.chunks.clear()
        if self.complete:
            self.draining = False
            self.finish()
        elif self.unread > DRAIN_BYTES:
            self.close()

    def look_in(self, seconds: float) -> None:
        """Look at the clocks in `seconds`, if not before."""
        now = clock.monotonic()
        if self._timer is None or now + seconds < self._due:
            self._arm(now + seconds, now)

    def fail(self, kind: Kind, message: str) -> TransportError:
        """End the exchange: close, and make every read from now on raise what is returned here."""
        if self.error is None:
            self.error = self.fault(kind, message)
        self.close()
        self._wake()
        return self.error

    def abandon(self) -> None:
        """The caller wants no more of this exchange."""
        self.fail("cut", "the caller cancelled the exchange")

    def fault(self, kind: Kind, message: str) -> TransportError:
        """An error of this connection, in words that name the origin."""
        return TransportError(kind, f"{self._owner.label}: {message}", reused=self.reused, sent=self.lent)

    def close(self) -> None:
        """Close at once and give the slot back; the loop tells `connection_lost` later."""
        if not self.closed:
            self.closed = True
            self._stop_timer()
            self.transport.abort()
            self._owner.forget(self)

    def _wake(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the clocks --------------------------------------------------------------------------------------------

    def _arm(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = clock.call_later(due - now, self._tick)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        """The timer fired: blame the provider, or wait on, or hold the clocks while it is the caller's turn."""
        self._timer = None
        if self.draining:
            self.close()
        if not self.lent or self.complete or self.closed:
            return  # idle; the next exchange sets the timer
        now = clock.monotonic()
        response = self.response
        clocks = response.clocks
        if now >= response.deadline - TOLERANCE:
            self.fail("deadline", "the deadline passed")
            return
        if self.waiter is None:
            self.held_at = now
            return
        kind: Kind
        if not response.progress_at:
            due, kind = response.first_token_from + clocks.first_token, "first_token_timeout"
            message = f"no content within {clocks.first_token:g} s"
        else:
            due, kind = response.progress_at + clocks.progress, "no_progress"
            message = f"bytes but no content for {clocks.progress:g} s"
        if response.status and self.last_byte + clocks.liveness < due:
            due, kind = self.last_byte + clocks.liveness, "silence"
            message = f"not a byte for {clocks.liveness:g} s"
        if now >= due - TOLERANCE:
            self.fail(kind, message)
            if not self.last_byte or kind == "silence":
                self._owner.doubt()
        else:
            # `progressed` may be called any moment and sets no timer, so look again before its clock could run out.
            self._arm(min(due, response.deadline, now + clocks.progress if response.status else due), now)

    def release_clocks(self) -> None:
        """The caller is back after a timer fired in its absence: that time is not the provider's."""
        now = clock.monotonic()
        away, self.held_at = now - self.held_at, 0.0
        if not self.complete and self.error is None:
            self.last_byte = now
            response = self.response
            if response.progress_at:
                response.progress_at = min(now, response.progress_at + away)
            else:
                response.first_token_from += away
            self._arm(now, now)

    # --- asyncio.Protocol --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP, or TLS on top of it, is up."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.lent:
            self.close()  # surplus bytes must never become the next exchange's answer
            return
        self.last_byte = clock.monotonic()
        self.unread += len(data)
        try:
            self._feed(data)
        except _PARSER_ERRORS as error:
            self._rejected(error)
            return
        waiter = self.waiter
        if waiter is None and self.draining:
            self._drained()
        elif waiter is not None:
            if self.chunks or self.complete:
                self.waiter = None
                if not waiter.done():
                    waiter.set_result(None)
            elif self.unread > self._owner.max_header_bytes:
                self.fail("bad_response", f"more than {self._owner.max_header_bytes} bytes of headers or framing")
        elif self.unread > PAUSE and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The caller has caught up."""
        self.paused = False
        if not self.closed:
            now = self.last_byte = clock.monotonic()  # the provider could not send: its clocks start afresh
            if self.response.progress_at:
                self.response.progress_at = now
            else:
                self.response.first_token_from = now
            self.transport.resume_reading()

    def _rejected(self, error: Exception) -> None:
        if self.complete:
            self._keep = False  # surplus after the answer: the answer stands, the connection does not
            self._wake()
        else:
            self.fail("bad_response", f"the answer is not valid HTTP/1.1: {error}")

    def eof_received(self) -> None:
        """A proper end (FIN, or TLS close_notify): only this, never a reset, ends a body that has no length."""
        if not self.lent:
            self.close()
        elif self.response.status and not self.complete and _LENGTHS.isdisjoint(dict(self.response.headers)):
            self.complete = True
            self._wake()
            if self.draining:
                self._drained()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lent and not self.complete and self.error is None:
            why = f" ({exc})" if exc else ""
            if self.last_byte:
                self.fail("cut", f"closed before the answer was whole{why}")
            else:
                if self.reused:
                    self.fail("stale_connection", f"a kept connection was closed before the answer began{why}")
                else:
                    self.fail("cut", f"closed before the answer began{why}")
                self._owner.doubt()
        self.close()
        # Parser and response refer to this connection, and it to them. Let go, all of it is freed with its last reader,
        # not when the garbage collector looks again: under faults that was a hundred megabytes later.
        self._parser = self._feed = self.response = _GONE

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._pump()

    # --- httptools callbacks -----------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise _RejectedError

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers = self._headers
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > INTERIM_ANSWERS:
                self._refuse(f"unexpected status {status}")
            return
        response = self.response
        limit = self._owner.max_header_bytes
        if self.unread > limit and sum(len(name) + len(value) for name, value in headers) > limit:
            self._refuse(f"more than {limit} bytes of headers")
        if len(headers) > HEADER_LINES:
            self._refuse(f"more than {HEADER_LINES} header lines")
        if not _FRAMING.isdisjoint(dict(headers)):
            self._check_framing(response)
        response.status = status
        response.head_at = self.last_byte
        self._headers = []  # trailers go nowhere
        clocks = response.clocks
        ahead = self._due - self.last_byte
        if clocks.liveness < ahead or clocks.progress < ahead:
            self._arm(self.last_byte + min(clocks.liveness, clocks.progress), self.last_byte)
        if self._no_body:
            self.complete = True
        self._wake()

    def on_message_complete(self) -> None:
        if not self.response.status:
            self._headers.clear()  # an interim answer (100, 103) ends here
        elif not self.complete:
            self.complete = True
            self._keep = self._parser.should_keep_alive()

    def _check_framing(self, response: Response) -> None:
        for name, value in response.headers:
            if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
                self._refuse(f"transfer-encoding {value.decode('latin-1')!r} is not supported, only chunked")
            if name == b"content-encoding":
                encoding = value.strip().lower()
                if encoding in ENCODINGS and response.inflate is None:
                    response.inflate = Inflate(encoding)
                elif encoding not in (b"", b"identity"):
                    self._refuse(
                        f"content-encoding {value.decode('latin-1')!r} is not supported, only gzip and deflate"
                    )

    def _refuse(self, message: str) -> NoReturn:
        self.fail("bad_response", message)
        raise _RejectedError
