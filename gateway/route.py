"""`acorn explain`: by which route stock would be read now, and why not by another one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from rich.table import Table

from adapters.port import Port
from adapters.route import Question, Routed, Routes
from domain.budget import Priority
from domain.channel import Location
from domain.ids import ChannelId, Sku
from domain.route import Cost, Wish
from domain.stock import holds
from gateway.wiring import House
from resolvers.live import LONGEST_S
from store import product
from store.product import Offering


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
    made = Table(
        title=f"{told.channel}, {', '.join(told.locations)}: {what} {told.known:,} known", title_justify="left"
    )
    made.add_column("route")
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
