"""Moderations as OpenAI's `POST /v1/moderations` has them, which others have taken over but for details.

Source: the types of the official Python client; Mistral's OpenAPI document, whose results have no `flagged`.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Loss
from understudy.dialects.wire import DICT, LIST, Malformed, dump, expect, parse

DEFAULT = "omni-moderation-latest"
"""The model of a request that names none, as OpenAI documents it."""

_UNSAID = Loss("results.flagged", "the provider does not say it; it is true where a category is", "approximated")


def inputs(body: bytes) -> int:
    """How many results a request asks for: one for each text, one for all parts together. Raises `Malformed`."""
    given = expect(parse(body), DICT, "body").get("input")
    if isinstance(given, list) and not any(isinstance(value, dict) for value in given):
        return len(given)
    return 1


def answered(body: bytes, count: int) -> tuple[bytes, tuple[Loss, ...]]:
    """An answer that says of every result whether it is flagged, the very bytes where the provider did.

    Raises `Malformed` unless there are `count` results with categories: a text without a verdict would pass for one
    that is harmless.
    """
    whole = expect(parse(body), DICT, "body")
    results = expect(whole.get("results"), LIST, "results")
    if len(results) != count:
        raise Malformed("results", f"are {len(results)}, but {count} inputs were sent")
    told: list[dict[str, Any]] = []
    for i, value in enumerate(results):
        result = expect(value, DICT, f"results[{i}]")
        categories = expect(result.get("categories"), DICT, f"results[{i}].categories")
        flagged = result.get("flagged")
        told.append({**result, "flagged": flagged if isinstance(flagged, bool) else any(categories.values())})
    if told == results:
        return body, ()
    return dump({**whole, "results": told}), (_UNSAID,)
