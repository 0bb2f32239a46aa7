"""The gateway inside the caller's own process, as an httpx transport: an SDK then needs no server.

    openai.OpenAI(base_url="http://understudy/v1", http_client=httpx.Client(transport=understudy.transport()), ...)

The gateway gets a thread and an event loop of its own, because its callers have none, or one that comes and goes, or
several. Both sides meet in two places only: `_Host.post` carries a step into the gateway's loop, and a
`concurrent.futures.Future` carries the next piece of an answer back, which a blocked thread can wait for as well as an
event loop. Everything else about a call belongs to the gateway's thread, so there is nothing to lock.

The translation to ASGI follows httpx's own `ASGITransport`, which holds an answer until it is whole; this one streams,
holds a bounded piece of it, and tells the app when the client leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import uvloop

from understudy.gateway.app import CLIENT_LEFT, DEPARTED, Gateway
from understudy.gateway.assemble import assemble, configuration
from understudy.gateway.config import Loaded

if TYPE_CHECKING:
    import httpx
    import httpx2

    class _Transport(  # type: ignore[misc]  # the two libraries' methods take either's own requests; ours take both
        httpx2.BaseTransport, httpx2.AsyncBaseTransport, httpx.BaseTransport, httpx.AsyncBaseTransport
    ): ...
else:
    _Transport = object
    """httpx takes whatever has the methods. Its classes are for type checkers: no application needs both libraries."""

MOST_HELD = 64 * 1024
"""Bytes of an answer that may wait for a slow reader before the gateway stops reading from the provider."""

_LONGEST_STOP = 10.0
"""Seconds that `close` and the end of the interpreter wait for the gateway's thread."""

_LIBRARIES = ("httpx2", "httpx")

_CLOSED = "The transport was closed while the call was under way."

Piece = tuple[bytes, bool]
"""Some of an answer's body, and whether it is the last."""


class _CutError(Exception):
    """The answer ends here and is not whole. `__cause__` is the gateway's own error, if it had one."""


