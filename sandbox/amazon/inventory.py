"""FBA Inventory v1: getInventorySummaries."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sandbox.amazon.auth import Account
from sandbox.amazon.errors import denied
from sandbox.amazon.marketplaces import ALL_IDS, BY_ID
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.state import LANGUAGES, Amazon, pool_of
from sandbox.journal import iso
from sandbox.world import PoolStock, Product

PARAMETERS = (
    "details",
    "granularityType",
    "granularityId",
    "startDateTime",
    "sellerSkus",
    "sellerSku",
    "nextToken",
    "marketplaceIds",
)
PAGE = 50
TOKEN_LIFE_S = 30


def summaries(amazon: Amazon, account: Account, query: Query) -> dict[str, Any]:
    """One page. Only SKUs that Amazon fulfils in the marketplace; unknown ones are missing from the answer.

    DE and FR answer the units of one pool, in full each, unless a disagreement was ordered.
    """
    query.one_of("granularityType", ("Marketplace",), query.needed("granularityType"))
    ids = query.csv("marketplaceIds", most=1)
    if not ids:
        raise query.wrong("'marketplaceIds' is required.")
    if query.needed("granularityId") != ids[0]:
        raise query.wrong("'granularityId' must be the marketplace of 'marketplaceIds'.")
    marketplace = _marketplace(query, account, ids[0])
    details = query.one_of("details", ("true", "false"), "false") == "true"
    skus = query.csv("sellerSkus", most=50)
    if one := query.text("sellerSku"):
        skus = [one]
    since = query.instant("startDateTime")
    if since and since < amazon.clock.now() - timedelta(days=548):
        raise query.wrong("'startDateTime' must lie within the last 18 months.")
    found = _by_sku(amazon, skus, marketplace) if skus and not since else None
    position = _position(amazon, account, query)
    page, after = _page(amazon, marketplace, since, position, found)
    answer: dict[str, Any] = {
        "payload": {
            "granularity": {"granularityType": "Marketplace", "granularityId": ids[0]},
            "inventorySummaries": [_summary(amazon, product, marketplace, details) for product in page],
        },
    }
    if after is not None:
        until = amazon.clock.seconds() + TOKEN_LIFE_S
        bound = query.digest(without=["nextToken"])
        answer["pagination"] = {
            "nextToken": seal({"to": "fba", "at": after, "until": until, "of": account.seller, "for": bound})
        }
    return answer


def _marketplace(query: Query, account: Account, marketplace_id: str) -> str:
    if marketplace_id not in ALL_IDS:
        raise query.wrong(f"'{marketplace_id}' is not a marketplace.")
    known = BY_ID.get(marketplace_id)
    if known is None or known.code not in account.marketplaces:
        raise denied()
    return known.code


def _position(amazon: Amazon, account: Account, query: Query) -> int:
    token = query.text("nextToken")
    if token is None:
        return 0
    contents = unseal(token)
    if contents is None or contents.get("to") != "fba" or contents["of"] != account.seller:
        raise query.wrong("'nextToken' is invalid.")
    if amazon.clock.seconds() >= contents["until"]:
        raise query.wrong("'nextToken' has expired.")
    if contents["for"] != query.digest(without=["nextToken"]):
        raise query.wrong("'nextToken' belongs to a request with other parameters.")
    return int(contents["at"])


def _by_sku(amazon: Amazon, skus: list[str], marketplace: str) -> list[Product]:
    found = (amazon.world.find(sku) for sku in dict.fromkeys(skus))
    return [product for product in found if product and _held(amazon, product.index, marketplace)]


def _held(amazon: Amazon, index: int, marketplace: str) -> bool:
    return amazon.world.fulfilled_by(index) == "AMAZON" and marketplace in amazon.world.marketplaces_of(index)


def _page(
    amazon: Amazon, marketplace: str, since: datetime | None, position: int, found: list[Product] | None
) -> tuple[list[Product], int | None]:
    """The products from index `position` on, and the index the next page begins at."""
    if found is not None:
        return found, None
    pool = pool_of(marketplace)
    matching = (
        index
        for index in range(position, amazon.world.size)
        if _held(amazon, index, marketplace) and (since is None or amazon.stock_changed_at(index, pool) >= since)
    )
    page: list[Product] = []
    for index in matching:
        if len(page) == PAGE:
            return page, index
        page.append(amazon.world.product(index))
    return page, None


def _summary(amazon: Amazon, product: Product, marketplace: str, details: bool) -> dict[str, Any]:
    stock, changed_at = amazon.stock(product, pool_of(marketplace))
    if off := amazon.disagreements.get((marketplace, product.index)):
        stock = replace(stock, fulfillable=max(0, stock.fulfillable + off))
    reserved = reserved_units(stock)
    inbound = stock.inbound_working + stock.inbound_shipped + stock.inbound_receiving
    summary: dict[str, Any] = {
        "asin": product.asin,
        "fnSku": fn_sku(product),
        "sellerSku": product.sku,
        "condition": "NewItem",
        "lastUpdatedTime": iso(changed_at),
        "productName": product.titles[LANGUAGES[marketplace]],
        "totalQuantity": stock.fulfillable + reserved + inbound + stock.researching + stock.unfulfillable,
        "stores": [],
    }
    if details:
        summary["inventoryDetails"] = _details(stock, reserved)
    return summary


def _details(stock: PoolStock, reserved: int) -> dict[str, Any]:
    return {
        "fulfillableQuantity": stock.fulfillable,
        "inboundWorkingQuantity": stock.inbound_working,
        "inboundShippedQuantity": stock.inbound_shipped,
        "inboundReceivingQuantity": stock.inbound_receiving,
        "reservedQuantity": {
            "totalReservedQuantity": reserved,
            "pendingCustomerOrderQuantity": stock.reserved_orders,
            "pendingTransshipmentQuantity": stock.reserved_transshipment,
            "fcProcessingQuantity": stock.reserved_processing,
        },
        "researchingQuantity": {
            "totalResearchingQuantity": stock.researching,
            "researchingQuantityBreakdown": [
                {"name": "researchingQuantityInShortTerm", "quantity": stock.researching},
                {"name": "researchingQuantityInMidTerm", "quantity": 0},
                {"name": "researchingQuantityInLongTerm", "quantity": 0},
            ],
        },
        "unfulfillableQuantity": {
            "totalUnfulfillableQuantity": stock.unfulfillable,
            "customerDamagedQuantity": stock.unfulfillable,
            "warehouseDamagedQuantity": 0,
            "distributorDamagedQuantity": 0,
            "carrierDamagedQuantity": 0,
            "defectiveQuantity": 0,
            "expiredQuantity": 0,
        },
    }


def reserved_units(stock: PoolStock) -> int:
    return stock.reserved_orders + stock.reserved_transshipment + stock.reserved_processing


def fn_sku(product: Product) -> str:
    return "X0" + product.asin[2:]


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    def answer(asked: Asked) -> dict[str, Any]:
        return summaries(amazon, asked.account, asked.query)

    return [Operation("getInventorySummaries", "GET", "/fba/inventory/v1/summaries", answer, PARAMETERS)]
