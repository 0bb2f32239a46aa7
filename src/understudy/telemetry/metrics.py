"""Metrics for Prometheus. `observe` each exchange that is over; `exposition` is what `/metrics` answers.

Counting must cost next to nothing, so it is a dictionary and an addition; prometheus-client's own counters take a lock
and a look-up each, ten times as long. The client library writes the exposition, from what was counted, when somebody
asks. Everything here belongs to the thread of the event loop.

Names follow Prometheus' own advice (base units, `_total`); labels are sets with an end, see `over.Names`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from understudy.canon import Usage
from understudy.telemetry.over import OTHER, Names, Over, OverAttempt

CONTENT_TYPE = CONTENT_TYPE_LATEST

SECONDS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""Bounds of the histograms: from a cached first word to an answer that was thought about for minutes."""

STATES = ("ready", "half-open", "open", "cooling down", "drained")
"""What a target can be, as the admin API says it; the worst of its keys is shown last."""

_COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "understudy_exchanges": ("Calls that are over, by what became of them.", ("route", "dialect", "outcome")),
    "understudy_attempts": ("Tries of calls at targets, by what was done next.", ("target", "reaction")),
    "understudy_faults": ("Failures of attempts, by the fault table's kinds.", ("target", "kind")),
    "understudy_switches": ("Times that a call went on at another target.", ("route",)),
    "understudy_continuations": ("Answers that another target had begun and this one went on with.", ("target", "way")),
    "understudy_tokens": (
        "Tokens as billed; cached ones are part of the input, reasoning of the output.",
        ("target", "kind"),
    ),
    "understudy_tokens_unknown": ("Attempts with content whose provider did not say what it used.", ("target",)),
    "understudy_cost_usd": ("US dollars, where the price is known.", ("target",)),
    "understudy_cost_unknown": ("Attempts that used tokens and whose price nobody knows.", ("target",)),
    "understudy_cache": ("Calls of routes with a cache, by what it had to do with them.", ("route", "result")),
    "understudy_cache_saved_usd": ("US dollars that answers out of the cache would have cost.", ("route",)),
    "understudy_losses": ("What a translation could not carry.", ("target", "kind")),
}
_HISTOGRAMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "understudy_first_content_seconds": ("From the start of an attempt to its first content.", ("target",)),
    "understudy_exchange_seconds": ("From the arrival of a call to the end of its answer.", ("route",)),
}
_GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "understudy_open_calls": ("Calls under way.", ()),
    "understudy_target_state": ("1 for the state that a target is in.", ("target", "state")),
    "understudy_target_in_flight": ("Attempts under way at a target.", ("target",)),
}


def names() -> frozenset[str]:
    """Every series that there can be, as a query names it."""
    counted = {f"{name}_total" for name in _COUNTERS}
    timed = {f"{name}_{part}" for name in _HISTOGRAMS for part in ("bucket", "sum", "count")}
    return frozenset(counted | timed | set(_GAUGES) | set(_EXTRA))


_EXTRA: Mapping[str, str] = {
    "understudy_ledger_written": "Records that are in the ledger's database.",
    "understudy_ledger_waiting": "Records that are not safe anywhere yet.",
    "understudy_ledger_spool_bytes": "Bytes that wait in the spool for the database.",
    "understudy_ledger_lost": "Records that could not be kept.",
    "understudy_cache_failed": "Look-ups that the cache did not answer, or not in time.",
    "understudy_cache_lost": "Answers that were to be kept in the cache and could not be.",
    "understudy_otel_lost": "Exchanges that OpenTelemetry was not told of, for want of time or by a mistake.",
}
"""Gauges that the gateway may hand over by these names, as `extra`."""


