"""What providers answer beside chat: lists of models, counts, vectors, rankings. Plain, and from the request alone.

A vector's numbers come from a hash of its text, so equal texts have equal vectors and nothing else means anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

import msgspec

from understudy.sim.asked import Refused
from understudy.sim.voices.voice import Json, decode

_SIZE = 8
_MOST_SIZE = 4096
_WHEN = "2025-01-01T00:00:00Z"


def _vector(text: Any, size: int | None = None) -> list[float]:
    """A unit vector of `size` numbers."""
    count = _SIZE if size is None else size
    if not 1 <= count <= _MOST_SIZE:
        raise Refused(f"Invalid number of dimensions: expected 1 to {_MOST_SIZE}.", "dimensions")
    drawn = hashlib.shake_128(msgspec.json.encode(text)).digest(2 * count)
    numbers = [value / 32768 + 1e-6 for value in struct.unpack(f"<{count}h", drawn)]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _words(value: Any) -> int:
    return len(msgspec.json.encode(value)) // 4 + 1


class _Embeddings(msgspec.Struct):
    model: str
    input: str | list[Any]
    dimensions: int | None = None
    encoding_format: str = "float"


def openai_embeddings(body: bytes, _model: str) -> Json:
    asked = decode(body, _Embeddings)
    given = asked.input
    one = isinstance(given, str) or (bool(given) and isinstance(given[0], int))
    vectors = [_vector(text, asked.dimensions) for text in ([given] if one else given)]
    packed: list[Any] = vectors
    if asked.encoding_format == "base64":
        packed = [_packed(vector) for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(packed)]
    used = _words(given)
    return {
        "object": "list", "data": data, "model": asked.model, "usage": {"prompt_tokens": used, "total_tokens": used},
    }  # fmt: skip


class _Embed(msgspec.Struct):
    model: str
    texts: list[str] = []
    inputs: list[Json] = []
    output_dimension: int | None = None
    embedding_types: list[str] = msgspec.field(default_factory=lambda: ["float"])


def cohere_embed(body: bytes, _model: str) -> Json:
    asked = decode(body, _Embed)
    vectors = [_vector(text, asked.output_dimension) for text in (asked.texts or asked.inputs)]
    kinds: Json = {
        "float": vectors,
        "base64": [_packed(vector) for vector in vectors],
        "int8": [[round(127 * number) for number in vector] for vector in vectors],
        "ubinary": [[sum(1 << bit for bit, number in enumerate(vector) if number > 0) % 256] for vector in vectors],
    }
    unknown = [kind for kind in asked.embedding_types if kind not in kinds]
    if unknown:
        raise Refused(f"invalid embedding type: {unknown[0]}", "embedding_types")
    return {
        "id": "simulated", "embeddings": {kind: kinds[kind] for kind in asked.embedding_types}, "texts": asked.texts,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": _words(asked.texts)}},
        "response_type": "embeddings_by_type",
    }  # fmt: skip


class _Rerank(msgspec.Struct):
    model: str
    query: str
    documents: list[str | Json]
    top_n: int | None = None
    return_documents: bool = False


def cohere_rerank(body: bytes, _model: str) -> Json:
    """Documents by the share of the query's words in them, then in their order."""
    asked = decode(body, _Rerank)
    wanted = set(asked.query.lower().split())
    texts = [given if isinstance(given, str) else str(given.get("text")) for given in asked.documents]
    scores = [len(wanted & set(text.lower().split())) / max(len(wanted), 1) for text in texts]
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[: asked.top_n]
    results: list[Json] = [{"index": index, "relevance_score": scores[index]} for index in ranked]
    if asked.return_documents:
        results = [{**result, "document": {"text": texts[result["index"]]}} for result in results]
    return {"id": "simulated", "results": results, "meta": {"billed_units": {"search_units": 1}}}


class _GeminiEmbed(msgspec.Struct, rename="camel"):
    content: Json
    output_dimensionality: int | None = None


class _GeminiBatch(msgspec.Struct):
    requests: list[_GeminiEmbed]


