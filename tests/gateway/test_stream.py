"""Subscriptions over server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway import server as server_module
from gateway.expiry import Expiry
from gateway.stream import Streams
from store import api_key
from tests.gateway import sample
from tests.gateway.conftest import Gateway, events, until

FOLLOW = "subscription ($s: String!, $a: String) { follow(subject: $s, after: $a) { cursor } }"


@asynccontextmanager
async def stream(
    gateway: Gateway, query: str, variables: dict[str, Any] | None = None, **headers: str
) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """(event, data) pairs; a comment is ("", None)."""
    async with gateway.http.stream(
        "POST",
        "/graphql",
        json={"query": query, "variables": variables},
        headers=await gateway.headers("read", accept="text/event-stream", **headers),
    ) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield events(answer)


async def test_a_subscription_is_streamed_and_completed(gateway: Gateway) -> None:
    async with stream(gateway, "subscription { counted(to: 3) }") as events:
        told = [one async for one in events]
    assert told == [("next", {"data": {"counted": number}}) for number in range(3)] + [("complete", None)]


async def test_whoever_takes_anything_gets_a_subscription_as_a_stream(gateway: Gateway) -> None:
    for accept in ("*/*", "application/json, text/event-stream"):
        answer = await gateway.ask("subscription { counted(to: 1) }", "read", accept=accept)
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    refused = await gateway.ask("subscription { counted(to: 1) }", "read", accept="application/json")
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { missing }", "NOT_FOUND"),
        ("subscription ($n: Int!) { counted(to: $n) }", "BAD_USER_INPUT"),
        ("mutation { ship }", "FORBIDDEN"),
    ],
)
async def test_a_refusal_comes_as_an_event(gateway: Gateway, query: str, code: str) -> None:
    async with stream(gateway, query) as events:
        told = [one async for one in events]
    assert [name for name, _ in told] == ["next", "complete"]
    assert told[0][1]["errors"][0]["extensions"]["code"] == code


async def test_events_arrive_as_they_happen_and_a_cursor_resumes(fresh: Gateway) -> None:
    async with stream(fresh, FOLLOW, {"s": "A", "a": "0"}) as events:
        await fresh.tell("A", 2)
        seen = [await anext(events), await anext(events)]
    assert seen == [("next", {"data": {"follow": {"cursor": cursor}}}) for cursor in ("1", "2")]
    await fresh.tell("A", 2)
    async with stream(fresh, FOLLOW, {"s": "A", "a": "2"}) as events:
        assert [(await anext(events))[1]["data"]["follow"]["cursor"] for _ in range(2)] == ["3", "4"]
    await until(lambda: fresh.app.standing.hub.subscriber_count() == 0)


async def test_a_cursor_out_of_reach_says_resync(fresh: Gateway) -> None:
    async with stream(fresh, FOLLOW, {"s": "A", "a": "99"}) as events:
        told = [one async for one in events]
    assert told[0][1]["errors"][0]["extensions"]["code"] == "RESYNC"
    assert told[1] == ("complete", None)


async def test_silence_is_broken_by_comments_and_leaving_ends_the_subscription(gateway: Gateway) -> None:
    sample.STEPS.clear()
    endpoint: Any = gateway.app._endpoint
    usual = endpoint._streams
    endpoint._streams = Streams(Expiry(gateway.app.standing.keys), silence_s=0.05)
    try:
        async with stream(gateway, "subscription { quiet }") as events:
            assert [await anext(events), await anext(events)] == [("", None)] * 2
            assert sample.STEPS == ["began"]
        await until(lambda: sample.STEPS == ["began", "ended"])
    finally:
        endpoint._streams = usual


async def test_a_revoked_key_ends_its_stream(fresh: Gateway) -> None:
    endpoint: Any = fresh.app._endpoint
    endpoint._streams = Streams(Expiry(fresh.app.standing.keys, recheck_s=0.1))
    async with stream(fresh, FOLLOW, {"s": "A"}) as events:
        async with fresh.store.begin() as tx:
            [key] = await api_key.all(tx)
            await api_key.revoke(tx, key.id)
        told = [one async for one in events]
    assert [name for name, _ in told] == ["next", "complete"]
    assert told[0][1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_key_that_expires_ends_its_stream_at_that_instant(fresh: Gateway) -> None:
    await fresh.expire("read")
    async with stream(fresh, FOLLOW, {"s": "A"}) as events:
        await until(fresh.let_expire)
        told = [one async for one in events]
    assert [name for name, _ in told] == ["next", "complete"]
    assert told[0][1]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_reader_that_stops_reading_is_told_to_resume_and_dropped(
    fresh: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket fills, its queue runs over, it is let go at once; what it had not read, and why, is still there for a while."""
    monkeypatch.setattr(server_module, "GRACE_S", 3.0)
    query = 'subscription { follow(subject: "A", after: "0", size: 50000) { cursor text } }'
    reader, writer = await _raw_stream(fresh, query)
    await reader.readuntil(b"\r\n\r\n")
    hub = fresh.app.standing.hub
    await fresh.tell("A")
    await until(lambda: hub.subscriber_count() == 1)
    for _ in range(30):
        await fresh.tell("A", 50)
        if hub.subscriber_count() == 0:
            break
        await asyncio.sleep(0.05)
    await until(lambda: hub.subscriber_count() == 0)
    rest = (await asyncio.wait_for(reader.read(-1), 30)).decode()
    last = rest[rest.rindex('event: next\ndata: {"errors"') :]
    assert json.loads(last.split("data: ")[1].split("\n")[0])["errors"][0]["extensions"]["code"] == "RESUME"
    assert last.endswith("event: complete\ndata:\n\n\r\n0\r\n\r\n")
    writer.close()


async def test_a_reader_that_never_reads_again_is_dropped_all_the_same(
    fresh: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "GRACE_S", 0.2)
    _, writer = await _raw_stream(fresh, 'subscription { follow(subject: "A", after: "0", size: 50000) { text } }')
    hub = fresh.app.standing.hub
    await until(lambda: hub.subscriber_count() == 1)
    for _ in range(30):
        await fresh.tell("A", 50)
        if hub.subscriber_count() == 0:
            break
        await asyncio.sleep(0.05)
    state = fresh.server.server_state
    await until(lambda: not [one for one in state.connections if _client(one) == writer.get_extra_info("sockname")])
    writer.close()


def _client(connection: Any) -> Any:
    return connection.client


async def _raw_stream(gateway: Gateway, query: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client whose reading is in our hands; its buffers are small."""
    body = json.dumps({"query": query}).encode()
    headers = await gateway.headers("read", accept="text/event-stream")
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    lines = ["POST /graphql HTTP/1.1", f"host: {host}:{port}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
    return reader, writer
