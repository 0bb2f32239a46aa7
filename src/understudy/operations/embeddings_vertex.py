"""Embeddings as Vertex AI's `:predict` has them, for its models that are not Gemini's.

Source: the official Python client, which asks so for every model without `gemini` or `maas` in its name.
"""

from __future__ import annotations

from typing import Any

from understudy.dialects.wire import BOOL, DICT, INT, LIST, NUMBER, expect, keep, parse, split, take
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Input,
    Losses,
    Opaque,
    finite,
    given,
    texts,
    unsaid,
    written,
)
from understudy.operations.embeddings_gemini import PURPOSES, WORDS

NAME = "vertex_predict"


def decode_request(body: bytes) -> EmbeddingRequest:
    """The model is in the path alone."""
    whole = dict(expect(parse(body), DICT, "body"))
    instances = [
        expect(value, DICT, f"instances[{i}]")
        for i, value in enumerate(expect(whole.get("instances"), LIST, "instances"))
    ]
    settings = dict(take(whole, "parameters", DICT) or {})
    first = {key: value for key, value in instances[0].items() if key != "content"} if instances else {}
    inputs: list[Input] = []
    for one in instances:
        same = {key: value for key, value in one.items() if key != "content"} == first
        text = one.get("content") if same else Opaque("asked for with settings of its own")
        inputs.append(text if isinstance(text, (str, Opaque)) else Opaque("not a text"))
    task = first.get("task_type")
    purpose = PURPOSES.get(task) if isinstance(task, str) else None
    dimensions = take(settings, "outputDimensionality", INT, "parameters.")
    truncate = take(settings, "autoTruncate", BOOL, "parameters.")
    rest = {key: value for key, value in first.items() if key != "task_type" or purpose is None} | settings
    said, blank = split(rest)
    return EmbeddingRequest(
        model="",
        inputs=tuple(inputs),
        dimensions=dimensions,
        purpose=purpose,
        truncate=truncate,
        dialect=NAME,
        extra=keep(said, blank),
    )


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """Raises `Malformed` on other than texts. One of this dialect is best sent as it came."""
    task = {} if request.purpose is None else {"task_type": WORDS[request.purpose]}
    out: dict[str, Any] = {"instances": [{"content": text, **task} for text in texts(request)]}
    settings = given({"outputDimensionality": request.dimensions, "autoTruncate": request.truncate})
    if settings:
        out["parameters"] = settings
    return written(out, request, "", unsaid(request, "user"))


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    vectors = []
    tokens: float | None = None
    for i, value in enumerate(expect(rest.pop("predictions", None), LIST, "predictions")):
        path = f"predictions[{i}].embeddings"
        entry = expect(expect(value, DICT, f"predictions[{i}]").get("embeddings"), DICT, path)
        vectors.append(finite(entry.get("values"), f"{path}.values"))
        statistics = dict(take(dict(entry), "statistics", DICT, f"{path}.") or {})
        counted = take(statistics, "token_count", NUMBER, f"{path}.statistics.")
        tokens = tokens if counted is None else (tokens or 0) + counted
        if statistics.get("truncated"):
            rest["predictions.embeddings.statistics.truncated"] = True
    return EmbeddingAnswer(
        model="",
        vectors=tuple(vectors),
        input_tokens=None if tokens is None else int(tokens),
        dialect=NAME,
        extra=rest,
    )


def encode_answer(answer: EmbeddingAnswer, _request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    """Tokens go to the first vector: this dialect counts them for each, and only their sum is known."""
    predictions: list[dict[str, Any]] = [{"embeddings": {"values": vector}} for vector in answer.vectors]
    if answer.input_tokens is not None and predictions:
        predictions[0]["embeddings"]["statistics"] = {"token_count": answer.input_tokens, "truncated": False}
    return written({"predictions": predictions}, answer, "", [])
