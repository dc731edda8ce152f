"""The root fields, thin: each calls one resolver and maps its answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

import strawberry
from graphql import GraphQLDeferDirective
from strawberry.federation import Schema
from strawberry.federation.schema import FederationAny
from strawberry.schema.config import StrawberryConfig

from domain import channel as channel_domain
from domain import drift as drift_domain
from domain import operation as operation_domain
from domain import order as order_domain
from domain import oversale as oversale_domain
from domain import product as product_domain
from domain import stock as stock_domain
from domain import webhook as webhook_domain
from domain.errors import HouseError, Insufficient, Invalid, NotFound, Refused
from domain.exchange import Exchange
from domain.freshness import OnStale as OnStaleDomain
from domain.ids import ChannelId, LocationCode, OperationId, OrderId, ReservationId, RuleId, Sku, node_key
from domain.mapping import Task
from resolvers import (
    adjustment,
    api_calls,
    channel,
    drift,
    kit,
    ledger,
    mapping,
    node,
    operation,
    order,
    product,
    reservation,
    shipment,
    stock,
    stock_changes,
    stock_rule,
    webhook,
)
from resolvers.connection import Connection
from schema.adjustment import AdjustStockInput
from schema.api_calls import ApiCallConnection, ApiCallFilter
from schema.channel import Channel, RateBudget, rate_budgets
from schema.drift import OversaleConnection, StockDriftConnection
from schema.enums import MappingTaskState, OnStale
from schema.federation import VERSION, Entity, Service, entities
from schema.info import Info, path_of
from schema.kit import KitConnection, KitPayload, SetKitInput
from schema.ledger import LedgerCheck, LedgerCheckPayload, LedgerEntry, LedgerEntryConnection
from schema.mapping import AnswerMappingTaskInput, MappingTaskConnection, MappingTaskPayload
from schema.node import Node
from schema.operation import (
    Operation,
    OperationConnection,
    OperationEvent,
    OperationFilter,
    OperationPayload,
)
from schema.order import ConfirmShipmentsInput, Order, OrderConnection, OrderFilter
from schema.payload import UserError, user_errors
from schema.printed import sdl
from schema.product import Listing, Product, ProductConnection, ProductFilter
from schema.reservation import Reservation, ReservationPayload, ReserveStockInput, holder
from schema.scalars import SCALARS, Duration
from schema.scopes import NODE_SCOPES
from schema.stock import Stock, StockEvent
from schema.stock_rule import StockRule, StockRuleInput, StockRulePayload, StockRulePreview, in_input
from schema.webhook import (
    CreateWebhookInput,
    UpdateWebhookInput,
    Webhook,
    WebhookDeliveryPayload,
    WebhookPayload,
    WebhookSecretPayload,
    maker,
)


@dataclass(slots=True)
class Payload:
    """What an operation's mutation answers."""

    operation: operation_domain.Operation | None
    user_errors: list[UserError]


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


@dataclass(slots=True)
class MappingAnswer:
    """What a mapping task's mutation answers."""

    task: Task | None
    changed_products: int
    user_errors: list[UserError]


@dataclass(slots=True)
class WebhookChange:
    """What a webhook's mutation answers; `secret` where it made a new one."""

    webhook: webhook_domain.Webhook | None
    user_errors: list[UserError]
    secret: str | None = None


@dataclass(slots=True)
class WebhookAsked:
    """What a mutation answers that has something delivered."""

    delivery: webhook_domain.Delivery | None
    user_errors: list[UserError]


@dataclass(slots=True)
class Change:
    """One event of a subscription; it has `operation` or `stock`, as its type wants."""

    cursor: str
    operation: operation_domain.Operation | None = None
    stock: stock_domain.Stock | None = None

    @property
    def same(self) -> Hashable:
        """Equal for all, of whatever subscription, who are told the same: the very stock or operation, at one cursor."""
        return self.cursor, id(self.stock), id(self.operation)


