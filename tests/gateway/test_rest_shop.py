"""A self-built shop in acorn.toml: one block of it, and what is wrong with one is told with its line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from adapters.rest.platform import RestPort
from domain.channel import Platform
from domain.feed import secret_bytes, sign
from domain.ids import ChannelId
from gateway.config import ConfigError
from gateway.settings import Settings
from gateway.wiring import build_house
from store.session import Store
from store.tables import hint
from tests.gateway.conftest import CHANNELS, Gateway, served
from workers.spill import drain

SECRET, OLD_SECRET = "whsec_" + "bmV3" * 11, "whsec_" + "b2xk" * 11
SHOP = f"""
[[channels]]
id = "own"
platform = "rest"
name = "Our own shop"
url = "http://127.0.0.1:9/api/v1"
token = "st_1"
webhook_url = "https://acorn.example.com/webhooks/rest/own"
webhook_secret = "{SECRET}"
previous_webhook_secret = "{OLD_SECRET}"
"""
PLACE = """
[[locations]]
code = "OWN"
name = "Own"
keeper = "own"
external_id = "loc_1"
"""


@pytest.fixture
async def house(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    settings.config.write_text(CHANNELS + SHOP + PLACE, encoding="utf-8")
    async with served(settings) as made:
        yield made


async def send(house: Gateway, secret: str, id: str, age_s: int = 0, data: str = "ord_1") -> int:
    body = json.dumps({"type": "order.created", "timestamp": "2026-11-23T08:00:00Z", "data": {"id": data}}).encode()
    at = int(time.time()) - age_s
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(secret_bytes(secret), id, at, body),
    }
    return (await house.http.post("/webhooks/rest/own", content=body, headers=headers)).status_code


async def kept(house: Gateway) -> list[tuple[str, str]]:
    inside = house.app.standing.house
    while await drain(inside.redis, inside.store):
        pass
    async with inside.store.begin() as tx:
        rows = await tx.execute(select(hint.c.notification_id, hint.c.subject))
        return sorted((row.notification_id, row.subject) for row in rows)


async def test_it_is_a_channel_like_others(house: Gateway) -> None:
    inside = house.app.standing.house
    id = ChannelId("own")
    assert isinstance(inside.ports[id], RestPort)
    assert inside.channels[id].platform is Platform.REST
    assert [place.external_id for place in inside.locations if place.keeper == id] == ["loc_1"]
    assert id in inside.notices.desks


async def test_a_delivery_is_kept_once_under_either_secret(house: Gateway) -> None:
    assert [await send(house, SECRET, "msg_1"), await send(house, OLD_SECRET, "msg_2")] == [200, 200]
    assert await send(house, SECRET, "msg_1") == 200
    assert await kept(house) == [("msg_1", "ord_1"), ("msg_2", "ord_1")]


async def test_one_that_is_forged_or_stale_leaves_nothing(house: Gateway) -> None:
    assert await send(house, "whsec_" + "YmFk" * 11, "msg_3") == 401
    assert await send(house, SECRET, "msg_4", age_s=400) == 401
    assert await kept(house) == []


@pytest.mark.parametrize(
    ("line", "other", "words"),
    [
        ('token = "st_1"', "", "needs a token, or a client_id and a client_secret"),
        ('token = "st_1"', 'tokn = "st_1"', "Did you mean `token`?"),
        ('url = "http://127.0.0.1:9/api/v1"', 'url = "http://shop.example/api"', "https://"),
        ('url = "http://127.0.0.1:9/api/v1"', "", "`url` is missing here"),
        ('url = "http://127.0.0.1:9/api/v1"', 'url = "https://a:b@shop.example/api"', "holds no credentials"),
        (f'webhook_secret = "{SECRET}"\n', 'webhook_secret = "short"\n', "whsec_"),
        ('platform = "rest"', 'platform = "soap"', '"amazon", "shopify" or "rest"'),
    ],
)
async def test_what_is_wrong_is_told_with_its_line(settings: Settings, line: str, other: str, words: str) -> None:
    settings.config.write_text(CHANNELS + SHOP.replace(line, other, 1) + PLACE, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        await build_house(settings)
    assert words in str(caught.value)
    assert re.search(r"line \d+", str(caught.value))
