"""The ledger as the gateway sees it: `put` a record and go on.

A record is appended to a queue in memory, a thread hands the queue to the process that writes, several times within
the interval that a crash may cost. Nothing here waits for a database, a disk or that process: when none of them takes
anything, records wait in memory up to a bound, bodies are let go first, and what does not fit is counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import msgspec

from understudy import clock
from understudy.ledger import frames
from understudy.ledger.bodies import bounded
from understudy.ledger.frames import Said
from understudy.ledger.link import Link
from understudy.ledger.records import Exchange, Record
from understudy.ledger.settings import Settings

log = logging.getLogger("understudy")

_CHUNK = 200
"""Records of a frame: few enough that encoding them does not hold up the gateway's loop for long."""

_BODIES = 1024 * 1024
"""Bytes of bodies in a frame, about."""

_UNWRITABLE = (msgspec.MsgspecError, UnicodeError, TypeError, OverflowError)


class State(msgspec.Struct, frozen=True):
    """How the ledger is. `queued` records wait in memory, `spooled` bytes on disk; `written` are in the database.

    `lost` counts records by the reason for which they were given up ("bodies": only the bodies; "unsearchable",
    "redaction": only texts). `lag` is how many
    seconds the oldest record has been waiting in memory. `error` is what fails at present, None if nothing does.
    """

    queued: int
    spooled: int
    written: int
    lost: dict[str, int]
    lag: float
    error: str | None


class Ledger:
    """Made, started once, and stopped once. `put` may be called at any time and from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queue: deque[Record] = deque()
        self._bound = settings.queue
        self._link = Link(settings, self._heard)
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._begun = threading.Event()
        self._stopping: float | None = None
        self._said = Said()
        self._before = Said()
        self._lost: dict[str, int] = {}

    @property
    def url(self) -> str:
        """Where the database is, as a URL; it may hold a password."""
        return self._settings.url

    def start(self) -> None:
        self._thread.start()

    def ready(self, patience: float = 10.0) -> bool:
        """Wait until the process that writes has begun. Before that, a `kill -9` costs what was put until then."""
        return self._begun.wait(patience)

    def put(self, record: Record) -> None:
        """Keep a record. Never waits and never raises; what there is no room for is counted in `state().lost`."""
        if len(self._queue) < self._bound:
            self._queue.append(record)
        else:
            self._lose("stopped" if self._bound < 0 else "queue", 1)

    def stop(self, patience: float = 10.0) -> State:
        """Write what is left, within `patience` seconds. What is not safe by then is counted as lost and logged."""
        self._bound = -1
        self._stopping = clock.monotonic() + patience
        if self._thread.is_alive():
            self._thread.join()
        return self.state()

    def state(self) -> State:
        held = list(self._link.held)
        said = self._said
        lost = dict(self._lost)
        for reason, count in said.lost.items():
            lost[reason] = lost.get(reason, 0) + count
        return State(
            queued=len(self._queue) + sum(sent.count for sent in held),
            spooled=said.spooled,
            written=self._before.written + said.written,
            lost=lost,
            lag=clock.monotonic() - held[0].since if held else 0.0,
            error=said.error if self._running() else "the ledger's thread has ended: see the log for what ended it",
        )

    def _running(self) -> bool:
        """Whether the thread does its work, or has none to do yet or any more."""
        return self._thread.ident is None or self._thread.is_alive() or self._stopping is not None

    def _run(self) -> None:
        interval = self._settings.interval / 4  # the rest is for the way into the database
        while True:
            stopping = self._stopping
            self._collect()
            if stopping is not None and (not self._link.held or clock.monotonic() > stopping):
                break
            due = clock.monotonic() + interval
            while (left := due - clock.monotonic()) > 0 and self._stopping is None:
                self._link.turn(left)
            if self._stopping is not None:
                self._link.turn(interval)
        given_up = sum(sent.count for sent in self._link.held)
        self._link.close(stopping)
        given_up = min(given_up, sum(sent.count for sent in self._link.held))
        if given_up:
            self._lose("stop", given_up)
            log.error("ledger: %d records are lost: nothing took them before the gateway had to stop", given_up)

    def _collect(self) -> None:
        """Make frames of what is in the queue now."""
        left = len(self._queue)
        while left > 0:
            bare = self._link.size > self._settings.memory // 2
            records: list[Record] = []
            weight = 0
            while self._queue and len(records) < _CHUNK and weight < _BODIES:
                record = self._queue.popleft()
                if isinstance(record, Exchange) and record.bodies:
                    record = self._with_bodies(record, bare=bare)
                    weight += sum([len(body.data) for body in record.bodies])
                records.append(record)
            left -= len(records)
            self._frame(records)

    def _with_bodies(self, record: Exchange, *, bare: bool) -> Exchange:
        """The record with bodies no longer than the bound, or with none when memory is short."""
        if not bare:
            return bounded(record, self._settings.body_bytes)
        self._lose("bodies", 1)
        return msgspec.structs.replace(record, bodies=())

    def _frame(self, records: list[Record]) -> None:
        try:
            payload = frames.encode(records)
        except _UNWRITABLE:
            if len(records) == 1:
                self._lose("unwritable", 1)
                return
            for record in records:
                self._frame([record])
            return
        if self._link.size + len(payload) > self._settings.memory:
            self._lose("memory", len(records))
            return
        self._link.send(payload, len(records))

    def _heard(self, said: Said) -> None:
        """Take note of what the process says, and tell the operator when that changes."""
        before = self._said
        if said.pid != before.pid:  # another process, which counts from 0
            self._before = Said(written=self._before.written + before.written)
            for reason, count in before.lost.items():
                self._lose(reason, count)
        self._said = said
        self._begun.set()
        if said.error and not before.error:
            log.warning("ledger: the database takes no records (%s); they wait in the spool", said.error)
        elif before.error and not said.error:
            log.warning("ledger: the database takes records again")

    def _lose(self, reason: str, count: int) -> None:
        self._lost[reason] = self._lost.get(reason, 0) + count
