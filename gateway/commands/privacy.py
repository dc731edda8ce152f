"""`acorn privacy`: what the law lets people ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.common import fail, told_settings, with_store

if TYPE_CHECKING:
    from store.session import Store

app = typer.Typer(no_args_is_help=True, help="What the law lets people ask of your shops, until it is done.")


@app.command("list")
def privacy_list(
    all_of_them: Annotated[bool, typer.Option("--all", help="Also what is done.")] = False,
) -> None:
    """What has been asked and by when it has to be done. Exit code 1 while something is overdue."""
    from domain.privacy import words
    from store import privacy

    async def look(store: Store) -> list[privacy.Kept]:
        async with store.begin() as tx:
            return await privacy.all_of(tx, unfinished=not all_of_them)

    found = with_store(look)
    now = datetime.now(UTC)
    for one in found:
        asked = one.request
        when = f"due {one.due_at:%Y-%m-%d %H:%M}" if one.done_at is None else f"done {one.done_at:%Y-%m-%d %H:%M}"
        late = " OVERDUE" if one.done_at is None and one.due_at < now else ""
        typer.echo(f"{one.number}  {asked.channel}  {asked.kind.value}  {when}{late}")
        if asked.buyer is not None:
            typer.echo(f"    buyer {asked.buyer}, orders {', '.join(asked.orders) or 'none'}")
        typer.echo(f"    {one.note or words(asked.kind)}")
    if any(one.done_at is None and one.due_at < now for one in found):
        raise typer.Exit(1)


@app.command("done")
def privacy_done(
    number: Annotated[int, typer.Argument(help="As `acorn privacy list` shows it.", metavar="NUMBER")],
    note: Annotated[str | None, typer.Option(help="What was done, for who asks later.")] = None,
) -> None:
    """A request has been carried out."""
    from store import privacy

    async def settle(store: Store) -> bool:
        async with store.begin() as tx:
            return await privacy.done(tx, number, note)

    if not with_store(settle):
        fail(f"No open request has the number {number}; `acorn privacy list` shows them.")
    typer.echo(f"Request {number} is done.")


@app.command("erase")
def privacy_erase(
    number: Annotated[int, typer.Argument(help="A SHOP_REDACT of `acorn privacy list`.", metavar="NUMBER")],
    confirm: Annotated[str, typer.Option(help="The channel's id once more.")],
) -> None:
    """Erase what is kept of a shop that has left: consent, listings, readings, hints, the log of its calls, who bought, and the
    documents of labels. Orders and the ledger are your own books, name no person, and stay. What breaks off goes on when it is
    called again."""
    from collections import Counter

    from domain.ids import ChannelId
    from domain.privacy import PrivacyKind
    from gateway.config import read_config
    from store import privacy

    configured = {ChannelId(one.id) for one in read_config(told_settings().config).file.channels}

    async def erase(store: Store) -> Counter[str]:
        async with store.begin() as tx:
            found = await privacy.by_number(tx, number)
        if found is None or found.done_at is not None or found.request.kind is not PrivacyKind.SHOP_REDACT:
            fail(f"No open SHOP_REDACT has the number {number}; `acorn privacy list` shows them.")
        channel = found.request.channel
        if confirm != channel:
            fail(f"Request {number} is about {channel}; confirm it with --confirm {channel}.")
        if channel in configured:
            fail(f"{channel} stands in acorn.toml and would come back. Take it out, restart, and try again.")
        gone: Counter[str] = Counter()
        while True:
            async with store.begin() as tx:
                some = await privacy.erase(tx, channel)
                if not some:
                    words = ", ".join(f"{name} {count}" for name, count in gone.items()) or "nothing"
                    await privacy.done(tx, number, f"erased: {words}")
                    return gone
            gone.update(some)

    for name, count in with_store(erase).items():
        typer.echo(f"{count:>9}  {name}")
    typer.echo(f"Request {number} is done.")
