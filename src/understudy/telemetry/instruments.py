"""Metrics for OpenTelemetry, beside those for Prometheus, which say more about the gateway itself.

Names, units, buckets and attributes are OpenTelemetry's semantic conventions for generative AI ("metrics" and "token
metrics" of open-telemetry/semantic-conventions-genai, of November 2026, status: development). An attempt is a client's
operation at a provider; an exchange is a request to the server that the gateway is, whose provider is `understudy`.
`gen_ai.client.token.usage` is what the token counters have replaced: many dashboards know only that.

Attributes are sets with an end (`over.Names`), and the SDK bounds them once more.
"""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider

from understudy.canon import Usage
from understudy.telemetry.told import INFERENCE, Told, Try

DURATIONS = tuple(round(0.01 * 2**step, 2) for step in range(14))
TOKENS = tuple(4**step for step in range(14))
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

HISTOGRAMS: dict[str, tuple[str, tuple[float, ...], str]] = {
    "gen_ai.client.operation.duration": ("s", DURATIONS, "GenAI operation duration."),
    "gen_ai.client.operation.time_to_first_chunk": ("s", DURATIONS, "Time to the first content of a stream."),
    "gen_ai.client.inference.operation.input_tokens": ("{token}", TOKENS, "Input tokens of an inference operation."),
    "gen_ai.client.inference.operation.output_tokens": ("{token}", TOKENS, "Output tokens of an inference operation."),
    "gen_ai.client.token.usage": ("{token}", TOKENS, "Number of input and output tokens used."),
    "gen_ai.server.request.duration": ("s", DURATIONS, "From the arrival of a call to the end of its answer."),
    "gen_ai.server.time_to_first_token": (
        "s",
        FIRST_TOKEN,
        "From the arrival of a call to the first content.",
    ),
    "gen_ai.server.time_per_output_token": ("s", PER_TOKEN, "Time per output token after the first one."),
}
COUNTERS: dict[str, str] = {
    "gen_ai.client.inference.usage.input_tokens": "Input tokens used, cached ones included.",
    "gen_ai.client.inference.usage.output_tokens": "Output tokens used, those of reasoning included.",
    "gen_ai.client.inference.usage.cache_read.input_tokens": "Input tokens that came from the provider's cache.",
    "gen_ai.client.inference.usage.cache_write.input_tokens": "Input tokens written to the provider's cache.",
    "gen_ai.client.inference.usage.reasoning.output_tokens": "Output tokens used for reasoning.",
}

_NOTHING = Usage(0, 0)

Attributes = dict[str, str]


class Instruments:
    """Records with the SDK's `provider`."""

    def __init__(self, provider: MeterProvider) -> None:
        self._provider = provider
        meter = provider.get_meter("understudy")
        self._histograms: dict[str, Histogram] = {
            name: meter.create_histogram(name, unit, what, explicit_bucket_boundaries_advisory=bounds)
            for name, (unit, bounds, what) in HISTOGRAMS.items()
        }
        self._counters: dict[str, Counter] = {
            name: meter.create_counter(name, "{token}", what) for name, what in COUNTERS.items()
        }

    def take(self, told: Told) -> None:
        for one in told.tries:
            self._attempt(one, told)
        named = {
            "gen_ai.operation.name": told.operation,
            "gen_ai.provider.name": "understudy",
            "gen_ai.request.model": told.route,
        }
        failed = {} if told.outcome == "answered" else {"error.type": told.outcome or "_OTHER"}
        self._record("server.request.duration", told.ended - told.started, named | failed)
        spoke = told.tries[-1] if told.tries else None
        if told.stream and not failed and spoke is not None and spoke.first_content is not None:
            self._record("server.time_to_first_token", spoke.first_content - told.started, named)
            written = None if spoke.usage is None else spoke.usage.output
            if written is not None and written > 1:
                each = (told.ended - spoke.first_content) / (written - 1)
                self._record("server.time_per_output_token", each, named)

    def close(self) -> None:
        self._provider.shutdown()

    def _attempt(self, one: Try, told: Told) -> None:
        named = one.naming(told.operation)
        failed = {} if one.fault is None else {"error.type": one.fault}
        ended = told.ended if one.ended is None else one.ended
        self._record("client.operation.duration", ended - one.started, named | failed)
        if told.stream and one.first_content is not None:
            self._record("client.operation.time_to_first_chunk", one.first_content - one.started, named)
        if told.operation not in INFERENCE:
            return
        usage = one.usage if one.usage is not None and not one.usage.estimated else None
        self._count(usage or _NOTHING, named)
        if usage is not None and one.fault is None:
            for side, tokens in (("input", usage.input), ("output", usage.output)):
                if tokens is not None:
                    self._record(f"client.inference.operation.{side}_tokens", tokens, named)
                    self._record("client.token.usage", tokens, {**named, "gen_ai.token.type": side})

    def _count(self, usage: Usage, named: Attributes) -> None:
        """Add what a provider said. Sound is told apart; of the rest it says too seldom whether it was all text."""
        for side, whole, sound in (
            ("input", usage.input or 0, usage.audio_input or 0),
            ("output", usage.output or 0, usage.audio_output or 0),
        ):
            self._add(f"{side}_tokens", whole - sound, named, "unknown")
            if sound > 0:
                self._add(f"{side}_tokens", sound, named, "audio")
        for kind, part in (
            ("cache_read.input_tokens", usage.cached_read),
            ("cache_write.input_tokens", usage.cached_write),
            ("reasoning.output_tokens", usage.reasoning),
        ):
            if part is not None:
                self._add(kind, part, named, "unknown")

    def _add(self, kind: str, tokens: int, named: Attributes, modality: str) -> None:
        counter = self._counters[f"gen_ai.client.inference.usage.{kind}"]
        counter.add(max(tokens, 0), {**named, "gen_ai.token.modality": modality})

    def _record(self, name: str, value: float, attributes: dict[str, Any]) -> None:
        self._histograms[f"gen_ai.{name}"].record(max(value, 0), attributes)
