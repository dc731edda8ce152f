"""From where orders are sent, and why"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "sourcing_rules",
        sa.Column("version", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("rules", JSONB()),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_table(
        "sourcing_decision",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unplaced", sa.Integer(), nullable=False),
        sa.Column("decision", JSONB(), nullable=False),
    )
    op.create_index("sourcing_decision_order_id_id_idx", "sourcing_decision", ["order_id", "id"])
    op.create_index("sourcing_decision_at_idx", "sourcing_decision", ["at"])
    op.create_index(
        "sourcing_decision_version_idx",
        "sourcing_decision",
        ["version"],
        postgresql_where=sa.text("unplaced > 0"),
    )
    op.create_table(
        "sourcing_parcel",
        sa.Column(
            "decision_id",
            sa.BigInteger(),
            sa.ForeignKey("sourcing_decision.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("location", sa.Text(), primary_key=True),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("leaves_on", sa.Date(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
    )
    op.create_index("sourcing_parcel_location_leaves_on_idx", "sourcing_parcel", ["location", "leaves_on"])
    # A constant default: no row is written anew.
    op.add_column("order_allocation", sa.Column("backordered", sa.Integer(), server_default="0", nullable=False))
    op.add_column("order_allocation", sa.Column("expected_on", sa.Date()))
    op.create_index(
        "order_allocation_backordered_idx",
        "order_allocation",
        ["sku", "location"],
        postgresql_where=sa.text("backordered > 0"),
    )
    op.create_index(
        "order_allocation_promised_idx",
        "order_allocation",
        ["sku", "location"],
        postgresql_where=sa.text("quantity > 0"),
    )
