"""What a sweep of a channel's stock did not tell of, and should have: it was deleted, carries another SKU, or was passed over.

A list tells of no deletion, and what was read before would count for ever. So it is asked for by its name, by whoever looks after
hints: as if the channel had said that it changed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from domain.channel import Location
from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from store import hint, stock
from workers.deps import Deps

log = logging.getLogger(__name__)

MOST = 1000  # SKUs that one sweep asks for


async def ask_for_untold(deps: Deps, id: ChannelId, group: Sequence[Location], began_at: datetime) -> None:
    """Have all asked for that was not told of since the sweep of these places began."""
    async with deps.store.begin() as tx:
        found = await stock.untold(tx, id, {place.code for place in group}, began_at, MOST)
        hints = []
        for one in found:
            # As long as nothing is read, nothing is to be asked a second time.
            name = f"untold:{one.as_of.isoformat()}:"
            if one.counts:
                hints.append(Hint(id, f"{name}{one.channel_sku}", "untold", HintKind.STOCK, one.channel_sku, began_at))
            if one.product is not None:
                hints.append(Hint(id, f"{name}{one.product}", "untold", HintKind.PRODUCT, one.product, began_at))
        new = await hint.keep(tx, hints)
    if new:
        log.info("stock.untold", extra={"channel": id, "skus": len(found), "asked": new})
