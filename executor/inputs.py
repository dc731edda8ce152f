"""Variables and arguments: read as graphql-core reads them, with a short way for what is plain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInputType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    ListValueNode,
    ObjectValueNode,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    get_argument_values,
    is_required_argument,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.utilities.coerce_input_value import coerce_default_value, coerce_input_literal

if TYPE_CHECKING:
    from executor.steps import Step

MOST_ERRORS = 50
_MISSING: Final = object()
# Values that no resolver can change, so that one reading serves all runs.
_FIXED: Final = (str, int, float, bool, type(None), Enum, Decimal, date, time, timedelta)

Check = Callable[[Any], bool]
Shortcut = Callable[[Any], Any]

_CHECKS: Final[Mapping[str, Check]] = {
    "String": lambda value: type(value) is str,
    "ID": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and -0x8000_0000 <= value <= 0x7FFF_FFFF,
}
_TEXT: Final = {str}
_BUILT_IN: Final = (GraphQLString, GraphQLID, GraphQLBoolean, GraphQLInt, GraphQLFloat)


class Variables:
    """The variables of one operation."""

    def __init__(self, schema: GraphQLSchema, definitions: tuple[VariableDefinitionNode, ...]) -> None:
        self._schema = schema
        self._definitions = definitions
        self._known: list[tuple[str, VariableDefinitionNode, GraphQLVariableSignature, Check, bool]] = []
        for definition in definitions:
            signature = get_variable_signature(schema, definition)
            if isinstance(signature, GraphQLError):
                self._known = []
                break
            check, is_list = _check_of(signature.type)
            self._known.append((signature.name, definition, signature, check, is_list))

    def read(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """The coerced variables, or what is wrong with them."""
        if len(self._known) < len(self._definitions):
            return self._read_exactly(given)
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, definition, signature, check, is_list in self._known:
            value = given.get(name, _MISSING)
            if check(value):
                sources[name] = VariableValueSource(signature, value)
                coerced[name] = list(value) if is_list else value
            elif value is _MISSING and definition.default_value is None and not _is_required(signature.type):
                sources[name] = VariableValueSource(signature)
            else:
                one = get_variable_values(self._schema, (definition,), dict(given))
                if isinstance(one, list):
                    return self._read_exactly(given)
                sources |= one.sources
                coerced |= one.coerced
        return VariableValues(sources, coerced)

    def _read_exactly(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        return get_variable_values(
            self._schema, self._definitions, dict(given), max_errors=MOST_ERRORS, hide_suggestions=True
        )


def same(value: Any) -> Any:
    """What is taken as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Convert:
    """Turns arguments as graphql-core reads them into what a resolver takes: `exactly` by (arguments, info).

    `shortcuts` are, by name, the resolver's own name and what is to be done with a value that is not None; of arguments whose
    conversion is that simple.
    """

    exactly: Callable[[dict[str, Any], Any], dict[str, Any]]
    shortcuts: Mapping[str, tuple[str, Shortcut]]


class Arguments:
    """The arguments of one field of one operation, as `convert` wants them; without it as graphql-core reads them."""

    def __init__(self, field: GraphQLField, node: FieldNode, convert: Convert | None) -> None:
        self._field = field
        self._node = node
        self._convert = convert
        self._fixed: dict[str, Any] = {}
        self._from_variables: list[tuple[str, str, Shortcut]] = []
        self._quick = all(map(self._understand, field.args))

    def read(self, variables: VariableValues, step: Step) -> dict[str, Any]:
        """What the resolver takes, in a dict of its own. Raises what conversion raises, such as GraphQLError."""
        values = self.plain(variables)
        if values is not None:
            return values
        values = get_argument_values(self._field, self._node, variables, hide_suggestions=True)
        return values if self._convert is None else self._convert.exactly(values, step.info(0))

    def plain(self, variables: VariableValues) -> dict[str, Any] | None:
        """The same where that is plain; else None."""
        if not self._quick:
            return None
        values = self._fixed.copy()
        coerced = variables.coerced
        for name, variable, shortcut in self._from_variables:
            value = coerced.get(variable)
            if value is None:
                return None
            values[name] = shortcut(value)
        return values

    def _understand(self, name: str) -> bool:
        definition = self._field.args[name]
        given = next((one for one in self._node.arguments or () if one.name.value == name), None)
        key = definition.out_name or name
        taken_as, shortcut = (key, same) if self._convert is None else self._convert.shortcuts.get(key, (key, None))
        if shortcut is None:
            return False
        try:
            if given is None:
                if is_required_argument(definition):
                    return False
                value = coerce_default_value(definition)
            elif isinstance(given.value, VariableNode):
                self._from_variables.append((taken_as, given.value.name.value, shortcut))
                return True
            elif isinstance(given.value, (ListValueNode, ObjectValueNode)):
                return False  # it may hold variables, and is made anew for each run
            else:
                value = coerce_input_literal(given.value, definition.type)
                if value is Undefined:
                    return False
        except Exception:
            # What is wrong is told at each run, by graphql-core.
            return False
        if value is Undefined:
            return True
        if not isinstance(value, _FIXED):
            return False
        self._fixed[taken_as] = value if value is None else shortcut(value)
        return True


def _never(value: Any) -> bool:
    return False


def _is_list_of_text(value: Any) -> bool:
    return type(value) is list and {*map(type, value)} <= _TEXT


def _is_required(type_: GraphQLInputType) -> bool:
    return isinstance(type_, GraphQLNonNull)


def _check_of(type_: GraphQLInputType) -> tuple[Check, bool]:
    """A check that knows values which coercion leaves as they are, and whether they are lists."""
    bare: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    if isinstance(bare, GraphQLList):
        item: Any = bare.of_type
        item = item.of_type if isinstance(item, GraphQLNonNull) else item
        if item in (GraphQLString, GraphQLID):
            return _is_list_of_text, True
        return _never, True
    return (_CHECKS.get(bare.name, _never) if bare in _BUILT_IN else _never), False
