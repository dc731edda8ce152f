"""Connections: cursor paging over keys that are sorted or can be, without building what the page does not hold."""

import base64
import binascii
import json
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sandbox.shopify import errors

LARGEST = 250
# Set while a bulk operation runs: then a page holds all rows.
WHOLE: ContextVar[bool] = ContextVar("WHOLE", default=False)
WRONG_CURSOR = "Invalid cursor for current pagination sort."

Sort = Callable[[int], int | str]


@dataclass(frozen=True, slots=True)
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, slots=True)
class Edge:
    cursor: str
    node: Any


@dataclass(frozen=True, slots=True)
class Connection:
    nodes: list[Any]
    cursors: list[str]
    has_next: bool
    has_previous: bool

    @property
    def edges(self) -> list[Edge]:
        return [Edge(cursor, node) for cursor, node in zip(self.cursors, self.nodes, strict=True)]

    @property
    def page_info(self) -> PageInfo:
        first, last = (self.cursors[0], self.cursors[-1]) if self.cursors else (None, None)
        return PageInfo(self.has_next, self.has_previous, first, last)


def window(first: int | None, last: int | None) -> int:
    """How many rows a page may hold. Raises BAD_REQUEST where the platform refuses the window."""
    if WHOLE.get():
        return sys.maxsize
    if first is None and last is None:
        raise errors.bad_request("you must provide one of first or last")
    if first is not None and last is not None:
        raise errors.bad_request("providing both first and last is not supported")
    name, size = ("first", first) if first is not None else ("last", last)
    assert size is not None
    if size < 0:
        raise errors.bad_request(f"{name} must be greater than or equal to 0")
    if size > LARGEST:
        raise errors.bad_request(f"{name} cannot exceed {LARGEST}")
    return size


def page(
    keys: Sequence[int],
    args: Mapping[str, Any],
    build: Callable[[int], Any],
    matches: Callable[[int], bool] | None = None,
    sort: Sort | None = None,
) -> Connection:
    """One page of `keys`, which ascend by themselves; `sort` gives another order, in which equal rows ascend by key."""
    size = window(args.get("first"), args.get("last"))
    value: Sort = sort or (lambda key: key)
    if sort is not None:
        keys = sorted(keys, key=lambda key: (value(key), key))
    low, high = _bounds(keys, value, args)
    forward = args.get("first") is not None
    upward = forward != bool(args.get("reverse"))
    taken: list[int] = []
    more = False
    for index in range(low, high) if upward else range(high - 1, low - 1, -1):
        key = keys[index]
        if matches is None or matches(key):
            if len(taken) == size:
                more = True
                break
            taken.append(key)
    if not forward:
        taken.reverse()
    return Connection(
        nodes=[build(key) for key in taken],
        cursors=[_cursor(value(key), key) for key in taken],
        has_next=more if forward else bool(args.get("before")),
        has_previous=bool(args.get("after")) if forward else more,
    )


def listed(rows: Sequence[Any], args: Mapping[str, Any]) -> Connection:
    """One page of a list that is at hand."""
    return page(range(len(rows)), args, rows.__getitem__)


def _bounds(keys: Sequence[int], value: Sort, args: Mapping[str, Any]) -> tuple[int, int]:
    low, high = 0, len(keys)
    after, before = args.get("after"), args.get("before")
    if args.get("reverse"):
        after, before = before, after
    try:
        if after is not None:
            low = bisect_right(keys, _read(after), key=lambda key: (value(key), key))
        if before is not None:
            high = bisect_left(keys, _read(before), key=lambda key: (value(key), key))
    except TypeError as problem:  # A cursor of another sort key: text against number.
        raise errors.bad_request(WRONG_CURSOR) from problem
    return low, high


def _cursor(value: int | str, key: int) -> str:
    return base64.b64encode(json.dumps({"last_id": key, "last_value": value}).encode()).decode()


def _read(cursor: str) -> tuple[Any, int]:
    try:
        found = json.loads(base64.b64decode(cursor, validate=True))
        return found["last_value"], int(found["last_id"])
    except (binascii.Error, ValueError, KeyError, TypeError) as problem:
        raise errors.bad_request(WRONG_CURSOR) from problem
