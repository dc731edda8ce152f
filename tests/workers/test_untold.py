"""No list tells of what was deleted: a sweep of stock asks by name for what it should have told of, and then that is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.port import Page
from domain.channel import Location, LocationKind, StreamName
from domain.hint import HintKind
from domain.ids import ChannelId, ChannelSku, LocationCode
from domain.stock import Reading
from store import product, stock, stream
from store.product import WITHDRAWN
from store.session import Store
from store.tables import hint as table
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import make_deps
from tests.workers.test_shop_hints import Storefront, Variant, come
from workers.deps import Deps
from workers.hints import Hints
from workers.streams import register, run_stream

SHOP = ChannelId("shop")
BER, HAM = (
    Location(LocationCode(code), code, LocationKind.WAREHOUSE, SHOP, f"gid://shopify/Location/{code}")
    for code in ("BER", "HAM")
)


class Shop(Storefront):
    """Seven of each of its variants lie in Berlin and none in Hamburg; `passed_over` are those that a sweep does not tell of."""

    passed_over: set[str]

    def _units(self, place: Location, sku: str, at: datetime) -> Reading:
        there = place.code == "BER" and sku in {one.sku for one in self.variants}
        return Reading(place.code, SHOP, ChannelSku(sku), 7 if there else 0, 0, 0, at)

    async def stock_pages(self, locations, ask, way=None):  # type: ignore[no-untyped-def]  # as its base's
        for one in self.variants:
            if one.sku not in self.passed_over:
                at = datetime.now(UTC)
                yield Page([self._units(place, one.sku, at) for place in locations])

    async def stock(self, locations, keys, ask):  # type: ignore[no-untyped-def]  # as its base's
        self.asked += keys
        at = datetime.now(UTC)
        return [self._units(place, key.channel_sku, at) for place in locations for key in keys]


@pytest.fixture
def port() -> Shop:
    port = Shop(make_port().channel)
    port.variants, port.named, port.asked, port.problem, port.passed_over = [], [], [], None, set()
    return port


@pytest.fixture
def deps(store: Store, redis: Redis, port: Shop) -> Deps:
    return make_deps(store, redis, [port], locations=[BER, HAM])


async def sweep(deps: Deps, port: FakePort) -> None:
    """One run of the stock, and all that it leads to."""
    await register(deps)
    async with deps.store.begin() as tx:
        (state,) = [one for one in await stream.states(tx, [SHOP]) if one.name is StreamName.STOCK]
    await run_stream(deps, state)
    while await Hints(deps, lambda: None).once():
        pass


async def known(store: Store) -> dict[str, tuple[int, bool]]:
    """Of each SKU the units that are believed to be there, and whether the shop offers it."""
    async with store.begin() as tx:
        found = await product.listings_by_ref(tx, SHOP, "product", ["P1", "P2"])
        told = await stock.of_channel_skus(tx, SHOP, {one.channel_sku for one in found})
    return {
        one.channel_sku: (sum(each.on_hand for each in told.get(one.channel_sku, [])), one.status != WITHDRAWN)
        for one in found
    }


async def keep_listings(deps: Deps, port: Shop) -> None:
    async with deps.store.begin() as tx:
        listings = [
            replace(port._listing(one), sku=deps.sku_map.ours(SHOP, ChannelSku(one.sku))) for one in port.variants
        ]
        await product.upsert_listings(tx, listings)


async def test_what_was_deleted_counts_no_more_and_is_offered_no_more(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B"), Variant(3, "C", product="P2")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    assert await known(store) == {"A": (7, True), "B": (7, True), "C": (7, True)}
    assert (port.asked, port.named) == ([], [])
    # One variant of a product, and a whole product.
    port.variants = [Variant(1, "A")]
    await sweep(deps, port)
    assert await known(store) == {"A": (7, True), "B": (0, False), "C": (0, False)}
    assert {key.channel_sku for key in port.asked} == {"B", "C"}
    # What is known to be gone is not asked for at each sweep.
    port.asked.clear()
    await sweep(deps, port)
    assert port.asked == []
    assert [sorted(names) for _, names in port.named] == [["P1", "P2"]]


async def test_a_deletion_that_the_shop_tells_of_needs_no_sweep(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    port.variants = [Variant(1, "A")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert await known(store) == {"A": (7, True), "B": (0, False)}
    # What is known to be gone is not asked for at each change of its product.
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert [key.channel_sku for key in port.asked] == ["B"]


async def test_a_sku_that_a_variant_carries_no_more_is_gone(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "Z")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    port.variants = [Variant(1, "A")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    assert await known(store) == {"A": (7, True), "Z": (0, False)}


async def test_what_a_sweep_passes_over_is_still_there(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    port.passed_over = {"B"}
    await sweep(deps, port)
    assert [key.channel_sku for key in port.asked] == ["B"]
    assert await known(store) == {"A": (7, True), "B": (7, True)}


async def test_what_waits_to_be_asked_is_not_asked_for_again(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "A")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    async with store.begin() as tx:
        (state,) = [one for one in await stream.states(tx, [SHOP]) if one.name is StreamName.STOCK]
    port.passed_over = {"A"}
    for _ in range(2):
        await run_stream(deps, state)
    async with store.begin() as tx:
        waiting = (await tx.execute(select(table.c.kind, table.c.subject).order_by(table.c.kind))).all()
    assert [tuple(row) for row in waiting] == [("PRODUCT", "P1"), ("STOCK", "A")]


async def test_only_what_was_not_told_of_since_then_is_untold(deps: Deps, store: Store, port: Shop) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await keep_listings(deps, port)
    await sweep(deps, port)
    now = datetime.now(UTC)
    async with store.begin() as tx:
        found = {
            (at, code): [one.channel_sku for one in await stock.untold(tx, SHOP, {LocationCode(code)}, at, 10)]
            for at in (now, now - timedelta(hours=1))
            for code in ("BER", "ELSEWHERE")
        }
    assert [skus for skus in found.values() if skus] == [["A", "B"]]
    assert found[now, "BER"] == ["A", "B"]
