"""What was said between us and the platforms, for whoever has to find out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Invalid, NotFound
from domain.exchange import Exchange, about_item, about_operation, about_order, about_sku
from domain.ids import ChannelId, OperationId, OrderId, Sku, node_key
from resolvers.connection import Connection, connect, page_size
from resolvers.cursor import read_moment_cursor, write_cursor
from resolvers.shelf import Shelf
from store import exchange, order, product
from store.exchange import Wanted

USUAL = 20


@dataclass(frozen=True, slots=True)
class ApiCallFilter:
    """What is wanted; None wants all. `order` is our global id of one, or its channel's own; `sku` is ours or a channel's. Times
    are inclusive below and exclusive above."""

    channel: ChannelId | None = None
    operation: str | None = None
    order: str | None = None
    sku: str | None = None
    operation_id: OperationId | None = None
    upstream_request_id: str | None = None
    failed: bool | None = None
    failure: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(shelf: Shelf, first: int | None, after: str | None, asked: ApiCallFilter) -> Connection[Exchange]:
    """Calls, newest first."""
    start = read_moment_cursor("apiCalls", after, _number)
    wanted = await _wanted(shelf, asked)
    async with shelf.store.begin() as tx:
        found, has_next = await exchange.page(tx, wanted, first=page_size(first), after=start)

    async def count() -> int:
        async with shelf.store.begin() as tx:
            return await exchange.count(tx, wanted)

    return connect(found, has_next, after, lambda one: write_cursor("apiCalls", one.at.isoformat(), str(one.id)), count)


async def about(
    shelf: Shelf, keys: Sequence[tuple[str, ChannelId | None]], first: int | None
) -> dict[tuple[str, ChannelId | None], list[Exchange]]:
    """The newest calls about each subject, of its channel where one is named."""
    most = page_size(USUAL if first is None else first)
    async with shelf.store.begin() as tx:
        return await exchange.by_subjects(tx, keys, most)


def item_key(id: int) -> tuple[str, ChannelId | None]:
    """The calls for an item of an operation."""
    return about_item(id), None


def order_key(channel: ChannelId, external_id: str) -> tuple[str, ChannelId | None]:
    """The calls about an order of a channel."""
    return about_order(external_id), channel


def _number(told: str) -> int:
    """The id of a call. Raises ValueError for what the database could not compare."""
    if not (told.isascii() and told.isdigit() and int(told[:20]) < 2**63):
        raise ValueError(told)
    return int(told)


async def _wanted(shelf: Shelf, asked: ApiCallFilter) -> Wanted:
    """In the words of the log. Raises NotFound, Invalid."""
    given = [one for one in (asked.order, asked.sku, asked.operation_id) if one is not None]
    if len(given) > 1:
        raise Invalid("Ask for one of `orderId`, `sku` and `operationId` at a time.", field=("filter",))
    channel = asked.channel
    subjects: tuple[str, ...] | None = None
    if asked.order is not None:
        of, external_id = await _order(shelf, asked.order)
        channel, subjects = channel or of, (about_order(external_id),)
    elif asked.sku is not None:
        async with shelf.store.begin() as tx:
            listings = (await product.listings_by_skus(tx, [Sku(asked.sku)])).get(Sku(asked.sku), [])
        subjects = tuple({about_sku(one) for one in (asked.sku, *(each.channel_sku for each in listings))})
    elif asked.operation_id is not None:
        subjects = (about_operation(asked.operation_id),)
    return Wanted(
        channel=channel,
        operation=asked.operation,
        subjects=subjects,
        upstream_request_id=asked.upstream_request_id,
        failed=asked.failed,
        failure=asked.failure,
        since=asked.since,
        until=asked.until,
    )


async def _order(shelf: Shelf, id: str) -> tuple[ChannelId | None, str]:
    """The channel and its own id of an order. A channel's own id stands for itself: not every order is kept."""
    if not id.startswith("Order:"):
        return None, id
    key = OrderId(node_key("Order", id))
    async with shelf.store.begin() as tx:
        found = (await order.by_ids(tx, [key])).get(key)
    if found is None:
        raise NotFound(f"There is no order {id}.", field=("filter", "orderId"))
    return found.channel, found.external_id
