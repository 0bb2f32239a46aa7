"""Tools, the choice among them, and the shape of the answer, both ways.

`FunctionTool`, `CustomToolParam`, `ToolChoiceParam` and `TextResponseFormatConfiguration` of OpenAI's OpenAPI document.
Tools lie flat here (`name` beside `type`), where Chat Completions nests them; nested ones are read too, since OpenAI
takes them. A function is strict here unless it says otherwise, and nowhere else: another dialect's goes as not strict.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss, Request, ResponseFormat, Tool, ToolChoice
from understudy.dialects.openai_chat.parts import form_of
from understudy.dialects.wire import BOOL, DICT, FORM, LIST, STR, Malformed, expect, foreign, keep, restore, split, take

# --- tools -----------------------------------------------------------------------------------------------------------


def decode_tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    tools = take(rest, "tools", LIST) or ()
    return tuple(_decode_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))


def _decode_tool(value: Any, path: str) -> Tool:
    wire: dict[str, Any] = expect(value, DICT, path)
    kind = expect(wire.get("type"), STR, path + ".type")
    if kind == "function":
        return _decode_function(wire, path)
    if kind == "custom":
        rest, blank = split(wire)
        del rest["type"]
        name = expect(rest.pop("name", None), STR, path + ".name")
        about = take(rest, "description", STR, path + ".")
        grammar: dict[str, Any] | None = None
        match rest.get("format"):
            case {"type": "grammar", **fields}:
                grammar = {str(key): field for key, field in fields.items()}
                del rest["format"]
            case {"type": "text", **fields} if not fields:
                blank["format"] = rest.pop("format")
        return Tool(name, "custom", about, grammar=grammar, extra=keep(rest, blank))
    return Tool(kind, "hosted", extra={key: field for key, field in wire.items() if key != "type"})


def _decode_function(wire: dict[str, Any], path: str) -> Tool:
    form = None
    if isinstance(wire.get("function"), dict):
        form = {"nested": wire["function"], "flat": {key: field for key, field in wire.items() if key != "function"}}
        wire = {**form["flat"], **form["nested"]}
    rest, blank = split(wire)
    rest.pop("type", None)
    name = expect(rest.pop("name", None), STR, path + ".name")
    about = take(rest, "description", STR, path + ".")
    parameters, strict = take(rest, "parameters", DICT, path + "."), take(rest, "strict", BOOL, path + ".")
    if parameters is None and blank.get("parameters") == {}:
        parameters = blank.pop("parameters")
    return Tool(name, "function", about, parameters, strict, extra=keep(rest, blank, form))


def encode_tools(request: Request, out: dict[str, Any], losses: list[Loss], *, own: bool) -> None:
    tools = []
    for i, tool in enumerate(request.tools):
        encoded = _own_tool(tool) if own else _foreign_tool(tool, f"tools[{i}]", losses)
        if encoded is not None:
            tools.append(encoded)
    if tools:
        out["tools"] = tools
    choice = request.tool_choice
    if choice is not None:
        if own:
            out["tool_choice"] = choice.extra.get(FORM) or _write_choice(choice, request.tools)
        elif not tools:
            losses.append(Loss("tool_choice", "there is no tool to choose from"))
        else:
            losses += foreign(choice.extra, "tool_choice.")
            out["tool_choice"] = _write_choice(choice, request.tools)
    if request.parallel_tool_calls is not None:
        if own or tools:
            out["parallel_tool_calls"] = request.parallel_tool_calls
        else:
            losses.append(Loss("parallel_tool_calls", "there is no tool to call"))


def _fields(tool: Tool) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": tool.kind, "name": tool.name, "description": tool.description}
    if tool.kind == "custom":
        fields["format"] = None if tool.grammar is None else {"type": "grammar", **tool.grammar}
    else:
        fields |= {"parameters": tool.parameters, "strict": tool.strict}
    return {key: value for key, value in fields.items() if value is not None}


def _own_tool(tool: Tool) -> dict[str, Any]:
    if tool.kind == "hosted":
        return {"type": tool.name, **tool.extra}
    form = form_of(tool.extra)
    if "nested" in form:
        return {**form["flat"], "function": form["nested"]}
    return restore(_fields(tool), tool.extra)


def _foreign_tool(tool: Tool, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    if tool.kind == "hosted":
        losses.append(Loss(path, f"{tool.name} is a tool that another provider runs itself"))
        return None
    if tool.cache is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    losses += foreign(tool.extra, path + ".")
    out = _fields(tool)
    if tool.kind == "function":
        out.setdefault("parameters", None)
        out["strict"] = strict_or_not(tool.strict, tool.parameters, path, losses) or False
    return out


def strict_or_not(strict: bool | None, schema: dict[str, Any] | None, path: str, losses: list[Loss]) -> bool | None:
    """`strict`, given up where the schema is not of the kind that OpenAI takes as strict."""
    if strict and not fits_strict(schema):
        losses.append(Loss(path + ".strict", "the schema has objects that are open or whose fields are optional"))
        return False
    return strict


def fits_strict(schema: Any) -> bool:
    """Whether every object is closed and all its fields are required, as OpenAI's structured outputs demand."""
    if isinstance(schema, list):
        return all(fits_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties")
    if schema.get("type") == "object" or isinstance(fields, dict):
        required = schema.get("required")
        named = set(fields) if isinstance(fields, dict) else set()
        if schema.get("additionalProperties") is not False or not isinstance(required or [], list):
            return False
        if not named <= {name for name in required or [] if isinstance(name, str)}:
            return False
    inner = [*(fields or {}).values()] if isinstance(fields, dict) else []
    inner += [value for key, value in schema.items() if key in ("items", "anyOf")]
    for key in ("$defs", "definitions"):
        inner += schema[key].values() if isinstance(schema.get(key), dict) else ()
    return all(fits_strict(value) for value in inner)


# --- the choice among them -------------------------------------------------------------------------------------------


def decode_choice(rest: dict[str, Any], tools: tuple[Tool, ...]) -> ToolChoice | None:
    value = rest.pop("tool_choice", None)
    if value is None:
        return None
    choice = _read_choice(value)
    if choice is None:
        raise Malformed("tool_choice", "must be none, auto, required or name a tool")
    return choice if _write_choice(choice, tools) == value else ToolChoice(choice.mode, choice.names, {FORM: value})


def _read_choice(value: Any) -> ToolChoice | None:
    match value:
        case "auto" | "none" | "required":
            return ToolChoice(value)
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(tools)}:
            return ToolChoice(mode, tuple(name for tool in tools if (name := _named(tool)) is not None))
        case dict():
            name = _named(value)
            return None if name is None else ToolChoice("required", (name,))
    return None


