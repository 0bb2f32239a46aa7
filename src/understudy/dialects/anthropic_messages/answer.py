"""Whole answers, both ways. `Message` of Anthropic's OpenAPI document.

There is one choice, and it has no time of creation: the HTTP date tells that. `stop_sequence` and `stop_details` stay
in the choice's `extra`, `container` and `context_management` in the answer's.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    FinishReason,
    Loss,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Unknown,
)
from understudy.dialects.anthropic_messages.fault import fault_in
from understudy.dialects.anthropic_messages.parts import (
    NAME,
    arguments_of,
    decode_block,
    encode_block,
    thinking_block,
    tidy,
)
from understudy.dialects.anthropic_messages.usage import decode_usage, encode_usage, tier_in, tier_word
from understudy.dialects.wire import (
    DICT,
    FORM,
    LIST,
    STR,
    Malformed,
    dump,
    expect,
    foreign,
    keep,
    parse,
    restore,
    split,
    take,
)

_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "compaction": "paused",
    "refusal": "refusal",
}
WORDS: dict[FinishReason, str | None] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "paused": "pause_turn",
    "refusal": "refusal",
    "filtered": "refusal",
    "error": None,
    "unknown": None,
}
CHOICE_FIELDS = ("stop_sequence", "stop_details")
_HEAD = {"type": "message", "role": "assistant"}
_ID_LIMIT = 128


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(word: str) -> FinishReason:
    return _FINISHES.get(word, "unknown")


def finish_word(finish: FinishReason | None, native: str | None, losses: list[Loss], *, own: bool) -> str | None:
    """The stop reason. None where there is no word for it, so that a broken answer never looks finished."""
    if finish is None:
        return None
    if native is not None and (finish == "unknown" or (own and finish_of(native) == finish)):
        return native
    word = WORDS[finish]
    if finish in ("filtered", "error", "unknown"):
        losses.append(Loss("choices[0].finish", f"{finish} became {word}: there is no such word here", "approximated"))
    return word


def call_id(part: ToolCall, path: str, losses: list[Loss]) -> str:
    """An id that Anthropic would take back. The provider that knows another gets its results under this one."""
    made = path.rpartition("[")[2].rstrip("]")
    found = tidy(part.id, _ID_LIMIT) if part.id else "call_" + made
    if found != part.id:
        losses.append(Loss(path + ".id", f"became {found}", "approximated"))
    return found


def text_losses(part: Text, path: str) -> list[Loss]:
    """What a text of another dialect loses here. Citations refer to sources by marks that only Anthropic can make."""
    named = (("citations", part.citations or None), ("logprobs", part.logprobs or None), ("signature", part.signature))
    return [Loss(f"{path}.{key}", "has no form here") for key, value in named if value is not None]


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error in a 200 among it."""
    raw = expect(parse(body), DICT, "body")
    if "content" not in raw:
        error = fault_in(raw) is not None
        raise Malformed("error" if error else "content", "the body is an error" if error else "is required")
    rest, blank = split(raw)
    content = take(rest, "content", LIST) or expect(raw["content"], LIST, "content")
    blank.pop("content", None)
    for key, usual in _HEAD.items():
        if rest.get(key) == usual:
            del rest[key]
    model = take(rest, "model", STR) or ""
    usage = take(rest, "usage", DICT)
    parts = tuple(decode_block(block, f"content[{i}]", f"{NAME}/{model}") for i, block in enumerate(content))
    word = take(rest, "stop_reason", STR)
    of_choice = {key: rest.pop(key) for key in CHOICE_FIELDS if key in rest}
    return Answer(
        dialect=NAME,
        id=take(rest, "id", STR) or "",
        model=model,
        choices=(Choice(0, parts, None if word is None else finish_of(word), word, of_choice),),
        usage=None if usage is None else decode_usage(usage),
        service_tier=tier_in(usage),
        extra=keep(rest, blank, [key for key in _HEAD if key not in raw]),
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry."""
    own = answer.dialect == NAME
    losses: list[Loss] = []
    odd = {key: answer.extra[key] for key in _HEAD if own and key in answer.extra}
    head = {"id": answer.id, **_HEAD, **odd, "model": answer.model}
    out: dict[str, Any] = {key: value for key, value in head.items() if value or not own}
    losses += [Loss(f"choices[{i}]", "there is one answer here") for i in range(1, len(answer.choices))]
    choice = answer.choices[0] if answer.choices else Choice(0, ())
    word = finish_word(choice.finish, choice.native_reason, losses, own=own)
    if own:
        out["content"] = _encode_own(choice, losses)
    else:
        out["content"] = _encode_parts(choice, answer.dialect, losses)
        if word == "tool_use" and not any(block["type"] == "tool_use" for block in out["content"]):
            losses.append(Loss("choices[0].finish", "no call that can be trusted is left", "approximated"))
            word = WORDS["length"]
    if word is not None or not own:
        out["stop_reason"] = word
    if not own:
        out["stop_sequence"] = None
    usage = encode_usage(answer.usage, losses, own=own)
    tier = tier_word(answer.service_tier, losses, own=own)
    if tier is not None:
        usage["service_tier"] = tier
    if usage or answer.usage is not None:
        out["usage"] = usage
    if own:
        restore(out, choice.extra)
        restore(out, answer.extra)
        for key in answer.extra.get(FORM, ()):
            del out[key]
    else:
        losses += foreign(choice.extra, "choices[0].")
        losses += foreign(choice.message_extra, "choices[0].message.")
        losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def _encode_own(choice: Choice, losses: list[Loss]) -> list[dict[str, Any]]:
    out = []
    for i, part in enumerate(choice.parts):
        block = encode_block(part)
        if block is None:
            losses.append(Loss(f"choices[0].parts[{i}]", f"a {type(part).__name__} has no form here"))
        else:
            out.append(block)
    return out


def _encode_parts(choice: Choice, dialect: str, losses: list[Loss]) -> list[dict[str, Any]]:
    out = []
    for i, part in enumerate(choice.parts):
        path = f"choices[0].parts[{i}]"
        block = _encode_part(part, path, dialect, losses)
        if block is not None:
            out.append(block)
            losses += foreign(getattr(part, "extra", {}), path + ".")
    return out


def _encode_part(part: Part, path: str, dialect: str, losses: list[Loss]) -> dict[str, Any] | None:
    """A part of another dialect's answer as a block, or None and a loss."""
    if isinstance(part, Text):
        losses += text_losses(part, path)
        return {"type": "text", "text": part.text}
    if isinstance(part, Reasoning):
        return thinking_block(part, dialect)
    if isinstance(part, Refusal):
        losses.append(Loss(path, "a refusal is a text here", "approximated"))
        return {"type": "text", "text": part.text}
    if isinstance(part, Audio) and part.transcript:
        losses.append(Loss(path, "sound is given by its words here", "approximated"))
        return {"type": "text", "text": part.transcript}
    if isinstance(part, ToolCall) and part.kind != "hosted":
        return _encode_call(part, path, losses)
    what = part.kind if isinstance(part, Unknown) else type(part).__name__
    losses.append(Loss(path, f"a part of kind {what} has no form in an answer here"))
    return None


def _encode_call(part: ToolCall, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    """A call. One whose arguments are no JSON object is not passed on: nobody can run it as it was meant."""
    arguments = {"input": part.arguments} if part.kind == "custom" else arguments_of(part.arguments)
    if arguments is None:
        losses.append(Loss(path, "a call whose arguments are no JSON object has no form here"))
        return None
    if part.kind == "custom":
        losses.append(Loss(path + ".arguments", "plain text goes as a field `input` of an object", "approximated"))
    if part.signature is not None:
        losses.append(Loss(path + ".signature", "a tool call has no signature here"))
    return {"type": "tool_use", "id": call_id(part, path, losses), "name": part.name, "input": arguments}
