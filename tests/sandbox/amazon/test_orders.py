"""searchOrders and getOrder."""

from collections import Counter

import httpx
import pytest

from sandbox.amazon.visit import EU, FE, NA, Seller, details, error, to_ship
from sandbox.visit import advance, world

LONG_AGO = "2026-01-01T00:00:00Z"


async def test_a_search_pages_through_every_order_of_the_account_once(client: httpx.AsyncClient, na: Seller) -> None:
    seen: list[str] = []
    token: dict[str, object] = {}
    while True:
        query = {"createdAfter": LONG_AGO, "includedData": "FULFILLMENT", "maxResultsPerPage": 30, **token}
        body = (await na.orders(**query)).json()
        assert body["createdBefore"] == "2026-03-01T11:58:00.000Z"
        assert "lastUpdatedBefore" not in body
        seen += [order["orderId"] for order in body["orders"]]
        if "pagination" not in body:
            break
        token = {"paginationToken": body["pagination"]["nextToken"]}
    assert len(seen) == len(set(seen)) == 80
    # 180 Amazon orders in the relation 4:4:1.
    eu, fe = await Seller.login(client, EU), await Seller.login(client, FE)
    assert [len((await one.orders(createdAfter=LONG_AGO)).json()["orders"]) for one in (eu, fe)] == [80, 20]


async def test_the_orders_are_of_all_kinds_and_many_can_be_shipped(client: httpx.AsyncClient) -> None:
    kinds: Counter[tuple[str, str]] = Counter()
    for account in (NA, EU, FE):
        seller = await Seller.login(client, account)
        for order in (await seller.orders(createdAfter=LONG_AGO, includedData="FULFILLMENT")).json()["orders"]:
            kinds[order["fulfillment"]["fulfillmentStatus"], order["fulfillment"]["fulfilledBy"]] += 1
    assert {status for status, _ in kinds} == {
        "PENDING_AVAILABILITY",
        "PENDING",
        "UNSHIPPED",
        "PARTIALLY_SHIPPED",
        "SHIPPED",
        "CANCELLED",
        "UNFULFILLABLE",
    }
    assert kinds["UNSHIPPED", "MERCHANT"] == 81
    assert kinds.total() == 180


async def test_filters_narrow_a_search(na: Seller) -> None:
    query = {"createdAfter": LONG_AGO, "includedData": "FULFILLMENT"}
    body = (await na.orders(**query, fulfillmentStatuses="SHIPPED,UNSHIPPED", fulfilledBy="AMAZON")).json()
    found = {(o["fulfillment"]["fulfillmentStatus"], o["fulfillment"]["fulfilledBy"]) for o in body["orders"]}
    assert found == {("SHIPPED", "AMAZON"), ("UNSHIPPED", "AMAZON")}
    assert error(await na.orders(**query, fulfillmentStatuses="Shipped")) == (400, "InvalidInput")
    assert error(await na.orders(**query, marketplaceIds="A1PA6795UKMFR9")) == (403, "Unauthorized")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"createdAfter": LONG_AGO, "lastUpdatedAfter": LONG_AGO},
        {"createdAfter": LONG_AGO, "lastUpdatedBefore": "2026-02-01T00:00:00Z"},
        {"createdBefore": "2026-02-01T00:00:00Z"},
        {"createdAfter": "yesterday"},
        {"createdAfter": "0001-01-01T00:00:00+14:00"},
        {"createdAfter": LONG_AGO, "createdBefore": "2025-12-01T00:00:00Z"},
        {"createdAfter": LONG_AGO, "createdBefore": "2026-03-01T11:59:00Z"},
        {"createdAfter": LONG_AGO, "maxResultsPerPage": 101},
        {"createdAfter": LONG_AGO, "includedData": "EVERYTHING"},
    ],
)
async def test_a_search_needs_exactly_one_window(na: Seller, query: dict[str, object]) -> None:
    assert error(await na.orders(**query)) == (400, "InvalidInput")


async def test_an_order_token_lives_a_day_and_belongs_to_its_parameters(client: httpx.AsyncClient, na: Seller) -> None:
    query: dict[str, object] = {"createdAfter": LONG_AGO, "maxResultsPerPage": 30}
    first = (await na.orders(**query)).json()
    token = first["pagination"]["nextToken"]
    other = await na.orders(**{**query, "fulfilledBy": "AMAZON"}, paginationToken=token)
    assert error(other) == (400, "InvalidInput")
    await advance(client, 86_399)
    na = await Seller.login(client)
    # Page size and data sets may change from page to page, and the window stays where the first page put it.
    later = (
        await na.orders(createdAfter=LONG_AGO, maxResultsPerPage=50, includedData="BUYER", paginationToken=token)
    ).json()
    assert later["createdBefore"] == first["createdBefore"]
    assert len(later["orders"]) == 50
    await advance(client, 1)
    late = await na.orders(**query, paginationToken=token)
    assert error(late) == (400, "InvalidInput")
    assert "expired" in details(late)


async def test_without_included_data_there_are_only_ids_times_channel_and_items(
    client: httpx.AsyncClient, na: Seller
) -> None:
    order = await to_ship(client, "PARTIALLY_SHIPPED")
    bare = (await na.order(order["id"])).json()["order"]
    assert not {"fulfillment", "packages", "proceeds", "buyer", "recipient"} & set(bare)
    assert set(bare["orderItems"][0]) == {"orderItemId", "quantityOrdered", "product"}
    full = (await na.order(order["id"], "FULFILLMENT", "PACKAGES", "PROCEEDS", "BUYER", "RECIPIENT")).json()["order"]
    assert full["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert full["packages"][0]["packageItems"] == [{"orderItemId": order["lines"][0]["id"], "quantity": 1}]
    assert {"proceeds", "buyer", "recipient"} <= set(full)
    total = sum(float(item["proceeds"]["proceedsTotal"]["amount"]) for item in full["orderItems"])
    assert float(full["proceeds"]["grandTotal"]["amount"]) == pytest.approx(total)


async def test_a_pending_order_has_no_prices(client: httpx.AsyncClient) -> None:
    accounts = {seller.id: seller for seller in [await Seller.login(client, token) for token in (NA, EU, FE)]}
    pending = next(one for one in (await world(client))["orders"] if one["status"] == "PENDING")
    shown = (await accounts[pending["sellerId"]].order(pending["id"], "PROCEEDS", "BUYER")).json()["order"]
    assert not {"proceeds", "buyer"} & set(shown)
    assert all("price" not in item["product"] for item in shown["orderItems"])


async def test_an_order_of_another_account_is_404(client: httpx.AsyncClient, eu: Seller) -> None:
    order = await to_ship(client)
    assert error(await eu.order(order["id"])) == (404, "NotFound")
