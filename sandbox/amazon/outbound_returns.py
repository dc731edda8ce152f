"""What buyers send back of fulfillment orders: announced with 2020-07-01 alone, unit by unit, and looked at a week later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox.amazon import outbound_orders
from sandbox.amazon.state import pool_of
from sandbox.journal import iso

if TYPE_CHECKING:
    from sandbox.amazon.outbound_store import FulfillmentOrder, Store

REASONS = {
    "CR-UNWANTED_ITEM": "No longer needed/wanted",
    "AMZ-PG-BAD-DESC": "Different from website description",
    "CR-DEFECTIVE": "Defective/Does not work properly",
    "CR-ORDERED_WRONG_ITEM": "Accidental order",
    "CR-FOUND_BETTER_PRICE": "Better price available",
    "CR-DAMAGED_BY_FC": "Damaged due to inappropriate packaging",
    "CR-MISSED_ESTIMATED_DELIVERY": "Missed estimated delivery date",
    "CR-MISSING_PARTS": "Missing parts or accessories",
    "CR-DAMAGED_BY_CARRIER": "Damaged during shipping",
    "CR-SWITCHEROO": "Different from what was ordered",
    "CR-EXTRA_ITEM": "Arrived in addition to what was ordered",
    "CR-UNAUTHORIZED_PURCHASE": "Unauthorized purchase",
}
# How units arrive that are said to be so; all others can be sold again.
_CONDITIONS = {
    "CR-DEFECTIVE": "Defective",
    "CR-DAMAGED_BY_CARRIER": "CarrierDamaged",
    "CR-DAMAGED_BY_FC": "FulfillerDamaged",
}
# As the report of returns calls it.
_REPORTED = {
    "Sellable": "SELLABLE",
    "Defective": "DEFECTIVE",
    "CarrierDamaged": "CARRIER_DAMAGED",
    "FulfillerDamaged": "DAMAGED",
}
_ON_THE_WAY_S = 7 * 86_400


@dataclass(slots=True)
class ReturnItem:
    """One unit. `status` is New or Processed, `condition` as it was found."""

    id: str
    line: str
    reason: str
    comment: str | None
    changed_at: datetime
    authorization: str
    status: str = "New"
    condition: str = ""


def announce(store: Store, order: FulfillmentOrder, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Take what can be taken; the rest is told with its reason. One authorization for all of a call."""
    amazon, taken, wrong = store.amazon, [], []
    dice = amazon.world.random("outbound return", order.account.seller, order.id, len(order.returns))
    authorization = f"RMA{dice.randrange(10**12):012d}"
    for entry in wanted:
        name, line = entry["sellerReturnItemId"], entry["sellerFulfillmentOrderItemId"]
        if code := _wrong(order, entry):
            reason = {"invalidItemReasonCode": code, "description": f"{code}: '{name}' cannot be returned."}
            said = {"sellerReturnItemId": name, "sellerFulfillmentOrderItemId": line, "invalidItemReason": reason}
            wrong.append(said)
            continue
        comment = entry.get("returnComment")
        item = ReturnItem(name, line, entry["returnReasonCode"], comment, amazon.clock.now(), authorization)
        order.returns.append(item)
        taken.append(item)
        amazon.later(partial(_arrive, store, order, item), _ON_THE_WAY_S)
    if taken:
        detail = {"fulfillmentOrder": "returned", "items": [item.id for item in taken]}
        amazon.journal.effect("createFulfillmentReturn", order.id, detail)
        order.authorizations[authorization] = f"D{dice.randrange(10**8):08d}RRMA"
    return {
        "returnItems": [item_shown(order, item) for item in taken],
        "invalidReturnItems": wrong,
        "returnAuthorizations": [authorization_shown(order, authorization)] if taken else [],
    }


def _wrong(order: FulfillmentOrder, entry: dict[str, Any]) -> str:
    """Why a unit cannot be returned, as Amazon's code; nothing where it can."""
    line = next((each for each in order.lines if each.id == entry["sellerFulfillmentOrderItemId"]), None)
    if any(item.id == entry["sellerReturnItemId"] for item in order.returns):
        return "DuplicateRequest"
    if line is None or entry["returnReasonCode"] not in REASONS:
        return "InvalidValues"
    if order.parcel is None or order.parcel.shipped_at is None:
        return "NoCompletedShipItems"
    if entry["amazonShipmentId"] != f"D{order.parcel.number}":
        return "InvalidValues"
    return "NoReturnableQuantity" if sum(item.line == line.id for item in order.returns) >= line.taken else ""


def _arrive(store: Store, order: FulfillmentOrder, item: ReturnItem) -> None:
    """A fulfillment center has looked at it: it can be sold again, or lies apart."""
    amazon, pool = store.amazon, pool_of(order.marketplace)
    item.status, item.changed_at = "Processed", amazon.clock.now()
    item.condition = _CONDITIONS.get(item.reason, "Sellable")
    product = next(line.product for line in order.lines if line.id == item.line)
    stock = amazon.stock(product, pool)[0]
    if item.condition == "Sellable":
        amazon.put_stock(product, pool, fulfillable=stock.fulfillable + 1)
    else:
        amazon.put_stock(product, pool, unfulfillable=stock.unfulfillable + 1)
    outbound_orders.came_back(amazon, order, item.line, _REPORTED[item.condition])
    store.tell(
        order, "Return", {"ReceivedDateTime": iso(item.changed_at), "ReturnedQuantity": 1, "SellerSKU": product.sku}
    )


def item_shown(order: FulfillmentOrder, item: ReturnItem) -> dict[str, Any]:
    """A ReturnItem."""
    assert order.parcel is not None
    return {
        "sellerReturnItemId": item.id,
        "sellerFulfillmentOrderItemId": item.line,
        "amazonShipmentId": f"D{order.parcel.number}",
        "sellerReturnReasonCode": item.reason,
        **({"returnComment": item.comment} if item.comment else {}),
        "status": item.status,
        "statusChangedDate": iso(item.changed_at),
        "returnAuthorizationId": item.authorization,
        **({"returnReceivedCondition": item.condition, "fulfillmentCenterId": "TUS1"} if item.condition else {}),
    }


def authorization_shown(order: FulfillmentOrder, id: str) -> dict[str, Any]:
    """A ReturnAuthorization."""
    rma = order.authorizations[id]
    return {
        "returnAuthorizationId": id,
        "fulfillmentCenterId": "TUS1",
        "returnToAddress": {
            "name": "Returns Department",
            "addressLine1": "5333 W. Lower Buckeye Road",
            "city": "Phoenix",
            "stateOrRegion": "AZ",
            "countryCode": "US",
            "postalCode": "85043",
        },
        "amazonRmaId": rma,
        "rmaPageURL": f"https://www.amazon.example/gp/orc/rml/{rma}",
    }
