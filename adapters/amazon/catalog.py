"""The catalog: what Amazon says of an ASIN. Source: Catalog Items 2022-04-01, searchCatalogItems and getCatalogItem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date
from typing import TypeVar
from urllib.parse import quote

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, Marketplace, marketplace
from adapters.amazon.numbers import Number
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import Count, Pagination, rejected
from adapters.port import Page
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.catalog import CatalogItem, Category, Identifier, Image, Measure, Measures, Rank, Relation
from domain.errors import Invalid, Transient
from domain.ids import ChannelId
from domain.product import Rejected

SEARCH = "searchCatalogItems"
GET = "getCatalogItem"
PATH = "/catalog/2022-04-01/items"
# Identifiers, keywords and items of a page, each at most.
MOST = 20
IDENTIFIERS = ("ASIN", "EAN", "GTIN", "ISBN", "JAN", "MINSAN", "SKU", "UPC")
# Attributes differ from product type to product type, and the details of vendors are not ours to see.
INCLUDED = (
    "classifications",
    "dimensions",
    "identifiers",
    "images",
    "productTypes",
    "relationships",
    "salesRanks",
    "summaries",
)


class Local(Wire):
    """A part of an item that is told marketplace by marketplace."""

    marketplace_id: str


L = TypeVar("L", bound=Local)


class Browse(Wire):
    """A node of Amazon's tree of categories."""

    display_name: str
    classification_id: str
    parent: Browse | None = None

    def category(self) -> Category:
        """The node with all above it."""
        return Category(
            self.classification_id, self.display_name, None if self.parent is None else self.parent.category()
        )


class Summary(Local):
    """The item in a few words."""

    item_name: str | None = None
    brand: str | None = None
    manufacturer: str | None = None
    color: str | None = None
    size: str | None = None
    style: str | None = None
    model_number: str | None = None
    part_number: str | None = None
    package_quantity: Count | None = None
    release_date: date | None = None
    item_classification: str | None = None
    browse_classification: Browse | None = None
    website_display_group: str | None = None
    website_display_group_name: str | None = None


class Dimension(Wire):
    """One of the four; both halves or nothing."""

    unit: str
    value: Number


class Dimensions(Wire):
    """Of an item or of its package."""

    length: Dimension | None = None
    width: Dimension | None = None
    height: Dimension | None = None
    weight: Dimension | None = None

    def measures(self) -> Measures:
        """In Amazon's units; what is not there stays None."""
        sides = (self.length, self.width, self.height, self.weight)
        return Measures(*(None if side is None else Measure(side.value, side.unit) for side in sides))


class LocalDimensions(Local):
    """The item's and its package's."""

    item: Dimensions = Dimensions()
    package: Dimensions = Dimensions()


class TradeNumber(Wire):
    """A number of the trade."""

    identifier: str
    identifier_type: str


class LocalNumbers(Local):
    """All of an item's."""

    identifiers: tuple[TradeNumber, ...]


class Picture(Wire):
    """One image in one size."""

    variant: str
    link: str
    height: Count
    width: Count


class LocalPictures(Local):
    """All of an item's."""

    images: tuple[Picture, ...]


class LocalProductType(Local):
    """How Amazon files the item."""

    product_type: str | None = None


class Theme(Wire):
    """In what variants differ."""

    attributes: tuple[str, ...] = ()
    theme: str | None = None


class Relationship(Wire):
    """VARIATION or PACKAGE_HIERARCHY."""

    type: str
    child_asins: tuple[str, ...] = ()
    parent_asins: tuple[str, ...] = ()
    variation_theme: Theme = Theme()


class LocalRelationships(Local):
    """All of an item's."""

    relationships: tuple[Relationship, ...]


class CategoryRank(Wire):
    """A place in a category."""

    classification_id: str
    title: str
    rank: Count
    link: str | None = None


class DepartmentRank(Wire):
    """A place in a department of the shop."""

    website_display_group: str
    title: str
    rank: Count
    link: str | None = None


