from __future__ import annotations

from typing import Any

import pytest

from understudy.sim.instance import instance

NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "string", "minLength": 12}, "simulated..."),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 18}, 18),
        ({"type": "integer", "exclusiveMinimum": 18}, 19),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "multipleOf": 7}, 7),
        ({"type": "number", "minimum": 0.25, "maximum": 0.75}, 0.75),
        ({"type": "number", "minimum": "wrong"}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "simulated"),
        ({"type": []}, "simulated"),
        ({"enum": ["celsius", "kelvin"]}, "celsius"),
        ({"const": 4}, 4),
        ({"type": "string", "default": "x"}, "x"),
        ({"type": "string", "examples": ["Paris"]}, "Paris"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"properties": {"a": {}, "b": {"type": "integer"}}, "required": ["b", 3]}, {"b": 1}),
        ({"type": "object"}, {}),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"$ref": "#/$defs/c"}, "c": {"type": "boolean"}}}, True),
        ({"$ref": "#/nowhere"}, "simulated"),
        ({"$ref": "#"}, "simulated"),
        ({"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"$ref": "#/$defs/x"}, 3],
          "$defs": {"x": {"properties": {"b": {"const": 2}}, "required": ["b"]}}}, {"a": 1, "b": 2}),
        (True, None),
        ("nonsense", None),
    ],
)  # fmt: skip
def test_a_value_satisfies_its_schema(schema: Any, value: Any) -> None:
    assert instance(schema) == value


def test_a_recursive_schema_comes_to_an_end() -> None:
    value, depth = instance(NODE), 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert depth < 10


def test_a_schema_that_can_only_be_infinite_comes_to_an_end_too() -> None:
    endless = {"type": "object", "properties": {"again": {"$ref": "#"}}, "required": ["again"]}
    assert instance(endless)["again"]["again"]
