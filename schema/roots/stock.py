"""Stock: what can be sold, the ledger, and the rules of what is shown where."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import cast

import strawberry

from domain import drift as drift_domain
from domain import oversale as oversale_domain
from domain.errors import Insufficient, Invalid, Refused
from domain.freshness import OnStale as OnStaleDomain
from domain.ids import LocationCode, ReservationId, RuleId, Sku, node_key
from resolvers import (
    adjustment,
    drift,
    kit,
    ledger,
    reservation,
    stock,
    stock_changes,
    stock_rule,
)
from resolvers.connection import Connection
from resolvers.stock import Told
from schema.adjustment import AdjustStockInput
from schema.drift import OversaleConnection, StockDriftConnection
from schema.enums import OnStale
from schema.info import Info, path_of
from schema.kit import KitConnection, KitPayload, SetKitInput
from schema.ledger import LedgerCheck, LedgerCheckPayload, LedgerEntry, LedgerEntryConnection
from schema.operation import OperationPayload
from schema.payload import UserError, user_errors
from schema.reservation import ReservationPayload, ReserveStockInput, holder
from schema.roots.shared import Change, Payload, channel_key
from schema.scalars import Duration
from schema.stock import Stock, StockEvent
from schema.stock_rule import StockRule, StockRuleInput, StockRulePayload, StockRulePreview, in_input


@dataclass(slots=True)
class Held:
    """What a reservation's mutation answers."""

    reservation: reservation.Seen | None
    user_errors: list[UserError]


@dataclass(slots=True)
class KitChange:
    """What a kit's mutation answers."""

    kit: kit.Kit | None
    user_errors: list[UserError]


@strawberry.type
class StockQueries:
    @strawberry.field(
        graphql_type=list[Stock | None],
        description=(
            "What can be sold, in the order asked; at most 250 SKUs, null for an unknown one. What platforms told longer than "
            "`maxAge` ago is asked for anew, where that can be had. With `asOf`, as it was known at that instant of the last "
            "400 days."
        ),
    )
    def stock(
        self,
        info: Info,
        skus: list[str],
        max_age: Duration | None = None,
        on_stale: OnStale | None = OnStaleDomain.ANSWER,
        as_of: datetime | None = None,
    ) -> Told | Awaitable[Told]:
        wish = on_stale or OnStaleDomain.ANSWER
        return stock.asked(info.context, partial(path_of, info), cast("list[Sku]", skus), max_age, wish, as_of)

    @strawberry.field(graphql_type=LedgerEntryConnection, description="The ledger of own places, newest entry first.")
    async def stock_entries(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        sku: str | None = None,
        location: str | None = None,
    ) -> Connection[LedgerEntry]:
        only = (None if sku is None else Sku(sku), None if location is None else LocationCode(location))
        return (await ledger.page(info.context.shelf, first, after, *only)).mapped(LedgerEntry.of)

    @strawberry.field(description="The last proof that the ledger adds up; null before the first.")
    async def ledger_check(self, info: Info) -> LedgerCheck | None:
        found = await ledger.last_check(info.context.shelf)
        return None if found is None else LedgerCheck.of(found)

    @strawberry.field(description="Every rule of what may be sold where, by name.")
    async def stock_rules(self, info: Info) -> list[StockRule]:
        return [StockRule.of(one) for one in await stock_rule.rules(info.context.shelf)]

    @strawberry.field(
        graphql_type=StockRulePreview,
        description="Which numbers channels would be told instead, if the rule were kept and the one of `removeId` ended.",
    )
    async def preview_stock_rule(
        self, info: Info, input: StockRuleInput | None = None, remove_id: strawberry.ID | None = None
    ) -> stock_rule.Preview:
        if input is None and remove_id is None:
            raise Invalid("Tell a rule as `input`, or one to end as `removeId`.", field=("input",))
        wanted = None if input is None else input.to_domain()
        removed = None if remove_id is None else RuleId(node_key("StockRule", remove_id))
        return await stock_rule.preview(info.context.shelf, wanted, removed)

    @strawberry.field(graphql_type=KitConnection, description="Kits and multipacks, by SKU.")
    async def kits(self, info: Info, first: int | None = 50, after: str | None = None) -> Connection[kit.Kit]:
        return await kit.page(info.context.shelf, first, after)

    @strawberry.field(
        graphql_type=StockDriftConnection,
        description="Numbers that differ now from what we believe, newest first.",
    )
    async def stock_drift(
        self, info: Info, first: int | None = 50, after: str | None = None, channel_id: strawberry.ID | None = None
    ) -> Connection[drift_domain.Drift]:
        return await drift.page(info.context.shelf, first, after, channel_key(channel_id))

    @strawberry.field(
        graphql_type=OversaleConnection,
        description="What marketplaces sold beyond what there was, last seen first.",
    )
    async def oversales(
        self, info: Info, first: int | None = 50, after: str | None = None, channel_id: strawberry.ID | None = None
    ) -> Connection[oversale_domain.Oversale]:
        return await drift.oversales(info.context.shelf, first, after, channel_key(channel_id))


