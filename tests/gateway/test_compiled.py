"""Operations that are asked again are compiled, and clients notice nothing but speed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from gateway import metrics
from gateway.plan import Plans
from tests.gateway import sample
from tests.gateway.conftest import Gateway, served, settings_of

MANY_CHOICES = "query ({}) {{ {} }}".format(
    " ".join(f"$v{one}: Boolean!" for one in range(4)),
    " ".join(f'a{one}: hello(name: "{"x" * one}") @include(if: $v{one % 4})' for one in range(20)),
)


def fallbacks(reason: str) -> float:
    counted: float = metrics.FALLBACKS.labels(reason)._value.get()
    return counted


@pytest.fixture
def plans() -> Plans:
    return Plans(sample.schema._schema, sample.SCOPES)


@pytest.fixture(autouse=True)
def _steps() -> Iterator[None]:
    """What these tests ship is nothing to others."""
    yield
    sample.STEPS.clear()


@pytest.fixture(scope="module")
async def pair(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways on one database: one leaves all to graphql-core, one compiles all."""
    settings = settings_of(new_database(), redis_url, tmp_path_factory.mktemp("gateway"))
    async with served(settings, compile_at=None) as core, served(settings, compile_at=1) as compiled:
        compiled.keys = core.keys
        yield core, compiled


def test_a_plan_is_compiled_when_it_is_asked_for_again(plans: Plans) -> None:
    first = plans.of("{ hello }", None)
    assert first.compiled is None
    second = plans.of("{ hello }", None)
    assert second.compiled is not None
    assert second.weight > first.weight
    assert plans._bytes == second.weight
    assert plans.of("{ hello }", None) is second


def test_what_cannot_be_compiled_is_counted_once_and_left_to_graphql_core(plans: Plans) -> None:
    before = fallbacks("introspection")
    assert [plans.of("{ __schema { queryType { name } } }", None).compiled for _ in range(4)] == [None] * 4
    assert fallbacks("introspection") == before + 1


async def test_the_events_of_a_subscription_are_answered_alike_compiled_or_not(pair: tuple[Gateway, Gateway]) -> None:
    core, compiled = pair
    told = []
    for gateway in (core, compiled):
        headers = await gateway.headers("read", accept="text/event-stream")
        for query in ("subscription { counted(to: 3) }", "subscription { c: counted(to: 1) missing: __typename }"):
            answer = await gateway.http.post("/graphql", json={"query": query}, headers=headers)
            told.append(answer.text)
    assert told[:2] == told[2:]
    assert '{"data":{"counted":2}}' in told[0]
    plans = compiled.app._plans
    assert plans.of("subscription { counted(to: 3) }", None).compiled is not None


def test_a_plan_that_would_take_the_room_of_many_is_not_compiled() -> None:
    small = Plans(sample.schema._schema, sample.SCOPES, kept_bytes=32 * 1024 * 1024, compile_at=1)
    before = fallbacks("size")
    assert small.of(MANY_CHOICES, None).compiled is None
    assert fallbacks("size") == before + 1
    roomy = Plans(sample.schema._schema, sample.SCOPES, kept_bytes=1024 * 1024 * 1024, compile_at=1)
    assert roomy.of(MANY_CHOICES, None).compiled is not None


@pytest.mark.parametrize("form", ["application/json", "application/graphql-response+json", "text/event-stream"])
@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("{ hello who price branches(first: 2) { totalCount nodes { name child { secret } } } }", {}),
        ("query ($n: Int!) { count(number: $n) }", {"n": 7}),
        ("query ($n: Int!) { count(number: $n) }", {"n": "seven"}),
        ("query ($n: Int!) { count(number: $n) }", {}),
        ("query ($yes: Boolean!) { hello who @include(if: $yes) }", {"yes": False}),
        ("{ hello broken refused throttled }", {}),
        ("{ hello strict }", {}),
        ("{ partial }", {}),
        ("{ costly }", {}),
        ("{ torn }", {}),
        ("mutation { a: ship b: ship }", {}),
        ("{ slow(seconds: 60) }", {}),
    ],
)
async def test_both_answer_the_same(
    pair: tuple[Gateway, Gateway], form: str, query: str, variables: dict[str, Any]
) -> None:
    answers = []
    for gateway in pair:
        headers = {"accept": form, "x_request_id": "r-1", "x_acorn_bill": "1", "x_acorn_deadline_ms": "500"}
        answer = await gateway.ask(query, variables=variables, **headers)
        text = answer.text if form == "text/event-stream" else json.dumps(answer.json())
        answers.append((answer.status_code, answer.headers["content-type"], text))
    assert answers[0][:2] == answers[1][:2]
    core, compiled = (_bodies(text) for _, _, text in answers)
    assert core == compiled


async def test_both_answer_the_same_over_a_websocket(pair: tuple[Gateway, Gateway]) -> None:
    operations = ["{ hello who }", "{ hello broken }", "{ partial }", "query ($n: Int!) { count(number: $n) }"]
    told = []
    for gateway in pair:
        async with connect(gateway.ws_url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            await socket.send(
                json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {await gateway.key()}"}})
            )
            frames = [json.loads(await socket.recv())]
            for number, query in enumerate(operations):
                await socket.send(json.dumps({"type": "subscribe", "id": str(number), "payload": {"query": query}}))
                while True:
                    frames.append(json.loads(await socket.recv()))
                    if frames[-1]["type"] in ("complete", "error"):
                        break
        told.append(json.loads(_same_id(json.dumps(frames))))
    assert told[0] == told[1]
    assert [frame["type"] for frame in told[0]] == ["connection_ack", *["next", "complete"] * 3, "error"]


async def test_a_text_that_utf_8_cannot_hold_is_a_mistake_of_ours_and_no_5xx(pair: tuple[Gateway, Gateway]) -> None:
    for gateway in pair:
        answer = await gateway.ask("{ torn }")
        assert answer.status_code == 200
        assert answer.json()["errors"][0]["extensions"]["code"] == "INTERNAL"


def _bodies(text: str) -> list[Any]:
    """JSON of an answer or of each event."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith(("data: {", "{"))]
    return [json.loads(line) for line in lines]


def _same_id(text: str) -> str:
    """Frames whose errors name no connection."""
    return re.sub(r"[0-9a-f]{32}", "id", text)
