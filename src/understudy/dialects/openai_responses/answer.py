"""Whole answers, both ways. `Response` of OpenAI's OpenAPI document.

A response repeats most of its request. That echo says nothing new, so it is noted under `~echo` and no other dialect
reports it lost; for a client of this dialect it is made up from the request. `native_finish_reason`, OpenRouter's field
of Chat Completions, carries another provider's own word for the end of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.canon import Answer, Choice, Extra, FinishReason, Loss, Part, Request, Started, ToolCall, Usage
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.openai_responses.fault import fault_in
from understudy.dialects.openai_responses.items import decode_item, encode_items, mint_for
from understudy.dialects.openai_responses.parts import NAME
from understudy.dialects.openai_responses.request import TIERS, echo_of
from understudy.dialects.wire import (
    DICT,
    LIST,
    NUMBER,
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

OBJECT = "response"
ECHO = "~echo"

_DEFAULTS: Mapping[str, Any] = {
    "background": False,
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0.0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": None,
}
"""A response's fields where neither request nor answer says more: OpenAI's, and all that Open Responses requires."""

_REPEATED = frozenset(_DEFAULTS) - {"error", "incomplete_details", "service_tier", "usage"} | {
    "input",
    "output_text",
    "prompt",
    "prompt_cache_options",
    "prompt_cache_retention",
    "user",
}
"""The echo: fields of the request, and `output_text` and `completed_at`, which say nothing of an answer's content."""

_ECHOED = _REPEATED - {"input"}

_FINISHES: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "filtered"}
_ENDS: dict[FinishReason, tuple[str, str | None]] = {
    "stop": ("completed", None),
    "tool_calls": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "paused": ("incomplete", "max_output_tokens"),
    "filtered": ("incomplete", "content_filter"),
    "refusal": ("incomplete", "content_filter"),
    "error": ("failed", None),
}

_USAGE = (("input_tokens", "input"), ("output_tokens", "output"), ("total_tokens", "total"))
_INPUT = (("cached_tokens", "cached_read"), ("cache_write_tokens", "cached_write"), ("audio_tokens", "audio_input"))
_OUTPUT = (
    ("reasoning_tokens", "reasoning"),
    ("audio_tokens", "audio_output"),
    ("accepted_prediction_tokens", "accepted_prediction"),
    ("rejected_prediction_tokens", "rejected_prediction"),
)
_GROUPS = (("input_tokens_details", _INPUT), ("output_tokens_details", _OUTPUT))
_REQUIRED = frozenset(("cached_read", "cached_write", "reasoning", "input", "output"))


# --- pieces shared with streams --------------------------------------------------------------------------------------


def decode_usage(value: dict[str, Any]) -> Usage:
    """Counts that are no integers stay in `extra`, as all figures do that the canon has no word for."""
    rest, blank = split(value)
    counts: dict[str, int] = {}
    groups: list[tuple[dict[str, Any], Iterable[tuple[str, str]]]] = [(rest, _USAGE)]
    for group, names in _GROUPS:
        if isinstance(rest.get(group), dict):
            rest[group] = dict(rest[group])
            groups.append((rest[group], names))
    for source, table in groups:
        counts |= {name: source.pop(key) for key, name in table if type(source.get(key)) is int}
    for group, names in _GROUPS:
        if rest.get(group) == {}:
            del rest[group]
            if not any(name in counts for _, name in names):
                blank[group] = {}
    estimated = rest.pop("estimated", False) is True
    return Usage(**counts, estimated=estimated, extra=keep(rest, blank))


