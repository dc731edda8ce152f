"""Prices of listings, and their history"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "listing_price",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("wanted", postgresql.JSONB()),
        sa.Column("wanted_item", sa.BigInteger()),
        sa.Column("wanted_at", sa.DateTime(timezone=True)),
        sa.Column("live", postgresql.JSONB()),
        sa.Column("live_at", sa.DateTime(timezone=True)),
        sa.Column("verified", postgresql.JSONB()),
        sa.Column("verified_item", sa.BigInteger()),
        sa.Column("verified_at", sa.DateTime(timezone=True)),
        sa.Column("differs_since", sa.DateTime(timezone=True)),
    )
    op.create_index(
        "listing_price_differs_idx",
        "listing_price",
        ["differs_since"],
        postgresql_where=sa.text("differs_since is not null"),
    )
    op.create_table(
        "price_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("price", postgresql.JSONB()),
        sa.Column("operation", sa.Text()),
        sa.Column("item", sa.BigInteger()),
        sa.Column("origin", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("rules_version", sa.Integer()),
        sa.Column("chain", postgresql.JSONB()),
        sa.Column("requested_by", sa.Text()),
        sa.Column("approved_by", sa.Text()),
        sa.CheckConstraint("what in ('ASKED', 'LIVE', 'OTHER', 'FAILED')", name=op.f("price_event_what_check")),
        sa.CheckConstraint(
            "origin in ('MUTATION', 'FILE', 'RULE', 'SALE', 'REVERT')", name=op.f("price_event_origin_check")
        ),
    )
    op.create_index("price_event_listing_idx", "price_event", ["listing", sa.text("at DESC"), sa.text("id DESC")])
    op.create_index(
        "price_event_operation_idx",
        "price_event",
        ["operation"],
        postgresql_where=sa.text("operation is not null"),
    )
