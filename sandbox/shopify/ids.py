"""Global ids. A kind's numbers start at a base of their own, so that an id leads back to its place without a table."""

import re

from sandbox.shopify import errors

BASES = {
    "App": 1_440_001,
    "AppInstallation": 880_000_001,
    "BulkOperation": 7_300_000_000_001,
    "Fulfillment": 4_900_000_000_001,
    "FulfillmentHold": 4_800_000_000_000,
    "FulfillmentLineItem": 15_000_000_000_000,
    "FulfillmentOrder": 6_600_000_000_000,
    "FulfillmentOrderLineItem": 14_000_000_000_000,
    "InventoryAdjustmentGroup": 57_000_000_001,
    "InventoryItem": 41_000_000_000_001,
    "Job": 770_000_000_001,
    "LineItem": 13_000_000_000_000,
    "Location": 72_000_000_000_000,
    "MailingAddress": 9_300_000_000_001,
    "Order": 5_500_000_000_001,
    "Product": 8_100_000_000_001,
    "ProductOption": 10_200_000_000_000,
    "OrderTransaction": 6_700_000_000_001,
    "ProductVariant": 45_000_000_000_001,
    "Refund": 930_000_000_001,
    "RefundLineItem": 940_000_000_000,
    "RefundShippingLine": 950_000_000_000,
    "ShippingLine": 3_600_000_000_001,
    "Shop": 71_000_000_001,
    "WebhookSubscription": 1_200_000_000_001,
    "ShopifyPaymentsAccount": 60_000_000_001,
    "ShopifyPaymentsBalanceTransaction": 61_000_000_001,
    "ShopifyPaymentsPayout": 62_000_000_001,
    "TransactionFee": 63_000_000_000,
}
LEVEL_BASE = 90_000_000_000_000
_GID = re.compile(r"gid://shopify/(\w+)/(\d{1,18})")
_LEVEL = re.compile(r"gid://shopify/InventoryLevel/(\d{1,18})\?inventory_item_id=(\d{1,18})")


def number(kind: str, place: int) -> int:
    return BASES[kind] + place


def gid(kind: str, place: int) -> str:
    return f"gid://shopify/{kind}/{BASES[kind] + place}"


def place(kind: str, given: str) -> int:
    """Back from an id to its place, which may lie outside what there is. Raises RESOURCE_NOT_FOUND for a foreign id."""
    match = _GID.fullmatch(given)
    if match is None or match.group(1) != kind:
        raise errors.invalid_id()
    return int(match.group(2)) - BASES[kind]


def kind_of(given: str) -> str:
    """The kind an id names, "" for text that is no id."""
    match = _GID.fullmatch(given) or re.match(r"gid://shopify/(InventoryLevel)/", given)
    return match.group(1) if match else ""


def level_gid(item: int, warehouse: int) -> str:
    return f"gid://shopify/InventoryLevel/{LEVEL_BASE + warehouse}?inventory_item_id={BASES['InventoryItem'] + item}"


def level_place(given: str) -> tuple[int, int]:
    """(item, warehouse number) of an inventory level's id. Raises RESOURCE_NOT_FOUND for anything else."""
    match = _LEVEL.fullmatch(given)
    if match is None:
        raise errors.invalid_id()
    return int(match.group(2)) - BASES["InventoryItem"], int(match.group(1)) - LEVEL_BASE
