"""Reads of several callers in few calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from adapters.together import Together
from domain.budget import Ask, Priority
from domain.errors import Invalid, Transient

WRITE = Ask(Priority.WRITE)


@dataclass
class Shop:
    """Answers when it is let, and refuses what is `bad`."""

    bad: str | None = None
    failure: Exception | None = None
    asked: list[tuple[list[str], Ask]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, names: Sequence[str], ask: Ask) -> dict[str, str]:
        self.asked.append((list(names), ask))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        if self.bad in names:
            raise Invalid(f"{self.bad} is no name.")
        return {name: name.upper() for name in names if name != "nobody"}

    @property
    def names(self) -> list[list[str]]:
        return [names for names, _ in self.asked]


async def settled() -> None:
    """Whatever can happen without the shop has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_asked_in_one_moment_is_one_call() -> None:
    shop = Shop()
    shop.open.set()
    together = Together(shop.read, 50)
    found = await asyncio.gather(*(together.one(name, WRITE) for name in ("a", "b", "a", "nobody")))
    assert found == ["A", "B", "A", None]
    assert shop.names == [["a", "b", "nobody"]]


async def test_what_is_asked_during_a_call_goes_with_the_next_and_begins_after_it_was_asked() -> None:
    shop = Shop()
    together = Together(shop.read, 2)
    tasks = [asyncio.create_task(together.one("a", WRITE))]
    await settled()
    # The same name once more: the answer under way may be older than this question.
    tasks += [asyncio.create_task(together.one(name, WRITE)) for name in ("a", "b", "c")]
    await settled()
    assert shop.names == [["a"]]
    shop.open.set()
    assert await asyncio.gather(*tasks) == ["A", "A", "B", "C"]
    assert shop.names == [["a"], ["a", "b"], ["c"]]


async def test_a_hurried_caller_waits_behind_no_other() -> None:
    shop = Shop()
    together = Together(shop.read, 50)
    tasks = [asyncio.create_task(together.one("a", WRITE))]
    await settled()
    tasks.append(asyncio.create_task(together.one("b", Ask(Priority.URGENT))))
    await settled()
    assert shop.names == [["a"], ["b"]]
    shop.open.set()
    assert await asyncio.gather(*tasks) == ["A", "B"]


async def test_a_call_waits_no_longer_than_the_most_hurried_and_is_about_all_of_them() -> None:
    shop = Shop()
    shop.open.set()
    together = Together(shop.read, 50)
    asks = [
        replace(WRITE, deadline=9.0, about=("order:1",)),
        replace(WRITE, deadline=5.0, about=("order:2",)),
        replace(WRITE, about=("order:1",)),
    ]
    await asyncio.gather(*(together.one(name, ask) for name, ask in zip("abc", asks, strict=True)))
    ((_, ask),) = shop.asked
    assert (ask.priority, ask.deadline, ask.about) == (Priority.WRITE, 5.0, ("order:1", "order:2"))
    assert ask.bill is asks[0].bill


async def test_whoever_must_be_asked_before_each_call_makes_it_alone() -> None:
    async def agreed(_: object) -> bool:
        return True

    shop = Shop()
    shop.open.set()
    together = Together(shop.read, 50)
    asks = [replace(WRITE, before_calls=agreed), WRITE, WRITE]
    assert await asyncio.gather(*(together.one(name, ask) for name, ask in zip("abc", asks, strict=True))) == [
        "A",
        "B",
        "C",
    ]
    assert sorted(shop.names) == [["a"], ["b", "c"]]


async def test_one_name_that_is_refused_hides_no_other() -> None:
    shop = Shop(bad="b")
    shop.open.set()
    together = Together(shop.read, 50)
    found = await asyncio.gather(*(together.one(name, WRITE) for name in "abc"), return_exceptions=True)
    assert [found[0], found[2]] == ["A", "C"]
    assert isinstance(found[1], Invalid)
    assert shop.names == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_a_failure_is_told_to_all_and_the_next_are_read() -> None:
    shop = Shop(failure=Transient("Away."))
    shop.open.set()
    together = Together(shop.read, 50)
    found = await asyncio.gather(*(together.one(name, WRITE) for name in "ab"), return_exceptions=True)
    assert [type(one) for one in found] == [Transient, Transient]
    shop.failure = None
    assert await together.one("c", WRITE) == "C"
    assert shop.names == [["a", "b"], ["c"]]


async def test_whoever_goes_away_takes_nobody_along() -> None:
    shop = Shop()
    together = Together(shop.read, 50)
    first, second = (asyncio.create_task(together.one(name, WRITE)) for name in "ab")
    await settled()
    third = asyncio.create_task(together.one("c", WRITE))
    fourth = asyncio.create_task(together.one("d", WRITE))
    await settled()
    first.cancel()
    third.cancel()
    shop.open.set()
    assert [await second, await fourth] == ["B", "D"]
    assert shop.names == [["a", "b"], ["d"]]
    with pytest.raises(asyncio.CancelledError):
        await first
