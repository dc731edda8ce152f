"""Drifts are noted once per number while they last, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, update

from domain.drift import Drift, DriftCount, DriftKind
from domain.ids import ChannelId, ChannelSku, Sku
from domain.product import FulfilledBy
from store import drift, product
from store.drift import Noted
from store.session import Store
from store.tables import channel_stock, stock_drift, stock_push
from tests.store.test_product import at_shop

SHOP = ChannelId("shop")
NOW = datetime.now(UTC).replace(microsecond=0)
A = (ChannelSku("A"), "BER")
B = (ChannelSku("B"), "BER")


def noted(
    sku: str = "A", shown: int | None = 3, *, kind: DriftKind = DriftKind.EXTERNAL_EDIT, minute: int = 0
) -> Noted:
    return Noted(ChannelSku(sku), "BER", Sku(sku), kind, 5, shown, NOW + timedelta(minutes=minute))


async def note(store: Store, *found: Noted) -> None:
    async with store.begin() as tx:
        await drift.note(tx, SHOP, found)


async def open_now(store: Store, **more: Any) -> list[Drift]:
    async with store.begin() as tx:
        return (await drift.open_drifts(tx, first=50, **more))[0]


async def test_the_same_difference_is_one_drift_and_counted(store: Store) -> None:
    await note(store, noted(kind=DriftKind.UNSEEN_SALE))
    await note(store, noted(minute=1))
    [one] = await open_now(store)
    assert (one.kind, one.times, one.first_at, one.last_at) == (
        DriftKind.EXTERNAL_EDIT,
        2,
        NOW,
        NOW + timedelta(minutes=1),
    )
    # An older reading, come late, says nothing new.
    await note(store, noted(shown=1, minute=1))
    assert await open_now(store) == [one]


async def test_another_number_is_another_drift(store: Store) -> None:
    await note(store, noted(shown=3), noted("B", None))
    await note(store, noted(shown=2, minute=1), noted("B", None, minute=1))
    assert [(one.channel_sku, one.shown, one.times) for one in await open_now(store)] == [("A", 2, 1), ("B", None, 2)]


async def test_a_drift_ends_when_a_younger_reading_agrees(store: Store) -> None:
    await note(store, noted(minute=1), noted("B", minute=1))
    async with store.begin() as tx:
        assert await drift.end(tx, SHOP, {A: NOW, B: NOW + timedelta(minutes=2)}) == 1
        assert await drift.end(tx, SHOP, {}) == 0
        assert await drift.end(tx, ChannelId("other"), {A: NOW + timedelta(minutes=2)}) == 0
    assert [one.channel_sku for one in await open_now(store)] == ["A"]


async def test_open_drifts_come_in_pages_newest_first(store: Store) -> None:
    await note(store, *(noted(f"S{number}") for number in range(5)))
    async with store.begin() as tx:
        await drift.note(tx, ChannelId("other"), [noted("X", kind=DriftKind.LOST_WRITE)])
        first, more = await drift.open_drifts(tx, first=4, channel=SHOP)
        assert ([one.channel_sku for one in first], more) == (["S4", "S3", "S2", "S1"], True)
        rest, more = await drift.open_drifts(tx, first=4, after=first[-1].id, channel=SHOP)
        assert ([one.channel_sku for one in rest], more) == (["S0"], False)
        oldest, more = await drift.open_drifts(tx, first=1, oldest=True)
        assert ([one.channel_sku for one in oldest], more) == (["S0"], True)
    assert [one.channel_sku for one in await open_now(store, kind=DriftKind.LOST_WRITE)] == ["X"]


async def test_counts_are_of_what_is_open_or_lately_was(store: Store) -> None:
    await note(store, noted("A"), noted("B"), noted("C"), noted("D", kind=DriftKind.LOST_WRITE))
    async with store.begin() as tx:
        await tx.execute(
            update(stock_drift)
            .where(stock_drift.c.channel_sku.in_(["A", "B"]))
            .values(last_at=NOW - timedelta(hours=25), ended_at=NOW)
        )
        # Open however long ago it was read.
        await tx.execute(update(stock_drift).where(stock_drift.c.channel_sku == "B").values(ended_at=None))
        await tx.execute(
            update(stock_drift)
            .where(stock_drift.c.channel_sku == "C")
            .values(last_at=NOW - timedelta(hours=12), ended_at=NOW - timedelta(hours=11))
        )
        assert await drift.counts(tx, SHOP) == [
            DriftCount(DriftKind.EXTERNAL_EDIT, open=1, last_day=2),
            DriftCount(DriftKind.LOST_WRITE, open=1, last_day=1),
        ]
        assert await drift.counts(tx, ChannelId("other")) == []


async def number(store: Store, sku: str = "A", told: int | None = 5, **more: Any) -> None:
    """A number that was told five minutes ago and confirmed, unless said otherwise."""
    at = NOW - timedelta(minutes=6)
    values = {
        "channel": SHOP,
        "channel_sku": sku,
        "place": "BER",
        "sku": sku,
        "target": 5,
        "version": 1,
        "target_at": at,
        "told": told,
        "told_at": None if told is None else at,
        "confirmed_at": None if told is None else at,
    }
    async with store.begin() as tx:
        await product.upsert_listings(tx, [at_shop(sku, fulfilled_by=FulfilledBy.MERCHANT)])
        await tx.execute(insert(channel_stock).values(values | more))


async def in_flight(store: Store, keys: Sequence[drift.Key]) -> dict[str, bool]:
    async with store.begin() as tx:
        found = await drift.numbers(tx, SHOP, keys)
    return {sku: one.believed.in_flight for (sku, _), one in found.items()}


async def test_writes_that_wait_or_may_become_visible_are_in_flight(store: Store) -> None:
    now = datetime.now(UTC)  # a full run is longer than a write is in flight
    keys = [(ChannelSku(sku), "BER") for sku in "ABCDEFG"]
    await number(store, "A")
    await number(store, "B", lease_until=now + timedelta(minutes=1))
    await number(store, "C", target=4, due_at=now)
    await number(store, "D", target=4, due_at=now, error_code="REFUSED")
    await number(store, "E", told_at=now, confirmed_at=None)
    await number(store, "F", confirmed_at=None)
    assert await in_flight(store, keys) == {"A": False, "B": True, "C": True, "D": False, "E": True, "F": False}


async def test_what_was_told_before_is_the_newest_other_number(store: Store) -> None:
    await number(store, "A", 5)
    await number(store, "B", None)
    async with store.begin() as tx:
        for minute, units in enumerate([9, 8, 5, 5]):
            row = {
                "channel": SHOP,
                "channel_sku": "A",
                "place": "BER",
                "sku": "A",
                "quantity": units,
                "cause": "CHANGE",
            }
            await tx.execute(insert(stock_push).values(**row, sent_at=NOW - timedelta(minutes=10 - minute)))
        found = await drift.numbers(tx, SHOP, [A, B, (ChannelSku("C"), "BER")], lock=True)
        assert {key: one.believed.before for key, one in found.items()} == {A: 8, B: None}
        assert await drift.told_of(tx, SHOP, NOW, None, 10) == [A]
        assert await drift.told_of(tx, SHOP, NOW, A, 10) == []
        assert await drift.told_of(tx, SHOP, NOW - timedelta(hours=1), None, 10) == []


async def test_ended_drifts_are_forgotten_after_their_time(store: Store) -> None:
    await note(store, noted("A"), noted("B"))
    async with store.begin() as tx:
        await drift.end(tx, SHOP, {A: NOW + timedelta(minutes=1)})
        assert await drift.prune(tx, NOW) == 0
        assert await drift.prune(tx, NOW + timedelta(minutes=2)) == 1
    assert [one.channel_sku for one in await open_now(store)] == ["B"]
