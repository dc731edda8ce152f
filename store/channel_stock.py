"""What each channel is to show, was told, and was seen to show.

One row per number that buyers see: `target` is what it should be, `told` the last number that the channel took or may have taken,
`shown` what was last seen there. A row is at rest when it was told its target and `confirmed_at` says that this was seen.

A target replaces another only when it was computed from a newer version of the SKU, or from the same one later. `target_at` is
the database's clock, read together with the version and before all else that the target is computed from: so of two targets the
one that knows more is also the later one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    func,
    null,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from domain.ids import ChannelId, ChannelSku, Sku
from domain.product import FulfilledBy
from domain.stock import Term
from store.session import among, as_table
from store.tables import channel_stock, listing, stock_balance

c = channel_stock.c

UNMAPPED = "UNMAPPED"
"""The error of a number that is still shown by a listing that is mapped to no SKU any more: nobody tells it anything."""

SOLD = -1
"""The `looks` of a number that is to be looked at because an order of its channel may have lowered it, or not it but another."""


class NumberKey(NamedTuple):
    """One number that a channel's buyers see."""

    channel: ChannelId
    channel_sku: ChannelSku
    place: str


@dataclass(frozen=True, slots=True)
class Outlet:
    """A listing that shows a number of ours: one that we fulfill ourselves, once however many marketplaces list it."""

    sku: Sku
    channel: ChannelId
    channel_sku: ChannelSku
    refs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """A number that a channel should show. It is sent when it is `ready`: what it says is known to be counted."""

    key: NumberKey
    sku: Sku
    refs: Mapping[str, str]
    quantity: int
    version: int
    at: datetime
    terms: Sequence[Term]
    caused_at: datetime | None
    noticed_at: datetime | None
    ready: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """Numbers that were parted with: `gone`, and those that are newly `unmapped`, with the units that they still show."""

    gone: Sequence[NumberKey]
    unmapped: Sequence[tuple[NumberKey, int]]


