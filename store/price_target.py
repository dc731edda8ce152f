"""The listings that people may mean when they ask for prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Channel
from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.price_target import Offer
from store.product import WITHDRAWN
from store.session import AnyRow, among
from store.tables import listing

c = listing.c


async def offers(
    tx: AsyncConnection, skus: Collection[Sku], channels: Mapping[ChannelId, Channel]
) -> dict[Sku, list[Offer]]:
    """The listings of `skus`, by channel, marketplace and channel SKU, in one statement; a SKU without any is missing.

    A listing that has not shown a price yet has the currency of its marketplace, as far as its channel knows that.
    """
    query = select(*_COLUMNS).where(among(c.sku, skus)).order_by(c.channel, c.marketplace, c.channel_sku)
    found: defaultdict[Sku, list[Offer]] = defaultdict(list)
    for row in await tx.execute(query):
        one = _offer(row, channels)
        found[one.sku].append(one)
    return dict(found)


async def listed(
    tx: AsyncConnection, channels: Mapping[ChannelId, Channel], after: Offer | None, limit: int
) -> list[Offer]:
    """The next `limit` listings of `channels` that sell a SKU of ours and are not withdrawn, by SKU."""
    query = select(*_COLUMNS).where(c.sku.is_not(None), c.status != WITHDRAWN, among(c.channel, list(channels)))
    if after is not None:
        query = query.where(tuple_(c.sku, c.id) > (after.sku, after.listing))
    rows = await tx.execute(query.order_by(c.sku, c.id).limit(limit))
    return [_offer(row, channels) for row in rows]


_COLUMNS = (c.id, c.channel, c.marketplace, c.channel_sku, c.sku, c.refs, c.status, c.price_currency)


def _offer(row: AnyRow, channels: Mapping[ChannelId, Channel]) -> Offer:
    id, channel, marketplace, channel_sku, sku, refs, status, currency = row
    known = channels[channel].currencies.get(marketplace) if channel in channels else None
    return Offer(
        ListingId(id),
        ChannelId(channel),
        marketplace or None,
        ChannelSku(channel_sku),
        Sku(sku),
        refs,
        status == WITHDRAWN,
        currency or known,
    )
