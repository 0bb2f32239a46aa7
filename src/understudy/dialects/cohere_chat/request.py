"""Requests, both ways: `POST /v2/chat` of Cohere's API reference.

Ranges are the reference's: temperature from 0 to 1, penalties from 0 to 1, `k` up to 500, `p` from 0.01 to 0.99, five
stop sequences. `strict_tools` holds for all tools at once and wants a required parameter in each. A response format
cannot be combined with tools or documents.
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
from understudy.dialects.cohere_chat.history import encode_history
from understudy.dialects.cohere_chat.messages import decode_messages, encode_messages
from understudy.dialects.cohere_chat.parts import NAME, note
from understudy.dialects.cohere_chat.schema import reduce_schema
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import (
    BOOL,
    DICT,
    INT,
    LIST,
    NUMBER,
    STR,
    Malformed,
    dump,
    expect,
    foreign,
    parse,
    restore,
    split,
    take,
)

_NUMBERS = (
    ("temperature", "temperature"),
    ("p", "top_p"),
    ("frequency_penalty", "frequency_penalty"),
    ("presence_penalty", "presence_penalty"),
)
_INTEGERS = (("k", "top_k"), ("seed", "seed"), ("max_tokens", "max_tokens"))
_RANGES = {
    "temperature": (0, 1),
    "top_p": (0.01, 0.99),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
    "top_k": (0, 500),
    "seed": (0, 2**63 - 1),
    "max_tokens": (1, 2**31 - 1),
}
_UNKNOWN = ("min_p", "repetition_penalty", "logit_bias")
_MOST_STOPS = 5
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type."""
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    if "messages" not in raw:
        raise Malformed("messages", "is required")
    documents = take(rest, "documents", LIST)
    messages = decode_messages(rest.pop("messages", raw["messages"]), documents)
    blank.pop("messages", None)
    stream = bool(take(rest, "stream", BOOL))
    if raw.get("stream") is False:
        blank["stream"] = False
    logprobs = take(rest, "logprobs", BOOL)
    if logprobs is False:
        blank["logprobs"] = False
    stops = take(rest, "stop_sequences", LIST)
    figures = {name: take(rest, key, NUMBER) for key, name in _NUMBERS}
    figures |= {name: take(rest, key, INT) for key, name in _INTEGERS}
    return Request(
        dialect=NAME,
        model=take(rest, "model", STR) or "",
        messages=messages,
        tools=_decode_tools(rest),
        tool_choice=_decode_choice(rest),
        sampling=Sampling(
            **figures, stop=tuple(expect(stop, STR, f"stop_sequences[{i}]") for i, stop in enumerate(stops or ()))
        ),
        response_format=_decode_format(rest),
        reasoning=_decode_thinking(rest),
        logprobs=0 if logprobs else None,
        stream=stream,
        extra=note(rest, blank),
    )


def _decode_tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    listed = take(rest, "tools", LIST)
    if not listed:
        return ()
    strict = take(rest, "strict_tools", BOOL)
    return tuple(_decode_tool(tool, strict, f"tools[{i}]") for i, tool in enumerate(listed))


def _decode_tool(value: Any, strict: bool | None, path: str) -> Tool:
    rest = dict(expect(value, DICT, path))
    kind = rest.pop("type", None)
    if kind != "function" or "function" not in rest:
        raise Malformed(path + ".type", "must be function, with a `function` beside it")
    inner = dict(expect(rest.pop("function"), DICT, path + ".function"))
    where = path + ".function."
    name = expect(inner.pop("name", None), STR, where + "name")
    about, parameters = take(inner, "description", STR, where), take(inner, "parameters", DICT, where)
    if inner:
        rest["function"] = inner
    return Tool(name, "function", about, parameters, strict, extra=rest)


def _decode_choice(rest: dict[str, Any]) -> ToolChoice | None:
    word = take(rest, "tool_choice", STR)
    if word is None:
        return None
    if word.upper() not in ("REQUIRED", "NONE", "AUTO"):
        raise Malformed("tool_choice", "must be REQUIRED or NONE")
    mode: Any = word.lower()
    return ToolChoice(mode, extra=note({}, {}, word=word if word.upper() != word or mode == "auto" else None))


def _decode_format(rest: dict[str, Any]) -> ResponseFormat | None:
    value = take(rest, "response_format", DICT)
    if value is None:
        return None
    others = dict(value)
    kind = others.pop("type", None)
    if kind == "text":
        return ResponseFormat("text", extra=others)
    if kind != "json_object":
        rest["response_format"] = value
        return None
    key = next((key for key in ("json_schema", "schema") if isinstance(others.get(key), dict)), None)
    if key is None:
        return ResponseFormat("json", extra=others)
    schema = others.pop(key)
    return ResponseFormat("schema", schema=schema, extra=note(others, {}, key=None if key == "json_schema" else key))


