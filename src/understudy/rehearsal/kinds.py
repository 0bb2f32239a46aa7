"""What kind of request it is, as facets: told from the request alone, so that a live call can be told too.

A facet is `name:value`. Each request has one value of each facet; verdicts are given for each (`verdict.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from understudy.canon import Audio, File, Image, Message, Part, Reasoning, Request, Text, ToolCall, ToolResult

_LETTERS = 4
"""Characters of a token, roughly: OpenAI's rule of thumb for English."""

SHORT, LONG = 500, 4000
"""Tokens of a prompt below which it is short, and from which on it is long."""


def facets(request: Request) -> tuple[str, ...]:
    """The facets of a request: what it wants, how long it is, how far the conversation has come."""
    return (f"kind:{kind(request)}", f"length:{length(request)}", f"turn:{turn(request)}")


def kind(request: Request) -> str:
    """The first that fits of: `media`, `structured`, `tools`, `text`. What is rarest comes first."""
    if any(isinstance(part, Image | Audio | File) for part in parts(request.messages)):
        return "media"
    if request.response_format is not None and request.response_format.kind != "text":
        return "structured"
    if request.tools and (request.tool_choice is None or request.tool_choice.mode != "none"):
        return "tools"
    return "text"


def length(request: Request) -> str:
    tokens = sum(map(_size, parts(request.messages))) // _LETTERS
    if tokens < SHORT:
        return "short"
    return "medium" if tokens < LONG else "long"


def turn(request: Request) -> str:
    """`first`, `later` (somebody has answered before), or `after tools` (the last word is a tool's)."""
    if request.messages and any(isinstance(part, ToolResult) for part in request.messages[-1].parts):
        return "after tools"
    return "later" if any(message.role == "assistant" for message in request.messages) else "first"


def parts(messages: Iterable[Message]) -> Iterator[Part]:
    """All parts, those inside of tool results too."""
    for message in messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def _size(part: Part) -> int:
    if isinstance(part, Text | Reasoning):
        return len(part.text)
    return len(part.arguments) if isinstance(part, ToolCall) else 0
