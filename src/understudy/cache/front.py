"""What calls talk to. A look-up has a patience of some milliseconds, and what is to be kept is kept behind the answer.

A store that fails is left alone for a second, and one that does not answer in time until it has, so that not every
call waits for it in vain; both are counted (`failed`, `lost`) and told once in the log. Whoever waited in vain does not
cancel what it asked for: an answer that comes too late must find the one who reads it off the connection.

Equal calls that come at once are all passed on: the first to end is kept, the others replace it. To let them wait for
one another would make the slowest of them the speed of all, and one that breaks off everybody's failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from understudy import clock
from understudy.cache.entry import Entry, Slot, StoreError, packed, unpacked

REST = 1.0
"""Seconds for which a store is left alone that failed."""

LOOKING = 128
"""Look-ups under way at once; a further call does not look."""

WAITING = 32 * 1024 * 1024
"""Bytes of answers that wait to be kept; a further one is not kept."""

TIDY = 60.0
"""Seconds between two deletions of what has expired."""

CLOSING = 2.0
"""Seconds that what waits to be kept gets when the gateway stops."""

log = logging.getLogger("understudy")

Examine = Callable[[Entry], Entry | None]
"""Looks an answer over before it is kept, in another thread; None where it is not to be."""


class Store(Protocol):
    """Where packed entries lie. Each function raises StoreError, and nothing else; none may take for ever."""

    where: str

    async def read(self, slot: Slot) -> bytes | None: ...

    async def write(self, slot: Slot, data: bytes, until: float) -> None: ...

    async def tidy(self) -> None:
        """Delete for good what has expired."""

    async def clear(self, route: str | None, key: str | None) -> int:
        """Delete for good what is of that route and of that key, None meaning any; returns how many."""

    async def close(self) -> None: ...


class Cache:
    """`start` it in the running loop and `close` it there. `largest` is the most bytes of an answer, or of a request.

    `failed` counts look-ups that the store did not answer, `lost` answers that were to be kept and could not be.
    """

    def __init__(self, store: Store, *, largest: int, patience: float) -> None:
        self.largest = largest
        self.failed = self.lost = 0
        self._store = store
        self._patience = patience
        self._looking: set[asyncio.Future[bytes | None]] = set()
        self._late: set[asyncio.Future[bytes | None]] = set()
        self._resting = -1.0
        self._complained = False
        self._waiting: deque[tuple[Slot, Entry, Examine]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for what has expired from now on, and keep what is put."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="cache")

    async def get(self, slot: Slot) -> Entry | None:
        """What is kept there and still fresh; None where nothing is, and where the store does not say in time."""
        if self._late or clock.monotonic() < self._resting or len(self._looking) >= LOOKING:
            self.failed += 1
            return None
        reading = asyncio.ensure_future(self._store.read(slot))
        self._looking.add(reading)
        reading.add_done_callback(self._looked)
        # In two halves: where it was this process that was slow, the answer is here already, but unread.
        for _ in range(2):
            if (await asyncio.wait({reading}, timeout=self._patience / 2))[0]:
                break
        else:
            self.failed += 1
            self._late.add(reading)
            self._complain(f"{self._store.where} did not answer within {self._patience * 1000:.0f} ms")
            return None
        if (error := reading.exception()) is not None:
            self.failed += 1
            self._rest(str(error))
            return None
        self._complained = False
        data = reading.result()
        entry = None if data is None else unpacked(data, slot, self.largest)
        return entry if entry is not None and entry.until > clock.wall() else None

    def put(self, slot: Slot, entry: Entry, examine: Examine) -> None:
        """Have `entry` kept, if `examine` finds it good. Never waits."""
        if self._bytes + len(entry.body) > WAITING:
            self.lost += 1
            return
        self._bytes += len(entry.body)
        self._waiting.append((slot, entry, examine))
        self._wake.set()
        self.start()

    async def close(self) -> None:
        """Keep what waits, within some seconds, and close the store."""
        task, self._task = self._task, None
        if task is not None:
            end = clock.monotonic() + CLOSING
            while self._bytes and clock.monotonic() < end:
                await clock.sleep(0.005)
            task.cancel()
            await asyncio.wait({task})
            self.lost += len(self._waiting)
        if self._looking:
            await asyncio.wait(self._looking, timeout=CLOSING)
        with contextlib.suppress(StoreError):
            await self._store.close()

    def _looked(self, reading: asyncio.Future[bytes | None]) -> None:
        self._looking.discard(reading)
        late = reading in self._late
        self._late.discard(reading)
        error = None if reading.cancelled() else reading.exception()
        if error is not None and late:
            self._rest(str(error))

    def _rest(self, why: str) -> None:
        self._resting = clock.monotonic() + REST
        self._complain(why)

    def _complain(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            log.warning("Answers are not found in the cache, or not kept; calls go on without it. %s", why)

    async def _run(self) -> None:
        tidied = -TIDY
        while True:
            if clock.monotonic() - tidied >= TIDY:
                tidied = clock.monotonic()
                await self._done(self._store.tidy())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY):
                    await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                slot, entry, examine = self._waiting[0]
                self.lost += not await self._done(self._keep(slot, entry, examine))
                self._waiting.popleft()
                self._bytes -= len(entry.body)

    async def _keep(self, slot: Slot, entry: Entry, examine: Examine) -> None:
        data = await asyncio.to_thread(_prepared, entry, examine)
        if data is not None:
            await self._store.write(slot, data, entry.until)
            self._complained = False

    async def _done(self, step: Awaitable[None]) -> bool:
        """Whether `step` was done. What it stumbled over belongs to it: the next is tried all the same."""
        try:
            await step
        except StoreError as error:
            self._rest(str(error))
        except Exception:
            log.exception("A step of the cache failed by a mistake of ours")
        else:
            return True
        return False


def _prepared(entry: Entry, examine: Examine) -> bytes | None:
    found = examine(entry)
    return None if found is None else packed(found)
