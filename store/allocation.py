"""What orders take from the ledger: promised at first sight, shipped, given back, and each of it once.

`order_allocation` says how far that has come for each line, SKU and place; an order brings nothing new twice, by whatever road
and in whatever order its versions arrive. Locks are taken in the order of: orders, reservations, `sku_stock`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.allocation import Told, choose, lapse_of
from domain.channel import Location, LocationKind
from domain.ids import LineId, LocationCode, OrderId, ReservationId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy
from store import kit, ledger, marks, order, reservation, sourcing
from store.session import among
from store.tables import order_allocation, reservation_hold
from store.tables import reservation as reservation_table

ACTOR = "acorn"
SOURCE = "order"

OPEN = (OrderStatus.PENDING, OrderStatus.UNSHIPPED, OrderStatus.PARTIALLY_SHIPPED, OrderStatus.ON_HOLD)

BEFORE_OUR_TIME = LocationCode("")
"""The place of units that had left before the first count of their SKU: that count was without them."""

Key = tuple[LineId, Sku]


async def settle(tx: AsyncConnection, orders: Sequence[Order], places: Sequence[Location]) -> set[Sku]:
    """Bring what is promised and what has left in step with `orders`, as they are stored; returns the SKUs that changed.

    Open units of orders that we fulfill are allocated at those of `places` that are ours and sell to the order's channel, more
    than there are too: that is noted as an oversale. Of a SKU that no own place counts nothing is taken. A reservation that an
    order names, or that was committed under the order's name, gives its units to the order.

    Where a set of rules holds, it chooses the places (domain.sourcing), and its decisions are kept with their reasons.
    """
    stored = await order.lock(tx, {one.id for one in orders})
    if not stored:
        return set()
    plan = await _wishes(tx, stored)
    _leave_to_pools(plan, places)
    named = await _named(tx, stored.values())
    if not named and not any(wish.differs for wish in plan.wishes.values()):
        return set()
    skus = {sku for _, sku in plan.wishes} | await _skus_of(tx, named)
    await ledger.lock(tx, skus)
    # Once more: one that was committed meanwhile is seen now, or it sees us (store.reservation.commit).
    late = await _committed(tx, stored.values())
    if late.keys() - named.keys():
        skus |= await _skus_of(tx, late)
        await ledger.lock(tx, skus)
    await _read(tx, plan, skus)
    await _take_over(tx, plan, named | late)
    _release_and_ship(plan)
    lacking = plan.lacking()
    desk = await sourcing.desk(tx, skus, lacking) if lacking else None
    await _allocate(plan, places, desk)
    changed = await _write(tx, plan)
    if desk is not None:
        await sourcing.record(tx, desk.made, desk)
    return changed


async def lock(tx: AsyncConnection, orders: Sequence[Order], skus: Collection[Sku]) -> None:
    """Hold `orders`, `skus`, and what `settle` will count for the orders: for whoever posts before it settles.

    SKUs are locked in one order, all at once; somebody who holds some and asks for more meets another who does the reverse.
    """
    stored = await order.lock(tx, {one.id for one in orders})
    plan = await _wishes(tx, stored)
    named = await _skus_of(tx, await _named(tx, stored.values()))
    await ledger.lock(tx, {*skus, *(sku for _, sku in plan.wishes), *named})


async def leave_to_pools(
    tx: AsyncConnection, one: Order, units: Mapping[tuple[LocationCode, LineId], tuple[int, int]]
) -> None:
    """Units of the order's lines that pools have, as (kept, left) by pool and line: `settle` promises them nowhere else.

    The order is locked. No entry is posted: a pool is counted by its channel.
    """
    lines = {line for _, line in units}
    made_of = await _made_of(tx, [one], lines)
    rows = [
        (line, sku, place, kept * each, left * each)
        for (place, line), (kept, left) in sorted(units.items())
        for sku, each in made_of.get(line, [])
    ]
    if rows:
        names = ("lines", "skus", "places", "promised", "shipped")
        values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        await tx.execute(_AT_POOLS, values | {"order": one.id})


async def unsettled(tx: AsyncConnection, ids: Collection[OrderId]) -> list[Order]:
    """Those of `ids` that we fulfill and of which nothing was ever allocated."""
    rows = await tx.scalars(_UNSETTLED, {"ids": list(ids)})
    return list((await order.by_ids(tx, [OrderId(id) for id in rows])).values())


async def waiting(tx: AsyncConnection, skus: Collection[Sku], limit: int = 500) -> list[Order]:
    """At most `limit` open orders that we fulfill, with a line of `skus` or of a kit with them of which nothing was allocated.

    For whoever opens the ledger of a SKU: what was ordered before still lies there, and `settle` promises it.
    """
    rows = await tx.scalars(_WAITING, {"skus": list(skus), "limit": limit})
    return list((await order.by_ids(tx, [OrderId(id) for id in rows])).values())


@dataclass(slots=True)
class _Wish:
    """What a line wants of a SKU, and what it has. Units.

    `open` are to be promised and `shipped` have left; `promised` and `left` are what we have counted so far, by place. `covered`
    were promised by the reservation that the order came from, at a place or (None) at none. Of what is promised at a place,
    `backordered` units wait for announced ones, which are `expected_on` a day.
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
    backordered: dict[LocationCode, int] = field(default_factory=dict)
    expected_on: dict[LocationCode, date | None] = field(default_factory=dict)
    touched: set[LocationCode] = field(default_factory=set)

    @property
    def known(self) -> bool:
        return bool(self.promised or self.left)

    @property
    def newly_shipped(self) -> int:
        return max(0, self.shipped - sum(self.left.values()))

    @property
    def differs(self) -> bool:
        return bool(self.newly_shipped) or sum(self.promised.values()) != self.open

    @property
    def lacking(self) -> int:
        """Units that it wants and that neither it nor its reservation was promised."""
        return self.newly_shipped + self.open - sum(self.promised.values()) - sum(self.covered.values())

    @property
    def wanted(self) -> int:
        return self.open + self.shipped


