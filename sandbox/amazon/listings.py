"""Listings Items 2021-08-01: getListingsItem, and what a listing looks like."""

from typing import Any
from zlib import crc32

from sandbox.amazon import offers
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import denied, not_found
from sandbox.amazon.inventory import fn_sku
from sandbox.amazon.marketplaces import ALL_IDS, BY_ID, MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query
from sandbox.amazon.state import LANGUAGES, Amazon, pool_of
from sandbox.journal import iso
from sandbox.world import Product

INCLUDED = (
    "summaries",
    "attributes",
    "issues",
    "offers",
    "fulfillmentAvailability",
    "procurement",
    "relationships",
    "productTypes",
)
GET_PARAMETERS = ("marketplaceIds", "issueLocale", "includedData")


def get(amazon: Amazon, account: Account, sku: str, query: Query) -> dict[str, Any]:
    """One listing; 404 where it is in none of the asked marketplaces."""
    codes = marketplaces(query, account)
    included = query.csv("includedData", among=INCLUDED) or ["summaries"]
    product = find(amazon, account, sku, codes)
    return item(amazon, account, product, codes, included)


def marketplaces(query: Query, account: Account) -> list[str]:
    """The country codes of `marketplaceIds`; 400 for what is no marketplace, 403 for a foreign one."""
    ids = query.csv("marketplaceIds")
    if not ids:
        raise query.wrong("'marketplaceIds' is required.")
    if strange := [one for one in ids if one not in ALL_IDS]:
        raise query.wrong(f"'{strange[0]}' is not a marketplace.")
    codes = [BY_ID[one].code for one in ids if one in BY_ID]
    if len(codes) < len(ids) or any(code not in account.marketplaces for code in codes):
        raise denied()
    return codes


def find(amazon: Amazon, account: Account, sku: str, codes: list[str]) -> Product:
    """The product listed under `sku` in at least one of the marketplaces; raises 404."""
    product = amazon.world.find(sku)
    if product is None or not set(codes) & set(amazon.listed(account, product)):
        raise not_found(f"SKU '{sku}' not found in marketplace {', '.join(MARKETPLACES[code].id for code in codes)}.")
    return product


def item(amazon: Amazon, account: Account, product: Product, codes: list[str], included: list[str]) -> dict[str, Any]:
    here = [code for code in codes if code in amazon.listed(account, product)]
    listing = amazon.listing(account, product)
    ids = {MARKETPLACES[code].id for code in here}
    item: dict[str, Any] = {"sku": product.sku}
    if "summaries" in included:
        item["summaries"] = [_summary(amazon, account, product, code) for code in here]
    if "attributes" in included:
        kept = {
            name: [entry for entry in entries if entry.get("marketplace_id") in (None, *ids)]
            for name, entries in listing.visible.items()
        }
        item["attributes"] = {name: entries for name, entries in kept.items() if entries}
    if "issues" in included:
        item["issues"] = issues(amazon, account, product, here)
    if "offers" in included:
        item["offers"] = [offer for code in here for offer in _offers(amazon, account, product, code)]
    if "fulfillmentAvailability" in included:
        item["fulfillmentAvailability"] = [
            {
                "fulfillmentChannelCode": entry["fulfillment_channel_code"],
                **({"quantity": entry["quantity"]} if "quantity" in entry else {}),
            }
            for entry in listing.visible.get("fulfillment_availability", [])
        ]
    if "procurement" in included:
        item["procurement"] = []
    if "relationships" in included:
        item["relationships"] = [{"marketplaceId": MARKETPLACES[code].id, "relationships": []} for code in here]
    if "productTypes" in included:
        item["productTypes"] = [
            {"marketplaceId": MARKETPLACES[code].id, "productType": product_type(product)} for code in here
        ]
    return item


def product_type(product: Product) -> str:
    return {
        "TEE": "SHIRT",
        "HOOD": "SWEATSHIRT",
        "PANT": "PANTS",
        "SOCK": "SOCKS",
        "CAP": "HAT",
        "SCARF": "SCARF",
        "GLOVE": "GLOVES",
        "BELT": "APPAREL_BELT",
        "BAG": "HANDBAG",
        "MUG": "DRINKING_CUP",
    }[product.family]


