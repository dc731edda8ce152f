"""What resolvers are told beside their arguments, made only as far as they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLResolveInfo
from graphql.pyutils import Path, is_awaitable

if TYPE_CHECKING:
    from executor.steps import Step


def resolve_info(step: Step, row: int) -> GraphQLResolveInfo[Any]:
    """The info of one object's field, as graphql-core makes it."""
    run, one = step.run, step.field
    return GraphQLResolveInfo(
        one.name,
        one.nodes,
        one.definition.type,
        one.parent_type,
        step.path(row),
        run.schema,
        run.operation.definitions,
        run.root,
        run.operation.node,
        run.variables,
        run.context,
        is_awaitable,
        None,
        run.helpers,
    )


class LazyInfo:
    """The same for Strawberry, which hands it on inside its own Info: nothing is looked up before it is asked for."""

    __slots__ = ("_row", "_step")

    def __init__(self, step: Step, row: int) -> None:
        self._step = step
        self._row = row

    @property
    def context(self) -> Any:
        return self._step.run.context

    @property
    def path(self) -> Path:
        return self._step.path(self._row)

    @property
    def variable_values(self) -> dict[str, Any]:
        """Strawberry tells the coerced values without their sources."""
        return self._step.run.variables.coerced

    @property
    def operation_extensions(self) -> dict[str, Any] | None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(resolve_info(self._step, self._row), name)


class BatchInfo:
    """The `info` of a batch resolver."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    @property
    def context(self) -> Any:
        return self._step.run.context

    @property
    def root_value(self) -> Any:
        return self._step.run.root

    @property
    def field_name(self) -> str:
        return self._step.field.name

    @property
    def paths(self) -> list[list[str | int]]:
        return [self._step.path(row).as_list() for row in range(len(self._step.rows.sources))]
