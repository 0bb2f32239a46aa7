"""Whole answers, both ways. `CreateChatCompletionResponse` of OpenAI's OpenAPI document, and what servers add.

Added: `native_finish_reason`, `reasoning_details`, `images` (OpenRouter), `x_groq`, `citations` and `search_results`
(Perplexity), `prompt_filter_results` (Azure). What the canon has no word for stays in the nearest `extra`.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    FinishReason,
    Image,
    Loss,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Unknown,
    Usage,
)
from understudy.dialects.openai_chat import plain
from understudy.dialects.openai_chat.fault import fault_in
from understudy.dialects.openai_chat.parts import (
    NAME,
    encode_audio,
    encode_citation,
    encode_part,
    encode_reasoning,
    encode_tool_call,
    form_of,
    out_of_order,
    take_assistant,
)
from understudy.dialects.wire import (
    BLANKS,
    DICT,
    FORM,
    INT,
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

OBJECT = "chat.completion"

_FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "length": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",  # GitHub Models
    "function_call": "tool_calls",
    "content_filter": "filtered",
    "error": "error",  # OpenRouter
}
WORDS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "filtered": "content_filter",
    "refusal": "content_filter",
    "paused": "length",
    "error": "error",
    "unknown": "unknown",
}

_USAGE = (("prompt_tokens", "input"), ("completion_tokens", "output"), ("total_tokens", "total"))
_INPUT = (("cached_tokens", "cached_read"), ("cache_write_tokens", "cached_write"), ("audio_tokens", "audio_input"))
_OUTPUT = (
    ("reasoning_tokens", "reasoning"),
    ("audio_tokens", "audio_output"),
    ("accepted_prediction_tokens", "accepted_prediction"),
    ("rejected_prediction_tokens", "rejected_prediction"),
)
_ALIASES = (
    ("cached_tokens", "cached_read"),  # Moonshot
    ("prompt_cache_hit_tokens", "cached_read"),  # DeepSeek
    ("reasoning_tokens", "reasoning"),  # SGLang
)


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(word: str) -> FinishReason:
    return _FINISHES.get(word, "unknown")


def finish_word(finish: FinishReason, native: str | None, losses: list[Loss], path: str) -> str:
    if finish in ("refusal", "paused"):
        losses.append(Loss(path, f"{finish} became {WORDS[finish]}: there is no such word here", "approximated"))
    return native if finish == "unknown" and native else WORDS[finish]


def decode_usage(value: dict[str, Any]) -> Usage:
    """Counts that are no integers stay in `extra`, as all figures do that the canon has no word for."""
    rest, blank = split(value)
    counts: dict[str, int] = {}
    for table, group in ((_INPUT, "prompt_tokens_details"), (_OUTPUT, "completion_tokens_details")):
        if isinstance(rest.get(group), dict):
            inner = dict(rest.pop(group))
            _pick(inner, table, counts)
            if inner:
                rest[group] = inner
            elif not any(name in counts for _, name in table):
                blank[group] = {}
    _pick(rest, _USAGE, counts)
    form = []
    for key, name in _ALIASES:
        if name not in counts and type(rest.get(key)) is int:
            counts[name] = rest.pop(key)
            form.append(key)
    estimated = rest.pop("estimated", False) is True
    return Usage(**counts, estimated=estimated, extra=keep(rest, blank, form))


def _pick(source: dict[str, Any], table: tuple[tuple[str, str], ...], counts: dict[str, int]) -> None:
    for key, name in table:
        if type(source.get(key)) is int:
            counts[name] = source.pop(key)


def encode_usage(usage: Usage, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    form = usage.extra.get(FORM, ()) if own else ()
    aliases = {name: key for key, name in _ALIASES if key in form}
    out: dict[str, Any] = {key: count for key, name in _USAGE if (count := getattr(usage, name)) is not None}
    if usage.total is None and usage.input is not None and usage.output is not None:
        out["total_tokens"] = usage.input + usage.output
    for table, group in ((_INPUT, "prompt_tokens_details"), (_OUTPUT, "completion_tokens_details")):
        counts: dict[str, Any] = {}
        for key, name in table:
            count = getattr(usage, name)
            if count is not None:
                (out if name in aliases else counts)[aliases.get(name, key)] = count
        if counts:
            out[group] = counts
    if usage.estimated:
        out["estimated"] = True
    if own:
        return restore(out, usage.extra)
    losses += foreign(usage.extra, "usage.")
    return out


def decode_logprobs(value: Any) -> tuple[TokenLogprob, ...] | None:
    """`logprobs.content`, or None if it has another shape: then it is kept as it came."""
    if not isinstance(value, list) or not value:
        return None
    out = []
    for item in value:
        token = _token(item)
        if token is None:
            return None
        out.append(token)
    return tuple(out)


def _token(item: Any) -> TokenLogprob | None:
    match item:
        case {"token": str(token), "logprob": float() | int() as logprob}:
            others = {key: value for key, value in item.items() if key not in ("token", "logprob")}
            listed = others.pop("bytes", None)
            if listed is not None and not (isinstance(listed, list) and all(type(b) is int for b in listed)):
                return None
            top = others.pop("top_logprobs", None)
            if top is not None and not isinstance(top, list):
                return None
            tops = None if top is None else tuple(_token(other) for other in top)
            known = None if tops is None else tuple(other for other in tops if other is not None)
            if known is not None and tops is not None and len(known) != len(tops):
                return None
            return TokenLogprob(token, logprob, None if listed is None else tuple(listed), known, others)
    return None


def encode_logprob(token: TokenLogprob) -> dict[str, Any]:
    out: dict[str, Any] = {"token": token.token, "logprob": token.logprob}
    out["bytes"] = None if token.bytes is None else list(token.bytes)
    if token.top is not None:
        out["top_logprobs"] = [encode_logprob(other) for other in token.top]
    return restore(out, token.extra)


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error in a 200 among it."""
    return plain.decode(body) or decode_any(body)


