"""What the running system knows of channels: how far each stream has come, what they told by themselves, and calls to them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    Interval,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.tables.base import instant, metadata, words

# Channels are configured in a file; these rows hold what only the running system knows of them.
channel_state = Table(
    "channel_state",
    metadata,
    Column("channel", Text, primary_key=True),
    instant("paused_until", nullable=True),
    Column("paused_reason", Text),
    instant("updated_at", now=True),
)

# Every channel that was ever configured, as it was last: what is kept of it stays when its lines leave the file.
known_channel = Table(
    "known_channel",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("platform", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sandbox", Boolean, nullable=False),
    Column("marketplaces", ARRAY(Text), nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("zones", JSONB, nullable=False),
)

sync_stream = Table(
    "sync_stream",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("every", Interval, nullable=False),
    instant("cursor", nullable=True),
    instant("due_at", now=True),
    instant("lease_until", nullable=True),
    # Asked for again since the run under way began: that run's end must not undo it.
    Column("forced", Boolean, nullable=False, server_default=text("false")),
    instant("last_success_at", nullable=True),
    Column("last_error", Text),
    # Since when people have stopped it, who and why.
    instant("paused_at", nullable=True),
    Column("paused_by", Text),
    Column("pause_reason", Text),
    # Which way the last run of orders took, and why.
    Column("way", Text),
    Column("way_reason", Text),
)

# The last use of each budget outlives Redis, so that a flushed Redis is not taken for unused limits.
budget_use = Table(
    "budget_use",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    instant("used_at"),
)

# What platforms told of their own accord: ids and times, nothing of what was said. Copies are refused by their id.
hint = Table(
    "hint",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("notification_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("marketplace", Text),
    instant("event_at"),
    instant("received_at", now=True),
    Column("state", Text, nullable=False, server_default="NEW"),
    instant("due_at", now=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    words("state", "NEW", "DONE", "QUARANTINED"),
    UniqueConstraint("channel", "notification_id"),
    Index("hint_waiting_idx", "channel", "kind", "subject", postgresql_where=text("state = 'NEW'")),
    Index("hint_received_at_idx", "received_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", Text, nullable=False),
    instant("first_at", now=True),
    instant("last_at", now=True),
    Column("times", Integer, nullable=False, server_default="1"),
    UniqueConstraint("channel", "what", "key", "reason"),
)

# Every call to a platform, redacted. Its rows lie in partitions of a month each (store/exchange.py), which are made when they are
# needed and dropped when they are too old.
exchange = Table(
    "exchange",
    metadata,
    Column("at", DateTime(timezone=True), primary_key=True),
    # Chosen by who writes it: a batch that is written twice is there once.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer),
    Column("upstream_request_id", Text),
    Column("seconds", Double, nullable=False),
    Column("waited_s", Double, nullable=False),
    # Null: it went well.
    Column("failure", Text),
    # What it was about: order:…, sku:…, item:…, operation:…
    Column("subjects", ARRAY(Text), nullable=False),
    Column("request_headers", Text, nullable=False),
    Column("response_headers", Text, nullable=False),
    Column("request", Text),
    Column("response", Text),
    Column("request_bytes", Integer, nullable=False),
    Column("response_bytes", Integer, nullable=False),
    Index("exchange_subjects_idx", "subjects", postgresql_using="gin"),
    Index("exchange_operation_idx", "channel", "operation", "at"),
    Index(
        "exchange_request_id_idx",
        "upstream_request_id",
        postgresql_where=text("upstream_request_id is not null"),
    ),
    Index("exchange_failed_idx", "failure", "at", postgresql_where=text("failure is not null")),
    postgresql_partition_by="RANGE (at)",
)
