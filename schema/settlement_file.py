"""Files of settlements, as they came."""

from __future__ import annotations

import json
from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain import settlement as settlement_domain
from domain.ids import node_id
from executor import batched
from resolvers import channel, settlement_file
from resolvers.settlement_file import File
from schema.channel import Channel
from schema.connection import Page
from schema.enums import SettlementFileState
from schema.info import Info
from schema.money_line import settlements
from schema.payload import UserError
from schema.settlement import Settlement


def _file_id(root: File) -> strawberry.ID:
    return strawberry.ID(node_id("SettlementFile", root.id))


def _dialect(root: File) -> str | None:
    return json.dumps(root.dialect, ensure_ascii=False) if root.dialect else None


@strawberry.type(description="The file of a settlement as it came. It is kept for good.")
class SettlementFile:
    id: strawberry.ID = strawberry.field(resolver=_file_id)
    name: str
    brought_by: str = strawberry.field(description="The stream or the person that brought it.")
    reports: list[str] = strawberry.field(description="The channel's own ids of the reports that had these bytes.")
    marketplace: str | None
    sha256: str | None = strawberry.field(name="sha256", description="Of its bytes; null while they are coming.")
    size: int = strawberry.field(description="Its bytes, unpacked; 0 where they are not kept.")
    state: SettlementFileState
    reason: str | None = strawberry.field(description="Why it was refused.")
    rows_read: int = strawberry.field(description="How many rows its settlement has; 0 until it is kept.")
    dialect: str | None = strawberry.field(resolver=_dialect, description="How it is written, as JSON.")
    at: datetime = strawberry.field(description="When it came.")
    ended_at: datetime | None = strawberry.field(description="When it was kept or refused.")

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[File]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)

    @strawberry.field(
        description=(
            "Where its bytes can be fetched as a gzip file for ten minutes, below the gateway's address; null where none are "
            "kept."
        )
    )
    def url(self, info: Info, root: strawberry.Parent[File]) -> str | None:
        link = settlement_file.link(info.context.shelf, root)
        return None if link is None else link.url

    @strawberry.field(graphql_type=Settlement | None, description="What became of it.")
    @batched(settlements)
    async def settlement(self, info: Info, root: strawberry.Parent[File]) -> settlement_domain.Settlement | None:
        return None if root.settlement is None else await info.context.loaders.settlement_by_id.load(root.settlement)


@strawberry.type
class SettlementFileEdge:
    cursor: str
    node: SettlementFile


@strawberry.type(description="A page of files of settlements.")
class SettlementFileConnection(Page):
    edges: list[SettlementFileEdge]
    nodes: list[SettlementFile]


@strawberry.type(description="The file as it stands now; or why it is not read again.")
class RetrySettlementFilePayload:
    file: SettlementFile | None
    user_errors: list[UserError]
