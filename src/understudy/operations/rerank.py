"""Documents put in order by how well they answer a query. Two wire formats, which differ in little.

`V2` is Cohere's `POST /v2/rerank`. `V1` is its `POST /v1/rerank`, which Jina, vLLM, llama.cpp and many others took over
with `usage` for `meta`. Source: the types of Cohere's official Python client, and the public documentation of Jina's
and vLLM's servers.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from understudy.canon import Extra, Loss
from understudy.dialects.wire import (
    BOOL,
    DICT,
    INT,
    LIST,
    NUMBER,
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

Version = Literal["rerank_v1", "rerank_v2"]

V1: Version = "rerank_v1"
V2: Version = "rerank_v2"

_ASKED = ("model", "query", "documents")
_DOCUMENTS = "~documents"
"""Key of `extra` for documents that are no plain texts, as they came."""


class RerankRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`documents` are their texts; None is a document that has none, whose words only its own dialect finds."""

    model: str
    query: str
    documents: tuple[str | None, ...]
    top_n: int | None = None
    return_documents: bool | None = None
    dialect: Version = V2
    extra: Extra = msgspec.field(default_factory=dict)


class Ranked(msgspec.Struct, frozen=True):
    """`index` is the document's place in the request, from 0."""

    index: int
    score: float
    extra: Extra = msgspec.field(default_factory=dict)


class RerankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`results` are in the order of the answer, best first."""

    results: tuple[Ranked, ...]
    id: str = ""
    model: str = ""
    dialect: Version = V2
    extra: Extra = msgspec.field(default_factory=dict)


def decode_request(body: bytes, version: Version) -> RerankRequest:
    whole = expect(parse(body), DICT, "body")
    rest, blank = split({key: value for key, value in whole.items() if key not in _ASKED})
    given = expect(whole.get("documents"), LIST, "documents")
    texts = tuple(_text(value, f"documents[{i}]") for i, value in enumerate(given))
    top_n, return_documents = take(rest, "top_n", INT), take(rest, "return_documents", BOOL)
    extra = keep(rest, blank)
    return RerankRequest(
        model=expect(whole.get("model"), STR, "model"),
        query=expect(whole.get("query"), STR, "query"),
        documents=texts,
        top_n=top_n,
        return_documents=return_documents,
        dialect=version,
        extra=extra if list(texts) == given else {**extra, _DOCUMENTS: given},
    )


def _text(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return value
    found = expect(value, DICT, path).get("text")
    return found if isinstance(found, str) else None


def encode_request(request: RerankRequest, version: Version) -> tuple[bytes, tuple[Loss, ...]]:
    """Raises `Malformed` on documents without text, unless the dialect is the request's own."""
    own = request.dialect == version
    documents: Any = request.extra.get(_DOCUMENTS) if own else None
    if documents is None:
        for i, text in enumerate(request.documents):
            if text is None:
                raise Malformed(f"documents[{i}]", "has no text that this provider could read; send `text`")
        documents = request.documents
    out: dict[str, Any] = {"model": request.model, "query": request.query, "documents": documents}
    if request.top_n is not None:
        out["top_n"] = request.top_n
    if own:
        if request.return_documents is not None:
            out["return_documents"] = request.return_documents
        return dump(restore(out, request.extra)), ()
    if version == V1:
        out["return_documents"] = False  # no answer of V2 has them
    lost = list(foreign(request.extra, ""))
    # What documents say beside their text can be what they are ranked by.
    for i, value in enumerate(request.extra.get(_DOCUMENTS, ())):
        if isinstance(value, dict) and len(value) > 1:
            lost.append(Loss(f"documents[{i}]", "this dialect has texts only"))
    return dump(out), tuple(lost)


def decode_answer(body: bytes, version: Version) -> RerankAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    results = []
    for i, value in enumerate(expect(rest.pop("results", None), LIST, "results")):
        entry = dict(expect(value, DICT, f"results[{i}]"))
        index = expect(entry.pop("index", None), INT, f"results[{i}].index")
        score = expect(entry.pop("relevance_score", None), NUMBER, f"results[{i}].relevance_score")
        results.append(Ranked(index, float(score), entry))
    return RerankAnswer(
        results=tuple(results),
        id=take(rest, "id", STR) or "",
        model=take(rest, "model", STR) or "",
        dialect=version,
        extra=rest,
    )


def check(request: RerankRequest, answer: RerankAnswer) -> None:
    """Raises `Malformed` if the answer names documents that were not sent, one of them twice, or none at all."""
    seen: set[int] = set()
    for i, result in enumerate(answer.results):
        if result.index in seen or not 0 <= result.index < len(request.documents):
            raise Malformed(f"results[{i}].index", f"is {result.index}, given twice or of no document")
        if not math.isfinite(result.score):
            raise Malformed(f"results[{i}].relevance_score", "is not finite")
        seen.add(result.index)
    if request.documents and not answer.results and request.top_n != 0:
        raise Malformed("results", "are none, though documents were sent")


def encode_answer(answer: RerankAnswer, request: RerankRequest, version: Version) -> tuple[bytes, tuple[Loss, ...]]:
    """Not more results than were asked for, with the documents' texts where V1's clients look for them."""
    own = answer.dialect == version
    lost = [] if own else [*foreign(_meant(answer.extra), "")]
    results = []
    for i, result in enumerate(answer.results[: request.top_n]):
        entry: dict[str, Any] = {"index": result.index, "relevance_score": result.score}
        text = request.documents[result.index]
        if version == V1 and request.return_documents is not False and text is not None:
            entry["document"] = {"text": text}
        if own:
            restore(entry, result.extra)
        else:
            beside = {key: value for key, value in result.extra.items() if key != "document"}
            lost.extend(foreign(beside, f"results[{i}]."))
        results.append(entry)
    out: dict[str, Any] = {"id": answer.id, "results": results}
    if version == V1:
        out["model"] = answer.model or request.model
    return dump(restore(out, answer.extra) if own else out), tuple(lost)


def _meant(extra: Extra) -> Extra:
    """What an answer says beside results, without `object` and the API's version, which say nothing of it."""
    kept = {key: value for key, value in extra.items() if key != "object" and value is not None}
    meta = kept.get("meta")
    if isinstance(meta, dict) and not any(value for key, value in meta.items() if key != "api_version"):
        del kept["meta"]
    return kept
