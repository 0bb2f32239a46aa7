"""The turns of a request, both ways: `contents` and `systemInstruction`.

Google knows two roles, `user` and `model`, takes turns of one role as one turn, begins with the user, and holds tool
results in a user's turn, as many as there were calls, each with its function's name. A turn that mixes results with
other parts becomes several messages here, marked as joined. Gemini 3 refuses a call in the history that is not signed;
for calls that another model made, Google documents a signature that says so
(ai.google.dev/gemini-api/docs/thought-signatures).
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice
from typing import Any

import msgspec

from understudy.canon import (
    Audio,
    Extra,
    File,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from understudy.dialects.gemini.parts import bare_part, decode_part, encode_part, encode_result, is_signature
from understudy.dialects.gemini.spelling import form_of, note, own, read
from understudy.dialects.pairing import paired
from understudy.dialects.wire import LIST, STR, Malformed, expect, foreign, take

_ROLES = ("user", "model", "function")
_UNSIGNED = "skip_thought_signature_validator"
_VERSION = re.compile(r"gemini-(\d+)")


class Calls:
    """Calls that wait for a result, in order: found by id, by name or by turn, each at a constant cost."""

    __slots__ = ("_by_name", "_names")

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._by_name: dict[str, deque[str]] = {}

    def add(self, call: ToolCall) -> None:
        self._names[call.id] = call.name
        self._by_name.setdefault(call.name, deque()).append(call.id)

    def answered(self, result: ToolResult) -> tuple[str, str] | None:
        """Id and name of the call that `result` answers, which waits no more: by id, else the first of its name."""
        if result.call_id:
            name = self._names.pop(result.call_id, None)
            return None if name is None else (result.call_id, name)
        ids = self._by_name.get(result.name, deque()) if result.name is not None else deque(islice(self._names, 1))
        while ids:
            first = ids.popleft()
            if first in self._names:
                return first, self._names.pop(first)
        return None


def third(model: str) -> bool:
    """Whether `model` is a Gemini of the third generation or later, which has rules of its own."""
    found = _VERSION.search(model)
    return found is not None and int(found[1][:3]) >= 3


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_system(value: Any) -> Message:
    rest, blank, spelt = read(value, "systemInstruction")
    role = take(rest, "role", STR, "systemInstruction.")
    parts = take(rest, "parts", LIST, "systemInstruction.") or ()
    decoded = tuple(decode_part(part, f"systemInstruction.parts[{i}]", "s") for i, part in enumerate(parts))
    return Message("system", decoded, extra=note(rest, blank, spelt, role=role or False))


def decode_contents(value: Any) -> list[Message]:
    """Messages; results get the id and name of the call that they answer. Raises `Malformed` on another role."""
    waiting = Calls()
    out: list[Message] = []
    for i, content in enumerate(expect(value, LIST, "contents")):
        path = f"contents[{i}]"
        rest, blank, spelt = read(content, path)
        role = take(rest, "role", STR, path + ".")
        if role is not None and role not in _ROLES:
            raise Malformed(path + ".role", "must be user or model")
        listed = take(rest, "parts", LIST, path + ".") or ()
        parts = [decode_part(part, f"{path}.parts[{j}]", f"{i}.{j}") for j, part in enumerate(listed)]
        parts = match_results(parts, waiting)
        plain = "model" if role == "model" else "user"
        extra = note(rest, blank, spelt, role=False if role == plain else role)
        if role == "model":
            out.append(Message("assistant", tuple(parts), extra=extra))
        else:
            out += _users(parts, extra)
    return out


def _users(parts: list[Part], extra: Extra) -> list[Message]:
    """A user's turn as messages: runs of results, and of everything else."""
    runs: list[list[Part]] = []
    for part in parts:
        if runs and isinstance(runs[-1][0], ToolResult) == isinstance(part, ToolResult):
            runs[-1].append(part)
        else:
            runs.append([part])
    out = []
    for run in runs or [[]]:
        is_tool = bool(run) and isinstance(run[0], ToolResult)
        out.append(Message("tool" if is_tool else "user", tuple(run), extra=extra))
        extra = note({}, {}, {}, joined=True)
    return out


def match_results(parts: list[Part], waiting: Calls) -> list[Part]:
    """The parts, results with the id and name of their calls: by id, else the first that waits and has the name."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            waiting.add(part)
            out.append(part)
        elif isinstance(part, ToolResult):
            found, name = waiting.answered(part) or (part.call_id or part.name or "", part.name)
            out.append(msgspec.structs.replace(part, call_id=found, name=part.name or name))
        else:
            out.append(part)
    return out


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_contents(
    request: Request, losses: list[Loss], *, own: bool
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The system instruction, if there is one, and the turns."""
    return _own_contents(request.messages) if own else _foreign_contents(request, losses)


