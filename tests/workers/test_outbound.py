"""A shop's order that Amazon ships: one order there, one confirmation per parcel here, and no unit promised twice, in both
versions of its API and wherever a worker dies."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from adapters.port import StockKey
from domain.budget import Ask
from domain.chain import Chain, Gap, Piece, PieceKind, gaps
from domain.errors import Conflict
from domain.hint import Hint, HintKind
from domain.ids import ChannelSku, OperationId, OrderId, Sku
from domain.operation import Capability, ItemStatus, Kind, OperationStatus
from domain.order import Order, OrderStatus
from domain.outbound import Followed, OutboundStatus, Policy, Speed, Wanted, Whereabouts
from domain.outbound_request import FbaRule, OutboundRequest, wanted_of
from domain.outbound_return import ReturnCondition, ReturnUnit, ReturnWanted
from domain.timeline import StepKind
from sandbox.amazon.visit import Seller
from store import chain, fulfillment, operation, outbound, outbound_return, shipment, stock, timeline
from store.keyring import Keyring
from store.session import Store
from store.tables import operation as operation_table
from store.tables import operation_item, order_allocation, outbound_order
from store.tables import order as order_table
from tests.adapters.amazon.bench import Sandbox
from tests.workers import outbound_worker
from tests.workers.house import item_of, statuses, until
from tests.workers.outbound_worker import AMAZON, BER, POOL, Bench
from workers import crash, following
from workers.hints import Hints, take
from workers.lanes import Lane
from workers.outbound import addressed, outbound_of

# A process that has imported all that workers need, and becomes one in a moment as often as a test asks.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.workers.outbound_worker"])
KEY = Fernet.generate_key().decode()
RING = Keyring([KEY])
VERSIONS = ("2020-07-01", "2026-07-04")
CREATE = {"2020-07-01": "createFulfillmentOrder", "2026-07-04": "createOrder"}
READ = {"2020-07-01": "getFulfillmentOrder", "2026-07-04": "getOutboundOrder"}
# For what lies on our side of the adapter.
ONE_VERSION = pytest.mark.parametrize("version", VERSIONS[:1])
OPERATIONS = (
    *CREATE.values(),
    *READ.values(),
    "getFulfillmentPreview",
    "getOrderPreview",
    "cancelFulfillmentOrder",
    "cancelOrder",
    "getPackageTrackingDetails",
    "getInventorySummaries",
    "listAllFulfillmentOrders",
    "listOrders",
    "createFulfillmentReturn",
    "listReturnReasonCodes",
)
# Around the one request that has an effect; where it is followed there are places of its own.
DEATHS = {"2020-07-01": ("after_intent", "inside_record"), "2026-07-04": ("after_send", "after_record")}


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    """A world that shows at once what was written."""
    started = Sandbox("--products", "60", "--orders", "20", "--lag", "0")
    await started.generous(*OPERATIONS)
    yield started
    await started.close()


@dataclass(slots=True)
class World:
    """A bench, and what the sandbox has to say."""

    bench: Bench
    sandbox: Sandbox
    version: str
    since: int
    theirs: str
    sku: Sku

    async def holds(self, units: int) -> None:
        await self.sandbox.post("state", {"stock": [{"sku": self.theirs, "marketplace": "US", "quantity": units}]})

    async def pool(self) -> int:
        """Units that the pool can still ship."""
        skus = (await self.sandbox.get("world"))["skus"]
        return int(next(one["pools"]["US"]["fulfillable"] for one in skus if one["sku"] == self.theirs))

    async def effects(self, word: str) -> list[str]:
        """The ids of what was truly created, cancelled or shipped there."""
        told = await self.sandbox.effects(self.since)
        return [one["key"] for one in told if one["detail"].get("fulfillmentOrder") == word]

    async def wait(self, **span: float) -> None:
        """Amazon's time, and ours."""
        self.bench.shift += timedelta(**span)
        await self.sandbox.post("clock", {"advance": timedelta(**span).total_seconds()})


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(store: Store, redis: Redis, sandbox: Sandbox, version: str) -> AsyncIterator[World]:
    """Nine units in the pool, three in Berlin, of a SKU that is called otherwise there."""
    await sandbox.post("faults", {"faults": []})
    skus = (await sandbox.get("world"))["skus"]
    theirs = next(one["sku"] for one in skus if one["fulfilledBy"] == "AMAZON" and "US" in one["marketplaces"])
    there = datetime.fromisoformat((await sandbox.get("clock"))["now"])
    async with outbound_worker.opened(store, redis, RING, sandbox.url, version) as bench:
        bench.shift = there - datetime.now(UTC)
        made = World(bench, sandbox, version, await sandbox.mark(), theirs, Sku("MUG"))
        await made.holds(9)
        await bench.stocked(made.sku, theirs, ours=3)
        yield made


