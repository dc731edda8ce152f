"""The arithmetic of stock and the terms that explain it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.channel import Location, LocationKind
from domain.freshness import Freshness
from domain.ids import ChannelId, ChannelSku, LocationCode, Sku
from domain.stock import Level, Reading, level_of, no_reading, stock_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SHOP = ChannelId("shop")


def make_location(code: str = "BER", name: str = "Berlin") -> Location:
    return Location(LocationCode(code), name, LocationKind.WAREHOUSE, SHOP, "1")


def make_reading(on_hand: int, reserved: int = 0, inbound: int = 0, minutes_old: int = 0) -> Reading:
    as_of = NOON - timedelta(minutes=minutes_old)
    return Reading(LocationCode("BER"), SHOP, ChannelSku("A1"), on_hand, reserved, inbound, as_of)


def make_level(on_hand: int, reserved: int = 0, freshness: Freshness = Freshness.LIVE) -> Level:
    return Level(make_location(), on_hand, reserved, 0, NOON, freshness, "shop")


def test_levels_add_up_and_reserved_and_safety_stock_are_subtracted() -> None:
    stock = stock_of(Sku("A1"), [make_level(10, 3), make_level(5)], safety_stock=2)
    assert (stock.available_to_sell, stock.on_hand, stock.reserved, stock.safety_stock) == (10, 15, 3, 2)
    assert [(term.label, term.quantity) for term in stock.explanation] == [
        ("on hand at Berlin", 10),
        ("reserved at Berlin", -3),
        ("on hand at Berlin", 5),
        ("safety stock", -2),
    ]


def test_an_oversold_place_lowers_the_others_and_the_sum_stops_at_zero() -> None:
    assert stock_of(Sku("A1"), [make_level(0, 4), make_level(10)], 0).available_to_sell == 6
    stock = stock_of(Sku("A1"), [make_level(0, 4)], 0)
    assert stock.available_to_sell == 0
    assert stock.explanation[-1].label == "never below zero"


def test_inbound_is_told_and_counts_for_nothing() -> None:
    level = level_of(make_location(), [make_reading(1, inbound=50)], Freshness.FRESH)
    stock = stock_of(Sku("A1"), [level], 0)
    assert (stock.available_to_sell, stock.inbound) == (1, 50)


def test_the_oldest_part_sets_the_age_and_the_worst_the_freshness() -> None:
    young = level_of(make_location(), [make_reading(1)], Freshness.LIVE)
    old = level_of(make_location(), [make_reading(1), make_reading(1, minutes_old=30)], Freshness.STALE)
    stock = stock_of(Sku("A1"), [young, old], 0)
    assert stock.as_of == NOON - timedelta(minutes=30)
    assert stock.freshness is Freshness.STALE


def test_a_place_that_never_told_is_unknown_and_has_no_age() -> None:
    stock = stock_of(Sku("A1"), [no_reading(make_location())], 0)
    assert (stock.available_to_sell, stock.as_of, stock.freshness) == (0, None, Freshness.UNKNOWN)


def test_no_place_at_all_is_unknown() -> None:
    assert stock_of(Sku("A1"), [], 0).freshness is Freshness.UNKNOWN


counts = st.integers(min_value=-1_000_000, max_value=1_000_000)


@given(st.lists(st.tuples(counts, counts), max_size=8), st.integers(min_value=0, max_value=1_000))
def test_the_terms_sum_to_the_number_whatever_the_numbers(levels: list[tuple[int, int]], safety_stock: int) -> None:
    stock = stock_of(Sku("A1"), [make_level(on_hand, reserved) for on_hand, reserved in levels], safety_stock)
    assert sum(term.quantity for term in stock.explanation) == stock.available_to_sell >= 0
