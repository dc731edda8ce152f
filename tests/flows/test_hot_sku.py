"""A crowd on one SKU: 200 buyers, 50 units, two processes' stores, and some die on the way.

HYPOTHESIS_PROFILE=long plays 1,000 games.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from domain.errors import Insufficient
from domain.reservation import ReservedLine
from store import reservation
from store.session import UNAVAILABLE, Store
from store.tables import sku_stock
from tests.store.warehouse import PLACES, A, balance, promisable, stocked, wrong

BUYERS, UNITS = 200, 50
GAMES = 1000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 3
PATIENCE_S = 60
# What somebody meets whose connection was taken from it.
LOST: tuple[type[Exception], ...] = (*UNAVAILABLE, DBAPIError)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Store]:
    """The connections of another process."""
    made = Store(database_url, application_name="acorn-other")
    yield made
    await made.close()


# The counts are kept, the condition is gone.
BLIND = """
create or replace function acorn_hold() returns trigger language plpgsql as $$
begin
  update sku_stock set held = held + new.quantity where sku = new.sku;
  return null;
end $$
"""


async def buy(store: Store, buyer: int) -> bool:
    """Hold one unit and pay; whether it was had."""
    async with store.begin() as tx:
        held, _ = await reservation.reserve(
            tx,
            requested_by="shop",
            idempotency_key=f"buyer {buyer}",
            request_hash="h",
            lines=[ReservedLine(A, 1)],
            ttl_s=600,
        )
    if buyer % 2:
        async with store.begin() as tx:
            await reservation.commit(tx, held.id, by="shop", places=PLACES, reference=f"order {buyer}")
    return True


async def persist(stores: list[Store], buyer: int, dice: random.Random, died: list[int]) -> bool:
    """Buy, and after each death buy again, at either process."""
    deaths = dice.choice([0, 0, 0, 1, 2])
    while True:
        task = asyncio.ensure_future(buy(dice.choice(stores), buyer))
        if deaths:
            deaths -= 1
            # A moment of the loop's turns: before, within, or after the statement that decides.
            for _ in range(dice.randint(0, 400)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            return await task
        except Insufficient:
            return False
        except asyncio.CancelledError:
            if (myself := asyncio.current_task()) is not None and myself.cancelling():
                raise
            died.append(buyer)
        except LOST:
            died.append(buyer)


async def murder(stores: list[Store], dice: random.Random) -> None:
    """End connections of either process, in the middle of whatever they do."""
    while True:
        await asyncio.sleep(dice.uniform(0.05, 0.2))
        with suppress(*LOST):
            async with dice.choice(stores).begin() as tx:
                await tx.execute(
                    text(
                        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                        "and pid <> pg_backend_pid() and backend_type = 'client backend' order by random() limit 2"
                    )
                )


@pytest.mark.parametrize("seed", range(GAMES))
async def test_fifty_of_two_hundred_get_the_fifty_units(store: Store, other: Store, seed: int) -> None:
    dice = random.Random(seed)
    stores, died = [store, other], list[int]()
    await stocked(store, A=UNITS)
    killer = asyncio.ensure_future(murder(stores, dice))
    async with asyncio.timeout(PATIENCE_S):
        had = await asyncio.gather(
            *(persist(stores, buyer, random.Random(dice.random()), died) for buyer in range(BUYERS))
        )
    killer.cancel()
    with suppress(asyncio.CancelledError):
        await killer
    assert sum(had) == UNITS
    assert died
    async with store.begin() as tx:
        row = (await tx.execute(select(sku_stock).where(sku_stock.c.sku == A))).one()
        bought = await tx.scalar(text("select count(*) from reservation where committed_at is not null"))
    assert (row.held + row.reserved, row.reserved) == (UNITS, bought)
    assert bought == sum(one for buyer, one in enumerate(had) if buyer % 2)
    assert await balance(store) == (UNITS, bought)
    assert await wrong(store) == []


async def test_read_then_write_would_sell_more(new_database: Callable[[], str]) -> None:
    """The twin: the same crowd, each of whom looks first and takes then."""
    store = Store(new_database())
    try:
        async with store.begin() as tx:
            await tx.execute(text(BLIND))
        await stocked(store, A=UNITS)

        async def look_and_buy(buyer: int) -> bool:
            async with store.begin() as tx:
                left = (await reservation.promisable(tx, [A]))[A].units
            return left > 0 and await buy(store, 2 * buyer)

        assert sum(await asyncio.gather(*(look_and_buy(buyer) for buyer in range(BUYERS)))) > UNITS
        assert await promisable(store) < 0
    finally:
        await store.close()
