"""By which path orders come in, what a report leaves to be read, and days that are compared three ways."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text, update

from adapters.port import Page
from domain.budget import Ask, Plan
from domain.channel import Platform, StreamName, StreamState
from domain.errors import Conflict, NotFound, Throttled, Transient
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, LocationCode, Sku, line_id
from domain.ledger import EntryKind, NewEntry
from domain.order import Order, OrderStatus
from domain.order_compare import Comparison, DifferenceCause
from domain.product import FulfilledBy
from domain.route import Route, Step, Way
from domain.shipment import Promises, ShipmentRequest, item_of
from store import channel, hint, ledger, order, order_compare, stream
from store.session import Store
from store.tables import order_unread
from tests.workers.fake_port import FakePort, make_order, make_port
from tests.workers.house import make_deps
from tests.workers.market import BERLIN
from workers import completion, order_paths
from workers.completion import Completion
from workers.deps import Deps
from workers.order_compare import Compares, to_compare
from workers.streams import keep_orders, register, run_stream

SHOP = ChannelId("shop")
FEW, FAST, SLOW = Plan("few", 0.001, 1.0), Plan("fast", 100.0, 100.0), Plan("slow", 0.001, 1.0)


@dataclass(slots=True)
class ManyPaths(FakePort):
    """A port whose pages are few, whose report is fast, and that can be asked for days. `reported` are sketches."""

    reported: list[Page[Order]] = field(default_factory=list)
    placed: list[Page[Order]] = field(default_factory=list)
    report_plan: Plan = FAST
    no_report: bool = False
    placed_operation: str = "fast"
    placed_most: int = 5

    async def order_routes(self, span_s: float, changes: int, named: int) -> list[Route]:
        return [
            Route(Way.PAGES, (Step(FEW, max(1, changes // 5)),), whole=True),
            Route(Way.REPORT, (Step(self.report_plan, 3),), whole=True),
            Route(Way.SINGLE, (Step(FAST, named),)),
        ]

    async def order_pages_by(self, way: Way, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        pages = self.reported if way is Way.REPORT else self.changed_orders
        async for page in self._told(way.value, since, pages):
            yield replace(page, items=list(page.items))

    async def orders_placed(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        for page in self.placed:
            yield replace(page, items=list(page.items))

    async def orders_reported(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        if self.no_report:
            raise Transient("The channel makes none today.")
        for page in self.reported:
            yield replace(page, items=list(page.items))


@pytest.fixture
def port() -> ManyPaths:
    plain = make_port()
    return ManyPaths(replace(plain.channel, time_zone="America/Los_Angeles"), plans={"fast": FAST})


@pytest.fixture
async def deps(store: Store, redis: Redis, port: ManyPaths) -> Deps:
    """Streams that have run up to ten minutes ago, and ten units of SKU-1 in Berlin."""
    every = {(SHOP, StreamName.ORDERS): timedelta(minutes=4)}
    made = make_deps(store, redis, [port], locations=[BERLIN], intervals=every)
    await register(made)
    async with store.begin() as tx:
        await stream.finished(tx, SHOP, StreamName.ORDERS, datetime.now(UTC) - timedelta(minutes=10), datetime.now(UTC))
        await tx.execute(text("insert into product (sku, title) values ('SKU-1', 'One')"))
        entry = NewEntry(
            sku=Sku("SKU-1"),
            location=LocationCode("BER"),
            kind=EntryKind.RECEIPT,
            reason="delivery",
            actor="test",
            source="test",
            on_hand=10,
        )
        await ledger.post(tx, [entry])
    return made


def sketch(one: Order) -> Order:
    """As a report tells it, in whole seconds."""
    lines = [
        replace(line, id=line_id(one.id, f"sku={line.channel_sku}"), external_id=f"sku={line.channel_sku}")
        for line in one.lines
    ]
    return replace(one, lines=lines, whole=False, updated_at=one.updated_at.replace(microsecond=0))


async def known(store: Store, count: int = 1) -> None:
    """So many orders have changed within the hours before the cursor."""
    at = datetime.now(UTC) - timedelta(hours=2)
    other = make_port("shop")
    async with store.begin() as tx:
        await order.upsert(tx, [make_order(other, f"OLD-{number}", updated_at=at, sku="X") for number in range(count)])


async def ran(deps: Deps) -> StreamState:
    """The orders stream after one run."""
    async with deps.store.begin() as tx:
        (before,) = [one for one in await stream.states(tx, [SHOP]) if one.name is StreamName.ORDERS]
    await run_stream(deps, before)
    async with deps.store.begin() as tx:
        (after,) = [one for one in await stream.states(tx, [SHOP]) if one.name is StreamName.ORDERS]
    return after


async def kept(store: Store, one: Order) -> Order:
    async with store.begin() as tx:
        return (await order.by_ids(tx, [one.id]))[one.id]


async def reserved(store: Store) -> tuple[int, int]:
    async with store.begin() as tx:
        (found,) = (await ledger.balances(tx, [Sku("SKU-1")]))[Sku("SKU-1")]
    return found.on_hand, found.reserved


async def test_a_first_run_reads_page_by_page_and_says_that_nobody_knows_how_much_there_is(
    deps: Deps, port: ManyPaths
) -> None:
    port.changed_orders = [Page([make_order(port, "O-1")])]
    after = await ran(deps)
    assert (after.way, after.way_reason) == ("pages", order_paths.UNKNOWN)
    assert (await kept(deps.store, port.changed_orders[0].items[0])).whole


async def test_the_run_says_which_way_it_took_and_why_not_another(deps: Deps, port: ManyPaths) -> None:
    await known(deps.store, 400)  # one a minute, and pages of five at one in a quarter of an hour
    port.reported = [Page([sketch(make_order(port, "O-1"))], until=datetime.now(UTC))]
    after = await ran(deps)
    assert after.way == "report"
    assert after.way_reason is not None
    assert after.way_reason.split(" changes expected.")[0].isdigit()
    assert "pages: it is there after" in after.way_reason
    assert [what for what, _ in port.asked_since] == ["report"]


async def test_a_sketch_promises_its_units_at_once_and_the_order_itself_takes_them_over(
    deps: Deps, port: ManyPaths
) -> None:
    await known(deps.store, 400)
    one = make_order(port, "O-1")
    port.orders["O-1"] = one
    port.reported = [Page([sketch(one)], until=datetime.now(UTC))]
    await ran(deps)
    found = await kept(deps.store, one)
    assert (found.whole, [line.external_id for line in found.lines]) == (False, ["sku=SKU-1"])
    assert await reserved(deps.store) == (10, 2)
    request = ShipmentRequest(one.id, "DHL", "00340434161094021501", datetime.now(UTC))
    with pytest.raises(Conflict, match="has not been read as a whole yet"):
        item_of(request, {one.id: found}, Promises.of([]), {SHOP: Platform.SHOPIFY}, datetime.now(UTC))
    assert await Completion(deps, lambda: None).once() == 1
    found = await kept(deps.store, one)
    assert (found.whole, [line.external_id for line in found.lines]) == (True, ["O-1-1"])
    assert await reserved(deps.store) == (10, 2)
    item_of(request, {one.id: found}, Promises.of([]), {SHOP: Platform.SHOPIFY}, datetime.now(UTC))
    assert await Completion(deps, lambda: None).once() == 0
    assert port.calls["order"] == 1


async def test_what_a_sketch_tells_as_shipped_leaves_the_ledger_once_when_the_order_is_read(
    deps: Deps, port: ManyPaths
) -> None:
    await known(deps.store, 400)
    told = make_order(port, "O-1", updated_at=datetime.now(UTC))
    one = replace(told, status=OrderStatus.SHIPPED, placed_at=datetime.now(UTC))
    lines = [replace(line, quantity_shipped=2) for line in one.lines]
    port.reported = [Page([sketch(replace(one, lines=lines))], until=datetime.now(UTC))]
    await ran(deps)
    assert await reserved(deps.store) == (10, 0)
    await keep_orders(deps, [replace(one, lines=lines)])
    assert await reserved(deps.store) == (8, 0)


@dataclass(slots=True)
class Lister(ManyPaths):
    """Lists what we have to ship."""

    to_ship_batch: int = 10
    lists: list[Page[Order]] = field(default_factory=list)
    list_problem: Exception | None = None
    listed_since: list[datetime] = field(default_factory=list)

    async def orders_to_ship(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        self.listed_since.append(since)
        if self.list_problem is not None:
            raise self.list_problem
        for page in self.lists:
            self.calls["list"] += 1
            yield replace(page, items=list(page.items))


@pytest.fixture
async def lister(store: Store, redis: Redis) -> Lister:
    """25 orders that we ship are known by a report alone, and two that the channel ships."""
    made = Lister(make_port().channel)
    at = datetime.now(UTC) - timedelta(minutes=1)
    told = [make_order(made, f"O-{n}", updated_at=at + timedelta(seconds=n)) for n in range(25)]
    theirs = [
        replace(make_order(made, f"F-{n}", updated_at=at), fulfilled_by=FulfilledBy.CHANNEL, lines=[]) for n in (1, 2)
    ]
    made.orders |= {one.external_id: one for one in [*told, *theirs]}
    deps = make_deps(store, redis, [made], locations=[BERLIN])
    await keep_orders(deps, [sketch(one) for one in [*told, *theirs]])
    made.lists = [Page(told[n : n + 10]) for n in (0, 10, 20)]
    made.calls.clear()
    return made


async def left(store: Store) -> int:
    async with store.begin() as tx:
        return await tx.scalar(text("select count(*) from order_unread")) or 0


async def test_many_that_wait_to_be_shipped_are_read_as_a_list(store: Store, redis: Redis, lister: Lister) -> None:
    work = Completion(make_deps(store, redis, [lister], locations=[BERLIN]), lambda: None)
    assert await work.once() == 2, "those that the channel ships are read alone"
    assert (lister.calls["list"], lister.calls["order"], await left(store)) == (3, 2, 0)
    [since] = lister.listed_since
    assert since < min(one.updated_at for one in lister.orders.values())
    # Nothing is left to be listed, nor is it time for it.
    await work.once()
    assert len(lister.listed_since) == 1


async def test_a_long_list_ends_once_it_has_told_what_was_missing(store: Store, redis: Redis, lister: Lister) -> None:
    more = [make_order(lister, f"N-{n}") for n in range(60)]
    lister.lists += [Page(more[n : n + 10]) for n in range(0, 60, 10)]
    await Completion(make_deps(store, redis, [lister], locations=[BERLIN]), lambda: None).once()
    assert lister.calls["list"] == 4


@pytest.mark.parametrize("problem", [Throttled("No slot.", retry_after_s=60.0), Transient("Away.")])
async def test_what_is_not_listed_is_read_alone(store: Store, redis: Redis, lister: Lister, problem: Exception) -> None:
    lister.list_problem = problem
    await Completion(make_deps(store, redis, [lister], locations=[BERLIN]), lambda: None).once()
    assert (lister.calls["list"], lister.calls["order"], await left(store)) == (0, 10, 17)


async def test_a_paused_channel_is_asked_for_no_list_and_what_no_list_tells_is_not_listed_again(
    store: Store, redis: Redis, lister: Lister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "LIST_EVERY_S", 0.0)
    work = Completion(make_deps(store, redis, [lister], locations=[BERLIN]), lambda: None)
    async with store.begin() as tx:
        await channel.pause(tx, SHOP, "Its consent was withdrawn.", 600.0)
    await work.once()
    assert lister.listed_since == []
    async with store.begin() as tx:
        await channel.resume(tx, SHOP)
    lister.lists = []
    monkeypatch.setattr(completion, "AT_ONCE", 0)
    await work.once()
    await work.once()
    assert len(lister.listed_since) == 1


async def test_few_are_read_alone(store: Store, redis: Redis, lister: Lister) -> None:
    deps = make_deps(store, redis, [lister], locations=[BERLIN])
    await keep_orders(deps, list(lister.orders.values())[:6])
    await Completion(deps, lambda: None).once()
    assert (lister.listed_since, lister.calls["order"]) == ([], 10)


@pytest.mark.parametrize(
    ("fault", "words"),
    [(NotFound("There is no such order."), "There is no such order."), (ValueError("broken"), "ValueError")],
)
async def test_an_order_that_cannot_be_read_alone_waits_and_delays_no_other(
    deps: Deps, port: ManyPaths, fault: Exception, words: str
) -> None:
    await known(deps.store, 400)
    told = [make_order(port, "O-1"), make_order(port, "O-2")]
    port.orders |= {one.external_id: one for one in told}
    port.reported = [Page([sketch(one) for one in told], until=datetime.now(UTC))]
    await ran(deps)
    port.order_faults.append(fault)
    assert await Completion(deps, lambda: None).once() == 2
    assert sorted([(await kept(deps.store, one)).whole for one in told]) == [False, True]
    async with deps.store.begin() as tx:
        (left,) = (await tx.execute(text("select attempts, reason from order_unread"))).all()
        assert left.attempts == 1
        assert words in left.reason
        await tx.execute(update(order_unread).values(due_at=text("now()")))
    # Without a slot nothing was tried.
    port.order_faults.append(Throttled("No slot.", retry_after_s=60.0))
    await Completion(deps, lambda: None).once()
    async with deps.store.begin() as tx:
        assert await tx.scalar(text("select attempts from order_unread")) == 1


async def test_notified_orders_are_left_to_single_reads_while_nothing_else_is_in_time(
    deps: Deps, port: ManyPaths
) -> None:
    await known(deps.store)
    port.report_plan = SLOW
    at = datetime.now(UTC)
    async with deps.store.begin() as tx:
        named = [Hint(SHOP, f"N-{number}", "ORDER_CHANGE", HintKind.ORDER, f"O-{number}", at) for number in range(60)]
        await hint.keep(tx, named)
        (before,) = [one for one in await stream.states(tx, [SHOP]) if one.name is StreamName.ORDERS]
    after = await ran(deps)
    assert (after.way, after.cursor) == ("single", before.cursor)
    assert port.asked_since == []


async def test_more_than_was_expected_is_read_by_a_better_way(
    deps: Deps, port: ManyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_paths, "LOOK_UP", 20)
    start = datetime.now(UTC) - timedelta(minutes=9)
    told = [make_order(port, f"O-{n}", updated_at=start + timedelta(seconds=n)) for n in range(60)]
    port.changed_orders = [Page(told[:20]), Page(told[20:40]), Page(told[40:], until=datetime.now(UTC))]
    port.reported = [Page([sketch(one) for one in told[20:]], until=datetime.now(UTC))]
    after = await ran(deps)
    assert after.way == "report"
    assert [what for what, _ in port.asked_since] == ["orders", "report"]
    assert port.asked_since[1][1] == told[19].updated_at - order_paths.AGAIN
    whole = [(await kept(deps.store, one)).whole for one in told]
    assert whole == [True] * 20 + [False] * 40


# In the channel's day two days ago, far from where that begins and ends.
THEN = (datetime.now(UTC) - timedelta(days=2)).replace(hour=20, minute=0, second=0, microsecond=0)


async def compared(deps: Deps) -> Comparison:
    """The channel's day two days ago."""
    async with deps.store.begin() as tx:
        (port,) = deps.ports.values()
        ((day, due_at),) = to_compare(port, THEN)
        await order_compare.due(tx, {(SHOP, day): due_at})
    found = await Compares(deps, lambda: None).once()
    assert found is not None
    return found


