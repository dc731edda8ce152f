"""What comes back of orders"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("set local lock_timeout = '2s'")
    # For one order's steps; the items of a write are found by their order, whatever their status.
    op.create_index(
        "operation_item_order_idx",
        "operation_item",
        ["resource"],
        unique=False,
        postgresql_where=sa.text("resource like 'order:%'"),
    )
    op.create_table(
        "return_chain",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
    )
    op.create_index("return_chain_order_id_idx", "return_chain", ["order_id"])
    op.create_index("return_chain_started_at_idx", "return_chain", ["started_at", "id"])
    op.create_index("return_chain_open_idx", "return_chain", ["started_at", "id"], postgresql_where=sa.text("open"))
    kinds = ("ANNOUNCED", "ARRIVED", "REFUNDED", "RESTOCKED", "WRITTEN_OFF", "REIMBURSED")
    op.create_table(
        "return_piece",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("reference", sa.Text(), primary_key=True),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount", sa.Numeric()),
        sa.Column("currency", sa.Text()),
        sa.Column("by_channel", sa.Boolean(), nullable=False),
        sa.Column("expected", sa.Boolean(), nullable=False),
        sa.Column("owed", sa.Boolean(), nullable=False),
        sa.Column("condition", sa.Text()),
        sa.Column("chain_id", sa.Text(), sa.ForeignKey("return_chain.id")),
        sa.CheckConstraint(f"kind in ({', '.join(map(repr, kinds))})", name=op.f("return_piece_kind_check")),
        sa.CheckConstraint("units >= 0", name=op.f("return_piece_units_check")),
    )
    op.create_index("return_piece_group_idx", "return_piece", ["channel", "order_external_id", "channel_sku"])
    op.create_index("return_piece_chain_id_idx", "return_piece", ["chain_id"])
