"""GraphQL over HTTP to the letter: what the specification's own audits ask for, and what they do not."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from graphql import OperationType

from gateway.accept import Form, chosen_form, wants_page
from gateway.body import BadRequest, Request, parse_parameters
from tests.gateway import sample
from tests.gateway.conftest import Gateway

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
STREAM = "text/event-stream"
BOTH = pytest.mark.parametrize("accept", [GRAPHQL, JSON])
TYPE = "query Type($name: String!) { __type(name: $name) { name } }"


async def post(gateway: Gateway, body: Any, accept: str | None = None, **headers: str) -> httpx.Response:
    more = {} if accept is None else {"accept": accept}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = gateway.http.build_request(
        "POST", "/graphql", content=content, headers={**await gateway.headers("admin"), **more, **named}
    )
    if accept is None:
        del request.headers["accept"]
    return await gateway.http.send(request)


async def get(gateway: Gateway, query: str | dict[str, str], *scopes: str, **headers: str) -> httpx.Response:
    """By GET, with the query part as it stands or made of parameters."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    own = {"authorization": f"Bearer {await gateway.key(*(scopes or ('admin',)))}", "accept": GRAPHQL, **named}
    if isinstance(query, str):
        return await gateway.http.get(f"/graphql?{query}", headers=own)
    return await gateway.http.get("/graphql", params=query, headers=own)


def code(answer: httpx.Response) -> str:
    [error] = answer.json()["errors"]
    assert isinstance(error["message"], str)
    return str(error["extensions"]["code"])


