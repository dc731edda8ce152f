"""Channels: are they well, how far are their streams, what is left of their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from domain.budget import BudgetState
from domain.channel import Channel, Platform, StreamState
from domain.drift import DriftCount, DriftKind
from domain.hint import WELL, HintKind
from domain.ids import ChannelId
from domain.lag import Lag
from domain.privacy import SOON
from resolvers.shelf import Shelf
from store import channel, channel_numbers, drift, grant, hint, privacy, stock_push, stream

LONG = timedelta(minutes=5)
ENDING = timedelta(days=14)


def known(shelf: Shelf, id: ChannelId) -> Channel | None:
    """The channel as acorn.toml has it, or, where it names it no more, had it last; None for what was no channel that we know."""
    return shelf.channels.get(id) or shelf.past.get(id)


def of(shelf: Shelf, id: ChannelId) -> Channel:
    """The channel of something that is kept, for good; one that nobody knows any more goes by its id."""
    return known(shelf, id) or Channel(id, Platform.REST, id, sandbox=False)


def ever(shelf: Shelf) -> dict[ChannelId, Channel]:
    """Those that are configured, and those that were."""
    return {**shelf.past, **shelf.channels}


async def ailments(shelf: Shelf, one: ChannelId) -> list[str]:
    """Why the channel's work does not go on as it should: paused, a stream that failed last, numbers that differ from what we
    believe for another reason than a sale not seen yet, numbers that have long waited for orders, live reads that get no answer.

    Empty when all is well. The last is what this process has met since it last got an answer.
    """
    if one not in shelf.channels:
        return ["configured no more: what is kept of it can be read, and nothing is read from it or told to it"]
    async with shelf.store.begin() as tx:
        paused = (await channel.states(tx)).get(one)
        states = await stream.states(tx, [one])
        waiting = await stock_push.waiting_for_orders(tx, one, LONG)
        drifts = await drift.open_count(tx, channel=one, but=DriftKind.UNSEEN_SALE)
        lacking = await grant.lacks(tx, [one])
        consent = (await grant.states(tx)).get(one)
        standing = await hint.last_of(tx, one, HintKind.ACCOUNT)
        asked = await privacy.all_of(tx, one)
    told = [] if paused is None else [f"paused: {paused.reason}"]
    told += [f"{lack.operation}: {lack.reason}" for lack in lacking]
    ends_at = None if consent is None else consent.expires_at
    if ends_at is not None and ends_at - shelf.clock() < ENDING:
        told.append(f"consent: it ends on {ends_at:%Y-%m-%d}; let the account consent again before")
    if standing is not None and standing.subject != WELL:
        told.append(f"account: {standing.subject} since {standing.event_at:%Y-%m-%d}, says the channel")
    told += [
        f"privacy: {each.request.kind.value} is due on {each.due_at:%Y-%m-%d}; see `acorn privacy list`"
        for each in asked
        if each.due_at - shelf.clock() < SOON[each.request.kind]
    ]
    told += [f"{state.name.value}: {state.last_error}" for state in states if state.last_error is not None]
    told += [
        f"{state.name.value}: paused by {state.paused_by}: {state.pause_reason}; resumeStreams lets it go on"
        for state in states
        if state.paused_at is not None
    ]
    if drifts:
        told.append(
            f"stock: {drifts} number{'s differ' if drifts > 1 else ' differs'} from what we believe; see stockDrift"
        )
    if waiting:
        told.append(
            f"stock: {waiting} number{'s wait' if waiting > 1 else ' waits'} for the orders to be read before being raised"
        )
    for source in shelf.live.sources:
        if source.port.channel.id == one and source.breaker.open:
            places = ", ".join(place.name for place in source.locations)
            told.append(f"stock of {places}: {source.breaker.reason}")
    return told


async def stock_lag(shelf: Shelf, one: ChannelId) -> Lag | None:
    """How long the channel took, over the last day, from a sale elsewhere to its lower number being seen; None: not measured."""
    async with shelf.store.begin() as tx:
        return (await channel_numbers.lags(tx, [one])).get(one)


async def drift_counts(shelf: Shelf, one: ChannelId) -> list[DriftCount]:
    """How many of the channel's numbers differ, and differed lately, by kind."""
    async with shelf.store.begin() as tx:
        return await drift.counts(tx, one)


async def streams(shelf: Shelf, one: ChannelId) -> Sequence[StreamState]:
    """The channel's synchronization streams."""
    async with shelf.store.begin() as tx:
        return await stream.states(tx, [one])


async def budgets(shelf: Shelf, one: ChannelId | None) -> Sequence[BudgetState]:
    """The buckets of one channel, or of all, in the order of channel and operation."""
    ports = [port for key, port in shelf.ports.items() if one in (None, key)]
    plans = [(port.channel.id, plan) for port in ports for plan in port.plans.values()]
    return await shelf.budgets.states(plans)
