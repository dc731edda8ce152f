"""What becomes of one shipment, whatever the platform answers: one effect, and the right end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, update

from adapters.port import BeforeSend, OrderKey, Parcel, Receipt
from domain.budget import Ask
from domain.errors import Conflict, MissingRole, NotFound, Throttled, Transient, Unauthorized
from domain.event import EventKind
from domain.ids import LineId
from domain.operation import OperationStatus
from domain.order import Order, OrderStatus, Shipment
from store import event, operation, order
from store.channel import states
from store.session import Store
from store.tables import channel_state, operation_item
from tests.workers.fake_port import FakePort, Fault, make_port
from tests.workers.house import (
    SHOP,
    SHORT,
    Away,
    drained,
    item_of,
    leases_over,
    make_deps,
    make_lanes,
    operation_of,
    place_orders,
    ship,
    statuses,
    until,
    until_status,
    working,
)
from workers.lanes import Lanes


async def _true(value: bool) -> bool:
    return value


@pytest.fixture
def port() -> FakePort:
    return make_port()


async def test_a_shipment_is_sent_taken_and_seen_live(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    item = await item_of(store, id)
    assert (item.attempts, item.error_code, item.upstream_request_id) == (1, None, "r-look")
    assert [(effect.order, effect.reference) for effect in port.effects] == [(one.external_id, str(item.id))]
    done = await operation_of(store, id)
    assert (done.status, done.progress.verified, done.progress.failed) == (OperationStatus.SUCCEEDED, 1, 0)
    async with store.begin() as tx:
        kept = (await order.by_ids(tx, [one.id]))[one.id]
        told = await event.after(tx, 0)
    assert kept.status is OrderStatus.SHIPPED
    [parcel] = kept.shipments
    assert parcel.tracking_number == item.payload["tracking_number"]
    assert parcel.channel_confirmed_at is not None
    assert [one.data["status"] for one in told if one.kind is EventKind.OPERATION_CHANGED] == [
        "QUEUED",
        "RUNNING",
        "RUNNING",
        "SUCCEEDED",
    ]
    assert [change.subject for change in told if change.kind is EventKind.ORDER_CHANGED] == [one.id]


async def test_what_was_taken_is_not_looked_at_before_the_lag_is_over(
    store: Store, redis: Redis, port: FakePort
) -> None:
    port.visibility_lag_s = 30.0
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    await drained(make_lanes(make_deps(store, redis, [port])), "shop")
    item = await item_of(store, id)
    assert (item.status, port.calls["look"]) == ("ACCEPTED", 0)
    assert timedelta(seconds=29) < item.due_at - item.accepted_at <= timedelta(seconds=31)


class Naming(FakePort):
    """Gives a parcel names of its own, and is to be looked at later, though it shows it at once."""

    async def confirm_shipment(self, key: OrderKey, parcel: Parcel, ask: Ask, before_send: BeforeSend) -> Receipt:
        self.visibility_lag_s = 0.0
        receipt = await FakePort.confirm_shipment(self, key, parcel, ask, before_send)
        self.visibility_lag_s = 600.0
        return replace(receipt, reference=f"F{parcel.reference} G{parcel.reference}")


@pytest.mark.parametrize(
    ("names", "units", "looks"),
    [
        (("F{}", "G{}"), 2, 0),
        (("F{}",), 2, 1),  # the other half may be missing
        (("F{}", "G{}"), 1, 1),  # the counts trail the parcels
        (("H", "I"), 2, 1),  # what has the same number may be another parcel
    ],
)
async def test_a_parcel_that_a_hint_has_shown_whole_meanwhile_is_not_looked_for(
    store: Store, redis: Redis, names: tuple[str, ...], units: int, looks: int
) -> None:
    port = Naming(make_port().channel)
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    deps = make_deps(store, redis, [port])
    await drained(make_lanes(deps), "shop")
    item, now = await item_of(store, id), datetime.now(UTC)
    assert item.status == "ACCEPTED"
    parcels = [Shipment(name.format(item.id), "DHL", item.payload["tracking_number"], now) for name in names]
    lines = [replace(line, quantity_shipped=units) for line in one.lines]
    told = replace(one, shipments=parcels, lines=lines, updated_at=now, read_at=now + timedelta(seconds=5))
    async with store.begin() as tx:
        await order.upsert(tx, [told])
        await tx.execute(update(operation_item).values(due_at=func.now()))
    await drained(make_lanes(deps), "shop")
    assert (await statuses(store, id), port.calls["look"]) == (["VERIFIED"], looks)


@pytest.mark.parametrize("fault", [Fault.APPLIED_THEN_LOST, Fault.APPLIED_THEN_BUG])
async def test_an_answer_that_was_lost_is_read_back_and_never_sent_again(
    store: Store, redis: Redis, port: FakePort, fault: Fault
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.append(fault)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"], (await item_of(store, id)).attempts) == (1, 1, 1)


async def test_a_shipment_that_is_provably_absent_is_sent_again(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    # Nobody looks before the test has.
    port.visibility_lag_s = 600.0
    port.faults.append(Fault.LOST)
    id = await ship(store, [one])
    lanes = make_lanes(make_deps(store, redis, [port]))
    await drained(lanes, "shop")
    unknown = await item_of(store, id)
    assert (unknown.status, unknown.error_code, unknown.upstream_request_id) == ("SENT", "OUTCOME_UNKNOWN", "r-500")
    port.visibility_lag_s = 0.5
    async with store.begin() as tx:
        after = unknown.sent_at + timedelta(seconds=port.visibility_lag_s)
        await tx.execute(update(operation_item).values(due_at=after))
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    item = await item_of(store, id)
    assert (len(port.effects), port.calls["confirm"], item.attempts) == (1, 2, 2)
    # It was absent at the end of the lag, and again when the platform could no longer be at it.
    assert item.sent_at - unknown.sent_at >= timedelta(seconds=port.visibility_lag_s + SHORT.settle_s)


async def test_a_late_effect_is_found_before_it_could_be_sent_again(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.append(Fault.APPLIED_THEN_LOST)
    deps = make_deps(store, redis, [port], timing=replace(SHORT, settle_s=1.0))
    id = await ship(store, [one])
    # The platform shows it later than it promises, but before it could no longer be at it.
    port.visibility_lag_s = 0.6
    await drained(make_lanes(deps), "shop")
    port.visibility_lag_s = 0.1
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(due_at=func.now()))
    async with working(deps):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"]) == (1, 1)


async def test_outcomes_that_stay_unknown_are_parked_for_people(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    port.visibility_lag_s = 0.0
    port.faults.extend([Fault.LOST] * 5)
    id = await ship(store, [one])
    deps = make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.0))
    async with working(deps):
        await until_status(store, id, "PARKED")
        item = await item_of(store, id)
        assert (item.attempts, item.error_code, port.calls["confirm"]) == (5, "OUTCOME_UNKNOWN", 5)
        assert "tried 5 times" in item.error_message
        async with store.begin() as tx:
            await operation.retry(tx, id)
        await until_status(store, id, "VERIFIED")
    assert len(port.effects) == 1


async def test_a_send_held_back_by_doubt_is_tried_five_times_then_parked(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.visibility_lag_s = 0.0
    port.faults.extend([Fault.DOUBTED] * 20)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.0))):
        await until_status(store, id, "PARKED")
    item = await item_of(store, id)
    assert (item.attempts, item.error_code, port.calls["confirm"], port.effects) == (5, "OUTCOME_UNKNOWN", 5, [])


async def test_the_rest_of_a_parcel_follows_its_first_half_and_cannot_be_cancelled(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.visibility_lag_s = 0.0
    # Each failure after the first half changed nothing by itself.
    port.faults.extend([Fault.HALF_APPLIED_THEN_LOST, Fault.NO_BUDGET, Fault.TOO_MANY, Fault.LOGIN_DOWN])
    id = await ship(store, [one])
    found: list[list[str]] = []

    async def at_the_intent(order: str, parcel: Parcel) -> None:
        found.append(await statuses(store, id))
        if len(found) > 1:
            async with store.begin() as tx:
                with pytest.raises(Conflict, match="nothing is left to cancel"):
                    await operation.cancel(tx, id)

    port.before_intent = at_the_intent
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.0))):
        await until_status(store, id, "VERIFIED")
    assert (found, port.calls["confirm"]) == ([["PENDING"], ["SENT"], ["SENT"]], 5)
    item = await item_of(store, id)
    assert ([effect.reference for effect in port.effects], item.attempts) == ([str(item.id)] * 2, 2)


async def test_what_cannot_be_read_back_is_looked_at_again_then_parked(
    store: Store, redis: Redis, port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.writes.LOOKS", 2)
    [one] = await place_orders(store, port, 1)
    port.faults.append(Fault.APPLIED_THEN_LOST)
    port.look_faults.extend([Throttled("No slot.", retry_after_s=0.1)] + [Transient("It does not answer.")] * 3)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.1))):
        await until_status(store, id, "PARKED")
        item = await item_of(store, id)
        assert (item.error_code, item.error_message) == ("UPSTREAM_UNAVAILABLE", "It does not answer.")
        port.look_faults.clear()
        async with store.begin() as tx:
            await operation.retry(tx, id)
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"]) == (1, 1)


# That it ever left the house stays written on the row, so the first 429 counts as one.
@pytest.mark.parametrize(("fault", "attempts"), [(Fault.NO_BUDGET, 1), (Fault.TOO_MANY, 2)])
async def test_however_often_it_is_throttled_it_is_no_attempt(
    store: Store, redis: Redis, port: FakePort, fault: Fault, attempts: int
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.extend([fault] * 3)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"], (await item_of(store, id)).attempts) == (1, 4, attempts)


@pytest.mark.parametrize(("fault", "attempts"), [(Fault.LOGIN_DOWN, 1), (Fault.NOT_CONNECTED, 3)])
async def test_a_failure_that_changed_nothing_is_tried_again(
    store: Store, redis: Redis, port: FakePort, fault: Fault, attempts: int
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.extend([fault] * 2)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"], (await item_of(store, id)).attempts) == (1, 3, attempts)


async def test_after_eight_sends_that_changed_nothing_the_item_fails(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.append(Fault.NOT_CONNECTED)
    id = await ship(store, [one])
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(attempts=7))
    await drained(make_lanes(make_deps(store, redis, [port])), "shop")
    item = await item_of(store, id)
    assert (item.status, item.attempts, item.error_code) == ("FAILED", 8, "UPSTREAM_UNAVAILABLE")
    assert item.error_message == "The connection was refused."
    assert (await operation_of(store, id)).status is OperationStatus.FAILED
    assert port.effects == []


async def test_refused_credentials_cost_no_attempt(
    store: Store, redis: Redis, port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.writes.jittered", lambda *_, **__: 0.05)
    [one] = await place_orders(store, port, 1)
    port.faults.extend([Fault.UNAUTHORIZED, Fault.NOT_CONNECTED])
    id = await ship(store, [one])
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(attempts=6))
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, pause_s=0.1))):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"], (await item_of(store, id)).attempts) == (1, 3, 8)


async def test_a_refusal_fails_the_item_in_the_platforms_words(store: Store, redis: Redis, port: FakePort) -> None:
    first, second = await place_orders(store, port, 2)
    port.faults.append(Fault.REFUSED)
    id = await ship(store, [first])
    other = await ship(store, [second])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "FAILED")
        await until_status(store, other, "VERIFIED")
    item = await item_of(store, id)
    assert (item.status, item.error_code, item.upstream_request_id) == ("FAILED", "REFUSED", "r-400")
    assert item.error_message == "The order is gone. (InvalidInput)"
    assert (await operation_of(store, id)).status is OperationStatus.FAILED
    assert [effect.order for effect in port.effects] == [second.external_id]
    assert port.calls["confirm"] == 2


async def test_a_refusal_after_an_attempt_of_ours_may_be_the_echo_of_our_success(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.append(Fault.LOST)
    id = await ship(store, [one])

    async def the_first_one_arrives_only_now(order: str, parcel: Parcel) -> None:
        if port.calls["confirm"] == 2:
            port.apply(order, parcel)

    port.in_flight = the_first_one_arrives_only_now
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"]) == (1, 2)


async def test_a_refusal_after_an_attempt_stands_when_nothing_is_found(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.faults.extend([Fault.LOST, Fault.REFUSED])
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.1))):
        await until_status(store, id, "FAILED")
    item = await item_of(store, id)
    assert (item.error_code, item.error_message) == ("REFUSED", "The order is gone. (InvalidInput)")
    assert (port.effects, port.calls["confirm"], item.attempts) == ([], 2, 2)


async def test_a_refusal_from_before_a_retry_is_no_answer_to_what_is_sent_after_it(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.visibility_lag_s = 0.0
    port.faults.extend([Fault.LOST, Fault.REFUSED])
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, settle_s=0.0))):
        await until_status(store, id, "FAILED")
        port.faults.extend([Fault.LOST, Fault.LOST])
        async with store.begin() as tx:
            await operation.retry(tx, id)
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"], (await item_of(store, id)).attempts) == (1, 5, 3)


async def test_refused_credentials_pause_the_channel_and_no_other(store: Store, redis: Redis, port: FakePort) -> None:
    other = make_port("amazon-eu")
    [one], [two] = await place_orders(store, port, 1), await place_orders(store, other, 1)
    port.faults.append(Fault.UNAUTHORIZED)
    id, unharmed = await ship(store, [one]), await ship(store, [two])
    deps = make_deps(store, redis, [port, other], timing=replace(SHORT, pause_s=600.0))
    async with working(deps):
        await until_status(store, unharmed, "VERIFIED")

        async def is_paused() -> bool:
            async with store.begin() as tx:
                return bool(await states(tx))

        await until(is_paused)
        async with store.begin() as tx:
            paused = await states(tx)
        assert [(pause.channel, pause.reason) for pause in paused.values()] == [("shop", "The consent was withdrawn.")]
        assert (await statuses(store, id), port.calls["confirm"]) == (["PENDING"], 1)
        async with store.begin() as tx:
            await tx.execute(update(channel_state).values(paused_until=func.now() + timedelta(seconds=0.5)))
        await until_status(store, id, "VERIFIED")
        async with store.begin() as tx:
            told = await event.after(tx, 0, kinds=[EventKind.CHANNEL_PAUSED, EventKind.CHANNEL_RESUMED])
    assert [(one.kind, one.subject) for one in told] == [
        (EventKind.CHANNEL_PAUSED, "shop"),
        (EventKind.CHANNEL_RESUMED, "shop"),
    ]
    assert (len(port.effects), len(other.effects)) == (1, 1)


async def test_a_paused_channel_is_left_alone_even_when_it_is_rung_for(
    store: Store, redis: Redis, port: FakePort
) -> None:
    id = await ship(store, await place_orders(store, port, 30))
    port.faults.extend([Fault.UNAUTHORIZED] * 30)
    lanes = make_lanes(make_deps(store, redis, [port], timing=replace(SHORT, pause_s=60.0)))
    await drained(lanes, "shop")
    # Those in hand find out at the same time; nobody else is sent to find out again.
    assert 1 <= port.calls["confirm"] <= 10
    calls = port.calls["confirm"]
    await drained(lanes, "shop")
    assert (port.calls["confirm"], await statuses(store, id)) == (calls, ["PENDING"] * 30)


async def test_refused_credentials_at_the_look_pause_and_lose_nothing(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.look_faults.append(Unauthorized("The consent was withdrawn."))
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
        async with store.begin() as tx:
            told = await event.after(tx, 0, kinds=[EventKind.CHANNEL_PAUSED])
    assert ([one.subject for one in told], len(port.effects)) == (["shop"], 1)


async def test_a_missing_role_at_the_look_pauses_nobody_and_loses_nothing(
    store: Store, redis: Redis, port: FakePort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.writes.ROLE_WAIT_S", 0.1)
    [one] = await place_orders(store, port, 1)
    port.look_faults.append(MissingRole("No role for orders."))
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
        async with store.begin() as tx:
            told = await event.after(tx, 0, kinds=[EventKind.CHANNEL_PAUSED])
    assert (told, len(port.effects)) == ([], 1)


@pytest.mark.parametrize("problem", [NotFound("It is gone."), KeyError("lines")])
async def test_a_parcel_seen_is_verified_though_its_order_cannot_be_read(
    store: Store, redis: Redis, port: FakePort, problem: Exception
) -> None:
    [one] = await place_orders(store, port, 1)
    port.order_faults.append(problem)
    id = await ship(store, [one], units=1)
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert port.calls["order"] == 1
    assert await _kept(store, one) == (OrderStatus.PARTIALLY_SHIPPED, 1, one.updated_at, [one.id])


async def test_an_order_that_does_not_answer_is_asked_again_until_it_is_late(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.order_faults.extend([Transient("It does not answer.")] * 1000)
    id = await ship(store, [one])
    deps = make_deps(store, redis, [port])
    lanes = make_lanes(deps)
    port.visibility_lag_s = 0.0
    await drained(lanes, "shop")
    await until(lambda: _looked(port, lanes))
    assert await statuses(store, id) == ["ACCEPTED"]
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(accepted_at=func.now() - timedelta(hours=2)))
    async with working(deps):
        await until_status(store, id, "VERIFIED")
    assert await _kept(store, one) == (OrderStatus.SHIPPED, 2, one.updated_at, [one.id])


async def test_an_order_that_refuses_credentials_pauses_and_verifies(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    port.order_faults.append(Unauthorized("The consent was withdrawn."))
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port], timing=replace(SHORT, pause_s=600.0))):
        await until_status(store, id, "VERIFIED")
    async with store.begin() as tx:
        assert list(await states(tx)) == ["shop"]
    assert await _kept(store, one) == (OrderStatus.SHIPPED, 2, one.updated_at, [one.id])


async def _looked(port: FakePort, lanes: Lanes) -> bool:
    lanes.wake(SHOP)
    await lanes.idle()
    return port.calls["order"] >= 1


async def _kept(store: Store, one: Order) -> tuple[OrderStatus, int, datetime, list[str]]:
    """Status, units shipped and `updated_at` of the order as kept, and the orders told of."""
    async with store.begin() as tx:
        kept = (await order.by_ids(tx, [one.id]))[one.id]
        told = await event.after(tx, 0, kinds=[EventKind.ORDER_CHANGED])
    return kept.status, kept.lines[0].quantity_shipped, kept.updated_at, [each.subject for each in told]


async def test_what_is_accepted_and_never_seen_is_parked(store: Store, redis: Redis, port: FakePort) -> None:
    port.blind = True
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    async with working(make_deps(store, redis, [port])):
        await until(lambda: _true(port.calls["look"] >= 2))
        assert await statuses(store, id) == ["ACCEPTED"]
        async with store.begin() as tx:
            await tx.execute(update(operation_item).values(accepted_at=func.now() - timedelta(hours=2)))
        await until_status(store, id, "PARKED")
    item = await item_of(store, id)
    assert item.error_message.startswith("shop accepted it, but it is not seen live")
    assert (await operation_of(store, id)).status is OperationStatus.FAILED


def _stolen(store: Store) -> Callable[[str, Parcel], Awaitable[None]]:
    """Another worker claims the item, once."""
    times = iter([True])

    async def steal(order: str, parcel: Parcel) -> None:
        if next(times, False):
            async with store.begin() as tx:
                await tx.execute(update(operation_item).values(fence=operation_item.c.fence + 1))

    return steal


async def test_a_lease_lost_before_the_send_sends_nothing(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    port.before_intent = _stolen(store)
    await drained(make_lanes(make_deps(store, redis, [port])), "shop")
    row = await item_of(store, id)
    assert (port.effects, port.calls["confirm"], row.status, row.attempts) == ([], 1, "PENDING", 0)


async def test_a_lease_that_is_over_sends_nothing(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    lanes = make_lanes(make_deps(store, redis, [port]))
    stopping: list[asyncio.Task[None]] = []

    async def expire(order: str, parcel: Parcel) -> None:
        """And nobody claims it anew: five times in vain, and it would be taken for what kills its workers."""
        async with store.begin() as tx:
            await tx.execute(update(operation_item).values(lease_until=func.now()))
        stopping.append(asyncio.create_task(lanes.close(60.0)))
        await until(lambda: _true(lanes._closed))

    port.before_intent = expire
    lanes.wake(SHOP)
    await lanes.idle()
    await asyncio.gather(*stopping)
    row = await item_of(store, id)
    assert (port.effects, port.calls["confirm"], row.status, row.attempts) == ([], 1, "PENDING", 0)


async def test_a_fence_that_moved_during_the_send_refuses_the_outcome(
    store: Store, redis: Redis, port: FakePort
) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    deps = make_deps(store, redis, [port])
    port.in_flight = _stolen(store)
    await drained(make_lanes(deps), "shop")
    assert (await statuses(store, id), len(port.effects)) == (["SENT"], 1)
    await leases_over(store)
    async with working(deps):
        await until_status(store, id, "VERIFIED")
    assert (len(port.effects), port.calls["confirm"]) == (1, 1)


async def test_a_database_that_is_away_at_the_intent_sends_nothing(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    away = Away(store)
    deps = make_deps(away, redis, [port])

    async def go_away(order: str, parcel: Parcel) -> None:
        away.times = 1

    port.before_intent = go_away
    await drained(make_lanes(deps), "shop")
    assert (port.effects, port.calls["confirm"], await statuses(store, id)) == ([], 1, ["PENDING"])
    port.before_intent = None
    await leases_over(store)
    async with working(deps):
        await until_status(store, id, "VERIFIED")
    assert len(port.effects) == 1


async def test_an_answer_is_kept_in_memory_while_the_database_is_away(
    store: Store, redis: Redis, port: FakePort
) -> None:
    port.visibility_lag_s = 30.0
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    away = Away(store)

    async def go_away(order: str, parcel: Parcel) -> None:
        away.times = 2

    port.in_flight = go_away
    await drained(make_lanes(make_deps(away, redis, [port])), "shop")
    assert (await statuses(store, id), away.times, port.calls) == (["ACCEPTED"], 0, {"confirm": 1})


async def test_an_order_that_cannot_be_kept_does_not_keep_its_outcome_from_the_row(
    store: Store, redis: Redis, port: FakePort, caplog: pytest.LogCaptureFixture
) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    line = one.lines[0]
    # Two lines of one name: no row can hold both.
    port.orders[one.external_id] = replace(one, lines=[line, replace(line, id=LineId("another"))])
    port.visibility_lag_s = 0.0
    async with working(make_deps(store, redis, [port])):
        await until_status(store, id, "VERIFIED")
    assert [record.message for record in caplog.records].count("lane.orders_left_out") == 1
    # Its units do not look open all the same.
    assert await _kept(store, one) == (OrderStatus.SHIPPED, 2, one.updated_at, [one.id])
    assert len(port.effects) == 1


async def test_parcels_of_one_order_go_one_after_the_other(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    first, second = await ship(store, [one], units=1), await ship(store, [one], units=1)
    port.faults.append(Fault.LOST)
    async with working(make_deps(store, redis, [port])):
        await until_status(store, second, "VERIFIED")
    assert await statuses(store, first) == ["VERIFIED"]
    assert [effect.reference for effect in port.effects] == [
        str((await item_of(store, first)).id),
        str((await item_of(store, second)).id),
    ]


async def test_an_item_that_cannot_be_read_fails_and_says_so(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    async with store.begin() as tx:
        await tx.execute(update(operation_item).values(payload={"order_id": one.id}))
    await drained(make_lanes(make_deps(store, redis, [port])), "shop")
    item = await item_of(store, id)
    assert (item.status, item.error_code, port.calls["confirm"]) == ("FAILED", "INTERNAL", 0)


async def test_an_item_whose_workers_die_before_they_say_anything_is_parked(
    store: Store, redis: Redis, port: FakePort
) -> None:
    first, second = await place_orders(store, port, 2)
    fatal, unlucky = await ship(store, [first]), await ship(store, [second])
    port.visibility_lag_s = 60.0
    async with store.begin() as tx:
        for id, claims in ((fatal, 5), (unlucky, 4)):
            item = update(operation_item).where(operation_item.c.operation_id == id)
            await tx.execute(item.values(claims=claims))
    lanes = make_lanes(make_deps(store, redis, [port]))
    await drained(lanes, "shop")
    parked = await item_of(store, fatal)
    assert (parked.status, parked.error_code, parked.claims) == ("PARKED", "INTERNAL", 0)
    assert parked.error_message.startswith("It was taken up 5 times and its worker ended each time")
    sent = await item_of(store, unlucky)
    assert (sent.status, sent.claims) == ("ACCEPTED", 0)
    assert [effect.order for effect in port.effects] == [second.external_id]


async def test_a_cancelled_item_is_not_sent(store: Store, redis: Redis, port: FakePort) -> None:
    [one] = await place_orders(store, port, 1)
    id = await ship(store, [one])
    async with store.begin() as tx:
        await operation.cancel(tx, id)
    await drained(make_lanes(make_deps(store, redis, [port])), "shop")
    assert (await statuses(store, id), port.calls["confirm"]) == (["CANCELLED"], 0)
