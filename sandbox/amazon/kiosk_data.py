"""What Data Kiosk can be asked for here: sales and economics of the world's own orders. Days are those of UTC.

Of the published datasets those fields are served that follow from orders, parcels and refunds. Traffic, claims, feedback,
advertising and costs of the seller's are unknown to this world, and a query of them is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from graphql import build_schema

from sandbox.amazon.auth import Account
from sandbox.amazon.inventory import fn_sku
from sandbox.amazon.marketplaces import BY_ID, MARKETPLACES
from sandbox.amazon.money_flow import account_flows, net_and_tax
from sandbox.amazon.state import Amazon, number
from sandbox.world import Product

_KEPT = timedelta(days=2 * 365)
_FEES = {"REFERRAL_FEE": "Referral fees", "FBA_FEE": "FBA fulfillment fees"}

SCHEMA = build_schema(
    """
    scalar Date
    scalar Long
    enum AsinGranularity { CHILD PARENT SKU }
    enum DateGranularity { DAY WEEK MONTH }
    enum EconomicsDate { DAY WEEK MONTH RANGE }
    enum ProductIdentifierGranularity { CHILD_ASIN MSKU PARENT_ASIN }
    input EconomicsAggregation { date: EconomicsDate, productId: ProductIdentifierGranularity }

    type Query {
      analytics_salesAndTraffic_2024_04_24: SalesAndTraffic
      analytics_economics_2024_03_15: EconomicsData
    }
    type SalesAndTraffic {
      salesAndTrafficByDate(
        aggregateBy: DateGranularity!, startDate: Date!, endDate: Date!, marketplaceIds: [String!]!
      ): [ByDate]
      salesAndTrafficByAsin(
        aggregateBy: AsinGranularity!, startDate: Date!, endDate: Date!, marketplaceIds: [String!]!
      ): [ByAsin]
    }
    type EconomicsData {
      economics(
        aggregateBy: EconomicsAggregation, startDate: Date!, endDate: Date!, marketplaceIds: [String!]!
      ): [Economics]
    }
    type Amount { amount: Float!, currencyCode: String! }
    type ByDate { startDate: Date!, endDate: Date!, marketplaceId: String!, sales: DateSales! }
    type DateSales {
      orderedProductSales: Amount!, unitsOrdered: Long!, totalOrderItems: Long!, averageSellingPrice: Amount!
      averageSalesPerOrderItem: Amount!, averageUnitsPerOrderItem: Float!, shippedProductSales: Amount!
      unitsShipped: Long!, ordersShipped: Long!, unitsRefunded: Long!, refundRate: Float!
    }
    type ByAsin {
      startDate: Date!, endDate: Date!, marketplaceId: String!, parentAsin: String!, childAsin: String, sku: String
      sales: AsinSales!
    }
    type AsinSales {
      orderedProductSales: Amount!, unitsOrdered: Long!, totalOrderItems: Long!, shippedProductSales: Amount!
      unitsShipped: Long!, ordersShipped: Long!, unitsRefunded: Long!, refundRate: Float!
    }
    type Economics {
      startDate: Date!, endDate: Date!, marketplaceId: String!, parentAsin: String!, childAsin: String, msku: String
      fnsku: String, sales: EconomicsSales!, fees: [FeeSummary]!, netProceeds: NetProceeds!
    }
    type EconomicsSales {
      orderedProductSales: Amount!, refundedProductSales: Amount!, netProductSales: Amount!, unitsOrdered: Long!
      unitsRefunded: Long!, netUnitsSold: Long!, averageSellingPrice: Amount
    }
    type FeeSummary { feeTypeName: String!, charges: [Fee] }
    type Fee { aggregatedDetail: AggregatedDetail! }
    type AggregatedDetail { amount: Amount!, promotionAmount: Amount!, taxAmount: Amount!, totalAmount: Amount! }
    type NetProceeds { total: Amount, perUnit: Amount }
    """
)
Span = tuple[date, date]


@dataclass(slots=True)
class Tally:
    """What was ordered, sent and given back. Sales are without tax; fees are what Amazon took, above 0."""

    ordered: Decimal = Decimal(0)
    ordered_units: int = 0
    items: int = 0
    shipped: Decimal = Decimal(0)
    shipped_units: int = 0
    orders: set[str] = field(default_factory=set)
    refunded: Decimal = Decimal(0)
    refunded_units: int = 0
    fees: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose query it is; the context of an execution."""

    amazon: Amazon
    account: Account


