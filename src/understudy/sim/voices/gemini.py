"""Gemini: `POST …/models/{model}:generateContent`, and `:streamGenerateContent` as events or as one JSON array."""

from __future__ import annotations

from typing import Any

import msgspec

from understudy import clock
from understudy.sim import wire
from understudy.sim.answers import Reply
from understudy.sim.asked import Asked, Refused
from understudy.sim.behaviour import Call
from understudy.sim.voices.voice import (
    Frames,
    Json,
    Refusal,
    Trouble,
    Voice,
    arguments,
    decode,
    filled,
    function,
    named,
    schema,
    tokens,
)  # fmt: skip

_STOPS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
             409: "ABORTED", 429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 503: "UNAVAILABLE",
             504: "DEADLINE_EXCEEDED"}  # fmt: skip
_INFO = "type.googleapis.com/google.rpc."


class _Calling(msgspec.Struct, rename="camel"):
    mode: str = "AUTO"
    allowed_function_names: list[str] = []


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _Calling = msgspec.field(default_factory=_Calling)


class _Settings(msgspec.Struct, rename="camel"):
    max_output_tokens: int | None = None
    response_mime_type: str | None = None
    response_schema: Json | None = None
    response_json_schema: Json | None = None


class _Request(msgspec.Struct, rename="camel"):
    contents: list[Json]
    tools: list[Json] = []
    tool_config: _ToolConfig = msgspec.field(default_factory=_ToolConfig)
    generation_config: _Settings = msgspec.field(default_factory=_Settings)


def _lower(shape: Any) -> Any:
    """Gemini's schemas write types in capitals."""
    if isinstance(shape, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in shape.items()
        }
    return [_lower(one) for one in shape] if isinstance(shape, list) else shape


def _message(content: Json) -> Json:
    parts = content.get("parts")
    if not isinstance(parts, list):
        raise Refused("contents.parts must not be empty.", "contents")
    results = [part["functionResponse"] for part in parts if isinstance(part, dict) and "functionResponse" in part]
    if results:
        return {"role": "tool", "content": msgspec.json.encode(results[-1]).decode()}
    return {"role": "assistant" if content.get("role") == "model" else "user", "content": parts}


def _tools(groups: list[Json]) -> list[Json]:
    found = [one for group in groups for one in group.get("functionDeclarations") or [] if isinstance(one, dict)]
    # proto3's JSON may use a field's original name, and Google's SDK does so here
    schemas = [one.get("parametersJsonSchema") or one.get("parameters_json_schema") for one in found]
    pairs = zip(found, schemas, strict=True)
    return [function(one.get("name"), shape or _lower(one.get("parameters"))) for one, shape in pairs]


def _read(body: bytes, model: str, stream: bool) -> Asked:
    request = decode(body, _Request)
    calling, settings = request.tool_config.function_calling_config, request.generation_config
    shape = settings.response_json_schema or _lower(settings.response_schema)
    choice: str | Json | None = {"ANY": "required", "NONE": "none"}.get(calling.mode)
    if calling.mode == "ANY" and calling.allowed_function_names:
        choice = named(calling.allowed_function_names[0])
    return Asked(
        model=model,
        messages=[_message(content) for content in filled(request.contents, "contents")],
        stream=stream,
        max_tokens=settings.max_output_tokens,
        tools=_tools(request.tools),
        tool_choice=choice,
        response_format=schema(shape) if settings.response_mime_type == "application/json" else None,
    )


def _chunk(call: Call, parts: list[Json], finish: str | None, used: tuple[int, int], identity: str) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = _STOPS[finish]
    usage = {"promptTokenCount": used[0], "candidatesTokenCount": used[1], "totalTokenCount": sum(used)}
    return {
        "candidates": [candidate], "usageMetadata": usage, "modelVersion": call.asked.model, "responseId": identity,
    }  # fmt: skip


def _called(said: Reply) -> Json:
    return {"functionCall": {"id": said.call_id, "name": said.tool, "args": arguments(said)}}


def _answer(call: Call, said: Reply) -> Json:
    part = _called(said) if said.tool else {"text": said.text}
    return _chunk(call, [part] if said.tokens else [], said.finish, tokens(call, said), clock.token(12))


def _chunks(call: Call, said: Reply) -> list[Json]:
    """A function call comes in one piece; the last chunk with text has the finish, as Gemini does it."""
    prompt, completion = tokens(call, said)
    identity = clock.token(12)
    parts = [_called(said)] if said.tool else [{"text": token} for token in said.tokens]
    if not said.tokens:
        return [_chunk(call, [], said.finish, (prompt, 0), identity)]
    made = [_chunk(call, [part], None, (prompt, n), identity) for n, part in enumerate(parts[:-1], 1)]
    return [*made, _chunk(call, parts[-1:], said.finish, (prompt, completion), identity)]


def _frames(call: Call, said: Reply) -> Frames:
    made = [wire.event(chunk) for chunk in _chunks(call, said)]
    return Frames([], made, []) if said.tokens else Frames([], [], made)


def _array_frames(call: Call, said: Reply) -> Frames:
    made = [msgspec.json.encode(chunk) for chunk in _chunks(call, said)]
    return Frames([], [(b"," if n else b"[") + one + b"\n" for n, one in enumerate(made)], [b"]"])


def _refuse(trouble: Trouble) -> Refusal:
    status, message = trouble.status, trouble.message
    details: list[Json] = []
    if status == 401:  # a wrong key is a 400 here
        status, message = 400, "API key not valid. Please pass a valid API key."
        details = [{"@type": f"{_INFO}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    if trouble.retry:
        details = [{"@type": f"{_INFO}RetryInfo", "retryDelay": f"{trouble.retry}s"}]
    name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    body: Json = {"code": status, "message": message, "status": name}
    return status, {"error": {**body, "details": details} if details else body}, {}


VOICE = Voice("gemini", _read, _answer, _frames, _refuse, lambda trouble: [wire.event(_refuse(trouble)[1])])
ARRAY = msgspec.structs.replace(
    VOICE,
    frames=_array_frames,
    error_frames=lambda trouble: [b"[" + msgspec.json.encode(_refuse(trouble)[1]) + b"]"],
    content_type="application/json",
)
