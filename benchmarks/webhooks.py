"""How soon a shop's deliveries are answered: while PostgreSQL is well, while it is slow, and while it does not answer at all.

    python -m benchmarks.webhooks [--deliveries 2000] [--abreast 8]

The gateway is production's on its own server, the deliveries are signed and come over connections that stay open. PostgreSQL is
made slow by a trigger that sleeps, and silent by a lock on the table of hints. The baseline is the same gateway with one
transaction for each delivery. Each line says how many of the answers were durable in Redis, and after each run all are counted
in PostgreSQL.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import typer
import uvloop
from pydantic import SecretStr
from sqlalchemy import func, select, text

from adapters.notices import Kept
from benchmarks.whole import served
from gateway import metrics
from gateway.app import App
from gateway.engines import start
from gateway.inbox import Inbox
from gateway.settings import Settings
from gateway.webhooks import PREFIX, Webhooks
from store import migrate
from store.session import Store
from store.tables import hint
from workers.hints import take
from workers.spill import drain

SHOP, SECRET = "acorn.myshopify.com", "hush"
GOAL_MS = 50.0
SLOW_S = 0.1
SILENT_S = 3.0
CONFIG = f"""
[[channels]]
id = "shop"
platform = "shopify"
name = "The shop"
shop = "{SHOP}"
access_token = "shpat_benchmark"
client_secret = "{SECRET}"
endpoint = "http://127.0.0.1:9"
"""
SLEEP = f"""
create function benchmark_sleep() returns trigger language plpgsql as $$ begin perform pg_sleep({SLOW_S}); return new; end $$
"""


class Alone(Inbox):
    """The baseline: one transaction for each delivery, however long it takes."""

    async def keep(self, told: Sequence[Kept]) -> None:
        async with self._store.begin() as tx:
            await take(tx, told)


def delivery(number: int) -> bytes:
    """A request as a shop sends it."""
    body = b'{"id":%d,"updated_at":"2026-11-23T03:59:58-08:00"}' % (820982911946154508 + number)
    signature = base64.b64encode(hmac.digest(SECRET.encode(), body, hashlib.sha256)).decode()
    lines = (
        "POST /webhooks/shopify/shop HTTP/1.1",
        "host: acorn",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "x-shopify-topic: orders/updated",
        f"x-shopify-shop-domain: {SHOP}",
        f"x-shopify-hmac-sha256: {signature}",
        f"x-shopify-webhook-id: {uuid4()}",
        f"x-shopify-triggered-at: {datetime.now(UTC).isoformat()}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def send(port: int, count: int, abreast: int, until: float | None = None) -> list[float]:
    """The seconds that each answer took; until a time where given, however few those are."""
    took: list[float] = []

    async def one(numbers: range) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            if until is not None and time.perf_counter() > until:
                break
            sent_at = time.perf_counter()
            writer.write(delivery(number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise typer.BadParameter(head.decode().partition("\r\n")[0])
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            took.append(time.perf_counter() - sent_at)
        writer.close()

    await asyncio.gather(*(one(range(start, count, abreast)) for start in range(abreast)))
    return took


@asynccontextmanager
async def well(store: Store) -> AsyncIterator[None]:
    """As it is."""
    yield


@asynccontextmanager
async def slow(store: Store) -> AsyncIterator[None]:
    """Each statement that keeps hints takes a tenth of a second longer."""
    async with store.begin() as tx:
        await tx.execute(text(SLEEP))
        await tx.execute(text("create trigger benchmark_slow before insert on hint execute function benchmark_sleep()"))
    yield
    async with store.begin() as tx:
        await tx.execute(text("drop function benchmark_sleep() cascade"))


@asynccontextmanager
async def silent(store: Store) -> AsyncIterator[None]:
    """Nobody gets at the table of hints."""
    async with store.begin() as tx:
        await tx.execute(text("lock table hint in access exclusive mode"))
        yield


async def measure(app: App, port: int, deliveries: int, abreast: int) -> float:
    """Print a line for each state of PostgreSQL; the worst p99 of ours in milliseconds."""
    house = app.standing.house
    webhooks = app._others[PREFIX]
    assert isinstance(webhooks, Webhooks)
    worst = 0.0
    print(f"{'PostgreSQL':<12}{'inbox':<10}{'answers':>9}{'p50 ms':>9}{'p99 ms':>9}{'by Redis':>10}")
    for state, how in (("well", well), ("slow", slow), ("silent", silent)):
        for name, inbox in (("baseline", Alone(house.store, house.redis)), ("ours", Inbox(house.store, house.redis))):
            webhooks._inbox = inbox
            before = metrics.DELIVERIES.labels("redis")._value.get()
            rows = await kept(house.store)
            if state == "silent" and name == "baseline":
                print(f"{state:<12}{name:<10}{0:>9}{'none while it lasts':>28}")
                continue
            async with how(house.store):
                until = None if state == "well" else time.perf_counter() + SILENT_S
                took = sorted(await send(port, deliveries, abreast, until))
            spilled = int(metrics.DELIVERIES.labels("redis")._value.get() - before)
            await inbox.close()
            while await drain(house.redis, house.store):
                pass
            if await kept(house.store) - rows != len(took):
                raise typer.BadParameter("an answer was given for what is not there")
            p50, p99 = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))
            worst = max(worst, p99) if name == "ours" else worst
            print(f"{state:<12}{name:<10}{len(took):>9}{p50:>9.1f}{p99:>9.1f}{spilled:>10}")
    return worst


async def kept(store: Store) -> int:
    """Hints there are."""
    async with store.begin() as tx:
        return await tx.scalar(select(func.count()).select_from(hint)) or 0


async def run(deliveries: int, abreast: int) -> float:
    """The whole measurement, on engines of its own."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines = start(folder, throwaway=True)
        stack.callback(engines.stop)
        migrate.upgrade(engines.database_url)
        (folder / "acorn.toml").write_text(CONFIG, encoding="utf-8")
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of it
            database_url=SecretStr(engines.database_url),
            redis_url=SecretStr(engines.redis_url),
            config=folder / "acorn.toml",
            arq=False,
        )
        app = App(settings)
        _, url = await stack.enter_async_context(served(app, connection_limit=1_000, stop_within_s=20))
        return await measure(app, int(url.rpartition(":")[2]), deliveries, abreast)


def main(
    deliveries: Annotated[int, typer.Option(min=100, help="Deliveries of a run.")] = 2000,
    abreast: Annotated[int, typer.Option(min=1, help="Connections.")] = 8,
) -> None:
    """Measure, and say whether the goal is met."""
    worst = uvloop.run(run(deliveries, abreast))
    print(f"the worst p99 of ours: {worst:.1f} ms, goal {GOAL_MS:g} ms")


if __name__ == "__main__":
    typer.run(main)
