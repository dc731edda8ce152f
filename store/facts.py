"""All that is known of many SKUs at once, now or at a past instant: what `domain.policy` computes numbers from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.channel import Location
from domain.freshness import Freshness, graded
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.ledger import Balance
from domain.policy import Facts, Hold, Place, Shown
from domain.product import FulfilledBy
from domain.rule import Rule, Rulebook, RuleKind, kind_of
from domain.stock import Reading, holds
from store import channel_numbers, kit, ledger, product, reservation, rule, sales
from store.product import Offering
from store.session import AnyRow

_Readings = Mapping[tuple[LocationCode, ChannelId, ChannelSku], Reading]
_Kits = Mapping[Sku, Sequence[tuple[Sku, int]]]

_TAGS = text(
    """
    select sku, jsonb_path_query_array(attributes, '$[*] ? (@.name == "tag").value') as tags
    from product where sku = any(:skus)
    """
)
# A look into the index for each listing, told by `offset 0`: for many SKUs the planner would rather read the whole table.
_LEVELS = text(
    """
    select told.*
    from (select distinct channel, channel_sku from listing where sku = any(:skus)) mapped
    cross join lateral (
        select location, channel, channel_sku, on_hand, reserved, inbound, as_of, upstream_request_id from stock_level
        where channel_sku = mapped.channel_sku and channel = mapped.channel offset 0
    ) told
    """
)
# One look into the primary key for each place: the history of a busy SKU is long.
_LEVELS_AT = text(
    """
    select told.*
    from (select distinct channel, channel_sku from listing where sku = any(:skus)) mapped
    join unnest(cast(:codes as text[]), cast(:keepers as text[])) place (code, keeper) on place.keeper = mapped.channel
    cross join lateral (
        select location, channel, channel_sku, on_hand, reserved, inbound, as_of from stock_level_history
        where location = place.code and channel = mapped.channel and channel_sku = mapped.channel_sku and as_of <= :at
        order by as_of desc limit 1
    ) told
    """
)


@dataclass(slots=True)
class _Known:
    """What the tables say, by SKU, before it is put together. `at` is the instant that it is said of."""

    at: datetime
    max_age: timedelta
    locations: Sequence[Location]
    default_safety_stock: int
    rules: _Rules
    tags: Mapping[Sku, frozenset[str]]
    listings: Mapping[Sku, Sequence[Offering]]
    readings: _Readings
    balances: Mapping[Sku, Sequence[Balance]]
    holds: Mapping[Sku, list[Hold]]
    shown: Mapping[Sku, Mapping[ChannelId, Shown]] = field(default_factory=dict)
    sold_per_day: Mapping[Sku, Mapping[ChannelId, float]] = field(default_factory=dict)
    lag_s: Mapping[ChannelId, float] = field(default_factory=dict)


class _Rules:
    """Rules by whom they are for, so that each SKU is given only those that may concern it."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_sku: defaultdict[Sku, list[Rule]] = defaultdict(list)
        self._by_tag: defaultdict[str, list[Rule]] = defaultdict(list)
        self._for_all: list[Rule] = []
        self._books: dict[tuple[Sku | None, frozenset[str]], Rulebook] = {}
        self.kinds: set[RuleKind] = set()
        for one in rules:
            self.kinds.add(kind_of(one.settings))
            if one.sku is not None:
                self._by_sku[one.sku].append(one)
            elif one.tag is not None:
                self._by_tag[one.tag].append(one)
            else:
                self._for_all.append(one)

    def of(self, sku: Sku, tags: frozenset[str]) -> Rulebook:
        """The rules that name the SKU, one of its tags, or neither."""
        key = (sku if sku in self._by_sku else None, tags.intersection(self._by_tag))
        if key not in self._books:
            tagged = [one for tag in key[1] for one in self._by_tag[tag]]
            self._books[key] = Rulebook([*self._for_all, *tagged, *self._by_sku.get(sku, ())])
        return self._books[key]


