"""Bodies as the contract describes them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.shop.catalog import Product, Variant
from sandbox.shop.jobs import Job
from sandbox.shop.orders import Line, Order, Refund, Shipment
from sandbox.shop.state import CENT, CURRENCY, Shop
from sandbox.shop.stock import Level, location_id
from sandbox.shop.till import Payout, Transaction
from sandbox.shop.webhooks import Delivery, Endpoint
from sandbox.world import Warehouse

Body = dict[str, Any]


def time(shop: Shop, at: datetime) -> str:
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return text.removesuffix("Z") if "shapes.times" in shop.broken else text


def money(shop: Shop, amount: Decimal) -> Body:
    rounded = amount.quantize(CENT)
    return {"amount": float(rounded) if "shapes.money" in shop.broken else f"{rounded:f}", "currency": CURRENCY}


def _maybe(shop: Shop, amount: Decimal | None) -> Body | None:
    return None if amount is None else money(shop, amount)


def variant(shop: Shop, product: Product, one: Variant) -> Body:
    body: Body = {
        "id": one.id,
        "product_id": product.id,
        "rev": str(one.rev),
        "sku": one.sku,
        "title": one.title,
        "price": money(shop, one.price),
        "compare_at_price": _maybe(shop, one.compare_at),
        "unit_cost": _maybe(shop, one.unit_cost),
        "barcode": one.barcode,
        "tracked": one.tracked,
        "options": one.options,
        "updated_at": time(shop, one.updated_at),
    }
    if "products.shape" in shop.broken:
        del body["tracked"]
    return body


def product(shop: Shop, one: Product) -> Body:
    return {
        "id": one.id,
        "rev": str(one.rev),
        "title": one.title,
        "status": one.status,
        "brand": one.brand,
        "url": one.url,
        "updated_at": time(shop, one.updated_at),
        "variants": [variant(shop, one, each) for each in one.variants],
    }


def location(house: Warehouse) -> Body:
    return {"id": location_id(house), "name": house.name, "country": house.country, "active": True}


def level(shop: Shop, one: Level) -> Body:
    body: Body = {
        "sku": one.sku,
        "location_id": location_id(one.house),
        "available": one.available,
        "reserved": one.reserved,
        "on_hand": one.on_hand,
        "incoming": one.incoming,
        "rev": str(one.rev),
        "updated_at": time(shop, one.updated_at),
    }
    if "stock.shape" in shop.broken:
        del body["on_hand"]
    return body


def order(shop: Shop, one: Order, *, people: bool = False) -> Body:
    """With `people` also who bought, and the whole address."""
    grand = one.grand - one.shipping if "orders.totals" in shop.broken else one.grand
    body: Body = {
        "id": one.id,
        "number": one.number,
        "rev": str(one.rev),
        "status": one.status,
        "payment_status": one.payment,
        "fulfilment_status": one.fulfilment,
        "on_hold": one.on_hold,
        "placed_at": time(shop, one.placed_at),
        "updated_at": time(shop, one.updated_at),
        "totals": {
            "items": money(shop, one.items),
            "shipping": money(shop, one.shipping),
            "tax": money(shop, one.tax),
            "discount": money(shop, one.discount),
            "grand": money(shop, grand),
        },
        "lines": [_line(shop, each) for each in one.lines],
        "shipments": [shipment(shop, each) for each in one.shipments],
        "ship_to": {"country": one.country} | (one.ship_to if people else {}),
        "external_id": one.external_id,
        "reservation": one.reservation,
        "cancel_reason": one.cancel_reason,
    }
    if people and one.buyer:
        body["buyer"] = one.buyer
    if one.added_rate is not None:
        body["taxes_included"] = False
    if one.service is not None:
        body["service"] = one.service
    if one.deliver_by is not None:
        body["deliver_by"] = time(shop, one.deliver_by)
    if "orders.shape" in shop.broken and one.fulfilment == "unfulfilled":
        body["fulfilment_status"] = "half_way"
    if "orders.buyers" in shop.broken:
        body["customer"] = {"email": "buyer@example.test"}
    return body


def _line(shop: Shop, one: Line) -> Body:
    return {
        "id": one.id,
        "sku": one.product.sku,
        "title": one.product.title,
        "quantity": one.quantity,
        "unit_price": money(shop, one.price),
        "discount": money(shop, one.discount),
        "shipped": one.shipped,
        "cancelled": one.cancelled,
        "refunded": one.refunded,
        "location_id": location_id(one.house),
    } | ({} if one.tax is None else {"tax": money(shop, one.tax)})


def shipment(shop: Shop, one: Shipment) -> Body:
    return {
        "id": one.id,
        "order_id": one.order.id,
        "rev": str(one.rev),
        "carrier": one.carrier,
        "tracking_number": one.tracking_number,
        "tracking_url": one.tracking_url,
        "shipped_at": time(shop, one.shipped_at),
        "updated_at": time(shop, one.updated_at),
        "lines": [{"line_id": line.id, "quantity": quantity} for line, quantity in one.lines],
        "reference": None if "shipments.taken" in shop.broken else one.reference,
    }


def refund(shop: Shop, one: Refund, order_id: str) -> Body:
    body: Body = {
        "id": one.id,
        "order_id": order_id,
        "amount": money(shop, one.amount),
        "shipping": _maybe(shop, one.shipping),
        "created_at": time(shop, one.created_at),
        "lines": [
            {
                "line_id": line.id,
                "quantity": quantity,
                "restock": restock,
                "location_id": place,
                "amount": _maybe(shop, amount),
            }
            for line, quantity, restock, place, amount in one.lines
        ],
        "note": one.note,
        "reference": one.reference,
    }
    if "refunds.shape" in shop.broken:
        del body["amount"]
    return body


def transaction(shop: Shop, one: Transaction) -> Body:
    body: Body = {
        "id": one.id,
        "kind": one.kind,
        "amount": money(shop, one.amount),
        "fee": money(shop, one.fee),
        "net": money(shop, one.net),
        "order_id": one.order_id,
        "refund_id": one.refund_id,
        "payout_id": one.payout_id,
        "occurred_at": time(shop, one.occurred_at),
        "updated_at": time(shop, one.updated_at),
    }
    if "payouts.shape" in shop.broken:
        del body["kind"]
    return body


def payout(shop: Shop, one: Payout) -> Body:
    return {
        "id": one.id,
        "status": one.status,
        "issued_at": time(shop, one.issued_at),
        "updated_at": time(shop, one.updated_at),
        "net": money(shop, one.net),
        "reference": one.reference,
        "totals": {name: money(shop, amount) for name, amount in one.totals.items()},
    }


def job(shop: Shop, one: Job) -> Body:
    return {
        "id": one.id,
        "kind": one.kind,
        "state": one.state,
        "lines": len(one.lines),
        "done": len(one.results),
        "failed": one.failed,
        "created_at": time(shop, one.created_at),
        "updated_at": time(shop, one.updated_at),
    }


def endpoint(shop: Shop, one: Endpoint, *, made: bool = False) -> Body:
    body: Body = {
        "id": one.id,
        "url": one.url,
        "events": list(one.events),
        "enabled": one.enabled,
        "created_at": time(shop, one.created_at),
    }
    if made or "webhooks.secret" in shop.broken:
        body["secret"] = one.secret
    return body


def delivery(shop: Shop, one: Delivery) -> Body:
    return {
        "id": one.id,
        "event_id": one.event_id,
        "type": one.type,
        "state": one.state,
        "attempts": one.attempts,
        "last_status": one.last_status,
        "created_at": time(shop, one.created_at),
        "updated_at": time(shop, one.updated_at),
    }
