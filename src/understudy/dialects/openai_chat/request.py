"""Requests, both ways. `CreateChatCompletionRequest` of OpenAI's OpenAPI document, and what compatible servers add.

Added: `top_k`, `min_p`, `repetition_penalty` (vLLM, llama.cpp, OpenRouter), `reasoning` (OpenRouter), `thinking`
(DeepSeek, Zhipu). Fields that the canon has no word for (`prediction`, `web_search_options`, `audio`, `provider`, …)
stay in `Request.extra` under their own names.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Caching,
    Loss,
    ReasoningEffort,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from understudy.dialects.openai_chat.messages import decode_messages, encode_messages
from understudy.dialects.openai_chat.parts import NAME
from understudy.dialects.pairing import paired
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

_NUMBERS = ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
_INTEGERS = ("top_k", "seed")
_OURS_ALONE = ("top_k", "min_p", "repetition_penalty")
"""Sampling fields that many compatible servers take and OpenAI refuses: sent only if they came in this dialect."""

RANGES = {"temperature": (0, 2), "top_p": (0, 1), "frequency_penalty": (-2, 2), "presence_penalty": (-2, 2)}
"""What OpenAI takes; another dialect's range may be wider."""

_TIERS = ("auto", "default", "flex", "scale", "priority")
_BUDGETS = ((1024, "low"), (8192, "medium"))


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type.

    A body without a model is taken (Azure names it in the URL): `model` is "" then.
    """
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    if "messages" not in raw:
        raise Malformed("messages", "is required")
    form: list[str] = []
    messages = decode_messages(rest.pop("messages", raw["messages"]))
    blank.pop("messages", None)
    stream = bool(take(rest, "stream", BOOL))
    if not stream and raw.get("stream") is False:
        blank["stream"] = False
    include_usage = _include_usage(rest)
    key, retention = take(rest, "prompt_cache_key", STR), take(rest, "prompt_cache_retention", STR)
    return Request(
        dialect=NAME,
        model=take(rest, "model", STR) or "",
        messages=messages,
        tools=_decode_tools(rest, form),
        tool_choice=_decode_choice(rest, form),
        parallel_tool_calls=take(rest, "parallel_tool_calls", BOOL),
        sampling=_decode_sampling(rest, form),
        response_format=_decode_format(rest),
        reasoning=_decode_reasoning(rest, form),
        verbosity=take(rest, "verbosity", STR),
        logprobs=_decode_logprobs(rest, blank),
        choices=take(rest, "n", INT),
        modalities=tuple(_strings(rest, "modalities")),
        stream=stream,
        include_usage=include_usage,
        metadata=_metadata(rest),
        user=take(rest, "user", STR),
        caching=Caching(key, retention) if key or retention else None,
        service_tier=take(rest, "service_tier", STR),
        store=take(rest, "store", BOOL),
        extra=keep(rest, blank, form),
    )


def _strings(rest: dict[str, Any], key: str) -> list[str]:
    values = take(rest, key, LIST) or []
    return [expect(value, STR, f"{key}[{i}]") for i, value in enumerate(values)]


def _metadata(rest: dict[str, Any]) -> dict[str, str] | None:
    value: dict[str, str] | None = take(rest, "metadata", DICT)
    for name, text in (value or {}).items():
        expect(text, STR, f"metadata.{name}")
    return value


def _include_usage(rest: dict[str, Any]) -> bool | None:
    options = take(rest, "stream_options", DICT)
    if options is None:
        return None
    others = dict(options)
    value: bool | None = take(others, "include_usage", BOOL, "stream_options.")
    if others:
        rest["stream_options"] = others
    return value


def _decode_sampling(rest: dict[str, Any], form: list[str]) -> Sampling:
    limit = take(rest, "max_completion_tokens", INT)
    if limit is None and "max_tokens" in rest:
        limit = take(rest, "max_tokens", INT)
        form.append("max_tokens")
    stop = take(rest, "stop", (str, list))
    if isinstance(stop, str):
        form.append("stop")
        stop = [stop]
    bias = take(rest, "logit_bias", DICT)
    for token, value in (bias or {}).items():
        expect(value, NUMBER, f"logit_bias.{token}")
    return Sampling(
        **{name: take(rest, name, NUMBER) for name in _NUMBERS},
        **{name: take(rest, name, INT) for name in _INTEGERS},
        logit_bias=bias,
        max_tokens=limit,
        stop=tuple(expect(text, STR, f"stop[{i}]") for i, text in enumerate(stop or ())),
    )


def _decode_logprobs(rest: dict[str, Any], blank: dict[str, Any]) -> int | None:
    wanted = take(rest, "logprobs", BOOL)
    if not wanted:
        if wanted is False:
            blank["logprobs"] = False
        return None
    top: int | None = take(rest, "top_logprobs", INT)
    if top == 0:
        blank["top_logprobs"] = 0
    return top or 0


def _decode_format(rest: dict[str, Any]) -> ResponseFormat | None:
    value = take(rest, "response_format", DICT)
    if value is None:
        return None
    others: dict[str, Any] = dict(value)
    kind = others.pop("type", None)
    if kind in ("text", "json_object"):
        return ResponseFormat("text" if kind == "text" else "json", extra=others)
    if kind == "json_schema" and isinstance(others.get("json_schema"), dict):
        inner, where = dict(others.pop("json_schema")), "response_format.json_schema."
        fields = {key: take(inner, key, STR, where) for key in ("name", "description")}
        schema, strict = take(inner, "schema", DICT, where), take(inner, "strict", BOOL, where)
        extra = {**others, "json_schema": inner} if inner else others
        return ResponseFormat("schema", **fields, schema=schema, strict=strict, extra=extra)
    rest["response_format"] = value
    return None


def _decode_reasoning(rest: dict[str, Any], form: list[str]) -> ReasoningEffort | None:
    effort = rest.get("reasoning_effort")
    if effort is not None:
        return ReasoningEffort(effort=take(rest, "reasoning_effort", STR))
    if isinstance(rest.get("reasoning"), dict):
        inner, where = dict(rest.pop("reasoning")), "reasoning."
        form.append("reasoning")
        return ReasoningEffort(
            effort=take(inner, "effort", STR, where),
            budget=take(inner, "max_tokens", INT, where),
            enabled=take(inner, "enabled", BOOL, where),
            summary=take(inner, "summary", STR, where),
            extra=inner,
        )
    thinking = rest.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") in ("enabled", "disabled"):
        others = dict(rest.pop("thinking"))
        form.append("thinking")
        budget, state = take(others, "budget_tokens", INT, "thinking."), others.pop("type")
        return ReasoningEffort(budget=budget, enabled=state == "enabled", extra=others)
    return None


def _decode_tools(rest: dict[str, Any], form: list[str]) -> tuple[Tool, ...]:
    tools = take(rest, "tools", LIST)
    if tools is not None:
        return tuple(_decode_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))
    functions = take(rest, "functions", LIST)
    if functions is None:
        return ()
    form.append("functions")
    return tuple(_decode_function(function, {}, f"functions[{i}]") for i, function in enumerate(functions))


def _decode_tool(value: Any, path: str) -> Tool:
    rest = dict(expect(value, DICT, path))
    kind = expect(rest.pop("type", None), STR, path + ".type")
    if kind == "function" and "function" in rest:
        return _decode_function(rest.pop("function"), rest, path + ".function")
    if kind == "custom" and isinstance(rest.get("custom"), dict):
        inner = dict(rest.pop("custom"))
        name = expect(inner.pop("name", None), STR, path + ".custom.name")
        about = take(inner, "description", STR, path + ".custom.")
        grammar: dict[str, Any] | None = None
        shape = inner.get("format")
        if isinstance(shape, dict) and shape.keys() == {"type", "grammar"} and isinstance(shape["grammar"], dict):
            grammar = inner.pop("format")["grammar"]
        extra = {**rest, "custom": inner} if inner else rest
        return Tool(name, "custom", about, grammar=grammar, extra=extra)
    return Tool(kind, "hosted", extra=rest)


def _decode_function(value: Any, rest: dict[str, Any], path: str) -> Tool:
    inner = dict(expect(value, DICT, path))
    name = expect(inner.pop("name", None), STR, path + ".name")
    about = take(inner, "description", STR, path + ".")
    parameters, strict = take(inner, "parameters", DICT, path + "."), take(inner, "strict", BOOL, path + ".")
    extra = {**rest, "function": inner} if inner else rest
    return Tool(name, "function", about, parameters, strict, extra=extra)


def _decode_choice(rest: dict[str, Any], form: list[str]) -> ToolChoice | None:
    value = rest.pop("tool_choice", None)
    if value is None and "function_call" in rest:
        value = rest.pop("function_call")
        form.append("function_call")
    if value is None:
        return None
    choice = _read_choice(value)
    if choice is None:
        raise Malformed("tool_choice", "must be none, auto, required or name a tool")
    plain = _write_choice(choice, "function_call" in form)
    return choice if plain == value else ToolChoice(choice.mode, choice.names, {FORM: value})


def _read_choice(value: Any) -> ToolChoice | None:
    match value:
        case "auto" | "none":
            return ToolChoice(value)
        case "required" | "any":
            return ToolChoice("required")
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode, "tools": list(tools)}}:
            names = [_named(tool) for tool in tools]
            return ToolChoice(mode, tuple(name for name in names if name is not None))
        case dict():
            name = _named(value)
            return None if name is None else ToolChoice("required", (name,))
    return None


def _named(value: Any) -> str | None:
    match value:
        case {"function": {"name": str(name)}} | {"custom": {"name": str(name)}} | {"name": str(name)}:
            return name
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry."""
    own = request.dialect == NAME
    form = request.extra.get(FORM, ()) if own else ()
    losses: list[Loss] = []
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    out["messages"] = encode_messages(request.messages if own else paired(request.messages, losses), losses, own=own)
    if not own and not out["messages"]:
        raise Malformed("messages", "hold nothing that can be said in this dialect; send the conversation itself")
    _encode_sampling(request.sampling, out, form, losses, own=own)
    _encode_tools(request, out, form, losses, own=own)
    if request.response_format is not None:
        out["response_format"] = _encode_format(request.response_format, losses, own=own)
    if request.reasoning is not None:
        _encode_reasoning(request.reasoning, out, form, losses)
    if request.logprobs is not None:
        out["logprobs"] = True
        if request.logprobs:
            out["top_logprobs"] = request.logprobs
    _encode_settings(request, out, losses, own=own)
    if own:
        restore(out, request.extra)
    else:
        losses += foreign(request.extra, "")
    return dump(out), tuple(losses)


