"""Budgets of keys: what all processes together let a key spend in a minute, and what HTTP tells of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from domain.budget import Bill
from domain.errors import Exhausted
from domain.ids import ChannelId
from gateway import metrics, patience
from gateway.charge import Charge
from gateway.quota import ALONE, SLICES, Budget, Purse, Quotas
from resolvers.context import Caller
from resolvers.forecast import Expected, Forecast
from resolvers.live import Due
from tests.gateway.conftest import early

ANYBODY = Caller("storefront", frozenset({"stock:read"}))


def caller(name: str, points: int | None = None, calls: int | None = None) -> Caller:
    return Caller(name, frozenset(), None, points, calls)


@pytest.fixture
async def quotas(redis: Redis) -> AsyncIterator[Quotas]:
    await early()
    made = Quotas(redis, Budget(points=1_000, calls=40))
    yield made
    await made.settle()


async def spent(redis: Redis, name: str = ANYBODY.name) -> tuple[int, int]:
    """(points, calls) that processes have leased."""
    kept: Any = await redis.execute_command("HMGET", f"acorn:spent:{name}", "points", "calls")  # type: ignore[no-untyped-call]
    return int(kept[0] or 0), int(kept[1] or 0)


async def until_spent(redis: Redis, wanted: tuple[int, int]) -> None:
    async with asyncio.timeout(30):
        while await spent(redis) != wanted:
            await asyncio.sleep(0.01)


async def test_what_suffices_here_asks_nobody(quotas: Quotas, redis: Redis) -> None:
    assert quotas.spend(ANYBODY, 5) is None, "nothing has been leased yet"
    await quotas.take(ANYBODY, 5)
    assert await spent(redis) == (25, 0)
    for _ in range(4):
        assert quotas.spend(ANYBODY, 5) is not None
    assert quotas.spend(ANYBODY, 1) is None
    assert await spent(redis) == (25, 0)


async def test_what_is_refused_costs_nothing_and_says_what_it_would(quotas: Quotas, redis: Redis) -> None:
    await quotas.take(ANYBODY, 900)
    with pytest.raises(Exhausted) as caught:
        await quotas.take(ANYBODY, 101)
    problem = caught.value
    assert (problem.unit, problem.cost, problem.left, problem.limit) == ("points", 101, 100, 1_000)
    assert problem.retry_after_s is not None
    assert 0 < problem.retry_after_s <= 60
    assert (await spent(redis))[0] == 900
    await quotas.take(ANYBODY, 100)


async def test_what_no_minute_has_is_not_worth_waiting_for(quotas: Quotas) -> None:
    with pytest.raises(Exhausted) as caught:
        await quotas.take(ANYBODY, 0, 41)
    assert (caught.value.unit, caught.value.left, caught.value.retry_after_s) == ("calls", 40, None)


async def test_points_are_not_taken_for_calls_that_are_refused(quotas: Quotas, redis: Redis) -> None:
    with pytest.raises(Exhausted):
        await quotas.take(ANYBODY, 10, 41)
    assert await spent(redis) == (0, 0)


async def test_what_was_not_used_can_be_spent_again(quotas: Quotas, redis: Redis) -> None:
    purse = await quotas.take(ANYBODY, 1_000)
    with pytest.raises(Exhausted):
        await quotas.take(ANYBODY, 1)
    quotas.give_back(purse, 600, 0)
    await until_spent(redis, (425, 0))
    assert quotas.left(ANYBODY)[0] == 600
    other = Quotas(redis, Budget(1_000, 40))
    await other.take(ANYBODY, 575)
    with pytest.raises(Exhausted):
        await other.take(ANYBODY, 1)
    await quotas.take(ANYBODY, 25)


async def test_what_was_used_beyond_is_owed(quotas: Quotas) -> None:
    purse = await quotas.take(ANYBODY, 0, 1)
    quotas.give_back(purse, 0, -30)
    assert quotas.left(ANYBODY)[1] == 9
    with pytest.raises(Exhausted):
        await quotas.take(ANYBODY, 0, 10)
    await quotas.take(ANYBODY, 0, 9)


async def test_who_owes_one_unit_may_spend_the_other(quotas: Quotas) -> None:
    purse = await quotas.take(ANYBODY, 1, 1)
    quotas.give_back(purse, 0, -50)
    for points in (5, 5, 0, 100):  # the last is more than is held
        await quotas.take(ANYBODY, points)
    with pytest.raises(Exhausted) as calls:
        await quotas.take(ANYBODY, 0, 1)
    quotas.give_back(purse, -2_000, 60)
    await quotas.take(ANYBODY, 0, 1)
    with pytest.raises(Exhausted) as points_too:
        await quotas.take(ANYBODY, 1, 0)
    assert (calls.value.unit, points_too.value.unit) == ("calls", "points")


class Predicted(Forecast):
    """Predicts one call each time."""

    def __init__(self) -> None: ...

    async def __call__(self, dues: Sequence[Due]) -> bool:
        return False

    async def expected(self) -> list[Expected]:
        return [Expected(ChannelId("shop"), "nodes", 1, 1.0, 1.0, 0.0, 0.0)]


def billed(calls: int) -> Bill:
    bill = Bill()
    bill.line(ChannelId("shop"), "nodes").calls = calls
    return bill


async def next_minute(quotas: Quotas, redis: Redis, purse: Purse) -> None:
    """As if the minute of this purse were over: here, and in Redis."""
    purse.minute -= 1
    await redis.execute_command("HSET", f"acorn:spent:{ANYBODY.name}", "minute", purse.minute)  # type: ignore[no-untyped-call]
    purse.until = 0.0


async def test_a_purse_gets_back_no_more_than_was_taken_out_of_it(quotas: Quotas, redis: Redis) -> None:
    charge = Charge(quotas, ANYBODY, 0)
    for _ in range(5):
        await charge.each(Predicted(), [])
    await next_minute(quotas, redis, await quotas.take(ANYBODY, 0))
    await charge.each(Predicted(), [])
    await charge.each(Predicted(), [])
    assert quotas.left(ANYBODY)[1] == 38
    charge.settle_calls(billed(1))
    assert quotas.left(ANYBODY)[1] == 40, "the call was one of the minute before"
    await charge.each(Predicted(), [])
    charge.settle_calls(billed(1))
    assert quotas.left(ANYBODY)[1] == 40
    await charge.each(Predicted(), [])
    charge.settle_calls(billed(4))
    assert (charge.calls, quotas.left(ANYBODY)[1]) == (9, 37)


async def test_who_leaves_pays_for_calls_that_may_be_under_way(quotas: Quotas) -> None:
    charge = Charge(quotas, ANYBODY, 0)
    await charge.each(Predicted(), [])
    charge.settle_calls(billed(0), leaving=True)
    assert quotas.left(ANYBODY)[1] == 39
    await charge.each(Predicted(), [])
    charge.settle_calls(billed(3), leaving=True)
    assert quotas.left(ANYBODY)[1] == 36


async def test_what_is_predicted_is_counted_with_what_is_made(quotas: Quotas) -> None:
    def counted() -> list[float]:
        values = [metrics.FORECASTS.labels(outcome)._value.get() for outcome in ("predicted", "made")]
        return [value - before for value, before in zip(values, start, strict=True)]

    start = [0.0, 0.0]
    start = counted()
    Charge(quotas, ANYBODY, 0).settle(0, billed(7))
    assert counted() == [0, 0], "nobody predicted anything"
    charge = Charge(quotas, ANYBODY, 0)
    await charge.each(Predicted(), [])
    charge.settle(0, billed(2))
    assert counted() == [1, 2]


async def test_a_rehearsal_that_fails_has_paid_for_nothing(quotas: Quotas) -> None:
    charge, rehearsed = Charge(quotas, ANYBODY, 0), 0

    async def rehearse() -> Forecast:
        nonlocal rehearsed
        rehearsed += 1
        if rehearsed == 1:
            raise OSError("gone")
        return Predicted()

    with pytest.raises(OSError, match="gone"):
        await charge.once(rehearse)
    assert await charge.once(rehearse)
    assert await charge.once(rehearse)
    assert (rehearsed, charge.calls) == (2, 1)


async def test_what_is_left_is_never_above_the_budget(quotas: Quotas) -> None:
    purse = await quotas.take(ANYBODY, 0)
    quotas.give_back(purse, 30, 30)
    assert quotas.left(ANYBODY)[:2] == (1_000, 40)


async def test_keys_without_a_limit_never_ask(redis: Redis) -> None:
    quotas = Quotas(redis, Budget(0, 0))
    for _ in range(3):
        await quotas.take(ANYBODY, 10**9, 10**6)
    assert quotas.spend(ANYBODY, 10**9) is not None
    assert await redis.keys("acorn:spent:*") == []
    assert quotas.headers(ANYBODY) == {}
    assert quotas.left(ANYBODY)[0] == math.inf


async def test_a_key_may_have_a_budget_of_its_own(quotas: Quotas) -> None:
    small, free = caller("small", 10, 2), caller("free", 0, 3)
    await quotas.take(small, 10, 2)
    with pytest.raises(Exhausted):
        await quotas.take(small, 1)
    await quotas.take(free, 10**9, 3)
    with pytest.raises(Exhausted) as caught:
        await quotas.take(free, 10**9, 1)
    assert caught.value.unit == "calls"
    assert quotas.headers(free)["ratelimit-policy"] == '"calls";q=3;w=60'


async def test_keys_of_one_name_share_what_is_left_each_within_its_own_limit(quotas: Quotas) -> None:
    large, small = caller("one", 1_000), caller("one", 100)
    await quotas.take(large, 90)
    with pytest.raises(Exhausted):
        await quotas.take(small, 60)
    await quotas.take(large, 60)


async def test_headers_say_what_is_left_and_for_how_long(quotas: Quotas) -> None:
    assert quotas.headers(ANYBODY)["ratelimit"].startswith('"points";r=1000;t=')
    await quotas.take(ANYBODY, 300, 4)
    told = quotas.headers(ANYBODY)
    assert told["ratelimit-policy"] == '"points";q=1000;w=60, "calls";q=40;w=60'
    points, calls = told["ratelimit"].split(", ")
    assert points.startswith('"points";r=700;t=')
    assert calls.startswith('"calls";r=36;t=')
    assert 1 <= int(points.rpartition("=")[2]) <= 60


async def test_a_new_minute_has_all_of_it_again(quotas: Quotas, redis: Redis) -> None:
    purse = await quotas.take(ANYBODY, 1_000)
    # As if it were over: here, and in Redis.
    purse.minute -= 1
    await redis.execute_command("HSET", f"acorn:spent:{ANYBODY.name}", "minute", purse.minute)  # type: ignore[no-untyped-call]
    purse.until = 0.0
    await quotas.take(ANYBODY, 1_000)
    quotas.give_back(purse, 500, 0)
    with pytest.raises(Exhausted):
        await quotas.take(ANYBODY, 1)


async def test_a_crowd_takes_one_slice_at_a_time(quotas: Quotas, redis: Redis) -> None:
    await asyncio.gather(*(quotas.take(ANYBODY, 1) for _ in range(20)))
    assert await spent(redis) == (25, 0)


class Silent:
    """A Redis whose scripts fail, or never come back."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.over = asyncio.Event()

    def register_script(self, _: str) -> Any:
        return self._run

    async def _run(self, **_: Any) -> Any:
        if self.problem is not None:
            raise self.problem
        await self.over.wait()


