"""`acorn finance`: settlements from files, and the files again as they came."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.commands.common import bytes_of, fail, opened, report_to, told_config, told_settings, user, with_store

if TYPE_CHECKING:
    from domain.channel import Channel
    from domain.ids import ChannelId
    from gateway.settlement_file import Outcome
    from store.session import Store

app = typer.Typer(no_args_is_help=True, help="Settlements, lists as files, journals and the bank.")


@app.command("import")
def finance_import(
    files: Annotated[
        list[Path], typer.Argument(help="Settlement files of Amazon (flat file V2), as they are or in .gz.")
    ],
    channel: Annotated[
        str | None, typer.Option(help="Whose they are; by default the only channel that sells where a file is of.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what became of each file into this file too, as CSV.")
    ] = None,
) -> None:
    """Take settlements from files, each of them whole or not at all. A file that is known already changes nothing. Exit code 1
    when one was refused."""
    from gateway.rows import FileProblem
    from gateway.settlement_file import REPORT, Result, channel_of, report_row, sellers

    known = sellers(one.channel() for one in told_config(told_settings()).file.channels)
    refused = False
    with contextlib.ExitStack() as stack:
        row = stack.enter_context(report_to(report, REPORT, report_row)) if report else None
        wanted: list[tuple[Path, Channel]] = []
        for file in files:
            try:
                with opened(file):
                    wanted.append((file, channel_of(file, known, channel)))
            except FileProblem as problem:
                fail(f"{file}: {problem}")

        def told(one: Outcome) -> None:
            nonlocal refused
            refused |= one.result is Result.REFUSED
            typer.echo(one.words)
            if row:
                row(one)

        with_store(lambda store: _take(store, wanted, told, dry_run=dry_run))
    if dry_run:
        typer.echo("Nothing was kept: this was a dry run.", err=True)
    if refused:
        raise typer.Exit(1)


@app.command("file")
def finance_file(
    id: Annotated[str, typer.Argument(help="The file's id, as `settlementFiles` tells it.")],
    packed: Annotated[bool, typer.Option("--gzip", help="Packed, as it lies there.")] = False,
) -> None:
    """Write a settlement file as it came to the standard output."""
    if not with_store(lambda store: _write(store, id.removeprefix("SettlementFile:"), packed=packed)):
        fail(f"There is no file {id}, or nothing of it is kept.")


@app.command("export")
def finance_export(
    of: Annotated[str, typer.Argument(metavar="LIST", help="PROFIT, MONEY_LINES, SETTLEMENTS, RESIDUALS, ORDERS, …")],
    since: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The day behind the last one.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Of PROFIT (`groupBy`): DAY, MONTH, CHANNEL, MARKETPLACE, SKU, ORDER.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Of PROFIT: in this currency, by the rate of each day.")] = None,
    format: Annotated[str, typer.Option(help="CSV, or JSONL.")] = "CSV",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default the standard output.")] = None,
) -> None:
    """Write a list as it is now into a file, however long it is."""
    from domain.errors import Refused
    from gateway.list_export import export, wanted
    from resolvers.export import check
    from store.profit import places

    channels = {one.id: one for one in (each.channel() for each in told_config(told_settings()).file.channels)}
    with contextlib.ExitStack() as stack:
        try:
            asked = wanted(of, format, channel, since, until, by or (), currency)
            channels = with_store(lambda store: _ever(store, channels))
            check(channels, asked)
            into = sys.stdout.buffer if out is None else stack.enter_context(out.open("wb"))
            tell = stack.enter_context(_counted())
            rows = with_store(lambda store: export(store, asked, places(channels.values()), into, tell))
        except Refused as problem:
            fail(problem.message)
        except OSError as problem:
            fail(f"{out} cannot be written: {problem.strerror}.")
    typer.echo(f"{rows} rows.", err=True)


@contextlib.contextmanager
def _counted() -> Iterator[Callable[[int], object]]:
    """Rows on the standard error, where somebody looks."""
    from rich.progress import Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:,} rows"),)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("rows", total=None)
        yield lambda rows: progress.update(bar, completed=rows)


async def _ever(store: Store, configured: dict[ChannelId, Channel]) -> dict[ChannelId, Channel]:
    from store import channel

    async with store.begin() as tx:
        return await channel.ever(tx, configured)


async def _take(
    store: Store, files: list[tuple[Path, Channel]], told: Callable[[Outcome], None], *, dry_run: bool
) -> None:
    from gateway.rows import FileProblem
    from gateway.settlement_file import rehearsed, take

    by = user("acorn finance")
    for file, channel in files:
        try:
            if dry_run:
                done = await rehearsed(store, channel, file)
            else:
                with bytes_of(file) as tell:
                    done = await take(store, channel, file, by, lambda what, done, total: tell(done, what, total))
        except FileProblem as problem:
            fail(f"{file}: {problem}")
        told(done)


async def _write(store: Store, id: str, *, packed: bool) -> bool:
    from store import finance_file

    some = False
    async for part in finance_file.packed(store, id) if packed else finance_file.content(store, id):
        sys.stdout.buffer.write(part)
        some = True
    return some
