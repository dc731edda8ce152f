"""Stock against a plain model: any turn of check-outs, orders by several roads, parcels, counts, kills, in any order.

HYPOTHESIS_PROFILE=long takes at least 100,000 steps.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from domain.channel import Location, LocationKind
from domain.errors import Conflict, Insufficient, NotFound
from domain.hold import HoldReason, NewHold
from domain.ids import ChannelSku, LineId, LocationCode, OrderId, ReservationId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.order import Order, OrderStatus
from domain.product import FulfilledBy, Listing
from domain.reservation import ReservedLine
from domain.sourcing_rules import Goal, Pace, SourcingRules
from domain.stock import Reading
from store import allocation, fulfillment, hold, intake, ledger, order, product, reservation, sourcing, stock
from store.session import Store
from store.tables import oversale
from tests.conftest import emptied
from tests.store.warehouse import AMAZON, MAIN, SHOP, SIDE, A, B, an_order, balance, entry, expire, kit, place, products

T = TypeVar("T")

settings.register_profile("long", max_examples=500, stateful_step_count=100)
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
LEAST_STEPS = 100_000 if LONG else 150

KIT = Sku("KIT")
MADE_OF = {A: {A: 1}, B: {B: 1}, KIT: {A: 2, B: 1}}
FBA = LocationCode("fba")
PLACES = [place(MAIN), place(SIDE, SHOP), Location(FBA, "fba", LocationKind.FBA, AMAZON, "")]
DAY = timedelta(days=1)
RULES = SourcingRules(
    goals=(Goal.GROUPS, Goal.LATENESS, Goal.PARCELS),
    groups=((SIDE,), (MAIN,)),
    most_parcels=2,
    paces=(Pace(SIDE, orders_per_day=1, units_per_day=3),),
)
CLOSED = (OrderStatus.SHIPPED, OrderStatus.DELIVERED, OrderStatus.CANCELLED)

Key = tuple[LineId, Sku]
Adjusted = dict[tuple[Key, bool], int]


def units_of(lines: dict[Sku, int]) -> Counter[Sku]:
    """The components of what was asked for."""
    units: Counter[Sku] = Counter()
    for sku, quantity in lines.items():
        for component, each in MADE_OF[sku].items():
            units[component] += quantity * each
    return units


@dataclass
class Cart:
    """A reservation, as the model sees it: what it still has, and whether its time or its owner has ended it."""

    id: ReservationId
    has: Counter[Sku]
    committed: bool = False
    reference: str | None = None
    ended: bool = False
    partner: Sale | None = None


@dataclass
class Sale:
    """An order: all its versions, that which was taken last, and what it has of each SKU.

    `holds` are its open ones, and whether each keeps the units for ever. `at_pool` are (kept, left) units of a line at FBA.
    """

    versions: list[Order]
    cart: Cart | None = None
    named: bool = False
    kept: Order | None = None
    promised: Counter[Key] = field(default_factory=Counter)
    left: Counter[Key] = field(default_factory=Counter)
    rows: set[Sku] = field(default_factory=set)
    holds: list[bool] = field(default_factory=list)
    let_go: bool = False
    at_pool: dict[LineId, tuple[int, int]] = field(default_factory=dict)

    def wishes(self) -> Iterator[tuple[Key, int, int]]:
        """(line and SKU, open, shipped) of the kept version."""
        assert self.kept is not None
        for line in self.kept.lines:
            assert line.sku is not None
            open = 0 if self.kept.status in CLOSED or self.let_go else line.quantity_open
            kept, gone = self.at_pool.get(line.id, (0, 0))
            for sku, each in sorted(MADE_OF[line.sku].items()):
                key, wanted, shipped = (line.id, sku), open * each, line.quantity_shipped * each
                if kept or gone:
                    # What the pool keeps or has sent is nobody else's to send, whether or not its channel shows it yet.
                    every = wanted + shipped
                    shipped = max(0, shipped - gone * each)
                    wanted = min(wanted, max(0, every - (kept + gone) * each - max(self.left[key], shipped)))
                yield key, wanted, shipped


@dataclass
class Books:
    """The model: no places and no rows, only what there is of a SKU and who has it. `lost` units were sold while they were there,
    `beyond` were not."""

    on_hand: Counter[Sku] = field(default_factory=Counter)
    elsewhere: Counter[Sku] = field(default_factory=Counter)
    lost: Counter[Sku] = field(default_factory=Counter)
    beyond: Counter[Sku] = field(default_factory=Counter)
    noted: Counter[Key] = field(default_factory=Counter)
    carts: list[Cart] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)

    def promised(self, sku: Sku) -> int:
        by_orders = sum(units for sale in self.sales for (_, its), units in sale.promised.items() if its == sku)
        return by_orders + sum(cart.has[sku] for cart in self.carts)

    def available(self, sku: Sku) -> int:
        return self.on_hand[sku] + self.elsewhere[sku] - self.promised(sku)

    def fits(self, wanted: Counter[Sku]) -> bool:
        return all(self.available(sku) >= units for sku, units in wanted.items())

    def take(self, told: Sequence[Order], adjusted: Adjusted) -> None:
        """Orders came in. `adjusted` were more shipped than counted, by line and by whether they had been promised."""
        sales = [sale for sale in self.sales if self._newer(sale, told)]
        self.settle(sales, adjusted)
        for sale in sales:
            if sale.kept is not None and sale.kept.status in CLOSED:
                sale.holds, sale.let_go = [], False

    def settle(self, sales: Sequence[Sale], adjusted: Adjusted) -> None:
        """What the orders have is brought in step with what they want."""
        sales = sorted(sales, key=lambda sale: _turn(sale.kept))
        # What lies at FBA is not there for what we ship, but by a rule.
        before = {sku: self.on_hand[sku] - self.promised(sku) for sku in (A, B)}
        covered: Counter[Key] = Counter()
        for sale in sales:
            for cart in self._carts_of(sale):
                self._hand_over(sale, cart, covered, before)
        for sale in sales:
            for key, open, shipped in sale.wishes():
                gone = min(max(0, shipped - sale.left[key]), sale.promised[key])
                self._ship(sale, key, gone, adjusted.get((key, True), 0), before)
                sale.promised[key] -= gone
                given_back = max(0, sale.promised[key] - open)
                sale.promised[key] -= given_back
                before[key[1]] += given_back
        for sale in sales:
            for key, open, shipped in sale.wishes():
                sku = key[1]
                unseen, wanted = max(0, shipped - sale.left[key]), open - sale.promised[key]
                fresh = unseen + wanted - covered[key]
                stood = open + shipped - unseen - wanted
                over = max(0, fresh - max(0, before[sku]))
                before[sku] -= fresh
                if over:
                    self.beyond[sku] += over
                    self.noted[key] = max(self.noted[key], min(self.noted[key], stood) + over)
                self._ship(sale, key, unseen, adjusted.get((key, False), 0), before)
                sale.promised[key] += wanted
                if sale.promised[key] or sale.left[key]:
                    sale.rows.add(sku)

    def _newer(self, sale: Sale, told: Sequence[Order]) -> bool:
        versions = [one for one in told if one.id == sale.versions[0].id]
        newest = max(versions, key=lambda one: one.updated_at, default=None)
        if newest is None or (sale.kept is not None and newest.updated_at <= sale.kept.updated_at):
            return False
        sale.kept = newest
        return True

    def _carts_of(self, sale: Sale) -> list[Cart]:
        """What the order came from: named by it, or committed under its name."""
        cart = sale.cart
        if cart is None or cart.ended or not (sale.named or (cart.committed and cart.reference)):
            return []
        return [cart]

    def _hand_over(self, sale: Sale, cart: Cart, covered: Counter[Key], before: dict[Sku, int]) -> None:
        assert sale.kept is not None
        cart.committed = True
        cart.reference = cart.reference or sale.kept.external_id
        for key, open, shipped in sale.wishes():
            lacking = max(0, shipped - sale.left[key]) + open - sale.promised[key]
            taken = min(cart.has[key[1]], max(0, lacking))
            covered[key] += taken
            cart.has[key[1]] -= taken
        for sku, units in cart.has.items():
            before[sku] += units
        cart.has.clear()

    def _ship(self, sale: Sale, key: Key, units: int, adjusted: int, before: dict[Sku, int]) -> None:
        assert adjusted <= units
        sale.left[key] += units
        self.on_hand[key[1]] += adjusted - units
        before[key[1]] += adjusted


def _turn(kept: Order | None) -> tuple[datetime, str]:
    assert kept is not None
    return kept.placed_at, kept.id


SKUS = st.sampled_from([A, B])
SOLD = st.sampled_from([A, A, B, KIT])
HERE = st.sampled_from([MAIN, SIDE])
SOME = st.integers(1, 5)
ANY = st.integers(0, 99)
WANTED = st.lists(st.dictionaries(SOLD, st.integers(1, 3), min_size=1, max_size=2), min_size=1, max_size=4)
TOLD = st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4)


class StockMachine(RuleBasedStateMachine):
    """One step is one transaction, or a few that race."""

    store: ClassVar[Store]
    loop: ClassVar[asyncio.AbstractEventLoop]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.books = Books()
        self.seen = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        await emptied(self.store)
        await products(self.store, A, B, KIT)
        await kit(self.store, KIT, A=2, B=1)
        theirs = ChannelSku("fba-A")
        listing = Listing(
            id="fba-A",  # type: ignore[arg-type]  # any id will do
            channel=AMAZON,
            marketplace="DE",
            channel_sku=theirs,
            external_id="B0A",
            status="BUYABLE",
            fulfilled_by=FulfilledBy.CHANNEL,
            as_of=datetime.now(UTC),
            sku=A,
            title="A",
        )
        async with self.store.begin() as tx:
            await product.upsert_listings(tx, [listing])
            await ledger.post(tx, [entry(sku, 5, kind=EntryKind.OPENING) for sku in (A, B)])
        self.books.on_hand.update({A: 5, B: 5})

    # ── goods ──

    @rule(what=st.sampled_from(["receive", "break", "count", "move", "read"]), sku=SKUS, here=HERE, units=SOME)
    def goods(self, what: str, sku: Sku, here: LocationCode, units: int) -> None:
        """Something happens in a warehouse, or Amazon tells of its pool."""
        there = self.run(balance(self.store, sku, here))[0]
        if what == "receive":
            self._receive(sku, here, units)
        elif what == "break":
            self._break(sku, here, units, there)
        elif what == "count":
            self.run(self._post(entry(sku, units - 1 - there, here, kind=EntryKind.COUNT)))
            self._lose(sku, there - units + 1)
        elif what == "move":
            moved = [(here, -min(units, there)), (SIDE if here == MAIN else MAIN, min(units, there))]
            self.run(self._post(*(entry(sku, count, code, kind=EntryKind.TRANSFER) for code, count in moved)))
        else:
            self.run(self._read(units - 1))

    def _receive(self, sku: Sku, here: LocationCode, units: int) -> None:
        """Delivered three times, twice of these at once."""
        one = entry(sku, units, here, key=str(uuid4()))
        self.run(self._post(one, one))
        self.run(self._post(one))
        self.books.on_hand[sku] += units

    def _break(self, sku: Sku, here: LocationCode, units: int, there: int) -> None:
        one = entry(sku, -units, here, kind=EntryKind.ADJUSTMENT)
        if units > there:
            with pytest.raises(Conflict, match=f"{sku} has {there} units on hand at {here}"):
                self.run(self._post(one))
            return
        self.run(self._post(one))
        self._lose(sku, units)

    async def _read(self, units: int) -> None:
        async with self.store.begin() as tx:
            reading = Reading(FBA, AMAZON, ChannelSku("fba-A"), units, 0, 0, datetime.now(UTC))
            await stock.keep_and_tell(tx, [reading])
        self.books.lost[A] += max(0, self.books.elsewhere[A] - units)
        self.books.elsewhere[A] = units

    # ── check-outs ──

    @rule(wanted=WANTED, killed=st.none() | st.integers(0, 60))
    def check_out(self, wanted: list[dict[Sku, int]], killed: int | None) -> None:
        """Some at once; killed in the middle they are all told again."""
        asked = [(str(uuid4()), lines) for lines in wanted]
        made = self._survived(killed, lambda: self.reserve(asked))
        for id, lines in zip(made, wanted, strict=True):
            if id is not None:
                assert self.books.fits(units_of(lines)), f"{lines} was promised and is not there"
                self.books.carts.append(Cart(id, units_of(lines)))
        # It fell short when it was asked for, so it does now that the others have theirs.
        for id, lines in zip(made, wanted, strict=True):
            assert id is not None or not self.books.fits(units_of(lines)), f"{lines} was refused and is there"

    async def reserve(self, asked: Sequence[tuple[str, dict[Sku, int]]]) -> list[ReservationId | None]:
        return list(await asyncio.gather(*(self._reserve(key, lines) for key, lines in asked)))

    async def _reserve(self, key: str, lines: dict[Sku, int]) -> ReservationId | None:
        try:
            async with self.store.begin() as tx:
                made, _ = await reservation.reserve(
                    tx,
                    requested_by="shop",
                    idempotency_key=key,
                    request_hash="h",
                    lines=[ReservedLine(sku, units) for sku, units in lines.items()],
                    ttl_s=80_000,
                )
        except Insufficient:
            return None
        return made.id

    @precondition(lambda self: self.books.carts)
    @rule(which=ANY)
    def expire(self, which: int) -> None:
        cart = self._cart(which)
        if not cart.committed and not cart.ended:
            self.run(expire(self.store, cart.id))
            cart.ended = True
            cart.has.clear()

    @precondition(lambda self: self.books.carts)
    @rule(which=ANY, killed=st.none() | st.integers(0, 60))
    def commit(self, which: int, killed: int | None) -> None:
        cart = self._cart(which)
        sale = cart.partner
        name = sale.versions[0].external_id if sale is not None and not sale.named else None

        async def commit() -> None:
            async with self.store.begin() as tx:
                await reservation.commit(tx, cart.id, by="shop", places=PLACES, reference=name)

        if cart.ended:
            with pytest.raises(Conflict):
                self.run(commit())
            return
        self._survived(killed, commit)
        if cart.committed:
            return
        cart.committed, cart.reference = True, name
        if name is not None and sale is not None and sale.kept is not None:
            # The order came first: what it has, the reservation has not.
            for sku in list(cart.has):
                if sale.kept.status in CLOSED or sku in sale.rows:
                    del cart.has[sku]

    @precondition(lambda self: self.books.carts)
    @rule(which=ANY)
    def release(self, which: int) -> None:
        cart = self._cart(which)

        async def release() -> None:
            async with self.store.begin() as tx:
                await reservation.release(tx, cart.id, by="shop")

        self.run(release())
        cart.ended = True
        cart.has.clear()

    # ── orders ──

    @rule(
        lines=st.dictionaries(SOLD, st.integers(1, 4), min_size=1, max_size=2),
        channel=st.sampled_from([AMAZON, SHOP]),
        which=st.none() | ANY,
        named=st.booleans(),
        skew=st.integers(0, 3600),
    )
    def order(self, lines: dict[Sku, int], channel: Any, which: int | None, named: bool, skew: int) -> None:
        """Somebody buys; we have not heard of it yet. Clocks of platforms are not ours."""
        cart = self._cart(which) if which is not None and self.books.carts else None
        if cart is not None and cart.partner is not None:
            cart = None
        refs = {"reservation": cart.id} if cart is not None and named else {}
        placed_at = datetime.now(UTC) + timedelta(seconds=skew)
        number = len(self.books.sales) + 1
        first = an_order(number, lines, channel=channel, placed_at=placed_at, status=OrderStatus.PENDING, refs=refs)
        sale = Sale([first], cart, named)
        if cart is not None:
            cart.partner = sale
        self.books.sales.append(sale)

    @precondition(lambda self: self.books.sales)
    @rule(which=ANY, shipped=st.integers(0, 3), less=st.integers(0, 1), more=st.integers(0, 1), end=ANY)
    def go_on(self, which: int, shipped: int, less: int, more: int, end: int) -> None:
        """The order goes on at its platform; we have not heard of that either."""
        self._go_on(self.books.sales[which % len(self.books.sales)], shipped, less, more, end)

    def _go_on(self, sale: Sale, shipped: int, less: int, more: int, end: int) -> None:
        last = sale.versions[-1]
        lines = []
        for line in last.lines:
            quantity = max(line.quantity_shipped, line.quantity - less + more)
            sent = min(quantity, line.quantity_shipped + shipped)
            lines.append(replace(line, quantity=quantity, quantity_shipped=sent))
        status = OrderStatus.PARTIALLY_SHIPPED
        if all(line.quantity_open == 0 for line in lines):
            status = OrderStatus.SHIPPED
        if end % 4 == 0:
            status = OrderStatus.CANCELLED
        sale.versions.append(
            replace(last, lines=lines, status=status, updated_at=last.updated_at + timedelta(minutes=1))
        )

    @precondition(lambda self: self.books.sales)
    @rule(which=TOLD, killed=st.none() | st.integers(0, 90))
    def hear(self, which: list[tuple[int, int]], killed: int | None) -> None:
        """Any versions of any orders, in one page, twice or late."""
        told = []
        for number, version in which:
            versions = self.books.sales[number % len(self.books.sales)].versions
            told.append(versions[version % len(versions)])
        self._hear(killed, told, told)

    @precondition(lambda self: self.books.sales)
    @rule(which=ANY)
    def hear_by_three_roads(self, which: int) -> None:
        """The newest version of one order, told by three at once."""
        newest = [self.books.sales[which % len(self.books.sales)].versions[-1]]
        self._hear(None, newest, newest, newest)

    def _hear(self, killed: int | None, *roads: Sequence[Order]) -> None:
        async def keep(told: Sequence[Order]) -> None:
            async with self.store.begin() as tx:
                await intake.keep_orders(tx, told, PLACES)

        async def all_roads() -> None:
            await asyncio.gather(*(keep(told) for told in roads))

        since = self.run(self._last_entry())
        self._survived(killed, all_roads)
        self.books.take(roads[0], self.run(self._adjusted(since)))

    # ── what always holds ──

    @invariant()
    def adds_up(self) -> None:
        type(self).steps += 1
        self.run(self._adds_up())

    async def _adds_up(self) -> None:
        async with self.store.begin() as tx:
            assert (await ledger.check(tx)).wrong == []
            rows = {row.sku: row for row in await tx.execute(_COUNTS)}
            noted = {
                (row.order_line_id, row.sku): row.units
                for row in await tx.execute(select(oversale.c.order_line_id, oversale.c.sku, oversale.c.units))
            }
        books = self.books
        for sku in (A, B) if rows else ():
            found = rows[sku]
            assert (found.on_hand, found.elsewhere) == (books.on_hand[sku], books.elsewhere[sku]), sku
            assert found.reserved + found.held == books.promised(sku), sku
            # What we promised ourselves was there: only sales of others, and losses, make it too little.
            assert -books.available(sku) <= books.beyond[sku] + books.lost[sku], sku
        assert noted == {key: units for key, units in books.noted.items() if units}

    # ── short hands ──

    def _cart(self, which: int) -> Cart:
        return self.books.carts[which % len(self.books.carts)]

    def _lose(self, sku: Sku, units: int) -> None:
        self.books.on_hand[sku] -= units
        self.books.lost[sku] += max(0, units)

    async def _post(self, *entries: NewEntry) -> None:
        async with self.store.begin() as tx:
            await ledger.post(tx, entries)

    async def _last_entry(self) -> int:
        async with self.store.begin() as tx:
            return await tx.scalar(text("select coalesce(max(id), 0) from stock_entry")) or 0

    async def _adjusted(self, since: int) -> Adjusted:
        """What orders found to be more than was counted: each such entry stands before its shipment."""
        async with self.store.begin() as tx:
            found, _ = await ledger.entries(tx, first=1000)
        adjusted: Counter[tuple[Key, bool]] = Counter()
        pending = 0
        for one in sorted((one for one in found if one.id > since), key=lambda one: one.id):
            if one.entry.kind is EntryKind.ADJUSTMENT:
                pending = one.entry.on_hand
            elif pending:
                assert one.entry.kind is EntryKind.SHIPMENT
                assert one.entry.order_line is not None
                adjusted[(one.entry.order_line, one.entry.sku), one.entry.reserved < 0] += pending
                pending = 0
        return dict(adjusted)

    def _survived(self, killed: int | None, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do the work; where it is killed after so many turns of the loop, do it once more from the start."""

        async def kill(turns: int) -> None:
            task = asyncio.ensure_future(work())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        if killed is not None:
            self.run(kill(killed))
        return self.run(work())