class LocalRanks(Local):
    """All of an item's."""

    classification_ranks: tuple[CategoryRank, ...] = ()
    display_group_ranks: tuple[DepartmentRank, ...] = ()


class LocalCategories(Local):
    """Where an item stands in Amazon's tree."""

    classifications: tuple[Browse, ...] = ()


class Item(Wire):
    """One ASIN."""

    asin: str
    summaries: tuple[Summary, ...] = ()
    classifications: tuple[LocalCategories, ...] = ()
    dimensions: tuple[LocalDimensions, ...] = ()
    identifiers: tuple[LocalNumbers, ...] = ()
    images: tuple[LocalPictures, ...] = ()
    product_types: tuple[LocalProductType, ...] = ()
    relationships: tuple[LocalRelationships, ...] = ()
    sales_ranks: tuple[LocalRanks, ...] = ()


class Answer(Wire):
    """One page of a search."""

    number_of_results: Count
    items: list[object]
    pagination: Pagination = Pagination()


async def item(client: Client, asin: str, code: str, ask: Ask, *, locale: str | None = None) -> CatalogItem:
    """One ASIN in one marketplace. Raises NotFound, and Transient for an answer that cannot be understood."""
    query = _query(marketplace(code), locale)
    wire, request_id = await client.get_with_id(GET, f"{PATH}/{quote(asin, safe='')}", query, ask, Item)
    try:
        found = _items(wire, locale)
    except Unclear as problem:
        raise Transient(f"{GET} of {asin}: {problem}.", upstream_request_id=request_id) from problem
    here = [one for one in found if one.marketplace == marketplace(code).code]
    return here[0] if here else CatalogItem(wire.asin, marketplace(code).code, locale)


def pages_of(
    client: Client,
    code: str,
    identifiers: Sequence[str],
    kind: str,
    ask: Ask,
    *,
    seller_id: str | None = None,
    locale: str | None = None,
) -> AsyncIterator[Page[CatalogItem]]:
    """The items that carry one of at most 20 `identifiers`; what carries none of them is missing, and one number may be on
    several items. `kind` is one of `IDENTIFIERS`, and SKU needs the seller. Raises Invalid before anything is sent."""
    if not 1 <= len(identifiers) <= MOST:
        raise Invalid(f"{SEARCH} takes 1 to {MOST} identifiers; {len(identifiers)} were given.")
    if kind not in IDENTIFIERS or (kind == "SKU" and seller_id is None):
        raise Invalid(f"{SEARCH} finds by {', '.join(IDENTIFIERS)} (SKU with the seller), not by {kind}.")
    wanted: dict[str, str | Sequence[str]] = {"identifiers": identifiers, "identifiersType": kind}
    if seller_id is not None and kind == "SKU":
        wanted["sellerId"] = seller_id
    return _pages(client, {**_query(marketplace(code), locale), **wanted}, locale, ask)


def pages_about(
    client: Client,
    code: str,
    keywords: Sequence[str],
    ask: Ask,
    *,
    brands: Sequence[str] = (),
    locale: str | None = None,
) -> AsyncIterator[Page[CatalogItem]]:
    """The items that Amazon's search finds for at most 20 words, best first. Raises Invalid before anything is sent."""
    if not 1 <= len(keywords) <= MOST:
        raise Invalid(f"{SEARCH} takes 1 to {MOST} keywords; {len(keywords)} were given.")
    wanted: dict[str, str | Sequence[str]] = {"keywords": keywords}
    if brands:
        wanted["brandNames"] = brands
    return _pages(client, {**_query(marketplace(code), locale), **wanted}, locale, ask)


async def _pages(
    client: Client, query: dict[str, str | Sequence[str]], locale: str | None, ask: Ask
) -> AsyncIterator[Page[CatalogItem]]:
    query["pageSize"] = str(MOST)
    tokens = Tokens(SEARCH)
    while True:
        answer = await client.get(SEARCH, PATH, query, ask, Answer)
        token = tokens.next(answer.pagination.next_token)
        yield page_of(client.channel, answer.items, answer.number_of_results, locale)
        if token is None:
            return
        query["pageToken"] = token


