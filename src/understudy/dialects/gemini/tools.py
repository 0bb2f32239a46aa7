"""Tools and the choice among them: `tools` and `toolConfig.functionCallingConfig`.

An entry of `tools` holds declarations of functions, one of Google's own tools (`googleSearch`, `codeExecution`, …), or
several of these at once. Which entry a tool came in is noted, so that it goes back there.
"""

from __future__ import annotations

from typing import Any, Literal

from understudy.canon import Loss, Request, Tool, ToolChoice
from understudy.dialects.gemini.schema import read_schema
from understudy.dialects.gemini.spelling import Spelt, camel, form_of, note, own, read
from understudy.dialects.wire import DICT, LIST, STR, expect, foreign, take

_Mode = Literal["auto", "none", "required"]
_MODES: dict[str, _Mode] = {
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
    "VALIDATED": "auto",
    "MODE_UNSPECIFIED": "auto",
}
_WORDS: dict[_Mode, str] = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_DECLARATIONS = "functionDeclarations"


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_tools(value: Any) -> tuple[Tool, ...]:
    out: list[Tool] = []
    for i, entry in enumerate(expect(value, LIST, "tools")):
        path = f"tools[{i}]"
        spelt: Spelt = {}
        for key, item in camel(entry, path, spelt).items():
            named = spelt.get(key, key)
            if key == _DECLARATIONS and item:
                listed = expect(item, LIST, f"{path}.{key}")
                out += [_declaration(each, f"{path}.{key}[{j}]", i, named) for j, each in enumerate(listed)]
            else:
                settings = {"settings": item} if not isinstance(item, dict) else dict(item)
                form = note({}, {}, {}, entry=i, named=named, whole=not isinstance(item, dict))
                out.append(Tool(key, "hosted", extra={**settings, **form}))
    return tuple(out)


def _declaration(value: Any, path: str, entry: int, named: str) -> Tool:
    rest, blank, spelt = read(value, path)
    name = expect(rest.pop("name", None), STR, path + ".name")
    about = take(rest, "description", STR, path + ".")
    form: dict[str, Any] = {"entry": entry, "named": named}
    parameters = None
    if "parametersJsonSchema" in rest and isinstance(rest["parametersJsonSchema"], dict):
        parameters = rest.pop("parametersJsonSchema")
    elif "parameters" in rest:
        written = take(rest, "parameters", DICT, path + ".")
        parameters = read_schema(written)
        form["schema"] = None if parameters == written else written
    return Tool(name, "function", about, parameters, extra=note(rest, blank, spelt, **form))


def decode_choice(value: Any, spelt: Spelt) -> tuple[ToolChoice | None, dict[str, Any]]:
    """The choice, and what else `toolConfig` holds."""
    config = camel(value, "toolConfig", spelt, "toolConfig.")
    if not isinstance(config.get("functionCallingConfig"), dict):
        return None, config
    path, prefix = "toolConfig.functionCallingConfig", "toolConfig.functionCallingConfig."
    inner_spelt: Spelt = {}
    inner = camel(config["functionCallingConfig"], path, inner_spelt, prefix)
    mode = take(inner, "mode", STR, prefix)
    names = take(inner, "allowedFunctionNames", LIST, prefix)
    meant = _MODES.get(mode.upper()) if mode is not None else "auto"
    if meant is None or names == []:
        return None, config  # a word that this version does not know: kept whole
    spelt |= inner_spelt
    del config["functionCallingConfig"]
    allowed = tuple(expect(name, STR, f"{prefix}allowedFunctionNames[{i}]") for i, name in enumerate(names or ()))
    return ToolChoice(meant, allowed, note(inner, {}, {}, mode=False if mode == _WORDS[meant] else mode)), config


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_tools(request: Request, out: dict[str, Any], losses: list[Loss], *, mine: bool) -> None:
    if mine:
        _own_tools(request, out)
        return
    declared = [
        encoded
        for i, tool in enumerate(request.tools)
        if (encoded := _foreign_tool(tool, f"tools[{i}]", losses)) is not None
    ]
    if declared:
        out["tools"] = [{_DECLARATIONS: declared}]
    choice = request.tool_choice
    if choice is not None:
        losses += foreign(choice.extra, "tool_choice.")
        names = [name for name in choice.names if any(tool["name"] == name for tool in declared)]
        losses += [
            Loss("tool_choice.names", f"{name!r} is no function that is sent")
            for name in choice.names
            if name not in names
        ]
        if declared:
            out["toolConfig"] = {"functionCallingConfig": _config(choice.mode, names)}
        else:
            losses.append(Loss("tool_choice", "there is no tool to choose from"))
    if request.parallel_tool_calls is False:
        losses.append(Loss("parallel_tool_calls", "parallel calls cannot be turned off here"))


def _config(mode: _Mode, names: list[str]) -> dict[str, Any]:
    if names and mode == "auto":  # names go with ANY and VALIDATED; the latter may answer in words too
        return {"mode": "VALIDATED", "allowedFunctionNames": names}
    if names and mode == "required":
        return {"mode": "ANY", "allowedFunctionNames": names}
    return {"mode": _WORDS[mode]}


def _foreign_tool(tool: Tool, path: str, losses: list[Loss]) -> dict[str, Any] | None:
    if tool.kind != "function":
        why = f"{tool.name} is a tool that another provider runs itself" if tool.kind == "hosted" else "takes free text"
        losses.append(Loss(path, why))
        return None
    if tool.cache is not None:
        losses.append(Loss(path + ".cache", "prefixes are cached without marks here"))
    if tool.strict:
        losses.append(Loss(path + ".strict", "arguments are not held to their schema"))
    losses += foreign(tool.extra, path + ".")
    out: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.parameters:
        out["parametersJsonSchema"] = tool.parameters
    return out


def _own_tools(request: Request, out: dict[str, Any]) -> None:
    entries: dict[Any, dict[str, Any]] = {}
    for tool in request.tools:
        form = form_of(tool.extra)
        entry = entries.setdefault(form.get("entry"), {})
        if tool.kind == "function":
            entry.setdefault(form.get("named", _DECLARATIONS), []).append(_own_declaration(tool, form))
        else:
            settings = {key: value for key, value in tool.extra.items() if not key.startswith("~")}
            entry[form.get("named", tool.name)] = settings["settings"] if "whole" in form else settings
    if entries:
        out["tools"] = list(entries.values())
    choice = request.tool_choice
    if choice is not None:
        form = form_of(choice.extra)
        mode = form.get("mode", _WORDS[choice.mode])
        inner = {} if mode is None else {"mode": mode}
        if choice.names:
            inner["allowedFunctionNames"] = list(choice.names)
        out["toolConfig"] = {"functionCallingConfig": own(inner, choice.extra)}


def _own_declaration(tool: Tool, form: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.parameters is not None:
        written = form.get("schema")
        if "schema" not in form:
            out["parametersJsonSchema"] = tool.parameters
        elif written is not None and read_schema(written) == tool.parameters:
            out["parameters"] = written
        else:
            out["parameters"] = tool.parameters
    return own(out, tool.extra)
