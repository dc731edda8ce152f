"""Files of settlements, and their rows before they are books"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "finance_file",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("brought_by", sa.Text(), nullable=False),
        sa.Column("reports", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("content_type", sa.Text(), server_default="", nullable=False),
        sa.Column("marketplace", sa.Text()),
        sa.Column("sha256", sa.Text()),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("utf8", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("state", sa.Text(), server_default="READING", nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("rows_read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("dialect", postgresql.JSONB()),
        sa.Column("settlement_id", sa.Text(), sa.ForeignKey("settlement.id")),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("state in ('READING', 'KEPT', 'REFUSED')", name=op.f("finance_file_state_check")),
    )
    op.create_index("finance_file_channel_sha256_key", "finance_file", ["channel", "sha256"], unique=True)
    op.create_index("finance_file_at_id_idx", "finance_file", [sa.text("at DESC"), sa.text("id DESC")])
    op.create_index("finance_file_settlement_id_idx", "finance_file", ["settlement_id"])
    op.create_table(
        "finance_file_part",
        sa.Column("file", sa.Text(), sa.ForeignKey("finance_file.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "money_staged",
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("key", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("class", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("amount_kind", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("merchant_order_id", sa.Text()),
        sa.Column("adjustment_id", sa.Text()),
        sa.Column("shipment_id", sa.Text()),
        sa.Column("item_id", sa.Text()),
        sa.Column("channel_sku", sa.Text()),
        sa.Column("units", sa.Integer()),
        sa.Column("extra", postgresql.JSONB()),
        prefixes=["UNLOGGED"],
    )
    op.create_index(
        "money_line_shipment_id_idx",
        "money_line",
        ["channel", "shipment_id"],
        postgresql_where=sa.text("class = 'SALE' and shipment_id is not null and order_id is not null"),
    )
    op.create_index(
        "money_line_adjustment_id_idx",
        "money_line",
        ["channel", "adjustment_id"],
        postgresql_where=sa.text("adjustment_id is not null"),
    )
    op.create_index(
        "money_line_reserve_idx",
        "money_line",
        ["settlement_id"],
        postgresql_where=sa.text("class = 'RESERVE' and replaced_at is null"),
    )
    op.create_index(
        "money_line_estimate_idx",
        "money_line",
        ["order_id"],
        postgresql_where=sa.text("source = 'ESTIMATE' and replaced_at is null and order_id is not null"),
    )
    # A settlement asks it for thousands of shipments, and each would read through what waits to be put into it.
    op.execute("alter index order_shipments_idx set (fastupdate = off)")
    op.execute("select gin_clean_pending_list('order_shipments_idx')")
