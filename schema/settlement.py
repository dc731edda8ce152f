"""Settlements and payouts, and how far they are tied out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import channel as channel_domain
from domain import residual as residual_domain
from domain import settlement as domain
from domain.bank import KeptLine
from domain.ids import ChannelId, node_id, node_key
from domain.money import Money as Amount
from domain.settlement_compare import CAUSES, Replaced, Views
from executor import batched
from resolvers import channel, settlement
from resolvers.connection import USUAL, Connection, page_size
from resolvers.loaders import load_each
from resolvers.settlement_file import File
from schema.channel import Channel
from schema.connection import Page
from schema.enums import MoneyClass, MoneyEvent, MoneyPart, SettlementKind, SettlementViewCause
from schema.info import Info, Parents
from schema.money import Money
from schema.money_line import MoneyLineConnection, MoneyLineFilter
from schema.node import Node, describes

if TYPE_CHECKING:
    from schema.bank import BankLine
    from schema.settlement_file import SettlementFile


def _settlement_id(root: domain.Settlement) -> strawberry.ID:
    return strawberry.ID(node_id("Settlement", root.id))


async def _ties(found: Sequence[domain.Settlement], info: Parents) -> list[residual_domain.Tie | BaseException | None]:
    return await load_each(info.context.loaders.tie_by_settlement, [one.id for one in found])


async def _matched(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return [one.matched_rows if isinstance(one, residual_domain.Tie) else one for one in await _ties(found, info)]


async def _differences(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return [one.difference if isinstance(one, residual_domain.Tie) else one for one in await _ties(found, info)]


async def _class_sums(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.class_sums_by_settlement, [one.id for one in found])


async def _before(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return [one[0] if isinstance(one, tuple) else one for one in await _neighbors(found, info)]


async def _behind(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return [one[1] if isinstance(one, tuple) else one for one in await _neighbors(found, info)]


async def _neighbors(
    found: Sequence[domain.Settlement], info: Parents
) -> list[tuple[domain.Settlement | None, domain.Settlement | None] | BaseException | None]:
    return await load_each(info.context.loaders.settlement_neighbors, [one.id for one in found])


async def _files(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.file_by_settlement, [one.id for one in found])


async def _payments(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.bank_line_by_settlement, [one.id for one in found])


async def _comparisons(
    found: Sequence[domain.Settlement], info: Parents, first: int | None = USUAL
) -> Sequence[object]:
    return await load_each(info.context.loaders.settlement_comparison, [(one.id, page_size(first)) for one in found])


async def _replaced(found: Sequence[domain.Settlement], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.replaced_by_settlement, [one.id for one in found])


@strawberry.type(
    description="What a settlement and the transactions that were told before it say of one order, where that differs."
)
class SettlementComparison:
    order_external_id: str | None = strawberry.field(
        description="The channel's own id; null for all that is of no order."
    )
    settled: Money = strawberry.field(description="By the settlement, which is what the books hold.")
    told: Money = strawberry.field(description="By the transactions.")
    difference: Money
    cause: SettlementViewCause

    @strawberry.field(description="The cause in words.")
    def words(self, root: strawberry.Parent[Views]) -> str:
        return CAUSES[root.cause]


@strawberry.type(
    description="The transactions that a settlement took the place of, and where the two do not say the same."
)
class SettlementReplaced:
    transactions: int
    by_period: int = strawberry.field(
        description=(
            "Of these, those that name neither it nor its group: they moved in its marketplace, currency and period, and nothing "
            "else says that they are of it."
        )
    )
    told: Money = strawberry.field(description="What they came to.")
    differing: int = strawberry.field(
        description=(
            "Orders that they tell of, and it does not, or not with the same sum. What is of no order is one more where it has "
            "no line of that kind."
        )
    )
    difference: Money = strawberry.field(description="What it has of those beyond the transactions.")
    warning: str | None = strawberry.field(description="The same in words; null where nothing differs.")


@strawberry.type(description="A settlement that must be there, since those around it do not join.")
class MissingSettlement:
    marketplace: str | None
    starts_at: datetime
    ends_at: datetime = strawberry.field(
        description="Exclusive. That of `startsAt` where only a balance did not come in that went out."
    )
    amount: Money | None = strawberry.field(
        description="The balance that went out to it; where only a balance is missing, what of it came in nowhere."
    )

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[residual_domain.Missing]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)


@strawberry.type(description="All lines of one event and class of a settlement, added up.")
class SettlementClass:
    event: MoneyEvent
    money_class: MoneyClass = strawberry.field(name="class")
    part: MoneyPart
    lines: int
    amount: Money


@strawberry.type(description="A marketplace's statement of a period, or a shop's payout. It adds up to the cent.")
class Settlement(Node):
    id: strawberry.ID = strawberry.field(resolver=_settlement_id)
    external_id: str = strawberry.field(description="The channel's own id.")
    kind: SettlementKind
    marketplace: str | None = strawberry.field(description="A country code; null for a shop.")
    starts_at: datetime
    ends_at: datetime = strawberry.field(description="Exclusive.")
    deposited_at: datetime | None = strawberry.field(description="When the channel sent it to the bank.")
    total: Money = strawberry.field(description="What reaches the bank, or, below zero, is owed.")
    reference: str | None = strawberry.field(description="What the bank statement shows, where the channel tells it.")
    line_count: int = strawberry.field(description="Its rows, as its channel counts them.")
    kept_at: datetime = strawberry.field(description="Since when it is in the books.")

    is_type_of = describes(domain.Settlement)

    @strawberry.field(graphql_type=Channel)
    def channel(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> channel_domain.Channel:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(graphql_type=int, description="Rows that are tied out wholly.")
    @batched(_matched)
    async def matched_line_count(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> int:
        return (await info.context.loaders.tie_by_settlement.load(root.id)).matched_rows

    @strawberry.field(
        graphql_type=Money,
        description="What of `total` is not tied out: zero once every line has its place and its class.",
    )
    @batched(_differences)
    async def difference(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> Amount:
        return (await info.context.loaders.tie_by_settlement.load(root.id)).difference

    @strawberry.field(
        graphql_type=list[SettlementClass], description="What it is made of; the amounts add up to `total`."
    )
    @batched(_class_sums)
    async def summary(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> list[residual_domain.ClassSum]:
        return await info.context.loaders.class_sums_by_settlement.load(root.id)

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="The last one before it, of its channel, marketplace and currency; null: none is here.",
    )
    @batched(_before)
    async def previous(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> domain.Settlement | None:
        return (await info.context.loaders.settlement_neighbors.load(root.id))[0]

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="The first one behind it.",
    )
    @batched(_behind)
    async def next(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> domain.Settlement | None:
        return (await info.context.loaders.settlement_neighbors.load(root.id))[1]

    @strawberry.field(
        graphql_type=Annotated["SettlementFile", strawberry.lazy("schema.settlement_file")] | None,
        description="The file that it was kept from; null for payouts.",
    )
    @batched(_files)
    async def file(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> File | None:
        return await info.context.loaders.file_by_settlement.load(root.id)

    @strawberry.field(
        graphql_type=Annotated["BankLine", strawberry.lazy("schema.bank")] | None,
        description="The bank's line that it is; null where none is known.",
    )
    @batched(_payments)
    async def payment(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> KeptLine | None:
        return await info.context.loaders.bank_line_by_settlement.load(root.id)

    @strawberry.field(
        graphql_type=list[SettlementComparison],
        description=(
            "Where it and the transactions that its channel told before do not say the same of an order, the `first` greatest "
            "differences."
        ),
    )
    @batched(_comparisons)
    async def comparison(
        self, info: Info, root: strawberry.Parent[domain.Settlement], first: int | None = USUAL
    ) -> list[Views]:
        return await info.context.loaders.settlement_comparison.load((root.id, page_size(first)))

    @strawberry.field(
        graphql_type=SettlementReplaced | None,
        description="The transactions that it took the place of; null where there were none.",
    )
    @batched(_replaced)
    async def replaced(self, info: Info, root: strawberry.Parent[domain.Settlement]) -> Replaced | None:
        return await info.context.loaders.replaced_by_settlement.load(root.id)

    @strawberry.field(graphql_type=MoneyLineConnection, description="Its lines as they stand now, by row.")
    async def lines(
        self,
        info: Info,
        root: strawberry.Parent[domain.Settlement],
        first: int | None = 50,
        after: str | None = None,
        filter: MoneyLineFilter | None = None,
    ) -> Connection[residual_domain.KeptLine]:
        wanted = (filter or MoneyLineFilter()).to_domain()
        return await settlement.lines(info.context.shelf, root, first, after, wanted)


@strawberry.type
class SettlementEdge:
    cursor: str
    node: Settlement


@strawberry.type(description="A page of settlements.")
class SettlementConnection(Page):
    edges: list[SettlementEdge]
    nodes: list[Settlement]


@strawberry.input(description="Which settlements are wanted; what is left out wants all.")
class SettlementFilter:
    channel_id: strawberry.ID | None = None
    from_: datetime | None = strawberry.field(name="from", default=None, description="Those that end then or later.")
    to: datetime | None = strawberry.field(default=None, description="Those that end before.")
    unbalanced: bool | None = strawberry.field(
        default=None, description="Those with lines that are not tied out; false: those without."
    )

    def to_domain(self) -> residual_domain.SettlementFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        channel = None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id))
        return residual_domain.SettlementFilter(channel, self.from_, self.to, self.unbalanced)
