"""Listings whose prices wait to be worked out anew, and what came of the last time.

A listing waits once, however much happens: what comes meanwhile is seen when it is worked out. Whoever works them out holds their
channel's lock of PRICES before their rows; so do not take that lock after you have marked listings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ListingId
from domain.repricing import Became, Reason, Repriced
from store.channel import not_paused
from store.session import among
from store.tables import listing_price, price_due, repriced

d = price_due.c
r = repriced.c


@dataclass(frozen=True, slots=True)
class Due:
    """A listing that waits, and why."""

    listing: ListingId
    reasons: frozenset[Reason]


async def mark(tx: AsyncConnection, ids: Collection[ListingId], reason: Reason, rest: timedelta = timedelta(0)) -> None:
    """Have the prices of these listings worked out anew once `tx` has committed; for a damped reason not before each has rested
    for `rest` since it was last asked for."""
    if ids:
        values = {"ids": sorted(ids), "reason": reason.value, "rest": rest if reason.damped else timedelta(0)}
        await tx.execute(_MARK, values)


async def mark_turned(
    tx: AsyncConnection, meant: Mapping[Reason, Collection[ListingId]], channels: Collection[ChannelId]
) -> None:
    """The same of several reasons, and for TIME of all that these channels offer. In one statement: rows are locked by listing,
    and two that mark twice in one transaction would wait for each other."""
    pairs = [(id, reason.value) for reason, ids in meant.items() for id in ids]
    if pairs or channels:
        values = {"ids": [id for id, _ in pairs], "reasons": [reason for _, reason in pairs]}
        await tx.execute(_MARK_TURNED, values | {"channels": sorted(channels)})


async def put_off(tx: AsyncConnection, id: ListingId, by: timedelta) -> None:
    """Whatever it waits for, it does not before so long."""
    await tx.execute(update(price_due).where(d.listing == id).values(due_at=func.now() + by))


async def mark_channels(tx: AsyncConnection, channels: Collection[ChannelId], reason: Reason) -> int:
    """The same for all that these channels offer; how many those are."""
    return (await tx.execute(_MARK_CHANNELS, {"channels": sorted(channels), "reason": reason.value})).rowcount


async def waiting(tx: AsyncConnection, channels: Collection[ChannelId]) -> list[ChannelId]:
    """Of these channels those that are not paused and have listings that are due."""
    query = (
        select(d.channel).distinct().where(among(d.channel, channels), d.due_at <= func.now(), not_paused(d.channel))
    )
    return [ChannelId(id) for id in await tx.scalars(query.order_by(d.channel))]


async def take(tx: AsyncConnection, channel: ChannelId, limit: int) -> list[Due]:
    """At most `limit` listings of a channel that are due, longest first. They wait no more when `tx` commits; until then nobody
    else is given them."""
    chosen = (
        select(d.listing)
        .where(d.channel == channel, d.due_at <= func.now(), not_paused(d.channel))
        .order_by(d.due_at, d.listing)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()
    )
    rows = await tx.execute(delete(price_due).where(d.listing.in_(select(chosen))).returning(d.listing, d.reasons))
    return sorted(
        (Due(ListingId(row.listing), frozenset(map(Reason, row.reasons))) for row in rows), key=lambda one: one.listing
    )


async def last(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, Repriced]:
    """What came of each listing the last time; what never was worked out is missing."""
    overtaken = func.coalesce(listing_price.c.wanted_at > r.asked_at, False).label("overtaken")
    query = select(repriced, overtaken).outerjoin(listing_price, listing_price.c.listing == r.listing)
    return {
        ListingId(row.listing): Repriced(
            ListingId(row.listing),
            row.at,
            Became(row.became),
            row.words,
            row.fingerprint,
            row.asked_at,
            row.units,
            row.overtaken,
        )
        for row in await tx.execute(query.where(among(r.listing, ids)))
    }


async def note(tx: AsyncConnection, came: Sequence[Repriced]) -> None:
    """Keep what came of them, by the database's clock. Who asked for nothing keeps when it last did."""
    if not came:
        return
    # The time at which what is asked for in `tx` is wanted from, to the letter.
    now: datetime = (await tx.scalars(select(func.now()))).one()
    fresh = upsert(repriced)
    names = ("at", "became", "words", "fingerprint", "units")
    statement = fresh.on_conflict_do_update(
        index_elements=["listing"],
        set_={name: fresh.excluded[name] for name in names}
        | {"asked_at": func.coalesce(fresh.excluded.asked_at, r.asked_at)},
    )
    await tx.execute(
        statement,
        [
            {
                "listing": one.listing,
                "at": one.at,
                "became": one.became.value,
                "words": one.words,
                "fingerprint": one.fingerprint,
                "asked_at": None if one.asked_at is None else now,
                "units": one.units,
            }
            for one in sorted(came, key=lambda one: one.listing)
        ],
    )


_ON_CONFLICT = """
    on conflict (listing) do update set
        reasons = case when excluded.reasons <@ price_due.reasons then price_due.reasons
            else price_due.reasons || excluded.reasons end,
        due_at = least(price_due.due_at, excluded.due_at)
"""
_MARK = text(
    f"""
    insert into price_due (listing, channel, reasons, due_at)
    select listing.id, listing.channel, array[:reason],
        greatest(now(), repriced.asked_at + cast(:rest as interval))
    from listing left join repriced on repriced.listing = listing.id
    where listing.id = any(cast(:ids as text[])) and listing.status <> 'WITHDRAWN' order by listing.id
    {_ON_CONFLICT}
    """  # noqa: S608 - words of ours
)
# A sale begins and ends at its instant, however much else of its channel waits.
_MARK_TURNED = text(
    f"""
    with meant as (
        select * from unnest(cast(:ids as text[]), cast(:reasons as text[])) told (id, reason)
        union all
        select id, 'TIME' from listing where channel = any(cast(:channels as text[])) and status <> 'WITHDRAWN'
    )
    insert into price_due (listing, channel, reasons, due_at)
    select listing.id, listing.channel, array_agg(distinct meant.reason),
        now() - case when bool_or(meant.reason = 'SALE') then interval '1 day' else interval '0' end
    from meant join listing on listing.id = meant.id
    group by listing.id, listing.channel order by listing.id
    {_ON_CONFLICT}
    """  # noqa: S608 - words of ours
)
_MARK_CHANNELS = text(
    f"""
    insert into price_due (listing, channel, reasons, due_at)
    select id, channel, array[:reason], now() from listing
    where channel = any(cast(:channels as text[])) and status <> 'WITHDRAWN' order by id
    {_ON_CONFLICT}
    """  # noqa: S608 - words of ours
)
