"""Streamed answers, from events to bytes: the binary messages that AWS's SDKs expect.

Blocks come one after the other here, while parts may alternate: a part that opens while another is open waits for its
turn. `messageStop` waits for the end, so that an answer that breaks after its finish never looks finished; `metadata`
comes last. A failure becomes a message of type `exception`, which the SDKs raise as such.
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
    Image,
    Loss,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Request,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
    Used,
)
from understudy.dialects.anthropic_messages.parts import arguments_of
from understudy.dialects.bedrock_converse.answer import (
    call_name,
    carried,
    encode_usage,
    finish_word,
    foreign_block,
    text_losses,
    tier_word,
)
from understudy.dialects.bedrock_converse.blocks import NAME, encode_citation, encode_own
from understudy.dialects.bedrock_converse.fault import encode_stream_fault
from understudy.dialects.bedrock_converse.fitting import is_ours
from understudy.dialects.bedrock_converse.framing import event_frame
from understudy.dialects.wire import dump, foreign

Fields = dict[str, Any]


class _Open:
    """A part that has begun: what it is, the events that wait for its turn, and what has been said in it."""

    __slots__ = ("ended", "opaque", "part", "path", "said", "text", "waiting")

    def __init__(self, part: Part, path: str) -> None:
        self.part, self.path = part, path
        self.waiting: list[Delta] = []
        self.text: list[str] = []
        self.opaque: tuple[str | None, str | None] = (None, None)  # signature and sealed form
        self.said = False
        self.ended = False


class StreamEncoder:
    """Events to bytes. `request` is what the client asked for; this dialect always reports usage."""

    def __init__(self, request: Request | None = None) -> None:  # noqa: ARG002  the same shape as its siblings
        self.losses: list[Loss] = []
        self._own = True
        self._dialect = NAME
        self._line: dict[int, _Open] = {}  # parts under way, in order: the first is the one being written
        self._place = 0
        self._usage: Usage | None = None
        self._last: Fields = {}  # fields of `metadata`
        self._beside: Fields = {}  # fields for the next event of a block
        self._finish: Finished | None = None
        self._tier: str | None = None

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or one message."""
        if isinstance(event, Delta | PartStarted | PartEnded | Finished) and event.choice != 0:
            self._lose(Loss(f"choices[{event.choice}]", "there is one answer here"))
            return b""
        if isinstance(event, Delta):
            return self._delta(event)
        if isinstance(event, PartStarted):
            return self._part(event)
        if isinstance(event, PartEnded):
            return self._close(event.index)
        if isinstance(event, Started):
            return self._start(event)
        if isinstance(event, Extras):
            return self._extras(event)
        if isinstance(event, Used):
            self._usage = event.usage
            if not self._own:
                self._lose(*foreign(event.extra, "usage."))
        elif isinstance(event, Finished):
            self._finish = event
        elif isinstance(event, Ended):
            return self._end()
        elif isinstance(event, Failed):
            return encode_stream_fault(event.fault)
        return b""

    def _lose(self, *losses: Loss) -> None:
        self.losses += [loss for loss in losses if loss not in self.losses]

    # --- the message

    def _start(self, event: Started) -> bytes:
        self._own, self._dialect = event.dialect == NAME, event.dialect
        self._tier = event.service_tier
        if not self._own:
            self._lose(*foreign(event.extra, ""))
        return _event("messageStart", {"role": "assistant"})

    def _extras(self, event: Extras) -> bytes:
        if not self._own:
            prefix = "" if event.choice is None else f"choices[{event.choice}]."
            self._lose(*foreign(event.fields, prefix))
        elif event.choice is not None:
            self._beside |= event.fields
        elif event.fields.keys() == {"event"}:
            return b"".join(_event(kind, fields) for kind, fields in event.fields["event"].items())
        else:
            self._last |= event.fields
        return b""

    def _end(self) -> bytes:
        out = []
        if self._finish is not None:
            finish, path = self._finish, "choices[0].finish"
            word = finish_word(finish.finish, finish.native_reason, self.losses, path, own=self._own)
            if not self._own:
                self._lose(*foreign(finish.extra, "choices[0]."))
            out.append(_event("messageStop", {"stopReason": word, **(finish.extra if self._own else {})}))
        last = dict(self._last)
        if self._usage is not None or not self._own:
            last = {"usage": encode_usage(self._usage, self.losses, own=self._own), **last}
        tier = tier_word(self._tier, self.losses, own=self._own)
        if tier is not None:
            last["serviceTier"] = {"type": tier}
        if last:
            out.append(_event("metadata", last))
        return b"".join(out)

    # --- parts

    def _part(self, event: PartStarted) -> bytes:
        part, path = event.part, f"choices[0].parts[{event.index}]"
        if isinstance(part, Refusal):
            self._lose(Loss(path, "a refusal is a text here", "approximated"))
            part = Text(part.text, extra=part.extra)
        if not self._own and not self._fits(part, path):
            return b""
        known = self._line[event.index] = _Open(part, path)
        return self._begin(known) if len(self._line) == 1 else b""

    def _fits(self, part: Part, path: str) -> bool:
        """Whether another dialect's part has a form here; what it cannot carry is a loss."""
        lost: list[Loss] = []
        if isinstance(part, Text | Reasoning) or (isinstance(part, ToolCall) and part.kind != "hosted"):
            lost += foreign(part.extra, path + ".")
            if isinstance(part, Text):
                lost += text_losses(part, path)
            if isinstance(part, ToolCall) and part.kind == "custom":
                why = "plain text goes as a field `input` of an object"
                lost.append(Loss(path + ".arguments", why, "approximated"))
            fits = True
        else:
            fits = foreign_block(part, path, self._dialect, lost) is not None
        self._lose(*lost)
        return fits

    def _begin(self, known: _Open) -> bytes:
        part = known.part
        if isinstance(part, ToolCall):
            found, name = (part.id, part.name) if self._own else call_name(part, known.path, self.losses)
            start = {"toolUseId": found, "name": name}
            if part.kind == "hosted":
                start["type"] = "server_tool_use"
            out = self._write("contentBlockStart", {"start": {"toolUse": start}})
            return out + self._say({"toolUse": {"input": '{"input":"'}}) if part.kind == "custom" else out
        if isinstance(part, Image | ToolResult | Unknown):
            return self._whole(known)
        if isinstance(part, Reasoning):
            known.opaque = (part.signature, part.sealed)
            if self._own and part.sealed is not None:
                known.said = True
                return self._say({"reasoningContent": {"redactedContent": part.sealed}})
            said = part.text if part.summary is None else part.summary
            return self._grow(known, Delta(0, 0, said)) if said else b""
        return self._grow(known, Delta(0, 0, part.text)) if isinstance(part, Text) and part.text else b""

    def _whole(self, known: _Open) -> bytes:
        """A part that no delta will grow."""
        known.said = True
        blocks = encode_own((known.part,))
        kind = next(iter(blocks[0]), "") if blocks else ""
        inner = dict(blocks[0][kind]) if kind in ("image", "toolResult") else None
        if inner is None:
            self._lose(Loss(known.path, f"a part of kind {type(known.part).__name__} has no form in a stream here"))
            return self._say({"text": ""})
        key = "source" if kind == "image" else "content"
        rest = inner.pop(key, None)
        out = self._write("contentBlockStart", {"start": {kind: inner}})
        return out + self._say({kind: {key: rest} if kind == "image" else rest or []})

    def _close(self, index: int) -> bytes:
        known = self._line.get(index)
        if known is None:
            return b""
        known.ended = True
        out = []
        while self._line:
            index, known = next(iter(self._line.items()))
            if not known.ended:
                break
            out.append(self._finish_part(known))
            del self._line[index]
            if self._line:
                following = next(iter(self._line.values()))
                out.append(self._begin(following))
                out += [self._grow(following, delta) for delta in following.waiting]
                following.waiting.clear()
        return b"".join(out)

    def _finish_part(self, known: _Open) -> bytes:
        part, out = known.part, b""
        if isinstance(part, ToolCall) and part.kind == "custom":
            out = self._say({"toolUse": {"input": '"}'}})
        elif isinstance(part, ToolCall) and not self._own and arguments_of("".join(known.text)) is None:
            self._lose(Loss(known.path + ".arguments", "are no JSON object, as they should be here", "approximated"))
        elif isinstance(part, Reasoning) and not self._own:
            out = self._signed(known, part)
        if not known.said and isinstance(part, Text | Reasoning):
            empty: Fields = {"text": ""}
            out = self._say(empty if isinstance(part, Text) else {"reasoningContent": empty}) + out
        out += self._write("contentBlockStop", {})
        self._place += 1
        return out

    def _signed(self, known: _Open, part: Reasoning) -> bytes:
        """What another dialect's reasoning needs to be sent back, once it is whole."""
        said = "".join(known.text)
        text, summary = (said, None) if part.summary is None else (part.text, said)
        signature, sealed = known.opaque
        done = carried(Reasoning(text, summary, signature, sealed, part.id, part.origin), self._dialect)
        if is_ours(part, own=False) and done.sealed is not None:
            known.said = True
            return self._say({"reasoningContent": {"redactedContent": done.sealed}})
        if done.signature is None:
            return b""
        out = b"" if known.said else self._say({"reasoningContent": {"text": ""}})
        known.said = True
        return out + self._say({"reasoningContent": {"signature": done.signature}})

    # --- deltas

    def _delta(self, event: Delta) -> bytes:
        known = self._line.get(event.index)
        if known is None:
            return b""
        if next(iter(self._line)) != event.index:
            known.waiting.append(event)
            return b""
        return self._grow(known, event)

    def _grow(self, known: _Open, event: Delta) -> bytes:
        part, out = known.part, []
        if isinstance(part, Image | ToolResult | Unknown):
            return b""
        known.text.append(event.text)
        if event.text:
            out.append(self._say(_piece(part, event.text)))
        if isinstance(part, Reasoning):
            known.opaque = (event.signature or known.opaque[0], event.sealed or known.opaque[1])
            if self._own and event.signature is not None:
                out.append(self._say({"reasoningContent": {"signature": event.signature}}))
            if self._own and event.sealed is not None:
                out.append(self._say({"reasoningContent": {"redactedContent": event.sealed}}))
        out += [self._say({"citation": encode_citation(citation, own=self._own)}) for citation in event.citations]
        if self._own and isinstance(event.extra.get("delta"), dict):
            out.append(self._say(event.extra["delta"]))
        elif not self._own:
            self._lose(*foreign(event.extra, known.path + "."))
            if isinstance(part, Text):
                self._lose(*text_losses(Text("", logprobs=event.logprobs, signature=event.signature), known.path))
        known.said = known.said or bool(out)
        return b"".join(out)

    def _say(self, delta: Fields) -> bytes:
        return self._write("contentBlockDelta", {"delta": delta})

    def _write(self, kind: str, fields: Fields) -> bytes:
        beside, self._beside = self._beside, {}
        return _event(kind, {"contentBlockIndex": self._place, **fields, **beside})


def _piece(part: Part, text: str) -> Fields:
    if isinstance(part, ToolCall):
        return {"toolUse": {"input": dump(text).decode()[1:-1] if part.kind == "custom" else text}}
    return {"reasoningContent": {"text": text}} if isinstance(part, Reasoning) else {"text": text}


def _event(kind: str, fields: Fields) -> bytes:
    return event_frame(kind, dump(fields))
