"""Labels: what they cost, buying them, giving them back."""

from __future__ import annotations

import strawberry

from domain.errors import Refused
from resolvers import label
from schema.info import Info
from schema.label import LabelOffer
from schema.label_writes import BuyLabelsInput, PackageInput, VoidLabelsInput
from schema.operation import OperationPayload
from schema.payload import user_errors
from schema.roots.shared import Payload


@strawberry.type
class LabelQueries:
    @strawberry.field(
        description="What everybody asks now who may sell a label for this parcel, the cheapest first. Nothing is bought.",
    )
    async def label_offers(self, info: Info, package: PackageInput) -> list[LabelOffer]:
        at = ("package",)
        told = await label.offers(info.context.shelf, info.context.ask, package.to_domain(at), at)
        return [LabelOffer.of(one) for one in told]


@strawberry.type
class LabelMutations:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Buy a label for each parcel, once whatever happens; all or none is kept.",
    )
    async def buy_labels(self, info: Info, input: BuyLabelsInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await label.buy(
            info.context.shelf,
            info.context.ask,
            info.context.caller.name,
            info.context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
            confirm=bool(input.confirm),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Ask the money back for labels that are not used. Refused once the buyer has been told of the parcel.",
    )
    async def void_labels(self, info: Info, input: VoidLabelsInput) -> Payload:
        context = info.context
        try:
            ids = input.to_domain()
        except Refused as problem:
            return Payload(None, user_errors([problem], ("input",)))
        kept = await label.void(
            context.shelf, context.caller.name, context.request_id, ids, idempotency_key=input.idempotency_key
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))
