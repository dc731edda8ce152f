"""What each listing is wanted to be sold for, what it was seen to be sold for, and the history of both."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Integer,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cost import CostLayer
from domain.fx import Converted, Rates
from domain.ids import ListingId, OperationId, Sku
from domain.money import Money
from domain.operation import ItemStatus
from domain.price import Origin, Price, PriceFacts, PriceWish, Sale, read_price
from domain.price_history import alike
from domain.price_inputs import FeeEstimate
from store import cost, fx, market, money
from store.session import AnyRow, among, as_table
from store.tables import listing, listing_price, operation, operation_item, price_event, product

p = listing_price.c
e = price_event.c
i = operation_item.c

A_DAY = timedelta(hours=24)


async def facts(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> dict[ListingId, PriceFacts]:
    """What is known of each listing that there is, for its price to be judged at the instant `at`."""
    kept, c = listing.c, product.c
    found = await tx.execute(
        select(
            kept.id,
            kept.sku,
            kept.price_amount,
            kept.price_currency,
            kept.sale_amount,
            kept.sale_currency,
            kept.as_of,
            p.wanted,
            p.live,
            p.live_at,
            p.verified,
            p.verified_at,
            p.differs_since,
            operation_item.c.status.label("wanted_status"),
            c.cost_amount,
            c.cost_currency,
            c.brand,
        )
        .select_from(
            listing.outerjoin(listing_price, p.listing == kept.id)
            .outerjoin(operation_item, operation_item.c.id == p.wanted_item)
            .outerjoin(product, c.sku == kept.sku),
        )
        .where(among(kept.id, ids))
    )
    before = await _in_force(tx, ids, at - A_DAY)
    before |= await _first(tx, set(ids) - set(before))
    elsewhere = await _elsewhere(tx, ids)
    worth = _Worth(await fx.rates(tx, at.date()), at.date())
    rows = found.all()
    made_of = _MadeOf(
        await cost.in_force(tx, {row.sku for row in rows if row.sku is not None}, at.date()),
        await market.estimates(tx, ids),
        worth,
    )
    return {id: _facts(row, before.get(id), elsewhere.get(id, ()), made_of, at) for row in rows for id in (row.id,)}


async def asked(tx: AsyncConnection, id: OperationId) -> None:
    """Keep that the prices of an operation's released items that wait to be sent are wanted from now on; until they are seen
    live, what is shown differs from them. Those that were wanted already are left alone."""
    told = i.payload
    waiting = (
        i.operation_id == id,
        i.status == ItemStatus.PENDING.value,
        i.released,
        ~exists().where(p.listing == told["listing"].astext, p.wanted_item == i.id),
    )
    await _happened(tx, "ASKED", waiting)
    columns = ("listing", "wanted", "wanted_item", "wanted_at", "differs_since")
    # In the order in which everybody locks these rows.
    rows = select(told["listing"].astext, told["price"], i.id, func.now(), func.now()).where(*waiting)
    fresh = upsert(listing_price).from_select(columns, rows.order_by(told["listing"].astext))
    new = fresh.excluded
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["listing"],
            set_={
                "wanted": new.wanted,
                "wanted_item": new.wanted_item,
                "wanted_at": new.wanted_at,
                "differs_since": case((p.live == new.wanted, None), else_=func.coalesce(p.differs_since, func.now())),
            },
        )
    )


async def seen_live(tx: AsyncConnection, seen: Mapping[int, datetime]) -> None:
    """Keep that the prices of these items were read back as they were asked for, each at its instant."""
    if not seen:
        return
    rows = await tx.execute(select(i.id, i.payload).where(among(i.id, seen)))
    live = sorted(
        ((row.payload["listing"], read_price(row.payload["price"]), row.id, seen[row.id]) for row in rows),
        key=lambda one: one[:1],
    )
    told = as_table(
        listing=[id for id, *_ in live],
        price=[json.dumps(price.told()) for _, price, *_ in live],
        item=[str(item) for *_, item, _ in live],
        at=[at.isoformat() for *_, at in live],
    ).c
    price, item, at = cast(told.price, JSONB), cast(told.item, BigInteger), cast(told.at, DateTime(timezone=True))
    names = ("live", "live_at", "verified", "verified_item", "verified_at")
    # In the order in which everybody locks these rows.
    fresh = upsert(listing_price).from_select(
        ("listing", *names), select(told.listing, price, at, price, item, at).order_by(told.listing)
    )
    new = fresh.excluded
    reached = or_(p.wanted_item.is_(None), p.wanted_item == new.verified_item, p.wanted == new.live)
    await tx.execute(
        fresh.on_conflict_do_update(
            index_elements=["listing"],
            set_={name: new[name] for name in names} | {"differs_since": case((reached, None), else_=p.differs_since)},
            where=or_(p.live_at.is_(None), p.live_at <= new.live_at),
        )
    )
    await tx.execute(_SHOWN, [_shown(ListingId(id), price, at) for id, price, _, at in live])
    await _happened(tx, "LIVE", [among(i.id, seen)], seen)


async def failed(tx: AsyncConnection, items: Collection[int]) -> None:
    """Keep that the prices of these items did not come about."""
    if items:
        await _happened(tx, "FAILED", [among(i.id, items)])


def _shown(id: ListingId, price: Price, at: datetime) -> dict[str, Any]:
    """The parameters of _SHOWN: what a catalog would tell of the price then."""
    sale = price.sale.price if price.sale is not None and price.sale.holds(at) else None
    return {
        "id_": id,
        "at_": at,
        "price_": price.regular.amount,
        "price_in": price.regular.currency,
        "sale_": None if sale is None else sale.amount,
        "sale_in": None if sale is None else sale.currency,
    }


_SHOWN = (
    update(listing)
    .where(listing.c.id == bindparam("id_"), listing.c.as_of <= bindparam("at_"))
    .values(
        price_amount=bindparam("price_"),
        price_currency=bindparam("price_in"),
        sale_amount=bindparam("sale_"),
        sale_currency=bindparam("sale_in"),
        as_of=bindparam("at_"),
    )
)


async def _happened(
    tx: AsyncConnection, what: str, which: Iterable[ColumnElement[bool]], seen: Mapping[int, datetime] | None = None
) -> None:
    """Add to the history of the listings of those items: now, or each when it was `seen`."""
    told = i.payload
    when = None
    if seen is not None:
        when = as_table(item=[str(one) for one in seen], at=[at.isoformat() for at in seen.values()]).c
    happened = {
        "listing": told["listing"].astext,
        "at": func.now() if when is None else cast(when.at, DateTime(timezone=True)),
        "what": literal(what),
        "price": told["price"],
        "operation": i.operation_id,
        "item": i.id,
        "origin": told["origin"].astext,
        "reason": told["reason"].astext,
        "rules_version": cast(told["rules_version"].astext, Integer),
        "chain": case((func.jsonb_array_length(told["chain"]) > 0, told["chain"])),
        "requested_by": operation.c.requested_by,
        "approved_by": operation.c.approved_by,
    }
    events = select(*happened.values()).where(operation.c.id == i.operation_id, *which).order_by(i.id)
    if when is not None:
        events = events.where(cast(when.item, BigInteger) == i.id)
    await tx.execute(insert(price_event).from_select(list(happened), events))


async def _in_force(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> dict[ListingId, Price]:
    """The prices that were last seen live by that instant; a listing without any is missing."""
    rows = await tx.execute(
        select(e.listing, e.price)
        .where(among(e.listing, ids), e.at <= at, e.what.in_(["LIVE", "OTHER"]))
        .order_by(e.listing, e.at.desc(), e.id.desc())
        .ext(distinct_on(e.listing))
    )
    return {ListingId(row.listing): read_price(row.price) for row in rows if row.price is not None}


async def _first(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, Price]:
    """What these were sold for before they were first asked to be sold for anything else."""
    rows = await tx.execute(
        select(e.listing, operation_item.c.before)
        .join(operation_item, operation_item.c.id == e.item)
        .where(among(e.listing, ids), e.what == "ASKED")
        .order_by(e.listing, e.at, e.id)
        .ext(distinct_on(e.listing))
    )
    return {ListingId(row.listing): read_price(orjson.loads(row.before)) for row in rows if row.before is not None}


async def _elsewhere(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, tuple[Money, ...]]:
    """The regular prices of other listings of the same SKUs that are offered, as catalogs last told them."""
    other = listing.alias("other")
    rows = await tx.execute(
        select(listing.c.id, other.c.price_amount, other.c.price_currency)
        .join(other, other.c.sku == listing.c.sku)
        .where(among(listing.c.id, ids), other.c.id != listing.c.id)
        .where(other.c.price_amount > 0, other.c.status != "WITHDRAWN")
        .order_by(listing.c.id, other.c.id)
    )
    found: defaultdict[ListingId, list[Money]] = defaultdict(list)
    for row in rows:
        found[ListingId(row.id)].append(Money(row.price_amount, row.price_currency))
    return {id: tuple(prices) for id, prices in found.items()}


@dataclass(slots=True)
class _Worth:
    """How much of a currency one unit of each other is worth on a day; each asked for once."""

    rates: Rates
    on: date
    known: dict[str, Mapping[str, Decimal]] = field(default_factory=dict)

    def into(self, currency: str | None) -> Mapping[str, Decimal]:
        if currency is None:
            return {}
        if currency not in self.known:
            self.known[currency] = {one.base: one.rate for one in self.rates.into(currency, self.on)}
        return self.known[currency]


@dataclass(frozen=True, slots=True)
class _MadeOf:
    """What the listings' prices are made of."""

    costs: Mapping[Sku, CostLayer]
    estimates: Mapping[ListingId, tuple[FeeEstimate, ...]]
    worth: _Worth

    def cost(self, row: AnyRow, currency: str | None) -> Converted | None:
        """What a unit costs here, by its layer or else by the word of the catalog, in that currency; as it was told where nobody
        knows one."""
        layer = self.costs.get(row.sku)
        told = money.value(row.cost_amount, row.cost_currency) if layer is None else layer.landed
        if told is None:
            return None
        return self.worth.rates.convert(told, currency or told.currency, self.worth.on)


