"""What the items say of their operation, and which steps exist."""

from hypothesis import given
from hypothesis import strategies as st

from domain.operation import ENDED, FINISHED, NEXT, OPEN, ItemStatus, OperationStatus, progress_of, status_of

P, S, A, V, F, K, C, R = (
    ItemStatus.PENDING,
    ItemStatus.SENT,
    ItemStatus.ACCEPTED,
    ItemStatus.VERIFIED,
    ItemStatus.FAILED,
    ItemStatus.PARKED,
    ItemStatus.CANCELLED,
    ItemStatus.SUPERSEDED,
)

statuses = st.lists(st.sampled_from(list(ItemStatus)), min_size=1, max_size=12)


def test_statuses_of_operations() -> None:
    table = [
        ([P, P], OperationStatus.QUEUED),
        ([P, S], OperationStatus.RUNNING),
        ([V, P], OperationStatus.RUNNING),
        ([V, A], OperationStatus.RUNNING),
        ([V, V], OperationStatus.SUCCEEDED),
        ([V, C, R], OperationStatus.SUCCEEDED),
        ([V, F], OperationStatus.PARTIAL),
        ([V, K], OperationStatus.PARTIAL),
        ([F, K], OperationStatus.FAILED),
        ([F, C], OperationStatus.FAILED),
        ([C, R], OperationStatus.CANCELLED),
    ]
    for items, expected in table:
        assert status_of(items) is expected, items


@given(statuses)
def test_an_operation_is_finished_exactly_when_no_item_is_open(items: list[ItemStatus]) -> None:
    assert (status_of(items) in FINISHED) == all(item in ENDED for item in items)


@given(statuses)
def test_only_verified_counts_as_success(items: list[ItemStatus]) -> None:
    if status_of(items) is OperationStatus.SUCCEEDED:
        assert V in items
        assert not {F, K} & set(items)


@given(statuses)
def test_progress_counts_every_item_once(items: list[ItemStatus]) -> None:
    progress = progress_of(items)
    assert progress.total == len(items)
    assert progress.verified <= progress.accepted
    assert progress.accepted + progress.failed <= progress.total


def test_every_status_has_its_steps_and_verified_is_an_end() -> None:
    assert set(NEXT) == set(ItemStatus)
    assert NEXT[V] == NEXT[C] == NEXT[R] == frozenset()
    assert set(ItemStatus) == OPEN | ENDED


def test_nothing_reaches_verified_without_having_left_the_house() -> None:
    assert {status for status in ItemStatus if V in NEXT[status]} == {S, A, K}
