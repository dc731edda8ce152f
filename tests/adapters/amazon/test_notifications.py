"""Subscriptions are made, repaired and left alone, and what goes over the wire is what Amazon publishes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from adapters.amazon.notifications import SCOPE, VERSIONS, Bus, Desk, Queue, arn_of, wanted
from adapters.amazon.platform import AmazonPort
from adapters.notices import Finding
from adapters.wire import Wire
from domain.budget import Ask
from domain.errors import Invalid, Refused
from tests.adapters.amazon import bench
from tests.adapters.amazon.bench import Line, Sandbox, make_config, make_desk
from tests.contracts.spapi import FOLDER, examples, published, request_faults

ARN = "arn:aws:sqs:us-east-1:444455556666:acorn"
QUEUE, BUS = Queue(ARN), Bus("444455556666", "us-east-1")
TYPES = ("ORDER_CHANGE", "FBA_INVENTORY_AVAILABILITY_CHANGES", "LISTINGS_ITEM_STATUS_CHANGE")


class Raw(Wire):
    """An answer as it is."""

    payload: dict[str, Any] = {}  # noqa: RUF012  pydantic's


def _client(port: object) -> Any:
    assert isinstance(port, AmazonPort)
    return port.client


def _desk(on: bench.Desk, *types: str, queue: Queue | None = QUEUE, bus: Bus | None = BUS) -> Desk:
    return Desk(_client(on.port), wanted(types, queue, bus))


class Requests(httpx.AsyncBaseTransport):
    """The wire to a sandbox, which holds every request against Amazon's model."""

    def __init__(self) -> None:
        self._wire = httpx.AsyncHTTPTransport()
        self.made: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/notifications"):
            self.made.append(f"{request.method} {request.url.path.split('/')[3]}")
            if FOLDER is not None:
                assert request_faults(request) == [], request.content
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        await self._wire.aclose()


@pytest.fixture(scope="module")
async def own() -> AsyncIterator[Sandbox]:
    """A sandbox that nobody else subscribes at."""
    started = Sandbox("--products", "20", "--orders", "0", "--lag", "0")
    names = ("getDestinations", "createDestination", "deleteDestination", "getSubscriptions")
    await started.generous(*names, "getSubscription", "createSubscription", "deleteSubscriptionById")
    yield started
    await started.close()


@pytest.fixture
async def at(own: Sandbox, redis: Redis) -> AsyncIterator[Callable[[str], tuple[bench.Desk, Requests]]]:
    """Opens an account of a region there: (its desk, the requests it made)."""
    opened: list[bench.Desk] = []

    def one(region: str) -> tuple[bench.Desk, Requests]:
        wire = Requests()
        opened.append(make_desk(redis, make_config(region, own.url), wire))
        return opened[-1], wire

    yield one
    for each in opened:
        await each.close()


def _told(findings: list[Finding]) -> list[tuple[str, str | None, bool]]:
    return [(one.what.split()[0], one.wrong, one.mended) for one in findings]


async def test_what_is_missing_is_shown_then_made_then_left_alone(
    at: Callable[[str], tuple[bench.Desk, Requests]],
) -> None:
    on, wire = at("na")
    desk = _desk(on, *TYPES)
    missing = [("destination", "there is none")] * 2 + [(one, "it is not subscribed") for one in TYPES]
    assert _told(await desk.ensure(Ask(), apply=False)) == [(*one, False) for one in missing]
    assert [one for one in wire.made if not one.startswith("GET")] == []
    assert len(await desk.wrong(Ask())) == 5
    assert _told(await desk.ensure(Ask(), apply=True)) == [(*one, True) for one in missing]
    wire.made.clear()
    # Whoever comes anew finds all as it should be.
    again = _desk(on, *TYPES)
    assert await again.wrong(Ask()) == []
    assert _told(await again.ensure(Ask(), apply=True)) == [(one, None, False) for one, _ in missing]
    assert [one for one in wire.made if not one.startswith("GET")] == []


async def test_a_second_account_shares_the_destinations(at: Callable[[str], tuple[bench.Desk, Requests]]) -> None:
    first, _ = at("na")
    await _desk(first, *TYPES).ensure(Ask(), apply=True)
    on, wire = at("fe")
    findings = _told(await _desk(on, "ORDER_CHANGE", bus=None).ensure(Ask(), apply=True))
    assert findings == [("destination", None, False), ("ORDER_CHANGE", "it is not subscribed", True)]
    assert "POST destinations" not in wire.made


async def test_what_goes_elsewhere_or_is_filtered_otherwise_is_repaired(
    at: Callable[[str], tuple[bench.Desk, Requests]],
) -> None:
    on, _ = at("eu")
    old = Queue(f"{ARN}-old")
    await _desk(on, "ORDER_CHANGE", "ANY_OFFER_CHANGED", queue=old).ensure(Ask(), apply=True)
    moved = _desk(on, "ORDER_CHANGE", "ANY_OFFER_CHANGED", queue=QUEUE)
    assert [one for one in await moved.wrong(Ask()) if "ORDER" in one or "OFFER" in one] == [
        "ORDER_CHANGE: it goes somewhere else",
        "ANY_OFFER_CHANGED: it goes somewhere else",
    ]
    assert [one.mended for one in await moved.ensure(Ask(), apply=True) if one.what in VERSIONS] == [True, True]
    assert await moved.wrong(Ask()) == []
    client = _client(on.port)
    path = "/notifications/v1/subscriptions/ANY_OFFER_CHANGED"
    there = await client.get_with_id("getSubscription", path, {}, Ask(), Raw)
    kept = there[0].payload["processingDirective"]["eventFilter"]["aggregationSettings"]
    assert kept == {"aggregationTimePeriod": "FiveMinutes"}
    ended = f"{path}/{there[0].payload['subscriptionId']}"
    await client.change("deleteSubscriptionById", "DELETE", ended, Ask(), bench.go, Raw, scope=SCOPE)
    plain = {"payloadVersion": "1.0", "destinationId": there[0].payload["destinationId"]}
    await client.change("createSubscription", "POST", path, Ask(), bench.go, Raw, body=plain)
    assert await moved.wrong(Ask()) == ["ANY_OFFER_CHANGED: it is filtered or aggregated otherwise"]
    assert [one.mended for one in await moved.ensure(Ask(), apply=True)][-1]
    assert await moved.wrong(Ask()) == []


