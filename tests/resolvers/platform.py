"""A platform in memory that tells stock as a port does, counts its calls and fails on demand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from adapters.port import Page, Port, StockKey
from domain.budget import Ask, Plan
from domain.channel import LEDGER, Channel, Location, LocationKind, Platform, StreamName
from domain.errors import HouseError
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku, listing_id
from domain.product import FulfilledBy, Listing
from domain.route import Route, Step, Way
from domain.stock import Reading


class StockPlatform:
    """`units[location, sku]` is what lies where; `calls` the keys of each call. `hold` keeps calls until it is set."""

    def __init__(self, channel: str, platform: Platform, batch: int = 50, rate: float = 1000.0) -> None:
        self.channel = Channel(
            ChannelId(channel), platform, channel, True, ("DE", "FR") if platform is Platform.AMAZON else ()
        )
        self.stock_plan = Plan("readStock", rate, rate)
        self.plans = {"readStock": self.stock_plan}
        self.stock_call = ("readStock", 1.0)
        self.stock_batch = batch
        self.visibility_lag_s = 0.1
        self.every = dict.fromkeys(StreamName, timedelta(minutes=5))
        self.leads = platform is not Platform.AMAZON
        self.units: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.calls: list[list[str]] = []
        self.problem: HouseError | None = None
        self.hold: asyncio.Event | None = None
        self.walk_calls = 1000
        self.walks = 0

    @property
    def port(self) -> Port:
        """As the house sees it."""
        return cast(Port, self)

    def stock_groups(self, locations: Sequence[Location]) -> list[list[Location]]:
        if self.channel.platform is Platform.AMAZON:
            return [[location] for location in locations]
        return [list(locations)] if locations else []

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        self.calls.append([key.channel_sku for key in keys])
        ask.bill.line(self.channel.id, "readStock").calls += 1
        as_of = datetime.now(UTC)
        if self.hold is not None:
            await self.hold.wait()
        if self.problem is not None:
            raise self.problem
        return [
            Reading(place.code, self.channel.id, key.channel_sku, self.units[place.code, key.channel_sku], 0, 0, as_of)
            for place in locations
            for key in keys
        ]

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        batches = -(-(known if keys is None else keys) // self.stock_batch)
        walk = Route(Way.PAGES, (Step(self.stock_plan, self.walk_calls),), whole=True)
        return [Route(Way.BATCH, (Step(self.stock_plan, batches),)), walk]

    async def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        self.walks += 1
        as_of = datetime.now(UTC)
        codes = {place.code for place in locations}
        yield Page(
            [
                Reading(LocationCode(place), self.channel.id, ChannelSku(sku), units, 0, 0, as_of)
                for (place, sku), units in self.units.items()
                if place in codes
            ]
        )


def make_location(code: str, keeper: StockPlatform, *marketplaces: str) -> Location:
    """A warehouse of a shop, or an FBA pool when it has marketplaces."""
    kind = LocationKind.FBA if marketplaces else LocationKind.WAREHOUSE
    return Location(LocationCode(code), code.title(), kind, keeper.channel.id, code, marketplaces)


def own_location(code: str, **more: Any) -> Location:
    """A warehouse that the ledger counts."""
    return Location(LocationCode(code), code.title(), LocationKind.WAREHOUSE, LEDGER, code, **more)


def make_listing(sku: str, platform: StockPlatform, marketplace: str | None = None, **more: Any) -> Listing:
    """A listing; Amazon's are FBA unless told otherwise."""
    fba = platform.channel.platform is Platform.AMAZON
    values: dict[str, Any] = {
        "fulfilled_by": FulfilledBy.CHANNEL if fba else FulfilledBy.MERCHANT,
        "title": f"Title of {sku}",
        "sku": Sku(sku),
    }
    return Listing(
        id=listing_id(platform.channel.id, marketplace, ChannelSku(sku)),
        channel=platform.channel.id,
        marketplace=marketplace,
        channel_sku=ChannelSku(sku),
        external_id=f"X{sku}",
        status="ACTIVE",
        as_of=datetime.now(UTC),
        **(values | more),
    )
