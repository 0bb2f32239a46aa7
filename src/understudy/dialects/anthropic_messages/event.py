"""Whether an event of a stream has the types that will be read, before any of it counts: it is taken whole or not.

An event of an unknown type is sound: the document promises more of them.
"""

from __future__ import annotations

from typing import Any

from understudy.dialects.anthropic_messages.parts import decode_block, decode_citation
from understudy.dialects.wire import Malformed

DELTAS = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
}
"""The deltas that bring text, and the field that holds it."""

_OPTIONAL = (str, type(None))


def sound_event(value: Any) -> dict[str, Any]:
    """The event, if every field that will be read has its type. Raises `Malformed`."""
    if type(value) is not dict:
        raise Malformed("", "is no object")
    kind = value.get("type")
    checks = {
        "message_start": _message,
        "content_block_start": _block,
        "content_block_delta": _delta,
        "message_delta": _end,
    }
    check = checks.get(kind) if isinstance(kind, str) else None
    if check is not None and not check(value):
        raise Malformed(str(kind), "has fields of wrong types")
    if isinstance(kind, str) and kind.startswith("content_block_") and type(value.get("index")) is not int:
        raise Malformed("index", "must be an integer")
    if not isinstance(kind, str) and "error" not in value:
        raise Malformed("type", "is required")
    return value


def _message(event: dict[str, Any]) -> bool:
    message = event.get("message")
    if type(message) is not dict or type(message.get("usage")) not in (dict, type(None)):
        return False
    if any(type(message.get(key)) not in _OPTIONAL for key in ("id", "model", "stop_reason")):
        return False
    content = message.get("content")
    if type(content) not in (list, type(None)):
        return False
    return all(_is_block(block) for block in content or ())


def _block(event: dict[str, Any]) -> bool:
    return _is_block(event.get("content_block"))


def _is_block(value: Any) -> bool:
    try:
        decode_block(filled(value), "content_block")
    except Malformed:
        return False
    return True


def filled(block: Any) -> Any:
    """A block as it starts, read as a whole one: a call has arguments, thinking has no signature yet."""
    if type(block) is dict and block.get("type") in ("tool_use", "server_tool_use", "mcp_tool_use"):
        return {"input": {}, **block}
    if type(block) is dict and block.get("type") == "thinking" and block.get("signature") == "":
        return {key: value for key, value in block.items() if key != "signature"}
    return block


def _delta(event: dict[str, Any]) -> bool:
    delta = event.get("delta")
    if type(delta) is not dict or type(delta.get("type")) is not str:
        return False
    if delta["type"] == "citations_delta":
        return decode_citation(delta.get("citation")) is not None
    field = DELTAS.get(delta["type"])
    return field is None or type(delta.get(field)) is str


def _end(event: dict[str, Any]) -> bool:
    delta = event.get("delta")
    if type(delta) is not dict or type(event.get("usage")) not in (dict, type(None)):
        return False
    return type(delta.get("stop_reason")) in _OPTIONAL
