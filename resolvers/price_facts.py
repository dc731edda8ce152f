"""What prices are made of: costs as they are told, and all that is known of listings with its age."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from domain.cost import CostLayer, NewCost, in_force
from domain.errors import Invalid
from domain.ids import Sku
from domain.price_inputs import PriceInputs
from domain.product import Listing
from domain.repricing import Repriced
from resolvers.shelf import Shelf
from store import cost, price_due, price_facts, product
from store.cost import Kept

MOST_COSTS = 1_000
MOST_SKUS = 100


@dataclass(frozen=True, slots=True)
class Costs:
    """All that was said of one SKU's cost, and what holds on the day that was asked for."""

    sku: Sku
    in_force: CostLayer | None
    revisions: Sequence[CostLayer]


@dataclass(frozen=True, slots=True)
class Known:
    """What a listing's price is made of, and what came of it when it was last worked out."""

    listing: Listing
    inputs: PriceInputs
    last: Repriced | None


async def costs(shelf: Shelf, skus: Sequence[Sku], on: date | None) -> list[Costs]:
    """One answer for each SKU, in the order asked; on `on`, or today by UTC. Raises Invalid."""
    _check(skus, MOST_SKUS)
    day = shelf.clock().date() if on is None else on
    async with shelf.store.begin() as tx:
        said = await cost.revisions(tx, set(skus))
    return [Costs(sku, in_force(said.get(sku, ()), day), said.get(sku, [])) for sku in skus]


async def set_costs(shelf: Shelf, said: Sequence[NewCost], by: str, *, dry_run: bool) -> list[Kept]:
    """Keep what is said; one answer each, in its order. With `dry_run` nothing is kept. Raises Invalid."""
    if not 1 <= len(said) <= MOST_COSTS:
        words = f"Tell 1 to {MOST_COSTS:,} costs at a time; these are {len(said):,}. `acorn costs import` takes files."
        raise Invalid(words, field=("costs",))
    async with shelf.store.begin() as tx, tx.begin_nested() as tried:
        kept = await cost.keep(tx, said, by)
        if dry_run:
            await tried.rollback()
    return kept


async def known(shelf: Shelf, skus: Sequence[Sku]) -> list[Known]:
    """What is known of each listing of these SKUs that can have a price, by SKU and listing id. Raises Invalid."""
    _check(skus, MOST_SKUS)
    async with shelf.store.begin() as tx:
        found = await product.listings_by_skus(tx, set(skus))
        listings = [one for sku in dict.fromkeys(skus) for one in sorted(found.get(sku, ()), key=lambda one: one.id)]
        ids = [one.id for one in listings if one.status != product.WITHDRAWN]
        inputs = await price_facts.inputs(tx, ids, shelf.clock())
        last = await price_due.last(tx, ids)
    return [Known(one, inputs[one.id], last.get(one.id)) for one in listings if one.id in inputs]


def _check(skus: Collection[Sku], most: int) -> None:
    if not 1 <= len(skus) <= most:
        raise Invalid(f"Ask for 1 to {most} SKUs; these are {len(skus)}.", field=("skus",))
