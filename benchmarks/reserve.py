"""Reservations a second: a crowd on one hot SKU, and one spread over 10,000 SKUs; ours beside a plain SELECT … FOR UPDATE.

    python -m benchmarks.reserve [--seconds 5] [--concurrency 20]

Both run in the same run, in turns, against the same PostgreSQL, through the same pool. The plain version keeps two columns in a
table of its own: it locks the SKU's row, looks, writes the new count and a row for the reservation. It knows no ledger, no holds
that end, no events, no kits and no idempotency keys; ours does all that. At the end what is held is counted for both.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
from sqlalchemy import text

from domain.ids import Sku
from domain.reservation import ReservedLine
from gateway.engines import start
from store import migrate, reservation
from store.session import Store

SKUS = 10_000
UNITS = 100_000_000
LEAST_RATIO = 0.25
TURNS = 2

Reserve = Callable[[Store, Sku], Awaitable[None]]


@dataclass(slots=True)
class Result:
    """What one turn came to."""

    count: int
    seconds: float
    took_ms: list[float]

    @property
    def rate(self) -> float:
        return self.count / self.seconds


async def ours(store: Store, sku: Sku) -> None:
    """A reservation as the house makes it."""
    async with store.begin() as tx:
        await reservation.reserve(
            tx,
            requested_by="benchmark",
            idempotency_key=str(uuid4()),
            request_hash="h",
            lines=[ReservedLine(sku, 1)],
            ttl_s=3600,
        )


async def plain(store: Store, sku: Sku) -> None:
    """A reservation as one writes it first: lock, look, write."""
    async with store.begin() as tx:
        left = await tx.scalar(_LOOK, {"sku": sku})
        assert left is not None
        assert left > 0
        await tx.execute(_TAKE, {"sku": sku})
        await tx.execute(_NOTE, {"id": str(uuid4()), "sku": sku})


_LOOK = text("select on_hand - held from plain_stock where sku = :sku for update")
_TAKE = text("update plain_stock set held = held + 1 where sku = :sku")
_NOTE = text(
    "insert into plain_reservation (id, sku, quantity, expires_at) values (:id, :sku, 1, now() + interval '1 hour')"
)

_PREPARE = (
    "create table plain_stock (sku text primary key, on_hand bigint not null, held bigint not null)",
    "create table plain_reservation (id text primary key, sku text not null references plain_stock, "
    "quantity integer not null, expires_at timestamptz not null)",
    f"insert into product (sku, title) select 'SKU-' || n, 'Product ' || n from generate_series(1, {SKUS}) n",
    "insert into stock_entry (sku, location, kind, on_hand, reason, actor, source) "
    f"select sku, 'main', 'OPENING', {UNITS}, 'benchmark', 'benchmark', 'benchmark' from product",
    f"insert into plain_stock select sku, {UNITS}, 0 from product",
)


async def crowd(store: Store, reserve: Reserve, skus: list[Sku], seconds: float, concurrency: int) -> Result:
    """So many buyers, each of whom reserves one unit after the other."""
    dice = random.Random(7)
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def buyer() -> None:
        while (begun := time.perf_counter()) < end:
            await reserve(store, dice.choice(skus))
            took.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*(buyer() for _ in range(concurrency)))
    return Result(len(took), time.perf_counter() - begun, took)


async def rehearse(url: str, seconds: float, concurrency: int) -> bool:
    """Print the table; True when ours keeps up and nobody promised too much."""
    store = Store(url, pool_size=concurrency, application_name="acorn-benchmark")
    try:
        async with store.begin() as tx:
            for statement in _PREPARE:
                await tx.execute(text(statement))
        sys.stdout.write(f"{concurrency} buyers, {TURNS} turns of {seconds:g} s each, one unit a reservation\n")
        sys.stdout.write(f"{'':<22}{'reserved/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'x plain':>9}\n")
        good, made = True, {"ours": 0, "plain": 0}
        for name, skus in (
            ("one hot SKU", [Sku("SKU-1")]),
            (f"{SKUS:,} SKUs", [Sku(f"SKU-{n + 1}") for n in range(SKUS)]),
        ):
            best: dict[str, Result] = {}
            for _ in range(TURNS):
                for who, reserve in (("plain", plain), ("ours", ours)):
                    result = await crowd(store, reserve, skus, seconds, concurrency)
                    made[who] += result.count
                    best[who] = max(result, best.get(who, result), key=lambda one: one.rate)
            for who in ("plain", "ours"):
                one = best[who]
                ratio = one.rate / best["plain"].rate
                good = good and ratio >= LEAST_RATIO
                percentiles = statistics.quantiles(one.took_ms, n=100, method="inclusive")
                sys.stdout.write(
                    f"{name + ', ' + who:<22}{one.rate:>12.0f}{percentiles[49]:>9.1f}{percentiles[98]:>9.1f}{ratio:>9.2f}\n"
                )
        return await _counted(store, made) and good
    finally:
        await store.close()


async def _counted(store: Store, made: dict[str, int]) -> bool:
    """Whether what is held is what was reserved."""
    async with store.begin() as tx:
        held = {
            "ours": await tx.scalar(text("select sum(held) from sku_stock")),
            "plain": await tx.scalar(text("select sum(held) from plain_stock")),
        }
    wrong = [who for who, count in made.items() if held[who] != count]
    sys.stdout.write(f"held as reserved: {'no, ' + ', '.join(wrong) if wrong else 'yes'}\n")
    return not wrong


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each turn.")] = 5.0,
    concurrency: Annotated[int, typer.Option(min=1, help="Buyers at once, each with a connection.")] = 20,
) -> None:
    """Measure reservations; exit 1 when ours falls behind or a count is wrong."""
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = start(Path(folder) / "engines", environ=dict(os.environ), throwaway=True)
        try:
            migrate.upgrade(engines.database_url)
            good = asyncio.run(rehearse(engines.database_url, seconds, concurrency))
        finally:
            engines.stop()
    if not good:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
