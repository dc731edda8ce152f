"""Pages of a list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from domain.errors import Invalid

MOST = 100
USUAL = 50

T = TypeVar("T")
U = TypeVar("U")


@dataclass(slots=True)
class Edge(Generic[T]):
    """A thing and its place, which `write_cursor` writes when it is asked for."""

    node: T
    write_cursor: Callable[[], str]

    @property
    def cursor(self) -> str:
        return self.write_cursor()


@dataclass(slots=True)
class Connection(Generic[T]):
    """One page. `count` is asked only when a query wants the total."""

    edges: list[Edge[T]]
    has_next_page: bool
    has_previous_page: bool
    count: Callable[[], Awaitable[int]]

    def mapped(self, told: Callable[[T], U]) -> Connection[U]:
        """The same page of what the things are told as."""
        edges = [Edge(told(edge.node), edge.write_cursor) for edge in self.edges]
        return Connection(edges, self.has_next_page, self.has_previous_page, self.count)

    @property
    def nodes(self) -> list[T]:
        """The things without their places."""
        return [edge.node for edge in self.edges]


def page_size(first: int | None) -> int:
    """`first` as asked, 50 where it was not. Raises Invalid outside 1 to 100."""
    if first is None:
        return USUAL
    if not 1 <= first <= MOST:
        raise Invalid(f"`first` is {first}; ask for 1 to {MOST} at a time.", field=("first",))
    return first


def connect(
    things: Sequence[T],
    has_next: bool,
    after: str | None,
    cursor: Callable[[T], str],
    count: Callable[[], Awaitable[int]],
) -> Connection[T]:
    """A page of `things`."""
    edges = [Edge(thing, partial(cursor, thing)) for thing in things]
    return Connection(edges, has_next, after is not None, count)
