"""Fifty buyers go through every channel, and nothing of any of them is anywhere but under seal."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import text
from starlette.types import ASGIApp

from adapters.amazon.orders import _page
from adapters.amazon.platform import AmazonPort
from adapters.budget import Budgets
from adapters.call_log import CallLog
from adapters.port import OrderKey, Page, Port
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.channel import Channel, Platform
from domain.errors import HouseError
from domain.hint import Hint, HintKind
from domain.ids import ChannelId, OrderId
from domain.order import Order
from domain.tracking import RowKind, TrackingSource
from domain.tracking import read_row as tracking_read
from domain.webhook import TOPICS
from gateway.tracking_file import Outcome, Result, Wanted, run
from sandbox.amazon.app import build as amazon_app
from sandbox.options import Options
from sandbox.shop.app import build as shop_app
from sandbox.shopify.app import build as shopify_app
from store import exchange, person, tracking, webhook_data
from store.budget import BudgetMemory
from store.exchange import ExchangeLog
from store.keyring import Keyring
from store.session import Store
from store.tables import metadata
from store.webhook_data import Sight
from tests.adapters.amazon.bench import IDS, make_config
from tests.workers.house import make_deps
from workers import hints
from workers.deps import Deps
from workers.streams import keep_orders

CANARIES = [f"Canary{number:02}Zwitscher" for number in range(50)]
LONG_AGO = "2020-01-01T00:00:00+00:00"


class Logged(logging.Handler):
    """All that is logged, with what goes along."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(f"{record.getMessage()} {record.__dict__} {record.exc_text or ''}")


@dataclass
class Place:
    """Where they might be: the rows, Redis, the log, and the files that were made."""

    store: Store
    redis: Redis
    logged: Logged
    files: Path

    async def found(self) -> set[tuple[str, str]]:
        """(where, which) of every canary that lies anywhere in clear."""
        return {
            (where, canary)
            for where, told in [
                *await self._rows(),
                *await self._redis(),
                *self._files(),
                ("log", " ".join(self.logged.told)),
            ]
            for canary in CANARIES
            if canary.lower() in told.lower()
        }

    async def _rows(self) -> list[tuple[str, str]]:
        found = []
        async with self.store.begin() as tx:
            for table in metadata.sorted_tables:
                rows = await tx.scalars(text(f'select t::text from "{table.name}" t'))
                found.append((f"table {table.name}", "\n".join(rows)))
        return found

    async def _redis(self) -> list[tuple[str, str]]:
        found = []
        async for key in self.redis.scan_iter():
            read: dict[bytes, Callable[[Any], Any]] = {
                b"string": self.redis.get,
                b"hash": self.redis.hgetall,
                b"list": lambda key: self.redis.lrange(key, 0, -1),
                b"set": self.redis.smembers,
                b"zset": lambda key: self.redis.zrange(key, 0, -1, withscores=True),
                b"stream": self.redis.xrange,
            }
            found.append(("redis", f"{key!r} {await read[await self.redis.type(key)](key)!r}"))
        return found

    def _files(self) -> Iterable[tuple[str, str]]:
        return [("file", one.read_bytes().decode("latin-1")) for one in self.files.rglob("*") if one.is_file()]


@dataclass
class Market:
    """Three shops in this process, their ports, and what keeps their orders."""

    deps: Deps
    ports: dict[str, Port]
    desks: dict[str, httpx.AsyncClient]
    calls: CallLog

    async def placed(self, shop: str, entry: dict[str, Any]) -> str:
        answer = await self.desks[shop].post("/_sandbox/state", json={"orders": [entry]})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["orders"][0])

    async def sku(self, shop: str, wanted: Callable[[dict[str, Any]], bool] = lambda one: True) -> str:
        world = (await self.desks[shop].get("/_sandbox/world", params={"limit": 500})).json()
        return next(str(one["sku"]) for one in world["skus"] if wanted(one))


