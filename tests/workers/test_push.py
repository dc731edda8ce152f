"""What becomes of numbers on their way to the channels, whatever the channels answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import func, select, update

from adapters.port import BeforeSend, Receipt, StockWrite
from domain.budget import Ask
from domain.channel import LEDGER, Location, LocationKind, StreamName
from domain.errors import HouseError, MissingRole, OtherNumber, Throttled, Transient, Unauthorized
from domain.event import EventKind
from domain.ids import LocationCode, RuleId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.rule import LastUnits, Rule
from store import channel, drift, intake, ledger, rule, stock_push, stream
from store.session import Store
from store.stock_push import Errand
from store.tables import channel_stock, sku_stock, stock_balance, sync_stream
from store.tables import event as event_table
from tests.workers.fake_port import FakePort, Fault, make_order, make_port
from tests.workers.house import until
from tests.workers.market import AMAZON, BERLIN, PLACE, SHOP, Market, make_market, read_orders
from workers import push as push_module
from workers import push_verdict
from workers.push import Push


class _Killed(BaseException):
    """The process is gone."""


@pytest.fixture
async def market(store: Store, redis: Redis) -> Market:
    return await make_market(store, redis)


@pytest.fixture
async def resting(market: Market) -> Market:
    """Ten of A are told and seen everywhere."""
    await market.sell("A", stock=10)
    await market.rested()
    return market


async def _true(value: bool) -> bool:
    return value


async def _leases_over(store: Store) -> None:
    async with store.begin() as tx:
        await tx.execute(update(channel_stock).values(lease_until=None))


async def test_a_number_is_told_and_seen(resting: Market) -> None:
    assert resting.shown() == (10, 10)
    for id in (SHOP, AMAZON):
        [push] = await resting.pushes(id)
        row = await resting.row(id)
        assert (push.quantity, push.expected, push.cause) == (10, None, "CHANGE")
        assert push.sent_at <= push.accepted_at < push.confirmed_at == row.confirmed_at
        assert (row.told, row.shown, row.due_at, row.attempts, row.push_id) == (10, 10, None, 0, push.id)
    # Nothing is left to be done, so nobody does anything.
    calls = resting.shop.calls.copy()
    await resting.settle()
    assert resting.shop.calls == calls


async def test_nothing_is_told_before_the_channels_orders_have_been_read_once(store: Store, redis: Redis) -> None:
    market = await make_market(store, redis, orders_read=False)
    await market.sell("A", stock=10)
    await market.settle()
    assert (market.shop.calls["tell"], (await market.row(SHOP)).target) == (0, 10)
    await read_orders(store, SHOP)
    await market.settle()
    assert (market.shop.calls["tell"], market.amazon.calls["tell"]) == (1, 0)


async def test_nothing_is_told_of_what_was_never_counted(market: Market) -> None:
    await market.sell("A")
    await market.settle()
    row = await market.row(SHOP)
    assert (row.target, row.due_at, market.shop.calls["tell"]) == (0, None, 0)
    await market.count("A", 0)
    await market.settle()
    assert market.shop.calls["tell"] == 1


async def test_a_paused_channel_is_told_when_it_is_resumed(market: Market) -> None:
    async with market.store.begin() as tx:
        await channel.pause(tx, SHOP, "Consent withdrawn.", 60.0)
    await market.sell("A", stock=10)
    await market.settle()
    assert (market.shop.calls["tell"], market.amazon.calls["tell"]) == (0, 1)
    async with market.store.begin() as tx:
        await channel.resume(tx, SHOP)
    await market.rested()
    assert market.shown() == (10, 10)


async def test_a_number_that_changes_in_flight_is_followed_by_the_newest_at_once(resting: Market) -> None:
    async def sold_meanwhile(writes: Sequence[StockWrite]) -> None:
        resting.amazon.telling = None
        await resting.count("A", -3)
        await resting.propagate()

    resting.amazon.telling = sold_meanwhile
    resting.amazon.visibility_lag_s = 30.0
    await resting.count("A", -1)
    await resting.settle()
    await resting.tell()
    assert [push.quantity for push in await resting.pushes(AMAZON)] == [10, 9, 6]
    assert (await resting.row(AMAZON)).told == 6


async def test_what_is_due_during_a_call_goes_with_the_next_and_waits_for_no_lost_answer(
    resting: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sku in "BCD":
        await resting.sell(sku, SHOP, stock=10)
    await resting.rested()
    monkeypatch.setattr(push_module, "GATHER_S", 600.0)
    monkeypatch.setattr(push_module, "IDLE_S", 0.02)
    begun, ended, calls = asyncio.Event(), asyncio.Event(), list[list[str]]()

    async def slow(writes: Sequence[StockWrite]) -> None:
        calls.append([write.key.channel_sku for write in writes])
        if len(calls) == 1:
            begun.set()
            await ended.wait()

    resting.shop.telling = slow
    await resting.count("A", -1)
    await resting.propagate()
    await resting.push.once()
    await begun.wait()
    for sku in "BCD":
        await resting.count(sku, -1)
        await resting.propagate()
    assert len(calls) == 1
    # The answer to the first may be lost: then the others go without it.
    monkeypatch.setattr(push_module, "GATHER_S", 0.0)
    await until(lambda: _true(len(calls) == 2))
    ended.set()
    await resting.push.idle()
    assert [sorted(call) for call in calls] == [["A"], ["B", "C", "D"]]


async def test_a_lower_number_does_not_wait_for_the_read_back_of_a_raise(resting: Market) -> None:
    for port in (resting.shop, resting.amazon):
        port.visibility_lag_s = 60.0
    await resting.count("A", 5)
    await resting.settle()
    await resting.count("A", -9)
    await resting.settle()
    pushes = await resting.pushes(SHOP)
    assert [(push.quantity, push.expected) for push in pushes] == [(10, None), (15, 10), (6, 15)]
    assert [push.confirmed_at is None for push in pushes] == [False, True, True]


async def test_lowered_numbers_go_first_and_then_the_smallest(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(push_module.WIDTH, Errand.TELL, 1)
    market.shop.tell_batch = 1
    for sku, units in (("A", 10), ("B", 20), ("C", 3), ("D", 4)):
        await market.sell(sku, SHOP, stock=units)
    await market.rested()
    sent: list[tuple[str, int]] = []

    async def note(writes: Sequence[StockWrite]) -> None:
        sent.extend((write.key.channel_sku, write.quantity) for write in writes)

    market.shop.telling = note
    for sku, change in (("A", 1), ("B", -1), ("C", 5), ("D", -1)):
        await market.count(sku, change)
    await market.settle()
    assert sent == [("D", 3), ("B", 19), ("C", 8), ("A", 11)]


async def test_a_worker_killed_between_send_and_record_is_followed_by_the_same_number(
    resting: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _killed_at(resting, monkeypatch, "after_tell")
    assert (await resting.row(SHOP)).attempts == 1
    await resting.rested()
    assert resting.shown() == (7, 7)
    # The same write once more: the shop took it for what it was.
    assert [push.quantity for push in await resting.pushes(SHOP)] == [10, 7]
    assert [effect.after for effect in resting.shop.number_effects] == [10, 7]


async def test_a_number_that_goes_back_while_its_worker_is_dead_is_told_again(
    resting: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _killed_at(resting, monkeypatch, "after_tell")
    await resting.count("A", 3)
    await resting.rested()
    assert resting.shown() == (10, 10)
    assert (await resting.row(SHOP)).confirmed_at is not None


@pytest.mark.parametrize("place", ["before_tell", "before_shown_record"])
async def test_wherever_a_worker_dies_the_number_arrives(
    resting: Market, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    await _killed_at(resting, monkeypatch, place)
    await resting.rested()
    assert resting.shown() == (7, 7)


async def _killed_at(market: Market, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Three of A are sold, and the worker that carries it dies there; its leases run out."""
    deaths = 0

    def die(name: str) -> None:
        nonlocal deaths
        if name == place:
            deaths += 1
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(push_module, "point", die)
        await market.count("A", -3)
        await market.propagate()

        async def dead() -> bool:
            await market.push.once()
            await asyncio.gather(*market.push._running.values(), return_exceptions=True)
            return deaths > 1

        await until(dead)
    await _leases_over(market.store)


