"""The server: reads requests, plays scripts. Its own, because no HTTP server lets a provider misbehave like this.

Cutting an answer in the middle of a chunk, resetting a connection or framing a chunk wrongly takes the bare transport,
which ASGI servers keep to themselves. So this is asyncio's protocol on httptools' request parser: about what uvicorn
does, without the guarantees.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
from collections import Counter, deque
from typing import Any, Self, cast
from urllib.parse import unquote

import httptools
import msgspec

from understudy import clock
from understudy.sim import answers, wire
from understudy.sim.asked import Asked, Refused, read
from understudy.sim.behaviour import Behaviour, BehaviourError, Call, Values, resolve, settle
from understudy.sim.table import BEHAVIOURS
from understudy.sim.voices import held, openai_chat
from understudy.sim.voices.play import play, refusal
from understudy.sim.voices.routes import Route, find
from understudy.sim.voices.voice import Json, Trouble
from understudy.sim.wire import Ending, Script, error

MOST_HEADER_BYTES = 64 * 2**10
MOST_BODY_BYTES = 32 * 2**20
MOST_PIPELINED = 16
MOST_KEPT = 1000
MOST_KEPT_BYTES = 64 * 2**20
MOST_MODELS = 1000

_LINGER = 5.0
"""Seconds in which what a client still sends is thrown away, so that it can read why it was refused."""

_SECRET = frozenset({"authorization", "proxy-authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie",
                     "x-amz-security-token"})  # fmt: skip
_REQUEST = "invalid_request_error"
_SIGNED = "AWS4-HMAC-SHA256 "
"""How a signature of AWS begins. It is taken as it is: what it signs is the business of the SDK's own tests."""

_ORDERS = "/simulated"
_WELL = (BEHAVIOURS["ok"], BEHAVIOURS["ok"].defaults)

_query_key = re.compile(r"(?<=[?&]key=)[^&]*")


