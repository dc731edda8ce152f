"""The newest reading of each place wins, and one query answers for many SKUs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import event as sa_event
from sqlalchemy import insert, select, text
from sqlalchemy.engine import Engine

from domain.ids import ChannelId, ChannelSku, LocationCode, Sku, listing_id
from domain.product import FulfilledBy, Listing
from domain.stock import Reading
from store import ledger, product, stock
from store.session import Store
from store.tables import event, sku_stock, stock_level
from tests.store.bench import blocked

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
AMAZON = ChannelId("amazon-eu")
SHOP = ChannelId("shop")


def reading(
    sku: str = "A", on_hand: int = 5, *, at: str = "fba-eu", channel: ChannelId = AMAZON, minute: int = 0
) -> Reading:
    as_of = NOON + timedelta(minutes=minute)
    return Reading(LocationCode(at), channel, ChannelSku(sku), on_hand, 1, 2, as_of)


def listing(sku: str | None, *, channel_sku: str | None = None, channel: ChannelId = AMAZON, at: str = "DE") -> Listing:
    marketplace = at if channel == AMAZON else None
    theirs = ChannelSku(channel_sku or sku or "")
    return Listing(
        id=listing_id(channel, marketplace, theirs),
        channel=channel,
        marketplace=marketplace,
        channel_sku=theirs,
        external_id=f"{channel}-{theirs}",
        status="ACTIVE",
        fulfilled_by=FulfilledBy.CHANNEL,
        as_of=NOON,
        sku=None if sku is None else Sku(sku),
        title=f"Title of {sku}",
    )


async def kept(store: Store, *readings: Reading) -> list[tuple[ChannelId, ChannelSku]]:
    async with store.begin() as tx:
        return await stock.keep(tx, readings)


async def of(store: Store, *skus: str) -> dict[Sku, list[Reading]]:
    async with store.begin() as tx:
        return await stock.readings(tx, [Sku(sku) for sku in skus])


async def test_the_newest_reading_wins_and_changes_are_told(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A"), listing("B")])
    first = [reading("A", 5), reading("B", 7)]
    assert await kept(store, *first) == [(AMAZON, "A"), (AMAZON, "B")]
    assert await of(store, "A", "B", "C") == {"A": [first[0]], "B": [first[1]]}

    # A later look that finds the same changes only the age.
    same = reading("A", 5, minute=1)
    assert await kept(store, same) == []
    assert await of(store, "A") == {"A": [same]}

    # An older one, come late, changes nothing; nor does another of the same instant.
    assert await kept(store, reading("A", 9, minute=0), reading("A", 8, minute=1)) == []
    assert await of(store, "A") == {"A": [same]}

    for newer in (
        replace(same, as_of=NOON + timedelta(minutes=2), on_hand=6),
        replace(same, as_of=NOON + timedelta(minutes=3), on_hand=6, reserved=3),
        replace(same, as_of=NOON + timedelta(minutes=4), on_hand=6, reserved=3, inbound=0),
    ):
        assert await kept(store, newer) == [(AMAZON, "A")]
        assert await of(store, "A") == {"A": [newer]}


async def test_of_one_call_the_newest_is_kept(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A")])
    newest = reading("A", 3, minute=2)
    assert await kept(store, reading("A", 1), newest, reading("A", 2, minute=1)) == [(AMAZON, "A")]
    assert await of(store, "A") == {"A": [newest]}
    assert await kept(store) == []


async def test_two_keepers_at_an_exact_line(store: Store) -> None:
    """The newer one has written and not committed; the older waits, and then keeps its hands off."""
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A")])
    newer = reading("A", 9, minute=5)
    async with store.begin() as tx:
        assert await stock.keep(tx, [newer]) == [(AMAZON, "A")]
        waiting = asyncio.create_task(kept(store, reading("A", 1, minute=4)))
        await blocked(store, 1)
    assert await waiting == []
    assert await of(store, "A") == {"A": [newer]}
    # The same once the row is there before either began.
    newest = reading("A", 11, minute=7)
    async with store.begin() as tx:
        assert await stock.keep(tx, [newest]) == [(AMAZON, "A")]
        waiting = asyncio.create_task(kept(store, reading("A", 2, minute=6)))
        await blocked(store, 1)
    assert await waiting == []
    assert await of(store, "A") == {"A": [newest]}


async def test_a_change_back_by_the_second_of_two_keepers_is_told(store: Store) -> None:
    """Compared with what it found before the first had committed, its number would seem unchanged."""
    await kept(store, reading("A", 5))
    async with store.begin() as tx:
        assert await stock.keep(tx, [reading("A", 9, minute=1)]) == [(AMAZON, "A")]
        waiting = asyncio.create_task(kept(store, reading("A", 5, minute=2)))
        await blocked(store, 1)
    assert await waiting == [(AMAZON, "A")]


async def test_many_keepers_of_the_same_rows_end_with_the_newest(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing(f"S{number}") for number in range(30)])

    async def keeper(minute: int) -> None:
        batch = [reading(f"S{number}", minute, minute=minute) for number in range(30)]
        await kept(store, *(batch if minute % 2 else reversed(batch)))

    await asyncio.gather(*(keeper(minute) for minute in range(8)))
    found = await of(store, *(f"S{number}" for number in range(30)))
    assert {one.on_hand for readings in found.values() for one in readings} == {7}
    assert len(found) == 30


async def test_changes_are_told_by_our_sku_once_each(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A"), listing("B"), listing(None, channel_sku="NOBODY")])
        told = await stock.keep_and_tell(tx, [reading("B"), reading("A"), reading("A", at="wh-1"), reading("NOBODY")])
        assert told == ["A", "B"]
        assert await stock.keep_and_tell(tx, [reading("A", minute=1), reading("B", 6, minute=1)]) == ["B"]
        rows = await tx.execute(select(event.c.kind, event.c.subject, event.c.data).order_by(event.c.id))
        assert [tuple(row) for row in rows] == [("StockChanged", sku, {"sku": sku}) for sku in ("A", "B", "B")]


async def test_a_pool_shared_by_marketplaces_counts_once_and_places_stay_apart(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(
            tx,
            [
                listing("A", channel_sku="A-FBA", at="DE"),
                listing("A", channel_sku="A-FBA", at="FR"),
                listing("A", channel_sku="A-OLD", at="DE"),
                listing("A", channel=SHOP),
                listing(None, channel_sku="NOBODY", at="DE"),
            ],
        )
    pool, old = reading("A-FBA", 5), reading("A-OLD", 1)
    here, there = reading("A", 3, at="wh-1", channel=SHOP), reading("A", 4, at="wh-2", channel=SHOP)
    # Another channel's article of the same name is another thing.
    await kept(store, there, here, old, pool, reading("A", 99, at="fba-eu"), reading("NOBODY", 7))
    assert await of(store, "A") == {"A": [pool, old, here, there]}


async def test_our_skus_of_channel_skus(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(
            tx,
            [
                listing("A", channel_sku="X"),
                listing("B", channel=SHOP, channel_sku="X"),
                listing(None, channel_sku="Y"),
            ],
        )
        pairs = [(AMAZON, ChannelSku("X")), (SHOP, ChannelSku("X")), (AMAZON, ChannelSku("Y")), (SHOP, ChannelSku("Z"))]
        assert await stock.skus_of(tx, pairs) == {(AMAZON, "X"): "A", (SHOP, "X"): "B"}
        assert await stock.skus_of(tx, []) == {}


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements sent to any database while the block runs."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa_event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa_event.remove(Engine, "before_cursor_execute", note)


async def test_250_skus_of_500_are_one_query(store: Store) -> None:
    skus = [f"SKU-{number:04}" for number in range(500)]
    async with store.begin() as tx:
        listings = [listing(sku, at=at) for sku in skus for at in ("DE", "FR")]
        await product.upsert_listings(tx, listings + [listing(sku, channel=SHOP) for sku in skus])
        await stock.keep(tx, [reading(sku) for sku in skus])
        await stock.keep(tx, [reading(sku, at=at, channel=SHOP) for sku in skus for at in ("wh-1", "wh-2")])
        await tx.execute(text("analyze listing, stock_level"))
    async with store.begin() as tx:
        with statements() as sent:
            found = await stock.readings(tx, [Sku(sku) for sku in skus[:250]])
        assert len(sent) == 1
    assert {len(readings) for readings in found.values()} == {3}
    assert len(found) == 250


async def test_the_call_that_a_reading_came_with_is_kept(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A")])
    for minute, call in enumerate(("r-1", "r-2", None)):
        newer = replace(reading(minute=minute), upstream_request_id=call)
        await kept(store, newer)
        assert await of(store, "A") == {"A": [newer]}


async def elsewhere(store: Store) -> dict[str, int]:
    async with store.begin() as tx:
        return {row.sku: row.elsewhere for row in await tx.execute(select(sku_stock.c.sku, sku_stock.c.elsewhere))}


async def test_places_that_others_count_no_more_are_forgotten(store: Store) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A"), listing("A", channel=SHOP), listing("B", channel=SHOP)])
    await kept(store, reading("A"), *(reading(sku, at=at, channel=SHOP) for sku in "AB" for at in ("wh-1", "wh-2")))
    assert await elsewhere(store) == {"A": 12, "B": 8}

    keepers = {LocationCode("fba-eu"): AMAZON, LocationCode("wh-1"): SHOP, LocationCode("wh-2"): AMAZON}
    async with store.begin() as tx:
        assert await stock.forget_places(tx, keepers, limit=1) == 1
        assert await stock.forget_places(tx, keepers, limit=5) == 1
        assert await stock.forget_places(tx, keepers) == 0
        rows = await tx.execute(select(event.c.subject).order_by(event.c.id))
        assert [row.subject for row in rows] == ["A", "B"]
    assert await elsewhere(store) == {"A": 8, "B": 4}
    async with store.begin() as tx:
        assert await stock.forget_places(tx, {}) == 3
    assert await of(store, "A", "B") == {}


async def test_keepers_of_the_same_skus_in_opposite_orders_never_wait_in_a_circle(store: Store) -> None:
    """Readings are locked by the channel's SKUs, which need not have the order of ours."""
    names = [f"S{number:02}" for number in range(40)]
    async with store.begin() as tx:
        ours = [listing(name, channel_sku=name) for name in names]
        backwards = [
            listing(sku, channel_sku=name, channel=SHOP) for name, sku in zip(names, reversed(names), strict=True)
        ]
        await product.upsert_listings(tx, ours + backwards)

    async def keeper(channel: ChannelId) -> None:
        for minute in range(15):
            await kept(store, *(reading(name, minute, channel=channel, minute=minute) for name in names))

    await asyncio.gather(keeper(AMAZON), keeper(SHOP))
    assert set((await elsewhere(store)).values()) == {26}


