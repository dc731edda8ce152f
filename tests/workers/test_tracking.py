"""What warehouses and carriers tell of parcels: confirmed once, however and in whatever order it comes; never dropped."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import delete, select, text, update

from domain.channel import Channel, Platform
from domain.ids import ChannelId, ChannelSku, Sku, line_id, order_id
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.person import Person
from domain.product import FulfilledBy
from domain.tracking import AGED, RowKind, TrackingSource, read_row
from store import event, intake, order, timeline, tracking
from store.keyring import Keyring
from store.session import Store
from store.tables import event as event_table
from store.tables import operation, operation_item, order_person, order_step, parcel_event, tracking_row
from tests.workers.fake_port import FakePort
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.tracking import once

# A while ago, and not so long that who bought then is forgotten by now.
AT = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - timedelta(days=9)
SHOP = ChannelId("shop")
WMS = TrackingSource("wms", ())


@pytest.fixture
def deps(store: Store, redis: Redis) -> Deps:
    """Two channels: a shop, and another that the source may not speak for where it is bound to the first."""
    ports = [FakePort(Channel(ChannelId(id), Platform.SHOPIFY, id, True)) for id in ("shop", "other")]
    return make_deps(store, redis, ports)


def make_order(name: str, quantities: Sequence[int] = (2,), channel: ChannelId = SHOP, **more: Any) -> Order:
    """An open order, called #name by people; lines L0, L1… of SKUs A0, A1…"""
    id = order_id(channel, f"gid/{name}")
    lines = [
        OrderLine(line_id(id, f"L{at}"), f"L{at}", ChannelSku(f"C{at}"), units, 0, Sku(f"A{at}"))
        for at, units in enumerate(quantities)
    ]
    values: dict[str, Any] = {
        "status": OrderStatus.UNSHIPPED,
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": AT - timedelta(days=1),
        "updated_at": AT,
        "lines": lines,
        "refs": {"name": f"#{name}"},
    }
    return Order(
        id=id, channel=channel, marketplace=None, external_id=f"gid/{name}", channel_status="OPEN", **(values | more)
    )


def parcel(name: str, number: str = "JD0001", **more: Any) -> dict[str, Any]:
    told = {"order": name, "carrier": "dhl paket", "trackingNumber": number, "shippedAt": AT.isoformat()}
    return {name: value for name, value in (told | more).items() if value is not None}


def seen(number: str, status: str, hours: float, **more: Any) -> dict[str, Any]:
    return {
        "trackingNumber": number,
        "status": status,
        "at": (AT + timedelta(hours=hours)).isoformat(),
        **more,
    }


async def keep(store: Store, *orders: Order) -> None:
    """As every path keeps orders."""
    async with store.begin() as tx:
        for one in orders:
            for line in one.lines:
                await tx.execute(
                    text("insert into product (sku, title) values (:sku, :sku) on conflict do nothing"),
                    {"sku": line.sku},
                )
        await intake.keep_orders(tx, orders, [])


async def tell(
    store: Store,
    delivery: str,
    parcels: Sequence[Any] = (),
    events: Sequence[Any] = (),
    source: TrackingSource = WMS,
) -> bool:
    rows = [read_row(at, RowKind.PARCEL, one, source.locations) for at, one in enumerate(parcels, start=1)]
    rows += [read_row(at, RowKind.EVENT, one, source.locations) for at, one in enumerate(events, start=1)]
    async with store.begin() as tx:
        return await tracking.take(tx, source, delivery, json.dumps([*parcels, *events], sort_keys=True), rows)


async def settle(deps: Deps) -> None:
    """Until nothing is due."""
    while await once(deps):
        pass


async def items(store: Store) -> list[dict[str, Any]]:
    """What is to be confirmed, as it was asked."""
    async with store.begin() as tx:
        rows = (await tx.execute(select(operation_item.c.after).order_by(operation_item.c.id))).scalars()
        return [json.loads(one) for one in rows]


async def reasons(store: Store) -> list[tuple[str, str]]:
    """The problems, by code and reason."""
    async with store.begin() as tx:
        found, _ = await tracking.problems(tx, first=100)
    return sorted((one.code, one.reason) for one in found)


