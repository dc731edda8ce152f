"""The exact end of a run: nulls where the schema lets them stand, and each error with its path and locations.

An answer is walked in the order of its fields. A failure, or a null where none may stand, takes the nearest parent that may be
null with it; of the failures below such a parent those are told that come up to the first that does so, as the specification
leaves open.
"""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError, located_error
from graphql.pyutils import Path
from msgspec import UNSET, Raw, Struct

from executor.places import Field, Kind, Place
from executor.values import Failure
from executor.written import read


def settle(answer: Struct) -> tuple[dict[str, Any] | None, list[GraphQLError]]:
    """The data of an answer in plain dicts and lists, and its errors."""
    walk = _Walk()
    try:
        return walk.object(answer, None), walk.errors
    except GraphQLError as error:
        return None, [*walk.errors, error]


def is_lost(field: Field, value: Any) -> bool:
    """Whether the value of a root field takes all data with it."""
    try:
        _Walk().position(field, field.kind, value, Path(None, field.key, field.parent_type.name))
    except GraphQLError:
        return True
    return False


class _Walk:
    def __init__(self) -> None:
        self.errors: list[GraphQLError] = []

    def object(self, struct: Any, path: Path | None) -> dict[str, Any]:
        place: Place = struct.place
        data = {}
        for field in place.fields:
            value = getattr(struct, field.slot)
            if field.constant is not None:
                data[field.key] = field.constant
            elif value is not UNSET:
                data[field.key] = self.position(field, field.kind, value, Path(path, field.key, place.type.name))
        return data

    def position(self, field: Field, kind: Kind, value: Any, path: Path) -> Any:
        """The value of a field or of an item of a list. Raises the error that goes on to the parent."""
        try:
            return self.value(field, kind, value, path)
        except Exception as problem:
            error = located_error(problem, field.nodes, path.as_list())
            if kind.required:
                raise error from None
            self.errors.append(error)
            return None

    def value(self, field: Field, kind: Kind, value: Any, path: Path) -> Any:
        if type(value) is Failure:
            raise value.error
        if value is None:
            if kind.required:
                raise TypeError(f"Cannot return null for non-nullable field {field.parent_type}.{field.name}.")
            return None
        if type(value) is Raw:  # of an object that lasts; all is well with it
            return read(value)
        if kind.item is not None:
            return [self.position(field, kind.item, one, path.add_key(index)) for index, one in enumerate(value)]
        if kind.write is None:
            return self.object(value, path)
        if getattr(kind.type, "name", None) in field.operation.natives and not isinstance(value, str):
            return kind.write(value)
        return value