# ── Media types ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (GRAPHQL, GRAPHQL),
        (JSON, JSON),
        ("*/*", JSON),
        (None, JSON),
        ("application/*", JSON),
        (f"{GRAPHQL};charset=utf-8", GRAPHQL),
        (f'{GRAPHQL}; charset="UTF-8", {JSON}', GRAPHQL),
        (f"{JSON};charset=latin-1, {GRAPHQL};q=0.1", GRAPHQL),
        # The more exact range decides, whatever the wider one says.
        (f"{JSON};q=0, */*", GRAPHQL),
        (f"*/*, {GRAPHQL};q=0.5", JSON),
        (f"*/*, {GRAPHQL}", GRAPHQL),
        (f"application/*;q=0.9, {JSON};q=0.1", GRAPHQL),
        (f"{JSON};q=0.001, {GRAPHQL};q=0", JSON),
        (f"{JSON};q=0.5;ext=1, {GRAPHQL};q=0.4", JSON),
        # Commas and semicolons in quotes separate nothing.
        (f'text/plain;a=",{JSON};q=1", {GRAPHQL}', GRAPHQL),
        (f"{STREAM};q=0.9, */*;q=0.1", STREAM),
        (f"multipart/mixed, {STREAM}, {JSON};q=0.9", STREAM),
        (f"{JSON}, multipart/mixed, {STREAM}", JSON),
        # As Java's HttpURLConnection writes it, and what others make of a weight.
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        ("*", JSON),
        (f"{JSON};q=.5, {GRAPHQL};q=.6", GRAPHQL),
        (f"{JSON};q=.5, {GRAPHQL};q=0.4", JSON),
        (f"{JSON};q=, {GRAPHQL};q=0.9", JSON),
        (f"{JSON};q=high, {GRAPHQL};q=0.9", JSON),
        (f"{JSON};q=.000, */*", GRAPHQL),
    ],
)
async def test_the_best_form_that_a_client_takes_is_chosen(gateway: Gateway, accept: str | None, form: str) -> None:
    answer = await post(gateway, {"query": "{ __typename }"}, accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{form}; charset=utf-8")
    assert answer.content.decode("utf-8", "strict")


@pytest.mark.parametrize(
    "accept",
    [";", "text/html", f"{JSON};q=0", f"{JSON};q=0.", f"{JSON};q=.0", f"{JSON};charset=utf-16", ", ;", "application"],
)
async def test_nothing_that_fits_is_a_406(gateway: Gateway, accept: str) -> None:
    answer = await post(gateway, {"query": "{ __typename }"}, accept)
    assert (answer.status_code, code(answer)) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize("twice", ["authorization", "content-type", "origin"])
@pytest.mark.parametrize("path", ["/graphql", "/graphql/stream?token=x"])
async def test_of_two_headers_that_differ_nobody_chooses_one(gateway: Gateway, twice: str, path: str) -> None:
    own = {**await gateway.headers("admin"), "origin": gateway.url}

    async def status(*headers: tuple[str, str]) -> int:
        answer = await gateway.http.post(path, content=b'{"query": "{ hello }"}', headers=list(headers))
        return answer.status_code

    as_ever = 200 if path == "/graphql" else 404
    assert await status(*own.items()) == await status(*own.items(), (twice, own[twice])) == as_ever
    for other in ("", "else"):
        assert await status(*own.items(), (twice, other)) == await status((twice, other), *own.items()) == 400


async def test_several_accept_headers_are_one_list(gateway: Gateway) -> None:
    headers = [*(await gateway.headers("admin")).items(), ("accept", "text/html"), ("accept", GRAPHQL)]
    answer = await gateway.http.post("/graphql", content=b'{"query": "{ __typename }"}', headers=headers)
    assert answer.headers["content-type"].startswith(GRAPHQL)


@pytest.mark.parametrize(
    "kind", [JSON, "Application/JSON", f"{JSON}; charset=utf-8", f'{JSON};charset="UTF-8"', f"{JSON}; profile=x"]
)
async def test_json_in_utf_8_is_taken(gateway: Gateway, kind: str) -> None:
    body = '{"query": "{ __type(name: \\"Run🏃Swim🏊\\") { name } }"}'.encode()
    assert (await post(gateway, body, content_type=kind)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "encoding"), [(f"{JSON}; charset=latin-1", None), ("application/jsonl", None), (JSON, "gzip")]
)
async def test_what_is_not_json_in_utf_8_is_a_415(gateway: Gateway, kind: str, encoding: str | None) -> None:
    more = {} if encoding is None else {"content_encoding": encoding}
    answer = await post(gateway, {"query": "{ __typename }"}, content_type=kind, **more)
    assert (answer.status_code, code(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")


# ── Parameters and status ─────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        {"query": "{ __typename }"},
        {"query": "query Query { __typename }", "operationName": "Query"},
        {"query": "{ __typename }", "operationName": None},
        {"query": "{ __typename }", "variables": None},
        {"query": "{ __typename }", "extensions": None},
        {"query": "{ __typename }", "operationName": "", "variables": {}, "extensions": {}},
        {"query": TYPE, "variables": {"name": "sometype"}},
        {"query": "{ __typename }", "extensions": {"some": "value"}},
        {"query": "{ __typename }", "unknown": [1]},
    ],
)
async def test_a_sound_request_is_answered(gateway: Gateway, body: Any, accept: str) -> None:
    answer = await post(gateway, body, accept)
    assert (answer.status_code, "errors" in answer.json()) == (200, False)


@BOTH
@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        *((name, wrong) for name in ("query", "operationName") for wrong in ({"obj": "ect"}, 0, False, ["array"])),
        *((name, wrong) for name in ("variables", "extensions") for wrong in ("string", 0, False, ["array"])),
    ],
)
async def test_a_parameter_of_the_wrong_kind_is_a_400(
    gateway: Gateway, parameter: str, wrong: Any, accept: str
) -> None:
    answer = await post(gateway, {"query": "{ __typename }", parameter: wrong}, accept)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")


