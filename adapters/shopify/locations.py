"""The locations of a shop, deactivated ones too. Source: locations.

Those of fulfillment services (`isFulfillmentService`), which an app of theirs manages, are among them and say so (`foreign`).
"""

from __future__ import annotations

from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE, PAGE_INFO, Document
from adapters.shopify.paging import answered, by_id, pages
from adapters.wire import Wire
from domain.budget import Ask
from domain.place import ChannelPlace

# A location's address is the shop's own; no more of it than the country is wanted.
LOCATIONS = Document(
    "Locations",
    "locations",
    13,
    f"""query Locations($query: String, $after: String) {{
  locations(first: {PAGE}, sortKey: ID, includeInactive: true, includeLegacy: true, query: $query, after: $after) {{
    nodes {{ id name isActive fulfillsOnlineOrders isFulfillmentService address {{ countryCode }} }}
    {PAGE_INFO}
  }}
}}""",
)


class _Address(Wire):
    country_code: str | None


class _Location(Wire):
    id: str
    name: str
    is_active: bool
    fulfills_online_orders: bool
    is_fulfillment_service: bool
    address: _Address


async def locations(client: ShopClient, ask: Ask) -> list[ChannelPlace]:
    """All of them, by id."""
    found = []
    async for batch in pages(client, LOCATIONS, by_id(()), ask):
        found += [_place(answered(_Location, row)) for row in batch.rows]
    return found


def _place(wire: _Location) -> ChannelPlace:
    return ChannelPlace(
        id=wire.id,
        name=wire.name,
        active=wire.is_active,
        sells_online=wire.fulfills_online_orders,
        country=wire.address.country_code,
        foreign=wire.is_fulfillment_service,
    )