def _named(value: Any) -> str | None:
    match value:
        case {"name": str(name)} | {"function": {"name": str(name)}} | {"type": str(name)}:
            return name
    return None


def _write_choice(choice: ToolChoice, tools: tuple[Tool, ...]) -> Any:
    kinds = {tool.name: tool.kind for tool in tools if tool.kind != "hosted"}
    hosted = {tool.name for tool in tools if tool.kind == "hosted"} - kinds.keys()
    named: list[dict[str, Any]] = [
        {"type": name} if name in hosted else {"type": kinds.get(name, "function"), "name": name}
        for name in choice.names
    ]
    if not named or choice.mode == "none":
        return choice.mode
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": named}


# --- the shape of the answer -----------------------------------------------------------------------------------------


def decode_format(text: dict[str, Any]) -> ResponseFormat | None:
    """Removes `format` from `text`, if its type is known."""
    value = text.get("format")
    if not isinstance(value, dict):
        return None
    rest, blank = split(value)
    kind = rest.pop("type", None)
    if kind in ("text", "json_object"):
        del text["format"]
        return ResponseFormat("text" if kind == "text" else "json", extra=keep(rest, blank))
    if kind != "json_schema":
        return None
    del text["format"]
    where = "text.format."
    name, about = take(rest, "name", STR, where), take(rest, "description", STR, where)
    schema, strict = take(rest, "schema", DICT, where), take(rest, "strict", BOOL, where)
    if schema is None and blank.get("schema") == {}:
        schema = blank.pop("schema")
    return ResponseFormat("schema", name, about, schema, strict, keep(rest, blank))


def encode_format(wanted: ResponseFormat, losses: list[Loss], *, own: bool) -> dict[str, Any]:
    if wanted.kind != "schema":
        out: dict[str, Any] = {"type": "text" if wanted.kind == "text" else "json_object"}
    else:
        strict = wanted.strict if own else strict_or_not(wanted.strict, wanted.schema, "response_format", losses)
        fields = {"name": wanted.name, "description": wanted.description, "schema": wanted.schema, "strict": strict}
        out = {"type": "json_schema", **{key: value for key, value in fields.items() if value is not None}}
        if not own:
            out.setdefault("name", "answer")  # required here, and nothing but a label
            out.setdefault("schema", {})
    if own:
        return restore(out, wanted.extra)
    losses += foreign(wanted.extra, "response_format.")
    return out
