"""A worker process: the sweep, the relay, the streams, the numbers for the channels and, with arq, an ear for the bell."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from arq.connections import ArqRedis
from arq.worker import Worker, func

from adapters.bulk_shipments import BulkShipments
from adapters.fulfillment import Ships
from adapters.market import Market
from domain.ids import ChannelId
from domain.operation import Capability
from workers import (
    backfill,
    cancels,
    exports,
    feeds,
    labels,
    outbound,
    prices,
    refunds,
    reports,
    shipments,
    syncing,
    webhooks_out,
)
from workers.bank import BankMatches
from workers.bell import JOB, QUEUE, arq_redis, read_json, write_json
from workers.completion import Completion
from workers.deps import Deps
from workers.drift import Looks
from workers.estimates import Estimates
from workers.following import Following
from workers.hints import Hints, Listen
from workers.label_books import Books
from workers.lanes import BatchHandlers, Handler, Lane, Lanes
from workers.market import Markets, follow_rates
from workers.money_words import MoneyWords
from workers.order_compare import Compares
from workers.price_canary import Canaries
from workers.price_decisions import PriceDecisions
from workers.price_files import PriceFiles
from workers.propagation import Propagation
from workers.push import Push
from workers.relay import EventBell, Relay
from workers.rematch import Rematch
from workers.repricing import Repricing
from workers.rights import Rights, scoped
from workers.shipment_files import ShipmentFiles
from workers.spill import Drain
from workers.streams import Streams
from workers.sweep import Sweep
from workers.tracking import Tracking
from workers.upkeep import Upkeep
from workers.watch import Pulses, Watchdog, end, supervise

log = logging.getLogger(__name__)

HANDLERS: dict[Capability, Handler] = {
    Capability.LABELS: labels.work,
    Capability.SHIPMENTS: shipments.work,
    Capability.STREAMS: syncing.work,
    Capability.BACKFILL: backfill.work,
    Capability.OUTBOUND: outbound.work,
    Capability.CANCELS: cancels.work,
    Capability.REFUNDS: refunds.work,
    Capability.REPORTS: reports.work,
    Capability.EXPORTS: exports.work,
}


BATCHES: dict[Capability, BatchHandlers] = {Capability.PRICES: prices.HANDLERS}


class Ear(Worker):
    """arq's worker, hearing the bell. It starts anew on fresh connections whenever arq gives up, which it does at the first
    failure of Redis; in the meantime the sweep wakes the lanes.

    A job only wakes a lane of this process and is over in a moment: nothing of arq's timeouts, tries and in-progress keys ever
    surrounds a write, and an orderly stop waits for the lanes and not for jobs.
    """

    def __init__(self, redis: ArqRedis, lanes: Lanes, worker: str, pulse: Callable[[], None]) -> None:
        self._lanes = lanes
        self._pulse = pulse
        super().__init__(
            functions=[func(self._drain, name=JOB, keep_result=0, timeout=5)],
            redis_pool=redis,
            queue_name=QUEUE,
            handle_signals=False,
            max_jobs=4,
            poll_delay=0.05,
            # All rings there can be, so that none hides behind those a dead worker has left in progress.
            queue_read_limit=1000,
            keep_result=0,
            log_results=False,
            health_check_interval=15,
            health_check_key=f"{QUEUE}:health:{worker}",
            job_serializer=write_json,
            job_deserializer=read_json,
        )

    async def _drain(self, ctx: dict[Any, Any], channel: str, capability: str) -> None:
        with suppress(ValueError):  # a ring from a newer gateway, for a capability that is not known here
            self._lanes.wake(Lane(ChannelId(channel), Capability(capability)))

    async def heart_beat(self) -> None:
        """Called by arq after each look at its queue."""
        self._pulse()
        await super().heart_beat()


async def listen(url: str, lanes: Lanes, worker: str, pulse: Callable[[], None]) -> None:
    """Hear the bell until Redis fails."""
    redis = arq_redis(url)
    ear = Ear(redis, lanes, worker, pulse)
    try:
        await ear.async_run()
    finally:
        await end(ear.tasks.values())
        await redis.aclose(close_connection_pool=True)


async def work(deps: Deps, stop: asyncio.Event, *, bell_url: str | None) -> None:
    """Work until `stop` is set, then finish what is in hand. `bell_url` is the Redis that rings; None works without arq."""
    pulses = Pulses()
    lanes = Lanes(deps, HANDLERS, BATCHES)
    event_bell = EventBell(deps.redis)
    push = Push(deps, pulses.beat("push"))
    loops = {
        "sweep": (pulse := pulses.beat("sweep"), Sweep(deps, lanes, pulse).run),
        "relay": (pulse := pulses.beat("relay"), Relay(deps, pulse, event_bell).run),
        "streams": (pulse := pulses.beat("streams"), Streams(deps, pulse).run),
        "propagation": (pulse := pulses.beat("propagation"), Propagation(deps, pulse, push.woken).run),
        "push": (push.pulse, push.run),
        "drift": (pulse := pulses.beat("drift"), Looks(deps, pulse).run),
        "upkeep": (pulse := pulses.beat("upkeep"), Upkeep(deps, pulse).run),
        "compare": (pulse := pulses.beat("compare"), Compares(deps, pulse).run),
        "completion": (pulse := pulses.beat("completion"), Completion(deps, pulse).run),
        "hints": (pulse := pulses.beat("hints"), Hints(deps, pulse).run),
        "spill": (pulse := pulses.beat("spill"), Drain(deps, pulse).run),
        "tracking": (pulse := pulses.beat("tracking"), Tracking(deps, pulse).run),
        "repricing": (pulse := pulses.beat("repricing"), Repricing(deps, pulse).run),
        "price files": (pulse := pulses.beat("price files"), PriceFiles(deps, pulse).run),
        "price decisions": (pulse := pulses.beat("price decisions"), PriceDecisions(deps, pulse).run),
        "canaries": (pulse := pulses.beat("canaries"), Canaries(deps, pulse).run),
        "estimates": (pulse := pulses.beat("estimates"), Estimates(deps, pulse).run),
        "rematch": (pulse := pulses.beat("rematch"), Rematch(deps, pulse).run),
        "bank": (pulse := pulses.beat("bank"), BankMatches(deps, pulse).run),
        "money words": (pulse := pulses.beat("money words"), MoneyWords(deps, pulse).run),
    }
    sent = pulses.beat("webhooks")
    loops["webhooks"] = (sent, lambda: webhooks_out.tell(deps, sent))
    if any(isinstance(port, Ships) for port in deps.ports.values()):
        loops["following"] = (pulse := pulses.beat("following"), Following(deps, pulse).run)
    if any(isinstance(port, BulkShipments) for port in deps.ports.values()):
        loops["shipment files"] = (pulse := pulses.beat("shipment files"), ShipmentFiles(deps, pulse).run)
    if any(isinstance(port, Market) for port in deps.ports.values()):
        loops["market"] = (pulse := pulses.beat("market"), Markets(deps, pulse).run)
    if deps.prices.rates_url is not None and deps.transport is not None:
        rates = pulses.beat("rates")
        follow = partial(follow_rates, deps, deps.transport, deps.prices.rates_url, rates)
        loops["rates"] = (rates, follow)
    if scoped(deps.ports):
        loops["rights"] = (pulse := pulses.beat("rights"), Rights(deps, pulse).run)
    if deps.feeds:
        told = pulses.beat("feeds")
        loops["feeds"] = (told, lambda: feeds.tell(deps, told))
    if deps.label_shops:
        loops["labels"] = (pulse := pulses.beat("labels"), Books(deps, pulse).run)
    for number, source in enumerate(deps.sources):
        heard = pulses.beat(f"queue {number}")
        loops[f"queue {number}"] = (heard, Listen(deps, source, heard).run)
    if bell_url is not None:
        hear = pulses.beat("ear")
        loops["ear"] = (hear, lambda: listen(bell_url, lanes, deps.worker, hear))
    watchdog = Watchdog(pulses, deps.timing.stall_s)
    watchdog.start()
    tasks = {
        name: asyncio.create_task(supervise(name, loop, pulse), name=name) for name, (pulse, loop) in loops.items()
    }
    log.info("worker.started", extra={"worker": deps.worker, "loops": sorted(tasks)})
    try:
        await stop.wait()
        log.info("worker.stopping", extra={"worker": deps.worker})
    finally:
        # From now on one sign of life counts: that the stop comes to its end.
        pulses.at.clear()
        pulses.beat("stop")
        # The relay goes last: what the lanes finish now should still be told.
        await end(tasks[name] for name in tasks if name != "relay")
        await asyncio.gather(lanes.close(deps.timing.finish_s), push.close(deps.timing.finish_s))
        await end([tasks["relay"]])
        try:
            while await Relay(deps, pulse, event_bell).once():
                pass
        except Exception as problem:
            # What the lanes have just told waits on its rows for the next relay.
            log.warning("worker.last_relay_failed", extra={"worker": deps.worker, "reason": type(problem).__name__})
        await event_bell.close()
        watchdog.stop()
    log.info("worker.stopped", extra={"worker": deps.worker})
