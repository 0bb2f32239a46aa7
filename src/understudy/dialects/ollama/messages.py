"""Messages, both ways: `Message` of Ollama's `api/types.go`.

Pictures are bare base64 beside the text, arguments are objects, thoughts stand apart, and calls had no ids for long.
So an id is made from where the call stands and what it says, noted, and left out again on the way back. A result
without an id belongs to the first call before it that waits and has its `tool_name`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from understudy.canon import (
    Extra,
    File,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from understudy.dialects.gemini.parts import arguments_of
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import (
    DICT,
    LIST,
    STR,
    Malformed,
    dump,
    expect,
    foreign,
    keep,
    restore,
    split,
    take,
    text_in,
)

NAME = "ollama"

_MADE = "call_oll_"
_PICTURES = (("/9j/", "image/jpeg"), ("iVBORw0", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
"""How base64 of these types begins."""


def note(rest: dict[str, Any], blank: dict[str, Any], **form: Any) -> Extra:
    """An `extra` of what is left over, with the notes that say something."""
    return keep(rest, blank, {key: value for key, value in form.items() if value not in (None, False)})


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_messages(value: Any) -> tuple[Message, ...]:
    waiting: list[ToolCall] = []
    out = []
    for i, item in enumerate(expect(value, LIST, "messages")):
        message = _message(item, f"messages[{i}]", waiting)
        waiting += [part for part in message.parts if isinstance(part, ToolCall)]
        out.append(message)
    return tuple(out)


def _message(value: Any, path: str, waiting: list[ToolCall]) -> Message:
    rest, blank = split(expect(value, DICT, path))
    role = take(rest, "role", STR, path + ".")
    if role not in ("user", "system", "assistant", "tool"):
        raise Malformed(path + ".role", "must be user, assistant, system or tool")
    if role == "tool":
        return _result(rest, blank, path, waiting)
    parts = take_parts(rest, path, path)
    return Message(role, tuple(parts), extra=note(rest, blank))


def take_parts(rest: dict[str, Any], path: str, seed: str, first: int = 0) -> list[Part]:
    """Remove what a message says from `rest`. `seed` and a call's number, from `first`, make the id it may lack."""
    parts: list[Part] = []
    thought, text = take(rest, "thinking", STR, path + "."), take(rest, "content", STR, path + ".")
    if thought is not None:
        parts.append(Reasoning(thought))
    if text is not None:
        parts.append(Text(text))
    parts += take_images(rest, path + ".")
    listed = take(rest, "tool_calls", LIST, path + ".") or ()
    for i, call in enumerate(listed):
        parts.append(decode_call(call, f"{path}.tool_calls[{i}]", f"{seed}/{first + i}"))
    return parts


def take_images(rest: dict[str, Any], path: str = "") -> list[Part]:
    listed = take(rest, "images", LIST, path) or ()
    return [Image(_picture(expect(data, STR, f"{path}images[{i}]"))) for i, data in enumerate(listed)]


def _picture(data: str) -> Inline:
    return Inline(data, next((media for start, media in _PICTURES if data.startswith(start)), None))


