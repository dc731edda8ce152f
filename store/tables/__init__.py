"""All tables. The database itself refuses what would break a promise: the constraints here are the last word.

Times are `timestamptz` and aware; money is `numeric` beside its currency; ids of platforms are text.
"""

from __future__ import annotations

from sqlalchemy import DDL
from sqlalchemy import event as sa_event

from store.tables.access import (
    account_grant,
    api_key,
    application_secret,
    consent_request,
    missing_role,
    privacy_request,
    trusted_document,
    worker_beat,
)
from store.tables.bank import bank_line, bank_match
from store.tables.base import metadata
from store.tables.catalog import listing, mapping_task, product
from store.tables.chain import restock, return_chain, return_piece
from store.tables.channel import budget_use, channel_state, exchange, hint, known_channel, quarantine, sync_stream
from store.tables.export import export_file, export_part
from store.tables.finance import estimate_due, money_assignment, money_line, settlement
from store.tables.finance_file import finance_file, finance_file_part
from store.tables.hold import hold_rule, order_hold
from store.tables.journal import journal, journal_posting
from store.tables.label import label
from store.tables.money_transaction import money_group, money_transaction
from store.tables.money_word import money_word
from store.tables.operation import event, operation, operation_item
from store.tables.order import order, order_allocation, order_line, order_person, order_step, oversale
from store.tables.order_path import order_compare, order_difference, order_unread
from store.tables.outbound import outbound_line, outbound_order, outbound_package, outbound_return
from store.tables.payout import payout_movement
from store.tables.price import listing_price, price_canary, price_decision, price_event, price_request
from store.tables.price_facts import (
    featured_offer,
    fee_estimate,
    fx_rate,
    market_look,
    price_clock,
    price_due,
    repriced,
    unit_cost,
)
from store.tables.price_file import price_file, price_file_row
from store.tables.price_guard import price_guard_hit, price_guards
from store.tables.price_rules import price_rules
from store.tables.report import report
from store.tables.sourcing import sourcing_decision, sourcing_parcel, sourcing_rules
from store.tables.stock import (
    channel_stock,
    feed_cursor,
    feed_delivery,
    kit_component,
    kit_history,
    ledger_check,
    reservation,
    reservation_hold,
    sku_stock,
    stock_balance,
    stock_drift,
    stock_entry,
    stock_level,
    stock_level_history,
    stock_push,
    stock_rule,
    stock_sweep,
)
from store.tables.tracking import parcel_event, tracking_row
from store.tables.webhook import webhook, webhook_attempt, webhook_delivery
from store.triggers import STATEMENTS

__all__ = [
    "account_grant",
    "api_key",
    "application_secret",
    "bank_line",
    "bank_match",
    "budget_use",
    "channel_state",
    "channel_stock",
    "consent_request",
    "estimate_due",
    "event",
    "exchange",
    "export_file",
    "export_part",
    "featured_offer",
    "fee_estimate",
    "feed_cursor",
    "feed_delivery",
    "finance_file",
    "finance_file_part",
    "fx_rate",
    "hint",
    "hold_rule",
    "journal",
    "journal_posting",
    "kit_component",
    "kit_history",
    "known_channel",
    "label",
    "ledger_check",
    "listing",
    "listing_price",
    "mapping_task",
    "market_look",
    "metadata",
    "missing_role",
    "money_assignment",
    "money_group",
    "money_line",
    "money_transaction",
    "money_word",
    "operation",
    "operation_item",
    "order",
    "order_allocation",
    "order_compare",
    "order_difference",
    "order_hold",
    "order_line",
    "order_person",
    "order_step",
    "order_unread",
    "outbound_line",
    "outbound_order",
    "outbound_package",
    "outbound_return",
    "oversale",
    "parcel_event",
    "payout_movement",
    "price_canary",
    "price_clock",
    "price_decision",
    "price_due",
    "price_event",
    "price_file",
    "price_file_row",
    "price_guard_hit",
    "price_guards",
    "price_request",
    "price_rules",
    "privacy_request",
    "product",
    "quarantine",
    "report",
    "repriced",
    "reservation",
    "reservation_hold",
    "restock",
    "return_chain",
    "return_piece",
    "settlement",
    "sku_stock",
    "sourcing_decision",
    "sourcing_parcel",
    "sourcing_rules",
    "stock_balance",
    "stock_drift",
    "stock_entry",
    "stock_level",
    "stock_level_history",
    "stock_push",
    "stock_rule",
    "stock_sweep",
    "sync_stream",
    "tracking_row",
    "trusted_document",
    "unit_cost",
    "webhook",
    "webhook_attempt",
    "webhook_delivery",
    "worker_beat",
]

for _statement in STATEMENTS:
    sa_event.listen(metadata, "after_create", DDL(_statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
