"""FBA pools that several marketplaces report are one thing: their readings are compared and never added.

Once an hour a pool is also read through one of its other marketplaces, in turn. What differs is read once more through both,
before it is called a disagreement.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Port, StockKey
from domain.budget import Ask
from domain.channel import Location, LocationKind
from domain.drift import DriftKind
from domain.ids import ChannelSku
from domain.stock import Reading
from store import drift, stock
from store.drift import Noted
from workers.deps import Deps

log = logging.getLogger(__name__)

EVERY_S = 3600
YOUNG = timedelta(minutes=10)
# Second looks at one pool at a time, in calls.
LOOKS = 5


async def compare_pools(deps: Deps, port: Port, ask: Ask) -> None:
    """Compare each pool of the channel whose turn it is."""
    for pool in deps.locations:
        shared = pool.keeper == port.channel.id and pool.kind is LocationKind.FBA and len(pool.marketplaces) > 1
        if shared and await _turn(deps, pool):
            await _compare(deps, port, pool, ask)


async def _turn(deps: Deps, pool: Location) -> bool:
    """Whether nobody has compared the pool within the hour. Without Redis nobody knows, and nobody does."""
    try:
        return bool(await deps.redis.set(f"acorn:pool:{pool.code}", deps.worker, nx=True, ex=EVERY_S))
    except (RedisError, OSError):
        return False


async def _compare(deps: Deps, port: Port, pool: Location, ask: Ask) -> None:
    there = replace(pool, external_id=_other(pool, deps.clock()))
    doubtful: list[ChannelSku] = []
    async for page in port.stock_pages([there], ask):
        doubtful += await _doubtful(deps, pool, page.items)
    disagreeing: list[Noted] = []
    for start in range(0, min(len(doubtful), LOOKS * port.stock_batch), port.stock_batch):
        disagreeing += await _second_look(deps, port, (pool, there), doubtful[start : start + port.stock_batch], ask)
    if disagreeing:
        extra = {"channel": port.channel.id, "location": pool.code, "marketplace": there.external_id}
        first = disagreeing[0]
        words = f"{first.channel_sku}: {first.believed} through {pool.external_id}, {first.shown} there"
        log.warning("pool.disagreement", extra=extra | {"skus": len(disagreeing), "first": words})


def _other(pool: Location, now: datetime) -> str:
    """The marketplace whose turn it is: each hour the next one."""
    others = [one for one in pool.marketplaces if one != pool.external_id]
    return others[int(now.timestamp() // EVERY_S) % len(others)]


async def _doubtful(deps: Deps, pool: Location, there: Sequence[Reading]) -> list[ChannelSku]:
    """Which of these readings differ from one of about the same time that is kept; disagreements of all others are over."""
    async with deps.store.begin() as tx:
        kept = await stock.of_channel_skus(tx, pool.keeper, [one.channel_sku for one in there])
        here = {sku: one for sku, found in kept.items() for one in found if one.location == pool.code}
        oldest = deps.clock() - YOUNG
        pairs = [
            (here[one.channel_sku], one)
            for one in there
            if one.channel_sku in here and min(one.as_of, here[one.channel_sku].as_of) > oldest
        ]
        await _end(tx, pool, [ours for ours, theirs in pairs if _units(ours) == _units(theirs)])
    return [ours.channel_sku for ours, theirs in pairs if _units(ours) != _units(theirs)]


async def _second_look(
    deps: Deps, port: Port, ways: tuple[Location, Location], skus: Sequence[ChannelSku], ask: Ask
) -> list[Noted]:
    """Read these through both ways, one right after the other; what still differs is noted."""
    keys = [StockKey(sku) for sku in skus]
    pool, other = ways
    here = {one.channel_sku: one for one in await port.stock([pool], keys, ask)}
    there = {one.channel_sku: one for one in await port.stock([other], keys, ask)}
    async with deps.store.begin() as tx:
        await _end(tx, pool, [one for sku, one in here.items() if _units(one) == _units(there[sku])])
        ours = await stock.skus_of(tx, [(pool.keeper, sku) for sku in skus])
        noted = [
            Noted(
                channel_sku=sku,
                place=pool.code,
                sku=ours.get((pool.keeper, sku)),
                kind=DriftKind.POOL_DISAGREEMENT,
                believed=_units(here[sku]),
                shown=_units(there[sku]),
                at=here[sku].as_of,
            )
            for sku in skus
            if _units(here[sku]) != _units(there[sku])
        ]
        await drift.note(tx, pool.keeper, noted)
    async with deps.store.begin() as tx:
        await stock.keep_and_tell(tx, list(here.values()))
    return noted


async def _end(tx: AsyncConnection, pool: Location, agreeing: Sequence[Reading]) -> None:
    await drift.end(tx, pool.keeper, {(one.channel_sku, pool.code): one.as_of for one in agreeing})


def _units(reading: Reading) -> int:
    return reading.on_hand - reading.reserved
