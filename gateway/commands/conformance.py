"""`acorn conformance`: does a shop keep the contract?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console

from gateway.commands.common import fail

app = typer.Typer(no_args_is_help=True, help="Check whether a shop keeps the contract that we read it by.")


@app.command("rest")
def conformance_rest(
    url: Annotated[str, typer.Option(help="The shop's base address, such as https://shop.example/api/v1.")],
    token: Annotated[str, typer.Option(help="A token that the shop handed out.", envvar="ACORN_CONFORMANCE_TOKEN")],
    write: Annotated[bool, typer.Option("--write", help="Also what changes something; it is put back.")] = False,
    sku: Annotated[list[str] | None, typer.Option(help="A SKU that may be written to; may be repeated.")] = None,
    order: Annotated[list[str] | None, typer.Option(help="An order that may be written to; may be repeated.")] = None,
    client_id: Annotated[str | None, typer.Option(help="For the checks of POST /oauth/token.")] = None,
    client_secret: Annotated[
        str | None, typer.Option(envvar="ACORN_CONFORMANCE_SECRET", help="The client's secret.")
    ] = None,
    hook_url: Annotated[
        str | None, typer.Option(help="Where the shop reaches this machine; local ones do so anyway.")
    ] = None,
    hook_port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Only checks whose id begins so; may be repeated.")] = None,
    patience: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for a job or a webhook.")] = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check a self-built shop against docs/rest.md, and say what to mend. Exit status 0: it keeps the contract."""
    try:
        from conformance import report as told
        from conformance.kit import Check, Report, Wanted
        from conformance.rest import CHECKS
        from gateway.conformance import conform, count
    except ModuleNotFoundError as problem:
        fail(f"{problem.name} is missing: install acorn-gateway[conformance].")
    import httpx

    chosen = tuple(only or ())
    for name in chosen:
        if not count((name,)):
            kinds = dict.fromkeys(check.id.partition(".")[0] + "." for check in CHECKS)
            fail(f"No check begins with {name!r}. There are {', '.join(kinds)}")
    wanted = Wanted(
        url, token, write, tuple(sku or ()), tuple(order or ()), client_id, client_secret, None, hook_url, patience
    )
    console = Console(highlight=False)

    async def ask() -> Report:
        with Console(stderr=True).status("…") as status:
            place = 0

            def progress(check: Check) -> None:
                nonlocal place
                place += 1
                status.update(f"{place}/{count(chosen)} {check.id}")

            return await conform(wanted, hook_port, chosen, progress)

    try:
        found = asyncio.run(ask())
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        fail(f"{url} cannot be reached: {type(problem).__name__} {problem}")
    except OSError as problem:
        fail(f"Port {hook_port} cannot be listened on: {problem.strerror}")
    if as_json:
        typer.echo(told.as_json(found))
    else:
        if not console.is_terminal:
            console.width = 160
        for one in told.shown(found):
            console.print(one)
    raise typer.Exit(0 if found.passed else 1)
