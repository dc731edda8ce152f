"""The feed POST_PAYMENT_ADJUSTMENT_DATA: merchants give money back with it, by item and component."""

from decimal import Decimal, InvalidOperation
from xml.etree.ElementTree import Element

from sandbox.amazon import finances
from sandbox.amazon.auth import Account
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import net_and_tax
from sandbox.amazon.order_feeds import Fault, OrderFeed
from sandbox.amazon.return_rows import CONDITIONS
from sandbox.amazon.state import Amazon, Line, Order, Refund, money

# What merchants of the sandbox charge for.
_COMPONENTS = ("Principal", "Tax")
_RETURNED = "CustomerReturn"
_REASONS = frozenset(
    {
        "NoInventory",
        _RETURNED,
        "GeneralAdjustment",
        "CouldNotShip",
        "DifferentItem",
        "Abandoned",
        "CustomerCancel",
        "PriceError",
        "ProductOutofStock",
        "CustomerAddressIncorrect",
        "Exchange",
        "Other",
        "Undeliverable",
        "RefusedDelivery",
    }
)


def carry_out(amazon: Amazon, account: Account, said: Element, feed_id: str) -> Fault | None:
    """Refund what one message names, all of it or nothing."""
    order = amazon.orders[said.findtext("AmazonOrderID", "")]
    if order.fulfilled_by == "AMAZON" or not order.visible:
        return Fault("18032", f"The order cannot be refunded: it is {order.status}.")
    lines = {line.id: line for line in order.lines}
    amounts: dict[str, tuple[Decimal, Decimal]] = {}
    reasons: dict[str, str] = {}
    names: dict[str, str] = {}
    for item in said.findall("AdjustedItem"):
        id, reason = item.findtext("AmazonOrderItemCode", ""), item.findtext("AdjustmentReason", "")
        parts = _parts(order, item)
        if id not in lines or id in amounts or reason not in _REASONS or parts is None:
            return Fault("18030", "Name items of the order, each once, with a reason and components that there are.")
        amounts[id], reasons[id], names[id] = parts, reason, item.findtext("MerchantAdjustmentItemID", "")
    if not amounts:
        return Fault("18030", "Name an item of the order.")
    items = {id: _units(order, lines[id], net) for id, (net, _) in amounts.items()}
    condition = CONDITIONS[0] if _RETURNED in reasons.values() else None
    made = Refund(amazon.clock.now(), items, condition, amounts, {id: name for id, name in names.items() if name})
    if not finances.give_back(amazon, order, made):
        return Fault("18031", "The refund is more than is left of what the buyer paid.")
    told = {id: [str(part) for part in parts] for id, parts in amounts.items()}
    amazon.journal.effect("refundOrder", order.id, {"feedId": feed_id, "items": told})
    return None


def _parts(order: Order, item: Element) -> tuple[Decimal, Decimal] | None:
    """Principal and tax of one item, either of them above zero; None for what is neither, or no amount."""
    found: dict[str, Decimal] = {}
    for one in item.findall("ItemPriceAdjustments/Component"):
        priced, kind = one.find("Amount"), one.findtext("Type", "")
        if priced is None or priced.get("currency") != MARKETPLACES[order.marketplace].currency:
            return None
        try:
            amount = Decimal(priced.text or "")
        except InvalidOperation:
            return None
        if kind not in _COMPONENTS or kind in found or not amount.is_finite() or amount <= 0:
            return None
        if amount != money(amount, order.marketplace):
            return None
        found[kind] = amount
    return (found.get("Principal", Decimal(0)), found.get("Tax", Decimal(0))) if found else None


def _units(order: Order, line: Line, net: Decimal) -> int:
    """The whole units that an amount pays for, of those that have left and not been refunded."""
    whole = net_and_tax(order, line)[0]
    left = order.shipped(line) - sum(one.items.get(line.id, 0) for one in order.refunds)
    return max(0, min(left, int(net * line.quantity / whole))) if whole else 0


FEED = OrderFeed("POST_PAYMENT_ADJUSTMENT_DATA", "OrderAdjustment", carry_out)
