"""A rehearsal as one page of HTML: to be read, sent on and printed. Nothing in it is loaded from anywhere.

Pictures are SVG, written here: intervals by kind of request, how long answers took, what they cost, and the cases in
which the candidate fell furthest behind, side by side with what differs marked. What models wrote is text and nothing
else: it is escaped, and the page forbids scripts.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from understudy import dialects
from understudy.dialects import Malformed
from understudy.rehearsal.analysis import Analysis, Figures, Pair
from understudy.rehearsal.replay import Reply, Results
from understudy.rehearsal.report import words as named
from understudy.rehearsal.scores import tools, words
from understudy.rehearsal.scoring import reference
from understudy.rehearsal.suite import Case, Suite
from understudy.rehearsal.verdict import Stratum

LONGEST = 4000
"""Characters of an answer that are shown."""

_COLOURS = {"ready": "#1a7f37", "ready for": "#9a6700", "not ready": "#cf222e", "unknown": "#6e7781"}
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:62em;padding:0 1em;color:#1f2328;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em;border-bottom:1px solid #d0d7de}
table{border-collapse:collapse;width:100%}td,th{padding:.25em .6em;text-align:right;border-bottom:1px solid #eaeef2}
td:first-child,th:first-child{text-align:left}.verdict{font-weight:600;padding:.1em .5em;border-radius:.4em;color:#fff}
.case{border:1px solid #d0d7de;border-radius:.5em;margin:1em 0;padding:.7em 1em;break-inside:avoid}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:1em}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;
font:13px/1.45 ui-monospace,monospace}del{background:#ffebe9}ins{background:#dafbe1;text-decoration:none}
small,.dim{color:#59636e}svg{max-width:100%;height:auto}figure{margin:1em 0}
@media print{body{margin:0;max-width:none}.case{border-color:#999}}
"""


def page(found: Analysis, facts: Mapping[str, Any], suite: Suite, results: Results) -> bytes:
    """The page. `facts` are those of the command."""
    verdict = found.verdict
    names = f" {', '.join(map(named, verdict.ready_for))}" if verdict.state == "ready for" else ""
    body = [
        f"<h1>Rehearsal of {escape(found.candidate.target)}</h1>",
        (f"<p><span class=verdict style='background:{_COLOURS[verdict.state]}'>{verdict.state}{escape(names)}</span> "
        f"to stand in for {escape(str(facts['incumbent'] or 'the recorded answers'))} on "
        f"{escape(suite.route or 'this suite')}</p>"),
        (f"<p class=dim>{time.strftime('%Y-%m-%d %H:%M', time.gmtime(facts['at']))} UTC · suite "
        f"{suite.digest[:16]} · {found.compared} of {found.cases} cases compared"
        f"{f', {found.left_out} left out' if found.left_out else ''}"
        f"{f', {found.missing} not asked' if found.missing else ''} · margin {verdict.margin:.0%} · "
        f"{1 - verdict.alpha:.0%} intervals, those of the kinds together</p>"),
        "<h2>Where it can stand in</h2>",
        ("<p>How far the candidate's answers are from the recorded ones, less how far the incumbent's own second "
        "answers are. Right of the dashed line, the margin, is good enough.</p>"),
        _forest([("all", verdict.overall), *((named(name), one) for name, one in verdict.strata.items())],
                verdict.margin),
        _table(found),
        "<h2>Speed and cost</h2>",
        _speed(results, found),
        "<h2>Where it fell furthest behind</h2>",
    ]  # fmt: skip
    cases = {case.id: case for case in suite.cases}
    body += [_case(pair, cases[pair.case]) for pair in found.worst] or ["<p>Nowhere.</p>"]
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<meta name=viewport content='width=device-width'>"
        f"<title>Rehearsal of {escape(found.candidate.target)}</title><style>{_STYLE}</style>"
        + "\n".join(body)
        + "</html>\n"
    ).encode()


