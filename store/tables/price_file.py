"""Files of prices: kept as rows first, so that whoever dies over one leaves it to the next."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

price_file = Table(
    "price_file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("requested_by", Text, nullable=False),
    # The caller's own name for it, else what is in it: the same again is the same file.
    Column("key", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="WAITING"),
    Column("rows", Integer, nullable=False, server_default="0"),
    # How many rows were looked at by who has it in hand now, how often it was begun, and when it is anybody's again.
    Column("looked", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    instant("due_at"),
    # Rows by what became of them, once it is DONE.
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("operation", Text),
    Column("problem", Text),
    instant("created_at", now=True),
    instant("ended_at", nullable=True),
    UniqueConstraint("requested_by", "key", "dry_run"),
    words("state", "WAITING", "DONE", "FAILED"),
    Index("price_file_due_idx", "due_at", postgresql_where=text("state = 'WAITING'")),
)

# A row whose file is DONE and that has no result was taken. One whose price could not be read has none, and is refused at once.
price_file_row = Table(
    "price_file_row",
    metadata,
    Column("file", Text, ForeignKey("price_file.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    # As `domain.price.Price.told`.
    Column("price", JSONB),
    Column("result", Text),
    Column("reason", Text, nullable=False, server_default=""),
    words("result", "HELD", "UNCHANGED", "REFUSED"),
)
