"""Streamed answers, from bytes to events: server-sent events (`alt=sse`) or one JSON array, told by the first byte.

There is no terminator but the connection's end, or the array's. What a stream must show to count as finished: a finish
reason for every candidate it began, and no torn event after it. A finish reason may be early, so it is held until the
end, and the last one counts. An array that is not closed is a cut.

Each event holds parts of candidates: text goes on in the open part, unless that was signed, since a signature belongs
to its part; everything else comes whole. Usage comes with each event and replaces what came before it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Audio,
    Delta,
    Ended,
    Event,
    Extras,
    Fault,
    Finished,
    Inline,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    Used,
)
from understudy.dialects.events import EventReader
from understudy.dialects.gemini.answer import created_of, finish_of, is_function
from understudy.dialects.gemini.array import ArrayDecoder
from understudy.dialects.gemini.contents import Calls, match_results
from understudy.dialects.gemini.fault import fault_in
from understudy.dialects.gemini.grounding import decode_citations, decode_logprobs
from understudy.dialects.gemini.parts import NAME, decode_part, made_id
from understudy.dialects.gemini.spelling import camel, form_of, note
from understudy.dialects.gemini.usage import decode_usage
from understudy.dialects.sse import COMMENT, STRAY
from understudy.dialects.wire import DICT, INT, LIST, STR, Malformed, expect, parse, take

_BLANK: tuple[Any, ...] = (None, "", [], {})


class _Choice:
    """What is known of one candidate so far."""

    __slots__ = ("called", "calls", "index", "kind", "next", "part", "reason", "seen", "sources", "texts", "waiting")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next = 0
        self.kind: str = ""  # of the open part
        self.part = 0
        self.reason: str | int | None = None
        self.calls = False  # of functions, which make the finish
        self.called = 0  # times, functions or not
        self.waiting = Calls()
        self.seen: dict[str, Any] = {}
        self.texts: dict[int, list[str]] = {}  # by part, for the offsets of citations
        self.sources: dict[str, Any] = {}


def _sound(raw: Any) -> dict[str, Any]:
    """The chunk by its camelCase names, candidates with their parts decoded, so that it counts whole or not at all."""
    chunk = camel(raw, "", {})
    usage = chunk.get("usageMetadata")
    if usage is not None:
        expect(usage, DICT, "usageMetadata")
    if not any(key in chunk for key in ("candidates", "usageMetadata", "promptFeedback", "responseId", "modelVersion")):
        raise Malformed("", "is neither an answer nor an error")
    candidates = []
    for each in take(chunk, "candidates", LIST) or ():
        candidate = camel(each, "candidates", {})
        candidate["index"] = take(candidate, "index", INT) or 0
        reason = take(candidate, "finishReason", (str, int))
        content = camel(take(candidate, "content", DICT) or {}, "content", {})
        role = take(content, "role", STR)
        listed = take(content, "parts", LIST) or ()
        candidate["finishReason"] = reason or None
        candidate["parts"] = [decode_part(part, f"parts[{i}]", "") for i, part in enumerate(listed)]
        content = {key: item for key, item in content.items() if item not in _BLANK}
        candidate["content"] = content if role in (None, "", "model") else {**content, "role": role}
        candidates.append(candidate)
    return {**chunk, "candidates": candidates}


class StreamDecoder(EventReader):
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def __init__(self) -> None:
        super().__init__()
        self._array: ArrayDecoder | None = None
        self._chosen = False  # between server-sent events and an array
        self._head = b""
        self._held: dict[str, Any] = {}  # fields that came before any id or candidate did
        self._started = False
        self._id = ""
        self._seen: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None

    @property
    def whole(self) -> bool:
        return bool(self._choices) and all(choice.reason is not None for choice in self._choices.values())

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes; nothing after `Ended` or `Failed`."""
        if self._over:
            return []
        if not self._chosen:
            data = self._choose(self._head + data)
        if self._array is None:
            return super().feed(data)
        for body in self._array.feed(data):
            self._pair("", body)
        if self._array.stray:
            self._fail(Fault("malformed_events", message="Something that is no JSON array came.", phase="stream"))
        elif self._array.overflowed:
            self._overflow()
        return self._given()

    def close(self) -> list[Event]:
        """The connection ended. The last event counts without its blank line, if it is whole; else it is a cut."""
        if self._over:
            return []
        torn = bool(self._head.strip()) or (self._array is not None and not self._array.closed)
        for name, body in self._sse.close():
            if name == STRAY:
                torn = True
            elif name != COMMENT:
                try:
                    self._read(name, body)
                except Malformed:
                    torn = True
        if not self._over:
            self._end(torn=torn)
        return self._given()

    def _choose(self, data: bytes) -> bytes:
        """Which of the two forms it is. White space first means nothing; a byte order mark does not count."""
        text = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
        if not text or (len(data) < 3 and b"\xef\xbb\xbf".startswith(data)):
            self._head = data
            return b""
        self._head, self._chosen = b"", True
        if text[:1] in (b"[", b"{"):
            self._array = ArrayDecoder()
            return text
        return data

    # --- events of the wire

    def _read(self, name: str, body: bytes) -> None:  # noqa: ARG002  Google names no event
        try:
            raw = parse(body)
            fault = fault_in(raw, "stream")
            chunk = {} if fault is not None else _sound(raw)
        except RecursionError:
            raise Malformed("event", "is nested too deeply") from None
        if fault is not None:
            self._fail(fault)
        else:
            self._chunk(chunk)

    def _end(self, *, torn: bool) -> None:
        choices = sorted(self._choices.values(), key=lambda each: each.index)
        if torn or not choices or any(choice.reason is None for choice in choices):
            self._cut()
            return
        for choice in choices:
            self._finish(choice)
        self._out.append(Ended())
        self._over = True

    def _finish(self, choice: _Choice) -> None:
        self._close_part(choice)
        assert choice.reason is not None
        finish, native = finish_of(choice.reason, calls=choice.calls)
        form = note({}, {}, {}, reason=choice.reason if native != choice.reason else False)
        self._out.append(Finished(choice.index, finish, native, form))

    # --- chunks

    def _chunk(self, chunk: dict[str, Any]) -> None:
        candidates, usage = chunk.pop("candidates"), chunk.pop("usageMetadata", None)
        fresh = self._fresh(chunk, self._seen)
        if fresh and self._started:
            self._out.append(Extras(None, fresh))
        elif fresh:
            self._held |= fresh
        if candidates or self._held.get("responseId"):
            self._start()
        for candidate in candidates:
            choice = self._choices.setdefault(candidate["index"], _Choice(candidate["index"]))
            self._candidate(choice, candidate)
        if usage and usage != self._usage:
            self._start()
            self._usage = usage
            self._out.append(Used(decode_usage(usage), {}))

    @staticmethod
    def _fresh(fields: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
        """The fields that say something and have not been said yet."""
        out = {key: item for key, item in fields.items() if item not in _BLANK and seen.get(key) != item}
        seen |= out
        return out

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        held, self._held = self._held, {}
        words = {
            key: held.pop(key, "") if isinstance(held.get(key, ""), str) else ""
            for key in ("responseId", "modelVersion")
        }
        created = created_of(held.get("createTime"))
        stamp = held.pop("createTime") if created is not None else False
        extra = note(held, {}, {}, stamp=stamp)
        self._id = words["responseId"]
        self._out.append(Started(NAME, self._id, words["modelVersion"], created, None, extra))

    def _candidate(self, choice: _Choice, candidate: dict[str, Any]) -> None:
        parts, reason = candidate.pop("parts"), candidate.pop("finishReason")
        del candidate["index"]
        tokens: tuple[TokenLogprob, ...] | None = None
        if len(parts) == 1 and isinstance(parts[0], Text) and isinstance(candidate.get("logprobsResult"), dict):
            tokens = decode_logprobs(candidate["logprobsResult"])
        if tokens is not None:
            found = candidate.pop("logprobsResult")
            others = {key: item for key, item in found.items() if key not in ("chosenCandidates", "topCandidates")}
            candidate["logprobsResult"] = others
        fresh = self._fresh(candidate, choice.seen)
        if fresh:
            self._out.append(Extras(choice.index, fresh))
        for part in match_results([self._named(choice, part) for part in parts], choice.waiting):
            self._part(choice, part, tokens or ())
        self._cite(choice, fresh)
        if reason is not None:
            choice.reason = reason

    # --- parts

    def _named(self, choice: _Choice, part: Part) -> Part:
        """The part; a call that came without an id gets one by its number, however the events were cut."""
        if not isinstance(part, ToolCall):
            return part
        choice.called += 1
        if "anonymous" not in form_of(part.extra):
            return part
        seed = f"{self._id}/{choice.index}/{choice.called}"
        return msgspec.structs.replace(part, id=made_id(seed, part.name, part.arguments))

    def _part(self, choice: _Choice, part: Part, tokens: tuple[TokenLogprob, ...]) -> None:
        if isinstance(part, Text | Reasoning):
            self._words(choice, part, tokens)
        elif isinstance(part, Audio) and isinstance(part.source, Inline):
            media = part.source.media_type
            at = self._open(choice, f"audio {media}", Audio(None, part.format, extra=note({}, {}, {}, mimeType=media)))
            extra = {key: item for key, item in part.extra.items() if not key.startswith("~")}
            self._out.append(Delta(choice.index, at, data=part.source.data, extra=extra))
        elif isinstance(part, ToolCall):
            self._call(choice, part)
        else:
            self._open(choice, "", part)
            self._close_part(choice)

    def _words(self, choice: _Choice, part: Text | Reasoning, tokens: tuple[TokenLogprob, ...]) -> None:
        extra = {key: item for key, item in part.extra.items() if not key.startswith("~")}
        if not part.text and part.signature is None and not extra and not tokens:
            return
        kind = "text" if isinstance(part, Text) else "thought"
        if choice.kind == kind + " signed" and not part.text:
            kind += " signed"  # another signature for nothing: an empty part of its own
            self._close_part(choice)
        at = self._open(choice, kind, Text("") if isinstance(part, Text) else Reasoning())
        if isinstance(part, Text):
            choice.texts.setdefault(at, []).append(part.text)
        self._out.append(Delta(choice.index, at, part.text, signature=part.signature, logprobs=tokens, extra=extra))
        if part.signature is not None:
            choice.kind = kind.removesuffix(" signed") + " signed"

    def _call(self, choice: _Choice, call: ToolCall) -> None:
        choice.calls = choice.calls or is_function(call)
        at = self._open(choice, "", msgspec.structs.replace(call, arguments=""))
        self._out.append(Delta(choice.index, at, call.arguments))
        self._close_part(choice)

    def _open(self, choice: _Choice, kind: str, part: Part) -> int:
        """The index of the open part of `kind`; opens `part` if another kind is open, or none."""
        if kind and choice.kind == kind:
            return choice.part
        self._close_part(choice)
        choice.kind, choice.part = kind or "whole", choice.next
        choice.next += 1
        self._out.append(PartStarted(choice.index, choice.part, part))
        return choice.part

    def _close_part(self, choice: _Choice) -> None:
        if choice.kind:
            self._out.append(PartEnded(choice.index, choice.part))
            choice.kind = ""

    def _cite(self, choice: _Choice, fresh: dict[str, Any]) -> None:
        """Citations on the open text. Sources may come before the stretches that cite them: their indices go on."""
        grounding = fresh.get("groundingMetadata")
        if isinstance(grounding, dict) and isinstance(grounding.get("groundingChunks"), list):
            known = choice.sources.setdefault("groundingChunks", [])
            known += [chunk for chunk in grounding["groundingChunks"] if chunk not in known]
            fresh = {**fresh, "groundingMetadata": {**grounding, "groundingChunks": known}}
        if not choice.kind.startswith("text") or not ("groundingMetadata" in fresh or "citationMetadata" in fresh):
            return
        places = list(choice.texts)
        found = decode_citations(fresh, ["".join(choice.texts[place]) for place in places])
        cited = tuple(citation for place, citation in found if places[place] == choice.part)
        if cited:
            self._out.append(Delta(choice.index, choice.part, citations=cited))
