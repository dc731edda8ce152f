"""Rate budgets on a real Redis. What a bucket holds is set in its hash, so that no test sleeps until it has filled."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters import budget
from adapters.budget import Budgets
from domain.budget import Ask, Bill, Plan, Priority
from domain.errors import Invalid, Throttled
from domain.ids import ChannelId

SUMMARIES = Plan("getInventorySummaries", 2, 2)
SLOW = Plan("getOrder", 0.5, 30)
RARE = Plan("searchOrders", 0.0056, 20)
POINTS = Plan("graphql", 100, 2000)


class Uses:
    """The memory of last uses, in a dict."""

    def __init__(self) -> None:
        self.at: dict[tuple[ChannelId, str], datetime] = {}
        self.notes = 0
        self.broken = False

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        if self.broken:
            raise ConnectionRefusedError
        return self.at.get((channel, operation))

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        if self.broken:
            raise ConnectionRefusedError
        self.notes += 1
        self.at[channel, operation] = datetime.now(UTC)


class Bench:
    """One bucket, by its keys."""

    def __init__(self, redis: Redis, uses: Uses) -> None:
        self.redis, self.uses = redis, uses
        self.channel = ChannelId(f"amazon-{uuid4().hex}")
        self.budgets = Budgets(redis, uses)
        self.names: dict[str, str] = {}

    def key(self, plan: Plan) -> str:
        return f"acorn:budget:{{{self.channel}:{plan.operation}}}"

    async def set_tokens(self, plan: Plan, tokens: float) -> None:
        await self.budgets.states([(self.channel, plan)])
        seconds, micros = await self.redis.time()
        now = seconds * 1_000_000 + micros
        async with self.redis.pipeline() as pipe:
            pipe.hset(self.key(plan), mapping={"tokens": tokens, "at": now})
            await pipe.execute()

    async def tokens(self, plan: Plan) -> float:
        return (await self.budgets.states([(self.channel, plan)]))[0].remaining

    async def waiting(self, plan: Plan) -> int:
        return (await self.budgets.states([(self.channel, plan)]))[0].waiting

    async def first(self, plan: Plan) -> Any:
        """Whose turn it is."""
        return await self.redis.zrange(f"{self.key(plan)}:queue", 0, 0)

    async def take_one(self, plan: Plan, ask: Ask, name: str) -> None:
        """One that is held, so that Redis knows when it was granted; answers may overtake each other."""
        hold = await self.budgets.hold(self.channel, plan, ask, 1)
        self.names[hold.ticket] = name

    async def in_turn(self, plan: Plan) -> list[str]:
        """Who was granted one, in this order."""
        return [self.names[one.decode()] for one in await self.redis.zrange(f"{self.key(plan)}:held", 0, -1)]

    async def until_waiting(self, plan: Plan, at_least: int) -> None:
        give_up_at = time.monotonic() + 20
        while (waiting := await self.waiting(plan)) < at_least:
            assert time.monotonic() < give_up_at, f"{waiting} callers wait"
            await asyncio.sleep(0.002)

    async def served_now(self, plan: Plan, priority: Priority) -> bool:
        """For plans so slow that ten seconds, which a busy machine may need to ask at all, bring nothing."""
        try:
            await self.budgets.spend(self.channel, plan, Ask(priority, deadline=time.monotonic() + 10))
        except Throttled:
            return False
        return True


@pytest.fixture
def _on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits counts as alive, however late it looks again: a busy machine shall not change the order."""
    grace = "local GRACE = 300000 "
    assert grace in budget.SCRIPT
    monkeypatch.setattr(budget, "SCRIPT", budget.SCRIPT.replace(grace, "local GRACE = 60000000 "))


@pytest.fixture
async def bench(redis_url: str) -> AsyncIterator[Bench]:
    redis = Redis.from_url(redis_url)
    bench = Bench(redis, Uses())
    yield bench
    await bench.budgets.settle()
    await redis.aclose()


async def test_a_fresh_installation_may_use_the_burst_less_the_margin(bench: Bench) -> None:
    assert await bench.tokens(RARE) == pytest.approx(20 - 0.1 - 0.05 * 0.0056)
    bill = Bill()
    for _ in range(19):
        await bench.budgets.spend(bench.channel, RARE, Ask(deadline=time.monotonic() + 5, bill=bill))
    with pytest.raises(Throttled) as refusal:
        await bench.budgets.spend(bench.channel, RARE, Ask(deadline=time.monotonic() + 5, bill=bill))
    assert refusal.value.retry_after_s == pytest.approx(0.10028 / (0.97 * 0.0056), abs=5)
    assert bill.waited_s == 0
    assert bench.uses.notes == 1


