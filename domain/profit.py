"""What is left of what buyers pay: profit = revenue - fees - refunds - cost, and why it is another one than it was.

Every sum is one of lines, each converted and rounded by itself, so that whoever adds it up by days, by SKUs or by orders comes to
the same total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum

from domain.chain import Piece, PieceKind
from domain.errors import Invalid
from domain.ids import ChannelId, OrderId, Sku
from domain.money_line import Stage

_RATIO = Context(prec=34, rounding=ROUND_HALF_EVEN)
_MILLIONTH = Decimal("0.000001")
_SELLABLE = "SELLABLE"
_NOON = timedelta(hours=12)


class Dimension(Enum):
    """What profit can be told by."""

    DAY = "DAY"
    MONTH = "MONTH"
    CHANNEL = "CHANNEL"
    MARKETPLACE = "MARKETPLACE"
    SKU = "SKU"
    ORDER = "ORDER"


class ChangeKind(Enum):
    """Why a profit is told otherwise than before."""

    SETTLEMENT = "SETTLEMENT"  # a settlement or a payout was kept
    TRANSACTION = "TRANSACTION"  # the channel told transactions
    ESTIMATE = "ESTIMATE"  # we have reckoned anew what nobody has billed yet
    MENDED = "MENDED"  # lines of a settlement are understood better: matched, classified, or tied by a person
    RESTOCK = "RESTOCK"  # it was told that units are back in stock, or that they are not
    COST = "COST"  # another revision of a cost
    RATE = "RATE"  # rates of exchange were told later, or mended


@dataclass(frozen=True, slots=True)
class Ask:
    """Which lines are wanted: of the days [`first`, `until`), None wants all; in `currency`, or each in its own; as known at an
    instant, or now."""

    first: date | None = None
    until: date | None = None
    channel: ChannelId | None = None
    marketplace: str | None = None
    skus: tuple[Sku, ...] | None = None
    orders: tuple[OrderId, ...] | None = None
    stages: tuple[Stage, ...] | None = None
    currency: str | None = None
    known_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums in one currency. `units` are sold; `fees` hold what is `unclassified`, and are less `reimbursements`. `priced` is the
    cost as far as it is known: of `units_without_cost`, sold or restocked, it is not."""

    currency: str
    units: int = 0
    revenue: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    refunds: Decimal = Decimal(0)
    priced: Decimal = Decimal(0)
    unclassified: Decimal = Decimal(0)
    reimbursements: Decimal = Decimal(0)
    taxes: Decimal = Decimal(0)
    units_without_cost: int = 0
    units_with_catalog_cost: int = 0
    units_without_fees: int = 0

    @property
    def cost(self) -> Decimal | None:
        """What the units cost us; None where that is not known of one of them."""
        return None if self.units_without_cost else self.priced

    @property
    def profit(self) -> Decimal | None:
        """What is left; None where the cost is not known."""
        return None if self.units_without_cost else self.revenue - self.fees - self.refunds - self.priced

    @property
    def margin(self) -> Decimal | None:
        """The profit as a part of the revenue, to six decimals; None without a profit, or without revenue."""
        if self.profit is None or not self.revenue:
            return None
        return _RATIO.divide(self.profit, self.revenue).quantize(_MILLIONTH, context=_RATIO)

    @property
    def moved(self) -> bool:
        """Whether anything is there; of a difference, whether there is one."""
        amounts = (self.units, self.revenue, self.fees, self.refunds, self.priced, self.taxes, self.units_without_cost)
        return any(amounts)

    def __add__(self, other: Figures) -> Figures:
        if self.currency != other.currency:
            raise Invalid(f"{self.currency} and {other.currency} cannot be added; convert one of them first.")
        return Figures(
            self.currency,
            units=self.units + other.units,
            revenue=self.revenue + other.revenue,
            fees=self.fees + other.fees,
            refunds=self.refunds + other.refunds,
            priced=self.priced + other.priced,
            unclassified=self.unclassified + other.unclassified,
            reimbursements=self.reimbursements + other.reimbursements,
            taxes=self.taxes + other.taxes,
            units_without_cost=self.units_without_cost + other.units_without_cost,
            units_with_catalog_cost=self.units_with_catalog_cost + other.units_with_catalog_cost,
            units_without_fees=self.units_without_fees + other.units_without_fees,
        )

    def __neg__(self) -> Figures:
        """The amounts and the units sold turned; what is not known of units stays so."""
        return Figures(
            self.currency,
            units=-self.units,
            revenue=-self.revenue,
            fees=-self.fees,
            refunds=-self.refunds,
            priced=-self.priced,
            unclassified=-self.unclassified,
            reimbursements=-self.reimbursements,
            taxes=-self.taxes,
            units_without_cost=self.units_without_cost,
            units_with_catalog_cost=self.units_with_catalog_cost,
            units_without_fees=-self.units_without_fees,
        )


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one value of each dimension, and the same by stage. What has none (a fee of the account has no SKU) has ""."""

    dimensions: Mapping[Dimension, str]
    figures: Figures
    stages: Mapping[Stage, Figures]


@dataclass(frozen=True, slots=True)
class Change:
    """What came between two instants for one reason, in one currency: so much is added to the figures of before. `lines` counts
    the lines that came and went."""

    kind: ChangeKind
    words: str
    figures: Figures
    lines: int
    settlement: str | None = None


@dataclass(frozen=True, slots=True)
class OrderMoney:
    """What stands of one order, and the same by stage. `settled`: all of it is in settlements, and nothing of it is still to
    come."""

    figures: Figures
    stages: Mapping[Stage, Figures]
    settled: bool


def days_between(since: datetime, until: datetime) -> tuple[date, date]:
    """The days of business [first, until) that two instants name: each is taken to the nearest midnight of UTC, so that whoever
    sends midnights, his own (from UTC-11 to UTC+12) or those of UTC, or the last second of a day, gets just the days that he
    means, by the calendar of each marketplace. Raises Invalid where that is none."""
    first, end = nearest_day(since), nearest_day(until)
    if first >= end:
        raise Invalid(
            "`from` and `to` name no day between them; `to` is the midnight behind the last one.", field=("to",)
        )
    return first, end


def nearest_day(at: datetime) -> date:
    """The day that begins at the midnight of UTC nearest to an instant."""
    at = at.astimezone(UTC)
    begins = datetime.combine(at.date(), time(), UTC)
    return at.date() + timedelta(days=1) if at - begins >= _NOON else at.date()


def back_in_stock(piece: Piece) -> bool:
    """Whether these units can be sold again, so that their cost is none of a sale any more: somebody has restocked them, they
    came back sound to a channel that does so by itself, or they were refunded before they left."""
    match piece.kind:
        case PieceKind.ARRIVED:
            return piece.by_channel and piece.condition == _SELLABLE
        case PieceKind.REFUNDED:
            return not piece.expected
        case _:
            return piece.kind is PieceKind.RESTOCKED
