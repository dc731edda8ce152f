"""The same schema as people write it first: plain Strawberry with its caches and orjson, on data in memory; a rival in Node.

Both read the file of `Data`, so that they answer what the gateway answered.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import orjson
import strawberry
import uvicorn
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from gateway.server import listen

# `npm install --prefix ~/.cache/acorn-bench fastify@5 graphql@16 graphql-jit@0.8 mercurius@16` once.
MODULES = Path(os.environ.get("ACORN_BENCH_MODULES", "~/.cache/acorn-bench/node_modules")).expanduser()
RIVAL = Path(__file__).with_name("mercurius.js")


class Freshness(Enum):
    LIVE = "LIVE"
    FRESH = "FRESH"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"


strawberry.enum(Freshness)


@strawberry.type
class Location:
    code: str
    name: str


@strawberry.type
class StockLevel:
    location: Location
    on_hand: int
    reserved: int
    available_to_sell: int
    freshness: Freshness


@strawberry.type
class StockTerm:
    label: str
    quantity: int


@strawberry.type
class Stock:
    sku: str
    available_to_sell: int
    on_hand: int
    reserved: int
    as_of: datetime | None
    freshness: Freshness
    levels: list[StockLevel]
    explanation: list[StockTerm]


@strawberry.type
class Listing:
    channel_sku: str
    marketplace: str | None
    external_id: str
    status: str


@strawberry.type
class Product:
    sku: str
    title: str
    stock: Stock
    listings: list[Listing]


@strawberry.type
class ProductConnection:
    nodes: list[Product]


@strawberry.input
class ProductFilter:
    skus: list[str]


STOCK: dict[str, Stock] = {}
PRODUCTS: dict[str, Product] = {}


@strawberry.type
class Query:
    @strawberry.field
    def stock(self, skus: list[str], max_age: str | None = None) -> list[Stock | None]:
        return [STOCK.get(sku) for sku in skus]

    @strawberry.field
    def products(self, filter: ProductFilter, first: int = 50) -> ProductConnection:
        return ProductConnection(nodes=[PRODUCTS[sku] for sku in sorted(filter.skus)[:first]])


@dataclass(frozen=True, slots=True)
class Data:
    """What the gateway told, as JSON: stock and products by SKU. Kept in a file for the others."""

    path: Path

    def write(self, stock: list[Any], products: list[Any]) -> None:
        """Keep it."""
        told = {"stock": {one["sku"]: one for one in stock}, "products": {one["sku"]: one for one in products}}
        self.path.write_text(json.dumps(told), encoding="utf-8")

    def read(self) -> None:
        """Into memory, as the schema's own objects."""
        told = _in_python(json.loads(self.path.read_text(encoding="utf-8")))
        STOCK.update(msgspec.convert(told["stock"], dict[str, Stock]))
        PRODUCTS.update(msgspec.convert(told["products"], dict[str, Product]))


def _in_python(value: Any) -> Any:
    """Keys as Python names them."""
    if isinstance(value, list):
        return [_in_python(one) for one in value]
    if isinstance(value, dict):
        return {_HUMP.sub(_lower, key): _in_python(one) for key, one in value.items()}
    return value


def _lower(match: re.Match[str]) -> str:
    return "_" + match[0].lower()


_HUMP = re.compile("(?<=[a-z])[A-Z]")


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Server(GraphQL[Any, Any]):
    def encode_json(self, data: object) -> bytes:
        return orjson.dumps(data)


def serve(pipe: Connection, data: Data, core: int) -> None:
    """The process of plain Strawberry; it tells its port."""
    os.sched_setaffinity(0, {core})
    data.read()
    listener = listen("127.0.0.1", 0)
    scalars: Any = {
        datetime: strawberry.scalar(name="DateTime", serialize=_write_time, parse_value=datetime.fromisoformat)
    }
    schema = strawberry.Schema(
        Query, config=StrawberryConfig(scalar_map=scalars), extensions=[ParserCache, ValidationCache]
    )
    server = uvicorn.Server(uvicorn.Config(_Server(schema), access_log=False, log_level="warning"))
    pipe.send(listener.getsockname()[1])
    server.run([listener])


def rival(data: Data, core: int) -> tuple[subprocess.Popen[str], int] | None:
    """Mercurius with its JIT, and its port; None where there is no Node, or Mercurius is not installed in `MODULES`."""
    node = shutil.which("node")
    if node is None or not (MODULES / "mercurius").is_dir():
        return None
    process = subprocess.Popen(
        [node, str(RIVAL), str(data.path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_PATH": str(MODULES), "NODE_ENV": "production"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())
