"""Synchronization: what is kept, told, quarantined and asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Page
from domain.budget import Ask, Plan
from domain.channel import Platform, StreamName, StreamState
from domain.errors import HouseError, MissingRole, Throttled, Transient, Unauthorized
from domain.event import EventKind
from domain.ids import ChannelId, ChannelSku, Sku, order_id
from domain.ledger import EntryKind, NewEntry
from domain.order import Order
from domain.product import SkuMap
from domain.route import Route, Step, Way
from store import channel, event, ledger, order, product, quarantine, stock, stream
from store.session import Store
from store.tables import sync_stream
from tests.store.bench import give_places
from tests.workers.fake_port import (
    WALK,
    FakePort,
    make_listing,
    make_order,
    make_port,
    make_reading,
    make_rejected,
)
from tests.workers.house import SHORT, make_deps, until, working
from tests.workers.market import BERLIN
from workers.deps import Deps
from workers.streams import Streams, every, failed, register, run_stream, sync_once

O_1, O_2 = (order_id(ChannelId("shop"), number) for number in ("O-1", "O-2"))


@pytest.fixture
def port() -> FakePort:
    return make_port()


async def _states(store: Store) -> dict[tuple[str, StreamName], StreamState]:
    async with store.begin() as tx:
        return {(state.channel, state.name): state for state in await stream.states(tx)}


def _fill(port: FakePort) -> None:
    """One thing of each kind."""
    port.listings = [Page([make_listing(port, "SKU-1")], expected=1)]
    port.readings = [Page([make_reading(port, "SKU-1", 7)])]
    port.changed_orders = [Page([make_order(port, "O-1")])]


async def test_one_round_keeps_everything_in_order_and_tells_how_far_it_is(
    store: Store, redis: Redis, port: FakePort
) -> None:
    _fill(port)
    progress: list[tuple[str, str, int, int | None]] = []
    problems = await sync_once(
        make_deps(store, redis, [port]),
        lambda id, name, done, expected: progress.append((id, name.value, done, expected)),
    )
    assert problems == {}
    assert progress == [("shop", "listings", 1, 1), ("shop", "stock", 1, None), ("shop", "orders", 1, None)]
    async with store.begin() as tx:
        products = await product.by_skus(tx, [Sku("SKU-1")])
        readings = await stock.readings(tx, [Sku("SKU-1")])
        orders = await order.by_ids(tx, [O_1])
    assert products[Sku("SKU-1")].title == "Title of SKU-1"
    assert [reading.on_hand for reading in readings[Sku("SKU-1")]] == [7]
    assert [line.sku for line in orders[O_1].lines] == ["SKU-1"]
    states = await _states(store)
    assert all(state.last_success_at is not None and state.last_error is None for state in states.values())
    assert len(states) == 3


async def test_skus_are_mapped_by_the_rules_of_their_channel(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    rules = SkuMap({(ChannelId("shop"), ChannelSku("SKU-1")): Sku("OURS-1")})
    assert await sync_once(make_deps(store, redis, [port], sku_map=rules), lambda *_: None) == {}
    async with store.begin() as tx:
        assert list(await product.by_skus(tx, [Sku("OURS-1"), Sku("SKU-1")])) == ["OURS-1"]
        assert [one.on_hand for one in (await stock.readings(tx, [Sku("OURS-1")]))[Sku("OURS-1")]] == [7]
        orders = await order.by_ids(tx, [O_1])
    assert [line.sku for line in orders[O_1].lines] == ["OURS-1"]


async def test_real_changes_are_told_and_repetitions_are_not(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    deps = make_deps(store, redis, [port])
    await sync_once(deps, lambda *_: None)
    await sync_once(deps, lambda *_: None)
    assert await _told(store) == [("StockChanged", "SKU-1"), ("OrderChanged", port.changed_orders[0].items[0].id)]
    port.readings = [Page([make_reading(port, "SKU-1", 6)])]
    await sync_once(deps, lambda *_: None)
    assert (await _told(store))[2:] == [("StockChanged", "SKU-1")]


async def _told(store: Store) -> list[tuple[str, str]]:
    await give_places(store)
    async with store.begin() as tx:
        told = await event.after(tx, 0, kinds=[EventKind.STOCK_CHANGED, EventKind.ORDER_CHANGED])
    return [(one.kind.value, one.subject) for one in told]


async def test_what_is_not_understood_is_kept_with_its_reason(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    port.listings = [
        Page([make_listing(port, "SKU-1"), make_listing(port, "", "X-none")], [make_rejected(port, "listing")]),
        # The same listing again is no second one; another thing of the same SKU is, though it comes pages later.
        Page([make_listing(port, "SKU-1"), make_listing(port, "SKU-1", "X-other"), make_listing(port, "SKU-2")]),
    ]
    port.readings[0].rejected.append(make_rejected(port, "stock"))
    port.changed_orders[0].rejected.append(make_rejected(port, "order"))
    assert await sync_once(make_deps(store, redis, [port]), lambda *_: None) == {}
    async with store.begin() as tx:
        kept = await quarantine.recent(tx, 10)
        listings = await product.listings_by_skus(tx, [Sku("SKU-1"), Sku("SKU-2"), Sku("")])
    assert {(one.rejected.what, one.rejected.key, one.rejected.reason) for one in kept} == {
        ("listing", "K-1", "unknown word"),
        ("listing", "X-none", "It has no SKU."),
        ("listing", "X-other", "Its SKU 'SKU-1' is also that of X-SKU-1; a SKU must name one thing."),
        ("stock", "K-1", "unknown word"),
        ("order", "K-1", "unknown word"),
    }
    assert {sku: [one.external_id for one in found] for sku, found in listings.items()} == {
        "SKU-1": ["X-SKU-1"],
        "SKU-2": ["X-SKU-2"],
    }


async def test_an_order_that_cannot_be_counted_hides_no_other(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    deps = make_deps(store, redis, [port], locations=[BERLIN])
    assert await sync_once(deps, lambda *_: None) == {}
    async with store.begin() as tx:
        await ledger.post(tx, [NewEntry(Sku("SKU-1"), BERLIN.code, EntryKind.RECEIPT, "x", "tests", "test", on_hand=9)])
    later = datetime.now(UTC)
    orders = [make_order(port, "O-2", units=2 * 10**9, updated_at=later), make_order(port, "O-3", updated_at=later)]
    port.changed_orders = [Page(orders, [make_rejected(port, "order")])]
    assert await sync_once(deps, lambda *_: None) == {}
    async with store.begin() as tx:
        assert list(await order.by_ids(tx, [one.id for one in orders])) == [orders[1].id]
        [balance] = (await ledger.balances(tx, [Sku("SKU-1")]))[Sku("SKU-1")]
        kept = await quarantine.recent(tx, 10)
    assert balance.reserved == 4  # of O-1 and O-3
    assert sorted((one.rejected.what, one.rejected.key) for one in kept) == [("order", "K-1"), ("order", "O-2")]


async def test_the_window_overlaps_and_the_first_one_reaches_sixty_days_back(
    store: Store, redis: Redis, port: FakePort
) -> None:
    deps = make_deps(store, redis, [port])
    until_there = datetime(2026, 11, 20, 12, tzinfo=UTC)
    port.listings = [Page([])]
    port.changed_orders = [Page([], until=until_there - timedelta(hours=1)), Page([], until=until_there)]
    before = datetime.now(UTC)
    await sync_once(deps, lambda *_: None)
    [(_, no_window), _, (_, first)] = port.asked_since
    assert no_window is None
    assert first is not None
    assert before - timedelta(days=60) <= first <= datetime.now(UTC) - timedelta(days=60)
    port.asked_since.clear()
    await sync_once(deps, lambda *_: None)
    since = dict(port.asked_since)
    assert since["orders"] == until_there - timedelta(minutes=2)
    # A platform that does not say how far it told is taken to have told all up to when it was first asked.
    assert since["listings"] is not None
    assert before - timedelta(minutes=2) <= since["listings"] <= datetime.now(UTC) - timedelta(minutes=2)


async def test_the_cursor_stays_until_a_run_has_come_to_its_end(store: Store, redis: Redis, port: FakePort) -> None:
    deps = make_deps(store, redis, [port])
    await register(deps)
    port.changed_orders = [Page([make_order(port, "O-1")]), Page([make_order(port, "O-2")])]
    port.page_faults.extend([None, Transient("It broke.")])
    with pytest.raises(Transient):
        await run_stream(deps, (await _states(store))["shop", StreamName.ORDERS])
    async with store.begin() as tx:
        assert list(await order.by_ids(tx, [O_1, O_2])) == [O_1]
    assert (await _states(store))["shop", StreamName.ORDERS].cursor is None
    await run_stream(deps, (await _states(store))["shop", StreamName.ORDERS])
    async with store.begin() as tx:
        assert sorted(await order.by_ids(tx, [O_1, O_2])) == sorted([O_1, O_2])
    assert (await _states(store))["shop", StreamName.ORDERS].cursor is not None


@pytest.mark.parametrize("again_from", [None, timedelta(days=3)])
async def test_a_run_that_is_forced_meanwhile_comes_on_unless_it_was_to_start_elsewhere(
    store: Store, redis: Redis, again_from: timedelta | None
) -> None:
    now, turn = datetime.now(UTC), 0

    def since() -> datetime | None:
        return None if again_from is None else now - again_from - timedelta(hours=turn)

    class Forced(FakePort):
        """While its orders are read, they are wanted once more."""

        async def order_pages(self, at: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
            async for page in FakePort.order_pages(self, at, ask):
                yield page
            async with store.begin() as tx:
                await stream.force(tx, self.channel.id, StreamName.ORDERS, since())

    port = Forced(make_port().channel)
    deps = make_deps(store, redis, [port])
    await register(deps)
    for turn in range(3):
        port.changed_orders = [Page([make_order(port, f"O-{turn}")], until=now + timedelta(seconds=turn))]
        await run_stream(deps, (await _states(store))["shop", StreamName.ORDERS])
        cursor = (await _states(store))["shop", StreamName.ORDERS].cursor
        assert cursor == (since() or now + timedelta(seconds=turn))


async def test_a_broken_channel_stops_no_other(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    broken = make_port("amazon-eu", Platform.AMAZON)
    broken.listings, broken.readings, broken.changed_orders = [Page([])], [Page([])], [Page([])]
    broken.page_faults.extend([Transient("It does not answer.")] * 20)
    async with working(make_deps(store, redis, [port, broken])):
        await until(lambda: _succeeded(store, "shop"))
        await until(lambda: _failed(store, "amazon-eu"))
    states = await _states(store)
    assert {state.last_error for (id, _), state in states.items() if id == "amazon-eu"} == {"It does not answer.", None}
    assert states["amazon-eu", StreamName.LISTINGS].last_success_at is None
    async with store.begin() as tx:
        waits = await tx.execute(
            select((sync_stream.c.due_at - func.now()).label("wait")).where(sync_stream.c.last_error.is_not(None))
        )
    assert all(timedelta(seconds=10) < row.wait <= timedelta(minutes=5) for row in waits)


async def _succeeded(store: Store, id: str) -> bool:
    states = await _states(store)
    return all(state.last_success_at is not None for (channel, _), state in states.items() if channel == id) and bool(
        states
    )


async def _failed(store: Store, id: str) -> bool:
    return any(state.last_error for (channel, _), state in (await _states(store)).items() if channel == id)


@pytest.mark.parametrize(
    ("problem", "soon"), [(Throttled("No slot.", retry_after_s=1), True), (Transient("It does not answer."), False)]
)
async def test_who_waits_for_a_slot_does_not_wait_longer_each_time(
    store: Store, redis: Redis, port: FakePort, monkeypatch: pytest.MonkeyPatch, problem: HouseError, soon: bool
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    deps = make_deps(store, redis, [port])
    await register(deps)
    await failed(deps, (await _states(store))["shop", StreamName.STOCK], problem, failures=20)
    async with store.begin() as tx:
        wait = select(sync_stream.c.due_at - func.now()).where(sync_stream.c.last_error == problem.message)
        [waits] = (await tx.scalars(wait)).all()
    assert (waits <= timedelta(seconds=30)) is soon


async def test_unexpected_failures_are_told_without_their_words(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    port.page_faults.append(ValueError("a buyer's name"))
    async with working(make_deps(store, redis, [port])):
        await until(lambda: _failed(store, "shop"))
    errors = {state.last_error for state in (await _states(store)).values()}
    assert "Unexpected ValueError; see the log." in errors


async def test_refused_credentials_pause_the_channel(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    port.page_faults.append(Unauthorized("The consent was withdrawn."))
    # The other streams run before we look: the pause outlives them on any machine.
    deps = make_deps(store, redis, [port], timing=replace(SHORT, pause_s=600.0))
    problems = await sync_once(deps, lambda *_: None)
    assert problems == {(ChannelId("shop"), StreamName.LISTINGS): "The consent was withdrawn."}
    async with store.begin() as tx:
        assert [pause.reason for pause in (await channel.states(tx)).values()] == ["The consent was withdrawn."]


async def test_a_missing_role_stops_its_stream_alone(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    port.page_faults.append(MissingRole("No role for listings."))
    problems = await sync_once(make_deps(store, redis, [port]), lambda *_: None)
    assert problems == {(ChannelId("shop"), StreamName.LISTINGS): "No role for listings."}
    assert port.calls == {"listings": 1, "stock": 1, "orders": 1}
    async with store.begin() as tx:
        assert await channel.states(tx) == {}


async def test_a_first_load_is_patient(store: Store, redis: Redis, port: FakePort) -> None:
    _fill(port)
    port.page_faults.extend([Throttled("No slot.", retry_after_s=0.05), None])
    assert await sync_once(make_deps(store, redis, [port]), lambda *_: None) == {}
    assert port.calls["listings"] == 2


async def test_streams_run_at_their_intervals_and_once_among_workers(
    store: Store, redis: Redis, port: FakePort
) -> None:
    _fill(port)
    first, second = make_deps(store, redis, [port]), make_deps(store, redis, [port])
    async with working(first), working(second):
        await until(lambda: _succeeded(store, "shop"))
    assert port.calls == {"listings": 1, "stock": 1, "orders": 1}
    async with store.begin() as tx:
        await tx.execute(update(sync_stream).where(sync_stream.c.name == "stock").values(due_at=func.now()))
    async with working(first):
        await until(lambda: _called(port, 2))
    assert port.calls == {"listings": 1, "stock": 2, "orders": 1}


async def _called(port: FakePort, times: int) -> bool:
    return port.calls["stock"] == times


def test_intervals_are_the_platforms_unless_told_otherwise() -> None:
    id = ChannelId("one")
    one = make_port("one")
    one.every = {StreamName.STOCK: timedelta(minutes=3), StreamName.ORDERS: timedelta(minutes=4)}
    assert every(_only_channels(one), id, StreamName.STOCK) == timedelta(minutes=3)
    told = _only_channels(one, {(id, StreamName.STOCK): timedelta(seconds=7)})
    assert every(told, id, StreamName.STOCK) == timedelta(seconds=7)
    assert every(told, id, StreamName.ORDERS) == timedelta(minutes=4)


async def test_titles_of_a_platform_that_leads_win_whoever_comes_last(store: Store, redis: Redis) -> None:
    leading, other = make_port("leading"), make_port("other")
    other.leads = False
    for port, title in ((leading, "Ours"), (other, "Theirs")):
        port.listings = [Page([replace(make_listing(port, "SKU-1"), title=title)])]
    for first, second in ((leading, other), (other, leading)):
        for port in (first, second):
            assert await sync_once(make_deps(store, redis, [port]), lambda *_: None) == {}
        async with store.begin() as tx:
            assert (await product.by_skus(tx, [Sku("SKU-1")]))[Sku("SKU-1")].title == "Ours"


def _only_channels(port: FakePort, intervals: dict[tuple[ChannelId, StreamName], timedelta] | None = None) -> Deps:
    routes = object()
    return make_deps(None, None, [port], intervals=intervals or {}, routes=routes)  # type: ignore[arg-type]  # no engine is asked


async def test_a_long_run_keeps_its_lease_and_how_far_it_has_come(store: Store, redis: Redis, port: FakePort) -> None:
    deps = make_deps(store, redis, [port])
    streams = Streams(deps, lambda: None)
    await register(deps)
    async with store.begin() as tx:
        await tx.execute(
            update(sync_stream).where(sync_stream.c.name != "orders").values(due_at=func.now() + timedelta(hours=1))
        )
    told = datetime(2026, 11, 20, 12, tzinfo=UTC)
    port.changed_orders = [Page([make_order(port, "O-1")], until=told), Page([make_order(port, "O-2")])]
    [state] = await streams._claim(5)

    async def extended() -> bool:
        async with store.begin() as tx:
            row = (await tx.execute(select(sync_stream).where(sync_stream.c.name == "orders"))).one()
        return bool(row.cursor == told) and row.lease_until > datetime.now(UTC) + timedelta(minutes=1)

    extend = stream.extend

    async def longer(tx: AsyncConnection, id: ChannelId, name: StreamName, lease_s: float, *more: Any) -> None:
        """Renewed soon, and for longer than a machine stands still."""
        await extend(tx, id, name, 1000 * lease_s, *more)

    gate = asyncio.Event()
    pages = port.changed_orders

    async def slowly(self: FakePort, since: datetime, ask: object):  # type: ignore[no-untyped-def]  # a generator
        yield pages[0]
        await gate.wait()
        yield pages[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakePort, "order_pages", slowly)
        patch.setattr(stream, "extend", longer)
        quick = replace(deps, timing=replace(deps.timing, stream_lease_s=0.3))
        run = asyncio.create_task(run_stream(quick, state))
        await until(extended)
        assert await streams._claim(5) == []
        gate.set()
        await run


async def test_orders_promise_units_at_first_sight_and_only_once(store: Store, redis: Redis, port: FakePort) -> None:
    deps = make_deps(store, redis, [port], locations=[BERLIN])
    port.listings = [Page([make_listing(port, "SKU-1")])]
    await sync_once(deps, lambda *_: None)
    entry = NewEntry(Sku("SKU-1"), BERLIN.code, EntryKind.COUNT, "counted", "tests", "test", on_hand=10)
    async with store.begin() as tx:
        await ledger.post(tx, [entry])
    sold = make_order(port, "O-1", units=3)
    # The same page comes again and again, from overlaps, lost leases and killed workers.
    port.changed_orders = [Page([sold]), Page([sold]), Page([replace(sold, lines=list(sold.lines))])]
    await sync_once(deps, lambda *_: None)
    await sync_once(deps, lambda *_: None)
    async with store.begin() as tx:
        [balance] = (await ledger.balances(tx, [Sku("SKU-1")]))[Sku("SKU-1")]
    assert (balance.on_hand, balance.reserved) == (10, 3)


async def test_the_sweep_takes_the_route_that_is_there_first_and_says_so(
    store: Store, redis: Redis, port: FakePort, caplog: pytest.LogCaptureFixture
) -> None:
    _fill(port)
    slow = Plan("readStock", 0.01, 1.0)
    by_report = Route(Way.REPORT, (Step(Plan("askReport", 1.0, 10.0), 1, then_s=60.0),), whole=True)
    by_key = Route(Way.BATCH, (Step(slow, 1),))
    port.routes = [by_key, replace(WALK, steps=(Step(slow, 100),)), by_report]
    with caplog.at_level("INFO", "adapters.route"):
        assert await sync_once(make_deps(store, redis, [port]), lambda *_: None) == {}
    assert port.ways == [Way.REPORT]
    (told,) = [one.__dict__ for one in caplog.records if one.getMessage() == "route.chosen"]
    assert (told["way"], told["known"], told["keys"], len(told["candidates"])) == ("report", 1, None, 3)
    async with store.begin() as tx:
        assert [one.on_hand for one in (await stock.readings(tx, [Sku("SKU-1")]))[Sku("SKU-1")]] == [7]
