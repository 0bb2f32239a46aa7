"""How many tokens a prompt has: asked of a provider that counts in the client's dialect, else estimated and said to be.

A provider's own count is exact for its own model. Where none of the route's targets speaks the client's dialect, four
characters of text count as a token, OpenAI's rule of thumb for English (help.openai.com, "What are tokens and how to
count them"), and the answer has `x-understudy-estimated: true`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from understudy.canon import File, Image, Part, Reasoning, Refusal, Request, Text, ToolCall, ToolResult
from understudy.dialects.wire import dump, parse
from understudy.gateway import named_files, surface
from understudy.gateway.call import Call
from understudy.gateway.record import Headers
from understudy.gateway.routing import Route, Target
from understudy.gateway.surface import Door
from understudy.upstream import TransportError

_GEMINI = re.compile(
    r"/v1(?:beta|alpha|beta1)?/(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?models/(.+):countTokens"
)
PATHS = {
    "/v1/messages/count_tokens": Door(surface.ANTHROPIC),
    "/v1/responses/input_tokens": Door(surface.RESPONSES),
}
_BELOW = {surface.ANTHROPIC: "/v1/messages/count_tokens", surface.RESPONSES: "/responses/input_tokens"}
_CHARACTERS = 4
_PER_MESSAGE = 4
"""Tokens around each message: its role and separators."""

_PER_IMAGE = 1000
"""Tokens of an image, in the order of what providers charge for one of a megapixel."""

_LARGEST = 1024 * 1024


def at(path: str) -> Door | None:
    """The dialect that counts at `path`, and the model if that stands there; None if nothing is counted there."""
    known = PATHS.get(path)
    if known is not None:
        return known
    found = _GEMINI.fullmatch(unquote(path))
    return Door(surface.GEMINI, found[1], stream=False) if found else None


async def count(call: Call, route: Route) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer. Raises Malformed."""
    for target in route.targets:
        if target.provider.dialect == call.door.dialect and target.link is not None and target.provider.signer is None:
            answer = await _ask(target, call, route)
            if answer is not None:
                return 200, [(b"content-type", b"application/json"), (b"x-understudy-target", target.label)], answer
    request = call.request() if call.door.dialect != surface.GEMINI else _gemini(call)
    tokens = estimate(request)
    headers = [(b"content-type", b"application/json"), (b"x-understudy-estimated", b"true")]
    return 200, headers, msgspec.json.encode(_shape(call.door.dialect, tokens))


def _gemini(call: Call) -> Request:
    """Gemini may wrap the request that it is to count."""
    wrapped = parse(call.body).get("generateContentRequest")
    inner = dump(wrapped) if isinstance(wrapped, dict) else call.body
    return surface.decode_request(inner, call.door, call.model, stream=False)


async def _ask(target: Target, call: Call, route: Route) -> bytes | None:
    """The provider's own count; None if it gives none."""
    link = target.link
    assert link is not None
    if call.door.dialect == surface.GEMINI:
        whole = surface.provider_path(surface.GEMINI, link.path.decode(), target.model, stream=False)
        path = whole.removesuffix("generateContent") + "countTokens"
    else:
        path = link.path.decode() + _BELOW[call.door.dialect]
    try:
        body = named_files.body(call.body_for(target), target)
    except named_files.UnheldError:
        return None
    head = b"POST %b HTTP/1.1\r\n%bcontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (
        path.encode(), link.lines, call.lines_for(target), len(body),
    )  # fmt: skip
    try:
        response = await link.origin.send(head, body, route.whole_clocks)
        try:
            answer = await response.body(_LARGEST)
        finally:
            response.cancel()
    except TransportError:
        return None  # an estimate is better than an error about a count
    return answer if response.status == 200 else None


def _shape(dialect: str, tokens: int) -> dict[str, object]:
    if dialect == surface.GEMINI:
        return {"totalTokens": tokens}
    if dialect == surface.RESPONSES:
        return {"object": "response.input_tokens", "input_tokens": tokens}
    return {"input_tokens": tokens}


def estimate(request: Request) -> int:
    """Roughly how many tokens `request` has for a model that reads it."""
    total = 0
    for message in request.messages:
        total += _PER_MESSAGE + sum(map(_tokens, message.parts))
    for tool in request.tools:
        said = len(tool.name) + len(tool.description or "")
        total += (said + len(msgspec.json.encode(tool.parameters or {}))) // _CHARACTERS
    return total


def _tokens(part: Part) -> int:
    if isinstance(part, Image):
        return _PER_IMAGE
    if isinstance(part, File):
        return len(getattr(part.source, "data", "")) // _CHARACTERS
    if isinstance(part, ToolResult):
        return sum(map(_tokens, part.parts))
    if isinstance(part, ToolCall):
        return (len(part.name) + len(part.arguments)) // _CHARACTERS + 1
    return len(part.text) // _CHARACTERS + 1 if isinstance(part, Text | Reasoning | Refusal) else 0
