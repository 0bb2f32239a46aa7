"""Grades a release by the Model Openness Framework, exactly as the framework's own tool does.

The tool (lfai/model_openness_tool, web/modules/mof/src/ModelEvaluator.php and LicenseHandler.php, read 2026-11-25) is
taken for its rules, not for its facts:

- A component's licence is its own, else the release's for its kind, else that of the distribution, else none. The word
  `unlicensed` is none, whatever the release says.
- It counts if its licence is open. An open licence of another kind counts, with a warning.
- A research paper stands in for a technical report that does not count; Class I then needs one component fewer.
- A class counts nothing until the class below is complete.

Pure: a release in, a verdict out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import msgspec

from understudy.openness.components import COMPONENTS
from understudy.openness.facts import Kind
from understudy.openness.spdx import UNKNOWN, UNLICENSED, is_open, suits

RULES = "Model Openness Framework 1.0 (2024-12-15)"
"""The version of the rules. Verdicts of other versions are not comparable."""

Grade = Literal[0, 1, 2, 3]
"""The class that is reached; 0 is none. 3 is Open Model, 2 Open Tooling, 1 Open Science, the best."""

TITLES: dict[int, str] = {
    0: "no class",
    1: "Class I, Open Science",
    2: "Class II, Open Tooling",
    3: "Class III, Open Model",
}

Whole = Literal["distribution"]
"""The release as a whole, beside the kinds of components."""

Status = Literal["counts", "missing", "not open", "unlicensed"]

_REPORT, _PAPER = "technical_report", "research_paper"


class Release(msgspec.Struct, frozen=True):
    """What is published: `components` maps a component's name to its own licence, None where it names none.

    `licences` are the release's, by kind or "distribution". Ids are SPDX ids; any other name is a licence that is not
    open.
    """

    components: Mapping[str, str | None]
    licences: Mapping[Kind | Whole, str] = {}


class Row(msgspec.Struct, frozen=True):
    """One component in a verdict: what was found, by which rule."""

    component: str
    status: Status
    licence: str | None
    why: str


class ClassVerdict(msgspec.Struct, frozen=True):
    """One class: whether it is reached, how far it is (0 while the class below is not), what is missing for it."""

    grade: int
    reached: bool
    progress: float
    missing: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    """The grade of a release, with everything that led to it."""

    rules: str
    grade: Grade
    title: str
    classes: tuple[ClassVerdict, ...]
    rows: tuple[Row, ...]
    warnings: tuple[str, ...]
    missing_for_next: tuple[str, ...]


def licence_of(component: str, release: Release) -> str:
    """The licence that holds for a component, by the order above."""
    own = release.components[component]
    if own is not None:
        return own or UNLICENSED
    kind = COMPONENTS[component].kind
    return release.licences.get(kind) or release.licences.get("distribution") or UNLICENSED


def grade(release: Release) -> Verdict:
    """The verdict on a release. Names that are no component are an error of the caller."""
    rows = {name: _row(name, release) for name in COMPONENTS}
    paper_stands_in = rows[_REPORT].status != "counts" and rows[_PAPER].status == "counts"
    reached: Grade = 0
    classes = []
    for number in (3, 2, 1):
        missing = _missing(number, rows, paper_stands_in=paper_stands_in)
        below = number == 3 or reached == number + 1
        complete = below and not missing
        if complete:
            reached = number
        classes.append(
            ClassVerdict(number, complete, _progress(number, rows, paper_stands_in) if below else 0.0, missing)
        )
    following = next((verdict.missing for verdict in classes if not verdict.reached), ())
    return Verdict(
        rules=RULES,
        grade=reached,
        title=TITLES[reached],
        classes=tuple(classes),
        rows=tuple(rows.values()),
        warnings=_warnings(rows, paper_stands_in=paper_stands_in),
        missing_for_next=following,
    )


def _row(name: str, release: Release) -> Row:
    return _judged(name, licence_of(name, release) if name in release.components else None)


@functools.lru_cache(4096)
def _judged(name: str, licence: str | None) -> Row:
    """The row of a component under a licence; None: it is not there. There are few of them, asked again and again."""
    spec = COMPONENTS[name]
    if licence is None:
        return Row(name, "missing", None, "not published, or not known to be")
    if licence == UNLICENSED:
        return Row(name, "unlicensed", licence, "published, but no licence holds for it")
    if licence == UNKNOWN:
        return Row(name, "not open", licence, "nobody has read its licence for the register")
    if not is_open(licence):
        return Row(name, "not open", licence, f"{licence} is no open licence")
    if not suits(licence, spec.kind):
        return Row(name, "counts", licence, f"{licence} is open, but not a usual licence for {spec.kind}")
    return Row(name, "counts", licence, f"{licence} is open and suits {spec.kind}")


_REQUIRED = {
    number: [name for name, spec in COMPONENTS.items() if spec.required and spec.rank >= number] for number in (3, 2, 1)
}
"""What a class asks for, with all that the classes below ask for."""


def _counted(number: int, rows: Mapping[str, Row], paper_stands_in: bool) -> tuple[list[str], int]:
    """The components that count towards a class, and how many it needs."""
    names = _REQUIRED[number]
    counting = [name for name in names if rows[name].status == "counts"]
    if not paper_stands_in:
        return counting, len(names)
    # In classes II and III the paper takes the report's place; class I asks for it anyway, so it asks for one less.
    return (counting, len(names) - 1) if number == 1 else ([*counting, _PAPER], len(names))


def _progress(number: int, rows: Mapping[str, Row], paper_stands_in: bool) -> float:
    counting, needed = _counted(number, rows, paper_stands_in)
    return 100.0 * len(counting) / needed


def _missing(number: int, rows: Mapping[str, Row], *, paper_stands_in: bool) -> tuple[str, ...]:
    return tuple(
        name
        for name in _REQUIRED[number]
        if rows[name].status != "counts" and not (name == _REPORT and paper_stands_in)
    )


def _warnings(rows: Mapping[str, Row], *, paper_stands_in: bool) -> tuple[str, ...]:
    found = [
        f"{COMPONENTS[row.component].title}: {row.why}"
        for row in rows.values()
        if row.status == "counts" and row.licence is not None and not suits(row.licence, COMPONENTS[row.component].kind)
    ]
    if paper_stands_in:
        found.append("Technical report: the research paper stands in for it")
    return tuple(found)
