"""What channels tell of the market of our listings: what they would take of a sale, whose offer is featured, and at which price
ours could be. Each with its age, and with when to ask again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.fee import Fee, FeeKind, FeesEstimate
from domain.ids import ChannelId, ChannelSku, ListingId
from domain.money import Money
from domain.offer import OfferPrice
from domain.price_inputs import Featured, FeeEstimate, Told
from domain.product import FulfilledBy
from store import money
from store.session import AnyRow, among, storable
from store.tables import featured_offer, fee_estimate, market_look

f = fee_estimate.c
o = featured_offer.c
m = market_look.c

# While a question is under way, or after one that failed: what is told now may not be in its answer.
_ASKED_NOW = m.not_before > func.now()
_HURRIED = func.coalesce(m.hurried_at, func.now())

KEPT = 4
"""Estimates of one listing: as many prices as it is likely to be judged at."""
_REASON_CHARS = 400


class About(Enum):
    """What a channel is asked about a listing."""

    FEES = "FEES"
    FEATURED = "FEATURED"
    EXPECTED = "EXPECTED"


@dataclass(frozen=True, slots=True)
class Terms:
    """When a question is due: what was told is older than `age`, or of fees, the price has moved by more than `moved` percent."""

    age: timedelta
    moved: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A listing that a channel is to be asked about, as it is sold now."""

    listing: ListingId
    marketplace: str
    channel_sku: ChannelSku
    external_id: str
    price: Money
    fulfilled_by: FulfilledBy


@dataclass(frozen=True, slots=True)
class Market:
    """What is known of a listing's market; None is what nobody has told. `expected_status` is the channel's own word."""

    featured: Featured | None = None
    expected: Told | None = None
    expected_status: str | None = None


async def due(
    tx: AsyncConnection, channel: ChannelId, about: About, terms: Terms, limit: int, lease_s: float
) -> list[Wanted]:
    """At most `limit` listings of one marketplace that the channel should be asked about, what needs it most first, for `lease_s`
    seconds asked by nobody else: first what somebody told to be different, then what was never told, then what has moved
    most or is oldest."""
    values = {
        "channel": channel,
        "about": about.value,
        "age": terms.age,
        "moved": terms.moved / 100,
        "limit": limit,
        "lease": timedelta(seconds=lease_s),
    }
    rows = await tx.execute(_DUE_FEES if about is About.FEES else _DUE_OFFERS, values)
    return [
        Wanted(
            ListingId(row.id),
            row.marketplace,
            ChannelSku(row.channel_sku),
            row.external_id,
            Money(row.amount, row.currency),
            FulfilledBy(row.fulfilled_by),
        )
        for row in rows
    ]


async def hold(tx: AsyncConnection, about: About, ids: Collection[ListingId]) -> None:
    """Nobody else changes when these are asked about until `tx` ends. By listing, as everybody locks these rows; it comes after
    the rows of `price_due`."""
    which = (among(m.listing, ids), m.about == about.value)
    await tx.execute(select(m.listing).where(*which).order_by(m.listing).with_for_update())


async def told(tx: AsyncConnection, about: About, ids: Collection[ListingId], began_at: datetime) -> None:
    """They have been answered, by what was so when the question began. What somebody told since then still waits."""
    hurried = case((m.hurried_at > began_at, m.hurried_at), else_=None)
    price = case((hurried.is_(None), None), else_=m.price)
    answered = update(market_look).where(among(m.listing, ids), m.about == about.value)
    await tx.execute(
        answered.values(asked_at=began_at, hurried_at=hurried, price=price, not_before=None, failures=0, problem=None)
    )


async def untold(
    tx: AsyncConnection, about: About, problems: dict[ListingId, str], first_s: float, most_s: float
) -> None:
    """They were not: ask again, later each time."""
    for id, words in sorted(problems.items()):
        wait_s = func.least(first_s * func.power(2, func.least(m.failures, 20)), most_s)
        await tx.execute(
            update(market_look)
            .where(m.listing == id, m.about == about.value)
            .values(
                failures=m.failures + 1,
                not_before=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wait_s),
                problem=storable(words)[:_REASON_CHARS],
            )
        )


