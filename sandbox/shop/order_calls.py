"""Operations on orders, their parcels and refunds, and on money."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sandbox.shop import paging, till, views
from sandbox.shop.api import Answer, Call, Operation, Problem, choice, flag, operation, optional_text, rows, text, units
from sandbox.shop.catalog_calls import money, optional_money
from sandbox.shop.orders import Line, Order, Refund, Shipment
from sandbox.shop.state import CURRENCY, Shop
from sandbox.shop.stock import house_of, location_id

OPERATIONS: list[Operation] = []
REASONS = ("customer", "fraud", "inventory", "declined", "other")
RESTOCK = ("return", "cancel", "none")


@operation(OPERATIONS, "GET", "/orders", "orders", "orders:read")
def list_orders(call: Call) -> Answer:
    shop = call.shop
    wanted = {name: call.query(name) for name in ("status", "payment_status", "fulfilment_status")}
    if "orders.filter" in shop.broken:
        wanted["status"] = None

    def kept(order: Order) -> bool:
        words = {"status": order.status, "payment_status": order.payment, "fulfilment_status": order.fulfilment}
        return all(word in (None, words[name]) for name, word in wanted.items())

    def walk(since: datetime) -> Any:
        return ((at, shop.order_by_id[id]) for at, id in shop.order_feed.walk(since))

    people = _people(call)
    return paging.page(call, walk, lambda order: views.order(shop, order, people=people), kept)


@operation(OPERATIONS, "GET", "/orders/{id}", "orders", "orders:read")
def get_order(call: Call) -> Answer:
    order = _known(call)
    body = views.order(call.shop, order, people=_people(call))
    if "orders.same" in call.shop.broken:
        body["number"] = f"#{order.number}"
    return Answer(body, rev=order.rev)


@operation(OPERATIONS, "POST", "/orders/{id}/acknowledge", "acknowledge", "orders:write")
def acknowledge_order(call: Call) -> Answer:
    order, external = _known(call), text(call.body, "external_id", "")
    if order.cancelled_at:
        raise Problem("order-cancelled")
    if order.external_id and "orders.acknowledge" in call.shop.broken:
        raise Problem("conflict", "It was acknowledged")
    if order.external_id != external:
        order.external_id = external
        _changed(call.shop, order, "acknowledgeOrder", {"externalId": external})
    return _shown(call.shop, order)


@operation(OPERATIONS, "POST", "/orders/{id}/cancel", "cancel", "orders:write")
def cancel_order(call: Call) -> Answer:
    shop, order, body = call.shop, _known(call), call.body
    reason = choice(body, "reason", "", REASONS)
    restock = flag(body, "restock", "", default=True)
    give_back = flag(body, "refund", "", default=True)
    if order.cancelled_at:
        return _shown(shop, order)
    if order.shipments and "orders.cancel" not in shop.broken:
        raise Problem("already-shipped", f"{len(order.shipments)} parcels are on their way")
    order.cancelled_at, order.cancel_reason = shop.now(), reason
    for line in order.lines:
        left, line.cancelled = line.left, line.quantity
        _stock_changed(shop, line, available=left if restock else 0, reserved=-left)
    if order.captured > order.given_back and give_back:
        _refund(shop, order, Refund(shop.refund_id(), order.captured - order.given_back, shop.now()))
    elif order.payment in ("pending", "authorized"):
        order.payment = "voided"
    _changed(shop, order, "cancelOrder", {"reason": reason, "restock": restock, "refund": give_back}, "order.cancelled")
    return _shown(shop, order)


@operation(OPERATIONS, "POST", "/orders/{id}/shipments", "shipments", "orders:write", keyed=True)
def create_shipment(call: Call) -> Answer:
    shop, order, body = call.shop, _known(call), call.body
    shipment = Shipment(
        id=f"shp_{len(shop.shipments) + 1}",
        order=order,
        lines=_lines(order, body),
        carrier=text(body, "carrier", ""),
        tracking_number=text(body, "tracking_number", ""),
        tracking_url=optional_text(body, "tracking_url", ""),
        shipped_at=_instant(body, "shipped_at"),
        updated_at=shop.now(),
        reference=optional_text(body, "reference", "", 128),
    )
    if order.cancelled_at:
        raise Problem("order-cancelled")
    if order.on_hold:
        raise Problem("conflict", "The order is on hold")
    for index, (line, quantity) in enumerate(shipment.lines):
        if quantity > line.left and "shipments.over" not in shop.broken:
            raise Problem("over-shipment", f"Line {line.id} has {line.left} left", f"/lines/{index}/quantity")
    for line, quantity in shipment.lines:
        line.shipped += quantity
        _stock_changed(shop, line, reserved=-min(quantity, line.quantity))
    order.shipments.append(shipment)
    shop.shipments[shipment.id] = shipment
    _changed(shop, order, "createShipment", _told(shipment), "order.shipped")
    location = {"Location": call.url(f"/shipments/{shipment.id}")}
    return Answer(views.shipment(shop, shipment), 201, location, shipment.rev)


@operation(OPERATIONS, "GET", "/shipments/{id}", "shipments", "orders:read")
def get_shipment(call: Call) -> Answer:
    shipment = _shipment(call)
    return Answer(views.shipment(call.shop, shipment), rev=shipment.rev)


@operation(OPERATIONS, "PATCH", "/shipments/{id}", "shipments", "orders:write")
def patch_shipment(call: Call) -> Answer:
    shop, shipment, body = call.shop, _shipment(call), call.body
    call.matched(shipment.rev)
    carrier = text(body, "carrier", "") if "carrier" in body else shipment.carrier
    number = text(body, "tracking_number", "") if "tracking_number" in body else shipment.tracking_number
    url = optional_text(body, "tracking_url", "") if "tracking_url" in body else shipment.tracking_url
    if (carrier, number, url) != (shipment.carrier, shipment.tracking_number, shipment.tracking_url):
        if "shipments.tracking" not in shop.broken:
            shipment.carrier, shipment.tracking_number, shipment.tracking_url = carrier, number, url
        shipment.rev += 1
        _changed(shop, shipment.order, "patchShipment", _told(shipment))
        shipment.updated_at = shipment.order.updated_at
    return Answer(views.shipment(shop, shipment), rev=shipment.rev)


@operation(OPERATIONS, "DELETE", "/shipments/{id}", "shipments", "orders:write")
def delete_shipment(call: Call) -> Answer:
    shop, shipment = call.shop, _shipment(call)
    call.matched(shipment.rev)
    for line, quantity in shipment.lines:
        if "shipments.taken-back" not in shop.broken:
            line.shipped -= quantity
        _stock_changed(shop, line, reserved=min(quantity, line.quantity))
    del shop.shipments[shipment.id]
    shipment.order.shipments.remove(shipment)
    _changed(shop, shipment.order, "deleteShipment", _told(shipment))
    return Answer(status=204)


@operation(OPERATIONS, "GET", "/orders/{id}/refunds", "refunds", "orders:read")
def list_refunds(call: Call) -> Answer:
    order = _known(call)
    data = [views.refund(call.shop, refund, order.id) for refund in order.refunds]
    return Answer({"data": data, "next_cursor": None})


@operation(OPERATIONS, "POST", "/orders/{id}/refunds", "refunds", "orders:write", keyed=True)
def create_refund(call: Call) -> Answer:
    shop, order, body = call.shop, _known(call), call.body
    refund = Refund(
        id=f"ref_{shop.refund_count + 1}",
        amount=_more_than_nothing(body),
        created_at=shop.now(),
        lines=tuple(_refund_line(order, row, f"/lines/{index}") for index, row in enumerate(rows(body, "lines", ""))),
        shipping=optional_money(body, "shipping", ""),
        note=optional_text(body, "note", ""),
        reference=optional_text(body, "reference", "", 128),
    )
    left = order.captured - order.given_back
    if refund.amount > left:
        name = "conflict" if "refunds.exceeds" in shop.broken else "exceeds-captured"
        raise Problem(name, f"{left} {CURRENCY} were paid and not yet given back", "/amount/amount")
    shop.refund_id()
    _refund(shop, order, refund)
    for line, quantity, restock, place, _ in refund.lines:
        _come_back(shop, line, quantity, restock, place)
    _changed(
        shop, order, "createRefund", {"refund": refund.id, "amount": str(refund.amount), "reference": refund.reference}
    )
    shop.tell("refund.created", id=refund.id, order_id=order.id)
    return Answer(views.refund(shop, refund, order.id), 201)


@operation(OPERATIONS, "GET", "/transactions", "payouts", "finance:read")
def list_transactions(call: Call) -> Answer:
    shop, wanted = call.shop, call.query("payout_id")
    lost = None
    if "payouts.sums" in shop.broken and wanted in shop.payouts:
        lost = shop.payouts[str(wanted)].transactions[-1].id

    def walk(since: datetime) -> Any:
        return ((at, shop.transactions[id]) for at, id in shop.transaction_feed.walk(since))

    return paging.page(
        call,
        walk,
        lambda one: views.transaction(shop, one),
        lambda one: wanted in (None, one.payout_id) and one.id != lost,
    )


@operation(OPERATIONS, "GET", "/payouts", "payouts", "finance:read")
def list_payouts(call: Call) -> Answer:
    shop = call.shop

    def walk(since: datetime) -> Any:
        return ((at, shop.payouts[id]) for at, id in shop.payout_feed.walk(since))

    return paging.page(call, walk, lambda one: views.payout(shop, one))


def _people(call: Call) -> bool:
    """Whether it is asked who bought; 403 where the token may not know."""
    if call.query("include") != "buyer":
        return False
    if "buyers:read" not in call.grant.scopes:
        raise Problem("forbidden-scope", "The token lacks buyers:read", scope="buyers:read")
    return True


def _known(call: Call) -> Order:
    order = call.shop.order_by_id.get(call.id)
    if order is None:
        raise Problem("not-found", f"There is no order {call.id}")
    return order


def _shipment(call: Call) -> Shipment:
    shipment = call.shop.shipments.get(call.id)
    if shipment is None:
        raise Problem("not-found", f"There is no shipment {call.id}")
    return shipment


def _shown(shop: Shop, order: Order) -> Answer:
    return Answer(views.order(shop, order), rev=order.rev)


def _changed(shop: Shop, order: Order, by: str, detail: Mapping[str, Any], event: str = "order.updated") -> None:
    shop.touch(order)
    shop.core.journal.effect(by, order.id, detail)
    shop.tell(event, id=order.id)


def _stock_changed(shop: Shop, line: Line, *, available: int = 0, reserved: int = 0) -> None:
    if available or reserved:
        shop.stock.change(line.product.sku, line.house, available=available, reserved=reserved)
        shop.tell("stock.updated", sku=line.product.sku, location_id=location_id(line.house))


def _told(shipment: Shipment) -> dict[str, Any]:
    return {
        "shipment": shipment.id,
        "carrier": shipment.carrier,
        "trackingNumber": shipment.tracking_number,
        "reference": shipment.reference,
        "lines": [{"id": line.id, "sku": line.product.sku, "quantity": quantity} for line, quantity in shipment.lines],
    }


def _lines(order: Order, body: Mapping[str, Any]) -> list[tuple[Line, int]]:
    given = rows(body, "lines", "")
    if not given:
        raise Problem("validation", "A parcel has at least one line", "/lines")
    read = []
    for index, row in enumerate(given):
        at = f"/lines/{index}"
        read.append((_line(order, row, at), units(row, "quantity", at, 1)))
    if len({line.id for line, _ in read}) < len(read):
        raise Problem("validation", "A line is named twice", "/lines")
    return read


def _line(order: Order, row: Mapping[str, Any], at: str) -> Line:
    id = text(row, "line_id", at)
    found = next((line for line in order.lines if line.id == id), None)
    if found is None:
        raise Problem("validation", f"The order has no line {id}", f"{at}/line_id")
    return found


def _refund_line(order: Order, row: Mapping[str, Any], at: str) -> tuple[Line, int, str, str | None, Decimal | None]:
    line, quantity = _line(order, row, at), units(row, "quantity", at, 1)
    restock, place = choice(row, "restock", at, RESTOCK, "none"), optional_text(row, "location_id", at)
    most = line.quantity - line.refunded
    if quantity > most or (restock == "cancel" and quantity > line.left):
        raise Problem("validation", f"Line {line.id} has not so many units to give back", f"{at}/quantity")
    if place is not None and house_of(place) is None:
        raise Problem("validation", f"There is no location {place}", f"{at}/location_id")
    return line, quantity, restock, place, optional_money(row, "amount", at)


def _come_back(shop: Shop, line: Line, quantity: int, restock: str, place: str | None) -> None:
    line.refunded += quantity
    house = house_of(place) or line.house
    if restock == "return":
        shop.stock.change(line.product.sku, house, available=quantity)
        shop.tell("stock.updated", sku=line.product.sku, location_id=location_id(house))
    elif restock == "cancel":
        line.cancelled += quantity
        _stock_changed(shop, line, available=quantity, reserved=-quantity)


def _refund(shop: Shop, order: Order, refund: Refund) -> None:
    shop.add_refund(order, refund)
    till.refunded(shop, order, refund, shop.stamp())


def _more_than_nothing(body: Mapping[str, Any]) -> Decimal:
    amount = money(body, "amount", "")
    if not amount:
        raise Problem("validation", "amount is more than 0", "/amount/amount")
    return amount


def _instant(body: Mapping[str, Any], name: str) -> datetime:
    given = text(body, name, "")
    try:
        at = datetime.fromisoformat(given)
    except ValueError as problem:
        raise Problem("validation", f"{name} is a time", f"/{name}") from problem
    if at.tzinfo is None:
        raise Problem("validation", f"{name} has no zone", f"/{name}")
    return at
