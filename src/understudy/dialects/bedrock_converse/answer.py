"""Whole answers, both ways. `ConverseResponse` of the service model.

An answer names neither itself nor its model nor its time: the URL and a header do. `inputTokens` leaves out what was
read from the cache or written to it (recorded totals add up only so). Metrics and traces stay in `Answer.extra`.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Answer,
    Choice,
    FinishReason,
    Image,
    Inline,
    Loss,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from understudy.dialects.anthropic_messages.carried import seal
from understudy.dialects.anthropic_messages.parts import arguments_of, tidy
from understudy.dialects.bedrock_converse.blocks import (
    IMAGES,
    NAME,
    call_fields,
    decode_blocks,
    encode_own,
    format_of,
    reasoning_block,
    text_block,
)
from understudy.dialects.bedrock_converse.fitting import is_ours
from understudy.dialects.wire import DICT, STR, Malformed, dump, expect, foreign, keep, parse, restore, split, take

ORIGIN = NAME + "/"

_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
_WORDS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "filtered": "content_filtered",
    "refusal": "content_filtered",
    "paused": "max_tokens",
    "error": "malformed_model_output",
    "unknown": "end_turn",
}
_CACHED = (("cacheReadInputTokens", "cached_read"), ("cacheWriteInputTokens", "cached_write"))
_NOT_HERE = ("audio_input", "audio_output", "accepted_prediction", "rejected_prediction", "reasoning")
_TIERS = ("priority", "default", "flex", "reserved")


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(word: str) -> FinishReason:
    return _FINISHES.get(word, "unknown")


def finish_word(finish: FinishReason, native: str | None, losses: list[Loss], path: str, *, own: bool) -> str:
    if native is not None and finish_of(native) == finish and (own or native in _FINISHES):
        return native
    if finish in ("refusal", "paused", "unknown"):
        losses.append(Loss(path, f"{finish} became {_WORDS[finish]}: there is no such word here", "approximated"))
    return _WORDS[finish]


def decode_usage(value: dict[str, Any]) -> Usage:
    """Counts that are no integers stay in `extra`. Some servers name the cached counts twice, with `Count` behind."""
    rest, blank = split(value)
    counts: dict[str, int] = {}
    for key, name in (("inputTokens", "input"), ("outputTokens", "output"), ("totalTokens", "total"), *_CACHED):
        if type(rest.get(key)) is int:
            counts[name] = rest.pop(key)
            if key + "Count" in rest and rest[key + "Count"] == counts[name]:
                blank[key + "Count"] = rest.pop(key + "Count")
    if "input" in counts:
        counts["input"] += counts.get("cached_read", 0) + counts.get("cached_write", 0)
    return Usage(**counts, estimated=False, extra=keep(rest, blank))


def encode_usage(usage: Usage | None, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    """The counts. Those of input, output and both are required here: a zero stands for one that never came."""
    if usage is None or (not own and (usage.input is None or usage.output is None)):
        losses.append(Loss("usage", "was not reported in full; a zero stands for what is missing", "approximated"))
        usage = usage or Usage()
        own = False
    out: dict[str, Any] = {}
    fresh = None if usage.input is None else max(0, usage.input - (usage.cached_read or 0) - (usage.cached_write or 0))
    total = usage.total
    if total is None and not own:
        total = (usage.input or 0) + (usage.output or 0)
    for key, count in (("inputTokens", fresh), ("outputTokens", usage.output), ("totalTokens", total)):
        if count is not None or not own:
            out[key] = count or 0
    out |= {key: count for key, name in _CACHED if (count := getattr(usage, name)) is not None}
    if own:
        return restore(out, usage.extra)
    if (usage.input or 0) < (usage.cached_read or 0) + (usage.cached_write or 0):
        losses.append(Loss("usage.input", "is less than what was cached: that is counted", "approximated"))
    losses += [Loss("usage." + name, "is not counted here") for name in _NOT_HERE if getattr(usage, name)]
    if usage.estimated:
        losses.append(Loss("usage.estimated", "nothing marks an estimate here"))
    losses += foreign(usage.extra, "usage.")
    return out


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error in a 200 among it."""
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    output = dict(expect(rest.pop("output", None), DICT, "output"))
    message, empty = split(expect(output.pop("message", None), DICT, "output.message"))
    if output:
        rest["output"] = output
    content = message.pop("content", empty.pop("content", None))
    if content is None:
        raise Malformed("output.message.content", "is required")
    parts = decode_blocks(content, "output.message.content", ORIGIN)
    if message.get("role") == "assistant":
        del message["role"]
    word = take(rest, "stopReason", STR)
    usage = take(rest, "usage", DICT)
    tier = rest.get("serviceTier")
    named = tier["type"] if isinstance(tier, dict) and tier.keys() == {"type"} else None
    if isinstance(named, str):
        del rest["serviceTier"]
    choice = Choice(0, parts, None if word is None else finish_of(word), word, message_extra=keep(message, empty))
    return Answer(
        NAME,
        "",
        "",
        (choice,),
        None if usage is None else decode_usage(usage),
        None,
        named if isinstance(named, str) else None,
        keep(rest, blank),
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry. It holds no id, model and time."""
    own = answer.dialect == NAME
    losses = [Loss(f"choices[{i}]", "there is one answer here") for i in range(1, len(answer.choices))]
    choice = answer.choices[0] if answer.choices else Choice(0, (), "error")
    out: dict[str, Any] = {}
    if own:
        message = restore({"role": "assistant", "content": encode_own(choice.parts)}, choice.message_extra)
    else:
        message = {"role": "assistant", "content": _content(choice.parts, answer.dialect, losses)}
        losses += foreign(choice.message_extra, "choices[0].message.")
        losses += foreign(choice.extra, "choices[0].")
    out["output"] = {"message": message}
    if choice.finish is not None or not own:
        finish = choice.finish or "unknown"
        out["stopReason"] = finish_word(finish, choice.native_reason, losses, "choices[0].finish", own=own)
    if answer.usage is not None or not own:
        out["usage"] = encode_usage(answer.usage, losses, own=own)
    tier = tier_word(answer.service_tier, losses, own=own)
    if tier is not None:
        out["serviceTier"] = {"type": tier}
    if own:
        restore(out, answer.extra)
    else:
        losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def tier_word(tier: str | None, losses: list[Loss], *, own: bool) -> str | None:
    if tier is None or own or tier in _TIERS:
        return tier
    losses.append(Loss("service_tier", f"no tier is called {tier!r} here"))
    return None


def _content(parts: tuple[Part, ...], dialect: str, losses: list[Loss]) -> list[dict[str, Any]]:
    out = []
    for i, part in enumerate(parts):
        block = foreign_block(part, f"choices[0].parts[{i}]", dialect, losses)
        if block is not None:
            out.append(block)
    return out


def foreign_block(part: Part, path: str, dialect: str, losses: list[Loss]) -> dict[str, Any] | None:
    """A part of another dialect's answer as a content block; a loss and None if it has no form."""
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal is a text here", "approximated"))
        part = Text(part.text, extra=part.extra)
    losses += foreign(getattr(part, "extra", {}), path + ".")
    if isinstance(part, Text):
        losses += text_losses(part, path)
        return text_block(part, own=False)
    if isinstance(part, Reasoning):
        return reasoning_block(carried(part, dialect))
    if isinstance(part, ToolCall) and part.kind != "hosted":
        return {"toolUse": _call(part, path, losses)}
    if isinstance(part, Image) and isinstance(part.source, Inline) and format_of(part.source) in IMAGES:
        return {"image": {"format": format_of(part.source), "source": {"bytes": part.source.data}}}
    losses.append(Loss(path, f"a part of kind {type(part).__name__} has no form in an answer here"))
    return None


def text_losses(part: Text, path: str) -> list[Loss]:
    lost = (("logprobs", part.logprobs), ("signature", part.signature))
    return [Loss(f"{path}.{name}", "a text has none here") for name, value in lost if value]


def carried(part: Reasoning, dialect: str) -> Reasoning:
    """Reasoning as a block can hold it: what its own provider needs back travels in the signature, behind a mark."""
    if is_ours(part, own=False):
        return Reasoning(part.text, signature=part.signature, sealed=part.sealed)
    if part.signature is None and part.sealed is None and part.id is None and part.summary is None:
        return Reasoning(part.text)
    shown = part.text if part.summary is None else part.summary
    return Reasoning(shown, signature=seal(part, dialect))


def call_name(part: ToolCall, path: str, losses: list[Loss]) -> tuple[str, str]:
    """Id and name of a call within the rules here."""
    found, name = tidy(part.id or path, 64), tidy(part.name, 64) or "_"
    if found != part.id:
        losses.append(Loss(path + ".id", f"became {found}", "approximated"))
    if name != part.name:
        losses.append(Loss(path + ".name", f"became {name}", "approximated"))
    if part.signature is not None:
        losses.append(Loss(path + ".signature", "a call bears no signature here"))
    return found, name


def _call(part: ToolCall, path: str, losses: list[Loss]) -> dict[str, Any]:
    found, name = call_name(part, path, losses)
    given = {"input": part.arguments} if part.kind == "custom" else arguments_of(part.arguments)
    if part.kind == "custom":
        losses.append(Loss(path + ".arguments", "plain text goes as a field `input` of an object", "approximated"))
    elif given is None:
        given = {"arguments": part.arguments}
        losses.append(Loss(path + ".arguments", "are no JSON object: a field `arguments` of one", "approximated"))
    return {**call_fields(ToolCall(found, name)), "input": given}
