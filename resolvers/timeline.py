"""What happened to orders: what was noted, and what follows from operations, from the ledger, and from what came back."""

from __future__ import annotations

from collections.abc import Collection

from domain.exchange import Exchange
from domain.ids import OrderId
from domain.timeline import Step, of_moves, of_piece, of_write, together
from resolvers.shelf import Shelf
from store import chain, exchange, timeline

USUAL = 50


async def by_orders(shelf: Shelf, ids: Collection[OrderId]) -> dict[OrderId, list[Step]]:
    """All steps of each order, as they happened."""
    async with shelf.store.begin() as tx:
        noted = await timeline.by_orders(tx, ids)
        written = await timeline.written(tx, ids)
        moved = await timeline.moved(tx, ids)
        chains = await chain.by_orders(tx, ids)
    derived = {id: of_moves(id, moved.get(id, [])) for id in ids}
    for id, found in chains.items():
        steps = [of_piece(id, piece) for one in found for piece in one.pieces]
        derived[id] += [one for one in steps if one is not None]
    for one in written:
        derived[one.order] += of_write(one)
    return {id: together(noted.get(id, []), derived[id]) for id in ids}


async def calls(shelf: Shelf, request_ids: Collection[str]) -> dict[str, list[Exchange]]:
    """The calls behind steps, by the platforms' ids of them."""
    async with shelf.store.begin() as tx:
        return await exchange.by_request_ids(tx, request_ids)
