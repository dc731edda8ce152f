"""Walks through lists that change while they are read: what was there and stayed is met, and what changed comes as it is now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.rest.client import Operation, Reply
from adapters.rest.paging import pages
from adapters.rest.wire import stamp
from domain.budget import Ask
from domain.errors import Invalid

START = datetime(2026, 11, 23, tzinfo=UTC)
LIST = Operation("listOrders", "GET", "/orders", part="orders")


@dataclass
class Shop:
    """A list by the contract: rows sorted by (updated_at, id), the cursor a place in that order. `changes` happen between pages:
    a row is touched or made, or all cursors are forgotten."""

    changes: list[tuple[str, int]]
    rows: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    clock: int = 0
    era: int = 0

    def touch(self, id: str) -> None:
        self.clock += 1
        self.rows[id] = (START + timedelta(seconds=self.clock), self.clock)

    async def call(self, operation: Operation, ask: Ask, *, query: dict[str, str]) -> Reply:
        order = sorted((at, id, version) for id, (at, version) in self.rows.items())
        if "updated_since" in query:
            order = [one for one in order if one[0] >= datetime.fromisoformat(query["updated_since"])]
        if "cursor" in query:
            era, at, id = query["cursor"].split("|")
            if int(era) != self.era:
                raise Invalid("no", upstream_code="invalid-cursor")
            order = [one for one in order if (stamp(one[0]), one[1]) > (at, id)]
        page = order[: int(query["limit"])]
        cursor = f"{self.era}|{stamp(page[-1][0])}|{page[-1][1]}" if len(order) > len(page) else None
        if self.changes:
            what, number = self.changes.pop(0)
            if what == "forget":
                self.era += 1
            else:
                self.touch(str(number))
        data: list[Any] = [{"id": id, "updated_at": stamp(at), "version": version} for at, id, version in page]
        return Reply({"data": data, "next_cursor": cursor}, None, "req")


@settings(max_examples=150, deadline=None)
@given(
    rows=st.integers(0, 30),
    size=st.integers(2, 7),  # a page of one would never come past the row that it resumes at
    changes=st.lists(st.tuples(st.sampled_from(["touch", "touch", "forget"]), st.integers(0, 40)), max_size=12),
)
def test_nothing_that_was_there_is_missed_and_the_newest_comes_last(
    rows: int, size: int, changes: list[tuple[str, int]]
) -> None:
    shop = Shop([])
    for number in range(rows):
        shop.touch(str(number))
    shop.changes = list(changes)
    there = set(shop.rows)

    async def walk() -> dict[str, int]:
        met: dict[str, int] = {}
        async for batch in pages(shop, LIST, {}, Ask(), size=size):  # type: ignore[arg-type]  # a shop in place of its client
            for row in batch.rows:
                assert row["version"] >= met.get(row["id"], 0), "what comes later is never older"
                met[row["id"]] = row["version"]
        return met

    met = asyncio.run(walk())
    assert there <= set(met)
    late = {id for id, (_, version) in shop.rows.items() if met.get(id) != version}
    # Only what changed after the last page was read may be told in an older state.
    assert len(late) <= 1


def test_a_stamp_is_as_the_contract_writes_it() -> None:
    assert stamp(datetime.fromisoformat("2026-11-23T09:00:00.5+01:00")) == "2026-11-23T08:00:00.500000Z"
