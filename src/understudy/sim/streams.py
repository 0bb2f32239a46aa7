"""The behaviours that answer, well or badly: each a function from a voice and a call to its script, in any dialect.

Without `stream` a behaviour that cuts a stream cuts the body instead: the head and half of the bytes that it promised.
What only compatible servers do is in `compatible.py`, the table is `table.py`.
"""

from __future__ import annotations

import gzip as gz
import zlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from understudy.sim import answers, wire
from understudy.sim.answers import Manner, Reply
from understudy.sim.behaviour import Call
from understudy.sim.refusals import refused, trouble
from understudy.sim.voices.voice import Frames, Voice
from understudy.sim.wire import LAST_CHUNK, Ending, Headers, Script

Play = Callable[[Voice, Call], Script]
Last = Callable[[Voice, Call, Reply, int], list[bytes]]
"""Raw bytes to write after so many pieces of content."""


def head(voice: Voice, headers: Headers | None = None) -> bytes:
    return wire.stream_head({"content-type": voice.content_type, **(headers or {})})


def body_of(voice: Voice, call: Call, said: Reply) -> bytes:
    return msgspec.json.encode(voice.answer(call, said))


def whole(voice: Voice, call: Call, said: Reply) -> bytes:
    """A complete answer that is not a stream."""
    return wire.whole(200, body_of(voice, call, said))


def stream(voice: Voice, frames: Iterable[bytes]) -> Script:
    """A complete stream: `frames` as they stand, and an orderly end."""
    yield head(voice)
    for frame in frames:
        yield wire.chunk(frame)
    yield LAST_CHUNK


def told(voice: Voice, call: Call, said: Reply) -> Script:
    """`said`, the way the client asked for it."""
    if not call.asked.stream:
        return [whole(voice, call, said)]
    return stream(voice, voice.frames(call, said).all())


def answered(manner: Manner = "continues") -> Play:
    """In order. `manner` is what is made of a request to continue an answer that was cut."""
    return lambda voice, call: told(voice, call, answers.reply(call, manner=manner))


ok = answered()


def no_prefill(voice: Voice, call: Call) -> Script:
    """The provider's 400 to a trailing assistant turn; other calls are answered."""
    return [refused("no-prefill", voice, call)] if call.asked.last_role == "assistant" else ok(voice, call)


def altered(change: Callable[[Call, Reply], Reply], *, tool: bool = False) -> Play:
    """Answers in order, but with another reply."""
    return lambda voice, call: told(voice, call, change(call, answers.reply(call, force_tool=tool)))


def slow(voice: Voice, call: Call) -> Script:
    said = answers.reply(call)
    first, between = call.seconds("first"), call.seconds("between")
    if not call.asked.stream:
        yield first + between * max(len(said.tokens) - 1, 0)
        yield whole(voice, call, said)
        return
    frames = voice.frames(call, said)
    yield first
    yield head(voice)
    for number, frame in enumerate(frames.opening + frames.content):
        if number > len(frames.opening):
            yield between
        yield wire.chunk(frame)
    for frame in (*frames.closing, *frames.ends):
        yield wire.chunk(frame)
    yield LAST_CHUNK


def streamed(change: Callable[[Voice, Call, Frames], Iterable[bytes]]) -> Play:
    """A stream of other events, complete as HTTP; without `stream`, the plain answer."""

    def script(voice: Voice, call: Call) -> Script:
        said = answers.reply(call)
        if not call.asked.stream:
            return [whole(voice, call, said)]
        return stream(voice, change(voice, call, voice.frames(call, said)))

    return script


def _begun(call: Call, said: Reply) -> tuple[Reply, int]:
    """How much is said before it breaks: `after` pieces, or as many as make up `truncate_after` characters."""
    if (characters := call.count("truncate_after")) and not said.tool:
        return answers.cut_at(said, characters)
    return said, call.count("after")


