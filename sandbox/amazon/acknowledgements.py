"""The feed POST_ORDER_ACKNOWLEDGEMENT_DATA: merchants cancel orders with it."""

from xml.etree.ElementTree import Element

from sandbox.amazon import desk
from sandbox.amazon.auth import Account
from sandbox.amazon.news import order_changed
from sandbox.amazon.order_feeds import Fault, OrderFeed
from sandbox.amazon.state import Amazon, Order

_REASONS = frozenset(
    {
        "NoInventory",
        "ShippingAddressUndeliverable",
        "CustomerExchange",
        "BuyerCanceled",
        "GeneralAdjustment",
        "CarrierCreditDecision",
        "RiskAssessmentInformationNotValid",
        "CarrierCoverageFailure",
        "CustomerReturn",
        "MerchandiseNotReceived",
    }
)


def carry_out(amazon: Amazon, account: Account, said: Element, feed_id: str) -> Fault | None:
    """Cancel the order of one message."""
    order = amazon.orders[said.findtext("AmazonOrderID", "")]
    if said.findtext("StatusCode") == "Success":
        return None
    lines = {line.id for line in order.lines}
    named = {
        item.findtext("AmazonOrderItemCode", ""): item.findtext("CancelReason", "") for item in said.findall("Item")
    }
    if said.findtext("StatusCode") != "Failure" or set(named) != lines or set(named.values()) - _REASONS:
        return Fault("18027", "Name every item of the order, each with a reason that there is.")
    if order.fulfilled_by == "AMAZON" or order.packages or order.status != "UNSHIPPED":
        return Fault("18029", f"The order cannot be cancelled: it is {order.status}.")
    _cancel(amazon, order, feed_id)
    return None


def _cancel(amazon: Amazon, order: Order, feed_id: str) -> None:
    order.fixed, order.cancelled_by, order.cancellation_wanted = "CANCELLED", "MERCHANT", False
    for line in order.lines:
        desk.take(amazon, order, line, -line.quantity)
    order.updated_at = amazon.clock.now()
    amazon.journal.effect("cancelOrder", order.id, {"feedId": feed_id})
    order_changed(amazon, order)


FEED = OrderFeed("POST_ORDER_ACKNOWLEDGEMENT_DATA", "OrderAcknowledgement", carry_out)
