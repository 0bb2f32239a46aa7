"""Replicas tell each other what they find, through Redis, and each decides alone when Redis is slow or gone.

No call ever waits for Redis: decisions read this process' own `Health`. A task in the background sends what changes
here (`Health.tell`) and takes over what others send (`Health.apply`); if it cannot, calls do not notice. Over a channel
changes arrive at once; in keys that expire by themselves they wait for a replica that starts late or was cut off.

What is sent is `words.py`'s business. When Redis comes back, what is stored is read first, then what this replica
knows better is sent: so neither an old drain comes back nor is a new one lost, and a Redis that lost its memory gets it
again.

A session with Redis is two connections (a subscribed one takes no other commands) that live and die together. A beat
every two seconds goes the whole way round, so a server that accepts connections and says nothing is found out.

Only one replica tries a target whose breaker is open: the one whose breaker opened last (the last word on it). The
others wait for its verdict a few seconds longer, each a different time, and then try for themselves: it may have died,
or have no calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from understudy import clock
from understudy.gateway import words
from understudy.gateway.config import reveal
from understudy.gateway.settings import Server
from understudy.gateway.words import Entry, Message, Name, RefusedError, Rest, Window, Word, Words
from understudy.resilience import Change, Health, Left, Place

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline, PubSub

TICK = 0.1
"""Seconds between two looks at what is left of limits; changes go out at once."""

BEAT = 2.0
"""Seconds between two signs of life."""

PATIENCE = 2.0
"""Seconds for an answer of Redis. Nobody waits for it meanwhile but the task in the background."""

REREAD = 60.0
"""Seconds between two looks at what is stored: what was lost on the way (a channel promises nothing) is found then."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds before another attempt to connect, and at most."""

WAITING = 1024
"""Changes that wait to be sent; further ones displace the oldest, which are counted."""

BATCH = 16
"""Changes in one go, so that the event loop is not kept for more than a millisecond or two."""

GRACE = 2.0
"""Seconds by which others let the replica that opened a breaker go first, at least; at most three times as many."""

LITTLE = 0.01
"""The share of a limit by which what is left must have changed to be worth telling."""

_KEPT_RESTS = 60.0
"""Seconds for which what is left of limits is stored: soon the next answer's headers say it."""

_PEERS = 256
_RESTS = 2048

TASK = "sharing"
"""The name of the only tasks that ever talk to Redis."""

log = logging.getLogger("understudy")


