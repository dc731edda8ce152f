"""Prices: what each listing is wanted to be sold for and was seen to be, and all that ever became of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# One row for each listing whose price was ever asked for or read back. Prices are told as `domain.price.Price.told`.
listing_price = Table(
    "listing_price",
    metadata,
    Column("listing", Text, ForeignKey("listing.id"), primary_key=True),
    # What was asked for last and has been released; the item that carries it.
    Column("wanted", JSONB),
    Column("wanted_item", BigInteger),
    instant("wanted_at", nullable=True),
    # What the channel showed when it was last read back.
    Column("live", JSONB),
    instant("live_at", nullable=True),
    # What was last seen live because we had asked for it: a change is taken back to this.
    Column("verified", JSONB),
    Column("verified_item", BigInteger),
    instant("verified_at", nullable=True),
    # Since when the channel shows another price than the one that was seen live or is wanted.
    instant("differs_since", nullable=True),
    Index("listing_price_differs_idx", "differs_since", postgresql_where=text("differs_since is not null")),
)

# The history: never changed, only added to. ASKED: released to its lane; LIVE: seen live, as it was asked for; OTHER: seen live,
# though we had asked for something else or nothing; FAILED: what was asked for did not come about.
price_event = Table(
    "price_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("listing", Text, ForeignKey("listing.id"), nullable=False),
    instant("at", now=True),
    Column("what", Text, nullable=False),
    Column("price", JSONB),
    Column("operation", Text),
    Column("item", BigInteger),
    Column("origin", Text),
    Column("reason", Text),
    Column("rules_version", Integer),
    Column("chain", JSONB),
    Column("requested_by", Text),
    Column("approved_by", Text),
    words("what", "ASKED", "LIVE", "OTHER", "FAILED"),
    words("origin", "MUTATION", "FILE", "RULE", "SALE", "REVERT"),
    Index("price_event_listing_idx", "listing", text("at DESC"), text("id DESC")),
    Index("price_event_operation_idx", "operation", postgresql_where=text("operation is not null")),
)
