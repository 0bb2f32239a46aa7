"""Embeddings as Google has them: `:embedContent` of one content and `:batchEmbedContents` of many.

Settings stand in each request, at its top or in its `embedContentConfig`: the Gemini API calls the former deprecated,
and the client still writes it there; for Vertex AI it writes the latter. The model's name stands in the path, and again
in requests. Source: the Gemini API's OpenAPI document and the official Python client. `embeddings_vertex.py` has Vertex
AI's older `:predict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.dialects.wire import BLANKS, BOOL, DICT, INT, LIST, STR, dump, expect, keep, parse, split, take
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Input,
    Losses,
    Opaque,
    Purpose,
    finite,
    given,
    texts,
    unsaid,
    written,
)

NAME = "gemini_embed"
BATCH = "gemini_batch"

PURPOSES: Mapping[str, Purpose] = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}
WORDS = {purpose: word for word, purpose in PURPOSES.items()}
_CONFIG = "embedContentConfig"
_RAW = "~raw"
"""Key of `extra` for the body as it came: there are too many places for one setting to note each."""


def decode_request(body: bytes) -> EmbeddingRequest:
    """A body of `:embedContent`."""
    whole = dict(expect(parse(body), DICT, "body"))
    return _request([whole], whole, NAME)


def decode_batch_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    asked = expect(whole.get("requests"), LIST, "requests")
    requests = [dict(expect(one, DICT, f"requests[{i}]")) for i, one in enumerate(asked)]
    return _request(requests, whole, BATCH)


def _request(requests: list[dict[str, Any]], whole: dict[str, Any], name: str) -> EmbeddingRequest:
    first = _settings(requests[0]) if requests else {}
    inputs: list[Input] = []
    for i, one in enumerate(requests):
        content = one.get("content")
        text = _text(expect(content, DICT, f"requests[{i}].content" if name == BATCH else "content"))
        inputs.append(text if _settings(one) == first else Opaque("asked for with settings of its own"))
    rest = dict(first)
    task = take(rest, "taskType", STR)
    purpose = PURPOSES.get(task) if task is not None else None
    if task not in (None, "TASK_TYPE_UNSPECIFIED") and purpose is None:
        rest["taskType"] = task
    said, blank = split(rest)
    extra = keep(said, blank)
    return EmbeddingRequest(
        model=(take(dict(requests[0]), "model", STR) if requests else None) or "",
        inputs=tuple(inputs),
        dimensions=take(said, "outputDimensionality", INT),
        purpose=purpose,
        truncate=take(said, "autoTruncate", BOOL),
        dialect=name,
        extra={**extra, _RAW: whole},
    )


def _settings(request: dict[str, Any]) -> dict[str, Any]:
    """What a request says beside model and content, wherever it says it."""
    config = request.get(_CONFIG)
    beside = {key: value for key, value in request.items() if key not in ("model", "content", _CONFIG)}
    return {**beside, **expect(config, DICT, _CONFIG)} if config is not None else beside


def _text(content: dict[str, Any]) -> Input:
    parts = content.get("parts")
    if isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict):
        only = parts[0].get("text")
        if isinstance(only, str):
            return only
    return Opaque("not a single text")


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """A body of `:batchEmbedContents`, with the model's name in it. Raises `Malformed` on other than texts.

    One of this dialect goes out as it came in, but for the model's name.
    """
    if request.dialect in (NAME, BATCH) and _RAW in request.extra:
        return dump(renamed(request.extra[_RAW], f"models/{request.model}")), ()
    settings = given({
        "taskType": None if request.purpose is None else WORDS[request.purpose],
        "outputDimensionality": request.dimensions,
    })  # fmt: skip
    requests = [
        {"model": f"models/{request.model}", "content": {"parts": [{"text": text}]}, **settings}
        for text in texts(request)
    ]
    return written({"requests": requests}, request, BATCH, unsaid(request, "truncate", "user"))


def renamed(whole: dict[str, Any], model: str | None) -> dict[str, Any]:
    """A request or a batch with `model` where it names one; without any name if `model` is None, as on Vertex AI."""
    out = dict(_renamed(whole, model))
    if isinstance(out.get("requests"), list):
        out["requests"] = [_renamed(one, model) for one in out["requests"]]
    return out


def _renamed(request: Any, model: str | None) -> Any:
    if not isinstance(request, dict) or "model" not in request:
        return request
    rest = {key: value for key, value in request.items() if key != "model"}
    return rest if model is None else {"model": model, **rest}


def decode_answer(body: bytes) -> EmbeddingAnswer:
    """An answer of either path."""
    rest = dict(expect(parse(body), DICT, "body"))
    one = rest.pop("embedding", None)
    listed = [one] if one is not None else expect(rest.pop("embeddings", None), LIST, "embeddings")
    vectors = []
    beside: dict[str, Any] = {}
    for i, value in enumerate(listed):
        entry = dict(expect(value, DICT, f"embeddings[{i}]"))
        vectors.append(finite(entry.pop("values", None), f"embeddings[{i}].values"))
        beside |= {f"embeddings.{key}": True for key, said in entry.items() if said}
    usage = dict(take(rest, "usageMetadata", DICT) or {})
    tokens = take(usage, "promptTokenCount", INT, "usageMetadata.")
    said, blank = split(usage)
    rest |= {f"usageMetadata.{key}": value for key, value in said.items()} | beside
    return EmbeddingAnswer(
        model="",
        vectors=tuple(vectors),
        input_tokens=tokens,
        dialect=NAME if one is not None else BATCH,
        extra={**rest, **({BLANKS: blank} if blank else {})},
    )


def encode_answer(answer: EmbeddingAnswer, request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    """For the path that `request` came by."""
    values = [{"values": vector} for vector in answer.vectors]
    one = request is not None and request.dialect == NAME and len(values) == 1
    out: dict[str, Any] = {"embedding": values[0]} if one else {"embeddings": values}
    if answer.input_tokens is not None:
        out["usageMetadata"] = {"promptTokenCount": answer.input_tokens}
    return written(out, answer, "", [])
