"""What of an order is with a pool, in whatever order it tells; and what is kept of it comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.ids import ChannelId, ChannelSku, LineId, LocationCode, OperationId, OrderId, Sku
from domain.money import Money
from domain.outbound import (
    AtPool,
    Feature,
    Fee,
    Followed,
    FollowedPackage,
    LineState,
    OutboundPackage,
    OutboundStatus,
    Policy,
    Preview,
    Shortfall,
    Speed,
    SpeedPreview,
    Wanted,
    WantedLine,
    Whereabouts,
    at_pool,
    look_again,
    preview_from_json,
    preview_to_json,
)
from domain.outbound_request import AtFba, covered

AT = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
NEVER_SENT = (OutboundStatus.CANCELLED, OutboundStatus.UNFULFILLABLE, OutboundStatus.INVALID)

counts = st.integers(0, 40)
lines = st.builds(LineState, st.sampled_from("ab"), st.just(ChannelSku("X")), st.integers(1, 40), counts, counts)
packages = st.builds(
    OutboundPackage,
    id=st.sampled_from(["1", "2", "3"]),
    carrier=st.none(),
    tracking_number=st.none(),
    shipped_at=st.sampled_from([None, AT]),
    arrives_at=st.none(),
    lines=st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40)), max_size=3).map(tuple),
)


def make_package(number: str = "1", units: int = 2, shipped_at: datetime | None = AT) -> OutboundPackage:
    return OutboundPackage(
        number, "UPS", f"1Z{number}", shipped_at, None, (("L0", units),), Whereabouts.IN_TRANSIT, "IT"
    )


WANTED = Wanted(
    id="out-1",
    order=OrderId("o"),
    channel=ChannelId("amazon-us"),
    location=LocationCode("fba-us"),
    marketplace="US",
    shown_id="#1001",
    placed_at=AT,
    comment="Thank you.",
    lines=(WantedLine(LineId("L0"), "1", Sku("MUG"), ChannelSku("MUG-FBA"), 3),),
    speed=Speed.EXPEDITED,
    policy=Policy.FILL_ALL,
    features=frozenset({Feature.BLANK_BOX, Feature.BLOCK_AMZL}),
)
FOLLOWED = Followed(
    wanted=WANTED,
    operation=OperationId("op"),
    status=OutboundStatus.PROCESSING,
    channel_status="PROCESSING",
    taken_at=AT,
    lines=(LineState("L0", ChannelSku("MUG-FBA"), 3, 0, 0),),
)


@given(st.sampled_from(OutboundStatus), st.lists(lines, max_size=2, unique_by=lambda one: one.id), st.lists(packages))
def test_never_more_units_are_with_a_pool_than_were_asked_for(
    status: OutboundStatus, told: list[LineState], parcels: list[OutboundPackage]
) -> None:
    found = at_pool(status, told, parcels)
    assert found.keys() == {one.id for one in told}
    for one in told:
        units = found[one.id]
        assert units.kept >= 0
        assert units.left >= 0
        assert units.kept + units.left <= one.quantity
        if status in NEVER_SENT:
            assert units.kept == 0
    # In whatever order its parcels are told.
    assert at_pool(status, told, list(reversed(parcels))) == found


@pytest.mark.parametrize(
    ("status", "cancelled", "unfulfillable", "parcels", "units"),
    [
        (OutboundStatus.RECEIVED, 0, 0, [], AtPool(3, 0)),
        (OutboundStatus.PROCESSING, 0, 0, [make_package(shipped_at=None)], AtPool(3, 0)),
        (OutboundStatus.PROCESSING, 0, 0, [make_package()], AtPool(1, 2)),
        (OutboundStatus.PROCESSING, 0, 1, [make_package()], AtPool(0, 2)),
        (OutboundStatus.COMPLETE, 0, 0, [make_package(), make_package("2", 1)], AtPool(0, 3)),
        # It says that it is complete before it tells of its parcels.
        (OutboundStatus.COMPLETE, 0, 0, [], AtPool(3, 0)),
        (OutboundStatus.PARTLY_COMPLETE, 0, 0, [make_package()], AtPool(0, 2)),
        (OutboundStatus.CANCELLED, 3, 0, [], AtPool(0, 0)),
        (OutboundStatus.CANCELLED, 1, 0, [make_package()], AtPool(0, 2)),
        (OutboundStatus.UNFULFILLABLE, 0, 0, [], AtPool(0, 0)),
        (OutboundStatus.COMPLETE, 0, 0, [make_package(), make_package("replacement", 2)], AtPool(0, 3)),
    ],
)
def test_where_the_units_of_a_line_are(
    status: OutboundStatus, cancelled: int, unfulfillable: int, parcels: list[OutboundPackage], units: AtPool
) -> None:
    line = LineState("L0", ChannelSku("MUG-FBA"), 3, cancelled, unfulfillable)
    assert at_pool(status, [line], parcels) == {"L0": units}


def test_what_is_kept_of_it_comes_back_as_it_was() -> None:
    assert Wanted.from_json(WANTED.to_json()) == WANTED
    possible = SpeedPreview(Speed.STANDARD, True, AT, AT, AT, AT, (Fee("Each", Money(Decimal("3.950"), "USD")),))
    short = SpeedPreview(
        Speed.PRIORITY,
        False,
        shortfalls=(Shortfall("L0", ChannelSku("MUG-FBA"), 2, ("NoUnits",)),),
        reasons=("NoDelivery",),
    )
    preview = Preview(AT, (possible, short), "r-1")
    assert preview_from_json(preview_to_json(preview)) == preview


def test_it_is_looked_at_the_sooner_the_sooner_it_must_leave_and_not_for_ever() -> None:
    now = AT + timedelta(hours=1)
    waits = [
        look_again(FOLLOWED, None if hours is None else now + timedelta(hours=hours), now) for hours in (None, 1, 0)
    ]
    assert waits == [timedelta(minutes=15), timedelta(minutes=7.5), timedelta(minutes=2)]
    assert look_again(FOLLOWED, None, AT + timedelta(days=31)) is None
    told = FollowedPackage(make_package(), OperationId("confirmed"))
    sent = replace(FOLLOWED, status=OutboundStatus.COMPLETE, packages=(told,))
    assert look_again(sent, None, now) == timedelta(hours=2)
    untold = replace(sent, packages=(FollowedPackage(make_package(), trouble="It is held."),))
    assert look_again(untold, None, now) == timedelta(minutes=15)
    arrived = replace(sent, packages=(replace(told, package=replace(told.package, whereabouts=Whereabouts.DELIVERED)),))
    assert look_again(arrived, None, now) is None
    assert look_again(replace(FOLLOWED, status=OutboundStatus.CANCELLED), None, now) is None


def test_a_pool_covers_what_it_has_of_one_sku_for_all_lines_together() -> None:
    twice = replace(WANTED, lines=(*WANTED.lines, replace(WANTED.lines[0], line=LineId("L1"), quantity=2)))
    offers = {Sku("MUG"): [AtFba(LocationCode("fba-us"), ChannelSku("MUG-FBA"), units)] for units in (4,)}
    assert covered(WANTED, offers)
    assert not covered(twice, offers)
    elsewhere = {Sku("MUG"): [AtFba(LocationCode("fba-eu"), ChannelSku("MUG-FBA"), 9)]}
    assert not covered(WANTED, elsewhere)