async def test_a_sale_of_the_channels_own_is_confirmed_without_a_write(resting: Market) -> None:
    assert resting.shop.buy("A", PLACE, 2)
    await resting.count("A", -2)
    await resting.settle()
    row = await resting.row(SHOP)
    assert (row.told, row.shown, row.due_at, row.error_code) == (8, 8, None, None)
    assert row.confirmed_at is not None
    assert [effect.by for effect in resting.shop.number_effects] == ["told", "bought"]
    [_, push] = await resting.pushes(SHOP)
    assert (push.quantity, push.accepted_at, push.confirmed_at is None) == (8, None, False)


async def test_a_higher_number_than_expected_is_written_over_at_once(resting: Market) -> None:
    resting.shop.edit("A", PLACE, 50)
    await resting.count("A", 1)
    await resting.rested()
    assert resting.shown() == (11, 11)
    assert [(push.quantity, push.expected) for push in await resting.pushes(SHOP)] == [(10, None), (11, 10), (11, 50)]


async def test_a_lower_number_than_expected_is_not_raised_before_the_orders_are_read(resting: Market) -> None:
    assert resting.shop.buy("A", PLACE, 2)
    await resting.count("A", 5)
    await resting.settle()
    row = await resting.row(SHOP)
    assert (row.error_code, row.shown, row.target, row.told) == ("UNSEEN_SALE", 8, 15, 10)
    await until(lambda: _orders_forced(resting))
    for _ in range(3):
        await resting.hurry()
        await resting.settle()
    assert (resting.shop.number("A", PLACE), resting.shop.calls["tell"]) == (8, 2)
    # The run finds the order, which takes its units, and the number is told as it then is.
    await resting.count("A", -2)
    await read_orders(resting.store, SHOP)
    await resting.hurry()
    # The targets come first: what was sold must be in them.
    await resting.tell()
    assert resting.shop.calls["tell"] == 2
    await resting.propagate()
    await resting.hurry()
    await resting.rested()
    assert resting.shown() == (13, 13)
    assert [effect.after for effect in resting.shop.number_effects] == [10, 8, 13]


