"""What an order costs, out of the data set PROCEEDS. Source: Orders 2026-01-01, ItemProceeds and OrderProceeds.

Parts are told without tax, and the taxes beside them, also where the store shows its prices with the tax in them. An order has
what its items have, and what belongs to none of them, such as a tip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from adapters.wire import Price, Unclear, Wire
from domain.charge import Charge, ChargeKind, charged
from domain.money import Money

PARTS: Mapping[str, ChargeKind] = {
    "ITEM": ChargeKind.GOODS,
    "SHIPPING": ChargeKind.SHIPPING,
    "GIFT_WRAP": ChargeKind.GIFT_WRAP,
    "COD_FEE": ChargeKind.CASH_ON_DELIVERY,
    "DISCOUNT": ChargeKind.DISCOUNT,
    "DELIVERY_TIP": ChargeKind.TIP,
    "OTHER": ChargeKind.OTHER,
    "TAX": ChargeKind.TAX,
}
TAXES: Mapping[str, ChargeKind] = {
    "ITEM": ChargeKind.TAX,
    "SHIPPING": ChargeKind.SHIPPING_TAX,
    "GIFT_WRAP": ChargeKind.GIFT_WRAP_TAX,
    "COD_FEE": ChargeKind.OTHER_TAX,
    "DISCOUNT": ChargeKind.DISCOUNT_TAX,
    "OTHER": ChargeKind.OTHER_TAX,
}
DISCOUNTS: Mapping[str, ChargeKind] = {
    "ITEM": ChargeKind.DISCOUNT,
    "SHIPPING": ChargeKind.SHIPPING_DISCOUNT,
    "GIFT_WRAP": ChargeKind.DISCOUNT,
    "COD_FEE": ChargeKind.DISCOUNT,
    "DISCOUNT": ChargeKind.DISCOUNT,
    "OTHER": ChargeKind.DISCOUNT,
}
_OFF = frozenset({ChargeKind.DISCOUNT, ChargeKind.SHIPPING_DISCOUNT})


class Detail(Wire):
    """What part of a tax or of a discount is for."""

    subtype: str | None = None
    value: Price | None = None


class Breakdown(Wire):
    """One part. `status` is there for what is charged after the check-out: PENDING or FINALIZED."""

    type: str
    subtotal: Price
    detailed_breakdowns: tuple[Detail, ...] | None = None
    status: str | None = None


class ItemProceeds(Wire):
    """What one line brings, with its tax and shipping."""

    proceeds_total: Price | None = None
    breakdowns: tuple[Breakdown, ...] | None = None


class Proceeds(Wire):
    """What the order brings; absent while it is pending."""

    grand_total: Price | None = None
    breakdowns: tuple[Breakdown, ...] | None = None


def of_item(told: ItemProceeds | None) -> tuple[Charge, ...]:
    """The parts of one line. Raises Unclear for a part that was not published when this was written."""
    if told is None:
        return ()
    total = None if told.proceeds_total is None else told.proceeds_total.money()
    parts = [charge for one in told.breakdowns or () for charge in _charges(one)]
    return tuple(_signed(parts, total))


def of_order(told: Proceeds | None, items: Iterable[Charge]) -> tuple[Charge, ...]:
    """What belongs to no line: tips, and all parts of an order whose lines tell none. Raises Unclear likewise.

    Other parts are sums over the lines; where they say more than these, the order's total does too.
    """
    if told is None:
        return ()
    apart = [one for one in told.breakdowns or () if one.type == "DELIVERY_TIP" or one.type not in PARTS]
    if not any(True for _ in items):
        total = None if told.grand_total is None else told.grand_total.money()
        return tuple(_signed([charge for one in told.breakdowns or () for charge in _charges(one)], total))
    return tuple(charge for one in apart for charge in _charges(one))


def _charges(one: Breakdown) -> list[Charge]:
    kind = PARTS.get(one.type)
    if kind is None:
        raise Unclear(f"proceeds.breakdowns.type: {one.type!r} is not known")
    whole = one.subtotal.money()
    words = {ChargeKind.TAX: TAXES, ChargeKind.DISCOUNT: DISCOUNTS}.get(kind)
    if words is not None and one.detailed_breakdowns:
        parts = [_detail(each, words) for each in one.detailed_breakdowns]
        if None not in parts:
            known = [each for each in parts if each is not None]
            for told in (known, _turned(known, _OFF | {ChargeKind.DISCOUNT_TAX})):
                if _sum(told, whole) == whole:
                    return told
    # Where the parts of a part do not come to it, it is told as one.
    return [Charge(kind, whole)]


def _detail(one: Detail, words: Mapping[str, ChargeKind]) -> Charge | None:
    kind = words.get(one.subtype or "")
    return None if kind is None or one.value is None else Charge(kind, one.value.money())


def _turned(parts: Sequence[Charge], kinds: frozenset[ChargeKind] = _OFF) -> list[Charge]:
    return [Charge(one.kind, -one.amount) if one.kind in kinds else one for one in parts]


def _signed(parts: list[Charge], total: Money | None) -> list[Charge]:
    """Discounts as what is taken off. The model does not say which sign they come with: it is the one that leads to the total,
    and where neither does the one that takes off."""
    if total is not None:
        for told in (parts, _turned(parts)):
            if _sum(told, total) == total:
                return told
    return [one if one.kind not in _OFF or one.amount.amount < 0 else Charge(one.kind, -one.amount) for one in parts]


def _sum(parts: Sequence[Charge], total: Money) -> Money | None:
    return charged(parts) if all(one.amount.currency == total.currency for one in parts) else None
