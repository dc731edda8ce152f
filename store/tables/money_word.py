"""Words for money that no table of ours knows."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Table, Text, text

from store.tables.base import instant, metadata, words

# One combination of words each, since it was first seen; what people say of it is another row. Never changed but for
# `replaced_at` and `followed_at`. `key` is what the words have in common with all of their spellings.
money_word = Table(
    "money_word",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("words", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_kind", Text, nullable=False),
    Column("description", Text, nullable=False),
    # What people say; nothing while nobody has said anything.
    Column("event", Text),
    Column("class", Text),
    Column("by", Text),
    Column("reason", Text),
    instant("known_at", now=True),
    instant("replaced_at", nullable=True),
    # When lines followed that were classed by what people had said before.
    instant("followed_at", nullable=True),
    words("event", "SALE", "REFUND", "ACCOUNT"),
    CheckConstraint("num_nonnulls(event, class, by, reason) in (0, 4)", name="said"),
    Index("money_word_words_key_key", "words", "key", unique=True, postgresql_where=text("replaced_at is null")),
)
