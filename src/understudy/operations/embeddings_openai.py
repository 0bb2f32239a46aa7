"""Embeddings as `POST /v1/embeddings` has them. Source: the types of the official Python client."""

from __future__ import annotations

from typing import Any

from understudy.dialects.wire import (
    DICT,
    FORM,
    INT,
    LIST,
    STR,
    Malformed,
    expect,
    keep,
    parse,
    refuse_notes,
    split,
    take,
)
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Encoding,
    Losses,
    Opaque,
    Vector,
    finite,
    from_base64,
    given,
    texts,
    to_base64,
    unsaid,
    written,
)

NAME = "openai_embeddings"


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    model, asked = expect(whole.get("model"), STR, "model"), whole.get("input")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", "input")})
    encoding = take(rest, "encoding_format", STR)
    if encoding not in (None, "float", "base64"):
        raise Malformed("encoding_format", "must be float or base64")
    one = isinstance(asked, str) or (isinstance(asked, list) and bool(asked) and type(asked[0]) is int)
    return EmbeddingRequest(
        model=model,
        inputs=tuple(
            _input(value, f"input[{i}]") for i, value in enumerate([asked] if one else expect(asked, LIST, "input"))
        ),
        dimensions=take(rest, "dimensions", INT),
        encoding=encoding,
        user=take(rest, "user", STR),
        dialect=NAME,
        extra=keep(rest, blank, "one" if one else None),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """Raises `Malformed` on inputs that are neither text nor tokens."""
    kinds = set(map(type, request.inputs))
    listed = kinds <= {tuple} or (request.dialect == NAME and Opaque not in kinds)
    inputs = list(request.inputs) if listed else texts(request)
    one = request.dialect == NAME and request.extra.get(FORM) == "one" and len(inputs) == 1
    out: dict[str, Any] = {"model": request.model, "input": inputs[0] if one else inputs}
    out |= given({"dimensions": request.dimensions, "encoding_format": request.encoding, "user": request.user})
    return written(out, request, NAME, unsaid(request, "truncate", "purpose"))


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    refuse_notes(rest)
    data = expect(rest.pop("data", None), LIST, "data")
    vectors: dict[int, Vector] = {}
    encodings: set[Encoding] = set()
    for i, entry in enumerate(data):
        at = expect(expect(entry, DICT, f"data[{i}]").get("index", i), INT, f"data[{i}].index")
        if at in vectors or not 0 <= at < len(data):
            raise Malformed(f"data[{i}].index", "is given twice or out of range")
        value, path = entry.get("embedding"), f"data[{i}].embedding"
        encodings.add("base64" if isinstance(value, str) else "float")
        vectors[at] = from_base64(value, path) if isinstance(value, str) else finite(value, path)
    usage = dict(take(rest, "usage", DICT) or {})
    tokens = take(usage, "prompt_tokens", INT, "usage.")
    if usage.get("total_tokens") in (None, tokens):
        usage.pop("total_tokens", None)  # says nothing that the former does not
    if usage:
        rest["usage"] = usage
    rest.pop("object", None)
    return EmbeddingAnswer(
        model=take(rest, "model", STR) or "",
        vectors=tuple(vectors[at] for at in range(len(data))),
        input_tokens=tokens,
        encodings=frozenset(encodings),
        dialect=NAME,
        extra=rest,
    )


def encode_answer(answer: EmbeddingAnswer, request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    """Numbers are written as `request` wants. Tokens that were not told are written as 0: clients require the field."""
    packed = request is not None and request.encoding == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": to_base64(vector) if packed else vector}
        for i, vector in enumerate(answer.vectors)
    ]
    usage: dict[str, Any] = {"prompt_tokens": answer.input_tokens or 0}
    kept = answer.extra.get("usage", {}) if answer.dialect == NAME else {}
    usage["total_tokens"] = kept.get("total_tokens", usage["prompt_tokens"])
    out: dict[str, Any] = {"object": "list", "data": data, "model": answer.model, "usage": usage}
    return written(out, answer, NAME, [])


def _input(value: Any, path: str) -> str | tuple[int, ...] | Opaque:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):  # some compatible servers embed images
        return Opaque("not a text")
    return tuple(expect(token, INT, f"{path}[{i}]") for i, token in enumerate(expect(value, LIST, path)))
