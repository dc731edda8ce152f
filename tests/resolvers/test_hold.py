"""Holding, cancelling and refunding: what is refused with which words, what is kept once, and the queue of what is urgent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, update

from adapters.port import OrderKey, Port, Receipt
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.hold import HoldReason
from domain.ids import ChannelId, LineId, OrderId
from domain.money import Money
from domain.operation import Capability, ItemStatus, Kind, OperationStatus
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy
from resolvers import cancel, hold, operation, order_queue, refund
from resolvers.cancel import CancelReason, CancelRequest
from resolvers.order_queue import QueueFilter
from resolvers.refund import RefundedLine, RefundRequest
from resolvers.shelf import Shelf
from store import order
from store.session import Store
from store.tables import operation_item as item_table
from tests.resolvers.test_shipment import CHANNEL, NOW, CountingBell, confirm, keep, make_order, parcel
from tests.resolvers.test_stock import House
from tests.store.bench import claimed, made, outcome, recorded, sent
from tests.store.bench import rows as item_rows

EVERY = frozenset(Kind)


class Shop:
    """A port that cancels and refunds; nothing here ever calls it."""

    def __init__(self, port: Port) -> None:
        self.channel, self.visibility_lag_s = port.channel, 2.0

    async def cancel_order(self, *_: Any, **__: Any) -> Receipt:
        raise AssertionError

    async def refund(self, *_: Any, **__: Any) -> Receipt:
        raise AssertionError

    async def refunds(self, key: OrderKey, ask: Any) -> list[Any]:
        raise AssertionError


class SlowShop(Shop):
    """It shows a refund days later."""

    async def refund_seen(self, *_: Any) -> Any:
        raise AssertionError


@pytest.fixture
def bell() -> CountingBell:
    return CountingBell()


@pytest.fixture
def shelf(store: Store, redis: Redis, bell: CountingBell) -> Shelf:
    shelf = replace(House(store, redis).shelf, bell=bell, refund_approval={"EUR": Decimal("50")})
    shop: Any = Shop(shelf.ports[CHANNEL])
    return replace(shelf, ports={**shelf.ports, CHANNEL: shop})


def paid(external_id: str = "1001", amount: str = "80.00", **more: Any) -> Order:
    return make_order(external_id, total=Money(Decimal(amount), "EUR"), **more)


async def held(shelf: Shelf, *orders: Order, by: str = "ann", **more: Any) -> hold.Held:
    values: dict[str, Any] = {"reason": HoldReason.FRAUD, "words": "Look at it.", "until": None, "approval": False}
    values |= more
    ids = [one.id for one in orders]
    return await hold.hold_orders(
        shelf, by, ids, values["reason"], values["words"], values["until"], approval=values["approval"]
    )


async def standing(shelf: Shelf, one: Order) -> OrderStatus:
    async with shelf.store.begin() as tx:
        return (await order.by_ids(tx, [one.id]))[one.id].standing


async def test_each_order_is_held_for_itself(shelf: Shelf) -> None:
    fit, gone = make_order("1"), make_order("2", status=OrderStatus.CANCELLED)
    theirs, moving = make_order("3", fulfilled_by=FulfilledBy.CHANNEL), make_order("4")
    await keep(shelf, fit, gone, theirs, moving)
    await confirm(shelf, parcel(moving))
    done = await held(shelf, fit, gone, theirs, moving, make_order("5"))
    assert [one.id for one in done.orders] == [fit.id]
    assert [(type(one), one.field) for one in done.problems] == [
        (Conflict, ("orderIds", "1")),
        (Invalid, ("orderIds", "2")),
        (Conflict, ("orderIds", "3")),
        (NotFound, ("orderIds", "4")),
    ]
    assert await standing(shelf, fit) is OrderStatus.ON_HOLD
    assert [one.id for one in (await held(shelf, fit)).orders] == [fit.id]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"words": ""}, ("words",)),
        ({"until": NOW - timedelta(hours=1)}, ("until",)),
        ({"until": NOW + timedelta(days=91)}, ("until",)),
    ],
)
async def test_holds_that_mean_nothing_are_refused(shelf: Shelf, more: dict[str, Any], field: tuple[str, ...]) -> None:
    one = make_order()
    await keep(shelf, one)
    done = await held(shelf, one, **more)
    assert ([problem.field for problem in done.problems], done.orders) == ([field], [])
    assert await standing(shelf, one) is OrderStatus.UNSHIPPED
    assert [problem.field for problem in (await held(shelf)).problems] == [("orderIds",)]


async def test_a_held_order_cannot_ship_or_be_cancelled_silently(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    preview = await confirm(shelf, parcel(one), dry_run=True)
    await held(shelf, one)
    [refused] = (await confirm(shelf, parcel(one))).problems
    assert (refused.code, "FRAUD: Look at it." in refused.message) == ("CONFLICT", True)
    with pytest.raises(Conflict):
        await operation.approve(shelf, preview.operation.id, "bob", EVERY)
    [refused] = (await cancelled(shelf, CancelRequest(one.id, CancelReason.FRAUD))).problems
    assert "despiteHold" in refused.message
    assert (await cancelled(shelf, CancelRequest(one.id, CancelReason.FRAUD, despite_hold=True))).operation is not None


async def test_released_it_ships(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    await held(shelf, one)
    done = await hold.release_orders(shelf, "bob", [one.id], "looked at")
    assert ([each.standing for each in done.orders], done.problems) == ([OrderStatus.UNSHIPPED], [])
    assert (await confirm(shelf, parcel(one))).operation is not None


async def test_what_waits_for_an_approval_is_let_go_by_somebody_else_alone(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    await held(shelf, one, approval=True)
    [refused] = (await hold.release_orders(shelf, "bob", [one.id], "free")).problems
    assert "approveOrders" in refused.message
    [refused] = (await hold.approve_orders(shelf, "ann", [one.id], "free")).problems
    assert isinstance(refused, Forbidden)
    assert await standing(shelf, one) is OrderStatus.ON_HOLD
    done = await hold.approve_orders(shelf, "bob", [one.id], "free")
    assert [each.standing for each in done.orders] == [OrderStatus.UNSHIPPED]


# Cancelling


async def cancelled(shelf: Shelf, *requests: CancelRequest, key: str | None = None, dry_run: bool = False) -> Any:
    return await cancel.cancel(shelf, "ann", "req-1", requests, idempotency_key=key, dry_run=dry_run)


async def test_a_cancellation_is_kept_once_and_rings_its_lane(shelf: Shelf, bell: CountingBell) -> None:
    one = make_order()
    await keep(shelf, one)
    wish = CancelRequest(one.id, CancelReason.BUYER)
    first = await cancelled(shelf, wish, key="k")
    again = await cancelled(shelf, wish, key="k")
    assert first.operation.id == again.operation.id
    assert (first.operation.kind, bell.rung) == (Kind.CANCEL_ORDERS, [(CHANNEL, Capability.CANCELS)])
    other = await cancelled(shelf, replace(wish, reason=CancelReason.FRAUD), key="k")
    assert [type(problem) for problem in other.problems] == [Conflict]


async def test_ship_and_cancel_never_pass_each_other(shelf: Shelf) -> None:
    shipped, going = make_order("1"), make_order("2")
    await keep(shelf, shipped, going)
    await confirm(shelf, parcel(shipped))
    [refused] = (await cancelled(shelf, CancelRequest(shipped.id, CancelReason.OTHER))).problems
    assert (refused.field, "on its way" in refused.message) == (("orders", "0", "orderId"), True)
    assert (await cancelled(shelf, CancelRequest(going.id, CancelReason.OTHER))).operation is not None
    [refused] = (await confirm(shelf, parcel(going))).problems
    assert "being cancelled" in refused.message
    [refused] = (await cancelled(shelf, CancelRequest(going.id, CancelReason.OTHER))).problems
    assert "already" in refused.message


async def test_what_cannot_be_cancelled_is_refused_and_then_nothing_is_kept(shelf: Shelf, store: Store) -> None:
    fit = make_order("1")
    lines = [replace(line, quantity_shipped=1) for line in make_order("2").lines]
    partly = make_order("2", lines=lines, status=OrderStatus.PARTIALLY_SHIPPED)
    theirs, over = make_order("3", fulfilled_by=FulfilledBy.CHANNEL), make_order("4", status=OrderStatus.SHIPPED)
    await keep(shelf, fit, partly, theirs, over)
    wishes = [CancelRequest(one.id, CancelReason.OTHER) for one in (fit, partly, theirs, over)]
    refused = (await cancelled(shelf, *wishes)).problems
    assert [problem.field for problem in refused] == [("orders", str(number), "orderId") for number in (1, 2, 3)]
    assert await item_rows(store) == []
    no_cancels = replace(shelf, ports={})
    [problem] = (await cancelled(no_cancels, wishes[0])).problems
    assert "cannot be asked to cancel" in problem.message


async def test_a_preview_of_a_cancellation_must_still_fit_when_it_is_approved(shelf: Shelf) -> None:
    one = make_order()
    await keep(shelf, one)
    preview = await cancelled(shelf, CancelRequest(one.id, CancelReason.OTHER), dry_run=True)
    await confirm(shelf, parcel(one))
    with pytest.raises(Conflict, match="new preview"):
        await operation.approve(shelf, preview.operation.id, "bob", EVERY)


# Refunding


def give(one: Order, amount: str, currency: str = "EUR", **more: Any) -> RefundRequest:
    return RefundRequest(one.id, Money(Decimal(amount), currency), "broken", **more)


async def refunded(shelf: Shelf, *requests: RefundRequest, key: str | None = None, dry_run: bool = False) -> Any:
    return await refund.refund(shelf, "ann", "req-1", requests, idempotency_key=key, dry_run=dry_run)


async def test_no_more_goes_back_than_was_paid_however_it_is_cut(shelf: Shelf) -> None:
    one = paid()
    await keep(shelf, one)
    assert (await refunded(shelf, give(one, "30"), give(one, "20"))).operation is not None
    refused = await refunded(shelf, give(one, "30"), give(one, "0.01"))
    assert [(problem.code, problem.field) for problem in refused.problems] == [("INVALID", ("refunds", "1", "amount"))]
    rest = await refunded(shelf, give(one, "30.00"))
    assert (rest.problems, rest.operation.status) == ([], OperationStatus.AWAITING_APPROVAL)


async def test_what_failed_or_was_withdrawn_can_be_given_again(shelf: Shelf, store: Store) -> None:
    one = paid(amount="40.00")
    await keep(shelf, one)
    first = await refunded(shelf, give(one, "40"))
    assert (await refunded(shelf, give(one, "1"))).operation is None
    await operation.cancel(shelf, first.operation.id, "tests", EVERY)
    assert (await refunded(shelf, give(one, "40"))).operation is not None


async def test_a_large_refund_waits_for_somebody_else(shelf: Shelf, bell: CountingBell) -> None:
    one = paid()
    await keep(shelf, one)
    small = await refunded(shelf, give(one, "50"))
    large = await refunded(shelf, give(one, "0.01"))
    assert [each.operation.status for each in (small, large)] == [
        OperationStatus.QUEUED,
        OperationStatus.AWAITING_APPROVAL,
    ]
    assert bell.rung == [(CHANNEL, Capability.REFUNDS)]
    with pytest.raises(Forbidden):
        await operation.approve(shelf, large.operation.id, "ann", EVERY)
    approved = await operation.approve(shelf, large.operation.id, "bob", EVERY)
    assert approved.status is OperationStatus.QUEUED


async def test_a_refund_that_waited_must_still_be_covered(shelf: Shelf) -> None:
    one = paid()
    await keep(shelf, one)
    large = await refunded(shelf, give(one, "60"))
    await refunded(shelf, give(one, "40"))
    with pytest.raises(Conflict, match="more than is left"):
        await operation.approve(shelf, large.operation.id, "bob", EVERY)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1", "currency": "USD"}, "amount"),
        ({"amount": "1", "shipping": Decimal("2")}, "shipping"),
        ({"amount": "1.505"}, "amount"),
        ({"amount": "1", "shipping": Decimal("0.505")}, "shipping"),
        ({"amount": "1", "lines": (RefundedLine(LineId("x"), 1),)}, "orderLineId"),
        ({"amount": "1", "lines": (RefundedLine(paid().lines[0].id, 0),)}, "quantity"),
    ],
)
async def test_refunds_that_mean_nothing_are_refused(shelf: Shelf, wish: dict[str, Any], field: str) -> None:
    one = paid()
    await keep(shelf, one)
    [problem] = (await refunded(shelf, give(one, **wish))).problems
    assert problem.field is not None
    assert problem.field[-1] == field


async def test_no_parcel_waits_with_a_refund_that_shows_days_later_and_both_count(shelf: Shelf, store: Store) -> None:
    """Where refunds show at once they wait in the line of their order."""
    one = paid(amount="40.00")
    await keep(shelf, one)
    slow: Any = SlowShop(shelf.ports[CHANNEL])
    for shop in (shelf, replace(shelf, ports={**shelf.ports, CHANNEL: slow})):
        assert (await refunded(shop, give(one, "15"))).operation is not None
    async with store.begin() as tx:
        resources = (await tx.scalars(select(item_table.c.resource).order_by(item_table.c.id))).all()
    assert resources == [f"order:{one.id}", f"refund:{one.id}"]
    assert (await refunded(shelf, give(one, "10.01"))).operation is None


async def test_who_takes_no_refunds_says_so(shelf: Shelf) -> None:
    one, unpaid = paid(), paid("1002", status=OrderStatus.PENDING)
    await keep(shelf, one, unpaid)
    [problem] = (await refunded(replace(shelf, ports={}), give(one, "1"))).problems
    assert "takes no refunds from us" in problem.message
    [problem] = (await refunded(shelf, give(unpaid, "1"))).problems
    assert "cancel it instead" in problem.message


# What is urgent


async def queue(shelf: Shelf, first: int = 10, after: str | None = None, **wanted: Any) -> Any:
    return await order_queue.page(shelf, first, after, QueueFilter(**wanted))


def due(number: int, minutes: int | None, **more: Any) -> Order:
    at = None if minutes is None else NOW + timedelta(minutes=minutes)
    return make_order(str(number), ship_by=at, **more)


async def test_the_queue_ranks_by_ship_by_and_leaves_out_what_is_not_to_be_shipped(shelf: Shelf) -> None:
    orders = [due(1, 90), due(2, 30), due(3, None), due(4, 60, status=OrderStatus.ON_HOLD)]
    others = [due(5, 1, status=OrderStatus.SHIPPED), due(6, 1, status=OrderStatus.PENDING)]
    others.append(due(7, 1, fulfilled_by=FulfilledBy.CHANNEL))
    await keep(shelf, *orders, *others)
    await held(shelf, orders[1])
    found = await queue(shelf)
    assert [one.order.external_id for one in found.nodes] == ["2", "4", "1", "3"]
    assert [len(one.obstacles()) for one in found.nodes] == [1, 1, 0, 0]
    assert await found.count() == 4
    assert [one.order.external_id for one in (await queue(shelf, held=True)).nodes] == ["2", "4"]
    assert [one.order.external_id for one in (await queue(shelf, held=False)).nodes] == ["1", "3"]
    assert (await queue(shelf, channel=CHANNEL)).nodes == found.nodes
    [first, *_] = found.nodes
    assert (first.rank_at, first.lag.items) == (NOW + timedelta(minutes=30) - timedelta(seconds=2), 0)


async def test_a_channel_that_shows_late_comes_earlier(shelf: Shelf, store: Store) -> None:
    slow = replace(
        make_order("9"), channel=ChannelId("amazon-eu"), id=OrderId("slow"), ship_by=NOW + timedelta(minutes=40)
    )
    slow.lines = []
    await keep(shelf, due(1, 30), slow)
    assert [one.order.external_id for one in (await queue(shelf)).nodes] == ["1", "9"]
    await _measured(store, seconds=900)
    found = await queue(shelf)
    assert [one.order.external_id for one in found.nodes] == ["9", "1"]
    assert (found.nodes[0].lag.seconds, found.nodes[0].lag.items) == (900.0, 1)


async def _measured(store: Store, seconds: int) -> None:
    """One parcel of Amazon's that was seen so many seconds after it was taken."""
    await made(store, 1)
    [one] = await claimed(store)
    assert await sent(store, one)
    await recorded(store, outcome(one, ItemStatus.VERIFIED))
    async with store.begin() as tx:
        times = {"accepted_at": NOW - timedelta(seconds=seconds), "ended_at": NOW}
        await tx.execute(update(item_table).values(**times))


async def test_pages_of_one_walk_lose_and_double_nothing_while_lags_change(shelf: Shelf, store: Store) -> None:
    orders = [due(number, None if number % 5 == 0 else 10 * (number % 4)) for number in range(1, 24)]
    await keep(shelf, *orders)
    walked: list[str] = []
    after = None
    for page in range(30):
        found = await queue(shelf, 4, after)
        walked += [one.order.external_id for one in found.nodes]
        if not found.has_next_page:
            break
        after = found.edges[-1].cursor
        if page == 1:
            await _measured(store, seconds=3000)
    assert sorted(walked) == sorted(one.external_id for one in orders)
    with pytest.raises(Invalid):
        await queue(shelf, 4, "nonsense")
