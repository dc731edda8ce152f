"""Products and the listings that offer them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location, LocationKind
from domain.ids import ChannelId, ChannelSku, ListingId, LocationCode, Sku
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing, ListingIssue, Product
from store import ledger, locks, money, price_history
from store.session import AnyRow, among, storable
from store.tables import kit_component, listing, product, sku_stock, stock_balance

WITHDRAWN = "WITHDRAWN"
"""The status of a listing that its channel has no more."""


async def upsert_listings(tx: AsyncConnection, listings: Sequence[Listing], *, prefer: bool = False) -> int:
    """Keep the listings, newest `as_of` first, and the products they speak of; returns how many listings were written.

    A product keeps the first title, brand, cost and attributes it was given; those of a preferred channel (`prefer`: the
    storefront) replace them. Brand, cost and attributes are the product's and are not kept per listing. Tells of each SKU whose
    stock became another by it.
    """
    newest = {one.id: one for one in sorted(listings, key=lambda one: one.as_of)}
    ordered = [newest[id] for id in sorted(newest)]
    if not ordered:
        return 0
    await lock_mapping(tx, {one.channel for one in ordered})
    await price_history.hold(tx, newest)
    was = await _before(tx, newest)
    await _upsert_products(tx, list(newest.values()), prefer)
    # A trigger counts in sku_stock what a listing maps, of the SKU that it leaves too; those rows come last and in their order.
    mapped = {one.id: one.sku for one in ordered}
    moved = {sku for id in was if was[id].sku != mapped[id] for sku in (was[id].sku, mapped[id]) if sku is not None}
    concerned = moved | {sku for sku in mapped.values() if sku is not None}
    await ledger.lock(tx, concerned)
    before = await _elsewhere(tx, concerned)
    fresh = insert(listing)
    statement = fresh.on_conflict_do_update(
        index_elements=["id"],
        set_={name: fresh.excluded[name] for name in _row(ordered[0]) if name != "id"},
        where=listing.c.as_of <= fresh.excluded.as_of,
    ).returning(listing.c.id)
    written = (await tx.execute(statement, [_row(one) for one in ordered])).all()
    after = await _elsewhere(tx, concerned)
    await ledger.tell(tx, {sku for sku in concerned if sku in moved or before[sku] != after[sku]})
    repriced = [newest[ListingId(row.id)] for row in written]
    await price_history.listed(tx, [one for one in repriced if _priced(was.get(one.id)) != (one.price, one.sale_price)])
    return len(written)


async def lock_mapping(tx: AsyncConnection, channels: Collection[ChannelId], *, shared: bool = False) -> None:
    """Hold what the SKUs of `channels` are mapped to until `tx` ends; who shares it only reads. It comes before all other locks.

    A listing and a reading that are both new see nothing of each other, so rows are not enough: neither would be counted, and one
    that was mapped anew meanwhile would be counted behind locks in another order.
    """
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    for id in sorted(channels):
        await tx.execute(select(lock(locks.MAPPING, func.hashtext(id))))


async def _before(tx: AsyncConnection, ids: Collection[ListingId]) -> dict[ListingId, AnyRow]:
    """SKU and prices that those listings there are have now; their rows are locked in the order of their ids."""
    c = listing.c
    columns = (c.id, c.sku, c.price_amount, c.price_currency, c.sale_amount, c.sale_currency)
    # Not against who only refers to them, such as a new line of a price's history.
    locked = select(*columns).where(among(c.id, ids)).order_by(c.id).with_for_update(key_share=True)
    return {ListingId(row.id): row for row in await tx.execute(locked)}


def _priced(row: AnyRow | None) -> tuple[Money | None, Money | None]:
    if row is None:
        return None, None
    return money.value(row.price_amount, row.price_currency), money.value(row.sale_amount, row.sale_currency)


async def _elsewhere(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, int]:
    """What others keep of each SKU."""
    rows = await tx.execute(select(sku_stock.c.sku, sku_stock.c.elsewhere).where(among(sku_stock.c.sku, skus)))
    return {Sku(row.sku): row.elsewhere for row in rows}


async def by_skus(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, Product]:
    """The products there are of `skus`."""
    rows = await tx.execute(select(product).where(among(product.c.sku, skus)))
    return {Sku(row.sku): _product(row) for row in rows}


async def listings_by_skus(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Listing]]:
    """The listings of `skus`, by channel, marketplace and channel SKU; a SKU without listings is missing."""
    c = listing.c
    rows = await tx.execute(select(listing).where(among(c.sku, skus)).order_by(c.channel, c.marketplace, c.channel_sku))
    found: defaultdict[Sku, list[Listing]] = defaultdict(list)
    for one in map(_listing, rows.all()):
        assert one.sku is not None
        found[one.sku].append(one)
    return dict(found)


class Offering(NamedTuple):
    """Of a listing, what says where its units lie and how they are asked for."""

    channel: ChannelId
    channel_sku: ChannelSku
    marketplace: str | None
    fulfilled_by: FulfilledBy
    refs: Mapping[str, str]


async def offerings(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Offering]]:
    """Where `skus` are listed, in the order of `listings_by_skus`, at a fraction of its cost."""
    c = listing.c
    columns = (c.sku, c.channel, c.channel_sku, c.marketplace, c.fulfilled_by, c.refs)
    rows = await tx.execute(
        select(*columns).where(among(c.sku, skus)).order_by(c.channel, c.marketplace, c.channel_sku)
    )
    found: defaultdict[Sku, list[Offering]] = defaultdict(list)
    for sku, channel, channel_sku, marketplace, by, refs in rows:
        found[sku].append(Offering(channel, channel_sku, marketplace or None, FulfilledBy(by), refs))
    return dict(found)


async def held_count(tx: AsyncConnection, location: Location) -> int:
    """How many channel SKUs its keeper should hold there, by its listings; see `domain.stock.holds`."""
    c = listing.c
    wanted = [c.channel == location.keeper]
    if location.kind is LocationKind.FBA:
        wanted += [c.fulfilled_by == FulfilledBy.CHANNEL.value, c.marketplace.in_(location.marketplaces)]
    return await tx.scalar(select(func.count(c.channel_sku.distinct())).where(*wanted)) or 0


async def unopened(
    tx: AsyncConnection,
    channel: ChannelId,
    locations: Collection[LocationCode],
    skus: Collection[Sku] | None = None,
) -> list[Listing]:
    """The channel's listings of goods that we ship whose SKU, one of `skus` where given, lacks an entry at one of these places of
    ours; by SKU. Kits have none of their own."""
    c = listing.c
    opened = [exists().where(stock_balance.c.sku == c.sku, stock_balance.c.location == one) for one in locations]
    kit = exists().where(kit_component.c.kit == c.sku)
    wanted = [c.channel == channel, c.sku.is_not(None), c.fulfilled_by == FulfilledBy.MERCHANT.value]
    if skus is not None:
        wanted.append(among(c.sku, skus))
    rows = await tx.execute(select(listing).where(*wanted, ~and_(*opened), ~kit).order_by(c.sku, c.channel_sku))
    return [_listing(row) for row in rows]


async def listing_by_id(tx: AsyncConnection, id: ListingId) -> Listing | None:
    """One listing."""
    row = (await tx.execute(select(listing).where(listing.c.id == id))).one_or_none()
    return None if row is None else _listing(row)


async def listings_by_ref(tx: AsyncConnection, channel: ChannelId, name: str, values: Collection[str]) -> list[Listing]:
    """The channel's listings whose `refs[name]` is one of `values`, by channel SKU."""
    c = listing.c
    rows = await tx.execute(
        select(listing).where(c.channel == channel, among(c.refs[name].astext, values)).order_by(c.channel_sku)
    )
    return [_listing(row) for row in rows]


