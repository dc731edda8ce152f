"""A rule for many SKUs reaches every number, whichever worker carries it and however often one dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from domain.ids import RuleId, Sku
from domain.rule import Rule, SafetyStock
from store import kit, rule, stock_sweep
from store.session import Store
from store.tables import channel_stock, sku_stock
from store.tables import stock_sweep as stock_sweep_table
from tests.workers.house import until
from tests.workers.market import Market, make_market
from workers import propagation
from workers.propagation import Propagation

SKUS = 20


@pytest.fixture
async def market(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Market:
    """Twenty SKUs with ten units each, all told; steps and rounds are small."""
    monkeypatch.setattr(stock_sweep, "STEP", 6)
    monkeypatch.setattr(propagation, "BATCH", 3)
    made = await make_market(store, redis)
    for number in range(SKUS):
        await made.sell(f"S{number:02}", stock=10)
    await made.propagate()
    return made


async def _keep(market: Market, units: int, tag: str | None = None) -> None:
    async with market.store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "keep", SafetyStock(units), tag=tag), "tests")


async def _numbers(market: Market) -> set[tuple[int, int]]:
    """What there is of targets, each with the safety stock that reservations leave."""
    async with market.store.begin() as tx:
        both = select(channel_stock.c.target, sku_stock.c.safety_stock).join_from(
            channel_stock, sku_stock, channel_stock.c.sku == sku_stock.c.sku
        )
        return {(row.target, row.safety_stock) for row in await tx.execute(both)}


async def _waiting(market: Market) -> int:
    async with market.store.begin() as tx:
        s = sku_stock.c.dirty_since
        return await tx.scalar(select(func.count()).select_from(sku_stock).where(s.is_not(None))) or 0


async def _over(market: Market) -> bool:
    async with market.store.begin() as tx:
        return not await tx.scalar(select(func.count()).select_from(stock_sweep_table))


async def test_a_rule_for_all_reaches_every_number(market: Market) -> None:
    assert await _numbers(market) == {(10, 0)}
    await _keep(market, 2)
    # Until a step has come to them, the SKUs follow the older rules.
    assert await _numbers(market) == {(10, 0)}
    await market.propagation.once()
    await market.propagation.once()
    assert await _numbers(market) == {(10, 0), (8, 2)}
    await market.propagate()
    assert (await _numbers(market), await _waiting(market), await _over(market)) == ({(8, 2)}, 0, True)


async def test_steps_come_when_few_skus_wait_so_that_a_sale_is_never_behind_them_all(market: Market) -> None:
    await _keep(market, 2)
    most = 0
    while await market.propagation.once():
        most = max(most, await _waiting(market))
    assert stock_sweep.STEP <= most < stock_sweep.STEP + propagation.BATCH


async def test_a_rule_for_all_outlives_the_workers_that_carry_it(market: Market) -> None:
    workers = [Propagation(replace(market.deps, worker=f"w{n}"), lambda: None) for n in range(2)]
    for units in (3, 2, 4):
        await _keep(market, units)
        running = [asyncio.create_task(one.run()) for one in workers]
        await until(lambda units=units: _begun(market, units))  # type: ignore[misc]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    await market.propagate()
    assert (await _numbers(market), await _over(market)) == ({(6, 4)}, True)


async def _begun(market: Market, units: int) -> bool:
    return (10 - units, units) in await _numbers(market)


async def test_a_kit_follows_the_tag_of_its_component(market: Market) -> None:
    async with market.store.begin() as tx:
        await tx.exec_driver_sql(
            """update product set attributes = '[{"name": "tag", "value": "loud"}]' where sku = 'S07'"""
        )
    await market.sell("KIT")
    async with market.store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("S07"): 2}, "tests")
    await market.propagate()
    await _keep(market, 4, "loud")
    await market.propagate()
    async with market.store.begin() as tx:
        c = channel_stock.c
        rows = await tx.execute(select(c.sku, c.target).where(c.sku.in_(["S06", "S07", "KIT"])).distinct())
        assert {row.sku: row.target for row in rows} == {"S06": 10, "S07": 6, "KIT": 3}
