"""Rows of settlements on their way into the books."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Numeric, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata

# Rows of files that are read and not in the books yet. A crash of the database empties it, and the file is read again.
money_staged = Table(
    "money_staged",
    metadata,
    Column("file", Text, nullable=False),
    Column("row", Integer, nullable=False),
    # Of all that it names: rows that name the same are tied alike.
    Column("key", Uuid(as_uuid=False), nullable=False),
    Column("event", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("part", Text, nullable=False),
    # What is blank in the file is null.
    Column("kind", Text),
    Column("amount_kind", Text),
    Column("description", Text),
    Column("amount", Numeric, nullable=False),
    instant("posted_at"),
    Column("order_external_id", Text),
    Column("merchant_order_id", Text),
    Column("adjustment_id", Text),
    Column("shipment_id", Text),
    Column("item_id", Text),
    Column("channel_sku", Text),
    Column("units", Integer),
    Column("extra", JSONB),
    prefixes=["UNLOGGED"],
)
