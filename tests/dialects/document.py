"""A JSON value against a schema of an OpenAPI document: what it does not allow, by path.

The keywords that OpenAI's document uses, and those only. Unlike JSON Schema's own rules, a name that no alternative of
an object knows is refused unless the schema says that more may come: the servers refuse it too.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest

SPECS = Path(__file__).parents[2].parent / "shared" / "material" / "specs"

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
UNIONS = ("anyOf", "oneOf")


@functools.cache
def schemas(provider: str) -> dict[str, Any]:
    """The schemas of a provider's document. Skips a test where it is absent."""
    path = SPECS / provider / "openapi.yaml"
    if not path.exists():
        pytest.skip(f"the OpenAPI document of {provider} is not here")
    yaml = pytest.importorskip("yaml")
    document = yaml.load(path.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def depth(found: list[str]) -> int:
    """How far into a value the refusals are: the alternative that fits furthest was meant."""
    return max((why.partition(":")[0].count(".") for why in found), default=0)


class Document:
    """`refusals` of a value. `known` are the document's schemas by name."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known

    def refusals(self, value: Any, name: str) -> list[str]:
        return self._check(value, self._known[name], "")

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._known[schema["$ref"].rpartition("/")[2]]
        return schema

    def _check(self, value: Any, schema: dict[str, Any], path: str, *, whole: bool = True) -> list[str]:
        """`whole`: this schema alone says which names an object may have."""
        nullable = schema.get("nullable")
        schema = self._resolved(schema)
        if value is None and (nullable or schema.get("nullable")):
            return []
        parts = "allOf" in schema or "properties" in schema
        found = [why for part in schema.get("allOf", ()) for why in self._check(value, part, path, whole=False)]
        for union in UNIONS:
            if union in schema:
                options = [one for one in schema[union] if self._may_be(value, one)]
                tried = [self._check(value, one, path, whole=whole and not parts) for one in options]
                if all(tried):
                    none = [f"{path}: {str(value)[:80]!r} is none of the kinds known"]
                    found += min(tried, key=lambda why: (len(why), -depth(why)), default=none)
        found += self._plain(value, schema, path)
        if isinstance(value, dict):
            found += self._object(value, schema, path)
            names = self._names(schema) if whole and parts else None
            found += [f"{path}.{key}: is unknown" for key in value if names is not None and key not in names]
        elif isinstance(value, list):
            found += self._array(value, schema, path)
        return found

    def _plain(self, value: Any, schema: dict[str, Any], path: str) -> list[str]:
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(type(value) in TYPES[kind] for kind in kinds):
            return [f"{path}: {str(value)[:60]!r} is no {' or '.join(kinds)}"]
        if "const" in schema and value != schema["const"]:
            return [f"{path}: {str(value)[:60]!r} is not {schema['const']!r}"]
        if "enum" in schema and value not in schema["enum"]:
            return [f"{path}: {str(value)[:60]!r} is none of {schema['enum'][:8]}"]
        if type(value) in (int, float):
            low, high = schema.get("minimum", value), schema.get("maximum", value)
            return [] if low <= value <= high else [f"{path}: {value} is not from {low} to {high}"]
        if isinstance(value, str):
            if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
                return [f"{path}: {len(value)} characters"]
            if "pattern" in schema and not re.search(schema["pattern"], value):
                return [f"{path}: {value[:60]!r} does not match {schema['pattern']}"]
        return []

    def _object(self, value: dict[str, Any], schema: dict[str, Any], path: str) -> list[str]:
        found = [f"{path}.{key}: is required" for key in schema.get("required", ()) if key not in value]
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties")
        for key, item in value.items():
            if key in properties:
                found += self._check(item, properties[key], f"{path}.{key}")
            elif isinstance(more, dict):
                found += self._check(item, more, f"{path}.{key}")
        return found

    def _array(self, value: list[Any], schema: dict[str, Any], path: str) -> list[str]:
        found = []
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{path}: {len(value)} items")
        items = schema.get("items")
        if isinstance(items, dict):
            found += [why for i, item in enumerate(value) for why in self._check(item, items, f"{path}[{i}]")]
        return found

    def _names(self, schema: dict[str, Any]) -> set[str] | None:
        """All the names that an object may have; None if any will do."""
        schema = self._resolved(schema)
        if schema.get("additionalProperties"):
            return None
        names = set(schema.get("properties", ()))
        for part in [*schema.get("allOf", ()), *(one for union in UNIONS for one in schema.get(union, ()))]:
            more = self._names(part)
            if more is None:
                return None
            names |= more
        return names

    def _may_be(self, value: Any, schema: dict[str, Any]) -> bool:
        """False for an alternative that the word in `type` or `role` rules out: its refusals would say nothing."""
        schema = self._resolved(schema)
        for key in ("type", "role"):
            said = schema.get("properties", {}).get(key, {})
            words = said.get("enum") or ([said["const"]] if "const" in said else None)
            if words and isinstance(value, dict) and key in value and value[key] not in words:
                return False
        return True
