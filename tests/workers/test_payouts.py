"""What shops pay out becomes books: whole or not at all, split over the orders, and anew when these are known better."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, text, update

from adapters.budget import Budgets
from adapters.port import Page, Port
from adapters.rest.config import RestConfig
from adapters.rest.platform import RestPort
from adapters.shopify.config import ShopifyConfig
from adapters.shopify.platform import ShopifyPort
from adapters.tokens import TokenStore
from adapters.transport import Transport
from domain.budget import Ask
from domain.chain import Piece, PieceKind
from domain.channel import Channel, Platform, StreamName
from domain.charge import Charge, ChargeKind
from domain.errors import NotFound
from domain.finance import Breakdown, Context, Transaction
from domain.ids import ChannelId, Sku
from domain.money import Money
from domain.money_class import MoneyClass
from domain.money_line import Cause, MoneyLine
from domain.order import Order
from domain.payout import Payout
from domain.product import Rejected
from domain.residual import PERSON
from sandbox.visit import serving
from store import chain, locks, order, quarantine, stream
from store.budget import BudgetMemory
from store.money_line import line_of
from store.session import Store
from store.tables import money_line, payout_movement, settlement
from tests.workers.fake_port import FakePort, make_order
from tests.workers.house import make_deps
from workers import payouts
from workers.deps import Deps
from workers.estimates import Estimates
from workers.streams import register, run_stream

SHOP = ChannelId("shop")
NOW = datetime.now(UTC).replace(microsecond=0)
AT = NOW - timedelta(days=5)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


@dataclass(slots=True)
class Shop(FakePort):
    """A shop that pays out. `moved` are the movements by payout, `strange` those that it tells and nobody understands."""

    every: Mapping[StreamName, timedelta] = field(
        default_factory=lambda: {one: timedelta(hours=1) for one in StreamName}
    )
    paid_out: list[Payout] = field(default_factory=list)
    moved: dict[str, list[Transaction]] = field(default_factory=dict)
    strange: dict[str, list[Rejected]] = field(default_factory=dict)
    asked: list[datetime] = field(default_factory=list)
    without: bool = False

    async def payout_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Payout]]:
        self.asked.append(since)
        if self.without:
            raise NotFound("It pays nothing.")
        told = sorted((one for one in self.paid_out if one.issued_at >= since), key=lambda one: one.issued_at)
        yield Page(told, until=told[-1].issued_at if told else since)

    async def movement_pages(self, payout: str, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        if payout not in self.moved:
            raise NotFound("There is no such payout.")
        yield Page(self.moved[payout], rejected=self.strange.get(payout, []))

    def pays(self, id: str, *moved: Transaction, net: str | None = None, status: str = "PAID", days: int = 0) -> None:
        total = sum((one.total.amount for one in moved), Decimal(0)) if net is None else Decimal(net)
        self.paid_out = [one for one in self.paid_out if one.id != id]
        self.paid_out.append(Payout(SHOP, id, AT + timedelta(days=days), status, Money(total, "EUR"), f"REF-{id}"))
        self.moved[id] = list(moved)


def movement(
    id: str,
    amount: str,
    fee: str = "0.00",
    *,
    kind: str = "CHARGE",
    order: str | None = "1",
    test: bool = False,
    hours: int = 0,
) -> Transaction:
    net = Decimal(amount) - Decimal(fee)
    facts = {"test": "true"} if test else {}
    return Transaction(
        id=id,
        status="PAID",
        kind=kind,
        posted_at=AT - timedelta(hours=8 - hours),
        total=Money(net, "EUR"),
        related=() if order is None else (("ORDER_ID", order),),
        breakdowns=(Breakdown("amount", eur(amount)), Breakdown("fee", eur(f"{-Decimal(fee)}"))),
        contexts=(Context("BalanceTransaction", facts),),
    )


def bought(shop: Shop, number: str = "1") -> Order:
    """Two units for 20.00 and shipping for 5.00, with the tax of 4.00 in it."""
    one = make_order(shop, number)
    goods = (Charge(ChargeKind.GOODS, eur("20.00")), Charge(ChargeKind.TAX, eur("3.20"), contained=True))
    shipping = (Charge(ChargeKind.SHIPPING, eur("5.00")), Charge(ChargeKind.SHIPPING_TAX, eur("0.80"), contained=True))
    return replace(one, lines=[replace(one.lines[0], charges=goods, sku=Sku("MUG"))], charges=shipping)


@pytest.fixture
def shop() -> Shop:
    return Shop(Channel(SHOP, Platform.SHOPIFY, "Shop", True))


@pytest.fixture
def deps(store: Store, redis: Redis, shop: Shop) -> Deps:
    return make_deps(store, redis, [shop])


async def run(deps: Deps) -> None:
    await register(deps)
    async with deps.store.begin() as tx:
        states = {one.name: one for one in await stream.states(tx, [SHOP])}
    await run_stream(deps, states[StreamName.PAYOUTS])


async def reckon(deps: Deps) -> None:
    estimates = Estimates(deps, lambda: None)
    while await estimates.once():
        pass


async def keep(deps: Deps, *orders: Order) -> None:
    async with deps.store.begin() as tx:
        await order.upsert(tx, list(orders))
    await reckon(deps)


async def standing(deps: Deps) -> list[MoneyLine]:
    async with deps.store.begin() as tx:
        rows = await tx.execute(select(money_line).where(money_line.c.replaced_at.is_(None)).order_by(money_line.c.id))
        return list(map(line_of, rows))


async def sums(deps: Deps) -> dict[str, Decimal]:
    """What stands, by class."""
    found: defaultdict[str, Decimal] = defaultdict(Decimal)
    for one in await standing(deps):
        found[one.money_class.value] += one.amount.amount
    return dict(found)


async def kept(deps: Deps) -> list[str]:
    async with deps.store.begin() as tx:
        return list(await tx.scalars(select(settlement.c.external_id).order_by(settlement.c.ends_at)))


async def strange(deps: Deps) -> list[str]:
    async with deps.store.begin() as tx:
        return [one.rejected.reason for one in await quarantine.recent(tx)]


WHOLE = {
    "SALE": Decimal("16.80"),
    "TAX_COLLECTED": Decimal("4.00"),
    "SHIPPING": Decimal("4.20"),
    "PAYMENT_FEE": Decimal("-1.03"),
}


async def test_a_payout_is_kept_once_and_split_over_its_orders(deps: Deps, shop: Shop) -> None:
    await keep(deps, bought(shop))
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    await run(deps)
    await reckon(deps)
    assert await kept(deps) == ["p-1"]
    assert await sums(deps) == WHOLE
    # Nothing is reckoned of it any more.
    assert {one.source.value for one in await standing(deps)} == {"SETTLEMENT"}
    async with deps.store.begin() as tx:
        row = (await tx.execute(select(settlement))).one()
    assert (row.kind, row.total, row.line_count, row.reference) == ("PAYOUT", Decimal("23.97"), 1, "REF-p-1")
    assert (row.starts_at, row.ends_at) == (AT - timedelta(hours=8), AT)


async def test_an_order_that_comes_later_is_tied_then(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    assert {one.cause for one in await standing(deps)} == {Cause.ORDER_UNKNOWN}
    await keep(deps, bought(shop))
    assert await sums(deps) == WHOLE
    assert {one.cause for one in await standing(deps)} == {None}
    async with deps.store.begin() as tx:
        gone = (await tx.execute(select(money_line).where(money_line.c.replaced_at.is_not(None)))).all()
    assert {row.replaced_why for row in gone if row.source == "SETTLEMENT"} == {
        "its order, what was refunded of it, or its other payments are known better"
    }


async def test_charges_that_are_told_later_are_split_then(deps: Deps, shop: Shop) -> None:
    whole = bought(shop)
    await keep(deps, replace(whole, lines=[replace(whole.lines[0], charges=())], charges=()))
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    await reckon(deps)
    assert {one.cause for one in await standing(deps)} == {Cause.UNAPPORTIONED, None}
    await keep(deps, replace(whole, updated_at=whole.updated_at + timedelta(minutes=1)))
    assert await sums(deps) == WHOLE


async def test_a_payout_that_is_on_its_way_is_told_again_and_one_that_is_canceled_never_counts(
    deps: Deps, shop: Shop
) -> None:
    shop.pays("p-1", movement("a", "1.00", order=None), status="SCHEDULED")
    shop.pays("p-2", movement("b", "2.00", order=None), status="canceled", days=1)
    shop.pays("p-3", movement("c", "4.00", order=None), days=2)
    await run(deps)
    assert await kept(deps) == ["p-3"]
    shop.pays("p-1", movement("a", "1.00", order=None))
    await run(deps)
    assert await kept(deps) == ["p-1", "p-3"]
    assert shop.asked[-1] <= AT
    await run(deps)
    assert shop.asked[-1] > AT


async def test_a_payout_that_does_not_add_up_stays_out_until_it_does(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00", "1.03"), net="24.00")
    await run(deps)
    assert await kept(deps) == []
    assert await standing(deps) == []
    (reason,) = await strange(deps)
    assert "come to 23.97, its total is 24.00 EUR: the difference is -0.03" in reason
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    assert await kept(deps) == ["p-1"]


async def test_movements_that_nobody_understands_keep_their_payout_out(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00"))
    shop.strange["p-1"] = [Rejected(SHOP, "movement", "d", "it is in two currencies", "")]
    await run(deps)
    assert (await kept(deps), await strange(deps)) == ([], ["it is in two currencies"])
    async with deps.store.begin() as tx:
        assert (await tx.execute(select(payout_movement))).all() == []


async def test_one_whose_movements_cannot_be_read_holds_up_no_other(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("a", "1.00", order=None))
    del shop.moved["p-1"]
    shop.pays("p-2", movement("b", "2.00", order=None), days=1)
    with pytest.raises(NotFound):
        await run(deps)
    assert await kept(deps) == ["p-2"]
    shop.moved["p-1"] = [movement("a", "1.00", order=None)]
    await run(deps)
    assert await kept(deps) == ["p-1", "p-2"]


async def test_one_that_is_to_be_paid_some_day_hides_none_that_is_paid_before(deps: Deps, shop: Shop) -> None:
    shop.pays("p-2", movement("b", "2.00", order=None), status="SCHEDULED", days=9)
    await run(deps)
    shop.pays("p-1", movement("a", "1.00", order=None), days=5)
    await run(deps)
    assert await kept(deps) == ["p-1"]


async def test_what_failed_after_it_was_paid_and_is_paid_again_counts_once(deps: Deps, shop: Shop) -> None:
    await keep(deps, bought(shop))
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    shop.pays("p-2", movement("c", "25.00", "1.03"), movement("d", "5.00", order=None, kind="ADJUSTMENT"), days=1)
    await run(deps)
    await reckon(deps)
    assert await kept(deps) == ["p-1", "p-2"]
    assert await sums(deps) == {**WHOLE, "TRANSFER": Decimal("23.97"), "ADJUSTMENT": Decimal("5.00")}
    await keep(deps, replace(bought(shop), updated_at=AT + timedelta(days=2)))
    assert await sums(deps) == {**WHOLE, "TRANSFER": Decimal("23.97"), "ADJUSTMENT": Decimal("5.00")}


OTHER = movement("d", "5.00", order=None, kind="ADJUSTMENT")
BACK = movement("t", "23.97", order=None, kind="TRANSFER_FAILURE", hours=20)


@pytest.mark.parametrize(
    ("id", "moved", "more", "books"),
    [
        ("p-1", (movement("c", "25.00", "1.03"),), {}, ["p-1"]),
        ("p-1", (movement("c", "25.00", "1.03"), OTHER), {"ADJUSTMENT": 5}, ["p-1"]),
        ("p-2", (movement("c", "25.00", "1.03"), OTHER), {"ADJUSTMENT": 5}, ["p-2"]),
        ("p-2", (BACK, OTHER), {"ADJUSTMENT": 5, "TRANSFER": Decimal("23.97")}, ["p-1", "p-2"]),
        ("p-2", (OTHER,), None, ["p-2"]),
    ],
    ids=["by itself", "by itself with more", "by another", "came back as one sum", "not yet"],
)
async def test_what_failed_first_is_in_the_books_once_however_it_is_paid(
    deps: Deps, shop: Shop, id: str, moved: tuple[Transaction, ...], more: dict[str, Any] | None, books: list[str]
) -> None:
    await keep(deps, bought(shop))
    shop.pays("p-1", movement("c", "25.00", "1.03"), status="FAILED")
    await run(deps)
    (reason,) = await strange(deps)
    assert (await kept(deps), "declined" in reason) == ([], True)
    shop.pays(id, *moved, days=int(id == "p-2"))
    await run(deps)
    await run(deps)
    await reckon(deps)
    assert await kept(deps) == books
    made = await standing(deps)
    assert any(one.source.value == "ESTIMATE" for one in made) is (more is None)
    assert more is None or await sums(deps) == WHOLE | more


async def test_what_failed_long_ago_and_came_back_is_found_at_the_first_look(deps: Deps, shop: Shop) -> None:
    """Both are told at once, and nobody asks for what is so old again."""
    await keep(deps, bought(shop))
    shop.pays("p-1", movement("c", "25.00", "1.03"), status="FAILED", days=-40)
    shop.pays("p-2", BACK, OTHER)
    await run(deps)
    assert (await kept(deps), await strange(deps)) == (["p-1", "p-2"], [])


async def test_a_payout_that_is_told_with_another_sum_than_it_was_kept_with_changes_no_books(
    deps: Deps, shop: Shop
) -> None:
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    await run(deps)
    assert await strange(deps) == []
    shop.pays("p-1", movement("c", "25.00", "1.03"), OTHER)
    await run(deps)
    assert sum(one.amount.amount for one in await standing(deps)) == Decimal("23.97")
    assert await strange(deps) == ["It is in the books with 23.97 EUR, and stays so. Ask its provider what was paid."]


async def test_an_order_that_comes_while_its_payout_is_kept_is_tied(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00", "1.03"))
    async with deps.store.begin() as tx:
        await tx.execute(select(func.pg_advisory_xact_lock(locks.BOOKS)))
        keeping = asyncio.create_task(run(deps))
        waiting = text(
            "select exists (select from pg_locks join pg_database d on d.oid = database"
            " where datname = current_database() and locktype = 'advisory' and not granted)"
        )
        while not await tx.scalar(waiting):
            assert not keeping.done()
            await asyncio.sleep(0.01)
        await keep(deps, bought(shop))
    await keeping
    await reckon(deps)
    assert await sums(deps) == WHOLE


async def test_test_orders_move_no_money(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00"), movement("t", "99.00", test=True), net="25.00")
    await run(deps)
    assert sum(one.amount.amount for one in await standing(deps)) == 25


async def test_a_shop_whose_payments_others_take_has_nothing_to_read(deps: Deps, shop: Shop) -> None:
    shop.without = True
    await run(deps)
    assert await kept(deps) == []


async def test_a_refund_is_split_anew_when_its_lines_are_told(deps: Deps, shop: Shop) -> None:
    one = bought(shop)
    await keep(deps, one)
    shop.pays("p-1", movement("c", "25.00", "1.03"), movement("r", "-20.00", kind="REFUND", hours=3))
    await run(deps)
    await reckon(deps)
    before = await sums(deps)
    assert before["SHIPPING"] == Decimal("0.84")
    piece = Piece(SHOP, PieceKind.REFUNDED, "R-1:1-1:0", "1", "SKU-1", 2, AT, eur("20.00"))
    async with deps.store.begin() as tx:
        await chain.keep(tx, [piece])
    await reckon(deps)
    assert await sums(deps) == {**WHOLE, "SALE": Decimal(0), "TAX_COLLECTED": Decimal("0.80")}


async def test_payments_are_split_alike_whichever_payout_comes_first(deps: Deps, shop: Shop) -> None:
    """By halves of an odd cent; the refund of one of them between."""
    await keep(deps, bought(shop))
    told = {
        "p-1": [movement("a", "8.33", hours=1), movement("r", "-0.01", kind="REFUND", hours=4)],
        "p-2": [movement("b", "8.33", hours=2)],
        "p-3": [movement("c", "8.34", hours=3)],
    }
    found: list[set[Any]] = []
    for order_of_arrival in permutations(told):
        async with deps.store.begin() as tx:
            for table in (payout_movement, money_line, settlement):
                await tx.execute(table.delete())
        for id in order_of_arrival:
            shop.paid_out = []
            shop.pays(id, *told[id])
            async for _ in payouts.changed(deps, shop, LONG_AGO, Ask()):
                pass
            await reckon(deps)
        made = [one for one in await standing(deps) if one.source.value == "SETTLEMENT"]
        found.append({(one.row, one.extra["movement"], one.money_class, one.amount, one.units) for one in made})
        assert sum(
            one.amount.amount for one in made if one.kind == "CHARGE" and one.money_class is MoneyClass.SALE
        ) == Decimal("16.80")
        assert sum(one.units or 0 for one in made if one.kind == "CHARGE") == 2
    assert all(one == found[0] for one in found)


async def test_what_people_tied_stays(deps: Deps, shop: Shop) -> None:
    shop.pays("p-1", movement("c", "25.00"), movement("d", "25.00", order="2"))
    await run(deps)
    tied = money_line.c.order_external_id == "1"
    async with deps.store.begin() as tx:
        await tx.execute(update(money_line).where(tied).values(matched_by=PERSON, cause=None))
    await keep(deps, bought(shop), bought(shop, "2"))
    made = await standing(deps)
    assert [one.amount for one in made if one.order_external_id == "1" and one.source.value == "SETTLEMENT"] == [
        eur("25.00")
    ]
    assert len([one for one in made if one.order_external_id == "2" and one.source.value == "SETTLEMENT"]) == 4


@pytest.mark.parametrize("name", ["shopify", "shop"])
async def test_all_that_a_sandbox_pays_out_ties_out(store: Store, redis: Redis, name: str) -> None:
    """Over the wire: every payout adds up, every movement is of an order that is here and split without a rest, and no amount
    of it is tax in revenue."""
    async with serving(name, products=20, orders=40) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        transport, budgets = Transport(), Budgets(redis, BudgetMemory(store))
        port: Port = _port(name, url, transport, TokenStore(redis), budgets)
        deps = make_deps(store, redis, [port])  # type: ignore[list-item]  # a real one
        if name == "shopify":
            (await http.post("/_sandbox/payouts", json={})).raise_for_status()
            (await http.post("/_sandbox/clock", json={"advance": 3 * 86_400})).raise_for_status()
        async for page in port.order_pages(LONG_AGO, Ask()):
            async with store.begin() as tx:
                await order.upsert(tx, page.items)
        async for _ in payouts.changed(deps, port, LONG_AGO, Ask()):
            pass
        await reckon(deps)
        await transport.close()
        await budgets.settle()
    assert await strange(deps) == []
    assert await kept(deps)
    made = [one for one in await standing(deps) if one.source.value == "SETTLEMENT"]
    assert {one.matched_by for one in made if one.amount_kind == "amount"} == {"PAYMENT"}
    assert {one.cause for one in made} <= {None, Cause.SKU_UNMAPPED}
    assert any(one.money_class is MoneyClass.TAX_COLLECTED for one in made)
    async with store.begin() as tx:
        totals = {row.id: row.total for row in await tx.execute(select(settlement))}
    for id, total in totals.items():
        assert sum((one.amount.amount for one in made if one.settlement == id), Decimal(0)) == total


def _port(name: str, url: str, transport: Transport, tokens: TokenStore, budgets: Budgets) -> Any:
    if name == "shop":
        channel = Channel(SHOP, Platform.REST, "Shop", sandbox=True)
        return RestPort(RestConfig(channel, f"{url}/api/v1", token="st_sandbox"), transport, tokens, budgets)
    channel = Channel(SHOP, Platform.SHOPIFY, "Shop", sandbox=True)
    config = ShopifyConfig(channel, "acorn.myshopify.com", endpoint=url, access_token="shpat_sandbox")
    return ShopifyPort(config, transport, tokens, budgets, None)
