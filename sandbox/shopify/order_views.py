"""Orders, fulfillment orders and fulfillments, as the API shows them."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.shopify import errors, ids, paging
from sandbox.shopify.call import Call, Info, Resolver, Resolvers, counted, searched
from sandbox.shopify.catalog import Style, Variant
from sandbox.shopify.inventory import Place
from sandbox.shopify.money import MoneyBag, bag
from sandbox.shopify.orders import RECEIVED, Line, Order, Parcel, Work, WorkLine
from sandbox.shopify.paging import Connection
from sandbox.shopify.search import Field, Fields
from sandbox.shopify.state import Shop

WALL = timedelta(days=60)
FULFILLMENT_WORDS = {
    "FULFILLED": ["fulfilled", "shipped"],
    "PARTIALLY_FULFILLED": ["partial", "partially_fulfilled"],
    "ON_HOLD": ["on_hold", "unshipped"],
    "UNFULFILLED": ["unfulfilled", "unshipped"],
    "FULFILLMENT_NOT_REQUIRED": ["unfulfilled", "unshipped"],
}


def order_fields(call: Call) -> Fields:
    """What `orders` can be searched by; rows are the places of orders."""
    orders, now = call.shop.orders, call.now

    def status(place: int) -> list[str]:
        order = orders[place]
        if order.cancelled_at:
            return ["cancelled", "any"]
        return ["closed", "any"] if order.closed_at else ["open", "not_closed", "any"]

    def of(read: Callable[[Order], Any]) -> Callable[[int], Any]:
        return lambda place: read(orders[place])

    return {
        "default": Field("words", of(lambda o: (o.name, o.email, o.address.name))),
        "created_at": Field("time", of(lambda o: o.created_at)),
        "email": Field("string", of(lambda o: o.email)),
        "financial_status": Field("string", of(lambda o: o.financial)),
        "fulfillment_status": Field("string", of(lambda o: FULFILLMENT_WORDS[o.fulfillment_status(now)])),
        "fulfillment_location_id": Field(
            "id", of(lambda o: [ids.number("Location", w.warehouse.number) for w in o.works if w.shipped])
        ),
        "id": Field("id", of(lambda o: o.number), lambda text: _order_place(call.shop, text)),
        "name": Field("string", of(lambda o: (o.name, o.name.lstrip("#")))),
        "processed_at": Field("time", of(lambda o: o.created_at)),
        "sku": Field("string", of(lambda o: [line.product.sku for line in o.lines])),
        "source_name": Field("string", lambda p: "web"),
        "status": Field("string", status),
        "tag": Field("string", of(lambda o: o.tags)),
        "test": Field("string", of(lambda o: str(o.test).lower())),
        "updated_at": Field("time", of(lambda o: o.updated_at(now))),
    }


def _order_place(shop: Shop, text: str) -> list[int]:
    tail = text.rpartition("/")[2]
    order = shop.order_by_number.get(int(tail)) if tail.isdigit() else None
    return [] if order is None else [order.place]


def visible_orders(call: Call) -> Sequence[int]:
    """Places of the orders this token may see: the last 60 days without `read_all_orders`."""
    places: Sequence[int] = range(len(call.shop.orders))
    if "read_all_orders" in call.scopes:
        return places
    oldest = call.now - WALL
    return [place for place in places if call.shop.orders[place].created_at >= oldest]


def order_by_id(call: Call, given: str) -> Order | None:
    number = ids.place("Order", given) + ids.BASES["Order"]
    order = call.shop.order_by_number.get(number)
    if order is None or ("read_all_orders" not in call.scopes and order.created_at < call.now - WALL):
        return None
    return order


def line_by_id(call: Call, given: str) -> Line | None:
    order, place = divmod(ids.place("LineItem", given), 100)
    lines = call.shop.orders[order].lines if 0 <= order < len(call.shop.orders) else []
    return next((line for line in lines if line.place == place), None)


def work_by_id(call: Call, given: str) -> Work | None:
    work = call.shop.work(ids.place("FulfillmentOrder", given))
    return work if work is not None and work.seen_at <= call.now and _sees_works(call) else None


def parcel_by_id(call: Call, given: str) -> Parcel | None:
    return call.shop.parcel(ids.place("Fulfillment", given))


def _sees_works(call: Call) -> bool:
    """All work here is done by the merchant's own locations; an app without that scope finds none."""
    return "read_merchant_managed_fulfillment_orders" in call.scopes


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _orders(_: Any, info: Info, **args: Any) -> Connection:
    call = info.context
    orders, now = call.shop.orders, call.now
    sorts = {
        "CREATED_AT": lambda p: _micros(orders[p].created_at),
        "PROCESSED_AT": lambda p: _micros(orders[p].created_at),
        "UPDATED_AT": lambda p: _micros(orders[p].updated_at(now)),
    }
    return searched(info, args, order_fields(call), visible_orders(call), orders.__getitem__, sorts)


