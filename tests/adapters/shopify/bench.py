"""What the tests of this adapter talk to and with: the sandbox's control plane, a scripted network, short hands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from adapters.port import OrderKey, Parcel
from adapters.shopify.platform import ShopifyPort
from domain.channel import Channel, Location, LocationKind, Platform
from domain.ids import ChannelId, LocationCode
from tests.adapters import bench

CHANNEL = Channel(ChannelId("shop"), Platform.SHOPIFY, "Acorn", sandbox=True)
LAG_S = 3.0
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def location(code: str, gid: str) -> Location:
    return Location(LocationCode(code), code.title(), LocationKind.WAREHOUSE, CHANNEL.id, gid)


@dataclass
class Sandbox(bench.Sandbox):
    """The sandbox's control plane, and what is in its world."""

    async def place_order(self, *lines: Mapping[str, Any], **order: Any) -> dict[str, Any]:
        """An order as the world tells it, with its fulfillment orders to be seen at once."""
        made = await self.post("state", orders=[{"lines": list(lines), **order}])
        await self.show()
        return await self.order(made["orders"][0])

    async def order(self, gid: str) -> dict[str, Any]:
        found = (await self.get("world", limit=10_000))["orders"]
        return next(order for order in found if order["id"] == gid)

    async def show(self) -> None:
        """Whatever was accepted can be seen from now on."""
        await self.post("clock", advance=LAG_S + 1)


OpenPort = Callable[..., ShopifyPort]
Answers = Callable[[str, dict[str, Any]], Any]
COST = {
    "requestedQueryCost": 10,
    "actualQueryCost": 4,
    "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1996, "restoreRate": 100.0},
}


BY_ITSELF = {
    "VariantsCount": {"productVariantsCount": {"count": 1}},
    "OrdersCount": {"ordersCount": {"count": 1}},
    "BulkFind": {"bulkOperations": {"nodes": []}},
}


@dataclass
class Script:
    """A network that answers with what `answer(operation name, variables)` gives: `data`, or a whole httpx.Response.

    Asked how many there are, it says few by itself, so that pages are walked through; and that nothing is at work in bulk.
    """

    answer: Answers
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def wire(self) -> httpx.MockTransport:
        def handle(request: httpx.Request) -> httpx.Response:
            body = orjson.loads(request.content)
            if body["operationName"] in BY_ITSELF:
                return httpx.Response(
                    200, json={"data": BY_ITSELF[body["operationName"]], "extensions": {"cost": COST}}
                )
            self.asked.append((body["operationName"], body["variables"]))
            told = self.answer(body["operationName"], body["variables"])
            if isinstance(told, httpx.Response):
                return told
            return httpx.Response(200, json={"data": told, "extensions": {"cost": COST}})

        return httpx.MockTransport(handle)


def connection(*nodes: Any, after: str | None = None) -> dict[str, Any]:
    """A page; `after` is where the next one starts, if there is one."""
    return {"nodes": list(nodes), "pageInfo": {"hasNextPage": after is not None, "endCursor": after}}


def key_of(order: Mapping[str, Any]) -> OrderKey:
    return OrderKey(order["id"], None)


def parcel_of(number: str, *lines: tuple[str, int]) -> Parcel:
    return Parcel("7", "DHL Express", number, datetime.fromisoformat("2026-11-20T08:00:00+00:00"), lines)
