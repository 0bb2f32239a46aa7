"""Tools and the choice among them, both ways. `ToolConfiguration` of the service model.

A `systemTool` is run by AWS itself: `hosted`. There is no way to forbid a call but to send no tools.
"""

from __future__ import annotations

from typing import Any

import msgspec

from understudy.canon import Request, Tool, ToolChoice
from understudy.dialects.bedrock_converse.blocks import cache_point, read_cache_point
from understudy.dialects.wire import (
    BLANKS,
    BOOL,
    DICT,
    LIST,
    STR,
    Malformed,
    expect,
    keep,
    restore,
    split,
    take,
)


def decode_tool_config(value: Any) -> tuple[tuple[Tool, ...], ToolChoice | None, dict[str, Any]]:
    """Tools, the choice, and what else the object holds."""
    rest = dict(expect(value, DICT, "toolConfig"))
    tools: list[Tool] = []
    for i, item in enumerate(take(rest, "tools", LIST, "toolConfig.") or ()):
        cache = read_cache_point(item)
        if cache is not None and tools and tools[-1].cache is None:
            tools[-1] = msgspec.structs.replace(tools[-1], cache=cache)
        else:
            tools.append(_decode(item, f"toolConfig.tools[{i}]"))
    choice = take(rest, "toolChoice", DICT, "toolConfig.")
    return tuple(tools), None if choice is None else _decode_choice(choice), rest


def _decode(value: Any, path: str) -> Tool:
    tool: dict[str, Any] = expect(value, DICT, path)
    system = tool.get("systemTool")
    if isinstance(system, dict) and isinstance(system.get("name"), str):
        return Tool(system["name"], "hosted", extra={BLANKS: {"tool": tool}})
    if "toolSpec" not in tool:
        return Tool(next(iter(tool), ""), "hosted", extra={BLANKS: {"tool": tool}})
    where = path + ".toolSpec"
    rest, blank = split(expect(tool["toolSpec"], DICT, where))
    name = expect(rest.pop("name", None), STR, where + ".name")
    about, strict = take(rest, "description", STR, where + "."), take(rest, "strict", BOOL, where + ".")
    parameters = None
    schema = rest.get("inputSchema")
    if isinstance(schema, dict) and schema.keys() == {"json"} and isinstance(schema["json"], dict):
        parameters = rest.pop("inputSchema")["json"]
    return Tool(name, "function", about, parameters, strict, extra=keep(rest, blank))


def _decode_choice(value: dict[str, Any]) -> ToolChoice:
    match value:
        case {"tool": {"name": str(name)} as named} if len(value) == 1:
            return ToolChoice("required", (name,), {k: v for k, v in named.items() if k != "name"})
        case {"any": dict(inner)} if len(value) == 1:
            return ToolChoice("required", extra=inner)
        case {"auto": dict(inner)} if len(value) == 1:
            return ToolChoice("auto", extra=inner)
    raise Malformed("toolConfig.toolChoice", "must be one of auto, any, tool")


def encode_own(request: Request) -> dict[str, Any]:
    """`toolConfig` of a request of this dialect, empty if there is none."""
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        tools.append(_encode(tool))
        if tool.cache is not None:
            tools.append(cache_point(tool.cache))
    out: dict[str, Any] = {"tools": tools} if tools else {}
    choice = request.tool_choice
    if choice is not None:
        if choice.mode == "required" and choice.names:
            out["toolChoice"] = {"tool": {"name": choice.names[0], **choice.extra}}
        else:
            out["toolChoice"] = {"any" if choice.mode == "required" else "auto": dict(choice.extra)}
    return out


def _encode(tool: Tool) -> dict[str, Any]:
    if tool.kind == "hosted":
        whole: dict[str, Any] = tool.extra.get(BLANKS, {}).get("tool", {"systemTool": {"name": tool.name}})
        return whole
    fields = {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": None if tool.parameters is None else {"json": tool.parameters},
        "strict": tool.strict,
    }
    return {"toolSpec": restore({key: value for key, value in fields.items() if value is not None}, tool.extra)}
