"""Stock as it changes, for those who follow it: what a change means is worked out once, however many it concerns."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial

from domain.event import Event, EventKind
from domain.ids import Sku
from domain.stock import Stock
from resolvers import stock
from resolvers.cursor import read_place
from resolvers.followed import KnownStock
from resolvers.shelf import Shelf
from store import kit

_CHANGES = frozenset({EventKind.STOCK_CHANGED, EventKind.STOCK_RULES_CHANGED})


async def follow(shelf: Shelf, skus: Sequence[Sku], after: str | None) -> AsyncGenerator[tuple[str, Stock], None]:
    """(cursor, stock): how each known SKU stands now, then one SKU at each change; with `after` only what changed since.

    A kit changes with its components, and every SKU with the rules. Stored readings are told as they are; nothing is asked of a
    platform. Raises Invalid.
    """
    stock.check_skus(skus)
    if after is None:
        start = await shelf.events.head()
        known = await _known(shelf, skus, start)
        for sku in skus:
            if sku in known:
                yield str(start), known[sku].stock
        parts = _parts(known)
    else:
        start = read_place(after)
        parts = await shelf.followed.kits.of(skus, partial(_read_parts, shelf))
    while True:
        moves = _moves(skus, parts)
        known = {}
        subjects = frozenset(moves) | {stock.EVERYTHING}
        async with aclosing(shelf.events.follow(kinds=_CHANGES, subjects=subjects, after=start)) as changes:
            async for change in changes:
                start = change.seq
                ruled = change.kind is EventKind.STOCK_RULES_CHANGED
                moved = skus if ruled else moves.get(Sku(change.subject), ())
                known = await _known(shelf, moved, start)
                told = [known[sku].stock for sku in moved if sku in known]
                for position, one in enumerate(told, 1):
                    # Whoever resumes from within an event gets the whole event again.
                    yield str(start if position == len(told) else start - 1), one
                if ruled:
                    parts = _parts(known)
                    break  # kits may be made of other components now
            else:
                return


async def prepare(shelf: Shelf, events: Sequence[Event]) -> None:
    """Read what those who follow these events, the newest of the log, will be told of them."""
    for change in events:
        if change.kind in _CHANGES:
            shelf.stock_cache.hear(change)
    moved = {Sku(change.subject) for change in events if change.kind is EventKind.STOCK_CHANGED}
    if moved:
        await _read(shelf, moved, events[-1].seq)


async def _known(shelf: Shelf, skus: Sequence[Sku], since: int) -> dict[Sku, KnownStock]:
    """The SKUs that there are, with all that happened up to the place `since`."""
    found = {sku: kept for sku in skus if (kept := shelf.followed.recent_stock.kept(sku, since)) is not None}
    if missing := [sku for sku in skus if sku not in found]:
        found |= await shelf.followed.stock.of(missing, partial(_read_now, shelf))
    return found


async def _read_now(shelf: Shelf, skus: Collection[Sku]) -> Mapping[Sku, KnownStock]:
    return await _read(shelf, skus, shelf.events.place)


async def _read(shelf: Shelf, skus: Collection[Sku], place: int | None) -> Mapping[Sku, KnownStock]:
    """From the rows, in which everything up to `place` has happened."""
    at = time.monotonic()
    facts = await stock.facts(shelf, list(skus), anew=True)
    now = shelf.clock()
    found = {sku: KnownStock(one, stock.told(shelf, one, now), at, place) for sku, one in facts.items()}
    for sku, known in found.items():
        known.stock.written = {}  # it is told to many, and does not change any more
        shelf.followed.recent_stock.keep(sku, known)
    return found


async def _read_parts(shelf: Shelf, skus: Collection[Sku]) -> Mapping[Sku, Collection[Sku]]:
    async with shelf.store.begin() as tx:
        kits = await kit.components(tx, skus)
    return {sku: [part for part, _ in components] for sku, components in kits.items()}


def _parts(known: Mapping[Sku, KnownStock]) -> dict[Sku, Collection[Sku]]:
    """What kits are made of."""
    return {sku: [part.sku for part, _ in one.facts.components] for sku, one in known.items()}


def _moves(skus: Sequence[Sku], parts: Mapping[Sku, Collection[Sku]]) -> dict[Sku, list[Sku]]:
    """Which of `skus` change with which: each with itself, a kit with its components."""
    moves: defaultdict[Sku, list[Sku]] = defaultdict(list)
    for sku in dict.fromkeys(skus):
        for part in {sku, *parts.get(sku, ())}:
            moves[part].append(sku)
    return dict(moves)
