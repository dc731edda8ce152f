"""What may be sold where: the numbers that follow from rules and facts, each with the terms that sum to it.

A number is a waterfall: it starts from what lies at each place, and every cause takes or gives its part in a fixed order. The
part of a cause is the number with it less the number without it, all causes before it being in place; so the parts always sum
to the number.

What can be sold in all (`available`):

    on hand - reserved of each place, - open reservations, - safety stock, never below zero

What one channel may sell of it (`offers`), from places of ours that sell to it:

    on hand - reserved, - open reservations, + FBA share, - safety stock, - hard shares of others, - own share,
    - velocity buffer, - maximum shown, - last units, never below zero

A kit starts from the kits that its scarcest component makes. Rules that are for a component act through it, and not once more on
the kit; MAXIMUM_SHOWN alone is about what is shown, and so about the kit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast

from domain.channel import Location, LocationKind
from domain.freshness import Freshness
from domain.ids import ChannelId, Sku
from domain.rule import (
    ChannelShare,
    FbaShare,
    LastUnits,
    MaximumShown,
    PreOrder,
    Rule,
    Rulebook,
    RuleKind,
    S,
    SafetyStock,
    Settings,
    VelocityBuffer,
    holds_at,
    kind_of,
)
from domain.stock import Reading, Term

NEVER_BELOW_ZERO = "never below zero"
"""The label of the term that holds a number at zero."""

# What the database's "infinity" is read as lies beyond it: units that are held until their order has shipped.
_FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


# `Place`, `Number` and `_Kept` are made many times for each answer, and a frozen one takes several times as long to make. Nobody
# changes one all the same.
@dataclass(slots=True)
class Place:
    """What one place holds of the SKU. `ours` places are counted by the ledger, the others by `location.keeper`. Without a
    reading (`as_of` None) nothing is known."""

    location: Location
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime | None
    freshness: Freshness
    upstream_request_id: str | None = None

    @classmethod
    def read(cls, location: Location, readings: Sequence[Reading], freshness: Freshness) -> Place:
        """What readings of one place say together: several channel SKUs of one product add up, the oldest sets the age."""
        oldest = min(readings, key=lambda one: one.as_of)
        return cls(
            location=location,
            on_hand=sum(one.on_hand for one in readings),
            reserved=sum(one.reserved for one in readings),
            inbound=sum(one.inbound for one in readings),
            as_of=oldest.as_of,
            freshness=freshness,
            upstream_request_id=oldest.upstream_request_id,
        )

    def at(self, as_of: datetime | None, freshness: Freshness) -> Place:
        """The same, told at another instant or graded anew. `dataclasses.replace` takes several times as long."""
        return Place(
            self.location, self.on_hand, self.reserved, self.inbound, as_of, freshness, self.upstream_request_id
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Units of open reservations that end at `expires_at`."""

    quantity: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """The most that a channel's buyers can still buy as far as we know, and whether it has been confirmed to be no more than
    what it was told. `None` units: it was never told anything by us."""

    units: int | None
    confirmed: bool


@dataclass(slots=True)
class Facts:
    """All that is known of one SKU. A kit has `components`, with the units of each, and no places of its own.

    `sold_per_day` are units by channel, `lag_s` each channel's p99 from a sale to its lower number being confirmed (missing: not
    measured), `shown` what each channel's buyers see. `default_safety_stock` holds where no rule does.
    """

    sku: Sku
    places: list[Place] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    components: list[tuple[Facts, int]] = field(default_factory=list)
    tags: frozenset[str] = frozenset()
    rules: Sequence[Rule] = ()
    default_safety_stock: int = 0
    sold_per_day: Mapping[ChannelId, float] = field(default_factory=dict)
    lag_s: Mapping[ChannelId, float] = field(default_factory=dict)
    shown: Mapping[ChannelId, Shown] = field(default_factory=dict)

    def with_places(self, places: list[Place], components: list[tuple[Facts, int]]) -> Facts:
        """All else that is known, with other places. `dataclasses.replace` takes several times as long."""
        return Facts(
            sku=self.sku,
            places=places,
            holds=self.holds,
            components=components,
            tags=self.tags,
            rules=self.rules,
            default_safety_stock=self.default_safety_stock,
            sold_per_day=self.sold_per_day,
            lag_s=self.lag_s,
            shown=self.shown,
        )


