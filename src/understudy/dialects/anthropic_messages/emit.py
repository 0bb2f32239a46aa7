"""Streamed answers, from events to bytes: what a client of Anthropic's expects, ending in `message_stop`.

`message_start` waits for the usage, if that comes next. Blocks follow one another: a part that begins while another is
open waits for it, unless the open one is a call whose arguments are whole (other dialects end parallel calls together,
at the very end). The stop reason and the usage wait for the end, in one `message_delta`. A failure becomes an `error`
event, with no stop, which the official SDKs raise as an error.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Audio,
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Finished,
    Loss,
    Part,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Refusal,
    Request,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
    Used,
)
from understudy.dialects.anthropic_messages.answer import CHOICE_FIELDS, call_id, finish_word, text_losses
from understudy.dialects.anthropic_messages.carried import is_ours, seal
from understudy.dialects.anthropic_messages.fault import error_body
from understudy.dialects.anthropic_messages.parts import NAME, arguments_of, encode_block, encode_citation
from understudy.dialects.anthropic_messages.usage import encode_usage, tier_word
from understudy.dialects.wire import BLANKS, dump, foreign, restore

_NO_USAGE = {"input_tokens": 0, "output_tokens": 0}
_HEAD = {"stop_reason": None, "stop_sequence": None}
_DELTA_FIELDS = (*CHOICE_FIELDS, "container")  # of `message_delta`'s delta; its other fields stand beside it


class _Open:
    """A part that has begun. `place` is its block's index on the wire, None for a part that has no block."""

    __slots__ = ("arguments", "done", "part", "place", "signature", "text", "waiting")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.place: int | None = None
        self.waiting: list[Delta] = []
        self.arguments: list[str] = []
        self.text: list[str] = []
        self.signature: tuple[str | None, str | None] = (None, None)
        self.done = False