def decode_call(value: Any, path: str, seed: str) -> ToolCall:
    rest, blank = split(expect(value, DICT, path))
    inner = dict(expect(rest.pop("function", {}), DICT, path + ".function"))
    name = take(inner, "name", STR, path + ".function.") or ""
    given = inner.pop("arguments", None)
    if given is not None and not isinstance(given, dict):
        raise Malformed(path + ".function.arguments", "must be an object")
    text = "" if given is None else dump(given).decode()
    own_id = take(rest, "id", STR, path + ".")
    if inner:
        rest["function"] = inner
    digest = hashlib.blake2b(f"{seed}\0{name}\0{text}".encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()
    return ToolCall(own_id or _MADE + digest, name, text, extra=note(rest, blank, anonymous=own_id is None))


def _result(rest: dict[str, Any], blank: dict[str, Any], path: str, waiting: list[ToolCall]) -> Message:
    text, name = take(rest, "content", STR, path + "."), take(rest, "tool_name", STR, path + ".")
    call_id = take(rest, "tool_call_id", STR, path + ".")
    images = take_images(rest, path + ".")
    for i, call in enumerate(waiting):
        if call.id == call_id or (call_id is None and name in (None, call.name)):
            found = waiting.pop(i)
            break
    else:
        found = ToolCall(call_id or "", name or "")
    parts = [*([Text(text)] if text is not None else []), *images]
    extra = note({}, {}, anonymous=call_id is None, nameless=name is None)
    result = ToolResult(found.id, tuple(parts), name or found.name or None, extra=extra)
    return Message("tool", (result,), extra=note(rest, blank))


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_messages(messages: tuple[Message, ...], losses: list[Loss], *, own: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for i, message in enumerate(messages):
        path = f"messages[{i}]"
        names.update((part.id, part.name) for part in message.parts if isinstance(part, ToolCall))
        if not own:
            losses += foreign(message.extra, path + ".")
            if message.name is not None:
                losses.append(Loss(path + ".name", "messages bear no names here"))
        said: list[tuple[Part, str]] = []
        for k, part in enumerate(message.parts):
            where = f"{path}.parts[{k}]"
            if isinstance(part, ToolResult):
                wire = _encode_result(part, names, where, losses, own=own)
                out.append(restore(wire, message.extra) if own else wire)
            else:
                said.append((part, where))
        role = "system" if message.role == "developer" else message.role
        fields = encode_parts(said, losses, own=own)
        if own and message.role != "tool":
            out.append(restore({"role": role, **fields}, message.extra))
        elif fields and message.role != "tool":
            out.append({"role": role, "content": "", **fields})
    return out


def encode_parts(said: list[tuple[Part, str]], losses: list[Loss], *, own: bool) -> dict[str, Any]:
    """The fields of a message for parts and their paths; {} for none that says anything."""
    found: dict[str, list[Any]] = {"content": [], "thinking": [], "images": [], "tool_calls": []}
    for part, path in said:
        if not own:
            _marks(part, path, losses)
        kind, value = _encode_part(part, path, losses, own=own)
        if value is not None:
            found[kind].append(value)
    told = [text for text in found["content"] if text]
    if len(told) > 1:
        losses.append(Loss(said[0][1].rpartition(".parts[")[0], "texts are joined to one here", "approximated"))
    out: dict[str, Any] = {}
    if told or (own and found["content"]):
        out["content"] = "\n".join(told)
    if any(found["thinking"]):
        out["thinking"] = "\n".join(found["thinking"])
    return out | {key: found[key] for key in ("images", "tool_calls") if found[key]}


def _encode_part(part: Part, path: str, losses: list[Loss], *, own: bool) -> tuple[str, Any]:
    """The field that a part goes to, and what of it; None for nothing."""
    if isinstance(part, Text):
        return "content", part.text
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal is a text here", "approximated"))
        return "content", part.text
    if isinstance(part, Reasoning):
        return "thinking", part.text or part.summary or ""
    if isinstance(part, Image) and isinstance(part.source, Inline):
        return "images", part.source.data
    if isinstance(part, ToolCall) and part.kind != "hosted":
        return "tool_calls", encode_call(part, path, losses, own=own)
    return "content", _as_text(part, path, losses)


def _marks(part: Part, path: str, losses: list[Loss]) -> None:
    """Losses of what no part bears here."""
    losses += foreign(getattr(part, "extra", {}), path + ".")
    whys = {
        "cache": "prefixes are cached without marks here",
        "signature": "a signature means nothing to another provider",
        "sealed": "means nothing to another provider",
        "detail": "pictures have no level of detail here",
        "citations": "there are no citations here",
        "logprobs": "an earlier answer's log-probabilities are not taken here",
    }
    if isinstance(part, File):
        del whys["citations"]
    losses += [Loss(f"{path}.{name}", why) for name, why in whys.items() if getattr(part, name, None)]
    if isinstance(part, Reasoning) and part.summary is not None and part.text:
        losses.append(Loss(path + ".summary", "the thought itself is told"))


def _as_text(part: Part, path: str, losses: list[Loss]) -> str | None:
    """A part that has no form here as a text, if it can be one."""
    if isinstance(part, ToolCall):
        losses.append(Loss(path, "a call that another provider ran itself is a text here", "approximated"))
        return f"[{part.name} was run with {part.arguments or '{}'}]"
    text = text_in(part.source) if isinstance(part, File) else None
    if text is None or not isinstance(part, File):
        why = "pictures are not fetched here: only those sent along are taken" if isinstance(part, Image) else None
        losses.append(Loss(path, why or f"a message takes no {type(part).__name__.lower()} here"))
        return None
    losses.append(Loss(path, "a document is a text here", "approximated"))
    title = part.title or part.filename
    return f"{title}\n\n{text}" if title else text


def encode_call(part: ToolCall, path: str, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    given = {"input": part.arguments} if part.kind == "custom" else arguments_of(part.arguments)
    if part.kind == "custom":
        losses.append(Loss(path + ".arguments", "plain text goes as a field `input` of an object", "approximated"))
    elif given is None:
        losses.append(Loss(path + ".arguments", "are no JSON object: sent as a field of one", "approximated"))
        given = {"arguments": part.arguments}
    function = {"name": part.name, "arguments": given}
    if own and "anonymous" in form_of(part.extra):
        if not part.arguments:
            del function["arguments"]
        return restore({"function": function}, part.extra)
    out = {"id": part.id, "function": function} if part.id else {"function": function}
    return restore(out, part.extra) if own else out


def _encode_result(
    part: ToolResult, names: dict[str, str], path: str, losses: list[Loss], *, own: bool
) -> dict[str, Any]:
    form = form_of(part.extra) if own else {}
    fields = encode_parts([(inner, f"{path}.parts[{i}]") for i, inner in enumerate(part.parts)], losses, own=own)
    out: dict[str, Any] = {"role": "tool", **({} if own else {"content": ""}), **fields}
    name = part.name or names.get(part.call_id)
    if name and "nameless" not in form:
        out["tool_name"] = name
    if part.call_id and "anonymous" not in form:
        out["tool_call_id"] = part.call_id
    if not own:
        _marks(part, path, losses)
        if part.failed:
            losses.append(Loss(path + ".failed", "a result is not marked as failed here"))
    return out
