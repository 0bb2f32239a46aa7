"""This dialect's own conversations, both ways: `ChatMessageV2` of Cohere's SDK.

An assistant's `tool_plan` is what it says before it calls tools: a text, noted as a plan. A request's `documents`
become a user's message of files just before the last user's message, so that any other provider reads them too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Citation, File, Message, Part, Text, ToolCall, ToolResult, Unknown
from understudy.dialects.cohere_chat.parts import (
    decode_citation,
    decode_content,
    decode_document,
    encode_citation,
    encode_document,
    encode_part,
    note,
    place_of,
    read,
)
from understudy.dialects.openai_chat.parts import decode_tool_call, encode_tool_call, form_of
from understudy.dialects.wire import FORM, LIST, STR, Malformed, expect, restore, take

PLAN = "plan"
_DOCUMENTS = "documents"


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_messages(value: Any, documents: list[Any] | None) -> tuple[Message, ...]:
    out = [_message(item, f"messages[{i}]") for i, item in enumerate(expect(value, LIST, "messages"))]
    if documents:
        files = tuple(decode_document(item, f"documents[{i}]") for i, item in enumerate(documents))
        last = max((i for i, message in enumerate(out) if message.role == "user"), default=len(out))
        out.insert(last, Message("user", files, extra={FORM: {"as": _DOCUMENTS}}))
    return tuple(out)


def _message(value: Any, path: str) -> Message:
    rest, blank = read(value, path)
    role = rest.pop("role", None)
    if role in ("user", "system"):
        content = rest.pop("content", None)
        parts = [] if content is None else decode_content(content, path + ".content")
        return Message(role, tuple(parts), extra=note(rest, blank, list=_listed(content)))
    if role == "assistant":
        listed = _listed(rest.get("content"))
        parts = take_assistant(rest, path)
        return Message(role, tuple(parts), extra=note(rest, blank, list=listed))
    if role == "tool":
        content = rest.pop("content", None)
        parts = [] if content is None else decode_content(content, path + ".content")
        call_id = take(rest, "tool_call_id", STR, path + ".") or ""
        return Message(role, (ToolResult(call_id, tuple(parts)),), extra=note(rest, blank, list=_listed(content)))
    raise Malformed(path + ".role", "must be user, assistant, system or tool")


def _listed(content: Any) -> bool | None:
    return True if isinstance(content, list) else None


def take_assistant(rest: dict[str, Any], path: str) -> list[Part]:
    """Remove what an assistant's message says from `rest`, citations too if they all stand in its texts."""
    plan = take(rest, "tool_plan", STR, path + ".")
    content = rest.pop("content", None)
    said = [] if content is None else decode_content(content, path + ".content")
    citations = _citations(rest.get("citations"), said)
    if citations is not None:
        del rest["citations"]
        for place, found in citations.items():
            said[place] = msgspec.structs.replace(said[place], citations=tuple(found))
    plans: list[Part] = [Text(plan, extra={FORM: {"as": PLAN}})] if plan is not None else []
    calls = take(rest, "tool_calls", LIST, path + ".") or ()
    return [*plans, *said, *(decode_tool_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(calls))]


def _citations(listed: Any, said: list[Part]) -> dict[int, list[Citation]] | None:
    """Citations by the part that they stand in; None if there are none, or one that stands elsewhere."""
    texts = [i for i, part in enumerate(said) if isinstance(part, Text)]
    if not isinstance(listed, list) or not texts:
        return None
    found: dict[int, list[Citation]] = {}
    for item in listed:
        citation = decode_citation(item)
        if citation is None:
            return None
        place = place_of(citation)
        place = texts[0] if place is None else place
        if place not in texts or (found and place < max(found)):  # out of order, they would come back in another
            return None
        found.setdefault(place, []).append(citation)
    return found


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_messages(messages: tuple[Message, ...], out: dict[str, Any]) -> None:
    """Write `messages`, and `documents` if there are any."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if form_of(message.extra).get("as") == _DOCUMENTS:
            files = [part for part in message.parts if isinstance(part, File)]
            out["documents"] = [document for part in files if (document := encode_document(part)) is not None]
        elif message.role == "tool":
            results = [part for part in message.parts if isinstance(part, ToolResult)]
            turns += [restore(_result(part, message), message.extra) for part in results]
        else:
            role = "system" if message.role == "developer" else message.role
            fields = encode_assistant(message) if role == "assistant" else _said(message, list(message.parts))
            turns.append(restore({"role": role, **fields}, message.extra))
    out["messages"] = turns


def _said(message: Message, parts: list[Part]) -> dict[str, Any]:
    listed = form_of(message.extra).get("list")
    if not parts:
        return {"content": []} if listed else {}
    if not listed and len(parts) == 1 and isinstance(parts[0], Text):
        return {"content": parts[0].text}
    return {"content": [encoded for part in parts if (encoded := encode_part(part)) is not None]}


def _result(part: ToolResult, message: Message) -> dict[str, Any]:
    out = {"role": "tool", **({"tool_call_id": part.call_id} if part.call_id else {})}
    return out | _said(message, list(part.parts))


def encode_assistant(message: Message) -> dict[str, Any]:
    """`tool_plan`, `content`, `tool_calls` and `citations` of an assistant's message."""
    plans = [part for part in message.parts if isinstance(part, Text) and form_of(part.extra).get("as") == PLAN]
    calls = [part for part in message.parts if is_call(part)]
    said = [part for part in message.parts if part not in plans and not is_call(part)]
    out: dict[str, Any] = {"tool_plan": "".join(part.text for part in plans)} if plans else {}
    out |= _said(message, said)
    if calls:
        out["tool_calls"] = [
            encode_tool_call(part, own=True) if isinstance(part, ToolCall) else part.body  # type: ignore[union-attr]  # Unknown
            for part in calls
        ]
    citations = [
        encode_citation(citation, part.text, i)
        for i, part in enumerate(said)
        if isinstance(part, Text)
        for citation in part.citations
    ]
    return out | ({"citations": citations} if citations else {})


def is_call(part: Part) -> bool:
    return isinstance(part, ToolCall) or (isinstance(part, Unknown) and part.kind.startswith("tool_calls."))
