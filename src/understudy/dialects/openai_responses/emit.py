"""Streamed answers, from events to bytes: what a client of the Responses API expects, in OpenAI's own order.

`response.created` and `response.in_progress`, then the items (each added, its parts begun, grown and done, then itself
done), then one of `response.completed`, `.incomplete` and `.failed`, which repeats the whole answer. Sequence numbers
rise by one. An item is done when the next one begins, since only then is it sure that no further part belongs to it. A
failure is an `error` event, which the official SDKs raise, and then `response.failed`, as OpenAI sends them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Citation,
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
    TokenLogprob,
    ToolCall,
    Unknown,
    Usage,
    Used,
)
from understudy.dialects.openai_responses.answer import ECHO, encode_end, encode_head, encode_usage
from understudy.dialects.openai_responses.fault import encode_fault, error_body, failed_error
from understudy.dialects.openai_responses.items import (
    begin,
    encode_content,
    goes_on,
    grow,
    hollow,
    in_message,
    mint_for,
    output_losses,
    text_of,
)
from understudy.dialects.openai_responses.parts import NAME, citation_losses, encode_citation, encode_token
from understudy.dialects.openai_responses.stream import EVENTS, FINAL
from understudy.dialects.wire import dump, foreign

_TEXT, _REFUSAL, _SUMMARY, _THOUGHT, _CALL, _INPUT = (
    "output_text",
    "refusal",
    "reasoning_summary_text",
    "reasoning_text",
    "function_call_arguments",
    "custom_tool_call_input",
)
"""Kinds of parts that grow, by what their events are called."""


class _Item:
    """An output item that has begun; `parts` and `growing` go together."""

    __slots__ = ("counts", "growing", "id", "last", "open", "parts", "place", "released")

    def __init__(self, place: int, own_id: str) -> None:
        self.place, self.id = place, own_id
        self.parts: list[_Part] = []
        self.counts = {"content": 0, "summary": 0}
        self.open = 0
        self.released = False


class _Part:
    """A part that has begun, and what has come of it."""

    __slots__ = ("announced", "citations", "index", "item", "kind", "logprobs", "part", "place", "prefix", "texts")

    def __init__(self, part: Part, item: _Item, index: int) -> None:
        self.part, self.item, self.index = part, item, index
        self.kind = _kind_of(part)
        self.place: dict[str, Any] = {"item_id": item.id, "output_index": item.place}
        self.texts: list[str] = []
        self.citations: list[Citation] = []
        self.logprobs: list[TokenLogprob] = []
        self.announced = False
        self.prefix = b""

    def whole(self) -> Part:
        """The part as it is now."""
        part, text = self.part, "".join(self.texts)
        match part:
            case Text():
                cited = part.citations + tuple(self.citations)
                logged = part.logprobs + tuple(self.logprobs)
                return msgspec.structs.replace(part, text=part.text + text, citations=cited, logprobs=logged)
            case Refusal():
                return msgspec.structs.replace(part, text=part.text + text)
            case Reasoning(summary=str(summary)):
                return msgspec.structs.replace(part, summary=summary + text)
            case Reasoning():
                return msgspec.structs.replace(part, text=part.text + text)
            case ToolCall():
                return msgspec.structs.replace(part, arguments=part.arguments + text)
        return part


def _kind_of(part: Part) -> str:
    match part:
        case Text():
            return _TEXT
        case Refusal():
            return _REFUSAL
        case Reasoning(summary=summary):
            return _THOUGHT if summary is None else _SUMMARY
        case ToolCall(kind="function"):
            return _CALL
        case ToolCall(kind="custom"):
            return _INPUT
    return ""


class StreamEncoder:
    """Events to bytes. `request` is what the client asked for; a response repeats it.

    `sequence` is the next event's number.
    """

    def __init__(self, request: Request | None = None) -> None:
        self.losses: list[Loss] = []
        self._request = request
        self._own = True
        self._mint = mint_for("")
        self.sequence = 0
        self._head: dict[str, Any] | None = None
        self._items: list[_Item] = []
        self._held: _Item | None = None  # its parts are done, or will be; it may get more of them
        self._parts: dict[int, _Part] = {}
        self._usage: Usage | None = None
        self._end: dict[str, Any] = {}
        self._other_choices = False

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or several events of the wire."""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, PartStarted):
            return self._part(event)
        if isinstance(event, PartEnded):
            return self._part_ended(event)
        if isinstance(event, Started):
            return self._start(event)
        if isinstance(event, Finished):
            self._finish(event)
        elif isinstance(event, Extras):
            return self._extras(event)
        elif isinstance(event, Used):
            self._usage = event.usage
        elif isinstance(event, Ping):
            return b": " + " ".join(event.text.splitlines()).encode("utf-8", "replace") + b"\n\n"
        elif isinstance(event, Ended):
            return self._ended()
        elif isinstance(event, Failed):
            return self._failed(event)
        return b""

    # --- the response

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = {"type": kind, **fields, "sequence_number": self.sequence}
        self.sequence += 1
        return b"event: " + kind.encode("utf-8", "replace") + b"\ndata: " + dump(data) + b"\n\n"

    def _start(self, event: Started) -> bytes:
        self._own = event.dialect == NAME
        self._mint = mint_for(event.id)
        self._head = encode_head(event, self._request, self.losses, own=self._own)
        return b"".join(
            self._event("response." + kind, {"response": self._response({"status": "in_progress"}, ())})
            for kind in ("created", "in_progress")
        )

    def _response(self, end: dict[str, Any], items: tuple[_Item, ...] | list[_Item]) -> dict[str, Any]:
        return {**(self._head or {}), **end, "output": [self._wire(item) for item in items]}

    def _wire(self, item: _Item) -> dict[str, Any]:
        """The item as it is now."""
        first, *others = (part.whole() for part in item.parts)
        wire = begin(first, item.place, own=self._own, mint=self._mint) or {}
        for part in others:
            grow(wire, part, own=self._own)
        return wire

    def _finish(self, event: Finished) -> None:
        if event.choice == 0:
            end = (event.finish, event.native_reason, event.extra)
            self._end = encode_end(*end, self.losses, "choices[0]", own=self._own)

    def _extras(self, event: Extras) -> bytes:
        if not self._own:
            self.losses += foreign(event.fields, "" if event.choice is None else f"choices[{event.choice}].")
            return b""
        fields = {key: value for key, value in event.fields.items() if not key.startswith("~")}
        wire = fields.pop("events", ())
        if self._head is not None:
            self._head |= {**fields, **event.fields.get(ECHO, {})}
        return b"".join(self._event(each["type"], {k: v for k, v in each.items() if k != "type"}) for each in wire)

    def _ended(self) -> bytes:
        out = self._release()
        end = self._end or {"status": "completed"}
        if self._usage is not None:
            end = {**end, "usage": encode_usage(self._usage, self.losses, own=self._own)}
        status = end.get("status")
        kind = status if status in ("completed", "incomplete", "failed") else "completed"
        return out + self._event(f"response.{kind}", {"response": self._response(end, self._items)})

    def _failed(self, event: Failed) -> bytes:
        """The nested form is what SDKs raise, the flat fields are what OpenAI's document has."""
        fault = event.fault
        error = error_body(fault, encode_fault(fault)[0])["error"]
        flat = {key: error[key] for key in ("code", "message", "param")}
        out = self._event("error", {**flat, "error": error})
        if self._head is None:
            return out
        end: dict[str, Any] = {"status": "failed", "error": failed_error(fault)}
        if self._usage is not None:
            end["usage"] = encode_usage(self._usage, self.losses, own=self._own)
        return out + self._event("response.failed", {"response": self._response(end, self._items)})

    # --- parts

    def _part(self, event: PartStarted) -> bytes:
        part, path = event.part, f"choices[{event.choice}].parts[{event.index}]"
        if event.choice != 0:
            if not self._other_choices:
                self._other_choices = True
                self.losses.append(Loss(f"choices[{event.choice}]", "there is one answer here"))
            return b""
        self.losses += output_losses(part, path, own=self._own)
        held = self._held
        if held is not None and goes_on(held.parts[-1].part, part, own=self._own):
            return self._into(held, event)
        place = len(self._items)
        wire = begin(part, place, own=self._own, mint=self._mint)
        if wire is None:
            return b""
        out = self._release()
        own_id = wire.get("id")
        item = self._held = _Item(place, own_id if isinstance(own_id, str) else "")
        self._items.append(item)
        if isinstance(part, ToolCall) and not part.id and "call_id" in wire:
            event = PartStarted(0, event.index, msgspec.structs.replace(part, id=wire["call_id"]))
        out += self._event("response.output_item.added", {"output_index": place, "item": _begun(wire, part)})
        return out + self._into(item, event)

    def _into(self, item: _Item, event: PartStarted) -> bytes:
        part = event.part
        known = _Part(part, item, event.index)
        self._parts[event.index] = known
        item.parts.append(known)
        item.open += 1
        if not known.kind:
            return self._announce(known)
        known.part = hollow(part)
        if isinstance(part, Reasoning):
            known.part = msgspec.structs.replace(known.part, sealed=part.sealed, signature=part.signature)
        out = b"" if known.kind == _THOUGHT else self._announce(known)  # what is sealed alone is no part
        said = text_of(part)
        return out + self._delta(Delta(0, event.index, said)) if said else out

    def _announce(self, known: _Part) -> bytes:
        """Give the part its place in the item, and say so."""
        known.announced = True
        item, part = known.item, known.part
        if known.kind == _SUMMARY:
            known.place["summary_index"] = item.counts["summary"]
            item.counts["summary"] += 1
            out = self._event(
                "response.reasoning_summary_part.added", {**known.place, "part": {"type": "summary_text", "text": ""}}
            )
        elif known.kind == _THOUGHT or in_message(part, own=self._own):
            known.place["content_index"] = item.counts["content"]
            item.counts["content"] += 1
            out = self._event("response.content_part.added", {**known.place, "part": self._content(known)})
        else:
            out = b""
        if known.kind:
            kind = f"response.{known.kind}.delta"
            fields = dump({"type": kind, **known.place})[:-1]
            known.prefix = b"event: " + kind.encode() + b"\ndata: " + fields + b',"delta":'
        return out

    def _content(self, known: _Part) -> dict[str, Any]:
        """A content part as it is now."""
        if known.kind == _THOUGHT:
            return {"type": "reasoning_text", "text": "".join(known.texts)}
        return encode_content(known.whole(), own=self._own)

    def _delta(self, event: Delta) -> bytes:
        known = self._parts.get(event.index) if event.choice == 0 else None
        if known is None:
            return b""
        out = b""
        if event.text:
            out = b"" if known.announced else self._announce(known)
            known.texts.append(event.text)
            out += self._text(known, event)
        elif event.logprobs:
            known.logprobs += event.logprobs
        for citation in event.citations:
            out += self._cite(known, citation, event)
        if isinstance(known.part, Reasoning) and (event.sealed is not None or event.signature is not None):
            sealed, signature = event.sealed or known.part.sealed, event.signature or known.part.signature
            known.part = msgspec.structs.replace(known.part, sealed=sealed, signature=signature)
        elif event.signature is not None:
            where = f"choices[0].parts[{event.index}].signature"
            self.losses.append(Loss(where, "only reasoning can be sealed here"))
        if event.extra:
            out += self._notes(known, event)
        return out

    def _text(self, known: _Part, event: Delta) -> bytes:
        more = b""
        if known.kind == _TEXT:
            known.logprobs += event.logprobs
            more = b',"logprobs":' + (
                dump([encode_token(token, own=self._own) for token in event.logprobs]) if event.logprobs else b"[]"
            )
        elif not known.kind:
            return b""
        self.sequence += 1
        return known.prefix + dump(event.text) + more + b',"sequence_number":%d}\n\n' % (self.sequence - 1)

    def _cite(self, known: _Part, citation: Citation, event: Delta) -> bytes:
        where = f"choices[0].parts[{event.index}].citations[{len(known.citations)}]"
        self.losses += citation_losses(citation, where, own=self._own)
        annotation = encode_citation(citation, own=self._own)
        if annotation is None or known.kind != _TEXT:
            return b""
        fields = {**known.place, "annotation_index": len(known.citations), "annotation": annotation}
        known.citations.append(citation)
        return self._event("response.output_text.annotation.added", fields)

    def _notes(self, known: _Part, event: Delta) -> bytes:
        if not self._own:
            self.losses += foreign(event.extra, f"choices[0].parts[{event.index}].")
            return b""
        if FINAL in event.extra and not isinstance(known.part, Unknown):
            known.part = msgspec.structs.replace(known.part, extra=event.extra[FINAL])
        out = b""
        for wire in event.extra.get(EVENTS, ()):
            fields = {key: value for key, value in wire.items() if key != "type"}
            place = {key: value for key, value in known.place.items() if key in fields}
            out += self._event(wire["type"], {**fields, **place})
        return out

    def _part_ended(self, event: PartEnded) -> bytes:
        known = self._parts.pop(event.index, None) if event.choice == 0 else None
        if known is None:
            return b""
        out = self._done(known) if known.announced else b""
        item = known.item
        item.open -= 1
        if not isinstance(known.part, Reasoning) and not in_message(known.part, own=self._own):
            item.released = True
            if item is self._held:
                self._held = None
        return out + (self._item_done(item) if item.released else b"")

    def _done(self, known: _Part) -> bytes:
        text, place = "".join(known.texts), known.place
        kind = f"response.{known.kind}.done"
        if known.kind in (_CALL, _INPUT):
            assert isinstance(known.part, ToolCall)
            said = {"name": known.part.name, "arguments": text} if known.kind == _CALL else {"input": text}
            return self._event(kind, {**place, **said})
        if known.kind == _SUMMARY:
            out = self._event(kind, {**place, "text": text})
            part = {"type": "summary_text", "text": text}
            return out + self._event("response.reasoning_summary_part.done", {**place, "part": part})
        if known.kind not in (_TEXT, _REFUSAL, _THOUGHT):
            return b""
        fields: dict[str, Any] = {"refusal" if known.kind == _REFUSAL else "text": text}
        if known.kind == _TEXT:
            fields["logprobs"] = [encode_token(token, own=self._own) for token in known.logprobs]
        out = self._event(kind, {**place, **fields})
        return out + self._event("response.content_part.done", {**place, "part": self._content(known)})

    def _release(self) -> bytes:
        """No further part belongs to the held item."""
        item, self._held = self._held, None
        if item is None:
            return b""
        item.released = True
        return self._item_done(item)

    def _item_done(self, item: _Item) -> bytes:
        if item.open:
            return b""
        return self._event("response.output_item.done", {"output_index": item.place, "item": self._wire(item)})


def _begun(wire: dict[str, Any], part: Part) -> dict[str, Any]:
    """The item as it begins: without what is still to come."""
    out = dict(wire)
    if isinstance(part, Unknown):
        return out
    if "status" in out:
        out["status"] = "in_progress"
    if isinstance(part, Reasoning):
        out["summary"] = []
        out.pop("encrypted_content", None)
    if "content" in out:
        out["content"] = []
    if "result" in out:
        out["result"] = None
    return out
