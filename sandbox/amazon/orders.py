"""Orders 2026-01-01: searchOrders and getOrder."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import denied, invalid, not_found
from sandbox.amazon.marketplaces import ALL_IDS, MARKETPLACES
from sandbox.amazon.money_flow import net_and_tax, split
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.roles import DELIVERY
from sandbox.amazon.state import Amazon, Line, Order, Package, money
from sandbox.journal import iso

INCLUDED = (
    "BUYER",
    "RECIPIENT",
    "PROCEEDS",
    "EXPENSE",
    "PROMOTION",
    "CANCELLATION",
    "FULFILLMENT",
    "PACKAGES",
    "TAX",
    "PAYMENT",
    "FULFILLMENT_ORDERS",
)
STATUSES = (
    "PENDING_AVAILABILITY",
    "PENDING",
    "UNSHIPPED",
    "PARTIALLY_SHIPPED",
    "SHIPPED",
    "CANCELLED",
    "UNFULFILLABLE",
)
GET_PARAMETERS = ("includedData",)
SEARCH_PARAMETERS = (
    "createdAfter",
    "createdBefore",
    "lastUpdatedAfter",
    "lastUpdatedBefore",
    "fulfillmentStatuses",
    "marketplaceIds",
    "fulfilledBy",
    "maxResultsPerPage",
    "paginationToken",
    "includedData",
)
TOKEN_LIFE_S = 86_400
_SETTLED = timedelta(minutes=2)
"""Orders younger than this are not searched yet: a window's end lies at least so long before the request."""

PEOPLE = {
    "US": (("Jordan Ellis", "Casey Morgan", "Riley Brooks"), "48 Juniper Road", "Portland", "OR", "97205"),
    "DE": (("Mara Lindner", "Jonas Petersen", "Aylin Krüger"), "Ahornweg 12", "Köln", "", "50667"),
    "FR": (("Élise Morel", "Hugo Lambert", "Inès Garnier"), "9 rue des Tilleuls", "Lyon", "", "69003"),
    "JP": (("佐藤 健", "鈴木 葵", "高橋 凛"), "桜町 2-7-1", "千代田区", "東京都", "100-0001"),
}


def get(amazon: Amazon, account: Account, order_id: str, query: Query) -> dict[str, Any]:
    """{"order"}; 404 for an order of nobody or of another account."""
    included = set(query.csv("includedData", among=INCLUDED))
    return {"order": _shown(find(amazon, account, order_id), included)}


def find(amazon: Amazon, account: Account, order_id: str) -> Order:
    order = amazon.orders.get(order_id)
    if order is None or order.account is not account:
        raise not_found(f"Order '{order_id}' does not exist.")
    return order


def search(amazon: Amazon, account: Account, query: Query) -> dict[str, Any]:
    """One page, oldest first by the window's own time, and the window's end."""
    size = query.count("maxResultsPerPage", 1, 100, 100)
    included = set(query.csv("includedData", among=INCLUDED))
    statuses = query.csv("fulfillmentStatuses", among=STATUSES)
    parties = query.csv("fulfilledBy", among=("MERCHANT", "AMAZON"))
    marketplace_ids = _marketplace_ids(query, account)
    family, after, before = _window(amazon, query)
    bound = query.digest(without=["paginationToken", "includedData", "maxResultsPerPage"])
    token = _token(amazon, account, query, bound)
    start = ("", "")
    if token:
        before, start = datetime.fromisoformat(token["before"]), (token["at"], token["id"])

    def time(order: Order) -> datetime:
        return order.created_at if family == "created" else order.updated_at

    found = sorted(
        (
            order
            for order in amazon.orders.values()
            if order.account is account
            and after <= time(order) <= before
            and (not statuses or order.status in statuses)
            and (not parties or order.fulfilled_by in parties)
            and (not marketplace_ids or MARKETPLACES[order.marketplace].id in marketplace_ids)
            and (time(order).isoformat(timespec="microseconds"), order.id) > start
        ),
        key=lambda order: (time(order), order.id),
    )
    page = found[:size]
    answer: dict[str, Any] = {"orders": [_shown(order, included) for order in page]}
    if len(found) > size:
        contents = {
            "to": "orders",
            "of": account.seller,
            "for": bound,
            "before": before.isoformat(),
            "at": time(page[-1]).isoformat(timespec="microseconds"),
            "id": page[-1].id,
            "until": amazon.clock.seconds() + TOKEN_LIFE_S,
        }
        answer["pagination"] = {"nextToken": seal(contents)}
    answer[f"{family}Before"] = iso(before)
    return answer


