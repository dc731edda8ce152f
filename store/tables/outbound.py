"""Orders that another platform's stock ships."""

from __future__ import annotations

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata
from store.tables.operation import operation_item

# An order that the platform has taken under our id, as it was seen last.
outbound_order = Table(
    "outbound_order",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("operation_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("location", Text, nullable=False),
    # What was asked for, without the person.
    Column("wanted", JSONB, nullable=False),
    # What was known of speed and cost then.
    Column("preview", JSONB),
    Column("status", Text, nullable=False),
    Column("channel_status", Text),
    instant("taken_at", now=True),
    # Since when the platform's own count is without its units; until then they stay promised where they were.
    instant("counted_at", nullable=True),
    instant("seen_at", nullable=True),
    # When to look next; null when there is nothing more to see.
    instant("due_at", nullable=True),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("trouble", Text),
    Index("outbound_order_order_id_idx", "order_id"),
    Index("outbound_order_due_at_idx", "due_at", postgresql_where=text("due_at is not null")),
    Index("outbound_order_uncounted_idx", "channel", "location", postgresql_where=text("counted_at is null")),
)

outbound_line = Table(
    "outbound_line",
    metadata,
    Column("outbound_id", Text, ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
    Column("line_id", Text, primary_key=True),
    Column("channel_sku", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("unfulfillable", Integer, nullable=False, server_default="0"),
    CheckConstraint("quantity > 0 and cancelled >= 0 and unfulfillable >= 0", name="counts"),
)

# Its parcels. `operation_id` is the operation that confirmed one to the channel that sold the order.
outbound_package = Table(
    "outbound_package",
    metadata,
    Column("outbound_id", Text, ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("carrier", Text),
    Column("tracking_number", Text),
    instant("shipped_at", nullable=True),
    instant("arrives_at", nullable=True),
    # Our line ids with units.
    Column("lines", JSONB, nullable=False),
    Column("whereabouts", Text),
    Column("channel_status", Text),
    Column("operation_id", Text),
    Column("trouble", Text),
)

# Units that come back, each with an id of ours or, announced at the platform itself, of whoever did that. `operation_id` is what
# announced one from here.
outbound_return = Table(
    "outbound_return",
    metadata,
    Column("outbound_id", Text, ForeignKey("outbound_order.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("line_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rma", Text),
    Column("center", Text),
    Column("processed", Boolean, nullable=False),
    Column("condition", Text),
    instant("announced_at"),
    instant("changed_at"),
    Column("operation_id", Text),
)

# Items that wait for people who want to know first what it would cost: few, among the many of all times.
UNQUOTED = "capability = 'outbound' and not released and status = 'PENDING' and not payload ? 'quote'"
Index("operation_item_unquoted_idx", operation_item.c.id, postgresql_where=text(UNQUOTED))
