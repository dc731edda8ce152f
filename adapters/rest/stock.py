"""Stock levels. Source: listStock.

`available` is what buyers can still buy of what lies there, so what is on hand and not available is what cannot be sold.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from adapters.port import Page, ShownKey, StockKey
from adapters.rest.client import RestClient
from adapters.rest.offers import Offers
from adapters.rest.operations import LIST_STOCK
from adapters.rest.paging import pages
from adapters.rest.skus import MOST, parts
from adapters.rest.wire import Body, Name, Units, rejected
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.channel import Location
from domain.errors import Invalid, Transient
from domain.ids import ChannelSku
from domain.product import Rejected
from domain.stock import Reading

log = logging.getLogger(__name__)


class Level(Body):
    """Units of one SKU at one location."""

    sku: Annotated[Name, Field(pattern=r"\S")]
    location_id: str
    available: Units
    on_hand: Units
    incoming: Units = 0


@dataclass(frozen=True, slots=True)
class Told:
    """Levels of SKUs by SKU and location; a place that does not keep a SKU is missing."""

    levels: Mapping[tuple[str, str], Level]
    request_id: str | None


@dataclass(slots=True)
class Swept:
    """One page of all levels. `until` is set on the last one."""

    as_of: datetime
    until: datetime | None
    request_id: str | None
    levels: list[Level] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


@dataclass(slots=True)
class Stock:
    """The stock of one shop. All its locations come in the same answer."""

    client: RestClient
    offers: Offers
    _strangers: set[str] = field(default_factory=set)

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        """One reading per location and key. Raises Invalid for more than 100 keys."""
        as_of = datetime.now(UTC)
        skus = list(dict.fromkeys(key.channel_sku for key in keys))
        told = await self.told(skus, ask)
        self._report_strangers({place for _, place in told.levels}, locations)
        return [
            self._reading(place, sku, told.levels.get((sku, place.external_id)), as_of, told.request_id)
            for sku in skus
            for place in locations
        ]

    async def told(self, skus: Sequence[ChannelSku], ask: Ask) -> Told:
        """The levels of at most 100 SKUs: one call, unless they are very long, or lie at so many places that the shop pages them.

        Raises Invalid for more SKUs, and Transient for a level that cannot be read.
        """
        if len(skus) > MOST:
            raise Invalid(f"Stock was asked of {len(skus)} SKUs at once; {MOST} are the most.")
        shop = await self.offers.need(LIST_STOCK, ask)
        levels: dict[tuple[str, str], Level] = {}
        request_id = None
        for part in parts(skus):
            async for batch in pages(self.client, LIST_STOCK, {"sku": part}, ask, size=shop.limits.page):
                request_id = batch.request_id
                for row in batch.rows:
                    try:
                        level = read(Level, row)
                    except Unclear as problem:
                        words = f"A level of {self.client.config.shop} cannot be read: {problem}"
                        raise Transient(words, upstream_request_id=request_id) from problem
                    levels[level.sku, level.location_id] = level
        return Told(levels, request_id)

    async def pages(self, locations: Sequence[Location], ask: Ask) -> AsyncIterator[Page[Reading]]:
        """The readings of every level at these locations."""
        by_id = {place.external_id: place for place in locations}
        async for swept in self.sweep(ask):
            self._report_strangers({level.location_id for level in swept.levels}, locations)
            readings = [
                self._reading(place, ChannelSku(level.sku), level, swept.as_of, swept.request_id)
                for level in swept.levels
                if (place := by_id.get(level.location_id)) is not None
            ]
            yield Page(readings, swept.rejected, swept.until)

    async def sweep(self, ask: Ask) -> AsyncIterator[Swept]:
        """Every level; one that changes meanwhile comes again, and what came last is so."""
        shop = await self.offers.need(LIST_STOCK, ask)
        started = as_of = datetime.now(UTC)
        async for batch in pages(self.client, LIST_STOCK, {}, ask, size=shop.limits.page):
            swept = Swept(as_of, started if batch.last else None, batch.request_id)
            found: dict[tuple[str, str], Level] = {}
            for row in batch.rows:
                try:
                    level = read(Level, row)
                    found[level.sku, level.location_id] = level
                except Unclear as problem:
                    swept.rejected.append(rejected(self.client.channel, "stock", row, str(problem), key="sku"))
            swept.levels = list(found.values())
            yield swept
            as_of = datetime.now(UTC)

    def _reading(
        self, place: Location, sku: ChannelSku, level: Level | None, as_of: datetime, request_id: str | None
    ) -> Reading:
        return Reading(
            location=place.code,
            channel=self.client.channel,
            channel_sku=sku,
            on_hand=level.on_hand if level else 0,
            reserved=level.on_hand - level.available if level else 0,
            inbound=level.incoming if level else 0,
            as_of=as_of,
            upstream_request_id=request_id,
        )

    def _report_strangers(self, ids: Iterable[str], locations: Sequence[Location]) -> None:
        """Places that hold stock and are not configured: each is told once, for its units are missing in our sums."""
        known = {place.external_id for place in locations}
        for id in sorted(set(ids) - known - self._strangers):
            self._strangers.add(id)
            log.warning("shop.unknown_location", extra={"channel": self.client.channel, "location": id})


def by_sku(keys: Sequence[ShownKey]) -> list[ChannelSku]:
    """Their SKUs, each once."""
    return list(dict.fromkeys(key.channel_sku for key in keys))
