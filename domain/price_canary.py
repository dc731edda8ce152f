"""Canaries: a change of prices that reaches far is tried on a few listings first. Data, and pure functions over it.

A change reaches far where it moves more than a share of a channel's listings by more than a step. Then a sample goes first, is
watched, and decides about the rest.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from domain.errors import Invalid
from domain.ids import ChannelId, OperationId, Sku
from domain.price import Price

BUCKETS = (5, 20, 50)
"""By these steps, in percent, the rows of a sample are told apart."""


@dataclass(frozen=True, slots=True)
class Radius:
    """How far a change may reach at once, and how its canary is chosen and judged. Shares and steps are percent.

    A change that moves at least `rows` listings of a channel, and more than `share` of them, by more than `step` sends a canary
    first: `canary_share` of its rows, at most `most`. It is watched for `watch`. It is bad when more than `lost_share` of it
    failed or was not seen live by then, when more than `issue_share` of it has an issue it had not before, or when a SKU of it,
    or all together, sold at least `sold_units` and more than `sold_factor` times what they usually sell in that time.
    With a `share` of 100 nothing ever reaches far.
    """

    share: Decimal = Decimal(5)
    rows: int = 50
    step: Decimal = Decimal(20)
    canary_share: Decimal = Decimal(5)
    most: int = 100
    watch: timedelta = timedelta(minutes=30)
    lost_share: Decimal = Decimal(10)
    issue_share: Decimal = Decimal(5)
    sold_factor: Decimal = Decimal(5)
    sold_units: int = 5

    def __post_init__(self) -> None:
        for name in ("share", "canary_share", "lost_share", "issue_share"):
            if not 0 <= getattr(self, name) <= 100:
                raise Invalid(f"{_camel(name)} is a share from 0 to 100 %.", field=("radius", _camel(name)))
        for name in ("rows", "most", "sold_units"):
            if getattr(self, name) < 1:
                raise Invalid(f"{_camel(name)} is 1 or more.", field=("radius", _camel(name)))
        for name in ("step", "sold_factor"):
            if getattr(self, name) < 0:
                raise Invalid(f"{_camel(name)} is 0 or more.", field=("radius", _camel(name)))
        if not timedelta(0) < self.watch <= timedelta(days=1):
            raise Invalid("watch is more than nothing and at most a day.", field=("radius", "watch"))

    def told(self) -> dict[str, object]:
        """As JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value.total_seconds()
            if isinstance(value, timedelta)
            else value
            if isinstance(value, int)
            else str(value)
            for name, value in values.items()
        }


def read_radius(told: Mapping[str, Any]) -> Radius:
    """The same again; what is left out is as by default. Raises Invalid."""
    unknown = set(told) - {one.name for one in fields(Radius)}
    if unknown:
        raise Invalid(f"A radius knows no {', '.join(sorted(unknown))}.", field=("radius",))
    values: dict[str, Any] = {}
    for name, value in told.items():
        if name == "watch":
            values[name] = timedelta(seconds=float(value))
        else:
            values[name] = int(value) if name in ("rows", "most", "sold_units") else Decimal(str(value))
    return Radius(**values)


@dataclass(frozen=True, slots=True)
class Move:
    """One row of a change: `item` carries it, `before` is what the listing was wanted or seen to be sold for, None if nobody
    knows."""

    item: int
    channel: ChannelId
    marketplace: str | None
    listing: str
    before: Price | None
    after: Price

    @property
    def step(self) -> Fraction | None:
        """By how many percent buyers pay more or less, at the most, now or later; below 0 for less. None if nobody knows."""
        if self.before is None or self.before.regular.currency != self.after.regular.currency:
            return None
        pairs = (
            (self.before.regular, self.after.regular),
            (self.before.lowest, self.after.lowest),
        )
        steps = [100 * (Fraction(now.amount) / Fraction(was.amount) - 1) for was, now in pairs if was.amount > 0]
        return max(steps, key=abs) if steps else None


def moved(radius: Radius, moves: Sequence[Move]) -> Counter[ChannelId]:
    """How many listings of each channel move by more than the step; one of which nobody knows what it is moved from does."""
    return Counter(one.channel for one in moves if (step := one.step) is None or abs(step) > radius.step)


def reaches_far(
    radius: Radius, moved: Mapping[ChannelId, int], before: Mapping[ChannelId, int], listed: Mapping[ChannelId, int]
) -> bool:
    """Does a change move so much of a channel that a canary is to go first? It counts with those that moved `before`, so that
    many small changes are no way around. `listed` are the listings of each channel that can be bought."""
    counts = {channel: count + before.get(channel, 0) for channel, count in moved.items()}
    return any(
        count >= radius.rows and count * 100 > Fraction(radius.share) * max(listed.get(channel, 0), count)
        for channel, count in counts.items()
    )


