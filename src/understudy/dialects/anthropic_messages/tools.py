"""Tools and the choice among them, both ways. `Tool`, `ToolChoice` and the versioned tools of Anthropic's document.

A versioned tool (`web_search_20250305`, `bash_20250124`) is `hosted`, also where the client runs it: Anthropic wrote
its schema, and nobody else knows it.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import CacheHint, Loss, Request, Tool, ToolChoice
from understudy.dialects.anthropic_messages.parts import cache_mark, put_cache, take_cache, tidy
from understudy.dialects.anthropic_messages.schema import reduce_schema
from understudy.dialects.wire import (
    BOOL,
    DICT,
    FORM,
    LIST,
    STR,
    Malformed,
    expect,
    foreign,
    keep,
    restore,
    split,
    take,
)

NAME_LIMIT = 128
_MODES = {"auto": "auto", "any": "required", "none": "none", "tool": "required"}
_TOP_LEVEL = ("anyOf", "oneOf", "allOf")
FREE_TEXT = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
"""The schema that stands in for a tool that takes plain text."""

Marks = list[tuple[dict[str, Any], str]]
"""Wire objects that bear a cache mark, with their canonical paths, in the order in which they are cached."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    tools = take(rest, "tools", LIST) or ()
    return tuple(_decode_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))


def _decode_tool(value: Any, path: str) -> Tool:
    tool = expect(value, DICT, path)
    rest, blank = split(tool)
    kind = take(rest, "type", STR, path + ".")
    cache = take_cache(rest, blank, path)
    if kind not in (None, "custom"):
        return Tool(kind, "hosted", cache=cache, extra=keep(rest, blank))
    name = expect(rest.pop("name", None), STR, path + ".name")
    about = take(rest, "description", STR, path + ".")
    parameters = take(rest, "input_schema", DICT, path + ".")
    if parameters is None and blank.get("input_schema") == {}:
        parameters = blank.pop("input_schema")
    strict = take(rest, "strict", BOOL, path + ".")
    return Tool(name, "function", about, parameters, strict, cache=cache, extra=keep(rest, blank, kind))


