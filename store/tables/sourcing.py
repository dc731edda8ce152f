"""By which rules it is chosen from where orders are sent, and what was chosen."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Date, ForeignKey, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata

# Every set of rules there ever was; the newest holds. Null: none does.
sourcing_rules = Table(
    "sourcing_rules",
    metadata,
    Column("version", BigInteger, Identity(), primary_key=True),
    Column("rules", JSONB(none_as_null=True)),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
)

# What was chosen for an order, with the reasons of what was not; nothing in it is a person's.
sourcing_decision = Table(
    "sourcing_decision",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("version", BigInteger, nullable=False),
    instant("at"),
    # SKUs that it found no place for; they are decided about anew when the rules have changed.
    Column("unplaced", Integer, nullable=False),
    Column("decision", JSONB, nullable=False),
    Index("sourcing_decision_order_id_id_idx", "order_id", "id"),
    Index("sourcing_decision_at_idx", "at"),
    Index("sourcing_decision_version_idx", "version", postgresql_where=text("unplaced > 0")),
)

# How many units of an order leave a place on which day, as far as was decided.
sourcing_parcel = Table(
    "sourcing_parcel",
    metadata,
    Column("decision_id", BigInteger, ForeignKey("sourcing_decision.id", ondelete="CASCADE"), primary_key=True),
    Column("location", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("leaves_on", Date, nullable=False),
    Column("units", Integer, nullable=False),
    Index("sourcing_parcel_location_leaves_on_idx", "location", "leaves_on"),
)
