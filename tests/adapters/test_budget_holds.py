"""Calls that say what they cost, against a platform's bucket that is strict: whatever overtakes what, none is refused.

Time is what a step says: both buckets are made older by it, and gain so slowly by themselves that no machine is too slow.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from dataclasses import dataclass, field
from math import floor
from random import Random
from uuid import uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from adapters.budget import Budgets, Hold
from domain.budget import Ask, Plan
from domain.errors import Throttled
from domain.ids import ChannelId
from tests.adapters.bench import NeverUsed

RATE = 1e-3
PLAN = Plan("points", RATE, 2000)
FULL = 2000 - 0.1 - 0.05 * RATE


@dataclass(eq=False)
class Call:
    """One that was granted. The platform takes what it asks for when it arrives, and gives back what it did not use."""

    hold: Hold
    actual: float
    arrived: bool = False
    told: int | None = None


@dataclass
class Bench:
    """Our bucket and theirs."""

    redis: Redis
    theirs: float = 2000.0
    calls: list[Call] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.channel = ChannelId(f"shop-{uuid4().hex}")
        self.budgets = Budgets(self.redis, NeverUsed())
        self.key = f"acorn:budget:{{{self.channel}:{PLAN.operation}}}"

    async def ours(self) -> float:
        return (await self.budgets.states([(self.channel, PLAN)]))[0].remaining

    async def ask(self, cost: float, actual: float) -> bool:
        """Was it granted?"""
        try:
            # By itself the bucket gains nothing within a minute: who has to wait is late.
            hold = await self.budgets.hold(self.channel, PLAN, Ask(deadline=time.monotonic() + 60), cost)
        except Throttled:
            return False
        self.calls.append(Call(hold, actual))
        return True

    async def pass_by(self, points: float) -> None:
        """As long as it takes for so many points."""
        self.theirs = min(PLAN.burst, self.theirs + points)
        async with self.redis.pipeline() as pipe:
            pipe.hget(self.key, "at")
            [at] = await pipe.execute()
            if at is not None:
                pipe.hset(self.key, "at", f"{float(at) - points / RATE * 1e6:.0f}")
                await pipe.execute()

    def arrive(self, call: Call) -> None:
        if not call.arrived:
            call.arrived = True
            if self.theirs < call.hold.tokens:
                self.refused += 1
            else:
                self.theirs -= call.hold.tokens

    def finish(self, call: Call) -> None:
        self.arrive(call)
        if call.told is None:
            self.theirs = min(PLAN.burst, self.theirs + call.hold.tokens - call.actual)
            call.told = floor(self.theirs)

    async def read(self, call: Call) -> None:
        self.finish(call)
        self.calls.remove(call)
        back = call.hold.tokens - call.actual
        await self.budgets.reckon(call.hold, back, rate=RATE, burst=PLAN.burst, remaining=call.told)

    async def read_all(self) -> None:
        for call in list(self.calls):
            await self.read(call)


@pytest.fixture
async def bench(redis: Redis) -> Bench:
    return Bench(redis)


async def test_a_full_bucket_gains_nothing_while_calls_are_on_their_way(bench: Bench) -> None:
    assert await bench.ask(500, actual=100)
    await bench.pass_by(1000)
    assert await bench.ours() == pytest.approx(FULL - 500, abs=1)
    assert await bench.ask(1400, actual=1400)
    assert not await bench.ask(200, actual=100)
    await bench.read_all()
    assert bench.refused == 0
    # What was used comes back when it has been said.
    await bench.pass_by(3000)
    assert await bench.ours() == pytest.approx(FULL, abs=1)


async def test_an_emptied_bucket_gains_though_calls_are_on_their_way(bench: Bench) -> None:
    assert await bench.ask(1900, actual=1900)
    await bench.read_all()
    assert await bench.ask(50, actual=50)
    before = await bench.ours()
    await bench.pass_by(100)
    assert await bench.ours() == pytest.approx(before + 97, abs=1)


async def test_a_call_that_is_never_heard_of_again_holds_nothing_for_ever(bench: Bench) -> None:
    assert await bench.ask(500, actual=100)
    [(ticket, at)] = await bench.redis.zrange(f"{bench.key}:held", 0, -1, withscores=True)
    await bench.redis.zadd(f"{bench.key}:held", {ticket: at - 31e6})
    await bench.pass_by(1000)
    assert await bench.ours() == pytest.approx(FULL, abs=1)


async def test_a_hold_ends_once(bench: Bench) -> None:
    assert await bench.ask(500, actual=500)
    [call] = bench.calls
    for back in (500, 0, 500):
        await bench.budgets.reckon(call.hold, back)
    assert await bench.ours() == pytest.approx(FULL, abs=1)
    assert await bench.ask(500, actual=500)
    for back in (0, 500):
        await bench.budgets.reckon(bench.calls[1].hold, back)
    assert await bench.ours() == pytest.approx(FULL - 500, abs=1)


async def test_a_caller_that_goes_away_holds_nothing(bench: Bench) -> None:
    await bench.ask(1900, actual=1900)
    await bench.read_all()
    caller = asyncio.create_task(bench.budgets.hold(bench.channel, PLAN, Ask(), 500))
    while not await bench.redis.zcard(f"{bench.key}:queue"):
        await asyncio.sleep(0.002)
    caller.cancel()
    await asyncio.wait({caller})
    await bench.budgets.settle()
    assert await bench.redis.zcard(f"{bench.key}:queue") == await bench.redis.zcard(f"{bench.key}:held") == 0


async def test_an_answer_that_another_one_has_overtaken_takes_back_nothing_of_what_that_one_gave(bench: Bench) -> None:
    """The first was made when the second still held its 200 points, and is read when those have been given back."""
    await bench.ask(1500, actual=1500)
    await bench.read_all()
    await bench.ask(200, actual=10)
    await bench.ask(200, actual=10)
    first, second = bench.calls
    bench.arrive(second)
    bench.finish(first)
    await bench.read(second)
    await bench.read(first)
    assert await bench.ours() == pytest.approx(FULL - 1520, abs=2)


async def test_a_lower_number_than_that_is_believed(bench: Bench) -> None:
    """Somebody else spends from the same bucket."""
    for theirs in (100, 20):
        bench.theirs = theirs
        await bench.ask(10, actual=4)
        await bench.read_all()
        assert await bench.ours() == pytest.approx(theirs - 4, abs=2)


async def test_hungry_callers_use_what_is_restored_and_none_is_refused(bench: Bench) -> None:
    """24 callers from a full bucket on, at 100 points a second, whose calls take up to a second on each leg of their way."""
    dice, idle, spent, restored, before = Random(7), 24, 0.0, 0.0, 0.0
    due: list[tuple[float, int, Call]] = []
    kinds = itertools.cycle([(24, 10), (266, 46), (266, 20), (46, 46)])
    cost, actual = next(kinds)
    for tick in range(600):
        now = tick * 0.2
        await bench.pass_by(20)
        if tick == 200:  # what was saved up is spent by then
            before, spent, restored = await bench.ours(), 0.0, 0.0
        restored += 20
        while due and due[0][0] <= now:
            at, leg, call = heapq.heappop(due)
            if leg == 0:
                bench.arrive(call)
            elif leg == 1:
                bench.finish(call)
                spent += call.actual
            else:
                await bench.read(call)
                idle += 1
                continue
            heapq.heappush(due, (at + dice.random(), leg + 1, call))
        while idle and await bench.ask(cost, actual):
            idle -= 1
            # The first ones find a shop that is still waking up, with a bucket that is full meanwhile.
            heapq.heappush(due, (max(now, 4.0) + dice.random(), 0, bench.calls[-1]))
            cost, actual = next(kinds)
    left = await bench.ours() - before
    assert bench.refused == 0
    assert spent + left >= 0.95 * restored
    assert left < 0.05 * restored, "hungry callers leave nothing"


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from([1, 24, 266, 752, 1999]), st.sampled_from([0.0, 0.1, 0.5, 1.0])),
    st.tuples(st.sampled_from(["arrive", "finish", "read"]), st.integers(0, 7), st.just(0.0)),
    st.tuples(st.just("pass"), st.integers(1, 2500), st.just(0.0)),
)


@pytest.mark.usefixtures("redis")
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEPS, min_size=5, max_size=40))
@example([("ask", 752, 1.0), ("pass", 752, 0.0), ("ask", 752, 1.0), ("ask", 752, 1.0)])
@example(
    [
        ("ask", 752, 0.0),
        ("arrive", 0, 0.0),
        ("pass", 2000, 0.0),
        ("finish", 0, 0.0),
        *[("ask", 752, 1.0)] * 2,
        ("read", 0, 0.0),
    ]
)
def test_none_is_refused_whatever_overtakes_what(redis_url: str, steps: list[tuple[str, int, float]]) -> None:
    asyncio.run(_play(redis_url, steps))


async def _play(redis_url: str, steps: list[tuple[str, int, float]]) -> None:
    async with Redis.from_url(redis_url) as redis:
        bench = Bench(redis)
        for what, number, share in steps:
            if what == "ask":
                await bench.ask(number, number * share)
            elif what == "pass":
                await bench.pass_by(number)
            elif bench.calls:
                call = bench.calls[number % len(bench.calls)]
                if what == "read":
                    await bench.read(call)
                elif what == "finish":
                    bench.finish(call)
                else:
                    bench.arrive(call)
        # Whatever is granted at last is still there when it arrives.
        while await bench.ask(100, 100):
            pass
        for call in bench.calls:
            bench.arrive(call)
        assert bench.refused == 0
        await bench.read_all()
        assert await bench.ours() <= bench.theirs + 1e-6
        await bench.pass_by(3000)
        assert await bench.ours() == pytest.approx(FULL, abs=1), "no hold is left behind"
        await bench.budgets.settle()
