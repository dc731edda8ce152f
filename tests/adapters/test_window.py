"""The shared window: what is asked together, what it costs, and what happens when callers or calls fail."""

import asyncio
import time

import pytest

from adapters.window import Window
from domain.budget import Ask, Bill, Priority
from domain.errors import HouseError, Throttled, Transient


class Upstream:
    """A batch operation that answers `key.upper()`, keeps what it was asked, and waits at `gate`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.asks: list[Ask] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.problem: Exception | None = None
        self.unknown: set[str] = set()
        self.refused: dict[str, HouseError] = {}

    async def fetch(self, keys: list[str], ask: Ask) -> dict[str, str | HouseError]:
        self.batches.append(keys)
        self.asks.append(ask)
        await self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return {key: self.refused.get(key) or key.upper() for key in keys if key not in self.unknown}


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


async def until_called(upstream: Upstream, times: int = 1) -> None:
    give_up_at = time.monotonic() + 30
    while len(upstream.batches) < times:
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0)


async def until_gone(before: set[asyncio.Task[object]]) -> None:
    give_up_at = time.monotonic() + 30
    while asyncio.all_tasks() - before:
        assert time.monotonic() < give_up_at
        await asyncio.sleep(0)


async def test_keys_of_many_callers_share_calls(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    keys = [f"k{number}" for number in range(250)]
    # 20 callers ask all of them, 25 more ask ten each.
    asked = [keys] * 20 + [keys[place : place + 10] for place in range(0, 250, 10)]
    answers = await asyncio.gather(*(window.ask(wanted, Ask()) for wanted in asked))
    assert [len(batch) for batch in upstream.batches] == [50] * 5
    assert sorted(key for batch in upstream.batches for key in batch) == sorted(keys)
    for wanted, answer in zip(asked, answers, strict=True):
        assert answer == {key: key.upper() for key in wanted}


async def test_separate_callers_fill_one_batch_before_it_departs(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=7, window_s=60)
    await asyncio.gather(*(window.ask([f"k{number}"], Ask()) for number in range(7)))
    assert [len(batch) for batch in upstream.batches] == [7]


async def test_a_key_asked_twice_by_one_caller_is_asked_once(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    assert await window.ask(["a", "b", "a"], Ask()) == {"a": "A", "b": "B"}
    assert upstream.batches == [["a", "b"]]


async def test_no_keys_cost_nothing(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    assert await window.ask([], Ask()) == {}
    assert upstream.batches == []


async def test_a_key_in_flight_is_joined_and_one_that_has_landed_is_asked_again(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=1)
    upstream.gate.clear()
    first = asyncio.create_task(window.ask(["a"], Ask()))
    await until_called(upstream)
    second = asyncio.create_task(window.ask(["a", "b"], Ask()))
    await until_called(upstream, 2)
    upstream.gate.set()
    assert [await first, await second] == [{"a": "A"}, {"a": "A", "b": "B"}]
    assert upstream.batches == [["a"], ["b"]]
    assert await window.ask(["a"], Ask()) == {"a": "A"}
    assert upstream.batches == [["a"], ["b"], ["a"]]


async def test_sharing_is_told_to_those_who_did_not_begin_the_call(upstream: Upstream) -> None:
    told: list[tuple[Ask, int]] = []
    window: Window[str, str] = Window(
        upstream.fetch, batch_size=2, on_coalesced=lambda ask, count: told.append((ask, count))
    )
    payer, guest = Ask(bill=Bill()), Ask(bill=Bill())
    await asyncio.gather(window.ask(["a", "b", "c"], payer), window.ask(["a", "c", "d", "e"], guest))
    assert upstream.batches == [["a", "b"], ["c", "d"], ["e"]]
    # Two calls, a+b and c+d, were the payer's; the third is the guest's own.
    assert told == [(guest, 2)]
    assert told[0][0] is guest
    assert [ask.bill for ask in upstream.asks] == [payer.bill, payer.bill, guest.bill]
    assert upstream.asks[0].bill is payer.bill
    assert upstream.asks[2].bill is guest.bill


@pytest.mark.parametrize(
    ("deadlines", "latest"), [((100.0, 300.0, 200.0), 300.0), ((100.0, None, 200.0), None), ((None, 100.0), None)]
)
async def test_a_call_is_as_urgent_as_its_most_urgent_caller_and_lasts_for_its_most_patient(
    upstream: Upstream, deadlines: tuple[float | None, ...], latest: float | None
) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    now = time.monotonic()
    asks = [
        Ask(priority, None if deadline is None else now + deadline)
        for priority, deadline in zip(
            (Priority.BACKGROUND, Priority.INTERACTIVE, Priority.WRITE), deadlines, strict=False
        )
    ]
    await asyncio.gather(*(window.ask(["a"], ask) for ask in asks))
    assert len(upstream.asks) == 1
    assert upstream.asks[0].priority is Priority.INTERACTIVE
    assert upstream.asks[0].deadline == (None if latest is None else now + latest)
    assert asks[0].priority is Priority.BACKGROUND


async def test_a_cancelled_caller_neither_stops_the_call_nor_harms_the_others(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    before = asyncio.all_tasks()
    upstream.gate.clear()
    goes_away = asyncio.create_task(window.ask(["a"], Ask()))
    await until_called(upstream)
    stays = asyncio.create_task(window.ask(["a"], Ask()))
    goes_away.cancel()
    await asyncio.wait({goes_away})
    upstream.gate.set()
    assert await stays == {"a": "A"}
    assert upstream.batches == [["a"]]
    await until_gone(before)


async def test_when_all_callers_have_gone_the_call_ends_by_itself_and_leaves_nothing(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    before = asyncio.all_tasks()
    upstream.gate.clear()
    callers = [asyncio.create_task(window.ask([f"k{number % 100}"], Ask())) for number in range(2400)]
    await until_called(upstream, 2)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert all(caller.cancelled() for caller in callers)
    upstream.gate.set()
    await until_gone(before)
    assert (window._seats, window._boarding) == ({}, None)
    assert await window.ask(["k1"], Ask()) == {"k1": "K1"}


async def test_a_failed_call_fails_its_own_keys_only(upstream: Upstream) -> None:
    problem = Throttled("later", retry_after_s=3)

    async def fetch(keys: list[str], ask: Ask) -> dict[str, str | HouseError]:
        if "b" in keys:
            raise problem
        return await upstream.fetch(keys, ask)

    window: Window[str, str] = Window(fetch, batch_size=2)
    assert await window.ask(["a", "b", "c", "d"], Ask()) == {"a": problem, "b": problem, "c": "C", "d": "D"}


async def test_one_key_can_fail_and_an_unknown_one_is_missing(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    upstream.unknown = {"b"}
    upstream.refused = {"c": Transient("not this one")}
    assert await window.ask(["a", "b", "c"], Ask()) == {"a": "A", "c": upstream.refused["c"]}


async def test_a_defect_in_the_call_reaches_the_callers_and_is_forgotten(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    upstream.problem = KeyError("payload")
    answer = (await window.ask(["a"], Ask()))["a"]
    assert type(answer) is HouseError
    assert answer.code == "INTERNAL"
    assert answer.__cause__ is upstream.problem
    assert [record.message for record in caplog.records] == ["window.failed"]
    upstream.problem = None
    assert await window.ask(["a"], Ask()) == {"a": "A"}


async def test_a_call_that_is_broken_off_leaves_no_caller_hanging(upstream: Upstream) -> None:
    window: Window[str, str] = Window(upstream.fetch, batch_size=50)
    upstream.gate.clear()
    caller = asyncio.create_task(window.ask(["a"], Ask()))
    await until_called(upstream)
    for task in window._tasks:
        task.cancel()
    assert type((await caller)["a"]) is Transient


async def test_what_is_not_answered_by_the_deadline_fails_alone(upstream: Upstream) -> None:
    slow = asyncio.Event()

    async def fetch(keys: list[str], ask: Ask) -> dict[str, str | HouseError]:
        if keys == ["slow"]:
            await slow.wait()
        return await upstream.fetch(keys, ask)

    window: Window[str, str] = Window(fetch, batch_size=1)
    patient = asyncio.create_task(window.ask(["slow"], Ask()))
    answer = await window.ask(["slow", "a"], Ask(deadline=time.monotonic() + 0.5))
    assert answer["a"] == "A"
    assert type(answer["slow"]) is Transient
    slow.set()
    assert await patient == {"slow": "SLOW"}
