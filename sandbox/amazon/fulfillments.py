"""The feed POST_ORDER_FULFILLMENT_DATA: merchants confirm parcels with it. Amazon itself gives such a parcel its reference."""

from typing import Any
from xml.etree.ElementTree import Element

from sandbox.amazon import shipments
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.order_feeds import Fault, OrderFeed
from sandbox.amazon.state import Amazon, Order


def carry_out(amazon: Amazon, account: Account, said: Element, feed_id: str) -> Fault | None:
    """Take the parcel of one message."""
    order = amazon.orders[said.findtext("AmazonOrderID", "")]
    try:
        shipments.confirm(amazon, account, order.id, _body(order, said), feed_id)
    except Failure as refused:
        return Fault("18033", refused.details or refused.message)
    return None


def _body(order: Order, said: Element) -> dict[str, Any]:
    """As confirmShipment would be told."""
    items = [
        {"orderItemId": one.findtext("AmazonOrderItemCode", ""), "quantity": _units(one.findtext("Quantity", ""))}
        for one in said.findall("Item")
    ]
    told = {
        "carrierCode": said.findtext("FulfillmentData/CarrierCode"),
        "carrierName": said.findtext("FulfillmentData/CarrierName"),
        "shippingMethod": said.findtext("FulfillmentData/ShippingMethod"),
        "trackingNumber": said.findtext("FulfillmentData/ShipperTrackingNumber"),
        "shipDate": said.findtext("FulfillmentDate"),
    }
    detail = {name: value for name, value in told.items() if value is not None}
    reference = str(1 + len(order.packages))
    return {
        "marketplaceId": MARKETPLACES[order.marketplace].id,
        "packageDetail": {**detail, "packageReferenceId": reference, "orderItems": items},
    }


def _units(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


FEED = OrderFeed("POST_ORDER_FULFILLMENT_DATA", "OrderFulfillment", carry_out)
