"""What hints name: listings by product, by inventory item or by SKU, and the order that a piece of work belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adapters.port import OrderKey, Page
from adapters.shopify.catalog import Catalog
from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.documents import VARIANT, VARIANTS
from adapters.shopify.paging import answered, beyond, by_id, pages
from adapters.shopify.wire import Rows, quoted
from domain.budget import Ask
from domain.errors import NotFound, Transient
from domain.product import Listing

BATCH = 10

# Most products have a handful of variants; LISTED_REST reads on those that have more.
LISTED = Document(
    "Listed",
    "nodes",
    31,
    f"""query Listed($ids: [ID!]!) {{
  nodes(ids: $ids) {{
    ... on Product {{ id variants(first: 50, sortKey: ID) {{ nodes {{ {VARIANT} }} {PAGE_INFO} }} }}
    ... on InventoryItem {{ variant {{ {VARIANT} }} }}
  }}
}}""",
)

LISTED_REST = Document(
    "ListedRest",
    "product",
    47,
    f"""query ListedRest($id: ID!, $after: String) {{
  product(id: $id) {{
    rest: variants(first: {PAGE}, after: $after, sortKey: ID) {{ nodes {{ {VARIANT} }} {PAGE_INFO} }}
  }}
}}""",
)

ORDER_OF = Document(
    "OrderOf", "fulfillmentOrder", 1, "query OrderOf($id: ID!) { fulfillmentOrder(id: $id) { orderId } }"
)


async def listings(client: ShopClient, catalog: Catalog, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
    """The listings of SKUs ("SKU"), or of products and inventory items ("ITEM") by their global ids; what is gone is missing.

    Sources: productVariants; nodes, product.
    """
    as_of = datetime.now(UTC)
    rows: list[Any] = []
    if by == "SKU":
        search = by_id(["(" + " OR ".join(f"sku:{quoted(sku)}" for sku in names) + ")"])
        async for batch in pages(client, VARIANTS, search, ask):
            rows += batch.rows
    else:
        reply = await client.run(LISTED, {"ids": list(names)}, ask)
        for node in filter(None, reply.data["nodes"]):
            rows += [node["variant"]] if "variant" in node else await _variants(client, node, ask)
    return await catalog.listed(rows, as_of, ask)


async def _variants(client: ShopClient, product: dict[str, Any], ask: Ask) -> list[object]:
    told = answered(Rows, product["variants"])
    rows, page, after = list(told.nodes), told.page_info, None
    while page.has_next_page:
        after = beyond(after, page)
        reply = await client.run(LISTED_REST, {"id": product["id"], "after": after}, ask)
        if reply.data["product"] is None:
            raise Transient(f"{product['id']} went away while it was read.", upstream_request_id=reply.request_id)
        told = answered(Rows, reply.data["product"]["rest"])
        rows += told.nodes
        page = told.page_info
    return rows


async def order_of(client: ShopClient, work: str, ask: Ask) -> OrderKey:
    """Whose work a fulfillment order is. Raises NotFound. Source: fulfillmentOrder."""
    reply = await client.run(ORDER_OF, {"id": work}, ask)
    found = reply.data["fulfillmentOrder"]
    if found is None:
        raise NotFound(f"{client.config.shop} has no {work}.", upstream_request_id=reply.request_id)
    return OrderKey(str(found["orderId"]), None)
