"""Lists of what is noted beside exchanges, newest first: feedback, and who did what. Pages as in `queries.py`."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Select, select, tuple_

from understudy.ledger import schema
from understudy.ledger.queries import place
from understudy.ledger.records import Audit, Feedback

Kind = type[Audit] | type[Feedback]
_TABLES: dict[Kind, Any] = {Audit: schema.audit, Feedback: schema.feedback}


class Notes(msgspec.Struct, frozen=True):
    """Some rows of a table. `next` is where the following page begins, None if there is none."""

    rows: list[Any]
    next: str | None


def feedback(
    connection: Connection,
    *,
    exchange: str | None = None,
    since: float | None = None,
    until: float | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Notes:
    """What was thought of answers, as `Feedback`."""
    query = _asked(Feedback, since, until, exchange=exchange)
    return _page(connection, query, Feedback, after, limit)


def audit(
    connection: Connection,
    *,
    actor: str | None = None,
    action: str | None = None,
    since: float | None = None,
    until: float | None = None,
    after: str | None = None,
    limit: int = 50,
) -> Notes:
    """Who did what, as `Audit`."""
    query = _asked(Audit, since, until, actor=actor, action=action)
    return _page(connection, query, Audit, after, limit)


def _asked(kind: Kind, since: float | None, until: float | None, **wanted: str | None) -> Select[Any]:
    c = _TABLES[kind].c
    query = select(_TABLES[kind])
    for name, value in wanted.items():
        if value is not None:
            query = query.where(c[name] == value)
    if since is not None:
        query = query.where(c.wall >= since)
    return query if until is None else query.where(c.wall < until)


def _page(connection: Connection, query: Select[Any], kind: Kind, after: str | None, limit: int) -> Notes:
    wall, identity = _TABLES[kind].c.wall, _TABLES[kind].c.id
    if after is not None:
        query = query.where(tuple_(wall, identity) < tuple_(*place(after)))
    rows = connection.execute(query.order_by(wall.desc(), identity.desc()).limit(limit + 1)).all()
    kept = [kind(**row._mapping) for row in rows[:limit]]  # noqa: SLF001  # SQLAlchemy's public name for it
    return Notes(kept, f"{kept[-1].wall!r}~{kept[-1].id}" if len(rows) > limit else None)
