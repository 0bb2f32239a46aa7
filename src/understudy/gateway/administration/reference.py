"""docs/reference/admin-api.md, from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.gateway.administration import openapi

_HEAD = """# Admin API

Generated from `src/understudy/gateway/administration/table.py` by `make docs`. A running gateway has the same as an
OpenAPI 3.1 document, at `/admin/openapi.json`.

Send a key of `server.admin_keys`, or a virtual key whose role allows it, as `Authorization: Bearer KEY` or
`x-api-key: KEY` ([guide](../guides/keys.md)). Bodies are JSON, and say so in `content-type`. Times are Unix seconds,
durations seconds; null is not known or does not apply, and never 0. A page's `next` is `after` of the following one.

Errors are `{"error": {"message", "type", "param", "code"}}`; what a code means stands [elsewhere](http.md#errors).
Every operation can answer COMMON.
The others that it can are named with it.
"""


def render() -> str:
    """The page, as Markdown."""
    document = openapi.document()
    schemas: Mapping[str, Any] = document["components"]["schemas"]
    asked = {_named(_content(one["requestBody"])) for one in _operations(document) if "requestBody" in one}
    common = frozenset.intersection(*(_codes(operation) for operation in _operations(document)))
    lines = [_HEAD.replace("COMMON", ", ".join(sorted(common)))]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            lines += _operation(f"{method.upper()} {path}", operation, schemas, common)
    lines.append("\n## Shapes\n")
    for name, schema in schemas.items():
        if name not in asked:
            lines += [f"\n### {name}\n", *_described(schema), *_fields(schema)]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for methods in document["paths"].values() for operation in methods.values()]


def _codes(operation: dict[str, Any]) -> frozenset[str]:
    """The codes of its errors, as the document names them: `400`'s description ends in them."""
    refusals = [one["description"] for code, one in operation["responses"].items() if not code.startswith("2")]
    return frozenset(code for text in refusals for code in text.partition(": ")[2].split(", "))


def _operation(title: str, operation: dict[str, Any], schemas: Mapping[str, Any], common: frozenset[str]) -> list[str]:
    lines = [f"\n## `{title}`\n", f"{operation['summary']}. {operation['description']}\n"]
    if "parameters" in operation:
        lines += ["| parameter | | |", "|---|---|---|"]
        lines += [f"| `{one['name']}` | {_type(one['schema'])} | {_words(one)} |" for one in operation["parameters"]]
        lines.append("")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        lines += _fields(schemas[_named(content["schema"])])
        lines.append(f"For instance `{msgspec.json.encode(content['example']).decode()}`.\n")
    good = next(code for code in operation["responses"] if code.startswith("2"))
    bodies = operation["responses"][good]["content"]
    shapes = [f"{_type(one['schema'])} as `{media}`" for media, one in bodies.items()]
    wrong = sorted(_codes(operation) - common)
    errors = f" Errors: {', '.join(wrong)}." if wrong else ""
    lines.append(f"Answers {good} with {' or '.join(shapes)}.{errors}")
    return lines


def _content(body: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = body["content"]["application/json"]["schema"]
    return schema


def _named(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[1]


def _described(schema: dict[str, Any]) -> list[str]:
    text = schema.get("description", "")
    return [text + "\n"] if text else []


def _fields(schema: dict[str, Any]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(one)}{'' if name in schema['required'] else ', optional'} | {_words(one)} |"
        for name, one in schema["properties"].items()
    ]
    return ["| field | | |", "|---|---|---|", *rows, ""]


def _words(one: dict[str, Any]) -> str:
    text = one.get("description", "")
    default = one.get("schema", one).get("default")
    return text if default in (None, "", [], {}, False) else f"{text} Default: {_text(default)}.".strip()


def _text(value: Any) -> str:
    return f"`{msgspec.json.encode(value).decode()}`"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = _named(schema)
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(_text(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "anything"))
