"""Orders that another platform's stock ships"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "outbound_order",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
        sa.Column("operation_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("wanted", postgresql.JSONB(), nullable=False),
        sa.Column("preview", postgresql.JSONB()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("channel_status", sa.Text()),
        sa.Column("taken_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True)),
        sa.Column("seen_at", sa.DateTime(timezone=True)),
        sa.Column("due_at", sa.DateTime(timezone=True)),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("trouble", sa.Text()),
    )
    op.create_index("outbound_order_order_id_idx", "outbound_order", ["order_id"])
    op.create_index(
        "outbound_order_due_at_idx", "outbound_order", ["due_at"], postgresql_where=sa.text("due_at is not null")
    )
    op.create_index(
        "outbound_order_uncounted_idx",
        "outbound_order",
        ["channel", "location"],
        postgresql_where=sa.text("counted_at is null"),
    )
    op.create_table(
        "outbound_line",
        sa.Column("outbound_id", sa.Text(), sa.ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("line_id", sa.Text(), primary_key=True),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unfulfillable", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "quantity > 0 and cancelled >= 0 and unfulfillable >= 0", name=op.f("outbound_line_counts_check")
        ),
    )
    op.create_table(
        "outbound_package",
        sa.Column("outbound_id", sa.Text(), sa.ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("carrier", sa.Text()),
        sa.Column("tracking_number", sa.Text()),
        sa.Column("shipped_at", sa.DateTime(timezone=True)),
        sa.Column("arrives_at", sa.DateTime(timezone=True)),
        sa.Column("lines", postgresql.JSONB(), nullable=False),
        sa.Column("whereabouts", sa.Text()),
        sa.Column("channel_status", sa.Text()),
        sa.Column("operation_id", sa.Text()),
        sa.Column("trouble", sa.Text()),
    )
    op.create_table(
        "outbound_return",
        sa.Column("outbound_id", sa.Text(), sa.ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("line_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rma", sa.Text()),
        sa.Column("center", sa.Text()),
        sa.Column("processed", sa.Boolean(), nullable=False),
        sa.Column("condition", sa.Text()),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("operation_id", sa.Text()),
    )
    op.create_index(
        "operation_item_unquoted_idx",
        "operation_item",
        ["id"],
        postgresql_where=sa.text(
            "capability = 'outbound' and not released and status = 'PENDING' and not payload ? 'quote'"
        ),
    )