def page_of(channel: ChannelId, raws: Sequence[object], expected: int, locale: str | None) -> Page[CatalogItem]:
    """Items as they came; those that cannot be understood are in `rejected`, by their ASIN."""
    found: list[CatalogItem] = []
    broken: list[Rejected] = []
    for raw in raws:
        try:
            found += items_of(raw, locale)
        except Unclear as problem:
            broken.append(rejected(channel, "catalog", "asin", raw, problem))
    return Page(found, broken, expected=expected)


def items_of(raw: object, locale: str | None = None) -> list[CatalogItem]:
    """An item, once for each marketplace that it tells anything of. Raises Unclear."""
    return _items(read(Item, raw), locale)


def _items(wire: Item, locale: str | None) -> list[CatalogItem]:
    told: tuple[Sequence[Local], ...] = (
        wire.summaries,
        wire.classifications,
        wire.dimensions,
        wire.identifiers,
        wire.images,
        wire.product_types,
        wire.relationships,
        wire.sales_ranks,
    )
    return [_item(wire, id, locale) for id in dict.fromkeys(part.marketplace_id for parts in told for part in parts)]


def _item(wire: Item, id: str, locale: str | None) -> CatalogItem:
    empty = {"marketplaceId": id}
    summary = _one(wire.summaries, id) or read(Summary, empty)
    measures = _one(wire.dimensions, id) or read(LocalDimensions, empty)
    product_type = _one(wire.product_types, id) or read(LocalProductType, empty)
    category = summary.browse_classification
    return CatalogItem(
        asin=wire.asin,
        marketplace=BY_ID.get(id, id),
        locale=locale,
        title=summary.item_name,
        brand=summary.brand,
        manufacturer=summary.manufacturer,
        color=summary.color,
        size=summary.size,
        style=summary.style,
        model_number=summary.model_number,
        part_number=summary.part_number,
        package_count=summary.package_quantity,
        released_on=summary.release_date,
        kind=summary.item_classification,
        product_type=product_type.product_type,
        department=summary.website_display_group,
        department_name=summary.website_display_group_name,
        category=None if category is None else category.category(),
        categories=tuple(one.category() for part in _all(wire.classifications, id) for one in part.classifications),
        identifiers=tuple(
            Identifier(one.identifier_type, one.identifier)
            for part in _all(wire.identifiers, id)
            for one in part.identifiers
        ),
        images=tuple(
            Image(one.variant, one.link, one.height, one.width) for part in _all(wire.images, id) for one in part.images
        ),
        relations=tuple(_relation(one) for part in _all(wire.relationships, id) for one in part.relationships),
        item=measures.item.measures(),
        package=measures.package.measures(),
        ranks=tuple(rank for part in _all(wire.sales_ranks, id) for rank in _ranks(part)),
    )


def _relation(one: Relationship) -> Relation:
    theme = one.variation_theme
    return Relation(one.type, one.parent_asins, one.child_asins, theme.theme, theme.attributes)


def _ranks(part: LocalRanks) -> Iterator[Rank]:
    for one in part.classification_ranks:
        yield Rank(one.classification_id, one.rank, department=False, title=one.title, url=one.link)
    for other in part.display_group_ranks:
        yield Rank(other.website_display_group, other.rank, department=True, title=other.title, url=other.link)


def _all(parts: Sequence[L], id: str) -> list[L]:
    return [part for part in parts if part.marketplace_id == id]


def _one(parts: Sequence[L], id: str) -> L | None:
    found = _all(parts, id)
    if len(found) > 1:
        raise Unclear(f"{type(found[0]).__name__} of {id} is told {len(found)} times")
    return found[0] if found else None


def _query(store: Marketplace, locale: str | None) -> dict[str, str | Sequence[str]]:
    query: dict[str, str | Sequence[str]] = {"marketplaceIds": [store.id], "includedData": INCLUDED}
    if locale:
        query["locale"] = locale
    return query
