"""JSON schemas reduced to what Anthropic's constrained decoding takes.

After `transform_schema` of Anthropic's Python SDK: objects are closed, `oneOf` becomes `anyOf`, and a constraint that
cannot be enforced (a range, a length, a pattern) is told in the description, where the model may still heed it.
"""

from __future__ import annotations

from typing import Any

from understudy.dialects.wire import dump

_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"])
_KEPT = ("title", "description", "enum", "const")
_DEEPEST = 64
_ANYTHING = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean", "null")]}


def reduce_schema(schema: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The schema that can be sent, and the paths of what is no longer enforced."""
    lost: list[str] = []
    return _reduce(schema, "", lost, 0), lost


def _reduce(schema: Any, path: str, lost: list[str], depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        lost.append(path or ".")
        return dict(_ANYTHING)
    rest = dict(schema)
    out: dict[str, Any] = {}
    for key in ("$defs", "definitions"):
        if isinstance(rest.get(key), dict):
            named = rest.pop(key).items()
            out["$defs"] = {name: _reduce(inner, f"{path}.{key}.{name}", lost, depth + 1) for name, inner in named}
    if isinstance(rest.get("$ref"), str):
        out["$ref"] = rest.pop("$ref").replace("#/definitions/", "#/$defs/", 1)
        lost += [f"{path}.{key}" for key in rest if key not in ("title", "description", "default")]
        return out
    out |= {key: rest.pop(key) for key in _KEPT if key in rest}
    _reduce_kind(rest, out, path, lost, depth)
    rest.pop("$schema", None)
    if rest:
        lost += [f"{path}.{key}" for key in rest if key not in ("default", "examples")]
        note = "{" + ", ".join(f"{key}: {dump(value).decode()}" for key, value in rest.items()) + "}"
        about = out.get("description")
        out["description"] = f"{about}\n\n{note}" if about else note
    return out


def _reduce_kind(rest: dict[str, Any], out: dict[str, Any], path: str, lost: list[str], depth: int) -> None:
    """Move what says the type of a value from `rest` to `out`."""
    for key, name in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if isinstance(rest.get(key), list):
            variants = rest.pop(key)
            out[name] = [_reduce(inner, f"{path}.{key}[{i}]", lost, depth + 1) for i, inner in enumerate(variants)]
            if key == "oneOf":
                lost.append(f"{path}.oneOf")
            rest.pop("type", None)
            return
    kind = rest.pop("type", None)
    if isinstance(kind, list):
        shared = {key: value for key, value in rest.items() if key != "default"}
        rest.clear()
        out["anyOf"] = [
            _reduce({"type": one} if one == "null" else {"type": one, **shared}, path, lost, depth + 1) for one in kind
        ]
    elif "enum" in out or "const" in out:
        return
    elif kind == "object" or (kind is None and "properties" in rest):
        _reduce_object(rest, out, path, lost, depth)
    elif kind == "array":
        out["type"] = "array"
        if "items" in rest:
            out["items"] = _reduce(rest.pop("items"), f"{path}.items", lost, depth + 1)
        if rest.get("minItems") in (0, 1):
            out["minItems"] = rest.pop("minItems")
    elif isinstance(kind, str):
        out["type"] = kind
        if kind == "string" and isinstance(rest.get("format"), str) and rest["format"] in _FORMATS:
            out["format"] = rest.pop("format")
    else:
        lost.append(path or ".")
        out |= _ANYTHING


def _reduce_object(rest: dict[str, Any], out: dict[str, Any], path: str, lost: list[str], depth: int) -> None:
    """A closed object: properties that are not listed cannot be asked for."""
    out["type"] = "object"
    inner = rest.pop("properties", None)
    listed = inner if isinstance(inner, dict) else {}
    out["properties"] = {
        name: _reduce(value, f"{path}.properties.{name}", lost, depth + 1) for name, value in listed.items()
    }
    if rest.pop("additionalProperties", False) is not False:
        lost.append(f"{path}.additionalProperties")
    out["additionalProperties"] = False
    required = rest.pop("required", None)
    if isinstance(required, list):
        out["required"] = required
