"""Another dialect's conversation in the shape that Anthropic takes.

Its rules: system prompts apart; user and assistant in turns, a user first, no empty text; each tool call answered in
the next turn, results before anything else there; ids unique and of few characters; a last assistant turn without
trailing white space. What has to give way is a loss with its canonical path.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Audio,
    CacheHint,
    File,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Url,
)
from understudy.dialects.anthropic_messages.carried import is_ours
from understudy.dialects.anthropic_messages.parts import (
    arguments_of,
    cache_mark,
    encode_source,
    text_source,
    tidy,
)
from understudy.dialects.anthropic_messages.tools import NAME_LIMIT, Marks
from understudy.dialects.wire import foreign

PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_ID_LIMIT = 128
_PDF = "application/pdf"
_PDF_START = "JVBERi0"  # "%PDF-" in base64

Block = dict[str, Any]


class _Turn:
    """A message of the wire in the making; `paths` are the canonical ones of its blocks."""

    __slots__ = ("blocks", "paths", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.blocks: list[Block] = []
        self.paths: list[str] = []


class _Writer:
    """What has been written of one conversation so far: turns, the ids in use, and what was lost."""

    def __init__(self, marks: Marks, losses: list[Loss]) -> None:
        self.marks, self.losses = marks, losses
        self.system: list[Block] = []
        self.turns: list[_Turn] = []
        self._ids: dict[str, str] = {}  # the latest wire id of each canonical one
        self._used: set[str] = set()
        self._counts: dict[str, int] = {}  # of calls that came with the same id
        self._unnamed: list[tuple[str, str]] = []  # wire id and tool of calls without an id, until they are answered

    def lose(self, path: str, why: str, *, approximated: bool = False) -> None:
        self.losses.append(Loss(path, why, "approximated" if approximated else "dropped"))

    # --- turns

    def put(self, role: str, blocks: list[tuple[Block, str]]) -> None:
        if not blocks:
            return
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(_Turn(role))
        for block, path in blocks:
            self.turns[-1].blocks.append(block)
            self.turns[-1].paths.append(path)

    def message(self, message: Message, path: str) -> None:
        self.losses += foreign(message.extra, path + ".")
        if message.name is not None:
            self.lose(path + ".name", "messages bear no names here")
        if message.role in ("system", "developer"):
            if self.turns:
                self.lose(path, "moved before the conversation: system prompts stand apart here", approximated=True)
            self.system += [block for block, _ in self._blocks(message, path, (Text,))]
        elif message.role == "assistant":
            self.put("assistant", self._blocks(message, path, (Text, ToolCall, Reasoning, Refusal)))
        elif message.role == "tool":
            self.put("user", self._blocks(message, path, (ToolResult,)))
        else:
            self.put("user", self._blocks(message, path, (Text, Image, File)))

    def _blocks(self, message: Message, path: str, kinds: tuple[type, ...]) -> list[tuple[Block, str]]:
        out = []
        for i, part in enumerate(message.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(part, kinds):
                block = self.block(part, where)
                if block is not None:
                    out.append((block, where))
            else:
                self.lose(where, _no_place(part, message.role))
        return out

    # --- blocks

    def block(self, part: Part, path: str) -> Block | None:
        out: Block | None = None
        if isinstance(part, Text):
            out = self._text(part, path)
        elif isinstance(part, Image):
            out = self._image(part, path)
        elif isinstance(part, File):
            out = self._file(part, path)
        elif isinstance(part, ToolCall):
            out = self._call(part, path)
        elif isinstance(part, ToolResult):
            out = self._result(part, path)
        elif isinstance(part, Reasoning):
            return self._thought(part, path)
        elif isinstance(part, Refusal):
            self.lose(path, "a refusal is a text here", approximated=True)
            out = self._text(Text(part.text), path)
        if out is None:
            return None
        self.losses += foreign(getattr(part, "extra", {}), path + ".")
        self._mark(getattr(part, "cache", None), out, path)
        return out

    def _mark(self, cache: CacheHint | None, out: Block, path: str) -> None:
        if cache is not None:
            out["cache_control"] = cache_mark(cache)
            self.marks.append((out, path + ".cache"))

    def _text(self, part: Text, path: str) -> Block | None:
        if part.citations:
            self.lose(path + ".citations", "an earlier answer's citations are not taken from another provider")
        if part.logprobs:
            self.lose(path + ".logprobs", "an earlier answer's log-probabilities are not taken here")
        if part.signature is not None:
            self.lose(path + ".signature", "a text has no signature here")
        if not part.text.strip():
            if part.text:
                self.lose(path, "a text of white space alone is refused here")
            return None
        return {"type": "text", "text": part.text}

    def _image(self, part: Image, path: str) -> Block | None:
        source = part.source
        if isinstance(source, Stored):
            self.lose(path + ".source", "is held by another provider, under an id of its own")
            return None
        if isinstance(source, Inline) and source.media_type not in PICTURES:
            self.lose(path + ".source", f"a picture of type {source.media_type} is not taken here")
            return None
        if part.detail is not None:
            self.lose(path + ".detail", "pictures have no level of detail here")
        return {"type": "image", "source": encode_source(source)}

    def _file(self, part: File, path: str) -> Block | None:
        source = self._document(part, path + ".source")
        if source is None:
            return None
        out: Block = {"type": "document", "source": source}
        title = part.title or part.filename
        if part.filename is not None:
            self.lose(path + ".filename", "is the title here" if part.title is None else "there is a title already",
                      approximated=part.title is None)  # fmt: skip
        if title:
            out["title"] = title
        if part.context:
            out["context"] = part.context
        if part.citations:
            out["citations"] = {"enabled": True}
        return out

    def _document(self, part: File, path: str) -> Block | None:
        """A PDF or a text; by URL a PDF, since nothing else is fetched here."""
        source = part.source
        if isinstance(source, Stored):
            self.lose(path, "is held by another provider, under an id of its own")
            return None
        if isinstance(source, Url):
            return encode_source(source)
        media = source.media_type
        if media == _PDF or (media is None and source.data.startswith(_PDF_START)):
            return encode_source(Inline(source.data, _PDF))
        if media is not None and media.startswith("text/") and (found := text_source(source)) is not None:
            if media != "text/plain":
                self.lose(path + ".media_type", "a text of any type is a plain one here", approximated=True)
            return {**found, "media_type": "text/plain"}
        self.lose(path, f"a file of type {media} is not taken here")
        return None

    def _call(self, part: ToolCall, path: str) -> Block | None:
        if part.signature is not None:
            self.lose(path + ".signature", "a signature means nothing to another provider")
        if part.kind == "hosted":
            self.lose(path, "a call that another provider ran itself is a text here", approximated=True)
            return {"type": "text", "text": f"[{part.name} was run with {part.arguments or '{}'}]"}
        given = {"input": part.arguments} if part.kind == "custom" else arguments_of(part.arguments)
        if part.kind == "custom":
            self.lose(path + ".arguments", "plain text goes as a field `input` of an object", approximated=True)
        elif given is None:
            self.lose(path + ".arguments", "are no JSON object: sent as a field `arguments` of one", approximated=True)
            given = {"arguments": part.arguments}
        name = tidy(part.name, NAME_LIMIT)
        if name != part.name:
            self.lose(path + ".name", f"became {name}, as the tool did", approximated=True)
        return {"type": "tool_use", "id": self._call_id(part, path), "name": name or "_", "input": given}

    def _call_id(self, part: ToolCall, path: str) -> str:
        """An id that nothing else here has, the same for the same conversation."""
        wanted = tidy(part.id, _ID_LIMIT) if part.id else "call"
        found = wanted
        while found in self._used:
            self._counts[wanted] = count = self._counts.get(wanted, 1) + 1
            found = f"{wanted}_{count}"
        self._used.add(found)
        self._ids[part.id] = found
        if not part.id:
            self._unnamed.append((found, part.name))
        if found != part.id:
            self.lose(path + ".id", f"became {found}, here and in its result", approximated=True)
        return found

    def _result_id(self, part: ToolResult) -> str:
        if part.call_id:
            return self._ids.get(part.call_id) or tidy(part.call_id, _ID_LIMIT)
        for i, (found, name) in enumerate(self._unnamed):
            if part.name is None or part.name == name:
                del self._unnamed[i]
                return found
        return "none"

    def _result(self, part: ToolResult, path: str) -> Block:
        out: Block = {"type": "tool_result", "tool_use_id": self._result_id(part)}
        content = []
        for i, inner in enumerate(part.parts):
            where = f"{path}.parts[{i}]"
            if not isinstance(inner, Text | Image | File):
                self.lose(where, _no_place(inner, "tool"))
            elif (block := self.block(inner, where)) is not None:
                content.append(block)
        if content:
            out["content"] = content
        if part.failed:
            out["is_error"] = True
        return out

    def _thought(self, part: Reasoning, path: str) -> Block | None:
        """A thinking block, if Anthropic signed it; it must come back as it was."""
        if not is_ours(part, own=False) or (part.signature is None and part.sealed is None):
            self.lose(path, "reasoning that another provider signed, or nobody, is not taken here")
            return None
        if part.sealed is not None:
            return {"type": "redacted_thinking", "data": part.sealed}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _no_place(part: Part, role: str) -> str:
    if isinstance(part, Unknown):
        return f"a part of kind {part.kind!r} that only its own dialect knows"
    if isinstance(part, Audio):
        return "sound is not taken here"
    return f"a {role} message takes no {type(part).__name__.lower()} here"


# --- the whole -------------------------------------------------------------------------------------------------------


def encode_history(messages: tuple[Message, ...], marks: Marks, losses: list[Loss]) -> tuple[list[Block], list[Block]]:
    """The system prompt's blocks, and the messages. Marks of cached prefixes are added to `marks`."""
    writer = _Writer(marks, losses)
    for i, message in enumerate(messages):
        writer.message(message, f"messages[{i}]")
    _settle_calls(writer)
    system, turns = writer.system, writer.turns
    if turns and turns[0].role == "assistant":
        first = _Turn("user")
        first.blocks.append({"type": "text", "text": "..."})
        first.paths.append("messages")
        turns.insert(0, first)
        writer.lose("messages", "a user's turn of three dots stands first: an assistant's may not", approximated=True)
    if not turns:
        turns = [_Turn("user")]
        turns[0].blocks = system or [{"type": "text", "text": "..."}]
        why = "the system prompt is the user's turn: there has to be one" if system else "an empty conversation"
        writer.lose("messages", why, approximated=True)
        system = []
    _trim(turns[-1], writer)
    return system, [{"role": turn.role, "content": turn.blocks} for turn in turns]


