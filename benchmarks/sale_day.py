"""A sale day: one hour's orders of three Amazon accounts and a shop, through the whole house, until each parcel is seen live.

    python -m benchmarks.sale_day --orders 50000 --speed 10 --share 0.4 [--part 0.25]

The hour, or a part of it, is squeezed by `speed`: plans grant so many times as much a second. The sandboxes' clocks run like
ours, since a house tells time by its own clock and its database's; so what is of fixed length stays so (searchOrders and reports
leave the last two minutes out), a report is made in 90 s / `speed`, and streams of orders run `speed` times as often. All times
are seconds of that clock, all bounds those of the plans as they are granted.

Buyers come by themselves (`POST /_sandbox/sale`), and buy what the channels show. Orders come in as in production: the shop's by
webhooks and pages; Amazon's by notifications with getOrder, by searchOrders and by reports, whatever is chosen. A set of rules
promises them at two places. A warehouse, played here, looks every second for what is promised and tells of its parcels by
`POST /tracking/wms`, signed; workers confirm them and read them back. In place of SQS stands this process, which hands
notifications to where a queue's reader would. Gateway, workers, sandboxes and PostgreSQL are processes of
their own, on one machine.

The baseline is computed, not run: the same orders read by pages of searchOrders alone. Exit code 1 where an order was lost, one
was confirmed twice, a webhook was refused, or the ledger does not add up.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import typer
from sqlalchemy import text

from adapters.amazon.hints import Account, understood
from adapters.amazon.notifications import Desk, Queue, wanted
from adapters.amazon.platform import AmazonPort
from adapters.notices import NewSecret
from benchmarks.rehearsal import AMAZON, CONFIG, SHOP, Crew, Sandbox, ledger_kept, quicken, read, sandbox
from domain.budget import Ask
from domain.feed import secret_bytes, sign
from gateway import children
from gateway.auth import hash_secret, new_secret
from gateway.engines import start
from gateway.wiring import House, build_house
from gateway.worker import deps_of
from schema.scopes import ALL
from store import api_key, migrate
from workers.hints import received
from workers.streams import sync_once

HOUR_S = 3600.0
# The published plans (rate, burst) of what a sale needs; all that the house calls is granted `speed` times as much.
PLANS = {
    "searchOrders": (0.0056, 20),
    "getOrder": (0.5, 30),
    "createReport": (0.0167, 15),
    "confirmShipment": (2.0, 10),
}
POINTS, POINTS_RATE = 2000, 100
PAGE = 100
WMS = "whsec_c2FsZSBkYXksIGEgd2FyZWhvdXNlIGZvciB0ZXN0cw=="
TOPICS = ["ORDERS_CREATE", "ORDERS_UPDATED"]
SELLERS = {"amazon-na": "A1SANDBOXNA", "amazon-eu": "A1SANDBOXEU", "amazon-fe": "A1SANDBOXFE"}
MARKETPLACES = {"amazon-na": ("US",), "amazon-eu": ("DE", "FR"), "amazon-fe": ("JP",)}
TRACKING = f'[[tracking_in]]\nid = "wms"\nsecret = "{WMS}"\n'
RULES = """mutation { setSourcingRules(input: {
    goals: [PARCELS, GROUPS], groups: [["BER"], ["RNO"]], mostParcels: 2, paces: [{ location: "BER", ordersPerDay: 30000 }]
}) { rules { version } userErrors { message } } }"""
CHECK = "mutation { checkLedger { check { wrong { sku } } } }"

TO_SEND = text(
    """
    select id, channel, external_id from "order"
    where fulfilled_by = 'MERCHANT' and status in ('UNSHIPPED', 'PARTIALLY_SHIPPED') and whole and placed_at >= :began
        and exists (select from order_allocation where order_id = "order".id and quantity > 0)
    """
)
FACTS = text(
    """
    select kept.channel, kept.fulfilled_by, kept.placed_at, kept.ship_by, known.at known, known.words, sourced.at promised,
        told.at told, sent.created_at asked, sent.accepted_at, sent.ended_at, sent.status
    from "order" kept
    join order_step known on known.order_id = kept.id and known.kind = 'IMPORTED'
    left join (
        select order_id, min(at) at from order_step where kind = 'SOURCED' group by order_id
    ) sourced on sourced.order_id = kept.id
    left join (select order_id, min(at) at from tracking_row group by order_id) told on told.order_id = kept.id
    left join (
        select item.resource, min(whole.created_at) created_at, min(item.accepted_at) accepted_at,
            min(item.ended_at) ended_at, min(item.status) status
        from operation_item item join operation whole on whole.id = item.operation_id group by item.resource
    ) sent on sent.resource = 'order:' || kept.id
    where kept.placed_at >= :began
    """
)


@dataclass(slots=True)
class Sold:
    """What a run came to. Seconds, of orders and of both sandboxes' clocks."""

    orders: int
    sale_s: float
    seconds: float = 0.0
    known: dict[str, list[float]] = field(default_factory=dict)
    promised: list[float] = field(default_factory=list)
    confirmed: dict[str, list[float]] = field(default_factory=dict)
    seen: list[float] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    kept_within_s: float = 0.0
    done_within_s: float = 0.0
    to_ship: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    late: int = 0
    open_late: int = 0
    oversold: int = 0
    twice: int = 0
    wrong: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    points: float = 0.0
    sales: dict[str, dict[str, Any]] = field(default_factory=dict)
    amazon: int = 0
    hooks: Counter[str] = field(default_factory=Counter)

    @property
    def passed(self) -> bool:
        """Nothing was lost, late or done twice, every parcel was seen live, and what the shop told us was believed."""
        parcels = self.to_ship.total() - self.statuses["VERIFIED"]
        return not (
            self.missing or parcels or self.late or self.open_late or self.twice or self.wrong or self.hooks["401"]
        )


