"""Our own store of responses, so that `previous_response_id` works whichever provider answered.

One SQLite file in WAL mode. A request never waits for it: `put` hands the entry to a thread, which writes whatever has
gathered in one transaction; `get` looks first among what is still to be written, then reads in another thread. A disk
that is locked, full or broken costs what could not be written, counted in `lost` and logged once, and nothing else.
Entries go after 30 days (as OpenAI's own do), and the oldest go when all together pass `max_bytes`.

An entry holds its input already expanded, so following a conversation takes one read however long it is. The price is
that a long conversation is stored many times over, which compression and the bound on the size keep small.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import queue
import sqlite3
import threading
import zlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from understudy import clock
from understudy.gateway.responses import Item

MAX_AGE = 30 * 24 * 3600.0
MAX_BYTES = 256 * 1024 * 1024
MAX_PENDING = 256
"""Entries that may wait for a slow disk before more are lost: they are whole conversations, held in memory."""

_BATCH = 64
_SHORT = 4096
"""Bytes below which a value is kept as it is."""
_JSON = (b"[", b"{")
"""What an entry's values begin with where they are not compressed; zlib's data never does."""
_UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What a value that has no form in JSON or SQLite raises: half a surrogate pair, a number or a depth beyond bounds."""
_BROKEN = (sqlite3.Error, OSError, zlib.error, msgspec.MsgspecError, *_UNWRITABLE)

_MIGRATIONS = (
    """
    CREATE TABLE responses (
        owner TEXT NOT NULL, id TEXT NOT NULL, created INTEGER NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL,
        size INTEGER NOT NULL, input BLOB NOT NULL, answer BLOB NOT NULL, UNIQUE (owner, id)
    );
    CREATE INDEX responses_by_age ON responses (created, size);
    """,
)
"""Only ever appended to. `PRAGMA user_version` is how many of them a file has had."""

_log = logging.getLogger(__name__)


class StoredError(Exception):
    """A response could not be deleted because the disk did not let us. The message says why."""


class Entry(msgspec.Struct, frozen=True):
    """One response. Not to be changed after `put`: it is written later, by another thread.

    `created` is in Unix seconds of our own clock. `input` is all that went in, what was stored before included;
    `answer` is the whole response object as the client saw it. `owner` is `owner_of` the client's key.
    """

    id: str
    owner: str
    created: int
    model: str
    target: str
    input: list[Item]
    answer: dict[str, Any]


_Key = tuple[str, str]


class _Delete(msgspec.Struct, frozen=True):
    key: _Key
    done: Future[bool]


class _Flush(msgspec.Struct, frozen=True):
    done: Future[None]
    last: bool = False


def owner_of(key: bytes | None) -> str:
    """Whose a response is: a digest of the API key, "" where none is asked for. The key itself is never stored."""
    return "" if key is None else hashlib.sha256(b"understudy response owner\0" + key).hexdigest()


def new_id() -> str:
    """An id for a response of a provider that gives none of this kind."""
    return "resp_" + clock.token(24)


