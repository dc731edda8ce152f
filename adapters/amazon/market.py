"""The market of our listings at Amazon, as the port tells it. Sources: getMyFeesEstimates, getCompetitiveSummary and
getFeaturedOfferExpectedPriceBatch."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from adapters.amazon import fees, pricing
from adapters.amazon.client import Client
from adapters.market import ExpectedSeen, FeaturedSeen, FeesQuestion
from domain.budget import Ask
from domain.errors import HouseError
from domain.fee import FeesEstimate
from domain.ids import ChannelSku
from domain.offer import Competition, ExpectedPrice, Offer, OfferPrice
from domain.product import Rejected

FEES_BATCH, FEATURED_BATCH, EXPECTED_BATCH = fees.BATCH, pricing.COMPETITION_BATCH, pricing.EXPECTED_BATCH
NEW = "New"
"""The way to buy whose featured offer is meant."""


class AmazonMarket:
    """One account's market; see `adapters.market.Market`."""

    def __init__(self, client: Client, seller_id: str) -> None:
        self._client = client
        self._seller_id = seller_id

    async def fees(
        self, marketplace: str, questions: Sequence[FeesQuestion], ask: Ask
    ) -> list[FeesEstimate | HouseError | Rejected]:
        """What Amazon would take of a unit that is sold without shipping and points."""
        asked = [fees.Question(one.channel_sku, OfferPrice(one.price), one.fulfilled_by) for one in questions]
        return await fees.estimates(self._client, marketplace, asked, ask)

    async def featured(
        self, marketplace: str, items: Sequence[str], ask: Ask
    ) -> list[FeaturedSeen | HouseError | Rejected]:
        """Who is featured to most buyers of new units of each ASIN."""
        told = await pricing.competition(self._client, marketplace, items, ask)
        return [self._featured(one) if isinstance(one, Competition) else one for one in told]

    async def expected(
        self, marketplace: str, skus: Sequence[ChannelSku], ask: Ask
    ) -> list[ExpectedSeen | HouseError | Rejected]:
        """The featured offer expected price of each SKU."""
        told = await pricing.expected_prices(self._client, marketplace, skus, ask)
        return [_expected(one) if isinstance(one, ExpectedPrice) else one for one in told]

    def _featured(self, told: Competition) -> FeaturedSeen:
        offers = told.featured.get(NEW, ())
        if not offers:
            return FeaturedSeen(None, None, None, told.as_of)
        # Of equal shares the first that Amazon names.
        most = max(offers, key=_share)
        return FeaturedSeen(most.price, most.seller, most.seller == self._seller_id, told.as_of)


def _share(offer: Offer) -> Decimal:
    """The share of all views, in percent, that meet this offer first; what is told without segments is met by all."""
    shares = [one.views_percent for one in offer.segments if one.views_percent is not None]
    return sum(shares, Decimal(0)) if shares else Decimal(100)


def _expected(told: ExpectedPrice) -> ExpectedSeen:
    """The least of several: at that price the offer can expect to be featured to all of them."""
    prices = [one.price for one in told.results if one.price is not None]
    status = ", ".join(sorted({one.status for one in told.results})) or "NO_RESULT"
    return ExpectedSeen(min(prices, key=lambda one: one.amount, default=None), status, told.as_of)