def _orders_count(_: Any, info: Info, query: str | None = None, limit: int | None = None) -> Any:
    return counted(info, query, limit, order_fields(info.context), visible_orders(info.context))


def _fulfillment_orders(_: Any, info: Info, **args: Any) -> Connection:
    call = info.context
    works = {
        work.number_place: work
        for place in visible_orders(call)
        for work in call.shop.orders[place].seen_works(call.now)
        if (args.get("includeClosed") or work.status not in ("CLOSED", "CANCELLED")) and _sees_works(call)
    }
    fields: Fields = {
        "assigned_location_id": Field("id", lambda p: ids.number("Location", works[p].warehouse.number)),
        "id": Field("id", lambda p: ids.number("FulfillmentOrder", p)),
        "status": Field("string", lambda p: works[p].status),
        "updated_at": Field("time", lambda p: works[p].updated_at),
    }
    sorts = {"UPDATED_AT": lambda p: _micros(works[p].updated_at)}
    return searched(info, args, fields, list(works), works.__getitem__, sorts)


def _works_of_order(order: Order, info: Info, **args: Any) -> Connection:
    works = order.seen_works(info.context.now) if _sees_works(info.context) else []
    return paging.listed(works, args)


def _parcels_of_order(order: Order, info: Info, **args: Any) -> list[Parcel]:
    return order.seen_parcels(info.context.now)[: args.get("first")]


def _parcels_of_work(work: Work, info: Info, **args: Any) -> Connection:
    return paging.listed([each for each in work.order.seen_parcels(info.context.now) if each.work is work], args)


def _fulfillment_status(order: Order, info: Info) -> str:
    status = order.fulfillment_status(info.context.now)
    if status == "FULFILLMENT_NOT_REQUIRED" and info.context.version < "2026-10":
        return "UNFULFILLED"
    return status


def _parcel_lines(parcel: Parcel, info: Info, **args: Any) -> Connection:
    rows = [
        {
            "typename": "FulfillmentLineItem",
            "id": ids.gid("FulfillmentLineItem", parcel.place * 100 + index),
            "lineItem": work_line.line,
            "quantity": units,
            "originalTotalSet": bag(work_line.line.price * units, parcel.order.presentment),
            "discountedTotalSet": bag(work_line.line.total * units / work_line.line.quantity, parcel.order.presentment),
        }
        for index, (work_line, units) in enumerate(parcel.lines, 1)
    ]
    return paging.listed(rows, args)


def _holds(work: Work, info: Info) -> list[dict[str, Any]]:
    if work.status != "ON_HOLD":
        return []
    held = {"displayReason": "Other", "handle": "held", "heldByRequestingApp": False, "reason": "OTHER"}
    return [{"typename": "FulfillmentHold", "id": ids.gid("FulfillmentHold", work.number_place), **held}]


def _assigned(work: Work, info: Info) -> dict[str, Any]:
    house = work.warehouse
    return {
        "address1": house.street,
        "city": house.city,
        "countryCode": house.country,
        "location": Place(info.context.shop, house),
        "name": house.name,
        "zip": house.zip,
    }


def _order_money(read: Callable[[Order], Decimal]) -> Resolver:
    def resolve(order: Order, info: Info) -> MoneyBag:
        return bag(read(order), order.presentment)

    return resolve


def _line_money(read: Callable[[Line], Decimal]) -> Resolver:
    def resolve(line: Line, info: Info, **args: Any) -> MoneyBag:
        return bag(read(line), line.order.presentment)

    return resolve


def _share_left(order: Order, amount: Decimal) -> Decimal:
    """Of an amount of the whole order, the part that goes with what is left of it."""
    return amount * order.current_total / order.total if order.total else Decimal(0)


def _formatted(address: Any, info: Info, **args: Any) -> list[str]:
    lines = [address.address1, f"{address.zip} {address.city}", address.country]
    return [address.name, *lines] if args.get("withName") else lines


