"""The command `acorn`. Each command imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

from gateway.settings import PORT_WANTED, Settings, SettingsError, read_settings
from schema.scopes import ALL

T = TypeVar("T")

app = typer.Typer(
    name="acorn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="ACORN gateway: one GraphQL schema over Amazon and your own storefronts.",
    epilog="Settings come from ACORN_… variables or .env, channels from acorn.toml. `acorn doctor` says what is missing.",
)
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
schema_app = typer.Typer(no_args_is_help=True, help="The public contract.")
app.add_typer(keys_app, name="keys")
app.add_typer(schema_app, name="schema")
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
def demo() -> None:
    """Run the whole house on sandboxes, with data and demo keys. ACORN_PORT moves it; Ctrl-C stops all of it."""
    from gateway.demo import DemoFailed, run

    try:
        port = int(os.environ.get("ACORN_PORT") or "8000")
    except ValueError:
        _fail(f"ACORN_PORT {PORT_WANTED}")
    try:
        raise typer.Exit(run(port))
    except DemoFailed as problem:
        _fail(str(problem))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; ACORN_HOST by default.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; ACORN_PORT by default.")] = None,
) -> None:
    """Answer GraphQL over HTTP and WebSocket."""
    from gateway import server
    from gateway.app import App

    settings = _ready(_settings())
    try:
        listener = server.listen(host or settings.host, port or settings.port)
    except server.PortTaken as problem:
        _fail(f"{problem} Set ACORN_PORT, or stop what listens there.")
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

    settings = _ready(_settings())

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

    url = _settings().database_url.get_secret_value()
    before = _asked_database(lambda: migrations.current(url))
    if before == migrations.head():
        typer.echo(f"The database is at {before}, the newest. Nothing to do.")
        return
    _asked_database(lambda: migrations.upgrade(url))
    typer.echo(f"The database went from {before or 'nothing'} to {migrations.head()}.")


@app.command(context_settings=PASS_ON)
def sandbox(
    context: typer.Context, platform: Annotated[str, typer.Argument(help="amazon or shopify", metavar="PLATFORM")] = ""
) -> None:
    """Start a stand-in: `acorn sandbox amazon --port 8010`, `acorn sandbox shopify --help`."""
    if platform == "--help":
        typer.echo(context.get_help())
        raise typer.Exit
    if platform not in ("amazon", "shopify"):
        _fail("Say which: `acorn sandbox amazon --port 8010` or `acorn sandbox shopify --port 8020`; --help after it.")
    # In our place: whoever stops us stops it.
    os.execv(sys.executable, [sys.executable, "-m", "sandbox", platform, *context.args])  # noqa: S606  ours


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


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is. Keys of one name are one client.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What it opens; give it at least once. One of {', '.join(sorted(ALL))}.")
    ] = [],  # noqa: B006  typer's
    days: Annotated[int | None, typer.Option(min=1, help="How long it is valid; without it, until revoked.")] = None,
) -> None:
    """Make a key. It is shown once and kept as a hash only."""
    from domain.errors import Invalid
    from gateway import keys

    try:
        keys.check_scopes(scope)
        valid_for = None if days is None else timedelta(days=days)
        made, secret = _with_store(lambda store: keys.create(store, name, scope, valid_for))
    except Invalid as problem:
        _fail(problem.message)
    typer.echo(secret)
    until = "until revoked" if made.expires_at is None else f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"
    typer.echo(
        f"{made.id}, {made.name}: {', '.join(sorted(made.scopes))}, valid {until}. It is not shown again.", err=True
    )


@keys_app.command("list")
def keys_list() -> None:
    """List all keys; their secrets are not kept anywhere."""
    from gateway import keys

    now = datetime.now(UTC)
    for one in _with_store(keys.list_all):
        expires = "never" if one.expires_at is None else f"{one.expires_at:%Y-%m-%d %H:%M}"
        typer.echo(f"{one.id}  {keys.state_of(one, now):7}  {one.name}")
        typer.echo(f"    created {one.created_at:%Y-%m-%d %H:%M}, expires {expires}: {' '.join(sorted(one.scopes))}")


@keys_app.command("revoke")
def keys_revoke(id: Annotated[str, typer.Argument(help="The key's id, as `acorn keys list` shows it.")]) -> None:
    """Revoke a key; it opens nothing from five seconds later on."""
    from gateway import keys

    if not _with_store(lambda store: keys.revoke(store, id)):
        _fail(f"There is no key {id} to revoke; `acorn keys list` shows them.")
    typer.echo(f"{id} is revoked.")


@schema_app.command("print")
def schema_print() -> None:
    """Print the schema in GraphQL's own language."""
    from schema.root import schema

    typer.echo(schema.as_str())


def _settings() -> Settings:
    """The settings, with logs going where they say."""
    from gateway import logs

    try:
        settings = read_settings()
    except SettingsError as problem:
        _fail(str(problem))
    logs.set_up(settings.log_level, settings.log_format)
    return settings


def _ready(settings: Settings) -> Settings:
    """Settings of a house that can stand: its channels are sound, its database is at the newest schema."""
    from gateway.config import ConfigError, read_config
    from store import migrate as migrations

    try:
        read_config(settings.config)
    except ConfigError as problem:
        _fail(str(problem))
    current = _asked_database(lambda: migrations.current(settings.database_url.get_secret_value()))
    if current != migrations.head():
        _fail(
            f"The database is at {current or 'nothing'}, this version needs {migrations.head()}. Run `acorn migrate`."
        )
    return settings


def _asked_database(ask: Callable[[], T]) -> T:
    from store.session import UNAVAILABLE

    try:
        return ask()
    except UNAVAILABLE as problem:
        _fail(f"The database does not answer ({type(problem).__name__}). Check ACORN_DATABASE_URL and that it runs.")


def _with_store(work: Callable[..., Awaitable[T]]) -> T:
    """What `work` answers, given connections to the database."""
    from store.session import Store

    settings = _settings()

    async def run() -> T:
        store = Store(settings.database_url.get_secret_value(), pool_size=1)
        try:
            return await work(store)
        finally:
            await store.close()

    return _asked_database(lambda: asyncio.run(run()))


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def main() -> None:
    """The entry point."""
    app()