def _forest(rows: Sequence[tuple[str, Stratum]], margin: float) -> str:
    """Intervals of the difference, a line each."""
    rows = [(name, one) for name, one in rows if one.difference.n]
    low = min([-2 * margin, *(one.difference.low for _, one in rows)])
    high = max([margin, *(one.difference.high for _, one in rows)])
    left, width, step, top = 170, 640, 26, 14
    height = top + step * len(rows) + 36

    def x(value: float) -> float:
        return left + width * (value - low) / (high - low)

    parts = [f"<svg viewBox='0 0 {left + width + 90} {height}' role=img aria-label='Differences with intervals'>"]
    bottom = top + step * len(rows)
    parts.append(
        f"<line x1='{x(0):.1f}' x2='{x(0):.1f}' y1='{top - 8}' y2='{bottom}' stroke='#8c959f'/>"
        f"<line x1='{x(-margin):.1f}' x2='{x(-margin):.1f}' y1='{top - 8}' y2='{bottom}' stroke='#8c959f' "
        "stroke-dasharray='4 4'/>"
    )
    for index, (name, one) in enumerate(rows):
        y, colour, interval = top + step * index + 8, _COLOURS[one.finding], one.difference
        parts.append(
            f"<text x='{left - 10}' y='{y + 5}' text-anchor=end font-size=13>{escape(name)}</text>"
            f"<line x1='{x(interval.low):.1f}' x2='{x(interval.high):.1f}' y1='{y}' y2='{y}' stroke='{colour}' "
            f"stroke-width='3'/><circle cx='{x(interval.mean):.1f}' cy='{y}' r='5' fill='{colour}'/>"
            f"<text x='{left + width + 8}' y='{y + 5}' font-size=12 fill='#59636e'>n={interval.n}</text>"
        )
    parts += [
        f"<text x='{x(value):.1f}' y='{bottom + 18}' text-anchor=middle font-size=12 fill='#59636e'>{value:+.0%}</text>"
        for value in _ticks(low, high)
    ]
    return f"<figure>{''.join(parts)}</svg></figure>"


