"""Requests, both ways. `CreateCompletionRequest` of OpenAI's OpenAPI document, and what compatible servers add.

All settings but `prompt` and `logprobs` are those of a chat. `suffix`, `echo` and `best_of` have no word in the canon:
they stay in `Request.extra`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Caching, Loss, Request
from understudy.dialects import openai_chat
from understudy.dialects.openai_chat.request import RANGES, near
from understudy.dialects.openai_completions.answer import NAME
from understudy.dialects.openai_completions.prompt import decode_prompt, encode_own, flatten
from understudy.dialects.wire import BLANKS, DICT, INT, Malformed, dump, expect, foreign, parse, restore, take

DEFAULT_MAX_TOKENS = 1024
"""What is asked for where another dialect named no limit: here the default is 16, which cuts every answer short.

It fits, beside a prompt of some length, in the 4,096 tokens of the smallest models that still speak this dialect.
"""

_WITHOUT_MEANING = (("echo", False), ("best_of", 1))
_MOST_STOPS = 4
_MOST_LOGPROBS = 5
_NOT_HERE = ("top_k", "min_p", "repetition_penalty")
_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "seed")


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type."""
    raw = dict(expect(parse(body), DICT, "body"))
    if "prompt" not in raw:
        raise Malformed("prompt", "is required")
    message = decode_prompt(raw.pop("prompt"))
    blank = {key: raw.pop(key) for key, idle in _WITHOUT_MEANING if key in raw and raw[key] in (idle, None)}
    if "logprobs" in raw and raw["logprobs"] is None:
        blank["logprobs"] = raw.pop("logprobs")
    logprobs = take(raw, "logprobs", INT)
    request = openai_chat.decode_request(dump({**raw, "messages": []}))
    extra = dict(request.extra)
    if blank:
        extra[BLANKS] = {**extra.get(BLANKS, {}), **blank}
    return msgspec.structs.replace(request, dialect=NAME, messages=(message,), logprobs=logprobs, extra=extra)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry."""
    losses: list[Loss] = []
    if request.dialect == NAME:
        return dump(_encode_own(request, losses)), tuple(losses)
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    out["prompt"] = flatten(request.messages, losses)
    _encode_sampling(request, out, losses)
    fields = {
        "n": request.choices,
        "stream": request.stream or None,
        "stream_options": None if request.include_usage is None else {"include_usage": request.include_usage},
        "user": request.user,
    }
    out.update((key, value) for key, value in fields.items() if value is not None)
    _lose_settings(request, losses)
    losses += foreign(request.extra, "")
    return dump(out), tuple(losses)


def _encode_own(request: Request, losses: list[Loss]) -> dict[str, Any]:
    prompt = encode_own(request.messages)
    plain = msgspec.structs.replace(request, dialect=openai_chat.NAME, messages=(), logprobs=None, extra={})
    form = {key: value for key, value in request.extra.items() if key.startswith("~") and key != BLANKS}
    body, more = openai_chat.encode_request(msgspec.structs.replace(plain, extra=form))
    losses += more
    out: dict[str, Any] = expect(parse(body), DICT, "body")
    del out["messages"]
    out["prompt"] = flatten(request.messages, losses) if prompt is None else prompt
    if request.logprobs is not None:
        out["logprobs"] = request.logprobs
    return restore(out, request.extra)


def _encode_sampling(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    sampling = request.sampling
    for name in _SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            out[name] = near(name, value, losses) if name in RANGES else value
    why = "this dialect has no such setting"
    losses += [Loss("sampling." + name, why) for name in _NOT_HERE if getattr(sampling, name) is not None]
    out["max_tokens"] = DEFAULT_MAX_TOKENS if sampling.max_tokens is None else sampling.max_tokens
    if sampling.max_tokens is None:
        note = f"became {DEFAULT_MAX_TOKENS}: without a limit an answer ends after 16 tokens here"
        losses.append(Loss("sampling.max_tokens", note, "approximated"))
    if sampling.stop:
        out["stop"] = list(sampling.stop[:_MOST_STOPS])
        if len(sampling.stop) > _MOST_STOPS:
            losses.append(Loss("sampling.stop", f"{_MOST_STOPS} stop sequences are taken here", "approximated"))
    if request.logprobs is not None:
        out["logprobs"] = min(request.logprobs, _MOST_LOGPROBS)
        if request.logprobs > _MOST_LOGPROBS:
            losses.append(Loss("logprobs", f"{_MOST_LOGPROBS} alternatives are given here at most", "approximated"))


def _lose_settings(request: Request, losses: list[Loss]) -> None:
    caching = request.caching or Caching()
    why = "this dialect has no such setting"
    fmt, choice = request.response_format, request.tool_choice
    settings = (
        ("tool_choice", None if choice is None or choice.mode == "none" else choice, "there are no tools here"),
        ("parallel_tool_calls", request.parallel_tool_calls, "there are no tools here"),
        ("response_format", None if fmt is None or fmt.kind == "text" else fmt, "answers are held to no format here"),
        ("reasoning", request.reasoning, why),
        ("verbosity", request.verbosity, why),
        ("modalities", set(request.modalities) - {"text"} or None, "answers are text here"),
        ("metadata", request.metadata or None, why),
        ("caching.key", caching.key, why),
        ("caching.retention", caching.retention, why),
        ("service_tier", request.service_tier, why),
        ("store", request.store, why),
        ("previous", request.previous, "this dialect holds no state: the history has to be sent along"),
    )
    losses += [Loss(f"tools[{i}]", "there are no tools here") for i in range(len(request.tools))]
    losses += [Loss(field, reason) for field, value, reason in settings if value is not None]
