"""How many deliveries a second one worker makes to 1, 20 and 200 endpoints, beside bare posts of the same bodies.

    python -m benchmarks.webhooks_out [--deliveries 4000]

Orders have changed, each once. From then on the worker's loop makes the deliveries, reads the orders, signs, posts and notes what
came of it, until each delivery is noted as taken. The receiver is a process of its own that answers 204 at once. The baselines
are nothing but posts, by aiohttp and by httpx, as many abreast as one endpoint is sent at most: no rows, no order, no signature,
no second try. Exit code 0 only when the receiver heard each delivery once. Starts engines of its own.
"""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import aiohttp
import httpx
import typer
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, select

from adapters.budget import Budgets
from adapters.outside import Guard, Outside
from adapters.route import Routes
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, ChannelSku, OrderId, line_id, order_id
from domain.money import Money
from domain.order import Order, OrderLine, OrderStatus
from domain.product import FulfilledBy, SkuMap
from domain.target import Reach
from domain.webhook import NewWebhook
from gateway.engines import start
from store import api_key, event, migrate, order, webhook
from store.budget import BudgetMemory
from store.keyring import Keyring
from store.session import Store
from store.tables import webhook as webhooks
from store.tables import webhook_delivery
from workers.deps import Deps, WebhookTerms
from workers.webhooks_out import MOST_TO_ONE, WebhooksOut

SHOP = ChannelId("shop")
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
ID = re.compile(rb"webhook-id: *(\S+)", re.IGNORECASE)
BODY = b'{"specversion":"1.0","data":"' + b"x" * 1_000 + b'"}'


class Receiver(asyncio.Protocol):
    """Answers 204 and keeps the path and the id of what came."""

    def __init__(self, heard: Counter[tuple[bytes, bytes]]) -> None:
        self._heard = heard
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody called."""
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport

    def data_received(self, data: bytes) -> None:
        """Part of a request, or more than one."""
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end]
            length = LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._rest) < whole:
                return
            self._rest = self._rest[whole:]
            id = ID.search(head)
            self._heard[head.split(b" ", 2)[1], id[1] if id else b""] += 1
            self._wire.write(b"HTTP/1.1 204 No Content\r\n\r\n")


def receive(wire: Connection) -> None:
    """Say the port, then, whenever asked, how many different deliveries came and how many came again."""

    async def serve() -> None:
        heard: Counter[tuple[bytes, bytes]] = Counter()
        server = await asyncio.get_running_loop().create_server(lambda: Receiver(heard), "127.0.0.1", 0)
        wire.send(server.sockets[0].getsockname()[1])
        while await asyncio.to_thread(wire.recv):
            wire.send((len(heard), heard.total() - len(heard)))
            heard.clear()

    asyncio.run(serve())


@dataclass(slots=True)
class Bench:
    """What is measured, and what it posts to."""

    store: Store
    deps: Deps
    url: str
    wire: Connection

    def heard(self) -> tuple[int, int]:
        """(different deliveries since the last look, how many of them came again)."""
        self.wire.send(True)
        found: tuple[int, int] = self.wire.recv()
        return found


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Engines, a key, a receiver in a process of its own."""
    async with AsyncExitStack() as stack:
        engines = start(Path(stack.enter_context(tempfile.TemporaryDirectory())), throwaway=True)
        stack.callback(engines.stop)
        migrate.upgrade(engines.database_url)
        store, redis = Store(engines.database_url), Redis.from_url(engines.redis_url)
        stack.push_async_callback(store.close)
        stack.push_async_callback(redis.aclose)
        async with store.begin() as tx:
            await api_key.create(tx, "key", "me", "hash", ["admin"], None)
        here, there = multiprocessing.get_context("spawn").Pipe()
        receiver = multiprocessing.get_context("spawn").Process(target=receive, args=(there,), daemon=True)
        receiver.start()
        stack.callback(receiver.kill)
        deps = Deps(
            store=store,
            ports={},
            channels={},
            locations=[],
            sku_map=SkuMap(),
            redis=redis,
            clock=lambda: datetime.now(UTC),
            worker="benchmark",
            routes=Routes(Budgets(redis, BudgetMemory(store))),
            ring=Keyring([Fernet.generate_key().decode()]),
            webhooks=WebhookTerms(Reach(loopback=True)),
        )
        yield Bench(store, deps, f"http://127.0.0.1:{await asyncio.to_thread(here.recv)}", here)