def _values(asked: _GeminiEmbed) -> Json:
    parts: Any = asked.content.get("parts")
    one = isinstance(parts, list) and len(parts) == 1 and isinstance(parts[0], dict)
    return {"values": _vector(parts[0].get("text") if one else parts, asked.output_dimensionality)}


def gemini_embed(body: bytes, _model: str) -> Json:
    return {"embedding": _values(decode(body, _GeminiEmbed))}


def gemini_batch(body: bytes, _model: str) -> Json:
    return {"embeddings": [_values(one) for one in decode(body, _GeminiBatch).requests]}


def gemini_count(body: bytes, _model: str) -> Json:
    asked = decode(body, dict[str, Any])
    return {"totalTokens": _words(asked.get("contents") or asked.get("generateContentRequest"))}


class _OllamaEmbed(msgspec.Struct):
    model: str
    input: str | list[str]
    dimensions: int | None = None


def ollama_embed(body: bytes, _model: str) -> Json:
    asked = decode(body, _OllamaEmbed)
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    vectors = [_vector(text, asked.dimensions) for text in texts]
    return {"model": asked.model, "embeddings": vectors, "total_duration": 1000, "load_duration": 1000,
            "prompt_eval_count": _words(texts)}  # fmt: skip


class _OllamaEmbedOne(msgspec.Struct):
    model: str
    prompt: str


def ollama_embed_one(body: bytes, _model: str) -> Json:
    return {"embedding": _vector(decode(body, _OllamaEmbedOne).prompt)}


class _Parameters(msgspec.Struct, frozen=True, rename="camel"):
    output_dimensionality: int | None = None


class _Predict(msgspec.Struct):
    instances: list[Json]
    parameters: _Parameters = _Parameters()


def vertex_predict(body: bytes, _model: str) -> Json:
    asked = decode(body, _Predict)
    predictions = []
    for instance in asked.instances:
        vector = _vector(instance.get("content"), asked.parameters.output_dimensionality)
        statistics = {"truncated": False, "token_count": _words(instance.get("content"))}
        predictions.append({"embeddings": {"values": vector, "statistics": statistics}})
    return {"predictions": predictions, "metadata": {"billableCharacterCount": 1}}


class _Moderations(msgspec.Struct):
    input: str | list[Any]
    model: str = "omni-moderation-latest"


_CATEGORIES = ("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent",
               "self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence",
               "violence/graphic")  # fmt: skip


def openai_moderations(body: bytes, _model: str) -> Json:
    """Nothing is ever flagged, unless the text has the word "flag"."""
    asked = decode(body, _Moderations)
    given = (
        asked.input if isinstance(asked.input, list) and all(isinstance(i, str) for i in asked.input) else [asked.input]
    )
    results = []
    for text in given:
        flagged = "flag" in msgspec.json.encode(text).decode().lower().replace('"', " ").split()
        results.append({
            "flagged": flagged,
            "categories": {name: flagged and name == "violence" for name in _CATEGORIES},
            "category_scores": {name: 0.9 if flagged and name == "violence" else 0.01 for name in _CATEGORIES},
            "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
        })  # fmt: skip
    return {"id": "modr-simulated", "model": asked.model, "results": results}


def anthropic_models(names: list[str]) -> Json:
    data = [{"type": "model", "id": name, "display_name": name, "created_at": _WHEN} for name in names]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def gemini_models(names: list[str]) -> Json:
    methods = ["generateContent", "countTokens", "embedContent"]
    return {
        "models": [
            {"name": f"models/{name}", "displayName": name, "version": "1", "supportedGenerationMethods": methods}
            for name in names
        ]
    }


def ollama_models(names: list[str]) -> Json:
    details = {"format": "gguf", "family": "simulated", "parameter_size": "1B", "quantization_level": "Q4_0"}
    return {
        "models": [
            {"name": n, "model": n, "modified_at": _WHEN, "size": 1, "digest": "simulated", "details": details}
            for n in names
        ]
    }