# ── Targets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def outlets(
    tx: AsyncConnection, skus: Collection[Sku], channels: Collection[ChannelId]
) -> dict[Sku, list[Outlet]]:
    """The listings of `skus` in `channels` that show a number of ours; a SKU without any is missing."""
    o = listing.c
    rows = await tx.execute(
        select(o.sku, o.channel, o.channel_sku, o.refs)
        .where(among(o.sku, skus), among(o.channel, channels), o.fulfilled_by == FulfilledBy.MERCHANT.value)
        .order_by(o.channel, o.channel_sku, o.marketplace)
        .ext(distinct_on(o.channel, o.channel_sku))
    )
    found: defaultdict[Sku, list[Outlet]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(Outlet(Sku(row.sku), ChannelId(row.channel), ChannelSku(row.channel_sku), row.refs))
    return dict(found)


async def counted(tx: AsyncConnection, skus: Collection[Sku]) -> set[Sku]:
    """Those of `skus` that were counted at an own place, be it as none."""
    b = stock_balance.c
    return {Sku(sku) for sku in await tx.scalars(select(b.sku).where(among(b.sku, skus)).distinct())}


async def lock(tx: AsyncConnection, skus: Collection[Sku]) -> list[tuple[NumberKey, Sku]]:
    """Hold the numbers of `skus` until `tx` ends, so that nothing is sent between the look at them and their new targets; returns
    them with their SKUs."""
    key = (c.channel, c.channel_sku, c.place)
    rows = await tx.execute(select(*key, c.sku).where(among(c.sku, skus)).order_by(*key).with_for_update())
    return [
        (NumberKey(ChannelId(channel), ChannelSku(channel_sku), place), Sku(sku))
        for channel, channel_sku, place, sku in rows
    ]


async def clear(
    tx: AsyncConnection, strays: Collection[NumberKey], places: Mapping[ChannelId, Collection[str]]
) -> Cleared:
    """Part with numbers that no listing of their SKU shows at one of `places`. They are locked by now.

    Forgotten are those of listings that sell from a pool now, or are no more, and of places that the channel is not told of any
    more. One whose listing became another SKU's goes over to that. One whose listing is mapped to no SKU is told nothing and goes
    on counting: its buyers still see it.
    """
    listings = await _listed(tx, {(key.channel, key.channel_sku) for key in strays})
    gone = [
        key
        for key in strays
        if key.place not in places.get(key.channel, ()) or (key.channel, key.channel_sku) not in listings
    ]
    rest = [(key, listings[key.channel, key.channel_sku]) for key in sorted(set(strays) - set(gone))]
    moved = [{**of(key), "new_sku": sku} for key, sku in rest if sku is not None]
    if moved:
        await tx.execute(_MOVE, moved)
    noted = [(key, units) for key, sku in rest if sku is None and (units := await _unmap(tx, key)) is not None]
    await forget(tx, gone)
    return Cleared(gone, noted)


async def forget(tx: AsyncConnection, keys: Collection[NumberKey]) -> None:
    """Forget these numbers; what was sent of them stays in `stock_push`."""
    if keys:
        await tx.execute(_FORGET, [of(key) for key in sorted(keys)])


async def placed_elsewhere(
    tx: AsyncConnection, places: Mapping[ChannelId, Collection[str]], after: Sku, limit: int
) -> list[Sku]:
    """The next `limit` SKUs after `after` with a number at none of `places`, by SKU."""
    told = [(channel, place) for channel, names in places.items() for place in names]
    known = as_table(channel=[channel for channel, _ in told], place=[place for _, place in told])
    query = select(c.sku).where(c.sku > after, tuple_(c.channel, c.place).not_in(select(*known.c))).distinct()
    return [Sku(sku) for sku in await tx.scalars(query.order_by(c.sku).limit(limit))]


async def look_after_orders(tx: AsyncConnection, sold: Collection[tuple[ChannelId, Sku]]) -> None:
    """Have all places of these SKUs in these channels looked at: a shop may have sold from another one than we took it from.

    Their targets are computed first, if nothing goes wrong. Call it before any row of `sku_stock` is locked.
    """
    if sold:
        by = sorted(sold)
        values = {"channels": [channel for channel, _ in by], "skus": [sku for _, sku in by], "sold": SOLD}
        await tx.execute(_LOOK_AFTER_ORDERS, values | {"unmapped": UNMAPPED})


async def _listed(
    tx: AsyncConnection, asked: Collection[tuple[ChannelId, ChannelSku]]
) -> dict[tuple[ChannelId, ChannelSku], Sku | None]:
    """The SKU that each of the channels' SKUs is mapped to, of those that we fulfill."""
    values = {"channels": [channel for channel, _ in asked], "skus": [sku for _, sku in asked]}
    return {
        (ChannelId(row.channel), ChannelSku(row.channel_sku)): None if row.sku is None else Sku(row.sku)
        for row in await tx.execute(_LISTED, values)
    }


async def _unmap(tx: AsyncConnection, key: NumberKey) -> int | None:
    """How many units such a number goes on showing as far as we know; None where it was unmapped before."""
    row = (await tx.execute(select(c.told, c.target, c.push_id, c.error_code).where(_is(key)))).one()
    if row.told is None and row.push_id is None:
        # What it shows was never ours.
        await forget(tx, [key])
        return None
    if row.error_code == UNMAPPED:
        return None
    units: int = row.target if row.told is None else row.told
    await tx.execute(
        update(channel_stock)
        .where(_is(key))
        .values(
            target=units,
            terms=[_term_row(_still_shown(units))],
            caused_at=None,
            noticed_at=None,
            due_at=None,
            lease_until=None,
            # Whoever has it in hand sends nothing any more.
            fence=c.fence + 1,
            error_code=UNMAPPED,
            error_message="It is mapped to no SKU and still offered: map it, or take it out of sale there.",
        )
    )
    return units


async def follow(tx: AsyncConnection, key: NumberKey, units: int, at: datetime) -> None:
    """A number that nobody tells anything is what it was seen to be at `at`. Its row is locked by now."""
    await tx.execute(
        update(channel_stock)
        .where(_is(key))
        .values(
            target=units,
            terms=[_term_row(_still_shown(units))],
            told=units,
            shown=units,
            shown_at=at,
            confirmed_at=at,
            unseen=None,
        )
    )


def _still_shown(units: int) -> Term:
    return Term("still shown, mapped to no SKU", units, "channel", None)


def _is(key: NumberKey) -> ColumnElement[bool]:
    return and_(c.channel == key.channel, c.channel_sku == key.channel_sku, c.place == key.place)


def of(key: NumberKey) -> dict[str, str]:
    """The parameters of THIS."""
    return {"of_channel": key.channel, "of_channel_sku": key.channel_sku, "of_place": key.place}


THIS = (
    c.channel == bindparam("of_channel"),
    c.channel_sku == bindparam("of_channel_sku"),
    c.place == bindparam("of_place"),
)
"""One number's row, for statements that are run for many."""
_FORGET = delete(channel_stock).where(*THIS)
# The versions of the other SKU are another count; its target is put next.
_MOVE = (
    update(channel_stock)
    .where(*THIS)
    .values(sku=bindparam("new_sku"), version=-1, due_at=None, lease_until=None, fence=c.fence + 1)
)
_LISTED = text(
    """
    select asked.channel, asked.channel_sku, max(listed.sku) sku
    from unnest(cast(:channels as text[]), cast(:skus as text[])) as asked (channel, channel_sku)
    join listing listed on listed.channel = asked.channel and listed.channel_sku = asked.channel_sku
    where listed.fulfilled_by = 'MERCHANT'
    group by asked.channel, asked.channel_sku
    """
)
_LOOK_AFTER_ORDERS = text(
    """
    with sold as (
        select number.channel, number.channel_sku, number.place
        from unnest(cast(:channels as text[]), cast(:skus as text[])) as asked (channel, sku)
        join channel_stock number on number.sku = asked.sku and number.channel = asked.channel
        where number.told is not null and number.error_code is distinct from :unmapped
            and exists (
                select from channel_stock other where other.channel = number.channel
                    and other.channel_sku = number.channel_sku and other.place <> number.place
            )
        order by number.channel, number.channel_sku, number.place
        for update of number
    )
    update channel_stock number set looks = :sold, confirmed_at = null,
        due_at = coalesce(number.due_at, clock_timestamp() + interval '1 second')
    from sold
    where number.channel = sold.channel and number.channel_sku = sold.channel_sku and number.place = sold.place
    """
)


async def put(tx: AsyncConnection, targets: Sequence[Target]) -> None:
    """Keep each target unless one that knows more is kept. A new number is due at once; one that is already under way keeps its
    time, and so does one that the channel refuses."""
    if targets:
        await tx.execute(_PUT, [_target_row(one) for one in sorted(targets, key=lambda one: one.key)])


def _target_row(one: Target) -> dict[str, Any]:
    return {
        **one.key._asdict(),
        "sku": one.sku,
        "refs": dict(one.refs),
        "target": one.quantity,
        "version": one.version,
        "terms": [_term_row(term) for term in one.terms],
        "target_at": one.at,
        "caused_at": one.caused_at,
        "noticed_at": one.noticed_at,
        "due_at": one.at if one.ready else None,
        # Of a new row only: one that was forgotten and comes back must not begin with fences that were given before.
        "fence": int(one.at.timestamp() * 1000),
    }


def _put() -> Any:
    fresh = insert(channel_stock)
    new = fresh.excluded
    other_than_told = new.target.is_distinct_from(c.told)
    due_at = case(
        (new.due_at.is_(None), c.due_at),
        (and_(other_than_told, new.target != c.target), new.due_at),
        (or_(other_than_told, c.attempts > 0, c.confirmed_at.is_(None)), func.coalesce(c.due_at, new.due_at)),
        else_=null(),
    )
    kept = ("sku", "refs", "target", "version", "terms", "target_at")
    return fresh.on_conflict_do_update(
        index_elements=["channel", "channel_sku", "place"],
        set_={
            **{name: new[name] for name in kept},
            "caused_at": case((other_than_told, func.least(c.caused_at, new.caused_at)), else_=null()),
            "noticed_at": case((other_than_told, func.least(c.noticed_at, new.noticed_at)), else_=null()),
            "due_at": due_at,
            "error_code": func.nullif(c.error_code, UNMAPPED),
        },
        where=or_(
            and_(c.sku == new.sku, tuple_(c.version, c.target_at) < tuple_(new.version, new.target_at)),
            # The channel's SKU has become another of ours, whose versions are another count.
            and_(c.sku != new.sku, c.target_at < new.target_at),
        ),
    )


_PUT = _put()


async def repair(
    tx: AsyncConnection, channel: ChannelId, channel_sku: ChannelSku, place: str, shown: int | None, at: datetime
) -> None:
    """Have a number written again, over what the channel was seen to show `at` then. One that waits already keeps its time."""
    await tx.execute(
        update(channel_stock)
        .where(_is(NumberKey(channel, channel_sku, place)))
        .values(
            shown=shown,
            shown_at=at,
            confirmed_at=None,
            attempts=func.greatest(c.attempts, 1),
            looks=0,
            due_at=func.coalesce(c.due_at, func.clock_timestamp()),
        )
    )


def _term_row(term: Term) -> dict[str, Any]:
    return {
        "label": term.label,
        "quantity": term.quantity,
        "source": term.source,
        "as_of": None if term.as_of is None else term.as_of.isoformat(),
        "rule": term.rule,
        "upstream_request_id": term.upstream_request_id,
    }
