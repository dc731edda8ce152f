"""Orders that wait: holding them and letting them go, cancelling and refunding them, and which is the most urgent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import strawberry

from domain import order as order_domain
from domain.errors import Refused
from domain.urgency import Urgent
from resolvers import cancel, hold, order_queue, refund
from resolvers.connection import Connection
from schema.hold import HoldRule, HoldRuleInput, HoldRulePayload
from schema.info import Info
from schema.operation import OperationPayload
from schema.order_queue import OrderQueueConnection, OrderQueueFilter
from schema.order_writes import (
    CancelOrdersInput,
    HoldOrdersInput,
    HoldPayload,
    RefundOrdersInput,
    ReleaseOrdersInput,
    order_keys,
)
from schema.payload import UserError, user_errors
from schema.roots.shared import Payload


@dataclass(slots=True)
class Holding:
    """What holding and letting go answers."""

    orders: list[order_domain.Order]
    user_errors: list[UserError]


@strawberry.type
class HoldQueries:
    @strawberry.field(
        graphql_type=OrderQueueConnection,
        description="Open orders that we ship, the one first whose confirmation must be sent first.",
    )
    async def order_queue(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OrderQueueFilter | None = None
    ) -> Connection[Urgent]:
        wanted = (filter or OrderQueueFilter()).to_domain()
        return await order_queue.page(info.context.shelf, first, after, wanted)

    @strawberry.field(description="The rules that hold orders as they come in, by name.")
    async def hold_rules(self, info: Info) -> list[HoldRule]:
        return [HoldRule.of(one) for one in await hold.rules(info.context.shelf)]


@strawberry.type
class HoldMutations:
    @strawberry.mutation(
        graphql_type=HoldPayload,
        description="Keep orders from being shipped, each for itself. One that is held for the reason already stays as it is.",
    )
    async def hold_orders(self, info: Info, input: HoldOrdersInput) -> Holding:
        keys, problems = order_keys(input.order_ids, _places(input.order_ids))
        if problems:
            return Holding([], user_errors(problems, ("input",)))
        by = info.context.caller.name
        return _held(
            await hold.hold_orders(
                info.context.shelf, by, keys, input.reason, input.words, input.until, approval=input.approval
            )
        )

    @strawberry.mutation(
        graphql_type=HoldPayload,
        description="Let held orders go on, each for itself; but not one that waits for an approval.",
    )
    async def release_orders(self, info: Info, input: ReleaseOrdersInput) -> Holding:
        keys, problems = order_keys(input.order_ids, _places(input.order_ids))
        if problems:
            return Holding([], user_errors(problems, ("input",)))
        return _held(await hold.release_orders(info.context.shelf, info.context.caller.name, keys, input.words))

    @strawberry.mutation(
        graphql_type=HoldPayload,
        description="Let held orders go on that wait for an approval; who held one for it is refused.",
    )
    async def approve_orders(self, info: Info, input: ReleaseOrdersInput) -> Holding:
        keys, problems = order_keys(input.order_ids, _places(input.order_ids))
        if problems:
            return Holding([], user_errors(problems, ("input",)))
        return _held(await hold.approve_orders(info.context.shelf, info.context.caller.name, keys, input.words))

    @strawberry.mutation(
        graphql_type=HoldRulePayload, description="Keep a rule; it holds for orders that come in or change."
    )
    async def set_hold_rule(self, info: Info, input: HoldRuleInput) -> HoldRulePayload:
        try:
            kept = await hold.set_rule(info.context.shelf, input.to_domain(), info.context.caller.name)
        except Refused as problem:
            return HoldRulePayload(rule=None, user_errors=user_errors([problem], ("input",)))
        return HoldRulePayload(rule=HoldRule.of(kept), user_errors=[])

    @strawberry.mutation(graphql_type=HoldRulePayload, description="Forget a rule; what it holds stays held.")
    async def remove_hold_rule(self, info: Info, name: str) -> HoldRulePayload:
        try:
            removed = await hold.remove_rule(info.context.shelf, name)
        except Refused as problem:
            return HoldRulePayload(rule=None, user_errors=user_errors([problem]))
        return HoldRulePayload(rule=HoldRule.of(removed), user_errors=[])

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Cancel whole orders at their channels; all or none is kept. Units are given back when the channel shows it.",
    )
    async def cancel_orders(self, info: Info, input: CancelOrdersInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        context = info.context
        kept = await cancel.cancel(
            context.shelf,
            context.caller.name,
            context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description=(
            "Give buyers' money back; all or none is kept. Above the amount of the configuration it awaits the approval of "
            "somebody else."
        ),
    )
    async def refund_orders(self, info: Info, input: RefundOrdersInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        context = info.context
        kept = await refund.refund(
            context.shelf,
            context.caller.name,
            context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))


def _places(ids: Sequence[str]) -> list[tuple[str, ...]]:
    return [("orderIds", str(index)) for index in range(len(ids))]


def _held(done: hold.Held) -> Holding:
    return Holding(done.orders, user_errors(done.problems, ("input",)))
