"""Chains of what comes back: the same for every order of arrival, with every unit once, and open where a link is missing."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.chain import Chain, Gap, Open, Piece, PieceKind, chains, gaps, is_open
from domain.ids import ChannelId
from domain.money import Money

AT = datetime(2026, 3, 1, tzinfo=UTC)
A = PieceKind.ARRIVED


def day(count: int) -> datetime:
    return AT + timedelta(days=count)


def piece(kind: PieceKind, at: int = 0, units: int = 1, reference: str = "r", **more: Any) -> Piece:
    values: dict[str, Any] = {
        "channel": ChannelId("amazon-eu"),
        "kind": kind,
        "reference": reference,
        "order": "302-1",
        "sku": "MUG",
        "units": units,
        "at": day(at),
    }
    return Piece(**values | more)


def only(*pieces: Piece) -> Chain:
    (one,) = chains(pieces)
    return one


def lacking(*pieces: Piece, now: int = 100) -> list[tuple[Gap, int, datetime]]:
    return [(one.gap, one.units, one.since) for one in gaps(only(*pieces), day(now))]


def test_from_its_announcement_to_the_shelf_a_return_is_one_chain_without_gaps() -> None:
    whole = only(
        piece(PieceKind.ANNOUNCED, 1),
        piece(PieceKind.ARRIVED, 5),
        piece(PieceKind.REFUNDED, 6, money=Money(Decimal("9.99"), "EUR")),
        piece(PieceKind.RESTOCKED, 7),
    )
    assert [one.kind.value for one in whole.pieces] == ["ANNOUNCED", "ARRIVED", "REFUNDED", "RESTOCKED"]
    assert gaps(whole, day(100)) == []
    assert not is_open(whole)


def test_what_is_missing_is_told_with_its_units_and_since_when() -> None:
    assert lacking(piece(PieceKind.REFUNDED, 3, 2)) == [(Gap.NOT_BACK, 2, day(3))]
    assert lacking(piece(PieceKind.ANNOUNCED, 3)) == [(Gap.NOT_BACK, 1, day(3))]
    assert lacking(piece(PieceKind.ARRIVED, 4)) == [(Gap.NOT_REFUNDED, 1, day(4)), (Gap.NOT_RESTOCKED, 1, day(4))]
    assert lacking(piece(PieceKind.REFUNDED, 3, 2), piece(A, 5)) == [
        (Gap.NOT_BACK, 1, day(3)),
        (Gap.NOT_RESTOCKED, 1, day(5)),
    ]


def test_units_that_are_written_off_are_not_waited_for() -> None:
    assert lacking(piece(PieceKind.REFUNDED, 3), piece(PieceKind.WRITTEN_OFF, 90)) == []
    assert lacking(piece(A, 3), piece(PieceKind.REFUNDED, 3), piece(PieceKind.WRITTEN_OFF, 4)) == []


def test_what_lies_on_the_shelf_again_has_come_back() -> None:
    assert lacking(piece(PieceKind.RESTOCKED, 3)) == [(Gap.NOT_REFUNDED, 1, day(3))]
    assert lacking(piece(PieceKind.REFUNDED, 2), piece(PieceKind.RESTOCKED, 3)) == []


def test_the_age_is_that_of_the_unit_that_is_missing() -> None:
    pieces = [piece(A, 1, reference="a"), piece(A, 9, reference="b"), piece(PieceKind.REFUNDED, 2, 2)]
    assert lacking(*pieces, piece(PieceKind.RESTOCKED, 3)) == [(Gap.NOT_RESTOCKED, 1, day(9))]


def test_units_that_never_left_and_money_alone_leave_nothing_open() -> None:
    canceled = piece(PieceKind.REFUNDED, expected=False)
    goodwill = piece(PieceKind.REFUNDED, units=0, reference="g")
    assert [gaps(one, day(9)) for one in chains([canceled, goodwill])] == [[], []]


def test_a_channel_that_takes_back_restocks_by_itself_and_owes_what_it_broke_or_lost() -> None:
    refund, back = piece(PieceKind.REFUNDED, 1, by_channel=True), piece(A, 9, by_channel=True)
    assert lacking(refund, now=30) == [(Gap.NOT_BACK, 1, day(1))]
    assert lacking(refund, now=60) == [(Gap.NOT_REIMBURSED, 1, day(1))]
    assert lacking(refund, back) == []
    broken = piece(A, 9, by_channel=True, owed=True)
    assert lacking(refund, broken) == [(Gap.NOT_REIMBURSED, 1, day(9))]
    paid = piece(PieceKind.REIMBURSED, 20, by_channel=True)
    assert lacking(refund, broken, paid) == []
    assert lacking(refund, paid) == []


def test_a_reimbursement_of_no_order_stands_alone() -> None:
    lost = [piece(PieceKind.REIMBURSED, order=None, reference=name, by_channel=True) for name in "ab"]
    assert [len(one.pieces) for one in chains(lost)] == [1, 1]


def test_a_return_of_another_day_is_another_chain() -> None:
    first = [piece(PieceKind.ANNOUNCED, 1), piece(A, 2), piece(PieceKind.REFUNDED, 3)]
    second = [piece(PieceKind.ANNOUNCED, 50, reference="2"), piece(A, 51, reference="2")]
    made = chains([*first, *second])
    assert [len(one.pieces) for one in made] == [3, 2]
    assert [bool(gaps(one, day(99))) for one in made] == [True, True]


pieces_of = st.lists(
    st.builds(
        piece,
        kind=st.sampled_from(PieceKind),
        at=st.integers(0, 9),
        units=st.integers(0, 3),
        reference=st.uuids().map(str),
        sku=st.sampled_from(["MUG", "TEE"]),
        order=st.sampled_from(["302-1", "302-2", None]),
        by_channel=st.booleans(),
        expected=st.booleans(),
        owed=st.booleans(),
    ),
    max_size=14,
)


@given(pieces=pieces_of, data=st.data())
def test_any_order_of_arrival_gives_the_same_chains(pieces: list[Piece], data: st.DataObject) -> None:
    assert chains(data.draw(st.permutations(pieces))) == chains(pieces)


@given(pieces=pieces_of)
def test_every_piece_is_in_one_chain_and_no_unit_is_lost(pieces: list[Piece]) -> None:
    made = chains(pieces)
    assert Counter(one for chain in made for one in chain.pieces) == Counter(pieces)
    assert len({one.id for one in made}) == len(made)
    assert all(len({(one.order, one.sku) for one in chain.pieces}) == 1 for chain in made)


@given(pieces=pieces_of)
def test_time_changes_which_link_is_missing_and_never_whether(pieces: list[Piece]) -> None:
    for chain in chains(pieces):
        early, late = gaps(chain, chain.started_at), gaps(chain, day(1000))
        assert bool(early) == bool(late) == is_open(chain)
        assert sum(one.units for one in early) == sum(one.units for one in late)
        assert all(one.units > 0 and one.since >= chain.started_at for one in [*early, *late])


@given(pieces=pieces_of)
def test_what_is_missing_over_all_chains_is_what_is_missing_in_all(pieces: list[Piece]) -> None:
    """Units of an order and a SKU are alike: how they are put into chains neither makes nor hides a gap."""
    ours = [one for one in pieces if not one.by_channel and one.expected and one.order == "302-1" and one.sku == "MUG"]
    total = Counter({kind: sum(one.units for one in ours if one.kind is kind) for kind in PieceKind})
    settled = total[PieceKind.RESTOCKED] + total[PieceKind.WRITTEN_OFF]
    told: list[Open] = [one for chain in chains(ours) for one in gaps(chain, day(1000))]
    found = Counter({gap: sum(one.units for one in told if one.gap is gap) for gap in Gap})
    assert found[Gap.NOT_RESTOCKED] == max(0, total[A] - settled)
    if not total[PieceKind.WRITTEN_OFF]:
        assert found[Gap.NOT_REFUNDED] == max(0, max(total[A], settled) - total[PieceKind.REFUNDED])
    assert found[Gap.NOT_BACK] == max(
        0, max(total[PieceKind.ANNOUNCED], total[PieceKind.REFUNDED]) - max(total[A], settled)
    )
