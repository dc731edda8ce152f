"""Products (styles) and their variants, as the API shows them. One world product is one variant and one inventory item."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from sandbox.shopify import ids, paging
from sandbox.shopify.call import Info, Resolvers, counted, searched
from sandbox.shopify.money import price
from sandbox.shopify.paging import Connection, Sort
from sandbox.shopify.search import Field, Fields
from sandbox.shopify.state import Shop
from sandbox.world import STYLE_SIZE, Product

WINTER = frozenset({"GLOVE", "HOOD", "SCARF"})


def tags_of(product: Product) -> list[str]:
    """The tags of its style, in order: family, brand, and "winter" where it is for winter."""
    brand = re.sub(r"[^a-z0-9]+", "-", product.brand.lower()).strip("-")
    return sorted([product.family.lower(), brand, *(["winter"] if product.family in WINTER else [])])


class Ware:
    """One world product, as a variant and as an inventory item both show it."""

    typename: ClassVar[str]
    __slots__ = ("_shop", "place", "world")

    def __init__(self, shop: Shop, place: int) -> None:
        self._shop = shop
        self.place = place
        self.world = shop.core.world.product(place)

    @property
    def id(self) -> str:
        return ids.gid(self.typename, self.place)

    @property
    def legacy_resource_id(self) -> str:
        return str(ids.number(self.typename, self.place))

    @property
    def sku(self) -> str:
        return self.world.sku


class Variant(Ware):
    typename: ClassVar[str] = "ProductVariant"
    __slots__ = ()

    @property
    def barcode(self) -> str | None:
        return self._shop.terms_of(self.world).barcode

    @property
    def title(self) -> str:
        return f"{self.world.color} / {self.world.size}"

    @property
    def display_name(self) -> str:
        return f"{self.world.style_title} - {self.title}"

    @property
    def price(self) -> str | None:
        return price(self._shop.terms_of(self.world).price)

    @property
    def compare_at_price(self) -> str | None:
        return price(self._shop.terms_of(self.world).compare_at)

    @property
    def taxable(self) -> bool:
        return self._shop.terms_of(self.world).taxable

    @property
    def inventory_policy(self) -> str:
        return self._shop.terms_of(self.world).inventory_policy

    @property
    def inventory_quantity(self) -> int:
        return self._shop.available(self.place)

    @property
    def sellable_online_quantity(self) -> int:
        return max(0, self.inventory_quantity)

    @property
    def available_for_sale(self) -> bool:
        return self.inventory_policy == "CONTINUE" or self.inventory_quantity > 0

    @property
    def position(self) -> int:
        return self.place % STYLE_SIZE + 1

    @property
    def created_at(self) -> datetime:
        return self._shop.created_at(self.place)

    @property
    def updated_at(self) -> datetime:
        return self._shop.variant_at(self.place)

    @property
    def selected_options(self) -> list[dict[str, str]]:
        return [{"name": "Color", "value": self.world.color}, {"name": "Size", "value": self.world.size}]

    @property
    def product(self) -> "Style":
        return Style(self._shop, self.world.style)


class Style:
    typename: ClassVar[str] = "Product"
    __slots__ = ("_shop", "place", "world")

    def __init__(self, shop: Shop, place: int) -> None:
        self._shop = shop
        self.place = place
        self.world = shop.core.world.product(place * STYLE_SIZE)

    @property
    def id(self) -> str:
        return ids.gid("Product", self.place)

    @property
    def legacy_resource_id(self) -> str:
        return str(ids.number("Product", self.place))

    @property
    def title(self) -> str:
        return self.world.style_title

    @property
    def handle(self) -> str:
        return f"{self.title.lower().replace(' ', '-')}-{self.place + 1}"

    @property
    def vendor(self) -> str:
        return self.world.brand

    @property
    def product_type(self) -> str:
        return self.world.family.capitalize()

    @property
    def tags(self) -> list[str]:
        return tags_of(self.world)

    @property
    def description(self) -> str:
        return f"{self.title} by {self.vendor}."

    @property
    def description_html(self) -> str:
        return f"<p>{self.description.replace('&', '&amp;')}</p>"

    @property
    def created_at(self) -> datetime:
        return self._shop.created_at(self.place * STYLE_SIZE)

    @property
    def published_at(self) -> datetime:
        return self.created_at

    @property
    def updated_at(self) -> datetime:
        return self._shop.style_at(self.place)

    @property
    def items(self) -> range:
        first = self.place * STYLE_SIZE
        return range(first, min(first + STYLE_SIZE, self._shop.core.world.size))

    @property
    def total_inventory(self) -> int:
        return sum(self._shop.available(item) for item in self.items)

    @property
    def has_only_default_variant(self) -> bool:
        return False

    @property
    def tracks_inventory(self) -> bool:
        return True

    @property
    def status(self) -> str:
        return self._shop.statuses.get(self.place, "ACTIVE")

    @property
    def variants_count(self) -> dict[str, Any]:
        return {"count": len(self.items), "precision": "EXACT"}

    @property
    def options(self) -> list[dict[str, Any]]:
        made = [self._shop.core.world.product(item) for item in self.items]
        return [
            {
                "id": ids.gid("ProductOption", self.place * 2 + index),
                "name": name,
                "position": index,
                "values": list(dict.fromkeys(getattr(product, name.lower()) for product in made)),
            }
            for index, name in enumerate(("Color", "Size"), 1)
        ]


def _variants(style: Style, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    sort = (lambda item: shop.core.world.product(item).sku) if args.get("sortKey") == "SKU" else None
    return paging.page(style.items, args, lambda item: Variant(shop, item), sort=sort)


def _options(style: Style, info: Info, first: int | None = None) -> list[dict[str, Any]]:
    return style.options[:first]


def variant_fields(shop: Shop) -> Fields:
    """What `productVariants` can be searched by; rows are the places of variants."""

    def world(place: int) -> Product:
        return shop.core.world.product(place)

    return {
        "default": Field("words", lambda p: (world(p).sku, f"{world(p).style_title} {world(p).color} {world(p).size}")),
        "barcode": Field("string", lambda p: shop.terms_of(world(p)).barcode),
        "created_at": Field("time", shop.created_at),
        "id": Field("id", lambda p: ids.number("ProductVariant", p), _by_number("ProductVariant")),
        "inventory_quantity": Field("number", shop.available),
        "product_id": Field("id", lambda p: ids.number("Product", p // STYLE_SIZE), _variants_of),
        "product_ids": Field("string", lambda p: str(ids.number("Product", p // STYLE_SIZE)), _variants_of_all),
        "product_status": Field("string", lambda p: Style(shop, p // STYLE_SIZE).status.lower()),
        "product_type": Field("string", lambda p: world(p).family),
        "sku": Field("string", lambda p: world(p).sku, by_sku(shop)),
        "tag": Field("string", lambda p: tags_of(world(p))),
        "title": Field("words", lambda p: f"{world(p).color} / {world(p).size}"),
        "updated_at": Field("time", shop.variant_at),
        "vendor": Field("string", lambda p: world(p).brand),
    }


def product_fields(shop: Shop) -> Fields:
    """What `products` can be searched by; rows are the places of styles."""

    def first(place: int) -> Product:
        return shop.core.world.product(place * STYLE_SIZE)

    find_sku = by_sku(shop)
    return {
        "default": Field("words", lambda p: (first(p).style_title, first(p).brand)),
        "created_at": Field("time", lambda p: shop.created_at(p * STYLE_SIZE)),
        "handle": Field("string", lambda p: Style(shop, p).handle),
        "id": Field("id", lambda p: ids.number("Product", p), _by_number("Product")),
        "inventory_total": Field("number", lambda p: Style(shop, p).total_inventory),
        "product_type": Field("string", lambda p: first(p).family),
        "sku": Field(
            "string",
            lambda p: [product.sku for product in shop.core.world.style(p)],
            lambda sku: [place // STYLE_SIZE for place in find_sku(sku)],
        ),
        "status": Field("string", lambda p: Style(shop, p).status.lower()),
        "tag": Field("string", lambda p: tags_of(first(p))),
        "title": Field("words", lambda p: first(p).style_title),
        "updated_at": Field("time", shop.style_at),
        "vendor": Field("string", lambda p: first(p).brand),
    }


def by_sku(shop: Shop) -> Any:
    """Looks a SKU up, in any spelling of case; the platform compares without it."""

    def find(sku: str) -> Iterable[int]:
        place = shop.core.world.index(sku.upper())
        return () if place is None else (place,)

    return find


def _by_number(kind: str) -> Any:
    def find(text: str) -> Iterable[int]:
        tail = text.rpartition("/")[2]
        return (int(tail) - ids.BASES[kind],) if tail.isdigit() else ()

    return find


def _variants_of(text: str) -> Iterable[int]:
    tail = text.rpartition("/")[2]
    style = int(tail) - ids.BASES["Product"] if tail.isdigit() else -1
    return range(style * STYLE_SIZE, (style + 1) * STYLE_SIZE)


def _variants_of_all(text: str) -> Iterable[int]:
    return [place for one in text.split(",") for place in _variants_of(one)]


def variants(shop: Shop) -> range:
    return range(shop.core.world.size)


def styles(shop: Shop) -> range:
    return range(-(-shop.core.world.size // STYLE_SIZE))


def variant_by_id(shop: Shop, given: str) -> Variant | None:
    place = ids.place("ProductVariant", given)
    return Variant(shop, place) if place in variants(shop) else None


def style_by_id(shop: Shop, given: str) -> Style | None:
    place = ids.place("Product", given)
    return Style(shop, place) if place in styles(shop) else None


def _micros(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000)


def _products(_: Any, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    world = shop.core.world
    sorts: dict[str, Sort | None] = {
        "CREATED_AT": lambda p: _micros(shop.created_at(p * STYLE_SIZE)),
        "TITLE": lambda p: world.product(p * STYLE_SIZE).style_title,
        "UPDATED_AT": lambda p: _micros(shop.style_at(p)),
        "VENDOR": lambda p: world.product(p * STYLE_SIZE).brand,
    }
    recent = (shop.newest_base, shop.touched_styles)
    return searched(info, args, product_fields(shop), styles(shop), lambda p: Style(shop, p), sorts, recent)


def _product_variants(_: Any, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    world = shop.core.world
    sorts: dict[str, Sort | None] = {"SKU": lambda p: world.product(p).sku, "TITLE": lambda p: Variant(shop, p).title}
    recent = (shop.newest_base, shop.touched)
    return searched(info, args, variant_fields(shop), variants(shop), lambda p: Variant(shop, p), sorts, recent)


def _variants_count(_: Any, info: Info, query: str | None = None, limit: int | None = None) -> Any:
    shop = info.context.shop
    return counted(info, query, limit, variant_fields(shop), variants(shop))


def _products_count(_: Any, info: Info, query: str | None = None, limit: int | None = None) -> Any:
    shop = info.context.shop
    return counted(info, query, limit, product_fields(shop), styles(shop))


RESOLVERS: Resolvers = {
    "QueryRoot": {
        "product": lambda _, info, id: style_by_id(info.context.shop, id),
        "products": _products,
        "productsCount": _products_count,
        "productVariant": lambda _, info, id: variant_by_id(info.context.shop, id),
        "productVariants": _product_variants,
        "productVariantsCount": _variants_count,
    },
    "Product": {"options": _options, "variants": _variants},
}
