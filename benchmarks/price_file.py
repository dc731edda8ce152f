"""A file of prices from its bytes to an operation whose rows wait for their lanes, beside reading the same bytes as CSV alone.

    python -m benchmarks.price_file [--rows 100000]

Everything is production's: the reader, the file's rows in PostgreSQL, guards, operation, history. The peak is the process's.
Each row changes the price of one listing by a little; a second file changes all of them again and takes the place of the first.
"""

from __future__ import annotations

import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from sqlalchemy import text

from domain.channel import Channel, Platform
from domain.ids import ChannelId
from gateway.engines import start
from gateway.price_file import Wanted, keep
from store import migrate, price_desk, price_file
from store.price_file import PriceFile
from store.session import Store
from workers.price_files import HAND_S, work

SHOP = Channel(ChannelId("shop"), Platform.SHOPIFY, "Shop", sandbox=True)
CATALOG = (
    "insert into product (sku, title) select 'SKU-' || n, 'Product ' || n from generate_series(1, :rows) n",
    """
    insert into listing (id, channel, channel_sku, external_id, sku, status, fulfilled_by, price_amount, price_currency, as_of)
    select 'listing-' || n, 'shop', 'SKU-' || n, n::text, 'SKU-' || n, 'ACTIVE', 'MERCHANT', 20, 'EUR', now()
    from generate_series(1, :rows) n
    """,
    "analyze",
)


def file_of(rows: int, amount: str) -> bytes:
    """A price for each SKU."""
    return b"sku,amount,currency\n" + b"".join(b"SKU-%d,%s,EUR\n" % (n, amount.encode()) for n in range(1, rows + 1))


@contextmanager
def measured(what: str, rows: int) -> Iterator[None]:
    """Print how many rows a second it was, of how much time of the processor, and what the process has grown to."""
    began, busy = time.perf_counter(), time.process_time()
    yield
    took, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(
        f"{what:>42}: {took:6.2f} s ({busy:5.2f} s CPU), {rows / took:9,.0f} rows/s, process {peak:5.0f} MiB at its peak\n"
    )
    sys.stdout.flush()


def now() -> datetime:
    """The clock of what is measured."""
    return datetime.now(UTC)


async def kept(store: Store, content: bytes, *, dry_run: bool = False) -> PriceFile:
    """The file, as a worker takes it in hand."""
    await keep(store, BytesIO(content), Wanted("benchmark", dry_run=dry_run))
    async with store.begin() as tx:
        file = await price_file.claim(tx, HAND_S)
    assert file is not None
    return file


async def run(url: str, rows: int) -> bool:
    """Whether every row became one of an operation."""
    store = Store(url, statement_timeout_s=300)
    try:
        async with store.begin() as tx:
            for statement in CATALOG:
                await tx.execute(text(statement), {} if statement == "analyze" else {"rows": rows})
        with measured("CSV alone", rows):
            assert sum(1 for _ in csv.reader(StringIO(file_of(rows, "20.10").decode()))) == rows + 1
        taken = 0
        for what, amount in (("first file", "20.10"), ("second file, in place of the first", "20.20")):
            with measured(f"{what}: read and kept", rows):
                file = await kept(store, file_of(rows, amount))
            with measured(f"{what}: resolved, judged, released", rows):
                await work(store, {SHOP.id: SHOP}, file, now)
            async with store.begin() as tx:
                found = await price_file.by_id(tx, file.id)
            assert found is not None
            sys.stdout.write(f"{'':>44}{ {one.value: count for one, count in found.counts.items()} }\n")
            taken += sum(found.counts.values()) if found.operation is not None else 0
        file = await kept(store, file_of(rows, "20.30"), dry_run=True)
        with measured("preview: resolved, judged", rows):
            await work(store, {SHOP.id: SHOP}, file, now)
        async with store.begin() as tx:
            found = await price_file.by_id(tx, file.id)
        assert found is not None
        assert found.operation is not None
        with measured("preview: approved", rows):
            async with store.begin() as tx:
                await price_desk.approve(tx, found.operation, "somebody else", now())
    finally:
        await store.close()
    return taken == 2 * rows


def main(rows: Annotated[int, typer.Option(help="rows of each file")] = 100_000) -> None:
    """Print the speeds, and fail when a row was lost."""
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = start(Path(folder), environ=dict(os.environ), throwaway=True)
        try:
            migrate.upgrade(engines.database_url)
            whole = uvloop.run(run(engines.database_url, rows))
        finally:
            engines.stop()
    raise typer.Exit(0 if whole else 1)


if __name__ == "__main__":
    typer.run(main)
