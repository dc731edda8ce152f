"""`acorn costs import` and `acorn fx import`: files, told row by row, safe to repeat."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tests.gateway.conftest import Acorn


def test_costs_are_tried_taken_and_taken_again_with_a_report_by_row(acorn: Acorn, tmp_path: Path) -> None:
    file, report = tmp_path / "costs.csv", tmp_path / "report.csv"
    file.write_text("sku,validFrom,amount,currency\nMUG,2026-11-01,4.20,EUR\nCUP,soon,1,EUR\n", encoding="utf-8")
    told = acorn("costs", "import", str(file), "--dry-run")
    assert "2 refused. Nothing was kept" in told.stderr
    told = acorn("costs", "import", str(file), "--dry-run", "--new-skus")
    assert told.exit_code == 1
    assert "1 new, 1 refused. Nothing was kept: this was a dry run." in told.stderr
    rows = list(csv.reader(io.StringIO(told.stdout)))
    assert rows[:2] == [
        ["row", "sku", "valid_from", "result", "revision", "landed", "reason"],
        ["2", "MUG", "2026-11-01", "new", "1", "4.20 EUR", ""],
    ]
    assert rows[2][:4] == ["3", "CUP", "soon", "refused"]
    for result in ("new", "same"):
        acorn("costs", "import", str(file), "--new-skus", "--report", str(report))
        assert f"2,MUG,2026-11-01,{result},1,4.20 EUR," in report.read_text(encoding="utf-8")
    missing = acorn("costs", "import", str(tmp_path / "no.csv"))
    assert (missing.exit_code, "cannot be read: No such file" in missing.stderr) == (1, True)


def test_rates_are_taken_from_a_file_of_the_central_banks(acorn: Acorn, tmp_path: Path) -> None:
    file = tmp_path / "eurofxref-hist.csv"
    file.write_text("Date,USD,JPY,\n2026-11-27,1.0850,165.30,\n2026-11-26,1.0841,N/A,\n", encoding="utf-8")
    tried = acorn("fx", "import", str(file), "--dry-run")
    assert "3 rates, 3 of them new. Nothing was kept" in tried.stdout
    assert "3 rates, 3 of them new." in acorn("fx", "import", str(file)).stdout
    assert "3 rates, 0 of them new." in acorn("fx", "import", str(file)).stdout
    file.write_text("base,quote,day,rate\nEUR,USD,soon,1\n", encoding="utf-8")
    wrong = acorn("fx", "import", str(file), "--source", "bank")
    assert (wrong.exit_code, "Row 2 needs a day" in wrong.stderr) == (1, True)
    assert "Say --url" in acorn("fx", "fetch").stderr
