"""Journals: what the lines of settlements come to on the accounts of a chart, balanced to the minor unit.

An entry books one settlement's lines of a period against the channel's clearing account, one posting for each account, event
and class; paying out moves the clearing account's balance to what is on its way to the bank; what was sold and restocked moves
between goods and their cost. Each posting stands against one contra account, so an entry balances by what it is, and says how
many lines it is made of.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import NamedTuple

from domain.chart import Chart, Role
from domain.errors import Conflict, Invalid
from domain.ids import ChannelId
from domain.money import Money, minor_digits
from domain.money_class import PENDING, Event, MoneyClass

MOST_DAYS = 400


class EntryKind(Enum):
    """What an entry books."""

    LINES = "LINES"  # the lines of a settlement
    GOODS = "GOODS"  # what its units had cost; or, without a settlement, what came back to the shelf
    PAYOUT = "PAYOUT"  # its total, on the way to the bank


class Layout(Enum):
    """How a journal is written for others to read."""

    CSV = "CSV"
    DATEV = "DATEV"
    QUICKBOOKS = "QUICKBOOKS"


@dataclass(frozen=True, slots=True)
class Period:
    """The days of a journal, both of them with it."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise Invalid(f"{self.last} lies before {self.first}.", field=("to",))
        if self.last - self.first > timedelta(days=MOST_DAYS):
            raise Invalid(f"A journal is of at most {MOST_DAYS} days.", field=("to",))

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True)
class Settled:
    """A settlement as a journal needs it: its last day, and the day on which it was paid (or would have been)."""

    id: str
    channel: ChannelId
    external_id: str
    marketplace: str | None
    total: Money
    ends_on: date
    paid_on: date


@dataclass(frozen=True, slots=True)
class Booked:
    """So many lines of a settlement that are alike, and what they come to, as we see it. `open`: they are not tied out."""

    settlement: str
    event: Event
    money_class: MoneyClass
    amount: Money
    lines: int
    open: bool = False


