"""What settlements come to on accounts, and the journals that were closed.

A line counts on the day that it was posted, by the clock of the chart; one that was posted outside of its settlement's time
counts on the first or last day of that, so that every line is in just one journal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    Date,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chart import Chart
from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId
from domain.journal import (
    Booked,
    Entry,
    EntryKind,
    Goods,
    Journal,
    Period,
    Posting,
    Settled,
    Uncosted,
    difference,
    digest_of,
    entries,
)
from domain.money import Money
from domain.money_class import Event, MoneyClass
from store import locks
from store.money_line import standing
from store.profit_atoms import left, sku_of_listing, sku_of_order, told_by_most, told_restocks
from store.profit_sums import in_force, layers
from store.session import AnyRow, among, take_time
from store.tables import journal, journal_posting, money_line, order, restock

j, p = journal.c, journal_posting.c

MOST_SETTLEMENTS = 5_000
MOST_UNCOSTED = 100
"""So many SKUs without a cost are named, those with the most units first."""

_SETTLEMENTS = """
    with period as (
        select id, channel, external_id, marketplace, currency, total,
            timezone(cast(:zone as text), starts_at)::date first_day,
            timezone(cast(:zone as text), greatest(starts_at, ends_at - interval '1 microsecond'))::date last_day,
            timezone(cast(:zone as text), coalesce(deposited_at, ends_at))::date paid_on
        from settlement
        where (cardinality(cast(:channels as text[])) = 0 or channel = any(cast(:channels as text[])))
            and kept_at <= :known_at
    )"""
_LINES = f"""{_SETTLEMENTS}, line as (
        select l.settlement_id, l.event, l.class, l.cause, l.currency, l.amount, l.channel, l.sku, l.channel_sku, l.units, l.day,
            greatest(s.first_day, least(s.last_day, timezone(cast(:zone as text), l.posted_at)::date))
                between :first and :last counts
        from money_line l join period s on s.id = l.settlement_id
        where s.id = any(cast(:ids as text[])) and s.first_day <= :last and s.last_day >= :first
            and l.known_at <= :known_at and (l.replaced_at is null or l.replaced_at > :known_at)
    )"""  # noqa: S608 - words of ours
_SETTLED = text(
    f"""{_SETTLEMENTS}
    select * from period
    where (first_day <= :last and last_day >= :first) or paid_on between :first and :last
    order by id limit :most"""  # noqa: S608 - words of ours
)
_BOOKED = text(
    f"""{_LINES}
    select settlement_id, event, class, cause is not null as open, currency, counts, sum(amount) amount, count(*) lines
    from line group by settlement_id, event, class, cause is not null, currency, counts"""  # noqa: S608 - words of ours
)
_LINE = (
    text(f"{_LINES} select * from line")  # noqa: S608 - words of ours
    .columns(
        *(column(name, Text) for name in ("settlement_id", "event", "class", "channel", "sku", "channel_sku")),
        column("units", Integer),
        column("day", Date),
        column("counts", Boolean),
    )
    .subquery("line")
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a journal is of: the days, and the channels (none: all)."""

    period: Period
    channels: tuple[ChannelId, ...] = ()

    def meets(self, row: AnyRow) -> bool:
        """Whether a closed journal of that row has days and channels in common."""
        apart = self.period.last < row.first_day or row.last_day < self.period.first
        theirs = set(row.channels)
        return not apart and (not theirs or not self.channels or not theirs.isdisjoint(self.channels))

    def is_of(self, row: AnyRow) -> bool:
        """Whether a closed journal of that row is of just this."""
        ours = (self.period.first, self.period.last, sorted(self.channels))
        return ours == (row.first_day, row.last_day, list(row.channels))


async def preview(tx: AsyncConnection, scope: Scope, chart: Chart, known_at: datetime | None = None) -> Journal:
    """The journal as it is known now, or was known at an instant; nothing is kept.

    Raises Conflict for a settlement whose lines do not come to its total, Invalid for too many settlements.
    """
    await take_time(tx)
    # Not now(): who waits to close may have begun before others whose journal is in the way.
    at = known_at or (await tx.execute(select(func.clock_timestamp()))).scalar_one()
    wanted = {
        "zone": chart.zone.key,
        "channels": sorted(scope.channels),
        "known_at": at,
        "first": scope.period.first,
        "last": scope.period.last,
    }
    settled = await _settled(tx, wanted)
    # Of these alone: another one may be committed while this is read.
    wanted["ids"] = [one.id for one in settled]
    booked = await _booked(tx, wanted, {one.id: one for one in settled})
    goods, uncosted = await _goods(tx, wanted)
    made = entries(scope.period, settled, booked, goods, chart)
    channels = tuple(sorted(scope.channels))
    accounts = _names(made, chart)
    return Journal(scope.period, channels, at, chart.name, made, accounts, uncosted, digest_of(made))


