"""Reports that people ask platforms for."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.errors import NotFound
from domain.ids import ChannelId, node_key
from resolvers.report import ReportRequest


@strawberry.type(description="A file that an item of an operation has brought.")
class OperationDocument:
    url: str = strawberry.field(
        description="Where it can be fetched, below the gateway's address, by whoever has the link; a new one at each asking."
    )
    expires_at: datetime = strawberry.field(description="When the link ends; the file is kept for longer.")
    bytes: int = strawberry.field(description="How long the file is.")
    content_type: str = strawberry.field(description="As the platform names it, with its charset where it tells one.")


@strawberry.input(description="A report that a channel is to make.")
class RequestReportInput:
    channel_id: strawberry.ID
    report_type: str = strawberry.field(
        description="The platform's name of it. A name that cannot be asked for is refused with those that can."
    )
    from_: datetime | None = strawberry.field(
        name="from",
        default=None,
        description="Of what happened from then on; left out: what the platform has as usual.",
    )
    to: datetime | None = strawberry.field(default=None, description="Of what happened before then; left out: now.")
    marketplaces: list[str] | None = strawberry.field(
        default=None, description="Country codes; left out: a report of each marketplace of the channel."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> ReportRequest:
        """As the resolver takes it. Raises NotFound, with its field, for an id of another kind."""
        try:
            channel = ChannelId(node_key("Channel", self.channel_id))
        except NotFound as problem:
            raise NotFound(problem.message, field=("channelId",)) from None
        marketplaces = None if self.marketplaces is None else tuple(self.marketplaces)
        return ReportRequest(channel, self.report_type, self.from_, self.to, marketplaces)