async def test_who_was_slower_takes_what_the_other_made(desk: bench.Desk, line: Line) -> None:
    place = {"destinationId": "d-1", "name": "x", "resource": {"sqs": {"arn": ARN}}}
    mine = {"subscriptionId": "s-1", "payloadVersion": "1.0", "destinationId": "d-1"}
    conflict = httpx.Response(409, json={"errors": [{"code": "Conflict", "message": "exists"}]})
    missing = httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "none"}]})
    line.answers.extend(
        [
            httpx.Response(200, json={"payload": []}),
            conflict,
            httpx.Response(200, json={"payload": [place]}),
            missing,
            conflict,
            httpx.Response(200, json={"payload": mine}),
        ]
    )
    findings = await _desk(desk, "ORDER_CHANGE").ensure(Ask(), apply=True)
    assert [one.mended for one in findings] == [True, True]
    made = [f"{one.method} {one.url.path.rsplit('/', 1)[1]}" for one in line.calls]
    assert made == ["GET destinations", "POST destinations", "GET destinations"] + [
        f"{method} ORDER_CHANGE" for method in ("GET", "POST", "GET")
    ]
    # Without a seller for what is the application's, with the seller's token for what is the seller's.
    assert [one["grant_type"] for one in line.logins] == [["client_credentials"], ["refresh_token"]]
    assert line.logins[0]["scope"] == [SCOPE]


async def test_a_refused_subscription_is_told_by_its_type(desk: bench.Desk, line: Line) -> None:
    place = {"destinationId": "d-1", "name": "x", "resource": {"sqs": {"arn": ARN}}}
    line.answers.extend(
        [
            httpx.Response(200, json={"payload": [place]}),
            httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "none"}]}),
            httpx.Response(400, json={"errors": [{"code": "InvalidInput", "message": "no role"}]}),
        ]
    )
    with pytest.raises(Refused, match="ORDER_CHANGE cannot be subscribed"):
        await _desk(desk, "ORDER_CHANGE").ensure(Ask(), apply=True)


@published
async def test_amazons_own_examples_are_understood(desk: bench.Desk, line: Line) -> None:
    (_, places), (_, one) = examples("getDestinations")[0], examples("getSubscription")[0]
    place = places["payload"][0]
    queue = Queue(place["resource"]["sqs"]["arn"])
    line.answers.extend([httpx.Response(200, json=places), httpx.Response(200, json=one)])
    findings = await _desk(desk, "ORDER_CHANGE", queue=queue).ensure(Ask(), apply=False)
    assert [one.wrong for one in findings] == [None, "it goes somewhere else"]
    for operation, status in (("createDestination", 200), ("createSubscription", 200), ("deleteSubscriptionById", 200)):
        assert examples(operation, status), operation
    line.answers.clear()
    (_, made), (_, subscribed) = examples("createDestination")[0], examples("createSubscription")[0]
    none = httpx.Response(404, json={"errors": [{"code": "NotFound", "message": "none"}]})
    empty = httpx.Response(200, json={"payload": []})
    line.answers.extend([empty, httpx.Response(200, json=made), none, httpx.Response(200, json=subscribed)])
    assert all(one.mended for one in await _desk(desk, "ORDER_CHANGE", queue=queue).ensure(Ask(), apply=True))
    sent = json.loads(line.calls[-1].content)
    assert sent == {"payloadVersion": "1.0", "destinationId": made["payload"]["destinationId"]}


def test_types_go_where_amazon_sends_them() -> None:
    both = wanted((), QUEUE, BUS)
    assert both.place("ORDER_CHANGE") == QUEUE
    assert both.place("LISTINGS_ITEM_ISSUES_CHANGE") == BUS
    assert "ANY_OFFER_CHANGED" not in both.types
    assert set(wanted((), QUEUE, None).types) < set(both.types)
    with pytest.raises(Invalid, match="ORDER_STATUS_CHANGE is no notification"):
        wanted(("ORDER_STATUS_CHANGE",), QUEUE, BUS)
    with pytest.raises(Invalid, match="sent to an event bus, and none is set up"):
        wanted(("LISTINGS_ITEM_STATUS_CHANGE",), QUEUE, None)


def test_the_arn_of_a_queue_is_in_its_address() -> None:
    assert (
        arn_of("https://sqs.eu-west-1.amazonaws.com/444455556666/acorn") == "arn:aws:sqs:eu-west-1:444455556666:acorn"
    )
    for address in ("http://localhost:9324/queue/acorn", "https://sqs.eu-west-1.amazonaws.com/acorn", "acorn"):
        with pytest.raises(Invalid):
            arn_of(address)
    with pytest.raises(Invalid, match="FIFO"):
        arn_of("https://sqs.eu-west-1.amazonaws.com/444455556666/acorn.fifo")
