"""What a collector is told: operations, the levels of their plans and upstream calls, each with what it belongs to."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags
from websockets.asyncio.client import connect

from adapters.route import Routed
from adapters.transport import Call, Made, NothingSent, Transport
from benchmarks.whole import Whole, whole_house
from domain.budget import Plan, Purse
from domain.ids import ChannelId
from domain.route import Route, Step, Way, choose
from gateway import settings as settings_module
from gateway import wiring
from gateway.execution import Run
from gateway.front import ELSE, TRACE
from gateway.settings import Settings, SettingsError, read_settings
from gateway.tracing import Silent, Span, Tracing
from tests.gateway.conftest import Gateway, until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT.removesuffix("01") + "00"


class Told:
    """The spans that were told, as a collector would have them."""

    def __init__(self, share: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), share)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> ReadableSpan:
        [found] = [span for span in self.spans if span.name == name]
        return found


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    assert span.context is not None
    assert of.context is not None
    return (
        span.parent is not None
        and span.parent.span_id == of.context.span_id
        and span.context.trace_id == of.context.trace_id
        and (of.start_time or 0) <= (span.start_time or 0)
    )


@pytest.fixture
def told(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the gateway tells from here on, until the test ends."""
    return tell(gateway, monkeypatch, Told())


def tell(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, told: Told) -> Told:
    """The gateway tells it from here on, as if it had started so."""
    monkeypatch.setattr(gateway.app._executor, "tracing", told.tracing)
    monkeypatch.setattr(gateway.app._front, "_else", ELSE | TRACE)
    return told


async def test_an_operation_is_told_with_who_asked_for_what(gateway: Gateway, told: Told) -> None:
    query = "query Greeting { hello who }"
    answer = await gateway.ask(query, "read", x_request_id="mine-1")
    span = told.one("query Greeting")
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "graphql.operation.type": "query",
        "graphql.operation.name": "Greeting",
        "acorn.document": hashlib.sha256(query.encode()).hexdigest(),
        "acorn.caller": "read",
        "acorn.request_id": "mine-1",
        "acorn.points": attributes(span)["acorn.points"],
        "acorn.transport": "http",
        "acorn.upstream_calls": 0,
        "acorn.waited_ms": 0,
    }
    assert answer.json()["data"]["who"] == "read"
    assert 0 < (span.end_time or 0) - (span.start_time or 0) < 60e9


async def test_a_level_is_told_once_whatever_number_of_fields_and_objects_it_has(gateway: Gateway, told: Told) -> None:
    query = "query Deep { branches(first: 3) { nodes { name child { name child { name } } } } hello price }"
    for _ in range(3):
        told.exporter.clear()
        assert "errors" not in (await gateway.ask(query, "read")).json()
    operation, first = told.one("query Deep"), told.one("level 1")
    assert is_child(first, operation)
    fields = attributes(first)["graphql.fields"].split(", ")
    assert {"Query.branches"} <= {*fields} <= {"Query.branches", "Query.hello", "Query.price"}
    levels = [span for span in told.spans if span.name.startswith("level ")]
    assert len(levels) == len({span.name for span in levels}) <= 4
    assert len(told.spans) == 1 + len(levels)


async def test_a_trace_that_a_client_has_begun_is_continued(gateway: Gateway, told: Told) -> None:
    await gateway.ask("query Mine { hello }", "read", traceparent=PARENT)
    span = told.one("query Mine")
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]


async def test_the_next_on_a_connection_belongs_to_no_trace_that_one_before_it_had(
    gateway: Gateway, told: Told
) -> None:
    for _ in range(3):  # the last of these are understood at once
        await gateway.ask("query Mine { hello }", "read")
    await gateway.ask("query Mine { hello }", "read", traceparent=PARENT)
    await gateway.ask("query Mine { hello }", "read")
    assert [span.parent is None for span in told.spans if span.name == "query Mine"] == [True] * 3 + [False, True]


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT + "-more"])
async def test_what_is_no_trace_is_passed_over(gateway: Gateway, told: Told, traceparent: str) -> None:
    answer = await gateway.ask("query Mine { hello }", "read", traceparent=traceparent)
    assert answer.json() == {"data": {"hello": "Hello world"}}
    assert told.one("query Mine").parent is None


