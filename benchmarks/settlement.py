"""A settlement file from its bytes to the books, beside reading the same file as CSV alone.

    python -m benchmarks.settlement [--rows 1000000]

Everything is production's: the file is unpacked within bounds and kept as it came, then read, classified, tied row by row to its
orders and written in one transaction. Six rows are of one order, of which all but one in fifty are there. The peak is the
process's, over what it had before; the database is another process.
"""

from __future__ import annotations

import csv
import gzip
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from sqlalchemy import text

from adapters.amazon.marketplaces import told_of_stores
from adapters.amazon.settlement_file import COLUMNS, SettlementFile
from domain.channel import Channel, Platform
from domain.ids import ChannelId
from gateway.engines import start
from store import migrate
from store.finance_file import NewFile
from store.session import Store
from workers.settlement_files import bring, take

MOST_S = 20.0
MOST_MIB = 64.0
START = datetime(2026, 11, 1, tzinfo=UTC)
AMAZON = told_of_stores(Channel(ChannelId("amazon"), Platform.AMAZON, "Amazon", sandbox=True, marketplaces=("DE",)))
# Of an order of one line: what it brings, and what Amazon takes of it.
AMOUNTS = (
    ("ItemPrice", "Principal", "1"),
    ("ItemPrice", "Tax", "0.19"),
    ("ItemPrice", "Shipping", "0.2"),
    ("ItemFees", "Commission", "-0.15"),
    ("ItemFees", "FBAPerUnitFulfillmentFee", "-0.3"),
    ("ItemWithheldTax", "MarketplaceFacilitatorTax-Principal", "-0.19"),
)
SKUS = 5_000
KNOWN = (
    "insert into product (sku, title) select 'SKU-' || n, 'Product ' || n from generate_series(1, :skus) n",
    """
    insert into listing (id, channel, marketplace, channel_sku, external_id, sku, status, fulfilled_by, as_of)
    select 'listing-' || n, 'amazon', 'DE', 'SKU-' || n, n::text, 'SKU-' || n, 'ACTIVE', 'CHANNEL', now()
    from generate_series(1, :skus) n
    """,
    """
    insert into "order" (
        id, channel, marketplace, external_id, status, channel_status, fulfilled_by, placed_at, updated_at
    )
    select 'order-' || n, 'amazon', 'DE', '305-' || lpad(n::text, 7, '0') || '-1234567', 'SHIPPED', 'SHIPPED', 'CHANNEL',
        timestamptz '2026-10-30', timestamptz '2026-11-01'
    from generate_series(1, :orders) n where n % 50 <> 0
    """,
    """
    insert into order_line (id, order_id, position, external_id, channel_sku, sku, quantity, quantity_shipped)
    select 'line-' || n, 'order-' || n, 0, lpad(n::text, 14, '0'), 'SKU-' || n % :skus + 1, 'SKU-' || n % :skus + 1, 1, 1
    from generate_series(1, :orders) n where n % 50 <> 0
    """,
    "analyze",
)


def lines(rows: int) -> Iterator[tuple[dict[str, str], Decimal]]:
    """The rows of the file and their amounts: of each order six."""
    cents = Decimal("0.01")
    for number in range(rows):
        order, part = divmod(number, len(AMOUNTS))
        order += 1
        kind, description, share = AMOUNTS[part]
        amount = (Decimal(order * 7919 % 9000 + 500) / 100 * Decimal(share)).quantize(cents)
        at = START + timedelta(seconds=order * 7 % 1_000_000)
        yield (
            {
                "transaction-type": "Order",
                "order-id": f"305-{order:07d}-1234567",
                "shipment-id": f"S{order}",
                "marketplace-name": "amazon.de",
                "amount-type": kind,
                "amount-description": description,
                "amount": str(amount).replace(".", ","),
                "fulfillment-id": "AFN",
                "posted-date": f"{at:%d.%m.%Y}",
                "posted-date-time": f"{at:%d.%m.%Y %H:%M:%S} UTC",
                "order-item-code": f"{order:014d}",
                "sku": f"SKU-{order % SKUS + 1}",
                "quantity-purchased": "1" if part == 0 else "",
            },
            amount,
        )


