"""At which paths clients ask for what is done beside chat. An operation is a row here; `operate.py` runs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from understudy.gateway import embed, files, media, operate_moderations, rerank
from understudy.gateway.operate import Operation

_MODEL = r"/v1(?:beta|alpha|beta1)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/(?P<model>.+)"

PLAIN: Mapping[str, Mapping[str, Operation]] = {
    "/v1/embeddings": {"POST": embed.OPENAI},
    "/v2/embed": {"POST": embed.COHERE},
    "/api/embed": {"POST": embed.OLLAMA},
    "/api/embeddings": {"POST": embed.OLLAMA_LEGACY},
    "/v1/rerank": {"POST": rerank.V1},
    "/v2/rerank": {"POST": rerank.V2},
    "/v1/moderations": {"POST": operate_moderations.OPENAI},
    **media.PATHS,
    **files.PATHS,
}
"""Paths that are always the same, and what each method asks for there."""

PATTERNS: Sequence[tuple[re.Pattern[str], Mapping[str, Operation]]] = (
    *((re.compile(f"{_MODEL}:{verb}"), {"POST": operation}) for verb, operation in embed.GOOGLE.items()),
    *files.PATTERNS,
)
"""Paths with names in them. The groups' names are the keys of `OperationCall.named`, with escapes resolved."""


class Found(NamedTuple):
    methods: Mapping[str, Operation]
    named: Mapping[str, str]


def find(path: str) -> Found | None:
    """What is done at `path`, which may have escapes in it but no query; None if it is no operation's."""
    plain = PLAIN.get(path) or PLAIN.get(unquote(path))
    if plain is not None:
        return Found(plain, {})
    return _named(path, unquote) or _named(unquote(path), str)  # some escape the colon of a verb


def _named(path: str, read: Callable[[str], str]) -> Found | None:
    for pattern, methods in PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            return Found(methods, {name: read(value) for name, value in match.groupdict().items()})
    return None