_COUNTS = text(
    """
    select sku, on_hand, reserved, elsewhere, (
        select coalesce(sum(quantity), 0) from reservation_hold hold
        where hold.sku = sku_stock.sku and ended_at is null and expires_at > clock_timestamp()
    ) held
    from sku_stock
    """
)


class ReadThenWrite(StockMachine):
    """The twin, which must be caught: everybody reads what is there, and then everybody takes. Who was killed goes by what it
    read before: what it took itself would be missing now."""

    looked: ClassVar[dict[str, bool]] = {}

    async def reserve(self, asked: Sequence[tuple[str, dict[Sku, int]]]) -> list[ReservationId | None]:
        async with self.store.begin() as tx:
            left = await reservation.promisable(tx, [A, B])
        seen = [
            self.looked.setdefault(key, all(left[sku].units >= units for sku, units in units_of(lines).items()))
            for key, lines in asked
        ]
        return [
            await self._reserve(key, lines) if enough else None
            for (key, lines), enough in zip(asked, seen, strict=True)
        ]


# It is caught at `goods` and `check_out`; the other rules only make that take longer.
for other in ("expire", "commit", "release", "order", "go_on", "hear", "hear_by_three_roads"):
    assert hasattr(StockMachine, other)
    setattr(ReadThenWrite, other, None)

