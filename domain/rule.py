"""Rules of what may be sold where: their kinds and settings, and which of them wins."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from domain.errors import Invalid
from domain.ids import ChannelId, RuleId, Sku


class RuleKind(Enum):
    """What a rule says; its settings are of the class beside it."""

    SAFETY_STOCK = "SAFETY_STOCK"  # SafetyStock
    MAXIMUM_SHOWN = "MAXIMUM_SHOWN"  # MaximumShown
    CHANNEL_SHARE = "CHANNEL_SHARE"  # ChannelShare
    FBA_SHARE = "FBA_SHARE"  # FbaShare
    VELOCITY_BUFFER = "VELOCITY_BUFFER"  # VelocityBuffer
    LAST_UNITS = "LAST_UNITS"  # LastUnits
    PRE_ORDER = "PRE_ORDER"  # PreOrder


@dataclass(frozen=True, slots=True)
class SafetyStock:
    """Units that nobody is offered."""

    units: int


@dataclass(frozen=True, slots=True)
class MaximumShown:
    """A channel never shows more than this."""

    units: int


@dataclass(frozen=True, slots=True)
class ChannelShare:
    """The channel may sell this part of what there is, rounded down. A hard share is also kept from all other channels: this part
    of what own places have for it after reservations and safety stock. A soft one only limits the channel itself."""

    percent: Decimal
    hard: bool = False


@dataclass(frozen=True, slots=True)
class FbaShare:
    """What another channel than the pool's keeper may sell from FBA: `percent` of what is free there, at most `cap`, at least
    `floor` units (but never more than is free). From the age `max_age` on a reading gives the floor alone.

    With `countries` only for buyers known to be there: nothing of it is in a number that is shown to everybody. Never for buyers
    known to be in `excluded_states` (ISO 3166-2 without the country, such as "AK").
    """

    percent: Decimal
    cap: int | None = None
    floor: int = 0
    max_age: timedelta = timedelta(hours=1)
    countries: frozenset[str] = frozenset()
    excluded_states: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VelocityBuffer:
    """Keep back what the other channels are likely (with `certainty`) to sell while this one does not know of it yet: during its
    own measured p99 lag, or `least_lag` where that is longer or nothing has been measured."""

    certainty: Decimal = Decimal("0.95")
    least_lag: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class LastUnits:
    """At `units` or fewer at own places only the fastest of the channels that may sell any goes on selling; it gets what no other
    one's buyers can still buy, that is nothing of the last ones until the others are confirmed to show zero."""

    units: int


@dataclass(frozen=True, slots=True)
class PreOrder:
    """What is announced to own places may be sold before it comes: `percent` of it, at most `cap`. What is sold so is promised
    like everything else, and waits (`backorder` in domain.sourcing_rules)."""

    percent: Decimal
    cap: int | None = None