async def ask(
    world: World, one: Order, *, status: OperationStatus = OperationStatus.QUEUED, **changes: Any
) -> OperationId:
    """An operation that has Amazon ship the order."""
    id = operation.new_id()
    async with world.bench.store.begin() as tx:
        ground = await shipment.ground(tx, [one.id], world.bench.deps.locations)
        wanted = wanted_of(OutboundRequest(one.id, AMAZON, **changes), ground, f"out-{uuid4().hex[:12]}")
        await operation.create(
            tx,
            kind=Kind.SHIP_FROM_FBA,
            requested_by="tests",
            idempotency_key=None,
            request_hash=id,
            dry_run=False,
            status=status,
            items=[outbound.shipping(ground.orders[one.id], wanted)],
            id=id,
        )
    return id


async def ended(world: World, *ids: OperationId) -> None:
    """Wait until what was asked of Amazon (in these operations) has come to an end, whatever holds it up meanwhile."""
    c = operation_item.c
    asked = [c.capability == Capability.OUTBOUND.value, c.released, *([c.operation_id.in_(ids)] if ids else [])]

    async def done() -> bool:
        async with world.bench.store.begin() as tx:
            await tx.execute(update(operation_item).where(*asked).values(due_at=func.now()))
        await world.bench.drain()
        async with world.bench.store.begin() as tx:
            return set(await tx.scalars(select(c.status).where(*asked))) <= {"VERIFIED", "FAILED"}

    await until(done, within_s=180)


async def shown_at_shop(world: World, one: Order) -> None:
    """Wait until the shop has been seen to show that all of it has left."""

    async def shown() -> bool:
        await world.bench.drain(Lane(world.bench.shop.channel.id, Capability.SHIPMENTS))
        return (await world.bench.kept(one.id)).status is OrderStatus.SHIPPED

    await until(shown)


async def taken(world: World, one: Order) -> Followed:
    (found,) = await world.bench.outbound(one.id)
    return found


async def confirmations(world: World) -> list[dict[str, Any]]:
    """The payloads of parcels that the shop is told of."""
    async with world.bench.store.begin() as tx:
        rows = await tx.execute(
            select(operation_item.c.payload)
            .where(operation_item.c.capability == Capability.SHIPMENTS.value)
            .order_by(operation_item.c.id)
        )
    return [row.payload for row in rows]


async def places(world: World, id: OrderId) -> dict[str, tuple[int, int]]:
    """(promised, left) of the order by place."""
    c = order_allocation.c
    async with world.bench.store.begin() as tx:
        rows = await tx.execute(select(c.location, c.quantity, c.shipped).where(c.order_id == id))
    return {row.location: (row.quantity, row.shipped) for row in rows if row.quantity or row.shipped}


async def words(world: World, id: OrderId) -> list[str]:
    async with world.bench.store.begin() as tx:
        steps = (await timeline.by_orders(tx, [id])).get(id, [])
    return [one.words for one in steps if one.kind is StepKind.OUTBOUND]