# The counts are kept, the condition is gone.
_BLIND = """
create or replace function acorn_hold() returns trigger language plpgsql as $$
begin
  update sku_stock set held = held + new.quantity where sku = new.sku;
  return null;
end $$
"""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop of its own, which a step may run."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def go(machine: type[StockMachine], url: str, loop: asyncio.AbstractEventLoop, how: settings, *statements: str) -> None:
    """Run the machine on a database of its own, at least once."""
    store = Store(url, application_name="acorn-machine")

    async def prepare() -> None:
        async with store.begin() as tx:
            for statement in statements:
                await tx.execute(text(statement))

    machine.store, machine.loop = store, loop
    try:
        loop.run_until_complete(prepare())
        run_state_machine_as_test(machine, settings=how)
    finally:
        loop.run_until_complete(store.close())


def how(**more: Any) -> settings:
    base = settings.get_profile("long") if LONG else settings(max_examples=3, stateful_step_count=50)
    values: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "suppress_health_check": list(HealthCheck),
        # What races is not replayed alike, so it cannot be shrunk.
        "phases": [Phase.generate],
    }
    return settings(base, **values | more)


def test_stock_is_never_oversold_and_always_adds_up(
    new_database: Callable[[], str], loop: asyncio.AbstractEventLoop
) -> None:
    StockMachine.steps = 0
    url = new_database()
    while StockMachine.steps < LEAST_STEPS:
        go(StockMachine, url, loop, how())


