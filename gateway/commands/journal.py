"""`acorn finance journal` and `acorn finance chart`: what settlements come to on accounts, for accounting systems to read."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.common import fail, told_config, told_settings, user, with_store

if TYPE_CHECKING:
    from domain.chart import Chart
    from domain.journal import Journal, Layout
    from resolvers.journal import File
    from store.journal import Scope
    from store.session import Store


def finance_journal(
    since: Annotated[str | None, typer.Option("--from", help="The first day, such as 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="The last day, which is meant with.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only this channel.")] = None,
    number: Annotated[int | None, typer.Option(help="A journal that was closed, by its number.")] = None,
    layout: Annotated[str, typer.Option(help="csv, datev or quickbooks.")] = "csv",
    close: Annotated[bool, typer.Option("--close", help="Close it first, or what has changed since it was.")] = False,
    booked_on: Annotated[str | None, typer.Option(help="With --close: book all of it on this day.")] = None,
) -> None:
    """Write a journal of settlements to the standard output: as it is known now, closed now, or closed before."""
    from domain.errors import Refused
    from domain.ids import ChannelId
    from domain.journal import Layout, Period
    from store.journal import Scope

    config = told_config(told_settings())
    wanted = {one.value.lower(): one for one in Layout}.get(layout.lower())
    if wanted is None:
        fail(f"There is no layout {layout}; there are {', '.join(one.value.lower() for one in Layout)}.")
    if channel is not None and channel not in (known := [one.id for one in config.file.channels]):
        fail(f"There is no channel {channel}; there is {', '.join(known)}.")
    if number is not None and (since or until or channel or close):
        fail("--number names a journal that was closed: leave --from, --to, --channel and --close out.")
    if booked_on is not None and not close:
        fail("--booked-on goes with --close.")
    scope = None
    try:
        if number is None:
            if since is None or until is None:
                fail("Say --from and --to, or --number.")
            channels = () if channel is None else (ChannelId(channel),)
            scope = Scope(Period(_day("--from", since), _day("--to", until)), channels)
        on = None if booked_on is None else _day("--booked-on", booked_on)
        chart = config.chart
        made = with_store(lambda store: _made(store, chart, wanted, scope or number, on, close=close))
    except Refused as problem:
        fail(problem.message)
    sys.stdout.buffer.write(made.content)
    sys.stdout.buffer.flush()


def finance_chart(
    name: Annotated[str, typer.Argument(help="general, skr03, skr04 or us.")] = "general",
) -> None:
    """Print a chart of accounts of ours, to begin one's own with: put it beside acorn.toml and name it as `journals.chart`."""
    from domain.chart import built_in_text
    from domain.errors import Invalid

    try:
        typer.echo(built_in_text(name), nl=False)
    except Invalid as problem:
        fail(problem.message)


async def _made(
    store: Store, chart: Chart, layout: Layout, of: Scope | int | None, booked_on: date | None, *, close: bool
) -> File:
    from resolvers.journal import file, write
    from store import journal

    if not isinstance(of, journal.Scope):
        return await file(store, chart, of or 0, layout)
    async with store.begin() as tx:
        if not close:
            return await write(tx, chart, await journal.preview(tx, of, chart), layout)
        made, fresh = await journal.close(tx, of, chart, user("acorn finance"), booked_on)
        # What cannot be written is not closed either.
        written = await write(tx, chart, made, layout)
    _tell(made, fresh=fresh)
    return written


def _tell(made: Journal, *, fresh: bool) -> None:
    told = f"Journal {made.number} is closed" if fresh else f"Nothing has changed since journal {made.number}"
    adjusts = f"; it adjusts journal {made.adjusts}" if fresh and made.adjusts is not None else ""
    missing = sum(one.units for one in made.uncosted)
    lacks = f" Of {missing} units nobody has said what they cost." if missing else ""
    typer.echo(f"{told}{adjusts}.{lacks}", err=True)


def _day(option: str, told: str) -> date:
    try:
        return date.fromisoformat(told)
    except ValueError:
        fail(f"{option} is {told!r}; write a day such as 2026-11-01.")
