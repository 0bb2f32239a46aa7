"""Traces for OpenTelemetry: a span for each exchange and one within it for each attempt, made when the call is over.

The spans have the times that were. The client's `traceparent` is the parent; it goes to the provider as it came, so
that a provider's own spans stand beside ours under the client's.

Attributes are OpenTelemetry's semantic conventions for generative AI, "client inference" of
open-telemetry/semantic-conventions-genai (of November 2026, status: development); what has no name there is
`understudy.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from understudy.telemetry.told import Told, Try


class Spans:
    """Makes spans with the SDK's `provider`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("understudy")

    def take(self, told: Told) -> None:
        def at(moment: float) -> int:
            return int((told.wall + moment - told.started) * 1e9)

        operation = told.operation
        span = self._tracer.start_span(
            f"{operation} {told.route}",
            context=_parent(told.parent),
            kind=SpanKind.SERVER,
            start_time=at(told.started),
            attributes=_of_exchange(told),
        )
        if told.outcome != "answered":
            span.set_attribute("error.type", told.outcome or "unknown")
            span.set_status(Status(StatusCode.ERROR))
        within = trace.set_span_in_context(span)
        for one in told.tries:
            attributes = _of_attempt(one, operation, stream=told.stream)
            child = self._tracer.start_span(
                f"{operation} {one.naming(operation)['gen_ai.request.model']}",
                context=within,
                kind=SpanKind.CLIENT,
                start_time=at(one.started),
                attributes=attributes,
            )
            if one.fault is not None:
                child.set_status(Status(StatusCode.ERROR))
            child.end(at(told.ended if one.ended is None else one.ended))
        span.end(at(told.ended))

    def close(self) -> None:
        self._provider.shutdown()


def _parent(headers: Mapping[str, str]) -> Context:
    """The client's span, if it named one rightly (W3C Trace Context); else an empty context."""
    return TraceContextTextMapPropagator().extract(headers, Context())


def _of_exchange(told: Told) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": told.operation,
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


def _of_attempt(one: Try, operation: str, *, stream: bool) -> dict[str, AttributeValue]:
    known: dict[str, Any] = {
        **one.naming(operation),
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
            "gen_ai.usage.audio.input_tokens": one.usage.audio_input,
            "gen_ai.usage.audio.output_tokens": one.usage.audio_output,
        }
    if one.cost is not None:
        known["understudy.cost_usd"] = one.cost / 1_000_000
    return {attribute: value for attribute, value in known.items() if value is not None}