async def test_a_client_that_keeps_its_trace_to_itself_is_not_told_of(gateway: Gateway, told: Told) -> None:
    await gateway.ask("query Mine { hello branches(first: 1) { totalCount } }", "read", traceparent=UNSAMPLED)
    assert told.spans == ()


async def test_what_fails_is_told_with_its_code_and_nothing_of_its_words(gateway: Gateway, told: Told) -> None:
    for field, code in (("refused", "INVALID"), ("broken", "INTERNAL")):
        told.exporter.clear()
        await gateway.ask(f"query Wrong {{ {field} }}", "read")
        span = told.one("query Wrong")
        assert span.status.status_code is StatusCode.ERROR
        assert (span.status.description, attributes(span)["error.type"]) == (None, code)
        assert span.events == ()


async def test_what_is_refused_before_it_runs_is_no_operation(gateway: Gateway, told: Told) -> None:
    for query in ("{ nothing }", "mutation { ship }"):
        await gateway.ask(query, "read")
    assert told.spans == ()


async def test_a_subscription_is_one_span_that_ends_with_it(gateway: Gateway, told: Told) -> None:
    headers = await gateway.headers("read", accept="text/event-stream")
    body = {"query": "subscription Count { counted(to: 3) }"}
    answer = await gateway.http.post("/graphql", json=body, headers=headers)
    assert answer.text.count("event: next") == 3
    await until(lambda: "subscription Count" in told.names())
    span = told.one("subscription Count")
    assert attributes(span)["acorn.upstream_calls"] == 0
    assert all(is_child(one, span) for one in told.spans if one.name == "level 1")


async def test_operations_of_a_socket_continue_the_trace_of_its_handshake(gateway: Gateway, told: Told) -> None:
    headers = {"authorization": f"Bearer {await gateway.key('read')}", "traceparent": PARENT}
    async with connect(gateway.ws_url, subprotocols=["graphql-transport-ws"], additional_headers=headers) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init"}))
        await socket.recv()
        for id, name in (("1", "One"), ("2", "Two")):
            payload = {"query": f"query {name} {{ hello }}"}
            await socket.send(json.dumps({"type": "subscribe", "id": id, "payload": payload}))
            while json.loads(await socket.recv())["type"] != "complete":
                pass
    for name in ("query One", "query Two"):
        span = told.one(name)
        assert span.context is not None
        assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
        assert attributes(span)["acorn.transport"] == "websocket"


