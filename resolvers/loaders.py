"""Loaders of one operation: they merge what the fields of one query ask for into one call per kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeVar

from aiodataloader import DataLoader

from domain.bank import KeptLine as BankLine
from domain.budget import Ask
from domain.chain import Chain
from domain.cost import CostLayer
from domain.errors import Invalid
from domain.exchange import Exchange
from domain.export import KeptExport
from domain.hold import Hold
from domain.ids import ChannelId, ListingId, OperationId, OrderId, Sku
from domain.journal import Journal
from domain.label import KeptLabel
from domain.operation import Operation
from domain.order import Order
from domain.outbound import Followed
from domain.person import Person
from domain.policy import Exposure, Facts
from domain.price_canary import Canary
from domain.price_change import Change, Summary
from domain.price_decision import Decision
from domain.price_history import InForce
from domain.product import Listing, Product
from domain.profit import OrderMoney
from domain.residual import ClassSum, KeptLine, Tie
from domain.settlement import Settlement
from domain.settlement_compare import Replaced, Views
from domain.sourcing import Decided
from domain.timeline import Step
from domain.tracking import ParcelEvent
from resolvers import (
    api_calls,
    bank,
    channel_stock,
    export,
    fulfillment,
    hold,
    journal,
    label,
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
from resolvers.fulfillment import Sending
from resolvers.report import Document
from resolvers.shelf import Shelf
from resolvers.stock_answer import StockAnswer
from store import operation, order, person, product

K = TypeVar("K")
V = TypeVar("V")

# A SKU now (None), or as it was at a past instant.
Then = tuple[Sku, datetime | None]
# A subject, of one channel where it is named; and how many calls about it are wanted.
CallsAbout = tuple[tuple[str, ChannelId | None], int | None]


class Loaders:
    """At most one of each, made when it is first asked and gone with its operation."""

    def __init__(self, shelf: Shelf, ask: Ask) -> None:
        self._shelf = shelf
        self._ask = ask

    @cached_property
    def product_by_sku(self) -> DataLoader[Sku, Product | None]:
        return DataLoader(self._products)

    @cached_property
    def listings_by_sku(self) -> DataLoader[Sku, list[Listing]]:
        return DataLoader(self._listings)

    @cached_property
    def listing_by_id(self) -> DataLoader[ListingId, Listing | None]:
        return DataLoader(self._listings_by_id)

    @cached_property
    def price_in_force(self) -> DataLoader[price_history.At, InForce | None]:
        return DataLoader(self._prices_in_force)

    @cached_property
    def price_decision_by_operation(self) -> DataLoader[OperationId, Decision | None]:
        return DataLoader(self._price_decisions)

    @cached_property
    def canary_by_operation(self) -> DataLoader[OperationId, Canary | None]:
        return DataLoader(self._canaries)

    @cached_property
    def order_by_id(self) -> DataLoader[OrderId, Order | None]:
        return DataLoader(self._orders)

    @cached_property
    def operation_by_id(self) -> DataLoader[OperationId, Operation | None]:
        return DataLoader(self._operations)

    @cached_property
    def price_change_by_item(self) -> DataLoader[int, Change | None]:
        return DataLoader(self._price_changes)

    @cached_property
    def document_by_item(self) -> DataLoader[int, Document | None]:
        return DataLoader(self._documents)

    @cached_property
    def export_by_item(self) -> DataLoader[int, KeptExport | None]:
        return DataLoader(self._exports)

    @cached_property
    def price_summary_by_operation(self) -> DataLoader[OperationId, Summary | None]:
        return DataLoader(self._price_summaries)

    @cached_property
    def api_calls_about(self) -> DataLoader[CallsAbout, list[Exchange]]:
        return DataLoader(self._api_calls)

    @cached_property
    def api_calls_by_request_id(self) -> DataLoader[str, list[Exchange]]:
        return DataLoader(self._api_calls_by_request_id)

    @cached_property
    def timeline_by_order(self) -> DataLoader[OrderId, list[Step]]:
        return DataLoader(self._timelines)

    @cached_property
    def outbound_by_order(self) -> DataLoader[OrderId, list[Followed]]:
        return DataLoader(self._outbounds)

    @cached_property
    def labels_by_order(self) -> DataLoader[OrderId, list[KeptLabel]]:
        return DataLoader(self._labels)

    @cached_property
    def label_by_tracking_number(self) -> DataLoader[str, KeptLabel | None]:
        return DataLoader(self._labels_by_number)

    @cached_property
    def chains_by_order(self) -> DataLoader[OrderId, list[Chain]]:
        return DataLoader(self._chains)

    @cached_property
    def stock_by_sku(self) -> DataLoader[tuple[Sku, timedelta | None], StockAnswer | None]:
        return DataLoader(self._stock, max_batch_size=stock.MOST_SKUS)

    @cached_property
    def facts_by_sku(self) -> DataLoader[Then, Facts | None]:
        return DataLoader(self._facts)

    @cached_property
    def channels_by_sku(self) -> DataLoader[Then, list[ChannelStock]]:
        return DataLoader(self._channels)

    @cached_property
    def exposure_by_sku(self) -> DataLoader[Sku, Exposure | None]:
        return DataLoader(self._exposures)

    @cached_property
    def person_by_order(self) -> DataLoader[OrderId, Person | None]:
        return DataLoader(self._people)

    async def _people(self, ids: list[OrderId]) -> list[Person | None]:
        """All or, where one cannot be opened, none. Raises Unauthorized."""
        async with self._shelf.store.begin() as tx:
            found = await person.by_orders(tx, self._shelf.ring, ids)
        return [found.get(id) for id in ids]

    @cached_property
    def fulfillments_by_order(self) -> DataLoader[OrderId, list[Sending]]:
        return DataLoader(self._fulfillments)

    @cached_property
    def sourcing_by_order(self) -> DataLoader[OrderId, Decided | None]:
        return DataLoader(self._sourcing)

    @cached_property
    def holds_by_order(self) -> DataLoader[OrderId, list[Hold]]:
        return DataLoader(self._holds)

    async def _fulfillments(self, ids: list[OrderId]) -> list[list[Sending]]:
        found = await fulfillment.by_orders(self._shelf, ids)
        return [found.get(id, []) for id in ids]

    async def _sourcing(self, ids: list[OrderId]) -> list[Decided | None]:
        found = await sourcing.decisions(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _holds(self, ids: list[OrderId]) -> list[list[Hold]]:
        found = await hold.by_orders(self._shelf, ids)
        return [found.get(id, []) for id in ids]

    @cached_property
    def parcel_events_by_number(self) -> DataLoader[str, list[ParcelEvent]]:
        return DataLoader(self._parcel_events)

    async def _parcel_events(self, numbers: list[str]) -> list[list[ParcelEvent]]:
        found = await tracking.events(self._shelf, numbers)
        return [found.get(number, []) for number in numbers]

    @cached_property
    def settlement_by_id(self) -> DataLoader[str, Settlement | None]:
        return DataLoader(self._settlements)

    @cached_property
    def tie_by_settlement(self) -> DataLoader[str, Tie]:
        return DataLoader(self._ties)

    @cached_property
    def class_sums_by_settlement(self) -> DataLoader[str, list[ClassSum]]:
        return DataLoader(self._class_sums)

    @cached_property
    def money_lines_by_order(self) -> DataLoader[settlement.Then, list[KeptLine]]:
        return DataLoader(self._money_lines)

    @cached_property
    def money_by_order(self) -> DataLoader[OrderId, OrderMoney | Invalid | None]:
        return DataLoader(self._money)

    async def _money(self, ids: list[OrderId]) -> list[OrderMoney | Invalid | None]:
        found = await profit.by_orders(self._shelf, ids)
        return [found.get(id) for id in ids]

    @cached_property
    def cost_layer_by_day(self) -> DataLoader[settlement.CostDay, CostLayer | None]:
        return DataLoader(self._cost_layers)

    @cached_property
    def settlement_neighbors(self) -> DataLoader[str, tuple[Settlement | None, Settlement | None]]:
        return DataLoader(self._neighbors)

    @cached_property
    def settlement_comparison(self) -> DataLoader[tuple[str, int], list[Views]]:
        return DataLoader(self._comparisons)

    @cached_property
    def replaced_by_settlement(self) -> DataLoader[str, Replaced | None]:
        return DataLoader(self._replaced)

    @cached_property
    def file_by_settlement(self) -> DataLoader[str, settlement_file.File | None]:
        return DataLoader(self._settlement_files)

    @cached_property
    def journal_by_number(self) -> DataLoader[int, Journal | None]:
        return DataLoader(self._journals)

    @cached_property
    def bank_line_by_settlement(self) -> DataLoader[str, BankLine | None]:
        return DataLoader(self._bank_lines)

    async def _journals(self, numbers: list[int]) -> list[Journal | None]:
        found = await journal.by_numbers(self._shelf, numbers)
        return [found.get(number) for number in numbers]

    async def _bank_lines(self, ids: list[str]) -> list[BankLine | None]:
        found = await bank.by_settlements(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _neighbors(self, ids: list[str]) -> list[tuple[Settlement | None, Settlement | None]]:
        found = await settlement.neighbors(self._shelf, ids)
        return [found[id] for id in ids]

    async def _comparisons(self, keys: list[tuple[str, int]]) -> list[list[Views]]:
        found: dict[tuple[str, int], list[Views]] = {}
        for first in {first for _, first in keys}:
            told = await settlement.comparisons(self._shelf, [id for id, most in keys if most == first], first)
            found |= {(id, first): views for id, views in told.items()}
        return [found[key] for key in keys]

    async def _replaced(self, ids: list[str]) -> list[Replaced | None]:
        found = await settlement.replaced(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _settlement_files(self, ids: list[str]) -> list[settlement_file.File | None]:
        found = await settlement_file.of_settlements(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _settlements(self, ids: list[str]) -> list[Settlement | None]:
        found = await settlement.by_ids(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _ties(self, ids: list[str]) -> list[Tie]:
        found = await settlement.ties(self._shelf, ids)
        return [found[id] for id in ids]

    async def _class_sums(self, ids: list[str]) -> list[list[ClassSum]]:
        found = await settlement.class_sums(self._shelf, ids)
        return [found.get(id, []) for id in ids]

    async def _money_lines(self, keys: list[settlement.Then]) -> list[list[KeptLine]]:
        found = await settlement.of_orders(self._shelf, keys)
        return [found[key] for key in keys]

    async def _cost_layers(self, keys: list[settlement.CostDay]) -> list[CostLayer | None]:
        found = await settlement.cost_layers(self._shelf, keys)
        return [found.get(key) for key in keys]

    async def _products(self, skus: list[Sku]) -> list[Product | None]:
        async with self._shelf.store.begin() as tx:
            found = await product.by_skus(tx, skus)
        return [found.get(sku) for sku in skus]

    async def _listings(self, skus: list[Sku]) -> list[list[Listing]]:
        async with self._shelf.store.begin() as tx:
            found = await product.listings_by_skus(tx, skus)
        return [found.get(sku, []) for sku in skus]

    async def _listings_by_id(self, ids: list[ListingId]) -> list[Listing | None]:
        async with self._shelf.store.begin() as tx:
            found = {one.id: one for one in await product.listings_by_ids(tx, ids)}
        return [found.get(id) for id in ids]

    async def _prices_in_force(self, keys: list[price_history.At]) -> list[InForce | None]:
        found = await price_history.in_force(self._shelf, keys)
        return [found.get(key) for key in keys]

    async def _price_decisions(self, ids: list[OperationId]) -> list[Decision | None]:
        found = await price.decisions(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _canaries(self, ids: list[OperationId]) -> list[Canary | None]:
        found = await price_history.canaries(self._shelf, ids)
        return [found.get(id) for id in ids]

    async def _orders(self, ids: list[OrderId]) -> list[Order | None]:
        async with self._shelf.store.begin() as tx:
            found = await order.by_ids(tx, ids)
        return [found.get(one) for one in ids]

    async def _operations(self, ids: list[OperationId]) -> list[Operation | None]:
        async with self._shelf.store.begin() as tx:
            found = await operation.by_ids(tx, ids)
        return [found.get(one) for one in ids]

    async def _price_changes(self, items: list[int]) -> list[Change | None]:
        found = await price.changes(self._shelf, items)
        return [found.get(one) for one in items]

    async def _documents(self, items: list[int]) -> list[Document | None]:
        found = {**await report.documents(self._shelf, items), **await export.documents(self._shelf, items)}
        return [found.get(one) for one in items]

    async def _exports(self, items: list[int]) -> list[KeptExport | None]:
        found = await export.progress(self._shelf, items)
        return [found.get(one) for one in items]

    async def _price_summaries(self, ids: list[OperationId]) -> list[Summary | None]:
        found = await price.summaries(self._shelf, ids)
        return [found.get(one) for one in ids]

    async def _api_calls(self, keys: list[CallsAbout]) -> list[list[Exchange]]:
        found: dict[CallsAbout, list[Exchange]] = {}
        for first in {first for _, first in keys}:
            told = await api_calls.about(self._shelf, [about for about, most in keys if most == first], first)
            found |= {(about, first): calls for about, calls in told.items()}
        return [found[key] for key in keys]

    async def _api_calls_by_request_id(self, ids: list[str]) -> list[list[Exchange]]:
        found = await timeline.calls(self._shelf, ids)
        return [found[id] for id in ids]

    async def _timelines(self, ids: list[OrderId]) -> list[list[Step]]:
        found = await timeline.by_orders(self._shelf, ids)
        return [found[id] for id in ids]

    async def _outbounds(self, ids: list[OrderId]) -> list[list[Followed]]:
        found = await outbound.by_orders(self._shelf, ids)
        return [found.get(id, []) for id in ids]

    async def _labels(self, ids: list[OrderId]) -> list[list[KeptLabel]]:
        found = await label.by_orders(self._shelf, ids)
        return [found[id] for id in ids]

    async def _labels_by_number(self, numbers: list[str]) -> list[KeptLabel | None]:
        found = await label.by_tracking_numbers(self._shelf, numbers)
        return [found.get(number) for number in numbers]

    async def _chains(self, ids: list[OrderId]) -> list[list[Chain]]:
        found = await returns.by_orders(self._shelf, ids)
        return [found.get(id, []) for id in ids]

    async def _stock(self, keys: list[tuple[Sku, timedelta | None]]) -> list[StockAnswer | None]:
        """One call per wished age, however many objects ask."""
        answers: dict[tuple[Sku, timedelta | None], StockAnswer | None] = {}
        for max_age in {max_age for _, max_age in keys}:
            skus = [sku for sku, age in keys if age == max_age]
            found = await stock.by_skus(self._shelf, self._ask, skus, max_age)
            answers |= {(sku, max_age): answer for sku, answer in zip(skus, found, strict=True)}
        return [answers[key] for key in keys]

    async def _facts(self, keys: list[Then]) -> list[Facts | None]:
        answers: dict[Then, Facts] = {}
        for at, skus in _by_instant(keys):
            found = await (stock.told_now(self._shelf, skus) if at is None else stock.facts_at(self._shelf, skus, at))
            answers |= {(sku, at): known for sku, known in found.items()}
        return [answers.get(key) for key in keys]

    async def _channels(self, keys: list[Then]) -> list[list[ChannelStock]]:
        answers: dict[Then, list[ChannelStock]] = {}
        for at, skus in _by_instant(keys):
            found = await (
                channel_stock.by_skus(self._shelf, skus)
                if at is None
                else channel_stock.at_instant(self._shelf, skus, at)
            )
            answers |= {(sku, at): channels for sku, channels in found.items()}
        return [answers[key] for key in keys]

    async def _exposures(self, skus: list[Sku]) -> list[Exposure | None]:
        found = await channel_stock.exposures(self._shelf, skus)
        return [found.get(sku) for sku in skus]


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


def _by_instant(keys: Iterable[Then]) -> list[tuple[datetime | None, list[Sku]]]:
    """What is asked for each instant."""
    groups: defaultdict[datetime | None, list[Sku]] = defaultdict(list)
    for sku, at in keys:
        groups[at].append(sku)
    return list(groups.items())