@strawberry.type
class Query:
    @strawberry.field(graphql_type=Node | None, description="Anything by its global id; null when there is none.")
    async def node(self, info: Info, id: strawberry.ID) -> node.Thing | None:
        kind = id.partition(":")[0]
        key = _key_or_none(kind, id)
        if key is None or kind not in NODE_SCOPES:
            return None
        info.context.caller.needs(NODE_SCOPES[kind])
        return await node.by_id(info.context, kind, key)

    @strawberry.field(
        graphql_type=list[Stock | None],
        description=(
            "What can be sold, in the order asked; at most 250 SKUs, null for an unknown one. What platforms told longer than "
            "`maxAge` ago is asked for anew, where that can be had. With `asOf`, as it was known at that instant of the last "
            "400 days."
        ),
    )
    async def stock(
        self,
        info: Info,
        skus: list[str],
        max_age: Duration | None = None,
        on_stale: OnStale | None = OnStaleDomain.ANSWER,
        as_of: datetime | None = None,
    ) -> list[stock_domain.Stock | HouseError | None]:
        wish = on_stale or OnStaleDomain.ANSWER
        return await stock.asked(info.context, partial(path_of, info), cast(list[Sku], skus), max_age, wish, as_of)

    @strawberry.field(graphql_type=Product | None, description="One product by our SKU.")
    async def product(self, info: Info, sku: str) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(Sku(sku))

    @strawberry.field(graphql_type=ProductConnection, description="Products in the order of their SKUs.")
    async def products(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ProductFilter | None = None
    ) -> Connection[product_domain.Product]:
        wanted = (filter or ProductFilter()).to_domain()
        return await product.page(info.context.shelf, first, after, wanted)

    @strawberry.field(graphql_type=Order | None, description="One order by its global id.")
    async def order(self, info: Info, id: strawberry.ID) -> order_domain.Order | None:
        key = _key_or_none("Order", id)
        return None if key is None else await info.context.loaders.order_by_id.load(OrderId(key))

    @strawberry.field(graphql_type=OrderConnection, description="Orders of all channels, newest first.")
    async def orders(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OrderFilter | None = None
    ) -> Connection[order_domain.Order]:
        wanted = (filter or OrderFilter()).to_domain()
        return await order.page(info.context.shelf, first, after, wanted)

    @strawberry.field(graphql_type=Operation | None, description="One operation by its global id.")
    async def operation(self, info: Info, id: strawberry.ID) -> operation_domain.Operation | None:
        key = _key_or_none("Operation", id)
        found = None if key is None else await info.context.loaders.operation_by_id.load(OperationId(key))
        return found if found is not None and found.kind in _kinds(info) else None

    @strawberry.field(graphql_type=OperationConnection, description="Operations, newest first.")
    async def operations(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: OperationFilter | None = None
    ) -> Connection[operation_domain.Operation]:
        wanted = (filter or OperationFilter()).to_domain()
        return await operation.page(info.context.shelf, first, after, wanted, _kinds(info))

    @strawberry.field(graphql_type=list[Channel], description="Every configured channel.")
    def channels(self, info: Info) -> Sequence[channel_domain.Channel]:
        return list(info.context.shelf.channels.values())

    @strawberry.field(description="The rate budgets of one channel, or of all.")
    async def budgets(self, info: Info, channel_id: strawberry.ID | None = None) -> list[RateBudget]:
        only = None if channel_id is None else ChannelId(node_key("Channel", channel_id))
        if only is not None and only not in info.context.shelf.channels:
            raise NotFound(f"There is no channel {channel_id}.")
        return rate_budgets(await channel.budgets(info.context.shelf, only))

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
        graphql_type=MappingTaskConnection,
        description="Values of products' properties that no dictionary knows, newest first.",
    )
    async def mapping_tasks(
        self,
        info: Info,
        first: int | None = 50,
        after: str | None = None,
        channel_id: strawberry.ID | None = None,
        state: MappingTaskState | None = MappingTaskState.OPEN,
    ) -> Connection[Task]:
        return await mapping.page(info.context.shelf, first, after, _channel(channel_id), state)

    @strawberry.field(
        graphql_type=StockDriftConnection,
        description="Numbers that differ now from what we believe, newest first.",
    )
    async def stock_drift(
        self, info: Info, first: int | None = 50, after: str | None = None, channel_id: strawberry.ID | None = None
    ) -> Connection[drift_domain.Drift]:
        return await drift.page(info.context.shelf, first, after, _channel(channel_id))

    @strawberry.field(
        graphql_type=OversaleConnection,
        description="What marketplaces sold beyond what there was, last seen first.",
    )
    async def oversales(
        self, info: Info, first: int | None = 50, after: str | None = None, channel_id: strawberry.ID | None = None
    ) -> Connection[oversale_domain.Oversale]:
        return await drift.oversales(info.context.shelf, first, after, _channel(channel_id))

    @strawberry.field(graphql_type=ApiCallConnection, description="Calls to platforms, newest first.")
    async def api_calls(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ApiCallFilter | None = None
    ) -> Connection[Exchange]:
        wanted = (filter or ApiCallFilter()).to_domain()
        return await api_calls.page(info.context.shelf, first, after, wanted)

    @strawberry.field(
        graphql_type=list[Webhook],
        description="Who is told of events: of this key's name, or all for an administrator.",
    )
    async def webhook_endpoints(self, info: Info) -> list[webhook_domain.Webhook]:
        return await webhook.all_of(info.context.shelf, maker(info))

    @strawberry.field(graphql_type=Webhook | None, description="One of them by its id.")
    async def webhook_endpoint(self, info: Info, id: strawberry.ID) -> webhook_domain.Webhook | None:
        key = _key_or_none("Webhook", id)
        return None if key is None else await webhook.by_id(info.context.shelf, maker(info), key)

    @strawberry.field(
        name="_entities",
        graphql_type=list[Entity | None],
        description="For routers: entities by their keys, in the order asked; at most 250, null for an unknown one.",
    )
    async def entities(self, info: Info, representations: list[FederationAny]) -> list[object]:
        return await entities(info.context, representations)

    @strawberry.field(name="_service", description="For routers: this schema, as they compose it with others.")
    def service(self, info: Info) -> Service:
        return Service(sdl=sdl(info.schema))


