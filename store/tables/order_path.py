"""By which paths orders come: what has to be read alone, and what was compared."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# Orders of which a report has told something newer, or more, than the order as we have it: to be read alone.
order_unread = Table(
    "order_unread",
    metadata,
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), primary_key=True),
    # The newest version that was told of.
    instant("told_at"),
    instant("due_at", now=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    Index("order_unread_due_at_idx", "due_at"),
)

# One business day of one channel, compared with what the channel tells of it: by its API, and by a report where there are any.
order_compare = Table(
    "order_compare",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    instant("due_at", now=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    instant("done_at", nullable=True),
    # How many orders each tells of; null where it was not asked.
    Column("ours", Integer),
    Column("api", Integer),
    Column("report", Integer),
    # False where the API's share of the budget ended before the day did.
    Column("api_whole", Boolean, nullable=False, server_default=text("true")),
    Column("differences", Integer),
    Column("healed", Integer),
    Column("reason", Text),
)

order_difference = Table(
    "order_difference",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("ours", JSONB),
    Column("api", JSONB),
    Column("report", JSONB),
    instant("found_at", now=True),
    instant("healed_at", nullable=True),
    UniqueConstraint("channel", "day", "external_id", "cause"),
    words(
        "cause",
        "MISSING_HERE",
        "MISSING_THERE",
        "OLDER_HERE",
        "STATUS",
        "QUANTITY",
        "TOTAL",
        "LATE",
        "NOT_UNDERSTOOD",
    ),
    Index("order_difference_open_idx", "channel", "id", postgresql_where=text("healed_at is null")),
)