def _marketplace_ids(query: Query, account: Account) -> list[str]:
    ids = query.csv("marketplaceIds", most=50)
    if strange := [one for one in ids if one not in ALL_IDS]:
        raise query.wrong(f"'{strange[0]}' is not a marketplace.")
    own = {MARKETPLACES[code].id for code in account.marketplaces}
    if any(one not in own for one in ids):
        raise denied()
    return ids


def _window(amazon: Amazon, query: Query) -> tuple[str, datetime, datetime]:
    """("created" or "lastUpdated", after, before); exactly one family, its end two minutes ago at the latest."""
    families = [name for name in ("created", "lastUpdated") if query.has(f"{name}After") or query.has(f"{name}Before")]
    afters = [query.instant(f"{name}After") for name in families]
    after = afters[0] if len(afters) == 1 else None
    if after is None:
        raise invalid("Exactly one of 'createdAfter' and 'lastUpdatedAfter' is required, and no mixing of the two.")
    family = families[0]
    latest = amazon.clock.now() - _SETTLED
    before = query.instant(f"{family}Before")
    if before and before < after:
        raise query.wrong(f"'{family}Before' must be equal to or after '{family}After'.")
    if before and before > latest:
        raise query.wrong(f"'{family}Before' must be at least two minutes before the time of the request.")
    return family, after, before or latest


def _token(amazon: Amazon, account: Account, query: Query, bound: str) -> dict[str, Any] | None:
    text = query.text("paginationToken")
    if text is None:
        return None
    contents = unseal(text)
    if contents is None or contents.get("to") != "orders" or contents["of"] != account.seller:
        raise query.wrong("'paginationToken' is invalid.")
    if amazon.clock.seconds() >= contents["until"]:
        raise query.wrong("'paginationToken' has expired.")
    if contents["for"] != bound:
        raise query.wrong("'paginationToken' belongs to a request with other parameters.")
    return contents


def _shown(order: Order, included: set[str]) -> dict[str, Any]:
    """An order with the data sets asked for; ids, times, channel and items are always there."""
    place = MARKETPLACES[order.marketplace]
    channel = {"channelName": order.channel, "marketplaceId": place.id, "marketplaceName": place.name}
    shown: dict[str, Any] = {
        "orderId": order.id,
        "orderAliases": [{"aliasId": order.sellers_id, "aliasType": "SELLER_ORDER_ID"}],
        "createdTime": iso(order.created_at),
        "lastUpdatedTime": iso(order.updated_at),
        "programs": list(order.programs),
        "salesChannel": channel,
        "orderItems": [_item(order, line, included) for line in order.lines],
    }
    priced = all(line.unit_price is not None for line in order.lines)
    released = order.status not in ("PENDING", "PENDING_AVAILABILITY")
    if "BUYER" in included and released:
        shown["buyer"] = _buyer(order)
    if "RECIPIENT" in included and released:
        shown["recipient"] = _recipient(order)
    if "PROCEEDS" in included and priced:
        shown["proceeds"] = _proceeds(order)
    if "PAYMENT" in included and priced:
        payment = {"paymentMethod": "CreditCard", "paymentAmount": _money(_total(order), order)}
        shown["payment"] = {"paymentExecutions": [payment]}
    if "FULFILLMENT" in included:
        shown["fulfillment"] = _fulfillment(order)
    if "PACKAGES" in included and order.fulfilled_by == "MERCHANT":
        shown["packages"] = [_package(package) for package in order.visible.values()]
    return shown


def _item(order: Order, line: Line, included: set[str]) -> dict[str, Any]:
    product: dict[str, Any] = {
        "asin": line.product.asin,
        "title": line.product.title,
        "sellerSku": line.product.sku,
        "condition": {"conditionType": "NEW", "conditionSubtype": "NEW"},
    }
    if line.unit_price is not None:
        product["price"] = {"unitPrice": _money(line.unit_price, order)}
    item: dict[str, Any] = {"orderItemId": line.id, "quantityOrdered": line.quantity, "product": product}
    if "PROCEEDS" in included and line.unit_price is not None:
        parts = _parts(order, line)
        taxes = [{"subtype": name, "value": _money(tax, order)} for name, (_, tax) in parts.items()]
        whole = sum((tax for _, tax in parts.values()), Decimal(0))
        item["proceeds"] = {
            "proceedsTotal": _money(_gross(order, line), order),
            "breakdowns": [
                *({"type": name, "subtotal": _money(net, order)} for name, (net, _) in parts.items()),
                {"type": "TAX", "subtotal": _money(whole, order), "detailedBreakdowns": taxes},
            ],
        }
    if "FULFILLMENT" in included:
        shipped = order.shipped(line)
        over = order.status in ("CANCELLED", "UNFULFILLABLE")
        item["fulfillment"] = {
            "quantityFulfilled": shipped,
            "quantityUnfulfilled": 0 if over else line.quantity - shipped,
        }
    if "CANCELLATION" in included and order.status == "CANCELLED":
        item["cancellation"] = {"cancellationExecution": {"cancelledBy": order.cancelled_by}}
    elif "CANCELLATION" in included and order.cancellation_wanted:
        item["cancellation"] = {"cancellationRequest": {"requester": "BUYER", "cancelReason": "Bought by mistake"}}
    return item


