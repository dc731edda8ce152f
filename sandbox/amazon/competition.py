"""Who else offers our products, for how much, and whose offer is featured.

Each product has up to four rivals in each marketplace, seeded by the world. Every six hours each rival's price moves by up to
2 % around its own level. One that undercuts comes down to 1 % below our price an hour after our listing last changed, but never
below its floor.

The rule of the featured offer: of the offers in new condition whose seller may be featured, the lowest landed price wins, where
an offer that the merchant ships counts as 5 % dearer. Of equal ones ours wins, then the one whose seller id comes first.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal

from sandbox.amazon import rates
from sandbox.amazon.auth import Account
from sandbox.amazon.listings import status
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import Amazon, money
from sandbox.world import Product

STEP_S = 6 * 3600
REACTION = timedelta(hours=1)
HANDICAP = Decimal("1.05")
"""What an offer that the merchant ships is multiplied by before it is compared."""
_POINTS = Decimal("0.01")
_POINTS_IN = ("JP",)


@dataclass(frozen=True, slots=True)
class Standing:
    """One offer of one product in one marketplace; amounts in its currency. Points are worth a yen each."""

    seller: str
    ours: bool
    by_amazon: bool
    featurable: bool
    price: Decimal
    shipping: Decimal
    points: int
    feedback_count: int
    feedback_percent: int

    @property
    def landed(self) -> Decimal:
        return self.price + self.shipping - self.points

    @property
    def weight(self) -> Decimal:
        """What is compared: the lowest is featured."""
        return self.landed if self.by_amazon else self.landed * HANDICAP


def standings(amazon: Amazon, account: Account, product: Product, code: str) -> list[Standing]:
    """All offers, cheapest first; ours is among them while it can be bought."""
    found = _rivals(amazon, account, product, code)
    if "BUYABLE" in status(amazon, account, product, code):
        found.append(_ours(amazon, account, product, code))
    return sorted(found, key=lambda one: (one.landed, not one.ours, one.seller))


def featured(found: list[Standing]) -> Standing | None:
    """The one that buyers meet first; None where no seller may be featured."""
    able = [one for one in found if one.featurable]
    return min(able, key=lambda one: (one.weight, not one.ours, one.seller), default=None)


def expected_price(ours: Standing, rival: Standing, code: str) -> Decimal:
    """The highest price of ours that is featured before `rival`, with the points that such a price gives."""
    unit = Decimal(1).scaleb(-MARKETPLACES[code].places)
    aim = rival.weight if ours.by_amazon else rival.weight / HANDICAP
    price = (aim - ours.shipping).quantize(unit, rounding=ROUND_FLOOR)
    while price + unit + ours.shipping - points(price + unit, code) <= aim:
        price += unit
    return price


def points(price: Decimal, code: str) -> int:
    """A hundredth of the price in Japan, none elsewhere."""
    return int(price * _POINTS) if code in _POINTS_IN else 0


def _ours(amazon: Amazon, account: Account, product: Product, code: str) -> Standing:
    price = amazon.price(account, product, code)
    assert price is not None, "what can be bought has a price"
    return Standing(
        seller=account.seller,
        ours=True,
        by_amazon=product.fulfilled_by == "AMAZON",
        featurable=True,
        price=price,
        shipping=Decimal(0),
        points=points(price, code),
        feedback_count=1871,
        feedback_percent=96,
    )


def _rivals(amazon: Amazon, account: Account, product: Product, code: str) -> list[Standing]:
    dice = amazon.world.random("rivals", code, product.index)
    return [_rival(amazon, account, product, code, number) for number in range(dice.choice((0, 1, 2, 2, 3, 4)))]


def _rival(amazon: Amazon, account: Account, product: Product, code: str, number: int) -> Standing:
    place = MARKETPLACES[code]
    dice = amazon.world.random("rival", code, product.index, number)
    usual = product.prices[place.currency]
    level, by_amazon = usual * dice.randint(92, 118) / 100, dice.random() < 0.5
    featurable, undercuts = dice.random() < 0.8, dice.random() < 0.4
    step = int(amazon.clock.seconds() // STEP_S)
    moved = level * (1000 + amazon.world.random("rival", code, product.index, number, step).randint(-20, 20)) / 1000
    ours = amazon.price(account, product, code)
    if undercuts and ours is not None and amazon.clock.now() - amazon.listing(account, product).updated_at >= REACTION:
        moved = max(min(moved, ours * 99 / 100), usual * 85 / 100)
    price = money(moved, code)
    return Standing(
        seller=f"A{dice.randrange(10**9):09d}RIVAL{number}",
        ours=False,
        by_amazon=by_amazon,
        featurable=featurable,
        price=price,
        shipping=Decimal(0)
        if by_amazon
        else money(rates.RATES[place.currency].shipping * dice.randint(0, 2) / 2, code),
        points=points(price, code),
        feedback_count=dice.randint(3, 40_000),
        feedback_percent=dice.randint(71, 99),
    )
