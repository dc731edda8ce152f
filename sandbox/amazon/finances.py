"""Finances 2024-06-19: listTransactions, out of the money of the sandbox's own orders.

A transaction of each third order shows only 40 hours after it was posted. What is held back comes first as DEFERRED; once it is
released it says DEFERRED_RELEASED and a second one that is RELEASED stands beside it, each naming the other. Each second page
is empty, and page tokens live for an hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from starlette.routing import BaseRoute, Route

from sandbox.amazon import desk
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import broken, denied
from sandbox.amazon.marketplaces import ALL_IDS, BY_ID, MARKETPLACES
from sandbox.amazon.money_flow import Flow, LineFlow, Part, account_flows, all_flows, overdrawn, period
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.return_rows import CONDITIONS
from sandbox.amazon.state import Amazon, Order, Refund, number
from sandbox.control import answer
from sandbox.journal import iso

PARAMETERS = (
    "postedAfter",
    "postedBefore",
    "marketplaceId",
    "transactionStatus",
    "relatedIdentifierName",
    "relatedIdentifierValue",
    "nextToken",
)
PAGE = 50
TOKEN_LIFE_S = 3_600
_SETTLED = timedelta(minutes=2)
_LATE = timedelta(hours=40)
_WIDEST = timedelta(days=180)
TRANSACTION_UPDATE = "TRANSACTION_UPDATE"
_STATUSES = ("DEFERRED", "RELEASED", "DEFERRED_RELEASED")

# (branch, its leaves): how the parts of a line hang in the tree.
_SALES: dict[Part, str] = {"PRINCIPAL": "ProductCharges", "TAX": "Tax", "SHIPPING": "Shipping"}
_REBATES: dict[Part, str] = {"SHIPPING_PROMOTION": "ShippingPromotion"}
_FEES: dict[Part, str] = {
    "REFERRAL_FEE": "Commission",
    "FBA_FEE": "FBAPerUnitFulfillmentFee",
    "REFUND_FEE": "RefundCommission",
}
_WITHHELD: dict[Part, str] = {"TAX_WITHHELD": "MarketplaceFacilitatorTax"}


@dataclass(frozen=True, slots=True)
class Posting:
    """One transaction: a flow under one status. `partner` is the id of its release, or of what it releases."""

    id: str
    flow: Flow
    status: str
    posted_at: datetime
    partner: str | None = None


def transactions(amazon: Amazon, account: Account, query: Query) -> dict[str, Any]:
    """One page, oldest first. A window that is wider than 180 days is empty, without a word."""
    now = amazon.clock.now()
    names = query.text("relatedIdentifierName"), query.text("relatedIdentifierValue")
    after, before = query.instant("postedAfter"), query.instant("postedBefore") or now - _SETTLED
    if any(names) and (not all(names) or names[0] not in ("ORDER_ID", "FINANCIAL_EVENT_GROUP_ID")):
        raise query.wrong("'relatedIdentifierName' is ORDER_ID or FINANCIAL_EVENT_GROUP_ID, with a value.")
    if after is None and not names[0]:
        raise query.wrong("Start date cannot be null")
    if (after and after > now - _SETTLED) or before > now - _SETTLED:
        raise query.wrong("The dates must be more than two minutes before the time of the request.")
    if after and after >= before:
        raise query.wrong("'postedBefore' must be later than 'postedAfter'.")
    status = query.one_of("transactionStatus", _STATUSES)
    place = query.text("marketplaceId")
    if place is not None and place not in ALL_IDS:
        raise query.wrong(f"'{place}' is not a marketplace.")
    if place is not None and (place not in BY_ID or BY_ID[place].code not in account.marketplaces):
        raise denied()
    bound = query.digest(without=["nextToken"])
    start, number = _start(amazon, account, query, bound)
    if after and before - after > _WIDEST:
        return {"payload": {"transactions": []}}
    found = [
        one
        for one in _postings(amazon, account)
        if (after is None or after <= one.posted_at)
        and one.posted_at < before
        and status in (None, one.status)
        and (place is None or _told_in(one.flow, place))
        and (names[0] is None or names in _related(one, now))
        and _key(one) > start
    ]
    page = [] if number % 2 else found[:PAGE]
    payload: dict[str, Any] = {"transactions": [_shown(one, now) for one in page]}
    if len(found) > len(page):
        last = _key(page[-1]) if page else start
        contents = {"to": "transactions", "of": account.seller, "for": bound, "after": last, "page": number + 1}
        payload["nextToken"] = seal({**contents, "until": amazon.clock.seconds() + TOKEN_LIFE_S})
    return {"payload": payload}


def refund(amazon: Amazon, body: dict[str, Any]) -> dict[str, Any]:
    """A buyer gets money back for units that have been shipped."""
    if not {"order", "lines"} <= set(body) <= {"order", "lines", "condition"}:
        raise ValueError('send "order", an id, and "lines", each with its "id" and a "quantity"')
    condition = body.get("condition", CONDITIONS[0])
    if condition not in (None, *CONDITIONS):
        raise ValueError(f'"condition" is one of {", ".join(CONDITIONS)}, or null for units that do not come back')
    amazon.settle()
    order = amazon.orders.get(str(body["order"]))
    if order is None:
        raise ValueError(f"there is no order {body['order']!r}")
    lines = {line.id: line for line in order.lines}
    items: dict[str, int] = {}
    for entry in desk.entries_of(body, "lines"):
        line, units = lines.get(str(entry.get("id"))), entry.get("quantity")
        if line is None or isinstance(units, bool) or not isinstance(units, int) or units < 1 or line.id in items:
            raise ValueError(f"{entry!r} is no line of the order with a quantity of 1 or more")
        left = order.shipped(line) - sum(one.items.get(line.id, 0) for one in order.refunds)
        if units > left:
            raise ValueError(f"{left} units of {line.id} can be refunded, not {units}")
        items[line.id] = units
    if not give_back(amazon, order, Refund(amazon.clock.now(), items, condition)):
        raise ValueError("that is more than is left of what was paid")
    amazon.journal.effect("state", order.id, {"refunded": items})
    return {"order": order.id, "refunds": len(order.refunds)}


def give_back(amazon: Amazon, order: Order, made: Refund) -> bool:
    """Refund, and tell of it; False, and nothing happens, where that is more than was paid."""
    order.refunds.append(made)
    if overdrawn(order):
        order.refunds.remove(made)
        return False
    follow(amazon, order)
    return True


def break_tokens(amazon: Amazon, body: dict[str, Any]) -> dict[str, int]:
    """The next `count` calls with a page token fail with 500."""
    count = body.get("count")
    if set(body) != {"count"} or isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError('send "count", a whole number of 0 or more')
    amazon.broken_page_tokens = count
    return {"count": count}


def _start(amazon: Amazon, account: Account, query: Query, bound: str) -> tuple[list[str], int]:
    """The key after which the page begins, and its number."""
    token = query.text("nextToken")
    if token is None:
        return ["", ""], 0
    if amazon.broken_page_tokens:
        amazon.broken_page_tokens -= 1
        raise broken(500)
    contents = unseal(token)
    if contents is None or contents.get("to") != "transactions" or contents["of"] != account.seller:
        raise query.wrong("'nextToken' is invalid.")
    if amazon.clock.seconds() >= contents["until"]:
        raise query.wrong("Time to live (TTL) exceeded")
    if contents["for"] != bound:
        raise query.wrong("'nextToken' belongs to a request with other parameters.")
    return contents["after"], contents["page"]


def _postings(amazon: Amazon, account: Account) -> list[Posting]:
    """All that shows by now."""
    now = amazon.clock.now()
    found = [one for flow in account_flows(amazon, account) for one in _of(flow, now)]
    return sorted(found, key=_key)


@dataclass(slots=True)
class _Followed:
    """The ids of the transactions that were told, will be, or were there before anybody wanted to know."""

    ids: set[str] = field(default_factory=set)


def follow(amazon: Amazon, order: Order, *, anew: bool = False) -> None:
    """TRANSACTION_UPDATE: tell of what an order has brought and will bring, each transaction when it shows, what is held back
    once more when it is released. `anew` leaves out what shows already: the seller has only now subscribed."""
    if not amazon.notices.wanted(order.account.seller, TRANSACTION_UPDATE):
        return
    known: _Followed = amazon.areas.setdefault(_Followed, _Followed())
    now = amazon.clock.now()
    for flow in all_flows(order):
        moments = {flow.id: _shows(flow)}
        if flow.deferred:
            moments[_release(flow)] = max(flow.released_at, _shows(flow))
        for id, at in moments.items():
            if id not in known.ids and not (anew and at <= now):
                amazon.later(partial(_tell, amazon, order, id, at), max(0.0, (at - now).total_seconds()))
            known.ids.add(id)


def _tell(amazon: Amazon, order: Order, id: str, at: datetime) -> None:
    now = max(at, amazon.clock.now())
    one = next(one for flow in all_flows(order) for one in _of(flow, now) if one.id == id)
    shown = _shown(one, now)
    told = {
        "SellingPartnerMetadata": _pascal(shown["sellingPartnerMetadata"]),
        "RelatedIdentifiers": [_pascal(each) for each in shown["relatedIdentifiers"]],
        "TransactionType": shown["transactionType"],
        "PostedDate": shown["postedDate"],
        "TotalAmount": _pascal(shown["totalAmount"]),
    }
    amazon.notices.tell(order.account.seller, TRANSACTION_UPDATE, {"TransactionUpdateNotification": told})


def _pascal(body: dict[str, Any]) -> dict[str, Any]:
    return {name[0].upper() + name[1:]: value for name, value in body.items()}


def _shows(flow: Flow) -> datetime:
    return flow.posted_at + (_LATE if flow.order.buyer % 3 == 0 else timedelta())


def _release(flow: Flow) -> str:
    return f"{flow.id}R"


def _of(flow: Flow, now: datetime) -> Iterator[Posting]:
    if now < _shows(flow):
        return
    release = _release(flow)
    if not flow.deferred:
        yield Posting(flow.id, flow, "RELEASED", flow.posted_at)
    elif now < flow.released_at:
        yield Posting(flow.id, flow, "DEFERRED", flow.posted_at)
    else:
        yield Posting(flow.id, flow, "DEFERRED_RELEASED", flow.posted_at, release)
        yield Posting(release, flow, "RELEASED", flow.released_at, flow.id)


def _key(one: Posting) -> list[str]:
    return [one.posted_at.isoformat(timespec="microseconds"), one.id]


def _told_in(flow: Flow, place: str) -> bool:
    """Asked by marketplace, orders that the merchant ships in the US are left out, as at Amazon."""
    order = flow.order
    return MARKETPLACES[order.marketplace].id == place and (order.marketplace, order.fulfilled_by) != ("US", "MERCHANT")


def _related(one: Posting, now: datetime) -> list[tuple[str, str]]:
    flow = one.flow
    found = [("ORDER_ID", flow.order.id)]
    found.append(("SHIPMENT_ID" if flow.kind == "SHIPMENT" else "REFUND_ID", flow.reference))
    if one.status == "DEFERRED_RELEASED" and one.partner:
        found.append(("RELEASE_TRANSACTION_ID", one.partner))
    if one.status == "RELEASED":
        paid = period(flow.order.account, flow.order.marketplace, flow.released_at)
        found.append(("FINANCIAL_EVENT_GROUP_ID", paid.group))
        if paid.end <= now:
            found.append(("SETTLEMENT_ID", paid.id))
        if one.partner:
            found.append(("DEFERRED_TRANSACTION_ID", one.partner))
    return found


def _shown(one: Posting, now: datetime) -> dict[str, Any]:
    flow = one.flow
    order, place = flow.order, MARKETPLACES[flow.order.marketplace]
    shown: dict[str, Any] = {
        "sellingPartnerMetadata": {
            "sellingPartnerId": order.account.seller,
            "accountType": "Standard Orders",
            "marketplaceId": place.id,
        },
        "relatedIdentifiers": [
            {"relatedIdentifierName": name, "relatedIdentifierValue": value} for name, value in _related(one, now)
        ],
        "transactionType": "Shipment" if flow.kind == "SHIPMENT" else "Refund",
        "transactionId": one.id,
        "transactionStatus": one.status,
        "description": "Order Payment" if flow.kind == "SHIPMENT" else "Refund Order",
        "postedDate": iso(one.posted_at),
        "totalAmount": _money(flow.total, flow),
        "marketplaceDetails": {"marketplaceId": place.id, "marketplaceName": place.name},
        "items": [_item(line, flow) for line in flow.lines],
        "breakdowns": _tree(_summed(flow.lines), flow),
    }
    if one.status != "RELEASED":
        reason = "B2B" if "AMAZON_BUSINESS" in order.programs else "DD7"
        held = {"contextType": "DeferredContext", "deferralReason": reason, "maturityDate": iso(flow.released_at)}
        shown["contexts"] = [held]
    return shown


def _item(line: LineFlow, flow: Flow) -> dict[str, Any]:
    product = line.line.product
    about = {
        "contextType": "ProductContext",
        "asin": product.asin,
        "sku": product.sku,
        "quantityShipped": line.units,
        "fulfillmentNetwork": "AFN" if flow.order.fulfilled_by == "AMAZON" else "MFN",
    }
    shown: dict[str, Any] = {
        "description": product.titles["en"],
        "totalAmount": _money(line.total, flow),
        "breakdowns": _tree(line.parts, flow),
        "contexts": [about],
    }
    if flow.kind == "REFUND":
        name = "ORDER_ADJUSTMENT_ITEM_ID"
        value = f"{flow.reference}{line.line.id[-4:]}"
        shown["relatedIdentifiers"] = [{"itemRelatedIdentifierName": name, "itemRelatedIdentifierValue": value}]
    return shown


def _summed(lines: tuple[LineFlow, ...]) -> dict[Part, Decimal]:
    total: dict[Part, Decimal] = {}
    for line in lines:
        for part, amount in line.parts.items():
            total[part] = total.get(part, Decimal(0)) + amount
    return total


def _tree(parts: dict[Part, Decimal], flow: Flow) -> list[dict[str, Any]]:
    """Sales, promotions and expenses; Amazon's fees are a branch of the expenses."""
    expenses = _branch("AmazonFees", _leaves(_FEES, parts, flow), flow) + _leaves(_WITHHELD, parts, flow)
    return [
        *_branch("Sales", _leaves(_SALES, parts, flow), flow),
        *_branch("PromotionalRebates", _leaves(_REBATES, parts, flow), flow),
        *_branch("Expenses", expenses, flow),
    ]


