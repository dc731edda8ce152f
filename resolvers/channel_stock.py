"""What each sales channel is told it may sell of a SKU, and what all of them together could still sell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import policy
from domain.channel import LocationKind
from domain.errors import NotFound
from domain.ids import ChannelId, Sku
from domain.policy import Destination, Exposure, Facts, Number, Place
from domain.product import FulfilledBy
from domain.shown import counting
from domain.stock import Term, told_at
from resolvers import stock
from resolvers.shelf import Shelf
from store import channel_numbers
from store.channel_numbers import ChannelNumber, Told


@dataclass(slots=True)
class ChannelStock:
    """What one channel may sell: of our own stock (MERCHANT) as we told it, of its own (CHANNEL) as it told us.

    Where it has not been told anything yet, `quantity` is what it will be told, and `pushed_at` is None.
    """

    channel: ChannelId
    fulfilled_by: FulfilledBy
    quantity: int
    pushed_at: datetime | None = None
    confirmed_at: datetime | None = None
    target: int | None = None
    shown: int | None = None
    shown_at: datetime | None = None
    terms: list[Term] = field(default_factory=list)
    last_error: str | None = None
    at: datetime | None = None


async def by_skus(shelf: Shelf, skus: Sequence[Sku]) -> dict[Sku, list[ChannelStock]]:
    """What each channel may sell of each SKU, by channel."""
    async with shelf.store.begin() as tx:
        numbers = await channel_numbers.numbers(tx, skus)
    known = await stock.told_now(shelf, skus)
    return {
        sku: _by_channel([*_told(shelf, numbers.get(sku, [])), *(_pools(known[sku]) if sku in known else [])])
        for sku in skus
    }


async def at_instant(shelf: Shelf, skus: Sequence[Sku], at: datetime) -> dict[Sku, list[ChannelStock]]:
    """What each channel had been told by then."""
    async with shelf.store.begin() as tx:
        told = await channel_numbers.numbers_at(tx, skus, at)
    known = await stock.facts_at(shelf, skus, at)
    return {
        sku: _by_channel(
            [*_then(shelf, told.get(sku, []), at), *(_pools(known[sku], at) if sku in known else [])],
        )
        for sku in skus
    }


async def exposures(shelf: Shelf, skus: Sequence[Sku]) -> dict[Sku, Exposure]:
    """What all channels could still sell of each SKU, and what there is; unknown SKUs are missing."""
    known = await stock.facts(shelf, skus, with_shown=True)
    now = shelf.clock()
    return {sku: policy.exposure(one, now) for sku, one in known.items()}


def offer(
    shelf: Shelf, known: Facts, channel: ChannelId, at: datetime | None, destination: Destination | None
) -> Number:
    """What the channel may sell of it now, or at a past instant. Raises NotFound for an unknown channel."""
    if channel not in shelf.channels:
        raise NotFound(f"There is no channel Channel:{channel}.", field=("channelId",))
    then = shelf.clock() if at is None else at
    number = policy.offer(known, channel, then, destination)
    told_at(number.terms, then)
    return number


def _by_channel(found: list[ChannelStock]) -> list[ChannelStock]:
    return sorted(found, key=lambda one: (one.channel, one.fulfilled_by is FulfilledBy.CHANNEL))


def _told(shelf: Shelf, numbers: Sequence[ChannelNumber]) -> list[ChannelStock]:
    ours = (number for number in numbers if number.channel in shelf.channels)
    return [_together(channel, places) for channel, places in counting(ours, _units).items()]


def _units(number: ChannelNumber) -> int:
    return number.target if number.told is None else number.told


def _together(channel: ChannelId, places: Sequence[ChannelNumber]) -> ChannelStock:
    shown = [place.shown for place in places if place.shown is not None]
    confirmed = [place.confirmed_at for place in places if place.confirmed_at is not None]
    failed = next((place for place in places if place.error_code is not None), None)
    return ChannelStock(
        channel=channel,
        fulfilled_by=FulfilledBy.MERCHANT,
        quantity=sum(map(_units, places)),
        pushed_at=max((place.told_at for place in places if place.told_at is not None), default=None),
        confirmed_at=max(confirmed) if len(confirmed) == len(places) else None,
        target=sum(place.target for place in places),
        shown=sum(shown) if len(shown) == len(places) else None,
        shown_at=min((place.shown_at for place in places if place.shown_at is not None), default=None),
        terms=places[0].terms,
        last_error=None if failed is None else f"{failed.error_code}: {failed.error_message}",
    )


def _then(shelf: Shelf, told: Sequence[Told], at: datetime) -> list[ChannelStock]:
    return [
        ChannelStock(one.channel, FulfilledBy.MERCHANT, one.quantity, one.pushed_at, one.confirmed_at, at=at)
        for one in told
        if one.channel in shelf.channels
    ]


def _pools(known: Facts, at: datetime | None = None) -> list[ChannelStock]:
    """What channels sell from their own pools: they were not told, they told us."""
    pools: defaultdict[ChannelId, list[Place]] = defaultdict(list)
    for place in known.places:
        if place.location.kind is LocationKind.FBA:
            pools[place.location.keeper].append(place)
    return [_pool(channel, places, at) for channel, places in pools.items()]


def _pool(channel: ChannelId, places: Sequence[Place], at: datetime | None) -> ChannelStock:
    free = {place.location.code: max(0, place.on_hand - place.reserved) for place in places}
    return ChannelStock(
        channel=channel,
        fulfilled_by=FulfilledBy.CHANNEL,
        quantity=sum(free.values()),
        confirmed_at=min((place.as_of for place in places if place.as_of is not None), default=None),
        terms=[
            Term(
                f"free in {place.location.name}",
                free[place.location.code],
                channel,
                place.as_of,
                upstream_request_id=place.upstream_request_id,
            )
            for place in places
        ],
        at=at,
    )
