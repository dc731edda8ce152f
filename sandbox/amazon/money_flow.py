"""The money of each order, to the cent: what Finances, the settlement files and the estimates of fees are written from.

All of it follows from the order, its parcels and its refunds, so that it is the same whenever it is asked for; the parts of a
line that goes out in several parcels add up to the line as the order shows it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from sandbox.amazon import rates
from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.state import Amazon, Line, Order, Refund, money

Part = Literal[
    "PRINCIPAL",
    "TAX",
    "TAX_WITHHELD",
    "SHIPPING",
    "SHIPPING_PROMOTION",
    "REFERRAL_FEE",
    "FBA_FEE",
    "REFUND_FEE",
]
"""PRINCIPAL is without TAX. In the US the marketplace keeps the tax (TAX_WITHHELD). Amazon charges buyers of what it sends for
SHIPPING and gives it back (SHIPPING_PROMOTION). REFUND_FEE is what Amazon keeps of the referral fee."""

PERIOD = timedelta(days=14)
_PAID: frozenset[Part] = frozenset({"PRINCIPAL", "TAX"})
_GRID = datetime(2020, 1, 6, 8, tzinfo=UTC)
_DEFERRED_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class LineFlow:
    """The money of `units` of one line; `parts` are signed as the seller sees them, in the order's currency, none is zero.
    `merchant_id` is the merchant's name of a refund."""

    line: Line
    units: int
    parts: dict[Part, Decimal]
    merchant_id: str = ""

    @property
    def total(self) -> Decimal:
        return sum(self.parts.values(), Decimal(0))


