"""Files of settlements as they came: Amazon gives them for 90 days, so the first sight is the one to keep."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.tables.base import instant, metadata, words

# READING: it is still coming (without a `sha256`), or it is read, or will be. KEPT: its settlement is in the books. REFUSED:
# nothing of it is, for the `reason`.
finance_file = Table(
    "finance_file",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Who brought it: a stream, or a person.
    Column("brought_by", Text, nullable=False),
    # The channel's reports that had just these bytes.
    Column("reports", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # What came along with it says of its charset, and the marketplace; empty where nothing does.
    Column("content_type", Text, nullable=False, server_default=""),
    Column("marketplace", Text),
    # Of its bytes, unpacked. Of one that cannot be unpacked: of what came.
    Column("sha256", Text),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    # Whether all of it is UTF-8.
    Column("utf8", Boolean, nullable=False, server_default=text("true")),
    Column("state", Text, nullable=False, server_default="READING"),
    Column("reason", Text),
    # Of its settlement; none until that is in the books.
    Column("rows_read", Integer, nullable=False, server_default="0"),
    # How it is written, as far as it was read.
    Column("dialect", JSONB),
    Column("settlement_id", Text, ForeignKey("settlement.id")),
    # Until then it may be coming still.
    instant("due_at", now=True),
    instant("at", now=True),
    instant("ended_at", nullable=True),
    words("state", "READING", "KEPT", "REFUSED"),
    Index("finance_file_channel_sha256_key", "channel", "sha256", unique=True),
    Index("finance_file_at_id_idx", text("at DESC"), text("id DESC")),
    Index("finance_file_settlement_id_idx", "settlement_id"),
)

# The bytes, a mebibyte at a time, each packed by itself: one behind the other they are a gzip file.
finance_file_part = Table(
    "finance_file_part",
    metadata,
    Column("file", Text, ForeignKey("finance_file.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("packed", LargeBinary, nullable=False),
)
