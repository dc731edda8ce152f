"""A stage for rehearsals: both sandboxes, worker processes that can be killed, and the sandboxes' own word on what was done.

Nothing here is a stand-in of ours: engines, wire protocols, usage plans and workers are those of production. Only the time of
the sandboxes runs faster, and with it the plans that they grant and tell.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import random
import re
import subprocess
import sys
import urllib.request
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select

from domain.channel import StreamName
from domain.ids import ChannelId, OperationId, OrderId
from domain.operation import Operation
from domain.order import SHIPPABLE, Order
from domain.product import FulfilledBy
from domain.shipment import ShipmentRequest
from gateway.events import EventHub
from gateway.settings import Settings
from gateway.wiring import House, build_house
from gateway.worker import deps_of, run
from resolvers.live import LiveStock
from resolvers.shelf import Bell, Shelf
from resolvers.shipment import confirm
from resolvers.stock_cache import StockCache
from store import order, stream
from store.session import Store, among
from store.tables import operation_item
from workers import crash
from workers.deps import Timing
from workers.streams import IN_ORDER, register, run_stream

# How long an accepted write stays unseen, and what the house is told about it; real seconds.
LAG_S = 0.3
AMAZON = ("amazon-na", "amazon-eu", "amazon-fe")
SHOP = "shop"

CONFIG = """\
[[channels]]
id = "amazon-na"
name = "Amazon NA"
platform = "amazon"
region = "na"
marketplaces = ["US"]
seller_id = "A1SANDBOXNA"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-na"
endpoint = "{amazon}"
token_endpoint = "{amazon}/auth/o2/token"
sandbox = true
visibility_lag = "PT0.5S"

[[channels]]
id = "amazon-eu"
name = "Amazon EU"
platform = "amazon"
region = "eu"
marketplaces = ["DE", "FR"]
seller_id = "A1SANDBOXEU"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-eu"
endpoint = "{amazon}"
token_endpoint = "{amazon}/auth/o2/token"
sandbox = true
visibility_lag = "PT0.5S"

[[channels.pools]]
code = "fba-eu"
name = "FBA pan-EU"
marketplaces = ["DE", "FR"]

[[channels]]
id = "amazon-fe"
name = "Amazon FE"
platform = "amazon"
region = "fe"
marketplaces = ["JP"]
seller_id = "A1SANDBOXFE"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-fe"
endpoint = "{amazon}"
token_endpoint = "{amazon}/auth/o2/token"
sandbox = true
visibility_lag = "PT0.5S"

[[channels]]
id = "shop"
name = "Shop"
platform = "shopify"
shop = "acorn-sandbox.myshopify.com"
access_token = "shpat_sandbox"
endpoint = "{shop}"
sandbox = true
visibility_lag = "PT0.5S"

[[locations]]
code = "BER"
name = "Berlin"
keeper = "shop"
external_id = "gid://shopify/Location/72000000000001"

[[locations]]
code = "RNO"
name = "Reno"
keeper = "shop"
external_id = "gid://shopify/Location/72000000000002"
"""


SHOPIFY = CONFIG[CONFIG.index('[[channels]]\nid = "shop"') : CONFIG.index("[[locations]]")]
REST = """\
[[channels]]
id = "shop"
name = "Shop"
platform = "rest"
url = "{shop}/api/v1"
token = "st_sandbox"
sandbox = true
visibility_lag = "PT0.5S"

