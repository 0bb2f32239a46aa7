"""The conversation of a request of this dialect, both ways, exactly as it came.

A user's message may hold tool results beside other blocks; the canon keeps results in messages of their own. So one
message of the wire becomes several here, each but the first marked `joined`, and is put together again.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, cast

from understudy.canon import Message, Part, Role, ToolResult
from understudy.dialects.bedrock_converse.blocks import decode_blocks, encode_own
from understudy.dialects.wire import DICT, FORM, LIST, Malformed, expect, keep, restore, split

_ROLES = ("user", "assistant", "system")


def decode_system(value: Any) -> Message:
    return Message("system", decode_blocks(value, "system"))


def decode_messages(value: Any) -> list[Message]:
    out: list[Message] = []
    for i, message in enumerate(expect(value, LIST, "messages")):
        out += _decode(message, f"messages[{i}]")
    return out


def _decode(value: Any, path: str) -> list[Message]:
    rest, blank = split(expect(value, DICT, path))
    role = rest.pop("role", None)
    if role not in _ROLES:
        raise Malformed(path + ".role", "must be one of " + ", ".join(_ROLES))
    content = rest.pop("content", blank.pop("content", None))
    if content is None:
        raise Malformed(path + ".content", "is required")
    parts = decode_blocks(content, path + ".content")
    runs = [list(run) for _, run in groupby(parts, lambda part: isinstance(part, ToolResult))] or [[]]
    form = "inline" if role == "system" else None
    first = Message(_role(role, runs[0]), tuple(runs[0]), extra=keep(rest, blank, form))
    return [first, *(Message(_role(role, run), tuple(run), extra={FORM: "joined"}) for run in runs[1:])]


def _role(role: str, run: list[Part]) -> Role:
    return "tool" if role == "user" and run and isinstance(run[0], ToolResult) else cast("Role", role)


def encode_conversation(messages: tuple[Message, ...], out: dict[str, Any]) -> None:
    """Write `system` and `messages`."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        blocks = encode_own(message.parts)
        form = message.extra.get(FORM)
        if message.role in ("system", "developer") and form != "inline":
            out.setdefault("system", []).extend(blocks)
        elif form == "joined" and turns:
            turns[-1]["content"] += blocks
        else:
            role = "user" if message.role == "tool" else message.role
            turns.append(restore({"role": role, "content": blocks}, message.extra))
    out["messages"] = turns
