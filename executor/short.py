"""The short way of operations that ask the root for one thing which is at hand, and copy it.

What has to be quickest is mostly of this kind: one field, whose resolver is a plain function, and below it objects that are
projected down to their leaves. Rows, steps and their levels would cost more than all of that. So the resolver is asked as a step
would ask it, and what it answers is copied into the answer. Whatever else comes of it (an exception, something to be awaited, a
null, an object of another class) is handed over to the run, which goes on from there as if a step of its own had asked.
"""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from graphql import GraphQLError

from executor.info import LazyInfo
from executor.places import Field, Place
from executor.steps import Rows, Run, inside


def short_of(root: Place) -> Short | None:
    """The short way of what is selected from the root on; None where there is none."""
    if len(root.read) != 1 or len(root.fields) != 1:
        return None
    (field,) = root.read
    named = (field.kind.item or field.kind).object_type
    if named is None or field.call.batch is not None or field.call.waits or not field.operation.is_strawberry:
        return None
    try:
        place = field.place(named)
        return Short(root, field, place) if place.plain else None
    except (GraphQLError, RecursionError):
        return None  # each run tells what is wrong


class Short:
    """Asks the only field of the root, and copies its objects."""

    __slots__ = ("_ask", "_field", "_is_list", "_level", "_place", "_plain_arguments", "_root", "_rows")

    def __init__(self, root: Place, field: Field, place: Place) -> None:
        self._root = root
        self._field = field
        self._place = place
        self._is_list = field.kind.item is not None
        self._plain_arguments = field.arguments.plain
        self._ask = field.call.ask
        self._level = [(field.title, 1)]
        self._rows = Rows(root, [], [], [])  # tells where the root stands, which is the same in all runs

    def start(self, run: Run) -> Coroutine[Any, Any, None] | None:
        """Like `Run.start`: write the answer; what has to be awaited for that, None where nothing has."""
        arguments = self._plain_arguments(run.variables)
        if arguments is None:
            return run.start(self._root, serially=False)
        if run.watch is None:
            return self._taken(run, arguments)
        return inside(run.watch(self._level), partial(self._taken, run, arguments))

    def _taken(self, run: Run, arguments: dict[str, Any]) -> Coroutine[Any, Any, None] | None:
        try:
            value = self._ask(run.root, LazyInfo(run, self._field, self._rows, 0), arguments)
        except Exception as problem:
            value = problem
        except BaseException:
            run.close()
            raise
        copied = self._copied(value)
        if copied is None:
            return run.resume(self._root, self._field, value)
        run.answer = self._root.blank_struct(copied)
        return run.rest([])

    def _copied(self, value: Any) -> Any:
        """What is encoded for an object, or a list of objects; None for anything else."""
        if self._is_list and type(value) is not list:
            return None
        objects, place = value if self._is_list else [value], self._place
        classes = {*map(type, objects)}
        if not classes <= place.known and not place.takes(classes):
            return None
        try:
            structs, _ = place.projection(objects)
        except Exception:
            return None
        return structs if self._is_list else structs[0]
