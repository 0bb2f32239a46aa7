"""Embeddings as `POST /api/embed` has them. Source: the types of the official Python client."""

from __future__ import annotations

from typing import Any

from understudy.dialects.wire import BOOL, DICT, FORM, INT, LIST, STR, expect, keep, parse, refuse_notes, split, take
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Losses,
    finite,
    given,
    texts,
    unsaid,
    written,
)

NAME = "ollama_embed"


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    model, asked = expect(whole.get("model"), STR, "model"), whole.get("input")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", "input")})
    one = isinstance(asked, str)
    listed = [asked] if one else expect(asked, LIST, "input")
    return EmbeddingRequest(
        model=model,
        inputs=tuple(expect(text, STR, f"input[{i}]") for i, text in enumerate(listed)),
        dimensions=take(rest, "dimensions", INT),
        truncate=take(rest, "truncate", BOOL),
        dialect=NAME,
        extra=keep(rest, blank, "one" if one else None),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """Raises `Malformed` on inputs that are no text."""
    inputs = texts(request)
    one = request.dialect == NAME and request.extra.get(FORM) == "one" and len(inputs) == 1
    out: dict[str, Any] = {"model": request.model, "input": inputs[0] if one else inputs}
    out |= given({"dimensions": request.dimensions, "truncate": request.truncate})
    return written(out, request, NAME, unsaid(request, "user", "purpose"))


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    refuse_notes(rest)
    found = expect(rest.pop("embeddings", None), LIST, "embeddings")
    return EmbeddingAnswer(
        model=take(rest, "model", STR) or "",
        vectors=tuple(finite(vector, f"embeddings[{i}]") for i, vector in enumerate(found)),
        input_tokens=take(rest, "prompt_eval_count", INT),
        dialect=NAME,
        extra=rest,
    )


def encode_answer(answer: EmbeddingAnswer, _request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    out: dict[str, Any] = {"model": answer.model, "embeddings": answer.vectors}
    return written(out | given({"prompt_eval_count": answer.input_tokens}), answer, NAME, [])
