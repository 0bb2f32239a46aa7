"""OpenAI's older Completions: `POST /v1/completions`, text in and text out."""

from __future__ import annotations

import msgspec

from understudy import clock
from understudy.sim import answers, wire
from understudy.sim.answers import Reply
from understudy.sim.asked import Asked, Refused
from understudy.sim.behaviour import Call
from understudy.sim.voices.voice import Frames, Json, Refusal, Trouble, Voice, decode


class _Request(msgspec.Struct):
    model: str
    prompt: str | list[str]
    stream: bool = False
    max_tokens: int | None = None
    stream_options: Json | None = None


def _read(body: bytes, _model: str, _stream: bool) -> Asked:
    request = decode(body, _Request)
    if isinstance(request.prompt, list) and len(request.prompt) != 1:
        raise Refused("Invalid 'prompt': the simulated provider takes one prompt at a time.", "prompt")
    text = request.prompt if isinstance(request.prompt, str) else request.prompt[0]
    return Asked(
        model=request.model,
        messages=[{"role": "user", "content": text}],
        stream=request.stream,
        stream_options=request.stream_options,
        max_tokens=request.max_tokens,
    )


def _body(call: Call, text: str, finish: str | None) -> Json:
    return {
        "id": f"cmpl-{clock.token(12)}", "object": "text_completion", "created": call.created,
        "model": call.asked.model, "system_fingerprint": "simulated",
        "choices": [{"text": text, "index": 0, "logprobs": None, "finish_reason": finish}],
    }  # fmt: skip


def _answer(call: Call, said: Reply) -> Json:
    used = {"usage": answers.usage(call.asked, said)} if said.counted else {}
    return {**_body(call, said.text, said.finish), **used}


def _frames(call: Call, said: Reply) -> Frames:
    ends = [wire.event(_body(call, "", said.finish))]
    if call.asked.wants_usage and said.counted:
        ends.append(wire.event({**_answer(call, said), "choices": []}))
    content = [wire.event(_body(call, t, "stop" if n == said.early else None)) for n, t in enumerate(said.tokens)]
    return Frames([], content, [], [*ends, wire.DONE])


def refuse(trouble: Trouble) -> Refusal:
    """OpenAI's error."""
    if trouble.told is not None:
        return trouble.told
    kind = "server_error" if trouble.status >= 500 else "invalid_request_error"
    code = {401: "invalid_api_key", 404: "model_not_found"}.get(trouble.status)
    return trouble.status, wire.error(trouble.message, kind, code), {}


VOICE = Voice("openai-completions", _read, _answer, _frames, refuse, lambda trouble: [wire.event(refuse(trouble)[1])])