@dataclass(frozen=True, slots=True)
class _Beyond:
    """Units of a line sold beyond what there was, besides those that stood already: of these, some may have been noted before."""

    units: int
    stood: int


@dataclass(slots=True)
class _Plan:
    """What is to be written, and the counts as they will be then: (on hand, reserved) of SKU and place, and what can be promised
    of a SKU in all, safety stock included. `opened` is when the first entry of a SKU was posted; without it no place of ours
    counts the SKU. `ends` are the holds of reservations that end (True), or last until their order has ended."""

    wishes: dict[Key, _Wish]
    on_hand: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    reserved: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    inbound: defaultdict[tuple[Sku, LocationCode], int] = field(default_factory=lambda: defaultdict(int))
    promisable: defaultdict[Sku, int] = field(default_factory=lambda: defaultdict(int))
    opened: dict[Sku, datetime] = field(default_factory=dict)
    entries: list[NewEntry] = field(default_factory=list)
    ends: dict[tuple[ReservationId, Sku], bool] = field(default_factory=dict)
    beyond: dict[Key, _Beyond] = field(default_factory=dict)

    def of(self, order: Order, sku: Sku) -> list[_Wish]:
        """What the order's lines want of one SKU."""
        return [wish for wish in self.wishes.values() if wish.sku == sku and wish.order.id == order.id]

    def lacking(self) -> set[OrderId]:
        """The orders of which something is to be promised that is promised nowhere."""
        return {wish.order.id for wish in self.wishes.values() if wish.open > sum(wish.promised.values())}

    def cover(self, order: Order, sku: Sku, place: LocationCode | None, units: int) -> int:
        """Keep `units` for what the order still lacks of the SKU; returns how many it does not want."""
        for wish in self.of(order, sku):
            taken = min(units, max(0, wish.lacking))
            wish.covered[place] = wish.covered.get(place, 0) + taken
            units -= taken
        return units

    def places_of(self, sku: Sku, order: Order, places: Sequence[Location]) -> list[LocationCode]:
        """Where the order may take the SKU from: places that count it come first."""
        codes = [one.code for one in places if one.ours and one.sells(order.channel)]
        return sorted(codes, key=lambda code: (sku, code) not in self.on_hand)

    def free(self, sku: Sku, codes: Iterable[LocationCode]) -> dict[LocationCode, int]:
        return {code: max(0, self.on_hand.get((sku, code), 0) - self.reserved.get((sku, code), 0)) for code in codes}

    def coming(self, sku: Sku, code: LocationCode) -> int:
        """Units that are announced there and that nobody waits for."""
        waited = max(0, self.reserved.get((sku, code), 0) - self.on_hand.get((sku, code), 0))
        return max(0, self.inbound.get((sku, code), 0) - waited)

    def post(
        self, wish: _Wish, kind: EntryKind, place: LocationCode, *, on_hand: int = 0, reserved: int = 0, why: str = ""
    ) -> None:
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

    def ship(self, wish: _Wish, place: LocationCode, units: int, *, promised: int) -> None:
        """`units` have left, and `promised` of them were promised there."""
        lacking = units - self.on_hand[wish.sku, place]
        if lacking > 0:
            self.promisable[wish.sku] += lacking
            self.post(wish, EntryKind.ADJUSTMENT, place, on_hand=lacking, why="shipped more than was counted")
        self.post(wish, EntryKind.SHIPMENT, place, on_hand=-units, reserved=-promised)
        wish.left[place] = wish.left.get(place, 0) + units
        if promised:
            wish.promised[place] -= promised

    def promise(self, wish: _Wish, place: LocationCode, units: int) -> None:
        self.post(wish, EntryKind.ALLOCATION, place, reserved=units)
        wish.promised[place] = wish.promised.get(place, 0) + units


