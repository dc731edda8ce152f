"""From where orders take their units, worked out over counts that were read under locks: nothing here is read or written."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby

from domain.allocation import choose
from domain.channel import Location
from domain.ids import LineId, LocationCode, OrderId, ReservationId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.order import Order
from store import sourcing

ACTOR = "acorn"
SOURCE = "order"

BEFORE_OUR_TIME = LocationCode("")
"""The place of units that had left before the first count of their SKU: that count was without them."""

Key = tuple[LineId, Sku]


@dataclass(slots=True)
class Wish:
    """What a line wants of a SKU, and what it has. Units.

    `open` are to be promised and `shipped` have left; `promised` and `left` are what we have counted so far, by place. `covered`
    were promised by the reservation that the order came from, at a place or (None) at none, and `had` is what it had in all. Of
    what is promised at a place, `backordered` units wait for announced ones, which are `expected_on` a day. `nowhere` are newly
    promised units that lie at no place and wait for nothing.
    """

    order: Order
    line: LineId
    sku: Sku
    listed_as: Sku
    open: int
    shipped: int
    promised: dict[LocationCode, int] = field(default_factory=dict)
    left: dict[LocationCode, int] = field(default_factory=dict)
    covered: dict[LocationCode | None, int] = field(default_factory=dict)
    had: int = 0
    backordered: dict[LocationCode, int] = field(default_factory=dict)
    expected_on: dict[LocationCode, date | None] = field(default_factory=dict)
    nowhere: int = 0
    touched: set[LocationCode] = field(default_factory=set)

    @property
    def known(self) -> bool:
        """Has anything of it been counted before?"""
        return bool(self.promised or self.left)

    @property
    def newly_shipped(self) -> int:
        """Units that have left and were not counted so yet."""
        return max(0, self.shipped - sum(self.left.values()))

    @property
    def differs(self) -> bool:
        """Is anything to be counted anew?"""
        return bool(self.newly_shipped) or sum(self.promised.values()) != self.open

    @property
    def lacking(self) -> int:
        """Units that it wants and that neither it nor its reservation was promised."""
        return self.newly_shipped + self.open - sum(self.promised.values()) - sum(self.covered.values())

    @property
    def wanted(self) -> int:
        """Units in all, those that have left among them."""
        return self.open + self.shipped


@dataclass(frozen=True, slots=True)
class Beyond:
    """Units of a line sold beyond what there was, besides those that stood already: of these, some may have been noted before."""

    units: int
    stood: int


@dataclass(slots=True)
class Plan:
    """What is to be written, and the counts as they will be then: (on hand, reserved) of SKU and place, and what can be promised
    of a SKU at own places in all, safety stock included. `elsewhere` are units that others count, FBA among them; `beside` is
    what the order's channel may sell of them, known where own places do not suffice. `opened` is when the first entry of a SKU
    was posted; without it no place of ours counts the SKU. `ends` are the holds of reservations that end (True), or last until
    their order has ended."""

    wishes: dict[Key, Wish]
    on_hand: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    reserved: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    inbound: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    promisable: defaultdict[Sku, int] = field(default_factory=lambda: defaultdict(int))
    elsewhere: dict[Sku, int] = field(default_factory=dict)
    beside: dict[Key, int] = field(default_factory=dict)
    opened: dict[Sku, datetime] = field(default_factory=dict)
    entries: list[NewEntry] = field(default_factory=list)
    ends: dict[tuple[ReservationId, Sku], bool] = field(default_factory=dict)
    beyond: dict[Key, Beyond] = field(default_factory=dict)

    def of(self, order: Order, sku: Sku) -> list[Wish]:
        """What the order's lines want of one SKU."""
        return [wish for wish in self.wishes.values() if wish.sku == sku and wish.order.id == order.id]

    def lacking(self) -> set[OrderId]:
        """The orders of which something is to be promised that is promised nowhere."""
        return {wish.order.id for wish in self.wishes.values() if wish.open > sum(wish.promised.values())}

    def short(self) -> set[Sku]:
        """SKUs that own places count and of which orders lack more than these can promise, while others have some."""
        lacking: defaultdict[Sku, int] = defaultdict(int)
        for wish in self.wishes.values():
            gone = wish.newly_shipped if self.left_before(wish) else 0
            lacking[wish.sku] += max(0, wish.lacking - gone)
        return {
            sku
            for sku, units in lacking.items()
            if sku in self.opened and self.elsewhere.get(sku) and units > max(0, self.promisable[sku])
        }

    def left_before(self, wish: Wish) -> bool:
        """Had units of it left before the first count of their SKU?"""
        opened = self.opened.get(wish.sku)
        early = opened is not None and wish.order.placed_at < opened
        return early and not wish.known and wish.newly_shipped > 0

    def cover(self, order: Order, sku: Sku, place: LocationCode | None, units: int) -> int:
        """Keep `units` for what the order still lacks of the SKU; returns how many it does not want."""
        for wish in self.of(order, sku):
            taken = min(units, max(0, wish.lacking))
            wish.covered[place] = wish.covered.get(place, 0) + taken
            wish.had += taken
            units -= taken
        return units

    def places_of(self, sku: Sku, order: Order, places: Sequence[Location]) -> list[LocationCode]:
        """Where the order may take the SKU from: places that count it come first."""
        codes = [one.code for one in places if one.ours and one.sells(order.channel)]
        return sorted(codes, key=lambda code: (sku, code) not in self.on_hand)

    def free(self, sku: Sku, codes: Iterable[LocationCode]) -> dict[LocationCode, int]:
        """Units that lie there and that nobody was promised."""
        return {code: max(0, self.on_hand.get((sku, code), 0) - self.reserved.get((sku, code), 0)) for code in codes}

    def coming(self, sku: Sku, code: LocationCode) -> int:
        """Units that are announced there and that nobody waits for."""
        waited = max(0, self.reserved.get((sku, code), 0) - self.on_hand.get((sku, code), 0))
        return max(0, self.inbound.get((sku, code), 0) - waited)

    def post(
        self, wish: Wish, kind: EntryKind, place: LocationCode, *, on_hand: int = 0, reserved: int = 0, why: str = ""
    ) -> None:
        """Note an entry, and count with it from here on."""
        self.on_hand[wish.sku, place] += on_hand
        self.reserved[wish.sku, place] += reserved
        wish.touched.add(place)
        self.entries.append(
            NewEntry(
                sku=wish.sku,
                location=place,
                kind=kind,
                reason=why or f"order {wish.order.external_id}",
                actor=ACTOR,
                source=SOURCE,
                on_hand=on_hand,
                reserved=reserved,
                reference=wish.order.external_id,
                order_line=wish.line,
            )
        )

    def ship(self, wish: Wish, place: LocationCode, units: int, *, promised: int) -> None:
        """`units` have left, and `promised` of them were promised there."""
        lacking = units - self.on_hand[wish.sku, place]
        if lacking > 0:
            self.promisable[wish.sku] += lacking
            self.post(wish, EntryKind.ADJUSTMENT, place, on_hand=lacking, why="shipped more than was counted")
        self.post(wish, EntryKind.SHIPMENT, place, on_hand=-units, reserved=-promised)
        wish.left[place] = wish.left.get(place, 0) + units
        if promised:
            wish.promised[place] -= promised

    def promise(self, wish: Wish, place: LocationCode, units: int) -> None:
        """`units` are promised there."""
        wish.nowhere += max(0, units - self.free(wish.sku, [place])[place])
        self.post(wish, EntryKind.ALLOCATION, place, reserved=units)
        wish.promised[place] = wish.promised.get(place, 0) + units


