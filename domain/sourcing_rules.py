"""From where orders may be sent, and what makes one place better than another: a set of rules, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any

from domain.errors import Invalid
from domain.ids import ChannelId, LocationCode, Sku
from domain.person import AREA, Destination

MOST_ENTRIES = 2000
"""Of each list of a set: it is read whole for every page of orders."""


class Goal(Enum):
    """What is wanted, the less the better. Of two ways to send an order the first goal at which they differ decides."""

    GROUPS = "GROUPS"  # units from later groups of places
    PARCELS = "PARCELS"  # places that the order is sent from
    COST = "COST"  # money for parcels and units, by the rates
    LATENESS = "LATENESS"  # days that the last parcel leaves, or arrives, after what was promised
    DISTANCE = "DISTANCE"  # kilometers, of all parcels together


@dataclass(frozen=True, slots=True)
class Zone:
    """Where orders go: a country, or the parts of it whose postal codes begin with one of `areas`; the longest one that fits is
    meant. `latitude` and `longitude` are its middle, in degrees, for distances."""

    name: str
    country: str
    areas: tuple[str, ...] = ()
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """What a parcel costs from a place to a zone, in the currency of the set: `parcel` once, `unit` for each unit in it. It takes
    `days` from leaving to arriving, None where nobody knows."""

    place: LocationCode
    zone: str
    parcel: Decimal
    unit: Decimal = Decimal(0)
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What is not sent from `places`: everything, or what is of all of `sku`, `tag`, `country` and `channel` that are told."""

    name: str
    places: tuple[LocationCode, ...]
    sku: Sku | None = None
    tag: str | None = None
    country: str | None = None
    channel: ChannelId | None = None


@dataclass(frozen=True, slots=True)
class Restriction:
    """Goods with the `tag`, such as hazardous ones, are sent from `places` alone, and where `services` are told only with orders
    that were sold with one of these."""

    name: str
    tag: str
    places: tuple[LocationCode, ...]
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a place sends a day: what comes after `cut_off` (its own time), or beyond its orders or units, leaves on the next
    day that is not one of `closed_on` (1 is Monday, 7 is Sunday)."""

    place: LocationCode
    cut_off: time | None = None
    orders_per_day: int | None = None
    units_per_day: int | None = None
    closed_on: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Backorder:
    """Units of the SKU, or of goods with the tag, may be sold while they are only announced: they are expected on that day."""

    name: str
    sku: Sku | None = None
    tag: str | None = None
    expected_on: date | None = None


@dataclass(frozen=True)  # without slots: what is looked up often is indexed once
class SourcingRules:
    """A set of rules. `groups` are places to be tried before others; those in none come last. `most_parcels` limits into how many
    an order is split (1: not at all). `version` grows with each set that is kept."""

    goals: tuple[Goal, ...] = (Goal.GROUPS, Goal.PARCELS, Goal.COST)
    groups: tuple[tuple[LocationCode, ...], ...] = ()
    most_parcels: int | None = None
    currency: str | None = None
    zones: tuple[Zone, ...] = ()
    rates: tuple[Rate, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    restrictions: tuple[Restriction, ...] = ()
    paces: tuple[Pace, ...] = ()
    backorders: tuple[Backorder, ...] = ()
    version: int = 0
    made_by: str = ""
    made_at: datetime | None = None

    def zone_of(self, destination: Destination | None) -> Zone | None:
        """The zone that orders to there are in; None where there is none."""
        if destination is None:
            return None
        country, area = destination.country, destination.area
        fitting = (self._areas.get((country, area[:length])) for length in range(len(area), -1, -1))
        return next((zone for zone in fitting if zone is not None), None)

    def rate_of(self, place: LocationCode, zone: Zone | None) -> Rate | None:
        """What a parcel from the place to the zone costs."""
        return None if zone is None else self._rates.get((place, zone.name))

    @cached_property
    def _rates(self) -> dict[tuple[LocationCode, str], Rate]:
        return {(one.place, one.zone): one for one in self.rates}

    @cached_property
    def _areas(self) -> dict[tuple[str, str], Zone]:
        return {(zone.country, area): zone for zone in self.zones for area in zone.areas or ("",)}

    def pace_of(self, place: LocationCode) -> Pace | None:
        """How much the place sends a day."""
        return next((one for one in self.paces if one.place == place), None)

    def group_of(self, place: LocationCode) -> int:
        """The number of the place's group, from 0; behind the last for a place in none."""
        return next((number for number, group in enumerate(self.groups) if place in group), len(self.groups))

    def backorder_of(self, sku: Sku, tags: frozenset[str]) -> Backorder | None:
        """The rule that lets the SKU be sold while it is only announced."""
        fitting = (one for one in self.backorders if _fits(one.sku, one.tag, sku, tags))
        return next(fitting, None)


