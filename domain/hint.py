"""What a platform tells us of its own accord. A hint says that something changed and never what to: it is a reason to ask, may
come late, twice, out of order or not at all, and changes how soon we know and nothing else. What it says to be sold is not sold
to others until we have asked (store/ahead.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.ids import ChannelId, ChannelSku


class HintKind(Enum):
    """What a hint is about, and so what its `subject` is."""

    ORDER = "ORDER"  # the channel's order id
    REFUND = "REFUND"  # the channel's order id: money of it went back to the buyer
    MONEY = "MONEY"  # the channel's order id, or "" where it is of none: money moved
    WORK = "WORK"  # the channel's id of a piece of work that an order makes: the order changed
    STOCK = "STOCK"  # a channel SKU in the channel's own pool
    ITEM = "ITEM"  # the channel's id of what it counts (`refs["inventory_item"]`): units of it changed somewhere
    LISTING = "LISTING"  # a channel SKU
    PRODUCT = "PRODUCT"  # the channel's id of a product, or of what it counts: what it is was changed, or it is gone
    OFFER = "OFFER"  # the channel's id of a catalog item: somebody's offer of it changed
    REPORT = "REPORT"  # the id of a report that has ended
    FEED = "FEED"  # the id of a feed that has ended
    QUERY = "QUERY"  # the id of a query that has ended
    FULFILLMENT = "FULFILLMENT"  # our own id of an order that the channel ships for us
    ACCOUNT = "ACCOUNT"  # how the account stands now, in the channel's own word; WELL when all is well
    ACCESS = "ACCESS"  # the channel's word for what changed of what we may do there
    APPLICATION = "APPLICATION"  # the application's id: its secret runs out


WELL = "NORMAL"


class HintState(Enum):
    """NEW waits to be looked after, DONE needs nothing more, QUARANTINED could not be looked after."""

    NEW = "NEW"
    DONE = "DONE"
    QUARANTINED = "QUARANTINED"


@dataclass(frozen=True, slots=True)
class Hint:
    """Something changed at `event_at`, by the platform's clock. `id` is the platform's id of the notification, the same in each
    copy; `marketplace` a country code where the hint names one of ours. `open` are the units by channel SKU that we have to ship
    of the order it tells of, where it says so. Nothing else of what was sent is kept."""

    channel: ChannelId
    id: str
    type: str
    kind: HintKind
    subject: str
    event_at: datetime
    marketplace: str | None = None
    open: Mapping[ChannelSku, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Errand:
    """All hints about one subject that wait, as one thing to do. `event_at` is the latest of theirs; `attempts` counts how often
    this was taken up, this time included."""

    channel: ChannelId
    kind: HintKind
    subject: str
    marketplace: str | None
    event_at: datetime
    attempts: int
    rows: tuple[int, ...]
