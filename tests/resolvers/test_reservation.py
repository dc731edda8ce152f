"""Reservations as callers see them: who may see and end which, and what a repeated request answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from domain.errors import Conflict, Insufficient, Invalid, NotFound
from domain.ids import ChannelId, ReservationId, Sku
from domain.policy import Destination
from domain.reservation import Buyer, ReservationStatus, ReservedLine
from resolvers import reservation
from resolvers.reservation import Holder, Seen
from store.session import Store
from tests.resolvers.test_stock import House
from tests.store.warehouse import expire

CHECKOUT, OTHER, ADMIN = Holder("checkout", False), Holder("other", False), Holder("boss", True)


@pytest.fixture
async def house(store: Store, redis: Redis) -> House:
    made = House(store, redis)
    await made.list_everywhere("A1")
    await made.book("A1", 5)
    return made


async def reserve(house: House, units: int = 2, key: str | None = None, seconds: float = 900) -> Seen:
    return await reservation.reserve(
        house.shelf,
        CHECKOUT,
        [ReservedLine(Sku("A1"), units)],
        timedelta(seconds=seconds),
        buyer=None,
        idempotency_key=key,
    )


async def test_the_safety_stock_of_a_new_sku_is_kept_from_the_first_reservation_on(house: House) -> None:
    house.shelf = replace(house.shelf, safety_stock=3)
    with pytest.raises(Insufficient, match="3 of A1 were asked for, and 2 can be promised"):
        await reserve(house, 3)
    await reserve(house, 2)


async def test_where_a_buyer_wants_it_sent_is_part_of_the_request(house: House) -> None:
    async def buy(country: str) -> ReservationId:
        buyer = Buyer(ChannelId("shop"), Destination(country))
        lines = [ReservedLine(Sku("A1"), 1)]
        seen = await reservation.reserve(house.shelf, CHECKOUT, lines, None, buyer=buyer, idempotency_key="cart-2")
        return seen.reservation.id

    assert await buy("US") == await buy("US")
    with pytest.raises(Conflict, match="used before with other contents"):
        await buy("DE")


async def test_what_is_held_can_be_sold_to_nobody_else_until_it_is_given_back(house: House) -> None:
    held = await reserve(house)
    assert held.status is ReservationStatus.OPEN
    with pytest.raises(Insufficient, match="3 can be promised"):
        await reserve(house, 4)
    released = await reservation.release(house.shelf, CHECKOUT, held.reservation.id)
    assert released.status is ReservationStatus.RELEASED
    await reserve(house, 4)


async def test_a_committed_one_names_its_order_and_ends_no_more(house: House) -> None:
    held = await reserve(house)
    bought = await reservation.commit(house.shelf, CHECKOUT, held.reservation.id, "1001")
    assert (bought.status, bought.reservation.reference) == (ReservationStatus.COMMITTED, "1001")
    await expire(house.store, held.reservation.id)
    seen = await reservation.by_id(house.shelf, CHECKOUT, held.reservation.id)
    assert seen is not None
    assert seen.reservation.expires_at <= seen.at
    assert seen.status is ReservationStatus.COMMITTED


async def looked_at_after_its_end(house: House, held: Seen) -> Seen:
    async with asyncio.timeout(30):
        while True:
            found = await reservation.by_id(house.shelf, CHECKOUT, held.reservation.id)
            assert found is not None
            if found.at >= held.reservation.expires_at:
                return found
            await asyncio.sleep(0.05)


async def test_it_ends_by_itself(house: House) -> None:
    held = await reserve(house, seconds=1)
    assert (await looked_at_after_its_end(house, held)).status is ReservationStatus.EXPIRED
    with pytest.raises(Conflict, match="expired"):
        await reservation.commit(house.shelf, CHECKOUT, held.reservation.id, None)


async def test_only_its_maker_and_administrators_see_and_end_it(house: House) -> None:
    id = (await reserve(house)).reservation.id
    assert await reservation.by_id(house.shelf, OTHER, id) is None
    with pytest.raises(NotFound):
        await reservation.release(house.shelf, OTHER, id)
    with pytest.raises(NotFound):
        await reservation.commit(house.shelf, OTHER, id, None)
    assert await reservation.by_id(house.shelf, ADMIN, id) is not None
    assert (await reservation.release(house.shelf, ADMIN, id)).status is ReservationStatus.RELEASED
    assert await reservation.by_id(house.shelf, ADMIN, ReservationId("none")) is None


async def test_a_repeated_key_holds_once(house: House) -> None:
    asked = await asyncio.gather(*(reserve(house, key="cart-1") for _ in range(8)))
    assert len({one.reservation.id for one in asked}) == 1
    with pytest.raises(Conflict, match="other contents"):
        await reserve(house, 3, key="cart-1")


async def test_an_unknown_channel_is_refused(house: House) -> None:
    lines = [ReservedLine(Sku("A1"), 1)]
    with pytest.raises(NotFound) as refusal:
        await reservation.reserve(
            house.shelf, CHECKOUT, lines, None, buyer=Buyer(ChannelId("none")), idempotency_key=None
        )
    assert refusal.value.field == ("channelId",)
    with pytest.raises(Invalid):
        await reservation.reserve(house.shelf, CHECKOUT, lines, None, buyer=None, idempotency_key="")
