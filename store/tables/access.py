"""Who may ask, and what platforms let us ask."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from store.tables.base import instant, metadata, words

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    # SHA-256 of a 256-bit random secret: a stolen table opens nothing.
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    instant("created_at", now=True),
    instant("expires_at", nullable=True),
    instant("revoked_at", nullable=True),
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
    instant("registered_at", now=True),
)

worker_beat = Table(
    "worker_beat",
    metadata,
    Column("worker", Text, primary_key=True),
    instant("at", now=True),
)

# Consents of selling accounts: what opens them is kept encrypted, under the keys of the settings.
account_grant = Table(
    "account_grant",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("seller_id", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("source", Text, nullable=False),
    instant("granted_at", now=True),
    instant("expires_at", nullable=True),
    instant("updated_at", now=True),
    words("source", "CONSENT", "PASTED", "RENEWED"),
)

# The application's secrets that came by rotation, encrypted likewise. The one before lives on for a while.
application_secret = Table(
    "application_secret",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("sealed", Text, nullable=False),
    instant("expires_at", nullable=True),
    Column("previous", Text),
    instant("previous_expires_at", nullable=True),
    instant("kept_at", now=True),
)

# Operations that a platform refuses although it takes our credentials; nobody tries them before `until`.
missing_role = Table(
    "missing_role",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    instant("since", now=True),
    instant("until"),
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
    instant("created_at", now=True),
    instant("expires_at"),
    instant("used_at", nullable=True),
    instant("ended_at", nullable=True),
    Column("granted", Boolean),
    Column("words", Text),
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
    instant("asked_at"),
    instant("due_at"),
    instant("received_at", now=True),
    instant("done_at", nullable=True),
    Column("note", Text),
    words("kind", "DATA_REQUEST", "BUYER_REDACT", "SHOP_REDACT"),
    UniqueConstraint("channel", "delivery_id"),
    Index("privacy_request_open_idx", "channel", postgresql_where=text("done_at is null")),
    # Each order that comes with its buyer is looked for here.
    Index("privacy_request_orders_idx", "orders", postgresql_using="gin"),
)
