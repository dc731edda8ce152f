"""Cursors: opaque to clients, they name a place by value, so that new rows shift nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from domain.errors import Invalid

T = TypeVar("T")


def write_cursor(kind: str, *place: str | int) -> str:
    """The public form of a place in the list of `kind`."""
    return base64.urlsafe_b64encode(json.dumps([kind, *place], separators=(",", ":")).encode()).decode()


def read_cursor(kind: str, cursor: str) -> list[str]:
    """The place as text values. Raises Invalid for a cursor of another list or none of ours."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) < 2 or found[0] != kind or not all(map(_storable, found)):
        raise Invalid(
            "`after` is not a cursor of this list; use an `endCursor` that this field has answered.", field=("after",)
        )
    return [str(value) for value in found[1:]]


def _storable(value: object) -> bool:
    """A number, or text that a database can compare."""
    return isinstance(value, int) or (isinstance(value, str) and value.isprintable())


def read_item_cursor(kind: str, cursor: str | None) -> int | None:
    """The place in a list ordered by number; None for the start. Raises Invalid."""
    return None if cursor is None else read_place(read_cursor(kind, cursor)[0])


def read_moment_cursor(kind: str, cursor: str | None, id_of: Callable[[str], T]) -> tuple[datetime, T] | None:
    """The place (instant, id) in a list ordered by time; None for the start. Raises Invalid."""
    if cursor is None:
        return None
    place = read_cursor(kind, cursor)
    try:
        at = datetime.fromisoformat(place[0]).astimezone(UTC)
        return at, id_of(place[1])
    except (ValueError, IndexError, OverflowError):
        raise Invalid("`after` is not a cursor of this list.", field=("after",)) from None


def read_place(after: str) -> int:
    """The place in the event log that an event's cursor names. Raises Invalid."""
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise Invalid(
            "`after` is not a cursor of an event; use one that a subscription has answered.", field=("after",)
        )
    return int(after)
