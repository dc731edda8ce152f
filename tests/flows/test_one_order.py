"""docs/one-order.md, carried out from top to bottom: what it shows is what a house answers."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from redis.asyncio import Redis

from benchmarks.whole import key_for, served
from domain.feed import secret_bytes, sign
from gateway.app import App
from gateway.settings import Settings
from gateway.wiring import build_house
from gateway.worker import deps_of
from sandbox.visit import serving
from schema.scopes import ALL
from tests.specs.test_pages import agrees, told
from workers.deps import Timing
from workers.streams import sync_once
from workers.worker import work

PAGE = Path(__file__).parents[2] / "docs" / "one-order.md"
WMS = "whsec_YSB3YXJlaG91c2Ugb2YgYSB0ZXN0LCBub3RoaW5nIG1vcmU="
CONFIG = f"""\
[[channels]]
id = "shop"
name = "Acorn shop"
platform = "shopify"
shop = "sandbox.myshopify.com"
access_token = "shpat_sandbox"
endpoint = "{{shop}}"
sandbox = true
buyers = true
visibility_lag = "PT0.2S"
streams = {{{{ orders = "PT1S", returns = "PT1S" }}}}

[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"
opens_from = "shop"

[locations.address]
name = "Acorn Trading GmbH"
line1 = "Ritterstrasse 12"
city = "Berlin"
postal_code = "10969"
phone = "+49 30 5550100"
email = "parcels@acorn.example"
country = "DE"

[locations.shown]
shop = "gid://shopify/Location/72000000000001"

[[locations]]
code = "RNO"
name = "Reno"
keeper = "ledger"
opens_from = "shop"

[locations.shown]
shop = "gid://shopify/Location/72000000000002"

[[carriers]]
id = "parcels"
name = "The parcel desk"
url = "{{carrier}}/v1"
token = "ct_sandbox"

[[tracking_in]]
id = "wms-berlin"
secret = "{WMS}"
"""

STEP = re.compile(r"```(graphql|sh|http)\n(.*?)```(?:\s+```json\n(.*?)```)?", re.DOTALL)
CONTROL = re.compile(r"curl -s \$(\w+)/_sandbox/(\S+) -d '(.*)'", re.DOTALL)
TELL = re.compile(r"POST (/tracking/\S+)\n\n(.*)", re.DOTALL)
PATIENCE_S = 60.0


@dataclass(slots=True)
class Story:
    """A house, the world around it, and the names that the page has given to things so far."""

    http: httpx.AsyncClient
    world: dict[str, httpx.AsyncClient]
    names: dict[str, str] = field(default_factory=dict)

    async def ask(self, query: str) -> Any:
        """The data of a query that has no errors."""
        answer = (await self.http.post("/graphql", json={"query": told(query, self.names)})).json()
        assert "errors" not in answer, (query, answer["errors"])
        return answer["data"]

    async def act(self, command: str) -> None:
        """What happens outside: at the shop, or at the carrier."""
        found = CONTROL.search(command)
        assert found is not None, command
        where, what, body = found.groups()
        answer = await self.world[where].post(f"/_sandbox/{what}", content=told(body, self.names))
        assert answer.is_success, answer.text

    async def tell(self, text: str) -> None:
        """What a warehouse tells, signed."""
        found = TELL.match(text)
        assert found is not None, text
        body, at = told(found[2], self.names).encode(), int(time.time())
        headers = {
            "webhook-id": f"told-{at}",
            "webhook-timestamp": str(at),
            "webhook-signature": sign(secret_bytes(WMS), f"told-{at}", at, body),
            "content-type": "application/json",
        }
        answer = await self.http.post(found[1], content=body, headers=headers)
        assert answer.json() == {"accepted": 1, "problems": []}

    async def shows(self, query: str, answer: str) -> None:
        """The query is answered so: a mutation at once, anything else as soon as it has come about."""
        until = time.monotonic() + (0.0 if query.lstrip().startswith("mutation") else PATIENCE_S)
        while True:
            names = dict(self.names)
            data = await self.ask(query)
            if agrees(json.loads(told(answer, names)), data, names):
                self.names = names
                return
            assert time.monotonic() < until, f"{query}\n{json.dumps(data, indent=1)}"
            await asyncio.sleep(0.1)


@pytest.fixture
async def story(new_database: Callable[[], str], redis_url: str, tmp_path: Path) -> AsyncIterator[Story]:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushdb()
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(serving("shopify", products=30, orders=0, lag=0.1))
        carrier = await stack.enter_async_context(serving("carrier"))
        (tmp_path / "acorn.toml").write_text(CONFIG.format(shop=shop, carrier=carrier), encoding="utf-8")
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]  # a developer's own .env is no part of a test
            database_url=SecretStr(new_database()),
            redis_url=SecretStr(redis_url),
            config=tmp_path / "acorn.toml",
            keys=(SecretStr(Fernet.generate_key().decode()),),
        )
        app = App(settings)
        _, url = await stack.enter_async_context(served(app))
        key = await key_for(app, "operator", ALL)
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, timeout=30, headers={"authorization": f"Bearer {key}"})
        )
        house = await build_house(settings)
        stack.push_async_callback(house.close)
        deps = deps_of(house, Timing(settle_s=0.5))
        assert await sync_once(deps, lambda *_: None) == {}
        stop = asyncio.Event()
        task = asyncio.create_task(work(deps, stop, bell_url=redis_url))

        async def end() -> None:
            stop.set()
            await task

        stack.push_async_callback(end)
        world = {
            name: await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
            for name, url in (("SHOP", shop), ("CARRIER", carrier))
        }
        skus = (await world["SHOP"].get("/_sandbox/world?limit=30")).json()["skus"]
        both = [one["sku"] for one in skus if all(place["available"] > 3 for place in one["stock"].values())]
        yield Story(http, world, {"$SKU": both[0]})


async def test_one_order_from_the_click_to_what_comes_back(story: Story) -> None:
    steps = STEP.findall(PAGE.read_text(encoding="utf-8"))
    assert len(steps) > 10
    for kind, text, answer in steps:
        match kind:
            case "sh":
                await story.act(text)
            case "http":
                await story.tell(text)
            case _:
                await story.shows(text, answer)
