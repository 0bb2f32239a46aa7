"""Where the tables of `store.py` are: an SQLite file, or a PostgreSQL that replicas on several machines share.

A gateway asks four times a second whether somebody else has changed a key. SQLite tells that by itself (`PRAGMA
data_version`); in PostgreSQL each change of keys raises a number (`access_state.changes`), whose row is also the lock
under which changes happen one after the other, as they do in SQLite by `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from sqlalchemy import URL, Connection, create_engine, event, exc, insert, make_url, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.pool import QueuePool, StaticPool

from understudy.access.tables import VERSION, metadata, state

BUSY = 5.0
"""Seconds that a writer waits for another one, and that PostgreSQL may take for a statement."""

_CONNECT = 3
"""Seconds in which PostgreSQL takes a connection, or is away."""

_LOCK = 0x756E6465_6B657973
"""PostgreSQL's advisory lock under which one replica makes the tables while others wait. The number is ours alone."""

Writes = Literal["nothing", "notes", "keys"]


class StoreError(Exception):
    """The store cannot be used, or what was asked of it cannot be done. Says what to do, and never a password."""


class Database:
    """The tables at `place`, a file or a `postgresql://` URL; made if they are missing. `where` is what people read.

    Calls wait for the disk or the server: not for the event loop. Threads may share it. Raises StoreError from all.
    """

    def __init__(self, place: Path | str) -> None:
        self._lock = Lock()
        self._seen = -1
        if isinstance(place, str) and "://" in place:
            url = _address(place)
            self.where = f"PostgreSQL at {url.host or 'localhost'}:{url.port or 5432}/{url.database}"
            self._server = True
            self._engine = create_engine(
                url,
                poolclass=QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True,
                # Nothing is prepared, and no setting outlives a transaction: so a pooler may stand in between.
                connect_args={"connect_timeout": _CONNECT, "application_name": "understudy", "prepare_threshold": None},
            )  # fmt: skip
            event.listen(self._engine, "begin", _bounded)
        else:
            path = Path(place)
            self.where = str(path)
            self._server = False
            try:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise StoreError(f"Cannot open the key store {path}: {why}.") from None
            self._engine = create_engine(
                f"sqlite:///{path}", poolclass=StaticPool, connect_args={"check_same_thread": False, "timeout": BUSY}
            )
            event.listen(self._engine, "connect", _connected)
            event.listen(self._engine, "begin", _begun)
        try:
            with self._lock, self._explained(), self._engine.begin() as connection:
                self._prepare(connection)
        except StoreError:
            self._engine.dispose()
            raise

    def close(self) -> None:
        with self._lock:
            self._engine.dispose()

    @contextlib.contextmanager
    def transaction(self, writes: Writes = "nothing") -> Iterator[Connection]:
        """A transaction. Who `writes` waits for others who do; `keys` is seen by who asks whether they changed."""
        with self._lock, self._explained(), self._engine.begin() as connection:
            if self._server and writes == "keys":
                connection.execute(update(state).values(changes=state.c.changes + 1))
            elif self._server and writes == "notes":
                connection.execute(select(state.c.changes).with_for_update())
            yield connection

    def changed(self) -> bool:
        """Whether keys may have changed since this was asked last; true the first time."""
        with self._lock, self._explained():
            if self._server:
                with self._engine.begin() as connection:
                    version: int = connection.execute(select(state.c.changes)).scalar_one()
            else:
                with self._engine.connect() as connection:
                    raw = connection.connection.cursor()
                    version = raw.execute("PRAGMA data_version").fetchone()[0]
        seen, self._seen = self._seen, version
        return seen != version

    def put(self, connection: Connection, table: Any, values: dict[str, Any], *, least: tuple[str, str]) -> None:
        """Insert a row, or replace what is there. Where several replicas write, `least` (a period, a sum in it) never
        goes back: the one that knows of less says nothing new.
        """
        key = table.primary_key.c
        if not self._server:
            put = sqlite_insert(table).values(**values)
            connection.execute(put.on_conflict_do_update(index_elements=key, set_=values))
            return
        more = postgresql_insert(table).values(**values)
        period, amount = table.c[least[0]], table.c[least[1]]
        new_period, new_amount = more.excluded[least[0]], more.excluded[least[1]]
        later = (new_period > period) | ((new_period == period) & (new_amount > amount))
        connection.execute(more.on_conflict_do_update(index_elements=key, set_=values, where=later))

    def _prepare(self, connection: Connection) -> None:
        if self._server:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            metadata.create_all(connection)
            state.create(connection, checkfirst=True)
            version = connection.execute(select(state.c.version)).scalar()
            if version is None:
                connection.execute(insert(state).values(id=1, version=VERSION, changes=0))
        else:
            version = connection.execute(text("PRAGMA user_version")).scalar_one()
        if version is not None and version > VERSION:
            raise StoreError(
                f"The key store {self.where} was written by a later version of Understudy. Update this one."
            )
        if not self._server:
            metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {VERSION}"))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (exc.SQLAlchemyError, sqlite3.Error) as error:
            # The database's own words only, and of these the first line: what follows may show values.
            why = str(getattr(error, "orig", None) or type(error).__name__).strip().partition("\n")[0].rstrip(".")
            raise StoreError(f"The key store {self.where} cannot be used: {why}.") from None


def _address(place: str) -> URL:
    try:
        url = make_url(place)
        fits = url.get_backend_name() in ("postgresql", "postgres") and bool(url.database)
    except (exc.ArgumentError, ValueError):
        fits = False
    if not fits:
        raise StoreError("The key store is a file or a PostgreSQL: write a path or postgresql://user@host/name.")
    if importlib.util.find_spec("psycopg") is None:
        raise StoreError("A key store in PostgreSQL needs a driver: `pip install understudy[postgres]`.")
    return url.set(drivername="postgresql+psycopg")


def _bounded(connection: Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(BUSY * 1000)}")


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy begins transactions, not the driver, which would begin them without the write lock and too late.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a key that was shown once is not lost with the power


def _begun(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
