"""What of a settlement is not tied out: why, since when, and what to do about it; and what people tie by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from domain.errors import Conflict, Invalid, NotFound
from domain.ids import ChannelId, LineId, OrderId, Sku, node_id
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, MoneyLine, day_of
from domain.money_match import RULES
from domain.order import Order, OrderLine

PERSON = "PERSON"
"""The rule by which a line is tied that a person has tied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLine(MoneyLine):
    """A line as it is kept: known since `known_at`; not standing any more since `replaced_at`, because of `replaced_why`."""

    id: int
    known_at: datetime
    replaced_at: datetime | None
    replaced_why: str | None

    @property
    def told(self) -> MoneyLine:
        """What it says, apart from how it is kept."""
        return MoneyLine(**{one.name: getattr(self, one.name) for one in fields(MoneyLine)})


class Band(Enum):
    """How long something has been open."""

    WEEK = "WEEK"
    MONTH = "MONTH"
    QUARTER = "QUARTER"
    OLDER = "OLDER"


BANDS: tuple[tuple[timedelta, Band], ...] = (
    (timedelta(days=7), Band.WEEK),
    (timedelta(days=30), Band.MONTH),
    (timedelta(days=90), Band.QUARTER),
)
"""What is younger than each of these falls into its band; what is in none is older."""

PLACED_BEFORE = timedelta(days=90)
"""Hardly any order was placed longer before its money was posted: it is billed when it leaves, and refunded within two months."""


@dataclass(frozen=True, slots=True)
class Residual:
    """A line of a settlement that is not tied out. `since` is when its settlement was kept: it does not grow younger by being
    looked at again."""

    line: KeptLine
    since: datetime

    @property
    def words(self) -> str:
        """Why it is not tied out."""
        assert self.line.cause is not None
        return WORDS[self.line.cause][0]

    @property
    def todo(self) -> str:
        """What to do next."""
        assert self.line.cause is not None
        posted_on = self.line.posted_at.date()
        return WORDS[self.line.cause][1].format(since=posted_on - PLACED_BEFORE, until=posted_on + timedelta(days=1))


@dataclass(frozen=True, slots=True)
class ResidualSum:
    """All residual lines of one channel, currency, cause and age. `oldest` is the longest open one's beginning."""

    channel: ChannelId
    cause: Cause
    age: Band
    lines: int
    amount: Money
    oldest: datetime


@dataclass(frozen=True, slots=True)
class Tie:
    """How far a settlement is tied out: so many of its rows wholly, and `difference` is what the others hold of its total."""

    matched_rows: int
    difference: Money


@dataclass(frozen=True, slots=True)
class ClassSum:
    """All lines of one event and class of a settlement."""

    event: Event
    money_class: MoneyClass
    part: Part
    lines: int
    amount: Money


