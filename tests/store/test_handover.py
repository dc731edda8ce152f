"""What a reservation holds is the order's that it became, whichever comes first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import update

from domain.order import OrderStatus
from store import reservation
from store.session import Store
from store.tables import sku_stock
from tests.store.test_reservation import held
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    SHOP,
    SIDE,
    A,
    B,
    an_order,
    balance,
    came,
    committed,
    entries,
    entry,
    expire,
    moves,
    oversales,
    posted,
    products,
    promisable,
    released,
    reserved,
    stocked,
    wrong,
)

N1 = "302-0000001"


async def test_a_reservation_becomes_the_order_that_names_it(store: Store) -> None:
    await stocked(store, A=5)
    for number, commits in enumerate((False, True), 1):
        one = await reserved(store, lines={A: 2}, channel=SHOP)
        if commits:
            await committed(store, one.id)
        bought = an_order(number, {A: 2}, channel=SHOP, refs={"reservation": one.id})
        await came(store, bought)
        await came(store, bought, replace(bought, updated_at=bought.updated_at + timedelta(minutes=1)))
        assert (await balance(store), await held(store, A)) == ((5, 2 * number), [0])
        # The order has the units: the reservation has nothing to give back.
        if not commits:
            done = await committed(store, one.id)
            assert (done.reference, done.committed_at is not None) == (bought.external_id, True)
        await released(store, one.id)
        assert await balance(store) == (5, 2 * number)
    assert (await oversales(store), await wrong(store)) == ([], [])


async def test_a_reservation_becomes_the_order_it_was_committed_as(store: Store) -> None:
    await stocked(store, A=0, B=5)
    await posted(store, entry(A, 5, SIDE))
    one = await reserved(store, lines={A: 2, B: 3}, channel=SHOP)
    await committed(store, one.id, reference=N1)
    await posted(store, entry(A, 5, MAIN))
    # Another channel's order of that name is another order.
    await came(store, an_order(lines={A: 1}))
    assert [await balance(store, A, code) for code in (MAIN, SIDE)] == [(5, 1), (5, 2)]
    await came(store, an_order(lines={A: 2, B: 1}, channel=SHOP))
    # At the same place, and what the order does not want is free.
    assert [await balance(store, A, code) for code in (MAIN, SIDE)] == [(5, 1), (5, 2)]
    assert await balance(store, B) == (5, 1)
    assert (await moves(store, A))[-2:] == [("RELEASE", "side", 0, -2), ("ALLOCATION", "side", 0, 2)]
    await came(store, an_order(lines={A: 2, B: 1}, channel=SHOP, shipped={A: 2, B: 1}, minute=1))
    assert (await balance(store, A, SIDE), await balance(store, B)) == ((3, 0), (4, 0))
    assert (await oversales(store), await wrong(store)) == ([], [])


async def test_an_order_that_comes_before_its_reservation_is_committed(store: Store) -> None:
    await stocked(store, A=5, B=5)
    one = await reserved(store, lines={A: 2, B: 1})
    await came(store, an_order(lines={A: 2}))
    assert (await promisable(store, A), await oversales(store)) == (1, [])
    await committed(store, one.id, reference=N1)
    assert (await balance(store, A), await held(store, A, B), await promisable(store, A)) == ((5, 2), [0, 0], 3)
    # The name may come later than the commit.
    two = await reserved(store, lines={A: 1})
    await committed(store, two.id)
    await came(store, an_order(2, {A: 1}))
    assert await balance(store) == (5, 4)
    done = await committed(store, two.id, reference="302-0000002")
    assert (done.reference, await balance(store)) == ("302-0000002", (5, 3))
    # An order that was cancelled wants nothing.
    three = await reserved(store, lines={A: 1})
    await came(store, an_order(3, {A: 1}, status=OrderStatus.CANCELLED))
    await committed(store, three.id, reference="302-0000003")
    assert (await balance(store), await held(store, A), await wrong(store)) == ((5, 3), [0], [])


async def test_an_order_and_the_commit_of_its_reservation_meet(store: Store) -> None:
    await stocked(store, A=40, B=40)
    for number in range(1, 7):
        one = await reserved(store, lines={A: 1, B: 1})
        bought = an_order(number, {B: 1, A: 1})
        await asyncio.gather(
            committed(store, one.id, reference=bought.external_id), came(store, bought), came(store, bought)
        )
        assert (await balance(store, A), await balance(store, B), await held(store, A, B)) == (
            (40, number),
            (40, number),
            [0, 0],
        )
    assert await wrong(store) == []


async def test_one_order_has_what_it_reserved_though_another_comes_along(store: Store) -> None:
    await stocked(store, A=2)
    one = await reserved(store, lines={A: 2})
    await came(
        store,
        an_order(1, {A: 1}),
        an_order(2, {A: 2}, channel=SHOP, refs={"reservation": one.id}),
    )
    assert [(row.channel, row.units) for row in await oversales(store)] == [(AMAZON, 1)]


async def test_an_expired_or_released_reservation_gives_an_order_nothing(store: Store) -> None:
    await stocked(store, A=2)
    one, two = await reserved(store), await reserved(store)
    await expire(store, one.id)
    await released(store, two.id)
    await came(store, *(an_order(n, refs={"reservation": each.id}) for n, each in enumerate((one, two), 1)))
    await came(store, an_order(3, refs={"reservation": "none"}))
    assert (await balance(store), await promisable(store)) == ((2, 3), -1)


async def test_units_of_others_stay_held_until_their_order_has_ended(store: Store) -> None:
    """A reservation of a shop's order that is sent from FBA: no place of ours counts it."""
    await products(store, A, B)
    async with store.begin() as tx:
        await tx.execute(update(sku_stock).values(elsewhere=5))
    one = await reserved(store, lines={A: 2, B: 1})
    await came(store, an_order(lines={A: 2}, channel=SHOP, refs={"reservation": one.id}))
    await committed(store, one.id)
    assert await held(store, A, B) == [2, 0]
    await came(store, an_order(lines={A: 2}, channel=SHOP, minute=0))
    assert await held(store, A, B) == [2, 0]
    await came(store, an_order(lines={A: 2}, shipped={A: 2}, channel=SHOP, minute=1))
    assert (await held(store, A, B), await entries(store), await oversales(store)) == ([0, 0], [], [])


