"""Whether a stream's event has the types that will be read, before any of it counts: an event is taken whole or not.

Looser than OpenAI's schema on purpose: other fields may hold anything, and unknown events pass.
"""

from __future__ import annotations

from typing import Any

from understudy.dialects.wire import Malformed

GROWING = {
    "response.content_part.added": "content",
    "response.content_part.done": "content",
    "response.reasoning_part.added": "content",  # vLLM's name for it
    "response.reasoning_summary_part.added": "summary",
    "response.output_text.annotation.added": "content",
    "response.refusal.delta": "content",
    "response.reasoning_text.delta": "content",
    "response.reasoning_summary_text.delta": "summary",
    "response.function_call_arguments.delta": "call",
    "response.custom_tool_call_input.delta": "call",
}
"""Events that open or grow a part, and the list of the item that it stands in."""

REPEATING = frozenset(
    "response." + name
    for name in (
        "output_text.done",
        "refusal.done",
        "function_call_arguments.done",
        "custom_tool_call_input.done",
        "reasoning_text.done",
        "reasoning_part.done",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    )
)
"""Events that say again what deltas said, and what `output_item.done` will say once more."""

_PLACE = (("output_index", int),)
_DELTA = (*_PLACE, ("delta", str))
_RESPONSE = (("response", dict),)
_NEEDS: dict[str, tuple[tuple[str, type], ...]] = {
    "response.output_text.delta": _DELTA,
    "response.output_item.added": (*_PLACE, ("item", dict)),
    "response.output_item.done": (*_PLACE, ("item", dict)),
    **{name: _DELTA for name in GROWING if name.endswith(".delta")},
    **{name: (*_PLACE, ("part", dict)) for name in GROWING if name.endswith(("_part.added", "_part.done"))},
    "response.output_text.annotation.added": _PLACE,
    **{
        f"response.{name}": _RESPONSE
        for name in ("created", "in_progress", "queued", "completed", "incomplete", "failed")
    },
}
_INDICES = ("content_index", "summary_index")


def sound_event(name: str, event: Any) -> dict[str, Any]:
    """The event, with its `type`, if every field that will be read has its type."""
    if type(event) is not dict:
        raise Malformed("event", "is no object")
    kind = event.get("type")
    if type(kind) is not str or not kind:
        kind = name or ("error" if event.get("error") else "")
        if not kind:
            raise Malformed("type", "is required")
        event["type"] = kind
    for key, wanted in _NEEDS.get(kind, ()):
        if type(event.get(key)) is not wanted:
            raise Malformed(key, f"has the wrong type in {kind}")
    for key in _INDICES:
        if key in event and type(event[key]) is not int and kind in GROWING | {"response.output_text.delta": ""}:
            raise Malformed(key, f"has the wrong type in {kind}")
    sound: dict[str, Any] = event
    return sound
