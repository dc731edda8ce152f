"""Drift: a number that a channel shows, and that is not the one we believe it shows.

Before anything is called drift, three innocent reasons are ruled out: a write of ours is under way, the reading is so young that
the last write need not be seen yet, or the number is already the one we are about to write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from domain.ids import ChannelId, ChannelSku, Sku

# A platform lists a sale among its orders a moment after it has lowered the number.
ORDERS_LATE = timedelta(seconds=30)


class DriftKind(Enum):
    """What kind of difference it is."""

    UNSEEN_SALE = "UNSEEN_SALE"  # lower, and orders have not been read since: probably sold there
    LOST_WRITE = "LOST_WRITE"  # what we had told before: the last write never arrived, or was undone
    EXTERNAL_EDIT = "EXTERNAL_EDIT"  # somebody else wrote there
    NOT_OFFERED = "NOT_OFFERED"  # told a number, and the SKU cannot be bought there
    POOL_DISAGREEMENT = "POOL_DISAGREEMENT"  # two marketplaces tell one FBA pool differently


@dataclass(frozen=True, slots=True)
class Believed:
    """One number as we know it. `told` is what was told last, at `told_at` (None: nothing yet); `before` the number that was told
    before that one; `target` what is to be shown. `in_flight` says that a write waits, is on its way, or is being read back.
    """

    target: int
    told: int | None
    told_at: datetime | None
    in_flight: bool
    before: int | None = None


@dataclass(frozen=True, slots=True)
class DriftCount:
    """Drifts of one kind: how many are `open`, and how many were so at some time of the last day."""

    kind: DriftKind
    open: int
    last_day: int


@dataclass(frozen=True, slots=True)
class Drift:
    """A difference that was noted. `believed` and `shown` are units, None for "not offered"; it is open while `ended_at` is
    None. `place` is the channel's own name of the place, or the code of an FBA pool."""

    id: int
    channel: ChannelId
    channel_sku: ChannelSku
    place: str
    sku: Sku | None
    kind: DriftKind
    believed: int | None
    shown: int | None
    first_at: datetime
    last_at: datetime
    ended_at: datetime | None
    times: int


def classify(
    believed: Believed,
    shown: int | None,
    read_at: datetime,
    *,
    since: datetime,
    orders_until: datetime | None,
    visibility_lag: timedelta,
) -> DriftKind | None:
    """What kind of drift a reading shows; None where there is none, or none that can be told yet.

    `since` is when this very number was first read (`read_at` at the first time), and `orders_until` up to when the channel has
    told us all its orders.
    """
    if believed.told is None or believed.told_at is None or believed.in_flight:
        return None
    if read_at <= believed.told_at + visibility_lag:
        return None
    if shown is None:
        return DriftKind.NOT_OFFERED
    if shown in (believed.told, believed.target):
        return None
    if shown < believed.told and (orders_until is None or orders_until < since + ORDERS_LATE):
        return DriftKind.UNSEEN_SALE
    if shown == believed.before:
        return DriftKind.LOST_WRITE
    return DriftKind.EXTERNAL_EDIT