async def facts(
    tx: AsyncConnection,
    skus: Collection[Sku],
    *,
    locations: Sequence[Location],
    now: datetime,
    default_safety_stock: int,
    max_age: timedelta,
    rules: Sequence[Rule] | None = None,
    with_sales: bool = False,
    with_shown: bool = False,
) -> dict[Sku, Facts]:
    """What is known of each of `skus` at this moment; unknown SKUs are missing, kits come with the facts of their components.

    `rules` takes the place of those that are kept: so a change can be tried. With `with_sales` also what numbers of channels need
    and `available` does not: sales and lags, where some rule asks for them; `with_shown` what all channels show, which matters to
    last units and exposure. Readings are graded by `max_age`. The number of statements does not grow with `skus`.
    """
    kits = await kit.components(tx, skus)
    every = _with_components(skus, kits)
    held = _Rules(await rule.rules(tx) if rules is None else rules)
    known = _Known(
        at=now,
        max_age=max_age,
        locations=locations,
        default_safety_stock=default_safety_stock,
        rules=held,
        tags=await _tags(tx, every),
        listings=await product.offerings(tx, every),
        readings=await _readings(tx, every),
        balances=await ledger.balances(tx, every),
        holds=await reservation.holds(tx, every),
        shown=await channel_numbers.shown_of(tx, every) if with_shown else {},
    )
    if with_sales and RuleKind.VELOCITY_BUFFER in held.kinds:
        known.sold_per_day = await sales.sold_per_day(tx, every)
    if with_sales and held.kinds & {RuleKind.VELOCITY_BUFFER, RuleKind.LAST_UNITS}:
        channels = {listed.channel for group in known.listings.values() for listed in group}
        lags = await channel_numbers.lags(tx, sorted(channels))
        known.lag_s = {channel: lag.p99_s for channel, lag in lags.items() if lag.samples}
    return _assembled(known, skus, kits)


async def facts_at(
    tx: AsyncConnection,
    skus: Collection[Sku],
    at: datetime,
    *,
    locations: Sequence[Location],
    default_safety_stock: int,
    max_age: timedelta,
) -> dict[Sku, Facts]:
    """What was known of each of `skus` at `at`: entries, reservations, readings, rules and kits as they stood then.

    Which places should hold a SKU, and its tags, are those of today. A reading is as old as the last change it told of; what
    channels showed is in `store.channel_numbers.numbers_at`.
    """
    kits = await kit.components_at(tx, skus, at)
    every = _with_components(skus, kits)
    known = _Known(
        at=at,
        max_age=max_age,
        locations=locations,
        default_safety_stock=default_safety_stock,
        rules=_Rules(await rule.rules(tx, at)),
        tags=await _tags(tx, every),
        listings=await product.offerings(tx, every),
        readings=await _readings_at(tx, every, at, locations),
        balances=await ledger.balances_at(tx, every, at),
        holds=await reservation.holds_at(tx, every, at),
    )
    return _assembled(known, skus, kits)


# ── Putting it together ─────────────────────────────────────────────────────────────────────────────────────────────────


def _with_components(skus: Iterable[Sku], kits: _Kits) -> list[Sku]:
    return sorted({*skus, *(component for parts in kits.values() for component, _ in parts)})


def _assembled(known: _Known, skus: Collection[Sku], kits: _Kits) -> dict[Sku, Facts]:
    """The facts of the known ones among `skus`; kits share those of their components."""
    where = _Where(known.locations)
    goods = {sku: _of_one(known, sku, where) for sku in known.tags if sku not in kits}
    found = {}
    for sku in skus:
        if sku in kits and sku in known.tags:
            parts = [(goods[component], units) for component, units in kits[sku] if component in goods]
            found[sku] = _of_kit(known, sku, parts, where)
        elif sku in goods:
            found[sku] = goods[sku]
    return found


def _of_one(known: _Known, sku: Sku, where: _Where) -> Facts:
    listings = known.listings.get(sku, ())
    balances = known.balances.get(sku, ())
    places = [
        *_kept_elsewhere(known, listings, where),
        *_kept_here(known, listings, balances, where),
    ]
    return _made(known, sku, places=places, holds=known.holds.get(sku, []))


def _of_kit(known: _Known, sku: Sku, components: list[tuple[Facts, int]], where: _Where) -> Facts:
    """A kit lies where its components lie, and is shown where its own listings are."""
    shown = {
        location.code: location
        for listed in known.listings.get(sku, ())
        for location in where.holding(listed)
        if listed.channel in location.shown
    }
    made = _made(known, sku, places=[], holds=[])
    made.components = [(_also_at(known, one, shown.values()), units) for one, units in components]
    return made


def _also_at(known: _Known, component: Facts, locations: Iterable[Location]) -> Facts:
    """The component, with none of it at those of the own places where nothing is known of it."""
    there = {place.location.code for place in component.places}
    none = [
        Place(location, 0, 0, 0, known.at, Freshness.LIVE)
        for location in locations
        if location.ours and location.code not in there
    ]
    return replace(component, places=[*component.places, *none]) if none else component


