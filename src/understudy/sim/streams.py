"""The behaviours that answer, well or badly: each a function from a call to its script. The table is `table.py`.

Without `stream` a behaviour that cuts a stream cuts the body instead: the head and half of the bytes that it promised.
"""

from __future__ import annotations

import gzip as gz
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from understudy.sim import answers, wire
from understudy.sim.answers import Chunks, Reply
from understudy.sim.asked import text_of
from understudy.sim.behaviour import Call
from understudy.sim.wire import DONE, LAST_CHUNK, Ending, Script

Play = Callable[[Call], Script]


def whole(call: Call, said: Reply, **fields: Any) -> bytes:
    """A complete answer that is not a stream; `fields` replace fields of its body."""
    return wire.whole(200, msgspec.json.encode({**answers.answer(call, said), **fields}))


def stream(events: Iterable[bytes]) -> Script:
    """A complete stream: `events` as they stand, and an orderly end."""
    yield wire.stream_head()
    for event in events:
        yield wire.chunk(event)
    yield LAST_CHUNK


def events(chunks: Iterable[dict[str, Any]]) -> list[bytes]:
    return [wire.event(chunk) for chunk in chunks]


def ok(call: Call) -> Script:
    return told(call, answers.reply(call))


def told(call: Call, said: Reply) -> Script:
    """`said`, the way the client asked for it."""
    if not call.asked.stream:
        return [whole(call, said)]
    return stream([*events(answers.chunks(call, said).all()), DONE])


def altered(change: Callable[[Call, Reply], Reply], *, tool: bool = False) -> Play:
    """Answers in order, but with another reply."""
    return lambda call: told(call, change(call, answers.reply(call, force_tool=tool)))


def slow(call: Call) -> Script:
    said = answers.reply(call)
    first, between = call.seconds("first"), call.seconds("between")
    if not call.asked.stream:
        yield first + between * max(len(said.tokens) - 1, 0)
        yield whole(call, said)
        return
    parts = answers.chunks(call, said)
    yield first
    yield wire.stream_head()
    for number, chunk in enumerate(parts.opening + parts.content):
        if number > len(parts.opening):
            yield between
        yield wire.chunk(wire.event(chunk))
    for event in [*events(parts.closing), DONE]:
        yield wire.chunk(event)
    yield LAST_CHUNK


def continues(call: Call) -> Script:
    """Goes on where a trailing assistant turn stops, if that is how its answer would have begun."""
    last = call.asked.messages[-1]
    prefill = text_of(last) if last.get("role") == "assistant" else ""
    return told(call, answers.reply(call, prefill=prefill))


def thinks(call: Call) -> Script:
    """Reasoning first, in the field of vLLM and DeepSeek, or in OpenRouter's two with `field` = `reasoning`."""
    said = answers.reply(call)
    thoughts = [f"thought {i} " for i in range(call.count("thoughts"))]

    def field(text: str) -> dict[str, Any]:
        if call.values["field"] == "reasoning_content":
            return {"reasoning_content": text}
        detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
        return {"reasoning": text, "reasoning_details": [detail]}

    if not call.asked.stream:
        body = answers.answer(call, said)
        for choice in body["choices"]:
            choice["message"] |= field("".join(thoughts))
        return [wire.whole(200, msgspec.json.encode(body))]
    parts = answers.chunks(call, said)
    blank = parts.opening[0]
    thinking = [
        {**blank, "choices": [{**blank["choices"][0], "delta": {"content": "", **field(text)}}]} for text in thoughts
    ]
    return stream([*events(parts.opening + thinking + parts.content + parts.closing), DONE])


def streamed(change: Callable[[Call, Chunks], Iterable[bytes]]) -> Play:
    """A stream of other events, complete as HTTP; without `stream`, the plain answer."""

    def script(call: Call) -> Script:
        said = answers.reply(call)
        return stream(change(call, answers.chunks(call, said))) if call.asked.stream else [whole(call, said)]

    return script


