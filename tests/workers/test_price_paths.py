"""No way to a channel passes the guards by: whatever asks for a price, what is sent lies within them. Counted at the sandbox."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from adapters.budget import Budgets
from adapters.prices import PriceKey
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.channel import Channel, Platform
from domain.ids import ChannelSku, ListingId, OperationId, Sku, listing_id
from domain.money import Money
from domain.operation import ItemStatus, OperationStatus
from domain.price import Action, Origin, Price, PriceWish, Sale
from domain.price_canary import Radius
from domain.price_guard import Guard, GuardKind, PriceGuards
from domain.price_rules import Base, Match, PriceRule, PriceRules
from domain.price_target import Asked
from domain.product import FulfilledBy, Listing
from domain.repricing import Reason
from resolvers import price as price_resolver
from resolvers import price_rules as rule_resolver
from sandbox.visit import serving
from store import operation, price_back, price_desk, price_due, price_file, price_guard, price_rules, product
from store.budget import BudgetMemory
from store.session import Store
from store.tables import operation_item
from tests.adapters.bench import Sandbox
from tests.adapters.rest.contract import ROOT as API
from tests.resolvers.test_shipment import CountingBell
from tests.resolvers.test_stock import House
from tests.workers.house import make_deps, until
from tests.workers.pricing import QUICK, SHOP, drain, hurry, make_priced
from workers import price_files
from workers.deps import Deps
from workers.repricing import Repricing

ROOT = Path(__file__).parents[2]
ROWS = 14
STEP = Decimal(15)
# Reaches are looked at elsewhere: here all goes at once.
NEAR = Radius(share=Decimal(100), rows=10_000)
LENIENT = PriceGuards(guards=(), radius=NEAR)


def usd(amount: Decimal) -> Money:
    return Money(round(amount, 2), "USD")


@dataclass(frozen=True, slots=True)
class Town:
    """A shop, the workers that tell it prices, and what it asked for each SKU before anybody did anything."""

    deps: Deps
    house: House
    sandbox: Sandbox
    start: Mapping[str, Decimal]

    @property
    def store(self) -> Store:
        return self.deps.store

    async def guarded(self, wanted: PriceGuards) -> None:
        """From now on these hold."""
        async with self.store.begin() as tx:
            now = await price_guard.current(tx)
            await price_guard.keep(tx, replace(wanted, version=now.version), "boss")

    def strict(self) -> PriceGuards:
        """Each SKU may move by a fourth from its start; and by 15 % in one step."""
        guards = [Guard("step", GuardKind.STEP, Action.REFUSE, up=STEP, down=STEP)]
        for sku, start in self.start.items():
            for kind, factor in ((GuardKind.FLOOR, "0.75"), (GuardKind.CEILING, "1.25")):
                amount = round(start * Decimal(factor), 2)
                name = f"{kind.value} {sku}"
                guards.append(Guard(name, kind, Action.REFUSE, Sku(sku), currency="USD", amount=amount))
        return PriceGuards(guards=tuple(guards), radius=NEAR)

    def outside(self, change: Mapping[str, Any], steps: bool = True) -> bool:
        """Told from what the shop has done alone: does it ask less, more, or in a wider step than it may?"""
        start = self.start[change["key"]]
        told, was = change["detail"], change["detail"]["from"]
        now, regular = Decimal(told["price"]), Decimal(told["compareAtPrice"] or told["price"])
        before = Decimal(was["compareAtPrice"] or was["price"])
        low, high = round(start * Decimal("0.75"), 2), round(start * Decimal("1.25"), 2)
        far = steps and not (100 - STEP) * before <= 100 * regular <= (100 + STEP) * before
        return not (low <= now and regular <= high) or far

    async def sent(self, since: int) -> list[dict[str, Any]]:
        """Tell whatever waits; what the shop has changed by then."""
        c = operation_item.c
        waiting = select(c.id).where(c.status == ItemStatus.PENDING.value, c.released).limit(1)

        async def told_all() -> bool:
            # What is asked for a listing waits until what was asked for it before has come to its end.
            await hurry(self.store)
            await drain(self.deps)
            async with self.store.begin() as tx:
                return await tx.scalar(waiting) is None

        await until(told_all)
        told = await self.sandbox.get("journal", since=since)
        return [one for one in told["effects"] if one["operation"] == "patchVariants"]

    def draw(self, seed: str) -> dict[str, Decimal]:
        """A new price for each SKU, most of them not within the guards, a few far away, and one that is."""
        draws = random.Random(seed)
        factors = [Decimal(str(round(draws.uniform(0.6, 1.4), 3))) for _ in self.start]
        factors[:4] = [Decimal(10), Decimal("0.01"), Decimal("0.9"), Decimal("1.1")]
        return {sku: round(start * factor, 2) for (sku, start), factor in zip(self.start.items(), factors, strict=True)}

    def wish(self, sku: str, price: Price) -> PriceWish:
        id = listing_id(SHOP, None, ChannelSku(sku))
        return PriceWish(id, SHOP, None, ChannelSku(sku), Sku(sku), {}, price, Origin.MUTATION)

    async def asked(self, prices: Mapping[str, Price], *, dry_run: bool = False) -> OperationId:
        """Straight at the desk."""
        request = price_desk.Request("ann", uuid4().hex, self.deps.clock(), dry_run=dry_run)
        async with self.store.begin() as tx:
            made, _ = await price_desk.keep(tx, request, [self.wish(sku, one) for sku, one in prices.items()])
        return made.id

    async def ruled(self, prices: Mapping[str, Decimal]) -> None:
        """Rules that make just these prices."""
        rules = tuple(
            PriceRule(f"base of {sku}", match=Match(skus=(Sku(sku),)), base=Base(amounts=(usd(one),)))
            for sku, one in prices.items()
        )
        async with self.store.begin() as tx:
            now = await price_rules.newest(tx)
            await price_rules.keep(tx, PriceRules(rules, version=now.version), "boss")

    async def reprice(self, reason: Reason, deps: Deps) -> None:
        """Have the worker look at all listings."""
        ids = [ListingId(listing_id(SHOP, None, ChannelSku(sku))) for sku in self.start]
        async with self.store.begin() as tx:
            await price_due.mark(tx, ids, reason)
        assert await Repricing(deps, lambda: None).once() == len(self.start)


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with serving("shop", products=40, orders=1) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Sandbox(url, http)


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport()
    yield made
    await made.close()


@pytest.fixture
async def town(store: Store, redis: Redis, sandbox: Sandbox, transport: Transport) -> Town:
    """A shop whose prices are as its catalog tells them; nobody guards anything yet."""
    channel = Channel(SHOP, Platform.REST, "Shop", True)
    config = RestConfig(channel, f"{sandbox.url}{API}", visibility_lag_s=0.05, token="st_sandbox")
    port = RestPort(config, transport, TokenStore(redis), Budgets(redis, BudgetMemory(store)))
    deps = replace(make_deps(store, redis, [make_priced()], timing=QUICK), ports={SHOP: port}, channels={SHOP: channel})
    skus = [one["sku"] for one in (await sandbox.get("world", limit=200))["skus"]][:ROWS]
    at = datetime.now(UTC)
    shown = await port.shown_prices([PriceKey(ChannelSku(sku)) for sku in skus], Ask())
    start: dict[str, Decimal] = {}
    listings = []
    for sku, one in zip(skus, shown, strict=True):
        told = getattr(one, "price", None)
        assert told is not None
        start[sku] = told.highest.amount
        listings.append(offered(sku, told, at))
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)
    house = House(store, redis)
    house.shelf = replace(house.shelf, ports=deps.ports, channels=deps.channels, bell=CountingBell())
    made = Town(deps, house, sandbox, start)
    await made.guarded(LENIENT)
    return made


def offered(sku: str, price: Price, at: datetime) -> Listing:
    return Listing(
        id=listing_id(SHOP, None, ChannelSku(sku)),
        channel=SHOP,
        marketplace=None,
        channel_sku=ChannelSku(sku),
        external_id=sku,
        status="ACTIVE",
        fulfilled_by=FulfilledBy.MERCHANT,
        as_of=at,
        sku=Sku(sku),
        price=price.regular,
        sale_price=None if price.sale is None else price.sale.price,
    )


# ── the ways in ──


async def by_mutation(town: Town, prices: Mapping[str, Decimal]) -> None:
    asked = [Asked(Sku(sku), Price(usd(one))) for sku, one in prices.items()]
    kept = await price_resolver.update(
        town.house.shelf, "ann", "req-1", asked, reason="", idempotency_key=None, dry_run=False
    )
    assert kept.problems == []


async def by_file(town: Town, prices: Mapping[str, Decimal]) -> None:
    rows = [
        price_file.FileRow(number, sku, "", "", "", Price(usd(one)))
        for number, (sku, one) in enumerate(prices.items(), 1)
    ]
    async with town.store.begin() as tx:
        file, _ = await price_file.begin(tx, price_file.NewFile("ann", uuid4().hex, uuid4().hex, False))
        await price_file.add_rows(tx, file.id, rows)
    assert await price_files.once(town.deps)


async def by_rules_applied(town: Town, prices: Mapping[str, Decimal]) -> None:
    await town.ruled(prices)
    kept = await rule_resolver.apply(town.house.shelf, "ann", "req-1", None, SHOP, idempotency_key=None, dry_run=False)
    assert kept.problems == []


async def by_worker(town: Town, prices: Mapping[str, Decimal]) -> None:
    await town.ruled(prices)
    await town.reprice(Reason.RULES, town.deps)


CALLERS: Mapping[str, Callable[[Town, Mapping[str, Decimal]], Awaitable[None]] | None] = {
    "resolvers/price.py": by_mutation,
    "workers/price_files.py": by_file,
    "resolvers/price_rules.py": by_rules_applied,
    "workers/repricing.py": by_worker,  # and test_a_sale_that_begins
    "store/price_back.py": None,  # test_what_is_taken_back
}
"""Whoever hands prices to the desk, and how he is made to."""

WAYS = [pytest.param(way, id=name) for name, way in CALLERS.items() if way is not None]


def naming(pattern: str) -> set[str]:
    """The files of the house that have such code."""
    rooms = ("domain", "store", "adapters", "resolvers", "workers", "schema", "gateway")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    return {str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text(encoding="utf-8"))}


def test_every_way_in_stands_in_the_table() -> None:
    """Who brings another one adds it above, and with it the proof that guards hold there."""
    assert naming(r"price_desk\.keep\(|price_desk import .*\bkeep\b") == set(CALLERS)


def test_the_desk_alone_makes_such_operations_and_the_lane_alone_sends_them() -> None:
    assert naming(r"kind=Kind\.UPDATE_PRICES") == {"store/price_desk.py"}
    sending = {one for one in naming(r"\.tell_prices\(") if not one.startswith("adapters/")}
    assert sending == {"workers/prices.py"}
    assert "await price_desk.weigh(" in (ROOT / "workers/prices.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("way", WAYS)
async def test_nothing_outside_the_guards_is_sent(
    town: Town, way: Callable[[Town, Mapping[str, Decimal]], Awaitable[None]], when: str
) -> None:
    """Guards that hold when it is asked, and those that are kept only when it waits to be sent."""
    prices = town.draw(f"{way.__name__} {when}")
    since = (await town.sandbox.get("journal"))["next"]
    if when == "before":
        await town.guarded(town.strict())
    await way(town, prices)
    if when == "between":
        await town.guarded(town.strict())
    sent = await town.sent(since)
    assert [one for one in sent if town.outside(one)] == []
    # The two that lie within have come there, so it was not for nothing.
    within = list(prices)[2:4]
    assert set(within) <= {one["key"] for one in sent}
    async with town.store.begin() as tx:
        codes = set(await tx.scalars(select(operation_item.c.error_code).where(operation_item.c.status == "FAILED")))
        counted = await price_guard.hits(tx, datetime.now(UTC) - timedelta(minutes=5))
    assert codes == {price_desk.GUARD}
    assert counted["CEILING", "REFUSE"] >= 1
    assert counted["FLOOR", "REFUSE"] >= 1


async def test_without_guards_the_same_prices_come_there(town: Town) -> None:
    """So the count above can find one."""
    since = (await town.sandbox.get("journal"))["next"]
    await by_mutation(town, town.draw("twin"))
    sent = await town.sent(since)
    assert len(sent) == ROWS
    assert sum(town.outside(one) for one in sent) >= 2


async def test_what_is_approved_or_tried_again_is_held_by_the_guards_of_then(town: Town) -> None:
    prices = {sku: Price(usd(one)) for sku, one in town.draw("approved").items()}
    since = (await town.sandbox.get("journal"))["next"]
    preview = await town.asked(prices, dry_run=True)
    await town.guarded(town.strict())
    async with town.store.begin() as tx:
        await price_desk.approve(tx, preview, "bob", town.deps.clock())
    sent = await town.sent(since)
    assert [one for one in sent if town.outside(one)] == []
    assert set(list(prices)[2:4]) <= {one["key"] for one in sent}

    await town.guarded(LENIENT)
    far = {sku: Price(usd(start * 3)) for sku, start in town.start.items()}
    failed = await town.asked(far)
    async with town.store.begin() as tx:
        ended = {"status": ItemStatus.FAILED.value, "error_code": "INVALID", "ended_at": func.now()}
        await tx.execute(update(operation_item).where(operation_item.c.operation_id == failed).values(**ended))
        await operation.refresh(tx, [failed])
    await town.guarded(town.strict())
    since = (await town.sandbox.get("journal"))["next"]
    async with town.store.begin() as tx:
        assert (await price_desk.retry(tx, failed)).status is OperationStatus.QUEUED
    assert await town.sent(since) == []


async def test_what_is_taken_back_is_held_by_the_guards_of_then(town: Town) -> None:
    """What was live before is below a floor by now, for all but two."""
    moved = {sku: Price(usd(start * Decimal("1.1"))) for sku, start in town.start.items()}
    changed = await town.asked(moved)
    await settled(town, changed)
    floors = [
        Guard(sku, GuardKind.FLOOR, Action.REFUSE, Sku(sku), currency="USD", amount=moved[sku].regular.amount)
        for sku in list(town.start)[2:]
    ]
    await town.guarded(PriceGuards(guards=tuple(floors), radius=NEAR))
    since = (await town.sandbox.get("journal"))["next"]
    async with town.store.begin() as tx:
        request = price_desk.Request("bob", uuid4().hex, town.deps.clock())
        await price_back.take_back(tx, changed, request)
    sent = await town.sent(since)
    assert {one["key"] for one in sent} == set(list(town.start)[:2])


async def settled(town: Town, id: OperationId) -> None:
    async def over() -> bool:
        await hurry(town.store)
        await drain(town.deps)
        async with town.store.begin() as tx:
            return await operation.items_count(tx, id, status=ItemStatus.VERIFIED) == ROWS

    await until(over)


async def test_a_sale_that_begins_at_a_shop_is_held_by_the_guards_of_then(town: Town) -> None:
    """It was asked for when nobody guarded anything, and seen live since; by the time that it begins somebody does. Of steps it
    makes none: it was judged when it was asked for."""
    now = town.deps.clock()
    starts, later = now + timedelta(hours=1), now + timedelta(hours=2)
    factors = [Decimal("0.8"), Decimal("0.5")] * ROWS
    prices = {sku: start * factor for (sku, start), factor in zip(town.start.items(), factors, strict=False)}
    asked = await town.asked({sku: Price(usd(town.start[sku]), Sale(usd(one), starts)) for sku, one in prices.items()})
    await settled(town, asked)
    await town.guarded(town.strict())
    since = (await town.sandbox.get("journal"))["next"]
    then = replace(town.deps, clock=lambda: later)
    await town.reprice(Reason.SALE, then)
    sent = await replace(town, deps=then).sent(since)
    assert [one for one in sent if town.outside(one, steps=False)] == []
    assert {one["key"] for one in sent} == set(list(town.start)[::2])