async def want_fees(tx: AsyncConnection, prices: Mapping[ListingId, Money]) -> None:
    """Rules want the fees of these prices: the next question is about them, and before those of others."""
    rows = [{"listing": id, "about": About.FEES.value, "price": prices[id].amount} for id in sorted(prices)]
    if rows:
        fresh = upsert(market_look)
        wanted = {
            "price": fresh.excluded.price,
            "hurried_at": case((_ASKED_NOW, func.clock_timestamp()), else_=_HURRIED),
        }
        other = m.price.is_distinct_from(fresh.excluded.price)
        statement = fresh.values(hurried_at=func.now())
        await tx.execute(
            statement.on_conflict_do_update(index_elements=["listing", "about"], set_=wanted, where=other), rows
        )


async def free(tx: AsyncConnection, about: About, ids: Collection[ListingId], wait_s: float) -> None:
    """Nothing was asked after all: they are due again in `wait_s` seconds."""
    values = {"not_before": func.now() + timedelta(seconds=wait_s)}
    await tx.execute(update(market_look).where(among(m.listing, ids), m.about == about.value).values(**values))


async def hurry(
    tx: AsyncConnection, channel: ChannelId, told: Sequence[tuple[str | None, str, datetime]]
) -> list[ListingId]:
    """Somebody told that offers of these items (marketplace, the channel's id) were other ones at that instant: our listings of
    them are asked about before others, unless what is known is younger. Those listings."""
    places, items, instants = ([one[column] for one in told] for column in range(3))
    values = {"channel": channel, "places": places, "items": items, "instants": instants}
    return [ListingId(id) for id in await tx.scalars(_HURRY, values)]


async def keep_fees(tx: AsyncConnection, told: Sequence[tuple[ListingId, FeesEstimate]]) -> list[ListingId]:
    """Keep estimates, at most KEPT for each listing; whose fees are others than they were at the nearest price that was known, in
    share or in amount, are answered. Those of another way of sending hold no more."""
    before = await estimates(tx, {id for id, _ in told})
    changed: list[ListingId] = []
    for id, one in sorted(told, key=lambda pair: (pair[0], pair[1].as_of)):
        referral, fixed = split(one)
        assert one.fulfilled_by is not None, "it was asked for one way of sending"
        way = one.fulfilled_by.value
        await tx.execute(delete(fee_estimate).where(f.listing == id, f.fulfilled_by != way))
        fresh = {
            "currency": one.total.currency,
            "referral": referral.amount,
            "fixed": fixed.amount,
            "fees": [_fee(fee) for fee in one.fees],
            "fulfilled_by": way,
            "as_of": one.as_of,
        }
        await tx.execute(
            upsert(fee_estimate)
            .values(listing=id, price=one.price.listing.amount, **fresh)
            .on_conflict_do_update(index_elements=["listing", "price"], set_=fresh)
        )
        if _other(before.get(id, ()), FeeEstimate(one.price.listing, referral, fixed, one.as_of)):
            changed.append(id)
    await tx.execute(_PRUNE, {"ids": [id for id, _ in told], "kept": KEPT})
    return sorted(set(changed))


def split(one: FeesEstimate) -> tuple[Money, Money]:
    """What of an estimate moves with the price, and all the rest of its total, fees without a name included."""
    moving = sum((fee.final.amount for fee in one.fees if fee.kind is FeeKind.REFERRAL), Decimal(0))
    return Money(moving, one.total.currency), Money(one.total.amount - moving, one.total.currency)


async def estimates(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, tuple[FeeEstimate, ...]]:
    """The estimates of each listing, by price; what has none is missing."""
    found: defaultdict[ListingId, list[FeeEstimate]] = defaultdict(list)
    rows = await tx.execute(select(fee_estimate).where(among(f.listing, ids)).order_by(f.listing, f.price))
    for row in rows:
        found[ListingId(row.listing)].append(
            FeeEstimate(
                Money(row.price, row.currency),
                Money(row.referral, row.currency),
                Money(row.fixed, row.currency),
                row.as_of,
                "estimated by the channel",
            )
        )
    return {id: tuple(those) for id, those in found.items()}


