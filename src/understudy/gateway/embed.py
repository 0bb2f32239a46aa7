"""Embeddings: at each dialect's paths, for targets of every dialect that has them. Translation is `operations/`'s.

Where a target has the client's own form, the very bytes go through both ways; they are read all the same, since an
answer with a vector too few or of another dimension spoils an index without anybody noticing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from understudy import clock
from understudy.canon import Loss
from understudy.dialects.wire import Malformed, dump, parse
from understudy.gateway import surface
from understudy.gateway.operate import Answered, Operation, OperationCall, Sent, UnfitError, as_json, below, named_model
from understudy.gateway.record import Headers
from understudy.gateway.routing import Target
from understudy.operations import (
    embeddings_cohere,
    embeddings_gemini,
    embeddings_ollama,
    embeddings_ollama_legacy,
    embeddings_openai,
    embeddings_vertex,
)
from understudy.operations.embeddings import EmbeddingAnswer, EmbeddingRequest, check

OPENAI_LIKE = frozenset({surface.CHAT, surface.RESPONSES, surface.COMPLETIONS})
"""Dialects of servers that have OpenAI's other paths as well, if they have them."""

_OFFERED = OPENAI_LIKE | {surface.COHERE, surface.GEMINI, surface.OLLAMA}


class _Form(NamedTuple):
    """One way to ask for embeddings: its wire format, and how the path goes on below a base URL (or after a model)."""

    name: str
    wire: ModuleType | Any
    path: str


_GOOGLE = {
    embeddings_gemini.NAME: _Form(embeddings_gemini.NAME, embeddings_gemini, "embedContent"),
    embeddings_gemini.BATCH: _Form(embeddings_gemini.BATCH, embeddings_gemini, "batchEmbedContents"),
    embeddings_vertex.NAME: _Form(embeddings_vertex.NAME, embeddings_vertex, "predict"),
}
_OPENAI = _Form(embeddings_openai.NAME, embeddings_openai, "/embeddings")
_COHERE = _Form(embeddings_cohere.NAME, embeddings_cohere, "/v2/embed")
_OLLAMA = _Form(embeddings_ollama.NAME, embeddings_ollama, "/api/embed")
_LEGACY = _Form(embeddings_ollama_legacy.NAME, embeddings_ollama_legacy, "/api/embeddings")


def _form(target: Target, client: _Form, asked: EmbeddingRequest | Malformed) -> _Form:
    """How to ask `target`: as the client does, if its server has that."""
    dialect = target.provider.dialect
    if dialect == surface.GEMINI:
        # As the official client chooses.
        vertex = _is_vertex(target)
        if vertex and not ("gemini" in target.model or "maas" in target.model):
            return _GOOGLE[embeddings_vertex.NAME]
        if client.name in (embeddings_gemini.NAME, embeddings_gemini.BATCH):
            return client
        one = vertex and isinstance(asked, EmbeddingRequest) and len(asked.inputs) == 1
        return _GOOGLE[embeddings_gemini.NAME if one else embeddings_gemini.BATCH]
    if dialect == surface.OLLAMA:
        return _LEGACY if client is _LEGACY else _OLLAMA
    return _COHERE if dialect == surface.COHERE else _OPENAI


def _is_vertex(target: Target) -> bool:
    return target.link is not None and b"/projects/" in target.link.path


def _path(target: Target, form: _Form) -> str:
    if form.name not in _GOOGLE:
        return below(target, form.path)
    assert target.link is not None  # embedded engines were left out
    return f"{target.link.path.decode() or '/v1beta'}/models/{quote(target.model, safe='')}:{form.path}"


def operation(dialect: str, form: _Form, *, in_path: bool = False) -> Operation:
    """Embeddings for clients that ask in `form`. `in_path`: the model stands there."""
    batch = form.name == embeddings_gemini.BATCH
    decode = form.wire.decode_batch_request if batch else form.wire.decode_request

    def request(call: OperationCall) -> EmbeddingRequest | Malformed:
        if "request" not in call.known:
            try:
                call.known["request"] = decode(call.body)
            except Malformed as error:
                call.known["request"] = error
        found: EmbeddingRequest | Malformed = call.known["request"]
        return found

    def send(call: OperationCall, target: Target) -> Sent:
        asked = request(call)
        theirs = _form(target, form, asked)
        path = _path(target, theirs)
        if theirs == form:
            return Sent(path=path, body=_own_body(call, target))
        if isinstance(asked, Malformed):
            raise asked
        try:
            body, losses = theirs.wire.encode_request(msgspec.structs.replace(asked, model=target.model))
        except Malformed as error:
            raise UnfitError(error.field, str(error)) from None
        if theirs.name in _GOOGLE and _is_vertex(target):
            body = _for_vertex(body, theirs)
        return Sent(path=path, body=body, losses=losses)

    def answer(call: OperationCall, target: Target, headers: Headers, body: bytes) -> Answered:
        asked = request(call)
        theirs = _form(target, form, asked)
        if isinstance(asked, Malformed):  # a provider who took what we cannot read knows what it answers
            return Answered(headers=headers, body=body)
        found: EmbeddingAnswer = theirs.wire.decode_answer(body)
        check(asked, found)
        if theirs == form and _as_asked(asked, found):
            return Answered(headers=headers, body=body)
        found = msgspec.structs.replace(found, model=found.model or target.model, id=found.id or clock.token(12))
        encoded: tuple[bytes, tuple[Loss, ...]] = form.wire.encode_answer(found, asked)
        return as_json(*encoded) if theirs != form else Answered(headers=headers, body=encoded[0])

    return Operation(
        name="embeddings", dialect=dialect, offered=_OFFERED, vectors=True, uses="prompt",
        model=_in_path if in_path else named_model, send=send, answer=answer,
    )  # fmt: skip


def _in_path(call: OperationCall) -> str:
    try:
        _OBJECT.decode(call.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("body", f"is no JSON object: {error}") from None
    return call.named["model"]


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _own_body(call: OperationCall, target: Target) -> bytes:
    """The client's bytes, but for the model's name: Google's requests name it again."""
    if call.door.dialect != surface.GEMINI or b'"model"' not in call.body:
        return call.body_for(target)
    name = None if _is_vertex(target) else f"models/{target.model}"
    return dump(embeddings_gemini.renamed(parse(call.body), name))


def _for_vertex(body: bytes, form: _Form) -> bytes:
    """Vertex AI has the model in the path alone, and a single content on a path of its own."""
    if form.name == embeddings_vertex.NAME:
        return body
    whole = embeddings_gemini.renamed(parse(body), None)
    return dump(whole["requests"][0] if form.name == embeddings_gemini.NAME else whole)


def _as_asked(asked: EmbeddingRequest, found: EmbeddingAnswer) -> bool:
    """Whether numbers are written as the client wants. Some servers do not know `encoding_format`."""
    return not found.encodings or found.encodings == {asked.encoding or "float"}


OPENAI = operation(surface.CHAT, _OPENAI)
COHERE = operation(surface.COHERE, _COHERE)
OLLAMA = operation(surface.OLLAMA, _OLLAMA)
OLLAMA_LEGACY = operation(surface.OLLAMA, _LEGACY)
GOOGLE = {form.path: operation(surface.GEMINI, form, in_path=True) for form in _GOOGLE.values()}
"""By the verb of the path."""