@dataclass(slots=True)
class Day:
    """Everything that stands while it goes on."""

    amazon: Sandbox
    shop: Sandbox
    house: House
    http: httpx.AsyncClient
    crew: Crew
    speed: float
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    told: set[str] = field(default_factory=set)
    deliveries: int = 0

    async def get(self, on: Sandbox, path: str) -> Any:
        """Of a control plane."""
        return await asyncio.to_thread(on.get, path)

    async def post(self, on: Sandbox, path: str, body: dict[str, object]) -> Any:
        """To a control plane."""
        return await asyncio.to_thread(on.post, path, body)

    async def ask(self, query: str) -> Any:
        """The data of a query of the gateway."""
        told = (await self.http.post("/graphql", json={"query": query})).raise_for_status().json()
        if "errors" in told:
            raise AssertionError(told["errors"])
        return told["data"]

    async def hear(self) -> None:
        """For ever: what Amazon has sent to the queue becomes hints, as its reader makes them."""
        accounts = [
            Account(one, SELLERS[one], "amzn1.application-oa2-client.sandbox", MARKETPLACES[one])  # type: ignore[arg-type]
            for one in AMAZON
        ]
        deps = deps_of(self.house)
        while True:
            bodies = (await self.get(self.amazon, "notifications/held"))["notifications"]
            for start_at in range(0, len(bodies), 500):
                told = [understood(accounts, json.dumps(one).encode()) for one in bodies[start_at : start_at + 500]]
                await received(deps, [one for one in told if not isinstance(one, NewSecret)])
            await asyncio.sleep(0.5)

    async def send(self) -> None:
        """For ever: the warehouse packs what is promised and tells of it, at once."""
        while True:
            async with self.house.store.begin() as tx:
                rows = (await tx.execute(TO_SEND, {"began": self.began})).all()
            fresh = [row for row in rows if row.id not in self.told]
            for start_at in range(0, len(fresh), 500):
                few = fresh[start_at : start_at + 500]
                await self._tell([_parcel(row.id, row.channel, row.external_id) for row in few])
                self.told.update(row.id for row in few)
            await asyncio.sleep(1.0)

    async def _tell(self, parcels: Sequence[dict[str, str]]) -> None:
        body = json.dumps({"parcels": parcels}).encode()
        self.deliveries += 1
        id, at = f"wave-{self.deliveries}", int(time.time())
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(secret_bytes(WMS), id, at, body),
            "content-type": "application/json",
        }
        answer = (await self.http.post("/tracking/wms", content=body, headers=headers)).raise_for_status().json()
        if answer["problems"]:
            raise AssertionError(answer["problems"][0])


