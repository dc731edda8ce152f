"""Giving money back: the feed POST_PAYMENT_ADJUSTMENT_DATA (`adapters.amazon.order_feeds`), and the refunds that show of it.

Amazon refunds by item of the order and by component (goods, their tax, shipping), so an amount is split over what was paid for
each and is left of it. It knows no key of ours: a message has a number that its reference alone makes, so that a report names it
whichever feed it was in, and a refund that was made shows among the order's movements of money, up to two days later.
Sources: the XML of this feed, as sellers have written it for years; Finances 2024-06-19, listTransactions.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement

from adapters.amazon import finances, returns
from adapters.amazon.client import Client
from adapters.amazon.feeds import SKEW
from adapters.amazon.order_feeds import FeedKind, OrderFeeds
from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.storefront import RefundSent, RefundSight
from domain.budget import Ask
from domain.chain import Piece
from domain.charge import ChargeKind
from domain.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Transient
from domain.finance import Transaction
from domain.money import Money, minor_digits
from domain.order import Order, OrderLine
from domain.product import FulfilledBy
from domain.refund import Refund, RefundLine, RefundWanted, Restock
from domain.sourcing import shares

KIND = FeedKind("POST_PAYMENT_ADJUSTMENT_DATA", "OrderAdjustment", "Amazon did not refund it")
REASONS: Mapping[Restock, str] = {
    Restock.RETURN: "CustomerReturn",
    Restock.CANCEL: "CouldNotShip",
    Restock.NONE: "GeneralAdjustment",
}

# How soon a feed is looked at again, how often at the least its effect, and when neither will show any more.
LOOK_S = 15.0
SELDOM_S = 900.0
LATEST = finances.GAP

GOODS: Mapping[str, frozenset[ChargeKind]] = {
    "Principal": frozenset({ChargeKind.GOODS, ChargeKind.DISCOUNT}),
    "Tax": frozenset({ChargeKind.TAX, ChargeKind.DISCOUNT_TAX}),
    "GiftWrap": frozenset({ChargeKind.GIFT_WRAP}),
    "GiftWrapTax": frozenset({ChargeKind.GIFT_WRAP_TAX}),
}
SHIPPING: Mapping[str, frozenset[ChargeKind]] = {
    "Shipping": frozenset({ChargeKind.SHIPPING, ChargeKind.SHIPPING_DISCOUNT}),
    "ShippingTax": frozenset({ChargeKind.SHIPPING_TAX}),
}
# The components, as movements of money call them.
LEAVES = {
    "ProductCharges": "Principal",
    "Tax": "Tax",
    "Shipping": "Shipping",
    "ShippingPromotion": "Shipping",
    "ShippingTax": "ShippingTax",
    "GiftWrap": "GiftWrap",
    "GiftWrapTax": "GiftWrapTax",
}
# (item of the order, component) -> amount in the order's currency.
Parts: TypeAlias = dict[tuple[str, str], Decimal]


@dataclass(slots=True)
class Refunding:
    """The refunds of an account."""

    client: Client
    _feeds: OrderFeeds

    @classmethod
    def of(cls, client: Client, seller_id: str) -> Refunding:
        return cls(client, OrderFeeds(client, seller_id, KIND))

    async def refunds(self, order: Order, ask: Ask) -> list[Refund]:
        """Those that show, oldest first; lines are told where one item alone has the SKU. Raises Transient."""
        items: defaultdict[str, list[OrderLine]] = defaultdict(list)
        for line in order.lines:
            items[line.channel_sku].append(line)
        only = {sku: found[0].external_id for sku, found in items.items() if len(found) == 1}
        shown = await self._shown(order.external_id, ask)
        return sorted((_refund(id, pieces, only) for id, pieces in shown.items()), key=lambda one: one.created_at)

    async def refund(self, order: Order, wanted: RefundWanted, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Have it refunded, with the others of this moment. Whether an attempt before came to anything `seen` tells.

        Raises Invalid and Conflict for more than was paid and is left, as far as Amazon has told by now; what createFeed raises.
        """
        if order.fulfilled_by is not FulfilledBy.MERCHANT:
            raise Conflict(f"Amazon has shipped the order {order.external_id}, and gives its money back by itself.")
        if not any(line.quantity_shipped for line in order.lines):
            raise Conflict(f"Nothing of the order {order.external_id} was shipped, so nothing was paid: cancel it.")
        told = await finances.order_transactions(self.client, order.external_id, ask)
        parts = split(order, wanted, _gone(order, told.items))
        number = number_of(wanted.reference)
        message = _adjustment(order, wanted, parts)
        return await self._feeds.send(order.marketplace or "", message, ask, before_send, number=number)

    async def seen(self, key: OrderKey, wanted: RefundWanted, sent: RefundSent, ask: Ask) -> RefundSight:
        """What has become of an attempt; see `adapters.storefront.RefundVerdicts`."""
        names = [sent.sent_as] if sent.sent_as else await self._suspects(key, number_of(wanted.reference), sent, ask)
        if not names:
            return RefundSight()
        refused, standing = None, False
        for name in names:
            verdict = await self._feeds.verdict(name, ask)
            if verdict.refused is not None and (verdict.named or len(names) == 1):
                return RefundSight(refused=verdict.refused)
            if not verdict.ended:
                return RefundSight(again_s=LOOK_S)
            refused, standing = verdict.refused or refused, standing or verdict.refused is None
        if not standing:
            return RefundSight(refused=refused)
        return await self._effect(key, wanted, sent, ask)

    async def _suspects(self, key: OrderKey, number: int, sent: RefundSent, ask: Ask) -> list[str]:
        apart = {(sent.before or "").partition("/")[0]}
        found = await self._feeds.suspects(key.marketplace or "", number, sent.at, apart, ask)
        return [f"{one.feed_id}/{number}" for one in found]

    async def _effect(self, key: OrderKey, wanted: RefundWanted, sent: RefundSent, ask: Ask) -> RefundSight:
        """Amazon is done with the feed: either the refund shows in time, or nobody can tell."""
        if not sent.first:
            return RefundSight(again_s=LOOK_S)
        for id, pieces in (await self._shown(key.external_id, ask)).items():
            late = all(piece.at >= sent.at - SKEW for piece in pieces)
            if id not in sent.taken and late and _sum(pieces) == wanted.amount:
                return RefundSight(shown=id)
        age = datetime.now(UTC) - sent.at
        if age < LATEST:
            return RefundSight(again_s=min(SELDOM_S, max(LOOK_S, age / timedelta(seconds=4))))
        if sent.sent_as is None:
            raise OutcomeUnknown("createFeed had no answer, a feed was made then, and no such refund shows.")
        return RefundSight()

    async def _shown(self, order_id: str, ask: Ask) -> dict[str, list[Piece]]:
        """The refunds of an order by Amazon's ids of them, each once whatever its statuses. Raises Transient for one that cannot
        be read."""
        page = await returns.refunds_of(self.client, order_id, ask)
        if page.rejected:
            raise Transient(f"A movement of money of the order {order_id} cannot be read: {page.rejected[0].reason}")
        found: defaultdict[str, list[Piece]] = defaultdict(list)
        for piece in {piece.reference: piece for piece in page.items}.values():
            found[piece.reference.partition(":")[0]].append(piece)
        return found


