"""What numbers are computed from, for many SKUs at once, now and then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import event as sa_event
from sqlalchemy import func, insert, select, text
from sqlalchemy.engine import Engine

from domain.channel import LEDGER, Location, LocationKind
from domain.freshness import Freshness
from domain.ids import ChannelId, ChannelSku, LocationCode, OrderId, RuleId, Sku, listing_id
from domain.ledger import EntryKind, NewEntry
from domain.policy import Facts, available, spread
from domain.product import Attribute, FulfilledBy, Listing
from domain.reservation import ReservedLine
from domain.rule import MaximumShown, Rule, SafetyStock, VelocityBuffer
from domain.stock import Reading
from store import facts as facts_store
from store import kit, ledger, product, reservation, rule, sales, stock
from store.session import Store
from store.tables import order, order_line

AMAZON, SHOP = ChannelId("amazon-eu"), ChannelId("shop")
BERLIN = Location(LocationCode("BER"), "Berlin", LocationKind.WAREHOUSE, LEDGER, "", shown={SHOP: "gid/1"})
RENO = Location(LocationCode("RNO"), "Reno", LocationKind.WAREHOUSE, LEDGER, "", opens_from=SHOP)
DEPOT = Location(LocationCode("DEP"), "Depot", LocationKind.WAREHOUSE, LEDGER, "")
STORE = Location(LocationCode("STO"), "Store", LocationKind.STORE, SHOP, "gid/9")
FBA = Location(LocationCode("fba-eu"), "FBA Europe", LocationKind.FBA, AMAZON, "DE", marketplaces=("DE", "FR"))
PLACES = [BERLIN, RENO, DEPOT, STORE, FBA]
HOUR = timedelta(hours=1)


def listing(sku: str, channel: ChannelId = SHOP, marketplace: str | None = None, *tags: str) -> Listing:
    fulfilled_by = FulfilledBy.CHANNEL if channel == AMAZON else FulfilledBy.MERCHANT
    return Listing(
        id=listing_id(channel, marketplace, ChannelSku(sku)),
        channel=channel,
        marketplace=marketplace,
        channel_sku=ChannelSku(sku),
        external_id=f"{channel}-{sku}",
        status="ACTIVE",
        fulfilled_by=fulfilled_by,
        as_of=datetime.now(UTC),
        sku=Sku(sku),
        attributes=[Attribute("tag", tag) for tag in tags],
    )


async def listed(store: Store, *listings: Listing) -> None:
    async with store.begin() as tx:
        await product.upsert_listings(tx, listings)


async def read(store: Store, at: Location, sku: str, on_hand: int, as_of: datetime) -> None:
    reading = Reading(at.code, at.keeper, ChannelSku(sku), on_hand, 1, 3, as_of)
    async with store.begin() as tx:
        await stock.keep(tx, [reading])


async def post(store: Store, sku: str, units: int, at: Location = BERLIN) -> None:
    entry = NewEntry(Sku(sku), at.code, EntryKind.RECEIPT, "delivery", "ops", "mutation", on_hand=units)
    async with store.begin() as tx:
        await ledger.post(tx, [entry])


async def held(store: Store, sku: str, units: int) -> None:
    async with store.begin() as tx:
        lines = [ReservedLine(Sku(sku), units)]
        await reservation.reserve(
            tx, requested_by="shop", idempotency_key=None, request_hash="h", lines=lines, ttl_s=600.0
        )


async def clock(store: Store) -> datetime:
    async with store.begin() as tx:
        at = await tx.scalar(select(func.clock_timestamp()))
    assert isinstance(at, datetime)
    return at


async def known(store: Store, *skus: str, now: datetime | None = None, **more: Any) -> dict[Sku, Facts]:
    at = now or await clock(store)
    asked = {"locations": PLACES, "now": at, "default_safety_stock": 0, "max_age": HOUR, **more}
    async with store.begin() as tx:
        return await facts_store.facts(tx, [Sku(sku) for sku in skus], **asked)


async def known_at(store: Store, at: datetime, *skus: str) -> dict[Sku, Facts]:
    async with store.begin() as tx:
        return await facts_store.facts_at(
            tx, [Sku(sku) for sku in skus], at, locations=PLACES, default_safety_stock=0, max_age=HOUR
        )


def places(one: Facts) -> dict[str, tuple[int, int, int, Freshness]]:
    return {
        place.location.code: (place.on_hand, place.reserved, place.inbound, place.freshness) for place in one.places
    }


async def test_every_place_that_should_hold_a_sku_is_there_with_what_is_known(store: Store) -> None:
    await listed(store, listing("A"), listing("A", AMAZON, "DE"), listing("A", AMAZON, "FR"), listing("B"))
    now = await clock(store)
    await read(store, FBA, "A", 8, now - 2 * HOUR)
    await read(store, STORE, "A", 4, now - HOUR / 2)
    await post(store, "A", 10, DEPOT)
    found = await known(store, "A", "B", "no such SKU", now=now)
    assert list(found) == ["A", "B"]
    assert places(found[Sku("A")]) == {
        "fba-eu": (8, 1, 3, Freshness.STALE),
        "STO": (4, 1, 3, Freshness.FRESH),
        "DEP": (10, 0, 0, Freshness.LIVE),
        # A shop that lists it shows none there, and another waits to be told how many there are.
        "BER": (0, 0, 0, Freshness.LIVE),
        "RNO": (0, 0, 0, Freshness.UNKNOWN),
    }
    as_of = {place.location.code: place.as_of for place in found[Sku("A")].places}
    assert as_of == {"fba-eu": now - 2 * HOUR, "STO": now - HOUR / 2, "DEP": now, "BER": now, "RNO": None}
    assert places(found[Sku("B")])["STO"] == (0, 0, 0, Freshness.UNKNOWN)
    await post(store, "A", 1, RENO)
    assert places((await known(store, "A"))[Sku("A")])["RNO"] == (1, 0, 0, Freshness.LIVE)


async def test_tags_rules_and_reservations_come_with_a_sku(store: Store) -> None:
    await listed(store, listing("A", SHOP, None, "loud", "new"), listing("B"))
    await post(store, "A", 10)
    await held(store, "A", 3)
    async with store.begin() as tx:
        for sku, tag in ((None, None), (None, "loud"), (None, "quiet"), (Sku("A"), None)):
            await rule.save(tx, Rule(RuleId(""), sku or tag or "all", SafetyStock(1), sku=sku, tag=tag), "ops")
    found = await known(store, "A", "B", default_safety_stock=4)
    one = found[Sku("A")]
    assert one.tags == {"loud", "new"}
    assert sorted(rule.name for rule in one.rules) == ["A", "all", "loud"]
    assert [rule.name for rule in found[Sku("B")].rules] == ["all"]
    assert [hold.quantity for hold in one.holds] == [3]
    assert one.default_safety_stock == 4
    assert available(one, await clock(store)).quantity == 10 - 3 - 1
    tried = await known(store, "A", rules=[Rule(RuleId("x"), "tried", MaximumShown(1))])
    assert [rule.name for rule in tried[Sku("A")].rules] == ["tried"]


async def test_units_that_are_held_without_an_end_are_held_at_any_instant(store: Store) -> None:
    await listed(store, listing("A"))
    await post(store, "A", 10)
    await held(store, "A", 3)
    async with store.begin() as tx:
        await tx.execute(text("update reservation_hold set expires_at = 'infinity'"))
    number = available((await known(store, "A"))[Sku("A")], await clock(store) + timedelta(days=36_500))
    assert (number.quantity, number.changes_at) == (7, None)


async def test_a_kit_comes_with_its_components(store: Store) -> None:
    await listed(store, listing("KIT"), listing("cup"), listing("tray"))
    await post(store, "cup", 9)
    await post(store, "tray", 2)
    async with store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("cup"): 4, Sku("tray"): 1}, "ops")
    found = await known(store, "KIT", "cup")
    whole = found[Sku("KIT")]
    assert [(part.sku, units) for part, units in whole.components] == [("cup", 4), ("tray", 1)]
    assert whole.places == []
    assert whole.components[0][0] is found[Sku("cup")]
    assert available(whole, await clock(store)).quantity == 2


async def test_a_kit_is_shown_at_the_places_of_its_own_listings_wherever_its_components_lie(store: Store) -> None:
    await listed(store, listing("KIT"), listing("cup", AMAZON, "DE"))
    await post(store, "cup", 9, DEPOT)
    async with store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("cup"): 4}, "ops")
    found = await known(store, "KIT", "cup")
    assert spread(2, found[Sku("KIT")], SHOP, await clock(store)) == {"gid/1": 2}
    assert spread(2, found[Sku("cup")], SHOP, await clock(store)) == {"": 2}


async def test_the_past_is_told_as_it_was(store: Store) -> None:
    await listed(store, listing("A"), listing("A", AMAZON, "DE"), listing("cup"))
    start = await clock(store)
    instants = []

    async def remember() -> None:
        instants.append(await clock(store))

    await post(store, "A", 10)
    await read(store, FBA, "A", 8, start)
    await remember()
    await held(store, "A", 3)
    await remember()
    async with store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "keep", SafetyStock(2)), "ops")
    await read(store, FBA, "A", 5, await clock(store))
    await remember()
    await post(store, "A", 90)
    await remember()

    quantities = [available((await known_at(store, at, "A"))[Sku("A")], at).quantity for at in (start, *instants)]
    assert quantities == [7, 17, 14, 9, 99]
    now = await clock(store)
    assert available((await known(store, "A"))[Sku("A")], now).quantity == 99
    first = (await known_at(store, instants[0], "A"))[Sku("A")]
    assert places(first)["fba-eu"] == (8, 1, 3, Freshness.FRESH)
    assert places((await known_at(store, start - HOUR, "A"))[Sku("A")])["fba-eu"] == (0, 0, 0, Freshness.UNKNOWN)


async def sold(store: Store, sku: str, units: int, days_ago: float, **more: Any) -> None:
    at = await clock(store) - timedelta(days=days_ago)
    async with store.begin() as tx:
        number = await tx.scalar(select(func.count()).select_from(order))
        row = {
            "id": OrderId(f"o{number}"),
            "channel": SHOP,
            "external_id": f"#{number}",
            "status": "SHIPPED",
            "channel_status": "done",
            "fulfilled_by": "MERCHANT",
            "placed_at": at,
            "updated_at": at,
            **more,
        }
        line = {
            "id": f"l{number}",
            "order_id": f"o{number}",
            "position": 0,
            "external_id": "1",
            "channel_sku": sku,
            "sku": sku,
            "quantity": units,
            "quantity_shipped": 0,
        }
        await tx.execute(insert(order).values(row))
        await tx.execute(insert(order_line).values(line))


async def test_what_channels_sell_a_day_counts_kits_and_no_cancelled_nor_channel_shipped_orders(store: Store) -> None:
    await listed(store, listing("KIT"), listing("cup"))
    async with store.begin() as tx:
        await kit.save(tx, Sku("KIT"), {Sku("cup"): 4}, "ops")
    await sold(store, "cup", 28, 1)
    await sold(store, "cup", 14, 27, channel=AMAZON)
    await sold(store, "KIT", 7, 2)
    await sold(store, "cup", 1000, 1, status="CANCELLED")
    await sold(store, "cup", 1000, 1, fulfilled_by="CHANNEL")
    await sold(store, "cup", 1000, 29)
    async with store.begin() as tx:
        found = await sales.sold_per_day(tx, [Sku("cup"), Sku("KIT"), Sku("tray")])
    assert found == {"cup": {SHOP: 2.0, AMAZON: 0.5}, "KIT": {SHOP: 0.25}}


async def test_sales_are_only_read_where_a_rule_asks_for_them(store: Store) -> None:
    await listed(store, listing("A"))
    await sold(store, "A", 28, 1)
    buffer = Rule(RuleId("x"), "buffer", VelocityBuffer(Decimal("0.9")))
    assert (await known(store, "A", rules=[buffer], with_sales=True))[Sku("A")].sold_per_day == {SHOP: 1.0}
    assert (await known(store, "A", rules=[buffer]))[Sku("A")].sold_per_day == {}
    assert (await known(store, "A", rules=[], with_sales=True))[Sku("A")].sold_per_day == {}


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa_event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa_event.remove(Engine, "before_cursor_execute", note)


async def test_many_skus_take_no_more_statements_than_one(store: Store) -> None:
    skus = [f"S{number:03}" for number in range(40)]
    await listed(store, *(listing(sku) for sku in skus), *(listing(sku, AMAZON, "DE") for sku in skus))
    async with store.begin() as tx:
        for number in range(10):
            await kit.save(tx, Sku(skus[number]), {Sku(skus[number + 20]): 2}, "ops")
    now = await clock(store)
    counts = []
    for asked in (skus[:1], skus):
        with statements() as sent:
            assert len(await known(store, *asked, now=now, with_sales=True)) == len(asked)
        with statements() as then:
            assert len(await known_at(store, now, *asked)) == len(asked)
        counts.append((len(sent), len(then)))
    assert counts[0] == counts[1]


async def test_a_place_that_is_not_configured_counts_for_nothing(store: Store) -> None:
    await listed(store, listing("A"))
    await post(store, "A", 10, replace(BERLIN, code=LocationCode("GONE")))
    assert "GONE" not in places((await known(store, "A"))[Sku("A")])
