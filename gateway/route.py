"""`acorn explain`: by which route stock and orders would be read now, and why not by another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from adapters.port import Port
from adapters.route import OrdersQuestion, Question, Routed, Routes
from domain.budget import Priority
from domain.channel import Location, StreamName
from domain.ids import ChannelId, Sku
from domain.order_path import Expected
from domain.route import Cost, Wish
from domain.stock import holds
from gateway.wiring import House
from resolvers.live import LONGEST_S
from store import order_path, product, stream
from store.order_path import RATE_OVER
from store.product import Offering
from workers.streams import FIRST_ORDERS, OVERLAP


async def explain(
    house: House, channels: Collection[ChannelId], skus: Collection[Sku] | None, count: int | None
) -> list[Routed]:
    """The choice for each group of places of the channels, as it would be made now; no platform is asked, nothing is spent.

    For `skus` as a query asks for them, within its longest deadline; for `count` SKUs, or all there are, as workers do. A group
    that should hold none of `skus` is left out. Raises Throttled without Redis.
    """
    routes = Routes(house.budgets)
    told = []
    for id in sorted(channels):
        port = house.ports[id]
        for group in port.stock_groups([place for place in house.locations if place.keeper == id]):
            question, wish = await _question(house, port, group, skus, count)
            if question.keys != 0:
                told.append(await routes.explain(question, wish))
    return told


async def _question(
    house: House, port: Port, group: Sequence[Location], skus: Collection[Sku] | None, count: int | None
) -> tuple[Question, Wish]:
    async with house.store.begin() as tx:
        known = await product.held_count(tx, group[0])
        found = {} if skus is None else await product.offerings(tx, skus)
    if skus is None:
        known = max(known, count or 0)
        return Question(port, group, count, known, Priority.BACKGROUND), Wish(whole=count is None)
    offers = [one for offers in found.values() for one in offers]
    keys = {one.channel_sku for one in offers if any(_held(place, one) for place in group)}
    return Question(port, group, len(keys), known, Priority.INTERACTIVE), Wish(within_s=LONGEST_S)


async def explain_orders(house: House, channels: Collection[ChannelId], changes: int | None) -> list[Routed]:
    """The choice that the next run of each channel's orders would make now; no platform is asked, nothing is spent.

    `changes` are taken in place of what is expected. Raises Throttled without Redis.
    """
    routes, now = Routes(house.budgets), datetime.now(UTC)
    told = []
    for id in sorted(channels):
        async with house.store.begin() as tx:
            known = {one.name: one for one in await stream.states(tx, [id])}.get(StreamName.ORDERS)
            since = now - FIRST_ORDERS if known is None or known.cursor is None else known.cursor - OVERLAP
            wanted = await order_path.expected(tx, id, since, now) or Expected(now - since, RATE_OVER, 0)
        if changes is not None:
            wanted = replace(wanted, before=0, hinted=changes)
        every = house.intervals.get((id, StreamName.ORDERS), house.ports[id].every[StreamName.ORDERS])
        told.append(await routes.explain_orders(OrdersQuestion(house.ports[id], wanted, every)))
    return told


def _held(place: Location, one: Offering) -> bool:
    return holds(place, one.channel, one.marketplace, one.fulfilled_by)


def as_json(told: Routed) -> dict[str, Any]:
    """One choice as plain values; `seconds` is None for what never comes."""
    return {
        "channel": told.channel,
        "locations": list(told.locations),
        "skus": told.keys,
        "known": told.known,
        "way": told.choice.taken.route.way.value,
        "reason": told.choice.reason,
        "candidates": [_candidate(one) for one in (told.choice.taken, *told.choice.others)],
    }


def _candidate(one: Cost) -> dict[str, Any]:
    return {
        "way": one.route.way.value,
        "calls": one.calls,
        "seconds": None if one.seconds == float("inf") else round(one.seconds, 1),
        "by_operation": {step.plan.operation: step.calls for step in one.route.steps if step.made},
        "lost": one.lost or None,
    }


def table(told: Routed) -> Table:
    """One choice for people."""
    what = "all SKUs," if told.keys is None else f"{told.keys:,} of"
    of = f"{told.channel}, {', '.join(told.locations)}: {what} {told.known:,} known"
    if not told.locations:
        of = f"{told.channel}: changed orders expected: {told.known:,}"
    made = Table(title=of, title_justify="left")
    made.add_column("route" if told.locations else "path")
    made.add_column("calls", justify="right")
    made.add_column("seconds", justify="right")
    made.add_column("why")
    for one in (told.choice.taken, *told.choice.others):
        name = one.route.way.value
        made.add_row(
            name if one.lost else f"[bold]{name}[/]",
            f"{one.calls:,}",
            f"{one.seconds:,.1f}",
            one.lost or told.choice.reason,
        )
    return made
