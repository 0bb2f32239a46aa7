"""Output items, both ways: what a model gives, and what a client sends back of it. Items become parts of one message.

Several parts may come of one item (a message's contents, the pieces of a reasoning), so the first of them notes the
item's head under `~as.item`; a part without that note goes on with the item before it. What a provider ran itself
(`web_search_call`, `mcp_call`, …) is a hosted `ToolCall` that holds the item whole in `extra`, an unknown item is
an `Unknown`, and a generated picture an `Image`. Source: `OutputItem` of OpenAI's OpenAPI document.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from understudy.canon import (
    Audio,
    File,
    Image,
    Inline,
    Loss,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Unknown,
)
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.openai_responses.parts import (
    CONTENT,
    citation_losses,
    decode_content,
    encode_input,
    encode_output,
    note,
)
from understudy.dialects.wire import DICT, STR, Malformed, dump, expect, foreign, keep, parse, restore, split, take

_HEAD = ("type", "id", "role", "status")
"""Fields of an item that say nothing to another dialect."""

_SEALED = "understudy."
"""Begins an `encrypted_content` of our own making: what another provider's model wants back, for a client to keep."""

_PICTURES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_FORMATS = {media: form for form, media in _PICTURES.items()}


# --- decoding --------------------------------------------------------------------------------------------------------


def is_message(item: dict[str, Any]) -> bool:
    return item.get("type") == "message" or (item.get("type") is None and "role" in item)


def decode_item(value: Any, path: str) -> list[Part]:
    """The parts of one item; at least one."""
    item = expect(value, DICT, path)
    kind = item.get("type")
    if is_message(item):
        return _message(item, path)
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    if decoder is not None:
        return decoder(item, path)
    if isinstance(kind, str) and kind.endswith("_call"):
        return [_hosted(item, kind)]
    return [Unknown(kind if isinstance(kind, str) else "item_reference", item)]


def head_of(rest: dict[str, Any], blank: dict[str, Any]) -> dict[str, Any]:
    """Removes from `rest` what belongs to the head of an item."""
    return {**{key: rest.pop(key) for key in _HEAD if key in rest}, **blank}


def _message(item: dict[str, Any], path: str) -> list[Part]:
    rest, blank = split(item)
    content = rest.pop("content", None)
    parts = [] if content is None else decode_content(content, path + ".content", "output_text")
    if parts and isinstance(parts[0], Unknown):
        return [Unknown("message", item)]
    form: dict[str, Any] = {"item": head_of(rest, blank)}
    if isinstance(content, str):
        form["string"] = True
    if not parts:
        parts, form["empty"] = [Text("")], True
    first = note(parts[0], **form)
    if rest and not isinstance(first, Unknown):
        first = msgspec.structs.replace(first, extra={**first.extra, "message": rest})
    return [first, *parts[1:]]


def _function_call(item: dict[str, Any], path: str) -> list[Part]:
    custom = item["type"] == "custom_tool_call"
    rest, blank = split(item)
    call_id, name = take(rest, "call_id", STR, path + ".") or "", take(rest, "name", STR, path + ".") or ""
    text = take(rest, "input" if custom else "arguments", STR, path + ".") or ""
    for key in ("call_id", "name", "input" if custom else "arguments"):
        if blank.get(key) == "":
            del blank[key]
    head = head_of(rest, blank)
    return [ToolCall(call_id, name, text, "custom" if custom else "function", extra=keep(rest, {}, {"item": head}))]


def _reasoning(item: dict[str, Any], path: str) -> list[Part]:
    """A part for each piece of summary and of text. What is sealed goes with the last, as it comes last in a stream."""
    rest, blank = split(item)
    own_id, sealed = take(rest, "id", STR, path + "."), take(rest, "encrypted_content", STR, path + ".")
    pieces: list[Reasoning] = []
    for key, kind in (("summary", "summary_text"), ("content", "reasoning_text")):
        wire = rest.pop(key, [])
        for piece in wire if isinstance(wire, list) else [None]:
            match piece:
                case {"type": str(type_), "text": str(text), **more} if type_ == kind and not more:
                    said: dict[str, Any] = {"summary": text} if key == "summary" else {"text": text}
                    pieces.append(Reasoning(**said, id=own_id))
                case _:
                    return [Unknown("reasoning", item)]
    form: dict[str, Any] = {"item": head_of(rest, blank)}
    pieces = pieces or [Reasoning(id=own_id)]
    pieces[-1] = unseal(msgspec.structs.replace(pieces[-1], sealed=sealed))
    pieces[0] = note(msgspec.structs.replace(pieces[0], extra={**pieces[0].extra, **rest}), **form)
    return list(pieces)


def _hosted(item: dict[str, Any], kind: str) -> ToolCall:
    own_id = item.get("id") or item.get("call_id")
    text = next((item[key] for key in ("arguments", "code") if isinstance(item.get(key), str)), "")
    extra = {key: value for key, value in item.items() if key != "type"}
    return ToolCall(own_id if isinstance(own_id, str) else "", kind, text, "hosted", extra=extra)


