"""What a shop's deliveries prove, what they say, and how we come to be told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from adapters.notices import Delivery
from adapters.rest.client import answered
from adapters.rest.operations import DELETE_ENDPOINT, LIST_ENDPOINTS
from adapters.rest.platform import RestPort
from adapters.rest.subscriptions import Desk, _Endpoints
from adapters.rest.webhooks import EVENTS, RestWebhook
from domain.budget import Ask
from domain.feed import secret_bytes
from domain.hint import Hint, HintKind
from domain.product import Rejected
from tests.adapters.bench import Sandbox
from tests.adapters.rest.bench import CHANNEL, Asked, OpenPort, Script, ok, problem
from tests.adapters.rest.contract import Contract

SECRET = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="  # of the published vector
AT = 1795420800
BODY = b'{"type":"order.created","timestamp":"2026-11-23T08:00:00Z","data":{"id":"ord_1"}}'
HEADERS = {
    "webhook-id": "msg_01",
    "webhook-timestamp": str(AT),
    "webhook-signature": "v1,vO+fiypu4F7EwVXG7fOYt3EfXUVp7aznbNdIfhKi5lg=",
}
WEBHOOK = RestWebhook(CHANNEL.id, (secret_bytes(SECRET),))
URL = "https://acorn.example.com/webhooks/rest/shop"


def delivery(body: bytes = BODY, late_s: float = 0.0, **headers: str) -> Delivery:
    told = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery(told, body, datetime.fromtimestamp(AT, UTC) + timedelta(seconds=late_s))


def said(**event: Any) -> Delivery:
    whole = {"type": "order.created", "timestamp": "2026-11-23T08:00:00Z", "data": {}} | event
    return delivery(json.dumps(whole).encode())


def test_the_published_vector_is_proven() -> None:
    assert WEBHOOK.expected(HEADERS)
    assert WEBHOOK.proven(delivery())


def test_so_it_is_among_other_signatures_and_under_the_secret_before() -> None:
    assert WEBHOOK.proven(delivery(webhook_signature=f"v1a,xx v1,AAAA {HEADERS['webhook-signature']}"))
    both = replace(WEBHOOK, keys=(b"n" * 24, *WEBHOOK.keys))
    assert both.proven(delivery())
    key = hmac.new(b"n" * 24, b"msg_01." + str(AT).encode() + b"." + BODY, hashlib.sha256).digest()
    assert both.proven(delivery(webhook_signature="v1," + base64.b64encode(key).decode()))


@pytest.mark.parametrize(
    "other",
    [
        delivery(BODY.replace(b"ord_1", b"ord_2")),
        delivery(BODY + b" "),
        delivery(webhook_id="msg_02"),
        delivery(webhook_timestamp=str(AT + 1)),
        delivery(webhook_timestamp="soon"),
        delivery(webhook_signature=HEADERS["webhook-signature"].lower()),
        delivery(webhook_signature=HEADERS["webhook-signature"].replace("v1,", "v1a,")),
        delivery(webhook_signature="v1,ü"),
        delivery(late_s=301),
        delivery(late_s=-301),
    ],
)
def test_what_is_forged_changed_or_stale_is_not(other: Delivery) -> None:
    assert not WEBHOOK.proven(other)


@pytest.mark.parametrize("missing", list(HEADERS))
def test_without_its_headers_no_body_is_read(missing: str) -> None:
    assert not WEBHOOK.expected({name: value for name, value in HEADERS.items() if name != missing})
    assert not WEBHOOK.expected(HEADERS | {"webhook-id": "a b"})


@pytest.mark.parametrize(
    ("event", "kind", "subject"),
    [
        ({"type": "order.created", "data": {"id": "ord_1"}}, HintKind.ORDER, "ord_1"),
        ({"type": "order.shipped", "data": {"id": "ord_1", "note": "Erika"}}, HintKind.ORDER, "ord_1"),
        ({"type": "refund.created", "data": {"id": "ref_1", "order_id": "ord_1"}}, HintKind.ORDER, "ord_1"),
        ({"type": "stock.updated", "data": {"sku": "MUG-R", "location_id": "loc_1"}}, HintKind.STOCK, "MUG-R"),
        ({"type": "product.deleted", "data": {"id": "prd_1"}}, HintKind.PRODUCT, "prd_1"),
    ],
)
def test_an_event_names_what_is_to_be_read(event: Mapping[str, Any], kind: HintKind, subject: str) -> None:
    at = datetime(2026, 11, 23, 8, tzinfo=UTC)
    told = WEBHOOK.understood(said(**event))
    assert list(told) == [Hint(CHANNEL.id, "msg_01", event["type"], kind, subject, at)]


@pytest.mark.parametrize("type", ["ping", "payout.paid", "job.finished", "cart.left"])
def test_an_event_that_says_nothing_to_us_is_taken_and_forgotten(type: str) -> None:
    assert list(WEBHOOK.understood(said(type=type, data={"id": "x"}))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        delivery(b"{"),
        delivery(b"[]"),
        delivery(b'{"type": "order.created"}'),
        said(timestamp="yesterday"),
        said(timestamp="2026-11-23T08:00:00"),
        said(data={}),
        said(data={"id": 7}),
        said(data={"id": "a\nb"}),
        said(data={"id": "x" * 201}),
        said(type="refund.created", data={"id": "ref_1", "email": "erika@example.com"}),
    ],
)
def test_one_that_cannot_be_read_is_kept_apart_with_nothing_of_its_body(wrong: Delivery) -> None:
    (told,) = WEBHOOK.understood(wrong)
    assert isinstance(told, Rejected)
    assert (told.channel, told.what, told.key, told.raw) == (CHANNEL.id, "webhook", "msg_01", "")
    assert "erika" not in told.reason


def test_all_that_we_subscribe_to_is_an_event_of_the_contract() -> None:
    types = set(Contract().document["components"]["schemas"]["EventType"]["enum"])
    assert set(EVENTS) <= types
    assert types - set(EVENTS) == {"payout.paid", "job.finished", "ping"}


def endpoint(id: str, *, url: str = URL, events: Any = tuple(EVENTS), enabled: bool = True) -> dict[str, Any]:
    return {"id": id, "url": url, "events": list(events), "enabled": enabled, "created_at": "2026-11-23T08:00:00Z"}


def desk(open_port: OpenPort, *there: dict[str, Any], provable: bool = True) -> tuple[Desk, Script]:
    def answer(asked: Asked) -> Any:
        match asked.operation:
            case "listEndpoints":
                return {"data": list(there), "next_cursor": None}
            case "createEndpoint":
                return ok(endpoint("whe_9") | {"secret": SECRET}, 201, {"Location": "/x"})
            case "deleteEndpoint" if asked.path.endswith("whe_gone"):
                return problem(404, "not-found")
            case _:
                return ok(status=204)

    script = Script(answer)
    port = open_port(wire=script.wire())
    return Desk(port.client, port.offers, URL, provable), script


async def test_an_endpoint_that_is_as_wanted_is_left_alone(open_port: OpenPort) -> None:
    made, script = desk(open_port, endpoint("whe_1"), endpoint("whe_2", url="https://other.example/"))
    assert await made.wrong(Ask()) == []
    assert [one.wrong for one in await made.ensure(Ask(), apply=True)] == [None]
    assert {one.operation for one in script.asked} == {"getShop", "listEndpoints"}


@pytest.mark.parametrize(
    ("there", "words", "removed"),
    [
        ([], "it is not subscribed", []),
        ([endpoint("whe_1", enabled=False)], "the shop has given it up", ["/webhook-endpoints/whe_1"]),
        (
            [endpoint("whe_gone", events=["order.created"])],
            "it is not told of product.created",
            ["/webhook-endpoints/whe_gone"],
        ),
        ([endpoint("whe_2", url="https://other.example/")], "it is not subscribed", []),
    ],
)
async def test_what_is_missing_is_told_and_made_when_asked_for(
    open_port: OpenPort, there: list[dict[str, Any]], words: str, removed: list[str]
) -> None:
    made, script = desk(open_port, *there)
    (told,) = await made.wrong(Ask())
    assert told.startswith(f"{URL}: {words}")
    assert script.of("createEndpoint") == []
    (finding,) = await made.ensure(Ask(), apply=True)
    assert finding.mended
    assert SECRET in finding.what
    assert [one.path for one in script.of("deleteEndpoint")] == removed
    assert script.of("createEndpoint")[0].body == {"url": URL, "events": list(EVENTS)}


async def test_an_endpoint_whose_secret_is_lost_is_made_anew_with_another(open_port: OpenPort) -> None:
    """It is shown once: who lost it, or whose answer was lost, would be told of nothing for ever."""
    made, script = desk(open_port, endpoint("whe_1"), provable=False)
    (told,) = await made.wrong(Ask())
    assert "webhook_secret" in told
    assert {one.operation for one in script.asked} == {"getShop", "listEndpoints"}
    (finding,) = await made.ensure(Ask(), apply=True)
    assert (finding.mended, SECRET in finding.what) == (True, True)
    assert [one.path for one in script.of("deleteEndpoint")] == ["/webhook-endpoints/whe_1"]


async def test_what_the_shop_really_sends_is_proven_and_understood(port: RestPort, sandbox: Sandbox) -> None:
    came: asyncio.Queue[Delivery] = asyncio.Queue()

    async def receive(request: web.BaseRequest) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        await came.put(Delivery(headers, await request.read(), datetime.now(UTC)))
        return web.Response(status=204)

    async with RawTestServer(receive) as server:
        ours = Desk(port.client, port.offers, str(server.make_url("/webhooks/rest/shop")), True)
        (made,) = await ours.ensure(Ask(), apply=True)
        secret = re.search(r"whsec_\S+(?=;)", made.what)
        assert secret is not None
        webhook = RestWebhook(CHANNEL.id, (secret_bytes(secret[0]),))
        sku = (await sandbox.get("world", limit=1))["skus"][0]["sku"]
        await sandbox.post("buy", lines=[{"sku": sku, "quantity": 1, "location": "Berlin"}])
        async with asyncio.timeout(20):
            told = [await came.get(), await came.get()]
        assert all(webhook.expected(one.headers) and webhook.proven(one) for one in told)
        assert not any(WEBHOOK.proven(one) for one in told), "another secret proves nothing"
        hints = [one for delivered in told for one in webhook.understood(delivered)]
        assert {one.kind for one in hints if isinstance(one, Hint)} == {HintKind.ORDER, HintKind.STOCK}
        assert await ours.wrong(Ask()) == []
        for one in answered(_Endpoints, await port.client.call(LIST_ENDPOINTS, Ask())).data:
            await port.client.call(DELETE_ENDPOINT, Ask(), at={"id": one.id})
        assert len(await ours.wrong(Ask())) == 1
