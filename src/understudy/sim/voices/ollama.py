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
    counted = {"prompt_eval_count": prompt, "eval_count": completion} if said.counted else {}
    return {
        "done": True, "done_reason": "length" if said.finish == "length" else "stop", "total_duration": 1_000_000,
        "load_duration": 1000, "prompt_eval_duration": 1000, "eval_duration": 1000, **counted,
    }  # fmt: skip


def _message(said: Reply) -> Json:
    """A tool call is told only when its arguments are whole; one that was cut is not told at all."""
    if said.tool:
        function = {"name": said.tool, "arguments": arguments(said)}
        return {} if said.broken else {"tool_calls": [{"id": said.call_id, "function": function}]}
    return {"content": said.text}


def _answer(call: Call, said: Reply) -> Json:
    thinking = {"thinking": "".join(said.thoughts)} if said.thoughts else {}
    return _line(call, {**_message(said), **thinking}, **_end(call, said))


def _frames(call: Call, said: Reply) -> Frames:
    whole = _message(said)
    pieces = [whole] if said.tool else [{"content": token} for token in said.tokens]
    return Frames(
        [_json(_line(call, {"thinking": text})) for text in said.thoughts],
        [_json(_line(call, piece)) for piece in pieces if said.tokens and piece],
        [],
        [_json(_line(call, {}, **_end(call, said)))],
    )


def _torn(line: bytes) -> bytes:
    return line[: len(line) // 2].rstrip() + b"\n"


def _json(data: Json) -> bytes:
    return msgspec.json.encode(data) + b"\n"


def _refuse(trouble: Trouble) -> Refusal:
    return trouble.told or (trouble.status, {"error": trouble.message}, {})


VOICE = Voice(
    "ollama", _read, _answer, _frames, _refuse, lambda trouble: [_json(_refuse(trouble)[1])],
    "application/x-ndjson", ping=None, torn=_torn,
)  # fmt: skip
