"""Lines of banks and the payouts that they are."""

from __future__ import annotations

from dataclasses import dataclass

import strawberry

from domain.bank import Awaited, KeptLine
from domain.errors import Refused
from resolvers import bank
from resolvers.connection import Connection
from schema.bank import (
    BankLineConnection,
    BankLineFilter,
    MatchBankLineInput,
    MatchBankLinePayload,
    UnmatchedPayoutConnection,
)
from schema.info import Info
from schema.payload import UserError, user_errors
from schema.roots.shared import channel_key


@dataclass(slots=True)
class Matching:
    """What saying what a line is answers."""

    bank_line: KeptLine | None
    user_errors: list[UserError]


@strawberry.type
class BankQueries:
    @strawberry.field(graphql_type=BankLineConnection, description="Lines of bank accounts, the last booked first.")
    async def bank_lines(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: BankLineFilter | None = None
    ) -> Connection[KeptLine]:
        return await bank.lines(info.context.shelf, first, after, (filter or BankLineFilter()).to_domain())

    @strawberry.field(
        graphql_type=UnmatchedPayoutConnection,
        description="Settlements and payouts that no line of a bank is, the oldest first, with the lines that may be them.",
    )
    async def unmatched_payouts(
        self, info: Info, first: int | None = 50, after: str | None = None, channel_id: strawberry.ID | None = None
    ) -> Connection[Awaited]:
        return await bank.awaited(info.context.shelf, first, after, channel_key(channel_id))


@strawberry.type
class BankMutations:
    @strawberry.mutation(
        graphql_type=MatchBankLinePayload, description="Say which payout a line of a bank is, or that it is none."
    )
    async def match_bank_line(self, info: Info, input: MatchBankLineInput) -> Matching:
        context = info.context
        try:
            return Matching(await bank.decide(context.shelf, context.caller.name, input.to_domain()), [])
        except Refused as problem:
            return Matching(None, user_errors([problem], ("input",)))
