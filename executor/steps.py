"""The run of one operation, level by level: each field is a step that is taken once for all objects of its place.

A step asks its field for all objects, awaits them together, completes the values to what is encoded, writes them into the
answers of the objects, and then takes the steps below. A failure is written where the value should stand; `exact` turns it into
nulls and errors at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, suppress
from inspect import iscoroutine
from itertools import chain, islice
from types import NoneType
from typing import Any, Protocol, TypeVar, cast

from graphql import GraphQLError, GraphQLObjectType, GraphQLSchema, default_type_resolver
from graphql.execution import Executor
from graphql.execution.executor import collect_iterator_awaitables, invalid_return_type_error
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, gather_with_cancel, is_async_iterable, is_awaitable, is_iterable
from graphql.type.definition import GraphQLResolveInfoHelpers
from msgspec import Struct

from executor import exact
from executor.info import BatchInfo, LazyInfo, resolve_info
from executor.places import Field, Kind, Operation, Place
from executor.values import Failure, all_plain, is_null, is_plain

_LISTS = {list}

T = TypeVar("T")


class Around(AbstractContextManager["Around"], Protocol):
    """Lasts around something. As a context manager it ends with that; without, it may be left, entered again, and ended."""

    def enter(self) -> Any:
        """What begins from here on is inside, until `leave` is told what this answers."""

    def leave(self, before: Any) -> None:
        """See `enter`."""

    def end(self) -> None:
        """It has ended."""


# What lasts around a level; it is told the level's fields, each with the number of its objects.
Watch = Callable[[Sequence[tuple[str, int]]], Around]


def inside(around: Around, begin: Callable[[], T | Coroutine[Any, Any, T]]) -> T | Coroutine[Any, Any, T]:
    """What `begin` comes to: at once, or once its rest, which has to be awaited, is done."""
    before = around.enter()
    try:
        begun = begin()
    finally:
        around.leave(before)
    if isinstance(begun, Coroutine):
        return _rest(around, begun)
    around.end()
    return begun


async def _rest(around: Around, rest: Coroutine[Any, Any, T]) -> T:
    with around:
        return await rest


class Rows:
    """Objects of one place and their answers, found below `parent` along `route`; `fields` are still to be written."""

    __slots__ = ("_paths", "fields", "parent", "place", "route", "sources", "structs")

    def __init__(
        self,
        place: Place,
        sources: list[Any],
        structs: list[Struct],
        fields: list[Field],
        parent: Rows | None = None,
        route: tuple[Field, ...] = (),
    ) -> None:
        self.place = place
        self.sources = sources
        self.structs = structs
        self.fields = fields
        self.parent = parent
        self.route = route
        self._paths: list[Path | None] | None = None

    @property
    def paths(self) -> list[Path | None]:
        """Where each object stands in the response; worked out from the answers above when somebody asks."""
        if self._paths is None:
            self._paths = []
            if self.parent is None:
                self._paths = [None]
            else:
                for struct, path in zip(self.parent.structs, self.parent.paths, strict=True):
                    self._descend(struct, path, 0)
        return self._paths

    def path(self, row: int, field: Field) -> Path:
        """The response path of a field of one object."""
        return Path(self.paths[row], field.key, field.parent_type.name)

    def _descend(self, struct: Any, path: Path | None, depth: int) -> None:
        field = self.route[depth]
        self._spread(getattr(struct, field.slot), Path(path, field.key, field.parent_type.name), depth + 1)

    def _spread(self, value: Any, path: Path, depth: int) -> None:
        if type(value) is list:
            for index, item in enumerate(value):
                self._spread(item, path.add_key(index), depth)
        elif isinstance(value, Struct):
            if depth < len(self.route):
                self._descend(value, path, depth)
            elif cast(Any, value).place is self.place:
                assert self._paths is not None
                self._paths.append(path)


class Run(Struct, eq=False):
    """One run of an operation. `answer` is the root object's, once that has begun; `failed` is True once it holds a failure, or a
    null where none may stand."""

    operation: Operation
    variables: VariableValues
    context: Any
    root: Any
    watch: Watch | None = None
    answer: Struct | None = None
    failed: bool = False
    tracked: list[Awaitable[Any]] = []

    @property
    def schema(self) -> GraphQLSchema:
        return self.operation.schema

    @property
    def helpers(self) -> GraphQLResolveInfoHelpers:
        """What resolvers may use to wait for several things at once."""
        return GraphQLResolveInfoHelpers(gather=_gather, track=self.track)

    def start(self, place: Place, serially: bool) -> Coroutine[Any, Any, None] | None:
        """Write the answer of the root object, failures still inside; what has to be awaited for that, None where nothing has."""
        rows = self._begun(place)
        if serially:
            return self._finished(self._one_by_one(rows))
        steps = [Step(self, one, rows) for one in place.read]
        return self._first(steps) if self.watch is None else self._finished(self.take(steps))

    def resume(self, place: Place, field: Field, value: Any) -> Coroutine[Any, Any, None] | None:
        """The same where the only field of the root was asked already: it has answered `value`, or raised it."""
        step = Step(self, field, self._begun(place))
        step.values.append(value)
        step.weigh()
        return self._first([step])

    def _begun(self, place: Place) -> Rows:
        self.answer = place.blank()
        return Rows(place, [self.root], [self.answer], place.read)

    def _first(self, steps: list[Step]) -> Coroutine[Any, Any, None] | None:
        try:
            left = self.begin(steps)
        except BaseException:
            self.close()
            raise
        return self.rest(left)

    def rest(self, left: list[Step]) -> Coroutine[Any, Any, None] | None:
        """What has to be awaited once all has begun."""
        return self._finished(self.finish(left)) if left or self.tracked else None

    def close(self) -> None:
        """Let go of what was to be awaited beside the answer."""
        _close(self.tracked)

    async def _finished(self, rest: Awaitable[None]) -> None:
        try:
            await rest
        except BaseException:
            self.close()
            raise
        if self.tracked:
            await asyncio.gather(*self.tracked, return_exceptions=True)

    async def _one_by_one(self, rows: Rows) -> None:
        for one in rows.fields:
            await self.take([Step(self, one, rows)])
            if self.failed and one.kind.required and exact.is_lost(one, getattr(self.answer, one.slot)):
                break

    def take(self, steps: list[Step]) -> Awaitable[None]:
        """Take the steps of a level and all below them."""
        return self._take(steps) if self.watch is None else self._watched(self.watch, steps)

    async def _watched(self, watch: Watch, steps: list[Step]) -> None:
        with watch([(one.field.title, len(one.rows.sources)) for one in steps]):
            await self._take(steps)

    async def _take(self, steps: list[Step]) -> None:
        await self.finish(self.begin(steps))

    def begin(self, steps: list[Step]) -> list[Step]:
        """Ask the steps, and all below those that are complete at once. Answers the others, for `finish`."""
        left: list[Step] = []
        try:
            for step in steps:
                if not step.values:  # else it was asked before
                    step.ask()
                if step.complete():
                    if step.below:
                        steps += step.further()
                else:
                    left.append(step)
        except BaseException:
            for step in left:
                step.close()
            raise
        return left

    async def finish(self, left: list[Step]) -> None:
        """Finish steps that were asked, and take all below: what has to be awaited last, side by side."""
        waiting: list[Step] = []
        try:
            for step in left:
                if step.waits:
                    waiting.append(step)
                else:
                    left += self.begin(await step.finish())
            if len(waiting) == 1:
                below = await waiting[0].finish()
                if below:
                    await self.take(below)
            elif waiting:
                await self._together(waiting)
        except BaseException:
            for step in left:
                step.close()
            raise

    async def _follow(self, step: Step) -> None:
        below = await step.finish()
        if below:
            await self.take(below)

    async def _together(self, steps: list[Step]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._follow(step)) for step in steps]
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        if any(task.cancelled() for task in tasks):
            raise asyncio.CancelledError  # by a resolver; a group passes over it

    def track(self, values: Sequence[Any]) -> None:
        self.tracked.extend(one for one in values if is_awaitable(one))


class Step:
    """One field of all objects of a place."""

    __slots__ = ("_infos", "batch", "below", "field", "plain", "rows", "run", "values", "waits")

    def __init__(self, run: Run, field: Field, rows: Rows) -> None:
        self.run = run
        self.field = field
        self.rows = rows
        self.values: list[Any] = []
        self.batch: Any = None
        self.plain = False
        self.waits = False
        self.below: list[Rows] = []
        self._infos: dict[int, Any] | None = None

    def path(self, row: int) -> Path:
        """The field's response path on one object."""
        return self.rows.path(row, self.field)

    def info(self, row: int) -> Any:
        """The field's info on one object."""
        if self._infos is None:
            self._infos = {}
        found = self._infos.get(row)
        if found is None:
            run, field, rows = self.run, self.field, self.rows
            lazy = field.operation.is_strawberry
            found = LazyInfo(run, field, rows, row) if lazy else resolve_info(run, field, self.path(row))
            self._infos[row] = found
        return found

    def ask(self) -> None:
        """Ask the field for all objects. What it answers may have to be awaited; an exception is a failure of its object."""
        field, sources = self.field, self.rows.sources
        call = field.call
        try:
            arguments = field.arguments.read(self.run.variables, self)
        except Exception as problem:
            self.values = [problem] * len(sources)
            return
        if call.batch is not None:
            try:
                self.batch = call.batch(sources, BatchInfo(self), **arguments)
            except Exception as problem:
                self.batch = [problem] * len(sources)
            self.waits = is_awaitable(self.batch)
            return
        ask, values = call.ask, self.values
        for row, source in enumerate(sources):
            try:
                values.append(ask(source, self.info(row) if call.wants_info else None, arguments))
            except Exception as problem:
                values.append(problem)
        self.weigh()

    def weigh(self) -> None:
        """Look at what was answered: whether it is plain, or has to be awaited."""
        waits = self.field.call.waits
        self.plain = not waits and all_plain(self.values)
        self.waits = not self.plain and (waits or any(map(is_awaitable, self.values)))

    def complete(self) -> bool:
        """Complete the answers and write them, where they are plain objects; False, and nothing done, where `finish` has to."""
        written = self._plainly(self.field.kind, self.values) if self.plain else None
        if written is None:
            return False
        self._write(written)
        return True

    async def finish(self) -> list[Step]:
        """Complete the answers, whatever they are, and write them. Answers the steps below."""
        if self.batch is not None:
            self.values = await self._batched()
        kind, values = self.field.kind, self.values
        if self.waits and len(values) == 1:
            (value,) = values
            try:
                value = await value if is_awaitable(value) else value
            except Exception as problem:
                value = problem
            values = [self._marked(value)]
        elif not all_plain(values):
            values = await self._ready(values)
        written = self._plainly(kind, values)
        if written is None:
            written = await self._exactly(kind, values, range(len(values)))
        self._write(written)
        return self.further()

    def _write(self, written: list[Any]) -> None:
        rows, slot = self.rows, self.field.slot
        for struct, value in zip(rows.structs, written, strict=True):
            setattr(struct, slot, value)

    def further(self) -> list[Step]:
        """The steps below."""
        return [Step(self.run, field, below) for below in self.below for field in below.fields]

    def close(self) -> None:
        """Let go of what was never awaited."""
        _close([self.batch, *self.values])

    async def _batched(self) -> list[Any]:
        wanted = len(self.rows.sources)
        try:
            values = list(await self.batch if is_awaitable(self.batch) else self.batch)
        except Exception as problem:
            return [problem] * wanted
        if len(values) != wanted:
            name = f"{self.field.parent_type}.{self.field.name}"
            return [
                RuntimeError(f"The batch resolver of {name} answered {len(values)} values for {wanted} objects.")
            ] * wanted
        return values

    def _plainly(self, kind: Kind, values: list[Any]) -> list[Any] | None:
        """What is encoded for each value, where all are plain objects of one type, or lists of such; None of others."""
        if not values:
            return []
        classes = {*map(type, values)}
        if kind.object_type is not None:
            try:
                place = self.field.place(kind.object_type)
            except GraphQLError:
                return None
            return self._project(place, values) if place.takes(classes) else None
        if kind.item is None or classes != _LISTS:
            return None
        if len(values) == 1:
            written = self._plainly(kind.item, [*values[0]])
            return None if written is None else [written]
        written = self._plainly(kind.item, [*chain.from_iterable(values)])
        if written is None:
            return None
        rest = iter(written)
        return [[*islice(rest, len(one))] for one in values]

    async def _exactly(self, kind: Kind, values: list[Any], owners: Sequence[int]) -> list[Any]:
        """What is encoded for each value that was awaited. `owners` are the rows that the values belong to."""
        if kind.item is not None:
            written = await self._lists(kind, kind.item, values, owners)
        elif kind.write is not None:
            written = self._leaves(kind, values)
        else:
            written = await self._objects(kind, values, owners)
        if kind.required and NoneType in {*map(type, written)}:
            self.run.failed = True
        return written

    async def _ready(self, values: list[Any]) -> list[Any]:
        """The values, awaited where they must be, with failures and nulls marked."""
        waiting = [index for index, value in enumerate(values) if not is_plain(type(value)) and is_awaitable(value)]
        if waiting:
            values = list(values)
            for index, value in zip(waiting, await _all([values[index] for index in waiting]), strict=True):
                values[index] = value
        return [value if is_plain(type(value)) else self._marked(value) for value in values]

    def _marked(self, value: Any) -> Any:
        if isinstance(value, Exception):
            return self._failure(value)
        return None if is_null(value) else value

    def _failure(self, problem: Exception) -> Failure:
        self.run.failed = True
        return Failure(problem)

    def _leaves(self, kind: Kind, values: list[Any]) -> list[Any]:
        if kind.same is not None and {*map(type, values)} <= kind.same:
            return values
        written = []
        for value in values:
            if value is not None and type(value) is not Failure:
                try:
                    value = Executor.complete_leaf_value(cast(Any, kind.type), value)
                except Exception as problem:
                    value = self._failure(problem)
            written.append(value)
        return written

    async def _lists(self, kind: Kind, item: Kind, values: list[Any], owners: Sequence[int]) -> list[Any]:
        """Completes the items of all lists at once, and cuts them into lists again."""
        written: list[Any] = []
        items: list[Any] = []
        item_owners: list[int] = []
        for value, owner in zip(values, owners, strict=True):
            if value is None or type(value) is Failure:
                written.append(value)
                continue
            try:
                found = value if type(value) in (list, tuple) else await self._items(value)
            except Exception as problem:
                written.append(self._failure(problem))
                continue
            written.append(slice(len(items), len(items) + len(found)))
            items.extend(found)
            item_owners.extend([owner] * len(found))
        if not all_plain(items):
            items = await self._ready(items)
        done = self._plainly(item, items)
        if done is None:
            done = await self._exactly(item, items, item_owners)
        return [done[one] if type(one) is slice else one for one in written]

    async def _items(self, value: Any) -> list[Any]:
        if is_async_iterable(value):
            return await _drained(value)
        if not is_iterable(value):
            name = f"{self.field.parent_type}.{self.field.name}"
            raise GraphQLError(f"Expected Iterable, but did not find one for field '{name}'.")
        items: list[Any] = []
        iterator = iter(value)
        try:
            for item in iterator:
                items.append(item)  # what came before a failure has to be awaited
        except Exception:
            self.run.track([*items, *collect_iterator_awaitables(iterator, is_awaitable)])
            raise
        return items

    async def _objects(self, kind: Kind, values: list[Any], owners: Sequence[int]) -> list[Any]:
        """Groups the objects by their types and projects each group at once."""
        written: list[Any] = list(values)
        types = self._types(kind, values, owners)
        if not all_plain(types):
            types = await self._ready(types)
        groups: dict[GraphQLObjectType, list[int]] = {}
        for index, (value, type_) in enumerate(zip(values, types, strict=True)):
            if value is None or type(value) is Failure:
                continue
            if type(type_) is Failure:
                written[index] = type_
                continue
            try:
                groups.setdefault(self._valid(kind, type_, value, owners[index]), []).append(index)
            except Exception as problem:
                written[index] = self._failure(problem)
        for type_, members in groups.items():
            try:
                place = self.field.place(type_)
            except GraphQLError as problem:
                for index in members:
                    written[index] = self._failure(problem)
                continue
            members = await self._of_type(place, members, written, owners)
            if members:
                for index, struct in zip(members, self._project(place, [values[one] for one in members]), strict=True):
                    written[index] = struct
        return written

    def _types(self, kind: Kind, values: list[Any], owners: Sequence[int]) -> list[Any]:
        """The runtime type of each value, by name where the schema had to be asked."""
        if kind.abstract is None:
            return [kind.object_type] * len(values)
        ask = kind.abstract.resolve_type or default_type_resolver
        types: list[Any] = []
        for value, owner in zip(values, owners, strict=True):
            if value is None or type(value) is Failure:
                types.append(None)
                continue
            try:
                types.append(ask(value, self.info(owner), kind.abstract))
            except Exception as problem:
                types.append(problem)
        return types

    def _valid(self, kind: Kind, type_: Any, value: Any, owner: int) -> GraphQLObjectType:
        if kind.abstract is None:
            assert kind.object_type is not None
            return kind.object_type
        # It looks at nothing but `schema`, which a run has too.
        return Executor.ensure_valid_runtime_type(
            cast(Any, self.run), type_, kind.abstract, self.field.details, self.info(owner), value
        )

    async def _of_type(self, place: Place, members: list[int], written: list[Any], owners: Sequence[int]) -> list[int]:
        """Those whose values are what the type says; the others are marked as failures."""
        ask = place.type.is_type_of
        if ask is None:
            return members
        asked = [index for index in members if type(written[index]) not in place.known]
        answers: list[Any] = []
        for index in asked:
            try:
                answers.append(ask(written[index], self.info(owners[index])))
            except Exception as problem:
                answers.append(problem)
        if not all_plain(answers):
            answers = await self._ready(answers)
        wrong = set()
        for index, answer in zip(asked, answers, strict=True):
            if type(answer) is Failure:
                written[index] = answer
                wrong.add(index)
            elif not answer:
                error = invalid_return_type_error(place.type, written[index], self.field.details)
                written[index] = self._failure(error)
                wrong.add(index)
            elif place.by_class and is_plain(type(written[index])):
                place.known.add(type(written[index]))
        return [index for index in members if index not in wrong] if wrong else members

    def _project(self, place: Place, sources: list[Any]) -> list[Any]:
        """The answers of objects of one place. What is not inline, or not understood, becomes steps below."""
        try:
            structs, further = place.projection(sources)
        except Exception:
            structs = [place.blank() for _ in sources]
            self.below.append(Rows(place, sources, structs, place.read, self.rows, (self.field,)))
            return structs
        if further or place.deferred:
            rows = Rows(place, sources, structs, place.deferred, self.rows, (self.field,))
            self.below.append(rows)
            for one in further:
                if one.structs:
                    self.below.append(Rows(one.place, one.sources, one.structs, one.place.deferred, rows, one.route))
        return structs


async def _all(awaitables: list[Awaitable[Any]]) -> list[Any]:
    """What each gives or raises. Cancelled, it ends only once all have ended."""
    if len(awaitables) == 1:
        try:
            return [await awaitables[0]]
        except Exception as problem:
            return [problem]
    given = await asyncio.gather(*awaitables, return_exceptions=True)
    for one in given:
        if isinstance(one, BaseException) and not isinstance(one, Exception):
            raise one
    return given


async def _drained(source: Any) -> list[Any]:
    items = []
    iterator = source.__aiter__()
    try:
        async for item in iterator:
            items.append(item)
    except Exception:
        if (close := getattr(iterator, "aclose", None)) is not None:
            with suppress(Exception):
                await close()
        raise
    return items


async def _gather(values: Sequence[Awaitable[Any]]) -> list[Any]:
    return await gather_with_cancel(*values)


def _close(values: Sequence[Any]) -> None:
    for value in values:
        if iscoroutine(value):
            value.close()
