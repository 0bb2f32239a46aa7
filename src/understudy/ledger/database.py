"""Opening the database, and bringing its schema up to date.

SQLite runs in WAL mode, so that readers and the writer do not wait for each other; a power cut may take the last
commits but never the file's consistency (synchronous=NORMAL; SQLite, "Write-Ahead Logging"). Writing transactions
begin IMMEDIATE: one that begins as a reader and then wants to write fails at once when another got there first.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from understudy import clock

PATIENCE = 1.0
"""Seconds to wait for a lock or for a server that does not answer, before records go to the spool instead."""

_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: a fraction of a millisecond."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x756E6465_72737464
"""PostgreSQL's advisory lock under which one replica migrates while the others wait. The number is ours alone."""


class BadUrlError(ValueError):
    """The database cannot be of this kind, or its driver is not installed. Never quotes the password."""


class NewerSchemaError(Exception):
    """The database was migrated by a newer version of Understudy than this one."""


def parse_url(url: str) -> URL:
    """The URL as SQLAlchemy wants it, from `sqlite:///path` or `postgresql://user@host/name`. Raises BadUrlError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise BadUrlError(
            "The ledger's URL cannot be read. Write sqlite:///PATH or postgresql://USER@HOST/NAME."
        ) from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise BadUrlError("The ledger needs a file: write sqlite:///PATH.")
        return parsed.set(drivername="sqlite")
    if kind in ("postgresql", "postgres"):
        if importlib.util.find_spec("psycopg") is None:
            raise BadUrlError("PostgreSQL needs a driver: install understudy[postgres].")
        return parsed.set(drivername="postgresql+psycopg")
    raise BadUrlError(
        f"The ledger is kept in SQLite or PostgreSQL, not in {kind}: write sqlite:///PATH or postgresql://…."
    )


def open_engine(url: str, *, writing: bool = False, patience: float = PATIENCE) -> Engine:
    """An engine that keeps no connection of its own when idle. Connects on first use. Raises BadUrlError."""
    parsed = parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = (
        {"timeout": patience}
        if sqlite
        else {"connect_timeout": max(2, round(patience)), "application_name": "understudy"}
    )
    engine = create_engine(parsed, connect_args=arguments, poolclass=NullPool, hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _prepare_writing if writing else _prepare_reading)
        event.listen(engine, "begin", _begin_writing if writing else _begin_reading)
    return engine


def bound(connection: Connection, seconds: float) -> None:
    """Let what this connection is asked in its transaction take so long at most; then it raises OperationalError."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {round(seconds * 1000)}")
        return
    end = clock.monotonic() + seconds
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: clock.monotonic() > end, _STEPS)


def file_of(url: str) -> Path | None:
    """The file of an SQLite database, None for a server."""
    parsed = parse_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to `revision`, from whatever it is. One process at a time does; it is all or nothing.

    Raises NewerSchemaError, or what the driver raises.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        heads = MigrationContext.configure(connection).get_current_heads()
        if not set(heads) <= known:
            raise NewerSchemaError(
                f"The ledger's database is at revision {', '.join(heads)}, which this version does not know. "
                "Update Understudy, or name another database."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def revision_of(connection: Connection) -> str | None:
    """The revision of the schema, None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _prepare_reading(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # `begin` says what begins, not the driver
    connection.execute("PRAGMA query_only = 1")


def _prepare_writing(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has an effect only before the first table is made
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -32768")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
