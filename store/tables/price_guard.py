"""The guards of prices: all sets there ever were, and how often they were run into."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# Every set of guards there ever was, as `domain.price_guard.to_json`; the newest holds.
price_guards = Table(
    "price_guards",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("guards", JSONB, nullable=False),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
)

# How many rows of one request or batch ran into a guard: for the metrics. A row each, since all would wait for one counter.
price_guard_hit = Table(
    "price_guard_hit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    instant("at", now=True),
    Column("guard", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("hits", Integer, nullable=False),
    words("action", "HOLD", "REFUSE"),
    Index("price_guard_hit_at_idx", "at"),
)
