"""Held orders: what the row says, what becomes of their units, and the rules that hold them as they come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from domain.hold import Conditions, HoldReason, HoldRule, NewHold
from domain.ids import OrderId
from domain.order import Order, OrderStatus
from store import hold, order, timeline
from store.session import Store
from store.tables import event as event_table
from tests.store.warehouse import PLACES, A, B, allocations, an_order, came, oversales, stocked

NOW = datetime.now(UTC)
SOON = NOW + timedelta(hours=1)


async def held(store: Store, one: Order, until: datetime | None = None, **more: Any) -> set[OrderId]:
    values: dict[str, Any] = {"reason": HoldReason.FRAUD, "words": "Look at it.", "made_by": "ann"}
    async with store.begin() as tx:
        await order.lock(tx, [one.id])
        changed = await hold.hold(tx, [NewHold(order=one.id, keeps_until=until, **values | more)], NOW)
        await hold.tell(tx, changed, PLACES)
        return changed


async def released(store: Store, one: Order) -> set[OrderId]:
    async with store.begin() as tx:
        await order.lock(tx, [one.id])
        changed = await hold.end(tx, [one.id], "bob", NOW, words="looked at.")
        await hold.tell(tx, changed, PLACES)
        return changed


async def lapsed(store: Store, at: datetime) -> int:
    async with store.begin() as tx:
        return await hold.lapse(tx, at, PLACES)


async def kept(store: Store, one: Order) -> Order:
    async with store.begin() as tx:
        return (await order.by_ids(tx, [one.id]))[one.id]


async def steps(store: Store, one: Order) -> list[tuple[str, str]]:
    """(kind, actor) of what people and rules have done to it."""
    async with store.begin() as tx:
        found = (await timeline.by_orders(tx, [one.id])).get(one.id, [])
    return [(step.kind.value, step.actor) for step in found if step.kind.value in ("HELD", "RELEASED", "ALLOCATED")]


async def test_a_held_order_says_so_and_keeps_its_units(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1, {A: 2})
    await came(store, one)
    assert await held(store, one) == {one.id}
    row = await kept(store, one)
    assert (row.held, row.standing, row.status) == ("FRAUD: Look at it.", OrderStatus.ON_HOLD, OrderStatus.UNSHIPPED)
    assert await allocations(store) == {(one.external_id, A, "main"): (2, 0)}
    assert await released(store, one) == {one.id}
    row = await kept(store, one)
    assert (row.held, row.standing) == (None, OrderStatus.UNSHIPPED)
    assert await steps(store, one) == [("HELD", "ann"), ("RELEASED", "bob")]


async def test_holding_and_releasing_twice_changes_nothing_more(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1)
    await came(store, one)
    assert (await held(store, one), await held(store, one)) == ({one.id}, set())
    assert (await released(store, one), await released(store, one)) == ({one.id}, set())
    assert await held(store, one) == {one.id}
    async with store.begin() as tx:
        assert len((await hold.by_orders(tx, [one.id]))[one.id]) == 2


async def test_the_filter_and_the_field_agree_about_what_is_held(store: Store) -> None:
    await stocked(store, A=9)
    orders = [an_order(number) for number in range(1, 4)]
    orders[2] = an_order(3, status=OrderStatus.ON_HOLD)
    await came(store, *orders)
    await held(store, orders[0])
    for wanted in OrderStatus:
        async with store.begin() as tx:
            found, _ = await order.page(tx, first=10, statuses=[wanted])
            assert len(found) == await order.count(tx, statuses=[wanted])
        every = [await kept(store, one) for one in orders]
        assert {one.id for one in found} == {one.id for one in every if one.standing is wanted}


async def test_units_are_given_back_when_their_time_is_over_and_come_back_on_release(store: Store) -> None:
    await stocked(store, A=5)
    one, other = an_order(1, {A: 4}), an_order(2, {A: 4})
    await came(store, one)
    await held(store, one, SOON)
    assert (await lapsed(store, SOON - timedelta(seconds=1)), len(await allocations(store))) == (0, 1)
    assert await lapsed(store, SOON) == 1
    assert (await allocations(store), (await kept(store, one)).let_go) == ({}, True)
    assert await steps(store, one) == [("HELD", "ann"), ("ALLOCATED", "acorn")]
    await came(store, an_order(1, {A: 4}, minute=5, placed_at=one.placed_at))
    assert await allocations(store) == {}  # a newer version of it takes nothing while it is held
    await released(store, one)
    assert await allocations(store) == {(one.external_id, A, "main"): (4, 0)}
    assert not (await kept(store, one)).let_go
    # Twice would be once too often.
    assert await lapsed(store, SOON + timedelta(hours=1)) == 0
    await came(store, other)
    assert [row.units for row in await oversales(store)] == [3]


async def test_an_order_keeps_its_units_while_any_hold_does(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1, {A: 2})
    await came(store, one)
    await held(store, one, SOON)
    await held(store, one, SOON + timedelta(hours=1), reason=HoldReason.STOCK)
    await lapsed(store, SOON)
    assert len(await allocations(store)) == 1
    await lapsed(store, SOON + timedelta(hours=1))
    assert await allocations(store) == {}
    # A new hold begins a new time, in which the units are its own again.
    await held(store, one, SOON + timedelta(hours=3), reason=HoldReason.PAYMENT)
    assert len(await allocations(store)) == 1


async def saved(store: Store, name: str, conditions: Conditions, **more: Any) -> HoldRule:
    rule = HoldRule(name, HoldReason.VALUE, "Many of one.", conditions, **more)
    async with store.begin() as tx:
        return await hold.save_rule(tx, rule, "ann")


async def test_rules_hold_orders_as_they_come_in_and_each_order_once(store: Store) -> None:
    await stocked(store, A=9, B=1)
    await saved(store, "many", Conditions(units_above=2), keeps=timedelta(hours=3))
    await saved(store, "none left", Conditions(oversold=True))
    few, many, beyond = an_order(1, {A: 2}), an_order(2, {A: 3}), an_order(3, {B: 2})
    await came(store, few, many, beyond)
    assert [(await kept(store, one)).held is None for one in (few, many, beyond)] == [True, False, False]
    assert len(await allocations(store)) == 3  # held orders have their units
    await released(store, many)
    await came(store, an_order(2, {A: 3}, minute=9, placed_at=many.placed_at))
    assert (await kept(store, many)).held is None  # people have looked at it
    async with store.begin() as tx:
        assert [rule.name for rule in await hold.rules(tx)] == ["many", "none left"]
        assert (await hold.remove_rule(tx, "many")) is not None
        assert await hold.remove_rule(tx, "many") is None
    await came(store, an_order(4, {A: 3}))
    assert (await kept(store, an_order(4))).held is None


async def test_a_buyers_wish_to_cancel_holds_an_order_that_came_before(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1)
    await came(store, one)
    assert (await kept(store, one)).held is None
    await came(store, an_order(1, minute=3, placed_at=one.placed_at, cancellation_requested=True))
    row = await kept(store, one)
    assert row.cancellation_requested
    assert row.held is not None
    assert row.held.startswith("BUYER_CANCELLATION")


async def test_an_order_that_lost_its_units_has_them_again_when_a_rule_holds_it_anew(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1, {A: 2})
    await came(store, one)
    await held(store, one, SOON)
    await lapsed(store, SOON)
    assert await allocations(store) == {}
    await came(store, an_order(1, {A: 2}, minute=3, placed_at=one.placed_at, cancellation_requested=True))
    assert not (await kept(store, one)).let_go
    assert await allocations(store) == {(one.external_id, A, "main"): (2, 0)}


async def test_a_hold_ends_with_its_order(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1)
    await came(store, one)
    await held(store, one)
    await came(store, an_order(1, minute=3, placed_at=one.placed_at, status=OrderStatus.CANCELLED))
    row = await kept(store, one)
    assert (row.held, row.standing) == (None, OrderStatus.CANCELLED)
    assert (await allocations(store), (await steps(store, one))[-1]) == ({}, ("RELEASED", "acorn"))


async def test_each_change_of_what_is_held_is_told(store: Store) -> None:
    await stocked(store, A=5)
    one = an_order(1)
    await came(store, one)

    async def told() -> int:
        c = event_table.c
        async with store.begin() as tx:
            query = select(func.count()).where(c.kind == "OrderChanged", c.subject == one.id)
            return await tx.scalar(query) or 0

    before = await told()
    await held(store, one, SOON)
    await held(store, one, SOON)
    await lapsed(store, SOON)
    await released(store, one)
    assert await told() == before + 3
