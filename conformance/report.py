"""What a run found, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from conformance.kit import Outcome, Report, Status

_STYLE = {Status.PASSED: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim"}


def shown(report: Report) -> Iterator[RenderableType]:
    """A table of all checks, what to mend, and the sum."""
    table = Table(box=None, pad_edge=False)
    for name in ("check", "clause", "what it did", "", "found"):
        table.add_column(name, overflow="fold", no_wrap=name == "check")
    for outcome in report.outcomes:
        status = Text(outcome.status.value, style=_STYLE[outcome.status])
        table.add_row(
            Text(outcome.check.id), Text(outcome.check.clause), Text(outcome.check.did), status, Text(outcome.found)
        )
    yield table
    failed = [outcome for outcome in report.outcomes if outcome.status is Status.FAILED]
    if failed:
        yield Text("\nTo mend:", style="bold")
        yield from (Text(f"  {outcome.check.id}: {outcome.check.mend}") for outcome in failed)
    if report.touched:
        yield Text(f"\nWritten to, and put back: {', '.join(report.touched)}.")
    if report.astray:
        yield Text("\nBut the shop did not take back, so see to it yourself:", style="bold red")
        yield from (Text(f"  {what}") for what in report.astray)
    counts = ", ".join(f"{len(report.ids(status))} {status.value}" for status in Status)
    yield Text(f"\n{counts}.", style="bold")


def as_json(report: Report) -> str:
    return json.dumps(
        {
            "url": report.url,
            "passed": report.passed,
            "checks": [_row(outcome) for outcome in report.outcomes],
            "touched": report.touched,
            "astray": report.astray,
        },
        indent=2,
    )


def _row(outcome: Outcome) -> dict[str, str]:
    row = {
        "id": outcome.check.id,
        "clause": outcome.check.clause,
        "did": outcome.check.did,
        "status": outcome.status.value,
    }
    if outcome.found:
        row["found"] = outcome.found
    if outcome.status is Status.FAILED:
        row["mend"] = outcome.check.mend
    return row
