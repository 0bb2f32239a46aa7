"""Scores: how near an answer comes to the reference, each a pure function with a page of its own in the reference.

    score(request, reference, candidate) -> Scored, or None where it says nothing about such a case

A score is a *gate* or a *measure*. A gate says whether an answer is of use at all (valid, in the right language, not a
refusal); a measure says how good it is. An answer is worth the mean of its measures times the least of its gates.
`similar` is a measure of last resort, since other words may say the same: it counts only where no other measure does.

Own scores come by the entry point `understudy.scores`; see docs/guides/rehearsal.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Literal

import msgspec

from understudy.canon import Answer, Request
from understudy.rehearsal.scores import agreement, form, tools
from understudy.rehearsal.scores.scored import Scored

Function = Callable[[Request, Answer, Answer], Scored | None]

GROUP = "understudy.scores"


class Score(msgspec.Struct, frozen=True):
    """A row of the table. `last` measures count only where no other does."""

    name: str
    kind: Literal["gate", "measure"]
    function: Function
    last: bool = False


BUILT_IN = (
    Score("ended", "gate", form.ended),
    Score("refusal", "gate", form.refusal),
    Score("language", "gate", form.language),
    Score("layout", "gate", form.layout),
    Score("schema", "gate", form.schema),
    Score("code", "gate", form.code),
    Score("length", "gate", form.length),
    Score("tools", "measure", tools.tools),
    Score("fields", "measure", form.fields),
    Score("short", "measure", agreement.short),
    Score("similar", "measure", agreement.similar, last=True),
)


class UnknownScoreError(ValueError):
    """There is no score of that name. `str()` lists those there are."""


def installed() -> dict[str, Score]:
    """All scores by name: ours, and those of other packages, which may not take a name of ours. Raises ValueError."""
    found = {score.name: score for score in BUILT_IN}
    for point in entry_points(group=GROUP):
        score = point.load()
        if not isinstance(score, Score):
            raise TypeError(f"the entry point {point.name} of {GROUP} is no understudy.rehearsal.scores.Score")
        if score.name in found:
            raise ValueError(f"two scores are called {score.name}")
        found[score.name] = score
    return found


def chosen(names: Iterable[str]) -> tuple[Score, ...]:
    """The scores called so, in the order of the table. Raises UnknownScoreError."""
    known = installed()
    wanted = set(names)
    if missing := wanted - known.keys():
        raise UnknownScoreError(f"there is no score {min(missing)!r}; there are: {', '.join(known)}")
    return tuple(score for name, score in known.items() if name in wanted)


def scored(
    request: Request, reference: Answer, candidate: Answer, scores: Iterable[Score] = BUILT_IN
) -> dict[str, Scored]:
    """What each score says, of those that say anything."""
    found = {}
    for score in scores:
        result = score.function(request, reference, candidate)
        if result is not None:
            found[score.name] = result
    return found


def worth(found: Mapping[str, Scored], scores: Iterable[Score] = BUILT_IN) -> float | None:
    """What an answer is worth in [0, 1]; None where no score says anything of it."""
    rows = [score for score in scores if score.name in found]
    if not rows:
        return None
    gate = min((found[score.name].value for score in rows if score.kind == "gate"), default=1.0)
    measures = [score for score in rows if score.kind == "measure"]
    first = [score for score in measures if not score.last] or measures
    mean = sum(found[score.name].value for score in first) / len(first) if first else 1.0
    return gate * mean
