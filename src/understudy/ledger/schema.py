"""The tables. What a column means stands at the record's field in `records.py`; here is why a table or index is.

Migrations make these tables, never `create_all`; a test holds the two together. Times are Unix seconds and durations
seconds, as floats; what may be unknown is nullable, so that unknown never reads as 0.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import BigInteger

metadata = MetaData()

TOKENS = ("input", "output", "cached_read", "cached_write", "reasoning")


def _tokens() -> list[Column[Any]]:
    return [Column(name, BigInteger) for name in TOKENS]


exchanges = Table(
    "exchanges",
    metadata,
    Column("id", String, primary_key=True),
    Column("wall", Double, nullable=False),
    Column("route", String, nullable=False),
    Column("dialect", String, nullable=False),
    Column("model", String, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("outcome", String, nullable=False),
    Column("status", Integer),
    Column("target", String),
    Column("key", String),
    Column("session", String),
    Column("task", String),
    Column("end_user", String),
    Column("tags", Text),  # a JSON array, to be shown; to be searched they stand in exchange_tags
    *_tokens(),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd", Double),
    Column("price_version", String),
    Column("first_content", Double),
    Column("total", Double),
    Column("seams", Text),  # a JSON array of [characters, attempt, way]
    Column("attempts", Integer, nullable=False),
)

# Every list is newest first, so each index ends in the time. Those of columns that most exchanges leave empty, and
# that of failures, hold only the rows that have something to say: each further full index costs every insert.
Index("exchanges_wall", exchanges.c.wall)
Index("exchanges_route", exchanges.c.route, exchanges.c.wall)
Index("exchanges_target", exchanges.c.target, exchanges.c.wall)
Index("exchanges_model", exchanges.c.model, exchanges.c.wall)
for _name in ("key", "task", "session", "end_user"):
    _given = text(f"{_name} IS NOT NULL")
    Index(f"exchanges_{_name}", exchanges.c[_name], exchanges.c.wall, sqlite_where=_given, postgresql_where=_given)
FAILED = text("outcome <> 'answered'")
ODD = text("status <> 200")
Index("exchanges_failed", exchanges.c.wall, sqlite_where=FAILED, postgresql_where=FAILED)
Index("exchanges_status", exchanges.c.status, exchanges.c.wall, sqlite_where=ODD, postgresql_where=ODD)

exchange_tags = Table(
    "exchange_tags",
    metadata,
    Column("tag", String, nullable=False),
    Column("wall", Double, nullable=False),
    Column("exchange", String, nullable=False),
    PrimaryKeyConstraint("exchange", "tag"),
    Index("exchange_tags_tag", "tag", "wall"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("exchange", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("target", String, nullable=False),
    Column("started", Double, nullable=False),
    Column("ended", Double),
    Column("connected", Double),
    Column("head", Double),
    Column("first_content", Double),
    Column("reaction", String),
    Column("fault", String),
    Column("fault_phase", String),
    Column("fault_status", Integer),
    Column("fault_code", String),
    Column("fault_message", Text),
    Column("retry_after", Double),
    Column("request_id", String),
    Column("skipped", Integer, nullable=False),
    Column("way", String),
    *_tokens(),
    Column("usage_estimated", Boolean, nullable=False),
    Column("cost_usd", Double),
    Column("price_version", String),
    PrimaryKeyConstraint("exchange", "number"),
)

losses = Table(
    "losses",
    metadata,
    Column("exchange", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("field", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("kind", String, nullable=False),
    PrimaryKeyConstraint("exchange", "attempt", "number"),
)

bodies = Table(
    "bodies",
    metadata,
    Column("exchange", String, nullable=False),
    Column("side", String, nullable=False),
    Column("wall", Double, nullable=False),
    Column("content_type", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("kept", BigInteger, nullable=False),  # bytes of `data` once unpacked: less than `size` if it was cut
    Column("stored", BigInteger, nullable=False),  # bytes of `data`, so that retention by size reads an index only
    Column("encoding", String, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("exchange", "side"),
    Index("bodies_wall", "wall", "stored"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("id", String, primary_key=True),
    Column("exchange", String, nullable=False),
    Column("wall", Double, nullable=False),
    Column("by", String),
    Column("score", Double),
    Column("label", String),
    Column("comment", Text),
    Column("corrected", Text),
    Index("feedback_exchange", "exchange"),
    Index("feedback_wall", "wall"),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    Column("wall", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("exchange", String),
    Column("target", String),
    Column("detail", Text, nullable=False),
    Index("events_wall", "wall"),
)
_of_exchange = text("exchange IS NOT NULL")
Index("events_exchange", events.c.exchange, sqlite_where=_of_exchange, postgresql_where=_of_exchange)

audit = Table(
    "audit",
    metadata,
    Column("id", String, primary_key=True),
    Column("wall", Double, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("detail", Text, nullable=False),
    Index("audit_wall", "wall"),
)

# Sums per hour, kept in the transaction that adds an exchange, so that a million of them are summed in no time and
# usage outlives the exchanges that retention deletes. `hours` holds every combination that occurred, of which there may
# be nearly as many as exchanges; `hours_by` holds each dimension for itself, which most questions are about, and stays
# small. A dimension that was not given is "": a key cannot hold NULL.
DIMENSIONS = ("route", "target", "key", "task")
SUMS = (
    "exchanges",
    "answered",
    "attempts",
    *TOKENS,
    "usage_estimated",
    "usage_unknown",
    "cost_usd",
    "cost_unknown",
    "seconds",
)

hours = Table(
    "hours",
    metadata,
    Column("hour", BigInteger, nullable=False),  # Unix hours
    *(Column(name, String, nullable=False) for name in DIMENSIONS),
    *(Column(name, Double if name in ("cost_usd", "seconds") else BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint("hour", *DIMENSIONS),
)

hours_by = Table(
    "hours_by",
    metadata,
    Column("dimension", String, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("value", String, nullable=False),
    *(Column(name, Double if name in ("cost_usd", "seconds") else BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint("dimension", "hour", "value"),
)
