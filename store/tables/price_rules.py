"""The rules of prices: all sets there ever were."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata

# Every set of rules there ever was, as JSON values of `domain.price_rules`; the newest holds. Without a rule: none does.
price_rules = Table(
    "price_rules",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("rules", JSONB, nullable=False),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
)
