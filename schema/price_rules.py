"""The rules of prices as clients read them, and what they make of listings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import strawberry

from domain import price as price_domain
from domain import price_rules as domain
from domain.ids import node_id
from domain.money import Money as Amount
from domain.price_chain import Link
from resolvers.price_rules import Tried
from schema.connection import Page
from schema.enums import (
    FulfilledBy,
    PriceRuleDirection,
    PriceRuleHolding,
    PriceRuleLacking,
    PriceRuleMeasure,
    PriceRuleTarget,
)
from schema.money import Money
from schema.payload import UserError
from schema.price import OfferedPrice, PriceHit

# ── a set ──


@strawberry.type(description="For which listings a rule is, and when; what is null or empty is for all.")
class PriceRuleMatch:
    skus: list[str]
    brands: list[str]
    tags: list[str]
    marketplaces: list[str]
    fulfilled_by: FulfilledBy | None
    stock_below: int | None
    stock_from: int | None
    hours_from: time | None = strawberry.field(description="By the marketplace's clocks, as all times here.")
    hours_to: time | None
    weekdays: list[int]
    first_on: date | None
    last_on: date | None

    @strawberry.field
    def channel_ids(self, root: strawberry.Parent[domain.Match]) -> list[strawberry.ID]:
        return [strawberry.ID(node_id("Channel", one)) for one in root.channels]


@strawberry.type(description="Where a price begins: an amount, what another channel takes, or the price that there is.")
class PriceRuleBase:
    amounts: list[Money]
    convert: bool
    marketplace: str | None
    percent: Decimal
    current: bool

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[domain.Base]) -> strawberry.ID | None:
        return None if root.channel is None else strawberry.ID(node_id("Channel", root.channel))


@strawberry.type(description="The share of a price in a band that a channel takes.")
class PriceRuleFeeBand:
    percent: Decimal
    up_to: Decimal | None


@strawberry.type(description="What a channel takes of a sale in one currency.")
class PriceRuleFees:
    currency: str
    bands: list[PriceRuleFeeBand]
    least: Decimal
    fixed: Decimal
    whole: bool


@strawberry.type(description="The least price that leaves a margin after cost, fees, tax and what else is told.")
class PriceRuleCostPlus:
    margin: list[Money]
    margin_percent: Decimal | None
    markup_percent: Decimal | None
    extra: list[Money]
    tax_percent: Decimal
    fees: list[PriceRuleFees]
    fees_within: Decimal


@strawberry.type(description="Follow the featured offer, or the price at which ours is expected to be it.")
class PriceRuleFeaturedOffer:
    target: PriceRuleTarget
    amount: list[Money]
    percent: Decimal
    shipping: list[Money]
    minimum: list[Money]
    maximum: list[Money]
    holding: PriceRuleHolding
    raise_percent: Decimal


@strawberry.type(description="What neither price nor sale goes beyond from here on.")
class PriceRuleLimit:
    minimum: list[Money]
    maximum: list[Money]
    advertised: list[Money]
    margin: PriceRuleCostPlus | None


@strawberry.type(description="How prices of a currency end.")
class PriceRuleRounding:
    currency: str
    step: Decimal | None
    endings: list[Decimal]
    direction: PriceRuleDirection


@strawberry.type(description="A sale, by the clocks of each marketplace.")
class PriceRulePromotion:
    percent: Decimal | None
    amount: list[Money]

    @strawberry.field
    def starts_local(self, root: strawberry.Parent[domain.Promotion]) -> str:
        return root.starts.isoformat()

    @strawberry.field
    def ends_local(self, root: strawberry.Parent[domain.Promotion]) -> str:
        return root.ends.isoformat()


@strawberry.type(description="By how many percent a price changes where there is so much.")
class PriceRuleStockStep:
    percent: Decimal
    at_least: Decimal | None
    below: Decimal | None


@strawberry.type(description="A price that moves with the stock; the first step that fits.")
class PriceRuleStock:
    measure: PriceRuleMeasure
    steps: list[PriceRuleStockStep]


@strawberry.type(description="What changes while the times of the match hold.")
class PriceRuleWindow:
    percent: Decimal
    amount: list[Money]
    closed: bool


@strawberry.type(
    description="A rule: for which listings it is, and one of the things that rules do; the others are null."
)
class PriceRule:
    name: str
    match: PriceRuleMatch
    base: PriceRuleBase | None
    cost_plus: PriceRuleCostPlus | None
    featured_offer: PriceRuleFeaturedOffer | None
    limit: PriceRuleLimit | None
    round: list[PriceRuleRounding]
    promotion: PriceRulePromotion | None
    stock: PriceRuleStock | None
    window: PriceRuleWindow | None
    final: bool
    lacking: PriceRuleLacking
    max_age_hours: int | None


@strawberry.type(description="A set of rules, applied in their order, each to the price so far.")
class PriceRules:
    version: int = strawberry.field(description="It grows with each set that is kept; 0 while nobody has kept one.")
    made_by: str
    made_at: datetime | None
    rules: list[PriceRule]


@strawberry.type(description="The set that holds now, or why it does not.")
class PriceRulesPayload:
    price_rules: PriceRules | None
    user_errors: list[UserError]


# ── what it makes ──


@strawberry.type(description="Something that a rule used, as text.")
class PriceStepInput:
    name: str
    value: str


@strawberry.type(description="What one rule did to the price so far.")
class PriceStep:
    @strawberry.field
    def rule(self, root: strawberry.Parent[Link]) -> str:
        return _text(root, "rule")

    @strawberry.field(description="What it does, as it is named in the rule.")
    def kind(self, root: strawberry.Parent[Link]) -> str:
        return _text(root, "kind")

    @strawberry.field(
        description="APPLIED; IDLE: nothing to do; SKIPPED: it lacked something; STOPPED: there is no price, for that."
    )
    def outcome(self, root: strawberry.Parent[Link]) -> str:
        return _text(root, "outcome")

    @strawberry.field(graphql_type=OfferedPrice | None)
    def before(self, root: strawberry.Parent[Link]) -> price_domain.Price | None:
        return _price(root, "before")

    @strawberry.field(graphql_type=OfferedPrice | None)
    def after(self, root: strawberry.Parent[Link]) -> price_domain.Price | None:
        return _price(root, "after")

    @strawberry.field
    def why(self, root: strawberry.Parent[Link]) -> str:
        return _text(root, "why")

    @strawberry.field(description="What it used, with age and source where these are told.")
    def inputs(self, root: strawberry.Parent[Link]) -> list[PriceStepInput]:
        used: Any = root["inputs"]
        return [PriceStepInput(name=name, value=value) for name, value in used.items()]


@strawberry.type(description="What rules make of a listing, and how.")
class PricePreview:
    hits: list[PriceHit] = strawberry.field(description="The guards that this price would run into.")

    @strawberry.field
    def listing_id(self, root: strawberry.Parent[Tried]) -> strawberry.ID:
        return strawberry.ID(node_id("Listing", root.made.listing))

    @strawberry.field
    def sku(self, root: strawberry.Parent[Tried]) -> str | None:
        return root.made.sku

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[Tried]) -> strawberry.ID:
        return strawberry.ID(node_id("Channel", root.made.channel))

    @strawberry.field
    def marketplace(self, root: strawberry.Parent[Tried]) -> str | None:
        return root.made.marketplace

    @strawberry.field
    def channel_sku(self, root: strawberry.Parent[Tried]) -> str:
        return root.made.channel_sku

    @strawberry.field(
        graphql_type=OfferedPrice | None,
        description="What it was asked to be sold for last, or else is; null if unknown.",
    )
    def before(self, root: strawberry.Parent[Tried]) -> price_domain.Price | None:
        return root.made.before

    @strawberry.field(
        graphql_type=OfferedPrice | None, description="Null: the rules make no price of it; `words` say why."
    )
    def after(self, root: strawberry.Parent[Tried]) -> price_domain.Price | None:
        return root.made.computed.price

    @strawberry.field(description="Is it another price than there is?")
    def changes(self, root: strawberry.Parent[Tried]) -> bool:
        return root.made.changes

    @strawberry.field(description="The rules that made it, or why there is no price.")
    def words(self, root: strawberry.Parent[Tried]) -> str:
        return root.made.computed.words

    @strawberry.field(
        graphql_type=list[PriceStep], description="Each rule that was for it, in order, with what it did and used."
    )
    def chain(self, root: strawberry.Parent[Tried]) -> tuple[Link, ...]:
        return root.made.computed.chain

    @strawberry.field(description="What rules did not know.")
    def lacking(self, root: strawberry.Parent[Tried]) -> list[str]:
        return list(root.made.computed.lacking)

    @strawberry.field(
        graphql_type=Money | None, description="The price whose fees the channel should be asked for, where it matters."
    )
    def fees_wanted_at(self, root: strawberry.Parent[Tried]) -> Amount | None:
        return root.made.computed.fees_at


@strawberry.type
class PricePreviewEdge:
    cursor: str
    node: PricePreview


@strawberry.type(description="A page of listings and what rules make of them.")
class PricePreviewConnection(Page):
    edges: list[PricePreviewEdge]
    nodes: list[PricePreview]


def _text(link: Link, name: str) -> str:
    return str(link[name])


def _price(link: Link, name: str) -> price_domain.Price | None:
    told = link[name]
    return price_domain.read_price(told) if isinstance(told, Mapping) else None
