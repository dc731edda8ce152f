"""Listings from productVariants: one per variant, for a SKU belongs to a variant and not to its product."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from adapters.port import Page
from adapters.shopify.client import ShopClient
from adapters.shopify.documents import CURRENCY, VARIANTS
from adapters.shopify.paging import Batch, by_id, pages
from adapters.shopify.wire import Instant, quoted, rejected, stamp
from adapters.wire import Amount, Price, Unclear, Wire, money, read
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku, listing_id
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing

# A search index may trail what it indexes; what is read twice does no harm.
OVERLAP = timedelta(minutes=5)
ONLY_VARIANT = "Default Title"  # what the platform calls the variant of a product that has no options


class _Option(Wire):
    name: str
    value: str


class _Product(Wire):
    id: str
    title: str
    status: str
    vendor: str
    tags: list[str]


class _Item(Wire):
    id: str
    unit_cost: Price | None


class _Variant(Wire):
    id: str
    sku: str | None
    title: str
    price: Amount
    compare_at_price: Amount | None
    updated_at: Instant
    selected_options: list[_Option]
    product: _Product
    inventory_item: _Item


class Catalog:
    """The variants of one shop."""

    def __init__(self, client: ShopClient) -> None:
        self._client = client
        self._currency: str | None = None

    async def pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        """Variants changed since then, or all, by id. `until` comes with the last page, for an earlier row may change after
        it was read. A change of the product alone (its status, its title) does not touch its variants: only a full run sees it.

        Source: productVariants.
        """
        started = datetime.now(UTC)
        currency = await self._shop_currency(ask)
        terms = [] if since is None else [f"updated_at:>{quoted(stamp(since - OVERLAP))}"]
        seen: dict[str, str] = {}
        newest = since
        async for batch in pages(self._client, VARIANTS, by_id(terms), ask):
            page, changed = self._page(batch, currency, seen, started)
            newest = max([*([newest] if newest else []), *changed], default=None)
            if batch.last:
                page.until = min(newest, started) if newest else None
            yield page

    async def _shop_currency(self, ask: Ask) -> str:
        if self._currency is None:
            reply = await self._client.run(CURRENCY, {}, ask)
            self._currency = str(reply.data["shop"]["currencyCode"])
        return self._currency

    def _page(
        self, batch: Batch, currency: str, seen: dict[str, str], as_of: datetime
    ) -> tuple[Page[Listing], list[datetime]]:
        """The page, and when its rows were changed. `seen` are the SKUs of the run so far, with their variants."""
        channel = self._client.config.channel.id
        page: Page[Listing] = Page([])
        changed: list[datetime] = []
        for row in batch.rows:
            try:
                variant = read(_Variant, row)
                changed.append(variant.updated_at)
                _claim(variant, seen)
                page.items.append(_listing(channel, variant, currency, as_of))
            except Unclear as problem:
                page.rejected.append(rejected(channel, "listing", row, str(problem)))
        return page, changed


def _claim(variant: _Variant, seen: dict[str, str]) -> None:
    """Raises Unclear for a variant that has no SKU, or one that belongs to another variant already."""
    sku = variant.sku or ""
    if not sku.strip():
        raise Unclear("no SKU")
    first = seen.setdefault(sku, variant.id)
    if first != variant.id:
        raise Unclear(f"the SKU {sku} is on two variants: {first} is kept, {variant.id} is not")


def _listing(channel: ChannelId, variant: _Variant, currency: str, as_of: datetime) -> Listing:
    sku = ChannelSku(variant.sku or "")
    price, sale_price = _prices(variant, currency)
    unit_cost = variant.inventory_item.unit_cost
    return Listing(
        id=listing_id(channel, None, sku),
        channel=channel,
        marketplace=None,
        channel_sku=sku,
        external_id=variant.id,
        status=variant.product.status,
        fulfilled_by=FulfilledBy.MERCHANT,
        as_of=as_of,
        title=_title(variant),
        brand=variant.product.vendor or None,
        price=price,
        sale_price=sale_price,
        unit_cost=None if unit_cost is None else unit_cost.money(),
        attributes=_attributes(variant),
        refs={"variant": variant.id, "inventory_item": variant.inventory_item.id, "product": variant.product.id},
    )


def _attributes(variant: _Variant) -> list[Attribute]:
    """The variant's options, then one "tag" for each of its product's tags."""
    options = [(one.name.lower(), one.value) for one in variant.selected_options if one.value != ONLY_VARIANT]
    tags = [("tag", tag) for tag in variant.product.tags]
    return [Attribute(name, value, value) for name, value in options + tags]


def _prices(variant: _Variant, currency: str) -> tuple[Money, Money | None]:
    """The regular price, and the sale's. What a shop calls `price` is paid; a higher `compareAtPrice` is shown crossed out."""
    price = money(variant.price, currency)
    if variant.compare_at_price is None or variant.compare_at_price <= variant.price:
        return price, None
    return money(variant.compare_at_price, currency), price


def _title(variant: _Variant) -> str:
    if variant.title == ONLY_VARIANT:
        return variant.product.title
    return f"{variant.product.title} - {variant.title}"
