"""getListingsItem and searchListingsItems."""

from datetime import UTC, datetime

import httpx

from sandbox.amazon.app import build
from sandbox.amazon.visit import FE, Seller, error
from sandbox.options import Options
from sandbox.visit import inside, world

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_a_listing_shows_the_data_sets_asked_for(client: httpx.AsyncClient, na: Seller) -> None:
    merchant = (await world(client))["skus"][9]
    item = (await na.listing("US", merchant["sku"])).json()
    assert set(item) == {"sku", "summaries"}
    assert item["summaries"][0]["asin"] == merchant["asin"]
    item = (await na.listing("US", merchant["sku"], includedData="offers,fulfillmentAvailability,productTypes")).json()
    assert item["offers"] == [
        {
            "marketplaceId": "ATVPDKIKX0DER",
            "offerType": "B2C",
            "price": {"currencyCode": "USD", "amount": merchant["prices"]["US"]},
            "audience": {"value": "ALL", "displayName": "Sell on Amazon"},
        }
    ]
    units = merchant["merchantQuantity"]["NA"]
    assert item["fulfillmentAvailability"] == [{"fulfillmentChannelCode": "DEFAULT", "quantity": units}]
    assert error(await na.listing("US", "NO-SUCH")) == (404, "NotFound")
    assert error(await na.listing("US", merchant["sku"], includedData="prices")) == (400, "BAD_REQUEST")


async def test_a_yen_price_has_no_decimals(client: httpx.AsyncClient) -> None:
    fe = await Seller.login(client, FE)
    sku = (await world(client))["skus"][3]["sku"]
    offer = (await fe.listing("JP", sku, includedData="offers")).json()["offers"][0]
    assert offer["price"]["currencyCode"] == "JPY"
    assert offer["price"]["amount"].isdigit()


async def test_another_sellers_listings_are_403(na: Seller) -> None:
    answer = await na.get("/listings/2021-08-01/items/A1SANDBOXEU", marketplaceIds="ATVPDKIKX0DER")
    assert error(answer) == (403, "Unauthorized")


async def test_a_search_pages_through_what_it_found(client: httpx.AsyncClient, eu: Seller) -> None:
    await client.post("/_sandbox/plans", json={"searchListingsItems": {"burst": 100}})
    seen: list[str] = []
    token: dict[str, object] = {}
    while True:
        body = (await eu.listings("DE", sortBy="sku", sortOrder="ASC", pageSize=20, **token)).json()
        assert body["numberOfResults"] == 80
        seen += [item["sku"] for item in body["items"]]
        if "nextToken" not in body["pagination"]:
            break
        token = {"pageToken": body["pagination"]["nextToken"]}
    listed = [one["sku"] for one in (await world(client))["skus"] if "DE" in one["marketplaces"]]
    assert seen == sorted(listed)
    assert error(await eu.listings("DE", sortBy="sku", pageSize=20, **token)) == (400, "BAD_REQUEST")


async def test_a_search_by_identifiers_and_by_time(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/plans", json={"searchListingsItems": {"burst": 100}})
    known = (await world(client))["skus"]
    by_sku = await na.listings("US", identifiers=f"{known[5]['sku']},NO-SUCH", identifiersType="SKU")
    assert [item["sku"] for item in by_sku.json()["items"]] == [known[5]["sku"]]
    by_asin = await na.listings("US", identifiers=known[6]["asin"], identifiersType="ASIN")
    assert [item["sku"] for item in by_asin.json()["items"]] == [known[6]["sku"]]
    assert error(await na.listings("US", identifiers="x")) == (400, "BAD_REQUEST")
    many = ",".join(f"S{number}" for number in range(21))
    assert error(await na.listings("US", identifiers=many, identifiersType="SKU")) == (400, "BAD_REQUEST")
    assert error(await na.listings("US", pageSize=21)) == (400, "BAD_REQUEST")
    newest = (await na.listings("US", pageSize=20)).json()["items"]
    times = [item["summaries"][0]["lastUpdatedDate"] for item in newest]
    assert times == sorted(times, reverse=True)
    window = (await na.listings("US", lastUpdatedAfter=times[9], lastUpdatedBefore=times[3])).json()
    assert [item["sku"] for item in window["items"]] == [item["sku"] for item in newest[3:10]]
    assert (await na.listings("US", createdAfter="2026-02-20T00:00:00Z")).json()["numberOfResults"] == 0


async def test_no_more_than_a_thousand_items_can_be_paged_to() -> None:
    async with inside(build(Options(products=1100, orders=10, speed=0, start=START))) as client:
        na = await Seller.login(client)
        await client.post("/_sandbox/plans", json={"searchListingsItems": {"burst": 100}})
        token: dict[str, object] = {}
        count = 0
        while True:
            body = (await na.listings("US", pageSize=20, **token)).json()
            count += len(body["items"])
            if "nextToken" not in body["pagination"]:
                break
            token = {"pageToken": body["pagination"]["nextToken"]}
        assert (count, body["numberOfResults"]) == (1000, 1100)
