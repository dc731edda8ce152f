"""The worker process: built from the house, stopped by a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from adapters.route import Routes
from gateway.wiring import House, webhook_terms
from workers.deps import Deps, Timing
from workers.worker import work

INTERRUPTED = 130


def deps_of(house: House, timing: Timing | None = None) -> Deps:
    """What workers are given. `timing` is for tests; a process stops within `stop_within_s` of its settings."""
    return Deps(
        store=house.store,
        ports=house.ports,
        channels=house.channels,
        locations=house.locations,
        sku_map=house.sku_map,
        field_map=house.field_map,
        redis=house.redis,
        clock=lambda: datetime.now(UTC),
        worker=f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}",
        routes=Routes(house.budgets, None if house.tracing is None else house.tracing.routed),
        intervals=house.intervals,
        safety_stock=house.safety_stock,
        feeds=house.feeds_out,
        call_months=house.settings.call_months,
        sources=house.notices.sources,
        subscriptions=house.notices.desks,
        ring=house.ring,
        transit=house.transit,
        prices=house.prices,
        transport=house.transport,
        webhooks=webhook_terms(house.settings),
        fba=house.fba,
        label_shops=house.label_shops,
        timing=timing or replace(Timing(), finish_s=float(house.settings.stop_within_s)),
    )


async def run(house: House, *, arq: bool, timing: Timing | None = None) -> None:
    """Work until SIGTERM or SIGINT: then nothing more is claimed, and what is in hand is finished. A second signal ends the
    process at once, which loses nothing either. Without `arq` the rows alone say what there is to do.
    """
    stop = asyncio.Event()

    def stopped() -> None:
        if stop.is_set():
            os._exit(INTERRUPTED)
        stop.set()

    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for each in signals:
        loop.add_signal_handler(each, stopped)
    try:
        bell_url = house.settings.redis_url.get_secret_value() if arq else None
        await work(deps_of(house, timing), stop, bell_url=bell_url)
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
