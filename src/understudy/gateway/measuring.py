"""Figures, traces and log lines of a gateway, made from each exchange that is over. Servers want them, tests seldom."""

from __future__ import annotations

from collections.abc import Mapping

from understudy import __version__
from understudy.gateway import admin
from understudy.gateway.app import Gateway
from understudy.gateway.record import Exchange
from understudy.gateway.recording import usage_of
from understudy.telemetry import logs, otel
from understudy.telemetry.metrics import Metrics
from understudy.telemetry.over import Names


def measure(gateway: Gateway, environ: Mapping[str, str]) -> None:
    """Keep figures for `/metrics` from now on, and have OpenTelemetry and log lines where wanted. Raises NoSdkError."""
    routes = Names(gateway.routing.routes)
    targets = Names(target.name for target in gateway.routing.known())
    gateway.metrics = Metrics(
        routes=routes,
        names_of_targets=targets,
        targets=lambda: admin.targets(gateway.routing, gateway.health),
        open_calls=lambda: gateway.open,
        extra=lambda: {**_of_ledger(gateway), **_of_cache(gateway), **_of_otel(gateway)},
    )
    observers = [gateway.metrics.observe]
    if gateway.routing.config.server.log_exchanges:
        observers.append(logs.Lines(_print, routes=routes, targets=targets).observe)
    gateway.otel = otel.telling(environ, __version__, routes=routes, targets=targets)
    if gateway.otel is not None:
        observers.append(gateway.otel.observe)

    def observe(exchange: Exchange) -> None:
        if gateway.recorder is None:  # else it has
            for attempt in exchange.attempts:
                usage_of(attempt, exchange)
        costs = [attempt.charge.micro if attempt.charge is not None else None for attempt in exchange.attempts]
        for one in observers:
            one(exchange, costs)

    gateway.observers.append(observe)


def _of_ledger(gateway: Gateway) -> Mapping[str, float]:
    if gateway.recorder is None:
        return {}
    state = gateway.recorder.ledger.state()
    return {
        "understudy_ledger_written": state.written,
        "understudy_ledger_waiting": state.queued,
        "understudy_ledger_spool_bytes": state.spooled,
        "understudy_ledger_lost": sum(state.lost.values()),
    }


def _of_cache(gateway: Gateway) -> Mapping[str, float]:
    if gateway.cache is None:
        return {}
    return {"understudy_cache_failed": gateway.cache.failed, "understudy_cache_lost": gateway.cache.lost}


def _of_otel(gateway: Gateway) -> Mapping[str, float]:
    return {} if gateway.otel is None else {"understudy_otel_lost": gateway.otel.lost}


def _print(line: str) -> None:
    print(line, flush=True)
