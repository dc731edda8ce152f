"""The rules by which it is chosen from where orders are sent, and what was chosen by them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.ids import LocationCode, OrderId, Sku
from domain.order import Order
from domain.sourcing import Asked, Candidate, Decided, Decision, Option, Score, Supply, decide, leaves_on
from domain.sourcing_rules import Goal, SourcingRules, from_json, to_json
from domain.timeline import Step, StepKind
from store import locks, timeline
from store.session import AnyRow, among
from store.tables import sourcing_decision, sourcing_parcel, sourcing_rules

ACTOR = "acorn"

r = sourcing_rules.c
d = sourcing_decision.c


async def current(tx: AsyncConnection) -> SourcingRules | None:
    """The set that holds; None where none does."""
    row = (await tx.execute(select(sourcing_rules).order_by(r.version.desc()).limit(1))).one_or_none()
    return None if row is None or row.rules is None else _rules(row)


async def keep_rules(tx: AsyncConnection, rules: SourcingRules | None, by: str) -> SourcingRules | None:
    """Keep a set as the newest version, and answer it; the one that holds already is not kept again. None: from now on no rules
    hold. Sets are to be checked before."""
    # One after the other: the later one shall be the newer one.
    await tx.execute(select(func.pg_advisory_xact_lock(locks.SOURCING_RULES)))
    before = await current(tx)
    contents = None if rules is None else to_json(rules)
    if contents == (None if before is None else to_json(before)):
        return before
    statement = insert(sourcing_rules).values(rules=contents, made_by=by).returning(sourcing_rules)
    row = (await tx.execute(statement)).one()
    return None if row.rules is None else _rules(row)


@dataclass(frozen=True, slots=True)
class Made:
    """A decision about an order, and the days on which its units leave."""

    order: OrderId
    decision: Decision
    leaves: Mapping[LocationCode, date]


@dataclass(slots=True)
class Desk:
    """All that is needed to decide about the orders of one transaction: the rules, the products' tags, and what leaves already.

    Capacities are counted and not locked: orders that come in at the same instant may overfill a day by what is on its way.
    """

    rules: SourcingRules
    at: datetime
    tags: Mapping[Sku, frozenset[str]]
    load: dict[LocationCode, dict[date, tuple[int, int]]]
    made: list[Made] = field(default_factory=list)

    def decide(
        self,
        order: Order,
        wants: Mapping[Sku, int],
        places: Sequence[Location],
        free: Mapping[LocationCode, Mapping[Sku, int]],
        inbound: Mapping[LocationCode, Mapping[Sku, int]],
    ) -> Decision:
        """Choose for one order, and remember it. `free` and `inbound` are those SKUs that each place counts."""
        supplies = self.supplies(places, free, inbound, sum(wants.values()))
        decision = decide(self.rules, asked_by(order, wants, self.tags), supplies)
        self.take(supplies, decision.units)
        leaves = {one.place: one.leaves_on for one in supplies if one.place in decision.places}
        self.made.append(Made(order.id, decision, leaves))
        return decision

    def supplies(
        self,
        places: Sequence[Location],
        free: Mapping[LocationCode, Mapping[Sku, int]],
        inbound: Mapping[LocationCode, Mapping[Sku, int]],
        units: int,
    ) -> list[Supply]:
        """What each place can give to an order of so many units, and when that would leave."""
        return [self._supply(one, free[one.code], inbound[one.code], units) for one in places]

    def take(self, supplies: Sequence[Supply], units: Mapping[tuple[LocationCode, Sku], int]) -> None:
        """From now on `units` leave on the days on which they were to."""
        sent: Counter[LocationCode] = Counter()
        for (code, _), count in units.items():
            sent[code] += count
        for one in supplies:
            if one.place in sent:
                days = self.load.setdefault(one.place, {})
                orders, before = days.get(one.leaves_on, (0, 0))
                days[one.leaves_on] = orders + 1, before + sent[one.place]

    def _supply(self, place: Location, free: Mapping[Sku, int], inbound: Mapping[Sku, int], units: int) -> Supply:
        zone = ZoneInfo(place.time_zone)
        pace = self.rules.pace_of(place.code)
        day = leaves_on(pace, zone, self.at, self.load.get(place.code, {}), units)
        return Supply(place.code, free, day, zone, inbound, place.latitude, place.longitude)


def asked_by(order: Order, wants: Mapping[Sku, int], tags: Mapping[Sku, frozenset[str]]) -> Asked:
    """What the rules are told of an order."""
    return Asked(
        channel=order.channel,
        wants=wants,
        tags={sku: tags.get(sku, frozenset()) for sku in wants},
        destination=order.destination,
        service=order.service,
        ship_by=order.ship_by,
        deliver_by=order.deliver_by,
    )


async def desk(tx: AsyncConnection, skus: Collection[Sku], orders: Collection[OrderId]) -> Desk | None:
    """What decisions about `orders` with these `skus` rest on; None where no rules hold, which one statement tells."""
    query = select(sourcing_rules, func.clock_timestamp().label("now")).order_by(r.version.desc()).limit(1)
    row = (await tx.execute(query)).one_or_none()
    if row is None or row.rules is None:
        return None
    rules = _rules(row)
    return Desk(rules, row.now, await tags(tx, skus), await _load(tx, rules, row.now, orders))


async def tags(tx: AsyncConnection, skus: Collection[Sku]) -> dict[Sku, frozenset[str]]:
    """What rules know products by: the values of their attribute `tag`, and each attribute as `name:value`."""
    rows = await tx.execute(_TAGS, {"skus": list(skus)})
    return {
        Sku(row.sku): frozenset(
            word
            for one in row.attributes
            for word in ([str(one["value"])] if one["name"] == "tag" else []) + [f"{one['name']}:{one['value']}"]
        )
        for row in rows
    }


async def record(tx: AsyncConnection, made: Sequence[Made], desk: Desk) -> None:
    """Keep decisions with their reasons, and note them. One that sends nothing is kept unless the last one said the same."""
    if not made:
        return
    rows = [
        {
            "order_id": one.order,
            "version": desk.rules.version,
            "at": desk.at.isoformat(),
            "unplaced": sum(1 for _ in one.decision.unplaced),
            "decision": _row(one.decision),
            "sends": bool(one.decision.units),
        }
        for one in made
    ]
    kept = {row.order_id: row.id for row in await tx.execute(_RECORD, {"rows": orjson.dumps(rows).decode()})}
    parcels = [
        {"decision_id": kept[one.order], "order_id": one.order, "location": code, "leaves_on": day, "units": units}
        for one in made
        if one.order in kept
        for code, units in sorted(_units(one.decision).items())
        for day in [one.leaves[code]]
    ]
    if parcels:
        await tx.execute(insert(sourcing_parcel).values(parcels))
    steps = [_step(one, kept[one.order], desk.rules.version) for one in made if one.order in kept]
    await timeline.note(tx, steps)


async def by_orders(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, Decided]:
    """The newest decision about each order; one that no rules decided about is missing."""
    query = select(sourcing_decision).ext(distinct_on(d.order_id)).where(among(d.order_id, ids))
    rows = await tx.execute(query.order_by(d.order_id, d.id.desc()))
    return {OrderId(row.order_id): _decided(row) for row in rows}


async def past(
    tx: AsyncConnection, placed_from: datetime | None, placed_to: datetime | None, limit: int
) -> list[OrderId]:
    """The newest `limit` orders placed then that have been sent, or are to be, from places of ours."""
    values = {"from": placed_from, "to": placed_to, "limit": limit}
    return [OrderId(id) for id in await tx.scalars(_PAST, values)]


@dataclass(frozen=True, slots=True)
class Then:
    """What a place had of a SKU right before an order was given its first unit of it."""

    sku: Sku
    place: LocationCode
    on_hand: int
    reserved: int
    inbound: int


async def stock_then(tx: AsyncConnection, ids: Collection[OrderId]) -> dict[OrderId, list[Then]]:
    """What every own place had of each order's SKUs when it was given units, by the ledger, which forgets nothing."""
    found: defaultdict[OrderId, list[Then]] = defaultdict(list)
    for row in await tx.execute(_THEN, {"ids": list(ids)}):
        one = Then(Sku(row.sku), LocationCode(row.location), int(row.on_hand), int(row.reserved), int(row.inbound))
        found[OrderId(row.order_id)].append(one)
    return dict(found)


