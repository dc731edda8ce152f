"""The lease of an item, kept while a piece of work takes longer than one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from domain.operation import ClaimedItem
from store import agenda
from store.session import UNAVAILABLE
from workers.deps import Deps
from workers.watch import end


@asynccontextmanager
async def held(deps: Deps, item: ClaimedItem) -> AsyncIterator[None]:
    """Keep the item's lease while the block runs: a platform may work for minutes before it tells anything."""

    async def hold() -> None:
        while True:
            await asyncio.sleep(deps.timing.lease_s / 3)
            with suppress(*UNAVAILABLE):
                async with deps.store.begin() as tx:
                    await agenda.note(tx, item.id, item.fence, deps.timing.lease_s, {})

    task = asyncio.create_task(hold())
    try:
        yield
    finally:
        await end([task])
