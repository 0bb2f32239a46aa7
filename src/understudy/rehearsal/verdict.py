"""May the candidate stand in? Non-inferiority to what the incumbent itself repeats, over all and by kind of request.

A model does not agree with itself either, so each case has two scores against the answer that the user got: the
candidate's, and the incumbent's own on a second try (the ceiling). What is judged is their difference, case by case:
the candidate is ready if that is, with confidence, above minus the margin.

Verdicts are read off the intervals that are shown, so that nobody sees a "ready" whose interval says otherwise. The
intervals of the strata hold together (Bonferroni): that one of many strata looks ready by chance is as unlikely as that
the whole does. They are valid at whatever case one stops (`intervals.py`), so stopping early costs nothing.

The whole is judged by cases drawn from the traffic as it is. Cases that were drawn only so that a rare kind has enough
of them count for their strata alone, or they would weigh too much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from understudy.rehearsal import intervals
from understudy.rehearsal.intervals import Interval

MARGIN = 0.05
"""How far below the ceiling is still good enough, unless the owner says otherwise."""

ALPHA = 0.05
"""Chance that an interval does not hold the true mean."""

MONTH = 30 * 86400.0

Finding = Literal["ready", "not ready", "unknown"]
State = Literal["ready", "ready for", "not ready", "unknown"]


class Judged(msgspec.Struct, frozen=True, gc=False):
    """One case as scored: `ceiling` is None where the incumbent was not tried again, which counts as 1.

    `facets` are the kinds of request that it belongs to. `extra` cases were drawn for a rare kind, beside the traffic.
    """

    case: str
    candidate: float
    ceiling: float | None
    facets: tuple[str, ...] = ()
    extra: bool = False


class Stratum(msgspec.Struct, frozen=True):
    """What is known of a kind of request. `difference` is candidate less ceiling; `more` is how many cases are missing
    to tell, as far as one can say (None where nothing is missing, or nobody can say).
    """

    finding: Finding
    difference: Interval
    candidate: float
    ceiling: float
    more: int | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`state` in a word; `ready_for` are the strata for which the candidate can stand in."""

    state: State
    ready_for: tuple[str, ...]
    overall: Stratum
    strata: dict[str, Stratum]
    margin: float
    alpha: float


def verdict(
    cases: Sequence[Judged], *, planned: int | None = None, margin: float = MARGIN, alpha: float = ALPHA
) -> Verdict:
    """Judge `cases`, given in the random order in which they were replayed; `planned` is how many there were to be."""
    drawn = [case for case in cases if not case.extra]
    planned = max(planned or 0, len(cases))
    overall = _stratum(drawn, planned, margin, alpha)
    names = sorted({facet for case in cases for facet in case.facets})
    members: dict[str, list[Judged]] = {name: [] for name in names}
    for case in cases:
        for facet in case.facets:
            members[facet].append(case)
    share = planned / max(1, len(cases))
    strata = {
        name: _stratum(found, math.ceil(len(found) * share), margin, alpha / len(names))
        for name, found in members.items()
    }
    ready = tuple(name for name in names if strata[name].finding == "ready")
    failing = any(stratum.finding == "not ready" for stratum in strata.values())
    state: State = overall.finding
    if (overall.finding == "ready" and failing) or (overall.finding != "ready" and ready):
        state = "ready for"
    if state == "ready for" and not ready:
        state = "unknown"  # good on the whole, bad somewhere, and nowhere is there enough to say where it is good
    return Verdict(state, ready, overall, strata, margin, alpha)


def decided(found: Verdict) -> bool:
    """Whether more cases would change nothing: every finding is in."""
    return "unknown" not in {found.overall.finding, *(stratum.finding for stratum in found.strata.values())}


def _stratum(cases: Sequence[Judged], planned: int, margin: float, alpha: float) -> Stratum:
    scores = np.array([case.candidate for case in cases])
    ceilings = np.array([1.0 if case.ceiling is None else case.ceiling for case in cases])
    difference = intervals.mean(scores - ceilings, alpha, planned, lowest=-1.0)
    finding: Finding = "unknown"
    more = None
    if difference.low > -margin:
        finding = "ready"
    elif difference.high < -margin:
        finding = "not ready"
    elif len(cases) > 1:
        wanted = intervals.needed(_cautious(difference), margin, alpha)
        more = max(1, wanted - len(cases))
    return Stratum(
        finding,
        difference,
        float(scores.mean()) if len(cases) else math.nan,
        float(ceilings.mean()) if len(cases) else math.nan,
        more,
    )


def _cautious(difference: Interval) -> float:
    """The spread to plan with: few cases that happen to agree do not mean that there is none."""
    return math.sqrt((difference.sd**2 * difference.n + 0.25) / (difference.n + 1))


class Readiness(msgspec.Struct, frozen=True):
    """A verdict as it is kept: about which candidate, in place of which incumbent, from what, and when (Unix seconds).

    `prompt` is a digest of the system prompts, `mix` the share of each stratum in the traffic that was sampled.
    """

    route: str
    candidate: str
    incumbent: str
    suite: str
    at: float
    verdict: Verdict
    candidate_model: str = ""
    incumbent_model: str = ""
    prompt: str = ""
    mix: dict[str, float] = {}


def stale(
    kept: Readiness,
    now: float,
    *,
    incumbent_model: str | None = None,
    prompt: str | None = None,
    mix: Mapping[str, float] | None = None,
) -> str | None:
    """Why a verdict does not hold any more; None if it does. What is not given is not looked at."""
    if now - kept.at > MONTH:
        return f"it is {(now - kept.at) / 86400:.0f} days old"
    if incumbent_model is not None and kept.incumbent_model and incumbent_model != kept.incumbent_model:
        return f"the incumbent was {kept.incumbent_model} and is now {incumbent_model}"
    if prompt is not None and kept.prompt and prompt != kept.prompt:
        return "the system prompt has changed"
    if mix is not None and kept.mix and (moved := drift(kept.mix, mix)) > DRIFT:
        return f"the traffic's mix has moved by {moved:.0%}"
    return None


DRIFT = 0.2
"""Share of the traffic that may be of other kinds than when it was sampled."""


def drift(before: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Total variation between two mixes, facet by facet ("kind:tools" is of the facet "kind"); the largest counts."""
    facets: dict[str, float] = {}
    for name in before.keys() | now.keys():
        facet = name.partition(":")[0]
        facets[facet] = facets.get(facet, 0.0) + abs(before.get(name, 0.0) - now.get(name, 0.0)) / 2
    return max(facets.values(), default=0.0)
