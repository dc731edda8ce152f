"""Orders are sent from where the rules say: decided once, kept with the reasons, moved by hand, and waiting for what comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text, update

from domain.channel import Location
from domain.errors import Conflict, NotFound
from domain.fulfillment import FulfillmentStatus
from domain.hold import Conditions, HoldReason, HoldRule
from domain.ids import LocationCode, Sku, line_id
from domain.ledger import EntryKind
from domain.order import Order, OrderStatus
from domain.person import Destination
from domain.sourcing import Decided
from domain.sourcing_rules import Backorder, Exclusion, Goal, Pace, Rate, Restriction, SourcingRules, Zone
from store import backorder, fulfillment, hold, order, sourcing, timeline
from store.session import Store
from store.tables import event, product, sourcing_decision, sourcing_rules
from tests.store.warehouse import (
    MAIN,
    SHOP,
    SIDE,
    A,
    B,
    allocations,
    an_order,
    balance,
    came,
    committed,
    entry,
    kit,
    later,
    oversales,
    place,
    posted,
    products,
    promisable,
    reserved,
    statements,
    wrong,
)

PLACES = [place(MAIN), place(SIDE)]
N1, N2 = "302-0000001", "302-0000002"
CHEAP_SIDE = SourcingRules(
    goals=(Goal.COST,),
    currency="EUR",
    zones=(Zone("germany", "DE"),),
    rates=(Rate(MAIN, "germany", Decimal("5.90")), Rate(SIDE, "germany", Decimal("3.90"), days=2)),
)


async def ruled(store: Store, rules: SourcingRules | None) -> None:
    async with store.begin() as tx:
        await sourcing.keep_rules(tx, rules, "ops")


async def both(store: Store, main: int = 5, side: int = 5) -> None:
    await products(store, A, B)
    await posted(store, *(entry(A, units, code) for code, units in ((MAIN, main), (SIDE, side)) if units))


async def decided(store: Store, one: Order) -> Decided:
    async with store.begin() as tx:
        return (await sourcing.by_orders(tx, [one.id]))[one.id]


async def decisions(store: Store) -> int:
    async with store.begin() as tx:
        return len((await tx.execute(select(sourcing_decision))).all())


def to_germany(number: int = 1, lines: dict[Sku, int] | None = None, **more: Any) -> Order:
    return an_order(number, lines, **{"destination": Destination("DE", "109"), **more})


async def changed(store: Store) -> list[str]:
    async with store.begin() as tx:
        query = select(event.c.subject).where(event.c.kind == "OrderChanged").order_by(event.c.id)
        return list((await tx.scalars(query)).all())


async def test_rules_choose_the_place_and_the_reasons_are_kept(store: Store) -> None:
    await both(store)
    await ruled(store, CHEAP_SIDE)
    one = to_germany(lines={A: 2})
    await came(store, one, places=PLACES)
    await came(store, one, places=PLACES)
    assert await allocations(store) == {(N1, A, SIDE): (2, 0)}
    made = await decided(store, one)
    assert [(c.place, c.units, c.reason) for c in made.candidates] == [(MAIN, 0, "5.90 EUR, not 3.90"), (SIDE, 2, None)]
    assert made.candidates[1].arrives_on == made.at.date() + timedelta(days=2)
    assert [(o.places, o.scores, o.reason) for o in made.options] == [
        ((SIDE,), {Goal.COST: Decimal("3.90")}, None),
        ((MAIN,), {Goal.COST: Decimal("5.90")}, "5.90 EUR, not 3.90"),
    ]
    async with store.begin() as tx:
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
    assert [step.words for step in steps if step.kind.value == "SOURCED"] == [f"by rules {made.version}: 2 from side"]
    assert await decisions(store) == 1


async def test_without_rules_nothing_is_decided_and_places_are_taken_as_always(store: Store) -> None:
    await both(store)
    await came(store, to_germany(1), places=PLACES)
    await ruled(store, CHEAP_SIDE)
    await ruled(store, None)
    await came(store, to_germany(2), places=PLACES)
    assert await allocations(store) == {(N1, A, MAIN): (1, 0), (N2, A, MAIN): (1, 0)}
    assert await decisions(store) == 0


async def test_a_set_that_holds_already_is_not_kept_again_and_older_ones_stay_readable(store: Store) -> None:
    await ruled(store, CHEAP_SIDE)
    await ruled(store, replace(CHEAP_SIDE))
    await ruled(store, replace(CHEAP_SIDE, most_parcels=1))
    async with store.begin() as tx:
        kept = await tx.scalars(select(sourcing_rules.c.rules).order_by(sourcing_rules.c.version.desc()))
        now = await sourcing.current(tx)
    assert [rules["most_parcels"] for rules in kept] == [1, None]
    assert now is not None
    assert (now.most_parcels, now.made_by) == (1, "ops")


async def test_a_kit_and_two_lines_of_one_sku_are_decided_together(store: Store) -> None:
    await products(store, A, B, Sku("PAIR"))
    await kit(store, Sku("PAIR"), A=1, B=1)
    await posted(store, entry(A, 3, MAIN), entry(A, 1, SIDE), entry(B, 1, SIDE), entry(B, 0, MAIN, inbound=1))
    await ruled(store, SourcingRules(goals=(Goal.PARCELS,)))
    await came(store, to_germany(lines={A: 2, Sku("PAIR"): 1}), places=PLACES)
    there = [(await balance(store, sku, code))[1] for sku in (A, B) for code in (MAIN, SIDE)]
    assert (there, await wrong(store)) == ([3, 0, 0, 1], [])


async def test_a_reservation_keeps_its_place_and_rules_choose_for_the_rest(store: Store) -> None:
    await both(store)
    held = await reserved(store, lines={A: 2})
    await committed(store, held.id, places=PLACES, reference=N1)
    await ruled(store, CHEAP_SIDE)
    await came(store, to_germany(lines={A: 3}), places=PLACES)
    assert await allocations(store) == {(N1, A, MAIN): (2, 0), (N1, A, SIDE): (1, 0)}
    assert (await promisable(store), await wrong(store)) == (7, [])


async def test_what_no_place_may_send_is_named_and_not_promised_and_decided_anew_by_newer_rules(store: Store) -> None:
    await both(store)
    hot = replace(CHEAP_SIDE, restrictions=(Restriction("lithium", "hazmat", (MAIN,), ("Ground",)),))
    async with store.begin() as tx:
        await tx.execute(
            update(product).where(product.c.sku == A).values(attributes=[{"name": "tag", "value": "hazmat"}])
        )
    await ruled(store, hot)
    one = to_germany(lines={A: 2}, service="NextDay")
    for _ in range(3):
        await came(store, one, places=PLACES)
    assert await allocations(store) == {}
    assert (await decided(store, one)).unplaced == {
        A: "main: 'lithium' allows A with Ground alone; side: 'lithium' allows A from main alone"
    }
    assert (await decisions(store), await oversales(store), await promisable(store)) == (1, [], 10)
    async with store.begin() as tx:
        assert await backorder.anew(tx, PLACES) == []
    await ruled(store, CHEAP_SIDE)
    before = len(await changed(store))
    async with store.begin() as tx:
        assert await backorder.anew(tx, PLACES) == [one.id]
    async with store.begin() as tx:
        assert await backorder.anew(tx, PLACES) == []
    assert await allocations(store) == {(N1, A, SIDE): (2, 0)}
    assert (await changed(store))[before:] == [one.id]


async def test_a_line_that_comes_later_and_may_be_sent_from_nowhere_is_decided_anew_too(store: Store) -> None:
    await both(store)
    await posted(store, entry(B, 5))
    await ruled(store, replace(CHEAP_SIDE, exclusions=(Exclusion("no B", (MAIN, SIDE), sku=B),)))
    one = to_germany(lines={A: 1})
    await came(store, one, places=PLACES)
    for minute in (1, 2):
        await came(store, to_germany(lines={A: 1, B: 1}, placed_at=one.placed_at, minute=minute), places=PLACES)
    assert list((await decided(store, one)).unplaced) == [B]
    assert await decisions(store) == 2
    await ruled(store, CHEAP_SIDE)
    async with store.begin() as tx:
        assert await backorder.anew(tx, PLACES) == [one.id]
    assert await allocations(store) == {(N1, A, SIDE): (1, 0), (N1, B, MAIN): (1, 0)}


async def test_an_excluded_place_gives_nothing_though_it_has_all(store: Store) -> None:
    await both(store, side=1)
    away = replace(CHEAP_SIDE, exclusions=(Exclusion("inventory", (MAIN,)),))
    await ruled(store, away)
    await came(store, to_germany(lines={A: 2}), places=PLACES)
    assert await allocations(store) == {(N1, A, SIDE): (2, 0)}
    assert await oversales(store) == []  # there are units, only not where it may be sent from


async def test_beyond_its_day_a_place_sends_the_day_after_and_the_promise_decides(store: Store) -> None:
    await both(store)
    await ruled(store, replace(CHEAP_SIDE, goals=(Goal.LATENESS, Goal.COST), paces=(Pace(SIDE, orders_per_day=2),)))
    now = await later(store)
    # A zone where it is about noon: the day does not end while we look.
    noon = [replace(one, time_zone=f"Etc/GMT{now.hour - 12:+}") for one in PLACES]
    today = now + timedelta(hours=1)
    orders = [to_germany(number, ship_by=today) for number in (1, 2, 3)]
    await came(store, *orders[:1], places=noon)
    await came(store, *orders[1:], places=noon)
    places = {number: code for number, _, code in await allocations(store)}
    assert sorted(places.values()) == [MAIN, SIDE, SIDE]
    (last,) = (one for one in orders if places[one.external_id] == MAIN)
    assert [c.reason for c in (await decided(store, last)).candidates] == [None, "1 day late, not 0"]
    # What is cancelled leaves room.
    first = next(one for one in orders if places[one.external_id] == SIDE)
    gone = replace(first, status=OrderStatus.CANCELLED, updated_at=first.updated_at + timedelta(minutes=1))
    await came(store, gone, places=noon)
    await came(store, to_germany(4, ship_by=today), places=noon)
    assert ("302-0000004", A, SIDE) in await allocations(store)


async def test_a_sketch_that_turns_out_to_be_its_order_takes_its_place_of_a_day_once(store: Store) -> None:
    await both(store)
    await ruled(store, replace(CHEAP_SIDE, goals=(Goal.LATENESS, Goal.COST), paces=(Pace(SIDE, orders_per_day=2),)))
    now = await later(store)
    noon = [replace(one, time_zone=f"Etc/GMT{now.hour - 12:+}") for one in PLACES]
    today = now + timedelta(hours=1)
    sketch, other = to_germany(1, ship_by=today, whole=False), to_germany(2, ship_by=today)
    await came(store, sketch, places=noon)
    lines = [replace(line, id=line_id(sketch.id, "7001"), external_id="7001") for line in sketch.lines]
    await came(store, replace(sketch, whole=True, lines=lines), places=noon)
    await came(store, other, places=noon)
    assert await allocations(store) == {(N1, A, SIDE): (1, 0), (N2, A, SIDE): (1, 0)}
    # The day is full, and still its own: deciding about it again does not send it away.
    more = replace(
        other, lines=[replace(other.lines[0], quantity=2)], updated_at=other.updated_at + timedelta(minutes=1)
    )
    await came(store, more, places=noon)
    assert (await allocations(store))[N2, A, SIDE] == (2, 0)


# ── what waits ──

SOON = replace(CHEAP_SIDE, backorders=(Backorder("spring", sku=A, expected_on=date(2027, 3, 1)),))


async def waiting(store: Store, one: Order) -> list[tuple[str, int, int, date | None]]:
    async with store.begin() as tx:
        found = (await fulfillment.by_orders(tx, [one.id])).get(one.id, [])
    return [(f.place, line.quantity, line.backordered, line.expected_on) for f in found for line in f.lines]


async def come(store: Store) -> list[str]:
    async with store.begin() as tx:
        return list(await backorder.arrived(tx))


async def test_announced_units_are_promised_when_they_come_to_the_oldest_order_first(store: Store) -> None:
    await products(store, A)
    await posted(store, entry(A, 1), entry(A, inbound=5, kind=EntryKind.EXPECTED))
    await ruled(store, SOON)
    now = datetime.now(UTC) - timedelta(hours=1)
    older = to_germany(1, {A: 3}, placed_at=now)
    newer = to_germany(2, {A: 2}, placed_at=now + timedelta(minutes=1))
    await came(store, newer, places=PLACES)
    await came(store, older, places=PLACES)
    # The newer one was seen first, and has the unit that was there.
    assert await waiting(store, newer) == [(MAIN, 2, 1, date(2027, 3, 1))]
    assert await waiting(store, older) == [(MAIN, 3, 3, date(2027, 3, 1))]
    assert (await oversales(store), await come(store)) == ([], [])
    await posted(store, entry(A, 3, inbound=-3))
    assert await come(store) == [older.id]
    assert [await waiting(store, one) for one in (older, newer)] == [
        [(MAIN, 3, 0, None)],
        [(MAIN, 2, 1, date(2027, 3, 1))],
    ]
    await posted(store, entry(A, 2, inbound=-2))
    assert (await come(store), await come(store)) == ([newer.id], [])
    assert (await balance(store), await promisable(store), await wrong(store)) == ((6, 5), 1, [])
    async with store.begin() as tx:
        steps = (await timeline.by_orders(tx, [newer.id]))[newer.id]
    assert "1 of A that it waited for have come to main" in [step.words for step in steps]


async def test_beyond_what_is_announced_and_without_a_rule_it_is_an_oversale(store: Store) -> None:
    await products(store, A)
    await posted(store, entry(A, 1), entry(A, inbound=1, kind=EntryKind.EXPECTED))
    await ruled(store, SOON)
    await came(store, to_germany(1, {A: 4}), places=PLACES)
    assert [row.units for row in await oversales(store)] == [2]
    await ruled(store, CHEAP_SIDE)
    await posted(store, entry(A, inbound=5, kind=EntryKind.EXPECTED))
    two = to_germany(2, {A: 2})
    await came(store, two, places=PLACES)
    assert sorted(row.units for row in await oversales(store)) == [2, 2]
    assert [line[2] for line in await waiting(store, two)] == [0]


async def test_of_two_lines_that_want_the_same_the_first_has_what_is_there(store: Store) -> None:
    await products(store, A, Sku("DUO"))
    await kit(store, Sku("DUO"), A=2)
    await posted(store, entry(A, 2), entry(A, inbound=3, kind=EntryKind.EXPECTED))
    await ruled(store, SOON)
    one = to_germany(1, {A: 1, Sku("DUO"): 2})
    await came(store, one, places=PLACES)
    async with store.begin() as tx:
        (found,) = (await fulfillment.by_orders(tx, [one.id]))[one.id]
    its = {line.line: (line.quantity, line.backordered) for line in found.lines}
    assert [its[line.id] for line in one.lines] == [(1, 0), (4, 3)]
    assert (await oversales(store), await wrong(store)) == ([], [])


async def test_a_cancelled_backorder_waits_no_more(store: Store) -> None:
    await products(store, A)
    await posted(store, entry(A, 0, inbound=2, kind=EntryKind.EXPECTED))
    await ruled(store, SOON)
    one = to_germany(1, {A: 2})
    await came(store, one, places=PLACES)
    await came(store, to_germany(1, {A: 1}, minute=1, placed_at=one.placed_at), places=PLACES)
    assert await waiting(store, one) == [(MAIN, 1, 1, date(2027, 3, 1))]
    gone = replace(one, status=OrderStatus.CANCELLED, updated_at=one.updated_at + timedelta(minutes=2))
    await came(store, gone, places=PLACES)
    assert await waiting(store, one) == []


async def test_what_an_order_wants_no_more_it_waited_for(store: Store) -> None:
    """Nobody is told that something came."""
    await products(store, A)
    await posted(store, entry(A, 3, inbound=2, kind=EntryKind.EXPECTED))
    await ruled(store, SOON)
    one = to_germany(1, {A: 5})
    await came(store, one, places=PLACES)
    assert await waiting(store, one) == [(MAIN, 5, 2, date(2027, 3, 1))]
    await came(store, to_germany(1, {A: 3}, minute=1, placed_at=one.placed_at), places=PLACES)
    assert await waiting(store, one) == [(MAIN, 3, 0, None)]
    assert await come(store) == []


# ── by hand ──


async def moved(store: Store, one: Order, code: LocationCode, to: Location, **more: Any) -> None:
    async with store.begin() as tx:
        await fulfillment.move(tx, one.id, code, to, by="ops", why="the belt stands still", **more)


async def test_a_fulfillment_is_moved_whole_and_once(store: Store) -> None:
    await both(store)
    one = to_germany(lines={A: 3}, shipped={A: 1})
    await came(store, an_order(1, {A: 3}, placed_at=one.placed_at, minute=-1), places=PLACES)
    await came(store, one, places=PLACES)
    before = len(await changed(store))
    await moved(store, one, MAIN, PLACES[1])
    assert await allocations(store) == {(N1, A, MAIN): (0, 1), (N1, A, SIDE): (2, 0)}
    assert (await balance(store), await balance(store, A, SIDE), await wrong(store)) == ((4, 0), (5, 2), [])
    assert (await changed(store))[before:] == [one.id]
    with pytest.raises(NotFound):
        await moved(store, one, MAIN, PLACES[1])
    # It stays moved when the order comes once more, and can come back.
    await came(store, replace(one, updated_at=one.updated_at + timedelta(minutes=1)), places=PLACES)
    await moved(store, one, SIDE, PLACES[0])
    assert await allocations(store) == {(N1, A, MAIN): (2, 1)}
    async with store.begin() as tx:
        steps = (await timeline.by_orders(tx, [one.id]))[one.id]
        (found,) = (await fulfillment.by_orders(tx, [one.id]))[one.id]
        kept = (await order.by_ids(tx, [one.id]))[one.id]
    assert [step.words for step in steps if step.kind.value == "SOURCED"] == [
        "2 of A: from side instead of main (the belt stands still)",
        "2 of A: from main instead of side (the belt stands still)",
    ]
    assert found.status(kept) is FulfillmentStatus.PARTIALLY_SHIPPED


async def test_a_move_is_refused_where_units_or_rules_are_missing_and_changes_nothing(store: Store) -> None:
    await both(store, side=1)
    one = to_germany(lines={A: 2})
    await came(store, one, places=PLACES)
    with pytest.raises(Conflict, match="side has 1 of A free, and 2 are to be moved there"):
        await moved(store, one, MAIN, PLACES[1])
    with pytest.raises(Conflict, match="does not send for amazon-eu"):
        await moved(store, one, MAIN, place(SIDE, SHOP))
    await posted(store, entry(A, 5, SIDE))
    await ruled(store, replace(CHEAP_SIDE, exclusions=(Exclusion("no parcels to there", (SIDE,), country="DE"),)))
    with pytest.raises(Conflict, match="excluded by 'no parcels to there'"):
        await moved(store, one, MAIN, PLACES[1])
    assert await allocations(store) == {(N1, A, MAIN): (2, 0)}
    await moved(store, one, MAIN, PLACES[1], force=True)
    assert await allocations(store) == {(N1, A, SIDE): (2, 0)}


# ── what it costs ──


async def cost(store: Store, orders: Sequence[Order]) -> int:
    with statements(store) as seen:
        await came(store, *orders, places=PLACES)
    return len(seen)


async def test_a_page_of_orders_costs_as_many_statements_as_one_order_with_and_without_rules(store: Store) -> None:
    await both(store, main=500, side=500)
    without = await cost(store, [to_germany(1)])
    assert await cost(store, [to_germany(number) for number in range(2, 60)]) == without
    await ruled(store, replace(CHEAP_SIDE, paces=(Pace(SIDE, orders_per_day=1000),)))
    ruling = await cost(store, [to_germany(100)])
    assert await cost(store, [to_germany(number) for number in range(101, 160)]) == ruling
    assert await decisions(store) == 60
    # Nor do more where units are missing, and a rule holds them for it.
    async with store.begin() as tx:
        await hold.save_rule(tx, HoldRule("none left", HoldReason.STOCK, "None.", Conditions(oversold=True)), "ann")
    beyond = await cost(store, [to_germany(200, {A: 2000})])
    assert await cost(store, [to_germany(number, {A: 2000}) for number in range(201, 220)]) == beyond
    assert len(await oversales(store)) == 20


async def test_old_decisions_are_forgotten_with_their_parcels(store: Store) -> None:
    await both(store)
    await ruled(store, CHEAP_SIDE)
    await came(store, to_germany(1), places=PLACES)
    async with store.begin() as tx:
        assert await sourcing.forget(tx, datetime.now(UTC) - timedelta(days=1)) == 0
        assert await sourcing.forget(tx, datetime.now(UTC) + timedelta(days=1)) == 1
        assert await tx.scalar(text("select count(*) from sourcing_parcel")) == 0
    assert len(await allocations(store)) == 1
