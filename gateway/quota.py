"""What a key may spend a minute: points of our processor and calls to platforms, counted by its name over all processes.

A process leases a slice of what is left of the minute (`quota.lua`) and spends it without asking anybody. All processes together
therefore admit no more than the budget, and a key may be refused while other processes hold up to two slices of it each. While
Redis is away each process lets a key spend a part of its budget.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from adapters.errands import Errands
from domain.errors import Exhausted
from gateway import metrics
from gateway.patience import PATIENCE_S, Patience
from resolvers.context import Caller

SCRIPT = (Path(__file__).parent / "quota.lua").read_text(encoding="utf-8")
MINUTE_S = 60
SLICES = 40  # of a budget; a process takes one at a time, and gives back what is beyond two
ALONE_MINUTE = -1  # the minute of a purse that Redis knows nothing of
ALONE = 4  # without Redis each process may spend one of so many parts
MOST = 10_000  # names in memory


@dataclass(frozen=True)
class Budget:
    """What may be spent a minute; 0 is no limit."""

    points: int
    calls: int

    def head_lines(self, points: float, calls: float, seconds: float) -> str:
        """What HTTP tells of it, with so much left (draft-ietf-httpapi-ratelimit-headers-10)."""
        reset = int(seconds) + 1
        if self.points and self.calls:  # as nearly always
            return f'{self._policy}"points";r={int(points)};t={reset}, "calls";r={int(calls)};t={reset}\r\n'
        if not self.points and not self.calls:
            return ""
        unit, rest = ("points", points) if self.points else ("calls", calls)
        return f'{self._policy}"{unit}";r={int(rest)};t={reset}\r\n'

    @cached_property
    def _policy(self) -> str:
        """The lines up to what is left."""
        units = (("points", self.points), ("calls", self.calls))
        policy = ", ".join([f'"{unit}";q={limit};w={MINUTE_S}' for unit, limit in units if limit])
        return f"ratelimit-policy: {policy}\r\nratelimit: "

    @cached_property
    def most(self) -> tuple[float, float]:
        """(points, calls) a minute, infinite where there is no limit."""
        return self.points or math.inf, self.calls or math.inf

    @cached_property
    def slices(self) -> tuple[int, int]:
        """(points, calls) that a process takes at a time."""
        return -(-self.points // SLICES), -(-self.calls // SLICES)


@dataclass(eq=False, slots=True)
class Purse:
    """What this process may still spend of one minute of a name. `until` is a reading of the monotonic clock.

    `points` and `calls` are infinite where there is no limit, and below zero after runs that took more than was known;
    `others_points` and `others_calls` are what Redis had left for everybody at its last word.
    """

    caller: Caller
    budget: Budget
    minute: int
    until: float
    points: float
    calls: float
    others_points: int
    others_calls: int
    alone: bool = False

    @classmethod
    def empty(cls, caller: Caller, budget: Budget, minute: int, until: float) -> Purse:
        """A purse for a minute that has just begun here."""
        points, calls = (0 if limit else math.inf for limit in (budget.points, budget.calls))
        return cls(caller, budget, minute, until, points, calls, budget.points, budget.calls)

    @property
    def tight(self) -> bool:
        """Whether less than half of the minute's points are left, as far as this process knows; of its own part when alone."""
        if self.alone:
            return 2 * ALONE * self.points < self.budget.points
        return 2 * (self.points + self.others_points) < self.budget.points

    @property
    def head_lines(self) -> str:
        """The same as `Quotas.headers`, as they are sent."""
        return self.budget.head_lines(*self.left)

    @property
    def left(self) -> tuple[float, float, float]:
        """(points, calls, seconds to the next minute), as far as this process knows; never more than the budget."""
        most_points, most_calls = self.budget.most
        points, calls = self.points + self.others_points, self.calls + self.others_calls
        if not 0 <= points <= most_points:
            points = max(0, min(points, most_points))
        if not 0 <= calls <= most_calls:
            calls = max(0, min(calls, most_calls))
        return points, calls, self.until - time.monotonic()

    def change_hands(self, caller: Caller, budget: Budget) -> None:
        """From now on it is that key's, which has the same name."""
        if budget != self.budget:
            self.points = math.inf if not budget.points else 0 if math.isinf(self.points) else self.points
            self.calls = math.inf if not budget.calls else 0 if math.isinf(self.calls) else self.calls
        self.caller, self.budget = caller, budget

    def spend(self, points: int, calls: int) -> bool:
        """Take it; False, and nothing taken, where there is not enough."""
        if (points and points > self.points) or (calls and calls > self.calls):
            return False
        self.points -= points
        self.calls -= calls
        return True


