"""Channels, and the calls to them."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from domain import channel as channel_domain
from domain.errors import NotFound
from domain.exchange import Exchange
from domain.ids import ChannelId, node_key
from resolvers import api_calls, channel
from resolvers.connection import Connection
from schema.api_calls import ApiCallConnection, ApiCallFilter
from schema.channel import Channel, RateBudget, rate_budgets
from schema.info import Info


@strawberry.type
class ChannelQueries:
    @strawberry.field(graphql_type=list[Channel], description="Every configured channel.")
    def channels(self, info: Info) -> Sequence[channel_domain.Channel]:
        return list(info.context.shelf.channels.values())

    @strawberry.field(description="The rate budgets of one channel, or of all.")
    async def budgets(self, info: Info, channel_id: strawberry.ID | None = None) -> list[RateBudget]:
        only = None if channel_id is None else ChannelId(node_key("Channel", channel_id))
        if only is not None and only not in info.context.shelf.channels:
            raise NotFound(f"There is no channel {channel_id}.")
        return rate_budgets(await channel.budgets(info.context.shelf, only))

    @strawberry.field(graphql_type=ApiCallConnection, description="Calls to platforms, newest first.")
    async def api_calls(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ApiCallFilter | None = None
    ) -> Connection[Exchange]:
        wanted = (filter or ApiCallFilter()).to_domain()
        return await api_calls.page(info.context.shelf, first, after, wanted)
