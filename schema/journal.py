"""Journals of settlements, as books take them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import channel as channel_domain
from domain import journal as domain
from domain import settlement as settlement_domain
from domain.journal import Side
from domain.money import Money as Amount
from executor import batched
from resolvers import channel, journal
from resolvers.connection import Connection
from resolvers.journal import Shown
from schema.channel import Channel
from schema.connection import Page
from schema.enums import JournalEntryKind, MoneyClass, MoneyEvent
from schema.info import Info, Parents
from schema.money import Money
from schema.money_line import settlements
from schema.payload import UserError

if TYPE_CHECKING:
    from schema.settlement import Settlement


async def _whole(found: Sequence[domain.Journal], info: Parents | Info) -> list[domain.Journal]:
    """The journals with their entries; a page of closed ones comes without."""
    numbers = [one.number for one in found if one.number is not None]
    kept = dict(zip(numbers, await info.context.loaders.journal_by_number.load_many(numbers), strict=True))
    return [kept.get(one.number or 0) or one for one in found]


async def _turnovers(found: Sequence[domain.Journal], info: Parents) -> Sequence[object]:
    return [one.turnover for one in await _whole(found, info)]


async def _suspense(found: Sequence[domain.Journal], info: Parents) -> Sequence[object]:
    return [one.suspense for one in await _whole(found, info)]


async def _pages(
    found: Sequence[domain.Journal], info: Parents, first: int | None = 50, after: str | None = None
) -> Sequence[object]:
    return [journal.entries(one, first, after) for one in await _whole(found, info)]


async def _settlements(found: Sequence[Shown], info: Parents) -> Sequence[object]:
    return await settlements([one.entry for one in found], info)


@strawberry.type(description="An amount on one side of an account. `debit` or `credit` is 0.")
class JournalPosting:
    @strawberry.field(description="The account's code.")
    def account(self, root: strawberry.Parent[tuple[Shown, Side]]) -> str:
        return root[1].account

    @strawberry.field
    def account_name(self, root: strawberry.Parent[tuple[Shown, Side]]) -> str:
        return root[0].names.get(root[1].account, "")

    @strawberry.field(graphql_type=Money)
    def debit(self, root: strawberry.Parent[tuple[Shown, Side]]) -> Amount:
        return Amount(root[1].debit, root[0].entry.currency)

    @strawberry.field(graphql_type=Money)
    def credit(self, root: strawberry.Parent[tuple[Shown, Side]]) -> Amount:
        return Amount(root[1].credit, root[0].entry.currency)

    @strawberry.field(graphql_type=MoneyEvent | None)
    def event(self, root: strawberry.Parent[tuple[Shown, Side]]) -> MoneyEvent | None:
        return None if root[1].posting is None else root[1].posting.event

    @strawberry.field(
        name="class", graphql_type=MoneyClass | None, description="What it is for; null on the contra account."
    )
    def money_class(self, root: strawberry.Parent[tuple[Shown, Side]]) -> MoneyClass | None:
        return None if root[1].posting is None else root[1].posting.money_class

    @strawberry.field(
        description="So many lines of the settlement make it; `settlement { lines(filter: {class: …}) }` lists them."
    )
    def lines(self, root: strawberry.Parent[tuple[Shown, Side]]) -> int:
        shown, side = root
        return sum(one.lines for one in shown.entry.postings) if side.posting is None else side.posting.lines

    @strawberry.field(description="So many units, where it is what they had cost.")
    def units(self, root: strawberry.Parent[tuple[Shown, Side]]) -> int | None:
        return None if root[1].posting is None else root[1].posting.units

    @strawberry.field(description="What was lost (above 0) or won by the minor unit, where costs have more decimals.")
    def rounded(self, root: strawberry.Parent[tuple[Shown, Side]]) -> Decimal:
        return Decimal(0) if root[1].posting is None else root[1].posting.rounded

    @strawberry.field(description="Its lines are not tied out, and it stands in suspense until they are.")
    def suspense(self, root: strawberry.Parent[tuple[Shown, Side]]) -> bool:
        return root[1].posting is not None and root[1].posting.suspense


@strawberry.type(description="Postings of one day and currency whose debits are their credits.")
class JournalEntry:
    @strawberry.field(graphql_type=JournalEntryKind)
    def kind(self, root: strawberry.Parent[Shown]) -> JournalEntryKind:
        return root.entry.kind

    @strawberry.field
    def day(self, root: strawberry.Parent[Shown]) -> date:
        return root.entry.day

    @strawberry.field
    def currency(self, root: strawberry.Parent[Shown]) -> str:
        return root.entry.currency

    @strawberry.field(description="What it is, for people.")
    def words(self, root: strawberry.Parent[Shown]) -> str:
        return root.entry.words

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[Shown]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.entry.channel)

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="What it books; null for goods that came back to the shelf.",
    )
    @batched(_settlements)
    async def settlement(self, info: Info, root: strawberry.Parent[Shown]) -> settlement_domain.Settlement | None:
        id = root.entry.settlement
        return None if id is None else await info.context.loaders.settlement_by_id.load(id)

    @strawberry.field(graphql_type=list[JournalPosting], description="The contra account comes last.")
    def postings(self, root: strawberry.Parent[Shown]) -> list[tuple[Shown, Side]]:
        return root.sides


@strawberry.type
class JournalEntryEdge:
    cursor: str
    node: JournalEntry


@strawberry.type(description="A page of the entries of a journal.")
class JournalEntryConnection(Page):
    edges: list[JournalEntryEdge]
    nodes: list[JournalEntry]


@strawberry.type(
    description='Units that were sold, and of which nobody has said what they cost; "" holds all further SKUs.'
)
class UncostedUnits:
    sku: str
    units: int


@strawberry.type(
    description=(
        "What settlements of some days come to on accounts. One that was closed is never changed: what comes to be known later "
        "is another one, which adjusts it."
    )
)
class Journal:
    number: int | None = strawberry.field(description="Without gaps; null for one that is not closed.")
    known_at: datetime = strawberry.field(description="What is known later is not in it.")
    chart: str = strawberry.field(description="The chart of accounts.")
    digest: str = strawberry.field(description="Equal for journals that say the same.")
    adjusts: int | None = strawberry.field(
        description="The journal before it of the same days: this one holds what differs."
    )
    booked_on: date | None = strawberry.field(description="All of it is booked on this day, where somebody said so.")
    closed_by: str | None
    closed_at: datetime | None
    uncosted: list[UncostedUnits] = strawberry.field(
        description="Their cost is not in it. Tell costs, and close it again."
    )

    @strawberry.field(name="from", description="Its first day, by the clock of the chart.")
    def first_day(self, root: strawberry.Parent[domain.Journal]) -> date:
        return root.period.first

    @strawberry.field(name="to", description="Its last day.")
    def last_day(self, root: strawberry.Parent[domain.Journal]) -> date:
        return root.period.last

    @strawberry.field(graphql_type=list[Channel] | None, description="Null: of all.")
    def channels(self, info: Info, root: strawberry.Parent[domain.Journal]) -> list[channel_domain.Channel] | None:
        return [channel.of(info.context.shelf, id) for id in root.channels] or None

    @strawberry.field(graphql_type=list[Money], description="What is debited, and as much credited, by currency.")
    @batched(_turnovers)
    async def turnover(self, info: Info, root: strawberry.Parent[domain.Journal]) -> list[Amount]:
        return (await _whole([root], info))[0].turnover

    @strawberry.field(graphql_type=list[Money], description="What of it is not tied out, by currency, as we see it.")
    @batched(_suspense)
    async def suspense(self, info: Info, root: strawberry.Parent[domain.Journal]) -> list[Amount]:
        return (await _whole([root], info))[0].suspense

    @strawberry.field(graphql_type=JournalEntryConnection, description="By day.")
    @batched(_pages)
    async def entries(
        self, info: Info, root: strawberry.Parent[domain.Journal], first: int | None = 50, after: str | None = None
    ) -> Connection[Shown]:
        return journal.entries((await _whole([root], info))[0], first, after)


@strawberry.type
class JournalEdge:
    cursor: str
    node: Journal


@strawberry.type(description="A page of closed journals.")
class JournalConnection(Page):
    edges: list[JournalEdge]
    nodes: list[Journal]


@strawberry.type(description="A closed journal for others to read.")
class JournalDocument:
    url: str = strawberry.field(
        description="Where it can be fetched, below the gateway's address, by whoever has the link; a new one at each asking."
    )
    expires_at: datetime = strawberry.field(description="When the link ends.")
    name: str = strawberry.field(description="What the file is called.")


@strawberry.input(
    description="Which journal is to be closed: of which days, both meant with, and of which channel; null: of all."
)
class CloseJournalInput:
    from_: date = strawberry.field(name="from")
    to: date
    channel_id: strawberry.ID | None = None
    booked_on: date | None = strawberry.field(
        default=None, description="Book all of it on this day, as what adjusts a month that is closed in the books."
    )


@strawberry.type(
    description="The journal as it is closed; `fresh` is false where nothing differs from the last one of these days."
)
class CloseJournalPayload:
    journal: Journal | None
    fresh: bool
    user_errors: list[UserError]
