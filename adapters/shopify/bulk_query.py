"""Whole connections by a bulk query: what it takes, and its rows put together from the lines of its file.

Rules of such a document: one connection at least and five at most, nested twice at most, each with `edges { node }`; whatever has
children selects its `id`; no variables. A line is one object. Those of an inner connection name what they belong to by
`__parentId`, and may stand anywhere in the file. Source: bulkOperationRunQuery.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from adapters.shopify import bulk
from adapters.shopify.bulk import Operation
from adapters.shopify.client import PLAN, ShopClient
from adapters.shopify.document import PAGE, Document
from adapters.shopify.paging import Batch, Search, pages
from domain.budget import Ask
from domain.errors import OutcomeUnknown, Refused, Throttled, Transient
from domain.route import Route, Step, Way, Wish, choose

log = logging.getLogger(__name__)

BULK_RUN_QUERY = Document(
    "BulkRunQuery",
    "bulkOperationRunQuery",
    10,
    f"""mutation BulkRunQuery($query: String!) {{
  bulkOperationRunQuery(query: $query, groupObjects: false) {{
    bulkOperation {{ {bulk.STATE} }} userErrors {{ code field message }}
  }}
}}""",
    write=True,
    itemized=True,
)

# What an answer takes, and a look at an operation over its whole life.
CALL_S = 0.5
LOOKS = 15
# What a shop takes before one has shown it: some seconds to begin, and the objects, inner ones included.
BEGIN_S, OBJECTS_PER_S = 10.0, 500.0
# Reading a line of the file.
LINE_S = 0.00002
# Lines that are written to the disk at once.
LINES = 2000

_KIND = re.compile(r"gid://shopify/(\w+)/")

Kin = Mapping[str, Mapping[str, str]]
"""By kind of parent and kind of child (as in global ids): the connection of the parent that the child belongs to."""


@dataclass(frozen=True, slots=True)
class BulkQuery:
    """One root connection in full: `body` is its field with all that is selected in it. `kin` names the inner connections."""

    name: str
    body: str
    kin: Kin = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """The name of the operation: the same for the same question, so that its answer can be waited for by another process."""
        return f"{self.name}_{hashlib.sha256(self.body.encode()).hexdigest()[:16]}"

    @property
    def text(self) -> str:
        return f"query {self.tag} {{ {self.body} }}"


@dataclass(frozen=True, slots=True)
class Load:
    """The same rows by both ways: pages of `document` under `search`, or a bulk query. A row comes with `children` on average."""

    document: Document
    search: Search
    query: BulkQuery
    children: float = 0.0
    page: int = PAGE


async def routes(client: ShopClient, load: Load, rows: int) -> list[Route]:
    """What both ways take for so many rows: in points by what they have cost before, in seconds by what they have taken."""
    objects = rows * (1 + load.children)
    usual_s = await client.budgets.usual.seconds(client.channel, _usual(load.query))
    made_s = BEGIN_S + objects / OBJECTS_PER_S if usual_s is None else usual_s
    points = await client.costs.actual(load.document)
    start = Step(PLAN, 1, BULK_RUN_QUERY.cost + bulk.BULK_FIND.cost, CALL_S, then_s=made_s)
    looks = Step(PLAN, LOOKS, bulk.BULK_POLL.cost, CALL_S / LOOKS, then_s=objects * LINE_S)
    return [
        Route(Way.PAGES, (Step(PLAN, max(1, math.ceil(rows / load.page)), points, CALL_S),), whole=True),
        Route(Way.BULK, (start, looks), whole=True, age_s=made_s),
    ]


async def cheaper(client: ShopClient, load: Load, count: Document, search: str | None, ask: Ask) -> Way:
    """The way that is there first under today's budget. `count` tells for 10 points how many rows there are."""
    reply = await client.run(count, {"query": search}, ask)
    rows = int(reply.data[count.operation]["count"])
    purses = await client.budgets.purses(client.channel, [PLAN], ask.priority)
    choice = choose(await routes(client, load, rows), purses, Wish(whole=True))
    told = {one.route.way.value: round(one.seconds, 1) for one in (choice.taken, *choice.others)}
    way = choice.taken.route.way
    extra = {"channel": client.channel, "load": load.query.name, "rows": rows, "way": way.value, "seconds": told}
    log.info("load.chosen", extra=extra)
    return way


async def loaded(client: ShopClient, load: Load, way: Way, ask: Ask) -> AsyncIterator[Batch]:
    """Every row, by one of both ways. Where a bulk operation fails, the pages are walked through instead, from the first one.

    Rows that a failed operation has told come once more then. Raises as `ShopClient.run` does.
    """
    if way is Way.BULK:
        try:
            async for batch in _bulk(client, load.query, ask):
                yield batch
        except (Refused, Transient, Throttled, OutcomeUnknown) as problem:
            extra = {"channel": client.channel, "load": load.query.name, "reason": str(problem)}
            log.warning("bulk.failed", extra=extra)
        else:
            return
    async for batch in pages(client, load.document, load.search, ask):
        yield batch


