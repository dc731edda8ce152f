"""The GraphQL documents that streams and shipments send. Each is constant: sizes are written out, so that its cost is one number.

A page costs little more for 250 rows than for 50 (connections are priced on a logarithm), so pages are big.
"""

from __future__ import annotations

from adapters.shopify.document import MONEY, PAGE, PAGE_INFO, Document

LEVEL = 'location { id } quantities(names: ["available", "on_hand", "incoming"]) { name quantity }'
# Fifty places at once; an item with more is read on by LEVELS.
_ITEM = f"id sku inventoryLevels(first: 50) {{ nodes {{ {LEVEL} }} {PAGE_INFO} }}"

SHOP = Document(
    "Shop",
    "shop+currentAppInstallation",
    3,
    "query Shop { shop { name currencyCode } currentAppInstallation { accessScopes { handle } } }",
)

CURRENCY = Document("Currency", "shop", 1, "query Currency { shop { currencyCode } }")

STOCK = Document(
    "Stock",
    "nodes",
    24,
    f"query Stock($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on InventoryItem {{ {_ITEM} }} }} }}",
)

ITEMS = Document(
    "Items",
    "inventoryItems",
    266,
    f"""query Items($query: String, $after: String) {{
  inventoryItems(first: {PAGE}, query: $query, after: $after) {{ nodes {{ {_ITEM} }} {PAGE_INFO} }}
}}""",
)

LEVELS = Document(
    "Levels",
    "inventoryItem",
    36,
    f"""query Levels($id: ID!, $after: String) {{
  inventoryItem(id: $id) {{ rest: inventoryLevels(first: {PAGE}, after: $after) {{ nodes {{ {LEVEL} }} {PAGE_INFO} }} }}
}}""",
)

VARIANT = """id sku title price compareAtPrice updatedAt
      selectedOptions { name value }
      product { id title status vendor tags }
      inventoryItem { id duplicateSkuCount unitCost { amount currencyCode } }"""

VARIANTS = Document(
    "Variants",
    "productVariants",
    46,
    f"""query Variants($query: String, $after: String) {{
  productVariants(first: {PAGE}, sortKey: ID, query: $query, after: $after) {{
    nodes {{
      {VARIANT}
    }}
    {PAGE_INFO}
  }}
}}""",
)

PRODUCTS = Document(
    "Products",
    "products",
    13,
    f"""query Products($query: String, $after: String) {{
  products(first: {PAGE}, sortKey: ID, query: $query, after: $after) {{ nodes {{ id updatedAt }} {PAGE_INFO} }}
}}""",
)

OWNERS = Document(
    "Owners",
    "productVariants",
    13,
    f"""query Owners($query: String, $after: String) {{
  productVariants(first: {PAGE}, sortKey: ID, query: $query, after: $after) {{ nodes {{ id sku }} {PAGE_INFO} }}
}}""",
)

VARIANTS_COUNT = Document(
    "VariantsCount",
    "productVariantsCount",
    10,
    "query VariantsCount($query: String) { productVariantsCount(query: $query, limit: null) { count } }",
)

LINE = f"""id sku title quantity currentQuantity unfulfilledQuantity
      originalUnitPriceSet {MONEY} originalTotalSet {MONEY} discountedTotalSet {MONEY}
      discountAllocations {{ allocatedAmountSet {MONEY} }} taxLines {{ priceSet {MONEY} }}"""
# Nothing about the buyer: no customer, no email, no address. The attributes are free text; only ours are kept.
ORDER_ALONE = f"""
    id name processedAt updatedAt cancelledAt cancelReason test displayFinancialStatus displayFulfillmentStatus
    currentTotalPriceSet {MONEY} totalPriceSet {MONEY} totalTipReceivedSet {MONEY} taxesIncluded
    shippingLine {{ title originalPriceSet {MONEY} discountedPriceSet {MONEY} taxLines {{ priceSet {MONEY} }} }}
    customAttributes {{ key value }}
    fulfillments(first: {PAGE}) {{
      id status displayStatus createdAt deliveredAt totalQuantity trackingInfo {{ company number }}
    }}
"""
# What a shop tells to apps alone that the platform has approved for it. Asked for where the channel is to tell buyers.
BUYER = """
    email billingAddress { name }
    shippingAddress { name company address1 address2 city provinceCode zip countryCodeV2 phone }
"""
_ORDER = f"{ORDER_ALONE} lineItems(first: 50) {{ nodes {{ {LINE} }} {PAGE_INFO} }}"

