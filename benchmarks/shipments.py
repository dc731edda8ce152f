"""Shipments under fire: answers are lost, workers are killed, Redis is flushed; each order must be shipped exactly once.

    python -m benchmarks.shipments --shipments 1000 --faults 0.25 --kill-every 2

The sandboxes carry that share of the confirmations out and then answer with a broken connection or a 5xx; every other second a
worker dies by SIGKILL in the middle of whatever it does; half way through Redis loses everything it has. What was truly done is
read from the sandboxes' journals, not from us. Pickup is the time from the commit of an operation to the first claim of its item;
the intent to send follows once budget is paid and the platform has been read. An item whose worker dies in between waits for its
lease to run out. Exit code 0 only when each order has exactly one effect and each operation has SUCCEEDED.

The sandboxes' time runs faster (`--speed`), or Amazon's plan of getOrder alone, 0.5 per second and account, would take half an
hour. Starts engines of its own unless ACORN_DATABASE_URL and ACORN_REDIS_URL name an empty database and Redis.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Annotated

import typer
from redis.asyncio import Redis
from sqlalchemy import func, select

from benchmarks.rehearsal import Crew, Stage, doubtful, make_shelf, ship, stage, why
from domain.ids import OperationId
from domain.operation import FINISHED, ItemStatus, OperationStatus
from domain.order import Order
from gateway.engines import start
from store import beat, migrate, operation, tables
from store.session import Store
from store.tables import operation_item as item
from workers.bell import ArqBell, arq_redis
from workers.deps import Timing
from workers.lanes import DEATHS

WORKERS = 3
LOOK_S = 0.02


@dataclass(slots=True)
class Report:
    """What came of it. `wrong` says what is wrong with an order, by its id; `pickups` are seconds."""

    shipments: int
    injected: int = 0
    kills: int = 0
    flushes: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: dict[str, str] = field(default_factory=dict)
    statuses: Counter[OperationStatus] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    pickups: list[float] = field(default_factory=list)
    intents: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Exactly one effect for each order, and nothing else than success."""
        return not self.wrong and self.statuses == {OperationStatus.SUCCEEDED: self.shipments}


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def rehearse(
    on: Stage,
    *,
    shipments: int,
    faults: float,
    kill_every_s: float,
    pace: float,
    seed: int = 1,
    timing: Timing | None = None,
    arq: bool = True,
    patience_s: float = 240.0,
) -> Report:
    """One operation per shipment, `pace` of them a second, under fire until all of them have come to an end."""
    orders = chosen(on, shipments)
    report = Report(len(orders))
    on.fail(faults, seed)
    url = on.settings["redis_url"]
    bell, crew = ArqBell(arq_redis(url)), on.crew(timing, arq=arq)
    made: list[OperationId] = []
    try:
        for _ in range(WORKERS):
            crew.hire()
        await _at_work(on.house.store, WORKERS)
        started = time.monotonic()
        fire = asyncio.create_task(_kill(on.house.store, crew, kill_every_s, random.Random(seed)))
        watch = Watch(on.house.store)
        watching = asyncio.create_task(watch.run())
        shelf = make_shelf(on.house, bell)
        for place, one in enumerate(orders):
            await asyncio.sleep(max(0.0, started + place / pace - time.monotonic()))
            made.append((await ship(shelf, [one], f"shipment-{seed}-{one.id}")).id)
            watch.unclaimed.add(made[-1])
            if place == len(orders) // 2:
                async with Redis.from_url(url) as redis:
                    await redis.flushall()
                report.flushes += 1
        report.statuses = await _ended(on.house.store, made, started + patience_s)
        report.failed = await why(on.house.store, made)
        for task in (fire, watching):
            task.cancel()
        await asyncio.gather(fire, watching, return_exceptions=True)
    finally:
        await asyncio.to_thread(crew.dismiss)
        await bell.close()
    report.seconds, report.kills, report.injected = time.monotonic() - started, crew.kills, on.injected()
    report.calls, report.pickups, report.intents = on.calls(), watch.pickups, await _intents(on.house.store, made)
    _judge(report, on, orders)
    return report


def chosen(on: Stage, count: int) -> list[Order]:
    """`count` orders, taken from the channels in turn."""
    turns = chain.from_iterable(zip_longest(*(on.orders[channel] for channel in sorted(on.orders))))
    taken = list(islice((one for one in turns if one is not None), count))
    if len(taken) < count:
        raise AssertionError(f"there are only {len(taken)} orders to ship; make the sandboxes' world larger")
    for one in taken:
        on.orders[one.channel].remove(one)
    return taken


async def _kill(store: Store, crew: Crew, every_s: float, dice: random.Random) -> None:
    """Where nothing has been recorded since the last one nobody is killed: on a slow machine no worker would come to anything.
    Nor while something was in the hands of the last few: it would be taken for what kills them."""
    seen = 0
    while True:
        await asyncio.sleep(every_s * dice.uniform(0.5, 1.5))
        async with store.begin() as tx:
            recorded = await tx.scalar(select(func.count()).where(item.c.status != ItemStatus.PENDING.value)) or 0
            recorded += await tx.scalar(select(func.count()).where(item.c.ended_at.is_not(None))) or 0
            claims = await tx.scalar(select(func.max(item.c.claims)).where(item.c.ended_at.is_(None))) or 0
        if recorded > seen and claims < DEATHS:
            seen = recorded
            await asyncio.to_thread(crew.kill, dice)


