"""Words for money that nobody knows, and what the payouts of shops are made of"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    op.create_table(
        "money_word",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_kind", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("event", sa.Text()),
        sa.Column("class", sa.Text()),
        sa.Column("by", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("known_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True)),
        sa.Column("followed_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("event in ('SALE', 'REFUND', 'ACCOUNT')", name=op.f("money_word_event_check")),
        sa.CheckConstraint("num_nonnulls(event, class, by, reason) in (0, 4)", name=op.f("money_word_said_check")),
    )
    op.create_index(
        "money_word_words_key_key",
        "money_word",
        ["words", "key"],
        unique=True,
        postgresql_where=sa.text("replaced_at is null"),
    )
    op.create_index(
        "money_line_unclassified_idx",
        "money_line",
        ["channel", "id"],
        postgresql_where=sa.text("class = 'UNCLASSIFIED' and replaced_at is null"),
    )
    op.create_table(
        "payout_movement",
        sa.Column("settlement_id", sa.Text(), sa.ForeignKey("settlement.id"), primary_key=True),
        sa.Column("row", sa.Integer(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("order_external_id", sa.Text()),
        sa.Column("refund_external_id", sa.Text()),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("fee", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
    )
    op.create_index("payout_movement_order_idx", "payout_movement", ["channel", "order_external_id"])
    op.create_index("payout_movement_external_id_idx", "payout_movement", ["channel", "external_id"])
