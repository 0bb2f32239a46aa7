"""The OpenAPI 3.1 document, made from the table: its schemas are those that requests are checked against."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any

import msgspec

from understudy import __version__
from understudy.access.keys import RIGHTS, Right
from understudy.gateway.administration import answers
from understudy.gateway.administration.endpoint import JSON, Endpoint
from understudy.gateway.administration.examples import ANSWERS
from understudy.gateway.administration.table import PATHS

_TEMPLATE = "#/components/schemas/{name}"

_INTRODUCTION = """What owners and operators ask of a running gateway: how its targets are, what happened, what \
it cost, who may.

Times are Unix seconds, durations seconds. A page's `next` is the `after` of the following one. Keys of \
`server.admin_keys` may do everything here; a virtual key what its role allows. Where no keys are set at all, none is \
asked for, and the gateway listens on this machine alone.
"""

_HEADERS = {
    401: ("www-authenticate", "How to send a key."),
    503: ("retry-after", "Seconds to wait."),
}


@functools.cache
def document() -> dict[str, Any]:
    """The document, as JSON can say it."""
    endpoints = [endpoint for methods in PATHS.values() for endpoint in methods.values()]
    kinds = [*(endpoint.answer for endpoint in endpoints), *(one.body for one in endpoints if one.body is not None)]
    shapes, schemas = msgspec.json.schema_components([*kinds, answers.Failed], ref_template=_TEMPLATE)
    by_kind = dict(zip(map(id, [*kinds, answers.Failed]), shapes, strict=True))
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Understudy's admin API",
            "version": __version__,
            "summary": "Targets, exchanges, usage, keys.",
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that serves this document."}],
        "security": [{"bearer": []}, {"header": []}],
        "paths": {
            path: {method.lower(): _operation(endpoint, by_kind) for method, endpoint in methods.items()}
            for path, methods in PATHS.items()
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The key itself."},
            },
        },
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))  # defaults may be tuples
    return plain


def roles(right: Right) -> str:
    """Who has a right, for people."""
    return ", ".join(f"`{role}`" for role, rights in RIGHTS.items() if right in rights)


def _operation(endpoint: Endpoint, by_kind: dict[int, Any]) -> dict[str, Any]:
    keys = "`server.keys` and `server.admin_keys`" if endpoint.right == "call" else "`server.admin_keys`"
    who = f"For the roles {roles(endpoint.right)}, and keys of {keys}."
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "description": f"{endpoint.description} {who}".strip(),
        "tags": [endpoint.path.split("/")[2] if endpoint.path.count("/") > 1 else "metrics"],
    }
    parameters = [*_parameters(endpoint.place, "path"), *_parameters(endpoint.query, "query")]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content = {"schema": by_kind[id(endpoint.body)], "example": endpoint.example}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    content = {endpoint.media: {"schema": by_kind[id(endpoint.answer)]}}
    if endpoint.name in ANSWERS:
        content[endpoint.media]["example"] = ANSWERS[endpoint.name]
    content |= {media: {"schema": {"type": "string"}, "example": text} for media, text in endpoint.also.items()}
    refusals = {str(status): _refusal(status, codes) for status, codes in sorted(endpoint.refusals().items())}
    good = {"description": HTTPStatus(endpoint.status).phrase, "content": content}
    operation["responses"] = {str(endpoint.status): good, **refusals}
    return operation


def _parameters(kind: type[msgspec.Struct] | None, where: str) -> list[dict[str, Any]]:
    if kind is None:
        return []
    (_,), schemas = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    shape = schemas[kind.__name__]
    found = []
    for name, schema in shape["properties"].items():
        parameter = {
            "name": name,
            "in": where,
            "required": name in shape["required"],
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        found.append(parameter)
    return found


def _refusal(status: int, codes: set[str]) -> dict[str, Any]:
    words = ", ".join(f"`{code}`" for code in sorted(codes))
    refusal: dict[str, Any] = {
        "description": f"{HTTPStatus(status).phrase}: {words}",
        "content": {JSON: {"schema": {"$ref": _TEMPLATE.format(name="Failed")}}},
    }
    if status in _HEADERS:
        name, description = _HEADERS[status]
        refusal["headers"] = {name: {"description": description, "schema": {"type": "string"}}}
    return refusal
