"""Webhooks over GraphQL: made, changed, replaced and looked at by whose they are, and told what their keys may read alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import text

from adapters.outside import Guard
from domain.event import EventKind, NewEvent
from domain.target import Reach
from domain.webhook import TOPICS, Attempt, Verdict
from resolvers.context import Caller, Shelf
from schema.scopes import ALL, SCOPES
from store import api_key, event, webhook, webhook_delivery, webhook_sending
from store.keyring import Keyring
from store.session import Store
from tests.resolvers.test_stock import House
from tests.schema.test_queries import ask
from tests.store.bench import give_places

MINE = Caller("mine", frozenset({"webhooks:write", "orders:read"}))
OTHER = Caller("other", frozenset({"webhooks:write", "orders:read", "stock:read"}))
ADMIN = Caller("boss", frozenset({"admin"}))
URL = "https://hooks.example.com/acorn"

FIELDS = (
    "id url events skus format state reason madeBy failures cursor pendingCount channels { id } previousSecretUntil"
)
CREATE = f"""mutation($input: CreateWebhookInput!) {{
    createWebhook(input: $input) {{ secret webhook {{ {FIELDS} }} userErrors {{ code message field }} }} }}"""
UPDATE = f"""mutation($id: ID!, $input: UpdateWebhookInput!) {{
    updateWebhook(id: $id, input: $input) {{ webhook {{ {FIELDS} }} userErrors {{ code field }} }} }}"""


async def leads(host: str, port: int) -> list[str]:
    if host.startswith("gone"):
        raise OSError("no such name")
    return ["10.0.0.1"] if host.startswith("inside") else ["93.184.215.14"]


@pytest.fixture
async def shelf(store: Store, redis: Redis) -> Shelf:
    async with store.begin() as tx:
        for caller in (MINE, OTHER, ADMIN):
            await api_key.create(tx, f"key_{caller.name}", caller.name, caller.name, caller.scopes, None)
    ring = Keyring([Fernet.generate_key().decode()])
    return replace(House(store, redis).shelf, ring=ring, guard=Guard(Reach(), leads))


async def said(shelf: Shelf, query: str, caller: Caller = MINE, **variables: Any) -> Any:
    """The only root field's value."""
    data, errors, _ = await ask(shelf, query, caller, **variables)
    assert errors == []
    [value] = data.values()
    return value


async def created(shelf: Shelf, caller: Caller = MINE, **more: Any) -> Any:
    made = await said(shelf, CREATE, caller, input={"url": URL, "events": ["order.changed.v1"], **more})
    assert made["userErrors"] == []
    return made["webhook"]


async def happened(store: Store, *orders: str) -> None:
    async with store.begin() as tx:
        await event.append(
            tx, [NewEvent(EventKind.ORDER_CHANGED, one, {"id": one, "channel": "shop"}) for one in orders]
        )
    await give_places(store)
    async with store.begin() as tx:
        while await webhook_delivery.spread(tx):
            pass


def test_events_are_for_who_may_read_what_they_tell() -> None:
    roots = {"stock.changed.v1": "stock", "order.changed.v1": "order", "operation.changed.v1": "operation"}
    roots |= {
        "settlement.kept.v1": "settlements",
        "channel.paused.v1": "channels",
        "channel.resumed.v1": "channels",
        "webhook.paused.v1": "webhookEndpoints",
    }
    assert {name: one.any_of for name, one in TOPICS.items()} == {
        name: SCOPES[f"Query.{root}"] for name, root in roots.items()
    }


async def test_a_secret_is_told_once_and_kept_sealed(shelf: Shelf, store: Store) -> None:
    made = await said(shelf, CREATE, input={"url": URL, "events": ["order.changed.v1"], "channelIds": ["Channel:shop"]})
    one = made["webhook"]
    assert made["secret"].startswith("whsec_")
    assert (one["url"], one["events"], one["state"], one["madeBy"]) == (URL, ["order.changed.v1"], "ACTIVE", "mine")
    assert (one["channels"], one["format"], one["cursor"], one["pendingCount"]) == (
        [{"id": "Channel:shop"}],
        "CLOUDEVENTS",
        "0",
        0,
    )
    async with store.begin() as tx:
        sealed = str(await tx.scalar(text("select sealed from webhook")))
    assert made["secret"] not in sealed
    assert shelf.ring.open(webhook.seal_name(one["id"].removeprefix("Webhook:")), sealed) == made["secret"]


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"events": ["stock.changed.v1"]}, "INVALID", "events"),
        ({"events": ["order.changed.v9"]}, "INVALID", "events"),
        ({"events": []}, "INVALID", "events"),
        ({"url": "http://hooks.example.com/"}, "INVALID", "url"),
        ({"url": "https://127.0.0.1/"}, "INVALID", "url"),
        ({"url": "https://inside.example.com/"}, "INVALID", "url"),
        ({"skus": ["A B"]}, "INVALID", "skus"),
        ({"channelIds": ["Channel:nowhere"]}, "NOT_FOUND", "channelIds"),
    ],
)
async def test_what_is_refused_is_not_kept(
    shelf: Shelf, store: Store, given: Mapping[str, Any], code: str, field: str
) -> None:
    made = await said(shelf, CREATE, input={"url": URL, "events": ["order.changed.v1"], **given})
    assert (made["webhook"], made["secret"]) == (None, None)
    [problem] = made["userErrors"]
    assert (problem["code"], problem["field"]) == (code, ["input", field])
    async with store.begin() as tx:
        assert await webhook.all_of(tx) == []


