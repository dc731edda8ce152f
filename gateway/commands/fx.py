"""`acorn fx`: rates of exchange, from files and from the European Central Bank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.common import fail, opened, user, with_house, with_store

if TYPE_CHECKING:
    from gateway.wiring import House

app = typer.Typer(no_args_is_help=True, help="Rates of exchange: from files, and from the European Central Bank.")


@app.command("import")
def fx_import(
    file: Annotated[
        Path, typer.Argument(help="The ECB's eurofxref XML or CSV, or a CSV (base,quote,day,rate[,source]), in UTF-8.")
    ],
    source: Annotated[str | None, typer.Option(help="Where the rates come from, for rows that name nobody.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Keep the rates of a file. A rate that a source has mended is kept beside the older one, and the newer one holds."""
    from gateway.fx_file import run
    from gateway.rows import FileProblem

    try:
        with opened(file) as content:
            rates, fresh = with_store(lambda store: run(store, content, source, user("acorn fx"), dry_run=dry_run))
    except FileProblem as problem:
        fail(f"{file}: {problem}")
    typer.echo(f"{rates} rates, {fresh} of them new." + (" Nothing was kept: this was a dry run." if dry_run else ""))


@app.command("fetch")
def fx_fetch(
    url: Annotated[
        str | None, typer.Option(help="Where from; by default the address `prices.rates_url` in acorn.toml.")
    ] = None,
) -> None:
    """Fetch reference rates now. Workers do it four times a day where acorn.toml names an address."""
    from adapters import ecb
    from adapters.wire import Unclear
    from store import fx

    async def run(house: House) -> tuple[int, int]:
        address = url or house.prices.rates_url
        if address is None:
            fail("Say --url, or name an address under `rates_url` in the table [prices] of acorn.toml.")
        rates = await ecb.fetch(house.transport, address)
        async with house.store.begin() as tx:
            return len(rates), len(await fx.keep(tx, rates, user("acorn fx")))

    try:
        rates, fresh = with_house(run)
    except Unclear as problem:
        fail(f"The answer is not understood: {problem}.")
    typer.echo(f"{rates} rates, {fresh} of them new.")
