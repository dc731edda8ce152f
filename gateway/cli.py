"""The command `acorn`. Each command imports what it needs itself, so that `--help` answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

from gateway.settings import PORT_WANTED, Settings, SettingsError, read_settings
from schema.scopes import ALL

if TYPE_CHECKING:
    from adapters.amazon.consent import AmazonConsent
    from domain.booking import Outcome
    from domain.channel import Location
    from gateway.config import Config
    from gateway.plan import Plans
    from gateway.wiring import House
    from store.session import Store

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
documents_app = typer.Typer(no_args_is_help=True, help="Collect, register and list trusted documents.")
schema_app = typer.Typer(no_args_is_help=True, help="The public contract.")
stock_app = typer.Typer(no_args_is_help=True, help="Bring counts in and out, prove the ledger, explain a number.")
channels_app = typer.Typer(
    no_args_is_help=True, help="Let accounts consent, keep their tokens, renew secrets and keys, watch notifications."
)
app.add_typer(keys_app, name="keys")
app.add_typer(channels_app, name="channels")
app.add_typer(documents_app, name="documents")
app.add_typer(stock_app, name="stock")
app.add_typer(schema_app, name="schema")
explain_app = typer.Typer(no_args_is_help=True, help="Say what would be done, and why, without doing it.")
app.add_typer(explain_app, name="explain")
MOST_BUDGET = 2**31 - 1
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
        _fail(str(problem))
    found = _with_store(lambda store: told.read(store, wanted, limit))
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


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose key it is. Keys of one name are one client.")],
    scope: Annotated[
        list[str], typer.Option(help=f"What it opens; give it at least once. One of {', '.join(sorted(ALL))}.")
    ] = [],  # noqa: B006  typer's
    days: Annotated[int | None, typer.Option(min=1, help="How long it is valid; without it, until revoked.")] = None,
    points_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST_BUDGET, help="Points it may spend; without it, those of the settings.")
    ] = None,
    calls_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST_BUDGET, help="Upstream calls it may cause, likewise.")
    ] = None,
) -> None:
    """Make a key. It is shown once and kept as a hash only."""
    from domain.errors import Invalid
    from gateway import keys

    try:
        keys.check_scopes(scope)
        valid_for = None if days is None else timedelta(days=days)
        budget = {"points_per_minute": points_per_minute, "calls_per_minute": calls_per_minute}
        made, secret = _with_store(lambda store: keys.create(store, name, scope, valid_for, **budget))
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
        budgets = (("points", one.points_per_minute), ("calls", one.calls_per_minute))
        if told := [f"{budget} {unit}" for unit, budget in budgets if budget is not None]:
            typer.echo(f"    a minute: {', '.join(told)}")


@keys_app.command("revoke")
def keys_revoke(id: Annotated[str, typer.Argument(help="The key's id, as `acorn keys list` shows it.")]) -> None:
    """Revoke a key; it opens nothing from five seconds later on."""
    from gateway import keys

    if not _with_store(lambda store: keys.revoke(store, id)):
        _fail(f"There is no key {id} to revoke; `acorn keys list` shows them.")
    typer.echo(f"{id} is revoked.")


@channels_app.command("authorize")
def channels_authorize(
    platform: Annotated[str, typer.Argument(help="amazon", metavar="PLATFORM")],
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in this machine's browser.")] = False,
    link: Annotated[
        bool,
        typer.Option("--link", help="Print a link of the gateway for somebody else, good once within ten minutes."),
    ] = False,
) -> None:
    """Ask an account for its consent and wait until it comes back to the gateway. Exit code 1 when it does not."""
    import webbrowser

    from gateway import consent
    from store.consent import Progress

    async def ask(house: House) -> Progress | None:
        account = _account(house, platform, channel)
        if link:
            base = consent.base_of(account, house.settings.host, house.settings.port)
            started = await consent.start_link(house.store, house.ring, account, base)
        else:
            started = await consent.start(house.store, house.ring, account)
        typer.echo(started.url)
        if open_page:
            webbrowser.open(started.url)
        with Console(stderr=True).status(
            f"Waiting for {account.seller_id} to consent … Ctrl-C stops the waiting only."
        ):
            return await consent.outcome(house.store, started.id)

    try:
        found = _with_house(ask)
    except KeyboardInterrupt:
        typer.echo("No longer waiting. The page stays good for ten minutes from its start.", err=True)
        raise typer.Exit(130) from None
    if found is None or found.granted is None:
        _fail(
            "Nobody consented within ten minutes, or no gateway runs where Amazon sends the browser back. Run it again."
        )
    if not found.granted:
        _fail(str(found.words))
    typer.echo(found.words)


@channels_app.command("token")
def channels_token(
    platform: Annotated[str, typer.Argument(help="amazon", metavar="PLATFORM")],
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
) -> None:
    """Keep the refresh token of your own application, typed or from the standard input, once the platform has taken it."""
    from domain.grant import Source
    from gateway import consent

    typed = typer.prompt("Refresh token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    token = str(typed).strip()
    if not token:
        _fail(f"There is no token on the standard input: `acorn channels token amazon {channel} < token.txt`.")

    async def keep(house: House) -> None:
        account = _account(house, platform, channel)
        house.ring.check()
        good = await account.prove(token)
        await consent.keep(house.store, house.ring, account, good, Source.PASTED)

    _with_house(keep)
    typer.echo(f"The token of {channel} is kept. Running processes use it within five seconds.")


@channels_app.command("rotate-secret")
def channels_rotate_secret(
    platform: Annotated[str, typer.Argument(help="amazon", metavar="PLATFORM")],
    channel: Annotated[
        str, typer.Argument(help="A channel of the application, as acorn.toml names it.", metavar="CHANNEL")
    ],
) -> None:
    """Ask for a new secret of the application. It comes by notification; the old one goes on for a while."""
    from adapters.amazon.platform import AmazonPort
    from domain.budget import Ask

    async def rotate(house: House) -> None:
        port = house.ports[_account(house, platform, channel).channel.id]
        assert isinstance(port, AmazonPort)
        house.ring.check()
        await port.rotate_secret(Ask())

    _with_house(rotate)
    typer.echo(
        "A new secret was asked for. It comes by notification to the application's queue, and is used from then on."
    )


@channels_app.command("notifications")
def channels_notifications(
    platform: Annotated[str, typer.Argument(help="amazon", metavar="PLATFORM")],
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
    apply: Annotated[bool, typer.Option("--apply", help="Make what is missing, end what points elsewhere.")] = False,
) -> None:
    """Show whether the account notifies us of what it should. Exit code 1 while something is wrong."""
    from adapters.amazon.notifications import Finding
    from domain.budget import Ask

    async def look(house: House) -> list[Finding]:
        desk = house.notices.desks.get(_account(house, platform, channel).channel.id)
        if desk is None:
            _fail(
                f"{channel} has no table [channels.notifications] with a queue or an event bus in acorn.toml; "
                "docs/amazon.md shows one."
            )
        return await desk.ensure(Ask(), apply=apply)

    findings = _with_house(look)
    for one in findings:
        state = "ok" if one.wrong is None else "mended" if one.mended else "WRONG"
        typer.echo(f"{state:>6}  {one.what}" + ("" if one.wrong is None else f": {one.wrong}"))
    if any(one.wrong is not None and not one.mended for one in findings):
        raise typer.Exit(1)


@channels_app.command("new-key")
def channels_new_key() -> None:
    """Make a key for ACORN_KEYS, which encrypts what is kept of consents. Put it before those that are there."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@channels_app.command("rotate-keys")
