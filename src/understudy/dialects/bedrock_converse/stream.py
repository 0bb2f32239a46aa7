"""Streamed answers, from bytes to events. `ConverseStreamOutput` of the service model, in binary messages.

What a stream must show to count as finished: `messageStop`; `metadata` with the usage follows it, and closes the
stream if it comes. Anything else is a cut. Only tool calls, results and pictures announce themselves with a
`contentBlockStart`: a text or reasoning begins with its first delta. Results of tools that AWS runs itself and pictures
are given when they are whole.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Fault,
    Finished,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    Skipped,
    Started,
    Text,
    ToolCall,
    Used,
)
from understudy.dialects.bedrock_converse.answer import ORIGIN, decode_usage, finish_of
from understudy.dialects.bedrock_converse.blocks import NAME, decode_block, decode_citation
from understudy.dialects.bedrock_converse.fault import stream_fault
from understudy.dialects.bedrock_converse.framing import Frame, FrameDecoder
from understudy.dialects.wire import DICT, INT, STR, Malformed, expect, parse, split

_SHOWN = 200
"""Bytes of a skipped event that are kept for the record."""

_PADDING = "p"  # noise against traffic analysis
_WHOLE = ("toolResult", "image")
_OF_BLOCKS = ("contentBlockIndex", "delta", "start", _PADDING)


class _Block:
    """A content block under way. `whole` gathers one that is given at its end; `said`: arguments have come."""

    __slots__ = ("part", "said", "what", "whole")

    def __init__(self, part: int, what: Part | None, whole: dict[str, Any] | None = None) -> None:
        self.part, self.what, self.whole = part, what, whole
        self.said = False


class StreamDecoder:
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one message (16 MiB)."""

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._out: list[Event] = []
        self._started = False
        self._open: dict[int, _Block] = {}
        self._next = 0
        self._finished = False
        self._skipped = False
        self._over = False

    @property
    def whole(self) -> bool:
        return self._finished

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes; nothing after `Ended` or `Failed`."""
        if self._over:
            return []
        for frame in self._frames.feed(data):
            if not self._over:
                self._frame(frame)
        if self._frames.broken and not self._over:
            why = f"The stream cannot be read on: {self._frames.broken}."
            self._fail(Fault(kind="malformed_events", message=why, phase="stream"))
        out, self._out = self._out, []
        return out

    def close(self) -> list[Event]:
        """The connection ended."""
        if self._over:
            return []
        if self._finished:
            self._end()
        else:
            message = "The connection ended before the answer did."
            self._fail(Fault(kind="stream_cut", message=message, phase="stream"))
        out, self._out = self._out, []
        return out

    # --- messages of the wire

    def _frame(self, frame: Frame) -> None:
        headers, payload = frame
        if headers.get(":message-type") in ("exception", "error"):
            self._fail(stream_fault(headers, payload))
            return
        kind = headers.get(":event-type", "")
        try:
            self._event(kind, expect(parse(payload), DICT, kind))
        except Malformed:
            if self._skipped:
                self._fail(Fault(kind="malformed_events", message="A second event could not be read.", phase="stream"))
            else:
                self._skipped = True
                self._out.append(Skipped(payload[:_SHOWN].decode("utf-8", "replace")))

    def _event(self, kind: str, event: dict[str, Any]) -> None:
        """Take an event whole, or raise `Malformed` before any of it counts."""
        if kind == "messageStart":
            if self._started:
                raise Malformed(kind, "comes once")
            self._start()
        elif kind in ("contentBlockStart", "contentBlockDelta", "contentBlockStop"):
            index = expect(event.get("contentBlockIndex"), INT, "contentBlockIndex")
            if self._finished:
                raise Malformed(kind, "comes after the message's end")
            others = {key: value for key, value in event.items() if key not in _OF_BLOCKS}
            if kind == "contentBlockStart":
                self._begin(index, expect(event.get("start"), DICT, "start"))
            elif kind == "contentBlockDelta":
                self._delta(index, expect(event.get("delta"), DICT, "delta"))
            else:
                self._stop(index)
            if others:
                self._out.append(Extras(0, others))
        elif kind == "messageStop":
            self._finish(event)
        elif kind == "metadata":
            self._metadata(event)
        else:
            self._start()
            self._out.append(Extras(None, {"event": {kind: event}}))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._out.append(Started(NAME))

    def _fail(self, fault: Fault) -> None:
        self._start()
        self._out.append(Failed(fault))
        self._over = True

    def _finish(self, event: dict[str, Any]) -> None:
        word = expect(event.get("stopReason"), STR, "stopReason")
        if self._finished:
            raise Malformed("messageStop", "comes once")
        self._start()
        for index in list(self._open):
            self._stop(index)
        extra = {
            key: value for key, value in event.items() if key not in ("stopReason", _PADDING) and value is not None
        }
        self._out.append(Finished(0, finish_of(word), word, extra))
        self._finished = True

    def _metadata(self, event: dict[str, Any]) -> None:
        usage = event.get("usage")
        if usage is not None:
            expect(usage, DICT, "usage")
        self._start()
        if usage:
            self._out.append(Used(decode_usage(usage), {}))
        rest, _ = split({key: value for key, value in event.items() if key not in ("usage", _PADDING)})
        if rest:
            self._out.append(Extras(None, rest))
        if self._finished:
            self._end()

    def _end(self) -> None:
        self._out.append(Ended())
        self._over = True

    # --- blocks

    def _begin(self, index: int, start: dict[str, Any]) -> None:
        if index in self._open:
            raise Malformed("contentBlockStart", "comes once for a block")
        for kind in _WHOLE:
            if isinstance(start.get(kind), dict):
                self._start()
                self._open[index] = _Block(-1, None, {kind: dict(start[kind])})
                return
        part = decode_block({"toolUse": {"input": {}, **expect(start.get("toolUse"), DICT, "toolUse")}}, "start")
        if not isinstance(part, ToolCall):
            raise Malformed("start", "begins a block of no known kind")
        self._start()
        self._part(index, ToolCall(part.id, part.name, "", part.kind, extra=part.extra))

    def _part(self, index: int, part: Part) -> _Block:
        block = self._open[index] = _Block(self._next, part)
        self._next += 1
        self._out.append(PartStarted(0, block.part, part))
        return block

    def _stop(self, index: int) -> None:
        block = self._open.get(index)
        if block is None:
            raise Malformed("contentBlockStop", "ends a block that never began")
        del self._open[index]
        if block.whole is not None:
            part = decode_block(block.whole, "block")
            self._out += [PartStarted(0, self._next, part), PartEnded(0, self._next)]
            self._next += 1
            return
        if isinstance(block.what, ToolCall) and not block.said:
            self._out.append(Delta(0, block.part, "{}"))  # no arguments at all are written as no delta
        self._out.append(PartEnded(0, block.part))

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        block = self._open.get(index)
        if block is not None and block.whole is not None:
            _gather(block.whole, delta)
            return
        known = _read(delta)
        if block is None:
            if known is None:
                raise Malformed("delta", "begins a block of no known kind")
            if isinstance(known[0], ToolCall):
                raise Malformed("delta", "goes on with a call that never began")
            self._start()
            block = self._part(index, known[0])
        if known is None or type(known[0]) is not type(block.what):
            self._out.append(Delta(0, block.part, extra={"delta": delta}))
            return
        found = known[1]
        block.said = block.said or bool(found.get("text"))
        if found:
            self._out.append(Delta(0, block.part, **found))


def _read(delta: dict[str, Any]) -> tuple[Part, dict[str, Any]] | None:
    """The kind of part that a delta belongs to, and what it adds; None for a kind that is not known.

    Raises `Malformed` if it is known and holds something else than it should.
    """
    match delta:
        case {"text": text}:
            return Text(""), {"text": text} if expect(text, STR, "delta.text") else {}
        case {"citation": citation}:
            return Text(""), {"citations": (decode_citation(expect(citation, DICT, "delta.citation")),)}
        case {"toolUse": {"input": text}}:
            said = expect(text, STR, "delta.toolUse.input")
            return ToolCall("", ""), {"text": said} if said else {}
        case {"reasoningContent": {"text": text}}:
            said = expect(text, STR, "delta.reasoningContent.text")
            return Reasoning(origin=ORIGIN), {"text": said} if said else {}
        case {"reasoningContent": {"signature": text}}:
            return Reasoning(origin=ORIGIN), {"signature": expect(text, STR, "delta.reasoningContent.signature")}
        case {"reasoningContent": {"redactedContent": text}}:
            return Reasoning(origin=ORIGIN), {"sealed": expect(text, STR, "delta.reasoningContent.redactedContent")}
    return None


def _gather(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to a block that is given whole. Raises `Malformed` if it is no part of one."""
    inner: dict[str, Any] = next(iter(whole.values()))
    if "toolResult" in whole and isinstance(delta.get("toolResult"), list):
        pieces = {"content": [*inner.get("content", []), *delta["toolResult"]]}
        decode_block({"toolResult": {**inner, **pieces}}, "delta")
        inner |= pieces
    elif "image" in whole and isinstance(delta.get("image"), dict):
        decode_block({"image": {**inner, **delta["image"]}}, "delta")
        inner |= delta["image"]
    else:
        raise Malformed("delta", "belongs to another kind of block")
