"""What no price may be: the guards, and keeping others."""

from __future__ import annotations

from dataclasses import dataclass

import strawberry

from domain import price_guard as domain
from domain.errors import Refused
from resolvers import price_guard
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.price_guard import PriceGuards, PriceGuardsPayload, SetPriceGuardsInput, in_input


@dataclass(slots=True)
class Guarding:
    """What keeping guards answers."""

    price_guards: domain.PriceGuards | None
    user_errors: list[UserError]


@strawberry.type
class PriceGuardQueries:
    @strawberry.field(graphql_type=PriceGuards, description="The guards that every change of a price is held by.")
    async def price_guards(self, info: Info) -> domain.PriceGuards:
        return await price_guard.current(info.context.shelf)

    @strawberry.field(graphql_type=list[PriceGuards], description="The sets that were kept, newest first; at most 50.")
    async def price_guard_versions(self, info: Info, first: int = 20) -> list[domain.PriceGuards]:
        return await price_guard.versions(info.context.shelf, first)


@strawberry.type
class PriceGuardMutations:
    @strawberry.mutation(
        graphql_type=PriceGuardsPayload,
        description=(
            "Keep a whole set of guards. It holds at once: for what comes in, for what is approved, and for what is still to be "
            "sent."
        ),
    )
    async def set_price_guards(self, info: Info, input: SetPriceGuardsInput) -> Guarding:
        context = info.context
        try:
            kept = await price_guard.save(context.shelf, input.to_domain(), context.caller.name)
        except Refused as problem:
            return Guarding(None, user_errors([in_input(problem)], ("input",)))
        return Guarding(kept, [])
