"""`acorn stock`: counts in and out, the ledger, and numbers explained."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.commands.common import fail, opened, report_to, told_config, told_settings, user, with_store

if TYPE_CHECKING:
    from domain.channel import Location
    from store.session import Store

app = typer.Typer(no_args_is_help=True, help="Bring counts in and out, prove the ledger, explain a number.")


@app.command("import")
def stock_import(
    file: Annotated[
        Path, typer.Argument(help="CSV (sku,quantity[,location,kind,reason,reference]) or JSON Lines, in UTF-8.")
    ],
    location: Annotated[str | None, typer.Option(help="The place of rows that name none.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Rows say what lies there (the default).")] = False,
    full: Annotated[bool, typer.Option("--full", help="As --count, and what is not named lies there no more.")] = False,
    delta: Annotated[bool, typer.Option("--delta", help="Rows say what came or went, signed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; for rows that give no reason.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Book a file of deltas a second time.")] = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="A full file may empty most of a place.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; by default to the standard output.")
    ] = None,
) -> None:
    """Take counts or movements from a file and tell, row by row, what became of them. Exit code 1 when a row was refused."""
    from domain.booking import Result
    from domain.errors import Invalid
    from domain.feed import FeedKind
    from domain.ids import LocationCode
    from gateway import stock
    from gateway.rows import FileProblem, is_json_lines

    if sum((count, full, delta)) > 1:
        fail("Say one of --count, --full and --delta.")
    ours = frozenset(place.code for place in _places())
    if location is not None and location not in ours:
        fail(f"{location} is no place that the ledger counts; there is {', '.join(sorted(ours)) or 'none'}.")
    wanted = stock.Import(
        kind=FeedKind.FULL if full else FeedKind.DELTA if delta else FeedKind.COUNT,
        locations=ours,
        location=None if location is None else LocationCode(location),
        reason=reason or f"import of {file.name}",
        actor=user("acorn stock"),
        json_lines=is_json_lines(file),
        dry_run=dry_run,
        again=again,
        confirm=confirm,
    )
    try:
        with (
            opened(file) as content,
            report_to(report, stock.REPORT, stock.report_row) as tell,
            _progress(wanted=report is not None or not sys.stdout.isatty()) as progress,
        ):
            found = with_store(lambda store: stock.run_import(store, content, wanted, tell, progress))
    except FileProblem as problem:
        fail(f"{file}: {problem}")
    except Invalid as problem:
        fail(str(problem))
    told = ", ".join(f"{found[result]} {result.value}" for result in Result if found[result])
    typer.echo(f"{told}." + (" Nothing was booked: this was a dry run." if dry_run else ""), err=True)
    if found[Result.REJECTED]:
        raise typer.Exit(1)


@app.command("export")
def stock_export(
    form: Annotated[str, typer.Option("--format", help="csv or jsonl")] = "csv",
    location: Annotated[str | None, typer.Option(help="Only this place.")] = None,
) -> None:
    """Print what lies at the places of the ledger: SKU, place, on hand, reserved, inbound, available."""
    import csv

    import orjson

    from domain.ids import LocationCode
    from gateway import stock

    if form not in ("csv", "jsonl"):
        fail("--format must be csv or jsonl.")
    if location is not None and location not in (ours := [place.code for place in _places()]):
        fail(f"{location} is no place that the ledger counts; there is {', '.join(sorted(ours)) or 'none'}.")

    async def write(store: Store) -> None:
        rows = csv.DictWriter(sys.stdout, stock.EXPORT, lineterminator="\n")
        if form == "csv":
            rows.writeheader()
        async for one in stock.exported(store, None if location is None else LocationCode(location)):
            if form == "csv":
                rows.writerow(stock.export_row(one))
            else:
                sys.stdout.write(orjson.dumps(stock.export_row(one)).decode() + "\n")

    with_store(write)


@app.command("check")
def stock_check() -> None:
    """Prove that the balances are the sums of their entries. Exit code 1 when one is not."""
    from domain.ledger import Check
    from store import ledger

    async def check(store: Store) -> Check:
        async with store.begin() as tx:
            return await ledger.check(tx)

    found = with_store(check)
    for one in found.wrong:
        typer.echo(
            f"{one.sku} at {one.location}: the balance is {_counts(one.balance)}, the entries sum to {_counts(one.entries)}."
        )
    wrong = f"{len(found.wrong)} are wrong." if found.wrong else "All are right."
    typer.echo(f"{found.balances} balances, {found.entries} entries. {wrong}")
    if found.wrong:
        raise typer.Exit(1)


@app.command("explain")
def stock_explain(sku: Annotated[str, typer.Argument(help="One of our SKUs.")]) -> None:
    """Tell what the number of a SKU is made of, and what each channel is to show of it."""
    from domain.errors import NotFound
    from domain.ids import Sku
    from gateway import stock
    from gateway.stock_text import tables

    config = told_config(told_settings())
    terms = config.file.stock
    try:
        told = with_store(
            lambda store: stock.explain(store, Sku(sku), config.locations, terms.safety_stock, terms.max_age)
        )
    except NotFound as problem:
        fail(problem.message)
    console = Console(highlight=False)
    for table in tables(told, config.locations, datetime.now(UTC)):
        console.print(table)


def _places() -> list[Location]:
    """The places that the ledger counts."""
    return [place for place in told_config(told_settings()).locations if place.ours]


@contextlib.contextmanager
def _progress(*, wanted: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the standard error, where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as progress:
        bar = progress.add_task("rows")
        yield lambda done, all: progress.update(bar, completed=done, total=all)


def _counts(counts: tuple[int, int, int]) -> str:
    return "{} on hand, {} reserved, {} inbound".format(*counts)
