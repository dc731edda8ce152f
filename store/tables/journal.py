"""Journals that were closed."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# One journal that was closed: numbered without gaps, and never changed. What is known better is another one, which adjusts it.
journal = Table(
    "journal",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    # Sorted; none: of all channels.
    Column("channels", ARRAY(Text), nullable=False),
    instant("known_at"),
    Column("chart", Text, nullable=False),
    Column("accounts", JSONB, nullable=False),
    Column("uncosted", JSONB, nullable=False),
    # Of the whole as it was known, whatever of it was booked before.
    Column("digest", Text, nullable=False),
    Column("adjusts", Integer, ForeignKey("journal.number")),
    Column("booked_on", Date),
    Column("closed_by", Text, nullable=False),
    instant("closed_at", now=True),
    CheckConstraint("last_day >= first_day", name="period"),
    CheckConstraint("number > 0", name="number"),
    Index("journal_first_day_idx", "first_day"),
)

# One amount on an account, above 0 on its debit side, and as much on the other side of `contra`.
journal_posting = Table(
    "journal_posting",
    metadata,
    Column("journal", Integer, ForeignKey("journal.number"), primary_key=True),
    Column("entry", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text),
    Column("settlement_id", Text, ForeignKey("settlement.id")),
    Column("reference", Text),
    Column("currency", Text, nullable=False),
    Column("contra", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("amount", Numeric, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("event", Text),
    Column("class", Text),
    Column("units", Integer),
    Column("rounded", Numeric, nullable=False),
    # Of lines that are not tied out.
    Column("suspense", Boolean, nullable=False),
    words("kind", "LINES", "GOODS", "PAYOUT"),
    Index("journal_posting_settlement_id_idx", "settlement_id", postgresql_where=text("settlement_id is not null")),
)
