"""Streamed answers, from events to bytes: what Cohere's SDK expects, ending with one `message-end`.

Finish and usage wait for it. A failure is a `message-end` with the finish reason ERROR and the error's text. Texts are
content, also before calls of tools, since it cannot be known yet that calls will follow. Pings are comments.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
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
    Request,
    Started,
    Text,
    ToolCall,
    Usage,
    Used,
)
from understudy.dialects.cohere_chat.answer import (
    block_of,
    cited,
    encode_logprob,
    finish_word,
    function_of,
    head_losses,
)
from understudy.dialects.cohere_chat.fault import error_body
from understudy.dialects.cohere_chat.messages import PLAN
from understudy.dialects.cohere_chat.parts import NAME
from understudy.dialects.cohere_chat.usage import encode_usage
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import dump, foreign, restore


class _Open:
    """A part that has begun: what it is, where it stands on the wire, its text for the citations in it."""

    __slots__ = ("kind", "part", "pieces", "place")

    def __init__(self, part: Part, kind: str, place: int) -> None:
        self.part, self.kind, self.place = part, kind, place
        self.pieces: list[str] = []


_WHY = {"filtered": "The answer was filtered.", "refusal": "The model declined to go on."}


class StreamEncoder:
    """Events to bytes. There is one choice here: of others, only a loss is left."""

    def __init__(self, request: Request | None = None) -> None:  # noqa: ARG002  usage always goes
        self.losses: list[Loss] = []
        self._own = True
        self._parts: dict[int, _Open] = {}
        self._contents = 0
        self._calls = 0
        self._citations = 0
        self._finish: Finished | None = None
        self._usage: Usage | None = None
        self._others: set[int] = set()

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none."""
        choice = getattr(event, "choice", None)
        if choice:
            if choice not in self._others:
                self._others.add(choice)
                self.losses.append(Loss(f"choices[{choice}]", "there is one answer here"))
            return b""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, PartStarted):
            return self._start_part(event)
        if isinstance(event, PartEnded):
            return self._end_part(event)
        return self._other(event)

    def _other(self, event: Event) -> bytes:
        if isinstance(event, Started):
            return self._start(event)
        if isinstance(event, Extras):
            return self._extras(event)
        if isinstance(event, Finished):
            self._finish = event
        elif isinstance(event, Used):
            self._use(event)
        elif isinstance(event, Ping):
            return b": " + " ".join(event.text.splitlines()).encode("utf-8", "replace") + b"\n\n"
        elif isinstance(event, Ended):
            return self._end()
        elif isinstance(event, Failed):
            return self._write("message-end", delta={**error_body(event.fault, "error"), "finish_reason": "ERROR"})
        return b""

    # --- events of the wire

    def _write(self, kind: str, **fields: Any) -> bytes:
        return b"event: " + kind.encode() + b"\ndata: " + dump({"type": kind, **fields}) + b"\n\n"

    def _message(self, kind: str, index: int | None, message: dict[str, Any], **more: Any) -> bytes:
        where = {} if index is None else {"index": index}
        return self._write(kind, **where, delta={"message": message}, **more)

    def _start(self, event: Started) -> bytes:
        self._own = event.dialect == NAME
        message: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        message["citations"] = []
        if self._own:
            message |= event.extra.get("message", {})
        else:
            self.losses += head_losses(event.model, event.created, event.service_tier)
            self.losses += foreign(event.extra, "")
        return self._write("message-start", id=event.id, delta={"message": message})

    def _extras(self, event: Extras) -> bytes:
        if not self._own:
            self.losses += foreign(event.fields, "" if event.choice is None else "choices[0].")
            return b""
        out = b""
        for citation in event.fields.get("citations", ()):
            out += self._cite(citation)
        wire = event.fields.get("event")
        if isinstance(wire, dict):
            out += b"event: " + str(wire.get("type")).encode("utf-8", "replace").replace(b"\n", b" ")
            out += b"\ndata: " + dump(wire) + b"\n\n"
        return out

    def _use(self, event: Used) -> None:
        if not self._own:
            self.losses += foreign(event.extra, "usage.")
        self._usage = event.usage

    # --- parts

    def _start_part(self, event: PartStarted) -> bytes:
        part, path = event.part, f"choices[0].parts[{event.index}]"
        if isinstance(part, ToolCall):
            return self._start_call(part, event.index, path)
        if self._own and isinstance(part, Text) and form_of(part.extra).get("as") == PLAN:
            self._parts[event.index] = _Open(part, "plan", 0)
            return b""
        block = block_of(part, [] if self._own else self.losses, path)
        if block is None:
            return b""
        kind, text = block
        opened = self._parts[event.index] = _Open(part, kind, self._contents)
        opened.pieces.append(text)
        self._contents += 1
        return self._message("content-start", opened.place, {"content": {"type": kind, kind: text}})

    def _start_call(self, part: ToolCall, index: int, path: str) -> bytes:
        call = function_of(part, [] if self._own else self.losses, path)
        if call is None:
            return b""
        opened = self._parts[index] = _Open(part, "call", self._calls)
        self._calls += 1
        return self._message("tool-call-start", opened.place, {"tool_calls": call})

    def _delta(self, event: Delta) -> bytes:
        known = self._parts.get(event.index)
        if known is None:
            return b""  # told when it began
        path = f"choices[0].parts[{event.index}]"
        if not self._own:
            self._opaque(event, known.part, path)
        known.pieces.append(event.text)
        if known.kind == "call":
            if isinstance(known.part, ToolCall) and known.part.kind == "custom":
                return b""  # an object once it is whole
            return self._arguments(known, event.text)
        if known.kind == "plan":
            return self._message("tool-plan-delta", None, {"tool_plan": event.text})
        out = b""
        tokens = [encode_logprob(token, self.losses, path, mine=self._own) for token in event.logprobs]
        loose = event.extra.get("logprobs") if self._own else None
        if event.text or tokens or loose:
            more = {"logprobs": tokens[0] if tokens else loose} if tokens or loose else {}
            out = self._message("content-delta", known.place, {"content": {known.kind: event.text}}, **more)
        for token in tokens[1:]:
            out += self._message("content-delta", known.place, {"content": {known.kind: ""}}, logprobs=token)
        for citation in cited(event.citations, "".join(known.pieces), known.place):
            out += self._cite(citation)
        return out

    def _opaque(self, event: Delta, part: Part, path: str) -> None:
        for name in ("signature", "sealed"):
            if getattr(event, name) is not None:
                self.losses.append(Loss(f"{path}.{name}", "means nothing to another provider"))
        if not isinstance(part, Text | Reasoning | ToolCall) and event.citations:
            self.losses.append(Loss(path + ".citations", "only a text bears citations here"))
        self.losses += foreign(event.extra, path + ".")

    def _arguments(self, known: _Open, text: str) -> bytes:
        return self._message("tool-call-delta", known.place, {"tool_calls": {"function": {"arguments": text}}})

    def _cite(self, citation: Any) -> bytes:
        index = self._citations
        self._citations += 1
        start = self._message("citation-start", index, {"citations": citation})
        return start + self._write("citation-end", index=index)

    def _end_part(self, event: PartEnded) -> bytes:
        known = self._parts.get(event.index)
        if known is None or known.kind == "plan":
            return b""
        if known.kind != "call":
            return self._write("content-end", index=known.place)
        out = b""
        if isinstance(known.part, ToolCall) and known.part.kind == "custom":
            out = self._arguments(known, dump({"input": "".join(known.pieces)}).decode())
        return out + self._write("tool-call-end", index=known.place)

    # --- the end

    def _end(self) -> bytes:
        event = self._finish
        delta: dict[str, Any] = {}
        if event is not None and self._own and event.native_reason is not None:
            delta = restore({"finish_reason": event.native_reason}, event.extra)
        elif event is not None:
            word = finish_word(event.finish, event.native_reason, self.losses, "choices[0].finish")
            delta = {"finish_reason": word}
            if word == "ERROR":
                delta["error"] = _WHY.get(event.finish, "The answer broke off.")
            self.losses += foreign(event.extra, "choices[0].")
        if self._usage is not None:
            delta["usage"] = encode_usage(self._usage, self.losses, mine=self._own)
        return self._write("message-end", delta=delta)
