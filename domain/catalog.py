"""What a channel's catalog says of a thing, whoever offers it there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Measure:
    """One dimension, in the unit that the catalog gives, e.g. inches or kilograms."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Measures:
    """Of the thing or of its package; None for what the catalog does not say."""

    length: Measure | None = None
    width: Measure | None = None
    height: Measure | None = None
    weight: Measure | None = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """A number of the trade: `kind` is EAN, UPC, GTIN, JAN, ISBN… as the catalog spells it."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Image:
    """`variant` is the catalog's own, e.g. MAIN; sizes are in pixels. One variant may come in several sizes."""

    variant: str
    url: str
    height_px: int
    width_px: int


@dataclass(frozen=True, slots=True)
class Relation:
    """What a thing is to others: a variant of `parents`, or what `children` are variants of, by `theme` over `attributes`."""

    kind: str
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    theme: str | None = None
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Category:
    """A place in the catalog's tree."""

    id: str
    name: str
    parent: Category | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """A place among what sells in one category or, where `department` is true, in one part of the shop; `category` is the
    channel's id of it."""

    category: str
    rank: int
    department: bool
    title: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class CatalogItem:
    """One ASIN in one marketplace, in the catalog's own words; None and empty for what it does not say.

    `locale` is the language that was asked for, None for the marketplace's own.
    """

    asin: str
    marketplace: str
    locale: str | None
    title: str | None = None
    brand: str | None = None
    manufacturer: str | None = None
    color: str | None = None
    size: str | None = None
    style: str | None = None
    model_number: str | None = None
    part_number: str | None = None
    package_count: int | None = None
    released_on: date | None = None
    kind: str | None = None
    product_type: str | None = None
    department: str | None = None
    department_name: str | None = None
    category: Category | None = None
    categories: tuple[Category, ...] = ()
    identifiers: tuple[Identifier, ...] = ()
    images: tuple[Image, ...] = ()
    relations: tuple[Relation, ...] = ()
    item: Measures = Measures()
    package: Measures = Measures()
    ranks: tuple[Rank, ...] = ()
