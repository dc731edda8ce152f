"""From where orders are sent: the rules, what they would change, and sending from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import strawberry

from domain import sourcing_rules as domain
from domain.errors import Refused
from domain.ids import node_key
from resolvers import fulfillment, sourcing
from schema.fulfillment import FulfillmentPayload, MoveFulfillmentInput
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.sourcing import SourcingPreview, SourcingRules, SourcingRulesInput, SourcingRulesPayload, in_input


@dataclass(slots=True)
class Ruling:
    """What keeping rules answers."""

    rules: domain.SourcingRules | None
    user_errors: list[UserError]


@dataclass(slots=True)
class Moving:
    """What moving answers."""

    fulfillment: fulfillment.Sending | None
    user_errors: list[UserError]


@strawberry.type
class SourcingQueries:
    @strawberry.field(
        graphql_type=SourcingRules | None,
        description="The rules by which it is chosen from where orders are sent; null: none hold.",
    )
    async def sourcing_rules(self, info: Info) -> domain.SourcingRules | None:
        return await sourcing.rules(info.context.shelf)

    @strawberry.field(
        graphql_type=SourcingPreview,
        description=(
            "Which of the past orders would have been sent from elsewhere by these rules, and what that comes to; the newest 500 "
            "of those placed from `placedFrom` until before `placedTo`. Nothing changes."
        ),
    )
    async def preview_sourcing_rules(
        self,
        info: Info,
        input: SourcingRulesInput,
        placed_from: datetime | None = None,
        placed_to: datetime | None = None,
    ) -> sourcing.Replay:
        return await sourcing.preview(info.context.shelf, input.to_domain(), placed_from, placed_to)


@strawberry.type
class SourcingMutations:
    @strawberry.mutation(
        graphql_type=SourcingRulesPayload,
        description=(
            "Keep a whole set of rules, which holds for what is promised from now on; null: no rules do. What is promised "
            "already stays where it is, and what no place might send is decided anew."
        ),
    )
    async def set_sourcing_rules(self, info: Info, input: SourcingRulesInput | None = None) -> Ruling:
        context = info.context
        try:
            wanted = None if input is None else input.to_domain()
            kept = await sourcing.save(context.shelf, wanted, context.caller.name)
        except Refused as problem:
            return Ruling(None, user_errors([in_input(problem)], ("input",)))
        return Ruling(kept, [])

    @strawberry.mutation(graphql_type=FulfillmentPayload, description="Send a part of an order from another place.")
    async def move_fulfillment(self, info: Info, input: MoveFulfillmentInput) -> Moving:
        context = info.context
        try:
            moved = await fulfillment.move(
                context.shelf,
                node_key("FulfillmentOrder", input.id),
                input.to_location,
                context.caller.name,
                input.reason,
                force=input.force,
            )
        except Refused as problem:
            problem.field = problem.field or ("id",)
            return Moving(None, user_errors([problem], ("input",)))
        return Moving(moved, [])
