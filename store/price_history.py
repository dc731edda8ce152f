"""The prices of listings as they were and are seen: what was in force when, what others changed, and what differs from intent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Select, bindparam, case, func, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ListingId, OperationId, Sku
from domain.operation import OPEN, ItemStatus
from domain.price import Origin, Price, Sale, read_price
from domain.price_history import DriftCause, EventKind, InForce, PriceDrift, PriceEvent, alike
from domain.product import Listing
from store import money
from store.session import AnyRow, among
from store.tables import listing, listing_price, operation_item, price_event

e = price_event.c
p = listing_price.c
i = operation_item.c

SEEN = (EventKind.LIVE.value, EventKind.OTHER.value)


async def hold(tx: AsyncConnection, ids: Collection[ListingId]) -> None:
    """Nobody else writes the prices of these listings until `tx` ends. It comes before the rows of the listings themselves."""
    await tx.execute(select(p.listing).where(among(p.listing, ids)).order_by(p.listing).with_for_update())


async def listed(tx: AsyncConnection, changed: Sequence[Listing]) -> None:
    """The catalog shows these prices, and others than it showed before: what we had not asked for is kept as OTHER, once.

    What is on its way is left to its lane, which reads it back. The listings are locked.
    """
    seen = {one.id: one for one in changed if one.price is not None}
    if not seen:
        return
    last = await _last_seen(tx, seen)
    wanted = await _wanted(tx, seen)
    events: list[dict[str, Any]] = []
    live: list[dict[str, Any]] = []
    for id in sorted(seen):
        before, intent = last.get(id), wanted.get(id)
        told = _told(seen[id])
        if before is not None and alike(read_price(before.price), told):
            continue
        ours = intent is not None and alike(read_price(intent.wanted), told)
        if intent is not None and ours and intent.status in _UNDER_WAY:
            continue
        price = read_price(intent.wanted) if intent is not None and ours else told
        at = seen[id].as_of if before is None else max(seen[id].as_of, before.at)
        events.append(_event(id, at, price, intent if ours else None))
        if intent is not None:
            differs = None if ours else intent.differs_since or at
            live.append({"id": id, "new_live": price.told(), "new_at": at, "new_differs": differs})
    if events:
        await tx.execute(insert(price_event), events)
    if live:
        await tx.execute(_LIVE, live)


async def in_force(
    tx: AsyncConnection, asked: Collection[tuple[ListingId, datetime]]
) -> dict[tuple[ListingId, datetime], InForce]:
    """The price that each listing showed at that instant, since when, and whose it was; missing where nobody had seen any."""
    found: dict[tuple[ListingId, datetime], InForce] = {}
    for at in {at for _, at in asked}:
        rows = await _last_seen(tx, [id for id, each in asked if each == at], at)
        asks = await _asks(tx, [row.item for row in rows.values() if row.item is not None])
        for id, row in rows.items():
            price = read_price(row.price)
            found[id, at] = InForce(price, price.at(at), _since(price, row.at, at), _read(row, asks.get(row.item)))
    return found


async def page(
    tx: AsyncConnection,
    sku: Sku,
    *,
    first: int,
    after: tuple[datetime, int] | None = None,
    channel: ChannelId | None = None,
    marketplace: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> tuple[list[PriceEvent], bool]:
    """The next `first` events of the SKU's listings, newest first, and whether there are more; `since` is meant with, `until`
    without its instant."""
    query = _of_sku(select(price_event), sku, channel, marketplace, since, until)
    if after is not None:
        query = query.where(tuple_(e.at, e.id) < after)
    rows = (await tx.execute(query.order_by(e.at.desc(), e.id.desc()).limit(first + 1))).all()
    asks = await _asks(tx, [row.item for row in rows if row.item is not None])
    return [_read(row, asks.get(row.item)) for row in rows[:first]], len(rows) > first


async def count(
    tx: AsyncConnection,
    sku: Sku,
    *,
    channel: ChannelId | None = None,
    marketplace: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """How many events `page` would give in all."""
    query = _of_sku(select(func.count()).select_from(price_event), sku, channel, marketplace, since, until)
    return await tx.scalar(query) or 0


async def drifts(
    tx: AsyncConnection,
    over: timedelta,
    *,
    first: int,
    after: tuple[datetime, ListingId] | None = None,
    channel: ChannelId | None = None,
) -> tuple[list[PriceDrift], bool]:
    """The next `first` listings that have shown another price than the wanted one for longer than `over`, longest first, and
    whether there are more."""
    shown = listing.c
    query = _differing(
        select(listing_price, shown.price_amount, shown.price_currency, i.operation_id, i.status, i.error_message),
        over,
        channel,
    ).outerjoin(operation_item, i.id == p.wanted_item)
    query = query.order_by(p.differs_since, p.listing).limit(first + 1)
    if after is not None:
        query = query.where(tuple_(p.differs_since, p.listing) > after)
    rows = (await tx.execute(query)).all()
    return [_drift(row) for row in rows[:first]], len(rows) > first


async def drift_count(tx: AsyncConnection, over: timedelta, *, channel: ChannelId | None = None) -> int:
    """How many there are in all."""
    return await tx.scalar(_differing(select(func.count()), over, channel)) or 0


async def withdrawn(tx: AsyncConnection, operation: OperationId) -> None:
    """What this operation asked for and will not be sent any more, since it was cancelled, is not wanted any more: what was asked
    for before it is, where nobody has asked for anything since."""
    gone = await tx.execute(
        select(p.listing, p.live)
        .join(operation_item, i.id == p.wanted_item)
        .where(i.operation_id == operation, i.status == ItemStatus.CANCELLED.value)
        .order_by(p.listing)
        .with_for_update(of=listing_price)
    )
    live = {ListingId(row.listing): row.live for row in gone}
    if not live:
        return
    before = await _asked_before(tx, live)
    back = [_back(id, before.get(id), shown) for id, shown in live.items()]
    await tx.execute(_WANTED, back)


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` lines that are older; returns how many. Of each listing the last price that was seen by then stays,
    and who had asked for it."""
    await tx.execute(select(func.set_config("statement_timeout", "300s", True)))
    return (await tx.execute(_FORGET, {"before": before, "limit": limit})).rowcount


