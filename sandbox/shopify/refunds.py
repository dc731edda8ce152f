"""Refunds: what the shop suggests, refundCreate, and how orders show what was given back.

The units of a line share its discounted total to the cent, so that refunding them one by one comes to the same as all at once.
Money is kept in the shop's currency; a buyer who paid in another one gets that back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sandbox.shopify import errors, ids, paging
from sandbox.shopify.adjustments import once
from sandbox.shopify.call import Call, Info, Resolvers
from sandbox.shopify.inventory import Place
from sandbox.shopify.money import CENT, RATES, SHOP_CURRENCY, MoneyBag, MoneyV2, bag, money
from sandbox.shopify.order_views import order_by_id
from sandbox.shopify.orders import RECEIVED, Line, Order, Payment, Refund, RefundLine, WorkLine
from sandbox.shopify.paging import Connection
from sandbox.shopify.state import Shop, warehouse
from sandbox.world import Warehouse

GATEWAY = "shopify_payments"
ZERO = Decimal(0)


class Refused(Exception):
    """A user error stops the mutation."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.problem = errors.user_error(path or None, message)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Units of one line to be taken back."""

    line: Line
    quantity: int
    restock_type: str
    warehouse: Warehouse | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What giving back `lines` and `shipping` comes to, and how much of it there is left to give."""

    order: Order
    lines: list[Wanted]
    shipping: Decimal

    @property
    def goods(self) -> Decimal:
        return sum((price_of(each.line, each.quantity) for each in self.lines), ZERO)

    @property
    def left(self) -> Decimal:
        return refundable(self.order)

    @property
    def amount(self) -> Decimal:
        return min(self.goods + self.shipping, self.left)

    @property
    def tax(self) -> Decimal:
        return contained(self.order, self.goods + self.shipping)


def refund_by_id(call: Call, given: str) -> Refund | None:
    place = ids.place("Refund", given)
    return call.shop.refunds[place] if 0 <= place < len(call.shop.refunds) else None


def payment_by_id(call: Call, given: str) -> Payment | None:
    order, place = divmod(ids.place("OrderTransaction", given), 100)
    payments = call.shop.orders[order].payments if 0 <= order < len(call.shop.orders) else []
    return payments[place] if place < len(payments) else None


def refundable(order: Order) -> Decimal:
    """Money that was received and not given back."""
    return order.received - order.refunded


def price_of(line: Line, units: int) -> Decimal:
    """What the next `units` to be refunded of a line cost, discount and tax included."""
    before = line.refunded_quantity

    def share(count: int) -> Decimal:
        return (line.total * count / line.quantity).quantize(CENT)

    return share(before + units) - share(before)


def contained(order: Order, amount: Decimal) -> Decimal:
    """The tax in an amount."""
    return (amount * order.tax_rate / (1 + order.tax_rate)).quantize(CENT)


def give_back(
    shop: Shop,
    order: Order,
    wanted: list[Wanted],
    amount: Decimal,
    *,
    shipping: Decimal = ZERO,
    note: str | None = None,
    operation: str = "refundCreate",
) -> Refund:
    """Carry a refund out: goods leave their fulfillment orders or come back into stock, money goes back, the journal tells it."""
    refund = Refund(len(shop.refunds), order, shop.now(), [], shipping, amount, note)
    # An order shows what is refunded already, so a line's price is taken before the refund is one of the order's.
    refund.lines = [_take(shop, each) for each in wanted]
    shop.refunds.append(refund)
    order.refunds.append(refund)
    if order.financial in RECEIVED and order.refunded:
        order.financial = "REFUNDED" if order.refunded >= order.total else "PARTIALLY_REFUNDED"
    order.changed_at = refund.created_at
    shop.core.journal.effect(
        operation,
        order.id,
        {
            "refundId": refund.id,
            "amount": str(amount),
            "note": note,
            "lines": [
                {"lineItemId": each.line.id, "sku": each.line.product.sku, "quantity": each.quantity}
                for each in refund.lines
            ],
        },
    )
    return refund


def _take(shop: Shop, wanted: Wanted) -> RefundLine:
    """Returned units had been shipped; others are taken from what has not left, as far as there is."""
    line, left = wanted.line, wanted.quantity
    price, unshipped = price_of(line, left), 0
    house = wanted.warehouse
    for work_line in _open(line):
        shipped = line.quantity - line.removed_quantity - sum(each.remaining for each in _open(line))
        bound = left if wanted.restock_type != "RETURN" else max(0, left - shipped)
        units = min(work_line.remaining, bound)
        work_line.remaining -= units
        work_line.total -= units
        left -= units
        unshipped += units
        work = next(each for each in line.order.works if work_line in each.lines)
        work.updated_at = shop.now()
        restocked = units if wanted.restock_type == "CANCEL" else 0
        shop.change(line.product.index, work.warehouse, committed=-units, available=restocked)
        house = house or work.warehouse
    if wanted.restock_type == "RETURN":
        house = house or next(each.warehouse for each in line.order.works)
        shop.change(line.product.index, house, available=wanted.quantity)
    restocks = wanted.restock_type in ("CANCEL", "RETURN")
    return RefundLine(line, wanted.quantity, unshipped, wanted.restock_type, house if restocks else None, price)


def _open(line: Line) -> list[WorkLine]:
    """Where units of a line wait to be shipped."""
    if line.order.cancelled_at:
        return []
    return [each for work in line.order.works for each in work.lines if each.line is line]


def _wanted(order: Order, given: list[dict[str, Any]] | None) -> list[Wanted]:
    """Raises Refused for units that there are not."""
    by_id = {line.id: line for line in order.lines}
    found: list[Wanted] = []
    for index, each in enumerate(given or ()):
        path = ("refundLineItems", str(index))
        ids.place("LineItem", each["lineItemId"])
        line = by_id.get(each["lineItemId"])
        if line is None:
            raise Refused("Line item does not exist", *path, "lineItemId")
        if each["quantity"] <= 0:
            raise Refused("Quantity must be greater than 0", *path, "quantity")
        others = sum(one.quantity for one in found if one.line is line)
        if each["quantity"] + others > line.refundable_quantity:
            raise Refused("Quantity cannot refund more items than were purchased", *path, "quantity")
        house = None
        if each.get("locationId") is not None:
            house = warehouse(ids.place("Location", each["locationId"]))
            if house is None:
                raise Refused("Location does not exist", *path, "locationId")
        restock_type = each.get("restockType") or "NO_RESTOCK"
        if restock_type == "LEGACY_RESTOCK":
            raise Refused("Restock type is invalid", *path, "restockType")
        if restock_type == "CANCEL" and each["quantity"] > sum(one.remaining for one in _open(line)):
            raise Refused("Restock type cancel is for items that are not fulfilled", *path, "restockType")
        found.append(Wanted(line, each["quantity"], restock_type, house))
    return found


def _suggested(
    order: Order,
    info: Info,
    refundLineItems: list[dict[str, Any]] | None = None,  # noqa: N803  GraphQL names the argument
    refundShipping: bool | None = None,  # noqa: N803  GraphQL names the argument
    shippingAmount: Decimal | None = None,  # noqa: N803  GraphQL names the argument
    suggestFullRefund: bool | None = None,  # noqa: N803  GraphQL names the argument
) -> dict[str, Any] | None:
    """Null where nothing was received, or for units that there are not."""
    shipping_left = order.shipping - order.refunded_shipping
    if suggestFullRefund:
        lines = [Wanted(line, left, "NO_RESTOCK", None) for line in order.lines if (left := line.refundable_quantity)]
    else:
        try:
            lines = _wanted(order, refundLineItems)
        except Refused:
            return None
    shipping = (
        shippingAmount if shippingAmount is not None else shipping_left if refundShipping or suggestFullRefund else ZERO
    )
    suggestion = Suggestion(order, lines, min(max(shipping, ZERO), shipping_left))
    return _shown(suggestion, shipping_left, info)


def _shown(suggestion: Suggestion, shipping_left: Decimal, info: Info) -> dict[str, Any]:
    order = suggestion.order

    def both(amount: Decimal) -> MoneyBag:
        return bag(amount, order.presentment)

    lines = [
        RefundLine(each.line, each.quantity, 0, each.restock_type, each.warehouse, price_of(each.line, each.quantity))
        for each in suggestion.lines
    ]
    sale = next((each for each in order.payments if each.kind == "SALE"), None)
    return {
        "amountSet": both(suggestion.amount),
        "discountedSubtotalSet": both(suggestion.goods),
        "maximumRefundableSet": both(suggestion.left),
        "refundLineItems": [_line(order, index, each, info) for index, each in enumerate(lines, 1)],
        "shipping": {
            "amountSet": both(suggestion.shipping),
            "maximumRefundableSet": both(shipping_left),
            "taxSet": both(contained(order, suggestion.shipping)),
        },
        "subtotalSet": both(sum((each.line.price * each.quantity for each in suggestion.lines), ZERO)),
        "suggestedTransactions": []
        if sale is None
        else [
            {
                "amountSet": both(suggestion.amount),
                "formattedGateway": "Shopify Payments",
                "gateway": GATEWAY,
                "kind": "SUGGESTED_REFUND",
                "maximumRefundableSet": both(suggestion.left),
                "parentTransaction": sale,
            }
        ],
        "totalTaxSet": both(suggestion.tax),
    }


def _create(call: Call, arguments: dict[str, Any]) -> Mapping[str, Any]:
    given = arguments["input"]
    order = order_by_id(call, given["orderId"])
    if order is None:
        return {"order": None, "refund": None, "userErrors": [errors.user_error(["orderId"], "Order does not exist")]}
    try:
        wanted = _wanted(order, given.get("refundLineItems"))
        shipping = _shipping(order, given.get("shipping") or {})
        amount = _amount(order, given)
    except Refused as refused:
        return {"order": order, "refund": None, "userErrors": [refused.problem]}
    if not (wanted or shipping or amount):
        problem = errors.user_error(None, "Refund is empty")
        return {"order": order, "refund": None, "userErrors": [problem]}
    refund = give_back(call.shop, order, wanted, amount, shipping=shipping, note=given.get("note"))
    return {"order": order, "refund": refund, "userErrors": []}


def _shipping(order: Order, given: Mapping[str, Any]) -> Decimal:
    left = order.shipping - order.refunded_shipping
    wanted: Decimal | None = left if given.get("fullRefund") else given.get("amount")
    if wanted is None:
        return ZERO
    shipping = in_shop(order, wanted, left) if not given.get("fullRefund") else left
    if not ZERO <= shipping <= left:
        raise Refused("Shipping amount is more than can be refunded", "shipping", "amount")
    return shipping


def _amount(order: Order, given: Mapping[str, Any]) -> Decimal:
    """The sum of the transactions in the shop's currency. Raises Refused for more than there is."""
    if order.presentment != SHOP_CURRENCY and given.get("currency") is None and given.get("transactions"):
        raise Refused("Currency must be given where the buyer paid in another one", "currency")
    if given.get("currency") not in (None, order.presentment):
        raise Refused("Currency must be the one that the buyer paid in", "currency")
    total = ZERO
    payments = {each.id: each for each in order.payments}
    for index, each in enumerate(given.get("transactions") or ()):
        path = ("transactions", str(index))
        parent = payments.get(each.get("parentId") or "")
        if each["kind"] != "REFUND":
            raise Refused("Kind must be refund", *path, "kind")
        if parent is None or parent.kind != "SALE":
            raise Refused("Parent transaction cannot be refunded", *path, "parentId")
        if each["amount"] <= 0:
            raise Refused("Amount must be greater than 0", *path, "amount")
        total += each["amount"]
    left = refundable(order)
    amount = in_shop(order, total, left)
    if amount > left and not given.get("allowOverRefunding"):
        raise Refused("Refund amount is more than can be refunded", "transactions")
    return amount


