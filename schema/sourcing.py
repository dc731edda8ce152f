"""The rules by which it is chosen from where orders are sent, what they chose, and what others would have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, TypeVar

import strawberry
from strawberry.utils.str_converters import to_camel_case

from domain import order as order_domain
from domain import sourcing as decided_domain
from domain import sourcing_rules as domain
from domain.errors import Refused
from domain.ids import ChannelId, LocationCode, Sku, node_id, node_key
from resolvers import sourcing
from schema.enums import SourcingGoal
from schema.payload import UserError

if TYPE_CHECKING:
    from schema.order import Order

T = TypeVar("T")
U = TypeVar("U")


@strawberry.type(
    description="Where orders go: a country, or where postal codes begin with one of `areas`; the longest that fits is meant."
)
class SourcingZone:
    name: str
    country: str
    areas: list[str]
    latitude: float | None
    longitude: float | None


@strawberry.type(description="What a parcel from a place to a zone costs, in the currency of the set.")
class SourcingRate:
    place: str = strawberry.field(name="location")
    zone: str
    parcel: Decimal
    unit: Decimal
    days: int | None = strawberry.field(description="From leaving to arriving; null where nobody knows.")


@strawberry.type(description="What is not sent from places: what is of all that is told; null is for all.")
class SourcingExclusion:
    name: str
    places: list[str] = strawberry.field(name="locations")
    sku: str | None
    tag: str | None
    country: str | None

    @strawberry.field
    def channel_id(self, root: strawberry.Parent[domain.Exclusion]) -> strawberry.ID | None:
        return None if root.channel is None else strawberry.ID(node_id("Channel", root.channel))


@strawberry.type(
    description="Goods with the tag are sent from these places alone, and where services are told with these alone."
)
class SourcingRestriction:
    name: str
    tag: str
    places: list[str] = strawberry.field(name="locations")
    services: list[str]


@strawberry.type(description="How much a place sends a day. What comes later, or is beyond it, leaves on a later day.")
class SourcingPace:
    place: str = strawberry.field(name="location")
    cut_off: time | None = strawberry.field(description="By the place's own time.")
    orders_per_day: int | None
    units_per_day: int | None
    closed_on: list[int] = strawberry.field(description="Days of the week: 1 is Monday, 7 is Sunday.")


@strawberry.type(description="Such units may be sold while they are only announced.")
class SourcingBackorder:
    name: str
    sku: str | None
    tag: str | None
    expected_on: date | None


@strawberry.type(description="A set of rules: from where orders are sent.")
class SourcingRules:
    version: int = strawberry.field(description="It grows with each set that is kept; decisions name it.")
    made_by: str
    made_at: datetime | None
    goals: list[SourcingGoal] = strawberry.field(description="The first at which two ways differ decides.")
    groups: list[list[str]] = strawberry.field(description="Places to be tried before others.")
    most_parcels: int | None
    currency: str | None
    zones: list[SourcingZone]
    rates: list[SourcingRate]
    exclusions: list[SourcingExclusion]
    restrictions: list[SourcingRestriction]
    paces: list[SourcingPace]
    backorders: list[SourcingBackorder]


@strawberry.input(description="A zone: a country, or the parts of it whose postal codes begin with one of `areas`.")
class SourcingZoneInput:
    name: str
    country: str
    areas: list[str] = strawberry.field(
        default_factory=list,
        description="At most three letters or digits each; left out: all that no other zone names.",
    )
    latitude: float | None = strawberry.field(default=None, description="Of its middle, in degrees, for DISTANCE.")
    longitude: float | None = None


@strawberry.input(description="What a parcel from a place to a zone costs.")
class SourcingRateInput:
    place: str = strawberry.field(name="location")
    zone: str
    parcel: Decimal
    unit: Decimal | None = strawberry.field(default=None, description="For each unit in it besides; left out: nothing.")
    days: int | None = None


@strawberry.input(description="What is not sent from `locations`; all that is told has to be so.")
class SourcingExclusionInput:
    name: str
    places: list[str] = strawberry.field(name="locations")
    sku: str | None = None
    tag: str | None = strawberry.field(
        default=None, description="An attribute `tag` of the product, or any attribute as `name:value`."
    )
    country: str | None = None
    channel_id: strawberry.ID | None = None


@strawberry.input(description="Goods with `tag`, such as hazardous ones, are sent from `locations` alone.")
class SourcingRestrictionInput:
    name: str
    tag: str = strawberry.field(description="An attribute `tag` of the product, or any attribute as `name:value`.")
    places: list[str] = strawberry.field(name="locations")
    services: list[str] = strawberry.field(
        default_factory=list, description="Only with orders that were sold with one of these, in their channel's words."
    )


@strawberry.input(description="How much a place sends a day.")
class SourcingPaceInput:
    place: str = strawberry.field(name="location")
    cut_off: time | None = None
    orders_per_day: int | None = None
    units_per_day: int | None = None
    closed_on: list[int] = strawberry.field(default_factory=list, description="1 is Monday, 7 is Sunday.")


@strawberry.input(description="Units of the SKU, or of goods with the tag, may be sold while they are only announced.")
class SourcingBackorderInput:
    name: str
    sku: str | None = None
    tag: str | None = None
    expected_on: date | None = None


@strawberry.input(description="A whole set of rules, in place of the one that holds. What is left out rules nothing.")
class SourcingRulesInput:
    goals: list[SourcingGoal] = strawberry.field(description="Each once; the first at which two ways differ decides.")
    groups: list[list[str]] = strawberry.field(default_factory=list, description="Places to be tried before others.")
    most_parcels: int | None = strawberry.field(default=None, description="1: orders are not split.")
    currency: str | None = strawberry.field(default=None, description="Of the rates.")
    zones: list[SourcingZoneInput] = strawberry.field(default_factory=list)
    rates: list[SourcingRateInput] = strawberry.field(default_factory=list)
    exclusions: list[SourcingExclusionInput] = strawberry.field(default_factory=list)
    restrictions: list[SourcingRestrictionInput] = strawberry.field(default_factory=list)
    paces: list[SourcingPaceInput] = strawberry.field(default_factory=list)
    backorders: list[SourcingBackorderInput] = strawberry.field(default_factory=list)

    def to_domain(self) -> domain.SourcingRules:
        """As the resolver takes it. Raises NotFound for an id of another kind."""
        return domain.SourcingRules(
            goals=tuple(self.goals),
            groups=tuple(_codes(group) for group in self.groups),
            most_parcels=self.most_parcels,
            currency=self.currency,
            zones=tuple(
                domain.Zone(one.name, one.country, tuple(one.areas), one.latitude, one.longitude) for one in self.zones
            ),
            rates=tuple(
                domain.Rate(LocationCode(one.place), one.zone, one.parcel, one.unit or Decimal(0), one.days)
                for one in self.rates
            ),
            exclusions=_each(self.exclusions, "exclusions", _excluded),
            restrictions=tuple(
                domain.Restriction(one.name, one.tag, _codes(one.places), tuple(one.services))
                for one in self.restrictions
            ),
            paces=tuple(
                domain.Pace(
                    LocationCode(one.place), one.cut_off, one.orders_per_day, one.units_per_day, tuple(one.closed_on)
                )
                for one in self.paces
            ),
            backorders=tuple(
                domain.Backorder(one.name, None if one.sku is None else Sku(one.sku), one.tag, one.expected_on)
                for one in self.backorders
            ),
        )


def _each(entries: Sequence[T], name: str, read: Callable[[T], U]) -> tuple[U, ...]:
    found = []
    for number, one in enumerate(entries):
        try:
            found.append(read(one))
        except Refused as problem:
            problem.field = (name, str(number), *(problem.field or ()))
            raise
    return tuple(found)


def _excluded(one: SourcingExclusionInput) -> domain.Exclusion:
    channel = None
    if one.channel_id is not None:
        try:
            channel = ChannelId(node_key("Channel", one.channel_id))
        except Refused as problem:
            problem.field = ("channel",)
            raise
    sku = None if one.sku is None else Sku(one.sku)
    return domain.Exclusion(one.name, _codes(one.places), sku, one.tag, one.country, channel)


def _codes(codes: Sequence[str]) -> tuple[LocationCode, ...]:
    return tuple(map(LocationCode, codes))


def in_input(problem: Refused) -> Refused:
    """The same refusal, with its field named as the input names it."""
    names = {"channel": "channelId", "place": "location", "places": "locations"}
    problem.field = tuple(names.get(name) or to_camel_case(name) for name in problem.field or ()) or None
    return problem


@strawberry.type(description="The set that holds now (null: none), or why it does not.")
class SourcingRulesPayload:
    rules: SourcingRules | None
    user_errors: list[UserError]


# ── what was chosen ──


@strawberry.type(description="A place that was looked at for an order.")
class SourcingCandidate:
    place: str = strawberry.field(name="location", description="Its code.")
    units: int = strawberry.field(description="Units that it was given.")
    reason: str | None = strawberry.field(description="Why it was given none, or not all; null where it was given all.")
    leaves_on: date | None = strawberry.field(description="When it would leave from there, by the place's own days.")
    arrives_on: date | None = strawberry.field(description="When it would arrive; null where nobody knows.")


@strawberry.type(description="How a way to send it does at one goal: the less the better, null where it is not known.")
class SourcingScore:
    goal: SourcingGoal
    value: Decimal | None


@strawberry.type(description="A way to send the order.")
class SourcingOption:
    places: list[str] = strawberry.field(name="locations")
    reason: str | None = strawberry.field(description="Why it lost; null for the one that was chosen.")

    @strawberry.field(graphql_type=list[SourcingScore])
    def scores(self, root: strawberry.Parent[decided_domain.Option]) -> list[SourcingScore]:
        return [
            SourcingScore(goal=goal, value=None if score is None else Decimal(score))
            for goal, score in root.scores.items()
        ]


@strawberry.type(description="A SKU that no place may send, and why.")
class SourcingGap:
    sku: str
    reason: str


@strawberry.type(description="From where an order is sent, as rules decided, and why not from elsewhere.")
class SourcingDecision:
    version: int = strawberry.field(description="Of the rules.")
    at: datetime
    candidates: list[SourcingCandidate]
    options: list[SourcingOption] = strawberry.field(
        description="The one that was chosen, then the best of the others."
    )
    exact: bool = strawberry.field(
        description="Whether every way was looked at; with more than six places they are added one by one."
    )

    @strawberry.field(
        graphql_type=list[SourcingGap], description="What is sent from nowhere; it is promised nowhere either."
    )
    def unplaced(self, root: strawberry.Parent[decided_domain.Decided]) -> list[SourcingGap]:
        return [SourcingGap(sku=sku, reason=reason) for sku, reason in sorted(root.unplaced.items())]


# ── what others would have chosen ──


@strawberry.type(description="What sending an order comes to, by the rates and paces of the set that is tried.")
class SourcingOutcome:
    places: list[str] = strawberry.field(name="locations")
    cost: Decimal | None = strawberry.field(description="In the currency of the set; null where a rate is missing.")
    late: int | None = strawberry.field(
        name="lateDays", description="Days after what was promised; null where nobody knows."
    )
    short: int = strawberry.field(description="Units that were not there.")
    unplaced: int = strawberry.field(description="Units that no place may send.")


@strawberry.type(description="An order that would have been sent otherwise.")
class SourcingMove:
    before: SourcingOutcome
    after: SourcingOutcome
    reasons: list[str] = strawberry.field(description="Why the places that it was sent from would have lost.")

    @strawberry.field(graphql_type=Annotated["Order", strawberry.lazy("schema.order")])
    def order(self, root: strawberry.Parent[sourcing.Moved]) -> order_domain.Order:
        return root.order


@strawberry.type(description="Sums over all orders that were looked at.")
class SourcingTotals:
    parcels: int
    cost: Decimal = strawberry.field(description="Of the orders whose cost is known both ways.")
    late: int = strawberry.field(description="Orders that come later than promised.")
    late_days: int = strawberry.field(description="Days that these are late, together.")
    short: int = strawberry.field(description="Units that were not there.")
    unplaced: int = strawberry.field(description="Units that no place may send.")


@strawberry.type(
    description=(
        "What a set of rules would have done with past orders, each over the stock as it was when it was given its units."
    )
)
class SourcingPreview:
    examined: int = strawberry.field(description="Orders that were looked at: the newest.")
    complete: bool = strawberry.field(description="Whether these are all of that time; at most 500 are looked at.")
    moved: int = strawberry.field(description="Orders that would have been sent otherwise.")
    priced: int = strawberry.field(description="Orders whose cost is known both ways.")
    currency: str | None
    before: SourcingTotals
    after: SourcingTotals
    samples: list[SourcingMove] = strawberry.field(description="The first that would have been sent otherwise.")
