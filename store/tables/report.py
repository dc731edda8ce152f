"""Files of reports that people asked for."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, Table, Text

from store.tables.base import instant, metadata

report = Table(
    "report",
    metadata,
    Column("item", BigInteger, ForeignKey("operation_item.id"), primary_key=True, autoincrement=False),
    Column("content_type", Text, nullable=False),
    # Of the file itself, which is kept packed. Nothing of buyers is in it, so it is not sealed.
    Column("bytes", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    instant("kept_at", now=True),
    Index("report_kept_at_idx", "kept_at"),
)
