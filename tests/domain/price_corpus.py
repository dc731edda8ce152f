"""Prices as people and programs ask for them: good ones, and mistakes of every kind that is known. The same ones in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money, minor_digits
from domain.price import Origin, Price, PriceFacts, PriceWish, Sale

AT = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
# What a euro is worth; markets and their currencies.
EURO: Mapping[str, Decimal] = {
    one: Decimal(rate)
    for one, rate in {
        "EUR": "1",
        "USD": "1.08",
        "GBP": "0.85",
        "JPY": "163.2",
        "PLN": "4.31",
        "SEK": "11.42",
        "MXN": "20.1",
    }.items()
}
MARKETS = {"DE": "EUR", "FR": "EUR", "US": "USD", "GB": "GBP", "JP": "JPY", "PL": "PLN", "SE": "SEK", "MX": "MXN"}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A wish, what is known of its listing, and of which kind it is."""

    kind: str
    wish: PriceWish
    facts: PriceFacts


def rounded(amount: Decimal, currency: str) -> Money:
    """To the minor unit of the currency, and one unit at the least."""
    unit = Decimal(1).scaleb(-minor_digits(currency))
    return Money(max(unit, amount.quantize(unit, rounding=ROUND_HALF_UP)), currency)


def into(euros: Decimal, currency: str) -> Money:
    return rounded(euros * EURO[currency], currency)


def rates(currency: str) -> dict[str, Decimal]:
    """How much of the currency one unit of each other is worth."""
    return {other: EURO[currency] / EURO[other] for other in EURO if other != currency}


def make_wish(price: Price, *, sku: str = "A-1", market: str = "DE", origin: Origin = Origin.MUTATION) -> PriceWish:
    """That the SKU be sold for the price there."""
    channel = ChannelId("amazon")
    id = ListingId(f"{channel}/{market}/{sku}")
    return PriceWish(id, channel, market, ChannelSku(sku), Sku(sku), {}, price, origin)


@dataclass(frozen=True, slots=True)
class Offer:
    """A listing as it stands, and the draw that it was made by."""

    draw: random.Random
    number: int
    market: str
    price: Money
    facts: PriceFacts

    def times(self, low: float, high: float) -> Money:
        """Its price, changed by a factor between the two."""
        factor = Decimal(str(round(self.draw.uniform(low, high), 4)))
        return rounded(self.price.amount * factor, self.price.currency)

    def of(self, kind: str, price: Price, facts: PriceFacts | None = None) -> Proposal:
        wish = make_wish(price, sku=f"SKU-{self.number}", market=self.market)
        return Proposal(kind, wish, self.facts if facts is None else facts)


def offer(draw: random.Random, number: int) -> Offer:
    """A listing somewhere: cost, margin and competition as they may be."""
    market = draw.choice(list(MARKETS))
    currency = MARKETS[market]
    cost = Decimal(str(round(draw.lognormvariate(2.6, 0.8) + 1.5, 2)))
    euros = cost * Decimal(str(round(draw.uniform(1.3, 3.2), 3)))
    price = into(euros, currency)
    others = [one for one in MARKETS if one != market]
    elsewhere = tuple(
        into(euros * Decimal(str(round(draw.uniform(0.9, 1.15), 3))), MARKETS[one])
        for one in draw.sample(others, draw.randint(0, 4))
    )
    paid = rounded(price.amount * Decimal(str(round(draw.uniform(0.94, 1.06), 3))), currency)
    facts = PriceFacts(
        currency=currency,
        live=Price(price),
        live_at=AT - timedelta(minutes=draw.randint(1, 300)),
        wanted=draw.choice([None, Price(price)]),
        day_ago=draw.choice([None, paid, paid]),
        cost=Money(cost * EURO[currency], currency),
        elsewhere=elsewhere,
        rates=rates(currency),
    )
    told = draw.random() < 0.85
    facts = replace(
        facts,
        cost=facts.cost if told else None,
        regular_day_ago=facts.day_ago,
        verified=draw.choice([None, Price(price)]),
    )
    return Offer(draw, number, market, price, facts)


