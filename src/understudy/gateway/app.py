"""The ASGI app: paths, keys and bounds. What happens to a call is in `exchange.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from understudy import __version__, clock, dialects
from understudy.canon import Fault
from understudy.dialects.wire import Malformed
from understudy.gateway import counting, keeping, keys, models, surface
from understudy.gateway import exchange as exchanges
from understudy.gateway.call import BadCallError, Call
from understudy.gateway.client import AsgiClient, Client, Receive, Scope, Send
from understudy.gateway.listing import Listing
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.responses import BadPageError
from understudy.gateway.routing import NoRouteError, Route, Routing
from understudy.gateway.stored import Stored, StoredError
from understudy.gateway.surface import Door
from understudy.resilience import Cooldowns
from understudy.upstream import Client as Transport

DEPARTED = "understudy.departed"
"""Scope key: a list of tasks that the server cancels with `CLIENT_LEFT` when the client's connection is gone."""

CLIENT_LEFT = "the client left"

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
Observer = Callable[[Exchange], None]


class RefusedError(Exception):
    """A request that goes nowhere: `status`, and what the error says in the client's dialect."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None, **headers: str) -> None:
        self.status, self.code, self.param = status, code, param
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)

    def answer(self, dialect: str = surface.CHAT) -> tuple[int, Headers, bytes]:
        """Status, headers and body that tell a client of `dialect`."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        fault = Fault(status=self.status, code=self.code, type=kind, param=self.param, message=str(self))
        status, headers, body = dialects.get(dialect).encode_fault(fault)
        lines = {**headers, **self.headers}
        return status, [(name.encode(), text.encode("latin-1", "replace")) for name, text in lines.items()], body


class _LeftError(Exception):
    """The client left before its request was whole."""


