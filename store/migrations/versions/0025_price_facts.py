"""What prices are made of"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever waits longer for a lock holds everybody up who comes after: rather fail, and try again later.
    op.execute("set local lock_timeout = '2s'")
    _money()
    _market()
    _repricing()


def _money() -> None:
    op.create_table(
        "fx_rate",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rate", sa.Numeric(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("rate > 0", name=op.f("fx_rate_rate_check")),
    )
    op.create_index("fx_rate_day_idx", "fx_rate", ["day"])
    op.create_index("fx_rate_source_quote_day_idx", "fx_rate", ["source", "quote", "day", "id"])
    op.create_table(
        "unit_cost",
        sa.Column("sku", sa.Text(), primary_key=True),
        sa.Column("valid_from", sa.Date(), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("extra", sa.Numeric()),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("amount >= 0 and extra >= 0", name=op.f("unit_cost_amounts_check")),
    )
    op.create_index("unit_cost_valid_from_idx", "unit_cost", ["valid_from"])


def _market() -> None:
    op.create_table(
        "fee_estimate",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("price", sa.Numeric(), primary_key=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("referral", sa.Numeric(), nullable=False),
        sa.Column("fixed", sa.Numeric(), nullable=False),
        sa.Column("fees", postgresql.JSONB(), nullable=False),
        sa.Column("fulfilled_by", sa.Text(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("fulfilled_by in ('MERCHANT', 'CHANNEL')", name=op.f("fee_estimate_fulfilled_by_check")),
    )
    op.create_table(
        "featured_offer",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("price_amount", sa.Numeric()),
        sa.Column("price_currency", sa.Text()),
        sa.Column("shipping_amount", sa.Numeric()),
        sa.Column("shipping_currency", sa.Text()),
        sa.Column("seller", sa.Text()),
        sa.Column("mine", sa.Boolean()),
        sa.Column("as_of", sa.DateTime(timezone=True)),
        sa.Column("expected_amount", sa.Numeric()),
        sa.Column("expected_currency", sa.Text()),
        sa.Column("expected_status", sa.Text()),
        sa.Column("expected_at", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "market_look",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("about", sa.Text(), primary_key=True),
        sa.Column("asked_at", sa.DateTime(timezone=True)),
        sa.Column("hurried_at", sa.DateTime(timezone=True)),
        sa.Column("not_before", sa.DateTime(timezone=True)),
        sa.Column("price", sa.Numeric()),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text()),
        sa.CheckConstraint("about in ('FEES', 'FEATURED', 'EXPECTED')", name=op.f("market_look_about_check")),
    )
    op.create_index(
        "market_look_hurried_idx",
        "market_look",
        ["about", "hurried_at"],
        postgresql_where=sa.text("hurried_at is not null"),
    )


def _repricing() -> None:
    # Sales that may begin or end.
    op.create_index(
        "listing_price_sale_idx",
        "listing_price",
        ["listing"],
        postgresql_where=sa.text("jsonb_typeof(wanted -> 'sale') = 'object'"),
    )
    op.create_table(
        "price_due",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.create_index("price_due_channel_due_at_idx", "price_due", ["channel", "due_at"])
    op.create_table(
        "repriced",
        sa.Column("listing", sa.Text(), sa.ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), server_default="", nullable=False),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("asked_at", sa.DateTime(timezone=True)),
        sa.Column("units", sa.BigInteger()),
        sa.CheckConstraint(
            "became in ('ASKED', 'HELD', 'REFUSED', 'IDLE', 'NONE')", name=op.f("repriced_became_check")
        ),
    )
    op.create_table(
        "price_clock",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger()),
        sa.CheckConstraint("name in ('TIME', 'SCHEDULE', 'STOCK', 'RULES')", name=op.f("price_clock_name_check")),
    )
