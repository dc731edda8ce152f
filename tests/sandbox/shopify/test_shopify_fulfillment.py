"""Shipping: fulfillment orders, fulfillmentCreate and its traps."""

from collections.abc import Callable
from typing import Any

import pytest

SHIP = """mutation Ship($f: FulfillmentInput!) { fulfillmentCreate(fulfillment: $f) {
  fulfillment { id name status displayStatus totalQuantity trackingInfo { company number url } location { name }
    fulfillmentLineItems(first: 9) { nodes { quantity lineItem { sku } } } }
  userErrors { field message } } }"""
ORDER = """query Order($id: ID!) { order(id: $id) { name updatedAt displayFulfillmentStatus
  lineItems(first: 9) { nodes { id sku quantity unfulfilledQuantity } }
  fulfillments(first: 9) { id status displayStatus trackingInfo { number } }
  fulfillmentOrders(first: 9) { nodes { id status requestStatus assignedLocation { name location { id } }
    supportedActions { action }
    lineItems(first: 9) { nodes { id sku totalQuantity remainingQuantity lineItem { id } } } } } } }"""


async def place(shop: Any, *lines: dict[str, Any]) -> dict[str, Any]:
    """A new order, once its fulfillment orders can be seen."""
    made = await shop.control("state", {"orders": [{"lines": list(lines)}]})
    await shop.control("clock", {"advance": 2})
    return await order(shop, made["orders"][0])


async def order(shop: Any, given: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.data(ORDER, {"id": given}))["order"]
    return {**found, "id": given}


async def skus(shop: Any) -> list[str]:
    return [entry["sku"] for entry in (await shop.control("world"))["skus"]]


async def stock(shop: Any, sku: str, location: str = "Berlin") -> dict[str, int]:
    entry = next(entry for entry in (await shop.control("world"))["skus"] if entry["sku"] == sku)
    found: dict[str, int] = entry["stock"][location]
    return found


def works(found: dict[str, Any]) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = found["fulfillmentOrders"]["nodes"]
    return nodes


def all_of(work: dict[str, Any], *, number: str = "JD01", **tracking: Any) -> dict[str, Any]:
    return {
        "trackingInfo": {"company": "DHL Express", "number": number, **tracking},
        "lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work["id"]}],
    }


def part_of(work: dict[str, Any], quantity: int, line: int = 0, number: str = "JD01") -> dict[str, Any]:
    lines = [{"id": work["lineItems"]["nodes"][line]["id"], "quantity": quantity}]
    return {
        "trackingInfo": {"company": "DHL Express", "number": number},
        "lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work["id"], "fulfillmentOrderLineItems": lines}],
    }


async def ship(shop: Any, given: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await shop.data(SHIP, {"f": given}))["fulfillmentCreate"]
    return answer


async def effects(shop: Any) -> list[dict[str, Any]]:
    return [effect for effect in await shop.effects() if effect["operation"] != "state"]


async def test_an_order_over_two_locations_has_two_fulfillment_orders(shop: Any) -> None:
    first, second = (await skus(shop))[:2]
    found = await place(
        shop, {"sku": first, "quantity": 2, "location": "Berlin"}, {"sku": second, "quantity": 1, "location": "Reno"}
    )
    assert found["displayFulfillmentStatus"] == "UNFULFILLED"
    assert [(work["status"], work["requestStatus"], work["assignedLocation"]["name"]) for work in works(found)] == [
        ("OPEN", "UNSUBMITTED", "Berlin"),
        ("OPEN", "UNSUBMITTED", "Reno"),
    ]
    assert [[line["sku"] for line in work["lineItems"]["nodes"]] for work in works(found)] == [[first], [second]]
    both = {
        "lineItemsByFulfillmentOrder": [{"fulfillmentOrderId": work["id"]} for work in works(found)],
    }
    assert await ship(shop, both) == {
        "fulfillment": None,
        "userErrors": [
            {"field": ["fulfillment"], "message": "All fulfillment orders must be assigned to the same location."}
        ],
    }
    assert (await ship(shop, all_of(works(found)[0])))["userErrors"] == []
    await shop.control("clock", {"advance": 2})
    after = await order(shop, found["id"])
    assert after["displayFulfillmentStatus"] == "PARTIALLY_FULFILLED"
    assert [work["status"] for work in works(after)] == ["CLOSED", "OPEN"]
    assert (await ship(shop, all_of(works(found)[1], number="JD02")))["userErrors"] == []
    await shop.control("clock", {"advance": 2})
    assert (await order(shop, found["id"]))["displayFulfillmentStatus"] == "FULFILLED"


