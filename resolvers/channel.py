"""Channels: are they well, how far are their streams, what is left of their budgets."""

from __future__ import annotations

from collections.abc import Sequence

from domain.budget import BudgetState
from domain.channel import StreamState
from domain.ids import ChannelId
from resolvers.shelf import Shelf
from store import channel, stream


async def ailments(shelf: Shelf, one: ChannelId) -> list[str]:
    """Why the channel's work does not go on as it should: paused, a stream that failed last, live reads that get no answer.

    Empty when all is well. The last is what this process has met since it last got an answer.
    """
    async with shelf.store.begin() as tx:
        paused = (await channel.states(tx)).get(one)
        states = await stream.states(tx, [one])
    told = [] if paused is None else [f"paused: {paused.reason}"]
    told += [f"{state.name.value}: {state.last_error}" for state in states if state.last_error is not None]
    for source in shelf.live.sources:
        if source.port.channel.id == one and source.breaker.open:
            places = ", ".join(place.name for place in source.locations)
            told.append(f"stock of {places}: {source.breaker.reason}")
    return told


async def streams(shelf: Shelf, one: ChannelId) -> Sequence[StreamState]:
    """The channel's synchronization streams."""
    async with shelf.store.begin() as tx:
        return await stream.states(tx, [one])


async def budgets(shelf: Shelf, one: ChannelId | None) -> Sequence[BudgetState]:
    """The buckets of one channel, or of all, in the order of channel and operation."""
    ports = [port for key, port in shelf.ports.items() if one in (None, key)]
    plans = [(port.channel.id, plan) for port in ports for plan in port.plans.values()]
    return await shelf.budgets.states(plans)