def in_shop(order: Order, paid: Decimal, left: Decimal) -> Decimal:
    """An amount that the buyer saw, in the shop's currency; exactly `left` where it is what the buyer sees of that."""
    if paid == Decimal(money(left * RATES[order.presentment], order.presentment).amount):
        return left
    return (paid / RATES[order.presentment]).quantize(CENT)


def _line(order: Order, index: int, each: RefundLine, info: Info) -> dict[str, Any]:
    return {
        "id": ids.gid("RefundLineItem", each.line.order.place * 100 + index),
        "lineItem": each.line,
        "location": None if each.warehouse is None else Place(info.context.shop, each.warehouse),
        "priceSet": bag(each.amount / each.quantity, order.presentment),
        "quantity": each.quantity,
        "restockType": each.restock_type,
        "restocked": each.restocked,
        "subtotalSet": bag(each.amount, order.presentment),
        "totalTaxSet": bag(contained(order, each.amount), order.presentment),
    }


def _lines(refund: Refund, info: Info, **args: Any) -> Connection:
    rows = [_line(refund.order, refund.place * 100 + n, each, info) for n, each in enumerate(refund.lines, 1)]
    return paging.listed(rows, args)


def _payments(refund: Refund, info: Info, **args: Any) -> Connection:
    return paging.listed([refund.payment] if refund.payment else [], args)