def _encode_settings(request: Request, out: dict[str, Any], losses: list[Loss], *, own: bool) -> None:
    caching = request.caching or Caching()
    tier = request.service_tier
    if tier is not None and not own and tier not in _TIERS:
        losses.append(Loss("service_tier", f"no tier is called {tier!r} here"))
        tier = None
    if caching.retention is not None and not own:
        losses.append(Loss("caching.retention", "is in another provider's words"))
    modalities = list(request.modalities)
    if not own and "image" in modalities and "image" not in request.model:  # models that paint say so in their names
        modalities.remove("image")
        losses.append(Loss("modalities", "answers of this model are text or sound"))
    settings = {
        "verbosity": request.verbosity,
        "n": request.choices,
        "modalities": modalities or None,
        "stream": request.stream or None,
        "stream_options": None if request.include_usage is None else {"include_usage": request.include_usage},
        "metadata": request.metadata,
        "user": request.user,
        "prompt_cache_key": caching.key,
        "prompt_cache_retention": caching.retention if own else None,
        "service_tier": tier,
        "store": request.store,
    }
    out |= {key: value for key, value in settings.items() if value is not None}
    if request.previous is not None:
        losses.append(Loss("previous", "this dialect holds no state: the history has to be sent along"))


def _encode_sampling(sampling: Sampling, out: dict[str, Any], form: Any, losses: list[Loss], *, own: bool) -> None:
    for name in (*_NUMBERS, *_INTEGERS, "logit_bias"):
        value = getattr(sampling, name)
        if value is None:
            continue
        if not own and name in RANGES:
            out[name] = near(name, value, losses)
        elif own or name not in _OURS_ALONE:
            out[name] = value
        else:
            losses.append(Loss("sampling." + name, "this dialect has no such setting"))
    if sampling.max_tokens is not None:
        out["max_tokens" if "max_tokens" in form else "max_completion_tokens"] = sampling.max_tokens
    if sampling.stop:
        single = "stop" in form and len(sampling.stop) == 1
        out["stop"] = sampling.stop[0] if single else list(sampling.stop)


