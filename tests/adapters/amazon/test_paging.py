"""A page token that Amazon gives again ends the walk, in each of the walks that follow tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from adapters.amazon import (
    catalog,
    feeds,
    finances,
    inventory,
    kiosk,
    listings,
    listings_named,
    listings_offers,
    orders,
    quantities,
    reports,
)
from adapters.amazon.client import Client
from adapters.amazon.marketplaces import marketplace
from adapters.amazon.paging import Tokens
from adapters.port import ShownKey, StockKey
from domain.budget import Ask
from domain.errors import Transient
from domain.ids import ChannelSku
from tests.adapters.amazon.bench import IDS, Desk, Line, go, make_pool
from tests.adapters.amazon.reads import client_at

NOW = datetime.now(UTC)
SELLER = "A1SANDBOXNA"
US = marketplace("US")
SKU = ChannelSku("ACN-1")

Page = Callable[[str | None], dict[str, Any]]
Walk = Callable[[Client, Desk], Awaitable[object]]


def _paged(**body: Any) -> Page:
    """A page with its token in `pagination`."""
    return lambda token: {**body, "pagination": {"nextToken": token}}


def _flat(**body: Any) -> Page:
    """A page with its token beside what it tells."""
    return lambda token: {**body, "nextToken": token}


def _query(token: str | None) -> dict[str, Any]:
    told = {"queryId": "Q", "query": "{}", "createdTime": NOW.isoformat(), "processingStatus": "DONE"}
    return {**told, "pagination": {"nextToken": token}}


ITEMS = _paged(items=[], numberOfResults=0)
STOCK = _paged(payload={"inventorySummaries": []})
ORDERS = _paged(orders=[], lastUpdatedBefore=NOW.isoformat())
QUERY = "query Q { analytics_salesAndTraffic_2024_04_24 { salesAndTrafficByDate { startDate } } }"


async def _all(walk: AsyncIterator[object]) -> None:
    async for _ in walk:
        pass


WALKS: dict[str, tuple[Page, Walk]] = {
    "catalog": (ITEMS, lambda c, _: _all(catalog.pages_about(c, "US", ["mug"], Ask()))),
    "feeds": (_flat(feeds=[]), lambda c, _: feeds.sought(c, US, NOW, (), Ask())),
    "finances": (
        lambda token: {"payload": {"transactions": [], "nextToken": token}},
        lambda c, _: _all(finances.transaction_pages(c, NOW - timedelta(days=1), Ask())),
    ),
    "finances, one order": (
        lambda token: {"payload": {"transactions": [], "nextToken": token}},
        lambda c, _: finances.order_transactions(c, "113-1", Ask()),
    ),
    "inventory": (STOCK, lambda c, desk: _all(inventory.stock_pages(c, [make_pool(desk.config)], Ask()))),
    "inventory, some SKUs": (
        STOCK,
        lambda c, desk: inventory.stock(c, [make_pool(desk.config)], [StockKey(SKU)], Ask()),
    ),
    "listings": (ITEMS, lambda c, _: _all(listings.listing_pages(c, SELLER, ["US"], None, Ask()))),
    "listings, some SKUs": (ITEMS, lambda c, _: listings_named.listings(c, SELLER, ["US"], "SKU", [SKU], Ask())),
    "offers": (ITEMS, lambda c, _: listings_offers.read_offers(c, SELLER, US, [SKU], Ask())),
    "quantities": (ITEMS, lambda c, _: quantities.shown_stock(c, SELLER, ["US"], [ShownKey(SKU)], Ask())),
    "orders": (ORDERS, lambda c, _: _all(orders.order_pages(c, {IDS["US"]: "US"}, NOW, Ask()))),
    "reports": (_flat(reports=[]), lambda c, _: _all(reports.listed(c, [reports.LISTINGS], Ask()))),
    "queries": (_paged(queries=[]), lambda c, _: _all(kiosk.listed(c, Ask()))),
}


@pytest.mark.parametrize(("page", "walk"), WALKS.values(), ids=list(WALKS))
async def test_a_walk_ends_where_a_token_comes_again(page: Page, walk: Walk, desk: Desk, line: Line) -> None:
    client = client_at(desk)
    line.answers.extend(httpx.Response(200, json=page(token)) for token in ("one", "two", "one"))
    with pytest.raises(Transient, match="page token twice"):
        await walk(client, desk)
    assert len(line.calls) == 3


@pytest.mark.parametrize("end", [None, ""])
@pytest.mark.parametrize(("page", "walk"), WALKS.values(), ids=list(WALKS))
async def test_a_walk_whose_tokens_differ_comes_to_its_end(
    page: Page, walk: Walk, end: str | None, desk: Desk, line: Line
) -> None:
    line.answers.extend(httpx.Response(200, json=page(token)) for token in ("one", "two", end))
    await walk(client_at(desk), desk)
    assert len(line.calls) == 3


async def test_a_query_whose_data_go_round_in_a_circle_ends_too(desk: Desk, line: Line) -> None:
    created = {"queryId": "Q"}
    bodies = [body for token in ("one", "two", "one") for body in (created, _query(token))]
    line.answers.extend(httpx.Response(202 if body is created else 200, json=body) for body in bodies)
    with pytest.raises(Transient, match="page token twice"):
        await _all(kiosk.run(client_at(desk), QUERY, Ask(), go))
    assert len(line.calls) == 6


def test_each_walk_has_tokens_of_its_own() -> None:
    """What one walk was given, another may be given too: Amazon promises no more."""
    assert [Tokens("getReports").next("one") for _ in range(2)] == ["one", "one"]
