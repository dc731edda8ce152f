"""Profit against a plain model: whatever comes in whichever order, by every way of adding up, now and as it was known before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.chain import Piece, PieceKind
from domain.cost import NewCost, in_force
from domain.errors import Invalid
from domain.estimate import FEES_UNKNOWN
from domain.export import ExportList, ExportWanted
from domain.fx import Rates
from domain.ids import ChannelId, ChannelSku, OrderId, Sku, derived_id, line_id, order_id
from domain.money import Money
from domain.money_class import Event, MoneyClass, Part
from domain.money_line import Cause, MoneyLine, Source, Stage, day_of
from domain.order import Order, OrderLine, OrderStatus
from domain.price_inputs import FxRate
from domain.product import FulfilledBy
from domain.profit import Ask, ChangeKind, Dimension, Figures
from store import chain, cost, export_rows, fx, money_line, order, profit, profit_changes
from store.session import ONE_SNAPSHOT, Store
from store.tables import estimate_due, settlement
from store.tables import money_line as lines_table
from store.tables import product as product_table
from tests.conftest import emptied

AMAZON, SHOP = ChannelId("amazon"), ChannelId("shop")
PLACES: list[profit.Place] = [
    (AMAZON, "", "UTC"),
    (AMAZON, "DE", "Europe/Berlin"),
    (AMAZON, "US", "America/Los_Angeles"),
    (SHOP, "", "Asia/Tokyo"),
]
FIRST = date(2026, 10, 30)
MIDNIGHT = datetime(2026, 10, 30, tzinfo=UTC)
MUG, CUP = Sku("MUG"), Sku("CUP")
# Of the marketplaces (channel, marketplace, currency, zone) one order each day, near midnight by any clock.
MARKETS = [
    (AMAZON, "DE", "EUR", "Europe/Berlin"),
    (AMAZON, "US", "USD", "America/Los_Angeles"),
    (SHOP, None, "JPY", "Asia/Tokyo"),
]


def make_order(number: int, **more: Any) -> Order:
    channel, marketplace, currency, _ = MARKETS[number % len(MARKETS)]
    id = order_id(channel, f"O-{number}")
    values: dict[str, Any] = {
        "placed_at": MIDNIGHT + timedelta(hours=number * 11),
        "total": Money(Decimal(50), currency),
        "lines": [
            OrderLine(line_id(id, str(at)), str(at), ChannelSku(f"{sku}-there"), 2, 0, sku)
            for at, sku in enumerate((MUG, CUP))
        ],
    }
    return Order(
        id=id,
        channel=channel,
        marketplace=marketplace,
        external_id=f"O-{number}",
        status=OrderStatus.UNSHIPPED,
        channel_status="OPEN",
        fulfilled_by=FulfilledBy.MERCHANT,
        updated_at=MIDNIGHT,
        **(values | more),
    )


def zone_of(one: Order) -> ZoneInfo:
    return next(
        ZoneInfo(zone) for channel, place, zone in PLACES if (channel, place) == (one.channel, one.marketplace or "")
    )


def make_line(of: Order, money_class: MoneyClass, amount: str | Decimal, **more: Any) -> MoneyLine:
    event = more.get("event", Event.SALE)
    posted_at = more.pop("posted_at", of.placed_at)
    assert of.total is not None
    amount = Decimal(amount).quantize(Decimal("0.01"))
    values: dict[str, Any] = {
        "source": Source.ESTIMATE,
        "stage": Stage.ESTIMATED,
        "event": event,
        "kind": "Order",
        "reference": of.id,
        "order_id": of.id,
        "marketplace": of.marketplace,
        "amount": Money(amount, more.pop("currency", of.total.currency)),
        "day": day_of(event, of.placed_at, posted_at, zone_of(of)),
    }
    return MoneyLine(channel=of.channel, money_class=money_class, posted_at=posted_at, **(values | more))


def sale(of: Order, line: OrderLine, units: int, amount: str | Decimal, **more: Any) -> list[MoneyLine]:
    """What units of a line bring, and what is taken of them."""
    named = {"sku": line.sku, "order_line_id": line.id} | more
    return [
        make_line(of, MoneyClass.SALE, amount, units=units, **named),
        make_line(of, MoneyClass.REFERRAL_FEE, -Decimal(amount) / 7, **named),
        make_line(of, MoneyClass.TAX_COLLECTED, Decimal(amount) / 5, **named),
    ]


def a_piece(of: Order, line: OrderLine, number: int, units: int, **more: Any) -> Piece:
    values: dict[str, Any] = {"kind": PieceKind.RESTOCKED, "reference": f"R-{number}"}
    at = of.placed_at + timedelta(days=1)
    return Piece(of.channel, order=of.external_id, sku=line.channel_sku, units=units, at=at, **(values | more))


def in_books(one: MoneyLine) -> MoneyLine:
    return replace(one, source=Source.SETTLEMENT, stage=Stage.SETTLED)


async def keep_settlement(tx: AsyncConnection, of: Order, lines: Sequence[MoneyLine], name: str) -> None:
    """A settlement that bills an order: its lines stand, and the estimates do not any more."""
    id = derived_id("settlement", of.channel, name)
    currency = lines[0].amount.currency
    values = {"id": id, "channel": of.channel, "kind": "SETTLEMENT", "external_id": name, "currency": currency}
    times = {"starts_at": of.placed_at, "ends_at": of.placed_at, "total": Decimal(0), "line_count": len(lines)}
    await tx.execute(insert(settlement).values(**values, **times))
    await money_line.billed(tx, [of.id], f"settlement {name}")
    await money_line.add(tx, [replace(in_books(one), settlement=id, reference="") for one in lines])


# The model.


@dataclass
class Atom:
    """What counts: an amount, or units with their cost, of one day, currency and place."""

    keys: dict[Dimension, str]
    stage: Stage
    figures: Figures


@dataclass
class Books:
    """What is there, in plain lists; what costs and rates were told is read from the rows."""

    orders: list[Order]
    lines: list[MoneyLine] = field(default_factory=list)
    pieces: dict[str, Piece] = field(default_factory=dict)

    async def atoms(self, tx: AsyncConnection, currency: str | None) -> list[Atom]:
        told = await cost.revisions(tx, {MUG, CUP})
        rates: dict[date, Rates] = {}

        async def worth(money: Money, to: str, on: date) -> Decimal:
            if on not in rates:
                rates[on] = await fx.rates(tx, on)
            found = rates[on].convert(money, to, on)
            assert found is not None
            return found.money.amount

        async def priced(sku: Sku | None, units: int, to: str, on: date) -> Figures:
            layer = None if sku is None else in_force(told.get(sku, ()), on)
            if layer is None:
                return Figures(to, units_without_cost=abs(units))
            return Figures(to, priced=await worth(layer.landed * units, to, on))

        found = []
        for one in self.lines:
            to = currency or one.amount.currency
            amount = await worth(one.amount, to, one.day)
            figures = {
                Part.REVENUE: Figures(to, revenue=amount),
                Part.REFUNDS: Figures(to, refunds=-amount),
                Part.FEES: Figures(to, fees=-amount),
                Part.UNCLASSIFIED: Figures(to, fees=-amount, unclassified=-amount),
                Part.TAX: Figures(to, taxes=amount),
            }.get(one.part)
            if figures is None:
                continue
            if one.money_class is MoneyClass.REIMBURSEMENT:
                figures = replace(figures, reimbursements=amount)
            if one.units is not None and one.event is Event.SALE:
                feeless = one.units if one.description == FEES_UNKNOWN else 0
                sold = Figures(to, units=one.units, units_without_fees=feeless)
                figures += sold + await priced(one.sku, one.units, to, one.day)
            keys = keys_of(one.day, one.channel, one.marketplace, one.sku, one.order_id)
            found.append(Atom(keys, one.stage, figures))
        for of, line, piece in self.restocks():
            on = of.placed_at.astimezone(zone_of(of)).date()
            day = piece.at.astimezone(zone_of(of)).date()
            assert of.total is not None
            cost_of = await priced(line.sku, -piece.units, currency or of.total.currency, on)
            keys = keys_of(day, of.channel, of.marketplace, line.sku, of.id)
            found.append(Atom(keys, Stage.SETTLED, cost_of))
        return found

    def restocks(self) -> Iterable[tuple[Order, OrderLine, Piece]]:
        for one in self.orders:
            for line in one.lines:
                its = [
                    piece
                    for piece in self.pieces.values()
                    if (piece.channel, piece.order, piece.sku) == (one.channel, one.external_id, line.channel_sku)
                ]
                sides = [
                    [piece for piece in its if piece.kind is PieceKind.RESTOCKED and self.by_pool(piece) == pool]
                    for pool in (False, True)
                ]
                most = max(sides, key=lambda side: sum(piece.units for piece in side))
                yield from ((one, line, piece) for piece in most)
                if any(each.order_id == one.id and each.source is Source.SETTLEMENT for each in self.lines):
                    yield from ((one, line, piece) for piece in its if piece.kind is PieceKind.REFUNDED)

    def by_pool(self, piece: Piece) -> bool:
        return piece.reference.startswith("pool:")


def keys_of(
    day: date, channel: ChannelId, marketplace: str | None, sku: Sku | None, order: OrderId | None
) -> dict[Dimension, str]:
    return {
        Dimension.DAY: day.isoformat(),
        Dimension.MONTH: day.isoformat()[:7],
        Dimension.CHANNEL: channel,
        Dimension.MARKETPLACE: marketplace or "",
        Dimension.SKU: sku or "",
        Dimension.ORDER: order or "",
    }


Told = dict[tuple[tuple[str, ...], str], tuple[Figures, dict[Stage, Figures]]]


def modeled(atoms: Iterable[Atom], by: Sequence[Dimension]) -> Told:
    groups: defaultdict[tuple[tuple[str, ...], str], list[Atom]] = defaultdict(list)
    for one in atoms:
        groups[tuple(one.keys[dimension] for dimension in by), one.figures.currency].append(one)
    return {
        key: (
            sum((one.figures for one in its), Figures(key[1])),
            {
                stage: sum((one.figures for one in its if one.stage is stage), Figures(key[1]))
                for stage in {one.stage for one in its}
            },
        )
        for key, its in groups.items()
    }


async def told(store: Store, by: Sequence[Dimension], ask: Ask = Ask()) -> Told:  # noqa: B008 - it never changes
    async with store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        found = await profit.rows(tx, ask, by, PLACES)
    return {(tuple(row.dimensions.values()), row.figures.currency): (row.figures, dict(row.stages)) for row in found}


async def total(store: Store, currency: str, known_at: datetime | None = None) -> Figures:
    found = await told(store, [], Ask(currency=currency, known_at=known_at))
    return found.get(((), currency), (Figures(currency), {}))[0]


async def instant(store: Store) -> datetime:
    """Between what came and what comes."""
    async with store.begin() as tx:
        return await tx.scalar(select(func.clock_timestamp())) or MIDNIGHT


# What may come.


@dataclass
class World:
    store: Store
    books: Books
    number: int = 0

    async def come(self, what: str, pick: int, amount: Decimal) -> None:
        self.number += 1
        order = self.books.orders[pick % len(self.books.orders)]
        line = order.lines[pick % 2]
        async with self.store.begin() as tx:
            await getattr(self, what)(tx, order, line, pick, amount)

    async def estimated(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        words = {"description": FEES_UNKNOWN} if pick % 5 == 0 else {}
        lines = sale(order, line, 1 + pick % 3, amount, **words)
        await money_line.renew_all(tx, order.channel, Source.ESTIMATE, {order.id: lines}, {order.id: "worked out anew"})
        self.books.lines = [one for one in self.books.lines if not self.estimate_of(order, one)] + lines

    async def settled(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        lines = sale(order, line, 1 + pick % 3, amount)
        if pick % 2:
            refund = {"event": Event.REFUND, "sku": line.sku, "posted_at": order.placed_at + timedelta(days=2)}
            lines.append(make_line(order, MoneyClass.SALE, -amount / 3, units=1, **refund))
            lines.append(make_line(order, MoneyClass.UNCLASSIFIED, -amount / 11))
        account = {"event": Event.ACCOUNT, "order_id": None}
        lines.append(make_line(order, MoneyClass.REIMBURSEMENT, amount / 13, sku=line.sku, **account))
        lines.append(make_line(order, MoneyClass.RESERVE, -amount, **account))
        lines.append(make_line(order, MoneyClass.SUBSCRIPTION_FEE, "-3.90", **account))
        await keep_settlement(tx, order, lines, f"S-{self.number}")
        kept = [one for one in self.books.lines if not self.estimate_of(order, one)]
        self.books.lines = kept + [in_books(one) for one in lines]

    async def mended(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        """A line of the books gets a class."""
        at = next((at for at, one in enumerate(self.books.lines) if one.money_class is MoneyClass.UNCLASSIFIED), None)
        if at is None:
            return
        c = lines_table.c
        query = select(lines_table).where(c["class"] == "UNCLASSIFIED", money_line.standing()).order_by(c.id).limit(1)
        row = (await tx.execute(query)).one()
        gone = {"replaced_at": func.now(), "replaced_why": "its words were classified"}
        await tx.execute(update(lines_table).where(c.id == row.id).values(**gone))
        now = replace(money_line.line_of(row), money_class=MoneyClass.STORAGE_FEE)
        await money_line.add(tx, [now])
        self.books.lines[at] = replace(self.books.lines[at], money_class=MoneyClass.STORAGE_FEE)

    async def costs(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        day = FIRST + timedelta(days=pick % 4 - 1)
        # A layer has one currency, whatever comes.
        currency = ("EUR", "USD")[day.day % 2]
        assert line.sku is not None
        await cost.keep(tx, [NewCost(line.sku, day, Money(amount / 4, currency))], "me")

    async def rated(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        day = FIRST + timedelta(days=pick % 6 - 1)
        worth = {"USD": 1 + amount / 700, "JPY": 150 + amount / 9}
        await fx.keep(tx, [FxRate("EUR", quote, rate, day, "ECB") for quote, rate in worth.items()], "me")

    async def restocked(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        pool = "pool:" if pick % 4 == 0 else ""
        # Of some pieces something else is told later.
        reference = f"{pool}{order.external_id}-{line.external_id}-{pick % 3}"
        piece = replace(a_piece(order, line, 0, 1 + pick % 2), reference=reference)
        await chain.keep(tx, [piece])
        self.books.pieces[f"{order.channel}:{reference}"] = piece

    async def never_left(self, tx: AsyncConnection, order: Order, line: OrderLine, pick: int, amount: Decimal) -> None:
        piece = replace(a_piece(order, line, pick, 1), kind=PieceKind.REFUNDED, expected=False)
        await chain.keep(tx, [piece])
        self.books.pieces[f"{order.channel}:{pick}:never left"] = piece

    def estimate_of(self, order: Order, one: MoneyLine) -> bool:
        return one.order_id == order.id and one.source is Source.ESTIMATE


async def new_world(store: Store, orders: int = 5) -> World:
    await emptied(store)
    books = Books([make_order(number) for number in range(orders)])
    async with store.begin() as tx:
        await order.upsert(tx, books.orders)
        before = FIRST - timedelta(days=3)
        rates = {"USD": "1.1", "JPY": "160.25", "GBP": "0.87"}
        await fx.keep(tx, [FxRate("EUR", quote, Decimal(rate), before, "ECB") for quote, rate in rates.items()], "me")
        costs = {MUG: Money(Decimal("4.205"), "USD"), CUP: Money(Decimal(2), "EUR")}
        await cost.keep(tx, [NewCost(sku, before, amount) for sku, amount in costs.items()], "me")
    return World(store, books)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["estimated", "estimated", "settled", "settled", "mended", "costs", "rated", "restocked", "never_left"]
        ),
        st.integers(0, 59),
        st.decimals(Decimal("0.01"), 500, places=2),
    ),
    min_size=6,
    max_size=9,
)
WAYS = st.lists(st.sampled_from(Dimension), unique=True, max_size=4)
CURRENCIES = ("EUR", "JPY", None)


@given(STEPS, WAYS, WAYS)
@settings(
    max_examples=3,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_every_way_of_adding_up_comes_to_the_same_and_is_told_again_as_it_was_known(
    store: Store, steps: list[tuple[str, int, Decimal]], one: list[Dimension], other: list[Dimension]
) -> None:
    world = await new_world(store)
    history: list[tuple[datetime, Told]] = []
    for what, pick, amount in steps:
        await world.come(what, pick, amount)
        history.append((await instant(store), await told(store, one, Ask(currency="EUR"))))
    for currency in CURRENCIES:
        async with store.begin() as tx:
            atoms = await world.books.atoms(tx, currency)
        for by in (one, other):
            assert await told(store, by, Ask(currency=currency)) == modeled(atoms, by)
    for at, known in history:
        assert await told(store, one, Ask(currency="EUR", known_at=at)) == known
    for (since, before), (until, after) in pairwise(history[::3]):
        assert_explained(await changed(store, since, until), before, after)
    assert_explained(await changed(store, history[0][0], None), history[0][1], history[-1][1])


async def changed(store: Store, since: datetime, until: datetime | None, currency: str = "EUR") -> list[Any]:
    async with store.begin() as tx:
        await tx.execute(ONE_SNAPSHOT)
        return await profit_changes.changes(tx, Ask(currency=currency, known_at=until), since, PLACES)


def assert_explained(reasons: list[Any], before: Told, after: Told) -> None:
    """The reasons come to the difference."""
    was, now = (sum((figures for figures, _ in each.values()), Figures("EUR")) for each in (before, after))
    difference = sum((one.figures for one in reasons), Figures("EUR"))
    for name in ("units", "revenue", "fees", "refunds", "priced", "taxes"):
        assert getattr(difference, name) == getattr(now, name) - getattr(was, name), name


async def test_each_change_names_its_reason(store: Store) -> None:
    world = await new_world(store, 2)
    german = world.books.orders[0]
    mug, cup = german.lines
    async with store.begin() as tx:
        await money_line.add(tx, [*sale(german, mug, 2, "70.00"), *sale(german, cup, 2, "35.00")])
    since = await instant(store)
    async with store.begin() as tx:
        await keep_settlement(tx, german, sale(german, mug, 2, "77.00"), "S-1")
    async with store.begin() as tx:
        day = FIRST - timedelta(days=3)
        await cost.keep(tx, [NewCost(MUG, day, None, Money(Decimal("1.10"), "USD"), reason="freight")], "me")
    async with store.begin() as tx:
        await chain.keep(tx, [a_piece(german, mug, 1, 1)])
    async with store.begin() as tx:
        await fx.keep(tx, [FxRate("EUR", "USD", Decimal("1.25"), FIRST - timedelta(days=3), "ECB")], "me")
    async with store.begin() as tx:
        await tx.execute(
            update(lines_table)
            .where(lines_table.c["class"] == "TAX_COLLECTED", money_line.standing())
            .values(replaced_at=func.now(), replaced_why="no tax")
        )
    found = await changed(store, since, None)
    assert [(one.kind, one.words) for one in found] == [
        (ChangeKind.SETTLEMENT, "S-1"),
        (ChangeKind.RESTOCK, ""),
        (ChangeKind.COST, "MUG from 2026-10-27, revision 2 (freight)"),
        (ChangeKind.RATE, "USD in EUR, 2026-10-30"),
        (ChangeKind.MENDED, "no tax"),
    ]
    settled, restocked, costed, rated, _ = found
    # 77.00 instead of 105.00, a fee of 11.00 instead of 15.00, and two cups less.
    assert settled.settlement == derived_id("settlement", AMAZON, "S-1")
    assert (settled.figures.revenue, settled.figures.fees, settled.figures.priced) == (-28, -4, -4)
    assert (settled.figures.units, settled.lines) == (-2, 9)
    # By 1.25 USD: a unit is 4.244 now, and freight was 0.88 of it; it was 3.8227 (of two: 7.6455) by 1.1.
    assert restocked.figures.priced == Decimal("-4.244")
    assert costed.figures.priced == Decimal("1.76")
    assert rated.figures.priced == Decimal("6.728") - Decimal("7.645455")
    assert (rated.figures.revenue, rated.figures.profit) == (0, Decimal("0.917455"))


async def test_a_cost_that_nobody_knows_is_no_number_and_that_of_the_catalog_is_said_to_be_one(store: Store) -> None:
    world = await new_world(store, 3)
    german = world.books.orders[0]
    async with store.begin() as tx:
        strange = replace(german.lines[0], sku=Sku("STRANGE"))
        await money_line.add(tx, [*sale(german, strange, 3, "21.00"), *sale(german, german.lines[1], 1, "7.00")])
    by = [Dimension.SKU]
    rows = await told(store, by)
    unknown, known = rows[("STRANGE",), "EUR"][0], rows[("CUP",), "EUR"][0]
    assert (unknown.cost, unknown.profit, unknown.margin, unknown.units_without_cost) == (None, None, None, 3)
    assert [known.cost, known.profit, known.margin] == [2, 4, Decimal("0.571429")]
    assert (await told(store, []))[(), "EUR"][0].profit is None
    async with store.begin() as tx:
        await tx.execute(
            insert(product_table).values(sku="STRANGE", title="", cost_amount=Decimal("1.50"), cost_currency="EUR")
        )
    unknown = (await told(store, by))[("STRANGE",), "EUR"][0]
    assert (unknown.cost, unknown.units_with_catalog_cost, unknown.units_without_cost) == (Decimal("4.50"), 3, 0)
    async with store.begin() as tx:
        await cost.keep(tx, [NewCost(Sku("STRANGE"), FIRST, Money(Decimal("1.00"), "EUR"))], "me")
    unknown = (await told(store, by))[("STRANGE",), "EUR"][0]
    assert [unknown.cost, unknown.units_with_catalog_cost] == [3, 0]


async def test_units_that_never_left_cost_nothing_once_they_were_billed(store: Store) -> None:
    world = await new_world(store, 3)
    german = world.books.orders[0]
    cup = german.lines[1]
    never_left = replace(a_piece(german, cup, 1, 1), kind=PieceKind.REFUNDED, expected=False)
    async with store.begin() as tx:
        # What is estimated are the units that are still wanted.
        await money_line.add(tx, sale(german, cup, 1, "14.00"))
        await chain.keep(tx, [never_left])
    assert (await told(store, []))[(), "EUR"][0].cost == 2
    async with store.begin() as tx:
        await keep_settlement(tx, german, sale(german, cup, 2, "28.00"), "S-1")
    assert (await told(store, []))[(), "EUR"][0].cost == 2
    async with store.begin() as tx:
        await chain.keep(tx, [replace(never_left, expected=True)])
    assert (await told(store, []))[(), "EUR"][0].cost == 4


async def test_a_payment_that_hides_what_was_sold_has_no_cost(store: Store) -> None:
    world = await new_world(store, 3)
    japanese = world.books.orders[2]
    whole = make_line(japanese, MoneyClass.SALE, "3000", cause=Cause.UNAPPORTIONED)
    async with store.begin() as tx:
        # The rest of a line that another one tells the units of.
        await money_line.add(
            tx, [*sale(japanese, japanese.lines[0], 1, "700"), make_line(japanese, MoneyClass.SALE, "1")]
        )
    assert (await told(store, []))[(), "JPY"][0].cost is not None
    async with store.begin() as tx:
        await money_line.add(tx, [whole])
    figures = (await told(store, []))[(), "JPY"][0]
    assert [figures.revenue, figures.units, figures.units_without_cost, figures.profit] == [3701, 1, 1, None]


async def test_a_transaction_that_names_no_product_makes_no_profit(store: Store) -> None:
    world = await new_world(store, 3)
    american = world.books.orders[1]
    line = american.lines[0]
    transaction = {"source": Source.TRANSACTION, "stage": Stage.RELEASED, "reference": "T"}
    async with store.begin() as tx:
        await money_line.add(tx, [make_line(american, MoneyClass.SALE, "30", **transaction)])
    figures = (await told(store, []))[(), "USD"][0]
    assert [figures.revenue, figures.units_without_cost, figures.profit] == [30, 1, None]
    async with store.begin() as tx:
        # Another one tells which units.
        await money_line.add(tx, [make_line(american, MoneyClass.SALE, "5", units=1, sku=line.sku, **transaction)])
    figures = (await told(store, []))[(), "USD"][0]
    assert [figures.revenue, figures.units_without_cost, figures.cost] == [35, 0, Decimal("4.205")]


@pytest.mark.parametrize("order_known", [True, False])
async def test_a_payment_that_is_not_split_yet_makes_no_profit_until_its_order_tells_units(
    store: Store, order_known: bool
) -> None:
    world = await new_world(store, 3)
    japanese = world.books.orders[2]
    # As shops' payouts tell it: what of it is goods, and what tax, is not known.
    cause = Cause.UNAPPORTIONED if order_known else Cause.ORDER_UNKNOWN
    payment = make_line(japanese, MoneyClass.PAYMENT, "3000", cause=cause)
    fee = make_line(japanese, MoneyClass.PAYMENT_FEE, "-90")
    async with store.begin() as tx:
        named = [one if order_known else replace(one, order_id=None) for one in (payment, fee)]
        await money_line.add(tx, [replace(in_books(one), settlement="S", reference="") for one in named])
    figures = (await told(store, []))[(), "JPY"][0]
    assert [figures.revenue, figures.fees, figures.units_without_cost, figures.profit] == [0, 90, 1, None]
    async with store.begin() as tx:
        # Its order is estimated: what stands of that is what it brings.
        await money_line.add(tx, sale(japanese, japanese.lines[0], 1, "700"))
    figures = (await told(store, []))[(), "JPY"][0]
    assert [figures.revenue, figures.units, figures.units_without_cost] == [700, 1, 0 if order_known else 1]


async def test_rates_by_days_are_those_of_each_day(store: Store) -> None:
    await emptied(store)
    days = [date(2026, 9, 1) + timedelta(days=number) for number in range(40)]
    published = [
        FxRate("EUR", quote, Decimal(number + 7) / 7, day, "ECB")
        for number, day in enumerate(days)
        for quote, closed in (("USD", day.weekday() > 4), ("JPY", 4 < day.day < 30))
        if not closed and not 12 < number < 26
    ]
    async with store.begin() as tx:
        await fx.keep(tx, published, "me")
        await fx.keep(tx, [FxRate("USD", "GBP", Decimal("0.75"), days[28], "Other")], "me")
    between = await instant(store)
    async with store.begin() as tx:
        await fx.keep(tx, [replace(published[0], rate=Decimal(9)), replace(published[-1], rate=Decimal(9))], "me")
    currencies = ("EUR", "USD", "JPY", "GBP")
    wanted = [
        (a, b, day)
        for a in currencies
        for b in currencies
        if a != b
        for day in [FIRST, days[0] - timedelta(1), *days[::2]]
    ]
    async with store.begin() as tx:
        each = {day: await fx.rates(tx, day) for *_, day in wanted}
        expected = {(a, b, day): rate for a, b, day in wanted if (rate := each[day].pair(a, b, day)) is not None}
        assert await fx.by_days(tx, wanted) == expected
        before = await fx.by_days(tx, wanted, between)
    assert len(wanted) > len(expected) > 100
    moved = [pair for pair in expected if before[pair].rate != expected[pair].rate]
    assert moved
    assert len(moved) < len(expected)


async def test_a_missing_rate_is_named_and_spoils_nothing_that_needs_none(store: Store) -> None:
    world = await new_world(store, 3)
    german, american, _ = world.books.orders
    async with store.begin() as tx:
        await money_line.add(tx, [*sale(german, german.lines[1], 1, "7"), *sale(american, american.lines[0], 1, "7")])
        await cost.keep(tx, [NewCost(CUP, FIRST, Money(Decimal(9), "CHF"))], "me")
    with pytest.raises(Invalid, match="what EUR was worth in SEK on 2026-10-30"):
        await told(store, [], Ask(currency="SEK"))
    with pytest.raises(Invalid, match="what CHF was worth in EUR on 2026-10-30"):
        await told(store, [], Ask(currency="EUR"))
    rows = await told(store, [])
    assert {currency: rows[(), currency][0].units_without_cost for currency in ("EUR", "USD")} == {"EUR": 1, "USD": 0}
    assert rows[(), "USD"][0].cost == Decimal("4.205")


async def test_filters_ask_for_a_part_and_the_parts_come_to_the_whole(store: Store) -> None:
    world = await new_world(store)
    for number, what in enumerate(["settled", "estimated", "settled", "estimated", "restocked", "settled"]):
        await world.come(what, number * 7, Decimal(20 + number))
    whole = await total(store, "EUR")
    for parts in (
        [Ask(channel=AMAZON), Ask(channel=SHOP)],
        [Ask(until=FIRST + timedelta(days=1)), Ask(first=FIRST + timedelta(days=1))],
        [Ask(stages=(Stage.ESTIMATED,)), Ask(stages=(Stage.SETTLED, Stage.RELEASED))],
    ):
        told_apart = [await told(store, [], replace(ask, currency="EUR")) for ask in parts]
        figures = [each[(), "EUR"][0] for each in told_apart]
        assert len(figures) == 2
        assert sum(figures, Figures("EUR")) == whole
    mugs = await told(store, [Dimension.SKU], Ask(skus=(MUG,), marketplace="DE", currency="EUR"))
    assert {key for key, _ in mugs} <= {("MUG",)}


async def test_more_rows_than_anybody_reads_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(store)
    for number in range(3):
        await world.come("settled", number, Decimal(20))
    monkeypatch.setattr(profit, "MOST_ROWS", len(await told(store, [Dimension.ORDER])))
    assert await told(store, [Dimension.ORDER])
    monkeypatch.setattr(profit, "MOST_ROWS", profit.MOST_ROWS - 1)
    with pytest.raises(Invalid, match="Ask for fewer days or SKUs, or group by less"):
        await told(store, [Dimension.ORDER])


async def test_reasons_beyond_the_most_are_told_as_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await new_world(store)
    since = await instant(store)
    for number in range(4):
        await world.come("settled", number, Decimal(20 + number))
    every = await changed(store, since, None)
    assert len(every) == 4
    monkeypatch.setattr(profit_changes, "MOST_REASONS", 2)
    some = await changed(store, since, None)
    assert [one.words for one in some if one.words.startswith("2 more")] == ["2 more"]
    assert len(some) == 3
    sums = [sum((one.figures for one in each), Figures("EUR")) for each in (every, some)]
    assert sums[0] == sums[1]


async def test_money_of_orders(store: Store) -> None:
    world = await new_world(store, 3)
    german, american, _ = world.books.orders
    mug, cup = german.lines
    async with store.begin() as tx:
        lines = [*sale(german, mug, 2, "70.00"), *sale(german, cup, 2, "35.00")]
        # A label that Amazon sold in dollars.
        label = make_line(german, MoneyClass.SHIPPING_LABEL, "-5.50", currency="USD")
        await keep_settlement(tx, german, [*lines, label], "S-1")
        await money_line.add(tx, sale(american, american.lines[0], 2, "14.00"))
    ids = [one.id for one in world.books.orders]

    async def found() -> dict[OrderId, Any]:
        async with store.begin() as tx:
            return await profit.by_orders(tx, ids, PLACES)

    money = await found()
    assert set(money) == {german.id, american.id}
    one = money[german.id].figures
    # Two mugs of 4.205 USD and a label of 5.50 USD, by 1.1 USD.
    assert (one.currency, one.revenue, one.fees, one.refunds) == ("EUR", 105, 20, 0)
    assert one.cost == 4 + Decimal("7.645455")
    assert not money[american.id].settled
    # An estimate is to be worked out.
    assert not money[german.id].settled
    async with store.begin() as tx:
        await tx.execute(update(settlement).values(reference="x"))
        await tx.execute(delete(estimate_due))
    assert (await found())[german.id].settled
    async with store.begin() as tx:
        kept = replace(german, lines=[mug, replace(cup, quantity=3)], updated_at=MIDNIGHT + timedelta(days=9))
        await order.upsert(tx, [kept])
    assert not (await found())[german.id].settled
    async with store.begin() as tx:
        swiss = make_line(american, MoneyClass.SHIPPING_LABEL, "-1", currency="CHF")
        await money_line.add(tx, [swiss])
    money = await found()
    assert isinstance(money[american.id], Invalid)
    assert not isinstance(money[german.id], Invalid)


async def test_an_order_that_no_rate_tells_takes_no_other_with_it(store: Store) -> None:
    world = await new_world(store, 10)
    germans = [one for one in world.books.orders if one.marketplace == "DE"]
    swiss = germans[1]
    async with store.begin() as tx:
        for one in germans:
            label = make_line(one, MoneyClass.SHIPPING_LABEL, "-1.10", currency="CHF" if one is swiss else "USD")
            await money_line.add(tx, [*sale(one, one.lines[1], 1, "14.00"), label])
        money = await profit.by_orders(tx, [one.id for one in germans], PLACES)
    assert {id for id, one in money.items() if isinstance(one, Invalid)} == {swiss.id}
    # The label of 1.10 USD, by 1.1 USD, beside the fee of 2.00.
    fees = [one.figures.fees for one in money.values() if not isinstance(one, Invalid)]
    assert fees == [3, 3, 3]


async def test_an_export_by_days_holds_units_that_came_back_before_any_money_moved(store: Store) -> None:
    world = await new_world(store, 6)
    german, later = world.books.orders[0], world.books.orders[5]
    async with store.begin() as tx:
        await chain.keep(tx, [a_piece(german, german.lines[1], 1, 1)])
        await money_line.add(tx, sale(later, later.lines[1], 1, "700"))
    async with store.begin() as tx:
        wanted = ExportWanted(ExportList.PROFIT, by=(Dimension.DAY,), currency="EUR")
        found = await export_rows.read(tx, wanted, PLACES)
        rows: list[dict[str, Any]] = [
            dict(zip(found.columns, row, strict=True)) async for some in found.batches for row in some
        ]
    assert [row["day"] for row in rows] == ["2026-10-31", "2026-11-01"]
    [all_of_it] = (await told(store, [], Ask(currency="EUR"))).values()
    assert sum(row["cost"] for row in rows) == all_of_it[0].cost