"""


def self_built(config: str) -> str:
    """The same houses, with a shop that is self-built: one block is another, and the places have its names."""
    return config.replace(SHOPIFY, REST).replace("gid://shopify/Location/7200000000000", "loc_")


def ledger_kept(config: str) -> str:
    """The same houses, their warehouses counted by the ledger and shown at the shop, which opens it."""
    return re.sub(
        r'keeper = "shop"\nexternal_id = (".*")',
        r'keeper = "ledger"\nopens_from = "shop"\n\n[locations.shown]\nshop = \1',
        config,
    )


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox and its control plane."""

    url: str

    def get(self, path: str) -> Any:
        """The answer of GET /_sandbox/…"""
        with urllib.request.urlopen(f"{self.url}/_sandbox/{path}", timeout=120) as answer:
            return json.load(answer)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        """The answer of POST /_sandbox/…"""
        asked = urllib.request.Request(f"{self.url}/_sandbox/{path}", json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return json.load(answer)


@contextmanager
def sandboxes(orders: int, speed: float) -> Iterator[tuple[Sandbox, Sandbox]]:
    """Amazon and the shop, with `orders` orders on both together."""
    with ExitStack() as stack:
        yield (
            stack.enter_context(sandbox("amazon", orders, speed)),
            stack.enter_context(sandbox("shopify", orders, speed)),
        )


@contextmanager
def sandbox(platform: str, orders: int, speed: float, products: int = 200) -> Iterator[Sandbox]:
    """One of them, with so many orders and products."""
    command = [sys.executable, "-m", "sandbox", platform, "--port", "0"]
    command += ["--products", str(products), "--orders", str(orders)]
    command += ["--speed", str(speed), "--lag", str(LAG_S * speed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Sandbox(process.stdout.readline().split()[-1])
        finally:
            process.terminate()
            process.wait(10)


@dataclass(slots=True)
class Crew:
    """Worker processes. They are forked from a process that has imported everything, so that a new one stands in a moment.

    Their streams of orders run `faster` times as often as in production, where the sandboxes' time runs so much faster.
    """

    settings: dict[str, str]
    logs: Path
    timing: Timing | None = None
    arq: bool = True
    faster: float = 1.0
    members: list[ForkServerProcess] = field(default_factory=list)
    kills: int = 0

    def hire(self, crash_at: str = "") -> ForkServerProcess:
        """Start one; `crash_at` is where it shall die."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        arguments = (self.settings, self.arq, self.timing, crash_at, str(self.logs / "workers.log"), self.faster)
        member = context.Process(target=_work, args=arguments, daemon=True)
        member.start()
        self.members.append(member)
        return member

    def kill(self, dice: random.Random) -> None:
        """SIGKILL to one of them, and a new one in its place."""
        victim = self.members.pop(dice.randrange(len(self.members)))
        victim.kill()
        victim.join()
        self.kills += 1
        self.hire()

    def dismiss(self) -> list[int | None]:
        """Stop all of them in order; their exit codes."""
        for member in self.members:
            if member.is_alive():
                member.terminate()
        for member in self.members:
            member.join(30)
            if member.exitcode is None:
                member.kill()
                member.join()
        return [member.exitcode for member in self.members]


class _Lines(logging.Formatter):
    """Time, process, event and values."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback where there is one."""
        usual = logging.makeLogRecord({}).__dict__
        extra = {name: value for name, value in record.__dict__.items() if name not in usual}
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")
        line = f"{at} {record.process} {record.levelname} {record.name} {record.getMessage()} {extra or ''}"
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


def _work(settings: dict[str, str], arq: bool, timing: Timing | None, crash_at: str, log: str, faster: float) -> None:
    """A worker process."""
    handler = logging.FileHandler(log)
    handler.setFormatter(_Lines())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    crash.plan(crash_at)

    async def main() -> None:
        house = await build_house(read(settings))
        if faster != 1:
            quicken(house, faster)
        try:
            await run(house, arq=arq, timing=timing)
        finally:
            await house.close()

    asyncio.run(main())


def quicken(house: House, faster: float) -> None:
    """Let streams of orders run so many times as often as they would."""
    for id, port in house.ports.items():
        house.intervals[id, StreamName.ORDERS] = port.every[StreamName.ORDERS] / faster


def read(settings: Mapping[str, str]) -> Settings:
    """Settings from what a process is handed."""
    return Settings(
        _env_file=None,  # type: ignore[call-arg]  # of pydantic-settings
        database_url=SecretStr(settings["database_url"]),
        redis_url=SecretStr(settings["redis_url"]),
        config=Path(settings["config"]),
    )


@dataclass(slots=True)
class Stage:
    """Everything that a rehearsal needs. `orders` are those that can be shipped, by channel."""

    amazon: Sandbox
    shop: Sandbox
    house: House
    settings: dict[str, str]
    directory: Path
    orders: dict[ChannelId, list[Order]]

    def crew(self, timing: Timing | None = None, *, arq: bool = True) -> Crew:
        """Nobody yet."""
        return Crew(self.settings, self.directory, timing, arq)

    def fail(self, share: float, seed: int) -> None:
        """From now on this share of the confirmations is carried out and then fails."""
        for sandbox, name in ((self.amazon, "confirmShipment"), (self.shop, "fulfillmentCreate")):
            kinds: list[dict[str, object]] = [
                {"kind": "apply_then_reset"},
                {"kind": "apply_then_status", "status": 500},
                {"kind": "apply_then_status", "status": 503},
            ]
            # The first rule that strikes decides; each gets an equal part of the whole share.
            left, rules = 1.0, list[dict[str, object]]()
            for kind in kinds:
                part = share / len(kinds)
                rules.append({"operation": name, "probability": part / left, "seed": seed + len(rules), **kind})
                left -= part
            sandbox.post("faults", {"faults": rules})

    def injected(self) -> int:
        """How many confirmations were carried out and then failed."""
        return sum(rule["fired"] for sandbox in (self.amazon, self.shop) for rule in sandbox.get("faults")["faults"])

    def effects(self) -> dict[str, list[dict[str, Any]]]:
        """What the sandboxes truly did, by the channel's order id."""
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for sandbox, name in ((self.amazon, "confirmShipment"), (self.shop, "fulfillmentCreate")):
            for effect in sandbox.get("journal?since=0")["effects"]:
                if effect["operation"] == name:
                    found[effect["key"]].append(effect["detail"])
        return dict(found)

    def calls(self) -> Counter[str]:
        """How often each operation was called."""
        return Counter(
            call["operation"]
            for sandbox in (self.amazon, self.shop)
            for call in sandbox.get("journal?since=0")["calls"]
        )


@asynccontextmanager
async def stage(
    database_url: str, redis_url: str, directory: Path, *, orders: int, speed: float
) -> AsyncIterator[Stage]:
    """Sandboxes with `orders` orders, a house over empty engines, and all orders loaded by the real synchronization."""
    async with AsyncExitStack() as stack:
        amazon, shop = stack.enter_context(sandboxes(orders, speed))
        path = directory / "acorn.toml"
        path.write_text(CONFIG.format(amazon=amazon.url, shop=shop.url), encoding="utf-8")
        settings = {"database_url": database_url, "redis_url": redis_url, "config": str(path)}
        house = await build_house(read(settings))
        stack.push_async_callback(house.close)
        await load_orders(house)
        yield Stage(amazon, shop, house, settings, directory, await _shippable(house))


async def load_orders(house: House) -> None:
    """Load the orders of all channels; the other streams are told to wait, they are no part of this."""
    deps = deps_of(house)
    await register(deps)
    async with house.store.begin() as tx:
        states = await stream.states(tx)
        for state in states:
            if state.name is not StreamName.ORDERS:
                await stream.finished(tx, state.channel, state.name, None, datetime.now(UTC))
    async with asyncio.TaskGroup() as group:
        for state in states:
            if state.name is StreamName.ORDERS:
                group.create_task(run_stream(deps, state))
    assert {(state.channel, name) for state in states for name in IN_ORDER if name is state.name} == {
        (id, name) for id in house.ports for name in IN_ORDER
    }


async def _shippable(house: House) -> dict[ChannelId, list[Order]]:
    found: defaultdict[ChannelId, list[Order]] = defaultdict(list)
    after: tuple[datetime, OrderId] | None = None
    more = True
    while more:
        async with house.store.begin() as tx:
            page, more = await order.page(tx, first=500, after=after, statuses=sorted(SHIPPABLE, key=str))
        for one in page:
            if one.fulfilled_by is FulfilledBy.MERCHANT and any(line.quantity_open for line in one.lines):
                found[one.channel].append(one)
        after = (page[-1].placed_at, page[-1].id) if page else None
    return dict(found)


def make_shelf(house: House, bell: Bell) -> Shelf:
    """What the resolvers want of a gateway."""

    def clock() -> datetime:
        return datetime.now(UTC)

    return Shelf(
        store=house.store,
        channels=house.channels,
        ports=house.ports,
        budgets=house.budgets,
        live=LiveStock(house.store, house.redis, house.budgets, house.ports, house.locations, clock),
        bell=bell,
        events=EventHub(house.store, house.settings.redis_url.get_secret_value()),
        clock=clock,
        stock_cache=StockCache(house.store),
        locations=house.locations,
        safety_stock=house.safety_stock,
    )


async def ship(shelf: Shelf, orders: Sequence[Order], key: str) -> Operation:
    """One operation that confirms all that is open of `orders`, as the mutation does."""
    requests = [
        ShipmentRequest(one.id, "DHL", f"JD{one.external_id.rpartition('/')[2]}", datetime.now(UTC)) for one in orders
    ]
    accepted = await confirm(shelf, "rehearsal", key, requests, idempotency_key=key, dry_run=False)
    if accepted.operation is None:
        raise AssertionError(f"refused: {[problem.message for problem in accepted.problems]}")
    return accepted.operation


def doubtful(one: Order, effects: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with the effects on an order all of whose open units were to ship once; None when nothing is.

    A shop makes one fulfillment for each place that the units lie at: then exactly one for each, and together exactly the units.
    """
    if not effects:
        return "lost"
    if any(effect.get("edit") for effect in effects):
        return "sent twice"
    units: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for effect in effects:
        places[str(effect.get("fulfillmentOrderId", "the only one"))] += 1
        for line in effect.get("items") or effect["lines"]:
            units[line.get("orderItemId") or line["lineItemId"]] += line["quantity"]
    wanted = Counter({line.external_id: line.quantity_open for line in one.lines if line.quantity_open})
    if units != wanted or max(places.values()) > 1:
        return f"shipped {dict(units)} in {sum(places.values())} parcels instead of {dict(wanted)}"
    return None


async def why(store: Store, ids: Collection[OperationId]) -> dict[str, str]:
    """Why items of the operations have failed or want a person: their errors by their keys."""
    i = operation_item.c
    query = select(i.key, i.error_code, i.error_message, i.attempts, i.checks).where(
        among(i.operation_id, ids), i.error_code.is_not(None), i.status.in_(["FAILED", "PARKED"])
    )
    async with store.begin() as tx:
        rows = await tx.execute(query)
    return {
        row.key: f"{row.error_code} after {row.attempts} sends and {row.checks} looks: {row.error_message}"
        for row in rows
    }
