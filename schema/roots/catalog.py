"""Products, and the words that nobody knew."""

from __future__ import annotations

from dataclasses import dataclass

import strawberry

from domain import product as product_domain
from domain.errors import NotFound, Refused
from domain.ids import Sku, node_key
from domain.mapping import Task
from resolvers import mapping, product
from resolvers.connection import Connection
from schema.enums import MappingTaskState
from schema.info import Info
from schema.mapping import AnswerMappingTaskInput, MappingTaskConnection, MappingTaskPayload
from schema.payload import UserError, user_errors
from schema.product import Product, ProductConnection, ProductFilter
from schema.roots.shared import channel_key


@dataclass(slots=True)
class MappingAnswer:
    """What a mapping task's mutation answers."""

    task: Task | None
    changed_products: int
    user_errors: list[UserError]


@strawberry.type
class CatalogQueries:
    @strawberry.field(graphql_type=Product | None, description="One product by our SKU.")
    async def product(self, info: Info, sku: str) -> product_domain.Product | None:
        return await info.context.loaders.product_by_sku.load(Sku(sku))

    @strawberry.field(graphql_type=ProductConnection, description="Products in the order of their SKUs.")
    async def products(
        self, info: Info, first: int | None = 50, after: str | None = None, filter: ProductFilter | None = None
    ) -> Connection[product_domain.Product]:
        wanted = (filter or ProductFilter()).to_domain()
        return await product.page(info.context.shelf, first, after, wanted)

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
        return await mapping.page(info.context.shelf, first, after, channel_key(channel_id), state)


@strawberry.type
class CatalogMutations:
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


def _task(id: str) -> int:
    """The number of a mapping task. Raises NotFound for an id of anything else."""
    key = node_key("MappingTask", id)
    if not (key.isascii() and key.isdecimal() and len(key) < 19):
        raise NotFound(f"There is no task {id}.", field=("id",))
    return int(key)