async def test_reading_the_state_leaves_no_trace(bench: Bench) -> None:
    await bench.budgets.states([(bench.channel, SUMMARIES)])
    assert await bench.budgets.has_slot(bench.channel, SUMMARIES)
    assert await bench.redis.keys(f"{bench.key(SUMMARIES)}*") == []
    assert bench.uses.notes == 0


@pytest.mark.parametrize(("idle_s", "tokens"), [(0.0, 0.0), (10.0, 0.0), (110.0, 0.543), (3600.0, 19.5)])
async def test_a_missing_bucket_holds_what_was_saved_up_since_the_last_use(
    bench: Bench, idle_s: float, tokens: float
) -> None:
    bench.uses.at[bench.channel, RARE.operation] = datetime.now(UTC) - timedelta(seconds=idle_s)
    assert await bench.tokens(RARE) == pytest.approx(tokens, abs=0.3)
    assert await bench.budgets.has_slot(bench.channel, RARE) == (tokens >= 1)


async def test_a_flushed_redis_means_empty(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, RARE, Ask())
    assert await bench.budgets.has_slot(bench.channel, RARE)
    await bench.redis.delete(bench.key(RARE))
    assert not await bench.budgets.has_slot(bench.channel, RARE)
    assert not await bench.served_now(RARE, Priority.INTERACTIVE)
    assert await bench.tokens(RARE) < 1


@pytest.mark.usefixtures("_on_time")
async def test_a_flush_while_callers_wait_makes_them_wait_longer_and_loses_none(bench: Bench) -> None:
    plan = Plan("getListingsItem", 20, 20)
    await bench.budgets.spend(bench.channel, plan, Ask())
    await bench.set_tokens(plan, -400)
    served: list[int] = []
    began = time.monotonic()

    async def caller(number: int) -> None:
        await bench.budgets.spend(bench.channel, plan, Ask())
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(caller(number))
            await bench.until_waiting(plan, number + 1)
        for suffix in ("", ":queue", ":due"):
            await bench.redis.delete(bench.key(plan) + suffix)
    assert sorted(served) == [0, 1, 2, 3, 4]
    # From empty, not from the burst: five tokens at 19.4/s.
    assert time.monotonic() - began > 5 / 19.4


async def test_a_late_slot_is_refused_at_once_and_leaves_no_ticket(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, RARE, Ask())
    await bench.set_tokens(RARE, 0)
    began = time.monotonic()
    with pytest.raises(Throttled) as refusal:
        await bench.budgets.spend(bench.channel, RARE, Ask(deadline=began + 60))
    assert time.monotonic() - began < 5
    assert refusal.value.retry_after_s == pytest.approx(1 / (0.97 * 0.0056), abs=5)
    assert "searchOrders" in refusal.value.message
    assert await bench.waiting(RARE) == 0


async def test_a_passed_deadline_is_refused_though_there_are_tokens(bench: Bench) -> None:
    with pytest.raises(Throttled):
        await bench.budgets.spend(bench.channel, SUMMARIES, Ask(deadline=time.monotonic() - 1))
    assert await bench.tokens(SUMMARIES) == pytest.approx(1.8)


