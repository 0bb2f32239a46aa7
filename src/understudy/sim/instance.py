"""A small value that satisfies a JSON schema: what the simulated model answers when the answer must have a shape.

Covers what structured outputs and tool definitions use: types, enums, constants, references, unions, bounds. It does
not invert `pattern`, and it ignores `not`, `if` and `dependentSchemas`: no provider's strict mode accepts those.
"""

from __future__ import annotations

import math
from typing import Any

_DEEP = 6
"""Levels after which a union prefers its plainest member, so that a recursive schema comes to an end."""

_DEEPEST = 48

_FORMATS = {
    "date": "2025-01-01",
    "date-time": "2025-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Any, text: str = "simulated") -> Any:
    """A minimal value for `schema`; strings without a format or an enum are `text`.

    >>> instance({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    {'city': 'simulated'}
    """
    return _value(schema, schema, text, 0)


def _value(schema: Any, root: Any, text: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    schema = _flat(schema, root)
    if "const" in schema:
        return schema["const"]
    for listed in ("enum", "examples"):
        if isinstance(schema.get(listed), list) and schema[listed]:
            return schema[listed][0]
    if "default" in schema:
        return schema["default"]
    for union in ("anyOf", "oneOf"):
        members = schema.get(union)
        if isinstance(members, list) and members:
            return _value(_member(members, depth), root, text, depth + 1)
    return _typed(schema, root, text, depth)


def _flat(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    """`schema` with its reference followed and its `allOf` merged in."""
    for _ in range(_DEEPEST):
        target = schema.get("$ref")
        if not isinstance(target, str):
            break
        schema = {**_follow(target, root), **{k: v for k, v in schema.items() if k != "$ref"}}
    merged = dict(schema)
    for part in schema.get("allOf") or ():
        if isinstance(part, dict):
            other = _follow(part["$ref"], root) if isinstance(part.get("$ref"), str) else part
            properties = {**(merged.get("properties") or {}), **(other.get("properties") or {})}
            required = [*(merged.get("required") or ()), *(other.get("required") or ())]
            merged = {**other, **merged, "properties": properties, "required": required}
    return merged


def _follow(reference: str, root: Any) -> dict[str, Any]:
    node = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}


def _member(members: list[Any], depth: int) -> Any:
    """The first member of a union; deep down the first that cannot recurse."""
    if depth < _DEEP:
        return members[0]
    plain = (m for m in members if isinstance(m, dict) and m.get("type") not in {None, "object", "array"})
    return next(plain, members[0])


def _typed(schema: dict[str, Any], root: Any, text: str, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    match kind:
        case "object":
            return _object(schema, root, text, depth)
        case "array":
            count = min(_whole(schema.get("minItems")), 64)
            return [_value(schema.get("items", {}), root, text, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema, text)


def _object(schema: dict[str, Any], root: Any, text: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    return {name: _value(properties.get(name, {}), root, text, depth + 1) for name in required if isinstance(name, str)}


def _string(schema: dict[str, Any], text: str) -> str:
    if fixed := _FORMATS.get(str(schema.get("format"))):
        return fixed
    least = min(_whole(schema.get("minLength")), 10_000)
    longest = schema.get("maxLength")
    text = text.ljust(least, ".")
    return text[: max(longest, 0)] if isinstance(longest, int) else text


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    """The number nearest to 1 within the bounds, a multiple where one is asked for."""
    low, high = _bound(schema.get("minimum")), _bound(schema.get("maximum"))
    above, below = _bound(schema.get("exclusiveMinimum")), _bound(schema.get("exclusiveMaximum"))
    step = _bound(schema.get("multipleOf")) or (1 if whole else None)
    nudge = step or 0.5
    value: float = 1
    if low is not None or above is not None:
        least = max(b for b in (low, above if above is None else above + nudge) if b is not None)
        value = max(value, least)
    if high is not None or below is not None:
        most = min(b for b in (high, below if below is None else below - nudge) if b is not None)
        value = min(value, most)
    if step:
        multiples = value / step
        value = step * (math.ceil(multiples) if value >= 1 else math.floor(multiples))
    return int(value) if whole else value


def _bound(value: Any) -> float | None:
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if finite else None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
