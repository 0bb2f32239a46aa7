"""Records into the database: one transaction a batch, and nothing twice.

An exchange's id is its key, and a row that is there already is left as it is. The sums per hour must not count such
a row again, so the number of rows that went in is compared with the number that was sent: where it is less, the
transaction is taken back and only what was missing is written. That costs nothing in the usual case, which is that
every record is new.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from understudy.ledger import database
from understudy.ledger.records import Exchange, Record
from understudy.ledger.rows import apart, rows_of, sums_of
from understudy.ledger.schema import SUMS, exchanges, hours, hours_by, metadata

_TRIES = 5
_ASKED = 500
"""Ids in one question; SQLite's older bound on parameters is 999."""


class UnavailableError(Exception):
    """The database takes nothing at present: absent, locked, full, or not what it should be."""


class RefusedError(Exception):
    """The database works but will not have one of these records."""


class _KnownError(Exception):
    """Some of the exchanges are there already."""


class Store:
    """A connection that is opened when needed, migrated when opened, and opened anew after it failed."""

    def __init__(self, url: str, *, patience: float = database.PATIENCE) -> None:
        self._url = url
        self._patience = patience
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._inode: tuple[int, int] | None = None

    def write(self, records: Sequence[Record]) -> int:
        """Write all of them, or none. How many were not there before. Raises UnavailableError or RefusedError."""
        try:
            return self._write(self.connection(), records)
        except (DataError, IntegrityError, OverflowError, UnicodeError) as error:
            raise RefusedError(_said(error)) from None
        except (SQLAlchemyError, OSError, database.BadUrlError, database.NewerSchemaError) as error:
            self.close()
            raise UnavailableError(_said(error)) from None

    def connection(self) -> Connection:
        """The connection, with no transaction open. Raises what the driver raises."""
        if self._connection is not None and self._moved():
            self.close()
        if self._connection is None:
            engine = self._engine = database.open_engine(self._url, writing=True, patience=self._patience)
            database.migrate(engine)
            self._connection = engine.connect()
            self._inode = self._identity()
        return self._connection

    def close(self) -> None:
        connection, engine = self._connection, self._engine
        self._connection = self._engine = None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()
        if engine is not None:
            engine.dispose()

    def _write(self, connection: Connection, records: Sequence[Record]) -> int:
        fresh = records
        for _ in range(_TRIES):
            try:
                with connection.begin():
                    _insert(connection, fresh)
            except _KnownError:
                fresh = _unknown(connection, records)
            else:
                return len(fresh)
        raise UnavailableError("another writer is writing the very same records")

    def _identity(self) -> tuple[int, int] | None:
        """Which file SQLite's path leads to now; None for a server."""
        file = database.file_of(self._url)
        if file is None:
            return None
        found = os.stat(file)  # noqa: PTH116  # a call a batch, and Path.stat is the same with more words
        return found.st_dev, found.st_ino

    def _moved(self) -> bool:
        """Whether the file has been taken away: SQLite would go on writing to what nobody can open any more."""
        try:
            return self._identity() != self._inode
        except OSError:
            return True


def _insert(connection: Connection, records: Sequence[Record]) -> None:
    rows = rows_of(records)
    for name, some in rows.items():
        if not some:
            continue
        done = connection.exec_driver_sql(_statement(connection, metadata.tables[name]), some)
        if name == "exchanges" and done.rowcount != len(some):
            raise _KnownError
    if sums := sums_of(records):
        connection.exec_driver_sql(_adding(connection, hours), sums)
        connection.exec_driver_sql(_adding(connection, hours_by), apart(sums))


def _unknown(connection: Connection, records: Sequence[Record]) -> list[Record]:
    """The records but for exchanges that are there, or that come twice."""
    ids = list(dict.fromkeys(record.id for record in records if isinstance(record, Exchange)))
    known: set[str] = set()
    with connection.begin():
        for start in range(0, len(ids), _ASKED):
            some = ids[start : start + _ASKED]
            known.update(connection.scalars(select(exchanges.c.id).where(exchanges.c.id.in_(some))))
    fresh: list[Record] = []
    for record in records:
        if isinstance(record, Exchange):
            if record.id in known:
                continue
            known.add(record.id)
        fresh.append(record)
    return fresh


def _statement(connection: Connection, table: Table) -> str:
    names = [column.name for column in table.columns]
    return _insertion(connection, table.name, names) + " ON CONFLICT DO NOTHING"


def _adding(connection: Connection, table: Table) -> str:
    names = [column.name for column in table.columns]
    added = ", ".join(f'"{name}" = {table.name}."{name}" + excluded."{name}"' for name in SUMS)
    key = ", ".join(f'"{column.name}"' for column in table.primary_key)
    return _insertion(connection, table.name, names) + f" ON CONFLICT ({key}) DO UPDATE SET {added}"


def _insertion(connection: Connection, table: str, names: list[str]) -> str:
    """The driver's own SQL, since its bulk path takes tuples and SQLAlchemy's wants dictionaries."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    columns = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({columns}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608  # our own names


def _said(error: BaseException) -> str:
    """What the driver said, without the statement and its parameters: they are somebody's data."""
    cause: Any = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    lines = str(cause).strip().splitlines() or [""]
    return f"{type(cause).__name__}: {lines[0]}"
