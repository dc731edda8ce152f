"""The shop's world: the very one of the Shopify sandbox, changed from outside, and told of by webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from conformance.listener import Told, listening
from sandbox.options import Options
from sandbox.shop.app import build
from sandbox.shopify.app import build as build_shopify
from tests.sandbox.shop.conftest import START, Client, Open

OPTIONS = Options(products=60, orders=100, speed=0.0, start=START)


async def world_of(app: Any) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        told: dict[str, Any] = (await client.get("/_sandbox/world")).json()
        return told


async def test_products_places_stock_and_orders_are_those_of_the_shopify_sandbox() -> None:
    ours, theirs = await world_of(build(OPTIONS)), await world_of(build_shopify(OPTIONS))
    for name in ("sku", "price", "stock"):
        assert [row[name] for row in ours["skus"]] == [row[name] for row in theirs["skus"]]
    assert [row["name"] for row in ours["locations"]] == [row["name"] for row in theirs["locations"]]

    def bought(told: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
        return {row["name"]: [(line["sku"], line["quantity"]) for line in row["lines"]] for row in told["orders"]}

    assert len(ours["orders"]) > 15
    assert bought(ours) == {name: lines for name, lines in bought(theirs).items() if name in bought(ours)}


async def test_a_buyer_gets_all_or_nothing_and_is_told_of(shop: Client) -> None:
    sku = (await shop.control("world"))["skus"][1]["sku"]
    await shop.control(
        "state",
        {"stock": [{"sku": sku, "location": "Berlin", "quantity": 2}, {"sku": sku, "location": "Reno", "quantity": 0}]},
    )
    refused = await shop.control("buy", {"lines": [{"sku": sku, "quantity": 3}]})
    assert refused == {"order": None, "refused": [{"sku": sku, "quantity": 3, "available": 2}]}
    bought = await shop.control("buy", {"lines": [{"sku": sku, "quantity": 2}], "reservation": "res_1"})
    order = await shop.json(f"/orders/{bought['order']}")
    assert (order["status"], order["payment_status"], order["reservation"]) == ("open", "paid", "res_1")
    levels = (await shop.json(f"/stock?sku={sku}"))["data"]
    assert (levels[0]["available"], levels[0]["reserved"]) == (0, 2 + await reserved_before(shop, sku))


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "mug", True])
async def test_what_is_no_price_changes_nothing(shop: Client, amount: object) -> None:
    sku = (await shop.control("world"))["skus"][0]["sku"]
    for body in (
        {"prices": [{"sku": sku, "amount": amount}]},
        {"orders": [{"lines": [{"sku": sku, "price": amount}]}]},
    ):
        answer = await shop.http.post("http://shop/_sandbox/state", json=body)
        assert (answer.status_code, answer.json()["error"].partition(" is n")[1]) == (400, " is n")
    assert await shop.effects() == []
    await shop.control("state", {"prices": [{"sku": sku, "amount": "1.25"}]})
    assert len(await shop.effects()) == 1


async def reserved_before(shop: Client, sku: str) -> int:
    """Units of the first orders that still lie in Berlin."""
    rows = (await shop.json("/orders?limit=250"))["data"]
    lines = [line for row in rows[:-1] for line in row["lines"] if (line["sku"], line["location_id"]) == (sku, "loc_1")]
    return sum(line["quantity"] - line["shipped"] - line["cancelled"] for line in lines)


async def test_stock_that_lags_is_shown_late_and_writes_may_be_swallowed(shop: Client) -> None:
    sku = (await shop.control("world"))["skus"][0]["sku"]
    item = {"sku": sku, "location_id": "loc_1"}
    await shop.send("PATCH", "/stock:bulk", {"mode": "set", "items": [{**item, "quantity": 5}]})
    await shop.control("moods", {"lag": 60})
    await shop.send("PATCH", "/stock:bulk", {"mode": "set", "items": [{**item, "quantity": 9, "expected": 5}]})
    assert (await shop.json(f"/stock?sku={sku}"))["data"][0]["available"] == 5
    await shop.control("clock", {"advance": 61})
    assert (await shop.json(f"/stock?sku={sku}"))["data"][0]["available"] == 9
    await shop.control("moods", {"ignore": 1, "skus": [sku]})
    await shop.send("PATCH", "/stock:bulk", {"mode": "set", "items": [{**item, "quantity": 1}]})
    assert (await shop.json(f"/stock?sku={sku}"))["data"][0]["available"] == 9


async def test_a_payout_is_made_of_what_was_not_yet_paid_out(shop: Client) -> None:
    sku = (await shop.control("world"))["skus"][2]["sku"]
    await shop.control("state", {"orders": [{"lines": [{"sku": sku, "quantity": 1, "price": "10.00"}]}]})
    await shop.control("clock", {"advance": 1})
    made = (await shop.control("payout", {}))["payout"]
    rows = (await shop.json(f"/transactions?payout_id={made}"))["data"]
    payout = (await shop.json("/payouts?limit=250"))["data"][-1]
    assert payout["id"] == made
    assert f"{sum(float(row['net']['amount']) for row in rows):.2f}" == payout["net"]["amount"]
    assert (await shop.control("payout", {}))["payout"] is None


@pytest.mark.parametrize(
    ("travel", "enough"),
    [
        ({"copies": 3}, lambda told: len(told) == 3 and len({one.id for one in told}) == 1),
        ({"forge": True}, lambda told: len(told) == 1),
    ],
)
async def test_webhooks_travel_as_ordered(
    open_shop: Open, travel: dict[str, Any], enough: Callable[[list[Told]], bool]
) -> None:
    shop = await open_shop()
    async with listening() as listener:
        hook = {"url": f"http://127.0.0.1:{listener.port}/hook", "events": ["ping", "product.updated"]}
        endpoint = (await shop.send("POST", "/webhook-endpoints", hook)).json()
        await shop.control("webhooks", travel)
        world = await shop.control("world")
        await shop.control("state", {"prices": [{"sku": world["skus"][0]["sku"], "amount": "1.23"}]})
        told = await listener.wait("hook", enough, 20)
        assert enough(told)
        assert all(one.signed(endpoint["secret"]) is not travel.get("forge", False) for one in told)
        assert abs(int(told[0].headers["webhook-timestamp"]) - datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()) < 5
        # The answer to the last delivery is on its way back.
        async with asyncio.timeout(20):
            while (await shop.control("webhooks"))["pending"]:
                await asyncio.sleep(0.01)
        deliveries = (await shop.json(f"/webhook-endpoints/{endpoint['id']}/deliveries"))["data"]
        assert {row["state"] for row in deliveries} == {"delivered"}
        await shop.ask("DELETE", f"/webhook-endpoints/{endpoint['id']}")


def test_parts_and_points_there_are_none_of_are_refused() -> None:
    with pytest.raises(ValueError, match="'nothing' is none of token, products"):
        build(OPTIONS, without=["nothing"])
    with pytest.raises(ValueError, match=r"'nothing' is none of start\.shop"):
        build(OPTIONS, broken=["nothing"])
