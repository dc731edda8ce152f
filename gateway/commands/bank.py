"""`acorn finance bank`: statements of bank accounts, and the payouts among their lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.common import bytes_of, fail, opened, with_store

app = typer.Typer(no_args_is_help=True, help="Lines of bank accounts, and the payouts among them.")


@app.command("import")
def bank_import(
    files: Annotated[list[Path], typer.Argument(help="CAMT.053 (001.02 to 001.08), or CSV with --column.")],
    account: Annotated[
        str | None, typer.Option(help="Whose they are: needed for CSV; of CAMT.053 another account is refused.")
    ] = None,
    containing: Annotated[
        list[str] | None, typer.Option(help="Keep only lines in whose words this stands, such as a channel's name.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Of CSV: ours=theirs, for date, amount (with side, or else credit and debit), currency, text, party, "
            "reference, valued."
        ),
    ] = None,
    decimal: Annotated[str, typer.Option(help="Of CSV: the decimal mark.")] = ".",
    day: Annotated[str, typer.Option(help="Of CSV: how days are written.")] = "%Y-%m-%d",
    encoding: Annotated[str, typer.Option(help="Of CSV: such as cp1252.")] = "utf-8-sig",
    skip: Annotated[int, typer.Option(min=0, help="Of CSV: lines above the names of the columns.")] = 0,
    currency: Annotated[str | None, typer.Option(help="Of CSV: where no column tells it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would become of them.")] = False,
) -> None:
    """Take lines from statements, each file whole or not at all, and find the payouts among them. What is known already changes
    nothing. Exit code 1 when a file was refused."""
    from gateway.bank_file import Mapped, Wanted, run
    from gateway.rows import FileProblem

    mapped = Mapped(_columns(column or ()), decimal, day, encoding, skip, currency)
    wanted = Wanted(account, tuple(containing or ()), dry_run, mapped)
    refused = False
    for file in files:
        try:
            with opened(file) as content, bytes_of(file) as done:
                found = with_store(lambda store: run(store, content, wanted, done))
        except FileProblem as problem:
            typer.echo(f"{file}: {problem}", err=True)
            refused = True
            continue
        left = (f"{found.pending} not booked yet", found.pending), (f"{found.others} not asked for", found.others)
        told = [f"{found.lines} lines", f"{found.fresh} new", *(words for words, some in left if some)]
        typer.echo(f"{file}: {', '.join(told)}; {found.matched} more payouts have their line.")
    if dry_run:
        typer.echo("Nothing was kept: this was a dry run.", err=True)
    if refused:
        raise typer.Exit(1)


def _columns(told: list[str] | tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in told]
    for ours, mark, theirs in pairs:
        if not (ours and mark and theirs):
            fail(f"--column is {ours + mark + theirs!r}; write ours=theirs, such as amount=Betrag.")
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