async def keep_featured(
    tx: AsyncConnection,
    told: Sequence[tuple[ListingId, OfferPrice | None, str | None, bool | None]],
    as_of: datetime,
) -> list[ListingId]:
    """Keep whose offer is featured beside each listing: its price (None: nobody's is), its seller, and whether it is ours. What
    is known to be younger stays. Those for which it is another one than it was."""
    known = await markets(tx, {id for id, *_ in told})
    changed: list[ListingId] = []
    for id, price, seller, mine in sorted(told, key=lambda one: one[0]):
        before = known.get(id, Market()).featured
        shipping = None if price is None else price.shipping
        fresh = {
            **money.columns("price", None if price is None else price.listing),
            **money.columns("shipping", shipping),
            "seller": seller,
            "mine": mine,
            "as_of": as_of,
        }
        kept = await tx.execute(
            upsert(featured_offer)
            .values(listing=id, **fresh)
            .on_conflict_do_update(
                index_elements=["listing"], set_=fresh, where=(o.as_of.is_(None)) | (o.as_of <= as_of)
            )
        )
        same = (None if before is None else (before.price, before.shipping, before.mine)) == (
            None if price is None else (price.listing, shipping, mine)
        )
        if kept.rowcount and not same:
            changed.append(id)
    return changed


async def keep_expected(
    tx: AsyncConnection, told: Sequence[tuple[ListingId, Money | None, str]], as_of: datetime
) -> list[ListingId]:
    """Keep at which price each listing could expect to be featured (None: the channel expects none, and says why in its own
    word). Those for which it is another one than it was."""
    known = await markets(tx, {id for id, *_ in told})
    changed: list[ListingId] = []
    for id, price, status in sorted(told, key=lambda one: one[0]):
        fresh = {**money.columns("expected", price), "expected_status": storable(status), "expected_at": as_of}
        kept = await tx.execute(
            upsert(featured_offer)
            .values(listing=id, **fresh)
            .on_conflict_do_update(
                index_elements=["listing"], set_=fresh, where=(o.expected_at.is_(None)) | (o.expected_at <= as_of)
            )
        )
        before = known.get(id, Market()).expected
        if kept.rowcount and (None if before is None else before.amount) != price:
            changed.append(id)
    return changed


async def markets(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, Market]:
    """What is known of each listing's market; of what nothing was ever told is missing."""
    rows = await tx.execute(select(featured_offer).where(among(o.listing, ids)))
    return {ListingId(row.listing): _market(row) for row in rows}


def _market(row: AnyRow) -> Market:
    price = money.value(row.price_amount, row.price_currency)
    shipping = money.value(row.shipping_amount, row.shipping_currency)
    expected = money.value(row.expected_amount, row.expected_currency)
    source = "told by the channel"
    return Market(
        None if price is None else Featured(price, row.as_of, row.mine, shipping, source),
        None if expected is None else Told(expected, row.expected_at, source),
        row.expected_status,
    )


def _other(known: Sequence[FeeEstimate], now: FeeEstimate) -> bool:
    """Would it make other prices than what was known? Amounts are in minor units, so shares differ a little by themselves."""
    if not known:
        return True
    near = min(known, key=lambda one: (abs(one.price.amount - now.price.amount), one.price.amount))
    if near.price == now.price:
        return (near.referral, near.fixed) != (now.referral, now.fixed)
    moved = abs(near.referral.amount / near.price.amount - now.referral.amount / now.price.amount)
    return near.fixed != now.fixed or moved > Decimal("0.002")


def _fee(one: Fee) -> dict[str, object]:
    return {
        "kind": one.kind.value,
        "name": storable(one.name),
        "final": f"{one.final.amount:f}",
        "parts": [_fee(part) for part in one.parts],
    }