def _own_contents(messages: tuple[Message, ...]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    system: dict[str, Any] | None = None
    out: list[dict[str, Any]] = []
    for message in messages:
        parts = [encoded for part in message.parts if (encoded := encode_part(part)) is not None]
        form = form_of(message.extra)
        if message.role in ("system", "developer"):
            if system is None:
                content = {"role": form["role"]} if "role" in form else {}
                system = own(content | ({"parts": parts} if parts else {}), message.extra)
            else:
                system["parts"] = [*system.get("parts", ()), *parts]
        elif "joined" in form and out:
            out[-1]["parts"] = [*out[-1].get("parts", ()), *parts]
        else:
            role = form.get("role", "model" if message.role == "assistant" else "user")
            content = {} if role is None else {"role": role}
            out.append(own(content | ({"parts": parts} if parts else {}), message.extra))
    return system, out


class _Turns:
    """Turns under way, while messages of other dialects are put into them."""

    def __init__(self, request: Request, losses: list[Loss]) -> None:
        self.losses = losses
        self.third = third(request.model)
        self.system: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.last: Message | None = None  # the message that the last turn ends with
        self.calls: dict[str, str] = {}  # names by id, of all calls
        self.waiting = Calls()

    def message(self, message: Message, path: str) -> None:
        self.losses += foreign(message.extra, path + ".")
        if message.name is not None:
            self.losses.append(Loss(path + ".name", "turns have no names here"))
        if message.role in ("system", "developer"):
            self._system(message, path)
            return
        parts: list[dict[str, Any]] = []
        moved: list[dict[str, Any]] = []
        for i, part in enumerate(message.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(part, ToolResult) and message.role != "assistant":
                parts += self._result(part, where, moved)
            elif message.role == "tool":
                self.losses.append(Loss(where, "a tool's message holds results alone"))
            else:
                parts += self._part(part, where)
        if parts or moved:
            self._append(message, [*parts, *moved], path)

    def _append(self, message: Message, parts: list[dict[str, Any]], path: str) -> None:
        role = "model" if message.role == "assistant" else "user"
        if self.turns and self.turns[-1]["role"] == role:
            if self.last is not None and not (self.last.role == "tool" and message.role in ("tool", "user")):
                self.losses.append(Loss(path, "joined to the turn before it: roles alternate here", "approximated"))
            self.turns[-1]["parts"] += parts
        else:
            self.turns.append({"role": role, "parts": parts})
        self.last = message

    def _system(self, message: Message, path: str) -> None:
        if self.turns:
            self.losses.append(Loss(path, "moved to the start: instructions stand apart here", "approximated"))
        elif self.system:
            self.losses.append(Loss(path, "joined to the instructions before it", "approximated"))
        if message.role == "developer":
            self.losses.append(Loss(path + ".role", "developer became system", "approximated"))
        for i, part in enumerate(message.parts):
            where = f"{path}.parts[{i}]"
            if isinstance(part, Text):
                self.system += self._part(part, where)
            else:
                self.losses.append(Loss(where, "instructions are text here"))

    def _part(self, part: Part, where: str) -> list[dict[str, Any]]:
        if isinstance(part, ToolCall) and part.kind != "hosted":
            self.calls[part.id] = part.name
            self.waiting.add(part)
        if isinstance(part, Reasoning):
            self.losses.append(Loss(where, "earlier reasoning of another provider is not taken here"))
            return []
        if isinstance(part, Text) and (part.citations or part.logprobs):
            for name in ("citations", "logprobs"):
                if getattr(part, name):
                    self.losses.append(Loss(f"{where}.{name}", f"an earlier answer's {name} are not taken here"))
        encoded = encode_foreign(part, where, self.losses)
        if encoded is None or encoded == {"text": ""}:
            return []
        return [encoded]

    def _result(self, part: ToolResult, where: str, moved: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answered = self.waiting.answered(part)
        name = part.name or (self.calls.get(part.call_id) if answered is None else answered[1])
        if name is None:
            name = part.call_id or "tool"
            self.losses.append(Loss(where + ".name", "no call has this id, so its function is unknown", "approximated"))
        kept: list[Part] = []
        for i, inner in enumerate(part.parts):
            inside = f"{where}.parts[{i}]"
            if isinstance(inner, Text):
                if kept and isinstance(kept[-1], Text):
                    self.losses.append(Loss(inside, "joined to the text before it", "approximated"))
                self._part(inner, inside)  # for its losses
                kept.append(inner)
            elif (encoded := next(iter(self._part(inner, inside)), None)) is not None:
                if self.third and "inlineData" in encoded:
                    kept.append(msgspec.structs.replace(inner, extra={}))
                else:
                    moved.append(encoded)
                    self.losses.append(Loss(inside, "moved behind the results of the turn", "approximated"))
        if part.cache is not None:
            self.losses.append(Loss(where + ".cache", "prefixes are cached without marks here"))
        self.losses += foreign(part.extra, where + ".")
        return [encode_result(msgspec.structs.replace(part, parts=tuple(kept)), name, {})]

    def close(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        """What the API demands of the whole: something to answer, begun by the user, with signed calls."""
        system = self.system
        if not self.turns and system:
            self.turns.append({"role": "user", "parts": system})
            self.losses.append(
                Loss("messages", "the instructions became the user's turn: there is none", "approximated")
            )
            system = []
        elif self.turns and self.turns[0]["role"] == "model":
            self.turns.insert(0, {"role": "user", "parts": [{"text": "Continue."}]})
            self.losses.append(Loss("messages", "a user's turn was put first: one has to begin here", "approximated"))
        for turn in self.turns if self.third else ():
            first = next((part for part in turn["parts"] if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", _UNSIGNED)
        return ({"parts": system} if system else None), self.turns


def _foreign_contents(request: Request, losses: list[Loss]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    turns = _Turns(request, losses)
    for i, message in enumerate(paired(request.messages, losses)):
        turns.message(message, f"messages[{i}]")
    return turns.close()


def encode_foreign(part: Part, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    """A part of another dialect's turn or answer, or None; what of it is lost is added to `losses`."""
    if isinstance(part, Unknown):
        losses.append(Loss(path, f"a part of kind {part.kind!r} that only its own dialect knows"))
        return None
    losses += foreign(part.extra, path + ".")
    if getattr(part, "cache", None) is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    if isinstance(part, ToolResult):
        losses.append(Loss(path, "a result of a call that another provider ran itself"))
        return None
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal became text", "approximated"))
        return {"text": part.text}
    part = msgspec.structs.replace(part, extra={})
    if isinstance(part, Text | ToolCall) and part.signature is not None and not is_signature(part.signature):
        losses.append(Loss(path + ".signature", "is no base64, which a signature has to be here"))
        part = msgspec.structs.replace(part, signature=None)
    if isinstance(part, Image | Audio | File):
        return _foreign_media(part, path, losses)
    if isinstance(part, ToolCall):
        return _foreign_call(part, path, losses)
    return bare_part(part)


def _foreign_call(part: ToolCall, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    if part.kind == "hosted":
        losses.append(Loss(path, "a call that another provider ran itself"))
        return None
    encoded = bare_part(part)
    if encoded is not None:
        return encoded
    key = "input" if part.kind == "custom" else "arguments"
    losses.append(
        Loss(path + ".arguments", f"are no JSON object, so they are sent as text named {key}", "approximated")
    )
    call = bare_part(msgspec.structs.replace(part, arguments="{}", kind="function"))
    assert call is not None
    call["functionCall"]["args"] = {key: part.arguments}
    return call


def _foreign_media(part: Image | Audio | File, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    if isinstance(part.source, Stored):
        losses.append(Loss(path + ".source", "is held by another provider, under an id of its own"))
        return None
    fields = ("detail", "transcript", "id", "expires_at", "filename", "title", "context")
    losses += [
        Loss(f"{path}.{name}", "has no place beside bytes here")
        for name in fields
        if getattr(part, name, None) is not None
    ]
    if isinstance(part, File) and part.citations:
        losses.append(Loss(path + ".citations", "citing cannot be asked for here"))
    if part.source is None:
        losses.append(Loss(path, "a sound without its bytes"))
        return None
    if isinstance(part.source, Inline) and part.source.media_type is None and not isinstance(part, Audio):
        guess = "image/png" if isinstance(part, Image) else "application/pdf"
        losses.append(Loss(path + ".source.media_type", f"is not known; {guess} is sent", "approximated"))
        return {"inlineData": {"mimeType": guess, "data": part.source.data}}
    return bare_part(part)