@dataclass(frozen=True, slots=True)
class SettlementFilter:
    """Which settlements are wanted; None wants all. They end from `since` until before `until`; `unbalanced`: something of them
    is not tied out, or all of it is."""

    channel: ChannelId | None = None
    since: datetime | None = None
    until: datetime | None = None
    unbalanced: bool | None = None


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted; None wants all."""

    money_class: MoneyClass | None = None
    part: Part | None = None
    event: Event | None = None
    matched_by: str | None = None
    cause: Cause | None = None
    order: OrderId | None = None
    sku: Sku | None = None


@dataclass(frozen=True, slots=True)
class ResidualFilter:
    """Which residual lines are wanted; None wants all. `before`: of settlements that were kept before then."""

    channel: ChannelId | None = None
    cause: Cause | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """A settlement that must be there: after one that is kept and before the next. `amount` is what it has to bring in of the
    balances, None where that cannot be told."""

    channel: ChannelId
    marketplace: str | None
    starts_at: datetime
    ends_at: datetime
    amount: Money | None


WORDS: Mapping[Cause, tuple[str, str]] = {
    Cause.ORDER_UNKNOWN: (
        "It names an order, a shipment or an adjustment that is not here.",
        "Read the orders of that time (backfillOrders from {since} to {until}, or from earlier on): those from more than 60 days "
        "before the channel was first read are not here by themselves. It is tied as soon as its order is here. Or say what it "
        "belongs to (assignResidual).",
    ),
    Cause.LINE_UNKNOWN: (
        "Its order is here, and none of the order's lines is meant, or more than one could be.",
        "Look at the order, and say which of its lines is meant (assignResidual with orderLineId).",
    ),
    Cause.SKU_UNMAPPED: (
        "The channel's SKU is mapped to none of ours.",
        "Map it (answerMappingTask): it is tied then. Or say which SKU it is (assignResidual).",
    ),
    Cause.UNCLASSIFIED: (
        "Nobody has said what these words of the channel mean.",
        "Say what they are for (classifyMoney): all lines with these words are classed then.",
    ),
    Cause.UNAPPORTIONED: (
        "How much of it is tax cannot be told.",
        "Wait for the order's charges to be told; or take it as it stands (assignResidual).",
    ),
}
"""Why, and what to do next; `since` and `until` are the days between which the order of a line was placed."""


def rule_words(matched_by: str) -> str | None:
    """What the rule says that tied a line; None for one that we have no words for."""
    if matched_by == PERSON:
        return "Somebody said so."
    return next((words for rule, words in RULES.items() if rule.value == matched_by), None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a person ties a line to: an order, with the line that is meant where that is known; a SKU; or the account. With
    `undo` to what it was tied to before people did."""

    order: OrderId | None = None
    order_line: LineId | None = None
    sku: Sku | None = None
    account: bool = False
    undo: bool = False

    def __post_init__(self) -> None:
        told = (self.order is not None, self.sku is not None, self.account, self.undo)
        if sum(told) != 1:
            raise Invalid("Say one of `orderId`, `sku`, `account` and `undo`.", field=("orderId",))
        if self.order_line is not None and self.order is None:
            raise Invalid("`orderLineId` goes with the `orderId` that it is a line of.", field=("orderLineId",))

    def holds(self, line: MoneyLine) -> bool:
        """Whether a line is tied so already."""
        if self.undo:
            return line.matched_by != PERSON
        if line.matched_by != PERSON:
            return False
        if self.account:
            return line.order_id is None and line.sku is None
        if self.sku is not None:
            return line.sku == self.sku
        return line.order_id == self.order and self.order_line in (None, line.order_line_id)

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self.undo:
            return "what it was before"
        if self.account:
            return "the account"
        return f"SKU {self.sku}" if self.order is None else node_id("Order", self.order)


def check_open(line: MoneyLine) -> None:
    """Raises Conflict for a line that people cannot tie: of no settlement, tied by a rule, or with words that nobody knows."""
    if line.settlement is None:
        words = "It is of no settlement yet: only what is billed is tied."
    elif line.matched_by == PERSON:
        return
    elif line.cause is None:
        words = f"It is tied out already, by the rule {line.matched_by}."
    elif line.cause is Cause.UNCLASSIFIED:
        words = " ".join(WORDS[Cause.UNCLASSIFIED])
    else:
        return
    raise Conflict(words, field=("lineId",))


def tied(line: MoneyLine, target: Target, order: Order | None, zone: ZoneInfo) -> MoneyLine:
    """A line as a person ties it: nothing of what its channel said changes, nor what its words mean; but what a buyer paid and
    nobody could split is a sale then, as it stands. `order` is the target's, `zone` the clock of the line's marketplace. Raises
    NotFound for an order line that the order does not have."""
    if line.money_class is MoneyClass.PAYMENT:
        line = replace(line, money_class=MoneyClass.SALE)
    cause = Cause.UNCLASSIFIED if line.money_class is MoneyClass.UNCLASSIFIED else None
    if target.sku is not None:
        return replace(line, sku=target.sku, matched_by=PERSON, cause=cause)
    one = None if order is None else _order_line(line, target, order)
    day = day_of(line.event, None if order is None else order.placed_at, line.posted_at, zone)
    return replace(
        line,
        order_id=None if order is None else order.id,
        order_line_id=None if one is None else one.id,
        sku=None if order is None else line.sku if one is None else one.sku,
        day=day,
        matched_by=PERSON,
        cause=cause,
    )


def _order_line(line: MoneyLine, target: Target, order: Order) -> OrderLine | None:
    """The order's line that is meant: the one that is named; else the only one with the SKU that the channel named."""
    if target.order_line is not None:
        for one in order.lines:
            if one.id == target.order_line:
                return one
        raise NotFound(f"Order {order.external_id} has no such line.", field=("orderLineId",))
    meant = [one for one in order.lines if one.channel_sku == line.channel_sku]
    return meant[0] if len(meant) == 1 else None
