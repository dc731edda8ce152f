"""What Amazon takes in this world, and the measures of a parcel it takes it by. One plain table for estimates and for what is
really charged, so that the two agree.

The referral fee is 15 % of what the buyer pays for a unit (tax included where prices include it), at least a minimum. The FBA
fee goes by the size tier of the packed unit. Of a refunded unit the referral fee comes back but for a fifth of it, which has a
ceiling; the FBA fee does not come back.
"""

from dataclasses import dataclass
from decimal import Decimal

from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.world import Product

REFERRAL_PERCENT = 15
KEPT_PERCENT = 20


@dataclass(frozen=True, slots=True)
class Rates:
    """In one currency. `fba` is per unit by size tier; `kept_at_most` of the referral fee of a refunded unit."""

    referral_at_least: Decimal
    kept_at_most: Decimal
    shipping: Decimal
    fba: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Measures:
    """One packed unit: centimeters and grams."""

    length: Decimal
    width: Decimal
    height: Decimal
    weight: int

    @property
    def tier(self) -> str:
        """SMALL_STANDARD up to 300 g and 2.5 cm high, LARGE_STANDARD up to 1 kg, else LARGE_BULKY."""
        if self.weight <= 300 and self.height <= Decimal("2.5"):
            return "SMALL_STANDARD"
        return "LARGE_STANDARD" if self.weight <= 1000 else "LARGE_BULKY"


RATES = {
    "USD": Rates(
        Decimal("0.30"),
        Decimal("5.00"),
        Decimal("5.99"),
        {"SMALL_STANDARD": Decimal("3.22"), "LARGE_STANDARD": Decimal("4.75"), "LARGE_BULKY": Decimal("9.61")},
    ),
    "EUR": Rates(
        Decimal("0.30"),
        Decimal("5.00"),
        Decimal("4.99"),
        {"SMALL_STANDARD": Decimal("2.85"), "LARGE_STANDARD": Decimal("3.95"), "LARGE_BULKY": Decimal("6.10")},
    ),
    "JPY": Rates(
        Decimal(30),
        Decimal(500),
        Decimal(410),
        {"SMALL_STANDARD": Decimal(318), "LARGE_STANDARD": Decimal(434), "LARGE_BULKY": Decimal(589)},
    ),
}

_MEASURES = {
    "TEE": ("30", "24", "2.2", 180),
    "HOOD": ("38", "30", "7", 620),
    "PANT": ("36", "28", "5", 540),
    "SOCK": ("20", "9", "2", 70),
    "CAP": ("26", "20", "12", 140),
    "SCARF": ("30", "22", "4", 210),
    "GLOVE": ("24", "12", "3", 120),
    "BELT": ("14", "14", "4.5", 260),
    "BAG": ("46", "34", "14", 1150),
    "MUG": ("13", "11", "11", 430),
}


def measures(product: Product) -> Measures:
    """By the product's family."""
    length, width, height, weight = _MEASURES[product.family]
    return Measures(Decimal(length), Decimal(width), Decimal(height), weight)


def referral(price: Decimal, marketplace: str) -> Decimal:
    """For one unit that the buyer pays `price` for, in the marketplace's currency and its places."""
    place = MARKETPLACES[marketplace]
    share = (price * REFERRAL_PERCENT / 100).quantize(Decimal(1).scaleb(-place.places))
    return max(share, RATES[place.currency].referral_at_least)


def kept_of(referral_fee: Decimal, marketplace: str) -> Decimal:
    """What Amazon keeps of the referral fee of one unit when that is refunded."""
    place = MARKETPLACES[marketplace]
    share = (referral_fee * KEPT_PERCENT / 100).quantize(Decimal(1).scaleb(-place.places))
    return min(share, RATES[place.currency].kept_at_most)


def fba(product: Product, marketplace: str) -> Decimal:
    """For packing and sending one unit."""
    return RATES[MARKETPLACES[marketplace].currency].fba[measures(product).tier]
