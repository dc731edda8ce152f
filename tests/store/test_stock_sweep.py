"""A rule for many SKUs is kept at once, holds nobody up, and comes to every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import func, insert, select, update

from domain.ids import RuleId, Sku
from domain.rule import Rule, SafetyStock
from store import rule, stock_sweep
from store.session import Store
from store.tables import product, sku_stock
from store.tables import stock_sweep as stock_sweep_table
from tests.store.bench import blocked

ALL = 10_000
FIRST = "S00000"


async def products(store: Store, count: int, tags: Sequence[str] = (), *, letter: str = "S") -> None:
    """Products whose numbers are all carried to the channels."""
    attributes = [{"name": "tag", "value": tag, "raw": None} for tag in tags]
    rows = [{"sku": f"{letter}{n:05}", "title": "a product", "attributes": attributes} for n in range(count)]
    async with store.begin() as tx:
        await tx.execute(insert(product), rows)
        await tx.execute(update(sku_stock).values(dirty_since=None))


async def saved(store: Store, units: int = 1, *, tag: str | None = None, sku: str | None = None) -> Rule:
    async with store.begin() as tx:
        wanted = Rule(RuleId(""), "few", SafetyStock(units), tag=tag, sku=None if sku is None else Sku(sku))
        return await rule.save(tx, wanted, "ops")


async def stepped(store: Store) -> bool:
    async with store.begin() as tx:
        return await stock_sweep.step(tx)


async def swept(store: Store) -> int:
    """Step until nothing is left; how many steps it took."""
    steps = 0
    while await stepped(store):
        steps += 1
    return steps


async def marked(store: Store) -> dict[str, int]:
    """How often each SKU that waits to be computed was marked."""
    async with store.begin() as tx:
        s = sku_stock.c
        times = (s.version - 1).label("times")
        rows = await tx.execute(select(s.sku, times).where(s.dirty_since.is_not(None)).order_by(s.sku))
        return {row.sku: row.times for row in rows}


async def left(store: Store) -> list[tuple[str | None, str]]:
    """The sweeps that have not come to their end: tag, and how far they came."""
    async with store.begin() as tx:
        c = stock_sweep_table.c
        rows = await tx.execute(select(c.tag, c.after_sku).order_by(c.id))
        return [(row.tag, row.after_sku) for row in rows]


async def test_a_rule_for_all_is_kept_while_every_sku_is_in_somebodys_hand(store: Store) -> None:
    await products(store, ALL)
    async with store.begin() as tx:
        await tx.execute(select(func.count()).select_from(select(sku_stock).with_for_update().subquery()))
        async with asyncio.timeout(30):
            made = await saved(store)
            async with store.begin() as other:
                await rule.remove(other, made.id, "ops")
        # The twin: whoever touches a row would wait.
        step = asyncio.create_task(stepped(store))
        await blocked(store, 1)
        assert not step.done()
    assert await step
    assert await left(store) == [(None, "S01999"), (None, "")]


async def test_steps_mark_each_sku_once(store: Store) -> None:
    await products(store, ALL)
    await saved(store)
    assert (await marked(store), await left(store)) == ({}, [(None, "")])
    for number in range(1, ALL // stock_sweep.STEP):
        assert await stepped(store)
        came_to = f"S{number * stock_sweep.STEP - 1:05}"
        found = await marked(store)
        assert (len(found), max(found), await left(store)) == (number * stock_sweep.STEP, came_to, [(None, came_to)])
    assert await stepped(store)
    assert await marked(store) == {f"S{n:05}": 1 for n in range(ALL)}
    assert await left(store) == []
    assert not await stepped(store)


async def test_a_worker_that_dies_loses_no_sku_and_the_next_one_goes_on(store: Store) -> None:
    await products(store, ALL)
    await saved(store)
    assert await stepped(store)
    async with store.begin() as tx:
        assert await stock_sweep.step(tx)
        await tx.rollback()
    assert (len(await marked(store)), await left(store)) == (stock_sweep.STEP, [(None, "S01999")])
    assert await swept(store) == 4
    assert await marked(store) == {f"S{n:05}": 1 for n in range(ALL)}


async def test_several_workers_take_a_sweep_each(store: Store) -> None:
    await products(store, 5)
    await saved(store, 1)
    await saved(store, 2)
    async with store.begin() as first, store.begin() as second, store.begin() as third:
        assert await stock_sweep.step(first)
        # The second one has a sweep in hand, and waits for the rows of the first.
        waiting = asyncio.create_task(stock_sweep.step(second))
        await blocked(store, 1)
        assert not await stock_sweep.step(third)
        await first.commit()
        assert await waiting
    assert (await marked(store), await left(store)) == ({f"S{n:05}": 2 for n in range(5)}, [])


async def test_a_step_sees_the_rule_that_it_is_for(store: Store) -> None:
    await products(store, 1)
    async with store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "few", SafetyStock(1)), "ops")
        assert not await stepped(store)
    assert await stepped(store)


async def test_only_what_has_the_tag_is_marked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_sweep, "STEP", 2)
    await products(store, 3)
    await products(store, 5, ["loud", "new"], letter="T")
    await saved(store, tag="loud")
    assert await swept(store) == 3
    assert await marked(store) == {f"T{n:05}": 1 for n in range(5)}
    # The old rule was for the loud ones, the new one is for none that there are.
    await saved(store, tag="quiet")
    assert await left(store) == [("loud", ""), ("quiet", "")]
    await swept(store)
    assert await marked(store) == {f"T{n:05}": 2 for n in range(5)}
    # All SKUs are the loud ones too.
    await saved(store)
    assert await left(store) == [(None, "")]


async def test_a_sku_that_a_rule_names_is_marked_at_once(store: Store) -> None:
    await products(store, 3)
    await saved(store, sku=FIRST)
    assert (await marked(store), await left(store)) == ({FIRST: 1}, [])
    await saved(store)
    assert (await marked(store), await left(store)) == ({FIRST: 2}, [(None, "")])