def keeps_away(
    rules: SourcingRules,
    place: LocationCode,
    sku: Sku,
    tags: frozenset[str],
    *,
    channel: ChannelId,
    country: str | None,
    service: str | None,
) -> str | None:
    """Why the place may not send the SKU with such an order, in words; None where it may. A country that is not known is none."""
    for one in rules.exclusions:
        if (
            place in one.places
            and _fits(one.sku, one.tag, sku, tags)
            and one.country in (None, country)
            and one.channel in (None, channel)
        ):
            return f"excluded by {one.name!r}"
    for rule in rules.restrictions:
        if rule.tag in tags:
            if place not in rule.places:
                return f"{rule.name!r} allows {sku} from {', '.join(rule.places)} alone"
            if rule.services and service not in rule.services:
                return f"{rule.name!r} allows {sku} with {', '.join(rule.services)} alone"
    return None


def _fits(wanted: Sku | None, tag: str | None, sku: Sku, tags: frozenset[str]) -> bool:
    return wanted in (None, sku) and (tag is None or tag in tags)


def check(rules: SourcingRules, places: Iterable[LocationCode], channels: Iterable[ChannelId]) -> None:
    """Raises Invalid, with the path in the set as its field, for rules that mean nothing; `places` are those that the ledger
    counts."""
    _check_goals(rules)
    _check_lists(rules)
    _check_places(rules, sorted(places))
    _check_zones(rules)
    _check_rates(rules)
    _check_paces(rules)
    known = sorted(channels)
    for number, one in enumerate(rules.exclusions):
        at = ("exclusions", str(number))
        if not one.places:
            raise Invalid(
                "An exclusion is of one place at least; without any it excludes nothing.", field=(*at, "places")
            )
        if one.country is not None:
            _check_country(one.country, (*at, "country"))
        if one.channel is not None and one.channel not in known:
            raise Invalid(f"There is no channel {one.channel}. There are {', '.join(known)}.", field=(*at, "channel"))
    for number, rule in enumerate(rules.restrictions):
        if not rule.places:
            raise Invalid(
                "A restriction names the places that may send such goods; without any nobody could.",
                field=("restrictions", str(number), "places"),
            )
    for number, allowed in enumerate(rules.backorders):
        if allowed.sku is None and allowed.tag is None:
            raise Invalid("Say of which SKU, or of which tag.", field=("backorders", str(number), "sku"))


def _check_goals(rules: SourcingRules) -> None:
    if not rules.goals or len(set(rules.goals)) < len(rules.goals):
        raise Invalid("Name at least one goal, and each once.", field=("goals",))
    if Goal.COST in rules.goals and rules.rates and rules.currency is None:
        raise Invalid("Rates are amounts of money: name their currency.", field=("currency",))
    if rules.currency is not None and not re.fullmatch("[A-Z]{3}", rules.currency):
        raise Invalid(f"{rules.currency!r} is no ISO 4217 currency code such as EUR.", field=("currency",))
    if rules.most_parcels is not None and rules.most_parcels < 1:
        raise Invalid("An order is sent in one parcel at least.", field=("most_parcels",))


def _check_lists(rules: SourcingRules) -> None:
    for name in ("groups", "zones", "rates", "exclusions", "restrictions", "paces", "backorders"):
        entries: Sequence[Any] = getattr(rules, name)
        if len(entries) > MOST_ENTRIES:
            raise Invalid(f"At most {MOST_ENTRIES} {name}; these are {len(entries)}.", field=(name,))
        for number, one in enumerate(entries):
            if hasattr(one, "name") and not one.name.strip():
                raise Invalid("Give it a name: decisions tell their reasons by it.", field=(name, str(number), "name"))


def _check_places(rules: SourcingRules, places: Sequence[LocationCode]) -> None:
    named: list[tuple[tuple[str, ...], tuple[LocationCode, ...]]]
    named = [(("groups", str(number)), group) for number, group in enumerate(rules.groups)]
    named += [(("exclusions", str(number), "places"), one.places) for number, one in enumerate(rules.exclusions)]
    named += [(("restrictions", str(number), "places"), one.places) for number, one in enumerate(rules.restrictions)]
    named += [(("rates", str(number), "place"), (one.place,)) for number, one in enumerate(rules.rates)]
    named += [(("paces", str(number), "place"), (one.place,)) for number, one in enumerate(rules.paces)]
    for field, codes in named:
        for code in codes:
            if code not in places:
                there = ", ".join(places) or "none"
                raise Invalid(f"{code!r} is no place that the ledger counts. There is {there}.", field=field)
    grouped = [code for group in rules.groups for code in group]
    for code in grouped:
        if grouped.count(code) > 1:
            raise Invalid(f"{code} stands in two groups, or twice in one.", field=("groups",))


