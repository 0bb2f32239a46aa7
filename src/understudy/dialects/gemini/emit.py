"""Streamed answers, from events to bytes: server-sent events, or one JSON array for who asked without `alt=sse`.

Google's clients expect calls whole, so arguments wait until their call is complete; a call whose arguments are no JSON
object is left out and the finish says so. Finish reasons and usage wait for the last event, which is only written once
the stream has ended in order: a failure becomes `{"error": …}`, which the official SDK raises, and no finish comes
before it. Pings are empty lines, since the SDK reads whatever else stands in a stream as JSON.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Audio,
    Citation,
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Finished,
    Inline,
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
    Usage,
    Used,
)
from understudy.dialects.gemini.answer import (
    BROKEN_CALL,
    citable,
    created_text,
    encode_answered,
    finish_word,
    is_broken,
)
from understudy.dialects.gemini.fault import encode_fault
from understudy.dialects.gemini.grounding import encode_citations, encode_logprobs
from understudy.dialects.gemini.parts import NAME, encode_part, is_signature
from understudy.dialects.gemini.spelling import form_of
from understudy.dialects.gemini.usage import encode_usage
from understudy.dialects.wire import dump, foreign


class _Choice:
    """What has been sent of one choice, and what waits."""

    __slots__ = ("broken", "cited", "extra", "finish", "last", "parts")

    def __init__(self) -> None:
        self.parts = 0
        self.last: type[Part] | None = None
        self.cited: list[tuple[int, str, Citation]] = []
        self.extra: dict[str, Any] = {}
        self.finish: Finished | None = None
        self.broken = False


class _Open:
    """A part that has begun: where it stands on the wire, and what came of it so far."""

    __slots__ = ("cited", "part", "pieces", "place")

    def __init__(self, part: Part, place: int) -> None:
        self.part, self.place = part, place
        self.pieces: list[str] = []
        self.cited: list[Citation] = []


class StreamEncoder:
    """Events to bytes; `array` writes one JSON array instead of server-sent events."""

    def __init__(self, request: Request | None = None, *, array: bool = False) -> None:  # noqa: ARG002  usage always goes
        self.losses: list[Loss] = []
        self._array = array
        self._begun = False
        self._own = True
        self._head: dict[str, Any] = {}
        self._once: dict[str, Any] = {}  # fields for the next event only
        self._choices: dict[int, _Choice] = {}
        self._parts: dict[tuple[int, int], _Open] = {}
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none."""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, PartStarted):
            return self._start_part(event)
        if isinstance(event, PartEnded):
            return self._end_part(event)
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Finished):
            self._choice(event.choice).finish = event
        elif isinstance(event, Extras):
            self._extras(event)
        elif isinstance(event, Used):
            self._use(event)
        elif isinstance(event, Ping):
            return b"\r\n"
        elif isinstance(event, Ended):
            return self._end()
        elif isinstance(event, Failed):
            return self._write(encode_fault(event.fault)[2]) + (b"]" if self._array else b"")
        return b""

    # --- events of the wire

    def _write(self, body: bytes) -> bytes:
        if not self._array:
            return b"data: " + body + b"\r\n\r\n"
        lead = b",\r\n" if self._begun else b"["
        self._begun = True
        return lead + body

    def _event(self, candidates: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        fields: dict[str, Any] = {"candidates": candidates} if candidates else {}
        if usage is not None:
            fields["usageMetadata"] = usage
        fields |= self._head | self._once
        self._once = {}
        return self._write(dump(fields))

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())

    def _candidate(self, index: int, parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """A candidate with what waits for it."""
        choice = self._choice(index)
        extra, choice.extra = choice.extra, {}
        content = {"parts": parts, "role": "model", **extra.pop("content", {})}
        return {**extra, "content": content, **more, "index": index}

    def _send(self, index: int, part: dict[str, Any] | None, **more: Any) -> bytes:
        if part is None:
            return b""
        self._choice(index).parts += 1
        return self._event([self._candidate(index, [part], **more)])

    # --- the head, and fields that are no parts

    def _start(self, event: Started) -> None:
        self._own = event.dialect == NAME
        stamp = form_of(event.extra).get("stamp") if self._own else None
        created = stamp or created_text(event.created, self.losses)
        head = {"modelVersion": event.model, "createTime": created, "responseId": event.id}
        self._head = {key: value for key, value in head.items() if value}
        if self._own:
            self._once = {key: value for key, value in event.extra.items() if not key.startswith("~")}
        else:
            self.losses += foreign(event.extra, "")
            if event.service_tier is not None:
                self.losses.append(Loss("service_tier", "an answer names no tier here"))

    def _extras(self, event: Extras) -> None:
        if not self._own:
            prefix = "" if event.choice is None else f"choices[{event.choice}]."
            self.losses += foreign(event.fields, prefix)
        elif event.choice is None:
            self._once |= event.fields
            self._head |= {key: value for key, value in event.fields.items() if key in self._head}
        else:
            self._choice(event.choice).extra |= event.fields

    def _use(self, event: Used) -> None:
        if not self._own:
            self.losses += foreign(event.extra, "usage.")
        self._usage = event.usage

    # --- parts

    def _start_part(self, event: PartStarted) -> bytes:
        part, path = event.part, f"choices[{event.choice}].parts[{event.index}]"
        choice = self._choice(event.choice)
        self._parts[event.choice, event.index] = _Open(part, choice.parts)
        joined = choice.last is type(part) and isinstance(part, Text | Refusal)
        if joined and not self._own:
            self.losses.append(Loss(path, "joined to the text before it", "approximated"))
        choice.last = type(part)
        if isinstance(part, Text | Refusal | Reasoning):
            if not self._own:
                encode_answered(part, path, self.losses)  # for its losses
            if isinstance(part, Refusal | Text) or not (part.text or part.summary):
                return b""
            return self._send(event.choice, {"text": part.text or part.summary, "thought": True})
        if isinstance(part, ToolCall) or (isinstance(part, Audio) and part.source is None):
            return b""
        encoded = encode_part(part) if self._own else encode_answered(part, path, self.losses)
        return self._send(event.choice, encoded)

    def _delta(self, event: Delta) -> bytes:
        known = self._parts[event.choice, event.index]
        part = known.part
        if isinstance(part, ToolCall):
            known.pieces.append(event.text)
            return b""
        if isinstance(part, Audio):
            return self._sound(event, part)
        path = f"choices[{event.choice}].parts[{event.index}]"
        known.pieces.append(event.text)
        if event.citations and not self._own:
            said = "".join(known.pieces)
            known.cited += citable(event.citations, path, self.losses, said)
        marks: dict[str, Any] = {}
        for name in ("signature", "sealed"):
            opaque = getattr(event, name)
            if opaque is not None and (self._own or (isinstance(part, Text) and is_signature(opaque))):
                marks["thoughtSignature"] = opaque
            elif opaque is not None:
                self.losses.append(Loss(f"{path}.{name}", "means nothing to another provider"))
        if self._own:
            marks |= event.extra
        else:
            self.losses += foreign(event.extra, path + ".")
        more = {"logprobsResult": encode_logprobs(event.logprobs)} if event.logprobs else {}
        if not (event.text or marks or more):
            return b""
        thought = {"thought": True} if isinstance(part, Reasoning) else {}
        return self._send(event.choice, {"text": event.text, **thought, **marks}, **more)

    def _sound(self, event: Delta, part: Audio) -> bytes:
        path = f"choices[{event.choice}].parts[{event.index}]"
        if event.text:
            self.losses.append(Loss(path + ".transcript", "has no place beside bytes here"))
        if not event.data:
            return b""
        media = form_of(part.extra).get("mimeType") if self._own else None
        whole = msgspec.structs.replace(part, source=Inline(event.data, media), id=None, extra={})
        encoded = encode_part(whole)
        assert encoded is not None
        return self._send(event.choice, encoded | (event.extra if self._own else {}))

    def _end_part(self, event: PartEnded) -> bytes:
        known = self._parts.pop((event.choice, event.index))
        part, choice = known.part, self._choice(event.choice)
        text = "".join(known.pieces)
        choice.cited += [(known.place, text, citation) for citation in known.cited]
        if not isinstance(part, ToolCall):
            return b""
        path = f"choices[{event.choice}].parts[{event.index}]"
        call = msgspec.structs.replace(part, arguments=part.arguments + text)
        if is_broken(call, path, self.losses):
            choice.broken = True
            return b""
        return self._send(event.choice, encode_part(call) if self._own else encode_answered(call, path, self.losses))

    # --- the end

    def _end(self) -> bytes:
        usage = None if self._usage is None else encode_usage(self._usage, self.losses, mine=self._own)
        candidates = [self._last(index, choice) for index, choice in sorted(self._choices.items())]
        return self._event(candidates, usage) + (b"]" if self._array else b"")

    def _last(self, index: int, choice: _Choice) -> dict[str, Any]:
        more: dict[str, Any] = {}
        event = choice.finish
        if event is not None:
            path = f"choices[{index}].finish"
            reason = form_of(event.extra).get("reason", event.native_reason) if self._own else None
            word = reason or finish_word(event.finish, event.native_reason, self.losses, path)
            more["finishReason"] = BROKEN_CALL if choice.broken and event.finish != "length" else word
            if not self._own:
                self.losses += foreign(event.extra, f"choices[{index}].")
        if choice.cited:
            more["groundingMetadata"] = encode_citations(choice.cited)
        return self._candidate(index, [{"text": ""}], **more)
