"""Names of things. Every id is a string; ours are `uuid5` of what identifies the thing, so that the same thing found twice
by any path is the same row."""

from __future__ import annotations

from typing import NewType
from uuid import UUID, uuid5

from domain.errors import NotFound

Sku = NewType("Sku", str)
ChannelId = NewType("ChannelId", str)
ChannelSku = NewType("ChannelSku", str)
LocationCode = NewType("LocationCode", str)
OrderId = NewType("OrderId", str)
LineId = NewType("LineId", str)
ListingId = NewType("ListingId", str)
OperationId = NewType("OperationId", str)
ReservationId = NewType("ReservationId", str)
RuleId = NewType("RuleId", str)

_NAMESPACE = UUID("5d2f0c0e-5a1c-4d43-9a53-5c0f3b1c6a10")


def derived_id(*parts: str) -> str:
    """The id of the thing that `parts` identify: equal parts, equal id, in every process and for ever."""
    return str(uuid5(_NAMESPACE, "\x1f".join(parts)))


def order_id(channel: ChannelId, external_id: str) -> OrderId:
    """Our id of a channel's order."""
    return OrderId(derived_id("order", channel, external_id))


def line_id(order: OrderId, external_id: str) -> LineId:
    """Our id of one line of an order."""
    return LineId(derived_id("line", order, external_id))


def listing_id(channel: ChannelId, marketplace: str | None, channel_sku: ChannelSku) -> ListingId:
    """Our id of one listing: a channel SKU offered in one marketplace (None where a channel has no marketplaces)."""
    return ListingId(derived_id("listing", channel, marketplace or "", channel_sku))


def node_id(kind: str, key: str) -> str:
    """The public global id: the GraphQL type's name, a colon, the key."""
    return f"{kind}:{key}"


def node_key(kind: str, node: str) -> str:
    """The key inside a public id of `kind`. Raises NotFound for an id of another kind or of none."""
    prefix, colon, key = node.partition(":")
    if prefix != kind or not colon or not key:
        meant = node_id(kind, "…" if colon or not node else node)
        raise NotFound(f"No {kind} has the id {node!r}. Ids look like `{meant}`.")
    return key
