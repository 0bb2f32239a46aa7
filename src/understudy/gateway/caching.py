"""Calls that are exactly the same get the same answer, without a provider, where their route says so.

What is kept is what the client was sent, byte for byte: a stream is given again as that stream, an answer that was not
streamed as that answer, and neither in place of the other, since a stream does not tell all that a whole answer does
(usage that was not asked for), nor a whole answer in which pieces it would have come. Ids and times in it are those of
the first.

Only sound answers are kept, of the target that the route wants: no error, no answer that broke off or was gone on with,
none that was filtered, none of a stand-in, which would outlive the outage. See docs/guides/cache.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from understudy import cache, clock, dialects
from understudy.cache import Asked, Cache, Entry, NotExactError, Rules, Slot, canonical, digest
from understudy.cache.file import MEMORY, File
from understudy.cache.shared import Shared
from understudy.canon import Ended, Finished, Request, Skipped, Usage, Used
from understudy.dialects.wire import Malformed
from understudy.gateway import exchange as exchanges
from understudy.gateway import keys, recording, settings, surface
from understudy.gateway.client import Client, Through, marks
from understudy.gateway.config import reveal
from understudy.gateway.record import Exchange, Headers, Hit, Outcome
from understudy.gateway.refusing import RefusedError
from understudy.gateway.stored import owner_of
from understudy.upstream import Client as Transport

PIECE = 64 * 1024
"""Bytes of a kept stream that are written at once."""

_KEPT_FINISHES = frozenset({"stop", "length", "tool_calls"})
_STATE = ("background", "conversation", "container")
"""Fields of requests that name, or make, something at the provider that the answer depends on."""
_MARKS = (b"x-understudy-target", b"x-understudy-losses")


def store_of(config: settings.Config, environ: Mapping[str, str]) -> cache.Store:
    """Where `config` has answers kept; nothing is opened yet."""
    values = config.cache
    if values.where == "redis":
        return Shared(reveal(config.server.redis or "", environ), config.server.redis_prefix)
    path: Path | str = MEMORY
    if values.where != "memory":
        path = Path(values.where).expanduser() if values.where else recording.data_folder(environ) / "cache.sqlite"
    return File(path, max_bytes=values.max_bytes, patience=values.patience)


def opened(config: settings.Config, environ: Mapping[str, str]) -> Cache:
    """The cache that `config` means; nothing is opened yet."""
    values = config.cache
    return Cache(store_of(config, environ), largest=values.largest_body, patience=values.patience)


async def answered(exchange: Exchange, rules: Rules, client: Client, kept: Cache, transport: Transport) -> Outcome:
    """Answer the call out of the cache, or as it would be without one, and keep the answer. As `exchange.run`."""
    asked = cache.asked(exchange.call.headers.get(b"cache-control"))
    slot = None if asked.no_store else _slot(exchange, rules, kept.largest)
    entry = None
    if slot is not None and asked.max_age >= 0:
        entry = await kept.get(slot)
    if entry is not None and (age := _age(entry, asked, rules)) is not None:
        await _replay(entry, age, exchange, client)
        return "answered"
    exchange.cache = "bypass" if slot is None else "miss"
    exchange.told.append((b"x-understudy-cache", exchange.cache.encode()))
    if asked.only_if_cached:
        why = "No answer is kept for this very call, and `cache-control: only-if-cached` forbids to call a provider."
        refused = RefusedError(504, "not_cached", why)
        await client.whole(*refused.answer(exchange.call.door.dialect))
        return "failed"
    if slot is None:
        return await exchanges.run(exchange, client, transport)
    copy = Copy(client, kept.largest)
    outcome = await exchanges.run(exchange, copy, transport)
    if outcome == "answered" and copy.complete and _wanted(exchange):
        _put(copy, slot, exchange, rules, kept)
    return outcome


class Copy(Through):
    """A client whose answer is copied as it is sent. `complete`: the copy is the whole of a 200 that may be kept."""

    def __init__(self, client: Client, most: int) -> None:
        super().__init__(client)
        self._most = most
        self._pieces: list[bytes] = []
        self._size = 0
        self._good = False
        self._ended = False
        self.kind = b""

    @property
    def complete(self) -> bool:
        return self._good and self._ended

    @property
    def body(self) -> bytes:
        return b"".join(self._pieces)

    async def start(self, status: int, headers: Headers) -> None:
        self._begin(status, headers)
        await self._client.start(status, headers)

    async def write(self, data: bytes) -> None:
        self._add(data)
        await self._client.write(data)

    async def end(self, data: bytes = b"") -> None:
        self._add(data)
        self._ended = True
        await self._client.end(data)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self._begin(status, headers)
        self._add(body)
        self._ended = True
        await self._client.whole(status, headers, body)

    def _begin(self, status: int, headers: Headers) -> None:
        forbidden = any(name == b"cache-control" and cache.forbidden(value) for name, value in headers)
        self._good = status == 200 and not forbidden
        self.kind = next((value for name, value in headers if name == b"content-type"), b"")

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most:
            self._good = False
            self._pieces.clear()
        elif self._good:
            self._pieces.append(data)


# -- which call it is --------------------------------------------------------------------------------------------------


def _slot(exchange: Exchange, rules: Rules, largest: int) -> Slot | None:
    """Where the answer to a call is kept; None where it is not to be."""
    call, route = exchange.call, exchange.route
    if not _consented(exchange) or len(call.body) > largest:
        return None
    try:
        body, request = canonical(call.body), call.request()
    except (Malformed, NotExactError):
        return None
    if _has_state(request) or (rules.when == "deterministic" and not _repeatable(request)):
        return None
    key = "" if rules.shared else _key(exchange)
    door = call.door
    said = [b"%b: %b" % (name, call.headers[name]) for name in rules.headers if name in call.headers]
    kind = f"{door.dialect} {door.form} {call.stream:d}"
    name = route.name.encode()
    return Slot(route.name, key, digest(name, rules.made_of, kind.encode(), key.encode(), body, *said))


def _consented(exchange: Exchange) -> bool:
    """Whether the words of a call may be kept. What a client or its key wants less of than `bodies` are its words."""
    asked = exchange.call.headers.get(b"x-understudy-store", b"bodies").strip().lower()
    return asked == b"bodies" and exchange.consent in (None, "bodies") and recording.allowed(exchange) != "none"


def _key(exchange: Exchange) -> str:
    """Whose answers a call may see: those of its virtual key, else of what it shows for one."""
    if exchange.verdict is not None:
        return exchange.verdict.key
    call = exchange.call
    return f"given:{owner_of(keys.given(call.headers, call.door.key))[:32]}"


def _has_state(request: Request) -> bool:
    """Whether a call makes or uses something that the provider keeps: its answer is more than words."""
    kept = request.store is not False if request.dialect == surface.RESPONSES else bool(request.store)
    return kept or request.previous is not None or any(request.extra.get(name) for name in _STATE)


def _repeatable(request: Request) -> bool:
    """Whether a call asks for the same answer each time. What a provider's own tool finds is another tomorrow."""
    sampling = request.sampling
    return (sampling.temperature == 0 or sampling.seed is not None) and all(
        tool.kind != "hosted" for tool in request.tools
    )


