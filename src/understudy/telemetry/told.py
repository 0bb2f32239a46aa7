"""What OpenTelemetry is told of an exchange that is over, and the thread that does something with it.

Nothing of its SDK runs on the way of a call, nor on the event loop: `observe` copies a few values into a queue, and a
thread makes spans and figures of them. Too many waiting are let go and counted. No content is copied: neither prompts
nor answers nor a provider's words about a fault.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from understudy.canon import Usage
from understudy.telemetry.over import Names, Over

log = logging.getLogger("understudy")

_WAITING = 10_000
"""Exchanges that may wait for the thread. At 150 µs each that is a second and a half."""

PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "openai-responses": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure-responses": "azure.ai.openai",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "deepseek-anthropic": "deepseek",
    "groq": "groq",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "moonshot-anthropic": "moonshot_ai",
    "perplexity": "perplexity",
    "xai": "x_ai",
}
"""`gen_ai.provider.name` where the conventions have a name of their own; else ours is used."""

_OPERATIONS: Mapping[str, str] = {"openai-completions": "text_completion", "gemini": "generate_content"}
INFERENCE = frozenset(("chat", *_OPERATIONS.values()))
"""Operations that the conventions' token counters are for."""


class Try(msgspec.Struct, frozen=True, gc=False):
    """One attempt. Times are `clock.monotonic` seconds, `cost` is in micro-dollars."""

    target: str
    started: float
    first_content: float | None
    ended: float | None
    fault: str | None
    fault_status: int | None
    reaction: str | None
    way: str | None
    usage: Usage | None
    cost: int | None

    def naming(self, operation: str) -> dict[str, str]:
        """The attributes that every signal about the attempt has."""
        provider, _, model = self.target.partition("/")
        return {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDERS.get(provider, provider),
            "gen_ai.request.model": model or self.target,
        }


class Told(msgspec.Struct, frozen=True, gc=False):
    """What the thread needs, without holding on to the exchange and its bodies. `parent`: the client's W3C headers."""

    id: str
    wall: float
    started: float
    ended: float
    route: str
    dialect: str
    operation: str
    stream: bool
    outcome: str | None
    status: int | None
    parent: Mapping[str, str]
    tries: tuple[Try, ...]


class Taker(Protocol):
    """Makes something of exchanges: `traces.Spans`, `instruments.Instruments`. Only the thread calls it."""

    def take(self, told: Told) -> None: ...

    def close(self) -> None:
        """Export what is left. May take as long as the exporter's timeout."""
        ...


class Telling:
    """`lost` counts exchanges that nobody had time for, and those of which something could not be made."""

    def __init__(self, takers: Sequence[Taker], *, routes: Names, targets: Names) -> None:
        self.lost = 0
        self._takers = takers
        self._routes = routes
        self._targets = targets
        self._queue: queue.Queue[Told | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="understudy-otel", daemon=True)
        self._thread.start()

    def observe(self, exchange: Over, costs: Sequence[int | None] = ()) -> None:
        """Remember `exchange` for the thread. Never waits."""
        try:
            self._queue.put_nowait(told(exchange, costs, self._routes, self._targets))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """See to those that are left and export everything; waits for that, so not in the event loop."""
        self._queue.put(None)
        self._thread.join()
        for taker in self._takers:
            taker.close()

    def _run(self) -> None:
        while (one := self._queue.get()) is not None:
            for taker in self._takers:
                try:
                    taker.take(one)
                except Exception:
                    self.lost += 1
                    log.exception("an exchange could not be told to OpenTelemetry")


def told(exchange: Over, costs: Sequence[int | None], routes: Names, targets: Names) -> Told:
    answered = exchange.outcome == "answered"
    headers = exchange.call.headers
    parent = {
        name: headers[name.encode()].decode("latin-1")
        for name in ("traceparent", "tracestate")
        if name.encode() in headers
    }
    tries = tuple(
        Try(
            targets.shown(attempt.target, answered=answered and attempt.fault is None),
            attempt.started,
            attempt.first_content,
            attempt.ended,
            attempt.fault.kind if attempt.fault is not None else None,
            attempt.fault.status if attempt.fault is not None else None,
            attempt.action,
            attempt.way,
            attempt.usage,
            costs[number] if number < len(costs) else None,
        )
        for number, attempt in enumerate(exchange.attempts)
    )
    return Told(
        exchange.id,
        exchange.wall,
        exchange.started,
        exchange.started if exchange.ended is None else exchange.ended,
        routes.shown(exchange.route.name, answered=answered),
        exchange.call.door.dialect,
        _operation(exchange.call),
        exchange.call.stream,
        exchange.outcome,
        exchange.status,
        parent,
        tries,
    )


def _operation(call: Any) -> str:
    """`gen_ai.operation.name`: the conventions' word for chat in a dialect, or our name of what is done beside chat."""
    beside = getattr(call, "operation", None)
    if beside is not None:
        return str(beside.name).replace(" ", "_")
    return _OPERATIONS.get(call.door.dialect, "chat")
