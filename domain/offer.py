"""What a thing is offered for, by us and by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from domain.catalog import Rank
from domain.money import Money
from domain.product import FulfilledBy


@dataclass(frozen=True, slots=True)
class Points:
    """What a buyer is credited (in Japan), and what that is worth; None where the channel gives no worth."""

    count: int
    value: Money | None = None


@dataclass(frozen=True, slots=True)
class OfferPrice:
    """`landed` is listing + shipping - points as the channel computes it, None where it does not."""

    listing: Money
    shipping: Money | None = None
    points: Points | None = None
    landed: Money | None = None


@dataclass(frozen=True, slots=True)
class Availability:
    """Hours until an offer is likely to be sent: `kind` is the channel's own (NOW, FUTURE_WITH_DATE…)."""

    minimum_hours: int | None = None
    maximum_hours: int | None = None
    kind: str | None = None
    available_on: str | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What buyers think of a seller; the share of good ones is in percent."""

    count: int
    positive_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Saving:
    """A promotion as the channel tells it: COUPON, DEAL… with what it takes off, and from which units or amount on."""

    kind: str
    discount: str | None = None
    amount_off: Money | None = None
    percent_off: Decimal | None = None
    price: Money | None = None
    threshold: str | None = None
    from_units: int | None = None
    from_amount: Money | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Buyers to whom an offer is featured, or who were asked about, and the share of all views that they are, in percent."""

    membership: str | None
    views_percent: Decimal | None = None
    country: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One seller's offer of one thing. None is what the channel did not say, never a no.

    `condition` and `sub_condition` are the channel's words; `featured` says whether it is the offer that buyers meet first,
    `featurable` whether it can become that.
    """

    seller: str | None
    condition: str | None
    sub_condition: str | None
    fulfilled_by: FulfilledBy
    price: OfferPrice
    customer: str | None = None
    mine: bool | None = None
    featured: bool | None = None
    featurable: bool | None = None
    prime: bool | None = None
    prime_nationwide: bool | None = None
    prime_eligibility: str | None = None
    availability: Availability | None = None
    ships_from_country: str | None = None
    ships_from_state: str | None = None
    feedback: Feedback | None = None
    note: str | None = None
    tiers: tuple[PriceTier, ...] = ()
    savings: tuple[Saving, ...] = ()
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceTier:
    """A price of one unit from so many units on; `kind` is the channel's own."""

    from_units: int | None
    kind: str | None
    price: Money


@dataclass(frozen=True, slots=True)
class PriceOf:
    """The lowest or the featured price of one condition; `fulfilled_by` is None where the channel does not say."""

    condition: str
    price: OfferPrice
    fulfilled_by: FulfilledBy | None = None
    customer: str | None = None
    from_units: int | None = None
    discount: str | None = None
    seller: str | None = None


@dataclass(frozen=True, slots=True)
class OfferCount:
    """How many offers there are of one condition; None where the channel names the kind without a number."""

    condition: str | None
    fulfilled_by: FulfilledBy | None
    count: int | None


@dataclass(frozen=True, slots=True)
class Offers:
    """Everything offered beside one SKU of ours. `status` is the channel's; `offers` are at most 20 of `total`.

    Counted offers that can be featured, and the prices of those that are, by condition. `available_at` is when a status that
    says "too soon" will be over.
    """

    sku: str
    asin: str | None
    marketplace: str
    condition: str
    status: str
    as_of: datetime
    total: int
    counts: tuple[OfferCount, ...] = ()
    featurable: tuple[OfferCount, ...] = ()
    lowest: tuple[PriceOf, ...] = ()
    featured: tuple[PriceOf, ...] = ()
    list_price: Money | None = None
    suggested: Money | None = None
    threshold: Money | None = None
    ranks: tuple[Rank, ...] = ()
    offers: tuple[Offer, ...] = ()
    available_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LowestOffers:
    """The lowest priced offers of one condition to one kind of customers."""

    condition: str
    customer: str
    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Competition:
    """What buyers meet at one ASIN: the featured offers with their segments, by buying option; the lowest; reference prices
    by the channel's names for them; similar things by ASIN."""

    asin: str
    marketplace: str
    as_of: datetime
    featured: Mapping[str, tuple[Offer, ...]] = field(default_factory=dict)
    lowest: tuple[LowestOffers, ...] = ()
    references: Mapping[str, Money] = field(default_factory=dict)
    similar: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rival:
    """An offer that is featured, or would be."""

    asin: str
    marketplace: str
    seller: str | None
    fulfilled_by: FulfilledBy | None
    condition: str | None
    price: OfferPrice | None
    sku: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """`status` is the channel's word, such as VALID_FOEP or NO_COMPETING_OFFERS. A price at or below `price` can expect to be
    featured; None where the channel computes none. `competing` would be featured instead of us, `current` is."""

    status: str
    price: Money | None = None
    points: Points | None = None
    competing: Rival | None = None
    current: Rival | None = None


@dataclass(frozen=True, slots=True)
class ExpectedPrice:
    """What one SKU must cost to be the featured offer; several results where the answer depends on the buyers."""

    sku: str
    marketplace: str
    as_of: datetime
    asin: str | None = None
    seller: str | None = None
    fulfilled_by: FulfilledBy | None = None
    segment: Segment | None = None
    results: tuple[Expectation, ...] = ()
