"""Rules are kept as they were said, the past can be told, and whom they are for is computed anew."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from domain.errors import Invalid, NotFound
from domain.event import EventKind
from domain.ids import ChannelId, RuleId, Sku
from domain.rule import (
    ChannelShare,
    FbaShare,
    LastUnits,
    MaximumShown,
    PreOrder,
    Rule,
    SafetyStock,
    Settings,
    VelocityBuffer,
)
from store import rule, stock_sweep
from store.session import Store
from store.tables import event, product, sku_stock
from tests.store.bench import blocked

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHOP = ChannelId("shop")


def new(settings: Settings | None = None, name: str = "few", **whom: Any) -> Rule:
    return Rule(RuleId(""), name, settings or SafetyStock(2), **whom)


async def saved(store: Store, one: Rule, by: str = "ops") -> Rule:
    async with store.begin() as tx:
        return await rule.save(tx, one, by)


async def living(store: Store, at: datetime | None = None) -> list[Rule]:
    async with store.begin() as tx:
        return await rule.rules(tx, at)


async def products(store: Store, *skus: str, tags: Sequence[str] = ()) -> None:
    """Products whose numbers are all carried to the channels."""
    attributes = [{"name": "tag", "value": tag, "raw": None} for tag in tags]
    async with store.begin() as tx:
        await tx.execute(insert(product), [{"sku": sku, "title": sku, "attributes": attributes} for sku in skus])
        await tx.execute(update(sku_stock).values(dirty_since=None))


async def dirty(store: Store) -> list[str]:
    async with store.begin() as tx:
        found = select(sku_stock.c.sku).where(sku_stock.c.dirty_since.is_not(None), sku_stock.c.version > 1)
        return list(await tx.scalars(found.order_by(sku_stock.c.sku)))


async def told(store: Store) -> list[tuple[str, Any]]:
    async with store.begin() as tx:
        kind = EventKind.STOCK_RULES_CHANGED.value
        rows = await tx.execute(select(event.c.subject, event.c.data).where(event.c.kind == kind).order_by(event.c.id))
        return [(row.subject, row.data) for row in rows]


async def clock(store: Store) -> datetime:
    async with store.begin() as tx:
        at = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(at, datetime)
    return at


@pytest.mark.parametrize(
    ("settings", "whom"),
    [
        (SafetyStock(3), {"location": "BER"}),
        (SafetyStock(3), {"channel": SHOP}),
        (MaximumShown(5), {"channel": SHOP, "tag": "loud", "priority": 3}),
        (
            ChannelShare(Decimal("12.5"), hard=True),
            {"channel": SHOP, "starts_at": NOON, "ends_at": NOON + timedelta(days=2)},
        ),
        (
            FbaShare(Decimal(50), 9, 2, timedelta(minutes=30), frozenset({"US", "CA"}), frozenset({"AK", "HI"})),
            {"channel": SHOP, "location": "fba-us"},
        ),
        (VelocityBuffer(Decimal("0.99"), timedelta(seconds=1.5)), {"channel": SHOP}),
        (LastUnits(3), {"tag": "loud"}),
        (PreOrder(Decimal(25), 9), {"channel": SHOP}),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_a_rule_comes_back_as_it_was_said(store: Store, settings: Settings, whom: dict[str, Any]) -> None:
    made = await saved(store, new(settings, **whom))
    assert made == replace(new(settings, **whom), id=made.id, made_by="ops", made_at=made.made_at)
    assert await living(store) == [made]


async def test_a_rule_of_the_same_name_ends_the_old_one_and_the_past_can_be_told(store: Store) -> None:
    before = await clock(store)
    first = await saved(store, new(SafetyStock(2)))
    between = await clock(store)
    second = await saved(store, new(SafetyStock(3)), by="someone else")
    assert await living(store) == [second]
    assert await living(store, before) == []
    assert await living(store, between) == [first]
    assert await living(store, await clock(store)) == [second]
    async with store.begin() as tx:
        assert await rule.remove(tx, second.id, "ops") == second
    assert await living(store) == []
    assert await living(store, between) == [first]


async def test_saying_the_same_again_changes_nothing(store: Store) -> None:
    await products(store, "A")
    first = await saved(store, new(ChannelShare(Decimal(50)), channel=SHOP))
    assert await saved(store, new(ChannelShare(Decimal("50.0")), channel=SHOP), by="someone else") == first
    assert len(await told(store)) == 1
    assert await saved(store, new(ChannelShare(Decimal(51)), channel=SHOP)) != first
    assert len(await told(store)) == 2


async def test_two_who_name_a_rule_at_once_leave_one(store: Store) -> None:
    async with store.begin() as tx:
        await rule.save(tx, new(SafetyStock(1)), "first")
        second = asyncio.create_task(saved(store, new(SafetyStock(2)), by="second"))
        await blocked(store, 1)
    made = await second
    assert await living(store) == [made]


async def test_a_removed_rule_cannot_be_removed_again(store: Store) -> None:
    made = await saved(store, new())
    async with store.begin() as tx:
        await rule.remove(tx, made.id, "ops")
    with pytest.raises(NotFound):
        async with store.begin() as tx:
            await rule.remove(tx, made.id, "ops")


async def test_the_skus_that_a_rule_is_for_are_computed_anew(store: Store) -> None:
    await products(store, "A", "B")
    await products(store, "C", tags=["loud", "new"])

    async def marked(one: Rule) -> list[str]:
        async with store.begin() as tx:
            await tx.execute(update(sku_stock).values(dirty_since=None))
        await saved(store, one)
        async with store.begin() as tx:
            while await stock_sweep.step(tx):
                pass
        return await dirty(store)

    assert await marked(new(sku=Sku("A"))) == ["A"]
    # The old one was for A, the new one is for what has the tag.
    assert await marked(new(tag="loud")) == ["A", "C"]
    assert await marked(new(tag="quiet")) == ["C"]
    assert await marked(new(MaximumShown(1), name="all", channel=SHOP)) == ["A", "B", "C"]
    assert [subject for subject, _ in await told(store)] == ["*"] * 4


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (new(SafetyStock(-1)), "units"),
        (new(name=" "), "name"),
        (new(name="n" * 201), "name"),
        (new(LastUnits(3), channel=SHOP), "channel"),
        (new(LastUnits(3), location="BER"), "location"),
        (new(PreOrder(Decimal(1)), location="BER"), "location"),
        (new(MaximumShown(3), location="BER"), "location"),
        (new(ChannelShare(Decimal(5)), location="BER"), "location"),
        (new(VelocityBuffer(), location="BER"), "location"),
        (new(ChannelShare(Decimal(5), hard=True)), "channel"),
        (new(SafetyStock(3), location="BER", channel=SHOP), "channel"),
        (new(starts_at=NOON, ends_at=NOON), "ends_at"),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_a_rule_that_means_nothing_is_refused_by_its_field(store: Store, wrong: Rule, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await saved(store, wrong)
    assert caught.value.field == (field,)
    assert await living(store) == []


async def test_a_rule_for_an_unknown_sku_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        await saved(store, new(sku=Sku("A")))
    await products(store, "A")
    assert await saved(store, new(sku=Sku("A"))) in await living(store)
