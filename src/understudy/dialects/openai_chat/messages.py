"""The messages of a request, both ways. What a message cannot carry here is told as a loss, by canonical path."""

from __future__ import annotations

from typing import Any, cast

from understudy.canon import (
    Audio,
    File,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Url,
)
from understudy.dialects.openai_chat.parts import (
    blanks_of,
    decode_content,
    encode_audio,
    encode_citation,
    encode_part,
    encode_reasoning,
    encode_tool_call,
    form_of,
    out_of_order,
    take_assistant,
)
from understudy.dialects.wire import DICT, FORM, LIST, STR, Malformed, expect, foreign, keep, restore, split, take

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_messages(value: Any) -> tuple[Message, ...]:
    return tuple(_decode(message, f"messages[{i}]") for i, message in enumerate(expect(value, LIST, "messages")))


def _decode(value: Any, path: str) -> Message:
    rest, blank = split(expect(value, DICT, path))
    role = rest.pop("role", None)
    if role not in _ROLES:
        raise Malformed(path + ".role", "must be one of " + ", ".join(_ROLES))
    blank.pop("role", None)
    name = take(rest, "name", STR, path + ".")
    if role in ("tool", "function"):
        return _decode_result(rest, blank, role, name, path)
    if role == "assistant":
        parts, is_list = take_assistant(rest, path)
    else:
        content = rest.pop("content", None)
        parts, is_list = ([] if content is None else decode_content(content, path + ".content")), type(content) is list
    listed = is_list and len(parts) == 1 and isinstance(parts[0], Text) and not (parts[0].extra or parts[0].cache)
    return Message(
        cast("Role", role), tuple(parts), name, keep(rest, blank, "list" if listed or _mixed(parts, is_list) else None)
    )


def _mixed(parts: list[Part], is_list: bool) -> bool:
    """An assistant's one text, sent as an array, beside tool calls or reasoning of the message."""
    return is_list and sum(isinstance(part, Text) for part in parts) == 1


def _decode_result(rest: dict[str, Any], blank: dict[str, Any], role: str, name: str | None, path: str) -> Message:
    content = rest.pop("content", None)
    call_id = take(rest, "tool_call_id", STR, path + ".") or ""
    parts = () if content is None else tuple(decode_content(content, path + ".content"))
    form = "function" if role == "function" else "list" if type(content) is list and len(parts) == 1 else None
    return Message("tool", (ToolResult(call_id, parts, name, extra=keep(rest, blank, form)),))


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_messages(messages: tuple[Message, ...], losses: list[Loss], *, own: bool) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        role = message.role
        if role == "tool":
            out += _encode_results(message, f"messages[{i}]", moved, losses, own=own)
            continue
        if moved:
            out.append({"role": "user", "content": moved})
            moved = []
        text = None if own else _lone_text(message)
        if text is not None:
            out.append({"role": role, "content": text})
            continue
        encoded = _encode(message, f"messages[{i}]", losses, own=own)
        if own or len(encoded) > 2 or encoded["content"] is not None:
            out.append(encoded)
        elif not message.parts:  # else what was in it is named already
            losses.append(Loss(f"messages[{i}]", "an assistant who says nothing is refused here"))
    if moved:
        out.append({"role": "user", "content": moved})
    return out


def _lone_text(message: Message) -> str | None:
    """The words of a message that is nothing else, as nearly all are. How they were spelt is no matter."""
    parts, extra = message.parts, message.extra
    if len(parts) != 1 or message.name is not None or (part := parts[0]).__class__ is not Text:
        return None
    if extra and (len(extra) > 1 or FORM not in extra):
        return None
    assert isinstance(part, Text)
    if part.extra or part.cache or part.citations or part.logprobs or part.signature is not None:
        return None
    return part.text


def _encode(message: Message, path: str, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"role": message.role}
    if message.name is not None:
        out["name"] = message.name
    if message.role == "assistant":
        _encode_assistant(message, out, path, losses, own=own)
    else:
        content = [
            _content(part, f"{path}.parts[{i}]", message.role, losses, own=own) for i, part in enumerate(message.parts)
        ]
        _put_content(out, message, [part for part in content if part is not None], own=own)
    if own:
        return restore(out, message.extra)
    losses += foreign(message.extra, path + ".")
    return out