async def test_a_reading_and_a_listing_that_are_both_new_are_counted(store: Store) -> None:
    async with store.begin() as tx:
        await stock.keep(tx, [reading("A", 5)])
        listed = asyncio.create_task(_listed(store, listing("A")))
        await blocked(store, 1)
    await listed
    assert await _elsewhere(store, "A") == 4
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("B")])
        told = asyncio.create_task(kept(store, reading("B", 7)))
        await blocked(store, 1)
    await told
    assert await _elsewhere(store, "B") == 6


async def test_keepers_of_new_and_of_known_rows_never_wait_in_a_circle(store: Store) -> None:
    """The first finds no row of A and waits for B; meanwhile there is one, which a second wants, and then A itself."""
    await _listed(store, listing("A"), listing("B"))
    async with store.begin() as busy_with_b:
        await ledger.lock(busy_with_b, [Sku("B")])
        first = asyncio.create_task(kept(store, reading("A", 7, minute=1), reading("B")))
        await blocked(store, 1)
        async with store.begin() as tx:
            row = {"location": "fba-eu", "channel": AMAZON, "channel_sku": "A", "as_of": NOON}
            # A table without its trigger: nobody can bring a row beside the first one otherwise.
            await tx.execute(text("set local session_replication_role = replica"))
            await tx.execute(insert(stock_level).values(**row, on_hand=1, reserved=0, inbound=0))
        second = asyncio.create_task(kept(store, reading("A", 8, minute=2)))
        await blocked(store, 2)
    await asyncio.gather(first, second)
    assert [one.on_hand for one in (await of(store, "A"))[Sku("A")]] == [8]


async def _listed(store: Store, *listings: Listing) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)


async def _elsewhere(store: Store, sku: str) -> int | None:
    async with store.begin() as tx:
        units: int | None = await tx.scalar(select(sku_stock.c.elsewhere).where(sku_stock.c.sku == sku))
    return units