async def test_waiting_goes_on_the_bill(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    await bench.set_tokens(SUMMARIES, -1)
    began = time.monotonic()
    ask = Ask(deadline=began + 20)
    await bench.budgets.spend(bench.channel, SUMMARIES, ask)
    assert 0 < ask.bill.waited_s <= time.monotonic() - began
    assert await bench.waiting(SUMMARIES) == 0


@pytest.mark.usefixtures("_on_time")
async def test_classes_are_served_in_order_and_each_first_come_first_served(bench: Bench) -> None:
    plan = Plan("getOrder", 20, 30)
    await bench.budgets.spend(bench.channel, plan, Ask())
    await bench.set_tokens(plan, -1200)
    async with asyncio.TaskGroup() as group:
        came = 0
        for number in range(3):
            for priority in (Priority.BACKGROUND, Priority.WRITE, Priority.URGENT, Priority.INTERACTIVE):
                group.create_task(bench.take_one(plan, Ask(priority), f"{priority.name[0]}{number}"))
                came += 1
                await bench.until_waiting(plan, came)
        await bench.set_tokens(plan, 0)
    assert await bench.in_turn(plan) == [f"{name}{number}" for name in "IUWB" for number in range(3)]


@pytest.mark.parametrize(
    ("tokens", "served"),
    [
        (1.00, [Priority.INTERACTIVE]),
        (1.50, list(Priority)[:2]),
        (2.00, list(Priority)[:3]),
        (2.49, list(Priority)[:4]),
        (2.98, list(Priority)[:5]),
        (5.96, list(Priority)),
    ],
)
async def test_a_share_stays_free_for_the_higher_classes(bench: Bench, tokens: float, served: list[Priority]) -> None:
    plan = Plan(
        "getFeed", 0.01, 10
    )  # capacity 9.8995: urgent writes leave 0.49, others 0.99, hints 1.48, background 1.98, backfill 4.95
    await bench.budgets.spend(bench.channel, plan, Ask())
    for priority in Priority:
        await bench.set_tokens(plan, tokens)
        assert await bench.served_now(plan, priority) == (priority in served), priority


async def test_a_small_bucket_still_serves_background(bench: Bench) -> None:
    plan = Plan("createReport", 0.0167, 1)
    assert await bench.served_now(plan, Priority.BACKGROUND)
    assert not await bench.served_now(plan, Priority.BACKGROUND)


@pytest.mark.usefixtures("_on_time")
async def test_a_caller_made_more_urgent_while_it_waits_moves_up(bench: Bench) -> None:
    plan = Plan("getOrder", 10, 30)
    await bench.budgets.spend(bench.channel, plan, Ask())
    await bench.set_tokens(plan, -600)
    first, second = Ask(Priority.WRITE), Ask(Priority.BACKGROUND)
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.take_one(plan, first, "write"))
        await bench.until_waiting(plan, 1)
        before = await bench.first(plan)
        group.create_task(bench.take_one(plan, second, "promoted"))
        await bench.until_waiting(plan, 2)
        assert await bench.first(plan) == before
        second.priority = Priority.INTERACTIVE
        async with asyncio.timeout(20):
            while await bench.first(plan) == before:
                await asyncio.sleep(0.002)
        await bench.set_tokens(plan, 0)
    assert await bench.in_turn(plan) == ["promoted", "write"]


