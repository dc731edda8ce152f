"""Buyers who come by themselves: as many as were asked for, no more than there is, and all of it in the journal."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from sandbox.amazon.app import build as amazon
from sandbox.options import Options
from sandbox.shopify.app import build as shopify
from sandbox.visit import effects, inside, world

SMALL = Options(products=20, orders=0, speed=100)
BOTH = pytest.mark.parametrize("build", [amazon, shopify])


async def sold(client: httpx.AsyncClient, **wanted: Any) -> dict[str, Any]:
    """What a sale came to."""
    begun = await client.post("/_sandbox/sale", json=wanted)
    assert begun.status_code == 200, begun.text
    async with asyncio.timeout(60):
        while (now := (await client.get("/_sandbox/sale")).json())["running"]:
            await asyncio.sleep(0.01)
    told: dict[str, Any] = now
    return told


@BOTH
async def test_as_many_buyers_come_as_were_asked_for_and_each_is_an_order(build: Any) -> None:
    async with inside(build(SMALL)) as client:
        done = await sold(client, orders=60, seconds=30)
        assert done["placed"] + done["left"] == done["wanted"] == 60
        placed = [one for one in await effects(client) if "lines" in one["detail"]]
        assert len({one["key"] for one in placed}) == done["placed"] == len((await world(client))["orders"])


async def test_nobody_gets_more_than_there_is_at_amazon() -> None:
    async with inside(amazon(Options(products=10, orders=0, speed=100, marketplaces=("US",)))) as client:
        skus = [one["sku"] for one in (await world(client))["skus"] if one["fulfilledBy"] == "AMAZON"]
        few = [{"sku": sku, "pool": "US", "quantity": 3} for sku in skus]
        (await client.post("/_sandbox/state", json={"stock": few})).raise_for_status()
        done = await sold(client, orders=30, seconds=1, merchant=0)
        assert 0 < done["placed"] < 30
        assert done["soldOut"] >= 20 * done["left"] > 0
        left = [one["pools"]["US"]["fulfillable"] for one in (await world(client))["skus"] if "pools" in one]
        assert min(left) == 0


async def test_nobody_gets_more_than_there_is_in_the_shop() -> None:
    async with inside(shopify(Options(products=4, orders=0, speed=100))) as client:
        skus = [one["sku"] for one in (await world(client))["skus"]]
        few = [
            {"sku": sku, "location": place, "quantity": units}
            for sku in skus
            for place, units in (("Berlin", 3), ("Reno", 0))
        ]
        (await client.post("/_sandbox/state", json={"stock": few})).raise_for_status()
        done = await sold(client, orders=30, seconds=1)
        assert 0 < done["placed"] < 30
        assert done["soldOut"] >= 20 * done["left"] > 0
        assert min(one["stock"]["Berlin"]["available"] for one in (await world(client))["skus"]) == 0


@BOTH
async def test_two_sales_at_once_are_refused_and_so_is_nonsense(build: Any) -> None:
    async with inside(build(SMALL)) as client:
        assert (await client.post("/_sandbox/sale", json={"orders": 5, "seconds": 1e6})).status_code == 200
        assert (await client.post("/_sandbox/sale", json={"orders": 5, "seconds": 1})).status_code == 400
        for bad in ({"orders": 0, "seconds": 1}, {"orders": 5}, {"orders": 5, "seconds": -1}, {"orders": 5, "secs": 1}):
            assert (await client.post("/_sandbox/sale", json=bad)).status_code == 400


async def test_what_the_merchant_sends_has_to_leave_within_what_was_said() -> None:
    async with inside(amazon(SMALL)) as client:
        await sold(client, orders=20, seconds=1, merchant=1, shipWithin=3600)
        orders = (await world(client))["orders"]
        assert {one["fulfilledBy"] for one in orders} == {"MERCHANT"}
