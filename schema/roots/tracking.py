"""What was told of parcels and has come to nothing yet."""

from __future__ import annotations

import strawberry

from domain.tracking import Problem
from resolvers import tracking
from resolvers.connection import Connection
from schema.info import Info
from schema.tracking import TrackingProblemConnection


@strawberry.type
class TrackingQueries:
    @strawberry.field(
        graphql_type=TrackingProblemConnection,
        description="What was told of parcels and has come to nothing yet, newest first; kept until it has.",
    )
    async def tracking_problems(
        self, info: Info, first: int | None = 50, after: str | None = None, source: str | None = None
    ) -> Connection[Problem]:
        return await tracking.problems(info.context.shelf, first, after, source)