async def test_shipping_all_that_is_left(shop: Any) -> None:
    sku = (await skus(shop))[0]
    before = await stock(shop, sku)
    found = await place(shop, {"sku": sku, "quantity": 3, "location": "Berlin"})
    assert await stock(shop, sku) == {
        "available": before["available"] - 3,
        "committed": before["committed"] + 3,
        "onHand": before["onHand"],
    }
    answer = await ship(shop, all_of(works(found)[0], number="JD0146"))
    parcel = answer["fulfillment"]
    assert answer["userErrors"] == []
    assert parcel == {
        "id": parcel["id"],
        "name": f"{found['name']}-F1",
        "status": "SUCCESS",
        "displayStatus": "FULFILLED",
        "totalQuantity": 3,
        "trackingInfo": [
            {
                "company": "DHL Express",
                "number": "JD0146",
                "url": "https://www.dhl.com/en/express/tracking.html?AWB=JD0146&brand=DHL",
            }
        ],
        "location": {"name": "Berlin"},
        "fulfillmentLineItems": {"nodes": [{"quantity": 3, "lineItem": {"sku": sku}}]},
    }
    assert await stock(shop, sku) == {
        "available": before["available"] - 3,
        "committed": before["committed"],
        "onHand": before["onHand"] - 3,
    }
    (effect,) = await effects(shop)
    line = works(found)[0]["lineItems"]["nodes"][0]
    assert (effect["operation"], effect["key"]) == ("fulfillmentCreate", found["id"])
    assert effect["detail"] == {
        "fulfillmentId": parcel["id"],
        "fulfillmentOrderId": works(found)[0]["id"],
        "trackingNumber": "JD0146",
        "company": "DHL Express",
        "lines": [{"id": line["id"], "lineItemId": line["lineItem"]["id"], "sku": sku, "quantity": 3}],
    }


async def test_the_order_shows_a_parcel_only_after_the_lag_its_fulfillment_order_at_once(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0], "quantity": 1})
    await shop.control("lag", {"seconds": 5})
    parcel = (await ship(shop, all_of(works(found)[0])))["fulfillment"]
    await shop.control("clock", {"advance": 4})
    unseen = await order(shop, found["id"])
    assert (unseen["displayFulfillmentStatus"], unseen["fulfillments"]) == ("UNFULFILLED", [])
    assert (unseen["updatedAt"], unseen["lineItems"]["nodes"][0]["unfulfilledQuantity"]) == (found["updatedAt"], 1)
    assert (works(unseen)[0]["status"], works(unseen)[0]["supportedActions"]) == ("CLOSED", [])
    await shop.control("clock", {"advance": 1})
    seen = await order(shop, found["id"])
    assert seen["displayFulfillmentStatus"] == "FULFILLED"
    assert seen["fulfillments"] == [
        {"id": parcel["id"], "status": "SUCCESS", "displayStatus": "FULFILLED", "trackingInfo": [{"number": "JD01"}]}
    ]
    assert seen["lineItems"]["nodes"][0]["unfulfilledQuantity"] == 0
    # Placed at 12:00:00, shipped at 12:00:02 and seen five seconds later: that is when a poll by update finds it.
    assert (found["updatedAt"], seen["updatedAt"]) == ("2026-11-25T12:00:00Z", "2026-11-25T12:00:07Z")
    query = "query($q: String) { orders(first: 5, query: $q) { nodes { id } } }"
    changed = await shop.data(query, {"q": "updated_at:>='2026-11-25T12:00:07Z'"})
    assert changed["orders"]["nodes"] == [{"id": found["id"]}]


