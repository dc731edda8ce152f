"""Connections to their end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adapters.shopify.client import Json, Reply, ShopClient
from adapters.shopify.document import DEEPEST, Document
from adapters.shopify.wire import PageInfo, Ref, Rows, number_of
from adapters.wire import Unclear, W, read
from domain.budget import Ask
from domain.errors import MissingRole, Transient

# The search of the first page (None), or the one that goes on beyond a row.
Search = Callable[[object | None], str | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they came, whether these were the last, the platform's name for the call, and the instant before it. `in_order`:
    all rows that sort before these have been told."""

    rows: list[object]
    last: bool
    request_id: str | None
    as_of: datetime
    in_order: bool = True


async def fullest(client: ShopClient, document: Document, fuller: Document | None, variables: Json, ask: Ask) -> Reply:
    """The answer to `fuller`, or to `document` while a scope or an approval is missing for what `fuller` asks beyond it."""
    if fuller is not None:
        with contextlib.suppress(MissingRole):
            return await client.run(fuller, variables, ask)
    return await client.run(document, variables, ask)


async def pages(
    client: ShopClient,
    document: Document,
    search: Search,
    ask: Ask,
    within: Callable[[Json], object] | None = None,
    fuller: Document | None = None,
) -> AsyncIterator[Batch]:
    """Pages of a root connection, or of the one that `within` finds in `data`, however many rows it has: the platform's cursors
    end at `DEEPEST` rows, so a new search goes on beyond the last of them. `fuller` is as in `fullest`."""
    query, after, taken = search(None), None, 0
    while True:
        as_of = datetime.now(UTC)
        reply = await fullest(client, document, fuller, {"query": query, "after": after}, ask)
        page = answered(Rows, within(reply.data) if within else reply.data[document.operation])
        yield Batch(page.nodes, not page.page_info.has_next_page, reply.request_id, as_of)
        if not page.page_info.has_next_page:
            return
        after, taken = beyond(after, page.page_info), taken + len(page.nodes)
        if taken >= DEEPEST:
            further = search(page.nodes[-1]) if page.nodes else query
            if further == query:
                raise Transient(f"{document.operation} has {DEEPEST} rows or more that cannot be told apart.")
            query, after, taken = further, None, 0


def by_id(terms: Sequence[str]) -> Search:
    """The search for rows that `terms` take, where the connection is sorted by id."""

    def search(beyond: object | None) -> str | None:
        more = [] if beyond is None else [f"id:>{number_of(answered(Ref, beyond).id)}"]
        return " AND ".join([*terms, *more]) or None

    return search


async def whole(
    client: ShopClient, document: Document, gid: str, model: type[W], first: list[W], page: PageInfo, ask: Ask
) -> list[W]:
    """`first` and all that follows it. `document` takes `id` and `after` and names the connection `rest`.

    Raises Transient when the thing goes away meanwhile.
    """
    rows, after = list(first), None
    while page.has_next_page:
        after = beyond(after, page)
        reply = await client.run(document, {"id": gid, "after": after}, ask)
        parent = reply.data[document.operation]
        if parent is None:
            raise Transient(f"{gid} went away while it was read.", upstream_request_id=reply.request_id)
        told = answered(Rows, parent["rest"])
        rows += [answered(model, row) for row in told.nodes]
        page = told.page_info
    return rows


def beyond(after: str | None, page: PageInfo) -> str:
    """Where the page that comes next begins. Raises Transient where it would be the one that was asked for with `after`: so a
    list would never end."""
    if page.end_cursor is None or page.end_cursor == after:
        raise Transient("A list of the shop's goes on, and does not say where.")
    return page.end_cursor


def answered(model: type[W], raw: object) -> W:
    """`raw` as a `model`, where nothing could be put into quarantine. Raises Transient."""
    try:
        return read(model, raw)
    except Unclear as problem:
        raise Transient(f"The shop's answer does not have its published form: {problem}") from problem
