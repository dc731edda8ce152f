"""From where one order is sent: a pure choice over what places have, by a set of rules, with the reasons of those that lost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import combinations

from domain.ids import ChannelId, LocationCode, Sku
from domain.money import Money, minor_digits
from domain.person import Destination
from domain.sourcing_rules import Goal, Pace, Rate, SourcingRules, Zone, keeps_away

MOST_EXACT = 6
"""Of so many places every combination is looked at (63 of them). Of more, places are added one by one while that is better:
fast, and not always the very best."""

KEPT = 5
"""Of the ways that lost so many are told, the best of them."""

_EARTH_KM = 6371.0088

Score = Decimal | int | None
Units = dict[tuple[LocationCode, Sku], int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What an order wants: units by SKU, each at least 1. `tags` are those of the products."""

    channel: ChannelId
    wants: Mapping[Sku, int]
    tags: Mapping[Sku, frozenset[str]] = field(default_factory=dict)
    destination: Destination | None = None
    service: str | None = None
    ship_by: datetime | None = None
    deliver_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Supply:
    """A place that may be asked, with the units of each SKU that it can promise (`free`) and those that it will have when what is
    announced has come (`inbound`, less what waits for them). What it would be given now leaves on `leaves_on`, by its own `zone`
    of time. `latitude` and `longitude` in degrees where they are known."""

    place: LocationCode
    free: Mapping[Sku, int]
    leaves_on: date
    zone: tzinfo
    inbound: Mapping[Sku, int] = field(default_factory=dict)
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that was looked at: the units that it was given, and why it got no more or none."""

    place: LocationCode
    units: int
    reason: str | None
    leaves_on: date | None = None
    arrives_on: date | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A way to send the order, with what it scores at each goal (None: not known) and why it lost; None for the one chosen."""

    places: tuple[LocationCode, ...]
    scores: Mapping[Goal, Score]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """From where what is sent. `units` are promised at places, `short` of them beyond what is there, and of these `backordered`
    while they are only announced, as the rules allow. `unplaced` may be sent from nowhere, with the reason."""

    units: Units
    short: Units
    backordered: Units
    expected_on: Mapping[Sku, date]
    unplaced: Mapping[Sku, str]
    candidates: tuple[Candidate, ...]
    options: tuple[Option, ...]
    exact: bool

    @property
    def places(self) -> tuple[LocationCode, ...]:
        """Where it is sent from, as they were given."""
        return tuple(one.place for one in self.candidates if one.units)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision as it is kept: by which version of the rules and when, and the reasons."""

    version: int
    at: datetime
    candidates: tuple[Candidate, ...]
    options: tuple[Option, ...]
    unplaced: Mapping[Sku, str]
    exact: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """What a place comes to for this order."""

    turn: int
    supply: Supply
    able: frozenset[Sku]
    group: int
    rate: Rate | None
    late: int | None
    km: int | None

    @property
    def arrives_on(self) -> date | None:
        if self.rate is None or self.rate.days is None:
            return None
        return self.supply.leaves_on + timedelta(days=self.rate.days)

    def order(self, goals: Sequence[Goal]) -> tuple[object, ...]:
        """Who gives units first, of the places that are taken anyway."""
        by: dict[Goal, Score] = {
            Goal.GROUPS: self.group,
            Goal.PARCELS: 0,
            Goal.COST: None if self.rate is None else self.rate.unit,
            Goal.LATENESS: self.late,
            Goal.DISTANCE: self.km,
        }
        return (*(_weight(by[goal]) for goal in goals), self.turn)


@dataclass(frozen=True, slots=True)
class _Way:
    """Units by place and SKU. `unmet` may not be sent from any of the places, `short` is not there, `lost` not even announced."""

    places: tuple[_Place, ...]
    units: Units
    short: Units
    unmet: int
    lost: int
    scores: Mapping[Goal, Score]
    weight: tuple[object, ...] = field(init=False)
    """The less the better."""

    def __post_init__(self) -> None:
        shortage = (self.unmet, sum(self.short.values()), self.lost)
        goals = (_weight(score) for score in self.scores.values())
        turns = tuple(one.turn for one in self.places)
        object.__setattr__(self, "weight", (*shortage, *goals, turns))


def decide(rules: SourcingRules, asked: Asked, supplies: Sequence[Supply]) -> Decision:
    """Where to take the units from; equal questions have equal answers. `supplies` in the order of preference, which decides
    between equals.

    As few units short as can be come before every goal, and so does sending all that may be sent: where no place may send all of
    an order, it is split further than the rules allow.
    """
    away: dict[LocationCode, str] = {}
    places = _places(rules, asked, supplies, away)
    able = {sku for place in places for sku in place.able}
    ways = _ways(rules, asked, places)
    best = min(ways, key=lambda way: way.weight, default=None)
    if best is None:
        best = _Way((), {}, {}, 0, 0, {})
    backordered, expected = _backordered(rules, asked, supplies, best)
    return Decision(
        units=best.units,
        short=best.short,
        backordered=backordered,
        expected_on=expected,
        unplaced={sku: _nowhere(rules, asked, supplies, sku) for sku in asked.wants if sku not in able},
        candidates=_candidates(rules, asked, supplies, places, ways, best, away),
        options=_options(rules, ways, best),
        exact=len(places) <= MOST_EXACT,
    )


def placed(rules: SourcingRules, asked: Asked, supplies: Sequence[Supply], units: Units) -> Mapping[Goal, Score]:
    """What sending `units` from where they are comes to, whoever decided that: a score for each goal there is."""
    goals = tuple(Goal)
    places = {one.place: _place(rules, asked, turn, one, frozenset(one.free)) for turn, one in enumerate(supplies)}
    return _scores(goals, [places[code] for code in dict.fromkeys(code for code, _ in units)], units)


def leaves_on(pace: Pace | None, zone: tzinfo, at: datetime, load: Mapping[date, tuple[int, int]], units: int) -> date:
    """The day on which what a place is given `at` leaves. `load` are the (orders, units) that leave on each day already.

    An order of more units than a day has place for leaves on the first day that has nothing else.
    """
    local = at.astimezone(zone)
    day = local.date()
    if pace is None:
        return day
    if pace.cut_off is not None and local.time() >= pace.cut_off:
        day += timedelta(days=1)
    while day.isoweekday() in pace.closed_on or not _has_room(pace, *load.get(day, (0, 0)), units):
        day += timedelta(days=1)
    return day


def _has_room(pace: Pace, orders: int, units: int, more: int) -> bool:
    if pace.orders_per_day is not None and orders + 1 > pace.orders_per_day:
        return False
    return pace.units_per_day is None or units == 0 or units + more <= pace.units_per_day


def kilometers(one: tuple[float, float], other: tuple[float, float]) -> int:
    """The great circle between two points of (latitude, longitude) in degrees."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, point)) for point in (one, other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return round(2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(half))))


