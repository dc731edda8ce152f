"""Rate budgets: one token bucket per channel and upstream operation, shared by all processes through Redis.

`budget.lua` decides; this file waits. Callers are served strictly by class and, within a class, in the order they came. A
class leaves a share of the bucket to those above it. Constant traffic of a higher class can therefore hold a lower one back
for as long as it lasts: that is meant, an interactive read is worth more than a synchronization that can run tonight.

We use a little less than the platform grants (`Margins`): a call is counted when we grant it, the platform counts it when it
arrives, and two calls granted one second apart may arrive nearer to each other than that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from adapters.errands import Errands
from adapters.usual import Usual
from domain.budget import Ask, BudgetState, Plan, Priority, Purse
from domain.errors import Invalid, Throttled
from domain.ids import ChannelId

log = logging.getLogger(__name__)

T = TypeVar("T")

SCRIPT = (Path(__file__).parent / "budget.lua").read_text(encoding="utf-8")
NOTE_EVERY_S = 10.0
# Synchronization, which nobody waits for, is so many times more patient with a slow PostgreSQL.
IN_NO_HURRY = 10
# More than any bucket holds: a bucket that was never used is full.
FULL = 1e18
# As in budget.lua: the share of a bucket that each class leaves to those above it.
RESERVE = {
    Priority.INTERACTIVE: 0.0,
    Priority.URGENT: 0.05,
    Priority.WRITE: 0.1,
    Priority.HINT: 0.15,
    Priority.BACKGROUND: 0.2,
    Priority.BACKFILL: 0.5,
}


class Memory(Protocol):
    """The last use of each operation, kept where a flushed Redis does not take it along."""

    async def last_use(self, channel: ChannelId, operation: str) -> datetime | None:
        """The instant last noted, aware; None when the operation was never used."""

    async def note_use(self, channel: ChannelId, operation: str) -> None:
        """Note that the operation is in use now. Called before calls are made, at most every 10 s per bucket and process."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How much of a platform's plan we use: `rate_share` of its rate; its burst less `tokens` and less `seconds` of its rate.

    At 2/s and a burst of 2 that lets a call arrive 100 ms nearer to the one before than it was granted. A burst of 1 leaves
    nothing to keep back: there the margin is the rate's alone, 3 % of the interval.
    """

    rate_share: float = 0.97
    tokens: float = 0.1
    seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Hold:
    """Tokens granted to a call that is under way and will say what it cost. `mark` is the moment of the grant."""

    channel: ChannelId
    operation: str
    tokens: float
    ticket: str
    mark: float


class Verdict(IntEnum):
    """What the script says to a caller."""

    MISSING = 0
    GRANTED = 1
    WAIT = 2
    LATE = 3
    NEVER = 4


class Budgets:
    """The buckets of all channels.

    `patience_s` is how long Redis may be silent. Without Redis nothing is granted: `Throttled`, never a call beyond the limit.
    """

    def __init__(
        self,
        redis: Redis,
        memory: Memory,
        *,
        margins: Margins = Margins(),
        patience_s: float = 2.0,
        prefix: str = "acorn:budget",
    ) -> None:
        self.usual = Usual(redis)
        self._redis = redis
        self._memory = memory
        self._margins = (margins.rate_share, margins.tokens, margins.seconds)
        self._patience_s = patience_s
        self._prefix = prefix
        self._script = redis.register_script(SCRIPT)
        # A crowd of callers must not become a crowd of connections.
        self._lines = asyncio.Semaphore(16)
        self._heard_at = -math.inf
        self._noted: dict[tuple[ChannelId, str], tuple[float, asyncio.Task[None]]] = {}
        self._errands = Errands()

    async def spend(self, channel: ChannelId, plan: Plan, ask: Ask, cost: float = 1.0) -> None:
        """Wait for a slot of `plan.operation` and take `cost` tokens. Ask's priority and deadline are read anew at every turn.

        Raises Throttled at once when the slot would come after the deadline, when 10,000 callers wait already, and when Redis
        or the memory cannot be reached; Invalid when the bucket never holds as much. Cancelling leaves neither a place in
        the queue nor a token behind.
        """
        await self._granted(channel, plan, ask, cost, _ticket(cost), held=False)

    async def hold(self, channel: ChannelId, plan: Plan, ask: Ask, cost: float) -> Hold:
        """As `spend`, for a call whose answer says what it cost. To be ended by `reckon`, whatever becomes of the call.

        Until then, for 30 s at most, the bucket counts as full without these tokens, for theirs gains nothing before they have
        been taken from it.
        """
        ticket = _ticket(cost)
        mark = await self._granted(channel, plan, ask, cost, ticket, held=True)
        return Hold(channel, plan.operation, cost, ticket, mark)

    async def _granted(
        self, channel: ChannelId, plan: Plan, ask: Ask, cost: float, ticket: str, *, held: bool
    ) -> float:
        """The mark of the grant."""
        verdict, wait_s, mark = await self._queue(channel, plan, ask, cost, ticket, held=held)
        if verdict is Verdict.LATE:
            raise Throttled(
                f"{plan.operation} of {channel} has no slot before the deadline; the next one is in {wait_s:.1f} s.",
                retry_after_s=wait_s,
            )
        if verdict is Verdict.NEVER:
            raise Invalid(f"{plan.operation} of {channel} never has {cost:g} tokens at once: ask for less.")
        return mark

    async def has_slot(self, channel: ChannelId, plan: Plan, cost: float = 1.0) -> bool:
        """Would an interactive caller be served right now? Takes nothing. False when Redis or the memory cannot be reached."""
        try:
            free = int(await self._ask("slot", channel, plan, "", cost))
            if free < 0:
                seed = await self._seed(channel, plan)
                free = int(await self._ask("slot", channel, plan, seed, cost))
        except Throttled:
            return False
        return free == 1

    async def adopt(
        self,
        channel: ChannelId,
        operation: str,
        *,
        rate: float | None = None,
        burst: float | None = None,
        remaining: float | None = None,
    ) -> None:
        """Take over what an answer told: tokens per second, bucket size, tokens left (the smaller of theirs and ours holds).

        A rate below a hundredth of the plan's is taken for that: hardly a call would be made that could bring a better word.
        """
        told = [
            "" if number is None or not math.isfinite(number) else number
            for number in (rate or None, burst or None, remaining)
        ]
        await self._correct("adopt", channel, operation, *told)

    async def refund(self, channel: ChannelId, operation: str, tokens: float) -> None:
        """Give back tokens of a call that was not made or cost less; a negative number takes what it cost more."""
        if tokens:
            await self._correct("leave", channel, operation, "", tokens)

    async def reckon(
        self,
        hold: Hold,
        back: float,
        *,
        rate: float | None = None,
        burst: float | None = None,
        remaining: float | None = None,
    ) -> None:
        """End a hold with what its answer tells, in one step: as `refund` of `back` and `adopt` of the rest. `remaining` may lack
        what others have got back since the grant, for answers overtake each other. A hold that has ended gives nothing back."""
        told = [
            "" if number is None or not math.isfinite(number) else number
            for number in (rate or None, burst or None, remaining)
        ]
        await self._correct("reckon", hold.channel, hold.operation, hold.ticket, back, *told, hold.mark)

    async def drain(self, channel: ChannelId, operation: str, left: float | None = None) -> None:
        """The platform said 429: no token is left, or no more than the `left` that it told of, whatever we thought; counted."""
        known = left is not None and math.isfinite(left)
        await self._correct("drain", channel, operation, left if known else "")

    async def states(self, plans: Iterable[tuple[ChannelId, Plan]]) -> list[BudgetState]:
        """The buckets as they stand, in the order asked, in one round trip. Raises Throttled without Redis."""
        wanted = list(plans)
        answers = await self._states([(channel, plan, "") for channel, plan in wanted])
        unknown = [place for place, answer in enumerate(answers) if not int(answer[0])]
        if unknown:
            seeds = [await self._seed(*wanted[place]) for place in unknown]
            seeded = await self._states([(*wanted[place], seed) for place, seed in zip(unknown, seeds, strict=True)])
            for place, answer in zip(unknown, seeded, strict=True):
                answers[place] = answer
        return [
            BudgetState(
                channel=channel,
                operation=plan.operation,
                rate=float(rate),
                burst=float(burst),
                remaining=max(0.0, float(tokens)),
                waiting=int(waiting),
                throttled=int(throttled),
            )
            for (channel, plan), (_, rate, burst, tokens, waiting, throttled) in zip(wanted, answers, strict=True)
        ]

    async def purses(self, channel: ChannelId, plans: Iterable[Plan], priority: Priority) -> dict[str, Purse]:
        """What a caller of a class could spend from now on, by operation. All who wait already are taken to be ahead of it.

        Raises Throttled without Redis.
        """
        wanted = {plan.operation: plan for plan in plans}
        states = await self.states([(channel, plan) for plan in wanted.values()])
        return {state.operation: self._purse(state, priority) for state in states}

    def _purse(self, state: BudgetState, priority: Priority) -> Purse:
        share, tokens, seconds = self._margins
        most = max(1.0, state.burst - tokens - seconds * state.rate)
        kept = min(RESERVE[priority] * most, most - 1.0)
        return Purse(state.remaining, state.rate * share, most, kept, state.waiting)

    async def settle(self) -> None:
        """Wait until nothing of cancelled callers is left to be tidied up; before closing the Redis client."""
        await self._errands.settle()

    async def _queue(
        self, channel: ChannelId, plan: Plan, ask: Ask, cost: float, ticket: str, *, held: bool
    ) -> tuple[Verdict, float, float]:
        """Ask until it is granted or refused; the verdict, in how many seconds a refused caller's slot would have come, and the
        mark of a grant."""
        order = 0
        waiting_since: float | None = None
        turn: asyncio.Task[Any] | None = None
        try:
            while True:
                await self._note(channel, plan, ask)
                turn = self._errands.start(
                    self._run(
                        "spend", channel, plan, cost, int(ask.priority), ticket, order, _longest_us(ask), int(held)
                    )
                )
                told, wait, place, *mark = await self._answer(turn)
                number, wait_us, order = int(told), int(wait), int(place)
                verdict = Verdict(number)
                if verdict is Verdict.MISSING:
                    await self._open(channel, plan)
                elif verdict is Verdict.WAIT:
                    waiting_since = waiting_since or time.monotonic()
                    await asyncio.sleep(wait_us / 1e6)
                else:
                    return verdict, wait_us / 1e6, float(mark[0]) if mark else 0.0
        except BaseException:
            if turn is not None:
                self._errands.start(self._give_up(channel, plan.operation, ticket, cost, turn))
            raise
        finally:
            if waiting_since is not None:
                ask.bill.waited_s += time.monotonic() - waiting_since

    # A bucket is opened by its first use in this process, and its use is noted then and every 10 s: both before a grant.

    async def _note(self, channel: ChannelId, plan: Plan, ask: Ask) -> None:
        key = (channel, plan.operation)
        at, noting = self._noted.get(key, (-math.inf, None))
        if noting is None or time.monotonic() - at >= NOTE_EVERY_S:
            noting = self._errands.start(self._use(channel, plan, first=noting is None))
            self._noted[key] = (time.monotonic(), noting)
        in_no_hurry = ask.deadline is None and ask.priority >= Priority.BACKGROUND
        await asyncio.wait({noting}, timeout=self._patience_s * (IN_NO_HURRY if in_no_hurry else 1))
        if not noting.done():
            raise _forgetful(channel, plan, TimeoutError())
        if noting.exception() is not None:
            self._noted.pop(key, None)
            noting.result()

    async def _use(self, channel: ChannelId, plan: Plan, *, first: bool) -> None:
        # Opened before it is noted, or a bucket that was never used would look used just now.
        if first:
            await self._open(channel, plan)
        try:
            await self._memory.note_use(channel, plan.operation)
        except Exception as problem:
            raise _forgetful(channel, plan, problem) from problem

    async def _open(self, channel: ChannelId, plan: Plan) -> None:
        answer = await self._states([(channel, plan, "")])
        if not int(answer[0][0]):
            await self._ask("open", channel, plan, await self._seed(channel, plan))

    async def _seed(self, channel: ChannelId, plan: Plan) -> float:
        """Tokens saved up since the last use, which may have been up to 10 s later than noted; full when never used."""
        try:
            last_use = await self._memory.last_use(channel, plan.operation)
        except Exception as problem:
            raise _forgetful(channel, plan, problem) from problem
        if last_use is None:
            return FULL
        idle_s = (datetime.now(UTC) - last_use).total_seconds() - NOTE_EVERY_S
        return max(0.0, idle_s) * plan.rate * self._margins[0]

    # Talking to Redis. A command that is on its way is never cancelled: redis-py would give its answer to the next command.

    async def _answer(self, task: asyncio.Task[T]) -> T:
        while not task.done():
            await asyncio.wait({task}, timeout=self._patience_s)
            # In a crowd a caller may wait long for its turn to ask; as long as others are answered, Redis is there.
            if not task.done() and time.monotonic() - self._heard_at >= self._patience_s:
                raise _unreachable(TimeoutError())
        try:
            return task.result()
        except (RedisError, OSError) as problem:
            raise _unreachable(problem) from problem

    async def _ask(self, command: str, channel: ChannelId, plan: Plan, *arguments: object) -> Any:
        return await self._answer(self._errands.start(self._run(command, channel, plan, *arguments)))

    async def _run(self, command: str, channel: ChannelId, plan: Plan | str, *arguments: object) -> Any:
        keys, values = self._call(command, channel, plan, *arguments)
        async with self._lines:
            answer = await self._script(keys=keys, args=values)
        self._heard_at = time.monotonic()
        return answer

    async def _states(self, wanted: list[tuple[ChannelId, Plan, float | str]]) -> list[Any]:
        calls = [self._call("state", channel, plan, seed) for channel, plan, seed in wanted]
        return await self._answer(self._errands.start(self._run_all(calls)))

    async def _run_all(self, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        async with self._lines:
            try:
                return await self._pipe(calls)
            except NoScriptError:
                await self._redis.script_load(SCRIPT)
                return await self._pipe(calls)

    async def _pipe(self, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for keys, values in calls:
                pipe.evalsha(self._script.sha, len(keys), *keys, *values)
            answers = await pipe.execute()
        self._heard_at = time.monotonic()
        return answers

    def _call(
        self, command: str, channel: ChannelId, plan: Plan | str, *arguments: object
    ) -> tuple[list[str], list[Any]]:
        operation, rate, burst = (plan, "", "") if isinstance(plan, str) else (plan.operation, plan.rate, plan.burst)
        bucket = f"{self._prefix}:{{{channel}:{operation}}}"
        keys = [bucket, *(f"{bucket}:{part}" for part in ("queue", "due", "held"))]
        return keys, [command, *self._margins, rate, burst, *arguments]

    async def _correct(self, command: str, channel: ChannelId, operation: str, *arguments: object) -> None:
        """A correction after an answer; when Redis cannot take it, the answer is worth more than the correction."""
        try:
            await self._answer(self._errands.start(self._run(command, channel, operation, *arguments)))
        except Throttled as problem:
            log.warning(
                "budget.correction_lost",
                extra={"channel": channel, "operation": operation, "correction": command, "reason": problem.message},
            )

    async def _give_up(
        self, channel: ChannelId, operation: str, ticket: str, cost: float, turn: asyncio.Task[Any]
    ) -> None:
        """Leave the queue, and give back what the last turn was granted after its caller had gone."""
        await asyncio.wait({turn})
        if turn.cancelled() or turn.exception() is not None:
            return  # Redis is away: the ticket expires by itself, and a token that may be lost is on the safe side
        granted = int(turn.result()[0]) == Verdict.GRANTED
        await self._correct("leave", channel, operation, ticket, cost if granted else 0)


def _ticket(cost: float) -> str:
    return f"{cost:.15g}:{uuid4().hex}"


def _longest_us(ask: Ask) -> int:
    """How long the caller can wait, in µs; negative when its deadline has passed."""
    return int(FULL) if ask.deadline is None else math.floor((ask.deadline - time.monotonic()) * 1e6)


def _forgetful(channel: ChannelId, plan: Plan, problem: Exception) -> Throttled:
    if isinstance(problem, TimeoutError):
        words = (
            "PostgreSQL, which records its uses, or Redis answers too slowly (TimeoutError). It is tried again; if that lasts, "
            "look at what they are busy with."
        )
    else:
        words = (
            f"the record of its uses cannot be reached ({type(problem).__name__}). Check that PostgreSQL runs and that its URL "
            "is right."
        )
    return Throttled(f"{plan.operation} of {channel} has to wait: {words}", retry_after_s=1.0)


def _unreachable(problem: Exception) -> Throttled:
    return Throttled(
        f"Redis, which keeps the rate budgets, cannot be reached ({type(problem).__name__}), so no call is made. "
        "Check that it runs and that ACORN_REDIS_URL names it.",
        retry_after_s=1.0,
    )
