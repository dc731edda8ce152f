"""What is left of what buyers pay, as clients ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Protocol

import strawberry

from domain import profit as domain
from domain import settlement as settlement_domain
from domain.ids import ChannelId, Sku, node_id, node_key
from domain.money import Money as Amount
from domain.money_line import Stage
from executor import batched
from resolvers import profit
from schema.enums import MoneyStage, ProfitChangeKind, ProfitDimension
from schema.info import Info
from schema.money import Money
from schema.money_line import settlements

if TYPE_CHECKING:
    from schema.settlement import Settlement

# What has a global id is named by it.
_NODES = {domain.Dimension.CHANNEL: "Channel", domain.Dimension.ORDER: "Order"}


class Told(Protocol):
    """Whatever has figures."""

    @property
    def figures(self) -> domain.Figures: ...


def _money(root: Told, amount: Decimal) -> Amount:
    return Amount(amount, root.figures.currency)


def _money_or_none(root: Told, amount: Decimal | None) -> Amount | None:
    return None if amount is None else _money(root, amount)


@strawberry.type
class _Sums:
    """The fields of all that profit is told of. Their parents have `figures`."""

    @strawberry.field(graphql_type=Money, description="What buyers paid, without tax.")
    def revenue(self, root: strawberry.Parent[Told]) -> Amount:
        return _money(root, root.figures.revenue)

    @strawberry.field(
        graphql_type=Money,
        description="What channels and payment providers took, less what they reimbursed; what is unclassified is in it.",
    )
    def fees(self, root: strawberry.Parent[Told]) -> Amount:
        return _money(root, root.figures.fees)

    @strawberry.field(graphql_type=Money, description="What went back to buyers, without tax.")
    def refunds(self, root: strawberry.Parent[Told]) -> Amount:
        return _money(root, root.figures.refunds)

    @strawberry.field(
        graphql_type=Money | None,
        description=(
            "The landed cost of the units sold, less that of units that came back into stock; null where the cost of one of them "
            "is not known."
        ),
    )
    def cost(self, root: strawberry.Parent[Told]) -> Amount | None:
        return _money_or_none(root, root.figures.cost)

    @strawberry.field(
        graphql_type=Money | None, description="revenue - fees - refunds - cost, exactly; null where the cost is."
    )
    def profit(self, root: strawberry.Parent[Told]) -> Amount | None:
        return _money_or_none(root, root.figures.profit)


@strawberry.type(description="Figures of one stage: what is as sure as that.")
class ProfitStage(_Sums):
    stage: MoneyStage

    @strawberry.field(description="Units sold.")
    def units(self, root: strawberry.Parent[StageFigures]) -> int:
        return root.figures.units


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Figures of one stage."""

    stage: Stage
    figures: domain.Figures


def _by_stage(root: domain.Row | domain.OrderMoney) -> list[StageFigures]:
    return [StageFigures(stage, figures) for stage, figures in root.stages.items()]