def default_path() -> Path:
    """`understudy/responses.db` in the user's state folder.

    Source: https://specifications.freedesktop.org/basedir-spec/latest/, which has relative paths ignored.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local/state") / "understudy/responses.db"


class Stored:
    """The store. `path` may be ":memory:". `busy` is how many seconds to wait for another process's lock on the file.

    Nothing is opened before the first use. `lost` counts entries that were not written.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        max_age: float = MAX_AGE,
        max_bytes: int = MAX_BYTES,
        busy: float = 5.0,
    ) -> None:
        self.path = default_path() if path is None else path
        self.lost = 0
        self._max_age, self._max_bytes, self._busy = max_age, max_bytes, busy
        self._queue: queue.SimpleQueue[Entry | _Delete | _Flush] = queue.SimpleQueue()
        self._pending: dict[_Key, Entry | None] = {}  # None: to be deleted
        self._lock = threading.Lock()  # guards the plain attributes; never held during I/O
        self._thread: threading.Thread | None = None
        self._closed = False
        self._complained = False
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._write_lock = threading.Lock()
        # A database in memory belongs to its one connection; of a file, reading need not wait for writing.
        self._read_lock = self._write_lock if self._in_memory else threading.Lock()
        self._opening = threading.Lock()

    @property
    def _in_memory(self) -> bool:
        return str(self.path) == ":memory:"

    # --- what callers use

    def put(self, entry: Entry) -> None:
        """Keep `entry`, at once for `get` and soon on disk. Replaces the owner's entry of the same id."""
        with self._lock:
            if self._closed or len(self._pending) >= MAX_PENDING:
                self.lost += 1
                return
            self._pending[entry.owner, entry.id] = entry
            self._send(entry)

    async def get(self, response_id: str, owner: str) -> Entry | None:
        """The entry, None if there is none, it is too old, it is another owner's or it cannot be read."""
        with self._lock:
            if (owner, response_id) in self._pending:
                return self._pending[owner, response_id]
        return await asyncio.to_thread(self._read, response_id, owner)

    async def delete(self, response_id: str, owner: str) -> bool:
        """Delete the entry for good; False if there was none.

        Raises:
            StoredError: it may still be there.
        """
        if not response_id.isascii():
            return False  # no id is, and what SQLite cannot take must not spoil a whole batch
        done: Future[bool] = Future()
        with self._lock:
            if self._closed:
                raise StoredError("the store of responses was closed")
            self._pending[owner, response_id] = None
            self._send(_Delete((owner, response_id), done))
        return await asyncio.wrap_future(done)

    async def expand(self, previous_id: str, owner: str) -> list[Item] | None:
        """All items of the conversation that ends with `previous_id`, in order, reasoning included; None as `get`."""
        entry = await self.get(previous_id, owner)
        if entry is None:
            return None
        output = entry.answer.get("output")
        return [*entry.input, *(output if isinstance(output, list) else ())]

    async def flush(self) -> None:
        """Wait until all that was put has been written, or lost."""
        done: Future[None] = Future()
        with self._lock:
            if self._closed or self._thread is None:
                return
            self._send(_Flush(done))
        await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Write what is left and close the file. May be called any number of times."""
        done: Future[None] = Future()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if (thread := self._thread) is not None:
                self._send(_Flush(done, last=True))
        if thread is not None:
            await asyncio.wrap_future(done)
            thread.join()  # it has said that it is done
        self._shut()  # not in a thread: the interpreter may be ending, and starts none then

    def _send(self, job: Entry | _Delete | _Flush) -> None:
        if self._thread is None:
            # A daemon: a process that ends without `close` must not wait for a locked disk.
            self._thread = threading.Thread(target=self._work, name="understudy-stored", daemon=True)
            self._thread.start()
        self._queue.put(job)

    # --- the writing thread

    def _work(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not isinstance(batch[-1], _Flush):
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            self._write(batch)
            for job in batch:
                if isinstance(job, _Flush) and job.done.set_running_or_notify_cancel():
                    job.done.set_result(None)
            if isinstance(batch[-1], _Flush) and batch[-1].last:
                return

    def _write(self, batch: list[Entry | _Delete | _Flush]) -> None:
        entries = [job for job in batch if isinstance(job, Entry)]
        deletions = [job for job in batch if isinstance(job, _Delete)]
        deleted: list[bool] = []
        error: Exception | None = None
        if entries or deletions:
            try:
                with self._write_lock:
                    deleted = self._transact(batch)
            except _BROKEN as broken:
                error = broken
                self._complain("write", broken)
            else:
                self._complained = False
        with self._lock:
            if error is not None:
                self.lost += len(entries)
            for entry in entries:
                if self._pending.get((entry.owner, entry.id)) is entry:
                    del self._pending[entry.owner, entry.id]
            for deletion in deletions:
                if self._pending.get(deletion.key, ...) is None:
                    del self._pending[deletion.key]
        for place, deletion in enumerate(deletions):
            if not deletion.done.set_running_or_notify_cancel():
                continue
            if error is None:
                deletion.done.set_result(deleted[place])
            else:
                deletion.done.set_exception(StoredError(f"{self.path}: cannot delete a response: {error}"))

    def _transact(self, batch: list[Entry | _Delete | _Flush]) -> list[bool]:
        """All of `batch` or nothing of it; whether each deletion found something."""
        if self._writing is None:
            self._writing = self._open()
        deleted = []
        with self._writing as db:  # commits, or rolls back
            db.execute("BEGIN IMMEDIATE")
            for job in batch:
                if isinstance(job, Entry):
                    self._insert(db, job)
                elif isinstance(job, _Delete):
                    found = db.execute("DELETE FROM responses WHERE owner = ? AND id = ?", job.key)
                    deleted.append(found.rowcount > 0)
            self._trim(db)
        return deleted

    def _insert(self, db: sqlite3.Connection, entry: Entry) -> None:
        try:
            given, answer = _pack(entry.input), _pack(entry.answer)
            size = len(given) + len(answer)
            if size > self._max_bytes:
                raise ValueError("it would push out all others, then itself")
            db.execute(
                "INSERT OR REPLACE INTO responses (owner, id, created, model, target, size, input, answer)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (entry.owner, entry.id, entry.created, entry.model, entry.target, size, given, answer),
            )
        except _UNWRITABLE as error:  # its own fault: the rest of the batch is written all the same
            _log.warning("a response of %s was not stored: %s", entry.target, error)
            with self._lock:
                self.lost += 1

    def _trim(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM responses WHERE created < ?", (self._oldest(),))
        (total,) = db.execute("SELECT COALESCE(SUM(size), 0) FROM responses").fetchone()
        if total > self._max_bytes:
            db.execute(
                "DELETE FROM responses WHERE rowid IN (SELECT rowid FROM (SELECT rowid, SUM(size) OVER"
                " (ORDER BY created DESC, rowid DESC) AS total FROM responses) WHERE total > ?)",
                (self._max_bytes,),
            )

    # --- the file

    def _read(self, response_id: str, owner: str) -> Entry | None:
        try:
            with self._read_lock:
                if self._closed:
                    return None
                if self._in_memory:
                    db = self._writing
                    if db is None:
                        return None
                elif self._reading is None:
                    db = self._reading = self._open()
                else:
                    db = self._reading
                row = db.execute(
                    "SELECT created, model, target, input, answer FROM responses"
                    " WHERE owner = ? AND id = ? AND created >= ?",
                    (owner, response_id, self._oldest()),
                ).fetchone()
            if row is None:
                return None
            created, model, target, given, answer = row
            return Entry(response_id, owner, created, model, target, _unpack(given), _unpack(answer))
        except _BROKEN as error:
            self._complain("read", error)
            return None

    def _oldest(self) -> float:
        return clock.wall() - self._max_age

    def _open(self) -> sqlite3.Connection:
        """A connection to a file that only this user can read: what lies in it is conversations."""
        with self._opening:  # two that make the same new file would lock each other out
            return self._opened()

    def _opened(self) -> sqlite3.Connection:
        if not self._in_memory:
            path = Path(self.path)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0), 0o600))
        db = sqlite3.connect(self.path, timeout=self._busy, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the latest entries, never the file
            db.execute("PRAGMA secure_delete = ON")  # what a client deletes is gone from the file too
            _migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _shut(self) -> None:
        with self._read_lock:
            if self._reading is not None:
                self._reading.close()
                self._reading = None
        with self._write_lock:
            if self._writing is not None:
                self._writing.close()
                self._writing = None

    def _complain(self, verb: str, error: Exception) -> None:
        """Once, until it has worked again: a full disk must not fill itself with complaints."""
        if not self._complained:
            self._complained = True
            _log.warning("%s: cannot %s stored responses: %s", self.path, verb, error)


def _migrate(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        raise sqlite3.DatabaseError(f"made by a newer version (schema {version}); update, or name another file")
    if version == len(_MIGRATIONS):
        return
    with db:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()  # another process may have been quicker
        for script in _MIGRATIONS[version:]:
            for statement in script.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")


def _pack(value: Any) -> bytes:
    """JSON, compressed unless it is short: compressing those takes twice as long as all the rest of writing them."""
    data = msgspec.json.encode(value)
    return data if len(data) < _SHORT else zlib.compress(data, 1)


def _unpack(data: bytes) -> Any:
    return msgspec.json.decode(data if data[:1] in _JSON else zlib.decompress(data))
