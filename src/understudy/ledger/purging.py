"""Deleting on demand: by age, key, end user, session or id, at once and completely, with a proof of it that stays.

The proof is an audit entry: how many rows of which table, and a digest of the exchanges' ids. Who knows these ids, say
from an export, can show that these were deleted and no others; from the entry alone nobody learns which they were.
Sums per hour stay: they hold nobody's words and no end user.

SQLite overwrites deleted rows (`secure_delete`), but not what it left lying about when it moved rows between pages, nor
what still stands in its write-ahead log. So `erase` rewrites the file (VACUUM) and empties the log. PostgreSQL frees
the rows with its next vacuum; what that means is in docs/guides/ledger.md.
"""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, insert, or_, select, true

from understudy import clock
from understudy.ledger.records import Audit
from understudy.ledger.schema import attempts, audit, bodies, events, exchange_tags, exchanges, feedback, losses

_BELONGING = (attempts, losses, bodies, exchange_tags, feedback, events)
_ASKED = 500
"""Ids in one statement; SQLite's older bound on parameters is 999."""


class Which(msgspec.Struct, frozen=True):
    """What is meant: exchanges that match all that is given. `before` is in Unix seconds.

    `end_user` are all the forms in which one user may stand in the ledger, `exchanges` ids.
    """

    before: float | None = None
    key: str | None = None
    end_user: tuple[str, ...] = ()
    session: str | None = None
    exchanges: tuple[str, ...] = ()
    bodies_only: bool = False

    @property
    def by(self) -> list[str]:
        """What narrows it down; nothing means everything."""
        names = ("before", "key", "end_user", "session", "exchanges")
        return [name for name in names if getattr(self, name) not in (None, ())]

    def condition(self) -> ColumnElement[bool]:
        given: list[ColumnElement[bool]] = [true()]
        if self.before is not None:
            given.append(exchanges.c.wall < self.before)
        if self.key is not None:
            given.append(exchanges.c.key == self.key)
        if self.end_user:
            given.append(exchanges.c.end_user.in_(self.end_user))
        if self.session is not None:
            given.append(exchanges.c.session == self.session)
        if self.exchanges:
            given.append(exchanges.c.id.in_(self.exchanges))
        return and_(*given)

    def strays(self) -> list[tuple[Any, ColumnElement[bool]]]:
        """What belongs to no exchange that is there, and is meant all the same."""
        if self.bodies_only:
            return []
        if self.by == ["before"]:
            known = select(exchanges.c.id)
            return [
                (
                    table,
                    and_(table.c.wall < self.before, or_(table.c.exchange.is_(None), table.c.exchange.not_in(known))),
                )
                for table in (feedback, events)
            ]
        return [(feedback, feedback.c.by == self.key)] if self.by == ["key"] else []


class Proof(msgspec.Struct, frozen=True):
    """What an audit entry says of a purge. `deleted` are rows by table, `sha256` is the `digest` of the ids.

    `erased`: the bytes are gone from SQLite's files; None where that is the server's business, or was not asked for.
    """

    id: str
    wall: float
    actor: str
    by: list[str]
    exchanges: int
    sha256: str
    deleted: dict[str, int]
    bodies_only: bool = False
    erased: bool | None = None


class _Detail(msgspec.Struct, frozen=True):
    by: list[str] = []
    exchanges: int = 0
    sha256: str = ""
    deleted: dict[str, int] = {}
    bodies_only: bool = False


def digest(ids: Iterable[str]) -> str:
    """The SHA-256 of ids in the order of their bytes, each with a line end: `sort | sha256sum` in the C locale."""
    whole = hashlib.sha256()
    for identity in sorted(identity.encode() for identity in ids):
        whole.update(identity + b"\n")
    return whole.hexdigest()


def meant(connection: Connection, which: Which) -> list[str]:
    """The ids of the exchanges that are meant."""
    query = select(exchanges.c.id).where(which.condition())
    if which.bodies_only:
        query = query.where(exchanges.c.id.in_(select(bodies.c.exchange)))
    return list(connection.scalars(query))


def matching(connection: Connection, which: Which) -> int:
    """How many exchanges are meant."""
    return len(meant(connection, which))