def _decode_thinking(rest: dict[str, Any]) -> ReasoningEffort | None:
    value = rest.get("thinking")
    if value is None:
        return None
    inner = dict(expect(rest.pop("thinking"), DICT, "thinking"))
    state = inner.pop("type", None)
    if state not in ("enabled", "disabled"):
        raise Malformed("thinking.type", "must be enabled or disabled")
    return ReasoningEffort(
        budget=take(inner, "token_budget", INT, "thinking."), enabled=state == "enabled", extra=inner
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry."""
    mine = request.dialect == NAME
    losses: list[Loss] = []
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    if mine:
        encode_messages(request.messages, out)
    else:
        encode_history(request.messages, out, losses)
    sampling = request.sampling if mine else _within(request.sampling, losses)
    for key, name in (*_NUMBERS, *_INTEGERS):
        if (value := getattr(sampling, name)) is not None:
            out[key] = value
    if sampling.stop:
        out["stop_sequences"] = list(sampling.stop)
    if request.stream:
        out["stream"] = True
    if request.logprobs is not None:
        out["logprobs"] = True
        if request.logprobs and not mine:
            losses.append(Loss("logprobs", "only of the tokens chosen, not of their alternatives", "approximated"))
    if mine:
        _own(request, out)
        return dump(restore(out, request.extra)), ()
    _encode_tools(request, out, losses)
    _encode_format(request, out, losses)
    _encode_thinking(request.reasoning, out, losses)
    _settings(request, losses)
    losses += foreign(request.extra, "")
    return dump(out), tuple(losses)


def _own(request: Request, out: dict[str, Any]) -> None:
    if request.tools:
        out["tools"] = [_function(tool, own=True) for tool in request.tools]
        if request.tools[0].strict is not None:
            out["strict_tools"] = request.tools[0].strict
    choice = request.tool_choice
    if choice is not None:
        out["tool_choice"] = form_of(choice.extra).get("word", choice.mode.upper())
    wanted = request.response_format
    if wanted is not None:
        shape: dict[str, Any] = {"type": "text" if wanted.kind == "text" else "json_object"}
        if wanted.kind == "schema":
            shape[form_of(wanted.extra).get("key", "json_schema")] = wanted.schema
        out["response_format"] = restore(shape, wanted.extra)
    thinking = request.reasoning
    if thinking is not None:
        state: dict[str, Any] = {"type": "enabled" if thinking.enabled else "disabled"}
        if thinking.budget is not None:
            state["token_budget"] = thinking.budget
        out["thinking"] = restore(state, thinking.extra)


def _within(sampling: Sampling, losses: list[Loss]) -> Sampling:
    """The sampling with every figure inside the API's ranges."""
    near: dict[str, Any] = {}
    for name, (low, high) in _RANGES.items():
        value = getattr(sampling, name)
        near[name] = None if value is None else min(max(value, low), high)
        if near[name] != value:
            losses.append(Loss("sampling." + name, f"is out of range: {near[name]} is sent", "approximated"))
    losses += [
        Loss("sampling." + name, "there is no such setting here")
        for name in _UNKNOWN
        if getattr(sampling, name) is not None
    ]
    stops = tuple(stop for stop in sampling.stop if stop)[:_MOST_STOPS]
    if stops != sampling.stop:
        losses.append(Loss("sampling.stop", f"only the first {_MOST_STOPS} that are not empty", "approximated"))
    return Sampling(**near, stop=stops)


def _function(tool: Tool, *, own: bool) -> dict[str, Any]:
    inner: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        inner["description"] = tool.description
    parameters = _FREE_TEXT if tool.kind == "custom" else tool.parameters
    if parameters is not None or not own:
        inner["parameters"] = parameters or {"type": "object", "properties": {}}
    out = {"type": "function", "function": inner}
    return restore(out, tool.extra) if own else out


def _encode_tools(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    choice = request.tool_choice
    names = choice.names if choice is not None and choice.mode != "none" else ()
    tools: list[Tool] = []
    for i, tool in enumerate(request.tools):
        path = f"tools[{i}]"
        if tool.kind == "hosted":
            losses.append(Loss(path, f"{tool.name} is a tool that another provider runs itself"))
            continue
        losses += foreign(tool.extra, path + ".")
        if tool.cache is not None:
            losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
        if tool.kind == "custom":
            losses.append(Loss(path + ".kind", "plain text goes as a field `input` of an object", "approximated"))
        if tool.grammar is not None:
            losses.append(Loss(path + ".grammar", "tools are not held to a grammar here"))
        if names and tool.name not in names:
            losses.append(Loss(path, "left out: a choice among some of the tools is made so here", "approximated"))
            continue
        tools.append(tool)
    if tools:
        out["tools"] = [_function(tool, own=False) for tool in tools]
        _encode_strict(tools, out, losses)
    if choice is not None:
        losses += foreign(choice.extra, "tool_choice.")
        if not tools:
            losses.append(Loss("tool_choice", "there is no tool to choose from"))
        elif choice.mode != "auto":
            out["tool_choice"] = choice.mode.upper()
    if request.parallel_tool_calls is False:
        losses.append(Loss("parallel_tool_calls", "calls are always parallel here"))


def _encode_strict(tools: list[Tool], out: dict[str, Any], losses: list[Loss]) -> None:
    wanted = {tool.strict for tool in tools}
    if wanted == {None}:
        return
    bound = all((tool.parameters or {}).get("required") for tool in tools)
    out["strict_tools"] = wanted == {True} and bound
    if len(wanted) > 1:
        losses.append(Loss("tools.strict", "holds for all tools or none here: for none", "approximated"))
    elif wanted == {True} and not bound:
        losses.append(Loss("tools.strict", "wants a required parameter in each tool here"))


def _encode_format(request: Request, out: dict[str, Any], losses: list[Loss]) -> None:
    wanted = request.response_format
    if wanted is None:
        return
    losses += foreign(wanted.extra, "response_format.")
    if wanted.kind == "text":
        out["response_format"] = {"type": "text"}
        return
    if "tools" in out or "documents" in out:
        losses.append(Loss("response_format", "cannot be combined with tools or documents here"))
        return
    out["response_format"] = {"type": "json_object"}
    if wanted.kind == "json":
        return
    for name in ("name", "description"):
        if getattr(wanted, name) is not None:
            losses.append(Loss(f"response_format.{name}", "a schema has no such label here"))
    if wanted.strict is False:
        losses.append(Loss("response_format.strict", "answers are always held to a schema here", "approximated"))
    schema = wanted.schema or {}
    if schema.get("type") != "object" or not schema.get("required"):
        losses.append(Loss("response_format.schema", "has to be an object with a required field here", "approximated"))
        return
    dropped: set[str] = set()
    out["response_format"]["json_schema"] = reduce_schema(schema, dropped)
    if dropped:
        why = "left out, since they are not taken here: " + ", ".join(sorted(dropped))
        losses.append(Loss("response_format.schema", why, "approximated"))


def _encode_thinking(wanted: ReasoningEffort | None, out: dict[str, Any], losses: list[Loss]) -> None:
    if wanted is None:
        return
    losses += foreign(wanted.extra, "reasoning.")
    if wanted.summary is not None:
        losses.append(Loss("reasoning.summary", "thoughts are always shown here"))
    if wanted.enabled is False or wanted.effort == "none" or wanted.budget == 0:
        out["thinking"] = {"type": "disabled"}
        return
    if wanted.effort is None and wanted.budget is None and not wanted.enabled:
        return
    out["thinking"] = {"type": "enabled"}
    budget = wanted.budget if wanted.budget is not None else _BUDGETS.get(wanted.effort or "")
    if budget is not None:
        out["thinking"]["token_budget"] = budget
    if wanted.effort is not None:
        why = "is a budget of tokens here" if wanted.budget is None else "the budget of tokens beside it holds"
        losses.append(Loss("reasoning.effort", why, "approximated"))


def _settings(request: Request, losses: list[Loss]) -> None:
    caching = request.caching or Caching()
    lost = (
        ("verbosity", request.verbosity, "there is no such setting here"),
        ("choices", request.choices if request.choices != 1 else None, "there is one answer here"),
        ("modalities", request.modalities if request.modalities not in ((), ("text",)) else None, "only text here"),
        ("metadata", request.metadata, "requests carry no labels here"),
        ("user", request.user, "requests name no user here"),
        ("caching.key", caching.key, "prefixes are cached without keys here"),
        ("caching.retention", caching.retention, "is in another provider's words"),
        ("service_tier", request.service_tier, "there are no tiers here"),
        ("store", request.store, "is about another provider's storage"),
        ("previous", request.previous, "this dialect holds no state: the history has to be sent along"),
    )
    losses += [Loss(field, why) for field, value, why in lost if value is not None]
