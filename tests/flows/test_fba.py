"""A buyer orders at the shop, Amazon ships it, and the shop shows where the parcel is; no word of the buyer stays on the way."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import select, text

from benchmarks.rehearsal import CONFIG
from benchmarks.whole import Whole, whole_house, working
from domain.channel import StreamName
from domain.ids import ChannelId
from gateway.worker import deps_of
from store import outbound, stream
from store.tables import outbound_order
from workers.deps import Timing
from workers.streams import run_stream

PAGE = Path(__file__).parents[2] / "docs" / "stock.md"
QUICK = Timing(settle_s=0.5)
SHIP = """mutation($input: ShipFromFbaInput!) { shipFromFba(input: $input) {
  operation { id status } userErrors { code field message } } }"""
APPROVE = "mutation($id: ID!) { approveOperation(id: $id) { operation { status } userErrors { code message } } }"
ITEMS = "query($id: ID!) { operation(id: $id) { status items { nodes { status after error { message } } } } }"
ORDER = """query($id: ID!) { order(id: $id) { status shipments { carrier trackingNumber } outbound {
  id status location speed channel { id } lines { quantity kept shipped }
  packages { carrier trackingNumber whereabouts confirmation { id } trouble }
  preview { fees { name amount { currency } } } } } }"""
BUYER = {
    "first_name": "Ottilie",
    "last_name": "Vandermark",
    "address1": "1917 Quince Hollow Lane",
    "country_code_v2": "US",
}


@pytest.fixture(scope="module")
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Whole]:
    with pytest.MonkeyPatch.context() as patch:
        told = CONFIG.replace('id = "shop"\n', 'id = "shop"\nbuyers = true\n')
        patch.setattr("benchmarks.whole.CONFIG", told)
        patch.setenv("ACORN_KEYS", Fernet.generate_key().decode())
        async with (
            whole_house(
                new_database(), redis_url, tmp_path_factory.mktemp("fba"), speed=40, products=60, orders=20
            ) as made,
            working(made, QUICK),
        ):
            yield made


async def until(
    whole: Whole,
    query: str,
    done: Callable[[Any], bool],
    meanwhile: Callable[[Whole], Awaitable[None]] | None = None,
    **variables: Any,
) -> Any:
    """What a query answers when it is as wished; what it is instead stands in the failure."""
    told = None
    try:
        async with asyncio.timeout(60):
            while not done(told := await whole.data(query, **variables)):
                if meanwhile is not None:
                    await meanwhile(whole)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"It is still {told}") from None
    return told


async def read_orders(whole: Whole) -> None:
    """The shop's orders as they are now."""
    house, shop = whole.app.standing.house, ChannelId("shop")
    async with house.store.begin() as tx:
        states = {state.name: state for state in await stream.states(tx, [shop])}
    await run_stream(deps_of(house), states[StreamName.ORDERS])


async def look(whole: Whole) -> None:
    """Amazon is asked at once, as when it has told that something changed."""
    amazon = ChannelId("amazon-na")
    async with whole.app.standing.house.store.begin() as tx:
        ids = await tx.scalars(select(outbound_order.c.id).where(outbound_order.c.due_at.is_not(None)))
        await outbound.hurry(tx, amazon, ids.all())


