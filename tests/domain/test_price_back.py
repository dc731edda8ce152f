"""Taking one price back: to what was seen before, and only while the price is ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.ids import ChannelId, ChannelSku, ListingId, Sku
from domain.money import Money
from domain.price import Origin, Price, PriceWish, Sale
from domain.price_back import SINCE, UNKNOWN, Row, taken_back
from domain.price_history import alike

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
money = st.integers(1, 4).map(lambda n: Money(Decimal(n), "EUR"))
OVER = (NOW - timedelta(days=1), NOW)
times = st.sampled_from([None, *OVER, NOW + timedelta(days=1)])
prices = st.builds(Price, money, st.none() | st.builds(Sale, money, times, times))


def wish(price: Price) -> PriceWish:
    return PriceWish(
        ListingId("L"),
        ChannelId("shop"),
        None,
        ChannelSku("A"),
        Sku("A"),
        {},
        price,
        Origin.RULE,
        "r",
        3,
        ({"rule": "x"},),
    )


@given(prices, st.booleans(), st.none() | prices, st.none() | prices)
def test_what_is_asked_for_was_seen_before_and_nobody_elses_price_is_ever_replaced(
    asked: Price, newest: bool, before: Price | None, live: Price | None
) -> None:
    goal = before
    if before is not None and before.sale is not None and before.sale.ends_at in OVER:
        goal = Price(before.regular)
    told = taken_back(Row(wish(asked), newest, before, live), NOW)
    if told is None:
        assert goal == asked
        return
    assert (told.wish.origin, told.wish.rules_version, told.wish.chain) == (Origin.REVERT, None, ())
    others = live is not None and not alike(asked, live) and (goal is None or not alike(goal, live))
    if not newest or goal is None or others:
        assert told.words
        assert told.code == (SINCE if not newest or goal is not None else UNKNOWN)
        assert told.wish.price == asked
        return
    assert (told.words, told.wish.price) == ("", goal)
    assert before is not None
    assert goal.at(NOW) == before.at(NOW)


def test_what_shows_what_was_there_before_is_no_other_price() -> None:
    """It is on its way, or a catalog tells late, or somebody wants the same."""
    ten, five, six = (Price(Money(Decimal(n), "EUR")) for n in (10, 5, 6))
    codes = {}
    for before, live in ((ten, ten), (ten, six), (five, five)):
        told = taken_back(Row(wish(five), newest=True, before=before, live=live), NOW)
        codes[before, live] = None if told is None else told.code
    assert codes == {(ten, ten): "", (ten, six): SINCE, (five, five): None}
