"""A house with its doors open: what the requests of one process share, and what runs beside them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from prometheus_client import Gauge
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from adapters.outside import Guard
from adapters.route import Routes
from domain.channel import Channel
from domain.event import Event
from domain.grant import Lack
from domain.ids import ChannelId
from gateway import memory, metrics
from gateway.auth import Keys
from gateway.events import EventHub
from gateway.jwt import Issuer, Tokens
from gateway.settings import Settings
from gateway.wiring import House, build_house, webhook_terms
from resolvers import order_changes, stock_changes
from resolvers.live import LiveStock
from resolvers.price_history import LATE
from resolvers.shelf import Shelf
from resolvers.stock_cache import StockCache
from store import (
    bank,
    channel,
    estimate,
    finance_file,
    grant,
    migrate,
    money_word,
    price_canary,
    price_guard,
    price_history,
    settlement,
    settlement_view,
    webhook,
)
from store.channel import ChannelPause
from store.session import UNAVAILABLE
from workers.bell import ArqBell, SilentBell, arq_redis
from workers.watch import end

log = logging.getLogger(__name__)

PROBE_S = 3.0
UNREAD: tuple[type[Exception], ...] = (*UNAVAILABLE, DBAPIError)
"""The database is away, or its tables are not there yet."""


@dataclass(slots=True)
class Standing:
    """A house with its doors open: what requests share, and what runs beside them."""

    house: House
    shelf: Shelf
    keys: Keys
    hub: EventHub
    bell: ArqBell | SilentBell
    tail: asyncio.Task[None]
    watch: asyncio.Task[None]
    sweep: asyncio.Task[None]
    at_head: bool = False

    async def ailments(self) -> list[str]:
        """Why no request should be sent here, in words for operators; empty when all is well."""
        probes = (self._database(), self._redis(), self._migrations())
        found = [one for one in await asyncio.gather(*probes) if one is not None]
        return found if not self.tail.done() else [*found, "events: the hub has ended; restart this process"]

    async def tell_of_channels(self) -> None:
        """Bring the metrics of what stands still up to date; while the database is away they tell of nothing."""
        try:
            paused, lacking, told, guarded = await asyncio.wait_for(self._standing_still(), PROBE_S)
            await asyncio.wait_for(self._tell_of_prices(), PROBE_S)
        except UNAVAILABLE:
            metrics.CHANNELS_PAUSED.clear()
            metrics.ROLES_MISSING.clear()
            metrics.WEBHOOKS.clear()
            metrics.WEBHOOK_DELIVERIES.clear()
            metrics.PRICES_GUARDED.clear()
            metrics.PRICE_CANARIES.clear()
            metrics.WEBHOOK_LAG.set(math.nan)
            metrics.PRICES_DIFFER.set(math.nan)
            _tell_of_no_money()
            return
        metrics.WEBHOOKS.labels("active").set(told.active)
        metrics.WEBHOOKS.labels("paused").set(told.paused)
        metrics.WEBHOOK_DELIVERIES.labels("pending").set(told.pending)
        metrics.WEBHOOK_DELIVERIES.labels("failed").set(told.failed)
        metrics.WEBHOOK_LAG.set(told.oldest_s)
        metrics.PRICES_GUARDED.clear()
        for (guard, action), count in guarded.items():
            metrics.PRICES_GUARDED.labels(guard, action).set(count)
        metrics.ROLES_MISSING.clear()
        for id in self.house.channels:
            metrics.CHANNELS_PAUSED.labels(id).set(id in paused)
        for lack in lacking:
            metrics.ROLES_MISSING.labels(lack.channel, lack.operation).set(1)
        # Alone: to add up a million open lines may take longer than a probe, and hides nothing else.
        try:
            await asyncio.wait_for(self._tell_of_money(), PROBE_S)
        except UNAVAILABLE:
            _tell_of_no_money()

    async def _tell_of_prices(self) -> None:
        async with self.house.store.begin() as tx:
            differing = await price_history.drift_count(tx, LATE)
            canaries = await price_canary.counts(tx)
        metrics.PRICES_DIFFER.set(differing)
        for state, count in canaries.items():
            metrics.PRICE_CANARIES.labels(state.value.lower()).set(count)

    async def _tell_of_money(self) -> None:
        now = self.shelf.clock()
        async with self.house.store.begin() as tx:
            sums = await settlement_view.residual_sums(tx, now)
            gaps = await settlement.gaps(tx)
            refused = await finance_file.refused_counts(tx)
            unknown = await money_word.unclassified(tx, self.house.channels)
            late = await estimate.lag(tx)
            overdue = await bank.overdue(tx, now)
        metrics.ESTIMATES_LAG.set(late.total_seconds())
        _clear(metrics.MONEY_OPEN)
        for id in self.house.channels:
            for gauge in (metrics.RESIDUAL_OLDEST, metrics.SETTLEMENTS_MISSING, metrics.SETTLEMENT_FILES_REFUSED):
                gauge.labels(id).set(0)
        for one in sums:
            cause = one.cause.value.lower()
            metrics.RESIDUAL_LINES.labels(one.channel, cause).inc(one.lines)
            metrics.RESIDUAL_AMOUNT.labels(one.channel, cause, one.amount.currency).inc(float(one.amount.amount))
        for id in {one.channel for one in sums}:
            oldest = min(one.oldest for one in sums if one.channel == id)
            metrics.RESIDUAL_OLDEST.labels(id).set((now - oldest).total_seconds())
        for id, payouts in overdue.items():
            metrics.PAYOUTS_OVERDUE.labels(id).set(payouts)
        for gap in gaps:
            metrics.SETTLEMENTS_MISSING.labels(gap.channel).inc()
        for id, files in refused.items():
            metrics.SETTLEMENT_FILES_REFUSED.labels(id).set(files)
        for each in unknown:
            metrics.MONEY_WORDS_UNKNOWN.labels(each.words.wording.name.lower()).inc()

    async def _standing_still(
        self,
    ) -> tuple[dict[ChannelId, ChannelPause], list[Lack], webhook.Counts, dict[tuple[str, str], int]]:
        since = self.shelf.clock() - timedelta(hours=24)
        async with self.house.store.begin() as tx:
            guarded = await price_guard.hits(tx, since)
            return await channel.states(tx), await grant.lacks(tx), await webhook.counts(tx), guarded

    async def close(self) -> None:
        """Shut the doors: requests have ended by now."""
        await end([self.tail, self.watch, self.sweep])
        await self.keys.close()
        await self.bell.close()
        await self.house.close()

    async def _database(self) -> str | None:
        try:
            await asyncio.wait_for(self.house.store.ping(), PROBE_S)
        except UNAVAILABLE as problem:
            return f"database: no answer ({type(problem).__name__}); check ACORN_DATABASE_URL and the server"
        return None

    async def _redis(self) -> str | None:
        try:
            await asyncio.wait_for(self.house.redis.ping(), PROBE_S)
        except (RedisError, OSError) as problem:
            return f"redis: no answer ({type(problem).__name__}); check ACORN_REDIS_URL and the server"
        return None

    async def _migrations(self) -> str | None:
        """Asked until the database is at the newest revision; it never goes back while we run."""
        if self.at_head:
            return None
        url = self.house.settings.database_url.get_secret_value()
        try:
            current = await asyncio.wait_for(asyncio.to_thread(migrate.current, url), PROBE_S)
        except Exception as problem:
            return f"migrations: cannot be read ({type(problem).__name__})"
        self.at_head = current == migrate.head()
        return None if self.at_head else f"migrations: the database is at {current or 'nothing'}; run `acorn migrate`"


async def open_house(settings: Settings) -> Standing:
    """Build the house and open its doors. Raises ConfigError."""
    house = await build_house(settings)
    return stand(house, await _past(house))


async def _past(house: House) -> dict[ChannelId, Channel]:
    """The channels that were ever configured; none while the database is away: then they go by their ids."""
    try:
        async with asyncio.timeout(PROBE_S), house.store.begin() as tx:
            return await channel.remembered(tx)
    except UNREAD as problem:
        log.warning("channels.past_unread", extra={"reason": type(problem).__name__})
        return {}


def _clear(gauges: Iterable[Gauge]) -> None:
    for gauge in gauges:
        gauge.clear()


def _tell_of_no_money() -> None:
    _clear(metrics.MONEY_OPEN)
    metrics.ESTIMATES_LAG.set(math.nan)


def stand(house: House, past: Mapping[ChannelId, Channel] | None = None) -> Standing:
    """Open the doors. Nothing is asked of anybody yet. `past` are the channels that were ever configured."""
    redis_url = house.settings.redis_url.get_secret_value()
    hub = EventHub(house.store, redis_url)
    bell = ArqBell(arq_redis(redis_url)) if house.settings.arq else SilentBell()
    metrics.RINGS_LOST.set_function(lambda: bell.lost)

    def clock() -> datetime:
        return datetime.now(UTC)

    cache = StockCache(house.store)
    routes = Routes(house.budgets, None if house.tracing is None else house.tracing.routed)
    live = LiveStock(house.store, house.redis, house.budgets, house.ports, house.locations, clock, routes)
    shelf = Shelf(
        store=house.store,
        channels=house.channels,
        ports=house.ports,
        budgets=house.budgets,
        live=live,
        bell=bell,
        events=hub,
        clock=clock,
        stock_cache=cache,
        locations=house.locations,
        safety_stock=house.safety_stock,
        field_map=house.field_map,
        label_shops=house.label_shops,
        stock_max_age=house.stock_max_age,
        refund_approval=house.refund_approval,
        chart=house.chart,
        past=past or {},
        ring=house.ring,
        guard=Guard(webhook_terms(house.settings).reach),
    )
    hub.before = partial(_prepare, shelf)
    tail = asyncio.create_task(hub.run())
    tail.add_done_callback(_tell_of_a_dead_hub)
    watch = asyncio.create_task(cache.run())
    issuer = Issuer.of(house.settings)
    keys = Keys(house.store, house.redis, None if issuer is None else Tokens(issuer))
    return Standing(house, shelf, keys, hub, bell, tail, watch, asyncio.create_task(memory.sweep()))


async def _prepare(shelf: Shelf, events: Sequence[Event]) -> None:
    """Read what those who follow these events will be told of them."""
    await stock_changes.prepare(shelf, events)
    await order_changes.prepare(shelf, events)


def _tell_of_a_dead_hub(tail: asyncio.Task[None]) -> None:
    """The hub only ends when it is told to; anything else is a mistake of ours, and /readyz says so."""
    if not tail.cancelled() and (problem := tail.exception()) is not None:
        log.error("events.hub_died", exc_info=problem)
