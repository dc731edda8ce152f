"""Why the price of a listing is worked out anew, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import ListingId


class Reason(Enum):
    """Why a price is worked out anew."""

    SCHEDULE = "SCHEDULE"
    RULES = "RULES"
    TIME = "TIME"  # something in the rules begins or ends at an instant
    COST = "COST"
    FEES = "FEES"
    OFFER = "OFFER"  # somebody's offer beside ours is another one
    STOCK = "STOCK"
    SALE = "SALE"  # a sale of ours begins or ends where the channel keeps no times

    @property
    def damped(self) -> bool:
        """Does it wait until the listing has rested since it was last asked for? What others do, or what our own prices make them
        do, comes again and again; what people decided does not."""
        return self in (Reason.FEES, Reason.OFFER, Reason.STOCK)


class Became(Enum):
    """What came of working a price out. IDLE: it is so already. NONE: the rules make no price."""

    ASKED = "ASKED"
    HELD = "HELD"
    REFUSED = "REFUSED"
    IDLE = "IDLE"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class Repriced:
    """What came of one listing at `at`. `fingerprint` says what it was made from and what it was judged to be; `asked_at` when a
    price was last asked for, `units` how many could be sold. `overtaken`: somebody has asked for a price since then."""

    listing: ListingId
    at: datetime
    became: Became
    words: str = ""
    fingerprint: str | None = None
    asked_at: datetime | None = None
    units: int | None = None
    overtaken: bool = False