def _channel(id: str | None) -> ChannelId | None:
    """Raises NotFound for an id of another kind."""
    return None if id is None else ChannelId(node_key("Channel", id))


def _task(id: str) -> int:
    """The number of a mapping task. Raises NotFound for an id of anything else."""
    key = node_key("MappingTask", id)
    if not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise NotFound(f"There is no task {id}.", field=("id",))
    return int(key)


def _key_or_none(kind: str, id: str) -> str | None:
    """The key of a global id; None for an id of another kind, which is answered like one that does not exist."""
    try:
        return node_key(kind, id)
    except NotFound:
        return None


async def _decided(id: str, decide: Callable[[OperationId], Awaitable[operation_domain.Operation]]) -> Payload:
    """What people's decisions answer."""
    try:
        return Payload(await decide(OperationId(node_key("Operation", id))), [])
    except Refused as problem:
        problem.field = problem.field or ("id",)
        return Payload(None, user_errors([problem]))


async def _held(id: str, decide: Callable[[ReservationId], Awaitable[reservation.Seen]]) -> Held:
    """What is decided about a reservation."""
    try:
        return Held(await decide(ReservationId(node_key("Reservation", id))), [])
    except Refused as problem:
        problem.field = problem.field or ("id",)
        return Held(None, user_errors([problem]))


async def _of_webhook(id: str, decide: Callable[[str], Awaitable[webhook_domain.Webhook]], *at: str) -> WebhookChange:
    """What is decided about a webhook; `at` is the argument that refused fields lie in."""
    try:
        return WebhookChange(await decide(node_key("Webhook", id)), [])
    except Refused as problem:
        return WebhookChange(None, _in(problem, at))


