"""What became of prices."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import strawberry

from domain import price_history as domain
from domain.ids import Sku
from resolvers import price_history
from resolvers.connection import Connection
from schema.info import Info
from schema.price_events import PriceDriftConnection, PriceEventConnection
from schema.roots.shared import channel_key
from schema.scalars import Duration


@strawberry.type
class PriceHistoryQueries:
    @strawberry.field(
        graphql_type=PriceEventConnection,
        description=(
            "What became of the prices of a SKU's listings, newest first: asked for, seen live, changed by others, failed; from "
            "`from` until before `to`."
        ),
    )
    async def price_history(
        self,
        info: Info,
        sku: str,
        channel_id: strawberry.ID | None = None,
        marketplace: str | None = None,
        from_: Annotated[datetime | None, strawberry.argument(name="from")] = None,
        to: datetime | None = None,
        first: int | None = 50,
        after: str | None = None,
    ) -> Connection[domain.PriceEvent]:
        wanted = price_history.HistoryFilter(channel_key(channel_id), marketplace, from_, to)
        return await price_history.page(info.context.shelf, Sku(sku), first, after, wanted)

    @strawberry.field(
        graphql_type=PriceDriftConnection,
        description=(
            "Listings that have shown another price than the wanted one for longer than `longerThan` (PT15M), longest first."
        ),
    )
    async def price_drift(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        channel_id: strawberry.ID | None = None,
        longer_than: Duration | None = None,
    ) -> Connection[domain.PriceDrift]:
        over: timedelta = price_history.LATE if longer_than is None else longer_than
        return await price_history.drifts(info.context.shelf, first, after, channel_key(channel_id), over)