def near(name: str, value: float, losses: list[Loss]) -> float:
    """A figure of the sampling as OpenAI takes it."""
    low, high = RANGES[name]
    found = min(max(value, low), high)
    if found != value:
        losses.append(Loss("sampling." + name, f"is out of range: {found} is sent", "approximated"))
    return found


def _encode_format(wanted: ResponseFormat, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    out: dict[str, Any]
    if wanted.kind == "schema":
        fields = {
            "name": wanted.name,
            "description": wanted.description,
            "schema": wanted.schema,
            "strict": wanted.strict,
        }
        inner = {key: value for key, value in fields.items() if value is not None}
        if not own:
            inner.setdefault("name", "answer")  # required here, and nothing but a label
        out = {"type": "json_schema", "json_schema": inner}
    else:
        out = {"type": "text" if wanted.kind == "text" else "json_object"}
    if own:
        return restore(out, wanted.extra)
    losses += foreign(wanted.extra, "response_format.")
    return out


def _encode_reasoning(wanted: ReasoningEffort, out: dict[str, Any], form: Any, losses: list[Loss]) -> None:
    if "thinking" in form:
        state = {"type": "enabled" if wanted.enabled else "disabled", "budget_tokens": wanted.budget}
        out["thinking"] = restore({key: value for key, value in state.items() if value is not None}, wanted.extra)
        return
    if "reasoning" in form:
        fields = (("effort", wanted.effort), ("max_tokens", wanted.budget), ("enabled", wanted.enabled))
        said = {key: value for key, value in (*fields, ("summary", wanted.summary)) if value is not None}
        out["reasoning"] = restore(said, wanted.extra)
        return
    effort = wanted.effort
    if wanted.budget is not None:
        if effort is None:
            effort = next((level for limit, level in _BUDGETS if wanted.budget <= limit), "high")
            losses.append(Loss("reasoning.budget", f"a budget in tokens became effort {effort!r}", "approximated"))
        else:
            losses.append(Loss("reasoning.budget", "there is a level of effort here, no budget"))
    if effort is not None:
        out["reasoning_effort"] = effort
    if wanted.enabled is not None and (effort is None or (wanted.enabled is False)):
        losses.append(Loss("reasoning.enabled", "thinking cannot be turned on or off here"))
    if wanted.summary is not None:
        losses.append(Loss("reasoning.summary", "whether reasoning is shown cannot be chosen here"))
    losses += foreign(wanted.extra, "reasoning.")


def _encode_tools(request: Request, out: dict[str, Any], form: Any, losses: list[Loss], *, own: bool) -> None:
    legacy = "functions" in form
    tools = []
    for i, tool in enumerate(request.tools):
        encoded = _encode_tool(tool, f"tools[{i}]", losses, own=own)
        if encoded is not None:
            tools.append(encoded["function"] if legacy and "function" in encoded else encoded)
    if tools:
        out["functions" if legacy else "tools"] = tools
    choice = request.tool_choice
    if choice is not None:
        old = "function_call" in form
        wire = choice.extra[FORM] if own and FORM in choice.extra else _write_choice(choice, old, request.tools)
        if own:
            out["function_call" if old else "tool_choice"] = wire
        else:
            losses += foreign(choice.extra, "tool_choice.")
            if tools:
                out["tool_choice"] = wire
            else:
                losses.append(Loss("tool_choice", "there is no tool to choose from"))
    if request.parallel_tool_calls is not None:
        if own or tools:
            out["parallel_tool_calls"] = request.parallel_tool_calls
        else:
            losses.append(Loss("parallel_tool_calls", "there is no tool to call"))


def _encode_tool(tool: Tool, path: str, losses: list[Loss], *, own: bool) -> dict[str, Any] | None:
    if tool.cache is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    if tool.kind == "hosted":
        if own:
            return {"type": tool.name, **tool.extra}
        losses.append(Loss(path, f"{tool.name} is a tool that another provider runs itself"))
        return None
    inner: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        inner["description"] = tool.description
    if tool.kind == "custom":
        if tool.grammar is not None:
            inner["format"] = {"type": "grammar", "grammar": tool.grammar}
    else:
        fields = {"parameters": tool.parameters, "strict": tool.strict}
        inner.update((key, value) for key, value in fields.items() if value is not None)
    out = {"type": tool.kind, tool.kind: inner}
    if own:
        return restore(out, tool.extra)
    losses += foreign(tool.extra, path + ".")
    return out


def _write_choice(choice: ToolChoice, old: bool, tools: tuple[Tool, ...] = ()) -> Any:
    """`tool_choice` on the wire; in the `old` form, which knows functions alone, `function_call`."""
    kinds = {tool.name: tool.kind for tool in tools if tool.kind != "hosted"}
    named = [{"type": (kind := kinds.get(name, "function")), kind: {"name": name}} for name in choice.names]
    if not named or choice.mode == "none":
        return choice.mode
    if choice.mode == "required" and len(named) == 1:
        return {"name": choice.names[0]} if old else named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}
