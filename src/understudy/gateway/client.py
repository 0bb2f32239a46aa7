"""The client's side of an exchange: what it is sent, and whether the answer has begun (commit)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from understudy.gateway.record import Exchange, Headers

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Client:
    """Writes one answer over ASGI. `committed` once anything of it has gone out: it cannot become another's then."""

    __slots__ = ("_exchange", "_send", "committed")

    def __init__(self, send: Send, exchange: Exchange) -> None:
        self._send = send
        self._exchange = exchange
        self.committed = False

    async def start(self, status: int, headers: Headers) -> None:
        """Commit: status and headers, to which the exchange's own are added. `headers` is changed."""
        self.committed = True
        self._mark(headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        """The last of the answer."""
        await self._send({"type": "http.response.body", "body": data})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A complete answer in one piece. `headers` is changed."""
        self.committed = True
        self._mark(headers)
        headers.append((b"content-length", b"%d" % len(body)))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _mark(self, headers: Headers) -> None:
        exchange = self._exchange
        headers.append((b"x-understudy-exchange", exchange.id.encode()))
        attempts = exchange.attempts
        if attempts:
            headers.append((b"x-understudy-target", attempts[-1].target.encode("latin-1", "replace")))
        headers.append((b"x-understudy-attempts", b"%d" % len(attempts)))
