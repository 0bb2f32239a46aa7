"""Reading an answer that is passed on as it came: just enough to know content, faults and the end.

Where client and provider speak the same dialect nothing is translated, so nothing is decoded whole. `Watch` cuts a
stream at event boundaries (a half event is never passed on, so that an error event can follow a broken stream), checks
that each event is JSON, and notes content, finish and in-band errors. The usual case, many `data:` events in one piece,
is one call of msgspec for all of them: a raw newline cannot stand inside JSON, so replacing the framing between two
events by a comma makes one array of them. Whatever does not fit that shape is read event by event.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import msgspec

from understudy.canon import Fault, Usage
from understudy.dialects.openai_chat.answer import decode_usage
from understudy.dialects.openai_chat.fault import decode_fault

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that are not the JSON it was told to expect, however deep."""

LARGEST_EVENT = 16 * 1024 * 1024
"""Bytes of an unfinished event that are kept before the stream counts as unreadable."""

_DONE = b"data: [DONE]\n\n"
# Two line ends in a row, each LF, CR or CRLF. Atomic groups, or else one CRLF would count as two ends.
_BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)+")
_LINE = re.compile(rb"\r\n|\n|\r")


class _Message(msgspec.Struct, gc=False):
    """Whatever of a message or delta is content. Any: what matters here is that it is there, not that it is right."""

    content: Any = None
    tool_calls: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: Any = None
    index: int | None = 0
    delta: _Message | None = None
    message: _Message | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    error: Any = None
    object: Any = None
    usage: Any = None
    service_tier: Any = None


class _Named(msgspec.Struct, gc=False):
    """What a chunk says of who answers. Every one says it: read of the first only."""

    model: str = ""


_CHUNK = msgspec.json.Decoder(_Chunk)
_CHUNKS = msgspec.json.Decoder(list[_Chunk])


