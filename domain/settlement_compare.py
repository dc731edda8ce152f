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
