"""Outgoing webhooks"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "webhook",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("channels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("skus", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("hook", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text()),
        sa.Column("previous_until", sa.DateTime(timezone=True)),
        sa.Column("state", sa.Text(), server_default="ACTIVE", nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("replay_until", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_success_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text()),
        sa.CheckConstraint("format in ('CLOUDEVENTS', 'FLAT')", name=op.f("webhook_format_check")),
        sa.CheckConstraint("state in ('ACTIVE', 'PAUSED')", name=op.f("webhook_state_check")),
        sa.CheckConstraint("(state = 'PAUSED') = (reason is not null)", name=op.f("webhook_reason_check")),
    )
    op.create_index("webhook_made_by_idx", "webhook", ["made_by"])
    op.create_table(
        "webhook_delivery",
        sa.Column("webhook", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", sa.Text()),
        sa.Column("state", sa.Text(), server_default="PENDING", nullable=False),
        sa.Column("replayed", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True)),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state in ('PENDING', 'DELIVERED', 'FAILED')", name=op.f("webhook_delivery_state_check")),
        sa.ForeignKeyConstraint(
            ["webhook"], ["webhook.id"], name=op.f("webhook_delivery_webhook_fkey"), ondelete="CASCADE"
        ),
    )
    pending = sa.text("state = 'PENDING'")
    op.create_index("webhook_delivery_place_idx", "webhook_delivery", ["webhook", "place", "id"])
    op.create_index(
        "webhook_delivery_object_idx", "webhook_delivery", ["webhook", "object", "place"], postgresql_where=pending
    )
    op.create_index("webhook_delivery_due_idx", "webhook_delivery", ["webhook", "due_at"], postgresql_where=pending)
    failed = sa.text("state = 'FAILED'")
    op.create_index(
        "webhook_delivery_failed_idx", "webhook_delivery", ["webhook", "place", "id"], postgresql_where=failed
    )
    op.create_index("webhook_delivery_made_at_idx", "webhook_delivery", ["made_at"])
    op.create_table(
        "webhook_attempt",
        sa.Column("webhook", sa.Text(), primary_key=True),
        sa.Column("delivery", sa.Text(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("problem", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.ForeignKeyConstraint(
            ["webhook", "delivery"],
            ["webhook_delivery.webhook", "webhook_delivery.id"],
            name=op.f("webhook_attempt_webhook_fkey"),
            ondelete="CASCADE",
        ),
    )