async def close(
    tx: AsyncConnection, scope: Scope, chart: Chart, by: str, booked_on: date | None = None
) -> tuple[Journal, bool]:
    """Close the journal as it is known now, under the next number: the whole, or, where it was closed before, what differs. Where
    nothing does, the last one is answered, and False.

    Raises Conflict where a journal of other days or channels has some of this already, NotFound where there is nothing to book,
    Invalid for a day to book it on that lies before all of it.
    """
    if booked_on is not None and booked_on < scope.period.first:
        raise Invalid(f"{booked_on} lies before the journal's own days.", field=("bookedOn",))
    await tx.execute(select(func.pg_advisory_xact_lock(locks.JOURNALS)))
    rows = (await tx.execute(select(journal).order_by(j.number))).all()
    for row in rows:
        if scope.meets(row) and not scope.is_of(row):
            whose = ", ".join(row.channels) or "all channels"
            raise Conflict(
                f"Journal {row.number} has {row.first_day} to {row.last_day} of {whose} already. Close just these again to book "
                "what has changed, or days that are in none.",
                field=("from",),
            )
    whole = await preview(tx, scope, chart)
    before = [row for row in rows if scope.is_of(row)]
    if not before and not whole.entries:
        raise NotFound(f"No settlement has lines from {scope.period.first} to {scope.period.last}.", field=("from",))
    changed = whole.entries
    if before:
        held = await _entries(tx, [row.number for row in before])
        changed = difference(whole.entries, [one for row in before for one in held[row.number]])
        if not changed:
            return (await by_numbers(tx, [before[-1].number]))[before[-1].number], False
    if booked_on is not None:
        changed = tuple(replace(one, day=booked_on) for one in changed)
    made = replace(
        whole,
        entries=changed,
        accounts=_held_names(before, changed) | _names(changed, chart),
        number=len(rows) + 1,
        adjusts=before[-1].number if before else None,
        booked_on=booked_on,
        closed_by=by,
    )
    await _insert(tx, made)
    assert made.number is not None
    return (await by_numbers(tx, [made.number]))[made.number], True


async def page(
    tx: AsyncConnection, *, first: int, after: int | None = None, number: int | None = None
) -> tuple[list[Journal], bool]:
    """The next `first` journals without their entries, the newest first, and whether there are more."""
    query = select(journal).order_by(j.number.desc()).limit(first + 1)
    if after is not None:
        query = query.where(j.number < after)
    if number is not None:
        query = query.where(j.number == number)
    rows = (await tx.execute(query)).all()
    return [_journal(row, ()) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, number: int | None = None) -> int:
    """How many journals `page` would give in all."""
    query = select(func.count()).select_from(journal)
    return await tx.scalar(query if number is None else query.where(j.number == number)) or 0


async def by_numbers(tx: AsyncConnection, numbers: Collection[int]) -> dict[int, Journal]:
    """Journals with their entries; unknown ones are missing."""
    held = await _entries(tx, numbers)
    rows = await tx.execute(select(journal).where(among(j.number, numbers)))
    return {row.number: _journal(row, held.get(row.number, ())) for row in rows}


async def _settled(tx: AsyncConnection, wanted: dict[str, Any]) -> list[Settled]:
    rows = (await tx.execute(_SETTLED, wanted | {"most": MOST_SETTLEMENTS + 1})).all()
    if len(rows) > MOST_SETTLEMENTS:
        words = f"More than {MOST_SETTLEMENTS:,} settlements have lines then. Ask for fewer days, or for one channel."
        raise Invalid(words, field=("to",))
    return [
        Settled(
            id=row.id,
            channel=ChannelId(row.channel),
            external_id=row.external_id,
            marketplace=row.marketplace,
            total=Money(row.total, row.currency),
            ends_on=row.last_day,
            paid_on=row.paid_on,
        )
        for row in rows
    ]


