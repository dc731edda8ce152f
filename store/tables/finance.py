"""Money: settlements, and the lines that every sum is made of."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# One statement of a marketplace, or one payout of a shop's payments, that adds up to the cent. Kept whole, or not at all.
settlement = Table(
    "settlement",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("marketplace", Text),
    Column("currency", Text, nullable=False),
    instant("starts_at"),
    instant("ends_at"),
    instant("deposited_at", nullable=True),
    Column("total", Numeric, nullable=False),
    # What the bank statement shows, where the channel tells it.
    Column("reference", Text),
    Column("line_count", Integer, nullable=False),
    instant("kept_at", now=True),
    words("kind", "SETTLEMENT", "PAYOUT"),
    CheckConstraint("ends_at >= starts_at", name="period"),
    Index("settlement_channel_external_id_key", "channel", "external_id", unique=True),
    Index("settlement_ends_at_id_idx", text("ends_at DESC"), text("id DESC")),
)

# One amount, signed as we see it. Never changed but for `replaced_at` and `replaced_why`: what is known better is another line.
money_line = Table(
    "money_line",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text),
    Column("source", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("class", Text, nullable=False),
    Column("part", Text, nullable=False),
    # The channel's own words.
    Column("kind", Text, nullable=False),
    Column("amount_kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("units", Integer),
    instant("posted_at"),
    # The day of business that it counts for, by the marketplace's clock.
    Column("day", Date, nullable=False),
    # A transaction's key, an estimate's order; "" for lines of settlements.
    Column("reference", Text, nullable=False, server_default=""),
    # Of `settlement`; no foreign key, which would look there for each of a million lines.
    Column("settlement_id", Text),
    Column("row", Integer),
    Column("order_external_id", Text),
    Column("shipment_id", Text),
    Column("adjustment_id", Text),
    Column("item_id", Text),
    Column("channel_sku", Text),
    # Of our own; the order itself may not be kept (any more).
    Column("order_id", Text),
    Column("order_line_id", Text),
    Column("sku", Text),
    Column("matched_by", Text),
    Column("cause", Text),
    # Columns that we do not know, as they stood there.
    Column("extra", JSONB),
    instant("known_at", now=True),
    instant("replaced_at", nullable=True),
    Column("replaced_why", Text),
    words("source", "SETTLEMENT", "TRANSACTION", "ESTIMATE"),
    words("stage", "ESTIMATED", "DEFERRED", "RELEASED", "SETTLED"),
    words("event", "SALE", "REFUND", "ACCOUNT"),
    words("part", "REVENUE", "REFUNDS", "FEES", "TAX", "BALANCE", "UNCLASSIFIED"),
    CheckConstraint("(source = 'SETTLEMENT') = (settlement_id is not null)", name="settlement"),
    CheckConstraint("(replaced_at is null) = (replaced_why is null)", name="replaced"),
    Index(
        "money_line_settlement_id_row_idx", "settlement_id", "row", postgresql_where=text("settlement_id is not null")
    ),
    Index("money_line_reference_idx", "channel", "source", "reference", postgresql_where=text("settlement_id is null")),
    Index("money_line_order_id_idx", "order_id", postgresql_where=text("order_id is not null")),
    # Lines of one time stand together, and this costs a fraction of a tree for each of a million.
    Index("money_line_day_idx", "day", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    Index(
        "money_line_shipment_id_idx",
        "channel",
        "shipment_id",
        postgresql_where=text("class = 'SALE' and shipment_id is not null and order_id is not null"),
    ),
    Index(
        "money_line_adjustment_id_idx", "channel", "adjustment_id", postgresql_where=text("adjustment_id is not null")
    ),
    Index(
        "money_line_estimate_idx",
        "order_id",
        postgresql_where=text("source = 'ESTIMATE' and replaced_at is null and order_id is not null"),
    ),
    Index(
        "money_line_reserve_idx", "settlement_id", postgresql_where=text("class = 'RESERVE' and replaced_at is null")
    ),
    Index(
        "money_line_open_idx",
        "channel",
        "order_external_id",
        postgresql_where=text("cause is not null and replaced_at is null"),
    ),
    # Not by their words, which may be longer than an index can hold.
    Index(
        "money_line_unclassified_idx",
        "channel",
        "id",
        postgresql_where=text("class = 'UNCLASSIFIED' and replaced_at is null"),
    ),
    # Of estimates that lack what is taken, until somebody tells.
    Index(
        "money_line_feeless_idx",
        "channel",
        "channel_sku",
        postgresql_where=text("description = 'fees not known' and replaced_at is null"),
    ),
    Index(
        "money_line_residual_idx",
        "settlement_id",
        "id",
        postgresql_where=text("settlement_id is not null and cause is not null and replaced_at is null"),
    ),
)

# Orders whose estimates wait to be worked out anew, each once.
estimate_due = Table(
    "estimate_due",
    metadata,
    Column("order_id", Text, primary_key=True),
    instant("since", now=True),
    Index("estimate_due_since_idx", "since"),
)

# What people tied by hand: `line` stands for the line that stood `before` it, because they said so.
money_assignment = Table(
    "money_assignment",
    metadata,
    Column("line", BigInteger, ForeignKey("money_line.id"), primary_key=True),
    Column("before", BigInteger, ForeignKey("money_line.id"), nullable=False, unique=True),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    instant("at", now=True),
)
