"""Settlements, what is left of them, and tying that out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import strawberry

from domain import residual as residual_domain
from domain import settlement as domain
from domain.errors import Refused
from domain.ids import node_key
from resolvers import settlement, settlement_file
from resolvers.connection import Connection
from schema.enums import SettlementFileState
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.residual import (
    AssignResidualInput,
    AssignResidualPayload,
    ResidualConnection,
    ResidualFilter,
    ResidualSum,
)
from schema.roots.shared import channel_key
from schema.settlement import MissingSettlement, SettlementConnection, SettlementFilter
from schema.settlement_file import RetrySettlementFilePayload, SettlementFileConnection


@dataclass(slots=True)
class Assigned:
    """What tying a line answers."""

    line: residual_domain.KeptLine | None
    user_errors: list[UserError]


@dataclass(slots=True)
class Retried:
    """What reading a file again answers."""

    file: settlement_file.File | None
    user_errors: list[UserError]


@strawberry.type
class SettlementQueries:
    @strawberry.field(
        graphql_type=SettlementConnection,
        description="Settlements of marketplaces and payouts of shops, the last ended first.",
    )
    async def settlements(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: SettlementFilter | None = None
    ) -> Connection[domain.Settlement]:
        wanted = (filter or SettlementFilter()).to_domain()
        return await settlement.page(info.context.shelf, first, after, wanted)

    @strawberry.field(
        graphql_type=ResidualConnection,
        description="Lines of settlements that are not tied out, the longest open first.",
    )
    async def residuals(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ResidualFilter | None = None
    ) -> Connection[residual_domain.Residual]:
        wanted = filter or ResidualFilter()
        return await settlement.residuals(
            info.context.shelf,
            first,
            after,
            channel=channel_key(wanted.channel_id),
            cause=wanted.cause,
            older_than=wanted.older_than,
        )

    @strawberry.field(
        graphql_type=list[ResidualSum],
        description="All that is not tied out, added up by channel, currency, cause and age.",
    )
    async def residual_summary(
        self, info: Info, channel_id: strawberry.ID | None = None
    ) -> Sequence[residual_domain.ResidualSum]:
        return await settlement.residual_sums(info.context.shelf, channel_key(channel_id))

    @strawberry.field(
        graphql_type=list[MissingSettlement],
        description="Settlements that must be there and are not: periods and balances around them do not join.",
    )
    async def missing_settlements(
        self, info: Info, channel_id: strawberry.ID | None = None
    ) -> Sequence[residual_domain.Missing]:
        return await settlement.missing(info.context.shelf, channel_key(channel_id))

    @strawberry.field(
        graphql_type=SettlementFileConnection,
        description="Files of settlements, the last come first: kept, being read, or refused with the reason.",
    )
    async def settlement_files(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        channel_id: strawberry.ID | None = None,
        state: SettlementFileState | None = None,
    ) -> Connection[settlement_file.File]:
        only = channel_key(channel_id)
        return await settlement_file.page(info.context.shelf, first, after, channel=only, state=state)


@strawberry.type
class SettlementMutations:
    @strawberry.mutation(
        graphql_type=RetrySettlementFilePayload,
        description="Have a refused file read once more, as when its channel or marketplace was configured since.",
    )
    async def retry_settlement_file(self, info: Info, id: strawberry.ID) -> Retried:
        try:
            return Retried(await settlement_file.retry(info.context.shelf, node_key("SettlementFile", id)), [])
        except Refused as problem:
            problem.field = ("id",)
            return Retried(None, user_errors([problem]))

    @strawberry.mutation(
        graphql_type=AssignResidualPayload,
        description=(
            "Tie a residual line by hand, to an order, a SKU or the account. The same again changes nothing; `undo` takes it "
            "back."
        ),
    )
    async def assign_residual(self, info: Info, input: AssignResidualInput) -> Assigned:
        context = info.context
        try:
            line, target = input.line(), input.target()
            tied = await settlement.assign(context.shelf, context.caller.name, line, target, input.reason)
        except Refused as problem:
            return Assigned(None, user_errors([problem], ("input",)))
        return Assigned(tied, [])
