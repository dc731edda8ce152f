"""REST hooks over real HTTP: subscribe, get told, see samples of the same shape, unsubscribe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from domain.event import EventKind, NewEvent
from gateway.worker import deps_of
from store import event, webhook
from tests.gateway.conftest import Gateway, served, settings_of, until
from tests.store.bench import give_places
from tests.workers.test_webhooks_out import Receiver, receiver
from workers.webhooks_out import tell

__all__ = ["receiver"]  # a fixture

SCOPES = ("webhooks:write", "orders:read")


@pytest.fixture(scope="module")
async def gateway(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    keys = (SecretStr(Fernet.generate_key().decode()),)
    settings = settings_of(
        new_database(), redis_url, tmp_path_factory.mktemp("hooks"), keys=keys, webhook_loopback=True
    )
    async with served(settings) as made:
        yield made


async def subscribed(gateway: Gateway, receiver: Receiver, path: str, *scopes: str, **more: Any) -> Any:
    body = {"target_url": receiver.url + path, "event": "order.changed.v1", **more}
    return await gateway.http.post("/hooks", json=body, headers=await gateway.headers(*(scopes or SCOPES)))


async def test_a_tool_subscribes_is_told_and_unsubscribes(gateway: Gateway, receiver: Receiver) -> None:
    made = await subscribed(gateway, receiver, "/zap")
    assert made.status_code == 201
    id = made.json()["id"]
    assert made.json()["secret"].startswith("whsec_")
    house = gateway.app.standing.house
    worker = asyncio.create_task(tell(deps_of(house), lambda: None))
    try:
        async with gateway.store.begin() as tx:
            await event.append(tx, [NewEvent(EventKind.ORDER_CHANGED, "o1", {"id": "o1", "channel": "shop"})])
        await give_places(gateway.store)
        await until(lambda: receiver.heard)
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    [heard] = receiver.heard
    samples = await gateway.http.get("/hooks/samples/order.changed.v1?limit=1", headers=await gateway.headers(*SCOPES))
    assert samples.json() == [heard.body]
    gone = await gateway.http.delete(f"/hooks/{id}", headers=await gateway.headers(*SCOPES))
    assert (gone.status_code, gone.json()) == (200, {"id": id})
    again = await gateway.http.delete(f"/hooks/{id}", headers=await gateway.headers(*SCOPES))
    assert again.status_code == 404
    async with gateway.store.begin() as tx:
        assert await webhook.all_of(tx) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"target_url": "https://hooks.example.com"},
        {"target_url": 1, "event": "order.changed.v1"},
        {"target_url": "http://10.0.0.1/", "event": "order.changed.v1"},
        {"target_url": "http://127.0.0.1/", "event": "nothing.v1"},
        {"target_url": "http://127.0.0.1/", "event": "stock.changed.v1"},
        {"target_url": "http://127.0.0.1/", "event": "order.changed.v1", "format": "xml"},
        {"target_url": "http://127.0.0.1/", "event": "order.changed.v1", "skus": "A"},
    ],
    ids=str,
)
async def test_what_is_no_subscription_is_refused_in_words(gateway: Gateway, body: Any) -> None:
    answer = await gateway.http.post("/hooks", json=body, headers=await gateway.headers(*SCOPES))
    assert answer.status_code == 400
    assert answer.json()["error"]
    async with gateway.store.begin() as tx:
        assert await webhook.all_of(tx) == []


async def test_keys_and_scopes_decide(gateway: Gateway, receiver: Receiver) -> None:
    nobody = await gateway.http.post("/hooks", json={})
    assert (nobody.status_code, "bearer" in nobody.headers["www-authenticate"].lower()) == (401, True)
    assert (await subscribed(gateway, receiver, "/x", "orders:read")).status_code == 403
    assert (await subscribed(gateway, receiver, "/x", "webhooks:write")).status_code == 400
    sample = "/hooks/samples/order.changed.v1"
    assert (await gateway.http.get(sample, headers=await gateway.headers("webhooks:write"))).status_code == 400
    made = await subscribed(gateway, receiver, "/x")
    theirs = await gateway.http.delete(f"/hooks/{made.json()['id']}", headers=await gateway.headers("webhooks:write"))
    assert theirs.status_code == 404
    ours = await gateway.http.delete(f"/hooks/{made.json()['id']}", headers=await gateway.headers(*SCOPES))
    assert ours.status_code == 200


async def test_other_methods_and_other_limits_are_refused(gateway: Gateway) -> None:
    headers = await gateway.headers(*SCOPES)
    for method, path, allowed in (
        ("GET", "/hooks", "POST"),
        ("POST", "/hooks/x", "DELETE"),
        ("PUT", "/hooks/samples/x", "GET"),
    ):
        answer = await gateway.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    for limit in ("0", "21", "x", "-1"):
        answer = await gateway.http.get(f"/hooks/samples/order.changed.v1?limit={limit}", headers=headers)
        assert answer.status_code == 400


async def test_the_metrics_tell_of_webhooks(gateway: Gateway, receiver: Receiver) -> None:
    made = await subscribed(gateway, receiver, "/x")
    page = (await gateway.http.get("/metrics")).text
    assert 'acorn_webhooks{state="active"} 1.0' in page
    assert 'acorn_webhook_deliveries{state="pending"} 0.0' in page
    await gateway.http.delete(f"/hooks/{made.json()['id']}", headers=await gateway.headers(*SCOPES))
