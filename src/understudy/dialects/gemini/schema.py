"""Schemas, both ways: Google's `Schema` (a subset of OpenAPI 3.0) is read, JSON Schema is written.

Google takes either: `parameters` and `responseSchema` hold its own `Schema`, whose types are upper-case words and whose
64-bit integers may be strings; `parametersJsonSchema` and `responseJsonSchema` hold JSON Schema. What comes from
another dialect is JSON Schema already, so it goes into the latter. For answers only the keywords below are obeyed
(ai.google.dev/gemini-api/docs/structured-output); for tools there is no such list, and clients send whole schemas.
"""

from __future__ import annotations

from typing import Any

_INTEGERS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_NUMBERED = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object", 7: "null"}
"""Google's parser takes the number of an enumeration's word as well; these are those of its `Type`."""

_NAMED = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "oneOf", "prefixItems")
_NESTED = ("items", "additionalProperties")
_KEPT = frozenset(
    {"$id", "$anchor", "$ref", "type", "format", "title", "description", "enum", "minItems", "maxItems", "minimum"}
    | {"maximum", "required", "propertyOrdering"}
)
_DEEPEST = 64
"""Levels of a schema that are looked at; deeper ones are cut off, and said to be."""


def read_schema(value: Any) -> Any:
    """Google's `Schema` as JSON Schema. What is in another form stays as it is. Raises `RecursionError` on depth."""
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for key, item in value.items():
        if key in ("anyOf", "any_of") and isinstance(item, list):
            out["anyOf"] = [read_schema(each) for each in item]
        elif key == "properties" and isinstance(item, dict):
            out[key] = {name: read_schema(each) for name, each in item.items()}
        elif key == "items":
            out[key] = read_schema(item)
        elif key in _INTEGERS and isinstance(item, str) and item.isascii() and item.isdigit() and len(item) < 19:
            out[key] = int(item)
        elif key == "type" and isinstance(item, str):
            out[key] = item.lower()
        elif key == "type" and type(item) is int and item in _NUMBERED:
            out[key] = _NUMBERED[item]
        elif key != "nullable":
            out["propertyOrdering" if key == "property_ordering" else key] = item
    if value.get("nullable") is True and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    return out


def reduce_schema(schema: Any, dropped: set[str], depth: int = 0) -> Any:
    """JSON Schema with the keywords that hold for answers here; the names of the others are added to `dropped`."""
    if not isinstance(schema, dict):
        return schema
    if depth > _DEEPEST:
        dropped.add("levels beyond the 64th")
        return {}
    source = dict(schema)
    if isinstance(source.get("allOf"), list) and len(source["allOf"]) == 1 and isinstance(source["allOf"][0], dict):
        only = source.pop("allOf")[0]  # what pydantic wraps a reference in to give it a description
        source = {**only, **source}
    if "const" in source and "enum" not in source:
        source["enum"] = [source.pop("const")]
    if isinstance(source.get("$ref"), str):
        source["$ref"] = source["$ref"].replace("#/definitions/", "#/$defs/", 1)
        for key in [key for key in source if not key.startswith("$") and key not in _NAMED]:
            del source[key]  # beside a reference nothing else is read
            dropped.add(key + " beside $ref")
    out: dict[str, Any] = {}
    for key, item in source.items():
        if key in _NAMED and isinstance(item, dict):
            name = "$defs" if key == "definitions" else key
            out[name] = {each: reduce_schema(inner, dropped, depth + 1) for each, inner in item.items()}
        elif key in _LISTED and isinstance(item, list):
            out[key] = [reduce_schema(inner, dropped, depth + 1) for inner in item]
        elif key in _NESTED:
            out[key] = reduce_schema(item, dropped, depth + 1)
        elif key in _KEPT:
            out[key] = item
        else:
            dropped.add(key)
    return out
