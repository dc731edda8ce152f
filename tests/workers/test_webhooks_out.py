"""Outgoing webhooks: signed, in order for each object, at least once and under one id, whatever fails or dies; and one that fails
holds up nobody else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import multiprocessing
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from jsonschema import Draft202012Validator, FormatChecker
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.outside import Guard, Outside
from domain.channel import LEDGER, Location, LocationKind
from domain.event import EventKind, NewEvent
from domain.ids import ChannelId, LineId, LocationCode, Sku
from domain.ledger import EntryKind, NewEntry
from domain.target import Reach
from domain.webhook import (
    TEST,
    TOPICS,
    TRIES_S,
    Attempt,
    Delivery,
    NewWebhook,
    Topic,
    Verdict,
    Webhook,
    WebhookFormat,
    WebhookState,
    envelope,
)
from store import api_key, channel, event, kit, ledger, webhook, webhook_data, webhook_delivery, webhook_sending
from store import order as order_store
from store.keyring import Keyring
from store.session import Store
from tests.schema.test_settlement import kept, sale
from tests.store.bench import give_places
from tests.workers import webhook_sender
from tests.workers.fake_port import make_order, make_port
from tests.workers.house import make_deps, place_orders, ship, until, working
from workers import crash
from workers.deps import Deps, WebhookTerms
from workers.upkeep import nightly
from workers.webhooks_out import AT_ONCE, MOST_TO_ONE, WebhooksOut

# A process that has imported all that senders need, and becomes one in a moment as often as a test asks.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.workers.webhook_sender"])
KEY = Fernet.generate_key().decode()
RING = Keyring([KEY])
HERE = Reach(loopback=True)
SCHEMAS = Path(__file__).parents[2] / "docs" / "events"
PLACES = [Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, LEDGER, "")]
POINTS = tuple(one for one in crash.POINTS if "webhook" in one or "spread" in one)
ALL_SCOPES = ("admin",)


@dataclass(slots=True)
class Heard:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Say = Callable[[Heard], Awaitable[web.Response]]


@dataclass(slots=True)
class Receiver:
    """Somebody's server, over real HTTP. `say` is what each path answers; 204 where there is nothing."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    say: dict[str, Say] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        one = Heard(request.path, headers, await request.read())
        self.heard.append(one)
        return await self.say[one.path](one) if one.path in self.say else web.Response(status=204)

    def at(self, path: str) -> list[Heard]:
        return [one for one in self.heard if one.path == path]

    def says(self, path: str, *statuses: int, **headers: str) -> None:
        """These statuses in turn, the last for ever."""
        left = list(statuses)
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(_: Heard) -> web.Response:
            return web.Response(status=left.pop(0) if len(left) > 1 else left[0], headers=named, text="because")

        self.say[path] = answer


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@dataclass(slots=True)
class House:
    """The loop under test, one look at a time, and what tests do around it."""

    store: Store
    deps: Deps
    out: WebhooksOut
    receiver: Receiver
    secrets: dict[str, str] = field(default_factory=dict)

    async def key(self, name: str, *scopes: str, expires_at: datetime | None = None) -> None:
        async with self.store.begin() as tx:
            await api_key.create(tx, f"key_{name}", name, f"hash_{name}", scopes or ALL_SCOPES, expires_at)

    async def hook(self, path: str, *events: str, made_by: str = "me", **more: Any) -> str:
        """A webhook at a path of the receiver."""
        id, secret = webhook.new_id(), "whsec_" + base64.b64encode(os.urandom(32)).decode()
        new = NewWebhook(self.receiver.url + path, events, **more)
        async with self.store.begin() as tx:
            await webhook.create(tx, id, new, made_by, RING.seal(webhook.seal_name(id), secret))
        self.secrets[path] = secret
        return id

    async def tell(self, *events: tuple[EventKind, str, dict[str, Any]]) -> None:
        async with self.store.begin() as tx:
            await event.append(tx, [NewEvent(kind, subject, data) for kind, subject, data in events])

    async def changed(self, *orders: str) -> None:
        """Orders change, in this order."""
        await self.tell(*((EventKind.ORDER_CHANGED, id, {"id": id, "channel": "shop"}) for id in orders))

    async def look(self, times: int = 1) -> None:
        """Give events their places, then look so often and let all that goes out come to its end."""
        await give_places(self.store)
        for _ in range(times):
            await self.out.once()
            await self.out.settled()

    async def hurry(self) -> None:
        """Every pause is over."""
        async with self.store.begin() as tx:
            await tx.execute(text("update webhook_delivery set due_at = now() where state = 'PENDING'"))
            await tx.execute(text("update webhook set due_at = now()"))

    async def later(self, by: timedelta) -> None:
        """Let so much time pass for what was tried, and every pause be over."""
        async with self.store.begin() as tx:
            await tx.execute(
                text("update webhook_delivery set first_at = first_at - cast(:by as interval)"), {"by": by}
            )
            await tx.execute(
                text("update webhook set last_success_at = last_success_at - cast(:by as interval)"), {"by": by}
            )
        await self.hurry()

    async def one(self, id: str) -> Webhook:
        async with self.store.begin() as tx:
            return await webhook.lock(tx, id, None)

    async def deliveries(self, id: str) -> list[Delivery]:
        """Oldest first."""
        async with self.store.begin() as tx:
            return (await webhook_delivery.page(tx, id, first=1_000, after=None))[0][::-1]

    async def tries(self, one: Delivery) -> list[Attempt]:
        async with self.store.begin() as tx:
            return (await webhook_delivery.attempts(tx, [(one.webhook, one.id)]))[one.webhook, one.id]

    async def resume(self, id: str) -> None:
        async with self.store.begin() as tx:
            await webhook.resume(tx, await webhook.lock(tx, id, None), "me")


