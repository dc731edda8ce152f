"""Words that no dictionary knows, and what people say they mean."""

from __future__ import annotations

from domain.errors import Invalid
from domain.ids import ChannelId
from domain.mapping import MEASURES, Task, TaskState, check_value
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_item_cursor, write_cursor
from resolvers.shelf import Shelf
from store import mapping, product


async def page(
    shelf: Shelf, first: int | None, after: str | None, channel: ChannelId | None, state: TaskState | None
) -> Connection[Task]:
    """Tasks, newest first."""
    start = read_item_cursor("mappingTasks", after)
    async with shelf.store.begin() as tx:
        found, has_next = await mapping.page(tx, first=page_size(first), after=start, channel=channel, state=state)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await mapping.count(tx, channel=channel, state=state)

    return connect(found, has_next, after, lambda one: write_cursor("mappingTasks", one.id), count)


async def answer(shelf: Shelf, id: int, value: str, by: str, *, everywhere: bool, new: bool) -> tuple[Task, int]:
    """Say what a task's word means; the task as it is now, and how many products changed. Raises Invalid and NotFound."""
    async with shelf.store.begin() as tx:
        # Listings that are being kept were put into words before or come after: none slips through between.
        await product.lock_mapping(tx, shelf.channels.keys())
        task = await mapping.by_id(tx, id)
        if everywhere and task.field in MEASURES:
            raise Invalid(
                "What one channel means by a measure, another need not mean; leave out `everywhere`.",
                field=("everywhere",),
            )
        meaning = check_value(shelf.field_map, task.field, value, new=new)
        said = await mapping.answer(tx, task, meaning, by, everywhere=everywhere)
        return said, await mapping.spread(tx, said, task.value)


async def ignore(shelf: Shelf, id: int, by: str) -> Task:
    """Leave a task's word as the channel spells it, for good. Raises Invalid for one that has been answered, and NotFound."""
    async with shelf.store.begin() as tx:
        task = await mapping.by_id(tx, id)
        if task.state is TaskState.ANSWERED:
            raise Invalid(f"It means {task.value!r}; another answer changes that.", field=("id",))
        return await mapping.answer(tx, task, None, by, everywhere=False)