def shares(total: Money, weights: Sequence[int]) -> list[Money]:
    """`total` split by `weights`, none below 0, to the minor unit of its currency (or finer, where the total is): the parts sum
    to it exactly. Who loses most by rounding down gets the next unit, among equals who comes first."""
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    exponent = total.amount.as_tuple().exponent
    assert isinstance(exponent, int)
    step = Decimal(1).scaleb(min(exponent, -minor_digits(total.currency)))
    units = int(total.amount / step)
    sign, units = (-1, -units) if units < 0 else (1, units)
    parts = [units * weight // whole for weight in weights]
    by_loss = sorted(range(len(weights)), key=lambda index: (-(units * weights[index] % whole), index))
    for index in by_loss[: units - sum(parts)]:
        parts[index] += 1
    return [Money(sign * part * step, total.currency) for part in parts]


def _places(
    rules: SourcingRules, asked: Asked, supplies: Sequence[Supply], away: dict[LocationCode, str]
) -> list[_Place]:
    """The places that may send something of it; why others may not goes to `away`."""
    found = []
    for turn, supply in enumerate(supplies):
        reasons = {sku: _away(rules, asked, supply, sku) for sku in asked.wants}
        able = frozenset(sku for sku, reason in reasons.items() if reason is None)
        if able:
            found.append(_place(rules, asked, turn, supply, able))
        if told := [reason for reason in reasons.values() if reason is not None]:
            away[supply.place] = "; ".join(dict.fromkeys(told))
    return found


def _place(rules: SourcingRules, asked: Asked, turn: int, supply: Supply, able: frozenset[Sku]) -> _Place:
    zone = rules.zone_of(asked.destination)
    rate = rules.rate_of(supply.place, zone)
    return _Place(turn, supply, able, rules.group_of(supply.place), rate, _late(asked, supply, rate), _km(supply, zone))


def _away(rules: SourcingRules, asked: Asked, supply: Supply, sku: Sku) -> str | None:
    if sku not in supply.free:
        return f"does not count {sku}"
    return keeps_away(
        rules,
        supply.place,
        sku,
        asked.tags.get(sku, frozenset()),
        channel=asked.channel,
        country=None if asked.destination is None else asked.destination.country,
        service=asked.service,
    )


def _nowhere(rules: SourcingRules, asked: Asked, supplies: Sequence[Supply], sku: Sku) -> str:
    reasons = [f"{supply.place}: {_away(rules, asked, supply, sku)}" for supply in supplies]
    return "; ".join(reasons) or f"no place sells to {asked.channel}"


def _late(asked: Asked, supply: Supply, rate: Rate | None) -> int | None:
    """Days after what was promised; None where an arrival was promised and nobody knows when it would be."""
    late = 0
    if asked.ship_by is not None:
        late = (supply.leaves_on - asked.ship_by.astimezone(supply.zone).date()).days
    if asked.deliver_by is not None:
        if rate is None or rate.days is None:
            return None
        arrives_on = supply.leaves_on + timedelta(days=rate.days)
        late = max(late, (arrives_on - asked.deliver_by.astimezone(supply.zone).date()).days)
    return max(0, late)


def _km(supply: Supply, zone: Zone | None) -> int | None:
    if zone is None or zone.latitude is None or zone.longitude is None:
        return None
    if supply.latitude is None or supply.longitude is None:
        return None
    return kilometers((supply.latitude, supply.longitude), (zone.latitude, zone.longitude))


def _ways(rules: SourcingRules, asked: Asked, places: Sequence[_Place]) -> list[_Way]:
    """Every way to send it from at most so many places, or some ways of very many; where none sends all that may be sent, those
    from one place more."""
    able = {sku for place in places for sku in place.able}
    wants = {sku: units for sku, units in asked.wants.items() if sku in able}
    if not wants:
        return []
    most = min(rules.most_parcels or len(places), len(places))
    places = sorted(places, key=lambda place: place.order(rules.goals))
    while True:
        exact = len(places) <= MOST_EXACT
        ways = list(_each(rules, wants, places, most) if exact else _greedy(rules, wants, places, most))
        if most == len(places) or not all(way.unmet for way in ways):
            return ways
        most += 1


def _each(rules: SourcingRules, wants: Mapping[Sku, int], places: Sequence[_Place], most: int) -> Iterator[_Way]:
    for size in range(1, most + 1):
        for some in combinations(places, size):
            way = _filled(rules, wants, some)
            if len(way.places) == size:  # else it is one of those seen before
                yield way


def _greedy(rules: SourcingRules, wants: Mapping[Sku, int], places: Sequence[_Place], most: int) -> Iterator[_Way]:
    ways = [_filled(rules, wants, (place,)) for place in places]
    yield from ways
    best = min(ways, key=lambda way: way.weight)
    while len(best.places) < most:
        there = {place.turn for place in best.places}
        wider = [there | {place.turn} for place in places if place.turn not in there]
        more = [_filled(rules, wants, [place for place in places if place.turn in turns]) for turns in wider]
        better = min(more, key=lambda way: way.weight, default=best)
        if better.weight >= best.weight:
            return
        yield better
        best = better


def _filled(rules: SourcingRules, wants: Mapping[Sku, int], places: Sequence[_Place]) -> _Way:
    """The units taken from `places`, of which the better ones come first; those that give nothing are left out."""
    units: Units = {}
    short: Units = {}
    unmet = lost = 0
    for sku, wanted in wants.items():
        able = [place.supply for place in places if sku in place.able]
        if not able:
            unmet += wanted
            continue
        rest = _take(units, sku, wanted, [(one.place, one.free.get(sku, 0)) for one in able])
        before = rest
        rest = _take(short, sku, rest, [(one.place, one.inbound.get(sku, 0)) for one in able])
        lost += rest
        _take(short, sku, rest, [(able[0].place, rest)])
        if before:
            for place in able:
                if count := short.get((place.place, sku), 0):
                    units[place.place, sku] = units.get((place.place, sku), 0) + count
    used = {code for code, _ in units}
    kept = tuple(sorted((place for place in places if place.supply.place in used), key=lambda place: place.turn))
    return _Way(kept, units, short, unmet, lost, _scores(rules.goals, kept, units))


def _take(taken: Units, sku: Sku, wanted: int, there: Sequence[tuple[LocationCode, int]]) -> int:
    """Take at most `wanted` units; returns how many are missing."""
    for code, units in there:
        count = min(max(0, units), wanted)
        if count:
            taken[code, sku] = taken.get((code, sku), 0) + count
            wanted -= count
    return wanted


def _scores(goals: Sequence[Goal], places: Sequence[_Place], units: Units) -> dict[Goal, Score]:
    counts: dict[LocationCode, int] = {}
    for (code, _), count in units.items():
        counts[code] = counts.get(code, 0) + count
    by: dict[Goal, Score] = {}
    for goal in goals:
        match goal:
            case Goal.GROUPS:
                by[goal] = sum(place.group * counts[place.supply.place] for place in places)
            case Goal.PARCELS:
                by[goal] = len(places)
            case Goal.COST:
                by[goal] = _sum(
                    None if one.rate is None else one.rate.parcel + one.rate.unit * counts[one.supply.place]
                    for one in places
                )
            case Goal.LATENESS:
                late = [place.late for place in places]
                by[goal] = None if None in late else max((days for days in late if days is not None), default=0)
            case Goal.DISTANCE:
                by[goal] = _sum(place.km for place in places)
    return by


def _sum(values: Iterator[Score]) -> Score:
    total: Decimal | int = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _weight(score: Score) -> tuple[bool, Decimal | int]:
    """What is not known is worse than anything that is."""
    return score is None, score or 0


def _backordered(
    rules: SourcingRules, asked: Asked, supplies: Sequence[Supply], way: _Way
) -> tuple[Units, dict[Sku, date]]:
    inbound = {(one.place, sku): units for one in supplies for sku, units in one.inbound.items()}
    backordered: Units = {}
    expected: dict[Sku, date] = {}
    for (code, sku), units in way.short.items():
        rule = rules.backorder_of(sku, asked.tags.get(sku, frozenset()))
        allowed = min(units, max(0, inbound.get((code, sku), 0)))
        if rule is not None and allowed:
            backordered[code, sku] = allowed
            if rule.expected_on is not None:
                expected[sku] = rule.expected_on
    return backordered, expected


def _candidates(
    rules: SourcingRules,
    asked: Asked,
    supplies: Sequence[Supply],
    places: Sequence[_Place],
    ways: Sequence[_Way],
    best: _Way,
    away: Mapping[LocationCode, str],
) -> tuple[Candidate, ...]:
    there = {place.supply.place: place for place in places}
    found = []
    for supply in supplies:
        code, place = supply.place, there.get(supply.place)
        units = sum(count for (at, _), count in best.units.items() if at == code)
        if units or place is None:
            reason = away.get(code)
        else:
            with_it = [way for way in ways if any(one is place for one in way.places)]
            nearest = min(with_it, key=lambda way: way.weight, default=None)
            reason = "others cover it" if nearest is None else _why(rules, nearest, best)
        found.append(Candidate(code, units, reason, supply.leaves_on, None if place is None else place.arrives_on))
    return tuple(found)


def _options(rules: SourcingRules, ways: Sequence[_Way], best: _Way) -> tuple[Option, ...]:
    """The way that was chosen, and the best of the others."""
    lost = sorted((way for way in ways if way is not best), key=lambda way: way.weight)
    if not best.places:
        return ()
    return (_option(best, None), *(_option(way, _why(rules, way, best)) for way in lost[:KEPT]))


def _option(way: _Way, reason: str | None) -> Option:
    return Option(tuple(place.supply.place for place in way.places), way.scores, reason)


def _why(rules: SourcingRules, way: _Way, best: _Way) -> str:
    """The first thing at which the way is worse."""
    if way.unmet > best.unmet:
        return f"may not send {_count(way.unmet, 'unit')}"
    short, less = sum(way.short.values()), sum(best.short.values())
    if short > less:
        return f"{_count(short, 'unit')} short, not {less}"
    if way.lost > best.lost:
        return f"{_count(way.lost, 'unit')} of it not even announced, not {best.lost}"
    for goal, score in way.scores.items():
        if _weight(score) != _weight(best.scores[goal]):
            return _worse(rules, goal, score, best.scores[goal])
    return "as good, and named later"


def _worse(rules: SourcingRules, goal: Goal, score: Score, best: Score) -> str:
    match goal:
        case Goal.GROUPS:
            return "from a later group"
        case Goal.PARCELS:
            return f"{_count(score, 'parcel')}, not {best}"
        case Goal.COST if score is None:
            return "no rate is known"
        case Goal.COST:
            return f"{score} {rules.currency}, not {best}"
        case Goal.LATENESS if score is None:
            return "nobody knows when it arrives"
        case Goal.LATENESS:
            return f"{_count(score, 'day')} late, not {best}"
        case Goal.DISTANCE:
            return "the distance is not known" if score is None else f"{score} km, not {best}"


def _count(number: Score, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
