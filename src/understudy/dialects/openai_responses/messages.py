"""The input of a request, both ways: a string, or items that become the turns of a conversation.

What the model gave comes back as several items (reasoning, message, calls); they are one assistant's turn. A request
of another dialect becomes the plainest items that OpenAI takes: messages with a role and content, calls, their outputs.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

from understudy.canon import (
    File,
    Image,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.openai_responses.items import decode_item, encode_items, head_of, is_foreign, is_message
from understudy.dialects.openai_responses.parts import decode_content, encode_input, part_losses
from understudy.dialects.wire import DICT, LIST, STR, Malformed, expect, foreign, keep, restore, split, take

_ROLES = ("system", "developer", "user", "assistant")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
LONGEST_ID = 64
"""Characters of a `call_id`; OpenAI refuses longer ones."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_input(value: Any) -> list[Message]:
    """Messages of an `input` in either form."""
    if isinstance(value, str):
        return [Message("user", (Text(value),), extra=keep({}, {}, {"bare": True}))]
    out: list[Message] = []
    turn: list[Part] = []
    for i, wire in enumerate(expect(value, LIST, "input")):
        if wire.__class__ is dict and len(wire) == 2 and not turn:  # the usual case, by far
            role, text = wire.get("role"), wire.get("content")
            if text.__class__ is str and text and role.__class__ is str and role in _PLAIN:
                out.append(Message(cast("Role", role), (Text(text),), extra=_PLAIN[role]))
                continue
        item, path = expect(wire, DICT, f"input[{i}]"), f"input[{i}]"
        message = _decode(item, path)
        if message is None:
            turn += decode_item(item, path)
            continue
        if turn:
            out.append(Message("assistant", tuple(turn)))
            turn = []
        out.append(message)
    if turn:
        out.append(Message("assistant", tuple(turn)))
    return out


def _decode(item: dict[str, Any], path: str) -> Message | None:
    """An item that is a message of its own; None if it belongs to an assistant's turn."""
    if item.get("type") in _OUTPUTS:
        return Message("tool", (_decode_result(item, path),))
    if not is_message(item):
        if item.get("type") is None and "id" not in item:
            raise Malformed(path + ".type", "is required in an item without a role")
        return None
    role = item.get("role")
    if role not in _ROLES:
        raise Malformed(path + ".role", "must be one of " + ", ".join(_ROLES))
    if role == "assistant":
        return None
    rest, blank = split(item)
    content = rest.pop("content", None)
    parts = () if content is None else tuple(decode_content(content, path + ".content", "input_text"))
    form: dict[str, Any] = {"item": head_of(rest, blank)}
    if isinstance(content, str):
        form["string"] = True
    return Message(cast("Role", role), parts, extra=keep(rest, {}, form))


_PLAIN = {role: keep({}, {}, {"item": {"role": role}, "string": True}) for role in _ROLES if role != "assistant"}
"""What is noted of a message that is a role and a string: the same for all of them, so made once."""


def _decode_result(item: dict[str, Any], path: str) -> ToolResult:
    rest, blank = split(item)
    output = rest.pop("output", None)
    call_id, name = take(rest, "call_id", STR, path + ".") or "", take(rest, "name", STR, path + ".")
    parts = () if output is None else tuple(decode_content(output, path + ".output", "input_text"))
    form: dict[str, Any] = {"item": head_of(rest, blank)}
    if isinstance(output, str):
        form["string"] = True
    return ToolResult(call_id, parts, name, extra=keep(rest, {}, form))


# --- encoding, of its own --------------------------------------------------------------------------------------------


def encode_own(messages: tuple[Message, ...], losses: list[Loss]) -> Any:
    """`input` as it came; what another provider sealed is left out, since only we could read it."""
    if len(messages) == 1 and "bare" in form_of(messages[0].extra) and isinstance(messages[0].parts[0], Text):
        return messages[0].parts[0].text
    out: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        if message.role == "assistant":
            parts = []
            for j, part in enumerate(message.parts):
                if isinstance(part, Reasoning) and is_foreign(part):
                    losses.append(Loss(f"{path}.parts[{j}]", "earlier reasoning that another provider sealed"))
                else:
                    parts.append(part)
            out += encode_items(tuple(parts), path, losses, own=True)
        elif message.role == "tool":
            out += [_own_result(result) for result in message.parts if isinstance(result, ToolResult)]
        else:
            out.append(_own_message(message))
    return out


def _own_message(message: Message) -> dict[str, Any]:
    form = form_of(message.extra)
    out: dict[str, Any] = dict(form.get("item", {"type": "message", "role": message.role}))
    if message.parts or "item" not in form:
        out["content"] = _own_content(message.parts, string="string" in form)
    return restore(out, message.extra)


def _own_result(result: ToolResult) -> dict[str, Any]:
    form = form_of(result.extra)
    out: dict[str, Any] = dict(form.get("item", {"type": "function_call_output"}))
    if result.call_id or "item" not in form:
        out["call_id"] = result.call_id
    if result.name is not None:
        out["name"] = result.name
    if result.parts or "item" not in form:
        out["output"] = _own_content(result.parts, string="string" in form)
    return restore(out, result.extra)


