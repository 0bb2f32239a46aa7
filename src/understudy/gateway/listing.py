"""Which models the providers say they serve: asked when somebody needs to know, kept for a while."""

from __future__ import annotations

import asyncio

import msgspec

from understudy import clock
from understudy.gateway.routing import Provider, Routing
from understudy.providers import auth
from understudy.upstream import Clocks, TransportError

PROBE = Clocks(connect=0.3, first_token=0.5, liveness=0.5, progress=0.5)
"""Seconds for a server on this machine to list its models when the gateway starts: present or not, not slow."""

LISTING = Clocks(connect=5.0, first_token=10.0, liveness=10.0, progress=10.0)

FRESH = 300.0
"""Seconds for which a list of models is believed. Also bounds what clients that ask for nonsense can cause."""

LARGEST = 8 * 1024 * 1024
"""Bytes of a list of models. OpenRouter's has some hundred kilobytes."""


class _Model(msgspec.Struct):
    id: str


class _Named(msgspec.Struct):
    name: str


class _Models(msgspec.Struct):
    data: list[_Model] | None = None
    models: list[_Named] | None = None


_LISTS = msgspec.json.Decoder(_Models | list[_Model])
"""OpenAI's and Anthropic's shape, that of Gemini, Cohere and Ollama, and Together's bare array."""


class ListingError(Exception):
    """The provider did not list its models. `str()` says why."""


class Listing:
    """Keeps `Provider.listed` of a routing's providers fresh enough."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._asked = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Ask every provider for its models, unless that has just been done. Callers that come meanwhile share it."""
        if self._asking is None and clock.monotonic() - self._asked > FRESH:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None:
            await asyncio.shield(self._asking)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        try:
            await asyncio.gather(*(self._one(provider) for provider in self._routing.providers.values()))
            self._routing.forget()
        finally:
            self._asked = clock.monotonic()
            self._asking = None

    async def _one(self, provider: Provider) -> None:
        if provider.link is None or provider.listing is None:
            return
        try:
            names = await list_models(provider)
        except ListingError:
            return  # what it listed before is still the best that is known
        provider.listed = tuple(dict.fromkeys((*provider.listed, *names)))


async def list_models(provider: Provider, clocks: Clocks = LISTING) -> tuple[str, ...]:
    """The names of the models that `provider` says it serves. Raises ListingError."""
    link = provider.link
    if link is None or provider.listing is None:
        raise ListingError("it has no list of models")
    path = link.path + provider.listing.encode()
    lines = link.lines
    try:
        if provider.signer is not None:
            signed = await provider.signer("GET", link.site + path.decode(), (), b"")
            lines += b"".join([b"%b: %b\r\n" % pair for pair in signed])
    except auth.AuthError as error:
        raise ListingError(str(error)) from error
    head = b"GET %b HTTP/1.1\r\n%b\r\n" % (path, lines)
    try:
        response = await link.origin.send(head, b"", clocks)
        try:
            body = await response.body(LARGEST)
        finally:
            response.cancel()
    except TransportError as error:
        raise ListingError(error.message) from error
    if response.status != 200:
        raise ListingError(f"it answered HTTP {response.status}")
    try:
        found = _LISTS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListingError("its list of models cannot be read") from error
    if isinstance(found, list):
        return tuple(model.id for model in found)
    if found.data is not None:
        return tuple(model.id for model in found.data)
    if found.models is None:
        raise ListingError("its list of models cannot be read")
    return tuple(model.name.removeprefix("models/") for model in found.models)
