"""Requests, both ways. `CreateMessageParams` of Anthropic's OpenAPI document, with its beta fields.

A request of this dialect comes back as it was; one of another is fitted to what Anthropic takes. Fields that the canon
has no word for (`container`, `mcp_servers`, `context_management`, `inference_geo`, …) stay in `Request.extra`.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Caching, Loss, ReasoningEffort, Request, ResponseFormat, Sampling
from understudy.dialects.anthropic_messages.history import encode_history
from understudy.dialects.anthropic_messages.messages import decode_messages, decode_system, encode_conversation
from understudy.dialects.anthropic_messages.parts import NAME
from understudy.dialects.anthropic_messages.schema import reduce_schema
from understudy.dialects.anthropic_messages.thinking import encode_sampling, encode_thinking
from understudy.dialects.anthropic_messages.tools import (
    Marks,
    decode_choice,
    decode_tools,
    encode_own_tools,
    encode_tools,
)
from understudy.dialects.wire import (
    BOOL,
    DICT,
    FORM,
    INT,
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

_TIERS = {"auto": "auto", "default": "standard_only"}
_USER_LIMIT = 512
_NOT_HERE = ("min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "seed")
_MOST_MARKS = 4
"""Cache marks that one request may bear (Anthropic's page on prompt caching)."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type.

    A body without `max_tokens` is taken: a count of tokens has none. So is one without a model (Bedrock, Vertex AI).
    """
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    if "messages" not in raw:
        raise Malformed("messages", "is required")
    form: list[str] = []
    messages = decode_messages(rest.pop("messages", raw["messages"]))
    blank.pop("messages", None)
    if "system" in rest:
        messages.insert(0, decode_system(rest.pop("system")))
    stream = bool(take(rest, "stream", BOOL))
    if not stream and raw.get("stream") is False:
        blank["stream"] = False
    model, sampling = take(rest, "model", STR) or "", _decode_sampling(rest)
    if not rest and not blank:  # most calls say nothing more
        return Request(NAME, model, tuple(messages), sampling=sampling, stream=stream)
    choice, parallel = decode_choice(rest)
    user, metadata = _decode_metadata(rest)
    config = dict(take(rest, "output_config", DICT) or {})
    wanted = _decode_format(rest, config, form)
    reasoning = _decode_reasoning(rest, config)
    if config:
        rest["output_config"] = config
    elif "output_config" in raw and raw["output_config"] and reasoning is None and wanted is None:
        blank["output_config"] = raw["output_config"]
    return Request(
        dialect=NAME,
        model=model,
        messages=tuple(messages),
        tools=decode_tools(rest),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        sampling=sampling,
        response_format=wanted,
        reasoning=reasoning,
        stream=stream,
        metadata=metadata,
        user=user,
        service_tier=take(rest, "service_tier", STR),
        extra=keep(rest, blank, form),
    )


def _decode_metadata(rest: dict[str, Any]) -> tuple[str | None, dict[str, str] | None]:
    value = take(rest, "metadata", DICT)
    if value is None:
        return None, None
    others = dict(value)
    user = take(others, "user_id", STR, "metadata.")
    if user is None and "user_id" in value:
        others["user_id"] = None
    if all(isinstance(text, str) for text in others.values()):
        return user, others or None
    rest["metadata"] = others
    return user, None


def _decode_format(rest: dict[str, Any], config: dict[str, Any], form: list[str]) -> ResponseFormat | None:
    for holder, key in ((config, "format"), (rest, "output_format")):
        value = holder.get(key)
        if isinstance(value, dict) and value.get("type") == "json_schema" and isinstance(value.get("schema"), dict):
            others: dict[str, Any] = {name: item for name, item in value.items() if name not in ("type", "schema")}
            del holder[key]
            if key == "output_format":
                form.append(key)
            return ResponseFormat("schema", schema=value["schema"], extra=others)
    return None


def _decode_reasoning(rest: dict[str, Any], config: dict[str, Any]) -> ReasoningEffort | None:
    effort = take(config, "effort", STR, "output_config.")
    thinking = dict(take(rest, "thinking", DICT) or {})
    kind = thinking.pop("type", None)
    budget = take(thinking, "budget_tokens", INT, "thinking.")
    known = (kind == "enabled" and budget is not None) or (kind in ("adaptive", "disabled") and budget is None)
    if not known:
        if kind is not None or budget is not None or thinking:
            rest["thinking"] = {"type": kind, **thinking, **({} if budget is None else {"budget_tokens": budget})}
        return None if effort is None else ReasoningEffort(effort)
    return ReasoningEffort(effort, budget, kind != "disabled", extra=thinking)


def _decode_sampling(rest: dict[str, Any]) -> Sampling:
    stops = take(rest, "stop_sequences", LIST)
    return Sampling(
        temperature=take(rest, "temperature", NUMBER),
        top_p=take(rest, "top_p", NUMBER),
        top_k=take(rest, "top_k", INT),
        max_tokens=take(rest, "max_tokens", INT),
        stop=tuple(expect(text, STR, f"stop_sequences[{i}]") for i, text in enumerate(stops)) if stops else (),
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry.

    `max_tokens` is required here: where another dialect named none, `thinking.py` fills it in.
    """
    losses: list[Loss] = []
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    if request.dialect == NAME:
        _encode_own(request, out, losses)
    else:
        _encode_foreign(request, out, losses)
    return dump(out), tuple(losses)


def _encode_own(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    encode_conversation(request.messages, out, losses)
    sampling = request.sampling
    fields = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": list(sampling.stop) or None,
        "stream": request.stream or None,
        "service_tier": request.service_tier,
    }
    out.update((key, value) for key, value in fields.items() if value is not None)
    encode_own_tools(request, out)
    metadata: dict[str, Any] = dict(request.metadata or {})
    if request.user is not None:
        metadata["user_id"] = request.user
    if metadata:
        out["metadata"] = metadata
    wanted, reasoning = request.response_format, request.reasoning
    config: dict[str, Any] = {}
    if wanted is not None and wanted.kind == "schema":
        shape = restore({"type": "json_schema", "schema": wanted.schema or {}}, wanted.extra)
        if "output_format" in request.extra.get(FORM, ()):
            out["output_format"] = shape
        else:
            config["format"] = shape
    if reasoning is not None:
        if reasoning.effort is not None:
            config["effort"] = reasoning.effort
        if reasoning.enabled is not None:
            out["thinking"] = restore(_thinking(reasoning), reasoning.extra)
    if config:
        out["output_config"] = config
    restore(out, request.extra)
    _lose_settings(request, losses)


def _thinking(reasoning: ReasoningEffort) -> dict[str, Any]:
    if reasoning.enabled is False:
        return {"type": "disabled"}
    if reasoning.budget is None:
        return {"type": "adaptive"}
    return {"type": "enabled", "budget_tokens": reasoning.budget}


def _encode_foreign(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    marks: Marks = []
    encode_tools(request, out, marks, losses)
    system, out["messages"] = encode_history(request.messages, marks, losses)
    if system:
        out["system"] = system
    _spare_marks(marks, losses)
    encode_thinking(request, out, losses)
    encode_sampling(request, out, losses)
    if request.response_format is not None:
        _encode_format(request.response_format, out, losses)
    if request.stream:
        out["stream"] = True
    _encode_identity(request, out, losses)
    _lose_settings(request, losses)
    losses += foreign(request.extra, "")


def _spare_marks(marks: Marks, losses: list[Loss]) -> None:
    """The last marks stay: they cover the longest prefixes."""
    for block, path in marks[:-_MOST_MARKS]:
        block.pop("cache_control", None)
        losses.append(Loss(path, f"a request bears {_MOST_MARKS} cache marks here"))


def _encode_format(wanted: ResponseFormat, out: dict[str, Any], losses: list[Loss]) -> None:
    losses += foreign(wanted.extra, "response_format.")
    if wanted.kind == "text":
        return
    if wanted.kind == "json" or wanted.schema is None:
        losses.append(Loss("response_format", "JSON can be asked for by a schema alone here"))
        return
    schema, lost = reduce_schema(wanted.schema)
    path = "response_format.schema"
    losses += [Loss(path + at, "cannot be enforced here, told in words", "approximated") for at in lost]
    if wanted.description is not None:  # a name is nothing but a label
        losses.append(Loss("response_format.description", "a format has no such field here"))
    if wanted.strict is False:
        losses.append(Loss("response_format.strict", "a schema is always enforced here", "approximated"))
    out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}


def _encode_identity(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    if request.user is not None:
        if len(request.user) <= _USER_LIMIT:
            out["metadata"] = {"user_id": request.user}
        else:
            losses.append(Loss("user", f"is longer than {_USER_LIMIT} characters"))
    if request.metadata:
        losses.append(Loss("metadata", "there is no metadata but the user's id here"))
    tier = request.service_tier
    if tier in _TIERS:
        out["service_tier"] = _TIERS[tier]
        if _TIERS[tier] != tier:
            losses.append(Loss("service_tier", f"{tier} became {_TIERS[tier]}", "approximated"))
    elif tier is not None:
        losses.append(Loss("service_tier", f"no tier is called {tier!r} here"))


def _lose_settings(request: Request, losses: list[Loss]) -> None:
    """What no request of this dialect can say."""
    caching = request.caching or Caching()
    settings = (
        ("verbosity", request.verbosity, "this dialect has no such setting"),
        ("logprobs", request.logprobs, "log-probabilities are not given here"),
        ("choices", None if request.choices == 1 else request.choices, "there is one answer here"),
        ("modalities", set(request.modalities) - {"text"} or None, "answers are text here"),
        ("store", request.store or None, "answers are not stored here"),
        ("previous", request.previous, "this dialect holds no state: the history has to be sent along"),
        ("caching.key", caching.key, "prefixes are cached by marks here"),
        ("caching.retention", caching.retention, "is in another provider's words"),
    )
    losses += [Loss(field, why) for field, value, why in settings if value is not None]
    lost = [name for name in _NOT_HERE if getattr(request.sampling, name) is not None]
    losses += [Loss("sampling." + name, "this dialect has no such setting") for name in lost]