@BOTH
@pytest.mark.parametrize("body", [b'{ "not a JSON', b"", b'{"qeury": "{ __typename }"}'])
async def test_a_malformed_body_is_a_400(gateway: Gateway, body: bytes, accept: str) -> None:
    answer = await post(gateway, body, accept)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert answer.headers["content-type"] == f"{accept}; charset=utf-8"


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{"},
        {"query": "{ nowhere }"},
        {"query": "query CoerceFailure($id: ID!) { __typename }", "variables": {"id": None}},
        {"query": "query A { __typename } query B { __typename }"},
        {"query": "{ __typename }", "operationName": "C"},
    ],
)
async def test_what_is_not_executed_has_no_data_and_its_status_is_for_who_understands_it(
    gateway: Gateway, body: Any
) -> None:
    new, old = await post(gateway, body, GRAPHQL), await post(gateway, body, JSON)
    assert (new.status_code, old.status_code) == (400, 200)
    assert "data" not in new.json()
    assert "data" not in old.json()


# ── GET ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@BOTH
async def test_a_query_is_answered_by_get(gateway: Gateway, accept: str) -> None:
    plain = await get(gateway, {"query": "{ hello }"}, accept=accept)
    assert (plain.status_code, plain.json()) == (200, {"data": {"hello": "Hello world"}})
    parameters = {
        "query": "query A($n: String!) { hello(name: $n) } query B { who }",
        "operationName": "A",
        "variables": '{"n": "a+b&c=d é"}',
        "extensions": '{"some": "value"}',
        "unknown": "1",
    }
    full = await get(gateway, parameters, accept=accept)
    assert full.json() == {"data": {"hello": "Hello a+b&c=d é"}}
    empty = await get(gateway, "query=%7Bhello%7D&variables=&operationName=&extensions=&documentId=", accept=accept)
    assert empty.json() == {"data": {"hello": "Hello world"}}


@pytest.mark.parametrize(
    "query", ["mutation { ship }", "query A { hello } mutation B { ship }", "subscription { quiet }"]
)
@pytest.mark.parametrize("accept", [GRAPHQL, JSON, STREAM])
async def test_get_changes_nothing(gateway: Gateway, query: str, accept: str) -> None:
    sample.STEPS.clear()
    named = {"operationName": "B"} if "mutation B" in query else {}
    answer = await get(gateway, {"query": query, **named}, accept=accept)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert code(answer) == "METHOD_NOT_ALLOWED"
    assert sample.STEPS == []
    assert (await gateway.ask("mutation { ship }", "admin")).json() == {"data": {"ship": "shipped"}}
    assert sample.STEPS == ["shipped"]
    sample.STEPS.clear()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "query=",
        "query=%20",
        "qeury=%7Bhello%7D",
        "query=%7Bhello%7D&query=%7Bwho%7D",
        "query=%7Bhello%7D&variables=%7B%7D&variables=%7B%7D",
        "query=%7Bhello%7",
        "query=%zz",
        "query=%ff%fe",
        "query=%00",
        "query=%7Bhello%7D&variables=nonsense",
        "query=%7Bhello%7D&variables=[]",
        "query=%7Bhello%7D&variables=%7B%22a%22:1,%22a%22:2%7D",
        "query=%7Bhello%7D&variables=NaN",
        "query=%7Bhello%7D&variables=%7B%22a%22:" + "[" * 300 + "]" * 300 + "%7D",
        "query=%7Bhello%7D&variables=%7B%22a%22:" + "[" * 600 + "%22%5Cu0000%22" + "]" * 600 + "%7D",
        "query=%7Bhello%7D&extensions=7",
        "documentId=%F0%9F%8F%83",
        "documentId=sha256:ABC",
    ],
)
@BOTH
async def test_a_malformed_address_is_a_400(gateway: Gateway, query: str, accept: str) -> None:
    answer = await get(gateway, query, accept=accept)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST"), answer.text


async def test_a_huge_address_is_a_414(gateway: Gateway) -> None:
    short = await get(gateway, "query=%7Bhello%7D&" + "x" * 15_000)
    long = await get(gateway, "query=%7Bhello%7D&" + "x" * 17_000)
    assert (short.status_code, long.status_code, code(long)) == (200, 414, "ADDRESS_TOO_LONG")


