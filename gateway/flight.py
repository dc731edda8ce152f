"""Operations under way that others may wait for, so that a crowd which asks the same thing at once has it executed once."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """What is under way, by what it answers. Nobody's leaving takes others along: the next of them begins anew."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def __contains__(self, question: Hashable) -> bool:
        return question in self._under_way

    async def landed(self, question: Hashable) -> T | None:
        """What comes of the flight for this question; None when there is none (any more), and the caller should lead one."""
        while (flight := self._under_way.get(question)) is not None:
            await asyncio.wait({flight})
            if not flight.cancelled():
                return flight.result()
        return None

    def leading(self, question: Hashable) -> Leading[T]:
        """To be entered while it is under way, for the future to settle when it has landed. One that is left unsettled lets those
        who wait begin anew."""
        return Leading(self._under_way, question)


class Leading(Generic[T]):
    """A flight from its beginning to its end."""

    __slots__ = ("_flight", "_question", "_under_way")

    def __init__(self, under_way: dict[Hashable, asyncio.Future[T]], question: Hashable) -> None:
        self._under_way = under_way
        self._question = question
        self._flight: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> asyncio.Future[T]:
        self._under_way[self._question] = self._flight
        return self._flight

    def __exit__(self, *_: object) -> None:
        del self._under_way[self._question]
        self._flight.cancel()  # a settled one stays so
