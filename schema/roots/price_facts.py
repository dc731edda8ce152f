"""What prices are made of: reading it, and telling what units cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import strawberry

from domain.cost import CostLayer
from domain.errors import Refused
from domain.ids import Sku
from resolvers import price_facts
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.price_facts import PriceInputs, SetUnitCostsInput, SetUnitCostsPayload, UnitCosts


@dataclass(slots=True)
class Costing:
    """What telling costs answers."""

    costs: list[CostLayer | None]
    user_errors: list[UserError]


@strawberry.type
class PriceFactQueries:
    @strawberry.field(
        graphql_type=list[UnitCosts],
        description="What units of at most 100 SKUs cost, on a day (by UTC) or today, and all that was ever said of it.",
    )
    async def unit_costs(self, info: Info, skus: list[str], on: date | None = None) -> list[price_facts.Costs]:
        return await price_facts.costs(info.context.shelf, [Sku(one) for one in skus], on)

    @strawberry.field(
        graphql_type=list[PriceInputs],
        description="What the prices of all listings of at most 100 SKUs are made of. Nothing is asked of a channel.",
    )
    async def price_inputs(self, info: Info, skus: list[str]) -> list[price_facts.Known]:
        return await price_facts.known(info.context.shelf, [Sku(one) for one in skus])


@strawberry.type
class PriceFactMutations:
    @strawberry.mutation(
        graphql_type=SetUnitCostsPayload,
        description="Tell what units cost, from a day on. Prices that are made of it are worked out anew.",
    )
    async def set_unit_costs(self, info: Info, input: SetUnitCostsInput) -> Costing:
        context = info.context
        said, problems = [], []
        for number, one in enumerate(input.costs):
            try:
                said.append(one.to_domain())
            except Refused as problem:
                problem.field = ("costs", str(number), *(problem.field or ()))
                problems.append(problem)
        if problems:
            return Costing([], user_errors(problems, ("input",)))
        try:
            kept = await price_facts.set_costs(context.shelf, said, context.caller.name, dry_run=input.dry_run)
        except Refused as problem:
            return Costing([], user_errors([problem], ("input",)))
        refused: list[Refused] = []
        for number, row in enumerate(kept):
            if row.problem is not None:
                row.problem.field = ("costs", str(number))
                refused.append(row.problem)
        return Costing([row.layer for row in kept], user_errors(refused, ("input",)))