@pytest.fixture
async def place(store: Store, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    logged, root = Logged(), logging.getLogger()
    level = root.level
    root.addHandler(logged)
    root.setLevel(logging.DEBUG)
    yield Place(store, redis, logged, tmp_path)
    root.setLevel(level)
    root.removeHandler(logged)


@pytest.fixture
async def market(store: Store, redis: Redis) -> AsyncIterator[Market]:
    options = Options(products=120, orders=0, lag_s=0.0)
    apps: dict[str, ASGIApp] = {
        "amazon": amazon_app(options),
        "shopify": shopify_app(options),
        "shop": shop_app(options),
    }
    wires = {name: httpx.ASGITransport(app=app) for name, app in apps.items()}
    async with store.begin() as tx:
        await exchange.make_months(tx, [datetime.now(UTC)])
    calls = CallLog(ExchangeLog(store).keep)
    budgets, tokens = Budgets(redis, BudgetMemory(store)), TokenStore(redis)
    transports = {name: Transport(wire=wire, hear=calls.hear) for name, wire in wires.items()}
    shopify = Channel(ChannelId("shopify"), Platform.SHOPIFY, "Shop", sandbox=True)
    own = Channel(ChannelId("shop"), Platform.REST, "Own", sandbox=True)
    ports: dict[str, Port] = {
        "amazon": AmazonPort(
            make_config("eu", "http://amazon.test", buyers=True), transports["amazon"], tokens, budgets
        ),
        "shopify": ShopifyPort(
            ShopifyConfig(
                shopify,
                "acorn.myshopify.com",
                access_token="shpat_sandbox",
                endpoint="http://shopify.test",
                buyers=True,
            ),
            transports["shopify"],
            tokens,
            budgets,
        ),
        "shop": RestPort(
            RestConfig(own, "http://shop.test/api/v1", token="st_sandbox", buyers=True),
            transports["shop"],
            tokens,
            budgets,
        ),
    }
    ring = Keyring([Fernet.generate_key().decode()])
    deps = make_deps(store, redis, list(ports.values()), ring=ring)  # type: ignore[arg-type]
    desks = {name: httpx.AsyncClient(transport=wire, base_url=f"http://{name}.test") for name, wire in wires.items()}
    await desks["amazon"].post("/_sandbox/plans", json={"getOrder": {"rate": 1000, "burst": 1000}})
    yield Market(deps, ports, desks, calls)
    for desk in desks.values():
        await desk.aclose()
    await calls.settle()
    for transport in transports.values():
        await transport.close()
    await budgets.settle()


async def bought(market: Market) -> dict[str, list[str]]:
    """Each canary has bought something, in turn at each of the three."""
    theirs = await market.sku("amazon", lambda one: "DE" in one["marketplaces"] and one["fulfilledBy"] == "MERCHANT")
    skus = {name: await market.sku(name) for name in ("shopify", "shop")}
    ids: dict[str, list[str]] = {"amazon": [], "shopify": [], "shop": []}
    for number, bird in enumerate(CANARIES):
        mail, street = f"{bird}@example.test", f"{bird}weg 1"
        if number % 3 == 0:
            told = {"name": bird, "email": mail, "addressLine1": street, "phone": bird, "city": bird}
            entry = {
                "marketplace": "DE",
                "fulfilledBy": "MERCHANT",
                "lines": [{"sku": theirs, "quantity": 1}],
                "buyer": told,
            }
            ids["amazon"].append(await market.placed("amazon", entry))
        elif number % 3 == 1:
            told = {
                "email": mail,
                "first_name": bird,
                "last_name": bird,
                "address1": street,
                "phone": bird,
                "city": bird,
            }
            entry = {
                "lines": [{"sku": skus["shopify"], "quantity": 1}],
                "buyer": told,
                "note": bird,
                "attributes": {"to": bird},
            }
            ids["shopify"].append(await market.placed("shopify", entry))
        else:
            told = {"name": bird, "line1": street, "city": bird, "phone": bird, "postal_code": "10115"}
            entry = {
                "lines": [{"sku": skus["shop"], "quantity": 1}],
                "shipTo": told,
                "buyer": {"name": bird, "email": mail},
            }
            ids["shop"].append(await market.placed("shop", entry))
    return ids


async def test_fifty_buyers_leave_no_trace_in_clear(market: Market, place: Place) -> None:
    """By streams and by hints, understood and misunderstood, with every call logged."""
    ids = await bought(market)
    for name, port in market.ports.items():
        if name != "amazon":
            async for page in port.order_pages(datetime.fromisoformat(LONG_AGO), Ask()):
                await keep_orders(market.deps, page.items, page.rejected)
        for id in ids[name]:
            read = await port.order(OrderKey(id, "DE" if name == "amazon" else None), Ask())
            await keep_orders(market.deps, [read])
        with pytest.raises(HouseError):
            await port.order(OrderKey("999-9999999-9999999", None), Ask())
    await keep_orders(market.deps, [], _misunderstood(market.ports["amazon"]).rejected)
    async with market.deps.store.begin() as tx:
        rows = await tx.execute(text('select id from "order"'))
        kept = await person.by_orders(tx, market.deps.ring, [OrderId(row.id) for row in rows])
    assert sorted(one.name.split()[0] for one in kept.values() if one.name) == CANARIES
    await hinted(market, ids)
    await tracked(market, ids)
    await market.calls.settle()
    async with market.deps.store.begin() as tx:
        assert await tx.scalar(text("select count(*) from exchange"))
        told = await webhook_data.read(tx, TOPICS["order.changed.v1"], list(kept), Sight(), datetime.now(UTC))
    assert len(told) == len(CANARIES)
    assert [one for one in CANARIES if one in json.dumps(told)] == []
    assert await place.found() == set()


async def hinted(market: Market, ids: dict[str, list[str]]) -> None:
    """Platforms tell of an order of each channel, and of one that there is not."""
    at = datetime.now(UTC) + timedelta(hours=1)
    named = {name: [found[0], found[0].replace(found[0][-3:], "000")] for name, found in ids.items()}
    told = [
        Hint(
            ChannelId(port.channel.id),
            f"{name} {id}",
            "told",
            HintKind.ORDER,
            id,
            at,
            "DE" if name == "amazon" else None,
        )
        for name, port in market.ports.items()
        for id in named[name]
    ]
    async with market.deps.store.begin() as tx:
        assert await hints.take(tx, told) == len(told)
    assert await hints.Hints(market.deps, lambda: None).once() == len(told)


async def tracked(market: Market, ids: dict[str, list[str]]) -> None:
    """A warehouse tells of parcels and of whom they are for, by webhook and by file."""
    good = {
        "order": ids["shop"][0],
        "carrier": "DHL",
        "trackingNumber": "JD0001",
        "shippedAt": "2026-11-28T09:30:00+01:00",
    }
    named = [
        good | {"recipient": CANARIES[2]},
        good | {"recipient": {"name": CANARIES[2], "street": CANARIES[2]}},
        good | {"lines": [{"sku": "A", "quantity": 1, "for": CANARIES[2]}]},
        good | {"shippedAt": CANARIES[2]},
        good | {"lines": [{"sku": "A", "quantity": CANARIES[2]}]},
        CANARIES[2],
    ]
    rows = [tracking_read(at, RowKind.PARCEL, one, None) for at, one in enumerate(named, start=1)]
    assert [one for one in rows if one.told is not None] == []
    async with market.deps.store.begin() as tx:
        assert await tracking.take(tx, TrackingSource("wms", ()), "d1", "1", rows)
    lines = "\n".join(json.dumps(one) for one in named) + f'\n{{"name": "{CANARIES[2]}'
    cells = f"{ids['shop'][0]},DHL,JD0001,2026-11-28T09:30:00+01:00"
    sheet = f'order,carrier,tracking_number,shipped_at\n{cells},{CANARIES[2]}\n{cells},"{CANARIES[2]}\n'
    for file, json_lines in ((lines, True), (sheet, False)):
        told: list[Outcome] = []
        wanted = Wanted("desk", json_lines=json_lines)
        platforms = {id: one.platform for id, one in market.deps.channels.items()}
        await run(market.deps.store, platforms, BytesIO(file.encode()), wanted, told.append)
        assert {one.result for one in told} == {Result.REFUSED}
        assert [one for one in told if CANARIES[2] in str(one)] == []


def _misunderstood(port: Port) -> Page[Order]:
    bird = CANARIES[0]
    raw = {
        "orderId": "302-0000000-0000001",
        "createdTime": "2026-11-01T00:00:00Z",
        "lastUpdatedTime": "2026-11-01T00:00:00Z",
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": IDS["DE"]},
        "fulfillment": {"fulfillmentStatus": "TELEPORTED", "fulfilledBy": "MERCHANT"},
        "orderItems": [],
        "buyer": {"buyerName": bird},
        "recipient": {"deliveryAddress": {"name": bird, "countryCode": "DE"}},
    }
    page = _page(port.channel.id, {IDS["DE"]: "DE"}, [raw], None)
    assert [one.key for one in page.rejected] == ["302-0000000-0000001"]
    return page


async def test_a_canary_that_escapes_is_found_wherever_it_sits(place: Place) -> None:
    """The twin: what looks for them can find them."""
    async with place.store.begin() as tx:
        await tx.execute(
            text("insert into quarantine (channel, what, key, reason, raw) values ('shop', 'order', '1', :bird, '')"),
            {"bird": CANARIES[1]},
        )
    await place.redis.set("somewhere", CANARIES[2])
    logging.getLogger("anywhere").debug("escaped", extra={"bird": CANARIES[3]})
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(CANARIES[4].encode())
    assert await place.found() == {
        ("table quarantine", CANARIES[1]),
        ("redis", CANARIES[2]),
        ("log", CANARIES[3]),
        ("file", CANARIES[4]),
    }
