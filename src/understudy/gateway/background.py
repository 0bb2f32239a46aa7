"""Calls of the Responses API that outlive their request: `background: true`, polling, resuming, cancelling.

They run here, whichever provider answers and whatever its dialect: `background` is taken out of the body, and the call
goes the way of every other. What comes of it is kept as the response that a client may poll and, where it asked for a
stream, as the events that it may resume (`starting_after`). Both are in memory while the call runs and for `REPLAY`
seconds after; what is finished is in the store like any response. Nobody's connection bounds such a call, so it counts
toward `server.max_open` until it ends, and what is kept of it is bounded.

Shapes and order are those of OpenAI's specification; what that leaves open (which cancels are refused, how a cancelled
stream ends) is as in Azure's contract for the same API. See docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec

from understudy import clock
from understudy.canon import Started
from understudy.dialects.openai_responses.answer import encode_head
from understudy.dialects.sse import COMMENT, Pair, SseDecoder
from understudy.dialects.wire import Malformed, dump, parse
from understudy.gateway import keeping, responses
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange, Headers
from understudy.gateway.responses import BadQueryError
from understudy.gateway.stored import Entry, Stored, new_id

REPLAY = 600.0
"""Seconds for which a finished call's events can still be resumed; OpenAI says "roughly 10 minutes"."""

LARGEST = 64 * 1024 * 1024
"""Bytes that are kept of one call."""

LARGEST_TOGETHER = 256 * 1024 * 1024
"""Bytes that are kept of all calls. What is kept of finished ones goes first, the oldest before the others."""

_ASKED = b'"background"'
_STREAM: Headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
_UNDER_WAY = ("queued", "in_progress")
_BEGINNINGS = ("response.created", "response.queued", "response.in_progress")
_ENDINGS = ("response.completed", "response.incomplete", "response.failed")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Work = Callable[[Exchange, Client], Awaitable[None]]
"""Makes the call of an exchange and tells its client what comes of it."""


class _Head(msgspec.Struct):
    background: bool | None = None
    store: bool | None = None