async def test_the_share_decides_by_the_trace(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = tell(gateway, monkeypatch, Told(share=0.5))
    for _ in range(60):
        await gateway.ask("query Some { hello }", "read")
    count = seen.names().count("query Some")
    assert 5 < count < 55
    none = tell(gateway, monkeypatch, Told(share=0.0))
    await gateway.ask("query Some { hello }", "read")
    assert none.spans == ()
    await gateway.ask("query Some { hello }", "read", traceparent=PARENT)
    assert "query Some" in none.names()


async def test_every_span_can_be_sent(gateway: Gateway, told: Told) -> None:
    await gateway.ask("query Sent { hello branches(first: 1) { totalCount } }", "read", traceparent=PARENT)
    told.tracing.upstream(Made(Call("shop", "login"), "POST", "shop.example", 0.5, None, None, "ConnectError"))
    [resource] = encode_spans(told.spans).resource_spans
    [scope] = resource.scope_spans
    assert {one.name for one in scope.spans} >= {"query Sent", "login"}
    assert 'string_value: "acorn-gateway"' in str(resource.resource)


async def test_a_call_is_told_without_its_address_and_the_platform_hears_nothing_of_the_trace() -> None:
    told, seen = Told(), []

    def platform(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(429, headers={"x-request-id": "theirs"})

    transport = Transport(wire=httpx.MockTransport(platform), watch=told.tracing.upstream)
    url = "https://api.example/orders?buyer=secret@example.com"
    await transport.send(
        "GET", url, write=False, headers={"x-token": "secret"}, call=Call("shop", "orders", waited_s=1.5)
    )
    await transport.send("GET", url, write=False)
    span = told.one("orders")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span) == {
        "acorn.channel": "shop",
        "acorn.operation": "orders",
        "acorn.waited_ms": 1500,
        "http.request.method": "GET",
        "server.address": "api.example",
        "http.response.status_code": 429,
        "acorn.upstream_request_id": "theirs",
    }
    assert "secret" not in span.to_json()
    assert [{name for name in request.headers if "trace" in name} for request in seen] == [set(), set()]
    await transport.close()


async def test_a_call_that_got_no_answer_is_told_with_why() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("secret")

    told = Told()
    transport = Transport(wire=httpx.MockTransport(away), watch=told.tracing.upstream)
    with pytest.raises(NothingSent):
        await transport.send("GET", "https://api.example/", write=False, call=Call("shop", "orders"))
    span = told.one("orders")
    assert span.parent is None
    assert attributes(span)["error.type"] == "ConnectError"
    assert "secret" not in span.to_json()
    await transport.close()


@pytest.fixture
async def whole(
    new_database: Callable[[], str], redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Whole, Told]]:
    """The whole house, and what all of it tells."""
    made = Told()
    monkeypatch.setattr(wiring, "tracing_of", lambda settings: made.tracing)
    async with whole_house(new_database(), redis_url, tmp_path, products=5, orders=0) as house:
        yield house, made


async def test_a_read_shows_which_calls_it_waited_for(whole: tuple[Whole, Told]) -> None:
    house, told = whole
    # What was loaded at the start belongs to no operation.
    assert {"getInventorySummaries", "login"} <= set(told.names())
    assert not any(span.parent for span in told.spans)
    [product, *_] = (await house.data("{ products(first: 5) { nodes { sku } } }"))["products"]["nodes"]
    for _ in range(2):  # by graphql-core, then compiled
        told.exporter.clear()
        answer = await house.ask(
            'query Live($skus: [String!]!) { stock(skus: $skus, maxAge: "PT0S") { sku freshness } }',
            bill=True,
            skus=[product["sku"]],
        )
        calls = [span for span in told.spans if span.kind is SpanKind.CLIENT]
        operation = told.one("query Live")
        assert calls
        assert len(calls) == answer["extensions"]["bill"]["upstreamCalls"]
        assert attributes(operation)["acorn.upstream_calls"] == len(calls)
        assert {span.context.trace_id for span in told.spans if span.context} == {
            operation.context.trace_id if operation.context else 0
        }
        assert {(one["channel"], one["operation"]) for one in answer["extensions"]["bill"]["byOperation"]} == {
            (attributes(span)["acorn.channel"], attributes(span)["acorn.operation"]) for span in calls
        }
    assert all(is_child(span, told.one("level 1")) for span in calls)
    assert {name for name in told.names() if name.startswith("level ")} == {"level 1"}, "a rehearsal is not told"


async def test_a_trace_goes_on_where_others_are_answered_again_from_memory(whole: tuple[Whole, Told]) -> None:
    house, told = whole
    [product, *_] = (await house.data("{ products(first: 5) { nodes { sku } } }"))["products"]["nodes"]
    body = {"query": "query Again($skus: [String!]!) { stock(skus: $skus) { sku } }"}
    body |= {"variables": {"skus": [product["sku"]]}}  # type: ignore[dict-item]

    async def ask(**headers: str) -> None:
        sent = {"authorization": f"Bearer {house.admin}", **headers}
        assert "errors" not in (await house.http.post("/graphql", json=body, headers=sent)).json()

    async def unseen() -> bool:
        told.exporter.clear()
        await ask()
        return "query Again" not in told.names()

    async with asyncio.timeout(30):
        while not await unseen():
            pass
    await ask(traceparent=PARENT)
    span = told.one("query Again")
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]