async def _wishes(tx: AsyncConnection, orders: Mapping[OrderId, Order]) -> _Plan:
    """What the orders' lines want, and how far that has come; components in the place of kits."""
    a = order_allocation.c
    query = select(order_allocation).where(among(a.order_id, orders))
    rows = (await tx.execute(query.order_by(a.order_line_id, a.sku, a.location))).all()
    ours = [one for one in orders.values() if one.fulfilled_by is FulfilledBy.MERCHANT]
    made_of = await _made_of(tx, ours, {LineId(row.order_line_id) for row in rows})
    wishes: dict[Key, _Wish] = {}
    for one in sorted(ours, key=lambda one: (one.placed_at, one.id)):
        for line in one.lines:
            wanted = line.quantity_open if one.status in OPEN and not one.let_go else 0
            for sku, units in made_of.get(line.id, []):
                assert line.sku is not None
                # A sketch's lines are to be replaced by those of the order: what has left is counted by these.
                shipped = line.quantity_shipped * units if one.whole else 0
                wishes[line.id, sku] = _Wish(one, line.id, sku, line.sku, wanted * units, shipped)
    for row in rows:
        key = LineId(row.order_line_id), Sku(row.sku)
        # A line, or a component, that is there no more wants nothing, and what has left has left.
        wish = wishes.setdefault(key, _Wish(orders[OrderId(row.order_id)], *key, key[1], 0, 0))
        wish.promised[LocationCode(row.location)] = row.quantity
        wish.left[LocationCode(row.location)] = row.shipped
        wish.backordered[LocationCode(row.location)] = row.backordered
        wish.expected_on[LocationCode(row.location)] = row.expected_on
    return _Plan(wishes)


async def _made_of(
    tx: AsyncConnection, orders: Sequence[Order], known: Collection[LineId]
) -> dict[LineId, list[tuple[Sku, int]]]:
    """The (SKU, units) that each line takes from places. A kit whose units are promised stays what it was then."""
    skus = {line.id: line.sku for one in orders for line in one.lines if line.sku is not None}
    kits = await kit.components(tx, set(skus.values()))
    made_of = {line: kits.get(sku, [(sku, 1)]) for line, sku in skus.items()}
    asked = [line for line in skus if line in known]
    if asked:
        rows = await tx.execute(_KITS_THEN, {"lines": asked, "skus": [skus[line] for line in asked]})
        made_of |= {
            LineId(row.line): [(Sku(sku), units) for sku, units in sorted(row.components.items())] for row in rows
        }
    return made_of


def _leave_to_pools(plan: _Plan, places: Sequence[Location]) -> None:
    """What the pools of channels have of each line is nothing that places of ours must promise, or have sent."""
    pools = {one.code for one in places if one.kind is LocationKind.FBA}
    for wish in plan.wishes.values():
        kept = sum(wish.promised.pop(place, 0) for place in pools)
        gone = sum(wish.left.pop(place, 0) for place in pools)
        if kept or gone:
            # Which parcels a channel means it does not say; those of the pool are seen to be shown first.
            shipped = max(0, wish.shipped - gone)
            ours = wish.wanted - kept - gone - max(shipped, sum(wish.left.values()))
            wish.open, wish.shipped = min(wish.open, max(0, ours)), shipped


