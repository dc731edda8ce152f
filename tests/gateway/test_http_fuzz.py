"""Whatever is sent, the answer is GraphQL and no failure of ours."""

from __future__ import annotations

import json
from string import printable
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import Gateway

PARAMETERS = ("query", "variables", "operationName", "extensions", "documentId")
QUERIES = [
    "{ hello }",
    "query A($n: String!) { hello(name: $n) }",
    "mutation { ship }",
    "subscription { counted(to: 2) }",
    "{ broken torn partial }",
    "{ strict }",
    "query A { who } query B { price }",
    "{ stock(skus: $skus) { name } }",
    "query ($skus: [String!]!) { stock(skus: $skus) { name @include(if: true) ... @defer { name } } }",
    "fragment F on Query { ...F } { ...F }",
    "{ hello",
    '{ hello(name: "\\u0000") }',
    '"""',
    "\ufeff{ hello }",
]
# What would be large, deep, odd or almost right.
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    2**63,
    2**64,
    "",
    "\0",
    "\ud800",
    "\u2028",
    "é" * 100,
    [],
    {},
    [[[[]]]],
    {"": {"": 1}},
]

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(ODD)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
queries = st.one_of(st.sampled_from(QUERIES), st.text(max_size=60))
persisted = st.fixed_dictionaries(
    {"persistedQuery": st.fixed_dictionaries({"version": json_values, "sha256Hash": json_values})}
)
asked = st.fixed_dictionaries(
    {"query": st.one_of(queries, json_values)},
    optional={
        "variables": st.one_of(st.dictionaries(st.sampled_from(["n", "skus", "x"]), json_values), json_values),
        "operationName": st.one_of(st.sampled_from(["A", "B"]), json_values),
        "extensions": st.one_of(persisted, st.just({"explain": True}), json_values),
        "documentId": st.one_of(st.just("sha256:" + "0" * 64), json_values),
        "other": json_values,
    },
)
bodies = st.one_of(
    asked.map(lambda one: json.dumps(one).encode()),
    st.binary(max_size=200),
    st.lists(asked).map(json.dumps).map(str.encode),
)
media_types = st.sampled_from(
    [
        "application/json",
        "application/graphql-response+json",
        "text/event-stream",
        "multipart/mixed",
        "*/*",
        "*",
        "application/*",
        "text/html",
    ]
)
parameters = st.sampled_from(
    [
        "",
        ";q=0",
        ";q=0.5",
        ";q=.5",
        ";q=",
        ";q=x",
        ";charset=utf-8",
        ';charset="utf-16"',
        ";deferSpec=20220824",
        ';a=",',
    ]
)
header_texts = st.text(alphabet=[one for one in printable if one.isprintable()], max_size=40).map(str.strip)
accepts = st.one_of(st.lists(st.tuples(media_types, parameters).map("".join), max_size=4).map(", ".join), header_texts)
more_headers = st.dictionaries(
    st.sampled_from(
        [
            "x-acorn-bill",
            "x-acorn-deadline-ms",
            "x-request-id",
            "if-none-match",
            "origin",
            "content-encoding",
            "traceparent",
            "x-forwarded-for",
        ]
    ),
    st.one_of(header_texts, st.sampled_from(["1", "30000", "*", "identity", "null"])),
    max_size=2,
)
kinds = st.one_of(
    st.just("application/json"), header_texts, st.sampled_from(["application/json; charset=utf-8", "text/plain"])
)
addresses = st.one_of(
    st.lists(
        st.tuples(
            st.sampled_from([*PARAMETERS, "other"]),
            st.one_of(queries, json_values.map(json.dumps), st.sampled_from(["A", "B", "null", "%", "+"])).map(
                lambda text: quote(text.encode("utf-8", "surrogatepass"))
            ),
        ).map("=".join),
        max_size=5,
    ).map("&".join),
    st.text(alphabet=[one for one in printable if one.isprintable() and one not in ' #"<>'], max_size=80),
)
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(answer: httpx.Response) -> None:
    """That it is a GraphQL response, or a stream of them, and that the client is to blame."""
    assert answer.status_code < 500, answer.text
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/event-stream"):
        events = [one for one in answer.text.split("\n\n") if one.startswith("event: next")]
        responses = [json.loads(one.partition("\ndata: ")[2]) for one in events]
    elif kind.startswith("multipart/mixed"):
        parts = [one for one in answer.text.split("--graphql") if "{" in one] or answer.text.split("---")
        responses = [json.loads(one[one.index("{") :].strip().rstrip("-")) for one in parts if "{" in one]
    else:
        assert kind in ("application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8")
        responses = [answer.json()]
    assert responses
    for one in responses:
        assert isinstance(one, dict)
        well_formed(one)


def well_formed(response: dict[str, Any]) -> None:
    assert response.keys() <= {
        "data",
        "errors",
        "extensions",
        "payload",
        "incremental",
        "hasNext",
        "pending",
        "completed",
    }
    for error in response.get("errors", ()):
        assert isinstance(error["message"], str)
        assert isinstance(error["extensions"]["code"], str)
    assert response.keys() & {"data", "errors", "payload", "incremental", "hasNext"}


@FUZZ
@given(body=bodies, accept=accepts, kind=kinds, more=more_headers)
async def test_any_body_is_answered(
    gateway: Gateway, body: bytes, accept: str, kind: str, more: dict[str, str]
) -> None:
    headers = {**await gateway.headers("admin"), **more, "accept": accept, "content-type": kind}
    check(await gateway.http.post("/graphql", content=body, headers=headers))


@FUZZ
@given(address=addresses, accept=accepts, more=more_headers)
async def test_any_address_is_answered(gateway: Gateway, address: str, accept: str, more: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {await gateway.key('admin')}", "accept": accept, **more}
    url = httpx.URL(gateway.url).copy_with(raw_path=b"/graphql?" + address.encode())
    answer = await gateway.http.get(url, headers=headers)
    if answer.status_code != 304:
        check(answer)


def test_the_check_finds_what_is_not_graphql() -> None:
    kind = {"content-type": "application/json; charset=utf-8"}
    check(httpx.Response(200, headers=kind, content=b'{"data": null}'))
    for wrong in (
        httpx.Response(500, headers=kind, content=b'{"data": null}'),
        httpx.Response(200, content=b"{}"),
        httpx.Response(400, headers=kind, content=b'{"errors": [{"message": "x"}]}'),
        httpx.Response(200, headers=kind, content=b"[]"),
        httpx.Response(200, headers={"content-type": "text/event-stream"}, content=b":\n\n"),
    ):
        try:
            check(wrong)
        except (AssertionError, KeyError, ValueError, AttributeError):
            continue
        raise AssertionError(wrong)