async def listings_by_ids(tx: AsyncConnection, ids: Collection[ListingId]) -> list[Listing]:
    """Those there are."""
    return [_listing(row) for row in await tx.execute(select(listing).where(among(listing.c.id, ids)))]


async def withdraw(tx: AsyncConnection, ids: Collection[ListingId], at: datetime) -> None:
    """They are gone, as was seen at `at`; newer news of one stays."""
    c = listing.c
    gone = update(listing).where(among(c.id, ids), c.as_of < at).values(status=WITHDRAWN, as_of=at)
    await tx.execute(gone)


async def page(
    tx: AsyncConnection,
    *,
    first: int,
    after: Sku | None = None,
    skus: Collection[Sku] | None = None,
    text: str | None = None,
    channel: ChannelId | None = None,
    unmapped: bool | None = None,
) -> tuple[list[Product], bool]:
    """The next `first` products after the SKU `after`, by SKU, and whether there are more.

    `text` is looked for in SKU, title and brand. `channel` asks for products listed there; `unmapped` True instead for those
    without a listing (there, or anywhere), False for those with one.
    """
    query = select(product).where(*_filter(skus, text, channel, unmapped)).order_by(product.c.sku).limit(first + 1)
    if after is not None:
        query = query.where(product.c.sku > after)
    rows = (await tx.execute(query)).all()
    return [_product(row) for row in rows[:first]], len(rows) > first


async def count(
    tx: AsyncConnection,
    *,
    skus: Collection[Sku] | None = None,
    text: str | None = None,
    channel: ChannelId | None = None,
    unmapped: bool | None = None,
) -> int:
    """How many products `page` would give in all."""
    query: Select[int] = select(func.count()).select_from(product)
    return await tx.scalar(query.where(*_filter(skus, text, channel, unmapped))) or 0