async def _orders_forced(market: Market) -> bool:
    await market.hurry()
    await market.tell()
    c = sync_stream.c
    async with market.store.begin() as tx:
        forced = await tx.scalar(select(c.forced).where(c.channel == SHOP, c.name == StreamName.ORDERS.value))
    return forced is True


async def _long_ago(market: Market) -> None:
    """Whatever the shop was seen to show was seen six minutes ago."""
    earlier = channel_stock.c.shown_at - timedelta(minutes=6)
    async with market.store.begin() as tx:
        await tx.execute(update(channel_stock).where(channel_stock.c.channel == SHOP).values(shown_at=earlier))


async def test_a_raise_waits_as_long_as_the_orders_cannot_be_read(resting: Market) -> None:
    resting.shop.buy("A", PLACE, 2)
    await resting.count("A", 5)
    await resting.settle()
    async with resting.store.begin() as tx:
        await stream.failed(tx, SHOP, StreamName.ORDERS, "The shop does not answer.", 60.0)
        assert await stock_push.waiting_for_orders(tx, SHOP, timedelta(minutes=5)) == 0
    await _long_ago(resting)
    for _ in range(3):
        await resting.hurry()
        await resting.settle()
    assert (resting.shop.number("A", PLACE), len(await resting.pushes(SHOP))) == (8, 2)
    async with resting.store.begin() as tx:
        assert await stock_push.waiting_for_orders(tx, SHOP, timedelta(minutes=5)) == 1
        assert await stock_push.waiting_for_orders(tx, AMAZON, timedelta(minutes=5)) == 0
    await read_orders(resting.store, SHOP)
    await resting.hurry()
    await resting.rested()
    assert resting.shown() == (15, 15)


async def test_a_run_that_was_under_way_when_the_number_was_seen_may_have_read_too_early(resting: Market) -> None:
    async with resting.store.begin() as tx:
        await stream.force(tx, SHOP, StreamName.ORDERS)
        await stream.claim_due(tx, 60.0, 100)
    resting.shop.buy("A", PLACE, 2)
    await resting.count("A", 5)
    await resting.settle()
    now = datetime.now(UTC)
    async with resting.store.begin() as tx:
        await stream.finished(tx, SHOP, StreamName.ORDERS, now, now + timedelta(minutes=1))
    await until(lambda: _orders_forced(resting))
    assert resting.shop.number("A", PLACE) == 8