async def test_a_delivery_becomes_one_operation_of_its_sender(deps: Deps, store: Store) -> None:
    first, second = make_order("1001", (2, 1)), make_order("1002")
    await keep(store, first, second)
    lines = [{"sku": "A0", "quantity": 1}, {"lineId": f"OrderLine:{first.lines[1].id}", "quantity": 1}]
    told = [parcel("1001", "JD0001", lines=lines, service="Express"), parcel(f"Order:{second.id}", "JD0002")]
    assert await tell(store, "d1", told)
    await settle(deps)
    async with store.begin() as tx:
        [made] = (await tx.execute(select(operation))).all()
    assert (made.kind, made.status, made.requested_by, made.total) == ("CONFIRM_SHIPMENTS", "QUEUED", "wms", 2)
    one, other = await items(store)
    assert (one["carrier"], one["service"], one["lines"]) == ("DHL", "Express", {"L0": 1, "L1": 1})
    assert (other["carrier"], other["service"], other["lines"]) == ("DHL", "paket", {"L0": 2})
    async with store.begin() as tx:
        steps = (await timeline.by_orders(tx, [first.id]))[first.id]
    assert [(one.actor, one.words, one.operation) for one in steps if one.kind.value == "TRACKED"] == [
        ("wms", "wms told of parcel JD0001 by DHL.", made.id)
    ]
    assert await reasons(store) == []


