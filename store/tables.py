"""All tables. The database itself refuses what would break a promise: the constraints here are the last word.

Times are `timestamptz` and aware; money is `numeric` beside its currency; ids of platforms are text.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _time(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    """An instant."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=func.now() if now else None)


def _words(name: str, *words: str) -> CheckConstraint:
    """A text column that holds one of `words`."""
    return CheckConstraint(f"{name} in ({', '.join(repr(word) for word in words)})", name=name)


# Channels are configured in a file; these rows hold what only the running system knows of them.
channel_state = Table(
    "channel_state",
    metadata,
    Column("channel", Text, primary_key=True),
    _time("paused_until", nullable=True),
    Column("paused_reason", Text),
    _time("updated_at", now=True),
)

sync_stream = Table(
    "sync_stream",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("every", Interval, nullable=False),
    _time("cursor", nullable=True),
    _time("due_at", now=True),
    _time("lease_until", nullable=True),
    # Asked for again since the run under way began: that run's end must not undo it.
    Column("forced", Boolean, nullable=False, server_default=text("false")),
    _time("last_success_at", nullable=True),
    Column("last_error", Text),
)

# The last use of each budget outlives Redis, so that a flushed Redis is not taken for unused limits.
budget_use = Table(
    "budget_use",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    _time("used_at"),
)

product = Table(
    "product",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("brand", Text),
    Column("cost_amount", Numeric),
    Column("cost_currency", Text),
    Column("attributes", JSONB, nullable=False, server_default=text("'[]'")),
    _time("updated_at", now=True),
)

listing = Table(
    "listing",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text, nullable=False, server_default=""),
    Column("channel_sku", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("sku", Text, ForeignKey("product.sku")),
    Column("title", Text),
    Column("status", Text, nullable=False),
    Column("fulfilled_by", Text, nullable=False),
    Column("price_amount", Numeric),
    Column("price_currency", Text),
    Column("sale_amount", Numeric),
    Column("sale_currency", Text),
    Column("url", Text),
    Column("issues", JSONB, nullable=False, server_default=text("'[]'")),
    Column("refs", JSONB, nullable=False, server_default=text("'{}'")),
    _time("as_of"),
    # As with orders, the id is made of the three.
    Index("listing_channel_marketplace_channel_sku_idx", "channel", "marketplace", "channel_sku"),
    _words("fulfilled_by", "MERCHANT", "CHANNEL"),
    Index("listing_sku_idx", "sku"),
)

# One row per place and channel SKU: the newest reading.
stock_level = Table(
    "stock_level",
    metadata,
    Column("location", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("channel_sku", Text, primary_key=True),
    Column("on_hand", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("inbound", Integer, nullable=False),
    _time("as_of"),
    Index("stock_level_channel_sku_idx", "channel_sku", "channel"),
)

order = Table(
    "order",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("marketplace", Text),
    Column("external_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("channel_status", Text, nullable=False),
    Column("fulfilled_by", Text, nullable=False),
    _time("placed_at"),
    _time("updated_at"),
    _time("ship_by", nullable=True),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    Column("shipments", JSONB, nullable=False, server_default=text("'[]'")),
    Column("refs", JSONB, nullable=False, server_default=text("'{}'")),
    # The id is made of the two, so the primary key holds that there is one; a second unique index would race with ON CONFLICT.
    Index("order_channel_external_id_idx", "channel", "external_id"),
    _words("fulfilled_by", "MERCHANT", "CHANNEL"),
    _words("status", "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "DELIVERED", "CANCELLED", "ON_HOLD"),
    Index("order_placed_at_id_idx", text("placed_at DESC"), text("id DESC")),
    Index("order_updated_at_idx", "updated_at"),
    Index("order_external_id_idx", "external_id"),
)

order_line = Table(
    "order_line",
    metadata,
    Column("id", Text, primary_key=True),
    Column("order_id", Text, ForeignKey("order.id", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    Column("sku", Text),
    Column("title", Text),
    Column("quantity", Integer, nullable=False),
    Column("quantity_shipped", Integer, nullable=False),
    Column("unit_amount", Numeric),
    Column("unit_currency", Text),
    Column("total_amount", Numeric),
    Column("total_currency", Text),
    UniqueConstraint("order_id", "external_id"),
    CheckConstraint("quantity >= 0 and quantity_shipped >= 0", name="counts"),
    Index("order_line_sku_idx", "sku"),
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
    _time("first_at", now=True),
    _time("last_at", now=True),
    Column("times", Integer, nullable=False, server_default="1"),
    UniqueConstraint("channel", "what", "key", "reason"),
)

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
    _time("created_at", now=True),
    _time("finished_at", nullable=True),
    # A repeated mutation finds the first operation: this constraint decides, not a look beforehand.
    UniqueConstraint("requested_by", "idempotency_key"),
    _words(
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
    _time("due_at", now=True),
    _time("lease_until", nullable=True),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("leased_by", Text),
    # Claims since the last record: one that ended without a record counts until somebody records.
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Read-backs since the last send.
    Column("checks", Integer, nullable=False, server_default="0"),
    _time("sent_at", nullable=True),
    # The claim that sent last, and whose it was: several requests under one claim are one attempt.
    Column("sent_fence", BigInteger),
    Column("sent_by", Text),
    _time("accepted_at", nullable=True),
    _time("ended_at", nullable=True),
    Column("before", Text),
    Column("after", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("upstream_request_id", Text),
    _words("status", "PENDING", "SENT", "ACCEPTED", "VERIFIED", "FAILED", "PARKED", "CANCELLED", "SUPERSEDED"),
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
        "operation_item_resource_idx",
        "resource",
        "id",
        postgresql_where=text("released and status in ('PENDING', 'SENT')"),
    ),
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
    _time("at", now=True),
    Index("event_unrelayed_idx", "id", postgresql_where=text("seq is null")),
    Index("event_subject_idx", "subject", "seq"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of a 256-bit random secret: a stolen table opens nothing.
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    _time("created_at", now=True),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
)

worker_beat = Table(
    "worker_beat",
    metadata,
    Column("worker", Text, primary_key=True),
    _time("at", now=True),
)
