"""Projections: code written once per place that copies and checks the inline fields of many objects.

A projection reads attributes, checks each value for the one class that the encoder writes as the schema wants it, and builds the
Structs of the answer. It raises on whatever it does not expect, and then counts for nothing: the exact way answers instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from graphql import GraphQLBoolean, GraphQLFloat, GraphQLID, GraphQLInt, GraphQLString
from msgspec import UNSET, Struct

from executor.values import Odd, leaf

if TYPE_CHECKING:
    from executor.places import Field, Kind, Place


@dataclass(frozen=True, slots=True)
class Native:
    """Values of a custom scalar that the encoder writes as the scalar's own `serialize` does.

    `check` is a Python expression over `{value}` that is true for such a value; `names` are what it names.
    """

    check: str
    names: Mapping[str, object]


UTC_DATETIME: Final = Native("type({value}) is datetime and {value}.tzinfo is UTC", {"datetime": datetime, "UTC": UTC})
"""For a scalar that writes an aware datetime as RFC 3339 in UTC with Z."""


@dataclass(slots=True)
class Below:
    """Objects that a projection passed on its way down `route`, and their answers, which want fields that are not inline."""

    route: tuple[Field, ...]
    place: Place
    sources: list[Any]
    structs: list[Struct]


Projection = Callable[[list[Any]], tuple[list[Struct], list[Below]]]


def projection(place: Place) -> Projection:
    """The projection of a place."""
    writer = _Writer()
    writer.line(0, "def project(sources):")
    writer.line(1, "structs = []; add = structs.append")
    head = len(writer.lines)
    writer.line(1, "for o in sources:")
    writer.line(2, f"add({writer.object(place, 'o', 2, ())})")
    below = ", ".join(f"Below(route{n}, place{n}, s{n}, t{n})" for n in range(writer.below))
    writer.line(1, f"return structs, [{below}]")
    for n in range(writer.below):
        writer.lines.insert(head, f" s{n} = []; t{n} = []")
    names = writer.names
    exec(compile("\n".join(writer.lines), f"<projection of {place.type.name}>", "exec"), names)  # noqa: S102  # our own text
    made: Projection = names["project"]
    return made


def listed(value: Any) -> list[Any]:
    """A list of the items of what may be read twice. Raises Odd for anything else."""
    if type(value) in (tuple, set, frozenset):
        return list(value)
    raise Odd


@dataclass(slots=True)
class _Writer:
    """Writes the text of one projection. No name of a client's document is ever part of it."""

    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=lambda: {"UNSET": UNSET, "Below": Below, "listed": listed})
    below: int = 0
    count: int = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append(" " * depth + text)

    def name(self, value: Any) -> str:
        """A name under which the code finds a value."""
        self.count += 1
        name = f"n{self.count}"
        self.names[name] = value
        return name

    def variable(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def object(self, place: Place, source: str, depth: int, route: tuple[Field, ...]) -> str:
        """Writes the fields of one object; answers the expression that makes its Struct."""
        values = []
        for one in place.fields:
            if one.constant is not None:
                values.append(self.name(one.constant))
            elif one.inline:
                value = self.variable()
                self.line(depth, f"{value} = {source}.{one.attribute}")
                self.value(one, one.kind, value, depth, (*route, one))
                values.append(value)
            else:
                values.append("UNSET")
        made = f"{self.name(place.struct)}({', '.join(values)})"
        if not route or not place.deferred:
            return made
        number, self.below = self.below, self.below + 1
        self.names |= {f"route{number}": route, f"place{number}": place}
        struct = self.variable()
        self.line(depth, f"{struct} = {made}")
        self.line(depth, f"s{number}.append({source}); t{number}.append({struct})")
        return struct

    def value(self, one: Field, kind: Kind, value: str, depth: int, route: tuple[Field, ...]) -> None:
        """Writes the check of one value; afterward its variable holds what is to be encoded."""
        if not kind.required:
            self.line(depth, f"if {value} is not None:")
            depth += 1
        if kind.item is not None:
            items, item = self.variable(), self.variable()
            self.line(depth, f"if type({value}) is not list: {value} = listed({value})")
            self.line(depth, f"{items} = []")
            self.line(depth, f"for {item} in {value}:")
            self.value(one, kind.item, item, depth + 1, route)
            self.line(depth + 1, f"{items}.append({item})")
            self.line(depth, f"{value} = {items}")
        elif kind.object_type is not None:
            place = one.place(kind.object_type)
            known, admit = self.name(place.known), self.name(place.admit)
            self.line(depth, f"if type({value}) not in {known}: {admit}({value})")
            self.line(depth, f"{value} = {self.object(place, value, depth, route)}")
        else:
            self.leaf(one, kind, value, depth)

    def leaf(self, one: Field, kind: Kind, value: str, depth: int) -> None:
        """Writes the check of a leaf: one class quickly, all else through the type's own `coerce_output_value`."""
        type_: Any = kind.type
        write = self.name(leaf(type_))
        native = one.operation.natives.get(type_.name)
        members = _members(type_)
        if type_ in (GraphQLString, GraphQLID):
            self.line(depth, f"if type({value}) is not str: {value} = {write}({value})")
        elif type_ is GraphQLInt:
            # Within one digit of Python's integers, which are compared much faster; the rest is checked by the type.
            outside = f"type({value}) is not int or {value} > 1073741823 or {value} < -1073741823"
            self.line(depth, f"if {outside}: {value} = {write}({value})")
        elif type_ is GraphQLFloat:
            self.line(depth, f"if type({value}) is not float or {value} - {value}: {value} = {write}({value})")
        elif type_ is GraphQLBoolean:
            self.line(depth, f"if {value} is not True and {value} is not False: {value} = {write}({value})")
        elif members is not None:
            class_, names = members
            same = all(name == written for name, written in names.items())
            found = f"{value}._name_" if same else f"{self.name(names)}[{value}._name_]"
            self.line(depth, f"{value} = {found} if type({value}) is {self.name(class_)} else {write}({value})")
        elif native is not None:
            self.names |= native.names
            self.line(depth, f"if not ({native.check.format(value=value)}): {value} = {write}({value})")
        else:
            self.line(depth, f"{value} = {write}({value})")


def _members(type_: Any) -> tuple[type, dict[str, str]] | None:
    """The Enum behind an enum type of Strawberry's, and what each member is written as."""
    class_ = getattr(type_, "wrapped_cls", None)
    if class_ is None:
        return None
    try:
        return class_, {member.name: type_.coerce_output_value(member) for member in class_}
    except Exception:
        return None
