"""What a marketplace says to have sold is sold to nobody else, until the order is read or its time is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.errors import Insufficient
from domain.hint import Hint, HintKind
from domain.ids import ReservationId, Sku
from domain.order import OrderStatus
from domain.reservation import ReservedLine
from store import ahead, intake, reservation
from store.session import Store
from store.tables import order_allocation, sku_stock, stock_balance
from store.tables import reservation as reservations
from tests.store.bench import blocked
from tests.store.test_reservation import held
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    PLACES,
    SHOP,
    A,
    B,
    C,
    an_order,
    balance,
    came,
    committed,
    elsewhere,
    expire,
    kit,
    oversales,
    place,
    products,
    promisable,
    released,
    reserved,
    stocked,
    wrong,
)

N1 = an_order().external_id


def told_of(order: str = N1) -> Hint:
    return Hint(AMAZON, "n-1", "ORDER_CHANGE", HintKind.ORDER, order, datetime.now(UTC), "DE")


async def ahead_of(
    store: Store, units: int = 1, sku: Sku = A, told: Hint | None = None, places: list[Location] = PLACES
) -> int:
    async with store.begin() as tx:
        return await ahead.hold(tx, told or told_of(), sku, units, places)


async def test_what_was_told_to_be_sold_is_sold_to_nobody_else_and_becomes_the_orders(store: Store) -> None:
    await stocked(store, A=2)
    assert await ahead_of(store)
    assert not await ahead_of(store), "of another copy nothing more is held"
    assert (await promisable(store), await held(store, A)) == (1, [1])
    with pytest.raises(Insufficient):
        await reserved(store, lines={A: 2}, channel=SHOP)
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store), await held(store, A), await promisable(store)) == ((2, 1), [0], 1)
    assert not await ahead_of(store), "the order is known"
    assert (await oversales(store), await wrong(store)) == ([], [])


async def test_what_the_order_does_not_want_is_free_again(store: Store) -> None:
    await stocked(store, A=3, B=3)
    assert await ahead_of(store, 2)
    assert await ahead_of(store, 1, B)
    await came(store, an_order(lines={A: 1}, status=OrderStatus.UNSHIPPED))
    assert (await balance(store), await balance(store, B)) == ((3, 1), (3, 0))
    assert (await promisable(store), await promisable(store, B)) == (2, 3)
    other = told_of(an_order(2).external_id)
    assert await ahead_of(store, 2, told=other)
    await came(store, an_order(2, lines={A: 2}, status=OrderStatus.CANCELLED))
    assert (await promisable(store), await held(store, A), await wrong(store)) == (2, [0], [])


async def test_of_an_order_that_is_never_read_nothing_is_held_for_good(store: Store) -> None:
    await stocked(store, A=1)
    assert await ahead_of(store)
    async with store.begin() as tx:
        [row] = (await tx.execute(select(reservations))).all()
    assert (row.channel, row.reference, row.requested_by) == (AMAZON, N1, f"channel:{AMAZON}")
    assert row.expires_at - row.created_at == timedelta(days=1)
    await expire(store, ReservationId(row.id))
    assert await promisable(store) == 1
    # It comes all the same, though its unit was sold meanwhile: that is an oversale, as without.
    await came(store, an_order(2, lines={A: 1}))
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store), len(await oversales(store)), await wrong(store)) == ((1, 2), 1, [])


async def test_the_order_of_another_channel_by_that_name_gets_nothing_of_it(store: Store) -> None:
    await stocked(store, A=2)
    assert await ahead_of(store)
    await came(store, an_order(channel=SHOP))
    assert (await balance(store), await held(store, A)) == ((2, 1), [1])


async def test_nothing_is_held_that_the_order_could_not_take(store: Store) -> None:
    await stocked(store, A=2)
    assert not await ahead_of(store, places=[place(MAIN, SHOP)]), "what lies there is not sold to the channel"
    assert not await ahead_of(store, sku=Sku("unknown"))
    await products(store, B)
    assert not await ahead_of(store, sku=B), "nobody has counted it"
    assert (await promisable(store), await held(store, A)) == (2, [0])
    assert await ahead_of(store), "this could"


async def test_where_more_was_sold_than_there_is_nobody_else_is_sold_what_is_left(store: Store) -> None:
    await stocked(store, A=2)
    assert await ahead_of(store, 3) == 2
    assert (await promisable(store), await held(store, A)) == (0, [2])
    assert await ahead_of(store, 1, told=told_of(an_order(2).external_id)) == 0
    await came(store, an_order(lines={A: 3}))
    assert (await balance(store), len(await oversales(store)), await wrong(store)) == ((2, 3), 1, [])


async def test_what_lies_in_fba_covers_nothing_that_is_told_ahead(store: Store) -> None:
    await stocked(store, A=1)
    await elsewhere(store, A, 40)
    assert await ahead_of(store, 5) == 1
    await came(store, an_order(lines={A: 5}))
    assert [one.units for one in await oversales(store)] == [4]


async def test_of_a_kit_its_components_are_held(store: Store) -> None:
    await stocked(store, A=0, B=4)
    await kit(store, A, B=2)
    assert await ahead_of(store)
    assert (await promisable(store, B), await held(store, B)) == (2, [2])
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store, B), await held(store, B), await wrong(store)) == ((4, 2), [0], [])


async def test_of_a_kit_what_is_left_of_its_components_is_held(store: Store) -> None:
    await stocked(store, A=0, B=3, C=5)
    await kit(store, A, B=2, C=1)
    assert await ahead_of(store, 2)
    assert (await held(store, B, C), await promisable(store, C)) == ([3, 2], 3)
    await came(store, an_order(lines={A: 2}))
    assert (await balance(store, B), await balance(store, C), await held(store, B, C)) == ((3, 4), (5, 2), [0, 0])
    assert (len(await oversales(store)), await wrong(store)) == (1, [])


async def test_of_what_many_orders_have_sold_at_once_nothing_is_left_to_others(store: Store) -> None:
    await stocked(store, A=15)
    names = [an_order(number).external_id for number in range(12)]
    # Each by two workers, as when a message comes twice.
    await asyncio.gather(*(ahead_of(store, 2, told=told_of(name)) for name in [*names, *reversed(names)]))
    assert (await promisable(store), await held(store, A), await wrong(store)) == (0, [15], [])


async def test_what_is_left_is_held_though_somebody_takes_a_part_of_it_at_that_moment(store: Store) -> None:
    await stocked(store, A=4)

    async def another() -> int:
        async with store.begin() as tx:
            try:
                await one_of(tx)
            except Insufficient:
                return 0
            await blocked(store, 1)
        return 1

    async with store.begin() as first:
        await one_of(first)
        told = asyncio.create_task(ahead_of(store, 5))
        await blocked(store, 1)
        taken = asyncio.create_task(another())
        await blocked(store, 2)
    assert await told + await taken == 3, "whoever of the two comes first"
    assert (await promisable(store), await held(store, A), await wrong(store)) == (0, [4], [])


async def test_what_is_held_for_an_order_that_there_is_not_is_let_go(store: Store) -> None:
    await stocked(store, A=3, B=3)
    for sku in (A, B):
        assert await ahead_of(store, sku=sku)
    other = await reserved(store, lines={A: 1}, channel=AMAZON, reference=N1)
    async with store.begin() as tx:
        await ahead.let_go(tx, SHOP, N1)
    assert await held(store, A, B) == [2, 1], "that is another channel's"
    for _ in range(2):
        async with store.begin() as tx:
            await ahead.let_go(tx, AMAZON, N1)
        assert (await held(store, A, B), await promisable(store, B)) == ([1, 0], 3), "what others made stays theirs"
    assert not await ahead_of(store), "of a copy that comes late nothing is held anew"
    await committed(store, other.id)
    assert await wrong(store) == []


async def test_what_its_order_has_is_not_let_go(store: Store) -> None:
    await stocked(store, A=3)
    assert await ahead_of(store)
    await came(store, an_order(lines={A: 1}))
    async with store.begin() as tx:
        await ahead.let_go(tx, AMAZON, N1)
    assert (await balance(store), await promisable(store), await wrong(store)) == ((3, 1), 2, [])


async def test_an_order_that_comes_at_the_same_moment_is_not_counted_twice(store: Store) -> None:
    await stocked(store, A=40)
    orders = [an_order(number) for number in range(20)]
    work = [came(store, one) for one in orders] + [ahead_of(store, told=told_of(one.external_id)) for one in orders]
    await asyncio.gather(*work[::2], *work[1::2])
    assert (await balance(store), set(await held(store, A)) <= {0}, await promisable(store)) == ((40, 20), True, 20)
    assert await wrong(store) == []


@pytest.mark.parametrize("seed", range(2))
async def test_many_who_tell_bring_cancel_and_reserve_at_once_wait_in_no_circle(store: Store, seed: int) -> None:
    """Messages come twice, orders in any company, changed and cancelled, and what is short is short for all."""
    chance = random.Random(seed)
    pair = Sku("PAIR")
    await products(store, pair)
    await stocked(store, A=30, B=30, C=30)
    await kit(store, pair, B=1, C=2)
    work: list[Coroutine[Any, Any, Any]] = []
    orders = []
    for number in range(24):
        lines = {sku: chance.randint(1, 2) for sku in chance.sample([A, B, C, pair], 2)}
        told = told_of(an_order(number).external_id)
        work += [ahead_of(store, units, sku, told) for sku, units in lines.items() for _ in range(2)]
        fewer = dict.fromkeys(list(lines)[: number % 2 + 1], 1)
        orders.append(an_order(number, fewer, status=OrderStatus.CANCELLED if number % 4 == 3 else None))
        work.append(bought(store, number, chance.choice([A, B, C, pair])))
    company = chance.sample(orders, len(orders))
    work += [came(store, *company[start : start + 4]) for start in range(0, len(company), 4)]
    chance.shuffle(work)
    turns = asyncio.Semaphore(8)

    async def in_turn(one: Coroutine[Any, Any, Any]) -> None:
        async with turns:
            await one

    await asyncio.gather(*map(in_turn, work))
    async with store.begin() as tx:
        left = await reservation.holds(tx, [A, B, C])
        promised = await tx.scalar(select(func.sum(order_allocation.c.quantity)))
        reserved_units = await tx.scalar(select(func.sum(stock_balance.c.reserved)))
    assert (left, promised, await wrong(store)) == ({}, reserved_units, [])


async def test_whoever_commits_it_by_hand_leaves_it_its_orders_name(store: Store) -> None:
    await stocked(store, A=5)
    assert await ahead_of(store)
    await committed(store, await only(store))
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store), await held(store, A)) == ((5, 1), [0])


async def test_whoever_releases_it_while_its_order_comes_stands_in_nobodys_way(store: Store) -> None:
    await stocked(store, A=5)
    assert await ahead_of(store)
    id = await only(store)
    async with store.begin() as tx:
        await tx.execute(select(reservations.c.id).where(reservations.c.id == id).with_for_update())
        coming = asyncio.create_task(came(store, an_order(lines={A: 1})))
        await blocked_or_done(tx, coming)
        assert not coming.done()
        await reservation.release(tx, id, by="admin")
    await coming
    assert (await balance(store), await held(store, A), await wrong(store)) == ((5, 1), [0], [])


@pytest.mark.parametrize("of_a_kit", [False, True])
@pytest.mark.parametrize("held_first", [True, False])
async def test_for_an_order_that_comes_cancelled_at_the_same_moment_nothing_is_held(
    store: Store, held_first: bool, of_a_kit: bool
) -> None:
    await stocked(store, A=0 if of_a_kit else 4, B=4)
    if of_a_kit:
        await kit(store, A, B=2)
    gone = an_order(lines={A: 1}, status=OrderStatus.CANCELLED)
    other: asyncio.Task[Any]
    async with store.begin() as tx:
        if held_first:
            assert await ahead.hold(tx, told_of(), A, 1, PLACES)
            other = asyncio.create_task(came(store, gone))
        else:
            await intake.keep_orders(tx, [gone], PLACES)
            other = asyncio.create_task(ahead_of(store))
        await blocked_or_done(tx, other)
    await other
    sku = B if of_a_kit else A
    assert (await promisable(store, sku), await held(store, sku), await wrong(store)) == (4, [0], [])


@pytest.mark.parametrize("told", [True, False])
async def test_what_was_held_since_long_was_not_for_sale_since_its_order_was_placed(store: Store, told: bool) -> None:
    """How long other channels sold what was gone is measured from the sale to the hold, not to the order."""
    await stocked(store, A=9)
    ago = datetime.now(UTC) - timedelta(minutes=9)
    if told:
        assert await ahead_of(store)
    async with store.begin() as tx:  # as when the new number was carried to the channels
        await tx.execute(text("update sku_stock set dirty_since = null, caused_at = null"))
    await came(store, an_order(lines={A: 1}, placed_at=ago))
    async with store.begin() as tx:
        caused_at = await tx.scalar(select(sku_stock.c.caused_at))
    assert caused_at is not None
    assert (caused_at > ago + timedelta(minutes=8)) == told


async def bought(store: Store, number: int, sku: Sku) -> None:
    """Somebody buys it in the shop, where there is one, or leaves it after all."""
    with suppress(Insufficient):
        made = await reserved(store, lines={sku: 1}, channel=SHOP)
        if number % 3:
            await released(store, made.id)
            return
        order = an_order(1000 + number, {sku: 1}, channel=SHOP)
        await asyncio.gather(committed(store, made.id, reference=order.external_id), came(store, order))


async def one_of(tx: AsyncConnection, sku: Sku = A) -> None:
    """One is reserved by somebody."""
    lines = [ReservedLine(sku, 1)]
    await reservation.reserve(
        tx, requested_by="shop", idempotency_key=None, request_hash="h", lines=lines, ttl_s=600, channel=SHOP
    )


async def blocked_or_done(tx: AsyncConnection, task: asyncio.Task[Any]) -> None:
    """Until the task waits for a lock of somebody's, or has ended."""
    waiting = text(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(30):
        while not task.done() and not await tx.scalar(waiting):
            await asyncio.sleep(0.01)


async def only(store: Store) -> ReservationId:
    async with store.begin() as tx:
        return ReservationId((await tx.scalars(select(reservations.c.id))).one())
