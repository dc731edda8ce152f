"""What banks book, and which payouts they are."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    Table,
    Text,
    text,
)

from store.tables.base import instant, metadata, words

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
