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


def _common(call: Call, said: Reply, completion: int, identity: str) -> Json:
    prompt = tokens(call, said)[0]
    usage = {"promptTokenCount": prompt, "candidatesTokenCount": completion, "totalTokenCount": prompt + completion}
    counted = {"usageMetadata": usage} if said.counted else {}
    return {**counted, "modelVersion": call.asked.model, "responseId": identity}


def _finish(said: Reply) -> str:
    """A call whose arguments are no JSON is not told at all, only that there was one."""
    return "MALFORMED_FUNCTION_CALL" if said.broken else _STOPS[said.finish]


def _parts(said: Reply) -> list[Json]:
    """What is said, piece by piece. A function call comes in one."""
    if said.broken or not said.tokens:
        return []
    if said.tool:
        return [{"functionCall": {"id": said.call_id, "name": said.tool, "args": arguments(said)}}]
    return [{"text": token} for token in said.tokens]


def _answer(call: Call, said: Reply) -> Json:
    common = _common(call, said, tokens(call, said)[1], clock.token(12))
    if said.finish == "blocked":
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **common}
    thoughts = [{"text": "".join(said.thoughts), "thought": True}] if said.thoughts else []
    text = _parts(said) if said.tool or not said.tokens else [{"text": said.text}]
    content = {"role": "model", "parts": [*thoughts, *text]}
    return {"candidates": [{"content": content, "finishReason": _finish(said), "index": 0}], **common}


def _chunks(call: Call, said: Reply) -> tuple[list[Json], list[Json], Json]:
    """Thoughts, content, and the last chunk, which has the finish and no words."""
    identity = clock.token(12)
    completion = tokens(call, said)[1]

    def made(part: Json | None, count: int, finish: str | None = None) -> Json:
        candidate: Json = {"content": {"role": "model", "parts": [part] if part else []}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], **_common(call, said, count, identity)}

    thoughts = [made({"text": text, "thought": True}, 0) for text in said.thoughts]
    content = [made(part, n, "STOP" if n - 1 == said.early else None) for n, part in enumerate(_parts(said), 1)]
    if said.finish == "blocked":
        return [], [], {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **_common(call, said, 0, identity)}
    return thoughts, content, made({"text": ""} if said.tokens else None, completion, _finish(said))


def _frames(call: Call, said: Reply) -> Frames:
    opening, content, end = _chunks(call, said)
    return Frames([*map(wire.event, opening)], [*map(wire.event, content)], [], [wire.event(end)])


def _array_frames(call: Call, said: Reply) -> Frames:
    opening, content, end = _chunks(call, said)
    made = [msgspec.json.encode(chunk) for chunk in (*opening, *content, end)]
    made = [(b"," if n else b"[") + one + b"\n" for n, one in enumerate(made)]
    begun = len(opening)
    return Frames(made[:begun], made[begun:-1], [], [made[-1], b"]"])


def _refuse(trouble: Trouble) -> Refusal:
    if trouble.told is not None:
        return trouble.told
    status, message = trouble.status, trouble.message
    details: list[Json] = []
    if status == 401:  # a wrong key is a 400 here
        status, message = 400, "API key not valid. Please pass a valid API key."
        details = [{"@type": f"{_INFO}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "FAILED_PRECONDITION")
    body: Json = {"code": status, "message": message, "status": name}
    return status, {"error": {**body, "details": details} if details else body}, {}


VOICE = Voice("gemini", _read, _answer, _frames, _refuse, lambda trouble: [wire.event(_refuse(trouble)[1])])
ARRAY = msgspec.structs.replace(
    VOICE,
    frames=_array_frames,
    error_frames=lambda trouble: [b"[" + msgspec.json.encode(_refuse(trouble)[1]) + b"]"],
    content_type="application/json",
    ping=None,
)