async def _asked_before(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, AnyRow]:
    """What was last asked for each and has not been withdrawn or overtaken."""
    over = [ItemStatus.CANCELLED.value, ItemStatus.SUPERSEDED.value]
    rows = await tx.execute(
        select(e.listing, e.price, e.item, e.at)
        .join(operation_item, i.id == e.item)
        .where(among(e.listing, ids), e.what == EventKind.ASKED.value, i.status.not_in(over))
        .order_by(e.listing, e.at.desc(), e.id.desc())
        .ext(distinct_on(e.listing))
    )
    return {ListingId(row.listing): row for row in rows}


def _back(id: ListingId, before: AnyRow | None, live: dict[str, Any] | None) -> dict[str, Any]:
    same = before is None or live is None or before.price == live
    return {
        "id": id,
        "new_wanted": None if before is None else before.price,
        "new_item": None if before is None else before.item,
        "new_at": None if before is None else before.at,
        "new_same": same,
    }


async def _last_seen(
    tx: AsyncConnection, ids: Collection[ListingId], at: datetime | None = None
) -> dict[ListingId, AnyRow]:
    """The last event of each by which its price was seen, by the instant `at`."""
    wanted = [among(e.listing, ids), e.what.in_(SEEN), e.price.is_not(None)]
    if at is not None:
        wanted.append(e.at <= at)
    rows = await tx.execute(
        select(price_event).where(*wanted).order_by(e.listing, e.at.desc(), e.id.desc()).ext(distinct_on(e.listing))
    )
    return {ListingId(row.listing): row for row in rows}


async def _wanted(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, AnyRow]:
    rows = await tx.execute(
        select(p.listing, p.wanted, p.wanted_item, p.differs_since, i.operation_id, i.status)
        .outerjoin(operation_item, i.id == p.wanted_item)
        .where(among(p.listing, ids), p.wanted.is_not(None))
    )
    return {ListingId(row.listing): row for row in rows}


async def _asks(tx: AsyncConnection, items: Collection[int]) -> dict[int, AnyRow]:
    """The events by which these items were asked for: they say who asked, who approved, and why."""
    if not items:
        return {}
    rows = await tx.execute(select(price_event).where(among(e.item, items), e.what == EventKind.ASKED.value))
    return {row.item: row for row in rows}


