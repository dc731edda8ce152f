"""Prices as they are, as a file that can be edited and sent back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from domain.channel import Channel
from domain.export import harmless
from domain.ids import ChannelId
from domain.price import Price
from domain.price_target import Offer
from store import price, price_target
from store.session import Store

BLOCK = 1_000
# COLUMNS as CSV has them.
HEADER = ("sku", "channel", "marketplace", "channel_sku", "amount", "currency", "sale_amount", "sale_from", "sale_to")


async def export(
    store: Store, channels: Mapping[ChannelId, Channel], tell: Callable[[list[str]], object]
) -> tuple[int, int]:
    """Tell each listing of these channels that shows a price, as a row under HEADER; (how many do, how many do not)."""
    told = silent = 0
    last: Offer | None = None
    while True:
        now = datetime.now(UTC)
        async with store.begin() as tx:
            offers = await price_target.listed(tx, channels, last, BLOCK)
            known = await price.facts(tx, {one.listing for one in offers}, now)
        for one in offers:
            live = known[one.listing].live
            if live is None:
                silent += 1
                continue
            tell(_row(one, live, now))
            told += 1
        if len(offers) < BLOCK:
            return told, silent
        last = offers[-1]


def _row(one: Offer, live: Price, now: datetime) -> list[str]:
    sale = live.sale
    if sale is not None and sale.ends_at is not None and sale.ends_at <= now:
        sale = None
    cells = {
        "sku": harmless(one.sku),
        "channel": one.channel,
        "marketplace": one.marketplace or "",
        "channel_sku": harmless(one.channel_sku),
        "amount": f"{live.regular.amount:f}",
        "currency": live.regular.currency,
        "sale_amount": "" if sale is None else f"{sale.price.amount:f}",
        "sale_from": "" if sale is None or sale.starts_at is None else sale.starts_at.isoformat(),
        "sale_to": "" if sale is None or sale.ends_at is None else sale.ends_at.isoformat(),
    }
    return [cells[name] for name in HEADER]