def sample(radius: Radius, moves: Sequence[Move], seed: str) -> set[int]:
    """The items that go first: at most the canary's share of all rows, and `most`, but one at least. The same for equal `moves`,
    in any order, and `seed`.

    Each channel, marketplace and size of step gives its share, so that no corner of the change goes untried that a sample of
    this size can try.
    """
    size = min(radius.most, max(1, int(Fraction(radius.canary_share) * len(moves) / 100)))
    strata: defaultdict[tuple[str, ...], list[Move]] = defaultdict(list)
    for one in moves:
        strata[_stratum(one)].append(one)
    queues = [sorted(rows, key=lambda one: _lot(seed, one.listing)) for _, rows in sorted(strata.items())]
    # Whoever is furthest behind its share is next; of equals, the larger. So each has its share at any length.
    drawn = [0] * len(queues)
    chosen: set[int] = set()
    for _ in range(min(size, len(moves))):
        left = [n for n, queue in enumerate(queues) if drawn[n] < len(queue)]
        number = min(left, key=lambda n: (Fraction(drawn[n], len(queues[n])), -len(queues[n]), n))
        chosen.add(queues[number][drawn[number]].item)
        drawn[number] += 1
    return chosen


def _stratum(move: Move) -> tuple[str, ...]:
    step = move.step
    size = "" if step is None else f"{'-' if step < 0 else '+'}{sum(abs(step) > edge for edge in BUCKETS)}"
    return move.channel, move.marketplace or "", size


def _lot(seed: str, listing: str) -> bytes:
    return hashlib.sha256(f"{seed}/{listing}".encode()).digest()


class CanaryState(Enum):
    """Where a canary stands. HALTED ended it by itself; RELEASED and CANCELLED are what a person decided meanwhile, CANCELLED is
    also what was overtaken before it could be tried, or never answered."""

    WATCHING = "WATCHING"
    PASSED = "PASSED"
    HALTED = "HALTED"
    RELEASED = "RELEASED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Canary:
    """The rows of an operation that went first, `items` of `total`, and what became of them. `issues` are the codes of what was
    wrong with their listings before; `until` is when it has been watched for long enough, `reasons` say why it ended."""

    operation: OperationId
    state: CanaryState
    radius: Radius
    items: tuple[int, ...]
    total: int
    issues: Mapping[str, Sequence[str]]
    began_at: datetime
    until: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sold:
    """Units of a SKU sold at the canary's channels since it went out, and how many usually are in that time."""

    sku: Sku
    units: int
    usual: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What is seen of a canary. Of its `rows`, `lost` failed or are parked, `unseen` are still on their way, and to `unanswered`
    nobody ever said a word: they prove nothing. `issues` are listings with an issue that they had not before. `over`: its time is
    over, and all of it has been sent for long enough."""

    rows: int
    lost: int = 0
    unanswered: int = 0
    unseen: int = 0
    issues: Sequence[str] = ()
    sold: Sequence[Sold] = field(default=())
    over: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of it, and why, in words for people."""

    state: CanaryState
    reasons: tuple[str, ...] = ()


def verdict(radius: Radius, seen: Signals) -> Verdict:
    """HALTED at the first bad sign; PASSED when its time is over without one; WATCHING until then. CANCELLED where nothing of it
    is left to be watched, or all of it has ended without an answer."""
    if not seen.rows:
        return Verdict(
            CanaryState.CANCELLED, ("Something newer has overtaken all that went first: the rest is untried.",)
        )
    reasons = (*_lost(radius, seen), *_issues(radius, seen), *_sold(radius, seen))
    if reasons:
        return Verdict(CanaryState.HALTED, reasons)
    if seen.unanswered == seen.rows:
        return Verdict(
            CanaryState.CANCELLED, ("The channel answered for nothing that went first: the rest is untried.",)
        )
    return Verdict(CanaryState.PASSED if seen.over else CanaryState.WATCHING)


def _lost(radius: Radius, seen: Signals) -> list[str]:
    # What is on its way is lost only when there was time enough for it to be seen.
    lost = seen.lost + (seen.unseen if seen.over else 0)
    tried = seen.rows - seen.unanswered
    if lost * 100 <= Fraction(radius.lost_share) * tried:
        return []
    late = f", {seen.unseen} of them not seen live in time" if seen.over and seen.unseen else ""
    return [f"{lost} of {tried} prices did not come about{late}; at most {radius.lost_share:f} % may."]


def _issues(radius: Radius, seen: Signals) -> list[str]:
    if len(seen.issues) * 100 <= Fraction(radius.issue_share) * seen.rows:
        return []
    named = ", ".join(sorted(seen.issues)[:3])
    return [f"{len(seen.issues)} of {seen.rows} listings have issues that they had not before: {named}."]


def _sold(radius: Radius, seen: Signals) -> list[str]:
    together = Sold(Sku("all together"), sum(one.units for one in seen.sold), sum(one.usual for one in seen.sold))
    boom = [one for one in (*seen.sold, together) if _boom(radius, one)]
    most = f"at most {radius.sold_factor:f} times that is usual."
    return [f"{one.sku}: {one.units} sold since, usually {one.usual:.2f} in that time; {most}" for one in boom[:3]]


def _boom(radius: Radius, one: Sold) -> bool:
    return one.units >= radius.sold_units and one.units > float(radius.sold_factor) * one.usual


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