@pytest.fixture
async def house(
    store: Store, redis: Redis, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    # Nothing is given up or tried again by itself, however long a test takes: `hurry` ends pauses.
    monkeypatch.setattr("workers.webhooks_out.TIMEOUT_S", 240.0)
    monkeypatch.setattr("domain.webhook.TRIES_S", (240, *TRIES_S[1:]))
    terms = WebhookTerms(HERE, "/acorn/test")
    deps = make_deps(store, redis, [make_port()], ring=RING, webhooks=terms, locations=PLACES)
    outside = Outside(Guard(HERE))
    made = House(store, deps, WebhooksOut(deps, lambda: None, outside), receiver)
    await made.key("me")
    yield made
    await outside.close()


def signatures(secret: str, one: Heard) -> str:
    """The header by a second hand: Standard Webhooks 1.0.0, from its text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = one.headers["webhook-id"].encode() + b"." + one.headers["webhook-timestamp"].encode() + b"." + one.raw
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


ENVELOPE = {
    "type": "object",
    "required": ["id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "data"],
    "patternProperties": {"^[a-z0-9]{1,20}$": True},
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "specversion": {"const": "1.0"},
        "type": {"type": "string", "pattern": r"^[a-z]+\.[a-z]+\.v[0-9]+$"},
        "time": {"type": "string", "format": "date-time"},
        "dataschema": {"type": "string", "pattern": "^urn:"},
        "partitionkey": {"type": "string", "minLength": 1},
        "sequence": {"type": "string", "pattern": "^[0-9]{20}$"},
        "replayed": {"type": "boolean"},
    },
}


def check(one: dict[str, Any]) -> None:
    """It is a CloudEvent, and its data are what docs/events promise."""
    Draft202012Validator(ENVELOPE, format_checker=FormatChecker()).validate(one)
    schema = json.loads((SCHEMAS / f"{one['type']}.json").read_text(encoding="utf-8"))
    assert schema["$id"] == one["dataschema"]
    # Nothing that the page does not name: a buyer least of all.
    Draft202012Validator(closed(schema), format_checker=FormatChecker()).validate(one["data"])


def closed(schema: Any) -> Any:
    """The same, and nothing beside it."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    return made | ({"additionalProperties": False} if "properties" in schema and "type" in schema else {})


def test_each_event_has_its_page_and_no_page_is_of_none() -> None:
    assert {file.stem for file in SCHEMAS.glob("*.json")} == {*TOPICS, TEST}


def test_the_check_of_data_sees_what_does_not_belong_there() -> None:
    """The twin."""
    with pytest.raises(Exception, match="buyer"):
        Draft202012Validator(closed(json.loads((SCHEMAS / "order.changed.v1.json").read_text()))).validate(
            {"id": "Order:1", "buyer": "Jo"}
        )


async def test_each_type_is_told_as_its_schema_says_signed_and_once(house: House) -> None:
    port = make_port()
    path = "/all"
    id = await house.hook(path, *TOPICS)
    other = await house.hook("/other", "stock.changed.v1")
    async with house.store.begin() as tx:
        await tx.execute(text("insert into product (sku, title) values ('A', 'A'), ('KIT', 'KIT')"))
        await ledger.post(
            tx, [NewEntry(Sku("A"), LocationCode("BER"), EntryKind.ADJUSTMENT, "x", "me", "test", on_hand=7)]
        )
        await kit.save(tx, Sku("KIT"), {Sku("A"): 2}, "me")
        await channel.pause(tx, ChannelId("shop"), "no consent", 60)
        await channel.resume(tx, ChannelId("shop"))
        await webhook.pause(tx, other, "by hand")
    await kept(house.store, [sale("19.90")])
    [placed] = await place_orders(house.store, port, 1)
    await house.changed(placed.id)
    await ship(house.store, [placed])
    async with house.store.begin() as tx:
        operation = await tx.scalar(text("select id from operation"))
    data = {"kind": "CONFIRM_SHIPMENTS", "status": "QUEUED"}
    await house.tell((EventKind.OPERATION_CHANGED, operation, data))
    await house.look(3)
    heard = house.receiver.at(path)
    by_type: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in heard:
        check(one.body)
        assert one.headers["content-type"] == "application/cloudevents+json"
        assert one.id == one.body["id"]
        assert one.body["source"] == "/acorn/test"
        assert one.headers["webhook-signature"] == signatures(house.secrets[path], one)
        assert abs(int(one.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
        assert len(one.raw) < 20_000
        by_type[one.body["type"]].append(one.body["data"])
    assert set(by_type) == set(TOPICS)
    stock = {one["sku"]: (one["availableToSell"], one["onHand"]) for one in by_type["stock.changed.v1"]}
    assert stock == {"A": (7, 7), "KIT": (3, 3)}
    assert by_type["order.changed.v1"][0]["externalId"] == placed.external_id
    assert by_type["channel.paused.v1"][0]["id"] == "Channel:shop"
    [settled] = by_type["settlement.kept.v1"]
    assert (settled["total"], settled["lineCount"], settled["matchedLineCount"]) == (
        {"amount": "19.90", "currency": "EUR"},
        1,
        0,
    )
    assert by_type["webhook.paused.v1"] == [
        {"id": f"Webhook:{other}", "state": "PAUSED", "reason": "by hand", "madeBy": "me"}
    ]
    assert len({one.id for one in heard}) == len(heard)
    for delivery in await house.deliveries(id):
        assert [one.status for one in await house.tries(delivery)] == [204]
    await house.look()
    assert len(house.receiver.at(path)) == len(heard)


async def test_the_signature_of_the_published_example_is_ours(house: House) -> None:
    """The vector of the sheet: a second implementation signs as we do."""
    one = Heard(
        "/",
        {"webhook-id": "msg_01", "webhook-timestamp": "1795420800"},
        b'{"type":"order.created","timestamp":"2026-11-23T08:00:00Z","data":{"id":"ord_1"}}',
    )
    secret = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
    assert signatures(secret, one) == "v1,vO+fiypu4F7EwVXG7fOYt3EfXUVp7aznbNdIfhKi5lg="


async def test_what_happened_before_is_not_told_and_filters_narrow(house: House) -> None:
    await house.changed("before")
    await house.look()
    await house.hook("/shop", "order.changed.v1", channels=(ChannelId("shop"),))
    await house.hook("/tees", "stock.changed.v1", skus=("TEE-*",))
    await house.changed("o1")
    await house.tell(
        (EventKind.ORDER_CHANGED, "o2", {"id": "o2", "channel": "amazon"}),
        (EventKind.STOCK_CHANGED, "TEE-1", {"sku": "TEE-1"}),
        (EventKind.STOCK_CHANGED, "BAG-1", {"sku": "BAG-1"}),
    )
    await house.look()
    assert [one.body["subject"] for one in house.receiver.at("/shop")] == ["Order:o1"]
    assert [one.body["subject"] for one in house.receiver.at("/tees")] == ["Product:TEE-1"]


async def test_changes_of_a_sku_that_wait_are_told_once_with_the_numbers_of_the_moment(house: House) -> None:
    await house.hook("/x", "stock.changed.v1")
    for _ in range(5):
        await house.tell((EventKind.STOCK_CHANGED, "A", {"sku": "A"}))
        await give_places(house.store)
        async with house.store.begin() as tx:
            while await webhook_delivery.spread(tx):
                pass
    await house.look()
    assert len(house.receiver.heard) == 1
    await house.tell((EventKind.STOCK_CHANGED, "A", {"sku": "A"}))
    await house.look()
    assert len(house.receiver.heard) == 2


async def test_orders_are_never_collapsed(house: House) -> None:
    await house.hook("/x", "order.changed.v1")
    await house.changed("o1", "o1", "o2", "o1")
    await house.look(3)
    assert [one.id for one in house.receiver.heard if one.body["subject"] == "Order:o1"] == ["evt_1", "evt_2", "evt_4"]


async def test_what_fails_is_sent_again_letter_for_letter_and_nothing_of_it_overtakes(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    house.receiver.says("/x", 500, 400, 204)
    await house.changed("o1", "o1")
    await house.look(3)
    assert [one.id for one in house.receiver.heard] == ["evt_1"]
    [first, second] = await house.deliveries(id)
    assert (first.attempts, second.attempts) == (1, 0)
    assert (await house.one(id)).failures == 1
    await house.hurry()
    await house.look()
    await house.hurry()
    await house.look(2)
    assert [one.id for one in house.receiver.heard] == ["evt_1", "evt_1", "evt_1", "evt_2"]
    assert len({one.raw for one in house.receiver.heard[:3]}) == 1
    tries = await house.tries(first)
    assert [(one.number, one.status, one.answer) for one in tries] == [
        (1, 500, "because"),
        (2, 400, "because"),
        (3, 204, None),
    ]
    one = await house.one(id)
    assert (one.failures, one.last_error) == (0, None)
    assert one.last_success_at is not None


async def test_one_object_that_fails_lets_the_others_go_on(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")

    async def picky(one: Heard) -> web.Response:
        return web.Response(status=400 if one.body["subject"] == "Order:bad" else 204)

    house.receiver.say["/x"] = picky
    await house.changed("bad", "o1", "bad", "o2", "o1")
    await house.look(3)
    taken = [one.id for one in house.receiver.heard if one.body["subject"] != "Order:bad"]
    assert sorted(taken) == ["evt_2", "evt_4", "evt_5"]
    # For a day; as others were taken meanwhile, this one is given up, and the next of its object has its turn.
    async with house.store.begin() as tx:
        await tx.execute(text("update webhook_delivery set first_at = now() - interval '25 hours' where id = 'evt_1'"))
    await house.hurry()
    await house.look(2)
    states = {one.id: one.state.value for one in await house.deliveries(id)}
    assert states["evt_1"] == "FAILED"
    assert "evt_3" in [one.id for one in house.receiver.heard]
    assert (await house.one(id)).state is WebhookState.ACTIVE


@pytest.mark.parametrize("status", [429, 502, 504])
async def test_an_endpoint_that_asks_to_slow_down_rests_as_a_whole_and_retry_after_is_kept(
    house: House, status: int
) -> None:
    id = await house.hook("/x", "order.changed.v1")
    house.receiver.says("/x", status, 204, retry_after="1800")
    await house.changed("o1")
    await house.look()
    await house.changed("o2")
    await house.look(2)
    assert [one.id for one in house.receiver.heard] == ["evt_1"]
    async with house.store.begin() as tx:
        rests = await tx.scalar(text("select due_at > now() + interval '1700 seconds' from webhook"))
        waits = await tx.scalar(
            text("select min(due_at) > now() + interval '1700 seconds' from webhook_delivery where attempts > 0")
        )
    assert (rests, waits) == (True, True)
    await house.hurry()
    await house.look(2)
    assert sorted(one.id for one in house.receiver.heard[1:]) == ["evt_1", "evt_2"]
    assert (await house.one(id)).failures == 0


async def test_a_redirect_is_a_failure_and_is_not_followed(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    house.receiver.says("/x", 307, location=f"{house.receiver.url}/elsewhere")
    await house.changed("o1")
    await house.look()
    assert house.receiver.at("/elsewhere") == []
    assert (await house.one(id)).last_error == "It answered 307."


async def test_a_day_without_success_pauses_it_and_tells_and_it_goes_on_where_it_stopped(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.hook("/watch", "webhook.paused.v1")
    house.receiver.says("/x", 500)
    await house.changed("o1", "o1", "o2")
    await house.look(2)
    await house.later(timedelta(hours=23))
    await house.look(2)
    assert (await house.one(id)).state is WebhookState.ACTIVE
    await house.later(timedelta(hours=2))
    await house.look(2)
    paused = await house.one(id)
    assert (paused.state, paused.reason) == (WebhookState.PAUSED, "Nothing was taken for a day. It answered 500.")
    await house.look(2)
    [told] = house.receiver.at("/watch")
    assert told.body["data"]["id"] == f"Webhook:{id}"
    before = len(house.receiver.at("/x"))
    await house.changed("o3")
    await house.hurry()
    await house.look(2)
    assert len(house.receiver.at("/x")) == before
    house.receiver.says("/x", 204)
    await house.resume(id)
    await house.look(3)
    assert [one.id for one in house.receiver.at("/x")[before:] if one.body["subject"] == "Order:o1"] == [
        "evt_1",
        "evt_2",
    ]
    assert {one.id for one in house.receiver.at("/x")[before:]} == {"evt_1", "evt_2", "evt_3", "evt_5"}
    async with house.store.begin() as tx:
        counts = await webhook.counts(tx)
    assert (counts.active, counts.paused, counts.pending, counts.failed) == (2, 0, 0, 0)


async def test_gone_pauses_it_and_a_hook_is_forgotten(house: House) -> None:
    kept = await house.hook("/kept", "order.changed.v1")
    await house.hook("/hook", "order.changed.v1", hook=True)
    house.receiver.says("/kept", 410)
    house.receiver.says("/hook", 410)
    await house.changed("o1")
    await house.look()
    async with house.store.begin() as tx:
        [left] = await webhook.all_of(tx)
    assert (left.id, left.state, left.reason) == (
        kept,
        WebhookState.PAUSED,
        "It answered 410: nothing more is wanted there.",
    )
    await house.hurry()
    await house.look()
    assert len(house.receiver.heard) == 2


@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_with_its_key_its_deliveries_end(house: House, end: str) -> None:
    await house.key("other", "orders:read", "webhooks:write")
    id = await house.hook("/x", "order.changed.v1", made_by="other")
    await house.hook("/mine", "order.changed.v1")
    await house.changed("o1")
    await house.look()
    house.receiver.says("/x", 500)
    await house.changed("o2")
    await house.look()
    async with house.store.begin() as tx:
        ended = "revoked_at = now()" if end == "revoked" else "expires_at = now() - interval '1 s'"
        await tx.execute(text(f"update api_key set {ended} where name = 'other'"))
    await house.changed("o3")
    await house.hurry()
    await house.look(2)
    assert [one.id for one in house.receiver.at("/x")] == ["evt_1", "evt_2"]
    assert sorted(one.id for one in house.receiver.at("/mine")) == ["evt_1", "evt_2", "evt_3"]
    paused = await house.one(id)
    assert (paused.state, paused.reason) == (WebhookState.PAUSED, webhook.NO_KEY)


async def test_a_lesser_key_in_place_of_the_first_ends_what_it_may_not_read(house: House) -> None:
    await house.key("other", "orders:read", "webhooks:write")
    id = await house.hook("/x", "order.changed.v1", made_by="other")
    house.receiver.says("/x", 500, 204)
    await house.changed("o1")
    await house.look()
    async with house.store.begin() as tx:
        await tx.execute(text("update api_key set scopes = '{stock:read}' where name = 'other'"))
    await house.changed("o2")
    await house.hurry()
    await house.look(2)
    assert [one.id for one in house.receiver.heard] == ["evt_1"]
    assert [(one.id, one.state.value) for one in await house.deliveries(id)] == [("evt_1", "FAILED")]


@pytest.mark.parametrize("read", [False, True], ids=["unread", "read"])
async def test_a_key_that_loses_one_kind_of_operation_is_told_no_more_of_it(house: House, read: bool) -> None:
    await house.key("other", "shipments:write", "stock:write", "webhooks:write")
    id = await house.hook("/x", "operation.changed.v1", made_by="other")
    operation = await ship(house.store, await place_orders(house.store, make_port(), 1))
    await house.tell((EventKind.OPERATION_CHANGED, operation, {"kind": "CONFIRM_SHIPMENTS", "status": "QUEUED"}))
    house.receiver.says("/x", 500, 204)
    await give_places(house.store)
    async with house.store.begin() as tx:
        assert await webhook_delivery.spread(tx)
    if read:
        await house.look()
    assert len(house.receiver.heard) == (1 if read else 0)
    async with house.store.begin() as tx:
        await tx.execute(text("update api_key set scopes = '{stock:write,webhooks:write}' where name = 'other'"))
    await house.hurry()
    await house.look(2)
    assert len(house.receiver.heard) == (1 if read else 0)
    assert {one.state.value for one in await house.deliveries(id)} == {"FAILED"}


async def test_of_a_pause_only_whose_it_is_and_an_administrator_hear(house: House) -> None:
    await house.key("mine", "webhooks:write")
    await house.key("other", "webhooks:write")
    for name in ("me", "mine", "other"):
        await house.hook(f"/{name}", "webhook.paused.v1", made_by=name)
    paused = await house.hook("/paused", "order.changed.v1", made_by="mine")
    async with house.store.begin() as tx:
        await webhook.pause(tx, paused, "by hand")
    await house.look()
    assert sorted(one.path for one in house.receiver.heard) == ["/me", "/mine"]


async def test_both_secrets_sign_while_one_is_replaced(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    old, new = house.secrets["/x"], "whsec_" + base64.b64encode(os.urandom(32)).decode()
    async with house.store.begin() as tx:
        await webhook.rotate(tx, id, RING.seal(webhook.seal_name(id), new), timedelta(hours=1))
    await house.changed("o1")
    await house.look()
    async with house.store.begin() as tx:
        await tx.execute(text("update webhook set previous_until = now() - interval '1 s'"))
    await house.changed("o2")
    await house.look()
    first, second = house.receiver.heard
    assert first.headers["webhook-signature"].split() == [signatures(new, first), signatures(old, first)]
    assert second.headers["webhook-signature"] == signatures(new, second)


async def test_secrets_are_sealed_and_move_to_a_new_key(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    newer = Fernet.generate_key().decode()
    async with house.store.begin() as tx:
        sealed = await tx.scalar(text("select sealed from webhook"))
        assert house.secrets["/x"] not in str(sealed)
        assert await webhook.unopened(tx, Keyring([newer])) == [f"webhook:{id}"]
        assert await webhook.reseal(tx, Keyring([newer, KEY])) == 1
        assert await webhook.unopened(tx, Keyring([newer])) == []
    await house.changed("o1")
    await house.look()
    assert house.receiver.heard == []
    assert "cannot be opened" in str((await house.one(id)).reason)


async def test_a_replay_tells_all_since_a_cursor_once_more_under_the_same_ids_in_order(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1", "o2", "o1")
    await house.look(3)
    first = {one.id: one.body for one in house.receiver.heard}
    await house.changed("o3")
    async with house.store.begin() as tx:
        await webhook.replay(tx, await webhook.lock(tx, id, None), 1)
    await house.look(3)
    again = house.receiver.heard[3:]
    assert sorted(one.id for one in again) == ["evt_2", "evt_3", "evt_4"]
    assert [one.body.get("replayed") for one in sorted(again, key=lambda one: one.id)] == [True, True, None]
    # Those of different objects go side by side.
    told = {one.id: one.body for one in again if "replayed" in one.body}
    assert told == {id: body | {"replayed": True} for id, body in first.items() if id != "evt_1"}
    await house.look(2)
    assert len(house.receiver.heard) == 6


async def test_one_delivery_is_sent_again_and_a_test_tells_nothing_even_when_paused(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1")
    await house.look()
    async with house.store.begin() as tx:
        one = await webhook.lock(tx, id, None)
        await webhook_delivery.again(tx, one, "evt_1")
    await house.look()
    assert [one.id for one in house.receiver.heard] == ["evt_1", "evt_1"]
    async with house.store.begin() as tx:
        await webhook.pause(tx, id, "by hand")
        await webhook_delivery.test(tx, one)
    await house.changed("o2")
    await house.look(2)
    last = house.receiver.heard[-1].body
    check(last)
    assert (len(house.receiver.heard), last["type"]) == (3, TEST)


async def test_what_is_delivered_again_waits_and_is_kept_from_then_on(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1")
    await house.look()
    async with house.store.begin() as tx:
        await tx.execute(text("update webhook_delivery set made_at = now() - interval '31 days'"))
        await webhook_delivery.again(tx, await webhook.lock(tx, id, None), "evt_1")
        assert (await webhook.counts(tx)).oldest_s < 86_400
        assert await webhook_delivery.forget(tx, datetime.now(UTC) - timedelta(days=30)) == 0
    await house.look()
    async with house.store.begin() as tx:
        assert await webhook_delivery.forget(tx, datetime.now(UTC) - timedelta(days=30)) == 0
        # The twin.
        assert await webhook_delivery.forget(tx, datetime.now(UTC) + timedelta(days=1)) == 1


async def test_the_flat_form_is_one_object_without_objects(house: House) -> None:
    await house.hook("/x", "order.changed.v1", format=WebhookFormat.FLAT)
    [placed] = await place_orders(house.store, make_port(), 1)
    await house.changed(placed.id)
    await house.look()
    [one] = house.receiver.heard
    assert one.headers["content-type"] == "application/json"
    assert one.headers["webhook-signature"] == signatures(house.secrets["/x"], one)
    assert (one.body["id"], one.body["event"]) == ("evt_1", "order.changed.v1")
    assert one.body["order_externalId"] == placed.external_id
    assert one.body["order_lines_quantity"] == [2]
    assert not any(isinstance(value, dict) for value in one.body.values())


async def test_an_order_that_is_too_long_is_told_thin(house: House) -> None:
    await house.hook("/x", "order.changed.v1")
    port = make_port()
    whole = make_order(port, "long")
    lines = [replace(whole.lines[0], id=LineId(f"{whole.id}-{n}"), external_id=f"long-{n}") for n in range(200)]
    async with house.store.begin() as tx:
        await order_store.upsert(tx, [replace(whole, lines=lines)])
    await house.changed(whole.id)
    await house.look()
    [one] = house.receiver.heard
    check(one.body)
    assert one.body["data"] == {"id": f"Order:{whole.id}", "thin": True}


async def test_one_that_hangs_holds_up_nobody_else(house: House) -> None:
    await house.hook("/hangs", "order.changed.v1")
    await house.hook("/quick", "order.changed.v1")
    released = asyncio.Event()

    async def hang(_: Heard) -> web.Response:
        await released.wait()
        return web.Response(status=204)

    house.receiver.say["/hangs"] = hang
    await house.changed(*(f"o{n}" for n in range(40)))
    await give_places(house.store)
    try:
        async with asyncio.timeout(60):
            while len(house.receiver.at("/quick")) < 40:
                await house.out.once()
                await asyncio.sleep(0.01)
        assert len(house.receiver.at("/hangs")) <= 8
    finally:
        released.set()
        await house.out.settled()


async def test_one_that_takes_all_is_sent_more_at_once_until_it_fails(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed(*(f"o{n}" for n in range(200)))
    await give_places(house.store)
    sent = []
    for _ in range(5):
        await house.out.once()
        sent.append(len(house.out.under_way))
        await house.out.settled()
    assert sent == [AT_ONCE, 2 * AT_ONCE, 4 * AT_ONCE, MOST_TO_ONE, MOST_TO_ONE]
    # More than the usual comes out of one half of what may be under way: the other is there for everybody's usual.
    house.out.most_at_once = 2 * AT_ONCE + 2
    await house.out.once()
    assert len(house.out.under_way) == AT_ONCE + 1
    house.receiver.says("/x", 400)
    house.out.most_at_once = 100
    await house.out.settled()
    await house.out.once()
    await house.out.settled()
    assert id not in house.out.room


async def test_what_was_taken_is_noted_at_an_orderly_stop(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1")
    await give_places(house.store)
    await house.out.once()
    await asyncio.wait(house.out.under_way)
    loop = asyncio.create_task(house.out.run())
    await asyncio.sleep(0)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert [one.state.value for one in await house.deliveries(id)] == ["DELIVERED"]


async def test_many_endpoints_are_claimed_and_noted_in_few_transactions(house: House) -> None:
    hooks = [await house.hook(f"/{n}", "order.changed.v1") for n in range(20)]
    await house.changed("o1", "o2")
    await give_places(house.store)
    counted = Counted(house.store)
    out = WebhooksOut(replace(house.deps, store=counted), lambda: None, house.out.outside)
    await out.once()
    await asyncio.wait(out.under_way)
    await out.once()
    assert len(house.receiver.heard) == 40
    # Made, a look for more, claimed; then a look, noted, claimed.
    assert counted.times <= 6
    for id in hooks:
        assert {one.state.value for one in await house.deliveries(id)} == {"DELIVERED"}


class Counted(Store):
    """Counts transactions."""

    def __init__(self, store: Store) -> None:
        self._there = store
        self.times = 0

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self.times += 1
        return self._there.begin()


async def broke(house: House, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """From now on something that nobody foresaw happens to the order `bad`, at this place."""
    match where:
        case "read":
            read = webhook_data.read

            async def reading(tx: AsyncConnection, topic: Topic, subjects: Sequence[str], *more: Any) -> Any:
                if "bad" in subjects:
                    # The transaction is one that has failed, too.
                    await tx.execute(text("select 1 / 0"))
                return await read(tx, topic, subjects, *more)

            monkeypatch.setattr(webhook_data, "read", reading)
        case "sent":
            monkeypatch.setattr("workers.webhooks_out.envelope", odd(envelope))
        case "noted":
            monkeypatch.setattr(webhook_sending, "_named", odd(webhook_sending._named))


def odd(real: Callable[..., Any]) -> Callable[..., Any]:
    """The same, but for the order `bad`."""

    def call(first: Any, *more: Any) -> Any:
        deliveries = [first] if isinstance(first, Delivery) else [one.delivery for one in first]
        if any(one.object == "Order:bad" for one in deliveries):
            raise KeyError("bad")
        return real(first, *more)

    return call


@pytest.mark.parametrize("where", ["read", "sent", "noted"])
async def test_what_nobody_foresaw_puts_off_one_delivery_and_the_log_tells(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    id = await house.hook("/x", "order.changed.v1")
    other = await house.hook("/y", "order.changed.v1")
    await broke(house, monkeypatch, where)
    await house.changed("o1", "bad", "o2", "bad", "o3")
    await house.look(3)
    for hook in (id, other):
        states = {one.id: (one.state.value, one.attempts) for one in await house.deliveries(hook)}
        assert states.pop("evt_2") == ("PENDING", 1)
        assert states.pop("evt_4") == ("PENDING", 0)
        assert set(states.values()) == {("DELIVERED", 1)}
    told = {one.message for one in caplog.records if one.exc_info}
    assert told & {"webhook.broken", "webhook.unnoted"}
    if where != "noted":
        [bad] = [one for one in await house.deliveries(id) if one.id == "evt_2"]
        assert "log tells why" in str([one.problem for one in await house.tries(bad)])
        assert bad.due_at > datetime.now(UTC)
    monkeypatch.undo()
    await house.hurry()
    await house.look(3)
    assert {one.state.value for one in await house.deliveries(id)} == {"DELIVERED"}
    in_order(house.receiver.at("/x"))


async def test_a_key_that_cannot_be_opened_and_a_note_wait_for_each_other_never(house: House) -> None:
    """Pausing takes the lock of the webhook while nothing of its deliveries is locked: both end, whichever comes first."""
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1", "o2")
    await give_places(house.store)
    async with house.store.begin() as tx:
        await webhook_delivery.spread(tx)
    async with house.store.begin() as tx:
        [held] = await webhook_sending.claim(tx, {id: (1, False)}, 60.0)
    blind = WebhooksOut(
        replace(house.deps, ring=Keyring([Fernet.generate_key().decode()])), lambda: None, house.out.outside
    )
    async with house.store.begin() as tx:
        await webhook.lock(tx, id, None)
        look = asyncio.create_task(blind.once())

        async def waits() -> bool:
            async with house.store.begin() as other:
                waiting = (
                    "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
                )
                found = await other.scalar(text(waiting))
                return found is not None

        await until(waits)
        # All deliveries are free meanwhile.
        await tx.execute(text("set local lock_timeout = '1s'"))
        await tx.execute(text("select 1 from webhook_delivery for update"))
        tried = Attempt(1, datetime.now(UTC), 1, 204, None)
        await webhook_sending.record(tx, [webhook_sending.Outcome(held, tried, Verdict.TAKEN)])
    await look
    assert "cannot be opened" in str((await house.one(id)).reason)


async def test_sending_does_not_wait_until_all_are_spread_to(house: House) -> None:
    """With many webhooks and many events that would be never."""
    await house.hook("/a", "order.changed.v1")
    await house.hook("/b", "order.changed.v1")
    await house.changed("o1")
    await give_places(house.store)
    house.out.spreads = house.out.spread_at_once = 1
    assert await house.out.once()
    await house.out.settled()
    assert len(house.receiver.heard) == 1
    while await house.out.once():
        pass
    await house.out.settled()
    assert sorted(one.path for one in house.receiver.heard) == ["/a", "/b"]


async def test_where_not_all_can_be_sent_to_at_once_they_take_turns(house: House) -> None:
    for path in ("/a", "/b", "/c"):
        await house.hook(path, "order.changed.v1")
    house.out.most_at_once = 1
    await house.changed("o1", "o2")
    await house.look(6)
    turns = [one.path for one in house.receiver.heard]
    assert (set(turns[:3]), set(turns[3:]), len(turns)) == ({"/a", "/b", "/c"}, {"/a", "/b", "/c"}, 6)


async def test_a_backlog_of_which_statistics_know_nothing_is_claimed_in_few_passes(house: House) -> None:
    """Rows that are looked at grow with the backlog, not with its square."""
    id, many = await house.hook("/x", "order.changed.v1"), 2_000
    fill = """
        insert into webhook_delivery (webhook, id, type, object, place, at, state)
        select :id, :state || n, 'order.changed.v1', 'Order:' || n, n, now(), :state from generate_series(1, :many) n
    """
    async with house.store.begin() as tx:
        await tx.execute(text(fill), {"id": id, "state": "DELIVERED", "many": 10 * many})
        await tx.execute(text("analyze webhook_delivery"))
        await tx.execute(text(fill), {"id": id, "state": "PENDING", "many": many})
        explain = text(f"explain (analyze, format json) {webhook_sending.CLAIM.text}")
        given = {"webhooks": [id], "limits": [8], "testing": [False], "lease_s": 60.0, "test": TEST}
        plan = await tx.scalar(explain, given)
    assert many <= looked_at(json.loads(plan) if isinstance(plan, str) else plan) <= 20 * many


def looked_at(plan: Any) -> int:
    """The rows that all steps of a plan gave or threw away."""
    if isinstance(plan, list):
        return sum(map(looked_at, plan))
    if not isinstance(plan, dict):
        return 0
    rows = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"))
    return int(rows * plan.get("Actual Loops", 1)) + sum(map(looked_at, plan.values()))


async def test_an_address_that_is_no_longer_called_is_not_called(house: House) -> None:
    """The setting changed, or the name leads elsewhere: checked at each delivery."""
    id = await house.hook("/x", "order.changed.v1")
    outside = Outside(Guard(Reach()))
    await house.changed("o1")
    await give_places(house.store)
    strict = WebhooksOut(house.deps, lambda: None, outside)
    await strict.once()
    await strict.settled()
    await outside.close()
    assert house.receiver.heard == []
    assert "not called" in str((await house.one(id)).last_error)


def in_order(heard: Sequence[Heard], missing_ok: bool = False) -> dict[str, list[int]]:
    """The places of each object's events in the order in which they were taken first. They must grow."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    for one in heard:
        if one.id not in seen:
            seen.add(one.id)
            places[one.body["subject"]].append(int(one.body["sequence"]))
    for object, found in places.items():
        assert found == sorted(found), object
    return dict(places)


async def test_whatever_fails_each_object_is_told_in_order_and_nothing_is_lost(house: House) -> None:
    """Two workers, endpoints that fail at random, lose answers and are taken up again: a model of the receivers' books."""
    rng = random.Random(0)
    hooks = {path: await house.hook(path, "order.changed.v1") for path in ("/x", "/y", "/z")}
    taken: defaultdict[str, list[Heard]] = defaultdict(list)

    def moody(moods: random.Random) -> Say:
        async def answer(one: Heard) -> web.Response:
            mood = moods.random()
            if mood < 0.3:
                return web.Response(status=moods.choice([400, 429, 500, 503, 302]))
            taken[one.path].append(one)
            # Taken, and the answer says otherwise: it comes again.
            return web.Response(status=500 if mood < 0.4 else 204)

        return answer

    house.receiver.say |= {path: moody(random.Random(seed)) for seed, path in enumerate(hooks)}
    outside = Outside(Guard(HERE))
    workers = [house.out, WebhooksOut(house.deps, lambda: None, outside)]

    async def look() -> None:
        await asyncio.gather(*(one.once() for one in workers))
        await asyncio.gather(*(one.settled() for one in workers))
        await house.hurry()

    for _ in range(10):
        await house.changed(*(f"o{rng.randrange(4)}" for _ in range(6)))
        await give_places(house.store)
        await look()

    async def waiting() -> int:
        async with house.store.begin() as tx:
            return (await webhook.counts(tx)).pending

    async with asyncio.timeout(120):
        while await waiting():
            # Taken up again, none is tried with one at a time any more.
            for id in hooks.values():
                await house.resume(id)
            await look()
    await outside.close()
    for path in hooks:
        assert len({one.id for one in taken[path]}) == 60
        in_order(taken[path])
        bodies: defaultdict[str, set[bytes]] = defaultdict(set)
        for one in taken[path]:
            bodies[one.id].add(one.raw)
        assert all(len(found) == 1 for found in bodies.values())


def test_the_check_of_order_sees_what_overtook() -> None:
    """The twin."""
    late, early = (
        Heard("/", {"webhook-id": f"evt_{n}"}, json.dumps({"subject": "Order:1", "sequence": f"{n:020d}"}).encode())
        for n in (2, 1)
    )
    with pytest.raises(AssertionError, match="Order:1"):
        in_order([late, early])


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_anywhere_loses_nothing_and_doubles_keep_their_id(
    house: House, database_url: str, redis_url: str, point: str
) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1", "o2", "o1", "o3")
    await give_places(house.store)
    sender = FORKS.Process(target=webhook_sender.tell, args=(database_url, redis_url, KEY, point), daemon=True)
    await asyncio.to_thread(sender.start)
    try:
        await asyncio.to_thread(sender.join, 180)
        assert sender.exitcode == 137
    finally:
        sender.kill()
        await asyncio.to_thread(sender.join)
    # Its leases end.
    await house.hurry()

    async def done() -> bool:
        await house.look()
        found = await house.deliveries(id)
        return len(found) == 4 and all(one.state.value == "DELIVERED" for one in found)

    await until(done)
    heard = house.receiver.heard
    assert {one.id for one in heard} == {"evt_1", "evt_2", "evt_3", "evt_4"}
    in_order(heard)
    assert len({one.raw for one in heard}) == 4
    # No worse than once more for each that was under way.
    assert len(heard) <= 4 + 3


async def test_a_whole_worker_tells_and_what_is_too_old_is_forgotten(house: House) -> None:
    id = await house.hook("/x", "order.changed.v1")
    await house.changed("o1")
    async with working(house.deps):

        async def told() -> bool:
            return [one.state.value for one in await house.deliveries(id)] == ["DELIVERED"]

        await until(told)
    async with house.store.begin() as tx:
        await tx.execute(text("update webhook_delivery set made_at = now() - interval '31 days'"))
        await tx.execute(text("delete from ledger_check"))
    await nightly(house.deps)
    assert await house.deliveries(id) == []


async def test_an_idle_loop_looks_at_most_once_a_sweep(house: House) -> None:
    """No hot loop: what waits for its next try is not asked for again and again."""
    await house.hook("/x", "order.changed.v1")
    house.receiver.says("/x", 500)
    await house.changed("o1", "o1")
    await house.look()
    looks = 0

    def pulse() -> None:
        nonlocal looks
        looks += 1

    slow = replace(house.deps, timing=replace(house.deps.timing, sweep_s=3600.0))
    loop = asyncio.create_task(WebhooksOut(slow, pulse, house.out.outside).run())

    async def looked() -> bool:
        return looks > 0

    await until(looked)
    for _ in range(20):
        await asyncio.sleep(0)
    assert looks == 1
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
