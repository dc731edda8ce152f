"""What money moved, as channels tell it before settlements do"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "money_transaction",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text()),
        sa.Column("status", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("posted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("marketplace", sa.Text()),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("order_id", sa.Text()),
        sa.Column("shipment_id", sa.Text()),
        sa.Column("settlement_external_id", sa.Text()),
        sa.Column("group_id", sa.Text()),
        sa.Column("partners", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("told", postgresql.JSONB(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("order_missing", sa.Boolean(), nullable=False),
        sa.Column("settlement_id", sa.Text(), sa.ForeignKey("settlement.id")),
    )
    for name, columns, where in (
        ("channel_id", ["channel", "id"], "id is not null"),
        ("order_id", ["order_id"], "order_id is not null"),
        ("group_id", ["channel", "group_id"], "group_id is not null"),
        ("settlement_id", ["settlement_id"], "settlement_id is not null"),
        ("open", ["channel", "posted_at"], "settlement_id is null and counts"),
        ("missing", ["channel", "key"], "order_missing"),
    ):
        op.create_index(f"money_transaction_{name}_idx", "money_transaction", columns, postgresql_where=sa.text(where))
    op.create_index(
        "money_transaction_partners_idx",
        "money_transaction",
        ["partners"],
        postgresql_using="gin",
        postgresql_where=sa.text("partners <> '{}'"),
    )
    op.create_table(
        "money_group",
        sa.Column("channel", sa.Text(), primary_key=True),
        sa.Column("group_id", sa.Text(), primary_key=True),
        sa.Column("settlement_external_id", sa.Text(), primary_key=True),
    )
