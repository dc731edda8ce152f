"""Files of prices become operations: once, whoever dies over them, and row by row where a row is wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, text, update

from domain.channel import Channel, Platform
from domain.errors import Conflict
from domain.ids import ChannelId, OperationId
from domain.operation import OperationStatus
from gateway.price_file import Wanted, keep
from store import operation, price_file
from store.price_file import FileState, PriceFile, Result
from store.session import Store
from store.tables import listing_price, operation_item
from store.tables import price_file as files
from tests.workers.house import make_deps
from tests.workers.pricing import PricedPort
from workers import price_files
from workers.price_files import HAND_S, apart, once, work

SHOP = Channel(ChannelId("shop"), Platform.SHOPIFY, "Shop", sandbox=True, time_zone="Europe/Berlin")
SECOND = Channel(ChannelId("second"), Platform.SHOPIFY, "Second", sandbox=True)
SELLERS = {one.id: one for one in (SHOP, SECOND)}
HEAD = "sku,channel,amount,currency,sale_amount,sale_from,sale_to\n"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def stock_up(store: Store, skus: int) -> None:
    """SKU-1 … at `shop` for 20 EUR; the even ones at `second`, too; SKU-OUT withdrawn, SKU-USD in dollars."""
    async with store.begin() as tx:
        await tx.execute(
            text(
                "insert into product (sku, title) select 'SKU-' || n, 'P' from generate_series(1, :n) n "
                "union all values ('SKU-OUT', 'P'), ('SKU-USD', 'P')"
            ),
            {"n": skus},
        )
        await tx.execute(
            text(
                """
                insert into listing
                    (id, channel, channel_sku, external_id, sku, status, fulfilled_by, price_amount, price_currency, as_of)
                select channel || '-' || sku, channel, sku, sku, sku, status, 'MERCHANT', 20, currency, :at from (
                    select 'shop' as channel, 'SKU-' || n as sku, 'ACTIVE' as status, 'EUR' as currency
                    from generate_series(1, :n) n
                    union all select 'second', 'SKU-' || n, 'ACTIVE', 'EUR' from generate_series(2, :n, 2) n
                    union all values ('shop', 'SKU-OUT', 'WITHDRAWN', 'EUR'), ('shop', 'SKU-USD', 'ACTIVE', 'USD')
                ) made
                """
            ),
            {"n": skus, "at": NOW},
        )


async def sent(store: Store, text: str, *, dry_run: bool = False, key: str | None = None) -> PriceFile:
    file, _ = await keep(store, BytesIO(text.encode()), Wanted("Ada", key, dry_run))
    return file


async def worked(store: Store, id: str, done: Callable[[int], None] = lambda _: None) -> PriceFile:
    async with store.begin() as tx:
        mine = await price_file.claim(tx, HAND_S, id)
    if mine is not None:
        await work(store, SELLERS, mine, lambda: NOW, done)
    async with store.begin() as tx:
        found = await price_file.by_id(tx, id)
    assert found is not None
    return found


async def report(store: Store, id: str) -> dict[int, tuple[Result, str]]:
    async with store.begin() as tx:
        rows = await price_file.report(tx, id, limit=100, taken=True)
    return {row.number: (result, reason) for row, result, reason in rows}


async def count(store: Store, query: Any) -> int:
    async with store.begin() as tx:
        return await tx.scalar(query) or 0


ITEMS = select(func.count()).select_from(operation_item)
WAITS_FOR_A_LOCK = text(
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)
WANTED = select(func.count()).where(listing_price.c.wanted.is_not(None))


async def status(store: Store, id: OperationId | None) -> OperationStatus:
    assert id is not None
    async with store.begin() as tx:
        return (await operation.by_ids(tx, [id]))[id].status


async def test_a_wrong_row_is_named_with_its_reason_and_the_others_are_one_operation(store: Store) -> None:
    await stock_up(store, 6)
    rows = [
        "SKU-1,,21,EUR,,,",
        "SKU-2,second,21,EUR,,,",
        "SKU-3,,2100,EUR,,,",
        "SKU-404,,21,EUR,,,",
        "SKU-OUT,,21,EUR,,,",
        "SKU-USD,,21,EUR,,,",
        "SKU-5,amazon,21,EUR,,,",
        "SKU-4,,21,EUR,,,",
        "SKU-4,second,22,EUR,,,",
        "SKU-4,shop,21,EUR,,,",
        "SKU-6,shop,21,EUR,19,2026-10-25T02:30:00,2026-11-20T13:00:00",
        "SKU-5,,twenty,EUR,,,",
    ]
    file = await worked(store, (await sent(store, HEAD + "\n".join(rows))).id)
    assert (file.state, file.rows, file.looked) == (FileState.DONE, 12, 12)
    told = await report(store, file.id)
    assert told[2] == (Result.TAKEN, "")
    assert told[3] == (Result.TAKEN, "")
    assert told[4][0] is Result.REFUSED, "a point that was moved"
    assert {number: words for number, (_, words) in told.items() if number in (5, 6, 7, 8)} == {
        5: "No listing of a SKU SKU-404 is known.",
        6: "What listed SKU-OUT there has been withdrawn; it has no price any more.",
        7: "SKU-USD is sold in USD there, not in EUR.",
        8: "amazon is no channel whose prices are set here. There is second, shop.",
    }
    assert {told[number] for number in (9, 10, 11)} == {
        (Result.REFUSED, "rows 9 and 10 ask different prices for the same listing, second/SKU-4"),
        (Result.TAKEN, ""),
    }, "the third row of one SKU asks nothing that another contradicts"
    assert told[11] == (Result.TAKEN, "")
    assert told[12] == (Result.REFUSED, "The sale is over already; leave it out."), "13:00 in Berlin is now"
    assert told[13][1].startswith("`amount` twenty is no number")
    assert Counter(result for result, _ in told.values()) == file.counts
    async with store.begin() as tx:
        assert file.operation is not None
        items, _ = await operation.items(tx, file.operation, first=100)
    assert {one.key: one.status.value for one in items} == {
        "shop/SKU-1": "PENDING",
        "second/SKU-2": "PENDING",
        "shop/SKU-3": "FAILED",
        "shop/SKU-4": "PENDING",
    }


async def test_times_without_a_zone_are_those_of_the_channel_s_clocks(store: Store) -> None:
    await stock_up(store, 2)
    rows = "SKU-2,,21,EUR,19,2026-11-27T00:00:00,2026-11-28T00:00:00+00:00\n"
    file = await worked(store, (await sent(store, HEAD + rows)).id)
    assert file.counts == {Result.TAKEN: 1}
    async with store.begin() as tx:
        kept = await tx.execute(select(listing_price.c.listing, listing_price.c.wanted))
        begins = {row.listing: row.wanted["sale"]["from"] for row in kept}
    assert begins == {"shop-SKU-2": "2026-11-26T23:00:00+00:00", "second-SKU-2": "2026-11-27T00:00:00+00:00"}


async def test_a_file_counts_once_wherever_who_works_it_dies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_files, "BLOCK", 3)
    await stock_up(store, 8)
    text = HEAD + "".join(f"SKU-{n},shop,21,EUR,,,\n" for n in range(1, 9))
    file = await sent(store, text)

    class Killed(Exception):
        pass

    for deadly in (3, 6, 8):

        def die(looked: int, at: int = deadly) -> None:
            if looked == at:
                raise Killed

        with pytest.raises(Killed):
            await worked(store, file.id, die)
        assert (await count(store, ITEMS), await count(store, WANTED)) == (0, 0)
        waits = await worked(store, file.id)
        assert (waits.state, waits.looked) == (FileState.WAITING, deadly), "it is in the hands of who has died"
        async with store.begin() as tx:
            await tx.execute(update(files).values(due_at=func.now() - timedelta(seconds=1)))
    done = await worked(store, file.id)
    assert (done.state, done.counts, await count(store, ITEMS)) == (FileState.DONE, {Result.TAKEN: 8}, 8)
    again, fresh = await keep(store, BytesIO(text.encode()), Wanted("Ada"))
    assert (again, fresh) == (done, False)
    assert (await worked(store, file.id), await count(store, ITEMS)) == (done, 8)


async def test_two_who_work_the_same_file_make_one_operation(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.price_desk.PATIENCE_S", 60.0)
    await stock_up(store, 8)
    file = await sent(store, HEAD + "".join(f"SKU-{n},shop,21,EUR,,,\n" for n in range(1, 9)))
    await asyncio.gather(*(work(store, SELLERS, file, lambda: NOW) for _ in range(3)))
    assert await count(store, ITEMS) == 8


async def test_a_worker_takes_what_waits_and_one_that_is_stopped_leaves_it(store: Store, redis: Redis) -> None:
    await stock_up(store, 2)
    deps = make_deps(store, redis, [PricedPort(SHOP)])
    assert not await once(deps)
    await sent(store, HEAD + "SKU-1,shop,21,EUR,,,\n")
    async with store.begin() as tx:
        file = await price_file.claim(tx, 0)
    assert file is not None
    async with store.begin() as tx:
        # Who works it now waits here for its row.
        await tx.execute(select(files.c.id).with_for_update())
        stopped = asyncio.create_task(apart(store, lambda alone: work(alone, SELLERS, file, lambda: NOW)))
        async with asyncio.timeout(30):
            while not await count(store, WAITS_FOR_A_LOCK):
                await asyncio.sleep(0.02)
        stopped.cancel()
        await asyncio.wait({stopped})
        assert stopped.cancelled()
    assert await count(store, ITEMS) == 0
    async with store.begin() as tx:
        await tx.execute(update(files).values(due_at=func.now()))
    assert await once(deps)
    done = await worked(store, file.id)
    assert (done.state, done.counts, await count(store, ITEMS)) == (FileState.DONE, {Result.TAKEN: 1}, 1)


async def test_a_dry_run_wants_nothing_and_the_file_itself_still_counts(store: Store) -> None:
    await stock_up(store, 2)
    text = HEAD + "SKU-1,,21,EUR,,,\n"
    preview = await worked(store, (await sent(store, text, dry_run=True)).id)
    assert await status(store, preview.operation) is OperationStatus.PREVIEW
    assert await count(store, WANTED) == 0
    done = await worked(store, (await sent(store, text)).id)
    assert await status(store, done.operation) is OperationStatus.QUEUED
    assert await count(store, WANTED) == 1


async def test_a_key_tells_the_same_contents_apart_and_no_other_contents_take_it(store: Store) -> None:
    await stock_up(store, 2)
    first = await sent(store, HEAD + "SKU-1,,21,EUR,,,\n", key="monday")
    assert (await sent(store, HEAD + "SKU-1,,21,EUR,,,\n", key="monday")).id == first.id
    assert (await sent(store, HEAD + "SKU-1,,21,EUR,,,\n", key="tuesday")).id != first.id
    with pytest.raises(Conflict):
        await sent(store, HEAD + "SKU-1,,22,EUR,,,\n", key="monday")


async def test_a_file_of_which_nothing_is_good_makes_no_operation(store: Store) -> None:
    await stock_up(store, 2)
    file = await worked(store, (await sent(store, HEAD + "SKU-404,,21,EUR,,,\n")).id)
    assert (file.operation, file.counts) == (None, {Result.REFUSED: 1})


async def test_what_never_comes_to_an_end_fails_with_words_and_old_files_are_forgotten(store: Store) -> None:
    await stock_up(store, 2)
    file = await sent(store, HEAD + "SKU-1,,21,EUR,,,\n")
    for _ in range(price_file.MOST_TRIES):
        async with store.begin() as tx:
            assert await price_file.claim(tx, -1) is not None
    async with store.begin() as tx:
        assert await price_file.claim(tx, -1) is None
        found = await price_file.by_id(tx, file.id)
        assert found is not None
        assert (found.state, found.problem is not None) == (FileState.FAILED, True)
        assert await price_file.forget(tx, found.created_at) == 0
        assert await price_file.forget(tx, found.created_at + timedelta(days=1)) == 1
        assert await price_file.by_id(tx, file.id) is None