# The price that buyers pay is what a channel takes its share of.
_PAID = "coalesce(listing.sale_amount, listing.price_amount)"
_ASKED_AT = f"coalesce(look.price, {_PAID})"
_OFFERED = """
    listing.channel = :channel and listing.status <> 'WITHDRAWN' and listing.price_amount is not null
    and listing.channel not in (select channel from channel_state where paused_until > now())
    and (look.not_before is null or look.not_before <= now())
"""
# A marketplace is asked in one call: that of what needs it most.
_TAKE = f"""
    , first as (select marketplace from wanted order by rank, since, id limit 1)
    , taken as (
        select wanted.id from wanted join first using (marketplace) order by rank, since, wanted.id limit :limit
    )
    , mine as (
        insert into market_look (listing, about, not_before)
        select id, :about, now() + cast(:lease as interval) from taken order by id
        on conflict (listing, about) do update set not_before = excluded.not_before
            where market_look.not_before is null or market_look.not_before <= now()
        returning listing
    )
    select listing.id, listing.marketplace, listing.channel_sku, listing.external_id,
        coalesce(wanted.price, {_PAID}) amount, listing.price_currency currency, listing.fulfilled_by
    from mine join listing on listing.id = mine.listing join wanted on wanted.id = listing.id
    order by rank, since, listing.id
"""  # noqa: S608 - words of ours
_DUE_FEES = text(
    f"""
    with near as (
        select listing.id, max(estimate.as_of) as_of
        from listing
        left join market_look look on look.listing = listing.id and look.about = :about
        join fee_estimate estimate on estimate.listing = listing.id and estimate.currency = listing.price_currency
            and estimate.fulfilled_by = listing.fulfilled_by
        where listing.channel = :channel
            and abs(estimate.price - {_ASKED_AT}) <= cast(:moved as numeric) * {_ASKED_AT}
        group by listing.id
    )
    , wanted as (
        select listing.id, listing.marketplace, look.price,
            case when look.hurried_at is not null then 0 when look.asked_at is null then 1
                when near.as_of is null then 2 else 3 end rank,
            coalesce(look.hurried_at, look.asked_at, '-infinity') since
        from listing
        left join market_look look on look.listing = listing.id and look.about = :about
        left join near on near.id = listing.id
        where {_OFFERED} and {_PAID} > 0
            and (
                look.hurried_at is not null or near.as_of < now() - cast(:age as interval)
                or near.as_of is null and (look.asked_at is null or look.asked_at < now() - interval '10 minutes')
            )
        order by rank, since, listing.id limit 10 * :limit
    )
    {_TAKE}
    """  # noqa: S608 - words of ours
)
_DUE_OFFERS = text(
    f"""
    with wanted as (
        select listing.id, listing.marketplace, look.price,
            case when look.hurried_at is not null then 0 when look.asked_at is null then 1 else 2 end rank,
            coalesce(look.hurried_at, look.asked_at, '-infinity') since
        from listing left join market_look look on look.listing = listing.id and look.about = :about
        where {_OFFERED} and cast(:moved as numeric) >= 0
            and (look.hurried_at is not null or look.asked_at is null or look.asked_at < now() - cast(:age as interval))
        order by rank, since, listing.id limit 10 * :limit
    )
    {_TAKE}
    """  # noqa: S608 - words of ours
)
_HURRY = text(
    """
    with meant as (
        select listing.id, max(told.at) at
        from unnest(cast(:places as text[]), cast(:items as text[]), cast(:instants as timestamptz[]))
            told (marketplace, item, at)
        join listing on listing.external_id = told.item
            and (told.marketplace is null or listing.marketplace = told.marketplace)
        where listing.channel = :channel and listing.status <> 'WITHDRAWN'
        group by listing.id
    )
    , asked as (
        insert into market_look (listing, about, hurried_at)
        select meant.id, kind.about, now()
        from meant cross join unnest(array['FEATURED', 'EXPECTED']) kind (about)
        left join market_look look on look.listing = meant.id and look.about = kind.about
        where look.asked_at is null or look.asked_at < meant.at
        order by meant.id, kind.about
        on conflict (listing, about) do update set hurried_at =
            case when market_look.not_before > now() then now()
                else least(market_look.hurried_at, excluded.hurried_at) end
        returning listing
    )
    select distinct listing from asked order by listing
    """
)
_PRUNE = text(
    """
    delete from fee_estimate old using (
        select listing, price, row_number() over (partition by listing order by as_of desc, price) place
        from fee_estimate where listing = any(cast(:ids as text[]))
    ) kept
    where old.listing = kept.listing and old.price = kept.price and kept.place > :kept
    """
)
