"""Labels that were bought."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Numeric, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

label = Table(
    "label",
    metadata,
    # The reference under which it was bought.
    Column("id", Text, primary_key=True),
    Column("shop", Text, nullable=False),
    Column("order_id", Text, ForeignKey("order.id"), nullable=False),
    Column("operation_id", Text, ForeignKey("operation.id"), nullable=False),
    Column("location", Text, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("format", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("price_amount", Numeric, nullable=False),
    Column("price_currency", Text, nullable=False),
    Column("tracking_number", Text),
    Column("shipment_id", Text),
    Column("confirms_order", Boolean, nullable=False),
    Column("confirmed_by", Text, ForeignKey("operation.id")),
    Column("replaces", Text, ForeignKey("label.id")),
    Column("missing", Text),
    Column("whereabouts", Text),
    # The document, encrypted: it shows who lives where.
    Column("sealed", Text),
    instant("bought_at", now=True),
    instant("checked_at", now=True),
    UniqueConstraint("shop", "shipment_id"),
    words("status", "BOUGHT", "REFUND_PENDING", "REFUNDED", "REFUND_REFUSED"),
    words("format", "PDF", "PNG", "ZPL203", "ZPL300"),
    Index("label_order_id_idx", "order_id"),
    Index("label_tracking_number_idx", "tracking_number"),
    Index("label_checked_at_idx", "checked_at", postgresql_where=text("status in ('BOUGHT', 'REFUND_PENDING')")),
    Index("label_sealed_idx", "bought_at", postgresql_where=text("sealed is not null")),
)
