"""Operations: what was asked to be changed, item by item, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import strawberry

from domain import operation as domain
from domain import price_change
from domain.errors import Invalid
from domain.exchange import Exchange
from domain.export import KeptExport
from domain.ids import ChannelId, OperationId, node_id
from domain.price_canary import Canary
from domain.price_decision import Decision
from executor import batched
from resolvers import api_calls, operation
from resolvers.connection import Connection
from resolvers.loaders import load_each
from resolvers.report import Document
from schema.api_calls import ApiCall
from schema.connection import Page
from schema.enums import ItemStatus, OperationStatus
from schema.export import ExportProgress
from schema.info import Info, Parents
from schema.node import Node, describes
from schema.payload import UserError
from schema.price import PriceChange, PriceSummary
from schema.price_canary import PriceCanary
from schema.price_decision import PriceDecision
from schema.report import OperationDocument


@strawberry.type(description="Items counted. accepted includes those verified since; failed counts FAILED and PARKED.")
class Progress:
    total: int
    accepted: int
    verified: int
    failed: int


def _calls_key(one: domain.Item) -> tuple[str, ChannelId | None]:
    return api_calls.item_key(one.id)


async def _api_calls(
    items: Sequence[domain.Item], info: Parents, first: int | None = api_calls.USUAL
) -> Sequence[object]:
    return await load_each(info.context.loaders.api_calls_about, [(_calls_key(one), first) for one in items])


async def _prices(items: Sequence[domain.Item], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.price_change_by_item, [one.id for one in items])


async def _documents(items: Sequence[domain.Item], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.document_by_item, [one.id for one in items])


async def _exports(items: Sequence[domain.Item], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.export_by_item, [one.id for one in items])


async def _price_summaries(operations: Sequence[domain.Operation], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.price_summary_by_operation, [one.id for one in operations])


async def visible(ids: Sequence[OperationId | None], info: Info | Parents) -> list[object]:
    """The operations, in order; None for what the caller may not see."""
    kinds = operation.kinds_for(info.context.caller.scopes)
    found = await load_each(info.context.loaders.operation_by_id, ids)
    return [None if isinstance(one, domain.Operation) and one.kind not in kinds else one for one in found]


async def visible_one(id: OperationId | None, info: Info) -> domain.Operation | None:
    """The same of one."""
    [found] = await visible([id], info)
    if isinstance(found, BaseException):
        raise found
    return found if isinstance(found, domain.Operation) else None


@strawberry.type(description="One item of an operation.")
class OperationItem:
    key: str = strawberry.field(description="What it changes.")
    status: ItemStatus
    before: str | None = strawberry.field(description="How it was, as JSON.")
    after: str | None = strawberry.field(description="What is to be, as JSON.")
    attempts: int = strawberry.field(description="How often it was sent.")
    upstream_request_id: str | None = strawberry.field(
        description="The platform's id of the last call, for its support."
    )

    @strawberry.field
    def error(self, root: strawberry.Parent[domain.Item]) -> UserError | None:
        return None if root.error is None else UserError(code=root.error.code, message=root.error.message)

    @strawberry.field(graphql_type=PriceChange | None, description="What it changes, where that is a price.")
    @batched(_prices)
    async def price(self, info: Info, root: strawberry.Parent[domain.Item]) -> price_change.Change | None:
        return await info.context.loaders.price_change_by_item.load(root.id)

    @strawberry.field(
        graphql_type=OperationDocument | None,
        description="The file of a report, or of a list; null where none is kept (yet, or any more).",
    )
    @batched(_documents)
    async def document(self, info: Info, root: strawberry.Parent[domain.Item]) -> Document | None:
        return await info.context.loaders.document_by_item.load(root.id)

    @strawberry.field(
        graphql_type=ExportProgress | None, description="How far its file has come, where it makes one of a list."
    )
    @batched(_exports)
    async def export(self, info: Info, root: strawberry.Parent[domain.Item]) -> KeptExport | None:
        return await info.context.loaders.export_by_item.load(root.id)

    @strawberry.field(graphql_type=list[ApiCall], description="The newest calls to its channel about it.")
    @batched(_api_calls)
    async def api_calls(
        self, info: Info, root: strawberry.Parent[domain.Item], first: int | None = api_calls.USUAL
    ) -> list[Exchange]:
        return await info.context.loaders.api_calls_about.load((_calls_key(root), first))


@strawberry.type
class OperationItemEdge:
    cursor: str
    node: OperationItem


@strawberry.type(description="A page of items.")
class OperationItemConnection(Page):
    edges: list[OperationItemEdge]
    nodes: list[OperationItem]


def _operation_id(root: domain.Operation) -> strawberry.ID:
    return strawberry.ID(node_id("Operation", root.id))


async def _canaries(operations: Sequence[domain.Operation], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.canary_by_operation, [one.id for one in operations])


async def _decisions(operations: Sequence[domain.Operation], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.price_decision_by_operation, [one.id for one in operations])


async def _reverted(operations: Sequence[domain.Operation], info: Parents) -> Sequence[object]:
    return await load_each(info.context.loaders.operation_by_id, [one.reverts for one in operations])


@strawberry.type(description="What one caller asked to be changed. It answers at once and is carried out by a worker.")
class Operation(Node):
    id: strawberry.ID = strawberry.field(resolver=_operation_id)
    status: OperationStatus
    requested_by: str = strawberry.field(description="The name of the key that asked.")
    idempotency_key: str | None
    dry_run: bool = strawberry.field(description="Whether it was asked for as a PREVIEW.")
    created_at: datetime
    finished_at: datetime | None = strawberry.field(description="Null until every item has ended.")
    progress: Progress

    is_type_of = describes(domain.Operation)

    @strawberry.field(description="CONFIRM_SHIPMENTS, …")
    def kind(self, root: strawberry.Parent[domain.Operation]) -> str:
        return root.kind.value

    @strawberry.field(graphql_type=OperationItemConnection)
    async def items(
        self,
        info: Info,
        root: strawberry.Parent[domain.Operation],
        first: int | None = 50,
        after: str | None = None,
        status: ItemStatus | None = None,
    ) -> Connection[domain.Item]:
        return await operation.items(info.context.shelf, root.id, first, after, status)

    @strawberry.field(graphql_type=PriceSummary | None, description="What it changes in all, where that are prices.")
    @batched(_price_summaries)
    async def price_summary(self, info: Info, root: strawberry.Parent[domain.Operation]) -> price_change.Summary | None:
        return await info.context.loaders.price_summary_by_operation.load(root.id)

    @strawberry.field(
        graphql_type=PriceCanary | None, description="Of a change of prices that reaches far: the rows that go first."
    )
    @batched(_canaries)
    async def canary(self, info: Info, root: strawberry.Parent[domain.Operation]) -> Canary | None:
        return await info.context.loaders.canary_by_operation.load(root.id)

    @strawberry.field(
        graphql_type=PriceDecision | None,
        description="What was decided last about a change of more than 5,000 prices, and what came of it.",
    )
    @batched(_decisions)
    async def price_decision(self, info: Info, root: strawberry.Parent[domain.Operation]) -> Decision | None:
        return await info.context.loaders.price_decision_by_operation.load(root.id)

    @strawberry.field(graphql_type="Operation | None", description="The operation that this one takes back.")
    @batched(_reverted)
    async def reverts(self, info: Info, root: strawberry.Parent[domain.Operation]) -> domain.Operation | None:
        return None if root.reverts is None else await info.context.loaders.operation_by_id.load(root.reverts)


@strawberry.type
class OperationEdge:
    cursor: str
    node: Operation


@strawberry.type(description="A page of operations.")
class OperationConnection(Page):
    edges: list[OperationEdge]
    nodes: list[Operation]


@strawberry.type(description="The operation as it was kept, or why nothing was.")
class OperationPayload:
    operation: Operation | None
    user_errors: list[UserError]


@strawberry.type(description="An operation after a change. Pass cursor as `after` to go on from here.")
class OperationEvent:
    cursor: str
    operation: Operation


@strawberry.input(description="What is wanted; what is left out wants all.")
class OperationFilter:
    kind: list[str] | None = None
    status: list[OperationStatus] | None = None
    requested_by: str | None = None
    created_from: datetime | None = None

    def to_domain(self) -> operation.OperationFilter:
        """As the resolver takes it. Raises Invalid for a kind that does not exist."""
        try:
            kinds = None if self.kind is None else tuple(domain.Kind(kind) for kind in self.kind)
        except ValueError:
            known = ", ".join(kind.value for kind in domain.Kind)
            raise Invalid(f"`kind` knows {known}.", field=("filter", "kind")) from None
        return operation.OperationFilter(
            kinds=kinds,
            statuses=None if self.status is None else tuple(self.status),
            requested_by=self.requested_by,
            created_from=self.created_from,
        )