async def _read(tx: AsyncConnection, plan: _Plan, skus: Collection[Sku]) -> None:
    """The counts, under the locks of the SKUs."""
    for sku, found in (await ledger.balances(tx, skus)).items():
        for one in found:
            plan.on_hand[sku, one.location] = one.on_hand
            plan.reserved[sku, one.location] = one.reserved
            plan.inbound[sku, one.location] = one.inbound
    plan.promisable.update(await reservation.promisable(tx, skus, spared=False))
    plan.opened.update({Sku(row.sku): row.at for row in await tx.execute(_OPENED, {"skus": list(skus)})})


def _release_and_ship(plan: _Plan) -> None:
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


async def _allocate(plan: _Plan, places: Sequence[Location], desk: sourcing.Desk | None) -> None:
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


def _take_off(plan: _Plan, key: Key, wish: _Wish, places: Sequence[Location]) -> int:
    """Take what the line wants off what can be promised, and ship what has left unseen; returns the units to be promised."""
    if wish.newly_shipped and not wish.known and wish.order.placed_at < plan.opened.get(wish.sku, _NEVER):
        _leave_out(plan, wish)
    shipped, wanted = wish.newly_shipped, wish.open - sum(wish.promised.values())
    codes = _codes(plan, wish, places)
    if wish.sku not in plan.opened or not codes:
        return 0
    covered = sum(wish.covered.values())
    fresh = max(0, shipped + wanted - covered)
    beyond = max(0, fresh - max(0, plan.promisable[wish.sku]))
    plan.promisable[wish.sku] -= shipped + wanted - covered
    if beyond:
        plan.beyond[key] = _Beyond(beyond, wish.wanted - shipped - wanted)
    for place, units in _chosen(plan, wish, shipped, codes).items():
        plan.ship(wish, place, units, promised=0)
    return wanted


def _codes(plan: _Plan, wish: _Wish, places: Sequence[Location]) -> list[LocationCode]:
    return plan.places_of(wish.sku, wish.order, places) or [place for place in wish.covered if place is not None]


def _source(plan: _Plan, wanted: Mapping[Key, int], places: Sequence[Location], desk: sourcing.Desk) -> None:
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
    plan: _Plan, own: Sequence[Location], wants: Iterable[Sku]
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
    plan: _Plan,
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
            wish.backordered[place] = wish.backordered.get(place, 0) + waiting
            wish.expected_on[place] = expected_on.get(sku)
    plan.promisable[sku] += missing
    if beyond := plan.beyond.pop(key, None):
        left = beyond.units - spared - missing
        if left > 0:
            plan.beyond[key] = _Beyond(left, beyond.stood)


def _leave_out(plan: _Plan, wish: _Wish) -> None:
    """Units that had left before the first count of their SKU, which was without them."""
    if wish.sku in plan.opened:
        wish.left[BEFORE_OUR_TIME] = wish.newly_shipped
        wish.touched.add(BEFORE_OUR_TIME)


def _chosen(plan: _Plan, wish: _Wish, units: int, codes: Sequence[LocationCode]) -> dict[LocationCode, int]:
    """Where to take `units` from: first where the reservation had them, then as always, at the first place what is nowhere."""
    chosen: defaultdict[LocationCode, int] = defaultdict(int, _from_reservation(plan, wish, units))
    rest = choose(units - sum(chosen.values()), plan.free(wish.sku, codes))
    for place, taken in rest.items():
        chosen[place] += taken
    if sum(chosen.values()) < units:
        chosen[codes[0]] += units - sum(chosen.values())
    return dict(chosen)


def _from_reservation(plan: _Plan, wish: _Wish, units: int) -> dict[LocationCode, int]:
    """Of `units`, those that the order's reservation had at places: they are its no more."""
    chosen: dict[LocationCode, int] = {}
    for place, covered in wish.covered.items():
        taken = min(covered, units - sum(chosen.values()))
        if place is not None and taken:
            chosen[place] = taken
            wish.covered[place] -= taken
            plan.reserved[wish.sku, place] -= taken
    return chosen


