"""Offers of the sandbox, and the client that reads and changes them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adapters.amazon.client import Client
from adapters.amazon.plans import PLANS
from domain.budget import Ask
from domain.ids import ChannelSku
from domain.money import Money
from tests.adapters.amazon.bench import Desk, Sandbox

OPERATIONS = (
    "getListingsItem",
    "searchListingsItems",
    "patchListingsItem",
    "createFeedDocument",
    "createFeed",
    "getFeed",
    "getFeeds",
    "cancelFeed",
    "getFeedDocument",
)


def client_of(desk: Desk) -> Client:
    """The account's way to Amazon, on what the desk stands on."""
    return Client(desk.config, PLANS, desk.transport, desk.tokens, desk.budgets)


async def unhurried(desk: Desk, *operations: str) -> None:
    """Budgets that tests do not exhaust."""
    for operation in operations or OPERATIONS:
        # A bucket is opened by its first use; nothing can be said of one that is not open.
        await desk.budgets.spend(desk.channel, PLANS[operation], Ask())
        await desk.budgets.adopt(desk.channel, operation, rate=1000)


def money(amount: str, currency: str = "USD") -> Money:
    return Money(Decimal(amount), currency)


def priced(amount: object, **dates: str) -> list[dict[str, Any]]:
    """What an attribute says of one price."""
    return [{"schedule": [{"value_with_tax": amount, **dates}]}]


async def skus(sandbox: Sandbox, marketplace: str, party: str = "MERCHANT") -> list[ChannelSku]:
    """Those listed there, ours to fulfill or Amazon's."""
    known = (await sandbox.get("world", limit=100_000))["skus"]
    return [
        ChannelSku(one["sku"]) for one in known if marketplace in one["marketplaces"] and one["fulfilledBy"] == party
    ]