def answer_figures(body: bytes) -> tuple[Usage | None, str, str | None]:
    """What a provider's body says of its tokens, its model and service tier. Raises `Malformed` as `decode_answer`."""
    told = plain.figures(body)
    if told is not None:
        return told
    answer = decode_answer(body)
    return answer.usage, answer.model, answer.service_tier


def decode_any(body: bytes) -> Answer:
    """As `decode_answer`, whatever is in it."""
    raw = expect(parse(body), DICT, "body")
    if "choices" not in raw:
        what = "the body is an error" if fault_in(raw) else "is required"
        raise Malformed("error" if fault_in(raw) else "choices", what)
    rest, blank = split(raw)
    choices = take(rest, "choices", LIST) or expect(raw["choices"], LIST, "choices")
    blank.pop("choices", None)
    usage = take(rest, "usage", DICT)
    shape = rest.pop("object", None)
    return Answer(
        dialect=NAME,
        id=take(rest, "id", STR) or "",
        model=take(rest, "model", STR) or "",
        choices=tuple(_decode_choice(choice, i) for i, choice in enumerate(choices)),
        usage=None if usage is None else decode_usage(usage),
        created=take(rest, "created", INT),
        service_tier=take(rest, "service_tier", STR),
        extra=keep(rest, blank, None if shape == OBJECT else {"object": shape}),
    )


def _decode_choice(value: Any, place: int) -> Choice:
    path = f"choices[{place}]"
    rest, blank = split(expect(value, DICT, path))
    index = take(rest, "index", INT, path + ".")
    word = take(rest, "finish_reason", STR, path + ".")
    native = take(rest, "native_finish_reason", STR, path + ".")
    form: dict[str, Any] = {}
    if native is not None:
        form["native"] = True
    finish = None if word is None else finish_of(word)
    if word is not None and (finish is None or WORDS[finish] != word):
        form["finish"] = word
    if isinstance(rest.get("error"), dict):  # generation broke, whatever the word says (OpenRouter)
        form["finish"] = word
        finish = "error"
    parts: list[Part] = []
    message_extra: dict[str, Any] = {}
    message = take(rest, "message", DICT, path + ".")
    if message is None:
        form["silent"] = True
    else:
        parts, message_extra = _decode_message(message, path + ".message")
    _take_logprobs(rest, parts)
    if index is None:
        form["unnumbered"] = True
    extra = keep(rest, blank, form)
    return Choice(place if index is None else index, tuple(parts), finish, native or word, extra, message_extra)


def _decode_message(message: dict[str, Any], path: str) -> tuple[list[Part], dict[str, Any]]:
    rest, blank = split(message)
    if rest.get("role") == "assistant":
        del rest["role"]
    elif "role" not in rest and "role" not in blank:
        blank["role"] = None
    parts, is_list = take_assistant(rest, path)
    return parts, keep(rest, blank, "list" if is_list else None)


