"""What moved at Amazon, from held back to settled, stands once at each step, and what is paid is what the files say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select

from adapters.amazon import finances, settlements
from adapters.amazon.platform import AmazonPort
from adapters.finances import Settlements
from domain.budget import Ask
from domain.channel import Channel, Platform, StreamName
from domain.finance import counted_once
from domain.ids import ChannelId
from domain.money_class import MoneyClass
from domain.money_line import MoneyLine, Source, Stage
from store import money_line, stream
from store.session import Store
from store.tables import finance_file, settlement
from store.tables import money_line as lines_table
from tests.adapters.amazon.bench import Desk, Sandbox, make_config, make_desk, make_pool
from tests.workers.house import make_deps
from workers import settlements as settlement_stream
from workers.deps import Deps
from workers.streams import register, run_stream

OPERATIONS = ("listTransactions", "getReports", "getReportDocument", "searchOrders", "getOrder")
MOVED, PAID = StreamName.TRANSACTIONS, StreamName.SETTLEMENTS
AMAZON = ChannelId("amazon-us")


class Later(datetime):
    """The sandbox's time, so far ahead of ours."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + cls.ahead


@dataclass(slots=True)
class Bench:
    """Deps over Amazon, which is the sandbox."""

    deps: Deps
    desk: Desk

    async def run(self, *names: StreamName) -> None:
        """One run of each stream, one after the other."""
        await register(self.deps)
        for name in names:
            async with self.deps.store.begin() as tx:
                states = {one.name: one for one in await stream.states(tx, [AMAZON])}
            await run_stream(self.deps, states[name])


@asynccontextmanager
async def opened(store: Store, redis: Redis, url: str) -> AsyncIterator[Bench]:
    """A bench; nothing of it is running."""
    channel = Channel(AMAZON, Platform.AMAZON, "Amazon US", True, ("US",))
    desk = make_desk(redis, make_config("na", url, channel=channel))
    deps = make_deps(store, redis, [], locations=[make_pool(desk.config)])
    ports, channels = {AMAZON: desk.port}, {AMAZON: channel}
    deps = replace(deps, ports=ports, channels=channels, clock=lambda: Later.now())
    finances.datetime, settlements.datetime = Later, Later  # type: ignore[attr-defined]
    try:
        yield Bench(deps, desk)
    finally:
        finances.datetime, settlements.datetime = datetime, datetime  # type: ignore[attr-defined]
        await desk.close()


@pytest.fixture(scope="module")
async def amazon() -> AsyncIterator[Sandbox]:
    sandbox = Sandbox("--products", "12", "--orders", "60", "--lag", "0", "--marketplaces", "US")
    try:
        await sandbox.generous(*OPERATIONS)
        yield sandbox
    finally:
        await sandbox.close()


@pytest.fixture
async def bench(store: Store, redis: Redis, amazon: Sandbox) -> AsyncIterator[Bench]:
    async with opened(store, redis, amazon.url) as made:
        yield made


async def test_from_held_back_to_settled_each_amount_stands_once(bench: Bench, amazon: Sandbox) -> None:
    await bench.run(StreamName.ORDERS, MOVED)
    told = await standing(bench)
    assert {line.stage for lines in told.values() for line in lines} == {Stage.DEFERRED, Stage.RELEASED}
    assert all(line.order_id for lines in told.values() for line in lines)
    await agrees(bench, told)
    # The settlements of the weeks before.
    await bench.run(PAID)
    told = await standing(bench)
    assert {line.stage for lines in told.values() for line in lines} == set(Stage) - {Stage.ESTIMATED}
    await agrees(bench, told)
    # What is held back now is released, and more has come to be seen.
    await passes(amazon, timedelta(days=8))
    await bench.run(MOVED)
    told = await standing(bench)
    assert {line.stage for lines in told.values() for line in lines} == {Stage.RELEASED, Stage.SETTLED}
    await agrees(bench, told)
    await amazon.post("settlements", {"marketplace": "US"})
    await bench.run(PAID)
    told = await standing(bench)
    assert {line.stage for lines in told.values() for line in lines} == {Stage.SETTLED}
    await agrees(bench, told)
    await agrees_with_files(bench, amazon)
    # Told again, or read again, it changes nothing.
    lines = await count(bench)
    await passes(amazon, timedelta(days=3))
    await bench.run(MOVED, PAID)
    assert await count(bench) == lines


