"""Stock of many SKUs: what is asked of whom, what is answered while a platform is down, and what is told as an event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from adapters.budget import Budgets
from domain.budget import Ask, Plan
from domain.channel import Platform
from domain.errors import Invalid, TooStale, Transient
from domain.event import Event, EventKind
from domain.freshness import Freshness, OnStale
from domain.ids import LocationCode, RuleId, Sku
from domain.ledger import EntryKind, NewEntry
from domain.policy import Facts
from domain.reservation import Reservation, ReservedLine
from domain.rule import Rule, SafetyStock
from domain.stock import Stock
from resolvers import live, stock, stock_changes
from resolvers.live import LiveStock
from resolvers.shelf import Bell, Shelf
from resolvers.stock_cache import StockCache
from store import event, kit, ledger, product, reservation, rule
from store.budget import BudgetMemory
from store.session import Store
from tests.resolvers.platform import StockPlatform, make_listing, make_location, own_location
from tests.store.bench import give_places

NOW = timedelta(0)
OLD = timedelta(minutes=5)


class LogOnly:
    """Events straight from the rows, once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def place(self) -> None:
        return None

    async def head(self) -> int:
        return await head(self._store)

    async def follow(
        self, *, kinds: frozenset[EventKind], subjects: frozenset[str] | None, after: int | None
    ) -> AsyncGenerator[Event, None]:
        async with self._store.begin() as tx:
            for told in await event.after(tx, after or 0, kinds=kinds, subjects=subjects):
                yield told


class House:
    """A shop with two warehouses, an Amazon account with one pan-EU pool and two warehouses of our own, on real engines."""

    def __init__(self, store: Store, redis: Redis) -> None:
        self.store = store
        self.shop = StockPlatform("shop", Platform.SHOPIFY, batch=250)
        self.amazon = StockPlatform("amazon-eu", Platform.AMAZON)
        self.places = [
            make_location("berlin", self.shop),
            make_location("reno", self.shop),
            make_location("fba-eu", self.amazon, "DE", "FR"),
            own_location("vienna"),
            own_location("graz"),
        ]
        self.redis = redis
        self.shelf = self.make_shelf()

    def make_shelf(self) -> Shelf:
        """One process's shelf; several share the engines and the platforms."""
        budgets = Budgets(self.redis, BudgetMemory(self.store))
        ports = {one.channel.id: one.port for one in (self.shop, self.amazon)}
        clock = lambda: datetime.now(UTC)  # noqa: E731 - a clock is a value here
        live = LiveStock(self.store, self.redis, budgets, ports, self.places, clock)
        return Shelf(
            store=self.store,
            channels={key: port.channel for key, port in ports.items()},
            ports=ports,
            budgets=budgets,
            live=live,
            bell=cast(Bell, None),
            events=LogOnly(self.store),
            clock=clock,
            stock_cache=StockCache(self.store),
            locations=self.places,
            stock_max_age=OLD,
        )

    async def list_everywhere(self, *skus: str) -> None:
        """Offer SKUs in the shop, on Amazon DE and on Amazon FR."""
        listings = [make_listing(sku, self.shop) for sku in skus]
        listings += [make_listing(sku, self.amazon, country) for sku in skus for country in ("DE", "FR")]
        async with self.store.begin() as tx:
            await product.upsert_listings(tx, listings)

    async def stock(self, *skus: str, max_age: timedelta = OLD, ask: Ask | None = None) -> list[Stock]:
        """Stock of known SKUs."""
        answers = await stock.by_skus(self.shelf, ask or patient(), [Sku(sku) for sku in skus], max_age)
        return [answer.stock for answer in answers if answer is not None]

    async def book(self, sku: str, units: int, place: str = "vienna") -> None:
        """Units come to a place of ours, or leave it."""
        entry = NewEntry(Sku(sku), LocationCode(place), EntryKind.ADJUSTMENT, "test", "test", "test", on_hand=units)
        async with self.store.begin() as tx:
            await ledger.post(tx, [entry])

    async def hold(self, sku: str, units: int, seconds: float = 900) -> Reservation:
        """A check-out holds units."""
        async with self.store.begin() as tx:
            held, _ = await reservation.reserve(
                tx,
                requested_by="checkout",
                idempotency_key=None,
                request_hash="",
                lines=[ReservedLine(Sku(sku), units)],
                ttl_s=seconds,
            )
        return held

    async def make_kit(self, sku: str, **components: int) -> None:
        """A kit of components that are listed."""
        await self.list_everywhere(sku, *components)
        async with self.store.begin() as tx:
            await kit.save(tx, Sku(sku), {Sku(one): units for one, units in components.items()}, "test")

    async def events(self) -> list[str]:
        """The SKUs of the stock events so far."""
        await give_places(self.store)
        async with self.store.begin() as tx:
            return [told.subject for told in await event.after(tx, 0, kinds=[EventKind.STOCK_CHANGED])]


