"""`acorn finance export`: any list as a file, from the database at hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from store.tables import settlement
from tests.gateway.conftest import Acorn, in_store
from tests.workers.test_exports import AT, SHOP

FIELDS = {"id": "s1", "channel": SHOP, "kind": "PAYOUT", "external_id": "=1+1", "currency": "EUR", "line_count": 0}


def test_a_list_is_written_as_it_is_now(acorn: Acorn, tmp_path: Path, database_url: str) -> None:
    async def keep(tx: AsyncConnection) -> None:
        await tx.execute(insert(settlement).values(**FIELDS, starts_at=AT, ends_at=AT, total=3))

    in_store(database_url, keep)
    told = acorn("finance", "export", "settlements", "--to", "2026-12-01")
    [row] = csv.DictReader(io.StringIO(told.stdout, newline=""))
    assert (row["externalId"], row["total"], row["endsAt"]) == ("'=1+1", "3", "2026-11-03T12:00:00Z")
    assert "1 rows." in told.stderr
    out = tmp_path / "settlements.jsonl"
    assert acorn("finance", "export", "SETTLEMENTS", "--format", "jsonl", "--out", str(out)).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8"))["externalId"] == "=1+1"
    assert acorn("finance", "export", "SETTLEMENTS", "--from", "2026-11-04").stdout.count("\n") == 1
    for words, wrong in {
        "There is no BUYERS; there are PROFIT, ": ["BUYERS"],
        "is no day": ["ORDERS", "--from", "soon"],
        "There is no channel x": ["ORDERS", "--channel", "x"],
        "Name in `groupBy`": ["PROFIT"],
    }.items():
        refused = acorn("finance", "export", *wrong)
        assert (refused.exit_code, words in refused.stderr) == (1, True)
