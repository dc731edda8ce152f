"""Answers in parts: what `@defer` leaves for later, in the shapes that clients read.

The parts are those of the incremental delivery that graphql-core executes: `pending` announces them by id, `incremental` brings
their data, `completed` ends them. Clients of 2022 know no ids and read paths and labels.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from inspect import isawaitable
from typing import Any

from graphql import (
    REMOVE,
    DirectiveNode,
    DocumentNode,
    ExecutionResult,
    ExperimentalIncrementalExecutionResults,
    GraphQLError,
    GraphQLSchema,
    IncrementalDeferResult,
    InitialIncrementalExecutionResult,
    SubsequentIncrementalExecutionResult,
    Visitor,
    experimental_execute_incrementally,
    visit,
)
from graphql.execution import CompletedResult, Executor, PendingResult
from strawberry.execution.is_awaitable import optimized_is_awaitable

from domain.errors import HouseError
from gateway.errors import Told, tell, tell_house_error
from resolvers.context import Context

Frame = dict[str, Any]
# A response, and the errors in it.
Telling = tuple[Frame, list[Told]]


class Wire(Enum):
    """How parts are told, by the name that clients ask for."""

    TODAY = "incrementalSpec=v0.2"
    OF_2022 = "deferSpec=20220824"


def whole(document: DocumentNode) -> DocumentNode:
    """The document without its `@defer`, for an answer at once; itself where it has none."""

    class Undeferred(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: object) -> Any:
            return REMOVE if node.name.value == "defer" else None

    undeferred: DocumentNode = visit(document, Undeferred())
    return undeferred


@dataclass(frozen=True, slots=True)
class Deferred:
    """One operation with parts. `ends_at` is when what is still missing is given up, in seconds of the loop's clock, and `late`
    what is told of it."""

    schema: GraphQLSchema
    executor_class: type[Executor[Any]] | None
    document: DocumentNode
    operation_name: str | None
    variables: dict[str, Any]
    context: Context
    ends_at: float
    late: Told

    async def frames(self, wire: Wire) -> AsyncGenerator[Telling, None]:
        """The responses, at least one. Raises TimeoutError when not even the first is ready in time."""
        async with asyncio.timeout_at(self.ends_at):
            result: Any = experimental_execute_incrementally(
                self.schema,
                self.document,
                context_value=self.context,
                variable_values=self.variables,
                operation_name=self.operation_name,
                executor_class=self.executor_class,
                is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # declared as bool where a guard is meant
                hide_suggestions=True,
            )
            made = await result if isawaitable(result) else result
        teller = _Teller(self.context, wire)
        if isinstance(made, ExecutionResult):
            yield teller.only(made)
            return
        assert isinstance(made, ExperimentalIncrementalExecutionResults)
        yield teller.first(made.initial_result)
        async with aclosing(made.subsequent_results) as rest:
            while True:
                try:
                    async with asyncio.timeout_at(self.ends_at):
                        part = await anext(rest)
                except TimeoutError:
                    yield teller.given_up(self.late)
                    return
                told = teller.next(part)
                if told is not None:
                    yield told
                if not part.has_next:
                    return


@dataclass(slots=True)
class _Piece:
    """A part that has become ready, or `data` None one that failed."""

    pending: PendingResult
    path: list[str | int]
    data: dict[str, Any] | None
    errors: list[Told]

    def today(self) -> Frame:
        """As the clients of ids read it."""
        below = self.path[len(self.pending.path) :]
        told: Frame = {"id": self.pending.id}
        if self.data is not None:
            told |= {"data": self.data} if not below else {"subPath": below, "data": self.data}
        return told | ({"errors": self.errors} if self.errors else {})

    def of_2022(self) -> Frame:
        """As the clients of paths read it."""
        told: Frame = {"path": self.path, "data": self.data}
        if self.pending.label is not None:
            told["label"] = self.pending.label
        return told | ({"errors": self.errors} if self.errors else {})


@dataclass(slots=True)
class _Teller:
    """Puts results into words. `pending` are the parts announced and not yet ended, by id."""

    context: Context
    wire: Wire
    pending: dict[str, PendingResult] = field(default_factory=dict)

    def only(self, result: ExecutionResult) -> Telling:
        """A result without parts: it could not begin, or there was nothing to defer after all."""
        begun = result.data is not None or any(one.path is not None for one in result.errors or ())
        return self._whole({"data": result.data} if begun else {}, result.errors, more=False)

    def first(self, result: InitialIncrementalExecutionResult) -> Telling:
        """What is there at once."""
        announced = self._announce(result.pending)
        frame: Frame = {"data": result.data}
        return self._whole(
            frame | ({"pending": announced} if self.wire is Wire.TODAY else {}), result.errors, more=True
        )

    def next(self, result: SubsequentIncrementalExecutionResult) -> Telling | None:
        """What has become ready; None where that means nothing to a client of 2022."""
        announced = self._announce(result.pending)
        ready = [self._ready(one) for one in result.incremental or () if isinstance(one, IncrementalDeferResult)]
        ended = [self._ended(one) for one in result.completed or ()]
        return self._parts(announced, ready, ended, more=result.has_next)

    def given_up(self, late: Told) -> Telling:
        """The end, where the rest is not ready in time."""
        ended = [_Piece(one, one.path, None, [{**late, "path": one.path}]) for one in self.pending.values()]
        told = self._parts([], [], ended, more=False)
        assert told is not None
        return told

    def _whole(self, frame: Frame, errors: Sequence[GraphQLError] | None, *, more: bool) -> Telling:
        told = self._words(errors) + self._problems(())
        return {**frame, **({"errors": told} if told else {}), "hasNext": more}, told

    def _parts(self, announced: list[Frame], ready: list[_Piece], ended: list[_Piece], *, more: bool) -> Telling | None:
        failed = [one for one in ended if one.errors]
        for piece in sorted((*ready, *failed), key=lambda one: -len(one.path)):
            piece.errors += self._problems(piece.path)
        lists = {"incremental": [one.of_2022() for one in (*ready, *failed)]}
        if self.wire is Wire.TODAY:
            lists = {"pending": announced, "incremental": [one.today() for one in ready]}
            lists["completed"] = [one.today() for one in ended]
        frame: Frame = {name: some for name, some in lists.items() if some}
        # Problems of parts that are still to come wait for them.
        rest = [] if more else self._problems(())
        if rest:
            frame["errors"] = rest
        if more and not frame:
            return None
        return {**frame, "hasNext": more}, [error for one in (*ready, *failed) for error in one.errors] + rest

    def _announce(self, pending: Sequence[PendingResult] | None) -> list[Frame]:
        self.pending.update({one.id: one for one in pending or ()})
        return [dict(one.formatted) for one in pending or ()]

    def _ready(self, result: IncrementalDeferResult) -> _Piece:
        pending = self.pending[result.id]
        return _Piece(pending, pending.path + (result.sub_path or []), result.data, self._words(result.errors))

    def _ended(self, result: CompletedResult) -> _Piece:
        pending = self.pending.pop(result.id)
        return _Piece(pending, pending.path, None, self._words(result.errors))

    def _words(self, errors: Sequence[GraphQLError] | None) -> list[Told]:
        return [tell(one, self.context.request_id) for one in errors or ()]

    def _problems(self, path: Sequence[str | int]) -> list[Told]:
        """What went wrong below `path` and blanked nothing; each is told once."""
        above, problems = list(path), self.context.problems
        told: list[tuple[list[str | int], HouseError]] = []
        self.context.problems = []
        for one in problems:
            (told if one[0][: len(above)] == above else self.context.problems).append(one)
        return [tell_house_error(problem, where) for where, problem in told]
