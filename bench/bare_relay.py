"""The yardstick: the least that a relay in Python can do. Prints its port, runs until it is stopped.

ASGI on uvicorn on one side, httptools on uvloop on the other, as the gateway has it, and nothing else: it reads no
body, keeps no record, checks nothing, and takes no care of clients that leave. What the gateway takes longer than this
is the price of what the gateway does. Usage: bare_relay.py PROVIDER_PORT
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httptools
import uvicorn

_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}
_HEAD = (
    b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer provider-key\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Provider(asyncio.Protocol):
    """A kept connection to the provider, and the answer that is under way on it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpResponseParser(self)
        self.waiter: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport
        self.closed = False

    def ask(self, request: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.done = False
        self.transport.write(request)

    async def read(self) -> bytes:
        """What of the body has come, once there is some; also when `done`. The headers have come by then."""
        if not self.body and not self.done:
            self.waiter = self.loop.create_future()
            await self.waiter
        if self.closed:
            raise ConnectionResetError("The provider closed the connection.")
        body = self.body
        data = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return data

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what TCP gives
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.waiter is not None and (self.body or self.done):
            self._wake(self.waiter)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self.done = self.closed = True
        if self.waiter is not None:
            self._wake(self.waiter)

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        self.waiter = None
        if not waiter.done():
            waiter.set_result(None)

    # -- httptools' callbacks ------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if name not in _HOP_BY_HOP:
            self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.done = True


class Relay:
    """The ASGI app: the connections to the provider that are idle outlive a call."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[Provider] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        provider = self.idle.pop() if self.idle else await self._connect()
        provider.ask(_HEAD % (scope["raw_path"], len(body)) + body)
        data = await provider.read()
        status = provider.parser.get_status_code()
        await send({"type": "http.response.start", "status": status, "headers": provider.headers})
        while not provider.done:
            await send({"type": "http.response.body", "body": data, "more_body": True})
            data = await provider.read()
        await send({"type": "http.response.body", "body": data})
        self.idle.append(provider)

    async def _connect(self) -> Provider:
        loop = asyncio.get_running_loop()
        _, provider = await loop.create_connection(Provider, "127.0.0.1", self.port)
        return provider


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    config = uvicorn.Config(
        Relay(int(sys.argv[1])),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        backlog=4096,
    )
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
