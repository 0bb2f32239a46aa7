"""Lists of models, in the shape that each client dialect's SDK reads.

Lists of other vendors may stand at OpenAI's path: each SDK is known by a header. Sources: the SDKs' own types and
requests (`openai`, `anthropic`, `google-genai`, `cohere`, `ollama`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

LISTS = ("/v1/models", "/v1beta/models", "/v1beta1/publishers/google/models", "/api/tags")
"""Paths of lists."""

_NAMED = re.compile(r"/(v1|v1beta)/models/(.+)")
_EPOCH = "1970-01-01T00:00:00Z"
"""When a model was made is known for none; SDKs want a date."""

_METHODS = ["generateContent", "streamGenerateContent", "countTokens"]

Headers = Mapping[bytes, bytes]


def named(path: str) -> str | None:
    """The model that a path asks about, None if it is no such path."""
    found = _NAMED.fullmatch(path)
    return found[2] if found and ":" not in found[2].rpartition("/")[2] else _tagged(found)


def _tagged(found: re.Match[str] | None) -> str | None:
    """A model named with a tag (`qwen3:8b`); what Gemini's paths have after a colon is a method."""
    if found is None or found[1] != "v1" or found[2].rpartition(":")[2] in {*_METHODS, "embedContent"}:
        return None
    return found[2]


def listed(path: str, headers: Headers, names: Sequence[str]) -> dict[str, Any]:
    """The list at `path`."""
    if path == "/api/tags":
        return {"models": [_ollama(name) for name in names]}
    if path != "/v1/models" or _is_google(headers):
        return {"models": [_gemini(name) for name in names]}
    if b"anthropic-version" in headers:
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {"first_id": None, "last_id": None}
        return {"data": [_anthropic(name) for name in names], "has_more": False, **ends}
    if _is_cohere(headers):
        return {"models": [_cohere(name) for name in names]}
    return {"object": "list", "data": [_openai(name) for name in names]}


def described(path: str, headers: Headers, name: str) -> dict[str, Any]:
    """One model at `path`."""
    if path.startswith("/v1beta/") or _is_google(headers):
        return _gemini(name)
    if b"anthropic-version" in headers:
        return _anthropic(name)
    return _cohere(name) if _is_cohere(headers) else _openai(name)


def _is_google(headers: Headers) -> bool:
    return b"x-goog-api-client" in headers or b"x-goog-api-key" in headers


def _is_cohere(headers: Headers) -> bool:
    return headers.get(b"x-fern-sdk-name") == b"cohere"


class _Asked(msgspec.Struct):
    model: str = ""
    name: str = ""


def asked(body: bytes) -> str | None:
    """The model that a body of Ollama's `/api/show` asks about."""
    try:
        found = msgspec.json.decode(body, type=_Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found.model or found.name or None


def shown(name: str) -> dict[str, Any]:
    """One model as `/api/show` describes it."""
    return {"details": _details(name), "model_info": {}, "capabilities": ["completion"], "modified_at": _EPOCH}


def _openai(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": name.partition("/")[0] if "/" in name else "route"}


def _anthropic(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}


def _gemini(name: str) -> dict[str, Any]:
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": _METHODS}


def _cohere(name: str) -> dict[str, Any]:
    return {"name": name, "endpoints": ["chat"]}


def _ollama(name: str) -> dict[str, Any]:
    return {"name": name, "model": name, "modified_at": _EPOCH, "size": 0, "digest": "", "details": _details(name)}


def _details(name: str) -> dict[str, Any]:
    return {
        "parent_model": "", "format": "", "family": name.partition("/")[0], "families": None, "parameter_size": "",
        "quantization_level": "",
    }  # fmt: skip