def channels_rotate_keys() -> None:
    """Encrypt everything that is kept under the newest of ACORN_KEYS; the others may be taken out afterward."""
    from domain.errors import HouseError
    from gateway.wiring import keyring
    from store import grant

    ring = keyring(_settings())

    async def reseal(store: Store) -> int:
        async with store.begin() as tx:
            return await grant.reseal(tx, ring)

    try:
        ring.check()
        count = _with_store(reseal)
    except HouseError as problem:
        _fail(problem.message)
    typer.echo(f"{count} secrets are encrypted under the newest key.")


@documents_app.command("build")
def documents_build(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Folders or files: .graphql, and templates tagged gql or graphql in .ts or .js."),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Where the manifest goes; by default to the standard output.")
    ] = None,
) -> None:
    """Collect the operations of a client, check them against the schema and write them as a manifest."""
    import orjson

    from gateway import manifest

    try:
        texts = manifest.collect(paths, _plans())
        written = orjson.dumps(texts, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        if output is None:
            typer.echo(written, nl=False)
        else:
            output.write_bytes(written)
    except manifest.ManifestProblem as problem:
        _fail(str(problem))
    except OSError as problem:
        _fail(f"{output} cannot be written: {problem.strerror}.")
    typer.echo(f"{len(texts)} documents. `acorn documents register` makes gateways know them.", err=True)


@documents_app.command("register")
def documents_register(
    file: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="As `acorn documents build`, Apollo's or Relay's tools write it.")
    ],
) -> None:
    """Keep the documents of a manifest; gateways run them from two seconds later on."""
    from gateway import manifest

    try:
        texts = manifest.read(file, _plans())
        new = _with_store(lambda store: manifest.register(store, texts))
    except manifest.ManifestProblem as problem:
        _fail(str(problem))
    typer.echo(f"{new} registered, {len(texts) - new} were before.")


