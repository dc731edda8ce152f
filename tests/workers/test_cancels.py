"""Cancelling and refunding through the lanes: once in effect wherever a worker dies, and told as it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from adapters.port import BeforeSend, OrderKey, Receipt
from adapters.storefront import RefundSent, RefundSight
from domain.budget import Ask, Priority
from domain.channel import Platform
from domain.errors import Conflict, HouseError, OutcomeUnknown, Refused
from domain.ids import OperationId, Sku
from domain.money import Money
from domain.operation import Capability, Kind, NewItem, OperationStatus
from domain.order import Order, OrderStatus
from domain.product import SkuMap
from domain.refund import Refund, RefundWanted
from store import intake, operation, order, timeline
from store.session import Store
from tests.store.warehouse import PLACES as PLACES_OF_OURS
from tests.store.warehouse import allocations, stocked
from tests.workers.fake_port import FakePort, make_order, make_port
from tests.workers.house import SHORT, item_of, make_deps, make_lanes, ship, statuses
from workers import lanes as lanes_module
from workers import writes
from workers.deps import Deps
from workers.lanes import Lane

PLACES = (
    "after_claim",
    "before_intent",
    "after_intent",
    "after_send",
    "before_record",
    "inside_record",
    "after_record",
)
QUICK = replace(SHORT, settle_s=0.05)


@dataclass
class Shop(FakePort):
    """A channel that cancels and refunds. `loses` answers are lost after the effect; `against` is what it says afterwards of a
    cancellation that it took and did not carry out."""

    cancelled: list[str] = field(default_factory=list)
    refunded: list[RefundWanted] = field(default_factory=list)
    looked_for: int = 0
    loses: int = 0
    problem: HouseError | None = None
    against: Refused | None = None

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        one = await FakePort.order(self, key, ask)
        if key.external_id in self.cancelled and self.against is None:
            lines = [replace(line, quantity=0) for line in one.lines]
            return replace(one, status=OrderStatus.CANCELLED, channel_status="CANCELLED", lines=lines)
        return one

    async def cancel_order(
        self, key: OrderKey, reason: str, ask: Ask, before_send: BeforeSend, *, restock: bool, refund: bool
    ) -> Receipt:
        if self.problem is not None:
            raise self.problem
        if key.external_id in self.cancelled:
            return Receipt("r-again", "feed/1")
        await before_send()
        self.cancelled.append(key.external_id)
        self._lose()
        return Receipt("r-cancel", "feed/1")

    async def cancel_refused(self, key: OrderKey, sent_as: str, ask: Ask) -> Refused | None:
        assert sent_as == "feed/1"
        return self.against

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        return []

    async def refund(
        self, key: OrderKey, wanted: RefundWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Receipt:
        if sent_before:
            self.looked_for += 1
            if any(one.reference == wanted.reference for one in self.refunded):
                return Receipt("r-found", "R1")
        await before_send()
        self.refunded.append(wanted)
        self._lose()
        return Receipt("r-refund", "R1")

    def _lose(self) -> None:
        if self.loses:
            self.loses -= 1
            raise OutcomeUnknown("The answer was lost.")


@dataclass
class Slow(Shop):
    """A channel that takes refunds by a file and works through it: what became of one shows at the second look. `seen` are the
    attempts that it was asked about; of the first `silent` looks at an unknown outcome nothing can be told."""

    seen: list[RefundSent] = field(default_factory=list)
    silent: int = 0

    async def refund(
        self, key: OrderKey, wanted: RefundWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Receipt:
        if self.problem is not None:
            raise self.problem
        await before_send()
        self.refunded.append(wanted)
        self._lose()
        return Receipt("r-refund", f"feed/{len(self.refunded)}")

    async def refund_seen(self, key: OrderKey, wanted: RefundWanted, sent: RefundSent, ask: Ask) -> RefundSight:
        self.seen.append(sent)
        if self.against is not None:
            return RefundSight(refused=self.against)
        there = any(one.reference == wanted.reference for one in self.refunded)
        if sent.sent_as is None and not there and len(self.seen) > self.silent:
            return RefundSight()
        if len(self.seen) <= max(1, self.silent):
            return RefundSight(again_s=0.01)
        return RefundSight(shown="R1") if there else RefundSight(again_s=0.01)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Shop:
    kind: type[Shop] = getattr(request, "param", Shop)
    made = make_port()
    return kind(made.channel, visibility_lag_s=0.05, compares=made.channel.platform is Platform.SHOPIFY)


@pytest.fixture
def deps(store: Store, redis: Redis, port: Shop) -> Deps:
    return make_deps(store, redis, [port], timing=QUICK, sku_map=SkuMap(), locations=PLACES_OF_OURS)


async def placed(store: Store, deps: Deps, port: Shop) -> Order:
    """An order of two A, which lie at a place of ours and are promised to it."""
    await stocked(store, A=5)
    one = make_order(port, "1001", sku="A")
    one.lines = [replace(line, sku=Sku("A")) for line in one.lines]
    port.orders[one.external_id] = one
    async with store.begin() as tx:
        await intake.keep_orders(tx, [one], deps.locations)
    return one


async def asked(store: Store, one: Order, capability: Capability, **payload: Any) -> OperationId:
    base: dict[str, Any] = {
        "order_id": one.id,
        "external_id": one.external_id,
        "marketplace": None,
        "refs": {},
        "by": "ann",
    }
    kind = Kind.CANCEL_ORDERS if capability is Capability.CANCELS else Kind.REFUND_ORDERS
    async with store.begin() as tx:
        made, _ = await operation.create(
            tx,
            kind=kind,
            requested_by="ann",
            idempotency_key=None,
            request_hash="h",
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=[NewItem(one.channel, capability, f"order:{one.id}", "x", base | payload)],
        )
    return made.id


async def cancelling(store: Store, one: Order) -> OperationId:
    return await asked(store, one, Capability.CANCELS, reason="CUSTOMER", restock=True, refund=True, despite_hold=False)


async def refunding(store: Store, one: Order) -> OperationId:
    payload: dict[str, Any] = {"amount": "12.50", "currency": "EUR", "shipping": None, "reason": "broken"}
    lines = [{"line": one.lines[0].external_id, "quantity": 1, "restock": "RETURN"}]
    return await asked(store, one, Capability.REFUNDS, **payload, lines=lines, approval=False)


async def worked(deps: Deps, id: OperationId, capability: Capability, *wanted: str) -> None:
    """Wake the lane until the items stand as wanted."""
    lanes, lane = make_lanes(deps), Lane(next(iter(deps.ports)), capability)
    async with asyncio.timeout(60):
        while await statuses(deps.store, id) != list(wanted):
            lanes.wake(lane)
            await lanes.idle()
            await asyncio.sleep(0.02)


async def steps(store: Store, one: Order) -> list[tuple[str, str]]:
    async with store.begin() as tx:
        found = (await timeline.by_orders(tx, [one.id])).get(one.id, [])
    return [(step.kind.value, step.actor) for step in found if step.kind.value in ("CANCELLED", "REFUNDED")]


async def test_an_order_is_cancelled_seen_cancelled_and_its_units_are_free(
    store: Store, deps: Deps, port: Shop
) -> None:
    one = await placed(store, deps, port)
    before = await allocations(store)
    await worked(deps, await cancelling(store, one), Capability.CANCELS, "VERIFIED")
    async with store.begin() as tx:
        kept = (await order.by_ids(tx, [one.id]))[one.id]
    assert (port.cancelled, kept.status) == (["1001"], OrderStatus.CANCELLED)
    assert (len(before), await allocations(store)) == (1, {})
    assert await steps(store, one) == [("CANCELLED", "ann")]


class Died(BaseException):
    """The process is gone."""


def dies_at(monkeypatch: pytest.MonkeyPatch, place: str) -> list[str]:
    """At its first passing of a place; the list names it then."""
    died: list[str] = []

    def point(name: str) -> None:
        if name == place and not died:
            died.append(name)
            raise Died

    for module in (lanes_module, writes):
        monkeypatch.setattr(module, "point", point)
    return died


async def survived(deps: Deps, id: OperationId, capability: Capability, place: str, patch: pytest.MonkeyPatch) -> None:
    """A worker dies at the place, its lease ends, and others go on to the end."""
    died = dies_at(patch, place)
    lanes = make_lanes(deps)
    async with asyncio.timeout(60):
        while not died:
            lanes.wake(Lane(next(iter(deps.ports)), capability))
            tasks = list(lanes._draining.values())
            for task in tasks:
                with suppress(Died):
                    await task
            await asyncio.sleep(0.02)
    async with deps.store.begin() as tx:
        await tx.execute(text("update operation_item set lease_until = now() where lease_until is not null"))
    await worked(deps, id, capability, "VERIFIED")


@pytest.mark.parametrize("place", [*PLACES, "after_verify_read"])
async def test_a_cancellation_has_one_effect_wherever_its_worker_dies(
    store: Store, deps: Deps, port: Shop, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await placed(store, deps, port)
    await survived(deps, await cancelling(store, one), Capability.CANCELS, place, monkeypatch)
    assert port.cancelled == ["1001"]
    assert await steps(store, one) == [("CANCELLED", "ann")]


@pytest.mark.parametrize(
    ("port", "place"),
    [(Shop, place) for place in PLACES] + [(Slow, place) for place in (*PLACES, "after_verify_read")],
    indirect=["port"],
)
async def test_a_refund_is_made_once_wherever_its_worker_dies(
    store: Store, deps: Deps, port: Shop, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await placed(store, deps, port)
    await survived(deps, await refunding(store, one), Capability.REFUNDS, place, monkeypatch)
    assert [(each.amount, len(each.lines)) for each in port.refunded] == [(Money(Decimal("12.50"), "EUR"), 1)]
    assert await steps(store, one) == [("REFUNDED", "ann")]


async def test_a_refund_whose_answer_was_lost_is_looked_for_and_not_made_again(
    store: Store, deps: Deps, port: Shop
) -> None:
    one = await placed(store, deps, port)
    port.loses = 1
    await worked(deps, await refunding(store, one), Capability.REFUNDS, "VERIFIED")
    assert (len(port.refunded), port.looked_for) == (1, 1)


slow = pytest.mark.parametrize("port", [Slow], indirect=True)


@slow
async def test_a_refund_whose_answer_was_lost_is_waited_for_where_it_shows_late(
    store: Store, deps: Deps, port: Slow
) -> None:
    one = await placed(store, deps, port)
    port.loses, port.silent = 1, 13  # more looks than may fail
    await worked(deps, await refunding(store, one), Capability.REFUNDS, "VERIFIED")
    assert (len(port.refunded), {each.sent_as for each in port.seen}) == (1, {None})
    assert await steps(store, one) == [("REFUNDED", "ann")]


@slow
async def test_a_refund_that_the_platform_refused_later_may_be_retried_and_is_another_attempt(
    store: Store, deps: Deps, port: Slow
) -> None:
    one = await placed(store, deps, port)
    port.against = Refused("Amazon did not refund it: it is more than is left.")
    id = await refunding(store, one)
    await worked(deps, id, Capability.REFUNDS, "FAILED")
    assert (await item_of(store, id)).error_message == port.against.message
    assert await steps(store, one) == []
    port.against, port.loses, before = None, 1, len(port.seen)
    async with store.begin() as tx:
        await operation.retry(tx, id)
    await worked(deps, id, Capability.REFUNDS, "VERIFIED")
    # The answer of the second attempt was lost: what the first was sent as says nothing of it.
    assert {(each.sent_as, each.before) for each in port.seen[before:]} == {(None, "feed/1")}
    assert len(port.refunded) == 2


@slow
async def test_equal_refunds_of_an_order_are_seen_one_after_the_other(store: Store, deps: Deps, port: Slow) -> None:
    one = await placed(store, deps, port)
    port.silent = 4
    ids = [await refunding(store, one), await refunding(store, one)]
    for id in ids:
        await worked(deps, id, Capability.REFUNDS, "VERIFIED")
    firsts = [each.first for each in port.seen]
    assert True in firsts
    assert all(each.first or not each.taken for each in port.seen)


async def test_a_cancellation_whose_answer_was_lost_is_sent_once(store: Store, deps: Deps, port: Shop) -> None:
    one = await placed(store, deps, port)
    port.loses = 1
    await worked(deps, await cancelling(store, one), Capability.CANCELS, "VERIFIED")
    assert port.cancelled == ["1001"]


async def test_what_the_platform_says_against_it_later_fails_the_item_in_its_words(
    store: Store, deps: Deps, port: Shop
) -> None:
    one = await placed(store, deps, port)
    port.against = Refused("Amazon did not cancel it: the order has been shipped.")
    id = await cancelling(store, one)
    await worked(deps, id, Capability.CANCELS, "FAILED")
    assert (await item_of(store, id)).error_message == port.against.message
    assert (await steps(store, one), len(await allocations(store))) == ([], 1)


async def test_a_refusal_fails_it_and_keeps_the_units(store: Store, deps: Deps, port: Shop) -> None:
    one = await placed(store, deps, port)
    port.problem = Conflict("A parcel has left.")
    id = await cancelling(store, one)
    await worked(deps, id, Capability.CANCELS, "FAILED")
    assert ((await item_of(store, id)).error_code, len(await allocations(store))) == ("CONFLICT", 1)


async def test_what_has_a_deadline_is_paid_before_what_has_none(store: Store, deps: Deps, port: Shop) -> None:
    asked_as: list[Priority] = []

    async def noting(key: OrderKey, parcel: Any, ask: Ask, before_send: BeforeSend) -> Receipt:
        asked_as.append(ask.priority)
        return await FakePort.confirm_shipment(port, key, parcel, ask, before_send)

    port.confirm_shipment = noting  # type: ignore[method-assign]
    one = await placed(store, deps, port)
    for deadline in ("null", "now() + interval '1 hour'"):
        id = await ship(store, [one], units=1)
        async with store.begin() as tx:
            await tx.execute(
                text(f"update operation_item set deadline_at = {deadline} where operation_id = :id"), {"id": id}
            )
        await worked(deps, id, Capability.SHIPMENTS, "VERIFIED")
    assert asked_as == [Priority.WRITE, Priority.URGENT]
