"""What operations cost: what is requested, what was used, and what a key without a budget for it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from domain.budget import Bill
from domain.freshness import Freshness
from domain.ids import ChannelId, Sku
from domain.stock import Stock, Term
from gateway.auth import hash_secret, new_secret
from gateway.charge import Charge
from gateway.execution import Run
from gateway.explain import explained
from gateway.limits import Limits
from gateway.plan import Plans
from gateway.quota import Budget, Quotas
from resolvers.context import Caller
from resolvers.forecast import READS, Expected
from resolvers.stock_answer import StockAnswer
from schema.root import schema as public_schema
from schema.scalars import NATIVES
from schema.scopes import ALL, SCOPES
from store import api_key
from store.tables import metadata
from tests.gateway import sample
from tests.gateway.conftest import Gateway, early, served, settings_of

ADMIN = Caller("admin", ALL)
JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
SIXTY_ONE = "query ($yes: Boolean!) { branches(first: 60) @include(if: $yes) { nodes { name } } }"

plans = Plans(sample.schema._schema, sample.SCOPES, Limits(aliases=1_000, fields=5_000), compile_at=1)
public_plans = Plans(public_schema._schema, SCOPES)


def leaves(depth: int) -> st.SearchStrategy[str]:
    """Selections on a leaf."""
    fields = st.sampled_from(["name", "__typename", "secret", "n: name"])
    if depth:
        below = leaves(depth - 1)
        fields = fields | below.map(lambda one: f"child {one}") | below.map(lambda one: f"c: child {one}")
        fields = fields | st.tuples(below, st.booleans()).map(
            lambda one: f"d: child @skip(if: {str(one[1]).lower()}) {one[0]}"
        )
        fields = (
            fields
            | below.map(lambda one: f"... on Leaf {one}")
            | below.map(lambda one: f"... @include(if: $yes) {one}")
        )
    return st.lists(fields, min_size=1, max_size=4).map(lambda some: "{ __typename " + " ".join(some) + " }")


ROOTS = st.one_of(
    st.just("hello"),
    st.tuples(st.integers(0, 4), leaves(2)).map(
        lambda one: f"branches(first: {one[0]}) {{ totalCount nodes {one[1]} }}"
    ),
    leaves(2).map(lambda one: f"stock(skus: $skus) {one}"),
    leaves(2).map(lambda one: f'stock(skus: ["{{\\"name\\":", "b"]) {one}'),
)
OPERATIONS = st.lists(ROOTS, min_size=1, max_size=3).map(
    lambda some: (
        "query ($skus: [String!]!, $yes: Boolean!) { hello "
        + " ".join(f"r{place}: {one}" for place, one in enumerate(some))
        + " who: hello @include(if: $yes) stock(skus: $skus) { name } }"
    )
)


def objects(value: Any) -> int:
    """The objects in it, each of which costs a point in this contract."""
    if isinstance(value, list):
        return sum(objects(one) for one in value)
    return 1 + sum(objects(one) for one in value.values()) if isinstance(value, dict) else 0


@settings(max_examples=100, deadline=None)
@given(OPERATIONS, st.lists(st.sampled_from(["a", '{"name":', '"totalCount":']), max_size=4), st.booleans())
async def test_what_is_requested_is_never_below_what_is_used(query: str, skus: list[str], yes: bool) -> None:
    variables = {"skus": skus, "yes": yes}
    plan = plans.of(query, None)
    requested = plan.admit(ADMIN, variables)
    assert plan.compiled is not None
    body = (await plan.compiled.run(variables)).encode()
    used = objects(orjson.loads(body)["data"]) - 1
    assert plan.bounds.meter.points(body) == used <= requested
    assert plan.bounds.meter.points(body, failed=True) == used
    assert sum(points for _, points in plan.bounds.cost_by_root(variables).values()) == requested


@pytest.mark.parametrize(
    ("query", "data", "points"),
    [
        (
            "{ products(first: 2) { totalCount nodes { sku unitCost { amount } } pageInfo { hasNextPage } } }",
            {
                "products": {
                    "totalCount": 2,
                    "nodes": [{"sku": "a", "unitCost": {"amount": "1"}}, {"sku": "b", "unitCost": None}],
                    "pageInfo": {"hasNextPage": False},
                }
            },
            1 + 5 + 2,
        ),
        (
            "mutation { confirmShipments(input: {shipments: []}) { operation { id } userErrors { message } } }",
            {"confirmShipments": {"operation": {"id": "Operation:1"}, "userErrors": [{"message": "no"}]}},
            10 + 1,
        ),
        (
            '{ node(id: "Product:a") { id ... on Product { listings { status } } ... on Order { lines { sku } } } }',
            {"node": {"id": "Product:a", "listings": [{"status": "x"}, {"status": "y"}]}},
            1 + 2,
        ),
        ('{ node(id: "Product:a") { id } }', {"node": None}, 0),
        ('{ stock(skus: ["a", "b", "c"]) { sku } }', {"stock": [None, {"sku": "b"}, None]}, 3),
        ('{ stock(skus: ["a", "b"]) { sku freshness } }', {"stock": [{"sku": "a", "freshness": None}, None]}, 2),
        ("{ channels { name } budgets { operation } }", None, 0),
        # Two objects that begin alike and cost differently.
        (
            '{ stock(skus: ["a"]) { levels { location { name } } } channels { name } }',
            {"stock": [{"levels": [{"location": {"name": "x"}}] * 2}], "channels": [{"name": "c"}]},
            1 + 2 + 1,
        ),
    ],
)
def test_prices_are_those_of_the_request(query: str, data: Any, points: int) -> None:
    plan = public_plans.of(query, None)
    body = orjson.dumps({"data": data})
    assert plan.bounds.meter.points(body) == points == plan.bounds.meter.points(body, failed=True)
    with_bill = orjson.dumps(
        {"data": data, "extensions": {"bill": {"upstreamCalls": 0, "byOperation": [{"channel": "c"}]}}}
    )
    assert plan.bounds.meter.points(with_bill) == points


@pytest.mark.parametrize(
    ("query", "unseen"),
    [
        ("{ products(first: 100) { pageInfo { hasNextPage } } }", True),
        ("{ products(first: 100) { totalCount } }", True),
        ("{ products(first: 100) { nodes { sku } } }", False),
        ('{ stock(skus: ["a"]) { sku } }', False),
    ],
)
def test_rows_that_are_read_and_not_selected_are_known(query: str, unseen: bool) -> None:
    assert public_plans.of(query, None).bounds.unseen is unseen


async def test_of_a_page_that_was_read_and_not_shown_nothing_is_given_back(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read", points=100)
    for query, left in (
        ("{ branches(first: 60) { totalCount } }", 39),
        ("{ branches(first: 2) { nodes { name } } }", 36),
    ):
        answered = await ask(secret, query)
        assert answered.headers["ratelimit"].startswith(f'"points";r={left};t=')


async def test_objects_that_were_written_before_cost_the_same_again() -> None:
    query = '{ stock(skus: ["a", "b"]) { sku levels { onHand } explanation { label } } }'
    plan = Plans(public_schema._schema, SCOPES, natives=NATIVES, compile_at=1).of(query, None)
    assert plan.compiled is not None
    known = Stock(Sku("a"), 0, 0, 0, 0, 0, None, Freshness.FRESH, [], [Term("x", 1, "y", None)] * 3)
    known.written = {}

    async def by_skus(*_: object) -> list[StockAnswer | None]:
        return [StockAnswer(known, True)] * 2

    context = SimpleNamespace(shelf=None, ask=None, problems=[], basis=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resolvers.stock.at_hand", lambda *_: None)
        patch.setattr("resolvers.stock.by_skus", by_skus)
        results = [await plan.compiled.run({}, context) for _ in range(3)]
        known.written = None
        unwritten = await plan.compiled.run({}, context)
    assert plan.bounds.meter.points(results[0].encode()) == 8
    assert [plan.bounds.meter.again(one.answer) for one in results] == [8, 8, 8]
    assert plan.bounds.meter.again(unwritten.answer) is None


def test_every_root_field_says_where_it_reads() -> None:
    types = [
        public_schema._schema.query_type,
        public_schema._schema.mutation_type,
        public_schema._schema.subscription_type,
    ]
    roots = {f"{one.name}.{field}" for one in types if one is not None for field in one.fields}
    assert roots <= READS.keys()
    assert {table for tables in READS.values() for table in tables} <= metadata.tables.keys()


async def key(gateway: Gateway, *scopes: str, points: int | None = None) -> str:
    """A new key of a name of its own, with a budget of which no new minute begins while it is looked at."""
    await early()
    secret = new_secret()
    async with gateway.store.begin() as tx:
        await api_key.create(
            tx, uuid4().hex, f"key-{uuid4().hex}", hash_secret(secret), scopes, None, points_per_minute=points
        )
    return secret


Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask(gateway: Gateway) -> Ask:
    async def ask(secret: str, query: str, *, explain: bool = False, accept: str = JSON, **variables: Any) -> Any:
        body = {"query": query, "variables": variables, **({"extensions": {"explain": True}} if explain else {})}
        headers = {"authorization": f"Bearer {secret}", "accept": accept, "x-acorn-bill": "1"}
        return await gateway.http.post("/graphql", json=body, headers=headers)

    return ask


async def test_the_bill_tells_what_was_requested_and_what_was_used(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read")
    told = (await ask(secret, SIXTY_ONE, yes=True)).json()["extensions"]
    assert told["cost"] == {
        "requested": {"points": 61, "upstreamCalls": 0},
        "actual": {"points": 61, "upstreamCalls": 0},
    }
    assert told["bill"]["upstreamCalls"] == 0
    told = (await ask(secret, SIXTY_ONE, yes=False)).json()["extensions"]
    assert (told["cost"]["requested"]["points"], told["cost"]["actual"]["points"]) == (61, 0)
    costly = (await ask(secret, "{ costly }")).json()["extensions"]["cost"]
    assert costly["actual"] == {"points": 0, "upstreamCalls": 3}


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
async def test_a_key_that_cannot_afford_it_is_told_so_before_anything_runs(
    gateway: Gateway, ask: Ask, accept: str
) -> None:
    secret = await key(gateway, "read", "ship", points=100)
    assert (await ask(secret, SIXTY_ONE, yes=True)).status_code == 200
    refused = await ask(secret, SIXTY_ONE, yes=True, accept=accept)
    assert refused.status_code == 429
    assert refused.headers["content-type"].startswith(accept)
    told = refused.json()
    assert "data" not in told
    extensions = told["errors"][0]["extensions"]
    assert {name: extensions[name] for name in ("code", "unit", "cost", "left", "limit")} == {
        "code": "BUDGET_EXHAUSTED",
        "unit": "points",
        "cost": 61,
        "left": 39,
        "limit": 100,
    }
    assert 0 < extensions["retryAfterMs"] <= 60_000
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["ratelimit-policy"].startswith('"points";q=100;w=60')
    assert refused.headers["ratelimit"].startswith('"points";r=39;t=')
    assert (await ask(await key(gateway, "read", points=100), SIXTY_ONE, yes=True)).status_code == 200


async def test_what_is_above_the_whole_budget_need_not_be_tried_again(gateway: Gateway, ask: Ask) -> None:
    refused = await ask(await key(gateway, "read", points=60), SIXTY_ONE, yes=True)
    assert refused.status_code == 429
    assert "retryAfterMs" not in refused.json()["errors"][0]["extensions"]
    assert "retry-after" not in refused.headers


async def test_what_was_requested_and_not_used_is_given_back(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read", points=100)
    for _ in range(5):
        answered = await ask(secret, SIXTY_ONE, yes=False)
        assert answered.status_code == 200
        assert answered.headers["ratelimit"].startswith('"points";r=100;t=')
    assert (await ask(secret, SIXTY_ONE, yes=True)).headers["ratelimit"].startswith('"points";r=39;t=')


@pytest.mark.parametrize(
    ("query", "status"),
    [("{ hello }", 200), ("{ nothing }", 400), ("{ hello", 400), ("{ strict }", 200), ("mutation { ship }", 403)],
)
async def test_every_answer_to_a_key_tells_its_budget(gateway: Gateway, ask: Ask, query: str, status: int) -> None:
    answered = await ask(await key(gateway, "read", points=100), query, accept=GRAPHQL)
    assert answered.status_code == status
    assert answered.headers["ratelimit"].startswith('"points";r=100;t=')


def long(word: str, letters: int = 400) -> str:
    """A document that nobody has sent before."""
    return f"query Q{uuid4().hex} {{ {word} }}".ljust(letters)


@pytest.mark.parametrize(
    ("word", "status"), [("hello", 200), ("nothing", 400), ("hello {", 400), ("refused secret: ship", 400)]
)
async def test_a_long_document_is_paid_for_when_it_is_new_and_also_when_it_is_refused(
    gateway: Gateway, ask: Ask, word: str, status: int
) -> None:
    secret, query = await key(gateway, "read", points=1_000), long(word)
    left = [(await ask(secret, query, accept=GRAPHQL)).headers["ratelimit"].split(";")[1] for _ in range(3)]
    assert left == (["r=900"] * 3 if status == 200 else ["r=900", "r=800", "r=700"])
    assert (await ask(secret, query, accept=GRAPHQL)).status_code == status
    explained = await ask(secret, long("hello"), explain=True)
    assert explained.headers["ratelimit"].startswith(f'"points";r={800 if status == 200 else 500};')


async def test_a_key_without_points_for_a_new_document_is_told_so_before_it_is_read(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, known = await key(gateway, "read", points=150), long("hello")
    assert (await ask(secret, known)).json()["data"] == {"hello": "Hello world"}
    with monkeypatch.context() as patch:
        patch.setattr("gateway.plan.parse", None)
        refused = await ask(secret, long("nothing"))
    told = refused.json()["errors"][0]["extensions"]
    assert (refused.status_code, told["code"], told["cost"], told["left"]) == (429, "BUDGET_EXHAUSTED", 100, 50)
    assert (await ask(secret, known)).status_code == 200
    assert (await ask(secret, "{ hello }")).status_code == 200


async def test_a_document_that_is_dearer_than_a_minute_takes_the_whole_minute(gateway: Gateway, ask: Ask) -> None:
    secret, query = await key(gateway, "read", points=50), long("hello", 4_000)
    assert (await ask(secret, query)).headers["ratelimit"].startswith('"points";r=0;')
    assert (await ask(secret, query)).status_code == 200


async def test_a_run_that_is_left_is_settled(gateway: Gateway) -> None:
    left: list[bool] = []

    class Noted(Charge):
        def settle_calls(self, bill: Bill, *, leaving: bool = False) -> None:
            left.append(leaving)

    quotas = gateway.app._quotas
    for seconds, settled in ((60, [True]), (0, [False])):
        left.clear()
        run = Run(
            plans.of(f"{{ slow(seconds: {seconds}) }}", None), {}, ADMIN, "1", 10.0, charge=Noted(quotas, ADMIN, 0)
        )
        asking = asyncio.create_task(gateway.app._executor.once(run))
        if seconds:
            await asyncio.sleep(0)  # it begins, and waits
            asking.cancel()
        await asyncio.wait({asking})
        assert left == settled


async def test_who_has_no_key_has_no_budget(gateway: Gateway, ask: Ask) -> None:
    answered = await ask("acorn_nobody", "{ hello }")
    assert answered.status_code == 401
    assert "ratelimit" not in answered.headers


async def test_keys_without_a_limit_hear_nothing_of_one(
    new_database: Callable[[], str], redis_url: str, tmp_path: Path
) -> None:
    free = settings_of(new_database(), redis_url, tmp_path, key_points_per_minute=0, key_calls_per_minute=0)
    async with served(free) as gateway:
        answered = await gateway.ask("{ hello }")
    assert answered.json() == {"data": {"hello": "Hello world"}}
    assert "ratelimit" not in answered.headers
    assert "ratelimit-policy" not in answered.headers


async def test_an_explanation_runs_nothing_and_says_what_it_would_cost(gateway: Gateway, ask: Ask) -> None:
    sample.STEPS.clear()
    secret = await key(gateway, "read", "ship", points=100)
    told = (await ask(secret, "mutation { ship }", explain=True)).json()
    assert sample.STEPS == []
    assert (told.keys(), told["data"]) == ({"data", "extensions"}, None)
    explained = told["extensions"]["explain"]
    assert (explained["kind"], explained["points"], explained["upstreamCalls"]) == ("mutation", 0, 0)
    assert explained["scopes"] == [{"field": "Mutation.ship", "anyOf": ["admin", "ship"], "held": True}]
    assert (await ask(secret, "mutation { ship }")).json()["data"] == {"ship": "shipped"}
    assert sample.STEPS == ["shipped"]


async def test_an_explanation_names_each_root_field_and_what_is_left(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read", points=100)
    query = "query ($n: Int!) { a: branches(first: $n) { nodes { name } } hello }"
    explained = (await ask(secret, query, explain=True, n=200 - 101)).json()["extensions"]["explain"]
    assert [(one["name"], one["field"], one["points"]) for one in explained["fields"]] == [
        ("a", "Query.branches", 100),
        ("hello", "Query.hello", 0),
    ]
    assert explained["affordable"] is True
    assert explained["budget"]["points"]["left"] == 100
    assert (explained["compiled"], explained["notCompiled"]) == (True, None)
    assert (await ask(secret, SIXTY_ONE, yes=True)).status_code == 200
    explained = (await ask(secret, query, explain=True, n=99)).json()["extensions"]["explain"]
    assert (explained["affordable"], explained["budget"]["points"]["left"]) == (False, 39)


async def test_an_explanation_needs_no_scope_and_says_which_are_missing(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "ship")
    explained = (await ask(secret, '{ stock(skus: ["a"]) { name } }', explain=True)).json()["extensions"]["explain"]
    assert explained["scopes"] == [{"field": "Query.stock", "anyOf": ["admin", "read"], "held": False}]
    assert (explained["points"], explained["upstreamCalls"]) == (1, None)


@pytest.mark.parametrize(("scope", "inside"), [("stock:read", False), ("stock:write", True), ("admin", True)])
def test_what_budgets_hold_is_told_to_who_may_read_them(scope: str, inside: bool) -> None:
    caller = Caller("key", frozenset({scope}))
    plan = public_plans.of('{ stock(skus: ["a"], maxAge: "PT0S") { sku } }', None)
    charge = Charge(Quotas(SimpleNamespace(register_script=str), Budget(100, 10)), caller, 1)  # type: ignore[arg-type]
    calls = [Expected(ChannelId("shop"), "nodes", 2, 17.0, 2.0, 0.0, 0.1)]
    told = explained(public_schema._schema, plan, {}, charge, calls)
    [operation], [field] = told["byOperation"], told["fields"]
    assert (operation["channel"], operation["calls"], operation["takesMs"]) == ("shop", 2, 100)
    assert (told["upstreamCalls"], told["takesMs"]) == (2, 100)
    assert {"tokens", "tokensPerSecond"} <= operation.keys() if inside else "tokens" not in str(operation)
    assert ("reads" in field) is inside


async def test_what_would_be_refused_is_refused_when_explained(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read")
    told = (await ask(secret, "{ branches(first: 101) { totalCount } }", explain=True)).json()
    assert told["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
    told = (await ask(secret, "{ nothing }", explain=True)).json()
    assert told["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_what_is_left_to_graphql_core_says_why(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "admin")
    query = "{ __schema { queryType { name } } }"
    explained = (await ask(secret, query, explain=True)).json()["extensions"]["explain"]
    assert (explained["points"], explained["compiled"], explained["notCompiled"]) == (100, False, "introspection")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.explain.compile", None)  # it is found out once
        again = (await ask(secret, query, explain=True)).json()["extensions"]["explain"]
    assert again["notCompiled"] == "introspection"


async def test_an_explanation_comes_as_an_event_to_who_wants_events(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read")
    told = await ask(secret, "subscription { counted(to: 3) }", explain=True, accept="text/event-stream")
    events = [line.removeprefix("data: ") for line in told.text.splitlines() if line.startswith("data: ")]
    [event] = [json.loads(one) for one in events if one]
    assert (event["data"], event["extensions"]["explain"]["kind"]) == (None, "subscription")


async def test_an_explanation_comes_over_a_websocket(gateway: Gateway) -> None:
    sample.STEPS.clear()
    secret = await key(gateway, "ship")
    async with connect(gateway.ws_url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {secret}"}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": "mutation { ship }", "extensions": {"explain": True}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        told = json.loads(await socket.recv())
        assert (told["type"], told["payload"].keys()) == ("next", {"data", "extensions"})
        assert json.loads(await socket.recv())["type"] == "complete"
    assert sample.STEPS == []


async def test_a_websocket_pays_from_the_same_budget(gateway: Gateway, ask: Ask) -> None:
    secret = await key(gateway, "read", points=100)
    assert (await ask(secret, SIXTY_ONE, yes=True)).status_code == 200
    async with connect(gateway.ws_url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
        await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {secret}"}}))
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": SIXTY_ONE, "variables": {"yes": True}}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        told = json.loads(await socket.recv())
        assert told["type"] == "error"
        assert told["payload"][0]["extensions"]["code"] == "BUDGET_EXHAUSTED"