def release_and_ship(plan: Plan) -> None:
    """What orders give back, and what has left of what was promised to them."""
    for wish in plan.wishes.values():
        for place in sorted(wish.promised):
            units = min(wish.newly_shipped, wish.promised[place])
            if units:
                plan.ship(wish, place, units, promised=units)
        # Where more was promised than there is, it is given back first.
        for place in sorted(wish.promised, key=lambda place: (plan.free(wish.sku, [place])[place], place)):
            units = min(sum(wish.promised.values()) - wish.open, wish.promised[place])
            if units > 0:
                plan.post(wish, EntryKind.RELEASE, place, reserved=-units)
                plan.promisable[wish.sku] += units
                wish.promised[place] -= units
                # What it waits for goes first.
                wish.backordered[place] = max(0, wish.backordered.get(place, 0) - units)


async def allocate(plan: Plan, places: Sequence[Location], desk: sourcing.Desk | None) -> None:
    """What orders want beyond what they have; units that have left unseen were sold like any other."""
    for number, (_, group) in enumerate(groupby(plan.wishes.items(), key=lambda one: one[1].order.id), start=1):
        if number % _BREATH == 0:
            await asyncio.sleep(0)
        wanted = {key: _take_off(plan, key, wish, places) for key, wish in group}
        if desk is not None:
            _source(plan, wanted, places, desk)
            continue
        for key, units in wanted.items():
            wish = plan.wishes[key]
            for place, taken in _chosen(plan, wish, units, _codes(plan, wish, places)).items():
                plan.promise(wish, place, taken)


def _take_off(plan: Plan, key: Key, wish: Wish, places: Sequence[Location]) -> int:
    """Take what the line wants off what can be promised, and ship what has left unseen; returns the units to be promised."""
    if plan.left_before(wish):
        # That count was without them.
        wish.left[BEFORE_OUR_TIME] = wish.newly_shipped
        wish.touched.add(BEFORE_OUR_TIME)
    shipped, wanted = wish.newly_shipped, wish.open - sum(wish.promised.values())
    codes = _codes(plan, wish, places)
    if wish.sku not in plan.opened or not codes:
        return 0
    covered = sum(wish.covered.values())
    fresh = max(0, shipped + wanted - covered)
    beyond = max(0, fresh - max(0, plan.promisable[wish.sku] + plan.beside.get(key, 0)))
    plan.promisable[wish.sku] -= shipped + wanted - covered
    if beyond:
        plan.beyond[key] = Beyond(beyond, wish.wanted - shipped - wanted)
    for place, units in _chosen(plan, wish, shipped, codes).items():
        plan.ship(wish, place, units, promised=0)
    return wanted


