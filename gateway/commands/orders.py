"""`acorn orders`: parcels from files, and orders of the past."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from domain.ids import ChannelId
from gateway.commands.common import (
    bytes_of,
    fail,
    opened,
    report_to,
    told_config,
    told_settings,
    user,
    with_house,
    with_store,
)

if TYPE_CHECKING:
    from domain.operation import Operation
    from gateway.wiring import House

DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

app = typer.Typer(no_args_is_help=True, help="Tell of parcels by file, and read orders of the past.")


@app.command("ship")
def orders_ship(
    file: Annotated[Path, typer.Argument(help="CSV (order,carrier,tracking_number,shipped_at[,…]) or JSON Lines.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; by default to the standard output.")
    ] = None,
) -> None:
    """Confirm parcels from a file and tell, row by row, what became of them. Exit code 1 when a row was refused."""
    from gateway.rows import FileProblem, is_json_lines
    from gateway.tracking_file import REPORT, Result, Wanted, report_row, run

    channels = [one.channel() for one in told_config(told_settings()).file.channels]
    platforms = {one.id: one.platform for one in channels}
    wanted = Wanted(user("acorn orders"), dry_run, json_lines=is_json_lines(file))
    try:
        with (
            opened(file) as content,
            report_to(report, REPORT, report_row) as tell,
            bytes_of(file, wanted=report is not None or not sys.stdout.isatty()) as done,
        ):
            found = with_store(lambda store: run(store, platforms, content, wanted, tell, done))
    except FileProblem as problem:
        fail(f"{file}: {problem}")
    told = ", ".join(f"{found[result]} {result.value}" for result in Result if found[result])
    typer.echo(f"{told}." + (" Nothing was sent: this was a dry run." if dry_run else ""), err=True)
    if found[Result.REFUSED]:
        raise typer.Exit(1)


@app.command("backfill")
def orders_backfill(
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
    start: Annotated[datetime, typer.Option("--from", formats=DATES, help="Orders placed from then on, in UTC.")],
    end: Annotated[datetime | None, typer.Option("--to", formats=DATES, help="Exclusive; by default now.")] = None,
) -> None:
    """Read the orders of past days, newest day first, and follow that. Workers do it, out of what others leave of the budgets;
    Ctrl-C stops the following only. Exit code 1 when a day could not be read."""
    from gateway import backfill

    until = datetime.now(UTC) if end is None else end.replace(tzinfo=UTC)

    async def run(house: House) -> Operation:
        made = await backfill.begin(house, ChannelId(channel), start.replace(tzinfo=UTC), until, user("acorn orders"))
        typer.echo(f"Operation:{made.id}", err=True)
        with _days(made.progress.total) as progress:
            return await backfill.follow(house, made, progress)

    try:
        done = with_house(run)
    except KeyboardInterrupt:
        typer.echo("No longer following; workers go on. The operation above tells how far they are.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{done.progress.verified} of {done.progress.total} days were read.", err=True)
    if done.progress.failed:
        typer.echo(
            "See the items of the operation for why the others were not; retryOperation reads them again.", err=True
        )
        raise typer.Exit(1)


@contextlib.contextmanager
def _days(total: int) -> Iterator[Callable[[Operation], None]]:
    """A bar of days on the standard error, where somebody looks."""
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("days", total=total)
        yield lambda one: progress.update(bar, completed=one.progress.verified + one.progress.failed)
