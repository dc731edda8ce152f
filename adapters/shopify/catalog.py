"""Listings from productVariants: one per variant, for a SKU belongs to a variant and not to its product."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from adapters.offered import claim, regular_and_sale
from adapters.port import Page
from adapters.shopify.bulk_query import BulkQuery, Load, cheaper, loaded
from adapters.shopify.client import ShopClient
from adapters.shopify.documents import CURRENCY, OWNERS, PRODUCTS, VARIANT, VARIANTS, VARIANTS_COUNT
from adapters.shopify.paging import Batch, answered, by_id, pages
from adapters.shopify.wire import Instant, Ref, literal, number_of, quoted, rejected, stamp
from adapters.wire import Amount, Price, Unclear, Wire, money, read
from domain.budget import Ask
from domain.ids import ChannelId, ChannelSku, listing_id
from domain.money import Money
from domain.product import Attribute, FulfilledBy, Listing
from domain.route import Way

# A search index may trail what it indexes; what is read twice does no harm.
OVERLAP = timedelta(minutes=5)
# Changes of so long may be many: then they are counted, and the cheaper way to all of them is taken.
LONG = timedelta(days=7)
PRODUCTS_AT_ONCE = 50
SKUS_AT_ONCE = 100
TAG = "tag"
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
    duplicate_sku_count: int
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


class _Owner(Wire):
    id: str
    sku: str | None


class _Changed(Wire):
    id: str
    updated_at: Instant


@dataclass(slots=True)
class _Run:
    """A walk through the variants, `whole` when it sees them all: the newest change so far, the variants that were read, and by
    SKU the one that owns it."""

    started: datetime
    newest: datetime | None
    whole: bool
    variants: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)

    def note(self, changed_at: datetime) -> None:
        self.newest = max(self.newest or changed_at, changed_at)


class Catalog:
    """The variants of one shop."""

    def __init__(self, client: ShopClient) -> None:
        self._client = client
        self._currency: str | None = None

    async def pages(self, since: datetime | None, ask: Ask) -> AsyncIterator[Page[Listing]]:
        """Variants changed since then, or all, by id, and then those of products that changed by themselves (their title, their
        status), which does not touch their variants. `until` comes with the last page, for an earlier row may change after it
        was read. What was deleted is not told.

        All of them, or the changes of a long time, come by a bulk operation where that is there first. Sources: productVariants,
        products.
        """
        run = _Run(datetime.now(UTC), since, whole=since is None)
        await self.shop_currency(ask)
        terms = [] if since is None else [f"updated_at:>{quoted(stamp(since - OVERLAP))}"]
        last: Page[Listing] = Page([])
        async for batch in self._batches(terms, since is None or since < run.started - LONG, ask):
            last = await self._page(batch, run, ask)
            if not batch.last:
                yield last
        if terms:
            async for batch in self._of_changed_products(terms, run, ask):
                yield last
                last = await self._page(batch, run, ask)
        last.until = min(run.newest, run.started) if run.newest else None
        yield last

    async def listed(self, rows: Sequence[object], as_of: datetime, ask: Ask) -> Page[Listing]:
        """The listings of variants that were read at `as_of`."""
        return await self._page(Batch(list(rows), True, None, as_of), _Run(as_of, None, whole=False), ask)

    async def _of_changed_products(self, terms: list[str], run: _Run, ask: Ask) -> AsyncIterator[Batch]:
        """Variants that the run has not read yet."""
        async for batch in pages(self._client, PRODUCTS, by_id(terms), ask):
            products = [answered(_Changed, row) for row in batch.rows]
            for product in products:
                run.note(product.updated_at)
            for start in range(0, len(products), PRODUCTS_AT_ONCE):
                numbers = ",".join(str(number_of(one.id)) for one in products[start : start + PRODUCTS_AT_ONCE])
                async for found in pages(self._client, VARIANTS, by_id([f"product_ids:{numbers}"]), ask):
                    rows = [row for row in found.rows if answered(Ref, row).id not in run.variants]
                    if rows:
                        yield replace(found, rows=rows)

    async def _batches(self, terms: list[str], many: bool, ask: Ask) -> AsyncIterator[Batch]:
        search = by_id(terms)
        load = Load(VARIANTS, search, all_variants(search(None)))
        way = await cheaper(self._client, load, VARIANTS_COUNT, search(None), ask) if many else Way.PAGES
        async for batch in loaded(self._client, load, way, ask):
            yield batch

    async def shop_currency(self, ask: Ask) -> str:
        """The currency of all prices of the shop. Source: shop."""
        if self._currency is None:
            reply = await self._client.run(CURRENCY, {}, ask)
            self._currency = str(reply.data["shop"]["currencyCode"])
        return self._currency

    async def _page(self, batch: Batch, run: _Run, ask: Ask) -> Page[Listing]:
        channel = self._client.config.channel.id
        currency = await self.shop_currency(ask)
        page: Page[Listing] = Page([])
        variants = [_variant(row) for row in batch.rows]
        if not run.whole or not batch.in_order:
            await self._find_owners([one for one in variants if isinstance(one, _Variant)], run, ask)
        for row, variant in zip(batch.rows, variants, strict=True):
            try:
                if isinstance(variant, Unclear):
                    raise variant
                run.note(variant.updated_at)
                run.variants.add(variant.id)
                claim(variant.sku, variant.id, run.owners)
                page.items.append(_listing(channel, variant, currency, min(run.started, batch.as_of)))
            except Unclear as problem:
                page.rejected.append(rejected(channel, "listing", row, str(problem)))
        return page

    async def _find_owners(self, variants: Sequence[_Variant], run: _Run, ask: Ask) -> None:
        """Who reads a part of the variants cannot see by itself which of those that share a SKU is the first. Source:
        productVariants."""
        shared = {one.sku for one in variants if one.sku and one.inventory_item.duplicate_sku_count} - run.owners.keys()
        skus = sorted(sku for sku in shared if sku.strip())
        for start in range(0, len(skus), SKUS_AT_ONCE):
            terms = " OR ".join(f"sku:{quoted(sku)}" for sku in skus[start : start + SKUS_AT_ONCE])
            async for batch in pages(self._client, OWNERS, by_id([f"({terms})"]), ask):
                for row in batch.rows:
                    owner = answered(_Owner, row)
                    if owner.sku in shared:
                        run.owners.setdefault(owner.sku, owner.id)


def _variant(row: object) -> _Variant | Unclear:
    try:
        return read(_Variant, row)
    except Unclear as problem:
        return problem


def all_variants(search: str | None) -> BulkQuery:
    terms = "" if search is None else f"(query: {literal(search)})"
    return BulkQuery("AcornVariants", f"productVariants{terms} {{ edges {{ node {{ {VARIANT} }} }} }}")


def _listing(channel: ChannelId, variant: _Variant, currency: str, as_of: datetime) -> Listing:
    sku = ChannelSku(variant.sku or "")
    price, sale_price = prices(variant.price, variant.compare_at_price, currency)
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
    """The variant's options, then one "tag" for each of its product's tags. An option of that name is no tag: rules of stock go
    by tags, and a German workshop is offered by the "Tag", which is its day."""
    told = [(one.name.lower(), one.value) for one in variant.selected_options if one.value != ONLY_VARIANT]
    options = [("option tag" if name == TAG else name, value) for name, value in told]
    tags = [(TAG, tag) for tag in variant.product.tags]
    return [Attribute(name, value, value) for name, value in options + tags]


def prices(paid: Decimal, struck: Decimal | None, currency: str) -> tuple[Money, Money | None]:
    """The regular price, and the sale's, of `price` and `compareAtPrice`. Raises Unclear for what is no money."""
    return regular_and_sale(money(paid, currency), None if struck is None else money(struck, currency))


def _title(variant: _Variant) -> str:
    if variant.title == ONLY_VARIANT:
        return variant.product.title
    return f"{variant.product.title} - {variant.title}"