def _ticks(low: float, high: float) -> list[float]:
    step = next((size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / size <= 10), 0.5)
    first = -(-low // step)
    return [step * (first + index) for index in range(int((high - step * first) / step) + 1)]


def _table(found: Analysis) -> str:
    rows = [("all", found.verdict.overall), *((named(name), one) for name, one in found.verdict.strata.items())]
    cells = [
        f"<tr><td>{escape(name)}<td>{one.difference.n}<td>{one.candidate:.1%}<td>{one.ceiling:.1%}"
        f"<td>{one.difference.mean:+.1%}<td>{one.difference.low:+.1%} to {one.difference.high:+.1%}"
        f"<td style='color:{_COLOURS[one.finding]}'>{one.finding}<td>{'' if one.more is None else one.more}"
        for name, one in rows
        if one.difference.n
    ]
    scores = found.candidate.scores
    ceilings = found.incumbent.scores if found.incumbent is not None else {}
    each = [
        f"<tr><td>{escape(name)}<td>{value:.1%}<td>{f'{ceilings[name]:.1%}' if name in ceilings else ''}"
        for name, value in scores.items()
    ]
    return (
        "<table><tr><th>requests<th>cases<th>candidate<th>ceiling<th>difference<th>interval<th>finding"
        f"<th>more cases needed{''.join(cells)}</table><h2>Scores</h2>"
        f"<table><tr><th>score<th>candidate<th>incumbent again{''.join(each)}</table>"
    )


def _speed(results: Results, found: Analysis) -> str:
    sides = [("candidate", found.candidate)]
    if found.incumbent is not None:
        sides.append(("ceiling", found.incumbent))
    rows, series = [], []
    for role, figures in sides:
        replies = [one for one in results.replies.values() if one.role == role and one.target == figures.target]
        answered = [one for one in replies if one.fault is None]
        series.append((figures.target, [one.seconds for one in answered]))
        rows.append(_speed_row(figures))
    return (
        "<table><tr><th>target<th>answered<th>could not<th>median<th>95 of 100<th>tokens in<th>tokens out<th>cost"
        f"{''.join(rows)}</table>{_spread(series)}"
    )


def _speed_row(figures: Figures) -> str:
    cost = "unknown" if figures.cost_usd is None else f"${figures.cost_usd:.4f}"
    if figures.cost_usd is not None and figures.cost_unknown:
        cost += f" and {figures.cost_unknown} unknown"
    median = "-" if figures.seconds_median is None else f"{figures.seconds_median:.2f} s"
    slow = "-" if figures.seconds_p95 is None else f"{figures.seconds_p95:.2f} s"
    return (
        f"<tr><td>{escape(figures.target)}<td>{figures.answered}<td>{figures.failed}<td>{median}<td>{slow}"
        f"<td>{figures.tokens_input:,}<td>{figures.tokens_output:,}<td>{cost}"
    )


def _spread(series: Sequence[tuple[str, Sequence[float]]]) -> str:
    """How long answers took: a histogram for each target, on one axis of seconds that grows by doubling."""
    everything = [value for _, values in series for value in values]
    if not everything:
        return ""
    edges = [0.001 * 2**power for power in range(22)]
    counts = [[0] * (len(edges) + 1) for _ in series]
    for row, (_, values) in zip(counts, series, strict=True):
        for value in values:
            row[sum(value >= edge for edge in edges)] += 1
    used = [index for index in range(len(edges) + 1) if any(row[index] for row in counts)]
    first, last = used[0], used[-1]
    most = max(max(row) for row in counts)
    width = 700 / (last - first + 1)
    parts = ["<svg viewBox='0 0 800 190' role=img aria-label='Seconds until the whole answer'>"]
    for number, ((name, _), row) in enumerate(zip(series, counts, strict=True)):
        colour = ("#0969da", "#8c959f")[number]
        parts.append(f"<text x='{80 + 330 * number}' y='14' font-size=13 fill='{colour}'>■ {escape(name)}</text>")
        for index in range(first, last + 1):
            height = 130 * row[index] / most
            place = 60 + width * (index - first) + width * 0.42 * number
            parts.append(
                f"<rect x='{place:.1f}' y='{155 - height:.1f}' width='{width * 0.4:.1f}' height='{height:.1f}' "
                f"fill='{colour}'/>"
            )
    for index in range(first, last + 1):
        bound = edges[index] if index < len(edges) else edges[-1]
        shown = f"{bound:.3g} s" if bound >= 1 else f"{bound * 1000:.0f} ms"
        place = 60 + width * (index - first + 0.4)
        parts.append(
            f"<text x='{place:.0f}' y='175' font-size=11 text-anchor=middle fill='#59636e'>&lt; {shown}</text>"
        )
    return f"<figure>{''.join(parts)}</svg><figcaption class=dim>until the whole answer</figcaption></figure>"


def _case(pair: Pair, case: Case) -> str:
    wanted, found = _said_reference(case), _said(case, pair.candidate)
    left, right = marked(wanted[:LONGEST], found[:LONGEST])
    reasons = "; ".join(f"{name}: {one.why}" for name, one in pair.candidate.scores.items() if one.why)
    ceiling = "" if pair.ceiling is None or pair.ceiling.worth is None else f", incumbent {pair.ceiling.worth:.2f}"
    kinds = ", ".join(map(named, pair.candidate.facets))
    return (
        f"<div class=case><b>{escape(case.id)}</b> <span class=dim>{kinds}</span>"
        f"<br>candidate {pair.candidate.worth or 0:.2f}{ceiling} <small>{escape(reasons[:600])}</small>"
        f"<p class=dim>{escape(_asked(case)[:600])}</p>"
        f"<div class=sides><div><small>recorded</small><pre>{left}</pre></div>"
        f"<div><small>candidate</small><pre>{right}</pre></div></div></div>"
    )


def marked(wanted: str, found: str) -> tuple[str, str]:
    """Two texts as HTML, what the other does not have in it marked, word by word."""
    one, other = re.findall(r"\s+|\w+|[^\w\s]", wanted), re.findall(r"\s+|\w+|[^\w\s]", found)
    left, right = [], []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        gone, come = escape("".join(one[a:b])), escape("".join(other[c:d]))
        left.append(gone if kind == "equal" or not gone else f"<del>{gone}</del>")
        right.append(come if kind == "equal" or not come else f"<ins>{come}</ins>")
    return "".join(left), "".join(right)


def _asked(case: Case) -> str:
    """The last words of who asked."""
    for message in reversed(case.asked().messages):
        said = "".join(getattr(part, "text", "") for part in message.parts)
        if said.strip():
            return f"{message.role}: {said}"
    return ""


def _said_reference(case: Case) -> str:
    try:
        answer = reference(case)
    except Malformed as error:
        return f"({error})"
    return "\n".join(_lines(words.text(answer), tools.calls(answer)))


def _said(case: Case, reply: Reply) -> str:
    body = reply.body
    if body is None:
        return f"({reply.fault}: {reply.message})"
    try:
        answer = dialects.get(case.dialect).decode_answer(body)
    except Malformed as error:
        return f"({error})"
    return "\n".join(_lines(words.text(answer), tools.calls(answer)))


def _lines(text: str, calls: Iterable[Any]) -> Iterator[str]:
    if text:
        yield text
    for call in calls:
        yield f"{call.name}({call.arguments})"
