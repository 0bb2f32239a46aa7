"""Whole answers, both ways: `GenerateContentResponse` of Google's OpenAPI document, and what Vertex AI adds.

Some recorded servers write enums as protobuf's numbers (`"finishReason": 1`): these are read, and written back as they
came. A finish is `STOP` with calls of functions too; canonical `tool_calls` says which. What the canon has no word for
(`safetyRatings`, `groundingMetadata`, …) stays in the nearest `extra`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from understudy.canon import Answer, Choice, Citation, FinishReason, Loss, Part, Reasoning, Text, TokenLogprob, ToolCall
from understudy.dialects.gemini.contents import Calls, encode_foreign, match_results
from understudy.dialects.gemini.grounding import decode_citations, decode_logprobs, encode_citations, encode_logprobs
from understudy.dialects.gemini.parts import NAME, arguments_of, decode_part, encode_part
from understudy.dialects.gemini.spelling import form_of, note, own, read
from understudy.dialects.gemini.usage import decode_usage, encode_usage
from understudy.dialects.wire import DICT, INT, LIST, STR, Malformed, dump, foreign, parse, take

_NUMBERS = (
    *("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST"),
    *("PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL"),
)
"""The words that protobuf's numbers stand for, in their order."""

_FINISHES: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filtered",
    "RECITATION": "filtered",
    "BLOCKLIST": "filtered",
    "PROHIBITED_CONTENT": "filtered",
    "SPII": "filtered",
    "IMAGE_SAFETY": "filtered",
    "IMAGE_PROHIBITED_CONTENT": "filtered",
    "IMAGE_RECITATION": "filtered",
    "LANGUAGE": "error",
    "OTHER": "error",
    "NO_IMAGE": "error",
    "IMAGE_OTHER": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
}
_WORDS: dict[FinishReason, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "filtered": "SAFETY",
    "refusal": "SAFETY",
    "paused": "OTHER",
    "error": "OTHER",
    "unknown": "OTHER",
}
_YEAR_10000 = 253_402_300_800
BROKEN_CALL = "MALFORMED_FUNCTION_CALL"


# --- pieces shared with streams --------------------------------------------------------------------------------------


def finish_of(reason: str | int, *, calls: bool) -> tuple[FinishReason, str]:
    """Canonical and native finish. `calls` says that the candidate calls functions."""
    known = type(reason) is int and 0 <= reason < len(_NUMBERS)
    word = _NUMBERS[int(reason)] if known else str(reason)
    finish = _FINISHES.get(word, "unknown")
    return ("tool_calls" if finish == "stop" and calls else finish), word


def finish_word(finish: FinishReason, native: str | None, losses: list[Loss], path: str) -> str:
    """The word for a finish that another dialect gave."""
    word = native if native in _FINISHES and _FINISHES[native] == finish else _WORDS[finish]
    if finish in ("refusal", "paused", "unknown", "error") and word == _WORDS[finish]:
        losses.append(Loss(path, f"{finish} became {word}: there is no such word here", "approximated"))
    return word


def created_of(text: Any) -> int | None:
    """Unix seconds of an RFC 3339 time stamp, None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo is not None else None


def created_text(seconds: int | None, losses: list[Loss]) -> str | None:
    """The time stamp of Unix seconds. Some servers give milliseconds: those years do not fit."""
    if seconds is None:
        return None
    if not 0 <= seconds < _YEAR_10000:
        losses.append(Loss("created", "is no time in seconds"))
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def blocked(raw: dict[str, Any]) -> str | None:
    """Why the prompt was refused, if it was."""
    feedback = raw.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    return str(reason) if reason and type(reason) in (str, int) and not raw.get("candidates") else None


def is_function(part: Part) -> bool:
    return isinstance(part, ToolCall) and part.kind != "hosted"


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is none: an error, or a prompt that was blocked."""
    try:
        return _decode(parse(body))
    except RecursionError:
        raise Malformed("body", "is nested too deeply") from None


