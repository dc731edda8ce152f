"""Loaders of one operation: they merge what the fields of one query ask for into one call per kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, partial
from operator import getitem
from typing import TypeAlias, TypeVar

from aiodataloader import DataLoader
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.budget import Ask
from domain.ids import ListingId, OrderId, Sku
from domain.person import Person
from domain.policy import Facts
from domain.product import Listing
from resolvers import (
    api_calls,
    bank,
    channel_stock,
    export,
    fulfillment,
    hold,
    journal,
    label,
    order_queue,
    outbound,
    price,
    price_history,
    profit,
    report,
    returns,
    settlement,
    settlement_file,
    sourcing,
    stock,
    timeline,
    tracking,
)
from resolvers.channel_stock import ChannelStock
from resolvers.report import Document
from resolvers.shelf import Shelf
from resolvers.stock_answer import StockAnswer
from store import operation, order, person, product

A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K")
V = TypeVar("V")
W = TypeVar("W")

# What is found of keys.
Read: TypeAlias = Callable[[Shelf, list[K]], Awaitable[Mapping[K, V]]]


def _by(read: Read[K, V], value: Callable[[Mapping[K, V], K], W]) -> cached_property[DataLoader[K, W]]:
    """A loader of `value`, which what was read tells of a key."""

    def made(loaders: Loaders) -> DataLoader[K, W]:
        shelf = loaders._shelf

        async def load(keys: list[K]) -> list[W]:
            found = await read(shelf, keys)
            return [value(found, key) for key in keys]

        return DataLoader(load)

    return cached_property(made)


def _one(read: Read[K, V]) -> cached_property[DataLoader[K, V | None]]:
    """A loader that tells None of a key of which nothing is found."""
    return _by(read, lambda found, key: found.get(key))


def _many(read: Read[K, list[V]]) -> cached_property[DataLoader[K, list[V]]]:
    """A loader that tells an empty list of a key of which nothing is found."""
    return _by(read, lambda found, key: found.get(key, []))


def _every(read: Read[K, V]) -> cached_property[DataLoader[K, V]]:
    """A loader of what is found of each key, without exception."""
    return _by(read, getitem)


def _rows(read: Callable[[AsyncConnection, list[K]], Awaitable[Mapping[K, V]]]) -> Read[K, V]:
    """A read of the store, in a transaction of its own."""

    async def found(shelf: Shelf, keys: list[K]) -> Mapping[K, V]:
        async with shelf.store.begin() as tx:
            return await read(tx, keys)

    return found


def _pairs(read: Callable[[Shelf, list[A], B], Awaitable[Mapping[A, V]]]) -> Read[tuple[A, B], V]:
    """A read of pairs: one call for all whose second is the same."""

    async def found(shelf: Shelf, keys: list[tuple[A, B]]) -> Mapping[tuple[A, B], V]:
        answers: dict[tuple[A, B], V] = {}
        for second, firsts in _by_second(keys):
            answers |= {(first, second): value for first, value in (await read(shelf, firsts, second)).items()}
        return answers

    return found


def _by_second(keys: Iterable[tuple[A, B]]) -> list[tuple[B, list[A]]]:
    """The firsts that come with each second."""
    groups: defaultdict[B, list[A]] = defaultdict(list)
    for first, second in keys:
        groups[second].append(first)
    return list(groups.items())


async def _listings_by_id(shelf: Shelf, ids: list[ListingId]) -> Mapping[ListingId, Listing]:
    async with shelf.store.begin() as tx:
        return {one.id: one for one in await product.listings_by_ids(tx, ids)}


async def _people(shelf: Shelf, ids: list[OrderId]) -> Mapping[OrderId, Person]:
    """All or, where one cannot be opened, none. Raises Unauthorized."""
    async with shelf.store.begin() as tx:
        return await person.by_orders(tx, shelf.ring, ids)


async def _documents(shelf: Shelf, items: list[int]) -> Mapping[int, Document]:
    return {**await report.documents(shelf, items), **await export.documents(shelf, items)}


async def _facts(shelf: Shelf, skus: list[Sku], at: datetime | None) -> Mapping[Sku, Facts]:
    """As they are now (None), or were at a past instant."""
    return await (stock.told_now(shelf, skus) if at is None else stock.facts_at(shelf, skus, at))


async def _channels(shelf: Shelf, skus: list[Sku], at: datetime | None) -> Mapping[Sku, list[ChannelStock]]:
    """As they are now (None), or were at a past instant."""
    return await (channel_stock.by_skus(shelf, skus) if at is None else channel_stock.at_instant(shelf, skus, at))


async def _stock(shelf: Shelf, ask: Ask, keys: list[tuple[Sku, timedelta | None]]) -> list[StockAnswer | None]:
    """One call per wished age, however many objects ask."""
    answers: dict[tuple[Sku, timedelta | None], StockAnswer | None] = {}
    for max_age, skus in _by_second(keys):
        found = await stock.by_skus(shelf, ask, skus, max_age)
        answers |= {(sku, max_age): answer for sku, answer in zip(skus, found, strict=True)}
    return [answers[key] for key in keys]


class Loaders:
    """At most one of each, made when it is first asked and gone with its operation."""

    def __init__(self, shelf: Shelf, ask: Ask) -> None:
        self._shelf = shelf
        self._ask = ask

    product_by_sku = _one(_rows(product.by_skus))
    listings_by_sku = _many(_rows(product.listings_by_skus))
    listing_by_id = _one(_listings_by_id)
    price_in_force = _one(price_history.in_force)
    price_decision_by_operation = _one(price.decisions)
    price_summary_by_operation = _one(price.summaries)
    price_change_by_item = _one(price.changes)
    canary_by_operation = _one(price_history.canaries)

    order_by_id = _one(_rows(order.by_ids))
    timeline_by_order = _every(timeline.by_orders)
    outbound_by_order = _many(outbound.by_orders)
    fulfillments_by_order = _many(fulfillment.by_orders)
    sourcing_by_order = _one(sourcing.decisions)
    nowhere_by_order = _one(order_queue.nowhere)
    holds_by_order = _many(hold.by_orders)
    labels_by_order = _every(label.by_orders)
    label_by_tracking_number = _one(label.by_tracking_numbers)
    parcel_events_by_number = _many(tracking.events)
    chains_by_order = _many(returns.by_orders)
    person_by_order = _one(_people)

    operation_by_id = _one(_rows(operation.by_ids))
    document_by_item = _one(_documents)
    export_by_item = _one(export.progress)
    # By subject, of one channel where it is named, and by how many calls about it are wanted.
    api_calls_about = _every(_pairs(api_calls.about))
    api_calls_by_request_id = _every(timeline.calls)

    settlement_by_id = _one(settlement.by_ids)
    tie_by_settlement = _every(settlement.ties)
    class_sums_by_settlement = _many(settlement.class_sums)
    settlement_neighbors = _every(settlement.neighbors)
    settlement_comparison = _every(_pairs(settlement.comparisons))
    replaced_by_settlement = _one(settlement.replaced)
    file_by_settlement = _one(settlement_file.of_settlements)
    bank_line_by_settlement = _one(bank.by_settlements)
    journal_by_number = _one(journal.by_numbers)
    money_by_order = _one(profit.by_orders)
    money_lines_by_order = _every(settlement.of_orders)
    cost_layer_by_day = _one(settlement.cost_layers)

    facts_by_sku = _one(_pairs(_facts))
    channels_by_sku = _every(_pairs(_channels))
    exposure_by_sku = _one(channel_stock.exposures)

    @cached_property
    def stock_by_sku(self) -> DataLoader[tuple[Sku, timedelta | None], StockAnswer | None]:
        return DataLoader(partial(_stock, self._shelf, self._ask), max_batch_size=stock.MOST_SKUS)


async def load_each(loader: DataLoader[K, V], keys: Sequence[K | None]) -> list[V | BaseException | None]:
    """One value per key, in order, for batch resolvers: an exception stands for its own key alone, None for None."""
    wanted = {key: loader.load(key) for key in keys if key is not None}
    found: dict[K, V | BaseException] = {}
    for key, value in wanted.items():
        try:
            found[key] = await value  # they come together: only the first is waited for
        except Exception as problem:
            found[key] = problem
    return [None if key is None else found[key] for key in keys]
