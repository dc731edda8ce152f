"""What is reckoned of an order's money until somebody who knows has told it: what its open units bring, and what is taken of it.

An order's units are open while nobody has billed them: they are wanted, and no line of a transaction or of a settlement sells
them. So a unit counts by what is reckoned or by what was billed, and never by both, in whatever order all of that comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from domain.apportion import Refunded, Share, refunds
from domain.charge import ChargeKind, charged
from domain.fee import FeeKind
from domain.ids import LineId
from domain.money import Money, minor_digits
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import MoneyLine, Source, Stage, day_of
from domain.order import Order, OrderLine, OrderStatus
from domain.order_parts import CLASSES, OrderPart, parts_of
from domain.payment_fee import PaymentFee

KIND = "Estimate"
MATCHED_BY = "ESTIMATE"
FEES_UNKNOWN = "fees not known"
"""What the line of class SALE says as its `description` where nobody has told what is taken of its units."""

FEE_CLASSES: Mapping[FeeKind, MoneyClass] = {
    FeeKind.REFERRAL: MoneyClass.REFERRAL_FEE,
    FeeKind.CLOSING: MoneyClass.CLOSING_FEE,
    FeeKind.PER_ITEM: MoneyClass.PER_ITEM_FEE,
    FeeKind.LISTING: MoneyClass.SERVICE_FEE,
    FeeKind.DIGITAL_SERVICES: MoneyClass.DIGITAL_SERVICES_FEE,
    FeeKind.FULFILLMENT: MoneyClass.FULFILLMENT_FEE,
    FeeKind.UNCLASSIFIED: MoneyClass.UNCLASSIFIED,
}
"""What a fee is when it is money."""


@dataclass(frozen=True, slots=True)
class UnitFee:
    """What a channel would take of one unit: above zero where it takes. `moves` with the price."""

    kind: FeeKind
    name: str
    amount: Money
    moves: bool


@dataclass(frozen=True, slots=True)
class UnitFees:
    """All that it would take of a unit that is sold for `price`."""

    price: Money
    fees: tuple[UnitFee, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What an estimate is made from. `billed` are the lines that stand of the order by transactions and settlements. `fees` are
    what is known of the units of each line, at any prices; `refunded` is what its channel told of refunds."""

    order: Order
    zone: ZoneInfo
    billed: Sequence[MoneyLine] = ()
    fees: Mapping[LineId, Sequence[UnitFees]] = field(default_factory=dict)
    payment: PaymentFee | None = None
    refunded: Sequence[Refunded] = ()


@dataclass(frozen=True, slots=True)
class Open:
    """What nobody has billed of a line: so many of its units, and such a share of all that was ordered."""

    units: int
    share: Fraction


def open_of(order: Order, billed: Iterable[MoneyLine]) -> dict[LineId, Open]:
    """What of each line is wanted, and billed by nobody.

    A line of money that names one of the order's lines bills units of that; one that names a SKU those of its lines, in their
    order; any other whichever are left. One that tells no units bills all that it may. Of an order that is paid in several
    payments units are billed with the last of them, so what was billed in money is not open either.
    """
    left = {line.id: line.quantity for line in order.lines}
    paid = dict.fromkeys(left, Fraction(0))
    sold = [one for one in billed if one.event is Event.SALE and one.money_class is MoneyClass.SALE]
    for names in (_by_line, _by_sku, _by_order):
        later = []
        for one in sold:
            meant = [line for line in order.lines if names(one, line)]
            if meant:
                _bill(left, paid, meant, one)
            else:
                later.append(one)
        sold = later
    worth = {one.line.id: one.amount.amount for one in parts_of(order) if one.line and one.kind is ChargeKind.GOODS}
    return {line.id: _open(line, left[line.id], paid[line.id], worth.get(line.id)) for line in order.lines}


def _open(line: OrderLine, units: int, paid: Fraction, worth: Decimal | None) -> Open:
    ordered = _ordered(line)
    if not units:
        return Open(0, Fraction(0))
    by_units = Fraction(units, ordered)
    if not worth or worth < 0:
        return Open(units, by_units)
    return Open(units, min(by_units, max(Fraction(0), Fraction(line.quantity, ordered) - paid / Fraction(worth))))


def _by_line(one: MoneyLine, line: OrderLine) -> bool:
    return line.id == one.order_line_id if one.order_line_id is not None else line.external_id == one.item_id


def _by_sku(one: MoneyLine, line: OrderLine) -> bool:
    return (one.channel_sku is not None and one.channel_sku == line.channel_sku) or (
        one.sku is not None and one.sku == line.sku
    )