class _Host:
    """The thread that a gateway lives in. `ready` is done once it takes calls, or cannot; `gone` when it has ended."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        self.pid = os.getpid()
        self.ready: Future[None] = Future()
        self.ready.set_running_or_notify_cancel()  # all callers share it: one that gives up does not cancel it
        self.gone: Future[None] = Future()
        self.gone.set_running_or_notify_cancel()
        self.gateway: Gateway | None = None
        self.calls: set[_Call] = set()
        # Re-entrant, because the garbage collector may run `_Body.__del__`, and so `post`, wherever it likes.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._stop = asyncio.Event()
        # A daemon, so that an exit does not wait for it before `atexit` has told it to end.
        self.thread = threading.Thread(target=self._run, args=(loaded, environ), name="understudy", daemon=True)
        self.thread.start()

    def post(self, step: Callable[..., object], *args: Any) -> None:
        """Have `step` run in the gateway's thread. Raises _CutError once that is to end: nothing is lost in between."""
        with self._lock:
            if self._stopped or self._loop is None:
                raise _CutError(_CLOSED)
            self._loop.call_soon_threadsafe(step, *args)

    def stop(self) -> None:
        """Tell the thread to end, whatever is under way. Returns at once."""
        with self._lock:
            if not self._stopped and self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
            self._stopped = True

    def _run(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        try:
            uvloop.run(self._main(loaded, environ))
        finally:
            self.gone.set_result(None)

    async def _main(self, loaded: Loaded, environ: Mapping[str, str]) -> None:
        assembling = asyncio.create_task(assemble(loaded, environ))
        await asyncio.wait({assembling})
        error = assembling.exception()
        if error is not None:
            self.ready.set_exception(error)
            return
        self.gateway = assembling.result()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._stopped:
                self._stop.set()
        self.gateway.begin()
        self.ready.set_result(None)
        await self._stop.wait()
        self.gateway.stopping = True
        tasks = [call.end() for call in self.calls]
        if tasks:
            await asyncio.wait(tasks)
        await self.gateway.close()


def _end(host: _Host) -> None:
    """Stop the host and wait for it, unless this is its own thread (the garbage collector's choice) or a fork."""
    if host.pid != os.getpid():
        return
    host.stop()
    if threading.current_thread() is not host.thread:
        host.thread.join(_LONGEST_STOP)


class _Call:
    """One request as the app sees it. Belongs to the gateway's thread; `status` and `headers` are final once read."""

    def __init__(self, scope: dict[str, Any], body: bytes) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._scope = scope
        self._body = body
        self._pieces: list[bytes] = []
        self._held = 0
        self._whole = False
        self._error: _CutError | None = None
        self._reader: Future[Piece] | None = None
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self, host: _Host, reader: Future[Piece]) -> None:
        """Hand the request to the app. `reader` gets the first piece; status and headers are known then."""
        assert host.gateway is not None
        self._task = asyncio.ensure_future(host.gateway(self._scope, self._receive, self._send))
        self._task.add_done_callback(functools.partial(self._done, host))
        host.calls.add(self)
        self._reader = reader

    def read(self, reader: Future[Piece]) -> None:
        """`reader` gets the next piece when there is one, or a _CutError."""
        self._reader = reader
        self._hand_over()

    def leave(self) -> None:
        """The client does not want the rest. Some leave at `[DONE]`: by then they have all there is."""
        if not self._whole:
            self.end()

    def end(self) -> asyncio.Task[None]:
        """End the call, whatever it is doing. Gives the task that ends on this."""
        assert self._task is not None
        self._task.cancel(CLIENT_LEFT)
        return self._task

    def _hand_over(self) -> None:
        reader = self._reader
        if reader is None or not (self._pieces or self._whole or self._error):
            return
        self._reader = None
        if not reader.set_running_or_notify_cancel():
            return  # it has given up; whoever gave up also calls `leave`
        if self._pieces or self._whole:
            reader.set_result((b"".join(self._pieces), self._whole))
            self._pieces.clear()
            self._held = 0
            self._room.set()
        else:
            reader.set_exception(self._error)

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def _send(self, message: Mapping[str, Any]) -> None:
        if self._whole:
            raise RuntimeError(f"The answer was complete, and then came another {message['type']} message.")
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
            return
        body = message.get("body", b"")
        if body:
            self._pieces.append(body)
            self._held += len(body)
        self._whole = not message.get("more_body", False)
        self._hand_over()
        while self._held > MOST_HELD:
            self._room.clear()
            await self._room.wait()

    def _done(self, host: _Host, task: asyncio.Task[None]) -> None:
        host.calls.discard(self)
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            self._error = _CutError(f"The gateway failed: {failure!r}.")
            self._error.__cause__ = failure
        elif not self._whole:
            self._error = _CutError(_CLOSED)
        self._hand_over()


class _Body:
    """The caller's end of a call: waits for the answer, then is its body.

    `owner` is only kept, so that the transport lives as long as an answer from it is being read.
    """

    def __init__(self, owner: InProcess, host: _Host, library: ModuleType, request: Any, content: bytes) -> None:
        self._owner = owner
        self._host = host
        self._library = library
        self._request = request
        self._timeout: float | None = request.extensions.get("timeout", {}).get("read")
        self._call = _Call(_scope(request), content)
        self._piece = b""
        self._over = False

    def start(self) -> Any:
        """Send the request and give the response, blocking until it begins."""
        self._wait(functools.partial(self._call.begin, self._host))
        return self._response()

    async def astart(self) -> Any:
        """The same without blocking."""
        await self._await(functools.partial(self._call.begin, self._host))
        return self._response()

    def __iter__(self) -> Iterator[bytes]:
        yield self._piece
        while not self._over:
            self._wait(self._call.read)
            yield self._piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._piece
        while not self._over:
            await self._await(self._call.read)
            yield self._piece

    def close(self) -> None:
        """Let go of what is still to come. The gateway ends the call at the provider."""
        if not self._over:
            self._over = True
            with contextlib.suppress(_CutError):  # there is nothing left to leave
                self._host.post(self._call.leave)

    async def aclose(self) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _response(self) -> Any:
        return self._library.Response(
            self._call.status, headers=self._call.headers, stream=self, extensions={"http_version": b"HTTP/1.1"}
        )

    def _wait(self, step: Callable[[Future[Piece]], None]) -> None:
        reader: Future[Piece] = Future()
        with self._guarded():
            self._host.post(step, reader)
            self._piece, self._over = reader.result(self._timeout)

    async def _await(self, step: Callable[[Future[Piece]], None]) -> None:
        reader: Future[Piece] = Future()
        with self._guarded():
            self._host.post(step, reader)
            async with asyncio.timeout(self._timeout):
                self._piece, self._over = await asyncio.wrap_future(reader)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Faults in the library's own words; and a call whose reader has stopped reading, for any reason, is left."""
        well = False
        try:
            yield
            well = True
        except TimeoutError:
            message = f"Nothing came within the read timeout of {self._timeout:g} s."
            raise self._library.ReadTimeout(message, request=self._request) from None
        except _CutError as cut:
            raise self._library.ReadError(str(cut), request=self._request) from cut.__cause__
        finally:
            if not well:
                self.close()