def number_of(reference: str) -> int:
    """The number of a message: 18 digits at most, of 20 that Amazon takes."""
    return int.from_bytes(hashlib.sha256(reference.encode()).digest()[:7]) + 1


def split(order: Order, wanted: RefundWanted, gone: Parts) -> Parts:
    """The amount as parts, each no more than was paid for it and is left after what has `gone` already.

    Without lines all of the order counts; of a line with units its share for them. Shipping that is named goes to the shipping of
    the order alone; where none is named, it is touched only when the goods do not suffice.
    """
    step = Decimal(1).scaleb(-minor_digits(wanted.amount.currency))
    for amount in (wanted.amount, *([] if wanted.shipping is None else [wanted.shipping])):
        if amount.amount % step:
            raise Invalid(f"{amount.amount} {amount.currency} is no amount that can be paid.", field=("amount",))
    named = _lines(order, wanted)
    ways = named if wanted.shipping is None else _lines(order, replace(wanted, lines=()))
    goods = dict(_left(named, wanted, gone, GOODS, step))
    shipping = dict(_left(ways, wanted, gone, SHIPPING, step))
    way = Decimal(0) if wanted.shipping is None else wanted.shipping.amount
    rest = wanted.amount.amount - way
    if wanted.shipping is None and rest > sum(goods.values()):
        goods, shipping = goods | shipping, {}
    parts = _shared(goods, rest, wanted, step, "amount") | _shared(shipping, way, wanted, step, "shipping")
    return {part: amount for part, amount in parts.items() if amount}


