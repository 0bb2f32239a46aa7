"""Embeddings as `POST /v1/embeddings` has them. Source: the types of the official Python client."""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss
from understudy.dialects.wire import (
    DICT,
    FORM,
    INT,
    LIST,
    STR,
    Malformed,
    dump,
    expect,
    foreign,
    keep,
    parse,
    restore,
    split,
    take,
)
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Encoding,
    Vector,
    finite,
    from_base64,
    to_base64,
)

NAME = "openai_embeddings"


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    model, given = expect(whole.get("model"), STR, "model"), whole.get("input")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", "input")})
    encoding = take(rest, "encoding_format", STR)
    if encoding not in (None, "float", "base64"):
        raise Malformed("encoding_format", "must be float or base64")
    one = isinstance(given, str) or (isinstance(given, list) and bool(given) and type(given[0]) is int)
    return EmbeddingRequest(
        model=model,
        inputs=tuple(
            _input(value, f"input[{i}]") for i, value in enumerate([given] if one else expect(given, LIST, "input"))
        ),
        dimensions=take(rest, "dimensions", INT),
        encoding=encoding,
        user=take(rest, "user", STR),
        dialect=NAME,
        extra=keep(rest, blank, "one" if one else None),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, tuple[Loss, ...]]:
    own = request.dialect == NAME
    one = own and request.extra.get(FORM) == "one" and len(request.inputs) == 1
    out: dict[str, Any] = {"model": request.model, "input": request.inputs[0] if one else request.inputs}
    settings = {"dimensions": request.dimensions, "encoding_format": request.encoding, "user": request.user}
    out |= {key: value for key, value in settings.items() if value is not None}
    losses = [] if own else list(foreign(request.extra, ""))
    if request.truncate is not None:
        losses.append(Loss("truncate", "this dialect cannot say whether to cut long inputs"))
    return dump(restore(out, request.extra) if own else out), tuple(losses)


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    data = expect(rest.pop("data", None), LIST, "data")
    vectors: dict[int, Vector] = {}
    for i, entry in enumerate(data):
        at = expect(expect(entry, DICT, f"data[{i}]").get("index", i), INT, f"data[{i}].index")
        if at in vectors or not 0 <= at < len(data):
            raise Malformed(f"data[{i}].index", "is given twice or out of range")
        value, path = entry.get("embedding"), f"data[{i}].embedding"
        vectors[at] = from_base64(value, path) if isinstance(value, str) else finite(value, path)
    usage = take(rest, "usage", DICT) or {}
    rest.pop("object", None)
    return EmbeddingAnswer(
        model=take(rest, "model", STR) or "",
        vectors=tuple(vectors[at] for at in range(len(data))),
        input_tokens=take(dict(usage), "prompt_tokens", INT, "usage."),
        dialect=NAME,
        extra=rest,
    )


def encode_answer(answer: EmbeddingAnswer, encoding: Encoding | None = None) -> tuple[bytes, tuple[Loss, ...]]:
    """`encoding` is the request's. Tokens that were not told are written as 0: clients require the field."""
    data = [
        {"object": "embedding", "index": i, "embedding": to_base64(vector) if encoding == "base64" else vector}
        for i, vector in enumerate(answer.vectors)
    ]
    tokens = answer.input_tokens or 0
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    out: dict[str, Any] = {"object": "list", "data": data, "model": answer.model, "usage": usage}
    own = answer.dialect == NAME
    return dump(restore(out, answer.extra) if own else out), () if own else tuple(foreign(answer.extra, ""))


def _input(value: Any, path: str) -> str | tuple[int, ...]:
    if isinstance(value, str):
        return value
    return tuple(expect(token, INT, f"{path}[{i}]") for i, token in enumerate(expect(value, LIST, path)))
