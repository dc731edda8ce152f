"""Products and the listings that offer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money


class FulfilledBy(Enum):
    """Who packs and ships: we do, or the channel does (FBA)."""

    MERCHANT = "MERCHANT"
    CHANNEL = "CHANNEL"


ITEM_REF, PRODUCT_REF = "inventory_item", "product"
"""Under these names listings keep what some channels name things by: what they count, and what a listing is a variant of."""


@dataclass(slots=True)
class Attribute:
    """One property: our value, and the platform's own spelling of it. While nobody has said what that means, it is not
    `understood`, and stands for the value."""

    name: str
    value: str
    raw: str | None = None
    understood: bool = True


@dataclass(slots=True)
class Product:
    """One thing that we sell, by our SKU."""

    sku: Sku
    title: str
    brand: str | None = None
    unit_cost: Money | None = None
    attributes: list[Attribute] = field(default_factory=list)


@dataclass(slots=True)
class ListingIssue:
    """What the platform finds wrong with a listing, in its own words."""

    code: str
    severity: str
    message: str


@dataclass(slots=True)
class Listing:
    """A product as one channel offers it in one marketplace.

    `refs` are the platform's own keys that later calls need (a Shopify variant and inventory item, an Amazon product type).
    `sku` is None while no rule maps `channel_sku` to a product of ours.
    """

    id: ListingId
    channel: ChannelId
    marketplace: str | None
    channel_sku: ChannelSku
    external_id: str
    status: str
    fulfilled_by: FulfilledBy
    as_of: datetime
    sku: Sku | None = None
    title: str | None = None
    brand: str | None = None
    price: Money | None = None
    sale_price: Money | None = None
    unit_cost: Money | None = None
    url: str | None = None
    issues: list[ListingIssue] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    refs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkuMap:
    """From a channel's SKU to ours: the same string, unless a rule of that channel says otherwise."""

    rules: Mapping[tuple[ChannelId, ChannelSku], Sku] = field(default_factory=dict)

    def ours(self, channel: ChannelId, channel_sku: ChannelSku) -> Sku:
        """Our SKU of a channel's SKU."""
        return self.rules.get((channel, channel_sku), Sku(channel_sku))


@dataclass(slots=True)
class Rejected:
    """Something a platform sent that we do not understand: kept with its reason, never dropped, never defaulted."""

    channel: ChannelId
    what: str
    key: str
    reason: str
    raw: str
