"""The seeded world both sandboxes share: products, own warehouses and stock. Everything is derived from the seed and an
index when it is asked for, so a world of 1,000,000 SKUs costs nothing until it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from random import Random

POOLS = {"US": "US", "DE": "EU", "FR": "EU", "JP": "JP"}
"""Marketplace -> FBA pool. Germany and France report the same physical units of one pan-European pool."""


STYLE_SIZE = 5
"""Consecutive products that are variants of one style: same family, brand and title, other color and size."""

_FAMILIES = {
    # code: (nouns in en, de, fr, ja), sizes, price range in whole USD
    "TEE": (("T-Shirt", "T-Shirt", "T-shirt", "Tシャツ"), ("S", "M", "L", "XL"), (12, 35)),
    "HOOD": (("Hoodie", "Kapuzenpullover", "Sweat à capuche", "パーカー"), ("S", "M", "L", "XL"), (35, 90)),
    "PANT": (("Trousers", "Hose", "Pantalon", "パンツ"), ("S", "M", "L", "XL"), (40, 120)),
    "SOCK": (("Socks", "Socken", "Chaussettes", "靴下"), ("35-38", "39-42", "43-46"), (6, 18)),
    "CAP": (("Cap", "Mütze", "Casquette", "キャップ"), ("ONE",), (15, 40)),
    "SCARF": (("Scarf", "Schal", "Écharpe", "マフラー"), ("ONE",), (18, 70)),
    "GLOVE": (("Gloves", "Handschuhe", "Gants", "手袋"), ("S", "M", "L"), (15, 60)),
    "BELT": (("Belt", "Gürtel", "Ceinture", "ベルト"), ("85", "95", "105"), (20, 65)),
    "BAG": (("Bag", "Tasche", "Sac", "バッグ"), ("ONE",), (30, 150)),
    "MUG": (("Mug", "Becher", "Tasse", "マグカップ"), ("ONE",), (8, 24)),
}
_COLORS = {
    "NAVY": ("Navy", "Marineblau", "bleu marine", "ネイビー"),
    "BLACK": ("Black", "Schwarz", "noir", "ブラック"),
    "WHITE": ("White", "Weiß", "blanc", "ホワイト"),
    "RED": ("Red", "Rot", "rouge", "レッド"),
    "OLIVE": ("Olive", "Oliv", "olive", "オリーブ"),
    "SAND": ("Sand", "Sand", "sable", "サンド"),
    "GREY": ("Grey", "Grau", "gris", "グレー"),
}
_BRANDS = ("Acorn & Sons", "Nordhaven", "Maison Lune", "Kite Supply", "Yama Works")
_MODELS = ("Classic", "Harbor", "Field", "Studio", "Trail", "Everyday", "Heritage", "Summit")
_LANGUAGES = ("en", "de", "fr", "ja")
_ASIN_SPACE = 36**8
_ASIN_FACTOR = 1_234_567_891
"""It shares no divisor with the space, so no two products share an ASIN; and neighbors do not look alike."""
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Product:
    """One SKU. `index` counts from 0; `marketplaces` are the Amazon ones it is listed in, maybe none."""

    index: int
    style: int
    sku: str
    family: str
    brand: str
    titles: dict[str, str]
    style_title: str
    color: str
    size: str
    asin: str
    ean: str
    prices: dict[str, Decimal]
    unit_cost: Decimal
    marketplaces: tuple[str, ...]
    fulfilled_by: str

    @property
    def title(self) -> str:
        return self.titles["en"]


@dataclass(frozen=True, slots=True)
class PoolStock:
    """Units of one SKU in one FBA pool, by the nine kinds that are reported."""

    fulfillable: int
    inbound_working: int
    inbound_shipped: int
    inbound_receiving: int
    reserved_orders: int
    reserved_transshipment: int
    reserved_processing: int
    researching: int
    unfulfillable: int


@dataclass(frozen=True, slots=True)
class OwnStock:
    """Units of one SKU in one own warehouse: lying there, coming in, and damaged ones among those lying there."""

    on_hand: int
    incoming: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Warehouse:
    """An own warehouse, which is a Shopify location; `number` makes its id there."""

    name: str
    number: int
    country: str
    city: str
    street: str
    zip: str


WAREHOUSES = (
    Warehouse("Berlin", 1, "DE", "Berlin", "Lagerweg 7", "12439"),
    Warehouse("Reno", 2, "US", "Reno", "400 Depot Street", "89502"),
)


class World:
    """Same arguments, same world. `orders` are split 3:2 between Amazon and Shopify."""

    def __init__(self, seed: int, products: int, orders: int, marketplaces: tuple[str, ...]) -> None:
        self.seed = seed
        self.size = products
        self.amazon_orders = orders * 3 // 5
        self.shopify_orders = orders - self.amazon_orders
        self.marketplaces = marketplaces
        self._at_home = tuple(code for code in marketplaces if code == "US")
        self._asin_offset = seed * 97 + 36**7
        self.product = lru_cache(maxsize=200_000)(self._product)
        self.pool_stock = lru_cache(maxsize=200_000)(self._pool_stock)

    def random(self, *key: object) -> Random:
        """The dice of one thing, e.g. `world.random("order", 17)`; the same at every start."""
        return Random(":".join(map(str, (self.seed, *key))))

    def index(self, sku: str) -> int | None:
        """The index of a SKU, or None when this world has no such SKU."""
        parts = sku.split("-", 2)
        if len(parts) != 3 or not parts[1].isascii() or not parts[1].isdigit():
            return None
        index = int(parts[1]) - 1
        return index if 0 <= index < self.size and self.product(index).sku == sku else None

    def find(self, sku: str) -> Product | None:
        """The product of a SKU, or None when this world has no such SKU."""
        index = self.index(sku)
        return None if index is None else self.product(index)

    def by_asin(self, asin: str) -> int | None:
        """The index of an ASIN, or None."""
        index = self._asin_number(asin)
        return index if index is not None and index < self.size else None

    def parent_asin(self, style: int) -> str:
        """The ASIN of what the variants of a style are variants of; nobody offers it."""
        return self.asin(_ASIN_SPACE // 2 + style)

    def by_parent_asin(self, asin: str) -> int | None:
        """The style of a parent's ASIN, or None."""
        number = self._asin_number(asin)
        style = -1 if number is None else number - _ASIN_SPACE // 2
        return style if style >= 0 and style * STYLE_SIZE < self.size else None

    def by_ean(self, ean: str) -> int | None:
        """The index of an EAN, or None."""
        index = int(ean[4:12]) if ean[4:12].isascii() and ean[4:12].isdigit() else self.size
        return index if index < self.size and _ean(index) == ean else None

    def products(self) -> Iterator[Product]:
        return (self._product(index) for index in range(self.size))

    def marketplaces_of(self, index: int) -> tuple[str, ...]:
        """Where a product is listed at Amazon; told by its index alone, so that a million are quickly asked."""
        return self.marketplaces if self.everywhere(index) else self._at_home

    def everywhere(self, index: int) -> bool:
        """Whether a product is listed in every marketplace there is; else only in the US."""
        return index % STYLE_SIZE >= 3

    def fulfilled_by(self, index: int) -> str:
        """AMAZON or MERCHANT; told by its index alone."""
        return "MERCHANT" if index % 10 == 9 else "AMAZON"

    def style(self, number: int) -> list[Product]:
        """The variants of one style, `STYLE_SIZE` of them except in a last, shorter one."""
        first = number * STYLE_SIZE
        return [self.product(index) for index in range(first, min(first + STYLE_SIZE, self.size))]

    def _pool_stock(self, index: int, pool: str) -> PoolStock:
        """The FBA units at the start; of no meaning for a product that is not fulfilled by Amazon there."""
        dice = self.random("pool", pool, index)
        sold_out = dice.random() < 0.06
        return PoolStock(
            fulfillable=0 if sold_out else dice.randint(1, 240),
            inbound_working=dice.choice((0, 0, 0, 24, 48)),
            inbound_shipped=dice.choice((0, 0, 12, 36)),
            inbound_receiving=dice.choice((0, 0, 0, 6)),
            reserved_orders=dice.choice((0, 0, 1, 2, 3)),
            reserved_transshipment=dice.choice((0, 0, 0, 2, 5)),
            reserved_processing=dice.choice((0, 0, 0, 1)),
            researching=dice.choice((0, 0, 0, 0, 1)),
            unfulfillable=dice.choice((0, 0, 0, 1, 2)),
        )

    def own_stock(self, index: int, warehouse: str) -> OwnStock:
        """The units of an own warehouse at the start."""
        dice = self.random("own", warehouse, index)
        empty = dice.random() < 0.08
        return OwnStock(
            on_hand=0 if empty else dice.randint(1, 120),
            incoming=dice.choice((0, 0, 0, 20, 40)),
            damaged=0 if empty else dice.choice((0, 0, 0, 0, 1)),
        )

    def listed(self, dice: Random, marketplace: str | None = None) -> Product:
        """Any product that is listed in `marketplace`; any at all without one. LookupError when there is none."""
        if marketplace is None or marketplace == "US":
            return self.product(dice.randrange(self.size))
        everywhere = (self.size + 1) // 5 + self.size // 5
        if not everywhere:
            raise LookupError(f"no product is listed in {marketplace}: the world needs at least 4 products")
        pair, second = divmod(dice.randrange(everywhere), 2)
        return self.product(pair * 5 + 3 + second)

    def _product(self, index: int) -> Product:
        if not 0 <= index < self.size:
            raise IndexError(index)
        style = index // STYLE_SIZE
        dice = self.random("style", style)
        family = dice.choice(list(_FAMILIES))
        nouns, sizes, (low, high) = _FAMILIES[family]
        brand, model = dice.choice(_BRANDS), dice.choice(_MODELS)
        usd = Decimal(dice.randint(low, high)) - Decimal("0.01")
        kinds = [(color, size) for color in _COLORS for size in sizes]
        color, size = dice.sample(kinds, STYLE_SIZE)[index % STYLE_SIZE]
        return Product(
            index=index,
            style=style,
            sku=f"{family}-{index + 1:05d}-{color}-{size}",
            family=family,
            brand=brand,
            titles={
                language: f"{brand} {model} {nouns[place]}, {_COLORS[color][place]}, {size}"
                for place, language in enumerate(_LANGUAGES)
            },
            style_title=f"{model} {nouns[0]}",
            color=_COLORS[color][0],
            size=size,
            asin=self.asin(index),
            ean=_ean(index),
            prices={"USD": usd, "EUR": usd - 1, "JPY": Decimal(int(usd + 1) * 150 - 20)},
            unit_cost=(usd * Decimal(dice.randint(28, 55)) / 100).quantize(Decimal("0.01")),
            marketplaces=self.marketplaces_of(index),
            fulfilled_by=self.fulfilled_by(index),
        )

    def _asin_number(self, asin: str) -> int | None:
        try:
            number = int(asin[2:], 36)
        except ValueError:
            return None
        index = (number - self._asin_offset) * pow(_ASIN_FACTOR, -1, _ASIN_SPACE) % _ASIN_SPACE
        return index if self.asin(index) == asin else None

    def asin(self, index: int) -> str:
        number = (index * _ASIN_FACTOR + self._asin_offset) % _ASIN_SPACE
        digits = ""
        for _ in range(8):
            number, digit = divmod(number, 36)
            digits = _BASE36[digit] + digits
        return "B0" + digits


def _ean(index: int) -> str:
    body = f"4006{index % 10**8:08d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(body))
    return body + str(-total % 10)
