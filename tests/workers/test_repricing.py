"""Prices are worked out anew when something that they are made of is another one: once, and whoever dies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.cost import NewCost
from domain.errors import Forbidden
from domain.ids import ChannelId, ChannelSku, ListingId, OperationId, Sku
from domain.money import Money
from domain.operation import OperationStatus
from domain.price import Origin, Price, PriceWish, Sale, read_price
from domain.price_canary import Radius
from domain.price_guard import PriceGuards
from domain.price_rules import CostPlus, FeeTable, Match, Measure, PriceRule, PriceRules, StockDriven, StockStep
from domain.repricing import Reason
from store import channel, cost, price_desk, price_due, price_guard, price_rules
from store.session import Store
from store.tables import (
    listing,
    listing_price,
    operation,
    operation_item,
    product,
    repriced,
    stock_level,
)
from store.tables import (
    price_clock as clock_table,
)
from store.tables import (
    price_due as due_table,
)
from tests.workers.fake_port import FakePort, make_port
from tests.workers.house import make_deps
from workers import repricing as repricing_module
from workers.deps import Deps, PriceTerms
from workers.repricing import Repricing, stock_edges

SHOP = ChannelId("shop")
MUG, CUP = Sku("MUG"), Sku("CUP")
TERMS = PriceTerms(every=timedelta(days=1), rest=timedelta(hours=1), ask_market="never")
NO_TAX = Decimal(0)
A_DAY = timedelta(days=1)


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def listed(sku: str) -> ListingId:
    return ListingId(f"l-{sku}")


class ShopPort(FakePort):
    """A shop that is told what it is to show."""

    price_batch = 10
    keeps_sales = False

    async def tell_prices(self, *_: Any) -> list[Any]:
        raise AssertionError("no lane runs here")

    async def shown_prices(self, *_: Any) -> list[Any]:
        raise AssertionError("no lane runs here")


@pytest.fixture
async def deps(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Deps:
    """A shop that sells two things at twice what they cost."""
    # Whoever waits for the channel waits as long as it takes.
    monkeypatch.setattr(price_desk, "PATIENCE_S", 60.0)
    made = make_deps(store, redis, [ShopPort(make_port("shop").channel)], prices=TERMS)
    async with store.begin() as tx:
        for sku in (MUG, CUP):
            await tx.execute(insert(product).values(sku=sku, title=sku, cost_amount=Decimal(5), cost_currency="EUR"))
            row = {
                "id": listed(sku),
                "channel": SHOP,
                "channel_sku": sku,
                "external_id": sku,
                "sku": sku,
                "status": "ACTIVE",
                "fulfilled_by": "MERCHANT",
                "price_amount": Decimal(10),
                "price_currency": "EUR",
                "as_of": datetime.now(UTC),
            }
            await tx.execute(insert(listing).values(row))
    return made


def doubled(**more: Any) -> PriceRule:
    plus = CostPlus(markup_percent=Decimal(100), tax_percent=NO_TAX, fees=(FeeTable("EUR"),))
    return PriceRule("doubled", cost_plus=plus, **more)


async def rule(store: Store, *rules: PriceRule) -> None:
    async with store.begin() as tx:
        before = await price_rules.newest(tx)
        await price_rules.keep(tx, PriceRules(rules, before.version), "ann")


async def costs(store: Store, sku: Sku, amount: str) -> None:
    async with store.begin() as tx:
        (kept,) = await cost.keep(tx, [NewCost(sku, datetime.now(UTC).date(), euros(amount))], "ann")
    assert kept.fresh


async def operations(store: Store) -> list[tuple[str, list[tuple[str, str]]]]:
    """(status, [(listing, price)]) of each, oldest first."""
    i, o = operation_item.c, operation.c
    async with store.begin() as tx:
        rows = await tx.execute(
            select(o.id, o.status, i.payload)
            .join(operation_item, i.operation_id == o.id)
            .order_by(o.created_at, o.id, i.id)
        )
        found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        for row in rows:
            told = (row.payload["listing"], row.payload["price"]["price"])
            found.setdefault(row.id, (row.status, []))[1].append(told)
    return list(found.values())


async def waiting(store: Store) -> dict[str, set[str]]:
    async with store.begin() as tx:
        rows = await tx.execute(select(due_table.c.listing, due_table.c.reasons))
        return {row.listing: set(row.reasons) for row in rows}


async def drained(work: Repricing) -> None:
    while await work.once():
        pass


def repricing(deps: Deps) -> Repricing:
    return Repricing(deps, lambda: None)


async def settled(deps: Deps) -> Repricing:
    """With rules that have been applied: nothing waits."""
    await rule(deps.store, doubled())
    work = repricing(deps)
    await work.mark()
    await work.mark()
    await drained(work)
    assert await waiting(deps.store) == {}
    assert await operations(deps.store) == []
    return work


async def test_new_rules_mark_everything_once_and_what_is_so_already_is_not_asked_for(deps: Deps) -> None:
    work = repricing(deps)
    await work.mark()
    await work.mark()
    assert await waiting(deps.store) == {}
    await rule(deps.store, doubled())
    await work.mark()
    assert await waiting(deps.store) == {listed(sku): {"RULES"} for sku in (CUP, MUG)}
    await drained(work)
    await work.mark()
    assert await waiting(deps.store) == {}
    assert await operations(deps.store) == []


async def test_a_new_cost_asks_for_a_new_price_once(deps: Deps) -> None:
    work = await settled(deps)
    await costs(deps.store, MUG, "5.50")
    await drained(work)
    assert await operations(deps.store) == [("QUEUED", [(listed(MUG), "11")])]
    async with deps.store.begin() as tx:
        await price_due.mark_channels(tx, [SHOP], Reason.SCHEDULE)
    await drained(work)
    assert len(await operations(deps.store)) == 1


async def test_the_good_go_on_their_way_and_the_held_wait_apart(deps: Deps) -> None:
    work = await settled(deps)
    await costs(deps.store, MUG, "5.50")
    await costs(deps.store, CUP, "8.00")  # a step of 60 %
    await drained(work)
    found = await operations(deps.store)
    assert sorted(found) == [
        (OperationStatus.AWAITING_APPROVAL.value, [(listed(CUP), "16")]),
        (OperationStatus.QUEUED.value, [(listed(MUG), "11")]),
    ]
    # As long as nothing else is known, nobody is asked a second time.
    for reason in (Reason.SCHEDULE, Reason.RULES):
        async with deps.store.begin() as tx:
            await price_due.mark_channels(tx, [SHOP], reason)
        await drained(work)
    assert len(await operations(deps.store)) == 2
    # When somebody asks for another price, the rules have their say again.
    async with deps.store.begin() as tx:
        await tx.execute(update(repriced).where(repriced.c.listing == listed(CUP)).values(asked_at=func.now() - A_DAY))
        await tx.execute(insert(listing_price).values(listing=listed(CUP), wanted_at=func.now()))
        await price_due.mark(tx, [listed(CUP)], Reason.RULES)
    await drained(work)
    assert len(await operations(deps.store)) == 3


async def test_what_rules_propose_anew_takes_the_place_of_what_nobody_has_decided_about(deps: Deps) -> None:
    work = await settled(deps)
    # The second is held as the first was, the third passes by itself; what somebody else proposes stays.
    for price in ("8.00", "9.00", "5.50"):
        await costs(deps.store, CUP, price)
        async with deps.store.begin() as tx:
            await tx.execute(update(repriced).values(asked_at=func.now() - A_DAY))
        await drained(work)
    wish = PriceWish(listed(CUP), SHOP, None, ChannelSku(CUP), CUP, {}, Price(euros("16")), Origin.MUTATION)
    async with deps.store.begin() as tx:
        request = price_desk.Request("ann", "16", datetime.now(UTC))
        await price_desk.keep(tx, request, [wish])
    await costs(deps.store, CUP, "5.25")
    async with deps.store.begin() as tx:
        await tx.execute(update(repriced).values(asked_at=func.now() - A_DAY))
    await drained(work)
    found = [(status, price) for status, [(_, price)] in await operations(deps.store)]
    assert found[:2] == [("CANCELLED", "16"), ("CANCELLED", "18")]
    assert found[2][1] == "11"
    assert found[3] == ("AWAITING_APPROVAL", "16")
    assert found[4:] == [("QUEUED", "10.5")]


async def test_whoever_wrote_the_rules_is_no_second_person_for_what_they_ask(deps: Deps) -> None:
    work = await settled(deps)
    await costs(deps.store, CUP, "8.00")
    await drained(work)
    async with deps.store.begin() as tx:
        held = OperationId((await tx.scalars(select(operation.c.id))).one())
        with pytest.raises(Forbidden, match="You have written the rules"):
            await price_desk.approve(tx, held, "ann", deps.clock())
    async with deps.store.begin() as tx:
        approved = await price_desk.approve(tx, held, "bob", deps.clock())
    assert approved.status is OperationStatus.QUEUED


async def test_two_workers_at_once_ask_once(deps: Deps) -> None:
    await settled(deps)
    await costs(deps.store, MUG, "5.50")
    await costs(deps.store, CUP, "5.25")
    several = [repricing(replace(deps, worker=f"w{number}")) for number in range(4)]
    for _ in range(3):
        await asyncio.gather(*(one.once() for one in several))
    # Each of the two may have taken one of them.
    found = await operations(deps.store)
    assert {status for status, _ in found} == {"QUEUED"}
    assert sorted(price for _, prices in found for price in prices) == [(listed(CUP), "10.5"), (listed(MUG), "11")]
    assert await waiting(deps.store) == {}


async def test_who_dies_between_working_out_and_asking_loses_nothing(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = await settled(deps)
    await costs(deps.store, MUG, "5.50")
    keep = price_desk.keep

    async def dies(tx: AsyncConnection, *more: Any) -> Any:
        await keep(tx, *more)
        raise KeyboardInterrupt

    monkeypatch.setattr(price_desk, "keep", dies)
    with pytest.raises(KeyboardInterrupt):
        await work.once()
    assert await operations(deps.store) == []
    assert await waiting(deps.store) == {listed(MUG): {"COST"}}
    monkeypatch.setattr(price_desk, "keep", keep)
    await drained(work)
    assert await operations(deps.store) == [("QUEUED", [(listed(MUG), "11")])]


async def test_nothing_is_worked_out_for_a_paused_channel(deps: Deps) -> None:
    work = await settled(deps)
    await costs(deps.store, MUG, "5.50")
    async with deps.store.begin() as tx:
        await channel.pause(tx, SHOP, "consent revoked", 60.0)
    assert await work.once() == 0
    assert await waiting(deps.store) == {listed(MUG): {"COST"}}
    async with deps.store.begin() as tx:
        await channel.resume(tx, SHOP)
    assert await work.once() == 1


async def test_two_repricers_that_follow_each_other_are_damped(deps: Deps) -> None:
    work = await settled(deps)
    await costs(deps.store, MUG, "5.50")
    await drained(work)
    async with deps.store.begin() as tx:
        await price_due.mark(tx, [listed(MUG), listed(CUP)], Reason.OFFER, TERMS.rest)
    assert await work.once() == 1  # the cup: nothing was asked for it
    assert await waiting(deps.store) == {listed(MUG): {"OFFER"}}


async def test_stock_that_crosses_what_a_rule_names_works_the_price_out(deps: Deps) -> None:
    steps = (StockStep(Decimal(10), below=Decimal("9.5")),)
    rules = (doubled(match=Match(stock_from=3)), PriceRule("rare", stock=StockDriven(Measure.UNITS, steps)))
    assert stock_edges(PriceRules(rules)) == {3, 10}
    await rule(deps.store, *rules)
    async with deps.store.begin() as tx:
        for sku in (MUG, CUP):
            level = {"location": "BER", "channel": SHOP, "channel_sku": sku, "on_hand": 20, "reserved": 0, "inbound": 0}
            await tx.execute(insert(stock_level).values(**level, as_of=datetime.now(UTC)))
    work = repricing(deps)
    await work.mark()
    await work.mark()
    await drained(work)
    assert await operations(deps.store) == []
    async with deps.store.begin() as tx:
        await tx.execute(update(stock_level).where(stock_level.c.channel_sku == MUG).values(on_hand=9))
        await tx.execute(update(clock_table).where(clock_table.c.name == "STOCK").values(at=func.now() - A_DAY))
    await work.mark()
    assert await waiting(deps.store) == {listed(MUG): {"STOCK"}}
    await drained(work)
    assert await operations(deps.store) == [("QUEUED", [(listed(MUG), "11")])]


async def test_the_schedule_comes_when_it_is_time(deps: Deps) -> None:
    work = await settled(deps)
    await work.mark()
    assert await waiting(deps.store) == {}
    async with deps.store.begin() as tx:
        before = func.now() - TERMS.every
        await tx.execute(update(clock_table).where(clock_table.c.name == "SCHEDULE").values(at=before))
    await work.mark()
    assert await waiting(deps.store) == {listed(sku): {"SCHEDULE"} for sku in (CUP, MUG)}


async def test_a_sale_of_a_shop_is_told_when_it_begins_and_when_it_ends(deps: Deps) -> None:
    """What is wanted stays as it is; the lane tells the shop what of it holds."""
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    wanted = Price(euros("10"), Sale(euros("9"), begins, begins + timedelta(minutes=20)))
    async with deps.store.begin() as tx:
        await tx.execute(insert(listing_price).values(listing=listed(MUG), wanted=wanted.told()))
        await tx.execute(insert(clock_table).values(name="TIME", at=begins - timedelta(minutes=1)))
    work = repricing(deps)
    await asyncio.gather(work.mark(), repricing(deps).mark())
    assert await waiting(deps.store) == {listed(MUG): {"SALE"}}
    await drained(work)
    await work.mark()
    await drained(work)
    async with deps.store.begin() as tx:
        payloads = list(await tx.scalars(select(operation_item.c.payload)))
        statuses = list(await tx.scalars(select(operation.c.status)))
    (payload,) = payloads
    assert (payload["origin"], payload["reason"]) == ("SALE", "Its sale has begun.")
    assert read_price(payload["price"]) == wanted
    assert statuses == ["QUEUED"]


async def test_one_that_cannot_be_worked_out_holds_up_no_other(deps: Deps) -> None:
    await settled(deps)
    await costs(deps.store, MUG, "5.50")
    await costs(deps.store, CUP, "5.25")

    async def stumbles(tx: AsyncConnection, rules: PriceRules, ids: list[ListingId], *more: Any) -> Any:
        if listed(MUG) in ids:
            raise ZeroDivisionError
        return await price_rules.work_out(tx, rules, ids, *more)

    await drained(Repricing(deps, lambda: None, work_out=stumbles))
    assert await operations(deps.store) == [("QUEUED", [(listed(CUP), "10.5")])]
    assert await waiting(deps.store) == {listed(MUG): {"COST"}}
    async with deps.store.begin() as tx:
        last = (await price_due.last(tx, [listed(MUG)]))[listed(MUG)]
        assert "ZeroDivisionError" in last.words
        await price_due.put_off(tx, listed(MUG), timedelta(0))
    await drained(repricing(deps))
    assert (await operations(deps.store))[1] == ("QUEUED", [(listed(MUG), "11")])


async def test_what_time_does_is_marked_at_once_and_sales_come_before_all_that_waits(
    deps: Deps, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    wanted = Price(euros("10"), Sale(euros("9"), begins, None))
    clock = {"name": "TIME", "at": begins - timedelta(minutes=1)}
    async with deps.store.begin() as tx:
        await tx.execute(insert(listing_price).values(listing=listed(MUG), wanted=wanted.told()))
        await tx.execute(insert(clock_table).values(clock))
        await price_due.mark(tx, [listed(CUP)], Reason.RULES)
        await price_due.put_off(tx, listed(CUP), timedelta(hours=-1))
    # A clock that is so far behind has not seen it begin.
    monkeypatch.setattr(repricing_module, "BEHIND", timedelta(hours=1))
    await repricing(deps).mark()
    assert await waiting(deps.store) == {listed(CUP): {"RULES"}}
    monkeypatch.undo()
    async with deps.store.begin() as tx:
        await tx.execute(update(clock_table).where(clock_table.c.name == "TIME").values(at=clock["at"]))
    await repricing(deps).mark()
    async with deps.store.begin() as tx:
        assert [one.listing for one in await price_due.take(tx, SHOP, 1)] == [listed(MUG)]
        await price_due.mark_turned(tx, {Reason.SALE: [listed(MUG)], Reason.COST: [listed(CUP), listed(MUG)]}, [SHOP])
    assert await waiting(deps.store) == {
        listed(MUG): {"SALE", "COST", "TIME"},
        listed(CUP): {"RULES", "COST", "TIME"},
    }


async def test_a_sale_that_ends_is_told_of_what_waits_behind_a_canary_and_takes_nothing_from_it(deps: Deps) -> None:
    await settled(deps)
    over = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    async with deps.store.begin() as tx:
        radius = Radius(rows=1, share=Decimal(0), step=Decimal(0), most=1)
        await price_guard.keep(tx, PriceGuards(radius=radius), "boss")
        for sku in (CUP, MUG):
            told = Price(euros("10"), Sale(euros("9"), None, over)).told()
            await tx.execute(insert(listing_price).values(listing=listed(sku), wanted=told))
        await price_due.mark_turned(tx, {Reason.SALE: [listed(CUP), listed(MUG)]}, [])
    for sku in (CUP, MUG):
        await costs(deps.store, sku, "5.50")
    await drained(repricing(deps))
    async with deps.store.begin() as tx:
        i = operation_item.c
        rows = (await tx.execute(select(i.payload, i.status, i.released).order_by(i.id))).all()
    found = [(row.payload["origin"], row.payload["price"]["price"], row.status, row.released) for row in rows]
    assert sorted(found) == [
        ("RULE", "11", "PENDING", False),
        ("RULE", "11", "PENDING", True),
        ("SALE", "10", "PENDING", True),
    ]
    (behind,) = (row.payload["listing"] for row in rows if not row.released)
    assert rows[-1].payload["listing"] == behind
