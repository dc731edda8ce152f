"""Units that came back into stock, as it was known when"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "restock",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("channel_sku", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("units > 0", name=op.f("restock_units_check")),
    )
    op.create_index(
        "restock_piece_key",
        "restock",
        ["channel", "kind", "reference"],
        unique=True,
        postgresql_where=sa.text("replaced_at is null"),
    )
    op.create_index("restock_group_idx", "restock", ["channel", "order_external_id", "channel_sku"])
    # When that was told nobody has kept: it happened by then.
    op.execute(
        """
        insert into restock (channel, kind, reference, order_external_id, channel_sku, units, at, known_at)
        select channel, kind, reference, order_external_id, channel_sku, units, at, at from return_piece
        where units > 0 and (kind = 'RESTOCKED' or kind = 'REFUNDED' and not expected
            or kind = 'ARRIVED' and by_channel and condition = 'SELLABLE')
        """
    )
