"""What is told of parcels by others than their channels."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# A row of a delivery or of a file: it waits for its turn, has come to something, or to nothing yet. Nothing of a person's.
tracking_row = Table(
    "tracking_row",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("source", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("actor", Text, nullable=False),
    # Those that its sender may speak for; null for all.
    Column("channels", JSONB(none_as_null=True)),
    Column("told", JSONB, nullable=False),
    Column("tracking_number", Text),
    Column("order_name", Text),
    Column("state", Text, nullable=False),
    Column("code", Text),
    Column("reason", Text),
    Column("order_id", Text),
    Column("operation_id", Text),
    Column("tries", Integer, nullable=False, server_default="0"),
    instant("at", now=True),
    # When it is looked at (again); null: not by itself.
    instant("due_at", nullable=True),
    UniqueConstraint("source", "delivery", "kind", "number"),
    words("kind", "PARCEL", "EVENT"),
    words("state", "WAITING", "DONE", "PROBLEM"),
    Index("tracking_row_due_idx", "due_at", "id", postgresql_where=text("due_at is not null")),
    Index("tracking_row_problem_idx", "id", postgresql_where=text("state = 'PROBLEM'")),
    Index("tracking_row_order_name_idx", "order_name", postgresql_where=text("state = 'PROBLEM'")),
    Index("tracking_row_tracking_number_idx", "tracking_number"),
    Index("tracking_row_done_idx", "at", postgresql_where=text("state = 'DONE'")),
)

# Where parcels of orders were, by whoever told it; each once.
parcel_event = Table(
    "parcel_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("tracking_number", Text, nullable=False),
    Column("status", Text, nullable=False),
    instant("at"),
    Column("source", Text, nullable=False),
    instant("received_at", now=True),
    UniqueConstraint("order_id", "tracking_number", "status", "at"),
    Index("parcel_event_tracking_number_idx", "tracking_number", "at"),
)
