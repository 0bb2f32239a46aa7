"""Cohere's second chat API: `POST /v2/chat`, named server-sent events."""

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
    decode,
    event,
    filled,
    schema,
    tokens,
)  # fmt: skip

_STOPS = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL"}


class _Request(msgspec.Struct):
    model: str
    messages: list[Json]
    stream: bool = False
    max_tokens: int | None = None
    tools: list[Json] | None = None
    tool_choice: str | None = None
    response_format: Json | None = None


def _read(body: bytes, _model: str, _stream: bool) -> Asked:
    request = decode(body, _Request)
    shape = request.response_format or {}
    return Asked(
        model=request.model,
        messages=filled(request.messages),
        stream=request.stream,
        max_tokens=request.max_tokens,
        tools=request.tools,
        tool_choice={"REQUIRED": "required", "NONE": "none"}.get(request.tool_choice or ""),
        response_format=schema(shape.get("json_schema")) if shape.get("type") == "json_object" else None,
    )


def _usage(call: Call, said: Reply) -> Json:
    prompt, completion = tokens(call, said)
    counted = {"input_tokens": prompt, "output_tokens": completion}
    return {"billed_units": counted, "tokens": counted}


def _called(said: Reply, text: str) -> Json:
    return {"id": said.call_id, "type": "function", "function": {"name": said.tool, "arguments": text}}


def _answer(call: Call, said: Reply) -> Json:
    message: Json = {"role": "assistant"}
    thinking = [{"type": "thinking", "thinking": "".join(said.thoughts)}] if said.thoughts else []
    if said.tool:
        message |= {"tool_plan": "I will use a simulated tool.", "tool_calls": [_called(said, said.text)]}
    else:
        message["content"] = [*thinking, *([{"type": "text", "text": said.text}] if said.tokens else [])]
    return {
        "id": clock.token(12), "finish_reason": _STOPS[said.finish], "message": message,
        **({"usage": _usage(call, said)} if said.counted else {}),
    }  # fmt: skip


def _frames(call: Call, said: Reply) -> Frames:
    def made(kind: str, message: Any = None, **fields: Any) -> bytes:
        delta = {} if message is None else {"delta": {"message": message}}
        return event({"type": kind, **fields, **delta})

    def block(kind: str, texts: list[str], index: int) -> tuple[bytes, list[bytes], bytes]:
        start = made("content-start", {"content": {"type": kind, kind: ""}}, index=index)
        deltas = [made("content-delta", {"content": {kind: text}}, index=index) for text in texts]
        return start, deltas, made("content-end", index=index)

    blank: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    opening = [made("message-start", blank, id=clock.token(12))]
    counted = {"usage": _usage(call, said)} if said.counted else {}
    ends = [event({"type": "message-end", "delta": {"finish_reason": _STOPS[said.finish], **counted}})]
    if said.thoughts:
        start, deltas, end = block("thinking", said.thoughts, 0)
        opening += [start, *deltas, end]
    if not said.tokens:
        return Frames(opening, [], [], ends)
    if said.tool:
        opening.append(made("tool-call-start", {"tool_calls": _called(said, "")}, index=0))
        content = [
            made("tool-call-delta", {"tool_calls": {"function": {"arguments": token}}}, index=0)
            for token in said.tokens
        ]
        return Frames(opening, content, [made("tool-call-end", index=0)], ends)
    start, content, end = block("text", said.tokens, 1 if said.thoughts else 0)
    return Frames([*opening, start], content, [end], ends)


def _refuse(trouble: Trouble) -> Refusal:
    status, body, headers = trouble.told or (trouble.status, {"message": trouble.message}, {})
    return status, {"id": clock.token(12), **body}, headers


def _error_frames(trouble: Trouble) -> list[bytes]:
    return [
        event({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": _refuse(trouble)[1]["message"]}})
    ]


VOICE = Voice("cohere-chat", _read, _answer, _frames, _refuse, _error_frames)
