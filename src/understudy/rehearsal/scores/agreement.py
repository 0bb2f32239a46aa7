"""Do two answers say the same?

A short reference (a label, a number, a name) is right or wrong. A longer text is compared as a text, which is a guess
at its meaning: where it decides, a judge or people's feedback should (`judge.py`).
"""

from __future__ import annotations

import re

from understudy.canon import Answer, Request
from understudy.rehearsal.scores import tools, words
from understudy.rehearsal.scores.scored import Scored

SHORT = 5
"""Words up to which a reference is short."""

_NUMBER = re.compile(r"[-+−]?\d[\d,'’ \u00a0\u202f]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ONLY_NUMBER = re.compile(r"\W*(?:[A-Za-z$€£¥%°]{0,3}\s?)?" + _NUMBER.pattern + r"\s?[A-Za-z%°$€£¥²³/]{0,6}\W*")


def short(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Whether a short answer is the same: as a number where it is one, else as words. None for longer ones."""
    if not applies(request, reference):
        return None
    wanted, found = words.text(reference), words.text(candidate)
    if words.plain(wanted) == words.plain(found):
        return Scored(1.0)
    if _ONLY_NUMBER.fullmatch(wanted.strip()):
        return _numbers(wanted, found)
    label = words.plain(wanted)
    if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", words.plain(found)):
        others = len(words.plain(found).split()) - len(label.split())
        # "The answer is Paris." says it, but a program that reads the label does not get it.
        return Scored(0.5, f"says {_shown(wanted)} amid {others} other words")
    return Scored(0.0, f"is {_shown(found)}, not {_shown(wanted)}")


def similar(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """How alike longer texts are (chrF). None for short ones, for tool calls and for structured output."""
    wanted = words.text(reference)
    structured = request.response_format is not None and request.response_format.kind != "text"
    if structured or tools.calls(reference) or not wanted.strip() or applies(request, reference):
        return None
    value = words.similarity(wanted, words.text(candidate))
    return Scored(value, "" if value == 1.0 else "other words")


def applies(request: Request, reference: Answer) -> bool:
    """Whether the reference is a short answer, and nothing but one."""
    structured = request.response_format is not None and request.response_format.kind != "text"
    said = words.text(reference).split()
    return 0 < len(said) <= SHORT and not structured and not tools.calls(reference)


def _numbers(wanted: str, found: str) -> Scored:
    value = _value(wanted)
    there = [_float(match[0]) for match in _NUMBER.finditer(found)]
    same = [number for number in there if number is not None and value is not None and _close(number, value)]
    if not same:
        return Scored(0.0, f"is {_shown(found)}, not {_shown(wanted)}")
    if len(there) == 1:
        return Scored(1.0)
    return Scored(0.5, f"says {_shown(wanted)} amid other numbers")


def _value(said: str) -> float | None:
    match = _NUMBER.search(said)
    return None if match is None else _float(match[0])


def _float(said: str) -> float | None:
    try:
        return float(re.sub(r"[,'’ \u00a0\u202f]", "", said).replace("−", "-"))
    except ValueError:
        return None


def _close(one: float, other: float) -> bool:
    return one == other or abs(one - other) <= 1e-9 * max(abs(one), abs(other))


def _shown(said: str) -> str:
    said = " ".join(said.split())
    return repr(said if len(said) <= 40 else f"{said[:37]}...")
