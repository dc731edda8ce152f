"""Confirming parcels: each exactly once, whatever happens to the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest

from adapters.port import OrderKey, Parcel, Sighting
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import (
    Conflict,
    HouseError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Throttled,
    Transient,
    Unauthorized,
)
from tests.adapters.shopify.bench import LONG_AGO, OpenPort, Sandbox, Script, connection, key_of, parcel_of


class Sends:
    """Counts the requests that were about to leave; `refuse` stops the nth."""

    def __init__(self, refuse: int | None = None) -> None:
        self.count = 0
        self.refuse = refuse

    async def __call__(self) -> None:
        self.count += 1
        if self.count == self.refuse:
            raise RuntimeError("the lease is lost")


async def skus(sandbox: Sandbox, count: int) -> list[str]:
    return [row["sku"] for row in (await sandbox.get("world", limit=count, offset=400))["skus"]]


def shipped(effects: list[dict[str, Any]]) -> list[tuple[str, str, dict[str, int]]]:
    """(order, tracking number, units by line) of each fulfillment made."""
    assert {effect["operation"] for effect in effects} <= {"fulfillmentCreate"}
    return [
        (
            effect["key"],
            effect["detail"]["trackingNumber"],
            {line["lineItemId"]: line["quantity"] for line in effect["detail"]["lines"]},
        )
        for effect in effects
    ]


def line_ids(order: Mapping[str, Any]) -> list[str]:
    return [line["id"] for line in order["lines"]]


async def confirm(port: ShopifyPort, key: OrderKey, parcel: Parcel, sends: Sends | None = None) -> Any:
    return await port.confirm_shipment(key, parcel, Ask(), sends or Sends())


async def test_a_parcel_is_confirmed_and_seen_after_the_lag(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 2, "location": "Berlin"})
    (line,) = line_ids(order)
    parcel, key = parcel_of("T-1", (line, 2)), key_of(order)
    journal, sends = await sandbox.journal(), Sends()
    receipt = await confirm(port, key, parcel, sends)
    assert sends.count == 1
    assert shipped(await journal.effects()) == [(order["id"], "T-1", {line: 2})]
    (effect,) = await journal.effects()
    assert receipt.reference == effect["detail"]["fulfillmentId"]
    assert receipt.upstream_request_id
    assert (await port.parcel_seen(key, parcel, Ask())).found is False
    await sandbox.show()
    sighting = await port.parcel_seen(key, parcel, Ask())
    assert sighting.found is True
    assert sighting.upstream_request_id
    assert await journal.calls() == ["nodes", "fulfillmentCreate", "nodes", "nodes"]


async def test_confirming_again_sends_nothing(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 2, "location": "Berlin"})
    (line,) = line_ids(order)
    parcel, journal = parcel_of("T-2", (line, 1)), await sandbox.journal()
    first = await confirm(port, key_of(order), parcel)
    # One of two units is shipped and not visible yet: sending once more would ship the other one.
    sends = Sends()
    with pytest.raises(OutcomeUnknown, match="does not show yet"):
        await confirm(port, key_of(order), parcel, sends)
    await sandbox.show()
    again = await confirm(port, key_of(order), parcel, sends)
    assert again.reference == first.reference
    assert sends.count == 0
    assert shipped(await journal.effects()) == [(order["id"], "T-2", {line: 1})]


async def test_partial_shipments(sandbox: Sandbox, port: ShopifyPort) -> None:
    one, two = await skus(sandbox, 2)
    order = await sandbox.place_order(
        {"sku": one, "quantity": 3, "location": "Berlin"}, {"sku": two, "quantity": 1, "location": "Berlin"}
    )
    a, b = line_ids(order)
    journal = await sandbox.journal()
    await confirm(port, key_of(order), parcel_of("T-3", (a, 2)))
    # Another line is not held up by the first parcel's being invisible.
    await confirm(port, key_of(order), parcel_of("T-4", (b, 1)))
    await sandbox.show()
    await confirm(port, key_of(order), parcel_of("T-5", (a, 1)))
    assert shipped(await journal.effects()) == [
        (order["id"], "T-3", {a: 2}),
        (order["id"], "T-4", {b: 1}),
        (order["id"], "T-5", {a: 1}),
    ]
    await sandbox.show()
    with pytest.raises(Conflict, match="has 0 of it open"):
        await confirm(port, key_of(order), parcel_of("T-6", (a, 1)))
    assert len(await journal.effects()) == 3


async def test_a_parcel_over_two_locations(sandbox: Sandbox, port: ShopifyPort) -> None:
    one, two = await skus(sandbox, 2)
    order = await sandbox.place_order(
        {"sku": one, "quantity": 1, "location": "Berlin"}, {"sku": two, "quantity": 2, "location": "Reno"}
    )
    a, b = line_ids(order)
    parcel, journal, sends = parcel_of("T-7", (a, 1), (b, 2)), await sandbox.journal(), Sends()
    receipt = await confirm(port, key_of(order), parcel, sends)
    assert sends.count == 2
    # The fullest place first.
    assert shipped(await journal.effects()) == [(order["id"], "T-7", {b: 2}), (order["id"], "T-7", {a: 1})]
    assert receipt.reference == " ".join(effect["detail"]["fulfillmentId"] for effect in await journal.effects())
    await sandbox.show()
    assert (await port.parcel_seen(key_of(order), parcel, Ask())).found is True


async def test_the_second_half_follows_a_lost_first_half(sandbox: Sandbox, port: ShopifyPort) -> None:
    one, two = await skus(sandbox, 2)
    order = await sandbox.place_order(
        {"sku": one, "quantity": 1, "location": "Berlin"}, {"sku": two, "quantity": 2, "location": "Reno"}
    )
    a, b = line_ids(order)
    parcel, journal = parcel_of("T-8", (a, 1), (b, 2)), await sandbox.journal()
    with pytest.raises(RuntimeError, match="lease"):
        await confirm(port, key_of(order), parcel, Sends(refuse=2))
    assert shipped(await journal.effects()) == [(order["id"], "T-8", {b: 2})]
    await sandbox.show()
    assert (await port.parcel_seen(key_of(order), parcel, Ask())).found is False
    sends = Sends()
    receipt = await confirm(port, key_of(order), parcel, sends)
    assert sends.count == 1
    assert shipped(await journal.effects()) == [(order["id"], "T-8", {b: 2}), (order["id"], "T-8", {a: 1})]
    # Who looks for the parcel by its names looks for all of it.
    assert receipt.reference.split() == [effect["detail"]["fulfillmentId"] for effect in await journal.effects()]


@pytest.mark.parametrize("kind", ["apply_then_status", "apply_then_reset"])
async def test_a_lost_answer_leaves_the_outcome_unknown(sandbox: Sandbox, port: ShopifyPort, kind: str) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    (line,) = line_ids(order)
    parcel, journal = parcel_of(f"T-{kind}", (line, 1)), await sandbox.journal()
    await sandbox.faults({"operation": "fulfillmentCreate", "kind": kind, "status": 503, "count": 1})
    with pytest.raises(OutcomeUnknown):
        await confirm(port, key_of(order), parcel)
    await sandbox.show()
    assert (await port.parcel_seen(key_of(order), parcel, Ask())).found is True
    sends = Sends()
    await confirm(port, key_of(order), parcel, sends)
    assert sends.count == 0
    assert shipped(await journal.effects()) == [(order["id"], f"T-{kind}", {line: 1})]


async def test_a_server_fault_with_data_leaves_the_outcome_unknown(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    parcel, journal = parcel_of("T-9", (line_ids(order)[0], 1)), await sandbox.journal()
    await sandbox.post("internal-errors", operation="fulfillmentCreate", count=1)
    with pytest.raises(OutcomeUnknown, match="INTERNAL_SERVER_ERROR"):
        await confirm(port, key_of(order), parcel)
    assert len(await journal.effects()) == 1


async def test_a_write_that_did_not_happen_is_found_absent_and_sent_again(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    parcel, journal = parcel_of("T-10", (line_ids(order)[0], 1)), await sandbox.journal()
    await sandbox.faults({"operation": "fulfillmentCreate", "kind": "status", "status": 502, "count": 1})
    with pytest.raises(OutcomeUnknown):
        await confirm(port, key_of(order), parcel)
    await sandbox.show()
    assert (await port.parcel_seen(key_of(order), parcel, Ask())).found is False
    await confirm(port, key_of(order), parcel)
    assert len(await journal.effects()) == 1


async def test_nothing_is_sent_when_the_caller_may_not_send(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    journal = await sandbox.journal()
    with pytest.raises(RuntimeError, match="lease"):
        await confirm(port, key_of(order), parcel_of("T-11", (line_ids(order)[0], 1)), Sends(refuse=1))
    assert await journal.calls() == ["nodes"]


async def test_throttled_writes_were_not_made(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    parcel, journal = parcel_of("T-12", (line_ids(order)[0], 1)), await sandbox.journal()
    await sandbox.faults({"operation": "fulfillmentCreate", "kind": "status", "status": 429, "count": 1})
    with pytest.raises(Throttled) as caught:
        await confirm(port, key_of(order), parcel)
    assert caught.value.retry_after_s == 2.0
    await confirm(port, key_of(order), parcel)
    assert len(await journal.effects()) == 1


async def test_what_an_order_does_not_have_is_refused(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    order = await sandbox.place_order({"sku": sku, "quantity": 1, "location": "Berlin"})
    (line,) = line_ids(order)
    journal = await sandbox.journal()
    with pytest.raises(Conflict, match=f"1 units of {line} cannot be shipped: the order {order['name']} has 1 of it"):
        await confirm(port, key_of(order), parcel_of("T-13", (line, 2)))
    with pytest.raises(Conflict, match="it is not a line"):
        await confirm(port, key_of(order), parcel_of("T-13", ("gid://shopify/LineItem/1", 1)))
    with pytest.raises(Invalid, match="without lines"):
        await confirm(port, key_of(order), parcel_of("T-13"))
    with pytest.raises(NotFound):
        await confirm(port, OrderKey("gid://shopify/Order/1", None), parcel_of("T-13", (line, 1)))
    with pytest.raises(NotFound):
        await port.parcel_seen(OrderKey("gid://shopify/Order/1", None), parcel_of("T-13", (line, 1)), Ask())
    assert await journal.effects() == []


async def test_an_order_on_hold_is_refused(sandbox: Sandbox, port: ShopifyPort) -> None:
    held = [o async for page in port.order_pages(LONG_AGO, Ask()) for o in page.items if o.status.value == "ON_HOLD"]
    line = held[0].lines[0]
    with pytest.raises(Conflict, match="its fulfillment order is ON_HOLD"):
        await confirm(port, OrderKey(held[0].external_id, None), parcel_of("T-14", (line.external_id, line.quantity)))


async def test_fulfillment_orders_that_are_not_made_yet_are_waited_for(sandbox: Sandbox, port: ShopifyPort) -> None:
    (sku,) = await skus(sandbox, 1)
    made = await sandbox.post("state", orders=[{"lines": [{"sku": sku, "quantity": 1}]}])
    order = await sandbox.order(made["orders"][0])
    with pytest.raises(Transient, match="shows no fulfillment orders"):
        await confirm(port, key_of(order), parcel_of("T-15", (line_ids(order)[0], 1)))
    await sandbox.show()
    await confirm(port, key_of(order), parcel_of("T-15", (line_ids(order)[0], 1)))


LINE = "gid://shopify/LineItem/1"
KEY = OrderKey("gid://shopify/Order/1", None)


def task(number: int, place: int, remaining: int, *, total: int = 3, unfulfilled: int = 3, status: str = "OPEN") -> Any:
    return {
        "id": f"gid://shopify/FulfillmentOrder/{number}",
        "status": status,
        "assignedLocation": {"location": {"id": f"gid://shopify/Location/{place}"}},
        "supportedActions": [{"action": "CREATE_FULFILLMENT"}],
        "lineItems": connection(
            {
                "id": f"gid://shopify/FulfillmentOrderLineItem/{number}",
                "totalQuantity": total,
                "remainingQuantity": remaining,
                "lineItem": {"id": LINE, "unfulfilledQuantity": unfulfilled},
            }
        ),
    }


def sent(number: int, units: int, tracking: str, status: str = "SUCCESS") -> Any:
    return {
        "id": f"gid://shopify/Fulfillment/{number}",
        "status": status,
        "trackingInfo": [{"number": tracking}],
        "fulfillmentLineItems": connection({"quantity": units, "lineItem": {"id": LINE}}),
    }


def shop_with(tasks: list[Any], parcels: list[Any], created: Any = None) -> Script:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "Ship":
            return {"fulfillmentCreate": created or {"fulfillment": {"id": "F", "status": "SUCCESS"}, "userErrors": []}}
        order = {
            "id": KEY.external_id,
            "name": "#1",
            "cancelledAt": None,
            "fulfillments": parcels,
            "fulfillmentOrders": connection(*tasks),
        }
        return {"nodes": [order for _ in given["ids"]]}

    return Script(answer)


async def test_one_place_that_holds_everything_is_taken(open_port: OpenPort) -> None:
    script = shop_with([task(1, 1, 2), task(2, 2, 3), task(3, 3, 1)], [])
    await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 3)))
    assert [given["parcel"] for name, given in script.asked if name == "Ship"] == [
        {
            "notifyCustomer": True,
            "trackingInfo": {"company": "DHL Express", "number": "T"},
            "lineItemsByFulfillmentOrder": [
                {
                    "fulfillmentOrderId": "gid://shopify/FulfillmentOrder/2",
                    "fulfillmentOrderLineItems": [
                        {"id": "gid://shopify/FulfillmentOrderLineItem/2", "quantity": 3},
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("carrier", "told"),
    [
        ("UPS", {"company": "UPS", "number": "T"}),
        # One that Shopify does not link is told with where it shows its parcels, if we know where.
        ("GO!", {"company": "GO!", "number": "T"}),
        (
            "Yodel",
            {"company": "Yodel", "number": "T", "url": "https://www.yodel.co.uk/tracking/T"},
        ),
        ("Two Cousins", {"company": "Two Cousins", "number": "T"}),
    ],
)
async def test_a_company_that_shopify_does_not_link_is_told_with_its_address(
    open_port: OpenPort, carrier: str, told: dict[str, str]
) -> None:
    script = shop_with([task(1, 1, 3)], [])
    await confirm(open_port(wire=script.wire()), KEY, replace(parcel_of("T", (LINE, 3)), carrier=carrier))
    assert [given["parcel"]["trackingInfo"] for name, given in script.asked if name == "Ship"] == [told]


async def test_a_canceled_fulfillment_is_no_parcel(open_port: OpenPort) -> None:
    gone = sent(1, 3, "T", status="CANCELLED")
    # Its units are open again, in the same fulfillment order or in a new one beside the closed one.
    for tasks in ([task(1, 1, 3)], [task(1, 1, 0, status="CLOSED"), task(2, 1, 3)]):
        script = shop_with(tasks, [gone])
        port = open_port(wire=script.wire())
        assert await port.parcel_seen(KEY, parcel_of("T", (LINE, 3)), Ask()) == Sighting(False, None)
        await confirm(port, KEY, parcel_of("T", (LINE, 3)))
        assert [name for name, _ in script.asked].count("Ship") == 1


async def test_units_taken_off_the_order_hold_nothing_up(open_port: OpenPort) -> None:
    # Of three units one was refunded before it was shipped: the order counts it as not fulfilled, the work does not.
    script = shop_with([task(1, 1, 2, total=2, unfulfilled=3)], [])
    await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 2)))
    assert [name for name, _ in script.asked] == ["Tasks", "Ship"]


async def test_only_what_is_missing_of_a_parcel_is_sent(open_port: OpenPort) -> None:
    script = shop_with([task(1, 1, 2, unfulfilled=2)], [sent(1, 1, "T")])
    await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 2)))
    (ship,) = [given["parcel"] for name, given in script.asked if name == "Ship"]
    assert ship["lineItemsByFulfillmentOrder"][0]["fulfillmentOrderLineItems"][0]["quantity"] == 1


async def test_user_errors_refuse_in_the_platforms_words(open_port: OpenPort) -> None:
    words = "Fulfillment order 98 has an unfulfillable status= closed."
    refused = {"fulfillment": None, "userErrors": [{"field": ["fulfillment"], "message": words}]}
    script = shop_with([task(1, 1, 3)], [], refused)
    with pytest.raises(Invalid, match=words) as caught:
        await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 1)))
    assert caught.value.field == ("fulfillment",)


async def test_a_refusal_of_the_second_half_tells_of_the_first(open_port: OpenPort) -> None:
    answers = [
        {"fulfillment": {"id": "gid://shopify/Fulfillment/1", "status": "SUCCESS"}, "userErrors": []},
        {"fulfillment": None, "userErrors": [{"field": None, "message": "No."}]},
    ]
    script = shop_with([task(1, 1, 2), task(2, 2, 1)], [])
    rest = script.answer
    script.answer = lambda name, given: {"fulfillmentCreate": answers.pop(0)} if name == "Ship" else rest(name, given)
    with pytest.raises(Invalid) as caught:
        await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 3)))
    assert caught.value.message == (
        "1 of the parcel's 2 parts are confirmed (gid://shopify/Fulfillment/1), the next was refused: No."
    )


def _no_connection() -> Any:
    raise httpx.ConnectError("refused")


FAILURES: list[tuple[type[HouseError], Callable[[], Any], str]] = [
    (Throttled, lambda: httpx.Response(429, headers={"Retry-After": "2"}), "asks to wait (HTTP 429)"),
    (Unauthorized, lambda: httpx.Response(401), "refuses the access token"),
    (Transient, _no_connection, "ConnectError"),
]


@pytest.mark.parametrize(("kind", "failure", "words"), FAILURES)
async def test_a_second_half_that_fails_leaves_the_parcel_open(
    open_port: OpenPort, kind: type[HouseError], failure: Callable[[], Any], words: str
) -> None:
    script = shop_with([task(1, 1, 2), task(2, 2, 1)], [])
    rest, ships = script.answer, count(1)
    script.answer = lambda name, given: failure() if name == "Ship" and next(ships) == 2 else rest(name, given)
    with pytest.raises(OutcomeUnknown) as caught:
        await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 3)))
    assert caught.value.message.startswith("1 of the parcel's 2 parts are confirmed (F), the next was not sent: ")
    assert words in caught.value.message
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(("kind", "failure", "words"), FAILURES)
async def test_a_first_half_that_fails_changed_nothing(
    open_port: OpenPort, kind: type[HouseError], failure: Callable[[], Any], words: str
) -> None:
    script = shop_with([task(1, 1, 2), task(2, 2, 1)], [])
    rest = script.answer
    script.answer = lambda name, given: failure() if name == "Ship" else rest(name, given)
    with pytest.raises(kind) as caught:
        await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 3)))
    assert words in caught.value.message
    assert [name for name, _ in script.asked].count("Ship") == 1


async def test_a_second_half_without_points_in_time_leaves_the_parcel_open(open_port: OpenPort) -> None:
    script = shop_with([task(1, 1, 2), task(2, 2, 1)], [])
    rest = script.answer
    empty = {"maximumAvailable": 2000.0, "currentlyAvailable": 0, "restoreRate": 1.0}
    cost = {"requestedQueryCost": 1000, "actualQueryCost": 4, "throttleStatus": empty}

    def answer(name: str, given: dict[str, Any]) -> Any:
        told = rest(name, given)
        return httpx.Response(200, json={"data": told, "extensions": {"cost": cost}}) if name == "Ship" else told

    script.answer = answer
    port = open_port(wire=script.wire())
    with pytest.raises(OutcomeUnknown, match="1 of the parcel's 2 parts are confirmed") as caught:
        await port.confirm_shipment(KEY, parcel_of("T", (LINE, 3)), Ask(deadline=time.monotonic() + 60), Sends())
    assert isinstance(caught.value.__cause__, Throttled)
    assert [name for name, _ in script.asked] == ["Tasks", "Ship"]


async def test_a_part_of_a_parcel_is_told(open_port: OpenPort) -> None:
    parcel = parcel_of("T", (LINE, 3))
    for parcels, found, partly in (
        ([], False, False),
        ([sent(1, 2, "T")], False, True),
        ([sent(1, 3, "T")], True, False),
    ):
        port = open_port(wire=shop_with([], parcels).wire())
        assert await port.parcel_seen(KEY, parcel, Ask()) == Sighting(found, None, partly=partly)


async def test_an_answer_without_a_fulfillment_is_no_success(open_port: OpenPort) -> None:
    script = shop_with([task(1, 1, 3)], [], {"fulfillment": None, "userErrors": []})
    with pytest.raises(OutcomeUnknown):
        await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 1)))


async def test_long_lists_are_read_on(open_port: OpenPort) -> None:
    many = task(1, 1, 1)
    many["lineItems"]["pageInfo"] = {"hasNextPage": True, "endCursor": "c1"}
    parcel = sent(1, 1, "T")
    parcel["fulfillmentLineItems"]["pageInfo"] = {"hasNextPage": True, "endCursor": "c2"}
    script = shop_with([many], [parcel])
    rest = script.answer

    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "ParcelLines":
            return {"fulfillment": {"rest": connection({"quantity": 1, "lineItem": {"id": LINE}})}}
        if name == "TaskLines":
            return {"fulfillmentOrder": {"rest": task(1, 1, 2, unfulfilled=1)["lineItems"]}}
        return rest(name, given)

    script.answer = answer
    await confirm(open_port(wire=script.wire()), KEY, parcel_of("T", (LINE, 5)))
    assert [name for name, _ in script.asked] == ["Tasks", "ParcelLines", "TaskLines", "Ship"]
    assert script.asked[1][1] == {"id": "gid://shopify/Fulfillment/1", "after": "c2"}
    assert script.asked[2][1] == {"id": "gid://shopify/FulfillmentOrder/1", "after": "c1"}
