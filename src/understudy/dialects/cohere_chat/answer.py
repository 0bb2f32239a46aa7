"""Whole answers, both ways: `V2ChatResponse` of Cohere's SDK.

An answer names neither its model nor its time. `logprobs` are of chunks of text that may be several tokens: they become
canonical where each chunk is one token, and stay as they came elsewhere.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import (
    Answer,
    Choice,
    Citation,
    FinishReason,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
)
from understudy.dialects.cohere_chat.fault import body_fault
from understudy.dialects.cohere_chat.messages import encode_assistant, take_assistant
from understudy.dialects.cohere_chat.parts import NAME, encode_citation, note, read
from understudy.dialects.cohere_chat.usage import decode_usage, encode_usage
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import DICT, STR, Malformed, dump, expect, foreign, parse, restore, split, take

_FINISHES: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR": "error",
    "TIMEOUT": "error",
}
_WORDS: dict[FinishReason, str] = {
    "stop": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "filtered": "ERROR",
    "refusal": "ERROR",
    "paused": "MAX_TOKENS",
    "error": "ERROR",
    "unknown": "COMPLETE",
}


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(word: str) -> FinishReason:
    return _FINISHES.get(word, "unknown")


def finish_word(finish: FinishReason, native: str | None, losses: list[Loss], path: str) -> str:
    """The word for a finish that another dialect gave."""
    word = native if native in _FINISHES and _FINISHES[native] == finish else _WORDS[finish]
    if finish in ("filtered", "refusal", "paused", "unknown"):
        losses.append(Loss(path, f"{finish} became {word}: there is no such word here", "approximated"))
    return word


def decode_logprob(value: Any) -> TokenLogprob | None:
    """A chunk of one token; None for anything else."""
    match value:
        case {"text": str(text), "logprobs": [float() | int() as logprob], "token_ids": [*ids], **more} if not more:
            return TokenLogprob(text, logprob, extra={"token_ids": list(ids)})
    return None


def encode_logprob(token: TokenLogprob, losses: list[Loss], path: str, *, mine: bool) -> dict[str, Any]:
    if not mine:
        if token.top:
            losses.append(Loss(path + ".logprobs", "alternatives to a token are not told here", "approximated"))
        return {"text": token.token, "token_ids": [], "logprobs": [token.logprob]}
    return {"text": token.token, "token_ids": token.extra.get("token_ids", []), "logprobs": [token.logprob]}


def function_of(call: ToolCall, losses: list[Loss], path: str) -> dict[str, Any] | None:
    """A call of another dialect's answer, its arguments apart; None if it has no form here."""
    losses += foreign(call.extra, path + ".")
    if call.kind == "hosted":
        losses.append(Loss(path, f"{call.name} was run by the other provider itself"))
        return None
    if call.signature is not None:
        losses.append(Loss(path + ".signature", "a call has no signature here"))
    if call.kind == "custom":
        losses.append(Loss(path + ".arguments", "plain text goes as a field `input` of an object", "approximated"))
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}


def block_of(part: Part, losses: list[Loss], path: str) -> tuple[str, str] | None:
    """Kind and text of a content part of another dialect's answer; None if it has no form here."""
    losses += foreign(getattr(part, "extra", {}), path + ".")
    if isinstance(part, Text):
        if part.signature is not None:
            losses.append(Loss(path + ".signature", "a text has no signature here"))
        return "text", part.text
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal is a text here", "approximated"))
        return "text", part.text
    if isinstance(part, Reasoning):
        losses += [
            Loss(f"{path}.{name}", "means nothing to another provider")
            for name in ("signature", "sealed")
            if getattr(part, name) is not None
        ]
        if part.summary is not None and part.text:
            losses.append(Loss(path + ".summary", "the thought itself is told"))
        return "thinking", part.text or part.summary or ""
    losses.append(Loss(path, f"a part of kind {type(part).__name__} has no form here"))
    return None