Settings = SafetyStock | MaximumShown | ChannelShare | FbaShare | VelocityBuffer | LastUnits | PreOrder


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and whom it is for; None is for all. It holds from `starts_at` until before `ends_at`.

    Of several rules of one kind the most specific wins: by SKU, then tag, then location, then channel; among equals the higher
    `priority`, then the newer. `location` is the place (SAFETY_STOCK: units kept at that place) or the FBA pool (FBA_SHARE).
    """

    id: RuleId
    name: str
    settings: Settings
    sku: Sku | None = None
    tag: str | None = None
    channel: ChannelId | None = None
    location: str | None = None
    priority: int = 0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    made_by: str = ""
    made_at: datetime | None = None


S = TypeVar("S", SafetyStock, MaximumShown, ChannelShare, FbaShare, VelocityBuffer, LastUnits, PreOrder)

KINDS: Mapping[type[Settings], RuleKind] = {
    SafetyStock: RuleKind.SAFETY_STOCK,
    MaximumShown: RuleKind.MAXIMUM_SHOWN,
    ChannelShare: RuleKind.CHANNEL_SHARE,
    FbaShare: RuleKind.FBA_SHARE,
    VelocityBuffer: RuleKind.VELOCITY_BUFFER,
    LastUnits: RuleKind.LAST_UNITS,
    PreOrder: RuleKind.PRE_ORDER,
}
SETTINGS: Mapping[RuleKind, type[Settings]] = {kind: settings for settings, kind in KINDS.items()}


def kind_of(settings: Settings) -> RuleKind:
    """The kind of rule that has such settings."""
    return KINDS[type(settings)]


def check_settings(settings: Settings) -> None:
    """Raises Invalid, with the setting as its `field`, for settings that mean nothing."""
    match settings:
        case SafetyStock() | MaximumShown() | LastUnits():
            _check_units("units", settings.units)
        case ChannelShare():
            _check_percent(settings.percent)
        case FbaShare():
            _check_fba_share(settings)
        case PreOrder():
            _check_percent(settings.percent)
            if settings.cap is not None:
                _check_units("cap", settings.cap)
        case VelocityBuffer():
            if not (settings.certainty.is_finite() and 0 < settings.certainty < 1):
                raise Invalid(
                    f"A certainty lies between 0 and 1, such as 0.95; this is {settings.certainty}.",
                    field=("certainty",),
                )
            _check_duration("least_lag", settings.least_lag)


def holds_at(rule: Rule, now: datetime) -> bool:
    """Whether the rule holds at `now`."""
    return (rule.starts_at is None or rule.starts_at <= now) and (rule.ends_at is None or now < rule.ends_at)


class Rulebook(tuple[Rule, ...]):
    """Rules, the one that wins first. Put in order once, they serve all the SKUs that they are for."""

    _by_settings: Mapping[type[Settings], Sequence[Rule]]

    def __new__(cls, rules: Iterable[Rule] = ()) -> Rulebook:
        made = super().__new__(cls, sorted(rules, key=_weight, reverse=True))
        by_settings: defaultdict[type[Settings], list[Rule]] = defaultdict(list)
        for rule in made:
            by_settings[type(rule.settings)].append(rule)
        made._by_settings = dict(by_settings)
        return made

    def of(self, settings: type[Settings]) -> Sequence[Rule]:
        """Those with such settings."""
        return self._by_settings.get(settings, ())


def _weight(rule: Rule) -> tuple[bool, bool, bool, bool, int, float, str]:
    """What decides between rules, the heavier wins; the id only makes the choice the same every time."""
    made = 0.0 if rule.made_at is None else rule.made_at.timestamp()
    return (
        rule.sku is not None,
        rule.tag is not None,
        rule.location is not None,
        rule.channel is not None,
        rule.priority,
        made,
        rule.id,
    )


def _check_units(name: str, units: int) -> None:
    if units < 0:
        raise Invalid(f"Units are counted from 0 up; {name} is {units}.", field=(name,))


def _check_percent(percent: Decimal) -> None:
    if not (percent.is_finite() and 0 <= percent <= 100):
        raise Invalid(f"A percentage lies between 0 and 100; this is {percent}.", field=("percent",))


def _check_duration(name: str, duration: timedelta) -> None:
    if duration <= timedelta(0):
        raise Invalid(f"{name} must be longer than nothing, such as PT1M.", field=(name,))


def _check_fba_share(share: FbaShare) -> None:
    _check_percent(share.percent)
    _check_units("floor", share.floor)
    if share.cap is not None:
        _check_units("cap", share.cap)
        if share.cap < share.floor:
            raise Invalid(f"The cap {share.cap} lies below the floor {share.floor}: raise one.", field=("cap",))
    _check_duration("max_age", share.max_age)
    for country in sorted(share.countries):
        if not re.fullmatch("[A-Z]{2}", country):
            raise Invalid(f"{country!r} is no ISO 3166-1 country code such as US.", field=("countries",))
    for state in sorted(share.excluded_states):
        if not re.fullmatch("[A-Z0-9]{1,3}", state):
            raise Invalid(
                f"{state!r} is no ISO 3166-2 code without its country, such as AK.", field=("excluded_states",)
            )
