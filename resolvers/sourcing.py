"""The rules by which it is chosen from where orders are sent, and what others would have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from domain.errors import Invalid
from domain.fulfillment import Fulfillment
from domain.ids import LocationCode, OrderId, Sku
from domain.order import Order
from domain.sourcing import Decided, Decision, Supply, Units, placed
from domain.sourcing_rules import Goal, SourcingRules, check
from resolvers.shelf import Shelf
from store import fulfillment, order, sourcing
from store.session import ONE_SNAPSHOT
from store.sourcing import Desk, Then

MOST_REPLAYED = 500
MOST_SAMPLES = 20
BREATH = 10  # so many orders are decided before others have their turn


async def rules(shelf: Shelf) -> SourcingRules | None:
    """The set that holds; None where none does."""
    async with shelf.store.begin() as tx:
        return await sourcing.current(tx)


async def save(shelf: Shelf, wanted: SourcingRules | None, by: str) -> SourcingRules | None:
    """From now on `wanted` holds; None: no rules do. Raises Invalid, with the path in the set as its field."""
    if wanted is not None:
        _check(shelf, wanted)
    async with shelf.store.begin() as tx:
        return await sourcing.keep_rules(tx, wanted, by)


async def decisions(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, Decided]:
    """The newest decision about each order; one that no rules decided about is missing."""
    async with shelf.store.begin() as tx:
        return await sourcing.by_orders(tx, ids)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What sending an order from `places` comes to; None where it is not known. `late` are days."""

    places: tuple[LocationCode, ...]
    cost: Decimal | None
    late: int | None
    short: int
    unplaced: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """An order that would have been sent otherwise, and why not as it was."""

    order: Order
    before: Outcome
    after: Outcome
    reasons: tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """Sums over the orders that were replayed. `cost` is that of the `priced` orders, whose cost is known both ways; `late` are
    orders, by `late_days` together."""

    parcels: int = 0
    cost: Decimal = Decimal(0)
    late: int = 0
    late_days: int = 0
    short: int = 0
    unplaced: int = 0


@dataclass(slots=True)
class Replay:
    """What a set of rules would have done: `moved` of `examined` orders. `complete` says whether there were no more of them;
    the newest are taken. Both ways are measured by the rates and paces of the set that is tried."""

    currency: str | None
    examined: int = 0
    complete: bool = True
    moved: int = 0
    priced: int = 0
    before: Totals = field(default_factory=Totals)
    after: Totals = field(default_factory=Totals)
    samples: list[Moved] = field(default_factory=list)


async def preview(
    shelf: Shelf, wanted: SourcingRules, placed_from: datetime | None, placed_to: datetime | None
) -> Replay:
    """Decide about past orders by `wanted`, each over the stock as it was when it was given its units. Nothing is written.

    What earlier orders of the replay would have left or taken elsewhere is not carried on: each is looked at over what really lay
    there. At most MOST_REPLAYED orders, the newest. Raises Invalid.
    """
    _check(shelf, wanted)
    if placed_from is not None and placed_to is not None and placed_to <= placed_from:
        raise Invalid("It would end before it begins.", field=("placedTo",))
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        ids = await sourcing.past(tx, placed_from, placed_to, MOST_REPLAYED + 1)
        orders = await order.by_ids(tx, ids[:MOST_REPLAYED])
        parts = await fulfillment.by_orders(tx, orders)
        then = await sourcing.stock_then(tx, orders)
        tags = await sourcing.tags(tx, {one.sku for its in then.values() for one in its})
    found = Replay(wanted.currency, complete=len(ids) <= MOST_REPLAYED)
    desks = tuple(Desk(wanted, shelf.clock(), tags, {}) for _ in range(2))
    for number, one in enumerate(sorted(orders.values(), key=lambda one: (one.placed_at, one.id))):
        if number % BREATH == 0:
            await asyncio.sleep(0)
        _replay(shelf, found, desks, one, parts.get(one.id, []), then.get(one.id, []))
    return found


def _replay(
    shelf: Shelf,
    found: Replay,
    desks: Sequence[Desk],
    one: Order,
    parts: Sequence[Fulfillment],
    then: Sequence[Then],
) -> None:
    """Decide about one order, and add up both ways."""
    real: Units = {}
    wants: dict[Sku, int] = {}
    for part in parts:
        for line in part.lines:
            key = part.place, line.sku
            real[key] = real.get(key, 0) + line.quantity
            wants[line.sku] = wants.get(line.sku, 0) + line.quantity
    free: dict[LocationCode, dict[Sku, int]] = {place.code: {} for place in shelf.locations if place.ours}
    inbound: dict[LocationCode, dict[Sku, int]] = {code: {} for code in free}
    for had in then:
        if had.place in free:
            left = had.on_hand - had.reserved
            free[had.place][had.sku], inbound[had.place][had.sku] = max(0, left), max(0, had.inbound + min(0, left))
    if not wants or any(code not in free for code, _ in real):
        return  # of a place that is ours no more nothing can be reckoned
    past, tried = desks
    past.at = tried.at = one.placed_at
    places = [place for place in shelf.locations if place.ours]
    supplies = past.supplies(places, free, inbound, sum(wants.values()))
    before = _outcome(past, one, wants, supplies, real, _short(real, free))
    past.take(supplies, real)
    supplies = tried.supplies(places, free, inbound, sum(wants.values()))
    sellers = [place for place in places if place.sells(one.channel)]
    decision = tried.decide(one, wants, sellers, free, inbound)
    after = _outcome(tried, one, wants, supplies, decision.units, sum(decision.short.values()))
    after = Outcome(after.places, after.cost, after.late, after.short, sum(wants[sku] for sku in decision.unplaced))
    _add(found, before, after)
    if decision.units != real:
        found.moved += 1
        if len(found.samples) < MOST_SAMPLES:
            found.samples.append(Moved(one, before, after, _reasons(decision, real)))


def _outcome(
    desk: Desk, one: Order, wants: Mapping[Sku, int], supplies: Sequence[Supply], units: Units, short: int
) -> Outcome:
    scores = placed(desk.rules, sourcing.asked_by(one, wants, desk.tags), supplies, units)
    cost, late = scores[Goal.COST] if units else None, scores[Goal.LATENESS]
    places = tuple(dict.fromkeys(code for code, _ in sorted(units)))
    return Outcome(places, None if cost is None else Decimal(cost), None if late is None else int(late), short)


def _short(units: Units, free: Mapping[LocationCode, Mapping[Sku, int]]) -> int:
    return sum(max(0, count - free[code].get(sku, 0)) for (code, sku), count in units.items())


def _add(found: Replay, before: Outcome, after: Outcome) -> None:
    found.examined += 1
    priced = before.cost is not None and after.cost is not None
    found.priced += priced
    for totals, one in ((found.before, before), (found.after, after)):
        totals.parcels += len(one.places)
        totals.cost += one.cost if priced and one.cost is not None else 0
        totals.late += bool(one.late)
        totals.late_days += one.late or 0
        totals.short += one.short
        totals.unplaced += one.unplaced


def _reasons(decision: Decision, real: Units) -> tuple[str, ...]:
    """Why the places that it was sent from lost."""
    was = {code for code, _ in real}
    return tuple(f"{one.place}: {one.reason}" for one in decision.candidates if one.place in was and one.reason)


def _check(shelf: Shelf, wanted: SourcingRules) -> None:
    check(wanted, _ours(shelf), shelf.channels)


def _ours(shelf: Shelf) -> Iterable[LocationCode]:
    return [place.code for place in shelf.locations if place.ours]
