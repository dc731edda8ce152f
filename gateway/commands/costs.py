"""`acorn costs`: what units cost us, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.common import bytes_of, fail, opened, report_to, user, with_store

app = typer.Typer(no_args_is_help=True, help="Tell what units cost.")


@app.command("import")
def costs_import(
    file: Annotated[
        Path,
        typer.Argument(help="CSV (sku,valid_from,amount,currency[,extra,withdrawn,reason]) or JSON Lines, in UTF-8."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    new_skus: Annotated[
        bool, typer.Option("--new-skus", help="Take costs of SKUs too that no product has yet; else they are refused.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Where the report goes; by default to the standard output.")
    ] = None,
) -> None:
    """Take layers of cost from a file and tell, row by row, what became of them. Exit code 1 when a row was refused."""
    from gateway.cost_file import REPORT, Result, Wanted, report_row, run
    from gateway.rows import FileProblem, is_json_lines

    wanted = Wanted(user("acorn costs"), dry_run, new_skus, json_lines=is_json_lines(file))
    try:
        with (
            opened(file) as content,
            report_to(report, REPORT, report_row) as tell,
            bytes_of(file, wanted=report is not None) as done,
        ):
            found = with_store(lambda store: run(store, content, wanted, tell, done))
    except FileProblem as problem:
        fail(f"{file}: {problem}")
    told = ", ".join(f"{found[result]} {result.value}" for result in Result if found[result])
    typer.echo(f"{told}." + (" Nothing was kept: this was a dry run." if dry_run else ""), err=True)
    if found[Result.REFUSED]:
        raise typer.Exit(1)
