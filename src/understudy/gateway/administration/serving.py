"""From a request to an operation of `table.py`, and its answer: who may, what is asked, where the work is done."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from understudy.access.keys import Kept
from understudy.gateway import keys
from understudy.gateway.administration.endpoint import JSON, Answered, Asked, Endpoint
from understudy.gateway.client import Scope
from understudy.gateway.record import Headers
from understudy.gateway.refusing import RefusedError

if TYPE_CHECKING:
    from understudy.gateway.app import Gateway

THREADS = 4
"""Questions that are answered at once: each may read much of the ledger."""

WAITING = 32
"""Questions that may wait for that; a further one is answered 503."""

MOST_PARAMETERS = 100

T = TypeVar("T")

_CLOSED = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""On every answer: nothing of it is for caches or for a browser to guess at."""


class Desk:
    """Answers what is asked of the admin API, with threads of its own: it must not use up those of calls."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._threads = ThreadPoolExecutor(THREADS, "administration")
        self._waiting = 0

    async def answer(
        self, endpoint: Endpoint, named: Mapping[str, str], scope: Scope, read: Callable[[], Awaitable[bytes]]
    ) -> tuple[int, Headers, bytes]:
        """Status, headers and body. Raises RefusedError."""
        headers = dict(scope["headers"])
        query = scope.get("query_string", b"")
        actor, key, keeps = self._who(endpoint, headers, query)
        if endpoint.body is not None:
            _check_media(headers)
        asked = Asked(
            self._gateway,
            actor,
            key,
            headers.get(b"accept", b"").decode("latin-1"),
            place=None if endpoint.place is None else _converted(dict(named), endpoint.place, "The path"),
            query=_query(query, endpoint),
            body=None if endpoint.body is None else _body(await read(), endpoint.body),
            keeps=keeps,
        )
        if inspect.iscoroutinefunction(endpoint.work):
            return _encoded(await endpoint.work(asked))
        return await self._apart(lambda: _encoded(endpoint.work(asked)))

    def close(self) -> None:
        """Take on no further question. Those that are being answered end by themselves: they have a bound in time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _who(
        self, endpoint: Endpoint, headers: Mapping[bytes, bytes], query: bytes
    ) -> tuple[str, str | None, Kept | None]:
        """Who asks, the id of the virtual key if it is one, and what may be kept of that."""
        authorization = self._gateway.authorization
        if endpoint.right != "call" or authorization.administers(headers):
            return *authorization.operator(headers, endpoint.right), None
        in_url = keys.in_query(query)
        authorization.check(headers, in_url)
        key = authorization.caller(headers, in_url)
        return ("client", None, None) if key is None else (key.id, key.id, key.store)

    async def _apart(self, work: Callable[[], T]) -> T:
        if self._waiting >= THREADS + WAITING:
            raise RefusedError(503, "overloaded", "Too many questions are waiting to be answered.", retry_after="1")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _encoded(found: Any) -> tuple[int, Headers, bytes]:
    """Status, headers and body. A long answer takes a while: that of a thread is made in it."""
    answered = found if isinstance(found, Answered) else Answered(found)
    body = answered.body if isinstance(answered.body, bytes) else msgspec.json.encode(answered.body)
    return answered.status, [(b"content-type", answered.media.encode()), *_CLOSED], body


def _converted(values: Any, kind: type[T], where: str) -> T:
    """Strings from a URL as `kind`. Raises RefusedError."""
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong("invalid_value", where, error) from None


def _query(query: bytes, endpoint: Endpoint) -> Any:
    try:
        given = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise RefusedError(400, "invalid_value", f"The query has more than {MOST_PARAMETERS} parameters.") from None
    if endpoint.right == "call":
        given.pop("key", None)  # Google's clients say there who they are
    fields = () if endpoint.query is None else msgspec.structs.fields(endpoint.query)
    known = {field.encode_name: field for field in fields}
    values: dict[str, Any] = {}
    for name, texts in given.items():
        field = known.get(name)
        if field is None:
            there = ", ".join(known) or "none"
            raise RefusedError(
                400, "invalid_value", f"There is no parameter {name[:100]!r} here. Known: {there}.", param=name[:100]
            )
        if isinstance(field.default_factory, type) and issubclass(field.default_factory, list):
            values[name] = texts
        elif len(texts) > 1:
            raise RefusedError(
                400, "invalid_value", f"`{name}` is given {len(texts)} times; once is enough.", param=name
            )
        else:
            values[name] = texts[0]
    return None if endpoint.query is None else _converted(values, endpoint.query, "The query")


def _body(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong("invalid_body", "The body", error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "invalid_body", f"The body is not valid JSON: {error}.") from None


def _wrong(code: str, where: str, error: msgspec.ValidationError) -> RefusedError:
    what, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    return RefusedError(400, code, f"`{field}`: {what}." if field else f"{where}: {what}.", param=field or None)


def _check_media(headers: Mapping[bytes, bytes]) -> None:
    """A body has to say that it is JSON: that is what a page of another site cannot make a browser send unasked."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if kind != JSON:
        raise RefusedError(
            415, "unsupported_media_type", f"Send the header `content-type: {JSON}`, not {kind[:100]!r}."
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RefusedError(415, "unsupported_encoding", "Compressed request bodies are not taken: send it plain.")
