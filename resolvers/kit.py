"""Kits and multipacks: SKUs that are made of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.errors import Invalid
from domain.ids import Sku
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, write_cursor
from resolvers.shelf import Shelf
from store import kit

MOST_COMPONENTS = 50
MOST_UNITS = 10_000


@dataclass(frozen=True, slots=True)
class Component:
    """Units of a SKU in a kit."""

    sku: Sku
    quantity: int


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit and the units of each component in it."""

    sku: Sku
    components: list[Component]


async def page(shelf: Shelf, first: int | None, after: str | None) -> Connection[Kit]:
    """Kits in the order of their SKUs."""
    start = Sku(read_cursor("kits", after)[0]) if after is not None else None
    async with shelf.store.begin() as tx:
        skus, has_next = await kit.page(tx, first=page_size(first), after=start)
        found = await kit.components(tx, skus)
    kits = [_kit(sku, dict(found.get(sku, []))) for sku in skus]

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await kit.count(tx)

    return connect(kits, has_next, after, lambda one: write_cursor("kits", one.sku), count)


async def save(shelf: Shelf, sku: Sku, components: Sequence[Component], by: str) -> Kit:
    """Say what a kit is made of; without components it is none any more. Raises Invalid, NotFound, Conflict."""
    if len(components) > MOST_COMPONENTS:
        raise Invalid(f"A kit has at most {MOST_COMPONENTS} components.", field=("components",))
    units: dict[Sku, int] = {}
    for position, one in enumerate(components):
        if one.sku in units:
            raise Invalid(f"{one.sku} is named twice.", field=("components", str(position), "sku"))
        if not 1 <= one.quantity <= MOST_UNITS:
            raise Invalid(
                f"A kit has 1 to {MOST_UNITS} units of a component.", field=("components", str(position), "quantity")
            )
        units[one.sku] = one.quantity
    async with shelf.store.begin() as tx:
        await kit.save(tx, sku, units, by)
    shelf.stock_cache.forget(sku)
    return _kit(sku, units)


def _kit(sku: Sku, units: Mapping[Sku, int]) -> Kit:
    return Kit(sku, [Component(component, units[component]) for component in sorted(units)])
