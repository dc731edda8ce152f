"""Which of several upstream routes answers soonest, and what each would cost. Pure arithmetic over rate budgets.

A route is a row of steps that follow each other. What it costs is the seconds until its last answer is there, under the budgets
as they stand, then its calls; of equals the one whose way stands first in `Way`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from domain.budget import Plan, Purse


class Way(Enum):
    """Kinds of routes, in the order in which equals are taken."""

    BATCH = "batch"
    SINGLE = "single"
    PAGES = "pages"
    REPORT = "report"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Step:
    """`calls` calls of one upstream operation, `abreast` of them at a time, each for `tokens` of `plan`.

    An answer takes `call_s`; after the last one the platform works `then_s` for itself. What is not `made` is a limit that the
    platform counts without a call of its own.
    """

    plan: Plan
    calls: int
    tokens: float = 1.0
    call_s: float = 0.0
    then_s: float = 0.0
    abreast: int = 1
    made: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """One way to the answers. `whole`: it tells also of what we do not know yet. Its answers are `age_s` old when they come, and
    it breaks off where two of its calls lie further apart than `longest_pause_s`."""

    way: Way
    steps: tuple[Step, ...]
    whole: bool = False
    age_s: float = 0.0
    longest_pause_s: float = math.inf

    @property
    def calls(self) -> int:
        """Upstream calls."""
        return sum(step.calls for step in self.steps if step.made)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the answers must be: of all there is (`whole`), there `within_s`, no older than `max_age_s`."""

    whole: bool = False
    within_s: float = math.inf
    max_age_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Cost:
    """What a route would cost now, and why it was not taken; "" for the one that was."""

    route: Route
    seconds: float
    lost: str = ""

    @property
    def calls(self) -> int:
        """Upstream calls."""
        return self.route.calls


@dataclass(frozen=True, slots=True)
class Choice:
    """The route to take, and the others, cheapest first. `in_time` says whether it is there within the time that was wished,
    `because` why it was taken where it was not for being the cheapest."""

    taken: Cost
    others: tuple[Cost, ...]
    in_time: bool = True
    because: str = ""

    @property
    def reason(self) -> str:
        """Why this one, in a sentence."""
        if self.because:
            return self.because
        if not self.in_time:
            return "None is there in time; this one is the soonest."
        return "No other is there sooner, nor as soon with fewer calls." if self.others else "It is the only one."


def choose(routes: Sequence[Route], purses: Mapping[str, Purse], wish: Wish = Wish()) -> Choice:
    """The cheapest route that can do what is wished; of those that are merely too late the soonest, where no other is left.

    `purses` are what may be spent, by operation; a route without calls costs nothing. Raises ValueError where no route can do it.
    """
    costs = sorted((Cost(one, seconds(one, purses)) for one in routes), key=_order)
    barred = {cost.route: why for cost in costs if (why := _barred(cost, purses, wish))}
    able = [cost for cost in costs if cost.route not in barred]
    late = {cost.route for cost in able if cost.seconds > wish.within_s}
    if not able:
        raise ValueError("No route can do what is wished: " + "; ".join(barred.values()))
    taken = next((cost for cost in able if cost.route not in late), able[0])
    others = [
        Cost(cost.route, cost.seconds, barred.get(cost.route) or _lost(cost, taken, wish, cost.route in late))
        for cost in costs
        if cost is not taken
    ]
    return Choice(taken, tuple(others), in_time=taken.route not in late)


def first_in_time(routes: Sequence[Route], purses: Mapping[str, Purse], within_s: float) -> Choice:
    """The first of `routes` that is there within the time, though others may be sooner; where none is, the soonest of those that
    tell also of what we do not know yet.

    For routes of which the earlier ones tell more. Raises ValueError without a whole route.
    """
    costs = [Cost(one, seconds(one, purses)) for one in routes]
    soonest = min((cost for cost in costs if cost.route.whole), key=_order)
    taken = next((cost for cost in costs if cost.seconds <= within_s), soonest)
    others = [
        Cost(cost.route, cost.seconds, _passed_over(cost, taken, within_s)) for cost in costs if cost is not taken
    ]
    reason = "It keeps the target and tells the most." if taken.seconds <= within_s else ""
    return Choice(taken, tuple(others), in_time=taken.seconds <= within_s, because=reason if others else "")


