"""Streamed answers, from bytes to events. `CreateChatCompletionStreamResponse`, as OpenAI and its imitators send it.

What a stream must show to count as finished: a finish reason for every choice it began, then `[DONE]` or the end of the
connection. A finish reason is held until then, since it may be early: Gemini behind OpenRouter repeats
`finish_reason: "tool_calls"` with each of several calls, all of them with index 0. Anything else is a cut.

Parts: text, reasoning and refusals close when a part of another kind opens; tool calls stay open to the end of their
choice, since fragments of parallel calls may alternate. A part that is open when the stream fails stays open: nobody
knows whether it was whole. `Ping` and `Skipped` may come before `Started`, everything else after.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Audio,
    Delta,
    Ended,
    Extras,
    Fault,
    Finished,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    Used,
)
from understudy.dialects.events import EventReader, shown
from understudy.dialects.openai_chat.answer import WORDS, decode_logprobs, decode_usage, finish_of
from understudy.dialects.openai_chat.chunk import sound_chunk
from understudy.dialects.openai_chat.fault import fault_in
from understudy.dialects.openai_chat.parts import (
    NAME,
    arguments_text,
    decode_citations,
    decode_detail,
    decode_part,
    signature_in,
)
from understudy.dialects.wire import BLANKS, FORM, parse

CHUNK = "chat.completion.chunk"
_PADDING = ("obfuscation", "p")  # OpenAI, Mistral: noise against traffic analysis, without meaning once re-chunked
_HEAD = frozenset({"choices", "usage", "object", *_PADDING})
_BLANK = (str, list, dict, type(None))
_CHOICE = frozenset({"index", "delta", "message", "finish_reason", "native_finish_reason", "logprobs"})
_REASONING = ("reasoning_content", "reasoning")
_DELTA = frozenset(
    {"role", "content", *_REASONING, "reasoning_details", "refusal", "tool_calls", "function_call"}
    | {"audio", "annotations", "images"}
)


class _Call:
    """A tool call under way."""

    __slots__ = ("id", "key", "name", "part")

    def __init__(self, key: int | None, call_id: str, name: str) -> None:
        self.key, self.id, self.name = key, call_id, name
        self.part: int | None = None


class _Choice:
    """What is known of one choice so far."""

    __slots__ = ("calls", "finish", "index", "kind", "native", "next", "part", "seen")

    def __init__(self, index: int) -> None:
        self.index = index
        self.next = 0
        self.kind: Any = None  # of the open part that is no tool call
        self.part = 0
        self.calls: list[_Call] = []
        self.seen: dict[str, Any] = {}
        self.finish: str | None = None
        self.native: str | None = None


class StreamDecoder(EventReader):
    """Bytes to events. Any split of the bytes gives the same events; memory is bounded by one event (16 MiB)."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, Any] = {}  # fields that came before any id or choice did
        self._started = False
        self._seen: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Any = None

    @property
    def whole(self) -> bool:
        return bool(self._choices) and all(choice.finish is not None for choice in self._choices.values())

    def _closed(self) -> None:
        self._end("The connection ended before the answer did.")

    # --- events of the wire

    def _read(self, name: str, body: bytes) -> None:
        if body.strip() == b"[DONE]":
            self._end("The stream was closed before the answer was finished.")
            return
        chunk = sound_chunk(parse(body))
        if name == "error" or chunk.get("error") or "choices" not in chunk:
            fault = fault_in(chunk, "stream")
            if fault is not None or name == "error":
                self._fail(fault or Fault(message=shown(body), phase="stream"))
                return
        self._chunk(chunk)

    def _end(self, cut: str) -> None:
        choices = self._choices.values()
        if not choices or any(choice.finish is None for choice in choices):
            self._cut(cut)
            return
        for choice in sorted(choices, key=lambda each: each.index):
            self._finish(choice)
        self._out.append(Ended())
        self._over = True

    def _finish(self, choice: _Choice) -> None:
        self._close_part(choice)
        for call in choice.calls:
            if call.part is None:
                self._start_call(choice, call, "function", None)
            assert call.part is not None
            self._out.append(PartEnded(choice.index, call.part))
        word = choice.finish or ""
        finish = finish_of(word)
        form: dict[str, Any] = {"native": True} if choice.native is not None else {}
        if WORDS[finish] != word:
            form["finish"] = word
        self._out.append(Finished(choice.index, finish, choice.native or word, {FORM: form} if form else {}))

    # --- chunks

    def _chunk(self, chunk: dict[str, Any]) -> None:
        seen = self._seen
        fresh = None
        for key, value in chunk.items():
            if key in _HEAD or seen.get(key) == value or (not value and value.__class__ in _BLANK):
                continue
            seen[key] = value
            fresh = fresh or {}
            fresh[key] = value
        shape = chunk.get("object")
        if shape != CHUNK and shape and seen.get("object") != shape:
            seen["object"] = shape
            fresh = {**(fresh or {}), "object": shape}
        choices = chunk.get("choices")
        if fresh:
            if self._started:
                self._out.append(Extras(None, fresh))
            else:
                self._held |= fresh
        if not self._started and (choices or self._held.get("id")):
            self._start()
        for place, wire in enumerate(choices or ()):
            self._choice(wire, place)
            if self._over:
                return
        usage = chunk.get("usage")
        groq = chunk.get("x_groq")
        if usage:
            self._use(usage, {})
        elif isinstance(groq, dict) and isinstance(groq.get("usage"), dict):
            self._use(groq["usage"], {FORM: "x_groq"})

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        held, self._held = self._held, {}
        created = held.pop("created") if type(held.get("created")) is int else None
        words = {key: held.pop(key, "") if isinstance(held.get(key, ""), str) else "" for key in ("id", "model")}
        tier = held.pop("service_tier") if isinstance(held.get("service_tier"), str) else None
        self._out.append(Started(NAME, words["id"], words["model"], created, tier, held))

    def _use(self, usage: dict[str, Any], extra: dict[str, Any]) -> None:
        self._start()
        if usage != self._usage:
            self._usage = usage
            self._out.append(Used(decode_usage(usage), extra))

    def _choice(self, wire: dict[str, Any], place: int) -> None:
        index = wire.get("index")
        index = place if index is None else index
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index)
        if isinstance(wire.get("error"), dict):  # generation broke, whatever the finish reason says (OpenRouter)
            fault = fault_in({"error": wire["error"]}, "stream")
            assert fault is not None
            self._fail(fault)
            return
        delta = wire.get("delta")
        if delta is None:
            delta = wire.get("message") or {}
        logprobs = wire.get("logprobs")
        tokens = decode_logprobs(logprobs.get("content")) if isinstance(logprobs, dict) else None
        if tokens is not None and not isinstance(delta.get("content"), str):
            tokens = None
        self._extras(choice, wire, delta, plain_logprobs=tokens is None)
        if delta:
            self._delta(choice, delta, tokens or ())
        reason = wire.get("finish_reason")
        if reason:
            choice.finish = reason
            choice.native = None
        native = wire.get("native_finish_reason")
        if native:
            choice.native = native

    def _extras(self, choice: _Choice, wire: dict[str, Any], delta: dict[str, Any], *, plain_logprobs: bool) -> None:
        fresh: dict[str, Any] = {}
        for key, value in wire.items():
            if (key in _CHOICE and not (key == "logprobs" and plain_logprobs)) or choice.seen.get(key) == value:
                continue
            if value or value.__class__ not in _BLANK:
                choice.seen[key] = fresh[key] = value
        inner: dict[str, Any] = {}
        for key, value in delta.items():
            if value is None or (key in _DELTA and not (key == "role" and value and value != "assistant")):
                continue
            if choice.seen.get("delta." + key) != value:
                choice.seen["delta." + key] = inner[key] = value
        if inner:
            fresh["delta"] = inner
        if fresh:
            self._out.append(Extras(choice.index, fresh))

    def _delta(self, choice: _Choice, delta: dict[str, Any], tokens: tuple[TokenLogprob, ...]) -> None:
        content = delta.get("content")
        more = len(delta) > 1 or content is None
        if more:
            self._reasoning(choice, delta)
        if isinstance(content, str):
            if content or tokens:
                part = self._open(choice, "text", Text(""))
                self._out.append(Delta(choice.index, part, content, logprobs=tokens))
        elif content:
            self._typed(choice, content)
        if more:
            self._further(choice, delta)

    def _further(self, choice: _Choice, delta: dict[str, Any]) -> None:
        """All that a delta may hold beside reasoning and content, in the order in which a message has it."""
        refusal = delta.get("refusal")
        if refusal:
            self._out.append(Delta(choice.index, self._open(choice, "refusal", Refusal("")), refusal))
        if delta.get("annotations"):
            self._annotations(choice, delta["annotations"])
        if delta.get("audio"):
            self._audio(choice, delta["audio"])
        for i, image in enumerate(delta.get("images") or ()):
            self._whole(choice, decode_part(image, f"images[{i}]"))
        if delta.get("function_call"):
            self._tool(choice, {"index": -1, "function": delta["function_call"]}, legacy=True)
        for call in delta.get("tool_calls") or ():
            self._tool(choice, call)

    # --- parts

    def _open(self, choice: _Choice, kind: Any, part: Part) -> int:
        """The index of the open part of `kind`; opens `part` if another kind is open, or none."""
        if choice.kind == kind:
            return choice.part
        self._close_part(choice)
        choice.kind, choice.part = kind, choice.next
        choice.next += 1
        self._out.append(PartStarted(choice.index, choice.part, part))
        return choice.part

    def _close_part(self, choice: _Choice) -> None:
        if choice.kind is not None:
            self._out.append(PartEnded(choice.index, choice.part))
            choice.kind = None

    def _whole(self, choice: _Choice, part: Part) -> None:
        """A part that comes in one piece."""
        self._close_part(choice)
        self._out.append(PartStarted(choice.index, choice.next, part))
        self._out.append(PartEnded(choice.index, choice.next))
        choice.next += 1

    def _typed(self, choice: _Choice, content: list[Any]) -> None:
        """Mistral's content as an array: text, and thinking that grows."""
        for item in content:
            match item:
                case {"type": "text", "text": str(text)}:
                    if text:
                        self._out.append(Delta(choice.index, self._open(choice, "text", Text("")), text))
                case {"type": "thinking", "thinking": list(pieces)}:
                    text = "".join(p["text"] for p in pieces if isinstance(p, dict) and isinstance(p.get("text"), str))
                    marks = {key: value for key, value in item.items() if key not in ("type", "thinking")}
                    if text or marks:
                        part = Reasoning(extra={FORM: {"as": "thinking"}})
                        at = self._open(choice, "thinking", part)
                        self._out.append(Delta(choice.index, at, text, extra={BLANKS: marks} if marks else {}))
                case _:
                    self._out.append(Extras(choice.index, {"delta": {"content": [item]}}))

    def _reasoning(self, choice: _Choice, delta: dict[str, Any]) -> None:
        details = delta.get("reasoning_details")
        plain = [key for key in _REASONING if delta.get(key)]
        if not details and not plain:
            return
        if details:
            shown = "".join(item.get("text") or item.get("summary") or "" for item in details)
        else:
            shown = delta[plain[0]]
        names = [key for key in plain if delta[key] == shown]
        for item in details or ():
            self._detail(choice, item, names)
        if not details:
            part = Reasoning(extra={FORM: {"as": names}})
            self._out.append(Delta(choice.index, self._open(choice, (*names,), part), shown))
        for key in plain:
            if key not in names:  # two wordings of one thought: the second is kept as it came
                self._out.append(Extras(choice.index, {"delta": {key: delta[key]}}))

    def _detail(self, choice: _Choice, item: dict[str, Any], names: list[str]) -> None:
        piece = decode_detail(item)
        form = {"detail": piece.extra[FORM]["detail"], "as": names}
        if piece.sealed is not None:
            self._whole(choice, Reasoning("", piece.summary, None, piece.sealed, piece.id, piece.origin, {FORM: form}))
            return
        kind = ("detail", item.get("type"), item.get("index"))
        summary = "" if piece.summary is not None else None
        part = Reasoning("", summary, None, None, piece.id, piece.origin, {FORM: form})
        if piece.text or piece.summary or piece.signature is not None:
            at = self._open(choice, kind, part)
            self._out.append(Delta(choice.index, at, piece.text or piece.summary or "", signature=piece.signature))

    def _annotations(self, choice: _Choice, annotations: Any) -> None:
        citations = decode_citations(annotations)
        if citations and choice.kind == "text":
            self._out.append(Delta(choice.index, choice.part, citations=citations))
        else:
            self._out.append(Extras(choice.index, {"delta": {"annotations": annotations}}))

    def _audio(self, choice: _Choice, audio: dict[str, Any]) -> None:
        rest = dict(audio)
        sound_id = rest.pop("id") if isinstance(rest.get("id"), str) else None
        part = self._open(choice, "audio", Audio(id=sound_id))
        text = rest.pop("transcript") if isinstance(rest.get("transcript"), str) else ""
        data = rest.pop("data") if isinstance(rest.get("data"), str) else ""
        if text or data or rest:
            self._out.append(Delta(choice.index, part, text, data, extra=rest))

    # --- tool calls

    def _tool(self, choice: _Choice, wire: dict[str, Any], *, legacy: bool = False) -> None:
        kind = "custom" if wire.get("custom") else "function"
        body = wire.get(kind) or {}
        text = arguments_text(body.get("input" if kind == "custom" else "arguments"), "arguments")
        name = body.get("name") or ""
        call = self._find(choice, wire.get("index"), wire.get("id") or "", name, text)
        if call.part is None:
            call.id, call.name = call.id or wire.get("id") or "", call.name or name
            if not call.name and not text:
                return  # nothing but an id so far
            rest = dict(wire)
            signature = signature_in(rest)
            inner = {key: value for key, value in body.items() if key not in ("name", "arguments", "input") and value}
            extra = {key: v for key, v in rest.items() if key not in ("index", "id", "type", kind) and v is not None}
            if inner:
                extra[kind] = inner
            if legacy:
                extra[FORM] = "function_call"
            self._start_call(choice, call, kind, signature, extra)
        if text:
            assert call.part is not None
            self._out.append(Delta(choice.index, call.part, text))

    def _start_call(
        self, choice: _Choice, call: _Call, kind: Any, signature: str | None, extra: dict[str, Any] | None = None
    ) -> None:
        self._close_part(choice)
        call.part = choice.next
        choice.next += 1
        part = ToolCall(call.id, call.name, "", kind, signature, extra=extra or {})
        self._out.append(PartStarted(choice.index, call.part, part))

    def _find(self, choice: _Choice, key: int | None, call_id: str, name: str, text: str) -> _Call:
        """The call that a fragment belongs to, a new one if it begins one.

        By index, if there is one; yet another id *and* a name under a known index begin another call (some servers
        number every call 0). Without an index: by id; without either, a name begins a call, and the rest goes on.
        """
        calls = choice.calls
        for call in reversed(calls):
            if key is not None and call.key == key:
                if not (call_id and name and call.id and call_id != call.id):
                    return call
                break
            if key is None and call_id and call.id == call_id:
                return call
        if key is None and calls and not name and (not call_id or text):
            return calls[-1]
        call = _Call(key, call_id, name)
        calls.append(call)
        return call
