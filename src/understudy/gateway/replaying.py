"""A recorded request, asked again of one target: by the engine that serves live calls, with all that it does to them.

Translation, history, losses, clocks, retries, cooldowns and the targets' own limits are those of a live call. Only the
fail-over is missing, since it is this target that is asked; and nothing streams, since nobody reads along.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from understudy import clock
from understudy.canon import Loss, Usage
from understudy.gateway import exchange as exchanges
from understudy.gateway import pricing, surface
from understudy.gateway.app import Gateway
from understudy.gateway.call import Call
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.recording import usage_of
from understudy.gateway.surface import Door


class Replayed(msgspec.Struct, frozen=True):
    """What came of it. `body` is the answer in the dialect of the request, or the error if `fault` is its kind.

    Times are in seconds, `cost_usd` None where nobody knows the price.
    """

    body: bytes
    fault: str | None
    message: str
    seconds: float
    usage: Usage | None
    cost_usd: float | None
    losses: tuple[Loss, ...]
    attempts: int


class _Listener:
    """A client that keeps what it is told."""

    def __init__(self) -> None:
        self.exchange: Exchange | None = None
        self.committed = False
        self._pieces: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    async def start(self, status: int, _headers: Headers) -> None:
        self.committed = True
        assert self.exchange is not None, "the engine sets it before it answers"
        self.exchange.status = status

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)

    async def end(self, data: bytes = b"") -> None:
        self._pieces.append(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self.start(status, headers)
        await self.end(body)


class Replayer:
    """Asks targets of `gateway`, which is not closed with it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ask(self, dialect: str, request: Mapping[str, Any], target: str) -> Replayed:
        """Ask `request` (in the words of `dialect`) of `target`. Raises BadCallError, Malformed and NoRouteError."""
        provider, _, model = target.partition("/")
        found = self._gateway.routing.providers.get(provider)
        route = await self._gateway.route(target)
        if found is not None and model:
            route = self._gateway.routing.only(found, model)
        call = Call(_plain(dialect, request, target), {}, _door(dialect, request, target))
        exchange = Exchange(call, route, self._gateway.health)
        listener = _Listener()
        listener.exchange = exchange
        exchange.outcome = await exchanges.run(exchange, listener, self._gateway.transport)
        exchange.ended = clock.monotonic()
        last = exchange.attempts[-1] if exchange.attempts else None
        usage = usage_of(last, exchange) if last is not None else None
        pricing.note(exchange, self._gateway.prices)
        _tokens, cost = pricing.used(exchange)
        fault = None
        if exchange.outcome != "answered":
            fault = last.fault.kind if last is not None and last.fault is not None else "unavailable"
        return Replayed(
            listener.body,
            fault,
            last.fault.message if last is not None and last.fault is not None else "",
            exchange.ended - (last.started if last is not None else exchange.started),
            usage,
            None if cost is None else cost / 1_000_000,
            tuple(last.losses) if last is not None else (),
            len(exchange.attempts),
        )


def _door(dialect: str, request: Mapping[str, Any], target: str) -> Door:
    if surface.names_model(dialect):
        return Door(dialect, target, stream=False)
    form = "generate" if dialect == surface.OLLAMA and "messages" not in request and "prompt" in request else ""
    return Door(dialect, form=form)


def _plain(dialect: str, request: Mapping[str, Any], target: str) -> bytes:
    """The body, for `target` and not streamed. What would make the provider keep the answer is left out."""
    body = {name: value for name, value in request.items() if name not in ("stream_options", "background")}
    if not surface.names_model(dialect):
        body |= {"model": target, "stream": False}
    if dialect in (surface.CHAT, surface.RESPONSES) and body.get("store"):
        body["store"] = False
    return msgspec.json.encode(body)