def read(monkeypatch: pytest.MonkeyPatch, **given: str) -> Settings:
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://acorn@localhost/acorn")
    monkeypatch.setenv("ACORN_REDIS_URL", "redis://localhost")
    for name, value in given.items():
        monkeypatch.setenv(f"ACORN_{name}", value)
    return read_settings(env_file=None)


def test_without_being_asked_for_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wiring.tracing_of(read(monkeypatch)) is None


async def test_a_collector_that_is_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, TRACING="otlp", TRACING_ENDPOINT="http://127.0.0.1:9/", TRACING_SHARE="0.25")
    assert (settings.tracing_endpoint, settings.tracing_share) == ("http://127.0.0.1:9", 0.25)
    made = wiring.tracing_of(settings)
    assert made is not None
    await made.close()
    gc.collect()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"TRACING": "jaeger"}, "ACORN_TRACING "),
        ({"TRACING": "otlp", "TRACING_ENDPOINT": "localhost:4318"}, "ACORN_TRACING_ENDPOINT"),
        ({"TRACING_SHARE": "2"}, "ACORN_TRACING_SHARE"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        read(monkeypatch, **given)


def test_what_is_not_installed_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_module, "TRACING_NEEDS", ("opentelemetry.nothing",))
    with pytest.raises(SettingsError, match=r"acorn-gateway\[tracing\]"):
        read(monkeypatch, TRACING="otlp")
    assert read(monkeypatch, TRACING="off").tracing == "off"


def routed() -> Routed:
    plan = Plan("readStock", 2, 2)
    routes = [Route(Way.BATCH, (Step(plan, 5),)), Route(Way.PAGES, (Step(plan, 9),), whole=True)]
    choice = choose(routes, {"readStock": Purse(2, 2, 2)})
    return Routed(ChannelId("amazon-us"), ("fba-us",), 250, 450, choice)


def test_a_route_is_told_by_the_span_of_what_asked_for_it() -> None:
    told = Told()
    context = SpanContext(1, 2, False, TraceFlags(TraceFlags.SAMPLED))
    with Span(told.tracing, "level 1", SpanKind.INTERNAL, context, None, {"acorn.depth": 1}):
        told.tracing.routed(routed())
    assert told.names() == ["level 1"]
    found = attributes(told.one("level 1"))
    assert (found["acorn.depth"], found["acorn.route.way"], found["acorn.route.calls"]) == (1, "batch", 5)
    assert found["acorn.route.candidates"] == [
        "batch: 5 calls, 1.5 s",
        "pages: 9 calls, 3.5 s (slower: 3.5 s against 1.5 s)",
    ]
    assert encode_spans(told.spans).resource_spans


def test_a_workers_route_stands_alone_and_one_of_what_is_not_told_is_not_told() -> None:
    told = Told()
    told.tracing.routed(routed())
    assert attributes(told.one("route"))["acorn.channel"] == "amazon-us"
    with Silent():
        told.tracing.routed(routed())
    assert told.names() == ["route"]


async def test_an_operation_that_is_not_told_of_hides_its_own_calls_and_no_others() -> None:
    told = Told(share=0.0)
    run = cast(Run, None)  # of one that is not told of, nothing is looked at
    call = Made(Call("shop", "login"), "POST", "shop.example", 0.5, 200, None, None)
    listening = Told()
    assert told.tracing.operation(run) is None
    listening.tracing.upstream(call)
    assert listening.spans == ()
    listening.tracing.arrived({"type": "http", "headers": []})
    listening.tracing.upstream(call)
    assert listening.names() == ["login"]
