"""Requests, both ways. `CreateResponse` of OpenAI's OpenAPI document, and what Open Responses adds (two penalties).

`instructions` is the first message, of the system's. Fields that the canon has no word for (`background`,
`conversation`, `prompt`, `truncation`, `max_tool_calls`, …) stay in `Request.extra` under their own names. A request of
another dialect is sent with `store: false` unless it says otherwise: OpenAI keeps answers here by default, which no
other dialect's client expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from understudy.canon import (
    Caching,
    Loss,
    Message,
    ReasoningEffort,
    Request,
    Sampling,
    Text,
)
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.openai_responses.messages import decode_input, encode_foreign, encode_own
from understudy.dialects.openai_responses.parts import NAME
from understudy.dialects.openai_responses.tools import (
    decode_choice,
    decode_format,
    decode_tools,
    encode_format,
    encode_tools,
)
from understudy.dialects.pairing import paired
from understudy.dialects.wire import (
    BOOL,
    DICT,
    INT,
    LIST,
    NUMBER,
    STR,
    dump,
    expect,
    foreign,
    keep,
    parse,
    restore,
    split,
    take,
)

_RANGES = {"temperature": (0, 2), "top_p": (0, 1)}
_UNKNOWN = ("top_k", "min_p", "repetition_penalty", "logit_bias", "seed", "stop")
_PENALTIES = ("frequency_penalty", "presence_penalty")
"""Sampling that Open Responses takes and OpenAI refuses: sent only if it came in this dialect."""

_LOGPROBS = "message.output_text.logprobs"
_SEALED = "reasoning.encrypted_content"
LEAST_TOKENS = 16
"""OpenAI refuses a smaller `max_output_tokens`."""

MOST_LOGPROBS = 20
TIERS = ("auto", "default", "flex", "scale", "priority")
_RETENTIONS = ("in_memory", "24h")
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_SUMMARIES = ("auto", "concise", "detailed")
_BUDGETS = ((1024, "low"), (8192, "medium"))


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type.

    A body without a model is taken (Azure names it in the URL, a stored prompt has its own): `model` is "" then. So is
    one without input, which a stored prompt or an earlier answer may stand for.
    """
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    form: dict[str, Any] = {}
    messages = _instructions(rest)
    if "input" in rest:
        messages += decode_input(rest.pop("input"))
    elif raw.get("input") is None:
        form["mute"] = True
    stream = bool(take(rest, "stream", BOOL))
    if not stream and raw.get("stream") is False:
        blank["stream"] = False
    model, store = take(rest, "model", STR) or "", take(rest, "store", BOOL)
    sampling = Sampling(
        temperature=take(rest, "temperature", NUMBER),
        top_p=take(rest, "top_p", NUMBER),
        frequency_penalty=take(rest, "frequency_penalty", NUMBER),
        presence_penalty=take(rest, "presence_penalty", NUMBER),
        max_tokens=take(rest, "max_output_tokens", INT),
    )
    if not rest and not blank and not form:  # most calls say nothing more
        return Request(NAME, model, tuple(messages), sampling=sampling, stream=stream, store=store)
    key, retention = take(rest, "prompt_cache_key", STR), take(rest, "prompt_cache_retention", STR)
    tools = decode_tools(rest)
    text = _nested(rest, "text", form)
    return Request(
        dialect=NAME,
        model=model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=decode_choice(rest, tools),
        parallel_tool_calls=take(rest, "parallel_tool_calls", BOOL),
        sampling=sampling,
        response_format=decode_format(text),
        verbosity=take(text, "verbosity", STR, "text."),
        reasoning=_decode_reasoning(rest),
        logprobs=_decode_logprobs(rest, form),
        stream=stream,
        metadata=_metadata(rest),
        user=_user(rest, form),
        caching=Caching(key, retention) if key or retention else None,
        service_tier=take(rest, "service_tier", STR),
        store=store,
        previous=take(rest, "previous_response_id", STR),
        extra=keep({**rest, **({"text": text} if text else {})}, blank, form),
    )


def _instructions(rest: dict[str, Any]) -> list[Message]:
    text = take(rest, "instructions", STR)
    return [] if text is None else [Message("system", (Text(text),), extra=keep({}, {}, {"instructions": True}))]


