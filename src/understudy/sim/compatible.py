"""What only single servers do that speak `openai-chat` otherwise than OpenAI: in that dialect alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from understudy.sim import answers, wire
from understudy.sim.answers import Reply
from understudy.sim.behaviour import Call
from understudy.sim.streams import Play, stream
from understudy.sim.voices.voice import Frames, Json, Voice
from understudy.sim.wire import DONE, Script


def error_in_stream(body: Json, make: Callable[[Call, bytes], Iterable[bytes]]) -> Play:
    """An error inside a stream, after `after` pieces of content: `make` gives it a server's own shape.

    Without `stream` it is the body of a 200, as OpenRouter does it.
    """
    data = msgspec.json.encode(body)

    def script(voice: Voice, call: Call) -> Script:
        said = answers.reply(call)
        if not call.asked.stream:
            return [wire.whole(200, data)]
        return _broken(voice, call, said)

    def _broken(voice: Voice, call: Call, said: Reply) -> Script:
        after = call.count("after")
        *steps, end = stream(voice, voice.frames(call, said).first(after))
        yield from steps
        if after and (pause := call.seconds("pause")):
            yield pause
        for event in make(call, data):
            yield wire.chunk(event)
        yield end

    return script


def openrouter_error(call: Call, data: bytes) -> list[bytes]:
    """OpenRouter puts the error beside a last choice that finishes with `error`."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error", "logprobs": None}
    chunk = {
        "id": call.id,
        "provider": "Simulated",
        "object": "chat.completion.chunk",
        "created": call.created,
        "model": call.asked.model,
        "choices": [{**choice, "native_finish_reason": "error"}],
        **msgspec.json.decode(data),
    }
    return [b": OPENROUTER PROCESSING\n\n", wire.event(chunk), DONE]


def usage_always(_voice: Voice, call: Call, frames: Frames) -> Iterable[bytes]:
    """Running usage in every chunk, asked for or not; the last has the total."""
    prompt = answers.usage(call.asked, Reply([]))["prompt_tokens"]
    chunks: list[dict[str, Any]] = [
        msgspec.json.decode(frame.removeprefix(b"data: ")) for frame in frames.all() if frame != DONE
    ]
    for number, chunk in enumerate(c for c in chunks if c["choices"]):
        done = min(max(number - len(frames.opening) + 1, 0), len(frames.content))
        used = {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}
        yield wire.event({**chunk, "usage": used})
    yield DONE