async def _write(tx: AsyncConnection, plan: _Plan) -> set[Sku]:
    posted = await ledger.post(tx, plan.entries)
    await marks.caused(tx, _sold(plan))
    told = {one.sku for one in plan.entries}
    ended = {sku for (_, sku), ends in plan.ends.items() if ends}
    if plan.ends:
        values = {
            "ids": [id for id, _ in plan.ends],
            "skus": [sku for _, sku in plan.ends],
            "ends": list(plan.ends.values()),
            "at": posted[0].at if posted else await reservation.now(tx),
        }
        await tx.execute(_END, values)
        await ledger.tell(tx, ended - told)
    rows = [
        (wish, place)
        for _, wish in sorted(plan.wishes.items(), key=lambda one: one[0])
        for place in sorted(wish.touched)
    ]
    if rows:
        values = {
            "lines": [wish.line for wish, _ in rows],
            "skus": [wish.sku for wish, _ in rows],
            "places": [place for _, place in rows],
            "orders": [wish.order.id for wish, _ in rows],
            "promised": [wish.promised.get(place, 0) for wish, place in rows],
            "shipped": [wish.left.get(place, 0) for wish, place in rows],
            "backordered": [min(wish.backordered.get(place, 0), wish.promised.get(place, 0)) for wish, place in rows],
            "expected": [wish.expected_on.get(place) for wish, place in rows],
        }
        await tx.execute(_KEEP, values)
    if plan.beyond:
        await _note_oversales(tx, [(plan.wishes[key], plan.beyond[key]) for key in sorted(plan.beyond)])
    return told | ended


def _sold(plan: _Plan) -> dict[Sku, datetime]:
    """When the oldest of the orders that take units of each SKU was placed."""
    sold: dict[Sku, datetime] = {}
    for entry in plan.entries:
        if entry.kind is EntryKind.ALLOCATION and entry.order_line is not None:
            placed_at = plan.wishes[entry.order_line, entry.sku].order.placed_at
            sold[entry.sku] = min(sold.get(entry.sku, placed_at), placed_at)
    return sold


async def _named(tx: AsyncConnection, orders: Collection[Order]) -> dict[ReservationId, Order]:
    """The reservations that the orders came from; those that orders name themselves are held from here on.

    Buyers can write any name into an order: it gets no reservation of another order or another channel.
    """
    by_ref: defaultdict[ReservationId, list[Order]] = defaultdict(list)
    for one in sorted(orders, key=lambda one: (one.placed_at, one.id)):
        if one.refs.get("reservation"):
            by_ref[ReservationId(str(one.refs["reservation"]))].append(one)
    named: dict[ReservationId, Order] = {}
    if by_ref:
        r = reservation_table.c
        query = select(r.id, r.reference, r.channel).where(among(r.id, by_ref), r.released_at.is_(None))
        for row in await tx.execute(query.order_by(r.id).with_for_update()):
            id = ReservationId(row.id)
            for one in by_ref[id]:
                if row.reference in (None, one.external_id) and row.channel in (None, one.channel):
                    named.setdefault(id, one)
    return await _committed(tx, orders) | named


async def _committed(tx: AsyncConnection, orders: Collection[Order]) -> dict[ReservationId, Order]:
    """The reservations that were committed under the name of one of `orders`."""
    by_name = {(one.channel, one.external_id): one for one in orders}
    r = reservation_table.c
    rows = await tx.execute(
        select(r.id, r.channel, r.reference).where(
            among(r.reference, sorted({name for _, name in by_name})),
            r.committed_at.is_not(None),
            r.released_at.is_(None),
        )
    )
    found: dict[ReservationId, Order] = {}
    for row in rows:
        for (channel, name), one in by_name.items():
            if name == row.reference and row.channel in (None, channel):
                found[ReservationId(row.id)] = one
    return found


async def _skus_of(tx: AsyncConnection, ids: Collection[ReservationId]) -> set[Sku]:
    if not ids:
        return set()
    h = reservation_hold.c
    return {Sku(sku) for sku in await tx.scalars(select(h.sku).where(among(h.reservation_id, ids)).distinct())}