def _parcel(id: str, channel: str, external_id: str) -> dict[str, str]:
    number = f"JD{int(id.replace('-', '')[:15], 16):018d}"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"order": external_id, "channel": channel, "carrier": "DHL", "trackingNumber": number, "shippedAt": now}


@asynccontextmanager
async def day(folder: Path, *, orders: int, speed: float, workers: int) -> AsyncIterator[Day]:
    """A house with everything loaded, its workers at work, and nobody who buys yet."""
    with ExitStack() as stack:
        engines = await asyncio.to_thread(start, folder / "engines", throwaway=True)
        stack.callback(engines.stop)
        await asyncio.to_thread(migrate.upgrade, engines.database_url)
        products = min(2000, max(200, orders // 20 // 10 * 10))
        amazon, shop = (stack.enter_context(sandbox(name, 0, 1.0, products)) for name in ("amazon", "shopify"))
        await asyncio.to_thread(_grant, amazon, shop, speed)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}"
        path = folder / "acorn.toml"
        path.write_text(_config(amazon, shop, url), encoding="utf-8")
        settings = {"database_url": engines.database_url, "redis_url": engines.redis_url, "config": str(path)}
        house = await build_house(read(settings))
        quicken(house, speed)
        key = new_secret()
        async with house.store.begin() as tx:
            await api_key.create(tx, uuid4().hex, "sale", hash_secret(key), ALL, None)
        gateway = children.start(
            "gateway", [sys.executable, "-m", "gateway", "serve"], folder=folder, environ=_environ(settings, url)
        )
        stack.callback(children.stop, [gateway])
        crew = Crew(settings, folder, faster=speed)
        stack.callback(crew.dismiss)
        try:
            problems = await sync_once(deps_of(house), lambda *_: None)
            if problems:
                raise AssertionError(problems)
            async with httpx.AsyncClient(
                base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False
            ) as http:
                made = Day(amazon, shop, house, http, crew, speed)
                await _open(made)
                for _ in range(workers):
                    crew.hire()
                yield made
        finally:
            await house.close()


def _config(amazon: Sandbox, shop: Sandbox, url: str) -> str:
    hooks = (
        f'webhook_url = "{url}/webhooks/shopify/shop"\nwebhook_topics = {json.dumps(TOPICS)}\n'
        'client_secret = "sandbox-secret"\n'
    )
    config = ledger_kept(CONFIG).format(amazon=amazon.url, shop=shop.url)
    return config.replace('access_token = "shpat_sandbox"\n', f'access_token = "shpat_sandbox"\n{hooks}') + TRACKING


def _environ(settings: dict[str, str], url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ACORN_")}
    root = str(Path(__file__).parents[1])
    return kept | {
        "PYTHONPATH": root,
        "ACORN_DATABASE_URL": settings["database_url"],
        "ACORN_REDIS_URL": settings["redis_url"],
        "ACORN_CONFIG": settings["config"],
        "ACORN_HOST": "127.0.0.1",
        "ACORN_PORT": url.rpartition(":")[2],
    }


def _grant(amazon: Sandbox, shop: Sandbox, speed: float) -> None:
    """What an hour's plans grant, they grant in an hour / `speed`."""
    plans = amazon.get("plans")
    amazon.post("plans", {name: {"rate": plan["rate"] * speed} for name, plan in plans.items()})
    amazon.post("reports", {"queueSeconds": 30 / speed, "progressSeconds": 60 / speed})
    amazon.post("lag", {"seconds": 0.3})
    shop.post("plans", {"restoreRate": POINTS_RATE * speed})
    shop.post("lag", {"seconds": 0.3})


async def _open(made: Day) -> None:
    """The rules, and whoever wants to be told of orders has subscribed."""
    async with asyncio.timeout(60):
        while True:
            try:
                if (await made.http.get("/readyz")).is_success:
                    break
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    wrong = (await made.ask(RULES))["setSourcingRules"]["userErrors"]
    if wrong:
        raise AssertionError(wrong)
    await made.post(made.amazon, "notifications", {"held": True})
    arn = "arn:aws:sqs:us-east-1:444455556666:acorn"
    for id, port in made.house.ports.items():
        if isinstance(port, AmazonPort):
            await Desk(port.client, wanted(("ORDER_CHANGE",), Queue(arn), None)).ensure(Ask(), apply=True)
        elif id in made.house.notices.desks:
            found = await made.house.notices.desks[id].ensure(Ask(), apply=True)
            if bad := [one for one in found if one.wrong and not one.mended]:
                raise AssertionError(bad)


async def sell(made: Day, sold: Sold, *, share: float, merchant: float, patience_s: float) -> None:
    """The sale, until every order is known and every parcel seen, or patience ends."""
    shops = round(sold.orders * share)
    seconds = sold.sale_s
    marks = [(await made.get(one, "journal?since=999999999"))["next"] for one in (made.amazon, made.shop)]
    points = (await made.get(made.shop, "points"))["spent"]
    # A shop tells its times in whole seconds.
    made.began = datetime.now(UTC).replace(microsecond=0)
    began = time.monotonic()
    tasks = [asyncio.create_task(made.hear()), asyncio.create_task(made.send())]
    try:
        within = {"seconds": seconds, "merchant": merchant, "shipWithin": 2 * HOUR_S / made.speed}
        await made.post(made.amazon, "sale", {"orders": sold.orders - shops, **within})
        await made.post(made.shop, "sale", {"orders": shops, "seconds": seconds})
        deadline = began + seconds + patience_s
        while time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            for task in tasks:
                if task.done():
                    task.result()
            sold.sales = {
                "amazon": await made.get(made.amazon, "sale"),
                SHOP: await made.get(made.shop, "sale"),
            }
            if not any(one["running"] for one in sold.sales.values()) and await _all_done(made, sold):
                break
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    sold.seconds = time.monotonic() - began
    sold.points = (await made.get(made.shop, "points"))["spent"] - points
    for one, mark in zip((made.amazon, made.shop), marks, strict=True):
        journal = await made.get(one, f"journal?since={mark}")
        sold.calls.update(call["operation"] + (" (429)" if call["status"] == 429 else "") for call in journal["calls"])
        sent = Counter(
            (effect["key"], effect["detail"].get("fulfillmentOrderId"))
            for effect in journal["effects"]
            if effect["operation"] in ("confirmShipment", "fulfillmentCreate")
        )
        sold.twice += sum(times - 1 for times in sent.values())


async def _all_done(made: Day, sold: Sold) -> bool:
    placed = sum(one["placed"] for one in sold.sales.values())
    query = text(
        """
        select count(*) known, count(*) filter (where fulfilled_by = 'MERCHANT' and (not whole or ended.resource is null)) waiting
        from "order" kept
        left join (select distinct resource from operation_item where ended_at is not null) ended
            on ended.resource = 'order:' || kept.id
        where placed_at >= :began
        """
    )
    async with made.house.store.begin() as tx:
        row = (await tx.execute(query, {"began": made.began})).one()
    return bool(row.known >= placed and not row.waiting)


async def judge(made: Day, sold: Sold) -> None:
    """Read what came of it from the rows, and compare with what the sandboxes say."""
    async with made.house.store.begin() as tx:
        rows = (await tx.execute(FACTS, {"began": made.began})).all()
        sold.oversold = await tx.scalar(text("select coalesce(sum(units), 0) from oversale")) or 0
        for row in await tx.execute(text("select channel, way from sync_stream where name = 'orders'")):
            sold.ways[f"{row.channel} {row.way}"] += 1
    sold.wrong = len((await made.ask(CHECK))["checkLedger"]["check"]["wrong"])
    sold.hooks.update((await made.get(made.shop, "webhooks"))["counts"])
    placed = sum(one["placed"] for one in sold.sales.values())
    sold.missing, sold.amazon = placed - len(rows), sold.sales["amazon"]["placed"]
    now, last_known, last_done = datetime.now(UTC), made.began, made.began
    for row in rows:
        name = SHOP if row.channel == SHOP else "amazon"
        sold.known.setdefault(name, []).append((row.known - row.placed_at).total_seconds())
        last_known = max(last_known, row.known)
        sold.paths[f"{name} by {row.words.rpartition('(by ')[2].rstrip(')')}"] += 1
        if row.promised is not None:
            sold.promised.append((row.promised - row.known).total_seconds())
        if row.fulfilled_by != "MERCHANT":
            continue
        sold.to_ship[name] += 1
        sold.statuses[row.status or "not told"] += 1
        if row.accepted_at is None:
            sold.open_late += row.ship_by is not None and row.ship_by < now
            continue
        sold.late += row.ship_by is not None and row.accepted_at > row.ship_by
        sold.confirmed.setdefault(name, []).append((row.accepted_at - row.asked).total_seconds())
        if row.ended_at is not None:
            sold.seen.append((row.ended_at - row.accepted_at).total_seconds())
            last_done = max(last_done, row.ended_at)
    sold.kept_within_s = (last_known - made.began).total_seconds()
    sold.done_within_s = (last_done - made.began).total_seconds()


def report(sold: Sold, speed: float, workers: int) -> None:
    """What a reader wants to know."""
    placed = sum(one["placed"] for one in sold.sales.values())
    refused = sum(one["soldOut"] for one in sold.sales.values())
    ship = sum(sold.to_ship.values())
    print(
        f"{placed} orders in {sold.sale_s:.0f} s of plans {speed:g} times as generous, {workers} workers; "
        f"{refused} wishes sold out"
    )
    print(
        f"  kept            {placed / max(1.0, sold.kept_within_s):.0f} orders/s; the last known "
        f"{sold.kept_within_s - sold.sale_s:+.0f} s after the sale"
    )
    for name, times in sorted(sold.known.items()):
        print(f"  known, {name:<8} {_times(times)}   after it was placed")
    print(f"  ways in         {', '.join(f'{count} {way}' for way, count in sold.paths.most_common())}")
    print(f"  last chosen     {', '.join(sorted(sold.ways))}")
    print(
        f"  shop's webhooks {sold.hooks['made']}: {sold.hooks['delivered']} delivered, {sold.hooks['failed']} tries failed, "
        f"{sold.hooks['401']} of them refused as not proven"
    )
    print(f"  promised        {_times(sold.promised)}   after it was known")
    for name, times in sorted(sold.confirmed.items()):
        print(f"  taken, {name:<8} {_times(times)}   after the warehouse's word became an operation")
    print(f"  seen live       {_times(sold.seen)}   after it was taken")
    print(
        f"  parcels         {ship}: {', '.join(f'{count} {status}' for status, count in sold.statuses.most_common())}"
    )
    print(f"  ship-by missed  {sold.late} taken late, {sold.open_late} late and open")
    print(
        f"  oversold units  {sold.oversold}; confirmed twice {sold.twice}; orders not known {sold.missing}; "
        f"SKUs wrong in the ledger {sold.wrong}"
    )
    _bounds(sold, speed)
    _baseline(sold, speed)


def _bounds(sold: Sold, speed: float) -> None:
    """Calls made beside the least that will do, and what the plans grant for those."""
    parcels, accounts = sold.to_ship["amazon"], len(AMAZON)
    least = {
        "searchOrders": 0,
        "createReport": 0,
        "getOrder": parcels,
        "confirmShipment": parcels,
    }
    print("  upstream calls       made    least   plan grants   least takes by the plan")
    longest = sold.sale_s
    for name, (rate, burst) in PLANS.items():
        granted = accounts * (burst + rate * speed * sold.seconds)
        takes = max(0.0, least[name] / accounts - burst) / (rate * speed)
        longest = max(longest, takes)
        print(f"    {name:<16} {sold.calls[name]:>7} {least[name]:>8} {granted:>13.0f} {takes:>14.0f} s")
    # Work, parcel and the look afterwards cost what they cost in the run; nothing asks for less by name.
    granted_points = POINTS + POINTS_RATE * speed * sold.seconds
    points_s = max(0.0, sold.points - POINTS) / (POINTS_RATE * speed)
    print(f"    {'points of shop':<16} {sold.points:>7.0f} {'':>8} {granted_points:>13.0f} {points_s:>14.0f} s")
    longest = max(longest, points_s)
    others = [f"{count} {name}" for name, count in sold.calls.most_common() if name not in PLANS]
    print(f"    others           {', '.join(others)}")
    print(
        f"  from the first buyer to the last parcel seen {sold.done_within_s:.0f} s, the bound (sale, or plans for the least) "
        f"{longest:.0f} s: {sold.done_within_s / longest:.2f} times"
    )


def _baseline(sold: Sold, speed: float) -> None:
    """Pages of searchOrders alone, one account's orders after the other, from its plan."""
    rate, burst = PLANS["searchOrders"]
    pages = math.ceil(sold.amazon / len(AMAZON) / PAGE)
    takes = max(0.0, pages - burst) / (rate * speed)
    print(
        f"  baseline (computed): pages of searchOrders alone are {pages} calls for each account, the last {takes:.0f} s "
        f"after the first; {takes / max(1.0, sold.kept_within_s):.1f} times what it took"
    )


def _times(values: list[float]) -> str:
    if not values:
        return "none"
    ordered = sorted(values)
    p50, p95 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.95))
    return f"p50 {p50:6.1f} s   p95 {p95:6.1f} s   max {ordered[-1]:6.1f} s"