def _own_content(parts: tuple[Part, ...], *, string: bool) -> Any:
    if string and len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [encoded for part in parts if (encoded := encode_input(part, own=True)) is not None]


# --- encoding, of other dialects -------------------------------------------------------------------------------------


def encode_foreign(messages: tuple[Message, ...], losses: list[Loss]) -> list[dict[str, Any]]:
    """`input` items for the messages of another dialect."""
    calls = _Calls()
    out: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        losses += foreign(message.extra, path + ".")
        if message.name is not None:
            losses.append(Loss(path + ".name", "a message has no name here"))
        if message.role == "assistant":
            out += _turn(message, path, calls, losses)
        elif message.role == "tool":
            for j, part in enumerate(message.parts):
                if isinstance(part, ToolResult):
                    out.append(_result(part, f"{path}.parts[{j}]", calls, losses))
                else:
                    losses.append(Loss(f"{path}.parts[{j}]", "a tool's message holds results alone"))
        else:
            content = _content(message.parts, path, losses)
            out.append({"type": "message", "role": message.role, "content": content})
    return out


class _Calls:
    """Ids of calls in the target's form, the same for a call and its result; a call without one is matched in order."""

    def __init__(self) -> None:
        self.kinds: dict[str, ToolCall] = {}
        self._unnamed = 0
        self._answered = 0

    def call(self, call: ToolCall) -> str:
        self._unnamed += not call.id
        wire = _wire_id(call.id, self._unnamed)
        self.kinds[wire] = call
        return wire

    def result(self, result: ToolResult) -> str:
        self._answered += not result.call_id
        return _wire_id(result.call_id, self._answered)


def _wire_id(call_id: str, place: int) -> str:
    if not call_id:
        return f"call_{place}"
    return call_id if len(call_id) <= LONGEST_ID else "call_" + hashlib.sha256(call_id.encode()).hexdigest()[:32]


def _turn(message: Message, path: str, calls: _Calls, losses: list[Loss]) -> list[dict[str, Any]]:
    """An assistant's turn. Text goes as a string: a list, in OpenAI's schema, wants ids that only its answers have."""
    out: list[dict[str, Any]] = []
    for i, part in enumerate(message.parts):
        where = f"{path}.parts[{i}]"
        if isinstance(part, Text | Refusal):
            losses += part_losses(part, where)
            if isinstance(part, Refusal):
                losses.append(Loss(where, "an earlier refusal goes as text", "approximated"))
            if part.text:
                out.append({"type": "message", "role": "assistant", "content": part.text})
        elif isinstance(part, ToolCall) and part.kind != "hosted":
            losses += part_losses(part, where)
            if part.signature is not None:
                losses.append(Loss(where + ".signature", "a signature means nothing to another provider"))
            custom = part.kind == "custom"
            text = {"input": part.arguments} if custom else {"arguments": part.arguments}
            kind = "custom_tool_call" if custom else "function_call"
            out.append({"type": kind, "call_id": calls.call(part), "name": part.name, **text})
        else:
            losses.append(Loss(where, _no_place(part, "assistant")))
    return out


def _result(result: ToolResult, path: str, calls: _Calls, losses: list[Loss]) -> dict[str, Any]:
    call_id = calls.result(result)
    call = calls.kinds.get(call_id)
    custom = call is not None and call.kind == "custom"
    out: dict[str, Any] = {"type": "custom_tool_call_output" if custom else "function_call_output", "call_id": call_id}
    if result.name is not None and (call is None or call.name != result.name):
        losses.append(Loss(path + ".name", "a result goes by its call's id alone"))
    if result.failed:
        losses.append(Loss(path + ".failed", "there is no mark for a failed tool here"))
    if result.cache is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    losses += foreign(result.extra, path + ".")
    out["output"] = _content(result.parts, path, losses)
    return out


def _is_elsewhere(part: Text | Image | File) -> bool:
    source = None if isinstance(part, Text) else part.source
    return isinstance(source, Stored) and not source.here


def _content(parts: tuple[Part, ...], path: str, losses: list[Loss]) -> Any:
    """A lone text as a string, nothing as "", else a list."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        losses += part_losses(parts[0], path + ".parts[0]")
        return parts[0].text
    out = []
    for i, part in enumerate(parts):
        where = f"{path}.parts[{i}]"
        if isinstance(part, Text) and not part.text:
            losses += part_losses(part, where)
        elif isinstance(part, Text | Image | File) and not _is_elsewhere(part):
            losses += part_losses(part, where)
            out.append(encode_input(part, own=False) or {})
        else:
            losses.append(_refused(part, where))
    return out or ""


def _refused(part: Part, path: str) -> Loss:
    if isinstance(part, Image | File):
        return Loss(path + ".source", "is held by another provider, under an id of its own")
    return Loss(path, _no_place(part, "message that is no assistant's"))


def _no_place(part: Part, where: str) -> str:
    if isinstance(part, Reasoning):
        return "earlier reasoning, signed or sealed by another provider, is not taken here"
    if isinstance(part, ToolCall) and part.kind == "hosted":
        return "a call that another provider ran itself"
    if isinstance(part, Unknown):
        return f"a part of kind {part.kind!r} that only its own dialect knows"
    return f"{type(part).__name__.lower()} has no place in a {where} here"
