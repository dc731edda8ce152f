"""Numbers that channels show are compared with what we believe, and set right without fighting what is under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from adapters.port import Page
from domain.channel import Location, LocationKind, Platform, StreamName, StreamState
from domain.drift import Drift, DriftCount, DriftKind
from domain.errors import Transient
from domain.ids import ChannelId, ChannelSku, LocationCode, RuleId, Sku
from domain.rule import LastUnits, Rule
from domain.stock import Reading
from store import channel, drift, intake, quarantine, rule, stock, stream
from store.session import Store
from store.tables import channel_stock, sku_stock, stock_drift, sync_stream
from tests.workers.fake_port import FakePort, make_order, make_port, make_rejected
from tests.workers.house import make_deps
from tests.workers.market import AMAZON, BERLIN, PLACE, SHOP, Market, make_listing_of, make_market
from workers.deps import Deps
from workers.drift import Looks, places_shown
from workers.mapping import with_our_skus
from workers.streams import register, run_stream


@pytest.fixture
async def market(store: Store, redis: Redis) -> Market:
    """Ten units of A that both channels are told of."""
    made = await make_market(store, redis)
    await made.sell("A", stock=10)
    await made.rested()
    return made


async def state_of(store: Store, id: ChannelId, name: StreamName) -> StreamState:
    async with store.begin() as tx:
        return next(one for one in await stream.states(tx, [id]) if one.name is name)


async def sweep(market: Market, id: ChannelId = SHOP) -> None:
    await run_stream(market.deps, await state_of(market.store, id, StreamName.SHOWN))


async def look(market: Market) -> None:
    await Looks(market.deps, lambda: None).once()


async def drifts(store: Store, id: ChannelId | None = None) -> list[Drift]:
    async with store.begin() as tx:
        return (await drift.open_drifts(tx, first=50, channel=id))[0]


async def counted(store: Store, id: ChannelId = SHOP) -> list[DriftCount]:
    async with store.begin() as tx:
        return await drift.counts(tx, id)


async def orders_forced(store: Store, id: ChannelId = SHOP) -> bool:
    async with store.begin() as tx:
        c = sync_stream.c
        return bool(await tx.scalar(select(c.forced).where(c.channel == id, c.name == StreamName.ORDERS.value)))


async def orders_told(store: Store, id: ChannelId = SHOP) -> None:
    """The channel has told all its orders, well after whatever was read until now."""
    later = datetime.now(UTC) + timedelta(minutes=1)
    async with store.begin() as tx:
        await tx.execute(update(sync_stream).values(forced=False))
        await stream.finished(tx, id, StreamName.ORDERS, later, later)


async def test_numbers_as_believed_are_no_drift(market: Market) -> None:
    await sweep(market)
    await sweep(market, AMAZON)
    assert await counted(market.store) == await counted(market.store, AMAZON) == []
    assert not await orders_forced(market.store)
    assert len(await market.pushes(SHOP)) == 1


async def test_somebody_elses_number_is_written_over_and_counted(market: Market) -> None:
    market.shop.edit("A", PLACE, 25)
    await sweep(market)
    [one] = await drifts(market.store)
    assert (one.kind, one.believed, one.shown, one.sku) == (DriftKind.EXTERNAL_EDIT, 10, 25, "A")
    await market.rested()
    assert market.shown() == (10, 10)
    last = (await market.pushes(SHOP))[-1]
    assert (last.cause, last.expected, last.quantity) == ("REPAIR", 25, 10)
    await look(market)
    assert await drifts(market.store) == [], "it was read back, and no sweep is waited for"
    await sweep(market)
    assert await drifts(market.store) == []
    assert await counted(market.store) == [DriftCount(DriftKind.EXTERNAL_EDIT, open=0, last_day=1)]


async def test_what_a_sweep_reads_is_what_the_number_shows(market: Market) -> None:
    # A sale whose order has not been read.
    assert market.shop.buy("A", PLACE, 3)
    before = await market.row(SHOP)
    await sweep(market)
    row = await market.row(SHOP)
    assert (row.told, row.shown) == (10, 7)
    assert row.shown_at > before.shown_at
    # It is no license to raise over it.
    await market.count("A", 5)
    await market.settle()
    await market.hurry()
    await market.settle()
    assert (market.shop.number("A", PLACE), (await market.row(SHOP)).error_code) == (7, "UNSEEN_SALE")


async def test_a_number_that_waits_for_orders_waits_from_when_it_was_first_seen(market: Market) -> None:
    assert market.shop.buy("A", PLACE, 3)
    await market.count("A", 5)
    await market.settle()
    waiting = await market.row(SHOP)
    assert (waiting.error_code, waiting.shown) == ("UNSEEN_SALE", 7)
    earlier = datetime.now(UTC) - timedelta(hours=2)
    async with market.store.begin() as tx:
        ours = update(channel_stock).where(channel_stock.c.channel == SHOP)
        await tx.execute(ours.values(shown_at=earlier, told_at=earlier))
    await sweep(market)
    assert (await market.row(SHOP)).shown_at == earlier
    market.shop.buy("A", PLACE)
    await sweep(market)
    row = await market.row(SHOP)
    assert (row.shown, row.shown_at > earlier) == (6, True)


async def test_a_sweep_leaves_alone_what_a_write_under_way_shows(market: Market) -> None:
    market.shop.edit("A", PLACE, 25)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    async with market.store.begin() as tx:
        await tx.execute(update(channel_stock).where(channel_stock.c.channel == SHOP).values(lease_until=soon))
    await sweep(market)
    assert (await market.row(SHOP)).shown == 10


async def test_last_units_are_computed_anew_when_a_sweep_sees_another_number(market: Market) -> None:
    async with market.store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "few", LastUnits(3), sku=Sku("A")), "tests")
    await market.count("A", -8)
    await market.rested()
    seller, port, place = (SHOP, market.shop, PLACE) if market.shown()[0] else (AMAZON, market.amazon, "")
    port.buy("A", place)
    before = await version(market)
    await sweep(market, seller)
    assert await version(market) == before + 1
    await sweep(market, seller)
    assert await version(market) == before + 1


async def version(market: Market) -> int:
    async with market.store.begin() as tx:
        return await tx.scalar(select(sku_stock.c.version).where(sku_stock.c.sku == "A")) or 0


async def test_a_number_from_before_is_a_lost_write(market: Market) -> None:
    await market.count("A", -4)
    await market.rested()
    market.amazon.edit("A", "", 10)
    await sweep(market, AMAZON)
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.LOST_WRITE]
    await market.rested()
    assert market.shown() == (6, 6)


async def test_a_sale_that_orders_tell_of_is_explained_and_never_written_over(market: Market) -> None:
    assert market.shop.buy("A", PLACE, 3)
    await sweep(market)
    [one] = await drifts(market.store)
    assert (one.kind, one.believed, one.shown) == (DriftKind.UNSEEN_SALE, 10, 7)
    assert await orders_forced(market.store)
    await market.settle()
    await look(market)
    # Its orders have not been read: nobody touches the number.
    assert market.shown() == (7, 10)
    sold = make_order(market.shop, "O-1", units=3, sku="A")
    async with market.store.begin() as tx:
        mapped = replace(sold, lines=with_our_skus(market.deps.sku_map, SHOP, sold.lines))
        await intake.keep_orders(tx, [mapped], market.deps.locations)
    await orders_told(market.store)
    await market.rested()
    assert market.shown() == (7, 7)
    await look(market)
    assert await drifts(market.store) == []
    since = [one.by for one in market.shop.number_effects].index("bought")
    assert all(one.after == 7 for one in market.shop.number_effects[since:])


async def test_what_no_order_explains_is_set_right_once_they_have_been_read(market: Market) -> None:
    market.shop.edit("A", PLACE, 2)
    await sweep(market)
    await look(market)
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.UNSEEN_SALE]
    await orders_told(market.store)
    await look(market)
    assert [(one.kind, one.times) for one in await drifts(market.store)] == [(DriftKind.EXTERNAL_EDIT, 2)]
    await market.rested()
    assert market.shown() == (10, 10)
    await sweep(market)
    assert await drifts(market.store) == []


@pytest.mark.parametrize(("id", "judged"), [(SHOP, True), (AMAZON, False)])
async def test_a_shop_where_nobody_buys_has_told_all_its_orders_although_its_cursor_stays(
    market: Market, id: ChannelId, judged: bool
) -> None:
    port, place = (market.shop, PLACE) if id == SHOP else (market.amazon, "")
    port.edit("A", place, 2)
    await sweep(market, id)
    async with market.store.begin() as tx:
        before = datetime.now(UTC) - timedelta(days=1)
        await tx.execute(update(sync_stream).values(forced=False))
        await stream.finished(tx, id, StreamName.ORDERS, before, datetime.now(UTC))
    await look(market)
    assert [one.kind for one in await drifts(market.store, id)] == [DriftKind.UNSEEN_SALE], "too early to tell"
    async with market.store.begin() as tx:
        await stream.finished(tx, id, StreamName.ORDERS, before, datetime.now(UTC) + timedelta(minutes=2))
    await look(market)
    kind = DriftKind.EXTERNAL_EDIT if judged else DriftKind.UNSEEN_SALE
    assert [one.kind for one in await drifts(market.store, id)] == [kind]


async def test_orders_are_asked_for_once_more_when_the_last_run_came_too_early(market: Market) -> None:
    market.shop.edit("A", PLACE, 2)
    await sweep(market)
    assert await orders_forced(market.store)
    now = datetime.now(UTC)
    async with market.store.begin() as tx:
        await tx.execute(update(sync_stream).values(forced=False))
        await stream.finished(tx, SHOP, StreamName.ORDERS, now, now)
    await look(market)
    assert not await orders_forced(market.store)
    async with market.store.begin() as tx:
        await tx.execute(update(stock_drift).values(first_at=now - timedelta(minutes=1), last_at=now))
        await stream.finished(tx, SHOP, StreamName.ORDERS, now - timedelta(minutes=2), now - timedelta(minutes=2))
    await look(market)
    assert await orders_forced(market.store)
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.UNSEEN_SALE]


async def test_a_write_under_way_is_left_alone(market: Market) -> None:
    market.shop.edit("A", PLACE, 25)
    for values in (
        {"lease_until": datetime.now(UTC) + timedelta(minutes=1)},
        {"lease_until": None, "due_at": datetime.now(UTC), "target": 9},
        {"due_at": None, "target": 10, "confirmed_at": None, "told_at": datetime.now(UTC)},
    ):
        async with market.store.begin() as tx:
            await tx.execute(update(channel_stock).where(channel_stock.c.channel == SHOP).values(**values))
        await sweep(market)
        assert await drifts(market.store) == []
    async with market.store.begin() as tx:
        await tx.execute(
            update(channel_stock)
            .where(channel_stock.c.channel == SHOP)
            .values(told_at=datetime.now(UTC) - timedelta(minutes=6))
        )
    await sweep(market)
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.EXTERNAL_EDIT]


async def test_what_is_offered_no_more_is_told_whether_the_sweep_says_so_or_nothing(market: Market) -> None:
    await market.sell("B", stock=4)
    await market.rested()
    market.shop.edit("A", PLACE, None)
    del market.shop._numbers["B", PLACE]
    await sweep(market)
    await sweep(market)
    found = {one.channel_sku: (one.kind, one.believed, one.shown) for one in await drifts(market.store)}
    assert found == {"A": (DriftKind.NOT_OFFERED, 10, None), "B": (DriftKind.NOT_OFFERED, 4, None)}
    # It is looked for once, and not at every sweep.
    assert market.shop.calls["shown_of"] == 1 + await looked(market)
    market.shop.edit("A", PLACE, 10)
    market.shop.edit("B", PLACE, 4)
    await sweep(market)
    assert await drifts(market.store) == []


async def looked(market: Market) -> int:
    """Calls that read numbers of the shop back after they were told."""
    return len([one for one in await market.pushes(SHOP) if one.confirmed_at is not None])


async def test_what_a_sweep_cannot_read_is_quarantined(market: Market) -> None:
    market.shop.shown_rejected = [make_rejected(market.shop, "shown")]
    await sweep(market)
    async with market.store.begin() as tx:
        assert [one.rejected.what for one in await quarantine.recent(tx)] == ["shown"]


async def test_a_look_that_fails_is_taken_up_later(market: Market) -> None:
    market.shop.edit("A", PLACE, 2)
    await sweep(market)
    await orders_told(market.store)
    looks = Looks(market.deps, lambda: None)
    market.shop.shown_faults.append(Transient("It does not answer."))
    await looks.once()
    await looks.once()
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.UNSEEN_SALE]
    await look(market)
    assert [one.kind for one in await drifts(market.store)] == [DriftKind.EXTERNAL_EDIT]


def test_numbers_are_shown_where_a_place_of_ours_sells() -> None:
    shop, amazon = make_port("shop"), make_port("amazon")
    amazon.channel.platform = Platform.AMAZON

    def of(*places: Location) -> tuple[list[str], list[str]]:
        deps: Deps = make_deps(None, Redis(), [shop, amazon], locations=list(places))  # type: ignore[arg-type]
        return places_shown(deps, SHOP), places_shown(deps, AMAZON)

    pool = Location(LocationCode("FBA"), "FBA", LocationKind.FBA, AMAZON, "DE", ("DE", "FR"), shown={SHOP: "Amazon"})
    assert of(BERLIN) == ([PLACE], [""])
    assert of(BERLIN, pool) == (["Amazon", PLACE], [""])
    assert of(pool) == ([], [])
    assert of(replace(BERLIN, sells_to=frozenset({SHOP}))) == ([PLACE], [])
    assert of(replace(BERLIN, shown={})) == ([], [""])


async def test_only_channels_that_we_tell_numbers_have_a_stream_of_them(store: Store, redis: Redis) -> None:
    deps = make_deps(store, redis, [make_port("shop"), make_port("other")], locations=[BERLIN])
    await register(deps)
    async with store.begin() as tx:
        states = [(one.channel, one.every) for one in await stream.states(tx) if one.name is StreamName.SHOWN]
        remembered = await channel.remembered(tx)
    assert states == [("shop", timedelta(minutes=5))]
    # For when they are configured no more.
    assert remembered == deps.channels


# ── Pools ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
POOL = Location(LocationCode("fba-eu"), "FBA", LocationKind.FBA, AMAZON, "DE", ("DE", "FR"))


def pages(units: Mapping[str, int]) -> list[Page[Reading]]:
    now = datetime.now(UTC)
    return [Page([Reading(POOL.code, AMAZON, ChannelSku(sku), on_hand, 1, 0, now) for sku, on_hand in units.items()])]


async def pooled(store: Store, redis: Redis, *, elsewhere: Mapping[str, int]) -> tuple[FakePort, Deps]:
    """A pool with five units of A and B as Germany tells it, and France tells `elsewhere`."""
    amazon = make_port("amazon")
    deps = make_deps(store, redis, [amazon], locations=[POOL])
    await register(deps)
    amazon.listings = [Page([make_listing_of(AMAZON, sku, sku) for sku in "AB"])]
    amazon.readings, amazon.elsewhere = pages({"A": 5, "B": 5}), {"FR": pages(elsewhere)}
    await run_stream(deps, await state_of(store, AMAZON, StreamName.LISTINGS))
    return amazon, deps


async def read_stock(deps: Deps) -> None:
    await run_stream(deps, await state_of(deps.store, AMAZON, StreamName.STOCK))


async def test_marketplaces_that_tell_a_pool_differently_are_told_of_and_never_added(
    store: Store, redis: Redis
) -> None:
    amazon, deps = await pooled(store, redis, elsewhere={"A": 5, "B": 9})
    await read_stock(deps)
    [one] = await drifts(store)
    assert (one.kind, one.channel_sku, one.place, one.sku) == (DriftKind.POOL_DISAGREEMENT, "B", "fba-eu", "B")
    assert (one.believed, one.shown) == (4, 8)
    async with store.begin() as tx:
        kept = await stock.readings(tx, [Sku("A"), Sku("B")])
    assert {sku: [reading.on_hand for reading in readings] for sku, readings in kept.items()} == {"A": [5], "B": [5]}
    # The next comparison is an hour away.
    amazon.calls.clear()
    await read_stock(deps)
    assert amazon.calls == {"stock": 1}
    await redis.flushdb()
    amazon.readings, amazon.elsewhere = pages({"A": 5, "B": 9}), {"FR": pages({"A": 5, "B": 9})}
    await read_stock(deps)
    assert await drifts(store) == []


async def test_a_difference_that_a_second_look_does_not_find_was_none(store: Store, redis: Redis) -> None:
    amazon, deps = await pooled(store, redis, elsewhere={"A": 6, "B": 5})

    def later(port: FakePort) -> None:
        if port.calls["stock"] == 2:
            port.elsewhere = {"FR": pages({"A": 5, "B": 5})}

    amazon.after_pages = later
    await read_stock(deps)
    assert amazon.calls["stock_of"] == 2
    assert await drifts(store) == []


async def test_old_readings_are_not_compared(store: Store, redis: Redis) -> None:
    amazon, deps = await pooled(store, redis, elsewhere={"A": 9})
    for page in amazon.readings:
        page.items = [replace(one, as_of=datetime.now(UTC) - timedelta(minutes=11)) for one in page.items]
    await read_stock(deps)
    assert amazon.calls["stock_of"] == 0
    assert await drifts(store) == []