async def test_what_is_told_twice_counts_once(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"), make_order("1002", shipments=[Shipment("9", "DHL", "JD0002", AT)]))
    assert await tell(store, "d1", [parcel("1001"), parcel("1001")])
    assert not await tell(store, "d1", [parcel("1001"), parcel("1001")])
    assert await tell(store, "d2", [parcel("#1001", carrier="DHL"), parcel("1002", "JD0002")])
    await settle(deps)
    assert len(await items(store)) == 1
    assert await reasons(store) == []


async def test_one_that_contradicts_what_was_told_before_is_kept_as_a_problem(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"))
    await tell(store, "d1", [parcel("1001", lines=[{"sku": "A0", "quantity": 1}])])
    await settle(deps)
    await tell(store, "d2", [parcel("1001", lines=[{"sku": "A0", "quantity": 2}]), parcel("1001", carrier="UPS")])
    await settle(deps)
    assert await reasons(store) == [("CONFLICT", "Another parcel JD0001 of order gid/1001 was told before.")] * 2


async def test_what_cannot_be_matched_waits_for_its_order(deps: Deps, store: Store) -> None:
    await tell(store, "d1", [parcel("1001"), parcel("gid/1002", "JD0002")], [seen("JD0001", "DELIVERED", 5)])
    await settle(deps)
    assert await reasons(store) == [
        ("NOT_FOUND", "No order has a parcel JD0001 yet."),
        ("NOT_FOUND", "There is no order 1001 yet."),
        ("NOT_FOUND", "There is no order gid/1002 yet."),
    ]
    assert await once(deps) == 0  # not before it is worth another look
    await keep(store, make_order("1001"))
    await settle(deps)
    assert [one["trackingNumber"] for one in await items(store)] == ["JD0001"]
    assert await reasons(store) == [("NOT_FOUND", "There is no order gid/1002 yet.")]


async def test_an_order_that_cannot_ship_yet_is_looked_at_again_when_it_changes(deps: Deps, store: Store) -> None:
    pending = make_order("1001", status=OrderStatus.PENDING)
    await keep(store, pending)
    await tell(store, "d1", [parcel("1001")])
    await settle(deps)
    assert await reasons(store) == [("CONFLICT", "Order gid/1001 is PENDING and cannot ship.")]
    await keep(store, replace(pending, status=OrderStatus.UNSHIPPED, updated_at=AT + timedelta(minutes=1)))
    await settle(deps)
    assert (await reasons(store), len(await items(store))) == ([], 1)


async def test_what_is_too_old_is_looked_at_no_more_and_stays_listed_until_it_is_forgotten(
    deps: Deps, store: Store
) -> None:
    await tell(store, "d1", [parcel("1001")])
    async with store.begin() as tx:
        await tx.execute(update(tracking_row).values(at=datetime.now(UTC) - AGED))
    await settle(deps)
    async with store.begin() as tx:
        [one], _ = await tracking.problems(tx, first=10)
    assert (one.retries_at, one.tries) == (None, 1)
    await tell(store, "d2", [parcel("1002")])
    await settle(deps)
    async with store.begin() as tx:
        assert await tracking.forget(tx, datetime.now(UTC) - AGED - timedelta(days=1)) == 0
    # What is still looked at stays, however old.
    async with store.begin() as tx:
        assert await tracking.forget(tx, datetime.now(UTC) + timedelta(days=1)) == 1
        [other], _ = await tracking.problems(tx, first=10)
    assert other.delivery == "d2"


async def test_a_source_speaks_for_its_own_channels_and_places_alone(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"), make_order("1001", channel=ChannelId("other")))
    bound = TrackingSource("bound", (), frozenset({SHOP}))
    await tell(store, "d1", [parcel("1001", channel="other")], source=bound)
    await tell(store, "d2", [parcel("1001")])  # two are called so
    await tell(store, "d3", [parcel("1001", "JD0003", channel="Channel:other")])
    await tell(store, "d4", [parcel("1001", "JD0004")], source=bound)
    await settle(deps)
    assert await reasons(store) == [
        ("CONFLICT", "1001 is an order of other, shop; say which by `channel`, or by its id."),
        ("NOT_FOUND", "There is no order 1001 of other yet."),
    ]
    assert sorted(one["trackingNumber"] for one in await items(store)) == ["JD0003", "JD0004"]


async def test_units_of_a_sku_on_several_lines_are_taken_from_those_that_are_open(deps: Deps, store: Store) -> None:
    one = make_order("1001", (2, 3))
    one = replace(one, lines=[replace(line, sku=Sku("A0")) for line in one.lines])
    await keep(store, one)
    await tell(store, "d1", [parcel("1001", "JD0001", lines=[{"sku": "A0", "quantity": 4}])])
    await tell(store, "d2", [parcel("1001", "JD0002", lines=[{"sku": "A0", "quantity": 1}])])
    await tell(store, "d3", [parcel("1001", "JD0003", lines=[{"sku": "A0", "quantity": 1}])])
    await tell(store, "d4", [parcel("1001", "JD0004", lines=[{"sku": "nobody's", "quantity": 1}])])
    await settle(deps)
    assert [one["lines"] for one in await items(store)] == [{"L0": 2, "L1": 2}, {"L1": 1}]
    assert await reasons(store) == [
        ("INVALID", "1 units cannot ship: 0 of this line are open."),
        ("NOT_FOUND", "Order gid/1001 has no line of the SKU nobody's."),
    ]


async def test_what_was_told_wrongly_is_settled_by_its_being_told_well(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"))
    await tell(store, "d1", [parcel("1001", lines=[{"sku": "A0", "quantity": 3}])])
    await settle(deps)
    assert await reasons(store) == [("INVALID", "3 units cannot ship: 2 of this line are open.")]
    for delivery in ("d2", "d3"):
        await tell(store, delivery, [parcel("1001", lines=[{"sku": "A0", "quantity": 2}])])
        await settle(deps)
    assert (await reasons(store), len(await items(store))) == ([], 1)


async def test_a_row_that_somebody_has_in_hand_is_not_waited_for(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"))
    await tell(store, "d1", [parcel("1001", lines=[{"sku": "A0", "quantity": 3}])])
    await settle(deps)
    await tell(store, "d2", [parcel("1001", lines=[{"sku": "A0", "quantity": 2}])])
    # As a file that comes again holds its rows, and waits for the order next.
    async with store.begin() as tx, asyncio.timeout(60):
        await tx.execute(select(tracking_row).where(tracking_row.c.delivery == "d1").with_for_update())
        await settle(deps)
    assert len(await items(store)) == 1


async def test_where_a_parcel_is_follows_the_times_that_were_told_and_not_their_arrival(
    deps: Deps, store: Store
) -> None:
    await keep(store, make_order("1001", shipments=[Shipment("9", "DHL", "JD0001", AT)], status=OrderStatus.SHIPPED))
    await tell(store, "d1", events=[seen("JD0001", "DELIVERED", 30), seen("JD0001", "in-transit", 2)])
    await tell(store, "d2", events=[seen("JD0001", "OUT_FOR_DELIVERY", 29), seen("JD0001", "DELIVERED", 30)])
    await settle(deps)
    async with store.begin() as tx:
        found = (await tracking.events(tx, ["JD0001"]))["JD0001"]
        kept = (await order.by_ids(tx, [order_id(SHOP, "gid/1001")])).popitem()[1]
        told = await tx.scalar(select(event_table.c.kind).order_by(event_table.c.id.desc()).limit(1))
    assert [one.status.value for one in found] == ["IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED"]
    assert kept.status is OrderStatus.SHIPPED  # whether an order is delivered is its channel's word
    assert told == "OrderChanged"


async def ends_at(store: Store, one: Order) -> datetime:
    async with store.begin() as tx:
        found: datetime | None = await tx.scalar(
            select(order_person.c.erase_at).where(order_person.c.order_id == one.id)
        )
    assert found is not None
    return found


async def test_who_bought_is_forgotten_thirty_days_after_the_last_parcel_was_told_to_have_arrived(
    deps: Deps, store: Store
) -> None:
    parcels = [Shipment("9", "DHL", "JD0001", AT), Shipment("8", "DHL", "JD0002", AT)]
    ring, buyer = Keyring([Fernet.generate_key().decode()]), Person("Ada Canary")
    one = make_order("1001", shipments=parcels, status=OrderStatus.SHIPPED, person=buyer)
    early = make_order(
        "1002", shipments=[Shipment("7", "DHL", "JD0003", AT)], status=OrderStatus.UNSHIPPED, person=buyer
    )
    await keep(store, *(replace(each, person=None) for each in (one, early)))
    async with store.begin() as tx:
        await intake.keep_orders(tx, [one, early], [], ring)
    silent = await ends_at(store, one)
    await tell(store, "d1", events=[seen("JD0001", "DELIVERED", 30), seen("JD0002", "IN_TRANSIT", 31)])
    await tell(store, "d2", events=[seen("JD0003", "DELIVERED", -999)])
    await settle(deps)
    assert await ends_at(store, one) == silent, "one of two parcels is on its way"
    await tell(store, "d3", events=[seen("JD0002", "DELIVERED", 50)])
    await settle(deps)
    assert await ends_at(store, one) == AT + timedelta(hours=50, days=30)
    # Its channel tells late that it has left: what was told of the parcel before counts then, and no clock that is wrong.
    async with store.begin() as tx:
        left = replace(early, status=OrderStatus.SHIPPED, updated_at=AT + timedelta(hours=1))
        await intake.keep_orders(tx, [left], [], ring)
    assert await ends_at(store, early) == AT + timedelta(days=30)


async def test_a_row_that_breaks_holds_up_no_other(deps: Deps, store: Store) -> None:
    await keep(store, make_order("1001"))
    await tell(store, "bad", [parcel("1001", "JD0009")])
    await tell(store, "good", [parcel("1001", "JD0001")])
    async with store.begin() as tx:
        await tx.execute(update(tracking_row).where(tracking_row.c.delivery == "bad").values(told={"order": 5}))
    await settle(deps)
    assert [one["trackingNumber"] for one in await items(store)] == ["JD0001"]
    assert await reasons(store) == [("INTERNAL", "An unexpected ValueError came up; see the log.")]


async def test_rows_that_cannot_be_read_are_kept_without_what_may_be_a_persons(store: Store) -> None:
    told = [
        parcel("1001", buyer="Ada Lovelace"),
        parcel("1001", carrier=None),
        "x",
        parcel("1", shippedAt="20.11.2026"),
    ]
    await tell(store, "d1", told, [seen("JD0001", "THERE", 1)])
    async with store.begin() as tx:
        found, more = await tracking.problems(tx, first=3)
        rest, _ = await tracking.problems(tx, first=3, after=found[-1].id)
    assert (more, [one.code for one in [*found, *rest]]) == (True, ["INVALID"] * 5)
    assert "Ada" not in str([*found, *rest])
    assert [one.reason[:40] for one in reversed([*found, *rest])] == [
        "`buyer` is no field here; there are orde",
        "`carrier` is missing",
        "it must be a JSON object",
        "`shippedAt` must be a date, time and tim",
        "`status` must be one of PREPARING, IN_TR",
    ]


async def test_any_order_of_arrival_and_any_repetition_leave_the_same(deps: Deps, store: Store) -> None:
    orders = [make_order(str(number), (3, 2)) for number in range(6)]
    deliveries: list[tuple[str, list[Any], list[Any]]] = []
    for one in range(6):
        for box, sku in enumerate(("A0", "A1")):
            number = f"JD{one:04}{box}"
            lines = [{"sku": sku, "quantity": 2}]
            deliveries.append((f"parcel {one}/{box}", [parcel(str(one), number, lines=lines)], []))
            deliveries.append((f"way {one}/{box}", [], [seen(number, "IN_TRANSIT", 1)]))
            deliveries.append((f"end {one}/{box}", [], [seen(number, "DELIVERED", 9), seen(number, "IN_TRANSIT", 1)]))
    states = []
    for seed in range(2):
        chance = random.Random(seed)
        arriving = deliveries * 3
        chance.shuffle(arriving)
        late = orders if seed else []
        await keep(store, *([] if seed else orders))
        for at, (id, parcels, events) in enumerate(arriving):
            await tell(store, id, parcels, events)
            if at % 40 == 0:
                await settle(deps)
        await settle(deps)
        await keep(store, *late)
        await settle(deps)
        assert await reasons(store) == []
        states.append(await _state(store))
        async with store.begin() as tx:
            for table in (tracking_row, parcel_event, order_step, operation_item, operation):
                await tx.execute(delete(table))
            await tx.execute(text('truncate "order", order_line, feed_delivery, order_allocation cascade'))
            await event.relay(tx)
    assert states[0] == states[1]
    assert (len(states[0][0]), len(states[0][1])) == (12, 24)


async def _state(store: Store) -> tuple[list[Any], list[Any], list[Any]]:
    """What people see of it all."""
    async with store.begin() as tx:
        asked = sorted((await tx.execute(select(operation_item.c.key, operation_item.c.after))).all())
        p = parcel_event.c
        events = sorted((await tx.execute(select(p.order_id, p.tracking_number, p.status, p.at))).all())
        c = order_step.c
        steps = sorted((await tx.execute(select(c.order_id, c.key, c.words).where(c.kind == "TRACKED"))).all())
    return [tuple(one) for one in asked], [tuple(one) for one in events], [tuple(one) for one in steps]
