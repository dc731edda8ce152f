"""Journals that were closed, and what banks book."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
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

# One booking of a bank account, once, from whichever file. Never changed.
bank_line = Table(
    "bank_line",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account", Text, nullable=False),
    # What it is called among the account's.
    Column("key", Text, nullable=False),
    Column("booked_on", Date, nullable=False),
    Column("valued_on", Date),
    Column("amount", Numeric, nullable=False),
    Column("currency", Text, nullable=False),
    Column("words", Text, nullable=False),
    Column("party", Text),
    # What in its words may be the name of a payout.
    Column("names", ARRAY(Text), nullable=False),
    instant("kept_at", now=True),
    Index("bank_line_booked_on_id_idx", text("booked_on DESC"), text("id DESC")),
    Index("bank_line_amount_currency_idx", "amount", "currency"),
    Index("bank_line_names_idx", "names", postgresql_using="gin"),
)

# Which payout a line is; null where somebody said that it is none. Never changed but for `replaced_at` and `replaced_why`.
bank_match = Table(
    "bank_match",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("bank_line_id", Text, ForeignKey("bank_line.id"), nullable=False),
    Column("settlement_id", Text, ForeignKey("settlement.id")),
    Column("rule", Text, nullable=False),
    Column("made_by", Text),
    Column("reason", Text),
    instant("made_at", now=True),
    instant("replaced_at", nullable=True),
    Column("replaced_why", Text),
    words("rule", "PERSON", "REFERENCE", "AMOUNT_DATE"),
    CheckConstraint("rule = 'PERSON' or settlement_id is not null", name="none"),
    CheckConstraint("(rule = 'PERSON') = (made_by is not null)", name="person"),
    CheckConstraint("(replaced_at is null) = (replaced_why is null)", name="replaced"),
    Index("bank_match_line_key", "bank_line_id", unique=True, postgresql_where=text("replaced_at is null")),
    Index(
        "bank_match_settlement_key",
        "settlement_id",
        unique=True,
        postgresql_where=text("replaced_at is null and settlement_id is not null"),
    ),
)
