"""The conversation of a request of this dialect, both ways, exactly as it came.

A user's message may hold tool results beside other blocks; the canon keeps results in messages of their own. So one
message of the wire becomes several here, each but the first marked `joined`, and is put together again. What another
dialect's conversation needs is in `history.py`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, cast

from understudy.canon import Loss, Message, Part, Reasoning, Role, Text, ToolResult
from understudy.dialects.anthropic_messages.carried import is_ours
from understudy.dialects.anthropic_messages.parts import blanks_of, decode_block, encode_block, lone_text
from understudy.dialects.wire import BLANKS, DICT, FORM, LIST, Malformed, expect, foreign, keep, restore, split

_ROLES = ("user", "assistant", "system")
_INLINE = ("inline", "inline-list")
"""Forms of a system message that stands among the others instead of in `system`."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_system(value: Any) -> Message:
    parts = _parts(value, "system")
    return Message("system", parts, extra={FORM: "list"} if isinstance(value, list) and lone_text(parts) else {})


def decode_messages(value: Any) -> list[Message]:
    out: list[Message] = []
    for i, message in enumerate(expect(value, LIST, "messages")):
        if message.__class__ is dict and len(message) == 2:  # the usual case, by far
            role, text = message.get("role"), message.get("content")
            if text.__class__ is str and text and role in ("user", "assistant"):
                out.append(Message(role, (Text(text),)))
                continue
        out += _decode(message, f"messages[{i}]")
    return out


def _parts(content: Any, path: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise Malformed(path, "must be a string or an array of blocks")
    return tuple(decode_block(block, f"{path}[{i}]") for i, block in enumerate(content))


def _decode(value: Any, path: str) -> list[Message]:
    rest, blank = split(expect(value, DICT, path))
    role = rest.pop("role", None)
    if role not in _ROLES:
        raise Malformed(path + ".role", "must be one of " + ", ".join(_ROLES))
    content = rest.pop("content", None)
    if content is None and blank.get("content") is None:
        raise Malformed(path + ".content", "is required")
    parts = () if content is None else _parts(content, path + ".content")
    runs = [list(run) for _, run in groupby(parts, lambda part: isinstance(part, ToolResult))] or [[]]
    listed = isinstance(content, list) and (len(runs) > 1 or lone_text(parts))
    form = "list" if listed else None
    if role == "system":
        form = "inline-list" if listed else "inline"
    first = Message(_role(role, runs[0]), tuple(runs[0]), extra=keep(rest, blank, form))
    return [first, *(Message(_role(role, run), tuple(run), extra={FORM: "joined"}) for run in runs[1:])]


def _role(role: str, run: list[Part]) -> Role:
    return "tool" if role == "user" and run and isinstance(run[0], ToolResult) else cast("Role", role)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_conversation(messages: tuple[Message, ...], out: dict[str, Any], losses: list[Loss]) -> None:
    """Write `system` and `messages`. Reasoning that another provider signed is left out: Anthropic would refuse it."""
    system: list[Message] = []
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        form = message.extra.get(FORM)
        if message.role in ("system", "developer") and form not in _INLINE:
            system.append(message)
            continue
        blocks = _blocks(message, path, losses)
        before = turns[-1] if turns and form == "joined" else None
        if before is not None and isinstance(before["content"], list):
            before["content"] += blocks
        else:
            role = "user" if message.role == "tool" else message.role
            turns.append(restore({"role": role, "content": _content(message, blocks)}, message.extra))
        if form == "joined":
            losses += foreign(message.extra, path + ".")
    if system:
        joined = [block for message in system for block in _blocks(message, "messages[0]", losses)]
        out["system"] = _content(system[0], joined)
    out["messages"] = turns


def _blocks(message: Message, path: str, losses: list[Loss]) -> list[dict[str, Any]]:
    out = []
    for i, part in enumerate(message.parts):
        where = f"{path}.parts[{i}]"
        if isinstance(part, Reasoning) and not is_ours(part, own=True):
            losses.append(Loss(where, "reasoning that another provider signed is not taken here"))
            continue
        block = encode_block(part)
        if block is None:
            losses.append(Loss(where, f"a {type(part).__name__} has no form here"))
        else:
            out.append(block)
    return out


def _content(message: Message, blocks: list[dict[str, Any]]) -> Any:
    if not blocks:
        return blanks_of(message.extra).get("content", "") if BLANKS in message.extra else []
    listed = message.extra.get(FORM) in ("list", "inline-list")
    bare = len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and blocks[0]["type"] == "text"
    return blocks[0]["text"] if bare and not listed else blocks
