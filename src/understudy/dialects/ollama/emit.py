"""Streamed answers, from events to bytes: one JSON object a line, the last with `done: true`.

Calls go whole, so arguments wait until their call is complete; one whose arguments are no JSON object is left out. A
failure is a line with `error`, which Ollama's clients raise, and nothing after it. A ping is a line that says nothing,
since these clients read every line as JSON.
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
    ToolCall,
    Usage,
    Used,
)
from understudy.dialects.gemini.answer import created_text
from understudy.dialects.ollama.answer import encode_usage, finish_word, head_losses, is_broken
from understudy.dialects.ollama.fault import error_body
from understudy.dialects.ollama.messages import NAME, encode_parts
from understudy.dialects.ollama.request import is_generate
from understudy.dialects.openai_chat.answer import encode_logprob
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import dump, foreign, restore


class StreamEncoder:
    """Events to bytes. `request` says whether the client asked `/api/generate`. There is one choice here."""

    def __init__(self, request: Request | None = None) -> None:
        self.losses: list[Loss] = []
        self._generate = request is not None and is_generate(request)
        self._own = True
        self._head: dict[str, Any] = {}
        self._parts: dict[int, Part] = {}
        self._pieces: dict[int, list[str]] = {}
        self._kinds: set[type] = set()
        self._finish: Finished | None = None
        self._usage: Usage | None = None
        self._rest: dict[str, Any] = {}  # fields of the last line
        self._message: dict[str, Any] = {}  # fields of the next message
        self._others: set[int] = set()

    def encode(self, event: Event) -> bytes:
        """The bytes for one event; often none, or one line."""
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
            self._start(event)
        elif isinstance(event, Extras):
            self._extras(event)
        elif isinstance(event, Finished):
            self._finish = event
        elif isinstance(event, Used):
            self._usage = event.usage
        elif isinstance(event, Ping):
            return self._write({}) if self._head else b""
        elif isinstance(event, Ended):
            return self._end()
        elif isinstance(event, Failed):
            return dump(error_body(event.fault)) + b"\n"
        return b""

    def _write(self, said: dict[str, Any], **more: Any) -> bytes:
        if self._generate:
            text = said.pop("content", "")
            body = {"response": text, **said}
        else:
            body = {"message": {"role": "assistant", "content": "", **said, **self._message}}
            self._message = {}
        return dump({**self._head, **body, "done": False, **more}) + b"\n"

    def _start(self, event: Started) -> None:
        self._own = event.dialect == NAME
        form = form_of(event.extra) if self._own else {}
        self._generate = self._generate or "generate" in form
        stamp = form.get("stamp") or created_text(event.created, self.losses)
        self._head = {"model": event.model} | ({"created_at": stamp} if stamp else {})
        if not self._own:
            self.losses += head_losses(event.id, event.service_tier)
            self.losses += foreign(event.extra, "")

    def _extras(self, event: Extras) -> None:
        if not self._own:
            self.losses += foreign(event.fields, "" if event.choice is None else "choices[0].")
        elif event.choice is None:
            self._rest |= event.fields
        else:
            self._message |= event.fields.get("message", {})

    # --- parts

    def _start_part(self, event: PartStarted) -> bytes:
        part, path = event.part, f"choices[0].parts[{event.index}]"
        self._parts[event.index] = part
        self._pieces[event.index] = []
        if isinstance(part, Text | Refusal | Reasoning):
            kind = Reasoning if isinstance(part, Reasoning) else Text
            if kind in self._kinds and not self._own:
                self.losses.append(Loss(path, "joined to what was said before it", "approximated"))
            self._kinds.add(kind)
        elif isinstance(part, ToolCall):
            return b""
        said = encode_parts([(part, path)], self.losses, own=self._own)
        return self._write(said) if any(said.values()) else b""

    def _delta(self, event: Delta) -> bytes:
        part, path = self._parts[event.index], f"choices[0].parts[{event.index}]"
        self._pieces[event.index].append(event.text)
        if not self._own:
            named = (("signature", event.signature), ("sealed", event.sealed), ("citations", event.citations))
            self.losses += [Loss(f"{path}.{name}", "has no place here") for name, value in named if value]
            self.losses += foreign(event.extra, path + ".")
        if not isinstance(part, Text | Refusal | Reasoning):
            return b""
        more = {"logprobs": [encode_logprob(token) for token in event.logprobs]} if event.logprobs else {}
        if not event.text and not more:
            return b""
        return self._write({"thinking" if isinstance(part, Reasoning) else "content": event.text}, **more)

    def _end_part(self, event: PartEnded) -> bytes:
        part, path = self._parts[event.index], f"choices[0].parts[{event.index}]"
        if not isinstance(part, ToolCall):
            return b""
        call = msgspec.structs.replace(part, arguments=part.arguments + "".join(self._pieces[event.index]))
        if not self._own and is_broken(call, path, self.losses):
            return b""
        return self._write(encode_parts([(call, path)], self.losses, own=self._own))

    # --- the end

    def _end(self) -> bytes:
        event, more = self._finish, dict(self._rest)
        if event is not None and self._own:
            more |= {} if event.native_reason is None else {"done_reason": event.native_reason}
        elif event is not None:
            path = "choices[0].finish"
            more["done_reason"] = finish_word(event.finish, event.native_reason, self.losses, path)
            self.losses += foreign(event.extra, "choices[0].")
        if self._usage is not None:
            more |= encode_usage(self._usage, self.losses, mine=self._own)
        return self._write({}, **{**restore({}, more), "done": True})