@dataclass(frozen=True, slots=True)
class Goods:
    """What units of a settlement's lines had cost, to the last decimal. Without a settlement: what came back to the shelf of a
    channel, below 0 in cost and units."""

    channel: ChannelId
    settlement: str | None
    cost: Money
    units: int
    lines: int


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount on an account, above 0 on its debit side, and as much on the other side of the entry's contra account. `rounded`
    is what was lost (above 0) or won by the minor unit, where costs have more decimals; `suspense`: of lines that are not tied
    out."""

    account: str
    amount: Decimal
    lines: int
    event: Event | None = None
    money_class: MoneyClass | None = None
    units: int | None = None
    rounded: Decimal = Decimal(0)
    suspense: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """Postings of one currency on one day against `contra`. `reference` is what the channel calls the settlement."""

    kind: EntryKind
    day: date
    currency: str
    channel: ChannelId
    contra: str
    postings: tuple[Posting, ...]
    settlement: str | None = None
    reference: str | None = None
    marketplace: str | None = None

    @property
    def contra_amount(self) -> Decimal:
        """What stands on the contra account, above 0 on its debit side."""
        return -sum((one.amount for one in self.postings), Decimal(0))

    @property
    def words(self) -> str:
        """What it is, for people."""
        whose = " ".join(filter(None, (self.channel, self.marketplace)))
        named = f"{whose} {self.reference}" if self.reference else whose
        match self.kind:
            case EntryKind.LINES:
                return f"Settlement {named}"
            case EntryKind.GOODS:
                return f"Cost of goods {named}" if self.settlement else f"Back on the shelf {named}"
            case EntryKind.PAYOUT:
                return f"Payout {named}"


class Side(NamedTuple):
    """One line of an entry as books show it: either side is 0. `posting` is None on the contra account."""

    account: str
    debit: Decimal
    credit: Decimal
    posting: Posting | None


@dataclass(frozen=True, slots=True)
class Uncosted:
    """Units that were sold in the period and of which nobody has said what they cost: no cost of theirs is in the journal."""

    sku: str
    units: int


@dataclass(frozen=True, slots=True)
class Journal:
    """The entries of a period, for `channels` (none: of all), as known at an instant.

    `number`, `closed_by` and `closed_at` are of one that was closed. One that `adjusts` another holds the difference only;
    `booked_on` is the day that all of it is booked on, where somebody said so. `digest` is of the whole as it is known, even
    where the entries are only the difference.
    """

    period: Period
    channels: tuple[ChannelId, ...]
    known_at: datetime
    chart: str
    entries: tuple[Entry, ...]
    accounts: dict[str, str] = field(default_factory=dict)
    uncosted: tuple[Uncosted, ...] = ()
    digest: str = ""
    number: int | None = None
    adjusts: int | None = None
    booked_on: date | None = None
    closed_by: str | None = None
    closed_at: datetime | None = None

    @property
    def turnover(self) -> list[Money]:
        """What is debited in each currency, and credited too."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for one in self.entries:
            for side in sides(one):
                sums[one.currency] += side.debit
        return [Money(amount, currency) for currency, amount in sorted(sums.items())]

    @property
    def suspense(self) -> list[Money]:
        """What in each currency is not tied out, as we see it."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for one in self.entries:
            for posting in one.postings:
                if posting.suspense:
                    sums[one.currency] -= posting.amount
        return [Money(amount, currency) for currency, amount in sorted(sums.items())]


def entries(
    period: Period,
    settled: Iterable[Settled],
    booked: Iterable[Booked],
    goods: Iterable[Goods],
    chart: Chart,
) -> tuple[Entry, ...]:
    """The entries of a period; the same facts, in whatever order, make the same entries. Settlements whose `paid_on` lies in the
    period are paid out in it. Raises Conflict for lines that come to no amount of their currency."""
    known = {one.id: one for one in settled}
    made: list[Entry] = []
    of: defaultdict[str, list[Booked]] = defaultdict(list)
    for one in booked:
        of[one.settlement].append(one)
    for id, some in of.items():
        made.append(_of_lines(period, known[id], some, chart))
    sold: defaultdict[tuple[str, str | None, str], list[Goods]] = defaultdict(list)
    for each in goods:
        sold[each.channel, each.settlement, each.cost.currency].append(each)
    for (_, settlement, _), costs in sold.items():
        made.append(_of_goods(period, None if settlement is None else known[settlement], costs, chart))
    made += [_of_payout(one, chart) for one in known.values() if one.paid_on in period and one.total.amount]
    found = tuple(sorted(made, key=_place))
    check(found)
    return found


def _of_lines(period: Period, one: Settled, some: Sequence[Booked], chart: Chart) -> Entry:
    sums: defaultdict[tuple[str, Event, MoneyClass, bool], list[Booked]] = defaultdict(list)
    for each in some:
        if each.amount.currency != one.total.currency:
            raise Conflict(
                f"Settlement {one.external_id} is in {one.total.currency} and has lines in {each.amount.currency}."
            )
        pending = each.open or each.money_class in PENDING
        what = Role.SUSPENSE if pending else (each.money_class, each.event)
        sums[chart.account(what, one.channel, one.marketplace), each.event, each.money_class, pending].append(each)
    postings = [
        Posting(
            account,
            -sum((row.amount.amount for row in rows), Decimal(0)),
            sum(row.lines for row in rows),
            event,
            of,
            suspense=pending,
        )
        for (account, event, of, pending), rows in sums.items()
    ]
    contra = chart.account(Role.CLEARING, one.channel, one.marketplace)
    return _entry(EntryKind.LINES, _day(period, one.ends_on), one, one.total.currency, contra, postings)


def _of_goods(period: Period, one: Settled | None, costs: Sequence[Goods], chart: Chart) -> Entry:
    channel, currency = costs[0].channel, costs[0].cost.currency
    marketplace = None if one is None else one.marketplace
    exact = sum((each.cost.amount for each in costs), Decimal(0))
    amount = exact.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_EVEN)
    posting = Posting(
        chart.account(Role.COST_OF_GOODS, channel, marketplace),
        amount,
        sum(each.lines for each in costs),
        units=sum(each.units for each in costs),
        rounded=exact - amount,
    )
    contra = chart.account(Role.INVENTORY, channel, marketplace)
    day = period.last if one is None else _day(period, one.ends_on)
    made = _entry(EntryKind.GOODS, day, one, currency, contra, [posting])
    return replace(made, channel=channel)


def _of_payout(one: Settled, chart: Chart) -> Entry:
    posting = Posting(chart.account(Role.TRANSIT, one.channel, one.marketplace), one.total.amount, 0)
    contra = chart.account(Role.CLEARING, one.channel, one.marketplace)
    return _entry(EntryKind.PAYOUT, one.paid_on, one, one.total.currency, contra, [posting])


def _entry(
    kind: EntryKind, day: date, one: Settled | None, currency: str, contra: str, postings: Sequence[Posting]
) -> Entry:
    told = tuple(sorted(postings, key=_posting_place))
    if one is None:
        return Entry(kind, day, currency, ChannelId(""), contra, told)
    return Entry(kind, day, currency, one.channel, contra, told, one.id, one.external_id, one.marketplace)


def _day(period: Period, ends_on: date) -> date:
    """The day that a settlement's lines are booked on: its last one, or the last of the period where it goes on behind that."""
    return min(max(ends_on, period.first), period.last)


