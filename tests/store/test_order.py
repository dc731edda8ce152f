"""Orders: the newest word of each channel, and what really changed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.ids import ChannelId, ChannelSku, OrderId, Sku, line_id, order_id
from domain.money import Money
from domain.order import Order, OrderLine, OrderStatus, Shipment
from domain.product import FulfilledBy
from store import order
from store.session import Store
from tests.store.bench import blocked

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")


def line(order: OrderId, number: int, **more: Any) -> OrderLine:
    values: dict[str, Any] = {
        "id": line_id(order, f"L{number}"),
        "external_id": f"L{number}",
        "channel_sku": ChannelSku(f"SKU-{number}"),
        "quantity": 2,
        "quantity_shipped": 0,
        "sku": Sku(f"SKU-{number}"),
        "title": f"Line {number}",
        "unit_price": Money(Decimal("9.99"), "EUR"),
        "total": Money(Decimal("19.98"), "EUR"),
    }
    return OrderLine(**values | more)


def shipment(tracking: str = "T-1", **more: Any) -> Shipment:
    return Shipment("100001", "DHL", tracking, NOON, **more)


def an_order(number: int = 1, channel: ChannelId = AMAZON, minute: int = 0, **more: Any) -> Order:
    external_id = f"302-{number:07}"
    id = order_id(channel, external_id)
    values: dict[str, Any] = {
        "id": id,
        "channel": channel,
        "marketplace": "DE" if channel == AMAZON else None,
        "external_id": external_id,
        "status": OrderStatus.UNSHIPPED,
        "channel_status": "Unshipped",
        "fulfilled_by": FulfilledBy.MERCHANT,
        "placed_at": NOON + timedelta(minutes=number),
        "updated_at": NOON + timedelta(minutes=minute),
        "lines": [line(id, 1), line(id, 2, sku=None, title=None, unit_price=None, total=None)],
        "ship_by": NOON + timedelta(days=1),
        "total": Money(Decimal("19.98"), "EUR"),
        "refs": {"fulfillmentOrder": "gid://1"},
    }
    return Order(**values | more)


async def kept(store: Store, *orders: Order) -> list[OrderId]:
    async with store.begin() as tx:
        return await order.upsert(tx, orders)


async def found(store: Store, id: OrderId) -> Order:
    async with store.begin() as tx:
        return (await order.by_ids(tx, [id]))[id]


async def test_an_order_comes_back_as_it_was_told(store: Store) -> None:
    one = an_order(shipments=[shipment(label_url="https://labels.example/1", channel_confirmed_at=NOON)])
    bare = an_order(2, SHOP, lines=[], ship_by=None, total=None, refs={})
    assert sorted(await kept(store, one, bare)) == sorted([one.id, bare.id])
    async with store.begin() as tx:
        assert await order.by_ids(tx, [one.id, bare.id, OrderId("none")]) == {one.id: one, bare.id: bare}
        assert await order.by_ids(tx, []) == {}
    assert await kept(store) == []


async def test_the_newest_wins_and_only_real_changes_are_told(store: Store) -> None:
    one = an_order(minute=5)
    assert await kept(store, one) == [one.id]
    assert await kept(store, an_order(minute=5)) == []
    assert await kept(store, an_order(minute=4, channel_status="Late")) == []
    assert await found(store, one.id) == one

    # The same instant with other contents is a change: clocks of platforms tick slowly.
    same_instant = an_order(minute=5, lines=[line(one.id, 1, quantity_shipped=1)])
    assert await kept(store, same_instant) == [one.id]
    assert await found(store, one.id) == same_instant

    touched = replace(same_instant, updated_at=NOON + timedelta(minutes=6))
    assert await kept(store, touched) == [one.id]
    shipped = an_order(minute=7, status=OrderStatus.SHIPPED, lines=[line(one.id, 3), line(one.id, 1)])
    assert await kept(store, an_order(minute=6), shipped, an_order(minute=3)) == [one.id]
    assert await found(store, one.id) == shipped


async def test_an_amount_written_with_other_zeros_is_no_change(store: Store) -> None:
    await kept(store, an_order(total=Money(Decimal("20"), "EUR")))
    assert await kept(store, an_order(total=Money(Decimal("20.00"), "EUR"))) == []
    assert len(await kept(store, an_order(total=Money(Decimal("20.01"), "EUR")))) == 1


async def test_two_that_tell_of_a_new_order_at_an_exact_line(store: Store) -> None:
    newer = an_order(minute=5, lines=[line(an_order().id, 1)])
    async with store.begin() as tx:
        assert await order.upsert(tx, [newer]) == [newer.id]
        waiting = asyncio.create_task(kept(store, an_order(minute=4)))
        await blocked(store, 1)
    assert await waiting == []
    assert await found(store, newer.id) == newer


async def test_many_at_once_end_with_the_newest(store: Store) -> None:
    versions = [
        [an_order(number, minute=minute, channel_status=str(minute)) for number in range(10)] for minute in range(8)
    ]
    await asyncio.gather(*(kept(store, *orders) for orders in versions))
    async with store.begin() as tx:
        now = await order.by_ids(tx, [one.id for one in versions[0]])
    assert [now[one.id] for one in versions[7]] == versions[7]


async def test_a_confirmation_is_noted_once_and_survives_the_next_synchronization(store: Store) -> None:
    one = an_order(shipments=[shipment("T-1"), shipment("T-2")])
    await kept(store, one)
    later = NOON + timedelta(hours=1)
    async with store.begin() as tx:
        assert not await order.mark_confirmed(tx, OrderId("none"), "T-1", later)
        assert not await order.mark_confirmed(tx, one.id, "T-9", later)
        assert await order.mark_confirmed(tx, one.id, "T-2", later)
        assert not await order.mark_confirmed(tx, one.id, "T-2", later + timedelta(hours=1))
    confirmed = [shipment("T-1"), shipment("T-2", channel_confirmed_at=later)]
    assert (await found(store, one.id)).shipments == confirmed
    # The platform does not tell of it; neither the same version again nor a newer one takes it away.
    assert await kept(store, one) == []
    newer = replace(one, updated_at=NOON + timedelta(hours=2))
    assert await kept(store, newer) == [one.id]
    assert await found(store, one.id) == replace(newer, shipments=confirmed)


async def test_units_of_a_parcel_seen_without_its_order_do_not_look_open(store: Store) -> None:
    one = an_order(shipments=[shipment("T-0")])
    await kept(store, one, an_order(2, status=OrderStatus.CANCELLED))
    lines = {"L1": (2, 0), "L2": (2, 0)}

    async def add(tracking: str, *parcel: tuple[str, int], to: OrderId = one.id) -> tuple[bool, OrderStatus]:
        async with store.begin() as tx:
            changed = await order.add_shipped(tx, to, tracking, parcel)
        now = await found(store, to)
        lines.update({line.external_id: (line.quantity, line.quantity_shipped) for line in now.lines})
        assert now.updated_at == one.updated_at
        return changed, now.status

    assert await add("T-1", ("L1", 1), ("L9", 1)) == (True, OrderStatus.PARTIALLY_SHIPPED)
    assert lines == {"L1": (2, 1), "L2": (2, 0)}
    # The order tells of this parcel already, so its units are counted.
    assert await add("T-0", ("L1", 1)) == (False, OrderStatus.PARTIALLY_SHIPPED)
    assert await add("T-2", ("L1", 3), ("L2", 1), ("L2", 1)) == (True, OrderStatus.SHIPPED)
    assert lines == {"L1": (2, 2), "L2": (2, 2)}
    assert await add("T-3", ("L1", 1)) == (False, OrderStatus.SHIPPED)
    canceled = an_order(2).id
    assert await add("T-4", ("L1", 1), to=canceled) == (True, OrderStatus.CANCELLED)
    async with store.begin() as tx:
        assert not await order.add_shipped(tx, OrderId("none"), "T-5", [("L1", 1)])
    # The channel's next word replaces ours, also one of the same instant.
    assert await kept(store, one) == [one.id]
    assert await found(store, one.id) == one


async def test_pages_newest_placed_first(store: Store) -> None:
    # Two placed at the same instant are told apart by their ids.
    orders = [an_order(number, placed_at=NOON + timedelta(minutes=number // 2)) for number in range(6)]
    await kept(store, *orders)
    expected = [one.id for one in sorted(orders, key=lambda one: (one.placed_at, one.id), reverse=True)]
    seen: list[OrderId] = []
    after = None
    more = True
    async with store.begin() as tx:
        while more:
            batch, more = await order.page(tx, first=4, after=after)
            seen += [one.id for one in batch]
            after = (batch[-1].placed_at, batch[-1].id)
        assert await order.count(tx) == 6
    assert seen == expected


async def test_filters(store: Store) -> None:
    one = an_order(1)
    two = an_order(2, status=OrderStatus.SHIPPED, marketplace="FR", minute=9)
    three = an_order(3, SHOP, lines=[line(order_id(SHOP, "302-0000003"), 7)])
    await kept(store, one, two, three)
    at = {number: NOON + timedelta(minutes=number) for number in range(10)}
    filters: list[tuple[dict[str, Any], list[Order]]] = [
        ({}, [three, two, one]),
        ({"channel": AMAZON}, [two, one]),
        ({"marketplace": "FR"}, [two]),
        ({"statuses": [OrderStatus.SHIPPED, OrderStatus.PENDING]}, [two]),
        ({"statuses": []}, []),
        ({"placed_from": at[2]}, [three, two]),
        ({"placed_to": at[2]}, [one]),
        ({"placed_from": at[1], "placed_to": at[3]}, [two, one]),
        ({"updated_from": at[9]}, [two]),
        ({"sku": Sku("SKU-1")}, [two, one]),
        ({"sku": Sku("SKU-7")}, [three]),
        ({"external_id": one.external_id}, [one]),
        ({"channel": SHOP, "external_id": one.external_id}, []),
    ]
    async with store.begin() as tx:
        for wanted, orders in filters:
            assert await order.page(tx, first=5, **wanted) == (orders, False)
            assert await order.count(tx, **wanted) == len(orders)