async def _take_over(tx: AsyncConnection, plan: _Plan, named: Mapping[ReservationId, Order]) -> None:
    """What reservations hold, or have allocated, is given to the orders that they became; the rest of it is free."""
    live = await _live(tx, named)
    for (id, sku, place), units in sorted((await reservation.allocated(tx, live)).items()):
        plan.entries.append(
            NewEntry(
                sku=sku,
                location=place,
                kind=EntryKind.RELEASE,
                reason=f"order {named[id].external_id} has its units",
                actor=ACTOR,
                source=SOURCE,
                reserved=-units,
                reference=named[id].external_id,
                reservation=id,
            )
        )
        rest = plan.cover(named[id], sku, place, units)
        plan.promisable[sku] += rest
        plan.reserved[sku, place] -= rest
    h = reservation_hold.c
    query = select(h.reservation_id, h.sku, h.quantity).where(among(h.reservation_id, live), h.ended_at.is_(None))
    for row in await tx.execute(query.order_by(h.reservation_id, h.sku)):
        id, sku = ReservationId(row.reservation_id), Sku(row.sku)
        # No place of ours counts it: the hold is all that keeps it for the order.
        keep = sku not in plan.opened and any(wish.open for wish in plan.of(named[id], sku))
        plan.ends[id, sku] = not keep
        if not keep:
            plan.promisable[sku] += plan.cover(named[id], sku, None, row.quantity)


async def _live(tx: AsyncConnection, named: Mapping[ReservationId, Order]) -> list[ReservationId]:
    """Those of the reservations that hold or have allocated something; an open one is committed by its order."""
    r, h = reservation_table.c, reservation_hold.c
    ended = exists().where(h.reservation_id == r.id, h.ended_at.is_not(None))
    opened = update(reservation_table).where(
        among(r.id, named),
        r.committed_at.is_(None),
        r.released_at.is_(None),
        r.expires_at > func.clock_timestamp(),
        ~ended,
    )
    await tx.execute(opened.values(committed_at=func.clock_timestamp()))
    query = select(r.id, r.reference).where(among(r.id, named), r.committed_at.is_not(None), r.released_at.is_(None))
    live = (await tx.execute(query.order_by(r.id))).all()
    for row in live:
        if row.reference is None:
            # From here on it is this order's, whoever else names it.
            name = named[ReservationId(row.id)].external_id
            await tx.execute(update(reservation_table).where(r.id == row.id).values(reference=name))
    return [ReservationId(row.id) for row in live]


async def _note_oversales(tx: AsyncConnection, sold: Sequence[tuple[_Wish, _Beyond]]) -> None:
    """Say which lag let each sale in: what the channel had been told of the SKU by the time it sold it."""
    seen_at = await reservation.now(tx)
    told: defaultdict[int, list[Told]] = defaultdict(list)
    asked = {
        "skus": [wish.listed_as for wish, _ in sold],
        "channels": [wish.order.channel for wish, _ in sold],
        "placed": [wish.order.placed_at for wish, _ in sold],
        "limit": _PUSHES,
    }
    for row in await tx.execute(_TOLD, asked):
        told[row.number].append(Told((row.channel_sku, row.place), row.quantity, row.sent_at, row.confirmed_at))
    lapses = [lapse_of(wish.order.placed_at, seen_at, told[number]) for number, (wish, _) in enumerate(sold, start=1)]
    rows = [
        {
            "order_line_id": wish.line,
            "sku": wish.sku,
            "channel": wish.order.channel,
            "units": beyond.units,
            "stood": beyond.stood,
            "placed_at": wish.order.placed_at,
            "seen_at": seen_at,
            "shown": lapse.shown,
            "told_at": lapse.told_at,
            "cause": lapse.cause,
        }
        for (wish, beyond), lapse in zip(sold, lapses, strict=True)
    ]
    await tx.execute(_NOTE, rows)


_NEVER = datetime.min.replace(tzinfo=UTC)

_BREATH = 10  # so many orders are decided before others have their turn

# Many more than a channel is told within the time that it takes to confirm one.
_PUSHES = 100

