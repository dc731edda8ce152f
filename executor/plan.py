"""Compiled plans: an operation of a valid document, understood once and run many times."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from inspect import isawaitable
from typing import Any, Final

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    experimental_execute_incrementally,
    get_operation_ast,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from msgspec import Struct

from executor.inputs import Variables
from executor.places import Operation, Place
from executor.result import Result
from executor.shapes import Native
from executor.short import Short, short_of
from executor.steps import Run, Watch

# Each choice of @skip and @include is compiled by itself; an operation with more of them in use is not worth it.
MOST_CHOICES = 16

_UNKNOWN_CHOICE: Final = object()

Tell = Callable[[str], None]


class NotCompiled(Exception):
    """Why an operation is left to graphql-core, in one word or two."""


def compile(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None = None,
    *,
    natives: Mapping[str, Native] | None = None,
    fell_back: Tell = lambda reason: None,
) -> CompiledPlan | None:
    """The plan of an operation; None where graphql-core must execute it, and `fell_back` is told why.

    The document must be valid. `natives` are the custom scalars, by name, whose usual values the encoder writes by itself.
    `fell_back` is told too when a single run of the plan is left to graphql-core.
    """
    try:
        return CompiledPlan(schema, document, operation_name, natives or {}, fell_back)
    except NotCompiled as problem:
        fell_back(str(problem))
        return None


class Choice(Struct, frozen=True, eq=False):
    """What is selected under one choice of @skip and @include, and the short way to it, if there is one."""

    operation: Operation
    root: Place
    short: Short | None


class Read(Struct, frozen=True, gc=False):
    """Variables as the plan with this identity has read them, or what is wrong with them. It keeps no plan alive."""

    plan: object
    values: VariableValues | list[GraphQLError]


class CompiledPlan:
    """One operation. It may be run any number of times, side by side too."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation_name: str | None,
        natives: Mapping[str, Native],
        fell_back: Tell,
    ) -> None:
        node = get_operation_ast(document, operation_name)
        if node is None:
            raise NotCompiled("no operation")
        root_type = schema.get_root_type(node.operation)
        if root_type is None:
            raise NotCompiled("no root type")
        self.identity = object()
        self.schema = schema
        self.document = document
        self.node = node
        self._root_type = root_type
        self._natives = natives
        self._fell_back = fell_back
        self._definitions = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._conditions = _conditions([node, *self._definitions.values()])
        self._variables = Variables(schema, node.variable_definitions or ())
        self._choices: dict[tuple[object, ...], Choice] = {}
        self._serially = node.operation is OperationType.MUTATION
        # What is selected where no variable decides that.
        self._only = None if self._conditions else self._choice(VariableValues({}, {}))

    @property
    def most_choices(self) -> int:
        """How often its selection may be compiled: once for each choice of its @skip and @include."""
        return min(1 << len(self._conditions), MOST_CHOICES)

    async def run(
        self,
        variables: Mapping[str, Any] | None = None,
        context: Any = None,
        root: Any = None,
        watch: Watch | None = None,
    ) -> Result:
        """Run the operation once, a subscription for one event, which is the root; `watch` lasts around each level. Never raises,
        but for cancellation; a cancelled run leaves no task behind."""
        begun = self.begin(variables, context, root, watch)
        return begun if isinstance(begun, Result) else await begun

    def begin(
        self,
        variables: Mapping[str, Any] | None = None,
        context: Any = None,
        root: Any = None,
        watch: Watch | None = None,
        read: Read | None = None,
    ) -> Result | Coroutine[Any, Any, Result]:
        """The same at once where nothing has to be awaited; else what is left of the run, which has to be awaited. `read` are the
        variables where some plan has read them before."""
        values = (
            self._variables.read(variables or {}) if read is None or read.plan is not self.identity else read.values
        )
        if isinstance(values, list):
            return Result.refused(values)
        try:
            choice = self._only or self._choice(values)
        except NotCompiled as problem:
            self._fell_back(str(problem))
            return self._left(variables, context, root)
        run, short = Run(choice.operation, values, context, root, watch), choice.short
        rest = run.start(choice.root, self._serially) if short is None else short.start(run)
        return Result(run.answer, run.failed) if rest is None else _rest(run, rest)

    def read(self, variables: Mapping[str, Any]) -> Read:
        """The variables for runs that have the same; their resolvers leave lists as they are."""
        return Read(self.identity, self._variables.read(variables))

    def _choice(self, variables: VariableValues) -> Choice:
        """What is selected under these variables. Raises NotCompiled."""
        coerced = {name: variables.coerced[name] for name in self._conditions if name in variables.coerced}
        key = tuple([coerced.get(name, _UNKNOWN_CHOICE) for name in self._conditions])
        found = self._choices.get(key)
        if found is None:
            if len(self._choices) >= MOST_CHOICES:
                raise NotCompiled("choices")
            sources = {name: variables.sources[name] for name in coerced}
            operation = Operation(
                self.schema,
                self.node,
                {name: FragmentDetails(one) for name, one in self._definitions.items()},
                self._definitions,
                VariableValues(sources, coerced),
                self._natives,
            )
            try:
                root = operation.root(self._root_type)
                found = Choice(operation, root, None if self._serially else short_of(root))
            except (GraphQLError, RecursionError):
                raise NotCompiled("selection") from None
            self._choices[key] = found
        return found

    async def _left(self, variables: Mapping[str, Any] | None, context: Any, root: Any) -> Result:
        """A run that is left to graphql-core."""
        house = getattr(self.schema, "_strawberry_schema", None)
        # What graphql-core calls `execute` refuses schemas that know of @defer; a plan's document has none.
        result = experimental_execute_incrementally(
            self.schema,
            self.document,
            root,
            context,
            dict(variables or {}),
            None if self.node.name is None else self.node.name.value,
            executor_class=None if house is None else house.execution_context_class,
            hide_suggestions=True,
        )
        made = await result if isawaitable(result) else result
        assert isinstance(made, ExecutionResult)
        return Result.of(made)


async def _rest(run: Run, rest: Coroutine[Any, Any, None]) -> Result:
    await rest
    return Result(run.answer, run.failed)


def _conditions(definitions: list[OperationDefinitionNode | FragmentDefinitionNode]) -> tuple[str, ...]:
    """The variables that decide what is selected. Raises NotCompiled for what only graphql-core understands."""
    found: dict[str, None] = {}
    for definition in definitions:
        if isinstance(definition, FragmentDefinitionNode) and definition.variable_definitions:
            raise NotCompiled("fragment variables")
        if definition.directives:
            raise NotCompiled("directive")
        for node in _selections(definition.selection_set):
            if isinstance(node, FieldNode) and node.name.value in ("__schema", "__type"):
                raise NotCompiled("introspection")
            for directive in node.directives or ():
                if directive.name.value not in ("skip", "include"):
                    raise NotCompiled(
                        f"@{directive.name.value}" if directive.name.value in ("defer", "stream") else "directive"
                    )
                for argument in directive.arguments or ():
                    if isinstance(argument.value, VariableNode):
                        found[argument.value.name.value] = None
    return tuple(found)


def _selections(selection_set: SelectionSetNode | None) -> Iterator[Any]:
    waiting = list(selection_set.selections) if selection_set is not None else []
    while waiting:
        node = waiting.pop()
        yield node
        below = getattr(node, "selection_set", None)
        if below is not None:
            waiting.extend(below.selections)
