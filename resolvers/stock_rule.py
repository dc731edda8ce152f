"""Rules of what may be sold where, and what a change of them would change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from domain import policy
from domain.errors import NotFound
from domain.ids import ChannelId, RuleId, Sku
from domain.policy import Facts
from domain.rule import Rule
from resolvers.shelf import Shelf
from store import facts, kit, product, rule
from store.session import ONE_SNAPSHOT

MOST_SAMPLES = 20
PATIENCE_S = 6.0
PAGE = 250
BREATH = 25  # so many SKUs are computed before others have their turn


@dataclass(frozen=True, slots=True)
class Sample:
    """A published number that would differ."""

    sku: Sku
    channel: ChannelId
    before: int
    after: int


@dataclass(slots=True)
class Preview:
    """What a change of rules would do to the numbers that channels are told: `changed` of those of `examined` SKUs. `complete`
    says whether these are all SKUs; the rest were not looked at for want of time."""

    examined: int = 0
    complete: bool = False
    changed: int = 0
    samples: list[Sample] = field(default_factory=list)


async def rules(shelf: Shelf) -> list[Rule]:
    """Every rule, by name; also those whose time has not come or is over."""
    async with shelf.store.begin() as tx:
        return await rule.rules(tx)


async def save(shelf: Shelf, wanted: Rule, by: str) -> Rule:
    """Keep a rule; another one of its name ends. Raises Invalid, NotFound."""
    _check_places(shelf, wanted)
    async with shelf.store.begin() as tx:
        saved = await rule.save(tx, wanted, by)
    shelf.stock_cache.forget_all()
    return saved


async def remove(shelf: Shelf, id: RuleId, by: str) -> Rule:
    """End a rule. Raises NotFound."""
    async with shelf.store.begin() as tx:
        removed = await rule.remove(tx, id, by)
    shelf.stock_cache.forget_all()
    return removed


async def preview(shelf: Shelf, wanted: Rule | None, removed: RuleId | None) -> Preview:
    """What would differ if `wanted` were kept and `removed` ended, over all SKUs or as many as six seconds allow.

    Raises Invalid, NotFound.
    """
    until = time.monotonic() + PATIENCE_S
    async with shelf.store.begin() as tx:
        now_there = await rule.rules(tx)
    if removed is not None and all(one.id != removed for one in now_there):
        raise NotFound(f"There is no rule StockRule:{removed}.", field=("removeId",))
    if wanted is not None:
        _check_places(shelf, wanted)
        rule.check(wanted)
        # Among equals the newest wins; one that begins later is looked at as if it began now.
        wanted = replace(wanted, made_at=shelf.clock(), starts_at=None)
    gone = {one.id for one in now_there if one.id == removed or (wanted is not None and one.name == wanted.name)}
    change = _Change(now_there, gone, wanted)
    found, after = Preview(), None
    while time.monotonic() < until:
        skus = await _page(shelf, change.skus, after)
        if not skus:
            found.complete = True
            break
        await _examine(shelf, skus, change, found)
        after = skus[-1]
    return found


@dataclass(frozen=True, slots=True)
class _Change:
    """The rules that there are, those of them that would end, and the one that would come."""

    rules: Sequence[Rule]
    gone: Collection[RuleId]
    wanted: Rule | None

    @property
    def skus(self) -> set[Sku] | None:
        """The SKUs that it names; None where it is for more than some by name."""
        moved = [one for one in self.rules if one.id in self.gone] + ([] if self.wanted is None else [self.wanted])
        named = {one.sku for one in moved}
        return None if None in named else {sku for sku in named if sku is not None}

    @property
    def every_rule(self) -> list[Rule]:
        """Both those before and those after."""
        return [*self.rules, *([] if self.wanted is None else [self.wanted])]

    def before(self, known: Facts) -> Facts:
        """The facts with the rules that there are."""
        return _with(known, lambda one: one is not self.wanted)

    def after(self, known: Facts) -> Facts:
        """The facts with the rules that there would be."""
        return _with(known, lambda one: one is self.wanted or one.id not in self.gone)

    def concerns(self, known: Facts) -> bool:
        """Whether it may change anything of this SKU or its components."""
        parts = [known, *(part for part, _ in known.components)]
        moved = [one for one in self.every_rule if one is self.wanted or one.id in self.gone]
        return any(policy.concerns(one, part) for one in moved for part in parts)


def _with(known: Facts, holds: Callable[[Rule], bool]) -> Facts:
    """The facts with only the rules that hold, of a kit's components too."""
    components = [(_with(part, holds), units) for part, units in known.components]
    return replace(known, rules=list(filter(holds, known.rules)), components=components)


async def _page(shelf: Shelf, named: set[Sku] | None, after: Sku | None) -> list[Sku]:
    """The next SKUs to look at, by SKU."""
    async with shelf.store.begin() as tx:
        only = None if named is None else named | await kit.kits_with(tx, named)
        found, _ = await product.page(tx, first=PAGE, after=after, skus=only)
    return [one.sku for one in found]


async def _examine(shelf: Shelf, skus: Sequence[Sku], change: _Change, found: Preview) -> None:
    """Compute the numbers of these SKUs both ways."""
    async with shelf.store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        known = await facts.facts(
            tx,
            skus,
            locations=shelf.locations,
            now=shelf.clock(),
            default_safety_stock=shelf.safety_stock,
            max_age=shelf.stock_max_age,
            rules=change.every_rule,
            with_sales=True,
            with_shown=True,
        )
    now = shelf.clock()
    for position, sku in enumerate(skus):
        if position % BREATH == 0:
            await asyncio.sleep(0)
        if sku in known and change.concerns(known[sku]):
            _compare(shelf, known[sku], change, now, found)
        found.examined += 1


def _compare(shelf: Shelf, known: Facts, change: _Change, now: datetime, found: Preview) -> None:
    channels = sorted(channel for channel in known.shown if channel in shelf.channels)
    before = _numbers(change.before(known), channels, now)
    after = _numbers(change.after(known), channels, now)
    for channel in channels:
        if before[channel] != after[channel]:
            found.changed += 1
            if len(found.samples) < MOST_SAMPLES:
                found.samples.append(Sample(known.sku, channel, before[channel], after[channel]))


def _numbers(known: Facts, channels: Sequence[ChannelId], now: datetime) -> Mapping[ChannelId, int]:
    return {channel: number.quantity for channel, number in policy.offers(known, channels, now).items()}


def _check_places(shelf: Shelf, wanted: Rule) -> None:
    """A rule for a channel or a place that there is not would never hold."""
    if wanted.channel is not None and wanted.channel not in shelf.channels:
        raise NotFound(f"There is no channel Channel:{wanted.channel}.", field=("channel",))
    if wanted.location is not None and all(place.code != wanted.location for place in shelf.locations):
        codes = ", ".join(sorted(place.code for place in shelf.locations)) or "none"
        raise NotFound(f"There is no place {wanted.location!r}. There are {codes}.", field=("location",))
