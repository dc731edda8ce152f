"""Values that no dictionary knew, and what people have answered since."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, bindparam, false, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import NotFound
from domain.ids import ChannelId
from domain.mapping import Task, TaskState, Unseen, folded
from store.session import AnyRow, storable
from store.tables import mapping_task

c = mapping_task.c
# What an entry of an index holds.
_CHARS = 400


async def answers(tx: AsyncConnection, channel: ChannelId) -> dict[tuple[str, str], str]:
    """What words of a channel mean, by (our field, folded word): what was said of its own, also that a word is to stay as it is,
    before what holds everywhere."""
    query = (
        select(c.field, c.word, c.value)
        .where(c.state != TaskState.OPEN.value, (c.channel == channel) | c.everywhere)
        .order_by((c.channel == channel), c.answered_at)
    )
    said = {(row.field, row.word): row.value for row in await tx.execute(query)}
    return {key: value for key, value in said.items() if value is not None}


async def ask(tx: AsyncConnection, unseen: Sequence[Unseen]) -> int:
    """Open a task for each word that has none; returns how many are new."""
    rows = {
        (one.channel, one.field, storable(one.word)[:_CHARS]): {
            "raw": storable(one.raw)[:_CHARS],
            "reason": storable(one.reason)[:_CHARS],
            "channel_sku": one.channel_sku,
        }
        for one in reversed(unseen)
    }
    if not rows:
        return 0
    statement = insert(mapping_task).on_conflict_do_nothing(index_elements=["channel", "field", "word"])
    values = [
        {"channel": channel, "field": field, "word": word, **row}
        for (channel, field, word), row in sorted(rows.items())
    ]
    return len((await tx.execute(statement.returning(c.id), values)).all())


async def page(
    tx: AsyncConnection, *, first: int, after: int | None, channel: ChannelId | None, state: TaskState | None
) -> tuple[list[Task], bool]:
    """The next `first` tasks, newest first, and whether there are more."""
    query = select(mapping_task).where(*_filter(channel, state)).order_by(c.id.desc()).limit(first + 1)
    if after is not None:
        query = query.where(c.id < after)
    rows = (await tx.execute(query)).all()
    return [_task(row) for row in rows[:first]], len(rows) > first


async def count(tx: AsyncConnection, *, channel: ChannelId | None, state: TaskState | None) -> int:
    """How many tasks `page` would give in all."""
    return await tx.scalar(select(func.count()).select_from(mapping_task).where(*_filter(channel, state))) or 0


async def by_id(tx: AsyncConnection, id: int) -> Task:
    """One task; it stays as it is until `tx` ends. Raises NotFound."""
    row = (await tx.execute(select(mapping_task).where(c.id == id).with_for_update())).one_or_none()
    if row is None:
        raise NotFound(f"There is no task MappingTask:{id}.", field=("id",))
    return _task(row)


async def answer(tx: AsyncConnection, task: Task, value: str | None, by: str, *, everywhere: bool) -> Task:
    """Say what the task's word means, in all channels or in its own; None is: leave it as it is. Returns the task as it is now.

    Open tasks of other channels about the same word are answered with it, and those that were so the last time follow. The
    products are changed with `spread`.
    """
    state = TaskState.IGNORED if value is None else TaskState.ANSWERED
    wanted = c.id == task.id
    if everywhere:
        # What was said at once has one instant.
        along = (c.answered_at == task.answered_at) if task.everywhere else false()
        wanted |= (c.field == task.field) & (c.word == task.word) & ((c.state == TaskState.OPEN.value) | along)
    said = {"state": state.value, "value": value, "answered_by": by, "answered_at": func.now()}
    await tx.execute(update(mapping_task).where(wanted).values(**said))
    await tx.execute(update(mapping_task).where(c.id == task.id).values(everywhere=everywhere))
    return await by_id(tx, task.id)


async def spread(tx: AsyncConnection, task: Task, was: str | None) -> int:
    """Bring an answer to the products that have the task's word, not understood so far or understood as `was`; returns how many
    changed. Without `everywhere` only those that the task's channel lists; with it all but those of channels that have an answer
    of their own."""
    if task.value is None:
        return 0
    changed = 0
    states: list[dict[str, object]] = [{"understood": False}]
    if was is not None:
        states.append({"value": was})
    for so_far in states:
        wanted = {"name": task.field, **so_far}
        raws = await tx.scalars(_SPELLED, {"wanted": wanted, "having": [wanted]})
        for raw in sorted(raw for raw in raws if folded(raw) == task.word):
            exact = {**wanted, "raw": raw}
            given = {
                "wanted": exact,
                "having": [exact],
                "value": task.value,
                "channel": task.channel,
                "everywhere": task.everywhere,
                "task": task.id,
                "field": task.field,
                "word": task.word,
            }
            changed += (await tx.execute(_SPREAD, given)).rowcount
    return changed


def _filter(channel: ChannelId | None, state: TaskState | None) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if channel is not None:
        wanted.append(c.channel == channel)
    if state is not None:
        wanted.append(c.state == state.value)
    return wanted


def _task(row: AnyRow) -> Task:
    return Task(
        row.id,
        ChannelId(row.channel),
        row.field,
        row.word,
        row.raw,
        row.reason,
        row.channel_sku,
        row.first_at,
        TaskState(row.state),
        row.value,
        row.everywhere,
        row.answered_by,
        row.answered_at,
    )


_SPELLED = text(
    """
    select distinct one ->> 'raw' from product, jsonb_array_elements(attributes) one
    where attributes @> :having and one @> :wanted and one ->> 'raw' is not null
    """
).bindparams(bindparam("having", type_=JSONB), bindparam("wanted", type_=JSONB))

# The rows in the order in which everybody takes them.
_SPREAD = text(
    """
    with mine as (
        select sku from product
        where attributes @> :having
        and (
            cast(:everywhere as boolean)
            or exists (select from listing where listing.sku = product.sku and listing.channel = :channel)
        )
        and not (
            cast(:everywhere as boolean)
            and exists (
                select from listing join mapping_task own on own.channel = listing.channel
                where listing.sku = product.sku and own.field = :field and own.word = :word
                and own.state <> 'OPEN' and own.id <> :task
                and own.value is distinct from cast(:value as text)
            )
        )
        order by sku for update
    )
    update product set updated_at = now(), attributes = (
        select jsonb_agg(
            case when one @> :wanted
            then (one - 'understood') || jsonb_build_object('value', cast(:value as text)) else one end
            order by place
        )
        from jsonb_array_elements(attributes) with ordinality as all_of (one, place)
    )
    where sku in (select sku from mine)
    """
).bindparams(bindparam("having", type_=JSONB), bindparam("wanted", type_=JSONB))
