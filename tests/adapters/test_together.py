"""Reads of several callers in few calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from adapters import together as module
from adapters.together import Together
from domain.budget import Ask, Priority
from domain.errors import Invalid, Throttled, Transient, Unauthorized

WRITE = Ask(Priority.WRITE)


@dataclass
class Shop:
    """Answers when it is let, refuses what is `bad`, and breaks down over what is `broken`."""

    bad: str | None = None
    broken: str | None = None
    failure: Exception | None = None
    asked: list[tuple[list[str], Ask]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, names: Sequence[str], ask: Ask) -> dict[str, str]:
        self.asked.append((list(names), ask))
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        if self.broken in names:
            raise Transient("The shop broke down.")
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


async def test_a_call_waits_as_long_as_the_most_patient_would_and_is_about_all_of_them() -> None:
    shop = Shop()
    together = Together(shop.read, 50)
    now = time.monotonic()
    asks = [
        replace(WRITE, deadline=now + 0.01, about=("order:1",)),
        replace(WRITE, deadline=now + 500.0, about=("order:2",)),
        replace(WRITE, deadline=now + 5.0, about=("order:1",)),
    ]
    first = asyncio.create_task(together.one("first", WRITE))
    await settled()
    tasks = [asyncio.create_task(together.one(name, ask)) for name, ask in zip("abc", asks, strict=True)]
    await settled()
    await asyncio.sleep(0.02)  # so long that the first of them has no time left
    shop.open.set()
    assert await asyncio.gather(first, *tasks) == ["FIRST", "A", "B", "C"]
    ask = shop.asked[1][1]
    assert ask.deadline is not None
    assert 500.0 <= ask.deadline - now < 600.0
    assert (ask.priority, ask.about, ask.bill is asks[0].bill) == (Priority.WRITE, ("order:1", "order:2"), True)


async def test_those_without_a_deadline_wait_however_long_others_would() -> None:
    shop = Shop()
    shop.open.set()
    together = Together(shop.read, 50)
    hurried = replace(WRITE, deadline=time.monotonic() + 5.0)
    await asyncio.gather(together.one("a", hurried), together.one("b", WRITE))
    assert shop.asked[0][1].deadline is None


async def test_a_call_that_does_not_come_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    together = Together(shop.read, 50)
    lost = asyncio.create_task(together.one("a", WRITE))
    await settled()
    monkeypatch.setattr(module, "GATHER_S", 0.0)
    other = asyncio.create_task(together.one("b", WRITE))
    # The call under way was begun with two seconds of patience; the next is begun after them.
    while len(shop.asked) < 2:
        await asyncio.sleep(0.01)
    shop.open.set()
    assert (await other, await lost) == ("B", "A")


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
    found = await asyncio.gather(*(together.one(name, WRITE) for name in "abcd"), return_exceptions=True)
    assert [found[0], *found[2:]] == ["A", "C", "D"]
    assert isinstance(found[1], Invalid)
    assert shop.names == [["a", "b", "c", "d"], ["a", "b"], ["a"], ["b"], ["c", "d"]]


async def test_what_spoils_a_call_spoils_no_other_for_long() -> None:
    shop = Shop(broken="b")
    shop.open.set()
    together = Together(shop.read, 50)

    async def asked() -> list[object]:
        return await asyncio.gather(*(together.one(name, WRITE) for name in "abc"), return_exceptions=True)

    assert [type(one) for one in await asked()] == [Transient] * 3
    again = await asked()
    assert (again[0], type(again[1]), again[2]) == ("A", Transient, "C")
    assert sorted(shop.names[1:]) == [["a"], ["b"], ["c"]]
    # What went well alone goes with others once more; what did not stays alone.
    again = await asked()
    assert (again[0], type(again[1]), again[2]) == ("A", Transient, "C")
    assert sorted(shop.names[4:]) == [["a", "c"], ["b"]]
    shop.broken = None
    assert await asked() == ["A", "B", "C"]


@pytest.mark.parametrize("problem", [Throttled("Later.", retry_after_s=1.0), Unauthorized("No.")])
async def test_what_is_said_against_all_is_nobodys_fault(problem: Exception) -> None:
    shop = Shop(failure=problem)
    shop.open.set()
    together = Together(shop.read, 50)
    found = await asyncio.gather(*(together.one(name, WRITE) for name in "ab"), return_exceptions=True)
    assert found == [problem, problem]
    shop.failure = None
    assert await asyncio.gather(*(together.one(name, WRITE) for name in "ab")) == ["A", "B"]
    assert shop.names == [["a", "b"], ["a", "b"]]


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
