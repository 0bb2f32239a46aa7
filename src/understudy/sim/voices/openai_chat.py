"""OpenAI's Chat Completions: `POST /v1/chat/completions`, server-sent events that end with `[DONE]`.

Reasoning comes in the field of vLLM and DeepSeek, or in OpenRouter's two: OpenAI shows none here. What compatible
servers do otherwise than OpenAI is in `compatible.py`.
"""

from __future__ import annotations

from typing import Any

from understudy.sim import wire
from understudy.sim.answers import Reply, usage
from understudy.sim.asked import Asked, read
from understudy.sim.behaviour import Call
from understudy.sim.voices.voice import Frames, Json, Refusal, Trouble, Voice

_REQUEST = "invalid_request_error"


def _likelihoods(asked: Asked, said: Reply, tokens: list[str]) -> Json | None:
    if not asked.logprobs or said.tool:
        return None

    def one(token: str, logprob: float) -> Json:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    def several(token: str) -> list[Json]:
        top = min(max(asked.top_logprobs or 0, 0), 20)
        return [one(token if i == 0 else f"{token}{i}", -0.125 * (i + 1)) for i in range(top)]

    entries = [{**one(token, -0.125), "top_logprobs": several(token)} for token in tokens]
    return {said.field: entries, "refusal" if said.field == "content" else "content": None}


def _tool_call(said: Reply, arguments: str) -> Json:
    kind, field = ("custom", "input") if said.custom else ("function", "arguments")
    return {"id": said.call_id, "type": kind, kind: {"name": said.tool, field: arguments}}


def thought(call: Call, text: str) -> Json:
    """Reasoning, in the field of the server that is simulated."""
    if call.values.get("field", "reasoning_content") == "reasoning_content":
        return {"reasoning_content": text}
    detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
    return {"reasoning": text, "reasoning_details": [detail]}


def _answer(call: Call, said: Reply) -> Json:
    message: Json = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if said.tool:
        message["tool_calls"] = [_tool_call(said, said.text)]
    else:
        message[said.field] = said.text
    if said.thoughts:
        message |= thought(call, "".join(said.thoughts))
    logprobs = _likelihoods(call.asked, said, said.tokens)
    choices = [
        {"index": index, "message": message, "logprobs": logprobs, "finish_reason": said.finish}
        for index in range(call.asked.choices)
    ]
    used = {"usage": usage(call.asked, said)} if said.counted else {}
    return {**_common(call, "chat.completion"), "choices": choices, **used}


def _common(call: Call, kind: str) -> Json:
    return {
        "id": call.id,
        "object": kind,
        "created": call.created,
        "model": call.asked.model,
        "service_tier": "default",
        "system_fingerprint": "simulated",
    }


def _frames(call: Call, said: Reply) -> Frames:
    """The answer as `chat.completion.chunk`s. With `include_usage` each has `usage`, null but for the last."""
    counts = call.asked.wants_usage and said.counted
    extra = {"usage": None} if counts else {}

    def made(index: int, delta: Json, finish: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return wire.event({**_common(call, "chat.completion.chunk"), "choices": [choice], **extra})

    every = range(call.asked.choices)
    opening: Json = {"role": "assistant", "content": None if said.tool else "", "refusal": None}
    if said.tool:
        opening["tool_calls"] = [{"index": 0, **_tool_call(said, "")}]
    ends = [made(index, {}, said.finish) for index in every]
    if counts:
        last = {**_common(call, "chat.completion.chunk"), "choices": [], "usage": usage(call.asked, said)}
        ends.append(wire.event(last))
    return Frames(
        opening=[
            *(made(index, opening) for index in every),
            *(made(0, {"content": "", **thought(call, text)}) for text in said.thoughts),
        ],
        content=[
            made(index, _delta(said, token), "stop" if n == said.early else None,
                 _likelihoods(call.asked, said, [token]))
            for index in every
            for n, token in enumerate(said.tokens)
        ],
        closing=[],
        ends=[*ends, wire.DONE],
    )  # fmt: skip


def _delta(said: Reply, token: str) -> Json:
    if said.tool is None:
        return {said.field: token}
    kind, field = ("custom", "input") if said.custom else ("function", "arguments")
    return {"tool_calls": [{"index": 0, kind: {field: token}}]}


def _refuse(trouble: Trouble) -> Refusal:
    if trouble.told is not None:
        return trouble.told
    kind = "server_error" if trouble.status >= 500 else _REQUEST
    code = trouble.code or {401: "invalid_api_key", 404: "model_not_found"}.get(trouble.status)
    return trouble.status, wire.error(trouble.message, kind, code, trouble.param), {}


VOICE = Voice(
    "openai-chat",
    lambda body, _model, _stream: read(body),
    _answer,
    _frames,
    _refuse,
    lambda trouble: [wire.event(_refuse(trouble)[1])],
)
