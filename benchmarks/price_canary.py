"""A bad rule over 10,000 listings of a self-built shop: how many it touches, and whether it is undone.

    python -m benchmarks.price_canary [--rows 10000]

All prices are asked for 40 % lower at once, and somebody approves that. The usual canary goes first and is carried to the shop;
then the catalog tells an issue about its listings, as platforms do of prices they take for mistakes. The rest must not leave, and
what has left must stand at the shop as it did before. Beside it: what would have been touched without canaries, all of it. Exit
code 1 when more was touched than the canary's share, or anything was not undone.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from adapters.prices import PriceKey, ShownPrice
from benchmarks.prices import SHOP, Ground, asked, carried, ground, listed, shop_of
from benchmarks.rehearsal import Sandbox
from domain.budget import Ask
from domain.ids import OperationId
from domain.operation import Capability
from domain.price_canary import Canary, Radius
from domain.product import Listing, ListingIssue
from store import operation, price_canary, product
from workers.lanes import Lane, Lanes
from workers.price_canary import watch
from workers.worker import BATCHES, HANDLERS

BATCH = 100
REST_S = 0.1
BAD = ListingIssue("90000", "ERROR", "The price looks like a mistake.")


@dataclass(frozen=True, slots=True)
class Report:
    """`touched` are SKUs whose price the shop was ever told, `left` those of them that do not show what they did."""

    rows: int
    touched: int
    left: int
    canary: Canary
    usual: Radius

    @property
    def kept(self) -> bool:
        share = max(1, int(self.rows * self.usual.canary_share / 100))
        return 0 < self.touched <= min(self.usual.most, share) and self.left == 0

    def told(self) -> str:
        why = "; ".join(self.canary.reasons)
        return (
            f"{self.rows:,} prices at once; {self.touched:,} touched, {self.touched / self.rows:.2%} of what would be without a "
            f"canary; {self.left} not undone\n  {self.canary.state.value}: {why}"
        )


async def measure(rows: int) -> Report:
    async with ground() as on:
        with shop_of(rows, 20.0) as shop:
            return await rehearsed(on, shop, rows)


async def rehearsed(on: Ground, shop: Sandbox, rows: int) -> Report:
    """From the bad rule to what stands in the end."""
    port = on.shop(shop.url)
    deps = on.deps(port)
    listings = await listed(on.store, SHOP, shop, rows)
    mark = int(shop.get("journal")["next"])
    bad = await asked(on.store, listings, "12.00")
    lanes = Lanes(deps, HANDLERS, BATCHES)
    while not (went := touched(shop, mark)):
        lanes.wake(Lane(SHOP.id, Capability.PRICES))
        await lanes.idle()
        await asyncio.sleep(REST_S)
    at = datetime.now(UTC)
    complained = [replace(one, issues=[BAD], as_of=at) for one in listings if one.channel_sku in went]
    async with on.store.begin() as tx:
        await product.upsert_listings(tx, complained)
    await watch(deps)
    async with on.store.begin() as tx:
        canary = (await price_canary.by_operations(tx, [bad]))[bad]
        made, _ = await operation.page(tx, first=10)
    for one in made:
        if one.reverts == bad:
            await carried(deps, OperationId(one.id), SHOP.id)
    went = touched(shop, mark)
    keys = [PriceKey(one.channel_sku, tuple(one.refs.items()), None) for one in listings if one.channel_sku in went]
    shown: list[Any] = []
    for start in range(0, len(keys), BATCH):
        shown += await port.shown_prices(keys[start : start + BATCH], Ask())
    before: dict[str, Listing] = {one.channel_sku: one for one in listings}
    left = sum(not _as_before(one, before) for one in shown)
    return Report(rows, len(went), left, canary, Radius())


def _as_before(one: Any, before: dict[str, Listing]) -> bool:
    if not isinstance(one, ShownPrice) or one.price is None:
        return False
    return one.price.regular == before[one.key.channel_sku].price and one.price.sale is None


def touched(shop: Sandbox, mark: int) -> set[str]:
    """The SKUs whose price the shop was told since then."""
    effects: Any = shop.get(f"journal?since={mark}")["effects"]
    return {str(one["key"]) for one in effects if one["operation"] == "patchVariants"}


def main(rows: Annotated[int, typer.Option(min=100, help="How many listings the rule is about.")] = 10_000) -> None:
    report = asyncio.run(measure(rows))
    sys.stdout.write(report.told() + "\n")
    raise typer.Exit(0 if report.kept else 1)


if __name__ == "__main__":
    typer.run(main)
