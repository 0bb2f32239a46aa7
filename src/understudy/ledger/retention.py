"""Deleting what is too old or too much, a little at a time: the writer takes a step between batches.

A step is one short transaction, so that neither the records that come in nor whoever reads has to wait for it.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, func, select

from understudy.ledger.schema import attempts, bodies, events, exchange_tags, exchanges, feedback, losses
from understudy.ledger.settings import Retention

_ROWS = 1000
"""Rows that a step deletes at most."""

_PAGES = 2000
"""Pages of SQLite's file that a step gives back to the file system at most."""


def step(connection: Connection, policy: Retention, now: float) -> bool:
    """Delete some of what should go by `now` (Unix seconds). Whether there is more; call again then.

    Raises what the driver raises.
    """
    with connection.begin():
        more = False
        if policy.bodies_seconds is not None:
            more = _bodies(connection, bodies.c.wall < now - policy.bodies_seconds)
        if not more and policy.bodies_bytes is not None:
            more = _too_much(connection, policy.bodies_bytes)
        if not more and policy.exchanges_seconds is not None:
            more = _exchanges(connection, now - policy.exchanges_seconds)
    if not more and connection.dialect.name == "sqlite":
        _sweep(connection)
    return more


def _bodies(connection: Connection, which: ColumnElement[bool]) -> bool:
    """Delete the oldest of the bodies that are meant, request and answer each for themselves."""
    oldest = select(bodies.c.exchange, bodies.c.side).where(which).order_by(bodies.c.wall).limit(_ROWS)
    found = connection.execute(oldest).all()
    for side in {row.side for row in found}:
        ids = [row.exchange for row in found if row.side == side]
        connection.execute(delete(bodies).where(bodies.c.side == side, bodies.c.exchange.in_(ids)))
    return len(found) == _ROWS


def _too_much(connection: Connection, limit: int) -> bool:
    """Delete the oldest bodies beyond `limit` bytes. Whether there is more of them."""
    excess = (connection.scalar(select(func.coalesce(func.sum(bodies.c.stored), 0))) or 0) - limit
    if excess <= 0:
        return False
    last, freed = None, 0
    found = connection.execute(select(bodies.c.wall, bodies.c.stored).order_by(bodies.c.wall).limit(_ROWS)).all()
    for row in found:
        last, freed = row.wall, freed + row.stored
        if freed >= excess:
            break
    if last is not None:
        _bodies(connection, bodies.c.wall <= last)
    return freed < excess


def _exchanges(connection: Connection, before: float) -> bool:
    oldest = select(exchanges.c.id).where(exchanges.c.wall < before).order_by(exchanges.c.wall).limit(_ROWS)
    ids = list(connection.scalars(oldest))
    for table in (attempts, losses, bodies, exchange_tags, feedback, events):
        connection.execute(delete(table).where(table.c.exchange.in_(ids)))
    connection.execute(delete(exchanges).where(exchanges.c.id.in_(ids)))
    connection.execute(delete(events).where(events.c.wall < before, events.c.exchange.is_(None)))
    return len(ids) == _ROWS


def _sweep(connection: Connection) -> None:
    """Give free pages back, and let SQLite look at its statistics. Outside of any transaction, as it must be."""
    driver = connection.connection.driver_connection
    assert driver is not None, "the connection is open"
    # A script, since it alone runs a pragma that gives no rows to its end: elsewhere one page would be given back.
    driver.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
    driver.execute("PRAGMA analysis_limit = 400")
    driver.execute("PRAGMA optimize")
