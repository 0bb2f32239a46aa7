"""Another dialect's conversation in the shape that Cohere takes.

Roles may stand in any order, but the last message has to be a user's or a tool's; nothing may be empty; every result
belongs to a call before it. An assistant's words before its calls are its plan. Documents stand beside the
conversation. What has to give way is a loss with its canonical path.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import File, Image, Loss, Message, Part, Reasoning, Refusal, Stored, Text, ToolCall, ToolResult
from understudy.dialects.cohere_chat.parts import encode_citation, encode_document, encode_part
from understudy.dialects.gemini.parts import arguments_of
from understudy.dialects.wire import dump, foreign

_FILLER = "..."


class _Writer:
    """What has been written of one conversation so far: turns, documents, the calls that wait for a result."""

    def __init__(self, messages: tuple[Message, ...], losses: list[Loss]) -> None:
        self.losses = losses
        self.turns: list[dict[str, Any]] = []
        self.documents: list[dict[str, Any]] = []
        self._answered = [_answers(messages, i) for i in range(len(messages))]
        self._waiting: list[tuple[str, str, str]] = []  # canonical id, name, id on the wire

    def lose(self, path: str, why: str, *, approximated: bool = False) -> None:
        self.losses.append(Loss(path, why, "approximated" if approximated else "dropped"))

    def message(self, message: Message, at: int) -> None:
        path = f"messages[{at}]"
        self.losses += foreign(message.extra, path + ".")
        if message.name is not None:
            self.lose(path + ".name", "messages bear no names here")
        if message.role == "tool":
            for i, part in enumerate(message.parts):
                self._result(part, f"{path}.parts[{i}]")
        elif message.role == "assistant":
            self._assistant(message, at, path)
        else:
            role = "system" if message.role == "developer" else message.role
            content = self._content(message, path, pictures=role == "user")
            if content:
                plain = len(content) == 1 and content[0]["type"] == "text"
                self.turns.append({"role": role, "content": content[0]["text"] if plain else content})

    # --- what users and systems say

    def _content(self, message: Message, path: str, *, pictures: bool) -> list[dict[str, Any]]:
        out = []
        for i, part in enumerate(message.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(part, Text):
                if (text := self.text(part, where)) is not None:
                    out.append({"type": "text", "text": text})
            elif isinstance(part, Image) and pictures and not isinstance(part.source, Stored):
                self._marks(part, where)
                picture = Image(part.source, detail=part.detail)
                out.append(encode_part(picture) or {})
            elif isinstance(part, File) and pictures:
                self._file(part, where)
            elif isinstance(part, ToolResult) and pictures:
                self._result(part, where)
            else:
                self.lose(where, no_place(part, message.role))
        return out

    def text(self, part: Text, path: str) -> str | None:
        self._marks(part, path)
        if part.logprobs:
            self.lose(path + ".logprobs", "an earlier answer's log-probabilities are not taken here")
        if part.signature is not None:
            self.lose(path + ".signature", "a text has no signature here")
        return part.text or None

    def _marks(self, part: Text | Image | File | ToolCall | ToolResult, path: str) -> None:
        self.losses += foreign(part.extra, path + ".")
        if part.cache is not None:
            self.lose(path + ".cache", "prefixes are cached without marks here")

    def _file(self, part: File, path: str) -> None:
        document = encode_document(File(part.source, filename=part.filename, title=part.title))
        if document is None:
            self.lose(path, "only texts are taken as documents here")
            return
        self._marks(part, path)
        if part.filename is not None and part.title is not None:
            self.lose(path + ".filename", "there is a title already")
        if part.context is not None:
            self.lose(path + ".context", "a document has none here")
        self.lose(path, "moved beside the conversation: documents stand apart here", approximated=True)
        self.documents.append({"id": f"doc:{len(self.documents)}", **document})

    # --- what assistants say

    def _assistant(self, message: Message, at: int, path: str) -> None:
        texts: list[str] = []
        citations: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        self._waiting = []
        for i, part in enumerate(message.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(part, ToolCall):
                self._call(part, where, self._answered[at], texts, calls)
            else:
                self._say(part, where, texts, citations)
        out: dict[str, Any] = {"role": "assistant"}
        if calls:
            out["tool_calls"] = calls
        if texts and calls:
            out["tool_plan"] = "\n".join(texts)
            if len(texts) > 1:
                self.lose(path, "texts before calls are joined to one plan here", approximated=True)
            if citations:
                self.lose(path, "a plan bears no citations here")
        elif texts:
            out["content"] = texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]
            if citations:
                out["citations"] = citations
        if len(out) > 1:
            self.turns.append(out)

    def _say(self, part: Part, path: str, texts: list[str], citations: list[dict[str, Any]]) -> None:
        if isinstance(part, Refusal):
            self.lose(path, "a refusal is a text here", approximated=True)
            texts += [part.text] if part.text else []
        elif isinstance(part, Text):
            text = self.text(part, path)
            if text is not None:
                citations += [encode_citation(one, text, len(texts)) for one in part.citations]
                texts.append(text)
        elif isinstance(part, Reasoning):
            self.lose(path, "another provider's reasoning is not taken here")
        else:
            self.lose(path, no_place(part, "assistant"))

    def _call(
        self, part: ToolCall, path: str, answered: dict[str, int], texts: list[str], calls: list[dict[str, Any]]
    ) -> None:
        self._marks(part, path)
        if part.signature is not None:
            self.lose(path + ".signature", "a signature means nothing to another provider")
        if part.kind == "hosted":
            self.lose(path, "a call that another provider ran itself is a text here", approximated=True)
            texts.append(f"[{part.name} was run with {part.arguments or '{}'}]")
            return
        if not answered.get(part.id):
            self.lose(path, "a call without a result is a text here", approximated=True)
            texts.append(f"[called {part.name} with {part.arguments or '{}'}, and got no answer]")
            return
        answered[part.id] -= 1
        arguments = part.arguments or "{}"
        if part.kind == "custom":
            self.lose(path + ".arguments", "plain text goes as a field `input` of an object", approximated=True)
            arguments = dump({"input": part.arguments}).decode()
        elif arguments_of(arguments) is None:
            self.lose(path + ".arguments", "are no JSON object: sent as a field of one", approximated=True)
            arguments = dump({"arguments": part.arguments}).decode()
        known = {wire for _, _, wire in self._waiting}
        wire = part.id or f"call_{len(self.turns)}_{len(calls)}"
        while wire in known:
            wire += "_"
        if wire != part.id:
            self.lose(path + ".id", f"became {wire}, here and in its result", approximated=True)
        self._waiting.append((part.id, part.name, wire))
        function = {"name": part.name or "_", "arguments": arguments}
        calls.append({"id": wire, "type": "function", "function": function})

    # --- results

    def _result(self, part: Part, path: str) -> None:
        if not isinstance(part, ToolResult):
            self.lose(path, no_place(part, "tool"))
            return
        self._marks(part, path)
        if part.failed:
            self.lose(path + ".failed", "a result is not marked as failed here")
        content: list[dict[str, Any]] = []
        for i, inner in enumerate(part.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(inner, Text):
                text = self.text(inner, where)
                content += [{"type": "text", "text": text}] if text else []
            elif isinstance(inner, File) and (found := encode_document(inner)) is not None:
                self._marks(inner, where)
                content.append({"type": "document", "document": found})
            else:
                self.lose(where, no_place(inner, "tool"))
        if not content:
            self.lose(path, "an empty result says so here", approximated=True)
            content = [{"type": "text", "text": "(empty)"}]
        said = content[0]["text"] if len(content) == 1 and content[0]["type"] == "text" else content
        for i, (call_id, name, wire) in enumerate(self._waiting):
            if call_id == part.call_id and (call_id or part.name in (None, name)):
                del self._waiting[i]
                self.turns.append({"role": "tool", "tool_call_id": wire, "content": said})
                return
        self.lose(path, "a result without its call is a text here", approximated=True)
        words = "\n".join(item.get("text") or dump(item["document"]).decode() for item in content)
        self.turns.append({"role": "user", "content": f"[result of {part.call_id or part.name}] {words}"})


def _answers(messages: tuple[Message, ...], at: int) -> dict[str, int]:
    """How often each call id is answered after message `at`, before the next assistant's turn."""
    found: dict[str, int] = {}
    for message in messages[at + 1 :]:
        if message.role == "assistant":
            break
        for part in message.parts:
            if isinstance(part, ToolResult):
                found[part.call_id] = found.get(part.call_id, 0) + 1
    return found


def no_place(part: Part, role: str) -> str:
    return f"a {role} message takes no {type(part).__name__.lower()} here"


def encode_history(messages: tuple[Message, ...], out: dict[str, Any], losses: list[Loss]) -> None:
    """Write `messages`, and `documents` if there are any."""
    writer = _Writer(messages, losses)
    for i, message in enumerate(messages):
        writer.message(message, i)
    turns = writer.turns
    if not turns or turns[-1]["role"] not in ("user", "tool"):
        writer.lose("messages", "a user's turn of three dots comes last: there has to be one", approximated=True)
        turns.append({"role": "user", "content": _FILLER})
    out["messages"] = turns
    if writer.documents:
        out["documents"] = writer.documents
