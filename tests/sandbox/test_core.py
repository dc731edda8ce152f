"""The parts both sandboxes share: clock, bucket, journal, fault rules, world."""

from datetime import UTC, datetime

import pytest

from sandbox.bucket import Bucket
from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.journal import Journal
from sandbox.options import MARKETPLACES
from sandbox.world import World

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def world(products: int = 500, seed: int = 7) -> World:
    return World(seed, products, 1500, MARKETPLACES)


def test_a_clock_that_stands_still_moves_only_when_advanced() -> None:
    clock = Clock(0, START)
    clock.advance(90)
    assert clock.now() == datetime(2026, 3, 1, 12, 1, 30, tzinfo=UTC)
    assert clock.seconds() == 90


def test_a_changed_speed_keeps_the_time_passed() -> None:
    clock = Clock(0, START)
    clock.advance(10)
    clock.run_at(1000)
    before = clock.seconds()
    while clock.seconds() < before + 50:
        pass
    clock.run_at(0)
    assert clock.seconds() >= 60
    assert clock.ahead_s > 50


def test_the_clock_refuses_to_go_back() -> None:
    for seconds in (-1, float("nan"), 1e12):
        with pytest.raises(ValueError, match="forward"):
            Clock(1).advance(seconds)


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock(0, START)
    bucket = Bucket(0.5, 3, clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.advance(1.9)
    assert not bucket.take()
    clock.advance(0.1)
    assert [bucket.take(), bucket.take()] == [True, False]
    clock.advance(3600)
    assert bucket.remaining == 3


def test_a_bucket_takes_nothing_when_there_is_too_little_and_takes_back_no_more_than_its_burst() -> None:
    bucket = Bucket(1, 100, Clock(0, START))
    assert bucket.take(60)
    assert not bucket.take(41)
    assert bucket.remaining == 40
    bucket.give(1000)
    assert bucket.remaining == 100


def test_the_journal_counts_calls_and_effects_together() -> None:
    journal = Journal(Clock(0, START))
    journal.effect("confirmShipment", "o-1", {"edit": False})
    journal.call("confirmShipment", "POST", "/x", "a=b", 204, ["o-1", "o-1"])
    journal.call("getOrder", "GET", "/y", "", 200)
    assert journal.since(0)["next"] == 3
    assert journal.since(1) == {
        "next": 3,
        "calls": [
            {
                "seq": 2,
                "at": "2026-03-01T12:00:00.000Z",
                "operation": "confirmShipment",
                "method": "POST",
                "path": "/x",
                "query": "a=b",
                "status": 204,
                "ids": ["o-1"],
            },
            {
                "seq": 3,
                "at": "2026-03-01T12:00:00.000Z",
                "operation": "getOrder",
                "method": "GET",
                "path": "/y",
                "query": "",
                "status": 200,
                "ids": [],
            },
        ],
        "effects": [],
    }
    assert [effect["key"] for effect in journal.since(0)["effects"]] == ["o-1"]
    assert journal.since(3) == {"next": 3, "calls": [], "effects": []}


def test_a_fault_with_a_count_stops_and_the_next_rule_takes_over() -> None:
    faults = Faults()
    faults.replace([{"operation": "getOrder", "kind": "reset", "count": 2}, {"kind": "status", "status": 503}])
    kinds = [rule.kind if (rule := faults.pick("getOrder")) else None for _ in range(3)]
    assert kinds == ["reset", "reset", "status"]
    other = faults.pick("searchOrders")
    assert other is not None
    assert other.status == 503
    assert [rule["fired"] for rule in faults.shown()] == [2, 2]
    faults.replace([])
    assert faults.pick("getOrder") is None


def test_the_same_seed_strikes_the_same_calls() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults()
        faults.replace([{"kind": "reset", "probability": 0.25, "seed": seed}])
        return [faults.pick("any") is not None for _ in range(400)]

    assert struck(3) == struck(3)
    assert struck(3) != struck(4)
    assert 70 <= sum(struck(3)) <= 130


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "explode"},
        {"kind": "status", "status": 200},
        {"kind": "reset", "probability": 2},
        {"kind": "latency", "seconds": -1},
        {"kind": "reset", "percentage": 10},
        "reset",
    ],
)
def test_a_malformed_fault_changes_nothing(rule: object) -> None:
    faults = Faults()
    faults.replace([{"kind": "hang"}])
    with pytest.raises(ValueError):
        faults.replace([{"kind": "reset"}, rule])
    assert [one["kind"] for one in faults.shown()] == ["hang"]


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    first, second, other = world(), world(), world(seed=8)
    assert list(first.products()) == list(second.products())
    assert [first.pool_stock(i, "EU") for i in range(500)] == [second.pool_stock(i, "EU") for i in range(500)]
    assert [first.own_stock(i, "Reno") for i in range(500)] == [second.own_stock(i, "Reno") for i in range(500)]
    assert list(first.products()) != list(other.products())


def test_two_in_five_products_are_listed_everywhere_and_one_in_ten_is_sent_by_the_merchant() -> None:
    products = list(world().products())
    assert sum(product.marketplaces == ("US", "DE", "FR", "JP") for product in products) == 200
    assert sum(product.marketplaces == ("US",) for product in products) == 300
    assert sum(product.fulfilled_by == "MERCHANT" for product in products) == 50
    assert len({product.sku for product in products}) == 500
    assert len({product.asin for product in products}) == 500
    assert len({product.ean for product in products}) == 500


def test_a_sku_leads_back_to_its_product_in_a_world_of_a_million() -> None:
    big = world(1_000_000)
    for index in (0, 499, 99_999, 999_999):
        assert big.index(big.product(index).sku) == index
    assert big.index("TEE-00001-PINK-M") is None
    assert big.index("TEE-1000001-NAVY-M") is None
    assert big.index("no such") is None


def test_a_style_holds_five_variants_of_one_family() -> None:
    variants = world().style(3)
    assert [product.index for product in variants] == [15, 16, 17, 18, 19]
    assert len({(product.family, product.brand, product.style_title) for product in variants}) == 1
    assert len({(product.color, product.size) for product in variants}) == 5


def test_whatever_is_drawn_for_a_marketplace_is_listed_there() -> None:
    small = World(7, 9, 10, MARKETPLACES)
    dice = small.random("draw")
    drawn = {small.listed(dice, "FR").index for _ in range(200)}
    assert drawn == {3, 4, 8}
    assert {small.listed(dice, "US").index for _ in range(400)} == set(range(9))