@strawberry.type(
    description=(
        "One value of a dimension: DAY 2026-11-01, MONTH 2026-11, CHANNEL and ORDER a global id, MARKETPLACE a country code. "
        'What has none, such as the SKU of an account\'s fee, has "".'
    )
)
class DimensionValue:
    dimension: ProfitDimension
    value: str


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a dimension."""

    dimension: domain.Dimension
    value: str


@strawberry.type(
    description=(
        "Figures of one value of each dimension that was asked for, in one currency. Rows add up to the same total whatever they "
        "are grouped by; converted amounts keep four decimals behind the minor unit for it."
    )
)
class ProfitRow(_Sums):
    @strawberry.field(graphql_type=list[DimensionValue], description="In the order asked for.")
    def dimensions(self, root: strawberry.Parent[domain.Row]) -> list[Value]:
        return [
            Value(key, node_id(_NODES[key], value) if value and key in _NODES else value)
            for key, value in root.dimensions.items()
        ]

    @strawberry.field(description="Units sold.")
    def units(self, root: strawberry.Parent[domain.Row]) -> int:
        return root.figures.units

    @strawberry.field(description="profit / revenue, to six decimals; null without a profit or without revenue.")
    def margin(self, root: strawberry.Parent[domain.Row]) -> Decimal | None:
        return root.figures.margin

    @strawberry.field(
        graphql_type=Money, description="What of the fees has words that nobody has classified yet: it may be none."
    )
    def unclassified(self, root: strawberry.Parent[domain.Row]) -> Amount:
        return _money(root, root.figures.unclassified)

    @strawberry.field(
        graphql_type=Money, description="What channels paid for units that they lost or broke; the fees are less by it."
    )
    def reimbursements(self, root: strawberry.Parent[domain.Row]) -> Amount:
        return _money(root, root.figures.reimbursements)

    @strawberry.field(
        graphql_type=Money,
        description="Tax that was collected, less what marketplaces withheld and what went back. It is in no profit.",
    )
    def taxes(self, root: strawberry.Parent[domain.Row]) -> Amount:
        return _money(root, root.figures.taxes)

    @strawberry.field(
        description=(
            "Units, sold or back in stock, whose cost nobody has told, or in a currency that no rate converts into this one. A "
            "payment that could not be split over its order counts as one. Not 0 is why `cost` is null."
        )
    )
    def units_without_cost(self, root: strawberry.Parent[domain.Row]) -> int:
        return root.figures.units_without_cost

    @strawberry.field(
        description="Units whose cost is the product's own, as its channel tells it now, because no layer holds on their day."
    )
    def units_with_catalog_cost(self, root: strawberry.Parent[domain.Row]) -> int:
        return root.figures.units_with_catalog_cost

    @strawberry.field(description="Units sold that nobody has billed yet, and whose fees nobody has estimated.")
    def units_without_fees(self, root: strawberry.Parent[domain.Row]) -> int:
        return root.figures.units_without_fees

    @strawberry.field(
        graphql_type=list[ProfitStage], description="The same by stage, for each that there is something of."
    )
    def by_stage(self, root: strawberry.Parent[domain.Row]) -> list[StageFigures]:
        return _by_stage(root)


@strawberry.type(
    description=(
        "What stands of an order, in its own currency. `settled`: all of it is in settlements, all units that are wanted have "
        "been billed, and nothing waits to be estimated."
    )
)
class OrderFinance(_Sums):
    settled: bool

    @strawberry.field(
        graphql_type=list[ProfitStage], description="The same by stage, for each that there is something of."
    )
    def by_stage(self, root: strawberry.Parent[domain.OrderMoney]) -> list[StageFigures]:
        return _by_stage(root)


@strawberry.type(
    description=(
        "What was added to the figures for one reason, in one currency. Where all costs were known, the changes between two "
        "instants come to exactly the difference of what was told at both."
    )
)
class ProfitChange(_Sums):
    kind: ProfitChangeKind
    words: str = strawberry.field(
        description="The channel's id of a settlement, the revision of a cost, the rates, or why lines were replaced."
    )
    lines: int = strawberry.field(description="Lines of money that came or went.")

    @strawberry.field(description="Units sold.")
    def units(self, root: strawberry.Parent[domain.Change]) -> int:
        return root.figures.units

    @strawberry.field(
        graphql_type=Annotated["Settlement", strawberry.lazy("schema.settlement")] | None,
        description="The one that was kept.",
    )
    @batched(settlements)
    async def settlement(
        self, info: Info, root: strawberry.Parent[domain.Change]
    ) -> settlement_domain.Settlement | None:
        return None if root.settlement is None else await info.context.loaders.settlement_by_id.load(root.settlement)


@strawberry.input(
    description=(
        "What is wanted; what is left out wants all. `from` and `to` name days of business, by the calendar of each marketplace: "
        "each is taken to the nearest midnight of UTC, and `to` is the midnight behind the last day."
    )
)
class ProfitFilter:
    from_: datetime = strawberry.field(name="from")
    to: datetime
    channel_id: strawberry.ID | None = None
    marketplace: str | None = None
    skus: list[str] | None = strawberry.field(default=None, description="At most 1,000.")
    currency: str | None = strawberry.field(
        default=None,
        description=(
            "An ISO 4217 code: all is converted into it, by the rate of each line's day. Left out: rows for each currency in "
            "which channels settle."
        ),
    )
    known_at: datetime | None = strawberry.field(
        default=None, description="As it was known then, by the lines, costs and rates of that instant; left out: now."
    )
    stage: list[MoneyStage] | None = strawberry.field(
        default=None, description="How sure it is; units that came back into stock count as SETTLED."
    )

    def to_domain(self) -> profit.ProfitFilter:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return profit.ProfitFilter(
            since=self.from_,
            until=self.to,
            channel=None if self.channel_id is None else ChannelId(node_key("Channel", self.channel_id)),
            marketplace=self.marketplace,
            skus=None if self.skus is None else [Sku(one) for one in self.skus],
            currency=self.currency,
            stages=self.stage,
            known_at=self.known_at,
        )