def _codes(plan: Plan, wish: Wish, places: Sequence[Location]) -> list[LocationCode]:
    return plan.places_of(wish.sku, wish.order, places) or [place for place in wish.covered if place is not None]


def _source(plan: Plan, wanted: Mapping[Key, int], places: Sequence[Location], desk: sourcing.Desk) -> None:
    """Promise what one order wants where its reservation had it, and the rest as the rules say."""
    rest: dict[Key, int] = {}
    for key, units in wanted.items():
        wish = plan.wishes[key]
        kept = _from_reservation(plan, wish, units)
        for place, taken in kept.items():
            plan.promise(wish, place, taken)
        if missing := units - sum(kept.values()):
            rest[key] = missing
    if not rest:
        return
    wants: defaultdict[Sku, int] = defaultdict(int)
    for (_, sku), units in rest.items():
        wants[sku] += units
    one = plan.wishes[next(iter(rest))].order
    own = [place for place in places if place.ours and place.sells(one.channel)]
    free, inbound = _supplies(plan, own, wants)
    decision = desk.decide(one, wants, own, free, inbound)
    chosen, waits = dict(decision.units), dict(decision.backordered)
    for key, missing in rest.items():
        _promise_at(plan, key, missing, chosen, waits, decision.expected_on)


def _supplies(
    plan: Plan, own: Sequence[Location], wants: Iterable[Sku]
) -> tuple[dict[LocationCode, dict[Sku, int]], dict[LocationCode, dict[Sku, int]]]:
    """What each place has free and what is coming, of the SKUs that it counts; of one that none counts, nothing at each."""
    free: dict[LocationCode, dict[Sku, int]] = {place.code: {} for place in own}
    inbound: dict[LocationCode, dict[Sku, int]] = {place.code: {} for place in own}
    for sku in wants:
        counted = [place.code for place in own if (sku, place.code) in plan.on_hand] or list(free)
        for code, units in plan.free(sku, counted).items():
            free[code][sku], inbound[code][sku] = units, plan.coming(sku, code)
    return free, inbound


def _promise_at(
    plan: Plan,
    key: Key,
    missing: int,
    units: dict[tuple[LocationCode, Sku], int],
    waits: dict[tuple[LocationCode, Sku], int],
    expected_on: Mapping[Sku, date],
) -> None:
    """Promise a line its part of what was chosen for the order. What waits for announced units, or is sent from nowhere, is no
    sale beyond what there was."""
    wish, sku = plan.wishes[key], key[1]
    spared = 0
    # A line gets what lies there before one behind it does.
    for place in sorted((code for code, its in units if its == sku), key=lambda code: waits.get((code, sku), 0)):
        taken = min(missing, units[place, sku])
        if not taken:
            continue
        units[place, sku] -= taken
        missing -= taken
        waiting = max(0, waits.get((place, sku), 0) - units[place, sku])
        plan.promise(wish, place, taken)
        if waiting:
            waits[place, sku] -= waiting
            spared += waiting
            wish.nowhere = max(0, wish.nowhere - waiting)
            wish.backordered[place] = wish.backordered.get(place, 0) + waiting
            wish.expected_on[place] = expected_on.get(sku)
    plan.promisable[sku] += missing
    if beyond := plan.beyond.pop(key, None):
        left = beyond.units - spared - missing
        if left > 0:
            plan.beyond[key] = Beyond(left, beyond.stood)


def _chosen(plan: Plan, wish: Wish, units: int, codes: Sequence[LocationCode]) -> dict[LocationCode, int]:
    """Where to take `units` from: first where the reservation had them, then as always, at the first place what is nowhere."""
    chosen: defaultdict[LocationCode, int] = defaultdict(int, _from_reservation(plan, wish, units))
    rest = choose(units - sum(chosen.values()), plan.free(wish.sku, codes))
    for place, taken in rest.items():
        chosen[place] += taken
    if sum(chosen.values()) < units:
        chosen[codes[0]] += units - sum(chosen.values())
    return dict(chosen)


def _from_reservation(plan: Plan, wish: Wish, units: int) -> dict[LocationCode, int]:
    """Of `units`, those that the order's reservation had at places: they are its no more."""
    chosen: dict[LocationCode, int] = {}
    for place, covered in wish.covered.items():
        taken = min(covered, units - sum(chosen.values()))
        if place is not None and taken:
            chosen[place] = taken
            wish.covered[place] -= taken
            plan.reserved[wish.sku, place] -= taken
    return chosen


_BREATH = 10  # so many orders are decided before others have their turn
