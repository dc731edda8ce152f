"""Sales beyond what there was: noted once, with the lag that let each in."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import insert, select, text, update

from domain.order import Order, OrderStatus
from domain.person import Destination
from domain.product import FulfilledBy
from domain.rule import FbaShare
from domain.urgency import Nowhere
from store import allocation, order_queue
from store.session import Store
from store.tables import order, order_step, sku_stock, stock_push
from tests.store.test_checkout import PLACES, POOL, THEIRS, listed, ruled, told
from tests.store.test_reservation import held
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    SHOP,
    A,
    B,
    allocations,
    an_order,
    balance,
    came,
    committed,
    entry,
    expire,
    later,
    oversales,
    place,
    posted,
    products,
    promisable,
    reserved,
    statements,
    stocked,
    wrong,
)

N1 = "302-0000001"


async def cause(store: Store) -> tuple[Any, Any, str]:
    (row,) = await oversales(store)
    return row.shown, row.told_at, row.cause


async def pushed(
    store: Store, quantity: int, sent_at: datetime, confirmed_at: datetime | None = None, **more: Any
) -> None:
    values: dict[str, Any] = {
        "channel": AMAZON,
        "channel_sku": "their-A",
        "place": "",
        "sku": A,
        "quantity": quantity,
        "cause": "CHANGE",
        "sent_at": sent_at,
        "confirmed_at": confirmed_at,
    }
    async with store.begin() as tx:
        await tx.execute(insert(stock_push).values(**values | more))


async def test_a_sale_beyond_what_there_is_is_promised_and_noted_once(store: Store) -> None:
    await stocked(store, A=3)
    await came(store, an_order(1, {A: 2}), an_order(2, {A: 4}))
    await came(store, an_order(2, {A: 4}, minute=1, status=OrderStatus.ON_HOLD))
    assert await allocations(store) == {(N1, A, MAIN): (2, 0), ("302-0000002", A, MAIN): (4, 0)}
    assert (await balance(store), await promisable(store)) == ((3, 6), -3)
    (row,) = await oversales(store)
    assert (row.sku, row.channel, row.units, row.cause) == (A, AMAZON, 3, "never told")
    # Cancelled and wanted again it is still the same sale; a larger one grows.
    await came(store, an_order(2, {A: 4}, minute=2, status=OrderStatus.CANCELLED))
    await came(store, an_order(2, {A: 4}, minute=3))
    assert [one.units for one in await oversales(store)] == [3]
    await came(store, an_order(2, {A: 6}, minute=4))
    assert [one.units for one in await oversales(store)] == [5]
    assert await wrong(store) == []


async def test_units_held_for_others_are_not_there(store: Store) -> None:
    await stocked(store, A=3)
    one = await reserved(store, lines={A: 2})
    async with store.begin() as tx:
        # What nobody is offered is there all the same.
        await tx.execute(update(sku_stock).values(safety_stock=1))
    await came(store, an_order(1, {A: 1}))
    assert await oversales(store) == []
    await came(store, an_order(2, {A: 1}))
    assert [row.units for row in await oversales(store)] == [1]
    await expire(store, one.id)
    await came(store, an_order(3, {A: 1}))
    assert len(await oversales(store)) == 1


async def in_pool(store: Store, units: int, *rules: FbaShare) -> None:
    """Amazon has so many A in its pool, listed in the shop and there; the rules are the shop's."""
    await listed(store, AMAZON, A, by=FulfilledBy.CHANNEL)
    await listed(store, SHOP, A)
    await told(store, POOL, units)
    for one in rules:
        await ruled(store, one, SHOP)


async def nowhere(store: Store) -> list[tuple[str, str]]:
    """What timelines tell of units that lie at no place of ours, by order."""
    async with store.begin() as tx:
        rows = await tx.execute(select(order_step.c.words, order.c.external_id).join(order).order_by(order_step.c.id))
    return [(row.external_id, row.words) for row in rows if "no place of ours" in row.words]


async def obstacles(store: Store, *orders: Order) -> list[int]:
    async with store.begin() as tx:
        found = await order_queue.nowhere(tx, [one.id for one in orders])
    return [found[one.id].units if one.id in found else 0 for one in orders]


