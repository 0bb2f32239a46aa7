"""A body cut into its JSON strings, names and what stands between, without parsing it.

JSON strings look the same in a document, in the events of a stream, in lines of JSON and in a body that was cut
somewhere, so one cut serves all. Every character belongs to a piece.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

_STRING = re.compile(r'"([^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*)("?)([ \t\r\n]*:)?')
"""A string, and a colon if it is a name. The last quote may be missing, so that no start is tried twice over."""

_JSON = re.compile(r'[\s\ufeff]*(?:[{\["]|data:|event:|id:|retry:|:|[^\n]{0,64}\{")')

CARRIERS = frozenset(
    (
        "content", "text", "delta", "arguments", "partial_json", "reasoning", "reasoning_content", "thinking",
        "refusal", "transcript", "response", "input", "message", "tool_plan", "output",
    )
)  # fmt: skip
"""Names of the strings that a stream hands out bit by bit, in any dialect."""

_INDEX = re.compile(r'"(?:index|output_index|content_index|summary_index|contentBlockIndex)"\s*:\s*(\d{1,6})')


class Piece(msgspec.Struct, frozen=True, gc=False):
    """`text` is what it says, `raw` if it stands just so; `name` is the name before a value, "" if there is none."""

    kind: Literal["value", "name", "gap"]
    start: int
    end: int
    text: str
    name: str = ""
    raw: bool = False


def is_json(text: str) -> bool:
    """Whether it is worth cutting: JSON, lines of it, or events with it."""
    return _JSON.match(text) is not None


def cut(text: str, *, shortest: int = 0) -> Iterator[Piece]:
    """The pieces of `text` in order, but for gaps that are shorter than `shortest`: commas and braces, mostly."""
    place, name = 0, ""
    for match in _STRING.finditer(text):
        start, end = match.start(), match.end(2)
        if start > place:
            gap = text[place:start]
            if start - place >= shortest:
                yield Piece("gap", place, start, gap, raw=True)
            if "," in gap or "\n" in gap:
                name = ""
        place = end
        inner, raw = match[1], not match[2]
        if "\\" in inner and not raw:
            try:
                inner = json.loads(match[0][: end - start], strict=False)
            except ValueError:
                raw = True
        if raw:
            inner = text[start:end]
        if match[3] and not raw:
            name = inner
            yield Piece("name", start, end, inner)
        else:
            yield Piece("value", start, end, inner, name, raw)
    if place < len(text) and len(text) - place >= shortest:
        yield Piece("gap", place, len(text), text[place:], raw=True)


def streams(text: str, values: Sequence[Piece]) -> list[list[int]]:
    """The numbers of those values that are parts of one text, told in several events: same name, same place."""
    array = text.lstrip()[:1] == "["
    if not array and "\n{" not in text and "data:" not in text:
        return []
    lines = [0, *(match.end() for match in re.finditer("\n", text))] if not array else [0]
    indexes: dict[int, list[str]] = {}
    for match in _INDEX.finditer(text) if not array else ():
        indexes.setdefault(bisect_right(lines, match.start()), []).append(match[1])
    groups: dict[tuple[str, int, tuple[str, ...]], list[int]] = {}
    line, seen = -1, dict[str, int]()
    for number, value in enumerate(values):
        if value.name not in CARRIERS or value.raw:
            continue
        here = bisect_right(lines, value.start)
        if here != line:
            line, seen = here, {}
        seen[value.name] = seen.get(value.name, -1) + 1
        ordinal = 0 if array else seen[value.name]
        groups.setdefault((value.name, ordinal, tuple(indexes.get(here, ()))), []).append(number)
    return [group for group in groups.values() if len(group) > 1]