def _passed_over(cost: Cost, taken: Cost, within_s: float) -> str:
    if cost.seconds > within_s:
        return f"it is there after {_s(cost.seconds)}, and the target is {_s(within_s)}"
    return f"it tells less; {cost.calls:,} calls against {taken.calls:,}"


def seconds(route: Route, purses: Mapping[str, Purse]) -> float:
    """Seconds from now until the last answer is there; infinite where a budget gives nothing."""
    at, spent = 0.0, {operation: _Account(purse) for operation, purse in purses.items()}
    for step in route.steps:
        if step.calls and math.isfinite(at):
            at = spent[step.plan.operation].run(step, at)
    return at


def calls_within(step: Step, purses: Mapping[str, Purse], within_s: float) -> int:
    """How many calls of a step, at most all of them, are over in so many seconds from now."""

    def over_s(calls: int) -> float:
        return seconds(Route(Way.SINGLE, (replace(step, calls=calls),)), purses)

    return bisect_right(range(step.calls + 1), within_s, key=over_s) - 1


@dataclass(slots=True)
class _Account:
    """A purse as a route empties it: what it holds at an instant of the route."""

    purse: Purse
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.purse.tokens

    def run(self, step: Step, at: float) -> float:
        """When the step that begins at `at` is over."""
        self._refill(at)
        ahead = self.purse.ahead * step.tokens
        first_at = at + self._wait(ahead + step.tokens)
        # Bound by the budget, or by the time that answers take.
        paced_at = first_at + (math.ceil(step.calls / step.abreast) - 1) * step.call_s
        last_at = max(paced_at, at + self._wait(ahead + step.calls * step.tokens))
        if math.isfinite(last_at):
            self._refill(last_at)
            self.tokens -= step.calls * step.tokens
        return last_at + step.call_s + step.then_s

    def _refill(self, at: float) -> None:
        # What lies beyond the most that is kept was there before, and is not taken away again.
        self.tokens = max(self.tokens, min(self.purse.most, self.tokens + (at - self.at) * self.purse.rate))
        self.at = at

    def _wait(self, tokens: float) -> float:
        missing = tokens + self.purse.kept - self.tokens
        if missing <= 1e-9:
            return 0.0
        return missing / self.purse.rate if self.purse.rate > 0 else math.inf


def _order(cost: Cost) -> tuple[float, int, int]:
    return cost.seconds, cost.calls, list(Way).index(cost.route.way)


def _barred(cost: Cost, purses: Mapping[str, Purse], wish: Wish) -> str:
    """Why the route cannot do what is wished, whatever it costs; "" where it can."""
    route = cost.route
    if wish.whole and not route.whole:
        return "it finds only what is known already"
    if route.age_s > wish.max_age_s:
        return f"its answers would be {_s(route.age_s)} old when they come, {_s(wish.max_age_s)} are wished"
    pause_s = max((_pause(step, purses) for step in route.steps if step.calls > 1), default=0.0)
    if pause_s > route.longest_pause_s:
        return f"its calls would lie {_s(pause_s)} apart, and it breaks off after {_s(route.longest_pause_s)}"
    return ""


def _pause(step: Step, purses: Mapping[str, Purse]) -> float:
    """Seconds between two calls of a step, once the bucket's savings are spent."""
    rate = purses[step.plan.operation].rate
    return max(step.call_s, step.tokens / rate if rate > 0 else math.inf)


def _lost(cost: Cost, taken: Cost, wish: Wish, late: bool) -> str:
    if late and taken.seconds <= wish.within_s:
        return f"it is there after {_s(cost.seconds)}, and {_s(wish.within_s)} are left"
    if cost.seconds > taken.seconds:
        return f"slower: {_s(cost.seconds)} against {_s(taken.seconds)}"
    if cost.calls > taken.calls:
        return f"no sooner, and {cost.calls:,} calls against {taken.calls:,}"
    return "neither sooner nor cheaper"


def _s(number: float) -> str:
    return "for ever" if math.isinf(number) else f"{number:,.1f} s"