def _facts(
    row: AnyRow, before: Price | None, elsewhere: tuple[Money, ...], made_of: _MadeOf, at: datetime
) -> PriceFacts:
    listed = money.value(row.price_amount, row.price_currency)
    live, live_at = (None if row.live is None else read_price(row.live)), row.live_at
    if listed is not None and (live_at is None or live_at < row.as_of):
        live, live_at = _listed(listed, money.value(row.sale_amount, row.sale_currency), live), row.as_of
    currency = None if live is None else live.regular.currency
    intended = read_price(row.wanted) if _stands(row) else None
    landed = made_of.cost(row, currency)
    return PriceFacts(
        currency=currency,
        live=live,
        live_at=live_at,
        wanted=intended if row.wanted_status != ItemStatus.VERIFIED.value else None,
        intended=intended,
        day_ago=None if before is None else before.at(at - A_DAY),
        regular_day_ago=None if before is None else before.regular,
        verified=read_price(row.verified) if row.verified is not None and row.verified_at >= at - A_DAY else None,
        brand=row.brand,
        elsewhere=elsewhere,
        rates=made_of.worth.into(currency),
        cost=None if landed is None else landed.money,
        cost_rate="" if landed is None else landed.words,
        estimates=made_of.estimates.get(row.id, ()),
    )


def _stands(row: AnyRow) -> bool:
    """Is what was asked for last on its way, or live and not changed there since?"""
    if row.wanted is None or row.wanted_status in IN_VAIN:
        return False
    return row.wanted_status != ItemStatus.VERIFIED.value or row.differs_since is None


def _listed(price: Money, sale: Money | None, known: Price | None) -> Price:
    """A catalog tells less than we know, such as when a sale ends: what it tells is what we know, where the two agree."""
    told = Price(price, None if sale is None else Sale(sale))
    return known if known is not None and alike(known, told) else told


IN_VAIN = {one.value for one in (ItemStatus.FAILED, ItemStatus.CANCELLED, ItemStatus.SUPERSEDED)}


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