class Killed(BaseException):
    """What no handler answers: as if the process were gone."""


async def test_in_the_other_order_and_over_a_death_it_comes_to_the_same(
    bench: Bench, amazon: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who brings settlements in dies between keeping the second file and making it books; only then is read what moved."""
    await amazon.post("settlements", {"marketplace": "US"})
    take = settlement_stream._take
    taken: list[str] = []

    async def dies(deps: Deps, port: Settlements, file: str) -> list[str]:
        if taken:
            raise Killed
        taken.append(file)
        return await take(deps, port, file)

    with monkeypatch.context() as patched:
        patched.setattr(settlement_stream, "_take", dies)
        with pytest.raises(Killed):
            await bench.run(PAID)
    async with bench.deps.store.begin() as tx:
        states = (await tx.scalars(select(finance_file.c.state).order_by(finance_file.c.at))).all()
        assert states == ["KEPT", "READING"]
        await tx.execute(finance_file.update().values(due_at=func.now()))
    await bench.run(PAID, MOVED)
    await agrees_with_files(bench, amazon)
    told = await standing(bench)
    assert {line.source for lines in told.values() for line in lines} == {Source.SETTLEMENT}


async def passes(amazon: Sandbox, by: timedelta) -> None:
    """The sandbox's time goes on, and ours with it."""
    await amazon.post("clock", {"advance": by.total_seconds()})
    there = datetime.fromisoformat((await amazon.get("clock"))["now"])
    Later.ahead = there - datetime.now(UTC)


async def standing(bench: Bench) -> dict[str, list[MoneyLine]]:
    """The lines of each order, but what a label costs, of which no transaction tells."""
    async with bench.deps.store.begin() as tx:
        rows = (await tx.execute(select(lines_table).where(money_line.standing()))).all()
    found = defaultdict(list)
    for one in map(money_line.line_of, rows):
        if one.order_external_id and one.money_class is not MoneyClass.SHIPPING_LABEL:
            found[one.order_external_id].append(one)
    return found


async def agrees(bench: Bench, told: dict[str, list[MoneyLine]]) -> None:
    """What stands of each order is what Amazon says of it now, each movement once."""
    port = bench.desk.port
    assert isinstance(port, AmazonPort)
    pages = [page async for page in port.transaction_pages(Later.now() - timedelta(days=90), Ask())]
    counts: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in counted_once(one for page in pages for one in page.items):
        counts[one.values("ORDER_ID")[0]] += one.total.amount
    assert {order: sum(line.amount.amount for line in lines) for order, lines in told.items()} == counts


async def agrees_with_files(bench: Bench, amazon: Sandbox) -> None:
    """Each settlement that there is stands in the books, with lines that add up to it."""
    closed = (await amazon.get("settlements"))["settlements"]
    async with bench.deps.store.begin() as tx:
        m = lines_table.c
        sums = select(settlement.c.external_id, settlement.c.total, func.sum(m.amount)).join(
            lines_table, (m.settlement_id == settlement.c.id) & money_line.standing()
        )
        rows = (await tx.execute(sums.group_by(settlement.c.id))).all()
    assert {row[0]: row[1] for row in rows} == {one["settlementId"]: Decimal(one["total"]) for one in closed}
    assert [row for row in rows if row[1] != row[2]] == []


async def count(bench: Bench) -> int:
    async with bench.deps.store.begin() as tx:
        return await tx.scalar(select(func.count()).select_from(lines_table)) or 0
