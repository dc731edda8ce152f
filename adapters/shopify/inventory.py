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

from adapters.port import Page, StockKey
from adapters.shopify.client import ShopClient
from adapters.shopify.documents import ITEMS, LEVELS, PAGE, STOCK
from adapters.shopify.paging import answered, by_id, pages, whole
from adapters.shopify.wire import Connection, Ref, quoted, rejected
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.channel import Location
from domain.errors import Invalid
from domain.ids import ChannelSku
from domain.stock import Reading

log = logging.getLogger(__name__)

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


@dataclass(slots=True)
class Inventory:
    """The stock of one shop. All its locations come in the same answer."""

    client: ShopClient
    _strangers: set[str] = field(default_factory=set)

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        """One reading per location and key. One call: by inventory item where all `refs` name one, else by SKU; a key whose
        item is gone or carries another SKU by now is looked up again by its SKU.

        Raises Invalid for more than 250 keys.
        """
        if len(keys) > PAGE:
            raise Invalid(f"Stock was asked of {len(keys)} SKUs at once; {PAGE} are the most.")
        as_of = datetime.now(UTC)
        items = await self._by_item([gid for key in keys if (gid := dict(key.refs).get("inventory_item"))], ask)
        found = {sku: item for item in items if (sku := item.sku)}
        missing = [key.channel_sku for key in keys if key.channel_sku not in found]
        if missing:
            for item in await self._by_sku(missing, ask):
                if item.sku:
                    found.setdefault(item.sku, item)
        readings: list[Reading] = []
        for key in dict.fromkeys(key.channel_sku for key in keys):
            units = await self._units(found[key], ask) if key in found else {}
            readings += self._readings(locations, key, units, as_of)
        return readings

    async def pages(self, locations: Sequence[Location], ask: Ask) -> AsyncIterator[Page[Reading]]:
        """Every item that has a SKU; the first one of a SKU counts. What has none, or shares one, the listings tell of."""
        started = as_of = datetime.now(UTC)
        seen: set[str] = set()
        async for batch in pages(self.client, ITEMS, by_id(()), ask):
            page: Page[Reading] = Page([], until=started if batch.last else None)
            for row in batch.rows:
                try:
                    item = read(_Item, row)
                    if item.sku and item.sku.strip() and item.sku not in seen:
                        seen.add(item.sku)
                        units = await self._units(item, ask)
                        page.items += self._readings(locations, ChannelSku(item.sku), units, as_of)
                except Unclear as problem:
                    page.rejected.append(rejected(self.client.config.channel.id, "stock", row, str(problem)))
            yield page
            as_of = datetime.now(UTC)

    async def _by_item(self, gids: Sequence[str], ask: Ask) -> list[_Item]:
        if not gids:
            return []
        reply = await self.client.run(STOCK, {"ids": list(gids)}, ask)
        return [answered(_Item, node) for node in reply.data["nodes"] if node]

    async def _by_sku(self, skus: Sequence[ChannelSku], ask: Ask) -> list[_Item]:
        """In the order of their ids; a SKU may be on several items."""
        search = by_id(["(" + " OR ".join(f"sku:{quoted(sku)}" for sku in skus) + ")"])
        return [answered(_Item, row) async for batch in pages(self.client, ITEMS, search, ask) for row in batch.rows]

    async def _units(self, item: _Item, ask: Ask) -> dict[str, Mapping[str, int]]:
        """Quantities by the location's global id."""
        levels = item.inventory_levels
        told = await whole(self.client, LEVELS, item.id, _Level, levels.nodes, levels.page_info, ask)
        return {level.location.id: level.units for level in told}

    def _readings(
        self, locations: Sequence[Location], sku: ChannelSku, units: Mapping[str, Mapping[str, int]], as_of: datetime
    ) -> list[Reading]:
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
                )
            )
        return readings

    def _report_strangers(self, gids: Iterable[str]) -> None:
        """Places that hold stock and are not configured: each is told once, for its units are missing in our sums."""
        for gid in sorted(set(gids) - self._strangers):
            self._strangers.add(gid)
            log.warning("shop.unknown_location", extra={"channel": self.client.config.channel.id, "location": gid})
