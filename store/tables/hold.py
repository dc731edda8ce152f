"""Orders that we keep from going on."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata

order_hold = Table(
    "order_hold",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("words", Text, nullable=False),
    # The rule that asked for it; each holds an order once, however often it comes in again.
    Column("rule", Text),
    # Only somebody else may end it, and says so.
    Column("approval", Boolean, nullable=False),
    Column("made_by", Text, nullable=False),
    instant("made_at"),
    # Until when the order keeps its units; null is as long as it is held. `lapsed_at` is when that time was seen to be over.
    instant("keeps_until", nullable=True),
    instant("lapsed_at", nullable=True),
    instant("ended_at", nullable=True),
    Column("ended_by", Text),
    Index("order_hold_order_id_idx", "order_id"),
    Index("order_hold_rule_idx", "order_id", "rule", unique=True, postgresql_where=text("rule is not null")),
    Index(
        "order_hold_keeps_until_idx",
        "keeps_until",
        postgresql_where=text("ended_at is null and lapsed_at is null and keeps_until is not null"),
    ),
)

# Which orders are held as they come in.
hold_rule = Table(
    "hold_rule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("conditions", JSONB, nullable=False),
    Column("keeps_s", Float),
    Column("approval", Boolean, nullable=False),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
)
