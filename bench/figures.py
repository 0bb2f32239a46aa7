"""What a run found, and what follows from it: medians, ratios, and how far they can be trusted. No I/O."""

from __future__ import annotations

import statistics

import msgspec

import wire

SUBJECTS = ("direct", "bare relay", "gateway")
DIRECT, BARE, GATEWAY = SUBJECTS
CONNECTIONS = 64

_HEADROOM = 1.5
"""Direct access must be this much faster than the fastest subject, or the load may have been what was measured."""

_KEPT_UP = 0.98
"""Share of the paced events offered above which a subject counts as having kept up."""


class Measure(msgspec.Struct, frozen=True):
    """One thing that is measured of every subject."""

    key: str
    kind: str
    """One of wire.KINDS."""
    connections: int
    label: str


class Sample(msgspec.Struct):
    """One round of one measure. `rate` is answers or, for streams, events a second; latencies are in ms."""

    rate: float
    p50: float
    p99: float
    bad: int


class Figures(msgspec.Struct):
    """Everything that one run found, and where."""

    machine: str
    system: str
    python: str
    version: str
    date: str
    placement: str
    seconds: float
    rounds: int
    streams: int
    samples: dict[str, dict[str, list[Sample]]] = {}
    """By measure and subject, one for each round."""
    memory: dict[str, float] = {}
    """MiB by subject, after the load."""
    ready: list[float] = []
    """Seconds from start to ready, one for each start."""
    help: list[float] = []
    """Seconds of `understudy --help`, one for each call."""
    errors: list[str] = []


class Line(msgspec.Struct):
    """A row of the table. `figures` are by subject, "" where there is none; `rounds` is the spread of the ratio."""

    label: str
    figures: tuple[str, str, str]
    ratio: float | None = None
    rounds: tuple[float, float] | None = None


def measures(streams: int) -> tuple[Measure, ...]:
    return (
        Measure("requests", "plain", CONNECTIONS, f"requests/s, {CONNECTIONS} connections"),
        Measure("sequential", "plain", 1, "requests/s, 1 connection"),
        Measure("burst", "burst", CONNECTIONS, f"burst events/s, {CONNECTIONS} connections"),
        Measure("paced", "paced", streams, f"paced events/s, {streams:,} streams"),
    )


def rate(figures: Figures, measure: str, subject: str) -> float:
    """The median of the rounds, per second."""
    return statistics.median(sample.rate for sample in figures.samples[measure][subject])


def latency(figures: Figures, measure: str, subject: str, which: str) -> float:
    """The median of the rounds' `p50` or `p99`, in ms."""
    samples = figures.samples[measure][subject]
    return statistics.median(sample.p50 if which == "p50" else sample.p99 for sample in samples)


def added(figures: Figures, measure: str, subject: str, which: str) -> float | None:
    """What `subject` adds to the latency of direct access, in ms; None where either answered nothing."""
    if not (rate(figures, measure, subject) and rate(figures, measure, DIRECT)):
        return None
    return latency(figures, measure, subject, which) - latency(figures, measure, DIRECT, which)


def bad(figures: Figures, subject: str) -> int:
    return sum(sample.bad for by_subject in figures.samples.values() for sample in by_subject[subject])


def _quotient(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below is not None and below > 0 else None


def _rate_line(figures: Figures, measure: Measure) -> Line:
    rates = [rate(figures, measure.key, subject) for subject in SUBJECTS]
    rows = figures.samples[measure.key]
    pairs = zip(rows[GATEWAY], rows[BARE], strict=True)
    ratios = [quotient for mine, theirs in pairs if (quotient := _quotient(mine.rate, theirs.rate)) is not None]
    spread = (min(ratios), max(ratios)) if ratios else None
    a, b, c = (f"{value:,.0f}" for value in rates)
    return Line(measure.label, (a, b, c), _quotient(rates[2], rates[1]), spread)


def _latency_line(figures: Figures, measure: str, label: str, which: str) -> Line:
    bare, gateway = (added(figures, measure, subject, which) for subject in (BARE, GATEWAY))
    shown = ["" if value is None else f"{value:+.3f}" for value in (bare, gateway)]
    direct = f"{latency(figures, measure, DIRECT, which):.3f}"
    return Line(f"latency {which}, {label}, ms", (direct, shown[0], shown[1]), _quotient(gateway, bare))


def lines(figures: Figures) -> list[Line]:
    """The table, row by row."""
    by_key = {measure.key: measure for measure in measures(figures.streams)}
    counts = [bad(figures, subject) for subject in SUBJECTS]
    rows = [
        _rate_line(figures, by_key["requests"]),
        _rate_line(figures, by_key["burst"]),
        _rate_line(figures, by_key["paced"]),
        Line("bad answers and streams", (str(counts[0]), str(counts[1]), str(counts[2]))),
    ]
    for measure, connections in (("sequential", "1 connection"), ("requests", f"{CONNECTIONS} connections")):
        rows += [_latency_line(figures, measure, connections, which) for which in ("p50", "p99")]
    bare, gateway = figures.memory[BARE], figures.memory[GATEWAY]
    return [
        *rows,
        Line("resident memory after it, MiB", ("", f"{bare:.0f}", f"{gateway:.0f}"), _quotient(gateway, bare)),
        Line("start to ready, s", ("", "", f"{statistics.median(figures.ready):.2f}")),
        Line("understudy --help, s", ("", "", f"{statistics.median(figures.help):.2f}")),
    ]


def offered(streams: int) -> float:
    """The most events a second that so many paced streams can give."""
    return streams * wire.EVENTS * 1000 / ((wire.EVENTS - 1) * wire.INTERVAL_MS)


def notes(figures: Figures) -> list[str]:
    """What a reader must know before believing the ratios."""
    found = [f"Processes: {figures.placement}."]
    for key, label in (("requests", "requests"), ("burst", "burst streams")):
        fastest = max(rate(figures, key, subject) for subject in (BARE, GATEWAY))
        if rate(figures, key, DIRECT) < _HEADROOM * fastest:
            found.append(
                f"The load may have been the bottleneck for {label}: direct access is less than {_HEADROOM:g} times "
                "as fast as the fastest subject. The true ratio may be lower."
            )
    direct = rate(figures, "paced", DIRECT)
    most = offered(figures.streams)
    if direct < _KEPT_UP * most:
        found.append(
            f"The load could not keep {figures.streams:,} paced streams going: {direct:,.0f} of {most:,.0f} events/s "
            "went even directly. Ask for fewer --streams."
        )
    elif min(rate(figures, "paced", subject) for subject in (BARE, GATEWAY)) >= _KEPT_UP * direct:
        found.append(
            "Both relays kept up with all paced streams: that ratio says that the gateway was fast enough, not how "
            "much more it could do."
        )
    return found
