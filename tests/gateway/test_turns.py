"""A crowd that comes at once begins little by little, in order, and whoever leaves takes nobody's turn."""

from __future__ import annotations

import asyncio

from gateway.turns import Turns


class Crowd:
    """Those who wait for a turn, and who has begun."""

    def __init__(self, most: int, size: int) -> None:
        self.turns = Turns(most)
        self.begun: list[int] = []
        self.tasks = [asyncio.create_task(self.begin(number)) for number in range(size)]

    async def begin(self, number: int) -> None:
        await self.turns.next()
        self.begun.append(number)

    async def counts(self) -> list[int]:
        """How many have begun by each turn of the loop in which somebody did."""
        found = [0]
        while not all(task.done() for task in self.tasks):
            await asyncio.sleep(0)
            if len(self.begun) > found[-1]:
                found.append(len(self.begun))
        return found[1:]


async def test_so_many_begin_in_one_turn_in_the_order_in_which_they_came() -> None:
    crowd = Crowd(most=10, size=45)
    assert await crowd.counts() == [10, 20, 30, 40, 45]
    assert crowd.begun == list(range(45))


async def test_who_leaves_takes_nobodys_turn() -> None:
    crowd = Crowd(most=10, size=40)
    await asyncio.sleep(0)
    for task in crowd.tasks[10:30]:
        task.cancel()
    assert await crowd.counts() == [10, 20]
    assert crowd.begun == [*range(10), *range(30, 40)]


async def test_after_a_pause_it_begins_anew() -> None:
    turns = Turns(2)
    for _ in range(3):
        await asyncio.gather(turns.next(), turns.next())
        await asyncio.sleep(0)
    crowd = [asyncio.create_task(turns.next()) for _ in range(3)]
    await asyncio.wait_for(asyncio.gather(*crowd), 30)
