"""How a line of a settlement is tied to an order, a SKU or the account: rules by name, in the order in which they are tried.

The rules find the order first, then which of its lines is meant. Where the order's id stands where it belongs, the name tells how
the line was found; else it tells how the order was. What no rule ties has a cause (`domain.money_line.Cause`), and is looked at
again when what it lacks has come.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from domain.money_class import MoneyClass


class Rule(Enum):
    """How a line was tied (`MoneyLine.matched_by`)."""

    ORDER_ITEM = "ORDER_ITEM"
    ORDER_SKU = "ORDER_SKU"
    ORDER = "ORDER"
    MERCHANT_ORDER_ID = "MERCHANT_ORDER_ID"
    SHIPMENT_ID = "SHIPMENT_ID"
    MCF = "MCF"
    PAYMENT = "PAYMENT"
    ADJUSTMENT = "ADJUSTMENT"
    SKU = "SKU"
    ACCOUNT = "ACCOUNT"


RULES: Mapping[Rule, str] = {
    Rule.ORDER_ITEM: "It names an order of the channel, and an item of that order.",
    Rule.ORDER_SKU: "It names an order of the channel, and a SKU that just one line of that order has; the item's id is blank, "
    "or another one than the order's.",
    Rule.ORDER: "It names an order of the channel, and neither an item nor a SKU: it is of the order as a whole.",
    Rule.MERCHANT_ORDER_ID: "The order's id stands in the column for the merchant's own.",
    Rule.SHIPMENT_ID: "It names a shipment, at times in the column for orders: one that another line names with its order, a "
    "parcel of an order, or a label that was bought.",
    Rule.MCF: "It names an order that the channel only ships for a shop: it is the shop's order.",
    Rule.PAYMENT: "It is of a payment of a shop's order, or of a refund, which is split over what the order is made of.",
    Rule.ADJUSTMENT: "It takes back what another line with the same adjustment id gave, whatever its other ids.",
    Rule.SKU: "It is of a SKU, and of no order: storage, or a unit that was lost.",
    Rule.ACCOUNT: "It is of the account: a subscription, advertising, a reserve; ids that stand there are of no order.",
}
"""What each of them says of a line, in the order in which they are tried."""

OF_NO_ORDER = frozenset(
    {
        MoneyClass.STORAGE_FEE,
        MoneyClass.INBOUND_FEE,
        MoneyClass.REMOVAL_FEE,
        MoneyClass.SUBSCRIPTION_FEE,
        MoneyClass.SERVICE_FEE,
        MoneyClass.COUPON_FEE,
        MoneyClass.ADVERTISING,
        MoneyClass.RESERVE,
        MoneyClass.TRANSFER,
    }
)
"""An id beside these is of an inbound shipment, a removal or a campaign, unless it happens to be an order's."""
