"""From the movements of payouts to lines of money: what buyers paid in the parts of their orders, and beside it what was kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from domain.apportion import Refunded, Share, payments, refunds
from domain.errors import Invalid
from domain.ids import ChannelId
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage, day_of
from domain.money_match import Rule
from domain.money_words import Classify
from domain.order import Order
from domain.order_parts import OrderPart, parts_of
from domain.payout import Movement

AMOUNT, FEE = "amount", "fee"
MOVEMENT = "movement"
"""Where `MoneyLine.extra` has the provider's id of the movement."""

Place = tuple[str, int]
"""(settlement, row) of a movement."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the movements: orders by the channel's ids and what was refunded of them, and what words mean."""

    channel: ChannelId
    zone: ZoneInfo
    meaning: Classify
    orders: Mapping[str, Order] = field(default_factory=dict)
    refunded: Mapping[str, Sequence[Refunded]] = field(default_factory=dict)


Split = Callable[[Sequence[Movement]], list[list[Share]]]
"""The shares of movements, in their order in time. Raises ValueError where they cannot be told."""


def lines_of(known: Known, movements: Mapping[Place, Movement]) -> dict[Place, list[MoneyLine]]:
    """The lines of each movement, which add up to its net. Of an order whose payments are to be split, all movements that are
    known must be here, of whichever payout: the split does not depend on which of them came first."""
    shares = _shares(known, movements)
    return {place: _lines(known, place, one, shares.get(place)) for place, one in movements.items()}


def _shares(known: Known, movements: Mapping[Place, Movement]) -> dict[Place, list[Share]]:
    """What buyers paid and got back, split; movements that cannot be are missing."""
    moved: defaultdict[tuple[str, Event], list[tuple[Place, Movement]]] = defaultdict(list)
    for place, one in movements.items():
        event, money_class = known.meaning(one.kind, AMOUNT, one.reason)
        if (
            one.order is not None
            and not one.again
            and one.order in known.orders
            and money_class is MoneyClass.PAYMENT
            and event is not Event.ACCOUNT
        ):
            moved[one.order, event].append((place, one))
    found: dict[Place, list[Share]] = {}
    for (name, event), ones in moved.items():
        ones.sort(key=lambda each: (each[1].at, each[1].id))
        parts = _parts(known.orders[name])
        split = _payments(parts) if event is Event.SALE else _refunds(parts, known.refunded.get(name, ()))
        try:
            shares = split([one for _, one in ones])
        except ValueError:
            continue
        found |= {place: each for (place, _), each in zip(ones, shares, strict=True)}
    return found


def _payments(parts: Sequence[OrderPart]) -> Split:
    return lambda ones: payments(parts, [one.amount for one in ones])


def _refunds(parts: Sequence[OrderPart], told: Sequence[Refunded]) -> Split:
    return lambda ones: refunds(parts, told, [(one.amount, one.refund) for one in ones])


def _parts(order: Order) -> list[OrderPart]:
    """None where the order's charges are not told, or contradict each other."""
    try:
        return parts_of(order) if order.whole else []
    except Invalid:
        return []


def _lines(known: Known, place: Place, one: Movement, shares: Sequence[Share] | None) -> list[MoneyLine]:
    lines: list[MoneyLine] = []
    if one.again:
        return [_again(known, place, one)]
    if shares is not None:
        lines += [_of_share(known, place, one, share) for share in shares]
    if shares is None and (one.amount.amount or not one.fee.amount):
        lines.append(_whole(known, place, one, AMOUNT, one.amount))
    if one.fee.amount:
        lines.append(_whole(known, place, one, FEE, -one.fee))
    return lines


def _again(known: Known, place: Place, one: Movement) -> MoneyLine:
    """What came back from the bank with the payout that failed, and is paid once more: it is in the books by that payout."""
    made = _line(known, place, one, AMOUNT, Money(one.amount.amount - one.fee.amount, one.amount.currency))
    day = day_of(Event.ACCOUNT, None, one.at, known.zone)
    return replace(
        made,
        event=Event.ACCOUNT,
        money_class=MoneyClass.TRANSFER,
        day=day,
        order_external_id=None,
        order_id=None,
        adjustment_id=None,
        matched_by=Rule.ACCOUNT.value,
    )


def _of_share(known: Known, place: Place, one: Movement, share: Share) -> MoneyLine:
    """A part of a payment. What the order has no part for may hold tax."""
    made = _line(known, place, one, AMOUNT, share.amount)
    if share.part is None:
        return replace(made, matched_by=Rule.ORDER.value, cause=Cause.UNAPPORTIONED)
    made = replace(made, money_class=share.part.money_class, matched_by=Rule.PAYMENT.value)
    line = share.part.line
    if line is None:
        return made
    return replace(
        made,
        item_id=line.external_id,
        channel_sku=line.channel_sku or None,
        order_line_id=line.id,
        sku=line.sku,
        units=share.units,
        cause=Cause.SKU_UNMAPPED if line.sku is None else None,
    )


def _whole(known: Known, place: Place, one: Movement, amount_kind: str, amount: Money) -> MoneyLine:
    """A movement's amount, or its fee, as it stands."""
    made = _line(known, place, one, amount_kind, amount)
    if made.order_id is not None:
        unsplit = made.money_class is MoneyClass.PAYMENT
        made = replace(made, matched_by=Rule.ORDER.value, cause=Cause.UNAPPORTIONED if unsplit else None)
    elif made.order_external_id is not None or made.money_class is MoneyClass.PAYMENT:
        return replace(made, cause=Cause.ORDER_UNKNOWN)
    else:
        made = replace(made, matched_by=Rule.ACCOUNT.value)
    return replace(made, cause=Cause.UNCLASSIFIED) if made.money_class is MoneyClass.UNCLASSIFIED else made


def _line(known: Known, place: Place, one: Movement, amount_kind: str, amount: Money) -> MoneyLine:
    event, money_class = known.meaning(one.kind, amount_kind, one.reason)
    order = known.orders.get(one.order or "")
    return MoneyLine(
        channel=known.channel,
        source=Source.SETTLEMENT,
        stage=Stage.SETTLED,
        event=event,
        money_class=money_class,
        amount=amount,
        posted_at=one.at,
        day=day_of(event, None if order is None else order.placed_at, one.at, known.zone),
        kind=one.kind,
        amount_kind=amount_kind,
        description=one.reason,
        settlement=place[0],
        row=place[1],
        order_external_id=one.order,
        adjustment_id=one.refund,
        order_id=None if order is None else order.id,
        extra={MOVEMENT: one.id},
    )
