"""The command `acorn`. Each command imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.commands import (
    bank,
    channels,
    conformance,
    costs,
    documents,
    finance,
    fx,
    journal,
    keys,
    orders,
    prices,
    privacy,
    stock,
)
from gateway.commands.common import asked_database, fail, ready, told_settings, warn_of_unread, with_house, with_store
from gateway.settings import PORT_WANTED

if TYPE_CHECKING:
    from adapters.route import Routed
    from domain.ids import ChannelId
    from gateway.wiring import House

app = typer.Typer(
    name="acorn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="ACORN gateway: one GraphQL schema over Amazon and your own storefronts.",
    epilog="Settings come from ACORN_… variables or .env, channels from acorn.toml. `acorn doctor` says what is missing.",
)
schema_app = typer.Typer(no_args_is_help=True, help="The public contract.")
app.add_typer(keys.app, name="keys")
app.add_typer(channels.app, name="channels")
app.add_typer(documents.app, name="documents")
app.add_typer(stock.app, name="stock")
app.add_typer(costs.app, name="costs")
app.add_typer(fx.app, name="fx")
finance.app.command("journal")(journal.finance_journal)
finance.app.command("chart")(journal.finance_chart)
finance.app.add_typer(bank.app, name="bank")
app.add_typer(finance.app, name="finance")
app.add_typer(orders.app, name="orders")
app.add_typer(prices.app, name="prices")
app.add_typer(schema_app, name="schema")
explain_app = typer.Typer(no_args_is_help=True, help="Say what would be done, and why, without doing it.")
app.add_typer(explain_app, name="explain")
app.add_typer(conformance.app, name="conformance")
app.add_typer(privacy.app, name="privacy")
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"acorn {version('acorn-gateway')}")
        raise typer.Exit


@app.callback()
def acorn(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """What every command shares."""


@app.command()
def demo(
    shop: Annotated[
        str, typer.Option(help="What the shop runs on: shopify, or rest for a self-built one.")
    ] = "shopify",
) -> None:
    """Run the whole house on sandboxes, with data and demo keys. ACORN_PORT moves it; Ctrl-C stops all of it."""
    from gateway.demo import DemoFailed, run

    try:
        port = int(os.environ.get("ACORN_PORT") or "8000")
    except ValueError:
        fail(f"ACORN_PORT {PORT_WANTED}")
    try:
        raise typer.Exit(run(port, shop))
    except DemoFailed as problem:
        fail(str(problem))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; ACORN_HOST by default.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; ACORN_PORT by default.")] = None,
) -> None:
    """Answer GraphQL over HTTP and WebSocket."""
    from gateway import server
    from gateway.app import App

    settings = ready(told_settings())
    warn_of_unread(settings)
    try:
        listener = server.listen(host or settings.host, port or settings.port)
    except server.PortTaken as problem:
        fail(f"{problem} Set ACORN_PORT, or stop what listens there.")
    built = App(settings)
    options = server.config(
        built,
        connection_limit=settings.connection_limit,
        stop_within_s=settings.stop_within_s,
        message_limit=settings.body_limit_kib * 1024,
        trusted_proxies=settings.trusted_proxies,
    )
    # Stopped and cleaned up by then; uvicorn raises the signal once more.
    with contextlib.suppress(KeyboardInterrupt):
        server.Server(options, built).run([listener])


@app.command()
def work() -> None:
    """Synchronize the channels and carry out what was asked."""
    from gateway.wiring import build_house
    from gateway.worker import run

    settings = ready(told_settings())
    warn_of_unread(settings)

    async def work() -> None:
        house = await build_house(settings)
        try:
            await run(house, arq=settings.arq)
        finally:
            await house.close()

    asyncio.run(work())


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema. Safe to run from several places at once."""
    from store import migrate as migrations

    url = told_settings().database_url.get_secret_value()
    before = asked_database(lambda: migrations.current(url))
    if before == migrations.head():
        typer.echo(f"The database is at {before}, the newest. Nothing to do.")
        return
    asked_database(lambda: migrations.upgrade(url))
    typer.echo(f"The database went from {before or 'nothing'} to {migrations.head()}.")


@app.command(context_settings=PASS_ON)
def sandbox(
    context: typer.Context,
    platform: Annotated[str, typer.Argument(help="amazon, shopify, shop or carrier", metavar="PLATFORM")] = "",
) -> None:
    """Start a stand-in: `acorn sandbox amazon --port 8010`, `acorn sandbox shopify --help`."""
    if platform == "--help":
        typer.echo(context.get_help())
        raise typer.Exit
    if platform not in ("amazon", "shopify", "shop", "carrier"):
        fail(
            "Say which: `acorn sandbox amazon --port 8010`, or shopify, shop or carrier in its place; --help after it."
        )
    # In our place: whoever stops us stops it.
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", platform, *context.args])  # noqa: S606  ours


