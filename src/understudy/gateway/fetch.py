"""Fetches images and documents that a request names by URL, for targets that take nothing but the bytes themselves.

Whoever may name a URL may try to make the gateway reach what only the gateway can: the cloud's metadata service, a
database beside it (server-side request forgery, OWASP's SSRF prevention cheat sheet). So a name is resolved here, every
address it has is checked, and the connection goes to the address that was checked, with the name kept for TLS and the
`host` header: a second look-up could give another answer (DNS rebinding). Redirects take the same way again. Nothing is
sent along: no cookie, no credential. The environment's proxies are not used: a proxy would resolve the name anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx2
import msgspec

from understudy import clock
from understudy.canon import Audio, File, Image, Inline, Loss, Part, Request, ToolResult, Url
from understudy.gateway.fetched import UnwantedError, forbidden, media_type_of, readable
from understudy.upstream.tls import system_trust

Media = Image | File | Audio
Wanted = Callable[[Media], bool]
"""Whether a part with a `Url` is to be fetched."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses, as `getaddrinfo` gives them. OSError where there are none."""

_REDIRECTS = (301, 302, 303, 307, 308)
_MUCH = 256 * 1024
_HEADERS = {
    "accept": "image/*, audio/*, application/pdf, text/*",
    "accept-encoding": "identity",  # what unpacks may unpack to a thousand times the bound
    "user-agent": "understudy",
}

_log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one request's fetching; bytes and seconds. `allow_private`: for owners with an internal image host."""

    item: int = 20 * 1024 * 1024
    total: int = 32 * 1024 * 1024
    seconds: float = 10.0
    at_once: int = 4
    items: int = 16
    redirects: int = 3
    allow_private: bool = False