async def forget(tx: AsyncConnection, before: datetime, limit: int = 5000) -> int:
    """Forget at most `limit` decisions that were made before then; returns how many."""
    old = select(d.id).where(d.at < before).order_by(d.at).limit(limit)
    return (await tx.execute(delete(sourcing_decision).where(d.id.in_(old)))).rowcount


async def _load(
    tx: AsyncConnection, rules: SourcingRules, at: datetime, deciding: Collection[OrderId]
) -> dict[LocationCode, dict[date, tuple[int, int]]]:
    """The (orders, units) that leave places with a capacity from yesterday on, which is still today somewhere; without the orders
    that are being decided about, which take no room from themselves."""
    limited = [one.place for one in rules.paces if one.orders_per_day is not None or one.units_per_day is not None]
    load: defaultdict[LocationCode, dict[date, tuple[int, int]]] = defaultdict(dict)
    if limited:
        for row in await tx.execute(_LOAD, {"places": limited, "at": at, "deciding": list(deciding)}):
            load[LocationCode(row.location)][row.leaves_on] = row.orders, row.units
    return dict(load)


def _units(decision: Decision) -> Counter[LocationCode]:
    units: Counter[LocationCode] = Counter()
    for (code, _), count in decision.units.items():
        units[code] += count
    return units