@strawberry.type
class StockMutations:
    @strawberry.mutation(
        graphql_type=ReservationPayload,
        description="Hold units for somebody who is about to buy: all of them for a while, or none.",
    )
    async def reserve_stock(self, info: Info, input: ReserveStockInput) -> Held:
        shelf, by = info.context.shelf, holder(info)
        try:
            lines, ttl, buyer = input.to_domain()
            held = await reservation.reserve(shelf, by, lines, ttl, buyer=buyer, idempotency_key=input.idempotency_key)
        except Insufficient as problem:
            return Held(None, user_errors([problem, *problem.others], ("input",)))
        except Refused as problem:
            return Held(None, user_errors([problem], ("input",)))
        return Held(held, [])

    @strawberry.mutation(
        graphql_type=ReservationPayload,
        description="It was bought: hold it until its order, which the channel calls `reference`, has shipped.",
    )
    async def commit_reservation(self, info: Info, id: strawberry.ID, reference: str | None = None) -> Held:
        shelf, by = info.context.shelf, holder(info)
        return await _held(id, lambda one: reservation.commit(shelf, by, one, reference))

    @strawberry.mutation(
        graphql_type=ReservationPayload, description="Give the units back; of what was committed, the promise."
    )
    async def release_reservation(self, info: Info, id: strawberry.ID) -> Held:
        shelf, by = info.context.shelf, holder(info)
        return await _held(id, lambda one: reservation.release(shelf, by, one))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Book units in or out of our own places, or what was counted there; all or none, at once.",
    )
    async def adjust_stock(self, info: Info, input: AdjustStockInput) -> Payload:
        kept = await adjustment.adjust(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            [one.to_domain() for one in input.adjustments],
            reason=input.reason,
            idempotency_key=input.idempotency_key,
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

    @strawberry.mutation(description="Keep a rule of what may be sold where; another one of its name ends.")
    async def set_stock_rule(self, info: Info, input: StockRuleInput) -> StockRulePayload:
        context = info.context
        try:
            kept = await stock_rule.save(context.shelf, input.to_domain(), context.caller.name)
        except Refused as problem:
            return StockRulePayload(rule=None, user_errors=user_errors([in_input(problem)], ("input",)))
        return StockRulePayload(rule=StockRule.of(kept), user_errors=[])

    @strawberry.mutation(description="End a rule.")
    async def remove_stock_rule(self, info: Info, id: strawberry.ID) -> StockRulePayload:
        context = info.context
        try:
            ended = await stock_rule.remove(context.shelf, RuleId(node_key("StockRule", id)), context.caller.name)
        except Refused as problem:
            problem.field = problem.field or ("id",)
            return StockRulePayload(rule=None, user_errors=user_errors([problem]))
        return StockRulePayload(rule=StockRule.of(ended), user_errors=[])

    @strawberry.mutation(
        graphql_type=KitPayload, description="Say what a kit is made of; without components it is no kit any more."
    )
    async def set_kit(self, info: Info, input: SetKitInput) -> KitChange:
        context = info.context
        try:
            kept = await kit.save(context.shelf, Sku(input.sku), input.to_domain(), context.caller.name)
        except Refused as problem:
            return KitChange(None, user_errors([problem], ("input",)))
        return KitChange(kept, [])

    @strawberry.mutation(description="Prove now that the ledger adds up.")
    async def check_ledger(self, info: Info) -> LedgerCheckPayload:
        return LedgerCheckPayload(check=LedgerCheck.of(await ledger.check(info.context.shelf)), user_errors=[])


@strawberry.type
class StockSubscriptions:
    @strawberry.subscription(
        graphql_type=StockEvent,
        description="The stock of each SKU now, then at each change. With `after` only the changes since, none missed.",
    )
    async def stock(self, info: Info, skus: list[str], after: str | None = None) -> AsyncGenerator[Change, None]:
        async for cursor, one in stock_changes.follow(info.context.shelf, [Sku(sku) for sku in skus], after):
            info.context.renew()
            yield Change(cursor, stock=one)


async def _held(id: str, decide: Callable[[ReservationId], Awaitable[reservation.Seen]]) -> Held:
    """What is decided about a reservation."""
    try:
        return Held(await decide(ReservationId(node_key("Reservation", id))), [])
    except Refused as problem:
        problem.field = problem.field or ("id",)
        return Held(None, user_errors([problem]))
