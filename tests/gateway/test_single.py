"""Server-sent events of many operations over one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gateway import single
from gateway.execution import Answer
from gateway.expiry import Expiry
from gateway.single import MOST_OPERATIONS, MOST_RESERVED
from store import api_key
from tests.gateway import sample
from tests.gateway.conftest import Gateway, events, until

PATH = "/graphql/stream"
TICKET = "x-graphql-event-stream-token"
FOLLOW = "subscription ($s: String!, $a: String, $n: Int! = 0) { follow(subject: $s, after: $a, size: $n) { cursor } }"


async def reserve(gateway: Gateway, *scopes: str) -> str:
    answer = await gateway.http.put(PATH, headers=await gateway.headers(*scopes or ("read",)))
    assert (answer.status_code, answer.headers["content-type"]) == (201, "text/plain; charset=utf-8")
    return answer.text


@asynccontextmanager
async def opened(gateway: Gateway, token: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """(event, data) pairs, comments left out; as a browser's EventSource opens it, without a key."""
    async with gateway.http.stream(
        "GET", PATH, params={"token": token}, headers={"accept": "text/event-stream"}
    ) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield (one async for one in events(answer) if one[0])


async def start(gateway: Gateway, token: str, id: Any, query: str, *scopes: str, **variables: Any) -> httpx.Response:
    headers = {**await gateway.headers(*scopes or ("read",)), TICKET: token}
    body = {"query": query, "variables": variables, "extensions": {} if id is None else {"operationId": id}}
    return await gateway.http.post(PATH, json=body, headers=headers)


async def finish(gateway: Gateway, token: str, id: str | None) -> httpx.Response:
    parameters = {} if id is None else {"operationId": id}
    return await gateway.http.delete(PATH, params=parameters, headers={**await gateway.headers("read"), TICKET: token})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["extensions"]["code"]


async def test_operations_share_one_connection(gateway: Gateway) -> None:
    token = await reserve(gateway)
    async with opened(gateway, token) as events:
        accepted = await start(gateway, token, "a", "subscription { counted(to: 2) }")
        assert (accepted.status_code, accepted.content) == (202, b"")
        assert [await anext(events) for _ in range(3)] == [
            ("next", {"id": "a", "payload": {"data": {"counted": 0}}}),
            ("next", {"id": "a", "payload": {"data": {"counted": 1}}}),
            ("complete", {"id": "a"}),
        ]
        assert (await start(gateway, token, "b", "{ who }")).status_code == 202
        assert await anext(events) == ("next", {"id": "b", "payload": {"data": {"who": "read"}}})
        assert await anext(events) == ("complete", {"id": "b"})
        assert (await start(gateway, token, "b", "{ hello }")).status_code == 202


async def test_what_was_started_before_the_stream_is_opened_is_not_lost(gateway: Gateway) -> None:
    token = await reserve(gateway)
    assert (await start(gateway, token, "a", "subscription { counted(to: 40) }")).status_code == 202
    async with opened(gateway, token) as events:
        told = [await anext(events) for _ in range(41)]
    assert [one["payload"]["data"]["counted"] for _, one in told[:-1]] == list(range(40))
    assert told[-1] == ("complete", {"id": "a"})


async def test_deleting_ends_one_operation_and_leaving_the_rest(gateway: Gateway) -> None:
    sample.STEPS.clear()
    token = await reserve(gateway)
    async with opened(gateway, token):
        for id in ("a", "b"):
            await start(gateway, token, id, "subscription { quiet }")
        await until(lambda: sample.STEPS == ["began"] * 2)
        assert (await finish(gateway, token, "a")).status_code == 200
        await until(lambda: sample.STEPS == ["began", "began", "ended"])
        assert (await finish(gateway, token, "a")).status_code == 200
        assert code(await finish(gateway, token, None)) == (400, "BAD_REQUEST")
    await until(lambda: sample.STEPS == ["began", "began", "ended", "ended"])
    assert code(await start(gateway, token, "c", "{ hello }")) == (404, "NOT_FOUND")


