"""`acorn channels`: consents, tokens, secrets and notifications of accounts and shops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from gateway.commands.common import fail, told_settings, with_house, with_store

if TYPE_CHECKING:
    from adapters.consent import Consent
    from gateway.wiring import House
    from store.session import Store

app = typer.Typer(
    no_args_is_help=True, help="Let accounts consent, keep their tokens, renew secrets and keys, watch notifications."
)


@app.command("authorize")
def channels_authorize(
    platform: Annotated[str, typer.Argument(help="amazon, shopify or shop", metavar="PLATFORM")],
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
        with Console(stderr=True).status(f"Waiting for {account.account} to consent … Ctrl-C stops the waiting only."):
            return await consent.outcome(house.store, started.id)

    try:
        found = with_house(ask)
    except KeyboardInterrupt:
        typer.echo("No longer waiting. The page stays good for ten minutes from its start.", err=True)
        raise typer.Exit(130) from None
    if found is None or found.granted is None:
        fail("Nobody consented within ten minutes, or no gateway runs where the browser is sent back to. Run it again.")
    if not found.granted:
        fail(str(found.words))
    typer.echo(found.words)


@app.command("token")
def channels_token(
    platform: Annotated[str, typer.Argument(help="amazon, shopify or shop", metavar="PLATFORM")],
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
) -> None:
    """Keep the token of your own application, typed or from the standard input, once the platform has taken it."""
    from domain.grant import Source
    from gateway import consent

    typed = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    token = str(typed).strip()
    if not token:
        fail(f"There is no token on the standard input: `acorn channels token {platform} {channel} < token.txt`.")

    async def keep(house: House) -> None:
        account = _account(house, platform, channel)
        house.ring.check()
        good = await account.prove(token)
        await consent.keep(house.store, house.ring, account, good, Source.PASTED)

    with_house(keep)
    typer.echo(f"The token of {channel} is kept. Running processes use it within five seconds.")


@app.command("rotate-secret")
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
        if not isinstance(port, AmazonPort):
            fail(f"Secrets of {platform} are not changed here; put the new one into the settings of every process.")
        house.ring.check()
        await port.rotate_secret(Ask())

    with_house(rotate)
    typer.echo(
        "A new secret was asked for. It comes by notification to the application's queue, and is used from then on."
    )


@app.command("notifications")
def channels_notifications(
    platform: Annotated[str, typer.Argument(help="amazon, shopify or rest", metavar="PLATFORM")],
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
    apply: Annotated[bool, typer.Option("--apply", help="Make what is missing, end what points elsewhere.")] = False,
) -> None:
    """Show whether the channel notifies us of what it should. Exit code 1 while something is wrong."""
    from adapters.notices import Finding
    from domain.budget import Ask
    from domain.ids import ChannelId

    async def look(house: House) -> list[Finding]:
        known = [id for id, one in house.channels.items() if one.platform.value.lower() == platform.lower()]
        if channel not in known:
            fail(f"No channel of {platform} is called {channel}; there is {', '.join(known) or 'none'}.")
        desk = house.notices.desks.get(ChannelId(channel))
        if desk is None and platform.lower() == "amazon":
            fail(
                f"{channel} has no table [channels.notifications] with a queue or an event bus in acorn.toml; "
                "docs/amazon.md shows one."
            )
        if desk is None:
            fail(f"{channel} has no `webhook_url` in acorn.toml; docs/{platform.lower()}.md says what it is.")
        return await desk.ensure(Ask(), apply=apply)

    findings = with_house(look)
    for one in findings:
        state = "ok" if one.wrong is None else "mended" if one.mended else "WRONG"
        typer.echo(f"{state:>6}  {one.what}" + ("" if one.wrong is None else f": {one.wrong}"))
    if any(one.wrong is not None and not one.mended for one in findings):
        raise typer.Exit(1)


@app.command("locations")
def channels_locations(
    channel: Annotated[str, typer.Argument(help="The channel's id in acorn.toml.", metavar="CHANNEL")],
) -> None:
    """List the places that a channel knows, with the ids that acorn.toml names them by. Exit code 1 where those disagree."""
    from adapters.storefront import Places
    from domain.budget import Ask
    from domain.ids import ChannelId
    from domain.place import ChannelPlace, Misplaced, misplaced

    async def look(house: House) -> tuple[list[ChannelPlace], list[Misplaced]]:
        known: dict[ChannelId, Places] = {id: one for id, one in house.ports.items() if isinstance(one, Places)}
        id = ChannelId(channel)
        if id not in known:
            fail(f"No channel that tells of its places is called {channel}; there is {', '.join(known) or 'none'}.")
        places = await known[id].places(Ask())
        return places, misplaced(id, house.locations, places)

    places, wrong = with_house(look)
    for place in places:
        state = "foreign" if place.foreign else "active" if place.active else "deactivated"
        online = "" if place.sells_online else "  no online orders"
        typer.echo(f"{place.id}  {place.country or '--'}  {state}{online}  {place.name}")
    for one in wrong:
        typer.echo(f"{one.found}\n    {one.do}", err=True)
    if wrong:
        raise typer.Exit(1)


@app.command("new-key")
def channels_new_key() -> None:
    """Make a key for ACORN_KEYS, which encrypts what is kept of consents. Put it before those that are there."""
    from cryptography.fernet import Fernet

    typer.echo(Fernet.generate_key().decode())


@app.command("rotate-keys")
def channels_rotate_keys() -> None:
    """Encrypt everything that is kept under the newest of ACORN_KEYS; the others may be taken out afterward."""
    from domain.errors import HouseError
    from domain.ids import OrderId
    from gateway.wiring import keyring
    from store import grant, label, person, webhook

    ring = keyring(told_settings())

    async def reseal(store: Store) -> int:
        last: str | None = ""
        while last is not None:
            async with store.begin() as tx:
                last = await label.reseal(tx, ring, last)
        of: OrderId | None = OrderId("")
        while of is not None:
            async with store.begin() as tx:
                of = await person.reseal(tx, ring, of)
        async with store.begin() as tx:
            return await grant.reseal(tx, ring) + await webhook.reseal(tx, ring)

    try:
        ring.check()
        count = with_store(reseal)
    except HouseError as problem:
        fail(problem.message)
    typer.echo(f"{count} secrets are encrypted under the newest key.")


def _account(house: House, platform: str, channel: str) -> Consent:
    """The account of a channel that can be asked for its consent, or given a token."""
    from domain.ids import ChannelId

    known = {id: one for id, one in house.consents.items() if one.channel.platform.value.lower() == platform.lower()}
    found = known.get(ChannelId(channel))
    if found is None:
        fail(f"No channel of {platform} that consents is called {channel}; there is {', '.join(known) or 'none'}.")
    return found
