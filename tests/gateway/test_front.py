"""A request whose bytes were understood before is not understood again, and all that may have changed since is asked anew."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import endpoint, front, metrics
from gateway.body import Request, parse_request
from tests.gateway.conftest import Gateway


@pytest.fixture
async def read(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bodies that were read."""
    bodies: list[bytes] = []

    def parse(body: bytes) -> Request:
        bodies.append(body)
        return parse_request(body)

    monkeypatch.setattr(endpoint, "parse_request", parse)
    await gateway.ask("{ hello }", "read")  # whose key is known from now on
    bodies.clear()
    return bodies


async def test_the_same_bytes_are_understood_once(gateway: Gateway, read: list[bytes]) -> None:
    answers = [await gateway.ask("query Once { hello }", "read", x_request_id=f"once-{time}") for time in range(3)]
    assert len(read) == 1
    assert {one.content for one in answers} == {b'{"data":{"hello":"Hello world"}}'}
    assert [one.headers["x-request-id"] for one in answers] == ["once-0", "once-1", "once-2"]
    lists = [{name for name, _ in one.headers.multi_items()} for one in answers]
    assert lists[0] == lists[1] == lists[2]


@pytest.mark.parametrize(
    "other",
    [
        {"accept": "application/graphql-response+json"},
        {"x_acorn_bill": "1"},
        {"x_acorn_deadline_ms": "20000"},
        {"origin": "http://elsewhere.example"},
        {"content_encoding": "identity"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_other_headers_that_decide_are_another_request(
    gateway: Gateway, read: list[bytes], other: dict[str, str]
) -> None:
    query = f"query Headers_{next(iter(other))} {{ hello }}"
    usual = [await gateway.ask(query, "read") for _ in range(2)]
    before = len(read)
    assert before == 1
    answers = [await gateway.ask(query, "read", variables=None, **other) for _ in range(2)]
    if "origin" in other:
        assert {one.status_code for one in answers} == {403}
        return
    assert len(read) > before
    assert (answers[0].content, answers[0].headers["content-type"]) == (
        answers[1].content,
        answers[1].headers["content-type"],
    )
    assert ("extensions" in answers[0].json()) == ("x_acorn_bill" in other)
    assert usual[0].content == usual[1].content


async def test_other_scopes_are_asked_for_themselves(gateway: Gateway) -> None:
    allowed = [await gateway.ask("query Scopes { hello }", "read") for _ in range(3)]
    refused = [await gateway.ask("query Scopes { hello }", "ship") for _ in range(3)]
    assert ["errors" in one.json() for one in (*allowed, *refused)] == [False] * 3 + [True] * 3


async def test_long_bodies_are_read_each_time(gateway: Gateway, read: list[bytes]) -> None:
    query = "{ hello }" + " " * front.LONGEST
    for _ in range(3):
        assert (await gateway.ask(query, "read")).status_code == 200
    assert len(read) == 3


async def test_what_is_remembered_is_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MOST_UNDERSTOOD", 2)
    hearing: Any = gateway.app._front
    hearing._understood.clear()
    for number in range(4):
        await gateway.ask(f"query Bounded{number} {{ hello }}", "read")
    assert len(hearing._understood) == 2


async def test_each_is_counted_and_told(gateway: Gateway) -> None:
    before = metrics.OPERATIONS.count("query", "ok")
    for _ in range(3):
        await gateway.ask("query Counted { hello }", "read")
    assert metrics.OPERATIONS.count("query", "ok") == before + 3
    page = (await gateway.http.get("/metrics")).text
    assert f'acorn_operations_total{{kind="query",outcome="ok"}} {before + 3}.0' in page
    assert 'acorn_operation_seconds_bucket{kind="query",le="+Inf"}' in page
