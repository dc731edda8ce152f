"""The rules of prices: reading and keeping sets, what they would make of listings, and asking for that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from domain.errors import Invalid, NotFound, Refused
from domain.ids import ChannelId, ListingId, Sku
from domain.operation import WAITING_FOR_PEOPLE, Capability
from domain.price import Hit, PriceWish
from domain.price_rules import PriceRules
from domain.price_rules_check import check
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_cursor, write_cursor
from resolvers.price import sellers
from resolvers.request import Accepted, check_key, contents_hash
from resolvers.shelf import Shelf
from store import operation, price_desk, price_rules
from store.price_rules import Made

MOST_VERSIONS = 50
MOST_SKUS = 1_000
MOST_APPLIED = 5_000
PAGE = 500
SHOWN = 20
"""So many unknown SKUs are named."""


async def newest(shelf: Shelf) -> PriceRules:
    """The set that holds; version 0 while nobody has kept one."""
    async with shelf.store.begin() as tx:
        return await price_rules.newest(tx)


async def versions(shelf: Shelf, first: int) -> list[PriceRules]:
    """The newest sets that were kept, newest first. Raises Invalid."""
    if not 1 <= first <= MOST_VERSIONS:
        raise Invalid(f"Ask for 1 to {MOST_VERSIONS} versions.", field=("first",))
    async with shelf.store.begin() as tx:
        return await price_rules.versions(tx, first)


async def save(shelf: Shelf, wanted: PriceRules, by: str) -> PriceRules:
    """From now on `wanted` holds, in place of the version that it names. Raises Invalid and Conflict, with the path in the set as
    their field."""
    check(wanted, shelf.channels)
    async with shelf.store.begin() as tx:
        return await price_rules.keep(tx, wanted, by)


@dataclass(frozen=True, slots=True)
class Tried:
    """What rules make of a listing, and the guards that this price would run into."""

    made: Made
    hits: tuple[Hit, ...] = ()


async def preview(
    shelf: Shelf,
    wanted: PriceRules | None,
    skus: Sequence[Sku] | None,
    channel: ChannelId | None,
    first: int | None,
    after: str | None,
) -> Connection[Tried]:
    """What `wanted` (None: the set that holds) makes now of a page of the listings. Nothing is kept. Raises Invalid, NotFound."""
    if wanted is not None:
        check(wanted, shelf.channels)
    size, channels = page_size(first), _channels(shelf, channel)
    place = ListingId(read_cursor("priceRules", after)[0]) if after is not None else None
    _check_skus(skus)
    async with shelf.store.begin() as tx:
        rules = wanted if wanted is not None else await price_rules.newest(tx)
        ids = await price_rules.listings(tx, channels, skus, place, size + 1)
        found = await _tried(tx, shelf, rules, ids[:size])

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await price_rules.count(tx, channels, skus)

    return connect(found, len(ids) > size, after, lambda one: write_cursor("priceRules", one.made.listing), count)


async def explain(shelf: Shelf, listing: ListingId) -> Tried | None:
    """What the set that holds makes of one listing now; None where there is no such listing that can have a price."""
    async with shelf.store.begin() as tx:
        found = await _tried(tx, shelf, await price_rules.newest(tx), [listing])
    return found[0] if found else None


async def apply(
    shelf: Shelf,
    requested_by: str,
    correlation_id: str,
    skus: Sequence[Sku] | None,
    channel: ChannelId | None,
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> Accepted:
    """Keep an operation that asks for the prices that the set that holds makes now, where they are others than there are, and
    wake its lanes. What a guard refuses, and a listing without a price, is as `store.price_desk.keep` and `work_out` say.

    A repeated idempotency key answers the first operation; with other contents it is a Conflict.
    """
    contents = contents_hash("price rules", dry_run, None if skus is None else sorted(skus), channel)
    try:
        check_key(idempotency_key)
        _check_skus(skus)
        channels = _channels(shelf, channel)
        async with shelf.store.begin() as tx:
            # Before anything is read: no other change of these prices comes between.
            await price_desk.lock(tx, channels)
            repeated = await operation.by_key(tx, requested_by, idempotency_key, contents)
            if repeated is not None:
                return Accepted(repeated, [])
            wishes = await _wishes(tx, shelf, channels, skus)
            request = price_desk.Request(
                requested_by, contents, shelf.clock(), idempotency_key, dry_run, correlation_id
            )
            kept, created = await price_desk.keep(tx, request, wishes)
    except Refused as problem:
        return Accepted(None, [problem])
    if created and kept.status not in WAITING_FOR_PEOPLE:
        for one in sorted({wish.channel for wish in wishes}):
            await shelf.bell.ring(one, Capability.PRICES)
    return Accepted(kept, [])


async def _wishes(
    tx: AsyncConnection, shelf: Shelf, channels: Collection[ChannelId], skus: Sequence[Sku] | None
) -> list[PriceWish]:
    """Raises Invalid where nothing would be asked for, or too much, and NotFound for SKUs without a listing."""
    rules = await price_rules.current(tx)
    if rules is None:
        raise Invalid("No rules hold. Keep some first, by setPriceRules.")
    if skus is not None and (gone := await price_rules.unlisted(tx, channels, skus)):
        words = f"No listing of {', '.join(sorted(gone)[:SHOWN])} is known there; leave out what is not sold."
        raise NotFound(words, field=("skus",))
    most = await price_rules.listings(tx, channels, skus, None, MOST_APPLIED + 1)
    if len(most) > MOST_APPLIED:
        words = f"These are more than {MOST_APPLIED:,} listings. Name a channel, or SKUs."
        raise Invalid(words, field=("skus",))
    wishes: list[PriceWish] = []
    at = shelf.clock()
    for start in range(0, len(most), PAGE):
        found = await price_rules.work_out(tx, rules, most[start : start + PAGE], shelf.channels, at)
        wishes += [one.wish for one in found if one.wish is not None and one.changes]
    if not wishes:
        words = f"The rules make no other price of these {len(most):,} listings. previewPriceRules says what they make."
        raise Invalid(words, field=("skus",))
    return wishes


async def _tried(tx: AsyncConnection, shelf: Shelf, rules: PriceRules, ids: Sequence[ListingId]) -> list[Tried]:
    at = shelf.clock()
    made = await price_rules.work_out(tx, rules, ids, shelf.channels, at)
    judged = await price_desk.weigh(tx, [one.wish for one in made if one.wish is not None], at, single=True)
    hits = {row.wish.listing: row.hits for row in judged.rows}
    return [Tried(one, hits.get(one.listing, ())) for one in made]


def _channels(shelf: Shelf, channel: ChannelId | None) -> list[ChannelId]:
    """Those whose prices can be set. Raises NotFound for one whose prices cannot."""
    known = sorted(sellers(shelf.ports))
    if channel is None:
        return known
    if channel not in known:
        words = f"{channel} is no channel whose prices are set here. There is {', '.join(known) or 'none'}."
        raise NotFound(words, field=("channelId",))
    return [channel]


def _check_skus(skus: Sequence[Sku] | None) -> None:
    if skus is not None and not 1 <= len(skus) <= MOST_SKUS:
        raise Invalid(f"Name 1 to {MOST_SKUS:,} SKUs, or leave them out for all.", field=("skus",))
