"""What a rehearsal found, as people and programs read it: the verdict, and the figures behind it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, quantiles

import msgspec

from understudy.rehearsal.replay import Reply, Results
from understudy.rehearsal.suite import Suite
from understudy.rehearsal.verdict import ALPHA, MARGIN, Judged, Verdict, verdict

WORST = 20
"""Cases that a report shows."""


class Figures(msgspec.Struct, frozen=True):
    """Of one target. Seconds are of whole answers; `cost_usd` is of all that is known, `cost_unknown` counts the rest.

    `scores` is the mean of each score over the cases about which it says anything.
    """

    target: str
    answered: int
    failed: int
    unanswered: int
    worth: float | None
    scores: dict[str, float]
    seconds_median: float | None
    seconds_p95: float | None
    tokens_input: int
    tokens_output: int
    cost_usd: float | None
    cost_unknown: int
    faults: dict[str, int]


class Pair(msgspec.Struct, frozen=True):
    """One case: what the candidate's answer is worth, and the incumbent's second one."""

    case: str
    candidate: Reply
    ceiling: Reply | None

    @property
    def difference(self) -> float:
        ceiling = 1.0 if self.ceiling is None or self.ceiling.worth is None else self.ceiling.worth
        return (self.candidate.worth or 0.0) - ceiling


class Analysis(msgspec.Struct, frozen=True):
    """`left_out` counts the cases that say nothing: one of the two did not answer for a cause that was not its own."""

    verdict: Verdict
    candidate: Figures
    incumbent: Figures | None
    cases: int
    compared: int
    left_out: int
    missing: int
    worst: list[Pair]


def analysis(
    suite: Suite,
    results: Results,
    candidate: str,
    incumbent: str | None,
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
) -> Analysis:
    """Judge what `results` has of the suite so far. Without `incumbent` the ceiling is a perfect match."""
    pairs, left_out, missing = paired(suite, results, candidate, incumbent)
    extra = {case.id for case in suite.cases if case.extra}
    judged = [
        Judged(
            pair.case,
            pair.candidate.worth or 0.0,
            None if pair.ceiling is None else pair.ceiling.worth,
            pair.candidate.facets,
            pair.case in extra,
        )
        for pair in pairs
    ]
    worst = sorted(pairs, key=lambda pair: (pair.difference, pair.candidate.worth or 0.0, pair.case))[:WORST]
    return Analysis(
        verdict(judged, planned=len(suite.cases), margin=margin, alpha=alpha),
        figures(candidate, _of(results, candidate, "candidate")),
        None if incumbent is None else figures(incumbent, _of(results, incumbent, "ceiling")),
        len(suite.cases),
        len(pairs),
        left_out,
        missing,
        [pair for pair in worst if pair.difference < 0],
    )


def paired(suite: Suite, results: Results, candidate: str, incumbent: str | None) -> tuple[list[Pair], int, int]:
    """The cases that can be compared, in the suite's order; how many say nothing; how many have not been asked."""
    pairs, left_out, missing = [], 0, 0
    for case in suite.cases:
        one = results.get(case.id, "candidate", candidate)
        other = results.get(case.id, "ceiling", incumbent) if incumbent is not None else None
        if one is None or (incumbent is not None and other is None):
            missing += 1
        elif one.worth is None or (other is not None and other.worth is None):
            left_out += 1
        else:
            pairs.append(Pair(case.id, one, other))
    return pairs, left_out, missing


def figures(target: str, replies: Sequence[Reply]) -> Figures:
    """The figures of one target."""
    answered = [reply for reply in replies if reply.fault is None]
    seconds = sorted(reply.seconds for reply in answered)
    costs = [reply.cost_usd for reply in answered if reply.cost_usd is not None]
    faults: dict[str, int] = {}
    for reply in replies:
        if reply.fault is not None:
            faults[reply.fault] = faults.get(reply.fault, 0) + 1
    values: dict[str, list[float]] = {}
    for reply in replies:
        for name, score in reply.scores.items():
            values.setdefault(name, []).append(score.value)
    worths = [reply.worth for reply in replies if reply.worth is not None]
    return Figures(
        target,
        len(answered),
        sum(reply.fault is not None and not reply.unanswered for reply in replies),
        sum(reply.unanswered for reply in replies),
        fmean(worths) if worths else None,
        {name: fmean(found) for name, found in sorted(values.items())},
        _quantile(seconds, 50),
        _quantile(seconds, 95),
        sum(reply.tokens[0] or 0 for reply in replies),
        sum(reply.tokens[1] or 0 for reply in replies),
        sum(costs) if costs else None,
        len(answered) - len(costs),
        faults,
    )


def _of(results: Results, target: str, role: str) -> list[Reply]:
    return [reply for reply in results.replies.values() if reply.target == target and reply.role == role]


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]
