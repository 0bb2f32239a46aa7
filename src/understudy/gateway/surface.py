"""How calls of each dialect travel over HTTP: where clients send them, where providers take them, what a stream is.

A dialect says what stands in a body; this table says what stands around it. Some have the model and the choice of
streaming in the path instead (Gemini, Bedrock), and Gemini's streams have two forms. Sources: the base URLs and paths
of each provider's own SDK, as the tests in `tests/sdk/` use them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import msgspec

from understudy import dialects
from understudy.canon import Answer, Failed, Fault, Loss, Request
from understudy.dialects import gemini, ollama, openai_responses
from understudy.dialects.wire import Malformed, dump

CHAT = "openai-chat"
RESPONSES = "openai-responses"
ANTHROPIC = "anthropic-messages"
GEMINI = "gemini"
COHERE = "cohere-chat"
BEDROCK = "bedrock-converse"
OLLAMA = "ollama"
COMPLETIONS = "openai-completions"


class Door(msgspec.Struct, frozen=True):
    """What the URL of a call says. `model` and `stream` are None where the body says it.

    `form` tells variants of a dialect apart: `generate` (Ollama's prompt instead of messages), `array` (Gemini's stream
    as one JSON array). `key` is an API key that stood in the URL, as Google's may.
    """

    dialect: str
    model: str | None = None
    stream: bool | None = None
    form: str = ""
    key: str | None = None

    def __repr__(self) -> str:
        return f"Door({self.dialect!r}, model={self.model!r}, stream={self.stream!r}, form={self.form!r})"  # no key


DOORS: Mapping[str, Door] = {
    "/v1/chat/completions": Door(CHAT),
    "/v1/responses": Door(RESPONSES),
    "/v1/messages": Door(ANTHROPIC),
    "/v2/chat": Door(COHERE),
    "/api/chat": Door(OLLAMA),
    "/api/generate": Door(OLLAMA, form="generate"),
    "/v1/completions": Door(COMPLETIONS),
}
"""Paths that say nothing but the dialect."""

_GEMINI = re.compile(
    r"/v1(?:beta|alpha|beta1)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/(.+)"
    r":(generateContent|streamGenerateContent)"
)
_UNDER_MODELS = re.compile(r"/v1[^/]*/(?:.+/)?models/")
_BEDROCK = re.compile(r"/model/(.+)/(converse|converse-stream)")

STREAM_TYPES: Mapping[str, bytes] = {
    **dict.fromkeys((CHAT, RESPONSES, ANTHROPIC, GEMINI, COHERE, COMPLETIONS), b"text/event-stream"),
    OLLAMA: b"application/x-ndjson",
    BEDROCK: b"application/vnd.amazon.eventstream",
}
"""The content type of each dialect's streams."""

_JSON = b"application/json"

_PATHS: Mapping[str, str] = {
    CHAT: "/chat/completions",
    RESPONSES: "/responses",
    ANTHROPIC: "/v1/messages",
    COHERE: "/v2/chat",
    OLLAMA: "/api/chat",
    COMPLETIONS: "/completions",
}
"""Where providers take a call, below their base URL."""

FORWARDED: Mapping[str, frozenset[bytes]] = {
    CHAT: frozenset({b"openai-beta"}),
    RESPONSES: frozenset({b"openai-beta"}),
    COMPLETIONS: frozenset({b"openai-beta"}),
    ANTHROPIC: frozenset({b"anthropic-beta"}),
    COHERE: frozenset({b"x-client-name"}),
}
"""Client headers that mean something to a provider of the same dialect, and nothing to others."""


def door(path: str, query: str = "") -> Door | None:
    """What the URL of a call says; None if no dialect takes calls there. `path` may have escapes in it."""
    found = DOORS.get(path)
    if found is not None:
        return found
    path = unquote(path)
    match = _GEMINI.fullmatch(path)
    if match:
        stream = match[2] == "streamGenerateContent"
        said = parse_qs(query)
        array = stream and said.get("alt") != ["sse"]
        return Door(GEMINI, match[1], stream, "array" if array else "", said.get("key", [None])[0])
    match = _BEDROCK.fullmatch(path)
    return Door(BEDROCK, match[1], match[2] == "converse-stream") if match else None