# The first here: a list tells of all that has changed since then, whoever it was.
@ONE_VERSION
async def test_of_many_that_wait_a_list_tells_which_have_come_on(world: World) -> None:
    many = [await world.bench.ordered(world.sku, 1) for _ in range(5)]
    for one in many:
        await ask(world, one)
    await ended(world)
    # Planned, and seen long enough after that, so that no clock can be in doubt.
    for minutes in (6, 20):
        await world.wait(minutes=minutes)
        await world.bench.follow()
    assert {(await taken(world, one)).trouble for one in many} == {None}
    await world.wait(minutes=20)
    since = await world.sandbox.mark()
    await world.bench.follow()
    assert len(await world.sandbox.calls(since, "listAllFulfillmentOrders")) == 1
    assert await world.sandbox.calls(since, READ[world.version]) == []
    assert all([(await taken(world, one)).due_at for one in many])
    # Two have come on: they alone are looked at.
    for one in many[:2]:
        path = f"/fba/outbound/2020-07-01/fulfillmentOrders/{(await taken(world, one)).wanted.id}/status"
        seller = await Seller.login(world.sandbox.http)
        body = {"fulfillmentOrderStatus": "Complete"}
        (await world.sandbox.http.put(path, headers=seller.headers, json=body)).raise_for_status()
    since = await world.sandbox.mark()
    await world.bench.follow()
    assert len(await world.sandbox.calls(since, READ[world.version])) == 2
    assert len(await confirmations(world)) == 2
    # Without a list each is looked at.
    await faulty(world, "listAllFulfillmentOrders", "status")
    await world.bench.ordered(world.sku, 1)
    await world.bench.follow()
    assert len(await world.sandbox.calls(since, READ[world.version])) == 2 + 5


async def test_an_order_goes_out_and_its_shop_shows_the_parcel(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    assert await world.bench.promised(world.sku) == (3, 2)
    id = await ask(world, one)
    await ended(world, id)
    assert await statuses(world.bench.store, id) == ["VERIFIED"]
    sent = await taken(world, one)
    assert (await world.effects("created"), await world.pool()) == ([sent.wanted.id], 7)
    # Amazon's own count has been read since: Berlin has its units back, and the pool's are nobody else's.
    await following.count(world.bench.deps, [AMAZON], set())
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 0), {POOL: (2, 0)})
    await world.wait(hours=7)
    await world.bench.follow()
    await world.bench.follow()
    (told,) = await confirmations(world)
    sent = await taken(world, one)
    (parcel,) = sent.packages
    assert told["tracking_number"] == parcel.package.tracking_number
    assert (told["order_id"], told["lines"]) == (one.id, [[one.lines[0].external_id, 2]])
    assert parcel.package.whereabouts is Whereabouts.IN_TRANSIT
    assert await places(world, one.id) == {POOL: (0, 2)}
    await shown_at_shop(world, one)
    assert [effect.tracking_number for effect in world.bench.shop.effects] == [parcel.package.tracking_number]
    # It has left from Amazon, not from Berlin.
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 0), {POOL: (0, 2)})
    await world.wait(days=5)
    await world.bench.follow()
    sent = await taken(world, one)
    assert (sent.status, sent.packages[0].package.whereabouts) == (OutboundStatus.COMPLETE, Whereabouts.DELIVERED)
    assert sent.due_at is None
    assert len(await confirmations(world)) == 1
    story = await words(world, one.id)
    assert story[0] == f"2 units are to be shipped from fba-us, as {sent.wanted.id}."
    assert [line for line in story if line.endswith("is DELIVERED.")]


@ONE_VERSION
async def test_units_stay_promised_until_the_pool_counts_without_them(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ask(world, one)
    assert await world.bench.promised(world.sku) == (3, 2)
    await ended(world)
    async with world.bench.store.begin() as tx:
        await tx.execute(update(outbound_order).values(taken_at=func.now() + timedelta(days=999)))
    # Nothing that was read so far is later than that.
    assert await following.count(world.bench.deps, [AMAZON], set()) == 0
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 2), {BER: (2, 0)})
    async with world.bench.store.begin() as tx:
        await tx.execute(update(outbound_order).values(taken_at=func.now() - timedelta(hours=1)))
    assert await following.count(world.bench.deps, [AMAZON], set()) == 1
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 0), {POOL: (2, 0)})


