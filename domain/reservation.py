"""Reservations: units held for somebody who is about to buy. They end by themselves, to the second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from domain.ids import ChannelId, ReservationId, Sku
from domain.policy import Destination


class ReservationStatus(Enum):
    """OPEN holds units until `expires_at`; COMMITTED was bought and holds them until its order has shipped; RELEASED and
    EXPIRED hold nothing."""

    OPEN = "OPEN"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class ReservedLine:
    """Units of one SKU, a kit's or a component's."""

    sku: Sku
    quantity: int


@dataclass(frozen=True, slots=True)
class Buyer:
    """Where somebody buys, and where it is to be sent, if that is known."""

    channel: ChannelId
    destination: Destination | None = None


@dataclass(slots=True)
class Reservation:
    """What one caller holds. `reference` names the order that it became, as the channel calls it; `channel` is the sales channel
    that it was made for, where one was named."""

    id: ReservationId
    requested_by: str
    created_at: datetime
    expires_at: datetime
    lines: list[ReservedLine]
    channel: ChannelId | None = None
    reference: str | None = None
    committed_at: datetime | None = None
    released_at: datetime | None = None

    def status(self, now: datetime) -> ReservationStatus:
        """As it stands at `now`, which has to be the database's clock."""
        if self.released_at is not None:
            return ReservationStatus.RELEASED
        if self.committed_at is not None:
            return ReservationStatus.COMMITTED
        return ReservationStatus.OPEN if now < self.expires_at else ReservationStatus.EXPIRED
