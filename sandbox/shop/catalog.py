"""Products and variants. What nobody has changed is made from the seeded world when it is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from sandbox.shop.feed import Feed
from sandbox.world import STYLE_SIZE, World


@dataclass(slots=True)
class Variant:
    """One SKU; amounts in the shop's currency."""

    id: str
    sku: str
    title: str
    price: Decimal
    updated_at: datetime
    rev: int = 1
    compare_at: Decimal | None = None
    unit_cost: Decimal | None = None
    barcode: str | None = None
    tracked: bool = True
    options: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Product:
    id: str
    title: str
    updated_at: datetime
    rev: int = 1
    status: str = "active"
    brand: str | None = None
    url: str | None = None
    variants: list[Variant] = field(default_factory=list)


class Catalog:
    """All products, by id and by SKU."""

    def __init__(self, world: World, origin: datetime, stamp: Callable[[], datetime]) -> None:
        self._world = world
        self._stamp = stamp
        styles = -(-world.size // STYLE_SIZE)
        self.feed: Feed[str] = Feed(origin, styles, lambda style: f"prd_{style + 1}", self._style)
        self._changed: dict[str, Product | None] = {}
        self._home: dict[str, str] = {}
        self._made = 0

    def product(self, id: str) -> Product | None:
        if id in self._changed:
            return self._changed[id]
        style = self._style(id)
        return None if style is None else self._seeded(style)

    def variant(self, sku: str) -> tuple[Product, Variant] | None:
        """A variant and the product that it belongs to."""
        index = self._world.index(sku)
        home = self._home.get(sku) or ("" if index is None else f"prd_{index // STYLE_SIZE + 1}")
        product = self.product(home)
        return next(((product, one) for one in product.variants if one.sku == sku), None) if product else None

    def walk(self, since: datetime) -> Iterator[tuple[datetime, Product]]:
        for at, id in self.feed.walk(since):
            product = self.product(id)
            if product is not None:
                yield at, product

    def keep(self, product: Product, *changed: Variant) -> None:
        """Keep a product that is new or has changed, and with it the variants that have."""
        now = self._stamp()
        product.updated_at = now
        product.rev += 1
        for variant in changed:
            variant.updated_at = now
            variant.rev += 1
        self._changed[product.id] = product
        self._home |= {variant.sku: product.id for variant in product.variants}
        self.feed.touch(product.id, now)

    def remove(self, product: Product) -> None:
        self._changed[product.id] = None
        self.feed.remove(product.id)

    def next_ids(self, kind: str) -> str:
        """An id that nothing has yet."""
        self._made += 1
        return f"{kind}_n{self._made}"

    def _style(self, id: str) -> int | None:
        number = id.removeprefix("prd_")
        if number == id or not number.isascii() or not number.isdigit():
            return None
        style = int(number) - 1
        return style if 0 <= style * STYLE_SIZE < self._world.size else None

    def _seeded(self, style: int) -> Product:
        at = self.feed.at(f"prd_{style + 1}")
        rows = self._world.style(style)
        return Product(
            id=f"prd_{style + 1}",
            title=rows[0].style_title,
            updated_at=at,
            brand=rows[0].brand,
            url=f"https://shop.example/products/{style + 1}",
            variants=[
                Variant(
                    id=f"var_{row.index + 1}",
                    sku=row.sku,
                    title=row.title,
                    price=row.prices["USD"],
                    updated_at=at,
                    unit_cost=row.unit_cost,
                    barcode=row.ean,
                    options={"color": row.color, "size": row.size},
                )
                for row in rows
            ],
        )
