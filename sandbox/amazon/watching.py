"""What is told of a listing when it changes: its merchant quantity and, in each marketplace, its prices, status and issues."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.amazon import offers
from sandbox.amazon.auth import Account
from sandbox.amazon.competition import Standing, featured, standings
from sandbox.amazon.listings import issues, status
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import Amazon, number
from sandbox.journal import iso
from sandbox.world import Product

_WAYS = {True: "Amazon", False: "Merchant"}


@dataclass(frozen=True, slots=True)
class _Shown:
    """A listing in one marketplace."""

    price: Decimal | None
    business: Decimal | None
    status: list[str]
    issues: list[dict[str, Any]]


@contextmanager
def telling(amazon: Amazon, account: Account, product: Product) -> Iterator[None]:
    """Tell those who want to know of what the block changes of a listing."""
    notices, seller = amazon.notices, account.seller
    if not notices.subscriptions:
        yield
        return
    units, before = amazon.merchant_units(account, product), _shown(amazon, account, product)
    yield
    left, after = amazon.merchant_units(account, product), _shown(amazon, account, product)
    if left is not None and left != units:
        notices.quantity_changed(seller, product, left)
    for code, now in after.items():
        if now.price is not None and now.price != before[code].price:
            notices.offer_changed(seller, product, code, number(now.price, code))
            if notices.wanted(seller, "ANY_OFFER_CHANGED"):
                notices.offers_changed(seller, code, _offers(amazon, account, product, code))
        if now.business != before[code].business:
            told = _business(amazon, account, product, code, now.business)
            notices.tell(seller, "B2B_ANY_OFFER_CHANGED", {"B2BAnyOfferChangedNotification": told})
        if now.status != before[code].status:
            created = amazon.listing(account, product).created_at
            notices.status_changed(seller, product, code, now.status, created)
        if now.issues != before[code].issues:
            notices.issues_changed(seller, product, code, now.issues)


def _shown(amazon: Amazon, account: Account, product: Product) -> dict[str, _Shown]:
    return {
        code: _Shown(
            amazon.price(account, product, code),
            _business_price(amazon, account, product, code),
            status(amazon, account, product, code),
            issues(amazon, account, product, [code]),
        )
        for code in amazon.listed(account, product)
    }


def _business_price(amazon: Amazon, account: Account, product: Product, code: str) -> Decimal | None:
    """The visible price to businesses; None without one of their own, as of all listings that nobody has changed."""
    if (account.seller, product.index) not in amazon.listings:
        return None
    for offer in amazon.listing(account, product).visible.get("purchasable_offer", []):
        if offer.get("marketplace_id") == MARKETPLACES[code].id and offer.get("audience") == "B2B":
            return offers.price(offer, amazon.clock.now())
    return None


def _business(amazon: Amazon, account: Account, product: Product, code: str, price: Decimal | None) -> dict[str, Any]:
    """What B2B_ANY_OFFER_CHANGED tells of an item: our offer to businesses, the only one there is, or that it is gone."""
    by_amazon = product.fulfilled_by == "AMAZON"
    told: dict[str, Any] = {
        "SellerId": account.seller,
        "OfferChangeTrigger": {
            "MarketplaceId": MARKETPLACES[code].id,
            "ASIN": product.asin,
            "ItemCondition": "new",
            "TimeOfOfferChange": iso(amazon.clock.now()),
        },
        "Summary": {"NumberOfOffers": [], "BuyBoxEligibleOffers": [], "LowestPrices": [], "BuyBoxPrices": []},
        "Offers": [],
    }
    if price is None:
        return told
    free, money = _money(Decimal(0), code), _money(price, code)
    prices = {"LandedPrice": money, "ListingPrice": money, "Shipping": free}
    counted = [{"Condition": "new", "FulfillmentChannel": _WAYS[by_amazon], "OfferCount": 1}]
    kind = {"Condition": "new", "OfferType": "B2B", "QuantityTier": 1}
    told["Summary"] = {
        "NumberOfOffers": counted,
        "BuyBoxEligibleOffers": counted,
        "LowestPrices": [{**kind, "FulfillmentChannel": _WAYS[by_amazon], **prices}],
        "BuyBoxPrices": [{**kind, **prices, "SellerId": account.seller}],
    }
    told["Offers"] = [
        {
            "SellerId": account.seller,
            "SubCondition": "new",
            "ShippingTime": {"MinimumHours": 0 if by_amazon else 24, "MaximumHours": 0 if by_amazon else 48},
            "ListingPrice": money,
            "Shipping": free,
            "IsFulfilledByAmazon": by_amazon,
            "IsBuyBoxWinner": True,
            "PrimeInformation": {"IsPrime": by_amazon, "IsNationalPrime": by_amazon},
            "IsFeaturedMerchant": True,
        }
    ]
    return told


def _offers(amazon: Amazon, account: Account, product: Product, code: str) -> dict[str, Any]:
    """What ANY_OFFER_CHANGED tells of an item: who offers it, and for how much."""
    found = standings(amazon, account, product, code)
    first = featured(found)
    by_way = {way: [one for one in found if one.by_amazon == way] for way in _WAYS}
    place = MARKETPLACES[code]
    usual = _money(product.prices[place.currency], code)
    return {
        "SellerId": account.seller,
        "OfferChangeTrigger": {
            "MarketplaceId": place.id,
            "ASIN": product.asin,
            "ItemCondition": "new",
            "TimeOfOfferChange": iso(amazon.clock.now()),
            "OfferChangeType": "Internal",
        },
        "Summary": {
            "NumberOfOffers": [_count(way, some) for way, some in by_way.items() if some],
            "LowestPrices": [
                {"Condition": "new", "FulfillmentChannel": _WAYS[way], **_prices(some[0], code)}
                for way, some in by_way.items()
                if some
            ],
            "BuyBoxPrices": [] if first is None else [{"Condition": "new", **_prices(first, code)}],
            "ListPrice": usual,
            "MinimumAdvertisedPrice": usual,
            "SuggestedLowerPricePlusShipping": usual,
            "TotalBuyBoxEligibleOffers": sum(one.featurable for one in found),
            "SalesRankings": [],
            "NumberOfBuyBoxEligibleOffers": [
                _count(way, [one for one in some if one.featurable]) for way, some in by_way.items() if some
            ],
            "CompetitivePriceThreshold": usual,
        },
        "Offers": [_offer(one, code, iso(amazon.clock.now())) for one in found[:20]],
    }


def _offer(one: Standing, code: str, at: str) -> dict[str, Any]:
    prices = _prices(one, code)
    return {
        "SellerId": one.seller,
        "SubCondition": "new",
        "SellerFeedbackRating": {
            "FeedbackCount": one.feedback_count,
            "SellerPositiveFeedbackRating": one.feedback_percent,
        },
        "ShippingTime": {
            "MinimumHours": 0 if one.by_amazon else 24,
            "MaximumHours": 0 if one.by_amazon else 48,
            "AvailabilityType": "NOW",
            "AvailableDate": at,
        },
        "ListingPrice": prices["ListingPrice"],
        "Points": prices["Points"],
        "Shipping": prices["Shipping"],
        "ShipsFrom": {"Country": code, "State": ""},
        "IsFulfilledByAmazon": one.by_amazon,
        "PrimeInformation": {"IsOfferPrime": one.by_amazon, "IsOfferNationalPrime": one.by_amazon},
        "IsExpeditedShippingAvailable": one.by_amazon,
        "IsFeaturedMerchant": one.featurable,
        "ShipsDomestically": True,
        "ShipsInternationally": False,
    }


def _prices(one: Standing, code: str) -> dict[str, Any]:
    return {
        "LandedPrice": _money(one.landed, code),
        "ListingPrice": _money(one.price, code),
        "Shipping": _money(one.shipping, code),
        "Points": {"PointsNumber": one.points},
    }


def _count(by_amazon: bool, some: list[Standing]) -> dict[str, Any]:
    return {"Condition": "new", "FulfillmentChannel": _WAYS[by_amazon], "OfferCount": len(some)}


def _money(amount: Decimal, code: str) -> dict[str, Any]:
    return {"Amount": number(amount, code), "CurrencyCode": MARKETPLACES[code].currency}