def an_order(number: str) -> Order:
    """As a shop tells it."""
    id, now, price = order_id(SHOP, number), datetime.now(UTC), Money(Decimal("19.90"), "EUR")
    lines = [
        OrderLine(
            line_id(id, f"{number}-{n}"), f"{number}-{n}", ChannelSku(f"TEE-{n}"), 2, 0, unit_price=price, total=price
        )
        for n in range(2)
    ]
    return Order(
        id, SHOP, None, number, OrderStatus.UNSHIPPED, "UNFULFILLED", FulfilledBy.MERCHANT, now, now, lines, total=price
    )


async def changed(on: Bench, endpoints: int, orders: int) -> None:
    """So many endpoints of nobody else, and that many orders that have changed since."""
    placed = [an_order(f"{endpoints}-{number}") for number in range(orders)]
    async with on.store.begin() as tx:
        await tx.execute(webhooks.delete())
        for number in range(endpoints):
            id, secret = webhook.new_id(), "whsec_" + base64.b64encode(os.urandom(32)).decode()
            new = NewWebhook(f"{on.url}/{number}", ("order.changed.v1",))
            await webhook.create(tx, id, new, "me", on.deps.ring.seal(webhook.seal_name(id), secret))
        await order.upsert(tx, placed)
        ids: list[OrderId] = [one.id for one in placed]
        await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, id, {"id": id, "channel": SHOP}) for id in ids])
    async with on.store.begin() as tx:
        while await event.relay(tx):
            pass


async def ours(on: Bench, deliveries: int) -> None:
    """Until all are noted as taken."""
    outside = Outside(Guard(on.deps.webhooks.reach))
    loop = asyncio.create_task(WebhooksOut(on.deps, lambda: None, outside).run())
    taken = select(func.count()).select_from(webhook_delivery).where(webhook_delivery.c.state == "DELIVERED")
    left = deliveries
    while left and not loop.done():
        # Counting costs as well: the fewer are left, the more often.
        await asyncio.sleep(min(1.0, max(0.02, left / 4_000)))
        async with on.store.begin() as tx:
            left = deliveries - (await tx.scalar(taken) or 0)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await outside.close()


async def abreast(count: int, post: Callable[[int], Awaitable[object]]) -> None:
    """Call `post` with each number, as many at once as one endpoint is sent at most."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await post(number)

    await asyncio.gather(*(some() for _ in range(MOST_TO_ONE)))


async def by_aiohttp(on: Bench, deliveries: int, endpoints: int) -> None:
    """The baseline."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post(number: int) -> None:
            headers = {"webhook-id": str(number)}
            async with session.post(f"{on.url}/{number % endpoints}", data=BODY, headers=headers) as answer:
                await answer.read()

        await abreast(deliveries, post)


async def by_httpx(on: Bench, deliveries: int, endpoints: int) -> None:
    """The other one."""
    async with httpx.AsyncClient(trust_env=False) as client:

        async def post(number: int) -> None:
            headers = {"webhook-id": str(number)}
            await client.post(f"{on.url}/{number % endpoints}", content=BODY, headers=headers)

        await abreast(deliveries, post)


async def rate(on: Bench, deliveries: int, work: Awaitable[None]) -> tuple[float, float, bool]:
    """(deliveries a second, processor milliseconds of this process for each, whether each was heard once)."""
    on.heard()
    at, spent = time.perf_counter(), time.process_time()
    await work
    took, spent = time.perf_counter() - at, time.process_time() - spent
    return deliveries / took, spent / deliveries * 1000, on.heard() == (deliveries, 0)


async def run(deliveries: int, endpoints: Sequence[int]) -> bool:
    """Print a line for each number of endpoints; whether all was heard once."""
    good = True
    print(
        f"{'endpoints':>9}{'ours/s':>9}{'ms each':>9}{'aiohttp/s':>11}{'ms each':>9}{'httpx/s':>9}"
        f"{'of aiohttp':>12}{'of httpx':>10}"
    )
    async with bench() as on:
        for many in endpoints:
            posts, posts_ms, heard = await rate(on, deliveries, by_aiohttp(on, deliveries, many))
            others, _, also = await rate(on, deliveries, by_httpx(on, deliveries, many))
            await changed(on, many, deliveries // many)
            made, made_ms, once = await rate(on, deliveries, ours(on, deliveries))
            good = good and heard and also and once
            print(
                f"{many:>9}{made:>9.0f}{made_ms:>9.2f}{posts:>11.0f}{posts_ms:>9.2f}{others:>9.0f}"
                f"{made / posts:>12.2f}{made / others:>10.2f}"
            )
    return good


def main(
    deliveries: Annotated[int, typer.Option(min=200, help="Deliveries of a run; a multiple of 200.")] = 4_000,
) -> None:
    """Measure; exit code 1 where something was lost or came twice."""
    if not asyncio.run(run(deliveries - deliveries % 200, (1, 20, 200))):
        print("not each delivery was heard once")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