# ── good ones ──


def _step(low: float, high: float, kind: str, one: Offer) -> Proposal:
    return one.of(kind, Price(one.times(low, high)))


def _promotion(one: Offer) -> Proposal:
    starts = AT + timedelta(hours=one.draw.randint(-2, 72))
    sale = Sale(one.times(0.75, 0.92), starts, starts + timedelta(days=one.draw.randint(1, 14)))
    return one.of("promotion", Price(one.price, sale))


def _end_of_promotion(one: Offer) -> Proposal:
    """The listing is on sale, and sells for its regular price again."""
    on_sale = Price(one.price, Sale(one.times(0.75, 0.92), AT - timedelta(days=3)))
    facts = replace(one.facts, live=on_sale, wanted=on_sale, verified=None, day_ago=on_sale.lowest)
    return one.of("end of a promotion", Price(one.price), replace(facts, regular_day_ago=one.price))


def _new_listing(one: Offer) -> Proposal:
    facts = replace(one.facts, live=None, wanted=None, verified=None, day_ago=None, regular_day_ago=None)
    return one.of("new listing", Price(one.times(0.95, 1.1)), facts)


def _drifted(one: Offer) -> Proposal:
    """Somebody has changed it at the channel, and it is to be what it was an hour ago."""
    facts = replace(one.facts, live=Price(one.times(0.5, 2.0)), verified=Price(one.price))
    return one.of("drift put right", Price(one.times(0.97, 1.03)), facts)


GOOD: tuple[tuple[int, Callable[[Offer], Proposal]], ...] = (
    (58, partial(_step, 0.92, 1.08, "repriced")),
    (15, partial(_step, 0.85, 1.15, "follows a competitor")),
    (5, partial(_step, 1.03, 1.18, "cost passed on")),
    (10, _promotion),
    (5, _end_of_promotion),
    (4, _new_listing),
    (2, _drifted),
    (1, partial(_step, 0.72, 0.79, "clearance")),
)


# ── mistakes ──


def off(one: Offer, price: Money) -> bool:
    """Is it so far from what was meant that it would hurt? A slip that lands near is none that anybody could see."""
    ratio = price.amount / one.price.amount
    return ratio < Decimal("0.66") or ratio > Decimal("1.5")


def _wrong(kind: str, slip: Callable[[Offer], Decimal], one: Offer) -> Proposal | None:
    price = rounded(slip(one), one.price.currency)
    return one.of(kind, Price(price)) if off(one, price) else None


def _fat_finger(one: Offer) -> Decimal:
    """A digit too many, too few, or the wrong one."""
    text = f"{one.price.amount:f}"
    at = one.draw.randrange(text.index(".") if "." in text else len(text))
    head, tail = text[:at], text[at + 1 :]
    digit = one.draw.choice("0123456789")
    return Decimal("0" + one.draw.choice([head + text[at] * 2 + tail, head + tail, head + digit + text[at] + tail]))


def _shifted(one: Offer) -> Decimal:
    return one.times(0.9, 1.1).amount * one.draw.choice([Decimal(10) ** power for power in (-3, -2, -1, 1, 2, 3)])


def _cents(one: Offer) -> Decimal:
    return one.price.amount * 100


def _percent(one: Offer) -> Decimal:
    return Decimal(one.draw.choice([5, 10, 15, 20, 25, 30]))


def _other_currency(one: Offer) -> Decimal:
    """The right amount, in the currency of another market."""
    other = one.draw.choice([rate for currency, rate in EURO.items() if currency != one.price.currency])
    return one.price.amount / EURO[one.price.currency] * other


def _other_row(one: Offer) -> Decimal:
    return offer(one.draw, one.number).price.amount


def _column(one: Offer) -> Decimal:
    """What stands beside the price in the file: pieces, grams, a part of an EAN, a year."""
    draw = one.draw
    return Decimal(
        draw.choice([draw.randint(1, 4), draw.randint(2000, 9000), draw.randint(4_000_000, 4_999_999), 2026])
    )


