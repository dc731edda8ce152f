"""What the payouts of shops are made of."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Numeric, Table, Text

from store.tables.base import instant, metadata

# One movement each, as its provider told it, signed as we see it; what the buyer paid or got back is split into lines of money.
payout_movement = Table(
    "payout_movement",
    metadata,
    Column("settlement_id", Text, ForeignKey("settlement.id"), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # The channel's reason of an adjustment, or "".
    Column("reason", Text, nullable=False),
    Column("order_external_id", Text),
    Column("refund_external_id", Text),
    Column("amount", Numeric, nullable=False),
    Column("fee", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    instant("at"),
    # An earlier payout had it, and failed after it was paid.
    Column("again", Boolean, nullable=False),
    Index("payout_movement_order_idx", "channel", "order_external_id"),
    Index("payout_movement_external_id_idx", "channel", "external_id"),
)