def _line_of_variant(line: Line) -> str:
    return f"{line.product.color} / {line.product.size}"


def _tax_lines(order: Order, tax: Decimal) -> list[dict[str, Any]]:
    if not order.tax_rate:
        return []
    return [{"priceSet": bag(tax, order.presentment), "title": "Tax"}]


def _shipping(order: Order, info: Info) -> dict[str, Any]:
    return {
        "code": "Standard",
        "discountedPriceSet": bag(order.shipping, order.presentment),
        "id": ids.gid("ShippingLine", order.place),
        "originalPriceSet": bag(order.shipping, order.presentment),
        "taxLines": _tax_lines(order, order.tax_on(order.shipping)),
        "title": "Standard",
    }


def _allocations(line: Line, info: Info) -> list[dict[str, Any]]:
    return [{"allocatedAmountSet": bag(line.discount, line.order.presentment)}] if line.discount else []


def _protected(name: str, read: Callable[[Order], Any]) -> Resolver:
    """What only an app is told that the platform has approved for customers' data."""

    def resolve(order: Order, info: Info) -> Any:
        if not info.context.shop.approved:
            raise errors.unapproved(name)
        return read(order)

    return resolve


def _root_work(_: Any, info: Info, id: str) -> Work | None:
    return work_by_id(info.context, id)


ORDER: dict[str, Resolver] = {
    "billingAddress": _protected("billingAddress", lambda o: o.address),
    "closed": lambda o, info: o.closed_at is not None,
    "confirmed": lambda o, info: True,
    "currencyCode": lambda o, info: "USD",
    "currentSubtotalLineItemsQuantity": lambda o, info: sum(line.current_quantity for line in o.lines),
    "currentSubtotalPriceSet": _order_money(
        lambda o: o.current_total - (0 if o.cancelled_at else o.shipping - o.refunded_shipping)
    ),
    "currentTotalDiscountsSet": _order_money(lambda o: _share_left(o, o.discount)),
    "currentTotalPriceSet": _order_money(lambda o: o.current_total),
    "currentTotalTaxSet": _order_money(lambda o: _share_left(o, o.tax)),
    "customAttributes": lambda o, info: [{"key": key, "value": value} for key, value in o.attributes.items()],
    "displayFinancialStatus": lambda o, info: o.financial,
    "displayFulfillmentStatus": _fulfillment_status,
    "email": _protected("email", lambda o: o.email),
    "fulfillable": lambda o, info: o.open,
    "fulfillmentOrders": _works_of_order,
    "fulfillments": _parcels_of_order,
    "fulfillmentsCount": lambda o, info: {"count": len(o.seen_parcels(info.context.now)), "precision": "EXACT"},
    "fullyPaid": lambda o, info: o.financial in RECEIVED,
    "legacyResourceId": lambda o, info: str(o.number),
    "lineItems": lambda o, info, **args: paging.listed(o.lines, args),
    "number": lambda o, info: 1001 + o.place,
    "phone": lambda o, info: None,
    "presentmentCurrencyCode": lambda o, info: o.presentment,
    "processedAt": lambda o, info: o.created_at,
    "requiresShipping": lambda o, info: True,
    "shippingAddress": _protected("shippingAddress", lambda o: o.address),
    "shippingLine": _shipping,
    "sourceName": lambda o, info: "web",
    "subtotalLineItemsQuantity": lambda o, info: sum(line.quantity for line in o.lines),
    "subtotalPriceSet": _order_money(lambda o: o.subtotal),
    "taxesIncluded": lambda o, info: o.added_rate is None,
    "totalDiscountsSet": _order_money(lambda o: o.discount),
    "totalPriceSet": _order_money(lambda o: o.total),
    "totalReceivedSet": _order_money(lambda o: o.received),
    "totalRefundedSet": _order_money(lambda o: o.refunded),
    "totalShippingPriceSet": _order_money(lambda o: o.shipping),
    "totalTaxSet": _order_money(lambda o: o.tax),
    "totalTipReceivedSet": _order_money(lambda o: o.tip),
    "unpaid": lambda o, info: o.financial in ("PENDING", "VOIDED"),
    "updatedAt": lambda o, info: o.updated_at(info.context.now),
}