def patient() -> Ask:
    return Ask(deadline=time.monotonic() + 60)


@pytest.fixture
def house(store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> House:
    # However slow the machine is, nobody goes away with an older answer meanwhile, and what is down rests until the test is over.
    monkeypatch.setattr(stock, "PATIENCE_S", 60.0)
    monkeypatch.setattr(live, "REST_S", (600.0, 600.0))
    return House(store, redis)


async def test_places_of_all_channels_add_up_and_a_shared_pool_counts_once(house: House) -> None:
    await house.list_everywhere("A1")
    house.shop.units["berlin", "A1"] = 3
    house.shop.units["reno", "A1"] = 4
    house.amazon.units["fba-eu", "A1"] = 10
    (answer,) = await house.stock("A1")
    assert answer.available_to_sell == 17
    assert [(level.location.code, level.on_hand, level.freshness) for level in answer.levels] == [
        ("berlin", 3, Freshness.LIVE),
        ("fba-eu", 10, Freshness.LIVE),
        ("reno", 4, Freshness.LIVE),
    ]
    assert (house.shop.calls, house.amazon.calls) == ([["A1"]], [["A1"]])


async def test_a_young_reading_costs_no_call_and_an_old_one_costs_one(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    (again,) = await house.stock("A1")
    assert (again.freshness, len(house.amazon.calls)) == (Freshness.FRESH, 1)
    (live,) = await house.stock("A1", max_age=NOW)
    assert (live.freshness, len(house.amazon.calls)) == (Freshness.LIVE, 2)


async def test_many_skus_cost_a_call_per_batch(house: House) -> None:
    skus = [f"A{number}" for number in range(250)]
    await house.list_everywhere(*skus)
    await house.stock(*skus)
    assert sorted(map(len, house.amazon.calls)) == [50] * 5
    assert [len(call) for call in house.shop.calls] == [250]


async def test_many_clients_at_once_share_the_calls_also_across_processes(house: House) -> None:
    skus = [Sku(f"A{number}") for number in range(100)]
    await house.list_everywhere(*skus)
    shelves = [house.shelf, house.make_shelf()]
    bills = [patient() for _ in range(20)]
    await asyncio.gather(*(stock.by_skus(shelves[number % 2], ask, skus, NOW) for number, ask in enumerate(bills)))
    assert len(house.amazon.calls) == 2
    assert sum(line.calls for ask in bills for line in ask.bill.lines.values()) == len(house.amazon.calls) + len(
        house.shop.calls
    )


async def test_the_order_asked_is_the_order_answered_and_unknown_skus_are_none(house: House) -> None:
    await house.list_everywhere("A1", "B2")
    answers = await stock.by_skus(house.shelf, patient(), [Sku("B2"), Sku("?"), Sku("A1"), Sku("B2")], OLD)
    assert [answer and answer.stock.sku for answer in answers] == ["B2", None, "A1", "B2"]


async def test_more_than_250_skus_are_refused_and_nothing_is_asked(house: House) -> None:
    with pytest.raises(Invalid, match="At most 250"):
        await house.stock(*(f"A{number}" for number in range(251)))
    assert house.amazon.calls == []


async def test_what_is_too_long_to_be_a_sku_is_refused(house: House) -> None:
    too_long = Sku("S" * (stock.LONGEST_SKU + 1))
    for told in (
        stock.by_skus(house.shelf, patient(), [Sku("A1"), too_long]),
        stock.at_instant(house.shelf, [too_long], datetime.now(UTC)),
    ):
        with pytest.raises(Invalid, match="255 characters"):
            await told
    assert await stock.by_skus(house.shelf, patient(), [Sku(too_long[1:])]) == [None]


async def test_a_platform_that_is_down_is_answered_from_the_last_reading_with_its_age(house: House) -> None:
    await house.list_everywhere("A1")
    house.amazon.units["fba-eu", "A1"] = 10
    (before,) = await house.stock("A1")
    house.amazon.problem = Transient("503")
    (after,) = await house.stock("A1", max_age=NOW)
    grades = {level.location.code: level.freshness for level in after.levels}
    assert grades == {"berlin": Freshness.LIVE, "reno": Freshness.LIVE, "fba-eu": Freshness.STALE}
    assert (after.available_to_sell, after.freshness) == (10, Freshness.STALE)
    told = {level.location.name: level.as_of for level in before.levels}
    assert after.as_of == told["Fba-Eu"]


async def test_a_platform_that_is_down_is_not_asked_again_at_each_page_view(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    house.amazon.problem = Transient("503")
    calls = len(house.amazon.calls)
    for _ in range(5):
        await house.stock("A1", max_age=NOW)
    assert len(house.amazon.calls) == calls + 1


async def test_a_platform_that_hangs_costs_patience_once_and_then_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    monkeypatch.setattr(stock, "PATIENCE_S", 0.2)
    house.amazon.problem = Transient("timed out")
    house.amazon.hold = asyncio.Event()
    first = asyncio.create_task(house.stock("A1", max_age=NOW))
    assert (await first)[0].freshness is Freshness.STALE
    house.amazon.hold.set()
    while not house.shelf.live.sources[-1].breaker.open:  # the hung call comes to its end
        await asyncio.sleep(0)
    monkeypatch.setattr(stock, "PATIENCE_S", 60.0)
    house.amazon.hold = asyncio.Event()
    async with asyncio.timeout(30):
        assert (await house.stock("A1", max_age=NOW))[0].freshness is Freshness.STALE
    house.amazon.hold.set()


async def test_an_empty_budget_is_answered_from_the_last_reading_at_once(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    # A slot in a quarter of an hour: however slow the test is, none comes meanwhile.
    house.amazon.stock_plan = Plan("rare", rate=0.001, burst=1)
    await house.shelf.budgets.spend(house.amazon.channel.id, house.amazon.stock_plan, patient())
    calls = len(house.amazon.calls)
    (answer,) = await house.stock("A1", max_age=NOW)
    grades = {level.location.name: level.freshness for level in answer.levels}
    assert (grades["Fba-Eu"], grades["Berlin"]) == (Freshness.STALE, Freshness.LIVE)
    assert len(house.amazon.calls) == calls


async def test_never_told_is_unknown_and_its_failure_stands_beside_the_other_places(house: House) -> None:
    await house.list_everywhere("A1")
    house.shop.units["berlin", "A1"] = 3
    house.amazon.problem = Transient("Amazon does not answer.")
    (answer,) = await stock.by_skus(house.shelf, patient(), [Sku("A1")], OLD)
    assert answer is not None
    assert [one.message for one in answer.unknown] == ["Amazon does not answer."]
    assert (answer.stock.available_to_sell, answer.stock.freshness) == (3, Freshness.UNKNOWN)


async def test_who_wants_no_older_answer_gets_an_error_that_says_why(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    (fresh,) = await stock.by_skus(house.shelf, patient(), [Sku("A1")], OLD)
    assert isinstance(stock.fresh_enough(fresh, OnStale.FAIL), Stock)
    house.amazon.problem = Transient("Amazon does not answer.")
    (stale,) = await stock.by_skus(house.shelf, patient(), [Sku("A1")], NOW)
    refusal = stock.fresh_enough(stale, OnStale.FAIL)
    assert isinstance(refusal, TooStale)
    assert "Amazon does not answer." in refusal.message
    assert stock.fresh_enough(None, OnStale.FAIL) is None


async def test_each_change_of_a_number_is_told_once(house: House) -> None:
    await house.list_everywhere("A1", "B2")
    house.amazon.units["fba-eu", "A1"] = 10
    await house.stock("A1", "B2", max_age=NOW)
    told = len(await house.events())
    house.amazon.units["fba-eu", "A1"] = 9
    await house.stock("A1", "B2", max_age=NOW)
    await house.stock("A1", "B2", max_age=NOW)
    assert (await house.events())[told:] == ["A1"]


async def test_a_subscriber_gets_how_it_stands_and_then_what_changes(house: House) -> None:
    await house.list_everywhere("A1")
    house.amazon.units["fba-eu", "A1"] = 10
    await house.stock("A1", max_age=NOW)
    await house.events()
    first = [told async for told in stock_changes.follow(house.shelf, [Sku("A1")], None)]
    assert [one.available_to_sell for _, one in first] == [10]
    house.amazon.units["fba-eu", "A1"] = 8
    await house.stock("A1", max_age=NOW)
    await house.events()
    later = [told async for told in stock_changes.follow(house.shelf, [Sku("A1")], first[-1][0])]
    assert [one.available_to_sell for _, one in later] == [8]


async def test_a_caller_who_goes_away_takes_nothing_along(house: House) -> None:
    await house.list_everywhere("A1")
    house.amazon.hold = asyncio.Event()
    caller = asyncio.create_task(house.stock("A1", max_age=NOW))
    while not house.amazon.calls:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    house.amazon.hold.set()
    (answer,) = await house.stock("A1")
    assert (answer.freshness, len(house.amazon.calls)) in {(Freshness.FRESH, 1), (Freshness.LIVE, 1)}


async def test_a_pool_counts_once_although_its_marketplaces_tell_the_listing_differently(house: House) -> None:
    listings = [
        make_listing("A1", house.amazon, country, refs={"product_type": kind})
        for country, kind in (("DE", "SHIRT"), ("FR", "PRODUCT"))
    ]
    async with house.store.begin() as tx:
        await product.upsert_listings(tx, listings)
    house.amazon.units["fba-eu", "A1"] = 38
    (answer,) = await house.stock("A1", max_age=NOW)
    assert (answer.available_to_sell, answer.freshness) == (38, Freshness.LIVE)


async def test_what_another_process_claimed_and_did_not_bring_is_asked_for(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    old = datetime.now(UTC).isoformat()
    claim = "acorn:flight:amazon-eu/fba-eu:A1"
    await house.redis.set(claim, f"{old} another-process", px=300)
    house.amazon.units["fba-eu", "A1"] = 9
    (answer,) = await house.stock("A1", max_age=NOW)
    assert (answer.available_to_sell, answer.freshness) == (9, Freshness.LIVE)
    assert len(house.amazon.calls) == 2


async def test_a_refusal_does_not_make_a_source_count_as_down(house: House) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    house.amazon.problem = Invalid("One SKU is malformed.")
    await house.stock("A1", max_age=NOW)
    assert not any(source.breaker.open for source in house.shelf.live.sources)
    house.amazon.problem = Transient("503")
    await house.stock("A1", max_age=NOW)
    assert [source.breaker.reason for source in house.shelf.live.sources if source.breaker.open] == ["503"]


async def test_claims_are_given_back_whatever_happens(house: House) -> None:
    await house.list_everywhere("A1")
    for problem in (None, Transient("503")):
        house.amazon.problem = problem
        await house.stock("A1", max_age=NOW)
        assert await house.redis.keys("acorn:flight:*") == []


async def test_what_the_ledger_counts_is_live_and_costs_no_call(house: House) -> None:
    await house.list_everywhere("A1")
    house.shop.units["berlin", "A1"] = 3
    await house.book("A1", 7)
    await house.hold("A1", 2)
    calls = len(house.shop.calls)
    (answer,) = await house.stock("A1")
    assert len(house.shop.calls) == calls + 1  # for the shop's own places alone
    levels = {str(level.location.code): (level.on_hand, level.freshness) for level in answer.levels}
    assert levels["vienna"] == (7, Freshness.LIVE)
    assert (answer.on_hand, answer.reserved, answer.available_to_sell) == (10, 2, 8)
    assert sum(term.quantity for term in answer.explanation) == 8


async def test_what_is_promised_counts_as_reserved_and_the_number_never_falls_below_zero(house: House) -> None:
    await house.list_everywhere("A1")
    await house.book("A1", 5)
    await house.hold("A1", 5)
    await house.book("A1", -3)
    (answer,) = await house.stock("A1")
    assert (answer.on_hand, answer.reserved, answer.available_to_sell) == (2, 5, 0)
    assert sum(term.quantity for term in answer.explanation) == 0


async def test_a_kit_lies_nowhere_and_is_as_many_as_its_components_make(house: House) -> None:
    await house.make_kit("SET", A1=2, B2=1)
    await house.book("A1", 9)
    await house.book("B2", 3)
    await house.hold("A1", 4)
    answers = await stock.by_skus(house.shelf, patient(), [Sku("SET")], OLD)
    assert answers[0] is not None
    answer = answers[0].stock
    assert (answer.levels, answer.on_hand, answer.reserved, answer.available_to_sell) == ([], 3, 1, 2)
    assert sum(term.quantity for term in answer.explanation) == 2
    assert answer.freshness is Freshness.LIVE  # its components were asked for
    house.amazon.problem = Transient("Amazon does not answer.")
    (stale,) = await stock.by_skus(house.shelf, patient(), [Sku("SET")], NOW)
    assert isinstance(stock.fresh_enough(stale, OnStale.FAIL), TooStale)


async def test_a_past_instant_is_answered_as_it_was_known_then(house: House) -> None:
    await house.list_everywhere("A1")
    house.shop.units["berlin", "A1"] = 3
    await house.book("A1", 7)
    held = await house.hold("A1", 2)
    await house.stock("A1", max_age=NOW)
    then = datetime.now(UTC)
    await house.book("A1", -6)
    async with house.store.begin() as tx:
        await reservation.release(tx, held.id, by="checkout")
    house.shop.units["berlin", "A1"] = 50
    (now,) = await house.stock("A1", max_age=NOW)
    (past,) = await stock.at_instant(house.shelf, [Sku("A1")], then)
    assert past is not None
    assert (past.stock.available_to_sell, past.stock.at) == (8, then)
    assert now.available_to_sell == 51
    assert len(house.shop.calls) == 2  # none for the past


@pytest.mark.parametrize("days", [-401, 1])
async def test_only_the_last_400_days_are_remembered(house: House, days: int) -> None:
    with pytest.raises(Invalid, match="400 days"):
        await stock.at_instant(house.shelf, [Sku("A1")], datetime.now(UTC) + timedelta(days=days))


async def test_a_subscriber_of_a_kit_hears_of_its_components(house: House) -> None:
    await house.make_kit("SET", A1=2)
    await house.book("A1", 8)
    await house.events()
    start = str(await head(house.store))
    await house.book("A1", -4)
    await house.events()
    told = [one async for one in stock_changes.follow(house.shelf, [Sku("A1"), Sku("SET")], start)]
    assert [(one.sku, one.available_to_sell) for _, one in told] == [("A1", 4), ("SET", 2)]
    # Whoever has seen only the first goes on with the second.
    again = [one.sku async for _, one in stock_changes.follow(house.shelf, [Sku("SET")], told[0][0])]
    assert again == ["SET"]


async def test_who_goes_on_reads_no_stock_until_something_changes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a crowd that comes back after a restart each wants to know only what its kits are made of."""
    await house.make_kit("SET", A1=2)
    await house.book("A1", 8)
    await house.events()
    start, read, real = str(await head(house.store)), list[str](), stock.facts

    async def facts(shelf: Shelf, skus: Sequence[Sku], **options: bool) -> dict[Sku, Facts]:
        read.extend(skus)
        return await real(shelf, skus, **options)

    monkeypatch.setattr(stock, "facts", facts)
    assert [one async for one in stock_changes.follow(house.shelf, [Sku("SET")], start)] == []
    assert read == []
    await house.book("A1", -4)
    await house.events()
    assert [one.sku async for _, one in stock_changes.follow(house.shelf, [Sku("SET")], start)] == ["SET"]
    assert read == ["SET"]


async def head(store: Store) -> int:
    """The place of the newest event."""
    async with store.begin() as tx:
        return await event.head(tx)


async def test_a_subscriber_hears_of_every_sku_when_rules_change_and_of_a_kit_with_its_new_components(
    house: House,
) -> None:
    await house.make_kit("SET", A1=1)
    await house.list_everywhere("B2")
    await house.book("A1", 8)
    await house.book("B2", 6)
    await house.events()
    start = str(await head(house.store))
    async with house.store.begin() as tx:
        await rule.save(tx, Rule(RuleId(""), "keep one", SafetyStock(1)), "test")
    await house.make_kit("SET", B2=2)
    await house.events()
    await house.book("B2", -2)
    await house.events()
    told = [one async for _, one in stock_changes.follow(house.shelf, [Sku("A1"), Sku("SET")], start)]
    assert [one.sku for one in told] == ["A1", "SET", "A1", "SET", "SET"]  # the rules, the kit, its new component
    assert told[-1].available_to_sell == 1  # of four, one is kept back


async def test_what_was_asked_since_the_caller_asked_is_live_without_another_call(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.list_everywhere("A1")
    await house.stock("A1")
    calls = len(house.amazon.calls)
    real, others = stock.facts, 0

    async def overtaken(*asked: Any, **more: Any) -> Any:
        """Between this caller's question and its look at the readings another one has asked the platforms."""
        nonlocal others
        if not others:
            others += 1
            await house.stock("A1", max_age=NOW)
        return await real(*asked, **more)

    monkeypatch.setattr(stock, "facts", overtaken)
    (told,) = await house.stock("A1", max_age=NOW)
    assert told.freshness is Freshness.LIVE
    assert len(house.amazon.calls) == calls + 1


async def test_what_was_asked_before_is_asked_for_again(house: House) -> None:
    """The twin."""
    await house.list_everywhere("A1")
    await house.stock("A1")
    calls = len(house.amazon.calls)
    for _ in range(2):
        (told,) = await house.stock("A1", max_age=NOW)
        assert told.freshness is Freshness.LIVE
    assert len(house.amazon.calls) == calls + 2


# Routes


async def test_more_skus_than_a_call_takes_are_read_in_batches_and_the_log_says_why(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    skus = [f"A{number:03}" for number in range(120)]
    await house.list_everywhere(*skus)
    with caplog.at_level("INFO", "adapters.route"):
        await house.stock(*skus, max_age=NOW)
    # Side by side: which of them is there first is not promised.
    assert sorted(len(call) for call in house.amazon.calls) == [20, 50, 50]
    (told,) = [one.__dict__ for one in caplog.records if one.getMessage() == "route.chosen"]
    assert (told["channel"], told["keys"], told["way"], told["calls"]) == ("amazon-eu", 120, "batch", 3)
    assert [one.partition(":")[0] for one in told["candidates"]] == ["batch", "pages"]


async def test_a_walk_that_is_there_first_answers_every_key_once(house: House) -> None:
    skus = [f"A{number:03}" for number in range(120)]
    await house.list_everywhere(*skus)
    house.amazon.units["fba-eu", "A007"] = 5
    house.amazon.walk_calls = 1
    answers = await house.stock(*skus, max_age=NOW)
    assert (house.amazon.calls, house.amazon.walks) == ([], 1)
    assert {answer.freshness for answer in answers} == {Freshness.LIVE}
    levels = [(answer.sku, level) for answer in answers for level in answer.levels]
    on_hand = {sku: level.on_hand for sku, level in levels if level.location.code == "fba-eu"}
    assert on_hand == {sku: 5 if sku == "A007" else 0 for sku in skus}


async def test_what_one_call_takes_needs_no_choice(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.list_everywhere("A1")
    with caplog.at_level("INFO", "adapters.route"):
        await house.stock("A1", max_age=NOW)
    assert caplog.records == []
