"""Requests, both ways: `ChatRequest`, `GenerateRequest` and `Options` of Ollama's `api/types.go`.

A request streams unless it says otherwise. A body with `prompt` and without `messages` is one for `/api/generate`: its
`system`, `prompt` and `images` are messages here, the rest of it (`template`, `context`, `raw`, `suffix`) is kept.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import (
    Caching,
    Image,
    Inline,
    Loss,
    Message,
    Part,
    ReasoningEffort,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
)
from understudy.dialects.ollama.messages import NAME, decode_messages, encode_messages, note, take_images
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
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("frequency_penalty", "frequency_penalty"),
    ("presence_penalty", "presence_penalty"),
    ("repeat_penalty", "repetition_penalty"),
)
_INTEGERS = (("top_k", "top_k"), ("seed", "seed"), ("num_predict", "max_tokens"))
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def is_generate(request: Request) -> bool:
    """Whether this is a request to `/api/generate`, which wants its answer in another shape."""
    return request.dialect == NAME and "generate" in form_of(request.extra)


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_request(body: bytes) -> Request:
    """A client's body to canonical. Raises `Malformed`, naming the JSON path, on invalid JSON or a wrong type."""
    raw = expect(parse(body), DICT, "body")
    rest, blank = split(raw)
    generate = "messages" not in raw and "prompt" in raw
    if generate:
        messages = _prompt(rest)
    elif "messages" in raw:
        blank.pop("messages", None)
        messages = decode_messages(rest.pop("messages", raw["messages"]))
    else:
        raise Malformed("messages", "is required")
    stream = take(rest, "stream", BOOL)
    sampling, others = _options(rest)
    logprobs = take(rest, "logprobs", BOOL)
    if logprobs is False:
        blank["logprobs"] = False
    top = take(rest, "top_logprobs", INT) if logprobs else None
    if top == 0:
        blank["top_logprobs"] = 0
    return Request(
        dialect=NAME,
        model=take(rest, "model", STR) or "",
        messages=messages,
        tools=tuple(_decode_tool(tool, f"tools[{i}]") for i, tool in enumerate(take(rest, "tools", LIST) or ())),
        sampling=sampling,
        response_format=_decode_format(rest),
        reasoning=_decode_think(rest),
        logprobs=(top or 0) if logprobs else None,
        stream=stream is not False,
        extra=note(rest, blank, generate=generate, silent=stream is None, options=others or None),
    )


def _prompt(rest: dict[str, Any]) -> tuple[Message, ...]:
    system, prompt = take(rest, "system", STR), take(rest, "prompt", STR)
    said: list[Part] = [Text(prompt)] if prompt is not None else []
    said += take_images(rest)
    first = (Message("system", (Text(system),)),) if system is not None else ()
    return (*first, Message("user", tuple(said)))


def _options(rest: dict[str, Any]) -> tuple[Sampling, dict[str, Any]]:
    """Sampling, and options without meaning (null, no stops); the others stay in `rest`."""
    inner, blank = split(take(rest, "options", DICT) or {})
    where = "options."
    stop = take(inner, "stop", (str, list), where)
    if isinstance(stop, str):
        blank["stop"] = stop
        stop = [stop]
    figures = {name: take(inner, key, NUMBER, where) for key, name in _NUMBERS}
    for key, name in _INTEGERS:
        value = take(inner, key, NUMBER, where)
        if value is not None and (isinstance(value, float) or (key == "num_predict" and value < 0)):
            inner[key], value = value, None  # no limit, in Ollama's words; or a number that it would cut
        figures[name] = value
    if inner:
        rest["options"] = inner
    stops = tuple(expect(text, STR, f"options.stop[{i}]") for i, text in enumerate(stop or ()))
    return Sampling(**figures, stop=stops), blank


def _decode_tool(value: Any, path: str) -> Tool:
    rest = dict(expect(value, DICT, path))
    kind = rest.pop("type", None)
    inner = dict(expect(rest.pop("function", None), DICT, path + ".function"))
    where = path + ".function."
    name = expect(inner.pop("name", None), STR, where + "name")
    about, parameters = take(inner, "description", STR, where), take(inner, "parameters", DICT, where)
    if inner:
        rest["function"] = inner
    return Tool(name, "function", about, parameters, extra=note(rest, {}, untyped=kind is None))


def _decode_format(rest: dict[str, Any]) -> ResponseFormat | None:
    value = take(rest, "format", (str, dict))
    if isinstance(value, dict):
        return ResponseFormat("schema", schema=value)
    if value is not None and value != "json":
        raise Malformed("format", "must be json or a JSON schema")
    return None if value is None else ResponseFormat("json")


