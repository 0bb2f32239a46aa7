"""Streams, both ways: those of a chat with `text` for `delta.content`. What a cut, an end and a fault are is the same.

The decoder is the chat's, shown each event in the chat's shape; the encoder writes with the chat's, then turns each
chunk round.
"""

from __future__ import annotations

import msgspec

from understudy.canon import Delta, Event, Loss, PartEnded, PartStarted, Request, Started, Text, TokenLogprob
from understudy.dialects import openai_chat
from understudy.dialects.openai_chat.stream import CHUNK
from understudy.dialects.openai_completions.answer import (
    NAME,
    OBJECT,
    as_chat,
    finish_word,
    from_chat,
    no_form,
    stand_in,
    text_losses,
)
from understudy.dialects.wire import Malformed, dump, parse

_DATA = b"data: "


class StreamDecoder(openai_chat.StreamDecoder):
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def feed(self, data: bytes) -> list[Event]:
        return [_ours(event) for event in super().feed(data)]

    def close(self) -> list[Event]:
        return [_ours(event) for event in super().close()]

    def _pair(self, name: str, body: bytes, *, last: bool = False) -> None:
        if b'"text' in body:
            try:
                chunk = parse(body)
            except Malformed:
                pass  # the chat's decoder judges what cannot be read
            else:
                if isinstance(chunk, dict) and "error" not in chunk:
                    body = dump(as_chat(chunk, "delta"))
        super()._pair(name, body, last=last)


def _ours(event: Event) -> Event:
    if not isinstance(event, Started):
        return event
    extra = (
        event.extra if event.extra.get("object") != OBJECT else {k: v for k, v in event.extra.items() if k != "object"}
    )
    return msgspec.structs.replace(event, dialect=NAME, extra=extra)


class StreamEncoder:
    """Events to bytes. `request` is what the client asked for: usage is sent unless it says otherwise."""

    def __init__(self, request: Request | None = None) -> None:
        self.losses: list[Loss] = []
        self._chat = openai_chat.StreamEncoder(request)
        self._own = True
        self._places: dict[tuple[int, int], int | None] = {}  # of a part among the texts of its choice
        self._counts: dict[int, int] = {}
        self._sent: dict[int, int] = {}  # characters of text sent, by choice

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or one chunk."""
        tokens: list[TokenLogprob] = []
        told: Event | None = event
        if isinstance(event, Started):
            self._own = event.dialect == NAME
            told = msgspec.structs.replace(event, dialect=stand_in(event.dialect))
        elif isinstance(event, PartStarted):
            told = self._part(event)
        elif isinstance(event, Delta):
            told = self._delta(event)
            tokens = list(event.logprobs)
        elif isinstance(event, PartEnded):
            told = None  # nothing marks it
        if told is None:
            return b""
        before = len(self._chat.losses)
        out = self._chat.encode(told)
        self.losses += self._chat.losses[before:]
        return b"".join(self._turned(block, tokens) for block in out.split(b"\n\n") if block)

    def _part(self, event: PartStarted) -> Event | None:
        key = (event.choice, event.index)
        if not isinstance(event.part, Text):
            self._lose(no_form(event.part, f"choices[{event.choice}].parts[{event.index}]"))
            self._places[key] = None
            return None
        self._places[key] = place = self._counts.get(event.choice, 0)
        self._counts[event.choice] = place + 1
        return msgspec.structs.replace(event, index=place)

    def _delta(self, event: Delta) -> Event | None:
        place = self._places[event.choice, event.index]
        if place is None:
            return None
        for loss in text_losses(Text("", event.citations), f"choices[{event.choice}].parts[{event.index}]"):
            self._lose(loss)
        return msgspec.structs.replace(event, index=place, citations=())

    def _lose(self, loss: Loss) -> None:
        if loss not in self.losses:
            self.losses.append(loss)

    def _turned(self, block: bytes, tokens: list[TokenLogprob]) -> bytes:
        """A chunk of a chat as one of this dialect."""
        if not block.startswith(_DATA + b"{") or b'"choices":[' not in block:
            return block + b"\n\n"
        chunk = parse(block[len(_DATA) :])
        if chunk.get("object") == CHUNK:
            chunk["object"] = OBJECT
        for i, wire in enumerate(chunk["choices"]):
            index = wire["index"]
            choice = {"logprobs": None, **from_chat(wire, tokens, self._sent.get(index, 0))}
            if not self._own:
                word = finish_word(wire["finish_reason"], self.losses, f"choices[{index}].finish")
                choice["finish_reason"] = word
            self._sent[index] = self._sent.get(index, 0) + len(choice["text"])
            chunk["choices"][i] = choice
        return _DATA + dump(chunk) + b"\n\n"