def encode_usage(usage: Usage, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    """`usage`; figures that are required here and were not reported are zero."""
    out: dict[str, Any] = _counts(usage, _USAGE, own=own)
    if usage.total is None and (not own or (usage.input is not None and usage.output is not None)):
        out["total_tokens"] = (usage.input or 0) + (usage.output or 0)
    for group, table in _GROUPS:
        counts = _counts(usage, table, own=own)
        if counts:
            out[group] = counts
    if usage.estimated:
        out["estimated"] = True
    if own:
        return restore(out, usage.extra)
    losses += foreign(usage.extra, "usage.")
    return out


def _counts(usage: Usage, table: Iterable[tuple[str, str]], *, own: bool) -> dict[str, int]:
    out: dict[str, int] = {}
    for key, name in table:
        count = getattr(usage, name)
        if count is not None:
            out[key] = count
        elif not own and name in _REQUIRED:
            out[key] = 0
    return out


def finish_of(status: str | None, reason: str | None, parts: Iterable[Part]) -> tuple[FinishReason | None, str | None]:
    """Why it ended, and the provider's word for that; None while it has not."""
    if status == "completed":
        waits = any(isinstance(part, ToolCall) and part.kind != "hosted" for part in parts)
        return ("tool_calls" if waits else "stop"), status
    if status == "incomplete":
        return _FINISHES.get(reason or "", "unknown"), reason or status
    return ("error", status) if status in ("failed", "cancelled") else (None, None)


def closing(
    finish: FinishReason | None, native: str | None, losses: list[Loss] | None = None, path: str = ""
) -> dict[str, Any]:
    """`status`, and what else says how a response ended."""
    if finish is None:
        return {"status": "in_progress"}
    status, reason = _ENDS.get(finish, ("incomplete", native or finish))
    out: dict[str, Any] = {"status": status}
    if finish == "error" and native == "cancelled":
        out["status"] = status = native
    if reason is not None:
        out["incomplete_details"] = {"reason": reason}
    if finish in ("paused", "refusal") and losses is not None:
        losses.append(Loss(path, f"{finish} became {reason}: there is no such word here", "approximated"))
    if native not in (None, reason or status):
        out["native_finish_reason"] = native
    return out


def decode_end(raw: dict[str, Any], parts: Iterable[Part]) -> tuple[FinishReason | None, str | None, Extra]:
    """How `raw` ended: finish, native reason, and notes of what `closing` would not write."""
    status, details = take(dict(raw), "status", STR), take(dict(raw), "incomplete_details", DICT)
    reason = (details or {}).get("reason")
    finish, native = finish_of(status, reason if isinstance(reason, str) else None, parts)
    said = take(dict(raw), "native_finish_reason", STR)
    if said is not None and finish is not None:
        native = said
    wire = {key: raw[key] for key in ("status", "incomplete_details", "native_finish_reason") if raw.get(key)}
    extra: Extra = {"error": raw["error"]} if raw.get("error") else {}
    return finish, native, keep(extra, {}, None if closing(finish, native) == wire else {"end": wire})


def encode_end(
    finish: FinishReason | None, native: str | None, extra: Extra, losses: list[Loss], path: str, *, own: bool
) -> dict[str, Any]:
    out = form_of(extra).get("end") if own else None
    out = dict(closing(finish, native, losses, path + ".finish") if out is None else out)
    if own:
        return restore(out, extra)
    losses += foreign(extra, path + ".")
    if out["status"] == "failed":
        out["error"] = {"code": "server_error", "message": "The provider broke off the answer."}
    return out


_END = ("usage", "output", "status", "error", "incomplete_details", "native_finish_reason")


def decode_head(raw: dict[str, Any]) -> dict[str, Any]:
    """Fields of a response that do not change as it grows, as keyword arguments of `Answer` and `Started`."""
    rest, blank = split({key: value for key, value in raw.items() if key not in _END or value is None})
    form: dict[str, Any] = {}
    shape = rest.pop("object", None)
    if shape != OBJECT:
        form["object"] = shape
    created = take(rest, "created_at", NUMBER)
    if type(created) is float:
        form["created_at"] = created  # as some servers count
    fields = {
        "id": take(rest, "id", STR) or "",
        "model": take(rest, "model", STR) or "",
        "created": None if created is None or abs(created) > 2**53 else int(created),
        "service_tier": take(rest, "service_tier", STR),
    }
    echo = {key: rest.pop(key) for key in list(rest) if key in _REPEATED}
    extra = keep(rest, blank, form)
    return {**fields, "extra": {**extra, ECHO: echo} if echo else extra}


def encode_head(head: Answer | Started, request: Request | None, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    """The frame of a response: all but output, usage and end."""
    form = form_of(head.extra) if own else {}
    fields = {
        "id": head.id,
        "object": form.get("object", OBJECT),
        "created_at": form.get("created_at", head.created),
        "model": head.model,
        "service_tier": head.service_tier,
    }
    out = {key: value for key, value in fields.items() if value not in (None, "")}
    if own:
        return restore({**out, **head.extra.get(ECHO, {})}, head.extra)
    losses += foreign(head.extra, "")
    if head.service_tier not in (None, *TIERS):
        losses.append(Loss("service_tier", f"no tier is called {out.pop('service_tier')!r} here"))
    said = {key: value for key, value in echo_of(request).items() if key in _ECHOED and value is not None}
    return {"id": "", "created_at": 0, "model": "", **_DEFAULTS, **said, **out}


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_answer(body: bytes) -> Answer:
    """A provider's body to canonical. Raises `Malformed` on what is no answer, an error in a 200 among it.

    A response that failed is an answer whose finish is `error`; one that is still under way has none.
    """
    raw = expect(parse(body), DICT, "body")
    if "output" not in raw:
        what = "the body is an error" if fault_in(raw) else "is required"
        raise Malformed("error" if fault_in(raw) else "output", what)
    output = expect(raw["output"], LIST, "output")
    parts = [part for i, item in enumerate(output) for part in decode_item(item, f"output[{i}]")]
    finish, native, extra = decode_end(raw, parts)
    usage = raw.get("usage")
    return Answer(
        dialect=NAME,
        choices=(Choice(0, tuple(parts), finish, native, extra),),
        usage=None if usage is None else decode_usage(expect(usage, DICT, "usage")),
        **decode_head(raw),
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_answer(answer: Answer, request: Request | None = None) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer as this dialect's body, and what it could not carry. `request` is what was asked for."""
    own = answer.dialect == NAME
    losses: list[Loss] = []
    out = encode_head(answer, request, losses, own=own)
    choice = answer.choices[0] if answer.choices else Choice(0, ())
    losses += [Loss(f"choices[{i}]", "there is one answer here") for i in range(1, len(answer.choices))]
    end = encode_end(choice.finish, choice.native_reason, choice.extra, losses, "choices[0]", own=own)
    if not own:
        losses += foreign(choice.message_extra, "choices[0].message.")
    out |= {**end, "output": encode_items(choice.parts, "choices[0]", losses, own=own, mint=mint_for(answer.id))}
    if answer.usage is not None:
        out["usage"] = encode_usage(answer.usage, losses, own=own)
    return dump(out), tuple(losses)
