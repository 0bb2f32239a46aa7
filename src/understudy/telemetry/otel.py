"""OpenTelemetry, where its own variables ask for it: `telling` is the thread with what they want.

They are the SDK's: which signals are exported (`OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER`), where to
(`OTEL_EXPORTER_OTLP_ENDPOINT` and those of one signal), with which headers, how often, how much of it. OTLP over HTTP
is the one way out.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from understudy.telemetry.over import Names
from understudy.telemetry.told import Taker, Telling

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger("understudy")

Signal = Literal["traces", "metrics"]


class NoSdkError(Exception):
    """OpenTelemetry was asked for, and its SDK is not installed."""


def wanted(environ: Mapping[str, str], signal: Signal) -> bool:
    """Whether the environment asks for `signal` to be exported."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = _words(environ, f"OTEL_{signal.upper()}_EXPORTER")
    if exporters:
        return "otlp" in exporters
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    return any(environ.get(name) for name in endpoints)


def _words(environ: Mapping[str, str], name: str) -> list[str]:
    return [word.strip().lower() for word in environ.get(name, "").split(",") if word.strip()]


def _warn(environ: Mapping[str, str]) -> None:
    """Say what of the variables is not followed, so that nobody looks for data in vain."""
    for signal in ("TRACES", "METRICS"):
        for word in _words(environ, f"OTEL_{signal}_EXPORTER"):
            if word not in ("otlp", "none"):
                log.warning("OTEL_%s_EXPORTER names %r, which is not here: use `otlp` or `none`", signal, word)
        for name in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
            if environ.get(name, "http/protobuf").strip() not in ("", "http/protobuf"):
                log.warning("%s is %r, which is not here: what is exported is http/protobuf", name, environ[name])


def telling(environ: Mapping[str, str], version: str, *, routes: Names, targets: Names) -> Telling | None:
    """What the environment asks for; None if that is nothing. Raises NoSdkError."""
    _warn(environ)
    traced, measured = wanted(environ, "traces"), wanted(environ, "metrics")
    if not traced and not measured:
        return None
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        raise NoSdkError("OpenTelemetry needs its SDK: pip install 'understudy[otel]'.")
    takers: list[Taker] = []
    if traced:
        from understudy.telemetry.traces import Spans  # noqa: PLC0415  an extra

        takers.append(Spans(tracer_provider(version)))
    if measured:
        from understudy.telemetry.instruments import Instruments  # noqa: PLC0415  an extra

        takers.append(Instruments(meter_provider(version)))
    return Telling(takers, routes=routes, targets=targets)


def tracer_provider(version: str) -> TracerProvider:
    """The SDK with its batch processor and the OTLP exporter, set up by the environment."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    made = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made


def meter_provider(version: str) -> MeterProvider:
    """The SDK with its periodic reader, a thread of its own, and the OTLP exporter, set up by the environment."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  an extra
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=_resource(version), shutdown_on_exit=False)


def _resource(version: str) -> Resource:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  an extra

    made = Resource.create({"service.version": version})
    if str(made.attributes["service.name"]).startswith("unknown_service"):  # the environment gives no other name
        made = made.merge(Resource({"service.name": "understudy"}))
    return made
