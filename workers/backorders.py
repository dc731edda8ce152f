"""Orders that wait get what has come, and those that rules sent from nowhere are decided anew when the rules have changed."""

from __future__ import annotations

from store import backorder
from workers.deps import Deps


async def rise(deps: Deps) -> None:
    """Serve all that can be, few at a time, so that nobody waits long for an order or a SKU."""
    more = True
    while more:
        async with deps.store.begin() as tx:
            more = bool(await backorder.arrived(tx))
    more = True
    while more:
        async with deps.store.begin() as tx:
            more = bool(await backorder.anew(tx, deps.locations))
