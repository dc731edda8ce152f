"""What the log of calls takes: calls of the Amazon port to the sandbox, without it and with it in turn.

    python -m benchmarks.raw_log [--rounds 15] [--calls 250]

Everything is production's: port, budgets in Redis, the log in PostgreSQL. The time of a call is what its asker waits while ten
ask side by side and the log goes on beside, of a platform that answers after 50 ms; Amazon takes longer. The goal is for that.
The processor is that of this process with all its threads, until the last call is kept, of a platform that answers at once. The
quickest quarter of the rounds is compared, since what else the machine does only adds.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeAlias

import httpx
import typer
import uvloop
from redis.asyncio import Redis

from adapters.amazon.config import AmazonConfig
from adapters.amazon.platform import AmazonPort
from adapters.budget import Budgets
from adapters.call_log import CallLog
from adapters.port import OrderKey, StockKey
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.channel import Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, ChannelSku, LocationCode
from gateway.engines import start
from gateway.memory import settle
from sandbox.visit import serving
from store import migrate
from store.budget import BudgetMemory
from store.exchange import ExchangeLog
from store.session import Store

GOAL = 1.05
AT_ONCE = 10
ANSWERS_AFTER_S = 0.05
PLANS = {name: {"rate": 100_000, "burst": 100_000} for name in ("getInventorySummaries", "getOrder")}

Work: TypeAlias = Callable[[AmazonPort], Awaitable[object]]


def port_of(url: str, redis: Redis, store: Store, transport: Transport) -> AmazonPort:
    """The sandbox's account in the USA, as the gateway would build it."""
    config = AmazonConfig(
        channel=Channel(ChannelId("amazon-na"), Platform.AMAZON, "Amazon", sandbox=True, marketplaces=("US",)),
        region="na",
        seller_id="A1SANDBOXNA",
        client_id="amzn1.application-oa2-client.sandbox",
        client_secret="sandbox-secret",
        refresh_token="Atzr|sandbox-na",
        endpoint=url,
    )
    return AmazonPort(config, transport, TokenStore(redis), Budgets(redis, BudgetMemory(store)))


def works(skus: Sequence[str], orders: Sequence[str]) -> dict[str, Work]:
    """What is measured: the heaviest usual answer, and a light one."""
    channel = ChannelId("amazon-na")
    pool = Location(LocationCode("fba-us"), "FBA US", LocationKind.FBA, channel, external_id="US", marketplaces=("US",))
    keys = [StockKey(ChannelSku(sku)) for sku in skus[:50]]
    order = OrderKey(orders[0], "US")
    return {
        "stock of 50 SKUs": lambda port: port.stock([pool], keys, Ask()),
        "one order": lambda port: port.order(order, Ask()),
    }


async def measured(port: AmazonPort, work: Work, calls: int, log: CallLog | None) -> float:
    """Milliseconds of processor a call."""
    before, began = 0 if log is None else log.kept, time.process_time()
    for _ in range(calls // AT_ONCE):
        await asyncio.gather(*(work(port) for _ in range(AT_ONCE)))
    while log is not None and log.kept < before + calls // AT_ONCE * AT_ONCE:
        assert not log.dropped
        await asyncio.sleep(0.05)
    return (time.process_time() - began) * 1000 / calls


async def waited(port: AmazonPort, work: Work, calls: int) -> float:
    """Milliseconds that an asker waits for a call."""

    async def ask() -> float:
        began = time.perf_counter()
        for _ in range(calls // AT_ONCE):
            await work(port)
        return time.perf_counter() - began

    spent = await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return sum(spent) * 1000 / (calls // AT_ONCE * AT_ONCE)


@dataclass(slots=True)
class Found:
    """(without the log, with it), round by round, in milliseconds a call."""

    time: list[tuple[float, float]] = field(default_factory=list)
    processor: list[tuple[float, float]] = field(default_factory=list)


async def slowed(url: str) -> None:
    """From now on the platform takes its time for an answer."""
    rule = {"operation": "*", "kind": "latency", "seconds": ANSWERS_AFTER_S, "count": 1_000_000}
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        (await http.post("/_sandbox/faults", json={"faults": [rule]})).raise_for_status()


async def compare(rounds: int, calls: int, database_url: str, redis_url: str) -> dict[str, Found]:
    """What was measured of each work."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving("amazon", products=400, orders=50))
        async with httpx.AsyncClient(base_url=url, timeout=30) as http:
            (await http.post("/_sandbox/plans", json=PLANS)).raise_for_status()
            world = (await http.get("/_sandbox/world?limit=500")).raise_for_status().json()
        store, redis = Store(database_url), Redis.from_url(redis_url)
        stack.push_async_callback(store.close)
        stack.push_async_callback(redis.aclose)
        log = CallLog(ExchangeLog(store).keep)
        stack.push_async_callback(log.settle)
        ports = {}
        for hears, hear in ((False, None), (True, log.hear)):
            transport = Transport(hear=hear)
            stack.push_async_callback(transport.close)
            ports[hears] = port_of(url, redis, store, transport)
        skus = [one["sku"] for one in world["skus"] if one["fulfilledBy"] == "AMAZON" and "US" in one["marketplaces"]]
        orders = [one["id"] for one in world["orders"] if one["marketplace"] == "US"]
        found: dict[str, Found] = {}
        settle()  # garbage is collected as in the gateway
        for what, work in works(skus, orders).items():
            for hears, port in ports.items():
                await measured(port, work, AT_ONCE * 3, log if hears else None)
            found[what] = Found()
            for _ in range(rounds):
                without = await measured(ports[False], work, calls, None)
                found[what].processor.append((without, await measured(ports[True], work, calls, log)))
        await slowed(url)
        for what, work in works(skus, orders).items():
            for _ in range(rounds):
                without, before = await waited(ports[False], work, calls), log.kept
                found[what].time.append((without, await waited(ports[True], work, calls)))
                while log.kept < before + calls // AT_ONCE * AT_ONCE:
                    assert not log.dropped
                    await asyncio.sleep(0.05)
        return found


def main(
    rounds: Annotated[int, typer.Option(help="rounds of each kind")] = 15,
    calls: Annotated[int, typer.Option(help="calls of each round")] = 250,
) -> None:
    """Print what the quickest quarter of the rounds took at most, and whether the goal is met."""
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = start(Path(folder), environ=dict(os.environ), throwaway=True)
        try:
            migrate.upgrade(engines.database_url)
            found = uvloop.run(compare(rounds, calls, engines.database_url, engines.redis_url))
        finally:
            engines.stop()
    sys.stdout.write("\nmilliseconds a call\n\n")
    met = True
    for what, each in found.items():
        for kind, pairs in (("time", each.time), ("processor", each.processor)):
            # What else the machine does only adds to a round.
            without, with_ = (statistics.quantiles(one, n=4)[0] for one in zip(*pairs, strict=True))
            ratio, goal = with_ / without, ""
            if kind == "time":
                met = met and ratio <= GOAL
                goal = f", goal {GOAL}: {'met' if ratio <= GOAL else 'NOT MET'}"
            sys.stdout.write(
                f"{what:>17}, {kind:>9}: {without:.3f} without the log, {with_:.3f} with it, ratio {ratio:.3f}{goal}\n"
            )
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
