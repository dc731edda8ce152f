"""Steps of an order: in order, none twice, and what a write's row says of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.chain import Piece, PieceKind
from domain.ids import ChannelId, LocationCode, OperationId, OrderId, Sku
from domain.ledger import Entry, EntryKind, NewEntry
from domain.operation import ItemStatus, Kind
from domain.timeline import Step, StepKind, Written, of_moves, of_piece, of_write, together

AT = datetime(2026, 3, 1, tzinfo=UTC)
ORDER = OrderId("o")


def minutes(count: int) -> datetime:
    return AT + timedelta(minutes=count)


def written(**more: Any) -> Written:
    values: dict[str, Any] = {
        "order": ORDER,
        "item": 7,
        "channel": ChannelId("amazon-eu"),
        "operation": OperationId("op"),
        "kind": Kind.CONFIRM_SHIPMENTS,
        "requested_by": "packer",
        "status": ItemStatus.VERIFIED,
        "attempts": 1,
        "sent_at": minutes(1),
        "accepted_at": minutes(2),
        "ended_at": minutes(3),
        "error_code": None,
        "upstream_request_id": "r-9",
    }
    return Written(**values | more)


def step(key: str, minute: int = 0, kind: StepKind = StepKind.HELD, operation: str | None = None) -> Step:
    return Step(ORDER, kind, "acorn", key, key, minutes(minute), None if operation is None else OperationId(operation))


def test_a_confirmation_was_sent_taken_and_seen_and_the_last_call_stands_with_the_last_step() -> None:
    steps = of_write(written())
    assert [(one.kind, one.at, one.upstream_request_id) for one in steps] == [
        (StepKind.SENT, minutes(1), None),
        (StepKind.ACCEPTED, minutes(2), None),
        (StepKind.CONFIRMED, minutes(3), "r-9"),
    ]
    assert {one.operation for one in steps} == {"op"}


def test_a_refused_write_failed_and_one_that_waits_has_done_nothing() -> None:
    failed = of_write(written(status=ItemStatus.FAILED, accepted_at=None, error_code="INVALID"))
    assert [one.kind for one in failed] == [StepKind.SENT, StepKind.FAILED]
    assert "INVALID" in failed[-1].words
    assert [one.kind for one in of_write(written(status=ItemStatus.PARKED))][-1] is StepKind.PARKED
    nothing = dict.fromkeys(("sent_at", "accepted_at", "ended_at"))
    assert of_write(written(status=ItemStatus.PENDING, **nothing)) == []
    assert of_write(written(status=ItemStatus.CANCELLED, **nothing | {"ended_at": AT})) == []


def test_what_was_posted_together_is_one_step() -> None:
    def entry(id: int, kind: EntryKind, minute: int, sku: str = "A", **more: Any) -> Entry:
        return Entry(
            id, minutes(minute), NewEntry(Sku(sku), LocationCode("main"), kind, "order 1", "acorn", "order", **more)
        )

    steps = of_moves(
        ORDER,
        [
            entry(1, EntryKind.ALLOCATION, 1, reserved=2),
            entry(2, EntryKind.ALLOCATION, 1, "B", reserved=1),
            entry(3, EntryKind.RELEASE, 2, reserved=-1),
            entry(4, EntryKind.SHIPMENT, 3, on_hand=-1, reserved=-1),
            entry(5, EntryKind.COUNT, 4, on_hand=9),
        ],
    )
    assert [(one.kind, one.words) for one in steps] == [
        (StepKind.ALLOCATED, "promised: 2 of A at main, 1 of B at main"),
        (StepKind.ALLOCATED, "given back: 1 of A at main"),
        (StepKind.SHIPPED, "left: 1 of A at main"),
    ]


def test_what_was_noted_of_a_write_says_it_better_than_its_end() -> None:
    noted = [step("label", 3, StepKind.LABEL_BOUGHT, "op")]
    derived = [step("item:7:SENT", 1, StepKind.SENT, "op"), step("item:7:VERIFIED", 3, StepKind.VERIFIED, "op")]
    assert [one.key for one in together(noted, derived)] == ["item:7:SENT", "label"]
    assert [one.key for one in together([], derived)] == ["item:7:SENT", "item:7:VERIFIED"]
    [sent, seen] = derived
    told = together(noted, [sent, replace(seen, upstream_request_id="r-9")])
    assert [one.upstream_request_id for one in told] == [None, "r-9"], "the call stands with what was said of it"
    spoken = together([replace(noted[0], upstream_request_id="r-1")], [replace(seen, upstream_request_id="r-9")])
    assert [one.upstream_request_id for one in spoken] == ["r-1"]


def test_a_refund_of_ours_that_its_channel_tells_of_too_stands_once() -> None:
    noted = [step("refunded:R1", 1, StepKind.REFUNDED, "op")]
    pieces = [piece_step("R1:L0:0"), piece_step("R10:L0:0")]
    assert [one.key for one in together(noted, pieces)] == ["refunded:R1", "piece:REFUNDED:R10:L0:0"]


def piece_step(reference: str) -> Step:
    told = Piece(ChannelId("shop"), PieceKind.REFUNDED, reference, "1001", "MUG", 1, minutes(2))
    found = of_piece(ORDER, told)
    assert found is not None
    return found


steps_of = st.lists(
    st.builds(
        step,
        st.sampled_from([f"k{number}" for number in range(8)]),
        st.integers(0, 5),
        st.sampled_from([StepKind.CONFIRMED, StepKind.VERIFIED, StepKind.REFUNDED]),
        st.sampled_from([None, "op", "other"]),
    ),
    unique_by=lambda one: one.key,
)


@given(noted=steps_of, derived=steps_of)
def test_no_step_stands_twice_none_that_was_noted_is_lost_and_time_only_grows(
    noted: list[Step], derived: list[Step]
) -> None:
    told = together(noted, derived)
    keys = [one.key for one in told]
    assert len(keys) == len(set(keys))
    assert {one.key for one in noted} <= set(keys) <= {one.key for one in [*noted, *derived]}
    assert [one.at for one in told] == sorted(one.at for one in told if one.at)
