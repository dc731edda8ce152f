"""The rules of prices as clients write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import strawberry
from strawberry.utils.str_converters import to_camel_case

from domain import price_rules as domain
from domain.errors import Invalid, Refused
from domain.ids import ChannelId, Sku, node_key
from domain.money import Money
from schema.enums import (
    FulfilledBy,
    PriceRuleDirection,
    PriceRuleHolding,
    PriceRuleLacking,
    PriceRuleMeasure,
    PriceRuleTarget,
)


@strawberry.input(description="An amount in one currency; of a list that which is in the listing's currency is meant.")
class PriceAmountInput:
    amount: Decimal
    currency: str


@strawberry.input(
    description="For which listings a rule is: all that is told has to fit, of each list one. Left out: for all."
)
class PriceRuleMatchInput:
    skus: list[str] | None = None
    brands: list[str] | None = None
    tags: list[str] | None = strawberry.field(
        default=None, description="An attribute `tag` of the product, or any attribute as `name:value`."
    )
    channel_ids: list[strawberry.ID] | None = None
    marketplaces: list[str] | None = None
    fulfilled_by: FulfilledBy | None = None
    stock_below: int | None = strawberry.field(default=None, description="Fewer units can be sold now.")
    stock_from: int | None = strawberry.field(default=None, description="So many units or more can be sold now.")
    hours_from: time | None = strawberry.field(
        default=None,
        description="By the marketplace's clocks; hours that pass midnight belong to the day they begin on.",
    )
    hours_to: time | None = None
    weekdays: list[int] | None = strawberry.field(default=None, description="1 is Monday, 7 is Sunday.")
    first_on: date | None = None
    last_on: date | None = strawberry.field(default=None, description="This day is the last one.")


@strawberry.input(description="Where a price begins: `amounts`, or a channel's price, or the price that there is.")
class PriceRuleBaseInput:
    amounts: list[PriceAmountInput] | None = None
    convert: bool | None = strawberry.field(
        default=None, description="Convert the first amount where none is in the listing's currency; left out: no."
    )
    channel_id: strawberry.ID | None = strawberry.field(default=None, description="What the SKU is sold for there.")
    marketplace: str | None = None
    percent: Decimal | None = strawberry.field(default=None, description="Changed by so much; below 0 for less.")
    current: bool | None = strawberry.field(default=None, description="The regular price that there is.")


@strawberry.input(description="The share of a price in a band that a channel takes.")
class PriceRuleFeeBandInput:
    percent: Decimal
    up_to: Decimal | None = strawberry.field(default=None, description="Up to and with; left out for the last band.")


@strawberry.input(description="What a channel takes of a sale in one currency.")
class PriceRuleFeesInput:
    currency: str
    bands: list[PriceRuleFeeBandInput] | None = strawberry.field(default=None, description="Left out: no share.")
    least: Decimal | None = strawberry.field(default=None, description="At the least, of what the bands take.")
    fixed: Decimal | None = strawberry.field(default=None, description="Of each unit besides.")
    whole: bool | None = strawberry.field(
        default=None,
        description="True, or left out: the band that a price lies in holds for all of it. False: each for its part.",
    )


@strawberry.input(description="The least price that leaves a margin after cost, fees, tax and `extra`.")
class PriceRuleCostPlusInput:
    tax_percent: Decimal = strawberry.field(
        description="Of the tax that prices hold, on the price without it; 0 where they hold none."
    )
    margin: list[PriceAmountInput] | None = strawberry.field(
        default=None, description="What has to be left; or tell one of the next two."
    )
    margin_percent: Decimal | None = strawberry.field(default=None, description="Of the price without tax.")
    markup_percent: Decimal | None = strawberry.field(default=None, description="Of the cost.")
    extra: list[PriceAmountInput] | None = strawberry.field(default=None, description="Shipping, packing.")
    fees: list[PriceRuleFeesInput] | None = strawberry.field(
        default=None, description="Left out: as the channel tells them."
    )
    fees_within: Decimal | None = strawberry.field(
        default=None,
        description="How far, in percent, a price may lie from the one that the channel's fees are known for. Left out: 10.",
    )


@strawberry.input(description="Follow an offer, moved by an amount or percent, within bounds.")
class PriceRuleFeaturedOfferInput:
    target: PriceRuleTarget | None = strawberry.field(default=None, description="Left out: FEATURED.")
    amount: list[PriceAmountInput] | None = strawberry.field(default=None, description="Below 0 to be cheaper.")
    percent: Decimal | None = None
    shipping: list[PriceAmountInput] | None = strawberry.field(
        default=None, description="What buyers pay for the shipping of our offer; needed where the other's is told."
    )
    minimum: list[PriceAmountInput] | None = None
    maximum: list[PriceAmountInput] | None = None
    holding: PriceRuleHolding | None = strawberry.field(
        default=None, description="What to do while it is ours; left out: KEEP the price."
    )
    raise_percent: Decimal | None = strawberry.field(default=None, description="Of one step of RAISE; left out: 1.")


@strawberry.input(description="What neither price nor sale goes beyond from here on.")
class PriceRuleLimitInput:
    minimum: list[PriceAmountInput] | None = None
    maximum: list[PriceAmountInput] | None = None
    advertised: list[PriceAmountInput] | None = strawberry.field(
        default=None, description="The least that the brand lets be advertised."
    )
    margin: PriceRuleCostPlusInput | None = strawberry.field(
        default=None, description="Not below the price that leaves this."
    )


@strawberry.input(description="How prices of a currency end: on a step, or on one of some endings.")
class PriceRuleRoundingInput:
    currency: str
    step: Decimal | None = None
    endings: list[Decimal] | None = strawberry.field(default=None, description="Such as 0.99 and 0.49; 80 in JPY.")
    direction: PriceRuleDirection | None = strawberry.field(default=None, description="Left out: NEAREST.")


@strawberry.input(
    description=(
        "A sale by what the clocks of each marketplace show, such as 2026-11-27T00:00. A time that comes twice begins a sale "
        "with the first and ends it with the second; one that is leaped over is the leap."
    )
)
class PriceRulePromotionInput:
    starts_local: str
    ends_local: str
    percent: Decimal | None = strawberry.field(default=None, description="Off the price so far.")
    amount: list[PriceAmountInput] | None = None


@strawberry.input(description="By how many percent a price changes where there is so much.")
class PriceRuleStockStepInput:
    percent: Decimal
    at_least: Decimal | None = None
    below: Decimal | None = None


@strawberry.input(description="A price that moves with the stock; the first step that fits.")
class PriceRuleStockInput:
    measure: PriceRuleMeasure
    steps: list[PriceRuleStockStepInput]


@strawberry.input(
    description="What changes while the times of the match hold: by percent, by an amount, or nothing at all."
)
class PriceRuleWindowInput:
    percent: Decimal | None = None
    amount: list[PriceAmountInput] | None = None
    closed: bool | None = strawberry.field(default=None, description="True: no price is changed then.")


@strawberry.input(description="A rule: for which listings it is, and exactly one of `base` to `window`.")
class PriceRuleInput:
    name: str = strawberry.field(description="Chains tell their reasons by it.")
    match: PriceRuleMatchInput | None = None
    base: PriceRuleBaseInput | None = None
    cost_plus: PriceRuleCostPlusInput | None = None
    featured_offer: PriceRuleFeaturedOfferInput | None = None
    limit: PriceRuleLimitInput | None = None
    round: list[PriceRuleRoundingInput] | None = None
    promotion: PriceRulePromotionInput | None = None
    stock: PriceRuleStockInput | None = None
    window: PriceRuleWindowInput | None = None
    final: bool | None = strawberry.field(default=None, description="No rule after it, once it has been applied.")
    lacking: PriceRuleLacking | None = strawberry.field(
        default=None, description="When it lacks what it needs; left out: STOP, the listing gets no price."
    )
    max_age_hours: int | None = strawberry.field(
        default=None, description="What is older counts as lacking; costs alone hold until there is another."
    )


@strawberry.input(description="A whole set of rules, in place of the one that holds.")
class SetPriceRulesInput:
    version: int = strawberry.field(description="Of the set that this one takes the place of, as `priceRules` told it.")
    rules: list[PriceRuleInput]

    def to_domain(self) -> domain.PriceRules:
        """As the resolver takes it. Raises Refused, with its field."""
        return domain.PriceRules(to_domain(self.rules), self.version)


def to_domain(rules: list[PriceRuleInput]) -> tuple[domain.PriceRule, ...]:
    """As the resolver takes them. Raises Refused, with its field."""
    made: tuple[domain.PriceRule, ...] = _value(rules, ("rules",))
    return made


_KINDS: Mapping[type, type[Any]] = {
    PriceRuleMatchInput: domain.Match,
    PriceRuleBaseInput: domain.Base,
    PriceRuleFeeBandInput: domain.FeeBand,
    PriceRuleFeesInput: domain.FeeTable,
    PriceRuleCostPlusInput: domain.CostPlus,
    PriceRuleFeaturedOfferInput: domain.Follow,
    PriceRuleLimitInput: domain.Limit,
    PriceRuleRoundingInput: domain.Rounding,
    PriceRulePromotionInput: domain.Promotion,
    PriceRuleStockStepInput: domain.StockStep,
    PriceRuleStockInput: domain.StockDriven,
    PriceRuleWindowInput: domain.Window,
    PriceRuleInput: domain.PriceRule,
}
_NAMES = {"channel": "channel_id", "channels": "channel_ids", "starts": "starts_local", "ends": "ends_local"}
"""What is named otherwise here than in the domain."""


def _value(told: Any, at: tuple[str, ...]) -> Any:
    """As the domain has it: what is left out has the domain's default."""
    if isinstance(told, list):
        return tuple(_value(one, (*at, str(number))) for number, one in enumerate(told))
    try:
        if isinstance(told, PriceAmountInput):
            return Money(told.amount, told.currency)
        if at[-1] == "channel" or at[-2:-1] == ("channels",):
            return ChannelId(node_key("Channel", told))
        if at[-1] in ("starts", "ends"):
            return _wall(told)
    except Refused as problem:
        problem.field = problem.field or at
        raise
    if at[-2:-1] == ("skus",):
        return Sku(told)
    kind = _KINDS.get(type(told))
    if kind is None:
        return told
    values = {one.name: getattr(told, _NAMES.get(one.name, one.name)) for one in fields(kind)}
    return kind(**{name: _value(value, (*at, name)) for name, value in values.items() if value is not None})


def _wall(told: str) -> datetime:
    try:
        return datetime.fromisoformat(told)
    except ValueError:
        raise Invalid(f"{told!r} is not what a clock shows, such as 2026-11-27T00:00.") from None


def in_input(problem: Refused) -> Refused:
    """The same refusal, with its field named as the input names it."""
    problem.field = tuple(to_camel_case(_NAMES.get(name, name)) for name in problem.field or ()) or None
    return problem