async def _ended(store: Store, ids: list[OperationId], deadline: float) -> Counter[OperationStatus]:
    """The statuses, once all have come to an end or the time is over."""
    while True:
        async with store.begin() as tx:
            found = await operation.by_ids(tx, ids)
        statuses = Counter(one.status for one in found.values())
        if all(status in FINISHED for status in statuses) or time.monotonic() > deadline:
            return statuses
        await asyncio.sleep(0.25)


async def _at_work(store: Store, workers: int) -> None:
    """Wait until so many workers have given a sign of life."""
    async with asyncio.timeout(60):
        while True:
            async with store.begin() as tx:
                if await beat.alive(tx, 5.0) >= workers:
                    return
            await asyncio.sleep(0.1)


@dataclass(slots=True)
class Watch:
    """Looks at the rows again and again for items that have been claimed for the first time."""

    store: Store
    unclaimed: set[OperationId] = field(default_factory=set)
    pickups: list[float] = field(default_factory=list)

    async def run(self) -> None:
        """For ever. A pickup is told up to one look too late, never too early."""
        age = func.clock_timestamp() - tables.operation.c.created_at
        while True:
            await asyncio.sleep(LOOK_S)
            query = (
                select(item.c.operation_id, age.label("age"))
                .join_from(item, tables.operation)
                .where(item.c.operation_id.in_(self.unclaimed), item.c.fence > 0)
            )
            async with self.store.begin() as tx:
                for row in await tx.execute(query):
                    self.unclaimed.discard(row.operation_id)
                    self.pickups.append(row.age.total_seconds())


async def _intents(store: Store, ids: list[OperationId]) -> list[float]:
    """Seconds between the events of an operation's first two statuses: QUEUED, written with it, and RUNNING, with its first
    intent."""
    wanted, times = set(ids), dict[str, list[float]]()
    async with store.begin() as tx:
        told = tables.event.c
        query = select(told.subject, told.at).where(told.kind == "OperationChanged").order_by(told.id)
        for row in await tx.execute(query):
            if row.subject in wanted:
                times.setdefault(row.subject, []).append(row.at.timestamp())
    return [at[1] - at[0] for at in times.values() if len(at) > 1]


def _judge(report: Report, on: Stage, orders: list[Order]) -> None:
    effects = on.effects()
    for one in orders:
        wrong = doubtful(one, effects.get(one.external_id, []))
        if wrong is not None:
            report.wrong[f"{one.channel}/{one.external_id}"] = wrong
            report.lost += wrong == "lost"
            report.duplicated += wrong != "lost"


def main(
    shipments: Annotated[int, typer.Option(min=1, help="How many orders are shipped.")] = 1000,
    faults: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share carried out and then failed.")] = 0.25,
    kill_every: Annotated[float, typer.Option(min=0.1, help="Seconds between two kills, on average.")] = 2.0,
    pace: Annotated[float, typer.Option(min=0.1, help="Operations committed per second.")] = 8.0,
    speed: Annotated[float, typer.Option(min=1.0, help="Sandbox seconds per real second.")] = 40.0,
    seed: int = 1,
    arq: Annotated[bool, typer.Option(help="Ring through arq, or leave it to the sweep.")] = True,
) -> None:
    """Ship under fire, and say what came of it."""
    report = asyncio.run(_run(shipments, faults, kill_every, pace, speed, seed, arq))
    print(
        f"shipments            {report.shipments} in {report.seconds:.0f} s, {WORKERS} workers, arq {'on' if arq else 'off'}"
    )
    print(f"answers lost         {report.injected} (carried out, then failed)")
    print(f"workers killed       {report.kills}")
    print(f"Redis flushed        {report.flushes}")
    print(f"orders lost          {report.lost}")
    print(f"orders sent twice    {report.duplicated}")
    print(f"operations           {', '.join(f'{count} {status.value}' for status, count in report.statuses.items())}")
    for name, seconds in (("commit to pickup", report.pickups), ("commit to intent", report.intents)):
        p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        print(f"{name:20} p50 {p50:.2f} s   p99 {p99:.2f} s   max {max(seconds):.2f} s")
    print(f"upstream calls       {', '.join(f'{count} {name}' for name, count in report.calls.most_common())}")
    for order, wrong in report.wrong.items():
        print(f"  {order}: {wrong}")
    print("PASSED" if report.passed else "FAILED")
    sys.exit(0 if report.passed else 1)


async def _run(
    shipments: int, faults: float, kill_every: float, pace: float, speed: float, seed: int, arq: bool
) -> Report:
    with tempfile.TemporaryDirectory(prefix="acorn-shipments-") as made:
        directory = Path(made)
        engines = await asyncio.to_thread(start, directory / "engines", throwaway=True)
        try:
            await asyncio.to_thread(migrate.upgrade, engines.database_url)
            # Two in five orders of the sandboxes can be shipped by us.
            world = int(shipments * 2.6) + 40
            async with stage(engines.database_url, engines.redis_url, directory, orders=world, speed=speed) as on:
                return await rehearse(
                    on, shipments=shipments, faults=faults, kill_every_s=kill_every, pace=pace, seed=seed, arq=arq
                )
        finally:
            await asyncio.to_thread(engines.stop)


if __name__ == "__main__":
    typer.run(main)