async def test_an_operation_that_breaks_off_still_ends_and_frees_its_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> AsyncIterator[Answer]:
        yield Answer(b'{"data":{"counted":0}}')
        raise RuntimeError("the canary sings of db-password")

    token = await reserve(gateway)
    singles: Any = gateway.app._singles
    async with opened(gateway, token) as events:
        with monkeypatch.context() as patch:
            patch.setattr(singles._executor, "stream", broken)
            assert (await start(gateway, token, "a", "{ hello }")).status_code == 202
            told = [await anext(events) for _ in range(3)]
        assert [(name, data["id"]) for name, data in told] == [("next", "a"), ("next", "a"), ("complete", "a")]
        [error] = told[1][1]["payload"]["errors"]
        assert (error["extensions"]["code"], "canary" in str(error)) == ("INTERNAL", False)
        assert (await start(gateway, token, "a", "{ hello }")).status_code == 202
        assert await anext(events) == ("next", {"id": "a", "payload": {"data": {"hello": "Hello world"}}})


@pytest.mark.parametrize(("depth", "status"), [(90, 202), (101, 400), (400, 400)])
async def test_what_nests_too_deep_is_never_accepted(gateway: Gateway, depth: int, status: int) -> None:
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    token = await reserve(gateway)
    assert (await start(gateway, token, "a", "{ hello }", x=deep)).status_code == status


async def test_a_stream_is_opened_once(gateway: Gateway) -> None:
    token = await reserve(gateway)
    async with opened(gateway, token):
        second = await gateway.http.get(PATH, headers={TICKET: token, "accept": "text/event-stream"})
        assert code(second) == (409, "CONFLICT")
    await until(lambda: token not in _lines(gateway))
    assert code(await gateway.http.get(PATH, params={"token": token})) == (404, "NOT_FOUND")


async def test_what_is_not_as_it_should_be_is_never_accepted(gateway: Gateway) -> None:
    token = await reserve(gateway)
    for id, query, told in [
        (None, "{ hello }", (400, "BAD_REQUEST")),
        (7, "{ hello }", (400, "BAD_REQUEST")),
        ("", "{ hello }", (400, "BAD_REQUEST")),
        ("x" * 257, "{ hello }", (400, "BAD_REQUEST")),
        ("a", "{ hallo }", (400, "GRAPHQL_VALIDATION_FAILED")),
        ("a", "mutation { ship }", (403, "FORBIDDEN")),
    ]:
        assert code(await start(gateway, token, id, query)) == told
    assert (await start(gateway, token, "a", "subscription { quiet }")).status_code == 202
    assert code(await start(gateway, token, "a", "{ hello }")) == (409, "CONFLICT")


async def test_a_stream_is_its_callers_own(gateway: Gateway) -> None:
    assert code(await gateway.http.put(PATH)) == (401, "UNAUTHENTICATED")
    token = await reserve(gateway)
    assert code(await start(gateway, token, "a", "{ hello }", "ship")) == (404, "NOT_FOUND")
    assert code(await gateway.http.delete(PATH, params={"token": token, "operationId": "a"})) == (
        401,
        "UNAUTHENTICATED",
    )
    body = {"query": "{ hello }", "extensions": {"operationId": "a"}}
    assert code(await gateway.http.post(PATH, params={"token": token}, json=body)) == (401, "UNAUTHENTICATED")
    assert code(await gateway.http.get(PATH, params={"token": "unknown"})) == (404, "NOT_FOUND")
    page = await gateway.http.put(PATH, headers={**await gateway.headers("read"), "origin": "https://evil.example"})
    assert code(page) == (403, "ORIGIN_NOT_ALLOWED")


