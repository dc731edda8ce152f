"""How long a storefront waits for stock: 1, 50 and 250 SKUs, cold and warm, among 10,000 and among 1,000,000 SKUs.

    python -m benchmarks.stock_read [--few 10000] [--many 1000000] [--queries 200]

Cold is the first question for SKUs that nobody has asked for; warm is the same question again. The answer's cost must not grow
with the catalog: the last column is the warm time among many SKUs over that among few, in the same run.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.whole import STOREFRONT, key_for, served
from gateway.app import App
from gateway.engines import start
from gateway.settings import Settings
from store import migrate
from store.session import Store

STOCK = 'query($skus: [String!]!) { stock(skus: $skus, maxAge: "P1D") { sku availableToSell freshness asOf } }'
SIZES = (1, 50, 250)
BOUND = 1.5  # warm, among a hundred times as many SKUs

# Nothing is asked of these addresses: every reading is young enough.
CONFIG = """\
[[channels]]
id = "amazon-us"
platform = "amazon"
name = "Amazon US"
region = "na"
marketplaces = ["US"]
seller_id = "A1"
client_id = "id"
client_secret = "secret"
refresh_token = "token"
endpoint = "http://127.0.0.1:9"

[[channels]]
id = "shop"
platform = "shopify"
name = "Shop"
shop = "shop.myshopify.com"
access_token = "token"
endpoint = "http://127.0.0.1:9"

[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"

[locations.shown]
shop = "gid://shopify/Location/1"
"""

# A product with a listing on both sides, units in the ledger and in FBA.
SEED = (
    "insert into product (sku, title) select 'SKU-' || n, 'Thing ' || n from generate_series(1, :count) n",
    """insert into listing (id, channel, marketplace, channel_sku, external_id, sku, status, fulfilled_by, as_of)
    select 'a' || n, 'amazon-us', 'US', 'SKU-' || n, 'B' || n, 'SKU-' || n, 'ACTIVE', 'CHANNEL', now()
    from generate_series(1, :count) n""",
    """insert into listing (id, channel, marketplace, channel_sku, external_id, sku, status, fulfilled_by, as_of)
    select 's' || n, 'shop', '', 'SKU-' || n, 'V' || n, 'SKU-' || n, 'ACTIVE', 'MERCHANT', now()
    from generate_series(1, :count) n""",
    """insert into stock_level (location, channel, channel_sku, on_hand, reserved, inbound, as_of)
    select 'fba-us', 'amazon-us', 'SKU-' || n, n % 90, 0, 0, now() from generate_series(1, :count) n""",
    """insert into stock_entry (sku, location, kind, on_hand, reason, actor, source)
    select 'SKU-' || n, 'BER', 'RECEIPT', n % 50 + 1, 'seed', 'benchmark', 'benchmark'
    from generate_series(1, :count) n""",
    # What the triggers would have written, in one go.
    """insert into stock_balance (sku, location, on_hand, reserved, inbound, changed_at)
    select sku, location, on_hand, 0, 0, at from stock_entry""",
    """insert into sku_stock (sku, on_hand, elsewhere, dirty_since)
    select 'SKU-' || n, n % 50 + 1, n % 90, null from generate_series(1, :count) n""",
)


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds of one size among one catalog: medians."""

    skus: int
    cold: float
    warm: float


async def seed(tx: AsyncConnection, count: int) -> None:
    """`count` SKUs. The triggers are left out: a million times they would be most of this benchmark."""
    await tx.execute(text("set local statement_timeout = 0"))
    await tx.execute(text("set local session_replication_role = replica"))
    for statement in SEED:
        await tx.execute(text(statement), {"count": count} if ":count" in statement else {})


async def measure(http: httpx.AsyncClient, count: int, queries: int) -> list[Row]:
    """Each size: a tenth as many cold questions as warm ones."""
    chance = random.Random(7)
    rows = []
    for size in SIZES:
        cold, warm = [], []
        for _ in range(max(5, queries // 10)):
            skus = [f"SKU-{number}" for number in chance.sample(range(1, count + 1), size)]
            cold.append(await _ask(http, skus))
            warm += [await _ask(http, skus) for _ in range(10)]
        rows.append(Row(size, statistics.median(cold), statistics.median(warm)))
    return rows


async def _ask(http: httpx.AsyncClient, skus: list[str]) -> float:
    begun = time.perf_counter()
    answer = await http.post("/graphql", json={"query": STOCK, "variables": {"skus": skus}})
    took = (time.perf_counter() - begun) * 1000
    told = answer.json()
    assert "errors" not in told, told["errors"]
    assert [one["sku"] for one in told["data"]["stock"]] == skus
    assert all(one["freshness"] in ("FRESH", "LIVE") for one in told["data"]["stock"])
    return took


async def among(count: int, queries: int) -> list[Row]:
    """The whole measurement over a catalog of `count`, on engines of its own."""
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = await asyncio.to_thread(start, Path(folder) / "engines", environ=dict(os.environ), throwaway=True)
        try:
            await asyncio.to_thread(migrate.upgrade, engines.database_url)
            store = Store(engines.database_url)
            async with store.begin() as tx:
                await seed(tx, count)
            async with store.begin() as tx:
                await tx.execute(text("set local statement_timeout = 0"))
                await tx.execute(text("analyze"))
            await store.close()
            path = Path(folder) / "acorn.toml"
            path.write_text(CONFIG, encoding="utf-8")
            settings = Settings(
                _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a benchmark
                database_url=SecretStr(engines.database_url),
                redis_url=SecretStr(engines.redis_url),
                config=path,
            )
            app = App(settings)
            async with served(app) as (_, url):
                headers = {"authorization": f"Bearer {await key_for(app, 'storefront', STOREFRONT)}"}
                async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http:
                    return await measure(http, count, queries)
        finally:
            engines.stop()


def table(few: int, many: int, small: list[Row], large: list[Row]) -> bool:
    """Print it; whether the warm answer's cost stays."""
    write = sys.stdout.write
    write(f"\nstock(skus), milliseconds over HTTP, median; among {few:,} and among {many:,} SKUs\n\n")
    write(f"{'SKUs':>6}{'cold':>10}{'warm':>10}{'cold':>14}{'warm':>10}{'warm ratio':>14}\n")
    kept = True
    for one, other in zip(small, large, strict=True):
        ratio = other.warm / one.warm
        kept = kept and ratio <= BOUND
        write(f"{one.skus:>6}{one.cold:>10.1f}{one.warm:>10.1f}{other.cold:>14.1f}{other.warm:>10.1f}{ratio:>14.2f}\n")
    write(f"\nbound: warm ratio at most {BOUND}: {'kept' if kept else 'BROKEN'}\n")
    return kept


def main(
    few: Annotated[int, typer.Option(help="SKUs of the small catalog")] = 10_000,
    many: Annotated[int, typer.Option(help="SKUs of the large catalog")] = 1_000_000,
    queries: Annotated[int, typer.Option(help="warm queries per size")] = 200,
) -> None:
    """Print the table; exit 1 when the warm answer's cost grows with the catalog."""

    async def both() -> bool:
        return table(few, many, await among(few, queries), await among(many, queries))

    raise typer.Exit(0 if asyncio.run(both()) else 1)


if __name__ == "__main__":
    typer.run(main)
