"""What prices are made of, as clients read it and tell it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import strawberry

from domain import cost as cost_domain
from domain import price_inputs as domain
from domain.errors import Invalid
from domain.ids import Sku
from domain.money import Money as DomainMoney
from domain.product import Listing as DomainListing
from domain.repricing import Repriced
from resolvers import price_facts
from schema.enums import RepricingResult
from schema.money import Money
from schema.payload import UserError

if TYPE_CHECKING:
    from schema.product import Listing


@strawberry.type(
    description=(
        "One revision of what a unit costs from a day on. Nothing that was said is overwritten: the newest revision of the "
        "newest layer that has begun holds."
    )
)
class UnitCost:
    sku: str
    valid_from: date
    revision: int
    amount: Money = strawberry.field(description="What a unit was bought for.")
    extra: Money | None = strawberry.field(description="What freight and duty add; null: nobody has told yet.")
    landed: Money = strawberry.field(description="What a unit costs here, as far as it was told.")
    withdrawn: bool
    reason: str
    made_by: str
    made_at: datetime


@strawberry.type(description="All that was said of what a unit of a SKU costs.")
class UnitCosts:
    sku: str
    in_force: UnitCost | None = strawberry.field(
        description="What holds on the day that was asked for; null: no layer does, and the product's own cost is used."
    )
    revisions: list[UnitCost] = strawberry.field(description="By day and revision.")


@strawberry.type(description="An amount that was told, when and by what.")
class ToldAmount:
    amount: Money
    as_of: datetime
    source: str


@strawberry.type(description="What the channel said it would take of a unit sold for `price`.")
class FeeEstimate:
    price: Money
    referral: Money = strawberry.field(description="What moves with the price.")
    fixed: Money = strawberry.field(description="All the rest, such as fulfillment.")
    as_of: datetime


@strawberry.type(description="The offer that buyers meet first.")
class FeaturedOffer:
    price: Money
    shipping: Money | None
    mine: bool | None = strawberry.field(description="Whether it is ours; null: not told.")
    as_of: datetime


@strawberry.type(description="What came of a listing when its price was last worked out by rules.")
class Repricing:
    at: datetime
    became: RepricingResult = strawberry.field(name="result")
    words: str
    asked_at: datetime | None = strawberry.field(description="When a price was last asked for.")


@strawberry.type(
    description="What a listing's price is made of, each with its age; null and empty are what nobody has told."
)
class PriceInputs:
    @strawberry.field(graphql_type=Annotated["Listing", strawberry.lazy("schema.product")])
    def listing(self, root: strawberry.Parent[price_facts.Known]) -> DomainListing:
        return root.listing

    @strawberry.field(graphql_type=ToldAmount | None, description="The landed cost of a unit, as it was told.")
    def cost(self, root: strawberry.Parent[price_facts.Known]) -> domain.Told | None:
        return root.inputs.cost

    @strawberry.field(graphql_type=list[FeeEstimate])
    def fees(self, root: strawberry.Parent[price_facts.Known]) -> tuple[domain.FeeEstimate, ...]:
        return root.inputs.estimates

    @strawberry.field(graphql_type=FeaturedOffer | None)
    def featured(self, root: strawberry.Parent[price_facts.Known]) -> domain.Featured | None:
        return root.inputs.featured

    @strawberry.field(
        graphql_type=ToldAmount | None,
        description="At or below this price the channel expects our offer to be featured.",
    )
    def expected(self, root: strawberry.Parent[price_facts.Known]) -> domain.Told | None:
        return root.inputs.expected

    @strawberry.field(description="Units of the SKU that can be sold now, by all its places.")
    def available(self, root: strawberry.Parent[price_facts.Known]) -> int | None:
        return root.inputs.available

    @strawberry.field(description="How long they last at the pace of the last 28 days; null: nothing was sold.")
    def cover_days(self, root: strawberry.Parent[price_facts.Known]) -> Decimal | None:
        return root.inputs.cover_days

    @strawberry.field(description="How old the oldest count is.")
    def stock_as_of(self, root: strawberry.Parent[price_facts.Known]) -> datetime | None:
        return root.inputs.stock_at

    @strawberry.field(graphql_type=Repricing | None)
    def last_repricing(self, root: strawberry.Parent[price_facts.Known]) -> Repriced | None:
        return root.last


@strawberry.input(
    description=(
        "What a unit costs from a day on, in one currency. What is left out stays as it is in the layer, so that freight and "
        "duty can be told later."
    )
)
class UnitCostInput:
    sku: str
    valid_from: date
    amount: Decimal | None = None
    extra: Decimal | None = strawberry.field(default=None, description="What freight and duty add to a unit.")
    currency: str | None = strawberry.field(default=None, description="An ISO 4217 code; needed with an amount.")
    withdrawn: bool = strawberry.field(default=False, description="There never was such a layer.")
    reason: str = ""

    def to_domain(self) -> cost_domain.NewCost:
        """Raises Invalid."""
        if not self.sku.strip():
            raise Invalid("Name the SKU.", field=("sku",))
        return cost_domain.NewCost(
            Sku(self.sku),
            self.valid_from,
            self._money(self.amount),
            self._money(self.extra),
            self.withdrawn,
            self.reason,
        )

    def _money(self, amount: Decimal | None) -> DomainMoney | None:
        if amount is None:
            return None
        if self.currency is None:
            raise Invalid("An amount has a currency, such as EUR.", field=("currency",))
        return DomainMoney(amount, self.currency)


@strawberry.input(description="What units cost; each is kept or refused by itself.")
class SetUnitCostsInput:
    costs: list[UnitCostInput]
    dry_run: bool = strawberry.field(default=False, description="Only say what would become of each.")


@strawberry.type(
    description="The layers as they stand now, in the order told; null where one was refused and there is none."
)
class SetUnitCostsPayload:
    costs: list[UnitCost | None]
    user_errors: list[UserError]