async def test_without_a_token_each_operation_has_its_own_answer(gateway: Gateway) -> None:
    headers = await gateway.headers("read", accept="text/event-stream")
    answer = await gateway.http.post(PATH, json={"query": "subscription { counted(to: 1) }"}, headers=headers)
    assert answer.text == 'event: next\ndata: {"data":{"counted":0}}\n\nevent: complete\ndata:\n\n'
    assert code(await gateway.http.delete(PATH, headers=headers)) == (404, "NOT_FOUND")
    other = await gateway.http.patch(PATH, headers=headers)
    assert (code(other), other.headers["allow"]) == (
        (405, "METHOD_NOT_ALLOWED"),
        "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    )
    got, head = [
        await gateway.http.request(method, PATH, params={"query": "{ hello }"}, headers=headers)
        for method in ("GET", "HEAD")
    ]
    assert (head.status_code, head.content) == (got.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_nobody_opens_or_ends_a_stream_by_head(gateway: Gateway) -> None:
    token = await reserve(gateway)
    assert (await start(gateway, token, "a", "subscription { counted(to: 1) }")).status_code == 202
    headers = await gateway.headers("read")
    refused = await gateway.http.head(PATH, params={"token": token, "operationId": "a"}, headers=headers)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST, DELETE")
    async with opened(gateway, token) as events:
        assert await anext(events) == ("next", {"id": "a", "payload": {"data": {"counted": 0}}})


async def test_streams_and_their_operations_are_bounded(fresh: Gateway) -> None:
    tokens = [await reserve(fresh) for _ in range(MOST_RESERVED)]
    assert code(await fresh.http.put(PATH, headers=await fresh.headers("read"))) == (429, "TOO_MANY_STREAMS")
    await reserve(fresh, "ship")
    for number in range(MOST_OPERATIONS):
        assert (await start(fresh, tokens[0], str(number), "subscription { quiet }")).status_code == 202
    assert code(await start(fresh, tokens[0], "more", "{ hello }")) == (429, "TOO_MANY_OPERATIONS")


async def test_a_stream_that_nobody_opens_lapses_with_all_it_runs(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.STEPS.clear()
    singles: Any = gateway.app._singles
    monkeypatch.setattr(singles, "_reserved_s", 1.5)
    token = await reserve(gateway)
    assert token in _lines(gateway)
    await start(gateway, token, "a", "subscription { quiet }")
    await until(lambda: token not in _lines(gateway))
    await until(lambda: sample.STEPS in (["began", "ended"], []))


async def test_a_revoked_key_ends_its_stream(fresh: Gateway) -> None:
    streams: Any = fresh.app._streams
    streams._expiry = Expiry(fresh.app.standing.keys, recheck_s=0.1)
    token = await reserve(fresh)
    async with opened(fresh, token) as events:
        await start(fresh, token, "a", "subscription { quiet }")
        async with fresh.store.begin() as tx:
            [key] = await api_key.all(tx)
            await api_key.revoke(tx, key.id)
        told = [one async for one in events]
    assert [(name, data["id"]) for name, data in told] == [("next", "a"), ("complete", "a")]
    assert told[0][1]["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_stopping_gateway_says_resume_to_each_operation(fresh: Gateway) -> None:
    token = await reserve(fresh)
    async with opened(fresh, token) as events:
        await start(fresh, token, "a", "subscription { quiet }")
        fresh.server.should_exit = True
        [(name, data)] = [one async for one in events]
    assert (name, data["id"]) == ("next", "a")
    assert data["payload"]["errors"][0]["extensions"]["code"] == "RESUME"


async def test_a_stream_that_is_not_read_is_cut_off_and_says_so(
    fresh: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing piles up for a client that reserves a stream and does not open it: the event hub lets its operation go."""
    monkeypatch.setattr(single, "QUEUE", 2)
    token = await reserve(fresh)
    await start(fresh, token, "a", FOLLOW, s="A")
    hub = fresh.app.standing.hub
    await until(lambda: hub.subscriber_count() == 1)
    for _ in range(6):
        await fresh.tell("A", 50)
    stream = _lines(fresh)[token].stream
    await until(lambda: stream.slow)
    async with opened(fresh, token) as events:
        told = [one async for one in events]
    assert told[-2][1]["payload"]["errors"][0]["extensions"]["code"] == "RESUME"
    assert told[-1] == ("complete", {"id": "a"})


def _lines(gateway: Gateway) -> Any:
    singles: Any = gateway.app._singles
    return singles._lines
