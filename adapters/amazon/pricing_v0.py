"""What is offered beside our SKUs. Source: Product Pricing v0, getListingOffersBatch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from pydantic import Field

from adapters.amazon.batch import Envelope, Told, batch
from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.amazon.numbers import Cash, Fulfillment, Number, Pascal, PointsGiven
from adapters.amazon.wire import Count, Instant
from adapters.wire import Wire, read
from domain.budget import Ask
from domain.catalog import Rank
from domain.offer import Availability, Feedback, Offer, OfferCount, OfferPrice, Offers, PriceOf, PriceTier
from domain.product import FulfilledBy

OPERATION = "getListingOffersBatch"
PATH = "/batches/products/pricing/v0/listingOffers"
BATCH = 20


class Price(Pascal):
    """As v0 says a price."""

    listing_price: Cash
    shipping: Cash | None = None
    points: PointsGiven | None = None
    landed_price: Cash | None = None

    def price(self) -> OfferPrice:
        """As a value of ours."""
        return OfferPrice(
            self.listing_price,
            self.shipping,
            self.points,
            self.landed_price,
        )


class KindPrice(Price):
    """A lowest or featured price; names of v0 begin small here and there."""

    condition: str = Field(alias="condition")
    fulfillment_channel: Fulfillment | None = Field(None, alias="fulfillmentChannel")
    offer_type: str | None = Field(None, alias="offerType")
    quantity_tier: Count | None = Field(None, alias="quantityTier")
    quantity_discount_type: str | None = Field(None, alias="quantityDiscountType")
    seller_id: str | None = Field(None, alias="sellerId")

    def of(self) -> PriceOf:
        """As a value of ours."""
        return PriceOf(
            self.condition,
            self.price(),
            self.fulfillment_channel,
            self.offer_type,
            self.quantity_tier,
            self.quantity_discount_type,
            self.seller_id,
        )


class KindCount(Wire):
    """How many offers there are of a kind."""

    condition: str | None = None
    fulfillment_channel: Fulfillment | None = None
    offer_count: Count | None = Field(None, alias="OfferCount")

    def count(self) -> OfferCount:
        """As a value of ours."""
        return OfferCount(self.condition, self.fulfillment_channel, self.offer_count)


class SalesRank(Pascal):
    """A place among what sells in a category."""

    product_category_id: str
    rank: Count


class Summary(Pascal):
    """All offers, in numbers."""

    total_offer_count: Count
    number_of_offers: tuple[KindCount, ...] = ()
    buy_box_eligible_offers: tuple[KindCount, ...] = ()
    lowest_prices: tuple[KindPrice, ...] = ()
    buy_box_prices: tuple[KindPrice, ...] = ()
    list_price: Cash | None = None
    suggested_lower_price_plus_shipping: Cash | None = None
    competitive_price_threshold: Cash | None = None
    sales_rankings: tuple[SalesRank, ...] = ()
    offers_available_time: Instant | None = None


class ShippingTime(Wire):
    """When an offer is sent."""

    minimum_hours: Count | None = None
    maximum_hours: Count | None = None
    availability_type: str | None = None
    available_date: str | None = None


class ShipsFrom(Pascal):
    """From where."""

    country: str | None = None
    state: str | None = None


class Prime(Pascal):
    """Whether Prime's members are served."""

    is_prime: bool | None = None
    is_national_prime: bool | None = None


class SellerFeedback(Pascal):
    """What buyers think of a seller."""

    feedback_count: Count
    seller_positive_feedback_rating: Number | None = None

    def feedback(self) -> Feedback:
        """As a value of ours."""
        return Feedback(self.feedback_count, self.seller_positive_feedback_rating)


class Tier(Wire):
    """A price from so many units on."""

    listing_price: Cash
    quantity_tier: Count | None = None
    quantity_discount_type: str | None = None


