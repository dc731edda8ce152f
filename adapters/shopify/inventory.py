"""Stock levels. Sources: nodes and inventoryItems, with the quantities `available`, `on_hand` and `incoming` of each level.

on_hand = available + committed + reserved + damaged + safety_stock + quality_control, so what is on hand and not available is
what cannot be sold; incoming stands outside.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from pydantic import model_validator

from adapters.port import Page, ShownKey, StockKey
from adapters.shopify.bulk_query import BulkQuery, Load, loaded
from adapters.shopify.client import ShopClient
from adapters.shopify.document import PAGE
from adapters.shopify.documents import ITEMS, LEVEL, LEVELS, STOCK
from adapters.shopify.paging import answered, by_id, pages, whole
from adapters.shopify.wire import Connection, Ref, quoted, rejected
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.channel import Location
from domain.errors import Invalid
from domain.ids import ChannelSku
from domain.product import Rejected
from domain.route import Way
from domain.stock import Reading

log = logging.getLogger(__name__)

# Every item with its levels: by pages, or in one go.
ALL = Load(
    ITEMS,
    by_id(()),
    BulkQuery(
        "AcornStock",
        f"""inventoryItems {{ edges {{ node {{
  id sku inventoryLevels {{ edges {{ node {{ id {LEVEL} }} }} }}
}} }} }}""",
        {"InventoryItem": {"InventoryLevel": "inventoryLevels"}},
    ),
    children=3,
)

NAMES = frozenset({"available", "on_hand", "incoming"})
NOTHING: Mapping[str, int] = dict.fromkeys(NAMES, 0)


class _Quantity(Wire):
    name: str
    quantity: int


class _Level(Wire):
    location: Ref
    quantities: list[_Quantity]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        # A missing number must not pass for a zero.
        if missing := NAMES - self.units.keys():
            raise ValueError(f"no quantity {', '.join(sorted(missing))}")
        return self

    @property
    def units(self) -> dict[str, int]:
        return {quantity.name: quantity.quantity for quantity in self.quantities}


class _Item(Wire):
    id: str
    sku: str | None
    inventory_levels: Connection[_Level]


Units = Mapping[str, Mapping[str, int]]
"""Quantities by name, by the location's global id; a location that does not stock the item is missing."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one call told of an item."""

    sku: str
    units: Units
    request_id: str | None


@dataclass(slots=True)
class Swept:
    """One page of all items. `until` is set on the last one."""

    as_of: datetime
    until: datetime | None
    items: list[Told] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(slots=True)
class Inventory:
    """The stock of one shop. All its locations come in the same answer."""

    client: ShopClient
    _strangers: set[str] = field(default_factory=set)

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        """One reading per location and key. Raises Invalid for more than 250 keys."""
        as_of = datetime.now(UTC)
        told = await self.told(keys, ask)
        readings: list[Reading] = []
        for sku in dict.fromkeys(key.channel_sku for key in keys):
            readings += self._readings(locations, sku, told.get(sku), as_of)
        return readings

    async def told(self, keys: Sequence[StockKey] | Sequence[ShownKey], ask: Ask) -> dict[ChannelSku, Told]:
        """Items by SKU; one that there is none of is missing. One call: by inventory item where all `refs` name one, else by SKU;
        a key whose item is gone or carries another SKU by now is looked up again by its SKU.

        Raises Invalid for more than 250 keys.
        """
        if len(keys) > PAGE:
            raise Invalid(f"Stock was asked of {len(keys)} SKUs at once; {PAGE} are the most.")
        gids = dict.fromkeys(gid for key in keys if (gid := dict(key.refs).get("inventory_item")))
        found = {told.sku: told for told in await self._by_item(list(gids), ask)}
        missing = dict.fromkeys(key.channel_sku for key in keys if key.channel_sku not in found)
        if missing:
            for told in await self._by_sku(list(missing), ask):
                found.setdefault(told.sku, told)
        return {key.channel_sku: found[key.channel_sku] for key in keys if key.channel_sku in found}

    async def pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        """The readings of every item that has a SKU, by pages or by a bulk operation."""
        async for swept in self.sweep(ask, way):
            page: Page[Reading] = Page([], swept.rejected, swept.until)
            for told in swept.items:
                page.items += self._readings(locations, ChannelSku(told.sku), told, swept.as_of)
            yield page

    async def sweep(self, ask: Ask, way: Way = Way.PAGES) -> AsyncIterator[Swept]:
        """Every item that has a SKU; the first one of a SKU counts. What has none, or shares one, the listings tell of."""
        started = datetime.now(UTC)
        seen: set[str] = set()
        async for batch in loaded(self.client, ALL, way, ask):
            swept = Swept(batch.as_of, min(started, batch.as_of) if batch.last else None)
            for row in batch.rows:
                try:
                    item = read(_Item, row)
                    if item.sku and item.sku.strip() and item.sku not in seen:
                        seen.add(item.sku)
                        swept.items.append(await self._told(item.sku, item, batch.request_id, ask))
                except Unclear as problem:
                    swept.rejected.append(rejected(self.client.config.channel.id, "stock", row, str(problem)))
            yield swept

    async def _by_item(self, gids: Sequence[str], ask: Ask) -> list[Told]:
        if not gids:
            return []
        reply = await self.client.run(STOCK, {"ids": list(gids)}, ask)
        items = [answered(_Item, node) for node in reply.data["nodes"] if node]
        return [await self._told(item.sku, item, reply.request_id, ask) for item in items if item.sku]

    async def _by_sku(self, skus: Sequence[ChannelSku], ask: Ask) -> list[Told]:
        """In the order of their ids; a SKU may be on several items."""
        search = by_id(["(" + " OR ".join(f"sku:{quoted(sku)}" for sku in skus) + ")"])
        found = []
        async for batch in pages(self.client, ITEMS, search, ask):
            for item in (answered(_Item, row) for row in batch.rows):
                if item.sku:
                    found.append(await self._told(item.sku, item, batch.request_id, ask))
        return found

    async def _told(self, sku: str, item: _Item, request_id: str | None, ask: Ask) -> Told:
        levels = item.inventory_levels
        all_levels = await whole(self.client, LEVELS, item.id, _Level, levels.nodes, levels.page_info, ask)
        return Told(sku, {level.location.id: level.units for level in all_levels}, request_id)

    def _readings(
        self, locations: Sequence[Location], sku: ChannelSku, told: Told | None, as_of: datetime
    ) -> list[Reading]:
        units: Units = told.units if told else {}
        self._report_strangers(units.keys() - {location.external_id for location in locations})
        readings = []
        for location in locations:
            there = units.get(location.external_id, NOTHING)
            readings.append(
                Reading(
                    location=location.code,
                    channel=self.client.config.channel.id,
                    channel_sku=sku,
                    on_hand=there["on_hand"],
                    reserved=there["on_hand"] - there["available"],
                    inbound=there["incoming"],
                    as_of=as_of,
                    upstream_request_id=told.request_id if told else None,
                )
            )
        return readings

    def _report_strangers(self, gids: Iterable[str]) -> None:
        """Places that hold stock and are not configured: each is told once, for its units are missing in our sums."""
        for gid in sorted(set(gids) - self._strangers):
            self._strangers.add(gid)
            log.warning("shop.unknown_location", extra={"channel": self.client.config.channel.id, "location": gid})