async def run(
    orders: int, speed: float, part: float, share: float, merchant: float, workers: int, patience_s: float
) -> Sold:
    """A whole day."""
    sold = Sold(round(orders * part), HOUR_S * part / speed)
    with tempfile.TemporaryDirectory(prefix="acorn-sale-") as made:
        async with day(Path(made), orders=orders, speed=speed, workers=workers) as on:
            await sell(on, sold, share=share, merchant=merchant, patience_s=patience_s)
            await judge(on, sold)
    return sold


def main(
    orders: Annotated[int, typer.Option(min=100, help="Orders of the hour.")] = 50_000,
    speed: Annotated[float, typer.Option(min=1.0, help="How many times as much as published the plans grant.")] = 10.0,
    part: Annotated[float, typer.Option(min=0.01, max=1.0, help="Of the hour, with its part of the orders.")] = 1.0,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="The shop's share of the orders.")] = 0.4,
    merchant: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of Amazon's, what we ship ourselves.")] = 0.15,
    workers: Annotated[int, typer.Option(min=1)] = 2,
    patience: Annotated[float, typer.Option(help="Seconds after the sale before it is judged as it stands.")] = 180.0,
) -> None:
    """Sell, and say what came of it."""
    sold = asyncio.run(run(orders, speed, part, share, merchant, workers, patience))
    report(sold, speed, workers)
    print("PASSED" if sold.passed else "FAILED")
    sys.exit(0 if sold.passed else 1)


if __name__ == "__main__":
    typer.run(main)