def _left(
    lines: Iterable[tuple[OrderLine, int]],
    wanted: RefundWanted,
    gone: Parts,
    kinds: Mapping[str, frozenset[ChargeKind]],
    step: Decimal,
) -> Iterator[tuple[tuple[str, str], Decimal]]:
    for line, units in lines:
        if not line.charges:
            raise Conflict(f"What was paid for the item {line.external_id} is not known yet.", field=("lines",))
        ordered = line.quantity + line.quantity_cancelled
        if units > ordered:
            raise Invalid(f"The item {line.external_id} has {ordered} units, not {units}.", field=("lines",))
        for component, words in kinds.items():
            mine = [one.amount for one in line.charges if one.kind in words and not one.contained]
            if mine and mine[0].currency != wanted.amount.currency:
                raise Invalid(f"The order was paid in {mine[0].currency}.", field=("amount",))
            paid = sum((one.amount for one in mine), Decimal(0))
            share = (paid * units / ordered).quantize(step, ROUND_UP)
            left = paid - gone.get((line.external_id, component), Decimal(0))
            yield (line.external_id, component), max(Decimal(0), min(share, left))


def _lines(order: Order, wanted: RefundWanted) -> list[tuple[OrderLine, int]]:
    """Each line with the units that are meant."""
    if not wanted.lines:
        return [(line, line.quantity + line.quantity_cancelled) for line in order.lines if line.charges]
    lines, units = {line.external_id: line for line in order.lines}, defaultdict[str, int](int)
    for one in wanted.lines:
        if one.line_id not in lines:
            raise NotFound(f"The order {order.external_id} has no item {one.line_id}.", field=("lines",))
        units[one.line_id] += one.quantity
    return [(lines[id], count) for id, count in units.items()]


def _shared(left: Parts, amount: Decimal, wanted: RefundWanted, step: Decimal, field: str) -> Parts:
    most = sum(left.values(), Decimal(0))
    if amount > most:
        words = f"{amount} {wanted.amount.currency} were to be refunded, and {most} are left of what was paid for it"
        raise Conflict(f"{words}: name other lines, or less.", field=(field,))
    if not amount:
        return {}
    found = shares(Money(amount, wanted.amount.currency), [int(one / step) for one in left.values()])
    return {part: share.amount for part, share in zip(left, found, strict=True)}


def _gone(order: Order, told: Iterable[Transaction]) -> Parts:
    """What has been refunded of each item. Movements name SKUs alone: of items that share one, the first are filled up first."""
    by_sku: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    # The same refund may be told under two statuses.
    refunds = {(one.values("REFUND_ID"), one.posted_at): one for one in told if one.kind == returns.REFUND}
    for one in refunds.values():
        for item in one.items:
            for branch in item.breakdowns:
                for leaf in branch.leaves() if branch.kind in returns.TO_BUYER else ():
                    if item.sku is not None and leaf.kind in LEAVES:
                        by_sku[item.sku, LEAVES[leaf.kind]] -= leaf.amount.amount
    gone: Parts = {}
    for line in order.lines:
        for component, words in (*GOODS.items(), *SHIPPING.items()):
            paid = sum((one.amount.amount for one in line.charges if one.kind in words), Decimal(0))
            gone[line.external_id, component] = min(paid, by_sku[line.channel_sku, component])
            by_sku[line.channel_sku, component] -= gone[line.external_id, component]
    return gone


def _adjustment(order: Order, wanted: RefundWanted, parts: Parts) -> Element:
    """One message: the reference comes back in the settlement, as merchant-adjustment-item-id."""
    reasons = {one.line_id: REASONS[one.restock] for one in wanted.lines}
    said = Element(KIND.message)
    SubElement(said, "AmazonOrderID").text = order.external_id
    for id in dict.fromkeys(id for id, _ in parts):
        item = SubElement(said, "AdjustedItem")
        SubElement(item, "AmazonOrderItemCode").text = id
        SubElement(item, "MerchantAdjustmentItemID").text = wanted.reference
        SubElement(item, "AdjustmentReason").text = reasons.get(id, REASONS[Restock.NONE])
        prices = SubElement(item, "ItemPriceAdjustments")
        for (of, component), amount in parts.items():
            if of == id:
                priced = SubElement(prices, "Component")
                SubElement(priced, "Type").text = component
                SubElement(priced, "Amount", currency=wanted.amount.currency).text = f"{amount:f}"
    return said


def _sum(pieces: Sequence[Piece]) -> Money | None:
    given = [piece.money for piece in pieces if piece.money is not None]
    return sum(given[1:], given[0]) if given else None


def _refund(id: str, pieces: Sequence[Piece], only: Mapping[str, str]) -> Refund:
    amount = _sum(pieces)
    if amount is None:
        raise Transient(f"Of the refund {id} it is not told what the buyer gets.")
    lines = tuple(RefundLine(only[piece.sku], piece.units, amount=piece.money) for piece in pieces if piece.sku in only)
    return Refund(id, min(piece.at for piece in pieces), amount, lines)
