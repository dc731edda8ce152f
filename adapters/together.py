"""Reads that several callers want at about the same time, in few calls.

A loader of one request gathers what is asked in one moment. Writes and hints come one by one, and a call waits for its slot and
its answer: what is asked meanwhile goes with the next one. So few callers wait no longer than alone, and many share a call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from domain.budget import Ask, Priority
from domain.errors import Refused

T = TypeVar("T")

Read: TypeAlias = Callable[[Sequence[str], Ask], Awaitable[Mapping[str, T]]]
"""Answers by name; what there is nothing of is missing."""


@dataclass(slots=True)
class _Wanted(Generic[T]):
    name: str
    ask: Ask
    answer: asyncio.Future[T | None]


@dataclass(slots=True)
class _Line(Generic[T]):
    """Those of one class who wait for the next call; `reader` is at the calls."""

    waiting: list[_Wanted[T]] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None


class Together(Generic[T]):
    """One kind of read, at most `most` names in a call and one call of each class of callers at a time."""

    def __init__(self, read: Read[T], most: int) -> None:
        self._read = read
        self._most = most
        self._lines: dict[Priority, _Line[T]] = {}

    async def one(self, name: str, ask: Ask) -> T | None:
        """What there is of `name`, by a call that begins after this; None where the answer holds nothing of it.

        Raises what the call does. It is paid as the first of its callers asks, and waits for its slot no longer than the most
        hurried of them may. Whoever must be asked before each call makes it alone.
        """
        if ask.before_calls is not None:
            return (await self._read([name], ask)).get(name)
        line = self._lines.setdefault(ask.priority, _Line())
        wanted = _Wanted[T](name, ask, asyncio.get_running_loop().create_future())
        line.waiting.append(wanted)
        if line.reader is None or line.reader.done():
            line.reader = asyncio.create_task(self._drain(line))
        return await wanted.answer

    async def _drain(self, line: _Line[T]) -> None:
        # Whoever asks in the same moment comes along.
        await asyncio.sleep(0)
        while line.waiting:
            few, line.waiting = line.waiting[: self._most], line.waiting[self._most :]
            try:
                await self._tell(few)
            finally:
                for one in few:
                    one.answer.cancel()

    async def _tell(self, few: Sequence[_Wanted[T]]) -> None:
        few = [one for one in few if not one.answer.done()]
        if not few:
            return
        names = list(dict.fromkeys(one.name for one in few))
        try:
            found = await self._read(names, _shared([one.ask for one in few]))
        except Exception as problem:
            if isinstance(problem, Refused) and len(names) > 1:
                # One name that the platform does not take shall hide no other.
                for one in few:
                    await self._tell([one])
                return
            for one in few:
                if not one.answer.done():
                    one.answer.set_exception(problem)
        else:
            for one in few:
                if not one.answer.done():
                    one.answer.set_result(found.get(one.name))


def _shared(asks: Sequence[Ask]) -> Ask:
    """One call for all of them."""
    deadlines = [one.deadline for one in asks if one.deadline is not None]
    about = tuple(dict.fromkeys(each for one in asks for each in one.about))
    return replace(asks[0], deadline=min(deadlines, default=None), about=about)
