"""From a change of a SKU to what each channel should show of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import select, text

from adapters.port import Shown as StockShown
from adapters.port import ShownKey
from domain.channel import LEDGER, Location, LocationKind, StreamName
from domain.event import EventKind
from domain.ids import ChannelId, ChannelSku, LocationCode, RuleId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.policy import Shown
from domain.product import FulfilledBy
from domain.reservation import Reservation, ReservedLine
from domain.rule import ChannelShare, FbaShare, LastUnits, MaximumShown, Rule, SafetyStock
from domain.stock import Reading
from store import (
    channel_numbers,
    drift,
    intake,
    kit,
    ledger,
    marks,
    product,
    quarantine,
    reservation,
    rule,
    stock,
    stock_push,
    stream,
)
from store.session import Store
from store.stock_push import Errand
from store.tables import event as event_table
from store.tables import sku_stock
from tests.workers.fake_port import make_order
from tests.workers.house import until, working
from tests.workers.market import AMAZON, BERLIN, PLACE, SHOP, Market, make_listing_of, make_market
from workers.drift import judge
from workers.propagation import Propagation
from workers.streams import run_stream


@pytest.fixture
async def market(store: Store, redis: Redis) -> Market:
    return await make_market(store, redis)


async def _rule(market: Market, rule_: Rule) -> None:
    async with market.store.begin() as tx:
        await rule.save(tx, rule_, "tests")


async def _hold(market: Market, units: int, ttl_s: float, sku: str = "A") -> Reservation:
    async with market.store.begin() as tx:
        made, _ = await reservation.reserve(
            tx,
            requested_by="tests",
            idempotency_key=uuid4().hex,
            request_hash="h",
            lines=[ReservedLine(Sku(sku), units)],
            ttl_s=ttl_s,
        )
    return made


async def _counts(market: Market, sku: str = "A") -> tuple[int, bool, datetime | None, int]:
    """Version, whether it waits, when it is to be computed anew, safety stock."""
    async with market.store.begin() as tx:
        row = (await tx.execute(select(sku_stock).where(sku_stock.c.sku == sku))).one()
    return row.version, row.dirty_since is not None, row.recompute_at, row.safety_stock


async def _targets(market: Market, sku: str = "A") -> dict[tuple[str, str], int]:
    async with market.store.begin() as tx:
        numbers = (await channel_numbers.numbers(tx, [Sku(sku)])).get(Sku(sku), [])
    return {(one.channel, one.place): one.target for one in numbers}


async def test_a_change_becomes_a_number_with_its_terms_for_each_channel(market: Market) -> None:
    await market.sell("A", stock=10)
    await _rule(market, Rule(RuleId(""), "most", MaximumShown(4), channel=AMAZON))
    await market.propagate()
    async with market.store.begin() as tx:
        numbers = (await channel_numbers.numbers(tx, [Sku("A")]))[Sku("A")]
    assert [(one.channel, one.channel_sku, one.place, one.target) for one in numbers] == [
        (AMAZON, "A", "", 4),
        (SHOP, "A", PLACE, 10),
    ]
    for one in numbers:
        assert sum(term.quantity for term in one.terms) == one.target
        assert one.noticed_at is not None
        assert one.refs == {"item": "i-A"}
    assert [(term.label, term.quantity, term.rule) for term in numbers[0].terms] == [
        ("on hand at Berlin", 10, None),
        ("maximum shown", -6, "most"),
    ]
    assert await _counts(market) == (*(await _counts(market))[:1], False, None, 0)


async def test_a_hundred_changes_are_few_writes_and_the_last_one_stays(market: Market) -> None:
    await market.sell("A", stock=200)
    await market.rested()
    changed = asyncio.Event()

    async def slowly(writes: object) -> None:
        await changed.wait()

    market.shop.telling = slowly
    async with working(market.deps):
        for _ in range(100):
            await market.count("A", -1)
        changed.set()
        await until(lambda: _shows(market, 100))
    writes = len(await market.pushes(SHOP)) - 1
    assert 1 <= writes <= 50
    quantities = [push.quantity for push in await market.pushes(SHOP)]
    assert quantities == sorted(quantities, reverse=True)


async def _shows(market: Market, units: int, sku: str = "A") -> bool:
    rows = [await market.row(id, sku) for id in (SHOP, AMAZON)]
    return market.shown(sku) == (units, units) and all(row.confirmed_at is not None for row in rows)


async def test_a_sale_on_one_side_is_seen_on_the_other_and_its_lag_is_measured(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    async with working(market.deps):
        began = datetime.now(UTC)
        market.amazon.buy("A", units=2)
        await market.count("A", -2)
        await until(lambda: _shows(market, 8))

        async def measured() -> bool:
            async with market.store.begin() as tx:
                return SHOP in await channel_numbers.lags(tx, [SHOP])

        await until(measured)
    async with market.store.begin() as tx:
        lags = await channel_numbers.lags(tx, [SHOP, AMAZON])
    assert lags[SHOP].samples == 1
    assert 0 < lags[SHOP].p50_s == lags[SHOP].p95_s <= (datetime.now(UTC) - began).total_seconds()


async def test_a_change_while_another_is_carried_still_waits(market: Market) -> None:
    await market.sell("A", stock=10)
    async with market.store.begin() as tx:
        [before] = await marks.stirred(tx, 10)
    await market.count("A", 5)
    async with market.store.begin() as tx:
        await marks.carried(tx, [marks.Carried(before, None, 0)])
        row = (await tx.execute(select(sku_stock))).one()
    # What was read is carried; what came since is younger than that.
    assert (row.dirty_since, row.caused_at) == (before.at, before.at)
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 15, (AMAZON, ""): 15}
    assert not (await _counts(market))[1]


async def test_a_reservation_that_ends_raises_the_number_by_itself(market: Market) -> None:
    await market.sell("A", stock=10)
    await _rule(market, Rule(RuleId(""), "most", MaximumShown(8), channel=AMAZON))
    held = await _hold(market, 3, 600.0)
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 7, (AMAZON, ""): 7}
    _, waits, recompute_at, _ = await _counts(market)
    assert (waits, recompute_at) == (False, held.expires_at)
    assert not await market.propagation.once()
    async with market.store.begin() as tx:
        # Its time is over, and no trigger tells so.
        await tx.execute(text("set local session_replication_role = replica"))
        await tx.execute(text("update reservation_hold set expires_at = now()"))
        await tx.execute(text("update sku_stock set recompute_at = now()"))
    assert not (await _counts(market))[1]
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 10, (AMAZON, ""): 8}
    # Nobody has tidied the hold up yet, and still it holds nothing.
    async with market.store.begin() as tx:
        told = await tx.scalars(select(event_table.c.subject).order_by(event_table.c.id.desc()).limit(1))
    assert list(told) == ["A"]
    assert (await _counts(market))[2] is None


async def test_a_rule_is_kept_where_it_counts_and_the_version_comes_to_rest(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.propagate()
    ends_at = datetime.now(UTC) + timedelta(hours=1)
    await _rule(market, Rule(RuleId(""), "keep", SafetyStock(2), sku=Sku("A"), ends_at=ends_at))
    await market.propagate()
    version, waits, recompute_at, safety_stock = await _counts(market)
    assert (waits, recompute_at, safety_stock) == (False, ends_at, 2)
    assert await _targets(market) == {(SHOP, PLACE): 8, (AMAZON, ""): 8}
    await market.propagate()
    assert (await _counts(market))[0] == version


async def test_a_number_is_computed_anew_when_its_reading_grows_old(store: Store, redis: Redis) -> None:
    pool = Location(LocationCode("FBA-DE"), "FBA", LocationKind.FBA, AMAZON, "DE", ("DE",), shown={SHOP: "Amazon"})
    market = await make_market(store, redis, locations=[BERLIN, pool])
    await market.sell("A", SHOP, stock=5)
    max_age = timedelta(minutes=30)
    await _rule(market, Rule(RuleId(""), "fba", FbaShare(Decimal(50), floor=1, max_age=max_age), channel=SHOP))
    as_of = datetime.now(UTC) - timedelta(minutes=1)
    async with store.begin() as tx:
        listing = make_listing_of(AMAZON, "A", "A-FBA", by=FulfilledBy.CHANNEL)
        await product.upsert_listings(tx, [listing])
        await stock.keep_and_tell(tx, [Reading(pool.code, AMAZON, listing.channel_sku, 8, 0, 0, as_of)])
    await market.propagate()
    # Nobody tells Amazon what lies in its own pool.
    assert await _targets(market) == {(SHOP, PLACE): 5, (SHOP, "Amazon"): 4}
    assert (await _counts(market))[2] == as_of + max_age


async def test_a_kits_number_follows_its_components(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.sell("B", stock=9)
    await market.sell("KIT")
    async with market.store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("A"): 1, Sku("B"): 2}, "tests")
    await market.rested()
    assert market.shown("KIT") == (4, 4)
    await market.count("B", -4)
    await market.rested()
    assert (market.shown("KIT"), market.shown("B")) == ((2, 2), (5, 5))
    [_, push] = await market.pushes_of(SHOP, "KIT")
    assert (push.quantity, push.caused_at is not None) == (2, True)
    async with market.store.begin() as tx:
        query = select(event_table.c.subject).where(event_table.c.kind == EventKind.STOCK_CHANGED.value)
        told = list(await tx.scalars(query.order_by(event_table.c.id)))
    assert told[-1] == "KIT"


async def test_a_kit_with_a_component_that_was_never_counted_is_not_told(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.sell("B")
    await market.sell("KIT")
    async with market.store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("A"): 1, Sku("B"): 1}, "tests")
    await market.settle()
    assert (await market.row(SHOP, "KIT")).due_at is None
    await market.count("B", 3)
    await market.rested()
    assert market.shown("KIT") == (3, 3)


async def test_channels_that_sell_from_no_place_of_ours_are_told_nothing(store: Store, redis: Redis) -> None:
    # The shop knows no name for the place, and Amazon may not sell from it.
    market = await make_market(store, redis, locations=[replace(BERLIN, shown={}, sells_to=frozenset({SHOP}))])
    await market.sell("A", stock=10)
    await market.propagate()
    assert (await _targets(market), (await _counts(market))[1]) == ({}, False)
    market = await make_market(store, redis, locations=[BERLIN])
    await market.count("A", 1)
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 11, (AMAZON, ""): 11}


async def test_each_of_several_places_shows_what_lies_there(store: Store, redis: Redis) -> None:
    munich = Location(LocationCode("MUC"), "Munich", LocationKind.WAREHOUSE, LEDGER, "MUC", shown={SHOP: "Munich"})
    market = await make_market(store, redis, locations=[BERLIN, munich])
    await market.sell("A", SHOP, stock=4)
    entry = NewEntry(Sku("A"), munich.code, EntryKind.ADJUSTMENT, "a test", "tests", "test", on_hand=3)
    async with store.begin() as tx:
        await ledger.post(tx, [entry])
    await market.rested()
    assert [market.shop.number("A", place) for place in (PLACE, "Munich")] == [4, 3]
    async with store.begin() as tx:
        shown = (await channel_numbers.shown_of(tx, [Sku("A")]))[Sku("A")][SHOP]
    assert (shown.units, shown.confirmed) == (7, True)


async def _listed(market: Market, id: ChannelId, **changes: Any) -> None:
    """The listing of A in the channel is another one now."""
    async with market.store.begin() as tx:
        await product.upsert_listings(tx, [replace(make_listing_of(id, "A", "A"), **changes)])


async def _quarantined(market: Market) -> list[tuple[str, str, int]]:
    async with market.store.begin() as tx:
        return [(one.rejected.channel, one.rejected.key, one.times) for one in await quarantine.recent(tx)]


async def _exposed(market: Market) -> dict[ChannelId, Shown]:
    async with market.store.begin() as tx:
        return (await channel_numbers.shown_of(tx, [Sku("A")]))[Sku("A")]


async def _drifts(market: Market) -> int:
    async with market.store.begin() as tx:
        return len((await drift.open_drifts(tx, first=10))[0])


async def _sweep(market: Market, id: ChannelId) -> None:
    async with market.store.begin() as tx:
        state = next(one for one in await stream.states(tx, [id]) if one.name is StreamName.SHOWN)
    await run_stream(market.deps, state)


async def test_a_number_of_a_listing_that_sells_from_a_pool_now_is_forgotten(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    market.amazon.edit("A", "", 4)
    await _sweep(market, AMAZON)
    assert await _drifts(market) == 1
    await _listed(market, AMAZON, fulfilled_by=FulfilledBy.CHANNEL)
    await _rule(market, Rule(RuleId(""), "few", LastUnits(3), sku=Sku("A")))
    await market.count("A", -8)
    await market.rested()
    # The last ones are not held up by a number that nobody can lower any more.
    assert (await _targets(market), market.shown()[0]) == ({(SHOP, PLACE): 2}, 2)
    assert (await _exposed(market)).keys() == {SHOP}
    # Whatever the pool holds is no drift, and is left alone.
    sent = len(await market.pushes(AMAZON))
    later = datetime.now(UTC) + timedelta(hours=1)
    await judge(market.deps, AMAZON, [StockShown(ShownKey(ChannelSku("A"), ""), 44, later)])
    await market.settle()
    assert (len(await market.pushes(AMAZON)), await _quarantined(market), await _drifts(market)) == (sent, [], 0)
    # Ours again, it begins anew.
    await _listed(market, AMAZON)
    await market.rested()
    assert sorted((await _targets(market)).values()) == [0, 2]


async def test_who_has_a_forgotten_number_in_hand_sends_and_records_nothing(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    # Whoever has it in hand looks at nothing else meanwhile, and does not take the number that comes in its place.
    monkeypatch.setattr("workers.push.IDLE_S", 600.0)

    async def becomes_fba_and_back(writes: object) -> None:
        market.amazon.before_tell = None
        for way in (FulfilledBy.CHANNEL, FulfilledBy.MERCHANT):
            await _listed(market, AMAZON, fulfilled_by=way)
            await market.propagate()

        async def another_has_it_in_hand() -> bool:
            await market.propagate()
            async with market.store.begin() as tx:
                claimed = await stock_push.claim(tx, AMAZON, Errand.TELL, limit=1, lease_s=60.0)
            return [one.target for one in claimed] == [9]

        await until(another_has_it_in_hand)

    market.amazon.before_tell = becomes_fba_and_back
    # However slow all this is, the lease of who has the forgotten number in hand shall not end meanwhile.
    market.push.deps = replace(market.deps, timing=replace(market.deps.timing, lease_s=60.0))
    await market.count("A", -1)
    await market.settle()
    assert (market.amazon.number("A"), (await market.row(AMAZON)).told) == (10, None)


async def test_a_number_of_a_listing_without_a_sku_counts_as_long_as_it_is_shown(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    await _rule(market, Rule(RuleId(""), "few", LastUnits(6), sku=Sku("A")))
    await _listed(market, SHOP, sku=None)
    await market.count("A", -4)
    await market.rested()
    # Nobody writes to what is mapped to nothing, and its ten can be bought: nobody else may sell the last ones.
    assert market.shown() == (10, 0)
    assert (await _exposed(market))[SHOP] == Shown(10, confirmed=True)
    row = await market.row(SHOP)
    assert (row.error_code, row.due_at, [term["quantity"] for term in row.terms]) == ("UNMAPPED", None, [10])
    await market.count("A", 1)
    await market.count("A", -1)
    await market.rested()
    assert await _quarantined(market) == [(SHOP, f"A {PLACE}", 1)], "it is said once"
    # What is bought there is seen by the sweep alone, and is no drift.
    market.shop.buy("A", PLACE, 7)
    await _sweep(market, SHOP)
    assert await _drifts(market) == 0
    await market.rested()
    assert (market.shown(), (await _exposed(market))[SHOP]) == ((3, 3), Shown(3, confirmed=True))
    # Taken out of sale there, it is forgotten.
    market.shop.edit("A", PLACE, None)
    await _sweep(market, SHOP)
    await market.rested()
    assert (await _exposed(market), market.shown()) == ({AMAZON: Shown(6, confirmed=True)}, (None, 6))


async def test_a_listing_that_is_mapped_again_is_told_again(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    await _listed(market, SHOP, sku=None)
    await market.count("A", -4)
    await market.rested()
    assert market.shown() == (10, 6)
    await _listed(market, SHOP)
    await market.rested()
    assert (market.shown(), (await market.row(SHOP)).error_code) == ((6, 6), None)


async def test_a_channels_sku_that_becomes_another_of_ours_holds_the_old_ones_last_units_up_no_more(
    market: Market,
) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    await _rule(market, Rule(RuleId(""), "few", LastUnits(3), sku=Sku("A")))
    await market.sell("B", SHOP, channel_sku="A", stock=5)
    await market.count("A", -8)
    await market.rested()
    assert market.shown() == (5, 2)
    assert (await market.row(SHOP)).sku == "B"


async def test_numbers_at_a_place_that_left_the_configuration_are_forgotten(store: Store, redis: Redis) -> None:
    munich = Location(LocationCode("MUC"), "Munich", LocationKind.WAREHOUSE, LEDGER, "MUC", shown={SHOP: "Munich"})
    market = await make_market(store, redis, locations=[BERLIN, munich])
    await market.sell("A", stock=4)
    await market.sell("B", AMAZON, stock=4)
    await market.rested()
    assert len(await _targets(market)) == 3
    market = await make_market(store, redis, locations=[BERLIN])
    assert not await market.propagation.once()
    await market.propagation.part_with_places()
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 4, (AMAZON, ""): 4}
    assert await _targets(market, "B") == {(AMAZON, ""): 4}


async def test_a_channels_sku_that_becomes_another_of_ours_shows_its_number(market: Market) -> None:
    await market.sell("A", SHOP, stock=10)
    for change in range(5):
        await market.count("A", change)
    await market.rested()
    # The versions of B are far behind those of A.
    await market.sell("B", SHOP, channel_sku="A", stock=3)
    await market.rested()
    assert (market.shop.number("A", PLACE), (await market.row(SHOP)).sku) == (3, "B")


async def test_two_workers_come_to_the_same_numbers(market: Market) -> None:
    other = Propagation(replace(market.deps, worker="other"), lambda: None)
    for number in range(20):
        await market.sell(f"N{number}", stock=number)

    async def changes() -> None:
        for number in range(20):
            await market.count(f"N{number}", 1)

    async def carry(one: Propagation) -> None:
        for _ in range(10):
            await one.once()

    await asyncio.gather(carry(market.propagation), carry(other), changes())
    await market.rested()
    assert [market.shown(f"N{number}") for number in range(20)] == [(number + 1, number + 1) for number in range(20)]


async def test_a_hard_share_withholds_from_the_others_what_it_keeps(market: Market) -> None:
    await market.sell("A", stock=10)
    await _rule(market, Rule(RuleId(""), "amazon's", ChannelShare(Decimal(30), hard=True), channel=AMAZON))
    await market.propagate()
    assert await _targets(market) == {(SHOP, PLACE): 7, (AMAZON, ""): 3}


async def test_the_lag_of_a_marketplace_sale_begins_when_it_was_placed(market: Market) -> None:
    await market.sell("A", stock=10)
    await market.rested()
    order = make_order(market.amazon, "111-1", sku="A")
    sold = replace(order, lines=[replace(line, sku=Sku("A")) for line in order.lines])
    async with market.store.begin() as tx:
        await intake.keep_orders(tx, [sold], [BERLIN])
    await market.rested()
    [_, push] = await market.pushes(SHOP)
    assert (push.quantity, push.caused_at) == (8, order.placed_at)
    async with market.store.begin() as tx:
        lag = (await channel_numbers.lags(tx, [SHOP]))[SHOP]
    assert 3600 <= lag.p50_s <= (datetime.now(UTC) - order.placed_at).total_seconds()