def tallies(asker: Asker, code: str, key: Callable[[date, Product], Any]) -> dict[Any, Tally]:
    """By `key` of the day and the product; what has the key None is left out."""
    found: dict[Any, Tally] = {}

    def of(at: datetime, product: Product) -> Tally | None:
        named = key(at.date(), product)
        return None if named is None else found.setdefault(named, Tally())

    for order in asker.amazon.orders.values():
        mine = order.account is asker.account and order.marketplace == code and order.channel == "AMAZON"
        for line in order.lines if mine and order.status != "CANCELLED" else ():
            if line.unit_price is not None and (tally := of(order.created_at, line.product)):
                tally.ordered += net_and_tax(order, line)[0]
                tally.ordered_units += line.quantity
                tally.items += 1
    for flow in account_flows(asker.amazon, asker.account):
        for part in flow.lines if flow.order.marketplace == code and flow.order.channel == "AMAZON" else ():
            tally = of(flow.posted_at, part.line.product)
            if tally is None:
                continue
            principal = part.parts.get("PRINCIPAL", Decimal(0))
            if flow.kind == "SHIPMENT":
                tally.shipped += principal
                tally.shipped_units += part.units
                tally.orders.add(flow.order.id)
            else:
                tally.refunded -= principal
                tally.refunded_units += part.units
            for name, amount in part.parts.items():
                if name in ("REFERRAL_FEE", "REFUND_FEE", "FBA_FEE"):
                    fee = "FBA_FEE" if name == "FBA_FEE" else "REFERRAL_FEE"
                    tally.fees[fee] = tally.fees.get(fee, Decimal(0)) - amount
    return found


def spans(start: date, end: date, granularity: str) -> list[Span]:
    """The whole days, weeks (from Sunday) or months within the dates; RANGE is all of it."""
    if granularity == "RANGE":
        return [(start, end)]
    found: list[Span] = []
    first = start
    while first <= end:
        last = _last_of(first, granularity)
        whole = granularity == "DAY" or _last_of(first - timedelta(days=1), granularity) < first
        if whole and last <= end:
            found.append((first, last))
        first = last + timedelta(days=1)
    return found


