"""Reading an answer that is passed on as it came, in any dialect: what `openai_chat/watch.py` does fast for its own.

The stream is cut at the ends of events (a half event is never passed on, so that an error can follow a broken stream),
and each event is shown to the dialect's own decoder: what that takes for content, a finish, a failure or the end counts
here as well. So an event costs a decoding, and no dialect needs a second reader.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from understudy.canon import (
    Answer,
    Delta,
    Ended,
    Event,
    Failed,
    Fault,
    Finished,
    Part,
    PartStarted,
    Reasoning,
    Refusal,
    Skipped,
    Started,
    Text,
    Usage,
    Used,
)
from understudy.dialects.wire import Malformed, parse

if TYPE_CHECKING:
    from understudy.dialects import Dialect, StreamDecoder

LARGEST_EVENT = 16 * 1024 * 1024
"""Bytes of an unfinished event that are kept before the stream counts as unreadable."""

EVENTS = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)+")
"""What ends a server-sent event: two line ends in a row. Atomic groups, or else one CRLF would count as two."""

LINES = re.compile(rb"\n")
"""What ends an event where each is a line of JSON."""

_LENGTH = struct.Struct(">I")


class Watch:
    """What passes by on one stream. Feed it bytes, send on what it returns.

    `content`: some content has been seen. `moved`: there was some in the last piece (the reader resets it). `finish`:
    the canonical finish, once there is one. `whole`: the answer is complete but for what may follow it. `done`: the
    stream is complete. `usage`: what it said of its tokens, last. `answered_by`, `tier`: the model and service tier
    that it named first. `fault`: it is broken; nothing after it is passed on. `skipped`: malformed events left out.
    """

    __slots__ = (
        "_decoder", "_ends", "_partial", "_searched", "answered_by", "content", "done", "fault", "finish", "moved",
        "skipped", "tier", "usage",
    )  # fmt: skip

    def __init__(self, decoder: StreamDecoder, ends: re.Pattern[bytes] | None) -> None:
        """`ends` matches what is behind each event; None for AWS's binary messages, which begin with their length."""
        self._decoder = decoder
        self._ends = ends
        self._partial = b""
        self._searched = 0  # bytes of `_partial` in which no event ends, so that a long one is not searched again
        self.content = self.moved = self.done = False
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.answered_by = ""
        self.tier: str | None = None
        self.fault: Fault | None = None
        self.skipped = 0

    @property
    def whole(self) -> bool:
        """Whether the answer is complete but for what may follow it."""
        return self._decoder.whole

    def feed(self, data: bytes) -> bytes:
        """Take what has arrived; returns the whole events in it, as they came."""
        data = self._partial + data if self._partial else data
        kept: list[bytes] = []
        start = 0
        for end in self._boundaries(data):
            block = data[start:end]
            start = end
            if self._note(self._decoder.feed(block)):
                kept.append(block)
            if self.done or self.fault is not None:
                return b"".join(kept)
        self._partial = data[start:]
        self._searched = max(0, len(self._partial) - 4)
        if len(self._partial) > LARGEST_EVENT:
            self.fault = Fault("malformed_events", message="One event is larger than 16 MiB.", phase="stream")
        return b"".join(kept)

    def close(self) -> bytes:
        """The provider has closed the stream. Returns what was still held, and sets `done` or `fault`."""
        rest, self._partial = self._partial, b""
        passed = self._note(self._decoder.feed(rest)) if rest else False
        if not self.done and self.fault is None:
            passed = self._note(self._decoder.close()) and bool(rest)
        if not passed or self.fault is not None:
            return b""
        if self._ends is not EVENTS:
            return rest
        # Many servers leave out the last blank line; clients that keep to the letter need it. A torn event is none.
        return rest + b"\n\n" if _is_whole(rest) else b""

    def _boundaries(self, data: bytes) -> Iterator[int]:
        if self._ends is not None:
            for found in self._ends.finditer(data, self._searched):
                end = found.end()
                if end == len(data) and data.endswith(b"\r") and b"\n" in found[0]:
                    return  # half a CRLF; passed on alone, it would spoil what follows if the stream is cut here
                yield end
            return
        start = 0
        while len(data) - start >= _LENGTH.size:
            start += max(_LENGTH.unpack_from(data, start)[0], _LENGTH.size)
            if start > len(data):
                return
            yield start

    def _note(self, events: list[Event]) -> bool:
        """Note what an event says; False when it is not to be passed on."""
        passed = True
        for event in events:
            kind = event.__class__
            if says_something(event):
                self.content = self.moved = True
            if isinstance(event, Finished):
                self.finish = event.finish
            elif isinstance(event, Used):
                self.usage = event.usage
            elif isinstance(event, Started):
                self.answered_by, self.tier = event.model, event.service_tier
            elif kind is Skipped:
                self.skipped += 1
                passed = False
            elif isinstance(event, Failed):
                self.fault = event.fault
                passed = False
            elif kind is Ended:
                self.done = True
        return passed


def says_something(event: Event) -> bool:
    """Whether an event is content: words, a call, an image, anything sealed; a finish that says more than stop."""
    if event.__class__ is Delta:
        return True
    if isinstance(event, PartStarted):
        return _is_content(event.part)
    return isinstance(event, Finished) and event.finish not in ("stop", "error")


def answer_fault(dialect: Dialect, body: bytes, *, streamed: bool) -> Fault | None:
    """What is wrong with the body of a 200 that is not a stream, or None if it is a whole answer.

    `streamed` says that a stream was asked for, so that only an error can be right.
    """
    try:
        answer = dialect.decode_answer(body)
    except Malformed as error:
        fault = dialect.decode_fault(200, {}, body)
        if fault.message or fault.code or fault.type:
            return fault
        return Fault("bad_answer", status=200, message=f"The answer cannot be read: {error}", phase="body")
    if any(choice.finish == "error" for choice in answer.choices):
        said = dialect.decode_fault(200, {}, body).message or "The answer says that it failed."
        return Fault("internal", status=200, message=said, phase="body")
    if streamed:
        return Fault("bad_answer", status=200, message="A stream was asked for; a whole answer came.", phase="body")
    if not answer.choices:
        return Fault("bad_answer", status=200, message="There is no answer in the body.", phase="body")
    if all(choice.finish == "stop" for choice in answer.choices) and not _says_something(answer):
        return Fault("empty_answer", status=200, message="The answer has no content.", phase="body")
    return None


def _says_something(answer: Answer) -> bool:
    return any(_is_content(part) for choice in answer.choices for part in choice.parts)


def _is_content(part: Part) -> bool:
    """Whether a part says something already: all do, but for words that are still to come."""
    return not isinstance(part, Text | Reasoning | Refusal) or bool(part.text or getattr(part, "sealed", None))


def _is_whole(event: bytes) -> bool:
    """Whether the connection's end left a whole event: comments and `[DONE]` are, and JSON that is not torn."""
    lines = [line.partition(b":")[2].strip() for line in re.split(rb"[\r\n]+", event) if line.startswith(b"data")]
    data = b"\n".join(lines)
    if data == b"[DONE]" or not lines:
        return b":" in event
    try:
        parse(data)
    except Malformed:
        return False
    return True
