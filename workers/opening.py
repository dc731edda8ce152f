"""Opening: the first count of each SKU at the places of ours, as the channel that counted there before us tells it.

Many SKUs are read by going through all of the places, few one by one. A SKU that has any entry at a place is never opened there
again, so whatever people have posted meanwhile stands. All places of a channel are opened at once: the first number that we tell
it must not be taken for a count of the place that comes next.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.port import Port, StockKey
from domain.budget import Ask
from domain.channel import Location
from domain.errors import Refused, Transient
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from domain.product import Listing, Rejected
from domain.stock import Reading
from store import allocation, ledger, product, quarantine
from workers.deps import Deps

log = logging.getLogger(__name__)

# New SKUs come in ones and twos; of many that no place tells anything of, each run asks for so many.
CALLS_PER_RUN = 20
POSTED_AT_ONCE = 200
ACTOR = "acorn"

BySku = Mapping[Sku, Sequence[Listing]]
Told = Mapping[tuple[LocationCode, ChannelSku], Reading]


async def open_places(deps: Deps, port: Port, ask: Ask) -> AsyncIterator[int]:
    """Open what has no entry yet at the places that open from this channel; yields how many SKUs each step opened."""
    for places in port.stock_groups(_places(deps, port.channel.id)):
        wanted = await _unopened(deps, places)
        most = CALLS_PER_RUN * port.stock_batch
        if len(wanted) > most:
            pages = [page async for page in port.stock_pages(places, ask)]
            told = {(one.location, one.channel_sku): one for page in pages for one in page.items}
            yield await _open(deps, places, wanted, told)
            wanted = {sku: found for sku, found in wanted.items() if not _whole(places, found, told)}
        some = {sku: wanted[sku] for sku in list(wanted)[:most]}
        if some:
            yield await _open(deps, places, some, await _told(port, places, some, ask))


async def uncounted(tx: AsyncConnection, deps: Deps, skus: Collection[Sku]) -> set[tuple[ChannelId, str, Sku]]:
    """Numbers, by channel, place and SKU, that the channel has still to tell us: telling it one would write over its count."""
    return {
        (id, place.external_id, one.sku)
        for id in deps.ports
        for place in _places(deps, id)
        for one in await product.unopened(tx, id, [place.code], skus)
        if one.sku is not None
    }


def _places(deps: Deps, id: ChannelId) -> list[Location]:
    """Own places as the channel knows them: under its own name for them, as if it still counted there."""
    return [
        replace(place, keeper=id, external_id=place.shown[id])
        for place in deps.locations
        if place.ours and place.opens_from == id and id in place.shown
    ]


async def _unopened(deps: Deps, places: Sequence[Location]) -> dict[Sku, list[Listing]]:
    """The channel's listings of each SKU that has no entry at one of the places."""
    async with deps.store.begin() as tx:
        listings = await product.unopened(tx, places[0].keeper, [place.code for place in places])
    found: defaultdict[Sku, list[Listing]] = defaultdict(list)
    for one in listings:
        if one.sku is not None:
            found[one.sku].append(one)
    return dict(found)


async def _told(port: Port, places: Sequence[Location], wanted: BySku, ask: Ask) -> Told:
    """Readings of these SKUs alone; zeros where a place holds none."""
    keys = [
        StockKey(one.channel_sku, tuple(sorted(one.refs.items()))) for listings in wanted.values() for one in listings
    ]
    told: dict[tuple[LocationCode, ChannelSku], Reading] = {}
    for start in range(0, len(keys), port.stock_batch):
        try:
            readings = await port.stock(places, keys[start : start + port.stock_batch], ask)
        except (Transient, Refused) as problem:
            # What cannot be read now is asked for again by the next run, and holds nothing else up.
            log.warning("stock.not_opened", extra={"channel": port.channel.id, "reason": problem.message})
            continue
        told |= {(one.location, one.channel_sku): one for one in readings}
    return told


async def _open(deps: Deps, places: Sequence[Location], wanted: BySku, told: Told) -> int:
    """Post the first counts of each SKU of which everything was told; returns of how many."""
    skus = sorted(sku for sku, listings in wanted.items() if _whole(places, listings, told))
    for start in range(0, len(skus), POSTED_AT_ONCE):
        batch = skus[start : start + POSTED_AT_ONCE]
        async with deps.store.begin() as tx:
            entries: list[NewEntry] = []
            rejected: list[Rejected] = []
            for place in places:
                # Somebody may have posted there before; the first entry is theirs then.
                opened = await ledger.opened(tx, place.code, batch)
                for sku in batch:
                    if sku not in opened:
                        readings = [told[place.code, one.channel_sku] for one in wanted[sku]]
                        entries.append(_entry(place, sku, readings))
                        rejected += _negative(place, readings)
            await quarantine.keep(tx, rejected)
            # What was ordered before still lies there, so it is promised together with the first count.
            waiting = await allocation.waiting(tx, batch)
            await allocation.lock(tx, waiting, batch)
            await ledger.post(tx, entries)
            await allocation.settle(tx, waiting, deps.locations)
        await _settle_rest(deps, batch)
    if skus:
        log.info("stock.opened", extra={"channel": places[0].keeper, "skus": len(skus)})
    return len(skus)


async def _settle_rest(deps: Deps, skus: Sequence[Sku]) -> None:
    """Promise what came too late for the transaction that opened, or was too much for it."""
    moved: set[Sku] | None = None
    while moved is None or moved:
        async with deps.store.begin() as tx:
            moved = await allocation.settle(tx, await allocation.waiting(tx, skus), deps.locations)


def _whole(places: Sequence[Location], listings: Sequence[Listing], told: Told) -> bool:
    """Whether all channel SKUs of a SKU were told of all places: they add up."""
    return all((place.code, one.channel_sku) in told for place in places for one in listings)


def _entry(place: Location, sku: Sku, readings: Sequence[Reading]) -> NewEntry:
    return NewEntry(
        sku=sku,
        location=place.code,
        kind=EntryKind.OPENING,
        reason=f"opening balance as {place.keeper} counted it",
        actor=ACTOR,
        source=f"opening:{place.keeper}",
        on_hand=sum(max(0, one.on_hand) for one in readings),
        inbound=sum(max(0, one.inbound) for one in readings),
        key=f"opening:{place.code}:{sku}",
    )


def _negative(place: Location, readings: Sequence[Reading]) -> list[Rejected]:
    """What cannot lie anywhere: it opens with nothing, and people are told."""
    return [
        Rejected(
            place.keeper,
            "opening",
            f"{place.code} {one.channel_sku}",
            f"It tells {one.on_hand} units on hand; opened with 0. Count what lies there.",
            f"on hand {one.on_hand}, reserved {one.reserved}, inbound {one.inbound}",
        )
        for one in readings
        if one.on_hand < 0
    ]
