"""Settlements, and the lines of money that every sum is made of"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "settlement",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("marketplace", sa.Text()),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deposited_at", sa.DateTime(timezone=True)),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("reference", sa.Text()),
        sa.Column("line_count", sa.Integer(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind in ('SETTLEMENT', 'PAYOUT')", name=op.f("settlement_kind_check")),
        sa.CheckConstraint("ends_at >= starts_at", name=op.f("settlement_period_check")),
    )
    op.create_index("settlement_channel_external_id_key", "settlement", ["channel", "external_id"], unique=True)
    op.create_index("settlement_ends_at_id_idx", "settlement", [sa.text("ends_at DESC"), sa.text("id DESC")])
    op.create_table(
        "money_line",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("marketplace", sa.Text()),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_kind", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer()),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("reference", sa.Text(), server_default="", nullable=False),
        sa.Column("settlement_id", sa.Text()),
        sa.Column("row", sa.Integer()),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("shipment_id", sa.Text()),
        sa.Column("adjustment_id", sa.Text()),
        sa.Column("item_id", sa.Text()),
        sa.Column("channel_sku", sa.Text()),
        sa.Column("order_id", sa.Text()),
        sa.Column("order_line_id", sa.Text()),
        sa.Column("sku", sa.Text()),
        sa.Column("matched_by", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("extra", postgresql.JSONB()),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True)),
        sa.Column("replaced_why", sa.Text()),
        sa.CheckConstraint("source in ('SETTLEMENT', 'TRANSACTION', 'ESTIMATE')", name=op.f("money_line_source_check")),
        sa.CheckConstraint(
            "stage in ('ESTIMATED', 'DEFERRED', 'RELEASED', 'SETTLED')", name=op.f("money_line_stage_check")
        ),
        sa.CheckConstraint("event in ('SALE', 'REFUND', 'ACCOUNT')", name=op.f("money_line_event_check")),
        sa.CheckConstraint(
            "part in ('REVENUE', 'REFUNDS', 'FEES', 'TAX', 'BALANCE', 'UNCLASSIFIED')",
            name=op.f("money_line_part_check"),
        ),
        sa.CheckConstraint(
            "(source = 'SETTLEMENT') = (settlement_id is not null)", name=op.f("money_line_settlement_check")
        ),
        sa.CheckConstraint("(replaced_at is null) = (replaced_why is null)", name=op.f("money_line_replaced_check")),
    )
    op.create_index(
        "money_line_settlement_id_row_idx",
        "money_line",
        ["settlement_id", "row"],
        postgresql_where=sa.text("settlement_id is not null"),
    )
    op.create_index(
        "money_line_reference_idx",
        "money_line",
        ["channel", "source", "reference"],
        postgresql_where=sa.text("settlement_id is null"),
    )
    op.create_index(
        "money_line_order_id_idx", "money_line", ["order_id"], postgresql_where=sa.text("order_id is not null")
    )
    op.create_index("money_line_day_idx", "money_line", ["day"])
    op.create_index(
        "money_line_open_idx",
        "money_line",
        ["channel", "order_external_id"],
        postgresql_where=sa.text("cause is not null and replaced_at is null"),
    )
    op.create_table(
        "estimate_due",
        sa.Column("order_id", sa.Text(), primary_key=True),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_index("estimate_due_since_idx", "estimate_due", ["since"])