def _made(known: _Known, sku: Sku, *, places: list[Place], holds: list[Hold]) -> Facts:
    tags = known.tags[sku]
    return Facts(
        sku=sku,
        places=places,
        holds=holds,
        tags=tags,
        rules=known.rules.of(sku, tags),
        default_safety_stock=known.default_safety_stock,
        sold_per_day=known.sold_per_day.get(sku, {}),
        lag_s=known.lag_s,
        shown=known.shown.get(sku, {}),
    )


class _Where:
    """Which places belong to a listing; the answer is the same for thousands of them."""

    def __init__(self, locations: Sequence[Location]) -> None:
        self.by_code = {location.code: location for location in locations}
        self._holding: dict[tuple[ChannelId, str | None, bool], list[Location]] = {}

    def holding(self, listed: Offering) -> list[Location]:
        """The places that should hold units of it, as another one counts them, or open or show with its channel."""
        key = (listed.channel, listed.marketplace, listed.fulfilled_by is FulfilledBy.MERCHANT)
        if key not in self._holding:
            told = (listed.channel, listed.marketplace, listed.fulfilled_by)
            self._holding[key] = [one for one in self.by_code.values() if holds(one, *told)]
        return self._holding[key]


def _kept_elsewhere(known: _Known, listings: Iterable[Offering], where: _Where) -> list[Place]:
    """FBA pools and places that a shop counts, as they told it last; one channel SKU at one place is counted once."""
    wanted: dict[LocationCode, dict[tuple[ChannelId, ChannelSku], None]] = {}
    for listed in listings:
        for location in where.holding(listed):
            if not location.ours:
                wanted.setdefault(location.code, {})[listed.channel, listed.channel_sku] = None
    places = []
    for code, keys in wanted.items():
        told = [reading for key in keys if (reading := known.readings.get((code, *key))) is not None]
        places.append(_read(known, where.by_code[code], told))
    return places


def _read(known: _Known, location: Location, told: Sequence[Reading]) -> Place:
    if not told:
        return Place(location, 0, 0, 0, None, Freshness.UNKNOWN)
    oldest_at = min(one.as_of for one in told)
    return Place.read(location, told, graded(oldest_at, known.at, known.max_age))


def _kept_here(known: _Known, listings: Iterable[Offering], balances: Iterable[Balance], where: _Where) -> list[Place]:
    """Own places with entries of the SKU; and without: those that wait for a first count, of which nothing is known, and those
    where a channel that lists it shows units, of which there are none."""
    places = {
        one.location: Place(
            where.by_code[one.location], one.on_hand, one.reserved, one.inbound, known.at, Freshness.LIVE
        )
        for one in balances
        if one.location in where.by_code and where.by_code[one.location].ours
    }
    counted = set(places)
    for listed in listings:
        for location in where.holding(listed):
            if not location.ours or location.code in counted:
                continue
            if location.opens_from == listed.channel:
                places[location.code] = Place(location, 0, 0, 0, None, Freshness.UNKNOWN)
            else:
                places.setdefault(location.code, Place(location, 0, 0, 0, known.at, Freshness.LIVE))
    return list(places.values())


# ── Reading the tables ──────────────────────────────────────────────────────────────────────────────────────────────────


async def _tags(tx: AsyncConnection, skus: Sequence[Sku]) -> dict[Sku, frozenset[str]]:
    """The tags of each known SKU."""
    rows = await tx.execute(_TAGS, {"skus": skus})
    return {Sku(row.sku): frozenset(row.tags) for row in rows}


async def _readings(tx: AsyncConnection, skus: Sequence[Sku]) -> _Readings:
    """The last that each place told."""
    return _by_place(await tx.execute(_LEVELS, {"skus": skus}))


async def _readings_at(
    tx: AsyncConnection, skus: Sequence[Sku], at: datetime, locations: Sequence[Location]
) -> _Readings:
    """The last that each place had told by then."""
    elsewhere = [location for location in locations if not location.ours]
    asked = {
        "skus": skus,
        "at": at,
        "codes": [location.code for location in elsewhere],
        "keepers": [location.keeper for location in elsewhere],
    }
    return _by_place(await tx.execute(_LEVELS_AT, asked))


def _by_place(rows: Iterable[AnyRow]) -> _Readings:
    """Rows whose columns are those of a reading."""
    readings = (Reading(*row) for row in rows)
    return {(one.location, one.channel, one.channel_sku): one for one in readings}
