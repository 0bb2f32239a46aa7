"""Embeddings as `POST /api/embed` has them. Source: the types of the official Python client."""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss
from understudy.dialects.wire import (
    BOOL,
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
from understudy.operations.embeddings import EmbeddingAnswer, EmbeddingRequest, finite

NAME = "ollama_embed"


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    model, given = expect(whole.get("model"), STR, "model"), whole.get("input")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", "input")})
    one = isinstance(given, str)
    texts = [given] if one else expect(given, LIST, "input")
    return EmbeddingRequest(
        model=model,
        inputs=tuple(expect(text, STR, f"input[{i}]") for i, text in enumerate(texts)),
        dimensions=take(rest, "dimensions", INT),
        truncate=take(rest, "truncate", BOOL),
        dialect=NAME,
        extra=keep(rest, blank, "one" if one else None),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, tuple[Loss, ...]]:
    """Raises `Malformed` on lists of tokens: this dialect has none, and leaving one out would shift the answers."""
    for i, value in enumerate(request.inputs):
        if not isinstance(value, str):
            raise Malformed(f"inputs[{i}]", "is a list of tokens, which this provider cannot take; send text")
    own = request.dialect == NAME
    one = own and request.extra.get(FORM) == "one" and len(request.inputs) == 1
    out: dict[str, Any] = {"model": request.model, "input": request.inputs[0] if one else request.inputs}
    settings = {"dimensions": request.dimensions, "truncate": request.truncate}
    out |= {key: value for key, value in settings.items() if value is not None}
    losses = [] if own else list(foreign(request.extra, ""))
    if request.user is not None:
        losses.append(Loss("user", "this dialect has no field for the user"))
    return dump(restore(out, request.extra) if own else out), tuple(losses)


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    given = expect(rest.pop("embeddings", None), LIST, "embeddings")
    return EmbeddingAnswer(
        model=take(rest, "model", STR) or "",
        vectors=tuple(finite(vector, f"embeddings[{i}]") for i, vector in enumerate(given)),
        input_tokens=take(rest, "prompt_eval_count", INT),
        dialect=NAME,
        extra=rest,
    )


def encode_answer(answer: EmbeddingAnswer) -> tuple[bytes, tuple[Loss, ...]]:
    out: dict[str, Any] = {"model": answer.model, "embeddings": answer.vectors}
    if answer.input_tokens is not None:
        out["prompt_eval_count"] = answer.input_tokens
    own = answer.dialect == NAME
    return dump(restore(out, answer.extra) if own else out), () if own else tuple(foreign(answer.extra, ""))
