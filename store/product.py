"""Products and the listings that offer them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.product import Attribute, FulfilledBy, Listing, ListingIssue, Product
from store import money
from store.session import AnyRow, among
from store.tables import listing, product


async def upsert_listings(tx: AsyncConnection, listings: Sequence[Listing], *, prefer: bool = False) -> int:
    """Keep the listings, newest `as_of` first, and the products they speak of; returns how many listings were written.

    A product keeps the first title, brand, cost and attributes it was given; those of a preferred channel (`prefer`: the
    storefront) replace them. Brand, cost and attributes are the product's and are not kept per listing.
    """
    newest = {one.id: one for one in sorted(listings, key=lambda one: one.as_of)}
    ordered = [newest[id] for id in sorted(newest)]
    if not ordered:
        return 0
    await _upsert_products(tx, list(newest.values()), prefer)
    fresh = insert(listing)
    statement = fresh.on_conflict_do_update(
        index_elements=["id"],
        set_={name: fresh.excluded[name] for name in _row(ordered[0]) if name != "id"},
        where=listing.c.as_of <= fresh.excluded.as_of,
    ).returning(listing.c.id)
    rows = await tx.execute(statement, [_row(one) for one in ordered])
    return len(rows.all())


async def by_skus(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, Product]:
    """The products there are of `skus`."""
    rows = await tx.execute(select(product).where(among(product.c.sku, skus)))
    return {Sku(row.sku): _product(row) for row in rows}


async def listings_by_skus(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, list[Listing]]:
    """The listings of `skus`, by channel, marketplace and channel SKU; a SKU without listings is missing."""
    c = listing.c
    rows = await tx.execute(select(listing).where(among(c.sku, skus)).order_by(c.channel, c.marketplace, c.channel_sku))
    found: defaultdict[Sku, list[Listing]] = defaultdict(list)
    for row in rows:
        found[Sku(row.sku)].append(_listing(row))
    return dict(found)


async def listing_by_id(tx: AsyncConnection, id: ListingId) -> Listing | None:
    """One listing."""
    row = (await tx.execute(select(listing).where(listing.c.id == id))).one_or_none()
    return None if row is None else _listing(row)


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
            row["title"] = one.title
        if row["brand"] is None:
            row["brand"] = one.brand
        if row["cost_amount"] is None:
            row |= money.columns("cost", one.unit_cost)
        if not row["attributes"]:
            row["attributes"] = [_attribute_row(attribute) for attribute in one.attributes]
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
        "title": one.title,
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
    return Listing(
        id=ListingId(row.id),
        channel=ChannelId(row.channel),
        marketplace=row.marketplace or None,
        channel_sku=ChannelSku(row.channel_sku),
        external_id=row.external_id,
        status=row.status,
        fulfilled_by=FulfilledBy(row.fulfilled_by),
        as_of=row.as_of,
        sku=None if row.sku is None else Sku(row.sku),
        title=row.title,
        price=money.value(row.price_amount, row.price_currency),
        sale_price=money.value(row.sale_amount, row.sale_currency),
        url=row.url,
        issues=[ListingIssue(issue["code"], issue["severity"], issue["message"]) for issue in row.issues],
        refs=row.refs,
    )


def _product(row: AnyRow) -> Product:
    return Product(
        sku=Sku(row.sku),
        title=row.title,
        brand=row.brand,
        unit_cost=money.value(row.cost_amount, row.cost_currency),
        attributes=[Attribute(one["name"], one["value"], one["raw"]) for one in row.attributes],
    )


def _attribute_row(attribute: Attribute) -> dict[str, str | None]:
    return {"name": attribute.name, "value": attribute.value, "raw": attribute.raw}
