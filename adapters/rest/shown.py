"""The numbers that a shop shows its buyers: `available` of a SKU at a location. Source: patchStock.

Each number is compared with what we believe is there (`expected`), so that an order that came in meanwhile is never written over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from adapters.port import BeforeSend, Page, Shown, ShownKey, StockWrite
from adapters.rest.bulk import Bulk, Json, Outcome, Refusal
from adapters.rest.client import RestClient
from adapters.rest.errors import STALE_QUANTITY
from adapters.rest.offers import Offers
from adapters.rest.operations import PATCH_STOCK
from adapters.rest.stock import Stock, by_sku
from domain.budget import Ask
from domain.errors import HouseError, OtherNumber
from domain.ids import ChannelSku


async def tell_stock(
    client: RestClient, offers: Offers, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
) -> list[Outcome]:
    """One answer per write. The same writes again, after an answer that was lost, are replayed by the shop, not applied twice."""
    if not writes:
        return []
    shop = await offers.need(PATCH_STOCK, ask)
    bulk = Bulk(client, PATCH_STOCK, {"mode": "set"})
    return await bulk.send(writes, _item, lambda one: one.reference, _meaning, shop.limits.bulk, ask, before_send)


async def shown_stock(stock: Stock, keys: Sequence[ShownKey], ask: Ask) -> list[Shown]:
    """What is available at each key's location; None where the SKU is gone or not kept there."""
    as_of = datetime.now(UTC)
    told = await stock.told(by_sku(keys), ask)
    found = [(key, told.levels.get((key.channel_sku, key.place))) for key in keys]
    return [Shown(key, None if level is None else level.available, as_of, told.request_id) for key, level in found]


async def shown_pages(stock: Stock, places: Sequence[str], ask: Ask) -> AsyncIterator[Page[Shown]]:
    """What is available at those of `places` that keep a SKU."""
    async for swept in stock.sweep(ask):
        shown = [
            Shown(ShownKey(ChannelSku(level.sku), level.location_id), level.available, swept.as_of, swept.request_id)
            for level in swept.levels
            if level.location_id in places
        ]
        yield Page(shown, swept.rejected, swept.until)


def _item(write: StockWrite) -> Json:
    expected = {} if write.expected is None else {"expected": write.expected}
    return {"sku": write.key.channel_sku, "location_id": write.key.place, "quantity": write.quantity, **expected}


def _meaning(write: StockWrite, refused: Refusal) -> HouseError | None:
    if refused.said.name != STALE_QUANTITY:
        return None
    current = refused.said.members.get("current")
    shown = current if isinstance(current, int) and not isinstance(current, bool) else None
    return OtherNumber(
        f"The shop shows {'another number' if shown is None else shown} of {write.key.channel_sku} at {write.key.place}, "
        f"not {write.expected}.",
        shown=shown,
        upstream_request_id=refused.request_id,
    )
