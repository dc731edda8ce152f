"""Words that no dictionary knows."""

from __future__ import annotations

from datetime import datetime

import strawberry

from domain import channel as channel_domain
from domain.ids import node_id
from domain.mapping import Task
from resolvers import channel
from schema.channel import Channel
from schema.connection import Page
from schema.enums import MappingTaskState
from schema.info import Info
from schema.payload import UserError


def _task_id(root: Task) -> strawberry.ID:
    return strawberry.ID(node_id("MappingTask", str(root.id)))


@strawberry.type(
    description="A value of a product's property that no dictionary knows, and what people have said it means."
)
class MappingTask:
    id: strawberry.ID = strawberry.field(resolver=_task_id)
    field: str = strawberry.field(description="Our name of the property: color, size, weight …")
    raw: str = strawberry.field(description="As the channel spells it.")
    reason: str = strawberry.field(description="Why it is not understood.")
    channel_sku: str = strawberry.field(description="Where it was met first.")
    first_at: datetime
    state: MappingTaskState
    value: str | None = strawberry.field(description="What it means; null while nobody has said.")
    everywhere: bool = strawberry.field(description="Whether the answer holds for every channel.")
    answered_by: str | None
    answered_at: datetime | None

    @strawberry.field(graphql_type=Channel | None, description="One that is configured no more is told as it was last.")
    def channel(self, info: Info, root: strawberry.Parent[Task]) -> channel_domain.Channel | None:
        return channel.of(info.context.shelf, root.channel)


@strawberry.type
class MappingTaskEdge:
    cursor: str
    node: MappingTask


@strawberry.type(description="A page of mapping tasks.")
class MappingTaskConnection(Page):
    edges: list[MappingTaskEdge]
    nodes: list[MappingTask]


@strawberry.type(description="The task as it is now, or why it stays as it was.")
class MappingTaskPayload:
    task: MappingTask | None
    changed_products: int = strawberry.field(description="Products that have the value now.")
    user_errors: list[UserError]


@strawberry.input(description="What a task's word means.")
class AnswerMappingTaskInput:
    id: strawberry.ID
    value: str = strawberry.field(description='A word of ours, such as "navy"; of a measure with its unit, "1.5 kg".')
    everywhere: bool = strawberry.field(default=False, description="It means the same in every channel.")
    new_word: bool = strawberry.field(
        default=False, description="`value` is a word that our dictionary does not have yet."
    )
