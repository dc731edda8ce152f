"""What an answer cost: its objects, by the same prices by which the request was reckoned.

A null in a list was looked up like an object, and costs as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec
import orjson

from executor import Copies


@dataclass(slots=True, eq=False)
class Priced:
    """What an answer holds under one response key, and what one of it costs in points. `below` are the keys in it, in their
    order; None for a value. `sure` is False where order or price depend on the answer."""

    weight: int = 0
    below: dict[str, Priced] | None = None
    sure: bool = True


# First members of the objects around the data, which cost nothing.
AROUND = ("data", "errors", "extensions", "bill", "cost", "upstreamCalls", "channel", "requested", "points")


class Meter:
    """Counts the points of answers to one operation.

    Quotation marks within a JSON text are escaped, so `{"sku":` is the beginning of an object whose first member is `sku` and
    nothing else. Where first members tell the prices apart, counting them in the bytes is all there is to do; not so where a list
    may hold a null.
    """

    def __init__(self, answer: Priced) -> None:
        self._answer = answer
        self._marks = _marks(answer)

    def again(self, answer: Any) -> int | None:
        """The points of an answer (`executor.Result.answer`) whose objects were all written before; None of others."""
        total = 0
        for field in type(answer).place.fields:
            priced, value = (self._answer.below or {})[field.key], getattr(answer, field.slot)
            if priced.below is None:
                total += priced.weight
            elif type(value) is Copies:
                total += self._again(priced, value)
            elif value is not None:
                return None
        return total

    def points(self, body: bytes, *, failed: bool = False) -> int:
        """The points of a response; `failed` says that it has errors."""
        counted = None if failed else self._counted(body)
        return _points(self._answer, orjson.loads(body).get("data")) if counted is None else counted

    def _counted(self, written: bytes) -> int | None:
        """The points of a response, or of an object in it, by its bytes alone; None where these do not tell."""
        if self._marks is None or b"[null" in written or b",null" in written:
            return None
        return sum([weight * written.count(mark) for mark, weight in self._marks])

    def _again(self, priced: Priced, copies: Copies) -> int:
        """The points of objects that were written before, which are kept with what was written."""
        rooms, points_in = copies.rooms, itemgetter(priced)
        try:
            return sum(map(points_in, rooms))
        except KeyError:
            for room, one in zip(rooms, copies, strict=True):
                if priced not in room:
                    counted = self._counted(bytes(one))
                    room[priced] = _points(priced, msgspec.json.decode(one)) if counted is None else counted
            return sum(map(points_in, rooms))


def _points(priced: Priced, value: Any) -> int:
    if isinstance(value, list):
        return sum(priced.weight if one is None else _points(priced, one) for one in value)
    if not isinstance(value, dict):
        return 0
    below = priced.below or {}
    return priced.weight + sum(
        below[key].weight if below[key].below is None else _points(below[key], one) for key, one in value.items()
    )


def _marks(answer: Priced) -> tuple[tuple[bytes, int], ...] | None:
    """(bytes, the price of each time they occur); None where that would not be exact."""
    objects = dict.fromkeys(AROUND, 0)
    values: dict[str, int] = {}
    named = list(_all(answer))
    for key, one in named:
        if one.below is None:
            if values.setdefault(key, one.weight) != one.weight:
                return None
            continue
        first = next(iter(one.below), None)
        if first is None or not one.sure or objects.setdefault(first, one.weight) != one.weight:
            return None
    priced = {key for key, weight in values.items() if weight}
    if not priced.isdisjoint(key for key, one in named if one.below is not None):
        return None
    marks = [(b'{"%b":' % first.encode(), weight) for first, weight in objects.items() if weight]
    return tuple(marks + [(b'"%b":' % key.encode(), values[key]) for key in sorted(priced)])


def _all(priced: Priced, key: str = "") -> Iterator[tuple[str, Priced]]:
    yield key, priced
    for name, one in (priced.below or {}).items():
        yield from _all(one, name)