ORDERS_COUNT = Document(
    "OrdersCount",
    "ordersCount",
    10,
    "query OrdersCount($query: String) { ordersCount(query: $query, limit: null) { count } }",
)

# A hundred: an order is wide, and a page is kept in one transaction.
ORDERS = Document(
    "Orders",
    "orders",
    263,
    f"""query Orders($query: String!, $after: String) {{
  orders(first: 100, sortKey: UPDATED_AT, query: $query, after: $after) {{ nodes {{{_ORDER}}} {PAGE_INFO} }}
}}""",
)

ORDERS_AND_BUYERS = Document(
    "OrdersAndBuyers",
    "orders",
    263,
    f"""query OrdersAndBuyers($query: String!, $after: String) {{
  orders(first: 100, sortKey: UPDATED_AT, query: $query, after: $after) {{ nodes {{{BUYER}{_ORDER}}} {PAGE_INFO} }}
}}""",
)

ORDERS_NAMED = Document(
    "OrdersNamed",
    "nodes",
    29,
    f"query OrdersNamed($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Order {{{_ORDER}}} }} }}",
)

ORDERS_NAMED_AND_BUYERS = Document(
    "OrdersNamedAndBuyers",
    "nodes",
    29,
    f"query OrdersNamedAndBuyers($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Order {{{BUYER}{_ORDER}}} }} }}",
)

ORDER_LINES = Document(
    "OrderLines",
    "order",
    36,
    f"""query OrderLines($id: ID!, $after: String) {{
  order(id: $id) {{ rest: lineItems(first: {PAGE}, after: $after) {{ nodes {{ {LINE} }} {PAGE_INFO} }} }}
}}""",
)

_PARCEL_LINE = "quantity lineItem { id }"
_PARCELS = f"""fulfillments(first: {PAGE}) {{
      id status trackingInfo {{ number }}
      fulfillmentLineItems(first: {PAGE}) {{ nodes {{ {_PARCEL_LINE} }} {PAGE_INFO} }}
    }}"""
_TASK_LINE = "id totalQuantity remainingQuantity lineItem { id unfulfilledQuantity }"

PARCELS = Document(
    "Parcels",
    "nodes",
    27,
    f"query Parcels($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on Order {{ id {_PARCELS} }} }} }}",
)

PARCEL_LINES = Document(
    "ParcelLines",
    "fulfillment",
    25,
    f"""query ParcelLines($id: ID!, $after: String) {{
  fulfillment(id: $id) {{
    rest: fulfillmentLineItems(first: {PAGE}, after: $after) {{ nodes {{ {_PARCEL_LINE} }} {PAGE_INFO} }}
  }}
}}""",
)

TASKS = Document(
    "Tasks",
    "nodes",
    225,
    f"""query Tasks($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Order {{
      id name cancelledAt
      {_PARCELS}
      fulfillmentOrders(first: 50) {{
        nodes {{
          id status assignedLocation {{ location {{ id }} }} supportedActions {{ action }}
          lineItems(first: {PAGE}) {{ nodes {{ {_TASK_LINE} }} {PAGE_INFO} }}
        }}
        {PAGE_INFO}
      }}
    }}
  }}
}}""",
)

TASK_LINES = Document(
    "TaskLines",
    "fulfillmentOrder",
    25,
    f"""query TaskLines($id: ID!, $after: String) {{
  fulfillmentOrder(id: $id) {{
    rest: lineItems(first: {PAGE}, after: $after) {{ nodes {{ {_TASK_LINE} }} {PAGE_INFO} }}
  }}
}}""",
)

SHIP = Document(
    "Ship",
    "fulfillmentCreate",
    10,
    """mutation Ship($parcel: FulfillmentInput!) {
  fulfillmentCreate(fulfillment: $parcel) { fulfillment { id status } userErrors { field message } }
}""",
    write=True,
)

# The key makes a repeat of the same write harmless; the directive is required since 2026-04, as is changeFromQuantity.
SET_AVAILABLE = Document(
    "SetAvailable",
    "inventorySetQuantities",
    10,
    """mutation SetAvailable($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id }
    userErrors { code field message }
  }
}""",
    write=True,
    itemized=True,
)

ACTIVATE = Document(
    "Activate",
    "inventoryActivate",
    10,
    """mutation Activate($item: ID!, $location: ID!, $key: String!) {
  inventoryActivate(inventoryItemId: $item, locationId: $location) @idempotent(key: $key) {
    inventoryLevel { id }
    userErrors { field message }
  }
}""",
    write=True,
)