def _by_order(_: MoneyLine, __: OrderLine) -> bool:
    return True


def _bill(left: dict[LineId, int], paid: dict[LineId, Fraction], lines: Sequence[OrderLine], one: MoneyLine) -> None:
    units = sum(left[line.id] for line in lines) if one.units is None else max(0, one.units)
    amount = Fraction(one.amount.amount) if _in_currency(one, lines) else Fraction(0)
    # Units that are billed beyond those that are wanted are no reason to bill others.
    shares = {line.id: 0 for line in lines}
    for line in lines:
        taken = min(left[line.id], units)
        left[line.id] -= taken
        shares[line.id] = taken
        units -= taken
    whole = sum(shares.values())
    for line in lines:
        paid[line.id] += amount * shares[line.id] / whole if whole else amount / len(lines)


def _in_currency(one: MoneyLine, lines: Sequence[OrderLine]) -> bool:
    return all(each.amount.currency == one.amount.currency for line in lines for each in line.charges)


def estimated(known: Known) -> list[MoneyLine]:
    """The lines that stand for what nobody has billed yet: of the order's sale, and of what was refunded. Of a sale none for what
    is canceled, for a sketch, and for an order whose prices are not told.

    Raises Invalid where the order's charges contradict each other.
    """
    order = known.order
    parts = parts_of(order) if order.whole else []
    if not parts:
        return []
    made = _Maker(known)
    sale = [] if order.status is OrderStatus.CANCELLED else _sale(known, parts, made)
    return [one for one in [*sale, *_refunds(known, parts, sale, made)] if one.amount.amount != 0 or one.units]


def _sale(known: Known, parts: Sequence[OrderPart], made: _Maker) -> list[MoneyLine]:
    order = known.order
    left = open_of(order, known.billed)
    wanted = sum(line.quantity for line in order.lines)
    if not any(one.units for one in left.values()):
        return []
    lines: list[MoneyLine] = []
    for line in order.lines:
        of_line = [one for one in parts if one.line is line]
        if left[line.id].units and of_line:
            lines += made.of_line(line, left[line.id], of_line)
    # What belongs to no line is open as far as the units are that are wanted.
    share = sum((left[line.id].share * _ordered(line) for line in order.lines), Fraction(0)) / wanted
    lines += [made.line(one, _part_of(one.amount, share)) for one in parts if one.line is None]
    return lines if known.payment is None else lines + made.payment(known.payment, share)


def _refunds(known: Known, parts: Sequence[OrderPart], sale: Sequence[MoneyLine], made: _Maker) -> list[MoneyLine]:
    """What was refunded and is not billed as such, the last refunds first. What was given back without ever having counted as
    sold (units that were canceled before they were paid) is given back by nobody."""
    told = sorted(known.refunded, key=lambda one: (one.at, one.reference))
    money = [*known.billed, *sale]
    currencies = {one.amount.currency for one in money} | {one.amount.currency for one in parts}
    currencies |= {amount.currency for one in told for _, _, amount in one.pieces}
    worth = sum((one.amount.amount for one in parts), Decimal(0))
    if not told or len(currencies) != 1 or worth <= 0:
        return []
    never = worth - _of_buyer(money, Event.SALE)
    open_ = sum((one.total for one in told), Decimal(0)) + _of_buyer(money, Event.REFUND) - max(Decimal(0), never)
    lines: list[MoneyLine] = []
    for one in reversed(told):
        given = min(one.total, open_)
        if given <= 0:
            continue
        open_ -= given
        [shares] = refunds(parts, [one], [(Money(-given, parts[0].amount.currency), one.reference)])
        lines += [made.refund(one, each, whole=given == one.total) for each in shares]
    return lines


def _of_buyer(money: Iterable[MoneyLine], event: Event) -> Decimal:
    """What buyers paid, or were given back (below zero), tax with it."""
    parts = {Part.REVENUE, Part.REFUNDS}
    return sum(
        (
            one.amount.amount
            for one in money
            if one.event is event and (one.part in parts or one.money_class is MoneyClass.TAX_COLLECTED)
        ),
        Decimal(0),
    )


def _ordered(line: OrderLine) -> int:
    return line.quantity + line.quantity_cancelled


def _part_of(amount: Money, share: Fraction) -> Money:
    """A share of an amount; as it was told where it is all of it, else in whole minor units, half to even."""
    if share == 1:
        return amount
    return _rounded(Fraction(amount.amount) * share, amount.currency)