@dataclass(frozen=True, slots=True)
class Flow:
    """One parcel that left (SHIPMENT) or one refund (REFUND) of an order.

    `id` is the same at every asking; `reference` is the shipment's or the refund's own. What is deferred counts for the seller
    from `released_at` on, all else from `posted_at`.
    """

    id: str
    kind: Literal["SHIPMENT", "REFUND"]
    order: Order
    reference: str
    posted_at: datetime
    released_at: datetime
    lines: tuple[LineFlow, ...]

    @property
    def deferred(self) -> bool:
        return self.released_at > self.posted_at

    @property
    def total(self) -> Decimal:
        return sum((line.total for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True)
class Period:
    """One settlement of an account in a marketplace: what is released from `start` until before `end`."""

    id: str
    group: str
    start: datetime
    end: datetime


def account_flows(amazon: Amazon, account: Account) -> list[Flow]:
    """All of an account that has been posted by now, oldest first."""
    found = [flow for order in amazon.orders.values() if order.account is account for flow in flows(amazon, order)]
    return sorted(found, key=lambda flow: (flow.posted_at, flow.id))


def flows(amazon: Amazon, order: Order) -> list[Flow]:
    """What has been posted of one order by now: its parcels, then its refunds."""
    now = amazon.clock.now()
    return [flow for flow in all_flows(order) if flow.posted_at <= now]


def all_flows(order: Order) -> tuple[Flow, ...]:
    """The same, with what will be posted as things stand: a buyer's money that comes back later."""
    return (*_shipments(order), *_refunds(order))


def period(account: Account, marketplace: str, at: datetime) -> Period:
    """The settlement that holds what is released at `at`. Its ids are digits alone."""
    number = (at - _GRID) // PERIOD
    first = start = _GRID + number * PERIOD
    end = start + PERIOD
    for cut in (cut for code, cut in account.cuts if code == marketplace and start < cut < end):
        start, end = (cut, end) if cut <= at else (start, cut)
    digits = _digits(account.seller, marketplace, str(number), *([] if start == first else [start.isoformat()]))
    return Period(id=digits[:11], group=digits[11:22], start=start, end=end)


def net_and_tax(order: Order, line: Line) -> tuple[Decimal, Decimal]:
    """A line without its tax, and the tax; together what the buyer pays. Zero while its price is not known."""
    return split(order, (line.unit_price or Decimal(0)) * line.quantity)


def split(order: Order, shown: Decimal) -> tuple[Decimal, Decimal]:
    """An amount as buyers see it, without its tax, and the tax."""
    place = MARKETPLACES[order.marketplace]
    if not place.tax_included:
        return shown, money(shown * place.tax_percent / 100, order.marketplace)
    net = money(shown * 100 / (100 + place.tax_percent), order.marketplace)
    return net, shown - net


def _shipments(order: Order) -> Iterator[Flow]:
    if order.fulfilled_by == "AMAZON":
        if order.fixed == "SHIPPED":
            lines = tuple(_sold(order, line, 0, line.quantity) for line in order.lines)
            yield _flow("SHIPMENT", order, "1", order.updated_at, lines)
        return
    gone: dict[str, int] = {}
    parcels = sorted(order.visible.values(), key=lambda parcel: (parcel.created_at, parcel.reference))
    for parcel in parcels:
        lines = tuple(
            _sold(order, line, gone.get(line.id, 0), parcel.items[line.id])
            for line in order.lines
            if line.id in parcel.items
        )
        for line in lines:
            gone[line.line.id] = gone.get(line.line.id, 0) + line.units
        yield _flow("SHIPMENT", order, parcel.reference, max(parcel.shipped_at, parcel.shown_at), lines)


def _refunds(order: Order) -> Iterator[Flow]:
    if order.channel != "AMAZON":
        # Whoever sold it gives the money back.
        return
    gone: dict[str, int] = {}
    for number, refund in enumerate(order.refunds, 1):
        lines = tuple(
            _returned(order, line, gone.get(line.id, 0), refund) for line in order.lines if line.id in refund.items
        )
        for line in lines:
            gone[line.line.id] = gone.get(line.line.id, 0) + line.units
        yield _flow("REFUND", order, str(number), refund.refunded_at, lines)


def _flow(
    kind: Literal["SHIPMENT", "REFUND"], order: Order, reference: str, posted_at: datetime, lines: tuple[LineFlow, ...]
) -> Flow:
    name = _digits(kind, order.id, reference)
    # Orders of businesses are paid later, and each fourth of the others is held back until it has been delivered for a while.
    held = kind == "SHIPMENT" and ("AMAZON_BUSINESS" in order.programs or order.buyer % 4 == 3)
    released_at = posted_at + _DEFERRED_FOR if held else posted_at
    return Flow(name[:17], kind, order, name[17:28], posted_at, released_at, lines)


def _sold(order: Order, line: Line, before: int, units: int) -> LineFlow:
    """`units` of a line of which `before` have gone out already."""
    net, tax = (_share(order, whole, line, before, units) for whole in net_and_tax(order, line))
    parts: dict[Part, Decimal] = {"PRINCIPAL": net, "TAX": tax}
    if not MARKETPLACES[order.marketplace].tax_included:
        parts["TAX_WITHHELD"] = -tax
    parts["REFERRAL_FEE"] = -_referral(order, line) * units
    if order.fulfilled_by == "AMAZON":
        shipping = rates.RATES[MARKETPLACES[order.marketplace].currency].shipping * units
        parts |= {"SHIPPING": shipping, "SHIPPING_PROMOTION": -shipping}
        parts["FBA_FEE"] = -rates.fba(line.product, order.marketplace) * units
    if order.channel != "AMAZON":
        # Sold elsewhere and only sent by Amazon.
        parts = {"FBA_FEE": parts.get("FBA_FEE", Decimal(0))}
    return LineFlow(line, units, {part: amount for part, amount in parts.items() if amount})


def _returned(order: Order, line: Line, before: int, refund: Refund) -> LineFlow:
    """What of a refund is for a line of which `before` units have been refunded already."""
    units, whole = refund.items[line.id], net_and_tax(order, line)
    if line.id in refund.amounts:
        net, tax = refund.amounts[line.id]
        # The fee comes back with the goods, by their share of the line.
        all_of_it = _referral(order, line) * line.quantity
        fee = money(all_of_it * net / whole[0], order.marketplace) if whole[0] else Decimal(0)
        kept = rates.kept_of(fee, order.marketplace)
    else:
        net, tax = (_share(order, each, line, before, units) for each in whole)
        fee = _referral(order, line) * units
        kept = rates.kept_of(_referral(order, line), order.marketplace) * units
    parts: dict[Part, Decimal] = {"PRINCIPAL": -net, "TAX": -tax}
    if not MARKETPLACES[order.marketplace].tax_included:
        parts["TAX_WITHHELD"] = tax
    parts["REFERRAL_FEE"] = fee
    parts["REFUND_FEE"] = -kept
    merchant_id = refund.merchant_ids.get(line.id, "")
    return LineFlow(line, units, {part: amount for part, amount in parts.items() if amount}, merchant_id)


def overdrawn(order: Order) -> bool:
    """Whether more of the goods or of their tax has gone back than was paid for a line."""
    left: dict[tuple[str, Part], Decimal] = {}
    for flow in all_flows(order):
        for line in flow.lines:
            for part in _PAID & line.parts.keys():
                key = line.line.id, part
                left[key] = left.get(key, Decimal(0)) + line.parts[part]
    return any(amount < 0 for amount in left.values())


def _referral(order: Order, line: Line) -> Decimal:
    return rates.referral(line.unit_price or Decimal(0), order.marketplace)


def _share(order: Order, whole: Decimal, line: Line, before: int, units: int) -> Decimal:
    """The part of a line's amount for some of its units. The shares of all units add up to the whole."""

    def first(count: int) -> Decimal:
        return money(whole * count / line.quantity, order.marketplace)

    return first(before + units) - first(before)


def _digits(*parts: str) -> str:
    return str(int(hashlib.sha256(":".join(parts).encode()).hexdigest(), 16))[:40].zfill(40)
