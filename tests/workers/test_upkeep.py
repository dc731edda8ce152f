"""What is over is tidied up, the ledger is proved every night, and what is too old is forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, text, update

from domain.ids import ChannelId, ChannelSku, LocationCode, ReservationId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.reservation import ReservedLine
from domain.stock import Reading
from store import exchange, ledger, product, reservation, stock, upkeep
from store.session import Store
from store.tables import (
    event,
    feed_delivery,
    ledger_check,
    reservation_hold,
    sku_stock,
    stock_drift,
    stock_level_history,
    stock_push,
)
from store.tables import reservation as reservation_table
from tests.store.bench import blocked
from tests.store.test_product import at_shop, listing
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps, until
from tests.workers.market import BERLIN
from workers.deps import Deps
from workers.upkeep import Upkeep, end_expired, nightly, turn_months

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=401)
SHOP = ChannelId("shop")


@pytest.fixture
def deps(store: Store, redis: Redis) -> Deps:
    return make_deps(store, redis, [make_port("shop")])


async def stocked(store: Store, *skus: str, units: int = 10) -> None:
    """So many units of each SKU in Berlin."""
    async with store.begin() as tx:
        await product.upsert_listings(tx, [at_shop(sku) for sku in skus])
        place = LocationCode("BER")
        entries = [NewEntry(Sku(sku), place, EntryKind.COUNT, "counted", "t", "test", on_hand=units) for sku in skus]
        await ledger.post(tx, entries)


async def reserved(store: Store, *skus: str, ttl_s: float = 600.0) -> None:
    """Two units of each SKU, held for so long."""
    async with store.begin() as tx:
        await reservation.reserve(
            tx,
            requested_by="tests",
            idempotency_key=uuid4().hex,
            request_hash="h",
            lines=[ReservedLine(Sku(sku), 2) for sku in skus],
            ttl_s=ttl_s,
        )


async def over(store: Store, *skus: str) -> None:
    """The reservations of these SKUs have ended a minute ago."""
    async with store.begin() as tx:
        await tx.execute(
            update(reservation_hold)
            .where(reservation_hold.c.sku.in_(skus))
            .values(expires_at=func.now() - timedelta(minutes=1))
        )
        await tx.execute(update(sku_stock).values(dirty_since=None))


async def held(store: Store) -> dict[str, tuple[int, bool]]:
    """Units held of each SKU, and whether it waits to be carried to the channels."""
    async with store.begin() as tx:
        rows = await tx.execute(select(sku_stock).order_by(sku_stock.c.sku))
        return {row.sku: (row.held, row.dirty_since is not None) for row in rows}


async def told(store: Store) -> list[str]:
    async with store.begin() as tx:
        return list(await tx.scalars(select(event.c.subject).order_by(event.c.id)))


async def test_what_has_expired_is_ended_at_its_time_and_told(store: Store, deps: Deps) -> None:
    await stocked(store, "A", "B", "C")
    await reserved(store, "A", "B")
    await reserved(store, "B", "C")
    await over(store, "A", "B")
    before = await told(store)
    await end_expired(deps)
    assert await held(store) == {"A": (0, True), "B": (0, True), "C": (2, False)}
    assert (await told(store))[len(before) :] == ["A", "B"]
    async with store.begin() as tx:
        h = reservation_hold.c
        ended = await tx.execute(select(h.ended_at, h.expires_at).where(h.ended_at.is_not(None)))
        assert all(row.ended_at == row.expires_at for row in ended)
        assert (await ledger.check(tx)).wrong == []
    # Nothing more is over.
    await end_expired(deps)
    assert len(await told(store)) == len(before) + 2


async def test_a_sku_that_somebody_has_in_hand_comes_again(store: Store, deps: Deps) -> None:
    await stocked(store, "A", "B")
    await reserved(store, "A", "B")
    await over(store, "A", "B")
    async with store.begin() as tx:
        await ledger.lock(tx, [Sku("A")])
        await end_expired(deps)
    assert await held(store) == {"A": (2, False), "B": (0, True)}
    await end_expired(deps)
    assert await held(store) == {"A": (0, True), "B": (0, True)}


async def test_tidying_and_a_crowd_never_wait_in_a_circle(store: Store, deps: Deps) -> None:
    skus = [f"S{number}" for number in range(6)]
    await stocked(store, *skus, units=1000)

    async def buy(order: Sequence[str]) -> None:
        for _ in range(12):
            await reserved(store, *order, ttl_s=1.0)

    async def tidy() -> None:
        for _ in range(12):
            async with store.begin() as tx:
                await ledger.lock(tx, [Sku(sku) for sku in skus])
                await tx.execute(text("update reservation_hold set expires_at = now() where ended_at is null"))
            await end_expired(deps)

    await asyncio.gather(buy(skus), buy(skus[::-1]), tidy(), tidy())
    await over(store, *skus)
    await end_expired(deps)
    assert {units for units, _ in (await held(store)).values()} == {0}


async def checks(store: Store) -> int:
    async with store.begin() as tx:
        return await tx.scalar(select(func.count()).select_from(ledger_check)) or 0


async def test_the_ledger_is_proved_once_a_day_whoever_asked_last(store: Store, deps: Deps) -> None:
    await stocked(store, "A")
    await nightly(deps)
    await nightly(deps)
    assert await checks(store) == 1
    async with store.begin() as tx:
        await tx.execute(update(ledger_check).values(at=NOW - timedelta(hours=25)))
    await asyncio.gather(nightly(deps), nightly(deps))
    assert await checks(store) == 2


async def test_only_one_worker_does_the_nightly_work(store: Store, deps: Deps) -> None:
    async with store.begin() as tx:
        assert await upkeep.my_turn(tx)
        await nightly(deps)
    assert await checks(store) == 0
    await nightly(deps)
    assert await checks(store) == 1


async def test_a_ledger_that_does_not_add_up_is_cried_out(
    store: Store, deps: Deps, caplog: pytest.LogCaptureFixture
) -> None:
    await stocked(store, "A", "B")
    async with store.begin() as tx:
        await tx.execute(text("alter table stock_balance disable trigger user"))
        await tx.execute(text("update stock_balance set on_hand = 11 where sku = 'A'"))
        await tx.execute(text("alter table stock_balance enable trigger user"))
    with caplog.at_level(logging.INFO):
        await nightly(deps)
    [record] = [one for one in caplog.records if one.message == "ledger.wrong"]
    assert record.levelno == logging.ERROR
    assert any("A at BER" in words for words in record.__dict__["first"])
    assert not any(one.message == "ledger.checked" for one in caplog.records)


async def test_what_is_too_old_is_forgotten_and_what_was_told_last_stays(store: Store, deps: Deps) -> None:
    await stocked(store, "A", "B")
    async with store.begin() as tx:
        push = {"channel": SHOP, "place": "", "cause": "CHANGE"}
        sent = [("A", 1, OLD), ("A", 2, OLD), ("A", 3, NOW), ("B", 4, OLD - timedelta(days=1)), ("B", 5, OLD)]
        for sku, quantity, at in sent:
            row = push | {"channel_sku": sku, "sku": sku, "quantity": quantity, "sent_at": at}
            await tx.execute(insert(stock_push).values(row))
        drift = {"channel": SHOP, "channel_sku": "A", "kind": "LOST_WRITE", "first_at": OLD, "last_at": OLD}
        for place, ended_at in (("1", OLD), ("2", NOW), ("3", None)):
            await tx.execute(insert(stock_drift).values(**drift, place=place, ended_at=ended_at))
        for id, at in (("old", NOW - timedelta(days=31)), ("new", NOW)):
            await tx.execute(insert(feed_delivery).values(source="wms", id=id, at=at))
    await nightly(deps)
    async with store.begin() as tx:
        assert list(await tx.scalars(select(stock_push.c.quantity).order_by(stock_push.c.id))) == [2, 3, 5]
        assert list(await tx.scalars(select(stock_drift.c.place).order_by(stock_drift.c.id))) == ["2", "3"]
        assert list(await tx.scalars(select(feed_delivery.c.id))) == ["new"]


async def test_history_goes_back_as_far_as_may_be_asked(store: Store, deps: Deps) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, [listing("A")])
    one = Reading(LocationCode("fba-eu"), ChannelId("amazon-eu"), ChannelSku("A"), 0, 0, 0, NOW)
    for on_hand, days in ((1, 500), (2, 450), (3, 401), (4, 399), (5, 1)):
        async with store.begin() as tx:
            await stock.keep(tx, [replace(one, on_hand=on_hand, as_of=NOW - timedelta(days=days))])
    async with store.begin() as tx:
        assert await upkeep.forget_history(tx, NOW - timedelta(days=400), limit=1) == 1
    await nightly(deps)
    async with store.begin() as tx:
        kept = await tx.scalars(select(stock_level_history.c.on_hand).order_by(stock_level_history.c.as_of))
        assert list(kept) == [3, 4, 5]


async def test_reservations_are_forgotten_once_nothing_of_them_can_be_asked_for(store: Store, deps: Deps) -> None:
    await stocked(store, "A", "B", "C", "D", "E")
    for sku in ("A", "B", "C", "D"):
        await reserved(store, sku)
    async with store.begin() as tx:
        h = reservation_hold.c
        rows = await tx.execute(select(h.sku, h.reservation_id))
        of = {row.sku: ReservationId(row.reservation_id) for row in rows}
        # B still has its units, and C had them back a year ago only.
        await reservation.commit(tx, of["B"], by="t", places=[BERLIN])
        await tx.execute(update(reservation_table).values(created_at=OLD, expires_at=OLD))
        await tx.execute(update(reservation_hold).where(h.sku != "D").values(ended_at=OLD))
        await tx.execute(update(reservation_hold).where(h.sku == "C").values(ended_at=NOW - timedelta(days=365)))
        await tx.execute(update(reservation_hold).values(created_at=OLD - timedelta(hours=1)))
    await reserved(store, "E")
    async with store.begin() as tx:
        assert await upkeep.forget_reservations(tx, NOW - timedelta(days=400)) == 1
        kept = await tx.scalars(select(h.sku).order_by(h.sku))
        assert list(kept) == ["B", "C", "D", "E"]
        assert await tx.scalar(select(func.count()).select_from(reservation_table)) == 4
        # What was allocated is given back by its name.
        await reservation.release(tx, of["B"], by="t")
    await nightly(deps)
    async with store.begin() as tx:
        assert list(await tx.scalars(select(h.sku).order_by(h.sku))) == ["C", "D", "E"]


async def test_the_loop_tidies_while_the_night_takes_its_time(store: Store, deps: Deps) -> None:
    await stocked(store, "A")
    await reserved(store, "A")
    await over(store, "A")
    pulses = 0

    def pulse() -> None:
        nonlocal pulses
        pulses += 1

    async def is_tidy() -> bool:
        return await held(store) == {"A": (0, True)}

    async def is_proved() -> bool:
        return await checks(store) == 1

    async with store.begin() as tx:
        # Somebody writes the proof and takes long.
        await tx.execute(text("lock table ledger_check in access exclusive mode"))
        task = asyncio.create_task(Upkeep(deps, pulse).run())
        await blocked(store, 1)
        await until(is_tidy)
    await until(is_proved)
    assert pulses > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_months_of_the_log_of_calls_are_made_ahead_and_dropped_when_they_are_too_old(deps: Deps) -> None:
    async def there() -> list[str]:
        async with deps.store.begin() as tx:
            return [f"{begin:%Y-%m}" for begin in await exchange.months(tx)]

    async with deps.store.begin() as tx:
        await exchange.drop_months(tx, datetime(2100, 1, 1, tzinfo=UTC))
    try:
        await turn_months(replace(deps, clock=lambda: datetime(2025, 12, 31, 23, 59, tzinfo=UTC)))
        assert await there() == ["2025-12", "2026-01", "2026-02"]
        # December was over on the 1st of January, twelve months before this.
        await turn_months(replace(deps, clock=lambda: datetime(2027, 1, 1, tzinfo=UTC)))
        assert await there() == ["2026-01", "2026-02", "2027-01", "2027-02", "2027-03"]
        await turn_months(replace(deps, clock=lambda: datetime(2027, 2, 28, tzinfo=UTC), call_months=1))
        assert await there() == ["2027-01", "2027-02", "2027-03", "2027-04"]
        async with deps.store.begin() as reader:
            await reader.execute(text("lock table exchange in access share mode"))
            await turn_months(replace(deps, clock=lambda: datetime(2027, 9, 1, tzinfo=UTC)))  # not now, and no harm
        assert await there() == ["2027-01", "2027-02", "2027-03", "2027-04"]
    finally:
        async with deps.store.begin() as tx:
            await exchange.drop_months(tx, datetime(2100, 1, 1, tzinfo=UTC))