def _in(problem: Refused, at: tuple[str, ...]) -> list[UserError]:
    """A refusal with its field in the argument `at`, unless it is about the id."""
    problem.field = problem.field or ("id",)
    return user_errors([problem], () if problem.field == ("id",) else at)


def _kinds(info: Info) -> frozenset[operation_domain.Kind]:
    """The kinds of operations that the caller may see."""
    return operation.kinds_for(info.context.caller.scopes)


@strawberry.type
class Mutation:
    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Tell the channels that parcels are on their way; all or none is kept.",
    )
    async def confirm_shipments(self, info: Info, input: ConfirmShipmentsInput) -> Payload:
        requests, problems = input.to_domain()
        if problems:
            return Payload(None, user_errors(problems, ("input",)))
        kept = await shipment.confirm(
            info.context.shelf,
            info.context.caller.name,
            info.context.request_id,
            requests,
            idempotency_key=input.idempotency_key,
            dry_run=bool(input.dry_run),
        )
        return Payload(kept.operation, user_errors(kept.problems, ("input",)))

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

    @strawberry.mutation(
        graphql_type=MappingTaskPayload,
        description="Say what a channel's word means; products that have it change at once.",
    )
    async def answer_mapping_task(self, info: Info, input: AnswerMappingTaskInput) -> MappingAnswer:
        context = info.context
        try:
            task, changed = await mapping.answer(
                context.shelf,
                _task(input.id),
                input.value,
                context.caller.name,
                everywhere=input.everywhere,
                new=input.new_word,
            )
        except Refused as problem:
            return MappingAnswer(None, 0, user_errors([problem], ("input",)))
        return MappingAnswer(task, changed, [])

    @strawberry.mutation(
        graphql_type=MappingTaskPayload, description="Leave a channel's word as it is, and ask nobody any more."
    )
    async def ignore_mapping_task(self, info: Info, id: strawberry.ID) -> MappingAnswer:
        try:
            task = await mapping.ignore(info.context.shelf, _task(id), info.context.caller.name)
        except Refused as problem:
            return MappingAnswer(None, 0, user_errors([problem]))
        return MappingAnswer(task, 0, [])

    @strawberry.mutation(description="Prove now that the ledger adds up.")
    async def check_ledger(self, info: Info) -> LedgerCheckPayload:
        return LedgerCheckPayload(check=LedgerCheck.of(await ledger.check(info.context.shelf)), user_errors=[])

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Take back what an adjustment of stock has booked, once, as an operation of its own.",
    )
    async def revert_operation(self, info: Info, id: strawberry.ID) -> Payload:
        context, kinds = info.context, _kinds(info)
        return await _decided(
            id, lambda one: adjustment.revert(context.shelf, context.caller.name, context.request_id, one, kinds)
        )

    @strawberry.mutation(graphql_type=OperationPayload, description="Let a preview, or what waits for approval, go.")
    async def approve_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, by, kinds = info.context.shelf, info.context.caller.name, _kinds(info)
        return await _decided(id, lambda one: operation.approve(shelf, one, by, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload, description="Withdraw what has not left the house; what has runs to its end."
    )
    async def cancel_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, kinds = info.context.shelf, _kinds(info)
        return await _decided(id, lambda one: operation.cancel(shelf, one, kinds))

    @strawberry.mutation(
        graphql_type=OperationPayload,
        description="Revive failed and parked items; a parked one is read back before anything is sent again.",
    )
    async def retry_operation(self, info: Info, id: strawberry.ID) -> Payload:
        shelf, kinds = info.context.shelf, _kinds(info)
        return await _decided(id, lambda one: operation.retry(shelf, one, kinds))

    @strawberry.mutation(
        graphql_type=WebhookSecretPayload,
        description="Have an endpoint told of events from now on. The secret signs them.",
    )
    async def create_webhook(self, info: Info, input: CreateWebhookInput) -> WebhookChange:
        try:
            made, secret = await webhook.create(info.context.shelf, maker(info), input.to_domain())
        except Refused as problem:
            return WebhookChange(None, user_errors([problem], ("input",)))
        return WebhookChange(made, [], secret)

    @strawberry.mutation(
        graphql_type=WebhookPayload, description="Change where or what an endpoint is told; pause it, or let it go on."
    )
    async def update_webhook(self, info: Info, id: strawberry.ID, input: UpdateWebhookInput) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.update(shelf, by, key, input.to_domain()), "input")

    @strawberry.mutation(graphql_type=WebhookPayload, description="Tell an endpoint nothing more, and forget it.")
    async def delete_webhook(self, info: Info, id: strawberry.ID) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.delete(shelf, by, key))

    @strawberry.mutation(
        graphql_type=WebhookSecretPayload,
        description="Sign with a new secret; the one before it signs too for `overlap`, a day unless told.",
    )
    async def rotate_webhook_secret(
        self, info: Info, id: strawberry.ID, overlap: Duration | None = None
    ) -> WebhookChange:
        try:
            key = node_key("Webhook", id)
            made, secret = await webhook.rotate(info.context.shelf, maker(info), key, overlap)
        except Refused as problem:
            return WebhookChange(None, _in(problem, ()))
        return WebhookChange(made, [], secret)

    @strawberry.mutation(
        graphql_type=WebhookPayload,
        description="Tell all after a cursor, or since an instant, once more, under the same event ids.",
    )
    async def replay_webhook(
        self, info: Info, id: strawberry.ID, after: str | None = None, since: datetime | None = None
    ) -> WebhookChange:
        shelf, by = info.context.shelf, maker(info)
        return await _of_webhook(id, lambda key: webhook.replay(shelf, by, key, after, since))

    @strawberry.mutation(
        graphql_type=WebhookDeliveryPayload, description="Deliver once more what was delivered, or given up."
    )
    async def redeliver_webhook(self, info: Info, delivery_id: strawberry.ID) -> WebhookAsked:
        try:
            key = node_key("WebhookDelivery", delivery_id)
            return WebhookAsked(await webhook.again(info.context.shelf, maker(info), key), [])
        except Refused as problem:
            problem.field = ("deliveryId",)
            return WebhookAsked(None, user_errors([problem]))

    @strawberry.mutation(
        graphql_type=WebhookDeliveryPayload,
        description="Deliver an event that tells nothing, to a paused endpoint too.",
    )
    async def test_webhook(self, info: Info, id: strawberry.ID) -> WebhookAsked:
        try:
            key = node_key("Webhook", id)
            return WebhookAsked(await webhook.test(info.context.shelf, maker(info), key), [])
        except Refused as problem:
            return WebhookAsked(None, _in(problem, ()))