class Ruled(StockMachine):
    """The same where rules choose the places: nothing that the model knows of may change."""

    async def _begin(self) -> None:
        await super()._begin()
        async with self.store.begin() as tx:
            await sourcing.keep_rules(tx, RULES, "test")


def test_rules_choose_places_and_change_no_count(
    new_database: Callable[[], str], loop: asyncio.AbstractEventLoop
) -> None:
    go(Ruled, new_database(), loop, how(max_examples=2))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "news", "news", "hold", "lapse", "release", "move", "fba", "fba"]),
        ANY,
        st.integers(1, 3),
        st.booleans(),
    ),
    min_size=4,
    max_size=12,
)


class Kept(StockMachine):
    """The same while people and rules hold orders, units of held ones lapse, parts are moved, and FBA ships others."""

    @initialize(ruled=st.booleans())
    def begin(self, ruled: bool) -> None:
        self.run(self._begin())
        if ruled:
            self.run(self._rule())

    async def _rule(self) -> None:
        async with self.store.begin() as tx:
            await sourcing.keep_rules(tx, RULES, "test")

    @rule(steps=STEPS)
    def some_steps(self, steps: list[tuple[str, int, int, bool]]) -> None:
        """Many at a time: what goes wrong takes some of them in a row, on one of few orders."""
        for what, which, units, flag in steps:
            known = [sale for sale in self.books.sales if sale.kept is not None]
            if what == "buy" or not known:
                self.order({A: 3 + units} if flag else {KIT: units, B: 2}, SHOP, None, False, 0)
                self._hear(None, self.books.sales[-1].versions)
            else:
                getattr(self, f"_{what}")(known[-1 - which % min(3, len(known))], units, flag)

    def _news(self, sale: Sale, units: int, flag: bool) -> None:
        """It goes on at its channel, and we hear of it at once."""
        self._go_on(sale, units, int(flag), 0, units)
        self._hear(None, sale.versions[-1:])

    def _hold(self, sale: Sale, units: int, forever: bool) -> None:
        assert sale.kept is not None
        if sale.kept.status in CLOSED:
            return
        reason = HoldReason.FRAUD if units > 1 else HoldReason.STOCK
        new = NewHold(sale.kept.id, reason, "Look.", "ann", None if forever else datetime.now(UTC) + DAY)

        async def make() -> bool:
            async with self.store.begin() as tx:
                await order.lock(tx, [new.order])
                changed = await hold.hold(tx, [new], datetime.now(UTC))
                await hold.tell(tx, changed, PLACES)
            return bool(changed)

        if self.run(make()):
            sale.holds.append(forever)
            sale.let_go = False
            self.books.settle([sale], {})

    def _lapse(self, sale: Sale, units: int, killed: bool) -> None:
        """Two look at once, for all orders."""

        async def one() -> None:
            async with self.store.begin() as tx:
                await hold.lapse(tx, datetime.now(UTC) + 2 * DAY, PLACES)

        async def both() -> None:
            await asyncio.gather(one(), one())

        self._survived(20 * units if killed else None, both)
        gone = [sale for sale in self.books.sales if sale.holds and not any(sale.holds)]
        for each in gone:
            each.let_go = True
        self.books.settle(gone, {})

    def _release(self, sale: Sale, units: int, killed: bool) -> None:
        assert sale.kept is not None
        id = sale.kept.id

        async def end() -> None:
            async with self.store.begin() as tx:
                await order.lock(tx, [id])
                changed = await hold.end(tx, [id], "bob", datetime.now(UTC), words="Seen.")
                await hold.tell(tx, changed, PLACES)

        self._survived(20 * units if killed else None, end)
        if sale.holds:
            sale.holds, sale.let_go = [], False
            self.books.settle([sale], {})

    def _move(self, sale: Sale, units: int, force: bool) -> None:
        """From one place to the other, or not; the model knows of no places."""
        assert sale.kept is not None
        id, here = sale.kept.id, MAIN if units > 1 else SIDE
        to = next(one for one in PLACES if one.code != here)

        async def move() -> None:
            async with self.store.begin() as tx:
                await fulfillment.move(tx, id, here, to, by="ann", why="", force=force)

        with suppress(Conflict, NotFound):
            self.run(move())

    def _fba(self, sale: Sale, take: int, drop: bool) -> None:
        """FBA takes units that are ours to send, or sends one that it keeps; or it gives back what it keeps."""
        assert sale.kept is not None
        units: dict[tuple[LocationCode, LineId], tuple[int, int]] = {}
        for line in sale.kept.lines:
            assert line.sku is not None
            kept, gone = sale.at_pool.get(line.id, (0, 0))
            if kept:
                kept, gone = 0 if drop else kept - 1, gone if drop else gone + 1
            elif sale.kept.status not in CLOSED:
                ours = max(sale.left[line.id, sku] // each for sku, each in MADE_OF[line.sku].items())
                kept = min(take, max(0, line.quantity - max(ours, line.quantity_shipped - gone) - gone))
            units[FBA, line.id] = kept, gone
            sale.rows |= set(MADE_OF[line.sku])
        self.run(self._pool(sale.kept.id, units))
        sale.at_pool |= {line: both for (_, line), both in units.items()}
        self.books.settle([sale], {})

    async def _pool(self, id: OrderId, units: dict[tuple[LocationCode, LineId], tuple[int, int]]) -> None:
        async with self.store.begin() as tx:
            found = (await order.lock(tx, [id]))[id]
            await allocation.leave_to_pools(tx, found, units)
            await allocation.settle(tx, [found], PLACES)

    @invariant()
    def each_line_has_what_it_should(self) -> None:
        self.run(self._lines())

    async def _lines(self) -> None:
        async with self.store.begin() as tx:
            rows = {(row.order_line_id, row.sku): row for row in await tx.execute(_BY_LINE)}
        for sale in self.books.sales:
            if sale.kept is None:
                continue
            for line in sale.kept.lines:
                assert line.sku is not None
                for sku, each in MADE_OF[line.sku].items():
                    row = rows.get((line.id, sku))
                    there = (row.promised, row.gone) if row else (0, 0)
                    assert there == (sale.promised[line.id, sku], sale.left[line.id, sku]), (line.id, sku)
                    at_pool = (row.kept, row.sent) if row else (0, 0)
                    assert at_pool == tuple(units * each for units in sale.at_pool.get(line.id, (0, 0)))


_BY_LINE = text(
    f"""
    select order_line_id, sku,
        coalesce(sum(quantity) filter (where location <> '{FBA}'), 0) promised,
        coalesce(sum(shipped) filter (where location <> '{FBA}'), 0) gone,
        coalesce(sum(quantity) filter (where location = '{FBA}'), 0) kept,
        coalesce(sum(shipped) filter (where location = '{FBA}'), 0) sent
    from order_allocation group by order_line_id, sku
    """
)


def test_held_moved_and_shipped_from_fba_an_order_has_its_units_once(
    new_database: Callable[[], str], loop: asyncio.AbstractEventLoop
) -> None:
    go(Kept, new_database(), loop, how(max_examples=2, stateful_step_count=25))


def test_read_then_write_is_caught(new_database: Callable[[], str], loop: asyncio.AbstractEventLoop) -> None:
    quickly = how(max_examples=100, stateful_step_count=15)
    with pytest.raises(AssertionError, match="was promised and is not there"):
        go(ReadThenWrite, new_database(), loop, quickly, _BLIND)


def test_the_machine_meets_what_it_is_for() -> None:
    """The twin of "never oversold": the model itself tells a sale that is beyond what there is."""
    books = Books()
    books.on_hand[A] = 1
    sale = Sale([an_order(lines={A: 3})])
    books.sales.append(sale)
    books.take(sale.versions, {})
    assert (books.available(A), books.beyond[A], sum(books.noted.values())) == (-2, 2, 2)
    assert not books.fits(Counter({A: 1}))
