"""Orders that wait go on by themselves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from redis.asyncio import Redis

from domain.ids import Sku
from domain.ledger import EntryKind
from domain.sourcing_rules import Backorder, Exclusion, SourcingRules
from store import sourcing
from store.session import Store
from tests.store.warehouse import MAIN, PLACES, SIDE, A, B, allocations, an_order, came, entry, posted, products
from tests.workers.fake_port import make_port
from tests.workers.house import make_deps, until
from workers.upkeep import Upkeep
from workers.watch import end

FROM_NOWHERE = SourcingRules(
    exclusions=(Exclusion("moving house", (MAIN, SIDE), sku=B),), backorders=(Backorder("soon", sku=A),)
)


async def waiting(store: Store) -> list[Sku]:
    """The SKUs that orders wait for."""
    async with store.begin() as tx:
        rows = await tx.exec_driver_sql("select sku from order_allocation where backordered > 0 order by sku")
        return [Sku(row.sku) for row in rows]


async def test_what_comes_and_what_newer_rules_allow_reaches_orders_without_anybody_asking(
    store: Store, redis: Redis
) -> None:
    await products(store, A, B)
    await posted(store, entry(A, inbound=2, kind=EntryKind.EXPECTED), entry(B, 5))
    async with store.begin() as tx:
        await sourcing.keep_rules(tx, FROM_NOWHERE, "ops")
    await came(store, an_order(1, {A: 2}), an_order(2, {B: 1}))
    assert await waiting(store) == [A]
    assert [sku for _, sku, _ in await allocations(store)] == [A]
    deps = replace(make_deps(store, redis, [make_port("shop")]), locations=PLACES)
    looks: list[bool] = []

    async def looked() -> bool:
        return len(looks) > 1

    task = asyncio.create_task(Upkeep(deps, lambda: looks.append(True)).run())
    try:
        await until(looked)
        # Nothing has come, and no rule has changed.
        assert await waiting(store) == [A]
        assert [sku for _, sku, _ in await allocations(store)] == [A]
        await posted(store, entry(A, 2, inbound=-2))
        async with store.begin() as tx:
            await sourcing.keep_rules(tx, replace(FROM_NOWHERE, exclusions=()), "ops")

        async def gone_on() -> bool:
            return await waiting(store) == [] and [sku for _, sku, _ in await allocations(store)] == [A, B]

        await until(gone_on)
    finally:
        await end([task])