async def _bulk(client: ShopClient, query: BulkQuery, ask: Ask) -> AsyncIterator[Batch]:
    asked_at, began = datetime.now(UTC), time.monotonic()
    operation = await bulk.under_way(client, query.tag, ask)
    if operation is not None:
        log.info("bulk.taken_over", extra={"channel": client.channel, "load": query.name, "id": operation.id})
    else:
        operation = await bulk.start(client, BULK_RUN_QUERY, {"query": query.text}, query.tag, ask)
    # One that is taken over, or found in place of a start that was lost, tells of an earlier moment.
    asked_at = min(asked_at, operation.created_at)
    operation = await bulk.ended(client, operation, ask)
    if not operation.ended:
        if ask.deadline is None:
            await bulk.cancel(client, operation, ask)
        raise Transient(f"The bulk operation {operation.id} is still {operation.status}.")
    if operation.status == "COMPLETED":
        took_s = _took_s(operation, time.monotonic() - began)
        await client.budgets.usual.took(client.channel, _usual(query), took_s)
    told = bulk.rows(client, operation, ask)
    async for rows in families(told, query.kin) if query.kin else _batched(told):
        yield Batch(rows, False, operation.id, asked_at, in_order=False)
    yield Batch([], True, operation.id, asked_at)


def _usual(query: BulkQuery) -> str:
    return f"bulk:{query.name}"


def _took_s(operation: Operation, waited_s: float) -> float:
    """By the platform's clock where it says so, for we only see that it has ended when we look."""
    if operation.completed_at is None:
        return waited_s
    return min(waited_s, max(0.0, (operation.completed_at - operation.created_at).total_seconds()))


async def _batched(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[list[Any]]:
    """As they come. What had come before a failure is told before it is raised."""
    batch: list[Any] = []
    try:
        async for row in rows:
            batch.append(row)
            if len(batch) == PAGE:
                yield batch
                batch = []
    except Transient:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


async def families(rows: AsyncIterator[dict[str, Any]], kin: Kin) -> AsyncIterator[list[Any]]:
    """Objects with all that belongs to them, as connections that have no further page; in the order in which the objects came.

    Lines are kept on the disk until the last one has come, for any may belong to any; nothing is told of a file that breaks off.
    A line that belongs to nothing we know stands for itself.
    """
    with closing(_Shelf(kin)) as shelf:
        waiting: list[dict[str, Any]] = []
        async for row in rows:
            waiting.append(row)
            if len(waiting) == LINES:
                await asyncio.to_thread(shelf.put, waiting)
                waiting = []
        await asyncio.to_thread(shelf.end, waiting)
        after = 0
        while True:
            after, found = await asyncio.to_thread(shelf.take, after)
            if not found:
                return
            yield found


class _Shelf:
    """The lines of one file, in a database of its own that lies on the disk and is gone with it."""

    def __init__(self, kin: Kin) -> None:
        self._kin = kin
        # No name: a temporary file, which SQLite keeps in memory as long as it is small.
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute("CREATE TABLE line (place INTEGER PRIMARY KEY, id TEXT, parent TEXT, top INTEGER, text BLOB)")

    def close(self) -> None:
        self._db.close()

    def put(self, rows: Iterable[dict[str, Any]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO line (id, parent, top, text) VALUES (?, ?, ?, ?)", map(_entry, rows))
        self._db.execute("COMMIT")

    def end(self, rows: Iterable[dict[str, Any]]) -> None:
        """The last lines. What belongs to nothing that came stands for itself from now on."""
        self.put(rows)
        self._db.execute("CREATE INDEX by_parent ON line (parent)")
        self._db.execute("CREATE INDEX by_id ON line (id)")
        self._db.execute(
            "UPDATE line SET top = 1 WHERE NOT EXISTS (SELECT 1 FROM line AS other WHERE other.id = line.parent)"
        )

    def take(self, after: int) -> tuple[int, list[Any]]:
        """The next objects behind that place, and the place of the last of them."""
        found = self._db.execute(
            "SELECT place, text FROM line WHERE top AND place > ? ORDER BY place LIMIT ?", (after, PAGE)
        ).fetchall()
        strangers: list[Any] = []
        made = [self._whole(text, strangers) for _, text in found]
        return (found[-1][0] if found else after), made + strangers

    def _whole(self, text: bytes, strangers: list[Any]) -> Any:
        """The object with its connections filled; children that fit in none of them go to `strangers`."""
        row = orjson.loads(text)
        gid = row.get("id")
        connections = self._kin.get(_kind(gid), {})
        filled: dict[str, list[Any]] = {name: [] for name in connections.values()}
        below = self._db.execute("SELECT text FROM line WHERE parent = ? ORDER BY place", (gid,)).fetchall()
        for (line,) in below:
            child = self._whole(line, strangers)
            filled.get(connections.get(_kind(child.get("id")), ""), strangers).append(child)
        for name, nodes in filled.items():
            row[name] = {"nodes": nodes, "pageInfo": {"hasNextPage": False, "endCursor": None}}
        return row


def _entry(row: dict[str, Any]) -> tuple[str | None, str | None, bool, bytes]:
    parent = _text(row.pop("__parentId", None))
    return _text(row.get("id")), parent, parent is None, orjson.dumps(row)


def _text(told: object) -> str | None:
    return told if isinstance(told, str) else None


def _kind(gid: object) -> str:
    found = _KIND.match(gid) if isinstance(gid, str) else None
    return found[1] if found else ""
