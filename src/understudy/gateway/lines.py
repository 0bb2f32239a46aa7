"""On which line of a TOML file a value is set, so that an error can say where."""

from __future__ import annotations

import tomllib
from typing import Any

Steps = tuple[str | int, ...]
"""Where a value stands in the file: keys, and places in lists."""


def locate(text: str, path: Steps) -> int | None:
    """The line of the TOML `text`, counted from 1, where the value at `path` is set.

    tomllib does not say where things stand, and TOML has many ways to write one path: dotted, quoted, inline, over
    several lines. So this asks tomllib itself: the statement that sets a value ends at the first line by which the text
    so far holds it. What is not in the text, a default, is at its nearest table.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    while path and not _holds("\n".join(lines), path):
        path = path[:-1]
    if not path:
        return None
    before, end = 0, len(lines)
    while (middle := _between(lines, before, end)) is not None:
        if _holds("\n".join(lines[:middle]), path):
            end = middle
        else:
            before = middle
    # One statement is left. Closing it early tells on which of its lines an item of a list stands.
    for number in range(before + 1, end):
        if any(_holds("\n".join(lines[:number]) + closing, path) for closing in ("\n]", "\n]}", "\n]}}")):
            return number
    return end


def _between(lines: list[str], before: int, end: int) -> int | None:
    """A number of lines between the two that is TOML by itself, near the middle; None if there is none."""
    middle = (before + end) // 2
    candidates = (*range(middle, before, -1), *range(middle + 1, end))
    return next((number for number in candidates if _loads("\n".join(lines[:number])) is not None), None)


def _loads(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _holds(text: str, path: Steps) -> bool:
    """Whether `text` is TOML and has a value at `path`."""
    value: Any = _loads(text)
    for step in path:
        if isinstance(value, list):
            value = dict(enumerate(value))
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return value is not None
