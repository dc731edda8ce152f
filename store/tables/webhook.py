"""Who is told of events."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from store.tables.base import instant, metadata, words

# Who is told of events, and how far. The secrets are encrypted under the keys of the settings.
webhook = Table(
    "webhook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("channels", ARRAY(Text), nullable=False),
    Column("skus", ARRAY(Text), nullable=False),
    Column("format", Text, nullable=False),
    Column("hook", Boolean, nullable=False),
    # The name that keys are made under: while none of them lives, nothing is delivered.
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
    Column("sealed", Text, nullable=False),
    Column("previous", Text),
    instant("previous_until", nullable=True),
    Column("state", Text, nullable=False, server_default="ACTIVE"),
    Column("reason", Text),
    # Deliveries are made up to here; up to `replay_until` for another time.
    Column("seq", BigInteger, nullable=False),
    Column("replay_until", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    instant("due_at", now=True),
    instant("last_success_at", nullable=True),
    Column("last_error", Text),
    words("format", "CLOUDEVENTS", "FLAT"),
    words("state", "ACTIVE", "PAUSED"),
    CheckConstraint("(state = 'PAUSED') = (reason is not null)", name="reason"),
    Index("webhook_made_by_idx", "made_by"),
)

# One event for one of them. Of one object they go in the order of their places.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("webhook", Text, ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("place", BigInteger, nullable=False),
    instant("at"),
    # As JSON; null until somebody is about to send it first.
    Column("data", Text),
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("replayed", Boolean, nullable=False, server_default=text("false")),
    # Grows with every claim: who comes back too late settles nothing.
    Column("attempts", Integer, nullable=False, server_default="0"),
    instant("made_at", now=True),
    instant("first_at", nullable=True),
    instant("due_at", now=True),
    words("state", "PENDING", "DELIVERED", "FAILED"),
    Index("webhook_delivery_place_idx", "webhook", "place", "id"),
    Index("webhook_delivery_object_idx", "webhook", "object", "place", postgresql_where=text("state = 'PENDING'")),
    Index("webhook_delivery_due_idx", "webhook", "due_at", postgresql_where=text("state = 'PENDING'")),
    Index("webhook_delivery_failed_idx", "webhook", "place", "id", postgresql_where=text("state = 'FAILED'")),
    Index("webhook_delivery_made_at_idx", "made_at"),
)

# Every try, without what was sent.
webhook_attempt = Table(
    "webhook_attempt",
    metadata,
    Column("webhook", Text, primary_key=True),
    Column("delivery", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    instant("at"),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("problem", Text),
    Column("answer", Text),
    ForeignKeyConstraint(
        ["webhook", "delivery"], ["webhook_delivery.webhook", "webhook_delivery.id"], ondelete="CASCADE"
    ),
)
