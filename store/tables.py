"""All tables. The database itself refuses what would break a promise: the constraints here are the last word.

Times are `timestamptz` and aware; money is `numeric` beside its currency; ids of platforms are text.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
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
from sqlalchemy import event as sa_event
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from store.triggers import STATEMENTS

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
    Index(
        "product_attributes_idx",
        "attributes",
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    ),
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
    # By these names shops tell of what has changed.
    Index("listing_inventory_item_idx", "channel", text("(refs ->> 'inventory_item')")),
    Index("listing_product_idx", "channel", text("(refs ->> 'product')")),
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
    Column("upstream_request_id", Text),
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
    # What it may spend; null for the setting that holds for every key.
    Column("points_per_minute", Integer),
    Column("calls_per_minute", Integer),
    CheckConstraint("points_per_minute > 0 and calls_per_minute > 0", name="budget"),
)

trusted_document = Table(
    "trusted_document",
    metadata,
    # SHA-256 of the text, hexadecimal: by this name clients ask for it.
    Column("id", Text, primary_key=True),
    Column("text", Text, nullable=False),
    _time("registered_at", now=True),
)

worker_beat = Table(
    "worker_beat",
    metadata,
    Column("worker", Text, primary_key=True),
    _time("at", now=True),
)

# ── Stock that is ours to keep ──────────────────────────────────────────────────────────────────────────────────────────
# What can be promised of a SKU, in one row, so that one conditional statement can promise it. Triggers keep the counts
# (store/triggers.py): `on_hand` and `reserved` over the own places, `elsewhere` is what others keep and can be sold, `held` are
# open reservations, those included whose time is over and that nobody has tidied yet.
sku_stock = Table(
    "sku_stock",
    metadata,
    Column("sku", Text, ForeignKey("product.sku", ondelete="CASCADE"), primary_key=True),
    Column("on_hand", BigInteger, nullable=False, server_default="0"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("elsewhere", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    # Null until it has been computed: nothing is kept then.
    Column("safety_stock", BigInteger),
    # Grows with each change; whoever computed from an older one comes too late.
    Column("version", BigInteger, nullable=False, server_default="1"),
    # Since when a change waits to be carried to the channels, and when the sale (or other cause) behind it happened.
    _time("dirty_since", nullable=True, now=True),
    _time("caused_at", nullable=True, now=True),
    # When the numbers change without anybody's doing: a reading grows too old, a rule begins or ends.
    _time("recompute_at", nullable=True),
    CheckConstraint("on_hand >= 0 and reserved >= 0 and held >= 0 and safety_stock >= 0", name="counts"),
    Index("sku_stock_dirty_idx", "dirty_since", postgresql_where=text("dirty_since is not null")),
    Index("sku_stock_recompute_idx", "recompute_at", postgresql_where=text("recompute_at is not null")),
)

# The ledger: rows are only ever added; a trigger refuses everything else.
stock_entry = Table(
    "stock_entry",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("sku", Text, ForeignKey("product.sku"), nullable=False),
    Column("location", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("on_hand", Integer, nullable=False, server_default="0"),
    Column("reserved", Integer, nullable=False, server_default="0"),
    Column("inbound", Integer, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text, unique=True),
    Column("reference", Text),
    Column("reservation_id", Text),
    Column("order_line_id", Text),
    _words(
        "kind",
        "OPENING",
        "EXPECTED",
        "RECEIPT",
        "ADJUSTMENT",
        "COUNT",
        "TRANSFER",
        "RETURN",
        "ALLOCATION",
        "RELEASE",
        "SHIPMENT",
    ),
    CheckConstraint("reason <> '' and actor <> '' and source <> ''", name="told"),
    CheckConstraint("kind not in ('ALLOCATION', 'RELEASE') or (on_hand = 0 and inbound = 0)", name="promise"),
    CheckConstraint(
        "kind not in ('OPENING', 'COUNT', 'ADJUSTMENT', 'TRANSFER', 'RETURN') or reserved = 0", name="goods"
    ),
    Index("stock_entry_sku_location_id_idx", "sku", "location", "id"),
    Index("stock_entry_location_id_idx", "location", "id"),
    Index("stock_entry_order_line_id_idx", "order_line_id", postgresql_where=text("order_line_id is not null")),
    Index("stock_entry_reservation_id_idx", "reservation_id", postgresql_where=text("reservation_id is not null")),
)

stock_balance = Table(
    "stock_balance",
    metadata,
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("location", Text, primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("inbound", BigInteger, nullable=False),
    _time("changed_at"),
    CheckConstraint("on_hand >= 0", name="on_hand"),
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("inbound >= 0", name="inbound"),
    Index("stock_balance_location_idx", "location"),
)

reservation = Table(
    "reservation",
    metadata,
    Column("id", Text, primary_key=True),
    Column("requested_by", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_hash", Text, nullable=False),
    Column("channel", Text),
    Column("reference", Text),
    Column("lines", JSONB, nullable=False),
    _time("created_at", now=True),
    _time("expires_at"),
    _time("committed_at", nullable=True),
    _time("released_at", nullable=True),
    UniqueConstraint("requested_by", "idempotency_key"),
    Index("reservation_reference_idx", "reference", postgresql_where=text("reference is not null")),
    Index("reservation_created_at_idx", "created_at", postgresql_using="brin"),
)

# Units that a reservation holds of one SKU (a kit's components, not the kit). A trigger takes them from sku_stock, or refuses.
reservation_hold = Table(
    "reservation_hold",
    metadata,
    Column("reservation_id", Text, ForeignKey("reservation.id"), primary_key=True),
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    _time("expires_at"),
    _time("ended_at", nullable=True),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("reservation_hold_open_idx", "sku", "expires_at", postgresql_where=text("ended_at is null")),
    Index("reservation_hold_sku_created_at_idx", "sku", "created_at"),
    Index("reservation_hold_endless_idx", "sku", "ended_at", postgresql_where=text("expires_at = 'infinity'")),
)

# What of an order line is promised at which own place, and what has left from there.
order_allocation = Table(
    "order_allocation",
    metadata,
    Column("order_line_id", Text, primary_key=True),
    Column("sku", Text, ForeignKey("product.sku"), primary_key=True),
    Column("location", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("shipped", Integer, nullable=False, server_default="0"),
    _time("changed_at", now=True),
    CheckConstraint("quantity >= 0 and shipped >= 0", name="counts"),
    Index("order_allocation_order_id_idx", "order_id"),
)

# Sales of a marketplace beyond what there was, with the lag that let each in.
oversale = Table(
    "oversale",
    metadata,
    Column("order_line_id", Text, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("units", Integer, nullable=False),
    _time("placed_at"),
    _time("seen_at", now=True),
    # What the channel showed when the order was placed, and since when it had been told otherwise; null where it never was told.
    Column("shown", Integer),
    _time("told_at", nullable=True),
    Column("cause", Text, nullable=False),
    CheckConstraint("units > 0", name="units"),
    Index("oversale_seen_at_idx", "seen_at"),
)

kit_component = Table(
    "kit_component",
    metadata,
    Column("kit", Text, ForeignKey("product.sku"), primary_key=True),
    Column("component", Text, ForeignKey("product.sku"), primary_key=True),
    Column("quantity", Integer, nullable=False),
    _time("changed_at", now=True),
    CheckConstraint("quantity > 0 and kit <> component", name="counts"),
    Index("kit_component_component_idx", "component"),
)

# Kits as they were: valid from `from_at` until `until_at`.
kit_history = Table(
    "kit_history",
    metadata,
    Column("kit", Text, primary_key=True),
    Column("until_at", DateTime(timezone=True), primary_key=True),
    _time("from_at"),
    Column("components", JSONB, nullable=False),
)

# Rules of what may be sold where. A changed rule is a new row, the old one ends: so the past can be told.
stock_rule = Table(
    "stock_rule",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("sku", Text),
    Column("tag", Text),
    Column("channel", Text),
    Column("location", Text),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("settings", JSONB, nullable=False),
    _time("starts_at", nullable=True),
    _time("ends_at", nullable=True),
    Column("made_by", Text, nullable=False),
    _time("made_at", now=True),
    _time("removed_at", nullable=True),
    Column("removed_by", Text),
    _words("kind", "SAFETY_STOCK", "MAXIMUM_SHOWN", "CHANNEL_SHARE", "FBA_SHARE", "VELOCITY_BUFFER", "LAST_UNITS"),
    Index("stock_rule_name_idx", "name", unique=True, postgresql_where=text("removed_at is null")),
)

# Changed rules that go through the SKUs with a tag, or all without any: those up to `after_sku` have been marked.
stock_sweep = Table(
    "stock_sweep",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("tag", Text),
    Column("after_sku", Text, nullable=False, server_default=""),
    _time("made_at", now=True),
)

# What every place that others keep has told over time: a row for each change.
stock_level_history = Table(
    "stock_level_history",
    metadata,
    Column("location", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("channel_sku", Text, primary_key=True),
    Column("as_of", DateTime(timezone=True), primary_key=True),
    Column("on_hand", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
    Column("inbound", Integer, nullable=False),
    # Rows come in the order of time, and only the nightly upkeep looks for the old ones.
    Index("stock_level_history_as_of_idx", "as_of", postgresql_using="brin"),
)

# What each channel is to show, was told, and was seen to show: one row per number that its buyers see.
channel_stock = Table(
    "channel_stock",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("channel_sku", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("sku", Text, ForeignKey("product.sku"), nullable=False),
    Column("refs", JSONB, nullable=False, server_default=text("'{}'")),
    Column("target", BigInteger, nullable=False),
    # The version of sku_stock that the target was computed from; an older one never replaces a newer.
    Column("version", BigInteger, nullable=False),
    Column("terms", JSONB, nullable=False, server_default=text("'[]'")),
    _time("target_at"),
    # The oldest cause that the channel has not been told of.
    _time("caused_at", nullable=True),
    _time("noticed_at", nullable=True),
    Column("told", BigInteger),
    _time("told_at", nullable=True),
    # The last send, and the highest number of those before it, since one was seen, that may have been taken.
    Column("push_id", BigInteger),
    Column("unseen", BigInteger),
    _time("confirmed_at", nullable=True),
    Column("shown", BigInteger),
    _time("shown_at", nullable=True),
    _time("due_at", nullable=True),
    _time("lease_until", nullable=True),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("error_code", Text),
    Column("error_message", Text),
    CheckConstraint("target >= 0", name="target"),
    Index("channel_stock_sku_idx", "sku"),
    Index("channel_stock_due_idx", "channel", "due_at", postgresql_where=text("due_at is not null")),
)

# Every number that was sent to a channel: what it had been told at any instant, and when it confirmed. The nightly upkeep forgets
# those that were replaced more than 400 days ago.
stock_push = Table(
    "stock_push",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("expected", BigInteger),
    Column("cause", Text, nullable=False),
    _time("caused_at", nullable=True),
    _time("noticed_at", nullable=True),
    _time("sent_at", now=True),
    _time("accepted_at", nullable=True),
    _time("confirmed_at", nullable=True),
    Column("upstream_request_id", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    _words("cause", "CHANGE", "REPAIR", "AGAIN"),
    Index("stock_push_sku_sent_at_idx", "sku", "sent_at"),
    Index("stock_push_number_idx", "sku", "channel", "channel_sku", "place", "sent_at"),
    Index(
        "stock_push_lowered_idx",
        "channel",
        "confirmed_at",
        postgresql_where=text("quantity < expected and accepted_at is not null and caused_at is not null"),
    ),
    Index("stock_push_sent_at_idx", "sent_at", postgresql_using="brin"),
)

# Numbers that differ from what we believe, while they do and after.
stock_drift = Table(
    "stock_drift",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("sku", Text),
    Column("kind", Text, nullable=False),
    Column("believed", BigInteger),
    Column("shown", BigInteger),
    _time("first_at", now=True),
    _time("last_at", now=True),
    _time("ended_at", nullable=True),
    Column("times", Integer, nullable=False, server_default="1"),
    _words("kind", "UNSEEN_SALE", "LOST_WRITE", "EXTERNAL_EDIT", "NOT_OFFERED", "POOL_DISAGREEMENT"),
    Index(
        "stock_drift_open_idx",
        "channel",
        "channel_sku",
        "place",
        unique=True,
        postgresql_where=text("ended_at is null"),
    ),
    Index("stock_drift_last_at_idx", "last_at"),
)

# The last proof that the ledger adds up, whoever asked for it.
ledger_check = Table(
    "ledger_check",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _time("at", now=True),
    Column("balances", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("wrong", JSONB, nullable=False, server_default=text("'[]'")),
)

# Deliveries of signed feeds that were taken, so that none counts twice.
feed_delivery = Table(
    "feed_delivery",
    metadata,
    Column("source", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    # A hash of what it said: another delivery under the same id is told.
    Column("contents", Text),
    _time("at", now=True),
)

# How far each outgoing feed has told the event log.
feed_cursor = Table(
    "feed_cursor",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    _time("due_at", now=True),
    _time("last_success_at", nullable=True),
    Column("last_error", Text),
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

# Consents of selling accounts: what opens them is kept encrypted, under the keys of the settings.
account_grant = Table(
    "account_grant",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("source", Text, nullable=False),
    _time("granted_at", now=True),
    _time("expires_at", nullable=True),
    _time("updated_at", now=True),
    _words("source", "CONSENT", "PASTED", "RENEWED"),
)

# The application's secrets that came by rotation, encrypted likewise. The one before lives on for a while.
application_secret = Table(
    "application_secret",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("sealed", Text, nullable=False),
    _time("expires_at", nullable=True),
    Column("previous", Text),
    _time("previous_expires_at", nullable=True),
    _time("kept_at", now=True),
)

# Operations that a platform refuses although it takes our credentials; nobody tries them before `until`.
missing_role = Table(
    "missing_role",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    _time("since", now=True),
    _time("until"),
)

# Consents under way. Of what was handed out to find them only hashes are kept.
consent_request = Table(
    "consent_request",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("state_hash", Text, unique=True),
    Column("link_hash", Text, unique=True),
    Column("browser_hash", Text),
    _time("created_at", now=True),
    _time("expires_at"),
    _time("used_at", nullable=True),
    _time("ended_at", nullable=True),
    Column("granted", Boolean),
    Column("words", Text),
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
    _time("event_at"),
    _time("received_at", now=True),
    Column("state", Text, nullable=False, server_default="NEW"),
    _time("due_at", now=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    _words("state", "NEW", "DONE", "QUARANTINED"),
    UniqueConstraint("channel", "notification_id"),
    Index("hint_waiting_idx", "channel", "kind", "subject", postgresql_where=text("state = 'NEW'")),
    Index("hint_received_at_idx", "received_at"),
)

# Values of products that no dictionary knew when they came, each once, and what people have answered since.
mapping_task = Table(
    "mapping_task",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("field", Text, nullable=False),
    # As it is compared, and as it was spelled when it was first met.
    Column("word", Text, nullable=False),
    Column("raw", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("channel_sku", Text, nullable=False),
    _time("first_at", now=True),
    Column("state", Text, nullable=False, server_default="OPEN"),
    Column("value", Text),
    # The answer holds for every channel.
    Column("everywhere", Boolean, nullable=False, server_default=text("false")),
    Column("answered_by", Text),
    _time("answered_at", nullable=True),
    _words("state", "OPEN", "ANSWERED", "IGNORED"),
    CheckConstraint("(state = 'ANSWERED') = (value is not null)", name="value"),
    UniqueConstraint("channel", "field", "word"),
)

# What people asked of a shop by law: ids and times, until it is done and after.
privacy_request = Table(
    "privacy_request",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("delivery_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("buyer", Text),
    Column("orders", ARRAY(Text), nullable=False),
    _time("asked_at"),
    _time("due_at"),
    _time("received_at", now=True),
    _time("done_at", nullable=True),
    Column("note", Text),
    _words("kind", "DATA_REQUEST", "BUYER_REDACT", "SHOP_REDACT"),
    UniqueConstraint("channel", "delivery_id"),
    Index("privacy_request_open_idx", "channel", postgresql_where=text("done_at is null")),
)

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
    _time("made_at", now=True),
    Column("sealed", Text, nullable=False),
    Column("previous", Text),
    _time("previous_until", nullable=True),
    Column("state", Text, nullable=False, server_default="ACTIVE"),
    Column("reason", Text),
    # Deliveries are made up to here; up to `replay_until` for another time.
    Column("seq", BigInteger, nullable=False),
    Column("replay_until", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    _time("due_at", now=True),
    _time("last_success_at", nullable=True),
    Column("last_error", Text),
    _words("format", "CLOUDEVENTS", "FLAT"),
    _words("state", "ACTIVE", "PAUSED"),
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
    _time("at"),
    # As JSON; null until somebody is about to send it first.
    Column("data", Text),
    Column("state", Text, nullable=False, server_default="PENDING"),
    Column("replayed", Boolean, nullable=False, server_default=text("false")),
    # Grows with every claim: who comes back too late settles nothing.
    Column("attempts", Integer, nullable=False, server_default="0"),
    _time("made_at", now=True),
    _time("first_at", nullable=True),
    _time("due_at", now=True),
    _words("state", "PENDING", "DELIVERED", "FAILED"),
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
    _time("at"),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("problem", Text),
    Column("answer", Text),
    ForeignKeyConstraint(
        ["webhook", "delivery"], ["webhook_delivery.webhook", "webhook_delivery.id"], ondelete="CASCADE"
    ),
)

for _statement in STATEMENTS:
    sa_event.listen(metadata, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