async def test_a_raise_waits_for_its_target_a_minute_and_no_longer(resting: Market) -> None:
    resting.shop.buy("A", PLACE, 2)
    await resting.count("A", 5)
    await resting.settle()
    await until(lambda: _orders_forced(resting))
    await resting.count("A", -2)
    await read_orders(resting.store, SHOP)
    await resting.hurry()
    await resting.tell()
    assert resting.shop.number("A", PLACE) == 8
    await _long_ago(resting)
    await resting.hurry()
    await resting.tell()
    await until(lambda: _shop_shows(resting, 15))


async def _shop_shows(market: Market, units: int) -> bool:
    return market.shop.number("A", PLACE) == units


async def test_what_was_bought_before_the_read_back_is_not_raised_over_either(resting: Market) -> None:
    await resting.count("A", -2)
    await resting.propagate()
    resting.shop.shown_faults.extend([Transient("Not now.")] * 2)

    async def told() -> bool:
        await resting.tell()
        return resting.shop.number("A", PLACE) == 8

    await until(told)
    resting.shop.shown_faults.clear()
    resting.shop.buy("A", PLACE, 3)
    await resting.hurry()
    await resting.rested()
    row = await resting.row(SHOP)
    assert (row.told, row.shown) == (8, 5)
    await resting.count("A", 4)
    await resting.settle()
    await resting.hurry()
    await resting.settle()
    assert ((await resting.row(SHOP)).error_code, resting.shop.number("A", PLACE)) == ("UNSEEN_SALE", 5)


MUNICH = Location(LocationCode("MUC"), "Munich", LocationKind.WAREHOUSE, LEDGER, "MUC", shown={SHOP: "Munich"})


async def test_a_sale_from_another_place_than_ours_is_set_right_and_no_drift(store: Store, redis: Redis) -> None:
    market = await make_market(store, redis, locations=[BERLIN, MUNICH])
    await market.sell("A", stock=5)
    async with store.begin() as tx:
        entry = NewEntry(Sku("A"), MUNICH.code, EntryKind.ADJUSTMENT, "a test", "tests", "test", on_hand=3)
        await ledger.post(tx, [entry])
    await market.rested()
    assert _in_places(market) == [5, 3]
    # The shop sells two from Munich; we take them from Berlin.
    assert market.shop.buy("A", "Munich", 2)
    await _sold(market, [BERLIN, MUNICH])
    async with store.begin() as tx:
        taken = await tx.scalars(select(stock_balance.c.location).where(stock_balance.c.reserved > 0))
        assert list(taken) == [BERLIN.code]

    async def set_right() -> bool:
        await market.propagate()
        await market.hurry()
        await market.tell()
        await read_orders(store, SHOP)
        return _in_places(market) == [3, 3]

    await until(set_right)
    await market.rested()
    assert _in_places(market) == [3, 3]
    assert [effect.after for effect in market.shop.number_effects if effect.place == "Munich"] == [3, 1, 3]
    async with store.begin() as tx:
        assert await drift.counts(tx, SHOP) == []


async def test_a_sale_from_the_place_that_we_took_it_from_is_only_looked_at(store: Store, redis: Redis) -> None:
    market = await make_market(store, redis, locations=[BERLIN, MUNICH])
    await market.sell("A", stock=5)
    await market.rested()
    assert market.shop.buy("A", PLACE, 2)
    await _sold(market, [BERLIN, MUNICH])
    await market.rested()
    assert _in_places(market) == [3, 0]
    assert [effect.by for effect in market.shop.number_effects] == ["told", "told", "bought"]


async def test_of_a_shop_with_one_place_nothing_is_read_back_for_its_orders(resting: Market) -> None:
    assert resting.shop.buy("A", PLACE, 2)
    await _sold(resting, [BERLIN])
    assert (await resting.row(SHOP)).confirmed_at is not None


def _in_places(market: Market) -> list[int | None]:
    return [market.shop.number("A", place) for place in (PLACE, "Munich")]


