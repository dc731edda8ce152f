"""Connections to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from adapters.shopify.client import ShopClient
from adapters.shopify.document import DEEPEST, Document
from adapters.shopify.wire import PageInfo, Ref, Rows, number_of
from adapters.wire import Unclear, W, read
from domain.budget import Ask
from domain.errors import Transient

# The search of the first page (None), or the one that goes on beyond a row.
Search = Callable[[object | None], str | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows as they came, whether these were the last, and the platform's name for the call."""

    rows: list[object]
    last: bool
    request_id: str | None


async def pages(client: ShopClient, document: Document, search: Search, ask: Ask) -> AsyncIterator[Batch]:
    """Pages of a root connection, however many rows it has: the platform's cursors end at `DEEPEST` rows, so a new search goes
    on beyond the last of them."""
    query, after, taken = search(None), None, 0
    while True:
        reply = await client.run(document, {"query": query, "after": after}, ask)
        page = answered(Rows, reply.data[document.operation])
        yield Batch(page.nodes, not page.page_info.has_next_page, reply.request_id)
        if not page.page_info.has_next_page:
            return
        after, taken = page.page_info.end_cursor, taken + len(page.nodes)
        if taken >= DEEPEST:
            query, after, taken = search(page.nodes[-1]), None, 0


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
    rows = list(first)
    while page.has_next_page:
        reply = await client.run(document, {"id": gid, "after": page.end_cursor}, ask)
        parent = reply.data[document.operation]
        if parent is None:
            raise Transient(f"{gid} went away while it was read.", upstream_request_id=reply.request_id)
        told = answered(Rows, parent["rest"])
        rows += [answered(model, row) for row in told.nodes]
        page = told.page_info
    return rows


def answered(model: type[W], raw: object) -> W:
    """`raw` as a `model`, where nothing could be put into quarantine. Raises Transient."""
    try:
        return read(model, raw)
    except Unclear as problem:
        raise Transient(f"The shop's answer does not have its published form: {problem}") from problem
