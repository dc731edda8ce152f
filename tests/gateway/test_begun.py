"""Work that begins in its caller's task behaves as if it had been awaited there, and is watched only while it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from gateway.asgi import ClientLeft, Message, unless_left
from gateway.begun import Begun, Starter, within


async def at_once(value: int) -> int:
    return value


async def later(steps: list[str], value: int = 7) -> int:
    steps.append("began")
    try:
        await asyncio.sleep(0.01)
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        steps.append("cancelled")
        raise
    steps.append("ended")
    return value


async def failing(wait: bool) -> None:
    if wait:
        await asyncio.sleep(0)
    raise ValueError("no")


async def test_what_need_not_wait_is_done_when_it_has_begun() -> None:
    begun = Begun(at_once(3))
    assert begun.done
    assert begun.value == 3
    assert await begun == 3


async def test_what_waits_goes_on_where_it_was() -> None:
    steps: list[str] = []
    begun = Begun(later(steps))
    assert not begun.done
    assert steps == ["began"]
    assert await begun == 7
    assert steps == ["began", "ended"]


@pytest.mark.parametrize("wait", [True, False])
async def test_failures_are_those_of_the_work(wait: bool) -> None:
    with pytest.raises(ValueError, match="no"):
        await Begun(failing(wait))
    with pytest.raises(ValueError, match="no"):
        await within(1, failing(wait))


async def test_work_may_catch_what_is_thrown_into_it() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "in spite of it"
        return "never"

    task = asyncio.ensure_future(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    plain = await task

    async def begun() -> str:
        return await Begun(stubborn())

    task = asyncio.ensure_future(begun())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == plain == "in spite of it"


async def test_a_time_limit_is_set_only_for_what_waits() -> None:
    steps: list[str] = []
    assert await within(0, at_once(1)) == 1
    with pytest.raises(TimeoutError):
        await within(0, later(steps))
    assert steps == ["began", "cancelled"]
    assert await within(30, later(steps)) == 7


class Starting:
    """Starts work outside of any task, as a server does when bytes arrive."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.starter = Starter(self.loop)

    async def __call__(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """The task that goes on with it, a turn of the loop later."""
        started: list[asyncio.Task[None] | None] = []
        self.loop.call_soon(lambda: started.append(self.starter.start(work)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return started[0]


@pytest.fixture
async def start() -> AsyncIterator[Starting]:
    """One whose task stands by."""
    made = Starting()
    first = await made(noted([]))
    assert first is not None
    await first
    yield made
    made.starter.close()


NAME: ContextVar[str] = ContextVar("NAME", default="")


async def noted(steps: list[Any], wait: float | None = None) -> None:
    NAME.set("mine")
    steps.append(asyncio.current_task())
    if wait is not None:
        async with asyncio.timeout(wait):
            await asyncio.sleep(0.01)
    steps.append((asyncio.current_task(), NAME.get()))


async def test_what_need_not_wait_ends_where_it_is_started(start: Starting) -> None:
    steps: list[Any] = []
    assert await start(noted(steps)) is None
    assert await start(noted(steps)) is None
    assert [one for one in steps if isinstance(one, tuple)] == [(steps[0], "mine")] * 2
    assert NAME.get() == ""


async def test_what_waits_goes_on_in_the_task_that_it_has_found_itself_in(start: Starting) -> None:
    steps: list[Any] = []
    task = await start(noted(steps, 10))
    assert task is not None
    await task
    assert steps == [task, (task, "mine")]
    # Another stands by for the next, and is not the one that is gone.
    other = await start(noted(steps, 10))
    assert other is not None
    await other
    assert other is not task


async def test_time_limits_and_cancellation_reach_work_that_was_started(start: Starting) -> None:
    late = await start(noted([], 0))
    assert late is not None
    with pytest.raises(TimeoutError):
        await late
    steps: list[str] = []

    async def work() -> None:
        await later(steps)

    assert await start(noted([])) is not None  # after which another stands by
    cut = await start(work())
    assert cut is not None
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert steps == ["began", "cancelled"]


async def test_a_cancellation_that_comes_before_the_task_goes_on_is_the_works(start: Starting) -> None:
    steps: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def work() -> None:
        await later(steps)

    def begin() -> None:
        task = start.starter.start(work())
        assert task is not None
        task.cancel()
        tasks.append(task)

    asyncio.get_running_loop().call_soon(begin)
    await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert steps == ["began", "cancelled"]


async def test_failures_of_started_work_are_raised(start: Starting) -> None:
    def begin() -> None:
        with pytest.raises(ValueError, match="no"):
            start.starter.start(failing(wait=False))

    asyncio.get_running_loop().call_soon(begin)
    await asyncio.sleep(0)
    task = await start(failing(wait=True))
    assert task is not None
    with pytest.raises(ValueError, match="no"):
        await task


class Client:
    """Leaves when it is told to."""

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        await self.leave.wait()
        return {"type": "http.disconnect"}


async def test_nobody_watches_a_client_whose_answer_is_there_at_once() -> None:
    client = Client()
    assert await unless_left(client.receive, at_once(5)) == 5
    assert client.asked == 0


async def test_a_client_that_leaves_ends_its_work() -> None:
    client, steps = Client(), list[str]()
    work = asyncio.ensure_future(unless_left(client.receive, later(steps)))
    await asyncio.sleep(0)
    client.leave.set()
    with pytest.raises(ClientLeft):
        await work
    assert steps == ["began", "cancelled"]
    assert not work.cancelled()


async def test_a_client_that_stays_gets_its_answer_and_leaves_no_task_behind() -> None:
    client, steps, before = Client(), list[str](), asyncio.all_tasks()
    assert await unless_left(client.receive, later(steps)) == 7
    assert client.asked == 1
    assert asyncio.all_tasks() <= before


async def test_the_callers_own_cancellation_is_not_the_clients() -> None:
    client, steps = Client(), list[str]()
    work = asyncio.ensure_future(unless_left(client.receive, later(steps)))
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert steps == ["began", "cancelled"]


async def test_leaving_does_not_disturb_a_time_limit_inside() -> None:
    client = Client()

    async def limited() -> Any:
        return await within(0.01, asyncio.sleep(60))

    with pytest.raises(TimeoutError):
        await unless_left(client.receive, limited())
    client.leave.set()
    with pytest.raises(ClientLeft):
        await unless_left(client.receive, within(60, asyncio.sleep(60)))
