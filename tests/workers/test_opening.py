"""The ledger of an own place opens with what the channel counted there that had it before us."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.port import Page
from domain.channel import LEDGER, Location, LocationKind, StreamName
from domain.errors import Transient
from domain.ids import ChannelSku, LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from domain.product import FulfilledBy, SkuMap
from domain.stock import Reading
from store import intake, kit, ledger, order, quarantine, stock, stream
from store.session import Store
from store.tables import listing, order_allocation, stock_level
from tests.store.bench import blocked
from tests.workers.fake_port import FakePort, make_listing, make_order, make_port
from tests.workers.house import make_deps
from tests.workers.market import BERLIN, SHOP, make_market
from workers import opening
from workers.deps import Deps
from workers.mapping import with_our_skus
from workers.streams import register, run_stream

HAMBURG = Location(
    LocationCode("HAM"), "Hamburg", LocationKind.WAREHOUSE, LEDGER, "HAM", shown={SHOP: "Hamburg"}, opens_from=SHOP
)


@pytest.fixture
def shop() -> FakePort:
    return make_port("shop")


def told(*readings: tuple[str, int], at: Location = BERLIN, inbound: int = 0) -> list[Reading]:
    now = datetime.now(UTC)
    return [Reading(at.code, SHOP, ChannelSku(sku), on_hand, 1, inbound, now) for sku, on_hand in readings]


async def opened(
    store: Store, redis: Redis, shop: FakePort, *skus: str, places: Sequence[Location] = (BERLIN,), **more: Any
) -> Deps:
    """The shop lists these SKUs, and its stock has been read once."""
    deps = make_deps(store, redis, [shop], locations=list(places), **more)
    await register(deps)
    shop.listings = [Page([make_listing(shop, sku) for sku in skus])]
    await run(deps, StreamName.LISTINGS)
    await run(deps, StreamName.STOCK)
    return deps


async def run(deps: Deps, name: StreamName) -> None:
    async with deps.store.begin() as tx:
        state = next(one for one in await stream.states(tx, [SHOP]) if one.name is name)
    await run_stream(deps, state)


async def balances(store: Store, *skus: str) -> dict[str, list[tuple[str, int, int, int]]]:
    """(place, on hand, reserved, inbound) of each SKU."""
    async with store.begin() as tx:
        found = await ledger.balances(tx, [Sku(sku) for sku in skus])
    return {
        sku: [(one.location, one.on_hand, one.reserved, one.inbound) for one in balances]
        for sku, balances in found.items()
    }


async def test_the_first_sweep_opens_what_the_channel_counted(store: Store, redis: Redis, shop: FakePort) -> None:
    shop.readings = [Page(told(("A", 7), inbound=3)), Page(told(("B", 0)))]
    deps = await opened(store, redis, shop, "A", "B")
    assert await balances(store, "A", "B") == {"A": [("BER", 7, 0, 3)], "B": [("BER", 0, 0, 0)]}
    async with store.begin() as tx:
        entries, _ = await ledger.entries(tx, first=10, sku=Sku("A"))
        # A reading that opens is not one of a place that others keep.
        assert (await tx.execute(select(stock_level))).all() == []
    [one] = [entry.entry for entry in entries]
    assert (one.kind, one.actor, one.source, one.key) == (EntryKind.OPENING, "acorn", "opening:shop", "opening:BER:A")
    assert one.reason == "opening balance as shop counted it"
    # Whatever the shop tells later: the ledger counts now.
    shop.readings = [Page(told(("A", 99)))]
    await run(deps, StreamName.STOCK)
    assert await balances(store, "A") == {"A": [("BER", 7, 0, 3)]}


async def test_new_skus_open_later_and_only_they_are_asked_for(store: Store, redis: Redis, shop: FakePort) -> None:
    shop.readings = [Page(told(("A", 7)))]
    deps = await opened(store, redis, shop, "A")
    asked = shop.calls["stock"], shop.calls["stock_of"]
    await run(deps, StreamName.STOCK)
    assert (shop.calls["stock"], shop.calls["stock_of"]) == asked
    shop.listings.append(Page([make_listing(shop, "NEW"), make_listing(shop, "NONE")]))
    shop.readings = [Page(told(("A", 99), ("NEW", 4), ("UNLISTED", 5)))]
    await run(deps, StreamName.LISTINGS)
    await run(deps, StreamName.STOCK)
    found = await balances(store, "A", "NEW", "NONE", "UNLISTED")
    assert found == {"A": [("BER", 7, 0, 0)], "NEW": [("BER", 4, 0, 0)], "NONE": [("BER", 0, 0, 0)]}
    assert shop.calls["stock_of"] == asked[1] + 1


async def test_many_are_read_by_going_through_the_place(
    store: Store, redis: Redis, shop: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CALLS_PER_RUN", 2)
    monkeypatch.setattr(opening, "POSTED_AT_ONCE", 3)
    shop.stock_batch = 2
    skus = [f"S{number}" for number in range(9)]
    shop.readings = [Page(told(*((sku, 5) for sku in skus[:4]))), Page(told((skus[4], 5)))]
    deps = await opened(store, redis, shop, *skus)
    # What the sweep told of, and as many of the others as a run asks for.
    assert {sku: found[0][1] for sku, found in (await balances(store, *skus)).items()} == {
        **dict.fromkeys(skus[:5], 5),
        **dict.fromkeys(skus[5:9], 0),
    }
    assert shop.calls["stock_of"] == 2
    await run(deps, StreamName.STOCK)
    assert shop.calls["stock_of"] == 2


async def test_all_places_of_a_channel_open_at_once(store: Store, redis: Redis, shop: FakePort) -> None:
    shop.readings = [Page(told(("A", 7))), Page(told(("A", 2), at=HAMBURG))]
    deps = await opened(store, redis, shop, "A", places=(BERLIN, HAMBURG))
    assert await balances(store, "A") == {"A": [("BER", 7, 0, 0), ("HAM", 2, 0, 0)]}
    async with store.begin() as tx:
        rows, _ = await ledger.entries(tx, first=10)
        assert len({entry.at for entry in rows}) == 1
        assert await opening.uncounted(tx, deps, [Sku("A")]) == set()


async def test_less_than_nothing_opens_with_nothing_and_is_kept_for_people(
    store: Store, redis: Redis, shop: FakePort
) -> None:
    shop.readings = [Page(told(("A", -3)))]
    await opened(store, redis, shop, "A")
    assert await balances(store, "A") == {"A": [("BER", 0, 0, 0)]}
    async with store.begin() as tx:
        [kept] = await quarantine.recent(tx)
    assert (kept.rejected.what, kept.rejected.key, kept.times) == ("opening", "BER A", 1)
    assert "-3 units on hand" in kept.rejected.reason


async def test_channel_skus_of_one_product_add_up(store: Store, redis: Redis, shop: FakePort) -> None:
    shop.readings = [Page(told(("A", 7), ("A-OLD", 2)))]
    rules = SkuMap({(SHOP, ChannelSku("A-OLD")): Sku("A")})
    await opened(store, redis, shop, "A", "A-OLD", sku_map=rules)
    assert await balances(store, "A") == {"A": [("BER", 9, 0, 0)]}


async def test_what_people_have_posted_stands(store: Store, redis: Redis, shop: FakePort) -> None:
    deps = make_deps(store, redis, [shop], locations=[BERLIN])
    await register(deps)
    shop.listings, shop.readings = [Page([make_listing(shop, "A")])], [Page(told(("A", 7)))]
    await run(deps, StreamName.LISTINGS)
    count = NewEntry(Sku("A"), BERLIN.code, EntryKind.COUNT, "counted", "tests", "mutation", on_hand=3)
    async with store.begin() as tx:
        await ledger.post(tx, [count])
    await run(deps, StreamName.STOCK)
    assert await balances(store, "A") == {"A": [("BER", 3, 0, 0)]}


async def test_kits_have_nothing_of_their_own(store: Store, redis: Redis, shop: FakePort) -> None:
    deps = await opened(store, redis, shop, "A")
    shop.listings = [Page([make_listing(shop, "KIT")])]
    shop.readings = [Page(told(("KIT", 3)))]
    await run(deps, StreamName.LISTINGS)
    async with store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("A"): 2}, by="tests")
    await run(deps, StreamName.STOCK)
    assert await balances(store, "KIT") == {}


async def test_what_the_channel_cannot_tell_now_opens_with_a_later_run(
    store: Store, redis: Redis, shop: FakePort
) -> None:
    shop.readings = [Page(told(("A", 7)))]
    shop.stock_faults.append(Transient("It cannot be read."))
    deps = await opened(store, redis, shop, "A")
    assert await balances(store, "A") == {}
    await run(deps, StreamName.STOCK)
    assert await balances(store, "A") == {"A": [("BER", 7, 0, 0)]}


async def test_what_was_ordered_before_is_promised_with_the_first_count(
    store: Store, redis: Redis, shop: FakePort
) -> None:
    deps = make_deps(store, redis, [shop], locations=[BERLIN])
    await register(deps)
    shop.listings, shop.readings = [Page([make_listing(shop, "A")])], [Page(told(("A", 7)))]
    await run(deps, StreamName.LISTINGS)
    first, second = (make_order(shop, number, units=units, sku="A") for number, units in (("O-1", 2), ("O-2", 3)))
    for one in (first, second):
        one.lines = with_our_skus(deps.sku_map, SHOP, one.lines)
    async with store.begin() as tx:
        await intake.keep_orders(tx, [first], deps.locations)
        # One that was kept when the shop still counted.
        await order.upsert(tx, [second])
        assert (await tx.execute(select(order_allocation))).all() == []
    await run(deps, StreamName.STOCK)
    assert await balances(store, "A") == {"A": [("BER", 7, 5, 0)]}


async def test_opening_takes_its_locks_in_the_order_in_which_orders_take_theirs(
    store: Store, redis: Redis, shop: FakePort
) -> None:
    shop.readings = [Page(told(("A", 7)))]
    deps = await opened(store, redis, shop, "A")
    shop.listings, shop.readings = [Page([make_listing(shop, "A"), make_listing(shop, "B")])], [Page(told(("B", 5)))]
    await run(deps, StreamName.LISTINGS)
    both = make_order(shop, "O-1", units=2, sku="A")
    both.lines = [both.lines[0], *make_order(shop, "O-1b", units=2, sku="B").lines]
    both.lines = with_our_skus(deps.sku_map, SHOP, both.lines)
    async with store.begin() as tx:
        await order.upsert(tx, [both])
    async with store.begin() as tx:
        await ledger.lock(tx, [Sku("A")])
        opens_b = asyncio.create_task(run(deps, StreamName.STOCK))
        await blocked(store, 1)
        # Nobody who waits for A holds B already.
        await ledger.lock(tx, [Sku("B")])
    await opens_b
    assert await balances(store, "A", "B") == {"A": [("BER", 7, 2, 0)], "B": [("BER", 5, 2, 0)]}


async def test_places_that_were_the_channels_are_forgotten_when_they_become_ours(
    store: Store, redis: Redis, shop: FakePort
) -> None:
    theirs = replace(BERLIN, keeper=SHOP, shown={}, opens_from=None)
    shop.readings = [Page(told(("A", 7)))]
    await opened(store, redis, shop, "A", places=[theirs])
    async with store.begin() as tx:
        assert [one.on_hand for one in (await stock.readings(tx, [Sku("A")]))[Sku("A")]] == [7]
    deps = make_deps(store, redis, [shop], locations=[BERLIN])
    await register(deps)
    async with store.begin() as tx:
        assert await stock.readings(tx, [Sku("A")]) == {}
    await run(deps, StreamName.STOCK)
    assert await balances(store, "A") == {"A": [("BER", 7, 0, 0)]}
    async with store.begin() as tx:
        assert (await ledger.check(tx)).wrong == []


async def test_a_channel_is_told_nothing_that_would_write_over_its_count(store: Store, redis: Redis) -> None:
    market = await make_market(store, redis, locations=[BERLIN, HAMBURG])
    await market.sell("A", stock=10)
    await market.propagate()
    await market.tell()
    # Berlin is counted; what lies in Hamburg only the shop knows.
    assert market.shop.number("A", "Hamburg") is None
    async with store.begin() as tx:
        assert await opening.uncounted(tx, market.deps, [Sku("A")]) == {(SHOP, "Hamburg", "A")}
        fba = listing.update().values(fulfilled_by=FulfilledBy.CHANNEL.value)
        await tx.execute(fba.where(listing.c.channel == SHOP))
        assert await opening.uncounted(tx, market.deps, [Sku("A")]) == set()