class NotBackgroundError(ValueError):
    """The call cannot run in the background. `param` is the field at fault."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class CancelError(ValueError):
    """The response cannot be cancelled. `str()` says why."""


def asked(body: bytes) -> bool:
    """Whether the call is to run in the background. Raises NotBackgroundError for one that must not be stored."""
    if _ASKED not in body:
        return False
    try:
        head = msgspec.json.decode(body, type=_Head)
    except _UNREADABLE:
        return False  # whoever reads it whole will say what is wrong
    if head.background and head.store is False:
        raise NotBackgroundError("background", "A background response has to be stored: leave out `store`.")
    return bool(head.background)


def foreground(body: bytes) -> bytes:
    """The same call for providers, who are not to run it in the background themselves."""
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    members.pop("background", None)
    return msgspec.json.encode(members)


class Run:
    """One call in the background; to its exchange, the client (see `client.Client`).

    `response` is what a poll is answered. `events[n]` is the event with the sequence number n; there are none if the
    call was not made with `stream`. `more` is set, and replaced, when there is more to read. `ended` is a
    `clock.monotonic` second. Raises ValueError when `body` has no input that can be kept.
    """

    def __init__(self, exchange: Exchange, body: bytes, owner: str, room: Callable[[Run, int], bool]) -> None:
        self.exchange: Exchange | None = exchange
        self.id, self.owner, self.created = new_id(), owner, int(clock.wall())
        self.model, self.streamed = exchange.call.model, exchange.call.stream
        self.items = responses.input_items_of(body)
        self.target = ""
        self.size = 0
        self.events: list[bytes] = []
        self.more = asyncio.Event()
        self.ended: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.committed = False
        self._room = room
        self._sse = SseDecoder()
        self.response = self._queued(exchange)

    def begin(self) -> None:
        """Say that the call was taken."""
        self._event("response.created", {"response": self.response})
        self._event("response.queued", {"response": self.response})

    def make(self) -> None:
        """Say that it is being made."""
        self.response = {**self.response, "status": "in_progress"}
        self._event("response.in_progress", {"response": self.response})

    def fail(self, code: str, message: str) -> None:
        """End without an answer, unless there is one."""
        error = {"code": code, "message": message}
        self._end("response.failed", {**self.response, "status": "failed", "error": error, "output": []})

    def cancel(self, *reason: str) -> None:
        """End as its client wants, unless it has ended. No event is called so: `response.failed` has the status."""
        self._end("response.failed", {**self.response, "status": "cancelled", "output": []})
        self.stop(*reason)

    def stop(self, *reason: str) -> None:
        if self.task is not None:
            self.task.cancel(*reason)

    @property
    def entry(self) -> Entry:
        """The response as the store has it."""
        return Entry(self.id, self.owner, self.created, self.model, self.target, self.items, self.response)

    # -- what an exchange tells its client ---------------------------------------------------------------------------

    async def start(self, status: int, headers: Headers) -> None:  # noqa: ARG002  # who watches gets a head of ours
        self.committed = True

    async def write(self, data: bytes) -> None:
        self._read(self._sse.feed(data))

    async def end(self, data: bytes = b"") -> None:
        self._read([*self._sse.feed(data), *self._sse.close()])
        self.fail("server_error", "The answer ended before it was finished.")

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.committed = True
        if any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers):
            await self.end(body)
            return
        answer: Any = None
        with contextlib.suppress(Malformed):
            answer = parse(body)
        answer = answer if isinstance(answer, dict) else {}
        if status == 200 and answer:
            said = answer.get("status")
            ending = "response.failed" if said == "cancelled" else f"response.{said or 'completed'}"
            if ending in _ENDINGS:
                self._end(ending, {"status": "completed", **self._own(answer)})
            self.fail("server_error", "The provider's answer is not finished.")
        else:
            self._fail_as(answer.get("error"), f"The call failed with HTTP status {status}.")

    # -- events --------------------------------------------------------------------------------------------------------

    def _queued(self, exchange: Exchange) -> dict[str, Any]:
        request = None
        with contextlib.suppress(Malformed):  # a provider of the client's dialect may know better
            request = exchange.call.request()
        head = encode_head(Started("", self.id, self.model, self.created), request, [], own=False)
        return {**head, "status": "queued", "background": True, "store": True, "output": []}

    def _own(self, response: dict[str, Any]) -> dict[str, Any]:
        """A provider's response as this one: its client knows it by our id only."""
        return {**response, "id": self.id, "created_at": self.created, "background": True, "store": True}

    def _read(self, pairs: Iterable[Pair]) -> None:
        for name, data in pairs:
            event: Any = None
            with contextlib.suppress(Malformed):  # `[DONE]`, for one
                event = parse(data) if name != COMMENT else None
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self._pass(event["type"], event)

    def _pass(self, kind: str, event: dict[str, Any]) -> None:
        if isinstance(event.get("response"), dict):
            event = {**event, "response": self._own(event["response"])}
        if kind in _BEGINNINGS:  # said already; but now it is known what the answer repeats of the request
            if "response" in event and self.ended is None:
                self.response = {**event["response"], "status": "in_progress", "output": []}
        elif kind == "error":
            self._fail_as(event.get("error") or event, "The provider gave no reason.")
        elif kind in _ENDINGS and "response" in event:
            said = event["response"].get("status")
            status = kind.removeprefix("response.") if said in (None, *_UNDER_WAY) else said
            self._end(kind, {**event["response"], "status": status})
        elif self.ended is None:
            self._event(kind, event)

    def _fail_as(self, error: Any, otherwise: str) -> None:
        told = error if isinstance(error, dict) else {}
        code, message = told.get("code"), told.get("message")
        self.fail(code if isinstance(code, str) else "server_error", message if isinstance(message, str) else otherwise)

    def _end(self, kind: str, response: dict[str, Any]) -> None:
        if self.ended is not None:
            return
        self.ended = clock.monotonic()
        self.response = response
        if self.exchange is not None and self.exchange.attempts:
            self.target = self.exchange.attempts[-1].target
        self.exchange = None  # it holds the request, which may be large
        self._event(kind, {"response": response})
        self._tell()

    def _event(self, kind: str, fields: dict[str, Any]) -> None:
        if not self.streamed:
            return
        data = dump({**fields, "type": kind, "sequence_number": len(self.events)})
        event = b"event: %b\ndata: %b\n\n" % (kind.encode("utf-8", "replace"), data)
        if not self._room(self, len(event)) and self.ended is None:
            self.fail("server_error", "The gateway has no room for more events of this response.")
            self.stop()
            return
        self.events.append(event)
        self._tell()

    def _tell(self) -> None:
        self.more.set()
        self.more = asyncio.Event()


class Watch(msgspec.Struct, frozen=True):
    """A run's events from after number `after`, as they come."""

    run: Run
    after: int = -1

    async def send(self, client: Client, left: str, stopping: Callable[[], bool]) -> None:
        """Send them until the last. A task that is cancelled with `left` ends quietly. The run goes on without it,
        unless the gateway is `stopping`.
        """
        run, place = self.run, self.after + 1
        try:
            await client.start(200, _STREAM)
            while run.ended is None:
                more = run.more
                if place < len(run.events):
                    ready, place = b"".join(run.events[place:]), len(run.events)
                    await client.write(ready)
                else:
                    await more.wait()
        except asyncio.CancelledError as error:
            if error.args == (left,):
                return
            if stopping() and run.task is not None:
                run.stop()
                await asyncio.wait({run.task})
                await client.end(b"".join(run.events[place:]))  # the last of them says so
            raise
        await client.end(b"".join(run.events[place:]))