_TOLD = text(
    """
    select asked.number, push.* from unnest(
        cast(:skus as text[]), cast(:channels as text[]), cast(:placed as timestamptz[])
    ) with ordinality as asked (sku, channel, placed_at, number)
    cross join lateral (
        select channel_sku, place, quantity, sent_at, confirmed_at from stock_push
        where sku = asked.sku and channel = asked.channel and sent_at <= asked.placed_at and error_code is null
        order by sent_at desc limit :limit
    ) push
    """
)

_NOTE = text(
    """
    insert into oversale as kept (order_line_id, sku, channel, units, placed_at, seen_at, shown, told_at, cause)
    values (:order_line_id, :sku, :channel, :units, :placed_at, :seen_at, :shown, :told_at, :cause)
    on conflict (order_line_id, sku) do update set
        units = greatest(kept.units, least(kept.units, cast(:stood as integer)) + excluded.units)
    """
)

_IS_OPEN = "kept.status in (" + ", ".join(f"'{status.value}'" for status in OPEN) + ")"

_OPENED = text(
    """
    select sku, min(first.at) at from stock_balance kept cross join lateral (
        select at from stock_entry where sku = kept.sku and location = kept.location order by id limit 1
    ) first
    where sku = any(cast(:skus as text[])) group by sku
    """
)

_KITS_THEN = text(
    """
    select asked.line, past.components
    from unnest(cast(:lines as text[]), cast(:skus as text[])) as asked (line, sku)
    join kit_history past on past.kit = asked.sku
    cross join lateral (select min(at) at from stock_entry where order_line_id = asked.line) first
    where past.from_at <= first.at and past.until_at > first.at
    """
)

_UNSETTLED = text(
    """
    select id from "order" kept
    where id = any(cast(:ids as text[])) and fulfilled_by = 'MERCHANT' and status <> 'CANCELLED'
        and not exists (select from order_allocation where order_id = kept.id)
    """
)

_WAITING = text(
    f"""
    select distinct kept.id from order_line line join "order" kept on kept.id = line.order_id
    where line.sku = any(array(
            select unnest(cast(:skus as text[]))
            union select kit from kit_component where component = any(cast(:skus as text[]))
        ))
        and kept.fulfilled_by = 'MERCHANT' and {_IS_OPEN}
        and not exists (
            select from order_allocation where order_line_id = line.id and sku = any(cast(:skus as text[]))
        )
    order by kept.id limit :limit
    """  # noqa: S608 - words of ours
)

_KEEP = text(
    """
    insert into order_allocation as kept (
        order_line_id, sku, location, order_id, quantity, shipped, backordered, expected_on, changed_at
    )
    select line, sku, place, order_id, promised, shipped, backordered,
        case when backordered > 0 then expected_on end, clock_timestamp()
    from unnest(
        cast(:lines as text[]), cast(:skus as text[]), cast(:places as text[]), cast(:orders as text[]),
        cast(:promised as integer[]), cast(:shipped as integer[]), cast(:backordered as integer[]),
        cast(:expected as date[])
    ) as fresh (line, sku, place, order_id, promised, shipped, backordered, expected_on)
    on conflict (order_line_id, sku, location) do update set
        quantity = excluded.quantity, shipped = excluded.shipped, backordered = excluded.backordered,
        expected_on = excluded.expected_on, changed_at = excluded.changed_at
    """
)

_AT_POOLS = text(
    """
    insert into order_allocation as kept (order_line_id, sku, location, order_id, quantity, shipped, changed_at)
    select line, sku, place, :order, promised, shipped, clock_timestamp() from unnest(
        cast(:lines as text[]), cast(:skus as text[]), cast(:places as text[]), cast(:promised as integer[]),
        cast(:shipped as integer[])
    ) as fresh (line, sku, place, promised, shipped)
    on conflict (order_line_id, sku, location) do update set
        quantity = excluded.quantity, shipped = excluded.shipped, changed_at = excluded.changed_at
    where (kept.quantity, kept.shipped) is distinct from (excluded.quantity, excluded.shipped)
    """
)

_END = text(
    """
    update reservation_hold held set
        ended_at = case when ends.now then cast(:at as timestamptz) end,
        expires_at = case when ends.now then expires_at else 'infinity' end
    from unnest(cast(:ids as text[]), cast(:skus as text[]), cast(:ends as boolean[])) as ends (id, sku, now)
    where held.reservation_id = ends.id and held.sku = ends.sku and held.ended_at is null
    """
)
