"""What people ask of the flows of synchronization."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.errors import NotFound
from domain.ids import ChannelId, node_key
from resolvers.flow import Flows
from schema.channel import SyncStream
from schema.payload import UserError


def _channel(id: str) -> ChannelId:
    """Raises NotFound, with its field, for an id of another kind."""
    try:
        return ChannelId(node_key("Channel", id))
    except NotFound as problem:
        raise NotFound(problem.message, field=("channelId",)) from None


def _flows(channel: str | None, streams: list[str] | None) -> Flows:
    return Flows(None if channel is None else _channel(channel), None if streams is None else tuple(streams))


@strawberry.input(description="Synchronizations to run now.")
class SyncInput:
    channel_id: strawberry.ID
    streams: list[str] = strawberry.field(description='By name, as Channel.streams tells them, such as "orders".')
    since: datetime | None = strawberry.field(
        default=None, description="From when on; left out: from where the last run stopped."
    )

    def to_domain(self) -> Flows:
        """Which are meant. Raises NotFound for an id of another kind."""
        return _flows(self.channel_id, self.streams)


@strawberry.input(description="Orders of the past to be read.")
class BackfillOrdersInput:
    channel_id: strawberry.ID
    from_: datetime = strawberry.field(name="from", description="Placed from then on.")
    to: datetime = strawberry.field(description="Exclusive.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> ChannelId:
        """Whose orders. Raises NotFound for an id of another kind."""
        return _channel(self.channel_id)


@strawberry.input(description="Synchronizations to stop, or to let go on.")
class StreamsInput:
    channel_id: strawberry.ID | None = strawberry.field(default=None, description="Left out: of every channel.")
    streams: list[str] | None = strawberry.field(default=None, description="By name; left out: all.")

    def to_domain(self) -> Flows:
        """Which are meant. Raises NotFound for an id of another kind."""
        return _flows(self.channel_id, self.streams)


@strawberry.type(description="Synchronizations that people stopped, or let go on.")
class StreamsPayload:
    streams: list[SyncStream] = strawberry.field(description="Those that were meant, as they stand now.")
    user_errors: list[UserError]
