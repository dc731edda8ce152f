"""Lists that people have made files of."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain.errors import NotFound
from domain.export import ExportWanted
from domain.ids import ChannelId, node_key
from resolvers.export import ExportRequest
from schema.enums import ExportFormat, ExportList, ProfitDimension


@strawberry.type(description="How far the file of a list has come.")
class ExportProgress:
    rows: int = strawberry.field(description="Rows that are written so far.")
    bytes: int = strawberry.field(description="How long the file is so far.")
    done: bool = strawberry.field(description="Whether it is whole; then it is the item's document.")


@strawberry.input(description="A list that is to be a file.")
class RequestExportInput:
    of: ExportList = strawberry.field(name="list")
    format: ExportFormat = strawberry.field(default=ExportFormat.CSV)
    channel_id: strawberry.ID | None = strawberry.field(default=None, description="Left out: of all channels.")
    from_: datetime | None = strawberry.field(
        name="from",
        default=None,
        description=(
            "Of what is from then on: money by its day of business, settlements by their end, orders by when they were placed, "
            "all else by when it happened."
        ),
    )
    to: datetime | None = strawberry.field(default=None, description="Of what is before then.")
    known_at: datetime | None = strawberry.field(
        default=None, description="As it was known at that instant; left out: now. For lines of money and costs."
    )
    settlement_id: strawberry.ID | None = strawberry.field(default=None, description="Of this settlement alone.")
    group_by: list[ProfitDimension] | None = strawberry.field(
        default=None, description="What PROFIT is told by: a column of each."
    )
    currency: str | None = strawberry.field(
        default=None, description="Of PROFIT: all in this currency, by the rate of each day; left out: each in its own."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="Repeating the mutation with the same key and contents answers the first operation."
    )

    def to_domain(self) -> ExportRequest:
        """As the resolver takes it. Raises NotFound, with its field, for an id of another kind."""
        channel = _key("Channel", self.channel_id, "channelId")
        return ExportRequest(
            ExportWanted(
                self.of,
                self.format,
                None if channel is None else ChannelId(channel),
                self.from_,
                self.to,
                self.known_at,
                _key("Settlement", self.settlement_id, "settlementId"),
                tuple(self.group_by or ()),
                self.currency,
            ),
            self.idempotency_key,
        )


def _key(kind: str, id: str | None, field: str) -> str | None:
    try:
        return None if id is None else node_key(kind, id)
    except NotFound as problem:
        raise NotFound(problem.message, field=(field,)) from None
