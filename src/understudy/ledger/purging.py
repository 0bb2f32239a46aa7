"""Deleting on demand: by age, key, end user or session, at once and completely, with figures that prove it.

Sums per hour stay: they hold nobody's words and no end user. Deleted bytes are overwritten in SQLite's file
(`secure_delete`); PostgreSQL frees them with its next vacuum.
"""

from __future__ import annotations

import uuid

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select

from understudy.ledger.schema import attempts, audit, bodies, events, exchange_tags, exchanges, feedback, losses

_BELONGING = (attempts, losses, bodies, exchange_tags, feedback, events)


class Which(msgspec.Struct, frozen=True):
    """What is meant: exchanges that match all that is given. `before` is in Unix seconds."""

    before: float | None = None
    key: str | None = None
    end_user: str | None = None
    session: str | None = None
    bodies_only: bool = False

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down."""
        return (self.before, self.key, self.end_user, self.session) == (None,) * 4

    def condition(self) -> ColumnElement[bool]:
        given = []
        if self.before is not None:
            given.append(exchanges.c.wall < self.before)
        for name in ("key", "end_user", "session"):
            value = getattr(self, name)
            if value is not None:
                given.append(exchanges.c[name] == value)
        return and_(*given)


def matching(connection: Connection, which: Which) -> int:
    """How many exchanges are meant."""
    return connection.scalar(select(func.count()).select_from(exchanges).where(which.condition())) or 0


def counted(connection: Connection, which: Which) -> dict[str, int]:
    """How many rows `purge` would delete, by table."""
    meant = select(exchanges.c.id).where(which.condition())
    tables = (bodies,) if which.bodies_only else _BELONGING
    rows = {
        table.name: connection.scalar(select(func.count()).select_from(table).where(table.c.exchange.in_(meant))) or 0
        for table in tables
    }
    return rows if which.bodies_only else {**rows, exchanges.name: matching(connection, which)}


def purge(connection: Connection, which: Which, now: float, actor: str = "command line") -> dict[str, int]:
    """Delete what is meant; returns the rows deleted by table. The caller's transaction makes it all or nothing."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    meant = select(exchanges.c.id).where(which.condition())
    tables = (bodies,) if which.bodies_only else _BELONGING
    deleted = {
        table.name: connection.execute(delete(table).where(table.c.exchange.in_(meant))).rowcount for table in tables
    }
    if not which.bodies_only:
        deleted[exchanges.name] = connection.execute(delete(exchanges).where(which.condition())).rowcount
    detail = {"deleted": deleted, "by": [name for name in ("before", "key", "end_user", "session")
                                         if getattr(which, name) is not None]}  # fmt: skip
    connection.execute(
        insert(audit).values(
            id=f"au_{uuid.uuid4().hex}", wall=now, actor=actor, action="purge", subject="exchanges",
            outcome="done", detail=msgspec.json.encode(detail).decode(),
        )
    )  # fmt: skip
    return deleted