class FetchError(Exception):
    """`url`, without query or credentials, could not be fetched; `why` is a clause for people."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url} could not be fetched: {why}")
        self.url = url
        self.why = why


# --- what has to be fetched for whom


def _any(_part: Media) -> bool:
    return True


def _not_googles(part: Media) -> bool:
    """Gemini reads its own file store, Cloud Storage and YouTube.

    Of other hosts only some of its models do, and with a type stated, which other dialects' URLs come without.
    """
    places = ("https://generativelanguage.googleapis.com/", "gs://", "https://www.youtube.com/", "https://youtu.be/")
    return isinstance(part.source, Url) and not part.source.url.startswith(places)


def _not_a_pdf(part: Media) -> bool:
    """Anthropic fetches images and PDFs, and takes texts only as bytes."""
    if not isinstance(part, File) or not isinstance(part.source, Url):
        return False
    path = part.source.url.partition("?")[0].lower()
    return part.source.media_type != "application/pdf" and not path.endswith(".pdf")


_NEEDS: dict[str, Wanted] = {
    "anthropic-messages": _not_a_pdf,
    "bedrock-converse": _any,
    "cohere-chat": lambda part: isinstance(part, File),
    "gemini": _not_googles,
    "ollama": lambda part: isinstance(part, Image),
    "openai-chat": lambda part: not isinstance(part, Image),
}


def needs_inline(dialect: str) -> Wanted | None:
    """Which parts a target of `dialect` takes only as bytes, to be given to `inline`; None if there are none."""
    return _NEEDS.get(dialect)


# --- the request


async def inline(
    request: Request,
    wanted: Wanted | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    strict: bool = False,
    resolve: Resolve | None = None,
    trust: Callable[[], ssl.SSLContext] | None = None,
) -> tuple[Request, tuple[Loss, ...]]:
    """`request` with the bytes in place of every URL that is `wanted` (None: all of them), also inside tool results.

    What could not be fetched keeps its URL and is a `Loss`; with `strict` it is an error instead.

    Raises:
        FetchError: only with `strict`.
    """
    found = [
        (path, part)
        for i, message in enumerate(request.messages)
        for path, part in _media(message.parts, f"messages[{i}]")
        if wanted is None or wanted(part)
    ]
    if not found:
        return request, ()
    urls = list(dict.fromkeys(part.source.url for _, part in found if isinstance(part.source, Url)))
    fetching = _Fetching(limits, resolve or _resolve, trust or _trust)
    got = await fetching.all(urls[: limits.items])
    new: dict[str, Media] = {}
    losses = []
    for path, part in found:
        assert isinstance(part.source, Url)
        url = part.source.url
        outcome = got.get(url) or FetchError(_shown(url), f"it is beyond the {limits.items} items of one request")
        if isinstance(outcome, Inline) and (why := _misplaced(part, outcome)) is not None:
            outcome = FetchError(_shown(url), why)
        if isinstance(outcome, Inline):
            new[path] = msgspec.structs.replace(part, source=outcome)
        elif strict:
            raise outcome
        else:
            losses.append(Loss(path + ".source", str(outcome)))
    messages = tuple(
        msgspec.structs.replace(message, parts=_replaced(message.parts, f"messages[{i}]", new))
        for i, message in enumerate(request.messages)
    )
    return msgspec.structs.replace(request, messages=messages), tuple(losses)


def _media(parts: tuple[Part, ...], where: str) -> Iterator[tuple[str, Media]]:
    """Every part with a URL, and its path."""
    for i, part in enumerate(parts):
        path = f"{where}.parts[{i}]"
        if isinstance(part, ToolResult):
            yield from _media(part.parts, path)
        elif isinstance(part, Image | File | Audio) and isinstance(part.source, Url):
            yield path, part


def _replaced(parts: tuple[Part, ...], where: str, new: dict[str, Media]) -> tuple[Part, ...]:
    out: list[Part] = []
    for i, part in enumerate(parts):
        path = f"{where}.parts[{i}]"
        if isinstance(part, ToolResult):
            out.append(msgspec.structs.replace(part, parts=_replaced(part.parts, path, new)))
        else:
            out.append(new.get(path, part))
    return tuple(out)


def _misplaced(part: Media, got: Inline) -> str | None:
    """Why these bytes cannot stand in that part."""
    family = {Image: "image", Audio: "audio"}.get(type(part))
    if family is None or (got.media_type or "").startswith(family + "/"):
        return None
    return f"it is {got.media_type}, where {family}/* was expected"


# --- the network


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@functools.cache
def _trust() -> ssl.SSLContext:
    return system_trust(os.environ)


def _shown(url: str) -> str:
    """A URL as it may be shown: signed ones keep their secret in the query."""
    try:
        parsed = httpx2.URL(url)
        shown = str(parsed.copy_with(userinfo=b"", query=None, fragment=None))
    except (httpx2.InvalidURL, ValueError):
        return "a URL that makes no sense"
    return shown if len(shown) <= 200 else shown[:200] + "…"


class _Fetching:
    """The fetching of one request: what has been received so far, and how much may come at once."""

    def __init__(self, limits: Limits, resolve: Resolve, trust: Callable[[], ssl.SSLContext]) -> None:
        self._limits = limits
        self._resolve = resolve
        self._trust = trust
        self._received = 0
        self._room = asyncio.Semaphore(limits.at_once)

    async def all(self, urls: list[str]) -> dict[str, Inline | FetchError]:
        """What became of each URL, within the seconds allowed for all of them."""
        tasks = {url: asyncio.ensure_future(self._one(url)) for url in urls}

        def expire() -> None:
            for task in tasks.values():
                task.cancel()

        timer = clock.call_later(self._limits.seconds, expire)
        try:
            await asyncio.wait(tasks.values())
        except asyncio.CancelledError:
            expire()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            raise
        finally:
            timer.cancel()
        late = f"it had not come within {self._limits.seconds:g} s"
        return {
            url: FetchError(_shown(url), late) if task.cancelled() else task.result() for url, task in tasks.items()
        }

    async def _one(self, url: str) -> Inline | FetchError:
        async with self._room:
            try:
                return await self._follow(url)
            except UnwantedError as error:
                return FetchError(_shown(url), str(error))
            except OSError as error:
                _log.warning("images and documents cannot be fetched by https: %s", error)
                return FetchError(_shown(url), "the gateway cannot read the certificates it trusts")

    async def _follow(self, start: str) -> Inline:
        url = _parsed(start)
        for _ in range(self._limits.redirects + 1):
            async with self._ask(url) as response:
                if response.status_code not in _REDIRECTS:
                    return await self._take(response)
                location = response.headers.get("location")
            if location is None:
                raise UnwantedError("it redirects to nowhere")
            url = _parsed(location, url)
        raise UnwantedError(f"it redirects more than {self._limits.redirects} times")

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise UnwantedError(f"the name {host!r} does not resolve") from None
        for address in addresses:
            if not self._limits.allow_private and (why := forbidden(address)) is not None:
                raise UnwantedError(f"{host!r} is {why}, where nothing is fetched from")
        if not addresses:
            raise UnwantedError(f"the name {host!r} does not resolve")
        return addresses[:3]

    @contextlib.asynccontextmanager
    async def _ask(self, url: httpx2.URL) -> AsyncIterator[httpx2.Response]:
        """The answer, its body still to come, over a connection of its own to an address that was checked."""
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        why = ""
        for address in await self._addresses(host, port):
            asked = httpx2.Request(
                "GET",
                url.copy_with(host=address, fragment=None),
                headers={**_HEADERS, "host": url.netloc.decode("ascii")},
                extensions={"sni_hostname": host},
            )
            # One transport for each: a pooled connection is known by its address alone, and would serve another name
            # without a look at the certificate.
            verify = self._trust() if url.scheme == "https" else False
            async with httpx2.AsyncHTTPTransport(verify=verify, trust_env=False) as transport:
                try:
                    response = await transport.handle_async_request(asked)
                except (httpx2.HTTPError, OSError, ValueError) as error:  # ValueError: a name that TLS cannot say
                    why = f"no answer from {host!r}: {str(error) or type(error).__name__}"
                    continue
                try:
                    yield response
                finally:
                    await response.aclose()
                return
        raise UnwantedError(why)

    async def _take(self, response: httpx2.Response) -> Inline:
        """The bytes of an answer, if they are what may be passed on."""
        if response.status_code != 200:
            raise UnwantedError(f"the server answers {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UnwantedError("it comes compressed, though that was not asked for")
        said = response.headers.get("content-type", "")
        media_type_of(said, b"")  # refuse a type before receiving it
        pieces = []
        size = 0
        try:
            async for piece in response.aiter_raw():
                size += len(piece)
                self._received += len(piece)
                if size > self._limits.item:
                    raise UnwantedError(f"it is longer than the {self._limits.item} bytes allowed")
                if self._received > self._limits.total:
                    raise UnwantedError(f"with the others it is longer than {self._limits.total} bytes")
                pieces.append(piece)
        except (httpx2.HTTPError, OSError) as error:
            raise UnwantedError(f"it broke off: {str(error) or type(error).__name__}") from None
        data = b"".join(pieces)
        if not data:
            raise UnwantedError("it is empty")
        if size > _MUCH:  # tens of milliseconds, during which no other stream would move
            return await asyncio.to_thread(_encoded, said, data)
        return _encoded(said, data)


def _encoded(said: str, data: bytes) -> Inline:
    media_type = media_type_of(said, data)
    return Inline(base64.b64encode(readable(media_type, said, data)).decode("ascii"), media_type)


def _parsed(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    try:
        url = httpx2.URL(text) if base is None else base.join(text)
    except (httpx2.InvalidURL, ValueError):
        raise UnwantedError("the URL makes no sense" if base is None else "it redirects to nonsense") from None
    prefix = "" if base is None else "it redirects to where "
    if url.scheme not in ("http", "https") or not url.host:
        raise UnwantedError(f"{prefix}only http and https are fetched")
    if url.userinfo:
        raise UnwantedError(f"{prefix}credentials stand in the URL, and none are sent")
    return url
