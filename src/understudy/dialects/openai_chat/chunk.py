"""Whether a chunk of a stream has the types that will be read, before any of it counts: an event is taken whole or not.

Looser than OpenAI's schema on purpose: nulls stand for absent fields, and unknown fields may hold anything.
"""

from __future__ import annotations

from typing import Any

from understudy.dialects.openai_chat.parts import decode_part
from understudy.dialects.wire import Malformed


def sound_chunk(chunk: Any) -> dict[str, Any]:
    """The chunk, if every field that will be read has its type; so that an event counts whole or not at all."""
    if type(chunk) is list and chunk and type(chunk[0]) is dict:
        chunk = chunk[0]  # errors only: Gemini's compatibility endpoint
    if type(chunk) is not dict:
        raise Malformed("", "is no object")
    choices, usage = chunk.get("choices"), chunk.get("usage")
    if (choices is not None and type(choices) is not list) or (usage is not None and type(usage) is not dict):
        raise Malformed("", "has fields of wrong types")
    if "choices" not in chunk and not any(key in chunk for key in ("error", "detail", "message", "usage", "id")):
        raise Malformed("", "is neither a chunk nor an error")
    for choice in choices or ():
        if type(choice) is not dict or not _choice_is_sound(choice):
            raise Malformed("choices", "has fields of wrong types")
    return chunk


_CHOICE_TYPES = {"index": int, "finish_reason": str, "native_finish_reason": str}
_DELTA_TYPES = {
    "reasoning": str,
    "reasoning_content": str,
    "refusal": str,
    "audio": dict,
    "function_call": dict,
    "tool_calls": list,
    "reasoning_details": list,
    "images": list,
}


def _choice_is_sound(choice: dict[str, Any]) -> bool:
    for key, kind in _CHOICE_TYPES.items():
        value = choice.get(key)
        if value is not None and type(value) is not kind:
            return False
    delta = choice.get("delta")
    if delta is None:
        delta = choice.get("message")
    if not delta:
        return delta is None or type(delta) is dict
    if type(delta) is not dict or type(delta.get("content")) not in (str, type(None), list):
        return False
    if len(delta) == 1:
        key, value = next(iter(delta.items()))
        return value is None or key == "content" or (type(value) is _DELTA_TYPES.get(key, type(value)) and _deep(delta))
    for key, kind in _DELTA_TYPES.items():
        value = delta.get(key)
        if value is not None and type(value) is not kind:
            return False
    return _deep(delta)


def _deep(delta: dict[str, Any]) -> bool:
    """Lists of a delta hold objects, and these the texts they should."""
    for item in delta.get("reasoning_details") or ():
        if type(item) is not dict or not all(
            type(item.get(key, "")) in (str, type(None)) for key in ("text", "summary")
        ):
            return False
    calls = [
        *(delta.get("tool_calls") or ()),
        *([{"function": delta["function_call"]}] if delta.get("function_call") else ()),
    ]
    for call in calls:
        if type(call) is not dict or type(call.get("index")) not in (int, type(None)):
            return False
        if type(call.get("id")) not in (str, type(None)):
            return False
        for key, field in (("function", "arguments"), ("custom", "input")):
            body = call.get(key)
            if body is None:
                continue
            if type(body) is not dict or type(body.get("name")) not in (str, type(None)):
                return False
            if type(body.get(field)) not in (str, dict, type(None)):
                return False
    try:
        for image in delta.get("images") or ():
            decode_part(image, "images")
    except Malformed:
        return False
    return True
