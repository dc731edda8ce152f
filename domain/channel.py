"""Where goods are sold and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

from domain.address import Address
from domain.ids import ChannelId, LocationCode
from domain.payment_fee import PaymentFee

LEDGER = ChannelId("ledger")
"""The keeper of places that we count ourselves: no channel may have this id."""


class Platform(Enum):
    """What a channel runs on."""

    AMAZON = "AMAZON"
    SHOPIFY = "SHOPIFY"
    REST = "REST"
    MAGENTO = "MAGENTO"
    WOOCOMMERCE = "WOOCOMMERCE"
    EBAY = "EBAY"
    WALMART = "WALMART"


class LocationKind(Enum):
    """Whose place it is."""

    WAREHOUSE = "WAREHOUSE"
    FBA = "FBA"
    THIRD_PARTY = "THIRD_PARTY"
    STORE = "STORE"


@dataclass(slots=True)
class Channel:
    """One Amazon selling account in one region, or one shop. `marketplaces` are country codes, empty for a shop.

    Its days begin in the time zone `time_zone`, in a marketplace that has one of its own under `zones` in that; `currencies` are
    those of its marketplaces. With `buyers` it is to tell who bought. `payment_fee` is what a shop's payment provider takes.
    """

    id: ChannelId
    platform: Platform
    name: str
    sandbox: bool
    marketplaces: tuple[str, ...] = ()
    time_zone: str = "UTC"
    zones: Mapping[str, str] = field(default_factory=dict)
    currencies: Mapping[str, str] = field(default_factory=dict)
    buyers: bool = False
    payment_fee: PaymentFee | None = None

    def zone(self, marketplace: str | None) -> ZoneInfo:
        """Where the day of an order of that marketplace begins."""
        return ZoneInfo(self.zones.get(marketplace or "", self.time_zone))


@dataclass(slots=True)
class Location:
    """A place that holds units: an own warehouse, or an FBA pool.

    `keeper` is who counts there: `LEDGER` for what we count ourselves, else a channel. `external_id` is the place's name at
    that channel: a Shopify location's gid, or the country code of the marketplace through which an FBA pool is asked.
    `marketplaces` are those that share an FBA pool. `shown` says under which name of its own a channel shows what may be sold
    from here, and `opens_from` which channel's first count opens the ledger of a SKU here. `sells_to` are the channels that may
    sell from here; None means all. `address` is where parcels are sent from, `latitude` and `longitude` where that
    is, in degrees; its days are those of the `time_zone`, a name of the IANA's.
    """

    code: LocationCode
    name: str
    kind: LocationKind
    keeper: ChannelId
    external_id: str
    marketplaces: tuple[str, ...] = ()
    shown: Mapping[ChannelId, str] = field(default_factory=dict)
    opens_from: ChannelId | None = None
    sells_to: frozenset[ChannelId] | None = None
    address: Address | None = None
    time_zone: str = "UTC"
    latitude: float | None = None
    longitude: float | None = None

    @property
    def ours(self) -> bool:
        """Whether the ledger counts here."""
        return self.keeper == LEDGER

    def sells(self, channel: ChannelId) -> bool:
        """Whether the channel may sell what lies here."""
        return self.sells_to is None or channel in self.sells_to


class StreamName(Enum):
    """What is synchronized, each on its own interval and cursor."""

    LISTINGS = "listings"
    STOCK = "stock"
    ORDERS = "orders"
    SHOWN = "shown"
    RETURNS = "returns"
    SETTLEMENTS = "settlements"
    TRANSACTIONS = "transactions"
    PAYOUTS = "payouts"
    NOTIFICATIONS = "notifications"


@dataclass(slots=True)
class StreamState:
    """How far one stream of one channel has come. `cursor` is what the next run starts from. `paused_at` is since when people
    have stopped it, `paused_by` and `pause_reason` say who and why. `way` is how the last run of orders read them, and
    `way_reason` why."""

    channel: ChannelId
    name: StreamName
    every: timedelta
    cursor: datetime | None = None
    last_success_at: datetime | None = None
    last_error: str | None = None
    way: str | None = None
    way_reason: str | None = None
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None

    def lag_seconds(self, now: datetime) -> int | None:
        """Whole seconds since the last success; None before the first."""
        return None if self.last_success_at is None else max(0, int((now - self.last_success_at).total_seconds()))
