"""fulfillmentCreate, fulfillmentTrackingInfoUpdate, fulfillmentCancel.

Creating is not idempotent: a repeat ships what is left, or meets a closed fulfillment order. User errors have no code.
"""

from collections.abc import Mapping
from typing import Any

from sandbox.shopify import errors, ids
from sandbox.shopify.call import Call, Info, Resolvers
from sandbox.shopify.order_views import parcel_by_id
from sandbox.shopify.orders import SHIPPABLE, Parcel, Tracking, Work, WorkLine
from sandbox.shopify.state import Shop

LINKS = {
    "DHL Express": "https://www.dhl.com/en/express/tracking.html?AWB={}&brand=DHL",
    "FedEx": "https://www.fedex.com/fedextrack/?trknbr={}",
    "UPS": "https://www.ups.com/track?tracknum={}",
    "USPS": "https://tools.usps.com/go/TrackConfirmAction_input?qtc_tLabels1={}",
}
"""Carriers that get a link of their own; others have one only when it is sent."""

Shipment = list[tuple[WorkLine, int]]


class Refused(Exception):
    """A user error stops the mutation."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.problem = errors.user_error(("fulfillment", *path), message)


def _create(_: Any, info: Info, fulfillment: dict[str, Any], message: str | None = None) -> Mapping[str, Any]:
    call = info.context
    try:
        work, lines = _shipment(call, fulfillment["lineItemsByFulfillmentOrder"])
    except Refused as refused:
        return {"fulfillment": None, "userErrors": [refused.problem]}
    parcel = ship(call.shop, work, lines, tracking(fulfillment.get("trackingInfo") or {}))
    return {"fulfillment": parcel, "userErrors": []}


def _shipment(call: Call, groups: list[dict[str, Any]]) -> tuple[Work, Shipment]:
    """The one fulfillment order of a call, and what of it is to go. Raises Refused before anything has changed."""
    works = []
    for group in groups:
        work = call.shop.work(ids.place("FulfillmentOrder", group["fulfillmentOrderId"]))
        if work is None or work.seen_at > call.now:
            raise Refused("Fulfillment order does not exist.")
        works.append(work)
    if not works:
        raise Refused("At least one fulfillment order is required.")
    if len({work.warehouse.number for work in works}) > 1:
        raise Refused("All fulfillment orders must be assigned to the same location.")
    if any(work is not works[0] for work in works):
        raise Refused("All fulfillment orders must belong to the same order.")
    work = works[0]
    if work.status not in SHIPPABLE:
        number = ids.number("FulfillmentOrder", work.number_place)
        raise Refused(f"Fulfillment order {number} has an unfulfillable status= {work.status.lower()}.")
    asked: dict[int, int] = {}
    for index, group in enumerate(groups):
        for place, units in _asked(work, group.get("fulfillmentOrderLineItems"), index):
            asked[place] = asked.get(place, 0) + units
    lines = [(line, asked[line.place]) for line in work.lines if asked.get(line.place)]
    if any(units > line.remaining for line, units in lines):
        raise Refused("Invalid fulfillment order line item quantity requested.")
    return work, lines


def _asked(work: Work, given: list[dict[str, Any]] | None, group: int) -> list[tuple[int, int]]:
    """(place of the line, units); without a list, everything that is left."""
    if not given:
        return [(line.place, line.remaining) for line in work.lines]
    by_id = {line.id: line for line in work.lines}
    asked = []
    for index, each in enumerate(given):
        ids.place("FulfillmentOrderLineItem", each["id"])
        line = by_id.get(each["id"])
        if each["quantity"] <= 0:
            path = ("lineItemsByFulfillmentOrder", str(group), "fulfillmentOrderLineItems", str(index), "quantity")
            raise Refused("Quantity must be greater than 0", *path)
        if line is None:
            raise Refused("Fulfillment order line item does not exist.")
        asked.append((line.place, each["quantity"]))
    return asked


def tracking(given: Mapping[str, Any]) -> list[Tracking]:
    """One entry per parcel number; a known carrier brings its own link."""
    company = given.get("company")
    numbers = given.get("numbers") or ([given["number"]] if given.get("number") else [])
    urls = given.get("urls") or ([given["url"]] if given.get("url") else [])
    if not (company or numbers or urls):
        return []
    made = []
    for index in range(max(1, len(numbers), len(urls))):
        number = numbers[index] if index < len(numbers) else None
        url = urls[index] if index < len(urls) else None
        if url is None and number and company in LINKS:
            url = LINKS[company].format(number)
        made.append(Tracking(company, number, url))
    return made


def ship(shop: Shop, work: Work, lines: Shipment, marks: list[Tracking]) -> Parcel:
    """Carry a parcel out: units leave the warehouse, the fulfillment order moves on, the journal tells it."""
    now, order = shop.now(), work.order
    parcel = Parcel(
        place=len(shop.parcels),
        work=work,
        lines=lines,
        tracking=marks,
        created_at=now,
        updated_at=now,
        seen_at=shop.seen_at(),
        name=f"{order.name}-F{len(order.parcels) + 1}",
    )
    for line, units in lines:
        line.remaining -= units
        shop.change(line.line.product.index, work.warehouse, committed=-units)
    work.updated_at = now
    order.parcels.append(parcel)
    shop.parcels.append(parcel)
    shop.core.journal.effect("fulfillmentCreate", order.id, _detail(parcel))
    return parcel


def _detail(parcel: Parcel) -> dict[str, Any]:
    mark = parcel.tracking[0] if parcel.tracking else Tracking(None, None, None)
    return {
        "fulfillmentId": parcel.id,
        "fulfillmentOrderId": parcel.work.id,
        "trackingNumber": mark.number,
        "company": mark.company,
        "lines": [
            {"id": line.id, "lineItemId": line.line.id, "sku": line.line.product.sku, "quantity": units}
            for line, units in parcel.lines
        ],
    }


def _update_tracking(
    _: Any,
    info: Info,
    fulfillmentId: str,  # noqa: N803  GraphQL names the argument
    trackingInfoInput: dict[str, Any],  # noqa: N803  GraphQL names the argument
    notifyCustomer: bool | None = None,  # noqa: N803  GraphQL names the argument
) -> Mapping[str, Any]:
    call = info.context
    parcel = parcel_by_id(call, fulfillmentId)
    if parcel is None:
        return _not_found("fulfillmentId")
    marks = tracking(trackingInfoInput)
    if marks != parcel.tracking:
        parcel.tracking = marks
        _changed(call.shop, parcel)
        call.shop.core.journal.effect("fulfillmentTrackingInfoUpdate", parcel.order.id, _detail(parcel))
    return {"fulfillment": parcel, "userErrors": []}


def _cancel(_: Any, info: Info, id: str) -> Mapping[str, Any]:
    call = info.context
    parcel = parcel_by_id(call, id)
    if parcel is None:
        return _not_found("id")
    if not parcel.cancelled:
        parcel.cancelled = True
        for line, units in parcel.lines:
            line.remaining += units
            call.shop.change(line.line.product.index, parcel.work.warehouse, committed=units)
        _changed(call.shop, parcel)
        parcel.work.updated_at = parcel.updated_at
        call.shop.core.journal.effect("fulfillmentCancel", parcel.order.id, _detail(parcel))
    return {"fulfillment": parcel, "userErrors": []}


def _changed(shop: Shop, parcel: Parcel) -> None:
    parcel.updated_at = parcel.order.changed_at = shop.now()


def _not_found(field: str) -> Mapping[str, Any]:
    return {"fulfillment": None, "userErrors": [errors.user_error([field], "Fulfillment does not exist.")]}


RESOLVERS: Resolvers = {
    "Mutation": {
        "fulfillmentCancel": _cancel,
        "fulfillmentCreate": _create,
        "fulfillmentTrackingInfoUpdate": _update_tracking,
    }
}
