"""Prices by rule: the sets, what they would make, and asking for that."""

from __future__ import annotations

from dataclasses import dataclass

import strawberry

from domain import price_rules as domain
from domain.errors import Refused
from domain.ids import ListingId, Sku
from resolvers import price_rules
from resolvers.connection import Connection
from resolvers.price_rules import Tried
from schema.info import Info
from schema.operation import OperationPayload
from schema.payload import UserError, user_errors
from schema.price_rules import PricePreview, PricePreviewConnection, PriceRules, PriceRulesPayload
from schema.price_rules_input import PriceRuleInput, SetPriceRulesInput, in_input, to_domain
from schema.roots.shared import Payload, channel_key, key_or_none


@dataclass(slots=True)
class Ruling:
    """What keeping rules answers."""

    price_rules: domain.PriceRules | None
    user_errors: list[UserError]


@strawberry.type
class PriceRuleQueries:
    @strawberry.field(graphql_type=PriceRules, description="The rules by which prices are made; version 0: none yet.")
    async def price_rules(self, info: Info) -> domain.PriceRules:
        return await price_rules.newest(info.context.shelf)

    @strawberry.field(graphql_type=list[PriceRules], description="The sets that were kept, newest first; at most 50.")
    async def price_rule_versions(self, info: Info, first: int = 20) -> list[domain.PriceRules]:
        return await price_rules.versions(info.context.shelf, first)

    @strawberry.field(
        graphql_type=PricePreviewConnection,
        description=(
            "What these rules (left out: those that hold) make now of listings, with every step, and the guards that the prices "
            "would run into. Nothing is kept, and nothing changes."
        ),
    )
    async def preview_price_rules(
        self,
        info: Info,
        rules: list[PriceRuleInput] | None = None,
        skus: list[str] | None = None,
        channel_id: strawberry.ID | None = None,
        first: int | None = None,
        after: str | None = None,
    ) -> Connection[Tried]:
        try:
            wanted = None if rules is None else domain.PriceRules(to_domain(rules))
            return await price_rules.preview(
                info.context.shelf,
                wanted,
                None if skus is None else [Sku(one) for one in skus],
                channel_key(channel_id),
                first,
                after,
            )
        except Refused as problem:
            raise in_input(problem) from None

    @strawberry.field(
        graphql_type=PricePreview | None,
        description="How the rules that hold make the price of a listing now; null where there is no such listing.",
    )
    async def explain_price(self, info: Info, listing_id: strawberry.ID) -> Tried | None:
        key = key_or_none("Listing", listing_id)
        return None if key is None else await price_rules.explain(info.context.shelf, ListingId(key))


@strawberry.type
class PriceRuleMutations:
    @strawberry.mutation(
        graphql_type=PriceRulesPayload,
        description="Keep a whole set of rules. Prices are made by it from now on.",
    )
    async def set_price_rules(self, info: Info, input: SetPriceRulesInput) -> Ruling:
        context = info.context
        try:
            kept = await price_rules.save(context.shelf, input.to_domain(), context.caller.name)
        except Refused as problem:
            return Ruling(None, user_errors([in_input(problem)], ("input",)))
        return Ruling(kept, [])

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description=(
            "Ask for the prices that the rules make now, of at most 5,000 listings, where they are others than there are. With "
            "dryRun it is a PREVIEW, which approveOperation can apply."
        ),
    )
    async def apply_price_rules(
        self,
        info: Info,
        skus: list[str] | None = None,
        channel_id: strawberry.ID | None = None,
        idempotency_key: str | None = None,
        dry_run: bool = False,
    ) -> Payload:
        context = info.context
        try:
            channel = channel_key(channel_id)
        except Refused as problem:
            problem.field = ("channelId",)
            return Payload(None, user_errors([problem]))
        kept = await price_rules.apply(
            context.shelf,
            context.caller.name,
            context.request_id,
            None if skus is None else [Sku(one) for one in skus],
            channel,
            idempotency_key=idempotency_key,
            dry_run=dry_run,
        )
        return Payload(kept.operation, user_errors(kept.problems))