class Sharing:
    """One replica's part. `start` it in the running loop; `close` it there."""

    def __init__(self, url: str, prefix: str, health: Health) -> None:
        parts = urlsplit(url)
        self._url = url
        self._where = f"{parts.hostname}:{parts.port or 6379}"
        self._channel = f"{prefix}:changes"
        self._index = f"{prefix}:index"
        self._key = f"{prefix}:state:"
        self.replica = clock.token(8)
        self.connected = False
        self.sent = self.heard = self.dropped = self.refused = 0
        self._health = health
        self._words = Words()
        self._waiting: dict[Name, None] = {}
        self._wake = asyncio.Event()
        self._peers: dict[str, float] = {}
        self._told: dict[Name, dict[str, float]] = {}
        self._rests: set[Name] = set()
        self._offset = 0.0
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        health.tell.append(self.tell)
        health.quotas.touched = set()

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=TASK)

    async def close(self) -> None:
        self.connected = False
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def report(self) -> dict[str, Any]:
        """For operators."""
        now = clock.monotonic()
        return {
            "connected": self.connected,
            "replica": self.replica,
            "others": sum(now - at < 3 * BEAT for at in self._peers.values()) if self.connected else 0,
            "sent": self.sent,
            "heard": self.heard,
            "dropped": self.dropped,
            "refused": self.refused,
        }

    def tell(self, change: Change) -> None:
        """Something changed here. Called on a call's way: it only notes what is to be sent."""
        for name in self._words.said(change, clock.monotonic()):
            self._enqueue(name)

    def _enqueue(self, name: Name) -> None:
        self._waiting.pop(name, None)
        if len(self._waiting) >= WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._waiting[name] = None
        self._wake.set()

    # -- the session ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        from redis.exceptions import RedisError  # noqa: PLC0415  only who shares pays for it

        failures = 0
        while True:
            try:
                await self._session()
            except* (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as group:
                # The latter where a server is none and the library stumbles: whatever it is, calls go on without.
                failures = 0 if self.connected else failures + 1
                self._down(group)
            wait = min(FIRST_WAIT * 2.0 ** min(failures, 10), LONGEST_WAIT)
            await clock.sleep(wait * (0.5 + clock.random() / 2))

    async def _session(self) -> None:
        """Share until something fails; raises what that was."""
        client = _client(self._url)
        pubsub = client.pubsub()
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await pubsub.subscribe(self._channel)
                if await pubsub.get_message(timeout=PATIENCE) is None:
                    raise TimeoutError
                await self._reread(client)
            self._up()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(pubsub), name=TASK)
                group.create_task(self._publish(client), name=TASK)
        finally:
            with contextlib.suppress(Exception):  # a connection that is in pieces already
                async with asyncio.timeout(1):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
                    await client.aclose()

    def _up(self) -> None:
        self.connected = True
        self._told.clear()
        if self._lost:
            self._lost = False
            log.warning("Redis at %s is back: what replicas find is shared again.", self._where)

    def _down(self, group: BaseExceptionGroup[Exception]) -> None:
        self.connected = False
        self._peers.clear()
        if not self._lost:
            self._lost = True
            # The kind only: some servers repeat in their errors the command they refused, password and all.
            why = type(_first(group)).__name__
            log.warning("Redis at %s is away (%s): this replica decides alone until it is back.", self._where, why)

    async def _listen(self, pubsub: PubSub) -> None:
        taken = 0
        while True:
            message = await pubsub.get_message(timeout=3 * BEAT)
            if message is None:
                raise TimeoutError  # not even our own beats
            if message["type"] == "message":
                self._hear(message["data"])
            taken += 1
            if taken % (2 * BATCH) == 0:
                await clock.sleep(0.01)  # a flood must not keep calls from the event loop

    async def _publish(self, client: Redis) -> None:
        began = clock.monotonic()
        beat, reread, look = -BEAT, began + REREAD, 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            now = clock.monotonic()
            pipeline = client.pipeline(transaction=False)
            sending = self._say(pipeline, now)
            if now >= look:
                look = now + TICK
                self._say_rests(pipeline, now)
            if now - beat >= BEAT:
                beat = now
                pipeline.publish(self._channel, self._message() or b"")
            if len(pipeline):
                async with asyncio.timeout(PATIENCE):
                    await pipeline.execute()
                self.sent += len(sending)
                self._done(sending)
            if now >= reread:
                reread = now + REREAD
                async with asyncio.timeout(PATIENCE):
                    await self._reread(client)

    # -- out -----------------------------------------------------------------------------------------------------------

    def _say(self, pipeline: Pipeline, now: float) -> list[tuple[Name, Entry]]:
        """Add a batch of what waits to `pipeline`; it goes on waiting until it has been sent."""
        sending = []
        for name in list(self._waiting)[:BATCH]:
            entry = self._words.entries.get(name)
            left = 0.0 if entry is None else entry.kept(now)
            if entry is None or left <= 0:
                del self._waiting[name]
                continue
            data = self._message(word=words.word_of(entry, self._offset))
            if data is None:
                del self._waiting[name]
                self.dropped += 1
                continue
            sending.append((name, entry))
            self._store(pipeline, name, data, now, left)
            pipeline.publish(self._channel, data)
        if not self._waiting:
            self._wake.clear()
        return sending

    def _done(self, sent: Iterable[tuple[Name, Entry]]) -> None:
        for name, entry in sent:
            if self._words.entries.get(name) is entry:  # or else there is a newer word to send
                self._waiting.pop(name, None)
        if not self._waiting:
            self._wake.clear()

    def _say_rests(self, pipeline: Pipeline, now: float) -> None:
        touched = self._health.quotas.touched
        for _ in range(min(BATCH, len(touched or ()))):
            assert touched is not None
            place = touched.pop()
            left = self._health.quotas.left(place, now)
            if words.embedded(place) or not left or not self._worth_telling(place, left):
                continue
            windows = [Window(one.name, one.limit, one.left, min(one.full_in, words.LONGEST)) for one in left[:16]]
            data = self._message(rest=Rest(words.spot_of(place), now + self._offset, windows))
            if data is None:
                self.dropped += 1
                continue
            self._store(pipeline, words.rest_name(place), data, now, _KEPT_RESTS)
            pipeline.publish(self._channel, data)

    def _worth_telling(self, place: Place, left: list[Left]) -> bool:
        name = words.rest_name(place)
        told = self._told.get(name)
        if told is not None and all(abs(one.left - told.get(one.name, -1e9)) < LITTLE * one.limit for one in left):
            return False
        if len(self._told) >= _RESTS:
            self._told.clear()
        self._told[name] = {one.name: one.left for one in left}
        return True

    def _message(self, word: Word | None = None, rest: Rest | None = None) -> bytes | None:
        """The bytes to send; None where a name is longer than others would believe."""
        data = msgspec.json.encode(Message(words.VERSION, self.replica, word, rest))
        try:
            words.read(data)
        except RefusedError:
            return None
        return data

    def _store(self, pipeline: Pipeline, name: Name, data: bytes, now: float, seconds: float) -> None:
        """In a key that expires, and its name in an index, so that nobody has to search a Redis that others use too."""
        key = self._key + words.key_of(name)
        pipeline.set(key, data, px=max(1, int(seconds * 1000)))
        pipeline.zadd(self._index, {key: now + self._offset + seconds})
        pipeline.expire(self._index, int(words.LONGEST) + 1)

    # -- in ------------------------------------------------------------------------------------------------------------

    async def _reread(self, client: Redis) -> None:
        """Compare clocks; take over what is stored; send what is known better, or missing."""
        before = clock.monotonic()
        seconds, micros = await client.time()
        now = clock.monotonic()
        self._offset = seconds + micros / 1e6 - (before + now) / 2
        await client.zremrangebyscore(self._index, "-inf", now + self._offset)
        index: list[Any] = list(await client.zrevrange(self._index, 0, words.MOST - 1))
        keys = [key for key in index if key.startswith(self._key.encode())]
        stored: dict[Name, float] = {}
        for start in range(0, len(keys), BATCH):
            for data in await client.mget(keys[start : start + BATCH]):
                if data is not None:
                    self._hear(data, stored)
            await clock.sleep(0)
        now = clock.monotonic()
        for name, entry in self._words.entries.items():
            if entry.kept(now) > 0 and entry.at > stored.get(name, -1e12) + 1e-3:
                self._enqueue(name)
        self._words.tidy(now)

    def _hear(self, data: object, stored: dict[Name, float] | None = None) -> None:
        """Take over a message, if it is one. `stored` is where to note what it is about, if it was stored."""
        now = clock.monotonic()
        try:
            message = words.read(data)
            word, rest = message.word, message.rest
            entry = None if word is None else words.entry_of(word, self._offset, now)
        except RefusedError:
            self.refused += 1
            return
        if entry is not None and stored is not None:
            stored[words.name_of(entry.change)] = entry.at
        if message.by == self.replica:
            return
        if stored is None:
            self._met(message.by, now)
        if word is not None and entry is not None and word.spot.machine in (None, words.this_machine()):
            self._take(entry, now)
        if rest is not None and rest.spot.machine in (None, words.this_machine()):
            self._take_rest(rest, now)

    def _met(self, replica: str, now: float) -> None:
        if replica not in self._peers and len(self._peers) >= _PEERS:
            del self._peers[next(iter(self._peers))]
        self._peers[replica] = now

    def _take(self, entry: Entry, now: float) -> None:
        name = words.name_of(entry.change)
        known = self._words.entries.get(name)
        if not entry.over and entry.until <= now:
            return
        if self._words.heard(entry, now) is None:
            self.refused += known is None  # no room
            return
        self.heard += 1
        self._waiting.pop(name, None)
        change = entry.change
        if change.what == "reopened":
            if now - entry.at > words.AHEAD:  # an old one, from storage: what else it ended is stored by itself
                place = change.place
                self._health.drained.discard((place.provider, place.model))
                return
        elif entry.over:
            if known is None or known.over:
                return  # it never ran here
        elif change.what == "breaker_open":
            wait = GRACE * (1 + 2 * clock.random())
            change = msgspec.structs.replace(change, seconds=entry.until - now + wait)
        self._health.apply(change, now)

    def _take_rest(self, rest: Rest, now: float) -> None:
        place = rest.spot.place()
        name = words.rest_name(place)
        if name not in self._rests:
            if len(self._rests) >= _RESTS:
                self.refused += 1
                return
            self._rests.add(name)
        self.heard += 1
        age = max(0.0, now + self._offset - rest.at)
        found = [Left(one.name, one.limit, one.left, one.full_in) for one in rest.windows]
        self._health.quotas.take(place, found, now, age)


def _client(url: str) -> Redis:
    from redis.asyncio import Redis  # noqa: PLC0415  only who shares pays for it
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415

    settings: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    if url.startswith("rediss:"):
        settings["ssl_check_hostname"] = True
    return Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), **settings)


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def sharing(server: Server, environ: Mapping[str, str], health: Health) -> Sharing | None:
    """What `server.redis` asks for, not started yet; None if nothing is to be shared."""
    return None if server.redis is None else Sharing(reveal(server.redis, environ), server.redis_prefix, health)