class StreamEncoder:
    """Events to bytes. `request` is taken as by every dialect; usage is always sent here."""

    def __init__(self, request: Request | None = None) -> None:  # noqa: ARG002  every dialect's encoder takes it
        self.losses: list[Loss] = []
        self._own = True
        self._dialect = NAME
        self._start: Started | None = None
        self._begun = False
        self._usage: Usage | None = None
        self._parts: dict[int, _Open] = {}
        self._line: list[int] = []  # parts that are not whole on the wire yet, in order; the first has an open block
        self._next = 0
        self._calls = False
        self._finish: Finished | None = None
        self._told: set[str] = set()

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or one event."""
        if isinstance(event, Delta):
            return self._delta(event) if self._first(event.choice) else b""
        if isinstance(event, PartStarted):
            return self._begin() + (self._part(event) if self._first(event.choice) else b"")
        if isinstance(event, PartEnded):
            return self._part_ended(event.index) if event.choice == 0 else b""
        if isinstance(event, Started):
            self._start, self._dialect = event, event.dialect
            self._own = event.dialect == NAME
        elif isinstance(event, Used):
            self._usage = event.usage
            if not self._own:
                self.losses += foreign(event.extra, "usage.")
            return self._begin()
        elif isinstance(event, Finished):
            self._finished(event)
        elif isinstance(event, Extras):
            return self._extras(event)
        elif isinstance(event, Ping):
            return self._begin() + _PING
        elif isinstance(event, Ended):
            return self._begin() + self._end()
        elif isinstance(event, Failed):
            return self._begin() + _event(error_body(event.fault))
        return b""

    # --- the message

    def _begin(self) -> bytes:
        """`message_start`, once."""
        if self._begun or self._start is None:
            return b""
        self._begun = True
        start = self._start
        usage: dict[str, Any] = dict(_NO_USAGE)
        if self._usage is not None:
            usage = encode_usage(self._usage, [], own=self._own)
        elif self._own:
            usage = {}
        tier = tier_word(start.service_tier, self.losses, own=self._own)
        if tier is not None:
            usage["service_tier"] = tier
        message: dict[str, Any] = {"id": start.id, "type": "message", "role": "assistant", "model": start.model}
        message |= {"content": [], **_HEAD, "usage": usage}
        if self._own:
            restore(message, start.extra)
        else:
            self.losses += foreign(start.extra, "")
        return _event({"type": "message_start", "message": message})

    def _first(self, choice: int) -> bool:
        """Whether an event is of the one answer there is here."""
        if choice != 0:
            self._lose_once(Loss(f"choices[{choice}]", "there is one answer here"))
        return choice == 0

    def _lose_once(self, loss: Loss) -> None:
        if loss.field not in self._told:
            self._told.add(loss.field)
            self.losses.append(loss)

    def _finished(self, event: Finished) -> None:
        if self._first(event.choice):
            self._finish = event
            if not self._own:
                self.losses += foreign(event.extra, "choices[0].")

    def _end(self) -> bytes:
        out = b"".join(self._part_ended(index) for index in list(self._line))
        finish = self._finish
        delta: dict[str, Any] = {"stop_reason": None} if self._own else dict(_HEAD)
        beside: dict[str, Any] = {}
        if finish is not None:
            delta["stop_reason"] = finish_word(finish.finish, finish.native_reason, self.losses, own=self._own)
            if delta["stop_reason"] == "tool_use" and not self._own and not self._calls:
                self.losses.append(Loss("choices[0].finish", "there is no call that this dialect has", "approximated"))
                delta["stop_reason"] = "end_turn"
            for key, value in (finish.extra | finish.extra.get(BLANKS, {}) if self._own else {}).items():
                if not key.startswith("~"):
                    (delta if key in _DELTA_FIELDS else beside)[key] = value
        usage = encode_usage(self._usage, self.losses, own=self._own)
        return out + _event({"type": "message_delta", "delta": delta, "usage": usage, **beside}) + _STOP

    def _extras(self, event: Extras) -> bytes:
        if self._own:
            kept = event.fields.get("event")
            return self._begin() + _event(kept) if isinstance(kept, dict) else b""
        prefix = "" if event.choice is None else f"choices[{event.choice}]."
        for loss in foreign(event.fields, prefix):
            self._lose_once(loss)
        return b""

    # --- parts

    def _part(self, event: PartStarted) -> bytes:
        self._parts[event.index] = _Open(event.part)
        path = f"choices[0].parts[{event.index}]"
        if not self._own:
            self.losses += foreign(getattr(event.part, "extra", {}), path + ".")
        if not self._has_block(event.part, path):
            return b""
        out = b""
        if self._line and self._may_close(self._parts[self._line[0]]):
            out = self._close(self._line[0])
        self._line.append(event.index)
        return out + (self._open(event.index) if self._line[0] == event.index else b"")

    def _has_block(self, part: Part, path: str) -> bool:
        if self._own:
            return True
        if isinstance(part, Text | Reasoning):
            return True
        if isinstance(part, Refusal | Audio):
            self.losses.append(Loss(path, "is given as a text here", "approximated"))
            return True
        if isinstance(part, ToolCall) and part.kind != "hosted":
            return True
        what = part.kind if isinstance(part, Unknown) else type(part).__name__
        self.losses.append(Loss(path, f"a part of kind {what} has no form in a stream here"))
        return False

    def _may_close(self, known: _Open) -> bool:
        """Whether an open block needs nothing more: a call whose arguments are whole."""
        part = known.part
        whole = "".join(known.arguments)
        return (
            isinstance(part, ToolCall)
            and part.kind == "function"
            and whole.rstrip().endswith("}")
            and arguments_of(whole) is not None
        )

    def _open(self, index: int) -> bytes:
        """Write the block's start, and what has been waiting for it."""
        known = self._parts[index]
        known.place = self._next
        self._next += 1
        block = self._start_of(known.part, f"choices[0].parts[{index}]")
        out = [_event({"type": "content_block_start", "index": known.place, "content_block": block})]
        if isinstance(known.part, ToolCall) and known.part.kind == "custom":
            out.append(_delta_event(known.place, {"type": "input_json_delta", "partial_json": '{"input":"'}))
        waiting, known.waiting = known.waiting, []
        out += [self._piece(known, delta) for delta in waiting]
        return b"".join(out)

    def _start_of(self, part: Part, path: str) -> dict[str, Any]:
        if self._own:
            if isinstance(part, Reasoning) and part.sealed is None:
                extra = {"signature": "", **(encode_block(part) or {})}
                return {**extra, "signature": ""} if not is_ours(part, own=True) else extra
            block = encode_block(part) or {}
            return {**block, "input": {}} if isinstance(part, ToolCall) else block
        if isinstance(part, ToolCall):
            self._calls = True
            if part.kind == "custom":
                self.losses.append(Loss(path + ".arguments", "plain text goes as a field `input`", "approximated"))
            if part.signature is not None:
                self.losses.append(Loss(path + ".signature", "a tool call has no signature here"))
            return {"type": "tool_use", "id": call_id(part, path, self.losses), "name": part.name, "input": {}}
        if isinstance(part, Reasoning):
            if part.sealed is not None and is_ours(part, own=False):
                return {"type": "redacted_thinking", "data": part.sealed}
            return {"type": "thinking", "thinking": "", "signature": ""}
        return {"type": "text", "text": ""}

    def _part_ended(self, index: int) -> bytes:
        """Close the block if it is the open one; then go on with those that have waited for it."""
        known = self._parts[index]
        known.done = True
        out = []
        while self._line and self._parts[self._line[0]].done:
            out.append(self._close(self._line[0]))
        return b"".join(out)

    def _close(self, index: int) -> bytes:
        """Stop the open block, and start the next in line."""
        known = self._parts[index]
        assert known.place is not None
        out = self._last(known) + _event({"type": "content_block_stop", "index": known.place})
        self._line.remove(index)
        return out + (self._open(self._line[0]) if self._line else b"")

    def _last(self, known: _Open) -> bytes:
        """What a block says before it stops: the end of a text in JSON, or a signature."""
        part = known.part
        assert known.place is not None
        if isinstance(part, ToolCall) and part.kind == "custom":
            return _delta_event(known.place, {"type": "input_json_delta", "partial_json": '"}'})
        if not isinstance(part, Reasoning) or self._own or (part.sealed is not None and is_ours(part, own=False)):
            return b""
        signature, sealed = known.signature
        signature, sealed = signature or part.signature, sealed or part.sealed
        if not (is_ours(part, own=False) and signature):
            said = "".join(known.text)
            text, summary = (said, None) if part.summary is None else (part.text, part.summary + said)
            whole = Reasoning(text, summary, signature, sealed, part.id, part.origin)
            signature = seal(whole, self._dialect)
        return _delta_event(known.place, {"type": "signature_delta", "signature": signature})

    # --- deltas

    def _delta(self, event: Delta) -> bytes:
        known = self._parts[event.index]
        if not self._own:
            self._delta_losses(event, known.part)
        if event.index not in self._line:
            if known.place is not None and event.text.strip():
                path = f"choices[0].parts[{event.index}].arguments"
                self.losses.append(Loss(path, "text after a whole JSON object is no part of it"))
            return b""
        if known.place is None:
            known.waiting.append(event)
            return b""
        return self._piece(known, event)

    def _delta_losses(self, event: Delta, part: Part) -> None:
        path = f"choices[0].parts[{event.index}]"
        if isinstance(part, Text):
            for loss in text_losses(Text("", event.citations, event.logprobs, signature=event.signature), path):
                self._lose_once(loss)
        if event.data:
            self._lose_once(Loss(path + ".source", "sound has no form here"))
        for loss in foreign(event.extra, path + "."):
            self._lose_once(loss)

    def _piece(self, known: _Open, event: Delta) -> bytes:
        """The deltas of one event in the open block."""
        part, place = known.part, known.place
        assert place is not None
        out = []
        if isinstance(part, ToolCall):
            known.arguments.append(event.text)
            text = dump(event.text).decode()[1:-1] if part.kind == "custom" else event.text
            if text:
                out.append(_delta_event(place, {"type": "input_json_delta", "partial_json": text}))
        elif isinstance(part, Reasoning):
            if not self._own:
                known.text.append(event.text)
            if event.text:
                out.append(_delta_event(place, {"type": "thinking_delta", "thinking": event.text}))
            if self._own and event.signature is not None:
                out.append(_delta_event(place, {"type": "signature_delta", "signature": event.signature}))
            known.signature = (event.signature or known.signature[0], event.sealed or known.signature[1])
        elif event.text:
            out.append(_delta_event(place, {"type": "text_delta", "text": event.text}))
        if self._own:
            cited = [encode_citation(citation) for citation in event.citations]
            out += [_delta_event(place, {"type": "citations_delta", "citation": citation}) for citation in cited]
            if isinstance(event.extra.get("delta"), dict):
                out.append(_delta_event(place, event.extra["delta"]))
        return b"".join(out)


def _event(value: dict[str, Any]) -> bytes:
    name = value.get("type")
    return b"event: %b\ndata: %b\n\n" % (str(name).encode("utf-8", "replace"), dump(value))


def _delta_event(index: int, delta: dict[str, Any]) -> bytes:
    return b"event: content_block_delta\ndata: %b\n\n" % dump(
        {"type": "content_block_delta", "index": index, "delta": delta}
    )


_STOP = _event({"type": "message_stop"})
_PING = _event({"type": "ping"})
