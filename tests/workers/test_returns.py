"""What comes back of a shop's orders is read with their refunds, of those that have changed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from adapters.port import BeforeSend, OrderKey, Receipt
from domain.budget import Ask
from domain.chain import Gap, PieceKind, gaps
from domain.channel import Channel, Platform, StreamName
from domain.errors import HouseError, Transient
from domain.ids import ChannelId
from domain.money import Money
from domain.order import Order
from domain.refund import Refund, RefundLine, RefundWanted, Restock
from store import chain, order, quarantine, stream
from store.session import Store
from tests.workers.fake_port import FakePort, make_order, make_warehouse
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.streams import register, run_stream

SHOP = ChannelId("shop")


@dataclass(slots=True)
class Shop(FakePort):
    """A shop that gives money back. `away` fails every reading of refunds, `broken` those of these orders."""

    given: dict[str, list[Refund]] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    away: bool = False

    async def refunds(self, key: OrderKey, ask: Ask) -> list[Refund]:
        self.read.append(key.external_id)
        if self.away or key.external_id in self.broken:
            raise Transient("It cannot be read.")
        return self.given.get(key.external_id, [])

    async def refund(
        self, key: OrderKey, wanted: RefundWanted, ask: Ask, before_send: BeforeSend, *, sent_before: bool = False
    ) -> Receipt:
        raise AssertionError("nobody asks for it here")


@pytest.fixture
def shop() -> Shop:
    return Shop(Channel(SHOP, Platform.SHOPIFY, "Shop", True))


@pytest.fixture
def deps(store: Store, redis: Redis, shop: Shop) -> Deps:
    return make_deps(store, redis, [shop])


async def refunded(
    deps: Deps, shop: Shop, number: str, restock: Restock = Restock.RETURN, place: str | None = None
) -> Order:
    """An order that was sent and whose money went back, as its own stream has kept it."""
    one = make_order(shop, number, updated_at=datetime.now(UTC) - timedelta(minutes=30))
    one = replace(one, channel_status="FULFILLED/REFUNDED")
    line = RefundLine(one.lines[0].external_id, 2, restock, place, Money(Decimal("9.90"), "EUR"))
    shop.given[number] = [Refund(f"R-{number}", one.updated_at, Money(Decimal("9.90"), "EUR"), (line,))]
    async with deps.store.begin() as tx:
        await order.upsert(tx, [one])
    return one


async def read_orders(deps: Deps, until: datetime) -> None:
    """The stream of orders has come so far."""
    async with deps.store.begin() as tx:
        await stream.finished(tx, SHOP, StreamName.ORDERS, until, until)


async def run(deps: Deps) -> None:
    await register(deps)
    async with deps.store.begin() as tx:
        states = {one.name: one for one in await stream.states(tx, [SHOP])}
    await run_stream(deps, states[StreamName.RETURNS])


async def cursor(deps: Deps) -> datetime | None:
    async with deps.store.begin() as tx:
        return next(one.cursor for one in await stream.states(tx, [SHOP]) if one.name is StreamName.RETURNS)


async def kinds(deps: Deps, one: Order) -> list[PieceKind]:
    async with deps.store.begin() as tx:
        found = await chain.by_orders(tx, [one.id])
    return [piece.kind for each in found.get(one.id, []) for piece in each.pieces]


async def strange(deps: Deps) -> list[tuple[str, str, str]]:
    """What went to the quarantine."""
    async with deps.store.begin() as tx:
        found = [one.rejected for one in await quarantine.recent(tx)]
    return [(one.what, one.key, one.reason) for one in found]


async def test_the_refunds_of_orders_that_say_so_are_kept_once(deps: Deps, shop: Shop) -> None:
    one = await refunded(deps, shop, "1")
    other = replace(make_order(shop, "2"), channel_status="FULFILLED/PAID")
    async with deps.store.begin() as tx:
        await order.upsert(tx, [other])
    await run(deps)
    await run(deps)
    assert shop.read == ["1", "1"]
    assert await kinds(deps, one) == [PieceKind.ARRIVED, PieceKind.REFUNDED, PieceKind.RESTOCKED]


async def test_what_comes_back_to_a_place_of_ours_waits_to_be_put_back_there(
    store: Store, redis: Redis, shop: Shop
) -> None:
    ours = replace(make_warehouse(shop), keeper=ChannelId("ledger"), external_id="ours", shown={SHOP: "loc-1"})
    deps = make_deps(store, redis, [shop], locations=[ours])
    one = await refunded(deps, shop, "1", place="loc-1")
    await run(deps)
    async with deps.store.begin() as tx:
        (found,) = (await chain.by_orders(tx, [one.id]))[one.id]
    assert [gap.gap for gap in gaps(found, datetime.now(UTC))] == [Gap.NOT_RESTOCKED]


async def test_one_order_that_cannot_be_read_holds_up_no_other(deps: Deps, shop: Shop) -> None:
    bad, good = await refunded(deps, shop, "1"), await refunded(deps, shop, "2")
    shop.broken = {"1"}
    await run(deps)
    assert await kinds(deps, bad) == []
    assert PieceKind.REFUNDED in await kinds(deps, good)
    assert await strange(deps) == [("refund", "1", "It cannot be read.")]


async def test_a_shop_that_is_away_moves_nothing_and_quarantines_nobody(deps: Deps, shop: Shop) -> None:
    one = await refunded(deps, shop, "1")
    shop.away = True
    with pytest.raises(HouseError):
        await run(deps)
    assert await cursor(deps) is None
    assert await strange(deps) == []
    shop.away = False
    await run(deps)
    assert PieceKind.REFUNDED in await kinds(deps, one)


async def test_the_cursor_never_passes_what_the_orders_were_read_for(deps: Deps, shop: Shop) -> None:
    await register(deps)
    await refunded(deps, shop, "1")
    until = datetime.now(UTC) - timedelta(hours=1)
    await read_orders(deps, until)
    await run(deps)
    assert await cursor(deps) == until


async def test_a_line_that_the_order_does_not_have_goes_to_the_quarantine(deps: Deps, shop: Shop) -> None:
    one = await refunded(deps, shop, "1")
    shop.given["1"] = [replace(shop.given["1"][0], lines=(RefundLine("?", 1),))]
    await run(deps)
    assert await kinds(deps, one) == []
    assert [(what, key) for what, key, _ in await strange(deps)] == [("refund", "R-1")]