def _put_content(
    out: dict[str, Any], message: Message | ToolResult, content: list[dict[str, Any]], *, own: bool
) -> None:
    """A lone plain text as a string, unless it came as an array; nothing as "" (or as it came)."""
    if not content:
        blank = blanks_of(message.extra) if own else {}
        out["content"] = blank.get("content", "")
    elif (
        len(content) == 1 and content[0].keys() == {"type", "text"} and not (own and message.extra.get(FORM) == "list")
    ):
        out["content"] = content[0]["text"]
    else:
        out["content"] = content


def _encode_assistant(message: Message, out: dict[str, Any], path: str, losses: list[Loss], *, own: bool) -> None:
    content: list[dict[str, Any]] = []
    thoughts: list[Reasoning] = []
    for i, part in enumerate(message.parts):
        where = f"{path}.parts[{i}]"
        if isinstance(part, ToolCall) and part.kind != "hosted":
            _call(part, out, where, losses, own=own)
        elif isinstance(part, Refusal):
            _refuse(part, out, content, where, losses, own=own)
        elif isinstance(part, Audio) and part.id is not None:
            out["audio"] = encode_audio(part) if own else {"id": part.id}
            if not own:
                losses += _audio_losses(part, where)
        elif own and isinstance(part, Reasoning) and form_of(part.extra).get("as") != "thinking":
            thoughts.append(part)
        elif not (own and _put_own(part, out)):
            encoded = _content(part, where, "assistant", losses, own=own)
            if encoded is not None:
                content.append(encoded)
    if thoughts:
        out |= encode_reasoning(thoughts, own=True)
    if out_of_order(message.parts) and not (own and message.extra.get(FORM) == "list"):
        losses.append(Loss(path + ".parts", "the order of parts of different kinds is not kept", "approximated"))
    _put_content(out, message, content, own=own)
    if not content and not (own and "content" in blanks_of(message.extra)):
        out["content"] = None


def _put_own(part: Part, out: dict[str, Any]) -> bool:
    """Parts that only this dialect's own messages hold beside their content. Says whether `part` is done with."""
    if isinstance(part, Image) and (image := encode_part(part)) is not None:
        out.setdefault("images", []).append(image)
        return True
    if isinstance(part, Unknown) and part.kind.startswith("tool_calls."):
        out.setdefault("tool_calls", []).append(part.body)
        return True
    if isinstance(part, Text) and part.citations:
        out["annotations"] = [annotation for c in part.citations if (annotation := encode_citation(c)) is not None]
    return False


def _call(part: ToolCall, out: dict[str, Any], path: str, losses: list[Loss], *, own: bool) -> None:
    if own and part.extra.get(FORM) == "function_call":
        out["function_call"] = restore({"name": part.name, "arguments": part.arguments}, part.extra)
        return
    calls = out.setdefault("tool_calls", [])
    calls.append(encode_tool_call(part if own or part.signature is None else _unsigned(part, path, losses), own=own))
    if part.cache is not None:
        losses.append(Loss(path + ".cache", "a tool call has no cache mark here"))
    if not own:
        losses += foreign(part.extra, path + ".")


def _unsigned(part: ToolCall, path: str, losses: list[Loss]) -> ToolCall:
    losses.append(Loss(path + ".signature", "a signature means nothing to another provider"))
    return ToolCall(part.id, part.name, part.arguments, part.kind)


def _refuse(
    part: Refusal, out: dict[str, Any], content: list[dict[str, Any]], path: str, losses: list[Loss], *, own: bool
) -> None:
    if "refusal" in out or (own and part.extra.get(FORM) == "part"):
        content.append(encode_part(part if own else Refusal(part.text)) or {})
    else:
        out["refusal"] = part.text
    if not own:
        losses += foreign(part.extra, path + ".")


def _encode_results(
    message: Message, path: str, moved: list[dict[str, Any]], losses: list[Loss], *, own: bool
) -> list[dict[str, Any]]:
    """One wire message for each result. Images go into a user message after the results: tools return text alone."""
    out = []
    if not own:
        losses += foreign(message.extra, path + ".")
    for i, result in enumerate(message.parts):
        where = f"{path}.parts[{i}]"
        if not isinstance(result, ToolResult):
            losses.append(Loss(where, "a tool's message holds results alone"))
            continue
        form = result.extra.get(FORM) if own else None
        wire: dict[str, Any] = {"role": "function" if form == "function" else "tool"}
        if result.call_id:
            wire["tool_call_id"] = result.call_id
        if own and result.name is not None:  # else it is the call's, and OpenAI has no such field
            wire["name"] = result.name
        content = []
        for j, part in enumerate(result.parts):
            inner = f"{where}.parts[{j}]"
            if (
                not own
                and isinstance(part, Image | File)
                and (picture := _content(part, inner, "user", losses, own=own))
            ):
                moved.append(picture)
                losses.append(Loss(inner, "moved into a user message: a tool's result is text here", "approximated"))
            elif not (not own and isinstance(part, Image | File)) and (
                encoded := _content(part, inner, "tool", losses, own=own)
            ):
                content.append(encoded)
        _put_content(wire, result, content, own=own)
        if result.failed:
            losses.append(Loss(where + ".failed", "there is no mark for a failed tool here"))
        if result.cache is not None:
            losses.append(Loss(where + ".cache", "a tool's message has no cache mark here"))
        if not own:
            losses += foreign(result.extra, where + ".")
        out.append(restore(wire, result.extra) if own else wire)
    return out