@app.command()
def calls(
    order: Annotated[str | None, typer.Option(help="About this order: its channel's own id.")] = None,
    sku: Annotated[str | None, typer.Option(help="About this SKU, as the channel calls it.")] = None,
    item: Annotated[int | None, typer.Option(help="For this item of an operation.")] = None,
    request_id: Annotated[str | None, typer.Option(help="The platform's id of one call.")] = None,
    channel: Annotated[str | None, typer.Option(help="Of this channel.")] = None,
    operation: Annotated[str | None, typer.Option(help="By the platform's name, such as confirmShipment.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that did not go well.")] = False,
    since: Annotated[str | None, typer.Option(help="No older than this: 90s, 15m, 1h, 7d.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    body: Annotated[bool, typer.Option("--body", help="With what was said.")] = False,
) -> None:
    """Look into the log of calls to platforms, newest first."""
    from gateway import calls as told

    try:
        wanted = told.wanted(
            now=datetime.now(UTC),
            order=order,
            sku=sku,
            item=item,
            request_id=request_id,
            channel=channel,
            operation=operation,
            failed=failed,
            since=since,
        )
    except ValueError as problem:
        fail(str(problem))
    found = with_store(lambda store: told.read(store, wanted, limit))
    if not found:
        typer.echo("No call that is kept is like that.", err=True)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = told.WIDE
    for one in told.shown(found, body=body):
        console.print(one, soft_wrap=body)


@app.command()
def doctor() -> None:
    """Look at settings, engines, migrations and credentials, and say what to do next."""
    from gateway.doctor import Finding, Grade, examine, worst

    console = Console(highlight=False)
    colors = {Grade.WELL: "green", Grade.NOTE: "yellow", Grade.ILL: "red"}

    async def look() -> list[Finding]:
        findings = []
        async for one in examine():
            findings.append(one)
            console.print(f"[{colors[one.grade]}]{one.grade.value:>4}[/]  [bold]{one.what}[/]: ", end="")
            console.print(one.found, markup=False, soft_wrap=True)
            if one.do:
                console.print(f"      → {one.do}", markup=False, soft_wrap=True)
        return findings

    if worst(asyncio.run(look())) is Grade.ILL:
        raise typer.Exit(1)


@explain_app.command("stock")
def explain_stock(
    skus: Annotated[str | None, typer.Option(help="Our SKUs, separated by commas: as a query asks for them.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many SKUs: as workers refresh them.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """By which route stock would be read now: all candidates, their calls and seconds. Without SKUs or a count, all of it."""
    from domain.ids import Sku
    from gateway import route

    if skus is not None and count is not None:
        fail("Say one of --skus and --count.")
    wanted = None if skus is None else {Sku(one.strip()) for one in skus.split(",") if one.strip()}
    told = with_house(lambda house: route.explain(house, _asked_for(house, channel), wanted, count))
    _print_routes(told, as_json=as_json)
    if not told and not as_json:
        nowhere = "No listing says that one of these SKUs lies where a channel counts; `acorn stock explain` tells what is known."
        fail(f"{channel or 'No channel'} counts no stock of its own." if wanted is None else nowhere)


@explain_app.command("orders")
def explain_orders(
    changes: Annotated[int | None, typer.Option(min=0, help="So many changes, in place of what is expected.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """By which path the next run of each channel would read its orders: all candidates, their calls and seconds."""
    from gateway import route

    told = with_house(lambda house: route.explain_orders(house, _asked_for(house, channel), changes))
    _print_routes(told, as_json=as_json)


def _asked_for(house: House, channel: str | None) -> Collection[ChannelId]:
    """The channel of this name, or all."""
    known = house.ports.keys()
    if channel is not None and channel not in known:
        fail(f"There is no channel {channel}; there is {', '.join(sorted(known)) or 'none'}.")
    return [id for id in known if channel in (None, id)]


def _print_routes(told: Sequence[Routed], *, as_json: bool) -> None:
    import orjson

    from gateway import route

    if as_json:
        typer.echo(orjson.dumps([route.as_json(one) for one in told], option=orjson.OPT_INDENT_2))
        return
    console = Console(highlight=False)
    for one in told:
        console.print(route.table(one))


@schema_app.command("print")
def schema_print(
    federation: Annotated[
        bool, typer.Option("--federation", help="As composers take it: with keys, and what routers ask for.")
    ] = False,
) -> None:
    """Print the schema in GraphQL's own language."""
    from schema.printed import contract, sdl
    from schema.root import schema

    typer.echo(sdl(schema) if federation else contract(schema._schema))


def main() -> None:
    """The entry point."""
    app()
