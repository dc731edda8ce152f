"""`acorn orders ship`: parcels from a file, told row by row, safe to repeat."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path

from store.session import Store
from tests.gateway.conftest import CHANNELS, Acorn
from tests.workers.test_tracking import AT, keep, make_order


def test_a_file_is_tried_taken_and_taken_again_with_a_report_by_row(
    acorn: Acorn, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "acorn.toml").write_text(CHANNELS, encoding="utf-8")

    async def orders() -> None:
        store = Store(database_url)
        await keep(store, make_order("1001"))
        await store.close()

    asyncio.run(orders())
    at, file, report = AT.isoformat(), tmp_path / "day.csv", tmp_path / "report.csv"
    head = "order;carrier;tracking_number;shipped_at\n"
    file.write_text(f"{head}1001;DHL;JD0001;{at}\n1009;DHL;JD0009;{at}\n1001;DHL;JD0002;28.11.2026\n", encoding="utf-8")
    told = acorn("orders", "ship", str(file), "--dry-run")
    assert told.exit_code == 1
    assert "1 confirmed, 1 waiting, 1 refused. Nothing was sent: this was a dry run." in told.stderr
    rows = list(csv.reader(io.StringIO(told.stdout)))
    assert rows[:3] == [
        ["row", "order", "tracking_number", "result", "reason"],
        ["2", "1001", "JD0001", "confirmed", ""],
        ["3", "1009", "JD0009", "waiting", "There is no order 1009 yet."],
    ]
    assert rows[3][:4] == ["4", "1001", "JD0002", "refused"]
    for result in ("confirmed", "already"):
        acorn("orders", "ship", str(file), "--report", str(report))
        assert f"2,1001,JD0001,{result}," in report.read_text(encoding="utf-8")
    missing = acorn("orders", "ship", str(tmp_path / "no.csv"))
    assert (missing.exit_code, "cannot be read: No such file" in missing.stderr) == (1, True)
    file.write_text("what,is,this\n", encoding="utf-8")
    assert "The column `what` is none of ours." in acorn("orders", "ship", str(file)).stderr