def _of_sku(
    query: Select[Any],
    sku: Sku,
    channel: ChannelId | None,
    marketplace: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Select[Any]:
    c = listing.c
    wanted: list[ColumnElement[bool]] = [c.sku == sku]
    if channel is not None:
        wanted.append(c.channel == channel)
    if marketplace is not None:
        wanted.append(c.marketplace == marketplace)
    if since is not None:
        wanted.append(e.at >= since)
    if until is not None:
        wanted.append(e.at < until)
    return query.join(listing, c.id == e.listing).where(*wanted)


def _differing(query: Select[Any], over: timedelta, channel: ChannelId | None) -> Select[Any]:
    wanted = [p.differs_since < func.now() - over]
    if channel is not None:
        wanted.append(listing.c.channel == channel)
    query = query.select_from(listing_price).join(listing, listing.c.id == p.listing)
    return query.where(*wanted)


def _told(one: Listing) -> Price:
    assert one.price is not None
    return Price(one.price, None if one.sale_price is None else Sale(one.sale_price))


def _event(id: ListingId, at: datetime, price: Price, ours: AnyRow | None) -> dict[str, Any]:
    return {
        "listing": id,
        "at": at,
        "what": (EventKind.OTHER if ours is None else EventKind.LIVE).value,
        "price": price.told(),
        "operation": None if ours is None else ours.operation_id,
        "item": None if ours is None else ours.wanted_item,
    }


def _since(price: Price, seen_at: datetime, at: datetime) -> datetime:
    """Since when buyers have paid it: a sale begins and ends by itself."""
    sale = price.sale
    if sale is None:
        return seen_at
    turns = [turn for turn in (sale.starts_at, sale.ends_at) if turn is not None and turn <= at]
    return max([seen_at, *turns])


def _read(row: AnyRow, ask: AnyRow | None) -> PriceEvent:
    """An event, with what is known of who asked for it."""
    by = row if ask is None else ask
    return PriceEvent(
        id=row.id,
        listing=ListingId(row.listing),
        at=row.at,
        kind=EventKind(row.what),
        price=None if row.price is None else read_price(row.price),
        operation=None if row.operation is None else OperationId(row.operation),
        origin=None if by.origin is None else Origin(by.origin),
        reason=row.reason or by.reason or "",
        rules_version=by.rules_version,
        chain=tuple(by.chain or ()),
        requested_by=by.requested_by,
        approved_by=by.approved_by,
    )


def _drift(row: AnyRow) -> PriceDrift:
    listed = money.value(row.price_amount, row.price_currency)
    return PriceDrift(
        listing=ListingId(row.listing),
        wanted=None if row.wanted is None else read_price(row.wanted),
        # What was never read back is what the catalog tells.
        live=read_price(row.live) if row.live is not None else None if listed is None else Price(listed),
        since=row.differs_since,
        cause=_CAUSES.get(row.status, DriftCause.UNDER_WAY if row.status in _UNDER_WAY else DriftCause.CHANGED_THERE),
        operation=None if row.operation_id is None else OperationId(row.operation_id),
        words=row.error_message,
    )


_FORGET = text(
    """
    delete from price_event where id in (
        select old.id from price_event old
        left join lateral (
            select id, item from price_event seen
            where seen.listing = old.listing and seen.at < :before
                and seen.what in ('LIVE', 'OTHER') and seen.price is not null
            order by seen.at desc, seen.id desc limit 1
        ) last on true
        where old.at < :before and old.id is distinct from last.id
            and (old.what = 'ASKED' and old.item = last.item) is not true
        limit :limit
    )
    """
)
_UNDER_WAY = {one.value for one in OPEN}
_CAUSES = {ItemStatus.PARKED.value: DriftCause.PARKED, ItemStatus.FAILED.value: DriftCause.FAILED}

_LIVE = (
    update(listing_price)
    .where(p.listing == bindparam("id"))
    .values(live=bindparam("new_live"), live_at=bindparam("new_at"), differs_since=bindparam("new_differs"))
)
_WANTED = (
    update(listing_price)
    .where(p.listing == bindparam("id"))
    .values(
        wanted=bindparam("new_wanted"),
        wanted_item=bindparam("new_item"),
        wanted_at=bindparam("new_at"),
        differs_since=case(
            (bindparam("new_same", type_=Boolean), None), else_=func.coalesce(p.differs_since, func.now())
        ),
    )
)
