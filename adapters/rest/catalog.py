"""Listings from products: one per variant, for a SKU belongs to a variant and not to its product."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from adapters.offered import claim, regular_and_sale
from adapters.port import Page
from adapters.rest.client import RestClient, answered
from adapters.rest.offers import Offers
from adapters.rest.operations import GET_PRODUCT, LIST_PRODUCTS, LIST_VARIANTS
from adapters.rest.paging import pages
from adapters.rest.skus import MOST, parts
from adapters.rest.wire import Body, Instant, Name, Price, rejected, stamp
from adapters.wire import Unclear, read
from domain.budget import Ask
from domain.errors import Invalid, NotFound
from domain.ids import ChannelId, ChannelSku, listing_id
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing

# A change may become visible a little after the instant that it carries; what is read twice does no harm.
OVERLAP = timedelta(minutes=5)
GONE = ("not-found", "gone")


class _Variant(Body):
    id: Name
    sku: Name
    title: str
    price: Price
    compare_at_price: Price | None = None
    unit_cost: Price | None = None
    options: Mapping[str, str] = {}


class _Product(Body):
    id: Name
    title: str
    status: Literal["active", "draft", "archived"]
    brand: str | None = None
    url: str | None = None
    updated_at: Instant
    variants: list[Any]


class _Found(Body):
    sku: str
    product_id: str | None = None


class _Variants(Body):
    data: list[_Found]


async def listing_pages(
    client: RestClient, offers: Offers, since: datetime | None, ask: Ask
) -> AsyncIterator[Page[Listing]]:
    """Variants of the products changed since then, or of all, oldest change first. A product that was taken away is not told.

    Source: listProducts.
    """
    shop = await offers.need(LIST_PRODUCTS, ask)
    query = {} if since is None else {"updated_since": stamp(since - OVERLAP)}
    seen: dict[str, str] = {}
    async for batch in pages(client, LIST_PRODUCTS, query, ask, size=shop.limits.page):
        page: Page[Listing] = Page([], until=batch.until(since))
        for row in batch.rows:
            _keep(page, client.channel, row, seen)
        yield page


async def listings_named(client: RestClient, offers: Offers, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
    """The listings of these SKUs, or of these products; one that there is none of any more is left out.

    Sources: listVariants and getProduct, one call for each product.
    """
    await offers.need(GET_PRODUCT, ask)
    wanted = None if by == "ITEM" else set(names)
    products = list(dict.fromkeys(names)) if wanted is None else await _products_of(client, names, ask)
    page: Page[Listing] = Page([])
    for product in products:
        try:
            reply = await client.call(GET_PRODUCT, ask, at={"id": product})
        except NotFound as problem:
            if problem.upstream_code not in GONE:
                raise  # a page of whatever stands before the shop, while it is deployed: it is no word of a product
            continue
        _keep(page, client.channel, reply.body, {})
    if wanted is not None:
        page.items = [one for one in page.items if one.channel_sku in wanted]
    return page


async def _products_of(client: RestClient, skus: Sequence[str], ask: Ask) -> list[str]:
    if len(skus) > MOST:
        raise Invalid(f"{len(skus)} SKUs were asked for at once; {MOST} are the most.")
    found: list[_Found] = []
    for part in parts(skus):
        found += answered(_Variants, await client.call(LIST_VARIANTS, ask, query={"sku": part})).data
    return list(dict.fromkeys(one.product_id for one in found if one.product_id is not None))


def _keep(page: Page[Listing], channel: ChannelId, row: object, seen: dict[str, str]) -> None:
    """Put the listings of a product on the page, each variant for itself.

    `seen` are the SKUs of the run so far, with their variants.
    """
    as_of = datetime.now(UTC)
    try:
        product = read(_Product, row)
    except Unclear as problem:
        page.rejected.append(rejected(channel, "listing", row, str(problem)))
        return
    for raw in product.variants:
        try:
            variant = read(_Variant, raw)
            claim(variant.sku, variant.id, seen)
            page.items.append(_listing(channel, product, variant, as_of))
        except Unclear as problem:
            page.rejected.append(rejected(channel, "listing", raw, str(problem)))


def _listing(channel: ChannelId, product: _Product, variant: _Variant, as_of: datetime) -> Listing:
    sku = ChannelSku(variant.sku)
    price, sale_price = prices(variant.price, variant.compare_at_price)
    return Listing(
        id=listing_id(channel, None, sku),
        channel=channel,
        marketplace=None,
        channel_sku=sku,
        external_id=variant.id,
        status=product.status,
        fulfilled_by=FulfilledBy.MERCHANT,
        as_of=as_of,
        title=_title(product, variant),
        brand=product.brand or None,
        price=price,
        sale_price=sale_price,
        unit_cost=None if variant.unit_cost is None else variant.unit_cost.money(),
        url=product.url or None,
        attributes=[Attribute(name.lower(), value, value) for name, value in variant.options.items()],
        refs={"variant": variant.id, "product": product.id},
    )


def prices(paid: Price, struck: Price | None) -> tuple[Money, Money | None]:
    """The regular price, and the sale's, of the two that the contract has. Raises Unclear."""
    return regular_and_sale(paid.money(), None if struck is None else struck.money())


def _title(product: _Product, variant: _Variant) -> str:
    if not variant.title.strip() or variant.title == product.title:
        return product.title
    return f"{product.title} - {variant.title}"
