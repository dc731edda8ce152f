"""What prices are made of, each with its age, and which prices wait to be worked out anew."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.tables.base import instant, metadata, words

# What one unit of a base was worth, as its source told it. A source that mends a rate adds a row: the newest holds.
fx_rate = Table(
    "fx_rate",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("rate", Numeric, nullable=False),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
    CheckConstraint("rate > 0", name="rate"),
    Index("fx_rate_day_idx", "day"),
    Index("fx_rate_source_quote_day_idx", "source", "quote", "day", "id"),
)

# Layers of cost: never changed, only added to. The newest revision of a layer holds.
unit_cost = Table(
    "unit_cost",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    # Freight and duty of a unit, in the same currency; null: nobody has told yet.
    Column("extra", Numeric),
    Column("withdrawn", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text, nullable=False, server_default=""),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
    CheckConstraint("amount >= 0 and extra >= 0", name="amounts"),
    Index("unit_cost_valid_from_idx", "valid_from"),
)

# What a channel said it would take of a unit sold for a price; `fees` as it told them.
fee_estimate = Table(
    "fee_estimate",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    Column("price", Numeric, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("referral", Numeric, nullable=False),
    Column("fixed", Numeric, nullable=False),
    Column("fees", JSONB, nullable=False),
    Column("fulfilled_by", Text, nullable=False),
    instant("as_of"),
    words("fulfilled_by", "MERCHANT", "CHANNEL"),
)

# The offer that buyers meet first beside a listing of ours, and at which price ours could expect to be it.
featured_offer = Table(
    "featured_offer",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    Column("price_amount", Numeric),
    Column("price_currency", Text),
    Column("shipping_amount", Numeric),
    Column("shipping_currency", Text),
    Column("seller", Text),
    Column("mine", Boolean),
    # Null: nobody has looked; then there may be one.
    instant("as_of", nullable=True),
    Column("expected_amount", Numeric),
    Column("expected_currency", Text),
    # The channel's word for why it expects a price, or none.
    Column("expected_status", Text),
    instant("expected_at", nullable=True),
)

# When the channel was last asked about a listing, when the next question is due, and why the last one told nothing.
market_look = Table(
    "market_look",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    Column("about", Text, primary_key=True),
    instant("asked_at", nullable=True),
    # Somebody told that it is different now.
    instant("hurried_at", nullable=True),
    instant("not_before", nullable=True),
    # Rules want the fees of another price than the one that buyers pay.
    Column("price", Numeric),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("problem", Text),
    words("about", "FEES", "FEATURED", "EXPECTED"),
    Index("market_look_hurried_idx", "about", "hurried_at", postgresql_where=text("hurried_at is not null")),
)

# Listings whose prices wait to be worked out anew, each once, whatever and how much happened.
price_due = Table(
    "price_due",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    instant("due_at"),
    instant("since", now=True),
    Index("price_due_channel_due_at_idx", "channel", "due_at"),
)

# When a listing's price was last worked out, what came of it, and what it was made from: the same is not asked for twice.
repriced = Table(
    "repriced",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    instant("at"),
    Column("became", Text, nullable=False),
    Column("words", Text, nullable=False, server_default=""),
    Column("fingerprint", Text),
    instant("asked_at", nullable=True),
    Column("units", BigInteger),
    words("became", "ASKED", "HELD", "REFUSED", "IDLE", "NONE"),
)

# Up to when time itself has been looked after, and by which version of the rules all listings have been marked.
price_clock = Table(
    "price_clock",
    metadata,
    Column("name", Text, primary_key=True),
    instant("at"),
    Column("version", BigInteger),
    words("name", "TIME", "SCHEDULE", "STOCK", "RULES"),
)
