"""Stock: what places hold, what can be sold of it, and the terms that explain it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from domain.channel import Location, LocationKind
from domain.freshness import Freshness
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.product import FulfilledBy


@dataclass(frozen=True, slots=True)
class PoolUnits:
    """Units of one SKU in an FBA pool, by the kinds that Amazon counts apart, under the label that they carry there (`fn_sku`).
    None is what was not told. The first can be sold; what is researched or unfulfillable neither lies ready nor is promised."""

    fn_sku: str | None
    fulfillable: int
    inbound_working: int
    inbound_shipped: int
    inbound_receiving: int
    reserved_orders: int | None
    reserved_transshipment: int | None
    reserved_processing: int | None
    researching: int | None
    unfulfillable: int | None


@dataclass(slots=True)
class Reading:
    """What one place holds of one channel SKU, as its keeper told it. Units.

    `on_hand` counts what lies there and could be sold or is already promised; `reserved` is the promised part, so that
    `on_hand - reserved` can be sold; `inbound` is on its way and counts for neither. `reserved` may exceed `on_hand` where a
    shop has sold more than it has. `units` are the kinds behind these numbers where an FBA pool tells them; they are not kept.
    """

    location: LocationCode
    channel: ChannelId
    channel_sku: ChannelSku
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime
    upstream_request_id: str | None = None
    units: PoolUnits | None = None


@dataclass(slots=True)
class Level:
    """Stock of one SKU at one place. Without a reading (`as_of` None) the zeros mean "not known"."""

    location: Location
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime | None
    freshness: Freshness
    source: str

    @property
    def available_to_sell(self) -> int:
        """Units on hand and not promised; negative where more was promised than there is."""
        return self.on_hand - self.reserved


@dataclass(slots=True)
class Term:
    """One signed part of a number. `source` is who told it or the rule's kind, `rule` the name of the rule that made it, and
    `upstream_request_id` the call that it was read with. `age_seconds` is how old it was when it was told (see `told_at`)."""

    label: str
    quantity: int
    source: str
    as_of: datetime | None
    rule: str | None = None
    upstream_request_id: str | None = None
    age_seconds: float | None = field(default=None, compare=False)


def told_at(terms: list[Term], at: datetime) -> list[Term]:
    """The same terms, each with its age at `at`, to the millisecond."""
    for term in terms:
        if term.as_of is not None:
            term.age_seconds = max(0.0, round((at - term.as_of).total_seconds(), 3))
    return terms


@dataclass(slots=True)
class Stock:
    """What can be sold of one SKU, and why. The quantities of `explanation` sum to `available_to_sell`, which is
    `on_hand - reserved - safety_stock`, never below zero. `at` is the past instant that it is told for, None for now.

    One that is kept to be told again does not change any more; `written` is room for what its tellers have written of it.
    """

    sku: Sku
    available_to_sell: int
    on_hand: int
    reserved: int
    inbound: int
    safety_stock: int
    as_of: datetime | None
    freshness: Freshness
    levels: list[Level]
    explanation: list[Term]
    at: datetime | None = None
    written: dict[Any, Any] | None = field(default=None, compare=False, repr=False)


def holds(location: Location, channel: ChannelId, marketplace: str | None, fulfilled_by: FulfilledBy) -> bool:
    """Whether the place should hold units of such a listing: an FBA pool those of its marketplaces that FBA fulfills, a shop's
    place all of the shop, and a place of ours what we fulfill for a channel that opens it or shows it."""
    if location.ours:
        told = location.opens_from == channel or channel in location.shown
        return told and fulfilled_by is FulfilledBy.MERCHANT
    if location.keeper != channel:
        return False
    if location.kind is LocationKind.FBA:
        return fulfilled_by is FulfilledBy.CHANNEL and marketplace in location.marketplaces
    return True