async def test_units_in_fba_are_not_there_for_what_we_ship(store: Store) -> None:
    await stocked(store, A=142)
    await in_pool(store, 112)
    few = an_order(1, {A: 20}, channel=SHOP, marketplace=None)
    many = an_order(2, {A: 140}, channel=SHOP, marketplace=None)
    await came(store, few, many, places=PLACES)
    assert [(row.channel, row.units) for row in await oversales(store)] == [(SHOP, 18)]
    words = "18 of A lie at no place of ours: they have to come, or FBA sends them (shipFromFba)"
    assert (await nowhere(store), await obstacles(store, few, many)) == ([(many.external_id, words)], [0, 18])
    # When they have come nothing stands in its way, and what was is still known.
    await posted(store, entry(A, 18))
    assert (await obstacles(store, few, many), len(await oversales(store))) == ([0, 0], 1)
    # What is more comes of a pool's own orders, which take nothing of ours.
    await came(store, an_order(3, {A: 50}, fulfilled_by=FulfilledBy.CHANNEL), places=PLACES)
    assert (await balance(store), len(await oversales(store)), await wrong(store)) == ((160, 160), 1, [])
    # Amazon sends none of its orders that are ours to send.
    await came(store, an_order(4, {A: 2}), places=PLACES)
    assert (await nowhere(store))[-1][1] == "2 of A lie at no place of ours: they have to come"


async def test_what_lies_for_a_committed_reservation_is_there_for_no_order(store: Store) -> None:
    await stocked(store, A=5)
    await committed(store, (await reserved(store, lines={A: 2})).id)
    first, second = an_order(1, {A: 2}), an_order(2, {A: 3})
    await came(store, first, second)
    words = "2 of A lie at no place of ours: they have to come"
    assert await nowhere(store) == [(second.external_id, words)]
    assert await obstacles(store, first, second) == [0, 2]


async def test_that_others_have_units_is_known_of_what_lies_nowhere(store: Store) -> None:
    await stocked(store, A=1, B=1)
    await in_pool(store, 9)
    has, has_not = an_order(1, {A: 2}, channel=SHOP), an_order(2, {B: 2}, channel=SHOP)
    await came(store, has, has_not, places=PLACES)
    async with store.begin() as tx:
        found = await order_queue.nowhere(tx, [has.id, has_not.id])
    assert found == {has.id: Nowhere(1, True), has_not.id: Nowhere(1, False)}


async def asks_others(store: Store, number: int, units: int, **more: Any) -> bool:
    """Is it read what others count, when the shop's order of so many A comes in?"""
    with statements(store) as seen:
        await came(store, an_order(number, {A: units}, channel=SHOP, **more), places=[place(MAIN), POOL])
    return any("from stock_level" in one for one in seen)


async def test_what_others_count_is_read_where_units_of_ours_are_counted_and_do_not_suffice(store: Store) -> None:
    await products(store, A)
    await in_pool(store, 9, FbaShare(Decimal(50)))
    assert not await asks_others(store, 1, 3)
    before = await later(store)
    await posted(store, entry(A, 1))
    assert not await asks_others(store, 2, 3, shipped={A: 3}, placed_at=before)
    assert await asks_others(store, 3, 3)


async def test_what_others_count_is_read_where_the_channel_may_sell_of_it(store: Store) -> None:
    await stocked(store, A=1)
    await in_pool(store, 9)
    assert not await asks_others(store, 1, 3)
    await ruled(store, FbaShare(Decimal(50)), SHOP)
    assert await asks_others(store, 2, 3)


async def test_what_a_rule_offers_from_fba_is_no_oversale_but_has_to_be_sent_from_there(store: Store) -> None:
    await stocked(store, A=10)
    await in_pool(store, 40, FbaShare(Decimal(50)))
    one = an_order(1, {A: 28}, channel=SHOP)
    await came(store, one, places=PLACES)
    assert (await oversales(store), await obstacles(store, one)) == ([], [18])
    assert [number for number, _ in await nowhere(store)] == [one.external_id]
    # Of the share 2 are left, for the shop and for nobody else.
    await came(store, an_order(2, {A: 3}, channel=SHOP), places=PLACES)
    assert [row.units for row in await oversales(store)] == [1]
    await came(store, an_order(3, {A: 1}), places=PLACES)
    assert [(row.channel, row.units) for row in await oversales(store)] == [(SHOP, 1), (AMAZON, 1)]
    # The pool ships it: nothing of it has to lie here any more.
    async with store.begin() as tx:
        await allocation.leave_to_pools(tx, one, {(POOL.code, one.lines[0].id): (18, 0)})
        await allocation.settle(tx, [one], PLACES)
    assert (await balance(store), await obstacles(store, one), await wrong(store)) == ((10, 14), [0], [])


