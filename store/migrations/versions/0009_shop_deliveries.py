"""What shops deliver and ask for"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "privacy_request",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("buyer", sa.Text()),
        sa.Column("orders", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        sa.Column("note", sa.Text()),
        sa.CheckConstraint(
            "kind in ('DATA_REQUEST', 'BUYER_REDACT', 'SHOP_REDACT')", name=op.f("privacy_request_kind_check")
        ),
        sa.UniqueConstraint("channel", "delivery_id", name=op.f("privacy_request_channel_delivery_id_key")),
    )
    op.create_index(
        "privacy_request_open_idx", "privacy_request", ["channel"], postgresql_where=sa.text("done_at is null")
    )
    for name in ("inventory_item", "product"):
        op.create_index(f"listing_{name}_idx", "listing", ["channel", sa.text(f"(refs ->> '{name}')")])