def decode_choice(rest: dict[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    """The tool choice, and whether parallel calls are allowed, None if not said."""
    value = take(rest, "tool_choice", DICT)
    if value is None:
        return None, None
    others = dict(value)
    kind = others.pop("type", None)
    if not isinstance(kind, str) or kind not in _MODES:
        raise Malformed("tool_choice.type", "must be one of " + ", ".join(_MODES))
    disabled = take(others, "disable_parallel_tool_use", BOOL, "tool_choice.")
    names = (expect(others.pop("name", None), STR, "tool_choice.name"),) if kind == "tool" else ()
    mode: Any = _MODES[kind]
    return ToolChoice(mode, names, others), None if disabled is None else not disabled


# --- encoding, this dialect's own ------------------------------------------------------------------------------------


def encode_own_tools(request: Request, out: dict[str, Any]) -> None:
    if request.tools:
        out["tools"] = [_encode_own(tool) for tool in request.tools]
    choice = request.tool_choice
    if choice is None and request.parallel_tool_calls is False and request.tools:
        choice = ToolChoice("auto")
    if choice is not None:
        out["tool_choice"] = restore(_write_choice(choice, request.parallel_tool_calls), choice.extra)


def _encode_own(tool: Tool) -> dict[str, Any]:
    if tool.kind == "hosted":
        out: dict[str, Any] = {"type": tool.name}
    else:
        form = tool.extra.get(FORM)
        fields = {
            "type": form if isinstance(form, str) else None,
            "name": tool.name,
            "description": tool.description,
            "input_schema": FREE_TEXT if tool.kind == "custom" else tool.parameters,
            "strict": tool.strict,
        }
        out = {key: value for key, value in fields.items() if value is not None}
    put_cache(out, tool.cache, tool.extra)
    return restore(out, tool.extra)


def _write_choice(choice: ToolChoice, parallel: bool | None) -> dict[str, Any]:
    out: dict[str, Any]
    if choice.mode == "required" and len(choice.names) == 1:
        out = {"type": "tool", "name": choice.names[0]}
    else:
        out = {"type": "any" if choice.mode == "required" else choice.mode}
    if parallel is not None:
        out["disable_parallel_tool_use"] = not parallel
    return out


# --- encoding, another dialect's -------------------------------------------------------------------------------------


def encode_tools(request: Request, out: dict[str, Any], marks: Marks, losses: list[Loss]) -> None:
    """Write `tools` and `tool_choice`. A choice among some of the tools sends only these."""
    choice = request.tool_choice
    some = set(choice.names) if choice is not None and (len(choice.names) > 1 or choice.mode == "auto") else set()
    tools: list[dict[str, Any]] = []
    for i, tool in enumerate(request.tools):
        if some and tool.name not in some:
            continue
        path = f"tools[{i}]"
        if tool.kind == "hosted":
            losses.append(Loss(path, f"{tool.name} is a tool that another provider runs itself"))
            continue
        wire = _encode_tool(tool, path, losses)
        _mark(tool.cache, wire, path, marks)
        tools.append(wire)
    if tools:
        out["tools"] = tools
    _encode_choice(request, out, losses, sent=bool(tools), some=bool(some))


def _mark(cache: CacheHint | None, wire: dict[str, Any], path: str, marks: Marks) -> None:
    if cache is not None:
        wire["cache_control"] = cache_mark(cache)
        marks.append((wire, path + ".cache"))


def _encode_choice(request: Request, out: dict[str, Any], losses: list[Loss], *, sent: bool, some: bool) -> None:
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if choice is not None:
        losses += foreign(choice.extra, "tool_choice.")
    if not sent:
        if choice is not None and choice.mode != "none":
            losses.append(Loss("tool_choice", "there is no tool to choose from"))
        if parallel is not None:
            losses.append(Loss("parallel_tool_calls", "there is no tool to call"))
        return
    if choice is None and parallel is not False:
        return  # calls may be parallel unless forbidden
    choice = choice or ToolChoice("auto")
    if some:
        losses.append(Loss("tool_choice.names", "only these tools are sent", "approximated"))
    if choice.mode == "none" and parallel is not None:
        losses.append(Loss("parallel_tool_calls", "no tool may be called"))
        parallel = None
    names = tuple(tidy(name, NAME_LIMIT) for name in choice.names)
    out["tool_choice"] = _write_choice(ToolChoice(choice.mode, () if some else names), parallel)


def _encode_tool(tool: Tool, path: str, losses: list[Loss]) -> dict[str, Any]:
    name = tidy(tool.name, NAME_LIMIT)
    if name != tool.name:
        losses.append(Loss(path + ".name", f"became {name}: a name has letters, digits, _ and - here", "approximated"))
    out: dict[str, Any] = {"name": name}
    if tool.description:
        out["description"] = tool.description
    if tool.kind == "custom":
        losses.append(Loss(path + ".kind", "plain text goes as a field `input` of an object", "approximated"))
        if tool.grammar is not None:
            losses.append(Loss(path + ".grammar", "tools are not held to a grammar here"))
        out["input_schema"] = FREE_TEXT
    else:
        out["input_schema"] = _input_schema(tool, path, losses)
    if tool.strict is not None:
        out["strict"] = tool.strict
    losses += foreign(tool.extra, path + ".")
    return out


def _input_schema(tool: Tool, path: str, losses: list[Loss]) -> dict[str, Any]:
    """An object schema, as Anthropic requires, without alternatives at its top; reduced where it is enforced."""
    schema = dict(tool.parameters or {})
    where = path + ".parameters"
    if schema.get("type", "object") != "object":
        losses.append(Loss(where + ".type", "a tool takes an object here", "approximated"))
    schema["type"] = "object"
    if not isinstance(schema.get("properties", {}), dict | None):
        losses.append(Loss(where + ".properties", "is no object"))
        del schema["properties"]
    why = "no alternatives at the top of a tool's schema here"
    losses += [Loss(f"{where}.{key}", why, "approximated") for key in _TOP_LEVEL if schema.pop(key, None)]
    if not tool.strict:
        return schema
    reduced, lost = reduce_schema(schema)
    losses += [Loss(where + at, "cannot be enforced here, told in words", "approximated") for at in lost]
    return reduced
