"""What orders take from the ledger: at first sight, by whatever road, once."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import text

from domain.channel import Location, LocationKind
from domain.ids import LocationCode, Sku
from domain.ledger import EntryKind
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy
from store import allocation, kit, order
from store.session import Store
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    PLACES,
    SHOP,
    SIDE,
    A,
    B,
    C,
    allocations,
    an_order,
    balance,
    came,
    entries,
    entry,
    later,
    moves,
    oversales,
    place,
    posted,
    promisable,
    stocked,
    told,
    wrong,
)
from tests.store.warehouse import (
    kit as a_kit,
)

PAIR = Sku("PAIR")
N1 = "302-0000001"
OPENED = [("RECEIPT", "main", 5, 0)]


async def test_an_order_takes_its_units_at_first_sight_and_once(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(lines={A: 2}, status=OrderStatus.PENDING)
    before = len(await told(store))
    assert await came(store, one) == [one.id]
    assert await came(store, one, one) == []
    confirmed = replace(one, status=OrderStatus.UNSHIPPED, updated_at=one.updated_at + timedelta(minutes=1))
    assert await came(store, confirmed) == [one.id]
    assert await came(store, one) == []
    assert await moves(store) == [*OPENED, ("ALLOCATION", "main", 0, 2)]
    assert await allocations(store) == {(N1, A, MAIN): (2, 0)}
    assert (await told(store))[before:] == [A]
    assert await promisable(store) == 3
    last = (await entries(store))[-1]
    assert (last.actor, last.source, last.reference, last.order_line) == ("acorn", "order", N1, one.lines[0].id)


async def test_shipped_units_leave_and_what_is_cancelled_is_free_again(store: Store) -> None:
    await stocked(store, A=5)
    await came(store, an_order(lines={A: 3}))
    await came(store, an_order(lines={A: 3}, shipped={A: 1}, minute=1))
    assert (await balance(store), await allocations(store)) == ((4, 2), {(N1, A, MAIN): (2, 1)})
    # One of the other two is no longer wanted.
    await came(store, an_order(lines={A: 2}, shipped={A: 1}, minute=2))
    assert await balance(store) == (4, 1)
    await came(store, an_order(lines={A: 2}, shipped={A: 2}, minute=3))
    await came(store, an_order(lines={A: 2}, shipped={A: 2}, minute=4, status=OrderStatus.DELIVERED))
    assert await moves(store) == [
        *OPENED,
        ("ALLOCATION", "main", 0, 3),
        ("SHIPMENT", "main", -1, -1),
        ("RELEASE", "main", 0, -1),
        ("SHIPMENT", "main", -1, -1),
    ]
    await came(store, an_order(2, {A: 2}))
    await came(store, an_order(2, {A: 2}, minute=1, status=OrderStatus.CANCELLED))
    await came(store, an_order(2, {A: 2}, minute=0))
    assert (await balance(store), await wrong(store), await oversales(store)) == ((3, 0), [], [])


async def test_versions_in_any_order_leave_the_same(store: Store) -> None:
    """Three roads, duplicates, the newest at any place."""
    at = await later(store) + timedelta(minutes=1)
    versions = [
        an_order(lines={A: 3}, status=OrderStatus.PENDING, placed_at=at),
        an_order(lines={A: 3}, minute=1, placed_at=at),
        an_order(lines={A: 3}, shipped={A: 2}, minute=2, placed_at=at),
        an_order(lines={A: 2}, shipped={A: 2}, minute=3, placed_at=at),
    ]
    await stocked(store, A=5)
    for one in versions:
        await came(store, one, one)
    turns = random.Random(5).sample([*itertools.permutations(versions)], 10)
    for turn in turns:
        await came(store, *turn)
    assert (await balance(store), len(await moves(store))) == ((3, 0), 4)
    for number, turn in enumerate(turns[:5], 2):
        for one in turn:
            await came(store, _renumbered(one, number))
        assert (await allocations(store))[f"302-{number:07}", A, MAIN] == (0, 2)
        await posted(store, entry(A, 2))
    assert (await balance(store), await oversales(store), await wrong(store)) == ((3, 0), [], [])


def _renumbered(one: Order, number: int) -> Order:
    """The same version of another order."""
    line = one.lines[0]
    minute = int((one.updated_at - one.placed_at).total_seconds() / 60)
    return an_order(
        number,
        {A: line.quantity},
        shipped={A: line.quantity_shipped},
        status=one.status,
        minute=minute,
        placed_at=one.placed_at,
    )


async def test_the_same_orders_told_at_once_by_many_count_once(store: Store) -> None:
    await stocked(store, A=9, B=9)
    orders = [an_order(1, {A: 1, B: 1}), an_order(2, {B: 2}), an_order(3, {B: 1, A: 2})]
    dice = random.Random(3)
    await asyncio.gather(*(came(store, *dice.sample(orders, dice.randint(1, 3))) for _ in range(20)))
    await came(store, *orders)
    assert (await balance(store, A), await balance(store, B)) == ((9, 3), (9, 4))
    assert [one.kind for one in await entries(store)].count(EntryKind.ALLOCATION) == 5
    assert await wrong(store) == []


async def test_a_place_that_has_it_all_comes_first_then_few_places(store: Store) -> None:
    await stocked(store, A=2)
    far = LocationCode("far")
    await posted(store, entry(A, 4, SIDE), entry(A, 3, far))
    places = [*PLACES, place(far)]
    await came(store, an_order(1, {A: 2}), places=places)
    await came(store, an_order(2, {A: 5}), places=places)
    assert await allocations(store) == {
        (N1, A, MAIN): (2, 0),
        ("302-0000002", A, SIDE): (4, 0),
        ("302-0000002", A, far): (1, 0),
    }


async def test_only_places_that_sell_to_the_channel(store: Store) -> None:
    await stocked(store, A=5)
    await posted(store, entry(A, 5, SIDE))
    await came(store, an_order(lines={A: 2}), places=[place(MAIN, SHOP), place(SIDE, AMAZON)])
    await came(store, an_order(2, lines={A: 2}), places=[place(MAIN, SHOP)])
    assert (await balance(store, A, MAIN), await balance(store, A, SIDE)) == ((5, 0), (5, 2))


async def test_what_a_pool_keeps_and_a_parcel_of_ours_are_together_no_more_than_was_ordered(store: Store) -> None:
    fba = LocationCode("fba")
    places = [*PLACES, Location(fba, "FBA", LocationKind.FBA, AMAZON, "")]
    await stocked(store, A=5)
    one = an_order(1, {A: 5}, channel=SHOP)
    await came(store, one, places=places)
    async with store.begin() as tx:
        await order.lock(tx, [one.id])
        await allocation.leave_to_pools(tx, one, {(fba, one.lines[0].id): (3, 0)})
        await allocation.settle(tx, [one], places)
    assert await allocations(store) == {(N1, A, MAIN): (2, 0), (N1, A, fba): (3, 0)}
    two_sent = an_order(1, {A: 5}, shipped={A: 2}, channel=SHOP, placed_at=one.placed_at, minute=1)
    await came(store, two_sent, places=places)
    assert await allocations(store) == {(N1, A, MAIN): (0, 2), (N1, A, fba): (3, 0)}


async def test_kits_take_their_components(store: Store) -> None:
    await stocked(store, A=9, B=9, PAIR=0)
    await a_kit(store, PAIR, A=2, B=1)
    await came(store, an_order(lines={PAIR: 2, A: 1}))
    assert (await balance(store, A), await balance(store, B)) == ((9, 5), (9, 2))
    await came(store, an_order(lines={PAIR: 2, A: 1}, shipped={PAIR: 1}, minute=1))
    assert (await balance(store, A), await balance(store, B)) == ((7, 3), (8, 1))
    await came(store, an_order(lines={PAIR: 2, A: 1}, shipped={PAIR: 1}, minute=2, status=OrderStatus.CANCELLED))
    assert (await balance(store, A), await balance(store, B)) == ((7, 0), (8, 0))


async def test_a_kit_that_is_promised_stays_what_it_was(store: Store) -> None:
    await stocked(store, A=9, B=9, C=9, PAIR=0)
    async with store.begin() as tx:
        await kit.save(tx, PAIR, {A: 2}, "test")
    await came(store, an_order(1, {PAIR: 1}), an_order(2, {PAIR: 1}))
    await came(store, an_order(2, {PAIR: 1}, shipped={PAIR: 1}, minute=1))
    async with store.begin() as tx:
        await kit.save(tx, PAIR, {B: 1, C: 1}, "test")
    await came(store, an_order(1, {PAIR: 1}, shipped={PAIR: 1}, minute=1))
    await came(store, an_order(2, {PAIR: 1}, shipped={PAIR: 1}, minute=2, status=OrderStatus.DELIVERED))
    await came(store, an_order(3, {PAIR: 1}))
    assert [await balance(store, sku) for sku in (A, B, C)] == [(5, 0), (9, 1), (9, 1)]


async def test_what_no_place_of_ours_counts_is_left_alone(store: Store) -> None:
    await stocked(store, A=5, B=0)
    await came(store, an_order(lines={B: 2}), an_order(2, {Sku("never seen"): 1}), an_order(3, {A: 1}))
    bare = an_order(4, {A: 1})
    await came(store, replace(bare, lines=[replace(bare.lines[0], sku=None)]))
    fba = an_order(5, {A: 1}, fulfilled_by=FulfilledBy.CHANNEL)
    await came(store, fba)
    assert (await entries(store, B), await balance(store)) == ([], (5, 1))
    # Later the line is known, later the channel hands the order over to us, and takes it back.
    await came(store, replace(bare, updated_at=bare.updated_at + timedelta(minutes=1)))
    await came(store, an_order(5, {A: 1}, minute=1))
    assert await balance(store) == (5, 3)
    await came(store, an_order(5, {A: 1}, minute=2, fulfilled_by=FulfilledBy.CHANNEL))
    assert await balance(store) == (5, 2)


async def test_a_line_that_is_gone_or_maps_to_another_sku_gives_its_units_back(store: Store) -> None:
    await stocked(store, A=5, B=5)
    await came(store, an_order(lines={A: 1, B: 1}))
    one = an_order(lines={A: 1}, minute=1)
    await came(store, one)
    assert (await balance(store, A), await balance(store, B)) == ((5, 1), (5, 0))
    later_one = replace(one, lines=[replace(one.lines[0], sku=B)], updated_at=one.updated_at + timedelta(minutes=1))
    await came(store, later_one)
    assert (await balance(store, A), await balance(store, B)) == ((5, 0), (5, 1))


async def test_open_orders_from_before_the_ledger_are_promised_once_it_is_open(store: Store) -> None:
    await stocked(store, A=0, PAIR=0)
    await a_kit(store, PAIR, A=2)
    one, two, gone = an_order(1, {A: 1}), an_order(2, {PAIR: 1}), an_order(3, {A: 1}, status=OrderStatus.CANCELLED)
    await came(store, one, two, gone)
    async with store.begin() as tx:
        assert [found.id for found in await allocation.waiting(tx, [A])] == sorted([one.id, two.id])
        assert await allocation.waiting(tx, [B]) == []
    await posted(store, entry(A, 5, kind=EntryKind.OPENING))
    # Told again without a change, or looked for: either will do.
    assert await came(store, one) == []
    async with store.begin() as tx:
        (found,) = await allocation.waiting(tx, [A])
        assert found.id == two.id
        assert await allocation.settle(tx, [found], PLACES) == {A}
        assert await allocation.settle(tx, [found], PLACES) == set()
        assert await allocation.waiting(tx, [A]) == []
    assert await balance(store) == (5, 3)


async def test_units_that_left_before_the_first_count_are_not_taken_off_again(store: Store) -> None:
    await stocked(store, A=5)
    before = (await later(store)) - timedelta(days=1)
    # Two of five left before we counted, three are still here.
    await came(store, an_order(lines={A: 5}, shipped={A: 2}, placed_at=before))
    assert await balance(store) == (5, 3)
    await came(store, an_order(lines={A: 5}, shipped={A: 3}, placed_at=before, minute=1))
    assert await balance(store) == (4, 2)
    whole = an_order(2, {A: 4}, shipped={A: 4}, placed_at=before)
    await came(store, whole)
    await came(store, whole, replace(whole, status=OrderStatus.DELIVERED, updated_at=before + timedelta(days=1)))
    assert await balance(store) == (4, 2)
    assert await oversales(store) == []


async def test_a_parcel_of_an_order_never_seen_before_takes_its_units_off(store: Store) -> None:
    await stocked(store, A=5)
    await came(store, an_order(lines={A: 2}, shipped={A: 2}))
    assert await moves(store) == [*OPENED, ("SHIPMENT", "main", -2, 0)]
    await came(store, an_order(2, {A: 2}, shipped={A: 1}))
    assert await balance(store) == (2, 1)


async def test_more_shipped_than_was_counted_is_set_right_first(store: Store) -> None:
    await stocked(store, A=1)
    await came(store, an_order(lines={A: 3}))
    await came(store, an_order(lines={A: 3}, shipped={A: 3}, minute=1))
    found = await entries(store)
    assert [(one.kind.value, one.on_hand, one.reserved, one.reason) for one in found[1:]] == [
        ("ALLOCATION", 0, 3, f"order {N1}"),
        ("ADJUSTMENT", 2, 0, "shipped more than was counted"),
        ("SHIPMENT", -3, -3, f"order {N1}"),
    ]
    # Seen only when it has left: the same.
    await came(store, an_order(2, {A: 2}, shipped={A: 2}))
    assert (await balance(store), [row.units for row in await oversales(store)]) == ((0, 0), [2, 2])
    assert await wrong(store) == []


async def test_settling_takes_few_statements_and_no_locks_for_nothing_new(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(lines={A: 1})
    await came(store, one)
    async with store.begin() as tx:
        assert await allocation.settle(tx, [one], PLACES) == set()
        locked = text(
            "select count(*) from pg_locks "
            "where pid = pg_backend_pid() and relation = 'sku_stock'::regclass and mode = 'RowShareLock'"
        )
        assert await tx.scalar(locked) == 0
        assert await allocation.settle(tx, [], PLACES) == set()
        assert (await order.by_ids(tx, [one.id])).keys() == {one.id}
    assert await balance(store, C) == (0, 0)
