"""A crowd is read for in one go, and never gets what was read before it asked."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from resolvers.followed import Gathered


class Rows:
    """Numbers that grow with each reading, which ends when it is let go."""

    def __init__(self) -> None:
        self.readings: list[set[str]] = []
        self.go = asyncio.Event()

    async def read(self, keys: Collection[str]) -> dict[str, int]:
        self.readings.append(set(keys))
        number = len(self.readings)
        await self.go.wait()
        return {key: number for key in keys if key != "none"}


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_crowd_is_read_for_at_once() -> None:
    gathered, rows = Gathered[str, int](), Rows()
    rows.go.set()
    crowd = [gathered.of({"A", str(number)}, rows.read) for number in range(50)]
    assert [found["A"] for found in await asyncio.gather(*crowd)] == [1] * 50
    assert len(rows.readings) == 1


async def test_who_asks_while_rows_are_read_gets_the_next_reading() -> None:
    gathered, rows = Gathered[str, int](), Rows()
    first = asyncio.create_task(gathered.of(["A", "none"], rows.read))
    await turns()
    later = [asyncio.create_task(gathered.of(["A"], rows.read)) for _ in range(3)]
    await turns()
    assert rows.readings == [{"A", "none"}]
    rows.go.set()
    assert await first == {"A": 1}
    assert [await one for one in later] == [{"A": 2}] * 3


async def test_no_reading_grows_beyond_its_size_by_more_than_one_question() -> None:
    gathered, rows = Gathered[str, int](most=10), Rows()
    rows.go.set()
    await asyncio.gather(*(gathered.of([str(number)], rows.read) for number in range(95)))
    assert [len(keys) for keys in rows.readings] == [10] * 9 + [5]


async def test_who_leaves_takes_nobody_along_and_a_failure_is_told_to_all() -> None:
    gathered, rows = Gathered[str, int](), Rows()
    leaving = asyncio.create_task(gathered.of(["A"], rows.read))
    staying = asyncio.create_task(gathered.of(["A"], rows.read))
    await turns()
    leaving.cancel()
    rows.go.set()
    assert await staying == {"A": 1}

    async def broken(_: Collection[str]) -> dict[str, int]:
        raise OSError("away")

    told = await asyncio.gather(*(gathered.of(["A"], broken) for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in told] == ["away"] * 3
    with pytest.raises(OSError, match="away"):
        await gathered.of(["A"], broken)