def check(some: Iterable[Entry]) -> None:
    """Raises Conflict unless the debits of each entry are its credits, in amounts that its currency has."""
    for one in some:
        decimals = minor_digits(one.currency)
        for posting in one.postings:
            if round(posting.amount, decimals) != posting.amount:
                raise Conflict(
                    f"{one.words}: {posting.lines} lines come to {posting.amount:f} {one.currency}, which has {decimals} "
                    "decimals. Nothing is booked before that is set right."
                )
        debit = sum((side.debit for side in sides(one)), Decimal(0))
        credit = sum((side.credit for side in sides(one)), Decimal(0))
        if debit != credit:
            raise Conflict(f"{one.words} does not balance: {debit} {one.currency} to {credit}.")


def sides(one: Entry) -> Iterator[Side]:
    """An entry as books show it: its postings, and the contra account against all of them, with the decimals of its currency."""
    nothing = Decimal(0).scaleb(-minor_digits(one.currency))
    for account, amount, posting in [
        *((each.account, each.amount, each) for each in one.postings),
        (one.contra, one.contra_amount, None),
    ]:
        full = amount + nothing
        yield Side(account, max(full, nothing), max(-full, nothing), posting)


def digest_of(some: Sequence[Entry]) -> str:
    """A name for entries by what they say: equal for equal ones, in every process and for ever."""
    told = hashlib.sha256()
    for one in some:
        head = (
            one.kind.value,
            one.day.isoformat(),
            one.currency,
            one.channel,
            one.settlement,
            one.marketplace,
            one.contra,
        )
        told.update(f"{head!r}\n".encode())
        for posting in one.postings:
            event, of = (None if each is None else each.value for each in (posting.event, posting.money_class))
            amount = f"{posting.amount.normalize():f}"
            told.update(f"{(posting.account, amount, posting.lines, posting.units, event, of)!r}\n".encode())
    return told.hexdigest()


def difference(now: Sequence[Entry], before: Sequence[Entry]) -> tuple[Entry, ...]:
    """What has to be booked beside `before` so that all of it comes to `now`, entry by entry; nothing where it does already."""
    heads: dict[_Head, Entry] = {}
    sums: defaultdict[_Head, dict[_Key, Posting]] = defaultdict(dict)
    for entry, sign in [*((one, 1) for one in now), *((one, -1) for one in before)]:
        head = _Head(entry.kind, entry.channel, entry.settlement, entry.marketplace, entry.currency, entry.contra)
        heads.setdefault(head, entry)
        for posting in entry.postings:
            key = _Key(posting.account, posting.event, posting.money_class, posting.suspense)
            sums[head][key] = _plus(sums[head].get(key), posting, sign)
    made = []
    for head, entry in heads.items():
        changed = [one for one in sums[head].values() if one.amount or one.lines or one.units]
        if changed:
            made.append(replace(entry, postings=tuple(sorted(changed, key=_posting_place))))
    return tuple(sorted(made, key=_place))


class _Head(NamedTuple):
    kind: EntryKind
    channel: ChannelId
    settlement: str | None
    marketplace: str | None
    currency: str
    contra: str


class _Key(NamedTuple):
    account: str
    event: Event | None
    money_class: MoneyClass | None
    suspense: bool


def _plus(held: Posting | None, one: Posting, sign: int) -> Posting:
    units = None if one.units is None else sign * one.units
    if held is None:
        return replace(
            one, amount=0 + sign * one.amount, lines=sign * one.lines, units=units, rounded=0 + sign * one.rounded
        )
    return replace(
        held,
        amount=held.amount + sign * one.amount,
        lines=held.lines + sign * one.lines,
        units=None if units is None and held.units is None else (held.units or 0) + (units or 0),
        rounded=held.rounded + sign * one.rounded,
    )


def _place(one: Entry) -> tuple[str, ...]:
    return (
        one.day.isoformat(),
        one.channel,
        one.marketplace or "",
        one.reference or "",
        one.settlement or "",
        one.kind.value,
        one.currency,
        one.contra,
    )


def _posting_place(one: Posting) -> tuple[str, str, str, bool]:
    event, of = ("" if each is None else each.value for each in (one.event, one.money_class))
    return one.account, of, event, one.suspense
