"""What resolvers are told beside their arguments, made only as far as they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLResolveInfo
from graphql.pyutils import Path, is_awaitable
from msgspec import Struct

if TYPE_CHECKING:
    from executor.places import Field
    from executor.steps import Rows, Run, Step


def resolve_info(run: Run, field: Field, path: Path) -> GraphQLResolveInfo[Any]:
    """The info of one object's field, as graphql-core makes it."""
    return GraphQLResolveInfo(
        field.name,
        field.nodes,
        field.definition.type,
        field.parent_type,
        path,
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


class LazyInfo(Struct, eq=False):
    """The same for Strawberry, which hands it on inside its own Info: nothing is looked up before it is asked for."""

    _run: Run
    _field: Field
    _rows: Rows
    _row: int

    @property
    def context(self) -> Any:
        return self._run.context

    @property
    def path(self) -> Path:
        return self._rows.path(self._row, self._field)

    @property
    def variable_values(self) -> dict[str, Any]:
        """Strawberry tells the coerced values without their sources."""
        return self._run.variables.coerced

    @property
    def operation_extensions(self) -> dict[str, Any] | None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(resolve_info(self._run, self._field, self.path), name)


class BatchInfo:
    """The `info` of a batch resolver."""

    __slots__ = ("_step",)

    def __init__(self, step: Step) -> None:
        self._step = step

    @property
    def context(self) -> Any:
        return self._step.run.context

    @property
    def paths(self) -> list[list[str | int]]:
        return [self._step.path(row).as_list() for row in range(len(self._step.rows.sources))]