def broken(
    ending: Ending, last: Callable[[Call, Chunks], Iterable[bytes]] | None = None, *, tool: bool = False
) -> Play:
    """Breaks off after `after` content events. `last` gives more raw bytes to write before the `ending`."""

    def script(call: Call) -> Script:
        said = answers.reply(call, force_tool=tool)
        if not call.asked.stream:
            body = whole(call, said)
            start = body.index(b"\r\n\r\n") + 4
            yield body[: (start + len(body)) // 2]
            yield ending
            return
        parts = answers.chunks(call, said)
        yield wire.stream_head()
        for event in events(parts.first(call.count("after"))):
            yield wire.chunk(event)
        if last is not None:
            yield from last(call, parts)
        yield ending

    return script


def _next(call: Call, parts: Chunks) -> bytes:
    """The event that would come next, with a character of several bytes in it."""
    model = parts.content[min(call.count("after"), len(parts.content) - 1)]
    choice = {**model["choices"][0], "delta": {"content": " naïve"}}
    return wire.event({**model, "choices": [choice]})


def half_event(call: Call, parts: Chunks) -> list[bytes]:
    event = _next(call, parts)
    return [wire.chunk(event[: len(event) // 2])]


def half_chunk(call: Call, parts: Chunks) -> list[bytes]:
    framed = wire.chunk(_next(call, parts))
    return [framed[: len(framed) // 2]]


def half_character(call: Call, parts: Chunks) -> list[bytes]:
    event = _next(call, parts)
    return [wire.chunk(event[: event.index("ï".encode()) + 1])]


def bad_chunk(call: Call, parts: Chunks) -> list[bytes]:
    return [b"ZZ\r\n" + _next(call, parts) + b"\r\n"]


def last_chunk(_call: Call, _parts: Chunks) -> list[bytes]:
    return [LAST_CHUNK]


def in_band(body: dict[str, Any], make: Callable[[Call, bytes], Iterable[bytes]]) -> Play:
    """An error inside a stream that began with 200, after `after` content events: `make` gives it a provider's shape.

    Without `stream` it is the body of a 200, as OpenRouter does it.
    """
    data = msgspec.json.encode(body)

    def script(call: Call) -> Script:
        said = answers.reply(call)
        if not call.asked.stream:
            return [wire.whole(200, data)]
        sent = events(answers.chunks(call, said).first(call.count("after")))
        return stream([*sent, *make(call, data)])

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


def pinged(call: Call) -> Script:
    """Comments, then the answer; with `pings` = 0 comments for ever."""
    comment = wire.chunk(b": ping\n\n")
    pings, every = call.count("pings"), call.seconds("every")
    if not call.asked.stream:
        yield every * pings if pings else Ending.HOLD
        yield whole(call, answers.reply(call))
        return
    yield wire.stream_head()
    sent = 0
    while not pings or sent < pings:
        yield comment
        yield every
        sent += 1
    parts = answers.chunks(call, answers.reply(call))
    for event in [*events(parts.all()), DONE]:
        yield wire.chunk(event)
    yield LAST_CHUNK


def malformed(call: Call, parts: Chunks) -> Iterable[bytes]:
    """Events whose JSON breaks off, `times` of them, one after each of the first content events."""
    yield from events(parts.opening)
    for number, event in enumerate(events(parts.content)):
        yield event
        if number < call.count("times"):
            yield event[: len(event) // 2].rstrip() + b"\n\n"
    yield from events(parts.closing)
    yield DONE


def early_finish(_call: Call, parts: Chunks) -> Iterable[bytes]:
    """A `finish_reason` on a content event in the middle, and more content after it."""
    middle = parts.content[len(parts.content) // 2]
    early = {**middle, "choices": [{**middle["choices"][0], "finish_reason": "stop"}]}
    replaced = [early if chunk is middle else chunk for chunk in parts.content]
    yield from events(parts.opening + replaced + parts.closing)
    yield DONE


def usage_always(call: Call, parts: Chunks) -> Iterable[bytes]:
    """Running usage in every chunk, asked for or not; the last has the total."""
    prompt = answers.usage(call.asked, Reply([]))["prompt_tokens"]
    for number, chunk in enumerate(c for c in parts.all() if c["choices"]):
        done = min(max(number - len(parts.opening) + 1, 0), len(parts.content))
        used = {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}
        yield wire.event({**chunk, "usage": used})
    yield DONE


def usage_never(call: Call) -> Script:
    said = answers.reply(call)
    if not call.asked.stream:
        body = {k: v for k, v in answers.answer(call, said).items() if k != "usage"}
        return [wire.whole(200, msgspec.json.encode(body))]
    kept = [{k: v for k, v in c.items() if k != "usage"} for c in answers.chunks(call, said).all() if c["choices"]]
    return stream([*events(kept), DONE])


def crlf(_call: Call, parts: Chunks) -> Iterable[bytes]:
    return [event.replace(b"\n", b"\r\n") for event in [*events(parts.all()), DONE]]


def split(call: Call, parts: Chunks) -> Iterable[bytes]:
    """The stream in HTTP chunks of `size` bytes, whatever that cuts through."""
    data = b"".join([*events(parts.all()), DONE])
    size = max(call.count("size"), 1)
    return [data[i : i + size] for i in range(0, len(data), size)]


def gzipped(call: Call) -> Script:
    """Compressed though nobody asked; a stream is flushed after each event."""
    said = answers.reply(call)
    encoding = {"content-encoding": "gzip"}
    if not call.asked.stream:
        yield wire.whole(200, gz.compress(msgspec.json.encode(answers.answer(call, said)), mtime=0), encoding)
        return
    packer = zlib.compressobj(wbits=31)
    yield wire.stream_head(encoding)
    for event in [*events(answers.chunks(call, said).all()), DONE]:
        yield wire.chunk(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield wire.chunk(packer.flush())
    yield LAST_CHUNK


def another_model(call: Call) -> Script:
    other = msgspec.structs.replace(call.asked, model=str(call.values["model"]))
    return ok(msgspec.structs.replace(call, asked=other))