class Watch:
    """What passes by on one stream. Feed it bytes, send on what it returns.

    `content`: some content has been seen. `moved`: there was some in the last piece (the reader resets it). `finish`:
    the last finish reason. `done`: the stream is complete. `fault`: it is broken; nothing after it is passed on.
    `skipped`: malformed events left out, at most one.
    """

    __slots__ = (
        "_first", "_open", "_partial", "_tier", "_usage", "content", "done", "fault", "finish", "moved", "skipped",
    )  # fmt: skip

    def __init__(self) -> None:
        self._partial = b""
        self._open: set[int | None] = set()
        self._usage: Any = None
        self._tier: Any = None
        self._first = b""
        self.content = False
        self.moved = False
        self.finish: str | None = None
        self.done = False
        self.fault: Fault | None = None
        self.skipped = 0

    @property
    def usage(self) -> Usage | None:
        """What the stream said of its tokens, last."""
        return decode_usage(self._usage) if isinstance(self._usage, dict) else None

    @property
    def tier(self) -> str | None:
        """The service tier that the stream named, last."""
        return self._tier if isinstance(self._tier, str) else None

    @property
    def answered_by(self) -> str:
        """The model that the stream named first."""
        for line in _LINE.split(self._first):
            if line.startswith(b"data:"):
                with contextlib.suppress(*_UNREADABLE):
                    return msgspec.json.decode(line[5:], type=_Named).model
        return ""

    @property
    def whole(self) -> bool:
        """Whether every choice that began has finished: what may still come (usage, `[DONE]`) is not missed."""
        return self.finish is not None and not self._open

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived; returns the whole events in it, as they came."""
        if self._partial:
            data = self._partial + data
        end = data.rfind(b"\n\n") + 2
        if end < 2 or b"\r" in data:
            end = _last_boundary(data)
            if end == 0:
                return self._keep(data)
        if end == len(data):
            ready, self._partial = data, b""
        else:
            ready, self._partial = data[:end], data[end:]
        if not self._first:
            self._first = ready
        finished = ready.endswith(_DONE)
        events = ready[6 : -2 - len(_DONE)] if finished else ready[6:-2]
        if ready.startswith(b"data: {") and events:
            try:
                chunks = _CHUNKS.decode(b"[%b]" % events.replace(b"\n\ndata: ", b","))
            except _UNREADABLE:
                return self._each(ready)
            for chunk in chunks:
                if chunk.error or (not chunk.choices and chunk.object == "error"):
                    return self._each(ready)
                self._note(chunk)
            if finished:
                self._end()
                if self.fault is not None:  # a client may stop at `[DONE]`, and must not see one
                    return ready[: -len(_DONE)]
            return ready
        return self._each(ready)

    def close(self) -> bytes:
        """The provider has closed the stream. Returns what was still held, and sets `done` or `fault`."""
        rest, self._partial = self._partial, b""
        ready = self._each(rest + b"\n\n") if rest.strip() else b""
        if not self.done and self.fault is None:
            self._end()
        return ready

    def _keep(self, data: bytes) -> bytes:
        if len(data) > LARGEST_EVENT:
            self.fault = Fault("malformed_events", message="One event is larger than 16 MiB.", phase="stream")
        else:
            self._partial = data
        return b""

    def _end(self) -> None:
        """In order only if every choice that began has finished; `[DONE]` alone proves nothing."""
        if self._open or (self.finish is None and self.content):
            self.fault = Fault("stream_cut", message="The stream ended before the answer did.", phase="stream")
        else:
            self.done = True

    def _note(self, chunk: _Chunk) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.service_tier is not None:
            self._tier = chunk.service_tier
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None and (delta.content or _has_content(delta)):
                self.content = self.moved = True
                if choice.finish_reason is None:
                    self._open.add(choice.index)
            if choice.finish_reason is not None:
                self.finish = choice.finish_reason
                self._open.discard(choice.index)

    def _each(self, ready: bytes) -> bytes:
        """The slow way, event by event: returns `ready` without what is malformed or comes after a fault."""
        kept: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(ready):
            block = ready[start : boundary.end()]
            start = boundary.end()
            if self.done or self.fault is not None:
                break
            if self._event(block):
                kept.append(block)
        return b"".join(kept)

    def _event(self, block: bytes) -> bool:
        """Note one event; False when it is not to be passed on."""
        name, data, stray = _fields(block)
        if data is None:
            if stray:
                return self._malformed(block)
            return True
        if data == b"[DONE]":
            self._end()
            return self.fault is None
        try:
            chunk = _CHUNK.decode(data)
        except _UNREADABLE:
            if name == b"error":
                self.fault = _in_band(data)
                return False
            return self._malformed(block)
        if name == b"error" or chunk.error or (not chunk.choices and chunk.object == "error"):
            self.fault = _in_band(data)
            return False
        self._note(chunk)
        return True

    def _malformed(self, block: bytes) -> bool:
        """One unreadable event is left out; a second means that the stream cannot be trusted."""
        self.skipped += 1
        if self.skipped > 1:
            shown = block[:80].decode("utf-8", "replace")
            self.fault = Fault("malformed_events", message=f"Unreadable events, the last: {shown!r}", phase="stream")
        return False


def answer_fault(body: bytes, *, streamed: bool) -> Fault | None:
    """What is wrong with the body of a 200 that is not a stream, or None if it is a whole answer.

    `streamed` says that a stream was asked for, so that only an error can be right.
    """
    try:
        answer = _CHUNK.decode(body)
    except _UNREADABLE:
        return Fault("bad_answer", status=200, message="The answer is not a JSON object with choices.", phase="body")
    if answer.error or answer.object == "error":
        return msgspec.structs.replace(decode_fault(200, {}, body), phase="body")
    if streamed:
        return Fault("bad_answer", status=200, message="A stream was asked for; a whole answer came.", phase="body")
    if not answer.choices:
        return Fault("bad_answer", status=200, message="The answer has no choices.", phase="body")
    for choice in answer.choices:
        if choice.finish_reason != "stop" or _has_content(choice.message):
            return None
    return Fault("empty_answer", status=200, message="The answer has no content.", phase="body")


def _has_content(message: _Message | None) -> bool:
    return message is not None and bool(
        message.content
        or message.tool_calls
        or message.reasoning_content
        or message.reasoning
        or message.reasoning_details
        or message.refusal
        or message.function_call
        or message.audio
        or message.images
    )


def _in_band(data: bytes) -> Fault:
    return msgspec.structs.replace(decode_fault(200, {}, data), phase="stream")


def _last_boundary(data: bytes) -> int:
    """The offset behind the last event boundary, 0 if there is none. Only ever asked where the fast way fails."""
    end = 0
    for found in _BOUNDARY.finditer(data):
        if found.end() == len(data) and data.endswith(b"\r") and b"\n" in found[0]:
            break  # half a CRLF; passed on alone, it would spoil what follows if the stream is cut here
        end = found.end()
    return end


def _fields(block: bytes) -> tuple[bytes, bytes | None, bool]:
    """An event's name, its data (None without any), and whether it has a line that no rule of SSE allows for.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation ignores unknown fields;
    but a server that writes plain text into the stream has broken it, and one writes `error: …` (gpustack).
    """
    name, data, stray = b"", [], False
    for line in _LINE.split(block):
        field, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"error":
            name = b"error"
            data.append(value)
        elif field not in (b"", b"id", b"retry") or (field and not colon):
            stray = True
    return name, (b"\n".join(data) if data else None), stray