async def _booked(tx: AsyncConnection, wanted: dict[str, Any], settled: dict[str, Settled]) -> list[Booked]:
    """What the lines of the period come to. Those of a settlement must come to its total, on whichever day they count."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    found = []
    for row in await tx.execute(_BOOKED, wanted):
        sums[row.settlement_id] += row.amount
        if row.counts:
            of = MoneyClass(row._mapping["class"])
            money = Money(row.amount, row.currency)
            found.append(Booked(row.settlement_id, Event(row.event), of, money, row.lines, row.open))
    for id, amount in sums.items():
        one = settled[id]
        if amount != one.total.amount:
            raise Conflict(
                f"The lines of settlement {one.external_id} of {one.channel} come to {amount} {one.total.currency}, and its "
                f"total is {one.total.amount}. Nothing is booked before that is set right."
            )
    return found


async def _goods(tx: AsyncConnection, wanted: dict[str, Any]) -> tuple[list[Goods], tuple[Uncosted, ...]]:
    found: list[Goods] = []
    missing: defaultdict[str, int] = defaultdict(int)
    for row in await tx.execute(_sold(wanted["known_at"]), wanted):
        if row.currency is None:
            missing[row.sku] += row.units
        else:
            cost = Money(row.cost, row.currency)
            found.append(Goods(ChannelId(row.channel), row.settlement_id, cost, row.units, row.lines))
    for row in await tx.execute(_back(wanted)):
        found.append(Goods(ChannelId(row.channel), None, Money(row.cost, row.currency), row.units, row.lines))
    named = sorted(missing.items(), key=lambda one: (-one[1], one[0]))
    rest = sum(units for _, units in named[MOST_UNCOSTED:])
    uncosted = [Uncosted(sku, units) for sku, units in named[:MOST_UNCOSTED]]
    return found, (*uncosted, *([Uncosted("", rest)] if rest else []))


def _sold(known_at: datetime) -> Select[Any]:
    """What the units that were sold had cost, by settlement; `sku` is told where nobody has told a cost of it."""
    of = _LINE.c
    sku = func.coalesce(of.sku, of.channel_sku, literal_column("''"))
    sale = of["class"] == MoneyClass.SALE.value, of.event == Event.SALE.value, of.units.is_not(None)
    u = (
        select(
            of.channel,
            of.settlement_id,
            sku.label("sku"),
            of.day,
            func.sum(of.units).label("units"),
            func.count().label("lines"),
        )
        .where(of.counts, *sale)
        .group_by(of.channel, of.settlement_id, sku, of.day)
        .subquery("u")
    )
    layer = layers(known_at)
    uncosted = case((layer.c.sku.is_(None), u.c.sku))
    return (
        select(
            u.c.channel,
            u.c.settlement_id,
            layer.c.currency,
            uncosted.label("sku"),
            func.sum(u.c.units * layer.c.landed).label("cost"),
            cast(func.sum(u.c.units), Integer).label("units"),
            cast(func.sum(u.c.lines), Integer).label("lines"),
        )
        .select_from(u.outerjoin(layer, in_force(layer, u.c.sku, u.c.day)))
        .group_by(u.c.channel, u.c.settlement_id, layer.c.currency, uncosted)
    )


def _back(wanted: dict[str, Any]) -> Select[Any]:
    """What the units that came back had cost when they were sold, by channel. An order that no settlement has sold units of has
    no cost in any journal, so nothing of it comes back there."""
    known_at, channels = wanted["known_at"], wanted["channels"]
    told = told_restocks(standing(known_at, restock.c), *([among(restock.c.channel, channels)] if channels else []))
    o, its = order.c, money_line.c
    sold = (
        select(its.day)
        .where(
            its.order_id == o.id,
            its["class"] == MoneyClass.SALE.value,
            its.event == Event.SALE.value,
            its.settlement_id.is_not(None),
            its.units.is_not(None),
            standing(known_at, its),
        )
        .order_by(its.channel_sku.is_distinct_from(told.c.channel_sku), its.day)
        .limit(1)
        .correlate(order, told)
        .lateral("sold")
    )
    came_on = cast(func.timezone(wanted["zone"], told.c.at), Date)
    u = (
        select(
            told.c.channel,
            told.c.units,
            func.coalesce(sold.c.day, came_on).label("day"),
            func.coalesce(sku_of_order(told), sku_of_listing(told), told.c.channel_sku).label("sku"),
        )
        .select_from(
            told.outerjoin(
                order, and_(o.channel == told.c.channel, o.external_id == told.c.order_external_id)
            ).outerjoin(sold, true())
        )
        .where(
            came_on.between(wanted["first"], wanted["last"]),
            told_by_most(told),
            or_(sold.c.day.is_not(None), and_(o.id.is_(None), left(told))),
        )
        .subquery("u")
    )
    layer = layers(known_at)
    return (
        select(
            u.c.channel,
            layer.c.currency,
            (-func.sum(u.c.units * layer.c.landed)).label("cost"),
            cast(-func.sum(u.c.units), Integer).label("units"),
            func.count().label("lines"),
        )
        .select_from(u.join(layer, in_force(layer, u.c.sku, u.c.day)))
        .group_by(u.c.channel, layer.c.currency)
    )


def _names(some: Sequence[Entry], chart: Chart) -> dict[str, str]:
    return {code: chart.accounts[code] for code in sorted(_codes(some)) if code in chart.accounts}


def _codes(some: Sequence[Entry]) -> set[str]:
    return {code for one in some for code in (one.contra, *(posting.account for posting in one.postings))}


def _held_names(before: Sequence[AnyRow], some: Sequence[Entry]) -> dict[str, str]:
    """The names of accounts as the journals before had them: the chart may have them no more."""
    codes = _codes(some)
    return {code: name for row in before for code, name in row.accounts.items() if code in codes}


async def _insert(tx: AsyncConnection, made: Journal) -> None:
    await tx.execute(
        insert(journal).values(
            number=made.number,
            first_day=made.period.first,
            last_day=made.period.last,
            channels=list(made.channels),
            known_at=made.known_at,
            chart=made.chart,
            accounts=made.accounts,
            uncosted=[[one.sku, one.units] for one in made.uncosted],
            digest=made.digest,
            adjusts=made.adjusts,
            booked_on=made.booked_on,
            closed_by=made.closed_by,
        )
    )
    rows = [
        {
            "journal": made.number,
            "entry": number,
            "position": position,
            "kind": one.kind.value,
            "day": one.day,
            "channel": one.channel,
            "marketplace": one.marketplace,
            "settlement_id": one.settlement,
            "reference": one.reference,
            "currency": one.currency,
            "contra": one.contra,
            "account": posting.account,
            "amount": posting.amount,
            "lines": posting.lines,
            "event": None if posting.event is None else posting.event.value,
            "class": None if posting.money_class is None else posting.money_class.value,
            "units": posting.units,
            "rounded": posting.rounded,
            "suspense": posting.suspense,
        }
        for number, one in enumerate(made.entries, start=1)
        for position, posting in enumerate(one.postings, start=1)
    ]
    for start in range(0, len(rows), 5_000):
        await tx.execute(insert(journal_posting), rows[start : start + 5_000])


async def _entries(tx: AsyncConnection, numbers: Collection[int]) -> dict[int, tuple[Entry, ...]]:
    rows = await tx.execute(
        select(journal_posting).where(among(p.journal, numbers)).order_by(p.journal, p.entry, p.position)
    )
    groups: defaultdict[tuple[int, int], list[AnyRow]] = defaultdict(list)
    for row in rows:
        groups[row.journal, row.entry].append(row)
    found: defaultdict[int, list[Entry]] = defaultdict(list)
    for (number, _), some in groups.items():
        found[number].append(_entry(some))
    return {number: tuple(found[number]) for number in numbers}


def _entry(rows: Sequence[AnyRow]) -> Entry:
    head = rows[0]
    postings = tuple(
        Posting(
            account=row.account,
            amount=row.amount,
            lines=row.lines,
            event=None if row.event is None else Event(row.event),
            money_class=None if row._mapping["class"] is None else MoneyClass(row._mapping["class"]),
            units=row.units,
            rounded=row.rounded,
            suspense=row.suspense,
        )
        for row in rows
    )
    return Entry(
        kind=EntryKind(head.kind),
        day=head.day,
        currency=head.currency,
        channel=ChannelId(head.channel),
        contra=head.contra,
        postings=postings,
        settlement=head.settlement_id,
        reference=head.reference,
        marketplace=head.marketplace,
    )


def _journal(row: AnyRow, held: tuple[Entry, ...]) -> Journal:
    return Journal(
        period=Period(row.first_day, row.last_day),
        channels=tuple(map(ChannelId, row.channels)),
        known_at=row.known_at,
        chart=row.chart,
        entries=held,
        accounts=row.accounts,
        uncosted=tuple(Uncosted(sku, units) for sku, units in row.uncosted),
        digest=row.digest,
        number=row.number,
        adjusts=row.adjusts,
        booked_on=row.booked_on,
        closed_by=row.closed_by,
        closed_at=row.closed_at,
    )
