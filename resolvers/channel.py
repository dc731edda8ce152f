"""Channels: are they well, how far are their streams, what is left of their budgets."""

from __future__ import annotations

from collections.abc import Sequence

from domain.budget import BudgetState
from domain.channel import StreamState
from domain.ids import ChannelId
from resolvers.shelf import Shelf
from store import channel, stream


async def healthy(shelf: Shelf, one: ChannelId) -> bool:
    """Whether the channel's work goes on: it is not paused, and no stream of it failed last."""
    async with shelf.store.begin() as tx:
        paused = await channel.states(tx)
        streams = await stream.states(tx, [one])
    return one not in paused and all(state.last_error is None for state in streams)


async def streams(shelf: Shelf, one: ChannelId) -> Sequence[StreamState]:
    """The channel's synchronization streams."""
    async with shelf.store.begin() as tx:
        return await stream.states(tx, [one])


async def budgets(shelf: Shelf, one: ChannelId | None) -> Sequence[BudgetState]:
    """The buckets of one channel, or of all, in the order of channel and operation."""
    ports = [port for key, port in shelf.ports.items() if one in (None, key)]
    plans = [(port.channel.id, plan) for port in ports for plan in port.plans.values()]
    return await shelf.budgets.states(plans)