async def _sold(market: Market, places: Sequence[Location]) -> None:
    """The order of two of A, that the shop's buyer made, comes in."""
    order = make_order(market.shop, "O-1", sku="A")
    mapped = replace(order, lines=[replace(line, sku=Sku("A")) for line in order.lines])
    async with market.store.begin() as tx:
        await intake.keep_orders(tx, [mapped], places)


async def test_numbers_that_are_confirmed_are_told_of_and_nothing_is_computed_for_it(resting: Market) -> None:
    await resting.sell("B", stock=4)
    await resting.rested()
    await resting.count("A", -1)
    await resting.count("B", -1)
    await resting.propagate()
    e, s = event_table.c, sku_stock.c
    async with resting.store.begin() as tx:
        before = await tx.scalar(select(func.max(e.id)))
        versions = list(await tx.scalars(select(s.version).order_by(s.sku)))

    async def confirmed() -> bool:
        await resting.hurry()
        await resting.tell()
        rows = [await resting.row(id, sku) for id in (SHOP, AMAZON) for sku in "AB"]
        return all(row.confirmed_at is not None for row in rows)

    await until(confirmed)
    async with resting.store.begin() as tx:
        told = list(await tx.scalars(select(e.subject).where(e.id > before).order_by(e.id)))
        assert list(await tx.scalars(select(s.version).order_by(s.sku))) == versions
        assert await tx.scalar(select(func.count()).where(s.dirty_since.is_not(None))) == 0
    # Once for each channel that was seen to show it.
    assert sorted(told) == ["A", "A", "B", "B"]


async def test_a_call_that_told_many_numbers_is_one_line(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="workers.push")
    for number in range(5):
        await market.sell(f"A{number}", SHOP, stock=number)
    await market.rested()
    told = [record.__dict__ for record in caplog.records if record.message == "stock.told"]
    assert [(record["channel"], record["count"]) for record in told] == [(SHOP, 5)]
    assert {record.message for record in caplog.records} == {"stock.told", "stock.confirmed"}
    market.shop.refused_skus |= {"A1", "A2"}
    for sku in ("A1", "A2"):
        await market.count(sku, 1)
    await market.settle()
    [failed] = [record.__dict__ for record in caplog.records if record.message == "stock.not_told"]
    assert (failed["count"], failed["error_code"]) == (2, "REFUSED")
    assert failed["reason"] == "It is not ours to sell. (InvalidInput)"


async def test_a_lower_target_does_not_wait_for_orders(resting: Market) -> None:
    resting.shop.buy("A", PLACE, 2)
    await resting.count("A", 5)
    await resting.settle()
    assert (await resting.row(SHOP)).error_code == "UNSEEN_SALE"
    await resting.count("A", -12)
    await resting.rested()
    assert resting.shown() == (3, 3)


class _Reticent(FakePort):
    """Says that another number is shown, and not which."""

    async def tell_stock(
        self, writes: Sequence[StockWrite], ask: Ask, before_send: BeforeSend
    ) -> list[Receipt | HouseError]:
        answers = await super().tell_stock(writes, ask, before_send)
        return [OtherNumber(one.message) if isinstance(one, OtherNumber) else one for one in answers]


async def test_a_channel_that_does_not_say_what_it_shows_is_asked(store: Store, redis: Redis) -> None:
    market = await make_market(store, redis, shop=_Reticent(make_port().channel))
    await market.sell("A", stock=10)
    await market.rested()
    market.shop.edit("A", PLACE, 4)
    await market.count("A", -6)
    await market.settle()
    row = await market.row(SHOP)
    assert (row.told, row.shown, row.error_code, row.due_at) == (4, 4, None, None)


async def test_what_a_channel_took_without_effect_is_sent_again(
    resting: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_verdict, "LOOKS", 3)
    resting.amazon.told_faults.append(Fault.IGNORED)
    await resting.count("A", -4)
    await resting.settle()

    async def again() -> bool:
        await resting.hurry()
        await resting.settle()
        return len(await resting.pushes(AMAZON)) == 3

    await until(again)
    await resting.rested()
    assert resting.shown() == (6, 6)
    [_, ignored, last] = await resting.pushes(AMAZON)
    assert (ignored.cause, last.cause, last.expected) == ("CHANGE", "AGAIN", 10)
    assert resting.amazon.calls["shown_of"] >= 1 + 3 + 1


