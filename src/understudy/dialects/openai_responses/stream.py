"""Streamed answers, from bytes to events. `ResponseStreamEvent` of OpenAI's OpenAPI document, and what others send.

A stream is finished by `response.completed` or `response.incomplete`, and by nothing else: `[DONE]`, which some servers
add, proves nothing, and the end of the connection before is a cut. `response.failed` and `error` are failures.

Messages, reasoning and calls come as they grow. What has no text to show as it grows (hosted tools, pictures, unknown
items) comes whole when its item is done, with the progress events it had noted under `~events`; meanwhile each of them
is a `Ping`. A `*.done` event repeats what the deltas said; what they left out (some servers send citations, or all of a
short text, in the last event alone) is made up for from `content_part.done` and `output_item.done`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Delta,
    Ended,
    Extras,
    Finished,
    Part,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    Unknown,
    Used,
)
from understudy.dialects.events import EventReader
from understudy.dialects.openai_chat.answer import decode_logprobs
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.openai_responses.answer import ECHO, decode_end, decode_head, decode_usage
from understudy.dialects.openai_responses.fault import event_fault, response_fault
from understudy.dialects.openai_responses.items import decode_item, hollow, text_of
from understudy.dialects.openai_responses.parts import NAME, decode_citation, decode_part
from understudy.dialects.openai_responses.shape import GROWING, REPEATING, sound_event
from understudy.dialects.wire import BLANKS, DICT, FORM, LIST, Malformed, expect, parse

EVENTS = "~events"
FINAL = "~final"
"""Notes in a delta's `extra`: the progress events of a part that came whole, and a part's `extra` at its end."""

_STARTS = ("response.created", "response.in_progress", "response.queued")
_ENDS = ("response.completed", "response.incomplete")
_STEADY = ("output", "usage", "status", "error", "incomplete_details", "native_finish_reason")
_GROWS = {"message": "content", "reasoning": "content", "function_call": "call", "custom_tool_call": "call"}
_CHANNELS = ("content", "summary", "call")
_NOT_SAID_YET = ("content", "summary", "encrypted_content")

Key = tuple[str, int]


class _Piece:
    """A part under way, and how much of it has come."""

    __slots__ = ("cited", "extra", "index", "length", "logged", "open")

    def __init__(self, index: int, extra: dict[str, Any]) -> None:
        self.index, self.extra = index, extra
        self.length = self.cited = 0
        self.logged = False
        self.open = True


class _Item:
    """An output item under way. `head` is the `extra` of its first part, until that has begun."""

    __slots__ = ("done", "events", "head", "id", "kind", "pieces")

    def __init__(self, kind: str, own_id: str | None, head: dict[str, Any]) -> None:
        self.kind, self.id, self.head = kind, own_id, head
        self.pieces: dict[Key, _Piece] = {}
        self.events: list[dict[str, Any]] = []
        self.done = False


class StreamDecoder(EventReader):
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def __init__(self) -> None:
        super().__init__()
        self._created: dict[str, Any] | None = None
        self._items: dict[int, _Item] = {}
        self._waiting: dict[int, list[Part]] = {}  # whole items that are done before earlier ones
        self._next = 0
        self._calls: list[ToolCall] = []

    # --- events of the wire

    def _read(self, name: str, body: bytes) -> None:
        if body.strip() == b"[DONE]":
            self._cut()
            return
        before = len(self._out)
        try:
            self._event(sound_event(name, parse(body)))
        except Malformed:
            del self._out[before:]
            raise

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "response.output_text.delta":
            tokens = decode_logprobs(event["logprobs"]) if event.get("logprobs") else None
            self._grow(event, "content", event["delta"], logprobs=tokens or ())
        elif kind in GROWING:
            self._growing(kind, event)
        elif kind == "response.output_item.added":
            self._added(event)
        elif kind == "response.output_item.done":
            self._item_done(event["output_index"], decode_item(event["item"], "item"), event["item"])
        elif kind in _STARTS:
            self._begin(event["response"])
        elif kind in _ENDS:
            self._end(event["response"])
        elif kind == "response.failed":
            self._begin(event["response"])
            self._fail(response_fault(event["response"]))
        elif kind == "error":
            self._fail(event_fault(event))
        elif kind == "keepalive":
            self._out.append(Ping())
        elif kind not in REPEATING:
            self._progress(event)

    def _growing(self, kind: str, event: dict[str, Any]) -> None:
        """Deltas other than the common one, and what announces a part or closes it."""
        channel = GROWING[kind]
        if kind.endswith("_part.added"):
            self._piece(event, channel, _part_of(event, channel))
        elif kind == "response.content_part.done":
            part = _part_of(event, channel)
            piece = self._piece(event, channel, hollow(part))
            if piece is not None and piece.open:
                self._rest(piece, part)
        elif kind == "response.output_text.annotation.added":
            citation = decode_citation(event.get("annotation"))
            piece = self._piece(event, channel, Text(""))
            if citation is not None and piece is not None and piece.open:
                piece.cited += 1
                self._out.append(Delta(0, piece.index, citations=(citation,)))
        else:
            self._grow(event, channel, event["delta"])

    # --- the response

    def _start(self) -> None:
        self._begin({})

    def _begin(self, response: dict[str, Any]) -> None:
        if self._created is None:
            head = decode_head(response)
            self._created = {key: value for key, value in response.items() if key not in _STEADY}
            self._out.append(Started(NAME, **head))

    def _end(self, response: dict[str, Any]) -> None:
        self._begin(response)
        assert self._created is not None
        output = expect(response.get("output") or [], LIST, "response.output")
        usage = expect(response.get("usage") or {}, DICT, "response.usage")
        unseen = not self._items  # some servers send the answer in its last event alone
        for i, wire in enumerate(output):
            item = self._items.get(i)
            if unseen or (item is not None and not item.done and item.id == expect(wire, DICT, "output").get("id")):
                self._item_done(i, decode_item(wire, f"response.output[{i}]"), wire)
        self._flush(last=True)
        for item in self._items.values():
            self._close(item)
        fresh = {k: v for k, v in response.items() if k not in _STEADY and self._created.get(k) != v}
        if fresh:
            self._extras(response, fresh)
        if usage:
            self._out.append(Used(decode_usage(usage), {}))
        finish, native, extra = decode_end(response, self._calls)
        self._out.append(Finished(0, finish or "unknown", native, extra))
        self._out.append(Ended())
        self._over = True

    def _extras(self, response: dict[str, Any], fresh: dict[str, Any]) -> None:
        """What the last response says otherwise than the first. What is no content of its own goes as an echo."""
        plain = decode_head(response)["extra"]
        fields = {key: fresh.pop(key) for key in list(fresh) if key in plain and not key.startswith("~")}
        if fresh:
            fields[ECHO] = fresh
        self._out.append(Extras(None, fields))

    # --- items

    def _added(self, event: dict[str, Any]) -> None:
        wire, place = event["item"], event["output_index"]
        first = decode_item(wire, "item")[0]
        self._start()
        if place in self._items:
            return
        kind = "" if isinstance(first, Unknown) else _kind_of(wire)
        item = self._items[place] = _Item(kind, _id_of(wire), _settled(first))
        if isinstance(first, ToolCall) and kind:
            self._open(item, ("call", 0), hollow(first))
            self._more(item.pieces["call", 0], first.arguments)

    def _item_done(self, place: int, parts: list[Part], wire: dict[str, Any]) -> None:
        self._start()
        item = self._items.get(place)
        if item is None:
            item = self._items[place] = _Item(_kind_of(wire), _id_of(wire), {})
        if item.done:
            return
        if not item.kind or any(isinstance(part, Unknown) for part in parts[:1]):
            item.done = True
            self._waiting[place] = parts
            self._flush()
        else:
            # By rank, not by index: a server that counts parts from one means the same ones.
            known = {channel: sorted(key for key in item.pieces if key[0] == channel) for channel in _CHANNELS}
            for i, part in enumerate(parts):
                channel = "summary" if isinstance(part, Reasoning) and part.summary is not None else _GROWS[item.kind]
                key = known[channel].pop(0) if known[channel] else (channel, len(item.pieces) + i)
                piece = item.pieces.get(key) or self._open(item, key, hollow(part), settled=True)
                if piece.open:
                    self._rest(piece, part, final=True)
        self._close(item)

    def _flush(self, *, last: bool = False) -> None:
        """Give what came whole, in the order of the output: tools that run side by side may be done in another."""
        for place, item in sorted(self._items.items()):
            if place in self._waiting:
                for part in self._waiting.pop(place):
                    self._whole(item, part)
            elif not item.kind and not item.done and not last:
                break

    def _whole(self, item: _Item, part: Part) -> None:
        self._out.append(PartStarted(0, self._next, part))
        if item.events:
            self._out.append(Delta(0, self._next, extra={EVENTS: item.events}))
            item.events = []
        self._out.append(PartEnded(0, self._next))
        self._next += 1

    def _close(self, item: _Item) -> None:
        for piece in item.pieces.values():
            if piece.open:
                piece.open = False
                self._out.append(PartEnded(0, piece.index))
        item.done = True

    def _progress(self, event: dict[str, Any]) -> None:
        """An event of an item that comes whole, or one that nobody here knows."""
        place = event.get("output_index")
        item = self._items.get(place) if type(place) is int else None
        fields = {key: value for key, value in event.items() if key not in ("sequence_number", "obfuscation")}
        self._start()
        if item is not None and not item.kind and not item.done:
            item.events.append(fields)
            self._out.append(Ping())
        else:
            self._out.append(Extras(None, {"events": [fields]}))

    # --- parts

    def _piece(self, event: dict[str, Any], channel: str, part: Part) -> _Piece | None:
        """The piece that an event belongs to; opens `part` if there is none yet. None in an item that comes whole."""
        self._start()
        place = event["output_index"]
        item = self._items.get(place)
        if item is None:
            kind = "reasoning" if isinstance(part, Reasoning) else "message" if channel != "call" else ""
            own_id = _id_of({"id": event.get("item_id")})
            head = {
                "type": kind,
                "id": own_id,
                "status": "completed",
                **({"role": "assistant"} if kind == "message" else {}),
            }
            item = self._items[place] = _Item(kind, own_id, {FORM: {"item": head}})
        if not item.kind or item.done:
            return None
        key = (channel, event.get("summary_index" if channel == "summary" else "content_index") or 0)
        return item.pieces.get(key) or self._open(item, key, part)

    def _open(self, item: _Item, key: Key, part: Part, *, settled: bool = False) -> _Piece:
        """Begin `part`, closing the one before it in the same item. `settled`: its notes are final already."""
        for piece in item.pieces.values():
            if piece.open:
                piece.open = False
                self._out.append(PartEnded(0, piece.index))
        changes: dict[str, Any] = {}
        if isinstance(part, Reasoning):
            changes["id"] = part.id or item.id
        if not item.pieces and not settled and not isinstance(part, Unknown):
            changes["extra"] = _joined(part.extra, item.head)
        part = msgspec.structs.replace(part, **changes)
        if isinstance(part, ToolCall):
            self._calls.append(part)
        piece = item.pieces[key] = _Piece(self._next, getattr(part, "extra", {}))
        self._next += 1
        self._out.append(PartStarted(0, piece.index, part))
        return piece

    def _grow(self, event: dict[str, Any], channel: str, text: str, logprobs: tuple[Any, ...] = ()) -> None:
        item = self._items.get(event["output_index"])
        piece = item.pieces.get((channel, event.get("content_index", 0))) if item and channel != "summary" else None
        if piece is None:
            piece = self._piece(event, channel, _EMPTY[event["type"]])
        if piece is None:
            self._progress(event)
        elif piece.open and (text or logprobs):
            piece.length += len(text)
            piece.logged = piece.logged or bool(logprobs)
            self._out.append(Delta(0, piece.index, text, logprobs=logprobs))

    def _more(self, piece: _Piece, text: str) -> None:
        if len(text) > piece.length:
            self._out.append(Delta(0, piece.index, text[piece.length :]))
            piece.length = len(text)

    def _rest(self, piece: _Piece, part: Part, *, final: bool = False) -> None:
        """What `part` has that no delta brought."""
        fields: dict[str, Any] = {}
        text = text_of(part)
        if len(text) > piece.length:
            fields["text"], piece.length = text[piece.length :], len(text)
        if isinstance(part, Text):
            if part.logprobs and not piece.logged:
                fields["logprobs"], piece.logged = part.logprobs, True
            if fields:
                self._out.append(Delta(0, piece.index, **fields))
                fields = {}
            self._out += [Delta(0, piece.index, citations=(each,)) for each in part.citations[piece.cited :]]
            piece.cited = max(piece.cited, len(part.citations))
        if isinstance(part, Reasoning):
            fields |= {key: value for key in ("signature", "sealed") if (value := getattr(part, key)) is not None}
        extra = getattr(part, "extra", {})
        if final and not _same(piece.extra, extra):
            fields["extra"] = {FINAL: extra}
        if fields:
            self._out.append(Delta(0, piece.index, **fields))


_EMPTY: dict[str, Part] = {
    "response.output_text.delta": Text(""),
    "response.refusal.delta": Refusal(""),
    "response.reasoning_text.delta": Reasoning(),
    "response.reasoning_summary_text.delta": Reasoning(summary=""),
    "response.function_call_arguments.delta": ToolCall("", ""),
    "response.custom_tool_call_input.delta": ToolCall("", "", kind="custom"),
}


def _kind_of(wire: dict[str, Any]) -> str:
    """The type of an item whose parts come as they grow; "" for one that comes whole."""
    kind = wire.get("type", "message")
    return kind if isinstance(kind, str) and kind in _GROWS else ""


def _id_of(wire: dict[str, Any]) -> str | None:
    own_id = wire.get("id")
    return own_id if isinstance(own_id, str) else None


def _part_of(event: dict[str, Any], channel: str) -> Part:
    """The part that an event shows, in full."""
    wire = event["part"]
    if channel == "summary":
        return Reasoning(summary="")
    if wire.get("type") == "reasoning_text":
        return Reasoning()
    part = decode_part(wire, "part", "output_text")
    return part if event["type"].endswith(".done") else hollow(part)


def _settled(first: Part) -> dict[str, Any]:
    """The notes of an item that has just begun, as they will most likely be at its end."""
    extra = getattr(first, "extra", {})
    form = form_of(extra)
    if "item" not in form:
        return dict(extra)
    head = {key: value for key, value in form["item"].items() if key not in _NOT_SAID_YET}
    if head.get("status") == "in_progress":
        head["status"] = "completed"
    return {**extra, FORM: {"item": head}}


def _same(begun: dict[str, Any], final: dict[str, Any]) -> bool:
    """Whether notes say at the end what they said at the beginning; blanks that were filled do not count."""
    if begun == final:
        return True
    blank = {**begun.get(BLANKS, {}), **final.get(BLANKS, {})}
    return blank == begun.get(BLANKS) and {**begun, BLANKS: blank} == {**final, BLANKS: blank}


def _joined(extra: dict[str, Any], head: dict[str, Any]) -> dict[str, Any]:
    return {**extra, **head, FORM: {**form_of(extra), **form_of(head)}} if head else extra
