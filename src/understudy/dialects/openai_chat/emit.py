"""Streamed answers, from events to bytes: what a client of OpenAI's expects, ending in `data: [DONE]`.

A choice's role goes with its first chunk. Fields of a chunk (`Extras`) wait for the next chunk that is written anyway;
usage waits for the end, in a chunk of its own without choices, if the client asked for it. A failure becomes
`data: {"error": …}`, with no finish and no `[DONE]`, which the official SDKs raise as an error.
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
    Image,
    Loss,
    Part,
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
from understudy.dialects.openai_chat.answer import encode_logprob, encode_usage, finish_word
from understudy.dialects.openai_chat.fault import encode_fault
from understudy.dialects.openai_chat.parts import (
    NAME,
    blanks_of,
    encode_citation,
    encode_detail,
    encode_part,
    encode_tool_call,
    form_of,
)
from understudy.dialects.openai_chat.stream import CHUNK
from understudy.dialects.wire import FORM, dump, foreign

_STEADY = ("system_fingerprint", "provider")  # sent with every chunk, as their servers do


class _Open:
    """A part that has begun: what it is, and where it stands on the wire."""

    __slots__ = ("offset", "part", "place")

    def __init__(self, part: Part, place: int, offset: int) -> None:
        self.part, self.place, self.offset = part, place, offset


class StreamEncoder:
    """Events to bytes. `request` is what the client asked for: usage is sent unless it says otherwise."""

    def __init__(self, request: Request | None = None) -> None:
        self.losses: list[Loss] = []
        self._wants_usage = request is None or bool(request.include_usage)
        self._own = True
        self._head: dict[str, Any] = {}
        self._head_bytes = b""
        self._once: dict[str, Any] = {}  # fields for the next chunk only
        self._waiting: dict[int, dict[str, Any]] = {}  # fields for the next chunk of a choice
        self._parts: dict[tuple[int, int], _Open] = {}
        self._calls: dict[int, int] = {}
        self._texts: dict[int, int] = {}  # characters of text sent, by choice
        self._begun: set[int] = set()
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or one chunk."""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, PartStarted):
            return self._part(event)
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Finished):
            return self._finish(event)
        elif isinstance(event, Extras):
            self._extras(event)
        elif isinstance(event, Used):
            self._use(event)
        elif isinstance(event, Ping):
            return b": " + " ".join(event.text.splitlines()).encode("utf-8", "replace") + b"\n\n"
        elif isinstance(event, Ended):
            return self._rest() + b"data: [DONE]\n\n"
        elif isinstance(event, Failed):
            return self._rest() + b"data: " + encode_fault(event.fault)[2] + b"\n\n"
        return b""

    # --- chunks

    def _start(self, event: Started) -> None:
        self._own = event.dialect == NAME
        extra = dict(event.extra) if self._own else {}
        head = {"id": event.id, "object": extra.pop("object", CHUNK), "created": event.created, "model": event.model}
        self._head = {key: value for key, value in head.items() if value not in (None, "")}
        if event.service_tier is not None:
            self._head["service_tier"] = event.service_tier
        for key in _STEADY:
            if key in extra:
                self._head[key] = extra.pop(key)
        self._head_bytes = b"data: " + dump(self._head)[:-1] + b","
        self._once = extra
        if not self._own:
            self.losses += foreign(event.extra, "")

    def _write(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        fields: dict[str, Any] = {"choices": choices}
        if self._once:
            fields |= self._once
            self._once = {}
        if usage is not None:
            fields["usage"] = usage
        return (self._head_bytes or b"data: {") + dump(fields)[1:] + b"\n\n"

    def _chunk(self, choice: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", **delta}
        fields = {"index": choice, "delta": delta, **more, "finish_reason": finish}
        waiting = self._waiting.pop(choice, None)
        if waiting:
            inner = waiting.pop("delta", None)
            if inner:
                fields["delta"] = {**delta, **inner}
            fields |= waiting
        return self._write([fields])

    def _rest(self) -> bytes:
        """All that still waits, before the end."""
        out = b"".join(self._chunk(choice, {}) for choice in list(self._waiting))
        usage = None
        if self._usage is not None and self._wants_usage:
            usage = encode_usage(self._usage, self.losses, own=self._own)
        return out + (self._write([], usage) if usage is not None or self._once else b"")

    # --- events

    def _extras(self, event: Extras) -> None:
        if not self._own:
            prefix = "" if event.choice is None else f"choices[{event.choice}]."
            self.losses += foreign(event.fields, prefix)
        elif event.choice is None:
            steady = {key: value for key, value in event.fields.items() if key in self._head}
            if steady:
                self._head |= steady
                self._head_bytes = b"data: " + dump(self._head)[:-1] + b","
            self._once |= {key: value for key, value in event.fields.items() if key not in steady}
        else:
            waiting = self._waiting.setdefault(event.choice, {})
            inner = {**waiting.get("delta", {}), **event.fields.get("delta", {})}
            waiting |= event.fields
            if inner:
                waiting["delta"] = inner

    def _use(self, event: Used) -> None:
        if not self._own:
            self.losses += foreign(event.extra, "usage.")
        if not (self._own and event.extra.get(FORM) == "x_groq"):
            self._usage = event.usage

    def _finish(self, event: Finished) -> bytes:
        path = f"choices[{event.choice}].finish"
        form = form_of(event.extra) if self._own else {}
        word = form.get("finish") or finish_word(event.finish, event.native_reason, self.losses, path)
        more = {}
        if event.native_reason is not None and ("native" in form if form else event.native_reason != word):
            more["native_finish_reason"] = event.native_reason
        if not self._own:
            self.losses += foreign(event.extra, f"choices[{event.choice}].")
        return self._chunk(event.choice, {}, word, **more)

    def _part(self, event: PartStarted) -> bytes:
        part, choice = event.part, event.choice
        path = f"choices[{choice}].parts[{event.index}]"
        place = self._calls.get(choice, 0)
        self._parts[choice, event.index] = _Open(part, place, self._texts.get(choice, 0))
        if not self._own:
            self.losses += foreign(getattr(part, "extra", {}), path + ".")
        if isinstance(part, Text | Refusal):
            before = self._parts.get((choice, event.index - 1))
            if before is not None and type(before.part) is type(part):
                self.losses.append(Loss(path, "joined to the text before it", "approximated"))
            return self._chunk(choice, {"content": ""}) if choice not in self._begun else b""
        if isinstance(part, ToolCall) and part.kind != "hosted":
            if self._own and part.extra.get(FORM) == "function_call":
                return self._chunk(choice, {"function_call": {"name": part.name, "arguments": ""}})
            self._calls[choice] = place + 1
            return self._chunk(choice, {"tool_calls": [{"index": place, **encode_tool_call(part, own=self._own)}]})
        if isinstance(part, Reasoning):
            return self._thought(part, event)
        if isinstance(part, Audio):
            return self._chunk(choice, {"audio": {"id": part.id}}) if part.id is not None else b""
        if isinstance(part, Image) and (image := encode_part(part)) is not None:
            return self._chunk(choice, {"images": [image]})
        self.losses.append(Loss(path, f"a part of kind {type(part).__name__} has no form in a stream here"))
        return b""

    def _thought(self, part: Reasoning, event: PartStarted) -> bytes:
        """What is sealed goes at once: no delta will bring it."""
        if part.sealed is None:
            return b""
        delta: dict[str, Any] = {"reasoning_details": [encode_detail(part, event.index)]}
        for key in form_of(part.extra).get("as", ()) if part.summary and self._own else ():
            delta[key] = part.summary
        return self._chunk(event.choice, delta)

    def _delta(self, event: Delta) -> bytes:
        choice = event.choice
        known = self._parts[choice, event.index]
        part = known.part
        if isinstance(part, Text):
            return self._text(event, known)
        if isinstance(part, ToolCall):
            if part.kind == "hosted":
                return b""  # told when it began
            if self._own and part.extra.get(FORM) == "function_call":
                return self._chunk(choice, {"function_call": {"arguments": event.text}})
            key, field = ("custom", "input") if part.kind == "custom" else ("function", "arguments")
            return self._chunk(choice, {"tool_calls": [{"index": known.place, key: {field: event.text}}]})
        if isinstance(part, Reasoning):
            return self._chunk(choice, self._thinking(event, part))
        if isinstance(part, Refusal):
            return self._chunk(choice, {"refusal": event.text})
        if isinstance(part, Audio):
            sound = {"data": event.data, "transcript": event.text}
            return self._chunk(choice, {"audio": {**event.extra, **{k: v for k, v in sound.items() if v}}})
        return b""

    def _text(self, event: Delta, known: _Open) -> bytes:
        choice = event.choice
        self._texts[choice] = self._texts.get(choice, 0) + len(event.text)
        delta: dict[str, Any] = {"content": event.text}
        if event.signature is not None:
            self.losses.append(
                Loss(f"choices[{choice}].parts[{event.index}].signature", "a text has no signature here")
            )
        if not event.citations and not event.logprobs:
            return self._chunk(choice, delta)
        annotations = []
        for citation in event.citations:
            annotation = encode_citation(citation, known.offset)
            if annotation is not None:
                annotations.append(annotation)
            else:
                where = f"choices[{choice}].parts[{event.index}].citations"
                self.losses.append(Loss(where, f"a citation of kind {citation.kind!r} has no URL to give"))
        if annotations:
            delta["annotations"] = annotations
        if event.logprobs:
            return self._chunk(choice, delta, logprobs={"content": [encode_logprob(t) for t in event.logprobs]})
        return self._chunk(choice, delta)

    def _thinking(self, event: Delta, part: Reasoning) -> dict[str, Any]:
        """Plain text for those who show it; details too, for those who send it back, where it may be signed."""
        if part.sealed is not None and event.text:
            path = f"choices[{event.choice}].parts[{event.index}]"
            self.losses.append(Loss(path, "parted from its sealed form, which went before", "approximated"))
        form = form_of(part.extra) if self._own else {}
        names = form.get("as", ["reasoning_content"])
        if names == "thinking":
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": event.text}]}
            return {"content": [thought | blanks_of(event.extra)]}
        delta: dict[str, Any] = dict.fromkeys(names, event.text) if event.text else {}
        if "detail" in form or "as" not in form:
            text, summary = ("", event.text) if part.summary is not None else (event.text, None)
            piece = Reasoning(
                text, summary, event.signature, event.sealed, part.id, part.origin, part.extra if form else {}
            )
            delta["reasoning_details"] = [encode_detail(piece, event.index)]
        return delta
