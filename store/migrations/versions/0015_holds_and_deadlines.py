"""Orders that wait, and writes that are urgent"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.add_column("order", sa.Column("held", sa.Text()))
    op.add_column("order", sa.Column("let_go", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("order", sa.Column("cancellation_requested", sa.Boolean(), server_default="false", nullable=False))
    op.create_index(
        "order_open_idx",
        "order",
        ["channel", "ship_by", "id"],
        postgresql_where=sa.text(
            "fulfilled_by = 'MERCHANT' and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED', 'ON_HOLD')"
        ),
    )
    op.create_table(
        "order_hold",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text()),
        sa.Column("approval", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("keeps_until", sa.DateTime(timezone=True)),
        sa.Column("lapsed_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ended_by", sa.Text()),
    )
    op.create_index("order_hold_order_id_idx", "order_hold", ["order_id"])
    op.create_index(
        "order_hold_rule_idx",
        "order_hold",
        ["order_id", "rule"],
        unique=True,
        postgresql_where=sa.text("rule is not null"),
    )
    op.create_index(
        "order_hold_keeps_until_idx",
        "order_hold",
        ["keeps_until"],
        postgresql_where=sa.text("ended_at is null and lapsed_at is null and keeps_until is not null"),
    )
    op.create_table(
        "hold_rule",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("conditions", JSONB(), nullable=False),
        sa.Column("keeps_s", sa.Float()),
        sa.Column("approval", sa.Boolean(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.add_column("operation_item", sa.Column("deadline_at", sa.DateTime(timezone=True)))
    op.create_index(
        "operation_item_urgent_idx",
        "operation_item",
        ["channel", "capability", "deadline_at", "due_at", "id"],
        postgresql_where=sa.text("released and deadline_at is not null and status in ('PENDING', 'SENT')"),
    )
    op.create_index(
        "operation_item_verified_idx",
        "operation_item",
        ["capability", "ended_at"],
        postgresql_where=sa.text("status = 'VERIFIED'"),
    )
    op.create_index(
        "operation_item_refund_idx",
        "operation_item",
        ["resource"],
        postgresql_where=sa.text("capability = 'refunds'"),
    )