def _decode(raw: Any) -> Answer:
    rest, blank, spelt = read(raw, "body")
    if "error" in rest:
        raise Malformed("error", "the body is an error")
    if blocked(rest) is not None:
        raise Malformed("promptFeedback.blockReason", "the prompt was blocked: there is no answer")
    if "candidates" not in rest and "candidates" not in blank:
        raise Malformed("candidates", "is required")
    own_id = take(rest, "responseId", STR) or ""
    candidates = take(rest, "candidates", LIST) or ()
    usage = take(rest, "usageMetadata", DICT)
    created = created_of(rest.get("createTime"))
    stamp = rest.pop("createTime") if created is not None else False
    return Answer(
        dialect=NAME,
        id=own_id,
        model=take(rest, "modelVersion", STR) or "",
        choices=tuple(_candidate(candidate, i, own_id) for i, candidate in enumerate(candidates)),
        usage=None if usage is None else decode_usage(usage),
        created=created,
        extra=note(rest, blank, spelt, stamp=stamp),
    )


def _candidate(value: Any, place: int, answer_id: str) -> Choice:
    path = f"candidates[{place}]"
    rest, blank, spelt = read(value, path)
    index = take(rest, "index", INT, path + ".")
    reason = take(rest, "finishReason", (str, int), path + ".")
    parts: list[Part] = []
    message_extra: dict[str, Any] = {}
    if "content" in rest:
        parts, message_extra = _content(rest.pop("content"), path + ".content", f"{answer_id}/{index or place}")
    finish, native = (None, None) if reason is None else finish_of(reason, calls=any(map(is_function, parts)))
    _cite(rest, parts)
    _take_logprobs(rest, parts)
    form = {"unnumbered": index is None, "reason": reason if native != reason else False, "silent": not message_extra}
    return Choice(
        place if index is None else index, tuple(parts), finish, native, note(rest, blank, spelt, **form), message_extra
    )


def _content(value: Any, path: str, seed: str) -> tuple[list[Part], dict[str, Any]]:
    rest, blank, spelt = read(value, path)
    role = take(rest, "role", STR, path + ".")
    listed = take(rest, "parts", LIST, path + ".") or ()
    parts = [decode_part(part, f"{path}.parts[{i}]", f"{seed}/{i}") for i, part in enumerate(listed)]
    return match_results(parts, Calls()), note(rest, blank, spelt, role=role)


def _cite(rest: dict[str, Any], parts: list[Part]) -> None:
    """Put citations on the texts that they stand in. Indices of parts count all parts, thoughts and calls too."""
    texts = [part.text if isinstance(part, Text) else "" for part in parts]
    found: dict[int, list[Citation]] = {}
    for place, citation in decode_citations(rest, texts):
        found.setdefault(place, []).append(citation)
    for place, citations in found.items():
        part = parts[place]
        if isinstance(part, Text):
            parts[place] = msgspec.structs.replace(part, citations=tuple(citations))


