"""Whole answers, both ways, and the shape of choices that streams share: `text` here is `message.content` in a chat.

`logprobs` is four lists in step (`tokens`, `token_logprobs`, `top_logprobs`, `text_offset`). Lists out of step, or with
a null in them (the first token of an echoed prompt has no probability), stay as they came.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Answer, Choice, Loss, Part, Text, TokenLogprob
from understudy.dialects import openai_chat
from understudy.dialects.openai_chat.answer import OBJECT as CHAT_OBJECT
from understudy.dialects.openai_chat.answer import decode_logprobs
from understudy.dialects.wire import DICT, LIST, Malformed, dump, expect, parse

NAME = "openai-completions"
OBJECT = "text_completion"

_WORDS = {"tool_calls": "stop", "error": "stop", "unknown": "stop"}
"""Finish reasons of a chat that this dialect has no word for."""

_LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
OFFSET = "~offset"
"""The note of a token's offset. It passes the reader of chats, which refuses the usual notes; only a number is read."""


def stand_in(dialect: str) -> str:
    """The name under which the chat dialect takes what is `dialect`'s: as its own, if it is ours."""
    if dialect == NAME:
        return openai_chat.NAME
    return "" if dialect == openai_chat.NAME else dialect


# --- choices, to those of a chat and back ----------------------------------------------------------------------------


def as_chat(wire: dict[str, Any], holder: str) -> dict[str, Any]:
    """A body or chunk with each choice's text in `holder` (`message` or `delta`). One that is a chat's already stays.

    Mistral's fill-in-the-middle endpoint takes a prompt and answers as a chat does.
    """
    out = dict(wire)
    if out.get("object") == OBJECT:
        out["object"] = CHAT_OBJECT if holder == "message" else CHAT_OBJECT + ".chunk"
    if isinstance(out.get("choices"), list):
        out["choices"] = [_choice(choice, holder) if isinstance(choice, dict) else choice for choice in out["choices"]]
    return out


def _choice(wire: dict[str, Any], holder: str) -> dict[str, Any]:
    if "text" not in wire:
        return wire
    out = {key: value for key, value in wire.items() if key != "text"}
    text = wire["text"]
    out[holder] = {"role": "assistant", "content": text} if holder == "message" else {"content": text}
    tokens = _tokens(wire.get("logprobs"))
    if tokens is not None:
        others = {key: value for key, value in wire["logprobs"].items() if key not in _LISTS}
        out["logprobs"] = {**others, "content": tokens}
    return out


def _tokens(value: Any) -> list[dict[str, Any]] | None:
    """Four lists in step as one of objects, None if they are not in step. A token's offset is a note of spelling."""
    if not isinstance(value, dict) or not all(isinstance(value.get(key), list) for key in _LISTS[:2]):
        return None
    count = len(value["tokens"])
    columns = [value.get(key) or [None] * count for key in _LISTS]
    if count == 0 or any(not isinstance(column, list) or len(column) != count for column in columns):
        return None
    out = []
    for token, logprob, top, offset in zip(*columns, strict=True):
        item: dict[str, Any] = {"token": token, "logprob": logprob}
        if type(offset) is int:
            item[OFFSET] = offset
        if isinstance(top, dict):
            item["top_logprobs"] = [{"token": other, "logprob": number} for other, number in top.items()]
        elif top is not None:
            return None
        out.append(item)
    return out if decode_logprobs(out) is not None else None


def from_chat(wire: dict[str, Any], tokens: list[TokenLogprob], offset: int = 0) -> dict[str, Any]:
    """A choice of a chat, whole or chunk, as one of this dialect. `offset` is where its text starts."""
    out = {key: value for key, value in wire.items() if key not in ("message", "delta")}
    body = wire.get("message") or wire.get("delta") or {}
    content = body.get("content")
    out["text"] = content if isinstance(content, str) else ""
    if tokens:
        others = {key: value for key, value in wire["logprobs"].items() if key != "content"}
        out["logprobs"] = {**others, **_columns(tokens, offset)}
    return out


def _columns(tokens: list[TokenLogprob], start: int) -> dict[str, Any]:
    offsets = []
    for token in tokens:
        noted = token.extra.get(OFFSET)
        start = noted if type(noted) is int else start
        offsets.append(start)
        start += len(token.token)
    tops = [None if token.top is None else {other.token: other.logprob for other in token.top} for token in tokens]
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": tops if any(top is not None for top in tops) else None,
        "text_offset": offsets,
    }


def finish_word(word: str | None, losses: list[Loss], path: str) -> str | None:
    known = None if word is None else _WORDS.get(word, word)
    if known != word:
        losses.append(Loss(path, f"{word} became {known}: there is no such word here", "approximated"))
    return known


# --- bodies ----------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error in a 200 among it."""
    raw = as_chat(expect(parse(body), DICT, "body"), "message")
    for i, choice in enumerate(raw["choices"] if isinstance(raw.get("choices"), list) else ()):
        if isinstance(choice, dict) and "message" not in choice:
            raise Malformed(f"choices[{i}].text", "is required")
    answer = openai_chat.decode_answer(dump(raw))
    return msgspec.structs.replace(answer, dialect=NAME)


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry."""
    losses: list[Loss] = []
    own = answer.dialect == NAME
    choices = tuple(_texts(choice, f"choices[{i}]", losses) for i, choice in enumerate(answer.choices))
    plain = msgspec.structs.replace(answer, dialect=stand_in(answer.dialect), choices=choices)
    body, more = openai_chat.encode_answer(plain)
    losses += more
    out = expect(parse(body), DICT, "body")
    if out.get("object") == CHAT_OBJECT:
        out["object"] = OBJECT
    wires = expect(out["choices"], LIST, "choices")
    for i, (choice, wire) in enumerate(zip(choices, wires, strict=True)):
        tokens = [token for part in choice.parts if isinstance(part, Text) for token in part.logprobs]
        wires[i] = from_chat(wire, tokens)
        if not own:
            wires[i].setdefault("logprobs", None)
            wires[i]["finish_reason"] = finish_word(wire.get("finish_reason"), losses, f"choices[{i}].finish")
    return dump(out), tuple(losses)


def _texts(choice: Choice, path: str, losses: list[Loss]) -> Choice:
    """`choice` with its texts alone."""
    kept: list[Part] = []
    for i, part in enumerate(choice.parts):
        if isinstance(part, Text):
            losses += text_losses(part, f"{path}.parts[{i}]")
            kept.append(msgspec.structs.replace(part, citations=()))
        else:
            losses.append(no_form(part, f"{path}.parts[{i}]"))
    return msgspec.structs.replace(choice, parts=tuple(kept))


def text_losses(part: Text, path: str) -> list[Loss]:
    return [Loss(path + ".citations", "a plain text has no citations here")] if part.citations else []


def no_form(part: Part, path: str) -> Loss:
    return Loss(path, f"an answer is text here: a part of kind {type(part).__name__} has no form")
