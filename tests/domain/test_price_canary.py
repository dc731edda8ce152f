"""Canaries: which changes reach far, which of their rows go first, and what is made of what is seen of them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Invalid
from domain.ids import ChannelId, Sku
from domain.money import Money
from domain.price import Price, Sale
from domain.price_canary import (
    CanaryState,
    Move,
    Radius,
    Signals,
    Sold,
    moved,
    reaches_far,
    read_radius,
    sample,
    verdict,
)

SHOP, AMAZON = ChannelId("shop"), ChannelId("amazon")
RADIUS = Radius()


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def move(item: int, before: str | None, after: str, channel: ChannelId = SHOP, marketplace: str | None = None) -> Move:
    was = None if before is None else Price(euros(before))
    return Move(item, channel, marketplace, f"{channel}/{item}", was, Price(euros(after)))


def moves(count: int, before: str | None = "10", after: str = "5") -> list[Move]:
    return [move(number, before, after) for number in range(count)]


@pytest.mark.parametrize(
    ("changed", "listed", "far"),
    [
        (moves(51), 1000, True),
        (moves(50), 1000, False),  # 5 % are not more than 5 %
        (moves(49), 100, False),  # few, whatever the share
        (moves(60, after="8.01"), 100, False),  # no step of more than 20 %
        (moves(60, after="12.01"), 100, True),
        (moves(60, before=None), 100, True),  # of which nobody knows what it is moved from
        (moves(60), 0, True),  # a catalog that nobody has read yet
    ],
)
def test_a_change_reaches_far_by_share_count_and_step(changed: list[Move], listed: int, far: bool) -> None:
    assert reaches_far(RADIUS, moved(RADIUS, changed), {}, {SHOP: listed}) is far


def test_each_channel_counts_for_itself() -> None:
    changed = [*moves(40), *(move(100 + number, "10", "5", AMAZON) for number in range(40))]
    far = moved(RADIUS, changed)
    assert far == {SHOP: 40, AMAZON: 40}
    assert not reaches_far(RADIUS, far, {}, {SHOP: 40, AMAZON: 40})
    assert reaches_far(Radius(rows=40), far, {}, {SHOP: 40, AMAZON: 4000})


def test_what_moved_before_counts_with_it_and_never_alone() -> None:
    assert reaches_far(RADIUS, {SHOP: 1}, {SHOP: 50}, {SHOP: 1000})
    assert not reaches_far(RADIUS, {SHOP: 1}, {SHOP: 49}, {SHOP: 1000})
    assert not reaches_far(RADIUS, {AMAZON: 1}, {SHOP: 999}, {SHOP: 1000, AMAZON: 1000})


def test_a_sale_moves_what_buyers_pay_and_so_does_its_end() -> None:
    sale = Price(euros("10"), Sale(euros("4")))
    assert Move(1, SHOP, None, "a", Price(euros("10")), sale).step == -60
    assert Move(1, SHOP, None, "a", sale, Price(euros("10"))).step == 150


rows = st.lists(
    st.tuples(st.sampled_from([SHOP, AMAZON]), st.sampled_from([None, "DE", "FR"]), st.integers(1, 40)),
    min_size=1,
    max_size=200,
)


@given(rows, st.integers(0, 100), st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_sample_is_small_the_same_everywhere_and_leaves_no_corner_out(
    told: list[tuple[ChannelId, str | None, int]], share: int, most: int, random: object
) -> None:
    radius = Radius(canary_share=Decimal(share), most=most)
    changed = [move(n, "10", str(after), channel, place) for n, (channel, place, after) in enumerate(told)]
    chosen = sample(radius, changed, "op")
    shuffled = list(changed)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    assert sample(radius, shuffled, "op") == chosen
    assert len(chosen) == min(most, max(1, share * len(changed) // 100))
    corners = Counter((one.channel, one.marketplace or "") for one in changed)
    tried = Counter((one.channel, one.marketplace or "") for one in changed if one.item in chosen)
    if len(chosen) >= len(corners) * 8:  # at most eight sizes of step in each
        assert set(tried) == set(corners)


def test_another_change_tries_other_rows() -> None:
    changed = moves(1000)
    assert sample(RADIUS, changed, "one") != sample(RADIUS, changed, "two")


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (Signals(100, unseen=100), CanaryState.WATCHING),
        (Signals(100, over=True), CanaryState.PASSED),
        (Signals(100, lost=10, over=True), CanaryState.PASSED),
        (Signals(100, lost=11), CanaryState.HALTED),
        (Signals(100, lost=5, unseen=5, over=True), CanaryState.PASSED),
        (Signals(100, lost=5, unseen=6, over=True), CanaryState.HALTED),
        (Signals(100, issues=["a"] * 5, over=True), CanaryState.PASSED),
        (Signals(100, issues=["a"] * 6), CanaryState.HALTED),
        (Signals(100, sold=[Sold(Sku("A"), 4, 0.0)]), CanaryState.WATCHING),
        (Signals(100, sold=[Sold(Sku("A"), 5, 0.0)]), CanaryState.HALTED),
        (Signals(100, sold=[Sold(Sku("A"), 50, 10.0)], over=True), CanaryState.PASSED),
        (Signals(100, sold=[Sold(Sku("A"), 51, 10.0)]), CanaryState.HALTED),
        (Signals(100, sold=[Sold(Sku(f"{n}"), 1, 0.1) for n in range(10)]), CanaryState.HALTED),
        (Signals(0), CanaryState.CANCELLED),  # all of it was overtaken by something newer
        (Signals(100, lost=1, unanswered=90, over=True), CanaryState.PASSED),
        (Signals(100, lost=2, unanswered=90), CanaryState.HALTED),
        (Signals(100, unanswered=99), CanaryState.WATCHING),
        (Signals(100, unanswered=100), CanaryState.CANCELLED),
        (Signals(100, unanswered=100, issues=["a"] * 6), CanaryState.HALTED),  # it may have come there all the same
    ],
)
def test_the_first_bad_sign_halts_and_time_without_one_passes(seen: Signals, state: CanaryState) -> None:
    found = verdict(RADIUS, seen)
    assert found.state is state
    assert bool(found.reasons) is (state in (CanaryState.HALTED, CanaryState.CANCELLED))


def test_reasons_are_words_for_people() -> None:
    seen = Signals(20, lost=1, unseen=2, issues=["shop/B", "shop/A"], sold=[Sold(Sku("A"), 12, 0.5)], over=True)
    assert verdict(RADIUS, seen).reasons == (
        "3 of 20 prices did not come about, 2 of them not seen live in time; at most 10 % may.",
        "2 of 20 listings have issues that they had not before: shop/A, shop/B.",
        "A: 12 sold since, usually 0.50 in that time; at most 5 times that is usual.",
        "all together: 12 sold since, usually 0.50 in that time; at most 5 times that is usual.",
    )


def test_limits_come_back_as_they_were_told_and_odd_ones_are_refused() -> None:
    odd = Radius(share=Decimal("2.5"), watch=timedelta(minutes=7), most=9)
    assert read_radius(odd.told()) == odd
    assert read_radius({}) == RADIUS
    for wrong in ({"share": Decimal(101)}, {"rows": 0}, {"step": Decimal(-1)}, {"watch": timedelta(0)}):
        with pytest.raises(Invalid):
            Radius(**wrong)
    with pytest.raises(Invalid):
        read_radius({"shares": 1})