async def test_a_commit_that_names_a_shipped_order_gives_up_what_was_allocated_before(store: Store) -> None:
    await stocked(store, A=5)
    held = await reserved(store, lines={A: 2})
    await committed(store, held.id)
    order = an_order(1, {A: 2}, shipped={A: 2})
    await came(store, order)
    assert await balance(store) == (3, 2)
    await committed(store, held.id, reference=order.external_id)
    assert await balance(store) == (3, 0)


async def test_an_order_gets_no_reservation_that_was_committed_for_another(store: Store) -> None:
    await stocked(store, A=1)
    held = await reserved(store)
    one, other = an_order(1), an_order(2, refs={"reservation": held.id})
    await committed(store, held.id, reference=one.external_id)
    await came(store, other)
    await came(store, one)
    assert [line.order_line_id for line in await oversales(store)] == [other.lines[0].id]


async def test_an_order_gets_no_reservation_of_another_channel(store: Store) -> None:
    await stocked(store, A=2)
    theirs = await reserved(store, channel=SHOP)
    await came(store, an_order(1, refs={"reservation": theirs.id}))
    assert (await balance(store), await promisable(store)) == ((2, 1), 0)
    await came(store, an_order(2, channel=SHOP, refs={"reservation": theirs.id}))
    assert (await balance(store), await promisable(store)) == ((2, 2), 0)


async def test_of_two_orders_that_name_a_committed_reservation_the_first_gets_it(store: Store) -> None:
    await stocked(store, A=1)
    held = await reserved(store)
    await committed(store, held.id)
    one, other = (an_order(number, refs={"reservation": held.id}) for number in (1, 2))
    await came(store, one)
    await came(store, other)
    async with store.begin() as tx:
        assert (await reservation.by_ids(tx, [held.id]))[held.id].reference == one.external_id
    assert [line.order_line_id for line in await oversales(store)] == [other.lines[0].id]