def _decode_think(rest: dict[str, Any]) -> ReasoningEffort | None:
    value = take(rest, "think", (bool, str))
    if isinstance(value, str):
        return ReasoningEffort(effort=value, enabled=True)
    return None if value is None else ReasoningEffort(enabled=value)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_request(request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical request as this dialect's body, and what it could not carry."""
    mine = request.dialect == NAME
    form = form_of(request.extra) if mine else {}
    losses: list[Loss] = []
    out: dict[str, Any] = {"model": request.model} if request.model else {}
    prompt = _as_prompt(request.messages) if is_generate(request) else None
    out |= prompt if prompt is not None else {"messages": encode_messages(request.messages, losses, own=mine)}
    if not (request.stream and "silent" in form):
        out["stream"] = request.stream
    _encode_options(request.sampling, form, out, losses)
    _encode_tools(request, out, losses, mine=mine)
    wanted = request.response_format
    if wanted is not None and wanted.kind != "text":
        out["format"] = "json" if wanted.kind == "json" else wanted.schema or {"type": "object"}
    if request.reasoning is not None:
        _encode_think(request.reasoning, out, losses, mine=mine)
    if request.logprobs is not None:
        out["logprobs"] = True
        if request.logprobs:
            out["top_logprobs"] = request.logprobs
    if mine:
        return dump(restore(out, request.extra)), tuple(losses)
    _settings(request, losses)
    losses += foreign(request.extra, "")
    return dump(out), tuple(losses)


def _as_prompt(messages: tuple[Message, ...]) -> dict[str, Any] | None:
    """The fields of a generate request, None if the conversation has become more than a prompt."""
    *before, last = messages
    if last.role != "user" or [message.role for message in before] not in ([], ["system"]):
        return None
    out: dict[str, Any] = {}
    if before:
        out["system"] = "\n".join(part.text for part in before[0].parts if isinstance(part, Text))
    texts = [part.text for part in last.parts if isinstance(part, Text)]
    if texts:
        out["prompt"] = "\n".join(texts)
    images = [part.source.data for part in last.parts if isinstance(part, Image) and isinstance(part.source, Inline)]
    return out | ({"images": images} if images else {})


def _encode_options(sampling: Sampling, form: dict[str, Any], out: dict[str, Any], losses: list[Loss]) -> None:
    blank = dict(form.get("options", {}))
    options = {key: value for key, name in (*_NUMBERS, *_INTEGERS) if (value := getattr(sampling, name)) is not None}
    if sampling.stop:
        options["stop"] = list(sampling.stop)
        if [blank.get("stop")] == options["stop"]:
            options["stop"] = blank["stop"]
    options = {**blank, **options}
    if options:
        out["options"] = options
    if sampling.logit_bias is not None:
        losses.append(Loss("sampling.logit_bias", "there is no such setting here"))


def _encode_tools(request: Request, out: dict[str, Any], losses: list[Loss], *, mine: bool) -> None:
    choice = request.tool_choice
    tools = []
    for i, tool in enumerate(request.tools):
        path = f"tools[{i}]"
        if tool.kind == "hosted":
            losses.append(Loss(path, f"{tool.name} is a tool that another provider runs itself"))
        elif choice is None or choice.mode != "none":
            tools.append(_encode_tool(tool, path, losses, mine=mine))
    if tools:
        out["tools"] = tools
    if choice is not None and choice.mode == "none":
        why = "left out, so that none can be called" if request.tools else "there is no tool to choose from"
        losses.append(Loss("tools" if request.tools else "tool_choice", why, "approximated"))
    elif choice is not None and (choice.mode == "required" or choice.names):
        losses.append(Loss("tool_choice", "the model chooses here"))
    if choice is not None:
        losses += foreign(choice.extra, "tool_choice.")
    if request.parallel_tool_calls is False:
        losses.append(Loss("parallel_tool_calls", "there is no such setting here"))


def _encode_tool(tool: Tool, path: str, losses: list[Loss], *, mine: bool) -> dict[str, Any]:
    inner: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        inner["description"] = tool.description
    parameters = _FREE_TEXT if tool.kind == "custom" else tool.parameters
    if parameters is not None or not mine:
        inner["parameters"] = parameters or {"type": "object", "properties": {}}
    if mine:
        typed = {} if "untyped" in form_of(tool.extra) else {"type": "function"}
        return restore({**typed, "function": inner}, tool.extra)
    losses += foreign(tool.extra, path + ".")
    whys = (
        ("kind", tool.kind == "custom", "plain text goes as a field `input` of an object"),
        ("grammar", tool.grammar, "tools are not held to a grammar here"),
        ("strict", tool.strict, "arguments are not held to a schema here"),
        ("cache", tool.cache, "prefixes are cached without marks here"),
    )
    losses += [Loss(f"{path}.{name}", why) for name, value, why in whys if value]
    return {"type": "function", "function": inner}


def _encode_think(wanted: ReasoningEffort, out: dict[str, Any], losses: list[Loss], *, mine: bool) -> None:
    if mine:
        out["think"] = wanted.effort if wanted.effort is not None else bool(wanted.enabled)
        return
    losses += foreign(wanted.extra, "reasoning.")
    if wanted.summary is not None:
        losses.append(Loss("reasoning.summary", "thoughts are always shown here"))
    if wanted.enabled is False or wanted.effort == "none" or wanted.budget == 0:
        out["think"] = False
        return
    level = _LEVELS.get(wanted.effort or "")
    if level is not None or wanted.enabled or wanted.budget is not None:
        out["think"] = level if level is not None else True
    if wanted.effort is not None and level != wanted.effort:
        losses.append(Loss("reasoning.effort", f"became {level or 'true'}", "approximated"))
    if wanted.budget is not None:
        losses.append(Loss("reasoning.budget", "thoughts have no budget here"))


def _settings(request: Request, losses: list[Loss]) -> None:
    caching, wanted = request.caching or Caching(), request.response_format
    if wanted is not None:
        losses += foreign(wanted.extra, "response_format.")
        for name in ("name", "description"):
            if getattr(wanted, name) is not None:
                losses.append(Loss(f"response_format.{name}", "a schema has no such label here"))
        if wanted.strict is False:
            losses.append(Loss("response_format.strict", "answers are always held to a schema here", "approximated"))
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