class Received(msgspec.Struct, frozen=True):
    """A request as it came. Header names are in lower case; credentials show at most their last four characters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Sim:
    """A simulated provider on a TCP port.

    With `key`, requests need `Authorization: Bearer <key>` (or `api-key: <key>`); without one anything goes.

    >>> async with Sim() as sim:                     # doctest: +SKIP
    ...     sim.switch("gpt-5", "ok")                # a model by that name answers
    ...     sim.switch("gpt-5", "cut:after=3")       # and now it breaks
    ...     sim.ail("flaky:rate=0.3,seed=7")         # and now every model fails, three times in ten

    The same by HTTP: `PUT /simulated/gpt-5` and `PUT /simulated`, with the behaviour as the body; `DELETE` undoes it.
    """

    def __init__(self, key: str | None = None) -> None:
        self.port = 0
        self._host = ""
        self._key = key
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._deserted = asyncio.Event()
        self._received: deque[Received] = deque(maxlen=MOST_KEPT)
        self._received_bytes = 0
        self._shelf = held.Shelf()
        self._switched: dict[str, tuple[Behaviour, Values]] = {}
        self._ailing: tuple[Behaviour, Values] | None = None
        self._ailed = 0
        self._calls: Counter[str] = Counter()
        self._calls_since: Counter[str] = Counter()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Port 0 takes a free one, found in `port` afterwards. Raises `OSError` when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port)
        self._host, self.port = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening and drop every connection: from now on the port refuses. `start` may be called again."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.drop()
        if self._connections:
            self._deserted.clear()
            await self._deserted.wait()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.stop()

    @property
    def root(self) -> str:
        """What the SDKs of other providers take as their base URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """What an OpenAI SDK takes as its base URL."""
        return f"{self.root}/v1"

    @property
    def requests(self) -> list[Received]:
        """The latest requests, oldest first: at most 1,000, and at most 64 MiB of bodies."""
        return list(self._received)

    def calls(self, model: str) -> int:
        """How many well-formed chat requests named exactly `model`."""
        return self._calls[model]

    def switch(self, model: str, behaviour: str | None) -> None:
        """From now on `model` does as `behaviour` says (`slow`, `cut:after=3`); None gives it its own name back.

        Answers that are being given go on as they began. Raises `BehaviourError` when there is no such behaviour.
        """
        if behaviour is None:
            self._switched.pop(model, None)
        else:
            self._switched[model] = resolve(behaviour, BEHAVIOURS)
        self._calls_since.pop(model, None)

    def ail(self, behaviour: str | None) -> None:
        """From now on every model does as `behaviour` says; None ends it.

        With `flaky` or `fail-first`, calls that do not fail get what their model does otherwise.
        """
        self._ailing = None if behaviour is None else resolve(behaviour, BEHAVIOURS)
        self._ailed = 0

    def keep(self, request: Received) -> None:
        self._received_bytes += len(request.body)
        while self._received and (len(self._received) == MOST_KEPT or self._received_bytes > MOST_KEPT_BYTES):
            self._received_bytes -= len(self._received.popleft().body)
        self._received.append(request)

    def attach(self, connection: _Connection) -> None:
        self._connections.add(connection)

    def detach(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._deserted.set()

    def script(self, request: Received, given_key: str, other_key: str = "", *, reused: bool) -> Script:
        """What to do about `request`. `other_key` is one that came in a way which `openai-chat` does not know."""
        path = request.path.partition("?")[0]
        if path == _ORDERS or path.startswith(_ORDERS + "/"):
            return self._ordered(request, path, given_key or other_key)
        if (route := find(request.path, request.headers)) is not None:
            return self._voiced(route, request, given_key or other_key, reused=reused)
        if path == "/healthz":
            return [wire.refuse(200, {"status": "ok", "simulated": True})]
        wanted = {"/v1/models": "GET", "/v1/chat/completions": "POST"}.get(path)
        if wanted is None:
            return [_refuse(404, f"Unknown request URL: {request.method} {path}.", code="unknown_url")]
        if request.method != wanted:
            return [_refuse(405, f"Not allowed to {request.method} on {path}; it takes {wanted}.")]
        if not self._accepts(given_key):
            return [_refuse(401, f"Incorrect API key provided: {mask(given_key)}.", code="invalid_api_key")]
        return self._models() if wanted == "GET" else self._chat(request.body, reused=reused)

    def _ordered(self, request: Received, path: str, key: str) -> Script:
        """Health by command, for drills from a shell: a PUT whose body is a behaviour, or a DELETE."""
        if request.method not in ("PUT", "DELETE"):
            return [_refuse(405, f"Not allowed to {request.method} on {path}; it takes PUT and DELETE.")]
        if not self._accepts(key):
            return [_refuse(401, f"Incorrect API key provided: {mask(key)}.", code="invalid_api_key")]
        model = unquote(path[len(_ORDERS) + 1 :])
        behaviour = request.body.decode("utf-8", "replace").strip() if request.method == "PUT" else None
        try:
            if model:
                self.switch(model, behaviour)
            else:
                self.ail(behaviour)
        except BehaviourError as wrong:
            return [_refuse(400, str(wrong), code="invalid_value")]
        return [wire.refuse(200, {"model": model or None, "behaviour": behaviour, "simulated": True})]

    def _accepts(self, given_key: str) -> bool:
        return self._key is None or secrets.compare_digest(given_key.encode(), self._key.encode())

    def _voiced(self, route: Route, request: Received, key: str, *, reused: bool) -> Script:
        """What to do about a request in another dialect."""
        if route.method and request.method != route.method:
            message = f"Not allowed to {request.method} here; it takes {route.method}."
            return [refusal(route.voice, Trouble("malformed", 405, message))]
        if not key.startswith(_SIGNED) and not self._accepts(key):
            return [refusal(route.voice, Trouble("invalid-key", 401, f"Incorrect API key provided: {mask(key)}."))]
        try:
            if route.models is not None:
                return [wire.refuse(200, route.models(self._names()))]
            if route.aside is not None:
                return self._aside(route, route.aside(request.body, route.model), request, reused=reused)
            if route.held:
                kind = request.headers.get("content-type", "")
                ask = (request.method, request.path, kind, request.body)
                return held.script(*ask, shelf=self._shelf, voice=route.voice)
            if route.media is not None:
                voice, asked = route.media(request.body, request.headers.get("content-type", ""))
            else:
                voice, asked = route.voice, route.voice.read(request.body, route.model, route.stream)
            call, behaviour = self._called(asked, reused=reused)
            return play(voice, behaviour, call)
        except Refused as wrong:
            return [refusal(route.voice, Trouble("malformed", 400, wrong.message))]
        except BehaviourError as wrong:
            kind, status = ("not-found", 404) if wrong.unknown else ("malformed", 400)
            return [refusal(route.voice, Trouble(kind, status, str(wrong)))]

    def _aside(self, route: Route, told: Json, request: Received, *, reused: bool) -> Script:
        """A model whose name is a behaviour's behaves so beside chat as well; any other name just answers."""
        given = msgspec.json.decode(request.body).get("model")
        name = route.model or (given if isinstance(given, str) else "")
        if name not in self._switched and name.partition(":")[0] not in BEHAVIOURS:
            return [wire.refuse(200, told)]
        asked = Asked(model=name, messages=[{"role": "user", "content": "beside chat"}])
        call, behaviour = self._called(asked, reused=reused)
        return play(msgspec.structs.replace(route.voice, answer=lambda _call, _said: told), behaviour, call)

    def _names(self) -> list[str]:
        return [*BEHAVIOURS, *(name for name in self._switched if name not in BEHAVIOURS)]

    def _called(self, asked: Asked, *, reused: bool) -> tuple[Call, Behaviour]:
        """The call and what it is to do. Raises `Refused` or `BehaviourError`."""
        usual = self._switched.get(asked.model) or resolve(asked.model, BEHAVIOURS)
        call = Call(asked, usual[1], self._count(asked), reused, f"chatcmpl-{clock.token(12)}", int(clock.wall()))
        answers.reply(call)  # whatever is to happen, a request that no provider could read is refused first
        behaviour = usual[0]
        if self._ailing is not None:
            self._ailed += 1
            behaviour, values = self._ailing
            ailing = msgspec.structs.replace(call, values=values, number=self._ailed)
            behaviour, call = settle(behaviour, ailing, BEHAVIOURS, usual)
        behaviour, call = settle(behaviour, call, BEHAVIOURS, _WELL)
        return call, behaviour

    def _models(self) -> Script:
        models = [{"id": name, "object": "model", "created": 0, "owned_by": "understudy-sim"} for name in self._names()]
        return [wire.refuse(200, {"object": "list", "data": models})]

    def _chat(self, body: bytes, *, reused: bool) -> Script:
        try:
            call, behaviour = self._called(read(body), reused=reused)
            return play(openai_chat.VOICE, behaviour, call)
        except Refused as wrong:
            return [_refuse(400, wrong.message, param=wrong.param, code=wrong.code)]
        except BehaviourError as wrong:
            if wrong.unknown:
                return [_refuse(404, str(wrong), code="model_not_found")]
            return [_refuse(400, str(wrong), param="model", code="invalid_value")]

    def _count(self, asked: Asked) -> int:
        """The number of this call since the model was last switched. A bound on names keeps a long run small."""
        for counter in (self._calls, self._calls_since):
            if asked.model not in counter and len(counter) >= MOST_MODELS:
                del counter[next(iter(counter))]
            counter[asked.model] += 1
        return self._calls_since[asked.model]


def _refuse(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    return wire.refuse(status, error(message, _REQUEST, code, param))


def mask(credential: str) -> str:
    """`credential` with all but its scheme and, if it is long, its last four characters hidden."""
    scheme, space, secret = credential.rpartition(" ")
    return f"{scheme}{space}***{secret[-4:] if len(secret) >= 12 else ''}"


class _Connection(asyncio.Protocol):
    """One client. Requests are answered in the order they came; a script is dropped when the client leaves."""

    def __init__(self, sim: Sim) -> None:
        self.playing: asyncio.Task[None] | None = None
        self._sim = sim
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Received, str, str, bool]] = deque()
        self._answered = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._deaf = False
        self.on_message_begin()

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sim.attach(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._sim.detach(self)
        if self.playing is not None:
            self.playing.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            self._refuse(400, f"This is not an HTTP/1.1 request: {wrong}")
            return
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MOST_HEADER_BYTES:
            self._refuse(431, f"The request's head is larger than {MOST_HEADER_BYTES} bytes.")
        elif self._body_bytes > MOST_BODY_BYTES:
            self._refuse(413, f"The request's body is larger than {MOST_BODY_BYTES} bytes.")
        elif len(self._waiting) > MOST_PIPELINED:
            self._refuse(400, f"More than {MOST_PIPELINED} requests at once on one connection.")

    # the parser's side

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = self._body_bytes = 0
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if ("expect", "100-continue") in self._headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes <= MOST_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._in_head = True  # what comes next is the head of another request
        if self._body_bytes > MOST_BODY_BYTES:
            return
        headers = dict(self._headers)
        authorization = re.sub(r"(?i)^bearer ", "", headers.get("authorization", ""))
        shown = {name: mask(value) if name in _SECRET else value for name, value in headers.items()}
        method, url = self._parser.get_method().decode(), self._url.decode("latin-1")
        in_query = _query_key.search(url)
        path = _query_key.sub(lambda found: mask(found[0]), url)
        request = Received(method, path, shown, b"".join(self._body))
        self._sim.keep(request)
        key = headers.get("api-key") or authorization
        other = headers.get("x-api-key") or headers.get("x-goog-api-key") or (in_query[0] if in_query else "")
        self._waiting.append((request, key, other, self._parser.should_keep_alive()))
        if self.playing is None:
            self.playing = asyncio.get_running_loop().create_task(self._answer())
            self.playing.add_done_callback(self._failed)

    # answering

    async def _answer(self) -> None:
        while self._waiting:
            request, key, other, keep_alive = self._waiting.popleft()
            script = self._sim.script(request, key, other, reused=self._answered > 0)
            self._answered += 1
            ending = await self._play(script)
            if ending is Ending.RESET:
                self.drop()
            elif ending is Ending.CLOSE or not keep_alive:
                self._transport.close()
            if self._transport.is_closing():
                return
        self.playing = None

    def _failed(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours must not leave the client waiting."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.drop()
            asyncio.get_running_loop().call_exception_handler({"message": "a script failed", "exception": error})

    async def _play(self, script: Script) -> Ending | None:
        for step in script:
            if isinstance(step, bytes):
                await self._writable.wait()
                self._transport.write(step)
                await asyncio.sleep(0)  # a turn of the loop, not a wait: each step is a write of its own
            elif isinstance(step, float):
                if step > 0:
                    await clock.sleep(step)
            elif step is Ending.HOLD:
                await asyncio.get_running_loop().create_future()  # until the client leaves and the task is cancelled
            else:
                return step
        return None

    def drop(self) -> None:
        """Reset: no lingering, so that closing sends RST and not FIN."""
        if (sock := self._transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _refuse(self, status: int, message: str) -> None:
        """Answer a request that cannot be read to its end, then let the client finish talking to nobody."""
        self._deaf = True
        if self.playing is not None:
            self._transport.abort()
            return
        self._transport.write(wire.refuse(status, error(message, _REQUEST), {"connection": "close"}))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        clock.call_later(_LINGER, self._transport.abort)
