"""What is left of what buyers pay."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import profit as domain
from resolvers import profit
from schema.enums import ProfitDimension
from schema.info import Info
from schema.profit import ProfitChange, ProfitFilter, ProfitRow


@strawberry.type
class ProfitQueries:
    @strawberry.field(
        graphql_type=list[ProfitRow],
        description=(
            "Profit by dimensions: a row for each of their values and each currency, at most 10,000; by none, the total. An "
            "order's sale counts, with all that it costs, on the day the order was placed, all else on the day it was posted."
        ),
    )
    async def profit(self, info: Info, filter: ProfitFilter, group_by: list[ProfitDimension]) -> list[domain.Row]:
        return await profit.rows(info.context.shelf, filter.to_domain(), group_by)

    @strawberry.field(
        graphql_type=list[ProfitChange],
        description=(
            "Why the total is told otherwise than it was at `since`, until now or `filter.knownAt`: a change for each reason, "
            "what moved most first. Of each kind at most 200 are told apart, and the rest as one."
        ),
    )
    async def profit_changes(self, info: Info, filter: ProfitFilter, since: datetime) -> list[domain.Change]:
        return await profit.changes(info.context.shelf, filter.to_domain(), since)