def _left_of(payment: Payment, info: Info) -> MoneyV2 | None:
    return None if payment.kind != "SALE" else bag(refundable(payment.order), payment.order.presentment).shop_money


REFUND: dict[str, Any] = {
    "legacyResourceId": lambda refund, info: str(ids.number("Refund", refund.place)),
    "processedAt": lambda refund, info: refund.created_at,
    "refundLineItems": _lines,
    "totalRefundedSet": lambda refund, info: bag(refund.amount, refund.order.presentment),
    "transactions": _payments,
    "updatedAt": lambda refund, info: refund.created_at,
}

PAYMENT: dict[str, Any] = {
    "amountSet": lambda payment, info: bag(payment.amount, payment.order.presentment),
    "createdAt": lambda payment, info: payment.at,
    "formattedGateway": lambda payment, info: "Shopify Payments",
    "gateway": lambda payment, info: GATEWAY,
    "manualPaymentGateway": lambda payment, info: False,
    "maximumRefundableV2": _left_of,
    "parentTransaction": lambda payment, info: payment.parent,
    "processedAt": lambda payment, info: payment.at,
    "status": lambda payment, info: "SUCCESS",
    "test": lambda payment, info: payment.order.test,
}

RESOLVERS: Resolvers = {
    "Mutation": {"refundCreate": once(_create, {"order": None, "refund": None})},
    "Order": {
        "refundable": lambda order, info: refundable(order) > 0,
        "refunds": lambda order, info, first=None: order.refunds[:first],
        "suggestedRefund": _suggested,
        "transactions": lambda order, info, first=None: order.payments[:first],
    },
    "LineItem": {"refundableQuantity": lambda line, info: line.refundable_quantity},
    "Refund": REFUND,
    "OrderTransaction": PAYMENT,
}