def _filter(
    skus: Collection[Sku] | None, text: str | None, channel: ChannelId | None, unmapped: bool | None
) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if skus is not None:
        wanted.append(among(product.c.sku, skus))
    if text:
        columns = (product.c.sku, product.c.title, product.c.brand)
        wanted.append(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    if channel is not None or unmapped is not None:
        there = [listing.c.sku == product.c.sku]
        if channel is not None:
            there.append(listing.c.channel == channel)
        listed = exists().where(*there)
        wanted.append(~listed if unmapped else listed)
    return wanted


async def _upsert_products(tx: AsyncConnection, listings: Sequence[Listing], prefer: bool) -> None:
    rows: dict[Sku, dict[str, Any]] = {}
    for one in listings:
        if one.sku is None:
            continue
        row = rows.setdefault(
            one.sku,
            # A product must have a title. Until somebody gives it one, its SKU stands there.
            {"sku": one.sku, "title": one.sku, "brand": None, **money.columns("cost", None), "attributes": []},
        )
        if row["title"] == one.sku and one.title:
            row["title"] = storable(one.title)
        if row["brand"] is None:
            row["brand"] = None if one.brand is None else storable(one.brand)
        if row["cost_amount"] is None:
            row |= money.columns("cost", one.unit_cost)
        if not row["attributes"]:
            row["attributes"] = [_attribute_row(each) for each in one.attributes]
    if not rows:
        return
    fresh = insert(product)
    old, new = product.c, fresh.excluded
    known = {
        "title": (old.title != old.sku, new.title != new.sku),
        "brand": (old.brand.is_not(None), new.brand.is_not(None)),
        "cost_amount": (old.cost_amount.is_not(None), new.cost_amount.is_not(None)),
        "cost_currency": (old.cost_amount.is_not(None), new.cost_amount.is_not(None)),
        "attributes": (func.jsonb_array_length(old.attributes) > 0, func.jsonb_array_length(new.attributes) > 0),
    }
    values = {
        name: case((new_known, new[name]), else_=old[name])
        if prefer
        else case((and_(new_known, ~old_known), new[name]), else_=old[name])
        for name, (old_known, new_known) in known.items()
    }
    changed = or_(*(old[name].is_distinct_from(value) for name, value in values.items()))
    statement = fresh.on_conflict_do_update(
        index_elements=["sku"], set_={**values, "updated_at": func.now()}, where=changed
    )
    await tx.execute(statement, [rows[sku] for sku in sorted(rows)])


def _row(one: Listing) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "marketplace": one.marketplace or "",
        "channel_sku": one.channel_sku,
        "external_id": one.external_id,
        "sku": one.sku,
        "title": None if one.title is None else storable(one.title),
        "status": one.status,
        "fulfilled_by": one.fulfilled_by.value,
        **money.columns("price", one.price),
        **money.columns("sale", one.sale_price),
        "url": one.url,
        "issues": [{"code": issue.code, "severity": issue.severity, "message": issue.message} for issue in one.issues],
        "refs": dict(one.refs),
        "as_of": one.as_of,
    }


def _listing(row: AnyRow) -> Listing:
    # A page has hundreds of them. Columns in their order cost a fraction of columns by name.
    (id, channel, marketplace, channel_sku, external_id, sku, title, status, by, *prices, url, issues, refs, as_of) = (
        row
    )
    price, price_currency, sale, sale_currency = prices
    return Listing(
        id=id,
        channel=channel,
        marketplace=marketplace or None,
        channel_sku=channel_sku,
        external_id=external_id,
        status=status,
        fulfilled_by=_BY[by],
        as_of=as_of,
        sku=sku,
        title=title,
        price=money.value(price, price_currency),
        sale_price=money.value(sale, sale_currency),
        url=url,
        issues=[ListingIssue(issue["code"], issue["severity"], issue["message"]) for issue in issues],
        refs=refs,
    )


def _product(row: AnyRow) -> Product:
    return Product(
        sku=Sku(row.sku),
        title=row.title,
        brand=row.brand,
        unit_cost=money.value(row.cost_amount, row.cost_currency),
        attributes=[attribute(one) for one in row.attributes],
    )


_BY = {one.value: one for one in FulfilledBy}


def attribute(row: Mapping[str, Any]) -> Attribute:
    """As it is kept in a product's row; that it is understood goes without saying."""
    return Attribute(row["name"], row["value"], row["raw"], row.get("understood", True))


def _attribute_row(one: Attribute) -> dict[str, object]:
    raw = None if one.raw is None else storable(one.raw)
    told: dict[str, object] = {"name": storable(one.name), "value": storable(one.value), "raw": raw}
    return told if one.understood else told | {"understood": False}
