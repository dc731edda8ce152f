"""What comes back of orders."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    text,
)

from store.tables.base import instant, metadata, words

# A chain as its pieces make it, written anew when one of them comes.
return_chain = Table(
    "return_chain",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    # Of our own; the order itself may not be kept (any more). Null where the channel names none.
    Column("order_id", Text),
    Column("channel_sku", Text, nullable=False),
    instant("started_at"),
    # Whether a link is missing. Time changes which one, and never whether.
    Column("open", Boolean, nullable=False),
    Index("return_chain_order_id_idx", "order_id"),
    Index("return_chain_started_at_idx", "started_at", "id"),
    Index("return_chain_open_idx", "started_at", "id", postgresql_where=text("open")),
)

# What channels and people told, once each.
return_piece = Table(
    "return_piece",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("order_external_id", Text),
    Column("channel_sku", Text, nullable=False),
    Column("units", Integer, nullable=False),
    instant("at"),
    Column("amount", Numeric),
    Column("currency", Text),
    Column("by_channel", Boolean, nullable=False),
    Column("expected", Boolean, nullable=False),
    Column("owed", Boolean, nullable=False),
    Column("condition", Text),
    Column("chain_id", Text, ForeignKey("return_chain.id")),
    words("kind", "ANNOUNCED", "ARRIVED", "REFUNDED", "RESTOCKED", "WRITTEN_OFF", "REIMBURSED"),
    CheckConstraint("units >= 0", name="units"),
    Index("return_piece_group_idx", "channel", "order_external_id", "channel_sku"),
    Index("return_piece_chain_id_idx", "chain_id"),
)

# Units that came back into stock, or were paid for and never left it, as it was known when: never changed but for `replaced_at`.
# What is told otherwise of the same piece is another row.
restock = Table(
    "restock",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("order_external_id", Text),
    Column("channel_sku", Text, nullable=False),
    Column("units", Integer, nullable=False),
    instant("at"),
    instant("known_at", now=True),
    instant("replaced_at", nullable=True),
    CheckConstraint("units > 0", name="units"),
    Index(
        "restock_piece_key", "channel", "kind", "reference", unique=True, postgresql_where=text("replaced_at is null")
    ),
    Index("restock_group_idx", "channel", "order_external_id", "channel_sku"),
)
