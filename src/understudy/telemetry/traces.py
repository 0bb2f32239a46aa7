"""Traces for OpenTelemetry: a span for each exchange and one within it for each attempt, made when the call is over.

Nothing of the SDK runs on the way of a call, nor on the event loop: `observe` copies a few values into a queue, and a
thread makes the spans with the times that were. Too many waiting are let go and counted. The client's `traceparent` is
the parent; it goes to the provider as it came, so that a provider's own spans stand beside ours under the client's.

Attributes are OpenTelemetry's semantic conventions for generative AI, "client inference" of
open-telemetry/semantic-conventions-genai (of November 2026, status: development); what has no name there is
`understudy.*`. No content: neither prompts nor answers nor a provider's words about a fault.

Export happens only if somebody asks for it by the SDK's own variables (`wanted`); endpoint, headers, sampling and
batching are theirs too.
"""

from __future__ import annotations

import importlib.util
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from understudy.canon import Usage
from understudy.telemetry.over import Names, Over

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

log = logging.getLogger("understudy")

_WAITING = 10_000
"""Exchanges that may wait for the thread. At a span's cost of 50 µs that is a second or two."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

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
    "perplexity": "perplexity",
    "xai": "x_ai",
}
"""`gen_ai.provider.name` where the conventions have a name of their own; else ours is used."""

_OPERATIONS: Mapping[str, str] = {"openai-completions": "text_completion", "gemini": "generate_content"}


class NoSdkError(Exception):
    """Traces were asked for, and the SDK is not installed."""


class _Try(msgspec.Struct, frozen=True, gc=False):
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


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What the thread needs, without holding on to the exchange and its bodies."""

    id: str
    wall: float
    started: float
    ended: float
    route: str
    dialect: str
    stream: bool
    outcome: str | None
    status: int | None
    parent: Mapping[str, str]
    tries: tuple[_Try, ...]


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces to be exported."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter != "none"
    return any(environ.get(name) for name in _ENDPOINTS)


def provider(version: str) -> TracerProvider:
    """The SDK with its batch processor and the OTLP exporter, set up by the environment. Raises NoSdkError."""
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        raise NoSdkError("Traces need the OpenTelemetry SDK: pip install 'understudy[otel]'.")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": "understudy", "service.version": version})
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


class Traces:
    """`made_with` is the SDK's provider. `lost` counts exchanges that nobody had time for."""

    def __init__(self, made_with: TracerProvider, *, routes: Names, targets: Names) -> None:
        self.lost = 0
        self._provider = made_with
        self._tracer = made_with.get_tracer("understudy")
        self._routes = routes
        self._targets = targets
        self._queue: queue.Queue[_Told | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="understudy-traces", daemon=True)
        self._thread.start()

    def observe(self, exchange: Over, costs: Sequence[int | None] = ()) -> None:
        """Remember `exchange` for the thread. Never waits."""
        try:
            self._queue.put_nowait(self._told(exchange, costs))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Make the spans that are left and export them; waits for that, so not in the event loop."""
        self._queue.put(None)
        self._thread.join()
        self._provider.shutdown()

    def _told(self, exchange: Over, costs: Sequence[int | None]) -> _Told:
        answered = exchange.outcome == "answered"
        headers = exchange.call.headers
        parent = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        tries = tuple(
            _Try(
                self._targets.shown(attempt.target, answered=answered and attempt.fault is None),
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
        return _Told(
            exchange.id,
            exchange.wall,
            exchange.started,
            exchange.started if exchange.ended is None else exchange.ended,
            self._routes.shown(exchange.route.name, answered=answered),
            exchange.call.door.dialect,
            exchange.call.stream,
            exchange.outcome,
            exchange.status,
            parent,
            tries,
        )

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            try:
                self._spans(told)
            except Exception:
                self.lost += 1
                log.exception("a trace could not be made")

    def _spans(self, told: _Told) -> None:
        from opentelemetry import trace  # noqa: PLC0415  an extra
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415

        def at(moment: float) -> int:
            return int((told.wall + moment - told.started) * 1e9)

        operation = _OPERATIONS.get(told.dialect, "chat")
        span = self._tracer.start_span(
            f"{operation} {told.route}",
            context=_parent(told.parent),
            kind=SpanKind.SERVER,
            start_time=at(told.started),
            attributes=_of_exchange(told, operation),
        )
        if told.outcome != "answered":
            span.set_attribute("error.type", told.outcome or "unknown")
            span.set_status(Status(StatusCode.ERROR))
        within = trace.set_span_in_context(span)
        for one in told.tries:
            model = one.target.partition("/")[2] or one.target
            child = self._tracer.start_span(
                f"{operation} {model}",
                context=within,
                kind=SpanKind.CLIENT,
                start_time=at(one.started),
                attributes=_of_attempt(one, operation, stream=told.stream),
            )
            if one.fault is not None:
                child.set_status(Status(StatusCode.ERROR))
            child.end(at(told.ended if one.ended is None else one.ended))
        span.end(at(told.ended))


def _parent(headers: Mapping[str, str]) -> Context:
    """The client's span, if it named one rightly (W3C Trace Context); else an empty context."""
    from opentelemetry.context import Context  # noqa: PLC0415  an extra
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator().extract(headers, Context())


def _of_exchange(told: _Told, operation: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": told.route,
        "gen_ai.request.stream": told.stream,
        "understudy.exchange": told.id,
        "understudy.dialect": told.dialect,
        "understudy.attempts": len(told.tries),
        "understudy.outcome": told.outcome or "unknown",
    }
    if told.status is not None:
        attributes["http.response.status_code"] = told.status
    if told.tries:
        attributes["understudy.target"] = told.tries[-1].target
    return attributes


def _of_attempt(one: _Try, operation: str, *, stream: bool) -> dict[str, AttributeValue]:
    name, _, model = one.target.partition("/")
    known: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": PROVIDERS.get(name, name),
        "gen_ai.request.model": model or one.target,
        "gen_ai.request.stream": stream,
        "error.type": one.fault,
        "http.response.status_code": one.fault_status,
        "understudy.reaction": one.reaction,
        "understudy.way": one.way,
    }
    if stream and one.first_content is not None:
        known["gen_ai.response.time_to_first_chunk"] = one.first_content - one.started
    if one.usage is not None:
        known |= {
            "gen_ai.usage.input_tokens": one.usage.input,
            "gen_ai.usage.output_tokens": one.usage.output,
            "gen_ai.usage.cache_read.input_tokens": one.usage.cached_read,
            "gen_ai.usage.cache_write.input_tokens": one.usage.cached_write,
            "gen_ai.usage.reasoning.output_tokens": one.usage.reasoning,
        }
    if one.cost is not None:
        known["understudy.cost_usd"] = one.cost / 1_000_000
    return {attribute: value for attribute, value in known.items() if value is not None}
