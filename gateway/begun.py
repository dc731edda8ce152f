"""Work that begins in the caller's own task. Most of ours ends there without waiting for anything, and then needs no task of its
own, no timer, and nobody who watches for the client."""

from __future__ import annotations

import asyncio
from asyncio import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")


class Begun(Generic[T]):
    """Work that has run up to its first wait, or to its end: `done` says which, and `value` what it came to. Awaiting it goes on,
    in the same task. Raises what the work raises before it waits."""

    __slots__ = ("_waits_for", "_work", "done", "value")

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self.value: Any = None
        self.done = False
        try:
            self._waits_for = work.send(None)
        except StopIteration as end:
            self.done, self.value = True, end.value

    def interrupt(self, problem: BaseException) -> None:
        """Raise this in work that waits, which may go on to its next wait. Raises what the work makes of it."""
        try:
            self._waits_for = self._work.throw(problem)
        except StopIteration as end:
            self.done, self.value = True, end.value

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = None if self.done else self._waits_for
        try:
            while not self.done:
                try:
                    given = yield waits_for
                except BaseException as problem:
                    waits_for = self._work.throw(problem)
                else:
                    waits_for = self._work.send(given)
        except StopIteration as end:
            self.done, self.value = True, end.value
        value: T = self.value
        return value


class Starter:
    """Begins work that no task has begun, at once, as tasks of Python 3.12 may be: the work finds itself in a task, which it only
    lives on in where it has to wait. That task stands by, parked, since it is hardly ever needed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._standby: _Standby | None = None

    @property
    def ready(self) -> bool:
        """Whether what is started now begins at once."""
        standby = self._standby
        return standby is not None and standby.parked and asyncio.current_task(self._loop) is None

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """The task that goes on with it; None where it has ended, and then what it raised is raised."""
        standby = self._standby
        if standby is None:
            self._standby = _Standby(self._loop)
        if standby is None or not self.ready:
            return self._loop.create_task(work)
        begun = self.call(Begun[None], work)
        if begun.done:
            return None
        self._standby = None
        standby.take(begun)
        return standby.task

    def call(self, function: Callable[[A], T], argument: A) -> T:
        """What a function comes to that finds itself in the task in which the next work will begin. Only when `ready`."""
        standby = self._standby
        assert standby is not None
        _enter_task(self._loop, standby.task)
        try:
            return standby.context.run(function, argument)
        finally:
            _leave_task(self._loop, standby.task)

    def close(self) -> None:
        """Let go of the task that stands by."""
        if self._standby is not None:
            self._standby.task.cancel()
            self._standby = None


class _Standby:
    """A task that is parked until it has work which has begun."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.context = copy_context()
        self.task = loop.create_task(self._run(), context=self.context)
        self.parked = False
        self._called: asyncio.Future[None] = loop.create_future()
        self._begun: Begun[None] | None = None

    def take(self, begun: Begun[None]) -> None:
        """Go on with this."""
        self._begun = begun
        self._called.set_result(None)

    async def _run(self) -> None:
        self.parked = True
        try:
            await self._called
        except asyncio.CancelledError as cut:
            if self._begun is None:
                raise
            self._begun.interrupt(cut)
        assert self._begun is not None
        await self._begun


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What `work` comes to. Raises TimeoutError when it still waits for something after so many seconds."""
    begun = Begun(work)
    if begun.done:
        value: T = begun.value
        return value
    async with asyncio.timeout(seconds):
        return await begun