# --- single parts ----------------------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[type, ...]] = {
    "system": (Text,),
    "developer": (Text,),
    "tool": (Text,),
    "user": (Text, Image, Audio, File),
    "assistant": (Text,),
}


def _content(part: Part, path: str, role: str, losses: list[Loss], *, own: bool) -> dict[str, Any] | None:
    """A content part of a message of `role`, or None and a loss."""
    if own:
        encoded = encode_part(part)
        if encoded is None:
            losses.append(Loss(path, "has no form here"))
        else:
            losses += _lost_fields(part, path, own=True)
        return encoded
    if not isinstance(part, _KINDS[role]):
        losses.append(Loss(path, _no_place(part, role)))
        return None
    source = getattr(part, "source", None)
    if isinstance(source, Stored) and not (source.here and isinstance(part, File)):
        losses.append(Loss(path + ".source", "is held by another provider, under an id of its own"))
        return None
    if (isinstance(part, File) and isinstance(source, Url)) or (
        isinstance(part, Audio) and not isinstance(source, Inline)
    ):
        losses.append(Loss(path + ".source", "has to be sent along here, not named by URL"))
        return None
    losses += _lost_fields(part, path, own=False)
    return _bare(part)


def _bare(part: Part) -> dict[str, Any] | None:
    """The part without what another dialect noted in `extra`."""
    if isinstance(part, Text):
        return encode_part(Text(part.text))
    if isinstance(part, Image):
        return encode_part(Image(part.source, part.detail))
    if isinstance(part, Audio):
        return encode_part(Audio(part.source, part.format))
    return encode_part(File(part.source, part.filename)) if isinstance(part, File) else None


def _no_place(part: Part, role: str) -> str:
    if isinstance(part, Reasoning):
        return "earlier reasoning, signed or sealed by another provider, is not taken here"
    if isinstance(part, ToolCall):
        return (
            "a call that another provider ran itself" if part.kind == "hosted" else f"no tool calls in a {role} message"
        )
    if isinstance(part, Unknown):
        return f"a part of kind {part.kind!r} that only its own dialect knows"
    return f"a {role} message takes no {type(part).__name__.lower()} here"


def _lost_fields(part: Part, path: str, *, own: bool) -> list[Loss]:
    losses = [] if own else list(foreign(getattr(part, "extra", {}), path + "."))
    if getattr(part, "cache", None) is not None and not (own and _spelt_cache(part)):
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    if isinstance(part, Text):
        if part.citations and not own:
            losses.append(Loss(path + ".citations", "an earlier answer's citations are not taken here"))
        if part.signature is not None:
            losses.append(Loss(path + ".signature", "a text has no signature here"))
        if part.logprobs:
            losses.append(Loss(path + ".logprobs", "an earlier answer's log-probabilities are not taken here"))
    if isinstance(part, File):
        named = (("title", part.title), ("context", part.context), ("citations", part.citations or None))
        losses += [Loss(f"{path}.{key}", "a file has no such field here") for key, value in named if value is not None]
    return losses + (_audio_losses(part, path) if isinstance(part, Audio) else [])


def _spelt_cache(part: Part) -> bool:
    blank = blanks_of(getattr(part, "extra", {}))
    return "cache_control" in blank or "prompt_cache_breakpoint" in blank


def _audio_losses(part: Audio, path: str) -> list[Loss]:
    """What is lost when a sound goes by its id alone, or as bytes alone."""
    named: list[tuple[str, object]] = [("transcript", part.transcript), ("expires_at", part.expires_at)]
    if part.id is not None:
        named += [("source", part.source), ("format", part.format)]
    return [
        Loss(f"{path}.{key}", "a sound in a request has no such field") for key, value in named if value is not None
    ]
