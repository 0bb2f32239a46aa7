"""The ASGI app: paths and bounds. What happens to a call is in `exchange.py`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from understudy import __version__, clock
from understudy.access import Crossed, Key
from understudy.cache import Cache
from understudy.dialects.wire import Malformed
from understudy.gateway import (
    admin,
    background,
    caching,
    counting,
    keeping,
    keys,
    models,
    operate,
    operation_table,
    patience,
    pricing,
    recording,
    relay,
    surface,
    telling,
)
from understudy.gateway import exchange as exchanges
from understudy.gateway.administration import table
from understudy.gateway.administration.serving import Desk
from understudy.gateway.authorization import Authorization
from understudy.gateway.call import BadCallError, Call
from understudy.gateway.client import AsgiClient, Client, Receive, Scope, Send
from understudy.gateway.listing import Listing
from understudy.gateway.record import Exchange
from understudy.gateway.refusing import RefusedError
from understudy.gateway.responses import BadQueryError
from understudy.gateway.routing import NoRouteError, Route, Routing
from understudy.gateway.sharing import Sharing
from understudy.gateway.stored import Stored, StoredError
from understudy.gateway.surface import Door
from understudy.local.embedded import Embedded
from understudy.resilience import Change, Health
from understudy.upstream import Client as Transport

if TYPE_CHECKING:
    from understudy.telemetry.metrics import Metrics
    from understudy.telemetry.told import Telling

log = logging.getLogger("understudy")

DEPARTED = "understudy.departed"
"""Scope key: a list of tasks that the server cancels with `CLIENT_LEFT` when the client's connection is gone."""

SEVER = "understudy.sever"
"""Scope key: what closes the client's connection amid an answer, so that this cannot look finished."""

CLIENT_LEFT = "the client left"

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
Observer = Callable[[Exchange], None]


class _LeftError(Exception):
    """The client left before its request was whole."""


