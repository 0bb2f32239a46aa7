"""Ollama's chat: `POST /api/chat`, streamed as lines of JSON unless the request says otherwise."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

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
    filled,
    schema,
    tokens,
)  # fmt: skip


class _Options(msgspec.Struct):
    num_predict: int | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[Json]
    stream: bool | None = True
    tools: list[Json] | None = None
    format: str | Json | None = None
    options: _Options | None = None


def _read(body: bytes, _model: str, _stream: bool) -> Asked:
    request = decode(body, _Request)
    limit = request.options.num_predict if request.options else None
    return Asked(
        model=request.model,
        messages=filled(request.messages),
        stream=request.stream is not False,
        max_tokens=limit if limit is not None and limit >= 0 else None,  # -1 is "no limit" here
        tools=request.tools,
        response_format=schema(request.format) if request.format else None,
    )


def _line(call: Call, message: Json, **fields: Any) -> Json:
    at = dt.datetime.fromtimestamp(call.created, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"role": "assistant", "content": "", **message}
    return {"model": call.asked.model, "created_at": at, "message": said, "done": False, **fields}


def _end(call: Call, said: Reply) -> Json:
    prompt, completion = tokens(call, said)
    return {
        "done": True, "done_reason": "length" if said.finish == "length" else "stop", "total_duration": 1_000_000,
        "load_duration": 1000, "prompt_eval_count": prompt, "prompt_eval_duration": 1000, "eval_count": completion,
        "eval_duration": 1000,
    }  # fmt: skip


def _message(said: Reply) -> Json:
    if said.tool:
        return {"tool_calls": [{"id": said.call_id, "function": {"name": said.tool, "arguments": arguments(said)}}]}
    return {"content": said.text}


def _answer(call: Call, said: Reply) -> Json:
    return _line(call, _message(said), **_end(call, said))


def _frames(call: Call, said: Reply) -> Frames:
    pieces = [_message(said)] if said.tool else [{"content": token} for token in said.tokens]
    made = [_json(_line(call, piece)) for piece in pieces] if said.tokens else []
    return Frames([], made, [_json(_line(call, {}, **_end(call, said)))])


def _json(data: Json) -> bytes:
    return msgspec.json.encode(data) + b"\n"


def _refuse(trouble: Trouble) -> Refusal:
    return trouble.status, {"error": trouble.message}, {}


VOICE = Voice(
    "ollama", _read, _answer, _frames, _refuse, lambda trouble: [_json({"error": trouble.message})],
    "application/x-ndjson",
)  # fmt: skip
