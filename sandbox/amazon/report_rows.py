"""What stands in the reports that sellers ask for: rows of the world as it is when the report is made.

Source: SP-API documentation, "FBA Reports", "Inventory reports attributes", "Order reports attributes".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from sandbox.amazon.auth import Account
from sandbox.amazon.inventory import fn_sku, reserved_units
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.money_flow import net_and_tax
from sandbox.amazon.orders import PEOPLE
from sandbox.amazon.return_rows import (
    MERCHANT_RETURN_COLUMNS,
    REIMBURSEMENT_COLUMNS,
    RETURN_COLUMNS,
    merchant_return_rows,
    reimbursement_rows,
    return_rows,
)
from sandbox.amazon.state import LANGUAGES, Amazon, Order, money, pool_of
from sandbox.world import Product

Row = list[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is about: `marketplaces` are country codes, the range is aware."""

    account: Account
    marketplaces: tuple[str, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """One report type. Asked for again within `interval_s` it is CANCELLED; a range of more than `range_days` makes it FATAL."""

    columns: tuple[str, ...]
    rows: Callable[[Amazon, Wanted], Iterator[Row]]
    interval_s: float = 0.0
    range_days: int | None = None


STOCK_COLUMNS = (
    "sku",
    "fnsku",
    "asin",
    "product-name",
    "condition",
    "your-price",
    "mfn-listing-exists",
    "mfn-fulfillable-quantity",
    "afn-listing-exists",
    "afn-warehouse-quantity",
    "afn-fulfillable-quantity",
    "afn-unsellable-quantity",
    "afn-reserved-quantity",
    "afn-total-quantity",
    "per-unit-volume",
    "afn-inbound-working-quantity",
    "afn-inbound-shipped-quantity",
    "afn-inbound-receiving-quantity",
    "afn-researching-quantity",
    "afn-reserved-future-supply",
    "afn-future-supply-buyable",
)
LISTING_COLUMNS = (
    "item-name",
    "item-description",
    "listing-id",
    "seller-sku",
    "price",
    "quantity",
    "open-date",
    "image-url",
    "item-is-marketplace",
    "product-id-type",
    "zshop-shipping-fee",
    "item-note",
    "item-condition",
    "zshop-category1",
    "zshop-browse-path",
    "zshop-storefront-feature",
    "asin1",
    "asin2",
    "asin3",
    "will-ship-internationally",
    "expedited-shipping",
    "zshop-boldface",
    "product-id",
    "bid-for-featured-placement",
    "add-delete",
    "pending-quantity",
    "fulfillment-channel",
    "merchant-shipping-group",
    "status",
)
ORDER_COLUMNS = (
    "amazon-order-id",
    "merchant-order-id",
    "purchase-date",
    "last-updated-date",
    "order-status",
    "fulfillment-channel",
    "sales-channel",
    "order-channel",
    "ship-service-level",
    "product-name",
    "sku",
    "asin",
    "item-status",
    "quantity",
    "currency",
    "item-price",
    "item-tax",
    "shipping-price",
    "shipping-tax",
    "gift-wrap-price",
    "gift-wrap-tax",
    "item-promotion-discount",
    "ship-promotion-discount",
    "ship-city",
    "ship-state",
    "ship-postal-code",
    "ship-country",
    "promotion-ids",
    "is-business-order",
    "purchase-order-number",
    "price-designation",
)
AFN_COLUMNS = (
    "seller-sku",
    "fulfillment-channel-sku",
    "asin",
    "condition-type",
    "Warehouse-Condition-code",
    "Quantity Available",
)
RESERVED_COLUMNS = (
    "sku",
    "fnsku",
    "asin",
    "product-name",
    "reserved_qty",
    "reserved_customerorders",
    "reserved_fc-transfers",
    "reserved_fc-processing",
)
_STATUSES = {
    "PENDING_AVAILABILITY": "Pending",
    "PENDING": "Pending",
    "UNSHIPPED": "Unshipped",
    "PARTIALLY_SHIPPED": "Unshipped",
    "SHIPPED": "Shipped",
    "CANCELLED": "Cancelled",
    "UNFULFILLABLE": "Unfulfillable",
}


def stock_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each SKU that Amazon fulfills in the first of the marketplaces."""
    code = wanted.marketplaces[0]
    for index in _sold_in(amazon, code):
        if amazon.world.fulfilled_by(index) == "AMAZON":
            yield _stock_row(amazon, wanted.account, amazon.world.product(index), code)


def _stock_row(amazon: Amazon, account: Account, product: Product, code: str) -> Row:
    stock, _ = amazon.stock(product, pool_of(code))
    fulfillable = max(0, stock.fulfillable + amazon.disagreements.get((code, product.index), 0))
    reserved = reserved_units(stock)
    warehouse = fulfillable + stock.unfulfillable + reserved
    inbound = (stock.inbound_working, stock.inbound_shipped, stock.inbound_receiving)
    counts = (warehouse, fulfillable, stock.unfulfillable, reserved, warehouse + sum(inbound))
    named = [product.sku, fn_sku(product), product.asin, product.titles[LANGUAGES[code]], "New"]
    return [
        *named,
        _price(amazon, account, product, code),
        "No",
        "",
        "Yes",
        *map(str, counts),
        "0.01",
        *map(str, inbound),
        str(stock.researching),
        "0",
        "0",
    ]


def afn_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """What can be sold of each SKU that Amazon fulfills in the first of the marketplaces, and what of it cannot."""
    for product in _held(amazon, wanted):
        stock, _ = amazon.stock(product, pool_of(wanted.marketplaces[0]))
        named = [product.sku, fn_sku(product), product.asin, "NewItem"]
        yield [*named, "SELLABLE", str(stock.fulfillable)]
        if stock.unfulfillable:
            yield [*named, "UNSELLABLE", str(stock.unfulfillable)]


def reserved_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """Why units of it are reserved, by SKU; those without any are left out."""
    code = wanted.marketplaces[0]
    for product in _held(amazon, wanted):
        stock, _ = amazon.stock(product, pool_of(code))
        if units := reserved_units(stock):
            reasons = (stock.reserved_orders, stock.reserved_transshipment, stock.reserved_processing)
            named = [product.sku, fn_sku(product), product.asin, product.titles[LANGUAGES[code]]]
            yield [*named, str(units), *map(str, reasons)]


def _held(amazon: Amazon, wanted: Wanted) -> Iterator[Product]:
    for index in _sold_in(amazon, wanted.marketplaces[0]):
        if amazon.world.fulfilled_by(index) == "AMAZON":
            yield amazon.world.product(index)


def listing_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each SKU and marketplace. The quantity of what Amazon fulfills is blank."""
    for code in wanted.marketplaces:
        for index in _sold_in(amazon, code):
            yield _listing_row(amazon, wanted.account, amazon.world.product(index), code)


def _listing_row(amazon: Amazon, account: Account, product: Product, code: str) -> Row:
    units = amazon.merchant_units(account, product)
    ours = units is not None
    there = units if ours else amazon.stock(product, pool_of(code))[0].fulfillable
    cells = dict.fromkeys(LISTING_COLUMNS, "") | {
        "item-name": product.titles[LANGUAGES[code]],
        "listing-id": f"{amazon.world.random('listing', code, product.index).randrange(10**10):010d}",
        "seller-sku": product.sku,
        "price": _price(amazon, account, product, code),
        "quantity": str(units) if ours else "",
        "open-date": f"{amazon.listing(account, product).created_at:%Y-%m-%d %H:%M:%S} UTC",
        "item-is-marketplace": "y",
        "product-id-type": "1",
        "item-condition": "11",
        "asin1": product.asin,
        "product-id": product.asin,
        "pending-quantity": "0" if ours else "",
        "fulfillment-channel": "DEFAULT" if ours else account.fba,
        "merchant-shipping-group": "Migrated Template",
        "status": "Active" if there else "Inactive",
    }
    return list(cells.values())


def order_rows(amazon: Amazon, wanted: Wanted) -> Iterator[Row]:
    """One row for each line of the orders that changed within the range, oldest change first."""
    found = (
        order
        for order in amazon.orders.values()
        if order.account is wanted.account
        and order.marketplace in wanted.marketplaces
        and wanted.start <= order.updated_at <= wanted.end
    )
    for order in sorted(found, key=lambda order: (order.updated_at, order.id)):
        yield from _order_rows(order)


def _order_rows(order: Order) -> Iterator[Row]:
    place = MARKETPLACES[order.marketplace]
    _, _, city, state, postal_code = PEOPLE[order.marketplace]
    status = _STATUSES[order.status]
    for line in order.lines:
        net, tax = net_and_tax(order, line)
        cells = dict.fromkeys(ORDER_COLUMNS, "") | {
            "amazon-order-id": order.id,
            "merchant-order-id": order.sellers_id,
            "purchase-date": order.created_at.isoformat(timespec="seconds"),
            "last-updated-date": order.updated_at.isoformat(timespec="seconds"),
            "order-status": status,
            "fulfillment-channel": "Amazon" if order.fulfilled_by == "AMAZON" else "Merchant",
            "sales-channel": place.name if order.channel == "AMAZON" else "Non-Amazon",
            "ship-service-level": order.service_level.title().replace("_", ""),
            "product-name": line.product.titles[LANGUAGES[order.marketplace]],
            "sku": line.product.sku,
            "asin": line.product.asin,
            "item-status": "Shipped" if order.shipped(line) >= line.quantity else status,
            "quantity": str(line.quantity),
            "is-business-order": "true" if "AMAZON_BUSINESS" in order.programs else "false",
        }
        if line.unit_price is not None:
            cells |= {
                "currency": place.currency,
                "item-price": str(money(net, order.marketplace)),
                "item-tax": str(money(tax, order.marketplace)),
            }
        if status != "Pending":
            cells |= {"ship-city": city, "ship-state": state, "ship-postal-code": postal_code}
            cells["ship-country"] = order.marketplace
        yield list(cells.values())


def _sold_in(amazon: Amazon, code: str) -> Iterator[int]:
    return (index for index in range(amazon.world.size) if code in amazon.world.marketplaces_of(index))


def _price(amazon: Amazon, account: Account, product: Product, code: str) -> str:
    price = amazon.price(account, product, code)
    return "" if price is None else str(price)


# Of what Amazon's warehouses hold: told near real time, or of whole days.
_NEAR_S, _DAILY_S = 1800, 14_400
KINDS = {
    "GET_FBA_MYI_UNSUPPRESSED_INVENTORY_DATA": Kind(STOCK_COLUMNS, stock_rows, interval_s=_NEAR_S),
    "GET_AFN_INVENTORY_DATA": Kind(AFN_COLUMNS, afn_rows, interval_s=_NEAR_S),
    "GET_RESERVED_INVENTORY_DATA": Kind(RESERVED_COLUMNS, reserved_rows, interval_s=_NEAR_S),
    "GET_FBA_FULFILLMENT_CUSTOMER_RETURNS_DATA": Kind(RETURN_COLUMNS, return_rows, interval_s=_DAILY_S),
    "GET_FLAT_FILE_RETURNS_DATA_BY_RETURN_DATE": Kind(MERCHANT_RETURN_COLUMNS, merchant_return_rows),
    "GET_FBA_REIMBURSEMENTS_DATA": Kind(REIMBURSEMENT_COLUMNS, reimbursement_rows),
    "GET_MERCHANT_LISTINGS_ALL_DATA": Kind(LISTING_COLUMNS, listing_rows),
    "GET_FLAT_FILE_ALL_ORDERS_DATA_BY_LAST_UPDATE_GENERAL": Kind(ORDER_COLUMNS, order_rows, range_days=30),
}
