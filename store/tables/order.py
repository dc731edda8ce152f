"""Orders, and what they take from the ledger."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

order = Table(
    "order",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text),
    Column("external_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("channel_status", Text, nullable=False),
    Column("fulfilled_by", Text, nullable=False),
    instant("placed_at"),
    instant("updated_at"),
    instant("ship_by", nullable=True),
    instant("deliver_by", nullable=True),
    Column("service", Text),
    Column("country", Text),
    Column("area", Text),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    Column("shipments", JSONB, nullable=False, server_default=text("'[]'")),
    Column("refs", JSONB, nullable=False, server_default=text("'{}'")),
    # What belongs to no line: [kind, amount, currency], and true behind it where other parts contain it.
    Column("charges", JSONB, nullable=False, server_default=text("'[]'")),
    Column("charged_amount", Numeric),
    Column("charged_currency", Text),
    Column("prices_with_tax", Boolean),
    instant("delivered_at", nullable=True),
    Column("whole", Boolean, nullable=False, server_default=text("true")),
    instant("read_at", nullable=True),
    # Why we hold it, in words; null while we do not. `let_go`: held past the time for which it kept its units.
    Column("held", Text),
    Column("let_go", Boolean, nullable=False, server_default="false"),
    # The buyer asks its channel for a cancellation.
    Column("cancellation_requested", Boolean, nullable=False, server_default="false"),
    # The id is made of the two, so the primary key holds that there is one; a second unique index would race with ON CONFLICT.
    Index("order_channel_external_id_idx", "channel", "external_id"),
    words("fulfilled_by", "MERCHANT", "CHANNEL"),
    words("status", "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "DELIVERED", "CANCELLED", "ON_HOLD"),
    Index("order_placed_at_id_idx", text("placed_at DESC"), text("id DESC")),
    Index("order_updated_at_idx", "updated_at"),
    Index("order_external_id_idx", "external_id"),
    Index("order_name_idx", text("(refs ->> 'name')")),
    # What waits to be put into it (`fastupdate`) is read through by each of the thousands that a settlement asks for.
    Index(
        "order_shipments_idx",
        "shipments",
        postgresql_using="gin",
        postgresql_ops={"shipments": "jsonb_path_ops"},
        postgresql_with={"fastupdate": "off"},
    ),
    Index(
        "order_open_idx",
        "channel",
        "ship_by",
        "id",
        postgresql_where=text("fulfilled_by = 'MERCHANT' and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED', 'ON_HOLD')"),
    ),
)

order_line = Table(
    "order_line",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    Column("sku", Text),
    Column("title", Text),
    Column("quantity", Integer, nullable=False),
    Column("quantity_shipped", Integer, nullable=False),
    Column("unit_amount", Numeric),
    Column("unit_currency", Text),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    Column("quantity_cancelled", Integer, nullable=False, server_default="0"),
    Column("cancelled_by", Text),
    Column("charges", JSONB, nullable=False, server_default=text("'[]'")),
    UniqueConstraint("order_id", "external_id"),
    CheckConstraint("quantity >= 0 and quantity_shipped >= 0", name="counts"),
    CheckConstraint("quantity_cancelled >= 0", name="cancelled"),
    words("cancelled_by", "BUYER", "SELLER", "CHANNEL"),
    Index("order_line_sku_idx", "sku"),
)

# What of an order line is promised at which own place, and what has left from there.
order_allocation = Table(
    "order_allocation",
    metadata,
    Column("order_line_id", Text, primary_key=True),
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("location", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("shipped", Integer, nullable=False, server_default="0"),
    instant("changed_at", now=True),
    # Of the quantity, what waits for units that are only announced, and when these are expected.
    Column("backordered", Integer, nullable=False, server_default="0"),
    Column("expected_on", Date),
    CheckConstraint("quantity >= 0 and shipped >= 0", name="counts"),
    Index("order_allocation_order_id_idx", "order_id"),
    Index("order_allocation_backordered_idx", "sku", "location", postgresql_where=text("backordered > 0")),
    Index("order_allocation_promised_idx", "sku", "location", postgresql_where=text("quantity > 0")),
)

# Sales of a marketplace beyond what there was, with the lag that let each in.
oversale = Table(
    "oversale",
    metadata,
    Column("order_line_id", Text, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("units", Integer, nullable=False),
    instant("placed_at"),
    instant("seen_at", now=True),
    # What the channel showed when the order was placed, and since when it had been told otherwise; null where it never was told.
    Column("shown", Integer),
    instant("told_at", nullable=True),
    Column("cause", Text, nullable=False),
    CheckConstraint("units > 0", name="units"),
    Index("oversale_seen_at_idx", "seen_at"),
)

# Who bought, encrypted under the keys of the settings, until it is to be forgotten. What is forgotten leaves its row, so that no
# later reading of the order fills it again.
order_person = Table(
    "order_person",
    metadata,
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), primary_key=True),
    Column("sealed", Text),
    # As of which version of the order.
    instant("told_at"),
    instant("erase_at", nullable=True),
    Index(
        "order_person_erase_at_idx", "erase_at", postgresql_where=text("erase_at is not null and sealed is not null")
    ),
)

# What happened to an order, for people.
order_step = Table(
    "order_step",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("operation_id", Text),
    Column("upstream_request_id", Text),
    UniqueConstraint("order_id", "key"),
)