async def test_a_repeat_ships_what_is_left_again(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0], "quantity": 5})
    work = works(found)[0]
    for remaining, status in ((3, "IN_PROGRESS"), (1, "IN_PROGRESS")):
        assert (await ship(shop, part_of(work, 2)))["userErrors"] == []
        after = works(await order(shop, found["id"]))[0]
        assert (after["lineItems"]["nodes"][0]["remainingQuantity"], after["status"]) == (remaining, status)
    too_many = await ship(shop, part_of(work, 2))
    assert too_many["userErrors"] == [
        {"field": ["fulfillment"], "message": "Invalid fulfillment order line item quantity requested."}
    ]
    assert (await ship(shop, all_of(work)))["fulfillment"]["totalQuantity"] == 1
    assert [effect["detail"]["lines"][0]["quantity"] for effect in await effects(shop)] == [2, 2, 1]


async def test_a_closed_fulfillment_order_refuses_without_a_code(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0], "quantity": 1})
    work = works(found)[0]
    await ship(shop, all_of(work))
    answer = await ship(shop, all_of(work))
    number = work["id"].rpartition("/")[2]
    assert answer == {
        "fulfillment": None,
        "userErrors": [
            {
                "field": ["fulfillment"],
                "message": f"Fulfillment order {number} has an unfulfillable status= closed.",
            }
        ],
    }
    assert len(await effects(shop)) == 1


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (
            lambda f: f["lineItemsByFulfillmentOrder"][0].update(fulfillmentOrderId="gid://shopify/FulfillmentOrder/1"),
            ["fulfillment"],
            "Fulfillment order does not exist.",
        ),
        (
            lambda f: f["lineItemsByFulfillmentOrder"][0]["fulfillmentOrderLineItems"][0].update(quantity=0),
            ["fulfillment", "lineItemsByFulfillmentOrder", "0", "fulfillmentOrderLineItems", "0", "quantity"],
            "Quantity must be greater than 0",
        ),
        (
            lambda f: f["lineItemsByFulfillmentOrder"][0]["fulfillmentOrderLineItems"][0].update(quantity=9),
            ["fulfillment"],
            "Invalid fulfillment order line item quantity requested.",
        ),
        (
            lambda f: f["lineItemsByFulfillmentOrder"][0]["fulfillmentOrderLineItems"][0].update(
                id="gid://shopify/FulfillmentOrderLineItem/1"
            ),
            ["fulfillment"],
            "Fulfillment order line item does not exist.",
        ),
        (
            lambda f: f.update(lineItemsByFulfillmentOrder=[]),
            ["fulfillment"],
            "At least one fulfillment order is required.",
        ),
    ],
)
async def test_what_cannot_be_shipped(
    shop: Any, change: Callable[[dict[str, Any]], None], field: list[str], message: str
) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0], "quantity": 2})
    given = part_of(works(found)[0], 1)
    change(given)
    assert await ship(shop, given) == {"fulfillment": None, "userErrors": [{"field": field, "message": message}]}
    assert await effects(shop) == []


async def test_an_order_line_is_no_fulfillment_order_line(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0], "quantity": 2})
    given = part_of(works(found)[0], 1)
    lines = given["lineItemsByFulfillmentOrder"][0]["fulfillmentOrderLineItems"]
    lines[0]["id"] = found["lineItems"]["nodes"][0]["id"]
    answer = await shop.ask(SHIP, {"f": given})
    assert answer["data"] == {"fulfillmentCreate": None}
    assert answer["errors"][0]["extensions"]["code"] == "RESOURCE_NOT_FOUND"
    assert await effects(shop) == []


async def test_work_on_hold_or_cancelled_is_refused(open_shop: Callable[..., Any]) -> None:
    shop = await open_shop(orders=500)
    query = """{ fulfillmentOrders(first: 250, includeClosed: true) { nodes { id status } } }"""
    nodes = (await shop.data(query))["fulfillmentOrders"]["nodes"]
    by_status = {node["status"]: node for node in nodes}
    assert {"OPEN", "IN_PROGRESS", "ON_HOLD", "CLOSED", "CANCELLED"} == set(by_status)
    for status in ("ON_HOLD", "CANCELLED"):
        refused = await ship(shop, all_of(by_status[status]))
        assert refused["userErrors"][0]["message"].endswith(f"unfulfillable status= {status.lower()}.")
    assert await effects(shop) == []
    open_only = (await shop.data(query.replace(", includeClosed: true", "")))["fulfillmentOrders"]["nodes"]
    assert {node["status"] for node in open_only} == {"OPEN", "IN_PROGRESS", "ON_HOLD"}


