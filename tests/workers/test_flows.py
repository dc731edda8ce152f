"""What people ask of the flows: a run now, a stop, the days of the past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from adapters.port import Page
from domain.budget import Ask, Priority
from domain.channel import StreamName
from domain.errors import Conflict, Invalid, NotFound, Throttled, Transient
from domain.ids import ChannelId, OrderId, order_id
from domain.operation import Kind, OperationStatus
from domain.order import Order
from resolvers import flow
from resolvers.flow import Flows
from resolvers.shelf import Shelf
from store import agenda, operation, order, stream
from store.session import Store
from store.tables import operation as kept
from store.tables import operation_item
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.workers.fake_port import FakePort, make_order, make_port
from tests.workers.house import item_of, make_deps, operation_of, statuses, until, until_status, working
from workers.backfill import FAILURES
from workers.deps import Deps
from workers.streams import register

SHOP = ChannelId("shop")
ORDERS = Flows(SHOP, ("orders",))
DAY = timedelta(days=1)


@dataclass(slots=True)
class DaysPort(FakePort):
    """A channel that can be asked for the orders of a day, `size` to a page."""

    zone: str = "UTC"
    placed_operation: str = "listOrders"
    placed_most: int = 10
    size: int = 2
    asked: list[tuple[datetime, Priority]] = field(default_factory=list)
    run_faults: list[Exception] = field(default_factory=list)

    async def order_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        if self.run_faults:
            raise self.run_faults.pop()
        async for page in FakePort.order_pages(self, since, ask):
            yield page

    async def orders_placed(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        found = sorted(
            (one for one in self.orders.values() if start <= one.placed_at < end), key=lambda one: one.placed_at
        )
        for index in range(0, max(1, len(found)), self.size):
            self.asked.append((start, ask.priority))
            if self.page_faults and (fault := self.page_faults.popleft()) is not None:
                raise fault
            yield Page(found[index : index + self.size])

    def orders_reported(self, start: datetime, end: datetime, ask: Ask) -> AsyncIterator[Page[Order]]:
        raise Transient("There is no report.")


@pytest.fixture
def port() -> DaysPort:
    made = make_port()
    return DaysPort(made.channel, compares=True)


@pytest.fixture
async def deps(store: Store, redis: Redis, port: DaysPort) -> Deps:
    made = make_deps(store, redis, [port], intervals={(SHOP, name): timedelta(hours=6) for name in StreamName})
    await register(made)
    return made


@pytest.fixture
def shelf(store: Store, redis: Redis, port: DaysPort) -> Shelf:
    shelf = House(store, redis).shelf
    return replace(shelf, channels={SHOP: port.channel}, ports={SHOP: port}, bell=CountingBell(), clock=now)


def now() -> datetime:
    return datetime.now(UTC)


async def quiet(deps: Deps) -> None:
    """Wait until every stream has run once."""

    async def ran() -> bool:
        async with deps.store.begin() as tx:
            states = [await stream.settled(tx, SHOP, name) for name in (StreamName.LISTINGS, StreamName.ORDERS)]
        return all(one is not None and one.last_success_at is not None for one in states)

    await until(ran)


async def test_a_run_is_asked_for_and_followed_to_its_end(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    async with working(deps):
        await quiet(deps)
        port.changed_orders = [Page([make_order(port, "O-1")])]
        since = now() - timedelta(days=3)
        made = await flow.sync_now(shelf, "ops", "r-1", ORDERS, since)
        assert (made.kind, made.status, made.requested_by) == (Kind.SYNC_NOW, OperationStatus.QUEUED, "ops")
        await until_status(deps.store, made.id, "VERIFIED")
    asked = [at for what, at in port.asked_since if what == "orders" and at is not None]
    assert min(asked) <= since
    async with deps.store.begin() as tx:
        assert order_id(SHOP, "O-1") in await order.by_ids(tx, [order_id(SHOP, "O-1")])


async def test_what_was_asked_for_can_be_told_from_anything_else(shelf: Shelf, deps: Deps) -> None:
    async def asked(streams: tuple[str, ...], since: datetime | None) -> str:
        made = await flow.sync_now(shelf, "ops", "r-1", Flows(SHOP, streams), since)
        async with deps.store.begin() as tx:
            told: str | None = await tx.scalar(select(kept.c.request_hash).where(kept.c.id == made.id))
        assert told is not None
        return told

    yesterday = now() - DAY
    first, again = [await asked(("orders",), yesterday) for _ in range(2)]
    others = [
        await asked(("orders",), None),
        await asked(("orders",), yesterday - DAY),
        await asked(("listings",), None),
    ]
    assert first == again
    assert len({first, *others}) == 4


async def test_a_run_that_fails_says_why_and_can_be_asked_for_again(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    async with working(deps):
        await quiet(deps)
        port.run_faults.append(Transient("The shop is down."))
        made = await flow.sync_now(shelf, "ops", "r-1", ORDERS, None)
        await until_status(deps.store, made.id, "FAILED")
        assert (await item_of(deps.store, made.id)).error_message == "The shop is down."
        async with deps.store.begin() as tx:
            await operation.retry(tx, made.id)
        await until_status(deps.store, made.id, "VERIFIED")


async def test_a_run_that_people_stop_before_it_began_waits_for_nobody(
    shelf: Shelf, deps: Deps, port: DaysPort
) -> None:
    made = await flow.sync_now(shelf, "ops", "r-1", ORDERS, None)
    await flow.pause(shelf, "boss", ORDERS, "The ERP moves")
    async with working(deps):
        await until_status(deps.store, made.id, "FAILED")
    assert (await item_of(deps.store, made.id)).error_message == "boss paused it meanwhile: The ERP moves"


async def test_what_people_stop_stands_still_until_they_let_it_go_on(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    [state] = await flow.pause(shelf, "ops", ORDERS, "The ERP moves")
    assert (state.paused_by, state.pause_reason) == ("ops", "The ERP moves")
    [again] = await flow.pause(shelf, "somebody else", ORDERS, "Later")
    assert again.paused_by == "ops"
    with pytest.raises(Conflict, match=r"Paused by people: shop/orders\. resumeStreams"):
        await flow.sync_now(shelf, "ops", "r-1", Flows(None, ("orders", "listings")), None)
    async with working(deps):

        async def others_ran() -> bool:
            async with deps.store.begin() as tx:
                return await stream.settled(tx, SHOP, StreamName.LISTINGS) is not None

        await until(others_ran)
        assert not [what for what, _ in port.asked_since if what == "orders"]
        [resumed] = await flow.resume(shelf, ORDERS)
        assert resumed.paused_at is None
        await quiet(deps)
    assert [what for what, _ in port.asked_since if what == "orders"]


async def test_what_is_not_there_cannot_be_meant(shelf: Shelf, deps: Deps) -> None:
    with pytest.raises(NotFound, match="There is no stream 'prices'; there are listings, orders,") as caught:
        await flow.pause(shelf, "ops", Flows(None, ("orders", "prices")), "why")
    assert caught.value.field == ("streams", "1")
    with pytest.raises(NotFound, match="no channel nowhere"):
        await flow.resume(shelf, Flows(ChannelId("nowhere"), None))
    with pytest.raises(Invalid, match="at least one"):
        await flow.resume(shelf, Flows(None, ()))
    with pytest.raises(Invalid, match="Say why"):
        await flow.pause(shelf, "ops", ORDERS, " ")
    with pytest.raises(Invalid, match="in the future"):
        await flow.sync_now(shelf, "ops", "r", ORDERS, now() + DAY)


def noon() -> datetime:
    """Of yesterday: hours around it lie in one day."""
    return (now() - DAY).replace(hour=12, minute=0, second=0, microsecond=0)


def placed(port: DaysPort, days: int, each: int) -> list[OrderId]:
    """Orders of the last days, some of one instant; returns their ids."""
    made = []
    for day in range(days):
        for number in range(each):
            at = noon() - day * DAY - timedelta(minutes=10 * (number // 2))
            one = replace(make_order(port, f"O-{day}-{number}"), placed_at=at, updated_at=at)
            port.orders[one.external_id] = one
            made.append(one.id)
    return made


async def missing(store: Store, ids: list[OrderId]) -> int:
    async with store.begin() as tx:
        return len(ids) - len(await order.by_ids(tx, ids))


async def test_the_days_of_the_past_come_newest_first_below_everybody_else(
    shelf: Shelf, deps: Deps, port: DaysPort
) -> None:
    ids = placed(port, 2, 5)
    start = (now() - 3 * DAY).replace(hour=0)
    made = await flow.backfill(shelf, "ops", "r", SHOP, start, now(), idempotency_key="b-1")
    assert await flow.backfill(shelf, "ops", "r", SHOP, start, now(), idempotency_key=None) != made
    async with working(deps):
        await until_status(deps.store, made.id, *["VERIFIED"] * made.progress.total, within_s=60)
    assert await missing(deps.store, ids) == 0
    starts = [at for at, _ in port.asked]
    assert starts[0] == max(at.replace(hour=0, minute=0, second=0, microsecond=0) for at in starts)
    assert {priority for _, priority in port.asked} == {Priority.BACKFILL}


async def test_what_was_read_of_a_day_is_not_read_again(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    ids = placed(port, 1, 8)
    at = min(one.placed_at for one in port.orders.values())
    port.page_faults.extend([None, None, Throttled("slowly", retry_after_s=0.01), None, Transient("away"), None])
    made = await flow.backfill(shelf, "ops", "r", SHOP, at, noon() + timedelta(hours=1), idempotency_key=None)
    async with working(deps):
        await until_status(deps.store, made.id, *["VERIFIED"] * made.progress.total, within_s=60)
    assert await missing(deps.store, ids) == 0
    starts = [start for start, _ in port.asked]
    # Each walk begins at the last order that was kept: what lies before it is not asked for again. On a slow machine a claim's
    # time may end a walk, too.
    assert starts == sorted(starts)
    walks = len(set(starts))
    assert walks >= 2
    assert int((await item_of(deps.store, made.id)).payload["orders"]) <= len(ids) + 2 * walks


async def test_a_day_that_is_cancelled_stops_between_two_pages(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    placed(port, 1, 4)
    at = min(one.placed_at for one in port.orders.values())
    made = await flow.backfill(shelf, "ops", "r", SHOP, at, noon() + timedelta(hours=1), idempotency_key=None)
    port.page_faults.extend([None, Throttled("later", retry_after_s=3600)])
    async with working(deps):

        async def throttled() -> bool:
            return not port.page_faults

        await until(throttled)

        async def cancelled() -> bool:
            async with deps.store.begin() as tx:
                await operation.cancel(tx, made.id)
            return True

        await until(cancelled)
    assert await statuses(deps.store, made.id) == ["CANCELLED"]
    async with deps.store.begin() as tx:
        assert not await agenda.note(tx, (await item_of(deps.store, made.id)).id, 1, 5.0, {"orders": "9"})


async def test_a_day_that_cannot_be_read_fails_alone(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    port.page_faults.extend([Invalid("No such day.")])
    made = await flow.backfill(shelf, "ops", "r", SHOP, now() - 2 * DAY, now() - DAY, idempotency_key=None)
    async with working(deps):

        async def over() -> bool:
            return (await operation_of(deps.store, made.id)).finished_at is not None

        await until(over)
    found = await statuses(deps.store, made.id)
    assert found.count("FAILED") == 1
    assert found.count("VERIFIED") == len(found) - 1
    assert FAILURES > 1


async def test_a_day_that_is_retried_has_all_its_attempts_again(shelf: Shelf, deps: Deps, port: DaysPort) -> None:
    start = (now() - 2 * DAY).replace(hour=0)
    made = await flow.backfill(shelf, "ops", "r", SHOP, start, start + DAY / 2, idempotency_key=None)
    item = await item_of(deps.store, made.id)
    async with deps.store.begin() as tx:
        values = {"status": "FAILED", "payload": item.payload | {"failures": str(FAILURES)}}
        await tx.execute(update(operation_item).where(operation_item.c.id == item.id).values(**values))
        await operation.retry(tx, made.id)
    revived = await item_of(deps.store, made.id)
    assert revived.payload == item.payload


async def test_what_cannot_be_read_is_said(shelf: Shelf) -> None:
    with pytest.raises(Invalid, match="must lie before"):
        await flow.backfill(shelf, "ops", "r", SHOP, now(), now() + DAY, idempotency_key=None)
    with pytest.raises(Invalid, match="ask for 731"):
        await flow.backfill(shelf, "ops", "r", SHOP, now() - 900 * DAY, now(), idempotency_key=None)
    with pytest.raises(NotFound, match="no channel nowhere"):
        await flow.backfill(shelf, "ops", "r", ChannelId("nowhere"), now() - DAY, now(), idempotency_key=None)


async def test_a_channel_without_days_tells_what_has_changed_since(store: Store, redis: Redis, shelf: Shelf) -> None:
    port = make_port()
    deps = make_deps(store, redis, [port], intervals={(SHOP, name): timedelta(hours=6) for name in StreamName})
    await register(deps)
    [first, second] = [make_order(port, number) for number in ("O-1", "O-2")]
    port.changed_orders = [Page([first], until=first.updated_at), Page([second])]
    start = now() - 40 * DAY
    made = await flow.backfill(replace(shelf, ports={SHOP: port}), "ops", "r", SHOP, start, now(), idempotency_key=None)
    assert made.progress.total == 1
    async with working(deps):
        await until_status(deps.store, made.id, "VERIFIED", within_s=60)
    assert ("orders", start) in port.asked_since
    assert await missing(store, [first.id, second.id]) == 0