class Background:
    """The calls that run in the background and those that ended lately; behind them, the store.

    `left` is the word with which a task is cancelled whose client wants no more.
    """

    def __init__(self, store: Stored, left: str) -> None:
        self._store, self._left = store, left
        self._running: dict[tuple[str, str], Run] = {}
        self._ended: dict[tuple[str, str], Run] = {}  # in the order of their ends
        self._size = 0

    @property
    def running(self) -> int:
        return len(self._running)

    def begin(self, exchange: Exchange, body: bytes, headers: Mapping[bytes, bytes], work: Work) -> Run:
        """Start the call, whose body was `body`. `Run.task` ends when all is over. Raises NotBackgroundError."""
        try:
            run = Run(exchange, body, keeping.owner(headers), self._make_room)
        except ValueError as error:
            raise NotBackgroundError("input", f"{error}.") from None
        self._running[run.owner, run.id] = run
        self._make_room(run, len(body))
        run.begin()
        run.task = task = asyncio.create_task(_make(work, exchange, run))
        task.add_done_callback(lambda task: self._over(run, task))
        return run

    def _over(self, run: Run, task: asyncio.Task[None]) -> None:
        """Called once for each run, however it ended."""
        mistake = None if task.cancelled() else task.exception()
        if mistake is not None:
            run.fail("server_error", "The gateway made a mistake.")
            task.get_loop().call_exception_handler({"message": "a call in the background", "exception": mistake})
        run.fail("gateway_stopping", "The gateway is stopping.")
        key = (run.owner, run.id)
        if self._running.pop(key, None) is None:
            return  # it was deleted
        self._ended[key] = run
        self._make_room(run, 0 if run.streamed else len(dump(run.response)))
        self._store.put(run.entry)

    async def serve(
        self, method: str, name: str, what: str, headers: Mapping[bytes, bytes], query: bytes
    ) -> dict[str, Any] | Watch | None:
        """Answer a request for response `name`, or for `what` of it; None if this client has none of that name.

        Raises BadQueryError, CancelError, StoredError.
        """
        if method == "DELETE":
            return await self._delete(name, headers)
        if what == "cancel":
            return await self._cancel(name, headers)
        entry = await self._entry(name, headers)
        if entry is None:
            return None
        if what:
            return keeping.items(entry, query)
        wanted = responses.retrieval(query)
        if wanted.stream:
            return Watch(self._watchable(entry), wanted.after)
        responses.check_includes(entry.answer, wanted.include)
        return entry.answer

    async def close(self) -> None:
        """End every call, and say so in its response."""
        tasks = [run.task for run in self._running.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _find(self, name: str, headers: Mapping[bytes, bytes]) -> Run | None:
        key = (keeping.owner(headers), name)
        self._forget()
        return self._running.get(key) or self._ended.get(key)

    async def _entry(self, name: str, headers: Mapping[bytes, bytes]) -> Entry | None:
        run = self._find(name, headers)
        return run.entry if run is not None else await self._store.get(name, keeping.owner(headers))

    async def _cancel(self, name: str, headers: Mapping[bytes, bytes]) -> dict[str, Any] | None:
        run = self._find(name, headers)
        if run is not None and run.ended is None:
            run.cancel(self._left)
        entry = await self._entry(name, headers)
        if entry is None:
            return None
        if not entry.answer.get("background"):
            raise CancelError("Cannot cancel a synchronous response: close the connection to cancel one.")
        if entry.answer.get("status") != "cancelled":
            raise CancelError(f"Cannot cancel a response that is {entry.answer.get('status')}.")
        return entry.answer

    async def _delete(self, name: str, headers: Mapping[bytes, bytes]) -> dict[str, Any] | None:
        key = (keeping.owner(headers), name)
        run = self._running.pop(key, None) or self._ended.pop(key, None)
        if run is not None:
            run.cancel(self._left)
            self._size -= run.size
        deleted = await keeping.delete(name, headers, self._store)
        return deleted if run is None else keeping.deleted(name)

    def _watchable(self, entry: Entry) -> Run:
        run = self._running.get((entry.owner, entry.id)) or self._ended.get((entry.owner, entry.id))
        if run is not None and run.streamed:
            return run
        why = "its events are no longer kept, or it was not created with stream=true; get it without `stream`"
        if not entry.answer.get("background"):
            why = "it was not created with background=true"
        raise BadQueryError("stream", f"This response cannot be streamed: {why}.")

    def _make_room(self, run: Run, size: int) -> bool:
        """Count `size` bytes more for `run`; whether it may have them."""
        run.size += size
        self._size += size
        while self._size > LARGEST_TOGETHER and (key := next(iter(self._ended), None)) is not None:
            self._size -= self._ended.pop(key).size
        return run.size <= LARGEST and self._size <= LARGEST_TOGETHER

    def _forget(self) -> None:
        oldest = clock.monotonic() - REPLAY
        while self._ended:
            key, run = next(iter(self._ended.items()))
            if run.ended is None or run.ended >= oldest:
                break
            self._size -= self._ended.pop(key).size


async def _make(work: Work, exchange: Exchange, run: Run) -> None:
    if run.ended is None:
        run.make()
        await work(exchange, run)