def _take_logprobs(rest: dict[str, Any], parts: list[Part]) -> None:
    """Move token log-probabilities to the text, if it is the only part; anything else about them stays."""
    found = rest.get("logprobsResult")
    tokens = decode_logprobs(found) if len(parts) == 1 and isinstance(parts[0], Text) else None
    if tokens is None or found is None:
        return
    parts[0] = msgspec.structs.replace(parts[0], logprobs=tokens)
    others = {key: item for key, item in found.items() if key not in ("chosenCandidates", "topCandidates")}
    del rest["logprobsResult"]
    if others:
        rest["logprobsResult"] = others


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry."""
    mine = answer.dialect == NAME
    losses: list[Loss] = []
    out: dict[str, Any] = {}
    if answer.choices or not mine:
        out["candidates"] = [
            _own_candidate(choice) if mine else _foreign_candidate(choice, f"choices[{i}]", losses)
            for i, choice in enumerate(answer.choices)
        ]
    if answer.usage is not None:
        out["usageMetadata"] = encode_usage(answer.usage, losses, mine=mine)
    stamp = form_of(answer.extra).get("stamp") if mine else None
    created = stamp or created_text(answer.created, losses)
    head = {"modelVersion": answer.model, "responseId": answer.id, "createTime": created}
    out.update((key, value) for key, value in head.items() if value)
    if mine:
        return dump(own(out, answer.extra)), ()
    if answer.service_tier is not None:
        losses.append(Loss("service_tier", "an answer names no tier here"))
    losses += foreign(answer.extra, "")
    return dump(out), tuple(losses)


def _own_candidate(choice: Choice) -> dict[str, Any]:
    form, inner = form_of(choice.extra), form_of(choice.message_extra)
    out: dict[str, Any] = {}
    if "silent" not in form:
        parts = [encoded for part in choice.parts if (encoded := encode_part(part)) is not None]
        content: dict[str, Any] = {"parts": parts} if parts else {}
        role = inner.get("role", "model")
        out["content"] = own(content | ({} if role is None else {"role": role}), choice.message_extra)
    reason = form.get("reason", choice.native_reason)
    if reason is not None:
        out["finishReason"] = reason
    if "unnumbered" not in form:
        out["index"] = choice.index
    tokens = [token for part in choice.parts if isinstance(part, Text) for token in part.logprobs]
    if tokens:
        out["logprobsResult"] = encode_logprobs(tokens)
    return own(out, choice.extra)


def _foreign_candidate(choice: Choice, path: str, losses: list[Loss]) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    tokens: list[TokenLogprob] = []
    cited: list[tuple[int, str, Citation]] = []
    broken = False
    for i, part in enumerate(choice.parts):
        where = f"{path}.parts[{i}]"
        if is_broken(part, where, losses):
            broken = True
            continue
        encoded = encode_answered(part, where, losses)
        if encoded is None:
            continue
        if isinstance(part, Text):
            tokens += part.logprobs
            cited += [(len(parts), part.text, one) for one in citable(part.citations, where, losses, part.text)]
        parts.append(encoded)
    content: dict[str, Any] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    out: dict[str, Any] = {"content": content, "index": choice.index}
    if choice.finish is not None:
        word = finish_word(choice.finish, choice.native_reason, losses, path + ".finish")
        out["finishReason"] = BROKEN_CALL if broken and choice.finish != "length" else word
    if tokens:
        out["logprobsResult"] = encode_logprobs(tokens)
    if cited:
        out["groundingMetadata"] = encode_citations(cited)
    losses += foreign(choice.extra, path + ".")
    losses += foreign(choice.message_extra, path + ".message.")
    return out


def is_broken(part: Part, path: str, losses: list[Loss]) -> bool:
    """Whether `part` is a call whose arguments are no JSON object. It is left out: repaired, it might be run."""
    if not isinstance(part, ToolCall) or part.kind != "function" or arguments_of(part.arguments) is not None:
        return False
    losses.append(Loss(path, "a call whose arguments are no JSON object is not passed on"))
    return True


def encode_answered(part: Part, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    """A part of another dialect's answer. Thoughts go along, unsigned: their signature means nothing to Google."""
    if isinstance(part, Reasoning):
        losses += [
            Loss(f"{path}.{name}", "means nothing to another provider")
            for name in ("signature", "sealed")
            if getattr(part, name) is not None
        ]
        losses += foreign(part.extra, path + ".")
        text = part.text or part.summary or ""
        return {"text": text, "thought": True} if text else None
    return encode_foreign(part, path, losses)


def citable(citations: tuple[Citation, ...], path: str, losses: list[Loss], text: str) -> list[Citation]:
    """The citations that have a URL; a loss for each other, and for those of an empty `text`."""
    if citations and not text:
        losses.append(Loss(path + ".citations", "there is no text that they stand in"))
        return []
    for citation in citations:
        if citation.url is None:
            losses.append(Loss(path + ".citations", f"a citation of kind {citation.kind!r} has no URL to give"))
        elif citation.quote is not None:
            losses.append(Loss(path + ".citations", "what a source says is not quoted here", "approximated"))
    return [citation for citation in citations if citation.url is not None]