def _settle_calls(writer: _Writer) -> None:
    """Calls and results that do not face each other in adjacent turns become text; results go before all else."""
    turns = writer.turns
    called: set[str] = set()
    for at, turn in enumerate(turns):
        if turn.role == "assistant":
            following = turns[at + 1].blocks if at + 1 < len(turns) else []
            answered = {block["tool_use_id"] for block in following if block["type"] == "tool_result"}
            called = {block["id"] for block in turn.blocks if block["type"] == "tool_use"} & answered
            for i, block in enumerate(turn.blocks):
                if block["type"] == "tool_use" and block["id"] not in called:
                    words = {key: block[key] for key in ("name", "input")}
                    turn.blocks[i] = _told(f"[called {words['name']} with {words['input']}, and got no answer]", block)
                    writer.lose(turn.paths[i], "a call without a result is a text here", approximated=True)
            continue
        for i, block in enumerate(turn.blocks):
            if block["type"] == "tool_result":
                if block["tool_use_id"] in called:
                    called.discard(block["tool_use_id"])
                    continue
                turn.blocks[i] = _told(_words(block), block)
                writer.lose(turn.paths[i], "a result without its call is a text here", approximated=True)
        _results_first(turn)
        called = set()


def _told(text: str, block: Block) -> Block:
    out: Block = {"type": "text", "text": text}
    if "cache_control" in block:
        out["cache_control"] = block["cache_control"]
    return out


def _words(result: Block) -> str:
    said = [block["text"] for block in result.get("content", ()) if block["type"] == "text"]
    return f"[result of {result['tool_use_id']}] " + "\n".join(said)


def _results_first(turn: _Turn) -> None:
    order = sorted(range(len(turn.blocks)), key=lambda i: turn.blocks[i]["type"] != "tool_result")
    turn.blocks = [turn.blocks[i] for i in order]
    turn.paths = [turn.paths[i] for i in order]


def _trim(turn: _Turn, writer: _Writer) -> None:
    last = turn.blocks[-1]
    if turn.role == "assistant" and last["type"] == "text" and last["text"] != last["text"].rstrip():
        last["text"] = last["text"].rstrip()
        writer.lose(turn.paths[-1] + ".text", "a last turn does not end in white space here", approximated=True)