async def differences(deps: Deps) -> dict[str, tuple[DifferenceCause, bool]]:
    async with deps.store.begin() as tx:
        found, more = await order_compare.page(tx, first=50, healed=True)
    assert not more
    return {one.external_id: (one.cause, one.healed_at is not None) for one in found}


def old(port: FakePort, number: str, **changes: Any) -> Order:
    one = replace(make_order(port, number), placed_at=THEN, updated_at=THEN + timedelta(minutes=1))
    return replace(one, **changes)


async def test_a_day_on_which_all_three_tell_the_same_ends_in_zero(deps: Deps, port: ManyPaths) -> None:
    told = [old(port, f"O-{number}") for number in range(3)]
    async with deps.store.begin() as tx:
        await order.upsert(tx, told)
    port.placed, port.reported = [Page(told[:2]), Page(told[2:])], [Page([sketch(one) for one in told])]
    found = await compared(deps)
    counts = (found.ours, found.api, found.report, found.api_whole, found.differences, found.reason)
    assert counts == (3, 3, 3, True, 0, None)
    assert await differences(deps) == {}


async def test_what_differs_is_listed_with_its_cause_and_healed_where_it_was_ours(deps: Deps, port: ManyPaths) -> None:
    cancelled: dict[str, Any] = {"status": OrderStatus.CANCELLED, "channel_status": "CANCELLED"}
    ours = [old(port, "OLDER"), old(port, "STATUS"), old(port, "UNITS"), old(port, "GONE"), old(port, "WELL")]
    async with deps.store.begin() as tx:
        await order.upsert(tx, ours)
    units = old(port, "UNITS", updated_at=ours[2].updated_at)
    units.lines[0].quantity = 7
    told = [
        replace(ours[0], updated_at=ours[0].updated_at + timedelta(minutes=5), **cancelled),
        replace(ours[1], **cancelled),
        replace(ours[2], lines=units.lines),
        ours[4],
        old(port, "NEW"),
        old(port, "LATE", updated_at=datetime.now(UTC)),
    ]
    reported = old(port, "REPORTED")
    port.placed = [Page(told)]
    port.reported = [Page([sketch(one) for one in [*told, reported]])]
    found = await compared(deps)
    assert (found.differences, found.healed) == (7, 5)
    assert await differences(deps) == {
        "OLDER": (DifferenceCause.OLDER_HERE, True),
        "STATUS": (DifferenceCause.STATUS, True),
        "UNITS": (DifferenceCause.QUANTITY, True),
        "NEW": (DifferenceCause.MISSING_HERE, True),
        "LATE": (DifferenceCause.LATE, True),
        "GONE": (DifferenceCause.MISSING_THERE, False),
        "REPORTED": (DifferenceCause.MISSING_HERE, False),
    }
    assert (await kept(deps.store, ours[0])).status is OrderStatus.CANCELLED
    # What only the report knew is read alone, and healed when it was.
    port.orders["REPORTED"] = reported
    await Completion(deps, lambda: None).once()
    async with deps.store.begin() as tx:
        assert await order_compare.heal(tx) == 1
        (day,) = await order_compare.comparisons(tx, SHOP, 10)
    assert (await differences(deps))["REPORTED"] == (DifferenceCause.MISSING_HERE, True)
    assert (day.differences, day.healed) == (7, 6)


