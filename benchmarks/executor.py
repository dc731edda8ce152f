"""How much faster a compiled plan answers than plain Strawberry, on stock held in memory: `python -m benchmarks.executor`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from statistics import median
from typing import Any

import orjson
import strawberry
from graphql import execute, parse
from strawberry.execution.is_awaitable import optimized_is_awaitable
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from executor import UTC_DATETIME, batched, compile

SIZES = (1, 50, 250)
ROUNDS = 7
ROUND_S = 0.4


class Freshness(Enum):
    LIVE = "LIVE"
    FRESH = "FRESH"


class LocationKind(Enum):
    WAREHOUSE = "WAREHOUSE"
    FBA = "FBA"


@dataclass(slots=True)
class Location:
    code: str
    name: str
    kind: LocationKind


@dataclass(slots=True)
class Level:
    location: Location
    on_hand: int
    reserved: int
    inbound: int
    as_of: datetime | None
    freshness: Freshness

    @property
    def available_to_sell(self) -> int:
        return self.on_hand - self.reserved


@dataclass(slots=True)
class Term:
    label: str
    quantity: int
    source: str
    as_of: datetime | None


@dataclass(slots=True)
class Product:
    sku: str
    title: str


@dataclass(slots=True)
class Stock:
    sku: str
    available_to_sell: int
    on_hand: int
    reserved: int
    inbound: int
    safety_stock: int
    as_of: datetime | None
    freshness: Freshness
    levels: list[Level]
    explanation: list[Term]


strawberry.enum(Freshness)
strawberry.enum(LocationKind)


@strawberry.type(name="Location")
class LocationType:
    code: str
    name: str
    kind: LocationKind


@strawberry.type(name="StockLevel")
class LevelType:
    location: LocationType
    on_hand: int
    reserved: int
    inbound: int
    available_to_sell: int
    as_of: datetime | None
    freshness: Freshness


@strawberry.type(name="StockTerm")
class TermType:
    label: str
    quantity: int
    source: str
    as_of: datetime | None


@strawberry.type(name="Product")
class ProductType:
    sku: str
    title: str


def products_of(stocks: list[Stock], info: Any) -> list[Product]:
    return [PRODUCTS[stock.sku] for stock in stocks]


@strawberry.type(name="Stock")
class StockType:
    sku: str
    available_to_sell: int
    on_hand: int
    reserved: int
    inbound: int
    safety_stock: int
    as_of: datetime | None
    freshness: Freshness
    levels: list[LevelType]
    explanation: list[TermType]

    @strawberry.field(graphql_type=ProductType | None)  # type: ignore[untyped-decorator]
    @batched(products_of)
    async def product(self, root: strawberry.Parent[Stock]) -> Product | None:
        return PRODUCTS[root.sku]


@strawberry.type
class Query:
    @strawberry.field(graphql_type=list[StockType | None])  # type: ignore[untyped-decorator]
    async def stock(self, info: strawberry.Info, skus: list[str], max_age: int | None = None) -> list[Stock | None]:
        return [STOCK.get(sku) for sku in skus]


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_CONFIG: dict[str, Any] = {
    "scalar_map": {
        datetime: strawberry.scalar(name="DateTime", serialize=_write_time, parse_value=datetime.fromisoformat)
    }
}
schema = strawberry.Schema(Query, config=StrawberryConfig(**_CONFIG), extensions=[ParserCache, ValidationCache])

_NOW = datetime.now(UTC)
_PLACES = [Location("berlin", "Berlin", LocationKind.WAREHOUSE), Location("fba-eu", "FBA Europe", LocationKind.FBA)]


def _stock(sku: str) -> Stock:
    levels = [Level(_PLACES[0], 10, 2, 0, _NOW, Freshness.FRESH)]
    terms = [Term("on hand at Berlin", 10, "shop", _NOW), Term("reserved at Berlin", -2, "shop", _NOW)]
    return Stock(sku, 8, 10, 2, 0, 0, _NOW, Freshness.FRESH, levels, terms)


STOCK = {sku: _stock(sku) for sku in (f"SKU-{number:04}" for number in range(max(SIZES)))}
PRODUCTS = {sku: Product(sku, f"Title of {sku}") for sku in STOCK}

# The contract's stock query: three levels, 19 values per SKU.
QUERY = """query Stock($skus: [String!]!) { stock(skus: $skus) {
    sku availableToSell onHand reserved asOf freshness
    levels { location { code name } onHand reserved availableToSell freshness }
    explanation { label quantity } product { title } } }"""


async def _strawberry(skus: list[str]) -> bytes:
    result: Any = await schema.execute(QUERY, {"skus": skus})
    return orjson.dumps({"data": result.data})


async def _planned(skus: list[str]) -> bytes:
    result: Any = execute(
        schema._schema,
        _DOCUMENT,
        variable_values={"skus": skus},
        executor_class=schema.execution_context_class,
        is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # declared as bool where a guard is meant
    )
    return orjson.dumps({"data": (await result).data})


async def _compiled(skus: list[str]) -> bytes:
    assert _PLAN is not None
    return (await _PLAN.run({"skus": skus})).encode()


_DOCUMENT = parse(QUERY)
_PLAN = compile(schema._schema, _DOCUMENT, natives={"DateTime": UTC_DATETIME})


async def _per_second(answer: Callable[[list[str]], Awaitable[bytes]], skus: list[str]) -> float:
    done, began = 0, time.process_time()
    while (passed := time.process_time() - began) < ROUND_S:
        await answer(skus)
        done += 1
    return done / passed


async def main() -> None:
    ways = {"Strawberry": _strawberry, "graphql-core, parsed": _planned, "compiled": _compiled}
    print(f"Operations per second of processor time, medians of {ROUNDS} rounds")
    print(f"{'SKUs':>5}" + "".join(f"{way:>22}" for way in ways) + f"{'ratio':>9}{'to parsed':>11}")
    for size in SIZES:
        skus = list(STOCK)[:size]
        answers = [json.loads(await way(skus)) for way in ways.values()]
        assert answers[0] == answers[1] == answers[2]
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                rates[name].append(await _per_second(way, skus))
        told = {name: median(values) for name, values in rates.items()}
        ratio, to_parsed = (told["compiled"] / told[name] for name in ("Strawberry", "graphql-core, parsed"))
        print(f"{size:>5}" + "".join(f"{told[way]:>22,.0f}" for way in ways) + f"{ratio:>8.1f}x{to_parsed:>10.1f}x")


if __name__ == "__main__":
    asyncio.run(main())
