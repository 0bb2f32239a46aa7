"""Embeddings as `POST /v2/embed` has them. Source: the types of the official Python client.

Vectors come in one list for each kind of number. `float` and `base64` say the whole vector; the others are Cohere's own
rounding of it, which nobody else can stand in for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.canon import Loss
from understudy.dialects.wire import DICT, FORM, INT, LIST, NUMBER, STR, Malformed, expect, keep, parse, split, take
from understudy.operations.embeddings import (
    EmbeddingAnswer,
    EmbeddingRequest,
    Input,
    Losses,
    Opaque,
    Purpose,
    Vector,
    finite,
    from_base64,
    given,
    texts,
    to_base64,
    unsaid,
    written,
)

NAME = "cohere_embed"

_PURPOSES: Mapping[str, Purpose] = {
    "search_query": "query",
    "search_document": "document",
    "classification": "classification",
    "clustering": "clustering",
}
_WORDS = {purpose: word for word, purpose in _PURPOSES.items()}
_CUTS = {"NONE": False, "END": True}
_INPUTS = ("texts", "inputs", "images")
_PACKED = {"binary": 8, "ubinary": 8}
_READ_FIRST = ("float", "base64", "int8", "uint8", "binary", "ubinary")
_ECHO = "~echo"
"""Key of `extra` for what an answer says that the client knows already."""

_UNTOLD = Loss("purpose", "the client does not say what the vectors are for; search_document is sent", "approximated")


def decode_request(body: bytes) -> EmbeddingRequest:
    whole = expect(parse(body), DICT, "body")
    rest, blank = split({key: value for key, value in whole.items() if key not in ("model", *_INPUTS)})
    form = next((name for name in _INPUTS if whole.get(name) is not None), None)
    if form is None:
        raise Malformed("texts", "is missing; give texts, inputs or images")
    asked = {name: whole[name] for name in _INPUTS if name in whole}
    cut, word = take(rest, "truncate", STR), take(rest, "input_type", STR)
    truncate, purpose = _CUTS.get(cut), _PURPOSES.get(word)
    # What has no canonical word stays: it is for Cohere alone.
    rest |= {"truncate": cut} if cut is not None and truncate is None else {}
    rest |= {"input_type": word} if word is not None and purpose is None else {}
    kinds = take(rest, "embedding_types", LIST) or []
    return EmbeddingRequest(
        model=expect(whole.get("model"), STR, "model"),
        inputs=tuple(_input(form, value, i) for i, value in enumerate(expect(whole[form], LIST, form))),
        dimensions=take(rest, "output_dimension", INT),
        kinds=tuple(expect(kind, STR, f"embedding_types[{i}]") for i, kind in enumerate(kinds)),
        purpose=purpose,
        truncate=truncate,
        dialect=NAME,
        extra=keep(rest, blank, asked if list(asked) != ["texts"] else None),
    )


def _input(form: str, value: Any, at: int) -> Input:
    path = f"{form}[{at}]"
    if form == "texts":
        text: str = expect(value, STR, path)
        return text
    if form == "images":
        return Opaque("an image")
    parts = expect(expect(value, DICT, path).get("content"), LIST, f"{path}.content")
    if len(parts) == 1 and isinstance(parts[0], dict) and isinstance(parts[0].get("text"), str):
        return str(parts[0]["text"])
    return Opaque("not a single text")


def encode_request(request: EmbeddingRequest) -> tuple[bytes, Losses]:
    """Raises `Malformed` on inputs that are no text."""
    own = request.dialect == NAME
    form = request.extra.get(FORM, {"texts": request.inputs}) if own else {"texts": texts(request)}
    out: dict[str, Any] = {"model": request.model, **form}
    lost = unsaid(request, "user")
    purpose = request.purpose
    if purpose is None and not own:
        purpose = "document"  # models since v3 do not answer without
        lost.append(_UNTOLD)
    out |= given({
        "input_type": None if purpose is None else _WORDS[purpose],
        "embedding_types": (list(request.kinds) or None) if own else ["float"],
        "output_dimension": request.dimensions,
        "truncate": None if request.truncate is None else "END" if request.truncate else "NONE",
    })  # fmt: skip
    return written(out, request, NAME, lost)


def decode_answer(body: bytes) -> EmbeddingAnswer:
    rest = dict(expect(parse(body), DICT, "body"))
    lists = {
        kind: expect(value, LIST, f"embeddings.{kind}")
        for kind, value in expect(rest.pop("embeddings", None), DICT, "embeddings").items()
        if value is not None
    }
    kind = next((kind for kind in _READ_FIRST if kind in lists), None)
    if kind is None:
        raise Malformed("embeddings", "has no kind of vectors that is known")
    for other, values in lists.items():
        if len(values) != len(lists[kind]):
            raise Malformed(f"embeddings.{other}", f"has {len(values)} vectors, {kind} has {len(lists[kind])}")
    tokens, meta = _tokens(rest.pop("meta", None))
    echo = {key: rest.pop(key) for key in ("texts", "response_type") if key in rest}
    if meta is not None:
        echo["meta"] = meta[0]
        rest |= {"meta": meta[1]} if meta[1] else {}
    rest[_ECHO] = {**echo, "embeddings": lists} if kind != "float" or len(lists) > 1 else echo
    return EmbeddingAnswer(
        model="",
        vectors=tuple(_vector(kind, value, f"embeddings.{kind}[{i}]") for i, value in enumerate(lists[kind])),
        input_tokens=tokens,
        id=take(rest, "id", STR) or "",
        packed=_PACKED.get(kind, 1),
        kinds=tuple(lists),
        dialect=NAME,
        extra=rest,
    )


def _vector(kind: str, value: Any, path: str) -> Vector:
    return from_base64(expect(value, STR, path), path) if kind == "base64" else finite(value, path)


def _tokens(meta: Any) -> tuple[int | None, tuple[Any, dict[str, Any]] | None]:
    """The input tokens that `meta` tells; it, and what it says beside them and the API's version."""
    if not isinstance(meta, dict):
        return None, None
    units = dict(take(dict(meta), "billed_units", DICT, "meta.") or {})
    tokens = take(units, "input_tokens", NUMBER, "meta.billed_units.")
    beside = {key: value for key, value in meta.items() if key not in ("api_version", "billed_units") and value}
    if any(units.values()):
        beside["billed_units"] = units
    return None if tokens is None else int(tokens), (meta, beside)


def encode_answer(answer: EmbeddingAnswer, request: EmbeddingRequest | None = None) -> tuple[bytes, Losses]:
    kinds = (request.kinds if request is not None else ()) or ("float",)
    own = answer.dialect == NAME
    lists = {
        kind: [to_base64(vector) if kind == "base64" else vector for vector in answer.vectors]
        for kind in kinds
        if kind in ("float", "base64")
    }
    out: dict[str, Any] = {"id": answer.id, "embeddings": lists, "response_type": "embeddings_by_type"}
    if request is not None and all(isinstance(value, str) for value in request.inputs):
        out["texts"] = request.inputs
    if answer.input_tokens is not None:
        out["meta"] = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": answer.input_tokens}}
    if own:
        out = {**out, **answer.extra.get(_ECHO, {})}
    return written(out, answer, NAME, [])
