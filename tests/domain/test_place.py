"""What is configured about places, against what their channel knows."""

from __future__ import annotations

import pytest

from domain.channel import LEDGER, Location, LocationKind
from domain.ids import ChannelId, LocationCode
from domain.place import ChannelPlace, misplaced

SHOP, OTHER = ChannelId("shop"), ChannelId("shop-b2b")
BERLIN = ChannelPlace("gid://shopify/Location/1", "Berlin", active=True, sells_online=True, country="DE")


def ours(code: str, id: str, channel: ChannelId = SHOP) -> Location:
    return Location(LocationCode(code), code, LocationKind.WAREHOUSE, LEDGER, "", shown={channel: id})


def theirs(code: str, id: str, keeper: ChannelId = SHOP) -> Location:
    return Location(LocationCode(code), code, LocationKind.STORE, keeper, id)


@pytest.mark.parametrize("location", [ours("BER", BERLIN.id), theirs("BER", BERLIN.id)])
def test_a_place_that_both_know_is_well(location: Location) -> None:
    assert misplaced(SHOP, [location], [BERLIN]) == []


@pytest.mark.parametrize(
    "location", [ours("BER", "gid://shopify/Location/9"), theirs("BER", "gid://shopify/Location/9")]
)
def test_a_configured_place_that_is_gone_is_told_and_so_is_the_one_that_nobody_named(location: Location) -> None:
    gone, unnamed = misplaced(SHOP, [location], [BERLIN])
    assert gone.found == "BER is gid://shopify/Location/9 there, and shop has no such place."
    assert "acorn channels locations shop" in gone.do
    assert "Berlin (gid://shopify/Location/1)" in unnamed.found
    assert "[[locations]]" in unnamed.do


def test_a_deactivated_place_is_told_where_it_is_configured_only() -> None:
    closed = ChannelPlace("2", "Reno", active=False, sells_online=False)
    assert misplaced(SHOP, [], [closed]) == []
    (found,) = misplaced(SHOP, [ours("RNO", "2")], [closed])
    assert "deactivated" in found.found
    assert "Activate Reno" in found.do


def test_a_place_without_online_orders_sells_nothing_of_what_lies_there() -> None:
    till = ChannelPlace("3", "Hamburg", active=True, sells_online=False)
    assert misplaced(SHOP, [], [till]) == []
    (found,) = misplaced(SHOP, [ours("HAM", "3")], [till])
    assert "no orders of the online store" in found.found


def test_a_service_keeps_its_places_itself() -> None:
    service = ChannelPlace("4", "Somebody's hall", active=True, sells_online=False, foreign=True)
    assert misplaced(SHOP, [], [service]) == []
    assert misplaced(SHOP, [theirs("HALL", "4")], [service]) == []


def test_what_is_configured_of_another_channel_names_no_place_of_this_one() -> None:
    locations = [ours("BER", BERLIN.id, OTHER), theirs("RNO", BERLIN.id, OTHER)]
    (unnamed,) = misplaced(SHOP, locations, [BERLIN])
    assert "does not name" in unnamed.found
