"""Units that buyers send back of orders that another platform's stock has shipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.errors import Invalid

LONGEST_RETURN_ID = 80
LONGEST_REASON = 80
LONGEST_COMMENT = 1000


class ReturnCondition(Enum):
    """As the platform found a unit. Of the last two it is itself, or its carrier, that broke it."""

    SELLABLE = "SELLABLE"
    DEFECTIVE = "DEFECTIVE"
    CUSTOMER_DAMAGED = "CUSTOMER_DAMAGED"
    CARRIER_DAMAGED = "CARRIER_DAMAGED"
    FULFILLER_DAMAGED = "FULFILLER_DAMAGED"


@dataclass(frozen=True, slots=True)
class ReturnUnit:
    """One unit. `id` is ours, and never used for another one; `line_id` is the line of the outbound order."""

    id: str
    line_id: str


@dataclass(frozen=True, slots=True)
class ReturnWanted:
    """Units of one outbound order (`order_id`, ours) to be expected back. `reason` is one of the platform's codes.

    Raises Invalid for what no platform would take.
    """

    order_id: str
    units: tuple[ReturnUnit, ...]
    reason: str
    comment: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.units or len({one.id for one in self.units}) < len(self.units):
            raise Invalid(f"A return of {self.order_id} names no units, or one of them twice.")
        if any(not 1 <= len(one.id) <= LONGEST_RETURN_ID for one in self.units):
            raise Invalid(f"The id of a returned unit has 1 to {LONGEST_RETURN_ID} characters.")
        if not 1 <= len(self.reason) <= LONGEST_REASON:
            raise Invalid(f"The reason of a return has 1 to {LONGEST_REASON} characters.", field=("reason",))
        if len(self.comment) > LONGEST_COMMENT:
            raise Invalid(f"The comment of a return has at most {LONGEST_COMMENT} characters.", field=("comment",))


@dataclass(frozen=True, slots=True)
class ReturnReason:
    """A reason that the platform knows; `words` are for people."""

    code: str
    words: str


@dataclass(frozen=True, slots=True)
class ReturnedUnit:
    """One unit that is to come back, or (`condition`) has; `changed_at` is when that became so. By its `rma` the platform knows
    the parcel, `center` is where it goes; both None where none was given."""

    id: str
    line_id: str
    reason: str
    changed_at: datetime
    rma: str | None = None
    center: str | None = None
    processed: bool = False
    condition: ReturnCondition | None = None


@dataclass(frozen=True, slots=True)
class Announced:
    """What the platform took: the units that it shows, and ids of those that it has taken before and may not show yet. `refused`
    says why it did not take others."""

    units: tuple[ReturnedUnit, ...]
    already: tuple[str, ...] = ()
    refused: str = ""
    upstream_request_id: str | None = field(default=None, compare=False)
