"""Files of prices over HTTP and from the command line, and the prices of channels as a file."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.settings import Settings
from store import price_file
from store.session import Store
from tests.gateway.conftest import Acorn, Gateway, served
from tests.workers.test_price_files import HEAD, ITEMS, WANTED, count, stock_up
from workers.price_files import HAND_S, sellers, work


@pytest.fixture
async def house(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway of one shop that sells SKU-1 and SKU-2 for 20 EUR."""
    await stock_up(store, 2)
    async with served(settings) as made:
        yield made


async def work_all(gateway: Gateway) -> None:
    """What a worker does with the files there are."""
    house = gateway.app.standing.house
    while True:
        async with house.store.begin() as tx:
            file = await price_file.claim(tx, HAND_S)
        if file is None:
            return
        await work(house.store, sellers(house.ports, house.channels), file, gateway.app.standing.shelf.clock)


async def test_a_file_is_kept_at_once_worked_later_and_told_of_row_by_row(house: Gateway, store: Store) -> None:
    headers = await house.headers("prices:write", content_type="text/csv")
    content = (HEAD + "SKU-1,,21,EUR,,,\nSKU-9,,21,EUR,,,\nSKU-2,,abc,EUR,,,\nSKU-2,,2100,EUR,,,\n").encode()
    dry = await house.http.post("/prices/files?dryRun=true", content=content, headers=headers)
    kept = await house.http.post("/prices/files", content=content, headers=headers)
    assert (dry.status_code, kept.status_code) == (202, 202)
    assert kept.headers["location"] == f"/prices/files/{kept.json()['id']}" != dry.headers["location"]
    waits = kept.json()
    assert (waits["state"], waits["rows"], waits["taken"], waits["operation"]) == ("WAITING", 4, None, None)
    early = await house.http.get(waits["reportPath"], headers=headers)
    assert (early.status_code, await count(store, ITEMS)) == (409, 0)
    await work_all(house)
    told = (await house.http.get(kept.headers["location"], headers=headers)).json()
    counts = {name: told[name] for name in ("state", "dryRun", "looked", "taken", "refused", "status")}
    assert counts == {"state": "DONE", "dryRun": False, "looked": 4, "taken": 1, "refused": 3, "status": "RUNNING"}
    assert [(one["row"], one["sku"], one["result"]) for one in told["report"]] == [
        (3, "SKU-9", "refused"),
        (4, "SKU-2", "refused"),
        (5, "SKU-2", "refused"),
    ]
    report = await house.http.get(told["reportPath"], headers=headers)
    rows = list(csv.reader(io.StringIO(report.text)))
    assert rows[:3] == [
        ["row", "sku", "channel", "marketplace", "channel_sku", "result", "reason"],
        ["2", "SKU-1", "", "", "", "taken", ""],
        ["3", "SKU-9", "", "", "", "refused", "No listing of a SKU SKU-9 is known."],
    ]
    assert len(rows) == 5
    form = {"authorization": headers["authorization"]}
    again = await house.http.post("/prices/files", files={"file": ("p.csv", content, "text/csv")}, headers=form)
    assert (again.status_code, again.json()) == (200, told)
    preview = (await house.http.get(dry.headers["location"], headers=headers)).json()
    assert (preview["status"], await count(store, WANTED)) == ("PREVIEW", 1)


async def test_what_is_no_file_of_prices_is_refused_as_a_whole(house: Gateway, store: Store) -> None:
    headers = await house.headers("prices:write", content_type="text/csv")
    content = (HEAD + "SKU-1,,21,EUR,,,\n").encode()
    first = await house.http.post("/prices/files?key=monday", content=content, headers=headers)
    assert first.status_code == 202
    for wrong, expected in (
        (await house.http.post("/prices/files", content=content), 401),
        (await house.http.post("/prices/files", content=content, headers=await house.headers("orders:read")), 403),
        (await house.http.post("/prices/files", content=content, headers={**headers, "content-type": "x/y"}), 415),
        (await house.http.post("/prices/files?dryRun=1", content=content, headers=headers), 400),
        (await house.http.post("/prices/files?decimal=dot", content=content, headers=headers), 400),
        (await house.http.post("/prices/files?key=%00", content=content, headers=headers), 400),
        (await house.http.post("/prices/files", content=b"a,b\n1,2\n", headers=headers), 400),
        (await house.http.post("/prices/files", content=HEAD.encode(), headers=headers), 400),
        (await house.http.post("/prices/files?key=monday", content=content + b"SKU-2,,1,EUR,,,", headers=headers), 409),
        (await house.http.get("/prices/files", headers=headers), 405),
        (await house.http.get("/prices/files/none", headers=headers), 404),
        (await house.http.get("/prices/files/none/report.csv", headers=headers), 404),
        (await house.http.get(first.headers["location"]), 401),
        (await house.http.get(first.json()["reportPath"], headers=await house.headers("orders:read")), 403),
    ):
        assert wrong.status_code == expected, wrong.text
    assert await count(store, text("select count(*) from price_file")) == 1


def test_prices_are_exported_edited_tried_and_set(acorn: Acorn, tmp_path: Path, database_url: str) -> None:
    def ask(query: object) -> int:
        async def once() -> int:
            store = Store(database_url)
            try:
                return await count(store, query)
            finally:
                await store.close()

        return asyncio.run(once())

    async def prepared() -> None:
        store = Store(database_url)
        await stock_up(store, 3)
        await store.close()

    asyncio.run(prepared())
    file, report = tmp_path / "prices.csv", tmp_path / "report.csv"
    exported = acorn("prices", "export", "--out", str(file))
    assert "4 prices." in exported.stderr, exported.output
    present = file.read_text(encoding="utf-8")
    assert present.startswith("sku,channel,marketplace,channel_sku,amount,currency,sale_amount,sale_from,sale_to\n")
    assert "SKU-2,shop,,SKU-2,20,EUR,,,\n" in present
    tried = acorn("prices", "set", str(file), "--dry-run", "--report", str(report))
    assert tried.exit_code == 0, tried.output
    assert "4 unchanged. Nothing was sent: this was a dry run." in tried.stderr
    assert "is PREVIEW. approveOperation carries it out." in tried.stderr
    file.write_text(present.replace("SKU-2,20,", "SKU-2,21,").replace("SKU-3,20,", "SKU-3,2100,"), encoding="utf-8")
    asked = acorn("prices", "set", str(file))
    assert (asked.exit_code, ask(WANTED)) == (1, 0)
    assert "Set the prices of 4 rows of" in asked.stderr
    done = acorn("prices", "set", str(file), "--yes")
    assert done.exit_code == 1, "a row was refused"
    rows = {row["sku"]: row["result"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert (rows["SKU-2"], rows["SKU-3"]) == ("taken", "refused")
    assert "1 refused" in done.stderr
    items = ask(ITEMS)
    again = acorn("prices", "set", str(file), "--yes")
    assert "This file was sent before; this is what became of it." in again.stderr
    assert (again.stdout, ask(ITEMS)) == (done.stdout, items)
    missing = acorn("prices", "set", str(tmp_path / "no.csv"), "--yes")
    assert (missing.exit_code, "cannot be read: No such file" in missing.stderr) == (1, True)
    file.write_text("what,is,this\n", encoding="utf-8")
    assert "The column `what` is none of ours." in acorn("prices", "set", str(file), "--yes").stderr