async def test_fulfillment_orders_appear_a_moment_after_the_order(shop: Any) -> None:
    made = await shop.control("state", {"orders": [{"lines": [{"sku": (await skus(shop))[0]}]}]})
    fresh = await order(shop, made["orders"][0])
    assert works(fresh) == []
    await shop.control("clock", {"advance": 2})
    assert len(works(await order(shop, made["orders"][0]))) == 1


async def test_an_app_without_the_scope_of_own_locations_finds_no_work(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0]})
    await shop.control("tokens", {"token": "t", "scopes": ["read_orders", "read_third_party_fulfillment_orders"]})
    query = "query($id: ID!) { order(id: $id) { fulfillmentOrders(first: 5) { nodes { id } } } }"
    limited = await shop.data(query, {"id": found["id"]}, token="t")
    assert limited["order"]["fulfillmentOrders"]["nodes"] == []
    full = await shop.data(query, {"id": found["id"]})
    assert len(full["order"]["fulfillmentOrders"]["nodes"]) == 1


async def test_cancelling_reopens_and_a_second_time_changes_nothing(shop: Any) -> None:
    sku = (await skus(shop))[0]
    found = await place(shop, {"sku": sku, "quantity": 2, "location": "Berlin"})
    held = await stock(shop, sku)
    parcel = (await ship(shop, all_of(works(found)[0])))["fulfillment"]
    await shop.control("clock", {"advance": 2})
    cancel = """mutation($id: ID!) { fulfillmentCancel(id: $id) {
      fulfillment { status displayStatus } userErrors { message } } }"""
    for _ in range(2):
        answer = await shop.data(cancel, {"id": parcel["id"]})
        assert answer["fulfillmentCancel"] == {
            "fulfillment": {"status": "CANCELLED", "displayStatus": "CANCELED"},
            "userErrors": [],
        }
    after = await order(shop, found["id"])
    assert after["displayFulfillmentStatus"] == "UNFULFILLED"
    assert (works(after)[0]["status"], works(after)[0]["lineItems"]["nodes"][0]["remainingQuantity"]) == ("OPEN", 2)
    assert await stock(shop, sku) == held
    assert [effect["operation"] for effect in await effects(shop)] == ["fulfillmentCreate", "fulfillmentCancel"]
    assert (await ship(shop, all_of(works(found)[0], number="JD02")))["userErrors"] == []
    unknown = await shop.data(cancel, {"id": "gid://shopify/Fulfillment/1"})
    assert unknown["fulfillmentCancel"]["userErrors"] == [{"message": "Fulfillment does not exist."}]


async def test_tracking_is_replaced_also_on_a_cancelled_parcel(shop: Any) -> None:
    found = await place(shop, {"sku": (await skus(shop))[0]})
    parcel = (await ship(shop, all_of(works(found)[0])))["fulfillment"]
    update = """mutation($id: ID!, $t: FulfillmentTrackingInput!) {
      fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $t) {
        fulfillment { trackingInfo { company number url } } userErrors { field message } } }"""
    cancel = "mutation($id: ID!) { fulfillmentCancel(id: $id) { userErrors { message } } }"
    await shop.data(cancel, {"id": parcel["id"]})
    given = {"company": "Kiez Courier", "numbers": ["A", "B"], "urls": ["https://example.test/A"]}
    answer = await shop.data(update, {"id": parcel["id"], "t": given})
    assert answer["fulfillmentTrackingInfoUpdate"]["fulfillment"]["trackingInfo"] == [
        {"company": "Kiez Courier", "number": "A", "url": "https://example.test/A"},
        {"company": "Kiez Courier", "number": "B", "url": None},
    ]
    unknown = await shop.data(update, {"id": "gid://shopify/Fulfillment/1", "t": given})
    assert unknown["fulfillmentTrackingInfoUpdate"]["userErrors"] == [
        {"field": ["fulfillmentId"], "message": "Fulfillment does not exist."}
    ]
