"""JSON Schema with the keywords that Cohere's structured outputs take.

After its guide (docs.cohere.com/docs/structured-outputs, "Unsupported schema features"): no composition but `anyOf`, no
ranges, no limits on length, and few formats of strings.
"""

from __future__ import annotations

from typing import Any

_REFUSED = frozenset(
    {"allOf", "oneOf", "not", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "minProperties", "maxProperties"}
    | {"if", "then", "else", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas", "contains"}
)
_FORMATS = ("date-time", "uuid", "date", "time")
_NAMED = ("properties", "$defs", "definitions")
_DEEPEST = 64
"""Levels of a schema that are looked at; deeper ones are cut off, and said to be."""


def reduce_schema(schema: Any, dropped: set[str], depth: int = 0) -> Any:
    """`schema` without what is refused; the names of that are added to `dropped`."""
    if not isinstance(schema, dict):
        return schema
    if depth > _DEEPEST:
        dropped.add("levels beyond the 64th")
        return {}
    source = dict(schema)
    if isinstance(source.get("allOf"), list) and len(source["allOf"]) == 1 and isinstance(source["allOf"][0], dict):
        only = source.pop("allOf")[0]  # what pydantic wraps a reference in to give it a description
        source = {**only, **source}
    out: dict[str, Any] = {}
    for key, item in source.items():
        if key in _REFUSED or (key == "format" and item not in _FORMATS):
            dropped.add(key)
        elif key in _NAMED and isinstance(item, dict):
            out[key] = {name: reduce_schema(inner, dropped, depth + 1) for name, inner in item.items()}
        elif key in ("anyOf", "prefixItems") and isinstance(item, list):
            out[key] = [reduce_schema(inner, dropped, depth + 1) for inner in item]
        elif key in ("items", "additionalProperties"):
            out[key] = reduce_schema(item, dropped, depth + 1)
        else:
            out[key] = item
    return out
