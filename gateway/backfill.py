"""Orders of the past, asked for at the command line and followed to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from domain.ids import ChannelId
from domain.operation import FINISHED, Kind, Operation, OperationStatus
from gateway.wiring import House
from resolvers.flow import YOUNGEST, past_days
from store import operation

LOOK_S = 0.5

OnProgress = Callable[[Operation], None]


async def begin(house: House, channel: ChannelId, start: datetime, end: datetime, by: str) -> Operation:
    """Keep the operation; workers take it up. Raises Refused."""
    items = past_days(house.ports, channel, start, min(end, datetime.now(UTC) - YOUNGEST))
    async with house.store.begin() as tx:
        made, _ = await operation.create(
            tx,
            kind=Kind.BACKFILL_ORDERS,
            requested_by=by,
            idempotency_key=None,
            request_hash=uuid4().hex,
            dry_run=False,
            status=OperationStatus.QUEUED,
            items=items,
        )
    return made


async def follow(house: House, made: Operation, tell: OnProgress) -> Operation:
    """Wait until it has finished, telling how far it is."""
    while made.status not in FINISHED:
        tell(made)
        await asyncio.sleep(LOOK_S)
        async with house.store.begin() as tx:
            made = (await operation.by_ids(tx, [made.id]))[made.id]
    tell(made)
    return made
