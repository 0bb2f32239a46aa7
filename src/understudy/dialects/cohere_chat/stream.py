"""Streamed answers, from bytes to events: `V2ChatStreamResponse` of Cohere's SDK, as server-sent events.

`message-end` is the end, and the only one: a stream that stops before it is cut, and what comes after it (some servers
add `[DONE]`) is not read. Its finish reason may be ERROR, which is a failure. A part stays open after its `*-end` until
something else begins, since citations may come in between.
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
    Ping,
    Reasoning,
    Skipped,
    Started,
    Text,
    ToolCall,
    Used,
)
from understudy.dialects.cohere_chat.answer import decode_logprob, finish_of
from understudy.dialects.cohere_chat.fault import BROKEN, body_fault, end_fault
from understudy.dialects.cohere_chat.messages import PLAN
from understudy.dialects.cohere_chat.parts import NAME, decode_citation, place_of
from understudy.dialects.cohere_chat.usage import decode_usage
from understudy.dialects.openai_chat.parts import arguments_text
from understudy.dialects.sse import COMMENT, STRAY, SseDecoder
from understudy.dialects.wire import DICT, FORM, STR, Malformed, expect, parse, split, take

_SHOWN = 200
"""Bytes of a skipped event that are kept for the record."""

_DONE = b"[DONE]"
_SILENT = ("content-end", "tool-call-end", "citation-end")


def _at(event: dict[str, Any], *keys: str) -> Any:
    """A value deep in `delta.message`; None if it is not there. Raises `Malformed` on the way."""
    value: Any = event
    for key in ("delta", "message", *keys):
        value = take(dict(expect(value, DICT, key)), key, (dict, str, list))
        if value is None:
            return None
    return value


class StreamDecoder:
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._out: list[Event] = []
        self._started = False
        self._kind = ""  # of the open part, and where it stands on the wire
        self._part = 0
        self._next = 0
        self._skipped = False
        self._over = False

    @property
    def whole(self) -> bool:
        return False  # where the finish is the end

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes; nothing after `Ended` or `Failed`."""
        if self._over:
            return []
        for name, body in self._sse.feed(data):
            self._pair(name, body)
        if self._sse.overflowed:
            self._fail(Fault("malformed_events", message="An event is larger than 16 MiB.", phase="stream"))
        return self._given()

    def close(self) -> list[Event]:
        """The connection ended. The last event counts without its blank line, if it is whole."""
        for name, body in self._sse.close() if not self._over else ():
            if name not in (COMMENT, STRAY):
                self._event(name, body, last=True)
        self._fail(Fault("stream_cut", message="The connection ended before the answer did.", phase="stream"))
        return self._given()

    def _given(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    # --- events of the wire

    def _pair(self, name: str, body: bytes) -> None:
        if self._over:
            return
        if name == COMMENT:
            self._out.append(Ping(body.decode("utf-8", "replace")))
        elif name == STRAY:
            self._skip(body)
        else:
            self._event(name, body)

    def _event(self, name: str, body: bytes, *, last: bool = False) -> None:
        """One event. A torn `last` one belongs to the cut. An event counts whole or not at all."""
        if self._over or body.strip() == _DONE:
            return
        kept = len(self._out), self._kind, self._part, self._next, self._started
        try:
            event = expect(parse(body), DICT, "event")
            self._read(name, event)
        except Malformed:
            del self._out[kept[0] :]
            _, self._kind, self._part, self._next, self._started = kept
            if not last:
                self._skip(body)

    def _skip(self, body: bytes) -> None:
        if self._skipped:
            self._fail(Fault("malformed_events", message="A second event could not be read.", phase="stream"))
        else:
            self._skipped = True
            self._out.append(Skipped(body[:_SHOWN].decode("utf-8", "replace")))

    def _fail(self, fault: Fault) -> None:
        if self._over:
            return
        self._start("")
        self._out.append(Failed(fault))
        self._over = True

    def _read(self, name: str, event: dict[str, Any]) -> None:
        kind = event.get("type", name)
        if not isinstance(kind, str) or not kind:
            fault = body_fault(event)
            if fault is None:
                raise Malformed("type", "is required")
            self._fail(fault)
        elif kind == "message-start":
            self._begin(event)
        elif kind == "error":
            self._fail(body_fault(event) or Fault(phase="stream"))
        else:
            self._start("")
            self._more(kind, event)

    def _more(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "content-start":
            self._content(event, begins=True)
        elif kind == "content-delta":
            self._content(event, begins=False)
        elif kind == "tool-plan-delta":
            text = expect(_at(event, "tool_plan") or "", STR, "tool_plan")
            if text:
                self._out.append(Delta(0, self._open("plan", Text("", extra={FORM: {"as": PLAN}})), text))
        elif kind == "tool-call-start":
            self._call(event)
        elif kind == "tool-call-delta":
            text = arguments_text(_at(event, "tool_calls", "function", "arguments"), "arguments")
            if not self._kind.startswith("call"):
                raise Malformed("index", "there is no open call")
            if text:
                self._out.append(Delta(0, self._part, text))
        elif kind == "citation-start":
            self._cite(event)
        elif kind == "message-end":
            self._end(event)
        elif kind not in _SILENT:
            self._out.append(Extras(None, {"event": event}))

    def _begin(self, event: dict[str, Any]) -> None:
        answer_id = take(dict(event), "id", STR) or ""
        message = _at(event) or {}
        said, _ = split(expect(message, DICT, "delta.message"))
        said.pop("role", None)
        if self._started:
            raise Malformed("type", "a second message-start")
        self._start(answer_id, said)

    def _start(self, answer_id: str, message: dict[str, Any] | None = None) -> None:
        if not self._started:
            self._started = True
            self._out.append(Started(NAME, answer_id, extra={"message": message} if message else {}))

    # --- parts

    def _content(self, event: dict[str, Any], *, begins: bool) -> None:
        block = expect(_at(event, "content") or {}, DICT, "content")
        thought = block.get("thinking")
        kind = "thinking" if thought is not None or block.get("type") == "thinking" else "text"
        text = expect(block.get(kind) or "", STR, "content." + kind)
        name = f"{kind} {event.get('index')}"
        if begins:
            self._close_part()
        logprobs = event.get("logprobs")
        token = decode_logprob(logprobs)
        at = self._open(name, Text("") if kind == "text" else Reasoning())
        if text or token is not None:
            self._out.append(Delta(0, at, text, logprobs=() if token is None else (token,)))
        if token is None and logprobs:
            self._out.append(Delta(0, at, extra={"logprobs": logprobs}))

    def _call(self, event: dict[str, Any]) -> None:
        call = expect(_at(event, "tool_calls") or {}, DICT, "tool_calls")
        body = take(dict(call), "function", DICT, "tool_calls.") or {}
        name = take(dict(body), "name", STR, "tool_calls.function.") or ""
        text = arguments_text(body.get("arguments"), "tool_calls.function.arguments")
        part = ToolCall(take(dict(call), "id", STR, "tool_calls.") or "", name)
        self._close_part()
        at = self._open(f"call {event.get('index')}", part)
        if text:
            self._out.append(Delta(0, at, text))

    def _cite(self, event: dict[str, Any]) -> None:
        wire = _at(event, "citations")
        citation = decode_citation(wire)
        place = None if citation is None else place_of(citation)
        here = self._kind.startswith("text") and (place is None or self._kind == f"text {place}")
        if citation is not None and here:
            self._out.append(Delta(0, self._part, citations=(citation,)))
        else:
            self._out.append(Extras(0, {"citations": [wire]}))

    def _open(self, kind: str, part: Part) -> int:
        """The index of the open part of `kind`; opens `part` if another kind is open, or none."""
        if self._kind != kind:
            self._close_part()
            self._kind, self._part = kind, self._next
            self._next += 1
            self._out.append(PartStarted(0, self._part, part))
        return self._part

    def _close_part(self) -> None:
        if self._kind:
            self._out.append(PartEnded(0, self._part))
            self._kind = ""

    def _end(self, event: dict[str, Any]) -> None:
        delta = dict(expect(event.get("delta"), DICT, "delta"))
        word = expect(delta.get("finish_reason"), STR, "delta.finish_reason")
        usage = take(delta, "usage", DICT, "delta.")
        if usage is not None:
            self._out.append(Used(decode_usage(usage)))
        if word in BROKEN:
            self._fail(end_fault(delta))
            return
        self._close_part()
        rest = {key: item for key, item in delta.items() if key != "finish_reason" and item}
        self._out += [Finished(0, finish_of(word), word, rest), Ended()]
        self._over = True
