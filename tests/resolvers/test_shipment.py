"""Confirming shipments: what is kept, what is refused, and that units are never promised twice."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, ChannelSku, LineId, OrderId, Sku, line_id, order_id
from domain.operation import Capability, Item, ItemStatus, Kind, OperationStatus
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy
from domain.shipment import ShipmentRequest, ShippedLine
from resolvers import operation, shipment
from resolvers.shelf import Shelf
from store import order
from store.session import Store
from tests.resolvers.test_stock import House
from tests.store.warehouse import statements

NOW = datetime.now(UTC)
CHANNEL = ChannelId("shop")


class CountingBell:
    """Counts the rings per lane."""

    def __init__(self) -> None:
        self.rung: list[tuple[ChannelId, Capability]] = []

    async def ring(self, channel: ChannelId, capability: Capability) -> None:
        self.rung.append((channel, capability))


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
def shelf(store: Store, redis: Redis, bell: CountingBell) -> Shelf:
    return replace(House(store, redis).shelf, bell=bell)


def make_order(external_id: str = "1001", quantities: tuple[int, ...] = (3, 1), **more: Any) -> Order:
    """An open order of the shop that we ship; lines L0, L1… of the given quantities."""
    id = order_id(CHANNEL, external_id)
    lines = [
        OrderLine(line_id(id, f"L{at}"), f"L{at}", ChannelSku(f"A{at}"), quantity, 0, Sku(f"A{at}"))
        for at, quantity in enumerate(quantities)
    ]
    values: dict[str, Any] = {
        "status": OrderStatus.UNSHIPPED,
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": NOW - timedelta(days=1),
        "updated_at": NOW - timedelta(hours=1),
        "lines": lines,
    }
    return Order(
        id=id, channel=CHANNEL, marketplace=None, external_id=external_id, channel_status="OPEN", **(values | more)
    )


async def keep(shelf: Shelf, *orders: Order) -> None:
    async with shelf.store.begin() as tx:
        await order.upsert(tx, orders)


def parcel(of: Order, tracking: str = "JD01", *lines: tuple[int, int], **more: Any) -> ShipmentRequest:
    """A parcel with (line's position, units), or with all that is open."""
    shipped = tuple(ShippedLine(of.lines[at].id, units) for at, units in lines) or None
    values: dict[str, Any] = {"carrier": "DHL", "tracking_number": tracking, "shipped_at": NOW, "lines": shipped}
    return ShipmentRequest(order=of.id, **(values | more))


async def confirm(shelf: Shelf, *parcels: ShipmentRequest, key: str | None = None, dry_run: bool = False) -> Any:
    return await shipment.confirm(shelf, "operator", "req-1", parcels, idempotency_key=key, dry_run=dry_run)


def shipped_lines(item: Item) -> dict[str, int]:
    """The units per line that an item is to ship."""
    lines: dict[str, int] = json.loads(item.after or "")["lines"]
    return lines


async def operations(shelf: Shelf) -> int:
    return await (await operation.page(shelf, 100, None, operation.OperationFilter(), frozenset(Kind))).count()


async def test_a_shipment_becomes_a_queued_operation_and_rings_its_lane(shelf: Shelf, bell: CountingBell) -> None:
    one = make_order()
    await keep(shelf, one)
    kept = await confirm(shelf, parcel(one))
    assert (kept.problems, kept.operation.status, kept.operation.progress.total) == ([], OperationStatus.QUEUED, 1)
    assert bell.rung == [(CHANNEL, Capability.SHIPMENTS)]
    (item,) = (await operation.items(shelf, kept.operation.id, 10, None, None)).nodes
    assert (item.key, item.status, item.attempts) == ("shop/1001", ItemStatus.PENDING, 0)
    assert shipped_lines(item) == {"L0": 3, "L1": 1}


async def test_no_lines_means_what_is_open_less_what_is_under_way(shelf: Shelf) -> None:
    one = make_order(quantities=(3, 1))
    await keep(shelf, one)
    await confirm(shelf, parcel(one, "JD01", (0, 2)))
    rest = await confirm(shelf, parcel(one, "JD02"))
    (item,) = (await operation.items(shelf, rest.operation.id, 10, None, None)).nodes
    assert shipped_lines(item) == {"L0": 1, "L1": 1}
    nothing = await confirm(shelf, parcel(one, "JD03"))
    assert [type(problem) for problem in nothing.problems] == [Conflict]


async def test_two_callers_at_once_do_not_promise_the_same_units(shelf: Shelf) -> None:
    one = make_order(quantities=(3,))
    await keep(shelf, one)
    answers = await asyncio.gather(*(confirm(shelf, parcel(one, f"JD{number}", (0, 2))) for number in range(5)))
    assert sum(answer.operation is not None for answer in answers) == 1


async def test_a_repeated_key_answers_the_first_operation_even_after_it_was_carried_out(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    first = await confirm(shelf, parcel(one), key="k1")
    shipped = make_order(status=OrderStatus.SHIPPED, updated_at=NOW)
    await keep(shelf, shipped)
    again = await confirm(shelf, parcel(one), key="k1")
    assert (again.problems, again.operation.id) == ([], first.operation.id)
    assert await operations(shelf) == 1


async def test_the_same_key_with_other_contents_is_refused(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    await confirm(shelf, parcel(one, "JD01", (0, 1)), key="k1")
    other = await confirm(shelf, parcel(one, "JD02", (0, 1)), key="k1")
    assert [type(problem) for problem in other.problems] == [Conflict]
    assert await operations(shelf) == 1


async def test_32_repeats_at_once_are_one_operation(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    answers = await asyncio.gather(*(confirm(shelf, parcel(one), key="k1") for _ in range(32)))
    assert len({answer.operation.id for answer in answers}) == 1
    assert await operations(shelf) == 1


async def test_a_dry_run_is_a_preview_that_promises_nothing_until_approved(shelf: Shelf, bell: CountingBell) -> None:
    one = make_order()
    await keep(shelf, one)
    preview = await confirm(shelf, parcel(one), dry_run=True)
    assert (preview.operation.status, preview.operation.dry_run, bell.rung) == (OperationStatus.PREVIEW, True, [])
    approved = await operation.approve(shelf, preview.operation.id, "operator", frozenset(Kind))
    assert (approved.status, bell.rung) == (OperationStatus.QUEUED, [(CHANNEL, Capability.SHIPMENTS)])


async def test_one_bad_shipment_keeps_all_of_them_out_and_is_named(shelf: Shelf, bell: CountingBell) -> None:
    good, held = make_order("1001"), make_order("1002", status=OrderStatus.ON_HOLD)
    await keep(shelf, good, held)
    refused = await confirm(shelf, parcel(good), parcel(held))
    assert [(type(problem), problem.field) for problem in refused.problems] == [
        (Conflict, ("shipments", "1", "orderId"))
    ]
    assert (await operations(shelf), bell.rung) == (0, [])


BAD: list[tuple[dict[str, Any], dict[str, Any], type[Exception], tuple[str, ...]]] = [
    ({}, {"carrier": " "}, Invalid, ("carrier",)),
    ({}, {"tracking_number": ""}, Invalid, ("trackingNumber",)),
    ({}, {"tracking_number": "a\nb"}, Invalid, ("trackingNumber",)),
    ({}, {"tracking_number": "x" * 101}, Invalid, ("trackingNumber",)),
    ({}, {"shipped_at": NOW + timedelta(days=2)}, Invalid, ("shippedAt",)),
    ({}, {"shipped_at": NOW - timedelta(days=9)}, Invalid, ("shippedAt",)),
    ({}, {"lines": ()}, Invalid, ("lines",)),
    ({}, {"lines": (ShippedLine(LineId("?"), 1),)}, NotFound, ("lines", "0", "orderLineId")),
    ({"fulfilled_by": FulfilledBy.CHANNEL}, {}, Invalid, ("orderId",)),
    ({"status": OrderStatus.PENDING}, {}, Conflict, ("orderId",)),
    ({"status": OrderStatus.CANCELLED}, {}, Conflict, ("orderId",)),
    ({"status": OrderStatus.SHIPPED}, {}, Conflict, ("orderId",)),
    ({"shipments": [Shipment("1", "DHL", "JD01", NOW)]}, {}, Conflict, ("trackingNumber",)),
]


@pytest.mark.parametrize(("of_order", "of_parcel", "error", "field"), BAD)
async def test_what_cannot_ship_is_refused_with_its_field(
    shelf: Shelf, of_order: dict[str, Any], of_parcel: dict[str, Any], error: type[Exception], field: tuple[str, ...]
) -> None:
    one = make_order(**of_order)
    await keep(shelf, one)
    refused = await confirm(shelf, parcel(one, **({"tracking": "JD01"} | of_parcel)))
    assert [(type(problem), problem.field) for problem in refused.problems] == [(error, ("shipments", "0", *field))]
    assert await operations(shelf) == 0


@pytest.mark.parametrize("lines", [((0, 4),), ((0, 0),), ((0, -1),), ((0, 2), (0, 2))])
async def test_more_units_than_are_open_are_refused(shelf: Shelf, lines: tuple[tuple[int, int], ...]) -> None:
    one = make_order(quantities=(3, 1))
    await keep(shelf, one)
    refused = await confirm(shelf, parcel(one, "JD01", *lines))
    assert [problem.field[-1] for problem in refused.problems] == ["quantity"]


async def test_an_unknown_order_is_not_found(shelf: Shelf) -> None:
    refused = await confirm(shelf, ShipmentRequest(OrderId("?"), "DHL", "JD01", NOW))
    assert [type(problem) for problem in refused.problems] == [NotFound]


async def test_one_order_in_several_parcels_of_one_request(shelf: Shelf) -> None:
    one = make_order(quantities=(3, 1))
    await keep(shelf, one)
    kept = await confirm(shelf, parcel(one, "JD01", (0, 2)), parcel(one, "JD02"))
    items = (await operation.items(shelf, kept.operation.id, 10, None, None)).nodes
    assert [shipped_lines(item) for item in items] == [{"L0": 2}, {"L0": 1, "L1": 1}]
    twice = await confirm(shelf, parcel(one, "JD03"), parcel(one, "JD03"))
    assert twice.operation is None


async def test_a_thousand_shipments_are_kept_in_good_time(shelf: Shelf) -> None:
    asked, took_s = list[int](), list[float]()
    for count in (10, 1000):
        orders = [make_order(f"{count}-{number}", quantities=(1,)) for number in range(count)]
        await keep(shelf, *orders)
        # By this process's own time: the machine may be busy with others.
        begun = time.process_time()
        with statements(shelf.store) as seen:
            kept = await confirm(shelf, *(parcel(one, f"JD{number}") for number, one in enumerate(orders)))
        asked.append(len(seen))
        took_s.append(time.process_time() - begun)
        assert kept.operation.progress.total == count
    assert asked[1] <= asked[0] + 10
    assert took_s[1] < 10, "a bound against quadratic work, not a measurement"


async def test_a_parcel_under_way_is_not_taken_again_under_the_same_number(shelf: Shelf) -> None:
    one = make_order(quantities=(2,))
    await keep(shelf, one)
    assert (await confirm(shelf, parcel(one, "JD01", (0, 1)))).problems == []
    again = await confirm(shelf, parcel(one, "JD01", (0, 1)))
    assert [(type(problem), problem.field) for problem in again.problems] == [
        (Conflict, ("shipments", "0", "trackingNumber"))
    ]
    assert (await confirm(shelf, parcel(one, "JD02", (0, 1)))).problems == []


async def test_a_preview_whose_units_are_gone_meanwhile_cannot_be_approved(shelf: Shelf, bell: CountingBell) -> None:
    one = make_order(quantities=(2,))
    await keep(shelf, one)
    preview = await confirm(shelf, parcel(one, "JD01"), dry_run=True)
    await confirm(shelf, parcel(one, "JD02", (0, 1)))
    rung = len(bell.rung)
    with pytest.raises(Conflict, match="fit no more: 1001"):
        await operation.approve(shelf, preview.operation.id, "operator", frozenset(Kind))
    assert len(bell.rung) == rung


@pytest.mark.parametrize("key", ["", "x" * 101])
async def test_an_idempotency_key_that_is_none_is_refused(shelf: Shelf, key: str) -> None:
    one = make_order()
    await keep(shelf, one)
    refused = await confirm(shelf, parcel(one), key=key)
    assert [problem.field for problem in refused.problems] == [("idempotencyKey",)]


async def test_who_may_not_ship_sees_no_shipments_of_others(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    kept = await confirm(shelf, parcel(one))
    for scopes, seen in ((frozenset({"prices:write"}), 0), (frozenset({"shipments:write"}), 1)):
        kinds = operation.kinds_for(scopes)
        page = await operation.page(shelf, 10, None, operation.OperationFilter(), kinds)
        assert len(page.nodes) == await page.count() == seen
    with pytest.raises(NotFound):
        await operation.cancel(shelf, kept.operation.id, "tests", operation.kinds_for(frozenset({"prices:write"})))