async def test_a_raise_without_effect_is_sent_again_once_the_orders_have_been_read(
    resting: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_verdict, "LOOKS", 2)
    resting.amazon.told_faults.append(Fault.IGNORED)
    await resting.count("A", 4)

    async def waits() -> bool:
        await resting.hurry()
        await resting.settle()
        error: str | None = (await resting.row(AMAZON)).error_code
        return error == "UNSEEN_SALE"

    await until(waits)
    assert resting.shown()[1] == 10

    async def read() -> bool:
        await read_orders(resting.store, AMAZON)
        await resting.hurry()
        await resting.settle()
        return len(await resting.pushes(AMAZON)) == 3

    await until(read)
    await resting.rested()
    assert resting.shown() == (14, 14)


async def test_what_was_bought_since_is_no_reason_to_look_again(resting: Market) -> None:
    resting.amazon.visibility_lag_s = 0.0
    await resting.count("A", -2)
    await resting.propagate()

    async def told() -> bool:
        await resting.tell()
        return resting.amazon.number("A") == 8

    looked = resting.amazon.calls["shown_of"]
    resting.amazon.shown_faults.append(Transient("Not now."))
    await until(told)
    resting.amazon.buy("A")
    await until(lambda: _rests(resting))
    row = await resting.row(AMAZON)
    assert (row.told, row.shown) == (8, 7)
    assert resting.amazon.calls["shown_of"] <= looked + 2


