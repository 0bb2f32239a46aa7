"""The tables of `store.py`, apart from it, so that a larger schema with migrations of its own can take them over.

Times are Unix seconds. Lists and tags are JSON: nothing is ever asked of what is inside them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text

VERSION = 1
"""Of these tables, kept in the file's `user_version` or in `state`. A later one is refused, not guessed at."""

metadata = MetaData()

keys = Table(
    "access_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("owner", String(200), nullable=False),
    Column("role", String(20), nullable=False),
    Column("hint", String(8), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("former", Text, nullable=False),
    Column("routes", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("disabled", Boolean, nullable=False),
    Column("used", String(10)),
    Column("tags", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("budgets", Text, nullable=False),
    Column("store", String(10)),
)

spending = Table(
    "access_spending",
    metadata,
    Column("key", String(40), primary_key=True),
    Column("unit", String(10), primary_key=True),
    Column("per", String(10), primary_key=True),
    Column("zone", String(60), primary_key=True),
    Column("start", Float, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
)
"""What is spent of each budget in its current day or month, so that a restart does not fill it up again."""

state = Table(
    "access_state",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("changes", BigInteger, nullable=False),
)
"""In PostgreSQL alone, one row: the version of these tables, and how often keys were changed."""
