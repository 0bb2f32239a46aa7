"""Embeddings as `POST /api/embeddings` has them: one text, one vector. Source: the types of the official client.

Ollama keeps it beside `/api/embed`, whose vectors are normalised where these are not.
"""

from __future__ import annotations

from understudy.canon import Loss
from understudy.dialects.wire import DICT, LIST, STR, Malformed, expect, keep, parse, split
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Losses,
    finite,
    texts,
    unsaid,
    written,
)

NAME = "ollama_embeddings"


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", "prompt")})
    return EmbeddingRequest(
        model=expect(whole.get("model"), STR, "model"),
        inputs=(expect(whole.get("prompt"), STR, "prompt"),),
        dialect=NAME,
        extra=keep(rest, blank),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """Raises `Malformed` on more than one input."""
    inputs = texts(request)
    if len(inputs) != 1:
        raise Malformed("inputs", f"are {len(inputs)}, but this path takes one")
    lost = unsaid(request, "dimensions", "truncate", "user", "purpose")
    return written({"model": request.model, "prompt": inputs[0]}, request, NAME, lost)


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    vector = finite(expect(rest.pop("embedding", None), LIST, "embedding"), "embedding")
    return EmbeddingAnswer(model="", vectors=(vector,), dialect=NAME, extra=rest)


def encode_answer(answer: EmbeddingAnswer, _request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    """Raises `Malformed` on more than one vector."""
    if len(answer.vectors) != 1:
        raise Malformed("vectors", f"are {len(answer.vectors)}, but one was asked for")
    lost = [] if answer.input_tokens is None else [Loss("input_tokens", "this path does not tell them")]
    return written({"embedding": answer.vectors[0]}, answer, NAME, lost)
