"""A settlement beside what its channel has told of the same money before: two views that are never quite one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from domain.money import Money


class ViewCause(Enum):
    """Why the two do not tell the same of an order."""

    ONLY_IN_SETTLEMENT = "ONLY_IN_SETTLEMENT"
    ONLY_IN_TRANSACTIONS = "ONLY_IN_TRANSACTIONS"
    OTHER_AMOUNT = "OTHER_AMOUNT"


CAUSES = {
    ViewCause.ONLY_IN_SETTLEMENT: "No transaction tells of it: transactions leave out what moved in the last 48 hours, parcel "
    "labels and much of what is of the account, and what is older than the stream has read.",
    ViewCause.ONLY_IN_TRANSACTIONS: "Transactions put it into this settlement, and no line of the file is of it: another one may "
    "hold it.",
    ViewCause.OTHER_AMOUNT: "Both tell of it, and not the same: a part of it was told later, or stands in another settlement.",
}
"""What each of them says, for people."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a settlement took the place of: so many transactions, which come to `told`; `by_period` of them name neither it nor
    its group, and are taken for its own since they moved in its period.

    `differing` are the orders that the transactions tell of, and the settlement not, or not the same sum; what is of no order is
    one more where no line of the settlement is of none either. `difference` is what the settlement has beyond them there.
    """

    transactions: int
    by_period: int
    told: Money
    differing: int
    difference: Money

    @property
    def warning(self) -> str | None:
        """For people; None where nothing was lost."""
        if not self.differing:
            return None
        rest = f"{self.difference.amount:f} {self.difference.currency}"
        return (
            f"It took the place of {self.transactions:,} transactions, {self.by_period:,} of them by their dates alone, and "
            f"tells {self.differing:,} orders otherwise: {rest} beside what they told. See `comparison`."
        )


@dataclass(frozen=True, slots=True)
class Views:
    """What the two tell of one order, by the channel's id; None for all that is of no order."""

    order_external_id: str | None
    settled: Money
    told: Money
    cause: ViewCause

    @property
    def difference(self) -> Money:
        """What the settlement has beyond the transactions."""
        return self.settled + -self.told