@strawberry.type
class Subscription:
    @strawberry.subscription(
        graphql_type=OperationEvent,
        description=(
            "The operation now, then at each change until it has finished. "
            "With `after`, the cursor of the last event seen, none is missed."
        ),
    )
    async def operation(self, info: Info, id: strawberry.ID, after: str | None = None) -> AsyncGenerator[Change, None]:
        key = OperationId(node_key("Operation", id))
        async for cursor, one in operation.follow(info.context.shelf, key, after, _kinds(info)):
            info.context.renew()
            yield Change(cursor, operation=one)

    @strawberry.subscription(
        graphql_type=StockEvent,
        description="The stock of each SKU now, then at each change. With `after` only the changes since, none missed.",
    )
    async def stock(self, info: Info, skus: list[str], after: str | None = None) -> AsyncGenerator[Change, None]:
        async for cursor, one in stock_changes.follow(info.context.shelf, [Sku(sku) for sku in skus], after):
            info.context.renew()
            yield Change(cursor, stock=one)


_CONFIG: dict[str, Any] = {"scalar_map": SCALARS, "relay_max_results": 100, "disable_field_suggestions": True}

schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Product, Listing, Order, Operation, Channel, Reservation],
    config=StrawberryConfig(**_CONFIG),
    federation_version=VERSION,
)
# Strawberry's own switch would offer @stream as well, and no list here is a stream.
schema._schema.directives += (GraphQLDeferDirective,)
