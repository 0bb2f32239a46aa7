"""Anthropic's Messages: `POST /v1/messages`, named server-sent events."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy import clock
from understudy.sim.answers import Reply
from understudy.sim.asked import Asked
from understudy.sim.behaviour import Call
from understudy.sim.voices.voice import (
    Frames,
    Json,
    Refusal,
    Trouble,
    Voice,
    arguments,
    decode,
    event,
    filled,
    function,
    named,
    schema,
    tokens,
)  # fmt: skip

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
          404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
          529: "overloaded_error"}  # fmt: skip


class _Request(msgspec.Struct):
    model: str
    messages: list[Json]
    max_tokens: int
    stream: bool = False
    tools: list[Json] = []
    tool_choice: Json | None = None
    output_config: Json | None = None


class _Counted(msgspec.Struct):
    model: str
    messages: list[Json]


def count(body: bytes) -> Json:
    """`count_tokens`: four bytes a token."""
    return {"input_tokens": len(msgspec.json.encode(decode(body, _Counted).messages)) // 4 + 1}


def _message(message: Json) -> Json:
    """A turn that brings tool results is what `Asked` calls a `tool` message."""
    parts = message.get("content")
    results = (
        [p for p in parts if isinstance(p, dict) and p.get("type") == "tool_result"] if type(parts) is list else []
    )
    return {"role": "tool", "content": results[-1].get("content")} if results else message


def _read(body: bytes, _model: str, _stream: bool) -> Asked:
    request = decode(body, _Request)
    choice: Any = request.tool_choice or {}
    kind = choice.get("type")
    shape = (request.output_config or {}).get("format")
    return Asked(
        model=request.model,
        messages=[_message(message) for message in filled(request.messages)],
        stream=request.stream,
        max_tokens=request.max_tokens,
        tools=[function(tool.get("name"), tool.get("input_schema")) for tool in request.tools],
        tool_choice=named(choice.get("name")) if kind == "tool" else {"any": "required", "none": "none"}.get(str(kind)),
        response_format=schema(shape.get("schema")) if isinstance(shape, dict) else None,
    )


def _block(said: Reply) -> Json:
    if said.tool:
        return {"type": "tool_use", "id": f"toolu_{said.call_id[5:]}", "name": said.tool, "input": arguments(said)}
    return {"type": "text", "text": said.text}


def _answer(call: Call, said: Reply) -> Json:
    prompt, completion = tokens(call, said)
    return {
        "id": f"msg_{clock.token(12)}", "type": "message", "role": "assistant", "model": call.asked.model,
        "content": [_block(said)] if said.tokens else [], "stop_reason": _STOPS[said.finish], "stop_sequence": None,
        "usage": {"input_tokens": prompt, "output_tokens": completion, "cache_creation_input_tokens": 0,
                  "cache_read_input_tokens": 0},
    }  # fmt: skip


def _frames(call: Call, said: Reply) -> Frames:
    message = _answer(call, said)
    used = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "usage": {**used, "output_tokens": 1}}
    opening = [event({"type": "message_start", "message": start})]
    closing = []
    if said.tokens:
        empty: Json = {"input": {}} if said.tool else {"text": ""}
        block = _block(said) | empty
        opening.append(event({"type": "content_block_start", "index": 0, "content_block": block}))
        closing.append(event({"type": "content_block_stop", "index": 0}))
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    kind, field = ("input_json_delta", "partial_json") if said.tool else ("text_delta", "text")
    return Frames(
        [*opening, event({"type": "ping"})],
        [event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, field: t}}) for t in said.tokens],
        [
            *closing,
            event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": used["output_tokens"]}}),
            event({"type": "message_stop"}),
        ],
    )


def _error(trouble: Trouble) -> tuple[int, Json]:
    status = 529 if trouble.kind.startswith("overloaded") else trouble.status
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return status, {"type": "error", "error": {"type": kind, "message": trouble.message}}


def _refuse(trouble: Trouble) -> Refusal:
    status, body = _error(trouble)
    request_id = f"req_{clock.token(12)}"
    return status, {**body, "request_id": request_id}, {"request-id": request_id}


VOICE = Voice("anthropic-messages", _read, _answer, _frames, _refuse, lambda trouble: [event(_error(trouble)[1])])
