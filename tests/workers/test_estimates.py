"""What orders bring is reckoned until somebody bills it, and no unit counts twice meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, insert, select, update

from domain.channel import Channel
from domain.charge import Charge, ChargeKind
from domain.estimate import FEES_UNKNOWN
from domain.fee import Fee, FeeKind, FeesEstimate
from domain.ids import ChannelId, ChannelSku, ListingId, OrderId, listing_id
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import Cause, MoneyLine, Source, Stage
from domain.offer import OfferPrice
from domain.order import Order, OrderStatus
from domain.payment_fee import PaymentFee
from domain.product import FulfilledBy
from store import estimate, market, money_line, order
from store.session import Store
from store.tables import estimate_due, listing, quarantine
from store.tables import money_line as lines_table
from tests.store.bench import blocked
from tests.store.test_money_transaction import keep as keep_transactions
from tests.store.test_money_transaction import story
from tests.store.test_settlement import US, a_row, rematched, settled, standing_of
from tests.store.test_settlement import an_order as us_order
from tests.workers.fake_port import make_order, make_port
from tests.workers.house import make_deps
from workers.deps import Deps
from workers.estimates import Estimates, reckon

SHOP = ChannelId("shop")


def eur(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def an_order(number: str = "1", *, units: int = 2, price: str = "20.00", **changed: Any) -> Order:
    """An order of units of one line, 20.00 in all, with 3.80 of tax beside it."""
    made = make_order(make_port(), number)
    line = replace(
        made.lines[0],
        quantity=units,
        charges=(Charge(ChargeKind.GOODS, eur(price)), Charge(ChargeKind.TAX, eur("3.80"))),
    )
    return replace(made, lines=[line], **changed)


def a_bill(of: Order, units: int | None, amount: str, *, tied: bool = True) -> MoneyLine:
    return MoneyLine(
        channel=of.channel,
        source=Source.TRANSACTION,
        stage=Stage.DEFERRED,
        event=Event.SALE,
        money_class=MoneyClass.SALE,
        amount=eur(amount),
        posted_at=of.placed_at,
        day=of.placed_at.date(),
        kind="Shipment",
        reference=f"T-{units}",
        order_external_id=of.external_id,
        order_id=of.id if tied else None,
        order_line_id=of.lines[0].id if tied else None,
        channel_sku=of.lines[0].channel_sku,
        units=units,
        cause=None if tied else Cause.ORDER_UNKNOWN,
    )


def make(store: Store, redis: Redis, **changed: Any) -> tuple[Deps, Estimates]:
    port = make_port()
    port.channel = replace(port.channel, **changed)
    deps = make_deps(store, redis, [port])
    return deps, Estimates(deps, lambda: None)


async def keep(store: Store, *orders: Order) -> None:
    async with store.begin() as tx:
        await order.upsert(tx, orders)


async def bill(store: Store, *told: MoneyLine) -> None:
    async with store.begin() as tx:
        await money_line.add(tx, told)
        await money_line.billed(tx, {one.order_id for one in told if one.order_id is not None}, "billed")


async def standing(store: Store, id: OrderId, known_at: datetime | None = None) -> dict[str, str]:
    """What stands of an order, by source and class."""
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    async with store.begin() as tx:
        for one in await standing_of(tx, id, known_at=known_at):
            sums[f"{one.source.value} {one.money_class.value}"] += one.amount.amount
    return {name: f"{amount:.2f}" for name, amount in sums.items()}


RECKONED = {"ESTIMATE SALE": "20.00", "ESTIMATE TAX_COLLECTED": "3.80"}


async def test_an_order_is_reckoned_when_it_comes_and_anew_when_it_changes(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    one = an_order()
    await keep(store, one)
    async with store.begin() as tx:
        assert await estimate.lag(tx) > timedelta(0)
    assert await loop.once() == 1
    async with store.begin() as tx:
        assert await estimate.lag(tx) == timedelta(0)
    assert await standing(store, one.id) == RECKONED
    await keep(store, one)
    assert await loop.once() == 0, "what is told again changes nothing"
    await keep(store, replace(one, status=OrderStatus.CANCELLED, updated_at=one.updated_at + timedelta(minutes=1)))
    assert await loop.once() == 1
    assert await standing(store, one.id) == {}
    async with store.begin() as tx:
        gone = (await tx.scalars(select(lines_table.c.replaced_why).distinct())).all()
    assert len(gone) == 1
    assert "reckoned anew" in gone[0]


async def test_what_is_billed_takes_the_place_of_what_was_reckoned(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    one = an_order()
    await keep(store, one)
    await loop.once()
    await bill(store, a_bill(one, 1, "10.00"))
    assert await standing(store, one.id) == {"TRANSACTION SALE": "10.00"}, (
        "before it is reckoned anew, nothing is twice"
    )
    assert await loop.once() == 1
    half = {"TRANSACTION SALE": "10.00", "ESTIMATE SALE": "10.00", "ESTIMATE TAX_COLLECTED": "1.90"}
    assert await standing(store, one.id) == half
    await bill(store, a_bill(one, None, "10.00"))
    assert await loop.once() == 1
    assert await standing(store, one.id) == {"TRANSACTION SALE": "20.00"}


async def test_what_was_billed_before_the_order_came_is_not_reckoned(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    one, other = an_order(), an_order("2")
    async with store.begin() as tx:
        await money_line.add(tx, [a_bill(one, 2, "20.00", tied=False)])
    await keep(store, one, other)
    assert await loop.once() == 2
    assert await standing(store, one.id) == {}
    assert await standing(store, other.id) == RECKONED


async def test_who_bills_and_who_reckons_wait_for_each_other(store: Store, redis: Redis) -> None:
    deps, loop = make(store, redis)
    one = an_order()
    await keep(store, one)
    # Who reckons is first: who bills waits, and then replaces what came of it.
    async with store.begin() as tx:
        assert await estimate.take(tx, 10) == [one.id]
        billing = asyncio.create_task(bill(store, a_bill(one, 1, "10.00")))
        await blocked(store, 1)
        await reckon(deps, tx, [one.id])
    await billing
    assert await standing(store, one.id) == {"TRANSACTION SALE": "10.00"}
    # Who bills is first: what waits is left alone until that has committed.
    async with store.begin() as tx:
        await money_line.add(tx, [a_bill(one, None, "10.00")])
        await money_line.billed(tx, [one.id], "billed")
        assert await loop.once() == 0
    assert await loop.once() == 1
    assert await standing(store, one.id) == {"TRANSACTION SALE": "20.00"}


async def test_at_no_instant_was_a_unit_known_twice(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    one = an_order()
    await keep(store, one)
    for told in (None, a_bill(one, 1, "10.00"), a_bill(one, None, "10.00")):
        if told is not None:
            await bill(store, told)
        while await loop.once():
            pass
    t = lines_table.c
    async with store.begin() as tx:
        instants = [
            *await tx.scalars(select(t.known_at).distinct()),
            *await tx.scalars(select(t.replaced_at).distinct().where(t.replaced_at.is_not(None))),
        ]
    for at in instants:
        sums = await standing(store, one.id, at)
        assert sum(Decimal(amount) for name, amount in sums.items() if name.endswith("SALE")) in (10, 20)
    assert len(instants) > 3


async def test_a_sale_counts_once_whatever_comes_first(store: Store, redis: Redis) -> None:
    """An order, the transactions that tell of it, and the settlement that holds it: after each of them it is sold once, and when
    the settlement is there nothing else is."""
    deps, _ = make(store, redis)
    for number, arrival in enumerate(permutations(("order", "transactions", "settlement"))):
        seller = replace(US, id=ChannelId(f"amazon-{number}"))
        loop = Estimates(replace(deps, channels={seller.id: seller}), lambda: None)
        one = us_order("1", "SKU-1", channel=seller.id, marketplace="US")
        charges = (Charge(ChargeKind.GOODS, Money(Decimal(100), "USD")),)
        one = replace(one, lines=[replace(one.lines[0], charges=charges)])
        for what in arrival:
            await _come(store, seller, one, what)
            while await loop.once():
                pass
            assert await _sold(store, seller.id) == 100, (arrival, what)
        await rematched(store, seller)
        while await loop.once():
            pass
        assert await _sold(store, seller.id) == 100
        assert set(await standing(store, one.id)) == {"SETTLEMENT SALE", "SETTLEMENT REFERRAL_FEE"}, arrival


async def _come(store: Store, seller: Channel, one: Order, what: str) -> None:
    match what:
        case "order":
            await keep(store, one)
        case "transactions":
            for told in story("1"):
                await keep_transactions(store, seller, [told])
        case _:
            of: dict[str, Any] = {"order_id": "1", "item_id": "1-0", "sku": "SKU-1", "units": 1}
            rows = [a_row(1, 100, **of), a_row(2, -15, of="ItemFees/Commission", **of)]
            await settled(store, rows, channel=seller)


async def _sold(store: Store, channel: ChannelId) -> Decimal | None:
    """What stands as sold at a channel, of orders that are known or not."""
    c = lines_table.c
    query = select(func.sum(c.amount)).where(c.channel == channel, c["class"] == "SALE", money_line.standing())
    async with store.begin() as tx:
        found: Decimal | None = await tx.scalar(query)
        return found


async def test_fees_that_come_later_are_taken_of_what_lacks_them(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    one = an_order()
    line = one.lines[0]
    await keep(store, one)
    await loop.once()
    async with store.begin() as tx:
        assert {row.description for row in await standing_of(tx, one.id)} == {FEES_UNKNOWN, ""}
    id = listing_id(SHOP, one.marketplace, line.channel_sku)
    await _list(store, id, line.channel_sku, one.fulfilled_by)
    async with store.begin() as tx:
        await market.keep_fees(tx, [(id, _fees(one.fulfilled_by))])
        await estimate.fees_came(tx, [id])
    assert await loop.once() == 1
    assert await standing(store, one.id) == RECKONED | {
        "ESTIMATE REFERRAL_FEE": "-3.00",
        "ESTIMATE CLOSING_FEE": "-2.00",
        "ESTIMATE UNCLASSIFIED": "-0.50",
    }
    async with store.begin() as tx:
        await estimate.fees_came(tx, [id])
    assert await loop.once() == 0, "what has its fees is left as it is"


async def test_a_shop_may_say_what_its_payments_cost(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis, payment_fee=PaymentFee(Decimal("2.0"), Decimal("0.25")))
    one = an_order()
    await keep(store, one)
    await loop.once()
    assert await standing(store, one.id) == RECKONED | {"ESTIMATE PAYMENT_FEE": "-0.73"}


async def test_an_order_that_contradicts_itself_is_told_of_and_spoils_no_other(store: Store, redis: Redis) -> None:
    _, loop = make(store, redis)
    sound, torn = an_order(), an_order("2")
    torn = replace(torn, lines=[replace(torn.lines[0], charges=())])
    torn = replace(torn, charges=(Charge(ChargeKind.TAX, eur("1.00"), contained=True),))
    await keep(store, sound, torn)
    assert await loop.once() == 2
    assert await standing(store, sound.id) == RECKONED
    assert await standing(store, torn.id) == {}
    async with store.begin() as tx:
        assert (await tx.execute(select(quarantine.c.what, quarantine.c.key))).all() == [("estimate", torn.external_id)]


async def test_an_order_that_cannot_be_worked_out_is_put_off(store: Store, redis: Redis) -> None:
    deps, loop = make(store, redis)
    sound, broken = an_order(), an_order("2", marketplace="XX")
    zone = type("Broken", (), {"payment_fee": None, "zone": staticmethod(lambda code: 1 / 0 if code else UTC)})()
    loop.deps = replace(deps, channels={SHOP: zone})
    await keep(store, sound, broken)
    for _ in range(6):
        await loop.once()
    assert (await standing(store, sound.id))["ESTIMATE SALE"] == "20.00"
    async with store.begin() as tx:
        late = await tx.scalar(select(func.count()).where(estimate_due.c.since > func.now()))
        assert late == 1
        await tx.execute(update(estimate_due).values(since=func.now()))
    loop.deps = deps
    assert await loop.once() == 1
    assert await standing(store, broken.id) == RECKONED


def _fees(way: FulfilledBy) -> FeesEstimate:
    """Of 20.00: 3.00 of it, 1.00 of each, and 0.25 that has no name."""
    referral = Fee(FeeKind.REFERRAL, "ReferralFee", eur("6.00"), eur("6.00"))
    closing = Fee(FeeKind.CLOSING, "VariableClosingFee", eur("1.00"), eur("1.00"))
    at = datetime(2026, 11, 3, tzinfo=UTC)
    return FeesEstimate("A", False, "DE", way, OfferPrice(eur("40.00")), at, eur("7.25"), (referral, closing))


async def _list(store: Store, id: ListingId, channel_sku: ChannelSku, way: FulfilledBy) -> None:
    values = {
        "id": id,
        "channel": SHOP,
        "channel_sku": channel_sku,
        "external_id": "E",
        "status": "ACTIVE",
        "fulfilled_by": way.value,
        "as_of": datetime(2026, 11, 3, tzinfo=UTC),
    }
    async with store.begin() as tx:
        await tx.execute(insert(listing).values(**values))