def _check_zones(rules: SourcingRules) -> None:
    seen: set[str] = set()
    covered: set[tuple[str, str]] = set()
    for number, zone in enumerate(rules.zones):
        at = ("zones", str(number))
        if zone.name in seen:
            raise Invalid(f"Another zone is called {zone.name!r} too.", field=(*at, "name"))
        seen.add(zone.name)
        _check_country(zone.country, (*at, "country"))
        for area in zone.areas or ("",):
            if len(area) > AREA or area != "".join(area.split()).upper():
                raise Invalid(
                    f"{area!r} is no beginning of a postal code: at most {AREA} letters or digits, in capitals, as no more "
                    "of it is known to rules.",
                    field=(*at, "areas"),
                )
            if (zone.country, area) in covered:
                what = area or "all of it that no other zone names"
                raise Invalid(f"Two zones are for {zone.country}: {what}.", field=(*at, "areas"))
            covered.add((zone.country, area))
        if (zone.latitude is None) != (zone.longitude is None):
            raise Invalid("Tell both latitude and longitude, or neither.", field=(*at, "latitude"))
        if zone.latitude is not None and zone.longitude is not None:
            check_coordinates(zone.latitude, zone.longitude, at)


def check_coordinates(latitude: float, longitude: float, at: tuple[str, ...] = ()) -> None:
    """Raises Invalid for what is no place on Earth; degrees, south and west are negative."""
    if not -90 <= latitude <= 90:
        raise Invalid(f"A latitude lies between -90 and 90 degrees; this is {latitude}.", field=(*at, "latitude"))
    if not -180 <= longitude <= 180:
        raise Invalid(f"A longitude lies between -180 and 180 degrees; this is {longitude}.", field=(*at, "longitude"))


def _check_rates(rules: SourcingRules) -> None:
    names = {zone.name for zone in rules.zones}
    seen: set[tuple[str, str]] = set()
    for number, rate in enumerate(rules.rates):
        at = ("rates", str(number))
        if rate.zone not in names:
            raise Invalid(f"No zone is called {rate.zone!r}.", field=(*at, "zone"))
        if (rate.place, rate.zone) in seen:
            raise Invalid(f"{rate.place} has two rates to {rate.zone!r}.", field=at)
        seen.add((rate.place, rate.zone))
        for name in ("parcel", "unit"):
            amount: Decimal = getattr(rate, name)
            if not amount.is_finite() or amount < 0:
                raise Invalid(f"A price is 0 or more; this is {amount}.", field=(*at, name))
        if rate.days is not None and rate.days < 0:
            raise Invalid(f"A parcel takes 0 days or more; this is {rate.days}.", field=(*at, "days"))


def _check_paces(rules: SourcingRules) -> None:
    seen: set[str] = set()
    for number, pace in enumerate(rules.paces):
        at = ("paces", str(number))
        if pace.place in seen:
            raise Invalid(f"{pace.place} has two paces.", field=(*at, "place"))
        seen.add(pace.place)
        for name in ("orders_per_day", "units_per_day"):
            most: int | None = getattr(pace, name)
            if most is not None and most < 1:
                raise Invalid("A place that sends nothing is excluded, not slow: 1 or more.", field=(*at, name))
        if any(day not in range(1, 8) for day in pace.closed_on) or len(set(pace.closed_on)) > 6:
            raise Invalid(
                "Days of the week are 1 (Monday) to 7 (Sunday), and one of them is left to work.",
                field=(*at, "closed_on"),
            )


def _check_country(country: str, field: tuple[str, ...]) -> None:
    if not re.fullmatch("[A-Z]{2}", country):
        raise Invalid(f"{country!r} is no ISO 3166-1 country code such as US.", field=field)


def to_json(rules: SourcingRules) -> dict[str, Any]:
    """The set as JSON values, without its version, maker and time: decimals and dates as text, what is None left out."""
    return {
        "goals": [goal.value for goal in rules.goals],
        "groups": [list(group) for group in rules.groups],
        "most_parcels": rules.most_parcels,
        "currency": rules.currency,
        **{name: [_row(one) for one in getattr(rules, name)] for name in _ENTRIES},
    }


def from_json(told: Mapping[str, Any]) -> SourcingRules:
    """The set that `to_json` wrote."""
    entries: dict[str, Any] = {name: tuple(_entry(kind, row) for row in told[name]) for name, kind in _ENTRIES.items()}
    return SourcingRules(
        goals=tuple(map(Goal, told["goals"])),
        groups=tuple(tuple(map(LocationCode, group)) for group in told["groups"]),
        most_parcels=told["most_parcels"],
        currency=told["currency"],
        **entries,
    )


_ENTRIES: Mapping[str, type[Any]] = {
    "zones": Zone,
    "rates": Rate,
    "exclusions": Exclusion,
    "restrictions": Restriction,
    "paces": Pace,
    "backorders": Backorder,
}

_READ: Mapping[str, Any] = {
    "parcel": Decimal,
    "unit": Decimal,
    "cut_off": time.fromisoformat,
    "expected_on": date.fromisoformat,
}


def _row(one: Any) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in one.__slots__}
    return {name: _told(value) for name, value in values.items() if value is not None and value != ()}


def _told(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date | time):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _entry(kind: type[Any], row: Mapping[str, Any]) -> Any:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return kind(**{name: _READ[name](value) if name in _READ else value for name, value in values.items()})
