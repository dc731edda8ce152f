"""What one admitted operation pays: its points when it is admitted, and its calls before the first of them is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from domain.budget import Bill
from domain.errors import Exhausted
from gateway import metrics
from gateway.quota import Purse, Quotas
from resolvers.context import Caller
from resolvers.forecast import Forecast
from resolvers.live import Due

Rehearse: TypeAlias = Callable[[], Awaitable[Forecast]]


class Charge(Struct, eq=False):
    """`points` were taken out of `purse`; `calls` are all that were predicted, each time taken out of the purse of that minute
    before the first was made.

    `refusal` is why calls could not be paid for, and then none was made. With `explain` nothing is taken, and nothing run.
    """

    quotas: Quotas
    caller: Caller
    points: int
    purse: Purse | None = None
    explain: bool = False
    calls: int = 0
    refusal: Exhausted | None = None
    _paying: asyncio.Lock | None = None
    _paid: bool = False
    _payments: list[tuple[Purse, int]] = []  # calls that are not settled, the oldest first
    _made: int = 0  # calls that are settled

    @property
    def tight(self) -> bool:
        """Whether less than half of the budget is left, so that what was not used is worth being counted."""
        return self.purse is not None and self.purse.tight

    @property
    def counts_calls(self) -> bool:
        """Whether there is a budget of calls."""
        return self.purse is not None and self.purse.budget.calls > 0

    async def once(self, rehearse: Rehearse) -> bool:
        """Before calls of a query: all that it will make are paid for together. Raises Exhausted."""
        self._paying = self._paying or asyncio.Lock()
        async with self._paying:
            if not self._paid:
                await self._pay(await rehearse())
                self._paid = True
        if self.refusal is not None:
            raise self.refusal
        return True

    async def each(self, forecast: Forecast, dues: Sequence[Due]) -> bool:
        """Before calls of what cannot be rehearsed, each time. Raises Exhausted."""
        await forecast(dues)
        await self._pay(forecast)
        if self.refusal is not None:
            raise self.refusal
        return True

    async def _pay(self, forecast: Forecast) -> None:
        """Take what is predicted, or keep why it cannot be had."""
        expected = sum(one.calls for one in await forecast.expected())
        quotas, caller = self.quotas, self.caller
        try:
            purse = quotas.spend(caller, 0, expected) or await quotas.take(caller, 0, expected)
        except Exhausted as problem:
            self.refusal = problem
            return
        self._payments.append((purse, expected))
        self.calls += expected
        self.refusal = None

    def settle(self, points: int, bill: Bill) -> None:
        """Give back what was not used of what was taken; what was used beyond it is taken now."""
        if self.purse is not None and points != self.points:
            self.quotas.give_back(self.purse, self.points - points, 0)
        self.settle_calls(bill)

    def settle_calls(self, bill: Bill, *, leaving: bool = False) -> None:
        """The same of calls that were paid for since the last time: each purse gets back no more than was taken out of it.

        Of a caller who is `leaving` calls may be under way that are on no bill yet: nothing is given back.
        """
        if not self._payments:
            return
        total = calls_of(bill)
        made, self._made = total - self._made, total
        metrics.FORECASTS.labels("predicted").inc(sum(calls for _, calls in self._payments))
        metrics.FORECASTS.labels("made").inc(made)
        for purse, calls in self._payments:
            used = min(made, calls)
            made -= used
            if used < calls and not leaving:
                self.quotas.give_back(purse, 0, calls - used)
        if made:
            self.quotas.give_back(self._payments[-1][0], 0, -made)
        self._payments.clear()


def calls_of(bill: Bill) -> int:
    """Upstream calls on a bill."""
    if not bill.lines:
        return 0
    return sum(line.calls for line in bill.lines.values())