class Gateway:
    """An ASGI app over one `Routing`, and the state that outlives a call: cooldowns, connections, open calls.

    `observers` are called with each finished exchange, after the client has its answer.
    """

    def __init__(self, routing: Routing, transport: Transport, api_keys: list[str]) -> None:
        self.routing = routing
        self.transport = transport
        self.cooldowns = Cooldowns()
        self.observers: list[Observer] = []
        self.stopping = False
        self.open = 0
        self.stored = _store(routing.config.server.stored_responses)
        self._listing = Listing(routing)
        self._keys = frozenset(key.encode() for key in api_keys)
        self._bearers = frozenset(b"Bearer " + key.encode() for key in api_keys)
        self._paths: dict[str, dict[str, Handler]] = {
            **{path: {"POST": self._call} for path in surface.DOORS},
            **{path: {"GET": self._models} for path in models.LISTS},
            "/api/version": {"GET": self._version},
            "/api/show": {"POST": self._show},
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._ready},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._handler(scope)(scope, receive, send)
            except RefusedError as refused:
                await AsgiClient(send).whole(*refused.answer(surface.dialect_at(scope["path"])))
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003, "reason": "WebSockets are not served here."})

    def _handler(self, scope: Scope) -> Handler:
        path, method = scope["path"], scope["method"]
        methods = self._paths.get(path) or self._at(path, scope.get("raw_path") or path.encode())
        if methods is None:
            known = ", ".join(sorted(self._paths))
            raise RefusedError(404, "unknown_url", f"Unknown request URL: {method} {path[:200]}. Served here: {known}.")
        handler = methods.get(method)
        if handler is None:
            allow = ", ".join(methods)
            raise RefusedError(
                405, "method_not_allowed", f"{path[:200]} does not take {method}; use {allow}.", allow=allow
            )
        return handler

    def _at(self, path: str, raw: bytes) -> dict[str, Handler] | None:
        """The handlers of a path that has a model's name in it."""
        if models.named(path) is not None:
            return {"GET": self._model}
        if path.startswith("/v1/responses/") and path not in counting.PATHS:
            return self._stored_methods(path)
        if counting.at(path) is not None:
            return {"POST": self._count}
        return {"POST": self._call} if surface.door(raw.decode("latin-1").partition("?")[0]) else None

    def _check_key(self, headers: Mapping[bytes, bytes], in_url: str | None = None) -> None:
        # Found by the hash of the whole value: how long that takes says nothing about how much of a guess is right.
        if not self._keys or headers.get(b"authorization") in self._bearers:
            return
        given = keys.given(headers, in_url)
        if given is None:
            message = (
                "No API key. Send a key of this gateway's `server.keys` as your SDK sends its key, "
                "for instance `Authorization: Bearer KEY`."
            )
            raise RefusedError(401, "invalid_api_key", message, www_authenticate="Bearer")
        if given not in self._keys:
            raise RefusedError(401, "invalid_api_key", "Incorrect API key. Send a key of this gateway's `server.keys`.")

    async def route(self, model: str) -> Route:
        """The route for the name a client asked for, after asking the providers where it is not known. NoRouteError."""
        try:
            return self.routing.find(model)
        except NoRouteError:
            await self._listing.refresh()
            return self.routing.find(model)

    # -- calls -----------------------------------------------------------------------------------------------------

    def admit(self, headers: Mapping[bytes, bytes], door: Door) -> None:
        """Whether a call with this head may come in. Raises RefusedError."""
        self._check_key(headers, door.key)
        limits = self.routing.config.server
        if self.stopping or self.open >= limits.max_open:
            why = "The gateway is stopping." if self.stopping else "Too many calls are open (server.max_open)."
            raise RefusedError(503, "overloaded", why, retry_after="1")
        _check_media(headers)
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limits.max_body:
            raise self.too_large()

    def too_large(self) -> RefusedError:
        limit = self.routing.config.server.max_body
        return RefusedError(413, "body_too_large", f"The body is larger than {limit} bytes (server.max_body).")

    async def call(self, headers: Mapping[bytes, bytes], body: bytes, door: Door, client: Client) -> None:
        """Answer one call. A task that is cancelled with CLIENT_LEFT ends quietly. Raises RefusedError."""
        store = self.stored if door.dialect == surface.RESPONSES else None
        if store is not None:
            body = await keeping.expanded(body, headers, store)
            keeper = keeping.Keeper(client)
            client = keeper
        try:
            call = Call(body, headers, door)
            route = self.routing.routes.get(call.model) or await self.route(call.model)
        except BadCallError as error:
            raise RefusedError(400, "invalid_body", str(error), param=error.field or None) from None
        except NoRouteError as error:
            raise RefusedError(404, "model_not_found", str(error), param="model") from None
        exchange = client.exchange = Exchange(call, route)
        try:
            exchange.outcome = await exchanges.run(exchange, client, self.cooldowns, self.transport)
        except asyncio.CancelledError as error:
            if error.args == (CLIENT_LEFT,):
                exchange.outcome = "client_left"
            else:
                exchange.outcome = "stopped"
                await exchanges.stopped(exchange, client)
                raise
        finally:
            exchange.ended = clock.monotonic()
            if store is not None and exchange.outcome == "answered":
                keeper.put(body, headers, store)
            for observer in self.observers:
                observer(exchange)

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        raw = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        door = surface.door(raw, scope.get("query_string", b"").decode("latin-1"))
        assert door is not None  # or else `_handler` would not have come here
        self.admit(headers, door)
        self.open += 1
        task = asyncio.current_task()
        assert task is not None
        departed: list[asyncio.Task[None]] | None = scope.get(DEPARTED)
        watcher = None
        if departed is not None:
            departed.append(task)
        try:
            body = await self._body(receive)
            if departed is None:
                watcher = asyncio.ensure_future(_watch(receive, task))
            await self.call(headers, body, door, AsgiClient(send))
        except _LeftError:
            return
        finally:
            self.open -= 1
            if departed is not None:
                departed.remove(task)
            elif watcher is not None:
                watcher.cancel()

    async def _body(self, receive: Receive) -> bytes:
        limit = self.routing.config.server.max_body
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _LeftError
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise self.too_large()
            if not message.get("more_body"):
                return b"".join(pieces)

    # -- the rest ----------------------------------------------------------------------------------------------------

    async def _models(self, scope: Scope, _receive: Receive, send: Send) -> None:
        headers = self._reader(scope)
        await self._listing.refresh()
        await _json(send, models.listed(scope["path"], headers, self.routing.names()))

    async def _model(self, scope: Scope, _receive: Receive, send: Send) -> None:
        headers = self._reader(scope)
        name = models.named(scope["path"])
        assert name is not None  # or else `_at` would not have come here
        await self._known(name)
        await _json(send, models.described(scope["path"], headers, name))

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._reader(scope)
        name = models.asked(await self._body(receive))
        if name is None:
            raise RefusedError(400, "invalid_body", "`model` is missing.", param="model")
        await self._known(name)
        await _json(send, models.shown(name))

    async def _version(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await _json(send, {"version": __version__})

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        door = counting.at(scope["path"])
        assert door is not None  # or else `_at` would not have come here
        self.admit(headers, door)
        try:
            call = Call(await self._body(receive), headers, door)
            route = await self.route(call.model)
            answer = await counting.count(call, route)
        except (BadCallError, Malformed) as error:
            raise RefusedError(400, "invalid_body", str(error), param=error.field or None) from None
        except NoRouteError as error:
            raise RefusedError(404, "model_not_found", str(error), param="model") from None
        await AsgiClient(send).whole(*answer)

    # -- stored responses ----------------------------------------------------------------------------------------------

    def _stored_methods(self, path: str) -> dict[str, Handler] | None:
        rest = path.removeprefix("/v1/responses/").split("/")
        if len(rest) == 1:
            return {"GET": self._response, "DELETE": self._response}
        known: dict[str, dict[str, Handler]] = {
            "input_items": {"GET": self._response},
            "cancel": {"POST": self._cancel},
        }
        return known.get(rest[1]) if len(rest) == 2 else None

    async def _response(self, scope: Scope, _receive: Receive, send: Send) -> None:
        headers = self._reader(scope)
        name, _, what = scope["path"].removeprefix("/v1/responses/").partition("/")
        found = None
        if self.stored is not None:
            try:
                if what:
                    found = await keeping.items(name, headers, scope.get("query_string", b""), self.stored)
                elif scope["method"] == "DELETE":
                    found = await keeping.delete(name, headers, self.stored)
                else:
                    found = await keeping.get(name, headers, self.stored)
            except BadPageError as error:
                raise RefusedError(400, "invalid_value", str(error), param=error.param) from None
            except StoredError as error:
                raise RefusedError(503, "not_stored", str(error)) from None
        if found is None:
            raise RefusedError(404, "response_not_found", f"Response with id '{name[:100]}' not found.", param="id")
        await _json(send, found)

    async def _cancel(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self._reader(scope)
        why = "Responses run in the foreground here: close the connection to cancel one."
        raise RefusedError(501, "not_supported", why)

    def _reader(self, scope: Scope) -> Mapping[bytes, bytes]:
        """The headers of a request that needs a key and nothing else."""
        headers = dict(scope["headers"])
        self._check_key(headers, keys.in_query(scope.get("query_string", b"")))
        return headers

    async def _known(self, name: str) -> None:
        try:
            await self.route(name)
        except NoRouteError as error:
            raise RefusedError(404, "model_not_found", str(error), param="model") from None

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await _json(send, {"status": "ok"})

    async def _ready(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        if self.stopping:
            raise RefusedError(503, "stopping", "The gateway is stopping.")
        if not self.routing.providers:
            raise RefusedError(
                503, "no_provider", "No provider was found. `understudy check` says what was looked for."
            )
        await _json(send, {"status": "ready"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def close(self) -> None:
        """Close every connection and stop every embedded engine."""
        await self._listing.close()
        if self.stored is not None:
            await self.stored.close()
        await self.transport.close()
        for provider in self.routing.providers.values():
            for engine in provider.engines.values():
                await engine.stop()


def _store(setting: str) -> Stored | None:
    if setting == "off":
        return None
    return Stored(":memory:" if setting == "memory" else Path(setting).expanduser())


def _check_media(headers: Mapping[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"application/json")
    if kind != b"application/json":
        kind = kind.partition(b";")[0].strip().lower()
        if kind != b"application/json" and not kind.endswith(b"+json"):
            shown = kind[:100].decode("latin-1")
            raise RefusedError(415, "unsupported_media_type", f"The content type {shown!r} is not application/json.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RefusedError(415, "unsupported_encoding", "Compressed request bodies are not taken: send it plain.")


async def _watch(receive: Receive, task: asyncio.Task[None]) -> None:
    """For servers that do not tell the app by themselves when a client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel(CLIENT_LEFT)


async def _json(send: Send, value: object) -> None:
    await AsgiClient(send).whole(200, [(b"content-type", b"application/json")], msgspec.json.encode(value))