def _last_of(day: date, granularity: str) -> date:
    if granularity == "WEEK":
        return day + timedelta(days=(5 - day.weekday()) % 7)
    if granularity == "MONTH":
        return (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return day


def _span_of(found: list[Span], day: date) -> Span | None:
    return next((span for span in found if span[0] <= day <= span[1]), None)


def _amount(amount: Decimal, code: str) -> dict[str, Any]:
    return {"amount": number(amount, code), "currencyCode": MARKETPLACES[code].currency}


def _per(amount: Decimal, count: int) -> Decimal:
    return amount / count if count else Decimal(0)


def _sales(tally: Tally, code: str) -> dict[str, Any]:
    return {
        "orderedProductSales": _amount(tally.ordered, code),
        "unitsOrdered": tally.ordered_units,
        "totalOrderItems": tally.items,
        "averageSellingPrice": _amount(_per(tally.ordered, tally.ordered_units), code),
        "averageSalesPerOrderItem": _amount(_per(tally.ordered, tally.items), code),
        "averageUnitsPerOrderItem": float(round(_per(Decimal(tally.ordered_units), tally.items), 2)),
        "shippedProductSales": _amount(tally.shipped, code),
        "unitsShipped": tally.shipped_units,
        "ordersShipped": len(tally.orders),
        "unitsRefunded": tally.refunded_units,
        "refundRate": float(round(_per(Decimal(100 * tally.refunded_units), tally.ordered_units), 2)),
    }


def _economics(tally: Tally, code: str) -> dict[str, Any]:
    net, units = tally.ordered - tally.refunded, tally.ordered_units - tally.refunded_units
    proceeds = net - sum(tally.fees.values(), Decimal(0))
    none = _amount(Decimal(0), code)
    return {
        "sales": {
            "orderedProductSales": _amount(tally.ordered, code),
            "refundedProductSales": _amount(tally.refunded, code),
            "netProductSales": _amount(net, code),
            "unitsOrdered": tally.ordered_units,
            "unitsRefunded": tally.refunded_units,
            "netUnitsSold": units,
            "averageSellingPrice": _amount(_per(tally.ordered, tally.ordered_units), code),
        },
        "fees": [
            {
                "feeTypeName": _FEES[fee],
                "charges": [
                    {
                        "aggregatedDetail": {
                            "amount": _amount(amount, code),
                            "promotionAmount": none,
                            "taxAmount": none,
                            "totalAmount": _amount(amount, code),
                        }
                    }
                ],
            }
            for fee, amount in sorted(tally.fees.items())
        ],
        "netProceeds": {"total": _amount(proceeds, code), "perUnit": _amount(_per(proceeds, units), code)},
    }


@dataclass(frozen=True, slots=True)
class Window:
    """The arguments that all datasets have; `codes` are the marketplaces."""

    start: date
    end: date
    codes: list[str]

    @classmethod
    def of(cls, asker: Asker, given: dict[str, Any]) -> "Window":
        """ValueError, with Amazon's reason, for a query that cannot be answered."""
        start, end = date.fromisoformat(given["startDate"]), date.fromisoformat(given["endDate"])
        if start > end:
            raise ValueError("The start date is after the end date.")
        if start < (asker.amazon.clock.now() - _KEPT).date():
            raise ValueError("The start date is more than two years ago.")
        codes = [BY_ID[one].code for one in given["marketplaceIds"] if one in BY_ID]
        if len(codes) < len(given["marketplaceIds"]) or any(code not in asker.account.marketplaces for code in codes):
            raise ValueError("The seller does not sell in all of the marketplaces.")
        return cls(start, end, codes)


def _place(span: Span, code: str) -> dict[str, str]:
    first, last = span
    return {"startDate": first.isoformat(), "endDate": last.isoformat(), "marketplaceId": MARKETPLACES[code].id}


def _by_date(asker: Asker, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    window = Window.of(asker, given)
    periods = spans(window.start, window.end, given["aggregateBy"])
    for code in window.codes:
        found = tallies(asker, code, lambda day, _: _span_of(periods, day))
        for span in periods:
            yield {**_place(span, code), "sales": _sales(found.get(span, Tally()), code)}


def _by_asin(asker: Asker, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    window = Window.of(asker, given)
    depth = {"PARENT": 1, "CHILD": 2, "SKU": 3}[given["aggregateBy"]]
    for code in window.codes:
        for (span, ids), tally in _by_product(asker, code, [(window.start, window.end)], depth):
            named = dict(zip(("parentAsin", "childAsin", "sku"), ids, strict=False))
            yield {**_place(span, code), **named, "sales": _sales(tally, code)}


def _economics_of(asker: Asker, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    window = Window.of(asker, given)
    chosen = {"date": "RANGE", "productId": "MSKU", **(given.get("aggregateBy") or {})}
    depth = {"PARENT_ASIN": 1, "CHILD_ASIN": 2, "MSKU": 4}[chosen["productId"]]
    for code in window.codes:
        periods = spans(window.start, window.end, chosen["date"])
        for (span, ids), tally in _by_product(asker, code, periods, depth):
            named = dict(zip(("parentAsin", "childAsin", "msku", "fnsku"), ids, strict=False))
            yield {**_place(span, code), **named, **_economics(tally, code)}


def _by_product(
    asker: Asker, code: str, periods: list[Span], depth: int
) -> list[tuple[tuple[Span, tuple[str, ...]], Tally]]:
    """By period and the first `depth` ids of a product: parent ASIN, ASIN, SKU, FNSKU; in this order."""

    def key(day: date, product: Product) -> tuple[Span, tuple[str, ...]] | None:
        span = _span_of(periods, day)
        ids = (asker.amazon.world.parent_asin(product.style), product.asin, product.sku, fn_sku(product))
        return None if span is None else (span, ids[:depth])

    return sorted(tallies(asker, code, key).items(), key=lambda one: one[0])


def _answered(do: Callable[[Asker, dict[str, Any]], Iterator[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    def resolved(_: object, info: Any, **given: Any) -> list[dict[str, Any]]:
        return list(do(info.context, given))

    return resolved


for _type, _field, _resolve in (
    ("SalesAndTraffic", "salesAndTrafficByDate", _answered(_by_date)),
    ("SalesAndTraffic", "salesAndTrafficByAsin", _answered(_by_asin)),
    ("EconomicsData", "economics", _answered(_economics_of)),
    ("Query", "analytics_salesAndTraffic_2024_04_24", lambda *_: {}),
    ("Query", "analytics_economics_2024_03_15", lambda *_: {}),
):
    SCHEMA.type_map[_type].fields[_field].resolve = _resolve  # type: ignore[attr-defined]
