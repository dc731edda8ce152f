"""The plan as a tree: places of the operation, each with one concrete object type, and the fields selected there."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import NoneType
from typing import Any, Final

import msgspec
from graphql import (
    FragmentDefinitionNode,
    GraphQLBoolean,
    GraphQLField,
    GraphQLID,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    OperationDefinitionNode,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from msgspec import UNSET, Struct
from strawberry.types.field import StrawberryField

from executor import shapes, written
from executor.batch import batch_of, decided_by_class, lasting_of, strawberry_field_of
from executor.calls import Call, call_of
from executor.inputs import Arguments
from executor.shapes import Native
from executor.values import Leaf, Odd, is_plain

# Python nests no more than 20 loops; what lies deeper is a step of its own.
MOST_LOOPS = 8
# Classes that are remembered to be of a type.
MOST_CLASSES = 1_000

# Leaf types, and the classes of values that they write as they are.
_SAME: Final[Mapping[Any, frozenset[Any]]] = {
    GraphQLString: frozenset({str, NoneType}),
    GraphQLID: frozenset({str, NoneType}),
    GraphQLBoolean: frozenset({bool, NoneType}),
}


@dataclass(slots=True, eq=False)
class Kind:
    """A type as a value is completed to it: a list of `item`, a leaf written by `write` (and
    values of the classes `same` as they are), an object, or an abstract type."""

    type: GraphQLOutputType
    required: bool
    item: Kind | None = None
    write: Leaf | None = None
    same: frozenset[Any] | None = None
    object_type: GraphQLObjectType | None = None
    abstract: GraphQLInterfaceType | GraphQLUnionType | None = None

    @property
    def named(self) -> Kind:
        """The kind at the bottom of the lists."""
        return self if self.item is None else self.item.named

    @property
    def lists(self) -> int:
        """How many lists lie around the named type."""
        return 0 if self.item is None else 1 + self.item.lists


def kind_of(type_: GraphQLOutputType) -> Kind:
    """The kind of a type."""
    bare: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    kind = Kind(bare, isinstance(type_, GraphQLNonNull))
    if isinstance(bare, GraphQLList):
        kind.item = kind_of(bare.of_type)
    elif isinstance(bare, GraphQLObjectType):
        kind.object_type = bare
    elif isinstance(bare, (GraphQLInterfaceType, GraphQLUnionType)):
        kind.abstract = bare
    else:
        kind.write = bare.coerce_output_value
        kind.same = _SAME.get(bare)
    return kind


@dataclass(slots=True, eq=False)
class Field:
    """One response key of a place. `slot` is its attribute of the Struct. `constant` is set for `__typename`; `attribute` for
    a plain read; `inline` says that the projection of the place copies it, down to its leaves."""

    key: str
    slot: str
    details: list[FieldDetails]
    parent_type: GraphQLObjectType
    definition: GraphQLField
    kind: Kind
    arguments: Arguments
    call: Call
    operation: Operation
    constant: str | None = None
    attribute: str | None = None
    inline: bool = False
    depth: int = 0
    _places: dict[GraphQLObjectType, Place] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.details[0].node.name.value

    @property
    def title(self) -> str:
        """As who watches is told of it: `Query.stock`."""
        return f"{self.parent_type.name}.{self.name}"

    @property
    def nodes(self) -> list[Any]:
        """The field nodes that were merged into this key, for the locations of errors."""
        return [detail.node for detail in self.details]

    def place(self, type_: GraphQLObjectType) -> Place:
        """What is selected below, on objects of a type."""
        found = self._places.get(type_)
        if found is None:
            depth = self.depth + self.kind.lists if self.inline else 0
            found = self._places[type_] = Place(self.operation, type_, self.operation.below(type_, self.details), depth)
        return found


class Place:
    """The fields selected on one object type at one place of the operation, and the Struct that is their answer."""

    def __init__(
        self, operation: Operation, type_: GraphQLObjectType, selected: Mapping[str, list[FieldDetails]], depth: int
    ) -> None:
        self.type = type_
        self.fields: list[Field] = []
        for key, details in selected.items():
            definition = operation.schema.get_field(type_, details[0].node.name.value)
            if definition is not None:
                self.fields.append(_field(operation, type_, key, details, definition, f"f{len(self.fields)}", depth))
        self.blanks = [UNSET if one.constant is None else one.constant for one in self.fields]
        self.read = [one for one in self.fields if one.constant is None]
        self.deferred = [one for one in self.read if not one.inline]
        self.blank_struct = _struct(self, searched=True)
        self.by_class = decided_by_class(type_)
        # Classes of which every value is of this type.
        self.known: set[type] = set()

    def blank(self) -> Struct:
        """An answer in which nothing but constants is written."""
        return self.blank_struct(*self.blanks)

    @cached_property
    def plain(self) -> bool:
        """Whether everything below is copied, and no step ever writes there."""
        objects = [(one, one.kind.named.object_type) for one in self.read]
        return not self.deferred and all(type_ is None or one.place(type_).plain for one, type_ in objects)

    @cached_property
    def struct(self) -> type[Struct]:
        """What a projection makes.

        A failure leads to the frames that saw it, and these to the answers: such cycles are for Python to find. Answers that hold
        nothing but copies are spared its search.
        """
        return _struct(self, searched=False) if self.plain else self.blank_struct

    @cached_property
    def projection(self) -> shapes.Projection:
        """Copies the inline fields of many objects at once."""
        made = shapes.projection(self)
        return made if self.lasting is None else written.kept(self, made)

    @cached_property
    def lasting(self) -> str | None:
        """The attribute in which objects keep what was written of them; None where steps write below the object itself."""
        below = [(one, one.kind.named.object_type) for one in self.read if one.inline]
        settled = all(type_ is None or one.place(type_).plain for one, type_ in below)
        return lasting_of(self.type) if settled else None

    def takes(self, classes: set[type]) -> bool:
        """Whether all values of these classes are plain, and known to be of this type."""
        if classes <= self.known:
            return True
        if self.type.is_type_of is not None or not all(map(is_plain, classes)):
            return False
        for class_ in classes:
            self._know(class_)
        return True

    def admit(self, value: Any) -> None:
        """Raises Odd unless a value is plainly of this type; its class is known from then on."""
        if not is_plain(type(value)):
            raise Odd
        if self.type.is_type_of is not None and not self.type.is_type_of(value, None):  # type: ignore[arg-type]
            raise Odd
        if self.by_class:
            self._know(type(value))

    def _know(self, class_: type) -> None:
        if len(self.known) > MOST_CLASSES:
            self.known.clear()
        self.known.add(class_)


@dataclass(eq=False)
class Operation:
    """What places are made from: one operation under one choice of its @skip and @include."""

    schema: GraphQLSchema
    node: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    definitions: dict[str, FragmentDefinitionNode]
    conditions: VariableValues
    natives: Mapping[str, Native]

    @cached_property
    def is_strawberry(self) -> bool:
        """Whether Strawberry made the schema."""
        return hasattr(self.schema, "_strawberry_schema")

    def root(self, type_: GraphQLObjectType) -> Place:
        """The place of the root fields; none of them is inline."""
        collected = collect_fields(self.schema, self.fragments, self.conditions, type_, self.node, True)
        return Place(self, type_, collected.grouped_field_set, MOST_LOOPS)

    def below(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> dict[str, list[FieldDetails]]:
        """What fields select on objects of a type, merged."""
        collected = collect_subfields(self.schema, self.fragments, self.conditions, self.node, type_, details, True)
        return collected.grouped_field_set


def _field(
    operation: Operation,
    type_: GraphQLObjectType,
    key: str,
    details: list[FieldDetails],
    definition: GraphQLField,
    slot: str,
    depth: int,
) -> Field:
    kind = kind_of(definition.type)
    node = details[0].node
    call = call_of(operation.schema, definition, batch_of(definition))
    made = Field(
        key=key,
        slot=slot,
        details=details,
        parent_type=type_,
        definition=definition,
        kind=kind,
        arguments=Arguments(definition, node, call.convert),
        call=call,
        operation=operation,
        constant=type_.name if node.name.value == "__typename" else None,
        depth=depth + 1,
    )
    made.attribute = _attribute(definition)
    if made.attribute is not None and depth + 1 + kind.lists < MOST_LOOPS:
        named = kind.named
        if named.object_type is not None:
            made.inline = decided_by_class(named.object_type)
        else:
            made.inline = named.abstract is None
    return made


def _attribute(definition: GraphQLField) -> str | None:
    """The attribute that a field without a resolver is read from."""
    found = strawberry_field_of(definition)
    if found is None or not found.is_basic_field or found.default_resolver is not getattr:
        return None
    if (
        not getattr(definition.resolve, "_is_default", False)
        or type(found).get_result is not StrawberryField.get_result
    ):
        return None
    name = found.python_name
    return name if name.isidentifier() and not keyword.iskeyword(name) else None


def _struct(place: Place, searched: bool) -> type[Struct]:
    return msgspec.defstruct(
        place.type.name,
        [(one.slot, Any) for one in place.fields],
        rename={one.slot: one.key for one in place.fields},
        namespace={"place": place},
        eq=False,
        gc=searched,
    )