def _rounded(amount: Fraction, currency: str) -> Money:
    digits = minor_digits(currency)
    return Money(Decimal(round(amount * 10**digits)).scaleb(-digits), currency)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the lines of one order."""

    known: Known

    def of_line(self, line: OrderLine, left: Open, parts: Sequence[OrderPart]) -> list[MoneyLine]:
        """What is open of a line brings, and what is taken of it."""
        fees = self._fees(line, left.units)
        lines = []
        for one in parts:
            goods = one.kind is ChargeKind.GOODS
            words = FEES_UNKNOWN if goods and fees is None and self.known.payment is None else ""
            lines.append(self.line(one, _part_of(one.amount, left.share), words, left.units if goods else None))
        return lines + (fees or [])

    def line(self, part: OrderPart, amount: Money, words: str = "", units: int | None = None) -> MoneyLine:
        """What a part brings."""
        return self._line(part.line, part.money_class, part.kind.value, words, amount, units)

    def refund(self, told: Refunded, share: Share, *, whole: bool) -> MoneyLine:
        """What goes back of a part; of all that was bought where it is told for no part."""
        kind = ChargeKind.OTHER if share.part is None else share.part.kind
        line = None if share.part is None else share.part.line
        made = self._line(line, CLASSES[kind], kind.value, "", share.amount, share.units if whole else None)
        day = day_of(Event.REFUND, None, told.at, self.known.zone)
        return replace(made, event=Event.REFUND, posted_at=told.at, day=day, adjustment_id=told.reference)

    def payment(self, fee: PaymentFee, share: Fraction) -> list[MoneyLine]:
        """What the payment provider takes of what is open."""
        whole = charged(self.known.order.all_charges)
        if whole is None:
            return []
        # Where some of it is billed, so is what is taken of the order as a whole.
        billed = any(one.event is Event.SALE for one in self.known.billed)
        each = 0 if billed else Fraction(fee.each)
        taken = _rounded(Fraction(whole.amount) * share * Fraction(fee.percent) / 100 + each, whole.currency)
        words = f"{fee.percent:f} % + {fee.each:f}"
        return [self._line(None, MoneyClass.PAYMENT_FEE, "PAYMENT", words, -taken, None)]

    def _fees(self, line: OrderLine, units: int) -> list[MoneyLine] | None:
        """What the channel would take, by its own estimate at the nearest price; None where that is not known."""
        price = unit_price(self.known.order, line)
        if price is None:
            return None
        usable = [
            one
            for one in self.known.fees.get(line.id, ())
            if one.price.currency == price.currency and one.price.amount > 0
        ]
        if not usable:
            return None
        near = min(usable, key=lambda one: (abs(one.price.amount - price.amount), one.price.amount))
        moved = Fraction(price.amount) / Fraction(near.price.amount)
        lines = []
        for fee in near.fees:
            amount = _part_of(fee.amount, (moved if fee.moves else Fraction(1)))
            taken = Money(-amount.amount * units, amount.currency)
            lines.append(self._line(line, FEE_CLASSES[fee.kind], "FEE", fee.name, taken, None))
        return lines

    def _line(
        self, line: OrderLine | None, of: MoneyClass, amount_kind: str, words: str, amount: Money, units: int | None
    ) -> MoneyLine:
        order = self.known.order
        return MoneyLine(
            channel=order.channel,
            source=Source.ESTIMATE,
            stage=Stage.ESTIMATED,
            event=Event.SALE,
            money_class=of,
            amount=amount,
            posted_at=order.placed_at,
            day=day_of(Event.SALE, order.placed_at, order.placed_at, self.known.zone),
            kind=KIND,
            amount_kind=amount_kind,
            description=words,
            reference=order.id,
            marketplace=order.marketplace,
            order_external_id=order.external_id,
            channel_sku=None if line is None else line.channel_sku,
            units=units,
            order_id=order.id,
            order_line_id=None if line is None else line.id,
            sku=None if line is None else line.sku,
            matched_by=MATCHED_BY,
        )


def unit_price(order: Order, line: OrderLine) -> Money | None:
    """What a buyer pays for a unit of the line, discounts taken off, as the channel shows its prices: with their tax or without.
    None where that is not told. Raises Invalid for two currencies."""
    kinds = {ChargeKind.GOODS, ChargeKind.DISCOUNT}
    if order.prices_with_tax:
        kinds |= {ChargeKind.TAX, ChargeKind.DISCOUNT_TAX}
    paid = charged(one for one in line.charges if one.kind in kinds)
    ordered = _ordered(line)
    return None if paid is None or not ordered else Money(paid.amount / ordered, paid.currency)