def _take_logprobs(rest: dict[str, Any], parts: list[Part]) -> None:
    """Move token log-probabilities to the one text they belong to; anything else about them stays."""
    found = rest.get("logprobs")
    places = [i for i, part in enumerate(parts) if isinstance(part, Text)]
    tokens = decode_logprobs(found.get("content")) if isinstance(found, dict) and len(places) == 1 else None
    if tokens is None or found is None:
        return
    text = parts[places[0]]
    assert isinstance(text, Text)
    parts[places[0]] = Text(text.text, text.citations, tokens, text.cache, text.extra)
    others = {key: value for key, value in found.items() if key != "content"}
    del rest["logprobs"]
    if others:
        rest["logprobs"] = others


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry."""
    own = answer.dialect == NAME
    losses: list[Loss] = []
    form = form_of(answer.extra) if own else {}
    head = {"id": answer.id, "object": form.get("object", OBJECT), "created": answer.created, "model": answer.model}
    out: dict[str, Any] = {key: value for key, value in head.items() if value not in (None, "")}
    out["choices"] = [_encode_choice(c, f"choices[{i}]", losses, own=own) for i, c in enumerate(answer.choices)]
    if answer.usage is not None:
        out["usage"] = encode_usage(answer.usage, losses, own=own)
    if answer.service_tier is not None:
        out["service_tier"] = answer.service_tier
    if own:
        restore(out, answer.extra)
    else:
        losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def _encode_choice(choice: Choice, path: str, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    form = form_of(choice.extra) if own else {}
    out: dict[str, Any] = {} if "unnumbered" in form else {"index": choice.index}
    message, logprobs = encode_message(choice, path, losses, own=own)
    if "silent" not in form:
        out["message"] = message
    if logprobs:
        out["logprobs"] = {"content": [encode_logprob(token) for token in logprobs]}
    native = choice.native_reason
    if "finish" in form:
        word = form["finish"]
    else:
        word = None if choice.finish is None else finish_word(choice.finish, native, losses, path + ".finish")
    if word is not None or not own:
        out["finish_reason"] = word
    if native is not None and ("native" in form if own and form else native != word):
        out["native_finish_reason"] = native
    if own:
        return restore(out, choice.extra)
    losses += foreign(choice.extra, path + ".")
    return out


def encode_message(
    choice: Choice, path: str, losses: list[Loss], *, own: bool
) -> tuple[dict[str, Any], tuple[TokenLogprob, ...]]:
    """The message of a choice, and its tokens. Kinds have fixed places here, so another order cannot be kept."""
    out: dict[str, Any] = {"role": "assistant", "content": None}
    if not own:
        out["refusal"] = None
    if own and choice.message_extra.get(FORM) == "list":
        out["content"] = [encoded for part in choice.parts if (encoded := encode_part(part)) and not _apart(part)]
    texts = [part for part in choice.parts if isinstance(part, Text)]
    if out_of_order(choice.parts) and out["content"] is None:
        losses.append(Loss(path + ".parts", "the order of parts of different kinds is not kept", "approximated"))
    if texts and out["content"] is None:
        out["content"] = "".join(part.text for part in texts)
        if len(texts) > 1:
            losses.append(Loss(path + ".parts", "texts are joined into one", "approximated"))
    losses += [
        Loss(f"{path}.parts[{at}].signature", "a text has no signature here")
        for at, part in enumerate(choice.parts)
        if isinstance(part, Text) and part.signature is not None
    ]
    annotations = _annotations(choice, texts, path, losses)
    if annotations:
        out["annotations"] = annotations
    thoughts = [
        p for p in choice.parts if isinstance(p, Reasoning) and (not own or form_of(p.extra).get("as") != "thinking")
    ]
    if thoughts:
        out |= encode_reasoning(thoughts, own=own)
    for i, part in enumerate(choice.parts):
        _put(part, out, f"{path}.parts[{i}]", losses, own=own)
    if own:
        restore(out, choice.message_extra)
        if out["content"] is None and "content" in choice.message_extra.get(BLANKS, ()):
            out["content"] = choice.message_extra[BLANKS]["content"]
        if choice.message_extra.get(BLANKS, {}).get("role", "") is None:
            del out["role"]
    else:
        losses += foreign(choice.message_extra, path + ".message.")
    return out, tuple(token for text in texts for token in text.logprobs)


def _apart(part: Part) -> bool:
    """Whether a part has a field of its own in an assistant's message, outside of `content`."""
    plain_thought = isinstance(part, Reasoning) and form_of(part.extra).get("as") != "thinking"
    return plain_thought or isinstance(part, Refusal | Audio | Image | ToolCall)


def _annotations(choice: Choice, texts: list[Text], path: str, losses: list[Loss]) -> list[dict[str, Any]]:
    """Citations of all texts, their places counted from the start of the joined text."""
    out, offset = [], 0
    for text in texts:
        for citation in text.citations:
            annotation = encode_citation(citation, offset)
            if annotation is None:
                where = f"{path}.parts[{choice.parts.index(text)}].citations"
                losses.append(Loss(where, f"a citation of kind {citation.kind!r} has no URL to give"))
            else:
                out.append(annotation)
        offset += len(text.text)
    return out


def _put(part: Part, out: dict[str, Any], path: str, losses: list[Loss], *, own: bool) -> None:
    """Write a part that has a field of its own; a loss for one that has none."""
    if isinstance(part, Refusal):
        out["refusal"] = (out.get("refusal") or "") + part.text
    elif isinstance(part, Audio):
        out["audio"] = encode_audio(part)
    elif isinstance(part, ToolCall) and own and part.extra.get(FORM) == "function_call":
        out["function_call"] = restore({"name": part.name, "arguments": part.arguments}, part.extra)
        return
    elif isinstance(part, ToolCall) and part.kind != "hosted":
        out.setdefault("tool_calls", []).append(encode_tool_call(part, own=own))
    elif isinstance(part, Image) and (image := encode_part(part)) is not None:
        out.setdefault("images", []).append(image)
    elif own and isinstance(part, Unknown) and part.kind.startswith("tool_calls."):
        out.setdefault("tool_calls", []).append(part.body)
    elif not isinstance(part, Text | Reasoning) and not (own and isinstance(out["content"], list)):
        losses.append(Loss(path, f"a part of kind {type(part).__name__} has no form in an answer here"))
        return
    if not own:
        losses += foreign(getattr(part, "extra", {}), path + ".")