class OneOffer(Price):
    """One of at most 20 offers."""

    sub_condition: str
    is_fulfilled_by_amazon: bool
    shipping_time: ShippingTime
    my_offer: bool | None = None
    offer_type: str | None = Field(None, alias="offerType")
    seller_id: str | None = None
    condition_notes: str | None = None
    seller_feedback_rating: SellerFeedback | None = None
    quantity_discount_prices: tuple[Tier, ...] = Field((), alias="quantityDiscountPrices")
    ships_from: ShipsFrom = ShipsFrom()
    prime_information: Prime = Prime()
    is_buy_box_winner: bool | None = None
    is_featured_merchant: bool | None = None

    def offer(self) -> Offer:
        """As a value of ours."""
        time, prime, feedback = self.shipping_time, self.prime_information, self.seller_feedback_rating
        return Offer(
            seller=self.seller_id,
            condition=None,
            sub_condition=self.sub_condition,
            fulfilled_by=FulfilledBy.CHANNEL if self.is_fulfilled_by_amazon else FulfilledBy.MERCHANT,
            price=self.price(),
            customer=self.offer_type,
            mine=self.my_offer,
            featured=self.is_buy_box_winner,
            featurable=self.is_featured_merchant,
            prime=prime.is_prime,
            prime_nationwide=prime.is_national_prime,
            availability=Availability(
                time.minimum_hours, time.maximum_hours, time.availability_type, time.available_date
            ),
            ships_from_country=self.ships_from.country,
            ships_from_state=self.ships_from.state,
            feedback=None if feedback is None else feedback.feedback(),
            note=self.condition_notes,
            tiers=tuple(
                PriceTier(one.quantity_tier, one.quantity_discount_type, one.listing_price)
                for one in self.quantity_discount_prices
            ),
        )


class Identifier(Pascal):
    """What was asked for."""

    asin: str | None = Field(None, alias="ASIN")
    seller_sku: str | None = Field(None, alias="SellerSKU")


class AllOffers(Pascal):
    """Everything about one SKU."""

    marketplace_id: str = Field(alias="marketplaceId")
    asin: str | None = Field(None, alias="ASIN")
    sku: str | None = Field(None, alias="SKU")
    item_condition: str
    status: str = Field(alias="status")
    identifier: Identifier
    summary: Summary
    offers: tuple[OneOffer, ...]


class Body(Wire):
    """What v0 wraps."""

    payload: AllOffers


class Question(Pascal):
    """Which SKU an answer is about."""

    seller_sku: str = Field(alias="SellerSKU")


class Named(Pascal):
    """See `Answered`."""

    sku: str = Field(alias="SKU")


class Answered(Wire):
    """As much of an answer as says which SKU it is about."""

    payload: Named


async def offers(
    client: Client,
    code: str,
    skus: Sequence[str],
    ask: Ask,
    *,
    condition: str = "New",
    customer: str = "Consumer",
) -> list[Told[Offers]]:
    """All offers beside each of at most 20 SKUs of ours, in the order asked. Raises Invalid before anything is sent."""
    store = marketplace(code).id
    bodies = [
        {
            "uri": f"/products/pricing/v0/listings/{quote(sku, safe='')}/offers",
            "method": "GET",
            "MarketplaceId": store,
            "ItemCondition": condition,
            "CustomerType": customer,
        }
        for sku in skus
    ]
    return await batch(client, OPERATION, PATH, BATCH, skus, bodies, ask, _asked, offers_of)


def _asked(envelope: Envelope) -> str:
    """Amazon need not repeat the question; an answer with offers names the SKU itself."""
    if envelope.request is not None:
        return read(Question, envelope.request).seller_sku
    return read(Answered, envelope.body).payload.sku


def offers_of(envelope: Envelope, as_of: datetime) -> Offers:
    """Raises Unclear."""
    wire, sku = read(Body, envelope.body).payload, _asked(envelope)
    summary = wire.summary
    return Offers(
        sku=sku,
        asin=wire.asin or wire.identifier.asin,
        marketplace=BY_ID.get(wire.marketplace_id, wire.marketplace_id),
        condition=wire.item_condition,
        status=wire.status,
        as_of=as_of,
        total=summary.total_offer_count,
        counts=tuple(one.count() for one in summary.number_of_offers),
        featurable=tuple(one.count() for one in summary.buy_box_eligible_offers),
        lowest=tuple(one.of() for one in summary.lowest_prices),
        featured=tuple(one.of() for one in summary.buy_box_prices),
        list_price=summary.list_price,
        suggested=summary.suggested_lower_price_plus_shipping,
        threshold=summary.competitive_price_threshold,
        ranks=tuple(
            Rank(one.product_category_id, one.rank, department=not one.product_category_id.isdigit())
            for one in summary.sales_rankings
        ),
        offers=tuple(one.offer() for one in wire.offers),
        available_at=summary.offers_available_time,
    )