async def test_one_is_paused_although_its_name_leads_nowhere_and_its_key_reads_less(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    async with store.begin() as tx:
        await tx.execute(text("update webhook set url = 'https://gone.example.com/'"))
    less = replace(MINE, scopes=frozenset({"webhooks:write"}))
    paused = await said(shelf, UPDATE, less, id=one["id"], input={"state": "PAUSED"})
    assert (paused["userErrors"], paused["webhook"]["state"]) == ([], "PAUSED")
    # The twin: what is to be called, or read, is looked at.
    for caller, given, field in (
        (MINE, {"state": "ACTIVE"}, "url"),
        (MINE, {"skus": ["A"]}, "url"),
        (less, {"state": "PAUSED", "events": ["webhook.paused.v1", "order.changed.v1"]}, "events"),
    ):
        refused = await said(shelf, UPDATE, caller, id=one["id"], input=given)
        assert [(error["code"], error["field"]) for error in refused["userErrors"]] == [("INVALID", ["input", field])]


async def test_without_a_living_key_or_a_ring_none_is_made(shelf: Shelf) -> None:
    token = Caller("token of somebody", ALL)
    made = await said(shelf, CREATE, token, input={"url": URL, "events": ["order.changed.v1"]})
    assert "API key" in made["userErrors"][0]["message"]
    bare = replace(shelf, ring=Keyring())
    made = await said(bare, CREATE, input={"url": URL, "events": ["order.changed.v1"]})
    assert "ACORN_KEYS" in made["userErrors"][0]["message"]


async def test_only_whose_it_is_and_an_administrator_see_and_change_it(shelf: Shelf) -> None:
    one = await created(shelf)
    theirs = await created(shelf, OTHER)
    every = "{ webhookEndpoints { id } }"
    assert await said(shelf, every) == [{"id": one["id"]}]
    assert await said(shelf, every, ADMIN) == [{"id": one["id"]}, {"id": theirs["id"]}]
    by_id = "query($id: ID!) { webhookEndpoint(id: $id) { url } }"
    assert await said(shelf, by_id, OTHER, id=one["id"]) is None
    assert await said(shelf, by_id, id=one["id"]) == {"url": URL}
    changes = [
        "updateWebhook(id: $id, input: {state: PAUSED})",
        "deleteWebhook(id: $id)",
        "rotateWebhookSecret(id: $id)",
        'replayWebhook(id: $id, after: "0")',
        "testWebhook(id: $id)",
    ]
    for change in changes:
        refused = await said(
            shelf, f"mutation($id: ID!) {{ {change} {{ userErrors {{ code field }} }} }}", OTHER, id=one["id"]
        )
        assert refused["userErrors"] == [{"code": "NOT_FOUND", "field": ["id"]}], change
    [still] = await said(shelf, f"{{ webhookEndpoints {{ {FIELDS} }} }}")
    assert still == one
    for change in changes:
        done = await said(shelf, f"mutation($id: ID!) {{ {change} {{ userErrors {{ code }} }} }}", ADMIN, id=one["id"])
        assert done["userErrors"] == [], change
        if change.startswith("delete"):
            one = await created(shelf)


async def test_it_is_changed_paused_and_resumed(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    changed = await said(
        shelf, UPDATE, id=one["id"], input={"url": "https://b.example/x", "format": "FLAT", "state": "PAUSED"}
    )
    assert changed["webhook"] == one | {
        "url": "https://b.example/x",
        "format": "FLAT",
        "state": "PAUSED",
        "reason": "It was paused by hand.",
    }
    await happened(store, "o1")
    resumed = await said(shelf, UPDATE, id=one["id"], input={"state": "ACTIVE"})
    assert (resumed["webhook"]["state"], resumed["webhook"]["reason"]) == ("ACTIVE", None)
    refused = await said(shelf, UPDATE, id=one["id"], input={"events": ["stock.changed.v1"]})
    assert refused["userErrors"] == [{"code": "INVALID", "field": ["input", "events"]}]
    async with store.begin() as tx:
        told = await tx.scalar(text("select count(*) from event where kind = 'WebhookPaused'"))
    assert told == 1


async def test_what_was_paused_for_longer_than_events_are_kept_says_so(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    await said(shelf, UPDATE, id=one["id"], input={"state": "PAUSED"})
    await happened(store, "o1", "o2", "o3")
    async with store.begin() as tx:
        await tx.execute(text("update event set at = at - interval '20 days'"))
        assert await event.prune(tx, datetime.now(UTC) - timedelta(days=14)) == 3
    refused = await said(shelf, UPDATE, id=one["id"], input={"state": "ACTIVE"})
    assert refused["userErrors"] == [{"code": "CONFLICT", "field": ["input", "skipMissed"]}]
    resumed = await said(shelf, UPDATE, id=one["id"], input={"state": "ACTIVE", "skipMissed": True})
    assert resumed["webhook"]["state"] == "ACTIVE"


async def test_who_resumes_what_lost_its_key_answers_for_it(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    await happened(store, "o1")
    async with store.begin() as tx:
        await api_key.revoke(tx, "key_mine")
        assert await webhook.due(tx) == []
        assert await webhook.keyless(tx) == [one["id"].removeprefix("Webhook:")]
        await webhook.give_up(tx, one["id"].removeprefix("Webhook:"), webhook.NO_KEY)
    resumed = await said(shelf, UPDATE, ADMIN, id=one["id"], input={"state": "ACTIVE"})
    assert (resumed["webhook"]["state"], resumed["webhook"]["madeBy"]) == ("ACTIVE", "boss")


async def test_a_new_secret_and_how_long_the_old_one_signs(shelf: Shelf) -> None:
    one = await created(shelf)
    rotate = """mutation($id: ID!, $overlap: Duration) { rotateWebhookSecret(id: $id, overlap: $overlap) {
        secret webhook { previousSecretUntil } userErrors { code } } }"""
    done = await said(shelf, rotate, id=one["id"], overlap="PT1H")
    until = datetime.fromisoformat(done["webhook"]["previousSecretUntil"])
    assert timedelta(minutes=50) < until - datetime.now(UTC) < timedelta(minutes=70)
    assert done["secret"].startswith("whsec_")
    assert (await said(shelf, rotate, id=one["id"], overlap="P31D"))["userErrors"] == [{"code": "INVALID"}]


async def test_deliveries_and_their_tries_page_by_page(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    await happened(store, "o1", "o2", "o3")
    key = one["id"].removeprefix("Webhook:")
    async with store.begin() as tx:
        [claimed] = await webhook_sending.claim(tx, {key: (1, False)}, 60.0)
        tried = Attempt(1, datetime.now(UTC), 12, 204, None)
        await webhook_sending.record(tx, [webhook_sending.Outcome(claimed, tried, Verdict.TAKEN)])
    query = """query($id: ID!, $after: String) { webhookEndpoint(id: $id) { pendingCount 
        deliveries(first: 2, after: $after) {
        totalCount pageInfo { hasNextPage endCursor }
        nodes { id eventId event subject state replayed cursor nextTryAt attempts {
            number status milliseconds problem } } } } }"""
    first = await said(shelf, query, id=one["id"], after=None)
    page = first["deliveries"]
    assert (first["pendingCount"], page["totalCount"], page["pageInfo"]["hasNextPage"]) == (2, 3, True)
    assert [node["eventId"] for node in page["nodes"]] == ["evt_3", "evt_2"]
    last = (await said(shelf, query, id=one["id"], after=page["pageInfo"]["endCursor"]))["deliveries"]
    assert last["nodes"] == [
        {
            "id": f"WebhookDelivery:{key}/evt_1",
            "eventId": "evt_1",
            "event": "order.changed.v1",
            "subject": "Order:o1",
            "state": "DELIVERED",
            "replayed": False,
            "cursor": "1",
            "nextTryAt": None,
            "attempts": [{"number": 1, "status": 204, "milliseconds": 12, "problem": None}],
        }
    ]
    again = """mutation($id: ID!) { redeliverWebhook(deliveryId: $id) { delivery { state replayed } userErrors { code } } }"""
    done = await said(shelf, again, id=last["nodes"][0]["id"])
    assert done["delivery"] == {"state": "PENDING", "replayed": True}
    for id, code in (
        (last["nodes"][0]["id"], "CONFLICT"),
        (f"WebhookDelivery:{key}/evt_9", "NOT_FOUND"),
        ("x", "NOT_FOUND"),
    ):
        assert (await said(shelf, again, id=id))["userErrors"] == [{"code": code}]


async def test_a_replay_is_from_a_cursor_or_an_instant_that_is_still_kept(shelf: Shelf, store: Store) -> None:
    one = await created(shelf)
    before = datetime.now(UTC) - timedelta(hours=1)
    await happened(store, "o1", "o2")
    replay = """mutation($id: ID!, $after: String, $since: DateTime) { replayWebhook(id: $id, after: $after, since: $since) {
        webhook { cursor } userErrors { code field } } }"""
    assert (await said(shelf, replay, id=one["id"], after="1"))["webhook"] == {"cursor": "1"}
    assert (await said(shelf, replay, id=one["id"], since=before.isoformat()))["webhook"] == {"cursor": "0"}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"after": "7"}, "CONFLICT"),
        ({"after": "x"}, "INVALID"),
        ({}, "INVALID"),
        ({"after": "0", "since": before.isoformat()}, "INVALID"),
    ]
    for given, code in refused:
        [problem] = (await said(shelf, replay, id=one["id"], **given))["userErrors"]
        assert problem == {"code": code, "field": ["after"]}


@pytest.mark.parametrize("name", [name for name in SCOPES if "ebhook" in name])
def test_webhooks_need_their_scope(name: str) -> None:
    assert SCOPES[name] == {"webhooks:write", "admin"}
