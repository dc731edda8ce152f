"""A crowd that asks the same thing at once has it executed once, and nobody gets what is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
from graphql import OperationType

from gateway import metrics
from gateway.flight import Flights
from gateway.plan import Plans
from tests.gateway import sample
from tests.gateway.conftest import Gateway, served, settings_of, until

LASTING = frozenset({"Query.slow", "Query.held", "Query.costly", "Query.broken", "Query.partial"})


@pytest.fixture(scope="module")
async def gateway(
    new_database: Callable[[], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    settings = settings_of(new_database(), redis_url, tmp_path_factory.mktemp("gateway"))
    async with served(settings, lasting=LASTING) as made:
        for scope in ("admin", "read"):
            await made.key(scope)
        yield made


@pytest.fixture(autouse=True)
def _steps() -> Iterator[None]:
    sample.STEPS.clear()
    yield
    sample.STEPS.clear()
    sample.HELD.clear()


def shared() -> float:
    counted: float = metrics.OPERATIONS_SHARED._value.get()
    return counted


def waiting(gateway: Gateway) -> int:
    """How many wait for what somebody else leads."""
    flights: Any = gateway.app._executor._flights
    return sum(len(one._callbacks or ()) for one in flights._under_way.values())


async def crowd(gateway: Gateway, query: str, count: int = 5, **headers: Any) -> list[dict[str, Any]]:
    """What so many are answered; a query that is held goes on when all have come."""
    asked = [asyncio.create_task(gateway.ask(query, **headers)) for _ in range(count)]
    if "held" in query:
        await until(lambda: waiting(gateway) == count - 1)
        sample.let_go()
    answers = await asyncio.gather(*asked)
    assert {one.status_code for one in answers} == {200}
    return [one.json() for one in answers]


async def apart(*asked: Awaitable[httpx.Response]) -> list[dict[str, Any]]:
    """What questions are answered of which each is executed by itself; they go on when all have begun."""
    sample.STEPS.clear()
    answers = asyncio.gather(*asked)
    await until(lambda: sample.STEPS.count("began") == len(asked))
    sample.let_go()
    return [one.json() for one in await answers]


async def test_a_crowd_is_executed_once(gateway: Gateway) -> None:
    before = shared()
    answers = await crowd(gateway, "{ held }")
    assert answers == [{"data": {"held": "done"}}] * 5
    assert sample.STEPS == ["began", "ended"]
    assert shared() == before + 4


async def test_what_is_another_question_is_executed_apart(gateway: Gateway) -> None:
    await apart(
        gateway.ask("{ held }"),
        gateway.ask("{ held(number: 1) }"),
        gateway.ask("{ held }", "read"),  # other scopes
        gateway.ask("{ held }", x_acorn_deadline_ms="20000"),
    )
    assert sample.STEPS == ["began"] * 4 + ["ended"] * 4


async def test_an_answer_with_a_field_of_the_callers_own_is_never_shared(gateway: Gateway) -> None:
    for scopes in (("admin", "read"), ("admin", "admin")):
        answers = await apart(*(gateway.ask("{ who held }", scope) for scope in scopes))
        assert [one["data"]["who"] for one in answers] == list(scopes)


def test_only_queries_of_lasting_fields_are_lasting() -> None:
    plans = Plans(sample.schema._schema, sample.SCOPES, lasting={"Query.slow", "Mutation.ship", "Subscription.quiet"})
    assert plans.of("{ slow(seconds: 1) __typename }", None).lasting
    for query in ("mutation { ship }", "subscription { quiet }", "{ slow(seconds: 1) who }", "{ who }"):
        assert not plans.of(query, None).lasting
    assert plans.of("mutation { ship }", None).kind is OperationType.MUTATION


async def test_a_leader_that_leaves_takes_nobody_along(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as other:
        body = {"query": "{ held }", "variables": None}
        leader = asyncio.create_task(other.post("/graphql", json=body, headers=await gateway.headers()))
        await until(lambda: sample.STEPS == ["began"])
        others = [asyncio.create_task(gateway.ask("{ held }")) for _ in range(3)]
        await until(lambda: waiting(gateway) == 3)
        leader.cancel()
        await asyncio.wait({leader})
    await until(lambda: sample.STEPS == ["began", "cancelled", "began"] and waiting(gateway) == 2)
    sample.let_go()
    assert [(await one).json() for one in others] == [{"data": {"held": "done"}}] * 3
    assert sample.STEPS == ["began", "cancelled", "began", "ended"]
    assert len(gateway.app._executor._flights) == 0


async def test_failures_are_shared_in_each_callers_own_words(gateway: Gateway) -> None:
    answers = await crowd(gateway, "{ held broken partial }", 3)
    ids = {
        next(one["extensions"]["requestId"] for one in told["errors"] if one["path"] == ["broken"]) for told in answers
    }
    assert len(ids) == 3
    assert all([one["path"] for one in told["errors"]] == [["broken"], ["partial", 0]] for told in answers)
    assert sample.STEPS == ["began", "ended"]


async def test_each_has_a_bill_of_its_own(gateway: Gateway) -> None:
    answers = await crowd(gateway, "{ held costly }", 3, x_acorn_bill="1")
    bills = sorted((told["extensions"]["bill"] for told in answers), key=lambda one: -one["upstreamCalls"])
    assert [one["upstreamCalls"] for one in bills] == [3, 0, 0]
    assert [one["byOperation"][0]["coalesced"] for one in bills] == [7, 10, 10]
    assert sample.STEPS == ["began", "ended"]


async def test_whoever_waits_has_a_deadline_too(gateway: Gateway) -> None:
    answers = await crowd(gateway, "{ slow(seconds: 60) }", 3, x_acorn_deadline_ms="200")
    assert all(told["errors"][0]["extensions"]["code"] == "DEADLINE_EXCEEDED" for told in answers)
    assert len(gateway.app._executor._flights) == 0


async def test_a_flight_that_is_given_up_is_led_anew() -> None:
    flights: Flights[int] = Flights()

    async def follow() -> int | None:
        return await flights.landed("question")

    assert await follow() is None
    with flights.leading("question"):
        waits = asyncio.create_task(follow())
        await asyncio.sleep(0)
    assert await waits is None
    with flights.leading("question") as landing:
        waits = asyncio.create_task(follow())
        await asyncio.sleep(0)
        landing.set_result(7)
    assert await waits == 7