# -- giving ------------------------------------------------------------------------------------------------------------


def _age(entry: Entry, asked: Asked, rules: Rules) -> float | None:
    """How old an answer is, if it will do; None if it will not, as where the route's `cache_ttl` is shorter by now."""
    now = clock.wall()
    age = max(0.0, now - entry.stored)
    left = min(entry.until, entry.stored + rules.ttl) - now
    return age if left > 0 and asked.takes(age, left) else None


async def _replay(entry: Entry, age: float, exchange: Exchange, client: Client) -> None:
    exchange.cache = "hit"
    exchange.hit = Hit(entry.exchange, entry.target, age, entry.usage)
    exchange.told += [(b"x-understudy-cache", b"hit"), (b"age", b"%d" % age)]
    if not exchange.call.stream:
        await client.whole(200, entry.headers, entry.body)
        return
    await client.start(200, [*entry.headers, (b"cache-control", b"no-cache")])
    for start in range(0, len(entry.body), PIECE):
        await client.write(entry.body[start : start + PIECE])
    await client.end()


# -- keeping -----------------------------------------------------------------------------------------------------------


def _wanted(exchange: Exchange) -> bool:
    """Whether it was answered by whom the route wants, in one go and whole as far as the record knows."""
    last, route = exchange.attempts[-1], exchange.route
    preferred = route.order != "listed" or last.target == route.targets[0].name
    return preferred and exchange.splice is None and last.action == "answered" and not last.skipped


def _put(copy: Copy, slot: Slot, exchange: Exchange, rules: Rules, kept: Cache) -> None:
    call, last, now = exchange.call, exchange.attempts[-1], clock.wall()
    headers = [(b"content-type", copy.kind), *(pair for pair in marks(exchange) if pair[0] in _MARKS)]
    entry = Entry(slot.digest, exchange.id, last.target, now, now + rules.ttl, headers, copy.body, last.usage)
    dialect, stream = call.door.dialect, call.stream
    kept.put(slot, entry, lambda entry: examined(entry, dialect, stream=stream))


def examined(entry: Entry, dialect: str, *, stream: bool) -> Entry | None:
    """`entry` with what it used, if its client found it whole and sound; None if not. Takes its time."""
    try:
        finishes, usage = (_of_stream if stream else _of_answer)(entry.body, dialect)
    except Malformed:
        return None
    if not finishes or not finishes <= _KEPT_FINISHES:
        return None
    return entry if usage is None else msgspec.structs.replace(entry, usage=usage)


def _of_answer(body: bytes, dialect: str) -> tuple[set[str | None], Usage | None]:
    answer = dialects.get(dialect).decode_answer(body)
    return {choice.finish for choice in answer.choices}, answer.usage


def _of_stream(body: bytes, dialect: str) -> tuple[set[str | None], Usage | None]:
    decoder = dialects.get(dialect).StreamDecoder()
    events = [*decoder.feed(body), *decoder.close()]
    if not events or not isinstance(events[-1], Ended) or any(isinstance(event, Skipped) for event in events):
        return set(), None
    usage = next((event.usage for event in reversed(events) if isinstance(event, Used)), None)
    return {event.finish for event in events if isinstance(event, Finished)}, usage
