"""What buyers meet at an ASIN, and what a SKU must cost to be featured there. Source: Product Pricing 2022-05-01,
getCompetitiveSummary and getFeaturedOfferExpectedPriceBatch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from adapters.amazon.batch import Envelope, Told, batch
from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.amazon.numbers import Cash, Fulfillment, Number, PointsGiven
from adapters.amazon.wire import Count
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Invalid
from domain.offer import (
    Competition,
    Expectation,
    ExpectedPrice,
    LowestOffers,
    Offer,
    OfferPrice,
    Rival,
    Saving,
    Segment,
)

COMPETITION, COMPETITION_BATCH = "getCompetitiveSummary", 20
# Said in words only; the model has no bound.
EXPECTED, EXPECTED_BATCH = "getFeaturedOfferExpectedPriceBatch", 40

COMPETITION_PATH = "/batches/products/pricing/2022-05-01/items/competitiveSummary"
EXPECTED_PATH = "/batches/products/pricing/2022-05-01/offer/featuredOfferExpectedPrice"
INCLUDED = ("featuredBuyingOptions", "referencePrices", "lowestPricedOffers", "similarItems")


class ShippingOption(Wire):
    """What sending costs; DEFAULT is the only kind there is."""

    shipping_option_type: str
    price: Cash


class Discount(Wire):
    """What a promotion takes off."""

    type: str | None = None
    amount_off: Cash | None = None
    percent_off: Number | None = None


class Savings(Wire):
    """What a promotion comes to."""

    discount: Discount = Discount()
    discounted_price: Cash | None = None


class Units(Wire):
    """So many units."""

    type: str | None = None
    quantity: Count | None = None


class Spent(Wire):
    """So much money."""

    type: str | None = None
    currency: Cash | None = None


class Condition(Wire):
    """What must be bought; one of the two."""

    quantity_threshold: Units = Units()
    amount_threshold: Spent = Spent()


class Requirements(Wire):
    """What must be bought for a promotion."""

    condition: Condition = Condition()


class Promotion(Wire):
    """A coupon, a deal, a discount on a basket."""

    promotion_type: str
    promotion_savings: Savings
    purchase_requirements: Requirements = Requirements()

    def saving(self) -> Saving:
        """As a value of ours."""
        savings, needs = self.promotion_savings, self.purchase_requirements.condition
        return Saving(
            self.promotion_type,
            savings.discount.type,
            savings.discount.amount_off,
            savings.discount.percent_off,
            savings.discounted_price,
            needs.quantity_threshold.type or needs.amount_threshold.type,
            needs.quantity_threshold.quantity,
            needs.amount_threshold.currency,
        )


class PostalCode(Wire):
    """A place."""

    country_code: str | None = None
    value: str | None = None


class Sample(Wire):
    """A place that stands for a segment."""

    postal_code: PostalCode = PostalCode()


class SegmentDetails(Wire):
    """A segment's weight and place."""

    glance_view_weight_percentage: Number | None = None
    sample_location: Sample = Sample()


class SegmentOf(Wire):
    """Buyers to whom an offer is featured."""

    customer_membership: str | None = None
    segment_details: SegmentDetails = SegmentDetails()

    def segment(self) -> Segment:
        """As it came."""
        place = self.segment_details.sample_location.postal_code
        weight = self.segment_details.glance_view_weight_percentage
        return Segment(self.customer_membership, weight, place.country_code, place.value)


class PrimeDetails(Wire):
    """NATIONAL, REGIONAL or NONE."""

    eligibility: str | None = None


