"""Where the shop's webhooks arrive during a run."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Told:
    """One delivery as it came in."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")

    def signed(self, secret: str) -> bool:
        """Whether one of its signatures is made with this secret."""
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            return False
        text = f"{self.id}.{self.headers.get('webhook-timestamp', '')}.".encode() + self.body
        made = "v1," + base64.b64encode(hmac.digest(key, text, "sha256")).decode()
        return any(hmac.compare_digest(made, one) for one in self.headers.get("webhook-signature", "").split())


class Listener:
    """Keeps what arrives, by the last part of the path, and answers with the statuses that were ordered; 204 when these are
    used up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._told: dict[str, list[Told]] = {}
        self._statuses: dict[str, list[int]] = {}
        self._arrived = asyncio.Condition()

    def order(self, name: str, *statuses: int) -> None:
        self._statuses[name] = list(statuses)

    async def wait(self, name: str, enough: Callable[[list[Told]], bool], seconds: float) -> list[Told]:
        """What has arrived, once it is enough or the time is over."""
        try:
            async with asyncio.timeout(seconds), self._arrived:
                await self._arrived.wait_for(lambda: enough(self._told.get(name, [])))
        except TimeoutError:
            pass
        return list(self._told.get(name, []))

    async def take(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        told = Told({key.lower(): value for key, value in request.headers.items()}, await request.read())
        async with self._arrived:
            self._told.setdefault(name, []).append(told)
            self._arrived.notify_all()
        statuses = self._statuses.get(name)
        return web.Response(status=statuses.pop(0) if statuses else 204)


@asynccontextmanager
async def listening(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Listener]:
    """A listener on a port; 0 takes a free one. OSError where it is taken."""
    listener = Listener(port)
    app = web.Application()
    app.router.add_post("/{tail:.*}", listener.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        listener.port = runner.addresses[0][1]
        yield listener
    finally:
        await runner.cleanup()
