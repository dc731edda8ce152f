"""A gateway goes and another comes, while events go on: no subscriber misses one or is told one twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets import Subprotocol
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.settings import Settings
from store.session import Store
from tests.gateway.conftest import Gateway, served, until

SUBSCRIBERS = 100
FOLLOW = "subscription ($s: String!, $a: String) { follow(subject: $s, after: $a) { cursor } }"


class Subscriber:
    """Follows one of ten subjects, and comes back to whichever gateway there is with the last cursor it has seen."""

    def __init__(self, number: int) -> None:
        self.subject = f"S{number % 10}"
        self.seen: list[int] = []
        self.visits = 0

    async def follow(self, there: list[Gateway]) -> None:
        while True:
            try:
                await self._visit(there[-1])
            except (OSError, ConnectionClosed, TimeoutError):
                await asyncio.sleep(0.05)

    async def _visit(self, gateway: Gateway) -> None:
        protocol = Subprotocol("graphql-transport-ws")
        async with connect(gateway.ws_url, subprotocols=[protocol], compression=None) as socket:
            secret = gateway.keys[frozenset({"read"})]
            await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {secret}"}}))
            after = str(self.seen[-1]) if self.seen else "0"
            payload = {"query": FOLLOW, "variables": {"s": self.subject, "a": after}}
            assert json.loads(await socket.recv()) == {"type": "connection_ack"}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
            self.visits += 1
            async for text in socket:
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "next":
                self.seen.append(int(message["payload"]["data"]["follow"]["cursor"]))
            case "error":
                assert message["payload"][0]["extensions"]["code"] == "RESUME"


async def test_a_hundred_subscribers_miss_nothing_when_their_gateway_is_restarted(
    store: Store, redis: object, settings: Settings
) -> None:
    crowd = [Subscriber(number) for number in range(SUBSCRIBERS)]
    told = 0

    async def tell(gateway: Gateway, rounds: int) -> None:
        nonlocal told
        for _ in range(rounds):
            await gateway.tell(f"S{told % 10}")
            told += 1

    async with served(settings) as first:
        await first.key("read")
        there = [first]
        tasks = [asyncio.create_task(one.follow(there)) for one in crowd]
        await until(lambda: all(one.visits for one in crowd))
        await tell(first, 50)
        await until(lambda: any(one.seen for one in crowd))
    await tell(first, 50)  # while there is none
    async with served(settings) as second:
        second.keys = first.keys
        there.append(second)
        await tell(second, 50)
        await until(lambda: all(one.seen and one.seen[-1] > told - 10 for one in crowd))
        assert all(one.visits == 2 for one in crowd)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for one in crowd:
        assert one.seen == list(range(1 + int(one.subject[1:]), told + 1, 10))
