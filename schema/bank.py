"""What banks book, and which payout each line is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import bank as domain
from domain import settlement as settlement_domain
from domain.bank import Awaited, Candidate, KeptLine, KeptMatch
from domain.bank import BankLine as Line
from domain.ids import node_id, node_key
from domain.money import Money as Amount
from executor import batched
from resolvers import bank
from resolvers.loaders import load_each
from schema.connection import Page
from schema.enums import BankDoubt, BankMatchRule
from schema.info import Info, Parents
from schema.money import Money
from schema.payload import UserError
from schema.scalars import Duration

if TYPE_CHECKING:
    from schema.settlement import Settlement


async def _matched(found: Sequence[KeptMatch], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.settlement_by_id, [one.payout for one in found])


async def _awaited(found: Sequence[Awaited], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.settlement_by_id, [one.payout.id for one in found])


@strawberry.type(description="Which payout a bank's line is, and how that is known.")
class BankMatch:
    rule: BankMatchRule
    made_by: str | None = strawberry.field(description="Who has said so; null for a rule.")
    reason: str | None
    made_at: datetime

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="Null: somebody has said that it is no payout.",
    )
    @batched(_matched)
    async def settlement(self, info: Info, root: strawberry.Parent[KeptMatch]) -> settlement_domain.Settlement | None:
        return None if root.payout is None else await info.context.loaders.settlement_by_id.load(root.payout)


@strawberry.type(description="One booking of a bank account.")
class BankLine:
    @strawberry.field
    def id(self, root: strawberry.Parent[KeptLine]) -> strawberry.ID:
        return strawberry.ID(node_id("BankLine", root.id))

    @strawberry.field(description="An IBAN, or what else the bank calls it.")
    def account(self, root: strawberry.Parent[KeptLine]) -> str:
        return root.line.account

    @strawberry.field
    def booked_on(self, root: strawberry.Parent[KeptLine]) -> date:
        return root.line.booked_on

    @strawberry.field
    def valued_on(self, root: strawberry.Parent[KeptLine]) -> date | None:
        return root.line.valued_on

    @strawberry.field(graphql_type=Money, description="Below 0 where it left the account.")
    def amount(self, root: strawberry.Parent[KeptLine]) -> Amount:
        return root.line.amount

    @strawberry.field(description="All that the bank tells of it.")
    def words(self, root: strawberry.Parent[KeptLine]) -> str:
        return root.line.words

    @strawberry.field(description="Whether the bank says that it takes back another line. Such a line is no payout.")
    def reversal(self, root: strawberry.Parent[KeptLine]) -> bool:
        return root.line.reversal

    @strawberry.field(description="Who has paid, or was paid.")
    def party(self, root: strawberry.Parent[KeptLine]) -> str | None:
        return root.line.party

    @strawberry.field(graphql_type=BankMatch | None, description="Null: nobody knows whether it is a payout.")
    def match(self, root: strawberry.Parent[KeptLine]) -> KeptMatch | None:
        return root.match


@strawberry.type
class BankLineEdge:
    cursor: str
    node: BankLine


@strawberry.type(description="A page of lines of banks.")
class BankLineConnection(Page):
    edges: list[BankLineEdge]
    nodes: list[BankLine]


@strawberry.type(description="A line that may be the payout. `matchBankLine` says so.")
class BankCandidate:
    @strawberry.field(graphql_type=BankLine)
    def line(self, root: strawberry.Parent[tuple[Candidate, Line]]) -> KeptLine:
        return KeptLine(root[1].id, root[1], None)

    @strawberry.field(graphql_type=BankDoubt, description="Why it was not taken for it.")
    def doubt(self, root: strawberry.Parent[tuple[Candidate, Line]]) -> BankDoubt:
        return root[0].doubt


@strawberry.type(description="A settlement or payout that no line of a bank is (yet).")
class UnmatchedPayout:
    paid_at: datetime = strawberry.field(
        description="When the channel says it sent it, or else when the settlement ended."
    )

    @strawberry.field(graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None)
    @batched(_awaited)
    async def settlement(self, info: Info, root: strawberry.Parent[Awaited]) -> settlement_domain.Settlement | None:
        return await info.context.loaders.settlement_by_id.load(root.payout.id)

    @strawberry.field(description="The day by which a bank should have booked it.")
    def due_by(self, root: strawberry.Parent[Awaited]) -> date:
        return domain.due_by(root.payout.paid_on)

    @strawberry.field(description="How long it has been on its way.")
    def age(self, info: Info, root: strawberry.Parent[Awaited]) -> Duration:
        return Duration(timedelta(seconds=(info.context.shelf.clock() - root.paid_at) // timedelta(seconds=1)))

    @strawberry.field(graphql_type=list[BankCandidate])
    def candidates(self, root: strawberry.Parent[Awaited]) -> Sequence[tuple[Candidate, Line]]:
        return root.candidates


@strawberry.type
class UnmatchedPayoutEdge:
    cursor: str
    node: UnmatchedPayout


@strawberry.type(description="A page of payouts that no bank shows.")
class UnmatchedPayoutConnection(Page):
    edges: list[UnmatchedPayoutEdge]
    nodes: list[UnmatchedPayout]


@strawberry.input(description="Which lines are wanted; what is left out wants all. Days are both meant with.")
class BankLineFilter:
    account: str | None = None
    matched: bool | None = strawberry.field(
        default=None, description="Those that are a payout; false: those of which nobody knows."
    )
    from_: date | None = strawberry.field(name="from", default=None)
    to: date | None = None

    def to_domain(self) -> domain.LineFilter:
        """As the resolver takes it."""
        account = None if self.account is None else domain.account_of(self.account)
        return domain.LineFilter(account, self.matched, self.from_, self.to)


@strawberry.input(description="What a line of a bank is. Say one of `settlementId`, `noPayout` and `byRules`.")
class MatchBankLineInput:
    bank_line_id: strawberry.ID
    settlement_id: strawberry.ID | None = strawberry.field(default=None, description="It is this payout.")
    no_payout: bool = strawberry.field(default=False, description="It is no payout.")
    by_rules: bool = strawberry.field(default=False, description="Take back what was said: the rules decide.")
    reason: str

    def to_domain(self) -> bank.Verdict:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        payout = None if self.settlement_id is None else node_key("Settlement", self.settlement_id)
        return bank.Verdict(node_key("BankLine", self.bank_line_id), self.reason, payout, self.no_payout, self.by_rules)


@strawberry.type(description="The line as it stands now.")
class MatchBankLinePayload:
    bank_line: BankLine | None
    user_errors: list[UserError]
