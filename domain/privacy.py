"""What the law lets people ask of a shop, and by when it has to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from domain.ids import ChannelId


class PrivacyKind(Enum):
    """A buyer wants to see what is kept of them, or wants it erased; or a shop that left us wants all of it erased."""

    DATA_REQUEST = "DATA_REQUEST"
    BUYER_REDACT = "BUYER_REDACT"
    SHOP_REDACT = "SHOP_REDACT"


# The platform tells us of a shop 48 hours after it has left, and gives as long again.
WITHIN: Mapping[PrivacyKind, timedelta] = {
    PrivacyKind.DATA_REQUEST: timedelta(days=30),
    PrivacyKind.BUYER_REDACT: timedelta(days=30),
    PrivacyKind.SHOP_REDACT: timedelta(hours=48),
}
# People are told so long before.
SOON: Mapping[PrivacyKind, timedelta] = {
    PrivacyKind.DATA_REQUEST: timedelta(days=10),
    PrivacyKind.BUYER_REDACT: timedelta(days=10),
    PrivacyKind.SHOP_REDACT: timedelta(hours=48),
}


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """One request, as a channel passed it on: the platform's ids and nothing else of the person. `id` is the delivery's, the same
    in each copy; `buyer` is None where the whole shop is meant; `orders` are the channel's order ids."""

    channel: ChannelId
    id: str
    kind: PrivacyKind
    buyer: str | None
    orders: tuple[str, ...]
    asked_at: datetime

    @property
    def due_at(self) -> datetime:
        """By when it has to be done."""
        return self.asked_at + WITHIN[self.kind]


def words(kind: PrivacyKind) -> str:
    """What people have to do about it."""
    match kind:
        case PrivacyKind.DATA_REQUEST:
            return (
                "Give the buyer what is kept of these orders: `buyer` and `shipTo`, which the scope orders:pii opens."
            )
        case PrivacyKind.BUYER_REDACT:
            return "ACORN has forgotten whose orders these are, for ever: see to what you keep elsewhere."
        case PrivacyKind.SHOP_REDACT:
            return "Take the channel out of acorn.toml, then erase what is kept of it: `acorn privacy erase`."
