"""Classes of values: which are plain, and which want a closer look before they are taken as an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import GeneratorType, NoneType
from typing import Any, Final

from graphql import GraphQLEnumType, GraphQLScalarType, Undefined
from graphql.pyutils import is_awaitable

KEPT = 10_000

Leaf = Callable[[Any], Any]

# Classes whose instances are neither null nor an error nor something to wait for; the cheapest test there is for a whole level.
PLAIN: Final[set[type]] = {str, int, float, bool, list, tuple, dict}
_OTHER: Final[set[type]] = {NoneType}


class Odd(Exception):
    """The quick way does not understand a value; the exact way decides."""


class Failure:
    """Stands where a value should: what went wrong there."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def all_plain(values: Iterable[object]) -> bool:
    """Whether every value is plain, judged by classes alone."""
    classes = {*map(type, values)}
    if classes <= PLAIN:
        return True
    return all(map(is_plain, classes))


def is_plain(class_: type) -> bool:
    """Whether all instances of a class are plain; a class that answers for unknown attributes never is."""
    if class_ in PLAIN:
        return True
    if class_ in _OTHER:
        return False
    plain = not (
        class_ in (NoneType, type(Undefined), Failure)
        or issubclass(class_, (Exception, GeneratorType))
        or hasattr(class_, "__await__")
        or hasattr(class_, "__getattr__")
        or (class_.__getattribute__ is not object.__getattribute__ and not issubclass(class_, type))
    )
    known = PLAIN if plain else _OTHER
    if len(known) >= KEPT:
        known.clear()
    known.add(class_)
    return plain


def is_null(value: object) -> bool:
    """Whether a resolver's value counts as null."""
    return value is None or value is Undefined


def check_ready(value: Any) -> None:
    """Raises Odd for a null, an error, or something to wait for."""
    if not is_plain(type(value)) and (is_null(value) or isinstance(value, Exception) or is_awaitable(value)):
        raise Odd


def leaf(type_: GraphQLScalarType | GraphQLEnumType) -> Leaf:
    """Writes one value of a leaf type. Raises whatever the type raises, and Odd for what is no value."""
    write = type_.coerce_output_value

    def checked(value: Any) -> Any:
        check_ready(value)
        written = write(value)
        if written is None or written is Undefined:
            raise Odd
        return written

    return checked
