"""What is told when an order has come on: the order itself, the money it has moved, and the parcel that Amazon sends."""

from sandbox.amazon import finances
from sandbox.amazon.state import Amazon, Order


def order_changed(amazon: Amazon, order: Order) -> None:
    """ORDER_CHANGE, and TRANSACTION_UPDATE for what it has brought."""
    amazon.notices.order_changed(order)
    finances.follow(amazon, order)


def fba_shipped(amazon: Amazon, order: Order) -> None:
    """FBA_OUTBOUND_SHIPMENT_STATUS: Amazon has made a shipment of an order that it fulfills."""
    told = {
        "SellerId": order.account.seller,
        "AmazonOrderId": order.id,
        "AmazonShipmentId": f"D{amazon.world.random('fba shipment', order.id).randrange(10**8, 10**9)}",
        "ShipmentStatus": "Created",
    }
    payload = {"FBAOutboundShipmentStatusNotification": told}
    amazon.notices.tell(order.account.seller, "FBA_OUTBOUND_SHIPMENT_STATUS", payload)