def counted(connection: Connection, which: Which) -> dict[str, int]:
    """How many rows `purge` would delete, by table."""
    ids = meant(connection, which)
    found = dict.fromkeys((table.name for table in _tables(which)), 0)
    for start in range(0, len(ids), _ASKED):
        for table in _tables(which):
            column = table.c.id if table is exchanges else table.c.exchange
            query = select(func.count()).select_from(table).where(column.in_(ids[start : start + _ASKED]))
            found[table.name] += connection.scalar(query) or 0
    own = select(exchanges.c.id).where(which.condition())
    for table, condition in which.strays():
        query = select(func.count()).select_from(table).where(condition, table.c.exchange.not_in(own))
        found[table.name] += connection.scalar(query) or 0
    return found


def purge(connection: Connection, which: Which, now: float, actor: str = "command line") -> Proof:
    """Delete what is meant, and keep the proof. The caller's transaction makes it all or nothing."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    ids = meant(connection, which)
    deleted = dict.fromkeys((table.name for table in _tables(which)), 0)
    for start in range(0, len(ids), _ASKED):
        _delete(connection, which, ids[start : start + _ASKED], deleted)
    for table, condition in which.strays():
        deleted[table.name] += connection.execute(delete(table).where(condition)).rowcount
    detail = _Detail(which.by, len(ids), digest(ids), deleted, which.bodies_only)
    name = _name()
    _note(connection, Audit(name, now, actor, "purge", "exchanges", detail=msgspec.json.encode(detail).decode()))
    return Proof(name, now, actor, **msgspec.structs.asdict(detail))


def erase(engine: Engine, proof: str, *, rewrite: bool = True) -> bool | None:
    """See to it that nothing of what was deleted is left in SQLite's files, and note of which purge. Whether it is so.

    None for other databases. Waits for others who read or write, as long as the engine has patience.
    `rewrite` as False only empties the log, which is quick, and leaves what `secure_delete` does not reach.
    """
    if engine.dialect.name != "sqlite":
        return None
    done = _emptied(engine, rewrite=rewrite)
    with engine.begin() as connection:
        action, outcome = "erase" if rewrite else "truncate", "done" if done else "busy"
        _note(connection, Audit(_name(), clock.wall(), "command line", action, proof, outcome))
    return done and rewrite


def proofs(connection: Connection, identity: str | None = None) -> list[Proof]:
    """What the audit says of purges, oldest first: all of them, or the one of this id."""
    told = select(audit.c.subject, audit.c.outcome).where(audit.c.action == "erase").order_by(audit.c.wall)
    erased = {row.subject: row.outcome == "done" for row in connection.execute(told)}
    query = select(audit).where(audit.c.action == "purge").order_by(audit.c.wall, audit.c.id)
    if identity is not None:
        query = query.where(audit.c.id == identity)
    found = []
    for row in connection.execute(query):
        detail = msgspec.structs.asdict(msgspec.json.decode(row.detail, type=_Detail))
        found.append(Proof(row.id, row.wall, row.actor, **detail, erased=erased.get(row.id)))
    return found


def _tables(which: Which) -> Sequence[Any]:
    return (bodies,) if which.bodies_only else (*_BELONGING, exchanges)


def _delete(connection: Connection, which: Which, ids: Sequence[str], deleted: dict[str, int]) -> None:
    for table in _tables(which):
        column = table.c.id if table is exchanges else table.c.exchange
        deleted[table.name] += connection.execute(delete(table).where(column.in_(ids))).rowcount


def _name() -> str:
    return f"au_{uuid.uuid4().hex}"


def _note(connection: Connection, entry: Audit) -> None:
    connection.execute(insert(audit).values(msgspec.structs.asdict(entry)))


def _emptied(engine: Engine, *, rewrite: bool) -> bool:
    """Rewrite the file, and bring its log to nothing: neither within a transaction. Whether the log is empty."""
    raw = engine.raw_connection()
    try:
        driver = raw.driver_connection
        assert driver is not None, "the connection is open"
        if rewrite:
            driver.execute("VACUUM")
        return not driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError:  # locked, or no room for a second copy of the file
        return False
    finally:
        raw.close()
