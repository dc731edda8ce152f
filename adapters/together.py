"""Reads that several callers want at about the same time, in few calls.

A loader of one request gathers what is asked in one moment. Writes and hints come one by one, and a call waits for its slot and
its answer: what is asked meanwhile goes with the next one, and waits two seconds at most for that, since an answer may be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeAlias, TypeVar

from domain.budget import Ask, Priority
from domain.errors import Refused, Throttled, Unauthorized

T = TypeVar("T")

Read: TypeAlias = Callable[[Sequence[str], Ask], Awaitable[Mapping[str, T]]]
"""Answers by name; what there is nothing of is missing."""

GATHER_S = 2.0
# So many names are remembered as asked for in calls that failed.
MOST_SUSPECTS = 1_000


@dataclass(slots=True)
class _Wanted(Generic[T]):
    name: str
    ask: Ask
    answer: asyncio.Future[T | None]
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Line(Generic[T]):
    """Those of one class who wait for the next call; `reader` begins the calls, which are `under_way`."""

    waiting: list[_Wanted[T]] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None
    under_way: set[asyncio.Task[None]] = field(default_factory=set)


class Together(Generic[T]):
    """One kind of read, at most `most` names in a call.

    Callers that share a call share its failure, but once: what was asked for in a call that failed is asked for alone the next
    time, so that a name that spoils calls spoils no other's for long. A refusal is traced to its name at once.
    """

    def __init__(self, read: Read[T], most: int) -> None:
        self._read = read
        self._most = most
        self._lines: dict[Priority, _Line[T]] = {}
        self._suspects: set[str] = set()

    async def one(self, name: str, ask: Ask) -> T | None:
        """What there is of `name`, by a call that begins after this; None where the answer holds nothing of it.

        Raises what the call does. It is paid as the first of its callers asks, and waits for its slot as long as the most patient
        of them would have, had they asked when it began. Whoever must be asked before each call makes it alone.
        """
        if ask.before_calls is not None:
            return (await self._read([name], ask)).get(name)
        if name in self._suspects:
            found = (await self._read([name], ask)).get(name)
            self._suspects.discard(name)
            return found
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
            call = asyncio.create_task(self._answer(few))
            line.under_way.add(call)
            call.add_done_callback(line.under_way.discard)
            await asyncio.wait([call], timeout=GATHER_S)

    async def _answer(self, few: Sequence[_Wanted[T]]) -> None:
        try:
            await self._tell([one for one in few if not one.answer.done()])
        finally:
            for one in few:
                one.answer.cancel()

    async def _tell(self, few: Sequence[_Wanted[T]]) -> None:
        if not few:
            return
        names = list(dict.fromkeys(one.name for one in few))
        try:
            found = await self._read(names, _shared(few))
        except Refused as problem:
            if len(names) == 1:
                _fail(few, problem)
                return
            half = set(names[: len(names) // 2])
            await self._tell([one for one in few if one.name in half])
            await self._tell([one for one in few if one.name not in half])
        except Exception as problem:
            if len(names) > 1 and not isinstance(problem, Throttled | Unauthorized):
                self._suspect(names)
            _fail(few, problem)
        else:
            for one in few:
                if not one.answer.done():
                    one.answer.set_result(found.get(one.name))

    def _suspect(self, names: Sequence[str]) -> None:
        if len(self._suspects) > MOST_SUSPECTS:
            self._suspects.clear()
        self._suspects.update(names)


def _fail(few: Sequence[_Wanted[T]], problem: Exception) -> None:
    for one in few:
        if not one.answer.done():
            one.answer.set_exception(problem)


def _shared(few: Sequence[_Wanted[T]]) -> Ask:
    """One call for all of them."""
    asks = [one.ask for one in few]
    patience = [None if one.ask.deadline is None else one.ask.deadline - one.since for one in few]
    known = [one for one in patience if one is not None]
    deadline = None if len(known) < len(patience) else time.monotonic() + max(known)
    about = tuple(dict.fromkeys(each for one in asks for each in one.about))
    return replace(asks[0], deadline=deadline, about=about)
