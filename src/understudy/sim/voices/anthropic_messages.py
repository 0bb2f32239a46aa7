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

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal",
          "blocked": "refusal", "paused": "pause_turn"}  # fmt: skip
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
          404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error",
          529: "overloaded_error"}  # fmt: skip


_PING = event({"type": "ping"})


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
    thinking = [{"type": "thinking", "thinking": "".join(said.thoughts), "signature": "c2ltdWxhdGVk"}]
    used = {"input_tokens": prompt, "output_tokens": completion, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0}  # fmt: skip
    return {
        "id": f"msg_{clock.token(12)}", "type": "message", "role": "assistant", "model": call.asked.model,
        "content": [*(thinking if said.thoughts else []), *([_block(said)] if said.tokens else [])],
        "stop_reason": "refusal" if said.field == "refusal" else _STOPS[said.finish], "stop_sequence": None,
        **({"usage": used} if said.counted else {}),
    }  # fmt: skip


def _deltas(index: int, kind: str, field: str, texts: list[str]) -> list[bytes]:
    return [
        event({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: text}}) for text in texts
    ]


def _started(index: int, block: Json) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def _frames(call: Call, said: Reply) -> Frames:
    message = _answer(call, said)
    used = {"usage": {**message["usage"], "output_tokens": 1}} if said.counted else {}
    opening = [event({"type": "message_start", "message": {**message, "content": [], "stop_reason": None, **used}})]
    index = 0
    if said.thoughts:
        opening += [
            _started(0, {"type": "thinking", "thinking": "", "signature": ""}),
            *_deltas(0, "thinking_delta", "thinking", said.thoughts),
            *_deltas(0, "signature_delta", "signature", ["c2ltdWxhdGVk"]),
            event({"type": "content_block_stop", "index": 0}),
        ]
        index = 1
    closing = []
    if said.tokens:
        empty: Json = {"input": {}} if said.tool else {"text": ""}
        opening.append(_started(index, _block(said) | empty))
        closing.append(event({"type": "content_block_stop", "index": index}))
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    counted = {"usage": {"output_tokens": message["usage"]["output_tokens"]}} if said.counted else {}
    kind, field = ("input_json_delta", "partial_json") if said.tool else ("text_delta", "text")
    return Frames(
        [*opening, _PING],
        _deltas(index, kind, field, said.tokens),
        closing,
        [event({"type": "message_delta", "delta": stop, **counted}), event({"type": "message_stop"})],
    )


def _error(trouble: Trouble) -> tuple[int, Json]:
    if trouble.told is not None:
        return trouble.told[0], trouble.told[1]
    status = 529 if trouble.kind.startswith("overloaded") else trouble.status
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return status, {"type": "error", "error": {"type": kind, "message": trouble.message}}


def _refuse(trouble: Trouble) -> Refusal:
    status, body = _error(trouble)
    request_id = f"req_{clock.token(12)}"
    headers = trouble.told[2] if trouble.told is not None else {}
    return status, {**body, "request_id": request_id}, {**headers, "request-id": request_id}


VOICE = Voice(
    "anthropic-messages", _read, _answer, _frames, _refuse, lambda trouble: [event(_error(trouble)[1])], ping=_PING
)
