"""What is known of the numbers that channels show: now and at any past instant, what their buyers can still buy, and how long a
channel takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import cast

from domain.errors import OutcomeUnknown
from domain.ids import ChannelId, ChannelSku, Sku
from domain.lag import Lag
from domain.policy import Shown
from domain.rule import RuleKind
from domain.shown import counting
from domain.stock import Term
from store.channel_stock import NumberKey
from store.session import AnyRow, among
from store.tables import channel_stock, stock_push

c = channel_stock.c
p = stock_push.c

# More of them would not change what they say, and a busy channel has a hundred thousand a day.
_SAMPLES = 2000


@dataclass(frozen=True, slots=True)
class ChannelNumber:
    """One number that a channel's buyers see, as it should be, as it was told and as it was last seen. `terms` sum to what the
    channel may sell in all, of which `target` is this place's part. `refs` are the listing's."""

    channel: ChannelId
    channel_sku: ChannelSku
    place: str
    sku: Sku
    target: int
    version: int
    terms: list[Term]
    target_at: datetime
    caused_at: datetime | None
    noticed_at: datetime | None
    told: int | None
    told_at: datetime | None
    confirmed_at: datetime | None
    shown: int | None
    shown_at: datetime | None
    error_code: str | None
    error_message: str | None
    refs: Mapping[str, str]

    @property
    def key(self) -> NumberKey:
        """Which number it is."""
        return NumberKey(self.channel, self.channel_sku, self.place)


@dataclass(frozen=True, slots=True)
class Told:
    """What a channel had been told by some instant, and when it was seen to show no more than that, if by then."""

    channel: ChannelId
    quantity: int
    pushed_at: datetime
    confirmed_at: datetime | None


async def numbers(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[ChannelNumber]]:
    """The numbers that channels show of `skus`, by channel, channel SKU and place; a SKU without any is missing."""
    rows = await tx.execute(select(channel_stock).where(among(c.sku, skus)).order_by(c.channel, c.channel_sku, c.place))
    found: defaultdict[Sku, list[ChannelNumber]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_number(row))
    return dict(found)


async def numbers_at(tx: AsyncConnection, skus: Collection[Sku], at: datetime) -> dict[Sku, list[Told]]:
    """What each channel had been told of `skus` by `at`, by channel; a SKU or channel that was told nothing is missing."""
    by_sku: defaultdict[Sku, list[AnyRow]] = defaultdict(list)
    for row in await tx.execute(_NUMBERS_AT, {"skus": list(skus), "at": at, "in_doubt": OutcomeUnknown.code}):
        by_sku[Sku(row.sku)].append(row)
    return {
        sku: [_together(channel, places, at) for channel, places in counting(rows, _quantity).items()]
        for sku, rows in by_sku.items()
    }


def _quantity(row: AnyRow) -> int:
    return int(row.quantity)


def _together(channel: ChannelId, places: Sequence[AnyRow], at: datetime) -> Told:
    seen = [place.confirmed_at for place in places if place.confirmed_at is not None and place.confirmed_at <= at]
    return Told(
        channel=channel,
        quantity=sum(map(_quantity, places)),
        pushed_at=max(place.sent_at for place in places),
        confirmed_at=max(seen) if len(seen) == len(places) else None,
    )


# A look into the index for each number that there ever was of a SKU, and one for its last send: there are very many sends.
_NUMBERS_AT = text(
    """
    with recursive number as (
        select told.* from unnest(cast(:skus as text[])) as asked (sku) cross join lateral (
            select sku, channel, channel_sku, place from stock_push where sku = asked.sku
            order by channel, channel_sku, place limit 1
        ) told
        union all
        select told.* from number cross join lateral (
            select sku, channel, channel_sku, place from stock_push
            where sku = number.sku
                and (channel, channel_sku, place) > (number.channel, number.channel_sku, number.place)
            order by channel, channel_sku, place limit 1
        ) told
    )
    select number.sku, number.channel, number.channel_sku, last.quantity, last.sent_at, last.confirmed_at
    from number cross join lateral (
        select quantity, sent_at, confirmed_at from stock_push
        where sku = number.sku and channel = number.channel and channel_sku = number.channel_sku and place = number.place
            and sent_at <= :at and (error_code is null or error_code = :in_doubt)
        order by sent_at desc, id desc limit 1
    ) last
    order by number.sku, number.channel, number.channel_sku, number.place
    """
)


async def shown_of(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, dict[ChannelId, Shown]]:
    """The most that each channel's buyers can still buy of `skus`, over all places and listings; a channel without a number of
    them is missing.

    What was confirmed may only have been bought since; what was sent since then may show now, or soon, or not at all.
    """
    last = and_(p.id == c.push_id, p.confirmed_at.is_(None), maybe_taken(p))
    rows = await tx.execute(
        select(c.sku, c.channel, c.told, c.shown, c.confirmed_at, func.greatest(c.unseen, p.quantity).label("most"))
        .outerjoin_from(channel_stock, stock_push, last)
        .where(among(c.sku, skus))
        .order_by(c.sku, c.channel)
    )
    parts: defaultdict[Sku, defaultdict[ChannelId, list[Shown]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        parts[Sku(row.sku)][ChannelId(row.channel)].append(_shown(row))
    return {sku: {id: _all_shown(found) for id, found in by_channel.items()} for sku, by_channel in parts.items()}


def maybe_taken(push: Any) -> ColumnElement[bool]:
    """The channel took the number of this send, or may have. `push` are the columns of `stock_push`."""
    return or_(push.error_code.is_(None), push.error_code == OutcomeUnknown.code)


def _shown(row: AnyRow) -> Shown:
    known = [units for units in (row.told, row.shown) if units is not None]
    if row.told is None and row.most is None:
        return Shown(None, confirmed=False)
    if row.confirmed_at is None:
        return Shown(max(known + ([] if row.most is None else [row.most])), confirmed=False)
    if row.most is not None:
        return Shown(max(row.most, min(known)), confirmed=False)
    return Shown(min(known), confirmed=True)


def _all_shown(parts: Sequence[Shown]) -> Shown:
    units = [part.units for part in parts if part.units is not None]
    if len(units) < len(parts):
        return Shown(None, confirmed=False)
    return Shown(sum(units), all(part.confirmed for part in parts))


async def lags(tx: AsyncConnection, channels: Collection[ChannelId], hours: int = 24) -> dict[ChannelId, Lag]:
    """How long each channel took, over the last hours, from a sale (or whatever else made a number smaller) until it was seen to
    show no more than the lower number; a channel without a sample is missing. What was sold before is no sample.

    A number that the channel had lowered by itself, for its own sale, is no sample. The newest samples say enough.
    """
    rows = await tx.execute(_LAGS, {"channels": sorted(channels), "hours": hours, "most": _SAMPLES})
    return {ChannelId(row.channel): Lag(row.samples, *(max(0.0, part) for part in row.parts)) for row in rows}


_LAGS = text(
    """
    select asked.channel, count(*) samples,
        percentile_cont(array[0.5, 0.95, 0.99]) within group (order by extract(epoch from confirmed_at - caused_at)) parts
    from unnest(cast(:channels as text[])) as asked (channel) cross join lateral (
        select confirmed_at, caused_at from stock_push
        where channel = asked.channel and confirmed_at > now() - make_interval(hours => :hours)
            and quantity < expected and accepted_at is not null and caused_at is not null
        order by confirmed_at desc limit :most
    ) lowered
    where caused_at > now() - make_interval(hours => :hours)
    group by asked.channel
    """
)


async def arbitrated(tx: AsyncConnection, skus: Collection[Sku]) -> set[Sku]:
    """Those of `skus` whose last units are given to one channel after the other: what one is seen to show matters to the rest."""
    few = c.terms.contains(cast([{"source": RuleKind.LAST_UNITS.value}], JSONB))
    return {Sku(sku) for sku in await tx.scalars(select(c.sku).where(among(c.sku, skus), few).distinct())}


def _number(row: AnyRow) -> ChannelNumber:
    return ChannelNumber(
        channel=ChannelId(row.channel),
        channel_sku=ChannelSku(row.channel_sku),
        place=row.place,
        sku=Sku(row.sku),
        target=row.target,
        version=row.version,
        terms=[_term(term) for term in row.terms],
        target_at=row.target_at,
        caused_at=row.caused_at,
        noticed_at=row.noticed_at,
        told=row.told,
        told_at=row.told_at,
        confirmed_at=row.confirmed_at,
        shown=row.shown,
        shown_at=row.shown_at,
        error_code=row.error_code,
        error_message=row.error_message,
        refs=row.refs,
    )


def _term(row: Mapping[str, Any]) -> Term:
    as_of = None if row["as_of"] is None else datetime.fromisoformat(row["as_of"])
    return Term(row["label"], row["quantity"], row["source"], as_of, row["rule"], row["upstream_request_id"])