async def test_a_comparison_takes_its_share_of_the_budget_and_judges_no_further(deps: Deps, port: ManyPaths) -> None:
    port.placed_most = 1
    seen = old(port, "O-1")
    unseen = old(port, "O-2", placed_at=seen.placed_at + timedelta(seconds=1))
    lost = old(port, "O-0", placed_at=seen.placed_at - timedelta(seconds=1))
    async with deps.store.begin() as tx:
        await order.upsert(tx, [lost, seen, unseen])
    port.placed, port.no_report = [Page([seen]), Page([unseen])], True
    found = await compared(deps)
    assert (found.api, found.api_whole, found.report, found.reason) == (1, False, None, "The channel makes none today.")
    assert await differences(deps) == {"O-0": (DifferenceCause.MISSING_THERE, False)}


async def test_the_day_begins_where_the_channel_s_market_is(port: ManyPaths) -> None:
    ((day, due_at),) = to_compare(port, datetime(2026, 11, 2, 7, tzinfo=UTC))
    # Still Sunday in Los Angeles, the day on which the clocks go back: it ends at eight.
    assert day.isoformat() == "2026-11-01"
    assert due_at == datetime(2026, 11, 2, 11, tzinfo=UTC)
    # While nobody was at work two more have begun; of those since a year no more than can be caught up with.
    since = to_compare(port, datetime(2026, 11, 4, 12, tzinfo=UTC), day)
    assert [(one.day, at.hour) for one, at in since] == [(2, 11), (3, 11), (4, 11)]
    assert to_compare(port, datetime(2026, 11, 2, 7, tzinfo=UTC), day) == [(day, due_at)]
    assert len(to_compare(port, datetime(2027, 11, 4, tzinfo=UTC), day)) == 31