def _library(request: object) -> ModuleType:
    """The library that `request` is of, httpx or httpx2: answers and errors must be of the same."""
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in _LIBRARIES:
            return sys.modules[name]
    raise TypeError(f"{type(request).__name__} is not a request of httpx or httpx2.")


@functools.cache
def _body_type(library: ModuleType) -> type[_Body]:
    """`_Body` as a stream of `library`, which checks for its own classes."""
    return type("Body", (_Body, library.SyncByteStream, library.AsyncByteStream), {})


def _scope(request: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": None,
        "server": (request.url.host, request.url.port),
        DEPARTED: [],  # says that we cancel the call ourselves: the app need not wait for a disconnect message
    }


class InProcess(_Transport):
    """A gateway in this process, for synchronous and asynchronous clients of httpx and httpx2 alike.

    The first call starts it, `close` or the end of the interpreter stops it, and with it the embedded engine. One
    object serves any number of threads and asyncio event loops; closing any client that uses it closes it.

    `config` is the path of an understudy.toml; None looks where `understudy serve` looks. `environ` stands in for the
    environment. Raises ConfigError when the configuration is not valid. A call after `close` raises RuntimeError;
    of a request's timeouts only `read` applies (`ReadTimeout`), since there is nothing to connect to.
    """

    def __init__(
        self, config: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._loaded = configuration(None if config is None else Path(config), self._environ, Path.cwd())
        self._lock = threading.Lock()
        self._closed = False
        self._host: _Host | None = None
        self._finish: Callable[[], object] = lambda: None

    def handle_request(self, request: Any) -> Any:
        library, content = _library(request), request.read()
        host = self._running()
        host.ready.result()
        return _body_type(library)(self, host, library, request, content).start()

    async def handle_async_request(self, request: Any) -> Any:
        library, content = _library(request), await request.aread()
        host = self._running()
        await asyncio.wrap_future(host.ready)
        return await _body_type(library)(self, host, library, request, content).astart()

    def close(self) -> None:
        """Stop the gateway and wait for it. Calls under way end with `ReadError`. Does nothing the second time."""
        with self._lock:
            self._closed = True
        self._finish()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        with self._lock:
            self._closed = True
            host = self._host
        if host is not None and host.pid == os.getpid():
            host.stop()
            await asyncio.wrap_future(host.gone)
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()

    def _running(self) -> _Host:
        """The host, started if this is the first call, also the first since a fork: threads do not come along."""
        with self._lock:
            if self._closed:
                raise RuntimeError("This transport has been closed. Make another one with `understudy.transport()`.")
            if self._host is None or self._host.pid != os.getpid():
                self._host = _Host(self._loaded, self._environ)
                # For whoever forgets to close: runs when this object is collected, or at the interpreter's end.
                self._finish = weakref.finalize(self, _end, self._host)
            return self._host