@documents_app.command("list")
def documents_list() -> None:
    """List the registered documents: id, since when, the names of their operations."""
    from gateway import manifest

    for one in _with_store(manifest.registered):
        typer.echo(f"{one.id}  {one.registered_at:%Y-%m-%d %H:%M}  {manifest.names_of(one.text)}")


@documents_app.command("remove")
def documents_remove(ids: Annotated[list[str], typer.Argument(help="As `acorn documents list` shows them.")]) -> None:
    """Forget documents; gateways stop running them within five seconds."""
    from gateway import manifest

    if missing := _with_store(lambda store: manifest.remove(store, ids)):
        _fail(f"There is no document {', '.join(missing)}; `acorn documents list` shows them.")
    typer.echo(f"{len(ids)} removed.")


@stock_app.command("import")
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

    if sum((count, full, delta)) > 1:
        _fail("Say one of --count, --full and --delta.")
    ours = frozenset(place.code for place in _places())
    if location is not None and location not in ours:
        _fail(f"{location} is no place that the ledger counts; there is {', '.join(sorted(ours)) or 'none'}.")
    wanted = stock.Import(
        path=file,
        kind=FeedKind.FULL if full else FeedKind.DELTA if delta else FeedKind.COUNT,
        locations=ours,
        location=None if location is None else LocationCode(location),
        reason=reason or f"import of {file.name}",
        actor=_user(),
        dry_run=dry_run,
        again=again,
        confirm=confirm,
    )
    try:
        with _report(report) as tell, _progress(wanted=report is not None or not sys.stdout.isatty()) as progress:
            found = _with_store(lambda store: stock.run_import(store, wanted, tell, progress))
    except (stock.FileProblem, Invalid) as problem:
        _fail(str(problem))
    told = ", ".join(f"{found[result]} {result.value}" for result in Result if found[result])
    typer.echo(f"{told}." + (" Nothing was booked: this was a dry run." if dry_run else ""), err=True)
    if found[Result.REJECTED]:
        raise typer.Exit(1)


