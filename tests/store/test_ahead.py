"""What a marketplace says to have sold is sold to nobody else, until the order is read or its time is over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from domain.channel import Location
from domain.errors import Insufficient
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, ChannelSku, ReservationId, Sku, listing_id
from domain.order import OrderStatus
from domain.product import FulfilledBy, Listing
from store import ahead, product, reservation
from store.session import Store
from store.tables import reservation as reservations
from store.tables import sku_stock
from tests.store.test_reservation import held
from tests.store.warehouse import (
    AMAZON,
    MAIN,
    PLACES,
    SHOP,
    A,
    B,
    an_order,
    balance,
    came,
    committed,
    expire,
    kit,
    oversales,
    place,
    promisable,
    reserved,
    stocked,
    wrong,
)

N1 = an_order().external_id
THEIRS = {sku: ChannelSku(f"their-{sku}") for sku in "AB"}


async def offered(store: Store, *skus: Sku, channel: ChannelId = AMAZON, marketplace: str = "DE") -> None:
    """The SKUs are for sale there, under names of the channel's."""
    async with store.begin() as tx:
        told = [
            Listing(
                listing_id(channel, marketplace, THEIRS[sku]),
                channel,
                marketplace,
                THEIRS[sku],
                f"X-{sku}",
                "ACTIVE",
                FulfilledBy.MERCHANT,
                datetime.now(UTC),
                sku=sku,
            )
            for sku in skus
        ]
        await product.upsert_listings(tx, told)


def told_of(order: str = N1, marketplace: str | None = "DE") -> Hint:
    return Hint(AMAZON, "n-1", "ORDER_CHANGE", HintKind.ORDER, order, datetime.now(UTC), marketplace)


async def ahead_of(
    store: Store, units: int = 1, sku: Sku = A, told: Hint | None = None, places: list[Location] = PLACES
) -> int:
    async with store.begin() as tx:
        return await ahead.hold(tx, told or told_of(), THEIRS[sku], units, places)


async def test_what_was_told_to_be_sold_is_sold_to_nobody_else_and_becomes_the_orders(store: Store) -> None:
    await stocked(store, A=2)
    await offered(store, A)
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
    await offered(store, A, B)
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
    await offered(store, A)
    assert await ahead_of(store)
    async with store.begin() as tx:
        [row] = (await tx.execute(select(reservations))).all()
    assert (row.channel, row.reference, row.requested_by) == (AMAZON, N1, f"channel:{AMAZON}")
    assert (row.expires_at - row.created_at).total_seconds() == ahead.HELD_S
    await expire(store, ReservationId(row.id))
    assert await promisable(store) == 1
    # It comes all the same, though its unit was sold meanwhile: that is an oversale, as without.
    await came(store, an_order(2, lines={A: 1}))
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store), len(await oversales(store)), await wrong(store)) == ((1, 2), 1, [])


async def test_the_order_of_another_channel_by_that_name_gets_nothing_of_it(store: Store) -> None:
    await stocked(store, A=2)
    await offered(store, A)
    assert await ahead_of(store)
    await came(store, an_order(channel=SHOP))
    assert (await balance(store), await held(store, A)) == ((2, 1), [1])


@pytest.mark.parametrize(
    ("told", "units", "places"),
    [
        (told_of(marketplace="US"), 1, PLACES),  # nothing of that name is offered there
        (told_of(), 1, [place(MAIN, SHOP)]),  # what lies there is not sold to the channel
    ],
)
async def test_nothing_is_held_that_the_order_could_not_take(
    store: Store, told: Hint, units: int, places: list[Location]
) -> None:
    await stocked(store, A=2)
    await offered(store, A)
    assert not await ahead_of(store, units, told=told, places=places)
    assert (await promisable(store), await held(store, A)) == (2, [0])
    assert await ahead_of(store), "this could"


async def test_where_more_was_sold_than_there_is_nobody_else_is_sold_what_is_left(store: Store) -> None:
    await stocked(store, A=2)
    await offered(store, A)
    assert await ahead_of(store, 3) == 2
    assert (await promisable(store), await held(store, A)) == (0, [2])
    assert await ahead_of(store, 1, told=told_of(an_order(2).external_id)) == 0
    await came(store, an_order(lines={A: 3}))
    assert (await balance(store), len(await oversales(store)), await wrong(store)) == ((2, 3), 1, [])


async def test_of_a_kit_its_components_are_held(store: Store) -> None:
    await stocked(store, A=0, B=4)
    await kit(store, A, B=2)
    await offered(store, A)
    assert await ahead_of(store)
    assert (await promisable(store, B), await held(store, B)) == (2, [2])
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store, B), await held(store, B), await wrong(store)) == ((4, 2), [0], [])


async def test_an_order_that_comes_at_the_same_moment_is_not_counted_twice(store: Store) -> None:
    await stocked(store, A=40)
    await offered(store, A)
    orders = [an_order(number) for number in range(20)]
    work = [came(store, one) for one in orders] + [ahead_of(store, told=told_of(one.external_id)) for one in orders]
    await asyncio.gather(*work[::2], *work[1::2])
    assert (await balance(store), set(await held(store, A)) <= {0}, await promisable(store)) == ((40, 20), True, 20)
    assert await wrong(store) == []


async def test_whoever_commits_it_by_hand_leaves_it_its_orders_name(store: Store) -> None:
    await stocked(store, A=5)
    await offered(store, A)
    assert await ahead_of(store)
    await committed(store, await only(store))
    await came(store, an_order(lines={A: 1}))
    assert (await balance(store), await held(store, A)) == ((5, 1), [0])


async def test_whoever_releases_it_while_its_order_comes_stands_in_nobodys_way(store: Store) -> None:
    await stocked(store, A=5)
    await offered(store, A)
    assert await ahead_of(store)
    id = await only(store)
    async with store.begin() as tx:
        await tx.execute(select(reservations.c.id).where(reservations.c.id == id).with_for_update())
        coming = asyncio.create_task(came(store, an_order(lines={A: 1})))
        waiting = text(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(30):
            while not await tx.scalar(waiting):
                await asyncio.sleep(0.01)
        await reservation.release(tx, id, by="admin")
    await coming
    assert (await balance(store), await held(store, A), await wrong(store)) == ((5, 1), [0], [])


@pytest.mark.parametrize("told", [True, False])
async def test_what_was_held_since_long_was_not_for_sale_since_its_order_was_placed(store: Store, told: bool) -> None:
    """How long other channels sold what was gone is measured from the sale to the hold, not to the order."""
    await stocked(store, A=9)
    await offered(store, A)
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


async def only(store: Store) -> ReservationId:
    async with store.begin() as tx:
        return ReservationId((await tx.scalars(select(reservations.c.id))).one())
