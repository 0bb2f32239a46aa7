"""Which request is for which voice: by path, and by a header where two providers share a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, unquote

import msgspec

from understudy.sim.voices import (
    anthropic_messages,
    asides,
    bedrock_converse,
    cohere_chat,
    gemini,
    held,
    media,
    ollama,
    openai_completions,
    openai_responses,
)  # fmt: skip
from understudy.sim.voices.voice import Json, Voice

Aside = Callable[[bytes, str], Json]
Models = Callable[[list[str]], Json]


class Route(msgspec.Struct, frozen=True):
    """What a request is for: a chat in `voice` unless it has an `aside`, a list of `models`, `media` or `held` things.

    Who answers for media is for `media` to say; what is held takes several methods.
    """

    voice: Voice
    method: str = "POST"
    aside: Aside | None = None
    models: Models | None = None
    media: media.Media | None = None
    held: bool = False
    model: str = ""
    stream: bool = False


_ANTHROPIC, _COHERE, _GEMINI = anthropic_messages.VOICE, cohere_chat.VOICE, gemini.VOICE
_COMPLETIONS, _OLLAMA = openai_completions.VOICE, ollama.VOICE

_PATHS: Mapping[str, Route] = {
    "/v1/messages": Route(_ANTHROPIC),
    "/v1/messages/count_tokens": Route(_ANTHROPIC, aside=lambda body, _model: anthropic_messages.count(body)),
    "/v1/responses": Route(openai_responses.VOICE),
    "/v1/completions": Route(_COMPLETIONS),
    "/v1/embeddings": Route(_COMPLETIONS, aside=asides.openai_embeddings),
    "/v1/moderations": Route(_COMPLETIONS, aside=asides.openai_moderations),
    **{path: Route(_COMPLETIONS, media=reader) for path, reader in media.PATHS.items()},
    "/v2/chat": Route(_COHERE),
    "/v2/embed": Route(_COHERE, aside=asides.cohere_embed),
    "/v2/rerank": Route(_COHERE, aside=asides.cohere_rerank),
    "/v1/rerank": Route(_COMPLETIONS, aside=asides.cohere_rerank),
    "/api/chat": Route(_OLLAMA),
    "/api/embed": Route(_OLLAMA, aside=asides.ollama_embed),
    "/api/embeddings": Route(_OLLAMA, aside=asides.ollama_embed_one),
    "/api/tags": Route(_OLLAMA, "GET", models=asides.ollama_models),
    "/v1beta/models": Route(_GEMINI, "GET", models=asides.gemini_models),
}
_VERBS: Mapping[str, Route] = {
    "generateContent": Route(_GEMINI),
    "streamGenerateContent": Route(gemini.ARRAY, stream=True),
    "countTokens": Route(_GEMINI, aside=asides.gemini_count),
    "embedContent": Route(_GEMINI, aside=asides.gemini_embed),
    "batchEmbedContents": Route(_GEMINI, aside=asides.gemini_batch),
    "predict": Route(_GEMINI, aside=asides.vertex_predict),
}
_gemini = re.compile(r"/(?:.*/)?models/([^/]+):(\w+)")
_bedrock = re.compile(r"/model/([^/]+)/converse(-stream)?")


def find(url: str, headers: Mapping[str, str]) -> Route | None:
    """The route of a path with its query, None if no voice has it."""
    path, _, query = url.partition("?")
    if path == "/v1/models" and "anthropic-version" in headers:
        return Route(_ANTHROPIC, "GET", models=asides.anthropic_models)
    if (route := _PATHS.get(path)) is not None:
        return route
    if held.is_held(path):
        anthropic = "anthropic-version" in headers or path.startswith("/v1/messages/")
        return Route(_ANTHROPIC if anthropic else _COMPLETIONS, "", held=True)
    if named := _bedrock.fullmatch(path):
        return Route(bedrock_converse.VOICE, model=unquote(named[1]), stream=bool(named[2]))
    named = _gemini.fullmatch(unquote(path))
    verb = _VERBS.get(named[2]) if named else None
    if named is None or verb is None:
        return None
    voice = _GEMINI if verb.stream and parse_qs(query).get("alt") == ["sse"] else verb.voice
    return msgspec.structs.replace(verb, voice=voice, model=named[1])
