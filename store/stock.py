"""The newest reading of each place and channel SKU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import FromClause, cast
from sqlalchemy.types import Text

from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.stock import Reading
from store import event
from store.session import AnyRow, among
from store.tables import listing, stock_level

_KEY = ("location", "channel", "channel_sku")


async def readings(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Reading]]:
    """What every place told of `skus`, by place; a SKU no place told of is missing.

    A channel SKU listed in several marketplaces lies in one pool and is counted once.
    """
    mapped = (
        select(listing.c.sku, listing.c.channel, listing.c.channel_sku)
        .where(among(listing.c.sku, skus))
        .distinct()
        .subquery()
    )
    c = stock_level.c
    rows = await tx.execute(
        select(mapped.c.sku, stock_level)
        .join_from(mapped, stock_level, and_(mapped.c.channel == c.channel, mapped.c.channel_sku == c.channel_sku))
        .order_by(mapped.c.sku, c.location, c.channel, c.channel_sku)
    )
    found: defaultdict[Sku, list[Reading]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_reading(row))
    return dict(found)


async def of_channel_skus(
    tx: AsyncConnection, channel: ChannelId, channel_skus: Collection[ChannelSku]
) -> dict[ChannelSku, list[Reading]]:
    """What every place of one channel told of its SKUs; a SKU no place told of is missing."""
    c = stock_level.c
    rows = await tx.execute(select(stock_level).where(c.channel == channel, among(c.channel_sku, channel_skus)))
    found: defaultdict[ChannelSku, list[Reading]] = defaultdict(list)
    for row in rows:
        found[ChannelSku(row.channel_sku)].append(_reading(row))
    return dict(found)


async def keep(tx: AsyncConnection, readings: Sequence[Reading]) -> list[tuple[ChannelId, ChannelSku]]:
    """Keep each reading unless a newer one is kept; returns those whose numbers changed, the first ones included."""
    newest = {(one.location, one.channel, one.channel_sku): one for one in sorted(readings, key=lambda one: one.as_of)}
    if not newest:
        return []
    ordered = [newest[key] for key in sorted(newest)]
    before = await _locked(tx, ordered)
    fresh = insert(stock_level)
    statement = fresh.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={name: fresh.excluded[name] for name in ("on_hand", "reserved", "inbound", "as_of")},
        where=stock_level.c.as_of < fresh.excluded.as_of,
    ).returning(stock_level)
    rows = await tx.execute(statement, [_row(one) for one in ordered])
    changed = {
        (one.channel, one.channel_sku)
        for one in map(_reading, rows)
        if before.get((one.location, one.channel, one.channel_sku)) != (one.on_hand, one.reserved, one.inbound)
    }
    return sorted(changed)


async def keep_and_tell(tx: AsyncConnection, readings: Sequence[Reading]) -> list[Sku]:
    """Keep the newest readings, and tell of each SKU of ours whose numbers changed; returns these."""
    skus = sorted(set((await skus_of(tx, await keep(tx, readings))).values()))
    await event.append(tx, [NewEvent(EventKind.STOCK_CHANGED, sku, {"sku": sku}) for sku in skus])
    return skus


async def skus_of(
    tx: AsyncConnection, pairs: Collection[tuple[ChannelId, ChannelSku]]
) -> dict[tuple[ChannelId, ChannelSku], Sku]:
    """Our SKU of each (channel, channel SKU) that a listing maps to one."""
    asked = _unnested(("channel", [pair[0] for pair in pairs]), ("channel_sku", [pair[1] for pair in pairs]))
    c = listing.c
    rows = await tx.execute(
        select(c.channel, c.channel_sku, c.sku)
        .join_from(asked, listing, and_(c.channel == asked.c.channel, c.channel_sku == asked.c.channel_sku))
        .where(c.sku.is_not(None))
        .order_by(c.as_of)
    )
    return {(ChannelId(row.channel), ChannelSku(row.channel_sku)): Sku(row.sku) for row in rows}


async def _locked(tx: AsyncConnection, readings: Sequence[Reading]) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """The numbers kept so far, locked in the order of their keys so that two writers never wait for each other."""
    asked = _unnested(
        ("location", [one.location for one in readings]),
        ("channel", [one.channel for one in readings]),
        ("channel_sku", [one.channel_sku for one in readings]),
    )
    c = stock_level.c
    rows = await tx.execute(
        select(stock_level)
        .where(tuple_(c.location, c.channel, c.channel_sku).in_(select(*(asked.c[name] for name in _KEY))))
        .order_by(c.location, c.channel, c.channel_sku)
        .with_for_update()
    )
    return {
        (one.location, one.channel, one.channel_sku): (one.on_hand, one.reserved, one.inbound)
        for one in map(_reading, rows)
    }


def _unnested(*columns: tuple[str, Sequence[str]]) -> FromClause:
    """Lists of equal length as the columns of a table."""
    arrays = (cast(list(values), ARRAY(Text)) for _, values in columns)
    return func.unnest(*arrays).table_valued(*(name for name, _ in columns)).render_derived(name="asked")


def _row(one: Reading) -> dict[str, Any]:
    return {
        "location": one.location,
        "channel": one.channel,
        "channel_sku": one.channel_sku,
        "on_hand": one.on_hand,
        "reserved": one.reserved,
        "inbound": one.inbound,
        "as_of": one.as_of,
    }


def _reading(row: AnyRow) -> Reading:
    return Reading(
        location=LocationCode(row.location),
        channel=ChannelId(row.channel),
        channel_sku=ChannelSku(row.channel_sku),
        on_hand=row.on_hand,
        reserved=row.reserved,
        inbound=row.inbound,
        as_of=row.as_of,
    )
