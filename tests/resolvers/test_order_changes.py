"""Following orders: each change that fits is told once, from now on or from a cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.errors import Invalid
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, OrderId, Sku
from domain.order import Order, OrderStatus
from resolvers import order_changes
from resolvers.order import OrderFilter
from resolvers.shelf import Shelf
from store import event, intake, order
from store.session import Store
from tests.resolvers.test_operation import PolledLog
from tests.resolvers.test_shipment import NOW, make_order
from tests.resolvers.test_stock import House
from tests.store.bench import give_places

ALL = OrderFilter()


@pytest.fixture
def shelf(store: Store, redis: Redis) -> Shelf:
    return replace(House(store, redis).shelf, events=PolledLog(store))


async def come(shelf: Shelf, *orders: Order) -> None:
    async with shelf.store.begin() as tx:
        await intake.keep_orders(tx, orders, [])
    await give_places(shelf.store)


async def hear(stream: AsyncGenerator[tuple[str, Order], None], count: int = 1) -> list[tuple[str, str, OrderStatus]]:
    """The next `count` that a subscriber is told."""
    async with asyncio.timeout(30):
        told = [await anext(stream) for _ in range(count)]
    return [(cursor, one.external_id, one.status) for cursor, one in told]


async def test_a_subscriber_hears_nothing_of_what_was_and_each_change_from_now_on(shelf: Shelf) -> None:
    await come(shelf, make_order("1"))
    begun = asyncio.Event()

    class Watched(PolledLog):
        async def head(self) -> int:
            place = await super().head()
            begun.set()
            return place

    watched = replace(shelf, events=Watched(shelf.store))
    hearing = asyncio.create_task(hear(order_changes.follow(watched, ALL, None), 2))
    await begun.wait()
    await come(shelf, make_order("2"))
    await come(shelf, make_order("3"))
    assert [told[1] for told in await hearing] == ["2", "3"]


async def test_with_a_cursor_none_is_missed_and_none_doubled(shelf: Shelf) -> None:
    for number in "123":
        await come(shelf, make_order(number))
    whole = await hear(order_changes.follow(shelf, ALL, "0"), 3)
    assert [told[1] for told in whole] == ["1", "2", "3"]
    for at, (cursor, *_) in enumerate(whole[:-1]):
        assert await hear(order_changes.follow(shelf, ALL, cursor), 2 - at) == whole[at + 1 :]


async def test_the_filter_is_held_against_the_order_as_it_is(shelf: Shelf) -> None:
    await come(shelf, make_order("1"), make_order("2"))
    await come(shelf, make_order("1", status=OrderStatus.SHIPPED, updated_at=NOW))
    await come(shelf, make_order("3"))
    unshipped = replace(ALL, statuses=(OrderStatus.UNSHIPPED,))
    heard = await hear(order_changes.follow(shelf, unshipped, "0"), 2)
    assert {told[1] for told in heard} == {"2", "3"}
    shipped = replace(ALL, statuses=(OrderStatus.SHIPPED,))
    assert {told[1] for told in await hear(order_changes.follow(shelf, shipped, "0"))} == {"1"}


async def test_a_crowd_that_follows_is_told_the_same_order_and_it_is_read_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was read is told again for as long as the test takes.
    monkeypatch.setattr("resolvers.followed.KEPT_S", 3600.0)
    await come(shelf, make_order("1"))
    read = order.by_ids
    reads: list[int] = []

    async def counted(tx: object, ids: list[OrderId]) -> dict[OrderId, Order]:
        reads.append(len(ids))
        return await read(tx, ids)  # type: ignore[arg-type]  # the very connection

    monkeypatch.setattr(order, "by_ids", counted)
    async with shelf.store.begin() as tx:
        events = await event.after(tx, 0, kinds=[EventKind.ORDER_CHANGED])
    await order_changes.prepare(shelf, events)
    streams = [order_changes.follow(shelf, ALL, "0") for _ in range(20)]
    told = [(await anext(stream))[1] for stream in streams]
    assert len({id(one) for one in told}) == 1
    assert reads == [1]


async def test_an_order_that_is_gone_is_not_told(shelf: Shelf) -> None:
    async with shelf.store.begin() as tx:
        await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, "gone", {"id": "gone"})])
    await come(shelf, make_order("1"))
    assert [told[1] for told in await hear(order_changes.follow(shelf, ALL, "0"))] == ["1"]


async def test_a_cursor_that_is_none_is_refused(shelf: Shelf) -> None:
    for wrong in ("", "abc", "-1", "9" * 30):
        with pytest.raises(Invalid):
            await hear(order_changes.follow(shelf, ALL, wrong))


FILTERS = [
    ALL,
    replace(ALL, channel=ChannelId("shop")),
    replace(ALL, channel=ChannelId("else")),
    replace(ALL, marketplace="DE"),
    replace(ALL, statuses=()),
    replace(ALL, statuses=(OrderStatus.UNSHIPPED, OrderStatus.SHIPPED)),
    replace(ALL, placed_from=NOW - timedelta(days=1)),
    replace(ALL, placed_to=NOW - timedelta(days=1)),
    replace(ALL, updated_from=NOW - timedelta(hours=1)),
    replace(ALL, sku=Sku("A1")),
    replace(ALL, sku=Sku("A1"), external_id="1"),
    replace(ALL, external_id="2"),
]


@pytest.mark.parametrize("wanted", FILTERS)
async def test_what_a_list_tells_and_what_a_subscriber_is_told_are_the_same(shelf: Shelf, wanted: OrderFilter) -> None:
    orders = [
        make_order("1"),
        make_order("2", (1,), status=OrderStatus.CANCELLED),
        replace(make_order("3", updated_at=NOW, placed_at=NOW), marketplace="DE"),
        make_order("4", placed_at=NOW - timedelta(days=2), updated_at=NOW - timedelta(days=2)),
    ]
    await come(shelf, *orders)
    async with shelf.store.begin() as tx:
        listed, _ = await order.page(tx, first=10, **asdict(wanted))
    assert {one.external_id for one in orders if wanted.fits(one)} == {one.external_id for one in listed}
