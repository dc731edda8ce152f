"""Amazon's notifications come by EventBridge: kept first, once, and by whoever has the key alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.amazon.notifications import Bus, Desk, wanted
from adapters.amazon.platform import AmazonPort
from adapters.notices import Delivery, Kept, Webhook
from domain.budget import Ask
from domain.hint import Hint
from domain.ids import ChannelId
from domain.product import Rejected
from gateway import metrics
from gateway.config import ConfigError, read_config
from gateway.notices import build
from gateway.settings import Settings
from store import grant, quarantine
from store.session import Store
from store.tables import hint
from tests.adapters.amazon.bench import Sandbox, make_config, make_desk
from tests.gateway.conftest import CHANNELS, Acorn, Gateway, served
from workers.spill import drain

SELLERS = ("A1SANDBOXNA", "A1SANDBOXEU", "A1SANDBOXFE")
KEY, OLD_KEY = "k" * 40, "o" * 40
AMAZON = f"""
[[channels]]
id = "amazon-us"
platform = "amazon"
name = "Amazon US"
region = "na"
marketplaces = ["US"]
seller_id = "A1SANDBOXNA"
client_id = "client"
client_secret = "secret"
refresh_token = "Atzr|1"
endpoint = "http://127.0.0.1:9"

[channels.notifications]
event_bus_account = "444455556666"
event_bus_region = "us-east-1"
webhook_key = "{KEY}"
previous_webhook_key = "{OLD_KEY}"
"""


@pytest.fixture
async def house(store: Store, redis: object, settings: Settings) -> AsyncIterator[Gateway]:
    settings.config.write_text(CHANNELS + AMAZON, encoding="utf-8")
    async with served(settings) as made:
        yield made


def _event(id: str = "n-1", sku: str = "ACN-1", seller: str = "A1SANDBOXNA") -> bytes:
    detail = {
        "NotificationVersion": "1.0",
        "NotificationType": "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
        "PayloadVersion": "1.0",
        "EventTime": "2026-03-01T12:00:00.284Z",
        "Payload": {"SellerId": seller, "FulfillmentChannelCode": "DEFAULT", "Sku": sku, "Quantity": 4},
        "NotificationMetadata": {"NotificationId": id},
    }
    return json.dumps({"version": "0", "detail-type": detail["NotificationType"], "detail": detail}).encode()


async def _send(
    gateway: Gateway, body: bytes, key: str | None = KEY, channel: str = "amazon-us", method: str = "POST"
) -> httpx.Response:
    headers = {} if key is None else {"x-api-key": key}
    return await gateway.http.request(method, f"/webhooks/amazon/{channel}", content=body, headers=headers)


async def _rows(gateway: Gateway) -> list[tuple[str, str]]:
    """All that is durable: what PostgreSQL had no time for waits in Redis."""
    house = gateway.app.standing.house
    while await drain(house.redis, house.store):
        pass
    async with house.store.begin() as tx:
        rows = await tx.execute(select(hint.c.notification_id, hint.c.subject))
        return sorted((row.notification_id, row.subject) for row in rows)


async def test_a_hint_is_durable_before_it_is_answered_and_copies_change_nothing(house: Gateway, store: Store) -> None:
    first = await _send(house, _event())
    assert (first.status_code, first.json()) == (200, {"taken": 1})
    assert await _rows(house) == [("n-1", "ACN-1")]
    again = await asyncio.gather(*(_send(house, _event(), OLD_KEY) for _ in range(5)), _send(house, _event("n-2")))
    assert [one.status_code for one in again] == [200] * 6
    assert await _rows(house) == [("n-1", "ACN-1"), ("n-2", "ACN-1")]


@pytest.mark.parametrize(
    ("key", "channel"),
    [
        (None, "amazon-us"),
        ("", "amazon-us"),
        ("wrong", "amazon-us"),
        (KEY + "k", "amazon-us"),
        (KEY, "nobody"),
        (KEY, "shop"),
    ],
)
async def test_a_forged_one_leaves_nothing_but_a_count(
    house: Gateway, store: Store, key: str | None, channel: str
) -> None:
    before = metrics.AUTH_FAILURES.labels("webhook")._value.get()
    answer = await _send(house, _event(), key, channel)
    assert (answer.status_code, answer.json()) == (401, {"error": "The sender is not proven."})
    assert metrics.AUTH_FAILURES.labels("webhook")._value.get() == before + 1
    async with store.begin() as tx:
        assert await quarantine.count(tx) == 0
    assert await _rows(house) == []


async def test_what_is_not_understood_is_answered_well_and_put_aside(house: Gateway, store: Store) -> None:
    for body in (b"\xff", b"{}", _event(seller="SOMEBODY")):
        answer = await _send(house, body)
        assert (answer.status_code, answer.json()) == (200, {"taken": 0})
    assert await _rows(house) == []
    async with store.begin() as tx:
        assert await quarantine.count(tx) == 3


async def test_a_new_secret_is_not_taken_from_whoever_has_the_key(house: Gateway, store: Store) -> None:
    payload = {
        "clientId": "client",
        "newClientSecret": "amzn1.oa2-cs.v1.planted",
        "newClientSecretExpiryTime": "2199-01-01T00:00:00Z",
        "oldClientSecretExpiryTime": "2001-01-01T00:00:00Z",
    }
    body = {
        "notificationType": "APPLICATION_OAUTH_CLIENT_NEW_SECRET",
        "eventTime": "2026-03-01T12:00:00Z",
        "payload": {"applicationOAuthClientNewSecret": payload},
    }
    answer = await _send(house, json.dumps(body).encode())
    assert (answer.status_code, answer.json()) == (200, {"taken": 0})
    assert await _rows(house) == []
    async with store.begin() as tx:
        assert await grant.secret_ends(tx) == {}
        (aside,) = await quarantine.recent(tx)
    assert aside.rejected.reason == "A new secret comes by the queue alone."
    assert "planted" not in repr(aside)


async def test_other_methods_and_bodies_without_end_are_refused(house: Gateway, store: Store) -> None:
    answer = await _send(house, b"", method="GET")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await _send(house, b"x" * (256 * 1024 + 1))).status_code == 413
    assert await _rows(house) == []


async def test_what_changes_at_amazon_comes_over_eventbridge(house: Gateway, store: Store, redis: Redis) -> None:
    sandbox = Sandbox("--products", "20", "--orders", "0", "--marketplaces", "US")
    desk = make_desk(redis, make_config("na", sandbox.url))
    try:
        assert isinstance(desk.port, AmazonPort)
        await sandbox.post("notifications", {"http": f"{house.url}/webhooks/amazon/amazon-us", "key": KEY})
        kind = "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"
        bus = Bus("444455556666", "us-east-1")
        await Desk(desk.port.client, wanted((kind,), None, bus)).ensure(Ask(), apply=True)
        sku = next(one["sku"] for one in (await sandbox.get("world"))["skus"] if one["fulfilledBy"] == "MERCHANT")
        await sandbox.post("state", {"stock": [{"sku": sku, "marketplace": "US", "quantity": 43}]})
        async with asyncio.timeout(30):
            while not (rows := await _rows(house)):
                await asyncio.sleep(0.02)
        assert [subject for _, subject in rows] == [sku]
    finally:
        await desk.close()
        await sandbox.close()


def _told(tmp_path: Path, table: str) -> str:
    path = tmp_path / "acorn.toml"
    start = AMAZON.partition("[channels.notifications]")[0]
    path.write_text(f"{start}[channels.notifications]\n{table}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as problem:
        build(read_config(path), {})
    return str(problem.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('queue_ulr = "x"', "`queue_ulr` is no key of ours. Did you mean `queue_url`?"),
        ('queue_url = "https://example.com/queue"', "The address of a queue is https://sqs."),
        ('event_bus_account = "444455556666"', "An event bus needs"),
        ('webhook_key = "short"', "`webhook_key`: write at least 32 characters"),
    ],
)
def test_a_mistake_in_the_table_is_told_with_its_line(tmp_path: Path, table: str, words: str) -> None:
    assert _told(tmp_path, table).startswith(words)


def test_channels_that_open_one_queue_otherwise_are_told(tmp_path: Path) -> None:
    path = tmp_path / "acorn.toml"
    start = AMAZON.partition("[channels.notifications]")[0]
    queue = '[channels.notifications]\nqueue_url = "https://sqs.us-east-1.amazonaws.com/444455556666/acorn"\n'
    keys = 'access_key_id = "key"\nsecret_access_key = "secret"\n'
    other = start.replace('"amazon-us"', '"amazon-eu"').replace('"na"', '"eu"').replace('"US"', '"DE"')
    from gateway.wiring import build_ports

    def built() -> Any:
        config = read_config(path)
        return build(config, build_ports(config, *([None] * 4)))  # type: ignore[arg-type]  # nobody is asked

    path.write_text(start + queue + other + queue, encoding="utf-8")
    assert [one.channels for one in built().sources] == [("amazon-us", "amazon-eu")]
    path.write_text(start + queue + other + queue + keys, encoding="utf-8")
    with pytest.raises(ConfigError, match="Another channel opens this queue otherwise"):
        built()


def test_a_bus_brings_what_is_of_any_account_of_the_application(tmp_path: Path) -> None:
    path = tmp_path / "acorn.toml"
    start = AMAZON.partition("[channels.notifications]")[0]
    other = start.replace('"amazon-us"', '"amazon-eu"').replace('"na"', '"eu"').replace('"US"', '"DE"')
    foreign = other.replace('"amazon-eu"', '"amazon-fe"').replace('"eu"', '"fe"').replace('"DE"', '"JP"')
    foreign = foreign.replace('"client"', '"another"').replace("NA", "FE")
    path.write_text(AMAZON + other.replace("A1SANDBOXNA", "A1SANDBOXEU") + foreign, encoding="utf-8")
    config = read_config(path)
    from gateway.wiring import build_ports

    made = build(config, build_ports(config, *([None] * 4)))  # type: ignore[arg-type]  # nobody is asked
    told = [_understood(made.webhooks[ChannelId("amazon-us")], _event(seller=one)) for one in SELLERS]
    assert [one.channel for one in told if isinstance(one, Hint)] == ["amazon-us", "amazon-eu"]
    assert isinstance(told[2], Rejected)


def _understood(webhook: Webhook, body: bytes) -> Kept:
    (told,) = webhook.understood(Delivery({"x-api-key": KEY}, body, datetime.now(UTC)))
    return told


def test_a_queue_without_its_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "acorn.toml"
    queue = 'queue_url = "https://sqs.us-east-1.amazonaws.com/444455556666/acorn"'
    start = AMAZON.partition("[channels.notifications]")[0]
    path.write_text(f"{start}[channels.notifications]\n{queue}\n", encoding="utf-8")
    config = read_config(path)
    monkeypatch.setattr("gateway.notices.find_spec", lambda name: None)
    from gateway.wiring import build_ports

    with pytest.raises(ConfigError, match=r"acorn-gateway\[sqs\]"):
        build(config, build_ports(config, *([None] * 4)))  # type: ignore[arg-type]  # nobody is asked


def test_a_channel_without_notifications_says_so(acorn: Acorn) -> None:
    Path("acorn.toml").write_text(AMAZON.partition("[channels.notifications]")[0], encoding="utf-8")
    result = acorn("channels", "notifications", "amazon", "amazon-us")
    assert result.exit_code == 1
    assert "has no table [channels.notifications]" in " ".join(result.output.split())


def secret_shown(value: Any) -> bool:
    return KEY in repr(value)


def test_keys_are_shown_to_nobody(tmp_path: Path) -> None:
    path = tmp_path / "acorn.toml"
    path.write_text(AMAZON, encoding="utf-8")
    config = read_config(path)
    from gateway.wiring import build_ports

    made = build(config, build_ports(config, *([None] * 4)))  # type: ignore[arg-type]  # nobody is asked
    assert list(made.webhooks) == ["amazon-us"]
    assert not secret_shown(made)
    assert not secret_shown(config)
