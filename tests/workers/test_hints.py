"""Hints are reasons to ask: each subject once, within a budget, by the ways that the streams use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from cryptography.fernet import Fernet
from redis.asyncio import Redis
from sqlalchemy import func, select

from adapters.notices import Delivered, Finding, Mailbox, Message, NewSecret
from adapters.port import OrderKey, Page
from domain.budget import Ask, Priority
from domain.chain import Piece, PieceKind
from domain.channel import Location, LocationKind, StreamName
from domain.errors import NotFound, Refused, Throttled, Transient, Unauthorized
from domain.event import EventKind
from domain.finance import Transaction
from domain.hint import Hint, HintKind, HintState
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku, order_id
from domain.money import Money
from domain.order import Order
from domain.product import FulfilledBy, Listing, Rejected, SkuMap
from domain.stock import Reading
from store import chain, channel, event, grant, order, product, quarantine, stock, stream
from store.keyring import Keyring
from store.session import Store
from store.tables import hint as table
from store.tables import money_line as lines_table
from store.tables import sync_stream
from tests.store.bench import give_places
from tests.store.warehouse import PLACES, balance, promisable, stocked
from tests.workers.fake_port import FakePort, make_listing, make_order, make_port
from tests.workers.house import SHORT, make_deps, until, working
from workers import hints as hints_module
from workers.deps import Deps
from workers.hints import MOST_ATTEMPTS, Hints, Listen, take
from workers.watch import end

SHOP = ChannelId("shop")
NOW = datetime.now(UTC)
POOL = Location(LocationCode("fba-us"), "FBA US", LocationKind.FBA, SHOP, "US")


class Platform(FakePort):
    """It can be asked for single listings and tells who asked."""

    listings_batch = 20
    named: list[tuple[str, list[str]]]
    priorities: list[Priority]
    problems: list[Exception]
    pool: dict[str, int]
    refused: set[str]
    away: set[str]
    held: asyncio.Event
    refunded: dict[str, list[Piece]]

    async def listings_named(self, by: str, names: Sequence[str], ask: Ask) -> Page[Listing]:
        self.named.append((by, list(names)))
        return Page([make_listing(self, name if by == "SKU" else "SKU-9") for name in names])

    async def refunds_told(self, key: OrderKey, ask: Ask) -> Page[Piece]:
        return Page(list(self.refunded[key.external_id]))

    async def order(self, key: OrderKey, ask: Ask) -> Order:
        self.priorities.append(ask.priority)
        await self.held.wait()
        if self.problems:
            raise self.problems.pop(0)
        if key.external_id in self.away:
            raise Transient("503")
        if key.external_id not in self.orders:
            raise NotFound("There is no such order.")
        return await super().order(key, ask)

    async def stock(self, locations, keys, ask):  # type: ignore[no-untyped-def]  # as its base's
        self.calls["stock"] += 1
        for key in keys:
            if key.channel_sku in self.refused:
                raise Refused(f"{key.channel_sku} is no SKU.")
        at = datetime.now(UTC)
        return [
            Reading(place.code, SHOP, key.channel_sku, self.pool.get(key.channel_sku, 0), 0, 0, at)
            for place in locations
            for key in keys
        ]


@pytest.fixture
def port() -> Platform:
    made = make_port()
    port = Platform(made.channel)
    port.named, port.priorities, port.problems, port.pool, port.refused = [], [], [], {}, set()
    port.away, port.held, port.refunded = set(), asyncio.Event(), {}
    port.held.set()
    return port


@pytest.fixture
def deps(store: Store, redis: Redis, port: Platform) -> Deps:
    # A pause that ends during the test would let it look again.
    return make_deps(store, redis, [port], locations=[POOL], timing=replace(SHORT, pause_s=600.0))


def _hint(id: str, kind: HintKind, subject: str, at: datetime = NOW) -> Hint:
    return Hint(SHOP, id, kind.value, kind, subject, at)


async def _came(store: Store, *all_of_it: Hint) -> int:
    async with store.begin() as tx:
        return await take(tx, all_of_it)


async def _states(store: Store) -> dict[str, tuple[HintState, str | None]]:
    async with store.begin() as tx:
        rows = await tx.execute(select(table.c.notification_id, table.c.state, table.c.reason))
        return {row.notification_id: (HintState(row.state), row.reason) for row in rows}


def _hints(deps: Deps) -> Hints:
    return Hints(deps, lambda: None)


async def _kept(store: Store, number: str) -> Order | None:
    id = order_id(SHOP, number)
    async with store.begin() as tx:
        return (await order.by_ids(tx, [id])).get(id)


@pytest.mark.parametrize(
    ("whole", "shipped_by", "newer", "asked"),
    [
        (False, FulfilledBy.CHANNEL, False, 0),
        (False, FulfilledBy.CHANNEL, True, 1),
        (False, FulfilledBy.MERCHANT, False, 1),  # it cannot be shipped before it was read
        (True, FulfilledBy.MERCHANT, False, 0),
        (True, FulfilledBy.CHANNEL, True, 1),
    ],
)
async def test_an_order_that_a_report_told_and_the_channel_ships_is_not_read_for_its_hint(
    store: Store, deps: Deps, port: Platform, whole: bool, shipped_by: FulfilledBy, newer: bool, asked: int
) -> None:
    # A report tells whole seconds.
    told_at = NOW.replace(microsecond=0)
    known = replace(make_order(port, "O-1", updated_at=told_at), whole=whole, fulfilled_by=shipped_by)
    port.orders["O-1"] = replace(known, whole=True)
    async with store.begin() as tx:
        await order.upsert(tx, [known])
    event_at = told_at + (timedelta(seconds=5) if newer else timedelta(milliseconds=0 if whole else 700))
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1", event_at))
    work = _hints(deps)
    await work.once()
    assert work.asked == asked
    assert {state for state, _ in (await _states(store)).values()} == {HintState.DONE}


@pytest.mark.parametrize(
    ("named_ago", "known", "hurried"),
    [
        (timedelta(minutes=5), False, True),
        (timedelta(seconds=10), False, False),  # single reads may keep up
        (timedelta(minutes=5), True, False),  # its units are counted already
    ],
)
async def test_a_run_reads_sooner_what_single_reads_do_not_keep_up_with(
    store: Store,
    deps: Deps,
    port: Platform,
    named_ago: timedelta,
    known: bool,
    hurried: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    async with store.begin() as tx:
        await stream.register(tx, SHOP, StreamName.ORDERS, timedelta(minutes=15))
        await stream.claim_due(tx, 60)
        await stream.finished(tx, SHOP, StreamName.ORDERS, now, now - timedelta(minutes=10))
        sketch = replace(make_order(port, "O-1", updated_at=now - timedelta(hours=1)), whole=False)
        await order.upsert(tx, [sketch, make_order(port, "O-2", updated_at=now - timedelta(hours=1))][: 1 + known])
    # What is first in line is known already, and is all that is claimed.
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1", now - timedelta(minutes=9)))
    await _came(store, _hint("n-2", HintKind.ORDER, "O-2", now - named_ago))
    monkeypatch.setattr(hints_module, "AT_ONCE", 1)
    port.problems = [Throttled("No slot in time.", retry_after_s=600.0)]
    await _hints(deps).once()
    async with store.begin() as tx:
        [due_in] = (await tx.execute(select(sync_stream.c.due_at - func.now()))).scalars()
    assert (due_in <= timedelta(0)) is hurried


async def test_an_order_is_read_once_however_often_it_is_told(store: Store, deps: Deps, port: Platform) -> None:
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    for copy in range(10):
        await _came(store, *(_hint(f"n-{one}", HintKind.ORDER, "O-1") for one in range(copy + 1)))
    work = _hints(deps)
    assert await work.once() == 1
    assert (work.asked, port.priorities) == (1, [Priority.HINT])
    kept = await _kept(store, "O-1")
    assert kept is not None
    assert [line.sku for line in kept.lines] == ["SKU-1"]
    assert set(await _states(store)) == {f"n-{one}" for one in range(10)}
    assert {state for state, _ in (await _states(store)).values()} == {HintState.DONE}
    assert await work.once() == 0


async def test_a_hint_older_than_what_we_have_asks_nothing(store: Store, deps: Deps, port: Platform) -> None:
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    async with store.begin() as tx:
        await order.upsert(tx, [port.orders["O-1"]])
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1", NOW - timedelta(hours=1)))
    work = _hints(deps)
    assert await work.once() == 1
    assert (work.asked, work.saved, port.priorities) == (0, 1, [])
    await _came(store, _hint("n-2", HintKind.ORDER, "O-1", NOW + timedelta(seconds=1)))
    await work.once()
    assert (work.asked, work.saved) == (1, 1)


async def test_stock_of_many_skus_is_one_question_and_a_late_hint_asks_nothing(
    store: Store, deps: Deps, port: Platform
) -> None:
    port.pool = {f"SKU-{n}": n for n in range(10)}
    await _came(store, *(_hint(f"n-{n}", HintKind.STOCK, f"SKU-{n}") for n in range(10)))
    work = _hints(deps)
    await work.once()
    assert port.calls["stock"] == 1
    async with store.begin() as tx:
        found = await stock.of_channel_skus(tx, SHOP, [ChannelSku("SKU-7")])
    assert [one.on_hand for one in found[ChannelSku("SKU-7")]] == [7]
    await _came(store, _hint("n-late", HintKind.STOCK, "SKU-7", NOW - timedelta(days=1)))
    await work.once()
    assert (port.calls["stock"], work.saved) == (1, 1)
    # So shortly after a change what was read may not hold it yet.
    await _came(store, _hint("n-now", HintKind.STOCK, "SKU-7", datetime.now(UTC) - timedelta(seconds=30)))
    await work.once()
    assert port.calls["stock"] == 2


async def test_listings_are_read_by_sku_and_offers_by_item(store: Store, deps: Deps, port: Platform) -> None:
    await _came(store, _hint("n-1", HintKind.LISTING, "SKU-1"), _hint("n-2", HintKind.OFFER, "B007"))
    await _hints(deps).once()
    assert sorted(port.named) == [("ITEM", ["B007"]), ("SKU", ["SKU-1"])]
    async with store.begin() as tx:
        assert set(await product.listings_by_skus(tx, ["SKU-1", "SKU-9"])) == {"SKU-1", "SKU-9"}  # type: ignore[list-item]


async def test_a_refund_that_is_told_changes_the_chains_of_its_order(store: Store, deps: Deps, port: Platform) -> None:
    """It is read anew, and the order is told as changed when there was something new."""
    known = make_order(port, "1001")
    async with store.begin() as tx:
        await order.upsert(tx, [known])
    given = Money(Decimal("12.50"), "EUR")
    port.refunded["1001"] = [
        Piece(port.channel.id, PieceKind.REFUNDED, "R1:SKU-1:1", "1001", "SKU-1", 1, NOW, money=given)
    ]
    for id in ("n-1", "n-2"):
        await _came(store, _hint(id, HintKind.REFUND, "1001"))
        await _hints(deps).once()
    async with store.begin() as tx:
        chains = (await chain.by_orders(tx, [known.id]))[known.id]
    await give_places(store)
    async with store.begin() as tx:
        told = await event.after(tx, 0, kinds=[EventKind.ORDER_CHANGED])
    assert [(one.sku, one.pieces[0].money) for one in chains] == [("SKU-1", given)]
    assert [one.subject for one in told] == [known.id]
    assert {state for state, _ in (await _states(store)).values()} == {HintState.DONE}


class Payer(Platform):
    """It tells what moved for an order, too."""

    every: Mapping[StreamName, timedelta] = {StreamName.TRANSACTIONS: timedelta(minutes=30)}

    def transaction_pages(self, since: datetime, ask: Ask) -> AsyncIterator[Page[Transaction]]:
        raise AssertionError("its stream reads all of it, and nobody who was told of one order")

    async def order_transactions(self, key: OrderKey, ask: Ask) -> Page[Transaction]:
        self.calls["order_transactions"] += 1
        moved = Transaction(key.external_id, "RELEASED", "Shipment", NOW, Money(Decimal(85), "USD"))
        return Page([replace(moved, related=(("ORDER_ID", key.external_id),))])


async def test_money_that_moved_is_read_once_for_its_order_and_soon_by_the_stream_where_it_is_of_none(
    store: Store, redis: Redis, port: Platform
) -> None:
    payer = Payer(port.channel)
    payer.refunded = {"1002": []}
    deps = make_deps(store, redis, [payer], locations=[POOL])
    async with store.begin() as tx:
        await stream.register(tx, SHOP, StreamName.TRANSACTIONS, timedelta(minutes=30))
        await stream.finished(tx, SHOP, StreamName.TRANSACTIONS, NOW, NOW)
    early = NOW - timedelta(minutes=10)
    await _came(store, _hint("n-1", HintKind.MONEY, "1001", early), _hint("n-2", HintKind.REFUND, "1002", early))
    await _hints(deps).once()
    async with store.begin() as tx:
        found = (await tx.execute(select(lines_table.c.order_external_id, lines_table.c.amount))).all()
        assert await stream.claim_due(tx, 1.0, 5) == []
    assert sorted(found) == [("1001", Decimal(85)), ("1002", Decimal(85))]
    # What was read since needs no question.
    await _came(store, _hint("n-3", HintKind.MONEY, "1001", early), _hint("n-4", HintKind.MONEY, "", early))
    await _hints(deps).once()
    assert payer.calls["order_transactions"] == 2
    async with store.begin() as tx:
        assert [one.name for one in await stream.claim_due(tx, 1.0, 5)] == [StreamName.TRANSACTIONS]
    assert {state for state, _ in (await _states(store)).values()} == {HintState.DONE}


async def test_an_end_that_is_waited_for_asks_nothing(store: Store, deps: Deps) -> None:
    kinds = (HintKind.REPORT, HintKind.FEED, HintKind.QUERY, HintKind.FULFILLMENT, HintKind.ACCOUNT)
    await _came(store, *(_hint(f"n-{kind.value}", kind, "77") for kind in kinds))
    work = _hints(deps)
    assert (await work.once(), work.asked) == (5, 0)
    assert {state for state, _ in (await _states(store)).values()} == {HintState.DONE}


async def test_no_slot_costs_no_attempt_and_a_failure_is_tried_again_a_while(
    store: Store, deps: Deps, port: Platform
) -> None:
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    port.problems = [Throttled("No slot.", retry_after_s=0.0), Transient("503")]
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1"))
    work = _hints(deps)
    await work.once()
    assert await _states(store) == {"n-1": (HintState.NEW, "No slot.")}
    await work.once()
    assert await _states(store) == {"n-1": (HintState.NEW, "503")}
    assert await work.once() == 0
    async with store.begin() as tx:
        assert await tx.scalar(select(table.c.attempts)) == 1
        await tx.execute(table.update().values(due_at=NOW))
    await work.once()
    assert (await _states(store))["n-1"][0] is HintState.DONE


async def test_a_forged_order_is_asked_for_in_vain_and_leaves_nothing_but_its_row(
    store: Store, deps: Deps, port: Platform
) -> None:
    await _came(store, _hint("n-1", HintKind.ORDER, "O-FORGED"))
    work = _hints(deps)
    for _ in range(MOST_ATTEMPTS):
        assert await work.once() == 1
        async with store.begin() as tx:
            await tx.execute(table.update().values(due_at=NOW))
    assert await _states(store) == {"n-1": (HintState.QUARANTINED, "There is no such order.")}
    assert await work.once() == 0
    assert await _kept(store, "O-FORGED") is None


async def test_a_name_that_the_platform_refuses_hides_no_other(store: Store, deps: Deps, port: Platform) -> None:
    port.refused = {"SKU-3"}
    await _came(store, *(_hint(f"n-{n}", HintKind.STOCK, f"SKU-{n}") for n in range(10)))
    await _hints(deps).once()
    states = await _states(store)
    assert states.pop("n-3") == (HintState.QUARANTINED, "SKU-3 is no SKU.")
    assert {state for state, _ in states.values()} == {HintState.DONE}
    assert port.calls["stock"] <= 9


@asynccontextmanager
async def _running(work: Hints) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        await end([task])


async def test_a_slow_answer_is_no_sign_of_death(store: Store, deps: Deps, port: Platform) -> None:
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1"))
    port.held = asyncio.Event()
    pulses = 0

    def pulse() -> None:
        nonlocal pulses
        pulses += 1
        if pulses == 2:
            port.held.set()

    # Nobody but the second pulse lets the platform answer.
    async with _running(Hints(deps, pulse)), asyncio.timeout(30):
        while (await _states(store))["n-1"][0] is not HintState.DONE:
            await asyncio.sleep(0.01)


async def test_a_channel_that_answers_slowly_holds_up_no_other(store: Store, redis: Redis, port: Platform) -> None:
    quick = make_port("quick")
    quick.orders["O-2"] = make_order(quick, "O-2", updated_at=NOW)
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    port.held = asyncio.Event()
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1"))
    async with _running(Hints(make_deps(store, redis, [port, quick]), lambda: None)), asyncio.timeout(30):
        while not port.priorities:
            await asyncio.sleep(0.01)
        await _came(store, replace(_hint("n-2", HintKind.ORDER, "O-2"), channel=ChannelId("quick")))
        while (await _states(store))["n-2"][0] is not HintState.DONE:
            await asyncio.sleep(0.01)
        assert (await _states(store))["n-1"][0] is HintState.NEW
        port.held.set()
        while (await _states(store))["n-1"][0] is not HintState.DONE:
            await asyncio.sleep(0.01)


async def test_refused_credentials_pause_the_channel_and_cost_nothing(store: Store, deps: Deps, port: Platform) -> None:
    port.problems = [Unauthorized("The consent was withdrawn.")]
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1"))
    work = _hints(deps)
    await work.once()
    async with store.begin() as tx:
        assert set(await channel.states(tx)) == {SHOP}
        assert await tx.scalar(select(table.c.attempts)) == 0
    assert await work.once() == 0


async def test_a_failure_of_ours_stays_with_its_hint(store: Store, deps: Deps, port: Platform) -> None:
    port.orders["O-2"] = make_order(port, "O-2", updated_at=NOW)
    port.problems = [ZeroDivisionError()]
    await _came(store, _hint("n-1", HintKind.ORDER, "O-1"))
    await _came(store, _hint("n-2", HintKind.ORDER, "O-2"))
    await _hints(deps).once()
    states = await _states(store)
    assert states["n-1"] == (HintState.NEW, "Unexpected ZeroDivisionError.")
    assert states["n-2"][0] is HintState.DONE


async def test_an_order_that_cannot_be_kept_delays_no_other(store: Store, deps: Deps, port: Platform) -> None:
    for number in ("O-1", "O-2", "O-3"):
        # PostgreSQL keeps no NUL.
        word = "\x00" if number == "O-2" else "open"
        port.orders[number] = replace(make_order(port, number, updated_at=NOW), channel_status=word)
        await _came(store, _hint(f"n-{number}", HintKind.ORDER, number))
    await _hints(deps).once()
    states = {id: state for id, (state, _) in (await _states(store)).items()}
    assert states == {"n-O-1": HintState.DONE, "n-O-2": HintState.NEW, "n-O-3": HintState.DONE}
    assert await _kept(store, "O-3") is not None


def _secret(text: str = "amzn1.oa2-cs.v1.new") -> NewSecret:
    return NewSecret(SHOP, "client", text, NOW + timedelta(days=180), NOW + timedelta(days=7))


@dataclass(slots=True)
class Box:
    """A queue in memory."""

    messages: dict[str, bytes]
    deleted: list[str] = field(default_factory=list)
    problems: list[Exception] = field(default_factory=list)

    async def receive(self) -> Sequence[Message]:
        if self.problems:
            raise self.problems.pop(0)
        await asyncio.sleep(0.01)
        return [Message(receipt, body) for receipt, body in self.messages.items() if receipt not in self.deleted][:10]

    async def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += [one.receipt for one in messages]


@dataclass(slots=True)
class Boxed:
    """Its source: a message names an order, which may be of units of SKU-1, or a "secret"; "?" is not understood."""

    box: Box
    channels: tuple[ChannelId, ...] = (SHOP,)

    def understood(self, raw: bytes) -> Delivered | None:
        if raw == b"?":
            return Rejected(SHOP, "notification", "?", "it is no JSON", "")
        if raw.startswith(b"secret "):
            return _secret(raw.decode().removeprefix("secret "))
        number, _, units = raw.decode().partition(" of ")
        hint = _hint(f"n-{number}", HintKind.ORDER, number)
        return replace(hint, open={ChannelSku("SKU-1"): int(units)}) if units else hint

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Mailbox]:
        yield self.box


async def test_messages_are_kept_before_they_are_deleted_and_poison_is_put_aside(store: Store, deps: Deps) -> None:
    box = Box({"r-1": b"O-1", "r-2": b"?", "r-3": b"O-1"})
    await Listen(deps, Boxed(box), lambda: None).once(box)
    assert sorted(box.deleted) == ["r-1", "r-2", "r-3"]
    assert set(await _states(store)) == {"n-O-1"}
    async with store.begin() as tx:
        assert await quarantine.count(tx) == 1


async def test_what_an_order_is_told_to_have_sold_is_held_before_the_order_is_read(
    store: Store, deps: Deps, port: Platform
) -> None:
    # Nothing of it has been listed yet: what the channel calls so is ours by the same rules as in an order.
    ours, theirs = Sku("OURS-1"), ChannelSku("SKU-1")
    await stocked(store, **{ours: 3})
    deps = replace(deps, locations=[POOL, *PLACES], sku_map=SkuMap({(SHOP, theirs): ours}))
    box = Box({"r-0": b"O-0 of 1000000000", "r-1": b"O-1 of 2", "r-2": b"O-1 of 2", "r-3": b"O-3"})
    await Listen(deps, Boxed(box), lambda: None).once(box)
    assert sorted(box.deleted) == ["r-0", "r-1", "r-2", "r-3"], "what cannot be held holds up nothing"
    assert set(await _states(store)) == {"n-O-0", "n-O-1", "n-O-3"}
    assert (await balance(store, ours), await promisable(store, ours)) == ((3, 0), 1)
    told = make_order(port, "O-1", updated_at=NOW)
    line = replace(told.lines[0], channel_sku=theirs, quantity=2)
    port.orders["O-1"] = replace(told, lines=[line])
    await _hints(deps).once()
    assert await _kept(store, "O-1") is not None
    assert (await balance(store, ours), await promisable(store, ours)) == ((3, 2), 1)


async def test_what_is_held_for_an_order_that_the_channel_does_not_know_is_let_go(
    store: Store, deps: Deps, port: Platform
) -> None:
    ours = Sku("SKU-1")
    await stocked(store, **{ours: 3})
    deps = replace(deps, locations=[POOL, *PLACES])
    box = Box({"r-0": b"O-FORGED of 1", "r-1": b"O-AWAY of 1"})
    await Listen(deps, Boxed(box), lambda: None).once(box)
    port.away = {"O-AWAY"}
    left = []
    for _ in range(MOST_ATTEMPTS):
        left.append(await promisable(store, ours))
        await _hints(deps).once()
        async with store.begin() as tx:
            await tx.execute(table.update().values(due_at=NOW))
    assert {state for state, _ in (await _states(store)).values()} == {HintState.QUARANTINED}
    # What is asked for a last time may still have been too young before; where nobody answered, all that was told may be so.
    assert (left, await promisable(store, ours)) == ([1] * MOST_ATTEMPTS, 2)


async def test_a_new_secret_is_kept_encrypted_and_the_one_before_as_long_as_it_lives(store: Store, deps: Deps) -> None:
    ring = Keyring((Fernet.generate_key().decode(),))
    box = Box({"r-1": b"secret v1.new", "r-2": b"secret v1.new"})
    await Listen(replace(deps, ring=ring), Boxed(box), lambda: None).once(box)
    assert sorted(box.deleted) == ["r-1", "r-2"]
    assert (await grant.Grants(store, ring).kept(SHOP, "client")).secrets == ("v1.new",)
    async with store.begin() as tx:
        assert await quarantine.count(tx) == 0


@pytest.mark.parametrize("lost_key", [False, True])
async def test_a_secret_that_cannot_be_kept_waits_in_the_queue_and_hides_no_hint(
    store: Store, deps: Deps, lost_key: bool
) -> None:
    ring, other = (Keyring((Fernet.generate_key().decode(),)) for _ in range(2))
    if lost_key:
        async with store.begin() as tx:
            await grant.keep_secret(tx, ring, "client", "v1.old", expires_at=None, previous_expires_at=None)
    box = Box({"r-1": b"O-1", "r-2": b"secret v1.new", "r-3": b"O-2"})
    await Listen(replace(deps, ring=other if lost_key else Keyring()), Boxed(box), lambda: None).once(box)
    assert sorted(box.deleted) == ["r-1", "r-3"]
    assert set(await _states(store)) == {"n-O-1", "n-O-2"}
    async with store.begin() as tx:
        (waits,) = await quarantine.recent(tx)
    assert waits.rejected.what == "secret"
    assert "v1.new" not in repr(waits)
    await Listen(replace(deps, ring=ring), Boxed(box), lambda: None).once(box)
    assert (await grant.Grants(store, ring).kept(SHOP, "client")).secrets[0] == "v1.new"
    assert "r-2" in box.deleted


async def test_what_cannot_be_kept_is_not_deleted(store: Store, deps: Deps) -> None:
    box = Box({"r-1": b"O-1"})

    class Away(Store):
        def __init__(self) -> None:
            pass

        def begin(self):  # type: ignore[no-untyped-def]  # as its base's
            raise OSError("connection refused")

    with pytest.raises(OSError, match="refused"):
        await Listen(replace(deps, store=Away()), Boxed(box), lambda: None).once(box)
    assert box.deleted == []
    await Listen(deps, Boxed(box), lambda: None).once(box)
    assert box.deleted == ["r-1"]


async def test_a_worker_empties_the_queue_and_looks_after_what_came(store: Store, deps: Deps, port: Platform) -> None:
    port.orders["O-1"] = make_order(port, "O-1", updated_at=NOW)
    box = Box({"r-1": b"O-1"}, problems=[Transient("SQS is away.")])

    async def known() -> bool:
        return await _kept(store, "O-1") is not None

    async with working(replace(deps, sources=[Boxed(box)])):
        await until(known)
    assert box.deleted == ["r-1"]


@dataclass(slots=True)
class Missing:
    """Subscriptions of which some are missing."""

    told: list[str]

    async def wrong(self, ask: Ask) -> list[str]:
        return self.told

    async def ensure(self, ask: Ask, *, apply: bool) -> list[Finding]:
        raise AssertionError("only people ask for this")


async def test_missing_subscriptions_are_an_ailment_until_they_are_there(
    store: Store, deps: Deps, port: Platform
) -> None:
    port.every = {**port.every, StreamName.NOTIFICATIONS: timedelta(seconds=0)}
    desk = Missing(["ORDER_CHANGE: it is not subscribed"])

    async def error() -> str | None:
        async with store.begin() as tx:
            return next(
                (one.last_error for one in await stream.states(tx) if one.name is StreamName.NOTIFICATIONS), "?"
            )

    async def ill() -> bool:
        return "ORDER_CHANGE: it is not subscribed" in (await error() or "")

    async def well() -> bool:
        async with store.begin() as tx:
            await stream.force(tx, SHOP, StreamName.NOTIFICATIONS)
        return await error() is None

    async with working(replace(deps, subscriptions={SHOP: desk})):
        await until(ill)
        desk.told = []
        await until(well)
