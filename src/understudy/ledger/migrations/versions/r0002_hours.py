"""Sums per hour, filled from the exchanges that are there."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hours",
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("exchanges", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("input", sa.BigInteger(), nullable=False),
        sa.Column("output", sa.BigInteger(), nullable=False),
        sa.Column("cached_read", sa.BigInteger(), nullable=False),
        sa.Column("cached_write", sa.BigInteger(), nullable=False),
        sa.Column("reasoning", sa.BigInteger(), nullable=False),
        sa.Column("usage_estimated", sa.BigInteger(), nullable=False),
        sa.Column("usage_unknown", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("cost_unknown", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "route", "target", "key", "task"),
    )
    op.create_table(
        "hours_by",
        sa.Column("dimension", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("exchanges", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("input", sa.BigInteger(), nullable=False),
        sa.Column("output", sa.BigInteger(), nullable=False),
        sa.Column("cached_read", sa.BigInteger(), nullable=False),
        sa.Column("cached_write", sa.BigInteger(), nullable=False),
        sa.Column("reasoning", sa.BigInteger(), nullable=False),
        sa.Column("usage_estimated", sa.BigInteger(), nullable=False),
        sa.Column("usage_unknown", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Double(), nullable=False),
        sa.Column("cost_unknown", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("dimension", "hour", "value"),
    )

    # PostgreSQL rounds where it casts, SQLite cuts, and not every SQLite has floor().
    hour = "floor(wall / 3600)" if op.get_bind().dialect.name == "postgresql" else "CAST(wall / 3600 AS BIGINT)"
    op.execute(
        f"""
        INSERT INTO hours
        SELECT {hour}, route, coalesce(target, ''), coalesce("key", ''), coalesce(task, ''),
            count(*), sum(CASE WHEN outcome = 'answered' THEN 1 ELSE 0 END), sum(attempts),
            sum(coalesce(input, 0)), sum(coalesce("output", 0)), sum(coalesce(cached_read, 0)),
            sum(coalesce(cached_write, 0)), sum(coalesce(reasoning, 0)),
            sum(CASE WHEN usage_estimated THEN 1 ELSE 0 END),
            sum(CASE WHEN input IS NULL AND "output" IS NULL THEN 1 ELSE 0 END),
            sum(coalesce(cost_usd, 0)), sum(CASE WHEN cost_usd IS NULL THEN 1 ELSE 0 END), sum(coalesce(total, 0))
        FROM exchanges GROUP BY 1, 2, 3, 4, 5
        """  # noqa: S608  # made of our own words
    )
    names = ("exchanges", "answered", "attempts", "input", "output", "cached_read", "cached_write", "reasoning",
             "usage_estimated", "usage_unknown", "cost_usd", "cost_unknown", "seconds")  # fmt: skip
    sums = ", ".join(f'sum("{name}")' for name in names)
    for dimension in ("route", "target", "key", "task"):
        op.execute(
            f"""INSERT INTO hours_by SELECT '{dimension}', hour, "{dimension}", {sums} FROM hours GROUP BY 2, 3"""  # noqa: S608
        )


def downgrade() -> None:
    op.drop_table("hours_by")
    op.drop_table("hours")