def _nested(rest: dict[str, Any], key: str, form: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object that is taken apart. What is blank in it is noted, and that it was there at all."""
    value = take(rest, key, DICT)
    if value is None:
        return {}
    said, form[key] = split(value)
    return said


def _decode_reasoning(rest: dict[str, Any]) -> ReasoningEffort | None:
    value = take(rest, "reasoning", DICT)
    if value is None:
        return None
    inner, blank = split(value)
    effort, summary = take(inner, "effort", STR, "reasoning."), take(inner, "summary", STR, "reasoning.")
    form = None
    if summary is None and isinstance(inner.get("generate_summary"), str):  # its name until 2025
        summary, form = inner.pop("generate_summary"), {"summary": "generate_summary"}
    return ReasoningEffort(effort=effort, summary=summary, extra=keep(inner, blank, form))


def _decode_logprobs(rest: dict[str, Any], form: dict[str, Any]) -> int | None:
    """Alternatives per token. `include` asks for log-probabilities, and for reasoning that a client can send back."""
    include = take(rest, "include", LIST) or []
    for i, name in enumerate(include):
        expect(name, STR, f"include[{i}]")
    top: int | None = take(rest, "top_logprobs", INT)
    if include:
        form["include"] = include
        others = [name for name in include if name not in (_LOGPROBS, _SEALED)]
        if others:
            rest["include"] = others
    if top is not None:
        form["top_logprobs"] = top
    return top or 0 if top or _LOGPROBS in include else None


def _metadata(rest: dict[str, Any]) -> dict[str, str] | None:
    value: dict[str, str] | None = take(rest, "metadata", DICT)
    for name, text in (value or {}).items():
        expect(text, STR, f"metadata.{name}")
    return value


def _user(rest: dict[str, Any], form: dict[str, Any]) -> str | None:
    """Who is served: `user`, or `safety_identifier`, which is to take its place."""
    user: str | None = take(rest, "user", STR)
    if user is None and "safety_identifier" in rest:
        user, form["user"] = take(rest, "safety_identifier", STR), "safety_identifier"
    return user


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry."""
    own = request.dialect == NAME
    losses: list[Loss] = []
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    if own:
        messages = _encode_instructions(request, out)
        if messages or not ("mute" in form_of(request.extra) or "input" in request.extra.get("~", ())):
            out["input"] = encode_own(messages, losses)
        losses += _without_place(request, own=True)
        _encode_own(request, out, losses)
        return dump(out), tuple(losses)
    out["input"] = encode_foreign(paired(request.messages, losses), losses)
    _encode_sampling(request.sampling, out, losses)
    _encode_settings(request, out, losses)
    losses += foreign(request.extra, "")
    losses += _without_place(request, own=False)
    encode_tools(request, out, losses, own=False)
    _encode_text(request, out, losses, own=False)
    return dump(out), tuple(losses)


def echo_of(request: Request | None) -> dict[str, Any]:
    """The fields of a request of this dialect that are not its input; of any other, none."""
    out: dict[str, Any] = {}
    if request is not None and request.dialect == NAME:
        _encode_instructions(request, out)
        _encode_own(request, out, [])
    return out


def _encode_text(request: Request, out: dict[str, Any], losses: list[Loss], *, own: bool) -> None:
    text: dict[str, Any] = {}
    if request.response_format is not None:
        text["format"] = encode_format(request.response_format, losses, own=own)
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    if own and "text" in form_of(request.extra):
        text = {**form_of(request.extra)["text"], **text}
    if text:
        out["text"] = text


def _plain(request: Request) -> dict[str, Any]:
    """Fields that need no thought, by their names here; None where they say nothing."""
    caching = request.caching or Caching()
    return {
        "stream": request.stream or None,
        "metadata": request.metadata,
        "prompt_cache_key": caching.key,
        "prompt_cache_retention": caching.retention,
        "service_tier": request.service_tier,
        "store": request.store,
    }


def _encode_instructions(request: Request, out: dict[str, Any]) -> tuple[Message, ...]:
    """Writes `instructions`, if there are any. Returns the messages that are not these."""
    messages = request.messages
    if not messages or "instructions" not in form_of(messages[0].extra):
        return messages
    out["instructions"] = "".join(part.text for part in messages[0].parts if isinstance(part, Text))
    return messages[1:]


def _encode_own(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    """All but the messages."""
    form = form_of(request.extra)
    sampling = request.sampling
    include, top = form.get("include"), form.get("top_logprobs")
    if request.logprobs is not None and not include and top is None:
        include, top = [_LOGPROBS], request.logprobs
    fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "max_output_tokens": sampling.max_tokens,
        "previous_response_id": request.previous,
        form.get("user", "user"): request.user,
        "include": include,
        "top_logprobs": top,
    }
    out |= {key: value for key, value in {**fields, **_plain(request)}.items() if value is not None}
    if request.reasoning is not None:
        wanted = request.reasoning
        summary = form_of(wanted.extra).get("summary", "summary")
        said = {"effort": wanted.effort, summary: wanted.summary}
        out["reasoning"] = restore({key: value for key, value in said.items() if value is not None}, wanted.extra)
    encode_tools(request, out, losses, own=True)
    _encode_text(request, out, losses, own=True)
    restore(out, request.extra)


def _encode_sampling(sampling: Sampling, out: dict[str, Any], losses: list[Loss]) -> None:
    for name, (least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None:
            out[name] = min(max(value, least), most)
            if out[name] != value:
                losses.append(Loss("sampling." + name, f"goes from {least} to {most} here", "approximated"))
    limit = sampling.max_tokens
    if limit is not None:
        out["max_output_tokens"] = max(limit, LEAST_TOKENS)
        if limit < LEAST_TOKENS:
            losses.append(Loss("sampling.max_tokens", f"is at least {LEAST_TOKENS} here", "approximated"))


def _without_place(request: Request, *, own: bool) -> Iterator[Loss]:
    """What no request of this dialect can say."""
    for name in _UNKNOWN if own else (*_UNKNOWN, *_PENALTIES):
        if getattr(request.sampling, name) not in (None, ()):
            yield Loss("sampling." + name, "this dialect has no such setting")
    if request.choices not in (None, 1):
        yield Loss("choices", "there is one answer here")
    for i, kind in enumerate(request.modalities):
        if kind != "text":
            yield Loss(f"modalities[{i}]", f"no {kind} comes back here")


def _encode_settings(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    plain = {"store": False, **{key: value for key, value in _plain(request).items() if value is not None}}
    if plain.get("service_tier") not in (None, *TIERS):
        losses.append(Loss("service_tier", f"no tier is called {plain.pop('service_tier')!r} here"))
    if plain.get("prompt_cache_retention") not in (None, *_RETENTIONS):
        losses.append(Loss("caching.retention", f"{plain.pop('prompt_cache_retention')!r} is no retention here"))
    out |= plain
    if request.user is not None:
        out["user"] = request.user
    if request.previous is not None:
        losses.append(Loss("previous", "names state that another provider holds"))
    if request.logprobs is not None:
        out["include"] = [_LOGPROBS]
        out["top_logprobs"] = min(request.logprobs, MOST_LOGPROBS)
        if request.logprobs > MOST_LOGPROBS:
            losses.append(Loss("logprobs", f"are at most {MOST_LOGPROBS} here", "approximated"))
    if request.reasoning is not None:
        _encode_reasoning(request.reasoning, out, losses)


def _encode_reasoning(wanted: ReasoningEffort, out: dict[str, Any], losses: list[Loss]) -> None:
    effort, summary = wanted.effort, wanted.summary
    if wanted.enabled is False:
        if effort not in (None, "none"):
            losses.append(Loss("reasoning.effort", "thinking is off, which is an effort here"))
        effort = "none"
    elif wanted.enabled and effort is None and wanted.budget is None:
        losses.append(Loss("reasoning.enabled", "a model thinks, or not, by its kind here"))
    if wanted.budget is not None:
        if effort is None:
            effort = next((level for limit, level in _BUDGETS if wanted.budget <= limit), "high")
            losses.append(Loss("reasoning.budget", f"a budget in tokens became effort {effort!r}", "approximated"))
        else:
            losses.append(Loss("reasoning.budget", "there is a level of effort here, no budget"))
    if effort is not None and effort not in _EFFORTS:
        losses.append(Loss("reasoning.effort", f"no effort is called {effort!r} here"))
        effort = None
    if summary is not None and summary not in _SUMMARIES:
        losses.append(Loss("reasoning.summary", f"{summary!r} became 'auto'", "approximated"))
        summary = "auto"
    losses += foreign(wanted.extra, "reasoning.")
    said = {key: value for key, value in (("effort", effort), ("summary", summary)) if value is not None}
    if said:
        out["reasoning"] = said
