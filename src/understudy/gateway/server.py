"""Running the app on uvicorn, with the two things that its HTTP protocol lacks.

A bound on request heads, and a word to the app when a client leaves: ASGI's own way, a task that waits for a
disconnect message, costs more than the rest of a small call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from understudy import clock
from understudy.gateway import surface
from understudy.gateway.app import CLIENT_LEFT, DEPARTED, SEVER, Gateway
from understudy.gateway.surface import Door
from understudy.gateway.turn import Turn

_BAD_REQUEST = (
    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"%b"}}'
)
_TOO_LARGE = _BAD_REQUEST % (
    b"431 Request Header Fields Too Large",
    b"The request head is larger than server.max_headers.",
    b"headers_too_large",
)
_NOT_HTTP = _BAD_REQUEST % (b"400 Bad Request", b"This is not a valid HTTP/1.1 request.", b"invalid_http")

_DOORS = {path.encode(): door for path, door in surface.DOORS.items()}
_NO_CALLS = (b"/healthz", b"/readyz", b"/v1/models")

BACKLOG = 4096
"""Connections that may wait to be accepted."""

LISTENERS = 16

STALLED = 60.0
"""Seconds in which a client must take something of what it was sent (nginx's `send_timeout`). One that never does would
keep its stream, the provider's connection and its place at the target for ever: TCP alone does not end that."""

LINGER = 2.0
"""Seconds in which what a refused client still sends is thrown away. Closing at once would reset the connection, and
with it the answer that says why (RFC 9112, 9.6)."""


log = logging.getLogger("understudy")


class Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, with heads bounded to `max_headers` bytes."""

    max_headers = 32 * 1024
    gateway: Gateway
    straight = True
    """Whether calls go to the gateway without ASGI."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.under_way: list[asyncio.Task[None]] = []
        self.turn: Turn | None = None  # the call that is being received, if it takes the straight way
        self.answering: Turn | None = None  # and the one that is being answered: another may be on its way already
        self.dates: tuple[object, bytes] = (None, b"")  # uvicorn's headers of this second, and as bytes
        self.piece = 0  # bytes in the latest piece that came
        self.arrived = 0  # of the head that is coming, as far as it is known to be head
        self.stray = 0  # bytes in a row that were neither head nor body: chunk framing and trailers
        self.in_head = False
        self.moved = False  # a message began in the latest piece, or some of its body came
        self.too_large = self.refused = False
        self.stalling: clock.Timer | None = None  # while the client does not take what it was sent

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(0)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unwatch_reader()

    def _watch_reader(self, before: int) -> None:
        """Look in a while whether the client has taken anything. `before`: bytes that waited at the last look."""
        waiting = self.transport.get_write_buffer_size()
        if 0 < before <= waiting:
            self.transport.abort()
        else:
            self.stalling = clock.call_later(STALLED, self._watch_reader, waiting)

    def _unwatch_reader(self) -> None:
        if self.stalling is not None:
            self.stalling.cancel()
            self.stalling = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # a close would wait for a client that has not even taken its answer
        super().timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.moved:  # what came before it in this piece is not its head
            self.arrived = 0
        self.in_head = self.moved = True
        self.scope[DEPARTED] = self.under_way  # type: ignore[literal-required]  # ours, beside uvicorn's own

    def on_headers_complete(self) -> None:
        self.in_head = False
        # Bytes that came with the head may be body: only when they are many is the head itself worth measuring.
        if self.arrived > self.max_headers or self.piece > self.max_headers:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > self.max_headers:
                self.too_large = True
                raise ValueError("head too large")
        leaving = self.gateway.leaving
        if self.straight and (door := self._door()) is not None and self._ordinary():
            keep_alive = not leaving and self.parser.should_keep_alive()
            self.turn = turn = Turn(self, self.gateway, dict(self.headers), door, keep_alive=keep_alive)
            self.cycle = turn  # type: ignore[assignment]  # it has all of a cycle that uvicorn uses
            turn.begin()
        else:
            self.turn = None
            super().on_headers_complete()
            if leaving and self.cycle is not None:
                self.cycle.keep_alive = False
            self.scope[SEVER] = partial(self._sever, self.cycle)  # type: ignore[literal-required]  # as DEPARTED

    def _sever(self, cycle: RequestResponseCycle) -> None:
        """Close the connection amid an answer."""
        cycle.disconnected = True  # uvicorn need not do it, nor complain
        if cycle.scope["http_version"] == "1.0":
            # Its answers may end with the connection (RFC 9112, 6.3): to clients like some proxies a close is an end.
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        else:
            self.transport.close()

    def _door(self) -> Door | None:
        """What this request's URL says, if it is a call."""
        known = _DOORS.get(self.url)
        if known is not None or self.url.startswith(_NO_CALLS):
            return known
        path, _, query = self.url.decode("latin-1").partition("?")
        return surface.door(path, query)

    def _ordinary(self) -> bool:
        """Whether this request is a plain call, with no other before it on the connection."""
        return (
            self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and (self.cycle is None or self.cycle.response_complete)
        )

    def on_body(self, body: bytes) -> None:
        self.moved = True
        if self.turn is None:
            super().on_body(body)
        elif not self.turn.response_complete:
            self.turn.receive(body)

    def on_message_complete(self) -> None:
        turn = self.turn
        if turn is None:
            super().on_message_complete()
        elif not turn.response_complete:
            turn.more_body = False
            turn.task = task = self.loop.create_task(turn.run())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            self.answering = turn

    def date_line(self) -> bytes:
        """The headers that every response has, as uvicorn renews them each second."""
        headers = self.server_state.default_headers
        if self.dates[0] is not headers:
            self.dates = (headers, b"".join([b"%b: %b\r\n" % pair for pair in headers]))
        return self.dates[1]

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        self.piece = len(data)
        self.arrived = self.piece + (self.arrived if self.in_head else 0)
        self.moved = False
        super().data_received(data)
        self.stray = 0 if self.moved or self.in_head else self.stray + self.piece
        if (self.arrived if self.in_head else self.stray) > self.max_headers and not self.refused:
            self.too_large = True
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text; clients expect JSON
        self.refused = True
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()  # nothing may stand in the middle of an answer
            return
        self.transport.write(_TOO_LARGE if self.too_large else _NOT_HTTP)
        self.transport.write_eof()
        clock.call_later(LINGER, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unwatch_reader()
        for task in self.under_way:
            task.cancel(CLIENT_LEFT)
        if self.turn is not None:
            self.turn.leave()
        answering = self.answering
        if answering is not None and answering.task is not None and not answering.response_complete:
            answering.disconnected = True
            answering.task.cancel(CLIENT_LEFT)


def _listen(host: str, port: int) -> list[socket.socket]:
    """The listening socket, several times over.

    libuv takes one connection from each listener in a turn of its loop. When a thousand streams are running and turns
    are long, newcomers would wait for seconds; with more listeners on the same socket, more of them come in per turn.
    """
    first = _bound(host, port)
    return [first, *(first.dup() for _ in range(LISTENERS - 1))]


def _bound(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    return socket.create_server(address[:2], family=family, backlog=BACKLOG)


class Server(uvicorn.Server):
    """uvicorn's server over a gateway: told to stop, it refuses new calls and lets running ones finish.

    With `server.linger` and SIGTERM it first says so for a while, in `/readyz` and by closing each connection
    behind its answer, and goes on taking calls: who sends them learns of the stop later than it does (Finagle and Envoy
    call that a lame duck). SIGINT comes from a person, and is obeyed at once; so is a second signal of either kind.
    """

    def __init__(self, gateway: Gateway, *, host: str, port: int) -> None:
        limits = gateway.routing.config.server
        app: Any = gateway
        if limits.cors_origins:  # every answer has to pass through the middleware
            from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415  # rarely on, and not free to import

            app = CORSMiddleware(
                app, allow_origins=limits.cors_origins,
                allow_methods=["GET", "POST", "PATCH", "DELETE"], allow_headers=["*"],
                expose_headers=[f"x-understudy-{name}" for name in ("exchange", "target", "attempts", "losses")],
            )  # fmt: skip
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=type(
                "Protocol",
                (Protocol,),
                {"max_headers": limits.max_headers, "gateway": gateway, "straight": app is gateway},
            ),
            ws="none",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=limits.drain,  # type: ignore[arg-type]  # asyncio's timeout: parts of seconds count
        )
        super().__init__(config)
        self.gateway = gateway
        self.on_ready: Callable[[str], None] | None = None
        self._listeners: list[socket.socket] = []
        self._deaf = False  # a listener was lost and could not be opened again yet
        self._until = 0.0  # when lingering is over, once it has begun

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop. Raises OSError when the address cannot be listened on."""
        self._listeners = sockets or _listen(self.config.host, self.config.port)
        self._address = self._listeners[0].getsockname()[:2]
        await super().serve(self._listeners)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            await self._listen_again()
        return await super().on_tick(counter) and self._lingered()

    def _lingered(self) -> bool:
        """Whether those who send calls have had time to learn that this gateway stops."""
        if not self.gateway.leaving:
            self.gateway.leaving = True
            self._until = clock.monotonic() + self.gateway.routing.config.server.linger
        return self._captured_signals != [signal.SIGTERM] or clock.monotonic() >= self._until

    async def _listen_again(self) -> None:
        """Open listeners that the loop has closed.

        uvloop closes one for good, without a word, when accepting fails for want of memory, or of a descriptor where
        libuv's spare one is gone. A process that lives and does not listen is the worst kind of down.
        """
        lost = [at for at, listener in enumerate(self._listeners) if listener.fileno() < 0]
        if not lost:
            return
        try:
            for at in lost:
                living = next((one for one in self._listeners if one.fileno() >= 0), None)
                again = living.dup() if living is not None else _bound(*self._address)
                self.servers[at] = await asyncio.get_running_loop().create_server(
                    self._protocol, sock=again, backlog=BACKLOG
                )
                self._listeners[at] = again
        except OSError as error:
            if not self._deaf:
                log.warning("%d of %d listeners are lost and cannot be opened: %s", len(lost), LISTENERS, error)
            self._deaf = True
        else:
            log.warning("%d of %d listeners were lost, and have been opened again.", len(lost), LISTENERS)
            self._deaf = False

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes it for the listeners that it opens."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # the kind we gave it
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @property
    def url(self) -> str:
        """Where it listens, once it does: `http://host:port`."""
        bound: socket.socket = self.servers[0].sockets[0]
        host, port = bound.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_ready is not None and self.started:
            self.on_ready(self.url)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn does, but a signal that was obeyed in order is not raised again: the exit code is then 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.gateway.stopping = True
        await super().shutdown(sockets)