def _summary(amazon: Amazon, account: Account, product: Product, code: str) -> dict[str, Any]:
    listing = amazon.listing(account, product)
    names = [
        entry["value"]
        for entry in listing.visible.get("item_name", [])
        if entry.get("marketplace_id") == MARKETPLACES[code].id
    ]
    summary: dict[str, Any] = {
        "marketplaceId": MARKETPLACES[code].id,
        "asin": product.asin,
        "productType": product_type(product),
        "conditionType": "new_new",
        "status": status(amazon, account, product, code),
        "itemName": names[0] if names else product.titles[LANGUAGES[code]],
        "createdDate": iso(listing.created_at),
        "lastUpdatedDate": iso(listing.updated_at),
        "mainImage": {
            "link": f"https://images.example.com/{crc32(product.asin.encode()):08x}.jpg",
            "height": 500,
            "width": 500,
        },
    }
    if product.fulfilled_by == "AMAZON":
        summary["fnSku"] = fn_sku(product)
    return summary


def status(amazon: Amazon, account: Account, product: Product, code: str) -> list[str]:
    if any("enforcements" in issue for issue in issues(amazon, account, product, [code])):
        return []
    merchant = amazon.merchant_units(account, product)
    units = amazon.stock(product, pool_of(code))[0].fulfillable if product.fulfilled_by == "AMAZON" else 0
    sellable = bool(merchant or units) and amazon.price(account, product, code) is not None
    return ["BUYABLE", "DISCOVERABLE"] if sellable else ["DISCOVERABLE"]


def _offers(amazon: Amazon, account: Account, product: Product, code: str) -> list[dict[str, Any]]:
    """One offer per audience, at the price of now; a string here, a number in the attribute it was written to."""
    found = []
    for entry in amazon.listing(account, product).visible.get("purchasable_offer", []):
        price = offers.price(entry, amazon.clock.now())
        if entry.get("marketplace_id") != MARKETPLACES[code].id or price is None:
            continue
        business = entry.get("audience") == "B2B"
        found.append(
            {
                "marketplaceId": MARKETPLACES[code].id,
                "offerType": "B2B" if business else "B2C",
                "price": {"currencyCode": entry["currency"], "amount": str(price)},
                "audience": {"value": "B2B", "displayName": "Amazon Business"}
                if business
                else {"value": "ALL", "displayName": "Sell on Amazon"},
            }
        )
    return found


def issues(amazon: Amazon, account: Account, product: Product, codes: list[str]) -> list[dict[str, Any]]:
    """A few listings have something wrong with them, the same ones in every world; others a price out of bounds."""
    ids = [MARKETPLACES[code].id for code in codes]
    issues: list[dict[str, Any]] = []
    if product.index % 37 == 5:
        issues.append(
            {
                "code": "18027",
                "message": "The main image has text or a logo. Submit an image that meets the requirements.",
                "severity": "WARNING",
                "attributeNames": ["main_product_image_locator"],
                "categories": ["INVALID_IMAGE"],
                "marketplaceIds": ids,
            }
        )
    if product.index % 101 == 7:
        issues.append(
            {
                "code": "90220",
                "message": "'country_of_origin' is required but not supplied.",
                "severity": "ERROR",
                "attributeNames": ["country_of_origin"],
                "categories": ["MISSING_ATTRIBUTE"],
                "enforcements": {
                    "actions": [{"action": "LISTING_SUPPRESSED"}],
                    "exemption": {"status": "NOT_EXEMPT"},
                },
                "marketplaceIds": ids,
            }
        )
    now = amazon.clock.now()
    entries = amazon.listing(account, product).visible.get("purchasable_offer", [])
    for entry in entries:
        if entry.get("marketplace_id") in ids and offers.out_of_bounds(entry, now):
            issues.append(
                {
                    "code": "18155",
                    "message": "The price lies outside of the minimum and maximum price that the seller allows.",
                    "severity": "ERROR",
                    "attributeNames": ["purchasable_offer"],
                    "categories": ["INVALID_PRICE"],
                    "enforcements": {
                        "actions": [{"action": "LISTING_SUPPRESSED"}],
                        "exemption": {"status": "NOT_EXEMPT"},
                    },
                    "marketplaceIds": [entry["marketplace_id"]],
                }
            )
    return issues


ITEMS = "/listings/2021-08-01/items/{sellerId}"
ITEM = ITEMS + "/{sku}"


def own(asked: Asked) -> Account:
    """The account of the call, when the path names it."""
    if asked.path["sellerId"] != asked.account.seller:
        raise denied()
    return asked.account


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served, `search` and `patches` apart."""

    def answer(asked: Asked) -> dict[str, Any]:
        return get(amazon, own(asked), asked.path["sku"], asked.query)

    return [Operation("getListingsItem", "GET", ITEM, answer, GET_PARAMETERS, "BAD_REQUEST")]