_SPOKEN_BELOW = (
    ("/v1beta/", GEMINI),
    ("/upload/", GEMINI),
    ("/v1alpha/", GEMINI),
    ("/v1beta1/", GEMINI),
    ("/v1/messages", ANTHROPIC),
    ("/v1/responses", RESPONSES),
    ("/v1/completions", COMPLETIONS),
    ("/v1/rerank", COHERE),
    ("/v1/", CHAT),
    ("/v2/", COHERE),
    ("/api/", OLLAMA),
    ("/model/", BEDROCK),
)


def dialect_at(path: str) -> str:
    """The dialect of whoever asks for `path`, be it served or not: errors are told in it."""
    if ":" in path and _UNDER_MODELS.match(path):
        return GEMINI
    return next((dialect for start, dialect in _SPOKEN_BELOW if path.startswith(start)), CHAT)


def provider_path(dialect: str, base_path: str, model: str, *, stream: bool, form: str = "") -> str:
    """Where a provider takes the call, as the path of an HTTP request. `base_path` is its base URL's."""
    if dialect == GEMINI:
        version = base_path or "/v1beta"
        how = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{version}/models/{quote(model, safe='')}:{how}"
    if dialect == BEDROCK:
        return f"{base_path}/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"
    return base_path + ("/api/generate" if form == "generate" else _PATHS[dialect])


def names_model(dialect: str) -> bool:
    """Whether the model stands in the path, so that the body is the same for all models."""
    return dialect in (GEMINI, BEDROCK)


def stream_type(door: Door) -> bytes:
    """The content type of the stream that a client asked for."""
    return _JSON if door.form == "array" else STREAM_TYPES[door.dialect]


def is_stream(content_type: bytes, dialect: str) -> bool:
    """Whether an answer of that type is a stream of `dialect`."""
    return content_type.startswith(STREAM_TYPES[dialect])


def decode_request(body: bytes, door: Door, model: str, *, stream: bool) -> Request:
    """A client's call as canonical, with what its URL said. Raises Malformed."""
    request = dialects.get(door.dialect).decode_request(body)
    return msgspec.structs.replace(request, model=model, stream=stream)


def encode_answer(answer: Answer, door: Door, request: Request) -> tuple[bytes, tuple[Loss, ...]]:
    """A canonical answer for the client that asked `request` at `door`."""
    if door.dialect == RESPONSES:
        return openai_responses.encode_answer(answer, request)
    if door.dialect == OLLAMA:
        return ollama.encode_answer(answer, generate=door.form == "generate")
    return dialects.get(door.dialect).encode_answer(answer)


def stream_encoder(door: Door, request: Request | None = None) -> dialects.StreamEncoder:
    """A writer of the stream that the client at `door` reads."""
    if door.form == "array":
        return gemini.StreamEncoder(request, array=True)
    return dialects.get(door.dialect).StreamEncoder(request)


def broken(fault: Fault, door: Door) -> bytes:
    """What ends a stream that was passed on as it came and cannot be finished: an error in the client's dialect."""
    return dialects.get(door.dialect).StreamEncoder().encode(Failed(fault))


_SEALS: Mapping[str, tuple[bytes, str, str]] = {
    ANTHROPIC: (b"understudy:", "signature", "data"),
    RESPONSES: (b"understudy.", "encrypted_content", "encrypted_content"),
}
"""The mark of what we sealed ourselves, and the fields in which it stands."""


def without_seals(body: bytes, dialect: str) -> bytes:
    """`body` without the reasoning of other providers that we gave the client to keep: its own provider cannot read it.

    The very same where there is none, as in nearly every call, which costs one search. Raises Malformed.
    """
    known = _SEALS.get(dialect)
    if known is None or known[0] not in body:
        return body
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("body", f"is not valid JSON: {error}") from None
    mark, *fields = known
    prefix = mark.decode()

    def sealed(item: Any) -> bool:
        return isinstance(item, dict) and any(
            isinstance(item.get(field), str) and item[field].startswith(prefix) for field in fields
        )

    place = "input" if dialect == RESPONSES else "messages"
    turns = raw.get(place) if isinstance(raw, dict) else None
    if not isinstance(turns, list):
        return body
    kept = [turn for turn in turns if not sealed(turn)]
    emptied = []
    found = len(kept) < len(turns)
    for turn in kept:
        blocks = turn.get("content") if isinstance(turn, dict) and dialect == ANTHROPIC else None
        if isinstance(blocks, list) and any(map(sealed, blocks)):
            found = True
            turn["content"] = [block for block in blocks if not sealed(block)]
            if not turn["content"]:
                emptied.append(turn)
    raw[place] = [turn for turn in kept if not any(turn is one for one in emptied)]
    return dump(raw) if found else body