LINE: dict[str, Resolver] = {
    "discountAllocations": _allocations,
    "discountedTotalSet": _line_money(lambda line: line.total),
    "discountedUnitPriceSet": _line_money(lambda line: line.total / line.quantity),
    "isGiftCard": lambda line, info: False,
    "name": lambda line, info: f"{line.product.style_title} - {_line_of_variant(line)}",
    "originalTotalSet": _line_money(lambda line: line.price * line.quantity),
    "originalUnitPriceSet": _line_money(lambda line: line.price),
    "product": lambda line, info: Style(info.context.shop, line.product.style),
    "requiresShipping": lambda line, info: True,
    "sku": lambda line, info: line.product.sku,
    "taxLines": lambda line, info: _tax_lines(line.order, line.tax),
    "taxable": lambda line, info: True,
    "title": lambda line, info: line.product.style_title,
    "totalDiscountSet": _line_money(lambda line: line.discount),
    "fulfillableQuantity": lambda line, info: line.order.unfulfilled(line, info.context.now),
    "unfulfilledQuantity": lambda line, info: line.order.unfulfilled(line, info.context.now),
    "variant": lambda line, info: Variant(info.context.shop, line.product.index),
    "variantTitle": lambda line, info: _line_of_variant(line),
    "vendor": lambda line, info: line.product.brand,
}

WORK: dict[str, Resolver] = {
    "assignedLocation": _assigned,
    "fulfillAt": lambda work, info: work.created_at,
    "fulfillBy": lambda work, info: None,
    "fulfillmentHolds": _holds,
    "fulfillments": _parcels_of_work,
    "lineItems": lambda work, info, **args: paging.listed(work.lines, args),
    "orderId": lambda work, info: work.order.id,
    "orderName": lambda work, info: work.order.name,
    "orderProcessedAt": lambda work, info: work.order.created_at,
    "requestStatus": lambda work, info: "UNSUBMITTED",
    "supportedActions": lambda work, info: [{"action": action} for action in work.actions],
}


def _of_line(read: Callable[[WorkLine], Any]) -> Resolver:
    return lambda work_line, info: read(work_line)


WORK_LINE: dict[str, Resolver] = {
    "inventoryItemId": _of_line(lambda w: ids.gid("InventoryItem", w.line.product.index)),
    "lineItem": _of_line(lambda w: w.line),
    "productTitle": _of_line(lambda w: w.line.product.style_title),
    "remainingQuantity": _of_line(lambda w: w.remaining),
    "requiresShipping": _of_line(lambda w: True),
    "sku": _of_line(lambda w: w.line.product.sku),
    "totalQuantity": _of_line(lambda w: w.total),
    "variant": lambda w, info: Variant(info.context.shop, w.line.product.index),
    "variantTitle": _of_line(lambda w: _line_of_variant(w.line)),
    "vendor": _of_line(lambda w: w.line.product.brand),
}

PARCEL: dict[str, Resolver] = {
    "deliveredAt": lambda parcel, info: None,
    "displayStatus": lambda parcel, info: "CANCELED" if parcel.cancelled else "FULFILLED",
    "estimatedDeliveryAt": lambda parcel, info: None,
    "fulfillmentLineItems": _parcel_lines,
    "fulfillmentOrders": lambda parcel, info, **args: paging.listed([parcel.work], args),
    "inTransitAt": lambda parcel, info: None,
    "legacyResourceId": lambda parcel, info: str(ids.number("Fulfillment", parcel.place)),
    "location": lambda parcel, info: Place(info.context.shop, parcel.work.warehouse),
    "requiresShipping": lambda parcel, info: True,
    "status": lambda parcel, info: "CANCELLED" if parcel.cancelled else "SUCCESS",
    "totalQuantity": lambda parcel, info: sum(units for _, units in parcel.lines),
    "trackingInfo": lambda parcel, info, first=None: parcel.tracking[:first],
}

RESOLVERS: Resolvers = {
    "QueryRoot": {
        "fulfillment": lambda _, info, id: parcel_by_id(info.context, id),
        "fulfillmentOrder": _root_work,
        "fulfillmentOrders": _fulfillment_orders,
        "order": lambda _, info, id: order_by_id(info.context, id),
        "orders": _orders,
        "ordersCount": _orders_count,
    },
    "Order": ORDER,
    "LineItem": LINE,
    "FulfillmentOrder": WORK,
    "FulfillmentOrderLineItem": WORK_LINE,
    "Fulfillment": PARCEL,
    "MailingAddress": {"formatted": _formatted},
}
