"""Answers in parts: what `@defer` leaves for later."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from graphql import parse, print_ast

from domain.errors import HouseError, NotFound
from gateway.incremental import Wire, _Teller, whole
from gateway.limits import LIMITS
from schema.root import schema as public_schema
from tests.gateway import sample
from tests.gateway.conftest import DEADLINES, Gateway, until

TODAY = "multipart/mixed;incrementalSpec=v0.2, application/graphql-response+json, application/json;q=0.9"
OF_2022 = "multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json;q=0.9"
SLOW = '{ hello ... @defer(label: "later") { slow(seconds: 0.1) } }'


@asynccontextmanager
async def parts(
    gateway: Gateway, query: str, variables: dict[str, Any] | None = None, *, accept: str = TODAY, **headers: str
) -> AsyncIterator[AsyncIterator[Any]]:
    """The parts, each as soon as a client may take it for complete."""
    async with gateway.http.stream(
        "POST",
        "/graphql",
        json={"query": query, "variables": variables},
        headers=await gateway.headers("read", accept=accept, **headers),
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith('multipart/mixed;boundary="graphql";')
        yield _parts(answer)


async def _parts(answer: httpx.Response) -> AsyncIterator[Any]:
    boundary = b"\r\n--graphql"
    read, preamble, ended = b"", True, False
    async for some in answer.aiter_bytes():
        read += some
        while boundary in read:
            part, _, read = read.partition(boundary)
            if not preamble:
                head, _, body = part.partition(b"\r\n\r\n")
                assert head.strip() == b"content-type: application/json; charset=utf-8"
                yield json.loads(body)
            preamble = False
        ended = read == b"--\r\n"
    assert ended


async def all_parts(gateway: Gateway, query: str, **more: Any) -> list[Any]:
    async with parts(gateway, query, **more) as found:
        return [one async for one in found]


async def test_what_is_slow_comes_later_under_its_id(gateway: Gateway) -> None:
    assert await all_parts(gateway, SLOW) == [
        {"data": {"hello": "Hello world"}, "pending": [{"id": "0", "path": [], "label": "later"}], "hasNext": True},
        {"incremental": [{"id": "0", "data": {"slow": "done"}}], "completed": [{"id": "0"}], "hasNext": False},
    ]


async def test_clients_of_2022_read_paths_and_labels(gateway: Gateway) -> None:
    assert await all_parts(gateway, SLOW, accept=OF_2022) == [
        {"data": {"hello": "Hello world"}, "hasNext": True},
        {"incremental": [{"path": [], "data": {"slow": "done"}, "label": "later"}], "hasNext": False},
    ]


async def test_the_first_part_does_not_wait_for_the_slow_one(gateway: Gateway) -> None:
    sample.STEPS.clear()
    async with parts(gateway, "{ hello ... @defer { slow(seconds: 3600) } }") as found:
        assert (await anext(found))["data"] == {"hello": "Hello world"}
        await until(lambda: sample.STEPS == ["began"])
    await until(lambda: sample.STEPS == ["began", "cancelled"])


async def test_each_object_of_a_list_has_a_part_of_its_own(gateway: Gateway) -> None:
    query = "{ branches(first: 2) { nodes { name ... @defer { child { name } } } } }"
    first, *rest = await all_parts(gateway, query)
    paths = [["branches", "nodes", place] for place in (0, 1)]
    assert [one["path"] for one in first["pending"]] == paths
    assert [one["data"] for part in rest for one in part.get("incremental", [])] == [{"child": {"name": "child"}}] * 2
    first, *rest = await all_parts(gateway, query, accept=OF_2022)
    assert [one["path"] for part in rest for one in part["incremental"]] == paths


@pytest.mark.parametrize("accept", [TODAY, OF_2022])
async def test_what_fails_fails_in_its_part(gateway: Gateway, accept: str) -> None:
    """A field that may be null, one that may not, and a problem that blanks nothing."""
    for query, code, path in [
        ("{ hello ... @defer { refused } }", "INVALID", ["refused"]),
        ("{ hello ... @defer { strict } }", "NOT_FOUND", ["strict"]),
        ("{ hello ... @defer { partial } }", "NOT_FOUND", ["partial", 0]),
    ]:
        first, last = await all_parts(gateway, query, accept=accept)
        assert "errors" not in first
        assert last["hasNext"] is False
        told = [one for one in (*last.get("incremental", []), *last.get("completed", [])) if "errors" in one]
        [error] = told[0]["errors"]
        assert (error["extensions"]["code"], error["path"]) == (code, path)
        if accept == OF_2022:
            assert (told[0]["path"], told[0]["data"]) == ([], None if "strict" in query else told[0]["data"])


async def test_mistakes_of_ours_are_masked_in_parts_too(gateway: Gateway) -> None:
    _, last = await all_parts(gateway, "{ hello ... @defer { broken } }")
    [error] = last["incremental"][0]["errors"]
    assert error["extensions"]["code"] == "INTERNAL"
    assert "canary" not in json.dumps(last)


async def test_what_cannot_be_written_ends_the_answer(gateway: Gateway) -> None:
    _, last = await all_parts(gateway, "{ hello ... @defer { torn } }")
    assert (last["hasNext"], last["errors"][0]["extensions"]["code"]) == (False, "INTERNAL")


@pytest.mark.parametrize("accept", [TODAY, OF_2022])
async def test_a_part_that_is_not_ready_at_the_deadline_ends_with_an_error(
    gateway: Gateway, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.execution.GRACE_S", 0.05)
    query = '{ hello ... @defer(label: "b") { slow(seconds: 3600) } }'
    for deadline in DEADLINES:
        sample.STEPS.clear()
        first, *rest = await all_parts(gateway, query, accept=accept, x_acorn_deadline_ms=deadline)
        if rest and sample.STEPS:
            break
    assert first["data"] == {"hello": "Hello world"}
    [last] = rest
    if accept == TODAY:
        [ended] = last["completed"]
        assert ended["id"] == "0"
    else:
        [ended] = last["incremental"]
        assert (ended["path"], ended["label"], ended["data"]) == ([], "b", None)
    assert [one["extensions"]["code"] for one in ended["errors"]] == ["DEADLINE_EXCEEDED"]
    assert last["hasNext"] is False
    await until(lambda: sample.STEPS == ["began", "cancelled"])


async def test_an_answer_that_has_nothing_at_its_deadline_says_so(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.execution.GRACE_S", 0.05)
    query = "{ slow(seconds: 3600) ... @defer { hello } }"
    [only] = await all_parts(gateway, query, x_acorn_deadline_ms="100")
    assert (only["data"], only["hasNext"]) == (None, False)
    assert only["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED"


async def test_the_bill_comes_last(gateway: Gateway) -> None:
    first, last = await all_parts(gateway, "{ hello ... @defer { costly } }", x_acorn_bill="1")
    assert "extensions" not in first
    assert last["extensions"]["bill"]["upstreamCalls"] == 3


@pytest.mark.parametrize(
    "accept",
    ["application/json", "application/graphql-response+json, multipart/mixed;q=0", "multipart/mixed;deferSpec=9, */*"],
)
async def test_whoever_takes_no_parts_gets_all_at_once(gateway: Gateway, accept: str) -> None:
    answer = await gateway.ask(SLOW, "read", accept=accept)
    assert answer.json() == {"data": {"hello": "Hello world", "slow": "done"}}


async def test_parts_are_taken_wherever_they_are_listed(gateway: Gateway) -> None:
    accept = "application/graphql-response+json, application/json, text/event-stream, multipart/mixed"
    first, _ = await all_parts(gateway, SLOW, accept=accept)
    assert [one["id"] for one in first["pending"]] == ["0"]
    plain = await gateway.ask("{ hello }", "read", accept=accept)
    assert plain.headers["content-type"].startswith("application/graphql-response+json")


async def test_nothing_is_deferred_where_the_query_says_so(gateway: Gateway) -> None:
    query = "query ($later: Boolean!) { hello ... @defer(if: $later) { who } }"
    [only] = await all_parts(gateway, query, variables={"later": False})
    assert only == {"data": {"hello": "Hello world", "who": "read"}, "hasNext": False}
    first, _ = await all_parts(gateway, query, variables={"later": True})
    assert first["data"] == {"hello": "Hello world"}


async def test_variables_that_cannot_be_read_are_refused_without_data(gateway: Gateway) -> None:
    [only] = await all_parts(gateway, "query ($n: Int!) { hello ... @defer { count(number: $n) } }")
    assert "data" not in only
    assert (only["hasNext"], only["errors"][0]["extensions"]["code"]) == (False, "BAD_USER_INPUT")


async def test_what_is_refused_before_it_runs_is_no_answer_in_parts(gateway: Gateway) -> None:
    for query, code in [
        ("{ hello ... @defer { hallo } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ hello ... @defer { __schema { types { name } } } }", "FORBIDDEN"),
        ("subscription { ... @defer { counted(to: 1) } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ branches { nodes @stream { name } } }", "GRAPHQL_VALIDATION_FAILED"),
    ]:
        answer = await gateway.ask(query, "read", accept=OF_2022)
        assert answer.headers["content-type"].startswith("application/graphql-response+json")
        assert answer.status_code in (400, 403)
        assert answer.json()["errors"][0]["extensions"]["code"] == code


async def test_what_is_deferred_is_measured_like_all_else(gateway: Gateway) -> None:
    many = " ".join("... @defer { hello }" for _ in range(LIMITS.deferred))
    for query in (f"{{ {many} ... @defer {{ hello }} }}", f"{{ ...A ...A }} fragment A on Query {{ {many} }}"):
        refused = await gateway.ask(query, "read", accept=TODAY)
        assert refused.json()["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED"
    assert (await all_parts(gateway, f"{{ {many} }}"))[0]["hasNext"] is True
    plans: Any = gateway.app._plans
    costs = [
        plans.of(query, None).bounds.cost({}, LIMITS)
        for query in (
            "{ branches(first: 7) { nodes { child { name } } } }",
            "{ branches(first: 7) { nodes { ... @defer { child { name } } } } }",
        )
    ]
    assert costs[0] == costs[1] > 7


async def test_over_events_and_sockets_the_answer_is_whole(gateway: Gateway) -> None:
    answer = await gateway.ask(SLOW, "read", accept="text/event-stream")
    assert answer.text.startswith('event: next\ndata: {"data":{"hello":"Hello world","slow":"done"}}\n\n')


def put_together(frames: list[Any], wire: str) -> Any:
    """What a client has when all parts are there."""
    data, pending = frames[0]["data"], {}
    for frame in frames:
        pending.update({one["id"]: one["path"] for one in frame.get("pending", [])})
        for part in frame.get("incremental", []):
            path = part["path"] if wire == OF_2022 else pending[part["id"]] + part.get("subPath", [])
            place = data
            for step in path:
                place = place[step]
            merge(place, part["data"])
        for part in frame.get("completed", []):
            del pending[part["id"]]
    assert pending == {}
    return data


def merge(into: Any, more: Any) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            for mine, other in zip(into[key], value, strict=True):
                merge(mine, other)
        else:
            into[key] = value


@pytest.mark.parametrize("accept", [TODAY, OF_2022])
@pytest.mark.parametrize(
    "query",
    [
        '{ ... @defer(label: "a") { hello ... @defer(label: "b") { slow(seconds: 0.05) ... @defer { who } } } }',
        "{ hello ... @defer { hello who } ... @defer { who slow(seconds: 0.05) } }",
        '{ branches(first: 3) { nodes { name ...A @defer(label: "a") } } } fragment A on Leaf { child { ...B @defer } name } '
        "fragment B on Leaf { name again: child { name } }",
        "{ branches(first: 2) { ... @defer { totalCount nodes { name } } nodes { child { name } ... @defer { name } } } }",
        "query ($no: Boolean = false) { a: hello ... @defer { ... @include(if: $no) { b: who } c: hello @skip(if: $no) } }",
    ],
)
async def test_the_parts_together_are_the_whole_answer(gateway: Gateway, query: str, accept: str) -> None:
    told = await all_parts(gateway, query, accept=accept)
    assert len(told) > 1
    assert put_together(told, accept) == (await gateway.ask(query, "read")).json()["data"]


async def test_a_subscription_is_never_deferred(fresh: Gateway) -> None:
    await fresh.tell("A")
    query = """subscription ($later: Boolean!) {
        follow(subject: "A", after: "0") { cursor ... @defer(if: $later) { subject } } }"""
    accept = "multipart/mixed;subscriptionSpec=1.0, multipart/mixed;incrementalSpec=v0.2"
    async with parts(fresh, query, {"later": True}, accept=accept) as found:
        assert await anext(found) == {"payload": {"data": {"follow": {"cursor": "1", "subject": "A"}}}}
    deferring = 'subscription { follow(subject: "A") { cursor ... @defer { subject } } }'
    refused = await fresh.ask(deferring, "read", accept="text/event-stream")
    assert "GRAPHQL_VALIDATION_FAILED" in refused.text


async def test_a_stopping_gateway_ends_the_parts(fresh: Gateway) -> None:
    async with parts(fresh, "{ hello ... @defer { slow(seconds: 3600) } }", x_acorn_deadline_ms="30000") as found:
        assert (await anext(found))["hasNext"] is True
        fresh.server.should_exit = True
        last = [one async for one in found]
    assert [(one["hasNext"], one["errors"][0]["extensions"]["code"]) for one in last] == [(False, "RESUME")]


async def test_a_deferred_operation_is_compiled_where_it_is_answered_whole(gateway: Gateway) -> None:
    query = "{ who ... @defer { hello } }"
    for _ in range(3):
        assert (await gateway.ask(query, "read")).json()["data"] == {"who": "read", "hello": "Hello world"}
    plans: Any = gateway.app._plans
    assert plans.of(query, None).compiled is not None


def test_a_document_is_made_whole_only_where_it_defers() -> None:
    plain = parse("{ a @include(if: true) { b } }")
    assert whole(plain) is plain
    deferring = parse('{ ...A @defer(label: "x") ... @defer @skip(if: false) { b } } fragment A on Q { c }')
    assert print_ast(whole(deferring)) == print_ast(parse("{ ...A ... @skip(if: false) { b } } fragment A on Q { c }"))


class Counted(str):
    """A key that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)


def test_problems_are_told_once_each_and_parted_in_one_pass() -> None:
    found: list[tuple[list[str | int], HouseError]] = [
        ([Counted("stock"), number], NotFound("gone")) for number in range(2_000)
    ]
    context = SimpleNamespace(problems=found + [([Counted("other"), 0], NotFound("gone"))] * 2, request_id="1")
    teller = _Teller(context, Wire.TODAY)  # type: ignore[arg-type]
    paths: list[list[str | int]] = [["stock", 7], ["stock"], ["stock"], ["stock", 7, "name"], [], []]
    told = [len(teller._problems(path)) for path in paths]
    assert told == [1, 1_999, 0, 0, 2, 0]
    assert 0 < Counted.compared < 10_000


def test_the_public_schema_offers_defer_and_no_stream() -> None:
    names = {one.name for one in public_schema._schema.directives}
    assert "defer" in names
    assert "stream" not in names