async def test_a_dead_caller_is_passed_over(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    await bench.set_tokens(SUMMARIES, -2)
    # A process that asks once and dies: its ticket is first in the queue and nobody comes for it.
    dead = Budgets(bench.redis, bench.uses)
    verdict, _, _ = await dead._run("spend", bench.channel, SUMMARIES, 1, 0, "1:dead", 0, 10**12)
    assert verdict == 2
    assert not await bench.budgets.has_slot(bench.channel, SUMMARIES)
    began = time.monotonic()
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    assert time.monotonic() - began < 30  # it would have stood there for ever
    assert await bench.waiting(SUMMARIES) == 0


async def _left_behind(bench: Bench, plan: Plan, count: int) -> tuple[list[float], float]:
    """Tickets of a process that asks and dies: in how many seconds each counts as dead, and how long it took to ask."""
    dead = Budgets(bench.redis, bench.uses)
    asked = time.monotonic()
    told = await asyncio.gather(
        *(dead._run("spend", bench.channel, plan, 1, 0, f"1:dead{number}", 0, 10**15) for number in range(count))
    )
    assert {int(verdict) for verdict, _, _ in told} == {2}
    seconds, micros = await bench.redis.time()
    dues = await bench.redis.zrange(f"{bench.key(plan)}:due", 0, -1, withscores=True)
    return [due / 1e6 - seconds - micros / 1e6 for _, due in dues], time.monotonic() - asked


async def test_the_tickets_of_a_dead_process_expire_together(bench: Bench) -> None:
    for plan in (SUMMARIES, RARE):
        await bench.budgets.spend(bench.channel, plan, Ask())
        await bench.set_tokens(plan, -2)
        dues, _ = await _left_behind(bench, plan, 54)
        assert len(dues) == 54
        # The first of RARE would have waited three minutes for its slot, the last of either 5.4 s for those ahead.
        assert max(dues) <= 1.0 + 0.3
    began = time.monotonic()
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    assert time.monotonic() - began < 30
    assert await bench.waiting(SUMMARIES) == 0


async def test_in_a_long_queue_each_looks_less_often(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    await bench.set_tokens(SLOW, 0)
    for suffix, score in ((":queue", 0), (":due", time.time() * 1e6 + 60e6)):
        await bench.redis.zadd(bench.key(SLOW) + suffix, {f"1:{number}": score for number in range(4_000)})
    dues, took = await _left_behind(bench, SLOW, 1)
    assert 4.2 - took < min(dues) <= 4.3


async def test_all_dead_tickets_go_at_once(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    for suffix, score in ((":queue", 0), (":due", 1)):
        await bench.redis.zadd(bench.key(SLOW) + suffix, {f"1:{number}": score for number in range(1_500)})
    assert await bench.waiting(SLOW) == 0


async def test_the_queue_is_bounded(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    await bench.set_tokens(SLOW, 0)
    for suffix, score in ((":queue", 0), (":due", time.time() * 1e6 + 60e6)):
        async with bench.redis.pipeline() as pipe:
            pipe.zadd(bench.key(SLOW) + suffix, {f"1:{number}": score for number in range(9_999)})
            await pipe.execute()
    last = asyncio.create_task(bench.budgets.spend(bench.channel, SLOW, Ask()))
    await bench.until_waiting(SLOW, 10_000)
    with pytest.raises(Throttled) as refusal:
        await bench.budgets.spend(bench.channel, SLOW, Ask())
    assert refusal.value.retry_after_s == pytest.approx(10_001 / (0.97 * 0.5), rel=0.01)
    last.cancel()
    await asyncio.wait({last})


async def test_cancelled_callers_leave_neither_ticket_nor_token_nor_task(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    await bench.set_tokens(SLOW, 0.25)
    before = asyncio.all_tasks()
    # So many as even a busy machine asks for each second: who is late is passed over until it asks again.
    callers = [asyncio.create_task(bench.budgets.spend(bench.channel, SLOW, Ask())) for _ in range(300)]
    await bench.until_waiting(SLOW, at_least=200)
    for caller in callers:
        caller.cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    served = sum(outcome is None for outcome in outcomes)
    assert served + sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 300
    await bench.budgets.settle()
    assert asyncio.all_tasks() <= before
    assert await bench.redis.zcard(f"{bench.key(SLOW)}:queue") == 0
    assert await bench.redis.zcard(f"{bench.key(SLOW)}:due") == 0
    await bench.set_tokens(SLOW, 1)
    assert await bench.served_now(SLOW, Priority.INTERACTIVE)


async def test_a_caller_cancelled_as_it_is_granted_gives_the_token_back(bench: Bench) -> None:
    granted, told = asyncio.Event(), asyncio.Event()

    class Late(Budgets):
        """Redis grants, and the answer is on its way for as long as `told` is not set."""

        async def _run(self, command: str, channel: ChannelId, plan: Plan | str, *arguments: object) -> Any:
            answer = await super()._run(command, channel, plan, *arguments)
            if command == "spend":
                granted.set()
                await told.wait()
            return answer

    late = Late(bench.redis, bench.uses)
    caller = asyncio.create_task(late.spend(bench.channel, SLOW, Ask()))
    await granted.wait()
    assert await bench.tokens(SLOW) == pytest.approx(28.875, abs=0.5)
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    told.set()
    await late.settle()
    assert await bench.tokens(SLOW) == pytest.approx(29.875)


async def test_without_redis_nothing_is_granted() -> None:
    redis = Redis.from_url("redis://127.0.0.1:1")
    budgets, channel = Budgets(redis, Uses()), ChannelId("amazon-us")
    with pytest.raises(Throttled, match="ACORN_REDIS_URL"):
        await budgets.spend(channel, SUMMARIES, Ask())
    with pytest.raises(Throttled, match="ACORN_REDIS_URL"):
        await budgets.states([(channel, SUMMARIES)])
    assert not await budgets.has_slot(channel, SUMMARIES)
    # An answer already in hand is not lost for a correction that cannot be made.
    await budgets.adopt(channel, SUMMARIES.operation, rate=1)
    await budgets.refund(channel, SUMMARIES.operation, 1)
    await budgets.drain(channel, SUMMARIES.operation)
    await budgets.settle()
    await redis.aclose()


async def test_a_redis_that_does_not_answer_is_given_up_in_time() -> None:
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    redis = Redis.from_url(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    budgets = Budgets(redis, Uses(), patience_s=0.1)
    with pytest.raises(Throttled, match="TimeoutError"):
        await budgets.spend(ChannelId("amazon-us"), SUMMARIES, Ask())
    for writer in held:
        writer.close()
    await budgets.settle()
    await redis.aclose()
    server.close()
    await server.wait_closed()


async def test_without_the_record_of_uses_nothing_is_granted(bench: Bench) -> None:
    bench.uses.broken = True
    with pytest.raises(Throttled, match="PostgreSQL"):
        await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    assert not await bench.budgets.has_slot(bench.channel, SUMMARIES)
    bench.uses.broken = False
    assert await bench.tokens(SUMMARIES) == pytest.approx(1.8)
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())


async def test_a_slow_memory_of_uses_is_not_called_away(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for problem, words in ((TimeoutError, "answers too slowly"), (ConnectionRefusedError, "cannot be reached")):

        async def note_use(channel: ChannelId, operation: str, problem: type[OSError] = problem) -> None:
            raise problem

        monkeypatch.setattr(bench.uses, "note_use", note_use)
        with pytest.raises(Throttled, match=words):
            await bench.budgets.spend(bench.channel, SUMMARIES, Ask())


async def test_synchronization_waits_longer_for_a_slow_memory_of_uses(bench: Bench, redis: Redis) -> None:
    budgets, slow, note_use = Budgets(redis, bench.uses, patience_s=0.5), asyncio.Event(), bench.uses.note_use

    async def note_slowly(channel: ChannelId, operation: str) -> None:
        await slow.wait()
        await note_use(channel, operation)

    bench.uses.note_use = note_slowly  # type: ignore[method-assign]
    patient = asyncio.create_task(budgets.spend(bench.channel, SUMMARIES, Ask(Priority.BACKGROUND)))
    with pytest.raises(Throttled, match="answers too slowly"):
        await budgets.spend(bench.channel, SUMMARIES, Ask())
    slow.set()
    await patient
    assert bench.uses.notes == 1
    await budgets.settle()


async def test_a_throttled_caller_is_left_what_the_platform_says_is_left(bench: Bench) -> None:
    plan = Plan("points", 0.001, 2000)
    await bench.budgets.spend(bench.channel, plan, Ask())
    for left, kept in ((300.0, 300), (None, 0)):
        await bench.set_tokens(plan, 500)
        await bench.budgets.drain(bench.channel, plan.operation, left=left)
        assert await bench.tokens(plan) == pytest.approx(kept, abs=1)


async def test_an_adopted_rate_outlives_the_process_that_heard_it(bench: Bench, redis_url: str) -> None:
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    await bench.budgets.adopt(bench.channel, SUMMARIES.operation, rate=5)
    async with Redis.from_url(redis_url) as redis:
        other = Budgets(redis, bench.uses)
        await other.spend(bench.channel, SUMMARIES, Ask())
        state = (await other.states([(bench.channel, SUMMARIES)]))[0]
        assert (state.rate, state.burst) == (5, 2)
        # A release with another plan starts from that one.
        state = (await other.states([(bench.channel, Plan(SUMMARIES.operation, 3, 4))]))[0]
        assert (state.rate, state.burst) == (3, 4)


@pytest.mark.parametrize(("told", "kept"), [(1e-7, 0.02), (-1.0, 0.02), (0.03, 0.03), (0.0, 2), (float("nan"), 2)])
async def test_a_rate_that_would_freeze_the_operation_is_not_believed(bench: Bench, told: float, kept: float) -> None:
    await bench.budgets.spend(bench.channel, SUMMARIES, Ask())
    await bench.budgets.adopt(bench.channel, SUMMARIES.operation, rate=told)
    [state] = await bench.budgets.states([(bench.channel, SUMMARIES)])
    assert (state.rate, state.burst) == (kept, 2)


async def test_the_smaller_of_their_tokens_and_ours_holds(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, POINTS, Ask(), cost=50)
    await bench.budgets.adopt(bench.channel, POINTS.operation, rate=1, burst=2000, remaining=2000)
    assert await bench.tokens(POINTS) == pytest.approx(1970, abs=30)
    await bench.budgets.adopt(bench.channel, POINTS.operation, remaining=300)
    assert await bench.tokens(POINTS) == pytest.approx(300, abs=60)
    await bench.budgets.adopt(bench.channel, POINTS.operation, burst=200)
    assert await bench.tokens(POINTS) == pytest.approx(199.85, abs=1)


async def test_a_429_empties_the_bucket_and_is_counted(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    await bench.budgets.drain(bench.channel, SLOW.operation)
    state = (await bench.budgets.states([(bench.channel, SLOW)]))[0]
    assert state.remaining < 1
    assert state.throttled == 1


async def test_points_are_spent_given_back_and_taken_later(bench: Bench) -> None:
    plan = Plan("graphql", 0.1, 2000)
    await bench.budgets.spend(bench.channel, plan, Ask(), cost=752)
    assert await bench.tokens(plan) == pytest.approx(1999.895 - 752, abs=0.5)
    await bench.budgets.refund(bench.channel, plan.operation, 52)
    assert await bench.tokens(plan) == pytest.approx(1999.895 - 700, abs=0.5)
    await bench.budgets.refund(bench.channel, plan.operation, -100)
    assert await bench.tokens(plan) == pytest.approx(1999.895 - 800, abs=0.5)
    await bench.budgets.refund(bench.channel, plan.operation, 5000)
    assert await bench.tokens(plan) == pytest.approx(1999.895, abs=0.5)


async def test_a_call_as_dear_as_the_whole_bucket_is_served_and_a_dearer_one_refused(bench: Bench) -> None:
    plan = Plan("graphql", 1, 2000)
    with pytest.raises(Invalid, match="2001"):
        await bench.budgets.spend(bench.channel, plan, Ask(), cost=2001)
    await bench.set_tokens(plan, 1999.5)
    await bench.budgets.spend(bench.channel, plan, Ask(Priority.BACKGROUND, deadline=time.monotonic() + 20), cost=2000)
    assert await bench.tokens(plan) < 50


async def test_states_come_in_the_order_asked(bench: Bench) -> None:
    await bench.budgets.spend(bench.channel, SLOW, Ask())
    states = await bench.budgets.states([(bench.channel, POINTS), (bench.channel, SLOW), (bench.channel, SUMMARIES)])
    assert [(state.operation, state.rate, state.burst) for state in states] == [
        ("graphql", 100, 2000),
        ("getOrder", 0.5, 30),
        ("getInventorySummaries", 2, 2),
    ]
    assert [state.remaining for state in states] == pytest.approx([1994.9, 28.875, 1.8], abs=0.5)
    assert await bench.budgets.states([]) == []


async def test_many_callers_of_several_processes_stay_within_a_strict_bucket_and_use_it(
    bench: Bench, redis_url: str
) -> None:
    # Slow enough that a machine which stops for half a second loses none of what its bucket holds.
    plan, seconds = Plan("getListingsItem", 10, 10), 5.0
    clients = [Redis.from_url(redis_url) for _ in range(4)]
    until_s = time.monotonic() + seconds
    granted: list[float] = []

    async def caller(budgets: Budgets, priority: Priority) -> None:
        while True:
            try:
                await budgets.spend(bench.channel, plan, Ask(priority, deadline=until_s))
            except Throttled:
                return
            granted.append(time.monotonic())

    async with asyncio.TaskGroup() as group:
        for client in clients:
            budgets = Budgets(client, bench.uses)
            for priority in Priority:
                group.create_task(caller(budgets, priority))
    for client in clients:
        await client.aclose()
    assert _overdrawn(granted, plan) == 0
    assert len(granted) >= 0.95 * (plan.burst + plan.rate * (granted[-1] - granted[0]))


def _overdrawn(calls: list[float], plan: Plan) -> int:
    """How many of the calls a strict bucket, full at first, would have refused."""
    tokens, at, refused = plan.burst, calls[0], 0
    for call in calls:
        tokens = min(plan.burst, tokens + (call - at) * plan.rate)
        at = call
        if tokens >= 1:
            tokens -= 1
        else:
            refused += 1
    return refused


def test_the_strict_bucket_does_refuse() -> None:
    assert _overdrawn([0.0, 0.0, 0.0, 0.3], SUMMARIES) == 2
