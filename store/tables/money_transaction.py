"""What money moved, as the channel tells it before a settlement does."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Numeric, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.tables.base import instant, metadata

# Each transaction as it was told last, under its id and status; its lines of money have the key as `reference`.
money_transaction = Table(
    "money_transaction",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    # The channel's own, which is the same under every status; null where it gives none.
    Column("id", Text),
    Column("status", Text),
    Column("kind", Text, nullable=False),
    instant("posted_at"),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("marketplace", Text),
    Column("order_external_id", Text),
    # Ours, whether there is such an order or not.
    Column("order_id", Text),
    Column("shipment_id", Text),
    # The settlement and the group of movements that it names.
    Column("settlement_external_id", Text),
    Column("group_id", Text),
    # The ids of what it releases, or of what releases it.
    Column("partners", ARRAY(Text), nullable=False),
    Column("told", JSONB, nullable=False),
    instant("told_at", now=True),
    # False once another one that was told of the same movement counts.
    Column("counts", Boolean, nullable=False),
    # It names an order of which there was none, or only a sketch, when its lines were made.
    Column("order_missing", Boolean, nullable=False),
    # The kept settlement that holds it: its lines stand no more.
    Column("settlement_id", Text, ForeignKey("settlement.id")),
    Index("money_transaction_channel_id_idx", "channel", "id", postgresql_where=text("id is not null")),
    Index(
        "money_transaction_partners_idx", "partners", postgresql_using="gin", postgresql_where=text("partners <> '{}'")
    ),
    Index("money_transaction_order_id_idx", "order_id", postgresql_where=text("order_id is not null")),
    Index("money_transaction_group_id_idx", "channel", "group_id", postgresql_where=text("group_id is not null")),
    Index("money_transaction_settlement_id_idx", "settlement_id", postgresql_where=text("settlement_id is not null")),
    Index(
        "money_transaction_open_idx",
        "channel",
        "posted_at",
        postgresql_where=text("settlement_id is null and counts"),
    ),
    Index("money_transaction_missing_idx", "channel", "key", postgresql_where=text("order_missing")),
)

# Which settlement a group of movements is of, as some transaction has said: the others of the group may not say it.
money_group = Table(
    "money_group",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("group_id", Text, primary_key=True),
    Column("settlement_external_id", Text, primary_key=True),
)
