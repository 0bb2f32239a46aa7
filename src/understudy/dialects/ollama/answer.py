"""Whole answers, both ways: `ChatResponse` and `GenerateResponse` of Ollama's `api/types.go`.

The finish is `stop` with calls and without; canonical `tool_calls` says which. Durations (nanoseconds), `context` and
whatever else stands beside the message stay in `extra`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Answer, Choice, FinishReason, Loss, Part, Text, TokenLogprob, ToolCall, Usage
from understudy.dialects.gemini.answer import created_of, created_text
from understudy.dialects.gemini.parts import arguments_of
from understudy.dialects.ollama.fault import fault_in
from understudy.dialects.ollama.messages import NAME, encode_parts, note, take_parts
from understudy.dialects.openai_chat.answer import decode_logprobs, encode_logprob
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import BOOL, DICT, STR, Malformed, dump, expect, foreign, parse, restore, split, take

_FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length", "load": "stop", "unload": "stop"}
_WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "tool_calls": "stop",
    "length": "length",
    "filtered": "length",
    "refusal": "stop",
    "paused": "length",
    "error": "length",
    "unknown": "stop",
}
_COUNTS = (("prompt_eval_count", "input"), ("eval_count", "output"))
_UNKNOWN = ("cached_read", "cached_write", "reasoning", "audio_input", "audio_output", "accepted_prediction")


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(word: str | None, *, calls: bool) -> FinishReason:
    """Old servers give no reason with `done`."""
    finish = _FINISHES.get(word or "stop", "unknown")
    return "tool_calls" if finish == "stop" and calls else finish


def finish_word(finish: FinishReason, native: str | None, losses: list[Loss], path: str) -> str:
    """The word for a finish that another dialect gave."""
    if finish in ("filtered", "refusal", "paused", "error", "unknown"):
        losses.append(Loss(path, f"{finish} became {_WORDS[finish]}: there is no such word here", "approximated"))
    return native if native in _FINISHES and _FINISHES[native] == finish else _WORDS[finish]


def take_usage(rest: dict[str, Any]) -> Usage | None:
    """Remove the counts of tokens; None if there are none."""
    fields = {name: rest.pop(key) for key, name in _COUNTS if type(rest.get(key)) is int}
    return Usage(**fields) if fields else None


def encode_usage(usage: Usage, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    out = {key: value for key, name in _COUNTS if (value := getattr(usage, name)) is not None}
    if mine:
        return out
    if usage.total is not None and usage.total != (usage.input or 0) + (usage.output or 0):
        losses.append(Loss("usage.total", "is not counted here"))
    lost = (*_UNKNOWN, "rejected_prediction")
    losses += [Loss("usage." + name, "is not counted here") for name in lost if getattr(usage, name) is not None]
    if usage.estimated:
        losses.append(Loss("usage.estimated", "figures cannot be marked as estimates here"))
    losses += foreign(usage.extra, "usage.")
    return out


def generated(rest: dict[str, Any]) -> dict[str, Any]:
    """Remove what an answer of `/api/generate` says; the message that it would be for chat."""
    names = {"response": "content", "thinking": "thinking", "tool_calls": "tool_calls"}
    return {name: rest.pop(key) for key, name in names.items() if key in rest}


def is_broken(part: Part, path: str, losses: list[Loss]) -> bool:
    """Whether `part` is a call whose arguments are no JSON object. It is left out: repaired, it might be run."""
    if not isinstance(part, ToolCall) or part.kind != "function" or arguments_of(part.arguments) is not None:
        return False
    losses.append(Loss(path, "a call whose arguments are no JSON object is not passed on"))
    return True


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical, of chat or of generate. Raises `Malformed` on what is no answer."""
    raw = expect(parse(body), DICT, "body")
    if "message" not in raw and "response" not in raw:
        raise Malformed("message", "is required" if fault_in(raw) is None else "the body is an error")
    rest, blank = split(raw)
    generate = "message" not in raw
    stamp = take(rest, "created_at", STR)
    seed = stamp or ""
    if generate:
        inner = generated(rest)
        parts, message_extra = take_parts(inner, "message", seed), note(inner, {})
    else:
        inner, inner_blank = split(expect(rest.pop("message", blank.pop("message", None)), DICT, "message"))
        parts = take_parts(inner, "message", seed)
        message_extra = note(inner, inner_blank)
    logprobs = decode_logprobs(rest.get("logprobs"))
    texts = [i for i, part in enumerate(parts) if isinstance(part, Text)]
    if logprobs is not None and texts:
        parts[texts[0]] = msgspec.structs.replace(parts[texts[0]], logprobs=logprobs)
        del rest["logprobs"]
    word, done = take(rest, "done_reason", STR), take(rest, "done", BOOL)
    calls = any(isinstance(part, ToolCall) for part in parts)
    finish = finish_of(word, calls=calls) if word is not None or done else None
    usage = take_usage(rest)
    created = created_of(stamp)
    return Answer(
        dialect=NAME,
        id="",
        model=take(rest, "model", STR) or "",
        choices=(Choice(0, tuple(parts), finish, word, message_extra=message_extra),),
        usage=usage,
        created=created,
        extra=note(rest, blank, generate=generate, stamp=stamp, unfinished=not done, undone=done is None),
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer, *, generate: bool = False) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry. There is one choice here.

    `generate` writes it as `/api/generate` does; an answer that came so is written so anyway.
    """
    mine = answer.dialect == NAME
    form = form_of(answer.extra) if mine else {}
    losses: list[Loss] = []
    choice = answer.choices[0] if answer.choices else Choice(0, ())
    out: dict[str, Any] = {"model": answer.model} if answer.model or not mine else {}
    stamp = form.get("stamp") or created_text(answer.created, losses)
    if stamp:
        out["created_at"] = stamp
    message = _message(choice, losses, mine=mine)
    if generate or "generate" in form:
        text = message.pop("content", None)
        out |= {"response": text} if text is not None else {}
        out |= {key: value for key, value in message.items() if key != "role"}
    else:
        out["message"] = message
    if "undone" not in form:
        out["done"] = "unfinished" not in form
    if mine and choice.native_reason is not None:
        out["done_reason"] = choice.native_reason
    elif not mine:
        out["done_reason"] = finish_word(choice.finish or "unknown", choice.native_reason, losses, "choices[0].finish")
    if answer.usage is not None:
        out |= encode_usage(answer.usage, losses, mine=mine)
    tokens = [encode_logprob(token) for part in choice.parts if isinstance(part, Text) for token in part.logprobs]
    if tokens:
        out["logprobs"] = tokens
    if mine:
        return dump(restore(out, answer.extra)), ()
    losses += [Loss(f"choices[{i}]", "there is one answer here") for i in range(1, len(answer.choices))]
    losses += head_losses(answer.id, answer.service_tier)
    losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def head_losses(answer_id: str, tier: str | None) -> list[Loss]:
    named = (("id", answer_id or None), ("service_tier", tier))
    return [Loss(field, "an answer does not name it here") for field, value in named if value is not None]


def _message(choice: Choice, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    said: list[tuple[Part, str]] = []
    for i, part in enumerate(choice.parts):
        path = f"choices[0].parts[{i}]"
        if mine or not is_broken(part, path, losses):
            said.append((_bare(part), path))
    fields = encode_parts(said, losses, own=mine)
    if mine:
        blank_role = "role" in choice.message_extra.get("~", {})
        return restore(fields if blank_role else {"role": "assistant", **fields}, choice.message_extra)
    losses += foreign(choice.extra, "choices[0].")
    losses += foreign(choice.message_extra, "choices[0].message.")
    return {"role": "assistant", "content": "", **fields}


def _bare(part: Part) -> Part:
    """A text without its log-probabilities: they stand beside the message here."""
    return msgspec.structs.replace(part, logprobs=()) if isinstance(part, Text) and part.logprobs else part


def tokens_of(listed: Any) -> tuple[TokenLogprob, ...]:
    return decode_logprobs(listed) or ()