@stock_app.command("export")
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
        _fail("--format must be csv or jsonl.")
    if location is not None and location not in (ours := [place.code for place in _places()]):
        _fail(f"{location} is no place that the ledger counts; there is {', '.join(sorted(ours)) or 'none'}.")

    async def write(store: Store) -> None:
        rows = csv.DictWriter(sys.stdout, stock.EXPORT, lineterminator="\n")
        if form == "csv":
            rows.writeheader()
        async for one in stock.exported(store, None if location is None else LocationCode(location)):
            if form == "csv":
                rows.writerow(stock.export_row(one))
            else:
                sys.stdout.write(orjson.dumps(stock.export_row(one)).decode() + "\n")

    _with_store(write)


@stock_app.command("check")
def stock_check() -> None:
    """Prove that the balances are the sums of their entries. Exit code 1 when one is not."""
    from domain.ledger import Check
    from store import ledger

    async def check(store: Store) -> Check:
        async with store.begin() as tx:
            return await ledger.check(tx)

    found = _with_store(check)
    for one in found.wrong:
        typer.echo(
            f"{one.sku} at {one.location}: the balance is {_counts(one.balance)}, the entries sum to {_counts(one.entries)}."
        )
    wrong = f"{len(found.wrong)} are wrong." if found.wrong else "All are right."
    typer.echo(f"{found.balances} balances, {found.entries} entries. {wrong}")
    if found.wrong:
        raise typer.Exit(1)


@stock_app.command("explain")
def stock_explain(sku: Annotated[str, typer.Argument(help="One of our SKUs.")]) -> None:
    """Tell what the number of a SKU is made of, and what each channel is to show of it."""
    from domain.errors import NotFound
    from domain.ids import Sku
    from gateway import stock
    from gateway.stock_text import tables

    config = _config(_settings())
    terms = config.file.stock
    try:
        told = _with_store(
            lambda store: stock.explain(store, Sku(sku), config.locations, terms.safety_stock, terms.max_age)
        )
    except NotFound as problem:
        _fail(problem.message)
    console = Console(highlight=False)
    for table in tables(told, config.locations, datetime.now(UTC)):
        console.print(table)