class NewOffer(Wire):
    """One offer; with segments where it is a featured one."""

    seller_id: str
    condition: str
    fulfillment_type: Fulfillment
    listing_price: Cash
    sub_condition: str | None = None
    shipping_options: tuple[ShippingOption, ...] = ()
    points: PointsGiven | None = None
    prime_details: PrimeDetails = PrimeDetails()
    promotions: tuple[Promotion, ...] = ()
    featured_offer_segments: tuple[SegmentOf, ...] | None = None

    def offer(self) -> Offer:
        """Raises Unclear for shipping that has more than one price."""
        if len(self.shipping_options) > 1:
            raise Unclear(f"shippingOptions: {len(self.shipping_options)} prices for shipping")
        shipping = self.shipping_options[0].price if self.shipping_options else None
        return Offer(
            seller=self.seller_id,
            condition=self.condition,
            sub_condition=self.sub_condition,
            fulfilled_by=self.fulfillment_type,
            price=OfferPrice(self.listing_price, shipping, self.points),
            featured=None if self.featured_offer_segments is None else True,
            prime_eligibility=self.prime_details.eligibility,
            savings=tuple(one.saving() for one in self.promotions),
            segments=tuple(one.segment() for one in self.featured_offer_segments or ()),
        )


class BuyingOption(Wire):
    """Featured offers of one way to buy."""

    buying_option_type: str
    segmented_featured_offers: tuple[NewOffer, ...]


class LowestInput(Wire):
    """Which lowest offers these are."""

    item_condition: str
    offer_type: str


class Lowest(Wire):
    """The lowest offers of one condition."""

    lowest_priced_offers_input: LowestInput
    offers: tuple[NewOffer, ...]


class Reference(Wire):
    """A price to compare with."""

    name: str
    price: Cash


class Similar(Wire):
    """A similar thing."""

    asin: str


class SimilarItems(Wire):
    """Similar things."""

    items: tuple[Similar, ...] = ()


class Summary(Wire):
    """What buyers meet at one ASIN."""

    asin: str
    marketplace_id: str
    featured_buying_options: tuple[BuyingOption, ...] = ()
    lowest_priced_offers: tuple[Lowest, ...] = ()
    reference_prices: tuple[Reference, ...] = ()
    similar_items: tuple[SimilarItems, ...] = ()


class Asin(Wire):
    """Which ASIN an answer is about."""

    asin: str


class Identity(Wire):
    """Whose offer of what."""

    asin: str
    marketplace_id: str
    seller_id: str | None = None
    sku: str | None = None
    fulfillment_type: Fulfillment | None = None


class NewPrice(Wire):
    """As 2022-05-01 says a price."""

    listing_price: Cash
    shipping_price: Cash | None = None
    points: PointsGiven | None = None

    def price(self) -> OfferPrice:
        """As a value of ours."""
        return OfferPrice(
            self.listing_price,
            self.shipping_price,
            self.points,
        )


class FeaturedOffer(Wire):
    """An offer that is featured, or would be."""

    offer_identifier: Identity
    condition: str | None = None
    price: NewPrice | None = None

    def rival(self) -> Rival:
        """As a value of ours."""
        who = self.offer_identifier
        return Rival(
            who.asin,
            _place(who.marketplace_id),
            who.seller_id,
            who.fulfillment_type,
            self.condition,
            None if self.price is None else self.price.price(),
            who.sku,
        )


class Result(Wire):
    """One result of a computation."""

    result_status: str
    featured_offer_expected_price: NewPrice | None = None
    competing_featured_offer: FeaturedOffer | None = None
    current_featured_offer: FeaturedOffer | None = None

    def expectation(self) -> Expectation:
        """As a value of ours."""
        expected = self.featured_offer_expected_price
        return Expectation(
            self.result_status,
            None if expected is None else expected.listing_price,
            None if expected is None else expected.points,
            *(
                None if one is None else one.rival()
                for one in (self.competing_featured_offer, self.current_featured_offer)
            ),
        )


class Target(Wire):
    """Which offer of ours was computed for."""

    asin: str | None = None
    seller_id: str | None = None
    fulfillment_type: Fulfillment | None = None


class Expected(Wire):
    """What a SKU would have to cost."""

    offer_identifier: Target = Target()
    featured_offer_expected_price_results: tuple[Result, ...] = ()


