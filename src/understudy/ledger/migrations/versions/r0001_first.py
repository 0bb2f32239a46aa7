"""Exchanges, what belongs to them, and what happens beside them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("exchange", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double()),
        sa.Column("connected", sa.Double()),
        sa.Column("head", sa.Double()),
        sa.Column("first_content", sa.Double()),
        sa.Column("reaction", sa.String()),
        sa.Column("fault", sa.String()),
        sa.Column("fault_phase", sa.String()),
        sa.Column("fault_status", sa.Integer()),
        sa.Column("fault_code", sa.String()),
        sa.Column("fault_message", sa.Text()),
        sa.Column("retry_after", sa.Double()),
        sa.Column("request_id", sa.String()),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("way", sa.String()),
        sa.Column("input", sa.BigInteger()),
        sa.Column("output", sa.BigInteger()),
        sa.Column("cached_read", sa.BigInteger()),
        sa.Column("cached_write", sa.BigInteger()),
        sa.Column("reasoning", sa.BigInteger()),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("price_version", sa.String()),
        sa.PrimaryKeyConstraint("exchange", "number"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_wall", "audit", ["wall"])
    op.create_table(
        "bodies",
        sa.Column("exchange", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("kept", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("encoding", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "side"),
    )
    op.create_index("bodies_wall", "bodies", ["wall", "stored"])
    op.create_table(
        "events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("exchange", sa.String()),
        sa.Column("target", sa.String()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "events_exchange",
        "events",
        ["exchange"],
        sqlite_where=sa.text("exchange IS NOT NULL"),
        postgresql_where=sa.text("exchange IS NOT NULL"),
    )
    op.create_index("events_wall", "events", ["wall"])
    op.create_table(
        "exchange_tags",
        sa.Column("tag", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("exchange", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "tag"),
    )
    op.create_index("exchange_tags_tag", "exchange_tags", ["tag", "wall"])
    op.create_table(
        "exchanges",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("route", sa.String(), nullable=False),
        sa.Column("dialect", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("target", sa.String()),
        sa.Column("key", sa.String()),
        sa.Column("session", sa.String()),
        sa.Column("task", sa.String()),
        sa.Column("end_user", sa.String()),
        sa.Column("tags", sa.Text()),
        sa.Column("input", sa.BigInteger()),
        sa.Column("output", sa.BigInteger()),
        sa.Column("cached_read", sa.BigInteger()),
        sa.Column("cached_write", sa.BigInteger()),
        sa.Column("reasoning", sa.BigInteger()),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("price_version", sa.String()),
        sa.Column("first_content", sa.Double()),
        sa.Column("total", sa.Double()),
        sa.Column("seams", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "exchanges_end_user",
        "exchanges",
        ["end_user", "wall"],
        sqlite_where=sa.text("end_user IS NOT NULL"),
        postgresql_where=sa.text("end_user IS NOT NULL"),
    )
    op.create_index(
        "exchanges_failed",
        "exchanges",
        ["wall"],
        sqlite_where=sa.text("outcome <> 'answered'"),
        postgresql_where=sa.text("outcome <> 'answered'"),
    )
    op.create_index(
        "exchanges_key",
        "exchanges",
        ["key", "wall"],
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_index("exchanges_model", "exchanges", ["model", "wall"])
    op.create_index("exchanges_route", "exchanges", ["route", "wall"])
    op.create_index(
        "exchanges_session",
        "exchanges",
        ["session", "wall"],
        sqlite_where=sa.text("session IS NOT NULL"),
        postgresql_where=sa.text("session IS NOT NULL"),
    )
    op.create_index(
        "exchanges_status",
        "exchanges",
        ["status", "wall"],
        sqlite_where=sa.text("status <> 200"),
        postgresql_where=sa.text("status <> 200"),
    )
    op.create_index("exchanges_target", "exchanges", ["target", "wall"])
    op.create_index(
        "exchanges_task",
        "exchanges",
        ["task", "wall"],
        sqlite_where=sa.text("task IS NOT NULL"),
        postgresql_where=sa.text("task IS NOT NULL"),
    )
    op.create_index("exchanges_wall", "exchanges", ["wall"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("exchange", sa.String(), nullable=False),
        sa.Column("wall", sa.Double(), nullable=False),
        sa.Column("by", sa.String()),
        sa.Column("score", sa.Double()),
        sa.Column("label", sa.String()),
        sa.Column("comment", sa.Text()),
        sa.Column("corrected", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("feedback_exchange", "feedback", ["exchange"])
    op.create_index("feedback_wall", "feedback", ["wall"])
    op.create_table(
        "losses",
        sa.Column("exchange", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "attempt", "number"),
    )


def downgrade() -> None:
    op.drop_table("losses")
    op.drop_table("feedback")
    op.drop_table("exchanges")
    op.drop_table("exchange_tags")
    op.drop_table("events")
    op.drop_table("bodies")
    op.drop_table("audit")
    op.drop_table("attempts")