@dataclass(eq=False, slots=True)
class _Account:
    """One name: its purse, the lock under which it is filled, and what is on its way to the other processes."""

    purse: Purse | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    giving: asyncio.Task[Any] | None = None


class Quotas:
    """The budgets of all keys. `usual` is that of keys without one of their own."""

    def __init__(self, redis: Redis, usual: Budget) -> None:
        self._usual = usual
        self._script = redis.register_script(SCRIPT)
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._errands = Errands()
        self._patience = Patience()

    def spend(self, caller: Caller, points: int, calls: int = 0) -> Purse | None:
        """Take it from what this process holds, and answer from where; None where `take` has to ask for more."""
        purse = self._purse(caller)
        return purse if purse is not None and purse.spend(points, calls) else None

    async def take(self, caller: Caller, points: int, calls: int = 0) -> Purse:
        """The same, whoever has to be asked. Raises Exhausted, and then nothing was taken."""
        account = self._account(caller.name)
        async with account.lock:
            purse = self._of_now(account, caller)
            if purse is None or not purse.spend(points, calls):
                if account.giving is not None:
                    await asyncio.wait({account.giving}, timeout=PATIENCE_S)
                purse = await self._filled(account, caller, points, calls)
            return purse

    def give_back(self, purse: Purse, points: int, calls: int) -> None:
        """What was taken and not needed; below zero what was needed beyond it. Of a minute that is over it is forgotten."""
        purse.points += points
        purse.calls += calls
        for_points, for_calls = purse.budget.slices
        spare_points = _spare(purse.points, for_points) if points else 0
        spare_calls = _spare(purse.calls, for_calls) if calls else 0
        if (spare_points or spare_calls) and purse.minute != ALONE_MINUTE:
            purse.points -= spare_points
            purse.calls -= spare_calls
            purse.others_points += spare_points
            purse.others_calls += spare_calls
            name = purse.caller.name
            giving = self._errands.start(self._asked(name, "give", purse.minute, spare_points, spare_calls))
            self._account(name).giving = giving

    def budget(self, caller: Caller) -> Budget:
        """What the caller may spend a minute."""
        points, calls = caller.points_per_minute, caller.calls_per_minute
        return Budget(
            self._usual.points if points is None else points,
            self._usual.calls if calls is None else calls,
        )

    def left(self, caller: Caller) -> tuple[float, float, float]:
        """(points, calls, seconds to the next minute), as far as this process knows."""
        purse = self._purse(caller)
        if purse is None:
            budget = self.budget(caller)
            return *budget.most, MINUTE_S - time.time() % MINUTE_S
        return purse.left

    def headers(self, caller: Caller) -> Mapping[str, str]:
        """What HTTP tells the client of its budget; nothing where there is none."""
        lines = self.budget(caller).head_lines(*self.left(caller)).splitlines()
        return dict(line.split(": ", 1) for line in lines)

    async def settle(self) -> None:
        """Wait until nothing is under way; before closing the Redis client."""
        await self._errands.settle()

    def _purse(self, caller: Caller) -> Purse | None:
        """The purse of this minute, if it was filled for the same key."""
        account = self._accounts.get(caller.name)
        if account is None or (purse := account.purse) is None or purse.caller is not caller:
            return None
        return purse if purse.until > time.monotonic() else None

    def _account(self, name: str) -> _Account:
        account = self._accounts.setdefault(name, _Account())
        self._accounts.move_to_end(name)
        if len(self._accounts) > MOST:
            self._accounts.popitem(last=False)
        return account

    def _of_now(self, account: _Account, caller: Caller) -> Purse | None:
        """The purse of this minute, and from now on the caller's: keys of one name share it."""
        purse = account.purse
        if purse is None or purse.until <= time.monotonic():
            return None
        if purse.caller is not caller:
            purse.change_hands(caller, self.budget(caller))
        return purse

    async def _filled(self, account: _Account, caller: Caller, points: int, calls: int) -> Purse:
        """Ask for what is missing, and take it. Raises Exhausted."""
        budget, purse = self.budget(caller), self._of_now(account, caller)
        if not budget.points and not budget.calls:
            account.purse = Purse.empty(caller, budget, 0, time.monotonic() + MINUTE_S)
            return account.purse
        held = (0.0, 0.0) if purse is None else (purse.points, purse.calls)
        at_once = budget.slices
        needs = [
            math.ceil(want - have) if want and want > have else 0
            for want, have in zip((points, calls), held, strict=True)
        ]
        began = time.monotonic()
        answer = await self._asked(
            caller.name, "take", needs[0], at_once[0], budget.points, needs[1], at_once[1], budget.calls
        )
        if answer is None:
            return self._alone(account, caller, budget, points, calls)
        minute, left_ms, more_points, more_calls, others_points, others_calls = (int(one) for one in answer)
        if purse is None or purse.minute != minute:
            alone = purse is not None and purse.alone
            purse = Purse.empty(caller, budget, minute, 0.0)
            purse.alone = alone
        account.purse = purse
        purse.until = began + left_ms / 1000
        purse.others_points, purse.others_calls = others_points, others_calls
        purse.points += max(0, more_points)
        purse.calls += max(0, more_calls)
        if purse.spend(points, calls):
            metrics.KEY_LEASES.labels("granted").inc()
            return purse
        if more_points < 0:
            raise self._exhausted(purse, points, calls)
        # The minute went over while Redis was asked: what was held before is of the last one.
        return await self._filled(account, caller, points, calls)

    def _alone(self, account: _Account, caller: Caller, budget: Budget, points: int, calls: int) -> Purse:
        """Without Redis: a part of the budget, once a minute."""
        metrics.KEY_LEASES.labels("alone").inc()
        purse = self._of_now(account, caller)
        if purse is None:
            until = time.monotonic() + MINUTE_S - time.time() % MINUTE_S
            purse = account.purse = Purse.empty(caller, budget, ALONE_MINUTE, until)
            purse.others_points = purse.others_calls = 0
        if not purse.alone:
            purse.alone = True
            purse.points += -(-budget.points // ALONE)
            purse.calls += -(-budget.calls // ALONE)
        if not purse.spend(points, calls):
            raise self._exhausted(purse, points, calls)
        return purse

    def _exhausted(self, purse: Purse, points: int, calls: int) -> Exhausted:
        points_left, calls_left = purse.points + purse.others_points, purse.calls + purse.others_calls
        unit, wanted, left, limit = "points", points, points_left, purse.budget.points
        if not points or points <= points_left:
            unit, wanted, left, limit = "calls", calls, calls_left, purse.budget.calls
        metrics.KEY_REFUSED.labels(unit).inc()
        retry_after_s = max(0.0, purse.until - time.monotonic()) if wanted <= limit else None
        return Exhausted(unit, cost=wanted, left=max(0, int(left)), limit=limit, retry_after_s=retry_after_s)

    async def _asked(self, name: str, *arguments: int | str) -> Any:
        """What the script says; None while Redis does not answer. A caller that leaves leaves nothing half done."""

        def ask() -> Awaitable[Any]:
            return asyncio.shield(self._errands.start(self._script(keys=[f"acorn:spent:{name}"], args=list(arguments))))

        return await self._patience.wait(ask)


def _spare(held: float, at_once: int) -> int:
    """What a purse holds beyond a slice, once that is more than two."""
    return int(held) - at_once if 2 * at_once < held < math.inf else 0
