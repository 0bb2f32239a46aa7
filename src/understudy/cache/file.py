"""Answers in a SQLite file, or in memory. What lies in it are answers word for word: only the file's owner reads it.

SQLite works in threads of its own, one that reads and one that writes. What expires, is cleared or pushed out is
overwritten in the file (`secure_delete`), and the log beside it is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from understudy import clock
from understudy.cache.entry import Slot, StoreError

MEMORY = ":memory:"

BUSY = 1.0
"""Seconds that writing waits for another process's lock. Reading waits no longer than a call does."""

_APPLICATION = 0x75646361
"""SQLite's `application_id`: a file that is something else is never touched."""

_TABLE = """
CREATE TABLE answers (
    digest BLOB PRIMARY KEY, route TEXT NOT NULL, key TEXT NOT NULL, stored REAL NOT NULL, until REAL NOT NULL,
    size INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX answers_by_age ON answers (stored, size);
CREATE INDEX answers_by_end ON answers (until);
CREATE INDEX answers_by_owner ON answers (route, key);
"""
_VERSION = 1
_SHARE = 64
"""What is kept may be measured anew when a 64th of the room has been written; so much of it is left free each time."""

T = TypeVar("T")


class File:
    """A store. `path` may be MEMORY; `max_bytes` bounds what is kept, `patience` how long reading waits for a lock.

    Nothing is opened before the first use, and no file is made to find it empty.
    """

    def __init__(self, path: Path | str, *, max_bytes: int, patience: float = BUSY) -> None:
        self.where = "the cache in memory" if path == MEMORY else str(path)
        self._path = path
        self._max_bytes, self._patience = max_bytes, patience
        self._writer = ThreadPoolExecutor(1, "understudy-cache")
        # A database in memory belongs to its one connection.
        self._reader = self._writer if path == MEMORY else ThreadPoolExecutor(1, "understudy-cache-reading")
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._unmeasured = max_bytes
        self._closed = False

    async def read(self, slot: Slot) -> bytes | None:
        return await self._in(self._reader, lambda: self._read(slot))

    async def write(self, slot: Slot, data: bytes, until: float) -> None:
        await self._in(self._writer, lambda: self._write(slot, data, until))

    async def tidy(self) -> None:
        await self._in(self._writer, lambda: self._delete("until <= ?", (clock.wall(),)))

    async def clear(self, route: str | None, key: str | None) -> int:
        wanted = [("route = ?", route), ("key = ?", key)]
        said = [(words, value) for words, value in wanted if value is not None]
        words = " AND ".join(words for words, _ in said) or "TRUE"
        return await self._in(self._writer, lambda: self._delete(words, tuple(value for _, value in said)))

    async def close(self) -> None:
        """May be called any number of times."""
        if not self._closed:
            self._closed = True
            for threads in {self._reader, self._writer}:
                with contextlib.suppress(StoreError):
                    await self._in(threads, self._shut)
                threads.shutdown(wait=False)
            self._shut()  # here, where the interpreter is ending and starts no thread any more

    async def _in(self, threads: ThreadPoolExecutor, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, function)
        except (sqlite3.Error, OSError, RuntimeError) as error:  # the latter once it is closed
            raise StoreError(f"{self.where}: {error}") from None

    # -- in the threads ------------------------------------------------------------------------------------------------

    def _read(self, slot: Slot) -> bytes | None:
        db = self._connected() if self._path == MEMORY else self._read_from()
        if db is None:
            return None
        query = "SELECT data FROM answers WHERE digest = ? AND until > ?"
        row = db.execute(query, (slot.digest, clock.wall())).fetchone()
        return None if row is None else bytes(row[0])

    def _write(self, slot: Slot, data: bytes, until: float) -> None:
        db, size = self._connected(), len(data)
        if size > self._max_bytes:
            return  # it would push out all others, then itself
        with db:  # commits, or rolls back
            db.execute("BEGIN IMMEDIATE")
            row = (slot.digest, slot.route, slot.key, clock.wall(), until, size, data)
            db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            self._unmeasured += size
            if self._unmeasured > self._max_bytes // _SHARE:
                self._trim(db)

    def _trim(self, db: sqlite3.Connection) -> None:
        """Delete what was kept first, until there is room again."""
        self._unmeasured = 0
        (total,) = db.execute("SELECT COALESCE(SUM(size), 0) FROM answers").fetchone()
        if total > self._max_bytes - self._max_bytes // _SHARE:
            db.execute(
                "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (SELECT rowid, SUM(size) OVER"
                " (ORDER BY stored DESC, rowid DESC) AS total FROM answers) WHERE total > ?)",
                (self._max_bytes - self._max_bytes // _SHARE,),
            )

    def _delete(self, words: str, values: tuple[object, ...]) -> int:
        if self._writing is None and self._path != MEMORY and not Path(self._path).exists():
            return 0
        db = self._connected()
        gone = db.execute(f"DELETE FROM answers WHERE {words}", values).rowcount  # noqa: S608  # the words are ours
        if gone:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # or else the pages as they were stand in the log beside it
        return gone

    def _connected(self) -> sqlite3.Connection:
        """The connection that writes."""
        if self._writing is None:
            if self._path != MEMORY:
                path = Path(self._path)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file = os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600)
                os.fchmod(file, 0o600)
                os.close(file)
            db = self._opened(BUSY)
            try:
                _prepare(db)
            except BaseException:
                db.close()
                raise
            self._writing = db
        return self._writing

    def _read_from(self) -> sqlite3.Connection | None:
        """The connection that reads; None while there is nothing to read."""
        if self._reading is None:
            if not Path(self._path).exists():
                return None
            db = self._opened(self._patience)
            try:
                if db.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
                    db.close()
                    return None  # not made yet, or something else: who writes will say
                _check_version(db)
            except BaseException:
                db.close()
                raise
            self._reading = db
        return self._reading

    def _opened(self, busy: float) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=busy, isolation_level=None, check_same_thread=False)

    def _shut(self) -> None:
        reading, self._reading = self._reading, None
        writing, self._writing = self._writing, None
        for db in (reading, writing):
            if db is not None:
                db.close()


def _prepare(db: sqlite3.Connection) -> None:
    """Make the table in a new file. Raises sqlite3.Error on a file that is something else."""
    (found,), (tables,) = (
        db.execute("PRAGMA application_id").fetchone(),
        db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone(),
    )
    if found != _APPLICATION and (found or tables):
        raise sqlite3.DatabaseError("this is a database of something else; name another file in `cache.where`")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the latest entries, never the file
    db.execute("PRAGMA secure_delete = ON")
    if found == _APPLICATION:
        _check_version(db)
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone() == (0,):  # another process may have been quicker
            for statement in _TABLE.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")


def _check_version(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        raise sqlite3.DatabaseError(f"made by another version (schema {version}); delete it, it is only a cache")