def _step(one: Made, id: int, version: int) -> Step:
    told = [f"{units} from {code}" for code, units in sorted(_units(one.decision).items())]
    waits = sum(one.decision.backordered.values())
    words = f"by rules {version}: {', '.join(told) or 'nothing'}"
    if waits:
        words += f"; {waits} of it when it has come"
    if one.decision.unplaced:
        words += f"; from nowhere: {', '.join(sorted(one.decision.unplaced))}"
    return Step(one.order, StepKind.SOURCED, ACTOR, words, f"sourced:{id}")


def _rules(row: AnyRow) -> SourcingRules:
    return replace(from_json(row.rules), version=row.version, made_by=row.made_by, made_at=row.made_at)


def _row(decision: Decision) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "place": one.place,
                "units": one.units,
                "reason": one.reason,
                "leaves_on": one.leaves_on,
                "arrives_on": one.arrives_on,
            }
            for one in decision.candidates
        ],
        "options": [
            {
                "places": one.places,
                "scores": {goal.value: None if score is None else str(score) for goal, score in one.scores.items()},
                "reason": one.reason,
            }
            for one in decision.options
        ],
        "unplaced": decision.unplaced,
        "exact": decision.exact,
    }


def _decided(row: AnyRow) -> Decided:
    told = row.decision
    return Decided(
        version=row.version,
        at=row.at,
        candidates=tuple(
            Candidate(
                LocationCode(one["place"]),
                one["units"],
                one["reason"],
                _day(one["leaves_on"]),
                _day(one["arrives_on"]),
            )
            for one in told["candidates"]
        ),
        options=tuple(
            Option(tuple(map(LocationCode, one["places"])), _scores(one["scores"].items()), one["reason"])
            for one in told["options"]
        ),
        unplaced={Sku(sku): reason for sku, reason in told["unplaced"].items()},
        exact=told["exact"],
    )


def _scores(told: Iterable[tuple[str, str | None]]) -> dict[Goal, Score]:
    return {Goal(goal): None if score is None else Decimal(score) for goal, score in told}


def _day(told: str | None) -> date | None:
    return None if told is None else date.fromisoformat(told)


_TAGS = text("select sku, attributes from product where sku = any(cast(:skus as text[]))")

_RECORD = text(
    """
    insert into sourcing_decision (order_id, version, at, unplaced, decision)
    select order_id, version, at, unplaced, decision
    from json_to_recordset(cast(:rows as json)) as fresh (
        order_id text, version bigint, at timestamptz, unplaced integer, decision jsonb, sends boolean
    )
    where sends or not exists (
        select from (
            select version, decision from sourcing_decision old where old.order_id = fresh.order_id order by id desc limit 1
        ) kept
        where kept.version = fresh.version and kept.decision -> 'unplaced' = fresh.decision -> 'unplaced'
    )
    returning id, order_id
    """
)

# What was given back or moved away meanwhile leaves no more. An order that was decided about again leaves once: on the day that
# was decided last, with all that the place has for it.
_LOAD = text(
    """
    select location, leaves_on, count(*) orders, cast(sum(kept.units) as bigint) units
    from (
        select distinct on (order_id, location) order_id, location, leaves_on from sourcing_parcel
        where location = any(cast(:places as text[])) and leaves_on >= cast(:at as timestamptz)::date - 1
            and order_id <> all(cast(:deciding as text[]))
        order by order_id, location, decision_id desc
    ) parcel
    cross join lateral (
        select sum(part.quantity + part.shipped) units from order_allocation part
        where part.order_id = parcel.order_id and part.location = parcel.location
    ) kept
    where kept.units > 0
    group by location, leaves_on
    """
)

_PAST = text(
    """
    select id from "order" kept
    where fulfilled_by = 'MERCHANT' and placed_at >= coalesce(cast(:from as timestamptz), '-infinity')
        and placed_at < coalesce(cast(:to as timestamptz), 'infinity')
        and exists (
            select from order_allocation where order_id = kept.id and quantity + shipped > 0 and location <> ''
        )
    order by placed_at desc, id desc limit :limit
    """
)

# One pass over the entries of these SKUs: a mark stands in the stream before the first entry of each order.
_THEN = text(
    """
    with asked as (
        select part.order_id, part.sku, min(given.id) id
        from (
            select distinct order_id, order_line_id, sku from order_allocation where order_id = any(cast(:ids as text[]))
        ) part
        cross join lateral (
            select min(id) id from stock_entry where order_line_id = part.order_line_id and sku = part.sku
        ) given
        where given.id is not null
        group by part.order_id, part.sku
    ),
    stream as (
        select sku, location, id, 1 turn, on_hand, reserved, inbound, null order_id from stock_entry
        where sku in (select sku from asked) and id < (select max(id) from asked)
        union all
        select asked.sku, place.location, asked.id, 0, 0, 0, 0, asked.order_id
        from asked join stock_balance place on place.sku = asked.sku
    ),
    counted as (
        select order_id, sku, location, sum(on_hand) over told on_hand, sum(reserved) over told reserved,
            sum(inbound) over told inbound
        from stream window told as (partition by sku, location order by id, turn)
    )
    select * from counted where order_id is not null order by order_id, sku, location
    """
)
