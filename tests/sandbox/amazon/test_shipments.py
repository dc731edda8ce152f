"""confirmShipment."""

from typing import Any

import httpx
import pytest

from sandbox.amazon.visit import Seller, confirmation, error, to_ship
from sandbox.visit import advance, effects, world


async def test_a_confirmation_is_taken_at_once_and_seen_after_the_lag(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)

    async def seen() -> tuple[str, list[int], int]:
        shown = (await na.order(order["id"], "FULFILLMENT", "PACKAGES")).json()["order"]
        fulfilled = [item["fulfillment"]["quantityFulfilled"] for item in shown["orderItems"]]
        return shown["fulfillment"]["fulfillmentStatus"], fulfilled, len(shown["packages"])

    nothing = [0 for _ in order["lines"]]
    answer = await na.confirm(order["id"], confirmation(order))
    assert (answer.status_code, answer.content) == (204, b"")
    assert await seen() == ("UNSHIPPED", nothing, 0)
    await advance(client, 2)
    assert await seen() == ("SHIPPED", [line["quantity"] for line in order["lines"]], 1)
    (effect,) = await effects(client)
    assert (effect["operation"], effect["key"]) == ("confirmShipment", order["id"])
    assert effect["detail"] == {
        "packageReferenceId": "1",
        "trackingNumber": "1Z999AA10123456784",
        "carrierCode": "UPS",
        "items": [{"orderItemId": line["id"], "quantity": line["quantity"]} for line in order["lines"]],
        "shipDate": order["createdTime"],
        "edit": False,
    }


async def test_the_same_reference_edits_the_parcel_and_another_ships_more(
    client: httpx.AsyncClient, na: Seller
) -> None:
    await client.post("/_sandbox/lag", json={"seconds": 0})
    order = await to_ship(client, units=2)
    one = [{"orderItemId": order["lines"][0]["id"], "quantity": 1}]
    assert (await na.confirm(order["id"], confirmation(order, orderItems=one))).status_code == 204
    assert (await na.confirm(order["id"], confirmation(order, orderItems=one, trackingNumber="NEW"))).status_code == 204
    shown = (await na.order(order["id"], "FULFILLMENT", "PACKAGES")).json()["order"]
    assert shown["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert [(p["packageReferenceId"], p["trackingNumber"]) for p in shown["packages"]] == [("1", "NEW")]
    again = await na.confirm(order["id"], confirmation(order, packageReferenceId="2"))
    assert error(again) == (400, "Invalid Input")
    rest = [{"orderItemId": line["id"], "quantity": line["quantity"]} for line in order["lines"]]
    rest[0]["quantity"] -= 1
    rest = [item for item in rest if item["quantity"]]
    second = confirmation(order, packageReferenceId="2", orderItems=rest)
    assert (await na.confirm(order["id"], second)).status_code == 204
    shown = (await na.order(order["id"], "FULFILLMENT", "PACKAGES")).json()["order"]
    assert shown["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert [package["packageReferenceId"] for package in shown["packages"]] == ["1", "2"]
    assert [effect["detail"]["edit"] for effect in await effects(client)] == [False, True, False]


@pytest.mark.parametrize(
    "changed",
    [
        {"packageReferenceId": 1},
        {"packageReferenceId": "0"},
        {"packageReferenceId": "one"},
        {"packageReferenceId": None},
        {"carrierCode": ""},
        {"carrierCode": "Other"},
        {"trackingNumber": ""},
        {"shipDate": "02/21/2022"},
        {"shipDate": "2026-01-01T00:00:00Z"},
        {"shipDate": "2026-03-09T00:00:00Z"},
        {"orderItems": []},
        {"orderItems": {"orderItemId": "1", "quantity": 1}},
        {"orderItems": [{"orderItemId": "1", "quantity": 1}]},
        {"shippedAt": "2026-03-01T00:00:00Z"},
    ],
)
async def test_a_confirmation_is_checked_strictly(
    client: httpx.AsyncClient, na: Seller, changed: dict[str, object]
) -> None:
    order = await to_ship(client)
    assert error(await na.confirm(order["id"], confirmation(order, **changed))) == (400, "Invalid Input")
    assert await effects(client) == []


async def test_quantities_above_what_is_unshipped_are_refused_at_the_exact_line(
    client: httpx.AsyncClient, na: Seller
) -> None:
    order = await to_ship(client, units=2)
    line = order["lines"][0]

    def of(units: object) -> dict[str, Any]:
        return confirmation(order, orderItems=[{"orderItemId": line["id"], "quantity": units}])

    assert error(await na.confirm(order["id"], of(line["unshipped"] + 1))) == (400, "Invalid Input")
    assert error(await na.confirm(order["id"], of(0))) == (400, "Invalid Input")
    assert error(await na.confirm(order["id"], of("1"))) == (400, "Invalid Input")
    assert (await na.confirm(order["id"], of(line["unshipped"]))).status_code == 204


async def test_an_accepted_parcel_counts_before_it_is_seen(client: httpx.AsyncClient, na: Seller) -> None:
    order = await to_ship(client)
    assert (await na.confirm(order["id"], confirmation(order))).status_code == 204
    twice = await na.confirm(order["id"], confirmation(order, packageReferenceId="2"))
    assert error(twice) == (400, "Invalid Input")


async def test_other_with_a_name_is_a_carrier(client: httpx.AsyncClient, na: Seller) -> None:
    await client.post("/_sandbox/lag", json={"seconds": 0})
    order = await to_ship(client)
    body = confirmation(order, carrierCode="Other", carrierName="Bike Courier")
    assert (await na.confirm(order["id"], body)).status_code == 204
    shown = (await na.order(order["id"], "PACKAGES")).json()["order"]
    assert shown["packages"][0]["carrier"] == "Bike Courier"


async def test_only_open_orders_of_the_merchant_can_be_shipped(client: httpx.AsyncClient, na: Seller) -> None:
    orders = (await world(client))["orders"]
    mine = [order for order in orders if order["marketplace"] == "US"]
    amazons = next(o for o in mine if (o["status"], o["fulfilledBy"]) == ("UNSHIPPED", "AMAZON"))
    pending = next(o for o in mine if o["status"] == "PENDING")
    for order in (amazons, pending):
        assert error(await na.confirm(order["id"], confirmation(order))) == (400, "Invalid Input")
    unknown = await na.confirm("112-0000000-0000000", confirmation(await to_ship(client)))
    assert error(unknown) == (404, "NotFound")
    foreign = next(order for order in orders if order["marketplace"] == "DE" and order["status"] == "UNSHIPPED")
    assert error(await na.confirm(foreign["id"], confirmation(foreign))) == (400, "Invalid Input")