def write(file: Path, rows: int) -> None:
    """The file, packed as Amazon's store has it."""
    whole = {
        "settlement-start-date": "01.11.2026 00:00:00 UTC",
        "settlement-end-date": "15.11.2026 00:00:00 UTC",
        "deposit-date": "17.11.2026 00:00:00 UTC",
        "total-amount": str(sum((amount for _, amount in lines(rows)), Decimal(0))).replace(".", ","),
        "currency": "EUR",
    }
    with gzip.open(file, "wt", encoding="utf-8", newline="", compresslevel=6) as opened:
        opened.write("\t".join(COLUMNS) + "\r\n")
        for line in chain([whole], (line for line, _ in lines(rows))):
            opened.write("\t".join({"settlement-id": "1", **line}.get(name, "") for name in COLUMNS) + "\r\n")


def read_as_csv(file: Path) -> float:
    """The seconds that it takes to read the file and do nothing with it."""
    began = time.perf_counter()
    with gzip.open(file, "rb") as opened:
        for _ in csv.reader(
            TextIOWrapper(opened, encoding="utf-8", newline=""), delimiter="\t", quoting=csv.QUOTE_NONE
        ):
            pass
    return time.perf_counter() - began


def peak_mib() -> float:
    """What the process has grown to at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def chunks(file: Path) -> AsyncIterator[bytes]:
    """The bytes as they lie there."""
    with file.open("rb") as opened:
        while piece := opened.read(64 * 1024):
            yield piece


async def run(url: str, file: Path, rows: int) -> bool:
    """Whether the goals are met."""
    store = Store(url)
    orders = rows // len(AMOUNTS) + 1
    try:
        async with store.begin() as tx:
            for statement in KNOWN:
                values = {"skus": SKUS, "orders": orders}
                await tx.execute(text(statement), {name: of for name, of in values.items() if f":{name}" in statement})
        alone, base = read_as_csv(file), peak_mib()
        began, busy = time.perf_counter(), time.process_time()
        laps: dict[str, float] = {}

        def tell(what: str, _done: int, _total: int) -> None:
            laps[what] = time.perf_counter() - began

        there = await bring(store, NewFile(AMAZON.id, file.name, "benchmark"), chunks(file), tell=tell)
        done = await take(store, AMAZON, SettlementFile, there.id, tell=tell)
        took, busy, over = time.perf_counter() - began, time.process_time() - busy, peak_mib() - base
    finally:
        await store.close()
    assert done.kept is not None, done.file.reason
    say(f"{rows:,} rows, {done.file.size / 1e6:.0f} MB")
    say(f"read as CSV alone           {alone:7.2f} s")
    say(f"kept as it came             {laps['kept as it came']:7.2f} s")
    say(f"read, tied, written         {laps['read'] - laps['kept as it came']:7.2f} s")
    say(f"settled                     {took - laps['read']:7.2f} s")
    say(f"in all                      {took:7.2f} s ({busy:.2f} s of this process), {rows / took:,.0f} rows/s, "
        f"{took / alone:.1f} times as CSV alone")  # fmt: skip
    say(f"peak over base              {over:7.1f} MiB (base {base:.0f} MiB)")
    say(f"tied out                    {done.kept.matched_rows:,} rows, residual {done.kept.difference.amount} EUR")
    goals = {f"at most {MOST_S:.0f} s": took <= MOST_S, f"at most {MOST_MIB:.0f} MiB over base": over <= MOST_MIB}
    say(", ".join(f"{name}: {'met' if met else 'NOT MET'}" for name, met in goals.items()))
    return all(goals.values()) and done.kept.rows == rows


def say(words: str) -> None:
    """Print a line at once."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main(rows: Annotated[int, typer.Option(help="rows of the file")] = 1_000_000) -> None:
    """Print seconds and the peak of memory, and fail when a goal is missed or a row lost."""
    with tempfile.TemporaryDirectory(prefix="acorn-bench-") as folder:
        engines = start(Path(folder), environ=dict(os.environ), throwaway=True)
        try:
            migrate.upgrade(engines.database_url)
            file = Path(folder) / "settlement.txt.gz"
            write(file, rows)
            met = uvloop.run(run(engines.database_url, file, rows))
        finally:
            engines.stop()
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
