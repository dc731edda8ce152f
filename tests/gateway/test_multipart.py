"""Subscriptions in parts, as Apollo's clients read them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.expiry import Expiry
from gateway.stream import Streams
from tests.gateway import sample
from tests.gateway.conftest import Gateway, until
from tests.gateway.test_incremental import all_parts, parts

ACCEPT = 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0,application/json'
FOLLOW = "subscription ($s: String!, $a: String) { follow(subject: $s, after: $a) { cursor } }"


async def test_events_come_as_payloads(gateway: Gateway) -> None:
    told = await all_parts(gateway, "subscription { counted(to: 3) }", accept=ACCEPT)
    assert told == [{"payload": {"data": {"counted": number}}} for number in range(3)]


async def test_the_raw_answer_is_as_the_protocol_has_it(gateway: Gateway) -> None:
    answer = await gateway.ask("subscription { counted(to: 1) }", "read", accept=ACCEPT)
    assert answer.headers["content-type"] == 'multipart/mixed;boundary="graphql";subscriptionSpec=1.0'
    assert answer.text == (
        "\r\n--graphql\r\ncontent-type: application/json; charset=utf-8\r\n\r\n"
        '{"payload":{"data":{"counted":0}}}\r\n--graphql--\r\n'
    )


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (ACCEPT, "multipart/mixed"),
        ("application/json, multipart/mixed;subscriptionSpec=1.0", "multipart/mixed"),
        ('multipart/mixed;subscriptionSpec="1.0";q=0.5, text/event-stream', "text/event-stream"),
        ("multipart/mixed;subscriptionSpec=2.0, text/event-stream", "text/event-stream"),
        ("multipart/mixed, text/event-stream;q=0.1", "text/event-stream"),
    ],
)
async def test_the_form_is_what_the_client_names(gateway: Gateway, accept: str, content_type: str) -> None:
    answer = await gateway.ask("subscription { counted(to: 1) }", "read", accept=accept)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, content_type)


async def test_queries_of_such_clients_are_answered_in_json(gateway: Gateway) -> None:
    answer = await gateway.ask("{ hello }", "read", accept=ACCEPT)
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_refusal_before_the_first_event_is_json(gateway: Gateway) -> None:
    answer = await gateway.ask("subscription { nothing }", "read", accept=ACCEPT)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_a_source_that_fails_is_told_within_a_payload(gateway: Gateway) -> None:
    [only] = await all_parts(gateway, "subscription { missing }", accept=ACCEPT)
    assert only["payload"]["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_silence_is_broken_by_empty_parts_and_leaving_ends_the_subscription(gateway: Gateway) -> None:
    sample.STEPS.clear()
    endpoint: Any = gateway.app._endpoint
    usual = endpoint._streams
    endpoint._streams = Streams(Expiry(gateway.app.standing.keys), silence_s=0.05)
    try:
        async with parts(gateway, "subscription { quiet }", accept=ACCEPT) as found:
            assert [await anext(found), await anext(found)] == [{}, {}]
        await until(lambda: sample.STEPS == ["began", "ended"])
    finally:
        endpoint._streams = usual


async def test_a_stopping_gateway_says_resume_beside_a_payload_of_null(fresh: Gateway) -> None:
    sample.STEPS.clear()
    async with parts(fresh, "subscription { quiet }", accept=ACCEPT) as found:
        await until(lambda: sample.STEPS == ["began"])
        fresh.server.should_exit = True
        [last] = [one async for one in found]
    assert last["payload"] is None
    assert last["errors"][0]["extensions"]["code"] == "RESUME"


async def test_a_key_that_expires_ends_its_parts_at_that_instant(fresh: Gateway) -> None:
    await fresh.expire("read")
    async with parts(fresh, FOLLOW, {"s": "A"}, accept=ACCEPT) as found:
        await until(fresh.let_expire)
        [last] = [one async for one in found]
    assert last["payload"] is None
    assert [one["extensions"]["code"] for one in last["errors"]] == ["UNAUTHENTICATED"]