async def test_a_shops_order_goes_out_from_fba_and_the_shop_shows_its_parcel(whole: Whole) -> None:
    skus = (await whole.amazon.get("world?limit=500"))["skus"]
    sku = next(one["sku"] for one in skus if one["fulfilledBy"] == "AMAZON" and "US" in one["marketplaces"])
    await whole.amazon.post("state", {"stock": [{"sku": sku, "marketplace": "US", "quantity": 9}]})
    placed = await whole.shop.post("state", {"orders": [{"lines": [{"sku": sku, "quantity": 2}], "buyer": BUYER}]})
    external = placed["orders"][0] if isinstance(placed["orders"][0], str) else placed["orders"][0]["id"]
    find = "query($id: String!) { orders(filter: {externalId: $id}) { nodes { id status } } }"

    async def known() -> list[Any]:
        await read_orders(whole)
        found: list[Any] = (await whole.data(find, id=external))["orders"]["nodes"]
        return found

    async with asyncio.timeout(60):
        while not (found := await known()):
            await asyncio.sleep(0.2)
    id, mark = found[0]["id"], await whole.amazon.mark()
    wanted = {"orders": [{"orderId": id, "channelId": "Channel:amazon-na"}], "idempotencyKey": "once", "dryRun": True}
    kept = (await whole.data(SHIP, input=wanted))["shipFromFba"]
    assert kept["userErrors"] == []
    assert kept["operation"]["status"] == "PREVIEW"
    operation = kept["operation"]["id"]
    told = await until(
        whole, ITEMS, lambda it: "preview" in it["operation"]["items"]["nodes"][0]["after"], id=operation
    )
    speeds = json.loads(told["operation"]["items"]["nodes"][0]["after"])["preview"]["speeds"]
    assert [(one["speed"], one["possible"]) for one in speeds[:2]] == [("STANDARD", True), ("EXPEDITED", True)]
    assert (await whole.data(APPROVE, id=operation))["approveOperation"]["userErrors"] == []
    await until(whole, ITEMS, lambda it: it["operation"]["status"] == "SUCCEEDED", id=operation)
    order = (await whole.data(ORDER, id=id))["order"]
    (sent,) = order["outbound"]
    assert (sent["location"], sent["channel"]["id"], sent["speed"]) == ("fba-us", "Channel:amazon-na", "STANDARD")
    assert {fee["amount"]["currency"] for fee in sent["preview"]["fees"]} == {"USD"}
    await whole.amazon.post("clock", {"advance": 7 * 3600})
    order = (await until(whole, ORDER, lambda it: it["order"]["status"] == "SHIPPED", look, id=id))["order"]
    (sent,), (shown,) = order["outbound"], order["shipments"]
    (parcel,) = sent["packages"]
    assert (sent["lines"], parcel["trouble"]) == ([{"quantity": 2, "kept": 0, "shipped": 2}], None)
    assert shown["trackingNumber"] == parcel["trackingNumber"]
    assert parcel["confirmation"] is not None
    assert len(await whole.amazon.effects(mark, "createFulfillmentOrder")) == 1
    assert len(await whole.shop.effects(0, "fulfillmentCreate")) == 1
    await nothing_of_the_buyer(whole)


async def test_the_recipe_of_the_page_offers_from_one_pool_and_takes_it_back(whole: Whole) -> None:
    section = PAGE.read_text(encoding="utf-8").split("\n## From FBA in your own shop\n")[1].split("\n## ")[0]
    share, offered, back = re.findall(r"```graphql\n(.*?)```", section, re.DOTALL)
    skus = (await whole.amazon.get("world?limit=500"))["skus"]
    sku = next(
        one["sku"] for one in skus if one["fulfilledBy"] == "AMAZON" and {"US", "JP"} <= set(one["marketplaces"])
    )
    await whole.amazon.post("state", {"stock": [{"sku": sku, "marketplace": "US", "quantity": 19}]})
    levels = (
        'query($sku: String!) { stock(skus: [$sku], maxAge: "PT0S") { levels { location { code } availableToSell } } }'
    )
    there = (await whole.data(levels, sku=sku))["stock"][0]["levels"]
    units = {one["location"]["code"]: one["availableToSell"] for one in there}
    assert (units["fba-us"], units["fba-jp"] > 0) == (19, True)

    async def until_offered(quantity: int) -> None:
        await until(whole, offered, lambda it: it["stock"][0]["offer"]["quantity"] == quantity, sku=sku)

    own = (await whole.data(offered, sku=sku))["stock"][0]["offer"]["quantity"]
    made = (await whole.data(share))["setStockRule"]
    assert made["userErrors"] == []
    await until_offered(own + 9)
    ended = (await whole.data(back, rule=made["rule"]["id"]))["removeStockRule"]
    assert ended["userErrors"] == []
    await until_offered(own)


async def nothing_of_the_buyer(whole: Whole) -> None:
    """No table says where it went, or to whom."""
    async with whole.app.standing.house.store.begin() as tx:
        names = list(await tx.scalars(text("select tablename from pg_tables where schemaname = 'public'")))
        for name in names:
            found = text(f"select count(*) from \"{name}\" one where one::text like '%Quince%'")
            assert await tx.scalar(found) == 0, name
        # It would be found.
        assert await tx.scalar(text("select 'on Quince Hollow Lane' like '%Quince%'"))
