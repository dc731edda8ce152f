"""Cancelling orders: the Orders API cannot, the feed POST_ORDER_ACKNOWLEDGEMENT_DATA does (`adapters.amazon.order_feeds`).

That a feed was lost or sent twice does no harm: a cancelled order stays cancelled, and each is read before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element, SubElement

from adapters.amazon.client import Client
from adapters.amazon.order_feeds import FeedKind, OrderFeeds
from adapters.port import BeforeSend, Receipt
from domain.budget import Ask
from domain.errors import Conflict, Invalid, Refused
from domain.order import Order, OrderStatus

KIND = FeedKind("POST_ORDER_ACKNOWLEDGEMENT_DATA", "OrderAcknowledgement", "Amazon did not cancel it")

# Our reasons, as Amazon calls them; it has no word for a payment that was declined.
REASONS: Mapping[str, str] = {
    "CUSTOMER": "BuyerCanceled",
    "DECLINED": "GeneralAdjustment",
    "FRAUD": "GeneralAdjustment",
    "INVENTORY": "NoInventory",
    "OTHER": "GeneralAdjustment",
}


class Cancels:
    """The cancellations of an account."""

    def __init__(self, client: Client, seller_id: str) -> None:
        self._feeds = OrderFeeds(client, seller_id, KIND)

    async def cancel(self, order: Order, reason: str, ask: Ask, before_send: BeforeSend) -> Receipt:
        """Cancel an order as it was just read, with the others of this moment. One that is cancelled already is fine.

        Raises Invalid for an unknown reason; Conflict where something of it has left; what createFeed raises.
        """
        if reason not in REASONS:
            raise Invalid(f"{reason!r} is none of the reasons {', '.join(REASONS)}.", field=("reason",))
        if order.status is OrderStatus.CANCELLED:
            return Receipt(None)
        if any(line.quantity_shipped for line in order.lines):
            raise Conflict(f"The order {order.external_id} cannot be cancelled: it is {order.channel_status}.")
        return await self._feeds.send(order.marketplace or "", _acknowledgement(order, reason), ask, before_send)

    async def refused(self, sent_as: str, ask: Ask) -> Refused | None:
        """Why Amazon did not cancel what was `sent_as` "feed/message"; None while it has not come to that, or where it has."""
        return (await self._feeds.verdict(sent_as, ask)).refused


def _acknowledgement(order: Order, reason: str) -> Element:
    """A failure, of all of its lines."""
    said = Element(KIND.message)
    SubElement(said, "AmazonOrderID").text = order.external_id
    SubElement(said, "StatusCode").text = "Failure"
    for line in order.lines:
        item = SubElement(said, "Item")
        SubElement(item, "AmazonOrderItemCode").text = line.external_id
        SubElement(item, "CancelReason").text = REASONS[reason]
    return said