async def test_get_needs_a_key_and_an_origin_of_ours(gateway: Gateway) -> None:
    without = await gateway.http.get("/graphql", params={"query": "{ hello }"})
    foreign = await get(gateway, {"query": "{ hello }"}, origin="https://evil.example")
    assert (without.status_code, foreign.status_code) == (401, 403)
    lacking = await get(gateway, {"query": "{ stock(skus: []) { secret } }"}, "read")
    assert (lacking.status_code, code(lacking)) == (403, "FORBIDDEN")


async def test_head_is_a_get_without_its_body(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {await gateway.key('read')}"}
    answer = await gateway.http.head("/graphql", params={"query": "{ hello }"}, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) == len(b'{"data":{"hello":"Hello world"}}')
    refused = await gateway.http.head("/graphql", params={"query": "mutation { ship }"}, headers=headers)
    assert refused.status_code == 405


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "QUERY"])
async def test_other_methods_are_refused_in_graphql_json(gateway: Gateway, method: str) -> None:
    answer = await gateway.http.request(method, "/graphql")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST, OPTIONS")
    assert code(answer) == "METHOD_NOT_ALLOWED"
    options = await gateway.http.options("/graphql")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS")


async def test_a_browser_is_shown_the_page_and_a_program_the_answer(gateway: Gateway) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for query in ({}, {"query": "{ hello }"}):
        page = await gateway.http.get("/graphql", params=query, headers={"accept": browser})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    java = "text/html, image/gif, image/jpeg, */*; q=0.2"
    for accept in (f"{JSON}, text/html;q=0.5", java, java.replace("0.2", ".2"), browser):
        answer = await get(gateway, {"query": "{ hello }"}, accept=accept)  # with a key
        assert answer.json() == {"data": {"hello": "Hello world"}}


# ── Caches ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_get_can_be_asked_whether_it_has_changed(gateway: Gateway) -> None:
    first = await get(gateway, {"query": "{ hello }"})
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-store"
    for held in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        same = await get(gateway, {"query": "{ hello }"}, if_none_match=held)
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in same.headers
    other = await get(gateway, {"query": '{ hello(name: "x") }'}, if_none_match=tag)
    assert (other.status_code, other.headers["etag"] == tag) == (200, False)
    failed = await get(gateway, {"query": "{ hello broken }"}, if_none_match="*")
    assert (failed.status_code, "etag" in failed.headers) == (200, False)
    posted = await post(gateway, {"query": "{ hello }"}, if_none_match=tag)
    assert (posted.status_code, "etag" in posted.headers) == (200, False)


# ── The parts alone ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_parameters_are_read_as_a_browser_writes_them() -> None:
    read = parse_parameters(b"query=query+A%28%24n%3AInt%29%7Ba%7D&variables=%7B%22n%22%3A1%7D&operationName=A")
    assert read == Request("query A($n:Int){a}", {"n": 1}, "A")
    assert parse_parameters(b"documentId=x-cart") == Request(document_id="x-cart")


def test_a_weight_that_cannot_be_read_says_nothing() -> None:
    for weight in ("2", "1.5", "-1", "nan", "inf", "1e1", "", ".", "0x1", "٠", "1.000"):
        taken = chosen_form(f"{GRAPHQL};q=0.999, {JSON};q={weight}", OperationType.QUERY)
        assert taken is Form.JSON, weight
    assert chosen_form(f"{GRAPHQL};q=0.999, {JSON};q=.998", OperationType.QUERY) is Form.GRAPHQL


def test_a_header_is_read_up_to_a_length() -> None:
    many = ", ".join(["text/plain"] * 5_000)
    assert chosen_form(f"{GRAPHQL}, {many}", OperationType.QUERY) is Form.GRAPHQL
    with pytest.raises(BadRequest):
        chosen_form(f"{many}, {GRAPHQL}", OperationType.QUERY)


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (None, False),
        ("*/*", False),
        ("text/html", True),
        (f"text/html, {JSON}", True),
        (f"text/html;q=0.5, {JSON}", False),
    ],
)
def test_a_page_is_for_who_likes_it_best(accept: str | None, page: bool) -> None:
    assert wants_page(accept) is page
