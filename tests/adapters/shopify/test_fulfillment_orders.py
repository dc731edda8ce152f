"""What each place has to send of an order, and the places themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.port import OrderKey, Page
from adapters.shopify.platform import ShopifyPort
from domain.budget import Ask
from domain.errors import MissingRole, NotFound, Transient
from domain.fulfillment_order import FulfillmentOrder, Hold, WorkStatus
from domain.place import ChannelPlace
from tests.adapters.shopify.bench import LONG_AGO, OpenPort, Sandbox, Script, connection, key_of, parcel_of

ORDER = OrderKey("gid://shopify/Order/1", None)
SINCE = datetime(2026, 11, 1, tzinfo=UTC)


async def sweep(port: ShopifyPort, since: datetime = SINCE) -> list[Page[FulfillmentOrder]]:
    return [page async for page in port.fulfillment_order_pages(since, Ask())]


async def no_wait() -> None:
    return None


# of the sandbox


async def test_the_work_of_an_order_from_open_to_closed(sandbox: Sandbox, port: ShopifyPort) -> None:
    first, second = (entry["sku"] for entry in (await sandbox.get("world", limit=2, offset=430))["skus"])
    lines = [{"sku": first, "quantity": 2, "location": "Berlin"}, {"sku": second, "quantity": 1, "location": "Reno"}]
    order = await sandbox.place_order(*lines)
    berlin, reno = await port.fulfillment_orders(key_of(order), Ask())
    assert [each.place for each in (berlin, reno)] == [place.external_id for place in sandbox.locations]
    assert (berlin.place_name, berlin.order, berlin.request) == ("Berlin", order["id"], "UNSUBMITTED")
    assert (berlin.status, berlin.shippable, berlin.remaining, berlin.holds) == (WorkStatus.OPEN, True, 2, ())
    (line,) = berlin.lines
    assert (line.sku, line.order_line, line.total, line.remaining) == (first, order["lines"][0]["id"], 2, 2)
    await port.confirm_shipment(key_of(order), parcel_of("FO-1", (line.order_line, 1)), Ask(), no_wait)
    await port.confirm_shipment(key_of(order), parcel_of("FO-2", (reno.lines[0].order_line, 1)), Ask(), no_wait)
    await sandbox.show()
    berlin, reno = await port.fulfillment_orders(key_of(order), Ask())
    assert (berlin.status, berlin.remaining, berlin.shippable) == (WorkStatus.IN_PROGRESS, 1, True)
    assert (reno.status, reno.remaining, reno.shippable, reno.actions) == (WorkStatus.CLOSED, 0, False, frozenset())


async def test_the_sweep_tells_of_every_status_and_agrees_with_the_world(sandbox: Sandbox, port: ShopifyPort) -> None:
    told = await sweep(port, LONG_AGO)
    assert [page.rejected for page in told] == [[]] * len(told)
    found = {each.id: each for page in told for each in page.items}
    assert {each.status for each in found.values()} >= {
        WorkStatus.OPEN,
        WorkStatus.IN_PROGRESS,
        WorkStatus.ON_HOLD,
        WorkStatus.CLOSED,
        WorkStatus.CANCELLED,
    }
    held = [each for each in found.values() if each.status is WorkStatus.ON_HOLD]
    assert {(each.shippable, each.holds) for each in held} == {(False, (Hold("OTHER", "Other"),))}
    for order in (await sandbox.get("world", limit=10_000))["orders"]:
        for work in order["fulfillmentOrders"]:
            one = found[work["id"]]
            assert (one.status.value, one.place, one.order) == (work["status"], work["locationId"], order["id"])
            assert {line.id: line.remaining for line in one.lines} == {
                each["id"]: each["quantity"] for each in work["lines"]
            }
    changes = [each.updated_at for page in told for each in page.items]
    assert changes == sorted(changes)
    assert told[-1].until == changes[-1]


async def test_an_order_so_young_that_it_shows_no_work_yet_is_asked_again(sandbox: Sandbox, port: ShopifyPort) -> None:
    sku = (await sandbox.get("world", limit=1, offset=440))["skus"][0]["sku"]
    made = await sandbox.post("state", orders=[{"lines": [{"sku": sku}]}])
    key = OrderKey(made["orders"][0], None)
    with pytest.raises(Transient, match="shows no fulfillment orders yet"):
        await port.fulfillment_orders(key, Ask())
    await sandbox.show()
    assert len(await port.fulfillment_orders(key, Ask())) == 1


async def test_an_app_that_sees_none_of_the_merchants_work_finds_none(sandbox: Sandbox, open_port: OpenPort) -> None:
    scopes = ["read_orders", "read_products", "read_third_party_fulfillment_orders"]
    await sandbox.post("tokens", token="shpat_third", scopes=scopes)
    blind = open_port(sandbox.url, access_token="shpat_third")
    assert [page.items for page in await sweep(blind, LONG_AGO)] == [[]]
    await sandbox.post("tokens", token="shpat_none", scopes=["read_orders", "read_products"])
    with pytest.raises(MissingRole, match="fulfillment_orders"):
        await sweep(open_port(sandbox.url, access_token="shpat_none"), LONG_AGO)


async def test_the_work_of_an_unknown_order(port: ShopifyPort) -> None:
    with pytest.raises(NotFound, match="has no order"):
        await port.fulfillment_orders(ORDER, Ask())


async def test_the_places_of_the_shop_closed_ones_too(sandbox: Sandbox, port: ShopifyPort) -> None:
    berlin, reno = (place.external_id for place in sandbox.locations)
    await sandbox.post("places", closed=["Reno"])
    try:
        assert await port.places(Ask()) == [
            ChannelPlace(berlin, "Berlin", active=True, sells_online=True, country="DE"),
            ChannelPlace(reno, "Reno", active=False, sells_online=False, country="US"),
        ]
    finally:
        await sandbox.post("places", closed=[])
    assert [place.active for place in await port.places(Ask())] == [True, True]


# of a script


def work(number: int = 1, *lines: dict[str, Any], **told: Any) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/FulfillmentOrder/{number}",
        "orderId": ORDER.external_id,
        "status": "OPEN",
        "requestStatus": "UNSUBMITTED",
        "updatedAt": f"2026-11-20T10:00:{number:02d}Z",
        "fulfillAt": "2026-11-20T10:00:00Z",
        "fulfillBy": None,
        "assignedLocation": {"name": "Berlin", "location": {"id": "gid://shopify/Location/1"}},
        "supportedActions": [{"action": "CREATE_FULFILLMENT"}],
        "fulfillmentHolds": [],
        "lineItems": connection(*lines),
    } | told


def work_line(number: int) -> dict[str, Any]:
    return {
        "id": f"gid://shopify/FulfillmentOrderLineItem/{number}",
        "sku": "A-1",
        "totalQuantity": 2,
        "remainingQuantity": 1,
        "lineItem": {"id": f"gid://shopify/LineItem/{number}"},
    }


def order_with(
    *works: dict[str, Any], scopes: tuple[str, ...] = (), created: str = "2026-11-20T09:00:00Z", **told: Any
) -> Script:
    order = {
        "id": ORDER.external_id,
        "name": "#1001",
        "createdAt": created,
        "cancelledAt": None,
        "requiresShipping": True,
        "rest": connection(*works),
    } | told
    granted = {"accessScopes": [{"handle": scope} for scope in scopes]}
    return Script(lambda name, given: {"order": order, "currentAppInstallation": granted})


@pytest.mark.parametrize("status", list(WorkStatus))
async def test_every_published_status_is_known(open_port: OpenPort, status: WorkStatus) -> None:
    (found,) = await open_port(wire=order_with(work(1, work_line(1), status=status.value)).wire()).fulfillment_orders(
        ORDER, Ask()
    )
    assert found.status is status
    assert found.shippable is (status in (WorkStatus.OPEN, WorkStatus.IN_PROGRESS))
    assert found.remaining == (0 if status in (WorkStatus.CLOSED, WorkStatus.CANCELLED) else 1)


async def test_work_at_a_place_that_is_gone_keeps_its_name(open_port: OpenPort) -> None:
    held = {"reason": "HIGH_RISK_OF_FRAUD", "displayReason": "High risk of fraud", "heldByRequestingApp": True}
    row = work(1, assignedLocation={"name": "Rome", "location": None}, fulfillmentHolds=[held])
    (found,) = await open_port(wire=order_with(row).wire()).fulfillment_orders(ORDER, Ask())
    assert (found.place, found.place_name) == (None, "Rome")
    assert found.holds == (Hold("HIGH_RISK_OF_FRAUD", "High risk of fraud", ours=True),)


async def test_an_old_order_without_work_names_the_scopes_that_may_hide_it(open_port: OpenPort) -> None:
    some = ("write_merchant_managed_fulfillment_orders",)
    every = (*some, "read_third_party_fulfillment_orders", "read_assigned_fulfillment_orders")
    with pytest.raises(MissingRole, match="lacks read_third_party_fulfillment_orders, read_assigned"):
        await open_port(wire=order_with(scopes=some).wire()).fulfillment_orders(ORDER, Ask())
    for script in (order_with(scopes=every), order_with(scopes=some, created="2099-01-01T00:00:00Z")):
        with pytest.raises(Transient, match="a moment after"):
            await open_port(wire=script.wire()).fulfillment_orders(ORDER, Ask())


@pytest.mark.parametrize("told", [{"cancelledAt": "2026-11-20T10:00:00Z"}, {"requiresShipping": False}])
async def test_an_order_with_nothing_to_ship_has_no_work(open_port: OpenPort, told: dict[str, Any]) -> None:
    assert await open_port(wire=order_with(**told).wire()).fulfillment_orders(ORDER, Ask()) == []


async def test_work_and_its_lines_are_read_to_the_end(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if name == "WorkLines":
            assert given == {"id": "gid://shopify/FulfillmentOrder/1", "after": "l1"}
            return {"fulfillmentOrder": {"rest": connection(*map(work_line, range(50, 60)))}}
        wide = work(1) | {"lineItems": connection(*map(work_line, range(50)), after="l1")}
        rest = connection(wide, after="w1") if given["after"] is None else connection(work(2, work_line(99)))
        order = {"id": "1", "name": "#1001", "createdAt": "2026-11-20T09:00:00Z", "cancelledAt": None}
        return {
            "order": order | {"requiresShipping": True, "rest": rest},
            "currentAppInstallation": {"accessScopes": []},
        }

    first, second = await open_port(wire=Script(answer).wire()).fulfillment_orders(ORDER, Ask())
    assert [len(first.lines), len(second.lines)] == [60, 1]


async def test_work_that_moved_while_pages_were_read_is_told_again_only_if_it_changed(open_port: OpenPort) -> None:
    def answer(name: str, given: dict[str, Any]) -> Any:
        if given["after"] is None:
            assert given["query"] == "updated_at:>='2026-10-31T23:55:00Z'"
            return {"fulfillmentOrders": connection(work(1), work(2), after="c1")}
        return {"fulfillmentOrders": connection(work(2), work(1, updatedAt="2026-11-20T11:00:00Z"))}

    told = await sweep(open_port(wire=Script(answer).wire()))
    assert [[each.id[-1] for each in page.items] for page in told] == [["1", "2"], ["1"]]
    assert [page.until and page.until.hour for page in told] == [10, 11]


async def test_an_unknown_status_is_rejected_alone(open_port: OpenPort) -> None:
    script = Script(lambda name, given: {"fulfillmentOrders": connection(work(1), work(2, status="TELEPORTED"))})
    (page,) = await sweep(open_port(wire=script.wire()))
    assert [each.id[-1] for each in page.items] == ["1"]
    assert [(each.what, each.reason) for each in page.rejected] == [("fulfillment order", "unknown status TELEPORTED")]
    with pytest.raises(Transient, match="TELEPORTED"):
        await open_port(wire=order_with(work(1, status="TELEPORTED")).wire()).fulfillment_orders(ORDER, Ask())
