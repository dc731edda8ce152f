"""Journals: shown as they would be, closed, and written for accounting systems to read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.accounting import datev, plain, quickbooks
from domain.chart import Chart
from domain.errors import Invalid, NotFound
from domain.ids import ChannelId
from domain.journal import Entry, Journal, Layout, Period, Side, sides
from resolvers import channel
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_item_cursor, write_cursor
from resolvers.link import Links
from resolvers.shelf import Shelf
from store import fx, journal
from store.journal import Scope
from store.session import Store

LINKS = Links("/journals/", "links to journals")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which days (both meant with), and of which channel; None: of all."""

    first: date
    last: date
    channel: ChannelId | None = None

    def scope(self, shelf: Shelf) -> Scope:
        """Raises Invalid, NotFound for a channel that is not there."""
        if self.channel is not None and channel.known(shelf, self.channel) is None:
            raise NotFound(f"There is no channel {self.channel}.", field=("channelId",))
        return Scope(Period(self.first, self.last), () if self.channel is None else (self.channel,))


@dataclass(frozen=True, slots=True)
class Shown:
    """An entry with the names of its accounts."""

    entry: Entry
    names: Mapping[str, str]

    @property
    def sides(self) -> list[tuple[Shown, Side]]:
        """Its lines as books show them."""
        return [(self, one) for one in sides(self.entry)]


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed journal; `fresh`: it was closed just now."""

    journal: Journal
    fresh: bool


@dataclass(frozen=True, slots=True)
class File:
    """A journal as others read it."""

    content: bytes
    media: str
    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """Where a file can be fetched, below the gateway's address, until `expires_at`, by whoever has the link."""

    url: str
    expires_at: datetime
    name: str


async def preview(shelf: Shelf, wanted: Wanted, known_at: datetime | None) -> Journal:
    """The journal as it is known now, or was known at an instant; nothing is kept. Raises Refused."""
    if known_at is not None and known_at > shelf.clock():
        raise Invalid("`knownAt` lies in the future; leave it out for now.", field=("knownAt",))
    async with shelf.store.begin() as tx:
        return await journal.preview(tx, wanted.scope(shelf), shelf.chart, known_at)


async def close(shelf: Shelf, wanted: Wanted, by: str, booked_on: date | None) -> Closed:
    """Close the journal, or what has changed of it since it was closed. Raises Refused."""
    async with shelf.store.begin() as tx:
        made, fresh = await journal.close(tx, wanted.scope(shelf), shelf.chart, by, booked_on)
    return Closed(made, fresh)


async def page(shelf: Shelf, first: int | None, after: str | None, number: int | None) -> Connection[Journal]:
    """Closed journals, the newest first, without their entries."""
    start = read_item_cursor("journals", after)
    async with shelf.store.begin() as tx:
        found, has_next = await journal.page(tx, first=page_size(first), after=start, number=number)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await journal.count(tx, number)

    return connect(found, has_next, after, lambda one: write_cursor("journals", one.number or 0), count)


async def by_numbers(shelf: Shelf, numbers: Collection[int]) -> Mapping[int, Journal]:
    """Closed journals with their entries."""
    async with shelf.store.begin() as tx:
        return await journal.by_numbers(tx, numbers)


def entries(one: Journal, first: int | None, after: str | None) -> Connection[Shown]:
    """A page of a journal's entries, in their order. Raises Invalid."""
    start = read_item_cursor("journalEntries", after) or 0
    size = page_size(first)
    found = [(number, entry) for number, entry in enumerate(one.entries, start=1) if number > start][: size + 1]
    places = {id(entry): number for number, entry in found}
    shown = [Shown(entry, one.accounts) for _, entry in found[:size]]

    async def count() -> int:
        return len(one.entries)

    return connect(
        shown, len(found) > size, after, lambda each: write_cursor("journalEntries", places[id(each.entry)]), count
    )


async def document(shelf: Shelf, number: int, layout: Layout) -> Document:
    """A new link to a closed journal in a layout. Raises Refused, saying what the layout lacks."""
    made = await file(shelf.store, shelf.chart, number, layout)
    return Document(*LINKS.to(shelf, f"{number}-{layout.value.lower()}"), made.name)


async def file(store: Store, chart: Chart, number: int, layout: Layout) -> File:
    """A closed journal in a layout: the same bytes each time. Raises Refused."""
    async with store.begin() as tx:
        one = (await journal.by_numbers(tx, [number])).get(number)
        if one is None:
            raise NotFound(f"There is no closed journal {number}.", field=("number",))
        return await write(tx, chart, one, layout)


async def write(tx: AsyncConnection, chart: Chart, one: Journal, layout: Layout) -> File:
    """A journal in a layout, with the rates of exchange that were known when it was made. Raises Invalid."""
    pairs = {(chart.currency, each.currency, each.day) for each in one.entries if each.currency != chart.currency}
    rates = await fx.by_days(tx, pairs, one.known_at)

    def rate(currency: str, day: date) -> Decimal | None:
        found = rates.get((chart.currency, currency, day))
        return None if found is None else found.rate

    return written(one, chart, layout, rate)


def written(one: Journal, chart: Chart, layout: Layout, rate: datev.Rate) -> File:
    """A journal in a layout. Raises Invalid."""
    called = f"journal-{one.period.first}-{one.period.last}" if one.number is None else f"journal-{one.number}"
    match layout:
        case Layout.CSV:
            return File(plain.write(one), "text/csv; charset=utf-8", f"{called}.csv")
        case Layout.DATEV:
            # Names that do not begin so are not taken.
            return File(datev.write(one, chart, rate), "text/csv; charset=windows-1252", f"EXTF_{called}.csv")
        case Layout.QUICKBOOKS:
            return File(quickbooks.write(one), "text/csv; charset=utf-8", f"{called}-quickbooks.csv")


def read_link(id: str) -> tuple[int, Layout] | None:
    """What a link's id names; None for one that none of ours has."""
    number, _, layout = id.partition("-")
    known = {one.value.lower(): one for one in Layout}
    if not (number.isascii() and number.isdigit() and len(number) < 10) or layout not in known:
        return None
    return int(number), known[layout]
