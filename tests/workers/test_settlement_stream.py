"""Settlements that a platform has written come in one by one; what is wrong with one is not the others' matter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import select

from adapters.amazon.settlement_file import SettlementFile
from adapters.finances import SettlementBytes, SettlementReport
from adapters.settlement import Read
from domain.budget import Ask
from domain.channel import Channel, Platform, StreamName, StreamState
from domain.errors import MissingRole, Transient
from domain.ids import ChannelId
from store import stream
from store.session import Store
from store.tables import channel_state, finance_file
from tests.adapters.amazon.settlements import entries, file_in
from tests.workers.fake_port import FakePort
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.streams import failed, register, run_stream

AMAZON = ChannelId("amazon")
AT = datetime(2020, 3, 1, tzinfo=UTC)


@dataclass(slots=True)
class Payer(FakePort):
    """It has written these files, whose bytes may be none, and fails where it is told to."""

    files: dict[str, bytes | Exception] = field(default_factory=dict)
    writing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    since: list[datetime] = field(default_factory=list)
    every: Mapping[StreamName, timedelta] = field(default_factory=lambda: dict.fromkeys(StreamName, timedelta(hours=6)))
    read_settlement: Read = SettlementFile
    closed: Exception | None = None

    async def settlement_reports(self, since: datetime, ask: Ask) -> list[SettlementReport]:
        self.since.append(since)
        if self.closed is not None:
            raise self.closed
        return [
            SettlementReport(id, AT + timedelta(hours=number), "US", f"d-{id}", id not in self.writing)
            for number, id in enumerate(self.files)
        ]

    @asynccontextmanager
    async def settlement_file(self, report: SettlementReport, ask: Ask) -> AsyncIterator[SettlementBytes]:
        self.asked.append(report.id)

        async def chunks() -> AsyncIterator[bytes]:
            found = self.files[report.id]
            if isinstance(found, Exception):
                raise found
            yield found

        yield SettlementBytes("text/plain; charset=utf-8", chunks())


@pytest.fixture
def payer() -> Payer:
    return Payer(Channel(AMAZON, Platform.AMAZON, "Amazon", True, ("US",)))


@pytest.fixture
def deps(store: Store, redis: Redis, payer: Payer) -> Deps:
    return make_deps(store, redis, [payer])


async def state(deps: Deps) -> StreamState:
    await register(deps)
    async with deps.store.begin() as tx:
        return next(one for one in await stream.states(tx, [AMAZON]) if one.name is StreamName.SETTLEMENTS)


async def states(deps: Deps) -> list[tuple[str, str]]:
    """The report and the state of each file."""
    f = finance_file.c
    async with deps.store.begin() as tx:
        rows = await tx.execute(select(f.reports, f.state).order_by(f.reports))
    return [(row.reports[0], row.state) for row in rows]


def content(id: str) -> bytes:
    """A file of a settlement of that id."""
    return file_in("US", entries("US"), id=id)[0]


async def test_one_file_that_is_refused_or_does_not_come_delays_no_other(deps: Deps, payer: Payer) -> None:
    cut = Transient("A document was cut.")
    payer.files = {"R1": content("11"), "R2": b"nothing of ours\n", "R3": cut, "R4": content("14")}
    with pytest.raises(Transient):
        await run_stream(deps, await state(deps))
    assert await states(deps) == [("R1", "KEPT"), ("R2", "REFUSED"), ("R4", "KEPT")]
    assert (await state(deps)).cursor is None
    # What is here, refused or not, is not fetched again.
    payer.files["R3"] = content("13")
    await run_stream(deps, await state(deps))
    assert payer.asked == ["R1", "R2", "R3", "R4", "R3"]
    assert await states(deps) == [("R1", "KEPT"), ("R2", "REFUSED"), ("R3", "KEPT"), ("R4", "KEPT")]


async def test_the_cursor_stays_before_what_is_still_being_written(deps: Deps, payer: Payer) -> None:
    payer.files, payer.writing = {"R1": content("11"), "R2": content("12")}, {"R2"}
    await run_stream(deps, await state(deps))
    assert (await state(deps)).cursor == AT + timedelta(hours=1)
    payer.writing = set()
    started_at = datetime.now(UTC)
    await run_stream(deps, await state(deps))
    cursor = (await state(deps)).cursor
    assert cursor is not None
    assert cursor >= started_at
    assert payer.since[1] < AT
    assert payer.asked == ["R1", "R2"]


async def test_without_the_role_for_it_this_stream_alone_waits(deps: Deps, payer: Payer) -> None:
    payer.closed = MissingRole("Amazon refuses getReports. Give the application the role for it.")
    standing = await state(deps)
    with pytest.raises(MissingRole) as problem:
        await run_stream(deps, standing)
    await failed(deps, standing, problem.value, 1)
    assert ((await state(deps)).last_error or "").startswith("Amazon refuses getReports")
    async with deps.store.begin() as tx:
        assert (await tx.execute(select(channel_state).where(channel_state.c.paused_until.is_not(None)))).all() == []
