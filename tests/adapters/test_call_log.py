"""The log keeps what it hears, late and together, and never stands in a call's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import pytest

from adapters.call_log import Bounds, CallLog
from adapters.transport import Call, Transport
from domain.errors import Transient
from domain.exchange import Exchange
from tests.adapters.test_redact import spoken

QUICK = Bounds(every_s=0.01, first_rest_s=0.01)


@dataclass
class Desk:
    """Where calls are kept; away for the next `away` times, and refusing those about a subject in `refused`."""

    away: int = 0
    refused: frozenset[str] = frozenset()
    kept: list[Exchange] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    async def keep(self, told: Sequence[Exchange]) -> None:
        if self.away:
            self.away -= 1
            raise Transient("away")
        if any(self.refused & set(one.subjects) for one in told):
            raise ValueError("not to be kept")
        self.kept += told
        self.batches.append(len(told))

    @property
    def operations(self) -> list[str]:
        return [one.operation for one in self.kept]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_calls_are_kept_in_order_and_many_at_a_time() -> None:
    desk = Desk()
    log = CallLog(desk.keep, bounds=Bounds(every_s=0.2, batch=50))
    for number in range(120):
        log.hear(spoken(operation=f"op{number}"))
    await until(lambda: log.kept == 120)
    assert desk.operations == [f"op{number}" for number in range(120)]
    assert desk.batches == [50, 50, 20]
    await log.settle()


async def test_an_orderly_stop_loses_nothing() -> None:
    desk = Desk()
    log = CallLog(desk.keep, bounds=Bounds(every_s=3600))
    for number in range(30):
        log.hear(spoken(None, {"x": "y" * 200_000} if number % 10 == 0 else {}, operation=f"op{number}"))
    await asyncio.sleep(0)
    await log.settle()
    assert (len(desk.kept), log.dropped) == (30, 0)
    log.hear(spoken())
    assert log.dropped == 1


async def test_a_database_that_is_away_is_waited_for() -> None:
    desk = Desk(away=3)
    log = CallLog(desk.keep, bounds=QUICK)
    log.hear(spoken(operation="a"))
    log.hear(spoken(operation="b"))
    await until(lambda: log.kept == 2)
    assert (desk.operations, log.dropped) == (["a", "b"], 0)
    await log.settle()


@pytest.mark.parametrize("bounds", [Bounds(every_s=0.01, calls=10), Bounds(every_s=0.01, size_bytes=1_000)])
async def test_what_finds_no_room_is_counted_and_calls_go_on(bounds: Bounds) -> None:
    desk = Desk(away=10**6)
    log = CallLog(desk.keep, bounds=bounds)
    for _ in range(25):
        log.hear(spoken({"x": "y" * 90}, write=True))
    assert 10 <= log.dropped <= 16
    await log.settle(within_s=0.01)
    assert (log.kept, log.dropped) == (0, 25)


async def test_one_that_cannot_be_kept_costs_no_other() -> None:
    desk = Desk(refused=frozenset({"sku:BAD"}))
    log = CallLog(desk.keep, bounds=QUICK)
    for sku in ("A", "BAD", "B"):
        log.hear(spoken(url=f"https://a/items/s/{sku}"))
    await until(lambda: log.kept == 2)
    assert [one.subjects for one in desk.kept] == [("sku:A",), ("sku:B",)]
    assert log.dropped == 1
    await log.settle()


async def test_a_database_that_goes_away_between_single_ones_is_rested_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    pause = asyncio.sleep

    async def rest(seconds: float) -> None:
        # Whatever else is still asleep in this process shall not be counted.
        if seconds >= 1.0:
            rests.append(seconds)
        await pause(min(seconds, 0.05))

    async def keep(told: Sequence[Exchange]) -> None:
        if len(told) > 1:
            raise ValueError("one of them is not to be kept")
        if len(rests) < 3:
            raise Transient("away")

    log = CallLog(keep, bounds=Bounds(every_s=0.0, first_rest_s=1.0))
    for _ in range(3):
        log.hear(spoken())
    monkeypatch.setattr("adapters.call_log.asyncio.sleep", rest)
    await log.settle()
    assert (rests, log.kept, log.dropped) == ([1.0, 2.0, 4.0], 3, 0)


async def test_the_transport_tells_all_calls_and_only_calls() -> None:
    desk = Desk()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/lost":
            raise httpx.ReadTimeout("secret words", request=request)
        return httpx.Response(200, json={"sku": "A"}, headers={"x-amzn-requestid": "req-9"})

    log = CallLog(desk.keep, bounds=QUICK)
    transport = Transport(hear=log.hear, wire=httpx.MockTransport(answer))
    call = Call("amazon-na", "getThing", 0.5, ("item:1",))
    await transport.send("GET", "https://a/x?sku=A%2FB", write=False, call=call)
    await transport.send("GET", "https://a/x", write=False)
    with pytest.raises(Transient):
        await transport.send("GET", "https://a/lost", write=False, call=call)
    await transport.close()
    await log.settle()
    first, second = desk.kept
    assert (first.path, first.status, first.upstream_request_id) == ("/x?sku=A%2FB", 200, "req-9")
    assert (first.subjects, first.response, first.waited_s) == (("item:1", "sku:A/B", "sku:A"), '{"sku":"A"}', 0.5)
    assert (second.status, second.failure) == (None, "ReadTimeout")
