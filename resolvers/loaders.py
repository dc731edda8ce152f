"""Loaders of one operation: they merge what the fields of one query ask for into one call per kind."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from aiodataloader import DataLoader

from domain.budget import Ask
from domain.ids import OperationId, OrderId, Sku
from domain.operation import Operation
from domain.order import Order
from domain.product import Listing, Product
from resolvers import stock
from resolvers.shelf import Shelf
from store import operation, order, product

K = TypeVar("K")
V = TypeVar("V")


class Loaders:
    """One of each, born with an operation and gone with it."""

    def __init__(self, shelf: Shelf, ask: Ask) -> None:
        self._shelf = shelf
        self._ask = ask
        self.product_by_sku: DataLoader[Sku, Product | None] = DataLoader(self._products)
        self.listings_by_sku: DataLoader[Sku, list[Listing]] = DataLoader(self._listings)
        self.order_by_id: DataLoader[OrderId, Order | None] = DataLoader(self._orders)
        self.operation_by_id: DataLoader[OperationId, Operation | None] = DataLoader(self._operations)
        self.stock_by_sku: DataLoader[tuple[Sku, timedelta | None], stock.StockAnswer | None] = DataLoader(
            self._stock, max_batch_size=stock.MOST_SKUS
        )

    async def _products(self, skus: list[Sku]) -> list[Product | None]:
        async with self._shelf.store.begin() as tx:
            found = await product.by_skus(tx, skus)
        return [found.get(sku) for sku in skus]

    async def _listings(self, skus: list[Sku]) -> list[list[Listing]]:
        async with self._shelf.store.begin() as tx:
            found = await product.listings_by_skus(tx, skus)
        return [found.get(sku, []) for sku in skus]

    async def _orders(self, ids: list[OrderId]) -> list[Order | None]:
        async with self._shelf.store.begin() as tx:
            found = await order.by_ids(tx, ids)
        return [found.get(one) for one in ids]

    async def _operations(self, ids: list[OperationId]) -> list[Operation | None]:
        async with self._shelf.store.begin() as tx:
            found = await operation.by_ids(tx, ids)
        return [found.get(one) for one in ids]

    async def _stock(self, keys: list[tuple[Sku, timedelta | None]]) -> list[stock.StockAnswer | None]:
        """One call per wished age, however many objects ask."""
        answers: dict[tuple[Sku, timedelta | None], stock.StockAnswer | None] = {}
        for max_age in {max_age for _, max_age in keys}:
            skus = [sku for sku, age in keys if age == max_age]
            found = await stock.by_skus(self._shelf, self._ask, skus, max_age)
            answers |= {(sku, max_age): answer for sku, answer in zip(skus, found, strict=True)}
        return [answers[key] for key in keys]