def _picture(item: dict[str, Any], path: str) -> list[Part]:  # noqa: ARG001  the same shape as its siblings
    result = item.get("result")
    if not isinstance(result, str) or not result:
        return [_hosted(item, "image_generation_call")]
    rest, blank = split(item)
    del rest["result"]
    head = head_of(rest, blank)
    form = rest.get("output_format")
    media = _PICTURES.get(form, "image/png") if isinstance(form, str) else "image/png"
    return [Image(Inline(result, media), extra=keep(rest, {}, {"item": head}))]


_DECODERS: dict[str, Callable[[dict[str, Any], str], list[Part]]] = {
    "function_call": _function_call,
    "custom_tool_call": _function_call,
    "reasoning": _reasoning,
    "image_generation_call": _picture,
}


def hollow(part: Part) -> Part:
    """`part` as it begins, without what deltas will bring."""
    match part:
        case Text():
            return msgspec.structs.replace(part, text="", citations=(), logprobs=())
        case Refusal():
            return msgspec.structs.replace(part, text="")
        case Reasoning(summary=summary):
            empty = None if summary is None else ""
            return msgspec.structs.replace(part, text="", summary=empty, signature=None, sealed=None)
        case ToolCall():
            return msgspec.structs.replace(part, arguments="")
    return part


def text_of(part: Part) -> str:
    """What deltas bring of `part`."""
    match part:
        case Text(text=text) | Refusal(text=text) | ToolCall(arguments=text):
            return text
        case Reasoning(text=text, summary=summary):
            return text if summary is None else summary
    return ""


# --- what is sealed --------------------------------------------------------------------------------------------------


def seal(part: Reasoning, *, own: bool) -> str | None:
    """`encrypted_content` for `part`. What is another provider's is wrapped, so that it can be told when it returns."""
    if own and not is_foreign(part):
        return part.sealed
    fields = {"signature": part.signature, "sealed": part.sealed, "origin": part.origin or None}
    said = {key: value for key, value in fields.items() if value is not None}
    if not part.signature and not part.sealed:
        return None
    return _SEALED + base64.b64encode(dump(said)).decode()


def unseal(part: Reasoning) -> Reasoning:
    """`part` with what an earlier `seal` wrapped; another `sealed` stays as it is."""
    if part.sealed is None or not part.sealed.startswith(_SEALED):
        return part
    try:
        fields = parse(base64.b64decode(part.sealed[len(_SEALED) :], validate=True))
    except (Malformed, binascii.Error, ValueError):
        return part
    match fields:
        case {**said} if said and all(isinstance(value, str) for value in said.values()):
            signature, sealed, origin = said.get("signature"), said.get("sealed"), said.get("origin", "")
            plain = msgspec.structs.replace(part, signature=signature, sealed=sealed, origin=origin)
            return note(plain, foreign=True)
    return part


def is_foreign(part: Reasoning) -> bool:
    return "foreign" in form_of(part.extra)


# --- encoding --------------------------------------------------------------------------------------------------------

Mint = Callable[[str, int], str]
"""Makes the id of an item from its prefix (`msg`, `fc`, …) and its place in the output."""


def mint_for(answer_id: str) -> Mint:
    """Ids that follow from the answer's, so that a stream and a whole answer name their items alike."""
    return lambda prefix, index: f"{prefix}_{answer_id or 'answer'}_{index}"


def encode_items(
    parts: tuple[Part, ...], path: str, losses: list[Loss], *, own: bool, mint: Mint | None = None
) -> list[dict[str, Any]]:
    """The items that `parts` make. `path` is that of the message or choice that holds them; no ids without `mint`."""
    out: list[dict[str, Any]] = []
    last: Part | None = None
    for i, part in enumerate(parts):
        losses += output_losses(part, f"{path}.parts[{i}]", own=own)
        if last is not None and goes_on(last, part, own=own):
            grow(out[-1], part, own=own)
        elif (item := begin(part, len(out), own=own, mint=mint)) is not None:
            out.append(item)
        else:
            continue
        last = part
    return out


def goes_on(last: Part, part: Part, *, own: bool) -> bool:
    """Whether `part` belongs to the item of the part before it."""
    if own and "item" in form_of(getattr(part, "extra", {})):
        return False
    if isinstance(part, Reasoning):
        return isinstance(last, Reasoning) and part.id is not None and part.id == last.id and last.sealed is None
    return in_message(part, own=own) and in_message(last, own=own)


def in_message(part: Part, *, own: bool) -> bool:
    """Whether `part` stands inside a message item."""
    if isinstance(part, Text | Refusal):
        return True
    if isinstance(part, Unknown):
        return own and part.kind.startswith(CONTENT)
    return own and isinstance(part, Image | File | Audio) and not _is_made(part)