@explain_app.command("stock")
def explain_stock(
    skus: Annotated[str | None, typer.Option(help="Our SKUs, separated by commas: as a query asks for them.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many SKUs: as workers refresh them.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """By which route stock would be read now: all candidates, their calls and seconds. Without SKUs or a count, all of it."""
    import orjson

    from adapters.route import Routed
    from domain.errors import Throttled
    from domain.ids import ChannelId, Sku
    from gateway import route
    from gateway.wiring import build_house

    if skus is not None and count is not None:
        _fail("Say one of --skus and --count.")
    wanted = None if skus is None else {Sku(one.strip()) for one in skus.split(",") if one.strip()}
    settings = _ready(_settings())
    config = _config(settings)

    async def explain() -> list[Routed]:
        house = await build_house(settings, config)
        try:
            known = house.ports.keys()
            if channel is not None and channel not in known:
                _fail(f"There is no channel {channel}; there is {', '.join(sorted(known)) or 'none'}.")
            return await route.explain(house, known if channel is None else [ChannelId(channel)], wanted, count)
        finally:
            await house.close()

    try:
        told = _asked_database(lambda: asyncio.run(explain()))
    except Throttled as problem:
        _fail(problem.message)
    if as_json:
        typer.echo(orjson.dumps([route.as_json(one) for one in told], option=orjson.OPT_INDENT_2))
        return
    console = Console(highlight=False)
    for one in told:
        console.print(route.table(one))
    if not told:
        nowhere = "No listing says that one of these SKUs lies where a channel counts; `acorn stock explain` tells what is known."
        _fail(f"{channel or 'No channel'} counts no stock of its own." if wanted is None else nowhere)


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


def _plans() -> Plans:
    """What decides whether a document is valid here."""
    from gateway.plan import Plans
    from schema.root import schema
    from schema.scopes import SCOPES

    return Plans(schema._schema, SCOPES, compile_at=None)


def _settings() -> Settings:
    """The settings, with logs going where they say."""
    from gateway import logs

    try:
        settings = read_settings()
    except SettingsError as problem:
        _fail(str(problem))
    logs.set_up(settings.log_level, settings.log_format)
    return settings


def _config(settings: Settings) -> Config:
    from gateway.config import ConfigError, read_config

    try:
        return read_config(settings.config)
    except ConfigError as problem:
        _fail(str(problem))


def _places() -> list[Location]:
    """The places that the ledger counts."""
    return [place for place in _config(_settings()).locations if place.ours]


def _ready(settings: Settings) -> Settings:
    """Settings of a house that can stand: its channels are sound, its database is at the newest schema."""
    from store import migrate as migrations

    _config(settings)
    current = _asked_database(lambda: migrations.current(settings.database_url.get_secret_value()))
    if current != migrations.head():
        _fail(
            f"The database is at {current or 'nothing'}, this version needs {migrations.head()}. Run `acorn migrate`."
        )
    if names := _with_store(partial(_unopened, settings)):
        _fail(
            f"What is kept for {', '.join(names)} cannot be opened with ACORN_KEYS. Put the key back that it was kept under, "
            "behind the newest, and run `acorn channels rotate-keys` before taking it out."
        )
    return settings


async def _unopened(settings: Settings, store: Store) -> list[str]:
    """Whose secrets none of the keys opens."""
    from gateway.wiring import keyring
    from store import grant

    async with store.begin() as tx:
        return await grant.unopened(tx, keyring(settings))


def _asked_database(ask: Callable[[], T]) -> T:
    from store.session import UNAVAILABLE

    try:
        return ask()
    except BrokenPipeError:
        raise  # Not the database: whoever reads what we print has read enough, as `head` does.
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


def _with_house(work: Callable[[House], Awaitable[T]]) -> T:
    """What `work` answers, given the whole house. What the house refuses is told."""
    import logging

    from domain.errors import HouseError
    from gateway.wiring import build_house

    settings = _ready(_settings())
    # Who runs a command reads its own words; that all went well is no news beside them.
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLogger().level))

    async def run() -> T:
        house = await build_house(settings)
        try:
            return await work(house)
        finally:
            await house.close()

    try:
        return _asked_database(lambda: asyncio.run(run()))
    except HouseError as problem:
        _fail(problem.message)


def _account(house: House, platform: str, channel: str) -> AmazonConsent:
    """The account of a channel that can be asked for its consent."""
    from domain.ids import ChannelId

    if platform != "amazon":
        _fail(f"Only accounts of amazon consent; {platform} has none. Say `amazon` and the id of one of its channels.")
    found = house.consents.get(ChannelId(channel))
    if found is None:
        _fail(f"No channel of Amazon is called {channel}; there is {', '.join(house.consents) or 'none'}.")
    return found


@contextlib.contextmanager
def _report(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """Where each row's outcome is told."""
    import csv

    from gateway import stock

    with contextlib.ExitStack() as stack:
        try:
            out = sys.stdout if path is None else stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        except OSError as problem:
            _fail(f"{path} cannot be written: {problem.strerror}.")
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(stock.REPORT)
        yield lambda outcome: rows.writerow(stock.report_row(outcome))


@contextlib.contextmanager
def _progress(*, wanted: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the standard error, where somebody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (wanted and console.is_terminal)) as progress:
        bar = progress.add_task("rows")
        yield lambda done, all: progress.update(bar, completed=done, total=all)


def _user() -> str:
    """Who runs the command; an account without a name is nobody in particular."""
    import getpass

    try:
        return f"{getpass.getuser()} (acorn stock)"
    except (KeyError, OSError):
        return "acorn stock"


def _counts(counts: tuple[int, int, int]) -> str:
    return "{} on hand, {} reserved, {} inbound".format(*counts)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def main() -> None:
    """The entry point."""
    app()
