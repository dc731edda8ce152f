"""Stock of many SKUs at once: stored readings where they are young enough, one live call per batch where they are not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.port import StockKey
from domain.budget import Ask
from domain.channel import Location, LocationKind
from domain.errors import HouseError, Invalid, TooStale
from domain.event import EventKind
from domain.freshness import Freshness, OnStale, graded, young_enough
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.product import FulfilledBy, Listing
from domain.stock import Level, Reading, Stock, level_of, no_reading, stock_of
from resolvers.cursor import read_place
from resolvers.live import Source
from resolvers.shelf import Shelf
from store import event, product, stock

MOST_SKUS = 250
PATIENCE_S = 4.0  # how long a caller who could have an older answer waits for a live one


@dataclass(slots=True)
class StockAnswer:
    """Stock of one SKU, with what stood in the way: of any reading at all (`unknown`), or of a younger one (`aged`)."""

    stock: Stock
    unknown: list[HouseError] = field(default_factory=list)
    aged: list[HouseError] = field(default_factory=list)


@dataclass(slots=True)
class _Need:
    """One place that should hold one SKU: which source tells, what was told last, what this request learned."""

    source: Source
    location: Location
    key: StockKey
    stored: Reading | None
    live: Reading | None = None
    failure: HouseError | None = None

    def settle(self, answer: list[Reading] | HouseError | None) -> None:
        """Take what the source said of this place."""
        if isinstance(answer, HouseError):
            self.failure = answer
        elif answer is not None:
            self.live = next((one for one in answer if one.location == self.location.code), None)


async def by_skus(
    shelf: Shelf, ask: Ask, skus: Sequence[Sku], max_age: timedelta | None = None, *, ask_platforms: bool = True
) -> list[StockAnswer | None]:
    """One answer per SKU, in the order asked; None for an unknown SKU. At most 250 SKUs, else Invalid.

    With `ask_platforms` False the stored readings are answered as they are, whatever their age.
    """
    if len(skus) > MOST_SKUS:
        raise Invalid(f"At most {MOST_SKUS} SKUs can be asked at once; these are {len(skus)}. Ask in parts.")
    wished = shelf.stock_max_age if max_age is None else max_age
    async with shelf.store.begin() as tx:
        known = await product.by_skus(tx, skus)
        listings = await product.listings_by_skus(tx, list(known))
        stored = await stock.readings(tx, list(known))
    now = shelf.clock()
    needs = {sku: _needs(shelf, listings.get(sku, []), stored.get(sku, [])) for sku in known}
    if ask_platforms:
        await _refresh(shelf, ask, [need for group in needs.values() for need in group], now, wished)
    return [_answer(shelf, sku, needs[sku], now, wished) if sku in known else None for sku in skus]


def fresh_enough(answer: StockAnswer | None, on_stale: OnStale) -> Stock | HouseError | None:
    """The stock, or TooStale where the caller wants no older answer; None stays None."""
    if answer is None:
        return None
    stale = answer.stock.freshness in (Freshness.STALE, Freshness.UNKNOWN) and answer.stock.levels
    if on_stale is OnStale.ANSWER or not stale:
        return answer.stock
    reasons = sorted({failure.message for failure in answer.unknown + answer.aged})
    told = "never" if answer.stock.as_of is None else f"at {answer.stock.as_of.isoformat().replace('+00:00', 'Z')}"
    return TooStale(f"Stock of {answer.stock.sku} was last told {told}. {' '.join(reasons)}".strip())


def _needs(shelf: Shelf, listings: Sequence[Listing], stored: Sequence[Reading]) -> list[_Need]:
    """Every place that should hold the SKU, by its listings: FBA pools of channel-fulfilled offers, the places of a shop.

    One channel SKU in one place is one thing, whichever of the place's marketplaces lists it and with whatever refs.
    """
    last = {(one.location, one.channel, one.channel_sku): one for one in stored}
    keys: dict[tuple[ChannelId, ChannelSku], StockKey] = {}
    needs: dict[tuple[LocationCode, ChannelId, ChannelSku], _Need] = {}
    for listing in listings:
        key = keys.setdefault(
            (listing.channel, listing.channel_sku), StockKey(listing.channel_sku, tuple(sorted(listing.refs.items())))
        )
        for source in shelf.live.sources:
            for location in source.locations:
                if _holds(location, listing):
                    place = (location.code, listing.channel, listing.channel_sku)
                    needs.setdefault(place, _Need(source, location, key, last.get(place)))
    return list(needs.values())


def _holds(location: Location, listing: Listing) -> bool:
    """Whether the place should hold units of the listing."""
    if location.keeper != listing.channel:
        return False
    if location.kind is LocationKind.FBA:
        return listing.fulfilled_by is FulfilledBy.CHANNEL and listing.marketplace in location.marketplaces
    return True


async def _refresh(shelf: Shelf, ask: Ask, needs: Sequence[_Need], now: datetime, wished: timedelta) -> None:
    """Ask each source once for all that is not young enough; sources are asked side by side and fail apart."""
    due: dict[int, list[_Need]] = defaultdict(list)
    for need in needs:
        if need.stored is None or not young_enough(need.stored.as_of, now, wished):
            due[id(need.source)].append(need)
    await asyncio.gather(*(_ask_source(shelf, ask, group) for group in due.values()))


async def _ask_source(shelf: Shelf, ask: Ask, needs: Sequence[_Need]) -> None:
    """Ask one source: with patience for what has an older answer, until the deadline for what was never told."""
    source = needs[0].source
    never = {need.key for need in needs if need.stored is None}
    aged = {need.key for need in needs} - never
    answers: dict[StockKey, list[Reading] | HouseError] = {}
    parts = []
    if never:
        parts.append(shelf.live.ask(source, sorted(never, key=_by_sku), ask, patience_s=None))
    if aged:
        parts.append(shelf.live.ask(source, sorted(aged, key=_by_sku), ask, patience_s=PATIENCE_S))
    for part in await asyncio.gather(*parts):
        answers |= part
    for need in needs:
        need.settle(answers.get(need.key))


def _by_sku(key: StockKey) -> str:
    return key.channel_sku


def _answer(shelf: Shelf, sku: Sku, needs: Sequence[_Need], now: datetime, wished: timedelta) -> StockAnswer:
    """Put the places of one SKU together."""
    at: Mapping[LocationCode, list[_Need]] = defaultdict(list)
    for need in needs:
        at[need.location.code].append(need)
    levels = [_level(group, now, wished) for _, group in sorted(at.items())]
    failed = [(need.failure, need.stored) for need in needs if need.failure is not None]
    return StockAnswer(
        stock_of(sku, levels, shelf.safety_stock if levels else 0),
        unknown=[failure for failure, stored in failed if stored is None],
        aged=[failure for failure, stored in failed if stored is not None],
    )


def _level(needs: Sequence[_Need], now: datetime, wished: timedelta) -> Level:
    """The level of one place: its newest readings, graded by the oldest of them."""
    readings = [reading for need in needs if (reading := need.live or need.stored) is not None]
    if not readings:
        return no_reading(needs[0].location)
    if all(need.live is not None for need in needs):
        return level_of(needs[0].location, readings, Freshness.LIVE)
    oldest = min(reading.as_of for reading in readings)
    return level_of(needs[0].location, readings, graded(oldest, now, wished))


async def follow(shelf: Shelf, ask: Ask, skus: Sequence[Sku], after: str | None) -> AsyncIterator[tuple[str, Stock]]:
    """(cursor, stock): how each known SKU stands now, then one SKU at each change; with `after` only what changed since.

    Stored readings are told as they are; nothing is asked of a platform. Raises Invalid.
    """
    if len(skus) > MOST_SKUS:
        raise Invalid(f"At most {MOST_SKUS} SKUs can be followed at once; these are {len(skus)}.")
    if after is None:
        async with shelf.store.begin() as tx:
            start = await event.head(tx)
        for answer in await by_skus(shelf, ask, skus, ask_platforms=False):
            if answer is not None:
                yield str(start), answer.stock
    else:
        start = read_place(after)
    changes = shelf.events.follow(kinds=frozenset({EventKind.STOCK_CHANGED}), subjects=frozenset(skus), after=start)
    async for change in changes:
        for answer in await by_skus(shelf, ask, [Sku(change.subject)], ask_platforms=False):
            if answer is not None:
                yield change.cursor, answer.stock