def _paused(call: Call, count: int) -> Iterator[float]:
    """A breath, so that what was said has gone on to the client before it breaks."""
    if count and (pause := call.seconds("pause")):
        yield pause


def broken(ending: Ending, last: Last | None = None, *, tool: bool = False) -> Play:
    """Breaks off after `after` pieces of content. `last` gives more raw bytes to write before the `ending`."""

    def script(voice: Voice, call: Call) -> Script:
        said = answers.reply(call, force_tool=tool)
        if not call.asked.stream:
            answer = whole(voice, call, said)
            yield answer[: (answer.index(b"\r\n\r\n") + 4 + len(answer)) // 2]
            yield ending
            return
        said, count = _begun(call, said)
        yield head(voice)
        for frame in voice.frames(call, said).first(count):
            yield wire.chunk(frame)
        yield from _paused(call, count)
        if last is not None:
            yield from last(voice, call, said, count)
        yield ending

    return script


def _next(voice: Voice, call: Call, said: Reply, count: int) -> bytes:
    """The event that would come next, with a character of several bytes in it."""
    if said.tool:
        frames = voice.frames(call, said)
        return (frames.content[count:] or frames.ends)[0]
    more = msgspec.structs.replace(said, tokens=[*said.tokens[:count], " naïve"])
    return voice.frames(call, more).content[-1]


def half_event(voice: Voice, call: Call, said: Reply, count: int) -> list[bytes]:
    event = _next(voice, call, said, count)
    return [wire.chunk(event[: len(event) // 2])]


def half_chunk(voice: Voice, call: Call, said: Reply, count: int) -> list[bytes]:
    framed = wire.chunk(_next(voice, call, said, count))
    return [framed[: len(framed) // 2]]


def half_character(voice: Voice, call: Call, said: Reply, count: int) -> list[bytes]:
    event = _next(voice, call, said, count)
    return [wire.chunk(event[: event.index("ï".encode()) + 1])]


def bad_chunk(voice: Voice, call: Call, said: Reply, count: int) -> list[bytes]:
    return [b"ZZ\r\n" + _next(voice, call, said, count) + b"\r\n"]


def last_chunk(_voice: Voice, _call: Call, _said: Reply, _count: int) -> list[bytes]:
    return [LAST_CHUNK]


def tool_cut(voice: Voice, call: Call) -> Script:
    """Closes amid the arguments of a tool call; where those come in one piece, in the middle of it."""
    pieces = len(voice.frames(call, answers.reply(call, force_tool=True)).content)
    if pieces > 1:
        return broken(Ending.CLOSE, tool=True)(voice, call)
    before = msgspec.structs.replace(call, values={**call.values, "after": 0})
    return broken(Ending.CLOSE, half_event, tool=True)(voice, before)


def in_band(voice: Voice, call: Call) -> Script:
    """The error named by `kind` inside a stream that began with 200. Without a stream there is no band: it is plain."""
    kind = str(call.values["kind"])
    if not call.asked.stream:
        yield refused(kind, voice, call)
        return
    said, count = _begun(call, answers.reply(call))
    yield head(voice)
    for frame in voice.frames(call, said).first(count):
        yield wire.chunk(frame)
    yield from _paused(call, count)
    for frame in voice.error_frames(trouble(kind, voice, call)):
        yield wire.chunk(frame)
    yield LAST_CHUNK


def pinged(voice: Voice, call: Call) -> Script:
    """Signs of life after `after` pieces of content, then the rest; with `pings` = 0 signs of life for ever."""
    said = answers.reply(call)
    pings, every, after = call.count("pings"), call.seconds("every"), call.count("after")
    if not call.asked.stream:
        yield every * pings if pings else Ending.HOLD
        yield whole(voice, call, said)
        return
    frames = voice.frames(call, said)
    begun = frames.first(after)
    yield head(voice)
    for frame in begun:
        yield wire.chunk(frame)
    sent = 0
    while not pings or sent < pings:
        yield wire.chunk(voice.ping or b"\n")
        yield every
        sent += 1
    for frame in frames.all()[len(begun) :]:
        yield wire.chunk(frame)
    yield LAST_CHUNK


def malformed(voice: Voice, call: Call) -> Script:
    """`times` events whose JSON breaks off, after `after` pieces of content; then the rest in order."""
    said = answers.reply(call)
    if not call.asked.stream:
        yield whole(voice, call, said)
        return
    frames = voice.frames(call, said)
    after = call.count("after")
    begun = frames.first(after)
    yield head(voice)
    for frame in begun:
        yield wire.chunk(frame)
    yield from _paused(call, after)
    for _ in range(call.count("times")):
        yield wire.chunk(voice.torn(frames.content[0]))
    for frame in frames.all()[len(begun) :]:
        yield wire.chunk(frame)
    yield LAST_CHUNK


def unfinished(voice: Voice, call: Call) -> Script:
    """All the content, and an orderly end of HTTP, but nothing that says the answer is whole."""
    said = answers.reply(call)
    if not call.asked.stream:
        return [whole(voice, call, said)]
    frames = voice.frames(call, said)
    # the SSE terminator of OpenAI's older dialects says that the stream is over, not that the answer is whole
    done = [wire.DONE] if wire.DONE in frames.ends else []
    return stream(voice, [*frames.opening, *frames.content, *frames.closing, *done])


def no_done(_voice: Voice, _call: Call, frames: Frames) -> Iterable[bytes]:
    return [frame for frame in frames.all() if frame != wire.DONE]


def crlf(_voice: Voice, _call: Call, frames: Frames) -> Iterable[bytes]:
    return [frame.replace(b"\n", b"\r\n") for frame in frames.all()]


def split(_voice: Voice, call: Call, frames: Frames) -> Iterable[bytes]:
    """The stream in HTTP chunks of `size` bytes, whatever that cuts through."""
    data = b"".join(frames.all())
    size = max(call.count("size"), 1)
    return [data[i : i + size] for i in range(0, len(data), size)]


def gzipped(voice: Voice, call: Call) -> Script:
    """Compressed though nobody asked; a stream is flushed after each event."""
    said = answers.reply(call)
    encoding = {"content-encoding": "gzip"}
    if not call.asked.stream:
        yield wire.whole(200, gz.compress(body_of(voice, call, said), mtime=0), encoding)
        return
    packer = zlib.compressobj(wbits=31)
    yield head(voice, encoding)
    for frame in voice.frames(call, said).all():
        yield wire.chunk(packer.compress(frame) + packer.flush(zlib.Z_SYNC_FLUSH))
    yield wire.chunk(packer.flush())
    yield LAST_CHUNK


def another_model(voice: Voice, call: Call) -> Script:
    other = msgspec.structs.replace(call.asked, model=str(call.values["model"]))
    return ok(voice, msgspec.structs.replace(call, asked=other))


def queued(voice: Voice, call: Call) -> Script:
    """A job that is only ever waiting for its turn."""
    if not call.asked.stream:
        return [Ending.HOLD]
    said = Reply([], "queued")
    return [head(voice), *map(wire.chunk, voice.frames(call, said).opening), Ending.HOLD]


def short_body(voice: Voice, call: Call) -> Script:
    """The body of an answer, whole, under a head that promises more."""
    body = body_of(voice, call, answers.reply(call))
    return [wire.whole(200, body, {"content-length": str(len(body) + 100)}), Ending.CLOSE]


def cut_json(voice: Voice, call: Call) -> Script:
    body = body_of(voice, call, answers.reply(call))
    return [wire.whole(200, body[: len(body) // 2])]


def big_head(voice: Voice, call: Call) -> Script:
    body = body_of(voice, call, answers.reply(call))
    return [wire.whole(200, body, {"x-padding": "x" * (call.count("kib") * 1024)})]
