"""Streamed answers, from bytes to events. `MessageStreamEvent` of Anthropic's OpenAPI document.

What a stream must show to count as finished: a stop reason (in `message_delta`, or in `message_start` where the whole
message came at once), then `message_stop`. Anything else is a cut. Usage in `message_delta` is cumulative: its figures
replace those of `message_start`. A block that the token limit cut off may never be stopped: `message_stop` closes it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Citation,
    Delta,
    Ended,
    Extras,
    Fault,
    Finished,
    Part,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Used,
)
from understudy.dialects.anthropic_messages.answer import finish_of
from understudy.dialects.anthropic_messages.event import DELTAS, filled, sound_event
from understudy.dialects.anthropic_messages.fault import fault_in
from understudy.dialects.anthropic_messages.parts import NAME, decode_block, decode_citation
from understudy.dialects.anthropic_messages.usage import decode_usage, tier_in
from understudy.dialects.events import EventReader, shown
from understudy.dialects.wire import Malformed, keep, parse, split

_OF_BLOCKS = ("content_block_delta", "content_block_start", "content_block_stop")
_READ = frozenset({"id", "model", "usage", "content", "type", "role", "stop_reason"})


class _Block:
    """A content block under way. `said`: arguments have come."""

    __slots__ = ("part", "said", "what")

    def __init__(self, part: int, what: Part) -> None:
        self.part, self.what = part, what
        self.said = False


class StreamDecoder(EventReader):
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._id: Any = None
        self._origin = ""
        self._usage: dict[str, Any] = {}
        self._open: dict[int, _Block] = {}
        self._next = 0
        self._reason: str | None = None
        self._ending: dict[str, Any] = {}

    @property
    def whole(self) -> bool:
        return self._reason is not None

    # --- events of the wire

    def _read(self, name: str, body: bytes) -> None:
        try:
            event = sound_event(parse(body))
        except Malformed:
            if name != "error":
                raise
            self._fail(Fault(message=shown(body), phase="stream"))
            return
        if name == "error" or event.get("type") == "error" or "type" not in event:
            self._fail(fault_in(event, "stream") or Fault(message=shown(body), phase="stream"))
            return
        self._event(event, body)

    def _event(self, event: dict[str, Any], body: bytes) -> None:
        kind = event["type"]
        if kind in _OF_BLOCKS:
            if not self._block_event(kind, event):
                self._skip(body)
        elif kind == "message_start":
            self._begin(event["message"], event)
        elif kind == "ping":
            self._out.append(Ping())
        elif kind == "message_delta":
            self._end_of(event)
        elif kind == "message_stop":
            self._stop()
        else:
            self._start()
            self._out.append(Extras(None, {"event": event}))

    def _block_event(self, kind: str, event: dict[str, Any]) -> bool:
        """Take an event of a content block. Says whether there is such a block, or, at a start, no such one yet."""
        index = event["index"]
        block = self._open.get(index)
        if kind == "content_block_start":
            if not self._started or block is not None:
                return False
            self._block(index, event["content_block"])
        elif block is None:
            return False
        elif kind == "content_block_delta":
            self._delta(block, event["delta"])
        else:
            del self._open[index]
            self._close(block)
        return True

    # --- the message

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._out.append(Started(NAME))

    def _begin(self, message: dict[str, Any], event: dict[str, Any]) -> None:
        if self._started:
            if self._next or self._id is None or message.get("id") != self._id:
                what = "A second message began before the first had ended."
                self._fail(Fault(kind="malformed_events", message=what, phase="stream"))
            return  # the same start again: seen behind proxies that retry
        rest, blank = split({key: value for key, value in message.items() if key not in _READ})
        rest |= {key: value for key, value in event.items() if key not in ("type", "message")}
        self._started, self._id = True, message.get("id")
        model = message.get("model") or ""
        self._origin = f"{NAME}/{model}"
        usage = message.get("usage") or {}
        self._out.append(Started(NAME, self._id or "", model, None, tier_in(usage), keep(rest, blank)))
        self._use(usage)
        for i, block in enumerate(message.get("content") or ()):
            self._block(i, block)
            self._close(self._open.pop(i))
        self._reason = message.get("stop_reason")

    def _use(self, usage: dict[str, Any]) -> None:
        known = self._usage | {key: value for key, value in usage.items() if value is not None}
        if known != self._usage:
            self._usage = known
            self._out.append(Used(decode_usage(known)))

    def _end_of(self, event: dict[str, Any]) -> None:
        """Keep what `message_delta` says of the end until it has come; it may say it before the last block stopped."""
        self._start()
        others = {key: value for key, value in event.items() if key not in ("type", "delta", "usage")}
        said = {key: value for key, value in event["delta"].items() if key != "stop_reason"}
        self._ending |= {**said, **others}
        self._reason = event["delta"].get("stop_reason") or self._reason
        self._use(event.get("usage") or {})

    def _stop(self) -> None:
        if self._reason is None:
            self._cut("The stream was closed before the answer was finished.")
            return
        self._out += [PartEnded(0, block.part) for block in self._open.values()]
        self._open.clear()
        self._out.append(Finished(0, finish_of(self._reason), self._reason, keep(*split(self._ending))))
        self._out.append(Ended())
        self._over = True

    # --- blocks

    def _block(self, index: int, wire: dict[str, Any]) -> None:
        """Open a part without content, then give what its start has brought already."""
        part = decode_block(filled(wire), "content_block", self._origin)
        deltas: list[Delta] = []
        place = self._next
        self._next += 1
        change = msgspec.structs.replace
        if isinstance(part, Text):
            if part.text:
                deltas.append(Delta(0, place, part.text))
            deltas += [Delta(0, place, citations=(citation,)) for citation in part.citations]
            part = change(part, text="", citations=())
        elif isinstance(part, Reasoning) and part.sealed is None:
            if part.text:
                deltas.append(Delta(0, place, part.text))
            if part.signature:
                deltas.append(Delta(0, place, signature=part.signature))
            part = change(part, text="", signature=None)
        elif isinstance(part, ToolCall):
            if part.arguments != "{}":
                deltas.append(Delta(0, place, part.arguments))
            part = change(part, arguments="")
        block = self._open[index] = _Block(place, part)
        block.said = bool(deltas)
        self._out.append(PartStarted(0, place, part))
        self._out += deltas

    def _delta(self, block: _Block, delta: dict[str, Any]) -> None:
        kind, part = delta["type"], block.part
        field = DELTAS.get(kind)
        fitting = _fits(kind, block.what)
        if field is not None and fitting:
            text = delta[field]
            block.said = block.said or bool(text)
            if kind == "signature_delta":
                self._out.append(Delta(0, part, signature=text))
            elif text:
                self._out.append(Delta(0, part, text))
        elif kind == "citations_delta" and fitting:
            citation = decode_citation(delta["citation"])
            assert isinstance(citation, Citation)
            self._out.append(Delta(0, part, citations=(citation,)))
        else:
            self._out.append(Delta(0, part, extra={"delta": delta}))

    def _close(self, block: _Block) -> None:
        if isinstance(block.what, ToolCall) and not block.said:
            self._out.append(Delta(0, block.part, "{}"))  # no arguments at all are written as no delta
        self._out.append(PartEnded(0, block.part))


def _fits(kind: str, part: Part) -> bool:
    if kind in ("text_delta", "citations_delta"):
        return isinstance(part, Text)
    if kind == "input_json_delta":
        return isinstance(part, ToolCall)
    return isinstance(part, Reasoning) and part.sealed is None
