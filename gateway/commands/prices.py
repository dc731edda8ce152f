"""`acorn prices`: prices from files, and back into one."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console

from gateway.commands.common import fail, opened, report_to, told_config, told_settings, user, with_house, with_store

if TYPE_CHECKING:
    from domain.operation import OperationStatus
    from gateway.price_file import Wanted
    from gateway.wiring import House
    from store.price_file import PriceFile
    from workers.price_files import Done

app = typer.Typer(no_args_is_help=True, help="Set prices by file, and write the present ones into one.")


class Mark(Enum):
    """What stands before decimals."""

    POINT = "point"
    COMMA = "comma"


@app.command("set")
def prices_set(
    file: Annotated[Path, typer.Argument(help="CSV (sku,amount,currency[,channel,marketplace,…]) or JSON Lines.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make a preview; approveOperation carries it out.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before prices change.")] = False,
    decimal: Annotated[Mark, typer.Option(help="What stands before the decimals of its amounts.")] = Mark.POINT,
    key: Annotated[
        str | None, typer.Option(help="Your own name for this change; without one, the same file counts once.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; by default to the standard output.")
    ] = None,
) -> None:
    """Set the prices that a file tells, and say row by row what became of them. Exit code 1 when a row was refused."""
    from domain.operation import WAITING_FOR_PEOPLE
    from gateway.price_file import REPORT, Wanted, report_row
    from gateway.rows import FileProblem, is_json_lines
    from store.price_file import FileState, Result

    wanted = Wanted(user("acorn prices"), key, dry_run, is_json_lines(file), comma=decimal is Mark.COMMA)
    try:
        if not dry_run and not yes:
            _confirm(file, wanted)
        with opened(file) as content, report_to(report, REPORT, report_row) as tell:
            done, status = with_house(lambda house: _set(house, content, wanted, tell))
    except FileProblem as problem:
        fail(f"{file}: {problem}")
    if done.state is FileState.FAILED:
        fail(f"{file}: {done.problem}")
    told = ", ".join(f"{done.counts[one]} {one.value.lower()}" for one in Result if done.counts.get(one))
    typer.echo(f"{told}." + (" Nothing was sent: this was a dry run." if dry_run else ""), err=True)
    if status is not None:
        waits = " approveOperation carries it out." if status in WAITING_FOR_PEOPLE else ""
        typer.echo(f"Operation:{done.operation} is {status.value}.{waits}", err=True)
    if done.counts.get(Result.REFUSED):
        raise typer.Exit(1)


@app.command("export")
def prices_export(
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default the standard output.")] = None,
) -> None:
    """Write the prices that channels show now as a file for `acorn prices set`."""
    from gateway.price_export import HEADER, export

    channels = {one.id: one for one in (each.channel() for each in told_config(told_settings()).file.channels)}
    if channel is not None:
        channels = {id: one for id, one in channels.items() if id == channel}
        if not channels:
            fail(f"There is no channel {channel} in acorn.toml.")
    with contextlib.ExitStack() as stack:
        try:
            opened = sys.stdout if out is None else stack.enter_context(out.open("w", encoding="utf-8", newline=""))
        except OSError as problem:
            fail(f"{out} cannot be written: {problem.strerror}.")
        rows = csv.writer(opened, lineterminator="\n")
        rows.writerow(HEADER)
        told, silent = with_store(lambda store: export(store, channels, rows.writerow))
    typer.echo(f"{told} prices." + (f" {silent} listings show none yet." if silent else ""), err=True)


def _confirm(file: Path, wanted: Wanted) -> None:
    from gateway.price_file import read

    with opened(file) as content:
        bad = [row.price is None for row in read(content, json_lines=wanted.json_lines, comma=wanted.comma)]
    unread = f"; {sum(bad)} others cannot be read" if any(bad) else ""
    words = f"Set the prices of {len(bad) - sum(bad)} rows of {file}{unread}? `--dry-run` would show what that does."
    if not typer.confirm(words, err=True):
        raise typer.Exit(1)


async def _set(
    house: House, content: BinaryIO, wanted: Wanted, tell: Callable[..., object]
) -> tuple[PriceFile, OperationStatus | None]:
    """The file when it has ended, each of its rows told; and where its operation stands, if it made one."""
    from gateway.price_file import BLOCK, keep
    from store import operation, price_file
    from store.price_file import FileState

    file, fresh = await keep(house.store, content, wanted)
    if not fresh:
        typer.echo("This file was sent before; this is what became of it.", err=True)
    with _rows(file.rows) as done:
        file = await _worked(house, file, done)
    after, more = 0, file.state is FileState.DONE
    while more:
        async with house.store.begin() as tx:
            rows = await price_file.report(tx, file.id, after=after, limit=BLOCK, taken=True)
        for one in rows:
            tell(one)
            after = one[0].number
        more = len(rows) == BLOCK
    async with house.store.begin() as tx:
        made = {} if file.operation is None else await operation.by_ids(tx, [file.operation])
    return file, next((one.status for one in made.values()), None)


async def _worked(house: House, file: PriceFile, done: Done) -> PriceFile:
    """The file when it has ended: worked here, unless a worker has it in hand."""
    from store import price_file
    from store.price_file import FileState
    from workers.price_files import HAND_S, LOOK_EVERY_S, sellers, work

    while file.state is FileState.WAITING:
        async with house.store.begin() as tx:
            mine = await price_file.claim(tx, HAND_S, file.id)
        if mine is not None:
            await work(house.store, sellers(house.ports, house.channels), mine, lambda: datetime.now(UTC), done)
        else:
            await asyncio.sleep(LOOK_EVERY_S)
        async with house.store.begin() as tx:
            found = await price_file.by_id(tx, file.id)
        assert found is not None, "what waits is not forgotten"
        file = found
        done(file.looked)
    return file


@contextlib.contextmanager
def _rows(total: int) -> Iterator[Done]:
    """A bar of rows on the standard error, where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("rows", total=total)
        yield lambda count: progress.update(bar, completed=count)
