"""Running the app on uvicorn, with the two things that its HTTP protocol lacks.

A bound on request heads, and a word to the app when a client leaves: ASGI's own way, a task that waits for a
disconnect message, costs more than the rest of a small call.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from understudy.gateway.app import CLIENT_LEFT, DEPARTED, Gateway

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


class _Joining:
    """A transport that sends a response's head together with what follows it: one system call less.

    uvicorn writes the head by itself; the app behind this server always has the first of the body at hand then.
    """

    __slots__ = ("_head", "_transport", "_write", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._write = transport.write
        self.is_closing = transport.is_closing
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            return
        self._write(data)

    def close(self) -> None:
        if self._head:
            self.write(b"")
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def protocol(max_headers: int) -> type[HttpToolsProtocol]:
    """Uvicorn's protocol class, with heads bounded to `max_headers` bytes."""

    class Protocol(HttpToolsProtocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.under_way: list[asyncio.Task[None]] = []
            self.arrived = 0
            self.in_head = False
            self.too_large = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self.transport = _Joining(transport)  # type: ignore[assignment]  # all of a transport that is used

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.in_head = True
            self.scope[DEPARTED] = self.under_way  # type: ignore[literal-required]  # ours, beside uvicorn's own

        def on_headers_complete(self) -> None:
            self.in_head = False
            # Bytes that came with the head may be body: only when they are many is the head itself worth measuring.
            if self.arrived > max_headers:
                size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
                if size > max_headers:
                    self.too_large = True
                    raise ValueError("head too large")
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            self.arrived = len(data) + (self.arrived if self.in_head else 0)
            super().data_received(data)
            if self.in_head and self.arrived > max_headers and not self.transport.is_closing():
                self.too_large = True
                self.send_400_response("")

        def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's text; clients expect JSON
            self.transport.write(_TOO_LARGE if self.too_large else _NOT_HTTP)
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            for task in self.under_way:
                task.cancel(CLIENT_LEFT)

    return Protocol


class Server(uvicorn.Server):
    """uvicorn's server over a gateway: told to stop, it refuses new calls at once and lets running ones finish."""

    def __init__(self, gateway: Gateway, *, host: str, port: int) -> None:
        limits = gateway.routing.config.server
        app: Any = gateway
        if limits.cors_origins:
            from starlette.middleware.cors import CORSMiddleware  # noqa: PLC0415  # rarely on, and not free to import

            app = CORSMiddleware(
                app, allow_origins=limits.cors_origins, allow_methods=["GET", "POST"], allow_headers=["*"],
                expose_headers=["x-understudy-exchange", "x-understudy-target", "x-understudy-attempts"],
            )  # fmt: skip
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=protocol(limits.max_headers),
            ws="none",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            backlog=4096,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=round(limits.drain),
        )
        super().__init__(config)
        self.gateway = gateway
        self.on_ready: Callable[[str], None] | None = None

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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.gateway.stopping = True
        await super().shutdown(sockets)
