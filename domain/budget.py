"""Words of the rate budgets: who asks, how urgently, and until when. The arithmetic itself runs in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

from domain.ids import ChannelId


class Priority(IntEnum):
    """Classes of callers, served in this order; a share of each bucket stays free for the higher ones."""

    INTERACTIVE = 0
    URGENT = 1  # a write that has a deadline
    WRITE = 2
    HINT = 3
    BACKGROUND = 4
    BACKFILL = 5  # what nobody waits for


@dataclass(frozen=True, slots=True)
class Plan:
    """A platform's published limit of one operation: tokens per second, and how many may be saved up."""

    operation: str
    rate: float
    burst: float


@dataclass(slots=True)
class BillLine:
    """What one upstream operation of one channel cost one request."""

    calls: int = 0
    tokens: float = 0.0
    coalesced: int = 0


@dataclass(slots=True)
class Bill:
    """What a request cost upstream. A call that several requests shared is charged to the one that started it."""

    lines: dict[tuple[ChannelId, str], BillLine] = field(default_factory=dict)
    waited_s: float = 0.0

    def line(self, channel: ChannelId, operation: str) -> BillLine:
        """The line of (channel, operation), made when missing."""
        return self.lines.setdefault((channel, operation), BillLine())

    def share(self, other: Bill) -> None:
        """What `other` was charged for gave the answer to this request as well."""
        for (channel, operation), line in other.lines.items():
            self.line(channel, operation).coalesced += line.calls + line.coalesced


# What is about to be asked -> whether to.
Toll: TypeAlias = Callable[[Sequence[Any]], Awaitable[bool]]


@dataclass(slots=True)
class Ask:
    """How one upstream call is asked for: its class, its deadline and the bill it goes on.

    `deadline` is a reading of `time.monotonic()`; a slot that would come later is refused at once with `Throttled`.
    `before_calls` is told what a request is about to ask of platforms; it answers whether to, and may raise. `about` is what the
    calls are about, as `domain.exchange` words it, where whoever asks knows.
    """

    priority: Priority = Priority.INTERACTIVE
    deadline: float | None = None
    bill: Bill = field(default_factory=Bill)
    before_calls: Toll | None = None
    about: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One bucket as it stands: tokens left now, callers waiting, and how often the platform said 429."""

    channel: ChannelId
    operation: str
    rate: float
    burst: float
    remaining: float
    waiting: int
    throttled: int


@dataclass(frozen=True, slots=True)
class Purse:
    """What callers of one class can spend of a bucket: it holds `tokens` and gains `rate` a second, up to `most`; `kept` of them
    stay for the classes above, and `ahead` callers are served before."""

    tokens: float
    rate: float
    most: float
    kept: float = 0.0
    ahead: int = 0