@ONE_VERSION
async def test_nobody_else_ships_what_amazon_does(world: World) -> None:
    one = await world.bench.ordered(world.sku, 3)
    await ask(world, one, lines=None)
    async with world.bench.store.begin() as tx:
        orders, promises = await shipment.locked(tx, [one.id])
        assert promises.units[one.id, orders[one.id].lines[0].external_id] == 3
    await ended(world)
    async with world.bench.store.begin() as tx:
        _, promises = await shipment.locked(tx, [one.id])
        ground = await shipment.ground(tx, [one.id], world.bench.deps.locations)
    assert promises.units[one.id, one.lines[0].external_id] == 3
    with pytest.raises(Exception, match=r"Nothing of order .* is left to ship"):
        wanted_of(OutboundRequest(one.id, AMAZON), ground, "again")


@ONE_VERSION
async def test_a_preview_tells_cost_and_days_and_what_moved_since_is_refused_by_name(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    id = await ask(world, one, status=OperationStatus.PREVIEW)
    await world.bench.follow()
    item = await item_of(world.bench.store, id)
    told = {each["speed"]: each for each in json.loads(item.after)["preview"]["speeds"]}
    assert (told["STANDARD"]["possible"], told["PRIORITY"]["possible"]) == (True, False)
    assert told["STANDARD"]["fees"]
    assert told["STANDARD"]["arrivesUntil"] > told["EXPEDITED"]["arrivesUntil"]
    assert (await world.effects("created"), item.status) == ([], "PENDING")
    # Only Amazon has heard where it goes.
    assert "Quince" not in json.dumps(item.payload) + item.after
    await world.holds(1)
    async with world.bench.store.begin() as tx:
        await operation.approve(tx, id, "somebody")
    await ended(world, id)
    item = await item_of(world.bench.store, id)
    assert (item.status, item.error_code) == ("FAILED", "STOCK_MOVED")
    assert (await world.effects("created"), await world.bench.outbound(one.id)) == ([], [])
    assert await world.bench.promised(world.sku) == (3, 2)


@ONE_VERSION
async def test_an_approved_preview_is_shipped_just_so(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    id = await ask(world, one, status=OperationStatus.PREVIEW, speed=Speed.EXPEDITED)
    await world.bench.follow()
    async with world.bench.store.begin() as tx:
        await operation.approve(tx, id, "somebody")
    await ended(world, id)
    sent = await taken(world, one)
    assert sent.wanted.speed is Speed.EXPEDITED
    assert sent.preview is not None
    priced = sent.preview.of(Speed.EXPEDITED)
    assert priced is not None
    assert priced.fees
    assert len(await world.effects("created")) == 1


@ONE_VERSION
async def test_a_cancelled_outbound_order_gives_its_units_back_to_our_places(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    await world.bench.follow()
    await following.count(world.bench.deps, [AMAZON], set())
    assert await world.bench.promised(world.sku) == (3, 0)
    sent = await taken(world, one)
    await ended(world, await stop(world, sent))
    await world.bench.follow()
    assert (await taken(world, one)).status is OutboundStatus.CANCELLED
    assert (await world.effects("cancelled"), await world.pool()) == ([sent.wanted.id], 9)
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 2), {BER: (2, 0)})
    assert any("2 units are for other places to ship" in line for line in await words(world, one.id))
    # What is to be shipped all the same gets an id of its own.
    await ended(world, await ask(world, one))
    assert len(set(await world.effects("created"))) == 2


async def stop(world: World, sent: Followed) -> OperationId:
    async with world.bench.store.begin() as tx:
        orders, _ = await shipment.locked(tx, [sent.wanted.order])
        made, _ = await operation.create(
            tx,
            kind=Kind.CANCEL_OUTBOUND,
            requested_by="tests",
            idempotency_key=uuid4().hex,
            request_hash=uuid4().hex,
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[outbound.stopping(orders[sent.wanted.order], sent)],
        )
    return made.id


@ONE_VERSION
async def test_a_cancel_that_comes_too_late_fails_and_the_parcel_goes(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    sent = await taken(world, one)
    await world.wait(hours=2)
    id = await stop(world, sent)
    await ended(world, id)
    item = await item_of(world.bench.store, id)
    assert item.status == "FAILED"
    assert "too late" in item.error_message
    await world.wait(hours=6)
    await world.bench.follow()
    assert len(await confirmations(world)) == 1


@ONE_VERSION
async def test_an_order_that_its_shop_cancels_is_stopped_at_amazon(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    later = one.updated_at + timedelta(minutes=1)
    lines = [replace(line, quantity=0) for line in one.lines]
    await world.bench.keep(replace(one, status=OrderStatus.CANCELLED, updated_at=later, lines=lines))
    await world.bench.follow()
    await ended(world)
    await world.bench.follow()
    assert (await taken(world, one)).status is OutboundStatus.CANCELLED
    assert await world.effects("cancelled") == [(await taken(world, one)).wanted.id]
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 0), {})


@ONE_VERSION
async def test_what_cannot_be_sent_from_there_is_for_us_to_ship(world: World) -> None:
    one = await world.bench.ordered(world.sku, 3)
    await world.holds(2)
    await ended(world, await ask(world, one, policy=Policy.FILL_ALL_AVAILABLE))
    await world.bench.follow()
    await following.count(world.bench.deps, [AMAZON], set())
    await world.wait(hours=7)
    await world.bench.follow()
    assert (await taken(world, one)).status is OutboundStatus.PARTLY_COMPLETE
    assert await places(world, one.id) == {POOL: (0, 2), BER: (1, 0)}
    (told,) = await confirmations(world)
    assert told["lines"] == [[one.lines[0].external_id, 2]]


@ONE_VERSION
async def test_without_an_address_nothing_is_sent_and_nothing_of_it_is_kept(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2, person=None)
    async with world.bench.store.begin() as tx:
        ground = await shipment.ground(tx, [one.id], world.bench.deps.locations)
    with pytest.raises(Exception, match="buyers = true"):
        wanted_of(OutboundRequest(one.id, AMAZON), ground, "nobody")
    other = await world.bench.ordered(world.sku, 1)
    id = await ask(world, other)
    world.bench.deps = replace(world.bench.deps, ring=Keyring([Fernet.generate_key().decode()]))
    await ended(world)
    item = await item_of(world.bench.store, id)
    assert (item.status, await world.effects("created")) == ("FAILED", [])
    assert "ACORN_KEYS" in item.error_message


@ONE_VERSION
async def test_an_order_that_was_shipped_meanwhile_is_not_sent_again(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    id = await ask(world, one)
    lines = [replace(line, quantity_shipped=2) for line in one.lines]
    later = one.updated_at + timedelta(minutes=1)
    await world.bench.keep(replace(one, status=OrderStatus.SHIPPED, updated_at=later, lines=lines))
    await ended(world)
    item = await item_of(world.bench.store, id)
    assert (item.status, item.error_code, await world.effects("created")) == ("FAILED", "CONFLICT", [])


@ONE_VERSION
async def test_what_cannot_be_looked_at_says_why_and_is_looked_at_again(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    fault = {"operation": READ[world.version], "kind": "status", "status": 500, "count": 1}
    await world.sandbox.post("faults", {"faults": [fault]})
    await world.bench.follow()
    troubled = await taken(world, one)
    assert troubled.trouble is not None
    assert troubled.due_at is not None
    await world.bench.follow()
    assert (await taken(world, one)).trouble is None


@ONE_VERSION
@pytest.mark.parametrize(("approval", "created"), [(True, 0), (False, 1)])
async def test_a_rule_has_the_pool_ship_what_our_places_cannot(world: World, approval: bool, created: int) -> None:
    rule = FbaRule(AMAZON, POOL, approval=approval)
    world.bench.deps = replace(world.bench.deps, fba={world.bench.shop.channel.id: rule})
    ours, theirs = await world.bench.ordered(world.sku, 3), await world.bench.ordered(world.sku, 4)
    more = await world.bench.ordered(world.sku, 10, ship_by=datetime.now(UTC))
    # Read once, so that it is known what the pool has.
    await read_pool(world)
    # The most urgent one, which the pool has too little of, holds up none; it is looked at again when all were.
    passed: set[OrderId] = set()
    rounds = [(await following.apply_rules(world.bench.deps, passed, at_once=1), set(passed)) for _ in range(4)]
    assert rounds == [(0, {more.id}), (1, {more.id}), (0, set()), (0, {more.id})]
    await ended(world)
    assert len(await world.effects("created")) == created
    assert [len(await world.bench.outbound(one.id)) for one in (ours, theirs, more)] == [0, created, 0]
    await world.bench.follow()
    async with world.bench.store.begin() as tx:
        row = (await tx.execute(select(operation_table))).one()
        item = (await tx.execute(select(operation_item).where(operation_item.c.capability == "outbound"))).one()
    assert (row.requested_by, row.status == "AWAITING_APPROVAL") == ("acorn", approval)
    assert ("preview" in json.loads(item.after)) is approval


async def read_pool(world: World) -> None:
    (place,) = [one for one in world.bench.deps.locations if one.code == POOL]
    readings = await world.bench.desk.port.stock([place], [StockKey(ChannelSku(world.theirs))], Ask())
    async with world.bench.store.begin() as tx:
        await stock.keep_and_tell(tx, readings)


@ONE_VERSION
async def test_a_hint_has_it_looked_at_at_once(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    await world.bench.follow()
    sent = await taken(world, one)
    assert sent.due_at is not None
    hint = Hint(AMAZON, "n-1", "FULFILLMENT_ORDER_STATUS", HintKind.FULFILLMENT, sent.wanted.id, datetime.now(UTC))
    async with world.bench.store.begin() as tx:
        await take(tx, [hint])
    assert await Hints(world.bench.deps, lambda: None).once() == 1
    hurried = await taken(world, one)
    assert hurried.due_at is not None
    assert hurried.due_at < sent.due_at
    async with world.bench.store.begin() as tx:
        assert [found.wanted.id for found in await outbound.claim(tx, [AMAZON], 10.0)] == [sent.wanted.id]


@ONE_VERSION
@pytest.mark.parametrize("fault", ["apply_then_reset", "status"])
async def test_a_lost_answer_ends_in_one_order(world: World, fault: str) -> None:
    one = await world.bench.ordered(world.sku, 2)
    id = await ask(world, one)
    await faulty(world, CREATE[world.version], fault)
    await ended(world, id)
    assert await statuses(world.bench.store, id) == [ItemStatus.VERIFIED.value]
    assert await world.effects("created") == [(await taken(world, one)).wanted.id]


@ONE_VERSION
async def test_what_was_sent_before_its_address_was_lost_is_found_there(world: World) -> None:
    one = await world.bench.ordered(world.sku, 1)
    id, deps = await ask(world, one), world.bench.deps
    wanted = Wanted.from_json((await item_of(deps.store, id)).payload)

    async def go() -> None:
        pass

    await outbound_of(deps, AMAZON).create(await addressed(deps, wanted), Ask(), go)
    async with deps.store.begin() as tx:
        sent = {"status": ItemStatus.SENT.value, "attempts": 1, "checks": 2, "sent_at": func.now()}
        await tx.execute(update(operation_item).where(operation_item.c.operation_id == id).values(**sent))
    world.bench.deps = replace(deps, ring=Keyring([Fernet.generate_key().decode()]))
    await ended(world, id)
    assert await statuses(deps.store, id) == [ItemStatus.VERIFIED.value]
    assert await world.effects("created") == [(await taken(world, one)).wanted.id]


async def faulty(world: World, operation: str, kind: str) -> None:
    fault = {"operation": operation, "kind": kind, "count": 1, "status": 503}
    await world.sandbox.post("faults", {"faults": [fault]})


async def test_whichever_worker_dies_where_there_is_one_order_and_one_confirmation(
    world: World, database_url: str, redis_url: str
) -> None:
    deaths = DEATHS[world.version]
    for place in deaths:
        one = await world.bench.ordered(world.sku, 1)
        await ask(world, one)
        await die(world, database_url, redis_url, place)
    await ended(world)
    assert len(await world.effects("created")) == len(set(await world.effects("created"))) == len(deaths)
    await world.wait(hours=7)
    await world.bench.follow()
    await world.bench.follow()
    numbers = [told["tracking_number"] for told in await confirmations(world)]
    assert len(numbers) == len(set(numbers)) == len(deaths)


@ONE_VERSION
async def test_a_parcel_is_confirmed_once_wherever_its_worker_dies(
    world: World, database_url: str, redis_url: str
) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    await world.wait(hours=7)
    for place in [one for one in crash.POINTS if "outbound" in one]:
        await die(world, database_url, redis_url, place)
    await world.bench.follow()
    (told,) = await confirmations(world)
    assert told["tracking_number"] == (await taken(world, one)).packages[0].package.tracking_number
    assert await places(world, one.id) == {POOL: (0, 2)}


@ONE_VERSION
@pytest.mark.parametrize("place", ["after_intent", "after_send", "inside_record"])
async def test_an_order_is_stopped_and_a_unit_announced_once_wherever_a_worker_dies(
    world: World, database_url: str, redis_url: str, place: str
) -> None:
    gone = await world.bench.ordered(world.sku, 2)
    await delivered(world, gone)
    kept = await world.bench.ordered(world.sku, 1)
    await ended(world, await ask(world, kept))
    before = await taken(world, kept)
    for stops in (True, False):
        id = await (stop(world, before) if stops else send_back(world, gone))
        await die(world, database_url, redis_url, place)
        await ended(world, id)
        assert await statuses(world.bench.store, id) == ["VERIFIED"]
    await world.bench.follow()
    assert (await taken(world, kept)).status is OutboundStatus.CANCELLED
    assert await world.effects("cancelled") == [(await taken(world, kept)).wanted.id]
    assert await world.effects("returned") == [(await taken(world, gone)).wanted.id]
    assert await places(world, kept.id) == {BER: (1, 0)}
    assert len((await taken(world, gone)).returns) == 2
    assert sum(one.units(PieceKind.ANNOUNCED) for one in await chains_of(world, gone)) == 2


async def delivered(world: World, one: Order) -> None:
    """Amazon has brought it, and the shop shows the parcel."""
    await ended(world, await ask(world, one))
    await world.wait(days=5)
    await world.bench.follow()
    await shown_at_shop(world, one)


async def send_back(world: World, one: Order, reason: str = "CR-UNWANTED_ITEM") -> OperationId:
    """An operation that announces all of it."""
    sent = await taken(world, one)
    units = [str(line) for line, count in sent.returnable.items() for _ in range(count)]
    named = tuple(ReturnUnit(f"back-{number}-{sent.wanted.id}", line) for number, line in enumerate(units))
    async with world.bench.store.begin() as tx:
        orders, _ = await shipment.locked(tx, [one.id])
        wanted = ReturnWanted(sent.wanted.id, named, reason, "Too small")
        made, _ = await operation.create(
            tx,
            kind=Kind.RETURN_OUTBOUND,
            requested_by="tests",
            idempotency_key=None,
            request_hash=uuid4().hex,
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[outbound_return.returning(orders[one.id], sent, wanted)],
        )
    return made.id


async def open_links(world: World, one: Order) -> Counter[Gap]:
    """Units by what they lack."""
    found: Counter[Gap] = Counter()
    for each in await chains_of(world, one):
        for gap in gaps(each, world.bench.deps.clock()):
            found[gap.gap] += gap.units
    return found


async def chains_of(world: World, one: Order) -> list[Chain]:
    async with world.bench.store.begin() as tx:
        return (await chain.by_orders(tx, [one.id])).get(one.id, [])


@ONE_VERSION
async def test_units_come_back_to_the_pool_and_are_counted_there_alone(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await delivered(world, one)
    assert (await taken(world, one)).due_at is None
    await ended(world, await send_back(world, one, "CR-DEFECTIVE"))
    sent = await taken(world, one)
    assert [each.unit.rma is not None for each in sent.returns] == [True, True]
    assert await open_links(world, one) == {Gap.NOT_BACK: 2}
    async with world.bench.store.begin() as tx:
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
    (told,) = [step.words for step in steps if step.kind is StepKind.RETURNED]
    assert told == f"2 units are to come back to fba-us, RMA {sent.returns[0].unit.rma}."
    await world.wait(days=8)
    await world.bench.follow()
    sent = await taken(world, one)
    assert {each.unit.condition for each in sent.returns} == {ReturnCondition.DEFECTIVE}
    assert sent.due_at is None
    # The shop tells of the same units: they came back once, and only the buyer's money is still to go.
    async with world.bench.store.begin() as tx:
        piece = Piece(
            one.channel,
            PieceKind.ANNOUNCED,
            "shop-1",
            one.external_id,
            one.lines[0].channel_sku,
            2,
            world.bench.deps.clock(),
        )
        await chain.keep(tx, [piece])
    assert await open_links(world, one) == {Gap.NOT_REFUNDED: 2}
    assert (await world.bench.promised(world.sku), await places(world, one.id)) == ((3, 0), {POOL: (0, 2)})


@ONE_VERSION
async def test_the_order_that_amazon_shows_for_it_is_none_of_ours(world: World) -> None:
    one = await world.bench.ordered(world.sku, 1)
    await ended(world, await ask(world, one))
    shown = [each["id"] for each in (await world.sandbox.get("world", limit=1000))["orders"]]
    (theirs,) = [id for id in shown if id.startswith("S")][-1:]
    since = await world.sandbox.mark()
    hint = Hint(AMAZON, "n-2", "ORDER_CHANGE", HintKind.ORDER, theirs, datetime.now(UTC))
    async with world.bench.store.begin() as tx:
        await take(tx, [hint])
    await Hints(world.bench.deps, lambda: None).once()
    assert [call["status"] for call in await world.sandbox.calls(since, "getOrder")] == [200]
    async with world.bench.store.begin() as tx:
        assert list(await tx.scalars(select(order_table.c.external_id))) == [one.external_id]
    assert await world.bench.promised(world.sku) in ((3, 0), (3, 1))


@ONE_VERSION
async def test_what_a_pool_keeps_is_not_moved_to_another_place(world: World) -> None:
    one = await world.bench.ordered(world.sku, 2)
    await ended(world, await ask(world, one))
    await world.bench.follow()
    await following.count(world.bench.deps, [AMAZON], set())
    berlin = next(place for place in world.bench.deps.locations if place.code == BER)
    with pytest.raises(Conflict, match="cancelOutbound"):
        async with world.bench.store.begin() as tx:
            await fulfillment.move(tx, one.id, POOL, berlin, by="tests", why="strike")
    assert await places(world, one.id) == {POOL: (2, 0)}


async def die(world: World, database_url: str, redis_url: str, place: str) -> None:
    """A worker dies at that place."""
    asked = (database_url, redis_url, KEY, world.sandbox.url, world.version, place)
    worker = FORKS.Process(target=outbound_worker.ship, args=asked, daemon=True)
    await asyncio.to_thread(worker.start)
    try:
        await asyncio.to_thread(worker.join, 180)
        assert worker.exitcode == 137, place
        # Its leases end.
        async with world.bench.store.begin() as tx:
            await tx.execute(update(operation_item).values(lease_until=None, due_at=func.now()))
    finally:
        worker.kill()
        await asyncio.to_thread(worker.join)
