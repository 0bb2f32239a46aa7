"""What becomes of a batch: redacted, into the spool, into the database, and out of the spool again if that took it.

So a batch is safe from a `kill -9` before a database that may be slow is asked, and waits in the spool if that fails.
A batch that neither takes is held until either works.

Runs in a process of its own (`child.py`), since writing a row takes more of Python's lock than relaying a request does.
A database that failed is left alone for a while, longer each time, so that records do not wait for its silence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from understudy import clock
from understudy.ledger import frames, retention
from understudy.ledger.bodies import packed
from understudy.ledger.frames import BadFrameError
from understudy.ledger.record_redaction import RecordRedactor, bare
from understudy.ledger.records import Exchange, Record
from understudy.ledger.rows import cleaned
from understudy.ledger.settings import Settings
from understudy.ledger.spool import Spool, SpoolFullError
from understudy.ledger.store import RefusedError, Store, UnavailableError

log = logging.getLogger("understudy")

_LONGEST = 30.0
"""Seconds that a database which keeps failing is left alone at most."""


class Writer:
    """`written` counts records in the database, `lost` what was given up, by reason.

    Of "unsearchable" that is texts, of "redaction" all texts of a record: the records themselves are kept. `alive` is
    called now and then while a batch takes long.
    """

    def __init__(self, settings: Settings, alive: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._alive = alive
        self._redactor = None if settings.redaction is None else RecordRedactor(settings.redaction)
        self._store = Store(settings.url, patience=settings.patience)
        self._spool = Spool(Path(settings.spool), settings.spool_bytes)
        self._again = float("-inf")
        self._wait = settings.retry
        self._tidied = clock.monotonic()
        self.written = 0
        self.lost: dict[str, int] = {}
        self._error: str | None = None
        self._spool_error = ""

    @property
    def error(self) -> str | None:
        """What fails at present, None once records go into the database again."""
        return None if self._error is None else self._error + self._spool_error

    def open(self) -> None:
        """Open the database, and migrate it, before the first record comes."""
        self._stored([])

    def take(self, payloads: Sequence[bytes]) -> bool:
        """Put the records where they are safe. False if nowhere is: nothing was kept, give them again later."""
        records = [record for payload in payloads for record in self._records(payload)]
        if not records:
            return True
        kept = self._spooled(records)
        if clock.monotonic() >= self._again and self._stored(records):
            if kept:
                self._spool.take_back()
            return True
        return kept

    def spooled(self) -> int:
        """Bytes that wait in the spool."""
        return self._spool.size()

    def turn(self) -> bool:
        """Between batches: ingest a file of the spool, tidy up when it is time. Whether there may be more to do."""
        now = clock.monotonic()
        if now < self._again:
            return False
        if self._spool.size() and self._ingest():
            return True
        if now - self._tidied >= self._settings.retention.every and self.error is None:
            return self._tidy(now)
        return False

    def close(self) -> None:
        self._spool.close()
        self._store.close()

    def _spooled(self, records: Sequence[Record]) -> bool:
        try:
            self._spool.append(frames.encode(records))
        except (OSError, SpoolFullError) as error:
            self._spool_error = f"; the spool: {error}"
            return False
        self._spool_error = ""
        return True

    def _records(self, payload: bytes) -> list[Record]:
        try:
            records, unreadable = frames.decode(payload)
        except BadFrameError as error:
            self._lose("unreadable", 1)
            self._error = str(error)
            return []
        if unreadable:
            self._lose("unreadable", unreadable)
        return [self._prepared(record) for record in records]

    def _prepared(self, record: Record) -> Record:
        if self._redactor is not None:
            record = self._redacted(record, self._redactor)
            self._alive()
        if not isinstance(record, Exchange) or not record.bodies:
            return record
        settings = self._settings
        return msgspec.structs.replace(
            record,
            bodies=tuple(packed(body, limit=settings.body_bytes, level=settings.level) for body in record.bodies),
        )

    def _redacted(self, record: Record, redactor: RecordRedactor) -> Record:
        before = redactor.given_up
        try:
            return redactor.record(record)
        except Exception as error:  # noqa: BLE001  # whatever it is: what was not looked through is not kept
            if "redaction" not in self.lost:  # the error's words may be the text's
                log.error("ledger: redaction fails (%s): texts are not kept", type(error).__name__)  # noqa: TRY400
            self._lose("redaction", 1)
            return bare(record)
        finally:
            if redactor.given_up > before:
                self._lose("unsearchable", redactor.given_up - before)

    def _stored(self, records: Sequence[Record]) -> bool:
        try:
            try:
                self.written += self._store.write(records)
            except RefusedError:
                for record in records:
                    self._store_alone(record)
        except UnavailableError as error:
            self._error = str(error)
            self._again = clock.monotonic() + self._wait
            self._wait = min(self._wait * 2, _LONGEST)
            return False
        self._error, self._wait = None, self._settings.retry
        return True

    def _store_alone(self, record: Record) -> None:
        """One record of a batch that was refused. Those before it may be there already, which does no harm."""
        try:
            self.written += self._store.write([cleaned(record)])
        except (RefusedError, msgspec.ValidationError):
            self._lose("refused", 1)

    def _ingest(self) -> bool:
        """Give one file of the spool to the database. Whether it took one."""

        def take(payload: bytes) -> None:
            records, unreadable = frames.decode(payload)
            if unreadable:
                self._lose("unreadable", unreadable)
            if not self._stored(records):
                raise UnavailableError

        damaged = self._spool.damaged
        try:
            done = self._spool.drain(take, files=1)
        except UnavailableError:
            return False
        except OSError as error:
            self._error = f"the spool cannot be read: {error}"
            return False
        if self._spool.damaged > damaged:
            self._lose("damaged spool file", self._spool.damaged - damaged)
            return True
        return done > 0

    def _tidy(self, now: float) -> bool:
        try:
            more = retention.step(self._store.connection(), self._settings.retention, clock.wall())
        except SQLAlchemyError as error:
            self._store.close()
            self._error = f"old records could not be deleted: {type(error).__name__}"
            more = False
        if not more:
            self._tidied = now
        return more

    def _lose(self, reason: str, count: int) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + count
