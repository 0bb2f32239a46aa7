"""Streamed answers, from bytes to events: one JSON object a line, the last with `done: true`.

A line with `error` is a failure. A stream without `done: true` is cut; a last line without its newline still counts if
it is whole. A line that says nothing is a sign of life. Calls of tools come whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

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
from understudy.dialects.gemini.answer import created_of
from understudy.dialects.ollama.answer import finish_of, generated, take_usage, tokens_of
from understudy.dialects.ollama.fault import fault_in
from understudy.dialects.ollama.messages import NAME, note, take_parts
from understudy.dialects.sse import EVENT_LIMIT
from understudy.dialects.wire import BOOL, DICT, STR, Malformed, expect, parse, split, take

_SHOWN = 200
"""Bytes of a skipped line that are kept for the record."""


class StreamDecoder:
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one line (16 MiB)."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of a line whose end has not come; joined once, so the cost stays linear
        self._held = 0
        self._out: list[Event] = []
        self._started = False
        self._stamp = ""
        self._kind = ""  # of the open part
        self._part = 0
        self._next = 0
        self._calls = 0
        self._skipped = False
        self._over = False

    @property
    def whole(self) -> bool:
        return False  # where the finish is the end

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes; nothing after `Ended` or `Failed`."""
        if self._over:
            return []
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._pieces, lines[0]])
            self._pieces.clear()
            self._held = 0
        for line in lines:
            self._line(line)
        if rest:
            self._pieces.append(rest)
            self._held += len(rest)
        if self._held > EVENT_LIMIT:
            self._pieces.clear()
            self._fail(Fault("malformed_events", message="A line is larger than 16 MiB.", phase="stream"))
        return self._given()

    def close(self) -> list[Event]:
        """The connection ended."""
        self._line(b"".join(self._pieces), last=True)
        self._pieces.clear()
        self._fail(Fault("stream_cut", message="The connection ended before the answer did.", phase="stream"))
        return self._given()

    def _given(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    def _line(self, line: bytes, *, last: bool = False) -> None:
        """One line. A torn `last` one belongs to the cut. A line counts whole or not at all."""
        line = line.removeprefix(b"\xef\xbb\xbf").strip()
        if self._over or not line:
            return
        try:
            chunk = expect(parse(line), DICT, "line")
            fault = fault_in(chunk, "stream") if "message" not in chunk or "error" in chunk else None
            if fault is not None:
                self._fail(fault)
                return
            self._chunk(*_sound(chunk, self._stamp, self._calls))
        except Malformed:
            if not last:
                self._skip(line)

    def _skip(self, line: bytes) -> None:
        if self._skipped:
            self._fail(Fault("malformed_events", message="A second line could not be read.", phase="stream"))
        else:
            self._skipped = True
            self._out.append(Skipped(line[:_SHOWN].decode("utf-8", "replace")))

    def _fail(self, fault: Fault) -> None:
        if self._over:
            return
        self._start({})
        self._out.append(Failed(fault))
        self._over = True

    # --- chunks

    def _start(self, head: dict[str, Any], *, generate: bool = False) -> None:
        if not self._started:
            self._started = True
            self._stamp = head.get("stamp") or ""
            extra = note({}, {}, stamp=head.get("stamp"), generate=generate)
            created = created_of(head.get("stamp"))
            self._out.append(Started(NAME, "", head.get("model") or "", created, extra=extra))

    def _chunk(self, head: dict[str, Any], parts: list[Part], rest: dict[str, Any]) -> None:
        fresh = not self._started
        self._start(head, generate=head["generate"])
        tokens = head["tokens"]
        for part in parts:
            if isinstance(part, Text):
                self._out.append(Delta(0, self._open("text", Text("")), part.text, logprobs=tokens))
                tokens = ()
            elif isinstance(part, Reasoning):
                self._out.append(Delta(0, self._open("thought", Reasoning()), part.text))
            elif isinstance(part, ToolCall):
                self._call(part)
            else:
                self._open("whole", part)
                self._close_part()
        if tokens:
            self._out.append(Delta(0, self._open("text", Text("")), logprobs=tokens))
        if head["message"]:
            self._out.append(Extras(0, {"message": head["message"]}))
        if head["done"]:
            self._end(head["reason"], rest)
        elif rest:
            self._out.append(Extras(None, rest))
        elif not parts and not tokens and not fresh:
            self._out.append(Ping())

    def _call(self, call: ToolCall) -> None:
        self._calls += 1
        self._close_part()
        at = self._open("call", msgspec.structs.replace(call, arguments=""))
        if call.arguments:
            self._out.append(Delta(0, at, call.arguments))
        self._close_part()

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

    def _end(self, reason: str | None, rest: dict[str, Any]) -> None:
        self._close_part()
        usage = take_usage(rest)
        if rest:
            self._out.append(Extras(None, rest))
        if usage is not None:
            self._out.append(Used(usage))
        self._out += [Finished(0, finish_of(reason, calls=self._calls > 0), reason), Ended()]
        self._over = True


def _sound(chunk: dict[str, Any], seed: str, calls: int) -> tuple[dict[str, Any], list[Part], dict[str, Any]]:
    """What a line says: its head, its parts, and what else it holds. Raises `Malformed`."""
    if not any(key in chunk for key in ("message", "response", "done")):
        raise Malformed("message", "is required")
    rest, _ = split(chunk)
    generate = "message" not in chunk and "response" in chunk
    if generate:
        inner = generated(rest)
    else:
        inner, _ = split(expect(rest.pop("message", {}), DICT, "message"))
        if inner.get("role") == "assistant":
            del inner["role"]
    tokens = tokens_of(rest.get("logprobs"))
    if tokens:
        del rest["logprobs"]
    head = {
        "model": take(rest, "model", STR),
        "stamp": take(rest, "created_at", STR),
        "done": take(rest, "done", BOOL) or False,
        "reason": take(rest, "done_reason", STR),
        "generate": generate,
        "tokens": tokens,
    }
    parts = take_parts(inner, "message", seed or head["stamp"] or "", calls)
    return {**head, "message": inner}, parts, rest
