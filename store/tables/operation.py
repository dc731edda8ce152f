"""Operations and the log of events."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
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

# What operations change of an order waits in line under this name.
ABOUT_AN_ORDER = "resource like 'order:%'"

operation = Table(
    "operation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("correlation_id", Text),
    Column("reverts", Text, ForeignKey("operation.id")),
    Column("approved_by", Text),
    # The progress last told to people, counted from the items.
    Column("total", Integer, nullable=False, server_default="0"),
    Column("accepted", Integer, nullable=False, server_default="0"),
    Column("verified", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    instant("created_at", now=True),
    instant("finished_at", nullable=True),
    # A repeated mutation finds the first operation: this constraint decides, not a look beforehand.
    UniqueConstraint("requested_by", "idempotency_key"),
    words(
        "status",
        "PREVIEW",
        "AWAITING_APPROVAL",
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
        "PARTIAL",
        "FAILED",
        "CANCELLED",
    ),
    Index("operation_created_at_id_idx", text("created_at DESC"), text("id DESC")),
)

operation_item = Table(
    "operation_item",
    metadata,
    # The id is also the parcel's reference at the platforms: a positive number that no other item ever has.
    Column("id", BigInteger, Identity(start=100001), primary_key=True),
    Column("operation_id", Text, ForeignKey("operation.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("capability", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("status", Text, nullable=False, server_default="PENDING"),
    # False while the operation waits for people (a preview, an approval): no lane touches the item.
    Column("released", Boolean, nullable=False),
    instant("due_at", now=True),
    # By when it must have reached its channel, where there is such a time.
    instant("deadline_at", nullable=True),
    instant("lease_until", nullable=True),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("leased_by", Text),
    # Claims since the last record: one that ended without a record counts until somebody records.
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Read-backs since the last send.
    Column("checks", Integer, nullable=False, server_default="0"),
    instant("sent_at", nullable=True),
    # The claim that sent last, and whose it was: several requests under one claim are one attempt.
    Column("sent_fence", BigInteger),
    Column("sent_by", Text),
    instant("accepted_at", nullable=True),
    instant("ended_at", nullable=True),
    Column("before", Text),
    Column("after", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("upstream_request_id", Text),
    words("status", "PENDING", "SENT", "ACCEPTED", "VERIFIED", "FAILED", "PARKED", "CANCELLED", "SUPERSEDED"),
    Index("operation_item_operation_id_id_idx", "operation_id", "id"),
    Index(
        "operation_item_due_idx",
        "channel",
        "capability",
        "due_at",
        "id",
        postgresql_where=text("released and status in ('PENDING', 'SENT', 'ACCEPTED')"),
    ),
    Index(
        "operation_item_urgent_idx",
        "channel",
        "capability",
        "deadline_at",
        "due_at",
        "id",
        postgresql_where=text("released and deadline_at is not null and status in ('PENDING', 'SENT')"),
    ),
    Index("operation_item_refund_idx", "resource", postgresql_where=text("capability = 'refunds'")),
    Index("operation_item_verified_idx", "capability", "ended_at", postgresql_where=text("status = 'VERIFIED'")),
    Index(
        "operation_item_resource_idx",
        "resource",
        "id",
        postgresql_where=text("released and status in ('PENDING', 'SENT')"),
    ),
    Index("operation_item_order_idx", "resource", postgresql_where=text(ABOUT_AN_ORDER)),
)

# `seq` is given by the relay, in one order and without gaps, to rows whose transaction every reader can see.
event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("seq", BigInteger, unique=True),
    # The writing transaction; rows at or above the oldest one still running are not relayed yet.
    Column("xid", BigInteger, nullable=False, server_default=text("(pg_current_xact_id()::text::bigint)")),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("data", JSONB, nullable=False),
    instant("at", now=True),
    Index("event_unrelayed_idx", "id", postgresql_where=text("seq is null")),
    Index("event_subject_idx", "subject", "seq"),
)
