"""Reading by a route: who is asked how, what budgets say to it, what is learned."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from adapters.budget import RESERVE, SCRIPT, Budgets
from adapters.port import ABREAST, Page, Port, StockKey
from adapters.route import Question, Routed, Routes, readings
from adapters.usual import Usual
from domain.budget import Ask, Plan, Priority
from domain.channel import Channel, Location, LocationKind, Platform
from domain.errors import HouseError, Throttled, Transient
from domain.ids import ChannelId, ChannelSku, LocationCode
from domain.product import Rejected
from domain.route import Route, Step, Way, Wish
from domain.stock import Reading
from tests.adapters.amazon.bench import Uses

STOCK, REPORT = Plan("readStock", 2, 2), Plan("report", 0.0167, 15)
ROUTES = [
    Route(Way.BATCH, (Step(STOCK, 100),)),
    Route(Way.PAGES, (Step(STOCK, 100),), whole=True),
    Route(Way.REPORT, (Step(REPORT, 1, then_s=180.0),), whole=True),
]


@dataclass
class Shelf:
    """A port of one place that tells stock."""

    channel: Channel = field(
        default_factory=lambda: Channel(ChannelId(f"shop-{uuid4().hex}"), Platform.SHOPIFY, "Shop", True)
    )
    units: dict[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)  # from walks
    stock_batch: int = 3
    calls: list[list[str]] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)
    asking: int = 0
    most_asking: int = 0
    problem: HouseError | None = None

    @property
    def port(self) -> Port:
        return cast(Port, self)

    @property
    def place(self) -> Location:
        return Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, self.channel.id, "BER")

    def reading(self, sku: str) -> Reading:
        return Reading(
            LocationCode("BER"), self.channel.id, ChannelSku(sku), self.units.get(sku, 0), 0, 0, datetime.now(UTC)
        )

    async def stock_routes(self, locations: Sequence[Location], keys: int | None, known: int) -> list[Route]:
        return ROUTES

    async def stock(self, locations: Sequence[Location], keys: Sequence[StockKey], ask: Ask) -> list[Reading]:
        self.calls.append([key.channel_sku for key in keys])
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        if self.problem is not None and len(self.calls) > 2:
            raise self.problem
        return [self.reading(key.channel_sku) for key in keys]

    async def stock_pages(
        self, locations: Sequence[Location], ask: Ask, way: Way = Way.PAGES
    ) -> AsyncIterator[Page[Reading]]:
        self.ways.append(way)
        yield Page([self.reading(sku) for sku in self.units if sku not in self.hidden], self.rejected)

    async def read(self, way: Way, *skus: str) -> dict[str, int]:
        keys = [StockKey(ChannelSku(sku)) for sku in skus]
        pages = readings(self.port, way, [self.place], keys, Ask())
        found = [one async for page in pages for one in page.items]
        assert len(found) == len(skus)
        return {one.channel_sku: one.on_hand for one in found}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(units={"A": 1, "B": 2, "C": 3})


@pytest.fixture
async def budgets(redis: Redis) -> AsyncIterator[Budgets]:
    made = Budgets(redis, Uses())
    yield made
    await made.settle()


# Reading


@pytest.mark.parametrize("way", list(Way))
async def test_every_way_answers_each_key_once_with_zeros_for_what_is_not_there(shelf: Shelf, way: Way) -> None:
    assert await shelf.read(way, "B", "?", "A") == {"B": 2, "?": 0, "A": 1}


async def test_keys_are_asked_by_the_batch_or_one_by_one_a_few_calls_at_a_time(shelf: Shelf) -> None:
    skus = [f"S{number}" for number in range(30)]
    await shelf.read(Way.BATCH, *skus)
    assert [len(call) for call in shelf.calls] == [3] * 10
    assert 1 < shelf.most_asking <= ABREAST
    shelf.calls.clear()
    await shelf.read(Way.SINGLE, *skus)
    assert shelf.calls == [[sku] for sku in skus]


async def test_a_failing_call_ends_the_read_and_those_beside_it(shelf: Shelf) -> None:
    shelf.problem = Transient("away")
    with pytest.raises(Transient, match="away"):
        await shelf.read(Way.SINGLE, *(f"S{number}" for number in range(30)))
    assert shelf.asking == 0
    assert len(shelf.calls) < 30


async def test_what_a_walk_cannot_read_never_becomes_a_zero(shelf: Shelf) -> None:
    shelf.rejected = [Rejected(shelf.channel.id, "stock", "D", "unknown word", "{}")]
    assert await shelf.read(Way.PAGES, "A", "B") == {"A": 1, "B": 2}
    with pytest.raises(Transient, match="D, which cannot be read: unknown word"):
        await shelf.read(Way.PAGES, "A", "D")


async def test_what_a_report_leaves_out_is_asked_for_and_no_zero(shelf: Shelf) -> None:
    """An archived SKU is in no report, and still has its units."""
    shelf.hidden = {"C"}
    shelf.rejected = [Rejected(shelf.channel.id, "stock", "line 4", "no count", "B")]
    assert await shelf.read(Way.REPORT, "A", "C", "?") == {"A": 1, "C": 3, "?": 0}
    assert (shelf.ways, shelf.calls) == ([Way.REPORT], [["C", "?"]])


async def test_without_keys_the_port_tells_all_it_has_by_the_way_that_was_chosen(shelf: Shelf) -> None:
    pages = readings(shelf.port, Way.REPORT, [shelf.place], None, Ask())
    assert [one.channel_sku async for page in pages for one in page.items] == ["A", "B", "C"]
    assert shelf.ways == [Way.REPORT]


# Choosing


async def test_budgets_of_the_moment_decide_and_the_log_tells_every_candidate(
    shelf: Shelf, budgets: Budgets, caplog: pytest.LogCaptureFixture
) -> None:
    watched: list[Routed] = []
    routes = Routes(budgets, watched.append)
    question = Question(shelf.port, [shelf.place], 5000, 5000, Priority.BACKGROUND)
    with caplog.at_level("INFO", "adapters.route"):
        assert await routes.choose(question) is Way.BATCH
        # The platform tells of a slower plan.
        await budgets.spend(shelf.channel.id, STOCK, Ask(deadline=time.monotonic() + 5))
        await budgets.adopt(shelf.channel.id, STOCK.operation, rate=0.1)
        assert await routes.choose(question) is Way.REPORT
    first, second = (one.__dict__ for one in caplog.records if one.getMessage() == "route.chosen")
    assert (first["way"], first["calls"], first["keys"], first["known"]) == ("batch", 100, 5000, 5000)
    assert second["candidates"][0] == "report: 1 calls, 180.0 s"
    assert re.fullmatch(r"batch: 100 calls, \d+\.\d s \(slower: [\d,.]+ s against 180\.0 s\)", second["candidates"][1])
    assert [one.choice.taken.route.way for one in watched] == [Way.BATCH, Way.REPORT]


async def test_an_explanation_spends_nothing_and_is_told_to_nobody(
    shelf: Shelf, budgets: Budgets, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    watched: list[Routed] = []
    question = Question(shelf.port, [shelf.place], None, 5000, Priority.BACKGROUND)
    with caplog.at_level("INFO", "adapters.route"):
        told = await Routes(budgets, watched.append).explain(question, Wish(whole=True))
    assert told.choice.taken.route.way is Way.PAGES
    assert [one.lost for one in told.choice.others if one.route.way is Way.BATCH] == [
        "it finds only what is known already"
    ]
    assert (watched, caplog.records, shelf.calls, shelf.ways) == ([], [], [], [])
    assert await redis.keys(f"acorn:budget:{{{shelf.channel.id}:*") == []


async def test_without_redis_nothing_is_chosen(shelf: Shelf) -> None:
    away = Budgets(Redis.from_url("redis://127.0.0.1:9/0"), Uses())
    with pytest.raises(Throttled, match="Redis"):
        await Routes(away).choose(Question(shelf.port, [shelf.place], 1, 1, Priority.INTERACTIVE))
    await away.settle()


# Purses


async def test_a_purse_is_what_the_budget_truly_grants(budgets: Budgets) -> None:
    plan, channel = Plan("wide", 0.001, 20), ChannelId(f"amazon-{uuid4().hex}")
    for priority in Priority:
        purse = (await budgets.purses(channel, [plan], priority))["wide"]
        granted = 0
        for _ in range(int(purse.tokens - purse.kept + 1e-6)):
            await budgets.spend(channel, plan, Ask(priority, deadline=time.monotonic() + 5))
            granted += 1
        with pytest.raises(Throttled):
            await budgets.spend(channel, plan, Ask(priority, deadline=time.monotonic() + 0.5))
        assert granted > 0
        await budgets.refund(channel, "wide", granted)


def test_the_shares_that_classes_leave_are_those_of_the_script() -> None:
    told = re.search(r"local RESERVE = \{(.*?)\}", SCRIPT)
    assert told is not None
    shares: dict[Any, float] = {int(one[0]): float(one[1]) for one in re.findall(r"\[(\d)\] = ([\d.]+)", told[1])}
    assert shares == {int(priority): share for priority, share in RESERVE.items()}


# What things usually take


async def test_nothing_is_known_until_it_was_seen_and_then_the_newest_weighs_most(redis: Redis) -> None:
    usual, channel = Usual(redis), ChannelId(f"amazon-{uuid4().hex}")
    assert await usual.seconds(channel, "report") is None
    await usual.took(channel, "report", 100.0)
    assert await Usual(redis).seconds(channel, "report") == 100.0
    await usual.took(channel, "report", 200.0)
    assert await usual.seconds(channel, "report") == pytest.approx(130.0)
    assert await usual.seconds(channel, "other") is None


async def test_what_is_no_time_teaches_nothing_and_without_redis_nothing_is_known(redis: Redis) -> None:
    usual, channel = Usual(redis), ChannelId(f"amazon-{uuid4().hex}")
    for odd in (-1.0, float("nan"), float("inf")):
        await usual.took(channel, "report", odd)
    assert await usual.seconds(channel, "report") is None
    away = Usual(Redis.from_url("redis://127.0.0.1:9/0"))
    await away.took(channel, "report", 1.0)
    assert await away.seconds(channel, "report") is None
