"""Shops name things by ids of their own: each leads to the one read that tells how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.port import Checked, OrderKey, Page, StockKey
from domain.budget import Ask, Priority
from domain.channel import Location, LocationKind
from domain.errors import Invalid, NotFound, Transient, Unauthorized
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, ChannelSku, LocationCode, order_id
from domain.order import Order
from domain.product import Listing, Rejected
from domain.stock import Reading
from store import channel, order, product, stock
from store.product import WITHDRAWN
from store.session import Store
from store.tables import hint as table
from tests.workers.fake_port import FakePort, make_listing, make_order, make_port
from tests.workers.house import SHORT, make_deps
from workers.deps import Deps
from workers.hints import Hints, take

SHOP = ChannelId("shop")
BER = Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, SHOP, "gid://shopify/Location/1")


@dataclass(frozen=True, slots=True)
class Variant:
    """What a shop sells: `number` is that of the variant and of its inventory item."""

    number: int
    sku: str
    product: str = "P1"

    @property
    def item(self) -> str:
        return f"I{self.number}"


class Storefront(FakePort):
    """It can be asked for products, items and SKUs, and whose a piece of work is."""

    listings_batch = 10
    variants: list[Variant]
    named: list[tuple[str, list[str]]]
    asked: list[StockKey]
    problem: Exception | None
    strange: Sequence[str] = ()

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        self.named.append((by, list(names)))
        found: dict[str, Variant] = {}
        for one in self.variants:
            if (one.sku if by == "SKU" else one.product) in names or (by == "ITEM" and one.item in names):
                found.setdefault(one.sku, one)
        unclear = [Rejected(SHOP, "listing", id, "unknown word", "{}") for id in self.strange]
        return Page([self._listing(one) for one in found.values()], unclear)

    def _listing(self, one: Variant) -> Listing:
        refs = {"inventory_item": one.item, "product": one.product}
        made = make_listing(self, one.sku)
        return replace(made, external_id=f"V{one.number}", refs=refs, as_of=datetime.now(UTC))

    orders_batch = 10

    async def orders_named(self, ids: Sequence[str], ask: Ask) -> list[Order]:
        self.calls["orders_named"] += 1
        assert ask.priority is Priority.WRITE, "what was sold waits behind no parcel, where a call tells of many"
        if self.problem is not None:
            raise self.problem
        return [await super(Storefront, self).order(OrderKey(id, None), ask) for id in ids if id in self.orders]

    async def order_of(self, work: str, ask: Ask) -> OrderKey:
        if work not in ("W1", "W2"):
            raise NotFound("There is no such work.")
        return OrderKey("O1", None)

    async def stock(self, locations, keys, ask):  # type: ignore[no-untyped-def]  # as its base's
        self.asked += keys
        at = datetime.now(UTC)
        return [Reading(place.code, SHOP, key.channel_sku, 7, 0, 0, at) for place in locations for key in keys]

    async def check(self, ask: Ask) -> Checked:
        if self.problem is not None:
            raise self.problem
        return Checked("All is well.")


@pytest.fixture
def port() -> Storefront:
    port = Storefront(make_port().channel)
    port.variants, port.named, port.asked, port.problem = [], [], [], None
    return port


@pytest.fixture
def deps(store: Store, redis: Redis, port: Storefront) -> Deps:
    return make_deps(store, redis, [port], locations=[BER], timing=replace(SHORT, pause_s=600.0))


async def come(deps: Deps, *named: tuple[HintKind, str]) -> Hints:
    """Hints come and are looked after."""
    at = datetime.now(UTC)
    hints = [Hint(SHOP, f"{kind.value}-{name}-{at}", kind.value, kind, name, at) for kind, name in named]
    async with deps.store.begin() as tx:
        await take(tx, hints)
    work = Hints(deps, lambda: None)
    while await work.once():
        pass
    return work


async def listed(store: Store) -> dict[str, tuple[str, bool]]:
    """The variant of each SKU, and whether the shop still has it."""
    async with store.begin() as tx:
        found = [
            *await product.listings_by_ref(tx, SHOP, "product", ["P1", "P2"]),
        ]
    return {one.channel_sku: (one.external_id, one.status != WITHDRAWN) for one in found}


async def reasons(store: Store) -> list[str | None]:
    async with store.begin() as tx:
        return list(await tx.scalars(select(table.c.reason).order_by(table.c.id)))


async def test_work_leads_to_its_order(deps: Deps, store: Store, port: Storefront) -> None:
    port.orders["O1"] = make_order(port, "O1")
    await come(deps, (HintKind.WORK, "W1"))
    async with store.begin() as tx:
        assert list(await order.by_ids(tx, {order_id(SHOP, "O1")})) == [order_id(SHOP, "O1")]


async def test_orders_are_read_together_and_what_is_left_out_alone(deps: Deps, store: Store, port: Storefront) -> None:
    port.orders = {id: make_order(port, id) for id in ("O1", "O2", "O3")}
    work = await come(deps, *((HintKind.ORDER, id) for id in ("O1", "O2", "O9", "O3")))
    async with store.begin() as tx:
        assert len(await order.by_ids(tx, {order_id(SHOP, id) for id in port.orders})) == 3
        rows = await tx.execute(select(table.c.subject, table.c.state, table.c.reason).order_by(table.c.subject))
    assert [tuple(row) for row in rows] == [
        ("O1", "DONE", None),
        ("O2", "DONE", None),
        ("O3", "DONE", None),
        ("O9", "NEW", "There is no order O9."),
    ]
    assert work.asked == 2


@pytest.mark.parametrize(("problem", "asked", "kept"), [(Invalid("No id."), 3, 2), (Transient("Away."), 1, 0)])
async def test_a_refused_call_for_many_is_made_for_each_and_a_failed_one_again(
    deps: Deps, store: Store, port: Storefront, problem: Exception, asked: int, kept: int
) -> None:
    port.orders = {id: make_order(port, id) for id in ("O1", "O2")}
    port.problem = problem
    work = await come(deps, (HintKind.ORDER, "O1"), (HintKind.ORDER, "O2"))
    async with store.begin() as tx:
        assert len(await order.by_ids(tx, {order_id(SHOP, id) for id in port.orders})) == kept
    assert work.asked == asked
    assert await reasons(store) == [None if kept else "Away."] * 2


async def test_an_item_that_nobody_knows_is_looked_up_and_then_counted(
    deps: Deps, store: Store, port: Storefront
) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await come(deps, (HintKind.ITEM, "I1"), (HintKind.ITEM, "I9"))
    assert [(by, sorted(names)) for by, names in port.named] == [("ITEM", ["I1", "I9"])]
    assert [(key.channel_sku, dict(key.refs)["inventory_item"]) for key in port.asked] == [("A", "I1")]
    async with store.begin() as tx:
        ((one,),) = (await stock.of_channel_skus(tx, SHOP, {ChannelSku("A"), ChannelSku("B")})).values()
    assert one.on_hand == 7
    # Now it is known: its count alone is asked for.
    port.named.clear()
    await come(deps, (HintKind.ITEM, "I1"))
    assert port.named == []
    assert len(port.asked) == 2


async def test_where_the_shop_counts_nothing_nothing_is_asked(
    store: Store, redis: Redis, port: Storefront, deps: Deps
) -> None:
    ours = replace(BER, keeper=ChannelId("ledger"))
    work = await come(replace(deps, locations=[ours]), (HintKind.ITEM, "I1"), (HintKind.STOCK, "A"))
    assert (work.asked, port.named, port.asked) == (0, [], [])
    assert await reasons(store) == ["Nothing is counted there; what it shows, its stream compares."] * 2


async def test_what_a_product_has_no_more_is_withdrawn_and_may_come_back(
    deps: Deps, store: Store, port: Storefront
) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B"), Variant(3, "C", product="P2")]
    await come(deps, (HintKind.PRODUCT, "P1"), (HintKind.PRODUCT, "P2"))
    assert await listed(store) == {"A": ("V1", True), "B": ("V2", True), "C": ("V3", True)}
    port.variants = [Variant(1, "A")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert await listed(store) == {"A": ("V1", True), "B": ("V2", False), "C": ("V3", True)}
    await come(deps, (HintKind.PRODUCT, "P2"))
    assert await listed(store) == {"A": ("V1", True), "B": ("V2", False), "C": ("V3", False)}
    port.variants.append(Variant(2, "B"))
    await come(deps, (HintKind.PRODUCT, "I2"))
    assert (await listed(store))["B"] == ("V2", True)


async def test_a_sku_that_its_variant_carries_no_more_is_withdrawn(deps: Deps, store: Store, port: Storefront) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    port.variants = [Variant(1, "Z"), Variant(2, "B")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert await listed(store) == {"A": ("V1", False), "B": ("V2", True), "Z": ("V1", True)}


async def test_what_is_told_and_not_understood_is_not_taken_for_gone(
    deps: Deps, store: Store, port: Storefront
) -> None:
    port.variants = [Variant(1, "A"), Variant(2, "B")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    port.variants, port.strange = [Variant(1, "A")], ["V2"]
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert await listed(store) == {"A": ("V1", True), "B": ("V2", True)}
    port.variants, port.strange = [], ["P1"]
    await come(deps, (HintKind.PRODUCT, "P1"))
    assert await listed(store) == {"A": ("V1", True), "B": ("V2", True)}, "the product as a whole was not understood"


async def test_a_sku_that_two_variants_share_stays_with_the_one_that_the_stream_keeps(
    deps: Deps, store: Store, port: Storefront
) -> None:
    port.variants = [Variant(1, "A"), Variant(4, "A", product="P2")]
    await come(deps, (HintKind.PRODUCT, "P1"))
    await come(deps, (HintKind.PRODUCT, "P2"))
    assert await listed(store) == {"A": ("V1", True)}
    assert port.named[-1] == ("SKU", ["A"])
    # And goes to the other when the first has given it up.
    port.variants = [Variant(1, "Z"), Variant(4, "A", product="P2")]
    await come(deps, (HintKind.PRODUCT, "P2"))
    assert (await listed(store))["A"] == ("V4", True)


async def test_a_shop_that_has_taken_the_app_out_is_paused(deps: Deps, store: Store, port: Storefront) -> None:
    await come(deps, (HintKind.ACCESS, "app/scopes_update"))
    async with store.begin() as tx:
        assert SHOP not in await channel.states(tx)
    port.problem = Unauthorized("The app is not installed.")
    await come(deps, (HintKind.ACCESS, "app/uninstalled"))
    async with store.begin() as tx:
        assert (await channel.states(tx))[SHOP].reason == "The app is not installed."
