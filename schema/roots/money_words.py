"""What words for money mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import strawberry

from domain import money_said
from domain.errors import Refused
from resolvers import money_words
from schema.info import Info
from schema.money_words import (
    ClassifiedMoney,
    ClassifyMoneyInput,
    ClassifyMoneyPayload,
    Statement,
    UnclassifiedMoney,
)
from schema.payload import UserError, user_errors


@dataclass(slots=True)
class Classified:
    """What saying something of words answers."""

    classified: Statement | None
    user_errors: list[UserError]


@strawberry.type
class MoneyWordQueries:
    @strawberry.field(
        graphql_type=list[UnclassifiedMoney],
        description="Words for money that nobody knows, those first that were seen first.",
    )
    async def unclassified_money(self, info: Info, first: int | None = 50) -> Sequence[money_said.Unclassified]:
        return await money_words.unclassified(info.context.shelf, first)

    @strawberry.field(
        graphql_type=list[ClassifiedMoney],
        description="What people say that words for money mean, the newest first.",
    )
    async def classified_money(self, info: Info) -> Sequence[Statement]:
        return await money_words.said(info.context.shelf)


@strawberry.type
class MoneyWordMutations:
    @strawberry.mutation(
        graphql_type=ClassifyMoneyPayload,
        description=(
            "Say what words for money mean that no table knows. All lines with these words are classed so, those that stand and "
            "those that come; sums as they were known before stay what they were. The same again changes nothing."
        ),
    )
    async def classify_money(self, info: Info, input: ClassifyMoneyInput) -> Classified:
        context = info.context
        try:
            kept = await money_words.say(context.shelf, input.words(), input.said(context.caller.name))
        except Refused as problem:
            return Classified(None, user_errors([problem], ("input",)))
        return Classified(kept, [])
