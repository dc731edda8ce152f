"""Words for money that nobody knows, and what people say of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import money as money_domain
from domain import money_said as domain
from domain.money_class import part_of
from resolvers import channel
from schema.channel import Channel
from schema.enums import MoneyClass, MoneyEvent, MoneyPart, MoneyWording
from schema.info import Info
from schema.money import Money
from schema.payload import UserError

Statement = tuple[domain.Words, domain.Said]


@strawberry.type(
    description="Words for money that nobody knows: they count as fees until somebody says what they are for."
)
class UnclassifiedMoney:
    lines: int = strawberry.field(description="How many lines of money stand with these words.")
    since: datetime = strawberry.field(description="When the first of them was known.")

    @strawberry.field(graphql_type=MoneyWording)
    def wording(self, root: strawberry.Parent[domain.Unclassified]) -> MoneyWording:
        return root.words.wording

    @strawberry.field(description="What moved the money, in the channel's word.")
    def kind(self, root: strawberry.Parent[domain.Unclassified]) -> str:
        return root.words.kind

    @strawberry.field(description="Of which kind the amount is.")
    def amount_kind(self, root: strawberry.Parent[domain.Unclassified]) -> str:
        return root.words.amount_kind

    @strawberry.field(description="What it is for, in the channel's words.")
    def description(self, root: strawberry.Parent[domain.Unclassified]) -> str:
        return root.words.description

    @strawberry.field(graphql_type=list[Money], description="What they come to, in each currency.")
    def amounts(self, root: strawberry.Parent[domain.Unclassified]) -> Sequence[money_domain.Money]:
        return root.amounts

    @strawberry.field(graphql_type=list[Channel])
    def channels(self, info: Info, root: strawberry.Parent[domain.Unclassified]) -> list[channel_domain.Channel]:
        return [channel.of(info.context.shelf, id) for id in root.channels]


@strawberry.type(description="What somebody says that words for money mean.")
class ClassifiedMoney:
    @strawberry.field(graphql_type=MoneyWording)
    def wording(self, root: strawberry.Parent[Statement]) -> MoneyWording:
        return root[0].wording

    @strawberry.field
    def kind(self, root: strawberry.Parent[Statement]) -> str:
        return root[0].kind

    @strawberry.field
    def amount_kind(self, root: strawberry.Parent[Statement]) -> str:
        return root[0].amount_kind

    @strawberry.field
    def description(self, root: strawberry.Parent[Statement]) -> str:
        return root[0].description

    @strawberry.field(graphql_type=MoneyEvent)
    def event(self, root: strawberry.Parent[Statement]) -> MoneyEvent:
        return root[1].event

    @strawberry.field(graphql_type=MoneyClass, name="class")
    def money_class(self, root: strawberry.Parent[Statement]) -> MoneyClass:
        return root[1].money_class

    @strawberry.field(graphql_type=MoneyPart, description="Where it stands in a profit.")
    def part(self, root: strawberry.Parent[Statement]) -> MoneyPart:
        return part_of(root[1].money_class, root[1].event)

    @strawberry.field(description="The name of a key.")
    def said_by(self, root: strawberry.Parent[Statement]) -> str:
        return root[1].by

    @strawberry.field
    def said_at(self, root: strawberry.Parent[Statement]) -> datetime | None:
        return root[1].known_at

    @strawberry.field
    def reason(self, root: strawberry.Parent[Statement]) -> str:
        return root[1].reason


@strawberry.input(description="Words as unclassifiedMoney shows them, in any spelling, and what they mean.")
class ClassifyMoneyInput:
    wording: MoneyWording
    kind: str
    amount_kind: str = ""
    description: str = ""
    event: MoneyEvent
    money_class: MoneyClass = strawberry.field(name="class")
    reason: str = strawberry.field(description="Why; it is kept with what is said.")

    def words(self) -> domain.Words:
        """Those that are meant."""
        return domain.Words(self.wording.value, self.kind, self.amount_kind, self.description)

    def said(self, by: str) -> domain.Said:
        """What somebody says of them."""
        return domain.Said(self.event, self.money_class, by, self.reason)


@strawberry.type(description="What holds from now on; lines with these words follow within seconds.")
class ClassifyMoneyPayload:
    classified: ClassifiedMoney | None
    user_errors: list[UserError]