def _below_cost(one: Offer) -> Proposal | None:
    if one.facts.cost is None:
        return None
    return one.of("below cost", Price(rounded(one.facts.cost.amount * Decimal("0.93"), one.price.currency)))


def _below_cost_in_a_sale(one: Offer) -> Proposal | None:
    if one.facts.cost is None:
        return None
    sale = rounded(one.facts.cost.amount * Decimal("0.9"), one.price.currency)
    return one.of("sale below cost", Price(one.price, Sale(sale, AT + timedelta(days=2), AT + timedelta(days=4))))


def _label(one: Offer) -> Proposal | None:
    wrong = one.draw.choice([currency for currency in EURO if currency != one.price.currency])
    return one.of("other currency", Price(rounded(one.price.amount, wrong)))


def _zero(one: Offer) -> Proposal | None:
    return one.of("zero", Price(Money(Decimal(0), one.price.currency)))


def _negative(one: Offer) -> Proposal | None:
    return one.of("negative", Price(Money(-one.price.amount, one.price.currency)))


def _sale_above(one: Offer) -> Proposal | None:
    return one.of("sale above price", Price(one.price, Sale(one.times(1.0, 1.4))))


def _backwards(one: Offer) -> Proposal | None:
    sale = Sale(one.times(0.8, 0.9), AT + timedelta(days=3), AT + timedelta(days=1))
    return one.of("sale that ends first", Price(one.price, sale))


def _decimals(one: Offer) -> Proposal | None:
    currency = one.price.currency
    more = one.price.amount + Decimal(1).scaleb(-minor_digits(currency) - 1)
    return one.of("too many decimals", Price(Money(more, currency)))


def _creep(one: Offer) -> Proposal | None:
    """One step after the other, until it is far away within the day."""
    ago = rounded(one.price.amount * one.draw.choice([Decimal("2.4"), Decimal("0.5")]), one.price.currency)
    facts = replace(one.facts, day_ago=ago, regular_day_ago=ago)
    down = ago.amount > one.price.amount
    return one.of("creep", Price(one.times(0.8, 0.85) if down else one.times(1.15, 1.25)), facts)


def _blind(one: Offer) -> Proposal | None:
    """Nothing is known of the listing at all."""
    return one.of("blind", Price(one.times(0.01, 100)), PriceFacts(rates=one.facts.rates))


def _new_and_shifted(one: Offer) -> Proposal | None:
    facts = replace(_new_listing(one).facts, elsewhere=(into(one.price.amount / EURO[one.price.currency], "EUR"),))
    return one.of("new and shifted", Price(rounded(_shifted(one), one.price.currency)), facts)


BAD: tuple[Callable[[Offer], Proposal | None], ...] = (
    partial(_wrong, "fat finger", _fat_finger),
    partial(_wrong, "shifted point", _shifted),
    partial(_wrong, "cents", _cents),
    partial(_wrong, "percent for price", _percent),
    partial(_wrong, "amount of another currency", _other_currency),
    partial(_wrong, "swapped rows", _other_row),
    partial(_wrong, "shifted columns", _column),
    _below_cost,
    _below_cost_in_a_sale,
    _label,
    _zero,
    _negative,
    _sale_above,
    _backwards,
    _decimals,
    _creep,
    _blind,
    _new_and_shifted,
)
SENSELESS = frozenset(
    {"other currency", "zero", "negative", "sale above price", "sale that ends first", "too many decimals"}
)
"""What is no price at all, with guards or without; a slip that ends at 0 is no price either."""


def good(count: int, seed: int = 7) -> list[Proposal]:
    """So many that nobody would mind, in the mixture of a usual night."""
    draw = random.Random(seed)
    kinds = [make for weight, make in GOOD for _ in range(weight)]
    return [draw.choice(kinds)(offer(draw, number)) for number in range(count)]


def bad(count: int, seed: int = 7) -> list[Proposal]:
    """So many mistakes, as many of each kind."""
    draw = random.Random(seed)
    found: list[Proposal] = []
    while len(found) < count:
        made = BAD[len(found) % len(BAD)](offer(draw, 10_000 + len(found)))
        if made is not None:
            found.append(made)
    return found
