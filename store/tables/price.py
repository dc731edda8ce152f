"""Prices: what each listing is wanted to be sold for and was seen to be, and all that ever became of it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from store.tables.base import instant, metadata, words

# One row for each listing whose price was ever asked for or read back. Prices are told as `domain.price.Price.told`.
listing_price = Table(
    "listing_price",
    metadata,
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), primary_key=True),
    # What was asked for last and has been released; the item that carries it.
    Column("wanted", JSONB),
    Column("wanted_item", BigInteger),
    instant("wanted_at", nullable=True),
    # What the channel showed when it was last read back.
    Column("live", JSONB),
    instant("live_at", nullable=True),
    # What was last seen live because we had asked for it: a change is taken back to this.
    Column("verified", JSONB),
    Column("verified_item", BigInteger),
    instant("verified_at", nullable=True),
    # Since when the channel shows another price than the one that was seen live or is wanted.
    instant("differs_since", nullable=True),
    # Sales that may begin or end.
    Index("listing_price_sale_idx", "listing", postgresql_where=text("jsonb_typeof(wanted -> 'sale') = 'object'")),
    Index("listing_price_differs_idx", "differs_since", postgresql_where=text("differs_since is not null")),
)

# The history: never changed, only added to. ASKED: released to its lane; LIVE: seen live, as it was asked for; OTHER: seen live,
# though we had asked for something else or nothing; FAILED: what was asked for did not come about.
price_event = Table(
    "price_event",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("listing", Text, ForeignKey("listing.id", ondelete="CASCADE"), nullable=False),
    instant("at", now=True),
    Column("what", Text, nullable=False),
    Column("price", JSONB),
    Column("operation", Text),
    Column("item", BigInteger),
    Column("origin", Text),
    Column("reason", Text),
    Column("rules_version", Integer),
    Column("chain", JSONB),
    Column("requested_by", Text),
    Column("approved_by", Text),
    words("what", "ASKED", "LIVE", "OTHER", "FAILED"),
    words("origin", "MUTATION", "FILE", "RULE", "SALE", "REVERT"),
    Index("price_event_listing_idx", "listing", text("at DESC"), text("id DESC")),
    # By whom what was seen had been asked for.
    Index("price_event_asked_idx", "item", postgresql_where=text("what = 'ASKED'")),
    # Lines come in the order of their time, so that this is a few pages.
    Index("price_event_at_idx", "at", postgresql_using="brin"),
)

# What was said of all rows of a change together, where anything was: guards, their actions and words.
price_request = Table(
    "price_request",
    metadata,
    Column("operation", Text, ForeignKey("operation.id"), primary_key=True),
    Column("hits", JSONB, nullable=False),
)

# What people decided about a change that is too large to be carried out while they wait: a worker does, whose try is over at
# `due_at`. `made` is the operation that takes back; `error_…` say why nothing was done.
price_decision = Table(
    "price_decision",
    metadata,
    Column("operation", Text, ForeignKey("operation.id"), primary_key=True),
    Column("verdict", Text, primary_key=True),
    Column("asked_by", Text, nullable=False),
    Column("correlation_id", Text),
    instant("asked_at", now=True),
    instant("due_at"),
    Column("tries", Integer, nullable=False, server_default="0"),
    instant("ended_at", nullable=True),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("made", Text),
    words("verdict", "APPROVE", "CANCEL", "REVERT", "RETRY"),
    Index("price_decision_due_idx", "due_at", postgresql_where=text("ended_at is null")),
)

# A change that reaches far, tried on some of its rows first (`items`, by their ids); the rest waits unreleased. While it is
# WATCHING the state is decided under the row's lock, once.
price_canary = Table(
    "price_canary",
    metadata,
    Column("operation", Text, ForeignKey("operation.id"), primary_key=True),
    Column("state", Text, nullable=False, server_default="WATCHING"),
    # By which limits it was chosen and is judged: `domain.price_canary.Radius.told`.
    Column("radius", JSONB, nullable=False),
    Column("items", JSONB, nullable=False),
    Column("total", Integer, nullable=False),
    # The issues that its listings had before: codes by listing.
    Column("issues", JSONB, nullable=False),
    instant("began_at", now=True),
    instant("until"),
    instant("ended_at", nullable=True),
    Column("ended_by", Text),
    # Why it ended, in words for people.
    Column("reasons", JSONB, nullable=False, server_default=text("'[]'")),
    words("state", "WATCHING", "PASSED", "HALTED", "RELEASED", "CANCELLED"),
    Index("price_canary_watching_idx", "operation", postgresql_where=text("state = 'WATCHING'")),
)