async def _rests(market: Market) -> bool:
    await market.hurry()
    await market.tell()
    row = await market.row(AMAZON)
    return row.confirmed_at is not None


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is left alone until it is hurried."""
    for module in ("workers.calls", "workers.push_verdict"):
        monkeypatch.setattr(f"{module}.jittered", lambda *_, **__: 600.0)


@pytest.mark.usefixtures("unhurried")
async def test_a_lost_answer_is_followed_by_the_same_write(resting: Market) -> None:
    resting.shop.told_faults.append(Fault.APPLIED_THEN_LOST)
    await resting.count("A", -4)
    await resting.settle()
    row = await resting.row(SHOP)
    assert (row.error_code, row.attempts, row.told) == ("OUTCOME_UNKNOWN", 1, 6)
    await resting.hurry()
    await resting.rested()
    [_, push] = await resting.pushes(SHOP)
    assert (push.quantity, push.error_code, push.confirmed_at is None) == (6, None, False)
    assert [effect.after for effect in resting.shop.number_effects] == [10, 6]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.BUG, Fault.NOT_CONNECTED, Fault.LOGIN_DOWN])
async def test_a_failure_is_followed_by_another_try(resting: Market, fault: Fault) -> None:
    resting.shop.told_faults.append(fault)
    await resting.count("A", -4)
    await resting.settle()
    row = await resting.row(SHOP)
    assert row.attempts == 1
    assert row.error_code == (
        "UPSTREAM_UNAVAILABLE" if fault in (Fault.NOT_CONNECTED, Fault.LOGIN_DOWN) else "OUTCOME_UNKNOWN"
    )
    await resting.hurry()
    await resting.rested()
    assert resting.shown() == (6, 6)
    row = await resting.row(SHOP)
    assert (row.attempts, row.error_code, row.error_message) == (0, None, None)


@pytest.mark.parametrize(("fault", "attempts"), [(Fault.NO_BUDGET, 0), (Fault.TOO_MANY, 1)])
async def test_a_slot_is_waited_for_and_costs_no_attempt(resting: Market, fault: Fault, attempts: int) -> None:
    resting.shop.told_faults.extend([fault] * 2)
    resting.shop.slot_s = 600.0
    await resting.count("A", -4)

    async def throttled() -> bool:
        await resting.hurry()
        await resting.settle()
        return not resting.shop.told_faults

    await until(throttled)
    row = await resting.row(SHOP)
    assert (row.error_code, row.attempts) == ("THROTTLED", attempts)
    await resting.hurry()
    await resting.rested()
    assert resting.shown() == (6, 6)


async def test_a_channel_that_refuses_our_credentials_is_paused(resting: Market) -> None:
    # A pause that ends during the test would not be seen.
    resting.push.deps = replace(resting.deps, timing=replace(resting.deps.timing, pause_s=600.0))
    resting.shop.told_faults.append(Fault.UNAUTHORIZED)
    await resting.count("A", -4)
    await resting.settle()
    async with resting.store.begin() as tx:
        paused = await channel.states(tx)
    assert [(id, one.reason) for id, one in paused.items()] == [(SHOP, "The consent was withdrawn.")]
    async with resting.store.begin() as tx:
        await channel.resume(tx, SHOP)
    await resting.rested()
    assert resting.shown() == (6, 6)


async def test_a_refused_number_waits_long_and_longer_and_leaves_the_others_alone(market: Market) -> None:
    market.shop.refused_skus.add("A")
    await market.sell("A", SHOP, stock=5)
    await market.sell("B", SHOP, stock=6)
    await market.settle()
    row = await market.row(SHOP)
    assert (row.error_code, row.error_message) == ("REFUSED", "It is not ours to sell. (InvalidInput)")
    assert timedelta(minutes=9) < row.due_at - datetime.now(UTC) < timedelta(minutes=11)
    assert market.shop.number("B", PLACE) == 6 or (await market.row(SHOP, "B")).told == 6
    await market.hurry()
    await market.settle()
    row = await market.row(SHOP)
    assert timedelta(minutes=19) < row.due_at - datetime.now(UTC) < timedelta(minutes=21)
    # Another number is another question.
    market.shop.refused_skus.clear()
    await market.count("A", -1)
    await market.rested()
    assert market.shop.number("A", PLACE) == 4


async def test_a_refused_call_is_split_until_the_refused_number_is_alone(market: Market) -> None:
    for number in range(5):
        await market.sell(f"A{number}", SHOP, stock=number)
    market.shop.told_faults.extend([Fault.REFUSED, Fault.REFUSED, Fault.REFUSED])
    await market.settle()
    rows = [await market.row(SHOP, f"A{number}") for number in range(5)]
    assert [row.error_code for row in rows] == ["REFUSED", None, None, None, None]
    await market.hurry()
    await market.rested()
    assert [market.shop.number(f"A{number}", PLACE) for number in range(5)] == list(range(5))


async def test_what_is_not_offered_any_more_is_said_and_looked_at_later(resting: Market) -> None:
    await resting.count("A", -1)
    await resting.propagate()
    await resting.push.once()
    await resting.push.idle()
    resting.shop._number(("A", PLACE)).coming = None
    resting.shop.edit("A", PLACE, None)
    await resting.hurry()
    await resting.tell()
    row = await resting.row(SHOP)
    assert (row.error_code, row.shown, row.confirmed_at) == ("NOT_FOUND", None, None)
    assert row.due_at - datetime.now(UTC) > timedelta(minutes=9)


@pytest.mark.parametrize(
    "problem", [Transient("Down."), Throttled("Later.", retry_after_s=0.1), Unauthorized("Not you.")]
)
async def test_a_look_that_tells_nothing_is_repeated(resting: Market, problem: HouseError) -> None:
    resting.amazon.shown_faults.append(problem)
    await resting.count("A", -1)
    await resting.rested()
    assert resting.amazon.shown_faults == type(resting.amazon.shown_faults)()
    assert resting.shown() == (9, 9)
    assert len(await resting.pushes(AMAZON)) == 2


async def test_a_missing_role_at_a_look_pauses_nobody(resting: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.push_verdict.ROLE_WAIT_S", 0.0)
    resting.amazon.shown_faults.append(MissingRole("No role for listings."))
    await resting.count("A", -1)
    await resting.rested()
    assert resting.shown() == (9, 9)
    async with resting.deps.store.begin() as tx:
        kinds = set(await tx.scalars(select(event_table.c.kind)))
    assert EventKind.CHANNEL_PAUSED.value not in kinds
    assert EventKind.STOCK_CHANGED.value in kinds


async def test_two_workers_send_each_number_once(resting: Market) -> None:
    other = Push(replace(resting.deps, worker="other"), lambda: None)
    for number in range(30):
        await resting.sell(f"N{number}", stock=number)
    await resting.propagate()
    await asyncio.gather(resting.push.once(), other.once())
    await asyncio.gather(resting.push.idle(), other.idle())
    await resting.rested()
    assert [resting.shown(f"N{number}") for number in range(30)] == [(number, number) for number in range(30)]
    assert (len(await resting.pushes(SHOP)), len(await resting.pushes(AMAZON))) == (31, 31)


async def test_who_comes_too_late_sends_and_records_nothing(resting: Market) -> None:
    await resting.count("A", -1)
    await resting.propagate()

    async def taken_over(writes: Sequence[StockWrite]) -> None:
        resting.shop.before_tell = None
        async with resting.store.begin() as tx:
            await tx.execute(update(channel_stock).values(lease_until=None))
            [claimed] = await stock_push.claim(tx, SHOP, Errand.TELL, limit=10, lease_s=60.0)
        assert claimed.target == 9

    resting.shop.before_tell = taken_over
    await resting.settle()
    assert ([push.quantity for push in await resting.pushes(SHOP)], resting.shop.number("A", PLACE)) == ([10], 10)
    await _leases_over(resting.store)
    await resting.rested()
    assert resting.shown() == (9, 9)


async def test_an_orderly_stop_records_what_is_in_hand(resting: Market) -> None:
    going, go = asyncio.Event(), asyncio.Event()

    async def hold(writes: Sequence[StockWrite]) -> None:
        going.set()
        await go.wait()

    resting.shop.telling = hold
    await resting.count("A", -1)
    await resting.propagate()
    await resting.push.once()
    await going.wait()
    closing = asyncio.create_task(resting.push.close(60.0))
    go.set()
    await closing
    assert (await resting.row(SHOP)).told == 9


async def _few(market: Market, units: int) -> None:
    async with market.store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "few", LastUnits(units), sku=Sku("A")), "tests")


async def test_the_last_units_are_told_to_one_channel_once_the_other_is_seen_to_be_closed(resting: Market) -> None:
    await _few(resting, 3)
    # Amazon's lag has been measured and is longer than the shop's, so the shop sells the last ones.
    await _measure(resting, {SHOP: 1.0, AMAZON: 30.0})
    resting.amazon.visibility_lag_s = 0.3
    await resting.count("A", -7)
    told: list[tuple[datetime, int]] = []

    async def note(writes: Sequence[StockWrite]) -> None:
        told.extend((datetime.now(UTC), write.quantity) for write in writes)

    resting.shop.telling = note
    await resting.settle()
    assert (await resting.row(AMAZON)).target == 0
    assert (await resting.row(SHOP)).target == 0
    await resting.rested()
    assert resting.shown() == (3, 0)
    closed_at = next(effect.at for effect in resting.amazon.number_effects if effect.after == 0)
    assert [quantity for _, quantity in told] == [0, 3]
    assert told[-1][0] > closed_at


async def _measure(market: Market, seconds: dict[str, float]) -> None:
    """Channels have taken so long in the past."""
    from store.tables import stock_push as table

    async with market.store.begin() as tx:
        for id, lag_s in seconds.items():
            now = datetime.now(UTC)
            await tx.execute(
                table.insert().values(
                    id=100_000 + len(id),
                    channel=id,
                    channel_sku="other",
                    place="",
                    sku="A",
                    quantity=1,
                    expected=2,
                    cause="CHANGE",
                    caused_at=now - timedelta(seconds=lag_s),
                    sent_at=now,
                    accepted_at=now,
                    confirmed_at=now,
                )
            )


async def test_a_number_of_the_last_units_that_fell_on_its_way_is_not_sent(resting: Market) -> None:
    await _few(resting, 3)
    await resting.count("A", -8)
    await resting.rested()
    sent = len(await resting.pushes(SHOP)) + len(await resting.pushes(AMAZON))
    seller, sold = (resting.shop, (PLACE,)) if resting.shown()[0] else (resting.amazon, ("",))
    await resting.count("A", 1)

    async def sold_out(writes: Sequence[StockWrite]) -> None:
        seller.before_tell = None
        await resting.count("A", -3)
        await resting.propagate()

    seller.before_tell = sold_out
    await resting.rested()
    assert resting.shown() == (0, 0)
    assert 3 not in [effect.after for effect in seller.number_effects[-3:]]
    assert (len(await resting.pushes(SHOP)) + len(await resting.pushes(AMAZON)), sold) == (sent + 1, sold)
