"""What each listing is wanted to be sold for, what it was seen to be sold for, and the history of both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ListingId, OperationId
from domain.money import Money
from domain.price import Origin, Price, PriceFacts, PriceWish, Sale, read_price
from store import money
from store.session import AnyRow, among
from store.tables import listing, listing_price, price_event, product

p = listing_price.c
e = price_event.c

A_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Asked:
    """A price that was asked for and released: the item that carries it, and whose it is."""

    wish: PriceWish
    item: int
    operation: OperationId
    requested_by: str
    approved_by: str | None = None


async def facts(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> dict[ListingId, PriceFacts]:
    """What is known of each listing that there is, for its price to be judged at the instant `at`."""
    kept, c = listing.c, product.c
    rows = await tx.execute(
        select(
            kept.id,
            kept.price_amount,
            kept.price_currency,
            kept.sale_amount,
            kept.sale_currency,
            kept.as_of,
            p.wanted,
            p.live,
            p.live_at,
            c.cost_amount,
            c.cost_currency,
        )
        .select_from(
            listing.outerjoin(listing_price, p.listing == kept.id).outerjoin(product, c.sku == kept.sku),
        )
        .where(among(kept.id, ids))
    )
    before = await _in_force(tx, ids, at - A_DAY)
    return {ListingId(row.id): _facts(row, before.get(ListingId(row.id)), at) for row in rows}


async def asked(tx: AsyncConnection, changes: Sequence[Asked]) -> None:
    """Keep that these prices are wanted from now on."""
    if not changes:
        return
    fresh = upsert(listing_price)
    names = ("wanted", "wanted_item", "wanted_at")
    statement = fresh.on_conflict_do_update(
        index_elements=["listing"],
        set_={name: func.now() if name == "wanted_at" else fresh.excluded[name] for name in names},
    )
    ordered = sorted(changes, key=lambda one: one.wish.listing)
    await tx.execute(
        statement,
        [{"listing": one.wish.listing, "wanted": one.wish.price.told(), "wanted_item": one.item} for one in ordered],
    )
    await tx.execute(insert(price_event), [_event("ASKED", one) for one in ordered])


async def _in_force(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> dict[ListingId, Price]:
    """The prices that were last seen live by that instant; a listing without any is missing."""
    rows = await tx.execute(
        select(e.listing, e.price)
        .where(among(e.listing, ids), e.at <= at, e.what.in_(["LIVE", "OTHER"]))
        .order_by(e.listing, e.at.desc(), e.id.desc())
        .ext(distinct_on(e.listing))
    )
    return {ListingId(row.listing): read_price(row.price) for row in rows if row.price is not None}


def _facts(row: AnyRow, before: Price | None, at: datetime) -> PriceFacts:
    listed = money.value(row.price_amount, row.price_currency)
    live, live_at = (None if row.live is None else read_price(row.live)), row.live_at
    if listed is not None and (live_at is None or live_at < row.as_of):
        live, live_at = _listed(listed, money.value(row.sale_amount, row.sale_currency), live), row.as_of
    cost = money.value(row.cost_amount, row.cost_currency)
    currency = None if live is None else live.regular.currency
    return PriceFacts(
        currency=currency,
        live=live,
        live_at=live_at,
        wanted=None if row.wanted is None else read_price(row.wanted),
        day_ago=None if before is None else before.at(at - A_DAY),
        cost=cost if cost is not None and cost.currency == currency else None,
    )


def _listed(price: Money, sale: Money | None, known: Price | None) -> Price:
    """A catalog tells what a sale takes and not when it ends: the times are those we know, where the amounts are the same."""
    known_sale = None if known is None or known.sale is None else known.sale.price
    if known is not None and known.regular == price and known_sale == sale:
        return known
    return Price(price, None if sale is None else Sale(sale))


def _event(what: str, one: Asked) -> dict[str, Any]:
    wish = one.wish
    return {
        "listing": wish.listing,
        "what": what,
        "price": wish.price.told(),
        "operation": one.operation,
        "item": one.item,
        "origin": wish.origin.value,
        "reason": wish.reason,
        "rules_version": wish.rules_version,
        "chain": [dict(one) for one in wish.chain] or None,
        "requested_by": one.requested_by,
        "approved_by": one.approved_by,
    }


def payload(wish: PriceWish, facts: PriceFacts) -> dict[str, object]:
    """What the item of a wish carries, as JSON values: enough to send it, to judge it anew, and to say what it was made from."""
    return {
        "listing": wish.listing,
        "channel": wish.channel,
        "marketplace": wish.marketplace,
        "channel_sku": wish.channel_sku,
        "sku": wish.sku,
        "refs": dict(wish.refs),
        "price": wish.price.told(),
        "origin": wish.origin.value,
        "reason": wish.reason,
        "rules_version": wish.rules_version,
        "chain": [dict(one) for one in wish.chain],
        "facts": facts.told(),
    }


def wish_of(payload: Mapping[str, Any]) -> PriceWish:
    """The wish that an item carries."""
    return PriceWish(
        listing=payload["listing"],
        channel=payload["channel"],
        marketplace=payload["marketplace"],
        channel_sku=payload["channel_sku"],
        sku=payload["sku"],
        refs=payload["refs"],
        price=read_price(payload["price"]),
        origin=Origin(payload["origin"]),
        reason=payload["reason"],
        rules_version=payload["rules_version"],
        chain=tuple(payload["chain"]),
    )