@pytest.mark.parametrize("problem", [OSError("gone"), None])
async def test_without_redis_each_process_lets_a_part_through(
    problem: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_S", 0.02)
    await early()
    silent = Silent(problem)
    quotas = Quotas(silent, Budget(1_000, 40))  # type: ignore[arg-type]
    for left in range(250, 0, -1):
        purse = await quotas.take(ANYBODY, 1)
        assert purse.tight is (left <= 125), "of what may be spent alone"
    with pytest.raises(Exhausted):
        await quotas.take(ANYBODY, 1)
    assert 1_000 // ALONE == 250
    assert quotas.headers(ANYBODY)["ratelimit"].startswith('"points";r=0;t=')
    silent.over.set()
    await quotas.settle()


async def taken(quotas: Quotas, points: int, calls: int) -> Purse | Exhausted:
    """From where it was taken, or why not."""
    try:
        return await quotas.take(ANYBODY, points, calls)
    except Exhausted as problem:
        return problem


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=60
    )
)
async def test_processes_never_admit_more_than_the_budget_and_refuse_within_their_slices(
    redis: Redis, asked: list[tuple[int, int, int, float]]
) -> None:
    """Each step: which of three processes is asked for how many points and calls, and which part of them is given back."""
    await redis.flushdb()
    await early()
    limit = Budget(points=400, calls=40)
    processes = [Quotas(redis, limit) for _ in range(3)]
    used_points = used_calls = 0
    for process, points, calls, part in asked:
        purse = await taken(processes[process], points, calls)
        if isinstance(purse, Exhausted):
            # What is not used lies at most in two slices of each other process.
            room = limit.points - used_points if purse.unit == "points" else limit.calls - used_calls
            held = 2 * 2 * (getattr(limit, purse.unit) // SLICES)
            assert purse.cost > room - held
            continue
        used_points, used_calls = used_points + points, used_calls + calls
        assert used_points <= limit.points
        assert used_calls <= limit.calls
        back_points, back_calls = int(points * part), int(calls * part)
        processes[process].give_back(purse, back_points, back_calls)
        used_points, used_calls = used_points - back_points, used_calls - back_calls
        await processes[process].settle()
