"""Parcels that leave in a file: the end of a long line, each once in effect wherever a worker dies, seen like any other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.bulk_shipments import Bulk, Fate, InFile
from adapters.port import BeforeSend, OrderKey, Parcel, Receipt
from domain.budget import Ask
from domain.channel import Platform
from domain.errors import HouseError, MissingRole, OutcomeUnknown, Refused, Throttled, Transient, Unauthorized
from domain.ids import ChannelId, OperationId
from domain.operation import Outcome
from domain.order import Shipment
from store import agenda, operation, order
from store.session import Store
from tests.workers.fake_port import FakePort, make_order, make_port
from tests.workers.house import SHORT, drained, make_deps, make_lanes, ship, statuses, until
from workers import shipment_files
from workers.calls import Hold
from workers.deps import Deps
from workers.shipment_files import ShipmentFiles
from workers.writes import UNKNOWN_SENDS

ID = ChannelId("shop")
AHEAD = 2


@dataclass
class Filer(FakePort):
    """Takes files: all that waits but the first two. `loses` answers are lost after the effect, `against` is said of single
    parcels, and a file is worked through at the `slow`th look. `problem` comes before the intent, `problem_late` after it."""

    files: list[list[str]] = field(default_factory=list)
    loses: int = 0
    slow: int = 0
    problem: HouseError | None = None
    problem_late: HouseError | None = None
    budgets_away: int = 0
    against: dict[str, Refused] = field(default_factory=dict)
    asked: list[InFile] = field(default_factory=list)

    async def for_bulk(self, waiting: int) -> int:
        if self.budgets_away:
            self.budgets_away -= 1
            raise Throttled("Redis is away.", retry_after_s=1.0)
        return max(0, waiting - AHEAD)

    async def confirm_in_bulk(self, parcels: Bulk, ask: Ask, before_send: BeforeSend) -> Receipt:
        if self.problem is not None:
            raise self.problem
        await before_send()
        if self.problem_late is not None:
            raise self.problem_late
        for key, parcel in parcels:
            if key.external_id not in self.against:
                await FakePort.confirm_shipment(self, key, parcel, ask, _go)
        self.files.append([parcel.reference for _, parcel in parcels])
        if self.loses:
            self.loses -= 1
            raise OutcomeUnknown("The answer was lost.")
        return Receipt("r-file", f"file-{len(self.files)}")

    async def parcel_in_bulk(self, key: OrderKey, parcel: Parcel, sent: InFile, ask: Ask) -> Fate:
        self.asked.append(sent)
        if len(self.asked) <= self.slow:
            return Fate(again_s=0.01)
        if key.external_id in self.against:
            return Fate(refused=self.against[key.external_id])
        return Fate(await self.parcel_seen(key, parcel, ask))


async def _go() -> None:
    """What is in the file has its intent."""


@pytest.fixture
def port() -> Filer:
    made = make_port()
    return Filer(made.channel, visibility_lag_s=0.05, compares=made.channel.platform is Platform.SHOPIFY)


@pytest.fixture
def deps(store: Store, redis: Redis, port: Filer, monkeypatch: pytest.MonkeyPatch) -> Deps:
    monkeypatch.setattr(shipment_files, "LOOK_AFTER_S", 0.05)
    return make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.05))


async def line(store: Store, port: Filer, count: int) -> OperationId:
    """An operation with a parcel of each of so many orders; the first must leave soonest."""
    orders = [replace(make_order(port, f"{number}"), marketplace="US") for number in range(count)]
    port.orders |= {one.external_id: one for one in orders}
    async with store.begin() as tx:
        await order.upsert(tx, orders)
    id = await ship(store, orders)
    async with store.begin() as tx:
        await tx.execute(
            text("update operation_item set deadline_at = now() + interval '1 hour' + id * interval '1 second'")
        )
    return id


async def belong(store: Store, marketplace: str, *places: int) -> None:
    """The parcels at these places of the line are of another marketplace."""
    async with store.begin() as tx:
        await tx.execute(
            text(
                "update operation_item set payload = payload || jsonb_build_object('marketplace', cast(:code as text)) "
                "where (select count(*) from operation_item before where before.id < operation_item.id) = any(:places)"
            ),
            {"code": marketplace, "places": list(places)},
        )


async def one_look(deps: Deps, port: Filer, hold: Hold | None = None) -> int:
    return await ShipmentFiles(deps, lambda: None).once(ID, port, hold or Hold())


async def seen_out(deps: Deps, id: OperationId, *wanted: str) -> None:
    """The lane works until all stand as wanted."""
    lanes = make_lanes(deps)

    async def stand() -> bool:
        await drained(lanes, ID)
        return Counter(await statuses(deps.store, id)) == Counter(wanted)

    await until(stand, within_s=60.0)


def units(port: Filer) -> Counter[str]:
    return Counter(effect.order for effect in port.effects)


async def test_the_end_of_the_line_leaves_in_one_file_and_the_urgent_ones_by_themselves(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 6)
    port.slow = 5
    assert await one_look(deps, port) == 4
    assert await statuses(store, id) == ["PENDING"] * AHEAD + ["ACCEPTED"] * 4
    assert await one_look(deps, port) == 0  # what is left is the lane's
    await seen_out(deps, id, *["VERIFIED"] * 6)
    assert units(port) == Counter([str(number) for number in range(6)])
    assert {len(one) for one in port.files} == {4}
    assert {one.file for one in port.asked} == {"file-1"}


async def test_what_the_platform_says_against_one_parcel_is_its_own(store: Store, deps: Deps, port: Filer) -> None:
    id = await line(store, port, 5)
    port.against["4"] = Refused("Amazon did not confirm it: it is more than is left.")
    await one_look(deps, port)
    await seen_out(deps, id, *["VERIFIED"] * 4, "FAILED")
    port.against.clear()
    async with store.begin() as tx:
        await operation.retry(tx, id)
    await seen_out(deps, id, *["VERIFIED"] * 5)
    assert units(port) == Counter([str(number) for number in range(5)])
    # It left by itself the second time, and was not looked for in a file.
    assert port.files == [port.files[0]]


@pytest.mark.parametrize(
    "problem",
    [
        Throttled("No slot.", retry_after_s=900.0),
        Refused("Such files are not taken."),
        MissingRole("No role for files."),
        Transient("The login does not answer."),
    ],
)
async def test_what_is_said_against_a_file_is_not_said_against_its_parcels(
    store: Store, deps: Deps, port: Filer, problem: HouseError
) -> None:
    id = await line(store, port, 4)
    port.problem, hold = problem, Hold()
    assert await one_look(deps, port, hold) == 0
    assert not hold.over
    assert (await statuses(store, id), port.effects) == (["PENDING"] * 4, [])
    await seen_out(deps, id, *["VERIFIED"] * 4)


async def test_what_is_urgent_is_left_to_the_lane_also_where_most_are_of_its_marketplace(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 9)
    await belong(store, "CA", 6, 7, 8)
    port.slow = 5
    # The last seven: four of the US, three of Canada.
    assert await one_look(deps, port) == 4
    assert await statuses(store, id) == ["PENDING"] * AHEAD + ["ACCEPTED"] * 4 + ["PENDING"] * 3
    # Of the five that are left, the last three are of Canada; the two urgent ones stay, though they are of the US.
    assert await one_look(deps, port) == 3
    assert await statuses(store, id) == ["PENDING"] * AHEAD + ["ACCEPTED"] * 7


async def test_what_is_late_already_stands_at_the_end_as_it_does_in_the_lane(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 4)
    async with store.begin() as tx:
        await tx.execute(
            text(
                "update operation_item set deadline_at = now() - interval '1 hour' where id in "
                "(select id from operation_item order by id limit 2)"
            )
        )
    assert await one_look(deps, port) == 2
    assert await statuses(store, id) == ["ACCEPTED"] * 2 + ["PENDING"] * 2


async def test_a_file_that_is_refused_again_and_again_costs_its_parcels_nothing(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 3)
    port.problem_late = Refused("Such files are not taken.")
    for _ in range(UNKNOWN_SENDS + 1):
        assert await one_look(deps, port) == 0
    async with store.begin() as tx:
        attempts = await tx.scalar(text("select max(attempts) from operation_item"))
    assert (await statuses(store, id), attempts) == (["PENDING"] * 3, 1)


async def test_budgets_that_cannot_be_read_end_no_loop(
    store: Store, deps: Deps, port: Filer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipment_files, "LOOK_EVERY_S", 0.01)
    await line(store, port, 4)
    port.budgets_away = 1
    task = asyncio.create_task(ShipmentFiles(deps, lambda: None).run())

    async def left() -> bool:
        return bool(port.files)

    try:
        await until(left, within_s=60.0)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_came_of_a_file_is_kept_when_the_database_is_back(
    store: Store, deps: Deps, port: Filer, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await line(store, port, 4)
    record, away = agenda.record, [OperationalError("", None, Exception())]

    async def recorded(tx: AsyncConnection, outcomes: Sequence[Outcome]) -> list[int]:
        if away:
            raise away.pop()
        return await record(tx, outcomes)

    monkeypatch.setattr(agenda, "record", recorded)
    assert await one_look(deps, port) == 2
    assert await statuses(store, id) == ["PENDING"] * AHEAD + ["ACCEPTED"] * 2


async def test_the_file_before_is_not_taken_for_the_one_without_an_answer(
    store: Store, deps: Deps, port: Filer, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await line(store, port, 4)
    port.against["3"] = Refused("Amazon did not confirm it: no such carrier.")
    await one_look(deps, port)
    await seen_out(deps, id, *["VERIFIED"] * 3, "FAILED")
    port.against.clear()
    async with store.begin() as tx:
        await operation.retry(tx, id)
    monkeypatch.setitem(globals(), "AHEAD", 0)
    port.loses = 1
    port.asked.clear()
    assert await one_look(deps, port, hold := Hold()) == 0
    assert not hold.over  # as long as nobody knows what became of it, no other shares its doubts
    await seen_out(deps, id, *["VERIFIED"] * 4)
    assert {(one.file, one.before) for one in port.asked} == {(None, "file-1")}


async def test_credentials_that_are_refused_pause_the_channel(store: Store, deps: Deps, port: Filer) -> None:
    id = await line(store, port, 4)
    port.problem = Unauthorized("The consent was withdrawn.")
    assert await one_look(deps, port) == 0
    async with store.begin() as tx:
        paused = (await tx.execute(text("select paused_reason from channel_state"))).scalars().all()
    assert (await statuses(store, id), paused) == (["PENDING"] * 4, ["The consent was withdrawn."])


async def test_without_an_answer_each_is_looked_for_and_none_is_sent_again(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 5)
    port.loses = 1
    assert await one_look(deps, port) == 0
    assert await statuses(store, id) == ["PENDING"] * AHEAD + ["SENT"] * 3
    await seen_out(deps, id, *["VERIFIED"] * 5)
    assert units(port) == Counter([str(number) for number in range(5)])
    assert {one.file for one in port.asked} == {None}


async def test_an_order_that_was_read_meanwhile_and_shows_the_parcel_needs_no_look(
    store: Store, deps: Deps, port: Filer
) -> None:
    id = await line(store, port, 3)
    await one_look(deps, port)
    now = datetime.now(UTC)
    async with store.begin() as tx:
        sent = (await tx.execute(text("select payload from operation_item where status = 'ACCEPTED'"))).scalar_one()
        kept = (await order.by_ids(tx, [sent["order_id"]]))[sent["order_id"]]
        parcel = Shipment("1", "DHL", sent["tracking_number"], now)
        lines = [replace(one, quantity_shipped=one.quantity) for one in kept.lines]
        told = replace(kept, shipments=[parcel], lines=lines, updated_at=now, read_at=now + timedelta(seconds=5))
        await order.upsert(tx, [told])
    await seen_out(deps, id, *["VERIFIED"] * 3)
    assert port.asked == []


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    "place", ["after_claim", "before_intent", "after_intent", "after_send", "before_record", "after_record"]
)
async def test_each_parcel_has_one_effect_wherever_the_worker_dies(
    store: Store, deps: Deps, port: Filer, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = await line(store, port, 5)
    monkeypatch.setattr(shipment_files, "point", _dying(place))
    with pytest.raises(Died):
        await one_look(deps, port)
    async with store.begin() as tx:
        await tx.execute(text("update operation_item set lease_until = now() where lease_until is not null"))
    await seen_out(deps, id, *["VERIFIED"] * 5)
    assert units(port) == Counter([str(number) for number in range(5)])


def _dying(place: str) -> Callable[[str], None]:
    def point(name: str) -> None:
        if name == place:
            raise Died

    return point


async def test_two_workers_never_take_the_same_parcel(store: Store, deps: Deps, port: Filer) -> None:
    id = await line(store, port, 12)
    left = await asyncio.gather(*(one_look(deps, port) for _ in range(4)))
    assert sum(left) == 12 - AHEAD
    await seen_out(deps, id, *["VERIFIED"] * 12)
    assert units(port) == Counter([str(number) for number in range(12)])
