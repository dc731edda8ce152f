"""What is kept of a channel that acorn.toml names no more can be read for good, and nobody can change it any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.channel import Channel
from domain.ids import ChannelId, listing_id, node_id
from domain.product import Listing
from resolvers.shelf import Shelf
from store import channel, product
from store.session import Store
from tests.resolvers.platform import make_listing
from tests.resolvers.test_shipment import CHANNEL, CountingBell, keep, make_order
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.schema.test_settlement import kept, line

# In Los Angeles it is still the day before.
ORDER = make_order(placed_at=datetime(2026, 11, 2, 3, tzinfo=UTC))
SHOP = "channel { id name platform marketplaces }"
OLD = {"id": "Channel:shop", "name": "The old shop", "platform": "SHOPIFY", "marketplaces": []}


@pytest.fixture
def house(store: Store, redis: Redis) -> House:
    return House(store, redis)


def without_shop(house: House, past: dict[ChannelId, Channel] | None = None) -> Shelf:
    """A gateway whose acorn.toml names the shop no more."""
    here = house.amazon.channel.id
    shelf = replace(house.shelf, bell=CountingBell(), past=past or {})
    return replace(shelf, channels={here: shelf.channels[here]}, ports={here: shelf.ports[here]})


async def remembering(house: House) -> Shelf:
    """That gateway, with what was kept of the shop while it was configured."""
    shop = replace(house.shop.channel, name="The old shop", time_zone="America/Los_Angeles")
    async with house.store.begin() as tx:
        await channel.remember(tx, [replace(shop, name="The shop"), house.amazon.channel])
        await channel.remember(tx, [shop])
        past = await channel.remembered(tx)
    assert past == {shop.id: shop, house.amazon.channel.id: house.amazon.channel}
    return without_shop(house, past)


async def listed(house: House) -> Listing:
    one = make_listing("A0", house.shop)
    async with house.store.begin() as tx:
        await product.upsert_listings(tx, [one])
    return one


async def read(shelf: Shelf, query: str, **variables: Any) -> Any:
    data, errors, _ = await ask(shelf, query, **variables)
    assert errors == []
    return data


async def test_what_is_kept_of_a_channel_that_is_gone_can_be_read(house: House) -> None:
    shelf = await remembering(house)
    listing = await listed(house)
    await keep(shelf, ORDER)
    settlement = await kept(shelf.store, [line("-39.00")])
    order = {"id": node_id("Order", ORDER.id), "businessDay": "2026-11-01", "channel": OLD}
    data = await read(
        shelf,
        f"""query($order: ID!, $listing: ID!, $settlement: ID!, $key: _Any!) {{
          orders {{ nodes {{ id businessDay {SHOP} }} }}
          order(id: $order) {{ id businessDay {SHOP} }}
          _entities(representations: [$key]) {{ ... on Order {{ id businessDay {SHOP} }} }}
          listing: node(id: $listing) {{ ... on Listing {{ {SHOP} }} }}
          product(sku: "A0") {{ listings {{ {SHOP} }} }}
          settlement: node(id: $settlement) {{ ... on Settlement {{ {SHOP} lines {{ nodes {{ {SHOP} }} }} }} }}
          settlements {{ nodes {{ {SHOP} }} }}
          of: orders(filter: {{ channelId: "Channel:shop" }}) {{ totalCount }}
          profit(
            filter: {{ from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z", channelId: "Channel:shop" }}
            groupBy: [CHANNEL]
          ) {{ dimensions {{ value }} fees {{ amount }} }}
        }}""",
        order=order["id"],
        key={"__typename": "Order", "id": order["id"]},
        listing=node_id("Listing", listing_id(CHANNEL, None, listing.channel_sku)),
        settlement=settlement,
    )
    assert (data["orders"]["nodes"], data["order"], data["_entities"]) == ([order], order, [order])
    assert (data["listing"]["channel"], data["product"]["listings"]) == (OLD, [{"channel": OLD}])
    assert (data["settlement"]["channel"], data["settlements"]["nodes"]) == (OLD, [{"channel": OLD}])
    assert data["settlement"]["lines"]["nodes"] == [{"channel": OLD}]
    assert data["of"]["totalCount"] == 1
    assert data["profit"] == [{"dimensions": [{"value": "Channel:shop"}], "fees": {"amount": "39.00"}}]


async def test_a_channel_that_is_gone_says_so_and_is_listed_no_more(house: House) -> None:
    shelf = await remembering(house)
    data = await read(
        shelf,
        """{ node(id: "Channel:shop") { ... on Channel { name healthy ailments budgets { operation } } }
             channels { id } none: node(id: "Channel:other") { id } }""",
    )
    told = data["node"]
    assert (told["name"], told["healthy"], told["budgets"]) == ("The old shop", False, [])
    assert told["ailments"] == [
        "configured no more: what is kept of it can be read, and nothing is read from it or told to it"
    ]
    assert (data["channels"], data["none"]) == ([{"id": f"Channel:{house.amazon.channel.id}"}], None)


async def test_a_channel_that_nobody_remembers_goes_by_its_id(house: House) -> None:
    shelf = without_shop(house)
    await keep(shelf, ORDER)
    data = await read(shelf, "{ orders { nodes { businessDay channel { id name healthy marketplaces } } } }")
    known = {"id": "Channel:shop", "name": "shop", "healthy": False, "marketplaces": []}
    assert data["orders"]["nodes"] == [{"businessDay": "2026-11-02", "channel": known}]


CHANGES = {
    "confirmShipments": """confirmShipments(input: { shipments: [
        { orderId: $id, carrier: "DHL", trackingNumber: "JD01", shippedAt: "2026-11-03T09:00:00Z" }] })""",
    "cancelOrders": "cancelOrders(input: { orders: [{ orderId: $id, reason: INVENTORY }] })",
    "refundOrders": """refundOrders(input: { refunds: [
        { orderId: $id, amount: "5.00", currency: "EUR", reason: "broken" }] })""",
    "syncNow": 'syncNow(input: { channelId: "Channel:shop", streams: ["orders"] })',
    "updatePrices": """updatePrices(input: { prices: [
        { sku: "A0", channelId: "Channel:shop", amount: "5.00", currency: "EUR" }] })""",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_nothing_of_a_channel_that_is_gone_can_be_changed(house: House, change: str) -> None:
    shelf = await remembering(house)
    await listed(house)
    await keep(shelf, ORDER)
    field = CHANGES[change].replace("$id", f'"{node_id("Order", ORDER.id)}"')
    data = await read(shelf, f"mutation {{ {field} {{ operation {{ id }} userErrors {{ message }} }} }}")
    assert data[change]["operation"] is None
    [told] = data[change]["userErrors"]
    assert "shop" in told["message"]