def _is_made(part: Part) -> bool:
    """A picture that the model made; others were sent along in a message."""
    head = form_of(getattr(part, "extra", {})).get("item")
    return isinstance(head, dict) and head.get("type") == "image_generation_call"


def begin(part: Part, index: int, *, own: bool, mint: Mint | None = None) -> dict[str, Any] | None:
    """The item that `part` opens, in full, at `index` of the output; None if it has no form here."""
    form = form_of(getattr(part, "extra", {})) if own else {}
    head: dict[str, Any] | None = form.get("item")
    if isinstance(part, Unknown) and not in_message(part, own=own):
        return part.body if own and isinstance(part.body, dict) else None
    if in_message(part, own=own):
        item = dict(head) if head is not None else _new("message", "msg", index, mint) | {"role": "assistant"}
        item |= part.extra.get("message", {}) if own and not isinstance(part, Unknown) else {}
        if "string" in form and isinstance(part, Text):
            return item | {"content": part.text}
        return item if "empty" in form else item | {"content": [encode_content(part, own=own)]}
    if isinstance(part, Reasoning):
        item = {
            k: list(v) if isinstance(v, list) else v for k, v in (head or {"type": "reasoning", "summary": []}).items()
        }
        if part.id is not None or mint is not None:
            item["id"] = part.id or (mint("rs", index) if mint is not None else "")
        grow(item, part, own=own)
    elif isinstance(part, ToolCall) and part.kind != "hosted":
        custom = part.kind == "custom"
        item = dict(head) if head is not None else _new(_CALLS[custom], "ctc" if custom else "fc", index, mint)
        call_id = part.id or ("" if mint is None else mint("call", index))
        item |= {"call_id": call_id, "name": part.name, "input" if custom else "arguments": part.arguments}
    elif isinstance(part, Image) and isinstance(part.source, Inline):
        item = dict(head) if head is not None else _new("image_generation_call", "ig", index, mint)
        item["result"] = part.source.data
        if head is None and part.source.media_type in _FORMATS:
            item["output_format"] = _FORMATS[part.source.media_type]
    else:
        return {"type": part.name, **part.extra} if own and isinstance(part, ToolCall) else None
    return restore(item, part.extra) if own else item


_CALLS = {False: "function_call", True: "custom_tool_call"}


def _new(kind: str, prefix: str, index: int, mint: Mint | None) -> dict[str, Any]:
    return {"type": kind} if mint is None else {"type": kind, "id": mint(prefix, index), "status": "completed"}


def grow(item: dict[str, Any], part: Part, *, own: bool) -> None:
    """Add `part` to the item that the part before it opened."""
    if not isinstance(part, Reasoning):
        if isinstance(item.get("content"), str):
            item["content"] = [{"type": "output_text", "text": item["content"]}]
        _add(item, "content", encode_content(part, own=own))
        return
    if part.summary is not None:
        _add(item, "summary", {"type": "summary_text", "text": part.summary})
    if part.text:
        _add(item, "content", {"type": "reasoning_text", "text": part.text})
    sealed = seal(part, own=own)
    if sealed is not None:
        item["encrypted_content"] = sealed


def _add(item: dict[str, Any], key: str, piece: dict[str, Any]) -> None:
    """Append to a list that may not be there yet, or as a null."""
    item[key] = [*(item.get(key) or ()), piece]


def encode_content(part: Part, *, own: bool) -> dict[str, Any]:
    """A content part of a message item."""
    if own and not isinstance(part, Unknown) and "message" in part.extra:
        part = msgspec.structs.replace(part, extra={k: v for k, v in part.extra.items() if k != "message"})
    if isinstance(part, Text | Refusal):
        return encode_output(part, own=own)
    return encode_input(part, own=own) or {}


def output_losses(part: Part, path: str, *, own: bool) -> list[Loss]:
    """What an answer cannot carry of `part`."""
    if own:
        return []
    if not in_message(part, own=False) and not _has_item(part):
        hosted = isinstance(part, ToolCall)
        return [
            Loss(path, "a call that another provider ran itself" if hosted else f"{type(part).__name__}: no form here")
        ]
    losses = list(foreign(getattr(part, "extra", {}), path + "."))
    if isinstance(part, Text | ToolCall) and part.signature is not None:
        losses.append(Loss(path + ".signature", "only reasoning can be sealed here"))
    if getattr(part, "cache", None) is not None:
        losses.append(Loss(path + ".cache", "an answer has no cache marks here"))
    if isinstance(part, Image) and part.detail is not None:
        losses.append(Loss(path + ".detail", "a picture that was made has no detail here"))
    if isinstance(part, Text):
        for i, citation in enumerate(part.citations):
            losses += citation_losses(citation, f"{path}.citations[{i}]", own=False)
    return losses


def _has_item(part: Part) -> bool:
    if isinstance(part, ToolCall):
        return part.kind != "hosted"
    return isinstance(part, Reasoning) or (isinstance(part, Image) and isinstance(part.source, Inline))