def _leaves(names: dict[Part, str], parts: dict[Part, Decimal], flow: Flow) -> list[dict[str, Any]]:
    return [
        {"breakdownType": name, "breakdownAmount": _money(parts[part], flow)}
        for part, name in names.items()
        if part in parts
    ]


def _branch(name: str, below: list[dict[str, Any]], flow: Flow) -> list[dict[str, Any]]:
    if not below:
        return []
    total = sum((Decimal(str(one["breakdownAmount"]["currencyAmount"])) for one in below), Decimal(0))
    return [{"breakdownType": name, "breakdownAmount": _money(total, flow), "breakdowns": below}]


def _money(amount: Decimal, flow: Flow) -> dict[str, Any]:
    code = flow.order.marketplace
    return {"currencyCode": MARKETPLACES[code].currency, "currencyAmount": number(amount, code)}


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    def listed(asked: Asked) -> dict[str, Any]:
        return transactions(amazon, asked.account, asked.query)

    return [Operation("listTransactions", "GET", "/finances/2024-06-19/transactions", listed, PARAMETERS)]


def routes(amazon: Amazon) -> list[BaseRoute]:
    """Refunds, and page tokens that fail."""
    return [
        Route("/refunds", answer(lambda body: refund(amazon, body)), methods=["POST"]),
        Route("/broken-page-tokens", answer(lambda body: break_tokens(amazon, body)), methods=["POST"]),
    ]