class Gateway:
    """An ASGI app over one `Routing`, and the state that outlives a call: health, connections, open calls.

    `observers` are called with each finished exchange, after the client has its answer.
    """

    def __init__(
        self, routing: Routing, transport: Transport, api_keys: list[str], admin_keys: Sequence[str] = ()
    ) -> None:
        self.routing = routing
        self.transport = transport
        self.health = Health()
        self.journal = admin.Journal()
        self.health.tell.append(self._changed)
        self.observers: list[Observer] = []
        self._ended: list[tuple[Exchange, recording.Seen | None, str | None]] = []
        self.recorder: recording.Recorder | None = None
        self.authorization = Authorization(api_keys, admin_keys)
        self.prices = pricing.prices(routing.config)
        self.metrics: Metrics | None = None
        self.otel: Telling | None = None
        self.leaving = False  # told to stop: `/readyz` says so, and calls are still taken
        self.stopping = False  # no further call is taken
        self.open = 0
        self.stored = _store(routing.config.server.stored_responses)
        self.background = None if self.stored is None else background.Background(self.stored, CLIENT_LEFT)
        self.sharing: Sharing | None = None
        self.cache: Cache | None = None
        self._desk = Desk(self)
        self._listing = Listing(routing)
        self._engines = _engines(routing)
        self._paths: dict[str, dict[str, Handler]] = {
            **{path: {"POST": self._call} for path in surface.DOORS},
            **{path: dict.fromkeys(methods, self._operate) for path, methods in operation_table.PLAIN.items()},
            **{path: {"GET": self._models} for path in models.LISTS},
            "/api/version": {"GET": self._version},
            "/api/show": {"POST": self._show},
            **{path: dict.fromkeys(methods, self._administer) for path, methods in table.PATHS.items()},
            "/healthz": {"GET": self._health},
            "/readyz": {"GET": self._ready},
        }

    def engines(self) -> Mapping[str, Embedded]:
        """The embedded engines by their models' names, running or not."""
        return self._engines

    async def adopt(self, routing: Routing, api_keys: list[str], admin_keys: Sequence[str] = ()) -> None:
        """Go on with another configuration. Calls under way keep the routes that they have."""
        listing, self._listing = self._listing, Listing(routing)
        self.routing = routing
        self._engines = {**self._engines, **_engines(routing)}  # a model that is gone may still be answering
        self.authorization.take(api_keys, admin_keys)
        self.prices = pricing.prices(routing.config)
        await listing.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._handler(scope)(scope, receive, send)
            except RefusedError as refused:
                await AsgiClient(send).whole(*refused.answer(_spoken(scope)))
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
        escaped = raw.decode("latin-1").partition("?")[0]
        found = operation_table.find(escaped)
        if found is not None:
            return dict.fromkeys(found.methods, self._operate)
        administered = table.find(escaped)
        if administered is not None:
            return dict.fromkeys(administered.methods, self._administer)
        if models.named(path) is not None:
            return {"GET": self._model}
        if path.startswith("/v1/responses/") and path not in counting.PATHS:
            return self._stored_methods(path)
        if counting.at(path) is not None:
            return {"POST": self._count}
        return {"POST": self._call} if surface.door(escaped) else None

    async def route(self, model: str) -> Route:
        """The route for the name a client asked for, after asking the providers where it is not known. NoRouteError."""
        try:
            return self.routing.find(model)
        except NoRouteError:
            await self._listing.refresh()
            return self.routing.find(model)

    # -- calls -----------------------------------------------------------------------------------------------------

    def admit(self, headers: Mapping[bytes, bytes], door: Door, media: Sequence[bytes] = (operate.JSON,)) -> Key | None:
        """Whether a call with this head may come in, and with whose virtual key, if it is one. Raises RefusedError."""
        key = self.authorization.check(headers, door.key)
        limits = self.routing.config.server
        if self.stopping or self.open >= limits.max_open:
            why = "The gateway is stopping." if self.stopping else "Too many calls are open (server.max_open)."
            raise RefusedError(503, "overloaded", why, retry_after="1")
        _check_media(headers, media)
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limits.max_body:
            raise self.too_large()
        return key

    def too_large(self) -> RefusedError:
        limit = self.routing.config.server.max_body
        return RefusedError(413, "body_too_large", f"The body is larger than {limit} bytes (server.max_body).")

    async def call(
        self, headers: Mapping[bytes, bytes], body: bytes, door: Door, client: Client, key: Key | None
    ) -> None:
        """Answer one call, which `admit` let in with `key`. A task that is cancelled with CLIENT_LEFT ends quietly.

        Raises RefusedError.
        """
        store = self.stored if door.dialect == surface.RESPONSES else None
        if store is not None:
            body = await keeping.expanded(body, headers, store)
        try:
            later = door.dialect == surface.RESPONSES and background.asked(body)
            call = Call(background.foreground(body) if later else body, headers, door)
            route = self.routing.routes.get(call.model) or await self.route(call.model)
        except background.NotBackgroundError as error:
            raise RefusedError(400, "invalid_value", str(error), param=error.param) from None
        except BadCallError as error:
            raise RefusedError(400, "invalid_body", str(error), param=error.field or None) from None
        except NoRouteError as error:
            raise RefusedError(404, "model_not_found", str(error), param="model") from None
        exchange = Exchange(call, route, self.health)
        asking = self.authorization.admit(exchange, key, self.prices)
        if asking is not None:
            await asking
        if later:
            await self._begin(exchange, headers, client)
        elif store is None:
            await self._run(exchange, client, relay.attempt)
        else:
            keeper = keeping.Keeper(client)
            await self._run(exchange, keeper, relay.attempt)
            if exchange.outcome == "answered":
                keeper.put(body, headers, store)

    async def _begin(self, exchange: Exchange, headers: Mapping[bytes, bytes], client: Client) -> None:
        """Let a call run in the background, and tell its client so."""
        try:
            run = self._started(exchange, headers)
        except RefusedError:
            self.authorization.settle(exchange)  # it was admitted, and does not run after all
            raise
        assert run.task is not None
        self.open += 1
        run.task.add_done_callback(self._closed)
        client.exchange = exchange
        if run.streamed:
            await background.Watch(run).send(client, CLIENT_LEFT, lambda: self.stopping)
        else:
            await client.whole(200, [(b"content-type", b"application/json")], msgspec.json.encode(run.response))

    def _started(self, exchange: Exchange, headers: Mapping[bytes, bytes]) -> background.Run:
        if self.background is None:
            raise RefusedError(501, "not_supported", "Background responses need server.stored_responses.")
        if self.background.running >= self.routing.config.server.max_open:
            raise RefusedError(503, "overloaded", "Too many calls are open (server.max_open).", retry_after="1")
        try:
            return self.background.begin(
                exchange, exchange.call.body, headers, lambda exchange, run: self._run(exchange, run, relay.attempt)
            )
        except background.NotBackgroundError as error:
            raise RefusedError(400, "invalid_body", str(error), param=error.param) from None

    def _closed(self, _task: asyncio.Task[None]) -> None:
        self.open -= 1

    async def _run(self, exchange: Exchange, client: Client, attempt: exchanges.Attempting) -> None:
        client.exchange = exchange
        seen = self.recorder.seeing(exchange, client) if self.recorder is not None else None
        client = seen or client
        waiting = patience.patient(exchange, client)
        client = waiting or client
        try:
            rules = exchange.route.cache
            if rules is None or self.cache is None or attempt is not relay.attempt:
                exchange.outcome = await exchanges.run(exchange, client, self.transport, attempt)
            else:
                exchange.outcome = await caching.answered(exchange, rules, client, self.cache, self.transport)
        except asyncio.CancelledError as error:
            if error.args == (CLIENT_LEFT,):
                exchange.outcome = "client_left"
            else:
                exchange.outcome = "stopped"
                await telling.stopped(exchange, client)
                raise
        finally:
            try:
                if waiting is not None:
                    await waiting.close()
            finally:  # also when it is cancelled once more: by a stop, in the moment when the client leaves
                self._over(exchange, seen)

    def _over(self, exchange: Exchange, seen: recording.Seen | None) -> None:
        """The client has its answer: settle with its key, and have `exchange` told of at the loop's next turn, together
        with all others that end in this one.

        Calls run none of the code that does so. One at a time would have to fetch it back into the processor's caches
        each time.
        """
        exchange.ended = clock.monotonic()
        key = None
        if exchange.verdict is not None:
            pricing.note(exchange, self.prices)
            key = self.authorization.settle(exchange)
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._tell)
        self._ended.append((exchange, seen, key))

    def _tell(self) -> None:
        """Work out what is to be known of the calls that are over, and tell the ledger and the observers."""
        priced = self.recorder is not None or self.metrics is not None
        for exchange, seen, key in self._ended:
            if priced and exchange.verdict is None:
                pricing.note(exchange, self.prices)
            if self.recorder is not None:
                self.recorder.put(exchange, seen, key)
            for observer in self.observers:
                try:
                    observer(exchange)
                except Exception:
                    log.exception("an exchange could not be told of")
        self._ended.clear()

    @property
    def idle(self) -> bool:
        """Whether no call is open, and all that are over have been told of."""
        return not self.open and not self._ended

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        door = surface.door(_raw_path(scope), scope.get("query_string", b"").decode("latin-1"))
        assert door is not None  # or else `_handler` would not have come here
        key = self.admit(headers, door)
        client = AsgiClient(send)
        await self._answered(scope, receive, lambda body: self.call(headers, body, door, client, key))

    async def _operate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Something beside chat; see `operate.py`."""
        found = operation_table.find(_raw_path(scope))
        assert found is not None  # or else `_handler` would not have come here
        operation, headers, query = (
            found.methods[scope["method"]],
            dict(scope["headers"]),
            scope.get("query_string", b""),
        )
        operation = operation.asked_with(headers)
        key = self.admit(headers, Door(operation.dialect, key=keys.in_query(query)), operation.media)

        async def answer(body: bytes) -> None:
            try:
                call = operate.OperationCall(body, headers, operation, named=found.named, query=query.decode("latin-1"))
                route = await self.route(call.model) if operation.route is None else operation.route(call, self.routing)
                narrow, left_out = operate.narrowed(operation, route, self.routing)
            except Malformed as error:
                raise RefusedError(400, "invalid_body", f"{error}.", param=error.field) from None
            except NoRouteError as error:
                raise RefusedError(404, error.code, str(error), param=error.param) from None
            except operate.NotOfferedError as error:
                raise RefusedError(501, "not_supported", str(error), param="model") from None
            exchange = Exchange(call, narrow, self.health)
            exchange.left_out = left_out
            asking = self.authorization.admit(exchange, key, self.prices)
            if asking is not None:
                await asking
            await self._run(exchange, AsgiClient(send, scope.get(SEVER)), operate.attempt)

        await self._answered(scope, receive, answer)

    async def _answered(self, scope: Scope, receive: Receive, answer: Callable[[bytes], Awaitable[None]]) -> None:
        """Read a request that has been admitted and `answer` it, unless the client leaves."""
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
            await answer(body)
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
            "cancel": {"POST": self._response},
        }
        return known.get(rest[1]) if len(rest) == 2 else None

    async def _response(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, query = self._reader(scope), scope.get("query_string", b"")
        name, _, what = scope["path"].removeprefix("/v1/responses/").partition("/")
        found = None
        if self.background is not None:
            try:
                found = await self.background.serve(scope["method"], name, what, headers, query)
            except BadQueryError as error:
                raise RefusedError(400, "invalid_value", f"{error}.", param=error.param) from None
            except background.CancelError as error:
                raise RefusedError(400, "not_cancellable", str(error)) from None
            except StoredError as error:
                raise RefusedError(503, "not_stored", str(error)) from None
        if found is None:
            raise RefusedError(404, "response_not_found", f"Response with id '{name[:100]}' not found.", param="id")
        if isinstance(found, background.Watch):
            self.admit(headers, Door(surface.RESPONSES, key=keys.in_query(query)))
            client, watch = AsgiClient(send), found
            await self._answered(scope, receive, lambda _body: watch.send(client, CLIENT_LEFT, lambda: self.stopping))
        else:
            await _json(send, found)

    def _reader(self, scope: Scope) -> Mapping[bytes, bytes]:
        """The headers of a request that needs a key and nothing else."""
        headers = dict(scope["headers"])
        self.authorization.check(headers, keys.in_query(scope.get("query_string", b"")))
        return headers

    async def _known(self, name: str) -> None:
        try:
            await self.route(name)
        except NoRouteError as error:
            raise RefusedError(404, "model_not_found", str(error), param="model") from None

    # -- for operators -------------------------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        told = self.journal.add(change)
        if self.recorder is not None:
            self.recorder.event(told)
        left = "" if told["seconds"] is None else f" for {told['seconds']:.0f} s"
        log.warning("%s: %s%s (%s)", told["target"], told["what"], left, told["why"])

    def used_up(self, key: str, crossed: Crossed) -> None:
        """A budget of a key is used up."""
        if self.recorder is not None:
            self.recorder.used_up(key, crossed)

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = table.find(_raw_path(scope))
        assert found is not None  # or else `_handler` would not have come here
        endpoint = found.methods[scope["method"]]
        try:
            answer = await self._desk.answer(endpoint, found.named, scope, lambda: self._body(receive))
        except _LeftError:
            return
        await AsgiClient(send).whole(*answer)

    async def _health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await _json(send, {"status": "ok"})

    async def _ready(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        if self.leaving or self.stopping:
            raise RefusedError(503, "stopping", "The gateway is stopping.")
        if not self.routing.providers:
            raise RefusedError(
                503, "no_provider", "No provider was found. `understudy check` says what was looked for."
            )
        await _json(send, {"status": "ready"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.begin()
            if message["type"] == "lifespan.shutdown":
                await self.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def begin(self) -> None:
        """Take part in what replicas share, and look for changed keys. Not before calls come: who only looks at what
        is configured finds out nothing for others.
        """
        if self.authorization.admission is not None:
            self.authorization.admission.begin()
        if self.sharing is not None:
            self.sharing.start()
        if self.cache is not None:
            self.cache.start()

    async def close(self) -> None:
        """Close every connection and stop every embedded engine."""
        self._tell()
        if self.sharing is not None:
            await self.sharing.close()
        await self._listing.close()
        self._desk.close()
        if self.background is not None:
            await self.background.close()
        if self.stored is not None:
            await self.stored.close()
        if self.cache is not None:
            await self.cache.close()
        if self.authorization.admission is not None:
            await self.authorization.admission.close()
        if self.otel is not None:
            await asyncio.to_thread(self.otel.close)
        await self.transport.close()
        for engine in self._engines.values():
            await engine.stop()


def _engines(routing: Routing) -> dict[str, Embedded]:
    return {name: engine for provider in routing.providers.values() for name, engine in provider.engines.items()}


def _store(setting: str) -> Stored | None:
    if setting == "off":
        return None
    return Stored(":memory:" if setting == "memory" else Path(setting).expanduser())


def _check_media(headers: Mapping[bytes, bytes], media: Sequence[bytes]) -> None:
    kind = headers.get(b"content-type", media[0])
    if kind not in media:
        kind = kind.partition(b";")[0].strip().lower()
        if kind not in media and not (operate.JSON in media and kind.endswith(b"+json")):
            shown, wanted = kind[:100].decode("latin-1"), b" or ".join(media).decode()
            raise RefusedError(415, "unsupported_media_type", f"The content type {shown!r} is not {wanted}.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RefusedError(415, "unsupported_encoding", "Compressed request bodies are not taken: send it plain.")


def _spoken(scope: Scope) -> str:
    """The dialect in which errors about a request are told."""
    found = operation_table.find(_raw_path(scope))
    operation = None if found is None else found.methods.get(scope["method"])
    if operation is None:
        return surface.dialect_at(scope["path"])
    return operation.asked_with(dict(scope["headers"])).dialect


def _raw_path(scope: Scope) -> str:
    """The path as it was asked for, escapes and all."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("latin-1").partition("?")[0]


async def _watch(receive: Receive, task: asyncio.Task[None]) -> None:
    """For servers that do not tell the app by themselves when a client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    task.cancel(CLIENT_LEFT)


async def _json(send: Send, value: object) -> None:
    await AsgiClient(send).whole(200, [(b"content-type", b"application/json")], msgspec.json.encode(value))
