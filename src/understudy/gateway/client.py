"""The client's side of an exchange: what it is sent, and whether the answer has begun (commit)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from understudy.canon import Loss
from understudy.gateway.record import Exchange, Headers

_LONGEST_LIST = 1000
"""Characters of the list of losses in a header. All of them are in the record of the exchange."""

_UNFIT = re.compile(r"[^!-+\--~]")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Client(Protocol):
    """Whoever is answered. `committed` once anything of the answer has gone out: it cannot become another's then.

    An answer is `start`, any number of `write`, and `end`; or `whole` alone. The headers given are the answer's own.
    """

    exchange: Exchange | None

    @property
    def committed(self) -> bool: ...

    async def start(self, status: int, headers: Headers) -> None: ...

    async def write(self, data: bytes) -> None: ...

    async def end(self, data: bytes = b"") -> None: ...

    async def whole(self, status: int, headers: Headers, body: bytes) -> None: ...


class AsgiClient:
    """A client behind an ASGI server: any server, and the gateway in process.

    `close` closes the connection; without it, that is left to the server, which does so when an answer has no end.
    """

    def __init__(self, send: Send, close: Callable[[], None] | None = None) -> None:
        self._send = send
        self._close = close
        self.exchange: Exchange | None = None
        self.committed = False
        self._severed = False

    def sever(self) -> None:
        """The answer broke off, and is of a kind that has no place for an error.

        Nothing more goes out, and the connection is closed amid the answer, which no client takes for its end.
        """
        self._severed = True
        if self._close is not None:
            self._close()

    async def start(self, status: int, headers: Headers) -> None:
        self.committed = True
        shown(self.exchange, status)
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *marks(self.exchange)]}
        )

    async def write(self, data: bytes) -> None:
        if not self._severed:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        if not self._severed:
            await self._send({"type": "http.response.body", "body": data})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.end(body)


class Through:
    """A client behind another that looks on. Behaves as the one that it wraps."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def committed(self) -> bool:
        return self._client.committed

    @property
    def exchange(self) -> Exchange | None:
        return self._client.exchange

    @exchange.setter
    def exchange(self, exchange: Exchange | None) -> None:
        self._client.exchange = exchange

    async def start(self, status: int, headers: Headers) -> None:
        await self._client.start(status, headers)

    async def write(self, data: bytes) -> None:
        await self._client.write(data)

    async def end(self, data: bytes = b"") -> None:
        await self._client.end(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._client.whole(status, headers, body)


def shown(exchange: Exchange | None, status: int) -> None:
    """Note what the client is told."""
    if exchange is not None:
        exchange.status = status


def marks(exchange: Exchange | None) -> Headers:
    """The headers that say where an answer comes from."""
    if exchange is None:
        return []
    attempts = exchange.attempts
    found = [
        *exchange.told,
        (b"x-understudy-exchange", exchange.id.encode()),
        (b"x-understudy-attempts", b"%d" % len(attempts)),
    ]
    if attempts:
        found.append((b"x-understudy-target", attempts[-1].label))
        if attempts[-1].losses:
            found.append((b"x-understudy-losses", _listed(attempts[-1].losses)))
    return found


def _listed(losses: Sequence[Loss]) -> bytes:
    """`field` for what was dropped, `~field` for what was approximated, as many as fit."""
    words: list[str] = []
    room = _LONGEST_LIST
    for loss in losses:
        word = ("~" if loss.kind == "approximated" else "") + _UNFIT.sub("?", loss.field)
        room -= len(word) + 2
        if room < 0:
            words.append(f"and {len(losses) - len(words)} more")
            break
        words.append(word)
    return ", ".join(words).encode()