def _gross(order: Order, line: Line) -> Decimal:
    return sum((net + tax for net, tax in _parts(order, line).values()), Decimal(0))


def _parts(order: Order, line: Line) -> dict[str, tuple[Decimal, Decimal]]:
    """By type: without its tax, and the tax."""
    return {"ITEM": net_and_tax(order, line)} | {name: split(order, shown) for name, shown in line.extras.items()}


def _total(order: Order) -> Decimal:
    return sum((_gross(order, line) for line in order.lines), Decimal(0))


def _proceeds(order: Order) -> dict[str, Any]:
    sums: dict[str, Decimal] = {}
    for line in order.lines:
        for name, (net, tax) in _parts(order, line).items():
            sums[name] = sums.get(name, Decimal(0)) + net
            sums["TAX"] = sums.get("TAX", Decimal(0)) + tax
    breakdowns = [{"type": name, "subtotal": _money(amount, order)} for name, amount in sums.items()]
    return {"grandTotal": _money(_total(order), order), "breakdowns": breakdowns}


def _money(amount: Decimal, order: Order) -> dict[str, str]:
    return {
        "amount": str(money(amount, order.marketplace)),
        "currencyCode": MARKETPLACES[order.marketplace].currency,
    }


def _fulfillment(order: Order) -> dict[str, Any]:
    days = {"NEXT_DAY": 1, "SECOND_DAY": 2, "EXPEDITED": 3}.get(order.service_level, 5)
    ship_by = order.created_at + order.ship_within
    return {
        "fulfillmentStatus": order.status,
        "fulfilledBy": order.fulfilled_by,
        "fulfillmentServiceLevel": order.service_level,
        "shipByWindow": {"earliestDateTime": iso(order.created_at), "latestDateTime": iso(ship_by)},
        "deliverByWindow": {
            "earliestDateTime": iso(order.created_at + timedelta(days=days)),
            "latestDateTime": iso(ship_by + timedelta(days=days)),
        },
    }


def _package(package: Package) -> dict[str, Any]:
    return {
        "packageReferenceId": package.reference,
        "createdTime": iso(package.created_at),
        "packageStatus": {"status": "SHIPPED"},
        "carrier": package.carrier,
        "shipTime": iso(package.shipped_at),
        "shippingService": package.service,
        "trackingNumber": package.tracking,
        "packageItems": [{"orderItemId": item, "quantity": units} for item, units in package.items.items()],
    }


def _buyer(order: Order) -> dict[str, Any]:
    """Invented people; the address of Amazon's relay only for merchant-fulfilled orders that are not cancelled."""
    if DELIVERY in order.account.lacking:
        return {}
    names = PEOPLE[order.marketplace][0]
    buyer = {"buyerName": order.person.get("name") or names[order.buyer % len(names)]}
    if order.fulfilled_by == "MERCHANT" and order.status in ("UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED"):
        buyer["buyerEmail"] = order.person.get("email") or f"buyer{order.buyer:06d}@marketplace.example"
    return buyer


def _recipient(order: Order) -> dict[str, Any]:
    names, street, city, state, postal_code = PEOPLE[order.marketplace]
    address = {
        "city": city,
        "stateOrRegion": state,
        "postalCode": postal_code,
        "countryCode": order.marketplace,
        "addressType": "RESIDENTIAL",
    }
    if DELIVERY in order.account.lacking:
        # What is told of the place is nobody's yet.
        del address["postalCode"]
        return {"deliveryAddress": address}
    if order.fulfilled_by == "MERCHANT":
        address = {"name": names[order.buyer % len(names)], "addressLine1": street, **address}
        address |= {name: told for name, told in order.person.items() if name != "email"}
    return {"deliveryAddress": address}


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    path = "/orders/2026-01-01/orders"

    def found(asked: Asked) -> dict[str, Any]:
        return search(amazon, asked.account, asked.query)

    def one(asked: Asked) -> dict[str, Any]:
        return get(amazon, asked.account, asked.path["orderId"], asked.query)

    return [
        Operation("searchOrders", "GET", path, found, SEARCH_PARAMETERS),
        Operation("getOrder", "GET", path + "/{orderId}", one, GET_PARAMETERS),
    ]