class Metrics(Collector):
    """`targets` gives the state of every target as the admin API does, `open_calls` how many calls are under way,
    `extra` further gauges by name. `cost` says what an attempt cost, in micro-dollars, and `usage` what it used;
    without it only what is on the record already.
    """

    def __init__(
        self,
        *,
        routes: Names | None = None,
        names_of_targets: Names | None = None,
        targets: Callable[[], Iterable[Mapping[str, Any]]] = tuple,
        open_calls: Callable[[], int] | None = None,
        extra: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self.routes = routes or Names()
        self.targets = names_of_targets or Names()
        self._states = targets
        self._open = open_calls
        self._extra = extra
        self._counts: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in _COUNTERS}
        self._times: dict[str, dict[tuple[str, ...], list[float]]] = {name: {} for name in _HISTOGRAMS}

    def observe(self, exchange: Over, costs: Sequence[int | None] = ()) -> None:
        """Count `exchange`. `costs` are micro-dollars, one for each attempt, None where nobody knows."""
        answered = exchange.outcome == "answered"
        route = self.routes.shown(exchange.route.name, answered=answered)
        self._add("understudy_exchanges", (route, exchange.call.door.dialect, exchange.outcome or OTHER))
        if exchange.cache is not None:
            self._add("understudy_cache", (route, exchange.cache))
            if exchange.hit is not None and exchange.hit.charge is not None:
                self._add("understudy_cache_saved_usd", (route,), exchange.hit.charge.micro / 1_000_000)
        before = None
        for number, attempt in enumerate(exchange.attempts):
            name = attempt.target
            target = self.targets.shown(name, answered=attempt.fault is None and answered)
            if before is not None and before != name:
                self._add("understudy_switches", (route,))
            before = name
            self._attempt(attempt, target, costs[number] if number < len(costs) else None)
        if exchange.ended is not None:
            self._time("understudy_exchange_seconds", (route,), exchange.ended - exchange.started)

    def _attempt(self, attempt: OverAttempt, target: str, cost: int | None) -> None:
        self._add("understudy_attempts", (target, attempt.action or OTHER))
        if attempt.fault is not None:
            self._add("understudy_faults", (target, attempt.fault.kind))
        if attempt.way is not None:
            self._add("understudy_continuations", (target, attempt.way))
        if attempt.first_content is not None:
            self._time("understudy_first_content_seconds", (target,), attempt.first_content - attempt.started)
        for loss in attempt.losses:
            self._add("understudy_losses", (target, loss.kind))
        usage = attempt.usage
        if usage is not None:
            self._tokens(usage, target)
        elif attempt.first_content is not None:
            self._add("understudy_tokens_unknown", (target,))
        if cost is not None:
            self._add("understudy_cost_usd", (target,), cost / 1_000_000)
        elif usage is not None:
            self._add("understudy_cost_unknown", (target,))

    def _tokens(self, usage: Usage, target: str) -> None:
        counts = self._counts["understudy_tokens"]
        for kind, count in (
            ("input", usage.input),
            ("output", usage.output),
            ("cached_read", usage.cached_read),
            ("cached_write", usage.cached_write),
            ("reasoning", usage.reasoning),
        ):
            if count:
                key = (target, kind)
                counts[key] = counts.get(key, 0) + count

    def _add(self, name: str, labels: tuple[str, ...], amount: float = 1) -> None:
        counts = self._counts[name]
        counts[labels] = counts.get(labels, 0) + amount

    def _time(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        times = self._times[name].get(labels)
        if times is None:
            times = self._times[name][labels] = [0.0] * (len(SECONDS) + 2)
        times[bisect_left(SECONDS, seconds)] += 1
        times[-1] += max(seconds, 0.0)

    def collect(self) -> Iterator[Metric]:
        for name, (what, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, what, labels=labels)
            for values, count in self._counts[name].items():
                counter.add_metric(values, count)
            yield counter
        for name, (what, labels) in _HISTOGRAMS.items():
            histogram = HistogramMetricFamily(name, what, labels=labels)
            for values, times in self._times[name].items():
                histogram.add_metric(values, _buckets(times), times[-1])
            yield histogram
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        if self._open is not None:
            what, _ = _GAUGES["understudy_open_calls"]
            yield GaugeMetricFamily("understudy_open_calls", what, value=self._open())
        state_of, flying = self._targets()
        what, labels = _GAUGES["understudy_target_state"]
        gauge = GaugeMetricFamily("understudy_target_state", what, labels=labels)
        for target, state in state_of.items():
            for one in STATES:
                gauge.add_metric((target, one), float(one == state))
        yield gauge
        what, labels = _GAUGES["understudy_target_in_flight"]
        gauge = GaugeMetricFamily("understudy_target_in_flight", what, labels=labels)
        for target, count in flying.items():
            gauge.add_metric((target,), count)
        yield gauge
        for name, value in self._extra().items():
            yield GaugeMetricFamily(name, _EXTRA[name], value=value)

    def _targets(self) -> tuple[dict[str, str], dict[str, float]]:
        """The worst state of each target's keys, and the attempts under way with all of them."""
        state_of: dict[str, str] = {}
        flying: dict[str, float] = {}
        for told in self._states():
            target = self.targets.shown(told["target"], answered=False)
            state = told["state"].replace("_", "-")
            state = state if state in STATES else STATES[0]
            state_of[target] = max(state_of.get(target, STATES[0]), state, key=STATES.index)
            flying[target] = flying.get(target, 0) + (told["in_flight"] or 0)
        return state_of, flying


def _buckets(times: Sequence[float]) -> list[tuple[str, float]]:
    """Prometheus' buckets hold all that is at most their bound."""
    total, buckets = 0.0, []
    for bound, count in zip([*(str(second) for second in SECONDS), "+Inf"], times, strict=False):
        total += count
        buckets.append((bound, total))
    return buckets


def exposition(metrics: Metrics) -> bytes:
    """What `/metrics` answers, of the type `CONTENT_TYPE`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    return generate_latest(registry)
