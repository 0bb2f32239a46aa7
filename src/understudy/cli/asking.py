"""How verbs find the gateway that is running, and ask its admin API.

What answers there may be anything: nothing it sends reaches a terminal unread, its answer has bounds in size and time,
and the admin key goes nowhere but into the one header.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

import msgspec
import typer

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Where the gateway answers. Default: $UNDERSTUDY_URL, else server.host and port."
    ),
]

PATIENCE = 5.0
"""Seconds in which the whole answer must be here."""

EVERY = 1.0
"""Seconds between two looks of a verb that goes on looking."""

_MOST = 32 * 1024 * 1024
"""Bytes of an answer. Some eight thousand targets, which is more than a gateway knows, are six million."""

_START = "Start it with `understudy serve`, or say where it is with --url or $UNDERSTUDY_URL."

T = TypeVar("T")


class CannotAskError(Exception):
    """The gateway cannot be asked, or does not do as asked. `str()` says why and what to do."""


class NotThereError(CannotAskError):
    """Nothing answers there, which may change by itself."""


class UnknownTargetError(CannotAskError):
    """The gateway knows no target of that name."""


class Way(msgspec.Struct, frozen=True):
    """Where the gateway is, and what opens it. `named` and `key_from` say where those two come from, for people."""

    url: str
    named: str
    key: str | None = None
    key_from: str = ""


def find(url: str | None, config: Path | None) -> Way:
    """The way to the gateway that `--url`, the environment or the configuration means. Raises CannotAskError."""
    from understudy.gateway.assemble import configuration
    from understudy.gateway.config import ConfigError, Loaded
    from understudy.gateway.settings import Config

    environ = os.environ
    said = url or environ.get("UNDERSTUDY_URL")
    key = environ.get("UNDERSTUDY_ADMIN_KEY") or None
    key_from = "$UNDERSTUDY_ADMIN_KEY"
    loaded = Loaded(Config(), "(no file)")
    unread = ""
    if said is None or key is None:
        try:
            loaded = configuration(config, environ, Path.cwd())
        except ConfigError as error:
            if said is None:
                raise CannotAskError(
                    f"{error}\n  With --url and $UNDERSTUDY_ADMIN_KEY no configuration is needed."
                ) from None
            unread = f" The configuration could not be read for one: {error}"
    if key is None:
        key, key_from = _configured_key(loaded, unread)
    if said is None:
        where, named = _configured_url(loaded)
    else:
        where, named = _said_url(said), "--url" if url else "$UNDERSTUDY_URL"
    if key is not None:
        _check(key, key_from)
    return Way(where, named, key, key_from)


def _configured_key(loaded: Any, unread: str) -> tuple[str | None, str]:
    from understudy.gateway.config import reveal

    for key in loaded.config.server.admin_keys:
        return reveal(key, os.environ), f"the first of server.admin_keys in {loaded.source}"
    return None, unread


def _configured_url(loaded: Any) -> tuple[str, str]:
    server = loaded.config.server
    named = "the default" if loaded.source == "(no file)" else f"server.host and server.port in {loaded.source}"
    if server.port == 0:
        raise CannotAskError(
            f"{loaded.source} lets the system choose the port: say with --url where the gateway answers."
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}", named


def _said_url(said: str) -> str:
    """`said` without the `/v1` that SDKs want and `serve` prints."""
    from understudy.upstream import split_url

    try:
        address = split_url(said)
    except ValueError as error:
        raise CannotAskError(f"{plain(str(error))}. Write it as http://HOST:PORT.") from None
    return f"{address.scheme}://{address.authority}{address.path.removesuffix('/v1')}"


def _check(key: str, key_from: str) -> None:
    from understudy.providers import auth

    try:
        auth.headers("bearer", key)
    except auth.AuthError as error:
        raise CannotAskError(f"{key_from} cannot be sent: {error}") from None


async def ask(way: Way, path: str, body: object = None, *, patience: float = PATIENCE, **query: int) -> dict[str, Any]:
    """What the gateway answers; a `body` is posted. Raises CannotAskError."""
    import httpx2

    where = f"{way.url}{path}{f'?{urlencode(query)}' if query else ''}"
    headers = {"content-type": "application/json"}
    if way.key is not None:
        headers["authorization"] = f"Bearer {way.key}"
    content = None if body is None else msgspec.json.encode(body)
    try:
        # No proxy of the environment: a gateway is near, and its key is nobody else's business.
        async with (
            asyncio.timeout(patience),
            httpx2.AsyncClient(timeout=None, trust_env=False, verify=_trust(way.url)) as http,  # above
            http.stream("GET" if body is None else "POST", where, headers=headers, content=content) as response,
        ):
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > _MOST:
                    raise CannotAskError(_stranger(way, f"more than {_MOST} bytes"))
    except TimeoutError:
        raise NotThereError(f"No gateway answers at {way.url} ({way.named}) within {patience:g} s. {_START}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        why = plain(str(error)) or type(error).__name__
        raise NotThereError(f"No gateway answers at {way.url} ({way.named}): {why}. {_START}") from None
    return _read(way, response.status_code, bytes(answer))


def _trust(url: str) -> Any:
    from understudy.upstream.tls import system_trust

    return system_trust(os.environ) if url.startswith("https:") else False


def _read(way: Way, status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise CannotAskError(_stranger(way, f"HTTP {status} without JSON"))
    if status == 200:
        return answer
    error = answer.get("error")
    said, code = (error.get("message"), error.get("code")) if isinstance(error, dict) else (None, None)
    words = _hide(way, plain(said if isinstance(said, str) else "nothing else"))
    if code == "target_not_found":
        raise UnknownTargetError(words)
    raise CannotAskError(_refusal(way, status, str(code), words))


def _refusal(way: Way, status: int, code: str, words: str) -> str:
    if code == "no_admin_key":
        return (
            f"The gateway at {way.url} has no admin key, so nobody may ask. Set server.admin_keys in its configuration."
        )
    if status == 401:
        remedy = "Set UNDERSTUDY_ADMIN_KEY to a key of its server.admin_keys."
        if way.key is None:
            return f"The gateway at {way.url} asks for an admin key, and there is none. {remedy}{way.key_from}"
        return f"The gateway at {way.url} does not take the admin key ({way.key_from}). {remedy}"
    if status == 404:
        return _stranger(way, "HTTP 404: an older gateway, or a server of another kind")
    return f"The gateway at {way.url} answered HTTP {status}: {words}"


def _stranger(way: Way, what: str) -> str:
    return f"What answers at {way.url} ({way.named}) is no gateway that can be asked: {what}. {_START}"


def _hide(way: Way, words: str) -> str:
    """Whoever answers may say again what it was sent."""
    return words.replace(way.key, "(the key)") if way.key else words


def told(way: Way, answer: dict[str, Any], kind: type[T]) -> T:
    """`answer` as `kind`. Raises CannotAskError if it is something else."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise CannotAskError(_stranger(way, plain(str(error)))) from None


def plain(text: str) -> str:
    """What came from elsewhere, without anything that a terminal would obey, and not too much of it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:500])