def cited(citations: tuple[Citation, ...], text: str, place: int) -> list[dict[str, Any]]:
    return [encode_citation(citation, text, place) for citation in citations]


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error among it."""
    raw = expect(parse(body), DICT, "body")
    if "message" not in raw or isinstance(raw["message"], str):
        fault = body_fault(raw)
        raise Malformed("message", "is required" if fault is None else "the body is an error")
    rest, blank = split(raw)
    inner, inner_blank = read(rest.pop("message", blank.pop("message", None)), "message")
    parts = take_assistant(inner, "message")
    if inner.get("role") == "assistant":
        del inner["role"]
    else:
        inner_blank.setdefault("role", inner.pop("role", None))
    word = take(rest, "finish_reason", STR)
    usage = take(rest, "usage", DICT)
    _take_logprobs(rest, parts)
    choice = Choice(
        0, tuple(parts), None if word is None else finish_of(word), word, message_extra=note(inner, inner_blank)
    )
    return Answer(
        dialect=NAME,
        id=take(rest, "id", STR) or "",
        model="",
        choices=(choice,),
        usage=None if usage is None else decode_usage(usage),
        extra=note(rest, blank),
    )


def _take_logprobs(rest: dict[str, Any], parts: list[Part]) -> None:
    listed = rest.get("logprobs")
    texts = [i for i, part in enumerate(parts) if isinstance(part, Text) and not form_of(part.extra)]
    if not isinstance(listed, list) or len(texts) != 1:
        return
    tokens = [decode_logprob(item) for item in listed]
    whole = tuple(token for token in tokens if token is not None)
    if len(whole) == len(tokens):
        parts[texts[0]] = msgspec.structs.replace(parts[texts[0]], logprobs=whole)
        del rest["logprobs"]


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry. There is one choice here."""
    mine = answer.dialect == NAME
    losses: list[Loss] = []
    out: dict[str, Any] = {"id": answer.id} if answer.id or not mine else {}
    choice = answer.choices[0] if answer.choices else Choice(0, ())
    tokens = [(i, token) for i, part in enumerate(choice.parts) if isinstance(part, Text) for token in part.logprobs]
    if mine:
        out["message"] = _own_message(choice)
        if choice.native_reason is not None:
            out["finish_reason"] = choice.native_reason
    else:
        out["message"] = _foreign_message(choice, losses)
        word = finish_word(choice.finish or "unknown", choice.native_reason, losses, "choices[0].finish")
        out["finish_reason"] = word
        losses += [Loss(f"choices[{i}]", "there is one answer here") for i in range(1, len(answer.choices))]
    if answer.usage is not None:
        out["usage"] = encode_usage(answer.usage, losses, mine=mine)
    if tokens:
        out["logprobs"] = [encode_logprob(token, losses, f"choices[0].parts[{i}]", mine=mine) for i, token in tokens]
    if mine:
        return dump(restore(out, answer.extra)), ()
    losses += head_losses(answer.model, answer.created, answer.service_tier)
    losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def head_losses(model: str, created: int | None, tier: str | None) -> list[Loss]:
    named = (("model", model or None), ("created", created), ("service_tier", tier))
    return [Loss(field, "an answer does not name it here") for field, value in named if value is not None]


def _own_message(choice: Choice) -> dict[str, Any]:
    listed = any(not isinstance(part, ToolCall) and not form_of(part_extra(part)) for part in choice.parts)
    said = Message("assistant", choice.parts, extra=note({}, {}, list=True if listed else None))
    return restore(encode_assistant(said), {"role": "assistant", **choice.message_extra} if not _silent(choice)
                   else choice.message_extra)  # fmt: skip


def _silent(choice: Choice) -> bool:
    return "role" in choice.message_extra.get("~", {})


def part_extra(part: Part) -> dict[str, Any]:
    return getattr(part, "extra", {})


def _foreign_message(choice: Choice, losses: list[Loss]) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] = []
    for i, part in enumerate(choice.parts):
        path = f"choices[0].parts[{i}]"
        if isinstance(part, ToolCall):
            call = function_of(part, losses, path)
            if call is not None:
                free = part.kind == "custom"
                call["function"]["arguments"] = dump({"input": part.arguments}).decode() if free else part.arguments
                calls.append(call)
        elif (block := block_of(part, losses, path)) is not None:
            kind, text = block
            if isinstance(part, Text):
                citations += cited(part.citations, text, len(content))
            content.append({"type": kind, kind: text})
    losses += foreign(choice.extra, "choices[0].")
    losses += foreign(choice.message_extra, "choices[0].message.")
    fields = {"content": content, "tool_calls": calls, "citations": citations}
    return {"role": "assistant", **{key: value for key, value in fields.items() if value}}