class ExpectedQuestion(Wire):
    """The question, repeated."""

    marketplace_id: str
    sku: str
    segment: SegmentOf | None = None


async def competition(
    client: Client, code: str, asins: Sequence[str], ask: Ask, *, conditions: Sequence[str] = ("New",)
) -> list[Told[Competition]]:
    """What buyers meet at each of at most 20 ASINs, in the order asked, with the lowest offers of at most 5 conditions.

    Raises Invalid before anything is sent.
    """
    if not 1 <= len(conditions) <= 5:
        raise Invalid(f"{COMPETITION} takes 1 to 5 conditions; {len(conditions)} were given.")
    store = marketplace(code).id
    bodies = [
        {
            "asin": asin,
            "marketplaceId": store,
            "includedData": list(INCLUDED),
            "lowestPricedOffersInputs": [{"itemCondition": one, "offerType": "Consumer"} for one in conditions],
            "uri": "/products/pricing/2022-05-01/items/competitiveSummary",
            "method": "GET",
        }
        for asin in asins
    ]
    return await batch(
        client, COMPETITION, COMPETITION_PATH, COMPETITION_BATCH, asins, bodies, ask, _asked_asin, competition_of
    )


async def expected_prices(client: Client, code: str, skus: Sequence[str], ask: Ask) -> list[Told[ExpectedPrice]]:
    """At or below which price each of at most 40 SKUs of ours could be the featured offer, in the order asked.

    That no price is told (nobody competes, the offer is not eligible…) is a status of a result, not a failure. Raises Invalid
    before anything is sent.
    """
    store = marketplace(code).id
    bodies = [
        {
            "marketplaceId": store,
            "sku": sku,
            "method": "GET",
            "uri": "/products/pricing/2022-05-01/offer/featuredOfferExpectedPrice",
        }
        for sku in skus
    ]
    return await batch(
        client, EXPECTED, EXPECTED_PATH, EXPECTED_BATCH, skus, bodies, ask, _asked_sku, expected_price_of
    )


def _asked_asin(envelope: Envelope) -> str:
    return read(Asin, envelope.body).asin


def _asked_sku(envelope: Envelope) -> str:
    return read(ExpectedQuestion, envelope.request).sku


def competition_of(envelope: Envelope, as_of: datetime) -> Competition:
    """Raises Unclear."""
    wire = read(Summary, envelope.body)
    featured: dict[str, tuple[Offer, ...]] = {}
    for option in wire.featured_buying_options:
        more = tuple(one.offer() for one in option.segmented_featured_offers)
        featured[option.buying_option_type] = featured.get(option.buying_option_type, ()) + more
    names = [one.name for one in wire.reference_prices]
    if len(set(names)) < len(names):
        raise Unclear("referencePrices: one name has two prices")
    return Competition(
        asin=wire.asin,
        marketplace=_place(wire.marketplace_id),
        as_of=as_of,
        featured=featured,
        lowest=tuple(
            LowestOffers(
                one.lowest_priced_offers_input.item_condition,
                one.lowest_priced_offers_input.offer_type,
                tuple(offer.offer() for offer in one.offers),
            )
            for one in wire.lowest_priced_offers
        ),
        references={one.name: one.price for one in wire.reference_prices},
        similar=tuple(one.asin for part in wire.similar_items for one in part.items),
    )


def expected_price_of(envelope: Envelope, as_of: datetime) -> ExpectedPrice:
    """Raises Unclear."""
    asked, wire = read(ExpectedQuestion, envelope.request), read(Expected, envelope.body)
    who = wire.offer_identifier
    return ExpectedPrice(
        sku=asked.sku,
        marketplace=_place(asked.marketplace_id),
        as_of=as_of,
        asin=who.asin,
        seller=who.seller_id,
        fulfilled_by=who.fulfillment_type,
        segment=None if asked.segment is None else asked.segment.segment(),
        results=tuple(one.expectation() for one in wire.featured_offer_expected_price_results),
    )


def _place(id: str) -> str:
    return BY_ID.get(id, id)