@dataclass(slots=True)
class Number:
    """A number of units and the terms whose signed sum it is. It holds until `changes_at` unless something happens: a reading
    grows too old then, a rule begins or ends, a reservation is over."""

    quantity: int
    terms: list[Term]
    changes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a buyer wants it sent; `state` is an ISO 3166-2 subdivision without the country."""

    country: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """What all channels together could still sell of a SKU, what exists to be delivered for it, and what is sold beyond that
    should all of them sell out. Units."""

    sellable: int
    existing: int
    beyond: int


def concerns(rule: Rule, facts: Facts) -> bool:
    """Whether the rule is for this SKU, at some time, place and channel."""
    if not _names(rule, facts):
        return False
    shown = isinstance(rule.settings, MaximumShown)
    return shown or not any(_names(rule, component) for component, _ in facts.components)


def safety_stock(facts: Facts, now: datetime) -> tuple[int, Rule | None]:
    """Units that nobody is offered, over all places, and the rule for all places; None: the default holds."""
    parts = _safety_stock(facts, _book(facts, now), facts.places)
    return sum(part.units for part in parts), parts[0].rule


def available(facts: Facts, now: datetime) -> Number:
    """What can be sold of the SKU in all, wherever it lies, never below zero."""
    draft = _Draft()
    if facts.components:
        draft.start_from_kits((one, units, available(one, now).quantity) for one, units in facts.components)
    else:
        draft.start_from_places(_by_code(facts.places))
        draft.add("open reservations", -_held(facts, now), "reservations")
    if facts.places or facts.components:
        draft.take(_safety_stock(facts, _book(facts, now), facts.places))
    instants = [*_hold_ends(facts), *_rule_changes(facts, SafetyStock)]
    return draft.number(_next(instants, now))


def counts(facts: Facts, now: datetime) -> tuple[int, int]:
    """(units on hand, units of them that nobody was promised and nobody holds). A kit's are the kits that its components make."""
    if facts.components:
        parts = [(counts(part, now), units) for part, units in facts.components]
        return min(one[0] // units for one, units in parts), min(one[1] // units for one, units in parts)
    on_hand = sum(place.on_hand for place in facts.places)
    return on_hand, on_hand - sum(place.reserved for place in facts.places) - _held(facts, now)


def offers(
    facts: Facts,
    channels: Sequence[ChannelId],
    now: datetime,
    destination: Destination | None = None,
    *,
    in_kit: bool = False,
) -> dict[ChannelId, Number]:
    """What each of `channels` may sell of it, in the order asked; where LAST_UNITS holds, settled among these.

    To a buyer at `destination` where it is known; `in_kit` as a part of kits, whatever may be shown of it alone.
    """
    drafts = _drafts(facts, channels, now, destination, settle=True, in_kit=in_kit)
    changes_at = _next(_changes(facts, channels, now), now)
    return {channel: draft.number(changes_at) for channel, draft in drafts.items()}


def offer(facts: Facts, channel: ChannelId, now: datetime, destination: Destination | None = None) -> Number:
    """What one channel may sell of it, to a buyer at `destination` where it is known; LAST_UNITS left out."""
    draft = _drafts(facts, [channel], now, destination)[channel]
    return draft.number(_next(_changes(facts, [channel], now), now))


def beside_own(facts: Facts, channel: ChannelId, now: datetime, destination: Destination | None = None) -> int:
    """Units that the channel may sell beside those of own places, to a buyer at `destination` where it is known: its shares of
    FBA, and what it counts at places of its own. Not those of an FBA pool that is its own: what we ship lies elsewhere."""
    book = _book(facts, now)
    total = 0
    for place in facts.places:
        share = _fba_share(book, place, channel, now, destination)
        if share is not None:
            total += max(0, share[1])
        elif place.location.keeper == channel and place.location.kind is not LocationKind.FBA:
            total += _free(place)
    return total


def spread(quantity: int, facts: Facts, channel: ChannelId, now: datetime) -> dict[str, int]:
    """`quantity` by the channel's own names of the places that it shows units at; {"": quantity} where it has no such names.

    Own places get up to what is free there, by code, then FBA pools up to their share; the rest goes to the first.
    """
    named = [place for place in _locations(facts) if channel in place.shown and place.sells(channel)]
    ordered = sorted(named, key=lambda place: (not place.ours, place.code))
    if not ordered:
        return {"": quantity}
    parts = dict.fromkeys((place.shown[channel] for place in ordered), 0)
    left = quantity
    for place in ordered:
        part = min(left, _room(facts, place, channel, now))
        parts[place.shown[channel]] += part
        left -= part
    parts[ordered[0].shown[channel]] += left
    return parts


def exposure(facts: Facts, now: datetime) -> Exposure:
    """How far what all channels could still sell goes beyond what exists.

    `sellable` is what their buyers see; a channel that we never told anything counts nothing. `existing` is what could be
    delivered for them: units at own places that are promised to nobody, safety stock included, and the FBA shares, of each pool
    the largest that any of these channels has, and so of what is announced.
    """
    sellable = sum(shown.units or 0 for shown in facts.shown.values())
    existing = max(0, _existing(facts, list(facts.shown), now))
    return Exposure(sellable, existing, max(0, sellable - existing))


def poisson_quantile(mean: float, certainty: float) -> int:
    """The least number that a Poisson variable of this mean does not exceed with at least this certainty (below 1)."""
    if mean <= 0:
        return 0
    # Ten deviations below the mean nothing is left that a float could tell from zero.
    number = max(0, int(mean - 10 * math.sqrt(mean)))
    part = math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
    total = part
    while total < certainty and (number < mean or part > 1e-18):
        number += 1
        part *= mean / number
        total += part
    return number


# ── The waterfall ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Kept:
    """Part of the safety stock, and the rule that says so; None: the default."""

    label: str
    units: int
    rule: Rule | None


@dataclass(slots=True)
class _Draft:
    """A number on its way through its causes. `elsewhere` are the units of it that lie in FBA, or are on their way to us."""

    quantity: int = 0
    terms: list[Term] = field(default_factory=list)
    elsewhere: int = 0

    def add(self, label: str, quantity: int, source: str) -> None:
        """A cause that gives or takes so much."""
        if quantity:
            self.quantity += quantity
            self.terms.append(Term(label, quantity, source, None))

    def rule(self, rule: Rule, label: str, quantity: int) -> None:
        """The same, by a rule."""
        if quantity:
            self.quantity += quantity
            self.terms.append(Term(label, quantity, kind_of(rule.settings).value, None, rule.name))

    def limit(self, rule: Rule, label: str, most: int) -> None:
        """A rule that allows no more than this."""
        self.rule(rule, label, min(0, most - self.quantity))

    def start_from_places(self, places: Iterable[Place]) -> None:
        """What lies at each place, and what of it is promised."""
        for place in places:
            source, as_of, request = place.location.keeper, place.as_of, place.upstream_request_id
            name = place.location.name
            self.quantity += place.on_hand - place.reserved
            self.terms.append(Term(f"on hand at {name}", place.on_hand, source, as_of, upstream_request_id=request))
            if place.reserved:
                self.terms.append(
                    Term(f"reserved at {name}", -place.reserved, source, as_of, upstream_request_id=request)
                )

    def start_from_kits(self, components: Iterable[tuple[Facts, int, int]]) -> None:
        """The kits that the scarcest of (component, units of it in a kit, units there are) makes."""
        scarcest, units, there = min(components, key=lambda one: (one[2] // one[1], one[0].sku))
        self.quantity += there // units
        self.terms.append(
            Term(f"kits that {there} of {scarcest.sku} make", there // units, "kit", _oldest(scarcest.places))
        )

    def take(self, kept: Iterable[_Kept]) -> None:
        """Keep the safety stock back."""
        for part in kept:
            if part.rule is None:
                self.add(part.label, -part.units, "acorn.toml")
            else:
                self.rule(part.rule, part.label, -part.units)

    def number(self, changes_at: datetime | None) -> Number:
        """The number, never below zero."""
        self.add(NEVER_BELOW_ZERO, max(0, -self.quantity), "rule")
        return Number(self.quantity, self.terms, changes_at)


def _drafts(
    facts: Facts,
    channels: Collection[ChannelId],
    now: datetime,
    destination: Destination | None = None,
    *,
    settle: bool = False,
    in_kit: bool = False,
) -> dict[ChannelId, _Draft]:
    """The number of each channel, not yet held at zero. `settle` the last units among them; `in_kit` asks what there is for kits,
    whatever may be shown of the component itself."""
    book = _book(facts, now)
    if facts.components:
        drafts = _kit_drafts(facts, channels, now, destination, settle)
    else:
        drafts = {channel: _goods(facts, book, channel, now, destination) for channel in channels}
    for channel, draft in drafts.items():
        _apply(draft, facts, book, channel, now, in_kit)
    if settle:
        _settle_last_units(drafts, facts, book, now)
    return drafts


def _kit_drafts(
    facts: Facts, channels: Collection[ChannelId], now: datetime, destination: Destination | None, settle: bool
) -> dict[ChannelId, _Draft]:
    """Kits from what each channel may sell of their components."""
    parts = []
    for component, units in facts.components:
        # A channel that does not offer the kit may still sell the component's last units.
        among = {*channels, *component.shown} if settle else channels
        parts.append((component, units, _drafts(component, among, now, destination, settle=settle, in_kit=True)))
    drafts = {}
    for channel in channels:
        drafts[channel] = _Draft()
        drafts[channel].start_from_kits((one, units, max(0, of[channel].quantity)) for one, units, of in parts)
    return drafts


def _goods(facts: Facts, book: _Book, channel: ChannelId, now: datetime, destination: Destination | None) -> _Draft:
    """What lies at own places that sell to the channel, less what is held, its share of FBA, and what it may sell ahead."""
    draft = _Draft()
    draft.start_from_places(_sold_by(facts, channel))
    draft.add("open reservations", -_held(facts, now), "reservations")
    for place in _by_code(facts.places):
        won = _fba_share(book, place, channel, now, destination)
        if won is not None:
            rule, units, young = won
            label = f"FBA share of {place.location.name}" + ("" if young else ", its reading being too old")
            kind, request = RuleKind.FBA_SHARE.value, place.upstream_request_id
            draft.quantity += units
            draft.elsewhere += units
            draft.terms.append(Term(label, units, kind, place.as_of, rule.name, request))
    before = _pre_order(facts, book, channel)
    if before is not None:
        draft.rule(before[0], "announced, to be sold before it comes", before[1])
        draft.elsewhere += before[1]
    return draft


def _apply(draft: _Draft, facts: Facts, book: _Book, channel: ChannelId, now: datetime, in_kit: bool) -> None:
    """Everything that the rules take from a channel's number."""
    draft.take(_safety_stock(facts, book, _sold_by(facts, channel), channel))
    there = max(0, draft.quantity)
    for other in sorted({rule.channel for rule in book.of(ChannelShare) if rule.channel not in (None, channel)}):
        won = _won(ChannelShare, book, other)
        if won is not None and won[1].hard:
            kept = _part(won[1].percent, max(0, _own(facts, book, now, other)))
            draft.rule(won[0], f"share kept for {other}", -kept)
    share = _won(ChannelShare, book, channel)
    if share is not None:
        draft.limit(share[0], f"share of {channel}", _part(share[1].percent, there))
    buffer = _won(VelocityBuffer, book, channel)
    if buffer is not None:
        draft.rule(buffer[0], "velocity buffer", -_likely_sold(facts, channel, buffer[1]))
    most = None if in_kit else _won(MaximumShown, book, channel)
    if most is not None:
        draft.limit(most[0], "maximum shown", most[1].units)


def _settle_last_units(drafts: Mapping[ChannelId, _Draft], facts: Facts, book: _Book, now: datetime) -> None:
    """Where few are left, one channel sells them, and only those that nobody else's buyers can still buy."""
    won = _won(LastUnits, book)
    if won is None:
        return
    rule, settings = won
    own = _own(facts, book, now)
    if own > settings.units:
        return
    selling = [channel for channel, draft in drafts.items() if draft.quantity > 0]
    fastest = min(selling, key=lambda channel: (facts.lag_s.get(channel, math.inf), channel), default=None)
    others = sum(shown.units or 0 for channel, shown in facts.shown.items() if channel != fastest)
    for channel, draft in drafts.items():
        most = max(0, own + draft.elsewhere - others) if channel == fastest else 0
        draft.limit(rule, "last units", most)


# ── The causes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _held(facts: Facts, now: datetime) -> int:
    """Units of reservations that are open now."""
    return sum(hold.quantity for hold in facts.holds if hold.expires_at > now)


def _safety_stock(facts: Facts, book: _Book, places: Iterable[Place], channel: ChannelId | None = None) -> list[_Kept]:
    """What is kept back in all, first, and at each of `places` by a rule of its own.

    A rule of a channel may keep more from it than from all, never less: it would offer what cannot be promised.
    """
    default = 0 if facts.components else facts.default_safety_stock
    if not book.of(SafetyStock):
        return [_Kept("safety stock", default, None)]
    general = _first(book, SafetyStock, None, None)
    kept = [_Kept("safety stock", default if general is None else _units(general), general)]
    special = _first(book, SafetyStock, channel, None)
    if special is not None and _units(special) > kept[0].units:
        kept[0] = _Kept("safety stock", _units(special), special)
    for place in _by_code(places):
        rule = _safety_rule_at(book, place)
        if rule is not None:
            kept.append(_Kept(f"safety stock at {place.location.name}", _kept_at(book, place), rule))
    return kept


def _safety_rule_at(book: _Book, place: Place) -> Rule | None:
    """The rule that keeps units at this place."""
    code = place.location.code
    return next((rule for rule in book.of(SafetyStock) if rule.location == code), None)


def _kept_at(book: _Book, place: Place) -> int:
    """Units that such a rule keeps there, at most what is free."""
    rule = _safety_rule_at(book, place)
    return 0 if rule is None else min(_units(rule), _free(place))


def _units(rule: Rule) -> int:
    return cast(SafetyStock, rule.settings).units


def _fba_share(
    book: _Book, place: Place, channel: ChannelId, now: datetime, destination: Destination | None
) -> tuple[Rule, int, bool] | None:
    """What the channel may sell from an FBA pool: the rule, units, and whether the reading is young enough for more than the
    floor. None where nothing is to be had there."""
    location = place.location
    if location.kind is not LocationKind.FBA or location.keeper == channel or not location.sells(channel):
        return None
    won = _won(FbaShare, book, channel, location.code)
    if won is None or place.as_of is None or not _delivers(won[1], destination):
        return None
    rule, share = won
    free = _free(place) - _kept_at(book, place)
    young = now < place.as_of + share.max_age
    units = share.floor
    if young:
        part = _part(share.percent, free)
        units = max(share.floor, part if share.cap is None else min(part, share.cap))
    return rule, min(free, units), young


def _pre_order(facts: Facts, book: _Book, channel: ChannelId) -> tuple[Rule, int] | None:
    """What the channel may sell of what is announced: the rule, and units. What was sold so is promised, and counts there."""
    won = _won(PreOrder, book, channel)
    if won is None:
        return None
    rule, ahead = won
    units = _part(ahead.percent, sum(place.inbound for place in _sold_by(facts, channel)))
    return rule, units if ahead.cap is None else min(units, ahead.cap)


def _delivers(share: FbaShare, destination: Destination | None) -> bool:
    """Whether it is for buyers there; of a buyer of whom nothing is known neither country nor state is."""
    if destination is None:
        return not share.countries
    return (not share.countries or destination.country in share.countries) and (
        destination.state is None or destination.state not in share.excluded_states
    )


def _own(facts: Facts, book: _Book, now: datetime, channel: ChannelId | None = None) -> int:
    """What own places (that sell to the channel, where one is named) have after reservations and safety stock, or the kits that
    this makes; below zero where it is not enough."""
    if facts.components:
        parts = ((max(0, _own(one, _book(one, now), now, channel)), units) for one, units in facts.components)
        there = min(number // units for number, units in parts)
        places: list[Place] = []
    else:
        places = [place for place in facts.places if place.location.ours]
        if channel is not None:
            places = [place for place in places if place.location.sells(channel)]
        there = sum(place.on_hand - place.reserved for place in places) - _held(facts, now)
    return there - sum(part.units for part in _safety_stock(facts, book, places, channel))


def _likely_sold(facts: Facts, channel: ChannelId, buffer: VelocityBuffer) -> int:
    """What the other channels sell, with the buffer's certainty, before this one knows."""
    others = sum(units for other, units in facts.sold_per_day.items() if other != channel)
    lag_s = max(facts.lag_s.get(channel, 0.0), buffer.least_lag.total_seconds())
    return poisson_quantile(others * lag_s / 86_400, float(buffer.certainty))


def _existing(facts: Facts, channels: Sequence[ChannelId], now: datetime) -> int:
    """Units that could be delivered, from own places, the FBA shares of `channels`, and what they may sell ahead."""
    if facts.components:
        return min(max(0, _existing(one, channels, now)) // units for one, units in facts.components)
    book = _book(facts, now)
    total = -_held(facts, now)
    for place in facts.places:
        if place.location.ours:
            total += place.on_hand - place.reserved
        else:
            shares = (_fba_share(book, place, channel, now, None) for channel in channels)
            total += max((share[1] for share in shares if share is not None), default=0)
    ahead = (_pre_order(facts, book, channel) for channel in channels)
    return total + max((one[1] for one in ahead if one is not None), default=0)


def _part(percent: Decimal, of: int) -> int:
    """A percentage of units, rounded down."""
    return int(of * percent // 100)


# ── Rules ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _names(rule: Rule, facts: Facts) -> bool:
    return (rule.sku is None or rule.sku == facts.sku) and (rule.tag is None or rule.tag in facts.tags)


@dataclass(slots=True)
class _Book:
    """The rules that hold for a SKU at `now`."""

    facts: Facts
    now: datetime
    rules: Rulebook
    _held: dict[type[Settings], Sequence[Rule]] = field(default_factory=dict)

    def of(self, settings: type[Settings]) -> Sequence[Rule]:
        """Those with such settings, the one that wins first."""
        if settings not in self._held:
            told = self.rules.of(settings)
            self._held[settings] = [one for one in told if holds_at(one, self.now) and concerns(one, self.facts)]
        return self._held[settings]


def _book(facts: Facts, now: datetime) -> _Book:
    rules = facts.rules
    return _Book(facts, now, rules if isinstance(rules, Rulebook) else Rulebook(rules))


def _first(book: _Book, settings: type[Settings], channel: ChannelId | None, location: str | None) -> Rule | None:
    for rule in book.of(settings):
        if rule.channel in (None, channel) and rule.location in (None, location):
            return rule
    return None


def _won(
    settings: type[S], book: _Book, channel: ChannelId | None = None, location: str | None = None
) -> tuple[Rule, S] | None:
    """The winning rule and its settings."""
    rule = _first(book, settings, channel, location)
    return None if rule is None else (rule, cast(S, rule.settings))


# ── Places ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _by_code(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.location.code)


def _sold_by(facts: Facts, channel: ChannelId) -> list[Place]:
    """Own places that sell to the channel, by code. What a shop counts by itself is that shop's."""
    return _by_code(place for place in facts.places if place.location.ours and place.location.sells(channel))


def _free(place: Place) -> int:
    return max(0, place.on_hand - place.reserved)


def _oldest(places: Iterable[Place]) -> datetime | None:
    return min((place.as_of for place in places if place.as_of is not None), default=None)


def _locations(facts: Facts) -> list[Location]:
    """The places of the SKU, or of a kit's components."""
    found = {place.location.code: place.location for place in facts.places}
    for component, _ in facts.components:
        found |= {location.code: location for location in _locations(component)}
    return list(found.values())


def _room(facts: Facts, location: Location, channel: ChannelId, now: datetime) -> int:
    """Units that can be shown at the place because they lie there."""
    if facts.components:
        return min(_room(one, location, channel, now) // units for one, units in facts.components)
    place = next((place for place in facts.places if place.location.code == location.code), None)
    if place is None:
        return 0
    if location.ours:
        return _free(place)
    share = _fba_share(_book(facts, now), place, channel, now, None)
    return 0 if share is None else share[1]


# ── Changes to come ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _next(instants: Iterable[datetime], now: datetime) -> datetime | None:
    """The first of them that is still to come."""
    return min((instant for instant in instants if now < instant < _FOREVER), default=None)


def _changes(facts: Facts, channels: Sequence[ChannelId], now: datetime) -> Iterator[datetime]:
    """When what the channels may sell changes by itself."""
    yield from _hold_ends(facts)
    yield from _rule_changes(facts)
    book = _book(facts, now)
    for place in facts.places:
        for channel in channels:
            share = _won(FbaShare, book, channel, place.location.code)
            if place.location.kind is LocationKind.FBA and place.as_of is not None and share is not None:
                yield place.as_of + share[1].max_age
    for component, _ in facts.components:
        yield from _changes(component, channels, now)


def _hold_ends(facts: Facts) -> Iterator[datetime]:
    yield from (hold.expires_at for hold in facts.holds)
    for component, _ in facts.components:
        yield from _hold_ends(component)


def _rule_changes(facts: Facts, settings: type[Settings] | None = None) -> Iterator[datetime]:
    """When a rule (with such settings) begins or ends."""
    for rule in facts.rules:
        instants = [instant for instant in (rule.starts_at, rule.ends_at) if instant is not None]
        if instants and (settings is None or isinstance(rule.settings, settings)) and concerns(rule, facts):
            yield from instants
    for component, _ in facts.components:
        yield from _rule_changes(component, settings)