async def test_a_share_for_some_countries_is_for_orders_that_go_there(store: Store) -> None:
    await stocked(store, A=0)
    await posted(store, entry(A, 1))
    await in_pool(store, 40, FbaShare(Decimal(50), countries=frozenset({"US"})))
    to_us = an_order(1, {A: 2}, channel=SHOP, destination=Destination("US"))
    to_de = an_order(2, {A: 3}, channel=SHOP, destination=Destination("DE"))
    unknown = an_order(3, {A: 4}, channel=SHOP)
    await came(store, to_us, to_de, unknown, places=PLACES)
    assert sorted(row.units for row in await oversales(store)) == [3, 4]


async def test_what_the_shop_counts_itself_is_there_for_its_own_orders(store: Store) -> None:
    await stocked(store, A=1)
    await listed(store, SHOP, A)
    await told(store, THEIRS, 5)
    await came(store, an_order(1, {A: 6}, channel=SHOP), places=PLACES)
    assert await oversales(store) == []
    await came(store, an_order(2, {A: 1}), places=PLACES)
    assert [row.channel for row in await oversales(store)] == [AMAZON]


async def test_the_lag_that_let_a_sale_in_is_named(store: Store) -> None:
    await stocked(store, A=0)
    await posted(store, entry(A, 1))
    now = await later(store)
    placed_at = now + timedelta(hours=1)

    def ago(seconds: float) -> datetime:
        return placed_at - timedelta(seconds=seconds)

    async def sold(number: int, **more: Any) -> tuple[Any, Any, str]:
        async with store.begin() as tx:
            await tx.execute(text("delete from oversale"))
        await came(store, an_order(number, {A: 9}, placed_at=placed_at, **more))
        return await cause(store)

    await pushed(store, 7, ago(-5))
    await pushed(store, 7, ago(9), channel=SHOP)
    await pushed(store, 7, ago(9), error_code="REFUSED")
    assert await sold(1) == (None, None, "never told")
    await pushed(store, 4, ago(300))
    assert await sold(2) == (
        None,
        ago(300),
        "placed 300 s after the first number was told, before it was confirmed",
    )
    await pushed(store, 5, ago(200), ago(190))
    shown, told_at, words = await sold(3)
    assert (shown, told_at, words) == (5, None, "seen 0.0 s after it was placed")
    await pushed(store, 1, ago(12.4), ago(-20))
    assert await sold(4) == (5, ago(12.4), "placed 12.4 s after the number was lowered, before it was confirmed")
    await pushed(store, 8, ago(3))
    assert (await sold(5))[2] == "seen 0.0 s after it was placed"
    await pushed(store, 0, ago(2), ago(1))
    assert await sold(6) == (0, ago(2), "placed 2.0 s after 0 were told and confirmed")
    await pushed(store, 2, ago(2), ago(1), place="Hamburg")
    assert (await sold(7))[0] == 2


async def test_a_late_order_says_how_late(store: Store) -> None:
    await products(store, A)
    await posted(store, entry(A, 1))
    now = await later(store)
    await pushed(store, 1, now - timedelta(hours=1), now - timedelta(hours=1))
    await came(store, an_order(lines={A: 2}, placed_at=now - timedelta(seconds=340)))
    (row,) = await oversales(store)
    late_s = (row.seen_at - row.placed_at).total_seconds()
    assert (late_s >= 340, await cause(store)) == (True, (1, None, f"seen {late_s:.0f} s after it was placed"))


async def test_what_a_reservation_had_is_no_oversale(store: Store) -> None:
    """A marketplace sold the units that were held: the marketplace's sale is the one too many."""
    await stocked(store, A=5)
    one = await reserved(store, lines={A: 5})
    await came(store, an_order(1, {A: 2}))
    await committed(store, one.id, reference="1002")
    assert (await balance(store), await held(store, A)) == ((5, 5), [2])
    bought = an_order(2, {A: 5}, channel=SHOP, external_id="1002")
    await came(store, bought)
    assert (await balance(store), await held(store, A)) == ((5, 7), [0])
    assert [(row.channel, row.units) for row in await oversales(store)] == [(AMAZON, 2)]
    assert await wrong(store) == []
