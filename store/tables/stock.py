"""Stock: what others keep, what is ours to keep, what is promised, and what channels are told."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

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
    instant("as_of"),
    Column("upstream_request_id", Text),
    Index("stock_level_channel_sku_idx", "channel_sku", "channel"),
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
    instant("dirty_since", nullable=True, now=True),
    instant("caused_at", nullable=True, now=True),
    # When the numbers change without anybody's doing: a reading grows too old, a rule begins or ends.
    instant("recompute_at", nullable=True),
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
    words(
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
    instant("changed_at"),
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
    instant("created_at", now=True),
    instant("expires_at"),
    instant("committed_at", nullable=True),
    instant("released_at", nullable=True),
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
    instant("expires_at"),
    instant("ended_at", nullable=True),
    CheckConstraint("quantity > 0", name="quantity"),
    Index("reservation_hold_open_idx", "sku", "expires_at", postgresql_where=text("ended_at is null")),
    Index("reservation_hold_sku_created_at_idx", "sku", "created_at"),
    Index("reservation_hold_endless_idx", "sku", "ended_at", postgresql_where=text("expires_at = 'infinity'")),
)

kit_component = Table(
    "kit_component",
    metadata,
    Column("kit", Text, ForeignKey("product.sku"), primary_key=True),
    Column("component", Text, ForeignKey("product.sku"), primary_key=True),
    Column("quantity", Integer, nullable=False),
    instant("changed_at", now=True),
    CheckConstraint("quantity > 0 and kit <> component", name="counts"),
    Index("kit_component_component_idx", "component"),
)

# Kits as they were: valid from `from_at` until `until_at`.
kit_history = Table(
    "kit_history",
    metadata,
    Column("kit", Text, primary_key=True),
    Column("until_at", DateTime(timezone=True), primary_key=True),
    instant("from_at"),
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
    instant("starts_at", nullable=True),
    instant("ends_at", nullable=True),
    Column("made_by", Text, nullable=False),
    instant("made_at", now=True),
    instant("removed_at", nullable=True),
    Column("removed_by", Text),
    words(
        "kind",
        "SAFETY_STOCK",
        "MAXIMUM_SHOWN",
        "CHANNEL_SHARE",
        "FBA_SHARE",
        "VELOCITY_BUFFER",
        "LAST_UNITS",
        "PRE_ORDER",
    ),
    Index("stock_rule_name_idx", "name", unique=True, postgresql_where=text("removed_at is null")),
)

# Changed rules that go through the SKUs with a tag, or all without any: those up to `after_sku` have been marked.
stock_sweep = Table(
    "stock_sweep",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("tag", Text),
    Column("after_sku", Text, nullable=False, server_default=""),
    instant("made_at", now=True),
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
    instant("target_at"),
    # The oldest cause that the channel has not been told of.
    instant("caused_at", nullable=True),
    instant("noticed_at", nullable=True),
    Column("told", BigInteger),
    instant("told_at", nullable=True),
    # The last send, and the highest number of those before it, since one was seen, that may have been taken.
    Column("push_id", BigInteger),
    Column("unseen", BigInteger),
    instant("confirmed_at", nullable=True),
    Column("shown", BigInteger),
    instant("shown_at", nullable=True),
    instant("due_at", nullable=True),
    instant("lease_until", nullable=True),
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
    instant("caused_at", nullable=True),
    instant("noticed_at", nullable=True),
    instant("sent_at", now=True),
    instant("accepted_at", nullable=True),
    instant("confirmed_at", nullable=True),
    Column("upstream_request_id", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    words("cause", "CHANGE", "REPAIR", "AGAIN"),
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
    instant("first_at", now=True),
    instant("last_at", now=True),
    instant("ended_at", nullable=True),
    Column("times", Integer, nullable=False, server_default="1"),
    words("kind", "UNSEEN_SALE", "LOST_WRITE", "EXTERNAL_EDIT", "NOT_OFFERED", "POOL_DISAGREEMENT"),
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
    instant("at", now=True),
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
    instant("at", now=True),
)

# How far each outgoing feed has told the event log.
feed_cursor = Table(
    "feed_cursor",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    instant("due_at", now=True),
    instant("last_success_at", nullable=True),
    Column("last_error", Text),
)
