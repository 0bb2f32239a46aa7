"""What a rehearsal found, for people on a terminal and for a test runner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from understudy.rehearsal.analysis import Analysis, Figures
from understudy.rehearsal.replay import Results
from understudy.rehearsal.verdict import Stratum

COLOURS = {"ready": "green", "ready for": "yellow", "not ready": "red", "unknown": "magenta"}


def lines(found: Analysis, facts: Mapping[str, Any]) -> Iterator[str]:
    """The report, in rich's markup."""
    verdict = found.verdict
    colour = COLOURS[verdict.state]
    names = f" {', '.join(map(words, verdict.ready_for))}" if verdict.state == "ready for" else ""
    yield f"\n[bold]{facts['candidate']}[/] is [bold {colour}]{verdict.state}{names}[/] for {facts['route'] or 'this'}"
    yield (
        f"  {found.compared} of {found.cases} cases compared; margin {verdict.margin:.0%} below what the incumbent "
        f"repeats itself; {1 - verdict.alpha:.0%} intervals"
    )
    yield ""
    yield f"  {'':<22}{'cases':>7}{'candidate':>11}{'ceiling':>9}   difference"
    yield row("all", verdict.overall)
    for name, stratum in verdict.strata.items():
        yield row(words(name), stratum)
    yield ""
    yield from _figures(found.candidate)
    if found.incumbent is not None:
        yield from _figures(found.incumbent)
    if found.left_out:
        yield f"  [yellow]{found.left_out} cases say nothing: one of the two could not be reached[/]"
    if found.missing:
        why = "the budget was used up" if facts["budget_exhausted"] else "more would have changed nothing"
        yield f"  [dim]{found.missing} cases were not asked: {why}[/]"
    if verdict.overall.more is not None:
        yield f"  [magenta]about {verdict.overall.more} more cases are needed to tell[/]"
    for pair in found.worst[:3]:
        reasons = "; ".join(f"{name}: {score.why}" for name, score in pair.candidate.scores.items() if score.why)
        yield f"  [dim]{pair.case}[/]  {pair.candidate.worth or 0:.2f}  {escaped(reasons[:160])}"


def row(name: str, stratum: Stratum) -> str:
    """One line of the table."""
    difference = stratum.difference
    colour = COLOURS[stratum.finding]
    more = f", about {stratum.more} more cases needed" if stratum.more is not None else ""
    return (
        f"  {name:<22}{difference.n:>7}{_share(stratum.candidate):>11}{_share(stratum.ceiling):>9}   "
        f"{difference.mean:+.1%} [dim]({difference.low:+.1%} to {difference.high:+.1%})[/]  "
        f"[{colour}]{stratum.finding}[/]{more}"
    )


def words(facet: str) -> str:
    """`kind:tools` for people."""
    return facet.replace(":", " ", 1)


def escaped(text: str) -> str:
    """Text that rich takes as it is."""
    return text.replace("[", "\\[")


def _figures(figures: Figures) -> Iterator[str]:
    if figures.cost_usd is None:
        cost = "cost unknown"
    else:
        known = figures.answered - figures.cost_unknown
        cost = f"${figures.cost_usd / known:.5f} a call" if known else "cost unknown"
    speed = "-"
    if figures.seconds_median is not None and figures.seconds_p95 is not None:
        speed = f"{figures.seconds_median:.2f} s median, {figures.seconds_p95:.2f} s p95"
    yield f"  {figures.target:<30} {speed}; {cost}; {figures.answered} answered, {figures.failed} could not"


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"  # noqa: PLR0124  # not a number


def junit(found: Analysis, results: Results, candidate: str) -> bytes:
    """The verdict as a test, and each case as one, with what its answer is worth. No case fails: a single one is none.

    In the form that JUnit's Ant task writes and CI servers read.
    """
    verdict = found.verdict
    suite = ET.Element("testsuite", name=f"rehearsal of {candidate}")
    first = ET.SubElement(suite, "testcase", classname="rehearsal", name="verdict")
    if verdict.state not in ("ready", "ready for"):
        ET.SubElement(first, "failure", message=f"{candidate} is {verdict.state}")
    failures = int(verdict.state not in ("ready", "ready for"))
    tests = 1
    for (case, role, target), reply in results.replies.items():
        if role != "candidate" or target != candidate:
            continue
        tests += 1
        test = ET.SubElement(suite, "testcase", classname="rehearsal.cases", name=case, time=f"{reply.seconds:.3f}")
        if reply.worth is None:
            ET.SubElement(test, "skipped", message=_clean(f"{reply.fault}: {reply.message[:200]}"))
        elif reply.worth < 1 - verdict.margin:
            reasons = "; ".join(f"{name}: {score.why}" for name, score in reply.scores.items() if score.why)
            ET.SubElement(test, "system-out").text = _clean(f"{reply.worth:.2f} {reasons}"[:1000])
    suite.set("tests", str(tests))
    suite.set("failures", str(failures))
    root = ET.Element("testsuites")
    root.append(suite)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _clean(text: str) -> str:
    """XML has no place for control characters, not even escaped."""
    return "".join(char if char >= " " or char in "\t\n" else "?" for char in text)
