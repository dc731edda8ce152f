"""Which path brings the changes of orders in: the one that tells most, of those that keep the freshness target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.budget import Purse
from domain.route import Choice, Route, first_in_time

# How many times its interval a cursor may be old while orders are read alone, as notifications name them. Notifications may be
# lost: after that only a way will do that tells all there is.
MOST_LAGS = 4
# What a run may take, however little it covers: one page of searchOrders is granted in three minutes.
SHORTEST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Expected:
    """How many orders have changed within the `span` that a run has to cover: `before` changed in the `over` that lie before it,
    and notifications name `hinted` since, of which `waiting` were not read yet."""

    span: timedelta
    over: timedelta
    before: int
    hinted: int = 0
    waiting: int = 0

    @property
    def changes(self) -> int:
        """By the rate of the last hours, and no fewer than were named."""
        return max(math.ceil(self.before * (self.span / self.over)), self.hinted)


def choose_path(routes: Sequence[Route], purses: Mapping[str, Purse], expected: Expected, every: timedelta) -> Choice:
    """The first of `routes` (those that tell more come first) that ends before the next run is due, which is the target: no order
    is known later than `every` after it could be. A run that covers less than that, as in a flood, has no longer than what it
    covers, or it would fall behind.

    Where none does, single reads of what is named will do for a while; else it is the soonest that tells all. Raises ValueError
    without a route that tells all.
    """
    patient = expected.waiting and expected.span <= MOST_LAGS * every
    able = [one for one in routes if one.whole or patient]
    within = min(every, max(expected.span, SHORTEST))
    return first_in_time(able, purses, within.total_seconds())
