"""Lists that people have made files of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, Table

from store.tables.base import instant, metadata

# The file of an item. It is whole once `done_at` says so; `fence` is that of the claim under which it is written.
export_file = Table(
    "export_file",
    metadata,
    Column("item", BigInteger, ForeignKey("operation_item.id"), primary_key=True, autoincrement=False),
    Column("fence", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False, server_default="0"),
    # Of the file itself, which is kept packed.
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    instant("began_at", now=True),
    instant("done_at", nullable=True),
    Index("export_file_began_at_idx", "began_at"),
)

# The parts of a file, each packed by itself, in their order from 0.
export_part = Table(
    "export_part",
    metadata,
    Column("item", BigInteger, ForeignKey("export_file.item", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)
