"""GraphQL over HTTP: negotiation, strict bodies, masked errors, bills, deadlines, clients that leave."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from gateway.settings import Settings
from tests.gateway import sample
from tests.gateway.conftest import DEADLINES, Gateway, served, until

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"


async def test_a_query_is_answered(gateway: Gateway) -> None:
    answer = await gateway.ask('{ hello(name: "ACORN") who price }', "read")
    assert answer.status_code == 200
    assert answer.json() == {"data": {"hello": "Hello ACORN", "who": "read", "price": "19.90"}}
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", JSON),
        ("", JSON),
        (JSON, JSON),
        (GRAPHQL, GRAPHQL),
        (f"{GRAPHQL}, {JSON};q=0.9", GRAPHQL),
        (f"{GRAPHQL};q=0.1, {JSON};q=0.9", JSON),
        # What a widely used client sends with every query; it cannot read a stream here.
        (f"{GRAPHQL}, application/graphql+json, {JSON}, text/event-stream, multipart/mixed", GRAPHQL),
        (f"{JSON}, text/event-stream", JSON),
        (f"text/event-stream;q=0.5, {JSON}", JSON),
        ("text/event-stream", "text/event-stream"),
        (f"text/event-stream, {JSON}", "text/event-stream"),
    ],
)
async def test_the_form_is_the_one_liked_best(gateway: Gateway, accept: str, form: str) -> None:
    answer = await gateway.ask("{ hello }", "read", accept=accept)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{form}; charset=utf-8"
    if form == "text/event-stream":
        assert answer.text == 'event: next\ndata: {"data":{"hello":"Hello world"}}\n\nevent: complete\ndata:\n\n'


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("query ($n: String!) { hello(name: $n) }", {"n": "a\0b"}, "BAD_REQUEST"),
        ("query ($n: [String!]!) { stock(skus: $n) { name } }", {"n": ["a", "\0"]}, "BAD_REQUEST"),
        ('{ hello(name: "\0") }', None, "BAD_REQUEST"),
        (r'{ hello(name: "\u0000") }', None, "GRAPHQL_VALIDATION_FAILED"),
        (r'{ hello(name: "x\u{000}") }', None, "GRAPHQL_VALIDATION_FAILED"),
        (r'{ stock(skus: ["a", "b\u0000"]) { name } }', None, "GRAPHQL_VALIDATION_FAILED"),
    ],
)
async def test_a_nul_goes_no_further(gateway: Gateway, query: str, variables: Any, code: str) -> None:
    answer = await gateway.ask(query, "read", variables=variables, accept=GRAPHQL)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (400, code)
    sound = await gateway.ask(r'{ hello(name: "a\\u0000") }', "read")
    assert sound.json() == {"data": {"hello": r"Hello a\u0000"}}


async def test_nothing_acceptable_is_said(gateway: Gateway) -> None:
    answer = await gateway.ask("{ hello }", "read", accept="text/html")
    assert answer.status_code == 406
    assert answer.json()["errors"][0]["extensions"]["code"] == "NOT_ACCEPTABLE"


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ hello", None, "GRAPHQL_PARSE_FAILED"),
        ("{ hallo }", None, "GRAPHQL_VALIDATION_FAILED"),
        ("query ($n: Int!) { count(number: $n) }", {}, "BAD_USER_INPUT"),
        ("query ($n: Int!) { count(number: $n) }", {"n": 3_000_000_000}, "BAD_USER_INPUT"),
        ("{ branches(first: 101) { totalCount } }", None, "LIMIT_EXCEEDED"),
    ],
)
async def test_a_refused_operation_is_a_400_only_for_who_takes_that(
    gateway: Gateway, query: str, variables: dict[str, Any] | None, code: str
) -> None:
    strict = await gateway.ask(query, "read", variables=variables, accept=GRAPHQL)
    old = await gateway.ask(query, "read", variables=variables, accept=JSON)
    assert (strict.status_code, old.status_code) == (400, 200)
    for answer in (strict, old):
        assert "data" not in answer.json()
        assert [one["extensions"]["code"] for one in answer.json()["errors"]] == [code]


async def test_only_the_first_mistake_is_told_and_no_name_is_suggested(gateway: Gateway) -> None:
    answer = await gateway.ask("{ hallo helo whoo }", "read")
    assert [one["message"] for one in answer.json()["errors"]] == ["Cannot query field 'hallo' on type 'Query'."]


BODIES = [
    b"",
    b"[]",
    b"[1, 2]",
    b'[{"query": "{ hello }"}]',
    b"7",
    b"null",
    b'"{ hello }"',
    b"NaN",
    b'{"query": "{ hello }", "variables": {"n": NaN}}',
    b'{"query": "{ hello }", "query": "{ who }"}',
    b'{"query": "{ hello }", "variables": {"n": 1, "n": 2}}',
    b'\xef\xbb\xbf{"query": "{ hello }"}',
    '{"query": "{ hello }"}'.encode("utf-16"),
    b'{"query": "{ hello }\xff"}',
    b'{"query": "{ hello }", "variables": {"n": "\\ud800"}}',
    b'{"query": "{ hello }", "variables": {"n": 99999999999999999999}}',
    b'{"query": "{ hello }", "variables": {"n": 1e999}}',
    b'{"query": "{ hello }", "variables": {"n": ' + b"9" * 5000 + b"}}",
    b'{"query": "{ hello }", "variables": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"query": "{ hello }", "variables": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    b'{"query": "{ hello }", "variables": ' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
    b'{"query": "{ hello }", "variables": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}",
    b'{"query": "{ hello }", "variables": {"x": ' + b"[" * 600 + b'"\\u0000"' + b"]" * 600 + b"}}",
    b'{"query": 5}',
    b'{"query": ""}',
    b"{}",
    b'{"query": "{ hello }", "variables": []}',
    b'{"query": "{ hello }", "operationName": 5}',
    b'{"query": "{ hello }", "extensions": "x"}',
    b'{"query": "{ hello }"',
]


@pytest.mark.parametrize("body", BODIES, ids=[repr(body[:50]) for body in BODIES])
async def test_a_body_that_is_not_one_sound_object_is_a_400_in_graphql_json(gateway: Gateway, body: bytes) -> None:
    answer = await gateway.http.post("/graphql", content=body, headers=await gateway.headers("read"))
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"


async def test_what_nests_within_reason_is_answered(gateway: Gateway) -> None:
    body = b'{"query": "{ stock(skus: [\\"A\\"]) { name } }", "variables": {"x": ' + b"[" * 90 + b"]" * 90 + b"}}"
    for _ in range(3):  # compiled, and where answers are kept
        answer = await gateway.http.post("/graphql", content=body, headers=await gateway.headers("read"))
        assert answer.json() == {"data": {"stock": [{"name": "A"}]}}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_what_a_form_can_send_is_refused(gateway: Gateway, kind: str) -> None:
    headers = {**await gateway.headers("read"), "content-type": kind}
    answer = await gateway.http.post("/graphql", content=b'{"query": "{ hello }"}', headers=headers)
    assert answer.status_code == 415
    assert answer.json()["errors"][0]["extensions"]["code"] == "UNSUPPORTED_MEDIA_TYPE"


async def test_what_is_compressed_is_refused_with_what_would_be_read(gateway: Gateway) -> None:
    body = json.dumps({"query": "{ hello }"}).encode()
    headers = await gateway.headers("read")
    packed = await gateway.http.post(
        "/graphql", content=gzip.compress(body), headers={**headers, "content-encoding": "gzip"}
    )
    assert (packed.status_code, packed.headers["accept-encoding"]) == (415, "identity")
    plain = await gateway.http.post("/graphql", content=body, headers={**headers, "content-encoding": "identity"})
    assert plain.json() == {"data": {"hello": "Hello world"}}


async def test_a_large_body_is_refused_with_and_without_its_length(gateway: Gateway) -> None:
    body = json.dumps({"query": "{ hello }", "variables": {"pad": "x" * 100 * 1024}}).encode()

    async def parts() -> Any:
        for start in range(0, len(body), 8192):
            yield body[start : start + 8192]

    told = await gateway.http.post("/graphql", content=body, headers=await gateway.headers("read"))
    untold = await gateway.http.post("/graphql", content=parts(), headers=await gateway.headers("read"))
    assert (told.status_code, untold.status_code) == (413, 413)
    assert (await gateway.ask("{ hello }", "read", variables={"pad": "x" * 90 * 1024})).status_code == 200


async def test_a_mistake_of_ours_is_masked_and_found_in_the_log_by_its_id(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await gateway.ask("{ broken hello }", "read", x_request_id="my-id-1")
    assert answer.headers["x-request-id"] == "my-id-1"
    assert answer.json()["data"] == {"broken": None, "hello": "Hello world"}
    [error] = answer.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL", "requestId": "my-id-1"}
    assert (error["path"], "canary" in answer.text) == (["broken"], False)
    [record] = [one for one in caplog.records if one.msg == "graphql.failed"]
    assert record.exc_info is not None
    assert (record.__dict__["request_id"], "canary" in str(record.exc_info[1])) == ("my-id-1", True)


async def test_errors_of_the_house_tell_what_to_do(gateway: Gateway) -> None:
    answer = await gateway.ask("{ refused throttled }", "read")
    told = {error["path"][0]: (error["message"], error["extensions"]) for error in answer.json()["errors"]}
    assert told == {
        "refused": (
            "The carrier is unknown.",
            {"code": "INVALID", "field": ["carrier"], "upstreamRequestId": "amzn-1", "upstreamCode": "E7"},
        ),
        "throttled": ("No slot.", {"code": "THROTTLED", "retryAfterMs": 2500}),
    }


async def test_a_failure_that_blanks_the_answer_was_still_executed(gateway: Gateway) -> None:
    answer = await gateway.ask("{ strict }", "read", accept=GRAPHQL)
    assert answer.status_code == 200
    assert answer.json()["data"] is None
    assert answer.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_failures_beside_the_data_are_told_with_their_path(gateway: Gateway) -> None:
    answer = await gateway.ask("{ partial }", "read")
    assert answer.json() == {
        "data": {"partial": "the rest"},
        "errors": [
            {"message": "One of them is gone.", "extensions": {"code": "NOT_FOUND"}, "path": ["partial", 0]},
        ],
    }


async def test_the_bill_is_answered_on_request_only(gateway: Gateway) -> None:
    told = await gateway.ask("{ costly }", "read", x_acorn_bill="1")
    assert told.json()["data"] == {"costly": "paid"}
    assert told.json()["extensions"]["bill"] == {
        "upstreamCalls": 3,
        "waitedMs": 250,
        "byOperation": [{"channel": "shop", "operation": "inventoryItems", "calls": 3, "tokens": 42.5, "coalesced": 7}],
    }
    assert (await gateway.ask("{ costly }", "read")).json() == {"data": {"costly": "paid"}}
    nothing = {"upstreamCalls": 0, "waitedMs": 0, "byOperation": []}
    for query in ("{ hello }", "{ hallo }"):
        assert (await gateway.ask(query, "read", x_acorn_bill="1")).json()["extensions"]["bill"] == nothing


async def test_a_mad_request_id_is_replaced(gateway: Gateway) -> None:
    for mad in ("a b", "x" * 65, "\"';--"):
        answer = await gateway.ask("{ hello }", "read", x_request_id=mad)
        assert answer.headers["x-request-id"] != mad
        assert len(answer.headers["x-request-id"]) == 32


async def test_the_deadline_is_the_clients_within_bounds(gateway: Gateway) -> None:
    asked: list[tuple[dict[str, Any], int]] = [({}, 10), ({"x_acorn_deadline_ms": "25000"}, 25)]
    for headers, given in asked:
        began = time.monotonic()
        left = (await gateway.ask("{ leftS }", "read", **headers)).json()["data"]["leftS"]
        assert given - (time.monotonic() - began) <= left <= given
    for mad in ("30001", "0", "-5", "ten", "1e3", "000000001" + "0" * 400, "1" * 5000):
        assert (await gateway.ask("{ leftS }", "read", x_acorn_deadline_ms=mad)).status_code == 400


async def test_an_answer_that_takes_too_long_is_given_up(gateway: Gateway) -> None:
    sample.STEPS.clear()
    for deadline in DEADLINES:
        answer = await gateway.ask("{ slow(seconds: 3600) }", "read", x_acorn_deadline_ms=deadline)
        assert answer.json()["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED"
        if sample.STEPS:
            break
    assert sample.STEPS == ["began", "cancelled"]


async def test_a_client_that_leaves_cancels_its_request(gateway: Gateway) -> None:
    sample.STEPS.clear()
    asked = asyncio.create_task(gateway.ask("{ slow(seconds: 20) }", "read"))
    await until(lambda: sample.STEPS == ["began"])
    asked.cancel()
    await until(lambda: sample.STEPS == ["began", "cancelled"])
    assert (await gateway.ask("{ hello }", "read")).status_code == 200


async def test_many_clients_that_leave_leave_no_task_behind(gateway: Gateway) -> None:
    sample.STEPS.clear()
    before = len(asyncio.all_tasks())
    asked = [asyncio.create_task(gateway.ask("{ slow(seconds: 20) }", "read")) for _ in range(90)]
    await until(lambda: sample.STEPS.count("began") == 90)
    for one in asked:
        one.cancel()
    await until(lambda: sample.STEPS.count("cancelled") == 90)
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_page_of_another_origin_may_not_ask(gateway: Gateway) -> None:
    foreign = await gateway.ask("{ hello }", "read", origin="https://evil.example")
    own = await gateway.ask("{ hello }", "read", origin=gateway.url)
    assert (foreign.status_code, own.status_code) == (403, 200)
    assert "access-control-allow-origin" not in foreign.headers


async def test_an_allowed_origin_may(settings: Settings) -> None:
    async with served(settings.model_copy(update={"allowed_origins": ("https://dash.example",)})) as gateway:
        before = await gateway.http.request(
            "OPTIONS", "/graphql", headers={"origin": "https://dash.example", "access-control-request-method": "POST"}
        )
        assert before.status_code == 204
        assert before.headers["access-control-allow-origin"] == "https://dash.example"
        assert "authorization" in before.headers["access-control-allow-headers"]
        answer = await gateway.ask("{ hello }", "read", origin="https://dash.example")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://dash.example")
        foreign = await gateway.http.request("OPTIONS", "/graphql", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
